"""What the course shows: a lesson's text, a task, what is missing, the end of a lesson, all lessons, the certificate.

It reads a course under way and changes nothing. All words are of lessons, so they pass `visible.show` (sec-D5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Protocol

from popshell import __version__
from popshell.course.attempt import Attempt
from popshell.course.catalog import Words
from popshell.course.checks import Check, Replied
from popshell.course.explain import citation
from popshell.course.lesson import Exercise, ExerciseKind, Lesson, Prose, Translation
from popshell.course.player import Rehearsal
from popshell.course.progress import Lessons, Standing
from popshell.protocol.commands import CAPABILITIES, COMMANDS, State, known_code
from popshell.session import transcript_lines
from popshell.ui import layout, pages
from popshell.ui.layout import Line
from popshell.ui.shell import Shell
from popshell.visible import show


class CourseView(Protocol):
    """What these pages read of a course under way: a Tutor."""

    @property
    def shell(self) -> Shell: ...

    @property
    def lessons(self) -> Lessons: ...

    @property
    def lesson(self) -> Lesson | None: ...

    @property
    def attempt(self) -> Attempt | None: ...

    @property
    def paused(self) -> bool: ...

    @property
    def prose(self) -> Prose: ...

    def all_lessons(self) -> Iterator[Lesson]: ...

    def standing(self, lesson: Lesson, exercise: Exercise) -> Standing: ...


def laid_out(shell: Shell, text: str) -> list[Line]:
    """Markdown of a lesson as lines for the window."""
    return list(pages.layout(text, shell.screen.look.within(pages.WIDEST), shell.words))


def toolbar(tutor: CourseView) -> Line:
    """Task and progress, for the toolbar."""
    lesson, attempt = tutor.lesson, tutor.attempt
    if lesson is None or attempt is None:
        return []
    words, at = tutor.shell.words, lesson.exercises.index(attempt.exercise) + 1
    number = tutor.lessons.course.lessons.index(lesson.name) + 1
    place = words("tutor.place", lesson=number, exercise=at, count=len(lesson.exercises))
    if attempt.solved:
        mark = "*" if tutor.shell.screen.ascii else "✔"
        return [("", " "), ("ok", f"{place} {mark} {words('tutor.go-on')}")]
    if attempt.overshot and not tutor.paused:
        return [("", " "), ("emphasis", place), ("", " "), ("warn", words("tutor.overshot"))]
    task = words("tutor.paused") if tutor.paused else show(tutor.prose.headline.replace("`", ""), keep="")
    return [("", " "), ("emphasis", place), ("", f" {task}")]


def say_missing(tutor: CourseView, attempt: Attempt) -> None:
    """What is missing, from the state that was reached."""
    evidence, words = attempt.evidence(), tutor.shell.words
    if (check := attempt.missing()) is None:
        return
    wanted, key = _wanted(check, words), check.name
    if key == "replied" and not wanted:
        key = "replied-any"
    elif key == "dropped" and not check.value:
        key = "not-dropped"
    differs = words.listed(words(f"field.{name}") for name in attempt.nearly(check))
    if differs:
        key = "replied-nearly"
    tutor.shell.say(
        f"missing.{key}",
        style="warn",
        differs=differs,
        state=evidence.state.value,
        marks=words.listed(sorted(evidence.marks)) or words("tutor.none"),
        maildrop=words.listed(evidence.maildrop) or words("tutor.none"),
        count=len(evidence.commands),
        wanted=wanted,
    )


def _wanted(check: Check, words: Words) -> str:
    """The value of a check in words; of `replied` its command, "" if it names none."""
    value = check.value
    if isinstance(value, State):
        return value.value
    if isinstance(value, tuple):
        named = [_named(step) if isinstance(step, Replied) else step for step in value]
        return words.listed(named) or words("tutor.none")
    if isinstance(value, int | str):
        return str(value)
    return str(getattr(value, "command", None) or "")


def _named(step: Replied) -> str:
    """A step in a few words: its command and the reply that is wanted, `APOP -ERR`; only the reply if any will do."""
    status = "" if step.ok is None else "+OK" if step.ok else f"-ERR [{step.code}]" if step.code else "-ERR"
    return f"{step.command or ''} {status}".strip() or "?"


def lesson_text(tutor: CourseView, lesson: Lesson) -> list[Line]:
    """A lesson's title and text; a translation that is older than its English text says so."""
    shell, names = tutor.shell, tutor.lessons.course.lessons
    title = shell.words(
        "tutor.title", number=names.index(lesson.name) + 1, total=len(names), title=show(lesson.title, keep="")
    )
    lines: list[Line] = [[], *layout.paragraph(title, shell.screen.look, " ", "emphasis")]
    if lesson.stale and shell.options.language != "en":
        key = "tutor.stale" if lesson.translation is Translation.STALE else "tutor.untranslated"
        lines += layout.paragraph(shell.words(key), shell.screen.look, style="dim")
    return lines + laid_out(shell, lesson.text)


