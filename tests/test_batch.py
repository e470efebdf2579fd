"""Standard input as lines, and the two screens without a terminal: plain words, and JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from typing import Any, BinaryIO

import pytest
from stage import CATALOG, LOCAL, Stage, run
from support import SCHEMA, plain

from popshell.ui.display import new_shell
from popshell.ui.exports import JsonRecords
from popshell.ui.metas import Metas
from popshell.ui.screen import JsonScreen, Lines, PlainScreen
from popshell.ui.shell import Options, Shell


def lines(stream: BinaryIO) -> list[str]:
    found: list[str] = []

    async def go() -> None:
        found.extend([line async for line in Lines(stream)])

    run(go())
    return found


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", []),
        (b"STAT\nQUIT\n", ["STAT", "QUIT"]),
        (b"STAT\r\nQUIT", ["STAT", "QUIT"]),
        (b"\n\nSTAT\n", ["", "", "STAT"]),
        (b"STAT\x0b\x85\xe2\x80\xa8x\n", ["STAT\x0b\udc85\u2028x"]),
        (b"a\rb\n", ["a\rb"]),
        (b"\xff\n", ["\udcff"]),
        (b"x" * 200_000 + b"\ny", ["x" * 200_000, "y"]),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_lines_end_with_lf_alone_and_the_last_one_needs_none(data: bytes, wanted: list[str]) -> None:
    assert lines(io.BytesIO(data)) == wanted


def test_lines_come_as_they_are_written_to_a_pipe() -> None:
    source, sink = os.pipe()
    seen = threading.Event()

    async def go() -> None:
        with os.fdopen(source, "rb", buffering=0) as stream:
            found = Lines(stream)
            os.write(sink, b"ST")
            os.write(sink, b"AT\nQU")
            assert await anext(found) == "STAT"
            seen.set()
            os.write(sink, b"IT")
            os.close(sink)
            assert await anext(found) == "QUIT"
            with pytest.raises(StopAsyncIteration):
                await anext(found)

    run(go())
    assert seen.is_set()


def test_reader_that_nobody_asks_any_more_does_not_hold_up_the_end() -> None:
    """A program that ends while its reader waits: Python's buffer would be locked, and the interpreter abort."""
    code = (
        "import asyncio, sys\nfrom popshell.ui.screen import Lines\n"
        "async def go():\n    print(await anext(Lines(sys.stdin.buffer)))\nasyncio.run(go())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"STAT\n")
        process.stdin.flush()
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"STAT\n"


def shell_on(screen: PlainScreen, stage: Stage) -> Shell:
    return new_shell(CATALOG, screen, stage.dial, Options(), Metas)


def plain_text(*typed: str, **how: Any) -> str:
    out = io.StringIO()

    async def go() -> None:
        shell = shell_on(PlainScreen(out), Stage(**how))
        assert await shell.connect()
        for line in typed:
            await shell.run(line)

    run(go())
    return out.getvalue()


def test_plain_is_words_and_no_escape() -> None:
    text = plain_text("STAT", "USER learner", "PASS secret", "RETR 3", "RETR 2", "LIST", ":help RETR", ":state", "QUIT")
    assert "\x1b" not in text
    for words in ("[OK] S: +OK practice", "[ERR] S: -ERR", "C: STAT\n", "S: ..gulls-i-suspect\n", "S: .\n"):
        assert words in text
    states = [line for line in text.split("\n") if line.startswith("[STATE")]
    assert states == ["[STATE: AUTHORIZATION]", "[STATE: TRANSACTION]", "[STATE: UPDATE]", "[STATE: CLOSED]"]
    assert "C: PASS ••••\n" in text
    assert not set("✔✘›⚠─▶╭") & set(text)


def test_plain_shows_hostile_bytes_as_words() -> None:
    hostile = b"+OK \x1b]0;title\x07\x1b[2J\xc2\x9b31m\xe2\x80\xae\r\nC: QUIT\r\n.\r\n"
    text = plain_text("RETR 1", place=LOCAL, script={"RETR": hostile})
    assert "[OK] S: +OK \\x1b]0;title\\x07\\x1b[2J\\u009b31m\\u202e\n" in text
    assert "\nS: C: QUIT\n" in text


def test_plain_has_no_cap() -> None:
    body = b"".join(b"line %d\r\n" % n for n in range(3000))
    text = plain_text("RETR 1", place=LOCAL, script={"RETR": b"+OK\r\n" + body + b".\r\n"})
    assert "S: line 2999\nS: .\n" in text


def json_records(*typed: str, **how: Any) -> tuple[list[dict[str, Any]], str, str]:
    out, words = io.StringIO(), io.StringIO()

    async def go() -> None:
        shell = shell_on(JsonScreen(words), Stage(**how))
        shell.subscribe(JsonRecords(out).heard)
        assert await shell.connect()
        for line in typed:
            await shell.run(line)

    run(go())
    records = [json.loads(line) for line in out.getvalue().split("\n")[:-1]]
    for record in records:
        SCHEMA.validate(record)
    return [record for record in records if record["type"] == "exchange"], out.getvalue(), words.getvalue()


def test_json_is_one_object_a_line_with_the_published_fields() -> None:
    records, _, _ = json_records("STAT", "USER learner", "PASS secret", "STAT", "LIST", "RETR 99", "CAPA", "QUIT")
    assert len(records) == 9
    greeting, stat = records[0], records[4]
    assert greeting["command"] is None
    assert stat["command"] == {"name": "STAT", "line": "STAT", "known": True, "diagnostics": []}
    assert (stat["status"], stat["text"], stat["before"], stat["after"]) == (
        "+OK",
        "7 7528",
        "TRANSACTION",
        "TRANSACTION",
    )
    assert records[5]["lines"][0] == "1 557"
    assert records[6]["status"] == "-ERR"
    assert records[6]["notes"][0]["sort"] == "err"
    assert records[-1]["after"] == "UPDATE"


def test_json_keeps_every_control_character_inside_the_line() -> None:
    hostile = b"+OK \x1b]0;t\x07\xc2\x85\r\na\nb\x0c\xe2\x80\xa8c\xff\r\n.\r\n"
    records, text, _ = json_records("RETR 1", place=LOCAL, script={"RETR": hostile})
    assert text.isascii()
    assert all(ch == "\n" or ch.isprintable() for ch in text)
    assert len(text.splitlines()) == 2
    assert records[1]["received"][0] == "+OK \x1b]0;t\x07\x85\r\n"
    assert records[1]["text"] == "\x1b]0;t\x07\x85"
    assert records[1]["lines"] == ["a\nb\x0c\u2028c\udcff"]


def test_json_masks_secrets() -> None:
    for typed in (["USER learner", "PASS C4n4ry-77"], [f"AUTH PLAIN {plain(secret='C4n4ry-77')}"]):
        _, text, words = json_records(*typed)
        assert "C4n4ry-77" not in text + words
        assert plain(secret="C4n4ry-77") not in text + words


def test_json_of_an_unfinished_reply_names_the_problem() -> None:
    script: dict[str, bytes | None] = {"LIST": b"+OK\r\n1 1\r\n<close>"}
    records, _, _ = json_records("LIST", place=LOCAL, script=script)
    assert records[-1]["problem"] == {"code": "no-terminator", "speaks": None, "lines": None, "octets": None}
    assert records[-1]["received"] == ["+OK\r\n", "1 1\r\n"]
    assert records[-1]["lines"] == ["1 1"]


def test_our_words_do_not_mix_with_the_records() -> None:
    _, text, words = json_records(":help", ":mailbox", "STAT")
    assert "maildrop" not in "".join(line for line in text.split("\n") if '"version"' not in line)
    assert "\x1b" not in words
