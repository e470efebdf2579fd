"""Shell: what happens between a typed line and the screen, without keyboard or terminal. It only submits and shows.

A front end (repl.py for a terminal, batch.py for pipes and `--plain`) brings a Screen and calls `run()` with each line.
Everything that may destroy mail or give a password away on a real server is asked about first (seatbelt.py), and
nowhere is a line refused for being wrong: its `-ERR` is the lesson.

Traps. A reply may come when nobody waits (after Ctrl-C, or unasked): `late()` shows it above the prompt, in order. The
server may close at any time. A "real" server is every connection that was not opened to this program's own practice
server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from popshell.course.catalog import Catalog, Words
from popshell.course.explain import explain
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge
from popshell.protocol.line import CommandLine, parse
from popshell.protocol.records import Exchange
from popshell.session import ConnectError, Event, OpenConnection, Session, Unsendable
from popshell.ui import diagram, ending, render, seatbelt, waiting
from popshell.ui.order import Order

if TYPE_CHECKING:
    from popshell.ui.screen import Screen
    from popshell.ui.tutor import Tutor

Dial = Callable[[str | None, Callable[[Event], None], Callable[[Exception | None], None]], Awaitable[OpenConnection]]


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


class Misused(Exception):
    """What stands behind a meta command is missing or makes no sense: its usage is shown."""


@dataclass(slots=True, eq=False, repr=False)
class Shell:
    """One shell: a catalog of words, a screen, a way to connect, and at most one open call."""

    catalog: Catalog
    screen: Screen
    dial: Dial
    options: Options
    call: OpenConnection | None = None
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
    #: a connection stood once: what was wrong at the very beginning ends the program instead
    begun: bool = False
    #: the line ends by our doing, or by words of its own: `ended` has nothing to tell
    expected_end: bool = False
    #: what came behind a reply is told behind it
    order: Order = field(init=False)
    _upgrading: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.screen.text_of = lambda key: self.words.get(key) or ""
        self.order = Order(lambda tell: self.screen.interrupt(tell))

    # -- words and looks -----------------------------------------------------------------------------------------------

    @property
    def words(self) -> Words:
        return self.catalog.words(self.options.language)

    def say(self, key: str, *, style: str = "note", **facts: object) -> None:
        """Show one of our own texts."""
        self.screen.lines(render.paragraph(self.words(key, **facts), self.screen.look, style=style))

    def page(self, text: str) -> None:
        """Show a text that is laid out already, a windowful at a time."""
        rows = text.splitlines(keepends=True)
        most = max(self.screen.rows - 6, 3)
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

    async def connect(self, where: str | None = None, *, asking: bool = False) -> bool:
        """Open a connection and show the greeting; False, with the reason shown, if it failed.

        An address that makes no sense costs nothing: it is read before the open connection is given up.
        """
        try:
            dialled = self.dial(where, self.late, self.ended)
        except ConnectError as error:
            self.fail(error)
            return False
        if asking and not await ending.may_part(self):
            if isinstance(dialled, Coroutine):
                dialled.close()
            return False
        self.put_away()
        return await self.take_call(dialled)

    def put_away(self, *, quiet: bool = False) -> None:
        """Give up the connection, if one is open, and keep its record: for `:save` and `:ladder`."""
        call, before = self.call, self.state
        if call is None:
            return
        was_open = self.session is not None
        self.hang_up()
        self.earlier += call.session.transcript
        self.call = None
        if was_open and not quiet:
            self.moved(before, State.CLOSED)
            ending.became_of_marks(self, call.session)

    async def learn(self, lesson: str) -> bool:
        """Begin the course at `lesson`, or where the learner left (""). False, and why is shown, if it cannot be."""
        from popshell.ui.coursework import begin_course

        return await begin_course(self, lesson)

    async def take_call(self, dialled: Awaitable[OpenConnection], *, quiet: bool = False) -> bool:
        """Take a connection that is being opened; `quiet` shows nothing of its beginning (lessons play theirs)."""
        self._closing = asyncio.Event()
        self.expected_end = False
        self.asked_dele = False
        try:
            self.call = await dialled
            place = self.call.endpoint
            # The banner has told of the first connection, a lesson of its own.
            if not quiet and (not place.practice or (self.earlier and self.tutor is None)):
                self.say("shell.connected-practice" if place.practice else "shell.connected", place=place.label)
            with self.order.kept():
                greeting = await waiting.reply_to(self, self.call.session.greeting)
                if not quiet:
                    await self.show(greeting)
                if place.stls and self.session is not None:
                    await self._insist_on_stls()
        except ConnectError as error:
            self.fail(error)
            return False
        except asyncio.CancelledError:
            # Ctrl-C before TLS is on: nothing may go out in clear text (sec-T3).
            if self.session is not None and self.call is not None and self.call.endpoint.stls:
                self.hang_up()
                self.fail(ConnectError("stls-refused"))
            raise
        self.begun = self.begun or self.session is not None
        return self.session is not None

    async def _insist_on_stls(self) -> None:
        """`--tls stls`: STLS first, shown as sent by the shell; without TLS there is no session (sec-T3)."""
        assert self.session is not None
        line = parse("STLS", self.session.connection.context())
        self.screen.command(line, True, self.words("shell.sent-by-shell"))
        reply = await waiting.reply_to(self, self.session.submit(line))
        await self.show(reply)
        if self.session is None or not self.session.connection.tls:
            self.hang_up()
            if not (isinstance(reply, Exchange) and reply.ok):  # else what went wrong behind it was told
                raise ConnectError("stls-refused")

    def fail(self, error: ConnectError) -> None:
        """Show why a connection could not be made or was lost."""
        self.tally.failed = True
        self.screen.lines(render.paragraph(self.net_words(error), self.screen.look, style="err"))

    def net_words(self, error: ConnectError) -> str:
        """A failure of the network or of TLS in words."""
        key = f"net.{error.code}" if self.words.get(f"net.{error.code}") else "net.other"
        return self.words(key, **{"reason": error.code, "host": "?", "port": "?", **error.facts})

    async def closing(self) -> bool:
        """Until the server has closed, no longer than it may take; whether it has."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), waiting.CLOSING_TIME)
        return self._closing.is_set()

    def seconds_left(self, session: Session | None = None) -> float | None:
        """Seconds to the practice server's autologout; None elsewhere."""
        session, call = session or self.session, self.call
        if session is None or call is None or call.endpoint.autologout is None:
            return None
        return session.last_sent + call.endpoint.autologout - session.now()

    def hang_up(self) -> None:
        """Close the line without QUIT."""
        if self.session is not None:
            self.expected_end = True
            self.session.close()

    def ended(self, error: Exception | None) -> None:
        """The connection closed: by QUIT, by us, or all of a sudden."""
        self._closing.set()
        session = self.call.session if self.call else None
        if self.expected_end or session is None:
            return
        before = session.transcript[-1].after if session.transcript else State.CLOSED
        self.order.tell(lambda: None if self.expected_end else ending.tell(self, session, before, error))

    # -- a line --------------------------------------------------------------------------------------------------------

    async def run(self, text: str) -> None:
        """Run one typed line: a meta command if it begins with a colon, else POP3. Raises Leave."""
        try:
            if text.startswith(":"):
                from popshell.ui.meta import run_meta

                await run_meta(self, text)
            else:
                await self.send(text)
        except ConnectError as error:
            self.fail(error)

    async def send(self, text: str) -> None:
        """Send one line as typed and show what comes back."""
        session = self.session
        if session is None:
            self.say("shell.not-connected", style="warn")
            self.tally.failed = self.tally.failed or not self.screen.interactive
            return
        if session.connection.challenged:
            await self._exchange(session, text, None, masked=text != "*")
            return
        line = await seatbelt.with_password(self, parse(text, session.connection.context()))
        if line is None or not await seatbelt.allows(self, line):
            return
        if self.tutor is not None and self.tutor.holds(line):
            return
        reveal = self.options.reveal and self.call is not None and self.call.endpoint.practice
        await self._exchange(session, line.text, line, masked=not reveal)

    async def _exchange(self, session: Session, text: str, line: CommandLine | None, *, masked: bool) -> None:
        """Send; only what went out is shown as sent. `line` is None for an answer to a challenge."""
        try:
            future = session.submit(text if line is None else line)
        except Unsendable:
            self.say("shell.unsendable", style="err")
            self.tally.usage = True
            return
        except ConnectionError:  # the line closed while something was asked
            self.say("shell.not-connected", style="warn")
            self.tally.failed = True
            return
        self.screen.command(line, masked)
        with self.order.kept():
            await self.show(await waiting.reply_to(self, future))

    # -- replies -------------------------------------------------------------------------------------------------------

    def late(self, event: Event) -> None:
        """A reply that nobody waits for any more, or bytes that nobody asked for."""
        if self.expected_end and isinstance(event, Exchange) and event.problem is not None:
            self.screen.record(event, [])
            return  # it will never come, because we closed

        def tell() -> None:
            if isinstance(event, Exchange):
                if event.problem is None and event.command is not None:
                    self.say("shell.late", command=event.command.name)
                self.show_exchange(event)
            else:
                self.screen.challenge(event)

        self.order.tell(tell)
        session = self.session
        if session is not None and session.connection.wants_tls and session.connection.broken is None:
            self._upgrading = asyncio.ensure_future(ending.begin_tls(self, session))

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
            await ending.begin_tls(self, session)
        if event.name == "QUIT" and event.after in (State.UPDATE, State.CLOSED) and event.response is not None:
            await ending.after_quit(self, event.after)

    def show_exchange(self, exchange: Exchange) -> None:
        """The reply, the notes, and the arrow if the state changed."""
        notes = explain(exchange, self.catalog, self.options.language)
        if exchange.problem is not None and exchange.problem.code != "unasked":
            self.tally.failed = True
        elif exchange.response is not None and not exchange.response.ok:
            self.tally.refused = True
            if exchange.is_greeting:
                self.tally.failed = True
        # The practice server never repeats what it was sent (sec-V3): nothing of its words needs a mask.
        self.screen.echoes = not (self.call is not None and self.call.endpoint.practice)
        shown = self.screen.reply(self._with_evidence(exchange))
        self.cut_short = (exchange, shown.lines) if shown.left > 0 else None
        self.page_rest = []
        if self.cut_short:
            self.say("shell.more", left=shown.left, total=shown.total)
        if self.options.notes != "off":
            if self.options.notes == "brief":
                notes = notes[:1]
            lines = render.note_lines(notes, self.screen.look, cite=self.options.notes == "full")
            self.screen.notes(lines)
        self.moved(exchange.before, exchange.after, exchange.command.name if exchange.command else None)
        self.screen.record(exchange, notes)
        if self.tutor is not None:
            self.tutor.saw(exchange)
        if exchange.name in ("HELP", "EXIT", "?", "LOGOUT") and self.screen.interactive:
            self.say("shell.meta-hint")

    def _with_evidence(self, exchange: Exchange) -> Exchange:
        """Bytes between STLS and TLS are no part of the record, since TCP may cut them anywhere; but they are shown."""
        if self.call is None or exchange.problem is None or exchange.problem.code != "stls-injection":
            return exchange
        return replace(exchange, received=self.call.session.connection.injected)

    def moved(self, before: State, after: State, command: str | None = None) -> None:
        """Draw the arrow that was taken, if one was; without a command the line was lost."""
        if before is not after:
            drawn = diagram.arrow(before, after, command, self.screen.look.within(-2), self.words)
            self.screen.state_changed(before, after, drawn)

    # -- leaving -------------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Leave without QUIT; with marks set, name them and ask first. Raises Leave if it is so."""
        if await ending.may_part(self):
            self.hang_up()
            raise Leave
