"""What was seen of a refusal, and the kinds of premises that are held against it. The rules stand in doctor.py.

`observe` reads the record of a session; PREMISES is the closed list of what a rule of `lessons/doctor.toml` can ask.
A server's text may be in any encoding: it is held against a pattern in each reading that `decoded_text` gives.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from popshell.protocol.records import Exchange, Status
from popshell.protocol.wire import CRLF


class Facts(NamedTuple):
    """What the caller knows of the endpoint: its name, and whether the server closed the connection."""

    host: str = ""
    closed: bool = False


class Text(NamedTuple):
    """A server's text as one encoding reads it."""

    encoding: str
    text: str


def decoded_text(octets: bytes) -> tuple[Text, ...]:
    """The readings of a server's text, the likeliest first: UTF-8, else GB18030, else Big5, else Latin-1.

    Most octets of Big5 can be read as GB18030, too, as other characters. Text within GB 2312 is taken for GB18030;
    other text that Big5 can read is taken for Big5 first.
    """
    try:
        return (Text("UTF-8", octets.decode("utf-8")),)
    except UnicodeDecodeError:
        pass
    found = {}
    for codec in ("gb2312", "big5", "gb18030", "latin-1"):
        try:
            found[codec] = octets.decode(codec)
        except UnicodeDecodeError:
            continue
    order = ("gb18030", "big5") if "gb2312" in found else ("big5", "gb18030")
    names = {"gb18030": "GB18030", "big5": "Big5", "latin-1": "Latin-1"}
    return tuple(Text(names[codec], found[codec]) for codec in (*order, "latin-1") if codec in found)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the premises are held against: the refusal, and what came before it. "" and None: was not seen."""

    code: str = ""
    texts: tuple[Text, ...] = ()
    command: str = ""
    mechanism: str = ""
    state: str = ""
    tls: bool | None = None
    capabilities: Mapping[str, tuple[str, ...]] | None = None
    greeting: tuple[Text, ...] = ()
    product: str = ""
    first: bool = False
    repeated: int = 0
    seconds: float = 0.0
    closed: bool = False
    problem: str = ""
    raw: str = ""
    objections: frozenset[str] = frozenset()
    challenges: tuple[str, ...] = ()
    octets: int = 0
    follows: str = ""
    marked: bool = False
    address: bool | None = None
    host: str = ""
    #: the texts of all refusals so far
    replies: tuple[Text, ...] = ()


def matches(pattern: str, texts: Sequence[Text]) -> bool:
    return any(re.search(pattern, text.text, re.IGNORECASE) for text in texts)


def announced(capability: str, seen: Seen) -> bool:
    """Whether CAPA had the row `TAG`, or the row `TAG ARGUMENT`."""
    tag, _, argument = capability.partition(" ")
    row = (seen.capabilities or {}).get(tag)
    return row is not None and (not argument or argument in (word.upper() for word in row))


#: Every kind of premise: what the rule wants, what was seen -> whether it holds.
PREMISES: Mapping[str, Callable[[Any, Seen], bool]] = {
    "code": lambda wanted, seen: f"{seen.code}/".startswith(f"{wanted}/"),
    "text": lambda wanted, seen: matches(wanted, seen.texts),
    "command": lambda wanted, seen: seen.command in wanted,
    "mechanism": lambda wanted, seen: seen.mechanism in wanted,
    "state": lambda wanted, seen: seen.state == wanted,
    "tls": lambda wanted, seen: seen.tls is wanted,
    "present": lambda wanted, seen: seen.capabilities is not None and all(announced(one, seen) for one in wanted),
    "absent": lambda wanted, seen: seen.capabilities is not None and not any(announced(one, seen) for one in wanted),
    "unknown": lambda wanted, seen: (seen.capabilities is None) is wanted,
    "greeting": lambda wanted, seen: matches(wanted, seen.greeting),
    "product": lambda wanted, seen: seen.product in wanted,
    "first": lambda wanted, seen: seen.first is wanted,
    "repeated": lambda wanted, seen: seen.repeated >= wanted,
    "seconds": lambda wanted, seen: seen.seconds >= wanted,
    "closed": lambda wanted, seen: seen.closed is wanted,
    "problem": lambda wanted, seen: seen.problem in wanted,
    "raw": lambda wanted, seen: re.search(wanted, seen.raw) is not None,
    "objection": lambda wanted, seen: not seen.objections.isdisjoint(wanted),
    "challenge": lambda wanted, seen: any(re.search(wanted, text) for text in seen.challenges),
    "longer": lambda wanted, seen: seen.octets > wanted,
    "follows": lambda wanted, seen: seen.follows in wanted,
    "marked": lambda wanted, seen: seen.marked is wanted,
    "address": lambda wanted, seen: seen.address is wanted,
    "host": lambda wanted, seen: re.search(wanted, seen.host, re.IGNORECASE) is not None,
}


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _refused(exchange: Exchange) -> bool:
    response = exchange.response
    return exchange.problem is not None or (response is not None and response.status is Status.ERR)


def refusal(exchanges: Sequence[Exchange]) -> int | None:
    """The index of the exchange that is asked about: the last that failed.

    Where the server closed right after `-ERR`, that reply says more than the silence after it.
    """
    for at in range(len(exchanges) - 1, -1, -1):
        if not _refused(exchanges[at]):
            continue
        problem, before = exchanges[at].problem, exchanges[at - 1] if at else None
        silent = problem is not None and problem.code in ("no-reply", "cut") and not exchanges[at].received
        if silent and before is not None and _refused(before) and before.response is not None:
            continue
        return at
    return None


def observe(exchanges: Sequence[Exchange], facts: Facts = Facts()) -> Seen:  # noqa: B008  (a frozen value)
    """What was seen of the session up to its last refusal, and whether the server closed after it."""
    at = refusal(exchanges)
    greeting = next((one for one in exchanges[:1] if one.is_greeting and one.response), None)
    hello = decoded_text(_octets(greeting.response.text)) if greeting and greeting.response else ()
    if at is None:
        return Seen(greeting=hello, host=facts.host, problem="" if exchanges else "no-connection", closed=facts.closed)
    exchange, before = exchanges[at], exchanges[:at]
    line, response = exchange.command, exchange.response
    asked = [one for one in before if one.command is not None]
    last = asked[-1] if asked else None
    user = next((one.command for one in reversed(asked) if one.command and one.name in ("USER", "APOP")), None)
    name = next(iter(user.arguments), "") if user else ""
    refusals = [one.response for one in exchanges[: at + 1] if _refused(one) and one.response is not None]
    later = [one.problem.code for one in exchanges[at + 1 :] if one.problem is not None]
    answered = any(one.response is not None for one in exchanges[at + 1 :])
    known = exchange.capabilities_before
    return Seen(
        code=response.code if response else "",
        texts=decoded_text(_octets(response.text)) if response else (),
        command=exchange.name,
        mechanism=line.arguments[0].upper() if line and line.name == "AUTH" and line.arguments else "",
        state=exchange.before.value,
        tls=exchange.tls,
        capabilities=known,
        greeting=hello,
        first=last is None and line is not None,
        repeated=1 + sum(1 for one in asked if one.name == exchange.name and _refused(one)),
        seconds=exchange.finished - exchange.started,
        closed=(facts.closed and not answered) or any(code in ("no-reply", "cut", "no-terminator") for code in later),
        problem=exchange.problem.code if exchange.problem else "",
        raw=exchange.status_line()[:1024].decode("utf-8", "surrogateescape"),
        objections=frozenset(d.code for d in line.diagnostics) if line else frozenset(),
        challenges=tuple(_challenge(step.challenge) for step in exchange.steps),
        octets=len(exchange.sent.partition(CRLF)[0]) + 2 if line else 0,
        follows=last.name if last is not None and last.ok else "",
        marked=bool(exchange.maildrop_before.marks),
        address="@" in name if name else None,
        host=facts.host,
        replies=tuple(text for reply in refusals for text in decoded_text(_octets(reply.text))),
    )


def _challenge(octets: bytes) -> str:
    try:
        return base64.b64decode(octets, validate=True).decode("utf-8", "replace")
    except ValueError:
        return ""
