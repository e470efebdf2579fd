"""What `popshell serve` needs beside a Listener: this machine's addresses, fresh passwords, a log, a summary a session.

A SessionLog subscribes to a MailServer and writes what each session said, secrets masked and everything filtered
(sec-K2, sec-R1), as text or as JSON lines. The content of mail is counted, not written (sec-K4).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from popshell.net.address import Address, TlsMode
from popshell.protocol.commands import Content
from popshell.protocol.records import Exchange
from popshell.server.session import ServerSession
from popshell.session import transcript_lines
from popshell.tuples import NamedTuple

#: Letters and digits that are not taken for each other when a password is read aloud or copied from a board.
_LEGIBLE = "abcdefghjkmnpqrstuvwxyz23456789"


def fresh_password() -> str:
    """A password of twelve legible characters, 59 bits, from the system's random numbers."""
    import secrets

    return "".join(secrets.choice(_LEGIBLE) for _ in range(12))


def client_addresses(host: str) -> tuple[str, ...]:
    """The addresses under which clients reach a server that listens on `host`: those of this machine for a wildcard.

    They are known as far as the system says which way leads out; no packet is sent.
    """
    elsewhere = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}.get(host)
    if elsewhere is None:
        return (host,)
    family, address = elsewhere
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))  # for UDP this only chooses the way
            return (str(sock.getsockname()[0]),)
    except OSError:
        return (host,)


def recipes(address: Address, password: str = "", ca: str = "") -> tuple[str, str]:
    """What to type in a POSIX shell to read message 1 with curl, and with Python's poplib, as `address.user`.

    Without a password both ask for it. `ca` is the file with the certificate to trust.
    """
    from shlex import quote

    user = f"{address.user}:{password}" if password else address.user
    trust = "" if address.tls is TlsMode.NONE else f" --ssl-reqd --cacert {quote(ca)}"
    scheme = "pop3s" if address.tls is TlsMode.IMPLICIT else "pop3"
    curl = f"curl{trust} -u {quote(user)} {scheme}://{address.label}/1"
    literal = json.dumps  # of Python, too, and without the quotes that the shell needs
    host, context = literal(address.host), f"context=ssl.create_default_context(cafile={literal(ca)})"
    connect = f"c = poplib.POP3({host}, {address.port})"
    if address.tls is TlsMode.IMPLICIT:
        connect = f"c = poplib.POP3_SSL({host}, {address.port}, {context})"
    elif address.tls is TlsMode.STLS:
        connect += f"; c.stls({context})"
    secret = literal(password) if password else "getpass.getpass()"
    code = f"import getpass, poplib, ssl; {connect}; c.user({literal(address.user)}); c.pass_({secret}); "
    return curl, f"python3 -c {quote(code + 'print(c.retr(1)); c.quit()')}"


class Summary(NamedTuple):
    """One session that has ended, in numbers."""

    #: counts the sessions of a log, from 1
    number: int
    client: str
    #: the account that was opened, "" if none
    user: str
    tls: bool
    commands: int
    #: messages that RETR sent whole, and messages that QUIT removed
    fetched: int
    removed: int
    #: whether QUIT ended it
    quit: bool
    seconds: float


class SessionLog:
    """A subscriber of a MailServer: writes each session to `out`, and gives a Summary of each to `ended`.

    `failed` is called once, when `out` or `ended` cannot be written; after it nothing more is written.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        as_json: bool = False,
        ended: Callable[[Summary], None] = lambda summary: None,
        failed: Callable[[OSError], None] = lambda error: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._out = out
        self._as_json = as_json
        self._ended = ended
        self._failed = failed
        self._now = now
        self._sessions: dict[ServerSession, tuple[Summary, datetime]] = {}
        self._count = 0

    def observed(self, session: ServerSession, exchange: Exchange | None) -> None:
        """What `MailServer.subscribe` takes."""
        now = self._now()
        if session not in self._sessions:
            self._count += 1
            self._sessions[session] = Summary(self._count, session.client, "", False, 0, 0, 0, False, 0.0), now
        summary, began = self._sessions[session]
        if exchange is not None:
            summary = _counted(summary, session, exchange)
            self._sessions[session] = summary, began
        else:
            del self._sessions[session]
        summary = summary._replace(seconds=(now - began).total_seconds())
        try:
            if self._out is not None:
                self._out.writelines(f"{row}\n" for row in self._rows(summary, exchange, now))
                self._out.flush()
            if exchange is None:
                self._ended(summary)
        except OSError as error:
            self._out = None
            self._failed(error)

    def _rows(self, summary: Summary, exchange: Exchange | None, now: datetime) -> Iterator[str]:
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03}Z"
        if self._as_json:
            row: dict[str, Any] = {"time": stamp, "session": summary.number, "client": summary.client}
            row |= (
                {"event": "ended", **_facts(summary)} if exchange is None else {"event": "exchange", **_json(exchange)}
            )
            yield json.dumps(row)
            return
        if exchange is None:
            yield f"{stamp} {summary.number} ends: {json.dumps(_facts(summary))}"
            return
        mail = _mail_lines(exchange)
        for line in transcript_lines([exchange]):
            yield f"{stamp} {summary.number} {summary.client} {line}"
            if mail and line.startswith("S: +OK"):
                yield f"{stamp} {summary.number} {summary.client} # {mail} lines"
                break


def _counted(summary: Summary, session: ServerSession, exchange: Exchange) -> Summary:
    removed = len(exchange.maildrop_before.marks) if exchange.name == "QUIT" and exchange.ok else 0
    return summary._replace(
        user=session.user or summary.user,
        tls=exchange.tls or summary.tls,
        commands=summary.commands + (exchange.command is not None),
        fetched=summary.fetched + (exchange.name == "RETR" and exchange.ok),
        removed=summary.removed + removed,
        quit=summary.quit or (exchange.name == "QUIT" and exchange.response is not None),
    )


def _facts(summary: Summary) -> dict[str, object]:
    facts = summary._asdict()
    del facts["number"], facts["client"]
    return facts | {"seconds": round(summary.seconds, 3)}


def _mail_lines(exchange: Exchange) -> int:
    """How many lines of a message the reply holds."""
    spec = exchange.command.spec if exchange.command else None
    if spec is None or spec.content is not Content.MAIL or exchange.response is None:
        return 0
    return len(exchange.response.lines or ())


def _json(exchange: Exchange) -> dict[str, Any]:
    """The published form of an exchange, without its version; of mail only how many lines it had."""
    row = exchange.to_json()
    del row["version"], row["type"]
    if mail := _mail_lines(exchange):
        row |= {"lines": mail, "received": row["received"][:1]}
    return row
