"""What `popshell serve` needs: a log that holds no secret, summaries, addresses, commands to copy, a clean end."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from interop.practice import Wire, listening, mail_server, run, serving, until
from support import LOGIN, NAME, SECRET, STAMP, converse, drain, plain, practice_server, rehearse

from popshell.net.address import Address, TlsMode, client_addresses, is_loopback
from popshell.net.listener import PracticeCertificate
from popshell.protocol.sasl import apop_digest
from popshell.serve import SessionLog, Summary, fresh_password, recipes


class Now:
    """A wall clock that moves a second each time it is read."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def logged(*lines: str, as_json: bool = False, **options: Any) -> tuple[list[str], list[Summary]]:
    out, ended = io.StringIO(), []
    log = SessionLog(out, as_json=as_json, ended=ended.append, now=Now())
    server = practice_server(**options)
    server.subscribe(log.observed)
    rehearse(lines, server)
    return out.getvalue().splitlines(), ended


def test_text() -> None:
    rows, _ = logged(*LOGIN, "STAT", "RETR 1", "QUIT")
    assert [row.partition("Z 1 ")[2].strip() for row in rows[1:]] == [
        "C: USER learner",
        "S: +OK send PASS",
        "C: PASS \u2022\u2022\u2022\u2022",
        "S: +OK maildrop has 7 messages (7528 octets)",
        "C: STAT",
        "S: +OK 7 7528",
        "C: RETR 1",
        "S: +OK 557 octets",
        "# 16 lines",
        "C: QUIT",
        "S: +OK bye, 0 messages removed",
        'ends: {"user": "learner", "tls": false, "commands": 5, "fetched": 1, "removed": 0, "quit": true, '
        '"seconds": 6.0}',
    ]
    assert rows[0].startswith("2026-01-02T03:04:06.000Z 1  S: +OK ")


def test_json() -> None:
    rows = [json.loads(row) for row in logged("STLS", *LOGIN, "LIST", "TOP 1 0", "DELE 1", "QUIT", as_json=True)[0]]
    assert [row["event"] for row in rows] == ["exchange"] * 8 + ["ended"]
    assert [row["command"]["line"] for row in rows[2:4]] == ["USER learner", "PASS \u2022\u2022\u2022\u2022"]
    assert rows[4]["lines"][0] == "1 557"
    assert rows[5]["lines"] == 6, "of mail, how many lines"
    assert rows[5]["received"] == ["+OK top of message follows\r\n"], "and nothing of its text"
    assert rows[-1] | {"time": ""} == {
        "time": "",
        "session": 1,
        "client": "",
        "event": "ended",
        "user": NAME,
        "tls": True,
        "commands": 7,
        "fetched": 0,
        "removed": 1,
        "quit": True,
        "seconds": 8.0,
    }


def test_no_secret_and_nothing_unfiltered_is_written() -> None:
    canary = "C4n4ryC4n4ry"
    lines = [f"USER {NAME}", f"PASS {canary}", f"PASSWORD {canary}", "AUTH PLAIN", plain(secret=canary)]
    lines += [f"AUTH PLAIN {plain(secret=canary)}", f"APOP {NAME} {apop_digest(STAMP, canary)}", "x\x1b[31m\x9b\u202e"]
    for as_json in (False, True):
        whole = "\n".join(logged(*lines, as_json=as_json)[0])
        for secret in (canary, plain(secret=canary), apop_digest(STAMP, canary), "\x1b", "\x9b", "\u202e"):
            assert secret not in whole, (as_json, secret)


def test_sessions_are_told_apart_and_summed_up() -> None:
    ended: list[Summary] = []
    log = SessionLog(ended=ended.append, now=Now())
    server = practice_server(accounts={NAME: SECRET, "mei": SECRET})
    server.subscribe(log.observed)
    first, second = server.session(client="192.0.2.1:5"), server.session(client="192.0.2.2:6")
    drain(first), drain(second)
    converse(second, b"USER mei\r\nPASS secret\r\nRETR 1\r\nRETR 2\r\n")
    second.lost()
    first.lost()
    assert [(one.number, one.client, one.user, one.fetched, one.quit) for one in ended] == [
        (2, "192.0.2.2:6", "mei", 2, False),
        (1, "192.0.2.1:5", "", 0, False),
    ]


