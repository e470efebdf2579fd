"""Pages and the course on the screen: facts from the tables, Markdown as styled lines, tasks, lessons, certificate.

Of Markdown there are headings, paragraphs, lists, quotes and fenced blocks; anything else is shown as its text. Links
are shown with their target, never as terminal links (sec-D5). All words of pages and lessons pass `visible.tame` or
`visible.show`. Import this when the first page or lesson is shown: markdown-it takes a while to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from markdown_it.token import Token

from popshell import __version__
from popshell.course import document
from popshell.course.attempt import Attempt
from popshell.course.catalog import Words
from popshell.course.checks import Check, Replied
from popshell.course.document import Document
from popshell.course.explain import citation, subject, undo_in_words
from popshell.course.lesson import Exercise, ExerciseKind, Lesson, Prose, Translation
from popshell.course.player import Rehearsal
from popshell.course.progress import Lessons, Standing
from popshell.protocol.commands import (
    CAPABILITIES,
    COMMANDS,
    RESPONSE_CODES,
    CommandSpec,
    MultiLine,
    State,
    transitions,
)
from popshell.session import transcript_lines
from popshell.ui import layout, theme
from popshell.ui.layout import Line, Look, Run, beside, clip_line, columns, inline, line_columns, pad, wrap
from popshell.ui.shell import Refused, Shell
from popshell.visible import show, tame

#: No wider, in columns: long lines are hard to read.
WIDEST = 92
_KINDS = {"commands": "command", "codes": "code", "capabilities": "capability", "states": "state"}


def render(page: Document, path: str, words: Words, look: Look) -> list[Line]:
    """A page of `lessons/` (`:help RETR`): its summary in a frame, the facts from the tables, its body."""
    look = look.within(WIDEST)
    kind, _, name = path.partition("/")
    title = next((f"[{row.code}]" for row in RESPONSE_CODES.values() if path == f"codes/{row.page}"), name)
    if look.plain:
        lines = wrap([("", f"== {words.named(title, tame(page.summary))} ==")], look)
    else:
        lines = _framed([("command", title), ("dim", f"  {words(f'page.{_KINDS[kind]}')}")], tame(page.summary), look)
    labels = [(words(f"page.{label}") if label else "", fact) for label, fact in _facts(kind, title, page, words)]
    widest = max(columns(label) for label, _ in labels) + 3
    for label, fact in labels:
        lines += beside([("dim", pad(label, widest))], [fact] if isinstance(fact, tuple) else inline(fact), look)
    return [*lines, *markdown(page.body, look.within(-2), words)]


def _framed(title: Line, text: str, look: Look) -> list[Line]:
    """A text in a frame with a title."""
    inner = look.width - 4
    title = clip_line(look.spelled(title), inner - 2, look.ellipsis)
    stroke = "─" * (inner - line_columns(title) - 1)
    lines: list[Line] = [[("dim", "╭─ "), *title, ("dim", f" {stroke}╮")]]
    for line in wrap([("", text)], look.within(-4)):
        lines.append([("dim", "│ "), *line, ("dim", " " * (inner - line_columns(line)) + " │")])
    return [look.spelled(line) for line in (*lines, [("dim", f"╰{'─' * (inner + 2)}╯")])]


def _facts(kind: str, name: str, page: Document, words: Words) -> Iterator[tuple[str, str | Run]]:
    if kind == "commands":
        yield from _command_facts(COMMANDS[name], page, words)
    elif kind != "states":
        if kind == "capabilities":
            yield "announced-in", " / ".join(s.value for s in State if s in CAPABILITIES[name].announced)
        yield "source", ("rfc", subject(name)[1])
    else:
        state = State(name)
        for arrow in transitions():
            if arrow.before is state and arrow.after is not state:
                server = words("diagram.closes" if state is State.UPDATE else "diagram.greeting")
                yield "leads-to", f"{' / '.join(arrow.commands) or server} → {arrow.after.value}"


def _command_facts(spec: CommandSpec, page: Document, words: Words) -> Iterator[tuple[str, str | Run]]:
    if spec.historic:
        yield "", ("warn", words("page.history"))
    yield "syntax", ("command", spec.syntax)
    for at, param in enumerate(spec.params):
        yield "" if at else "arguments", words.named(param.name, tame(page.note(f"args.{param.name}") or ""))
    arrows = [a.value if a is b else f"{a.value} → {b.value}" for a, b in spec.transitions.items()]
    yield "states", " / ".join(arrows)
    if spec.multi_line is MultiLine.WITHOUT_ARGUMENT:
        full = spec.syntax.replace("[", "").replace("]", "")
        for at, (form, key) in enumerate(((spec.name, "many"), (full, "one"))):
            yield "" if at else "reply", words.named(form, words(f"reply.{key}"))
    else:
        yield "reply", words("reply.many" if spec.multi_line is MultiLine.ALWAYS else "reply.one")
    for at, undo in enumerate(undo_in_words(spec, words)):
        yield "" if at else "undo", undo
    if spec.capability:
        yield "announced-by", f"CAPA: {spec.capability}"
    yield "source", ("rfc", citation(spec.rfc, spec.section))
    if spec.see:
        yield "see-also", ("rfc", words.listed(citation(*where) for where in spec.see))


# -- Markdown ----------------------------------------------------------------------------------------------------------


def markdown(text: str, look: Look, words: Words) -> Iterator[Line]:
    """Markdown as styled lines."""
    indent, first = "  ", ""
    heading = False
    for token in document.markdown(text):
        match token.type:
            case "heading_open":
                heading = True
                yield []
            case "heading_close":
                heading = False
            case "list_item_open":
                first = f"{token.info}{token.markup} " if token.info else "- " if look.signless else "• "
                indent += "  "
            case "list_item_close":
                indent = indent[:-2]
            case "paragraph_open" if not first:
                yield []
            case "inline" if heading:
                yield from wrap(_inline(token, "emphasis"), look, " ", " ")
            case "inline":
                yield from wrap(_inline(token, ""), look, indent[:-2] + first if first else indent, indent)
                first = ""
            case "fence" | "code_block":
                yield []
                yield from _fence(token, indent, look, words)


def _inline(token: Token, style: str) -> Iterator[Run]:
    current, target = style, ""
    for child in token.children or ():
        match child.type:
            case "text":
                yield current, tame(child.content)
            case "code_inline":
                yield "literal", tame(child.content)
            case "softbreak" | "hardbreak":
                yield current, " "
            case "em_open" | "strong_open":
                current = "emphasis"
            case "em_close" | "strong_close":
                current = style
            case "link_open":
                target = str(child.attrGet("href") or "")
            case "link_close":
                yield "dim", f" <{tame(target)}>" if target else ""
            case "image" | "html_inline":
                yield current, tame(child.content)


def _fence(token: Token, indent: str, look: Look, words: Words) -> Iterator[Line]:
    word, _, info = token.info.partition(" ")
    if word == "pop3" and info.startswith("quoted"):
        source = info.partition(" ")[2].strip().strip('"')
        yield from wrap([("dim", words("page.quoted", source=tame(source)))], look, indent, indent)
    for row in token.content.rstrip("\n").split("\n"):
        line = look.spelled([("", indent), *(_dialogue(row) if word == "pop3" else [("literal", tame(row))])])
        if line_columns(line) <= look.width:
            yield line
        else:  # what does not fit goes on below, right of the mark
            yield from wrap(line[1:], look, indent, indent + "   ")


def _dialogue(row: str) -> Line:
    text = tame(row)
    mark, rest = text[:3], text[3:]
    if mark == "C: ":
        return [("gutter-client", mark), ("command", rest)]
    if mark != "S: ":
        return [("dim", text)]
    return [("gutter-server", mark), *theme.runs(rest, theme.status_spans(rest))]


# -- the course --------------------------------------------------------------------------------------------------------


def tick(shell: Shell) -> str:
    """The sign of what is done."""
    return "*" if shell.screen.ascii else "✔"


def laid_out(shell: Shell, text: str) -> list[Line]:
    """Markdown of a lesson as lines for the window."""
    return list(markdown(text, shell.screen.look.within(WIDEST), shell.words))


def say_missing(shell: Shell, attempt: Attempt) -> None:
    """What is missing, from the state that was reached."""
    evidence, words = attempt.evidence(), shell.words
    if (check := attempt.missing()) is None:
        return
    wanted, key = _wanted(check, words), check.name
    if key == "replied" and not wanted:
        key = "replied-any"
    elif check.value is False:  # a task that is to do without TLS, or without dropping the connection
        key = f"not-{key}"
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
    number, shown = names.index(lesson.name) + 1, show(lesson.title, keep="")
    title = shell.words("tutor.title", number=number, total=len(names), title=shown)
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
        path, cite = subject(name)
        page = shell.catalog.page(shell.options.language, path) if path else None
        says = show(page.summary, keep="") if page else ""
        head: Line = [("", "    "), ("command", show(name, keep="")), ("", "  ")]
        lines += beside(head, [("note", f"{says}  "), ("rfc", cite)], shell.screen.look)
    shell.screen.lines(lines)


def list_lessons(shell: Shell, lessons: Lessons, here: str) -> None:
    """All lessons with what is done of each; `here` is the name of the one that is open."""
    lines: list[Line] = []
    for number, lesson in enumerate(lessons.all(), 1):
        standings = [lessons.standing(lesson, exercise) for exercise in lesson.exercises]
        solved, skipped = (sum(s.state == state for s in standings) for state in ("solved", "skipped"))
        mark, style = " ", ""
        if solved == len(standings):
            mark, style = tick(shell), "ok"
        elif lesson.name == here:
            mark, style = ">" if shell.screen.ascii else "▸", "emphasis"
        head: Line = [(style, f"  {mark} {number:>2}  "), ("number", f"{solved}/{len(standings)}  ")]
        said = [(style, show(lesson.title, keep="")), ("dim", f"  ({lesson.name.partition('-')[2]})")]
        if skipped:
            said.append(("warn", f"  {shell.words('tutor.skipped-count', count=skipped)}"))
        lines += beside(head, said, shell.screen.look)
    shell.page(shell.screen.drawn(lines))


def certificate(shell: Shell, lessons: Lessons) -> list[str]:
    """The lines of the certificate. Raises Refused while exercises are open."""
    words, rows, everything = shell.words, list[str](), list[Standing]()
    for lesson in lessons.all():
        rows += ["", show(lesson.title, keep="")]
        for exercise in lesson.exercises:
            reached = lessons.standing(lesson, exercise)
            everything.append(reached)
            row = words(
                "tutor.certificate-row",
                exercise=show(exercise.id, keep=""),
                state=words(f"tutor.certified-{reached.state or 'open'}"),
                tries=reached.tries,
                hints=reached.hints,
                solution=words("tutor.solution-seen" if reached.solution else "tutor.solution-unseen"),
            )
            rows.append(f"  {row}")
    if open_ones := sum(not s.done for s in everything):
        raise Refused("tutor.certificate-open", count=open_ones)
    totals = words(
        "tutor.certificate-totals",
        solved=sum(s.state == "solved" for s in everything),
        skipped=sum(s.state == "skipped" for s in everything),
        hints=sum(s.hints for s in everything),
        seen=sum(s.solution for s in everything),
    )
    made = words("tutor.certificate-made", date=date.today().isoformat(), version=__version__)
    return [words("tutor.certificate-title", course=show(lessons.course.id, keep="")), made, totals, *rows]
