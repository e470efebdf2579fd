"""Fits text to a window: the ruler and the knife of the screen. Knows columns and line breaks, no colours.

Theory. A terminal counts columns, not characters: a Chinese character takes two, an accent that combines takes none.
A text is laid out in three steps: mark every place where a line may be broken (`_breaks`), fill lines greedily up to
the last such place that fits (`_spans`), cut the runs there (`wrap_runs`). Styles ride along by index, so plain text
and styled runs are broken by the same code.

English breaks at blanks only: no hyphenation, and hyphens inside words (`byte-stuffing`, `-ERR`) are no break points.
Chinese breaks between any two characters, except that no line begins with closing punctuation and none ends with an
opening bracket (the rules that typesetters call kinsoku), and that no last line is one character alone. What belongs
together is held together: a code span, a citation (`RFC 1939 §5`), a number and its unit (`120 octets`). What is wider
than a whole line is cut hard.

Traps. rich and prompt_toolkit know no such rules: they cut `-ERR` in two and begin lines with 。; give them lines that
are wrapped already. A newline in the text is white space, and vanishes between two Chinese characters.
Characters of "ambiguous" width (`…`, `§`, `·`, box drawing) count as one column; where a terminal draws them with two,
the ASCII forms are the way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Protocol

from popshell.visible import ATOM, width

#: A stretch of text in one style; the style is a name that the theme knows, or "".
Run = tuple[str, str]
#: One line on the screen.
Line = list[Run]


class Words(Protocol):
    """Gives the text for a key in the language of the reader, its placeholders filled with facts."""

    def __call__(self, key: str, /, **facts: object) -> str: ...


CODE = "literal"
EMPHASIS = "emphasis"

# Full-width punctuation keeps its place even across a blank; the ASCII signs only where no blank stands between.
_NEVER_FIRST = frozenset("，。、；：？！」』）》〉】〕〗〞％‰℃…—～・‧·／")
_CLOSING = _NEVER_FIRST | frozenset(",.;:?!)]}%”’\"'")
_NEVER_LAST = frozenset("「『（《〈【〔〖〝§第")
_OPENING = _NEVER_LAST | frozenset("([{“‘\"'$#")

# Measure words are recognised here, never shown. Latin units need no list: a number keeps the word that follows it.
_UNITS = "個位元組|位元組|個字元|字元|毫秒|分鐘|小時|[個封則行次秒天位筆節章頁項種條倍欄列號]"
_HELD = re.compile(
    r"`[^`\n]+`"
    r"|RFC \d+(?: (?:§|sec\. )\d+(?:\.\d+)*)?"
    rf"|(?<![A-Za-z0-9_.])\d+(?:[.,]\d+)*(?: [A-Za-z]| ?%| ?(?:{_UNITS}))"
)
_INLINE = re.compile(r"`(?P<code>[^`\n]+)`|(?<![0-9A-Za-z*])\*(?P<emphasis>(?=\S)[^*\n]*[^*\s])\*(?![0-9A-Za-z*])")


_ASCII = str.maketrans(
    dict(zip("·•▸→×–“”‘’┊", "-*>>x-\"\"'':", strict=True))
    | {"§": "sec. ", "…": "...", "—": "--", "✔": "+", "✘": "!", "✗": "x", "⚠": "!"}
)


def in_ascii(text: str) -> str:
    """Words of ours without the signs that are no ASCII; not for what a peer said. It may become wider."""
    return text if text.isascii() else text.translate(_ASCII)


def columns(text: str) -> int:
    """How many columns `text` takes on a terminal. It must be safe already: no control characters."""
    return width(text)


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
        for atom in ATOM.finditer(text):
            room -= width(atom[0])
            if room < 0:
                return [*clipped, (style, text[:end] + mark[: max(columns, 0)])]
            end = atom.end()
        clipped.append((style, text))
    return clipped


def plain(lines: Iterable[Line]) -> str:
    """The lines without their styles, for writers that know none."""
    return "\n".join("".join(text for _, text in line).rstrip() for line in lines)


def inline(text: str) -> list[Run]:
    """The runs of a note: `code` and *emphasis* are its only markup, and anything unpaired is text."""
    runs: list[Run] = []
    end = 0
    for found in _INLINE.finditer(text):
        if found.start() > end:
            runs.append(("", text[end : found.start()]))
        style = CODE if found["code"] is not None else EMPHASIS
        runs.append((style, found["code"] or found["emphasis"]))
        end = found.end()
    return [*runs, ("", text[end:])] if end < len(text) else runs


def wrap(text: str, columns: int, indent: str = "", hanging: str = "") -> list[str]:
    """`text` as lines of at most `columns`: the first begins with `indent`, the others with `hanging`."""
    return ["".join(part for _, part in line) for line in wrap_runs([("", text)], columns, indent, hanging)]


def wrap_runs(runs: Iterable[Run], columns: int, indent: str = "", hanging: str = "") -> list[Line]:
    """As `wrap`, for styled runs: every piece keeps its style, and a run of code is held together."""
    text, styles = _join(runs)
    first, rest = (max(columns - width(prefix), 2) for prefix in (indent, hanging))
    lines: list[Line] = []
    for start, end in _spans(text, _breaks(text, styles), first, rest):
        prefix = hanging if lines else indent
        lines.append(([("", prefix)] if prefix else []) + _cut(text, styles, start, end))
    return lines


def _join(runs: Iterable[Run]) -> tuple[str, list[str]]:
    """The text of all runs and the style of each character, with newlines turned into white space."""
    cells = [(character, style) for style, part in runs for character in part]
    kept: list[tuple[str, str]] = []
    indented = False  # in the blanks behind a newline
    for index, (character, style) in enumerate(cells):
        if character == " " and indented:
            continue
        indented = character in "\n\t\r"
        if indented:
            following = next((c for c, _ in cells[index:] if not c.isspace()), " ")
            if not kept or kept[-1][0] == " " or width(kept[-1][0]) == width(following) == 2:
                continue
            character = " "
        kept.append((character, style))
    return "".join(character for character, _ in kept), [style for _, style in kept]


def _breaks(text: str, styles: list[str]) -> list[bool]:
    """For each character, whether a line may begin with it."""
    held = [False] * len(text)
    for found in _HELD.finditer(text):
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
