"""Lint of the words of lessons: each exercise has all its texts, and both languages name the same commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from popshell.course.catalog import Page
from popshell.course.keys import METAS
from popshell.course.lesson import Lesson, Prose, exercise_line, fingerprint, head_line, read_prose
from popshell.lint.findings import Finding
from popshell.lint.tree import Source
from popshell.protocol.commands import COMMANDS
from popshell.visible import width

_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_META = re.compile(r":([a-z]+)(?![^ ])")
#: The toolbar shows no more of a task than its first sentence, and that in one line.
WIDEST_HEADLINE = 60
_TRANSLATED = frozenset({"title", "translated_from"})


def check_prose(english: Source, source: Source, lesson: Lesson) -> Iterator[Finding]:
    """The words of one language: a task, hints, what was shown, and a text for each wrong turn."""
    path = source.path
    if not isinstance(source.head, Page):
        return  # said already
    if source is not english:
        yield from _check_translation(english, source)
    title = source.head.head.get("title")
    if isinstance(title, str) and not (title.strip() and title.isprintable() and width(title) <= WIDEST_HEADLINE):
        facts = {"columns": width(title), "most": WIDEST_HEADLINE}
        yield Finding(path, head_line(source.text, "title"), "bad-title", facts)
    text, prose = read_prose(source.head.body)
    own, ours = read_prose(english.head.body) if isinstance(english.head, Page) else (text, {})
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
        if (columns := width(words.headline.replace("`", ""))) > WIDEST_HEADLINE:
            yield Finding(path, line, "headline-wide", {"id": exercise.id, "columns": columns, "most": WIDEST_HEADLINE})
        if exercise.id in ours and source is not english:
            if len(words.hints) != len(ours[exercise.id].hints):
                yield Finding(path, line, "hints-differ", {"id": exercise.id, "other": english.path})
            yield from _compare(source, english, exercise.id, words, ours[exercise.id])
    for identity in prose.keys() - {exercise.id for exercise in lesson.exercises}:
        yield Finding(path, _heading(source.text, identity), "stray-exercise", {"id": identity})
    if source is not english and (odd := _odd(text, own)):
        yield Finding(path, source.body_line, "text-differs", {"commands": odd, "other": english.path})
    yield from _check_metas(source)


def _compare(source: Source, english: Source, identity: str, words: Prose, ours: Prose) -> Iterator[Finding]:
    """The texts of an exercise name the same commands in both languages, each section by itself."""
    pairs = {
        "": ("\n".join((words.task, *words.hints)), "\n".join((ours.task, *ours.hints))),
        "### solved": (words.solved, ours.solved),
        **{f"### wrong {say}".rstrip(): (words.wrong[say], ours.wrong[say]) for say in words.wrong.keys() & ours.wrong},
    }
    for section, (here, there) in pairs.items():
        if here and there and (odd := _odd(here, there)):
            facts = {"id": identity, "section": section or f"## {identity}", "commands": odd, "other": english.path}
            yield Finding(source.path, _heading(source.text, identity, section), "commands-differ", facts)


def _odd(here: str, there: str) -> str:
    """What only one of two texts names; what is no meta command at all is said otherwise."""
    mine, others = _commands(here), _commands(there)
    if any(_no_meta(span) for span in (*mine, *others)):
        return ""
    return ", ".join(sorted(mine ^ others))


def _commands(text: str) -> set[str]:
    """The lines to type that a text names: POP3 and meta commands. Answers may be words of a language."""
    spans = (" ".join(span.split()) for span in _CODE.findall(_FENCED.sub("", text)) if span.strip())
    return {
        ":answer" if span.startswith(":answer") else span
        for span in spans
        if span.split()[0].upper() in COMMANDS or span.startswith(":")
    }


def _no_meta(span: str) -> str:
    """The meta command that a span names and that does not exist, "" if there is none."""
    found = _META.match(span)
    return found[0] if found and found[1] not in METAS else ""


def _check_metas(source: Source) -> Iterator[Finding]:
    """A text that tells of a meta command tells of one that exists; one finding a line."""
    fenced = {at for block in source.blocks[0] for at in range(block.line, block.end + 1)}
    for at, row in enumerate(source.text.split("\n"), 1):
        if at < source.body_line or at in fenced:
            continue
        unknown = next(filter(None, (_no_meta(span.strip()) for span in _CODE.findall(row))), "")
        if unknown:
            yield Finding(source.path, at, "no-such-meta", {"meta": unknown})


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


def _heading(text: str, identity: str, section: str = "") -> int:
    """The line of `## identity`, or of a section below it; 0 if there is none."""
    within = False
    for at, row in enumerate(text.split("\n"), 1):
        if row.startswith("## "):
            within = row.strip() == f"## {identity}"
        if within and row.strip() == (section or f"## {identity}"):
            return at
    return 0
