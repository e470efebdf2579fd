"""Transport: the client's end of one connection, TCP, TLS or both by STLS; what TLS trusts and what it settled.

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
- `create_default_context` reads the system's store, which costs 23-37 ms: a connection that trusts one given
  certificate (the practice server's) does without.
- TLS facts are taken right after the handshake; later asyncio has thrown them away.

The client always makes its own context: verification on, TLS 1.2 and up, SNI and host check (sec-T1). `--insecure`
switches verification off and nothing else; the fingerprint is reported so that it can be compared by eye.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

from popshell.net.address import SocketAddress, TlsMode, is_loopback, resolve, text_of
from popshell.net.binding import end_point_binding
from popshell.net.errors import Fact, NetError, connecting, ending, handshaking, looking_up, symbol
from popshell.session import Step

if TYPE_CHECKING:
    from datetime import datetime

#: Octets that are read at a time.
_READ_SIZE = 1 << 15


class TlsFacts(NamedTuple):
    """What a handshake settled. Texts come from the peer's certificate: show them through `popshell.visible` only.

    Of a certificate that was not verified Python gives nothing but the fingerprint: the other fields are then empty.
    """

    version: str
    cipher: str
    #: `commonName=..., organizationName=...`, in the certificate's order
    subject: str
    issuer: str
    #: the DNS names and IP addresses that the certificate is for
    names: tuple[str, ...]
    not_after: datetime | None
    #: SHA-256 over the certificate, 64 hexadecimal digits in lower case
    fingerprint: str
    verified: bool
    #: what SCRAM's -PLUS mechanisms are bound to; also of a certificate that was not verified
    binding: bytes | None = None

    def known(self) -> dict[str, object]:
        """What there is to be shown, by names of `messages.toml`, `[tls]`."""
        known: dict[str, object] = {"version": self.version, "cipher": self.cipher}
        if self.verified:
            known |= {"subject": self.subject, "issuer": self.issuer, "names": ", ".join(self.names)}
            if self.not_after is not None:
                known["not_after"] = self.not_after.isoformat(" ", "minutes")
        return known | {"fingerprint": self.fingerprint}


def client_context(ca_file: Path | None, ca_data: str, insecure: bool) -> ssl.SSLContext:
    """What a client trusts. `ca_data` alone is trusted alone; `ca_file` is trusted *besides* the system's store.

    Raises NetError: `ca-file-unreadable`, `ca-file-no-certificate`; also when `insecure` would not need the file.
    """
    if insecure or (ca_data and ca_file is None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_data:
        context.load_verify_locations(cadata=ca_data)
    if ca_file is not None:
        _add_file(context, ca_file)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _add_file(context: ssl.SSLContext, path: Path) -> None:
    try:
        # Read here, so that "cannot be read" and "no certificate in it" are different errors; and DER is taken, too.
        octets = path.read_bytes()
    except OSError as error:
        raise NetError("ca-file-unreadable", path=str(path), reason=symbol(error)) from error
    try:
        context.load_verify_locations(cadata=octets.decode("ascii", "ignore") if b"-----BEGIN" in octets else octets)
    except (ssl.SSLError, ValueError) as error:
        raise NetError("ca-file-no-certificate", path=str(path)) from error


def facts_of(transport: asyncio.BaseTransport, *, verified: bool) -> TlsFacts:
    """What the handshake on `transport` settled."""
    from datetime import UTC, datetime  # no other start pays for it

    session: ssl.SSLObject = transport.get_extra_info("ssl_object")
    # A dictionary of nested tuples, empty for a certificate that was not verified; typeshed cannot say it better.
    certificate: dict[str, Any] = session.getpeercert() or {}
    octets = session.getpeercert(binary_form=True) or b""
    cipher = session.cipher()
    end = certificate.get("notAfter")
    return TlsFacts(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        subject=_name(certificate.get("subject", ())),
        issuer=_name(certificate.get("issuer", ())),
        names=tuple(value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")),
        not_after=datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC) if end else None,
        fingerprint=hashlib.sha256(octets).hexdigest(),
        verified=verified,
        binding=end_point_binding(octets),
    )


def _kept_in(sessions: list[ssl.SSLObject]) -> type[ssl.SSLObject]:
    """A class whose objects put themselves into `sessions`: asyncio throws them away when a handshake fails."""

    class Kept(ssl.SSLObject):
        def __new__(cls, *args: object, **settings: object) -> Self:
            made = super().__new__(cls)
            sessions.append(made)
            return made

    return Kept


def refused(sessions: list[ssl.SSLObject]) -> dict[str, Fact]:
    """The facts of a certificate that was refused: subject, issuer, names, not_after, fingerprint; {} without them.

    Python gives them after the handshake only, so the object below is asked: it has them from 3.10 on.
    """
    try:
        certificate = sessions[-1]._sslobj.get_unverified_chain()[0]  # type: ignore[attr-defined]
        known, octets = certificate.get_info(), ssl.PEM_cert_to_DER_cert(certificate.public_bytes())
    except (AttributeError, IndexError, TypeError, ValueError):
        return {}
    names = ", ".join(value for kind, value in known.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    facts = {"subject": _name(known.get("subject", ())), "issuer": _name(known.get("issuer", ())), "names": names}
    return {**facts, "not_after": known.get("notAfter", ""), "fingerprint": hashlib.sha256(octets).hexdigest()}


def _name(rows: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    return ", ".join(f"{key}={value}" for row in rows for key, value in row)


class Target(NamedTuple):
    """Where to connect and which certificates to trust. `ca_data` is PEM text; alone it is the only thing trusted."""

    host: str
    port: int
    tls: TlsMode = TlsMode.IMPLICIT
    ca_file: Path | None = None
    ca_data: str = ""
    insecure: bool = False

    @property
    def name(self) -> str:
        """The name that the certificate has to bear, and SNI. The dot of a fully qualified name is not part of it."""
        return self.host.rstrip(".")


class Deadlines(NamedTuple):
    """How long a connection may take to stand, in seconds (docs/reference-limits.md): overall, not for each step."""

    connect: float = 10.0
    handshake: float = 15.0
    #: how long the peer's close_notify is waited for
    goodbye: float = 2.0


OnData = Callable[[bytes], None]
OnClose = Callable[[Exception | None], None]
OnStep = Callable[[Step], None]


async def connect(
    target: Target,
    *,
    on_data: OnData,
    on_close: OnClose,
    deadlines: Deadlines | None = None,
    on_step: OnStep = lambda step: None,
) -> Transport:
    """Connect, with a TLS handshake if TLS comes first. Raises NetError: then nothing is open, `on_close` not called.

    Once this has returned, `on_close` is called exactly once, whichever side ends the connection: with None for
    an orderly end, else with what went wrong. `on_data` is not called before this has returned to its awaiter.
    """
    transport = Transport(target, on_data, on_close, deadlines or Deadlines(), on_step)
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
        self, target: Target, on_data: OnData, on_close: OnClose, deadlines: Deadlines, on_step: OnStep
    ) -> None:
        self.target = target
        self.on_data = on_data
        self.on_close = on_close
        #: called with True when more is to be sent than the system takes, with False when it goes on
        self.on_full: Callable[[bool], None] = lambda full: None
        #: what the handshake settled; None in clear text
        self.tls: TlsFacts | None = None
        #: `127.0.0.1:110`, `[::1]:110`
        self.peer = ""
        #: whether the peer is this machine: clear text to it leaves no cable (sec-T5)
        self.loopback = False
        #: octets handed to `on_data`; as POP3 sees them, without what TLS adds
        self.bytes_in = 0
        self._deadlines = deadlines
        self._on_step = on_step
        self._address = ""
        self._context: ssl.SSLContext | None = None
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
            raise NetError("closed", host=self.target.host, port=self.target.port)
        self._transport.write(data)

    async def start_tls(self, *, after: int) -> TlsFacts:
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

    def close(self) -> None:
        """End the connection when all is written; `on_close` comes later."""
        if self._transport is not None:
            self._transport.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        if self.target.tls is not TlsMode.NONE:
            # A mistyped --ca must not look like a failure of the network, so it is read before anything is sent.
            self._context = self._make_context()
        await self._connect()
        if self.target.tls is TlsMode.IMPLICIT:
            await self._handshake()
        self._opened = True
        asyncio.get_running_loop().call_soon(self._deliver_early)

    def _make_context(self) -> ssl.SSLContext:
        return client_context(self.target.ca_file, self.target.ca_data, self.target.insecure)

    def _where(self) -> dict[str, Fact]:
        host = self.target.host
        return {"host": f"[{host}]" if ":" in host else host, "port": self.target.port}

    def _step(self, what: str, facts: Mapping[str, object] = MappingProxyType({})) -> None:
        self._on_step(Step(what, self.target.host, self.target.port, self._address, facts))

    async def _connect(self) -> None:
        """Try the host's addresses in turn. Each gets its share of the time that is left, so that one that drops
        packets (IPv6 without a route) does not use up all."""
        loop = asyncio.get_running_loop()
        seconds = self._deadlines.connect
        end = loop.time() + seconds
        try:
            async with asyncio.timeout_at(end):
                found = await resolve(self.target.host, self.target.port, lambda: self._step("resolving"))
        except (OSError, ValueError) as error:
            raise NetError(looking_up(error), seconds=seconds, **self._where()) from error
        errors: list[OSError] = []
        for tried, (family, address) in enumerate(found):
            share = (end - loop.time()) / (len(found) - tried)
            self._address = address[0]
            self._step("connecting")
            try:
                sock = await _connected(family, address, share)
            except OSError as error:
                errors.append(error)
                self._step(
                    "not-connected", {"code": connecting(error), "reason": symbol(error), "seconds": round(share, 1)}
                )
                continue
            await loop.create_connection(lambda: self, sock=sock)
            self.peer, self.loopback = text_of(address), is_loopback(address[0])
            self._step("connected")
            return
        # The most telling failure names the code: a machine that refuses is at least there.
        codes = [connecting(error) for error in errors]
        code = next(code for code in ("refused", "timeout", "unreachable") if code in codes)
        raise NetError(
            code,
            addresses=", ".join(text_of(address) for _, address in found),
            seconds=seconds,
            reason=symbol(errors[codes.index(code)]),
            **self._where(),
        ) from errors[codes.index(code)]

    async def _handshake(self) -> None:
        line = self._transport
        assert line is not None
        self._early = []
        upgraded: asyncio.Transport | None = None
        sessions: list[ssl.SSLObject] = []
        try:
            if self._context is None:
                self._context = self._make_context()  # STLS typed by hand
            self._context.sslobject_class = _kept_in(sessions)
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
            await self._fail(self._handshake_error(error, sessions), error)
        except BaseException:
            line.abort()
            self._end(None)
            raise
        else:
            self._transport = upgraded
            self.tls = facts_of(upgraded, verified=not self.target.insecure)
            self._step("tls", self.tls.known())
            if self._opened:
                asyncio.get_running_loop().call_soon(self._deliver_early)

    def _handshake_error(self, error: Exception, sessions: list[ssl.SSLObject]) -> NetError:
        code = handshaking(error)
        if self.target.tls is not TlsMode.IMPLICIT:  # the port is right; advice on ports would mislead
            code = {"closed-in-handshake": "closed-after-stls", "not-tls": "not-tls-after-stls"}.get(code, code)
        facts: dict[str, Fact] = self._where()
        if isinstance(error, ssl.SSLCertVerificationError):
            facts |= {
                "name": self.target.name,
                "verify_code": error.verify_code,
                "verify_message": error.verify_message,
                **refused(sessions),
            }
        elif code == "handshake-timeout":
            facts["seconds"] = self._deadlines.handshake
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
