"""CHECKS: the closed list of what an exercise can ask for, over what happened and what the maildrop holds.

A check looks at effects in the record, never at how something was typed. It is data: one name and one value, read once
when the lesson is loaded; there are no expressions and no patterns (sec-D4). A check kind is one entry here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from popshell.course.answers import is_answer, normal
from popshell.protocol.commands import COMMANDS, Kind, State
from popshell.protocol.line import NUMBER
from popshell.protocol.records import Exchange
from popshell.protocol.wire import stuffed_lines


@dataclass(frozen=True, slots=True)
class Evidence:
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


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its kind and the value to compare with."""

    name: str
    value: Any

    def holds(self, evidence: Evidence) -> bool:
        return CHECKS[self.name].holds(self.value, evidence)


@dataclass(frozen=True, slots=True)
class CheckKind:
    """How the value of a check is read (raises ValueError) and when it holds."""

    read: Callable[[Any], Any]
    holds: Callable[[Any, Evidence], bool]


@dataclass(frozen=True, slots=True)
class Replied:
    """The fields of `replied`; None does not matter."""

    command: str | None = None
    ok: bool | None = None
    state: str | None = None
    after: str | None = None
    argument: str | None = None
    line: str | None = None
    code: str | None = None
    tls: bool | None = None
    many: bool | None = None
    stuffed: bool | None = None
    cancelled: bool | None = None
    #: in `steps`: right behind the step before it, with nothing between
    next: bool = False
    least: int = 1

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
            "state": exchange.before.value,
            "after": exchange.after.value,
            "argument": _plain(argument) if argument is not None else None,
            "line": _plain(line.text),
            "code": response.code,
            "tls": exchange.tls,
            "many": response.content is not None,
            "stuffed": stuffed_lines(exchange.raw_content()) > 0,
            "cancelled": bool(exchange.steps) and exchange.steps[-1].answer == b"*",
        }
        return [name for name, wanted in self.wanted().items() if wanted is not None and seen[name] != wanted]

    def wanted(self) -> dict[str, object]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("least", "next")}


def _plain(text: str) -> str:
    """Words as they are compared: case and blanks do not count, and a number is its value (`02` names message 2)."""
    return " ".join(str(int(word)) if NUMBER.match(word) else word for word in text.upper().split())


def _replied(value: Any) -> Replied:
    known = {f.name for f in fields(Replied)}
    if not isinstance(value, dict) or not value:
        raise ValueError('`replied` is a table such as { command = "STAT", ok = true }')
    if stray := sorted(value.keys() - known):
        raise ValueError(f"`replied` has no field `{stray[0]}`; it has {', '.join(sorted(known))}")
    for name in ("ok", "tls", "many", "stuffed", "cancelled", "next"):
        if not isinstance(value.get(name, True), bool):
            raise ValueError(f"`{name}` of `replied` is true or false")
    if not isinstance(value.get("least", 1), int):
        raise ValueError("`least` of `replied` is a number")
    made = dict(value)
    if "command" in made:
        made["command"] = _command(made["command"])
    for name in ("state", "after"):
        if name in made:
            made[name] = _state(made[name]).value
    if "argument" in made:
        made["argument"] = _plain(str(made["argument"]))
    if "line" in made:
        made["line"] = _plain(str(made["line"]))
    if "code" in made:
        made["code"] = str(made["code"]).upper()
    return Replied(**made)


