"""Lint of lessons: every exercise is played. Its solution passes, no prefix of it does, no listed wrong turn does; its
words are for proselint.py.

What a lesson says it teaches is held against what its exercises really do: the commands sent, the states met, the
response codes and capabilities that came back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from popshell.course.answers import is_answer, normal
from popshell.course.catalog import LANGUAGES, Catalog
from popshell.course.lesson import (
    Exercise,
    ExerciseKind,
    Lesson,
    LessonError,
    exercise_line,
    exercise_line_with,
    head_line,
    read_lesson,
)
from popshell.course.player import PLACEHOLDERS, Rehearsal
from popshell.lint.findings import RULES, Finding
from popshell.lint.prose import check_prose
from popshell.lint.tree import TEMPLATE, Source, Tree
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, State
from popshell.protocol.records import Exchange
from popshell.visible import show

_PLACE = re.compile(r"<[a-z-]+>")


def check_lessons(tree: Tree, catalog: Catalog) -> Iterator[Finding]:
    """Everything about the lessons below a directory. Of one that cannot be read nothing else is said."""
    ids: set[str] = set()
    for name in (*([TEMPLATE] if f"en/{TEMPLATE}.md" in tree.sources else ()), *tree.lessons):
        source = tree.sources.get(f"en/{name}.md")
        if source is None or isinstance(source.head, Finding):
            continue  # said already, as a file that is missing or cannot be read
        try:
            lesson = read_lesson(catalog, name, "en")
        except LessonError as error:
            code = error.code if error.code in RULES else "bad-lesson"
            if code != "too-deep":  # said of every page
                yield Finding(error.path, error.line, code, error.facts)
            continue
        if lesson.id in ids:
            yield Finding(source.path, head_line(source.text, "id"), "duplicate-id", {"id": lesson.id})
        ids.add(lesson.id)
        yield from _check_lesson(source, lesson, catalog)
        for tag in LANGUAGES if _distinct(lesson) else ():  # words belong to exercises by their ids
            other = tree.sources.get(f"{tag}/{name}.md")
            if other is not None:
                yield from check_prose(source, other, lesson)


#: An id is typed (`:lesson dots/full-stops`) and is a key of the progress file.
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def _distinct(lesson: Lesson) -> bool:
    return len({exercise.id for exercise in lesson.exercises}) == len(lesson.exercises)


def _check_lesson(source: Source, lesson: Lesson, catalog: Catalog) -> Iterator[Finding]:
    """The facts of a lesson: names, ids, and each exercise played."""
    path, text = source.path, source.text
    if not _ID.fullmatch(lesson.id):
        yield Finding(path, head_line(text, "id"), "bad-id", {"id": show(lesson.id, keep="")})
    if not lesson.exercises:
        yield Finding(path, 1, "no-exercise")
    own = (source.words or {}).get("maildrop", "default")
    seen: set[str] = set()
    met: set[str] = set()
    unplayed: set[str] = set()  # maildrops that are not there; "" for what cannot be played at all
    for index, exercise in enumerate(lesson.exercises):
        line = exercise_line(text, index, "id")
        if not _ID.fullmatch(exercise.id):
            yield Finding(path, line, "bad-id", {"id": show(exercise.id, keep="")})
        if exercise.id in seen:
            yield Finding(path, line, "duplicate-id", {"id": exercise.id})
        seen.add(exercise.id)
        if lacks := list(_check_form(path, line, exercise)):
            yield from lacks
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
                at = head_line(text, "maildrop") if exercise.maildrop == own else line
                yield Finding(path, at, "missing-maildrop", {"name": exercise.maildrop})
            unplayed.add(exercise.maildrop)
        except ValueError as error:
            yield Finding(path, line, "bad-lesson", {"reason": str(error)})
    teaches = head_line(text, "teaches")
    for name in lesson.teaches:
        codes = (*RESPONSE_CODES, *(f"[{code}]" for code in RESPONSE_CODES))
        if name not in (*COMMANDS, *State.__members__, *CAPABILITIES, *codes):
            yield Finding(path, teaches, "teaches-unknown", {"name": name})
        elif name not in met and not unplayed:  # what was not played may teach it
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


def _check_places(source: Source, index: int, exercise: Exercise) -> Iterator[Finding]:
    """What looks like a placeholder in a line is one."""
    wrong = (line for turn in exercise.wrong for line in turn.lines)
    for line in (*exercise.start, exercise.line, *exercise.failed, *exercise.solution, *wrong):
        for place in _PLACE.findall(line):
            if place not in PLACEHOLDERS:
                facts = {"id": exercise.id, "place": place, "known": ", ".join(PLACEHOLDERS)}
                yield Finding(source.path, exercise_line_with(source.text, index, place), "no-such-placeholder", facts)


class _Played:
    """One exercise played: its solution passes; the prefixes of it and the wrong turns do not."""

    def __init__(self, source: Source, index: int, exercise: Exercise, catalog: Catalog, met: set[str]) -> None:
        self._source, self._index, self._exercise = source, index, exercise
        self._catalog, self._met = catalog, met
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

    def _finding(self, code: str, key: str = "id", **facts: object) -> Finding:
        line = exercise_line(self._source.text, self._index, key)
        return Finding(self._source.path, line, code, {"id": self._exercise.id, **facts})

    def _right_among(self, lines: tuple[str, ...]) -> str | None:
        """A right answer that a wrong turn gives: it passes once the server was asked, unless checks want more."""
        if self._exercise.kind is not ExerciseKind.ANSWER or self._exercise.checks:
            return None
        said = (line.partition(" ")[2] for line in lines if line.startswith(":answer "))
        return next((text for text in said if is_answer(self._exercise.answers, text)), None)

    def _why_not(self, whole: Rehearsal) -> Finding:
        """What the solution lacks: a right answer, a reply that it stands in, a right prediction, or a check."""
        exercise, evidence = self._exercise, whole.evidence()
        said = [line.partition(" ")[2] for line in exercise.solution if line.startswith(":answer ")]
        if exercise.kind is ExerciseKind.ANSWER:
            if not any(is_answer(exercise.answers, text) for text in said):
                return self._finding("solution-answers-not", answers=" / ".join(exercise.answers))
            replies = normal("\n".join(e.received.decode("utf-8", "replace") for e in evidence.exchanges))
            if exercise.seen and not any(normal(answer) in replies for answer in exercise.answers):
                return self._finding("answer-unseen", answers=" / ".join(exercise.answers))
        if exercise.kind is ExerciseKind.PREDICT and not evidence.predicted:
            replied = next((e for e in reversed(evidence.commands) if e.response is not None), None)
            if not said or replied is None or replied.response is None:
                return self._finding("predicts-nothing")
            status = "+OK" if replied.response.ok else "-ERR"
            lines = "one" if replied.response.content is None else "many"
            return self._finding("mispredicts", told=said[-1], really=f"{status} {replied.after.value} {lines}")
        failing = [at for at, check in enumerate(exercise.checks) if not check.holds(evidence)]
        raw = self._source.words["exercise"][self._index].get("check", []) if self._source.words else []
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
