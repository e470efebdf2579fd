"""`popshell serve`: the practice server alone, until SIGINT or SIGTERM; its log, and a summary of each session.

It listens on loopback unless `--lan`. Then the addresses are said, with a warning, and a password that these docs print
is not taken. A log that cannot be written ends the server: it may be kept as a proof.

A SessionLog subscribes to the MailServer and writes what each session said, secrets masked and everything filtered
(sec-K2, sec-R1), as text or as JSON lines. The content of mail is counted, not written (sec-K4).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from popshell.arguments import Arguments, Usage
from popshell.net.address import Address, TlsMode, client_addresses, is_loopback, text_of
from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.protocol.commands import Content
from popshell.protocol.records import Exchange
from popshell.server.mailserver import MailServer
from popshell.server.session import ServerSession
from popshell.session import transcript_lines
from popshell.tuples import NamedTuple
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.course.catalog import Words

#: Seconds that sessions have at the end, for the reply on its way.
GRACE = 2.0
FAILED = 3
#: Letters and digits that are not taken for each other when a password is read aloud or copied from a board.
_LEGIBLE = "abcdefghjkmnpqrstuvwxyz23456789"


async def serve(server: MailServer, arguments: Arguments, words: Words) -> int:
    """Serve; gives the exit code. Raises Usage, and OSError when the log or the terminal cannot be written."""
    with log_of(arguments, words) as out:
        # What is for people makes room for JSON lines.
        said = sys.stderr if out is sys.stdout and arguments.json else sys.stdout
        stop = Stop()

        def ended(summary: Summary) -> None:
            if out is not sys.stdout and said.isatty():
                say(said, [_summary(summary, words)])

        if out is not None or said.isatty():
            server.subscribe(SessionLog(out, as_json=bool(arguments.json), ended=ended, failed=stop).observed)
        host = arguments.host or ("0.0.0.0" if arguments.lan else "127.0.0.1")
        listener = Listener(server.session, server.limits, client_addresses(host))

        async def start() -> None:
            bound = await listen(listener, host, arguments.port, arguments, words, next(iter(server.accounts)))
            say(said, _introduction(server, arguments, bound, words))

        return await until_stopped(listener, start, stop, words)


class Stop:
    """Ends a server when it is called: by a signal, or with the error that leaves no point in going on."""

    def __init__(self) -> None:
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __call__(self, error: OSError | None = None) -> None:
        if self.called.done():
            return
        if error is None:
            self.called.set_result(None)
        else:
            self.called.set_exception(error)


async def until_stopped(listener: Listener, start: Callable[[], Awaitable[None]], stop: Stop, words: Words) -> int:
    """Start, and serve until SIGINT, SIGTERM or `stop`; gives the exit code. Raises what `start` and `stop` raise."""
    try:
        await start()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop)
        await stop.called
    except NetError as error:
        reason = words(f"net.{error.code}", **error.facts)  # of a name that is not known, a sentence of its own
        whole = error.code == "no-such-host"
        say(sys.stderr, [reason if whole else words("cli.bad-port", **error.facts | {"reason": reason})])
        return FAILED
    finally:
        await listener.close(GRACE)
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one would meet a loop that is being closed
            signal.signal(number, signal.SIG_IGN)
    return 0


async def listen(
    listener: Listener, host: str, port: int | None, arguments: Arguments, words: Words, account: str = ""
) -> list[tuple[str, int]]:
    """Listen on `port`, then on that of `--tls-port`, and write the CA and the certificate of a client, for `account`.

    Gives the addresses. Raises Usage, NetError.
    """
    bound = []
    if port and port == arguments.tls_port:
        raise Usage(words("cli.same-port", port=port), arguments.command)
    try:
        for number, implicit in ((port or 0, False), (arguments.tls_port, True)):
            if number is not None:
                bound.append(await listener.start(host, number, implicit, beyond_loopback=arguments.lan))
    except ValueError:
        raise Usage(words("cli.not-loopback", host=host), arguments.command) from None
    for path, mode, pem in (
        (arguments.ca_out, 0o666, listener.certificate_pem),
        (arguments.client_cert_out, 0o600, lambda: listener.certificate.issue(account)),
    ):
        try:
            if path is not None:
                text = pem()
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
                    file.write(text)
        except OSError as error:
            raise unwritable(path, error, words, arguments.command) from None
        except ValueError:
            raise Usage(words("cli.client-cert-name", account=account), arguments.command) from None
    return bound


@contextlib.contextmanager
def log_of(arguments: Arguments, words: Words) -> Iterator[TextIO | None]:
    """The file of `--log`, to be appended to; standard output for `-` and for `--json` alone. Raises Usage."""
    name = str(arguments.log or "") or ("-" if arguments.json else "")
    if name in ("", "-"):
        yield sys.stdout if name else None
        return
    with open_log(name, words, arguments.command) as log:
        yield log


def open_log(name: str, words: Words, command: str = "") -> TextIO:
    """The file of `--log`, to be appended to, 0600. Raises Usage, also for a FIFO that is not read: it would block."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    try:
        out = os.fdopen(os.open(name, flags, 0o600), "w", encoding="utf-8", errors="backslashreplace")
        if os.path.isfile(name) and (size := os.path.getsize(name)):
            with open(name, "rb") as log:
                log.seek(size - 1)
                out.write("" if log.read() == b"\n" else "\n")  # a full disk cut its last line
        return out
    except OSError as error:
        raise unwritable(name, error, words, command) from None


