"""Lint of lessons: every exercise is played. Its solution passes, no prefix of it does, no listed wrong turn does.

What a lesson says it teaches is held against what its exercises really do: the commands sent, the states met, the
response codes and capabilities that came back. Each exercise has all its texts, and both languages name the same
commands. `course.toml` names the lessons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources.abc import Traversable
from typing import Any

from popshell.course.attempt import vocabulary
from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.checks import was_asked
from popshell.course.document import FENCE, Document, LessonError
from popshell.course.lesson import (
    TEMPLATE,
    Exercise,
    ExerciseKind,
    Lesson,
    fingerprint,
    read_lesson,
    read_prose,
    sections,
)
from popshell.course.player import PLACEHOLDERS, Rehearsal
from popshell.course.progress import Course, read_course
from popshell.lint.files import LESSON, Finding, Source, Tree
from popshell.lint.pages import CODE
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, State
from popshell.protocol.records import Exchange
from popshell.visible import show, width

_PLACE = re.compile(r"<[a-z-]+>")
_META = re.compile(r":([a-z]+)(?![^ ])")
#: An id is typed (`:lesson dots/full-stops`) and is a key of the progress file.
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
#: The toolbar shows no more of a task than its first sentence, and that in one line.
WIDEST_HEADLINE = 60
#: The keys that an exercise of a kind has to have.
_NEEDS = {
    ExerciseKind.DO: ("check", "solution"),
    ExerciseKind.PREDICT: ("line", "solution"),
    ExerciseKind.ANSWER: ("answer", "solution"),
    ExerciseKind.REPAIR: ("check", "solution", "failed"),
}
_TRANSLATED = frozenset({"title", "translated_from"})


def check_course(tree: Tree, root: Traversable) -> Iterator[Finding]:
    """`course.toml` itself: its fields, the lessons that it names, each once, and its id."""
    source = tree.sources.get("course.toml")
    if source is None:
        return
    if source.fault is not None:
        yield source.finding(source.fault.line, "bad-course", **source.fault.facts)
        return
    known, named = Course.__struct_fields__, source.head.get("lessons")
    found = [source.finding(key, "course-field", key=key, known=known) for key in source.head.keys() - set(known)]
    # What is no text is said by read_course.
    names = [name for name in (named if isinstance(named, list) else ()) if isinstance(name, str)]
    for at, name in enumerate(names):
        code = "bad-name" if LESSON.fullmatch(name) is None else "listed-twice" if name in names[:at] else ""
        if code:
            line = source.line_with(name, "lessons", nth=names[: at + 1].count(name))
            found.append(source.finding(line, code, name=name))
    yield from found
    if not found:
        try:
            read_course(Catalog((root,)))
        except LessonError as error:
            code = error.code if error.code == "course-id-taken" else "bad-course"
            yield Finding(error.path, error.line or 1, code, error.facts)


def check_lessons(tree: Tree, catalog: Catalog) -> Iterator[Finding]:
    """Everything about the lessons below a directory. Of one that cannot be read nothing else is said."""
    ids: set[str] = set()
    first = tree.languages[0]
    for name in (*([TEMPLATE] if f"{first}/{TEMPLATE}.md" in tree.sources else ()), *tree.lessons):
        source = tree.sources.get(f"{first}/{name}.md")
        if source is None or source.fault is not None:
            continue  # said already, as a file that is missing or cannot be read
        try:
            lesson = read_lesson(catalog, name, first)
        except LessonError as error:
            if error.code != "too-deep":  # said of every page
                yield Finding(error.path, error.line, error.code, error.facts)
            continue
        if lesson.id in ids:
            yield source.finding("id", "duplicate-id", id=lesson.id)
        ids.add(lesson.id)
        yield from _check_lesson(source, lesson, catalog)
        inner = {exercise.id for exercise in lesson.exercises}
        for tag in LANGUAGES if len(inner) == len(lesson.exercises) else ():  # words belong to exercises by their ids
            other = tree.sources.get(f"{tag}/{name}.md")
            if other is not None and other.fault is None:
                yield from _check_prose(source, other, lesson)


def _check_lesson(source: Source, lesson: Lesson, catalog: Catalog) -> Iterator[Finding]:
    """The facts of a lesson: names, ids, and each exercise played."""
    if not _ID.fullmatch(lesson.id):
        yield source.finding("id", "bad-id", id=show(lesson.id, keep=""))
    own = source.head.get("maildrop", "default")
    seen: set[str] = set()
    met: set[str] = set()
    unplayed: set[str] = set()  # maildrops that are not there; "" for what cannot be played at all
    for index, exercise in enumerate(lesson.exercises):
        line = source.line("exercise", index, "id")
        if not _ID.fullmatch(exercise.id):
            yield source.finding(line, "bad-id", id=show(exercise.id, keep=""))
        if exercise.id in seen:
            yield source.finding(line, "duplicate-id", id=exercise.id)
        seen.add(exercise.id)
        if lacks := [key for key in _NEEDS[exercise.kind] if not source.head["exercise"][index].get(key)]:
            facts = {"id": exercise.id, "kind": exercise.kind.value}
            yield from (source.finding(line, "kind-needs", **facts, key=key) for key in lacks)
            unplayed.add("")
            continue
        yield from _check_places(source, index, exercise)
        try:
            played = _Played(source, index, exercise, catalog, met)
            yield from played.findings()
            unplayed |= set() if played.through else {""}
        except LessonError as error:  # else a mail that must not be read: said already, by its name
            # The lesson's own maildrop is said once.
            if error.code == "missing-maildrop" and (exercise.maildrop != own or own not in unplayed):
                at = source.line("maildrop") if exercise.maildrop == own else line
                yield source.finding(at, "missing-maildrop", name=exercise.maildrop)
            unplayed.add(exercise.maildrop)
        except ValueError as error:
            yield source.finding(line, "bad-lesson", reason=error)
    codes = (*RESPONSE_CODES, *(f"[{code}]" for code in RESPONSE_CODES))
    for name in lesson.teaches:
        if name not in (*COMMANDS, *State.__members__, *CAPABILITIES, *codes):
            yield source.finding("teaches", "teaches-unknown", name=name)
        elif name not in met and not unplayed:  # what was not played may teach it
            yield source.finding("teaches", "not-taught", name=name)


def _check_places(source: Source, index: int, exercise: Exercise) -> Iterator[Finding]:
    """What looks like a placeholder in a line is one."""
    wrong = (line for turn in exercise.wrong for line in turn.lines)
    for line in (*exercise.start, exercise.line, *exercise.failed, *exercise.solution, *wrong):
        for place in _PLACE.findall(line):
            if place not in PLACEHOLDERS:
                at = source.line_with(place, "exercise", index)
                facts = {"id": exercise.id, "place": place, "known": tuple(PLACEHOLDERS)}
                yield source.finding(at, "no-such-placeholder", **facts)


class _Played:
    """One exercise played: its solution passes; the prefixes of it and the wrong turns do not."""

    def __init__(self, source: Source, index: int, exercise: Exercise, catalog: Catalog, met: set[str]) -> None:
        self._source, self._index, self._exercise = source, index, exercise
        self._catalog, self._met, self._words = catalog, met, vocabulary(catalog)
        #: whether the solution was played to its end, so that it is known what the exercise teaches
        self.through = False

    def findings(self) -> Iterator[Finding]:
        exercise = self._exercise
        whole = self._rehearse()
        if whole.unheard is not None:
            yield self._finding("start-unheard", "start", line=whole.unheard)
            return  # what else is wrong may follow from it
        self.through = whole.play(exercise.solution)
        if not self.through:
            yield self._why_not(whole)
        self._met |= _met([*whole.start, *whole.exchanges])
        for count in range(len(exercise.solution)):
            if self._rehearse().play(exercise.solution[:count]):
                yield self._finding("prefix-passes", count=count, total=len(exercise.solution))
                break
        for lines in (*(wrong.lines for wrong in exercise.wrong), *([exercise.failed] if exercise.failed else ())):
            wrong = self._rehearse()
            if wrong.play(lines):
                yield self._finding("wrong-passes", lines=" / ".join(lines))
            elif (answer := self._right_among(lines)) is not None:
                yield self._finding("wrong-is-right", lines=" / ".join(lines), answer=answer)
            self._met |= _met(wrong.exchanges)

    def _rehearse(self) -> Rehearsal:
        return Rehearsal(self._catalog, self._exercise)

    def _finding(self, code: str, key: str = "id", /, **facts: object) -> Finding:
        return self._source.finding(
            self._source.line("exercise", self._index, key), code, id=self._exercise.id, **facts
        )

    def _right_among(self, lines: tuple[str, ...]) -> str | None:
        """A right answer that a wrong turn gives: it passes once the server was asked, unless checks want more."""
        if self._exercise.kind is not ExerciseKind.ANSWER or self._exercise.checks:
            return None
        said = (line.partition(" ")[2] for line in lines if line.startswith(":answer "))
        return next((text for text in said if self._words.is_answer(self._exercise.answers, text)), None)

    def _why_not(self, whole: Rehearsal) -> Finding:
        """What the solution lacks: a right answer, a reply that it stands in, a right prediction, or a check."""
        exercise, evidence = self._exercise, whole.evidence()
        said = [line.partition(" ")[2] for line in exercise.solution if line.startswith(":answer ")]
        if exercise.kind is ExerciseKind.ANSWER:
            if not any(self._words.is_answer(exercise.answers, text) for text in said):
                return self._finding("solution-answers-not", answers=" / ".join(exercise.answers))
            if exercise.seen and not was_asked(exercise.answers, evidence):
                return self._finding("answer-unseen", answers=" / ".join(exercise.answers))
        if exercise.kind is ExerciseKind.PREDICT and not evidence.predicted:
            replied = next((e for e in reversed(evidence.commands) if e.response is not None), None)
            if not said or replied is None or replied.response is None:
                return self._finding("predicts-nothing")
            status = "+OK" if replied.response.ok else "-ERR"
            lines = "one" if replied.response.content is None else "many"
            return self._finding("mispredicts", wanted=said[-1], really=f"{status} {replied.after.value} {lines}")
        failing = [at for at, check in enumerate(exercise.checks) if not check.holds(evidence)]
        raw = self._source.head["exercise"][self._index].get("check", [])
        checks = "; ".join(_toml(raw[at])[2:-2] for at in failing)
        return self._finding("solution-fails", checks=checks or "-")


def _toml(value: Any) -> str:
    """A value of a head as it is written on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _met(exchanges: Iterable[Exchange]) -> set[str]:
    """The names of what these exchanges touched: commands, states, response codes, capabilities."""
    names: set[str | None] = set()
    for exchange in exchanges:
        spec, response = exchange.command.spec if exchange.command else None, exchange.response
        names |= {exchange.before.value, exchange.after.value, "PIPELINING" if exchange.ahead else None}
        if spec is not None:
            names |= {spec.name, spec.capability}
        if response is not None:
            names |= {response.code, f"[{response.code}]", "RESP-CODES" if response.code else None}
            names |= {"AUTH-RESP-CODE"} if response.code == "AUTH" else set()
            names |= response.capabilities().keys() if exchange.name == "CAPA" else set()
    return {name for name in names if name}


