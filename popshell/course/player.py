"""Plays the lines of a lesson, POP3 and the shell's commands that it may use, and compares dialogues with what comes.

They are played over a Line. The shell's Line is its open connection (ui/tutor.py); a PracticeLine reaches the practice
server in the same process, without sockets, and never waits. A Rehearsal is an exercise played over a PracticeLine:
lint proves lessons by it, and the failed dialogue of a task is made by it.

The clock and the stamp of a rehearsal are fixed. `:wait` moves the clock; nothing sleeps.

Dialogues of pages and scripts are `C:` and `S:` lines, cut into turns. A turn is `C:` lines that go out in one flight,
then the `S:` lines that answer them. A line of the server `[...]`, or `…`, stands for any number of lines.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, Protocol, TypeVar

from popshell.course.attempt import Attempt, Collector, vocabulary
from popshell.course.catalog import Catalog
from popshell.course.checks import Evidence
from popshell.course.document import LessonError
from popshell.course.lesson import Exercise, ExerciseKind
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import apop_digest
from popshell.protocol.wire import CRLF
from popshell.server.maildrop import from_files
from popshell.server.mailserver import MailServer
from popshell.tuples import NamedTuple

#: The stamp of every rehearsal: RFC 1939 §7's example clock, on our host.
STAMP = "<1896.697170952@popshell.example>"
#: What `placed` fills in, the whole list.
PLACEHOLDERS = ("<stamp>", "<apop>", "<auth-plain>", "<port>")
PracticeServer = MailServer
_T = TypeVar("_T")


def exercise_server(
    catalog: Catalog, exercise: Exercise, clock: Callable[[], float], new_stamp: Callable[[], str] | None = None
) -> tuple[MailServer, Collector]:
    """A fresh practice server as the exercise wants it, and the collector of what its sessions do.

    Raises LessonError for a maildrop that is not there, and for one that a course must not have.
    """
    name, password = exercise.account
    try:  # what a course must not have is refused unread (sec-D2, D6)
        mails = from_files(catalog.maildrop_files(exercise.maildrop))
    except FileNotFoundError:
        place = f"maildrops/{exercise.maildrop}"
        raise LessonError(place, 0, "missing-maildrop", name=exercise.maildrop) from None
    server = MailServer(
        {name: password},
        catalog.languages,
        catalog.replies,
        mails,
        faults=exercise.conditions,
        clock=clock,
        new_stamp=new_stamp,
    )
    collector = Collector(server, name)
    server.subscribe(collector.observed)
    return server, collector


def placed(text: str, exercise: Exercise, stamp: str | None, port: str = "110") -> str:
    """`text` with the placeholders of a lesson's lines filled in."""
    name, password = exercise.account
    plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode("ascii")
    filled = (stamp or "", apop_digest(stamp or "", password), plain, port)
    for place, value in zip(PLACEHOLDERS, filled, strict=True):
        text = text.replace(place, value)
    return text


def rows_of(text: str, exercise: Exercise, stamp: str | None) -> list[str]:
    """The lines of POP3 that a lesson's line sends; none if it is one of the shell's own that sends nothing."""
    word, _, rest = text.partition(" ")
    if word == ":flight":
        return in_flight(rest)
    if word == ":apop":
        return [f"APOP {rest} {apop_digest(stamp or '', exercise.account[1])}"]
    return [] if text.startswith(":") else text.split("\n")


class Line(Protocol):
    """How the lines of a lesson reach the practice server."""

    @property
    def stamp(self) -> str | None:
        """The timestamp of the greeting (RFC 1939 §7), None without one."""

    async def send(self, rows: list[str]) -> bool:
        """Send rows and wait; whether each was answered: with a reply, or with a challenge of AUTH."""

    async def connect(self) -> None:
        """Open a connection; one that is open is given up without QUIT."""

    def drop(self) -> None:
        """Close the connection without QUIT."""

    def wait(self, seconds: float) -> None:
        """Move the practice server's clock."""


