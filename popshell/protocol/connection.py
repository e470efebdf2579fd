"""Connection: watches both directions of one POP3 session and yields Exchanges. It observes and forbids nothing.

Sans-IO: the owner reports what was `sent`, what was `received`, that TLS began, that the connection closed; time comes
in as an argument. Replies match commands by order (sec-P4). Lines sent ahead are kept raw and are judged only when
their turn comes, because only then is it known whether a line after AUTH is a command or an answer to a challenge, and
which state it meets.

The same bytes give the same Exchanges however they are cut (sec-P1); wire.py tells how. After a fault the session is
`broken`: nothing that follows is trusted.
"""

from __future__ import annotations

from collections import deque

from popshell.protocol import secrets
from popshell.protocol.commands import Content, Context, MultiLine, State
from popshell.protocol.line import CommandLine, advance, if_it_succeeds, parse, tls_on
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange, Problem, Response, Status, Step, no_status, read_status, spoiled, stamp
from popshell.protocol.unasked import Found, Unasked
from popshell.protocol.wire import CRLF, Counts, LineReader, ReplyLimits, ReplyReader, Stream, WireError
from popshell.tuples import NamedTuple


class Challenge(NamedTuple):
    """The server asks for another line (`+ `, RFC 5034 §4). `line` is what follows the space: base64."""

    line: bytes
    command: CommandLine


Event = Exchange | Challenge


class Due(NamedTuple):
    """A reply that has not arrived whole: what a wait for it shows."""

    command: CommandLine | None
    since: float
    octets: int
    lines: int
    #: whether its status line is whole, and lines follow it; the last octets; where the content goes if not kept
    content: bool
    tail: bytes
    stream: Stream | None = None


class PendingExchange:
    """An exchange under way, or one whose turn has not come. `ahead` is how many replies were due before it.

    `line` is None for the greeting, and for a line that was not judged yet; `sent` has its end, CRLF or a bare LF.
    """

    def __init__(self, now: float, line: CommandLine | None = None, sent: bytes = b"", ahead: int = 0) -> None:
        self.line, self.sent, self.started, self.ahead = line, sent, now, ahead
        self.stream: Stream | None = None
        #: when the first octet of the reply came
        self.arrived: float | None = None
        self.received = b""
        self.steps: list[Step] = []
        #: a challenge that was not answered yet
        self.challenge: bytes | None = None
        #: a status line whose content is still to come
        self.response: Response | None = None
        self.counted: Counts | None = None

    @property
    def raw(self) -> bytes:
        """What was sent without its CRLF."""
        return self.sent.removesuffix(CRLF)

    def judged(self, context: Context) -> CommandLine:
        """Its line as `context` has it; parsed anew only if that is not the one it was parsed against."""
        if self.line is None or self.line.context != context:
            self.line = parse(self.raw.decode(errors="surrogateescape"), context)
        return self.line


