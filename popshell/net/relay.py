"""Relay: what passes between a mail program and its server, seen and not changed, without a socket.

Octets of the client come out in `to_server`, octets of the server in `to_client`; a client-side Connection reads both,
and what it finds goes to `on_event`. Three things would fail between two connections, so the relay answers them itself,
and says of each that it did:

- STLS: it speaks of the client's own connection, and goes no further (RFC 2595 §4);
- the rows of CAPA that promise STLS, or mechanisms that bind to the server's certificate (RFC 5802 §6);
- AUTH with such a mechanism, whose name ends in -PLUS.

A line of the client waits for its end, and one that is answered here until the replies before it have come. The reply
to CAPA waits until it is whole. Once the server's octets cannot be read as POP3 everything passes unread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from popshell.protocol.connection import Challenge, Connection, Due
from popshell.protocol.line import CommandLine, parse
from popshell.protocol.records import Exchange
from popshell.protocol.secrets import CANCEL
from popshell.protocol.wire import CRLF
from popshell.tuples import NamedTuple

#: No command that is answered here is longer (RFC 5034 §4); the rest of a longer line passes as it comes.
_LONGEST = 512
#: No more lines of the client are passed on while so many replies are due.
_MOST_AHEAD = 1000
#: A reply to CAPA that is longer passes unchanged.
_MOST_HELD = 64 * 1024


Rows = tuple[str, ...]


class Said(NamedTuple):
    """A line of the client, when its turn has come; `line` is None for an answer to a challenge."""

    line: CommandLine | None
    cancels: bool = False


class Answered(NamedTuple):
    """What the server said, whole; with `own`, what the relay said in its place.

    `taken` and `put` are rows of CAPA's list that the client did not get, and that it got in their place.
    """

    event: Exchange | Challenge
    own: bool = False
    taken: Rows = ()
    put: Rows = ()


class LeftOpen(NamedTuple):
    """The client closed while the reply to a line was due, or had come in part."""

    exchange: Exchange


class Unreadable(NamedTuple):
    """From here on octets pass unread."""


RelayEvent = Said | Answered | LeftOpen | Unreadable


class Relay:
    """One session. Attributes without underscore are for the owner, who takes from `to_client` and `to_server`."""

    def __init__(
        self,
        on_event: Callable[[RelayEvent], None],
        texts: Mapping[str, str],
        clock: Callable[[], float] = lambda: 0.0,
        *,
        tls: bool = False,
    ) -> None:
        """`texts` are those of `replies.toml`; `tls`: whether the client is under TLS from the start."""
        self.to_client = bytearray()
        self.to_server = bytearray()
        #: a TLS handshake with the client is due, when `to_client` is sent
        self.starts_tls = False
        #: the client is to be closed, when `to_client` is sent
        self.closing = False
        self.connection = Connection(clock(), tls=tls)
        self._on_event = on_event
        self._texts = texts
        self._clock = clock
        self._from_client = bytearray()
        self._within = False  # the beginning of a long line was passed on
        self._early = bytearray()  # of the server, before TLS with the client stands
        self._said: CommandLine | None = None  # the line of which `on_event` knows
        self._challenges = 0  # to it, and how many answers to them `on_event` knows
        self._answers = 0
        self._capa_ahead = False  # a reply to CAPA may be due
        self._held = bytearray()  # of that reply
        self._too_long = False  # that reply passes unchanged

    # -- what the owner reports --------------------------------------------------------------------------------------

    def client_sent(self, data: bytes) -> None:
        if self.starts_tls:
            self.closing = True  # clear text where TLS is due is not to be read as if it came over TLS
        elif not self.closing:
            self._from_client += data
            self._serve()

    def server_sent(self, data: bytes) -> None:
        # Where a reply ends matters to its neighbours only while one of them is the relay's.
        whole = not (self._capa_ahead or self._from_client)
        for piece in (data,) if whole else data.splitlines(keepends=True):
            if self.starts_tls:
                self._early += piece  # in clear text the client would take it for an injection
            else:
                self._receive(piece)
                self._serve()

    def client_tls_started(self) -> None:
        self.starts_tls = False
        if self.connection.wants_tls:
            self.connection.tls_started()
        early = bytes(self._early)
        self._early.clear()
        self.server_sent(early)

    def turn_away(self, key: str) -> None:
        """There is no server to speak to: say so in place of its greeting."""
        self._answer(self._reply("-ERR [SYS/TEMP] ", key))
        self.closing = True

    def client_ended(self) -> bool:
        """The client sends no more; gives whether a reply is due to it.

        What had no line end yet is passed on; what waited to be answered here is nothing any more.
        """
        if b"\n" not in self._from_client:
            self.to_server += self._from_client
        self._from_client.clear()
        return self.connection.pending > 0 and not self.connection.broken

    def client_closed(self) -> None:
        self.client_ended()
        self.closing = True
        for event in self.connection.close(self._clock()):
            if isinstance(event, Exchange):
                self._on_event(LeftOpen(event))

    def server_closed(self) -> None:
        self.to_client += self._held + self._early
        self._held.clear()
        self.closing = True
        self._report(self.connection.close(self._clock()))

    # -- what the owner asks -----------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the client has to wait: nothing of it should be read now."""
        return len(self._from_client) > _LONGEST

    @property
    def backlog(self) -> int:
        """How many octets of the server have not gone to the client."""
        return len(self.to_client) + len(self._held) + len(self._early)

    def due(self) -> Due | None:
        """The reply that is under way; None while nothing is read."""
        return None if self.connection.broken else self.connection.due()

    # -- from the client ---------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Pass on what the client sent, line by line, up to one that has to wait."""
        waiting = self._from_client
        while waiting and not self.starts_tls and not self.closing:
            end = waiting.find(b"\n") + 1
            if self.connection.broken or (end == 0 and (self._within or len(waiting) > _LONGEST)):
                self._within = self._within or end == 0
                end = len(waiting)
            elif self._within:
                self._within = False
            elif end == 0 or self.connection.pending >= _MOST_AHEAD:
                return
            elif (line := self._answered_here(bytes(waiting[:end]))) is not None:
                if self.connection.pending and not self.connection.challenged:
                    return  # replies keep the order of the commands
                if not self.connection.challenged:
                    del waiting[:end]
                    self._take_over(line)
                    continue
            data = bytes(waiting[:end])
            del waiting[:end]
            self._capa_ahead = self._capa_ahead or self._within or b"CAPA" in data.upper()
            self.to_server += data
            self._report(self.connection.sent(data, self._clock()))
            self._say_current()

    def _answered_here(self, data: bytes) -> CommandLine | None:
        """The line, if it is one that the relay answers unless it answers a challenge."""
        word = data[:5].strip().upper()
        if word not in (b"STLS", b"AUTH"):
            return None
        line = parse(data.decode("utf-8", "surrogateescape").rstrip("\r\n"), self.connection.here)
        binds = line.name == "AUTH" and line.arguments[:1] and line.arguments[0].upper().endswith("-PLUS")
        return line if line.name == "STLS" or binds else None

    def _take_over(self, line: CommandLine) -> None:
        """Answer a line in place of the server."""
        if line.name != "STLS":
            reply = self._reply("-ERR ", "channel-binding")
        elif line.objection is not None:
            reply = self._reply("-ERR ", line.objection.code)
        elif self._from_client:
            # An injection, or a client that did not wait (RFC 2595 §4).
            self.closing, reply = True, self._reply("-ERR ", "stls-pipelined")
        else:
            self.starts_tls, reply = True, self._reply("+OK ", "stls")
        sent = line.text.encode("utf-8", "surrogateescape") + CRLF
        self._report(self.connection.sent(sent, self._clock()))
        self._answer(reply)

    def _reply(self, status: str, key: str) -> bytes:
        return f"{status}{self._texts[key]}".encode() + CRLF

    def _answer(self, reply: bytes) -> None:
        self.to_client += reply
        self._report(self.connection.received(reply, self._clock()), own=True)
        self._say_current()

    # -- from the server ----------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Read and pass on; with a CAPA ahead `data` is one line, or part of one."""
        due, broken = self.connection.current, self.connection.broken
        lists = due is not None and due.line is not None and due.line.name == "CAPA"
        if lists and not self._too_long and not broken:
            self._held += data
        else:
            self.to_client += data
        for event in self.connection.received(data, self._clock()):
            taken, put = self._release(event) if isinstance(event, Exchange) and event.name == "CAPA" else ((), ())
            self._report([event], taken=taken, put=put)
        if len(self._held) > _MOST_HELD or self.connection.broken:
            self.to_client += self._held
            self._held.clear()
            self._too_long = True
        self._capa_ahead = self._capa_ahead and self.connection.pending > 0
        if self.connection.broken and not broken:
            self._on_event(Unreadable())
        self._say_current()

    def _release(self, exchange: Exchange) -> tuple[Rows, Rows]:
        """Pass on the reply to CAPA, its list as it is between client and relay; gives the rows that differ."""
        taken: Rows = ()
        put: Rows = ()
        if exchange.ok and not self._too_long:
            offers = parse("STLS", self.connection.here).objection is None
            reply, taken, put = list_for_client(exchange.received, stls=offers)
            self.to_client += self._held.removesuffix(exchange.received) + reply
        else:
            self.to_client += self._held
        self._held.clear()
        self._too_long = False
        return taken, put

    # -- reports -----------------------------------------------------------------------------------------------------

    def _report(
        self, events: list[Exchange | Challenge], *, own: bool = False, taken: Rows = (), put: Rows = ()
    ) -> None:
        """Hand on events, before each the line that it answers."""
        for event in events:
            if isinstance(event, Challenge):
                self._say(event.command, [])
                self._say(event.command, [b""] * self._challenges)  # each challenge before it was answered
                self._challenges += 1
            elif event.command is not None:
                self._say(event.command, [step.answer for step in event.steps])
            self._on_event(Answered(event, own, taken, put))

    def _say_current(self) -> None:
        """Report the line whose turn it is now."""
        now = self.connection.current
        if now is not None and now.line is not None:
            self._say(now.line, [step.answer for step in now.steps])

    def _say(self, line: CommandLine, answers: list[bytes]) -> None:
        """Report a line, and the answers to its challenges, that were not reported."""
        if line is not self._said:
            self._said, self._challenges, self._answers = line, 0, 0
            self._on_event(Said(line))
        for answer in answers[self._answers :]:
            self._on_event(Said(None, cancels=answer == CANCEL.encode()))
        self._answers = max(self._answers, len(answers))


def list_for_client(reply: bytes, *, stls: bool) -> tuple[bytes, Rows, Rows]:
    """The reply to CAPA as it is true for the client, the rows that were taken, and those that were put.

    `stls`: whether the client may give STLS now.
    """
    status, _, rest = reply.partition(CRLF)
    offered = False
    kept: list[bytes] = []
    taken: list[bytes] = []
    put: list[bytes] = []
    for row in rest.split(CRLF)[:-2]:
        tag, *words = row.split() or [b""]
        left = [word for word in words if not word.upper().endswith(b"-PLUS")]
        if tag.upper() == b"SASL" and left != words:
            taken.append(row)
            put += [b" ".join((tag, *left))] if left else []
            kept += put[-1:] if left else []
        elif tag.upper() == b"STLS" and not stls:
            taken.append(row)
        else:
            offered = offered or tag.upper() == b"STLS"
            kept.append(row)
    if stls and not offered:
        put.append(b"STLS")
        kept.append(b"STLS")
    if not taken and not put:
        return reply, (), ()
    return CRLF.join((status, *kept, b".", b"")), _texts(taken), _texts(put)


def _texts(rows: list[bytes]) -> Rows:
    return tuple(row.decode("utf-8", "surrogateescape") for row in rows)