def test_passwords_are_fresh_and_legible() -> None:
    made = {fresh_password() for _ in range(200)}
    assert len(made) == 200
    assert all(len(one) == 12 and one.isascii() and not set(one) & set("il1o0 ") for one in made)


def test_a_wildcard_is_reached_at_an_address_of_this_machine() -> None:
    for wildcard in ("0.0.0.0", "::"):
        (address,) = client_addresses(wildcard)  # the wildcard itself where no way leads out
        assert address == wildcard or not is_loopback(address)
    assert client_addresses("192.0.2.7") == ("192.0.2.7",)


@pytest.mark.parametrize("tls", TlsMode)
def test_the_commands_to_copy_work(tmp_path: Path, tls: TlsMode) -> None:
    with serving(mail_server(), implicit_tls=tls is TlsMode.IMPLICIT) as (port, pem):
        ca = tmp_path / "our ca's.pem"
        ca.write_text(pem)
        found = recipes(Address("127.0.0.1", port, tls, NAME), SECRET, str(ca))
        for program, command in zip(("curl", "python3"), found, strict=True):
            if shutil.which(program) is None:
                continue
            command = command.replace("python3", sys.executable, 1).replace("curl", "curl -s --noproxy '*'", 1)
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
            assert "Subject:" in done.stdout, (command, done)
            if tls is not TlsMode.NONE:
                ca.write_text(PracticeCertificate().pem)
                done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
                assert done.returncode != 0, "another server's CA"
                assert "Subject:" not in done.stdout
                ca.write_text(pem)


def test_a_password_that_is_not_given_is_asked_for() -> None:
    curl, python = recipes(Address("::1", 110, TlsMode.NONE, "mei"))
    assert curl == "curl -u mei pop3://[::1]:110/1"
    assert "c.pass_(getpass.getpass())" in python


def test_a_log_that_cannot_be_written_is_given_up_once() -> None:
    class Full(io.StringIO):
        def writelines(self, lines: object) -> None:
            raise OSError(28, "No space left on device")

    failures: list[OSError] = []
    server = practice_server()
    server.subscribe(SessionLog(Full(), failed=failures.append, now=Now()).observed)
    exchanges = rehearse([*LOGIN, "STAT", "QUIT"], server)
    assert [one.ok for one in exchanges] == [True] * 5, "sessions go on"
    assert len(failures) == 1


def test_a_clean_end_lets_replies_finish_and_says_so() -> None:
    async def body() -> None:
        server = mail_server()
        async with listening(server) as (listener, port):
            idle, waiting = await Wire.dial(port), await Wire.dial(port)
            await idle.log_in()
            await idle.ask("DELE 1")
            await waiting.upto()
            await listener.close(grace=5)
            for wire in (idle, waiting):
                assert await wire.rest() == b"-ERR [SYS/TEMP] the server is shutting down\r\n"
            assert len(server.maildrop_of(NAME).messages) == 7
            assert not server.maildrop_of(NAME).in_use

    run(body())


def test_a_reply_on_its_way_is_finished_first() -> None:
    session = practice_server().session()
    drain(session)
    session.feed(b"CAPA\r\nNOOP\r\n")
    session.shut_down()
    assert drain(session) == b"-ERR [SYS/TEMP] the server is shutting down\r\n"
    assert session.closing
    session = practice_server().session()
    session.shut_down()
    out = drain(session)
    assert out.startswith(b"+OK ")
    assert out.endswith(b"shutting down\r\n")
    session.shut_down()
    assert drain(session) == b"", "said once"


def test_a_peer_that_takes_nothing_is_cut_off_when_the_grace_is_over() -> None:
    async def body() -> None:
        server = mail_server()
        async with listening(server, implicit_tls=True) as (listener, port):
            await Wire.dial(port)
            await until(lambda: listener.connections == 1)
            await listener.close(grace=0.01)
            assert listener.connections == 0

    run(body())
