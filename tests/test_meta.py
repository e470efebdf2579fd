"""The table of meta commands: how they are found, what they refuse, and what `:help` shows."""

from __future__ import annotations

import re

from stage import Stage, run


def test_help_lists_what_can_be_given_just_now() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()

        async def offered() -> list[str]:
            shown = (await stage.run(":help")).partition("The shell's own")[0]
            return re.findall(r"^ {4}([A-Z0-9]{4})\b", shown, re.M)

        assert "PASS" not in await offered()
        await stage.run("USER learner")
        assert "PASS" in await offered()
        await stage.run("STLS")
        assert "STLS" not in await offered()

    run(go())