# -- the words ---------------------------------------------------------------------------------------------------------


def _check_prose(english: Source, source: Source, lesson: Lesson) -> Iterator[Finding]:
    """The words of one language: a task, hints, what was shown, and a text for each wrong turn."""
    if source is not english:
        yield from _check_translation(english, source)
    title = source.head.get("title")
    if isinstance(title, str) and not (title.strip() and title.isprintable() and width(title) <= WIDEST_HEADLINE):
        yield source.finding("title", "bad-title", columns=width(title), most=WIDEST_HEADLINE)
    prose, ours = read_prose(source)[1], read_prose(english)[1]
    lines = {identity: line for identity, what, line, _ in sections(source) if what == "task"}
    for index, exercise in enumerate(lesson.exercises):
        line = lines.get(exercise.id) or (source.line("exercise", index) if source is english else 0)
        words = prose.get(exercise.id)
        if words is None or not words.task:
            yield source.finding(line, "no-task", id=exercise.id)
            continue
        if not words.hints or not all(words.hints):
            yield source.finding(line, "no-hint", id=exercise.id)
        if not words.solved:
            yield source.finding(line, "no-solved", id=exercise.id)
        wanted = [wrong.say for wrong in exercise.wrong]
        strays = [say for say in words.wrong if say and say not in wanted]
        for code, says in (("no-wrong", [say for say in wanted if not words.wrong.get(say)]), ("stray-wrong", strays)):
            yield from (source.finding(line, code, id=exercise.id, say=say) for say in says)
        if (columns := width(words.headline.replace("`", ""))) > WIDEST_HEADLINE:
            yield source.finding(line, "headline-wide", id=exercise.id, columns=columns, most=WIDEST_HEADLINE)
        if exercise.id in ours and len(words.hints) != len(ours[exercise.id].hints):
            yield source.finding(line, "hints-differ", id=exercise.id, other=english.path)
    for identity in prose.keys() - {exercise.id for exercise in lesson.exercises}:
        yield source.finding(lines[identity], "stray-exercise", id=identity)
    if source is not english:
        yield from _compare(source, english)
    for at, row in source.outside_fences():
        if at >= source.body_line:
            unknown = [*filter(None, (_no_meta(span.strip()) for span in CODE.findall(row)))]
            yield from (source.finding(at, "no-such-meta", meta=meta) for meta in unknown[:1])