async def play_start(attempt: Attempt, line: Line) -> str | None:
    """Play `start` of the exercise, of which nothing is judged. Returns the first line that got no reply."""
    unheard = None
    attempt.solved = True
    for text in attempt.exercise.start:
        if not await _play(attempt, line, text) and unheard is None:
            unheard = text
    attempt.solved = False
    if attempt.exercise.start and attempt.collector is not None:
        attempt.collector.begin()
    return unheard


async def _play(attempt: Attempt, line: Line, text: str) -> bool:
    """Play one line of a lesson; whether all POP3 in it was answered."""
    text = attempt.placed(text)
    word, _, rest = text.partition(" ")
    if word == ":wait":
        if attempt.collector is not None:
            attempt.collector.wait(float(rest or 0))
        line.wait(float(rest or 0))
    elif word == ":drop":
        line.drop()
    elif word == ":connect":
        await line.connect()
    elif rows := rows_of(text, attempt.exercise, line.stamp):
        return await line.send(rows)
    return True


class PracticeLine:
    """A connection to a practice server in this process; the first one is open from the beginning."""

    def __init__(self, server: MailServer, pass_time: Callable[[float], None] = lambda seconds: None) -> None:
        self.server = server
        self._pass_time = pass_time
        self._open()

    def _open(self) -> None:
        self.session = self.server.session()
        self.connection = Connection()
        self._came: list[Exchange | Challenge] = []
        self.greeting = self._pump()

    @property
    def stamp(self) -> str | None:
        return self.connection.stamp

    def say(self, rows: Iterable[str]) -> bytes:
        """Send rows in one flight; what the server says to them. After `+OK` to STLS what follows is under TLS."""
        if self.session.closing:
            return b""
        data = b"".join(row.encode("utf-8", "surrogateescape") + CRLF for row in rows)
        self.connection.sent(data)
        self.session.feed(data)
        return self._pump()

    def _pump(self) -> bytes:
        session, said = self.session, bytearray()
        while (chunk := session.next_chunk()) is not None:
            said += chunk
        self._came = self.connection.received(bytes(said))
        if session.starts_tls:
            session.tls_started()
            self.connection.tls_started()
        if session.closing:
            self.drop()
        return bytes(said)

    async def send(self, rows: list[str]) -> bool:
        if self.connection.closed:
            return False
        self.say(rows)
        answered = self.connection.challenged or not self.connection.pending
        return answered and all(isinstance(one, Challenge) or one.response is not None for one in self._came)

    async def connect(self) -> None:
        self.drop()
        self._open()

    def drop(self) -> None:
        self.session.lost()
        self._came += self.connection.close()

    def wait(self, seconds: float) -> None:
        self._pass_time(seconds)
        if self.session.expire():
            self.connection.close()


class Rehearsal:
    """An exercise played over a PracticeLine. `type()` takes what a learner would type; nothing is waited for."""

    def __init__(self, catalog: Catalog, exercise: Exercise) -> None:
        self._now = 0.0
        server, collector = exercise_server(catalog, exercise, lambda: self._now, lambda: STAMP)
        self.line = PracticeLine(server, self._pass_time)
        self.attempt = Attempt(
            exercise, lambda text: placed(text, exercise, self.line.stamp), vocabulary(catalog), collector
        )
        #: the first line of `start` that gets no reply, if any: it is never served
        self.unheard = _done(play_start(self.attempt, self.line))
        self.start = collector.before

    def _pass_time(self, seconds: float) -> None:
        self._now += seconds

    def type(self, text: str) -> None:
        """What Enter would do with `text`; `attempt` judges after it."""
        attempt = self.attempt
        text = attempt.placed(text)
        if not text.startswith(":answer"):
            if not attempt.holds(text):
                _done(_play(attempt, self.line, text))
            attempt.judge()
        elif attempt.exercise.kind is ExerciseKind.PREDICT:
            self._predict(text.partition(" ")[2])
        else:
            attempt.answer(text.partition(" ")[2])

    def _predict(self, text: str) -> None:
        """A prediction, for the line that is held; a lesson's list may leave out the line itself."""
        attempt, said = self.attempt, self.attempt.words.prediction(text)
        if not said.complete:
            return
        line, attempt.held = attempt.held or attempt.placed(attempt.exercise.line), None
        before = len(self.exchanges)
        _done(self.line.send([line]))
        for came in self.exchanges[before : before + 1]:
            attempt.compare(said, came)

    def play(self, lines: Iterable[str]) -> bool:
        """Type all `lines`; whether the exercise is solved then."""
        for line in lines:
            self.type(line)
        return self.solved

    @property
    def solved(self) -> bool:
        """Whether it was solved at any moment: what comes after does not undo it."""
        return self.attempt.judge()

    def evidence(self) -> Evidence:
        return self.attempt.evidence()

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return self.evidence().exchanges


