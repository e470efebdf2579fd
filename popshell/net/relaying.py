"""A listener that relays each connection to one server: Peer serves the client, Transport reaches the server.

Each side's pace bounds the other: what the client does not take is not read from the server, and the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping

from popshell.net.address import Destination, TlsMode
from popshell.net.channel import Incoming
from popshell.net.client import Transport, connect
from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.net.peer import Peer
from popshell.net.relay import Relay, RelayEvent
from popshell.server.settings import Limits
from popshell.session import Step
from popshell.tuples import NamedTuple

#: What is held for a client that reads slowly, in octets, until its server has to wait.
_BACKLOG = 256 * 1024
_PIECE = 64 * 1024
#: How long replies are waited for that a client has asked for before it ended its side.
_LAST_REPLIES = 10.0
#: A mail program opens a few connections.
RELAYED = Limits(connections=32)


class Ended(NamedTuple):
    """The session has ended. `error` is what the network said."""

    by_server: bool
    error: Exception | None = None


#: A NetError: the server was not reached, or its TLS came to nothing.
SessionEvent = RelayEvent | Step | NetError | Ended
OnEvent = Callable[["RelaySession", SessionEvent], None]


class RelayPeer(Peer):
    """A client that may have sent all that it has to say, and still gets the replies (`... | nc -N`)."""

    def eof_received(self) -> bool | None:
        if isinstance(self.session, RelaySession) and self.session.waits_for_replies():
            return True
        return super().eof_received()


class RelayListener(Listener):
    """Listens for clients, and connects each of them to `destination`. The owner must `close()` it."""

    _Peer = RelayPeer

    def __init__(self, destination: Destination, on_event: OnEvent, texts: Mapping[str, str]) -> None:
        super().__init__(self._new_session, RELAYED)
        self.destination = destination
        self.on_event = on_event
        self.texts = texts
        self.sessions: set[RelaySession] = set()
        self._count = itertools.count(1)

    def _new_session(self, *, tls: bool, client: str) -> RelaySession:
        return RelaySession(self, next(self._count), tls=tls, client=client)

    def admit(self, peer: Peer) -> bool:
        admitted = super().admit(peer)
        if admitted and isinstance(peer.session, RelaySession):
            self.sessions.add(peer.session)
            peer.session.joined(peer)
        return admitted


class RelaySession(Relay):
    """One connection of a client, and the one to the server that belongs to it: a PeerSession."""

    def __init__(self, owner: RelayListener, number: int, *, tls: bool, client: str) -> None:
        super().__init__(lambda event: owner.on_event(self, event), owner.texts, time.monotonic, tls=tls)
        self.number = number
        self.client = client
        self.clock = time.monotonic
        self.limits = owner.limits
        #: infinite while nothing of the client is to be read
        self.wake = math.inf
        self._owner = owner
        self._peer: Peer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._server: Transport | None = None
        self._stands = False  # the server has TLS, where it is to have it: octets pass
        self._full = False  # the server takes no more just now
        self._paused = False  # the server is not read
        self._end = math.inf  # when a client that sends no more has waited long enough
        self._lost = False
        self._error: Exception | None = None
        self._by_server = False

    def joined(self, peer: Peer) -> None:
        """The client has connected; under implicit TLS its handshake comes first."""
        self._peer = peer
        if not self.connection.tls:
            self._open()

    # -- PeerSession ---------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        self.client_sent(data)
        self._send()

    def next_chunk(self) -> bytes | None:
        piece = bytes(self.to_client[:_PIECE])
        del self.to_client[:_PIECE]
        self._read_server(self.backlog < _BACKLOG)
        return piece or None

    def deadline(self) -> float:
        return self._end  # when a silent client is logged out is the server's business

    def expire(self) -> bool:
        return True

    def waits_for_replies(self) -> bool:
        """The client sends no more: whether it is still to get something."""
        if self._end == math.inf:
            if not self._stands or not self.client_ended():
                return False
            self._end = self.clock() + _LAST_REPLIES
            self._send()
            asyncio.get_running_loop().call_soon(self._pump)
        return True

    def tls_started(self, binding: bytes | None = None, certificate: str = "") -> None:
        if self._opening is None:
            self._open()
        else:
            self.client_tls_started()
            self._send()

    def shut_down(self) -> None:
        self.closing = True
        self.wake = 0.0

    def refuse(self) -> None:
        self.turn_away("too-many-connections")
        self.wake = 0.0

    def lost(self) -> None:
        if self._lost:
            return
        self._lost = True
        self.client_closed()
        self._send()
        if self._opening is not None:
            self._opening.cancel()
        if self._server is not None:
            self._server.close()
        self._owner.sessions.discard(self)
        self._owner.on_event(self, Ended(self._by_server, self._error))

    # -- the server ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._opening = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        owner = self._owner
        try:
            self._server = await connect(
                owner.destination,
                on_data=self._received,
                on_close=self._closed,
                on_step=lambda step: owner.on_event(self, step),
            )
            self._server.on_full = self._server_full
            stls = self._server.address.tls is TlsMode.STLS
            greeting = await Incoming(self._server, self._server.deadlines.handshake).stls() if stls else b""
            self._server.on_data, self._server.on_close = self._received, self._closed
        except NetError as error:
            self._failed(error)
            return
        self._stands = True
        self._received(greeting)
        if self._server.closed:
            self._closed(self._error)

    def _failed(self, error: NetError) -> None:
        self._owner.on_event(self, error)
        if self._server is not None:
            self._server.close()
        self.turn_away("temp-failure")
        self._send()
        self._pump()

    def _received(self, data: bytes) -> None:
        self.server_sent(data)
        if self._end < math.inf and (self.connection.pending == 0 or self.connection.broken):
            self.closing = True
        self._send()
        self._read_server(self.backlog < _BACKLOG)
        self._pump()

    def _closed(self, error: Exception | None) -> None:
        """The server has closed, or the network has failed."""
        self._by_server, self._error = True, error
        if self._stands and not self._lost:
            self.server_closed()
            self._send()
            self._pump()

    # -- flow ----------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Write what the client said, and decide whether more of it may be read."""
        if self.to_server and self._stands and self._server is not None:
            with contextlib.suppress(NetError):  # closed: `_closed` is on its way
                self._server.write(bytes(self.to_server))
            self.to_server.clear()
        waits = not self._stands or self._full or self.full
        self.wake = math.inf if waits and not self.closing else 0.0

    def _server_full(self, full: bool) -> None:
        self._full = full
        self._send()
        self._pump()

    def _read_server(self, wanted: bool) -> None:
        if self._server is not None and wanted is self._paused:
            self._paused = not wanted
            self._server.read(wanted)

    def _pump(self) -> None:
        if self._peer is not None:
            self._peer.pump()
