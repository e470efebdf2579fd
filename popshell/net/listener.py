"""The practice server on a port, and its certificate. What happens on one connection is Peer's, in peer.py.

Time is each session's clock. One timer per listener sleeps until the earliest thing that is due and then asks every
connection; activity only puts things off, so it is re-armed lazily. `check_timers()` is what it calls.

Connections over a limit get `-ERR [SYS/TEMP]` and are closed, on an implicit-TLS port without a reply.

Trap: trustme costs 66 ms to import: it is imported when TLS is first used.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
import ssl
from collections import Counter
from typing import TYPE_CHECKING

from popshell.net.address import is_loopback, resolve
from popshell.net.errors import NetError, listening, symbol
from popshell.net.peer import NewSession, Peer
from popshell.server.settings import Limits

if TYPE_CHECKING:
    import trustme

#: How much is read at a time. Commands are short; more would only be memory that a flood can fill.
_READ = 16 * 1024
_BACKLOG = 1024
#: What the system may hold of one connection's output. By itself it takes up to 4 MB for a peer that reads slowly, and
#: reports progress only when a third of that is through: a slow peer would look like one that takes nothing.
_SEND_BUFFER = 128 * 1024
#: A timer is never armed for less: a clock that stands still (a lesson's) must not turn it into a loop.
_SOONEST = 0.001


_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Who the practice server's certificate says it is.
_OWNER = "PopShell practice server"


class PracticeCertificate:
    """A certificate authority and one server certificate, made for this run and kept in memory.

    The client trusts `pem`, the authority's certificate, and checks the name like any other.
    """

    def __init__(self, names: tuple[str, ...] = _LOOPBACK) -> None:
        import trustme

        self._names = names
        self._authority: trustme.CA = trustme.CA(organization_name=_OWNER)
        #: what SCRAM's -PLUS mechanisms are bound to, once there is a context
        self.binding: bytes | None = None

    @property
    def pem(self) -> str:
        return self._authority.cert_pem.bytes().decode("ascii")

    @functools.cached_property
    def context(self) -> ssl.SSLContext:
        """For the server's end."""
        from popshell.net.certificates import end_point_binding

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python's ssl takes a key from a file only: trustme writes one of mode 0600 and removes it at once.
        # The common name is obsolete (RFC 6125 §2.3), but fetchmail 6.4 refuses a certificate without one.
        certificate = self._authority.issue_cert(*self._names, common_name=self._names[0], organization_name=_OWNER)
        certificate.configure_cert(context)
        leaf = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode("ascii"))
        self.binding = end_point_binding(leaf)
        return context

    def issue(self, name: str) -> str:
        """A key and a client's certificate for the account `name`, as PEM; from now on clients are asked for one.

        None is required; another authority's is refused. Raises ValueError if the name has more than 64 characters.
        """
        own = self._authority.issue_cert(common_name=name, organization_name=_OWNER)
        self._authority.configure_trust(self.context)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        return own.private_key_and_cert_chain_pem.bytes().decode("ascii")


