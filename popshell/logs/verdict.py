"""The sessions of a log, and the verdict on each: its first fault by a stable code, its line, likely causes by code."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from popshell.course.doctor import Rules, diagnose
from popshell.course.notes import reason
from popshell.course.symptoms import Facts
from popshell.logs.formats import faults, said, shown_by
from popshell.logs.text import ANNOUNCED, CLIENT, Event
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange
from popshell.tuples import NamedTuple

#: -ERR to these is an answer, not a fault: a client asks in order to find out.
_PROBES = frozenset({"CAPA", "LANG", "UTF8", "XTND", "LAST", "RPOP"})
#: What tools say of an end without a reply: after QUIT it is no fault; of these, what says that time ran out.
_SILENCES = ("cut-off", "no-terminator", "connect-timeout", "tls-failed")
_TIMES = ("no-terminator", "connect-timeout", "no-reply")
#: What says that it was a read that failed.
_READS = re.compile("(?i)read|getline|rbuf")


@dataclass(slots=True)
class Entry:
    """One line of a session as it is shown. `exchange` stands at the first line of a reply, once it is whole."""

    event: Event
    text: str = ""
    exchange: Exchange | None = None
    #: part of a reply after its first line
    content: bool = False
    #: the log does not show it; it is taken to have happened because the tool went on
    assumed: bool = False
    #: the state that begins with this line
    state: State | None = None


@dataclass(slots=True)
class Session:
    """One connection as the log shows it."""

    entries: list[Entry] = field(default_factory=list)
    exchanges: list[tuple[Exchange, Entry | None]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    marks: frozenset[int] = frozenset()
    erased: frozenset[int] = frozenset()
    #: where the other end closed, and whether something was due then
    closed: Event | None = None
    tool: list[Event] = field(default_factory=list)
    unfit: Event | None = None
    secrets: set[str] = field(default_factory=set)
    spoke: bool = False
    tls: bool = False
    #: the greeting, commands or replies are not in the log
    gaps: bool = False
    #: octets that were announced and came, of a reply that is not whole
    short: tuple[int, int, Entry] | None = None
    #: the commands are not in the log
    alone: bool = False
    #: a refusal whose command is not in the log
    nameless: bool = False
    #: the log shows that a connection was made, and that the server said anything
    begun: bool = False
    heard: bool = False
    #: the tool says that it waits for the greeting
    greeting: bool = False
    #: this form shows no replies
    unseen: bool = False
    #: several connections were open at once, and the replies do not say whose they are
    mixed: bool = False


class Fault(NamedTuple):
    """A fault: the line that shows it first (1-based), its code, one of `faults()`, and who or what speaks there."""

    line: int
    code: str
    #: the line as the log has it, for the eye; mask it before it is shown
    shown: str = ""
    facts: tuple[tuple[str, object], ...] = ()
    #: the record that shows it
    exchange: Exchange | None = None
    #: likely causes by the keys of their words
    causes: tuple[str, ...] = ()


def tool_fault(event: Event) -> str:
    """The fault that a tool's own words name; "" if none."""
    if event.kind == "renegotiate":
        return "typed-r"
    if event.kind == "broken":
        stray = re.match(rb"b?['\"](?!-ERR|\+OK)", event.octets)  # a line of a message, taken for a reply
        ended = re.search(rb"EOF|closed|reset", event.octets)
        return "dots-not-doubled" if stray else "cut-off" if ended else "refused"
    return _named("said", event.text[:600]).removeprefix("never")


def _named(table: str, text: str, default: str = "") -> str:
    """The first name in a table of formats.toml with a pattern that is found in the text."""
    return next((code for code, pattern in said(table) if text and pattern.search(text)), default)


def judge(session: Session, rules: Rules) -> Fault | None:
    """The first fault of a session with what may have led to it; None if none is visible."""
    fault = _first(session)
    if fault is None:
        return None
    if _early_dot(session, fault):
        fault = fault._replace(code="dots-not-doubled", exchange=None)
    if session.alone and fault.exchange is not None and fault.exchange.command is not None:
        # Its command is not in the log: what the record has in its place is not shown.
        unseen = {**dict(fault.facts), "command": "", "unseen": True}
        fault = fault._replace(exchange=None, facts=tuple(unseen.items()))
    named = _named("certificate", fault.shown)
    likely = [cause for cause in faults()[fault.code]["causes"] if not (session.tls and cause == "tls-missing")] or [
        "credentials"
    ]
    causes = [f"log-cause.{cause}" for cause in sorted(likely, key=lambda cause: cause != named)]
    if fault.exchange is not None:
        exchanges = [exchange for exchange, _ in session.exchanges]
        last = next(at for at, exchange in enumerate(exchanges) if exchange is fault.exchange)
        found = diagnose(exchanges[: last + 1], Facts(closed=session.closed is not None), rules)
        causes = [f"cause.{cause.code}" for cause in found.causes] or causes
    return fault._replace(causes=tuple(causes))


