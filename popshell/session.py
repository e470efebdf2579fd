"""Session: typed lines go out over a Wire, Exchanges come back and are kept. It has no screen and no socket.

An OpenConnection is a Session with the Endpoint it leads to: what connecting gives, and what a shell holds.

Replies are matched by order (RFC 1939 §3, RFC 2449 §6.6), so each line that is sent has one waiter in a queue. To stop
waiting (Ctrl-C) drops the waiter only: the reply still comes and is recorded in step. Each event is handed to
`on_event` in the order of the wire, before the waiter wakes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from popshell.protocol.connection import Connection
from popshell.protocol.connection import Event as Event
from popshell.protocol.line import CommandLine
from popshell.protocol.records import Exchange
from popshell.protocol.wire import CRLF, Stream
from popshell.tuples import NamedTuple
from popshell.visible import show


class Wire(Protocol):
    """What a Session needs of a transport (net/client.py). Its methods may raise ConnectError."""

    def write(self, data: bytes) -> None: ...
    async def start_tls(self, *, after: int) -> object: ...
    def close(self) -> None: ...


class Unsendable(ValueError):
    """The text holds CR, LF or NUL and cannot go out as one line (sec-P8)."""


class Chunk(NamedTuple):
    """Octets that went out or came together: by which side, where they stand in all that this peer said, and when."""

    by_client: bool
    start: int
    octets: int
    when: float

    @property
    def end(self) -> int:
        return self.start + self.octets


#: How many of them a session remembers.
_CHUNKS = 4096


class Session:
    """One connection as its client sees it.

    `on_event` gets each event and whether a call waits for it; `on_end` is called once, when the connection has ended.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        on_event: Callable[[Event, bool], None],
        on_end: Callable[[Exception | None], None],
        *,
        tls: bool = False,
    ) -> None:
        self.connection = Connection(clock(), tls=tls)
        self.transcript: list[Exchange] = []
        #: to be set before the first line is sent
        self.wire: Wire
        self.ended = False
        self.last_sent = self.last_heard = clock()
        self.chunks: deque[Chunk] = deque(maxlen=_CHUNKS)
        self._passed = [0, 0]  # octets of the server, of the client
        self._stls_end: int | None = None  # the octet at which the reply to STLS ended (sec-T2)
        #: the session's clock, in seconds
        self.now = clock
        self._on_event = on_event
        self._on_end = on_end
        self._waiters: deque[asyncio.Future[Event | None]] = deque()
        self.greeting = self._waiter()

    def submit(self, line: str | CommandLine, stream: Stream | None = None) -> asyncio.Future[Event | None]:
        """Send one line, octet for octet as typed; `stream` takes the content of its reply.

        The future gives its Exchange, a Challenge, or None if the connection ended without either. A line parsed
        already, against `connection.context()`, is not parsed again. Raises Unsendable, and ConnectionError when there
        is no connection.
        """
        text, parsed = (line, None) if isinstance(line, str) else (line.text, line)
        if any(ch in "\r\n\0" for ch in text):
            raise Unsendable(text)
        if self.ended:
            raise ConnectionError
        data = text.encode("utf-8", "surrogateescape") + CRLF
        try:
            self.wire.write(data)
        except ConnectError as error:  # what cannot be written was never sent
            raise ConnectionError from error
        self.last_sent = self.now()
        self._note(True, data, self.last_sent)
        waiter = self._waiter()
        self._dispatch(self.connection.sent(data, self.last_sent, parsed, stream))
        return waiter

    def received(self, data: bytes) -> None:
        """Bytes from the server. Once the session is broken nothing more is read."""
        now = self.now()
        self._note(False, data, now)
        self.last_heard = now
        self._dispatch(self.connection.received(data, now))
        if self.connection.wants_tls and self._stls_end is None:
            self._stls_end = self._passed[False]
        if self.connection.broken:
            self.close()

    def _note(self, by_client: bool, data: bytes, now: float) -> None:
        start = self._passed[by_client]
        self._passed[by_client] += len(data)
        self.chunks.append(Chunk(by_client, start, len(data), now))

    def end(self, error: Exception | None = None) -> None:
        """The transport was closed, by either side or by `error`."""
        if self.ended:
            return
        self.ended = True
        self._dispatch(self.connection.close(self.now()))
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
        self._on_end(error)

    def settle(self) -> bool:
        """Nothing more comes of the reply that is due: whether it can be taken for whole as it stands."""
        self._dispatch(found := self.connection.settle(self.now()))
        return bool(found)

    def close(self) -> None:
        """Close the connection without QUIT, so without UPDATE (RFC 1939 §6)."""
        self.wire.close()
        self.end()

    async def start_tls(self) -> None:
        """Do the handshake that `+OK` to STLS asks for. Raises what the wire raises."""
        await self.wire.start_tls(after=self._passed[False] if self._stls_end is None else self._stls_end)
        self.connection.tls_started()

    @property
    def replies_due(self) -> int:
        """How many replies are still to come, those that are no longer awaited included."""
        return len(self._waiters)

    def _waiter(self) -> asyncio.Future[Event | None]:
        waiter: asyncio.Future[Event | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def _dispatch(self, events: list[Event]) -> None:
        """Record each event, hand it on, and wake who waits for it; unasked lines are the answer to no line."""
        for event in events:
            unasked = False
            if isinstance(event, Exchange):
                self.transcript.append(event)
                unasked = event.answers_no_line
            waiter = self._waiters.popleft() if self._waiters and not unasked else None
            awaited = waiter is not None and not waiter.cancelled()
            self._on_event(event, awaited)
            if waiter is not None and not waiter.done():
                waiter.set_result(event)


class Endpoint(NamedTuple):
    """Where a connection leads. `practice` is this program's own server only."""

    label: str
    practice: bool
    loopback: bool
    insecure: bool = False
    #: the practice server's autologout in seconds, None if not known
    autologout: float | None = None
    #: STLS is to be given before anything else (`--tls stls`)
    stls: bool = False
    #: seconds that a reply is waited for; None for the usual limits (docs/reference-limits.md)
    timeout: float | None = None
    #: the line that logs in as its address asks, to be put at the prompt
    draft: str = ""
    #: DELE is held back until `:unlock`, on a server that is not the practice server
    look_only: bool = True
    #: gives the password on its output; "" if none was set for this place
    password_command: str = ""
    #: whether the client shows a certificate of its own; tokens that the practice server takes, each with its account
    certificate: bool = False
    tokens: Callable[[], Mapping[str, str]] = dict

    @property
    def host(self) -> str:
        return self.label.rpartition(":")[0].strip("[]")


class OpenConnection(NamedTuple):
    """An open connection: its session, its endpoint, and once TLS is on, facts for `:tls` and channel-binding data."""

    session: Session
    endpoint: Endpoint
    tls_facts: Callable[[], dict[str, object]] = dict
    #: tls-server-end-point's data (RFC 5929 §4); None if there is none
    binding: Callable[[], bytes | None] = lambda: None
    #: the chain of certificates in facts (net/certificates.py); None without TLS
    certificates: Callable[[], Mapping[str, Any] | None] = lambda: None


class Step(NamedTuple):
    """A step on the way to a connection, for the record. `what`: resolving, resolved, connecting, not-connected,
    connected, tls.

    `address` is numeric, "" while it is not known; `facts` are those of TLS, or of an address that was not reached.
    """

    what: str
    host: str
    port: int
    address: str = ""
    facts: Mapping[str, object] = MappingProxyType({})
    #: how long it took, of a step that has come to its end
    seconds: float | None = None
    practice: bool = False


class ConnectError(Exception):
    """A connection that could not be made or was lost; `code` names words in `messages.toml`, `[net]`."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts
        #: of a certificate that was refused, the chain in facts (net/certificates.py)
        self.certificates: Mapping[str, Any] | None = None
        #: takes the secret that is missing, asked for in the words of `code`; whether another try may work then
        self.answer: Callable[[str | None], bool] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.facts!r})"


def transcript_lines(exchanges: list[Exchange], *, masked: bool = True, private: str = "") -> Iterator[str]:
    """The session as `C:`/`S:` lines, secrets masked, everything else filtered (sec-F2).

    Unmasked is for what no user typed, such as a dialogue of a lesson, and for a user who asked for it and agreed.
    `private` is the remark that stands before the text of a message (sec-K4); `[...]` is a text that went into a file.
    Each further connection begins with `@connect`, as in a script (docs/reference-scripts.md).
    """
    for number, exchange in enumerate(exchanges):
        if number and exchange.is_greeting:
            yield "@connect"
        sent = [f"C: {show(text, keep='')}" for text in exchange.sent_lines(masked=masked)]
        received = exchange.received_lines(masked=masked)
        status = len(exchange.steps)
        yield from sent[:1]
        for at, line in enumerate(received):
            if at == status + 1 and private and exchange.name in ("RETR", "TOP"):
                yield f"# {private}"
            text = line.removesuffix("\r\n")
            yield f"S: {show(text, keep=chr(9) if at > status else '')}"
            yield from sent[at + 1 : at + 2]
        if exchange.stream is not None and exchange.ok:
            yield from ("S: [...]", "S: .")
        if exchange.problem is not None and (received[status:] or exchange.problem.lines):
            cut = received and not received[-1].endswith("\r\n")
            yield f"# {exchange.problem.code}" + (", no CRLF" if cut else "")
