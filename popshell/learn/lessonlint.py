"""Lint of lessons: every exercise is played. Its solution passes, no prefix of it does, no listed wrong turn does, and
its words are all there in both languages.

What a lesson says it teaches is held against what its exercises really do: the commands sent, the states met, the
response codes and capabilities that came back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from popshell.learn.catalog import LANGUAGES, Catalog, Page
from popshell.learn.course import read_course
from popshell.learn.faults import Finding
from popshell.learn.lesson import (
    Exercise,
    ExerciseKind,
    Lesson,
    LessonError,
    Prose,
    fingerprint,
    line_of,
    read_lesson,
    read_prose,
)
from popshell.learn.rehearsal import Rehearsal
from popshell.learn.tree import TEMPLATE, Source, Tree
from popshell.protocol.capabilities import CAPABILITIES, RESPONSE_CODES
from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.exchange import Exchange

_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_TRANSLATED = frozenset({"title", "translated_from"})


def check_lessons(tree: Tree, catalog: Catalog) -> Iterator[Finding]:
    """Everything about the lessons below a directory, and its `course.toml`."""
    names = [TEMPLATE] if f"en/{TEMPLATE}.md" in tree.sources else []
    if "course.toml" in tree.sources:
        try:
            names += read_course(catalog).lessons
        except LessonError as error:
            yield Finding(error.path, error.line, "bad-course", {"reason": error.reason})
    ids: dict[str, str] = {}
    for name in names:
        source = tree.sources.get(f"en/{name}.md")
        if source is None:
            continue  # said already, as a file that is missing
        try:
            lesson = read_lesson(catalog, name, "en")
        except LessonError as error:
            yield Finding(error.path, error.line, "bad-lesson", {"reason": error.reason})
            continue
        if lesson.id in ids:
            yield Finding(source.path, line_of(source.text, "", lesson.id), "duplicate-id", {"id": lesson.id})
        ids[lesson.id] = name
        yield from _check_lesson(source, lesson, catalog)
        for tag in LANGUAGES:
            other = tree.sources.get(f"{tag}/{name}.md")
            if other is not None:
                yield from _check_prose(source, other, lesson)


def _check_lesson(source: Source, lesson: Lesson, catalog: Catalog) -> Iterator[Finding]:
    """The facts of a lesson: names, ids, and each exercise played."""
    path, text = source.path, source.text
    if not lesson.exercises:
        yield Finding(path, 1, "no-exercise")
    seen: set[str] = set()
    met: set[str] = set()
    for exercise in lesson.exercises:
        line = line_of(text, "", exercise.id)
        if exercise.id in seen:
            yield Finding(path, line, "duplicate-id", {"id": exercise.id})
        seen.add(exercise.id)
        yield from _check_form(path, line, exercise)
        try:
            yield from _play(path, line, exercise, catalog, met)
        except FileNotFoundError:
            yield Finding(path, line, "missing-maildrop", {"name": exercise.maildrop})
        except LessonError:
            pass  # a mail that must not be read: said already, with its name
        except ValueError as error:
            yield Finding(path, line, "bad-lesson", {"reason": str(error)})
    teaches = _line_with(text, "teaches")
    for name in lesson.teaches:
        codes = (*RESPONSE_CODES, *(f"[{code}]" for code in RESPONSE_CODES))
        if name not in (*COMMANDS, *State.__members__, *CAPABILITIES, *codes):
            yield Finding(path, teaches, "teaches-unknown", {"name": name})
        elif name not in met:
            yield Finding(path, teaches, "not-taught", {"name": name})


def _check_form(path: str, line: int, exercise: Exercise) -> Iterator[Finding]:
    """What each kind of exercise has to have."""
    wanted = {ExerciseKind.PREDICT: ("line", exercise.line), ExerciseKind.ANSWER: ("answer", exercise.answers)}
    if exercise.kind in wanted:
        key, value = wanted[exercise.kind]
        if not value:
            yield Finding(path, line, "kind-needs", {"id": exercise.id, "kind": exercise.kind.value, "key": key})
    elif not exercise.checks:
        yield Finding(path, line, "kind-needs", {"id": exercise.id, "kind": exercise.kind.value, "key": "check"})
    if not exercise.solution:
        yield Finding(path, line, "kind-needs", {"id": exercise.id, "kind": exercise.kind.value, "key": "solution"})
    if exercise.kind is ExerciseKind.REPAIR and not exercise.failed:
        yield Finding(path, line, "kind-needs", {"id": exercise.id, "kind": exercise.kind.value, "key": "failed"})


def _play(path: str, line: int, exercise: Exercise, catalog: Catalog, met: set[str]) -> Iterator[Finding]:
    """The solution passes; its prefixes and the wrong turns do not."""
    whole = Rehearsal(catalog, exercise)
    if not whole.play(exercise.solution):
        yield Finding(path, line, "solution-fails", {"id": exercise.id})
    met |= _met([*whole.start, *whole.exchanges])
    for count in range(len(exercise.solution)):
        if Rehearsal(catalog, exercise).play(exercise.solution[:count]):
            facts = {"id": exercise.id, "count": count, "total": len(exercise.solution)}
            yield Finding(path, line, "prefix-passes", facts)
            break
    turns = [wrong.lines for wrong in exercise.wrong]
    if exercise.failed:
        turns.append(exercise.failed)
    for lines in turns:
        wrong = Rehearsal(catalog, exercise)
        if wrong.play(lines):
            yield Finding(path, line, "wrong-passes", {"id": exercise.id, "lines": " / ".join(lines)})
        met |= _met(wrong.exchanges)


def _met(exchanges: list[Exchange]) -> set[str]:
    """The names of what these exchanges touched: commands, states, response codes, capabilities."""
    names: set[str] = set()
    for exchange in exchanges:
        names |= {exchange.before.value, exchange.after.value}
        response = exchange.response
        if exchange.command is not None and exchange.command.spec is not None:
            spec = exchange.command.spec
            names.add(spec.name)
            if spec.capability:
                names.add(spec.capability)
        if response is not None:
            names |= {response.code, f"[{response.code}]"}
            if response.code:
                names.add("RESP-CODES")
            if response.code == "AUTH":
                names.add("AUTH-RESP-CODE")
            if exchange.name == "CAPA":
                names |= response.capabilities().keys()
        if exchange.ahead:
            names.add("PIPELINING")
    return names


def _check_prose(english: Source, source: Source, lesson: Lesson) -> Iterator[Finding]:
    """The words of one language: a task, hints, what was shown, and a text for each wrong turn."""
    path = source.path
    if not isinstance(source.head, Page):
        return  # said already
    if source is not english:
        yield from _check_translation(english, source)
    _, prose = read_prose(source.head.body)
    _, ours = read_prose(english.head.body) if isinstance(english.head, Page) else ("", {})
    for exercise in lesson.exercises:
        line = _heading(source.text, exercise.id)
        words = prose.get(exercise.id)
        if words is None or not words.task:
            yield Finding(path, line, "no-task", {"id": exercise.id})
            continue
        if not words.hints or not all(words.hints):
            yield Finding(path, line, "no-hint", {"id": exercise.id})
        if not words.solved:
            yield Finding(path, line, "no-solved", {"id": exercise.id})
        for wrong in exercise.wrong:
            if not words.wrong.get(wrong.say):
                yield Finding(path, line, "no-wrong", {"id": exercise.id, "say": wrong.say})
        for say in words.wrong:
            if say and say not in {wrong.say for wrong in exercise.wrong}:
                yield Finding(path, line, "stray-wrong", {"id": exercise.id, "say": say})
        if exercise.id in ours and len(words.hints) != len(ours[exercise.id].hints):
            yield Finding(path, line, "hints-differ", {"id": exercise.id, "other": english.path})
        if exercise.id in ours and (odd := _commands(words) ^ _commands(ours[exercise.id])):
            facts = {"id": exercise.id, "commands": ", ".join(sorted(odd)), "other": english.path}
            yield Finding(path, line, "commands-differ", facts)
    for identity in prose.keys() - {exercise.id for exercise in lesson.exercises}:
        yield Finding(path, _heading(source.text, identity), "stray-exercise", {"id": identity})


def _commands(prose: Prose) -> set[str]:
    """The lines to type that a task and its hints name: POP3 and meta commands. Answers may be words of a language."""
    text = _FENCED.sub("", "\n".join((prose.task, *prose.hints)))
    spans = (" ".join(span.split()) for span in _CODE.findall(text) if span.strip())
    return {
        span
        for span in spans
        if span.split()[0].upper() in COMMANDS or (span.startswith(":") and not span.startswith(":answer"))
    }


def _check_translation(english: Source, source: Source) -> Iterator[Finding]:
    head: Mapping[str, Any] = source.head.head if isinstance(source.head, Page) else {}
    for key in sorted(head.keys() - _TRANSLATED):
        yield Finding(source.path, _line_with(source.text, key), "translated-fact", {"key": key, "other": english.path})
    if not isinstance(head.get("title"), str):
        yield Finding(source.path, 1, "missing-key", {"key": "title"})
    if head.get("translated_from") != fingerprint(english.text):
        yield Finding(source.path, _line_with(source.text, "translated_from"), "stale", {"other": english.path})


def _line_with(text: str, key: str) -> int:
    """The line on which `key = ` stands, or `[[key]]`; 1 if it does not."""
    rows = enumerate(text.split("\n"), 1)
    return next((at for at, row in rows if row.strip().startswith((f"{key} =", f"{key}=", f"[[{key}"))), 1)


def _heading(text: str, identity: str) -> int:
    """The line of `## identity`; 0 if there is none."""
    return next((at for at, row in enumerate(text.split("\n"), 1) if row.strip() == f"## {identity}"), 0)
