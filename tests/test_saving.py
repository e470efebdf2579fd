"""`:save N FILE`: a message goes into a file as it comes, and its record keeps length and hash alone."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import CLOSE, LOCAL, Stage, cancelled, run, turns
from support import each

from popshell.protocol.commands import State
from popshell.protocol.connection import Connection
from popshell.protocol.records import Exchange
from popshell.protocol.wire import Stream, stuff

MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..\r\nbare\nlf\r\n"
SAVED = MESSAGE.count(b"\n")

_lines = st.sampled_from([b"", b".", b"..", b"\r", b"\n", b".\r", b"\n.\n", b"a", b"\r.", b"a" * 9]) | st.binary(
    max_size=4
)


@given(st.lists(_lines, max_size=12), st.lists(st.integers(1, 6), min_size=1, max_size=60), st.booleans())
def test_a_content_streams_however_it_is_cut(lines: list[bytes], cuts: list[int], whole: bool) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    wire = b"+OK\r\n" + stuff(content) + b".\r\n"
    taken: list[bytes] = []
    connection, stream = Connection(), Stream(taken.append)
    connection.received(b"+OK\r\n")
    connection.here = connection.here._replace(state=State.TRANSACTION)
    connection.sent(b"RETR 1\r\n", stream=stream)
    events: list[Any] = []
    rest = wire + b"+OK next\r\n" if whole else wire[: max(5, len(wire) - 1 - cuts[0])]
    if whole:
        connection.sent(b"NOOP\r\n")
    at, steps = 0, cycle(cuts)
    while at < len(rest):
        step = next(steps)
        events += connection.received(rest[at : at + step])
        at += step
    if not whole:
        events += connection.close()
        assert events[0].problem.code == "no-terminator"
        assert content.startswith(b"".join(taken).removesuffix(b"\r"))
        return
    record, after = events
    assert isinstance(record, Exchange)
    assert b"".join(taken) == content
    assert (record.received, after.response.text) == (b"+OK\r\n", "next")
    assert record.stream is stream
    assert (stream.octets, stream.raw, stream.lines) == (len(content), len(wire) - 5, content.count(b"\n"))
    wanted = {"octets": len(content), "lines": content.count(b"\n"), "sha256": hashlib.sha256(content).hexdigest()}
    assert record.to_json()["streamed"] == wanted
    assert record.to_json()["octets"] == len(wire)


def stage(retr: bytes | None) -> Stage:
    return Stage(place=LOCAL, script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "NOOP": b"+OK noop\r\n", "RETR": retr})


WHOLE = b"+OK\r\n" + stuff(MESSAGE) + b".\r\n"


def test_what_becomes_of_the_file(tmp_path: Path) -> None:
    async def go(retr: bytes, said: str, files: dict[str, bytes]) -> None:
        for file in tmp_path.iterdir():
            file.unlink()
        on = stage(retr)
        await on.log_in(f":save 1 {tmp_path}/m.eml", "NOOP")
        assert said in on.screen.flat, on.text
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files
        assert len(on.shell.subscribers) == len(stage(retr).shell.subscribers)
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in tmp_path.iterdir())

    half = b"+OK\r\n" + stuff(MESSAGE)
    each(
        [
            (WHOLE, f"{len(MESSAGE)} octets in {SAVED} lines, SHA-256 {hashlib.sha256(MESSAGE).hexdigest()}",
             {"m.eml": MESSAGE}),
            (WHOLE, "+OK noop", {"m.eml": MESSAGE}),
            (b"-ERR no such message\r\n", "-ERR no such message", {}),
            (half + CLOSE, f"broke off: {len(MESSAGE)} octets of message 1 came", {"m.eml.part": MESSAGE}),
            (CLOSE, "closed", {}),
        ],
        lambda *row: run(go(*row)),
    )  # fmt: skip


def test_no_file_is_written_over(tmp_path: Path) -> None:
    async def go(name: str) -> None:
        (tmp_path / name).write_bytes(b"mine")
        on = stage(WHOLE)
        await on.log_in(f":save 1 {tmp_path}/m.eml")
        assert "exists already" in on.screen.flat
        assert on.wire.heard == ["USER learner", "PASS secret"], "nothing was sent"
        (tmp_path / name).unlink()

    each([("m.eml",), ("m.eml.part",)], lambda name: run(go(name)))


def test_a_name_that_was_taken_meanwhile_keeps_its_file(tmp_path: Path) -> None:
    async def go() -> None:
        on = stage(None)
        await on.begin("USER learner", "PASS secret")
        await cancelled(on.shell.run(f":save 1 {tmp_path}/m.eml"), lambda: b"RETR" in on.wire.sent)
        (tmp_path / "m.eml").write_bytes(b"mine")
        on.wire.say(WHOLE)
        await turns()
        assert (tmp_path / "m.eml").read_bytes() == b"mine"
        assert (tmp_path / "m.eml.part").read_bytes() == MESSAGE

    run(go())


def test_a_transfer_that_is_not_waited_for_goes_on(tmp_path: Path) -> None:
    async def go() -> None:
        on = stage(None)
        await on.begin("USER learner", "PASS secret")
        await cancelled(on.shell.run(f":save 1 {tmp_path}/m.eml"), lambda: b"RETR" in on.wire.sent)
        on.screen.forget()
        for octet in WHOLE:
            on.wire.say(bytes([octet]))
        await turns()
        assert (tmp_path / "m.eml").read_bytes() == MESSAGE
        assert "written to" in on.screen.flat

    run(go())


def test_ctrl_c_says_what_becomes_of_the_transfer(tmp_path: Path) -> None:
    async def go(then: bytes, said: str, left: str) -> None:
        on = stage(None)
        await on.begin("USER learner", "PASS secret")
        work = asyncio.ensure_future(on.shell.run(f":save 1 {tmp_path}/m.eml"))
        await turns()
        on.wire.say(WHOLE[:17])
        await cancelled(work, lambda: True)
        on.shell.interrupted()
        assert f"Sofar8octetsofitarein{tmp_path}/m.eml.part,whichbecomes" in "".join(on.screen.flat.split())
        assert "will be shown" not in on.screen.flat
        on.wire.say(then)
        await turns()
        assert said in on.screen.flat
        assert [file.name for file in tmp_path.iterdir()] == [left]
        (tmp_path / left).unlink()

    rows = [(WHOLE[17:], "written to", "m.eml"), (CLOSE, "12 octets of message 1 came", "m.eml.part")]
    each(rows, lambda *row: run(go(*row)))


def test_the_suffix_says_what_is_written(tmp_path: Path) -> None:
    async def go(name: str, begin: str) -> None:
        on = stage(WHOLE)
        await on.log_in(f":save {tmp_path}/{name}")
        if begin:
            assert (tmp_path / name).read_text().startswith(begin)
            assert f"writtento{tmp_path}/{name}" in on.screen.flat.replace(" ", "")
        else:
            assert "Known are .pop, .txt, .md, .html, .svg, .json" in on.screen.flat
            assert on.shell.tally.usage
            assert not (tmp_path / name).exists()

    names = {"a": "S: +OK", "b.c/d": "S: +OK", ".hidden": "S: +OK", "a.pop": "S: +OK", "a.TXT": "S: +OK"}
    names |= {"a.MD": "# ", "a.Html": "<!DOCTYPE", "a.svg": "<svg", "a.JSON": "["} | dict.fromkeys(
        ("s.pdf", "m.eml", "a.md.gz"), ""
    )
    (tmp_path / "b.c").mkdir()
    each(names.items(), lambda *row: run(go(*row)))


def test_a_full_disk_keeps_the_session_in_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        from popshell.ui import exports

        class Full:
            def write(self, piece: bytes) -> int:
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                """Nothing to do."""

        on = stage(WHOLE)
        await on.begin("USER learner", "PASS secret")
        monkeypatch.setattr(exports.os, "fdopen", lambda *how, **more: Full())
        await on.run(f":save 1 {tmp_path}/m.eml", "NOOP")
        assert "the disk is full" in on.screen.flat
        assert "+OK noop" in on.text
        assert on.shell.tally.failed

    run(go())


def test_of_an_export_that_could_not_be_written_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        def rows(shell: object) -> Iterator[str]:
            yield "half"
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("popshell.ui.exports.EXPORTS", {".md": rows})
        on = stage(WHOLE)
        await on.log_in(f":save {tmp_path}/m.md")
        assert "the disk is full" in on.screen.flat
        assert not list(tmp_path.iterdir())

    run(go())


def test_usage_and_no_connection(tmp_path: Path) -> None:
    async def go(line: str, said: str) -> None:
        on = Stage()
        await on.run(line.replace("DIR", str(tmp_path)))
        assert said in on.screen.flat
        assert not list(tmp_path.iterdir())

    rows = [
        (":save 1", "Usage: :save"),
        (":save 1 DIR/m", "There is no connection"),
        (":save 1 DIR/no/m", "cannot be written"),
    ]
    each(rows, lambda *row: run(go(*row)))


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(taken: bool) -> None:
        def link(part: Path, path: Path) -> None:
            if taken:
                path.write_bytes(b"mine")
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr("popshell.ui.exports.os.link", link)
        on = stage(WHOLE)
        await on.log_in(f":save 1 {tmp_path}/m.eml")
        assert (tmp_path / "m.eml").read_bytes() == (b"mine" if taken else MESSAGE)
        assert (tmp_path / "m.eml.part").exists() is taken
        (tmp_path / "m.eml").unlink()

    each([(False,), (True,)], lambda taken: run(go(taken)))
