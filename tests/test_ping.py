"""`popshell ping`: one line and an exit code for each stage, in both languages and as JSON."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from interop.practice import mail_server, run, serving
from interop.scripted import Act, playing
from support import each
from test_tls import CA, context
from test_transport import blocking_server

from popshell import cli
from popshell.reach import EXIT_CODES

Printed = pytest.CaptureFixture[str]


def ping(capsys: Printed, *arguments: str) -> tuple[int, str]:
    code = cli.run(["ping", *arguments])
    return code, capsys.readouterr().out


def test_a_server_that_is_there(tmp_path: Path, capsys: Printed) -> None:
    ca = tmp_path / "ca.pem"

    def check(tls: str, implicit: bool, said: str) -> None:
        with serving(mail_server(), implicit_tls=implicit) as (port, pem):
            ca.write_text(pem)
            how = ("--tls", tls, *(() if tls == "none" else ("--ca", str(ca))))
            code, out = ping(capsys, f"localhost:{port}", *how, "--lang", "en")
            assert (code, out.count("\n"), said in out) == (0, 1, True), out
            code, out = ping(capsys, f"localhost:{port}", *how, "--json")
            found = json.loads(out)
            assert (found["stage"], found["exit_code"], found["error"], found["address"]) == (
                "ok",
                0,
                None,
                "127.0.0.1",
            )
            assert found["greeting"].startswith("+OK practice server ready")
            assert set(found["seconds"]) >= {"lookup", "tcp", "quit"}
            assert (found["tls"] is None) == (tls == "none")

    each([("none", False, "in clear text"), ("stls", False, "TLSv1.3"), ("implicit", True, "TLSv1.3")], check)


def test_a_server_that_wants_another_client_certificate_fails_at_tls(tmp_path: Path, capsys: Printed) -> None:
    CA.cert_pem.write_to_path(ca := tmp_path / "ca.pem")
    strange = trustme.CA().issue_cert("mei@example.org")
    strange.private_key_and_cert_chain_pem.write_to_path(own := tmp_path / "own.pem")
    demanding = context(names=("localhost",))
    demanding.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(demanding)
    for more, code in (([], "wants-certificate"), (["--cert", str(own)], "own-refused")):
        with blocking_server(demanding) as port:
            exit_code, out = ping(capsys, f"localhost:{port}", "--tls", "implicit", "--ca", str(ca), "--json", *more)
        assert (exit_code, json.loads(out)["error"]["code"]) == (EXIT_CODES["tls"], code)


def test_each_stage_has_its_exit_code(tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread of its own the command runs its own event loop, beside the server's."""

    CA.cert_pem.write_to_path(ca := tmp_path / "ca.pem")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = unused.getsockname()[1]
    rows: list[tuple[Any, str, str, str]] = [
        (None, "none", "tcp", "refused"),
        ([Act.TLS], "implicit", "tls", "certificate-wrong-host"),
        ([b"+OK\r\n"], "implicit", "tls", "not-tls-pop3"),
        ([b"+OK\r\n", b"-ERR no\r\n"], "stls", "tls", "stls-refused"),
        ([b"+OK\r\n", ()], "stls", "tls", "reply-timeout"),
        ([b"+OK\r\n+OK\r\n", ()], "stls", "tls", "unasked-before-tls"),
        ([b"* OK IMAP\r\n"], "stls", "greeting", "not-pop3"),
        ([b"-ERR busy\r\n", Act.CLOSE], "stls", "greeting", "turned-away"),
        ([()], "stls", "greeting", "greeting-timeout"),
        ([Act.CLOSE], "stls", "greeting", "closed-early"),
        ([b"+OK hello"], "none", "greeting", "line-cut"),
        ([(b"+OK hello", Act.CLOSE)], "none", "greeting", "line-cut"),
        ([b"\xff\xfd\x18login: "], "none", "greeting", "not-pop3"),
        ([b"+OK\r\n", ()], "none", "quit", "reply-timeout"),
        ([b"* OK IMAP\r\n"], "none", "greeting", "not-pop3"),
        ([b"-ERR [SYS/TEMP] busy\r\n"], "none", "greeting", "turned-away"),
        ([Act.CLOSE], "none", "greeting", "closed-early"),
        ([()], "none", "greeting", "greeting-timeout"),
        ([b"+OK\r\n", b"-ERR\r\n"], "none", "quit", "turned-away"),
        ([b"+OK\r\n", Act.CLOSE], "none", "quit", "closed-early"),
    ]

    def check(script: Any, tls: str, stage: str, code: str) -> None:
        async def body() -> None:
            async with playing(script or [], context(names=("pop.example.org",))) as port:
                where = f"127.0.0.1:{dead if script is None else port}"
                trust = [] if tls == "none" else ["--ca", str(ca)]
                given = ["ping", where, "--tls", tls, *trust, "--timeout", "0.5"]
                for more in (["--json"], ["--lang", "en"], ["--lang", "zh-Hant"]):
                    assert await asyncio.to_thread(cli.run, [*given, *more]) == EXIT_CODES[stage]
                    out = capsys.readouterr().out
                    assert out.count("\n") == 1, out
                    if more == ["--json"]:
                        found = json.loads(out)
                        assert (found["stage"], found["error"]["code"]) == (stage, code), out
                    elif code == "stls-refused":
                        assert "(-ERR no)" in out, out
                    elif code.endswith("-timeout"):
                        assert f"`popshell ping {where} --tls {tls} --timeout " in out

        run(body())

    each(rows, check)
    assert ping(capsys, "nothing.invalid", "--timeout", "5")[0] in (EXIT_CODES["lookup"],)
    assert sorted(EXIT_CODES.values()) == [0, 3, 4, 5, 7, 8]
