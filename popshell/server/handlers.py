"""What the practice server does for each command: one function each, and the table HANDLERS.

A handler gets the session and a line that the command table has found legal and well-formed; it returns a Reply. State
moves by the table alone, after the handler says `+OK`. Nothing that the peer sent stands in a reply (sec-V3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from popshell.protocol.commands import CAPABILITIES, COMMANDS
from popshell.protocol.line import NUMBER, CommandLine, upper
from popshell.protocol.sasl import (
    MECHANISMS,
    Run,
    SaslError,
    decode_line,
    verify_apop,
    verify_password,
)
from popshell.protocol.secrets import CANCEL
from popshell.server.maildrop import Message, stuffed_slices, stuffed_whole

if TYPE_CHECKING:
    from popshell.server.mailserver import ServerSession


class Reply(NamedTuple):
    """A reply before it has words: `key` names a text of `replies.toml`; `raw` is a text that no language changes."""

    ok: bool
    key: str = ""
    facts: Mapping[str, object] = MappingProxyType({})
    code: str = ""
    content: Iterator[bytes] | None = None
    raw: str | None = None
    challenge: bytes | None = None


def error(key: str, code: str = "", **facts: object) -> Reply:
    return Reply(False, key, facts, code)


# -- AUTHORIZATION ---------------------------------------------------------------------------------------------------


def user(session: ServerSession, line: CommandLine) -> Reply:
    if session.needs_tls:
        return error("tls-required")
    session.name = line.arguments[0]
    # The same answer for every name, so that none is given away (RFC 1939 §7, USER).
    return Reply(True, "user")


def pass_(session: ServerSession, line: CommandLine) -> Reply:
    name, session.name = session.name, ""
    if session.needs_tls:
        return error("tls-required", "AUTH")  # against policy is a fault of credentials, too (RFC 3206 §5)
    return _log_in(session, verify_password(name, line.arguments[0], session.server.secret_of))


def apop(session: ServerSession, line: CommandLine) -> Reply:
    name, digest = line.arguments
    return _log_in(session, verify_apop(session.stamp, name, digest, session.server.secret_of))


def auth(session: ServerSession, line: CommandLine) -> Reply:
    mechanism = MECHANISMS.get(upper(line.arguments[0]))
    if mechanism is None or mechanism not in session.mechanisms:
        if mechanism is not None and session.needs_tls:
            return error("tls-required", "AUTH")
        return error("unknown-mechanism")
    run = mechanism.as_server(session.server.secret_of, session.stamp)
    return _sasl_step(session, run, line.arguments[1] if len(line.arguments) > 1 else None)


def auth_answer(session: ServerSession, text: str) -> Reply:
    """The line that answers a challenge; `*` cancels (RFC 5034 §4)."""
    assert session.awaiting is not None
    run, session.awaiting = session.awaiting, None
    return error("cancelled") if text == CANCEL else _sasl_step(session, run, text)


def _sasl_step(session: ServerSession, run: Run, text: str | None) -> Reply:
    """Take the client's next message, None if it sent none yet; ask for another, or log in."""
    try:
        step = run.step(None if text is None else decode_line(text))
    except SaslError as wrong:
        return error(wrong.code)
    if step.done:
        return _log_in(session, step.proved)
    session.awaiting = run
    return Reply(True, challenge=step.reply or b"")


def _log_in(session: ServerSession, name: str | None) -> Reply:
    """Open the maildrop of the name that was proved, or say why not: the codes are RFC 2449 §8.1's and RFC 3206's."""
    server = session.server
    if name is None:
        session.failed_logins += 1
        session.wait_after_failure()
        return error("credentials", "AUTH")
    faults = server.conditions
    if faults.temp_failure:
        return error("temp-failure", "SYS/TEMP")
    if faults.perm_failure:
        return error("perm-failure", "SYS/PERM")
    maildrop = server.maildrop_of(name)
    now = server.clock()
    if faults.login_delay is not None and maildrop.last_login is not None:
        left = maildrop.last_login + faults.login_delay - now
        if left > 0:
            return error("login-delay", "LOGIN-DELAY", seconds=math.ceil(left))
    opened = None if faults.in_use else maildrop.open()
    if opened is None:
        return error("in-use", "IN-USE")
    maildrop.last_login = now
    session.opened = opened
    count, octets = opened.drop_listing()
    return Reply(True, "logged-in", {"count": count, "octets": octets})


def stls(session: ServerSession, line: CommandLine) -> Reply:
    if not session.server.offers_tls:
        return error("not-supported")
    session.name = ""  # stricter than RFC 2595 §4 asks: what came in clear is forgotten (sec-V8)
    return Reply(True, "stls")


def utf8(session: ServerSession, line: CommandLine) -> Reply:
    return Reply(True, "utf8")


# -- both states -----------------------------------------------------------------------------------------------------


def capa(session: ServerSession, line: CommandLine) -> Reply:
    rows = "".join(f"{row}\r\n" for row in capability_rows(session))
    return Reply(True, "capa", content=iter((stuffed_whole(rows.encode()),)))


def capability_rows(session: ServerSession) -> Iterator[str]:
    """The CAPA list, computed from what is served here and now."""
    for tag, row in CAPABILITIES.items():
        if session.state in row.announced and session.serves(tag):
            arguments = _ARGUMENTS.get(tag)
            yield f"{tag} {arguments(session)}".rstrip() if arguments else tag


