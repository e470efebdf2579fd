"""Screens: how much of a reply is shown unasked, and the whole of it for a pager."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from stage import FakeScreen, Stage, run

from popshell.ui import terminal
from popshell.ui.screen import MOST_LINES, WINDOWS, PlainScreen


def reply(lines: int, width: int = 8) -> bytes:
    return b"+OK\r\n" + b"".join(b"%0*d\r\n" % (width, n) for n in range(lines)) + b".\r\n"


class Paged(FakeScreen):
    """A terminal with a pager that keeps what it was given."""

    given = ""

    async def page_out(self, rows: Iterable[str]) -> bool:
        self.given = "\n".join(rows) + "\n"
        return True


def scripted(raw: bytes, **size: int) -> Stage:
    return Stage(screen=Paged(**size), script={"RETR": raw, "LIST": raw})


@pytest.mark.parametrize(
    ("rows", "lines", "shown"), [(24, 60, 60), (24, 72, 72), (24, 73, 16), (12, 60, 6), (90, 201, 82)]
)
def test_what_one_can_well_scroll_back_to_is_whole_and_else_a_windowful(rows: int, lines: int, shown: int) -> None:
    async def go() -> None:
        assert (lines <= min(WINDOWS * rows, MOST_LINES)) == (shown == lines)
        stage = scripted(reply(lines), rows=rows)
        await stage.begin()
        text = await stage.run("RETR 1")
        assert text.count(" S: 0") == shown
        assert (f"{lines - shown} of {lines} lines" in " ".join(text.split())) == (shown < lines)

    run(go())


def test_long_lines_fill_the_window_too() -> None:
    async def go() -> None:
        stage = scripted(reply(40, width=400))
        await stage.begin()
        text = await stage.run("RETR 1")
        assert "of 40 lines are not shown" in text
        assert len(text.splitlines()) < 30

    run(go())


def test_more_goes_on_by_a_windowful_and_all_shows_the_rest() -> None:
    async def go() -> None:
        stage = scripted(reply(300))
        await stage.begin()
        first, second = await stage.run("LIST"), await stage.run(":more")
        assert " S: 00000015\n" in first
        assert " S: 00000016\n" not in first
        assert second.startswith(" S: 00000016\n")
        assert second.count(" S: 0") == stage.screen.windowful
        assert "268 of 300 lines" in second
        rest = await stage.run(":more all")
        assert " S: 00000299\n S: .\n" in rest
        assert "Usage: :more [all]" in await stage.run(":more 3")

    run(go())


def test_no_window_is_so_high_that_more_is_shown_unasked_than_the_limit() -> None:
    async def go() -> None:
        stage = scripted(reply(5000), rows=3000)
        await stage.begin()
        assert (await stage.run("LIST")).count(" S: 0") <= 3000 - 8
        assert MOST_LINES < 2000

    run(go())


def test_plain_text_has_no_windows() -> None:
    assert PlainScreen()._most_of(reply(5000), 0) >= 5000


# -- the pager ---------------------------------------------------------------------------------------------------------


def test_pager_gets_the_whole_of_the_last_reply_or_page() -> None:
    async def go() -> None:
        stage = scripted(reply(3, width=4000))
        screen = stage.screen
        assert isinstance(screen, Paged)
        assert "Nothing has happened" in await stage.run(":pager")
        await stage.begin("RETR 1")
        assert "octets not shown; :pager shows all" in stage.text
        await stage.run(":pager")
        rows = screen.given.splitlines()
        assert rows[0] == "✔S: +OK"
        assert sum(row.count("0") for row in rows) == 3 * 3999 + 1
        assert all(row.startswith((" S: ", " S| ", "✔S: ")) and len(row) <= 80 for row in rows)
        await stage.run(":help RETR")
        await stage.run(":pager")
        page = screen.given
        assert "send one message" in page
        assert "openssl s_client" in page, "what was not shown yet is there as well"
        await stage.run(":more", ":pager")
        assert screen.given == page
        await stage.run("RETR 1", ":pager")
        assert screen.given.splitlines() == rows

    run(go())


def test_pager_gets_colours_but_nothing_else_that_a_terminal_obeys() -> None:
    async def go() -> None:
        stage = scripted("+OK \x1b[31m\r\n中文 \x1b]0;x\x07\r\n.\r\n".encode(), columns=21)
        screen = stage.screen
        assert isinstance(screen, Paged)
        await stage.begin("RETR 1", ":pager")
        assert "\x1b" not in screen.given
        assert "\\x1b]0;x" in screen.given.replace("\n S| ", "")

    run(go())


def test_password_that_a_server_repeats_is_masked_in_the_pager() -> None:
    async def go() -> None:
        stage = Stage(screen=Paged(), script={"PASS": b"+OK\r\n", "LIST": b"+OK postmistress\r\n1 1\r\n.\r\n"})
        screen = stage.screen
        assert isinstance(screen, Paged)
        await stage.begin("USER a", "PASS postmistress", "LIST")
        stage.screen.echoes = False
        await stage.run(":pager")
        assert "postmistress" not in screen.given

    run(go())


def test_a_missing_pager_is_reported() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("LIST")
        assert "There is no pager here" in await stage.run(":pager")

    run(go())


def test_which_pager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    less, mine = tmp_path / "less", tmp_path / "mine"
    for file in (less, mine):
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terminal.pager_command({}) == ["less", "-RS"]
    assert terminal.pager_command({"PAGER": f"{less} -i"}) == [str(less), "-i", "-RS"]
    assert terminal.pager_command({"PAGER": "mine -x 'a b'"}) == ["mine", "-x", "a b"]
    assert terminal.pager_command({"PAGER": "gone"}) == ["less", "-RS"]
    assert terminal.pager_command({"PAGER": "mine '"}) is None
    less.unlink()
    assert terminal.pager_command({}) is None


def test_pager_reads_all_is_secure_and_may_leave_early(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text(f"#!/bin/sh\n(echo $LESSSECURE; cat) > {tmp_path}/out\n")
    mine.chmod(mine.stat().st_mode | stat.S_IXUSR)
    environ = dict(os.environ)

    async def go() -> None:
        rows = [f"row {n} 中" for n in range(20_000)]
        assert await terminal.page_out(rows, "utf-8", environ | {"PAGER": str(mine)})
        assert (tmp_path / "out").read_text("utf-8").splitlines() == ["1", *rows]
        assert await terminal.page_out(["中"], "ascii", environ | {"PAGER": str(mine)})
        assert (tmp_path / "out").read_text("ascii") == "1\n\\u4e2d\n"
        assert await terminal.page_out(rows, "utf-8", environ | {"PAGER": "true"})
        assert not await terminal.page_out(rows, "utf-8", environ | {"PAGER": "'"})

    run(go())


def test_pager_passes_over_replies_of_one_line() -> None:
    """They are seen whole anyway."""

    async def go() -> None:
        stage = Stage(screen=Paged())
        screen = stage.screen
        assert isinstance(screen, Paged)
        await stage.log_in("LIST", "NOOP", ":pager")
        assert screen.given.splitlines()[-1] == " S: ."

    run(go())


def test_an_answer_that_follows_the_question_at_once_counts_and_what_came_before_does_not() -> None:
    """sec-U2; an answer is quick where a program gives it: the line is there before we look for it."""

    class Quick(io.StringIO):
        def flush(self) -> None:
            lines.append("no")

    class Lines:
        def read_ahead(self) -> list[str]:
            taken, lines[:] = lines[:], []
            return taken

        async def __anext__(self) -> str:
            return lines.pop(0)

    lines = ["yes"]
    screen = PlainScreen(Quick(), interactive=True)
    screen.answers = Lines()
    assert asyncio.run(screen.ask("Sure? ")) == "no"
    assert lines == []
