"""Secrets from end to end: all ways in by all ways out, with a canary; and what must not be masked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import re
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from stage import CATALOG, LOCAL, REMOTE, FakeScreen, Stage, run
from support import blob, each, leaks, plain

from popshell.logs.report import explain_log
from popshell.passwords import Passwords
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.secrets import MASK
from popshell.session import Endpoint
from popshell.ui.completer import ShellHistory
from popshell.ui.display import log_to
from popshell.ui.events import ShellEvent
from popshell.ui.exports import JsonRecords
from popshell.ui.layout import PLAIN
from popshell.ui.prompt import Typing

CANARY = "C4n4ry-77"
STAMP = "<1896.697170952@dbc.mtview.ca.us>"
CHALLENGE = "<1896.697170953@dbc.mtview.ca.us>"
DIGEST = hashlib.md5(f"{STAMP}{CANARY}".encode()).hexdigest()
HMAC = hmac.digest(CANARY.encode(), CHALLENGE.encode(), "md5").hex()
TOKEN = base64.b64encode(f"user=mei\x01auth=Bearer {CANARY}\x01\x01".encode()).decode()
FORMS = (CANARY, DIGEST, HMAC, CANARY.lower(), CANARY.upper())
LISTED = f"+OK\r\nSASL {' '.join(MECHANISMS)}\r\nPIPELINING\r\nUSER\r\n.\r\n".encode()


class WayIn(NamedTuple):
    """Lines that are typed, the answers to hidden questions, where the server is, what it says beside the rest."""

    lines: tuple[str, ...]
    answers: tuple[str, ...] = ()
    place: Endpoint = LOCAL
    script: tuple[tuple[str, bytes], ...] = ()
    #: what the server may repeat
    secret: str = CANARY
    #: what holds the secret already
    given: str = ""


REFUSES = (("PASS", b"-ERR no\r\n"), ("AUTH", b"-ERR no\r\n"))


def challenged(*texts: str) -> tuple[tuple[str, bytes], ...]:
    """A server that goes on asking after AUTH: with each text, then by a challenge for whatever comes."""
    return (("AUTH", f"+ {blob(texts[0]) if texts[0] else ''}\r\n".encode()),)


WAYS_IN = {
    # by position: arguments of logins, and answers
    "PASS": WayIn(("USER mei", f"PASS {CANARY}")),
    "pass, blanks": WayIn(("USER mei", f"  pass  {CANARY}")),
    "PASS, tab": WayIn(("USER mei", f"PASS\t{CANARY}")),
    "PASS first": WayIn((f"PASS {CANARY}",)),
    "PASS, two words": WayIn(("USER mei", f"PASS x {CANARY}")),
    "bare PASS": WayIn(("USER mei", "PASS"), (CANARY,)),
    "bare PASS, sent": WayIn(("USER mei", "PASS", CANARY), ("",), script=REFUSES),
    "APOP": WayIn((f"APOP mei {DIGEST}",), secret=DIGEST),
    "APOP, password": WayIn((f"APOP mei {CANARY}",)),
    ":apop": WayIn((":apop mei", ""), (CANARY,)),
    "AUTH PLAIN, initial": WayIn((f"AUTH PLAIN {plain('mei', CANARY)}",)),
    "AUTH PLAIN": WayIn(("AUTH PLAIN", plain("mei", CANARY)), script=challenged("")),
    "AUTH PLAIN, not base64": WayIn(("AUTH PLAIN", CANARY), script=challenged("")),
    "AUTH LOGIN": WayIn(
        ("AUTH LOGIN", blob("mei"), blob(CANARY)), script=(*challenged("User"), (blob("mei"), b"+ \r\n"))
    ),
    "AUTH CRAM-MD5": WayIn(("AUTH CRAM-MD5", blob(f"mei {HMAC}")), script=challenged(CHALLENGE), secret=HMAC),
    "AUTH XOAUTH2": WayIn((f"AUTH XOAUTH2 {TOKEN}",)),
    "AUTH XOAUTH2, two lines": WayIn(("AUTH XOAUTH2", TOKEN), script=challenged("")),
    "no mechanism": WayIn((f"AUTH {plain('mei', CANARY)}",)),
    **{
        f":auth {name}": WayIn((f":auth {name} mei",), (CANARY,), script=(("CAPA", LISTED), *challenged(CHALLENGE)))
        for name in (*MECHANISMS, "APOP", "USER")
    },
    ":auth, the secret typed": WayIn((f":auth PLAIN mei {CANARY}",)),
    # after what was refused or held back
    "alone after PASS": WayIn(("USER mei", "PASS x", CANARY), script=REFUSES),
    "alone after USER": WayIn(("USER mei", CANARY)),
    "alone after USER was refused": WayIn(("USER mei", CANARY), script=(("USER", b"-ERR no\r\n"),)),
    "alone after login:": WayIn(("login: mei", CANARY), script=(("login: mei", b"-ERR no\r\n"),)),
    "alone after USR": WayIn(("USR mei", CANARY), script=(("USR mei", b"-ERR no\r\n"),)),
    "alone after AUTH LOGIN": WayIn(("AUTH LOGIN", blob(CANARY)), script=REFUSES),
    "alone after AUTH was held back": WayIn(("AUTH LOGIN", blob(CANARY)), ("no",), REMOTE),
    "alone after PASS was held back": WayIn(("USER mei", "PASS x", CANARY), ("no",), REMOTE),
    "held back": WayIn(("USER mei", f"PASS {CANARY}"), ("no",), REMOTE),
    # by likeness: slips, widths, other protocols
    **{
        word: WayIn((f"{word}{CANARY}",))
        for word in [
            *("PAS ", "PASS", "PASSS ", "pssa ", "PASSWORD ", "pass:", "PASS\u3000", "\uff30\uff21\uff33\uff33 "),
            *("LOGIN mei ", "a1 LOGIN mei ", "AUTHINFO ", "USER mei ", "user mei  ", "APO mei ", "AUTHENTICATE PLAIN "),
            *("C: PASS ", "> PASS ", "pass=", "PASS,", ":login mei ", "::PASS ", "pw ", ":pas "),
            *("USER mei:", "USER=mei PASS=", "USERmei ", "QUIT PASS ", "STAT;PASS ", "P A S S ", "APSS ", "AUHT "),
            *("РАЅЅ ", "PA\u200bSS ", "PAS\bSS ", "\ufeffPASS ", "密碼：", "ㄣㄇㄋㄋ ", "AUTH PLAIN=", "APOP mei:"),
            *("USER%20mei%20PASS%20", "user%3amei%3Apass%3a", "%50ASS%20", "PASS%20", "STAT%0d%0APASS%09"),
        ]
    },
    "AUHT": WayIn((f"AUHT PLAIN {plain('mei', CANARY)}",)),
    "PAS after USER": WayIn(("USER mei", f"PAS {CANARY}")),
    "a token": WayIn((TOKEN,)),
    # through the shell's own commands
    ":explain": WayIn((f":explain PASS {CANARY}",)),
    ":flight": WayIn((f":flight USER mei | PASS {CANARY}",)),
    "an address": WayIn((f":connect pop://mei:{CANARY}@nowhere",)),
    "colon before it": WayIn((f":PASS {CANARY}", f": pass {CANARY}")),
    "a misspelt option": WayIn((f":connect nowhere --pasword={CANARY}",)),
}
ASKING = {
    "PASS": ("USER mei", "PASS"),
    ":apop": (":apop mei", ""),
    ":auth PLAIN": (":auth PLAIN mei",),
    ":auth SCRAM": (":auth SCRAM-SHA-256 mei",),
}
CALLED = {f"--password-command, {name}": WayIn(lines, given="command") for name, lines in ASKING.items()}
CALLED |= {
    f"{given}, {name}": WayIn(lines, ("",), given=given)
    for given in ("fd", "keyring", "netrc")
    for name, lines in ASKING.items()
}
CALLED |= {
    f"--token-command, {name}": WayIn((f":auth {name} mei",), given="token") for name in ("XOAUTH2", "OAUTHBEARER")
}
WAYS_IN |= {name: way._replace(script=(("CAPA", LISTED), *challenged(""))) for name, way in CALLED.items()}


def give(way: WayIn, directory: Path, patch: pytest.MonkeyPatch) -> Passwords | None:
    """Put the secret where the way in finds it."""
    patch.setitem(
        sys.modules, "keyring", SimpleNamespace(get_password=lambda *_: CANARY) if way.given == "keyring" else None
    )
    netrc = directory / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login mei password {CANARY}\n" if way.given == "netrc" else "")
    netrc.chmod(0o600)
    patch.setenv("NETRC", str(netrc))
    if way.given == "fd":
        read, write = os.pipe()
        os.write(write, f"{CANARY}\n".encode())
        os.close(write)
        try:
            return Passwords(descriptor=read)
        finally:
            os.close(read)
    command = f"echo {CANARY}"
    return {"command": Passwords(command), "token": Passwords(token_command=command)}.get(way.given)


#: What the server says to a login; `word` is the last that was sent.
SAYS = {
    "yes": "+OK",
    "no": "-ERR no",
    "repeats it": "-ERR [{secret}] {word} {secret} {plain} {base64}",
    "repeats it unasked": "-ERR no\r\n-ERR {secret} {word}",
    "repeats it and is no POP3": "* {secret} {word}",
    "asks with it": "+ {base64}",
}


def unhexed(text: str) -> str:
    """What hexadecimal digits in a text stand for."""
    rows = re.findall(r"(?:\b[0-9a-fA-F]{2}\b ?){4,}", text)
    return "\n".join(bytes.fromhex(row.replace(" ", "")).decode("latin-1") for row in rows)


class Outs:
    """All that a shell writes while lines are run, by name."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.stage, self.directory = stage, directory
        self.streams = {name: io.StringIO() for name in ("json 1", "json 2", "log")}
        shell = stage.shell
        for version in (1, 2):
            shell.subscribe(JsonRecords(self.streams[f"json {version}"], version, words=shell.net_words).heard)
        log_to(shell, self.streams["log"])
        self.typing = Typing(shell)
        self.history = ShellHistory(lambda: directory / "history", self.typing.has_secret)
        shell.subscribe(self.crash)

    def crash(self, event: ShellEvent) -> None:
        """A fault of ours, with all that is known in the exception: it is reported on the screen."""
        if hasattr(event, "exchange"):
            raise ValueError(event, event.exchange.sent_lines(masked=False))

    async def run(self, line: str) -> None:
        self.history.append_string(line)
        await self.stage.run(line)

    async def all(self) -> dict[str, str]:
        shell = self.stage.shell
        await self.stage.run(":raw", ":ladder", ":more all", ":state", ":why", ":times", ":mailbox", ":tls")
        numbers = range(len(shell.exchanges()) + 1)[-4:]
        await self.stage.run(*(f":wire {number}{how}" for number in numbers for how in ("", " hex")), ":mail 1")
        suffixes = ("", ".md", ".html", ".svg", ".json")
        for suffix in suffixes:
            await self.stage.run(f":save {self.directory / ('saved' + suffix)}")
        history = self.directory / "history"
        return {
            **{name: out.getvalue() for name, out in self.streams.items()},
            **{f":save {suffix}": (self.directory / f"saved{suffix}").read_text("utf-8") for suffix in suffixes},
            "screen": self.stage.text,
            "questions": "\n".join(self.stage.screen.asked),
            "repr": repr((shell.record, shell.exchanges(), [e.command for e in shell.exchanges()])),
            "history": history.read_text("utf-8") if history.exists() else "",
        }


