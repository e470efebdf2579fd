"""CHECKS: the closed list of what an exercise can ask for, over what happened and what the maildrop holds.

A check looks at effects in the record, never at how something was typed. It is data: one name and one value, read by
msgspec with the lesson's head; there are no expressions and no patterns (sec-D4).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, convert, defstruct
from msgspec.structs import force_setattr

from popshell.protocol.commands import COMMANDS, Kind, State
from popshell.protocol.line import NUMBER
from popshell.protocol.records import Exchange
from popshell.tuples import NamedTuple
from popshell.words import Flaw


class Evidence(NamedTuple):
    """What happened after an exercise's `start`, and how things stand."""

    exchanges: tuple[Exchange, ...] = ()
    state: State = State.CLOSED
    tls: bool = False
    marks: frozenset[int] = frozenset()
    #: the numbers, at the exercise's beginning, of the messages that the server's maildrop still holds
    maildrop: tuple[int, ...] = ()
    dropped: bool = False
    waited: float = 0.0
    answer: str | None = None
    #: whether the prediction was right; None if there was none
    predicted: bool | None = None

    @property
    def commands(self) -> list[Exchange]:
        return [e for e in self.exchanges if e.command is not None]


class Replied(Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of `replied`; None does not matter."""

    command: str | None = None
    ok: bool | None = None
    state: State | None = None
    after: State | None = None
    argument: str | int | None = None
    line: str | None = None
    code: str | None = None
    tls: bool | None = None
    many: bool | None = None
    stuffed: bool | None = None
    cancelled: bool | None = None
    #: in `steps`: right after the step before it, with nothing between
    next: bool = False
    least: int = 1

    def __post_init__(self) -> None:
        wanted = self.wanted()
        if not wanted and not self.next and self.least == 1:
            raise Flaw("replied", form='{ command = "STAT", ok = true }')
        if self.command is not None:
            _one_word(self.command)
        for name in wanted.keys() & {"argument", "line"}:
            force_setattr(self, name, _plain(str(wanted[name])))
        if self.code is not None:
            force_setattr(self, "code", self.code.upper())

    def fits(self, exchange: Exchange) -> bool:
        return self.differs(exchange) == []

    def differs(self, exchange: Exchange) -> list[str] | None:
        """The fields in which `exchange` is not what is wanted; None if it is no answered command at all."""
        line, response = exchange.command, exchange.response
        if line is None or response is None:
            return None
        argument = line.arguments[0] if line.arguments and not line.tokens[1].secret else None
        seen: dict[str, object] = {
            "command": line.name,
            "ok": response.ok,
            "state": exchange.before,
            "after": exchange.after,
            "argument": _plain(argument) if argument is not None else None,
            "line": _plain(line.text),
            "code": response.code,
            "tls": exchange.tls,
            "many": response.content is not None,
            "stuffed": exchange.counts.stuffed > 0,
            "cancelled": bool(exchange.steps) and exchange.steps[-1].answer == b"*",
        }
        return [name for name, wanted in self.wanted().items() if seen[name] != wanted]

    def wanted(self) -> dict[str, object]:
        """The fields that matter, with their values."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("least", "next")}
        return {name: value for name, value in fields.items() if value is not None}


_Number = Annotated[int, Meta(ge=0)]
_Messages = tuple[Annotated[int, Meta(ge=1)], ...]
_Commands = Annotated[tuple[str, ...], Meta(min_length=1)]
_Steps = Annotated[tuple[Replied, ...], Meta(min_length=2)]


def _one_word(name: str) -> None:
    """A command's name; mistakes that an exercise asks for are allowed."""
    if not name or name != name.upper() or " " in name:
        raise Flaw("no-command", name=repr(name))


def _plain(text: str) -> str:
    """Words as they are compared: case and blanks do not count, and a number is its value (`02` names message 2)."""
    return " ".join(str(int(word)) if NUMBER.match(word) else word for word in text.upper().split())


def _in_order(value: tuple[str, ...], evidence: Evidence) -> bool:
    succeeded = iter(e.name for e in evidence.commands if e.ok)
    return all(any(name == wanted for name in succeeded) for wanted in value)


def _stepped(value: tuple[Replied, ...], evidence: Evidence) -> bool:
    """Whether every step fits an exchange after that of the step before it."""
    commands = evidence.commands

    def follows(step: int, at: int) -> bool:
        if step == len(value):
            return True
        places = range(at, min(at + 1, len(commands))) if value[step].next else range(at, len(commands))
        return any(value[step].fits(commands[place]) and follows(step + 1, place + 1) for place in places)

    return follows(0, 0)


def _together(value: tuple[str, ...], evidence: Evidence) -> bool:
    """Whether one flight held all these commands, and each got `+OK`: lines sent while a reply to the first was due."""
    flights: list[list[Exchange]] = []
    for exchange in evidence.commands:
        if not exchange.ahead or not flights:
            flights.append([])
        if exchange.ok:
            flights[-1].append(exchange)
    return any(_holds_all(value, flight) for flight in flights)


def _holds_all(value: tuple[str, ...], flight: list[Exchange]) -> bool:
    said = Counter(_plain(e.command.text) for e in flight if e.command)
    whole = Counter(line for line in value if " " in line)
    bare = Counter(line for line in value if " " not in line)
    names = Counter(line.split()[0] for line in (said - whole).elements())
    return not whole - said and not bare - names


def _retrieved(value: tuple[int, ...], evidence: Evidence) -> bool:
    got = {e.command.message for e in evidence.commands if e.command and e.name == "RETR" and e.ok}
    return got == set(value)


def _flight(value: int, evidence: Evidence) -> bool:
    """A line that was sent while n replies were due is the last of a flight of n + 1."""
    return any(e.ahead + 1 >= value for e in evidence.commands)


class CheckKind(NamedTuple):
    """What the value of a check may be, and when the check holds."""

    value: Any
    holds: Callable[[Any, Evidence], bool]


#: Every kind of check.
CHECKS: Mapping[str, CheckKind] = MappingProxyType(
    {
        "replied": CheckKind(Replied, lambda v, e: sum(v.fits(x) for x in e.exchanges) >= v.least),
        "steps": CheckKind(_Steps, _stepped),
        "sent_first": CheckKind(str, lambda v, e: bool(e.commands) and e.commands[0].name == v),
        "in_order": CheckKind(_Commands, _in_order),
        "never": CheckKind(_Commands, lambda v, e: not any(x.name in v for x in e.commands)),
        "at_most": CheckKind(_Number, lambda v, e: len(e.commands) <= v),
        "state": CheckKind(State, lambda v, e: e.state is v),
        "marks": CheckKind(_Messages, lambda v, e: e.marks == frozenset(v)),
        "retrieved": CheckKind(_Messages, _retrieved),
        "maildrop": CheckKind(_Messages, lambda v, e: e.maildrop == tuple(sorted(v))),
        "tls": CheckKind(bool, lambda v, e: e.tls == v),
        "dropped": CheckKind(bool, lambda v, e: e.dropped == v),
        "waited": CheckKind(_Number, lambda v, e: e.waited >= v),
        "flight": CheckKind(_Number, _flight),
        "together": CheckKind(_Commands, _together),
    }
)


class _Check(Struct, frozen=True, forbid_unknown_fields=True):
    """One check: one of CHECKS, and the value to compare with."""

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise Flaw("one-check")
        name, value = given[0], self.value
        if name == "sent_first":
            _one_word(value)
        for line in value if name in ("in_order", "never", "together") else ():
            command = (line.split() or [""])[0] if name == "together" else line
            if command not in COMMANDS:
                raise Flaw("no-command", name=repr(command))
        if name == "together":
            force_setattr(self, name, tuple(map(_plain, value)))

    @property
    def name(self) -> str:
        return next(name for name in self.__struct_fields__ if getattr(self, name) is not None)

    @property
    def value(self) -> Any:
        return getattr(self, self.name)

    def holds(self, evidence: Evidence) -> bool:
        return CHECKS[self.name].holds(self.value, evidence)


if TYPE_CHECKING:
    Check = _Check
else:
    _FIELDS = [(name, kind.value | None, None) for name, kind in CHECKS.items()]
    Check = defstruct("Check", _FIELDS, bases=(_Check,), frozen=True, forbid_unknown_fields=True)


def read_check(raw: Mapping[str, Any]) -> Check:
    """A check as it stands in a lesson's head. Raises msgspec.ValidationError."""
    return convert(raw, Check)


def was_asked(answers: tuple[str, ...], evidence: Evidence) -> bool:
    """Whether one of `answers` stands in a reply: the server was asked."""
    said = [normal(exchange.received[:65536].decode("utf-8", "replace")) for exchange in evidence.exchanges]
    return any(normal(answer) in text for answer in answers for text in said)


def same_line(one: str, other: str) -> bool:
    """Whether two lines say the same: the keyword in any case (RFC 1939 §3), so too mechanisms and language tags
    (RFC 5034 §4, RFC 6856 §3.2) and what follows a command without arguments, other arguments as they are."""
    (first, *rest), (second, *others) = one.split() or [""], other.split() or [""]
    if first.upper() != second.upper() or len(rest) != len(others):
        return False
    spec = COMMANDS.get(first.upper())
    kinds = [param.kind for param in spec.params] if spec else []
    free = {at for at, kind in enumerate(kinds) if kind in (Kind.MECHANISM, Kind.LANGUAGE)}
    surplus = spec is not None and not kinds  # `QUIT please`: it takes no argument, so none has a case that counts
    return all(
        a == b or ((surplus or at in free) and a.upper() == b.upper())
        for at, (a, b) in enumerate(zip(rest, others, strict=True))
    )


def normal(answer: str) -> str:
    """An answer as it is compared: width (U+FF17 is 7), case and blanks do not count."""
    return " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
