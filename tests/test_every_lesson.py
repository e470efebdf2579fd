"""Every exercise of the course, generated from the files, in both languages: it can be solved, and by nothing less.

What `popshell lint` proves, proved once more without its code; and what it does not: case, width and a wrong turn first
change nothing. A lesson that course.toml names and nobody has written yet is skipped, but fails where CI is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import pytest
from learner import ROOT, TAGS, catalog, course, lesson

from popshell.learn.course import read_course
from popshell.learn.lesson import Exercise, ExerciseKind
from popshell.learn.rehearsal import Rehearsal
from popshell.protocol.commands import COMMANDS, State

NAMES = read_course(catalog()).lessons
#: Checks that count lines or look at the first: there a detour is a wrong turn by intention.
_STRICT = ("at_most", "sent_first", "flight", "never")


def exercises(*, tags: Iterable[str] = TAGS) -> list[Any]:
    return [
        pytest.param(name, exercise.id, tag, id=f"{name}-{exercise.id}-{tag}")
        for name in course().lessons
        for tag in tags
        for exercise in lesson(name, tag).exercises
    ]


def found(name: str, identity: str, tag: str) -> Exercise:
    exercise = lesson(name, tag).exercise(identity)
    assert exercise is not None
    return exercise


def solves(exercise: Exercise, lines: Iterable[str]) -> bool:
    return Rehearsal(catalog(), exercise).play(lines)


@pytest.mark.parametrize("name", NAMES)
def test_the_lesson_is_written_in_both_languages(name: str) -> None:
    missing = [tag for tag in TAGS if not (ROOT / f"lessons/{tag}/{name}.md").is_file()]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not written yet: {name} in {', '.join(missing)}")
    assert not missing
    facts, other = lesson(name, "en"), lesson(name, "zh-Hant")
    assert facts.exercises == other.exercises
    assert len(facts.exercises) >= 4
    assert facts.title != other.title
    assert re.search("[一-鿿]", other.text)


@pytest.mark.parametrize(("name", "identity", "tag"), exercises())
def test_it_can_be_solved_and_by_nothing_less(name: str, identity: str, tag: str) -> None:
    exercise = found(name, identity, tag)
    whole = Rehearsal(catalog(), exercise)
    assert not whole.solved
    assert whole.play(exercise.solution)
    for count in range(len(exercise.solution)):
        assert not solves(exercise, exercise.solution[:count]), exercise.solution[:count]
    for wrong in exercise.wrong:
        assert not solves(exercise, wrong.lines), wrong
    if exercise.kind is ExerciseKind.REPAIR:
        assert exercise.failed
        assert not solves(exercise, exercise.failed)


@pytest.mark.parametrize(("name", "identity", "tag"), exercises())
def test_it_has_all_its_words(name: str, identity: str, tag: str) -> None:
    exercise, prose = found(name, identity, tag), lesson(name, tag).prose[identity]
    assert prose.task
    assert prose.solved
    assert prose.hints
    assert all(prose.hints)
    assert len(prose.hints) == len(lesson(name, "en").prose[identity].hints)
    assert set(prose.wrong) - {""} == {wrong.say for wrong in exercise.wrong}
    assert len(set(prose.hints)) == len(prose.hints)
    for wrong in exercise.wrong:
        assert prose.wrong[wrong.say]
    assert 0 < len(prose.headline) <= 80
    for text in (prose.task, *prose.hints, prose.solved, *prose.wrong.values()):
        assert not re.search(r"<(stamp|apop|auth-plain)>", text), "a placeholder is for lines, not for prose"
        assert not re.search(r"\bTODO\b|\bFIXME\b|\bXXX\b", text)


def _lower(text: str) -> str:
    word, blank, rest = text.partition(" ")
    return text if text.startswith(":") else word.lower() + blank + rest


@pytest.mark.parametrize(("name", "identity", "tag"), exercises(tags=["en"]))
def test_how_it_is_typed_does_not_count(name: str, identity: str, tag: str) -> None:
    """Keywords in small letters, answers full-width: by effect, never by form."""
    exercise = found(name, identity, tag)
    lowered = ["\n".join(map(_lower, text.split("\n"))) for text in exercise.solution]
    challenged = any(text.upper() == "AUTH PLAIN" for text in exercise.solution)  # what follows is no keyword
    assert challenged or solves(exercise, lowered), lowered
    wide = [
        ":answer " + "".join(chr(ord(ch) + 0xFEE0) if "!" <= ch <= "~" else ch for ch in text[8:])
        if text.startswith(":answer ")
        else text
        for text in exercise.solution
    ]
    assert solves(exercise, wide), wide


@pytest.mark.parametrize(("name", "identity", "tag"), exercises(tags=["en"]))
def test_a_wrong_turn_costs_nothing(name: str, identity: str, tag: str) -> None:
    """A line that nobody knows, and looking around, before the solution. A line that goes dead counts lines itself."""
    exercise = found(name, identity, tag)
    assert solves(exercise, [":help", ":state", *exercise.solution])
    if exercise.conditions.line_goes_dead_after or any(check.name in _STRICT for check in exercise.checks):
        return
    if exercise.start[-1:] and exercise.start[-1].upper().startswith("USER "):
        return  # between USER and PASS no other line may stand, says the server; `:again` mends it
    assert solves(exercise, ["FROB", *exercise.solution])


@pytest.mark.parametrize(("name", "identity", "tag"), exercises(tags=["en"]))
def test_answers_and_predictions_are_never_given_away_by_luck(name: str, identity: str, tag: str) -> None:
    """Every other prediction fails; an answer without asking fails."""
    exercise = found(name, identity, tag)
    if exercise.kind is ExerciseKind.PREDICT:
        right = [
            (status, state.value, lines)
            for status in ("+OK", "-ERR")
            for state in State
            for lines in ("one", "many")
            if solves(exercise, [*exercise.solution[:-1], f":answer {status} {state.value} {lines}"])
        ]
        assert len(right) == 1, right
        assert not solves(exercise, [":answer"])
        assert not solves(exercise, [exercise.line])
    elif exercise.kind is ExerciseKind.ANSWER:
        for answer in exercise.answers:
            assert solves(exercise, [*exercise.solution[:-1], f":answer {answer}"]) or not exercise.seen, answer
        assert not solves(exercise, [*exercise.solution[:-1], ":answer"])
        assert not solves(exercise, [*exercise.solution[:-1], ":answer certainly not"])


@pytest.mark.parametrize("name", course().lessons)
def test_what_it_teaches_is_used(name: str) -> None:
    """Each command and state of `teaches` is in an exercise's dialogue."""
    taught, met = set(lesson(name).teaches), set()
    for exercise in lesson(name).exercises:
        turns = [exercise.solution, exercise.failed, *(wrong.lines for wrong in exercise.wrong)]
        for lines in turns:
            rehearsal = Rehearsal(catalog(), exercise)
            rehearsal.play(lines)
            for exchange in (*rehearsal.start, *rehearsal.exchanges):
                met |= {exchange.name, exchange.before.value, exchange.after.value}
    assert {name for name in taught if name in COMMANDS or name in State.__members__} <= met


def test_ids_are_their_own() -> None:
    """Progress is kept by them."""
    ids = [lesson(name).id for name in course().lessons]
    assert len(set(ids)) == len(ids)
    for name in course().lessons:
        inner = [exercise.id for exercise in lesson(name).exercises]
        assert len(set(inner)) == len(inner)


def test_every_kind_of_exercise_is_in_the_course() -> None:
    kinds = {exercise.kind for name in course().lessons for exercise in lesson(name).exercises}
    assert kinds == set(ExerciseKind)
