"""Lesson: one Markdown file per language becomes frozen data. Nothing in it is evaluated (sec-D1).

The English file holds the facts (exercises, checks, solutions) and English prose; a translation holds prose only. Shape
and unknown fields are checked by msgspec, which is imported when the first lesson is read.

docs/reference-lessons.md is the format for authors.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from popshell.course.catalog import LANGUAGES, Catalog, Refused, Words, bundled, check_file
from popshell.course.checks import CHECKS, Check
from popshell.course.document import DEEPEST, Document, LessonError
from popshell.protocol.commands import CAPABILITIES
from popshell.server.faults import read_faults
from popshell.words import Flaw

#: The ids of our own courses. Another course with one of them would change a learner's progress.
BUNDLED = ("pop3",)
#: No list of lines is longer: a shell that plays `start` is to come back to its prompt.
MOST_LINES = 200
#: What a line may be that begins with a colon; nothing else of the shell is at a lesson's command (sec-D3).
META_LINES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        ":answer TEXT": re.compile(r":answer \S.*"),
        ":flight LINE | LINE": re.compile(r":flight \S.*"),
        ":wait SECONDS": re.compile(r":wait [0-9]{1,6}"),
        ":drop": re.compile(r":drop"),
        ":connect": re.compile(r":connect"),
        ":apop NAME": re.compile(r":apop \S+"),
    }
)


class ExerciseKind(Enum):
    DO = "do"
    PREDICT = "predict"
    ANSWER = "answer"
    REPAIR = "repair"


KINDS = tuple(kind.value for kind in ExerciseKind)


class Wrong(Struct, frozen=True, forbid_unknown_fields=True):
    """A wrong turn that has a text of its own."""

    lines: tuple[str, ...]
    say: str


_KEYS = {"answers": "answer", "checks": "check", "login": "account"}


class Exercise(Struct, frozen=True, forbid_unknown_fields=True, rename=_KEYS):
    """The facts of one exercise, as they stand in a lesson's head; its words are in `Prose`."""

    id: str
    kind: ExerciseKind
    solution: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    #: "" is the lesson's own
    maildrop: str = ""
    login: str = "learner:secret"
    conditions: dict[str, Any] = {}
    start: tuple[str, ...] = ()
    line: str = ""
    answers: tuple[str, ...] = ()
    seen: bool = True
    failed: tuple[str, ...] = ()
    wrong: tuple[Wrong, ...] = ()

    @property
    def account(self) -> tuple[str, str]:
        """Name and password."""
        name, _, password = self.login.partition(":")
        return name, password


class _Head(Struct, forbid_unknown_fields=True):
    id: str
    title: str
    teaches: tuple[str, ...]
    exercise: tuple[Exercise, ...]
    maildrop: str = "default"


@dataclass(frozen=True, slots=True)
class Prose:
    """The words of one exercise."""

    task: str = ""
    hints: tuple[str, ...] = ()
    solved: str = ""
    wrong: Mapping[str, str] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The first sentence of the task, for the toolbar."""
        first = re.split(r"(?<=[.!?])\s|(?<=[。！？])|\n\n", self.task.strip(), maxsplit=1)[0]
        return " ".join(first.split())


class Translation(Enum):
    """CURRENT: made from today's English text, or English itself. STALE: from an older one. MISSING: there is none."""

    CURRENT = "current"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson in one language. `translation` says how its words relate to the English ones."""

    name: str
    id: str
    title: str
    teaches: tuple[str, ...]
    exercises: tuple[Exercise, ...]
    text: str
    prose: Mapping[str, Prose]
    translation: Translation = Translation.CURRENT

    @property
    def stale(self) -> bool:
        """Whether the words are not those of today's English text in the language asked for."""
        return self.translation is not Translation.CURRENT

    def find(self, wanted: str) -> Exercise | None:
        """The exercise that `wanted` means: its id, or its number in the lesson."""
        return next((e for n, e in enumerate(self.exercises, 1) if wanted in (e.id, str(n))), None)


def fingerprint(english: str) -> str:
    """What `translated_from` holds: a short hash of the English file."""
    return hashlib.sha256(english.encode()).hexdigest()[:16]


