"""One connection of the practice server: an `asyncio.BufferedProtocol` that keeps a ServerSession's contract.

Pull model: a session is asked for the next piece of output only when the last one could be written, so the peer's pace
bounds the memory: per connection at most `Limits.output` and one piece in the transport, and one read of input. (Under
TLS asyncio adds a buffer of 256 KiB of its own.) While output is held up nothing is read. A turn is bounded, so that
neither 10,000 pipelined commands nor a mail of 20 MB keep the others waiting. asyncio sets TCP_NODELAY.

A peer that takes nothing of a reply for `Limits.write_stall` is cut off, and when the listener is busy, so is one that
took less than `Limits.slowest` a second meanwhile. What counts as taken is what the other side's system acknowledged,
where ours tells: asyncio sees progress in steps of some 80 KiB only, which a slow peer may need minutes for.

Traps, each met by a test:

- STLS: reading is paused *before* `+OK` is written, or the ClientHello is read as a command and the handshake hangs.
- A command in the packet that ends the handshake arrives before `start_tls` returns; it must not be thrown away with
  what came in clear.
- A handshake that times out never calls `connection_lost`.
- A transport that is closed within `resume_writing` calls `connection_lost` twice.
"""

from __future__ import annotations

import asyncio
import math
import sys
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popshell.net.listener import Listener

#: How much one connection may say before the others get a turn, in octets; a piece counts for _PIECE more than it has.
_TURN = 1024 * 1024
_PIECE = 2 * 1024
#: Seconds from when output is held up until it is noted what was taken: the other side's system takes its fill first.
_SETTLE = 1.0
#: Linux, tcp(7): how much of the send queue the other side has not acknowledged.
_SIOCOUTQ = 0x5411


class _Phase(Enum):
    TALKING = 0
    SHAKING_HANDS = 1
    ENDING = 2  # closed by us, what is unsent goes out
    GONE = 3


