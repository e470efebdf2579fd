"""The course as a part of a shell: its meta commands, and the Tutor that is made when the first of them is typed.

The shell does not know of it: the course brings rows for the table of meta commands, and subscribes when it begins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from popshell.course.attempt import Prediction
from popshell.course.document import LessonError
from popshell.course.lesson import ExerciseKind
from popshell.protocol.commands import State
from popshell.protocol.line import parse
from popshell.protocol.records import Exchange
from popshell.ui import pages
from popshell.ui.shell import Meta, Refused, Shell
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.course.attempt import Attempt
    from popshell.ui.tutor import Tutor

#: Commands of the course that are understood without their colon; none is a command of POP3.
_WITHOUT_COLON = ("next", "hint", "task", "again", "skip", "solution", "lessons")

Act = Callable[["Tutor", str], Awaitable[None]]


class Course:
    """The course of one shell. `make` reads its order and the learner's progress; it raises LessonError."""

    def __init__(self, shell: Shell, make: Callable[[], Tutor]) -> None:
        self._shell = shell
        self._make = make
        self._tutor: Tutor | None = None

    def _begun(self) -> Tutor:
        """Raises LessonError."""
        if self._tutor is None:
            tutor = self._tutor = self._make()
            self._shell.listeners.append(lambda text: understood(tutor, text))
        return self._tutor

    async def begin(self, lesson: str) -> bool:
        """`popshell learn`: begin at `lesson`, or where the learner left (""). False, and why is said, if it cannot."""
        shell = self._shell
        try:
            if await self._begun().begin(lesson):
                return True
            if not lesson or shell.screen.interactive:  # else no person is there to choose another
                return await shell.connect("practice")
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=error)
        shell.tally.usage = True
        return False

    def rows(self) -> tuple[Meta, ...]:
        """The rows that the course brings for the table of meta commands."""

        def row(name: str, act: Act, param: str = "", choices: Callable[[], tuple[str, ...]] = tuple) -> Meta:
            return Meta(name, lambda shell, argument: act(self._begun(), argument), param, choices)

        return (
            row("lessons", lessons),
            row("lesson", lesson, "[NAME]"),
            row("task", task),
            row("next", next_),
            row("hint", hint),
            row("answer", answer, "TEXT", self._predictions),
            row("solution", solution),
            row("skip", skip),
            row("again", again),
            row("wait", wait, "SECONDS"),
            row("reset", reset, "[all]", lambda: ("all",)),
            row("certificate", certificate, "FILE"),
        )

    def _predictions(self) -> tuple[str, ...]:
        """The words of which a prediction is made, while one is due."""
        attempt, words = self._tutor.attempt if self._tutor else None, self._shell.words
        if attempt is None or attempt.held is None:
            return ()
        lines = (words(f"language.{key}").split("/")[0] for key in ("one-line", "many-lines"))
        return ("+OK", "-ERR", *(state.value for state in State), *lines)


async def understood(tutor: Tutor, text: str) -> bool:
    """A listener of the shell: Enter after "Solved", the course's own commands and an answer, all without a colon."""
    attempt, word = tutor.attempt, text.strip()
    if attempt is None or tutor.paused:
        return False
    if not word:
        meant = ":next" if attempt.solved else ""
    elif word.casefold() in _WITHOUT_COLON:
        meant = f":{word.casefold()}"
    else:
        meant = f":answer {word}" if _answers(attempt, word) else ""
    if meant and word:
        tutor.shell.say("tutor.understood", line=meant)
    if meant:
        await tutor.shell.run(meant)
    return bool(meant)


def _answers(attempt: Attempt, text: str) -> bool:
    """Whether a line that is no POP3 command is a right answer, or a whole prediction for a held line."""
    exercise = attempt.exercise
    if attempt.solved or parse(text).spec is not None:
        return False
    if exercise.kind is ExerciseKind.ANSWER:
        return attempt.words.is_answer(exercise.answers, text)
    return attempt.held is not None and attempt.words.prediction(text).complete


async def lessons(tutor: Tutor, argument: str) -> None:
    pages.list_lessons(tutor.shell, tutor.lessons, tutor.lesson.name if tutor.lesson else "")


async def lesson(tutor: Tutor, argument: str) -> None:
    if argument or tutor.lesson is None:
        await tutor.begin(argument)
    else:
        tutor.show_lesson()
        tutor.show_task()


async def task(tutor: Tutor, argument: str) -> None:
    tutor.show_task()


async def again(tutor: Tutor, argument: str) -> None:
    await tutor.again()


async def answer(tutor: Tutor, text: str) -> None:
    """`:answer TEXT`: an answer, or the prediction for the held line."""
    attempt, shell = tutor.attempt, tutor.shell
    if attempt is None or tutor.paused or attempt.exercise.kind not in (ExerciseKind.ANSWER, ExerciseKind.PREDICT):
        shell.say("tutor.no-question", style="warn")
    elif attempt.solved:
        shell.say("tutor.next")
    elif attempt.exercise.kind is ExerciseKind.PREDICT:
        await _predict(tutor, attempt, text)
    else:
        _answer(tutor, attempt, text)


def _answer(tutor: Tutor, attempt: Attempt, text: str) -> None:
    if attempt.answer(text):
        tutor.say_solved()
        return
    tutor.count_try()
    if (wrong := attempt.wrong_turn()) is not None:
        tutor.say_wrong(wrong.say)
    elif not attempt.words.is_answer(attempt.exercise.answers, text):
        tutor.shell.say("tutor.not-right", style="warn")
    elif attempt.missing() is not None:
        pages.say_missing(tutor.shell, attempt)
    else:
        tutor.shell.say("tutor.not-asked", style="warn")


