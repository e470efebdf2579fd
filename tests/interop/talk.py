"""A client pumped by hand: a real Transport and a Connection, a line at a time, as the shell's Session does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from popshell.net.address import Destination
from popshell.net.client import Deadlines, Transport, connect
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.records import Exchange
from popshell.protocol.wire import ReplyLimits

Event = Exchange | Challenge


class Talk:
    """One conversation. `events` are all records in their order, `ended` is how the line ended."""

    def __init__(self, limits: ReplyLimits | None = None) -> None:
        self.connection = Connection(limits=limits)
        self.events: list[Event] = []
        self.ended: list[Exception | None] = []
        self.transport: Transport | None = None
        self._stls_end = 0
        self._taken = 0
        self._news = asyncio.Event()

    def _note(self, events: list[Event]) -> None:
        self.events += events
        self._news.set()

    def _heard(self, data: bytes) -> None:
        self._note(self.connection.received(data))
        assert self.transport is not None
        if self.connection.wants_tls and not self._stls_end:
            self._stls_end = self.transport.bytes_in
        if self.connection.broken:
            self.transport.close()

    def _closed(self, error: Exception | None) -> None:
        self.ended.append(error)
        self._note(self.connection.close())

    async def next(self) -> Event:
        """The next record that has not been taken."""
        while self._taken == len(self.events):
            assert not self.ended, "the line is closed and all records are taken"
            self._news.clear()
            await self._news.wait()
        self._taken += 1
        return self.events[self._taken - 1]

    def send(self, *lines: str) -> None:
        """Send lines in one flight."""
        assert self.transport is not None
        data = b"".join(line.encode("utf-8", "surrogateescape") + b"\r\n" for line in lines)
        self._note(self.connection.sent(data))
        self.transport.write(data)

    async def ask(self, line: str) -> Event:
        """Send one line and take the next record."""
        self.send(line)
        return await self.next()

    async def ask_all(self, *lines: str) -> list[Exchange]:
        """Send lines one after the other; each must be answered."""
        answers = [await self.ask(line) for line in lines]
        assert all(isinstance(answer, Exchange) for answer in answers)
        return [answer for answer in answers if isinstance(answer, Exchange)]

    async def start_tls(self) -> None:
        """What `+OK` to STLS asks for."""
        assert self.transport is not None
        assert self.connection.wants_tls
        await self.transport.start_tls(after=self._stls_end)
        self.connection.tls_started()


@asynccontextmanager
async def talking(
    target: Destination, *, limits: ReplyLimits | None = None, deadlines: Deadlines | None = None
) -> AsyncIterator[Talk]:
    talk = Talk(limits)
    talk.transport = await connect(target, on_data=talk._heard, on_close=talk._closed, deadlines=deadlines)
    talk.connection.here = talk.connection.here._replace(tls=talk.transport.tls is not None)
    try:
        yield talk
    finally:
        talk.transport.close()
        while not talk.transport.closed:
            await asyncio.sleep(0)
