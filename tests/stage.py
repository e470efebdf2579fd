"""A Shell without keyboard, screen or socket: its screen is a list, its wire leads to a practice server or a script.

`Stage` puts the parts together as cli.py does; what is asked gets the answers that the test has laid out, in order.
"""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from looks import COLOURLESS
from support import Clock, drain, practice_server

from popshell.course.catalog import Catalog, bundled
from popshell.course.explain import Note
from popshell.course.lesson import LessonError
from popshell.protocol.records import Exchange
from popshell.protocol.wire import CRLF
from popshell.server.mailserver import MailServer
from popshell.session import ConnectError, Endpoint, Event, OpenConnection, Session, Step
from popshell.ui.course_metas import Course
from popshell.ui.display import new_shell
from popshell.ui.events import Replied, ShellEvent, Unshown
from popshell.ui.layout import Look
from popshell.ui.metas import Metas
from popshell.ui.screen import Screen
from popshell.ui.shell import Options, Shell

CATALOG = Catalog((bundled(),))


def _no_course() -> Any:
    raise LessonError("course.toml", 0, "bad-lesson", reason="there is no course here")


def metas_of(shell: Shell | None) -> Metas:
    """The whole table, with a course that cannot begin."""
    return Metas(Course(cast("Shell", shell), _no_course).rows())


#: The rows of the table of meta commands.
METAS = metas_of(None).rows
PRACTICE = Endpoint("127.0.0.1:1", practice=True, loopback=True, autologout=600.0)
#: A real server without look-only mode, as config.toml can have it.
LOCAL = Endpoint("127.0.0.1:110", practice=False, loopback=True, look_only=False)
LOCKED = LOCAL._replace(look_only=True)
REMOTE = Endpoint("pop.example.org:110", practice=False, loopback=False)


class FakeScreen(Screen):
    """A terminal of any size that writes into `text`; questions are kept in `asked`, answers come from `answers`."""

    def __init__(self, *, columns: int = 80, rows: int = 24, look: Look = COLOURLESS, ascii: bool = False) -> None:
        super().__init__(look._replace(ascii=ascii or look.ascii), out=io.StringIO())
        self.size = (columns, rows)
        self.answers: list[str | Callable[[], str | None] | None] = []
        self.asked: list[str] = []
        self.interrupted = 0
        self.records: list[tuple[Exchange, list[Note]]] = []

    @property
    def columns(self) -> int:
        return self.size[0]

    @property
    def rows(self) -> int:
        return self.size[1]

    @property
    def text(self) -> str:
        assert isinstance(self.out, io.StringIO)
        return self.out.getvalue()

    @property
    def flat(self) -> str:
        """The text without line ends, for sentences that were wrapped."""
        return " ".join(self.text.split())

    def forget(self) -> None:
        self.out = io.StringIO()

    def interrupt(self, show: Callable[[], None]) -> None:
        self.interrupted += 1
        show()

    def heard(self, event: ShellEvent) -> None:
        """A subscriber: keeps what JSON would record."""
        if isinstance(event, Replied | Unshown):
            self.records.append((event.exchange, list(event.notes)))

    async def ask(self, question: str, *, hidden: bool = False, piped: bool = False) -> str | None:
        self.asked.append(question)
        answer = self.answers.pop(0) if self.answers else None
        return answer() if callable(answer) else answer


class PracticeWire:
    """The practice server at the other end, in the same process."""

    def __init__(self, server: MailServer) -> None:
        self.peer = server.session()
        self.session: Session | None = None
        self.sent = bytearray()
        self.closed = False
        self.refuses_tls = False
        self._talk()

    def write(self, data: bytes) -> None:
        if self.closed:
            raise ConnectionError
        self.sent += data
        self.peer.feed(data)
        self._talk()

    def _talk(self) -> None:
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        assert self.session is not None
        if data := drain(self.peer):
            self.session.received(data)
        if self.peer.closing and not self.closed:
            self.closed = True
            self.session.end()

    async def start_tls(self, *, after: int) -> None:
        if self.refuses_tls:
            raise ConnectError("handshake-failed", reason="TEST", host="h", port=1)
        self.peer.tls_started()

    def close(self) -> None:
        self.closed = True
        self.peer.lost()

    def lose(self) -> None:
        """The server closes, here and now."""
        assert self.session is not None
        self.close()
        self.session.end()


