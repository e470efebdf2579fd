"""`:wire`, `:raw`, `:times`: what went over the line, octet by octet, secrets masked; how long it took.

Every row has a margin of its peer: `C>` and `S>` begin a line, `C|` and `S|` go on with it, `S~` is a remark of ours.
What is no ASCII is written as octets, so that no row can be measured otherwise than here and lose its margin (sec-R5).
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from popshell.course.catalog import Words
from popshell.course.symptoms import goes_on
from popshell.protocol.records import Exchange
from popshell.protocol.secrets import MASK
from popshell.protocol.wire import CRLF
from popshell.session import Chunk
from popshell.tuples import NamedTuple
from popshell.ui import layout
from popshell.ui.layout import Line, Look, clip, columns, pad
from popshell.ui.shell import Refused, Shell
from popshell.visible import fold, show

#: Octets of a reply that are shown; how often a remark of one kind is made; columns of what a client would have read.
MOST, _REMARKS, _READ = 128 * 1024, 3, 50


class Said(NamedTuple):
    """One line of a peer: as it may be shown, with its line end, and where its octets stand in what that peer said."""

    by_client: bool
    text: str
    start: int
    end: int


def said(exchange: Exchange, sent: int = 0, received: int = 0) -> Iterator[Said]:
    """The lines of an exchange in the order of the wire; it begins at `sent` and `received` of what each peer said."""
    lines = zip(exchange.sent_lines(), exchange.sent.split(b"\n"), strict=False)
    asked = [(f"{text}\r\n", len(octets) + 1) for text, octets in lines]

    def client() -> Iterator[Said]:
        nonlocal sent
        for text, length in asked[:1]:
            del asked[0]
            yield Said(True, text, sent, sent + length)
            sent += length

    yield from client()
    octets = (exchange.received + exchange.rest).split(CRLF)
    for at, text in enumerate(exchange.received_lines()):
        length = len(octets[at]) + 2 * (at < len(octets) - 1)
        yield Said(False, text, received, received + length)
        received += length
        if at < len(exchange.steps):
            yield from client()


def raw(shell: Shell, argument: str) -> list[Line]:
    """The last exchange: all lines, those of the client first."""
    due = _due(shell)
    last = due or next(reversed(shell.exchanges()), None)
    if last is None:
        raise Refused("shell.nothing-yet", "note")
    lines = sorted(said(_bounded(last)), key=lambda line: not line.by_client)
    rows = [row for line in lines for row in _peer(line.by_client, line.text, shell.screen.columns)]
    return [*rows, *_left_out(shell, last, due is not None)]


def _due(shell: Shell) -> Exchange | None:
    return shell.session.connection.under_way() if shell.session else None


def _bounded(exchange: Exchange) -> Exchange:
    return exchange._replace(received=(exchange.received + exchange.rest)[:MOST], rest=b"")


def _left_out(shell: Shell, exchange: Exchange, due: bool) -> Iterator[Line]:
    """What the rows do not show: what is still to come, what was passed over."""
    if due:
        name = exchange.name or shell.words("problem.greeting")
        text = shell.words("shell.raw-due", command=show(name, keep=""))
        yield from layout.paragraph(text, shell.screen.look, style="warn")
    if (left := len(exchange.received) + len(exchange.rest) - MOST) > 0:
        yield from layout.paragraph(shell.words("shell.raw-more", left=left), shell.screen.look, style="note")


def _octets(text: str) -> str:
    """`text` in ASCII alone, but for the mask."""
    return "".join(
        ch if ch.isascii() or ch == MASK[0] else "".join(f"\\x{octet:02x}" for octet in ch.encode())
        for ch in show(text, keep="")
    )


def _peer(by_client: bool, text: str, width: int, *, goes_on: bool = False) -> Iterator[Line]:
    """A line of a peer in rows, what ends with a bare LF in rows of its own. `goes_on`: its beginning was shown."""
    style, mark = ("gutter-client", "C") if by_client else ("gutter-server", "S")
    for row in re.findall("[^\n]*\n|[^\n]+", text):
        shown = _octets(row)
        for start, end in fold(shown, max(width - 9, 10)):
            text = re.sub(" $", r"\\x20", shown[start:end])  # a blank at the end of a row can be seen
            yield [(style, f"  {mark}{'|' if start or goes_on else '>'} "), ("", text)]
        goes_on = False


# -- what a naive client reads -----------------------------------------------------------------------------------------


def _latin(line: bytes) -> str | None:
    if line.isascii():
        return None
    try:
        line.decode()
    except UnicodeDecodeError:
        return None
    return line.decode("latin-1")


def _no_utf8(line: bytes) -> str | None:
    return None if line.isascii() or _latin(line) else line.decode("utf-8", "replace")


#: Code of `[wire]`, and what such a client reads of a line of content without its CRLF; None if it reads it rightly.
NAIVE: Mapping[str, Callable[[bytes], str | None]] = {
    "lone-dot": lambda line: "" if line == b".." else None,
    "stuffed": lambda line: line.decode("latin-1") if line.startswith(b".") and line not in (b".", b"..") else None,
    "lf-dot": lambda line: "" if b"\n.\n" in b"\n" + line + b"\n" and line != b"." else None,
    "bare-lf": lambda line: str(line.count(b"\n") + 1) if b"\n" in line else None,
    "bare-cr": lambda line: str(line.count(b"\r") + 1) if b"\r" in line else None,
    "nul": lambda line: line.partition(b"\0")[0].decode("latin-1") if b"\0" in line else None,
    "latin": _latin,
    "no-utf8": _no_utf8,
}


# -- :wire -------------------------------------------------------------------------------------------------------------


def wire(shell: Shell, argument: str) -> list[Line]:
    """An exchange of this connection, the last one if no number is given."""
    asked = re.fullmatch(r"(?:([0-9]{1,9})(?: |\Z))?(hex)?", argument)
    if asked is None:
        raise Refused
    due, exchanges = _due(shell), shell.exchanges_here()
    exchanges = [*exchanges, due] if due else exchanges
    number = int(asked[1] or len(exchanges))
    if shell.opened is None or not 0 < number <= len(exchanges):
        raise Refused("wire.no-such" if exchanges else "shell.nothing-yet", count=len(exchanges))
    before, exchange = exchanges[: number - 1], exchanges[number - 1]
    lines = list(said(_bounded(exchange), sum(len(e.sent) for e in before), sum(map(_length, before))))
    words, look = shell.words, shell.screen.look
    title = words("wire.hex" if asked[2] else "wire.title", number=number, count=len(exchanges))
    rows = layout.paragraph(title, look, style="emphasis")
    if asked[2]:
        rows += _hex(lines, shell.screen.columns)
    else:
        rows += _Wire(shell, shell.opened.session.chunks, exchanges, number - 1, lines).rows()
    return [*rows, *_left_out(shell, exchange, exchange is due)]


def _length(exchange: Exchange) -> int:
    """How many octets of the server an exchange holds, has counted, or has handed on."""
    problem, stream = exchange.problem, exchange.stream
    counted = problem.octets if problem is not None and problem.code == "unasked-more" else len(exchange.received)
    return counted + (stream.raw if stream else 0)


class _Wire:
    """The rows of one exchange with remarks: where each piece that came ended, when, what a client might misread."""

    def __init__(
        self, shell: Shell, chunks: Iterable[Chunk], exchanges: list[Exchange], at: int, lines: list[Said]
    ) -> None:
        self._exchange, self._lines, self._words = exchanges[at], lines, shell.words
        answer = next((one for one in reversed(exchanges[:at]) if not one.answers_no_line), None)
        #: whether the message goes on after its end, and whether this is what went on
        self._early = at + 1 < len(exchanges) and goes_on(exchanges[at], exchanges[at + 1])
        self._rest = goes_on(answer, exchanges[at])
        self._width, self._look = shell.screen.columns, shell.screen.look
        starts = {line.by_client: line.start for line in reversed(lines)}
        #: pieces that end in the exchange and are not shown yet
        self._chunks: dict[bool, deque[Chunk]] = {False: deque(), True: deque()}
        for chunk in chunks:
            if chunk.end > starts.get(chunk.by_client, chunk.end):
                self._chunks[chunk.by_client].append(chunk)
        out = self._chunks[True]
        self._began = out[0].when if out and out[0].start == starts[True] else self._exchange.started
        self._made: Counter[str] = Counter()
        #: where the last masked line of the server ends
        self._masked = 0

    def rows(self) -> Iterator[Line]:
        octets = self._exchange.received + self._exchange.rest
        at, before = 0, len(self._exchange.steps) + 1
        forgotten = self._lines and not any(self._chunks.values())
        for line in self._lines:
            if line.by_client:
                yield from _peer(True, line.text, self._width)
                yield from self._ended(line)
                continue
            raw = octets[at : at + line.end - line.start]
            yield from self._server(line, raw)
            if not before and self._exchange.response is not None:
                yield from self._remarks(raw, at + len(raw) == len(octets))
            at, before = at + len(raw), max(before - 1, 0)
        if self._rest:
            yield from self._remark("wire.rest")
        if (stream := self._exchange.stream) is not None and stream.raw:
            yield from self._remark("wire.streamed", octets=f"{stream.raw:,}")
        if forgotten:
            yield from self._remark("wire.forgotten")

    def _server(self, line: Said, raw: bytes) -> Iterator[Line]:
        """A line of the server, cut where a piece ended; a masked one stays whole, and what ended in it follows."""
        masked, chunks, done = line.text.encode("utf-8", "surrogateescape") != raw, self._chunks[False], 0
        if masked:
            self._masked = line.end
        while not masked and chunks and chunks[0].end < line.end:
            end = chunks[0].end - line.start
            yield from _peer(False, _text(raw[done:end]), self._width, goes_on=done > 0)
            yield from self._came(line.by_client)
            done = end
        rest = _text(raw[done:]) if done else line.text
        yield from _peer(False, rest, self._width, goes_on=done > 0)
        yield from self._ended(line)

    def _ended(self, line: Said) -> Iterator[Line]:
        """The pieces that ended within or with a line."""
        chunks = self._chunks[line.by_client]
        while chunks and chunks[0].end <= line.end:
            yield from self._came(line.by_client)

    def _came(self, by_client: bool) -> Iterator[Line]:
        """When a piece came or went; nothing that would tell how long a masked secret is."""
        chunk = self._chunks[by_client].popleft()
        key = "wire.sent" if by_client else "wire.came-masked" if chunk.start < self._masked else "wire.came"
        facts = {"octets": f"{chunk.octets:,}", "ms": f"{(chunk.when - self._began) * 1000:,.1f}"}
        yield from self._remark(key, by_client=by_client, **facts)

    def _remarks(self, raw: bytes, last: bool) -> Iterator[Line]:
        whole = self._exchange.response is not None and self._exchange.response.content is not None
        if last and whole and raw == b".\r\n":
            yield from self._remark("wire.early-dot" if self._early else "wire.end")
            return
        for code, test in NAIVE.items():
            if self._made[code] < _REMARKS and (read := test(raw.removesuffix(CRLF))) is not None:
                self._made[code] += 1
                yield from self._remark(f"wire.{code}", read=clip(show(read, keep=""), _READ))

    def _remark(self, key: str, *, by_client: bool = False, **facts: object) -> Iterator[Line]:
        mark = ("gutter-client", "  C~ ") if by_client else ("gutter-server", "  S~ ")
        text = self._words(key, **facts)
        yield from ([mark, *row] for row in layout.paragraph(text, self._look.within(-5), "", "note"))


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _hex(lines: Iterable[Said], width: int) -> Iterator[Line]:
    """The octets of each line, sixteen in a row, eight where the window is narrow; a secret is four stars.

    What is counted is what is shown, so that the numbers do not tell how long a secret is.
    """
    many, shown = 16 if width >= 80 else 8, Counter[bool]()
    for line in lines:
        style, mark = ("gutter-client", "C") if line.by_client else ("gutter-server", "S")
        octets = line.text.replace(MASK, "****").encode("utf-8", "surrogateescape")
        for at in range(0, len(octets), many):
            row = octets[at : at + many]
            drawn = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
            text = f"{shown[line.by_client] + at:06x}  {row.hex(' '):{3 * many}} {drawn}"
            yield [(style, f"  {mark}{'|' if at else '>'} "), ("", text)]
        shown[line.by_client] += len(octets)


# -- :times ------------------------------------------------------------------------------------------------------------

#: A step that has come to its end, and the key of `[times]` for the time that it took.
_STAGES = {"resolved": "lookup", "connected": "connect", "not-connected": "not-connected", "tls": "handshake"}
#: Columns: of the numbers, of what is measured, of a bar that is worth drawing.
_WIDTHS, _NAME, _LEAST_BAR = (10, 10, 11, 11), 20, 8
#: Columns that are neither name nor bar.
_FIXED = 5 + sum(_WIDTHS) + 2


class Row(NamedTuple):
    """A step, or an exchange by its number: seconds to the first octet of the reply (None for a step), to the last.

    A reply that broke off has no last octet: None.
    """

    number: str
    name: str
    first: float | None
    last: float | None
    octets: int = 0


def times(shell: Shell, argument: str) -> list[Line]:
    """The table; empty, and why is said, if nothing was measured."""
    words, look = shell.words, shell.screen.look
    rows: list[Row] = []
    for step in shell.link.steps:
        if step.seconds is not None:
            name = words(f"times.{_STAGES[step.what]}", address=show(step.address, keep=""))
            rows.append(Row("", name, None, step.seconds))
    rows += _exchanges(shell.exchanges_here(), words)
    if not rows:
        raise Refused("shell.nothing-yet", "note")
    whole = [row for row in rows if row.last is not None]
    first, last, octets = (sum(getattr(row, name) or 0 for row in whole) for name in ("first", "last", "octets"))
    total = Row("", words("times.sum"), first, last, octets)
    bar = look.width - _FIXED - _NAME
    bar = 0 if look.plain or bar < _LEAST_BAR else bar
    title = words("times.title") + (" " + words("times.bars") if bar else "")
    return [*layout.paragraph(title, look, style="note"), *look.rows(_table(rows, total, words, look, bar))]


def _exchanges(exchanges: Iterable[Exchange], words: Words) -> Iterator[Row]:
    """The exchanges by the numbers that `:wire` takes; what no line was answered by has no times."""
    for number, exchange in enumerate(exchanges, 1):
        if exchange.answers_no_line:
            continue
        name = show(exchange.sent_lines()[0], keep="") if exchange.command else words("problem.greeting")
        cut = exchange.problem is not None and exchange.problem.code in ("no-terminator", "cut", "no-reply")
        arrived = exchange.finished if exchange.arrived is None and not cut else exchange.arrived
        octets = len(exchange.received) + (exchange.stream.raw if exchange.stream else 0)
        if exchange.reply_line() != exchange.reply_line(masked=False):
            octets = 0  # their number would tell how long the secret is that the reply repeats
        first = None if arrived is None else arrived - exchange.started
        yield Row(str(number), name, first, None if cut else exchange.finished - exchange.started, octets)


def _table(rows: list[Row], total: Row, words: Words, look: Look, bar: int) -> Iterator[Line]:
    name = max(_NAME if bar else look.width - _FIXED + 2, 6)
    heads = [words(f"times.{head}") for head in ("first", "last", "octets", "rate")]
    yield [("emphasis", " " * (5 + name) + _right(heads))]
    longest = max(row.last or row.first or 0.0 for row in rows) or 1.0
    for row in (*rows, total):
        style = "emphasis" if row is total else ""
        rate = f"{row.octets / row.last:,.0f}" if row.octets and row.last else "-"
        first, last = ("-" if seconds is None else _milliseconds(seconds) for seconds in (row.first, row.last))
        cells = _right([first, last, f"{row.octets:,}" if row.octets else "-", rate])
        shown = pad(clip(row.name, name - 1, look.ellipsis), name)
        line: Line = [("number", f"{row.number:>4} "), (style or "peer", shown), (style, cells)]
        if bar and row is not total:
            waiting = round((row.first or 0.0) / longest * bar)
            coming = round((row.last or row.first or 0.0) / longest * bar) - waiting
            line += [("", "  "), ("dim", "─" * waiting), ("arrow", "━" * coming)]
        yield line


def _right(cells: Iterable[str]) -> str:
    return "".join(" " * (width - columns(cell)) + cell for cell, width in zip(cells, _WIDTHS, strict=True))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"
