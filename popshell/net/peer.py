"""One connection of the practice server: an `asyncio.BufferedProtocol` between a transport and a session.

Pull model: a session is asked for the next piece of output only when the last one could be written, so the peer's pace
bounds the memory: per connection at most `Limits.output` and one piece in the transport, and one read of input. (Under
TLS asyncio adds a buffer of 256 KiB of its own.) While output is held up nothing is read. A turn is bounded, so that
neither 10,000 pipelined commands nor a mail of 20 MB keep other connections waiting. asyncio sets TCP_NODELAY.

A peer that takes nothing of a reply for `Limits.write_stall` is cut off, and while the listener is crowded, so is one
that took less than `Limits.slowest` a second. What counts as taken is what the other side's system acknowledged, where
ours reports it: asyncio sees progress in steps of some 80 KiB only, which a slow peer may need minutes for.

Traps, each met by a test:

- STLS: reading is paused *before* `+OK` is written, or the ClientHello is read as a command and the handshake hangs.
- A command in the packet that ends the handshake arrives before `start_tls` returns; it must not be thrown away with
  what came in clear text.
- A handshake that times out never calls `connection_lost`.
- A transport that is closed within `resume_writing` calls `connection_lost` twice.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import sys
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from popshell.net.address import text_of
from popshell.server.settings import Limits

#: How much one connection may write before others get a turn, in octets; a piece counts for _PIECE more than it has.
_TURN = 1024 * 1024
_PIECE = 2 * 1024
#: Seconds from when output is held up until it is noted what was taken: the other side's system fills its buffer first.
_SETTLE = 1.0
#: Linux, tcp(7): how much of the send queue the other side has not acknowledged.
_SIOCOUTQ = 0x5411


class PeerSession(Protocol):
    """What a Peer serves, and what it owes it: `server.session.ServerSession` is one.

    1. What arrives goes to `feed()`.
    2. Every `next_chunk()` is written, in order, until it gives None; it is asked again after each `feed()`, and at
       `wake`. While output is held up it is not asked.
    3. With `starts_tls`, when all is written: a TLS handshake as the server, nothing read before it, then
       `tls_started()`.
    4. With `closing`, when all is written: `lost()`, and the connection is closed.
    5. `expire()` is called at `deadline()`, unless a reply is on its way; if it gives True, the connection is closed.
    6. `lost()` is called when the connection has ended, however that came about, and may be called again.
    """

    #: seconds, from any start: the clock of `wake` and `deadline()`
    clock: Callable[[], float]
    limits: Limits
    closing: bool
    starts_tls: bool
    #: when `next_chunk()` has to be asked again although nothing arrived: a delayed reply; 0 if never
    wake: float

    def feed(self, data: bytes) -> None: ...

    def next_chunk(self) -> bytes | None: ...

    def deadline(self) -> float: ...

    def expire(self) -> bool: ...

    def tls_started(self, binding: bytes | None = None, certificate: str = "") -> None: ...

    def lost(self) -> None: ...

    def shut_down(self) -> None:
        """Say that the server ends, after the reply on its way; then `closing` is set."""

    def refuse(self) -> None:
        """Say that there are too many connections, in place of the greeting; then `closing` is set."""


class NewSession(Protocol):
    """Makes a session for a new connection, whose client is at `client`, `127.0.0.1:49152`."""

    def __call__(self, *, tls: bool, client: str) -> PeerSession: ...


class PeerOwner(Protocol):
    """What a Peer needs of the listener that accepted it."""

    #: shared by all connections: what is read is copied out of it before anything else can be read
    input: memoryview
    new_session: NewSession

    @property
    def crowded(self) -> bool:
        """Whether a slow peer is in others' way."""

    def admit(self, peer: Peer) -> bool:
        """Count the connection in; False if it is one too many."""

    def forget(self, peer: Peer) -> None:
        """The connection has ended."""

    def remind(self, seconds: float) -> None:
        """Call `check_timers()` in so many seconds, or before."""

    def tls(self) -> tuple[ssl.SSLContext, bytes | None]:
        """What a handshake needs, and tls-server-end-point's data."""


class _Phase(Enum):
    OPEN = 0
    HANDSHAKE = 1
    CLOSING = 2  # closed by us, what is unsent goes out
    CLOSED = 3


_OPEN = _Phase.OPEN