def _first(session: Session) -> Fault | None:
    said = _said(session)
    sent = [entry for entry in session.entries if entry.event.source == CLIENT]
    if session.spoke and not session.heard and not session.unseen and not session.mixed and session.begun:
        first = session.closed or next(entry.event for entry in session.entries if entry.event.octets)
        return _by(first, "no-greeting") if said is None or said.code in ("cut-off", "no-terminator") else said
    for at, (exchange, entry) in enumerate(session.exchanges):
        code, problem = _code(session, exchange, at), exchange.problem
        if not code:
            continue
        if problem is not None and problem.code in ("no-terminator", "cut", "no-reply"):
            since = session.exchanges[at - 1][1] if at else None
            answered = since.event.line if since else 0
            if said and said.code in _TIMES and 0 < answered < said.line < _next(sent, answered):
                return _timed_out(session, said)  # the client gave up before it sent this
            return _broken_off(session, exchange, entry, code, said)
        if problem is not None and session.unfit is not None:
            return _by(session.unfit, code)._replace(exchange=exchange)
        fault = _in(entry, code, command=exchange.name, speaks=problem.speaks if problem else "")
        fault = fault._replace(exchange=exchange)
        if session.short is None or session.short[2].event.line >= fault.line or _early_dot(session, fault):
            return fault._replace(exchange=None) if session.nameless and at == 0 else fault
    if session.short is not None:
        announced, came, entry = session.short
        if re.match(r"\.(?!\.)", entry.text) and _next(sent, entry.event.line):
            return _in(entry, "dots-not-doubled")  # some clients take each line with one dot in front for the end
        return _in(entry, "cut-off", command="RETR", announced=announced, came=came)
    quit_at = next((entry.event.line for entry in sent if entry.text.upper().startswith("QUIT")), 0)
    quiet = said is None or said.code in ("cut-off", "no-terminator")
    if session.closed and session.begun and not (session.spoke or session.heard) and quiet:
        return _by(session.closed, "tls-failed" if "TLS" in session.closed.text and not session.tls else "no-greeting")
    silent = session.greeting or (session.begun and not session.unseen) or (said and _READS.search(said.shown))
    if said is not None and said.code == "cut-off" and not (session.spoke or session.heard):
        return said._replace(code="no-greeting") if silent else said._replace(facts=(("unseen", session.unseen),))
    # A tool whose errors are not kept back with its lines says at the top what came last.
    late = quit_at and (quit_at <= said.line or said.line < sent[0].event.line) if said else False
    stands = session.states[-1].value if session.states else ""
    if said is not None and not (said.code in _SILENCES and late):
        shown = bool(session.exchanges) and not (session.unseen or session.alone or session.mixed)
        if said.code == "cut-off" and shown and stands and not dict(said.facts).get("command"):
            return said._replace(code="closed", facts=(("state", stands),))
        return _timed_out(session, said) if said.code in _TIMES else said
    in_transaction = session.exchanges and stands == State.TRANSACTION.value
    return _by(session.closed, "closed", state=stands) if session.closed and in_transaction and not quit_at else None


def _next(entries: list[Entry], line: int) -> int:
    return next((entry.event.line for entry in entries if entry.event.line > line), 0)


def _timed_out(session: Session, said: Fault) -> Fault:
    """What a client that gave up had waited for, after all that was asked for had come."""
    before = [exchange for exchange, entry in session.exchanges if entry and entry.event.line < said.line]
    last = next(reversed(before or [exchange for exchange, _ in session.exchanges]), None)
    if last is None and not session.spoke:
        if said.code == "connect-timeout" or session.greeting:
            return said._replace(code="no-greeting" if session.greeting else said.code)
        if not session.states and not (session.unseen and session.begun):
            read = session.begun or said.code == "no-reply" or _READS.search(said.shown)
            return said._replace(code="no-greeting" if read else "connect-timeout")
    seen = last is not None and last.command is not None and not session.unseen
    code = "no-terminator" if _awaits_end(session, last) else "waited-on" if seen else "no-reply"
    return said._replace(code=code, facts=(("command", last.name if last else ""), ("unseen", not seen)))


def _awaits_end(session: Session, last: Exchange | None) -> bool:
    """Whether a reply of many lines may have begun that the log does not show."""
    if last is None or last.command is None:
        return session.unseen and session.states[-1:] == [State.TRANSACTION]
    return last.command.expects_multi_line and last.before is State.TRANSACTION


def _by(event: Event, code: str, **facts: object) -> Fault:
    return Fault(event.line, code, event.text, tuple(facts.items()))


def _in(entry: Entry | None, code: str, **facts: object) -> Fault:
    return Fault(entry.event.line if entry else 0, code, entry.text if entry else "", tuple(facts.items()))


