"""`:times`: how long each step and exchange of this connection took, with a bar for each; in --plain a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from popshell.course.catalog import Words
from popshell.protocol.records import Exchange
from popshell.tuples import NamedTuple
from popshell.ui import layout
from popshell.ui.layout import Line, Look, clip, columns, pad
from popshell.ui.shell import Shell
from popshell.visible import show

#: A step and the one after it, and the key of `[times]` for the time between them.
_STAGES = {
    ("resolving", "connecting"): "lookup",
    ("connecting", "connected"): "connect",
    ("connecting", "not-connected"): "not-connected",
    ("connected", "tls"): "handshake",
    ("stls", "tls"): "handshake",
}
#: Columns: of the numbers, of what is measured, of a bar that is worth drawing.
_WIDTHS, _NAME, _LEAST_BAR = (10, 10, 11, 11), 20, 8
#: Columns that are neither name nor bar.
_FIXED = 5 + sum(_WIDTHS) + 2


class Row(NamedTuple):
    """A step, or an exchange by its number: seconds to the first octet of the reply (None for a step), to the last."""

    number: str
    name: str
    first: float | None
    last: float
    octets: int = 0


def times(shell: Shell) -> list[Line]:
    """The table; empty, and why is said, if nothing was measured."""
    words, look = shell.words, shell.screen.look
    rows = [*_steps(shell.link.steps if shell.link else (), words), *_exchanges(shell.exchanges_here(), words)]
    if not rows:
        shell.say("shell.nothing-yet")
        return []
    first, last = (sum(getattr(row, name) or 0.0 for row in rows) for name in ("first", "last"))
    total = Row("", words("times.sum"), first, last, sum(row.octets for row in rows))
    bar = look.width - _FIXED - _NAME
    bar = 0 if look.plain or bar < _LEAST_BAR else bar
    title = words("times.title") + (" " + words("times.bars") if bar else "")
    return [*layout.paragraph(title, look, style="note"), *look.drawing(_table(rows, total, words, look, bar))]


def _steps(steps: Iterable[tuple[float, str, str]], words: Words) -> Iterator[Row]:
    for (begun, before, _), (ended, what, address) in pairwise(steps):
        if key := _STAGES.get((before, what)):
            yield Row("", words(f"times.{key}", address=show(address, keep="")), None, ended - begun)


def _exchanges(exchanges: Iterable[Exchange], words: Words) -> Iterator[Row]:
    """The exchanges by the numbers that `:wire` takes; what no line was answered by has no times."""
    for number, exchange in enumerate(exchanges, 1):
        if exchange.answers_no_line:
            continue
        name = show(exchange.sent_lines()[0], keep="") if exchange.command else words("problem.greeting")
        arrived = exchange.finished if exchange.arrived is None else exchange.arrived
        octets = len(exchange.received) + (exchange.stream.raw if exchange.stream else 0)
        if exchange.reply_line() != exchange.reply_line(masked=False):
            octets = 0  # their number would tell how long the secret is that the reply repeats
        yield Row(str(number), name, arrived - exchange.started, exchange.finished - exchange.started, octets)


def _table(rows: list[Row], total: Row, words: Words, look: Look, bar: int) -> Iterator[Line]:
    name = max(_NAME if bar else look.width - _FIXED + 2, 6)
    heads = [words(f"times.{head}") for head in ("first", "last", "octets", "rate")]
    yield layout.clip_line([("emphasis", " " * (5 + name) + _right(heads))], look.width, look.ellipsis)
    longest = max(row.last for row in rows) or 1.0
    for row in (*rows, total):
        style = "emphasis" if row is total else ""
        rate = f"{row.octets / row.last:,.0f}" if row.octets and row.last else "-"
        first = "-" if row.first is None else _milliseconds(row.first)
        cells = _right([first, _milliseconds(row.last), f"{row.octets:,}" if row.octets else "-", rate])
        shown = pad(clip(row.name, name - 1, look.ellipsis), name)
        line: Line = [("number", f"{row.number:>4} "), (style or "peer", shown), (style, cells)]
        if bar and row is not total:
            waiting = round((row.first or 0.0) / longest * bar)
            line += [("", "  "), ("dim", "─" * waiting), ("arrow", "━" * (round(row.last / longest * bar) - waiting))]
        yield layout.clip_line(line, look.width, look.ellipsis)


def _right(cells: Iterable[str]) -> str:
    return "".join(" " * (width - columns(cell)) + cell for cell, width in zip(cells, _WIDTHS, strict=True))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"