def show_task(shell: Shell, lesson: Lesson, exercise: Exercise, prose: Prose) -> None:
    """An exercise's task, with the failed dialogue that is to be repaired."""
    at, total = lesson.exercises.index(exercise) + 1, len(lesson.exercises)
    head = shell.words("tutor.task", number=at, total=total)
    shell.screen.lines([[], *layout.paragraph(head, shell.screen.look, " ", "emphasis")])
    shell.screen.lines(laid_out(shell, prose.task))
    if exercise.failed:
        played = Rehearsal(shell.catalog, exercise)
        for line in exercise.failed:
            played.type(line)
        said = [e for e in (*played.start, *played.exchanges) if e.command is not None]
        rows = transcript_lines(said, masked=False)  # the slip may well be in the secret
        shell.screen.lines([[("dim", f"    {row}")] for row in rows])
    if exercise.kind is ExerciseKind.PREDICT:
        shell.say("tutor.how-predict", line=exercise.line)
    elif exercise.kind is ExerciseKind.ANSWER:
        shell.say("tutor.how-answer")


def summary(shell: Shell, lesson: Lesson) -> None:
    """The end of a lesson: what was learned, with its sources."""
    shell.say("tutor.lesson-done", style="emphasis", title=show(lesson.title, keep=""))
    lines: list[Line] = []
    for name in lesson.teaches:
        path, cite = taught(name)
        page = shell.catalog.page(shell.options.language, path) if path else None
        says = show(page.summary, keep="") if page else ""
        lines.append([("", "    "), ("command", show(name, keep="")), ("note", f"  {says}  "), ("rfc", cite)])
    shell.screen.lines(lines)


def taught(name: str) -> tuple[str, str]:
    """The page and the source of what a lesson teaches: a command, state, response code or capability."""
    row = known_code(name.strip("[]"))
    if name.startswith("[") and row is not None:
        return f"codes/{row.page}", citation(row.rfc, row.section)
    if name in COMMANDS:
        return f"commands/{name}", citation(COMMANDS[name].rfc, COMMANDS[name].section)
    if name in State.__members__:
        section = {"AUTHORIZATION": "4", "TRANSACTION": "5", "UPDATE": "6"}.get(name, "3")
        return f"states/{name}", citation(1939, section)
    if name in CAPABILITIES:
        return f"capabilities/{name}", citation(CAPABILITIES[name].rfc, CAPABILITIES[name].section)
    return (f"codes/{row.page}", citation(row.rfc, row.section)) if row else ("", "")


def list_lessons(tutor: CourseView) -> None:
    """All lessons with what is done of each."""
    shell, lines = tutor.shell, []
    for number, lesson in enumerate(tutor.all_lessons(), 1):
        standings = [tutor.standing(lesson, exercise) for exercise in lesson.exercises]
        solved = sum(s.state == "solved" for s in standings)
        here = tutor.lesson is not None and lesson.name == tutor.lesson.name
        whole = solved == len(standings)
        mark = ("*" if shell.screen.ascii else "✔") if whole else (">" if shell.screen.ascii else "▸") if here else " "
        style = "ok" if whole else "emphasis" if here else ""
        skipped = sum(s.state == "skipped" for s in standings)
        line: Line = [
            (style, f"  {mark} {number:>2}  "),
            ("number", f"{solved}/{len(standings)}  "),
            (style, show(lesson.title, keep="")),
            ("dim", f"  ({lesson.name.partition('-')[2]})"),
        ]
        if skipped:
            line.append(("warn", f"  {shell.words('tutor.skipped-count', count=skipped)}"))
        lines.append(line)
    shell.page(shell.screen.drawn(lines))


def certificate(tutor: CourseView) -> Iterable[str] | None:
    """The lines of the certificate; None, and it is said, while exercises are open."""
    words, open_ones, rows = tutor.shell.words, 0, []
    for lesson in tutor.all_lessons():
        rows += ["", show(lesson.title, keep="")]
        for exercise in lesson.exercises:
            standing = tutor.standing(lesson, exercise)
            open_ones += not standing.done
            row = words(
                "tutor.certificate-row",
                exercise=show(exercise.id, keep=""),
                state=words(f"tutor.certified-{standing.state or 'open'}"),
                tries=standing.tries,
                hints=standing.hints,
                solution=words("tutor.solution-seen" if standing.solution else "tutor.solution-unseen"),
            )
            rows.append(f"  {row}")
    if open_ones:
        tutor.shell.say("tutor.certificate-open", style="warn", count=open_ones)
        return None
    everything = [tutor.standing(lesson, e) for lesson in tutor.all_lessons() for e in lesson.exercises]
    totals = words(
        "tutor.certificate-totals",
        solved=sum(s.state == "solved" for s in everything),
        skipped=sum(s.state == "skipped" for s in everything),
        hints=sum(s.hints for s in everything),
        seen=sum(s.solution for s in everything),
    )
    made = words("tutor.certificate-made", date=date.today().isoformat(), version=__version__)
    return [words("tutor.certificate-title", course=show(tutor.lessons.course.id, keep="")), made, totals, *rows]