class Pace:
    """How fast a peer takes what is written to it, while output is held up. Times are the session's clock."""

    def __init__(self, limits: Limits, now: float) -> None:
        """Output is held up from now on."""
        self._limits = limits
        self._since = now
        self._taken: int | None = None  # octets taken in all at `_since`; None before they are noted
        self.due = now + min(_SETTLE, limits.write_stall)  # when `keeps_up` is asked

    def keeps_up(self, now: float, taken: int, crowded: bool) -> bool:
        """Whether a peer that has taken so many octets may stay; `crowded`: while others may wait for its place."""
        limits = self._limits
        if self._taken is None:
            self._taken, self.due, self._since = taken, self._since + limits.write_stall, now
            if now < self.due:
                return True
        least = limits.slowest * (now - self._since) if crowded else 0
        if taken - self._taken < max(least, 1):
            return False
        self._taken, self._since, self.due = taken, now, now + limits.write_stall
        return True


class Peer(asyncio.BufferedProtocol):
    """One connection: moves octets between a transport and a PeerSession."""

    _transport: asyncio.Transport
    _tcp: asyncio.Transport  # below TLS
    session: PeerSession
    _limits: Limits

    def __init__(self, owner: PeerOwner, implicit_tls: bool) -> None:
        self._owner = owner
        self._implicit_tls = implicit_tls
        self._phase = _Phase.OPEN
        self._paused = False  # the transport holds more than it should
        self._deaf = False  # nothing is read
        self._replying = False  # a reply is going out
        self._delayed = False  # a reply waits for session.wake
        self._reminded = math.inf  # what the owner knows of _due()
        self._written = 0  # octets given to the transport in all
        self._early = b""  # came over TLS before start_tls returned
        self._pace: Pace | None = None  # while output is held up
        self._task: asyncio.Task[None] | None = None
        self.address = ""

    # -- asyncio.BufferedProtocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = self._tcp = transport
        peer = transport.get_extra_info("peername")  # None if it has gone already
        self.address = str(peer[0]) if peer else ""
        self.session = self._owner.new_session(tls=self._implicit_tls, client=text_of(peer) if peer else "")
        self._limits = self.session.limits
        if not self._owner.admit(self):
            if self._implicit_tls:  # a handshake would cost more than the refusal saves
                self._end()
                return
            self.session.refuse()
        transport.set_write_buffer_limits(high=self._limits.output)
        if self._implicit_tls:
            self._read(False)
            self._begin_tls()
        else:
            self.pump()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._owner.input

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._owner.input[:nbytes])
        if self._phase is _OPEN:
            self.session.feed(data)
            self.pump()
        elif self._phase is _Phase.HANDSHAKE:
            self._early += data

    def eof_received(self) -> bool | None:
        """The peer sends no more. Nothing is read while output is held up, so all that it asked has been answered."""
        if self._phase is _Phase.OPEN:
            self.session.lost()
            self._linger()
        return None

    def pause_writing(self) -> None:
        self._paused = True
        if self._pace is None:
            self._pace = Pace(self._limits, self.session.clock())
        self._remind()

    def resume_writing(self) -> None:
        self._paused = False
        # Not from in here, where it may not be closed (3.11 to 3.13).
        asyncio.get_running_loop().call_soon(self.pump)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _Phase.CLOSED
        self.session.lost()
        self._owner.forget(self)

    # -- for the listener --------------------------------------------------------------------------------------------

    def abort(self) -> None:
        self._transport.abort()

    def shut_down(self) -> None:
        """Close after the reply on its way, and say so; in a handshake at once."""
        if self._phase is _Phase.HANDSHAKE:
            self._transport.abort()
        else:
            self.session.shut_down()
            self.pump()

    def seconds_left(self) -> float:
        """How long until `check_timers` has something to do here."""
        self._reminded = self._due()
        return self._reminded - self.session.clock()

    def check_timers(self) -> None:
        """Do what is due by the session's clock: autologout, delayed replies, cutting off what takes nothing."""
        now = self.session.clock()
        if now < self._due():
            return
        if self._pace is not None and (self._paused or self._phase is _Phase.CLOSING):
            if not self._pace.keeps_up(now, self._written - self._unacknowledged(), self._owner.crowded):
                self._transport.abort()
        elif self._delayed:
            self.pump()
        elif self.session.expire():
            self._end()

    def _due(self) -> float:
        if self._pace is not None and (self._paused or self._phase is _Phase.CLOSING):
            return self._pace.due
        if self._phase is not _Phase.OPEN or self._replying:
            return math.inf  # asyncio watches over the handshake; a reply on its way is no silence
        return self.session.wake if self._delayed else self.session.deadline()

    def _remind(self) -> None:
        """Tell the owner what is due, if that is sooner than it knows; what is put off it finds out by itself."""
        due = self._due()
        if due < self._reminded:
            self._reminded = due
            self._owner.remind(due - self.session.clock())

    # -- serving -----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Write what the session has to say, until there is no more, the peer is slow or the turn is over."""
        if self._phase is not _OPEN:
            return
        session = self.session
        try:
            done = self._write_output(session)
        except Exception as error:
            self._internal_error(error)
            return
        self._replying = not done
        if done and not (self._paused or session.wake or session.closing or session.starts_tls):
            self._pace = None  # the next reply is measured anew
            self._delayed = False
            if self._deaf:
                self._read(True)
            if session.deadline() < self._reminded:
                self._remind()
        elif not self._transport.is_closing():  # else a write failed: connection_lost is on its way
            self._hold(session, done)

    def _hold(self, session: PeerSession, done: bool) -> None:
        """Read nothing for now: the reply is not out, or is delayed, or it ends the conversation as it was."""
        if not self._paused:
            if done:
                self._pace = None
            else:
                asyncio.get_running_loop().call_soon(self.pump)
        self._delayed = done and session.wake > 0
        if done and not self._delayed:
            if session.closing:
                self._end()
                return
            if session.starts_tls:
                # With output held up the old transport would call the TLS layer's resume_writing, which asserts.
                if not self._paused:
                    self._begin_tls()
                return
        self._read(False)
        self._remind()

    def _write_output(self, session: PeerSession) -> bool:
        """Write for one turn. True if the session has nothing more to say now."""
        transport, most, left = self._transport, self._limits.output, _TURN
        while left > 0 and not self._paused and not transport.is_closing():
            pieces: list[bytes] = []
            size = 0
            while size < most and (piece := session.next_chunk()) is not None:
                pieces.append(piece)
                size += len(piece) + _PIECE
            if session.starts_tls:
                self._read(False)
            if pieces:
                data = b"".join(pieces)
                self._written += len(data)
                transport.write(data)
            if piece is None:
                return True
            left -= size
        return False

    def _read(self, wanted: bool) -> None:
        if wanted is self._deaf:
            self._deaf = not wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _internal_error(self, error: Exception) -> None:
        """A bug of ours: the loop's exception handler gets it; the peer gets no reply rather than a wrong one."""
        self._transport.abort()
        asyncio.get_running_loop().call_exception_handler(
            {"message": "practice server session failed", "exception": error, "protocol": self}
        )

    # -- ending ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Close when all is written. The session ends now: a peer that reads slowly keeps no lock."""
        self.session.lost()
        self._linger()
        self._transport.close()

    def _linger(self) -> None:
        self._phase = _Phase.CLOSING
        self._pace = None
        # asyncio watches over TLS's shutdown.
        if self._transport.get_write_buffer_size() and self._transport.get_extra_info("ssl_object") is None:
            self._pace = Pace(self._limits, self.session.clock())
            self._remind()

    def _unacknowledged(self) -> int:
        """How much of what was written has not left this machine. Under TLS it counts what TLS adds."""
        held = self._tcp.get_write_buffer_size() + _in_system(self._tcp)
        return held if self._transport is self._tcp else held + self._transport.get_write_buffer_size()

    # -- TLS ---------------------------------------------------------------------------------------------------------

    def _begin_tls(self) -> None:
        self._phase = _Phase.HANDSHAKE
        self._task = asyncio.get_running_loop().create_task(self._start_tls())

    async def _start_tls(self) -> None:
        upgraded: asyncio.Transport | None = None
        if not self._transport.is_closing():
            try:
                upgraded = await asyncio.get_running_loop().start_tls(
                    self._transport,
                    self,
                    self._owner.tls()[0],
                    server_side=True,
                    ssl_handshake_timeout=self._limits.handshake,
                    # When this is over, what is unsent is thrown away; so it is as long as we wait for any slow peer.
                    ssl_shutdown_timeout=self._limits.write_stall,
                )
            except OSError:  # ssl.SSLError is one
                pass
            except BaseException as error:
                self._transport.abort()
                self.connection_lost(None)
                if not isinstance(error, Exception):
                    raise
                self._internal_error(error)
                return
        self._task = None
        if upgraded is None or self._phase is _Phase.CLOSED:
            self._transport.abort()
            self.connection_lost(None)  # asyncio does not always
            return
        self._transport, self._deaf = upgraded, False
        upgraded.set_write_buffer_limits(high=self._limits.output)
        self._phase = _Phase.OPEN
        shown = upgraded.get_extra_info("peercert") or {}  # empty unless it was asked for, and verified
        names = [value for row in shown.get("subject", ()) for key, value in row if key == "commonName"]
        self.session.tls_started(self._owner.tls()[1], "".join(names))
        if self._early:
            self.session.feed(self._early)
            self._early = b""
        self.pump()


def _in_system(transport: asyncio.Transport) -> int:
    """How many octets the system holds that the other side has not acknowledged; 0 where it does not report it."""
    try:
        import fcntl

        queued = bytearray(4)
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), _SIOCOUTQ, queued)
    except (ImportError, OSError, ValueError):
        return 0  # Windows, macOS, or the socket has been closed
    return int.from_bytes(queued, sys.byteorder)
