"""Connection: watches both directions of one POP3 session and yields Exchanges. It observes and forbids nothing.

Sans-IO: the owner says what was `sent`, what was `received`, that TLS began, that the line closed; time comes in as an
argument. Replies match commands by order (sec-P4). Lines sent ahead are kept raw and are judged only when their turn
comes, because only then is it known whether a line after AUTH is a command or an answer to a challenge, and which state
it meets.

The same bytes give the same Exchanges however they are cut (sec-P1); wire.py tells how. After a fault the session is
`broken`: nothing that follows is trusted.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from popshell.protocol.commands import Content, MultiLine, State
from popshell.protocol.line import CommandLine, Context, hidden_in_base64, parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange, Problem, Response, Status, Step, read_status, stamp
from popshell.protocol.wire import CRLF, LineReader, ReplyLimits, ReplyReader, WireError, unstuff


class Challenge(NamedTuple):
    """The server asks for another line (`+ `, RFC 5034 §4). `line` is what stands behind the blank: base64."""

    line: bytes
    command: CommandLine


class Due(NamedTuple):
    """A reply that has not arrived whole: the hang watch reads it."""

    command: CommandLine | None
    since: float
    octets: int
    lines: int
    #: a line of a lone dot that does not end the reply because its line ends are bare LF
    bare_lf_dot: bool


class Turn:
    """The exchange under way. `line` is None for the greeting."""

    __slots__ = ("ahead", "line", "received", "response", "sent", "started", "steps", "waiting")

    def __init__(self, line: CommandLine | None, sent: bytes, started: float, ahead: int = 0) -> None:
        self.line = line
        self.ahead = ahead  # how many replies were due when the line was sent
        self.sent = sent
        self.started = started
        self.received = bytearray()
        self.steps: list[Step] = []
        self.waiting: bytes | None = None  # a challenge without its answer
        self.response: Response | None = None  # a status line whose content is still to come


_INDICATORS = (b"+OK", b"-ERR")
#: What another protocol's first bytes look like; a hint for the user, not a decision.
_SPEAKS = (
    (b"* ", "imap"),
    (b"2", "smtp"),
    (b"4", "smtp"),
    (b"5", "smtp"),
    (b"HTTP/", "http"),
    (b"SSH-", "ssh"),
    (b"\x15\x03", "tls"),
    (b"\x16\x03", "tls"),
)


class Connection:
    """One session as seen on the wire. Public attributes are for reading."""

    def __init__(self, now: float = 0.0, limits: ReplyLimits | None = None, *, longest_line: int = 65536) -> None:
        self.state = State.CLOSED
        self.tls = False
        self.stamp: str | None = None
        self.capabilities: dict[str, tuple[str, ...]] | None = None
        self._last_list: dict[str, tuple[str, ...]] | None = (
            None  # what CAPA said last, though it may not hold any more
        )
        self.maildrop = MaildropView()
        self.done: frozenset[str] = frozenset()
        self.follows = ""
        self.broken: Problem | None = None
        self.closed = False
        #: what had come behind `+OK` to STLS when `stls-injection` was found
        self.injected = b""
        #: True between `+OK` to STLS and `tls_started()`
        self.wants_tls = False
        self._limits = limits or ReplyLimits()
        self._replies = ReplyReader(self._limits)
        self._lines = LineReader(longest_line)
        self._queue: deque[tuple[bytes, float, int]] = deque()
        self._turn: Turn | None = Turn(None, b"", now)
        self._tainted = False
        self._secrets: tuple[str, ...] = ()

    # -- what the owner tells ------------------------------------------------------------------------------------

    def sent(self, data: bytes, now: float = 0.0) -> list[Exchange | Challenge]:
        """The client sent `data`. Whole lines become commands, or answers to a challenge, in order."""
        if self.broken or self.closed:
            return []
        self._lines.feed(data)
        while (line := self._lines.next_line()) is not False:
            if self._my_turn and len(self._replies):
                self._tainted = True  # what is here came before its command: never its reply
            # One that is too long to keep has its reply all the same.
            self._queue.append((line if isinstance(line, bytes) else b"", now, self.pending))
            self._start_next()
        return self._read(now)

    def received(self, data: bytes, now: float = 0.0) -> list[Exchange | Challenge]:
        """The server sent `data`. Returns what became whole by it, in order."""
        if self.broken:
            return []
        self._replies.feed(data)
        return self._read(now)

    def tls_started(self) -> None:
        """The TLS handshake that `+OK` to STLS asked for is done. Capabilities are forgotten (RFC 2595 §4)."""
        self.wants_tls = False
        self.tls = True
        self.capabilities = None
        self._start_next()

    def close(self, now: float = 0.0) -> list[Exchange | Challenge]:
        """The line is closed. What was due becomes a record with its fault, and so does each line behind it."""
        if self.closed:
            return []
        self.closed = True
        out: list[Exchange | Challenge] = []
        turn = self._turn
        if self.broken is None and turn is not None:
            held = self._replies.take_all()
            code = "no-terminator" if turn.response else "cut" if held else "no-reply"
            turn.received += held
            out.append(self._fault(turn, Problem(code), now, State.CLOSED))
        elif self.broken is None and len(self._replies):
            out.append(self._unasked(self._replies.take_all(), now))
        met, self.state, self._turn = self._context(), State.CLOSED, None
        # Lines behind AUTH may be its answers: a secret, and no commands of their own.
        if not (turn and turn.line and turn.line.spec and turn.line.spec.continues):
            for raw, started, ahead in self._queue:
                line = parse(raw.decode("utf-8", "surrogateescape"), met)
                self._remember(line.secrets)
                unanswered = Turn(line, raw + CRLF, started, ahead)
                out.append(self._fault(unanswered, Problem("no-reply"), now, State.CLOSED))
                if line.spec and line.spec.continues:
                    break
        self._queue.clear()
        return out

    # -- what the owner asks -------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many replies are due, the greeting included."""
        return len(self._queue) + (self._turn is not None)

    @property
    def _my_turn(self) -> bool:
        """Whether the server has nothing to say before the client sends a line."""
        return self._turn is None or self._turn.waiting is not None

    @property
    def challenged(self) -> bool:
        """Whether the next line sent answers a challenge."""
        return self._turn is not None and self._turn.waiting is not None

    def _lines_due(self) -> list[CommandLine]:
        """The lines whose replies are still due, in order, judged as they were sent."""
        return [line for line, _ in self._ahead()]

    def is_due(self, command: str) -> bool:
        """Whether a reply to `command` is still to come."""
        return any(line.name == command for line in self._lines_due())

    @property
    def at_stake(self) -> frozenset[int]:
        """The messages that QUIT might erase: marked ones, and those whose DELE was sent and not answered yet."""
        asked = {line.message for line in self._lines_due() if line.name == "DELE"}
        return self.maildrop.marks | {number for number in asked if number}

    def due(self) -> Due | None:
        """The reply that is under way, as far as it has come."""
        turn = self._turn
        if turn is None or turn.waiting is not None:
            return None
        held = self._replies.held
        return Due(
            turn.line,
            turn.started,
            len(turn.received) + len(held),
            held.count(b"\n"),
            (turn.response is not None and held.endswith((b"\n.\n", b"\n.\r\n"))) or held == b".\n",
        )

    def under_way(self) -> Exchange | None:
        """The exchange that is due, as far as it has come; no record, and None if nothing is due."""
        turn = self._turn
        if turn is None:
            return None
        return Exchange(
            turn.line,
            turn.response,
            self.state,
            self.state,
            sent=turn.sent,
            received=bytes(turn.received) + bytes(self._replies.held),
            steps=tuple(turn.steps),
            tls=self.tls,
            secrets=self._secrets,
        )

    def context(self) -> Context:
        """What the next line sent will meet, if every line before it succeeds: for judging while one types."""
        ahead = self._ahead()
        return ahead[-1][1] if ahead else self._here()

    def _here(self) -> Context:
        context = self._context()
        greets = self._turn is not None and self._turn.line is None
        return context._replace(state=State.AUTHORIZATION) if greets else context

    def _ahead(self) -> list[tuple[CommandLine, Context]]:
        """The lines whose replies are due, each with what the line behind it will meet if it succeeds."""
        context, out = self._here(), []
        waiting = [raw.decode("utf-8", "surrogateescape") for raw, _, _ in self._queue]
        lines = [self._turn.line] if self._turn and self._turn.line else []
        for at in range(len(lines) + len(waiting)):
            line = lines[at] if at < len(lines) else parse(waiting[at - len(lines)], context)
            spec = line.spec
            if spec is None or context.state not in spec.transitions:
                context = context._replace(follows="")
            else:
                context = context._replace(
                    state=spec.transitions[context.state],
                    follows=spec.name,
                    done=context.done | {spec.name},
                    tls=context.tls or spec.starts_tls,
                )
            out.append((line, context))
        return out

    # -- the engine ----------------------------------------------------------------------------------------------

    def _context(self) -> Context:
        utf8_user = "USER" in (self.capabilities or {}).get("UTF8", ())
        return Context(self.state, self.follows, self.tls, self.done, self.maildrop, utf8_user)

    def _start_next(self) -> None:
        """Let the next queued line take its turn: as an answer if a challenge waits, else as a command."""
        turn = self._turn
        if self.broken:
            return
        if turn is not None and turn.waiting is not None and self._queue:
            raw, turn.started, _ = self._queue.popleft()
            turn.steps.append(Step(turn.waiting, raw))
            turn.sent += raw + CRLF
            turn.waiting = None
            text = raw.decode("utf-8", "surrogateescape")
            if text != "*":
                self._remember((text, *hidden_in_base64(text)))
        elif turn is None and self._queue and not self.wants_tls:
            raw, now, ahead = self._queue.popleft()
            line = parse(raw.decode("utf-8", "surrogateescape"), self._context())
            self._remember(line.secrets)
            self._turn = Turn(line, raw + CRLF, now, ahead)

    def _remember(self, secrets: tuple[str, ...]) -> None:
        known = {*self._secrets, *(secret for secret in secrets if secret)}
        self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))

    def _read(self, now: float) -> list[Exchange | Challenge]:
        """Read all that is whole."""
        out: list[Exchange | Challenge] = []
        while not self.broken:
            if self.wants_tls:
                if len(self._replies):
                    # How much has come by now is chance: it is kept for the eye, and is no part of the record.
                    self.injected = self._replies.take_all()
                    out.append(self._break(None, Problem("stls-injection"), b"", now))
                break
            turn = self._turn
            try:
                if turn is None or turn.waiting is not None or self._tainted:
                    line = self._replies.status_line()
                    if line is None:
                        break
                    self._tainted = False
                    out.append(self._unasked(line, now))
                else:
                    event = self._advance(turn, now)
                    if event is None:
                        break
                    out.append(event)
            except WireError as error:
                speaks = "tls" if error.code == "tls" else ""
                code = "not-pop3" if error.code == "tls" else error.code
                out.append(self._break(turn, Problem(code, speaks), error.raw, now))
            self._start_next()
        return out

    def _advance(self, turn: Turn, now: float) -> Exchange | Challenge | None:
        """Take one step of the exchange under way; None if more bytes are needed."""
        if turn.response is None:
            raw = self._replies.status_line()
            if raw is None:
                return None
            response = read_status(raw[:-2])
            fault = self._objection(turn, raw, response)
            if fault or response is None:
                return self._break(turn, fault or Problem("not-pop3"), raw, now)
            turn.received += raw
            if response.status is Status.CONTINUE:
                turn.waiting = response.text.encode("utf-8", "surrogateescape")
                assert turn.line is not None
                return Challenge(turn.waiting, turn.line)
            if not (response.ok and turn.line is not None and turn.line.expects_multi_line):
                return self._finish(turn, response, now)
            turn.response = response
        content = self._replies.content(self._most_rows(turn.line))
        if content is None:
            return None
        turn.received += content
        status = turn.response
        return self._finish(turn, Response(status.status, status.text, status.code, unstuff(content)), now)

    def _objection(self, turn: Turn, raw: bytes, response: Response | None) -> Problem | None:
        if response is None:
            word = raw[:5].split()[:1]
            if word and word[0] not in _INDICATORS and word[0].upper() in _INDICATORS:
                return Problem("lower-case")
            return Problem("not-pop3", next((name for head, name in _SPEAKS if raw.startswith(head)), ""))
        if response.status is Status.CONTINUE and not (turn.line and turn.line.spec and turn.line.spec.continues):
            return Problem("challenge")
        return None

    def _most_rows(self, line: CommandLine | None) -> int | None:
        """How many lines the content may have; mail is bounded by octets alone."""
        if line is None or line.spec is None:
            return None
        if line.spec.content is Content.CAPABILITIES:
            return self._limits.capability_lines
        if line.spec.multi_line is MultiLine.WITHOUT_ARGUMENT:
            return self._limits.listing_lines
        return None

    def _finish(self, turn: Turn, response: Response, now: float) -> Exchange:
        """The reply is whole: move the state by the table and record."""
        before, seen = self.state, self.maildrop
        line = turn.line
        if line is None:
            if response.ok:
                self.state = State.AUTHORIZATION
                self.stamp = stamp(response.text)
        else:
            spec = line.spec
            # A server that accepts what the table forbids has moved all the same: we record what happened.
            if spec and response.ok:
                self.state = spec.transitions.get(before, before)
            elif spec and line.blunder is None:  # `QUIT x` is refused for its form and leads nowhere
                self.state = spec.on_err.get(before, before)
            self.follows = line.name if response.ok else ""
            if spec and response.ok:
                self.done |= {spec.name}
                if spec.starts_tls and before in spec.transitions and not self.tls:
                    self.wants_tls = True
                if spec.logs_in or spec.name == "CAPA":
                    # RFC 2449 §5: some capabilities differ after login; what was announced before may be gone.
                    self.capabilities = response.capabilities() if spec.name == "CAPA" else None
            self.maildrop = self.maildrop.after(line, response, bool(spec and spec.logs_in))
        self._turn = None
        record = self._record(turn, response, before, self.state, seen, None, now)
        self._last_list = self.capabilities or self._last_list
        return record

    def _break(self, turn: Turn | None, problem: Problem, raw: bytes, now: float) -> Exchange:
        """A fault after which nothing is trusted."""
        self.broken = problem
        self._turn = None
        turn = turn or Turn(None, b"", now)
        turn.received += raw
        return self._fault(turn, problem, now, self.state)

    def _fault(self, turn: Turn, problem: Problem, now: float, after: State) -> Exchange:
        return self._record(turn, turn.response, self.state, after, self.maildrop, problem, now)

    def _unasked(self, raw: bytes, now: float) -> Exchange:
        turn = Turn(None, b"", now)
        turn.received += raw
        line = raw[:-2] if raw.endswith(CRLF) else raw
        return self._record(turn, read_status(line), self.state, self.state, self.maildrop, Problem("unasked"), now)

    def _record(
        self,
        turn: Turn,
        response: Response | None,
        before: State,
        after: State,
        seen: MaildropView,
        problem: Problem | None,
        now: float,
    ) -> Exchange:
        return Exchange(
            turn.line,
            response,
            before,
            after,
            sent=turn.sent,
            received=bytes(turn.received),
            steps=tuple(turn.steps),
            problem=problem,
            tls=self.tls,
            maildrop_before=seen,
            maildrop=self.maildrop,
            capabilities_before=self._last_list,
            secrets=self._secrets,
            ahead=turn.ahead,
            started=turn.started,
            finished=now,
        )


__all__ = ["Challenge", "Connection", "Due"]
