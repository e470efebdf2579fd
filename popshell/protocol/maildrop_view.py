"""MaildropView: what the client knows of the maildrop so far, read from replies alone.

After STAT two numbers, after LIST sizes, after UIDL unique-ids, after RETR and TOP a subject, after DELE a mark.
Nothing is guessed: what was not asked is None. A view is frozen; `after()` gives the next one and shares what did not
change, so that 100,000 messages cost nothing per exchange.

Message-numbers are fixed for a session (RFC 1939 §5), so what was learnt stays true until the connection ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popshell.protocol.line import CommandLine
    from popshell.protocol.records import Response

_EMPTY: Mapping[int, int] = MappingProxyType({})
_NO_WORDS: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MaildropView:
    """The maildrop as known. `count` and `octets` leave marked messages out, as STAT does (RFC 1939 §5)."""

    open: bool = False
    count: int | None = None
    octets: int | None = None
    sizes: Mapping[int, int] = field(default_factory=lambda: _EMPTY)
    unique_ids: Mapping[int, str] = field(default_factory=lambda: _NO_WORDS)
    subjects: Mapping[int, str] = field(default_factory=lambda: _NO_WORDS)
    marks: frozenset[int] = frozenset()
    #: the highest message-number, where a reply told it
    last: int | None = None

    @property
    def numbers(self) -> range:
        """The message-numbers that are known to be in use, marked ones included."""
        return range(1, (self.last or 0) + 1)

    def after(self, line: CommandLine, response: Response, logs_in: bool) -> MaildropView:
        """The view after `line` was answered by `response`."""
        if not response.ok:
            return self
        if logs_in:
            return MaildropView(open=True)
        step = _STEPS.get(line.name)
        return step(self, line, response) if step else self


def _stat(view: MaildropView, line: CommandLine, response: Response) -> MaildropView:
    listing = response.drop_listing()
    if listing is None:
        return view
    count, octets = listing
    # Marked messages are not counted, so the highest number is known only while the marks are (they are ours).
    return replace(view, count=count, octets=octets, last=max(count + len(view.marks), view.last or 0))


def _list(view: MaildropView, line: CommandLine, response: Response) -> MaildropView:
    if response.content is None:
        row = response.scan_row()
        if row is None:
            return view
        last = max(view.last or 0, row[0]) if view.last is not None else None
        return replace(view, sizes=MappingProxyType({**view.sizes, row[0]: row[1]}), last=last)
    sizes = response.scan_listing()
    last = max(max(sizes, default=0), max(view.marks, default=0), view.last or 0)
    # What a mark hides from LIST was learnt before, and stays true.
    kept = {n: s for n, s in view.sizes.items() if n not in sizes} if view.marks else {}
    return replace(
        view,
        sizes=MappingProxyType(sizes | kept),
        count=len(sizes),
        octets=sum(sizes.values()),
        last=last,
    )


def _uidl(view: MaildropView, line: CommandLine, response: Response) -> MaildropView:
    if response.content is None:
        row = response.unique_id_row()
        return replace(view, unique_ids=MappingProxyType({**view.unique_ids, row[0]: row[1]})) if row else view
    ids = response.unique_id_listing()
    whole = response.content.count(b"\r\n") == len(ids)  # rows that cannot be read are messages, too
    last = max(max(ids, default=0), max(view.marks, default=0), view.last or 0)
    kept = {n: u for n, u in view.unique_ids.items() if n not in ids} if view.marks else {}
    return replace(view, unique_ids=MappingProxyType(ids | kept), count=len(ids) if whole else view.count, last=last)


def _dele(view: MaildropView, line: CommandLine, response: Response) -> MaildropView:
    number = line.message
    if not number or number in view.marks:  # no message has number 0, whatever a server says
        return view
    size = view.sizes.get(number)
    return replace(
        view,
        marks=view.marks | {number},
        count=None if view.count is None else max(0, view.count - 1),
        octets=None if view.octets is None or size is None else max(0, view.octets - size),
    )


def _rset(view: MaildropView, line: CommandLine, response: Response) -> MaildropView:
    if not view.marks:
        return view
    sizes = [view.sizes.get(number) for number in view.marks]
    known = None if view.octets is None or None in sizes else view.octets + sum(s or 0 for s in sizes)
    count = None if view.count is None else view.count + len(view.marks)
    return replace(view, marks=frozenset(), count=count, octets=known)


def _read(view: MaildropView, line: CommandLine, response: Response) -> MaildropView:
    number = line.message
    subject = response.header_field("subject") if response.content is not None else None
    if number is None or subject is None or view.subjects.get(number) == subject:
        return view
    return replace(view, subjects=MappingProxyType({**view.subjects, number: subject}))


_STEPS = {
    "STAT": _stat,
    "LIST": _list,
    "UIDL": _uidl,
    "DELE": _dele,
    "RSET": _rset,
    "RETR": _read,
    "TOP": _read,
}
