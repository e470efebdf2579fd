"""`popshell watch`: mail programs through it, what it shows and records, secrets, and peers that mean no good."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import poplib
import random
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from interop.practice import STAMP, TlsWire, Wire, listening, mail_server, run, until
from interop.scripted import Act, playing
from stage import CATALOG
from support import SCHEMA, blob, pass_through, random_dialogue, whole
from terminal.driver import environment

from popshell.arguments import Arguments
from popshell.config import read_config
from popshell.net.address import Address, Destination, TlsMode, Way
from popshell.net.relay import Relay
from popshell.net.relaying import Ended, RelayListener, RelaySession
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import Credentials, Run, apop_digest
from popshell.ui.screen import PlainScreen
from popshell.ui.shell import Options
from popshell.watch import _View, _Watcher, watch

CANARY = "Grünspecht-77"
CURL = shutil.which("curl")


class Watching:
    """A watch under way: its ports, what it shows and what it records."""

    def __init__(self, screen: PlainScreen, folder: Path) -> None:
        self._screen = screen
        self._log = folder / "log.jsonl"
        self.ca = folder / "watch.pem"
        self.clear, self.implicit = (int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)(?=\D)", self.text)[-2:])

    @property
    def text(self) -> str:
        assert isinstance(self._screen.out, io.StringIO)
        return self._screen.out.getvalue()

    @property
    def raw(self) -> str:
        return self._log.read_text()

    @property
    def records(self) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self.raw.splitlines()]
        for row in rows:
            SCHEMA.validate(row)
        return rows

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


@asynccontextmanager
async def watching(
    port: int, folder: Path, tls: TlsMode = TlsMode.NONE, ca: str = "", language: str = "en", **given: Any
) -> AsyncIterator[Watching]:
    """Watch what passes to the server on `port`."""
    arguments = Arguments()
    arguments.command, arguments.tls_port = "watch", 0
    arguments.ca_out, arguments.log = folder / "watch.pem", str(folder / "log.jsonl")
    if ca:
        arguments.ca = folder / "server.pem"
        arguments.ca.write_text(ca)
    for name, value in given.items():
        setattr(arguments, name, value)
    screen = PlainScreen(io.StringIO())
    address = Address("localhost" if ca else "127.0.0.1", port, tls)
    config = read_config(None, {}).with_options({"notes": "full"}).in_language(language)
    destination = Destination(address, Way(arguments.ca), timeout=given.get("timeout"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("popshell.watch._screen", lambda arguments, config: screen)
        task = asyncio.create_task(watch(destination, arguments, config, CATALOG))
        await asyncio.sleep(0)
    try:
        await until(lambda: task.done() or (arguments.ca_out.exists() and "pem" in screen.out.getvalue()))
        if task.done():
            task.result()
        yield Watching(screen, folder)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def read_mail(port: int, how: TlsMode, context: ssl.SSLContext) -> dict[str, object]:
    """What a mail program does."""
    if how is TlsMode.IMPLICIT:
        client: poplib.POP3 = poplib.POP3_SSL("localhost", port, context=context, timeout=20)
    else:
        client = poplib.POP3("localhost", port, timeout=20)
    before = client.capa()
    if how is TlsMode.STLS:
        client.stls(context)
    client.user("learner")
    client.pass_("secret")
    found = {"capa": client.capa(), "list": client.list(), "mail": client.retr(3), "uidl": client.uidl()}
    client.dele(1)
    found |= {"stat": client.stat(), "quit": client.quit(), "offered": "STLS" in before}
    return found


# -- what passes -------------------------------------------------------------------------------------------------------


def test_a_mail_program_gets_what_it_would_get_without_it(tmp_path: Path) -> None:
    async def body(upstream: TlsMode) -> None:
        folder = tmp_path / upstream.value
        folder.mkdir()
        server = mail_server()
        async with listening(server, implicit_tls=upstream is TlsMode.IMPLICIT) as (listener, port):
            pem = listener.certificate_pem()
            (folder / "direct.pem").write_text(pem)
            trust = ssl.create_default_context(cafile=folder / "direct.pem")
            wanted = await asyncio.to_thread(read_mail, port, upstream, trust)
            async with watching(port, folder, upstream, "" if upstream is TlsMode.NONE else pem) as seen:
                for how in TlsMode:
                    server.settings.accounts.maildrops.clear()
                    place = seen.implicit if how is TlsMode.IMPLICIT else seen.clear
                    found = await asyncio.to_thread(read_mail, place, how, seen.context())
                    assert found["offered"] is (how is not TlsMode.IMPLICIT)
                    assert found | {"offered": 0} == wanted | {"offered": 0}, (upstream, how)
                await until(lambda: seen.text.count("[STATE: CLOSED]") == 3)
                ends = [row["how"] for row in seen.records if row["type"] == "connection" and row["how"]]
                assert len(ends) == 3
                assert set(ends) <= {"quit", "left"}, "after QUIT either may be the first"

    for upstream in TlsMode:
        run(body(upstream), 120)


@pytest.mark.skipif(CURL is None, reason="no curl")
def test_curl_through_the_command(tmp_path: Path) -> None:
    """The program as it is started: serve, watch, curl; both end by SIGTERM."""

    def start(*words: str) -> tuple[subprocess.Popen[bytes], list[int]]:
        command = [sys.executable, "-m", "popshell", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(tmp_path), cwd=tmp_path)
        assert process.stdout is not None
        rows = [process.stdout.readline().decode() for _ in range(3)]
        return process, [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", "".join(rows))]

    server, (_, secure) = start("serve", "--port", "0", "--tls-port", "0", "--ca-out", "server.pem")
    try:
        upstream = ("--tls", "implicit", "--ca", "server.pem", f"localhost:{secure}")
        watcher, (clear, implicit) = start("watch", "--tls-port", "0", "--ca-out", "w.pem", "--log", "w", *upstream)
        try:
            common = [str(CURL), "-sS", "--noproxy", "*", "--cacert", str(tmp_path / "w.pem"), "-u", "learner:secret"]
            for options in (
                [f"pop3://127.0.0.1:{clear}/1"],
                ["--ssl-reqd", f"pop3://127.0.0.1:{clear}/1"],
                [f"pop3s://127.0.0.1:{implicit}/1"],
            ):
                done = subprocess.run([*common, *options], capture_output=True, timeout=60)
                assert b"Subject: " in done.stdout, (options, done.stderr)
        finally:
            watcher.terminate()
            shown = watcher.communicate(timeout=60)[0].decode()
        assert watcher.returncode == 0
        assert shown.count("C: RETR 1") == 3
        assert "secret" not in shown + (tmp_path / "w").read_text()
    finally:
        server.terminate()
        server.communicate(timeout=60)


# -- what is shown and recorded ----------------------------------------------------------------------------------------


def test_what_is_its_own_is_marked(tmp_path: Path) -> None:
    faults = {"mechanisms": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")}
    marks = {
        "en": ("PopShell put into this list: SASL SCRAM-SHA-256 PLAIN, STLS", "This reply is PopShell's own", 3),
        "zh-Hant": ("PopShell 在這份清單加上了：SASL SCRAM-SHA-256 PLAIN、STLS", "這個回應是 PopShell 自己的", 3),
    }

    async def body(language: str) -> None:
        folder = tmp_path / language
        folder.mkdir()
        async with (
            listening(mail_server(faults=faults), implicit_tls=True) as (listener, port),
            watching(port, folder, TlsMode.IMPLICIT, listener.certificate_pem(), language) as seen,
        ):
            wire = await Wire.dial(seen.clear)
            await wire.upto()
            assert b"STLS" in await wire.ask("CAPA", b"\r\n.\r\n")
            assert (await wire.ask("AUTH SCRAM-SHA-256-PLUS cD10")).startswith(b"-ERR")
            assert (await wire.ask("STLS")).startswith(b"+OK")
            secure = TlsWire(wire, seen.context())
            await secure.shake_hands()
            capa = await secure.ask("CAPA", b"\r\n.\r\n")
            assert b"STLS" not in capa
            assert b"PLUS" not in capa
            assert (await secure.ask("STLS")).startswith(b"-ERR")
            for first in ("n,,n=learner,r=x", "y,,n=learner,r=x", "y,,n=learner,r=x"):
                reply = await secure.ask(f"AUTH SCRAM-SHA-256 {blob(first)}")
                if first.startswith("n"):
                    assert (reply[:2], (await secure.ask("*"))[:4]) == (b"+ ", b"-ERR")
                else:
                    assert reply.startswith(b"-ERR"), "a downgrade, for a server that has -PLUS (RFC 5802 §6)"
            assert (await secure.rest_after("QUIT")).startswith(b"+OK")
            await until(lambda: "[STATE: CLOSED]" in seen.text)
            put, own, times = marks[language]
            text = re.sub(r"\s+", " ", seen.text)
            assert put in text
            assert text.count(own) == times
            assert text.count("RFC 5802 §6") == 1, "said once"
            replies = {
                row["command"]["name"] + str(row["own"]["reply"]): row["own"] for row in seen.records if "own" in row
            }
            assert sorted(replies) == ["AUTHTrue", "CAPAFalse", "STLSTrue"]
            assert replies["CAPAFalse"]["put"] == ["SASL SCRAM-SHA-256 PLAIN"]

    for language in marks:
        run(body(language))


def test_states_times_and_who_closed(tmp_path: Path) -> None:
    script = (b"+OK ready\r\n", b"+OK\r\n", b"+OK\r\n", (b"+OK 3 lines\r\na\r\n", Act.CLOSE))

    async def body() -> None:
        async with playing(script) as port, watching(port, tmp_path) as seen:
            wire = await Wire.dial(seen.clear)
            await wire.upto()
            for line in ("USER a", "PASS b"):
                await wire.ask(line)
            assert await wire.rest_after("RETR 1") == b"+OK 3 lines\r\na\r\n", "a broken reply passes, too"
            await until(lambda: "[STATE: CLOSED]" in seen.text)
            text = re.sub(r"\s+", " ", seen.text)
            for wanted in (
                "Session 1, from 127.0.0.1:", "C: PASS ••••", "[STATE: TRANSACTION]", " ms, 5 octets", "S: a",
                "The server closed the connection.",
            ):  # fmt: skip
                assert wanted in text
            last = seen.records[-1]
            assert (last["event"], last["by"], last["how"]) == ("closed", "server", "lost")

            other = await Wire.dial(seen.clear)
            await other.upto()
            await other.send(b"STAT\r\n")
            await until(lambda: seen.text.count("C: STAT"))
            other.reset()
            await until(lambda: seen.text.count("[STATE: CLOSED]") == 2)
            assert seen.records[-1]["by"] == "client"
            assert {row["connection"] for row in seen.records} == {1, 2}

    run(body())


def test_a_listing_in_bare_lf_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the reply is due, and at its end, whoever closes. A program that takes it for whole has gone on by then."""
    monkeypatch.setattr("popshell.watch.CLOCK_LINES", (0, 1))
    script = (*[b"+OK\r\n"] * 3, b"+OK\r\n1 120\n.\n", b"+OK\r\n", (b"+OK bye\r\n", Act.CLOSE))

    async def body(language: str, how: str) -> None:
        folder = tmp_path / how
        folder.mkdir()
        wanted = CATALOG.words(language)("shell.waiting-bare-lf", command="LIST")

        def named() -> bool:
            return re.sub(r"\s", "", wanted) in re.sub(r"\s", "", seen.text)

        async with playing(script) as port, watching(port, folder, language=language) as seen:
            wire = await Wire.dial(seen.clear)
            await wire.upto()
            for line in ("USER a", "PASS b"):
                await wire.ask(line)
            await wire.ask("LIST", b"1 120\n.\n")
            if how == "waits":
                await until(named)
                return
            await wire.ask("NOOP")
            assert not named()
            if how == "leaves":
                wire.reset()
            else:
                await wire.rest_after("QUIT")
            await until(lambda: "CLOSED]" in seen.text)
            assert named(), seen.text

    for language, how in (("en", "waits"), ("zh-Hant", "leaves"), ("en", "quits")):
        run(body(language, how))


