"""Simulated learners: `popshell learn --plain` as a program of its own, and the same shell in this process.

The program is spoken to through pipes, line by line: after each line a harmless meta command is sent; when its answer
is there, so is everything before it. Nothing sleeps. Placeholders of a solution are worked out as a learner would, from
the greeting that was shown.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import io
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stage import PracticeWire
from support import Clock

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.lesson import Exercise, Lesson, read_lesson
from popshell.course.progress import Course as CourseOrder
from popshell.course.progress import Lessons, Progress, read_course
from popshell.server.mailserver import MailServer
from popshell.session import Endpoint, Event, OpenConnection, Session, Step
from popshell.ui.course_metas import Course
from popshell.ui.display import new_shell
from popshell.ui.metas import Metas
from popshell.ui.screen import PlainScreen
from popshell.ui.shell import Options
from popshell.ui.tutor import Tutor

ROOT = Path(__file__).resolve().parents[1]
TAGS = tuple(LANGUAGES)
SECONDS = 20.0
_STAMP = re.compile(r"S: \+OK [^\n]*?(<[^<>\s]+@[^<>\s]+>)")


@functools.cache
def catalog() -> Catalog:
    return Catalog((bundled(),))


@functools.cache
def course() -> CourseOrder:
    return read_course(catalog())


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
    } | more


def progress_file(home: Path) -> Path:
    return home / ".local" / "share" / "popshell" / "progress.json"


def filled(text: str, exercise: Exercise, shown: str) -> str:
    """A lesson's line as it is typed: placeholders worked out by hand, from what was shown; a block is a flight."""
    name, password = exercise.account
    stamps = _STAMP.findall(shown)
    stamp = stamps[-1] if stamps else ""
    digest = hashlib.md5((stamp + password).encode()).hexdigest()
    plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
    line = f":flight {' | '.join(text.split(chr(10)))}" if "\n" in text else text
    return line.replace("<stamp>", stamp).replace("<apop>", digest).replace("<auth-plain>", plain)


class Learner:
    """One run of the program."""

    def __init__(
        self, home: Path, *arguments: str, tag: str = "en", lessons: Path | None = None, env: Mapping[str, str] = {}
    ) -> None:
        self.tag = tag
        own = ("--lessons", str(lessons)) if lessons is not None else ()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "popshell", "learn", *arguments, "--plain", "--notes", "full", "--lang", tag, *own],
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
        return "".join(self.say(filled(text, exercise, self.text)) for text in lines)

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


class InProcess:
    """A learner at a shell in this process: `--plain` without keyboard, the practice server without sockets."""

    def __init__(self, home: Path, tag: str = "en") -> None:
        self.tag = tag
        self._loop = asyncio.new_event_loop()
        self._stage = _Server()
        self._out = io.StringIO()
        shell = new_shell(catalog(), PlainScreen(self._out), self._stage.dial, Options(language=tag), self._metas)
        self._shell = shell
        self._course = Course(shell, lambda: self._tutor(home))
        self._loop.run_until_complete(self._course.begin(""))
        self.text = self._out.getvalue()

    def _metas(self) -> Metas:
        return Metas(self._course.rows())

    def _tutor(self, home: Path) -> Tutor:
        progress, shell = Progress(progress_file(home)), self._shell
        lessons = Lessons(catalog(), read_course(catalog()), progress, lambda: shell.options.language)
        return Tutor(shell, lessons, self._stage)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def say(self, *lines: str) -> str:
        """Type `lines`; what was shown because of them."""
        self._out.seek(0)
        self._out.truncate()
        for line in lines:
            self._loop.run_until_complete(self._shell.run(line))
        shown = self._out.getvalue()
        self.text = (self.text + shown)[-20_000:]  # the newest greeting is in it
        return shown

    def do(self, exercise: Exercise, lines: Iterable[str]) -> str:
        """Type what a lesson lists, one line after the other, placeholders worked out; a block goes as a flight."""
        return "".join(self.say(filled(text, exercise, self.text)) for text in lines)

    def leave(self) -> int:
        return self._shell.tally.exit_code()


class _Server:
    """The practice server of a course, without sockets (`ui.tutor.Stage`)."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._server: MailServer | None = None
        self._wire: PracticeWire | None = None

    def use(self, server: MailServer) -> None:
        self._server = server

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        wire = self._wire
        if wire is not None and not wire.closed and wire.peer.expire():
            wire.lose()

    async def dial(
        self,
        where: str | None,
        on_event: Callable[[Event, bool], None],
        on_end: Callable[[Exception | None], None],
        on_step: Callable[[Step], None],
    ) -> OpenConnection:
        assert self._server is not None
        session = Session(self.clock, on_event, on_end)
        self._wire = PracticeWire(self._server)
        self._wire.session = session
        session.wire = self._wire
        autologout = self._server.limits.autologout
        return OpenConnection(session, Endpoint("127.0.0.1:1", practice=True, loopback=True, autologout=autologout))