def _steps(value: Any) -> tuple[Replied, ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError("two steps or more are wanted, each a table as for `replied`")
    return tuple(map(_replied, value))


def _command(value: Any) -> str:
    """A command's name. Slips that an exercise asks for on purpose are allowed: any word in capitals."""
    if not isinstance(value, str) or not value or value != value.upper() or " " in value:
        raise ValueError(f"{value!r} is no command: one word in capitals")
    return value


def _known_command(value: Any) -> str:
    if not isinstance(value, str) or value not in COMMANDS:
        raise ValueError(f"{value!r} is no command of POP3")
    return str(value)


def _lines(value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not all(isinstance(line, str) and line.split()[:1] for line in value)
        or not value
    ):
        raise ValueError("a list of commands is wanted, with their arguments if these count")
    for line in value:
        _known_command(line.split()[0])
    return tuple(map(_plain, value))


def _commands(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("a list of commands is wanted")
    return tuple(_known_command(name) for name in value)


def _state(value: Any) -> State:
    try:
        return State(value)
    except ValueError:
        raise ValueError(f"{value!r} is no state: {', '.join(s.value for s in State)}") from None


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value):
        raise ValueError("a list of message-numbers is wanted")
    return tuple(value)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a number is wanted")
    return value


def _true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is wanted")
    return value


def _in_order(value: tuple[str, ...], evidence: Evidence) -> bool:
    succeeded = iter(e.name for e in evidence.commands if e.ok)
    return all(any(name == wanted for name in succeeded) for wanted in value)


def _stepped(value: tuple[Replied, ...], evidence: Evidence) -> bool:
    """Whether every step fits an exchange behind the one of the step before it."""
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


CHECKS: Mapping[str, CheckKind] = MappingProxyType(
    {
        "replied": CheckKind(_replied, lambda v, e: sum(v.fits(x) for x in e.exchanges) >= v.least),
        "steps": CheckKind(_steps, _stepped),
        "sent_first": CheckKind(_command, lambda v, e: bool(e.commands) and e.commands[0].name == v),
        "in_order": CheckKind(_commands, _in_order),
        "never": CheckKind(_commands, lambda v, e: not any(x.name in v for x in e.commands)),
        "at_most": CheckKind(_number, lambda v, e: len(e.commands) <= v),
        "state": CheckKind(_state, lambda v, e: e.state is v),
        "marks": CheckKind(_numbers, lambda v, e: e.marks == frozenset(v)),
        "retrieved": CheckKind(_numbers, _retrieved),
        "maildrop": CheckKind(_numbers, lambda v, e: e.maildrop == tuple(sorted(v))),
        "tls": CheckKind(_true, lambda v, e: e.tls == v),
        "dropped": CheckKind(_true, lambda v, e: e.dropped == v),
        "waited": CheckKind(_number, lambda v, e: e.waited >= v),
        "flight": CheckKind(_number, _flight),
        "together": CheckKind(_lines, _together),
    }
)


def read_check(raw: Mapping[str, Any]) -> Check:
    """A check from a lesson's head: one name, one value. Raises ValueError, in words for the author."""
    if len(raw) != 1:
        raise ValueError("a check has one name and one value")
    (name, value) = next(iter(raw.items()))
    kind = CHECKS.get(name)
    if kind is None:
        raise ValueError(f"there is no check `{name}`; there are {', '.join(CHECKS)}")
    try:
        return Check(name, kind.read(value))
    except ValueError as error:
        raise ValueError(f"check `{name}`: {error}") from None


def _tags(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValueError("`without` is a list of capabilities")
    return frozenset(value)


#: What an exercise can set at the practice server, and how its value is read: `server.settings.Conditions` by name.
CONDITIONS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "in_use": _true,
        "login_delay": _number,
        "temp_failure": _true,
        "perm_failure": _true,
        "update_fails": _true,
        "require_tls": _true,
        "without": _tags,
        "line_goes_dead_after": _number,
    }
)


def read_conditions(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The conditions of an exercise, by name. Raises ValueError, in words for the author."""
    if stray := sorted(raw.keys() - CONDITIONS):
        raise ValueError(f"there is no condition `{stray[0]}`; there are {', '.join(sorted(CONDITIONS))}")
    return MappingProxyType({name: CONDITIONS[name](value) for name, value in raw.items()})


def answer_is_right(answers: tuple[str, ...], seen: bool, evidence: Evidence) -> bool:
    """Whether the answer given is one of `answers`, and (if `seen`) stands in a reply, so that the server was asked."""
    if evidence.answer is None or not is_answer(answers, evidence.answer):
        return False
    return not seen or any(_stands_in(answer, e) for answer in answers for e in evidence.exchanges)


def _stands_in(answer: str, exchange: Exchange) -> bool:
    text = normal(exchange.received[:65536].decode("utf-8", "replace"))
    return normal(answer) in text


def same_line(one: str, other: str) -> bool:
    """Whether two lines say the same: the keyword in any case (RFC 1939 §3), so too mechanisms and language tags
    (RFC 5034 §4, RFC 6856 §3.2), other arguments as they are."""
    (first, *rest), (second, *others) = one.split() or [""], other.split() or [""]
    if first.upper() != second.upper() or len(rest) != len(others):
        return False
    spec = COMMANDS.get(first.upper())
    kinds = [param.kind for param in spec.params] if spec else []
    free = {at for at, kind in enumerate(kinds) if kind in (Kind.MECHANISM, Kind.LANGUAGE)}
    return all(
        a == b or (at in free and a.upper() == b.upper()) for at, (a, b) in enumerate(zip(rest, others, strict=True))
    )
