"""The table of meta commands: how they are found, what they refuse, and what `:help` shows."""

from __future__ import annotations

import re

import pytest
from stage import LOCAL, METAS, Stage, metas_of, run
from support import each

from popshell.ui.shell import Leave


def test_help_lists_what_can_be_given_just_now() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script={})
        await stage.begin()

        async def offered() -> list[str]:
            shown = (await stage.run(":help")).partition("The shell's own")[0]
            return re.findall(r"^ {4}([A-Z0-9]{4})\b", shown, re.M)

        assert "APOP" not in await offered(), "without a timestamp in the greeting (RFC 1939 §7)"
        stage = Stage()
        await stage.begin()
        assert "APOP" in await offered()
        assert "PASS" not in await offered()
        await stage.run("USER learner")
        assert "PASS" in await offered()
        await stage.run("STLS")
        assert "STLS" not in await offered()

    run(go())


def test_names_of_help() -> None:
    async def go(line: str) -> None:
        assert "What you type goes to the server" in await Stage().run(line)

    each([(one,) for one in [":?", ":h", ":help", ":", ":he"]], lambda *row: run(go(*row)))


def test_names_of_quit() -> None:
    async def go(line: str) -> None:
        with pytest.raises(Leave):
            await Stage().run(line)

    each([(one,) for one in [":q", ":exit", ":quit", ":QUIT"]], lambda *row: run(go(*row)))


def test_an_unknown_meta_command_gets_the_nearest_advice() -> None:
    async def go(line: str, said: str) -> None:
        stage = Stage()
        await stage.begin()
        shown = " ".join((await stage.run(line)).split())
        assert said in shown
        assert "hunter2" not in shown
        assert stage.shell.tally.usage
        assert not stage.wire.sent

    each(
        [
            (":mailbx", "Did you mean :mailbox?"),
            (":explian STAT", "Did you mean :explain?"),
            (":zzz", "There is no :zzz. :help lists"),
            (":s", ":s could be :state, :save"),
            (":CAPA", "CAPA is POP3: type it without the colon"),
            (":PASS hunter2", "PASS is POP3"),
            (":pass hunter2", "PASS is POP3"),
            (":p\u0430ss", "There is no"),
        ],
        lambda *row: run(go(*row)),
    )


def test_an_argument_is_refused_where_there_is_no_parameter() -> None:
    async def go(name: str) -> None:
        stage = Stage()
        await stage.begin()
        assert f"Usage: :{name}\n" in await stage.run(f":{name} now")
        assert stage.shell.session is not None, "nothing was done"
        assert stage.shell.tally.usage

    each([(one,) for one in [meta.name for meta in METAS.values() if not meta.param]], lambda *row: run(go(*row)))


def test_no_name_means_two_things() -> None:
    names = [name for meta in METAS.values() for name in (meta.name, *meta.also)]
    assert len(names) == len(set(names))
    assert all(metas_of(None).found(name)[0].name == name for name in METAS)


def test_notes_can_be_what_the_setting_can_be() -> None:
    from popshell import config
    from popshell.ui import metas

    assert config.NOTES == metas.NOTES
