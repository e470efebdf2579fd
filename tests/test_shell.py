"""The Shell between a typed line and the screen: what is sent, what is asked, what is said, in which order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from stage import CATALOG, CLOSE, LOCAL, LOCKED, REMOTE, FakeScreen, Stage, cancelled, run, turns, until
from support import each, plain, practice_server

from popshell.protocol.commands import COMMANDS, Context, State
from popshell.session import ConnectError, Endpoint
from popshell.ui import link
from popshell.ui.front import run_block, together
from popshell.ui.prompt import prompt_line
from popshell.ui.shell import Leave, Options

CANARY = "C4n4ry-77"
OKAY: dict[str, bytes | None] = {
    "USER": b"+OK\r\n",
    "PASS": b"+OK in\r\n",
    "STAT": b"+OK 3 300\r\n",
    "NOOP": b"+OK noop\r\n",
    "DELE": b"+OK\r\n",
    "LIST": b"+OK\r\n1 100\r\n2 100\r\n3 100\r\n.\r\n",
    "QUIT": b"+OK bye\r\n" + CLOSE,
}


def real(place: Endpoint = LOCAL, **answers: bytes | None) -> Stage:
    """A connection to what is no practice server of ours."""
    return Stage(place=place, script={**OKAY, **answers})


# -- replies and notes -------------------------------------------------------------------------------------------------


def test_greeting_is_shown_explained_and_its_arrow_drawn() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        assert "✔S: +OK practice server ready <1896.697170952@popshell.example>" in stage.text
        assert "APOP" in stage.text
        assert "RFC 1939 §7" in stage.text
        assert "━━greeting━━▶ [AUTHORIZATION]" in stage.text
        assert "\n\n" not in stage.text, "no empty lines"

    run(go())


def test_refusal_says_why_and_what_to_do() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        shown = " ".join((await stage.run("STAT")).split())
        assert "✘S: -ERR" in shown
        assert "TRANSACTION" in shown
        assert "USER, then PASS" in shown

    run(go())


def test_notes_are_as_many_as_wanted() -> None:
    async def go(notes: str, count: int) -> None:
        stage = Stage()
        await stage.log_in(f":notes {notes}")
        shown = await stage.run("RETR 2")
        assert ("Message 2: 762 octets" in shown) == (count > 0)
        assert ("byte-stuffed" in shown) == (count > 1)
        assert ("RFC 1939" in shown) == (count > 1), "brief notes have no source"

    each([("full", 2), ("brief", 1), ("off", 0)], lambda *row: run(go(*row)))


def test_every_state_change_is_drawn_with_the_command_taken() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("USER learner")
        assert "━━PASS━━▶ [TRANSACTION]" in await stage.run("PASS secret")
        await stage.run("DELE 1")
        shown = await stage.run("QUIT")
        assert "━━QUIT━━▶ [UPDATE]" in shown

    run(go())


def test_unknown_line_is_sent_byte_for_byte() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("  FOO\tbar  ", "help", "exit", "?")
        assert bytes(stage.wire.sent) == b"  FOO\tbar  \r\nhelp\r\nexit\r\n?\r\n"
        assert stage.screen.flat.count(":quit") == 3, "help, exit and ? are told what the shell's own are"

    run(go())


def test_line_that_cannot_be_one_line_is_not_sent() -> None:
    async def go(line: str) -> None:
        stage = Stage()
        await stage.begin(line)
        assert not stage.wire.sent
        assert "nothing was sent" in stage.text
        assert stage.shell.tally.exit_code() == 2

    each([(one,) for one in ["a\0b", "a\rb", "a\nb"]], lambda *row: run(go(*row)))


def test_long_reply_is_cut_and_more_goes_on() -> None:
    async def go() -> None:
        body = b"".join(b"line %d\r\n" % n for n in range(450))
        stage = real(RETR=b"+OK\r\n" + body + b".\r\n")
        await stage.begin()
        shown = await stage.run("RETR 1")
        assert "line 15\n" in shown
        assert "line 16\n" not in shown
        assert "434 of 450 lines are not shown" in shown
        more = await stage.run(":more")
        assert "line 16\n" in more
        assert "line 31\n" in more
        assert "line 32\n" not in more
        assert "line 449\n" in await stage.run(":more all")
        assert "nothing more" in await stage.run(":more")

    run(go())


def test_a_dele_that_is_not_answered_yet_counts_as_a_mark() -> None:
    """What the server may have marked, QUIT may erase (sec-U7)."""

    async def go() -> None:
        stage = real(DELE=None, STAT=None)
        await stage.begin("USER a", "PASS b")
        await cancelled(stage.run("DELE 1"), lambda: "DELE 1" in stage.wire.heard)
        stage.screen.answers = ["no"]
        await stage.run("QUIT")
        assert "QUIT" not in stage.wire.heard
        assert "1" in stage.screen.asked[-1]
        stage.screen.answers = ["no"]
        await stage.run(":connect")
        assert len(stage.wires) == 1, "nor is the connection given up unasked"

    run(go())


def test_a_quit_without_a_reply_leaves_it_open_what_was_erased() -> None:
    async def go(how: str) -> None:
        stage = real(QUIT=CLOSE if how == "close" else None)
        await stage.begin("USER a", "PASS b")
        stage.screen.answers = ["yes"]
        await stage.run("DELE 1")
        if how == "close":
            await stage.run("QUIT")
        else:
            await cancelled(stage.run("QUIT"), lambda: "QUIT" in stage.wire.heard)
            stage.screen.answers = ["y"]
            with contextlib.suppress(Leave):
                await stage.run(how)
        said = stage.screen.flat + " ".join(stage.screen.asked)
        assert "still there" not in said
        assert "marked message stays" not in said
        assert "cannot be known from here" in said or "is not known" in said

    for how in ("close", ":drop", ":connect", ":quit"):
        run(go(how))


def test_an_address_that_makes_no_sense_costs_no_connection() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("DELE 1")
        dial = stage.shell.dial

        def strict(where: Any, *hear: Any) -> Any:
            if where is not None:
                raise ConnectError("bad-address", address=where)
            return dial(where, *hear)

        stage.shell.dial = strict
        shown = await stage.run(":connect foo bar")
        assert "is not an address" in shown
        assert stage.shell.state is State.TRANSACTION

    run(go())


def test_the_record_of_a_connection_is_kept_once() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("STAT")
        for where in (":connect nowhere", ":connect nowhere", ":connect"):
            await stage.run(where)
        assert [e.name for e in stage.shell.exchanges()].count("STAT") == 1

    run(go())


def test_connecting_anew_reports_that_the_old_connection_ended_without_update() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("DELE 1")
        shown = await stage.run(":connect")
        assert "line lost" not in shown
        assert "a new one is opened" in shown
        assert "still there" in " ".join(shown.split())

    run(go())


def test_octets_after_a_reply_in_the_same_packet_are_shown_after_it() -> None:
    async def go() -> None:
        for interactive in (True, False):
            stage = real(NOOP=b"+OK right\r\n+OK extra\r\n")
            stage.screen.interactive = interactive
            await stage.begin()
            shown = await stage.run("NOOP")
            assert shown.index("+OK right") < shown.index("+OK extra")
            names = [(e.name, e.problem.code if e.problem else "") for e, _ in stage.screen.records]
            assert names[-2:] == [("NOOP", ""), ("", "unasked")]

    run(go())


def test_ctrl_c_at_the_question_for_the_password_sends_nothing() -> None:
    async def go() -> None:
        stage = real()
        await stage.begin("USER a")
        stage.screen.answers = [None]
        await stage.run("PASS")
        assert stage.wire.heard == ["USER a"]
        stage.screen.answers = [""]
        await stage.run("PASS")
        assert stage.wire.heard[-1] == "PASS", "an empty Enter sends it bare"

    run(go())


def test_a_line_that_cannot_be_sent_is_not_shown_as_sent() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        shown = await stage.run("STAT\0")
        assert "C:" not in shown
        assert "nothing was sent" in shown

    run(go())


def test_the_text_on_an_end_names_the_side_that_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr(link, "CLOSING_TIME", 0.01)
        stage = real(QUIT=b"+OK bye\r\n")
        await stage.begin("QUIT")
        assert "as it must" not in stage.screen.flat
        assert "PopShell has" in stage.screen.flat
        broken = real(NOOP=b"what\r\n")
        await broken.begin()
        broken.screen.forget()
        await broken.run("NOOP")
        assert "The server closed" not in broken.screen.flat
        assert broken.shell.state is State.CLOSED
        refused = real(greeting=None)
        refused.greeting = b"* OK IMAP4rev1\r\n"
        assert not await refused.shell.connect()
        assert ":connect" not in refused.screen.flat, "the program ends, so there is nothing to connect from"

    run(go())


def test_the_change_to_closed_after_quit_is_drawn() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in()
        shown = await stage.run("QUIT")
        assert "[UPDATE]" in shown
        assert "server closes" in shown

    run(go())


def test_capa_names_what_has_changed_since_it_was_asked_last() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("CAPA")
        assert "Since the last" not in stage.screen.flat
        shown = " ".join((await stage.run("CAPA")).split())
        assert "The same list as before" in shown
        shown = " ".join((await stage.run("USER learner", "PASS secret", "CAPA")).split())
        assert "gone" in shown
        assert "STLS" in shown.partition("gone")[2]
        assert "new" not in shown.partition("Since the last")[2].partition(".")[0]

    run(go())


def test_lang_that_capa_did_not_list_is_not_called_a_strange_language() -> None:
    async def go() -> None:
        stage = real(CAPA=b"+OK\r\nTOP\r\n.\r\n", LANG=b"-ERR unknown command\r\n")
        await stage.begin("CAPA")
        shown = " ".join((await stage.run("LANG zh-Hant")).split())
        assert "CAPA listed no LANG" in shown

    run(go())


def test_a_handshake_that_fails_leaves_a_record() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        stage.wire.refuses_tls = True
        await stage.run("STLS")
        last, notes = stage.screen.records[-1]
        assert last.problem is not None
        assert (last.problem.code, last.after) == ("tls-failed", State.CLOSED)
        assert "TEST" in notes[0].text
        assert last.to_json()["problem"]["code"] == "tls-failed"

    run(go())


def test_bytes_between_stls_and_tls_are_shown() -> None:
    async def go() -> None:
        stage = real(STLS=b"+OK begin\r\n+OK injected\r\n")
        await stage.begin()
        shown = " ".join((await stage.run("STLS")).split())
        assert "+OK injected" in shown
        assert "TLS protects" not in shown
        assert "TLS is on" not in shown
        assert shown.index("+OK begin") < shown.index("+OK injected")

    run(go())


# -- the end of the line -----------------------------------------------------------------------------------------------


def test_quit_on_the_practice_server_names_what_it_erases_and_reports_the_end_once() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("DELE 2", "DELE 5")
        shown = await stage.run("QUIT")
        assert not stage.screen.asked
        flat = " ".join(shown.split())
        assert flat.index("QUIT will erase for good: messages 2, 5.") < flat.index("C: QUIT")
        assert flat.index("[UPDATE]") < flat.index("as it must after QUIT")
        assert flat.count("closed the connection") == 1
        assert stage.shell.state is State.CLOSED

    run(go())


def test_quit_that_is_answered_and_closed_in_one_packet_is_no_loss() -> None:
    async def go() -> None:
        for _ in range(20):
            stage = real()
            await stage.begin("USER a", "PASS b")
            shown = " ".join((await stage.run("QUIT")).split())
            assert "as it must after QUIT" in shown
            assert shown.count("closed the connection") == 1
            assert "line lost" not in shown

    run(go())


def test_a_cut_reply_is_shown_before_the_end_of_the_connection() -> None:
    async def go(answer: bytes) -> None:
        stage = real(STAT=answer)
        await stage.begin("USER a", "PASS b")
        shown = " ".join((await stage.run("STAT")).split())
        assert shown.index("waited for: STAT") < shown.index(":connect opens a new one")
        assert shown.count("line lost") == 1

    each([(one,) for one in [CLOSE, b"+OK 3 3" + CLOSE]], lambda *row: run(go(*row)))


def test_server_closing_while_no_reply_is_due_is_reported_and_drawn() -> None:
    async def go() -> None:
        stage = real()
        await stage.begin("USER a", "PASS b", "DELE 1")
        stage.screen.forget()
        stage.wire.hang_up()
        assert stage.screen.interrupted == 1
        assert "The server closed the connection" in stage.screen.flat
        assert "still there" in stage.screen.flat, "the marked messages"
        assert "line lost" in stage.text
        assert stage.shell.state is State.CLOSED

    run(go())


def test_drop_says_what_it_means_and_is_not_blamed_on_the_server() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("DELE 1")
        shown = await stage.run(":drop")
        assert "without QUIT" in shown
        assert "marked (1)" in shown
        assert "line lost" in shown
        assert "server closed" not in shown
        assert b"QUIT" not in stage.wire.sent
        assert "no connection" in await stage.run(":drop")
        await stage.run(":connect", "USER learner", "PASS secret")
        assert "+OK 7 " in await stage.run("STAT"), "nothing was deleted"

    run(go())


def test_drop_while_a_reply_is_due_does_not_say_that_the_server_closed() -> None:
    async def go() -> None:
        stage = real(STAT=None)
        await stage.begin()
        await cancelled(stage.shell.run("STAT"), lambda: "STAT" in stage.wire.heard)
        stage.screen.forget()
        await stage.run(":drop")
        assert "The server closed" not in stage.screen.flat

    run(go())


def test_connection_that_ends_during_a_question_sends_nothing() -> None:
    async def go() -> None:
        stage = real()
        await stage.begin("USER a")
        stage.screen.answers = [lambda: stage.wire.hang_up() or "secret"]  # type: ignore[func-returns-value]
        shown = await stage.run("PASS")
        assert "nothing was sent" in " ".join(shown.split())
        assert stage.wire.heard == ["USER a"]

    run(go())


def test_a_failed_connect_reports_why_and_leaves_the_state_closed() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("DELE 3")
        stage.screen.interactive = False
        shown = " ".join((await stage.run(":connect nowhere")).split())
        assert "marked (3)" in shown
        assert "Nothing listens at nowhere:995" in shown
        assert stage.shell.state is State.CLOSED
        assert "nothing was sent" in await stage.run("STAT")
        assert stage.shell.tally.exit_code() == 3

    run(go())


def test_a_person_keeps_the_connection_until_one_elsewhere_stands() -> None:
    async def go() -> None:
        stage = Stage(LOCAL, script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n"})
        await stage.begin("USER a", "PASS b")
        first = stage.shell.link
        shown = " ".join((await stage.run(":connect nowhere")).split())
        assert "Nothing listens at nowhere:995" in shown
        assert shown.endswith(f"The connection to {LOCAL.label} stays open.")
        stage.greeting = b"-ERR busy\r\n"
        assert "-ERR busy" in await stage.run(":connect elsewhere")
        assert stage.shell.link is first
        assert stage.shell.state is State.TRANSACTION
        assert [e.response.text for e in stage.shell.exchanges()[3:] if e.response] == ["busy"]
        # What follows in a block was meant for the other server.
        sent = bytes(stage.wires[0].sent)
        await run_block(stage.shell, [":connect nowhere", "DELE 1"])
        assert stage.wires[0].sent == sent
        assert stage.shell.draft == "DELE 1"
        stage.greeting = b"+OK other\r\n"
        shown = await stage.run(":connect elsewhere")
        assert shown.index("The connection so far is closed") < shown.index("+OK other")
        assert stage.wires[0].closed
        assert stage.shell.link is not first
        assert stage.shell.state is State.AUTHORIZATION

    run(go())


def test_a_new_connection_that_does_not_greet_is_given_up() -> None:
    async def go() -> None:
        stage = Stage(LOCAL, script={})
        await stage.begin()
        first, stage.greeting, stage.place = stage.shell.link, None, LOCAL._replace(timeout=0.02)
        assert "No greeting within" in await stage.run(":connect elsewhere")
        assert stage.shell.link is first
        assert stage.wire.closed

    run(go())


def test_the_line_that_an_address_asks_for_stands_at_the_prompt() -> None:
    async def go() -> None:
        stage = Stage(LOCAL._replace(draft="USER mei"), script={})
        await stage.begin()
        assert stage.shell.draft == "USER mei"

    run(go())


def test_why_shows_the_words_of_the_practice_server_and_its_only_cause() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("USER learner", "PASS wrong")
        shown = " ".join((await stage.run(":why")).split())
        assert "-ERR [AUTH] wrong name or password" in shown
        assert "POP3 is switched off" not in shown
        assert "2." not in shown
        real = Stage(LOCAL, script={"USER": b"+OK\r\n", "PASS": b"-ERR wrong, failed.\r\n"})
        await real.begin("USER learner", "PASS wrong")
        shown = " ".join((await real.run(":why")).split())
        assert "-ERR ••••, failed." in shown, "a real server may repeat a secret"
        assert ".." not in shown

    run(go())


def test_what_a_new_connection_and_a_login_done_are_called() -> None:
    """`:connect` is no lost line; `:apop` after the login says where one is, and asks for nothing."""

    async def go() -> None:
        stage = Stage()
        await stage.log_in(":connect")
        assert "The connection so far is closed" in stage.screen.flat
        assert CATALOG.words("en")("diagram.lost") not in stage.text
        await stage.run("USER learner", "PASS secret", ":apop learner")
        assert "You are in TRANSACTION, and APOP logs in from AUTHORIZATION only." in stage.screen.flat
        assert stage.screen.asked == []
        await stage.run("DELE 1")
        stage.screen.answers = ["n"]
        await stage.run(":quit")
        assert "Message 1 is marked and stays in the maildrop" in stage.screen.asked[-1]

    run(go())


def test_greeting_that_is_an_error_fails_the_run() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script=OKAY, greeting=b"-ERR busy\r\n" + CLOSE)
        assert not await stage.shell.connect()
        assert "turned this connection away" in stage.screen.flat
        assert stage.shell.tally.exit_code() == 3

    run(go())


# -- Ctrl-C and the hang watch (sec-U1) --------------------------------------------------------------------------------


def test_interrupted_reply_comes_late_and_the_next_ones_stay_in_step() -> None:
    async def go() -> None:
        stage = real(STAT=None, NOOP=None)
        await stage.begin("USER a", "PASS b")
        await cancelled(stage.shell.run("STAT"), lambda: "STAT" in stage.wire.heard)
        noop = asyncio.ensure_future(stage.shell.run("NOOP"))
        await until(lambda: "NOOP" in stage.wire.heard)
        stage.screen.forget()
        stage.wire.say(b"+OK 3 300\r\n")
        await turns()
        assert not noop.done(), "the bytes that came first are not its reply"
        stage.wire.say(b"+OK nothing done\r\n")
        await noop
        flat = stage.screen.flat
        assert flat.index("late reply to STAT") < flat.index("+OK 3 300") < flat.index("3 messages, 300 octets")
        assert flat.index("3 messages, 300 octets") < flat.index("+OK nothing done")
        assert stage.screen.interrupted == 1

    run(go())


def test_late_reply_to_stls_starts_tls() -> None:
    async def go() -> None:
        stage = real(STLS=None)
        await stage.begin()
        await cancelled(stage.shell.run("STLS"), lambda: "STLS" in stage.wire.heard)
        stage.wire.say(b"+OK go\r\n")
        await until(lambda: "TLS is on" in stage.text)
        assert stage.shell.session is not None
        assert stage.shell.session.connection.tls

    run(go())


def test_hang_watch_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(so_far: bytes | None, words: str, missing: str) -> None:
        monkeypatch.setattr(link, "HANG_TIME", 0.01)
        stage = real(RETR=so_far)
        await stage.begin()
        task = asyncio.ensure_future(stage.shell.run("RETR 1"))
        await until(lambda: words in stage.screen.flat)
        stage.clock.now += 7
        if missing:
            await until(lambda: "Silent for" in stage.screen.flat)
            assert f"Silent for 7 s. Missing: {missing}" in stage.screen.flat
            assert ":drop gives the connection up" in stage.screen.flat
        await cancelled(task, lambda: True)

    each(
        [
            (None, "Waiting for the reply to RETR", ""),
            (b"+OK follo", "its end is missing", "CRLF"),
            (b"+OK\r\n", "Only the status line", "CRLF . CRLF"),
            (
                b"+OK\r\nfrom\r\nme\r\n",
                "the lone dot is missing",
                "CRLF . CRLF. The last octets: from<CR><LF>me",
            ),
            (b"+OK\r\nfrom\nme\n.\n", "bare LF", "CRLF . CRLF. The last octets: from<LF>me<LF>.<LF>"),
            (b"+OK\r\nfrom\r\n.\n", "came without CR", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\n.", "up to a dot", "CRLF"),
            (b"+OK\r\nfrom\r\n. \r\n", "a dot and blanks", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\n.\r\r\n", "or control characters", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\n \0.\r\n", "or control characters", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\n..\r\n", "two dots", "CRLF . CRLF"),
            (b"+OK\r\nfrom\rme\r.\r", "CR alone", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\n-ERR disk " + b"x" * 300 + b"\r\n", "like a status line", "CRLF . CRLF"),
            (b"+OK\r\n-ERR\r\n", "like a status line", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\n\x17\x03\x03\0\x40abc", "like a TLS record", "CRLF . CRLF"),
            (b"+OK\r\nfrom\r\nnext +OK\r\n", "the lone dot is missing", "CRLF . CRLF"),
        ],
        lambda *row: run(go(*row)),
    )


def test_no_reply_ends_a_batch_and_gives_a_person_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr(link, "HANG_TIME", 0.01)
        monkeypatch.setattr(link, "REPLY_TIME", 0.02)
        for interactive in (True, False):
            stage = real(STAT=None)
            stage.screen.interactive = interactive
            await stage.begin("STAT")
            assert ("still due" in stage.screen.flat) == interactive
            assert ("No reply within" in stage.screen.flat) != interactive
            assert (stage.shell.session is None) != interactive
            assert stage.shell.tally.exit_code() == (0 if interactive else 3)

    run(go())


def test_a_slow_reply_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr(link, "HANG_TIME", 0.01)
        stage = real(RETR=b"+OK\r\nx")
        await stage.begin("USER a", "PASS b")
        task = asyncio.ensure_future(stage.run("RETR 1"))
        await until(lambda: "RETR 1" in stage.wire.heard)
        await turns()
        stage.clock.now += 100
        for _ in range(8):
            stage.wire.say(b"y")
            await asyncio.sleep(0.02)
        stage.wire.say(b"\r\n.\r\n")
        await task
        assert stage.screen.flat.count("comes slowly") == 1, stage.screen.flat

    run(go())


# -- the seat belt for real servers (sec-U7) ---------------------------------------------------------------------------


def test_a_real_server_is_looked_at_only_until_unlock() -> None:
    async def go() -> None:
        stage = real(LOCKED, RSET=b"+OK\r\n")
        await stage.begin("DELE 1")
        assert stage.wire.heard == ["DELE 1"], "a wrong line is not held back"
        await stage.run(":unlock", ":drop", ":connect", "USER a", "PASS b")
        await stage.run("DELE 1", "dele 2")
        assert not any("DELE" in line.upper() for line in stage.wire.heard), "a new connection is locked again"
        assert stage.screen.asked == []
        assert "Look-only: DELE 1 was not sent." in stage.screen.flat
        await stage.run(":unlock", "DELE 1", "DELE 2", "RSET")
        assert stage.wire.heard[-3:] == ["DELE 1", "DELE 2", "RSET"]
        assert stage.screen.asked == []
        free = real()
        await free.begin("USER a", "PASS b", "RETR 1", "DELE 1")
        assert free.wire.heard[-2:] == ["RETR 1", "DELE 1"], "config.toml allowed it"
        practice = Stage()
        await practice.log_in("DELE 1", ":unlock")
        assert "no look-only mode" in practice.screen.flat

    run(go())


def test_the_first_retr_on_a_real_server_asks() -> None:
    async def go() -> None:
        stage = real(LOCKED, RETR=b"+OK\r\nSubject: x\r\n\r\n.\r\n")
        await stage.begin("USER a", "PASS b")
        stage.screen.answers = ["no"]
        await stage.run("RETR 1")
        assert "RETR 1" not in stage.wire.heard
        stage.screen.answers = ["yes"]
        await stage.run("RETR 1", "RETR 2", "TOP 1 0")
        assert stage.wire.heard[-3:] == ["RETR 1", "RETR 2", "TOP 1 0"]
        assert len(stage.screen.asked) == 2
        unlocked = real(LOCKED, RETR=b"+OK\r\nSubject: x\r\n\r\n.\r\n")
        unlocked.screen.answers = ["yes"]
        await unlocked.begin("USER a", "PASS b", ":unlock", "RETR 1", "RETR 2")
        assert len(unlocked.screen.asked) == 1, ":unlock is about DELE"
        script = real(LOCKED, RETR=b"+OK\r\nSubject: x\r\n\r\n.\r\n")
        script.screen.interactive = False
        await script.begin("USER a", "PASS b", "RETR 1")
        assert script.wire.heard[-1] == "RETR 1", "a script can be asked nothing"

    run(go())


def test_the_seat_belt_is_in_sight() -> None:
    """At a prompt in front of the state; for a person without prompt in lines, each time that the marks change."""

    async def go() -> None:
        stage = real(LOCKED, RSET=b"+OK\r\n")
        await stage.begin("USER a", "PASS b")
        prompts = ["look-only", "unlocked", "✗ #2", "✗ #2 #3", "unlocked"]
        for line, wanted in zip(("NOOP", ":unlock", "DELE 2", "DELE 3", "RSET"), prompts, strict=True):
            await stage.run(line)
            assert "".join(text for _, text in prompt_line(stage.shell)) == f"{wanted} TRANSACTION ▸ ", line
        plain = real(LOCKED, RSET=b"+OK\r\n")
        plain.screen.prompts = False
        await plain.begin("USER a", "PASS b", ":unlock", "DELE 2", "DELE 3", "RSET")
        shown = [row.strip() for row in plain.text.split("\n") if row.strip().startswith("[")]
        assert shown == [
            "[LOOK-ONLY] DELE is held back until :unlock.",
            "[MARKED: 2]",
            "[MARKED: 2, 3]",
            "[MARKED: -]",
        ], shown

    run(go())


def test_yes_means_the_same_at_every_question_in_every_language(tmp_path: Path) -> None:
    """The seat belt, leaving with marks, a transcript with secrets."""

    async def go(language: str, answer: str | None, agrees: bool) -> None:
        where = (language, answer)
        stage = Stage(place=LOCKED, script=OKAY, options=Options(language=language))
        stage.screen.answers = [answer, answer]
        await stage.begin("USER a", "PASS b", "RETR 1", ":unlock", "DELE 1", "QUIT")
        assert ("RETR 1" in stage.wire.heard) == agrees, where
        assert ("QUIT" in stage.wire.heard) == agrees, where
        stage = Stage(options=Options(language=language))
        await stage.log_in("DELE 1")
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}-{language}"
        stage.screen.answers = [answer, answer]
        await stage.run(f":save --with-secrets {path}")
        assert path.exists() == agrees, where
        left = False
        try:
            await stage.run(":quit")
        except Leave:
            left = True
        assert left == agrees, where

    for language in ("en", "zh-Hant"):
        for answer in ("y", "yes", "Y", " YES ", "\u662f"):
            run(go(language, answer, True))
        for answer in ("", "n", "no", "YES!", "yess", None):
            run(go(language, answer, False))


def test_quit_with_marks_asks_each_time_and_names_the_messages() -> None:
    async def go() -> None:
        stage = real(LOCKED)
        stage.screen.answers = ["no", "no", "yes"]
        await stage.begin("USER a", "PASS b", ":unlock", "DELE 1", "DELE 3")
        await stage.run("QUIT", "quit", "QUIT")
        assert stage.wire.heard.count("QUIT") == 1
        questions = stage.screen.asked
        assert len(questions) == 3
        assert all("1, 3" in question and "2 messages" in question for question in questions)
        assert all(":drop" in question for question in questions), "it says how to leave without erasing"

    run(go())


def test_quit_without_marks_does_not_ask() -> None:
    async def go() -> None:
        stage = real(LOCKED)
        await stage.begin("USER a", "PASS b", "QUIT")
        assert stage.screen.asked == []
        assert stage.wire.heard[-1] == "QUIT"

    run(go())


def test_a_script_erases_only_after_yes_or_unlock() -> None:
    async def go() -> None:
        for yes, lines, heard, code in (
            (False, ["DELE 1", "QUIT"], ["QUIT"], 2),
            (True, ["DELE 1", "QUIT"], ["DELE 1", "QUIT"], 0),
            (False, [":unlock", "DELE 1", "QUIT"], ["DELE 1", "QUIT"], 0),
        ):
            stage = real(LOCKED)
            stage.options.yes = yes
            stage.screen.interactive = False
            await stage.begin("USER a", "PASS b", *lines)
            assert stage.screen.asked == []
            assert stage.wire.heard[2:] == heard
            assert (":unlock" in stage.text) == (code == 2)
            assert stage.shell.tally.exit_code() == code

    run(go())


# -- passwords (sec-T5, sec-K) -----------------------------------------------------------------------------------------


def test_clear_text_password_to_another_host_needs_typed_consent() -> None:
    async def go(lines: list[str], asks: bool) -> None:
        for place, tls in ((REMOTE, False), (LOCAL, False), (REMOTE, True)):
            stage = real(place)
            await stage.begin()
            assert stage.shell.session is not None
            stage.shell.session.connection.here = Context(State.AUTHORIZATION, tls=tls)
            await stage.run(*lines)
            wanted = asks and place is REMOTE and not tls
            assert bool(stage.screen.asked) == wanted
            assert (lines[-1] in stage.wire.heard) != wanted

    each(
        [
            (["PASS x"], True),
            (["pass x"], True),
            (["  PASS x"], True),
            (["USER a", "PAS x"], True),
            (["USER a", "PASSx"], True),
            (["AUTH PLAIN"], True),
            (["AUTH PLAIN AGEAYg=="], True),
            (["APOP a c4c9334bac560ecc979e58001b3e22fb"], False),
            (["USER a"], False),
        ],
        lambda *row: run(go(*row)),
    )


def test_pasted_login_is_asked_about_as_well() -> None:
    async def go() -> None:
        stage = real(REMOTE, CAPA=b"+OK\r\nPIPELINING\r\n.\r\n")
        await stage.begin("CAPA")
        await run_block(stage.shell, ["USER a", "PASS x", "STAT"])
        assert stage.screen.asked
        assert "PASS x" not in stage.wire.heard

    run(go())


def test_bare_pass_asks_hidden() -> None:
    async def go() -> None:
        stage = Stage()
        stage.screen.answers = ["secret"]
        await stage.begin("USER learner", "PASS")
        assert stage.wire.sent.endswith(b"PASS secret\r\n")
        assert stage.shell.state is State.TRANSACTION
        assert "secret" not in stage.text.replace("secret PASS", "")
        stage = Stage()
        stage.screen.answers = [""]
        await stage.begin("USER learner", "PASS")
        assert stage.wire.sent.endswith(b"\r\nPASS\r\n"), "an empty answer sends what was typed"
        stage = Stage()
        await stage.begin("PASS")
        assert not stage.screen.asked, "without USER it is wrong anyway"

    run(go())


def test_reveal_shows_secrets_on_the_practice_server_only() -> None:
    async def go() -> None:
        for stage in (Stage(), real()):
            await stage.begin("USER learner", ":reveal on")
            shown = await stage.run(f"PASS {CANARY}")
            assert (f"C: PASS {CANARY}" in shown) == (stage.script is None)

    run(go())


def test_apop_puts_the_finished_line_at_the_prompt_unsent() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        stage.screen.answers = ["secret"]
        before = len(stage.wire.sent)
        shown = await stage.run(":apop learner")
        assert len(stage.wire.sent) == before
        assert "<1896.697170952@popshell.example> + ••••" in shown
        assert "secret" not in shown
        assert re.fullmatch(r"APOP learner [0-9a-f]{32}", stage.shell.draft)
        await stage.run(stage.shell.draft)
        assert stage.shell.state is State.TRANSACTION
        assert "You are in TRANSACTION" in await stage.run(":apop learner")
        await stage.run(":connect")
        assert "Usage" in await stage.run(":apop")
        unstamped = real()
        await unstamped.begin()
        assert "no timestamp" in await unstamped.run(":apop learner")

    run(go())


# -- TLS before anything else (sec-T3) ---------------------------------------------------------------------------------

MUST_STLS = Endpoint("pop.example.org:110", practice=False, loopback=False, stls=True)


def test_stls_that_is_refused_ends_with_the_reason_and_sends_nothing_else() -> None:
    async def go(answer: bytes, reason: str) -> None:
        stage = Stage(place=MUST_STLS, script={**OKAY, "STLS": answer})
        assert not await stage.shell.connect()
        assert stage.wire.heard == ["STLS"]
        assert reason in stage.screen.flat
        await stage.run("USER a", "PASS b")
        assert stage.wire.heard == ["STLS"]
        assert stage.shell.tally.exit_code() == 3

    each(
        [
            (b"-ERR no\r\n", "TLS could not be set up"),
            (b"+NO\r\n", "TLS could not be set up"),
            (CLOSE, "TLS could not"),
        ],
        lambda *row: run(go(*row)),
    )


def test_stls_is_shown_as_sent_by_the_shell() -> None:
    async def go() -> None:
        stage = Stage(place=MUST_STLS, script={**OKAY, "STLS": b"+OK\r\n"})
        await stage.begin("USER a")
        assert "C: STLS   (sent by the shell" in stage.text
        assert stage.text.index("TLS is on") < stage.text.index("C: USER a")

    run(go())


def test_interrupt_before_tls_leaves_no_clear_text_session() -> None:
    async def go(greeting: bytes | None) -> None:
        stage = Stage(place=MUST_STLS, script={**OKAY, "STLS": None}, greeting=greeting)

        def ready() -> object:
            return stage.wires and (not greeting or stage.wire.heard)

        await cancelled(stage.shell.connect(), ready)
        assert stage.shell.session is None
        await stage.run("USER a", "PASS b")
        assert stage.wire.heard == (["STLS"] if greeting else [])

    each([(one,) for one in [b"+OK ready\r\n", None]], lambda *row: run(go(*row)))


def test_stls_typed_forgets_capabilities_and_says_so() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("CAPA")
        assert stage.shell.session is not None
        assert stage.shell.session.connection.capabilities
        shown = " ".join((await stage.run("STLS")).split())
        assert "TLS is on" in shown
        assert "ask again" in shown
        assert stage.shell.session.connection.capabilities is None

    run(go())


def test_a_failed_handshake_is_reported_and_closes_the_connection() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        stage.wire.refuses_tls = True
        shown = await stage.run("STLS")
        assert "TLS with h:1 failed: TEST" in shown
        assert "line lost" in shown
        assert stage.shell.state is State.CLOSED
        assert "The server closed" not in shown

    run(go())


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_block_goes_one_by_one_until_capa_offers_pipelining() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in()
        await run_block(stage.shell, ["STAT", "NOOP"])
        assert "PIPELINING" not in stage.text
        await stage.run("CAPA")
        stage.screen.forget()
        before = len(stage.wire.sent)
        await run_block(stage.shell, ["STAT", "NOOP", "LIST 1", "DELE 1", "QUIT"])
        assert bytes(stage.wire.sent[before:]) == b"STAT\r\nNOOP\r\nLIST 1\r\nDELE 1\r\nQUIT\r\n"
        assert "3 lines in one flight" in stage.text
        echoes = re.findall(r"^ C: (.*)$|^.S: (\+OK|-ERR)", stage.text, re.M)
        assert [echo for echo, _ in echoes if echo] == ["STAT", "NOOP", "LIST 1", "DELE 1", "QUIT"]
        assert [reply for _, reply in echoes if reply] == ["+OK"] * 5

    run(go())


def test_lines_in_one_flight_pass_the_seat_belt() -> None:
    async def go(answers: list[str], sent: list[str]) -> None:
        capa = b"+OK\r\nPIPELINING\r\n.\r\n"
        mail = b"+OK\r\n.\r\n"
        stage = Stage(
            LOCKED, script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "CAPA": capa, "RETR": mail, "NOOP": b"+OK\r\n"}
        )
        await stage.log_in("CAPA")
        stage.screen.answers = [*answers]
        await stage.run(":flight NOOP | RETR 1 | RETR 2 | NOOP")
        assert stage.wire.heard[3:] == sent
        assert [question[:13] for question in stage.screen.asked] == ["127.0.0.1:110"] * len(answers)

    rows = [
        (["y"], ["NOOP", "RETR 1", "RETR 2", "NOOP"]),
        (["no", "y"], ["NOOP", "RETR 2", "NOOP"]),
        (["no", "no"], ["NOOP", "NOOP"]),
    ]
    each(rows, lambda *row: run(go(*row)))


def test_a_line_whose_reply_decides_is_not_pipelined() -> None:
    async def go(line: str) -> None:
        stage = Stage()
        await stage.log_in("CAPA")
        assert together(["NOOP", "NOOP", line, "NOOP"]) == 2
        assert together([line, "NOOP"]) == 1

    each(
        [(one,) for one in [*sorted(name for name, spec in COMMANDS.items() if spec.ends_pipeline), "DELE 1", ":x"]],
        lambda *row: run(go(*row)),
    )


def test_block_stops_where_the_connection_ends_and_its_rest_goes_back_to_the_prompt() -> None:
    async def go() -> None:
        for capa in (b"-ERR\r\n", b"+OK\r\nPIPELINING\r\n.\r\n"):
            stage = real(NOOP=CLOSE, CAPA=capa)
            await stage.begin("CAPA")
            await run_block(stage.shell, ["STAT", "NOOP", "DELE 1", "QUIT"])
            assert "QUIT" not in stage.wire.heard
            assert stage.text.count("nothing was sent") == 1
            assert stage.shell.draft == "DELE 1\nQUIT"

    run(go())


def test_lines_for_a_connection_that_is_ending_are_kept_unsent() -> None:
    """The wire refuses although the end was not heard of yet; nothing may count as sent, and nothing may spin."""

    async def go() -> None:
        stage = real(CAPA=b"+OK\r\nPIPELINING\r\n.\r\n")
        await stage.begin("CAPA")
        stage.wire.closed = True
        before = len(stage.shell.exchanges())
        await run_block(stage.shell, ["STAT", "NOOP"])
        assert stage.shell.draft == "STAT\nNOOP"
        assert "C: STAT" not in stage.text
        stage.wire.hang_up()
        assert len(stage.shell.exchanges()) == before, "what was never sent has no record"

    run(go())


def test_block_that_is_interrupted_sends_no_more() -> None:
    async def go() -> None:
        stage = real(STAT=None)
        await stage.begin()
        await cancelled(run_block(stage.shell, ["STAT", "NOOP", "QUIT"]), lambda: "STAT" in stage.wire.heard)
        await turns()
        assert stage.wire.heard == ["STAT"]
        assert stage.shell.draft == "NOOP\nQUIT"

    run(go())


# -- AUTH --------------------------------------------------------------------------------------------------------------


def test_auth_asks_for_one_more_line_and_star_cancels() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("AUTH PLAIN")
        assert "›S: +" in stage.text
        assert "one more line" in stage.screen.flat
        shown = await stage.run("*")
        assert " C: *\n" in shown
        assert "-ERR" in shown
        await stage.run("AUTH PLAIN")
        shown = await stage.run(plain())
        assert " C: ••••" in shown
        assert stage.shell.state is State.TRANSACTION
        ladder = await stage.run(":ladder")
        assert "PLAIN / *\n" in ladder
        assert "◀───── ✘ -ERR ──────" in ladder
        assert "◀──────── + ────────" not in ladder, "the reply that counts"

    run(go())


# -- leaving -----------------------------------------------------------------------------------------------------------


def test_leaving_with_marks_names_them_and_asks_and_never_sends_quit() -> None:
    async def go(answer: str | None, leaves: bool) -> None:
        stage = Stage()
        await stage.log_in("DELE 2", "DELE 3")
        stage.screen.answers = [answer]
        if leaves:
            with pytest.raises(Leave):
                await stage.run(":quit")
        else:
            await stage.run(":quit")
            assert stage.shell.state is State.TRANSACTION
        assert "2, 3" in stage.screen.asked[0]
        assert b"QUIT" not in stage.wire.sent

    each([("y", True), ("yes", True), ("n", False), ("", False), (None, False)], lambda *row: run(go(*row)))


def test_leaving_without_marks_just_leaves() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in()
        with pytest.raises(Leave):
            await stage.run(":quit")
        assert stage.screen.asked == []
        assert "server closed" not in stage.text

    run(go())


# -- meta commands -----------------------------------------------------------------------------------------------------


def test_meta_commands_are_found_by_their_beginning_and_never_sent() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        before = len(stage.wire.sent)
        assert "AUTHORIZATION]" in await stage.run(":stat")
        assert ":state, :save" in await stage.run(":s")
        assert "no :zzz" in await stage.run(":zzz")
        assert "What you type" in await stage.run(":")
        assert "[AUTHORIZATION]" in await stage.run(":STATE")
        assert len(stage.wire.sent) == before

    run(go())


def test_explain_says_token_by_token_what_a_line_would_do_and_sends_nothing() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        shown = " ".join((await stage.run(":explain AUTH PLAIN xxx")).split())
        for word in ("AUTH", "PLAIN", "••••", "base64", "RFC 5034 §4", "one line"):
            assert word in shown
        assert "xxx" not in shown
        shown = await stage.run(":explain RETR 99")
        assert "⚠ only in TRANSACTION" in shown
        assert "Usage: :explain LINE" in await stage.run(":explain")
        assert not stage.wire.sent

    run(go())


def test_mailbox_shows_what_is_known_and_what_is_not() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        assert "No maildrop is open" in await stage.run(":mailbox")
        await stage.run("USER learner", "PASS secret")
        assert "? messages, ? octets" in await stage.run(":mailbox")
        await stage.run("LIST", "RETR 3", "DELE 2")
        shown = await stage.run(":mailbox")
        assert "6 messages, 6766 octets" in shown
        assert re.search(r"^ +2 +762 +✗ marked +\?$", shown, re.M)
        assert re.search(r"^ +3 +935 +\? +四十二號包裹在哪裡？$", shown, re.M)

    run(go())


def test_language_switches_at_once_and_back() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in()
        assert "繁體中文" in await stage.run(":lang zh-TW")
        assert "封郵件" in await stage.run("STAT")
        assert "English" in await stage.run(":lang en")
        assert "messages" in await stage.run("STAT")
        assert "Usage: :lang [en|zh-Hant]" in await stage.run(":lang klingon")

    run(go())


def test_settings_refuse_what_they_do_not_know() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin()
        assert "full|brief|off" in await stage.run(":notes loud")
        assert stage.options.notes == "full"
        assert "on|off" in await stage.run(":reveal maybe")
        assert "no TLS" in await stage.run(":tls")

    run(go())


def test_save_writes_a_new_private_file_and_follows_no_link(tmp_path: Path) -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("STAT", "RETR 2")
        path, link, other = tmp_path / "a", tmp_path / "link", tmp_path / "other"
        old = os.umask(0)
        try:
            assert "exchanges written" in " ".join((await stage.run(f":save {path}")).split())
        finally:
            os.umask(old)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = path.read_text().splitlines()
        assert lines[:4] == [
            "S: +OK practice server ready <1896.697170952@popshell.example>",
            "C: USER learner",
            "S: +OK send PASS",
            "C: PASS ••••",
        ]
        assert "S: ..gulls-i-suspect" in lines, "as on the wire, byte-stuffed"
        assert lines[lines.index("C: RETR 2") + 2] == "# the text of a message: private"
        assert lines.count("# the text of a message: private") == 1
        before = path.read_bytes()
        assert "left alone" in await stage.run(f":save {path}")
        assert path.read_bytes() == before
        link.symlink_to(other)
        await stage.run(f":save {link}")
        assert not other.exists()
        assert "cannot be written" in " ".join((await stage.run(f":save {tmp_path}/no/such")).split())
        assert "Usage" in await stage.run(":save")

    run(go())


def test_save_with_secrets_asks_and_writes_them_after_a_yes(tmp_path: Path) -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("STAT")
        path = tmp_path / "a"
        stage.shell.options.yes = True
        for no in ("", "no", "n"):
            stage.screen.answers.append(no)
            assert "Nothing was written." in await stage.run(f":save --with-secrets {path}")
            assert "every password" in stage.screen.asked[-1]
            assert not path.exists()
        assert "Usage" in await stage.run(":save --with-secrets")
        stage.screen.answers.append("yes")
        assert "passwords and all" in " ".join((await stage.run(f":save --with-secrets {path}")).split())
        assert "C: PASS secret" in path.read_text().splitlines()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await stage.run(f":save {tmp_path}/b")
        assert "PASS ••••" in (tmp_path / "b").read_text(), "asked for once is not asked for always"

    run(go())


def test_raw_shows_every_octet_and_masks_secrets() -> None:
    async def go() -> None:
        stage = Stage()
        await stage.begin("USER learner", "PASS secret")
        shown = await stage.run(":raw")
        assert "C> PASS ••••\\r\\n" in shown
        assert "S> +OK maildrop has 7 messages (7528 octets)\\r\\n" in shown
        hostile = real(FOO=b"+OK " + b"a" * 71 + b"S> forged " + "\u4e2d".encode() + b"\x1b]0;x\x07\r\n")
        await hostile.begin("FOO")
        shown = await hostile.run(":raw")
        assert all(row.startswith(("  C> ", "  S> ", "  S| ")) and len(row) <= 80 for row in shown.splitlines())
        assert "\\xe4\\xb8\\xad\\x1b]0;x\\x07\\r\\n" in shown
        mail = Stage(server=practice_server(accounts={"learner": "postmistress"}))
        await mail.begin("USER learner", "PASS postmistress", "RETR 1")
        assert "postmistress" in await mail.run(":raw"), "a mail is shown as it is, whatever the password"

    run(go())


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 12), (20, 5)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_meta_answer_fits_the_window(size: tuple[int, int], language: str) -> None:
    """What is wider than the window would be broken by the terminal, in the middle of a word."""
    from popshell.visible import width

    async def go() -> None:
        stage = Stage(screen=FakeScreen(columns=size[0], rows=size[1]), options=Options(language=language))
        await stage.begin()
        asked = (":help", ":more all", ":help RETR", ":more all", ":help states", ":help [IN-USE]", ":more all")
        asked += (":help PIPELINING", ":more all", ":state", ":explain AUTH PLAIN xxx", ":ladder", ":raw", ":mailbox")
        await stage.run(*asked, "USER learner", "PASS secret", "LIST", "DELE 2", ":mailbox", ":ladder", ":state")
        text = re.sub(r"\x1b\[\?7[lh]", "", stage.text)
        rows = [row for row in text.split("\n") if not row.lstrip().startswith(("C: ", "S: ", "quoted "))]  # dialogues
        assert not [row for row in rows if width(row) > size[0]]

    run(go())


def test_what_repeats_is_said_once_and_a_refusal_always() -> None:
    """`:notes auto`: greeting and diagram once, USER and PASS three times; `:notes full` brings all back."""

    async def go() -> None:
        stage = Stage(options=Options(notes="auto"))
        for turn in range(1, 6):
            if turn == 5:
                await stage.run(":notes full")
            before = len(stage.text)
            await stage.begin("PASS x", "USER learner", "PASS secret", "QUIT")
            text = stage.text[before:]
            assert text.count("\n   ✔ ") == (1 if turn == 4 else 3), turn
            assert ("The server speaks first" in text) == (turn in (1, 5)), turn
            assert ("A new connection, a new timestamp" in text) == (turn not in (1, 5)), turn
            assert ("╰ USER" in text) == (turn in (1, 5)), turn
            assert "[AUTHORIZATION]" in text, turn
            assert "has to come right after" in text, "a refusal is explained each time"

    run(go())
