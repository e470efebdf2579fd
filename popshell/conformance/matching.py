"""The matchers of conformance rows: what may be asked of a reply. MATCHERS is a closed list, in the order of judging.

A matcher gets its value of the row, the reply, and what was seen before: `past[0]` is the reply that brought the
session to where the row begins, `past[n]` that of step n. It is met or not; it never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from popshell.protocol.maildrop_view import scan_listing, unique_id_listing
from popshell.protocol.records import Exchange, Response
from popshell.protocol.wire import CRLF
from popshell.tuples import NamedTuple

#: Twice what RFC 2449 §4 allows a reply's line, in characters.
_LONGEST_ROW = 1024


class Seen(NamedTuple):
    """What came of one step: the reply, None if none came whole; whether the line is closed; what came unasked."""

    exchange: Exchange | None
    closed: bool = False
    came: bytes = b""

    @property
    def line(self) -> str:
        """The first line of the reply, CRLF cut off; the challenges that were answered before it left out."""
        if self.exchange is None:
            return ""
        lines = self.exchange.received.split(CRLF, len(self.exchange.steps) + 1)
        return lines[min(len(self.exchange.steps), len(lines) - 1)].decode("utf-8", "surrogateescape")

    @property
    def response(self) -> Response | None:
        return self.exchange.response if self.exchange else None

    @property
    def content(self) -> bytes | None:
        return self.response.content if self.response else None

    @property
    def rows(self) -> list[str] | None:
        lines = self.response.lines if self.response else None
        return None if lines is None else [line.decode("utf-8", "surrogateescape") for line in lines]

    @property
    def messages(self) -> int | None:
        """How many messages it speaks of: a drop listing's number, or how many rows there are."""
        drop = self.response.drop_listing() if self.response and self.response.content is None else None
        return drop[0] if drop else len(self.rows) if self.rows is not None else None

    def arguments(self, tag: str) -> tuple[str, ...] | None:
        """The arguments of a CAPA row; None if there is none."""
        return self.response.capabilities().get(tag) if self.response else None


Past = Sequence[Seen]


def _status(value: str, seen: Seen, past: Past) -> bool:
    word = seen.line.partition(" ")[0]
    return word in ("+OK", "-ERR") if value == "any" else word == value


def _row(value: str, row: str, flags: int = 0) -> bool:
    """Whether a row is a regular expression; one that is longer than any reply has to be is none, and costs no time."""
    return len(row) <= _LONGEST_ROW and re.fullmatch(value, row, flags) is not None


def _all_rows(value: str, seen: Seen, past: Past) -> bool:
    return seen.rows is not None and all(_row(value, row) for row in seen.rows)


def _some_row(value: str, seen: Seen, past: Past) -> bool:
    return any(_row(value, row, re.IGNORECASE) for row in seen.rows or ())


def _no_row(value: str, seen: Seen, past: Past) -> bool:
    return not _some_row(value, seen, past)


def _numbered(value: bool, seen: Seen, past: Past) -> bool:
    rows = seen.rows
    return rows is not None and [row.split(" ")[0] for row in rows] == [str(at) for at in range(1, len(rows) + 1)]


def _stuffed(value: bool, seen: Seen, past: Past) -> bool:
    raw = seen.exchange.raw_content() if seen.exchange else b""
    dots = [line for line in raw.split(CRLF)[:-2] if line.startswith(b".")]
    return bool(dots) and all(line.startswith(b"..") for line in dots)


def _octets(seen: Seen) -> bytes:
    return seen.exchange.received if seen.exchange else b""


def _fewer(value: int, seen: Seen, past: Past) -> bool:
    before, now = past[value].messages, seen.messages
    return before is not None and now == before - 1


def _sums(value: int, seen: Seen, past: Past) -> bool:
    """A drop listing is the sum of the scan listings of that step."""
    listing, drop = past[value].response, seen.response.drop_listing() if seen.response else None
    sizes = scan_listing(listing.content or b"") if listing else {}
    return drop == (len(sizes), sum(sizes.values()))


