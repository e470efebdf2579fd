"""One try at an exercise: the Collector gathers the evidence, the Vocabulary reads answers, the Attempt judges.

The evidence is what the practice server saw: the Exchanges of its sessions and the maildrop that is left. So it does
not matter which client spoke. What was typed is derived from it, and is used only to recognise a known wrong turn and
to stay quiet while all goes well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from popshell.course.catalog import LANGUAGES, Catalog
from popshell.course.checks import Check, Evidence, Replied, normal, same_line, was_asked
from popshell.course.lesson import Exercise, ExerciseKind, Wrong
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange
from popshell.tuples import NamedTuple

if TYPE_CHECKING:
    from popshell.server.mailserver import MailServer
    from popshell.server.session import ServerSession

_STATUS = {"+ok": True, "ok": True, "-err": False, "err": False}
_STATES = {state.value.casefold(): state for state in State}
#: Checks that fail for good: no further line can mend them.
_FINAL = ("never", "at_most", "sent_first")


class StepAnswer(str):
    """What was typed in answer to a challenge of AUTH: no command of its own."""


class Collector:
    """The evidence of one exercise, from the sessions of its practice server, in the order in which they speak.

    It is a subscriber of the server. State, TLS and marks are those of the session that spoke last.
    """

    def __init__(self, server: MailServer, account: str) -> None:
        self._server = server
        self._account = account
        self._sessions: dict[int, ServerSession] = {}
        self._quit: set[int] = set()
        self._last = 0
        #: how things stand
        self._now = Evidence()
        #: what happened since `begin()`: Exchanges, and commands of the shell such as `:wait 60`
        self.events: list[Exchange | str] = []
        #: the exchanges before `begin()`: those of `start`
        self.before: tuple[Exchange, ...] = ()

    def observed(self, session: ServerSession, exchange: Exchange | None) -> None:
        """A session had an exchange, the greeting first; with None it ended: by QUIT, or the connection was lost."""
        here = id(session)
        self._sessions[here] = session
        if exchange is None:
            del self._sessions[here]
            self._now = self._now._replace(dropped=self._now.dropped or here not in self._quit)
            self._quit.discard(here)
            if self._last == here:
                self._now = self._now._replace(state=State.CLOSED, tls=False, marks=frozenset())
            return
        self.events.append(exchange)
        self._last, tls = here, exchange.tls or (exchange.name == "STLS" and exchange.ok)
        self._now = self._now._replace(state=exchange.after, tls=tls, marks=exchange.maildrop.marks)
        if exchange.name == "QUIT" and exchange.response is not None:
            self._quit.add(here)

    def lost(self, stamp: str | None) -> None:
        """A client of this process closed the connection with this stamp: the server takes it as closed at once."""
        for session in [one for one in self._sessions.values() if one.stamp == stamp]:
            session.lost()

    def wait(self, seconds: float) -> None:
        """Time was let pass."""
        self._now = self._now._replace(waited=self._now.waited + seconds)
        self.events.append(f":wait {seconds:g}")

    def begin(self) -> None:
        """From here on it is the learner's turn: what was played before is no evidence."""
        self.before = tuple(self.exchanges)
        self.events.clear()
        self._now = self._now._replace(dropped=False, waited=0.0)

    @property
    def exchanges(self) -> list[Exchange]:
        return [event for event in self.events if isinstance(event, Exchange)]

    @property
    def typed(self) -> list[str]:
        """What a client sent, and which commands of the shell were given."""
        rows: list[str] = []
        for event in self.events:
            if isinstance(event, str):
                rows.append(event)
            elif event.command is not None:
                rows.append(event.command.text)
                rows += [StepAnswer(step.answer.decode("utf-8", "replace")) for step in event.steps]
        return rows

    def maildrop(self) -> tuple[int, ...]:
        """The numbers, at the exercise's beginning, of the messages that the maildrop still holds."""
        kept = {message.unique_id for message in self._server.maildrop_of(self._account).messages}
        return tuple(number for number, message in enumerate(self._server.messages, 1) if message.unique_id in kept)

    def evidence(self, answer: str | None, predicted: bool | None) -> Evidence:
        exchanges, maildrop = tuple(self.exchanges), self.maildrop()
        return self._now._replace(exchanges=exchanges, maildrop=maildrop, answer=answer, predicted=predicted)


# -- answers and predictions -------------------------------------------------------------------------------------------


