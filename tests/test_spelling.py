"""What --ascii and --plain show of a whole session: nothing too wide, no sign of ours, no peer altered."""

from __future__ import annotations

import re

import pytest
from stage import METAS, FakeScreen, Stage, run

from popshell.course.explain import pages
from popshell.ui.completer import ShellCompleter
from popshell.ui.layout import columns
from popshell.ui.screen import PlainScreen


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
def test_every_sign_of_ours_is_ascii_with_ascii(size: tuple[int, int]) -> None:
    async def go() -> None:
        stage = Stage(screen=FakeScreen(columns=size[0], rows=size[1], ascii=True))
        await stage.run(":help", ":mailbox", ":explain STAT")
        await stage.begin(
            "STAT", "USER learner", "PASS wrong", "FOO", "AUTH PLAIN", "*", ":explain PASS x y", ":ladder"
        )
        await stage.run(
            "USER learner", "PASS secret", "LIST", "UIDL", "DELE 2", "RETR 2", "TOP 1 0", ":mailbox", ":raw"
        )
        for page in pages():
            await stage.run(f":help {page}", ":more all")
        await stage.run(":help", ":more all", ":state", ":help LIST", "QUIT", ":ladder", *(f":help {m}" for m in METAS))
        ours = re.sub(r"\x1b\[\?7[lh]", "", stage.text)
        # Dialogues in pages hold what servers say in other languages, and names of languages.
        odd = [row for row in ours.splitlines() if not row.isascii() and not re.search("[\u4e00-\u9fff]", row)]
        assert not odd
        assert "+S: +OK" in ours
        assert "!S: -ERR" in ours
        assert " C: PASS ****" in ours
        own = [row for row in ours.splitlines() if not row.lstrip().startswith(("C: ", "S: ", "quoted "))]
        assert not [row for row in own if columns(row) > size[0]]

    run(go())


def test_a_subject_stays_as_it_is_with_ascii() -> None:
    async def go() -> None:
        stage = Stage(screen=FakeScreen(ascii=True))
        await stage.log_in("LIST", "RETR 3")
        assert "四十二號包裹在哪裡？" in await stage.run(":mailbox")
        assert stage.shell.session is not None
        completer = ShellCompleter(stage.shell, stage.shell.session.connection.context)
        assert [found.display_meta_text for found in completer.suggest("RETR 3")] == [
            "935 octets, 四十二號包裹在哪裡？"
        ]

    run(go())


def test_plain_text_of_a_terminal_is_as_wide_as_it_and_that_of_a_pipe_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert PlainScreen(interactive=True).columns == 40
    assert PlainScreen().columns == 80
