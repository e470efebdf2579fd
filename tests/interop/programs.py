"""Programs that this project did not write: found or skipped by name, and run with nothing of the user's in reach.

On a user's machine a test whose program is absent is skipped and says which; with CI set in the environment it fails,
so that nothing is ever silently untested there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"))


def need(name: str) -> str:
    """Where the program `name` is. Skips the test if it is not installed; fails it under CI."""
    return shutil.which(name, path=_PATH) or lacking(f"{name} is not installed")


def lacking(what: str) -> NoReturn:
    """Skip the test, because something is missing on this machine; fail it under CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def call(arguments: Sequence[str | Path], home: Path, seconds: float = 20) -> subprocess.CompletedProcess[bytes]:
    """Run a program with an empty home and no proxy settings, bounded in time."""
    environment = {"HOME": str(home), "PATH": _PATH, "LC_ALL": "C", "USER": "learner", "LOGNAME": "learner"}
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