class Connection:
    """One session as seen on the wire. Public attributes are for reading."""

    def __init__(
        self, now: float = 0.0, limits: ReplyLimits | None = None, *, tls: bool = False, longest_line: int = 65536
    ) -> None:
        #: where the session stands after the last whole reply
        self.here = Context(State.CLOSED, tls=tls)
        self.stamp: str | None = None
        self.capabilities: dict[str, tuple[str, ...]] | None = None
        self.broken: Problem | None = None
        self.closed = False
        #: True between `+OK` to STLS and `tls_started()`
        self.wants_tls = False
        self._limits = limits or ReplyLimits()
        self._replies = ReplyReader(self._limits)
        self._unasked = Unasked(self._limits)
        self._lines = LineReader(longest_line)
        self._queue: deque[PendingExchange] = deque()
        #: the exchange under way; None if nothing is due
        self.current: PendingExchange | None = PendingExchange(now)
        self._tainted = False
        #: secrets sent so far, longest first
        self.secrets: tuple[str, ...] = ()
        #: what CAPA said last, though it may not hold any more
        self._last_list: dict[str, tuple[str, ...]] | None = None

    # -- what the owner reports ----------------------------------------------------------------------------------

    def sent(
        self, data: bytes, now: float = 0.0, line: CommandLine | None = None, stream: Stream | None = None
    ) -> list[Event]:
        """The client sent `data`. Whole lines become commands, or answers to a challenge, in order.

        `line` is `data` without its CRLF, if it is one line and was parsed already: it is not parsed again unless it
        meets another context than `line.context`. `stream` takes the content of its reply.
        """
        if self.broken or self.closed:
            return []
        self._lines.feed(data)
        out = self._record_unasked(self._unasked.flush(), now)
        while (raw := self._lines.next_line()) is not False:
            if (self.current is None or self.challenged) and len(self._replies):
                self._tainted = True  # what is here came before its command: never its reply
            # One that is too long to keep has its reply all the same.
            raw = raw if isinstance(raw, bytes) else b""
            whole = raw if raw.endswith(b"\n") else raw + CRLF
            self._queue.append(pending := PendingExchange(now, line, whole, self.pending))
            if stream is not None:
                pending.stream, stream.used = stream, True
            self._start_next()
        return out

    def received(self, data: bytes, now: float = 0.0) -> list[Event]:
        """The server sent `data`. Returns what became whole by it, in order."""
        if self.broken:
            return []
        self._replies.feed(data)
        return self._read(now)

    def settle(self, now: float = 0.0) -> list[Event]:
        """Nothing more comes: a bare AUTH that has its `+OK` and no list has its whole reply; no RFC has either."""
        pending = self.current
        if not (pending and pending.response and pending.line and pending.line.asks_mechanisms) or self._replies.begun:
            return []
        out: list[Event] = [self._finish(pending, pending.response, now)]
        self._start_next()
        return out

    def tls_started(self) -> None:
        """The TLS handshake that `+OK` to STLS asked for is done. Capabilities are forgotten (RFC 2595 §4)."""
        self.wants_tls = False
        self.here = tls_on(self.here)
        self.capabilities = None
        self._start_next()

    def close(self, now: float = 0.0) -> list[Event]:
        """The connection is closed. What was due becomes a record with its fault, and so does each line after it."""
        if self.closed:
            return []
        self.closed = True
        out, pending = self._record_unasked(self._unasked.flush(), now), self.current
        if self.broken is None and pending is not None:
            if pending.stream is not None and pending.response is not None:
                self._replies.stream(pending.stream, last=True)
            held = self._replies.take_all()
            code = "no-terminator" if pending.response else "cut" if held else "no-reply"
            pending.received += held
            problem = spoiled(WireError(code, held), greeting=pending.line is None)
            out.append(self._record(pending, self.here, now, after=State.CLOSED, problem=problem))
        elif self.broken is None and len(self._replies):
            out += self._record_unasked([Found(Problem("unasked"), self._replies.take_all())], now)
        met, self.here, self.current = self.here, self.here._replace(state=State.CLOSED), None
        # Lines after AUTH may be its answers: a secret, and no commands of their own.
        if not (pending and pending.line and pending.line.continues):
            for sent in self._queue:
                line = sent.judged(met)
                self.hide(*line.secrets)
                out.append(self._record(sent, self.here, now, problem=Problem("no-reply")))
                if line.continues:
                    break
        self._queue.clear()
        return out

    def login_held_back(self) -> None:
        """A login was not sent after all: what comes next may be the answer to it, and counts as secret."""
        self.here = self.here._replace(refused=True)

    # -- what the owner asks -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.here.state

    @property
    def tls(self) -> bool:
        return self.here.tls

    @property
    def maildrop(self) -> MaildropView:
        return self.here.maildrop

    @property
    def pending(self) -> int:
        """How many replies are due, the greeting included."""
        return len(self._queue) + (self.current is not None)

    @property
    def challenged(self) -> bool:
        """Whether the next line sent answers a challenge."""
        return self.current is not None and self.current.challenge is not None

    def is_due(self, command: str) -> bool:
        """Whether a reply to `command` is still to come."""
        return any(line is not None and line.name == command for line, _ in self._ahead())

    @property
    def at_stake(self) -> frozenset[int]:
        """The messages that QUIT might erase: marked ones, and those whose DELE was sent and not answered yet."""
        asked = (line.message for line, _ in self._ahead() if line is not None and line.name == "DELE")
        return self.maildrop.marks | {number for number in asked if number}

    def due(self) -> Due | None:
        """The reply that is under way, as far as it has come."""
        pending = self.current
        if pending is None or self.challenged:
            return None
        held, stream = self._replies, pending.stream
        octets = len(pending.received) + len(held) + (stream.raw if stream else 0)
        lines = held.line_ends + (stream.lines if stream else 0)
        return Due(pending.line, pending.started, octets, lines, bool(pending.response), held.tail(512), stream)

    def content_lines(self) -> bool:
        """Whether a whole line has come of the content of a multi-line reply that is under way."""
        return bool((it := self.current) and it.response and not it.stream and self._replies.has_line)

    def under_way(self, most: int | None = None) -> Exchange | None:
        """The exchange that is due, as far as it has come, `most` octets; no record, and None if nothing is due."""
        if self.current is None:
            return None
        record, held = self._record(self.current, self.here), self._replies
        return record._replace(received=record.received + (held.held if most is None else held.head(most)))

    def context(self) -> Context:
        """What the next line sent will meet, if every line before it succeeds: for judging while one types."""
        return self._ahead()[-1][1]

    def _ahead(self) -> list[tuple[CommandLine | None, Context]]:
        """The lines whose replies are due, each with what the line after it will meet if it succeeds.

        The first is that of `current`: None if none is under way, and for the greeting.
        """
        line, context = self.current.line if self.current else None, self.here
        if line is not None:
            context = if_it_succeeds(context, line)
        elif self.current is not None:
            context = context._replace(state=State.AUTHORIZATION)
        out = [(line, context)]
        for sent in self._queue:
            line = sent.judged(context)
            context = if_it_succeeds(context, line)
            out.append((line, context))
        return out

    # -- the engine ----------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        """Let the next queued line take its turn: as an answer if a challenge waits, else as a command."""
        pending = self.current
        if self.broken or not self._queue:
            return
        if pending is not None and pending.challenge is not None:
            sent = self._queue.popleft()
            pending.steps.append(Step(pending.challenge, sent.raw))
            pending.sent += sent.sent
            pending.challenge, pending.started, pending.arrived = None, sent.started, None
            self.hide(*secrets.secrets_in(sent.raw.decode(errors="surrogateescape")))
        elif pending is None and not self.wants_tls:
            self.current = self._queue.popleft()
            self.hide(*self.current.judged(self.here).secrets)

    def hide(self, *found: str) -> None:
        """Mask secrets in what comes, also one that no line holds: a digest or a proof goes out in its place."""
        if found:
            self.secrets = secrets.joined(self.secrets, found)

    def _read(self, now: float) -> list[Event]:
        """Read all that is whole."""
        out: list[Event] = []
        while not self.broken:
            if self.wants_tls:
                if len(self._replies):
                    # How much has come by now is chance: nothing of it is what shows the fault.
                    out.append(self._break(None, Problem("stls-injection"), b"", now))
                break
            pending = self.current
            try:
                if pending is None or pending.challenge is not None or self._tainted:
                    line = self._replies.status_line()
                    if line is None:
                        break
                    self._tainted = False
                    out += self._record_unasked(self._unasked.line(line, now), now)
                else:
                    event = self._read_reply(pending, now)
                    if event is None:
                        break
                    out += self._record_unasked(self._unasked.flush(), now)
                    self._unasked.reply_came()
                    out.append(event)
            except WireError as error:
                problem = spoiled(error, greeting=pending is not None and pending.line is None)
                out.append(self._break(pending, problem, error.raw, now))
            self._start_next()
        return out

    def _read_reply(self, pending: PendingExchange, now: float) -> Event | None:
        """Take one step of the exchange under way; None if more bytes are needed."""
        if pending.arrived is None and len(self._replies):
            pending.arrived = now
        if pending.response is None:
            raw = self._replies.status_line()
            if raw is None:
                return None
            response, line = read_status(raw[:-2]), pending.line
            asks = response is not None and response.status is Status.CONTINUE
            if response is None or (asks and not (line and line.continues)):
                problem = no_status(raw, greeting=line is None)
                if problem.ends or line is None:
                    return self._break(pending, problem, raw, now)
                pending.received += raw
                return self._finish(pending, None, now, problem)
            pending.received += raw
            if asks and line is not None:
                pending.challenge = response.text.encode(errors="surrogateescape")
                return Challenge(pending.challenge, line)
            if not (response.ok and pending.line is not None and pending.line.expects_multi_line):
                return self._finish(pending, response, now)
            pending.response = response
            if pending.stream is None:
                self._replies.begin(pending.received)
                pending.received = b""
        if self._replies.at_reply and pending.line and pending.line.asks_mechanisms:
            return self._finish(pending, pending.response, now)
        if pending.stream is not None:
            return self._finish(pending, pending.response, now) if self._replies.stream(pending.stream) else None
        if (content := self._replies.content(self._most_rows(pending.line))) is None:
            return None
        pending.received, pending.counted = content.raw, content.counts
        return self._finish(pending, pending.response._replace(content=content.plain), now)

    def _most_rows(self, line: CommandLine | None) -> int | None:
        """How many lines the content may have; mail is bounded by octets alone."""
        spec = line.spec if line is not None else None
        if spec is not None and spec.content is Content.CAPABILITIES:
            return self._limits.capability_lines
        unless_named = spec is not None and spec.multi_line is MultiLine.WITHOUT_ARGUMENT
        return self._limits.listing_lines if unless_named else None

    def _finish(
        self, pending: PendingExchange, response: Response | None, now: float, problem: Problem | None = None
    ) -> Exchange:
        """The reply is whole: move by the table, learn what it says, and record. None says neither yes nor no."""
        before, line, self.current = self.here, pending.line, None
        pending.received += self._replies.give_up()
        if line is not None:
            self.here = advance(before, line, response is not None and response.ok)
        if response is None:
            self.here = self.here._replace(state=before.state)
        elif response.ok and line is not None:
            self._learn(line, response, before)
        elif response.ok:
            self.here = before._replace(state=State.AUTHORIZATION)
            self.stamp = stamp(response.text)
        pending.response = response
        record = self._record(pending, before, now, after=self.state, problem=problem)
        self._last_list = self.capabilities or self._last_list
        return record

    def _learn(self, line: CommandLine, response: Response, before: Context) -> None:
        """Take in what `+OK` to a line says."""
        spec = line.spec
        if spec is None:
            return
        if spec.starts_tls and before.state in spec.transitions and not before.tls:
            self.wants_tls = True
        logs_in = spec.logs_in and not line.asks_mechanisms
        if logs_in or spec.name == "CAPA":
            # RFC 2449 §5: some capabilities differ after login; what was announced before may be gone.
            self.capabilities = response.capabilities() if spec.name == "CAPA" else None
            utf8 = (self.capabilities or {}).get("UTF8", ())
            self.here = self.here._replace(utf8_user="USER" in utf8)
        known = before.maildrop.after(spec.name, line.message, response.text, response.content)
        if logs_in or known is not before.maildrop:
            self.here = self.here._replace(maildrop=MaildropView(open=True) if logs_in else known)

    def _break(self, pending: PendingExchange | None, problem: Problem, raw: bytes, now: float) -> Exchange:
        """A fault after which nothing is trusted."""
        self.broken, self.current = problem, None
        pending = pending or PendingExchange(now)
        pending.received += raw
        return self._record(pending, self.here, now, problem=problem)._replace(rest=self._replies.take_all())

    def _record_unasked(self, found: list[Found], now: float) -> list[Event]:
        """Records of lines that no command asked for; too many of them are a fault like others."""
        out: list[Event] = []
        for problem, raw in found:
            if problem.unasked:
                unasked = PendingExchange(now)
                unasked.received, unasked.response = raw, read_status(raw.removesuffix(CRLF))
                out.append(self._record(unasked, self.here, now, problem=problem))
            else:
                out.append(self._break(self.current, problem, raw, now))
        return out

    def _record(
        self,
        pending: PendingExchange,
        before: Context,
        now: float = 0.0,
        *,
        after: State | None = None,
        problem: Problem | None = None,
    ) -> Exchange:
        """`after` is by default the state before."""
        return Exchange(
            pending.line,
            pending.response,
            before.state,
            after or before.state,
            sent=pending.sent,
            received=pending.received,
            counted=pending.counted,
            steps=tuple(pending.steps),
            problem=problem,
            tls=self.tls,
            maildrop_before=before.maildrop,
            maildrop=self.maildrop,
            capabilities_before=self._last_list,
            secrets=self.secrets,
            ahead=pending.ahead,
            stream=pending.stream,
            started=pending.started,
            arrived=pending.arrived,
            finished=now,
        )