class Listener:
    """Serves sessions on any number of ports. The owner must `close()` it."""

    _Peer = Peer

    def __init__(
        self,
        new_session: NewSession,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        names: tuple[str, ...] = (),
    ) -> None:
        """`new_session` makes the session of each connection; `limits` says how many connections there may be.

        `names` are host names and addresses, beside loopback's, that the certificate is for.
        """
        self._names = names
        self.new_session = new_session
        self.limits = limits
        self.input = memoryview(bytearray(_READ))
        self._ports: list[asyncio.Server] = []
        self._peers: set[Peer] = set()
        self._addresses: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, implicit_tls: bool = False, *, beyond_loopback: bool = False
    ) -> tuple[str, int]:
        """Listen on one more port; port 0 lets the system choose. Gives the address that clients connect to.

        Raises ValueError `not-loopback` for an address that others reach, unless it is asked for by `beyond_loopback`;
        NetError `port-in-use`, `port-forbidden`, `cannot-listen`, `no-such-host`.
        """
        try:
            # One address only: "localhost" may have two, and port 0 would then be two different ports.
            family, address = (await resolve(host, port))[0]
        except (OSError, UnicodeError) as error:
            raise NetError("no-such-host", host=host, port=port) from error
        if not is_loopback(address[0]) and not beyond_loopback:
            raise ValueError("not-loopback")
        try:
            listening_port = await asyncio.get_running_loop().create_server(
                lambda: self._Peer(self, implicit_tls),
                address[0],
                port,
                family=family,
                backlog=_BACKLOG,
                start_serving=False,
            )
            # Inherited by every connection.
            listening_port.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            await listening_port.start_serving()
        except OSError as error:
            raise NetError(listening(error), host=host, port=port, reason=symbol(error)) from error
        self._closed = False
        self._ports.append(listening_port)
        bound = listening_port.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def close(self, grace: float = 0.0) -> None:
        """Close all ports and connections; nothing is deleted (RFC 1939 §6).

        For `grace` seconds sessions may finish the reply that is on its way, and are informed; what is left is cut off.
        """
        self._closed = True
        for port in self._ports:
            port.close()
        if self._peers and grace > 0:
            self._emptied = asyncio.get_running_loop().create_future()
            for peer in tuple(self._peers):
                peer.shut_down()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._emptied
        if self._peers:
            self._emptied = asyncio.get_running_loop().create_future()
            for peer in tuple(self._peers):
                peer.abort()
            await self._emptied
            self._emptied = None
        # Only now: since 3.12.1 this waits for every connection.
        for port in self._ports:
            await port.wait_closed()
        self._ports.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @functools.cached_property
    def certificate(self) -> PracticeCertificate:
        """The certificate of this run, made when first asked for."""
        return PracticeCertificate(tuple(dict.fromkeys((*_LOOPBACK, *self._names))))

    def certificate_pem(self) -> str:
        """The certificate that a client has to trust (`Destination.ca_data`)."""
        return self.certificate.pem

    @property
    def connections(self) -> int:
        """How many are open now, those in a handshake or still being written to included."""
        return len(self._peers)

    @property
    def next_check(self) -> float:
        """Seconds until `check_timers()` is called; infinite if nothing is due."""
        return math.inf if self._timer is None else self._timer.when() - asyncio.get_running_loop().time()

    def check_timers(self) -> None:
        """Do what is due by the sessions' clocks: autologout, delayed replies, peers that take nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for peer in tuple(self._peers):
            peer.check_timers()
        self.remind(min((peer.seconds_left() for peer in self._peers), default=math.inf))

    # -- for the connections (peer.PeerOwner) ------------------------------------------------------------------------

    def tls(self) -> tuple[ssl.SSLContext, bytes | None]:
        context = self.certificate.context
        return context, self.certificate.binding

    @property
    def crowded(self) -> bool:
        """Whether at least half of the connections that there may be are in use: a slow one is then in others' way."""
        return 2 * len(self._peers) >= self.limits.connections

    def remind(self, seconds: float) -> None:
        """Call `check_timers()` in so many seconds, or before."""
        if seconds == math.inf:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(seconds, _SOONEST)
        if self._timer is not None:
            if when >= self._timer.when():
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self.check_timers)

    def admit(self, peer: Peer) -> bool:
        """Count a connection in; False if it is one too many."""
        if self._closed or len(self._peers) >= self.limits.connections:
            return False
        if not is_loopback(peer.address):  # which all programs of this machine share
            if self._addresses[peer.address] >= self.limits.connections_an_address:
                return False
            self._addresses[peer.address] += 1
        self._peers.add(peer)
        return True

    def forget(self, peer: Peer) -> None:
        """The connection has ended."""
        if peer in self._peers:
            self._peers.remove(peer)
            if peer.address in self._addresses:
                self._addresses[peer.address] -= 1
                if not self._addresses[peer.address]:
                    del self._addresses[peer.address]
            if not self._peers and self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)
