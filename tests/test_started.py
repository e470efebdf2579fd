"""A start that is forked and one of a process of its own do the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import started
from support import each
from terminal.driver import environment

COMMAND = [sys.executable, "-m", "popshell"]
_DIFFER = re.compile(rb"<[0-9]+\.[0-9]+@|[0-9]{4}-[0-9-]+T[0-9:.]+|\"(port|[a-z_]*seconds)\":[^,}]*")


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not give away children of children")


def test_what_is_forked_is_what_would_be_started(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("S: +OK\nC: STAT\nS: +OK 1 2\n")

    def check(*arguments: str, stdin: bytes = b"USER learner\nPASS secret\n:state\nRETR 2\nSTAT\nQUIT\n") -> None:
        seen = []
        for kind in (started.Started, started.Real):
            home = tmp_path / kind.__name__  # what a learner has done is remembered there
            with kind(
                [*COMMAND, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
                env=environment(home, {"POPSHELL_LANG": "zh-Hant"}),
            ) as process:
                out, error = process.communicate(stdin, 30)
            seen.append((process.returncode, _DIFFER.sub(b"", out), _DIFFER.sub(b"", error)))
        assert seen[0] == seen[1]
        assert seen[0][1] + seen[0][2]

    each(
        [
            *([], ["--json"], ["--version"], ["--nosuch"]),
            *(["learn", "--plain"], ["explain", "log", "--lang", "en"]),
        ],
        check,
    )


def test_it_is_a_child_with_a_group_signals_and_pipes_of_its_own(tmp_path: Path) -> None:
    process = started.Started(
        [*COMMAND, "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        env=environment(tmp_path),
        cwd=tmp_path,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert b"127.0.0.1" in process.stdout.readline()
            proc = Path(f"/proc/{process.pid}")
            assert b"started.py" in (proc / "cmdline").read_bytes(), "it was not forked"
            assert f"PPid:\t{os.getpid()}\n" in (proc / "status").read_text()
            assert os.getpgid(process.pid) == process.pid
            assert os.readlink(proc / "cwd") == str(tmp_path)
        finally:
            process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_what_would_start_otherwise_is_not_forked(tmp_path: Path) -> None:
    usual = environment(tmp_path)
    assert started._usual(usual)
    each(
        [("PYTHONIOENCODING", "ascii"), ("LC_ALL", "C"), ("LANG", "zh_TW.UTF-8"), ("PYTHONPATH", "/elsewhere")],
        lambda name, value: [started._usual(usual | {name: value})].index(False),
    )
