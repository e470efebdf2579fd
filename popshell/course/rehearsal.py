"""Rehearsal: one exercise played on the practice server without sockets. Lint proves lessons by it; `enter` is shared
with the live shell, so that both see the same server.

The clock and the stamp are fixed. `:wait` moves the clock; nothing sleeps.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable

from popshell.course import gate
from popshell.course.catalog import LANGUAGES, Catalog
from popshell.course.checks import Evidence, answer_is_right, same_line
from popshell.course.lesson import Exercise, ExerciseKind, LessonError, refusal
from popshell.course.prediction import Prediction, read_prediction
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import in_flight
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import apop_digest
from popshell.protocol.wire import CRLF
from popshell.server.faults import Conditions
from popshell.server.maildrop import Message, from_files
from popshell.server.mailserver import MailServer, ServerSession

#: The stamp of every rehearsal: RFC 1939 §7's example clock, on our host.
STAMP = "<1896.697170952@popshell.example>"
#: What `placed` fills in, the whole list.
PLACEHOLDERS = ("<stamp>", "<apop>", "<auth-plain>", "<port>")


def exercise_server(
    catalog: Catalog, exercise: Exercise, clock: Callable[[], float], new_stamp: Callable[[], str] | None = None
) -> MailServer:
    """A fresh practice server as the exercise wants it.

    Raises LessonError for a maildrop that is not there, and for one that a course must not have.
    """
    name, password = exercise.account
    return MailServer(
        {name: password},
        LANGUAGES,
        catalog.replies,
        _mails(catalog, exercise.maildrop),
        conditions=Conditions(**exercise.conditions),
        clock=clock,
        new_stamp=new_stamp,
    )


def _mails(catalog: Catalog, name: str) -> tuple[Message, ...]:
    """The mails of a maildrop; what a course must not have is refused unread (sec-D2, D6)."""
    try:
        return from_files(catalog.maildrop_files(name))
    except gate.Refused as error:
        raise refusal(error) from None
    except FileNotFoundError:
        raise LessonError(
            f"maildrops/{name}", 0, f"there is no maildrop `{name}`", "missing-maildrop", {"name": name}
        ) from None


def placed(text: str, exercise: Exercise, stamp: str | None, port: str = "110") -> str:
    """`text` with the placeholders of a lesson's lines filled in."""
    name, password = exercise.account
    plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode("ascii")
    return (
        text.replace("<stamp>", stamp or "")
        .replace("<apop>", apop_digest(stamp or "", password))
        .replace("<auth-plain>", plain)
        .replace("<port>", port)
    )


def rows_of(text: str, exercise: Exercise, stamp: str | None) -> list[str]:
    """The lines of POP3 that a lesson's line sends; none if it is one of the shell's own that sends nothing."""
    text = placed(text, exercise, stamp)
    word, _, rest = text.partition(" ")
    if word == ":flight":
        return in_flight(rest)
    if word == ":apop":
        return [f"APOP {rest} {apop_digest(stamp or '', exercise.account[1])}"]
    return [] if text.startswith(":") else text.split("\n")


def left_of(server: MailServer, exercise: Exercise) -> tuple[int, ...]:
    """The numbers, at the exercise's beginning, of the messages that the maildrop still holds."""
    kept = {message.unique_id for message in server.maildrop_of(exercise.account[0]).messages}
    return tuple(number for number, message in enumerate(server.messages, 1) if message.unique_id in kept)


def is_solved(exercise: Exercise, evidence: Evidence) -> bool:
    """The one judgement: by effect, whatever way was taken."""
    if exercise.kind is ExerciseKind.PREDICT and not evidence.predicted:
        return False
    if exercise.kind is ExerciseKind.ANSWER and not answer_is_right(exercise.answers, exercise.seen, evidence):
        return False
    return all(check.holds(evidence) for check in exercise.checks)


def expected(exercise: Exercise) -> Prediction:
    """What the line of a `predict` leads to where the task begins; the solution's first line tells."""
    return read_prediction(exercise.solution[0].partition(" ")[2] if exercise.solution else "")