_ARGUMENTS: Mapping[str, Callable[[ServerSession], str]] = {
    "SASL": lambda session: " ".join(mechanism.name for mechanism in session.mechanisms),
    "LOGIN-DELAY": lambda session: str(session.server.conditions.login_delay),
    "EXPIRE": lambda session: "NEVER",
    "IMPLEMENTATION": lambda session: session.server.implementation,
    "UTF8": lambda session: "USER" if session.server.takes_utf8_names else "",
}


def lang(session: ServerSession, line: CommandLine) -> Reply:
    languages = session.server.languages
    if not line.arguments:
        rows = "".join(f"{tag} {name}\r\n" for tag, name in languages.items())
        return Reply(True, "lang-list", content=iter((stuffed_whole(rows.encode()),)))
    wanted = line.arguments[0].lower()
    for tag in languages:
        # Basic filtering: a range matches a tag that it equals, or that goes on behind it with "-" (RFC 4647 §3.3.1).
        if wanted == "*" or tag.lower() == wanted or tag.lower().startswith(wanted + "-"):
            session.language = tag
            return Reply(True, "lang", {"tag": tag})
    return error("unknown-language")


def quit_(session: ServerSession, line: CommandLine) -> Reply:
    session.closing = True
    opened = session.opened
    if opened is None:
        return Reply(True, "quit")
    session.opened = None
    marked = len(opened.marks)
    if marked and session.server.conditions.update_fails:
        opened.release()
        # RFC 1939 §6: "-ERR some deleted messages not removed"; the server closes all the same.
        return error("update-fails", "SYS/TEMP")
    opened.update()
    return Reply(True, "quit-update", {"count": marked})


# -- TRANSACTION -----------------------------------------------------------------------------------------------------


def stat(session: ServerSession, line: CommandLine) -> Reply:
    count, octets = session.maildrop.drop_listing()
    return Reply(True, raw=f"{count} {octets}")


def list_(session: ServerSession, line: CommandLine) -> Reply:
    if line.arguments:
        number, message = _message(session, line)
        return message if isinstance(message, Reply) else Reply(True, raw=f"{number} {message.octets}")
    count, octets = session.maildrop.drop_listing()
    rows = (f"{number} {message.octets}\r\n".encode() for number, message in session.maildrop.unmarked())
    return Reply(True, "list", {"count": count, "octets": octets}, content=_batched(rows))


def uidl(session: ServerSession, line: CommandLine) -> Reply:
    if line.arguments:
        number, message = _message(session, line)
        return message if isinstance(message, Reply) else Reply(True, raw=f"{number} {message.unique_id}")
    rows = (f"{number} {message.unique_id}\r\n".encode() for number, message in session.maildrop.unmarked())
    return Reply(True, "uidl", content=_batched(rows))


def retr(session: ServerSession, line: CommandLine) -> Reply:
    _, message = _readable(session, line)
    if isinstance(message, Reply):
        return message
    return Reply(True, "octets", {"octets": message.octets}, content=stuffed_slices(message.content))


def top(session: ServerSession, line: CommandLine) -> Reply:
    _, message = _readable(session, line)
    if isinstance(message, Reply):
        return message
    return Reply(True, "top", content=stuffed_slices(message.top(int(line.arguments[1]))))


def dele(session: ServerSession, line: CommandLine) -> Reply:
    number, message = _message(session, line)
    if isinstance(message, Reply):
        return message
    session.maildrop.marks.add(number)
    return Reply(True, "dele", {"number": number})


def noop(session: ServerSession, line: CommandLine) -> Reply:
    return Reply(True, "noop")


def rset(session: ServerSession, line: CommandLine) -> Reply:
    session.maildrop.marks.clear()
    count, octets = session.maildrop.drop_listing()
    return Reply(True, "rset", {"count": count, "octets": octets})


def _message(session: ServerSession, line: CommandLine) -> tuple[int, Message | Reply]:
    """The message that the line names, if it is there and not marked (RFC 1939 §5)."""
    assert NUMBER.match(line.arguments[0])
    number = int(line.arguments[0])
    message = session.maildrop.get(number)
    if message is None:
        return number, error("no-such-message", count=len(session.maildrop.messages))
    if number in session.maildrop.marks:
        return number, error("marked", number=number)
    return number, message


def _readable(session: ServerSession, line: CommandLine) -> tuple[int, Message | Reply]:
    number, message = _message(session, line)
    if not session.serves("UTF8"):
        return number, message  # it knows nothing of RFC 6856 and sends what it has
    if isinstance(message, Message) and message.needs_utf8 and "UTF8" not in session.context.done:
        return number, error("needs-utf8", "UTF8")
    return number, message


def _batched(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Rows in blocks of some 64 KiB, then the terminator; no row of a listing begins with a dot."""
    block = bytearray()
    for row in rows:
        block += row
        if len(block) > 65536:
            yield bytes(block)
            block.clear()
    yield bytes(block) + b".\r\n"


Handler = Callable[["ServerSession", CommandLine], Reply]

#: Every command that is served; the keys are rows of the command table.
HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "USER": user,
        "PASS": pass_,
        "APOP": apop,
        "AUTH": auth,
        "STLS": stls,
        "UTF8": utf8,
        "CAPA": capa,
        "LANG": lang,
        "QUIT": quit_,
        "STAT": stat,
        "LIST": list_,
        "UIDL": uidl,
        "RETR": retr,
        "TOP": top,
        "DELE": dele,
        "NOOP": noop,
        "RSET": rset,
    }
)
assert HANDLERS.keys() <= COMMANDS.keys()
