"""The verdict on a session: its first fault by a stable code, the line that shows it, and likely causes by code."""

from __future__ import annotations

import re
from typing import NamedTuple

from popshell.course.notes import reason
from popshell.logs.formats import said
from popshell.logs.session import Entry, Session
from popshell.logs.text import Event
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange

#: Fault -> likely causes, the likeliest first. Words for both stand in `messages.toml`: [log-fault], [log-cause].
FAULTS: dict[str, tuple[str, ...]] = {
    "connect-refused": ("wrong-port", "server-down", "firewall"),
    "connect-timeout": ("firewall", "server-down", "wrong-host"),
    "name-unknown": ("wrong-host", "no-dns"),
    "certificate": ("self-signed", "wrong-name", "unknown-issuer", "expired"),
    "tls-on-clear": ("clear-port",),
    "tls-failed": ("stls-refused", "no-tls-there", "tls-version"),
    "not-pop3": ("no-pop3-there",),
    "greeting-refused": ("too-many-sessions", "server-temporary"),
    "login-refused": ("credentials", "app-password", "tls-missing"),
    "in-use": ("mailbox-in-use",),
    "login-delay": ("login-delay",),
    "server-temporary": ("server-temporary",),
    "server-permanent": ("server-permanent",),
    "tls-required": ("tls-missing",),
    "stls-refused": ("server-tls-broken",),
    "mechanism-refused": ("mechanism-unknown", "tls-missing"),
    "cut-off": ("server-died", "idle-timeout", "local-scanner"),
    "no-terminator": ("terminator-missing", "server-stuck"),
    "no-reply": ("server-stuck", "line-ends", "local-scanner"),
    "no-greeting": ("tls-expected", "server-stuck"),
    "closed": ("idle-timeout", "server-died"),
    "dots-not-doubled": ("dots-not-doubled",),
    "wrong-state": ("not-logged-in",),
    "out-of-order": ("out-of-order",),
    "unknown-command": ("unknown-command",),
    "bad-argument": ("bad-argument",),
    "no-such-message": ("numbers",),
    "deleted-here": ("deleted-here",),
    "not-announced": ("not-announced",),
    "refused": ("server-words",),
    "typed-r": ("s-client-letters",),
    "unasked": ("out-of-step",),
    "bare-lf": ("line-ends-server",),
    "protocol": ("broken-server",),
}

#: -ERR to these is an answer, not a fault: a client asks in order to find out.
_PROBES = frozenset({"CAPA", "LANG", "UTF8", "XTND", "LAST", "RPOP"})
_CODES = {
    "IN-USE": "in-use",
    "LOGIN-DELAY": "login-delay",
    "SYS/TEMP": "server-temporary",
    "SYS/PERM": "server-permanent",
    "AUTH": "login-refused",
}
_REASONS = {
    "unknown-command": "unknown-command",
    "empty": "unknown-command",
    "historic": "not-announced",
    "credentials": "login-refused",
    "tls-required": "tls-required",
    "wrong-state": "wrong-state",
    "must-follow": "out-of-order",
    "not-after": "out-of-order",
    "already-tls": "out-of-order",
    "no-such-message": "no-such-message",
    "marked": "deleted-here",
    "not-supported": "not-announced",
    "unknown-mechanism": "mechanism-refused",
    "bad-message": "login-refused",
    "bad-base64": "login-refused",
    "missing-argument": "bad-argument",
    "extra-argument": "bad-argument",
    "bad-number": "bad-argument",
    "zero": "bad-argument",
    "bad-digest": "bad-argument",
}
_PROBLEMS = {
    "unasked": "unasked",
    "unasked-listing": "unasked",
    "unasked-rows": "unasked",
    "unasked-last": "unasked",
    "unasked-more": "unasked",
    "bare-lf": "bare-lf",
    "not-pop3": "not-pop3",
    "no-terminator": "cut-off",
    "cut": "cut-off",
    "no-reply": "no-reply",
}
_WORDS = (
    (
        "in-use",
        re.compile(r"(?i)\bin use\b|\block|busy|another (?:pop|session|user)|already (?:open|logged)|other session"),
    ),
    ("login-delay", re.compile(r"(?i)too (?:many|often|frequent|fast)|login delay|rate|try again later|exceeded")),
    ("tls-required", re.compile(r"(?i)\b(?:tls|ssl|stls|starttls|encrypt\w*|secure|plaintext|cleartext)\b")),
)


