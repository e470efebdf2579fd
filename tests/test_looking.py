"""Meta commands that look: what they say where there is nothing to look at, and on a server that is not ours."""

from __future__ import annotations

import re

from stage import LOCAL, FakeScreen, Stage, cancelled, run
from support import each

LOGIN = {"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "DELE": b"+OK\r\n"}


def test_without_connection_the_first_advice_is_to_connect() -> None:
    async def go(line: str) -> None:
        said = await Stage().run(line)
        assert ":connect" in said
        assert "Log in" not in said
        assert "STLS" not in said
        assert "in CLOSED" not in said

    each([(one,) for one in [":mailbox", ":fork", ":tls", ":help"]], lambda *row: run(go(*row)))


def test_explain_without_connection_says_so() -> None:
    async def go(line: str) -> None:
        said = await Stage().run(f":explain {line}")
        assert ":connect first" in said
        assert "not in CLOSED" not in said

    each([(one,) for one in ["STAT", "USER a"]], lambda *row: run(go(*row)))


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


def came(stage: Stage) -> bool:
    due = stage.shell.session.connection.under_way() if stage.shell.session else None
    return due is not None and bool(due.received)


def test_raw_shows_what_has_come_of_a_reply_that_is_due() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script={"PASS": b"+OK\r\n", "RETR": b"+OK hush\r\nhalf a ma", "STAT": None})
        await stage.begin("USER a", "PASS hush")
        await cancelled(stage.shell.run("RETR 1"), lambda: came(stage))
        shown = await stage.run(":raw")
        assert "C> RETR 1\\r\\n" in shown
        assert "S> +OK ••••\\r\\n" in shown
        assert "S> half a ma\n" in shown
        assert "reply to RETR is still due" in shown

    run(go())


def test_raw_of_a_long_reply_is_paged_and_whole() -> None:
    async def go() -> None:
        body = b"".join(b"%04d\r\n" % n for n in range(100))
        stage = Stage(script={"RETR": b"+OK\r\n" + body + b"x" * 5000 + b"\r\n.\r\n"})
        await stage.begin("RETR 1")
        first = await stage.run(":raw")
        assert "lines are not shown" in first
        rest = await stage.run(":more all")
        assert "0099" in first + rest
        assert (first + rest).count("x") == 5000
        assert "S> .\\r\\n" in rest

    run(go())


def test_raw_of_a_very_long_reply_says_what_it_leaves_out() -> None:
    async def go() -> None:
        stage = Stage(script={"RETR": b"+OK\r\n" + b"y" * 200_000 + b"\r\n.\r\n"})
        await stage.begin("RETR 1", ":raw")
        assert f"{200_010 - 128 * 1024} more octets" in await stage.run(":more all")

    run(go())


def test_mailbox_all_has_a_way_to_every_message() -> None:
    async def go() -> None:
        listing = b"".join(b"%d 100\r\n" % n for n in range(1, 301))
        stage = Stage(script={**LOGIN, "LIST": b"+OK\r\n" + listing + b".\r\n"})
        await stage.log_in("LIST")
        some = await stage.run(":mailbox")
        assert "250 more: :mailbox all" in some
        await stage.run(":mailbox all")
        rest = await stage.run(":more all")
        assert "   300     100" in rest
        assert "Usage: :mailbox [all]" in await stage.run(":mailbox 7")

    run(go())


def test_drawings_are_whole_where_one_can_scroll_back_and_else_paged() -> None:
    async def go(rows: int, whole: bool) -> None:
        stage = Stage(screen=FakeScreen(rows=rows))
        await stage.log_in("STAT", "LIST", *["NOOP"] * 8)
        shown = await stage.run(":ladder")
        assert ("are not shown" in shown) is not whole
        if not whole:
            assert len((await stage.run(":more")).splitlines()) < 8
            assert "TRANSACTION" in await stage.run(":more all")

    each([(24, True), (8, False)], lambda *row: run(go(*row)))


def test_ladder_shows_how_the_connection_ended() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("QUIT")
        shown = await stage.run(":ladder")
        assert "server closes" in shown
        assert "[CLOSED]" in shown
        assert "[UPDATE]" not in shown
        dropped = Stage()
        await dropped.log_in(":drop")
        assert re.search("line lost.*\n.*\\[CLOSED\\]", await dropped.run(":ladder"))

    run(go())


def test_explain_is_the_line_once_then_what_is_wrong_then_what_it_would_do() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in()
        assert (await stage.run(":explain RETR 3")).splitlines() == [
            "  RETR  send one message, whole",
            "  3     the message-number, as LIST shows it",
            "  many lines, to a lone dot · changes nothing  RFC 1939 §5",
        ]
        assert "  ⚠ an argument is missing: RETR msg\n" in await stage.run(":explain RETR")
        stage.shell.screen = stage.screen = FakeScreen(ascii=True)
        assert "  ! an argument is missing: RETR msg\n" in await stage.run(":explain RETR")

    run(go())


def test_explain_explains_meta_commands() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        said = await stage.run(":explain :help")
        assert ":help [WORD]" in said
        assert "A colon begins the shell's own commands" in said
        assert "POP3 does not know" not in said
        assert "Did you mean :mailbox?" in await stage.run(":explain :mailbx")
        said = await stage.run(":explain :PASS hunter2")
        assert "PASS is POP3" in said
        assert "hunter2" not in said

    run(go())
