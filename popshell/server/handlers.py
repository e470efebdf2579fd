"""What the practice server does for each command: one function each, and the table HANDLERS.

A handler gets the session and a line that the command table has found legal and well-formed; it returns a Reply or
raises Refused. State moves by the table alone, after the handler says `+OK`. Nothing that the peer sent
stands in a reply (sec-V3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType

from popshell.protocol.commands import CAPABILITIES, COMMANDS
from popshell.protocol.line import CommandLine, upper
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import Run, SaslError, decode_line, verify_apop, verify_password
from popshell.protocol.secrets import CANCEL
from popshell.server.maildrop import Message, stuffed_slices, stuffed_whole
from popshell.server.replies import Refused, Reply, error
from popshell.server.session import Handler, ServerSession

_USER = Reply(True, "user")

# -- AUTHORIZATION ---------------------------------------------------------------------------------------------------


def user(session: ServerSession, line: CommandLine) -> Reply:
    session.name = line.tokens[1].text
    # The same answer for every name, so that none is given away (RFC 1939 §7, USER).
    return _USER


def pass_(session: ServerSession, line: CommandLine) -> Reply:
    name, session.name = session.name, ""
    return _log_in(session, verify_password(name, line.tokens[1].text, session.settings.accounts.secret_of))


def apop(session: ServerSession, line: CommandLine) -> Reply:
    name, digest = line.arguments
    return _log_in(session, verify_apop(session.stamp, name, digest, session.settings.accounts.secret_of))


def auth(session: ServerSession, line: CommandLine) -> Reply:
    mechanism = MECHANISMS.get(upper(line.arguments[0]))
    if mechanism is None or mechanism not in session.mechanisms:
        if mechanism is not None and session.is_set(mechanism) and mechanism.only_under_tls and not session.context.tls:
            return error("tls-required", "AUTH")
        return error("unknown-mechanism")
    run = mechanism.as_server(session.verifier())
    return _sasl_step(session, run, line.arguments[1] if len(line.arguments) > 1 else None)


def _answer(session: ServerSession, run: Run, text: str) -> Reply:
    """The line that answers a challenge; `*` cancels (RFC 5034 §4)."""
    return error("cancelled") if text == CANCEL else _sasl_step(session, run, text)


def _sasl_step(session: ServerSession, run: Run, text: str | None) -> Reply:
    """Take the client's next message, None if it sent none yet; ask for another, or log in."""
    try:
        step = run.step(None if text is None else decode_line(text))
    except SaslError as wrong:
        return error(wrong.code)
    if step.done:
        return _log_in(session, step.proved)
    session.answer_auth = partial(_answer, session, run)
    return Reply(True, challenge=step.reply or b"")


def _log_in(session: ServerSession, name: str | None) -> Reply:
    """Open the maildrop of the name that was proved, or say why not: the codes are RFC 2449 §8.1's and RFC 3206's."""
    if name is None:
        session.failed_logins += 1
        session.wait_after_failure()
        return error("credentials", "AUTH")
    if (refusal := session.refuse_login(name)) is not None:
        return refusal
    maildrop = session.settings.accounts.maildrop_of(name)
    opened = maildrop.open(surrogates=session.settings.surrogates and "UTF8" not in session.context.done)
    if opened is None:
        return error("in-use", "IN-USE")
    maildrop.last_login = session.clock()
    session.opened = opened
    session.user = name
    count, octets = opened.drop_listing()
    return Reply(True, "logged-in", {"count": count, "octets": octets})


def stls(session: ServerSession, line: CommandLine) -> Reply:
    session.name = ""  # stricter than RFC 2595 §4 asks: what came in clear is forgotten (sec-V8)
    return Reply(True, "stls")


def utf8(session: ServerSession, line: CommandLine) -> Reply:
    return Reply(True, "utf8")


# -- both states -----------------------------------------------------------------------------------------------------


def capa(session: ServerSession, line: CommandLine) -> Reply:
    rows = "".join(f"{row}\r\n" for row in capability_rows(session))
    return Reply(True, "capa", content=stuffed_whole(rows.encode()))


