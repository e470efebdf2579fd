"""Course: the order of lessons, and a learner's progress on disk.

Progress is plain JSON in the user's data directory, mode 0600, keyed by course, lesson and exercise id. It is written
whole to a new file that then takes the old one's place, so a crash in mid-write loses the last exercise at most. Two
shells at once: each write reads the file anew under a lock and changes its own entry only. Where nothing can be written
the course goes on, and `unsaved` says why.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, ValidationError, convert, to_builtins
from msgspec.structs import replace

from popshell.course.catalog import Catalog, check_file, names_in
from popshell.course.document import LessonError
from popshell.course.lesson import BUNDLED, Exercise, Lesson, read_lesson
from popshell.words import Flaw

VERSION: Literal[1] = 1
#: No progress file is larger; a course of a hundred exercises takes 20 KB.
_LARGEST = 1 << 22


class Course(Struct, frozen=True, forbid_unknown_fields=True):
    """A course: its id and its lessons' names in order."""

    id: str
    lessons: tuple[str, ...]
    #: the languages that it has; a lesson's facts stand in English, or in the only one
    languages: Annotated[tuple[Literal["en", "zh-Hant"], ...], Meta(min_length=1)] = ("en", "zh-Hant")

    def find(self, wanted: str) -> str | None:
        """The name of the lesson that `wanted` means: `06-dots`, `dots`, `6`."""
        for at, name in enumerate(self.lessons, 1):
            if wanted in (name, name.partition("-")[2], str(at), name.partition("-")[0]):
                return name
        return None


def read_course(catalog: Catalog) -> Course:
    """Read `course.toml`. Raises LessonError."""
    path = "course.toml"
    try:
        for root in catalog.roots:
            check_file(root, path)
        document = catalog.document(path).checked()
    except FileNotFoundError:
        raise LessonError(path, 0, "missing-course", reason=Flaw("no-course")) from None
    try:
        course = convert(document.head, Course)
    except ValidationError as error:
        raise LessonError(path, document.line_of(str(error)), "bad-lesson", reason=error) from None
    if not course.lessons:
        raise LessonError(path, 1, "bad-lesson", reason=Flaw("no-lessons"))
    for name in course.lessons:
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise LessonError(path, 1, "bad-name", name=name)
    if course.id in BUNDLED and not _is_whole(catalog):
        raise LessonError(path, document.line("id"), "course-id-taken", id=course.id)
    return course


def _is_whole(catalog: Catalog) -> bool:
    """Whether the course comes from PopShell's own lessons, or a copy of all of them: there are words, too."""
    return "messages.toml" in (names_in(catalog.roots[0], "en") or ())


class Standing(Struct, frozen=True, omit_defaults=True):
    """How an exercise stands: `state` is "", "solved" or "skipped"."""

    state: Literal["", "solved", "skipped"] = ""
    tries: int = 0
    hints: int = 0
    solution: bool = False
    #: when it changed, in seconds of the clock; 0 in what `standing` gives
    at: int = 0

    @property
    def done(self) -> bool:
        return bool(self.state)


class _Course(Struct, omit_defaults=True, forbid_unknown_fields=True):
    lessons: dict[str, dict[str, Standing]] = {}
    place: Any = None


class _File(Struct, forbid_unknown_fields=True):
    courses: dict[str, _Course]
    version: Literal[1] = VERSION


