"""What the first prompt may load: the gate of perf-S5 (docs/performance.md).

The program itself is not touched: Python writes down what it imports (`-X importtime`) while the real, interactive
`python -m popshell` starts in a pseudo-terminal; once the prompt stands there, the list is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Not one of them, nor anything below them, before the first prompt.
FORBIDDEN = ("pygments", "email", "markdown_it", "dataclasses", "pathlib", "urllib", "tomllib")
#: What TLS needs, made when TLS is first wanted: 70 ms that no other start pays.
FORBIDDEN_TOO = ("trustme", "cryptography", "msgspec")
#: Which of our own modules the first prompt loads, by package. Each costs a start about half a millisecond: a new one
#: is named here with what the first prompt needs it for, or is imported by the function that uses it.
OURS = {
    "": "arguments cli config passwords session tuples visible words",
    "course": "catalog document explain notes symptoms",
    "net": "address client connector errors listener peer",
    "protocol": "commands connection line lookalikes maildrop_view mechanisms records sasl secrets strangers unasked"
    " ways wire",
    "server": "faults handlers maildrop mailserver replies session settings",
    "ui": "completer diagram display editor events front layout link prompt safety screen shell stream terminal theme",
}
SECONDS = 30.0
#: The program asks where the cursor is.
_WHERE = b"\x1b[6n"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def imported(importtime: str) -> list[str]:
    """The modules named in the output of `-X importtime`, in the order in which they were loaded."""
    rows = (line.rpartition("|")[2].strip() for line in importtime.splitlines() if line.startswith("import time:"))
    return [name for name in rows if name != "imported package"]


def below(modules: list[str], names: tuple[str, ...]) -> list[str]:
    return [module for module in modules if module.split(".")[0] in names]


def chain(importtime: str, wanted: str) -> list[str]:
    """Who imported `wanted`, outermost first: each row stands, one step less indented, behind what it imported."""
    found: list[str] = []
    depth = -1
    for line in importtime.splitlines():
        if not line.startswith("import time:"):
            continue
        name = line.rpartition("|")[2]
        indent = len(name) - len(name.lstrip())
        if not found and name.strip() == wanted:
            found, depth = [name.strip()], indent
        elif found and indent < depth:
            found.append(name.strip())
            depth = indent
    return found[::-1]


@contextlib.contextmanager
def interactive(log: Path, home: Path) -> Iterator[int]:
    """`python -m popshell` in a pseudo-terminal of 80x24; standard error, with the imports, goes to `log`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "popshell"],
            stdin=theirs,
            stdout=theirs,
            stderr=errors,
            env=environment,
            cwd=home,
            start_new_session=True,
        )
    os.close(theirs)
    try:
        yield ours
        assert child.wait(SECONDS) == 0
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(ours)


def read_until(terminal: int, *wanted: str) -> None:
    """Read what the program writes until all of `wanted` stands there in this order, escapes left out."""
    seen = b""
    text = ""
    end = time.monotonic() + SECONDS
    while not re.search(".*".join(map(re.escape, wanted)), text, re.DOTALL):
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, text
        piece = os.read(terminal, 65536)
        if _WHERE in piece:
            os.write(terminal, b"\x1b[10;1R")  # as a terminal does: without an answer there is no toolbar
        seen += piece
        text = _ESCAPES.sub("", seen.decode("utf-8", "ignore"))


def drain(terminal: int) -> None:
    """Read until the program has gone: Linux then says EIO, macOS the end of the file."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


@pytest.fixture(scope="module")
def first_prompt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of `-X importtime` as it stands when the first prompt and the toolbar under it are drawn."""
    home = tmp_path_factory.mktemp("home")
    log = home / "imports.txt"
    with interactive(log, home) as terminal:
        # The prompt, then the toolbar's row of meta commands.
        read_until(terminal, "AUTHORIZATION ▸", ":quit")
        written = log.read_text()
        os.write(terminal, b":quit\r")
        drain(terminal)
    return written


def test_the_first_prompt_loads_nothing_that_it_does_not_need(first_prompt: str) -> None:
    modules = imported(first_prompt)
    assert "popshell.ui.editor" in modules
    assert "prompt_toolkit" in modules
    ways = [chain(first_prompt, module) for module in below(modules, FORBIDDEN)]
    # Where coverage is measured, it has loaded some of them before the program began.
    assert [" <- ".join(way[::-1]) for way in ways if "coverage" not in way] == []


def test_the_first_prompt_loads_no_more_of_our_own_than_is_listed(first_prompt: str) -> None:
    loaded = {tuple(name.split(".")[1:]) for name in imported(first_prompt) if name.startswith("popshell.")}
    packages = {(package,) for package in OURS if package}
    listed = {(package, name) if package else (name,) for package, names in OURS.items() for name in names.split()}
    assert loaded - packages == listed


def test_what_only_tls_needs_is_left_for_later(first_prompt: str) -> None:
    found = below(imported(first_prompt), FORBIDDEN_TOO)
    assert not found, " <- ".join(chain(first_prompt, found[-1])[::-1])


def test_the_check_can_fail() -> None:
    """The same reader finds what is really imported, and by whom."""
    code = "import markdown_it.main, email.parser, pygments, dataclasses, pathlib, tomllib, urllib.parse"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    modules = imported(done.stderr)
    for name in FORBIDDEN:
        assert name in modules
        assert below(modules, (name,))
    assert chain(done.stderr, "markdown_it.token")[0] == "markdown_it.main"
    assert chain(done.stderr, "markdown_it.token")[-1] == "markdown_it.token"
