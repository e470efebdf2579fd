"""One connection to the server that is examined: Channel is what the caller gives, Session reads and remembers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from popshell.conformance.rows import Seen
from popshell.protocol.commands import State
from popshell.protocol.connection import Connection
from popshell.protocol.records import Exchange
from popshell.protocol.wire import CRLF

#: How many octets may come unasked before the session is given up.
_MOST_UNASKED = 4 * 1024
#: Commands after which QUIT may cost mail: some servers count what was fetched as done with.
_TOUCHES = re.compile(rb"(?i)(RETR|TOP|DELE)\b")


class Channel(Protocol):
    """One connection to a server. Its methods may raise OSError."""

    @property
    def tls(self) -> bool:
        """Whether it is under TLS."""

    def send(self, data: bytes) -> None: ...

    def receive(self, due: bool) -> bytes | None:
        """Octets; b"" when the server has closed; None when nothing more comes, as far as one waits.

        Something is `due`: a reply, or a close. Otherwise it is only looked whether more has come than was asked for.
        """

    def start_tls(self) -> None: ...

    def close(self) -> None:
        """Cut the line, without QUIT."""


class Session:
    """One connection, what was said on it, and whether QUIT would make anything final. It has the greeting by now."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.connection = Connection(tls=channel.tls)
        self.said: list[Exchange] = []
        self.closed = False
        self._touched = False
        self._replies: deque[Exchange] = deque()
        self._unasked = b""
        self.entered = self._reply(1)

    def say(self, *lines: bytes, closes: bool = False) -> list[Seen]:
        """Send lines in one piece; what each of them got. What came after the last reply is with the last.

        With `closes` the server is waited for to close.
        """
        self._touched |= any(_TOUCHES.match(line) for line in lines)
        if not self.closed:
            data = b"".join(line + CRLF for line in lines)
            self._keep(self.connection.sent(data))
            self.channel.send(data)
        out = [self._reply(len(lines) - at) for at in range(len(lines))]
        came = self.listen(closes)
        return [*out[:-1], out[-1]._replace(closed=self.closed, came=came)]

    def _reply(self, due: int) -> Seen:
        """The next reply while `due` of them are to come; a challenge is one, too."""
        connection = self.connection
        while not (self._replies or self.closed or connection.broken or connection.challenged):
            if connection.pending < due or not self._receive(True):
                break
        if self._replies:
            return Seen(self._replies.popleft(), self.closed)
        if connection.broken and self.said[-1:]:
            return Seen(self.said[-1], self.closed)  # the fault after which nothing can be read
        return Seen(connection.under_way() if connection.challenged else None, self.closed)

    def _receive(self, due: bool) -> bool:
        """Read once more; False if nothing more comes."""
        data = self.channel.receive(due)
        if data is None:
            return False
        self.closed = not data
        self._keep(self.connection.received(data) if data else self.connection.close())
        return bool(data)

    def _keep(self, events: Sequence[object]) -> None:
        for event in events:
            if isinstance(event, Exchange):
                self.said.append(event)
                if event.problem is not None and event.problem.unasked:
                    self._unasked += event.received
                else:
                    self._replies.append(event)

    def listen(self, closes: bool = False) -> bytes:
        """What came without having been asked for, since the last time; notices a close, or waits for it."""
        while not (self.closed or self.connection.broken or self.connection.wants_tls) and self._receive(closes):
            if len(self._unasked) > _MOST_UNASKED:
                self.cut()
        came, self._unasked = self._unasked, b""
        return came

    def start_tls(self) -> None:
        self.channel.start_tls()
        self.connection.tls_started()

    def cut(self) -> None:
        """Close without QUIT."""
        with suppress(OSError):
            self.channel.close()
        self.closed = True

    @property
    def evidence(self) -> list[Exchange]:
        """All that was said, with what is under way."""
        under_way = None if self.closed else self.connection.under_way()
        return [*self.said, under_way] if under_way is not None else self.said

    @property
    def sound(self) -> bool:
        """Whether another row can be played on it."""
        connection = self.connection
        return not (self.closed or connection.broken or connection.pending or connection.wants_tls)

    def finish(self) -> None:
        """Leave without making anything final: QUIT only where nothing was fetched or marked."""
        if self.sound and not self._touched and self.connection.state is not State.CLOSED:
            with suppress(OSError):
                self.say(b"QUIT")
        self.cut()
