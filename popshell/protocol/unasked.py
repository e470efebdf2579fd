"""Unasked: lines that no command asked for, since the last reply. Few are records of their own, the rest is counted.

Rows of a listing that was not due (`LIST 7` answered with all rows) are no flood: the first is a record that says so,
the others are one more record, given out when the listing ends. Like everything of the protocol it depends on offsets
in the stream and on what was sent before, not on how TCP cuts it; the flood's time alone comes from the clock.
"""

from __future__ import annotations

import re

from popshell.protocol.records import Problem
from popshell.protocol.wire import ReplyLimits
from popshell.tuples import NamedTuple

_ROW = rb"[0-9]{1,10}[ \t]+[^ \t\r\n]"


class Found(NamedTuple):
    """What becomes a record: its fault, and the octets that are kept of it."""

    problem: Problem
    raw: bytes


class Unasked:
    """Counts the lines of one connection that no command asked for."""

    __slots__ = ("_began", "_last", "_limits", "_lines", "_more", "_octets", "_rows", "_rows_count")

    def __init__(self, limits: ReplyLimits) -> None:
        self._limits = limits
        self.reply_came()
        self._more: tuple[int, int] = (0, 0)
        self._began = self._last = 0.0
        #: the rows of a listing that was not due after its first; None if none is under way
        self._rows: bytearray | None = None
        self._rows_count = 0

    def line(self, raw: bytes, now: float) -> list[Found]:
        """Take in one line with its CRLF; what becomes a record by it. A fault other than `unasked...` ends it all."""
        if self._rows is not None:
            ends = raw == b".\r\n"
            if ends or re.match(_ROW, raw):
                return self._row(raw, ends)
        out = self._listed()
        limits, listing = self._limits, re.match(_ROW, raw) is not None
        if not self._lines or now - self._last > limits.unasked_pause:
            self._began = now
        self._last = now
        self._lines += 1
        self._octets += len(raw)
        if self._lines >= limits.unasked_lines or now - self._began >= limits.unasked_time:
            return [*out, *self.flush(), Found(Problem("flood", lines=self._lines, octets=self._octets), raw)]
        if self._lines > limits.unasked_kept:
            self._more = self._more[0] + 1, self._more[1] + len(raw)
            return out
        if self._lines == limits.unasked_kept:
            return [*out, Found(Problem("unasked-last"), raw)]
        if listing:
            self._rows, self._rows_count = bytearray(), 1
        return [*out, Found(Problem("unasked-listing" if listing else "unasked"), raw)]

    def flush(self) -> list[Found]:
        """What was counted and not recorded yet: before a line is sent, before a reply, at the end."""
        out = self._listed()
        lines, octets = self._more
        self._more = 0, 0
        return [*out, Found(Problem("unasked-more", lines=lines, octets=octets), b"")] if lines else out

    def reply_came(self) -> None:
        """A reply that was due came: the counting begins anew. Call `flush()` before."""
        self._lines = self._octets = 0

    def _row(self, raw: bytes, ends: bool) -> list[Found]:
        assert self._rows is not None
        self._rows += raw
        self._rows_count += not ends
        if ends:
            return self._listed()
        limits = self._limits
        if self._rows_count > limits.listing_lines or len(self._rows) > limits.content:
            code = "too-many-lines" if self._rows_count > limits.listing_lines else "content-too-long"
            return [*self._listed(), Found(Problem(code), raw)]
        return []

    def _listed(self) -> list[Found]:
        """The listing that was under way is over; no more of it than its first row if no other came."""
        rows, self._rows = self._rows, None
        if not rows:
            return []
        return [Found(Problem("unasked-rows", lines=self._rows_count - 1, octets=len(rows)), bytes(rows))]