class Peer(asyncio.BufferedProtocol):
    """One connection: moves bytes between a transport and a ServerSession, and keeps the session's contract."""

    __slots__ = (
        "_busy",
        "_early",
        "_implicit_tls",
        "_listener",
        "_patience",
        "_phase",
        "_session",
        "_since",
        "_stalled",
        "_taken",
        "_task",
        "_transport",
        "_waiting",
        "_wire",
        "_written",
        "address",
    )

    _transport: asyncio.Transport
    _wire: asyncio.Transport  # below TLS

    def __init__(self, listener: Listener, implicit_tls: bool) -> None:
        self._listener = listener
        self._implicit_tls = implicit_tls
        self._session = listener.server.session(tls=implicit_tls)
        self._phase = _Phase.TALKING
        self._stalled = False  # the transport holds more than it should
        self._busy = False  # a reply is going out
        self._waiting = False  # a reply is delayed until session.wake
        self._patience = math.inf  # when it is looked at how much the peer has taken
        self._written = 0  # octets given to the transport in all
        self._taken: int | None = None  # those of them that had been taken at _since; None before it is noted
        self._since = 0.0
        self._early = b""  # came over TLS before start_tls returned
        self._task: asyncio.Task[None] | None = None
        self.address = ""

    # -- asyncio.BufferedProtocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = self._wire = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""  # it may have gone already
        if not self._listener.admit(self):
            self._refuse()
            return
        transport.set_write_buffer_limits(high=self._listener.server.limits.output)
        if self._implicit_tls:
            transport.pause_reading()
            self._begin_tls()
        else:
            self._pump()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._listener.input

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._listener.input[:nbytes])
        if self._phase is _Phase.SHAKING_HANDS:
            self._early += data
        elif self._phase is _Phase.TALKING:
            self._session.feed(data)
            self._pump()

    def eof_received(self) -> None:
        """The peer says no more. Nothing is read while output is held up, so all that it asked has been answered."""
        if self._phase is _Phase.TALKING:
            self._session.lost()
            self._linger()

    def pause_writing(self) -> None:
        self._stalled = True
        if self._patience == math.inf:
            self._be_patient()
        else:
            self._listener.remind(self._patience)

    def resume_writing(self) -> None:
        self._stalled = False
        # Not from in here, where it may not be closed (3.11 to 3.13).
        asyncio.get_running_loop().call_soon(self._pump)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _Phase.GONE
        self._session.lost()
        self._listener.forget(self)

    # -- for the listener --------------------------------------------------------------------------------------------

    def abort(self) -> None:
        self._transport.abort()

    def due(self) -> float:
        """When, by the server's clock, `check_timers` has something to do here."""
        if self._phase is _Phase.ENDING or self._stalled:
            return self._patience
        if self._phase is not _Phase.TALKING or self._busy:
            return math.inf  # asyncio watches over the handshake; a reply on its way is no silence
        return self._session.wake if self._waiting else self._session.deadline()

    def check_timers(self) -> None:
        now = self._listener.server.clock()
        if now < self.due():
            return
        if self._phase is _Phase.ENDING or self._stalled:
            self._look_at_pace(now)
        elif self._waiting:
            self._pump()
        elif self._session.expire():
            self._end()

    def _look_at_pace(self, now: float) -> None:
        """Cut off a peer that takes nothing, or too little while others may be waiting for its place."""
        limits, taken = self._listener.server.limits, self._written - self._held()
        if self._taken is None:
            self._taken, self._patience = taken, self._since + limits.write_stall
            self._since = now
            if now < self._patience:
                return
        least = limits.slowest * (now - self._since) if self._listener.busy else 0
        if taken - self._taken < max(least, 1):
            self._transport.abort()
        else:
            self._taken, self._since, self._patience = taken, now, now + limits.write_stall

    # -- talking -----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Write what the session has to say, until it falls silent, the peer is slow or the turn is over."""
        if self._phase is not _Phase.TALKING:
            return
        try:
            silent = self._speak()
        except Exception as error:
            self._blunder(error)
            return
        session, transport = self._session, self._transport
        if transport.is_closing():
            return  # a write failed: connection_lost is on its way
        self._busy = not silent
        if silent:
            self._patience = math.inf  # the reply is out of our hands; the next one is measured anew
        self._waiting = silent and session.wake > self._listener.server.clock()
        if silent and not self._waiting:
            if session.closing:
                self._end()
                return
            if session.starts_tls:
                # With output held up the old transport would call the TLS layer's resume_writing, which asserts.
                if not self._stalled:
                    self._begin_tls()
                return
        if silent and not self._waiting and not self._stalled:
            transport.resume_reading()
        else:
            transport.pause_reading()
            if not silent and not self._stalled:
                asyncio.get_running_loop().call_soon(self._pump)
        self._listener.remind(self.due())

    def _speak(self) -> bool:
        """Write for one turn. True if the session has nothing more to say now."""
        session, transport = self._session, self._transport
        batch = self._listener.server.limits.output
        left = _TURN
        while left > 0 and not self._stalled and not transport.is_closing():
            pieces: list[bytes] = []
            size = 0
            while size < batch:
                piece = session.next_chunk()
                if session.starts_tls:
                    transport.pause_reading()
                if piece is None:
                    self._write(b"".join(pieces))
                    return True
                pieces.append(piece)
                size += len(piece) + _PIECE
            self._write(b"".join(pieces))
            left -= size
        return False

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        self._transport.write(data)

    def _blunder(self, error: Exception) -> None:
        """A bug of ours: tell it to whoever watches the loop; the peer gets no reply rather than a wrong one."""
        self._transport.abort()
        asyncio.get_running_loop().call_exception_handler(
            {"message": "practice server session failed", "exception": error, "protocol": self}
        )

    def _refuse(self) -> None:
        self._phase = _Phase.ENDING
        if not self._implicit_tls:
            server = self._listener.server
            words = server.texts(self._session.language).get("too-many-connections", "")
            self._transport.write(f"-ERR [SYS/TEMP] {words}".rstrip().encode() + b"\r\n")
        self._transport.close()

    # -- ending ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Close when all is written. The session ends now: a peer that reads slowly keeps no lock."""
        self._session.lost()
        self._linger()
        self._transport.close()

    def _linger(self) -> None:
        self._phase = _Phase.ENDING
        if self._transport.get_extra_info("ssl_object") is None:
            self._be_patient()
        else:
            self._patience = math.inf  # asyncio watches over TLS's shutdown

    def _be_patient(self) -> None:
        server = self._listener.server
        self._taken, self._since = None, server.clock()
        unsent = self._transport.get_write_buffer_size()
        self._patience = self._since + min(_SETTLE, server.limits.write_stall) if unsent else math.inf
        self._listener.remind(self._patience)

    def _held(self) -> int:
        """How much of what was written has not left this machine. Under TLS it counts what TLS adds."""
        held = self._wire.get_write_buffer_size() + _in_system(self._wire)
        return held if self._transport is self._wire else held + self._transport.get_write_buffer_size()

    # -- TLS ---------------------------------------------------------------------------------------------------------

    def _begin_tls(self) -> None:
        self._phase = _Phase.SHAKING_HANDS
        self._task = asyncio.get_running_loop().create_task(self._shake_hands())

    async def _shake_hands(self) -> None:
        upgraded: asyncio.Transport | None = None
        limits = self._listener.server.limits
        if not self._transport.is_closing():
            try:
                upgraded = await asyncio.get_running_loop().start_tls(
                    self._transport,
                    self,
                    self._listener.certificate().context,
                    server_side=True,
                    ssl_handshake_timeout=limits.handshake,
                    # When this is over, what is unsent is thrown away; so it is as long as we wait for any slow peer.
                    ssl_shutdown_timeout=limits.write_stall,
                )
            except OSError:  # ssl.SSLError is one
                pass
            except BaseException as error:
                self._transport.abort()
                self.connection_lost(None)
                if not isinstance(error, Exception):
                    raise
                self._blunder(error)
                return
        self._task = None
        if upgraded is None or self._phase is _Phase.GONE:
            self._transport.abort()
            self.connection_lost(None)  # asyncio does not always
            return
        self._transport = upgraded
        upgraded.set_write_buffer_limits(high=limits.output)
        self._phase = _Phase.TALKING
        self._session.tls_started()
        if self._early:
            self._session.feed(self._early)
            self._early = b""
        self._pump()


def _in_system(transport: asyncio.Transport) -> int:
    """How many octets the system holds that the other side has not acknowledged; 0 where it does not tell."""
    try:
        import fcntl

        queued = bytearray(4)
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), _SIOCOUTQ, queued)
    except (ImportError, OSError, ValueError):
        return 0  # Windows, macOS, or the socket has been closed
    return int.from_bytes(queued, sys.byteorder)
