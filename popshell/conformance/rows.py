"""The rows of `lessons/conformance.toml`, what POP3's RFCs ask of a server, and MATCHERS, what may be asked of a reply.

`read()` turns the text of the file into rows, and refuses what docs/reference-conformance.md does not allow. A row's
words stand in `lessons/<language>/conformance.toml` under its id.

A matcher gets its value of the row, and the reply. One whose value is the number of a step gets what was seen there
instead; 0 is the reply that brought the session to where the row begins. It is met or not; it never raises.
"""

from __future__ import annotations

import base64
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import ge, le
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from popshell.protocol.maildrop_view import scan_listing, unique_id_listing
from popshell.protocol.records import Exchange, Response
from popshell.protocol.sasl import Credentials, apop_digest
from popshell.protocol.wire import CRLF
from popshell.tuples import NamedTuple

# -- matchers ----------------------------------------------------------------------------------------------------------

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
        return self.exchange.reply_line(masked=False) if self.exchange else ""

    @property
    def response(self) -> Response | None:
        return self.exchange.response if self.exchange else None

    @property
    def received(self) -> bytes:
        return self.exchange.received if self.exchange else b""

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

    @property
    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        return self.response.capabilities() if self.response else {}


def _status(value: str, seen: Seen) -> bool:
    word = seen.line.partition(" ")[0]
    return word in ("+OK", "-ERR") if value == "any" else word == value


def _row(value: str, row: str, flags: int = 0) -> bool:
    """Whether a row is a regular expression; one that is longer than any reply has to be is none, and costs no time."""
    return len(row) <= _LONGEST_ROW and re.fullmatch(value, row, flags) is not None


def _all_rows(value: str, seen: Seen) -> bool:
    return seen.rows is not None and all(_row(value, row) for row in seen.rows)


def _some_row(value: str, seen: Seen) -> bool:
    return any(_row(value, row, re.IGNORECASE) for row in seen.rows or ())


def _numbered(value: bool, seen: Seen) -> bool:
    rows = seen.rows
    return rows is not None and [row.split(" ")[0] for row in rows] == [str(at) for at in range(1, len(rows) + 1)]


def _stuffed(value: bool, seen: Seen) -> bool:
    raw = seen.exchange.raw_content() if seen.exchange else b""
    dots = [line for line in raw.split(CRLF)[:-2] if line.startswith(b".")]
    return bool(dots) and all(line.startswith(b"..") for line in dots)


def _fewer(before: Seen, seen: Seen) -> bool:
    return seen.messages is not None and before.messages == seen.messages + 1


def _begins(before: Seen, seen: Seen) -> bool:
    return None not in (before.content, seen.content) and (before.content or b"").startswith(seen.content or b"")


def _sums(before: Seen, seen: Seen) -> bool:
    """A drop listing is the sum of the scan listings of that step."""
    sizes, drop = scan_listing(before.content or b""), seen.response.drop_listing() if seen.response else None
    return drop == (len(sizes), sum(sizes.values()))


def _octets_of(before: Seen, seen: Seen) -> bool:
    """The content has as many octets as the scan listing of that step says, byte-stuffing undone."""
    row = before.response.scan_row() if before.response else None
    return row is not None and seen.content is not None and len(seen.content) == row[1]


def _body_lines(value: int, seen: Seen) -> bool:
    _, empty, body = (seen.content or b"").partition(CRLF + CRLF)
    return bool(empty) and body.count(CRLF) <= value


def _without_first_of(before: Seen, seen: Seen) -> bool:
    """The unique-ids of that step, the first left out."""
    listed, left = (list(unique_id_listing(one.content or b"").values()) for one in (before, seen))
    return left == listed[1:]


def _number(seen: Seen, tag: str) -> float | None:
    """The first argument of a CAPA row as a number; NEVER is more than any."""
    first = (seen.capabilities.get(tag) or ("",))[0].upper()
    return float("inf") if first == "NEVER" else int(first) if re.fullmatch(r"[0-9]{1,9}", first) else None


def _bounded(within: Callable[[float, float], bool], value: tuple[Seen, str], seen: Seen) -> bool:
    """The number of a tag is within that of an earlier step, or is not given any more."""
    before, now = (_number(one, value[1]) for one in (value[0], seen))
    return before is not None and (now is None or within(now, before))


def _user_if_differs(value: tuple[Seen, str], seen: Seen) -> bool:
    before, now = (one.capabilities.get(value[1]) for one in (value[0], seen))
    return now is None or (before or ())[:1] == now[:1] or "USER" in (before or ())[1:]


class Matcher(NamedTuple):
    """What its value in a row may be, and whether what came of a step meets it."""

    value: Any
    judge: Callable[[Any, Seen], bool]

    def meets(self, value: Any, seen: Seen, past: Sequence[Seen]) -> bool:
        """`past[n]` is what was seen at step n."""
        if self.value is Back:
            value = past[value]
        elif self.value is BackTag:
            value = past[value[0]], value[1]
        return self.judge(value, seen)


