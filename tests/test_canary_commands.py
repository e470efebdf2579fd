"""Secrets in the subcommands: every way in of `check`, `run`, `ping` and `watch` by all that they write.

The server repeats what it was sent, in clear and in base64, wherever a reply has room for it.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from interop.practice import Wire, run
from support import blob, each, leaks, plain
from test_canary import CANARY, CHALLENGE, FORMS, HMAC, STAMP, WAYS_IN
from test_check import fake
from test_watch import watching

from popshell import check, cli
from popshell import run as scripts
from popshell.protocol.sasl import apop_digest
from popshell.server.handlers import HANDLERS
from popshell.visible import background_faults

MECHANISMS = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2"
MANY = {"CAPA", "LIST", "UIDL", "RETR", "TOP"}
Printed = pytest.CaptureFixture[str]


def repeats(line: socket.socket, also: str = "", takes: tuple[str, ...] = ("USER", "NOOP", "QUIT", *MANY)) -> None:
    """A server that repeats the last lines in each reply, `+OK` to what it takes; `AUTH NAME` gets a challenge first.

    `also` is what else it says, which it was not sent in this session. Without a word in `takes` it takes everything.
    """
    line.sendall(f"+OK {STAMP}\r\n".encode())
    said: list[str] = []
    asks = 0
    for raw in line.makefile("rb"):
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        word = text.upper().split(" ")[0]
        said = [*said[-3:], text]
        all_of_it = " ".join((*said, blob("x" + " ".join(said)), also))
        if word == "AUTH" and text.count(" ") == 1:
            asks = 2 if text.endswith("LOGIN") else 1
        if asks:
            asks -= 1
            line.sendall(f"+ {blob(CHALLENGE)}\r\n".encode())
            continue
        more = f"SASL {MECHANISMS}\r\nUSER\r\n" if word == "CAPA" else ""
        many = f"{more}{all_of_it}\r\n.\r\n" if word in MANY and text.count(" ") <= (word in ("RETR", "TOP")) else ""
        line.sendall(f"{'+OK' if not takes or word in takes else '-ERR'} {all_of_it}\r\n{many}".encode())
        if word == "QUIT":
            return


class Typed(io.TextIOWrapper):
    """Standard input that may be a terminal."""

    def __init__(self, text: str, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(text.encode()))
        self.isatty = lambda: terminal  # type: ignore[method-assign]


#: How `check` and `run` come by an account: what stands on the command line. The rest is put where it is looked for.
ACCOUNTS: dict[str, tuple[str, ...]] = {
    "standard input": (),
    "standard input, the password alone": ("--user", "mei"),
    "--password-command": ("--user", "mei", "--password-command", "cat secret"),
    "--password-fd": ("--user", "mei", "--password-fd", "{fd}"),
    "config.toml": ("--user", "mei"),
    "keyring": ("--user", "mei"),
    "netrc": ("--user", "mei"),
    "prompt": ("--user", "mei"),
}
#: How a script uses it, and what it holds itself.
SCRIPTS = {
    "{secret}": "C: USER {name}\nS: +OK*\nC: PASS {secret}\nS: -ERR*\n",
    "mask": "C: USER mei\nS: +OK*\nC: PASS ••••\nS: +OK no\n",
    "{digest}": "C: APOP {name} {digest}\nS: +OK no\n",
    "{plain}": "C: AUTH PLAIN {plain}\nS: +OK no\n",
    "an answer": "C: AUTH PLAIN\nS: +*\nC: ••••\nS: +OK no\n",
    "@secret": "@secret it\nC: USER mei\nS: +OK*\nC: PASS {it}\nS: +OK no\n",
    "later": "C: USER mei\nS: +OK*\nC: PASS {secret}\nS: +OK*\nC: NOOP\nS: -ERR {captured} no\n",
    "elsewhere": "C: USER mei\nS: +OK*\nC: PASS {secret}\nS: +OK*\nC: LIST {secret} {digest} {plain}\nS: -ERR no\n",
    "in it": f"C: USER mei\nS: +OK*\nC: PASS {CANARY}\nS: -ERR {CANARY}\n",
    "in it, PLAIN": f"C: AUTH PLAIN {plain('mei', CANARY)}\nS: -ERR*\n",
    "in it, unlike": f"C: USER mei\nS: +OK*\nC: PAS {CANARY}\nS: -ERR*\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's, and a working directory with the secret in a file."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "POPSHELL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    with fake(partial(repeats, takes=(), also=f"{CANARY} {blob('x' + CANARY)} {plain('mei', CANARY)}")) as port:
        yield f"127.0.0.1:{port}"


def come_by(way: str, place: str, patch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Put the account where this way looks for it; gives the place to connect to, and options."""
    lines = {"standard input": f"mei\n{CANARY}\n", "standard input, the password alone": f"{CANARY}\n"}
    patch.setattr(sys, "stdin", Typed(lines.get(way, ""), terminal=way == "prompt"))
    patch.setattr("getpass.getpass", lambda question: CANARY)
    patch.setattr("popshell.reach.client_context", lambda way: None)  # the system's store of CAs takes 60 ms to read
    held = SimpleNamespace(get_password=lambda *_: CANARY) if way == "keyring" else None
    patch.setitem(sys.modules, "keyring", held)
    host = place.partition(":")[0]
    netrc = Path("netrc")
    netrc.write_text(f"machine {host} login mei password {CANARY}\n" if way == "netrc" else "")
    netrc.chmod(0o600)
    patch.setenv("NETRC", "netrc")
    config = Path(".config/popshell/config.toml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'[connections.work]\nhost = "{place}"\ntls = "none"\npassword_command = "cat secret"\n')
    read, write = os.pipe()
    os.write(write, f"{CANARY}\n".encode())
    os.close(write)
    options = tuple(word.format(fd=read) for word in ACCOUNTS[way])
    return ("work" if way == "config.toml" else place, *options)


def fault(*_: object, **__: object) -> None:
    raise ValueError(CANARY, _, __)


def test_check_by_every_way_in_and_out(place: str, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    """Rows about logins are played once for each way in; that is written in every form, then comes a fault of ours."""
    write, read = check._write, check.read
    about = ("1939-7-pass", "1939-7-apop-right", "5034-4-right")

    def few(text: str) -> Any:
        found = read(text)
        return msgspec.structs.replace(found, row=[row for row in found.row if row.id.startswith(about)])

    monkeypatch.setattr(check, "read", few)

    def each_form(arguments: Any, *rest: Any) -> None:
        for form in ("", "json", "tap"):
            arguments.json, arguments.tap = form == "json", form == "tap"
            arguments.junit = f"report-{form}.xml"
            write(arguments, *rest)
        fault(arguments, *rest)

    monkeypatch.setattr(check, "_write", each_form)

    def go(way: str) -> None:
        where, *options = come_by(way, place, monkeypatch)
        options += ["--fetch", "--wrong-login", "--timeout", "0.3", "--lang", "en"]
        assert cli.run(["check", where, *options]) == cli.FAILED
        out, err = capsys.readouterr()
        assert "MISSED" in out
        assert "not ok" in out
        assert "after a login" in out or '"met"' in out
        assert "ValueError (" in err
        texts = {"out": out, "err": err} | {name.name: name.read_text("utf-8") for name in Path().glob("*.xml")}
        assert {name: found for name, text in texts.items() if (found := leaks(text, FORMS))} == {}

    each([(way,) for way in ACCOUNTS], go)


def test_run_by_every_way_in_and_out(place: str, capsys: Printed) -> None:
    """Each script fails, so that it is shown: in words, as JSON with JUnit's XML, and with a fault of ours."""

    def go(script: str, way: str) -> None:
        Path("script.pop").write_text(SCRIPTS[script])
        texts = {}
        for form in ("words", "--json", "fault") if script == "@secret" else ("words", "--json"):
            with pytest.MonkeyPatch.context() as patch:
                if form == "fault":
                    patch.setattr(scripts, "_text", fault)
                where, *options = come_by(way, place, patch)
                options += ["--json", "--junit", "report.xml"] if form == "--json" else []
                code = cli.run(["run", "script.pop", where, *options, "--lang", "en", "--timeout", "5"])
            texts[f"{form}, out"], texts[f"{form}, err"] = capsys.readouterr()
            assert code == (
                cli.FAILED if form == "fault" else 1 if script in ("later", "elsewhere", "in it, unlike") else 6
            ), texts
        texts["xml"] = Path("report.xml").read_text("utf-8")
        assert "ValueError (" in texts.get("fault, err", "ValueError (")
        assert {name: found for name, text in texts.items() if (found := leaks(text, FORMS))} == {}

    each([*product(SCRIPTS, ["standard input"]), *product(["@secret"], ACCOUNTS)], go)


def test_a_fault_below_the_event_loop_is_said_without_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """asyncio would log its traceback: of the practice server in `run`, and in the shell without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("popshell.server.mailserver.HANDLERS", {**HANDLERS, "NOOP": fault})
    Path("script.pop").write_text("C: USER learner\nS: +OK*\nC: PASS secret\nS: +OK*\nC: NOOP\nS: +OK*\n")

    def go(*argv: str) -> None:
        monkeypatch.setattr(sys, "stdin", Typed("USER learner\nPASS secret\nNOOP\n"))
        assert cli.run([*argv, "--lang", "en"])
        out, err = capsys.readouterr()
        assert err.count("That should not have happened: ValueError (test_canary_commands:") == 1
        assert "Traceback" not in out + err
        assert leaks(out + err, FORMS) == []

    each([("--plain",), ("--json",), ("run", "script.pop")], go)


def test_a_password_in_an_address_is_repeated_nowhere(place: str, capsys: Printed) -> None:
    Path("script.pop").write_text("C: NOOP\n")

    def go(*argv: str) -> None:
        assert cli.run([*argv, f"pop://mei:{CANARY}@{place}"]) == cli.USAGE
        out, err = capsys.readouterr()
        assert place in err or "pop://" in err
        assert leaks(out + err, FORMS) == []

    each(product(["check", "ping", "watch"], ["--json", "--timeout=5"]), go)
    each([("run", "script.pop"), ("run", "--json", "script.pop")], go)


def dialogues() -> Iterator[list[str]]:
    """What a mail program may send: the logins of the shell's matrix, and those of programs that compute."""
    for name, way in WAYS_IN.items():
        ends = any(line.startswith((":", "QUIT")) for line in way.lines)
        if not (ends or way.given or way.answers or name.endswith("refused")):
            yield list(way.lines)
    yield ["USER mei", f"PASS {CANARY}\r\nNOOP"]
    yield [f"APOP mei {apop_digest(STAMP, CANARY)}"]
    yield ["AUTH CRAM-MD5", blob(f"mei {HMAC}")]
    yield ["AUTH LOGIN", blob("mei"), blob(CANARY)]
    yield [f"AUTH XOAUTH2 {blob('user=mei' + chr(1) + f'auth=Bearer {CANARY}' + chr(1) * 2)}"]
    yield [f"AUTH OAUTHBEARER {blob('n,a=mei,' + chr(1) + f'auth=Bearer {CANARY}' + chr(1) * 2)}"]


def test_watch_by_every_login_and_way_out(tmp_path: Path, capsys: Printed) -> None:
    """What is shown and recorded of a mail program's session with a server that repeats all."""

    async def body(port: int, version: str) -> None:
        folder = tmp_path / version
        folder.mkdir()
        async with watching(port, folder, json=version) as seen:
            for lines in dialogues():
                wire = await Wire.dial(seen.clear)
                await wire.upto()
                for line in [*lines, "NOOP"]:
                    await wire.ask(line)
                await wire.rest_after("QUIT")
            assert seen.raw.count("QUIT") > 50
            text = "".join((seen.text, seen.raw, *capsys.readouterr()))
        found = leaks(text, FORMS)
        assert not found, text[max(text.find(found[0]) - 300, 0) :][:400]

    with fake(repeats) as port:
        each([("1",), ("2",)], lambda version: run(body(port, version)))


#: Where a fault of ours may come while a mail program logs in: what shows, what records, what relays.
FAULTS = (
    "ui.display.Display._sent",
    "ui.exports.JsonRecords.heard",
    "watch._Watcher._show",
    "net.relay.Relay._serve",
)


def test_a_fault_of_watch_is_said_without_its_values(tmp_path: Path, capsys: Printed) -> None:
    """On the screen, and octets pass; below the event loop if the relay fails. A later session is served as ever."""

    async def body(port: int, place: str) -> None:
        folder = tmp_path / place
        folder.mkdir()
        below: list[str] = []
        background_faults(below.append)
        asyncio.get_running_loop().set_exception_handler(None)
        async with watching(port, folder) as seen:
            wire = await Wire.dial(seen.clear)
            await wire.upto()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(f"popshell.{place}", fault)
                for line in ("USER mei", f"PASS {CANARY}", f"AUTH PLAIN {plain('mei', CANARY)}", "QUIT"):
                    await wire.send(f"{line}\r\n".encode())
                came = await wire.rest()
            assert place == "net.relay.Relay._serve" or CANARY.encode() in came
            later = await Wire.dial(seen.clear)
            await later.upto()
            await later.ask("NOOP")
            await later.rest_after("QUIT")
            text = "".join((seen.text, seen.raw, *below, *capsys.readouterr()))
        assert "ValueError (test_canary_commands:" in text
        assert "Traceback" not in text
        assert "C: NOOP" in text
        assert leaks(text, FORMS) == []

    with fake(repeats) as port:
        each([(place,) for place in FAULTS], lambda place: run(body(port, place), 5))
