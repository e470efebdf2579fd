"""What was seen of a reply, and PREMISES: the kinds of premises that are held against it, for notes and doctor alike.

`seen_in` reads one exchange, `observe` a session up to its last refusal. Each note of notes.py and each rule of
`lessons/doctor.toml` names its premises by these kinds, and `holds` is the one place where they are judged.
What a reply lacks that is due, or that never ended, is seen by its last octets.
A server's text may be in any encoding: it is held against a pattern in each reading that `decoded_text` gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from popshell.protocol.connection import Due
from popshell.protocol.line import upper
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange, Status
from popshell.protocol.sasl import Mechanism, SaslError, Verifier, decode_line
from popshell.protocol.strangers import what_speaks
from popshell.protocol.wire import CRLF, from_base64
from popshell.tuples import NamedTuple
from popshell.visible import show


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


def guessed(octets: bytes) -> Text | None:
    """What octets that are no UTF-8 most likely are: Big5 or GB18030; None if they rather look like Latin-1.

    Of Chinese text many octets beyond ASCII stand in pairs; of text in Latin letters few do.
    """
    beyond, pairs = (len(re.findall(one, octets)) for one in (rb"[\x80-\xff]", rb"[\x80-\xff]{2}"))
    as_utf8 = octets.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= char <= "\udcff" for char in as_utf8)
    first = decoded_text(octets)[0]
    likely = pairs * 4 >= beyond and broken * 2 > sum(char > "\x7f" for char in as_utf8)
    return first if likely and first.encoding in ("Big5", "GB18030") else None


class Seen(NamedTuple):
    """What the premises are held against: the reply, and what came before it. "" and None: was not seen."""

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
    #: the first objection to the line that is not mild
    against: str = ""
    #: whether the command had an argument
    argument: bool | None = None
    #: whether a reply spoke of the message that the command names
    listed: bool | None = None
    #: whether CAPA listed the command, or it had `+OK` before: `yes`, `no`, of AUTH also `mechanism`: SASL without it;
    #: `unknown`: CAPA was not asked, or has nothing to say of it
    served: str = ""
    #: what the client sent to prove who it is, AUTH only: `none`, `cancelled`, `not-base64`, `unreadable`, `sent`
    answer: str = ""
    #: whether the reply shows a maildrop without messages, or a list of nothing
    empty: bool = False
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


class Premise(NamedTuple):
    """A kind of premise: what a rule of doctor.toml may want, None if notes alone name it; and whether it holds."""

    wanted: Any
    holds: Callable[[Any, Seen], bool]


def _one_of(name: str, wanted: Any = tuple[str, ...]) -> Premise:
    """A field of Seen that has to be one of what is wanted."""
    return Premise(wanted, lambda w, s: getattr(s, name) in w)


def _equal(name: str, wanted: Any = None) -> Premise:
    """A field of Seen that has to be what is wanted."""
    return Premise(wanted, lambda w, s: getattr(s, name) == w)


_Names = tuple[str, ...]
#: A regular expression.
Regular = Annotated[str, "regular expression"]
#: Every kind of premise. docs/reference-doctor.md says what each means.
PREMISES: Mapping[str, Premise] = {
    "code": Premise(str, lambda w, s: f"{s.code}/".startswith(f"{w}/")),
    "text": Premise(Regular, lambda w, s: matches(w, s.texts)),
    "command": _one_of("command"),
    "mechanism": _one_of("mechanism"),
    "state": _equal("state", str),
    "tls": _equal("tls", bool),
    "present": Premise(_Names, lambda w, s: all(announced(one, s) for one in w)),
    "absent": Premise(_Names, lambda w, s: s.capabilities is not None and not any(announced(one, s) for one in w)),
    "unknown": Premise(bool, lambda w, s: (s.capabilities is None) is w),
    "greeting": Premise(Regular, lambda w, s: matches(w, s.greeting)),
    "product": _one_of("product"),
    "first": _equal("first", bool),
    "repeated": Premise(int, lambda w, s: s.repeated >= w),
    "seconds": Premise(float, lambda w, s: s.seconds >= w),
    "closed": _equal("closed", bool),
    "problem": _one_of("problem"),
    "raw": Premise(Regular, lambda w, s: re.search(w, s.raw) is not None),
    "objection": Premise(_Names, lambda w, s: not s.objections.isdisjoint(w)),
    "challenge": Premise(Regular, lambda w, s: any(re.search(w, text) for text in s.challenges)),
    "longer": Premise(int, lambda w, s: s.octets > w),
    "follows": _one_of("follows"),
    "marked": _equal("marked", bool),
    "address": _equal("address", bool),
    "host": Premise(Regular, lambda w, s: re.search(w, s.host, re.IGNORECASE) is not None),
    "answer": _one_of("answer"),
    **{name: _one_of(name, None) for name in ("against", "served")},
    **{name: _equal(name) for name in ("argument", "listed", "empty")},
}


def holds(premises: Iterable[tuple[str, Any]], seen: Seen) -> bool:
    """Whether all premises, each a kind and what is wanted, hold of what was seen."""
    return all(PREMISES[kind].holds(wanted, seen) for kind, wanted in premises)


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
        if silent and before is not None and before.response is not None and not before.response.ok:
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
    asked = [one for one in before if one.command is not None]
    user = next((one.command for one in reversed(asked) if one.command and one.name in ("USER", "APOP")), None)
    name = next(iter(user.arguments), "") if user else ""
    refusals = [one.response for one in exchanges[: at + 1] if _refused(one) and one.response is not None]
    later = [one.problem.code for one in exchanges[at + 1 :] if one.problem is not None]
    answered = any(one.response is not None for one in exchanges[at + 1 :])
    return seen_in(exchange)._replace(
        greeting=hello,
        first=not asked and exchange.command is not None,
        repeated=1 + sum(1 for one in asked if one.name == exchange.name and _refused(one)),
        closed=(facts.closed and not answered) or any(code in ("no-reply", "cut", "no-terminator") for code in later),
        address="@" in name if name else None,
        host=facts.host,
        replies=tuple(text for reply in refusals for text in decoded_text(_octets(reply.text))),
    )


def seen_in(exchange: Exchange) -> Seen:
    """What one exchange shows, and what its record holds of what came before."""
    line, response = exchange.command, exchange.response
    known = exchange.capabilities_before
    if exchange.name == "CAPA" and exchange.ok and response is not None:
        known = response.capabilities()
    seen = Seen(
        code=response.code if response else "",
        texts=decoded_text(_octets(response.text)) if response else (),
        state=exchange.before.value,
        tls=exchange.tls,
        capabilities=known,
        seconds=exchange.finished - exchange.started,
        problem=exchange.problem.code if exchange.problem else "",
        raw=exchange.received[:1026].partition(CRLF)[0][:1024].decode("utf-8", "surrogateescape"),
        challenges=tuple((from_base64(one.challenge) or b"").decode("utf-8", "replace") for one in exchange.steps),
        marked=bool(exchange.maildrop_before.marks),
    )
    if line is None:
        return seen
    number, view, objection = line.message, exchange.maildrop_before, line.objection
    return seen._replace(
        command=exchange.name,
        mechanism=upper(line.arguments[0]) if line.name == "AUTH" and line.arguments else "",
        objections=frozenset(d.code for d in line.diagnostics),
        against=objection.code if objection else "",
        argument=bool(line.arguments),
        listed=None if number is None else number in view.numbers or number in view.sizes or number in view.unique_ids,
        served=_served(exchange),
        answer=_answer(exchange) if line.name == "AUTH" else "",
        empty=exchange.ok and _empty(exchange),
        octets=len(exchange.sent.partition(CRLF)[0]) + 2,
        follows=line.context.follows,
    )


def _served(exchange: Exchange) -> str:
    line, listed = exchange.command, exchange.capabilities_before
    assert line is not None
    spec = line.spec
    if spec is None or exchange.steps or spec.name in line.context.done:
        return "yes" if spec else ""
    if spec.capability is None or listed is None:
        return "unknown"
    words = listed.get(spec.capability)
    if words is None:
        return "no"
    wanted = upper(line.arguments[0]) if spec.continues and line.arguments else None
    return "yes" if wanted is None or wanted in map(upper, words) else "mechanism"


def _answer(exchange: Exchange) -> str:
    """A message that cannot be read is no wrong one. Only the first can be read by itself, where the client begins."""
    line = exchange.command
    assert line is not None
    mechanism = MECHANISMS.get(upper(line.arguments[0])) if line.arguments else None
    if exchange.steps:
        answer = exchange.steps[-1].answer
        if answer == b"*":
            return "cancelled"
        if answer != b"=" and from_base64(answer) is None:
            return "not-base64"
        alone = len(exchange.steps) == 1 and not exchange.steps[0].challenge and len(line.arguments) < 2
        return "unreadable" if mechanism and alone and not _readable(mechanism, answer.decode("ascii")) else "sent"
    if len(line.arguments) < 2:
        return "none"
    return "unreadable" if mechanism and not _readable(mechanism, line.arguments[1]) else "sent"


def _readable(mechanism: Mechanism, text: str) -> bool:
    """Whether a base64 line is a message of the mechanism, right or wrong."""
    try:
        mechanism.as_server(Verifier(lambda name: None)).step(decode_line(text))
    except SaslError:
        return False
    return True


def goes_on(before: Exchange | None, exchange: Exchange) -> bool:
    """Whether `exchange` looks like the rest of the message before it, which a lone dot in it ended too early: the
    server did not byte-stuff it (RFC 1939 §3). What is a status line is none."""
    if before is None or not before.ok or before.name not in ("RETR", "TOP") or exchange.response is not None:
        return False
    problem = exchange.problem
    return problem is not None and (problem.unasked or problem.code in ("no-status", "not-pop3"))


def whole(exchange: Exchange) -> bool:
    """Whether `+OK` shows the whole maildrop, in rows that can all be read; rows of marked messages may be there."""
    response = exchange.response
    if response is None or exchange.name not in ("STAT", "LIST", "UIDL"):
        return False
    if exchange.name == "STAT":
        return response.drop_listing() is not None
    return response.content is not None and exchange.maildrop.readable


def _empty(exchange: Exchange) -> bool:
    response = exchange.response
    assert response is not None
    found = response.drop_listing() if exchange.name == "STAT" else None
    nothing = not response.content if exchange.name == "AUTH" else response.content == b""
    return nothing or (found is not None and found[0] == 0)


# -- what a reply lacks ------------------------------------------------------------------------------------------------

#: How a multi-line reply ends that may be meant to be whole and is not, by the key of the words for it; the first fits.
_ENDS = {
    "terminator-lf": rb"(?:\A|\r\n)\.\n\Z",
    "bare-lf": rb"\n\.\r?\n\Z",
    "dot-open": rb"(?:\A|\n)\.\r?\Z",
    "dot-blank": rb"(?:\A|\n)(?:[ \t\r\0]*\.[ \t\r\0]+\r?|[ \t\0]+\.\r?)\n\Z",
    "dot-stuffed": rb"(?:\A|\n)\.\.\r\n\Z",
    "bare-cr": rb"\r\.\r\Z",
    "status-inside": rb"(?:\A|\n)(?:\+OK|-ERR)(?: [^\n]*)?\r?\n\Z",
    "tls-record": rb"[\x14-\x17]\x03[\x00-\x04]",  # RFC 8446 §5.1
}
#: So many of the last octets are looked at, and are shown.
_LOOKED_AT, _SHOWN = 512, 24


def lack(due: Due, tls: bool = True) -> str:
    """The key of what is missing of a reply, in `messages.toml`, `shell.waiting-...`."""
    if not (due.content or due.tail):  # of a reply to AUTH challenges have come and were answered
        return "waiting" if due.command else "waiting-greeting-tls" if tls else "waiting-greeting"
    if not due.content:
        return "waiting-line"
    if not due.lines and not due.tail:
        return "waiting-status-only"
    return f"waiting-{_end(due.tail) or 'terminator'}"


def lacked(exchange: Exchange) -> str:
    """The same key for a multi-line reply that never ended; "" where its last octets say nothing."""
    raw = exchange.received  # it may be 64 MiB
    found = _end(raw[max(exchange.content_at, len(raw) - _LOOKED_AT) :])
    return found and f"waiting-{found}"


def _end(tail: bytes) -> str:
    """Which of `_ENDS` it is; "" for none. Who took such an end for the end has sent the next line: it was answered."""
    for key, pattern in _ENDS.items():
        if re.search(pattern, tail):
            return (key == "status-inside" and _end(tail[: tail.rfind(b"\n", 0, -1) + 1])) or key
    return ""


def missing(due: Due) -> str:
    """The octets that have to come yet."""
    return "CRLF . CRLF" if due.content and lack(due) != "waiting-dot-open" else "CRLF"


def tail(due: Due) -> str:
    """The last octets, line ends spelled out."""
    text = due.tail[-_SHOWN:].decode("utf-8", "backslashreplace").replace("\r", "<CR>").replace("\n", "<LF>")
    return show(text, keep="")


def too_late(due: Due | None, seconds: int, place: str) -> dict[str, Any]:
    """Why a reply is no longer waited for: `code`, of `messages.toml`, `[net]`, and its facts.

    What came of a greeting may be of a protocol without line ends.
    """
    known = {"seconds": seconds, "place": place}
    if due is None or due.command is not None:
        return {"code": "reply-timeout", **known}
    if not due.octets:
        return {"code": "greeting-timeout", **known}
    host, speaks = place.rpartition(":")[0].strip("[]"), what_speaks(due.tail)
    return {"code": "greeting-cut", **known, "octets": due.octets, "host": host, "speaks": speaks}
