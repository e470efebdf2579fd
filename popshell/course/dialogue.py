"""Dialogues of pages and scripts: `C:` and `S:` lines cut into turns, and compared with what a server says.

A turn is `C:` lines that go out in one flight, then the `S:` lines that answer them. A line of the server `[...]`, or
`…`, stands for any number of lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

from popshell.tuples import NamedTuple

#: Stands for any number of server lines; the first is what is written.
ELLIPSIS = "[...]"
_GAPS = (ELLIPSIS, "…")
ROW = re.compile(r"[CS]:(?: .*)?")
#: Among so many lines the one that is most like a line that did not come is looked for.
_LOOKED_AT = 50


class Turn(NamedTuple):
    """Lines that go out in one flight, and what is said to answer them. `line` is that of the first row, from 1."""

    line: int
    sent: tuple[str, ...]
    said: tuple[str, ...]


class Untruth(NamedTuple):
    """The first row that is not as said: `at` among the rows, `heard` the line that came in its place, if any."""

    at: int
    heard: int | None


def in_flight(text: str) -> list[str]:
    """The lines between the bars of `STAT | LIST`, as `:flight` takes them: two or more, all POP3; else none."""
    rows = [row.strip() for row in text.split("|") if row.strip()]
    return [] if len(rows) < 2 or any(row.startswith(":") for row in rows) else rows


def turns(rows: Iterable[tuple[int, str]]) -> list[Turn]:
    """Rows with their line numbers, all of them like ROW, as turns."""
    found: list[Turn] = []
    sent: list[str] = []
    said: list[str] = []
    start = 0
    for at, row in rows:
        start = start or at
        if row.startswith("C:") and said:
            found.append(Turn(start, tuple(sent), tuple(said)))
            sent, said, start = [], [], at
        (sent if row.startswith("C:") else said).append(row[3:])
    return [*found, Turn(start, tuple(sent), tuple(said))]


def _equal(row: str, line: str, state: Any) -> Any:
    return state if row == line else None


def compare(
    said: Sequence[str],
    heard: Sequence[str],
    stands: Callable[[str, str, Any], Any] = _equal,
    state: Any = (),
) -> Any:
    """Hold `said` against `heard`, whole: an Untruth, or the last state.

    `stands(row, line, state)` is None where a row does not stand for a line, else the state with which the next one is
    compared.
    """
    reached = {0: state}  # how much of `heard` the rows so far can stand for
    for at, row in enumerate(said):
        following: dict[int, Any] = {}
        if row in _GAPS:
            last = reached[min(reached)]
            for number in range(min(reached), len(heard) + 1):
                following[number] = last = reached.get(number, last)
        else:
            for number, before in reached.items():
                after = stands(row, heard[number], before) if number < len(heard) else None
                if after is not None:
                    following[number + 1] = after
        if not following:
            # After a gap any line could stand here: the one that is most alike is meant, or the last.
            near = [number for number in reached if number < len(heard)]
            near = [*near[:_LOOKED_AT], *near[_LOOKED_AT:][-1:]]
            alike = [(SequenceMatcher(None, row[:512], heard[number][:512]).ratio(), number) for number in near]
            return Untruth(at, max(alike)[1] if alike else None)
        reached = following
    return reached[len(heard)] if len(heard) in reached else Untruth(len(said), max(reached))
