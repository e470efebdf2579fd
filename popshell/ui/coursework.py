"""Meta commands of the course: the table's functions call the Tutor, which is made when the first of them is typed.

The table of all meta commands is in meta.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from popshell.ui.doing import write_new
from popshell.ui.shell import Misused, Shell
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.ui.tutor import Tutor

Run = Callable[[Shell, str], Awaitable[None]]


def _tutor(shell: Shell) -> Tutor | None:
    """The course; begun on the first of its commands. None, and said, if it cannot be read."""
    if shell.tutor is None and shell.make_tutor is not None:
        from popshell.learn.lesson import LessonError

        try:
            shell.tutor = shell.make_tutor(shell)
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=show(str(error)))
            return None
    if shell.tutor is None:
        shell.say("tutor.no-course", style="warn")
    return shell.tutor


def of_course(act: Callable[[Tutor, str], Awaitable[None] | None]) -> Run:
    """A meta command of the course. A lesson that cannot be read is said, not raised."""

    async def run(shell: Shell, argument: str) -> None:
        from popshell.learn.lesson import LessonError

        tutor = _tutor(shell)
        if tutor is None:
            return
        try:
            done = act(tutor, argument)
            if done is not None:
                await done
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=show(str(error)))

    return run


async def begin_course(shell: Shell, lesson: str) -> bool:
    """`popshell learn`: False, with the reason shown, if the course cannot begin."""
    from popshell.learn.lesson import LessonError

    tutor = _tutor(shell)
    if tutor is None:
        shell.tally.usage = True
        return False
    try:
        return await tutor.begin(lesson or None) or await shell.connect("practice")
    except LessonError as error:
        shell.say("tutor.unreadable", style="err", reason=show(str(error)))
        shell.tally.usage = True
        return False


async def lesson(tutor: Tutor, argument: str) -> None:
    if argument or tutor.lesson is None:
        await tutor.begin(argument or None)
    else:
        tutor.show_lesson()
        tutor.show_task()


async def again(tutor: Tutor, argument: str) -> None:
    if tutor.exercise is None:
        tutor.shell.say("tutor.no-exercise", style="warn")
    else:
        await tutor.again()


async def wait(tutor: Tutor, argument: str) -> None:
    if not argument.isascii() or not argument.isdigit() or len(argument) > 6:
        raise Misused
    await tutor.wait(float(argument))


async def reset(tutor: Tutor, argument: str) -> None:
    if argument not in ("", "all"):
        raise Misused
    await tutor.reset(argument == "all")


def certificate(tutor: Tutor, argument: str) -> None:
    lines = tutor.certificate()
    if lines is not None and write_new(tutor.shell, argument, lambda: lines):
        tutor.shell.say("tutor.certificate-written", path=show(argument))