def test_all_ways_in_by_all_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []

    async def go(name: str, way: WayIn, says: str, number: int, patch: pytest.MonkeyPatch = monkeypatch) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        word, secret = (way.lines[-1].split() or [""])[-1], way.secret
        facts = {"word": word, "secret": secret, "plain": plain("mei", secret), "base64": blob(f"x{secret}")}
        answer = f"{SAYS[says].format(**facts)}\r\n".encode()
        logins = dict.fromkeys(["PASS", "APOP", "AUTH", "PAS", CANARY, way.lines[-1]], answer)
        script = {"USER": b"+OK\r\n", "CAPA": b"+OK\r\n.\r\n", **logins, "NOOP": f"+OK {secret}\r\n".encode()}
        screen = FakeScreen(columns=400, look=PLAIN) if number % 2 else FakeScreen(columns=400)
        stage = Stage(place=way.place, screen=screen, script={**script, **dict(way.script)})
        stage.greeting = f"+OK {STAMP}\r\n".encode()
        stage.screen.answers = [*way.answers, *["no"] * 9]
        stage.shell.options.passwords = give(way, directory, patch)
        outs = Outs(stage, directory)
        await stage.shell.connect()
        for line in way.lines:
            await outs.run(line)
        sent = stage.wire.sent.decode("utf-8", "surrogateescape") if stage.wires else ""
        await outs.run("NOOP") if leaks(sent, FORMS) and stage.shell.session else None
        for out, text in (await outs.all()).items():
            if found := leaks(text, FORMS) or leaks(unhexed(text), FORMS):
                at = text.find(found[0])
                faults.append(f"{name} / {says} -> {out}: {text[max(at - 80, 0) : at + 40]!r}")

    async def all_of_them() -> None:
        for number, (name, says) in enumerate(product(WAYS_IN, SAYS)):
            # What is one rule for many words, or many sources, is tried with two answers of the server for each.
            alike = WAYS_IN[name].lines[0] == f"{name}{CANARY}" or WAYS_IN[name].given
            if not alike or says == "repeats it" or number % len(SAYS) == number // len(SAYS) % len(SAYS):
                await go(name, WAYS_IN[name], says, number)

    run(all_of_them(), 120)
    assert not faults, f"{len(faults)} leaks:\n" + "\n".join(faults)


