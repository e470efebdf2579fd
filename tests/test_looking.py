"""Meta commands that look: what they say where there is nothing to look at, and on a server that is not ours."""

from __future__ import annotations

import pytest
from stage import LOCAL, Stage, run

LOGIN = {"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "DELE": b"+OK\r\n"}


@pytest.mark.parametrize("line", [":mailbox", ":fork", ":tls", ":help"])
def test_without_connection_the_first_advice_is_to_connect(line: str) -> None:
    async def go() -> None:
        said = await Stage().run(line)
        assert ":connect" in said
        assert "Log in" not in said
        assert "STLS" not in said
        assert "in CLOSED" not in said

    run(go())


@pytest.mark.parametrize("line", ["STAT", "USER a"])
def test_explain_without_connection_says_so(line: str) -> None:
    async def go() -> None:
        said = await Stage().run(f":explain {line}")
        assert ":connect first" in said
        assert "not in CLOSED" not in said

    run(go())


def test_fork_is_for_the_practice_server_only() -> None:
    async def go() -> None:
        real = Stage(place=LOCAL, script=dict(LOGIN))
        await real.log_in()
        real.shell.fork = lambda: next(iter(()))
        assert "practice server only" in " ".join((await real.run(":fork")).split())
        ours = Stage()
        ours.shell.fork = lambda: ((2, 3), (1, 2, 3))
        await ours.begin()
        assert "Log in first" in await ours.run(":fork")
        await ours.run("USER learner", "PASS secret")
        shown = await ours.run(":fork")
        assert "message 1: erased" in shown

    run(go())
