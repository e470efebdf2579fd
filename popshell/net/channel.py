"""Channels: connections that are driven from plain functions, line by line, over one event loop of their own.

`popshell check`, `run` and `ping` speak so. What a peer can cost is bounded here, for all channels together: time,
octets, and replies that do not come. An end of the bounds, like any failure of the network, is an OSError.

Trap: nothing is read while no call waits, so octets pile up in the system, not here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from popshell.net.address import TlsMode
from popshell.net.client import Deadlines, Target, Transport, connect
from popshell.net.errors import NetError
from popshell.net.stls import stls_first
from popshell.session import Step
from popshell.tuples import NamedTuple

_T = TypeVar("_T")
#: So long is looked for octets that were not asked for, in seconds: a factor of what the last reply took to begin.
_GRACE, _LEAST, _FACTOR = 0.02, 0.004, 4
#: A reply that is this slow, in octets a second, is given no more time.
_SLOWEST = 1000
#: So long is the peer's close_notify waited for, in seconds.
_GOODBYE = 0.2
#: From one try to the next while a server starts, in seconds.
_AGAIN = 0.05


def free_port() -> int:
    """A port of 127.0.0.1 that is free just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Bounds(NamedTuple):
    """How much all channels together may take: seconds but those of `pass_time`, octets, replies missed in a row."""

    reply: float = 20.0
    #: for connecting, and for the handshake, if a reply may not take less
    connect: float = Deadlines().connect
    handshake: float = Deadlines().handshake
    total: float = 600.0
    octets: int = 64 * 1024 * 1024
    silences: int = 5


class ChannelError(OSError):
    """A failure of the network, or the end of the bounds; the text says it in the user's language."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Channels:
    """Opens channels to one target. `say` puts an error into words. The owner must `close()` it."""

    def __init__(
        self,
        target: Target,
        say: Callable[[NetError], str],
        bounds: Bounds,
        runner: asyncio.Runner | None = None,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self.target = target
        self.on_step = on_step
        #: what is trusted, read once
        self.context: ssl.SSLContext | None = None
        self.bounds = bounds
        self.octets = 0
        self.silences = 0
        self._say = say
        self._runner = runner or asyncio.Runner()
        self._open: list[Channel] = []
        self._began = self.now()

    def now(self) -> float:
        return self._runner.get_loop().time()

    @property
    def place(self) -> str:
        host = self.target.host
        return f"{f'[{host}]' if ':' in host else host}:{self.target.port}"

    @property
    def upgrades(self) -> bool:
        """Whether channels are put under TLS by STLS."""
        return self.target.tls is TlsMode.STLS

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work`; what the network says is raised as ChannelError."""
        try:
            return self._runner.run(work)
        except NetError as error:
            raise self.error(error) from error

    def error(self, error: NetError) -> ChannelError:
        return ChannelError(error.code, self._say(error))

    def check(self) -> None:
        """Raises ChannelError where the bounds end."""
        bounds = self.bounds
        for code, over, fact in (
            ("bound-octets", self.octets > bounds.octets, bounds.octets),
            ("bound-time", self.now() - self._began > bounds.total, round(bounds.total)),
            ("bound-silence", self.silences >= bounds.silences, bounds.silences),
        ):
            if over:
                raise self.error(NetError(code, most=fact))

    def pass_time(self, seconds: float) -> None:
        self._began += seconds
        self.run(asyncio.sleep(seconds))

    def connect(self, *, clear: bool = False) -> Channel:
        """A new channel. Where the target asks for STLS it is under TLS already, unless it is to be `clear`."""
        self.check()
        channel = Channel(self, TlsMode.NONE if clear and self.upgrades else self.target.tls)
        self._open.append(channel)
        try:
            self.run(channel.open())
        except BaseException:
            channel.close()
            raise
        return channel

    def await_server(self, lives: Callable[[], bool], seconds: float) -> Channel:
        """The first channel to a server that is just starting: tried again until it listens or is gone."""
        end = self.now() + seconds
        while True:
            try:
                return self.connect()
            except ChannelError as error:
                if error.code != "refused" or not lives() or self.now() > end:
                    raise
            self.pass_time(_AGAIN)

    def close(self) -> None:
        for channel in self._open:
            channel.close()
        self.run(self._end())
        self._runner.close()

    async def _end(self) -> None:
        """Wait for TLS to say goodbye, no longer than the transports themselves do."""
        for channel in self._open:
            await channel.ended(2 * _GOODBYE)


class Channel:
    """One connection, as popshell.conformance.session wants it."""

    def __init__(self, owner: Channels, mode: TlsMode) -> None:
        self._owner = owner
        self._mode = mode
        self._transport: Transport | None = None
        self._came = bytearray()
        self._ended = False
        self._news = asyncio.Event()
        self._given = 0
        self._since = 0.0
        self._octets = 0
        self._grace = _GRACE

    @property
    def tls(self) -> bool:
        return self._transport is not None and self._transport.tls is not None

    async def open(self) -> None:
        """Connect; where STLS is demanded, give it, and have the greeting ready as if it came under TLS."""
        bounds, target = self._owner.bounds, self._owner.target._replace(tls=self._mode)
        deadlines = Deadlines(min(bounds.reply, bounds.connect), min(bounds.reply, bounds.handshake), _GOODBYE)
        self._transport = await connect(
            target,
            on_data=self._data,
            on_close=self._closed,
            deadlines=deadlines,
            on_step=self._owner.on_step,
            context=self._owner.context,
        )
        self._owner.context = self._transport.context
        self._restart()
        if self._mode is TlsMode.STLS:
            self._came += await stls_first(self._transport, bounds.reply)
            self._given = self._transport.bytes_in - len(self._came)

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        transport = self._transport
        self._owner.check()
        self._restart()

        async def write() -> None:
            transport.write(data)

        self._owner.run(write())

    def receive(self, due: bool) -> bytes | None:
        """Octets; b"" when the server has closed; None when nothing more comes. Raises ChannelError."""
        self._owner.check()
        return self._owner.run(self._receive(due))

    async def _receive(self, due: bool, most: int = 256 * 1024) -> bytes | None:
        if not (self._came or self._ended):
            left = self._since + self._owner.bounds.reply + self._octets / _SLOWEST - self._owner.now()
            self._news.clear()
            if not due and self._transport is not None:
                self._transport.acknowledge()
            try:
                async with asyncio.timeout(max(left, 0) if due else self._grace):
                    await self._news.wait()
            except TimeoutError:
                self._owner.silences += due
                return None
        if due and not self._octets:
            self._grace = min(max(_FACTOR * (self._owner.now() - self._since), _LEAST), _GRACE)
        data = bytes(self._came[:most])
        del self._came[:most]
        self._given += len(data)
        self._octets += len(data)
        if b"\n" in data:  # part of a line, and then nothing, is a silence
            self._owner.silences = 0
        return data

    def start_tls(self) -> None:
        assert self._transport is not None
        self._owner.run(self._transport.start_tls(after=self._given))
        self._owner.context = self._transport.context

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def ended(self, seconds: float) -> None:
        """Wait until the connection has ended, so long at most."""
        end = self._owner.now() + seconds
        while self._transport is not None and not self._transport.closed and self._owner.now() < end:
            await asyncio.sleep(0.005)

    def _restart(self) -> None:
        self._since, self._octets = self._owner.now(), 0

    def _data(self, data: bytes) -> None:
        self._came += data
        self._owner.octets += len(data)
        if self._owner.octets > self._owner.bounds.octets:
            self.close()
        self._news.set()

    def _closed(self, error: Exception | None) -> None:
        self._ended = True
        self._news.set()