def test_what_cannot_be_read_still_passes_and_nobody_is_said_to_have_closed(tmp_path: Path) -> None:
    async def body() -> None:
        async with playing((b"+OK\r\n", b"+OK\n", b"+OK still here\r\n")) as port, watching(port, tmp_path) as seen:
            wire = await Wire.dial(seen.clear)
            await wire.upto()
            await wire.ask("NOOP", b"\n")
            assert await wire.ask("NOOP") == b"+OK still here\r\n"
            assert "ends with a bare LF" in seen.text
            assert "nothing can be read as POP3" in seen.text
            assert "closed" not in seen.text

    run(body())


def test_a_server_that_is_not_reached(tmp_path: Path) -> None:
    async def check(name: str, words: str, event: str, tls: TlsMode, how: dict[str, Any]) -> None:
        folder = tmp_path / name
        folder.mkdir()
        async with listening(mail_server(), implicit_tls=tls is TlsMode.IMPLICIT) as (listener, port):
            if name == "refused":
                await listener.close()
            async with watching(port, folder, tls, **how) as seen:
                wire = await Wire.dial(seen.clear)
                assert (await wire.rest()).startswith(b"-ERR [SYS/TEMP] ")
                await until(lambda: "closed the connection" in seen.text)
                text = re.sub(r"\s+", " ", seen.text)
                assert words in text
                assert "This greeting is PopShell's own" in text
                assert any(row["event"] == event for row in seen.records if row["type"] == "connection")

    rows: list[tuple[Any, ...]] = [
        ("refused", "Nothing listens at", "failed", TlsMode.NONE, {}),
        ("unknown", "no CA that is trusted here", "certificate-refused", TlsMode.IMPLICIT, {}),
        ("stls-unknown", "no CA that is trusted here", "certificate-refused", TlsMode.STLS, {}),
    ]
    for row in rows:
        run(check(*row))
    scripts: dict[str, tuple[Any, ...]] = {
        "no stls": (b"+OK\r\n", b"-ERR no\r\n"),
        "closes": (b"+OK\r\n", Act.CLOSE),
        "greets badly": (b"* OK IMAP\r\n", b"+OK\r\n"),
        "injects": (b"+OK\r\n", b"+OK\r\n+OK injected\r\n"),
        "floods": (b"x" * 20_000,),
    }

    async def stls(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        async with playing(scripts[name]) as port, watching(port, folder, TlsMode.STLS, timeout=5.0) as seen:
            wire = await Wire.dial(seen.clear)
            got = await wire.rest()
            assert got.startswith(b"-ERR [SYS/TEMP]"), got
            assert b"injected" not in got

    for name in scripts:
        run(stls(name))


# -- secrets -----------------------------------------------------------------------------------------------------------


async def log_in(wire: Wire, mechanism: str) -> list[str]:
    """Log in; gives what must be shown nowhere."""
    if mechanism in ("USER", "USER ahead", "APOP"):
        lines = {"USER": ["USER mei", f"PASS {CANARY}"], "APOP": [f"APOP mei {apop_digest(STAMP, CANARY)}"]}
        if mechanism == "USER ahead":
            await wire.send(f"USER mei\r\nPASS {CANARY}\r\n".encode())
            assert [(await wire.upto())[:3] for _ in range(2)] == [b"+OK"] * 2
            return []
        for line in lines[mechanism]:
            assert (await wire.ask(line)).startswith(b"+OK"), line
        return [apop_digest(STAMP, CANARY)]
    side = Run(lambda first: MECHANISMS[mechanism].client(Credentials("mei", CANARY, nonce="n0nce"), first))
    secrets: list[str] = []
    reply = (await wire.ask(f"AUTH {mechanism}")).decode().rstrip("\r\n")
    while reply.startswith("+ "):
        message = base64.b64decode(reply[2:]) or None
        answer = base64.b64encode(side.step(message).reply or b"").decode()
        secrets.append(answer)
        reply = (await wire.ask(answer)).decode().rstrip("\r\n")
    assert reply.startswith("+OK"), (mechanism, reply)
    return [secret for secret in secrets if len(secret) > 4]


def test_no_secret_is_shown_or_recorded(tmp_path: Path) -> None:
    names = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")
    server = mail_server(accounts={"mei": CANARY}, faults={"mechanisms": names, "iterations": 16})

    async def body() -> None:
        async with listening(server) as (_, port), watching(port, tmp_path) as seen:
            secrets = [CANARY, base64.b64encode(CANARY.encode()).decode()]
            for mechanism in ("USER", "USER ahead", "APOP", *names):
                wire = await Wire.dial(seen.clear)
                await wire.upto()
                secrets += await log_in(wire, mechanism)
                assert (await wire.rest_after("QUIT")).startswith(b"+OK")
            await until(lambda: seen.text.count("[STATE: CLOSED]") == 3 + len(names))
            assert seen.text.count("[STATE: TRANSACTION]") == 3 + len(names), "each has logged in"
            shown = seen.text + seen.raw + json.dumps(seen.records, ensure_ascii=False)
            assert [secret for secret in secrets if secret in shown] == []

    run(body())


# -- peers that mean no good -------------------------------------------------------------------------------------------


@asynccontextmanager
async def relaying(port: int) -> AsyncIterator[tuple[int, list[RelaySession]]]:
    """A RelayListener alone, without a screen."""
    sessions: list[RelaySession] = []

    def heard(session: RelaySession, event: object) -> None:
        if session not in sessions:
            sessions.append(session)

    target = Destination(Address("127.0.0.1", port, TlsMode.NONE))
    listener = RelayListener(target, heard, CATALOG.replies("en"))
    _, own = await listener.start()
    try:
        yield own, sessions
    finally:
        await listener.close()
        assert not listener.sessions


def test_neither_side_can_fill_the_memory(tmp_path: Path) -> None:
    """A flood of the server waits for a client that does not read, and the other way round."""

    async def body() -> None:
        given = 0
        read = asyncio.Event()

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal given
            writer.write(b"+OK\r\n")
            with suppress(OSError):
                while True:
                    writer.write(b"x" * 65536)
                    given += 65536
                    await writer.drain()
            read.set()

        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        async with relaying(server.sockets[0].getsockname()[1]) as (port, sessions):
            wire = await Wire.dial(port, receive_buffer=4096)
            before = -1
            while before != given:
                before = given
                await asyncio.sleep(0.3)
            assert given < 40 * 1024 * 1024, "the system's buffers"
            assert sessions[0].backlog < 1024 * 1024
            wire.close()
            await read.wait()
        server.close()

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"+OK\r\n")
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await read.wait()
            writer.close()

        read.clear()
        server = await asyncio.start_server(deaf, "127.0.0.1", 0)
        async with relaying(server.sockets[0].getsockname()[1]) as (port, sessions):
            wire = await Wire.dial(port)
            await wire.upto()
            sent = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while True:
                        await wire.send(b"y" * 65536)
                        sent += 65536
            assert sent < 40 * 1024 * 1024
            assert len(sessions[0].to_server) + len(sessions[0]._from_client) < 1024 * 1024
            read.set()
            wire.close()
        server.close()

    run(body(), 60)