#: A regular expression; the number of an earlier step, 0 is the reply that brought the session here; that and a tag.
Regular = Annotated[str, msgspec.Meta(description="a regular expression")]
Back = Annotated[int, msgspec.Meta(ge=0)]
BackTag = tuple[Back, str]
#: Every matcher by its name in a row, in the order of judging; docs/reference-conformance.md says what each means.
MATCHERS: Mapping[str, Matcher] = MappingProxyType(
    {
        "status": Matcher(str, _status),
        "first": Matcher(Regular, lambda value, seen: re.fullmatch(value, seen.line) is not None),
        "not_first": Matcher(Regular, lambda value, seen: re.fullmatch(value, seen.line) is None),
        "longest": Matcher(int, lambda value, seen: len(seen.received.partition(CRLF)[0]) + len(CRLF) <= value),
        "rows": Matcher(Regular, _all_rows),
        "some_row": Matcher(Regular, _some_row),
        "no_row": Matcher(Regular, lambda value, seen: not _some_row(value, seen)),
        "count": Matcher(int, lambda value, seen: seen.messages == value),
        "numbered": Matcher(bool, _numbered),
        "ascii": Matcher(bool, lambda value, seen: seen.received.isascii()),
        "stuffed": Matcher(bool, _stuffed),
        "same_as": Matcher(Back, lambda before, seen: seen.received == before.received),
        "differs_from": Matcher(Back, lambda before, seen: seen.line != before.line),
        "rows_as": Matcher(Back, lambda before, seen: seen.rows is not None and seen.rows == before.rows),
        "fewer_than": Matcher(Back, _fewer),
        "sums": Matcher(Back, _sums),
        "octets_of": Matcher(Back, _octets_of),
        "begins": Matcher(Back, _begins),
        "body_lines": Matcher(int, _body_lines),
        "without_first_of": Matcher(Back, _without_first_of),
        # RFC 2595 §4 announces STLS only where it is permitted.
        "tags_of": Matcher(Back, lambda before, seen: {*before.capabilities} - {"STLS"} <= {*seen.capabilities}),
        "at_most": Matcher(BackTag, partial(_bounded, le)),
        "at_least": Matcher(BackTag, partial(_bounded, ge)),
        "user_if_differs": Matcher(BackTag, _user_if_differs),
        "closes": Matcher(bool, lambda value, seen: seen.closed is value),
        "silent": Matcher(bool, lambda value, seen: not seen.came),
    }
)


# -- places ------------------------------------------------------------------------------------------------------------

#: The longest command that a server with CAPA has to take, in octets with CRLF (RFC 2449 §4).
_LONGEST_COMMAND = 255
_PLACE = re.compile(r"\{(\w+)\}")


def line(text: str, stamp: str | None, account: Credentials | None, values: Mapping[str, object]) -> bytes:
    """A line with its places filled: from the greeting's `stamp`, the account, and `values`, which has the others."""
    places = _places(stamp or "", account or Credentials("", ""))
    places |= {name: str(value) for name, value in values.items()}
    made = _PLACE.sub(lambda found: places.get(found[1], found[0]), text).encode("utf-8", "surrogateescape")
    return made.replace(b"{fill}", b"x" * (_LONGEST_COMMAND - len(made) + len("{fill}") - len(CRLF)))


def _places(stamp: str, account: Credentials) -> dict[str, str]:
    name, secret = account.name, account.secret
    wrong = secret + "-wrong"
    # SASLprep makes the same of both ways to write an accented letter (RFC 4013 §2.2).
    name_nfd, secret_nfd = (unicodedata.normalize("NFD", text) for text in (name, secret))
    return {
        "name": name,
        "secret": secret,
        "digest": apop_digest(stamp, secret),
        "plain": _plain(name, secret),
        "wrong": wrong,
        "wrong_digest": apop_digest(stamp, wrong),
        "wrong_plain": _plain(name, wrong),
        "plain_for_prohibited": _plain(name, secret, "\ue000"),
        "name_nfd": name_nfd,
        "secret_nfd": secret_nfd,
        "plain_nfd": _plain(name_nfd, secret_nfd),
        "nobody": "no-such-mailbox",
        "plain_large": _plain("no-such-mailbox", "x" * 255, "x" * 255),
        "argument40": "x" * 40,
    }


def _plain(name: str, secret: str, authorize_as: str = "") -> str:
    """The one message of PLAIN in base64 (RFC 4616 §2)."""
    return base64.b64encode(f"{authorize_as}\0{name}\0{secret}".encode("utf-8", "surrogateescape")).decode()


#: What may stand in braces in a line that is sent, and what of it needs an account.
PLACES = frozenset((*_places("", Credentials("", "")), "utf8", "dotted", "beyond", "fill"))
_OF_ACCOUNT = frozenset(place for place in PLACES if place.startswith(("name", "secret", "digest", "plain", "wrong")))


# -- rows --------------------------------------------------------------------------------------------------------------

Level = Literal["must", "must not", "should", "should not", "may", "may not", "plain"]
Start = Literal["AUTHORIZATION", "TRANSACTION", "REFUSED"]