async def _predict(tutor: Tutor, attempt: Attempt, text: str) -> None:
    shell = tutor.shell
    if attempt.held is None:
        raise Refused("tutor.type-first", line=attempt.exercise.line)
    said = attempt.words.prediction(text)
    if not said.complete:
        raise Refused("tutor.incomplete")
    line, attempt.held = attempt.held, None
    attempt.solved = True  # the line itself is judged here, together with the prediction
    try:
        await shell.send(line)
    finally:  # Ctrl-C, or no reply: the exercise is open as before
        attempt.solved = False
    last = next(reversed(shell.exchanges_here()), None)
    if last is not None and last.command is not None:
        _compare(tutor, attempt, said, last)


def _compare(tutor: Tutor, attempt: Attempt, said: Prediction, last: Exchange) -> None:
    """The prediction beside what came."""
    faults = attempt.compare(said, last)
    if faults is None:
        raise Refused("tutor.elsewhere", line=attempt.exercise.line)
    if not faults:
        if attempt.solved:
            tutor.say_solved()
        return
    tutor.count_try()
    words, response = tutor.shell.words, last.response
    status = "+OK" if response and response.ok else "-ERR"
    many = words("reply.many" if response and response.content is not None else "reply.one")
    for fault in faults:
        tutor.shell.say(f"tutor.wrong-{fault}", style="warn", status=status, state=last.after.value, lines=many)
    if "" in tutor.prose.wrong:
        tutor.say_wrong("")
    tutor.shell.say("tutor.predict-again", line=attempt.exercise.line)


async def next_(tutor: Tutor, argument: str = "") -> None:
    """The next open exercise; after the last of a lesson, the next lesson."""
    if tutor.lesson is None or tutor.attempt is None:
        await tutor.begin()
        return
    name = tutor.lesson.name
    if not tutor.standing_here().done:
        raise Refused("tutor.still-open")
    found = tutor.lessons.next_open(name, tutor.attempt.exercise.id)
    if found is None:
        tutor.course_done()
    else:
        await tutor.enter(*found, text=found[0].name != name)


async def hint(tutor: Tutor, argument: str) -> None:
    """The next hint; each says more."""
    _, attempt = tutor.here
    hints, standing = tutor.prose.hints, tutor.standing_here()
    at = min(attempt.hints_shown, len(hints) - 1)
    attempt.hints_shown += 1
    if hints:
        tutor.shell.say("tutor.hint", number=at + 1, total=len(hints))
        tutor.shell.screen.lines(pages.laid_out(tutor.shell, hints[at]))
        tutor.remember(hints=max(standing.hints, at + 1))
    if attempt.hints_shown >= len(hints):
        tutor.shell.say("tutor.solution-ready")


async def solution(tutor: Tutor, argument: str) -> None:
    """One way to solve it, after the hints; that it was seen is remembered."""
    _, attempt = tutor.here
    if attempt.hints_shown < len(tutor.prose.hints) and not tutor.standing_here().done:
        raise Refused("tutor.hints-first", left=len(tutor.prose.hints) - attempt.hints_shown)
    stamped = any(place in row for row in attempt.exercise.solution for place in ("<stamp>", "<apop>"))
    if stamped and (tutor.paused or tutor.shell.session is None):
        raise Refused("tutor.no-stamp")
    tutor.remember(solution=True)
    rows = [tutor.placed(text) for text in attempt.exercise.solution]
    rows = [f":flight {row.replace(chr(10), ' | ')}" if "\n" in row else row for row in rows]
    if attempt.exercise.kind is ExerciseKind.PREDICT:
        rows.insert(0, attempt.exercise.line)
    tutor.shell.screen.lines([[("", "    "), ("command", show(row, keep=""))] for row in rows])


async def skip(tutor: Tutor, argument: str) -> None:
    """Go on without having solved it; that it was skipped is remembered."""
    if not tutor.standing_here().done:
        tutor.remember(state="skipped")
        tutor.shell.say("tutor.skipped")
    await next_(tutor)


async def reset(tutor: Tutor, argument: str) -> None:
    """Forget this lesson's progress, or the course's, after asking."""
    shell, everything = tutor.shell, argument == "all"
    if argument and not everything:
        raise Refused
    lesson = None if everything else tutor.here[0]
    question = shell.words("tutor.ask-reset-all" if everything else "tutor.ask-reset")
    if not (shell.options.yes or await shell.confirm(question)):
        raise Refused("tutor.not-reset", style="note")
    tutor.lessons.progress.forget(tutor.lessons.course.id, lesson.id if lesson else None)
    tutor.tell_trouble()
    if lesson is None:
        tutor.lesson = tutor.attempt = None
        await tutor.begin()
    else:
        await tutor.enter(lesson, lesson.exercises[0], text=True)


async def wait(tutor: Tutor, argument: str) -> None:
    """Move the practice server's clock, and see what comes of it."""
    if not argument.isascii() or not argument.isdigit() or len(argument) > 6:
        raise Refused
    seconds, shell, attempt = float(argument), tutor.shell, tutor.attempt
    if attempt is not None and attempt.collector is not None and not tutor.paused:
        attempt.collector.wait(seconds)
    tutor.shell.say("tutor.waited", seconds=f"{seconds:g}")
    tutor.stage.pass_time(seconds)
    left = shell.seconds_left()
    if left is not None and left <= 0:
        await shell.link.closing()  # autologout; `line_lost` hears of it
    elif (judged := tutor.judged) is not None:
        tutor.weigh(judged)


async def certificate(tutor: Tutor, argument: str) -> None:
    from popshell.ui.exports import write_new

    if write_new(tutor.shell, argument, pages.certificate(tutor.shell, tutor.lessons)):
        tutor.shell.say("tutor.certificate-written", path=show(argument))