def _said(session: Session) -> Fault | None:
    """The first fault that the tool names. s_client goes on with a certificate that it does not trust."""
    spoken = [e.event.line for x, e in session.exchanges if e and x.command and x.name not in ("QUIT", "STLS", "CAPA")]
    last = max(spoken, default=0)
    of = {"broken": "RETR"}  # a message that a tool fetched
    faults = (_by(event, code, command=of.get(event.kind, "")) for event in session.tool if (code := tool_fault(event)))
    return next((fault for fault in faults if not (fault.code == "certificate" and fault.line < last)), None)


def _broken_off(session: Session, exchange: Exchange, entry: Entry | None, code: str, said: Fault | None) -> Fault:
    """A reply that did not come whole: the last octets show it, or the tool's words where they are not shown."""
    if said is not None and said.code == "typed-r":
        return said
    counted, last = {}, entry
    if session.short is not None:
        counted, last = {"announced": session.short[0], "came": session.short[1]}, session.short[2]
        code = "cut-off" if code == "no-reply" and session.short[1] < session.short[0] else code
        if code == "cut-off" and 0 < session.short[0] <= session.short[1]:
            code = "no-terminator"  # all of the message came, and the lone dot did not
    whole = _in(last, code, command=exchange.name, **counted)._replace(exchange=exchange)
    if last is None:  # the log has neither the command nor a part of the reply: where the session begins
        known = (*(one.event for one in session.entries), *session.tool, *filter(None, (session.closed,)))
        whole = whole._replace(line=min((event.line for event in known), default=1))
    if said is not None:
        stated = whole._replace(line=said.line, shown=said.shown)
        if said.code in _TIMES:
            seen = code == "no-reply" and not (session.unseen and _awaits_end(session, exchange))
            return stated._replace(code="no-reply" if seen else "no-terminator")
        if code == "no-reply" and said.code == "cut-off" and session.unseen:
            return stated._replace(code="cut-off")
    shown = last is not None and last.content and last.event.kind != "count" and not last.event.glued
    if not shown and session.closed is not None:
        return whole._replace(line=session.closed.line, shown=session.closed.text)
    if said is None or (code != "no-reply" and (shown or said.code != "cut-off")):
        return whole
    return stated if said.code in ("no-terminator", "cut-off") else stated._replace(code=said.code, exchange=None)


def _code(session: Session, exchange: Exchange, at: int) -> str:
    """The fault that an exchange shows; "" if it shows none."""
    command, response, problem = exchange.command, exchange.response, exchange.problem
    if problem is not None:
        if problem.unasked or (problem.code == "not-pop3" and command is None):
            return problem.code.partition("-")[0] if problem.unasked else problem.code
        if exchange.name == "AUTH" and re.search(rb"\+ ey[A-Za-z0-9+/]+=*\s*$", exchange.received):
            return "login-refused"  # JSON in a challenge: RFC 7628 §3.2.2; the client left without an answer
        code = shown_by("problems", problem.code)
        return code if code and code != "not-pop3" else "protocol"
    if response is None or response.ok or (exchange.name == "QUIT" and exchange.before is not State.TRANSACTION):
        return ""
    if command is None:
        return "greeting-refused"
    if exchange.name == "STLS":
        return "stls-refused"
    if session.alone or (session.nameless and at == 0):
        return _named("nameless", f"{response.code} {response.text}", shown_by("codes", response.code) or "refused")
    if exchange.name in _PROBES:
        return ""
    why = reason(exchange)
    if response.code and (known := shown_by("codes", response.code)):
        return why if why == "tls-required" else known
    if exchange.name == "AUTH" and not exchange.steps and len(command.arguments) < 2:
        later = (one.name for one, _ in session.exchanges[at + 1 :])
        return "" if not command.arguments or {"USER", "APOP", "AUTH"}.intersection(later) else "mechanism-refused"
    login = exchange.name == "USER" or (command.spec is not None and command.spec.logs_in)
    doubted = why in ("refused", "tls-required") or shown_by("reasons", why) == "login-refused"
    if login and exchange.before is not State.TRANSACTION and doubted:
        return _named("refused", response.text, "login-refused")
    if why == "unseen-message" and re.search(r"(?i)no such|no message|not exist|out of range", response.text):
        return "no-such-message"
    return shown_by("reasons", why) or "refused"


def _early_dot(session: Session, fault: Fault) -> bool:
    """Whether the reply before a fault was a message that ended too early: a lone dot in it was not doubled."""
    if fault.code not in ("unasked", "not-pop3", "protocol"):
        return False
    at = next((at for at, (one, _) in enumerate(session.exchanges) if one is fault.exchange), 0)
    before = session.exchanges[at - 1][0] if at else None
    if before is None and session.nameless:
        return State.TRANSACTION in session.states
    if before is None or before.name not in ("RETR", "TOP") or not (response := before.response) or not response.ok:
        return False
    announced = ANNOUNCED.search(response.text)
    if announced and response.content is not None:
        return len(response.content) < int(announced[1]) - 2
    return not fault.shown.startswith(("+OK", "-ERR"))
