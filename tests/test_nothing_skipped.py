"""conftest: a skip is a failure under CI, whoever asked for it, and however; on a user's machine it is a skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_in_the_middle():
    pytest.skip("no such program")

@pytest.mark.skip(reason="nobody wants it")
def test_by_mark(): ...

@pytest.fixture
def thing():
    pytest.skip("no such thing")

def test_by_fixture(thing): ...

@pytest.mark.skipif(True, reason="the kernel lacks it")
def test_of_the_kernel(): ...

@pytest.mark.xfail(reason="known")
def test_known():
    assert False

def test_good(): ...
"""


@pytest.mark.parametrize(
    ("ci", "counts"),
    [("", "1 passed, 4 skipped, 1 xfailed"), ("true", "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors")],
)
def test_a_skip_is_a_failure_under_ci(tmp_path: Path, ci: str, counts: str) -> None:
    for name in ("conftest.py", "started.py"):
        shutil.copy(Path(__file__).with_name(name), tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "no:cacheprovider", f"--rootdir={tmp_path}", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"CI": ci, "PYTEST_ADDOPTS": ""},
        cwd=tmp_path,
    )
    assert f"{counts} in " in done.stdout
    assert ("skipped under CI: no such thing" in done.stdout) is bool(ci)
    assert done.returncode == bool(ci)
