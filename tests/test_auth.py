"""`:auth`: the ranking, each mechanism over loopback, what a server can do wrong, and no secret anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import CATALOG, LOCAL, REMOTE, FakeScreen, Stage, metas_of, run
from support import NAME, each, leaks, practice_server

from popshell.net.connector import Connector
from popshell.protocol import mechanisms
from popshell.protocol.commands import Context, State
from popshell.protocol.line import parse
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.secrets import fit_for_history, masked_rows, typed_rows
from popshell.server.mailserver import practice_token
from popshell.ui.auth import NAMES
from popshell.ui.display import new_shell
from popshell.ui.shell import Options, Shell

SECRET = "canary-9f3e"
TOKEN = practice_token(NAME)
LISTED = b"+OK\r\nSASL " + " ".join(MECHANISMS).encode() + b"\r\nUSER\r\n.\r\n"


def flat(text: str) -> str:
    return " ".join(text.split())


async def shell_on_loopback(work: Callable[[Shell, FakeScreen], object], language: str = "en") -> None:
    """A shell with the practice server on a port, which serves all that it can."""
    server = practice_server(
        accounts={NAME: SECRET}, faults={"mechanisms": tuple(MECHANISMS)}, tokens=lambda: {TOKEN: NAME}
    )
    connector, screen = Connector(server), FakeScreen(columns=400)
    shell = new_shell(CATALOG, screen, connector.connect, Options(language), lambda: metas_of(shell))
    shell.subscribe(screen.heard)
    try:
        assert await shell.connect()
        await shell.run("STLS")
        result = work(shell, screen)
        assert asyncio.iscoroutine(result)
        await result
    finally:
        shell.close()
        await connector.close()


def secret_of(name: str) -> str:
    return TOKEN if name in MECHANISMS and MECHANISMS[name].proof == "token" else SECRET


def test_the_search_for_the_canary_can_fail() -> None:
    assert leaks(f"x {SECRET} y", (SECRET,))
    assert leaks(base64.b64encode(f"\0{NAME}\0{SECRET}".encode()).decode(), (SECRET,))
    assert not leaks("nothing", (SECRET,))


def test_each_mechanism_over_loopback_with_right_and_wrong_secret(tmp_path: Path) -> None:
    """One command line logs in, or fails once; no way out holds the secret or what proves it."""

    async def go(name: str, right: bool, language: str) -> None:
        async def work(shell: Shell, screen: FakeScreen) -> None:
            secret = secret_of(name) if right else "wrong-" + SECRET
            screen.answers = [secret]
            external = name == "EXTERNAL"
            await shell.run(f":auth {name.lower()}" + ("" if external else f" {NAME}"))
            assert shell.state is (State.TRANSACTION if right and not external else State.AUTHORIZATION), screen.text
            assert screen.answers == ([secret] if external else [])
            logins = [one for one in shell.exchanges() if one.name in ("AUTH", "APOP", "PASS")]
            assert len(logins) == 1
            if language == "en":
                proved = "the server knows the password" in flat(screen.text)
                assert proved == (right and name.startswith("SCRAM"))
                assert ("one try" in screen.text) == (not logins[0].ok)
                assert "sent by :auth" in screen.text
            path = tmp_path / f"{name}-{right}-{language}"
            await shell.run(f":save {path}")
            await shell.run(":ladder")
            await shell.run(":raw")
            records = json.dumps([exchange.to_json() for exchange, _ in screen.records])
            proofs = [part for one in logins for part in sent_secrets(one)]
            # By the server's signature, too, a password can be guessed.
            challenges = (base64.b64decode(step.challenge) for one in logins for step in one.steps)
            proofs += [text[2:].decode() for text in challenges if text.startswith(b"v=")]
            for out in (screen.text, path.read_text(), records, repr(logins)):
                assert leaks(out, (secret, *proofs)) == []

        await shell_on_loopback(work, language)

    each(
        [
            (name, right, language)
            for name in NAMES
            for right, language in ((True, "en"), (False, "en"), (True, "zh-Hant"))
        ],
        lambda *row: run(go(*row)),
    )


def sent_secrets(exchange: object) -> list[str]:
    """What went out with something secret in it: all words but those of SCRAM's first message, and names."""
    words = b" ".join(exchange.sent.split(b"\r\n")).decode().split()  # type: ignore[attr-defined]
    return [
        word
        for word in words
        if len(word) > 12 and word not in NAMES and not base64.b64decode(word + "==").startswith((b"n,", b"y,", b"p="))
    ]