def read_lesson(catalog: Catalog, name: str, language: str) -> Lesson:
    """The lesson `NN-name` in `language`, its prose in the original where there is no translation. Raises LessonError.

    The original is the English file or, in a course without English, the one that there is.
    """
    for first in LANGUAGES:
        try:
            original = _document(catalog, f"{first}/{name}.md")
            break
        except FileNotFoundError:
            continue
    else:
        raise LessonError(f"en/{name}.md", 0, "missing-lesson", reason=Flaw("no-lesson"))
    head = _read_head(original)
    text, prose = read_prose(original)
    title, translation = head.title, Translation.CURRENT
    if language != first:
        try:
            translated = _document(catalog, f"{language}/{name}.md")
        except FileNotFoundError:
            translation = Translation.MISSING
        else:
            title = str(translated.head.get("title", title))
            if translated.head.get("translated_from") != fingerprint(original.text):
                translation = Translation.STALE
            text, prose = read_prose(translated)
    return Lesson(name, head.id, title, head.teaches, head.exercise, text, prose, translation)


def _document(catalog: Catalog, path: str) -> Document:
    document = catalog.document(path).checked()
    if (deep := document.too_deep) is not None:
        raise LessonError(path, deep, "too-deep", most=DEEPEST)
    return document


def _read_head(document: Document) -> _Head:
    """The head as typed data; what is not of its shape is said in msgspec's words. Raises LessonError."""
    try:
        head = convert(document.head, _Head)
    except ValidationError as error:
        text = str(error)
        reason: Exception = error
        unknown_check = "unknown field" in text and re.search(r"\.check\[\d+\]`$", text)
        if unknown_check or text.endswith(".kind`"):
            reason = Flaw("choices", reason=reason, known=", ".join(CHECKS if unknown_check else KINDS))
        if at := re.search(r"\$\.exercise\[(\d+)\]\.", text):
            identity = document.head["exercise"][int(at[1])].get("id", at[1])
            reason = Flaw("exercise", reason=reason, id=identity)
        raise LessonError(document.path, document.line_of(text), "bad-lesson", reason=reason) from None
    if not head.exercise:
        raise LessonError(document.path, 1, "no-exercise")
    head.exercise = tuple(_examined(document, *numbered, head.maildrop) for numbered in enumerate(head.exercise))
    return head


def _examined(document: Document, index: int, exercise: Exercise, maildrop: str) -> Exercise:
    """An exercise whose names are all known. Raises LessonError."""
    here = ("exercise", index)
    exercise = replace(exercise, maildrop=exercise.maildrop or maildrop)
    try:
        if not all(exercise.account):
            raise Flaw("account")
        if not is_maildrop(exercise.maildrop):
            raise Flaw("no-maildrop", name=repr(exercise.maildrop))
        for lines in (exercise.start, exercise.solution, exercise.failed, *(wrong.lines for wrong in exercise.wrong)):
            _check_lines(lines)
        conditions = dict(read_faults(exercise.conditions))
        if unknown := sorted(frozenset(exercise.conditions.get("without", ())) - CAPABILITIES.keys()):
            raise Flaw("no-capability", stray=unknown[0], known=", ".join(CAPABILITIES))
    except ValueError as error:
        stray = error.facts.get("stray") if isinstance(error, Flaw) else None
        line = document.line_with(str(stray), *here) if stray else document.line(*here, "id")
        reason = Flaw("exercise", id=exercise.id, reason=error)
        raise LessonError(document.path, line, "bad-lesson", reason=reason) from None
    return replace(exercise, conditions=conditions)


def is_maildrop(name: str) -> bool:
    """Whether this can be the name of a directory below maildrops/."""
    return bool(name) and not name.startswith(".") and not {"/", "\\", "\0"} & set(name)


def _check_lines(lines: tuple[str, ...]) -> None:
    """Raises Flaw for what cannot be typed, and for what begins with a colon and is none of META_LINES.

    A block of several lines goes out in one flight: it is POP3 and nothing else.
    """
    if len(lines) > MOST_LINES:
        raise Flaw("many-lines", count=len(lines), most=MOST_LINES)
    for line in lines:
        if "\r" in line or "\0" in line:
            raise Flaw("control", line=repr(line))
        meta = any(row.lstrip().startswith(":") for row in line.split("\n"))
        if meta and not any(known.fullmatch(line) for known in META_LINES.values()):
            raise Flaw("no-line", stray=line, known=", ".join(META_LINES))


