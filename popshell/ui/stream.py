"""The one writer of replies: however large or hostile, a reply goes from the wire to the screen through here.

Theory. A content is cut into blocks at CRLF; a block is filtered (`visible.show`), coloured and written in one go, the
first one small, so that a first screen is there at once. What is regular is coloured as a whole block by a few calls
of `str.replace` and `str.join`; only what is not (the header of a mail, long lines, odd rows) is taken line by line,
by `ui.theme`. Both ways give the same output, and a test holds them to it.

The margin is the mark that a server cannot draw (sec-R5): *every* row that is written begins with one, so a line that
is wider than the window is cut into rows here, not by the terminal.

| margin | --plain | the row is |
|---|---|---|
| ` S: ` | `S: ` | a line of the server |
| ` S| ` | `S| ` | the rest of the line above |
| ` S~ ` | `S~ ` | a word of ours on the line above |
| `✔S: ` `✘S: ` `›S: ` `?S: ` | `[OK] S: ` ... | a status line: `+OK`, `-ERR`, `+`, none of them; in ASCII `+!>?` |
| ` C: ` | `C: ` | a line of the client |

Limits (sec-R6): `max_lines` rows, and at most eight times the octets that came in. The latter holds by construction:
an octet is four characters at most, a row is 16 columns or wider, a margin is twelve characters with its colours. A
line longer than `long_line` octets is cut, with a note; RFC 5322 §2.1.1 lets a line of a mail have 998, so what is
legal is whole.

Traps. A terminal counts columns by tables of its own. A block that is not ASCII, or a window narrower than our rows,
is bracketed by "no automatic wrap" (DECAWM), so that no disagreement can begin a row without a margin. Only CRLF ends
a line: a bare CR or LF is shown, never obeyed. A status line may echo a password: redact before, not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TextIO

from popshell.protocol.commands import Content
from popshell.protocol.line import MASK
from popshell.tuples import NamedTuple
from popshell.ui import theme
from popshell.ui.layout import Line, Look
from popshell.ui.theme import Span, Spans
from popshell.visible import fold, show, whole_characters

CRLF = b"\r\n"
_FIRST_BLOCK = 4 * 1024
_BLOCK = 64 * 1024
_NARROWEST = 16
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
#: Blocks of nothing but these rows are coloured whole; with them, the style of the second word. No backslash: the
#: filter doubles it.
_REGULAR = {
    Content.SCAN_LISTINGS: (rb"(?:[0-9]{1,10}+ [0-9]{1,15}+\r\n)++", "number"),
    Content.UNIQUE_IDS: (rb"(?:[0-9]{1,10}+ [!-\[\]-~]{1,70}+\r\n)++", "uid"),
}
#: The sign of a status line on a terminal, in ASCII, and the word for it.
_SIGNS = {
    "ok": ("✔", "+", "[OK]"),
    "err": ("✘", "!", "[ERR]"),
    "challenge": ("›", ">", "[MORE]"),
    "warn": ("?", "?", "[?]"),
}


class View(NamedTuple):
    """How replies are drawn. `columns` is None where no window is: then lines are not cut into rows."""

    look: Look
    columns: int | None = None
    max_lines: int = 2000
    long_line: int = 998
    #: the note on a line that is cut; `{octets}` is how many are hidden
    hidden: str = "+{octets} octets"
    #: the rows go to a pager, which breaks none and obeys colours only
    paged: bool = False
    #: asked after each block: whether the reader has had enough (Ctrl-C)
    enough: Callable[[], bool] = lambda: False


class Shown(NamedTuple):
    """How many lines of a content were shown, and how many there were to show."""

    lines: int
    total: int

    @property
    def left(self) -> int:
        return self.total - self.lines


def write_content(
    out: TextIO, raw: bytes, kind: Content, view: View, *, first: int = 0, begin: int = 0, lines: int | None = None
) -> Shown:
    """Write a multi-line content as it came over the wire, terminator included; pass over `first` lines.

    It begins at `begin` of `raw`, and has so many `lines`, if that is known: one of 64 MiB is not copied nor counted.

    No terminator is drawn where `raw` has none, as the content is not whole, nor where `max_lines` cuts it off.
    """
    content = _Content(raw, kind, first, begin)
    rows = _Rows(kind, view)
    shown = 0
    for text, drawn in content.drawn(rows, view.max_lines):
        out.write(rows.guarded(text, text.isascii()))
        if not shown:
            out.flush()
        shown += drawn
        if view.enough():
            break
    if content.terminated and content.position == content.end:
        out.write(rows.terminator() + "\n")
    out.flush()
    known = lines is not None and content.position < content.end
    return Shown(shown, lines - content.passed if lines is not None and known else shown + content.left())


def pager(raw: bytes, kind: Content, view: View) -> Iterator[str]:
    """The rows of a content, without line ends, drawn as they are asked for; `max_lines` does not count here."""
    content = _Content(raw, kind)
    rows = _Rows(kind, view)
    for text, _ in content.drawn(rows, None):
        yield from (rows.guarded(row, row.isascii()) for row in text[:-1].split("\n"))
    if content.terminated:
        yield rows.terminator()


def status_line(text: str, look: Look, columns: int | None = None) -> str:
    """A status line with its sign in the margin, without line end; more than one row if it is wider than the window."""
    line = show(text, keep="")
    spans = theme.status_spans(line)
    style = spans[0].style if spans else "warn"
    drawn, typed, word = (look.paint(style, mark) for mark in _SIGNS[style])
    sign = typed if look.ascii else drawn
    if not look.plain:
        return _framed(line, spans, sign + _margin(look, "S:")[1:], View(look, columns))
    columns = columns and columns - len(word) - 1  # rows are as short as the first, which has the word before it
    return _framed(line, spans, f"{word} S: ", View(look, columns))


def client_line(sent: Line, look: Look, columns: int | None = None) -> str:
    """A line that the client sent, as safe runs with its secrets masked, without line end."""
    line = ""
    spans: Spans = []
    for style, text in sent:
        shown = text.replace(MASK, "*" * len(MASK)) if look.ascii else text
        spans += [Span(len(line), len(line) + len(shown), style)] if style else []
        line += shown
    return _framed(line, spans, _margin(look, "C:", "gutter-client"), View(look, columns))


def _framed(line: str, spans: Spans, head: str, view: View) -> str:
    rows = _Rows(Content.TEXT, view)
    return rows.guarded("\n".join(rows.line(line, spans, head)), line.isascii())


def _joined(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"


def _margin(look: Look, mark: str, style: str = "gutter-server") -> str:
    return f"{mark} " if look.plain else f" {look.paint(style, mark)} "


class _Content:
    """A raw content, where its parts begin, and how far it is drawn: up to `position`, `passed` lines over."""

    __slots__ = ("_header_end", "_raw", "end", "passed", "position", "terminated")

    def __init__(self, raw: bytes, kind: Content, first: int = 0, begin: int = 0) -> None:
        self._raw = raw
        self.terminated = raw == b".\r\n" or raw.endswith(b"\r\n.\r\n")
        self.end = len(raw) - 3 * self.terminated
        self._header_end = 0
        if kind is Content.MAIL and not raw.startswith(CRLF, begin):
            blank = raw.find(b"\r\n\r\n", begin, self.end)
            self._header_end = blank + 2 if blank >= 0 else self.end
        self.position, self.passed = begin, 0
        while self.passed < first and self.position < self.end:
            self.position = self._line_end(self.position, self.end)
            self.passed += 1

    def left(self) -> int:
        """How many lines are not drawn."""
        if self.position == self.end:
            return 0
        return self._raw.count(CRLF, self.position, self.end) + (not self._raw.endswith(CRLF, 0, self.end))

    def drawn(self, rows: _Rows, limit: int | None) -> Iterator[tuple[str, int]]:
        """Blocks of rows, each with the number of lines in it, up to `limit` rows."""
        size = _FIRST_BLOCK
        while self.position < self.end and (limit is None or limit > 0):
            in_header = self.position < self._header_end
            stop = self._block_end(self._header_end if in_header else self.end, size)
            octets = stop - self.position
            if octets > size:  # one line: do not copy what will not be shown
                line = octets - 2 * self._raw.endswith(CRLF, self.position, stop)
                head = self._raw[self.position : self.position + min(line, rows.view.long_line)]
                text, lines = _joined(rows.cut_line(head, line, in_header)), 1
            else:
                text, lines, octets = rows.block(self._raw[self.position : stop], in_header, limit)
            self.position += octets
            yield text, lines
            if limit is not None:
                limit -= text.count("\n")
            size = _BLOCK

    def _block_end(self, end: int, size: int) -> int:
        """The end of the last line that is whole within `size`, or else that of the first line."""
        if end - self.position <= size:
            return end
        found = self._raw.rfind(CRLF, self.position, self.position + size)
        return found + 2 if found >= 0 else self._line_end(self.position + size - 1, end)

    def _line_end(self, start: int, end: int) -> int:
        found = self._raw.find(CRLF, start, end)
        return found + 2 if found >= 0 else end


class _Rows:
    """Draws lines of one kind as rows, each with its margin."""

    __slots__ = ("_first", "_kind", "_look", "_more", "_room", "_word", "view")

    def __init__(self, kind: Content, view: View) -> None:
        self.view, self._kind, self._look = view, kind, view.look
        self._first, self._more, self._word = (_margin(view.look, mark) for mark in ("S:", "S|", "S~"))
        margin = 3 if view.look.plain else 4
        self._room = None if view.columns is None else max(view.columns - margin, _NARROWEST)

    def terminator(self) -> str:
        return self._first + self._look.paint("terminator", ".")

    def guarded(self, text: str, ascii_only: bool) -> str:
        """`text`, kept from being wrapped by the terminal where columns are uncertain."""
        columns = self.view.columns
        if self.view.paged or columns is None or self._look.plain or (ascii_only and columns >= _NARROWEST + 4):
            return text
        return f"{_NO_WRAP}{text}{_WRAP}"

    def block(self, block: bytes, in_header: bool, limit: int | None) -> tuple[str, int, int]:
        """Whole lines as rows, how many lines and octets; the line that reaches `limit` is drawn whole."""
        if limit is not None and len(block) > 2 * limit and block.count(CRLF) > limit:
            block = CRLF.join(block.split(CRLF, limit)[:limit]) + CRLF
        if not in_header and block.endswith(CRLF):
            text, lines = self._plain(block) if self._kind in (Content.MAIL, Content.TEXT) else self._regular(block)
            if text and (limit is None or text.count("\n") <= limit):
                return text, lines, len(block)
        rows: list[str] = []
        lines = octets = 0
        for line in block.removesuffix(CRLF).split(CRLF):
            rows += self.cut_line(line, len(line), in_header)
            lines += 1
            octets += len(line) + 2
            if limit is not None and len(rows) >= limit:
                break
        return _joined(rows), lines, min(octets, len(block))

    def _regular(self, block: bytes) -> tuple[str, int]:
        """A block of listings, coloured whole, and how many; ("", 0) if a row is none or too wide."""
        pattern, style = _REGULAR.get(self._kind, (b"", ""))
        if not pattern or not re.fullmatch(pattern, block):
            return "", 0
        lines = block[:-2].decode("ascii").split("\r\n")
        if self._room is not None and max(map(len, lines)) > self._room:
            return "", 0
        number_on, number_off = self._look.around("number")
        on, off = self._look.around(style)
        # The blank within a row is coloured before the margins, which hold blanks too, come in.
        text = "\n".join(lines).replace(" ", f"{number_off} {on}")
        text = text.replace("\n", f"{off}\n{self._first}{number_on}")
        return f"{self._first}{number_on}{text}{off}\n", len(lines)

    def _plain(self, block: bytes) -> tuple[str, int]:
        """A block of text without spans, filtered whole, and how many lines; ("", 0) if one is odd or too long."""
        unix = block.replace(CRLF, b"\n")
        if unix.count(b"\n") != len(block) - len(unix):  # a bare LF
            return "", 0
        text = show(unix)
        ascii_only = text.isascii()
        lines = text[:-1].split("\n")
        longest = max(map(len, lines))
        if longest * (1 if ascii_only else 4) > self.view.long_line:
            return "", 0
        if self._room is not None:
            fits = self._room if ascii_only else self._room // 2
            if longest > fits or "\t" in text:
                lines = [line if len(line) <= fits and "\t" not in line else self._folded(line) for line in lines]
        begin = f"\n{self._first}"
        dot = self._look.paint("stuffing", ".")
        text = f"{begin}{begin.join(lines)}\n"
        return (text if dot == "." else text.replace(f"{begin}.", begin + dot))[1:], len(lines)

    def _folded(self, line: str) -> str:
        return f"\n{self._more}".join(line[start:end] for start, end in self._cuts(line))

    def cut_line(self, raw: bytes, octets: int, in_header: bool) -> list[str]:
        """The rows of a line of `octets`, of which `raw` is the beginning: cut where it is too long."""
        hidden = max(octets - self.view.long_line, 0)
        if hidden:
            raw = whole_characters(raw[: self.view.long_line])
            hidden = octets - len(raw)
        line = show(raw, keep="\t")
        rows = self.line(line, theme.body_spans(self._kind, line, in_header=in_header), self._first)
        if hidden:
            note = self._look.paint("note", self.view.hidden.replace("{octets}", f"{hidden:,}"))
            rows.append(self._word + note)
        return rows

    def line(self, line: str, spans: Spans, head: str) -> list[str]:
        """The rows of a line that passed the filter."""
        return [
            (self._more if start else head) + self._painted(line, spans, start, end) for start, end in self._cuts(line)
        ]

    def _painted(self, line: str, spans: Spans, start: int, end: int) -> str:
        parts: list[str] = []
        done = start
        for span in spans:
            left, right = max(span.start, start), min(span.end, end)
            if left < right:
                parts += line[done:left], self._look.paint(span.style, line[left:right])
                done = right
        return "".join(parts) + line[done:end]

    def _cuts(self, line: str) -> Iterator[tuple[int, int]]:
        return fold(line, self._room) if self._room else iter(((0, len(line)),))