class Progress:
    """What a learner has done.

    `damaged` names the file that was set aside because it could not be read, if any, and `newer` says that it is of a
    version to come; `unsaved` says why the last change could not be written, None if it was.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self.damaged: Path | None = None
        self.newer = False
        self.unsaved: OSError | None = None
        self._data = self._begin()

    def standing(self, course: str, lesson: str, exercise: str) -> Standing:
        return replace(self._course(self._data, course).lessons.get(lesson, {}).get(exercise, Standing()), at=0)

    def record(self, course: str, lesson: str, exercise: str, **changes: Any) -> None:
        """Change one exercise's entry. Numbers in `changes` are written as they are, not added.

        Once it is solved, also by another shell, it is neither skipped nor is help counted any more.
        """

        def change(data: _File) -> None:
            entries = self._course(data, course).lessons.setdefault(lesson, {})
            standing, now = entries.get(exercise, Standing()), int(self._clock())
            if standing.state == "solved":
                kept = {name: value for name, value in changes.items() if name == "tries"}
                entries[exercise] = replace(standing, **kept, at=now)
            else:
                entries[exercise] = replace(standing, **changes, at=now)

        self._write(change)

    def place(self, course: str) -> tuple[str, str] | None:
        """Lesson and exercise where the learner left, if they did."""
        found = self._course(self._data, course).place
        return (str(found[0]), str(found[1])) if isinstance(found, list) and len(found) == 2 else None

    def leave_at(self, course: str, lesson: str, exercise: str) -> None:
        def change(data: _File) -> None:
            self._course(data, course).place = [lesson, exercise]

        self._write(change)

    def forget(self, course: str, lesson: str | None = None) -> None:
        """Forget a lesson's progress, or the course's."""

        def change(data: _File) -> None:
            if lesson is None:
                data.courses.pop(course, None)
            else:
                self._course(data, course).lessons.pop(lesson, None)

        self._write(change)

    @staticmethod
    def _course(data: _File, course: str) -> _Course:
        return data.courses.setdefault(course, _Course())

    def _begin(self) -> _File:
        """What is on disk. A damaged file is set aside under the lock: another shell may have mended it meanwhile."""
        data = self._read()
        if data is None:
            try:
                with _locked(self._path.with_name(self._path.name + ".lock")):
                    data = self._read()
                    if data is None:
                        self._set_aside()
            except OSError as error:
                self.unsaved = error
        return data or _File({})

    def _read(self) -> _File | None:
        """The file as data; None if there is one and it is not as we write it."""
        try:
            if not self._path.is_file():
                return None if os.path.lexists(self._path) else _File({})
            with self._path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
            data = json.loads(raw.decode("utf-8")) if len(raw) <= _LARGEST else None
            version = data.get("version") if isinstance(data, dict) else None
            self.newer = isinstance(version, int) and version > VERSION
            return convert(data, _File) if version else None
        except (OSError, ValueError, RecursionError):
            return None

    def _set_aside(self) -> None:
        """A damaged file is kept beside the new one, and said."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{int(self._clock())}")
        while os.path.lexists(aside):
            aside = aside.with_name(aside.name + "+")
        os.replace(self._path, aside)
        self.damaged = aside

    def _write(self, change: Callable[[_File], None]) -> None:
        """Read anew, change, write whole, replace: under a lock that another shell waits for."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self._path.with_name(self._path.name + ".lock")) as alone:
                data = self._read()
                if data is None:
                    self._set_aside()
                    data = self._data
                change(data)
                # Under the lock the name is ours: what a killed shell left there is written over.
                fresh = self._path.with_name(f"{self._path.name}.{'' if alone else os.getpid()}new")
                with contextlib.suppress(FileNotFoundError):
                    fresh.unlink()
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
                with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
                    json.dump(to_builtins(data), file, ensure_ascii=True, indent=1, sort_keys=True)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(fresh, self._path)
        except OSError as error:
            self.unsaved = error
            change(self._data)  # it counts as long as this shell runs
        else:
            self._data, self.unsaved = data, None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on `path`; where the system has none, go without, and give False."""
    try:
        import fcntl
    except ImportError:
        yield False
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield True
    finally:
        os.close(descriptor)


class Lessons:
    """The lessons of a course in the learner's language, each read when it is first needed, and what is done of them.

    `language` gives the language as it is now: a learner may change it.
    """

    def __init__(self, catalog: Catalog, course: Course, progress: Progress, language: Callable[[], str]) -> None:
        self._catalog, self._language = catalog, language
        self.course, self.progress = course, progress
        self._read: dict[tuple[str, str], Lesson] = {}

    def get(self, name: str) -> Lesson:
        """Raises LessonError."""
        key = name, self._language()
        if key not in self._read:
            self._read[key] = read_lesson(self._catalog, *key)
        return self._read[key]

    def all(self) -> Iterator[Lesson]:
        """The lessons in order. Raises LessonError."""
        return map(self.get, self.course.lessons)

    def standing(self, lesson: Lesson, exercise: Exercise) -> Standing:
        return self.progress.standing(self.course.id, lesson.id, exercise.id)

    def first_open(self) -> tuple[Lesson, Exercise] | None:
        """Where to go on: where one left if that is still open, else what is next from there; None at the end."""
        name, exercise = self.progress.place(self.course.id) or ("", "")
        if name in self.course.lessons:
            lesson = self.get(name)
            if (left := lesson.find(exercise)) and not self.standing(lesson, left).done:
                return lesson, left
        return self.next_open(name, exercise)

    def next_open(self, name: str, exercise: str) -> tuple[Lesson, Exercise] | None:
        """What is open after an exercise: in its lesson first, then in the lessons after it, then in those before."""
        names = self.course.lessons
        at = names.index(name) if name in names else 0
        for lesson in map(self.get, (*names[at:], *names[:at])):
            if found := self.open_in(lesson, exercise if lesson.name == name else ""):
                return lesson, found
        return None

    def open_in(self, lesson: Lesson, after: str = "") -> Exercise | None:
        """The first exercise of a lesson that is still open; those after `after` come first."""
        ids = [exercise.id for exercise in lesson.exercises]
        turn = ids.index(after) + 1 if after in ids else 0
        order = (*lesson.exercises[turn:], *lesson.exercises[:turn])
        return next((exercise for exercise in order if not self.standing(lesson, exercise).done), None)

    def to_do_in(self, lesson: Lesson) -> Exercise:
        """Where to begin a lesson: at the first exercise that is open, else that was skipped, else at the first."""
        skipped = (e for e in lesson.exercises if self.standing(lesson, e).state == "skipped")
        return self.open_in(lesson) or next(skipped, lesson.exercises[0])
