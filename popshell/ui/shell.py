"""Shell: what happens between a typed line and the connection, without keyboard or terminal.

A front end (front.py) calls `run()` with each line. What happens is published (events.py); subscribers show it,
record it or judge it, and the Shell knows none of them. Nowhere is a line refused for being wrong: its `-ERR` is the
lesson. What may destroy mail or give a password away is held by a gate (safety.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import time
from typing import Any, Protocol, TextIO

from popshell.course.catalog import LANGUAGES, Catalog, Words
from popshell.course.explain import Note, explain
from popshell.passwords import Passwords
from popshell.protocol.commands import State
from popshell.protocol.line import CommandLine, parse
from popshell.protocol.records import Exchange
from popshell.protocol.wire import Stream
from popshell.session import ConnectError, Endpoint, Event, OpenConnection, Session, Step, Unsendable
from popshell.tuples import NamedTuple
from popshell.ui import events, layout
from popshell.ui.events import End, ShellEvent, Tally
from popshell.ui.layout import Line
from popshell.ui.link import Link
from popshell.ui.screen import Screen
from popshell.visible import fault_of, show

Dial = Callable[
    [str | None, Callable[[Event, bool], None], Callable[[Exception | None], None], Callable[[Step], None]],
    Awaitable[OpenConnection],
]
#: Looks at a line before it is sent: the line as it may go out, or None if it may not; then the gate has said why.
Gate = Callable[[CommandLine], Awaitable[CommandLine | None]]
#: What people type at a prompt of POP3 when they want to leave the shell or be helped by it.
_NOT_POP3 = ("HELP", "EXIT", "?", "LOGOUT")


class Options:
    """What the user chose; `:notes`, `:lang`, `:reveal` change it."""

    def __init__(self, language: str = "en", notes: str = "full", *, yes: bool = False) -> None:
        self.language, self.notes, self.yes = language, notes, yes
        self.reveal = False
        #: where `--log` writes
        self.log: TextIO | None = None
        #: where passwords come from if they are not typed
        self.passwords: Passwords | None = None


class Leave(Exception):
    """The user leaves the shell."""


class Refused(Exception):
    """A meta command cannot be done: what is said of it, by its key. Without a key its usage is shown."""

    def __init__(self, key: str = "", style: str = "warn", **facts: object) -> None:
        super().__init__(key)
        self.key, self.style, self.facts = key, style, facts


class Undone(Exception):
    """What a meta command is for has failed, and that is said: lines that follow it in a block relied on it."""


class Meta(NamedTuple):
    """One of the shell's own commands. `choices` are the words that its parameter can be; `also` are further names;
    `connected`: it is for an open connection. What it does in words stands in `messages.toml`, `[meta]`.
    """

    name: str
    run: Callable[[Shell, str], Awaitable[None]]
    param: str = ""
    choices: Callable[[], tuple[str, ...]] = tuple
    also: tuple[str, ...] = ()
    connected: bool = False

    @property
    def usage(self) -> str:
        return f":{self.name} {self.param}".rstrip()


class MetaCommands(Protocol):
    """The table of the shell's own commands (metas.py)."""

    @property
    def rows(self) -> Mapping[str, Meta]: ...

    def found(self, name: str) -> list[Meta]:
        """The commands that a name, or the beginning of one, may stand for."""

    def one(self, shell: Shell, name: str) -> Meta | None:
        """The command of that name, or None, and what else it may be is said."""

    async def run(self, shell: Shell, text: str) -> None:
        """Run one line that begins with a colon. Raises Leave."""


class Rest(NamedTuple):
    """What `:more` goes on with: the rows of a page that were not shown, or a reply from its content line `start`."""

    rows: tuple[str, ...] = ()
    exchange: Exchange | None = None
    start: int = 0


