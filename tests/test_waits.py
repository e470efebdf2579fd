"""Waits: what is due, for how long, what has come; lines of a reply are shown as they come, and never twice."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from stage import LOCAL, FakeScreen, Stage, cancelled, run, turns, until

from popshell.session import ConnectError, transcript_lines
from popshell.ui import link
from popshell.ui.events import Waiting
from popshell.ui.layout import Line
from popshell.ui.link import Link
from popshell.ui.screen import CLOCK_LINES, ClockOut, PlainScreen

LOGIN: dict[str, bytes | None] = {"USER": b"+OK\r\n", "PASS": b"+OK\r\n"}
MAIL = b"+OK 40 octets\r\nFrom: a\r\n\r\none\r\ntwo\r\npart"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "HANG_TIME", 0.01)


async def dripping(reply: bytes = MAIL, **rows: int) -> Stage:
    """A stage at which RETR has sent `reply` and no more."""
    stage = Stage(LOCAL, script={**LOGIN, "RETR": reply}, screen=FakeScreen(**rows))
    await stage.begin("USER a", "PASS b")
    stage.screen.forget()
    return stage


def server_rows(stage: Stage) -> list[str]:
    return [row.rstrip() for row in stage.text.split("\n") if "S:" in row]


def test_lines_come_as_they_come_and_none_twice() -> None:
    async def test() -> None:
        stage = await dripping()
        task = asyncio.ensure_future(stage.run("RETR 1"))
        await until(lambda: "two" in stage.text)
        assert server_rows(stage) == ["✔S: +OK 40 octets", " S: From: a", " S:", " S: one", " S: two"]
        stage.wire.say(b"ly\r\nthree\r\n")
        await until(lambda: "three" in stage.text)
        stage.wire.say(b".\r\n")
        await task
        assert server_rows(stage)[4:] == [" S: two", " S: partly", " S: three", " S: ."]
        assert stage.text.count("+OK 40 octets") == 1

    run(test())


def test_after_ctrl_c_the_rest_comes_late_and_alone() -> None:
    async def test() -> None:
        stage = await dripping()
        await cancelled(stage.shell.run("RETR 1"), lambda: "two" in stage.text)
        stage.shell.interrupted()
        stage.wire.say(b"ly\r\n.\r\n")
        await turns()
        assert "The rest of the late reply to RETR" in stage.screen.flat
        assert server_rows(stage)[-3:] == [" S: two", " S: partly", " S: ."]

    run(test())


def test_after_ctrl_c_at_once_what_came_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "HANG_TIME", 100.0)

    async def test() -> None:
        stage = await dripping()
        task = asyncio.ensure_future(stage.shell.run("RETR 1"))
        await until(lambda: "RETR 1" in stage.wire.heard)
        await turns()
        assert "two" not in stage.text
        task.cancel()
        await asyncio.wait({task})
        stage.shell.interrupted()
        assert server_rows(stage)[-1] == " S: two"

    run(test())


def test_after_a_drop_or_a_close_what_came_is_shown_and_recorded() -> None:
    async def test(ends: str) -> None:
        stage = await dripping()
        await cancelled(stage.shell.run("RETR 1"), lambda: "two" in stage.text)
        if ends == ":drop":
            await stage.run(":drop")
        else:
            stage.wire.hang_up()
        assert server_rows(stage)[-2:] == [" S: two", " S: part"]
        last = stage.shell.exchanges()[-1]
        assert last.received == MAIL
        lines = list(transcript_lines(stage.shell.exchanges()))
        assert lines[-6:] == ["S: From: a", "S: ", "S: one", "S: two", "S: part", "# no-terminator, no CRLF"]

    for ends in (":drop", "closed"):
        run(test(ends))


def test_the_cap_holds_while_lines_come_and_the_footer_counts_all() -> None:
    async def test() -> None:
        stage = await dripping(b"+OK\r\n\r\n" + b"".join(b"row %d\r\n" % at for at in range(500)), rows=10)
        task = asyncio.ensure_future(stage.run("RETR 1"))
        await until(lambda: "row 1" in stage.text)
        shown = len(server_rows(stage))
        stage.wire.say(b"end\r\n.\r\n")
        await task
        assert shown == len(server_rows(stage)) == 1 + stage.screen.comfortable
        assert f"{502 - stage.screen.comfortable} of 502 lines" in stage.screen.flat
        assert f"row {stage.screen.comfortable - 1}" in await stage.run(":more")

    run(test())


class Clocked(FakeScreen):
    def __init__(self) -> None:
        super().__init__()
        self.clocks: list[str] = []

    def clock(self, line: Line, seconds: int) -> None:
        self.clocks.append("".join(text for _, text in line))


def test_each_wait_says_what_is_due_and_each_deadline_which_it_is() -> None:
    async def test() -> None:
        stage = Stage(LOCAL, script={**LOGIN, "STAT": b"+OK 1"}, screen=Clocked())
        await stage.begin()
        stage.place = LOCAL._replace(timeout=0.05)
        stage.shell.put_away(link.End.LEFT)
        await stage.begin("STAT")
        assert isinstance(stage.screen, Clocked)
        assert stage.screen.clocks[0] == "reply to STAT still due · 0 s of 0 · Ctrl-C gives the prompt back · 5 octets"
        assert "the limit for a reply (:connect --timeout SECONDS sets another)" in stage.screen.flat
        stage.greeting, stage.place = None, stage.place._replace(label="other.example:110")
        stage.shell.put_away(link.End.LEFT)
        await stage.shell.connect()
        assert stage.screen.clocks[-1].startswith("greeting still due · ")
        assert "No greeting came within" in stage.screen.flat
        assert ":connect other.example:110 --tls implicit" in stage.screen.flat

    run(test())


def test_connecting_is_a_wait_too() -> None:
    async def test() -> None:
        events: list[Any] = []
        going = Link(events.append)
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await cancelled(going.open(never), lambda: any(isinstance(event, Waiting) for event in events))
        assert [event.what for event in events if isinstance(event, Waiting)][:1] == ["connecting"]
        assert never.cancelled()

    run(test())


def test_where_no_person_decides_the_deadline_is_named() -> None:
    async def test() -> None:
        silent = Stage(LOCAL._replace(timeout=0.02), script={}, greeting=None)
        silent.screen.interactive = False
        heard: list[Any] = []
        silent.shell.subscribe(heard.append)
        assert not await silent.shell.connect()
        errors = [event.error for event in heard if hasattr(event, "error")]
        assert [error.code for error in errors if isinstance(error, ConnectError)] == ["greeting-timeout"]
        assert "--timeout SECONDS" in silent.screen.flat
        script = Stage(LOCAL._replace(timeout=0.05), script={**LOGIN, "STAT": None}, screen=Clocked())
        script.screen.interactive = False
        await script.begin("STAT")
        assert "Waiting for the reply to STAT" in script.screen.flat
        assert "the prompt back" not in script.screen.flat, "there is none"

    run(test())


def test_plain_has_lines_at_a_few_times_and_a_terminal_one_row() -> None:
    plain = PlainScreen(io.StringIO())
    for second in range(2, 60):
        plain.clock([("note", f"{second} s")], second)
    assert plain.out.getvalue().split() == [word for second in CLOCK_LINES for word in (str(second), "s")]  # type: ignore[attr-defined]
    out = io.StringIO()
    clock = ClockOut(out)
    clock.write("a\n")
    clock.clock("2 s")
    clock.clock("3 s")
    clock.write("b\n")
    clock.write("c\n")
    assert out.getvalue() == "a\n2 s\r\x1b[2K3 s\r\x1b[2Kb\nc\n"


def test_a_bare_auth_that_has_its_ok_and_no_list_is_answered_after_a_silence() -> None:
    async def test() -> None:
        stage = Stage(LOCAL, script={**LOGIN, "AUTH": b"+OK PLAIN LOGIN\r\n", "LIST": b"+OK\r\n"})
        await stage.begin()
        task = asyncio.ensure_future(stage.run("AUTH", "USER a"))
        await turns()
        stage.clock.now = 5
        await task
        assert "logs nobody in" in stage.screen.flat
        assert "waits for PASS" in stage.screen.flat
        assert stage.wire.heard == ["AUTH", "USER a"]
        assert [exchange.name for exchange, _ in stage.screen.records] == ["", "AUTH", "USER"]

    run(test())


def test_a_challenge_that_was_answered_is_no_part_of_the_line_that_is_due() -> None:
    async def test() -> None:
        stage = Stage(LOCAL, script={"AUTH": b"+ \r\n", "AGEAYg==": None}, screen=Clocked())
        await stage.begin("AUTH PLAIN")
        stage.screen.forget()

        def later() -> bool:
            stage.clock.now += 1
            return len(stage.screen.clocks) > 2

        await cancelled(stage.shell.run("AGEAYg=="), later)
        assert "Waiting for the reply to AUTH." in stage.screen.flat
        assert "Part of a line" not in stage.screen.flat
        assert "Missing: CRLF" not in stage.screen.flat
        assert isinstance(stage.screen, Clocked)
        assert "Ctrl-C gives the prompt back" in stage.screen.clocks[-1]

    run(test())
