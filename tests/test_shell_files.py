"""Completions and man pages: made from the tables, fresh, understood by their readers, in the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import make_shell_files
import pytest
from support import ROOT

from popshell.arguments import OPTIONS


def test_they_are_what_the_tables_say() -> None:
    assert make_shell_files.stale() == []


def test_bash_completes_commands_options_values_and_connections(tmp_path: Path) -> None:
    stub = tmp_path / "popshell"
    stub.write_text("#!/bin/sh\necho work\n")
    stub.chmod(0o755)
    cases = [
        (["popshell", "le"], "learn lesson"),
        (["popshell", "wo"], "work"),
        (["popshell", "learn", "--pl"], "--plain"),
        (["popshell", "--tls", "i"], "implicit"),
        (["popshell", "serve", "--tl"], "--tls-port"),
        (["popshell", "lint", "--tl"], ""),
        (["popshell", "lint", "--mark"], "--mark-translated"),
    ]
    wrong = []
    for typed, wanted in cases:
        words = " ".join(f"'{word}'" for word in typed)
        script = (
            f"source docs/completions/popshell.bash; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; "
            f"_popshell popshell '{typed[-1]}' '{typed[-2]}'; echo \"${{COMPREPLY[*]}}\""
        )
        environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30)
        if done.stdout.strip() != wanted or done.stderr:
            wrong.append((typed, done.stdout, done.stderr))
    assert not wrong


@pytest.mark.parametrize(("shell", "file"), [("zsh", "_popshell"), ("fish", "popshell.fish")])
def test_other_shells_can_read_theirs(shell: str, file: str) -> None:
    text = (ROOT / "docs" / "completions" / file).read_text("utf-8")
    assert [option.name for option in OPTIONS if option.name not in text] == []
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", f"docs/completions/{file}"], cwd=ROOT, capture_output=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, b"")


def test_man_pages_name_every_option() -> None:
    for name in ("docs/man/popshell.1", "docs/man/zh_TW/popshell.1"):
        text = (ROOT / name).read_text("utf-8").replace("\\", "")
        assert [option.names[0] for option in OPTIONS if f".B {option.names[0]}" not in text] == [], name


def test_the_wheel_puts_them_where_they_are_looked_for() -> None:
    import tomllib

    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shared = data["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert set(shared) == set(make_shell_files.FILES)
