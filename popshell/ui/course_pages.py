"""What the course shows: a lesson's text, a task, what is missing, the end of a lesson, all lessons, the certificate.

It changes nothing. All words are of lessons, so they pass `visible.show` (sec-D5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date

from popshell import __version__
from popshell.course.attempt import Attempt
from popshell.course.catalog import Words
from popshell.course.checks import Check, Replied
from popshell.course.explain import citation
from popshell.course.lesson import Exercise, ExerciseKind, Lesson, Prose, Translation
from popshell.course.player import Rehearsal
from popshell.course.progress import Standing
from popshell.protocol.commands import CAPABILITIES, COMMANDS, State, known_code
from popshell.transcript import transcript_lines
from popshell.ui import layout, pages
from popshell.ui.layout import Line
from popshell.ui.shell import Shell
from popshell.visible import show

Standings = Callable[[Lesson, Exercise], Standing]


def laid_out(shell: Shell, text: str) -> list[Line]:
    """Markdown of a lesson as lines for the window."""
    return list(pages.layout(text, shell.screen.look.within(pages.WIDEST), shell.words))


def say_missing(shell: Shell, attempt: Attempt) -> None:
    """What is missing, from the state that was reached."""
    evidence, words = attempt.evidence(), shell.words
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
    shell.say(
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


def lesson_text(shell: Shell, names: Sequence[str], lesson: Lesson) -> list[Line]:
    """A lesson's title and text; `names` are all lessons. A translation that is older than its English text says so."""
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


def list_lessons(shell: Shell, lessons: Iterable[Lesson], here: str, standing: Standings) -> None:
    """All lessons with what is done of each; `here` is the name of the one that is open."""
    lines = []
    for number, lesson in enumerate(lessons, 1):
        standings = [standing(lesson, exercise) for exercise in lesson.exercises]
        solved = sum(s.state == "solved" for s in standings)
        is_here = lesson.name == here
        whole = solved == len(standings)
        signs = "*>" if shell.screen.ascii else "✔▸"
        mark = signs[0] if whole else signs[1] if is_here else " "
        style = "ok" if whole else "emphasis" if is_here else ""
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


def certificate(shell: Shell, course: str, lessons: Sequence[Lesson], standing: Standings) -> Iterable[str] | None:
    """The lines of the certificate; None, and it is said, while exercises are open."""
    words, open_ones, rows = shell.words, 0, []
    for lesson in lessons:
        rows += ["", show(lesson.title, keep="")]
        for exercise in lesson.exercises:
            reached = standing(lesson, exercise)
            open_ones += not reached.done
            row = words(
                "tutor.certificate-row",
                exercise=show(exercise.id, keep=""),
                state=words(f"tutor.certified-{reached.state or 'open'}"),
                tries=reached.tries,
                hints=reached.hints,
                solution=words("tutor.solution-seen" if reached.solution else "tutor.solution-unseen"),
            )
            rows.append(f"  {row}")
    if open_ones:
        shell.say("tutor.certificate-open", style="warn", count=open_ones)
        return None
    everything = [standing(lesson, e) for lesson in lessons for e in lesson.exercises]
    totals = words(
        "tutor.certificate-totals",
        solved=sum(s.state == "solved" for s in everything),
        skipped=sum(s.state == "skipped" for s in everything),
        hints=sum(s.hints for s in everything),
        seen=sum(s.solution for s in everything),
    )
    made = words("tutor.certificate-made", date=date.today().isoformat(), version=__version__)
    return [words("tutor.certificate-title", course=show(course, keep="")), made, totals, *rows]