#: How tools write what was sent and received.
TOOLS = {
    "rfc": ("C: {}", "S: {}"),
    "curl-v": ("> {}", "< {}"),
    "fetchmail": ("fetchmail: POP3> {}", "fetchmail: POP3< {}"),
}


def test_no_secret_comes_out_of_the_log_of_another_tool() -> None:
    """The ways in as another tool has written them; what it says in the other words of the same log is masked, too."""
    ways = {
        name: way for name, way in WAYS_IN.items() if not (way.given or way.answers or way.lines[0].startswith(":"))
    }

    def check(name: str, tool: str) -> None:
        sent, received = TOOLS[tool]
        way = ways[name]
        rows = [received.format("+OK ready " + STAMP)]
        for line in way.lines:
            answer = dict(way.script).get(line.split()[0], b"+OK\r\n").decode().split("\r\n")[0]
            rows += [sent.format(line), received.format(answer)] if line.replace("\t", "").isprintable() else []
        rows += [sent.format("NOOP"), received.format(f"-ERR {way.secret}" if len(rows) > 1 else "+OK")]
        for language, as_json in (("en", False), ("zh-Hant", True)):
            text, _ = explain_log("\r\n".join(rows).encode(), CATALOG, language, tool, as_json=as_json)
            assert leaks(text, FORMS) == [], text

    each(product(ways, TOOLS), check)