class Needs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be there before a row can be played; where it is not, the row is unseen."""

    #: CAPA rows: a tag, or a tag and one of its arguments
    capability: tuple[str, ...] = ()
    messages: int = 0
    empty: bool = False
    #: the greeting has a timestamp for APOP
    stamp: bool = False
    clear: bool = False
    tls: bool = False
    #: a message with UTF-8 in its header, `{utf8}`; one with a line that begins with a dot, `{dotted}`
    utf8: bool = False
    dotted: bool = False
    #: the account's name or secret is not ASCII
    unicode: bool = False


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is done, and what must come of it: the matchers are fields, too."""

    send: str | None = None
    hex: str | None = None
    open: int = 0
    login: int = 0
    cut: int = 0
    tls: int = 0
    wait: int = 0
    #: nothing is done: the reply that brought the session here is looked at
    entered: bool = False
    on: int = 1
    #: sent together with the next line
    hold: bool = False
    #: a condition: where it is not met, the row is unseen
    when: bool = False
    #: the server may close instead of replying
    or_closed: bool = False
    #: a connection is opened without waiting for LOGIN-DELAY
    at_once: bool = False

    @property
    def matchers(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name in MATCHERS if (value := getattr(self, name)) is not None)

    @property
    def awaits_close(self) -> bool:
        return ("closes", True) in self.matchers

    @property
    def replies(self) -> bool:
        """Whether a reply must come."""
        return bool(self.send is not None or self.hex is not None or self.open or self.login or self.entered)


if TYPE_CHECKING:
    Step = _Step
else:
    _FIELDS = [(name, matcher.value | None, None) for name, matcher in MATCHERS.items()]
    Step = msgspec.defstruct("Step", _FIELDS, bases=(_Step,), frozen=True, forbid_unknown_fields=True)


class Sentence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of an RFC about a server. Its words stand in `lessons/<language>/conformance.toml` under its id."""

    id: str
    rfc: int
    section: str
    level: Level


class Row(Sentence, frozen=True, forbid_unknown_fields=True):
    """A sentence as a script."""

    steps: tuple[Step, ...]
    state: Start = "TRANSACTION"
    #: it needs a connection of its own, because it ends or changes the session
    alone: bool = False
    needs: Needs = Needs()
    fetches: bool = False
    marks: bool = False
    wrong_login: bool = False
    destructive: bool = False

    @property
    def longest_wait(self) -> int:
        return max((step.wait for step in self.steps), default=0)

    @property
    def names_account(self) -> bool:
        """Whether a name and its secret must be known."""
        places = {place for step in self.steps for place in _PLACE.findall(step.send or "")}
        return self.state != "AUTHORIZATION" or any(step.login for step in self.steps) or bool(places & _OF_ACCOUNT)


class Conformance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    row: tuple[Row, ...]
    #: those that no client can see kept or broken; the reason stands with the words
    unseen: tuple[Sentence, ...] = ()


def read(text: str) -> Conformance:
    """The rows of a file. Raises ValueError with the place of what is not allowed in it."""
    found = msgspec.convert(tomllib.loads(text), Conformance)
    for row in found.row:
        for fault in _faults(row):
            raise ValueError(f"{row.id}: {fault}")
    ids = [*(row.id for row in found.row), *(one.id for one in found.unseen)]
    if len({*ids}) < len(ids):
        raise ValueError("an id stands twice")
    return found


def _faults(row: Row) -> Iterator[str]:
    """What is wrong with a row beyond its shape."""
    names = [(step.send or "").split(" ")[0].upper() for step in row.steps]
    for flag, commands in (("fetches", {"RETR", "TOP"}), ("marks", {"DELE"})):
        if commands & {*names} and not getattr(row, flag):
            yield f"{flag} is missing"
    if "DELE" in names and row.state == "TRANSACTION" and names[-1] != "RSET" and not row.destructive:
        yield "DELE without RSET is destructive"
    several = any(step.open or step.cut or step.tls or step.login for step in row.steps)
    if several and not row.alone and row.state != "REFUSED":
        yield "it has to be alone"
    sessions = {1}
    for at, step in enumerate(row.steps, 1):
        sessions.add(step.open or 1)
        for fault in _step_faults(step, at, sessions):
            yield f"step {at} {fault}"
    if row.steps and row.steps[-1].hold:
        yield "nothing follows a line that is held"


def _step_faults(step: Step, at: int, sessions: set[int]) -> Iterator[str]:
    done = [step.send is not None, step.hex is not None, step.open, step.login, step.cut, step.tls, step.wait]
    if sum(bool(one) for one in (*done, step.entered)) != 1:
        yield "does not do one thing"
    if step.replies and not any(step.matchers):
        yield "asks for nothing"
    if not {step.on, *(one for one in (step.login, step.cut, step.tls) if one)} <= sessions:
        yield "is on a session that is not open"
    for name, value in step.matchers:
        kind = MATCHERS[name].value
        if kind in (Back, BackTag) and not (value[0] if kind is BackTag else value) < at:
            yield "refers to a later one"
        if kind is Regular:
            try:
                re.compile(value)
            except re.error:
                yield f"has no regular expression in {name}"
    for place in _PLACE.findall(step.send or ""):
        if place not in PLACES:
            yield f"has a place in it: {{{place}}} is unknown"