#: A refusal whose command is not in the log: its words alone tell what was refused.
_NAMELESS = (
    ("stls-refused", re.compile(r"(?i)TLS (?:is )?(?:not|un)|STLS")),
    ("in-use", re.compile(r"(?i)in-use|\block")),
    ("login-delay", re.compile(r"(?i)login-delay")),
    ("server-temporary", re.compile(r"SYS/TEMP")),
    ("login-refused", re.compile(r"(?i)\bauth|password|log-?in|user|credential")),
)


_CERTIFICATE = {
    "self-signed": re.compile(r"(?i)self[- ]signed"),
    "wrong-name": re.compile(r"(?i)name .*not match|hostname|subject name|No subject alternative"),
    "unknown-issuer": re.compile(r"(?i)issuer|PKIX|certification path"),
    "expired": re.compile(r"(?i)expired|not yet valid"),
}


class Fault(NamedTuple):
    """A fault: the line that shows it first (1-based), its code in FAULTS, and who or what speaks there, if known."""

    line: int
    code: str
    #: the line as the log has it, for the eye; mask it before it is shown
    shown: str = ""
    facts: tuple[tuple[str, object], ...] = ()


class Verdict(NamedTuple):
    """What is known of a session."""

    fault: Fault | None
    causes: tuple[str, ...]


def tool_fault(event: Event) -> str:
    """The fault that a tool's own words name; "" if none."""
    text = event.text[:600]
    if event.kind == "renegotiate":
        return "typed-r"
    if event.kind == "broken":
        return "cut-off" if re.search(rb"EOF|closed|reset", event.octets) else "refused"
    return next((code for code, pattern in said() if text and pattern.search(text)), "").removeprefix("never")


def judge(session: Session) -> Verdict:
    """The first fault of a session and what may have led to it."""
    fault = _first(session)
    if fault is None:
        return Verdict(None, ())
    causes = list(FAULTS[fault.code])
    if fault.code in ("unasked", "not-pop3", "protocol") and _early_dot(session):
        causes.insert(0, "dots-not-doubled")
        fault = fault._replace(code="dots-not-doubled")
    if fault.code == "tls-required" and session.tls:
        causes.append("credentials")
    if fault.code == "login-refused" and session.tls:
        causes.remove("tls-missing")
    if fault.code == "certificate":
        causes.sort(key=lambda cause: not _CERTIFICATE[cause].search(fault.shown))
    return Verdict(fault, tuple(dict.fromkeys(causes)))


def _first(session: Session) -> Fault | None:
    logged_in = any(exchange.after is State.TRANSACTION for exchange, _ in session.exchanges)
    last = max(
        (e.event.line for x, e in session.exchanges if e and x.command and x.name not in ("QUIT", "STLS", "CAPA")),
        default=0,
    )
    heard_of = next(
        (
            (event, code)
            for event in session.tool
            # s_client goes on with a certificate that it does not trust
            if (code := tool_fault(event)) and not (code == "certificate" and event.line < last)
        ),
        None,
    )
    if session.spoke and not session.heard and not session.unseen and not session.mixed and session.begun:
        first = session.closed or next(entry.event for entry in session.entries if entry.event.octets)
        if heard_of is None or heard_of[1] in ("cut-off", "no-terminator"):
            return Fault(first.line, "no-greeting", first.text)
        return Fault(heard_of[0].line, heard_of[1], heard_of[0].text)
    for at, (exchange, entry) in enumerate(session.exchanges):
        code = _code(session, exchange, at, logged_in)
        if not code:
            continue
        if exchange.problem is not None and exchange.problem.code in ("no-terminator", "cut", "no-reply"):
            return _broken_off(session, exchange, entry, code, heard_of)
        if session.unfit is not None and exchange.problem is not None:
            return Fault(session.unfit.line, code, session.unfit.text)
        line = entry.event.line if entry else 0
        facts = (("speaks", exchange.problem.speaks),) if exchange.problem and exchange.problem.speaks else ()
        earlier = session.short and session.short[2].event.line < line
        if not earlier:
            return Fault(line, code, entry.text if entry else "", (*facts, ("command", exchange.name)))
    if session.short is not None:
        announced, came, entry = session.short
        return Fault(entry.event.line, "cut-off", entry.text, (("announced", announced), ("came", came)))
    quit_done = any(exchange.name == "QUIT" for exchange, _ in session.exchanges)
    if heard_of is not None and not (heard_of[1] in ("cut-off", "no-terminator") and quit_done):
        event, code = heard_of
        if code == "no-terminator":
            code = "no-reply" if session.exchanges else "connect-timeout"
        return Fault(event.line, code, event.text)
    if session.closed is not None and session.begun and not session.exchanges and not session.spoke:
        return Fault(session.closed.line, "no-greeting", session.closed.text)
    if (
        session.closed is not None
        and session.exchanges
        and not quit_done
        and session.states[-1:] == [State.TRANSACTION]
    ):
        return Fault(session.closed.line, "closed", session.closed.text)
    return None


