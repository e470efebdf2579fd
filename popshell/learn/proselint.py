"""Lint of the words of lessons: each exercise has all its texts, and both languages name the same commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from popshell.learn.catalog import Page
from popshell.learn.faults import Finding
from popshell.learn.lesson import Lesson, Prose, exercise_line, fingerprint, read_prose
from popshell.learn.tree import Source
from popshell.protocol.commands import COMMANDS

_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_TRANSLATED = frozenset({"title", "translated_from"})


def check_prose(english: Source, source: Source, lesson: Lesson) -> Iterator[Finding]:
    """The words of one language: a task, hints, what was shown, and a text for each wrong turn."""
    path = source.path
    if not isinstance(source.head, Page):
        return  # said already
    if source is not english:
        yield from _check_translation(english, source)
    _, prose = read_prose(source.head.body)
    _, ours = read_prose(english.head.body) if isinstance(english.head, Page) else ("", {})
    for index, exercise in enumerate(lesson.exercises):
        line = _heading(source.text, exercise.id)
        if not line and source is english:
            line = exercise_line(source.text, index)
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