class Prediction(NamedTuple):
    """What a learner expects of a line: status, the state after it, one line or many."""

    ok: bool | None = None
    state: State | None = None
    many: bool | None = None

    @property
    def complete(self) -> bool:
        return None not in self

    def faults(self, exchange: Exchange) -> list[str]:
        """What it got wrong: of `status`, `state`, `lines`."""
        response = exchange.response
        if response is None:
            return ["status", "state", "lines"]
        after = exchange.after
        if after is State.UPDATE and self.state is State.CLOSED:
            after = State.CLOSED  # the reply to QUIT ends UPDATE, so that both are right (RFC 1939 §6)
        seen = {
            "status": (self.ok, response.ok),
            "state": (self.state, after),
            "lines": (self.many, response.content is not None),
        }
        return [name for name, (said, was) in seen.items() if said != was]


class Vocabulary:
    """The words in which answers are given, of all languages: `[language]` of `messages.toml`."""

    def __init__(self, catalog: Catalog) -> None:
        self.numbers: dict[str, int] = {}
        self.many: dict[str, bool] = {}
        self._separators = ","
        for tag in LANGUAGES:
            try:
                words = catalog.words(tag)
            except (OSError, ValueError):
                continue  # words of another course that cannot be read: reported elsewhere
            for number, names in enumerate(words("language.numbers").split()):
                self.numbers |= dict.fromkeys(map(normal, names.split("/")), number)
            for many, key in ((False, "language.one-line"), (True, "language.many-lines")):
                self.many |= dict.fromkeys(map(normal, words(key).split("/")), many)
            self._separators += words("list.separator").strip()

    @cached_property
    def _figures(self) -> re.Pattern[str]:
        """A number in figures, a word in letters, or a run of numerals of a language that parts no words."""
        numerals = "".join({ch for name in self.numbers for ch in name if not ch.isascii()})
        run = f"|[{re.escape(numerals)}]+" if numerals else ""
        return re.compile(rf"[0-9]+(?:,[0-9]{{3}})*(?:\.[0-9]+)?|[a-z]+{run}")

    def number_in(self, text: str) -> int | None:
        """The one number that is said in `text`, in figures or words, whatever stands around it; else None."""
        words = self._figures.findall(normal(text))
        found = [self.numbers.get(word, word.replace(",", "")) for word in words]
        numbers = [int(number) for number in found if str(number).isdecimal()]
        return numbers[0] if len(numbers) == 1 else None

    def is_answer(self, answers: tuple[str, ...], text: str) -> bool:
        """Whether `text` says one of `answers`. A number counts with any unit: `6 letters`, `six`."""
        if normal(text) in {normal(answer) for answer in answers}:
            return True
        numbers = {int(answer) for answer in answers if answer.isascii() and answer.isdigit()}
        return bool(numbers) and self.number_in(text) in numbers

    def prediction(self, text: str) -> Prediction:
        """`+OK TRANSACTION many`, in any order, parts may be missing; unknown words are passed over."""
        said: dict[str, Any] = {}
        for word in re.sub(f"[{re.escape(self._separators)}]", " ", normal(text)).split():
            for name, meanings in (("ok", _STATUS), ("state", _STATES), ("many", self.many)):
                if word in meanings:
                    said[name] = meanings[word]
        return Prediction(**said)


#: The vocabulary of a catalog, read once.
vocabulary = lru_cache(maxsize=8)(Vocabulary)


# -- judging -----------------------------------------------------------------------------------------------------------


def is_solved(exercise: Exercise, evidence: Evidence, words: Vocabulary) -> bool:
    """The one judgement: by effect, whatever way was taken."""
    if exercise.kind is ExerciseKind.PREDICT and not evidence.predicted:
        return False
    if exercise.kind is ExerciseKind.ANSWER:
        if evidence.answer is None or not words.is_answer(exercise.answers, evidence.answer):
            return False
        if exercise.seen and not was_asked(exercise.answers, evidence):
            return False
    return all(check.holds(evidence) for check in exercise.checks)