SEEN = [
    "CAPA",
    "STAT",
    "LIST",
    "LIST 1",
    "UIDL",
    "TOP 1 10",
    "DELE 1",
    "RSET",
    "NOOP",
    "FOO bar",
    "LANG zh-Hant",
    "RETR 1",
]
MAIL = f"+OK 42\r\nFrom: mei\r\n\r\nmy password: {CANARY}\r\n{blob('x' + CANARY)}\r\nPASS x\r\n.\r\n".encode()


def test_all_else_is_shown(tmp_path: Path) -> None:
    """Commands, replies, numbers, names, and the text of a mail: masking everything would be no proof."""

    async def go() -> None:
        script = dict.fromkeys(["USER", "PASS", *SEEN], b"+OK 2 C4n4ry aGVsbG8gd29ybGQ= mei\r\n")
        script |= dict.fromkeys(["CAPA", "LIST", "UIDL", "TOP 1 10"], b"+OK\r\n1 aGVsbG8gd29ybGQ=\r\n.\r\n")
        stage = Stage(place=LOCAL, script={**script, "RETR 1": MAIL})
        stage.screen.answers = ["yes"] * 9
        outs = Outs(stage, tmp_path)
        stage.shell.subscribers.remove(outs.crash)
        await stage.shell.connect()
        for line in ("USER mei", f"PASS {CANARY}", *SEEN):
            await outs.run(line)
        texts = await outs.all()
        assert [line for line in SEEN if f"+{line}\n" not in texts["history"]] == []
        for name in ("json 2", "log", ":save .json"):
            rows = json.loads(texts[name]) if name.endswith("json") else map(json.loads, texts[name].splitlines())
            found = [row for row in rows if row["type"] == "exchange"]
            assert [row["command"]["line"] for row in found[3:]] == SEEN
            assert "".join(found[-1]["received"]).encode() == MAIL
            assert json.dumps(found, ensure_ascii=False).count(MASK) == 2, "PASS in `line` and in `sent`"
        for name in (":save ", ":save .md"):
            assert texts[name].count(MASK) == 1
            assert [row for row in MAIL.decode().splitlines() if f"S: {row}\n" not in texts[name]] == []
            assert [line for line in SEEN if f"C: {line}\n" not in texts[name]] == []

    run(go())


def test_the_matrix_can_fail() -> None:
    for form in (CANARY, plain("mei", CANARY), blob(f"mei {HMAC}"), TOKEN, DIGEST, blob("x" + CANARY)):
        assert leaks(f"a {form} b", FORMS)
    assert leaks(unhexed(f"00 {CANARY.encode().hex(' ')} 0d"), FORMS)
    assert not leaks(f"C: PASS {MASK} {blob('mei')} {STAMP}", FORMS)
