"""Attempt: what a learner did in one exercise since it was entered, and what that says: on the way, a known wrong turn,
or something that no further line can mend.

Judged is what happened; what was typed is kept only to tell known turns apart and to stay quiet while all goes well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from popshell.course.answers import normal
from popshell.course.checks import Check, Evidence, Replied, same_line
from popshell.course.lesson import Exercise, Wrong
from popshell.protocol.records import Exchange

#: Checks that fail for good: no further line can mend them.
_FINAL = ("never", "at_most", "sent_first")


class Answer(str):
    """What was typed in answer to a challenge of AUTH: no command of its own."""


@dataclass(slots=True)
class Attempt:
    """One try at `exercise`. `placed` fills the placeholders of a lesson's line, for the connection as it is now."""

    exercise: Exercise
    placed: Callable[[str], str]
    exchanges: list[Exchange] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    dropped: bool = False
    waited: float = 0.0
    answer: str | None = None
    predicted: bool | None = None
    #: the line that waits for a prediction
    held: str | None = None
    #: nothing is judged any more, or not yet
    solved: bool = False
    #: how many hints were given
    told: int = 0
    #: that something cannot be mended was said
    overshot: bool = False

    def took(self, exchange: Exchange) -> None:
        """An exchange happened: remember it and what was typed for it."""
        self.exchanges.append(exchange)
        if exchange.command is not None:
            self.typed.append(exchange.command.text)
            self.typed += [Answer(step.answer.decode("utf-8", "replace")) for step in exchange.steps]

    def on_the_way(self) -> bool:
        """Whether all that was typed begins the known solution: then nothing needs saying."""
        solution = self._rows(self.exercise.solution)
        return len(self.typed) < len(solution) and all(map(same_line, self.typed, solution))

    def wrong_turn(self, *, whole: bool = False) -> Wrong | None:
        """The wrong turn of the author's list that was just taken; `whole` if it has to be all that was typed."""
        for wrong in self.exercise.wrong:
            wanted = self._rows(wrong.lines)
            last = self.typed[-len(wanted) :] if wanted else []
            taken = bool(wanted) and len(last) == len(wanted) and all(map(_same, last, wanted))
            if last and isinstance(last[0], Answer):
                continue  # a turn does not begin in the middle of AUTH
            if taken and (not whole or len(wrong.lines) == len(self.typed)):
                return wrong
        return None

    def beyond_mending(self, evidence: Evidence) -> bool:
        """Whether something happened that no further line can mend."""
        read = {e.command.message for e in evidence.commands if e.command and e.name == "RETR" and e.ok}
        return any(
            (_is_final(check) and not check.holds(evidence))
            or (check.name == "retrieved" and not read <= set(check.value))
            for check in self.exercise.checks
        )

    def missing(self, evidence: Evidence) -> Check | None:
        """The check to name first of those that do not hold; what cannot be mended comes before the rest."""
        missing = [check for check in self.exercise.checks if not check.holds(evidence)]
        return min(missing, key=lambda check: not (_is_final(check) or check.name == "retrieved"), default=None)

    def nearly(self, check: Check, evidence: Evidence) -> list[str]:
        """Of `replied`: the fields in which the exchange that comes closest differs; [] if the command did not come."""
        wanted = check.value
        if not isinstance(wanted, Replied) or wanted.command is None:
            return []
        near = [wanted.differs(e) for e in evidence.exchanges if e.name == wanted.command and e.response is not None]
        closest = min((fields for fields in near if fields is not None), key=len, default=None)
        return ["least"] if closest == [] else closest or []

    def _rows(self, lines: tuple[str, ...]) -> list[str]:
        return [self.placed(row) for line in lines for row in line.split("\n") if row != ":connect"]


def _is_final(check: Check) -> bool:
    """Whether nothing that happens later can make it hold again."""
    return check.name in _FINAL or (check.name == "dropped" and not check.value)


def _same(typed: str, wanted: str) -> bool:
    """Answers are compared as answers, lines as lines."""
    return normal(typed) == normal(wanted) if wanted.startswith(":answer") else same_line(typed, wanted)