def test_peers_that_end_in_every_way(tmp_path: Path) -> None:
    """No exception, and both sides are closed; `run` fails for what asyncio would only log."""

    async def client_ends(how: str, line: bytes) -> None:
        async with listening(mail_server()) as (listener, server), relaying(server) as (port, _):
            wire = await Wire.dial(port)
            if how != "at once":
                await wire.upto()
                await wire.send(line)
            (wire.reset if how == "reset" else wire.close)()
            await until(lambda: listener.connections == 0)

    async def server_ends(script: tuple[Any, ...]) -> None:
        async with playing(script) as server, relaying(server) as (port, _):
            wire = await Wire.dial(port)
            await wire.send(b"CAPA\r\nSTLS\r\n")
            await wire.rest()

    for how in ("at once", "close", "reset"):
        for line in (
            b"",
            b"CAPA\r\n",
            b"RETR 1\r\nQUIT\r\n",
            b"PASS x",
            b"STLS\r\n",
            b"\x16\x03\x01\x02",
            b"\xff\n\r\0",
        ):
            run(client_ends(how, line))
    for script in (
        (Act.CLOSE,), (Act.RESET,), ((b"+OK\r\n", Act.CLOSE),), (b"+OK\r\n", (b"+OK\r\nX", Act.CLOSE)),
        (b"+OK\r\n", (b"+OK\r\n\xff\0", Act.RESET)), ((b"HTTP/1.1 400\r\n\r\n", Act.CLOSE),),
        (b"+OK\r\n", (b"\x16\x03\x01", Act.CLOSE)),
    ):  # fmt: skip
        run(server_ends(script))