class Shell:
    """One shell: a catalog of words, a screen, a way to connect, and one link."""

    def __init__(self, catalog: Catalog, screen: Screen, dial: Dial, options: Options) -> None:
        self.catalog, self.screen, self.dial, self.options = catalog, screen, dial, options
        screen.text_of = lambda key: self.words.get(key) or ""
        #: the connection, before the first one and between two of them a link that leads nowhere
        self.link = Link(self.publish)
        self.tally = Tally()
        #: whether a connection has stood in this run: until then what fails ends the program
        self.begun = False
        #: called in order with each event; one that raises is reported, and the others get the event
        self.subscribers: list[Callable[[ShellEvent], None]] = []
        #: exchanges and the life of connections, with the seconds since 1970
        self.record: list[tuple[float, ShellEvent]] = []
        #: asked in order before a line is sent
        self.gates: list[Gate] = []
        #: asked in order about a line that a person typed, before it counts as POP3; True: understood, and done
        self.listeners: list[Callable[[str], Awaitable[bool]]] = []
        #: rows for the toolbar; the first that is not empty is shown
        self.toolbar: list[Callable[[], Line]] = []
        #: the shell's own commands, loaded when the first of them is typed
        self.metas: Callable[[], MetaCommands]
        #: the names of connections that `:connect` takes; its options as they are typed, with the keys of their words
        self.connections: tuple[str, ...] = ()
        self.connect_options: tuple[tuple[str, str], ...] = ()
        self.rest: Rest | None = None
        #: whether a new connection to the practice server is worth a line; a course opens one for each exercise
        self.announces_practice = True
        #: what the practice server's maildrop would hold after QUIT, and after the connection was lost (`:fork`)
        self.fork: Callable[[], tuple[tuple[int, ...], tuple[int, ...]]] | None = None
        #: whether a meta command shows what it asks for by itself: the challenges of AUTH, the content of RETR
        self.shows_itself = False
        #: the chain of certificates that was refused last, in facts (`:tls`)
        self.refused: Mapping[str, Any] | None = None
        self.draft = ""  # text that is put at the prompt, unsent
        self.held_back = False  # a login did not come about: what follows may be its secret
        self._output_failed: OSError | None = None

    # -- words and looks -----------------------------------------------------------------------------------------------

    @property
    def words(self) -> Words:
        return self.catalog.words(self.options.language)

    def say(self, key: str, *, style: str = "note", **facts: object) -> None:
        """Show one of our own texts."""
        self.screen.lines(layout.paragraph(self.words(key, **facts), self.screen.look, style=style))

    def page(self, text: str) -> None:
        """Show a text that is laid out already, a windowful at a time."""
        rows = text.splitlines(keepends=True)
        most = max(self.screen.rows - 6, 3)
        first = len(rows) if len(rows) <= most + 2 else most
        self.screen.styled("".join(rows[:first]))
        self.rest = Rest(tuple(rows[first:])) if rows[first:] else None
        if self.rest:
            self.say("shell.more", left=len(self.rest.rows), total=len(rows))

    def reply(self, exchange: Exchange, start: int = 0, most: int | None = None, *, begun: bool = False) -> None:
        """Show the reply of an exchange from content line `start`, `most` lines of it or what fits the window.

        `begun`: its status line and the lines before `start` were shown as they came.
        """
        shown = self.screen.reply(exchange, start, most, begun=begun)
        self.rest = Rest(exchange=exchange, start=start + shown.lines) if shown.left > 0 else None
        if self.rest:
            self.say("shell.more", left=shown.left, total=start + shown.total)

    @property
    def again(self) -> str:
        """How another try begins: inside the shell, or on the command line, where the first one ends the program."""
        return ":connect" if self.begun else "popshell"

    def net_words(self, error: ConnectError) -> str:
        """A failure of the network or of TLS in words."""
        key = f"net.{error.code}" if self.words.get(f"net.{error.code}") else "net.other"
        facts = {"reason": error.code, "host": "?", "port": "?", "again": self.again, "mode": "", **error.facts}
        host = f"[{facts['host']}]" if ":" in str(facts["host"]) else facts["host"]
        return self.words(key, **{"place": f"{host}:{facts['port']}", **facts})

    # -- asking --------------------------------------------------------------------------------------------------------

    async def confirm(self, question: str) -> bool:
        """Ask for a yes: `y`, `yes`, or the word of any language for it."""
        yes = {"y", "yes", *(self.catalog.words(tag)("shell.yes") for tag in LANGUAGES)}
        return (await self.screen.ask(question) or "").strip().lower() in yes

    # -- events --------------------------------------------------------------------------------------------------------

    def subscribe(self, heard: Callable[[ShellEvent], None]) -> None:
        self.subscribers.append(heard)

    def publish(self, event: ShellEvent) -> None:
        """Hand an event to all subscribers: at once, or above the line being typed if it was not waited for."""
        if isinstance(event, events.ALWAYS_LATE) or getattr(event, "late", False):
            self.screen.interrupt(lambda: self._hand_out(event))
        else:
            self._hand_out(event)

    def _hand_out(self, event: ShellEvent) -> None:
        if isinstance(event, events.Replied):
            notes = tuple(explain(event.exchange, self.catalog, self.options.language))
            event = event._replace(notes=notes[:1] if self.options.notes == "brief" else notes)
        elif isinstance(event, events.Unshown) and event.error is not None:
            event = event._replace(notes=(Note("err", self.net_words(event.error)),))
        if isinstance(event, events.RECORDED):
            self.record.append((time(), event))
        for heard in tuple(self.subscribers):  # a copy: a subscriber may subscribe another
            try:
                heard(event)
            except Exception as error:
                self.failed(error)

    def failed(self, error: Exception) -> None:
        """Report a fault of a subscriber; if even that fails, the output is gone, and `run()` raises it."""
        self.tally.failed = True
        try:
            if isinstance(error, OSError):
                raise error
            self.say("shell.fault", style="err", what=show(fault_of(error), keep=""))
        except OSError as failure:
            self._output_failed = self._output_failed or failure

    # -- connecting ----------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        return self.link.session

    @property
    def opened(self) -> OpenConnection | None:
        """The connection of the link, also when it has ended."""
        return self.link.connection

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the link leads, or led until it ended."""
        return self.opened.endpoint if self.opened else None

    @property
    def on_practice(self) -> bool:
        """Whether the link leads, or led, to the practice server of this program; any other is a "real" one."""
        return self.endpoint is not None and self.endpoint.practice

    @property
    def look_only(self) -> bool:
        return self.link.look_only and not self.options.yes

    @property
    def state(self) -> State:
        return self.link.state

    def exchanges(self) -> list[Exchange]:
        """The exchanges of all connections of this run."""
        return [event.exchange for _, event in self.record if isinstance(event, events.Replied | events.Unshown)]

    def exchanges_here(self) -> list[Exchange]:
        """The exchanges of the link, also when it has ended."""
        return self.opened.session.transcript if self.opened else []

    async def connect(self, where: str | None = None, *, silent: bool = False) -> bool:
        """Open a connection; False, with the reason shown, if it failed.

        An address is read before the open connection is given up, and before it is asked whether to give up marks on a
        real server. A person, who sees at the prompt which connection is open, gives it up only when the one to another
        place stands. `silent` as in Link.
        """
        link = Link(self.publish, patient=self.screen.interactive, silent=silent)
        try:
            connecting = self.dial(where, link.received, link.ended, link.step)
        except ConnectError as error:
            if error.answer:
                question = self.words("shell.passphrase", **error.facts)
                if error.answer(await self.screen.ask(question, hidden=True, piped=True)):
                    return await self.connect(where, silent=silent)
            self.publish(events.Failed(error))
            return False
        if not self.on_practice and not await self.may_part():
            if isinstance(connecting, Coroutine):
                connecting.close()
            return False
        if where not in (None, "practice") and self.session is not None and self.screen.interactive:
            stood = await self._change_to(link, connecting)
        else:
            self.put_away(End.REPLACED)
            self.link = link
            stood = await self._open(connecting, link)
            self.begun = self.begun or stood
        if stood and self.screen.interactive and self.endpoint is not None:
            self.draft = self.draft or self.endpoint.draft
            if self.draft and not self.screen.prompts:
                self.say("shell.draft-ready", line=self.draft)
        return stood

    async def _open(self, connecting: Awaitable[OpenConnection], link: Link) -> bool:
        """Whether the link stands; why it does not is published over it."""
        try:
            return await link.open(connecting)
        except ConnectError as error:
            link.publish(events.Failed(error))
            return False

    async def _change_to(self, link: Link, connecting: Awaitable[OpenConnection]) -> bool:
        """Open `link` while the one so far stays; what was said on it is shown when it stands, or has failed."""
        so_far, held = self.link, list[ShellEvent]()
        now = (events.Connecting, events.Connected, events.Waiting, Step)
        link.publish = lambda event: self.publish(event) if isinstance(event, now) else held.append(event)
        link.patient = False  # one that does not greet in time is given up
        stood = False
        try:
            stood = await self._open(connecting, link) and link.state is not State.CLOSED  # its greeting was +OK
        finally:
            if stood:
                self.put_away(End.REPLACED)
            self.link, link.publish, link.patient = link, self.publish, True
            for event in held:
                self.publish(event)
            if not stood:
                self.put_away(End.LEFT)
                self.link = so_far
                self.say("shell.stays", place=self.endpoint.label if self.endpoint else "")
        return stood

    def put_away(self, how: End) -> None:
        """Give up the link; its record stays, for `:save` and `:ladder`."""
        self.close(how)
        self.link = Link(self.publish)

    def close(self, how: End = End.LEFT) -> None:
        self.link.close(how)

    def seconds_left(self) -> float | None:
        return self.link.seconds_left() if self.session else None

    # -- a line --------------------------------------------------------------------------------------------------------

    async def run(self, text: str) -> bool:
        """Run one typed line: a meta command if it begins with a colon, else POP3.

        False if lines that follow it in a block relied on what failed. Raises Leave; OSError if nothing can be shown.
        """
        done = True
        try:
            if text.startswith(":"):
                await self.metas().run(self, text)
            elif not await self._understood(text):
                await self.send(text)
        except ConnectError as error:
            self.publish(events.Failed(error))
        except Undone:
            done = False
        self.check_output()
        return done

    def check_output(self) -> None:
        """Raises OSError if something could not be shown, since the output is gone."""
        if self._output_failed is not None:
            raise self._output_failed

    async def _understood(self, text: str) -> bool:
        """Whether a line was meant for the shell though it has no colon; an answer to a challenge never is."""
        if not self.screen.interactive or (self.session is not None and self.session.connection.challenged):
            return False
        for listener in tuple(self.listeners):
            if await listener(text):
                return True
        return not text and self.screen.prompts  # Enter alone at a prompt

    async def send(self, text: str, *, by_shell: str = "", stream: Stream | None = None) -> Event | None:
        """Send one line as typed, and wait until its reply was published: the reply; None if there is none.

        `by_shell` is the key of the words that are shown with a line that was not typed. `stream` takes the content of
        the reply.
        """
        session, link = self.session, self.link
        line: CommandLine | str = text  # an answer to a challenge
        if session is not None and not session.connection.challenged:
            passed = await self._let_out(parse(text, session.connection.context()))
            if passed is None:
                return None
            line = passed
        try:
            if session is None:
                raise ConnectionError
            awaited = session.submit(line, stream)
        except Unsendable:
            self.say("shell.unsendable", style="err")
            self.tally.usage = True
            return None
        except ConnectionError:  # also one that ended while something was asked
            self.say("shell.not-connected", style="warn")
            self.tally.failed = self.tally.failed or not self.screen.interactive
            return None
        command = line if isinstance(line, CommandLine) else None  # only what went out is shown as sent
        self.publish(events.Sent(command, cancels=line == "*", by_shell=by_shell))
        reply = await link.reply(awaited, lasting=stream is not None)
        if command is not None and command.name in _NOT_POP3 and self.screen.interactive:
            self.say("shell.meta-hint")
        return reply

    async def _let_out(self, line: CommandLine) -> CommandLine | None:
        """The line as all gates let it out."""
        logs_in = line.has_secret or (line.spec is not None and line.spec.logs_in)
        passed: CommandLine | None = line
        for gate in tuple(self.gates):
            if passed is not None:
                passed = await gate(passed)
        if passed is None and logs_in:
            self.login_held_back()
        return passed

    def login_held_back(self) -> None:
        """A login did not come about: a line that follows, and is no command, may be its secret."""
        self.held_back = True
        if self.session is not None:
            self.session.connection.login_held_back()

    # -- giving up -----------------------------------------------------------------------------------------------------

    def interrupted(self) -> None:
        """The waiting was ended (Ctrl-C): name the reply that is still to come."""
        self.publish(events.Overdue(self.link.due()))

    async def may_part(self) -> bool:
        """Whether to give up the open connection without QUIT: with marks set they are named, and it is asked."""
        session = self.session
        if session is None or not session.connection.at_stake or not self.screen.interactive:
            return True
        marks = session.connection.at_stake
        key = "shell.ask-leave-quit" if session.connection.is_due("QUIT") else "shell.ask-leave"
        return await self.confirm(self.words(key, marks=self.words.listed(sorted(marks)), count=len(marks)))

    async def leave(self) -> None:
        """Leave without QUIT; with marks set, name them and ask first. Raises Leave if it is so."""
        if await self.may_part():
            self.close()
            raise Leave
