"""The rows of `lessons/conformance.toml`: what POP3's RFCs ask of a server, as frozen data.

`read()` turns the text of the file into rows, and refuses what docs/reference-conformance.md does not allow. A row's
words stand in `lessons/<language>/conformance.toml` under its id.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from popshell.conformance.matching import MATCHERS

Level = Literal["must", "must not", "should", "should not", "may", "may not", "plain"]
Start = Literal["AUTHORIZATION", "TRANSACTION", "REFUSED"]

#: What may stand in braces in a line that is sent.
PLACES = frozenset(
    (
        *("name", "secret", "digest", "plain", "wrong", "wrong_digest", "wrong_plain", "plain_for_prohibited"),
        *("name_nfd", "secret_nfd", "plain_nfd", "nobody", "plain_large"),
        *("utf8", "dotted", "beyond", "fill", "argument40"),
    )
)
#: Those that need an account.
_OF_ACCOUNT = frozenset(place for place in PLACES if place.startswith(("name", "secret", "digest", "plain", "wrong")))
_PLACE = re.compile(r"\{(\w+)\}")
#: The matchers that refer to an earlier step by its number; 0 is the reply that brought the session here.
_BACK = (
    *("same_as", "differs_from", "rows_as", "fewer_than", "sums", "octets_of", "begins", "without_first_of", "tags_of"),
    *("at_most", "at_least", "user_if_differs"),
)
#: The matchers that are regular expressions.
_REGULAR = ("first", "not_first", "rows", "some_row", "no_row")


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


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is done, and what must come of it. Fields from `status` on are matchers, by name in MATCHERS."""

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
    status: str | None = None
    first: str | None = None
    not_first: str | None = None
    longest: int | None = None
    rows: str | None = None
    some_row: str | None = None
    no_row: str | None = None
    count: int | None = None
    numbered: bool | None = None
    ascii: bool | None = None
    stuffed: bool | None = None
    same_as: int | None = None
    differs_from: int | None = None
    rows_as: int | None = None
    fewer_than: int | None = None
    sums: int | None = None
    octets_of: int | None = None
    begins: int | None = None
    body_lines: int | None = None
    without_first_of: int | None = None
    tags_of: int | None = None
    at_most: tuple[int, str] | None = None
    at_least: tuple[int, str] | None = None
    user_if_differs: tuple[int, str] | None = None
    closes: bool | None = None
    silent: bool | None = None

    @property
    def matchers(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name in MATCHERS if (value := getattr(self, name)) is not None)

    @property
    def replies(self) -> bool:
        """Whether a reply must come."""
        return bool(self.send is not None or self.hex is not None or self.open or self.login or self.entered)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sentence of an RFC as a script. Its words stand in `lessons/<language>/conformance.toml` under its id."""

    id: str
    rfc: int
    section: str
    level: Level
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


class Unseen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence about a server that no client can see kept or broken; the reason stands with the words."""

    id: str
    rfc: int
    section: str
    level: Level


class Conformance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    row: tuple[Row, ...]
    unseen: tuple[Unseen, ...] = ()


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
        if name in _BACK and not 0 <= (value[0] if isinstance(value, tuple) else value) < at:
            yield "refers to a later one"
        if name in _REGULAR:
            try:
                re.compile(value)
            except re.error:
                yield f"has no regular expression in {name}"
    for place in _PLACE.findall(step.send or ""):
        if place not in PLACES:
            yield f"has a place in it: {{{place}}} is unknown"
