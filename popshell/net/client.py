"""Transport: the client's end of one connection, TCP, TLS or both by STLS.

An `asyncio.Protocol` on public API. What arrives is handed to `on_data` at once, in the event loop, always: who stops
waiting for a reply (Ctrl-C) loses only the wait, never the octets. Failures before the connection
stands are raised, what ends it later goes to `on_close`; both are NetError (net/errors.py), unless it is a bug.

Traps, each met by a test:

- STLS: octets in clear text after `+OK` would be read as if they came over TLS (CVE-2021-22947 and its family).
  Whether asyncio keeps such octets depends on the version of Python, so nothing is left to it: the caller says at which
  octet the reply ended, and one octet more aborts (sec-T2). What the system still holds spoils the handshake.
- asyncio delivers what came in the packet that ended the handshake *before* `start_tls` returns. It is kept until the
  facts are there and the caller has gone on.
- A handshake that times out or is aborted never calls `connection_lost`, and `start_tls` then returns None.
- TLS facts are taken right after the handshake; later asyncio has thrown them away.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from popshell.net.address import Destination, SocketAddress, TlsMode, is_loopback, resolve, text_of
from popshell.net.errors import Fact, NetError, connecting, ending, handshaking, looking_up, symbol
from popshell.protocol.strangers import what_speaks
from popshell.session import Step
from popshell.tuples import NamedTuple

if TYPE_CHECKING:  # loaded with the first TLS: a session in clear text begins without
    from popshell.net.certificates import Handshake

#: Octets that are read at a time.
_READ_SIZE = 1 << 15


class Deadlines(NamedTuple):
    """How long a connection may take to stand, in seconds (docs/reference-limits.md): overall, not for each step."""

    connect: float = 10.0
    handshake: float = 15.0
    #: how long the peer's close_notify is waited for
    goodbye: float = 2.0

    @classmethod
    def given(cls, seconds: float | None) -> Deadlines:
        """As `--timeout` says; the usual ones without it."""
        return cls(seconds, seconds) if seconds else cls()


OnData = Callable[[bytes], None]
OnClose = Callable[[Exception | None], None]
OnStep = Callable[[Step], None]


async def connect(
    destination: Destination,
    *,
    on_data: OnData = lambda data: None,
    on_close: OnClose = lambda error: None,
    deadlines: Deadlines | None = None,
    on_step: OnStep = lambda step: None,
    context: ssl.SSLContext | None = None,
) -> Transport:
    """Connect, with a TLS handshake if TLS comes first. Raises NetError: then nothing is open, `on_close` not called.

    Once this has returned, `on_close` is called exactly once, whichever side ends the connection: with None for
    an orderly end, else with what went wrong. `on_data` is not called before this has returned to its awaiter, who may
    set both then.

    `context` is that of an earlier connection to `destination`; no two may be in their handshakes at once.
    """
    deadlines = deadlines or Deadlines.given(destination.timeout)
    transport = Transport(destination, on_data, on_close, deadlines, on_step)
    transport.context = context
    await transport._open()
    return transport


async def _connected(family: socket.AddressFamily, address: SocketAddress, seconds: float) -> socket.socket:
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

    def __init__(
        self, destination: Destination, on_data: OnData, on_close: OnClose, deadlines: Deadlines, on_step: OnStep
    ) -> None:
        assert destination.address is not None  # the practice server's is known when it listens
        self.destination, self.address = destination, destination.address
        self.deadlines = deadlines
        self.on_data = on_data
        self.on_close = on_close
        #: called with True when more is to be sent than the system takes, with False when it goes on
        self.on_full: Callable[[bool], None] = lambda full: None
        #: what the handshake settled; None in clear text
        self.tls: Handshake | None = None
        #: `127.0.0.1:110`, `[::1]:110`
        self.peer = ""
        #: whether the peer is this machine: clear text to it leaves no cable (sec-T5)
        self.loopback = False
        #: octets handed to `on_data`; as POP3 sees them, without what TLS adds
        self.bytes_in = 0
        self._on_step = on_step
        self._numeric = ""  # of the address that is tried
        #: what is trusted: made when TLS is first wanted
        self.context: ssl.SSLContext | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] | None = None  # what arrived before it may be handed over
        self._opened = False
        self._ended = False

    # -- for the owner -----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._ended

    def write(self, data: bytes) -> None:
        """Send `data`, at once as far as the system takes it. Raises NetError `closed` after the end."""
        if self._ended or self._transport is None or self._transport.is_closing():
            raise NetError("closed", host=self.address.host, port=self.address.port)
        self._transport.write(data)

    async def start_tls(self, *, after: int) -> Handshake:
        """Do the TLS handshake; the reply to STLS said `+OK`. `after` is `bytes_in` as it stood where that reply ended.

        Take it in `on_data`, where the reply is seen to be whole. If one octet arrived after it, the connection is
        aborted: NetError `stls-injection`. On any failure the connection is aborted: nothing goes on in clear text.
        """
        assert self._transport is not None
        assert self.tls is None
        self._transport.pause_reading()
        if self.bytes_in != after or self._early is not None:
            await self._fail(NetError("stls-injection", octets=self.bytes_in - after, **self._where()))
        await self._handshake()
        assert self.tls is not None
        return self.tls

    def read(self, wanted: bool) -> None:
        """Read, or leave what comes to the system, so that the peer waits."""
        if self._transport is not None and not self._ended:
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def acknowledge(self) -> None:
        """Acknowledge at once what has come, where the system can: a peer may hold back what is next until then."""
        option, line = getattr(socket, "TCP_QUICKACK", 0), self._transport
        if option and line is not None and (sock := line.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):  # it is being closed
                sock.setsockopt(socket.IPPROTO_TCP, option, 1)

    def close(self) -> None:
        """End the connection when all is written; `on_close` comes later."""
        if self._transport is not None:
            self._transport.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        if self.address.tls is not TlsMode.NONE and self.context is None:
            # A mistyped --ca must not look like a failure of the network, so it is read before anything is sent.
            self.context = self._make_context()
        await self._connect()
        if self.address.tls is TlsMode.IMPLICIT:
            await self._handshake()
        self._opened = True
        asyncio.get_running_loop().call_soon(self._deliver_early)

    def _make_context(self) -> ssl.SSLContext:
        from popshell.net.trust import client_context

        return client_context(self.destination.way, self.destination.ca_data(), self.destination.insecure)

    def _where(self, host: str = "") -> dict[str, Fact]:
        host = host or self.address.host
        return {"host": f"[{host}]" if ":" in host else host, "port": self.address.port, "mode": self.address.mode}

    def _step(self, what: str, began: float | None = None, facts: Mapping[str, object] = MappingProxyType({})) -> None:
        """Report a step, and how long it took if it is one's end."""
        seconds = None if began is None else asyncio.get_running_loop().time() - began
        self._on_step(Step(what, self.address.host, self.address.port, self._numeric, facts, seconds))

    async def _connect(self) -> None:
        """Try the host's addresses in turn. Each gets its share of the time that is left, so that one that drops
        packets (IPv6 without a route) does not use up all."""
        loop, way, asked = asyncio.get_running_loop(), self.destination.way, list[bool]()
        seconds, began = self.deadlines.connect, loop.time()
        end = began + seconds

        def asking() -> None:
            asked.append(True)
            self._step("resolving")

        try:
            async with asyncio.timeout_at(end):
                found = await resolve(way.ip or self.address.host, self.address.port, way.family, asking)
        except (OSError, ValueError) as error:
            code = looking_up(error)
            if code == "no-such-host" and way.family:
                code = "no-such-family"
            kind = "4" if way.ipv4 else "6"
            raise NetError(code, seconds=seconds, family=kind, **self._where(way.ip)) from error
        if asked:
            self._step("resolved", began, {"addresses": ", ".join(address[0] for _, address in found)})
        errors: list[OSError] = []
        for tried, (family, address) in enumerate(found):
            began = loop.time()
            share = (end - began) / (len(found) - tried)
            self._numeric = address[0]
            self._step("connecting")
            try:
                sock = await _connected(family, address, share)
            except OSError as error:
                errors.append(error)
                facts = {"code": connecting(error), "reason": symbol(error), "seconds": round(share, 1)}
                self._step("not-connected", began, facts)
                continue
            await loop.create_connection(lambda: self, sock=sock)
            self.peer, self.loopback = text_of(address), is_loopback(address[0])
            self._step("connected", began)
            return
        # The most telling failure names the code: a machine that refuses is at least there.
        codes = [connecting(error) for error in errors]
        code = next(code for code in ("refused", "reset", "timeout", "unreachable") if code in codes)
        at = codes.index(code)
        raise NetError(
            code,
            peer=text_of(found[at][1]),
            addresses=", ".join(text_of(address) for _, address in found),
            seconds=seconds,
            reason=symbol(errors[at]),
            **self._where(),
        ) from errors[at]

    async def _handshake(self) -> None:
        from popshell.net.certificates import Handshake, watched
        from popshell.net.trust import settle

        line = self._transport
        assert line is not None
        self._early = []
        upgraded: asyncio.Transport | None = None
        handshake, began = Handshake(), asyncio.get_running_loop().time()
        try:
            if self.context is None:
                self.context = self._make_context()  # STLS typed by hand
            watched(self.context, handshake)
            async with asyncio.timeout(self.deadlines.handshake):
                upgraded = await asyncio.get_running_loop().start_tls(
                    line,
                    self,
                    self.context,
                    server_hostname=self.destination.name,
                    ssl_handshake_timeout=self.deadlines.handshake * 2,  # ours comes first
                    ssl_shutdown_timeout=self.deadlines.goodbye,
                )
            if upgraded is None or self._ended:
                raise ConnectionAbortedError
        except NetError as error:
            await self._fail(error)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot stand in a certificate
            await self._fail(self._handshake_error(error, handshake), error)
        except BaseException:
            line.abort()
            self._end(None)
            raise
        else:
            self._transport = upgraded
            self.tls = handshake
            settle(handshake, verified=not self.destination.insecure)
            await self._check_pin(handshake)
            self._step("tls", began, handshake.known)
            if self._opened:
                asyncio.get_running_loop().call_soon(self._deliver_early)

    async def _check_pin(self, handshake: Handshake) -> None:
        """Before anything is said over TLS. Raises NetError."""
        from popshell.net.certificates import pin_form, pin_of

        pin, name = self.destination.way.pin, self.destination.name
        if pin and (found := next(map(pin_of, handshake.chain()), "")) not in pin.split(","):
            error = NetError("certificate-pin", name=name, pin=pin, found=found, **self._where())
            mistaken = pin_form(bytes.fromhex(handshake.known["fingerprint"])) in pin.split(",")
            error.certificates = handshake.report(name, check="pin-certificate" if mistaken else "pin")
            await self._fail(error)

    def _handshake_error(self, error: Exception, handshake: Handshake) -> NetError:
        code = handshaking(error) if isinstance(error, OSError) else "bad-name"
        if self.address.tls is not TlsMode.IMPLICIT:  # the port is right; advice on ports would mislead
            code = {"closed-in-handshake": "closed-after-stls", "not-tls": "not-tls-after-stls"}.get(code, code)
        facts: dict[str, Fact] = self._where()
        if isinstance(error, ssl.SSLCertVerificationError):
            number, message, name = error.verify_code, error.verify_message, self.destination.name
            facts |= {"name": name, "verify_code": number, "verify_message": message}
            failed = NetError(code, **facts)
            failed.certificates = handshake.report(name, code=number, message=message)
            return failed
        facts |= {"least": self.destination.way.tls_min or "1.2", "name": self.destination.name}
        if code == "not-tls":
            if (speaks := what_speaks(handshake.first)) == "pop3":
                code = "not-tls-pop3"
            else:
                facts["speaks"] = speaks
        elif code == "handshake-timeout":
            facts["seconds"] = self.deadlines.handshake
        else:
            facts["reason"] = symbol(error)
        return NetError(code, **facts)

    async def _fail(self, error: NetError, cause: BaseException | None = None) -> NoReturn:
        """Abort, and raise `error` when the connection is really closed."""
        assert self._transport is not None
        self._transport.abort()
        self._end(error)
        await asyncio.sleep(0)  # the system's socket is closed in the next turn of the loop
        raise error from cause

    def _deliver_early(self) -> None:
        """Hand over what arrived early; from now on everything is handed over as it arrives."""
        early, self._early = self._early, None
        for data in early or ():
            self._deliver(data)
        if self._transport is not None and not self._ended:
            self._transport.resume_reading()

    def _deliver(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self.on_data(data)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        if self._opened:
            self.on_close(error)

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # asyncio reads 256 KiB at a time: lines of a flood keep a key and a signal waiting for 0.2 s and more.
        transport.max_size = _READ_SIZE  # type: ignore[attr-defined]
        transport.pause_reading()  # until connect() has returned

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
        elif not self._ended:
            self._deliver(data)

    def pause_writing(self) -> None:
        self.on_full(True)

    def resume_writing(self) -> None:
        self.on_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._early:
            self._deliver_early()  # what came before the end is handed over before it
        if isinstance(exc, OSError):
            self._end(NetError(ending(exc), peer=self.peer, reason=symbol(exc), **self._where()))
        else:
            self._end(exc)