def test_a_client_that_ends_its_side_gets_its_replies(tmp_path: Path) -> None:
    async def body() -> None:
        async with listening(mail_server()) as (listener, server), relaying(server) as (port, sessions):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.send(b"USER learner\r\nPASS secret\r\nRETR 1\r\nQUIT\r\n")
            wire.half_close()
            assert b"Subject: " in (got := await wire.rest())
            assert got.endswith(b"+OK bye, 0 messages removed\r\n")
            await until(lambda: listener.connections == 0)
        async with playing((b"+OK\r\n",)) as server, relaying(server) as (port, sessions):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.send(b"STAT\r\n")
            wire.half_close()
            await until(lambda: sessions and sessions[0].deadline() < float("inf"))
            now = sessions[0].clock() + 60
            sessions[0].clock = lambda: now
            sessions[0]._owner.check_timers()
            assert await wire.rest() == b"", "a server that does not answer is not waited for"

    run(body())


def test_more_connections_than_it_takes(tmp_path: Path) -> None:
    async def body() -> None:
        async with listening(mail_server()) as (_, server), relaying(server) as (port, _):
            wires = [await Wire.dial(port) for _ in range(32)]
            for wire in wires:
                await wire.upto()
            extra = await Wire.dial(port)
            assert (await extra.rest()).startswith(b"-ERR [SYS/TEMP]")

    run(body())