@dataclass(slots=True)
class Attempt:
    """One try at `exercise`. `placed` fills the placeholders of a lesson's line, for the connection as it is now."""

    exercise: Exercise
    placed: Callable[[str], str]
    words: Vocabulary
    #: None before the exercise's server is there
    collector: Collector | None = None
    predicted: bool | None = None
    #: the line that waits for a prediction
    held: str | None = None
    #: nothing is judged any more, or not yet
    solved: bool = False
    #: how many hints were given
    hints_shown: int = 0
    #: that something cannot be mended was said
    overshot: bool = False
    _answer: str | None = field(default=None, repr=False)

    @property
    def typed(self) -> list[str]:
        return self.collector.typed if self.collector else []

    def evidence(self) -> Evidence:
        """What there is to judge by."""
        return self.collector.evidence(self._answer, self.predicted) if self.collector else Evidence()

    def judge(self) -> bool:
        """Whether it is solved now. Once solved it stays so: what comes after does not undo it."""
        self.solved = self.solved or is_solved(self.exercise, self.evidence(), self.words)
        return self.solved

    # -- what the learner does besides POP3 ----------------------------------------------------------------------------

    def answer(self, text: str) -> bool:
        """An answer is given; whether it solves the exercise. It counts now, not later."""
        self.note(f":answer {text}")
        self._answer = text
        try:
            return self.judge()
        finally:
            self._answer = None

    def note(self, command: str) -> None:
        """A command of the shell was given: known wrong turns may name it."""
        if self.collector is not None:
            self.collector.events.append(command)

    def dropped(self) -> None:
        """The connection ended without QUIT, by whichever side; an autologout after `:wait` is no `:drop`."""
        if not (self.typed and self.typed[-1].startswith(":wait")):
            self.note(":drop")

    def holds(self, text: str) -> bool:
        """Whether a line that is about to be sent waits for a prediction; it is kept in `held` then."""
        if self.exercise.kind is not ExerciseKind.PREDICT or self.solved or self.predicted is not None:
            return False
        if not same_line(text, self.placed(self.exercise.line)):
            return False
        self.held = text
        return True

    def compare(self, said: Prediction, came: Exchange) -> list[str] | None:
        """Hold a prediction against what came: what it got wrong; [] solves the exercise if its checks hold.

        None if the line met another state than the task's: right or wrong, it says nothing about the task.
        """
        # What the line leads to where the task begins; the first line of the solution says it.
        expected = self.exercise.solution[0].partition(" ")[2] if self.exercise.solution else ""
        task = self.words.prediction(expected)
        if task.complete and task.faults(came):
            return None
        faults = said.faults(came)
        if not faults:
            self.predicted = True
            self.judge()
        return faults

    # -- what to say ---------------------------------------------------------------------------------------------------

    def on_the_way(self) -> bool:
        """Whether all that was typed begins the known solution: then nothing needs saying."""
        typed, solution = self.typed, self._rows(self.exercise.solution)
        return len(typed) < len(solution) and all(map(same_line, typed, solution))

    def wrong_turn(self, *, whole: bool = False) -> Wrong | None:
        """The wrong turn of the author's list that was just taken; `whole` if it has to be all that was typed."""
        typed = self.typed
        for wrong in self.exercise.wrong:
            wanted = self._rows(wrong.lines)
            last = typed[-len(wanted) :] if wanted else []
            taken = bool(wanted) and len(last) == len(wanted) and all(map(_same, last, wanted))
            if last and isinstance(last[0], StepAnswer):
                continue  # a turn does not begin in the middle of AUTH
            if taken and (not whole or len(wrong.lines) == len(typed)):
                return wrong
        return None

    def beyond_mending(self) -> bool:
        """Whether something happened that no further line can mend."""
        evidence = self.evidence()
        return any(_is_lost(check, evidence) for check in self.exercise.checks)

    def missing(self) -> Check | None:
        """The check to name first of those that do not hold; what cannot be mended comes before the rest."""
        evidence = self.evidence()
        missing = [check for check in self.exercise.checks if not check.holds(evidence)]
        return min(missing, key=lambda check: not _is_lost(check, evidence), default=None)

    def nearly(self, check: Check) -> list[str]:
        """Of `replied`: the fields in which the exchange that comes closest differs; [] if the command did not come."""
        wanted, exchanges = check.value, self.evidence().exchanges
        if not isinstance(wanted, Replied) or wanted.command is None:
            return []
        near = [wanted.differs(e) for e in exchanges if e.name == wanted.command and e.response is not None]
        closest = min((fields for fields in near if fields is not None), key=len, default=None)
        return ["least"] if closest == [] else closest or []

    def _rows(self, lines: tuple[str, ...]) -> list[str]:
        return [self.placed(row) for line in lines for row in line.split("\n") if row != ":connect"]


def _is_lost(check: Check, evidence: Evidence) -> bool:
    """Whether a check does not hold and no further line can mend it; the first command may be still to come."""
    if check.name == "retrieved":
        read = {e.command.message for e in evidence.commands if e.command and e.name == "RETR" and e.ok}
        return not read <= set(check.value)
    final = bool(evidence.commands) if check.name in _FINAL else check.name == "dropped" and not check.value
    return final and not check.holds(evidence)


def _same(typed: str, wanted: str) -> bool:
    """Answers are compared as answers, lines as lines."""
    return normal(typed) == normal(wanted) if wanted.startswith(":answer") else same_line(typed, wanted)