class ScriptedWire:
    """A peer that answers a line by the table, whole line first, then keyword; None or nothing is silence.

    An answer `CLOSE` ends the line; behind other bytes it comes in the same turn of the loop as they do.
    """

    def __init__(self, answers: dict[str, bytes | None], greeting: bytes | None = b"+OK ready\r\n") -> None:
        self.answers = answers
        self.session: Session | None = None
        self.sent = bytearray()
        self.closed = False
        if greeting is not None:
            asyncio.get_running_loop().call_soon(self.say, greeting)

    @property
    def heard(self) -> list[str]:
        return self.sent.decode("utf-8", "surrogateescape").split("\r\n")[:-1]

    def write(self, data: bytes) -> None:
        if self.closed:
            raise ConnectionError
        self.sent += data
        for line in data.split(CRLF)[:-1]:
            text = line.decode("utf-8", "surrogateescape")
            answer = self.answers.get(text, self.answers.get(text.split(" ")[0].upper(), b"-ERR what\r\n"))
            if answer is not None:
                asyncio.get_running_loop().call_soon(self.say, answer)

    def say(self, data: bytes) -> None:
        assert self.session is not None
        if data.removesuffix(CLOSE):
            self.session.received(data.removesuffix(CLOSE))
        if data.endswith(CLOSE):
            self.hang_up()

    def hang_up(self) -> None:
        assert self.session is not None
        self.closed = True
        self.session.end()

    async def start_tls(self, *, after: int) -> None:
        """The handshake always works."""

    def close(self) -> None:
        self.closed = True


CLOSE = b"<close>"
Wires = Callable[[str | None], PracticeWire | ScriptedWire]


@dataclass
class Stage:
    """A Shell and all around it."""

    place: Endpoint = PRACTICE
    screen: FakeScreen = field(default_factory=FakeScreen)
    options: Options = field(default_factory=Options)
    server: MailServer | None = None
    script: dict[str, bytes | None] | None = None
    greeting: bytes | None = b"+OK ready\r\n"
    clock: Clock = field(default_factory=Clock)
    wires: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = self.server or practice_server(clock=self.clock)
        self.shell = new_shell(CATALOG, self.screen, self.dial, self.options, lambda: metas_of(self.shell))
        self.shell.subscribe(self.screen.heard)

    @property
    def wire(self) -> Any:
        return self.wires[-1]

    @property
    def text(self) -> str:
        return self.screen.text

    async def dial(
        self,
        where: str | None,
        on_event: Callable[[Event, bool], None],
        on_end: Callable[[Exception | None], None],
        on_step: Callable[[Step], None],
    ) -> OpenConnection:
        if where == "nowhere":
            raise ConnectError("refused", host="nowhere", port=995)
        assert self.server is not None
        wire = PracticeWire(self.server) if self.script is None else ScriptedWire(dict(self.script), self.greeting)
        session = Session(self.clock, on_event, on_end)
        wire.session = session
        session.wire = wire
        self.wires.append(wire)
        return OpenConnection(session, self.place)

    async def begin(self, *lines: str) -> None:
        """Connect and run lines."""
        assert await self.shell.connect()
        await self.run(*lines)

    async def run(self, *lines: str) -> str:
        """Run lines; what they put on the screen."""
        before = len(self.screen.text)
        for line in lines:
            await self.shell.run(line)
        return self.screen.text[before:]

    async def log_in(self, *lines: str) -> None:
        """Connect, log in, forget what that showed, run lines."""
        await self.begin("USER learner", "PASS secret")
        self.screen.forget()
        await self.run(*lines)


def run(coroutine: Coroutine[Any, Any, None], seconds: float = 20) -> None:
    """Run a test; what asyncio would only log fails it."""
    complaints: list[dict[str, Any]] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        async with asyncio.timeout(seconds):
            await coroutine

    gc.freeze()  # what is there already is not looked through: that took 70 ms each time
    try:
        asyncio.run(guarded())
        gc.collect()
    finally:
        gc.unfreeze()
    assert complaints == []


async def turns(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds; `run` bounds it."""
    while not condition():
        await asyncio.sleep(0)


async def cancelled(work: Awaitable[object], when: Callable[[], object]) -> None:
    """Begin `work`, and cancel it as Ctrl-C does as soon as the condition holds."""
    task = asyncio.ensure_future(work)
    await until(when)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
    raise AssertionError("it was over before it was cancelled")


def rows_of(text: str) -> Sequence[str]:
    return text.rstrip("\n").split("\n")