def _done(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never waits, as one over a PracticeLine."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    raise RuntimeError("a PracticeLine does not wait")


# -- dialogues ---------------------------------------------------------------------------------------------------------

#: Stands for any number of server lines; the first is what is written.
ELLIPSIS = "[...]"
_GAPS = (ELLIPSIS, "…")
ROW = re.compile(r"[CS]:(?: .*)?")
#: Among so many lines the one that is most like a line that did not come is looked for.
_LOOKED_AT = 50


class Turn(NamedTuple):
    """Lines that go out in one flight, and what is said to answer them; `lines` are the numbers of all its rows."""

    lines: tuple[int, ...]
    sent: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def line(self) -> int:
        return self.lines[0]


class Untruth(NamedTuple):
    """The first row that is not as said: `at` among the rows, `heard` the line that came in its place, if any."""

    at: int
    heard: int | None


def in_flight(text: str) -> list[str]:
    """The lines between the bars of `STAT | LIST`, as `:flight` takes them: two or more, all POP3; else none."""
    rows = [row.strip() for row in text.split("|") if row.strip()]
    return [] if len(rows) < 2 or any(row.startswith(":") for row in rows) else rows


def turns(rows: Iterable[tuple[int, str]]) -> list[Turn]:
    """Rows with their line numbers, all of them like ROW, as turns."""
    found: list[tuple[list[int], list[str], list[str]]] = []
    for at, row in rows:
        sends = row.startswith("C:")
        if not found or (sends and found[-1][2]):
            found.append(([], [], []))
        lines, sent, said = found[-1]
        lines.append(at)
        (sent if sends else said).append(row[3:])
    return [Turn(tuple(lines), tuple(sent), tuple(said)) for lines, sent, said in found]


def _equal(row: str, line: str, state: Any) -> Any:
    return state if row == line else None


def compare(
    said: Sequence[str],
    heard: Sequence[str],
    stands: Callable[[str, str, Any], Any] = _equal,
    state: Any = (),
) -> Any:
    """Hold `said` against `heard`, whole: an Untruth, or the last state.

    `stands(row, line, state)` is None where a row does not stand for a line, else the state with which the next one is
    compared.
    """
    reached = {0: state}  # how much of `heard` the rows so far can stand for
    for at, row in enumerate(said):
        if row in _GAPS and at and said[at - 1] in _GAPS:
            continue  # it stands for no more than the one before
        following: dict[int, Any] = {}
        if row in _GAPS:
            last = reached[min(reached)]
            for number in range(min(reached), len(heard) + 1):
                following[number] = last = reached.get(number, last)
        else:
            for number, before in reached.items():
                after = stands(row, heard[number], before) if number < len(heard) else None
                if after is not None:
                    following[number + 1] = after
        if not following:
            # After a gap any line could stand here: the one that is most alike is meant, or the last.
            near = [number for number in reached if number < len(heard)]
            near = [*near[:_LOOKED_AT], *near[_LOOKED_AT:][-1:]]
            alike = [(SequenceMatcher(None, row[:512], heard[number][:512]).ratio(), number) for number in near]
            return Untruth(at, max(alike)[1] if alike else None)
        reached = following
    return reached[len(heard)] if len(heard) in reached else Untruth(len(said), max(reached))
