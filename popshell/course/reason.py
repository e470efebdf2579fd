"""Reason: why a server said `-ERR`, as one word that names a note. `explain.py` finds the note.

It is decided from the table's diagnostics, the response code and what the client knows of the maildrop, the gravest
first. A server's own text may say anything, in any language, and is not read.

Trap: without a response code much is a guess, and a wrong guess sends a learner the wrong way. Where two reasons are
possible the one wins that the server can hardly have missed: an unreadable message before the want of TLS.
"""

from __future__ import annotations

from popshell.protocol.commands import known_code
from popshell.protocol.line import CommandLine, upper
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import MECHANISMS, Mechanism, SaslError, decode_line
from popshell.protocol.wire import from_base64


def reason(exchange: Exchange) -> str:
    """Why `-ERR`: one of the reasons of docs/pages.md; `code` where the response code says it all."""
    line, response = exchange.command, exchange.response
    assert line is not None
    assert response is not None
    spec = line.spec
    if spec is None:
        return "empty" if line.has("empty") else "unknown-command"
    if spec.historic:
        return "historic"
    if exchange.steps and exchange.sent.endswith(b"\r\n*\r\n"):
        return "cancelled"
    row = known_code(response.code) if response.code else None
    if row is not None and row.code == "AUTH":
        # Refused before anything was proved: against policy, most likely for want of TLS (RFC 3206 §5).
        unproved = spec.name == "USER" or (spec.continues and len(line.arguments) < 2 and not exchange.steps)
        return "tls-required" if unproved and not exchange.tls else "credentials"
    if row is not None:
        return "refused" if spec.name == "QUIT" else "code"
    if (objection := line.objection) is not None:
        return objection.code
    number, maildrop = line.message, exchange.maildrop_before
    if number is not None:
        if not (number in maildrop.numbers or number in maildrop.sizes or number in maildrop.unique_ids):
            # Of a maildrop that nobody asked about, an optional command's refusal may mean either.
            return "refused" if maildrop.last is None and spec.capability else "no-such-message"
        return "not-supported" if spec.capability else "refused"
    if spec.name in ("PASS", "APOP"):
        return "refused"  # wrong, or right and the maildrop is in use: without a code nobody can tell
    if spec.name == "AUTH":
        return _reason_of_auth(exchange, line)
    if spec.name == "USER":
        # Servers say +OK to any name (RFC 1939 §7 lets them; Dovecot 2.3.19 does), but some not in clear text.
        return "refused" if exchange.tls else "tls-required"
    if spec.capability and exchange.capabilities_before is not None:
        announced = spec.capability in exchange.capabilities_before
        if not announced and spec.name in ("LANG", "UTF8"):  # TOP and UIDL are often served though not listed
            return "not-supported"
    if spec.name == "LANG" and line.arguments:
        return "unknown-language"
    return "not-supported" if spec.capability else "refused"


def _reason_of_auth(exchange: Exchange, line: CommandLine) -> str:
    """A message that cannot be read is told from a wrong one: only the latter may be the fault of clear text."""
    mechanism = MECHANISMS.get(upper(line.arguments[0]))
    if exchange.steps:
        answer = exchange.steps[-1].answer
        if answer != b"=" and from_base64(answer) is None:
            return "bad-base64"
        return "bad-message" if mechanism and not _readable(mechanism, answer.decode("ascii")) else "credentials"
    if mechanism is None:
        return "unknown-mechanism"
    if len(line.arguments) > 1 and not _readable(mechanism, line.arguments[1]):
        return "bad-message"
    if mechanism.clear_text and not exchange.tls:
        return "tls-required"
    return "credentials" if len(line.arguments) > 1 else "unknown-mechanism"


def _readable(mechanism: Mechanism, text: str) -> bool:
    """Whether a base64 line is a message of the mechanism, right or wrong."""
    try:
        mechanism.as_server(lambda name: None).step(decode_line(text))
    except SaslError:
        return False
    return True