def test_channel_binding_is_used_where_it_is_there() -> None:
    async def go(name: str, header: str) -> None:
        async def work(shell: Shell, screen: FakeScreen) -> None:
            screen.answers = [SECRET]
            await shell.run(f":auth {name} {NAME}")
            assert re.search(rf"gs2-header +{re.escape(header)}\n", screen.text), screen.text
            assert shell.state is State.TRANSACTION

        await shell_on_loopback(work)

    each(
        [("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"), ("SCRAM-SHA-256", "n,,")],
        lambda *row: run(go(*row)),
    )


def test_who_acts_as_another() -> None:
    """The practice server lets everybody act as oneself alone."""

    async def go(name: str, other: str, ok: bool) -> None:
        async def work(shell: Shell, screen: FakeScreen) -> None:
            screen.answers = [SECRET]
            await shell.run(f":auth {name} {NAME} as={other}")
            assert (shell.state is State.TRANSACTION) == ok
            assert other in screen.text

        await shell_on_loopback(work)

    each(
        [(name, other, other == NAME) for name in ("PLAIN", "SCRAM-SHA-1") for other in (NAME, "root")],
        lambda *row: run(go(*row)),
    )


def test_what_a_token_says_is_shown_and_the_token_is_not() -> None:
    async def go(token: str, said: str) -> None:
        async def work(shell: Shell, screen: FakeScreen) -> None:
            screen.answers = [token]
            await shell.run(f":auth XOAUTH2 {NAME}")
            assert said in flat(screen.text)
            assert token not in screen.text

        await shell_on_loopback(work)

    each(
        [
            (TOKEN, "exp 2100-01-01"),
            (TOKEN, "scope pop"),
            (practice_token(NAME, 1), "The token has expired"),
            (practice_token(NAME, 32_503_679_999), "exp 2999-12-31"),
            (practice_token(NAME, 99_999_999_999), "scope pop"),
            ("opaque-token", "only its issuer can read it"),
            ("bad token", "no token may hold"),
        ],
        lambda *row: run(go(*row)),
    )


def test_alone_it_ranks_and_sends_capa_once() -> None:
    async def go(script: dict[str, bytes | None] | None, first: str, others: list[str]) -> None:
        stage = Stage(place=LOCAL, script=script) if script is not None else Stage()
        await stage.begin()
        shown = flat(await stage.run(":auth"))
        assert "1 " + first in shown
        for other in others:
            assert other in shown, shown
        sent = bytes(stage.wire.sent)
        assert sent == b"CAPA\r\n"
        await stage.run(":auth")
        assert stage.wire.sent == sent or script is not None

    no_list = "not known: there is no CAPA list"
    each(
        [
            (None, "APOP", ["PLAIN the secret would be sent in clear text: send STLS first"]),
            (
                {"CAPA": LISTED},
                "SCRAM-SHA-256 ",
                ["- XOAUTH2 only under TLS", "- APOP the greeting holds no timestamp"],
            ),
            ({"CAPA": b"-ERR no\r\n"}, "USER the secret would be sent in clear text", [f"- PLAIN {no_list}"]),
            ({"CAPA": b"+OK\r\nSASL NTLM \x1b[31m\r\n.\r\n"}, "", ["- NTLM the server has it, PopShell has not"]),
        ],
        lambda *row: run(go(*row)),
    )


