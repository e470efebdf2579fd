"""Channels: connections driven from plain functions over an event loop of their own; Incoming: their lines, and STLS.

Incoming is what one of them reads from; it does STLS before anything else (RFC 2595 §4), for `popshell watch`, too.
`popshell check`, `run` and `ping` speak so. What a peer can cost is bounded here, for all channels together: time,
octets, and replies that do not come. An end of the bounds, like any failure of the network, is an OSError.

Trap: nothing is read while no call waits, so octets pile up in the system, not here.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from popshell.net.address import Address, Destination, TlsMode
from popshell.net.client import Deadlines, Transport, connect
from popshell.net.errors import NetError
from popshell.protocol.strangers import what_speaks
from popshell.protocol.wire import CRLF
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
#: How many octets are handed over at a time.
_MOST = 256 * 1024
#: The longest line that is read, in octets (wire.ReplyLimits.status_line).
_LONGEST_LINE = 8 * 1024


def free_port() -> int:
    """A port of 127.0.0.1 that is free just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Bounds(NamedTuple):
    """How much all channels together may take: seconds but those of `pass_time`, octets, replies missed in a row."""

    reply: float = 20.0
    total: float = 600.0
    octets: int = 64 * 1024 * 1024
    silences: int = 5


class ChannelError(OSError):
    """A failure of the network, or the end of the bounds; the text says it in the user's language."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Incoming:
    """What a transport that was just opened has delivered, and what of it is not read yet. It takes over `on_data`."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        """A line is waited for so many seconds."""
        self._transport, self._seconds = transport, seconds
        self._on_close = transport.on_close
        self.came = bytearray()
        self._error: Exception | None = None
        #: set when more has come, or the connection has ended
        self.news = asyncio.Event()
        transport.on_data, transport.on_close = self.heard, self._closed

    def heard(self, data: bytes) -> None:
        self.came += data
        self.news.set()

    def _closed(self, error: Exception | None) -> None:
        self._error = error
        self.news.set()
        self._on_close(error)

    async def line(self, overdue: str) -> bytes:
        """The next line, if it is a whole reply that begins with `+OK`.

        Raises NetError: `overdue` if nothing comes, `turned-away` for `-ERR`, `not-pop3`, `line-cut` without an end,
        `closed-early` if the server closes before, or what else ended the connection.
        """
        address = self._transport.address
        try:
            async with asyncio.timeout(self._seconds):
                while b"\n" not in self.came and not self._transport.closed and len(self.came) < _LONGEST_LINE:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            if not self.came:
                facts = {"seconds": round(self._seconds), "host": address.host, "port": address.port}
                raise NetError(overdue, **facts) from None
        text, end, self.came = self.came.partition(b"\n")
        line = bytes(text + end)
        if line.startswith(b"+OK") and end:
            return line
        if not line and isinstance(self._error, NetError):
            raise self._error
        known = re.match(rb"\+OK|-ERR", line) is not None
        code = ("turned-away" if end else "line-cut") if known else "not-pop3" if line else "closed-early"
        speaks = what_speaks(line).replace("pop3", "")
        said = line.decode("utf-8", "backslashreplace").strip()
        raise NetError(code, host=address.host, port=address.port, text=said, speaks=speaks)

    async def stls(self) -> bytes:
        """Read the greeting, which comes in clear text, and put TLS over the connection; gives the greeting.

        Raises NetError: as `line` for the greeting, with `greeting-timeout`; `unasked-before-tls`; then
        `stls-refused`, `reply-timeout`.
        """
        greeting = await self.line("greeting-timeout")
        if self.came:  # what came ahead of its time would be taken for the reply to STLS
            raise NetError("unasked-before-tls")
        self._transport.write(b"STLS" + CRLF)
        try:
            await self.line("reply-timeout")
        except NetError as error:
            if error.code == "reply-timeout":
                raise
            said = f" ({text})" if (text := error.facts.get("text")) else ""
            raise NetError("stls-refused", **error.facts, said=said) from error
        await self.start_tls()
        return greeting

    async def start_tls(self) -> None:
        """The reply to STLS was the last that was read: one octet more, and the connection is aborted (sec-T2)."""
        await self._transport.start_tls(after=self._transport.bytes_in - len(self.came))


class Channels:
    """Opens channels to one destination. `say` puts an error into words. The owner must `close()` it."""

    def __init__(
        self,
        destination: Destination,
        say: Callable[[NetError], str],
        bounds: Bounds,
        runner: asyncio.Runner | None = None,
    ) -> None:
        assert destination.address is not None
        self.destination, self.address = destination, destination.address
        self.on_step: Callable[[Step], None] = lambda step: None
        #: what is trusted, read once
        self.context: ssl.SSLContext | None = None
        self.bounds = bounds._replace(reply=destination.timeout or bounds.reply)
        self.octets = 0
        self.silences = 0
        self._say = say
        self._runner = runner or asyncio.Runner()
        self._open: list[Transport] = []
        self._began = self.now()

    def now(self) -> float:
        return self._runner.get_loop().time()

    @property
    def upgrades(self) -> bool:
        """Whether channels are put under TLS by STLS."""
        return self.address.tls is TlsMode.STLS

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
        """A new channel. Where the destination asks for STLS it is under TLS already, unless it is to be `clear`."""
        self.check()
        without = self.address._replace(tls=TlsMode.NONE)
        return self.run(self._connect(without if clear and self.upgrades else self.address))

    async def _connect(self, address: Address) -> Channel:
        transport = await connect(
            self.destination._replace(address=address),
            deadlines=Deadlines.given(self.destination.timeout)._replace(goodbye=_GOODBYE),
            on_step=self.on_step,
            context=self.context,
        )
        self.context = transport.context
        self._open.append(transport)
        incoming = Incoming(transport, self.bounds.reply)
        channel = Channel(self, transport, incoming)
        try:
            if address.tls is TlsMode.STLS:  # the greeting is there as if it came under TLS
                incoming.came[:0] = await incoming.stls()
        except BaseException:
            transport.close()
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
        for transport in self._open:
            transport.close()
        self.run(self._end())
        self._runner.close()

    async def _end(self) -> None:
        """Wait for TLS to say goodbye, no longer than the transports themselves do."""
        end = self.now() + 2 * _GOODBYE
        while not all(transport.closed for transport in self._open) and self.now() < end:
            await asyncio.sleep(0.005)


class Channel:
    """One connection, as popshell.conformance.session wants it."""

    def __init__(self, owner: Channels, transport: Transport, incoming: Incoming) -> None:
        self._owner, self._transport, self._incoming = owner, transport, incoming
        self._since, self._octets = owner.now(), 0
        self._grace = _GRACE
        transport.on_data = self._data

    @property
    def tls(self) -> bool:
        return self._transport.tls is not None

    def send(self, data: bytes) -> None:
        self._owner.check()
        self._since, self._octets = self._owner.now(), 0

        async def write() -> None:
            self._transport.write(data)

        self._owner.run(write())

    def receive(self, due: bool) -> bytes | None:
        """Octets; b"" when the server has closed; None when nothing more comes. Raises ChannelError."""
        self._owner.check()
        return self._owner.run(self._receive(due))

    async def _receive(self, due: bool) -> bytes | None:
        incoming = self._incoming
        if not (incoming.came or self._transport.closed):
            left = self._since + self._owner.bounds.reply + self._octets / _SLOWEST - self._owner.now()
            incoming.news.clear()
            if not due:
                self._transport.acknowledge()
            try:
                async with asyncio.timeout(max(left, 0) if due else self._grace):
                    await incoming.news.wait()
            except TimeoutError:
                self._owner.silences += due
                return None
        if due and not self._octets:
            self._grace = min(max(_FACTOR * (self._owner.now() - self._since), _LEAST), _GRACE)
        data = bytes(incoming.came[:_MOST])
        del incoming.came[:_MOST]
        self._octets += len(data)
        if b"\n" in data:  # part of a line, and then nothing, is a silence
            self._owner.silences = 0
        return data

    def line(self, overdue: str) -> bytes:
        """A reply of one line that begins with `+OK`. Raises ChannelError: as `Incoming.line`."""
        self._owner.check()
        return self._owner.run(self._incoming.line(overdue))

    def start_tls(self) -> None:
        self._owner.run(self._incoming.start_tls())
        self._owner.context = self._transport.context

    def close(self) -> None:
        self._transport.close()

    def _data(self, data: bytes) -> None:
        self._owner.octets += len(data)
        if self._owner.octets > self._owner.bounds.octets:
            self.close()
        self._incoming.heard(data)
