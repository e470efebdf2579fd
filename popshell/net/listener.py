"""The practice server on a port: Listener. What happens on one connection is Peer's, in peer.py.

Time is the MailServer's clock. One timer per listener sleeps until the earliest thing that is due and then asks every
connection; activity only puts things off, so it is re-armed lazily. `check_timers()` is what it calls.

Connections over a limit get `-ERR [SYS/TEMP]` and are closed, on an implicit-TLS port without a word: a handshake would
cost more than the refusal saves. The words are `too-many-connections` of replies.toml, if it has them.

Trap: all connections share one input buffer. What one is given in it is copied before anything else can read.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter

from popshell.net.errors import NetError, listening, symbol
from popshell.net.names import is_loopback, resolve
from popshell.net.peer import Peer
from popshell.net.tls import PracticeCertificate
from popshell.server.mailserver import MailServer

#: How much is read at a time. Commands are short; more would only be memory that a flood can fill.
_READ = 16 * 1024
_BACKLOG = 1024
#: What the system may hold of one connection's output. By itself it takes up to 4 MB for a peer that reads slowly, and
#: tells us nothing until a third of that is through: a slow peer could not be told from one that takes nothing.
_SEND_BUFFER = 128 * 1024
#: A timer is never armed for less: a clock that stands still (a lesson's) must not turn it into a loop.
_SOONEST = 0.001


class Listener:
    """Serves one MailServer on any number of ports. The owner must `close()` it."""

    def __init__(self, server: MailServer) -> None:
        self.server = server
        self.input = memoryview(bytearray(_READ))
        self._ports: list[asyncio.Server] = []
        self._peers: set[Peer] = set()
        self._addresses: Counter[str] = Counter()
        self._certificate: PracticeCertificate | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
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
                lambda: Peer(self, implicit_tls),
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

    async def close(self) -> None:
        """Close all ports and connections. Sessions end as if the line were cut: nothing is deleted (RFC 1939 §6)."""
        self._closed = True
        for port in self._ports:
            port.close()
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

    def certificate_pem(self) -> str:
        """The certificate that a client has to trust (`Target.ca_data`). Made when first asked for, for this run."""
        return self.certificate().pem

    @property
    def connections(self) -> int:
        """How many are open now, those in a handshake or still being written to included."""
        return len(self._peers)

    @property
    def busy(self) -> bool:
        """Whether at least half of the connections that there may be are in use: a slow one is then in others' way."""
        return 2 * len(self._peers) >= self.server.limits.connections

    def check_timers(self) -> None:
        """Do what is due by the server's clock: autologout, delayed replies, peers that take nothing."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = None, math.inf
        for peer in tuple(self._peers):
            peer.check_timers()
        self.remind(min((peer.due() for peer in self._peers), default=math.inf))

    # -- for the connections -----------------------------------------------------------------------------------------

    def certificate(self) -> PracticeCertificate:
        if self._certificate is None:
            self._certificate = PracticeCertificate()
        return self._certificate

    def remind(self, due: float) -> None:
        """Something is due at `due` by the server's clock. What is put off needs no reminder: the timer looks again."""
        if due >= self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        delay = max(due - self.server.clock(), _SOONEST)
        self._timer = asyncio.get_running_loop().call_later(delay, self.check_timers)

    def admit(self, peer: Peer) -> bool:
        """Count a connection in; False if it is one too many."""
        limits = self.server.limits
        if self._closed or len(self._peers) >= limits.connections:
            return False
        if self._addresses[peer.address] >= limits.connections_an_address:
            return False
        self._peers.add(peer)
        self._addresses[peer.address] += 1
        return True

    def forget(self, peer: Peer) -> None:
        """The connection is gone."""
        if peer in self._peers:
            self._peers.remove(peer)
            self._addresses[peer.address] -= 1
            if not self._addresses[peer.address]:
                del self._addresses[peer.address]
            if not self._peers and self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)
