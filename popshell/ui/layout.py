"""Looks, runs of text, their wrapping, and notes: text is spelled for its look first, then fitted to columns.

Theory. A terminal counts columns, not characters: a Chinese character takes two, a combining accent takes none.
A text is laid out in three steps: mark every place where a line may be broken (`_breaks`), fill lines greedily up to
the last such place that fits (`_spans`), cut the runs there (`wrap_runs`). Styles are kept by index, so plain text
and styled runs are broken by the same code.

English breaks at blanks only: no hyphenation, and hyphens inside words (`byte-stuffing`, `-ERR`) are no break points.
Chinese breaks between any two characters, except that no line begins with closing punctuation and none ends with an
opening bracket (kinsoku), and that no last line is one character alone. Held together are a code span, a citation
(`RFC 1939 §5`), and a number with its unit (`120 octets`). What is wider than a whole line is cut hard.

Traps. Spelling (ASCII signs, backticks for code) may make a text wider: after wrapping it would be too wide.
prompt_toolkit knows no such rules: it cuts `-ERR` in two and begins lines with 。, so it gets lines that are wrapped.
A newline in the text is white space, and vanishes between two Chinese characters. Characters of "ambiguous" width
(`…`, `§`, `·`, box drawing) count as one column; on terminals that draw them with two, `--ascii` is the way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from popshell.protocol.line import MASK
from popshell.tuples import NamedTuple
from popshell.ui.theme import END, begin
from popshell.visible import ATOM, show, tame, width

#: A stretch of text in one style; the style is a name that the theme knows, or "".
Run = tuple[str, str]
#: One line on the screen.
Line = list[Run]


if TYPE_CHECKING:
    from popshell.course.explain import Note, Span


CODE = "literal"
EMPHASIS = "emphasis"

# Full-width punctuation keeps its place even across a blank; the ASCII signs only where no blank stands between.
_NEVER_FIRST = frozenset("，。、；：？！」』）》〉】〕〗〞％‰℃…—～・‧·／")
_CLOSING = _NEVER_FIRST | frozenset(",.;:?!)]}%”’\"'")
_NEVER_LAST = frozenset("「『（《〈【〔〖〝§\u7b2c")  # the last one makes an ordinal of the number after it
_OPENING = _NEVER_LAST | frozenset("([{“‘\"'$#")


@lru_cache(maxsize=4)
def _held(units: str) -> re.Pattern[str]:
    """What is not broken: code, citations, numbers with the Latin word or the unit after them."""
    return re.compile(
        r"`[^`\n]+`"
        r"|RFC \d+(?: (?:§|sec\. )\d+(?:\.\d+)*)?"
        rf"|(?<![A-Za-z0-9_.])\d+(?:[.,]\d+)*(?: [A-Za-z]| ?(?:{'|'.join(map(re.escape, units.split())) or '%'}))"
    )


_INLINE = re.compile(r"`(?P<code>[^`\n]+)`|(?<![0-9A-Za-z*])\*(?P<emphasis>(?=\S)[^*\n]*[^*\s])\*(?![0-9A-Za-z*])")


#: Characters of drawings, each of which stays one column wide, and arrows in text: in ASCII wherever signs are.
_DRAWN = str.maketrans(
    dict(zip("─━═┄│┃┊║▶◀▲▼↺", "-==.||:#><^v@", strict=True))
    | dict.fromkeys("┌┐└┘├┤┬┴╭╮╰╯┗┛╟╧╤╞╡", "+")
    | dict.fromkeys("╔╗╚╝", "#")
    | {"→": "->"}
)
#: And signs in words of ours; some become wider.
_SIGNS = _DRAWN | str.maketrans(
    dict(zip("·•▸×–“”‘’", "-*>x-\"\"''", strict=True))
    | {"§": "sec. ", "…": "...", "—": "--", "✔": "+", "✘": "!", "✗": "x", "⚠": "!"}
)
#: Styles of what was typed or received: it is shown as it is in every spelling.
_AS_IT_IS = frozenset(("peer", "argument", "extra"))


class Look(NamedTuple):
    """How text appears: in which theme, how signs are spelled, how wide a line may be.

    `plain` (--plain) has words or ASCII for signs and drawings, and puts code into
    backticks. `ascii` (--ascii) spells everything of ours in ASCII. What is spelled already stays as it is.
    """

    #: a name of theme.THEMES
    theme: str = "none"
    plain: bool = False
    ascii: bool = False
    #: columns that a line may take: one fewer than the window has, because some terminals wrap a full line
    width: int = 79
    #: words and signs that stay with the number before them, with blanks between
    units: str = "%"

    @property
    def signless(self) -> bool:
        """Whether signs and drawings are made of ASCII."""
        return self.ascii or self.plain

    @property
    def ellipsis(self) -> str:
        return "..." if self.signless else "…"

    def within(self, most: int) -> Look:
        """The look for lines of at most `most` columns; a negative number is what to leave free."""
        return self._replace(width=min(self.width, most) if most > 0 else self.width + most)

    def spelled(self, runs: Iterable[Run]) -> Line:
        """The runs with our signs, and with what is to be typed, spelled as this look wants them."""
        return [self._spelled(style, text) for style, text in runs] if self.signless else list(runs)

    def _spelled(self, style: str, text: str) -> Run:
        if self.plain and style == CODE:
            style, text = "", f"`{text}`"
        if style not in _AS_IT_IS and not text.isascii():
            text = text.translate(_SIGNS if self.ascii else _DRAWN)
        return style, text

    def rows(self, lines: Iterable[Line]) -> list[Line]:
        """Lines that are not wrapped, as of drawings: spelled, and what does not fit is cut off."""
        return [clip_line(self.spelled(line), self.width, self.ellipsis) for line in lines]

    def paint(self, name: str, text: str) -> str:
        """`text` with the escape sequences of the style `name`, where there is colour; it is safe, and one line."""
        before, after = self.around(name)
        return f"{before}{text}{after}" if text else text

    def around(self, name: str) -> tuple[str, str]:
        """What `paint` puts before and after a text, for writers that colour many at once."""
        before = begin(name, self.theme)
        return before, END if before else ""


PLAIN = Look(plain=True)


#: How many columns a text takes on a terminal. It must be safe already: no control characters.
columns = width


def line_columns(line: Line) -> int:
    """How many columns the line takes."""
    return width("".join([text for _, text in line]))


def pad(text: str, columns: int) -> str:
    """`text` with blanks at its right, `columns` wide; returned as it is where it is wider."""
    return text + " " * (columns - width(text))


def clip(text: str, columns: int, mark: str = "…") -> str:
    """`text`, or as much of its beginning as fits into `columns` together with `mark`."""
    return "".join(part for _, part in clip_line([("", text)], columns, mark))


def clip_line(line: Line, columns: int, mark: str = "…") -> Line:
    """As `clip`, for styled runs; the mark takes the style of what it stands for. No escape of the filter is cut."""
    if line_columns(line) <= columns:
        return line
    room = columns - width(mark)
    clipped: Line = []
    for style, text in line:
        end = 0
        for atom in re.finditer(ATOM, text):
            room -= width(atom[0])
            if room < 0:
                return [*clipped, (style, text[:end] + mark[: max(columns, 0)])]
            end = atom.end()
        clipped.append((style, text))
    return clipped


def inline(text: str, style: str = "") -> list[Run]:
    """The runs of a note, in `style`: `code` and *emphasis* are its only markup, and anything unpaired is text."""
    runs: list[Run] = []
    end = 0
    for found in _INLINE.finditer(text):
        if found.start() > end:
            runs.append((style, text[end : found.start()]))
        runs.append((CODE if found["code"] is not None else EMPHASIS, found["code"] or found["emphasis"]))
        end = found.end()
    return [*runs, (style, text[end:])] if end < len(text) else runs


def wrap(runs: Iterable[Run], look: Look, indent: str = "", hanging: str = "") -> list[Line]:
    """The runs spelled for `look`, in lines of its width: the first begins with `indent`, the others with `hanging`."""
    return wrap_runs(look.spelled(runs), look.width, indent, hanging, look.units)


def wrap_text(text: str, columns: int, indent: str = "", hanging: str = "") -> list[str]:
    """`text` as lines of at most `columns`."""
    return ["".join(part for _, part in line) for line in wrap_runs([("", text)], columns, indent, hanging)]


def wrap_runs(runs: Iterable[Run], columns: int, indent: str = "", hanging: str = "", units: str = "%") -> list[Line]:
    """The runs as lines of at most `columns`: every piece keeps its style, and a run of code is held together."""
    text, styles = _join(runs)
    first, rest = (max(columns - width(prefix), 2) for prefix in (indent, hanging))
    lines: list[Line] = []
    breaks = _breaks(text, styles, units) if max(len(text), width(text)) > first else []  # one line needs none
    for start, end in _spans(text, breaks, first, rest):
        prefix = hanging if lines else indent
        lines.append(([("", prefix)] if prefix else []) + _cut(text, styles, start, end))
    return lines


def _join(runs: Iterable[Run]) -> tuple[str, list[str]]:
    """The text of all runs and the style of each character, with newlines turned into white space."""
    runs = list(runs)
    text, styles = "".join(part for _, part in runs), [style for style, part in runs for _ in part]
    kept, done = "", 0
    looks: list[str] = []
    for found in re.finditer(r"[\n\t\r][ \n\t\r]*", text):
        start, end = found.span()
        kept += text[done:start]
        looks += styles[done:start]
        if kept and kept[-1] != " " and not width(kept[-1]) == width(text[end : end + 1]) == 2:
            kept += " "
            looks.append(styles[start])
        done = end
    return kept + text[done:], looks + styles[done:]


def _breaks(text: str, styles: list[str], units: str) -> list[bool]:
    """For each character, whether a line may begin with it."""
    held = [False] * len(text)
    for found in _held(units).finditer(text):
        held[found.start() + 1 : found.end()] = [True] * (len(found[0]) - 1)
    allowed = [False] * len(text)
    before = ""  # the last character that is no blank
    for index, character in enumerate(text):
        if character == " ":
            continue
        inside_code = index > 0 and styles[index] == CODE == styles[index - 1]
        if not (held[index] or inside_code or not before):
            allowed[index] = _may_break(before, character, blank=text[index - 1] == " ")
        before = character
    return allowed


@lru_cache(maxsize=8192)
def _may_break(before: str, after: str, blank: bool) -> bool:
    if blank:
        return after not in _NEVER_FIRST and before not in _NEVER_LAST
    if after in _CLOSING or before in _OPENING or width(after) == 0:
        return False
    return width(before) == 2 or width(after) == 2 or before == "—"


def _spans(text: str, allowed: list[bool], first: int, rest: int) -> Iterator[tuple[int, int]]:
    """Where each line begins and ends; blanks at either end of a line belong to none."""
    starts: list[int] = []
    start, room = 0, first
    while True:
        while start < len(text) and text[start] == " ":
            start += 1
        if start == len(text):
            break
        starts.append(start)
        start, room = _fill(text, allowed, start, room), rest
    if len(starts) > 1:
        starts[-1] = _not_alone(text, allowed, starts[-2], starts[-1], rest)
    for start, end in pairwise([*starts, len(text)]):
        yield start, start + len(text[start:end].rstrip(" "))


def _not_alone(text: str, allowed: list[bool], above: int, last: int, room: int) -> int:
    """Where the last line begins: one Chinese character by itself has another pulled down to it."""
    alone = text[last:].rstrip("".join(_CLOSING) + " ")
    if len(alone) != 1 or width(alone) != 2:
        return last
    pulled = next((at for at in range(last - 1, above, -1) if allowed[at]), last)
    return pulled if width(text[pulled:].rstrip(" ")) <= room else last


def _fill(text: str, allowed: list[bool], start: int, room: int) -> int:
    """Where the line that begins at `start` ends: the last allowed break that fits, or a hard cut."""
    if len(text) - start <= room and width(text[start:]) <= room:
        return len(text)
    best, used = start, 0
    for index in range(start, len(text)):
        if allowed[index]:
            best = index
        used += width(text[index])
        if used > room and text[index] != " ":
            return best if best > start else _hard_cut(text, start, index)
    return len(text)


def _hard_cut(text: str, start: int, overflow: int) -> int:
    """A cut in what must not be broken: at a blank, or as far right as the rules of punctuation let."""
    blank = text.rfind(" ", start + 1, overflow)
    if blank > start:
        return blank
    for index in range(overflow, start, -1):
        if text[index] not in _CLOSING and text[index - 1] not in _OPENING and width(text[index]):
            return index
    return max(overflow, start + 1)


def _cut(text: str, styles: list[str], start: int, end: int) -> Line:
    """The characters from `start` to `end` as runs."""
    line: Line = []
    begin = start
    for index in range(start + 1, end + 1):
        if index == end or styles[index] != styles[begin]:
            line.append((styles[begin], text[begin:index]))
            begin = index
    return line


# -- texts, notes, explanations ----------------------------------------------------------------------------------------

_NOTE_SIGNS = {"ok": ("✔", "*", "ok"), "err": ("✘", "*", "err"), "warn": ("⚠", "!", "warn"), "info": (" ", " ", "")}


def note_lines(notes: Iterable[Note], look: Look, *, cite: bool = True) -> list[Line]:
    """The notes below a reply, right of its margin: a sign, the text, its source."""
    lines: list[Line] = []
    for note in notes:
        sign, plain_sign, style = _NOTE_SIGNS[note.sort]
        head: Line = [("", "   "), (style, plain_sign if look.signless else sign), ("", " ")]
        source: Line = [("", "  "), ("rfc", note.cite)] if cite and note.cite else []
        lines += beside(head, [*inline(tame(note.text), "note"), *source], look)
    return lines


def beside(head: Line, runs: Iterable[Run], look: Look) -> list[Line]:
    """The runs beside a head, which is spelled already: wrapped, and never below it."""
    hanging = " " * line_columns(head)
    first, *others = wrap(runs, look, hanging, hanging) or [[]]
    return [[*head, *first[1:]], *others]


def paragraph(text: str, look: Look, indent: str = "  ", style: str = "") -> list[Line]:
    """A text of ours, wrapped; each of its lines is a paragraph."""
    parts = tame(text).split("\n")
    return [line for part in parts for line in wrap(inline(part, style), look, indent, indent) or [[]]]


def span_lines(spans: Sequence[Span], look: Look) -> list[Line]:
    """`:explain`: each token with its meaning beside it, then what is wrong, then what the line would do."""
    tokens: list[tuple[Run, str]] = []
    for span in spans:
        if span.token is not None:
            word = MASK if span.token.secret else show(span.token.text, keep="")
            tokens.append(((span.token.role.value, word), tame(span.text)))
    lines = two_columns(tokens, look, indent=2)
    sign = "! " if look.signless else "⚠ "
    for span in spans:
        if span.sort == "warn":
            lines += wrap([("warn", sign), *inline(tame(span.text), "warn")], look, "  ", "    ")
    facts = " · ".join(span.text for span in spans if span.sort == "fact")
    source = [("rfc", span.text) for span in spans if span.sort == "cite"]
    return lines + (wrap([("note", facts), ("", "  "), *source], look, "  ", "  ") if facts else [])


def two_columns(rows: Sequence[tuple[Run, str]], look: Look, *, indent: int = 4) -> list[Line]:
    """What is typed, and its meaning beside it; below it, where there is no room."""
    typed = [look.spelled([run]) for run, _ in rows]
    widest = max(map(line_columns, typed), default=0) + 1
    start, below = " " * indent, " " * (indent + 2)
    lines: list[Line] = []
    for ((style, word),), (_, text) in zip(typed, rows, strict=True):
        meaning = inline(text, "note")
        if look.width - widest - indent >= max(24, look.width // 2):
            lines += beside([("", start), (style, pad(word, widest + 1))], meaning, look)
        else:
            lines += [*wrap([(style, word)], look, start, below), *wrap(meaning, look, below, below)]
    return lines