def test_after_login_and_stls_a_list_from_before_is_said_to_be_old_and_capa_shows_the_difference() -> None:
    """Nothing is sent for it; `:auth` alone asks again, where there was a list and the login can be trusted."""
    lists = [b"+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n", b"+OK\r\nSASL PLAIN\r\nTOP\r\n.\r\n"]

    async def go(language: str, lines: list[str], sent: list[str], old: bool, differs: bool) -> None:
        script = {"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "STLS": b"+OK\r\n", "AUTH": b"+OK\r\n"}
        stage = Stage(place=LOCAL, script=script, options=Options(language), screen=FakeScreen(columns=400))
        stage.screen.answers = ["secret"] * 3
        await stage.begin()
        answer, left = stage.wire.write, list(lists)

        def write(data: bytes) -> None:
            stage.wire.answers["CAPA"] = left.pop(0) if data == b"CAPA\r\n" else None
            answer(data)

        stage.wire.write = write
        await stage.run(*lines)
        words = CATALOG.words(language)
        assert stage.wire.heard == sent
        noted = [note.text for _, notes in stage.screen.records for note in notes]
        difference = words("capa.both", added="TOP", gone="USER")
        for text, wanted in ((words("capa.outdated"), old), (difference, differs)):
            assert (text.replace("`", "") in stage.text) == (text in noted) == wanted, stage.text

    login = ["USER u", "PASS x"]
    each(
        [
            (language, *row)
            for language in ("en", "zh-Hant")
            for row in (
                (["CAPA", *login], ["CAPA", *login], True, False),
                (["CAPA", *login, "CAPA"], ["CAPA", *login, "CAPA"], True, True),
                (["CAPA", "STLS", "CAPA"], ["CAPA", "STLS", "CAPA"], False, True),  # STLS' own note
                ([*login, "CAPA"], [*login, "CAPA"], False, False),
                ([":auth PLAIN u"], ["CAPA", "AUTH PLAIN AHUAc2VjcmV0", "CAPA"], True, True),
                (["CAPA", ":auth USER u"], ["CAPA", "USER u", "PASS secret", "CAPA"], True, True),
                ([":auth USER u"], ["USER u", "PASS secret"], False, False),
                ([":auth SCRAM-SHA-1 u"], ["CAPA", "AUTH SCRAM-SHA-1"], True, False),  # `+OK` without its proof
            )
        ],
        lambda *row: run(go(*row)),
    )


def test_a_client_s_certificate_is_the_best_way_where_there_is_one() -> None:
    async def go(certificate: bool, said: str) -> None:
        stage = Stage(place=LOCAL._replace(certificate=certificate), script={"CAPA": LISTED, "STLS": b"+OK\r\n"})
        await stage.begin("STLS")
        assert said in flat(await stage.run(":auth"))

    each(
        [(True, " 1 EXTERNAL the client's certificate proves"), (False, " - EXTERNAL the shell has shown no client")],
        lambda *row: run(go(*row)),
    )


def test_nothing_is_sent_where_something_is_missing() -> None:
    async def go(line: str, answers: list[str | None], said: str) -> None:
        stage = Stage(place=LOCAL, script={"CAPA": LISTED})
        stage.screen.answers = list(answers)
        await stage.begin(line)
        assert said in flat(stage.text), stage.text
        assert not stage.wire.sent

    each(
        [
            (":auth NTLM learner", [], "does not know this mechanism"),
            (":auth PLAIN learner secret", ["x"], "Usage: :auth"),
            (":auth PLAIN", [], "Usage: :auth"),
            (":auth PLAIN AGxlYXJuZXIAc2VjcmV0", ["x"], "Usage: :auth"),
            (":auth PLAIN learner", [None], "Not sent"),
            (":auth PLAIN learner", [""], "Not sent"),
            (":auth PLAIN", ["learner", None], "Not sent"),
        ],
        lambda *row: run(go(*row)),
    )


def test_it_works_before_login_alone() -> None:
    async def go(before: list[str], said: str) -> None:
        stage = Stage()
        await stage.begin(*before)
        sent = bytes(stage.wire.sent)
        stage.screen.answers = ["secret"]
        assert said in flat(await stage.run(":auth PLAIN learner"))
        assert stage.wire.sent == sent

    each(
        [
            (["USER learner", "PASS secret"], "You are in TRANSACTION"),
            (["AUTH PLAIN"], "not in the middle of AUTH"),
            ([":drop"], "There is no connection"),
        ],
        lambda *row: run(go(*row)),
    )


def test_clear_text_is_asked_about_and_a_proof_is_not() -> None:
    async def go(name: str, asked: bool) -> None:
        stage = Stage(place=REMOTE, script={"CAPA": LISTED, "AUTH": b"-ERR no\r\n"})
        stage.greeting = b"+OK <1@a>\r\n"
        stage.screen.answers = ["secret", "no"]
        await stage.begin(f":auth {name} learner")
        assert any("clear text" in question for question in stage.screen.asked) == asked
        assert any(line.startswith(("AUTH", "PASS", "APOP")) for line in stage.wire.heard) != asked

    each(
        [
            ("PLAIN", True),
            ("LOGIN", True),
            ("XOAUTH2", True),
            ("SCRAM-SHA-1", False),
            ("CRAM-MD5", False),
            ("APOP", False),
        ],
        lambda *row: run(go(*row)),
    )


def test_without_a_timestamp_no_password_is_asked_for() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script={})
        stage.screen.answers = ["secret"]
        await stage.begin()
        assert "no timestamp" in await stage.run(":auth APOP mei")
        assert (stage.screen.asked, stage.wire.heard) == ([], [])

    run(go())


