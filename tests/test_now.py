"""What may be given here and now: one judgement for toolbar, completion and `:help`."""

from __future__ import annotations

import pytest

from popshell.course.explain import legal_now, objection
from popshell.protocol.commands import COMMANDS, State, legal
from popshell.protocol.line import Context

_A, _T = State.AUTHORIZATION, State.TRANSACTION


def names(context: Context) -> set[str]:
    return {spec.name for spec in legal_now(context, "<a@b>")}


@pytest.mark.parametrize("state", list(State))
def test_nothing_is_legal_now_that_the_table_forbids_and_history_never(state: State) -> None:
    found = legal_now(Context(state, follows="USER"), "<a@b>")
    assert found == legal(state)
    assert not any(spec.historic for spec in found)


def test_what_came_before_counts() -> None:
    assert "PASS" not in names(Context(_A))
    assert "PASS" in names(Context(_A, follows="USER"))
    assert "STLS" in names(Context(_A))
    assert "STLS" not in names(Context(_A, tls=True))
    assert "STLS" not in names(Context(_A, done=frozenset({"UTF8"})))
    assert names(Context(State.UPDATE)) == names(Context(State.CLOSED)) == set()


@pytest.mark.parametrize(
    ("name", "context", "code"),
    [
        ("STAT", Context(_A), "wrong-state"),
        ("PASS", Context(_A), "must-follow"),
        ("STLS", Context(_A, tls=True), "already-tls"),
        ("STLS", Context(_A, done=frozenset({"UTF8"})), "not-after"),
        ("RETR", Context(_T), None),
        ("LAST", Context(_A), "wrong-state"),
    ],
)
def test_the_objection_is_the_parse_s_own(name: str, context: Context, code: str | None) -> None:
    assert objection(COMMANDS[name], context) == code
