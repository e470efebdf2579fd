"""Shell: what happens between a typed line and the screen, without keyboard or terminal. It only submits and shows.

A front end (repl.py for a terminal, batch.py for pipes and `--plain`) brings a Screen and calls `run()` with each line.
Everything that may destroy mail or give a password away on a real server is asked about here (the seat belt), and
nowhere is a line refused for being wrong: its `-ERR` is the lesson.

Traps. A reply may come when nobody waits (after Ctrl-C, or unasked): `late()` shows it above the prompt, in order. The
server may close at any time. A "real" server is every connection that was not opened to this program's own practice
server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from popshell.learn.catalog import Catalog, Words
from popshell.learn.explain import Note, explain
from popshell.protocol.commandline import CommandLine, parse
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge
from popshell.protocol.exchange import Exchange
from popshell.session import Event, Session, Unsendable
from popshell.ui import diagram, render
from popshell.ui.theme import Palette
from popshell.ui.wrap import Line

if TYPE_CHECKING:
    from popshell.ui.tutor import Tutor

#: How long the server may take to close after QUIT, in seconds, before we close.
CLOSING_TIME = 2.0
#: After so many seconds the shell says what it waits for. Slow refusals are common: Courier 1.0.16 takes 5 s.
HANG_TIME = 3.0
#: After so many seconds without a whole reply nobody waits any longer (docs/reference-limits.md).
REPLY_TIME = 60.0
GREETING_TIME = 30.0
#: The practice server answers at once, or it plays dead (a lesson's condition): a script need not wait for long.
PRACTICE_TIME = 4.0


class Place(NamedTuple):
    """Where a connection leads. `practice` is this program's own server only."""

    label: str
    practice: bool
    loopback: bool
    insecure: bool = False
    #: the practice server's autologout in seconds, None if not known
    autologout: float | None = None
    #: STLS is to be given before anything else (`--tls stls`)
    stls: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """An open connection: its session, its place, and TLS facts for `:tls` once TLS is on."""

    session: Session
    place: Place
    tls_facts: Callable[[], dict[str, object]] = dict


