"""Transport: the client's end of one connection, TCP, TLS or both by STLS. Bytes in, bytes out; no protocol.

An `asyncio.Protocol` of our own on public API. What arrives is handed to `on_data` at once, in the event loop, always:
somebody who stops waiting for a reply (Ctrl-C) loses only the wait, never the bytes. Failures before the connection
stands are raised, what ends it later goes to `on_close`; both are NetError (net/errors.py), unless it is a bug.

Traps, each met by a test:

- STLS: bytes in clear text behind `+OK` would be read as if they came over TLS (CVE-2021-22947 and its family).
  Whether asyncio keeps such bytes depends on the version of Python, so nothing is left to it: the caller says at which
  octet the reply ended, and one octet more aborts (sec-T2). What the system still holds spoils the handshake.
- asyncio delivers what came in the packet that ended the handshake *before* `start_tls` returns. It is kept until the
  facts are there and the caller has gone on.
- A handshake that times out or is aborted never calls `connection_lost`, and `start_tls` then returns None.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from popshell.net.errors import Fact, NetError, dialling, ending, handshaking, looking_up, symbol
from popshell.net.names import Address, is_loopback, resolve, text_of
from popshell.net.tls import TlsFacts, client_context, facts_of


class TlsMode(enum.Enum):
    """When TLS begins: with the connection (RFC 8314), after STLS (RFC 2595), or not at all."""

    IMPLICIT = "implicit"
    STLS = "stls"
    NONE = "none"


class Target(NamedTuple):
    """Where to connect and whom to trust. `ca_data` is PEM text; alone it is the only thing trusted (tls.py)."""

    host: str
    port: int
    tls: TlsMode = TlsMode.IMPLICIT
    ca_file: Path | None = None
    ca_data: str = ""
    insecure: bool = False
    #: the name that the certificate has to bear, and SNI; "" for `host`
    server_name: str = ""

    @property
    def name(self) -> str:
        """The name that is checked. The dot of a fully qualified name is not part of it."""
        return (self.server_name or self.host).rstrip(".")


class Deadlines(NamedTuple):
    """How long a connection may take to stand, in seconds (docs/reference-limits.md): overall, not for each step."""

    connect: float = 10.0
    handshake: float = 15.0
    #: how long the peer's close_notify is waited for
    goodbye: float = 2.0


OnData = Callable[[bytes], None]
OnClose = Callable[[Exception | None], None]


async def connect(
    target: Target, *, on_data: OnData, on_close: OnClose, deadlines: Deadlines | None = None
) -> Transport:
    """Connect, and shake hands if TLS comes first. Raises NetError; nothing is left open then, `on_close` not called.

    Once this has returned, `on_close` is called exactly once, whoever ends the connection and however: with None for
    an orderly end, else with what went wrong. `on_data` is not called before this has returned to its awaiter.
    """
    transport = Transport(target, on_data, on_close, deadlines or Deadlines())
    await transport._open()
    return transport


async def _reach(family: socket.AddressFamily, address: Address, seconds: float) -> socket.socket:
    # Named as TCP: only then does asyncio set TCP_NODELAY, without which 23 small commands a second are answered.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class Transport(asyncio.Protocol):
    """One connection. Attributes without underscore are for reading; `on_data` and `on_close` may be re-pointed."""

    __slots__ = (
        "_context",
        "_deadlines",
        "_early",
        "_ended",
        "_line",
        "_opened",
        "_paused",
        "_waiters",
        "bytes_in",
        "bytes_out",
        "loopback",
        "on_close",
        "on_data",
        "peer",
        "target",
        "tls",
    )

    def __init__(self, target: Target, on_data: OnData, on_close: OnClose, deadlines: Deadlines) -> None:
        self.target = target
        self.on_data = on_data
        self.on_close = on_close
        #: what the handshake settled; None in clear text
        self.tls: TlsFacts | None = None
        #: `127.0.0.1:110`, `[::1]:110`
        self.peer = ""
        #: whether the peer is this machine: clear text to it is seen by nobody else (sec-T5)
        self.loopback = False
        #: octets handed to `on_data`, octets written; as POP3 sees them, without what TLS adds
        self.bytes_in = 0
        self.bytes_out = 0
        self._deadlines = deadlines
        self._context: ssl.SSLContext | None = None
        self._line: asyncio.Transport | None = None
        self._early: list[bytes] | None = None  # what arrived while nobody may hear it yet
        self._opened = False
        self._paused = False
        self._ended = False
        self._waiters: list[asyncio.Future[None]] = []

    # -- for the owner -----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._ended

    def write(self, data: bytes) -> None:
        """Send `data`, at once as far as the system takes it. Raises NetError `closed` after the end."""
        if self._ended or self._line is None or self._line.is_closing():
            raise NetError("closed", host=self.target.host, port=self.target.port)
        self.bytes_out += len(data)
        self._line.write(data)

    def pause(self) -> None:
        """Let nothing more arrive until `resume()`: TCP tells the peer to wait."""
        self._paused = True
        if self._line is not None:
            self._line.pause_reading()

    def resume(self) -> None:
        self._paused = False
        if self._line is not None and self._early is None:
            self._line.resume_reading()

    async def start_tls(self, *, after: int) -> TlsFacts:
        """Shake hands; the reply to STLS said `+OK`. `after` is `bytes_in` as it stood where that reply ended.

        Take it in `on_data`, where the reply is seen to be whole. If one octet arrived behind it, the connection is
        aborted: NetError `stls-injection`. On any failure the connection is aborted: nothing goes on in clear text.
        """
        assert self._line is not None
        assert self.tls is None
        self._line.pause_reading()
        if self.bytes_in != after or self._early is not None:
            await self._fail(NetError("stls-injection", octets=self.bytes_in - after, **self._where()))
        await self._shake_hands()
        assert self.tls is not None
        return self.tls

    def close(self) -> None:
        """End the connection when all is written; `on_close` comes later."""
        if self._line is not None:
            self._line.close()

    def abort(self) -> None:
        """End the connection now, whatever is unsent; `on_close` comes later."""
        if self._line is not None:
            self._line.abort()

    async def wait_closed(self) -> None:
        """Until the connection has ended."""
        if not self._ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    # -- opening -----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        if self.target.tls is not TlsMode.NONE:
            # A mistyped --ca must not look like trouble of the network, so it is read before anything is sent.
            self._context = self._make_context()
        await self._dial()
        if self.target.tls is TlsMode.IMPLICIT:
            await self._shake_hands()
        self._opened = True
        asyncio.get_running_loop().call_soon(self._hear)

    def _make_context(self) -> ssl.SSLContext:
        return client_context(self.target.ca_file, self.target.ca_data, self.target.insecure)

    def _where(self) -> dict[str, Fact]:
        host = self.target.host
        return {"host": f"[{host}]" if ":" in host else host, "port": self.target.port}

    async def _dial(self) -> None:
        """Try the host's addresses in turn. Each gets its share of the time that is left, so that one that swallows
        packets (IPv6 that goes nowhere) does not use up all."""
        loop = asyncio.get_running_loop()
        seconds = self._deadlines.connect
        end = loop.time() + seconds
        try:
            async with asyncio.timeout_at(end):
                found = await resolve(self.target.host, self.target.port)
        except (OSError, ValueError) as error:
            raise NetError(looking_up(error), seconds=seconds, **self._where()) from error
        errors: list[OSError] = []
        for tried, (family, address) in enumerate(found):
            share = (end - loop.time()) / (len(found) - tried)
            try:
                sock = await _reach(family, address, share)
            except OSError as error:
                errors.append(error)
                continue
            await loop.create_connection(lambda: self, sock=sock)
            self.peer, self.loopback = text_of(address), is_loopback(address[0])
            return
        # The most telling failure names the code: a machine that refuses is at least there.
        codes = [dialling(error) for error in errors]
        code = next(code for code in ("refused", "timeout", "unreachable") if code in codes)
        raise NetError(
            code,
            addresses=", ".join(text_of(address) for _, address in found),
            seconds=seconds,
            reason=symbol(errors[codes.index(code)]),
            **self._where(),
        ) from errors[codes.index(code)]

    async def _shake_hands(self) -> None:
        line = self._line
        assert line is not None
        self._early = []
        upgraded: asyncio.Transport | None = None
        try:
            if self._context is None:
                self._context = self._make_context()  # STLS typed by hand
            async with asyncio.timeout(self._deadlines.handshake):
                upgraded = await asyncio.get_running_loop().start_tls(
                    line,
                    self,
                    self._context,
                    server_hostname=self.target.name,
                    ssl_handshake_timeout=self._deadlines.handshake * 2,  # ours comes first
                    ssl_shutdown_timeout=self._deadlines.goodbye,
                )
            if upgraded is None or self._ended:
                raise ConnectionAbortedError
        except NetError as error:
            await self._fail(error)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot stand in a certificate
            await self._fail(self._handshake_error(error), error)
        except BaseException:
            line.abort()
            self._end(None)
            raise
        else:
            if self._paused:
                upgraded.pause_reading()
            self._line = upgraded
            self.tls = facts_of(upgraded, verified=not self.target.insecure)
            if self._opened:
                asyncio.get_running_loop().call_soon(self._hear)

    def _handshake_error(self, error: Exception) -> NetError:
        code = handshaking(error)
        if self.target.tls is not TlsMode.IMPLICIT:  # the port is right; advice on ports would mislead
            code = {"closed-in-handshake": "closed-after-stls", "not-tls": "not-tls-after-stls"}.get(code, code)
        facts: dict[str, Fact] = self._where()
        if isinstance(error, ssl.SSLCertVerificationError):
            facts |= {
                "name": self.target.name,
                "verify_code": error.verify_code,
                "verify_message": error.verify_message,
            }
        elif code == "handshake-timeout":
            facts["seconds"] = self._deadlines.handshake
        else:
            facts["reason"] = symbol(error)
        return NetError(code, **facts)

    async def _fail(self, error: NetError, cause: BaseException | None = None) -> NoReturn:
        """Abort, and raise `error` when the line is really gone."""
        assert self._line is not None
        self._line.abort()
        self._end(error)
        await asyncio.sleep(0)  # the system's socket is closed in the next turn of the loop
        raise error from cause

    def _hear(self) -> None:
        """Hand over what had to wait, then let all come as it comes."""
        early, self._early = self._early, None
        for data in early or ():
            self._deliver(data)
        if not self._paused and self._line is not None and not self._ended:
            self._line.resume_reading()

    def _deliver(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self.on_data(data)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._opened:
            self.on_close(error)

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._line = transport
        transport.pause_reading()  # until connect() has returned

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
        elif not self._ended:
            self._deliver(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._early:
            self._hear()  # what came before the end is told before the end
        if isinstance(exc, OSError):
            self._end(NetError(ending(exc), peer=self.peer, reason=symbol(exc), **self._where()))
        else:
            self._end(exc)