def test_the_form_of_the_first_message_and_why() -> None:
    async def go(line: str, script: dict[str, bytes | None], greeting: bytes, sent: str, said: str) -> None:
        stage = Stage(place=LOCAL, script={"AUTH": b"-ERR no\r\n", **script}, greeting=greeting)
        stage.screen.answers = ["x" * 300 if "long" in said else "secret"]
        await stage.begin(line)
        assert re.fullmatch(sent, stage.wire.heard[-1]), stage.wire.heard
        assert said in flat(stage.text), stage.text

    plain, microsoft = b"+OK ready\r\n", b"+OK The Microsoft Exchange POP3 service is ready.\r\n"
    each(
        [
            (":auth PLAIN u", {"CAPA": LISTED}, plain, "AUTH PLAIN [A-Za-z0-9+/=]+", "as its initial response"),
            (":auth PLAIN u", {"CAPA": LISTED}, plain, "AUTH PLAIN", "would be longer than 255 octets"),
            (":auth PLAIN u", {"CAPA": b"-ERR\r\n"}, plain, "AUTH PLAIN", "CAPA does not list the mechanism"),
            (":auth XOAUTH2 u", {"CAPA": LISTED}, microsoft, "AUTH XOAUTH2", "Microsoft's servers"),
            (":auth CRAM-MD5 u", {"CAPA": LISTED}, plain, "AUTH CRAM-MD5", "The server speaks first"),
        ],
        lambda *row: run(go(*row)),
    )


def line(text: str) -> bytes:
    return b"+ " + base64.b64encode(text.encode()) + b"\r\n"


