"""FAULTS: what can be made to go wrong at the practice server, by name; never set over the protocol (sec-V12).

A fault is one entry: how its parameter is read, and what it does at which point of a session (`session.Hooks`). Each
function gets an Active first: the parameter, and what the fault remembers in this session. Lessons (`conditions`) and
the command line use the names of this table.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from popshell.protocol.line import CommandLine, upper
from popshell.protocol.mechanisms import MECHANISMS
from popshell.server.replies import Reply, error
from popshell.server.session import NO_HOOKS, Hooks, ServerSession
from popshell.tuples import NamedTuple
from popshell.words import Flaw

if TYPE_CHECKING:
    from random import Random


class Active:
    """A fault in one session: its parameter, and its memory, which no other session sees."""

    def __init__(self, value: Any, seed: str | None) -> None:
        self.value = value
        self.counts: Counter[str] = Counter()
        self._seed = seed

    @cached_property
    def random(self) -> Random:
        """Random numbers, the same ones for the same seed, session and fault."""
        from random import Random  # imports much; only a fault that draws needs it

        return Random(self._seed)


class Fault(NamedTuple):
    """One fault. `read` checks the parameter and raises Flaw; see `session.Hooks`."""

    read: Callable[[object], object]
    on_line: Callable[[Active, ServerSession, CommandLine | None], Reply | None] | None = None
    on_login: Callable[[Active, ServerSession, str], Reply | None] | None = None
    on_reply: Callable[[Active, ServerSession, CommandLine | None, Reply], Reply] | None = None
    on_octets: Callable[[Active, ServerSession, bytes], bytes] | None = None
    withholds: Callable[[Active, ServerSession, str, str], bool] | None = None


def true_or_false(value: object) -> bool:
    if not isinstance(value, bool):
        raise Flaw("kind-flag")
    return value


def number(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Flaw("kind-number", least=least)
    return value


def tags(value: object) -> frozenset[str]:
    if not isinstance(value, list | tuple | frozenset) or not all(isinstance(tag, str) for tag in value):
        raise Flaw("kind-list")
    return frozenset(value)


def mechanisms(value: object) -> tuple[str, ...]:
    if unknown := sorted(tags(value) - MECHANISMS.keys()):
        raise Flaw("choices", reason=Flaw("unknown", name=unknown[0]), known=", ".join(MECHANISMS))
    assert isinstance(value, list | tuple | frozenset)
    return tuple(value)


def _go_dead(active: Active, session: ServerSession, line: CommandLine | None) -> None:
    session.unresponsive = active.counts["lines"] >= active.value
    active.counts["lines"] += 1


def _without(active: Active, session: ServerSession, line: CommandLine | None) -> Reply | None:
    withheld = line is not None and line.spec is not None and {line.name, line.spec.capability} & active.value
    return error("unknown-command") if withheld else None


def _require_tls(active: Active, session: ServerSession, line: CommandLine | None) -> Reply | None:
    if session.context.tls or line is None or line.spec is None or line.objection is not None:
        return None
    if line.name == "USER":
        return error("tls-required")
    mechanism = MECHANISMS.get(upper(line.arguments[0])) if line.name == "AUTH" else None
    clear_text = mechanism is not None and mechanism.clear_text and session.is_set(mechanism)
    if line.name in ("PASS", "APOP") or clear_text:
        return error("tls-required", "AUTH")  # against policy is a fault of credentials, too (RFC 3206 §5)
    return None


def _in_clear_text(active: Active, session: ServerSession, tag: str, argument: str) -> bool:
    clear_text = MECHANISMS[argument].clear_text if tag == "SASL" and argument else tag == "USER"
    return clear_text and not session.context.tls


def _login_delay(active: Active, session: ServerSession, name: str) -> Reply | None:
    last = session.settings.accounts.maildrop_of(name).last_login
    left = 0.0 if last is None else last + active.value - session.clock()
    return error("login-delay", "LOGIN-DELAY", seconds=math.ceil(left)) if left > 0 else None


def _update_fails(active: Active, session: ServerSession, line: CommandLine | None) -> Reply | None:
    if (
        line is None
        or line.name != "QUIT"
        or line.objection is not None
        or not (session.opened and session.opened.marks)
    ):
        return None
    session.closing = True
    session.opened.release()
    session.opened = None
    # RFC 1939 §6: "-ERR some deleted messages not removed"; the server closes all the same.
    return error("update-fails", "SYS/TEMP")


#: The order is that in which they act.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        #: after so many lines: no reply, no close by QUIT, no UPDATE
        "line_goes_dead_after": Fault(number, on_line=_go_dead),
        #: capabilities, mechanisms or commands that are neither announced nor served
        "without": Fault(
            tags, on_line=_without, withholds=lambda active, _, *names: not active.value.isdisjoint(names)
        ),
        #: the mechanisms of AUTH in place of PLAIN; served are those that can be used (`ServerSession.mechanisms`)
        "mechanisms": Fault(mechanisms),
        #: what SCRAM asks for; RFC 5802 §5.1 wants 4096 at least
        "iterations": Fault(partial(number, least=1)),
        "require_tls": Fault(true_or_false, on_line=_require_tls, withholds=_in_clear_text),
        "temp_failure": Fault(true_or_false, on_login=lambda *_: error("temp-failure", "SYS/TEMP")),
        "perm_failure": Fault(true_or_false, on_login=lambda *_: error("perm-failure", "SYS/PERM")),
        #: seconds between two logins to one maildrop (RFC 2449 §6.5)
        "login_delay": Fault(number, on_login=_login_delay),
        "in_use": Fault(true_or_false, on_login=lambda *_: error("in-use", "IN-USE")),
        "update_fails": Fault(true_or_false, on_line=_update_fails),
    }
)


def read_faults(raw: Mapping[str, object]) -> Mapping[str, object]:
    """Parameters by fault, checked; one that is switched off by `false` is left out. Raises Flaw."""
    found: dict[str, object] = {}
    for name, value in raw.items():
        if name not in FAULTS:
            raise Flaw("choices", reason=Flaw("unknown", name=name), known=", ".join(sorted(FAULTS)))
        try:
            found[name] = FAULTS[name].read(value)
        except ValueError as wrong:
            raise Flaw("place", reason=wrong, place=name) from None
    return MappingProxyType({name: value for name, value in found.items() if value is not False})


def bind(faults: Mapping[str, object], seed: str | None = None) -> Hooks:
    """What the faults of one new session do. Raises Flaw."""
    if not faults:
        return NO_HOOKS
    read = read_faults(faults)
    active = [
        (fault, Active(read[name], None if seed is None else f"{seed}/{name}"))
        for name, fault in FAULTS.items()
        if name in read
    ]

    def all_of(point: str) -> tuple[Any, ...]:
        return tuple(partial(hook, it) for fault, it in active if (hook := getattr(fault, point)) is not None)

    return Hooks(*(all_of(point) for point in Hooks._fields))
