"""Lint of `course.toml`: its fields, the lessons that it names, and the id by which a learner's progress is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable

from popshell.course.catalog import Catalog
from popshell.course.lesson import LessonError
from popshell.course.progress import read_course
from popshell.lint.findings import Finding
from popshell.lint.heads import key_lines
from popshell.lint.tree import LESSON, Source, Tree

_PATH = "course.toml"
_FIELDS = ("id", "lessons")
_STRING_OR_COMMENT = re.compile(r"""\"((?:\\.|[^"\\])*)\"|'([^']*)'|\#.*""")


def check_course(tree: Tree, root: Traversable) -> Iterator[Finding]:
    """Everything about `course.toml` itself; its lessons are for lessonlint.py."""
    source = tree.sources.get(_PATH)
    if source is None:
        return
    if isinstance(source.table, Finding):
        yield Finding(_PATH, source.table.line, "bad-course", source.table.facts)
        return
    found = [*_check_fields(source), *_check_names(source)]
    yield from found
    if not found:
        try:
            read_course(Catalog((root,)))
        except LessonError as error:
            if error.code == "course-id-taken":
                yield Finding(_PATH, key_lines(source.text).get("id", 1), error.code, {"id": source.table["id"]})
                return
            yield Finding(error.path, error.line or _line_of(source.text, error.reason), "bad-course", error.facts)


def _check_fields(source: Source) -> Iterator[Finding]:
    lines = key_lines(source.text)
    for key in (source.words or {}).keys() - set(_FIELDS):
        yield Finding(_PATH, lines.get(key, 1), "course-field", {"key": key, "known": ", ".join(_FIELDS)})


def _check_names(source: Source) -> Iterator[Finding]:
    """Each lesson once, by a name that can be one."""
    named = (source.words or {}).get("lessons")
    seen: dict[str, int] = {}
    for name in named if isinstance(named, list) else ():
        if not isinstance(name, str):
            continue  # said by read_course
        seen[name] = seen.get(name, 0) + 1
        line = _line_with(source.text, name, seen[name])
        if LESSON.fullmatch(name) is None:
            yield Finding(_PATH, line, "bad-name", {"name": name})
        elif seen[name] > 1:
            yield Finding(_PATH, line, "listed-twice", {"name": name})


def _line_with(text: str, name: str, count: int) -> int:
    """The line on which the string `name` stands for the `count`th time; that of `lessons` if it cannot be seen."""
    for at, row in enumerate(text.split("\n"), 1):
        for match in _STRING_OR_COMMENT.finditer(row):
            count -= name in (match[1], match[2])
            if count == 0:
                return at
    return key_lines(text).get("lessons", 1)


def _line_of(text: str, reason: str) -> int:
    """The line of the field that msgspec names, `$.lessons[1]`; that of the file where it is missing."""
    word = re.search(r"\$\.([a-z]+)", reason)
    return key_lines(text).get(word[1], 1) if word else 1
