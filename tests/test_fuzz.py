"""A sample of `tests/soak/fuzz.py`: any octets for Connection and ServerSession (sec-P9)."""

from __future__ import annotations

import pytest
from soak import fuzz

from popshell.protocol.connection import Connection
from popshell.server import maildrop
from popshell.server.session import ServerSession


@pytest.mark.parametrize("part", range(4))
def test_any_octets(part: int) -> None:
    for number in range(part * 250, (part + 1) * 250):
        fuzz.case(0, number)


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(opened: maildrop.OpenMaildrop) -> None:
        """Removes what is marked, as UPDATE alone may."""
        opened._maildrop._holder = None
        opened._maildrop.remove(frozenset(opened.messages[number - 1].unique_id for number in opened.marks))

    def some() -> None:
        for number in range(200):
            fuzz.case(0, number)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "received", lambda self, data: ["no event"])
        with pytest.raises(AssertionError, match="no event"):
            some()
    with monkeypatch.context() as patch:
        patch.setattr(maildrop.OpenMaildrop, "release", forgetful)
        with pytest.raises(AssertionError, match="quitted"):
            some()
    with monkeypatch.context() as patch:
        patch.setattr(ServerSession, "lost", lambda self: None)
        with pytest.raises(AssertionError):
            some()


def test_a_failure_is_counted_and_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter((0.0, 0.0, 0.0, 9.0, 9.0))
    monkeypatch.setattr(fuzz.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(fuzz, "serve", lambda rng: 1 / 0)
    assert fuzz.main(5, 7) == 1
    said = capsys.readouterr()
    assert said.out == "2 cases, seed 7: 1 failures, 9 s\n"
    assert said.err.startswith("case 0 of seed 7:\n")
    assert "ZeroDivisionError" in said.err
