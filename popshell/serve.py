"""`popshell serve`: the practice server alone, until SIGINT or SIGTERM.

It listens on loopback unless `--lan`. Then the addresses are said, with a warning, and a password that these docs print
is not taken. A log that cannot be written ends the server: it may be kept as a proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from popshell.arguments import Arguments, Usage
from popshell.net.address import Address, TlsMode, is_loopback, text_of
from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.net.service import SessionLog, Summary, client_addresses, recipes
from popshell.server.mailserver import MailServer
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.course.catalog import Words

#: Seconds that sessions have at the end, for the reply on its way.
GRACE = 2.0
FAILED = 3


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
        (arguments.client_cert_out, 0o600, lambda: listener.certificate().issue(account)),
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