def _compare(source: Source, english: Source) -> Iterator[Finding]:
    """Each section names the same commands in both languages; what is no meta command at all is said otherwise."""
    there = _named(english)
    for section, (line, commands) in _named(source).items():
        odd = commands ^ there[section][1] if section in there else set()
        if odd and not any(map(_no_meta, odd)):
            yield source.finding(line, "commands-differ", commands=", ".join(sorted(odd)), other=english.path)


def _named(source: Source) -> dict[tuple[str, str], tuple[int, set[str]]]:
    """The line of each section, and the commands that it names; a hint belongs to its task. What is empty has none."""
    found: dict[tuple[str, str], tuple[int, set[str]]] = {}
    for identity, what, line, text in sections(source):
        where = identity, what if what != "hint" else "task"
        if text:
            first, commands = found.get(where, (line, set()))
            found[where] = first, commands | _commands(text)
    return found


@cache
def _metas() -> frozenset[str]:
    """The names of the shell's own commands: each has its text in `messages.toml`, `[meta]`."""
    keys = Catalog((bundled(),)).words("en").keys()
    return frozenset(name for section, _, name in (key.partition(".") for key in keys) if section == "meta")


def _commands(text: str) -> set[str]:
    """The lines to type that a text names: POP3 and meta commands. Answers may be words of a language."""
    outside = "\n".join(row for _, row in Document("", f"{FENCE}\n{FENCE}\n{text}").outside_fences())
    spans = (" ".join(span.split()) for span in CODE.findall(outside) if span.strip())
    return {
        ":answer" if span.startswith(":answer") else span
        for span in spans
        if span.split()[0].upper() in COMMANDS or span.startswith(":")
    }


def _no_meta(span: str) -> str:
    """The meta command that a span names and that does not exist, "" if there is none."""
    found = _META.match(span)
    return found[0] if found and found[1] not in _metas() else ""


def _check_translation(english: Source, source: Source) -> Iterator[Finding]:
    for key in sorted(source.head.keys() - _TRANSLATED):
        yield source.finding(key, "translated-fact", key=key, other=english.path)
    if not isinstance(source.head.get("title"), str):
        yield source.finding(1, "missing-key", key="title")
    if source.head.get("translated_from") != fingerprint(english.text):
        yield source.finding("translated_from", "stale", other=english.path)