def _octets_of(value: int, seen: Seen, past: Past) -> bool:
    """The content has as many octets as the scan listing of that step says, byte-stuffing undone."""
    listing = past[value].response
    row = listing.scan_row() if listing else None
    return row is not None and seen.content is not None and len(seen.content) == row[1]


def _begins(value: int, seen: Seen, past: Past) -> bool:
    whole, part = past[value].content, seen.content
    return whole is not None and part is not None and whole.startswith(part)


def _body_lines(value: int, seen: Seen, past: Past) -> bool:
    _, empty, body = (seen.content or b"").partition(CRLF + CRLF)
    return bool(empty) and body.count(CRLF) <= value


def _without_first_of(value: int, seen: Seen, past: Past) -> bool:
    """The unique-ids of that step, the first left out."""
    before, now = past[value].response, seen.response
    if before is None or now is None:
        return False
    unique_ids = [list(unique_id_listing(response.content or b"").values()) for response in (before, now)]
    return unique_ids[1] == unique_ids[0][1:]


def _tags_of(value: int, seen: Seen, past: Past) -> bool:
    """All tags of that step but STLS, which RFC 2595 §4 announces only where it is permitted."""
    before, now = past[value].response, seen.response
    return before is not None and now is not None and {*before.capabilities()} - {"STLS"} <= {*now.capabilities()}


def _number(seen: Seen, tag: str) -> float | None:
    """The first argument of a CAPA row as a number; NEVER is more than any."""
    first = (seen.arguments(tag) or ("",))[0].upper()
    return float("inf") if first == "NEVER" else int(first) if re.fullmatch(r"[0-9]{1,9}", first) else None


def _at_most(value: tuple[int, str], seen: Seen, past: Past) -> bool:
    before, now = _number(past[value[0]], value[1]), _number(seen, value[1])
    return before is not None and (now is None or now <= before)


def _at_least(value: tuple[int, str], seen: Seen, past: Past) -> bool:
    before, now = _number(past[value[0]], value[1]), _number(seen, value[1])
    return before is not None and (now is None or now >= before)


def _user_if_differs(value: tuple[int, str], seen: Seen, past: Past) -> bool:
    before, now = past[value[0]].arguments(value[1]) or (), seen.arguments(value[1])
    return now is None or before[:1] == now[:1] or "USER" in before[1:]


Matcher = Callable[[Any, Seen, Past], bool]

#: Every matcher by its name in a row; docs/reference-conformance.md says what each means.
MATCHERS: Mapping[str, Matcher] = MappingProxyType(
    {
        "status": _status,
        "first": lambda value, seen, past: re.fullmatch(value, seen.line) is not None,
        "not_first": lambda value, seen, past: re.fullmatch(value, seen.line) is None,
        "longest": lambda value, seen, past: len(_octets(seen).partition(CRLF)[0]) + len(CRLF) <= value,
        "rows": _all_rows,
        "some_row": _some_row,
        "no_row": _no_row,
        "count": lambda value, seen, past: seen.messages == value,
        "numbered": _numbered,
        "ascii": lambda value, seen, past: _octets(seen).isascii(),
        "stuffed": _stuffed,
        "same_as": lambda value, seen, past: _octets(seen) == _octets(past[value]),
        "differs_from": lambda value, seen, past: seen.line != past[value].line,
        "rows_as": lambda value, seen, past: seen.rows is not None and seen.rows == past[value].rows,
        "fewer_than": _fewer,
        "sums": _sums,
        "octets_of": _octets_of,
        "begins": _begins,
        "body_lines": _body_lines,
        "without_first_of": _without_first_of,
        "tags_of": _tags_of,
        "at_most": _at_most,
        "at_least": _at_least,
        "user_if_differs": _user_if_differs,
        "closes": lambda value, seen, past: seen.closed is value,
        "silent": lambda value, seen, past: not seen.came,
    }
)
