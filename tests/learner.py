"""A simulated learner: `popshell learn --plain` as a program of its own, spoken to through pipes, line by line.

After each line a harmless meta command is sent; when its answer is there, so is everything before it. Nothing sleeps.
Placeholders of a solution are worked out as a learner would, from the greeting that was shown.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.lesson import Exercise, Lesson, read_lesson
from popshell.course.progress import Course, read_course

ROOT = Path(__file__).resolve().parents[1]
TAGS = tuple(LANGUAGES)
SECONDS = 20.0
_STAMP = re.compile(r"S: \+OK [^\n]*?(<[^<>\s]+@[^<>\s]+>)")


@functools.cache
def catalog() -> Catalog:
    return Catalog((bundled(),))


@functools.cache
def course() -> Course:
    """The course as far as it is written; all of it where CI is set, so that a missing lesson fails there."""
    found = read_course(catalog())
    if os.environ.get("CI"):
        return found
    return Course(found.id, tuple(name for name in found.lessons if (ROOT / f"lessons/en/{name}.md").is_file()))


@functools.cache
def lesson(name: str, tag: str = "en") -> Lesson:
    return read_lesson(catalog(), name, tag)


def words(text: str) -> str:
    """Text without its line ends, blanks and marks of Markdown: for comparing what is shown with what was written."""
    return re.sub(r"[\s`*_>\[\]<]+", "", text)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the machine's user: all that is written lies below `home`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    } | more


def progress_file(home: Path) -> Path:
    return home / ".local" / "share" / "popshell" / "progress.json"


class Learner:
    """One run of the program."""

    def __init__(
        self, home: Path, *arguments: str, tag: str = "en", lessons: Path | None = None, env: Mapping[str, str] = {}
    ) -> None:
        self.tag = tag
        own = ("--lessons", str(lessons)) if lessons is not None else ()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "popshell", "learn", *arguments, "--plain", "--lang", tag, *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=environment(home, **env),
        )
        self.text = ""
        self._mark = catalog().words(tag)("shell.notes-are", value="full")
        self.began = self._until_mark()

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def say(self, *lines: str) -> str:
        """Type `lines`; what was shown because of them."""
        self._write("".join(f"{line}\n" for line in lines))
        return self._until_mark()

    def do(self, exercise: Exercise, lines: Iterable[str]) -> str:
        """Type what a lesson lists, one line after the other, placeholders worked out; a block goes as a flight."""
        shown = ""
        for text in lines:
            flight = f":flight {' | '.join(text.split(chr(10)))}" if "\n" in text else text
            shown += self.say(self.filled(flight, exercise))
        return shown

    def filled(self, text: str, exercise: Exercise) -> str:
        """The line with its placeholders worked out, by hand and not by popshell."""
        name, password = exercise.account
        stamps = _STAMP.findall(self.text)
        stamp = stamps[-1] if stamps else ""
        digest = hashlib.md5((stamp + password).encode()).hexdigest()
        plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        return text.replace("<stamp>", stamp).replace("<apop>", digest).replace("<auth-plain>", plain)

    def leave(self) -> int:
        """Ctrl-D; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.stdout is not None
        self.text += self.process.stdout.read().decode()
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def _until_mark(self) -> str:
        """Send the harmless command and read until its answer."""
        self._write(":notes full\n")
        assert self.process.stdout is not None
        start, end = len(self.text), time.monotonic() + SECONDS
        data = b""
        mark = self._mark.encode()
        while mark not in data:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert more, f"the program ended or hangs:\n{self.text[-2000:]}{data.decode(errors='replace')}"
            data += more
        self.text += data.decode().replace(f"  {self._mark}\n", "")
        return self.text[start:]