class CallError(Exception):
    """A connection that could not be made or was lost; `code` names words in `messages.toml`, `[net]`."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


class Shown(NamedTuple):
    """How much of a reply was shown."""

    lines: int
    total: int

    @property
    def left(self) -> int:
        return self.total - self.lines


class Screen(Protocol):
    """Where a Shell shows things; a terminal, plain text, or JSON."""

    ascii: bool
    interactive: bool
    hidden: str
    echoes: bool
    pauses: bool
    palette: Palette

    @property
    def columns(self) -> int: ...

    @property
    def rows(self) -> int:
        """How many lines can be seen at once."""

    def drawn(self, lines: Iterable[Line]) -> str:
        """Lines of our own as text, escapes of ours included."""

    def lines(self, lines: Iterable[Line]) -> None:
        """Show lines of our own, already safe."""

    def notes(self, lines: Iterable[Line]) -> None:
        """Show the notes on a reply."""

    def command(self, line: CommandLine | None, masked: bool, note: str = "") -> None:
        """Show a line that is sent; None is an answer to a challenge."""

    def reply(self, exchange: Exchange, start: int = 0, most: int | None = None) -> Shown:
        """Show the reply of an Exchange, from content line `start`."""

    def challenge(self, challenge: Challenge) -> None: ...

    def state_changed(self, before: State, after: State, drawn: list[Line]) -> None:
        """Show the arrow that was taken."""

    def record(self, exchange: Exchange, notes: list[Note]) -> None:
        """The whole record, for screens that write records (JSON)."""

    def interrupt(self, show: Callable[[], None]) -> None:
        """Call `show` so that it does not garble a line that is being typed."""

    async def ask(self, question: str) -> str:
        """Ask; the answer as typed, "" if nobody can answer."""

    async def ask_hidden(self, question: str, *, piped: bool = False) -> str | None:
        """Ask for a secret; None if that is not possible here."""

    def styled(self, text: str) -> None:
        """Show a page that was laid out for `columns` already, escapes of ours included."""

    def waiting(self, text: str) -> None: ...


Dial = Callable[[str | None, Callable[[Event], None], Callable[[Exception | None], None]], Awaitable[Call]]


@dataclass(slots=True, eq=False, repr=False)
class Options:
    """What the user chose; `:notes`, `:lang`, `:reveal` change it."""

    language: str = "en"
    notes: str = "full"
    reveal: bool = False
    yes: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Tally:
    """What decides the exit code of a run without terminal."""

    refused: bool = False
    usage: bool = False
    failed: bool = False

    def exit_code(self) -> int:
        return 3 if self.failed else 2 if self.usage else 1 if self.refused else 0


class Leave(Exception):
    """The user leaves the shell."""


@dataclass(slots=True, eq=False, repr=False)
class Shell:
    """One shell: a catalog of words, a screen, a way to connect, and at most one open call."""

    catalog: Catalog
    screen: Screen
    dial: Dial
    options: Options
    call: Call | None = None
    tally: Tally = field(default_factory=Tally)
    #: exchanges of earlier connections of this run, for `:save` and `:ladder`
    earlier: list[Exchange] = field(default_factory=list)
    #: the last long reply and how many of its lines were shown, for `:more`
    cut_short: tuple[Exchange, int] | None = None
    #: the lines of a long page that were not shown yet, for `:more`
    page_rest: list[str] = field(default_factory=list)
    #: the course, once one was begun; `make_tutor` begins it
    tutor: Tutor | None = None
    make_tutor: Callable[[Shell], Tutor] | None = None
    #: what the practice server's maildrop would hold after QUIT, and after the line going dead (`:fork`)
    fork: Callable[[], tuple[tuple[int, ...], tuple[int, ...]]] | None = None
    #: text that a meta command puts at the prompt, unsent
    draft: str = ""
    asked_dele: bool = False
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _expected_end: bool = False
    #: a reply is waited for or being shown; that the line closed with it is told behind it, by `_untold`
    _showing: bool = False
    _untold: Callable[[], None] | None = None
    _upgrading: asyncio.Future[None] | None = None

    # -- words and looks -----------------------------------------------------------------------------------------------

    @property
    def words(self) -> Words:
        return self.catalog.words(self.options.language)

    def say(self, key: str, *, style: str = "note", **facts: object) -> None:
        """Show one of our own texts."""
        self.screen.lines(render.paragraph(self.words(key, **facts), self.screen.columns, style=style))

    def page(self, text: str) -> None:
        """Show a text that is laid out already, a windowful at a time."""
        rows = text.splitlines(keepends=True)
        most = self.screen.rows - 6
        first = len(rows) if len(rows) <= most + 2 else most
        self.screen.styled("".join(rows[:first]))
        self.page_rest, self.cut_short = rows[first:], None
        if self.page_rest:
            self.say("shell.more", left=len(self.page_rest), total=len(rows))

    @property
    def session(self) -> Session | None:
        return self.call.session if self.call and not self.call.session.ended else None

    @property
    def state(self) -> State:
        return self.session.connection.state if self.session else State.CLOSED

    def exchanges(self) -> list[Exchange]:
        return [*self.earlier, *(self.call.session.transcript if self.call else ())]

    # -- connecting ----------------------------------------------------------------------------------------------------

    async def connect(self, where: str | None = None) -> bool:
        """Open a connection and show the greeting; False, with the reason shown, if it failed."""
        if self.call is not None:
            self.earlier += self.call.session.transcript
            self.hang_up()
        return await self.take_call(self.dial(where, self.late, self.ended))

    async def learn(self, lesson: str) -> bool:
        """Begin the course at `lesson`, or where the learner left (""). False, and why is shown, if it cannot be."""
        from popshell.ui.meta import begin_course

        return await begin_course(self, lesson)

    async def take_call(self, dialled: Awaitable[Call], *, quiet: bool = False) -> bool:
        """Take a connection that is being opened; `quiet` shows nothing of its beginning (lessons play theirs)."""
        self._closing = asyncio.Event()
        self._expected_end = False
        self.asked_dele = False
        try:
            self.call = await dialled
            place = self.call.place
            # The banner has told of the first connection, a lesson of its own.
            if not quiet and (not place.practice or (self.earlier and self.tutor is None)):
                self.say("shell.connected-practice" if place.practice else "shell.connected", place=place.label)
            with self._in_order():
                greeting = await self.reply_to(self.call.session.greeting)
                if not quiet:
                    await self.show(greeting)
                if place.stls and self.session is not None:
                    await self._insist_on_stls()
        except CallError as error:
            self.fail(error)
            return False
        except asyncio.CancelledError:
            # Ctrl-C before TLS is on: nothing may go out in clear text (sec-T3).
            if self.session is not None and self.call is not None and self.call.place.stls:
                self.hang_up()
                self.fail(CallError("stls-refused"))
            raise
        return self.session is not None

    async def _insist_on_stls(self) -> None:
        """`--tls stls`: STLS first, shown as sent by the shell; without TLS there is no session (sec-T3)."""
        assert self.session is not None
        line = parse("STLS", self.session.connection.context())
        self.screen.command(line, True, self.words("shell.sent-by-shell"))
        await self.show(await self.reply_to(self.session.submit("STLS")))
        if self.session is None or not self.session.connection.tls:
            self.hang_up()
            raise CallError("stls-refused")

    def fail(self, error: CallError) -> None:
        """Show why a connection could not be made or was lost."""
        self.tally.failed = True
        key = f"net.{error.code}" if self.words.get(f"net.{error.code}") else "net.other"
        facts = {"reason": error.code, "host": "?", "port": "?", **error.facts}
        self.say(key, style="err", **facts)

    async def closing(self) -> None:
        """Until the server has closed; no longer than it may take."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), CLOSING_TIME)

    def seconds_left(self) -> float | None:
        """Seconds to the practice server's autologout; None elsewhere."""
        session, call = self.session, self.call
        if session is None or call is None or call.place.autologout is None:
            return None
        return session.last_sent + call.place.autologout - session.now()

    def hang_up(self) -> None:
        """Close the line without QUIT."""
        if self.session is not None:
            self._expected_end = True
            self.session.hang_up()

    def ended(self, error: Exception | None) -> None:
        """The connection closed: by QUIT, by us, or all of a sudden."""
        self._closing.set()
        if self._expected_end:
            return
        lost = self.tutor
        session = self.call.session if self.call else None
        marks = session.connection.maildrop.marks if session else frozenset()
        before = session.transcript[-1].after if session and session.transcript else State.CLOSED

        def tell() -> None:
            self.say("shell.server-closed", style="warn")
            self.moved(before, State.CLOSED)
            if marks:
                self.say("shell.closed-with-marks", style="warn", marks=", ".join(map(str, sorted(marks))))
            if lost is not None:
                lost.line_lost()

        if self._showing:
            self._untold = tell
        else:
            self.screen.interrupt(tell)

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """First the reply, then that the line closed with it, whichever is heard first; after QUIT it must close."""
        outer, self._showing = self._showing, True
        try:
            yield
        finally:
            self._showing = outer
            if not outer and self._untold is not None:
                tell, self._untold = self._untold, None
                if not self._expected_end:
                    self.screen.interrupt(tell)

    # -- a line --------------------------------------------------------------------------------------------------------

    async def run(self, text: str) -> None:
        """Run one typed line: a meta command if it begins with a colon, else POP3. Raises Leave."""
        try:
            if text.startswith(":"):
                from popshell.ui.meta import run_meta

                await run_meta(self, text)
            else:
                await self.send(text)
        except CallError as error:
            self.fail(error)

    async def run_block(self, lines: list[str]) -> None:
        """Run several lines; what CAPA allows to be pipelined goes out in one flight (RFC 2449 §6.6)."""
        while lines:
            session = self.session
            if session is None and not lines[0].startswith(":"):
                self.say("shell.not-connected", style="warn")
                self._keep(lines)
                return
            flight = 1
            if session and session.connection.capabilities and "PIPELINING" in session.connection.capabilities:
                flight = self._flight(lines)
            now, lines = lines[:flight], lines[flight:]
            try:
                await (self._send_flight(now) if flight > 1 else self.run(now[0]))
            except asyncio.CancelledError:
                self._keep(lines)
                raise

    def _keep(self, lines: list[str]) -> None:
        """Lines that were not sent go back to the prompt."""
        if lines:
            self.draft = "\n".join(lines)
            self.say("shell.paste-kept")

    def _flight(self, lines: list[str]) -> int:
        """How many of the first lines may go out together: up to one whose reply decides what is next."""
        for count, text in enumerate(lines, 1):
            line = parse(text)
            if text.startswith(":") or line.spec is None or line.spec.name == "DELE" or line.has("control"):
                return max(1, count - 1)
            if line.spec.ends_pipeline:
                return max(1, count - 1)
        return len(lines)

    async def _send_flight(self, lines: list[str]) -> None:
        self.say("shell.pipelined", count=len(lines))
        futures = []
        with self._in_order():
            for text in lines:
                if self.session is None:
                    break  # why is told with the replies to the lines before it
                line = parse(text, self.session.connection.context())
                self.screen.command(line, True)
                with contextlib.suppress(ConnectionError):
                    futures.append(self.session.submit(text))
            for future in futures:
                await self.show(await self.reply_to(future))

    async def send(self, text: str) -> None:
        """Send one line as typed and show what comes back."""
        session = self.session
        if session is None:
            self.say("shell.not-connected", style="warn")
            self.tally.failed = self.tally.failed or not self.screen.interactive
            return
        if session.connection.challenged:
            self.screen.command(None, text != "*")
            await self._exchange(session, text)
            return
        line = parse(text, session.connection.context())
        text, line = await self._ask_for_password(session, text, line)
        if not await self._allowed(session, line):
            return
        if self.tutor is not None and self.tutor.holds(line):
            return
        reveal = self.options.reveal and self.call is not None and self.call.place.practice
        self.screen.command(line, not reveal)
        await self._exchange(session, text)

    async def _exchange(self, session: Session, text: str) -> None:
        try:
            future = session.submit(text)
        except Unsendable:
            self.say("shell.unsendable", style="err")
            self.tally.usage = True
            return
        except ConnectionError:  # the line closed while something was asked
            self.say("shell.not-connected", style="warn")
            self.tally.failed = True
            return
        with self._in_order():
            await self.show(await self.reply_to(future))

    async def _ask_for_password(self, session: Session, text: str, line: CommandLine) -> tuple[str, CommandLine]:
        """A bare PASS asks hidden; an empty answer sends it bare."""
        spec = line.spec
        if spec is None or spec.name != "PASS" or len(line.tokens) > 1 or line.has("must-follow"):
            return text, line
        secret = await self.screen.ask_hidden(self.words("shell.password"))
        if secret:
            text = f"{text.rstrip()} {secret}"
            line = parse(text, session.connection.context())
        return text, line

    async def _allowed(self, session: Session, line: CommandLine) -> bool:
        """The seat belt for real servers: DELE once, QUIT with marks always, a clear-text password (sec-U7, T5)."""
        place = self.call.place if self.call else None
        if place is None:
            return True
        state, view = session.connection.context().state, session.connection.maildrop
        marks = ", ".join(map(str, sorted(view.marks)))
        name = line.spec.name if line.spec else ""
        if name == "QUIT" and view.marks and state is State.TRANSACTION:
            if place.practice:
                self.say("shell.quit-erases", style="warn", marks=marks, count=len(view.marks))
                return True
            return await self._consent("shell.ask-quit", name, marks=marks, count=len(view.marks), place=place.label)
        if place.practice:
            return True
        if name == "DELE" and state is State.TRANSACTION and not self.asked_dele:
            self.asked_dele = await self._consent("shell.ask-dele", name, place=place.label)
            return self.asked_dele
        # A slip of PASS holds the password as well, and AUTH will ask for one.
        secret = any(token.secret for token in line.tokens) or (line.spec is not None and line.spec.continues)
        if secret and name != "APOP" and not session.connection.tls and not place.loopback:
            return await self._consent("shell.ask-clear-text", name, place=place.label)
        return True

    async def _consent(self, key: str, command: str, **facts: object) -> bool:
        if self.options.yes:
            return True
        if not self.screen.interactive:
            self.say("shell.needs-yes", style="err", command=command)
            self.tally.usage = True
            return False
        answer = await self.screen.ask(self.words(key, **facts))
        agreed = answer.strip().lower() in ("yes", self.words("shell.yes"))
        if not agreed:
            self.say("shell.not-sent", style="warn")
        return agreed

    # -- replies -------------------------------------------------------------------------------------------------------

    async def reply_to(self, future: asyncio.Future[Event | None]) -> Event | None:
        """Wait for a reply; Ctrl-C cancels the waiting, not the reply (sec-U1)."""
        session = self.session
        limit = GREETING_TIME if session and session.greeting is future else REPLY_TIME
        if self.call is not None and self.call.place.practice and not self.screen.interactive:
            limit = PRACTICE_TIME
        try:
            done, _ = await asyncio.wait({future}, timeout=HANG_TIME)
            if not done and session is not None:
                self._say_what_is_due()
                await asyncio.wait({future}, timeout=limit - HANG_TIME)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if future.done():
            return future.result()
        future.cancel()
        if not self.screen.interactive:
            self.hang_up()
            if self.tutor is not None:
                self.tutor.line_lost()
            raise CallError("reply-timeout", seconds=round(limit))
        due = session.connection.due() if session else None
        self.say("shell.interrupted", style="warn", command=due.command.name if due and due.command else "?")
        return None

    def _say_what_is_due(self) -> None:
        """The hang watch: what has come of the reply so far, and what is missing."""
        assert self.session is not None
        due = self.session.connection.due()
        if due is None:
            return
        name = due.command.name if due.command else self.words("problem.greeting")
        if due.bare_lf_dot:
            key = "shell.waiting-bare-lf"
        elif due.octets:
            key = "shell.waiting-terminator" if due.command and due.command.expects_multi_line else "shell.waiting-line"
        else:
            key = "shell.waiting" if due.command else "shell.waiting-greeting"
        self.screen.waiting(self.words(key, command=name, lines=due.lines, octets=due.octets))

    def late(self, event: Event) -> None:
        """A reply that nobody waits for any more, or bytes that nobody asked for."""
        if self._expected_end and isinstance(event, Exchange) and event.problem is not None:
            self.screen.record(event, [])
            return  # it will never come, because we closed

        def tell() -> None:
            if isinstance(event, Exchange):
                if event.problem is None and event.command is not None:
                    self.say("shell.late", command=event.command.name)
                self.show_exchange(event)
            else:
                self.screen.challenge(event)

        self.screen.interrupt(tell)
        if self.session is not None and self.session.connection.wants_tls:
            self._upgrading = asyncio.ensure_future(self._upgrade(self.session))

    async def show(self, event: Event | None) -> None:
        """Show what came, and do what it asks for: TLS after STLS, the end after QUIT."""
        if event is None:
            return
        if isinstance(event, Challenge):
            self.screen.challenge(event)
            self.say("shell.challenge" if self.options.notes == "full" else "shell.challenge-brief")
            return
        self.show_exchange(event)
        session = self.session
        if session is not None and session.connection.wants_tls:
            await self._upgrade(session)
        if event.name == "QUIT" and event.after in (State.UPDATE, State.CLOSED) and event.response is not None:
            await self._see_the_end(event.after)

    async def _upgrade(self, session: Session) -> None:
        try:
            await session.start_tls()
        except Exception as error:
            code = getattr(error, "code", "tls-failed")
            facts = getattr(error, "facts", {})
            before = self.state
            self.hang_up()
            self.fail(CallError(code, **facts))
            self.moved(before, State.CLOSED)
            return
        facts = self.call.tls_facts() if self.call else {}
        self.say("shell.tls-on", style="lock", **{"version": "TLS", "cipher": "", **facts})

    async def _see_the_end(self, before: State) -> None:
        self._expected_end = True
        try:
            await asyncio.wait_for(self._closing.wait(), CLOSING_TIME)
        except TimeoutError:
            self.hang_up()
        self.say("shell.closed")
        if self.tutor is not None:
            self.tutor.goodbye()
        if before is State.UPDATE:  # said, not drawn: the arrow to UPDATE stands right above
            self.screen.state_changed(before, State.CLOSED, [])

    def show_exchange(self, exchange: Exchange) -> None:
        """The reply, the notes, and the arrow if the state changed."""
        notes = explain(exchange, self.catalog, self.options.language)
        if exchange.problem is not None and exchange.problem.code != "unasked":
            self.tally.failed = True
        elif exchange.response is not None and not exchange.response.ok:
            self.tally.refused = True
            if exchange.is_greeting:
                self.tally.failed = True
        self.screen.hidden = self.words.get("shell.hidden") or ""
        # The practice server never repeats what it was sent (sec-V3): nothing of its words needs a mask.
        self.screen.echoes = not (self.call is not None and self.call.place.practice)
        shown = self.screen.reply(exchange)
        self.cut_short = (exchange, shown.lines) if shown.left > 0 else None
        self.page_rest = []
        if self.cut_short:
            self.say("shell.more", left=shown.left, total=shown.total)
        columns = self.screen.columns
        if self.options.notes != "off":
            if self.options.notes == "brief":
                notes = notes[:1]
            lines = render.note_lines(notes, columns, ascii=self.screen.ascii, cite=self.options.notes == "full")
            self.screen.notes(lines)
        self.moved(exchange.before, exchange.after, exchange.command.name if exchange.command else None)
        self.screen.record(exchange, notes)
        if self.tutor is not None:
            self.tutor.saw(exchange)
        if exchange.name in ("HELP", "EXIT", "?", "LOGOUT") and self.screen.interactive:
            self.say("shell.meta-hint")

    def moved(self, before: State, after: State, command: str | None = None) -> None:
        """Draw the arrow that was taken, if one was; without a command the line was lost."""
        if before is not after:
            columns = self.screen.columns - 3
            drawn = diagram.arrow(before, after, command, columns, self.screen.ascii, self.words)
            self.screen.state_changed(before, after, drawn)

    # -- leaving -------------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Leave without QUIT; with marks set, name them and ask first. Raises Leave if it is so."""
        session = self.session
        marks = session.connection.maildrop.marks if session else frozenset()
        if marks and self.screen.interactive:
            listed = ", ".join(map(str, sorted(marks)))
            answer = await self.screen.ask(self.words("shell.ask-leave", marks=listed, count=len(marks)))
            if answer.strip().lower() not in ("y", "yes", self.words("shell.yes")):
                return
        self.hang_up()
        raise Leave