def test_what_a_server_does_wrong_is_named_and_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it one line goes out, `*`, and nothing else."""
    monkeypatch.setattr(mechanisms, "_new_nonce", lambda: "abc")

    async def go(answers: list[bytes], said: str, last: str) -> None:
        stage = Stage(place=LOCAL, script={"CAPA": LISTED, "*": b"-ERR cancelled\r\n"})
        stage.screen.answers = [SECRET]
        await stage.begin()
        left = list(answers)
        answer = stage.wire.write

        def write(data: bytes) -> None:
            if left and data not in (b"CAPA\r\n", b"*\r\n"):
                stage.wire.sent += data
                asyncio.get_running_loop().call_soon(stage.wire.say, left.pop(0))
            else:
                answer(data)

        stage.wire.write = write
        shown = flat(await stage.run(":auth SCRAM-SHA-256 learner"))
        assert said in shown, shown
        assert stage.wire.heard[-1] == last or not last, stage.wire.heard
        assert sum(one.startswith("AUTH") for one in stage.wire.heard) == 1
        assert stage.shell.tally.exit_code() == 3
        assert leaks(shown, (SECRET,)) == []

    good = line("r=abcdef,s=AAAA,i=4096")
    each(
        [
            ([b"+ ???\r\n"], "is no base64", "*"),
            ([line("hello")], "is no message of this mechanism", "*"),
            ([line("r=xyz,s=AAAA,i=4096")], "nonce does not begin with ours", "*"),
            ([line("r=abc,s=AAAA,i=4096")], "nonce does not begin with ours", "*"),
            ([line("r=abcdef,s=AAAA,i=999999999")], "more than 2000000 iterations", "*"),
            ([line("m=x,r=abcdef,s=AAAA,i=4096")], "demands an extension", "*"),
            ([good, line("e=other-error")], "The server gives a reason: other-error", "*"),
            ([good, line(f"e={SECRET}")], "The server gives a reason: ••••", "*"),
            ([good, line("v=AAAA")], "signature is wrong", "*"),
            ([good, b"+OK\r\n"], "before its proof", ""),
            ([line(SECRET)], "is no message of this mechanism", "*"),
            ([line("r=abcdef,r=abcdef,s=AAAA,i=4096")], "is no message of this mechanism", "*"),
            ([line("r=abcdef,s=AAAA,i=4096,i=1")], "is no message of this mechanism", "*"),
            ([line("r=abcdef,s=AAAA,i=4096,m=x")], "demands an extension", "*"),
            ([line("r=abcdef,s=AAAA,i=0")], "asks for 0 iterations", "*"),
            ([line("e=unknown-user")], "The server gives a reason: unknown-user", "*"),
            ([line("r=abcdef,s=AAAA,i=-4096")], "is no message of this mechanism", "*"),
            ([line("r=abcdef,s=AAAA,i=many")], "is no message of this mechanism", "*"),
            ([line("r=abcdef,s=AAAA,i=" + "9" * 4000)], "more than 2000000 iterations", "*"),
            ([line("r=abcdef,s=A,i=4096")], "is no message of this mechanism", "*"),
            ([line("r=abcdef,s=?,i=4096")], "is no message of this mechanism", "*"),
            ([line("r=abcdef,i=4096")], "is no message of this mechanism", "*"),
            ([line("")], "is no message of this mechanism", "*"),
            ([b"+ " + base64.b64encode(b"r=abc\xff\xfe,s=AAAA,i=4096") + b"\r\n"], "is no message of this", "*"),
            ([b"+ \xff\xfe\r\n"], "is no base64", "*"),
            ([good, line("v=AAAA,m=x")], "demands an extension", "*"),
            ([good, line("v=")], "is no message of this mechanism", "*"),
            ([good, line("n=AAAA")], "is no message of this mechanism", "*"),
            ([good, line("e=\x1b]0;x\x07")], "The server gives a reason: \\x1b]0;x\\x07", "*"),
            ([b"+OK\r\n"], "before its proof", ""),
            ([b"+ " + b"A" * 1_000_000 + b"\r\n"], "more than 8 KiB", ""),
        ],
        lambda *row: run(go(*row)),
    )


def test_a_server_that_goes_on_asking_after_the_asterisk_is_not_answered_for_ever() -> None:
    async def go(name: str, language: str) -> None:
        script: dict[str, bytes | None] = {"CAPA": LISTED, "*": line("more"), "AUTH": line("?")}
        stage = Stage(place=LOCAL, script=script, options=Options(language))
        stage.screen.answers = [SECRET]
        await stage.begin(f":auth {name} learner")
        assert stage.wire.heard[-1] == "*"
        assert stage.wire.heard.count("*") == 1
        assert ":drop" in stage.text
        assert stage.shell.session is not None
        assert stage.shell.session.connection.challenged

    each(
        [(name, language) for name in ("SCRAM-SHA-1", "PLAIN") for language in ("en", "zh-Hant")],
        lambda *row: run(go(*row)),
    )


def test_a_server_that_repeats_the_secret_shows_it_nowhere(tmp_path: Path) -> None:
    """In its reply, in a challenge, in base64: though the line itself held a digest only."""

    async def go(name: str, answer: bytes) -> None:
        stage = Stage(place=LOCAL, script={"CAPA": LISTED, "*": b"-ERR\r\n", "AUTH": answer, "APOP": answer})
        stage.greeting = b"+OK <1@a>\r\n"
        stage.screen.answers = [SECRET]
        path = tmp_path / f"{name}-{answer.hex()}"
        await stage.begin(f":auth {name} learner", ":raw", ":ladder", f":save {path}")
        saved = path.read_text()
        records = json.dumps([exchange.to_json() for exchange, _ in stage.screen.records])
        for out in (stage.text, saved, records):
            assert leaks(out, (SECRET,)) == []

    secret, hidden = SECRET.encode(), base64.b64encode(f"you said {SECRET}!".encode())
    each(
        [
            (name, answer)
            for name in ("APOP", "CRAM-MD5", "SCRAM-SHA-1", "PLAIN")
            for answer in (b"-ERR no " + secret + b"\r\n", b"-ERR " + hidden + b"\r\n", b"+ " + hidden + b"\r\n")
        ],
        lambda *row: run(go(*row)),
    )


def test_what_is_typed_is_stored_without_a_secret() -> None:
    def check(text: str, shown: str, stored: bool) -> None:
        rows = list(typed_rows(text, Context(State.AUTHORIZATION), False, parse))
        assert masked_rows(rows) == shown
        assert fit_for_history(rows) == stored

    message = base64.b64encode(b"\0learner\0secret").decode()
    each(
        [
            (":auth", ":auth", True),
            (":auth PLAIN", ":auth PLAIN", True),
            (":auth scram-sha-1 learner", ":auth scram-sha-1 learner", True),
            (":auth APOP learner", ":auth APOP learner", True),
            (":auth PLAIN learner secret", ":auth PLAIN •••• ••••", False),
            (f":auth PLAIN {message}", ":auth PLAIN ••••", False),
            (":auth learner secret", ":auth learner ••••", False),
        ],
        check,
    )


def test_the_practice_server_serves_what_it_is_told() -> None:
    def check(names: str, script: str, code: int, said: str) -> None:
        options = [word for some in names.split("|") for word in ("--mechanisms", some)]  # given twice, they add up
        done = subprocess.run(
            [sys.executable, "-m", "popshell", "--plain", "--lang", "en", *options],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert said in flat(done.stdout + done.stderr)
        assert "hunter2" not in done.stdout + done.stderr

    each(
        [
            ("scram-sha-256|PLAIN,LOGIN", ":auth SCRAM-SHA-256 learner\nsecret\nSTAT\nQUIT\n", 0, "the server knows"),
            ("LOGIN", ":auth LOGIN learner\nhunter2\nQUIT\n", 1, "one try"),
            ("PLAIN NTLM", "", 2, "--mechanisms takes names from this list"),
            ("", ":auth PLAIN learner\nhunter2\nQUIT\n", 1, "the server does not list it in CAPA"),
        ],
        check,
    )