class Rehearsal:
    """An exercise under way. `type()` takes what a learner would type; `solved` judges after each line."""

    def __init__(self, catalog: Catalog, exercise: Exercise) -> None:
        self.exercise = exercise
        self.exchanges: list[Exchange] = []
        self._now = 0.0
        self.server = exercise_server(catalog, exercise, lambda: self._now, lambda: STAMP)
        self._session: ServerSession | None = None
        self.connection = Connection()
        self._answer: str | None = None
        self._held = False
        self._predicted: bool | None = None
        self._dropped = False
        self._waited = 0.0
        self._solved = False
        self._connect()
        self._playing = True
        #: the first line of `start` that gets no reply, if any: it is never served
        self.unheard: str | None = None
        for line in exercise.start:
            before, closed = len(self.exchanges), self.connection.closed
            self.type(line)
            if self.unheard is None and not self._was_heard(line, before, closed):
                self.unheard = line
        self._playing = False
        self.start = tuple(self.exchanges)
        if exercise.start:
            self.exchanges.clear()
        self._dropped, self._waited, self._answer, self._solved = False, 0.0, None, False

    def play(self, lines: Iterable[str]) -> bool:
        """Type all `lines`; whether the exercise is solved then."""
        for line in lines:
            self.type(line)
        return self.solved

    @property
    def solved(self) -> bool:
        """Whether it was solved at any moment: what comes after does not undo it, as in the shell."""
        return self._solved or is_solved(self.exercise, self.evidence())

    def evidence(self) -> Evidence:
        connection = self.connection
        return Evidence(
            tuple(self.exchanges),
            State.CLOSED if connection.closed else connection.state,
            connection.tls and not connection.closed,
            connection.maildrop.marks if not connection.closed else frozenset(),
            left_of(self.server, self.exercise),
            self._dropped,
            self._waited,
            self._answer,
            self._predicted,
        )

    def type(self, text: str) -> None:
        """What Enter would do with `text`."""
        text = placed(text, self.exercise, self.connection.stamp)
        word, _, rest = text.partition(" ")
        if word == ":answer":
            self._take_answer(rest)
        elif word == ":wait":
            self._wait(float(rest or 0))
        elif word == ":drop":
            self._hang_up()
        elif word == ":connect":
            self._hang_up()
            self._connect()
        elif self._holds(text):
            self._held = True
        elif rows := rows_of(text, self.exercise, self.connection.stamp):
            self._send(rows)
        else:
            return  # looking at something changes nothing
        self._solved = self._solved or is_solved(self.exercise, self.evidence())
        if not self._solved:
            self._answer = None  # an answer counts when it is given, not later

    def _was_heard(self, line: str, before: int, closed: bool) -> bool:
        """Whether all POP3 of a line just typed was answered: with replies, or with a challenge."""
        if not rows_of(line, self.exercise, self.connection.stamp):
            return True
        due = self.connection.pending and not self.connection.challenged
        return not closed and not due and all(one.response is not None for one in self.exchanges[before:])

    def _holds(self, text: str) -> bool:
        exercise = self.exercise
        return (
            exercise.kind is ExerciseKind.PREDICT
            and not self._playing
            and self._predicted is None
            and same_line(text, exercise.line)
        )

    def _take_answer(self, text: str) -> None:
        self._answer = text
        if self.exercise.kind is ExerciseKind.PREDICT:
            before = len(self.exchanges)
            self._held = False
            self._send([placed(self.exercise.line, self.exercise, self.connection.stamp)])
            said = self.exchanges[before] if len(self.exchanges) > before else None
            right = said is not None and not read_prediction(text).faults(said)
            self._predicted = right and said is not None and expected(self.exercise).comes_true(said)

    def _connect(self) -> None:
        self._session = self.server.session()
        self.connection = Connection(self._now)
        self._pump()

    def _send(self, lines: list[str]) -> None:
        if self.connection.closed or self._session is None:
            return
        data = b"".join(line.encode("utf-8", "surrogateescape") + CRLF for line in lines)
        self._take(self.connection.sent(data, self._now))
        self._session.feed(data)
        self._pump()

    def _pump(self) -> None:
        session = self._session
        assert session is not None
        while (chunk := session.next_chunk()) is not None:
            self._take(self.connection.received(chunk, self._now))
        if session.starts_tls:
            session.tls_started()
            self.connection.tls_started()
        if session.closing:
            self._take(self.connection.close(self._now))

    def _take(self, events: list[Exchange | Challenge]) -> None:
        self.exchanges += [event for event in events if isinstance(event, Exchange)]

    def _wait(self, seconds: float) -> None:
        self._now += seconds
        self._waited += seconds
        if self._session is not None and not self.connection.closed and self._session.expire():
            self._dropped = True
            self._take(self.connection.close(self._now))

    def _hang_up(self) -> None:
        if self._session is not None and not self.connection.closed:
            self._dropped = True
            self._session.lost()
            self._take(self.connection.close(self._now))