def sections(document: Document) -> Iterator[tuple[str, str, int, str]]:
    """The parts of a lesson's body, each with its exercise, its heading, its line and its text.

    The first is the text above the exercises. `## id` begins one, `### hint` and so on are parts of it.
    """
    parts = [("", "", document.body_line)]
    for heading in document.headings:
        if heading.level == 2:
            parts.append((heading.text, "task", heading.line))
        elif heading.level == 3 and len(parts) > 1:
            parts.append((parts[-1][0], heading.text, heading.line))
    ends = [line for _, _, line in parts[1:]] + [len(document.rows) + 1]
    for (exercise, what, line), end in zip(parts, ends, strict=True):
        yield exercise, what, line, document.part(line + bool(what), end)


def read_prose(document: Document) -> tuple[str, dict[str, Prose]]:
    """The lesson's text, and the prose of each exercise."""
    (_, _, _, above), *parts = sections(document)
    prose = {}
    for exercise in dict.fromkeys(part[0] for part in parts):
        own = [(what.partition(" "), text) for identity, what, _, text in parts if identity == exercise]
        last = {word: text for (word, _, _), text in own}
        hints = tuple(text for (word, _, _), text in own if word == "hint")
        wrong = {key.strip(): text for (word, _, key), text in own if word == "wrong"}
        prose[exercise] = Prose(last.get("task", ""), hints, last.get("solved", ""), wrong)
    return above, prose


# -- a new lesson ------------------------------------------------------------------------------------------------------

_NAME = re.compile(r"[0-9]{2}-[a-z0-9][a-z0-9-]*\Z")
#: What `popshell lesson new` copies; proved like a lesson.
TEMPLATE = "lesson-template"


def new_lesson(where: str | Path, name: str, words: Words) -> int:
    """`popshell lesson new`: a copy of the template below `where`, named in course.toml, in each language of it.

    It passes lint, and is to be changed into one's own. Returns the exit code.
    """
    if not _NAME.match(name):
        sys.stderr.write(words("scaffold.bad-name") + "\n")
        return 2
    folder = Path(where)
    try:
        check_file(folder, "course.toml")
        course = folder / "course.toml"
        table = Document(course.name, course.read_text("utf-8", "replace")).head if course.exists() else {}
        files = {tag: folder / tag / f"{name}.md" for tag in languages_of(table)}
        if taken := next((path for path in files.values() if os.path.lexists(path)), None):
            sys.stderr.write(words("scaffold.exists", path=str(taken)) + "\n")
            return 2
        for tag in files:  # nothing is written where a link leads out
            check_file(folder, tag, folder=True)
        catalog = Catalog((bundled(),))
        facts = catalog.read(f"en/{TEMPLATE}.md").split("+++\n")[1]
        facts = facts.replace('"template"', f'"{name.partition("-")[2]}"', 1)
        first = ""
        for tag, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _, head, body = catalog.read(f"{tag}/{TEMPLATE}.md").split("+++\n", 2)
            title = next(row for row in head.splitlines(keepends=True) if row.startswith("title"))
            if first:
                head = f'{title}translated_from = "{fingerprint(first)}"\n'
            else:  # the facts stand in English, or in the only language
                head = "".join(title if row.startswith("title") else row for row in facts.splitlines(keepends=True))
            text = f"+++\n{head}+++\n{body}"
            first = first or text
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(words("scaffold.made", path=str(path)) + "\n")
        _name_in_course(course, name, folder.resolve().name)
    except (OSError, Refused) as error:
        sys.stderr.write(words("scaffold.failed", reason=error) + "\n")
        return 2
    return 0


def languages_of(course: Mapping[str, Any]) -> tuple[str, ...]:
    """The languages that the table of course.toml names, that of the facts first; all if it names none."""
    named = course.get("languages")
    return tuple(tag for tag in LANGUAGES if isinstance(named, list) and tag in named) or LANGUAGES


def _name_in_course(path: Path, name: str, course: str) -> None:
    """Append the lesson to `lessons = [...]`; make the file, and an id, if there is none."""
    identity = re.sub(r"[^a-z0-9-]+", "-", course.lower()).strip("-") or "course"
    # Learners' progress is kept by it: another folder of this name is another course.
    made = f'id = "{identity}-{os.urandom(3).hex()}"\n'
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not re.search(r"(?m)^[ \t]*id[ \t]*=", text):
        text = made + text
    found = re.search(r"(?m)^[ \t]*lessons[ \t]*=[ \t]*\[[^\]]*", text)
    if found is None:
        text = text.rstrip() + "\nlessons = [\n]\n"
    end = found.end() if found else len(text) - 2
    before = text[:end].rstrip()
    comma = "" if before.endswith((",", "[")) else ","
    path.write_text(f'{before}{comma}\n  "{name}",\n{text[end:]}', encoding="utf-8")
