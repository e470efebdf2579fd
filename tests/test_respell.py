"""Backticks without colours, signs of ours in ASCII: nothing becomes too wide, no word breaks, no peer is altered."""

from __future__ import annotations

import re

import pytest
from stage import CATALOG, FakeScreen, Stage, run

from popshell.course.explain import pages
from popshell.ui import render
from popshell.ui.completer import Known, suggest
from popshell.ui.meta import METAS
from popshell.ui.respell import in_backticks, without_signs
from popshell.ui.screen import PlainScreen
from popshell.ui.theme import COLOURLESS
from popshell.ui.wrap import Line, columns, plain

TEXT = (
    "`RSET` takes all `marks` back, `LIST` shows which `numbers` there are, and `QUIT` ends it. Then `:connect` and "
    "`:mailbox` tell what is left of `DELE 1`, `DELE 2` and `DELE 3`."
)


@pytest.mark.parametrize("width", range(30, 90, 7))
def test_backticks_are_counted_when_lines_are_filled(width: int) -> None:
    lines = list(in_backticks(render.paragraph(TEXT, width), width - 1))
    shown = plain(lines)
    assert all(columns(row) <= width - 1 for row in shown.split("\n"))
    assert " ".join(shown.split()) == TEXT
    assert all(row.startswith("  ") and row[2] != " " for row in shown.split("\n"))


def test_a_sign_or_a_name_at_the_left_keeps_its_place() -> None:
    lines: list[Line] = [
        [("", "   "), ("ok", "*"), ("", " "), ("", "one "), ("literal", "two"), ("", " three")],
        [("", "     four five")],
    ]
    assert plain(in_backticks(lines, 19)) == "   * one `two`\n     three four\n     five"
    assert plain(in_backticks([[("", "  a:  "), ("literal", "x"), ("", " y z")]], 9)).startswith("  a:  ")


def test_paragraphs_are_not_joined() -> None:
    lines = [*render.paragraph("`a` `b` `c` `d` `e` `f`", 16), *render.paragraph("short", 16)]
    assert plain(in_backticks(lines, 15)).endswith("\n  short")


def test_what_a_peer_said_is_never_altered() -> None:
    assert plain(without_signs([[("note", "§5 … “x”"), ("peer", "§5 … “x”")]], 80)) == 'sec. 5 ... "x"§5 … “x”'


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
        known = Known(stage.shell.session.connection.context(), None, "en", ascii=True)
        assert [found.remark for found in suggest("RETR 3", known, CATALOG)] == ["935 octets, 四十二號包裹在哪裡？"]

    run(go())


def test_plain_text_of_a_terminal_is_as_wide_as_it_and_that_of_a_pipe_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert PlainScreen(interactive=True).columns == 40
    assert PlainScreen().columns == 80


@pytest.mark.parametrize("palette", [COLOURLESS, COLOURLESS._replace(plain=True)])
def test_pages_without_colours_have_no_blanks_at_the_ends_of_lines(palette: object) -> None:
    from popshell.ui.pages import render as page

    for path in ("commands/RETR", "states/UPDATE"):
        found = CATALOG.page("en", path)
        assert found is not None
        text = page(found, path, CATALOG.words("en"), 80, True, palette)  # type: ignore[arg-type]
        assert not [row for row in text.splitlines() if row != row.rstrip()]
