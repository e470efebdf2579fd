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

import pytest

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"))


def need(name: str) -> str:
    """Where the program `name` is. Skips the test if it is not installed; fails it under CI."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


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