def _broken_off(
    session: Session, exchange: Exchange, entry: Entry | None, code: str, heard_of: tuple[Event, str] | None
) -> Fault:
    """A reply that did not come whole: the last octets show it, or the tool's words where they are not shown."""
    facts: tuple[tuple[str, object], ...] = (("command", exchange.name),)
    last = entry
    if session.short is not None:
        facts += (("announced", session.short[0]), ("came", session.short[1]))
        last = session.short[2]
    if heard_of is not None and heard_of[1] == "typed-r":
        return Fault(heard_of[0].line, "typed-r", heard_of[0].text)
    if heard_of is not None and heard_of[1] in ("no-terminator", "connect-timeout"):
        code = "no-terminator" if code == "cut-off" else "no-reply"
        return Fault(heard_of[0].line, code, heard_of[0].text, facts)
    if heard_of is not None and code == "no-reply" and heard_of[1] == "cut-off" and session.unseen:
        return Fault(heard_of[0].line, "cut-off", heard_of[0].text, facts)
    shown = last is not None and last.content and last.event.kind != "count"
    closing = session.closed or (heard_of[0] if heard_of and heard_of[1] == "cut-off" else None)
    if closing is not None and (not shown or (last is not None and last.event.glued)):
        return Fault(closing.line, code, closing.text, facts)
    if heard_of is not None and code == "no-reply":
        return Fault(
            heard_of[0].line,
            heard_of[1] if heard_of[1] not in ("no-terminator", "cut-off") else code,
            heard_of[0].text,
            facts,
        )
    return Fault(last.event.line if last else 0, code, last.text if last else "", facts)


def _code(session: Session, exchange: Exchange, at: int, logged_in: bool) -> str:
    """The fault that an exchange shows; "" if it shows none."""
    if exchange.problem is not None:
        if exchange.problem.code == "not-pop3" and exchange.command is not None:
            return "protocol"
        return _PROBLEMS.get(exchange.problem.code, "protocol")
    response = exchange.response
    if response is None or response.ok or exchange.name == "QUIT":
        return ""
    if exchange.command is None:
        return "greeting-refused"
    if exchange.name == "STLS":
        return "stls-refused"
    if session.nameless and at == 0:
        return next(
            (code for code, pattern in _NAMELESS if pattern.search(f"{response.code} {response.text}")), "refused"
        )
    if exchange.name in _PROBES:
        return ""
    if response.code in _CODES:
        why = reason(exchange)
        return "tls-required" if why == "tls-required" else _CODES[response.code]
    login = exchange.command.spec is not None and exchange.command.spec.logs_in
    why = reason(exchange)
    if exchange.name == "AUTH" and not exchange.steps and len(exchange.command.arguments) < 2:
        rest = session.exchanges[at + 1 :]
        if not exchange.command.arguments or any(
            e.command and e.command.spec and e.name in ("USER", "APOP", "AUTH") for e, _ in rest
        ):
            return ""
        return "mechanism-refused"
    if (
        exchange.before is not State.TRANSACTION
        and (login or exchange.name == "USER")
        and why in ("refused", "tls-required", "credentials")
    ):
        return next((code for code, pattern in _WORDS if pattern.search(response.text)), "login-refused")
    if exchange.name in ("UIDL", "TOP") and why == "not-supported":
        return "not-announced"
    return _REASONS.get(why, "refused")


def _early_dot(session: Session) -> bool:
    """Whether a message ended before its announced octets: a lone dot in it was not doubled."""
    for exchange, _ in reversed(session.exchanges):
        if exchange.name == "RETR" and exchange.response and exchange.response.content is not None:
            match = re.search(r"(\d{1,12}) (?:octets|bytes)", exchange.response.text)
            return match is not None and len(exchange.response.content) < int(match[1]) - 2
    return False
