"""A program that is absent: skipped by name on a user's machine, a failure under CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop import dovecot
from interop.programs import call, need

ABSENT = "no-such-mail-program"


def test_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=ABSENT):
        need(ABSENT)
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=ABSENT):
        need(ABSENT)


def test_dovecot_without_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot.os, "getuid", lambda: 0)
    monkeypatch.setattr(dovecot, "_exists", lambda name: name == "nobody")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="dovenull"):
        dovecot._owners()


def test_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_USER", "x")
    done = call([need("env")], tmp_path)
    assert done.returncode == 0
    assert f"HOME={tmp_path}".encode() in done.stdout
    assert b"SECRET_OF_THE_USER" not in done.stdout