class Session(SimpleNamespace):
    """What a watcher asks of a RelaySession."""

    __hash__ = object.__hash__


def test_whatever_passes_can_be_shown(tmp_path: Path) -> None:
    """Dialogues made by chance, on the screen and in the log: no exception, no escape, and no fault of ours."""
    log, out, stopped = io.StringIO(), io.StringIO(), []

    def new_view() -> _View:
        return _View(CATALOG, PlainScreen(out), lambda *_: None, Options())  # type: ignore[arg-type]

    watcher = _Watcher(new_view, Destination(), log, 2, stopped.append)  # type: ignore[arg-type]
    for number in range(150):
        session = Session(number=number + 1, client="127.0.0.1:1")
        relay = Relay(partial(watcher.heard, session), CATALOG.replies("en"))
        pass_through(relay, random_dialogue(random.Random(f"shown/{number}")), whole)
        watcher.heard(session, Ended(by_server=number % 2 == 0))  # type: ignore[arg-type]
    fault = CATALOG.words("en")("shell.fault", what="|").partition("|")[0]
    assert not stopped
    assert fault not in out.getvalue()
    assert not set(out.getvalue()) & {"\x1b", "\x00", "\r", "\x16"}
    for line in log.getvalue().splitlines():
        SCHEMA.validate(json.loads(line))
