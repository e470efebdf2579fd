"""Programs under a stopwatch: what bench_start.py and bench_keys.py share.

PopShell is measured as a user has it: installed by pip, with its `.pyc` files, in a virtual environment of its own;
litecli, which it is compared with, in another. Each program runs in a pseudo-terminal of 80x24 with a home that holds
nothing, and is timed from outside, by what it writes. No contender is answered when it asks where the cursor is
(PROMPT_TOOLKIT_NO_CPR=1), unless a measurement says that it is: without an answer there is no toolbar. What the
terminal is, is answered, as every terminal does.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import resource
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
#: So long without output, in seconds, and a program has finished drawing.
QUIET = 0.05
_WHERE, _WHAT = b"\x1b[6n", b"\x1b[c"
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Programs(NamedTuple):
    """The interpreters of the two environments, and a directory for homes."""

    ours: Path
    litecli: Path
    homes: Path

    def home(self, name: str) -> Path:
        made = self.homes / name
        made.mkdir(exist_ok=True)
        return made

    @property
    def popshell(self) -> list[str]:
        return [str(self.ours.with_name("popshell"))]

    @property
    def bare(self) -> list[str]:
        """A prompt of prompt_toolkit, and nothing else."""
        return [str(self.ours), "-c", "from prompt_toolkit import PromptSession; PromptSession('> ').prompt()"]

    @property
    def lite(self) -> list[str]:
        return [str(self.litecli.with_name("litecli"))]


def arguments(description: str, rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument(
        "--venv", type=Path, metavar="DIR", help="keep the two environments here for the next run, or use those here"
    )
    return parser.parse_args()


@contextmanager
def programs(kept: Path | None) -> Iterator[Programs]:
    """The two environments, made by pip; PopShell is installed anew each time, as the checkout is now."""
    with tempfile.TemporaryDirectory(prefix="popshell-bench-") as scratch:
        place = kept.absolute() if kept else Path(scratch)
        ours, litecli = place / "ours", place / "litecli"
        for venv in (ours, litecli):
            if not (venv / "bin" / "python").exists():
                subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        source = Path(scratch) / "source"
        for part in ("popshell", "lessons", "docs"):
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, source)
        _pip(ours, str(source))
        _pip(ours, "--force-reinstall", "--no-deps", str(source))
        _pip(litecli, "litecli")
        # The same library below all three, or its releases are compared.
        versions = [_version(venv, "prompt_toolkit") for venv in (ours, litecli)]
        if versions[0] != versions[1]:
            _pip(litecli, f"prompt_toolkit=={versions[0]}")
        homes = Path(scratch) / "homes"
        homes.mkdir()
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, "
            f"prompt_toolkit {versions[0]}, litecli {_version(litecli, 'litecli')}"
        )
        yield Programs(ours / "bin" / "python", litecli / "bin" / "python", homes)


def _pip(venv: Path, *what: str) -> None:
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def _version(venv: Path, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    done = subprocess.run([str(venv / "bin" / "python"), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def environment(home: Path) -> dict[str, str]:
    """What every contender gets: nothing of ours, above all no PYTHONDONTWRITEBYTECODE."""
    return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color"}


class Watched:
    """A program in a pseudo-terminal. `cursor` answers where the cursor is, as a terminal does."""

    def __init__(self, command: list[str], home: Path, *, cursor: bool = False) -> None:
        self._cursor = cursor
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        names = environment(home) | ({} if cursor else {"PROMPT_TOOLKIT_NO_CPR": "1"})
        self.began = time.perf_counter()
        self._child = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=names, cwd=home, start_new_session=True
        )
        os.close(theirs)
        self._fd = ours

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._fd)

    def until(self, text: str) -> float:
        """Read until `text` is written, escapes left out; the milliseconds since the start."""
        wanted, seen = text.encode(), b""
        while wanted not in _ESCAPES.sub(b"", seen):
            ready, _, _ = select.select([self._fd], [], [], SECONDS)
            if not ready:
                raise SystemExit(f"{text!r} was never written: {seen!r}")
            seen += self._read()
        return (time.perf_counter() - self.began) * 1000

    def key(self, keys: str, echo: str = "") -> float:
        """Type; the milliseconds until `echo` (else what was typed) is written."""
        start = time.perf_counter()
        os.write(self._fd, keys.encode())
        self.until(echo or keys)
        return (time.perf_counter() - start) * 1000

    def type(self, keys: str) -> None:
        """Type without a stopwatch."""
        os.write(self._fd, keys.encode())
        self.settle()

    def worked(self) -> float:
        """Milliseconds of processor time of the program so far, as Linux counts them."""
        threads = Path(f"/proc/{self._child.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6

    def settle(self) -> None:
        """Read until nothing more comes."""
        while select.select([self._fd], [], [], QUIET)[0]:
            self._read()

    def _read(self) -> bytes:
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # Linux, when the program has gone
            data = b""
        if not data:
            raise SystemExit(f"{self._child.args!r} has gone")
        if self._cursor and _WHERE in data:
            os.write(self._fd, b"\x1b[10;1R")
        if _WHAT in data:
            os.write(self._fd, b"\x1b[?62;22c")
        return data


def spent() -> float:
    """Milliseconds of processor time of all programs that have ended, the system's for them included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def ratio(name: str, ours: list[float], other: list[float], limit: float | None) -> None:
    """One row: both medians, their ratio, the limit."""
    mine, theirs = statistics.median(ours), statistics.median(other)
    print(f"{name:62} {mine:8.2f} ms {theirs:8.2f} ms  {_judged(f'ratio {mine / theirs:5.2f}', mine / theirs, limit)}")


def difference(name: str, ours: list[float], other: list[float], limit: float) -> None:
    mine, theirs = statistics.median(ours), statistics.median(other)
    print(f"{name:62} {mine:8.2f} ms {theirs:8.2f} ms  {_judged(f'{mine - theirs:+.0f} ms', mine - theirs, limit)}")


def _judged(said: str, value: float, limit: float | None) -> str:
    return said if limit is None else f"{said}  limit {limit:g}  {'met' if value <= limit else 'NOT MET'}"