def unwritable(path: object, error: OSError, words: Words, command: str = "") -> Usage:
    return Usage(words("cli.unwritable", path=str(path), reason=error), command)


def _introduction(
    server: MailServer, arguments: Arguments, bound: list[tuple[str, int]], words: Words
) -> Iterator[str]:
    """Where the server listens, who can log in, and what to type to reach it."""
    for key, place in zip(("cli.serving", "cli.serving-tls"), bound, strict=False):
        yield words(key, place=text_of(place))
    clients = client_addresses(bound[0][0])
    if arguments.lan and not is_loopback(clients[0]):
        yield words("cli.lan-warning", addresses=words.listed(clients))
    name, password = next(iter(server.accounts.items()))
    if not arguments.account:
        yield words("cli.serving-account", name=name, password=password)
    for token, owner in server.settings.accounts.tokens.items():
        yield words("cli.token", name=owner, token=token)
    if arguments.client_cert_out is not None:
        yield words("cli.client-cert", name=name, path=arguments.client_cert_out)
    ca = str(arguments.ca_out or "")
    tls = (TlsMode.IMPLICIT if len(bound) > 1 else TlsMode.STLS) if ca else TlsMode.NONE
    if tls is TlsMode.NONE and (arguments.require_tls or len(bound) > 1):
        yield words("cli.no-ca")
    if tls is TlsMode.NONE and arguments.require_tls:
        return
    port = bound[1 if tls is TlsMode.IMPLICIT else 0][1]
    yield words("cli.reach")
    # A password that the user chose is not printed: curl and Python ask for it.
    yield from recipes(Address(clients[0], port, tls, name), "" if arguments.account else password, ca)


def fresh_password() -> str:
    """A password of twelve legible characters, 59 bits, from the system's random numbers."""
    import secrets

    return "".join(secrets.choice(_LEGIBLE) for _ in range(12))


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


def _summary(summary: Summary, words: Words) -> str:
    return words(
        "cli.session",
        **summary._asdict() | {"seconds": f"{summary.seconds:.1f}"},
        who=summary.user or words("cli.session-no-login"),
        how="TLS" if summary.tls else words("cli.session-clear"),
        end="QUIT" if summary.quit else words("cli.session-cut"),
    )


def say(out: TextIO, lines: Iterable[str]) -> None:
    for line in lines:
        out.write(show(line, keep="") + "\n")
    out.flush()


# -- the log -----------------------------------------------------------------------------------------------------------


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
