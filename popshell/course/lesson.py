"""Lesson: one Markdown file per language becomes frozen data. Nothing in it is evaluated (sec-D1).

The English file holds the facts (exercises, checks, solutions) and English prose; a translation holds prose only. Shape
and unknown fields are checked by msgspec, which is imported when the first lesson is read.

docs/reference-lessons.md is the format for authors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from popshell.course import gate
from popshell.course.catalog import Catalog, PageError, read_page
from popshell.course.checks import Check, read_check, read_conditions
from popshell.course.nesting import DEEPEST, too_nested
from popshell.protocol.commands import CAPABILITIES

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


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong turn that has a text of its own."""

    lines: tuple[str, ...]
    say: str


@dataclass(frozen=True, slots=True)
class Exercise:
    """The facts of one exercise; its words are in `Prose`."""

    id: str
    kind: ExerciseKind
    maildrop: str
    account: tuple[str, str]
    conditions: Mapping[str, Any]
    start: tuple[str, ...]
    line: str
    answers: tuple[str, ...]
    seen: bool
    failed: tuple[str, ...]
    checks: tuple[Check, ...]
    solution: tuple[str, ...]
    wrong: tuple[Wrong, ...]


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
    """One lesson in one language. `translation` tells how its words stand to the English ones."""

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

    def exercise(self, identity: str) -> Exercise | None:
        return next((e for e in self.exercises if e.id == identity), None)


