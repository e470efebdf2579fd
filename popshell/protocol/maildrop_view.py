"""MaildropView: what the client knows of the maildrop so far, read from replies alone.

After STAT two numbers, after LIST sizes, after UIDL unique-ids, after RETR and TOP a subject, after DELE a mark.
Nothing is guessed: what was not asked is None. A view is frozen; `after()` gives the next one and shares what did not
change, so that 100,000 messages cost nothing per exchange.

Message-numbers are fixed for a session (RFC 1939 §5), so what was learnt holds until the connection ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from popshell.tuples import NamedTuple

# Compiled by `re` when first used, and kept: no start pays for them.
_DROP = r"([0-9]{1,10}) ([0-9]{1,15})(?: |\Z)"
_SCAN = r"\+?([0-9]{1,10}) ([0-9]{1,15})(?: |\Z)"
_UNIQUE = r"([0-9]{1,10}) ([\x21-\x7e]{1,70})(?: |\Z)"
_SCAN_ROWS = rb"(?:\A|(?<=\r\n))(?!0+ )([0-9]{1,10}) ([0-9]{1,15})(?: [^\r\n]*)?(?=\r\n)"
_UNIQUE_ROWS = rb"(?:\A|(?<=\r\n))(?!0+ )([0-9]{1,10}) ([\x21-\x7e]{1,70})(?: [^\r\n]*)?(?=\r\n)"

_T = TypeVar("_T")
_NO_SIZES: Mapping[int, int] = MappingProxyType({})
_NO_WORDS: Mapping[int, str] = MappingProxyType({})


def drop_listing(text: str) -> tuple[int, int] | None:
    """Count and octets from the text of a status line, `nn mm` (RFC 1939 §5, STAT)."""
    match = re.match(_DROP, text)
    return (int(match[1]), int(match[2])) if match else None


def scan_row(text: str) -> tuple[int, int] | None:
    """Message-number and octets from the text of a status line, `msg octets` (RFC 1939 §5, LIST)."""
    match = re.match(_SCAN, text)
    return (int(match[1]), int(match[2])) if match else None


def unique_id_row(text: str) -> tuple[int, str] | None:
    """Message-number and unique-id from the text of a status line, `msg id` (RFC 1939 §7, UIDL)."""
    match = re.match(_UNIQUE, text)
    return (int(match[1]), match[2]) if match else None


def scan_listing(content: bytes) -> dict[int, int]:
    """All scan listings of a content (RFC 1939 §5); a row that is none is passed over."""
    return {int(number): int(size) for number, size in re.findall(_SCAN_ROWS, content)}


def unique_id_listing(content: bytes) -> dict[int, str]:
    """All unique-id listings of a content (RFC 1939 §7); a row that is none is passed over."""
    return {int(number): uid.decode() for number, uid in re.findall(_UNIQUE_ROWS, content)}


def header_field(content: bytes, name: str) -> str | None:
    """The first field `name`, in lower case, of a message's header: unfolded, still encoded (RFC 5322 §2.2).

    It reads 64 KiB.
    """
    head = (b"\r\n" + content[:65536]).partition(b"\r\n\r\n")[0]
    wanted = name.encode() + b":"
    rows = head.split(b"\r\n")
    for at, row in enumerate(rows):
        if row[: len(wanted)].lower() == wanted:
            value = row[len(wanted) :]
            for more in rows[at + 1 :]:
                if not more.startswith((b" ", b"\t")):
                    break
                value += more
            return value.strip().decode(errors="surrogateescape")
    return None


class MaildropView(NamedTuple):
    """The maildrop as known. `count` and `octets` leave marked messages out, as STAT does (RFC 1939 §5)."""

    open: bool = False
    count: int | None = None  # type: ignore[assignment]  # a tuple has a method of this name
    octets: int | None = None
    sizes: Mapping[int, int] = _NO_SIZES
    unique_ids: Mapping[int, str] = _NO_WORDS
    subjects: Mapping[int, str] = _NO_WORDS
    marks: frozenset[int] = frozenset()
    #: whether all rows of the last listing could be read
    readable: bool = True
    #: the highest message-number that a reply named
    last: int | None = None

    @property
    def numbers(self) -> range:
        """The message-numbers that are known to be in use, marked ones included."""
        return range(1, (self.last or 0) + 1)

    def after(self, command: str, message: int | None, text: str, content: bytes | None) -> MaildropView:
        """The view after `+OK` to `command`, which named `message` if it is not None.

        `text` follows `+OK`; `content` is the multi-line part, byte-stuffing undone, None if there was none.
        """
        match command:
            case "STAT" if found := drop_listing(text):
                count, octets = found
                # Marked messages are not counted; the marks are ours, so their number is known.
                return self._replace(count=count, octets=octets, last=max(count + len(self.marks), self.last or 0))
            case "LIST" if content is not None:
                return self._after_list(content)
            case "LIST" if (size := scan_row(text)) and message in (size[0], None):
                last = max(self.last, size[0]) if self.last is not None else None
                return self._replace(sizes=MappingProxyType(dict(self.sizes) | {size[0]: size[1]}), last=last)
            case "UIDL" if content is not None:
                return self._after_uidl(content)
            case "UIDL" if (uid := unique_id_row(text)) and message in (uid[0], None):
                return self._replace(unique_ids=MappingProxyType(dict(self.unique_ids) | {uid[0]: uid[1]}))
            case "DELE" if message and message not in self.marks:  # no message has number 0, whatever a server says
                return self._after_dele(message)
            case "RSET" if self.marks:
                return self._after_rset()
            case "RETR" | "TOP" if message is not None and content is not None:
                subject = header_field(content, "subject")
                if subject is not None and self.subjects.get(message) != subject:
                    return self._replace(subjects=MappingProxyType(dict(self.subjects) | {message: subject}))
        return self

    def _after_list(self, content: bytes) -> MaildropView:
        sizes = scan_listing(content)
        known = self._after_rows(content, sizes)
        view = known._replace(sizes=MappingProxyType(sizes | self._kept(known, sizes, self.sizes)))
        return view._replace(octets=sum(sizes.values())) if view.readable else view

    def _after_uidl(self, content: bytes) -> MaildropView:
        ids = unique_id_listing(content)
        known = self._after_rows(content, ids)
        return known._replace(unique_ids=MappingProxyType(ids | self._kept(known, ids, self.unique_ids)))

    def _after_rows(self, content: bytes, rows: Mapping[int, object]) -> MaildropView:
        """The view after a listing with `rows` that can be read; others are messages, too."""
        highest = max((*rows, *self.marks, self.last or 0))
        if content.count(b"\r\n") == len(rows):
            return self._replace(readable=True, count=len(rows), last=highest)
        return self._replace(readable=False, last=None if self.last is None else highest)

    @staticmethod
    def _kept(known: MaildropView, rows: Mapping[int, _T], before: Mapping[int, _T]) -> dict[int, _T]:
        """What a mark or an unreadable row hides from a listing was learnt before, and still holds."""
        return {n: what for n, what in before.items() if n not in rows} if known.marks or not known.readable else {}

    def _after_dele(self, number: int) -> MaildropView:
        size = self.sizes.get(number)
        count = None if self.count is None else max(0, self.count - 1)
        octets = None if self.octets is None or size is None else max(0, self.octets - size)
        return self._replace(marks=self.marks | {number}, count=count, octets=octets)

    def _after_rset(self) -> MaildropView:
        sizes = [self.sizes.get(number) for number in self.marks]
        octets = None if self.octets is None or None in sizes else self.octets + sum(filter(None, sizes))
        count = None if self.count is None else self.count + len(self.marks)
        return self._replace(marks=frozenset(), count=count, octets=octets)