def capability_rows(session: ServerSession) -> Iterator[str]:
    """The CAPA list, computed from what is served here and now."""
    for tag, row in CAPABILITIES.items():
        if session.context.state in row.announced and session.serves(tag):
            arguments = _ARGUMENTS.get(tag)
            yield f"{tag} {arguments(session)}".rstrip() if arguments else tag


_ARGUMENTS: Mapping[str, Callable[[ServerSession], str]] = {
    "SASL": lambda session: " ".join(mechanism.name for mechanism in session.mechanisms),
    "LOGIN-DELAY": lambda session: str(session.settings.faults["login_delay"]),
    "EXPIRE": lambda session: "NEVER",
    "IMPLEMENTATION": lambda session: "PopShell",
    "UTF8": lambda session: "USER" if session.settings.accounts.need_utf8 else "",
}


def lang(session: ServerSession, line: CommandLine) -> Reply:
    languages = session.settings.languages
    if not line.arguments:
        rows = "".join(f"{tag} {name}\r\n" for tag, name in languages.items())
        return Reply(True, "lang-list", content=stuffed_whole(rows.encode()))
    wanted = line.arguments[0].lower()
    for tag in languages:
        # Basic filtering: a range matches a tag that it equals, or that goes on with "-" (RFC 4647 §3.3.1).
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
    opened.update()
    return Reply(True, "quit-update", {"count": marked})


# -- TRANSACTION -----------------------------------------------------------------------------------------------------


def stat(session: ServerSession, line: CommandLine) -> Reply:
    count, octets = session.maildrop.drop_listing()
    return Reply(True, raw=f"{count} {octets}")


def list_(session: ServerSession, line: CommandLine) -> Reply:
    if line.arguments:
        number, message = _message(session, line)
        return Reply(True, raw=f"{number} {message.octets}")
    count, octets = session.maildrop.drop_listing()
    rows = (f"{number} {message.octets}\r\n".encode() for number, message in session.maildrop.unmarked())
    return Reply(True, "list", {"count": count, "octets": octets}, content=_batched(rows))


def uidl(session: ServerSession, line: CommandLine) -> Reply:
    if line.arguments:
        number, message = _message(session, line)
        return Reply(True, raw=f"{number} {message.unique_id}")
    rows = (f"{number} {message.unique_id}\r\n".encode() for number, message in session.maildrop.unmarked())
    return Reply(True, "uidl", content=_batched(rows))


def retr(session: ServerSession, line: CommandLine) -> Reply:
    message = _readable(session, line)
    return Reply(True, "octets", {"octets": message.octets}, content=message.stuffed())


def top(session: ServerSession, line: CommandLine) -> Reply:
    return Reply(True, "top", content=stuffed_slices(_readable(session, line).top(int(line.arguments[1]))))


def dele(session: ServerSession, line: CommandLine) -> Reply:
    number, _ = _message(session, line)
    session.maildrop.marks.add(number)
    return Reply(True, "dele", {"number": number})


def noop(session: ServerSession, line: CommandLine) -> Reply:
    return Reply(True, "noop")


def rset(session: ServerSession, line: CommandLine) -> Reply:
    session.maildrop.marks.clear()
    count, octets = session.maildrop.drop_listing()
    return Reply(True, "rset", {"count": count, "octets": octets})


def _message(session: ServerSession, line: CommandLine) -> tuple[int, Message]:
    """The message that the line names, with its number. Raises Refused if there is none or it is marked."""
    number = int(line.arguments[0])
    message = session.maildrop.get(number)
    if message is None:
        raise Refused(error("no-such-message", count=len(session.maildrop.messages)))
    if number in session.maildrop.marks:
        raise Refused(error("marked", number=number))
    return number, message


def _readable(session: ServerSession, line: CommandLine) -> Message:
    """The same, unless it may be sent in UTF-8 mode only; a server that does not serve UTF8 sends what it has."""
    _, message = _message(session, line)
    if message.needs_utf8 and "UTF8" not in session.context.done and session.serves("UTF8"):
        raise Refused(error("needs-utf8", "UTF8"))
    return message


def _batched(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Rows in blocks of some 64 KiB, then the terminator; no row of a listing begins with a dot."""
    block = bytearray()
    for row in rows:
        block += row
        if len(block) > 65536:
            yield bytes(block)
            block.clear()
    yield bytes(block) + b".\r\n"


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
