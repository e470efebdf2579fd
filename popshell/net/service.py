"""What `popshell serve` needs beside a Listener: this machine's addresses, fresh passwords, a log, a summary a session.

A SessionLog subscribes to a MailServer and writes what each session said, secrets masked and everything filtered
(sec-K2, sec-R1), as text or as JSON lines. The content of mail is counted, not written (sec-K4).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

from popshell.protocol.commands import Content
from popshell.protocol.records import Exchange
from popshell.server.session import ServerSession
from popshell.session import transcript_lines
from popshell.visible import show

#: Letters and digits that are not taken for each other when a password is read aloud or copied from a board.
_LEGIBLE = "abcdefghjkmnpqrstuvwxyz23456789"


def fresh_password() -> str:
    """A password of twelve legible characters, 59 bits, from the system's random numbers."""
    import secrets

    return "".join(secrets.choice(_LEGIBLE) for _ in range(12))


def lan_addresses() -> tuple[str, ...]:
    """The addresses by which other machines reach this one, as far as the system says; no packet is sent."""
    found: list[str] = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((elsewhere, 9))  # for UDP this only chooses the way
                found.append(sock.getsockname()[0])
        except OSError:
            continue
    return tuple(address for address in found if not address.startswith(("127.", "0.")) and address != "::1")


def recipes(host: str, port: int, *, tls: bool, user: str, password: str, ca: str = "") -> tuple[str, str]:
    """What to type in a POSIX shell to read message 1 with curl, and with Python's poplib.

    `tls`: the port speaks TLS from the first octet; `ca` is the file with the certificate to trust, "" for none.
    """
    from shlex import quote

    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    trust = f" --cacert {quote(ca)}" if tls and ca else ""
    curl = f"curl{trust} -u {quote(f'{user}:{password}')} {'pop3s' if tls else 'pop3'}://{at}/1"
    context = f", context=ssl.create_default_context(cafile={ca!r})" if tls and ca else ""
    kind = "POP3_SSL" if tls else "POP3"
    code = (
        f"import poplib, ssl; c = poplib.{kind}({host!r}, {port}{context}); c.user({user!r}); c.pass_({password!r}); "
    )
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
    """A subscriber of a MailServer: writes each session to `out`, and gives a Summary of each to `ended`."""

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        as_json: bool = False,
        ended: Callable[[Summary], None] = lambda summary: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._out = out
        self._as_json = as_json
        self._ended = ended
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
        if self._out is not None:
            for row in self._rows(summary, exchange, now):
                self._out.write(row + "\n")
            self._out.flush()
        if exchange is None:
            self._ended(summary)

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
        lines = transcript_lines([exchange])
        if _is_mail(exchange):
            lines = iter([*_heads(exchange), f"# {_content_lines(exchange)} lines"])
        for line in lines:
            yield f"{stamp} {summary.number} {show(summary.client, keep='')} {line}"


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


def _is_mail(exchange: Exchange) -> bool:
    spec = exchange.command.spec if exchange.command else None
    return spec is not None and spec.content is Content.MAIL and _content_lines(exchange) > 0


def _content_lines(exchange: Exchange) -> int:
    return len(exchange.response.lines or ()) if exchange.response else 0


def _heads(exchange: Exchange) -> list[str]:
    """The command and the status line of an exchange."""
    rows: list[str] = []
    for row in transcript_lines([exchange]):
        rows.append(row)
        if row.startswith("S: +OK"):
            break
    return rows


def _json(exchange: Exchange) -> dict[str, Any]:
    """The published form of an exchange, without its version; of mail only how many lines it had."""
    row = exchange.to_json()
    del row["version"]
    if _is_mail(exchange):
        row["lines"] = _content_lines(exchange)
    return row