class LessonError(ValueError):
    """A lesson that cannot be read. `line` is the line of the file, 0 if unknown.

    `reason` is for the author, in English; where `code` is one of lint's, its text and `facts` say the same in words.
    """

    def __init__(
        self, path: str, line: int, reason: str, code: str = "bad-lesson", facts: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path, self.line, self.reason, self.code = path, line, reason, code
        self.facts: Mapping[str, object] = {"reason": reason, **(facts or {})}


def fingerprint(english: str) -> str:
    """What `translated_from` holds: a short hash of the English file."""
    return hashlib.sha256(english.encode()).hexdigest()[:16]


def read_lesson(catalog: Catalog, name: str, language: str) -> Lesson:
    """The lesson `NN-name` in `language`, its prose in English where there is no translation. Raises LessonError."""
    try:
        english = _text(catalog, f"en/{name}.md")
    except FileNotFoundError:
        raise LessonError(f"en/{name}.md", 0, "there is no such lesson", "missing-lesson") from None
    page = _split(f"en/{name}.md", english)
    head = _shape(f"en/{name}.md", english, dict(page.head))
    exercises = tuple(_exercise(f"en/{name}.md", english, at, raw, head) for at, raw in enumerate(head.exercise))
    text, prose = read_prose(page.body)
    title, translation = head.title, Translation.CURRENT
    if language != "en":
        try:
            translated = _text(catalog, f"{language}/{name}.md")
        except FileNotFoundError:
            translation = Translation.MISSING
        else:
            page = _split(f"{language}/{name}.md", translated)
            title = str(page.head.get("title", title))
            if page.head.get("translated_from") != fingerprint(english):
                translation = Translation.STALE
            text, prose = read_prose(page.body)
    return Lesson(name, head.id, title, tuple(head.teaches), exercises, text, prose, translation)


def _text(catalog: Catalog, path: str) -> str:
    try:
        return catalog.read(path)
    except gate.Refused as error:
        raise refusal(error) from None
    except UnicodeDecodeError as error:
        raise LessonError(path, 0, f"the file is not UTF-8: {error.reason}") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LessonError(path, 0, error.strerror or "it cannot be read") from None


def guard(catalog: Catalog, path: str) -> None:
    """Refuse, unread, a file that a course must not have. Raises LessonError for what the gate refuses."""
    try:
        for root in catalog.roots:
            gate.check(root, path)
    except gate.Refused as error:
        raise refusal(error) from None


def refusal(error: gate.Refused) -> LessonError:
    """What the gate said, as what is said of lessons."""
    return LessonError(error.path, 0, error.reason, error.code)


def _split(path: str, text: str) -> Any:
    try:
        page = read_page(path, text)
    except PageError as error:
        found = re.match(r".*?:(\d+): (.*)", str(error), re.S)
        raise LessonError(path, int(found[1]) if found else 0, found[2] if found else str(error)) from None
    if too_nested(page.body) is not None:
        reason = f"the text is nested deeper than {DEEPEST} levels"
        raise LessonError(path, too_nested(text) or 0, reason, "too-deep", {"most": DEEPEST})
    return page


def _shape(path: str, text: str, head: dict[str, Any]) -> Any:
    """The head as typed data; msgspec's own message with the line that it speaks of."""
    import msgspec

    from popshell.course.shape import Head

    try:
        return msgspec.convert(head, Head)
    except msgspec.ValidationError as error:
        raise LessonError(path, line_of(text, str(error)), str(error)) from None


def _exercise(path: str, text: str, index: int, raw: Any, head: Any) -> Exercise:
    """Names become things: kinds, checks, conditions. Raises LessonError."""
    at = exercise_line(text, index, "id")
    if raw.kind not in KINDS:
        facts = {"id": raw.id, "kind": raw.kind, "kinds": ", ".join(KINDS)}
        reason = f"exercise {raw.id}: {raw.kind!r} is no kind; there are {', '.join(KINDS)}"
        raise LessonError(path, exercise_line(text, index, "kind"), reason, "no-such-kind", facts)
    try:
        kind = ExerciseKind(raw.kind)
        name, colon, password = raw.account.partition(":")
        if not (name and colon and password):
            raise ValueError("an account is name:password")
        maildrop = raw.maildrop or head.maildrop
        if not is_maildrop(maildrop):
            raise ValueError(f"{maildrop!r} is no directory below maildrops/")
        for lines in (raw.start, raw.solution, raw.failed, *(wrong.lines for wrong in raw.wrong)):
            if (stray := _check_lines(lines)) is not None:
                known = ", ".join(META_LINES)
                reason = f"exercise {raw.id}: {stray!r} is no line of a lesson; besides POP3 there are {known}"
                facts = {"id": raw.id, "line": stray, "known": known}
                raise LessonError(path, exercise_line_with(text, index, stray), reason, "no-such-line", facts)
        conditions = _conditions(raw.conditions)
        if unknown := sorted(conditions.get("without", frozenset()) - CAPABILITIES.keys()):
            reason = f"exercise {raw.id}: `without` names {unknown[0]!r}, which is no capability"
            facts = {"id": raw.id, "name": unknown[0], "known": ", ".join(CAPABILITIES)}
            raise LessonError(path, exercise_line_with(text, index, unknown[0]), reason, "no-such-capability", facts)
        return Exercise(
            raw.id,
            kind,
            maildrop,
            (name, password),
            conditions,
            tuple(raw.start),
            raw.line,
            tuple(raw.answer),
            raw.seen,
            tuple(raw.failed),
            tuple(read_check(check) for check in raw.check),
            tuple(raw.solution),
            tuple(Wrong(tuple(wrong.lines), wrong.say) for wrong in raw.wrong),
        )
    except LessonError:
        raise
    except ValueError as error:
        raise LessonError(path, at, f"exercise {raw.id}: {error}") from None


def _conditions(raw: dict[str, Any]) -> Mapping[str, Any]:
    """The conditions, each by itself, so that what is wrong has its name. Raises ValueError."""
    for name, value in raw.items():
        try:
            read_conditions({name: value})
        except ValueError as error:
            raise ValueError(f"condition `{name}`: {error}") from None
    return read_conditions(raw)


def is_maildrop(name: str) -> bool:
    """Whether this can be the name of a directory below maildrops/."""
    return bool(name) and not name.startswith(".") and not {"/", "\\", "\0"} & set(name)


def _check_lines(lines: list[str]) -> str | None:
    """The first line that begins with a colon and is none of META_LINES. Raises ValueError for what cannot be typed.

    A block of several lines goes out in one flight: it is POP3 and nothing else.
    """
    if len(lines) > MOST_LINES:
        raise ValueError(f"{len(lines)} lines are too many; {MOST_LINES} at the most")
    for line in lines:
        if "\r" in line or "\0" in line:
            raise ValueError(f"{line!r} holds a CR or a NUL, which no line can (RFC 1939 §3)")
        meta = any(row.lstrip().startswith(":") for row in line.split("\n"))
        if meta and not any(known.fullmatch(line) for known in META_LINES.values()):
            return line
    return None


_EXERCISE = re.compile(r"\s*\[\[\s*exercise\s*\]\]")


def head_line(text: str, key: str) -> int:
    """The line on which the lesson itself has `key`, above all exercises; 1 if it has not."""
    return _key_line(text.split("\n"), key, 1, _starts(text)[0]) or 1


def exercise_line(text: str, index: int, key: str = "") -> int:
    """The line on which the exercise of that index, from 0, has `key`; if it has not, where it begins."""
    starts = _starts(text)
    if index + 1 >= len(starts):
        return 1  # written in some other way than as a table
    return _key_line(text.split("\n"), key, starts[index], starts[index + 1]) or starts[index]


def exercise_line_with(text: str, index: int, value: str) -> int:
    """The line on which the exercise of that index says `value`; if it cannot be seen, where its id stands."""
    starts = _starts(text)
    wanted = json.dumps(value, ensure_ascii=False)[1:-1]
    within = range(starts[index], starts[index + 1]) if index + 1 < len(starts) else ()
    rows = text.split("\n")
    return next((at for at in within if wanted in rows[at - 1]), exercise_line(text, index, "id"))


def _starts(text: str) -> list[int]:
    """The lines on which exercises begin, and the one behind the head."""
    rows = text.split("\n")
    end = next((at for at, row in enumerate(rows, 1) if at > 1 and row.strip() == "+++"), len(rows) + 1)
    return [*(at for at, row in enumerate(rows[: end - 1], 1) if _EXERCISE.match(row)), end]


def _key_line(rows: list[str], key: str, start: int, end: int) -> int:
    """The line from `start` to before `end` on which `key = ` stands; 0 if none."""
    wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    return next((at for at in range(start, end) if key and wanted.match(rows[at - 1])), 0)


def line_of(text: str, message: str) -> int:
    """The line that a message of msgspec speaks of: `... - at `$.exercise[2].check``."""
    word = re.search(r"field `([^`]+)`", message) or re.search(r"\.([a-z_]+)(?:\[\.*\d*\])*`?$", message)
    key = word[1] if word and "missing required field" not in message else ""
    index = re.search(r"\$\.exercise\[(\d+)\]", message)
    return exercise_line(text, int(index[1]), key) if index else head_line(text, key)


_HEADING = re.compile(r"(#{2,3}) +(.*?)\s*$")


def read_prose(body: str) -> tuple[str, dict[str, Prose]]:
    """Cut the Markdown into the lesson's text and the prose of each exercise. Headings inside fences are text."""
    parts: list[tuple[str, str, list[str]]] = [("", "", [])]
    fenced = False
    identity = ""
    for row in body.split("\n"):
        if row.lstrip().startswith("```"):
            fenced = not fenced
        found = None if fenced else _HEADING.match(row)
        if found and found[1] == "##":
            identity = found[2]
            parts.append((identity, "task", []))
        elif found and identity:
            parts.append((identity, found[2], []))
        else:
            parts[-1][2].append(row)
    tasks: dict[str, str] = {}
    solved: dict[str, str] = {}
    hints: dict[str, list[str]] = {}
    wrong: dict[str, dict[str, str]] = {}
    for identity, what, rows in parts[1:]:
        text = "\n".join(rows).strip()
        word, _, key = what.partition(" ")
        tasks.setdefault(identity, "")
        if word == "task":
            tasks[identity] = text
        elif word == "hint":
            hints.setdefault(identity, []).append(text)
        elif word == "solved":
            solved[identity] = text
        elif word == "wrong":
            wrong.setdefault(identity, {})[key.strip()] = text
    prose = {
        one: Prose(task, tuple(hints.get(one, ())), solved.get(one, ""), wrong.get(one, {}))
        for one, task in tasks.items()
    }
    return "\n".join(parts[0][2]).strip(), prose
