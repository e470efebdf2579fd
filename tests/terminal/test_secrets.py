"""A canary for a password: after every way to type it, it is in no file and nowhere on the screen (sec-K1 to K4)."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support import leaks

from popshell.ui.auth import NAMES
from terminal.driver import Peer, Pty, Tmux, needs_tmux

pytestmark = pytest.mark.terminal
CANARY = "C4n4ry-77"
BLOB = base64.b64encode(f"\0learner\0{CANARY}".encode()).decode()
FORMS = [CANARY, base64.b64encode(CANARY.encode()).decode(), BLOB]


def found_in(text: str) -> list[str]:
    return leaks(text, tuple(FORMS))


def files_below(home: Path) -> dict[Path, str]:
    return {path: path.read_bytes().decode("utf-8", "replace") for path in home.rglob("*") if path.is_file()}


def mask_of(line: str) -> str:
    return line.replace(BLOB, "••••").replace(CANARY, "••••")


#: (what is typed before, the line with the canary, how its echo looks)
WAYS = [
    ("USER learner", f"PASS {CANARY}", " C: PASS ••••"),
    ("USER learner", f"pass {CANARY}", " C: pass ••••"),
    ("USER learner", f"  pass {CANARY}", " C:   pass ••••"),
    ("USER learner", f"PAS {CANARY}", " C: PAS ••••"),
    ("USER learner", f"PASS{CANARY}", " C: PASS••••"),
    (None, f"PASS {CANARY}", " C: PASS ••••"),
    (None, f"APOP learner {CANARY}", " C: APOP learner ••••"),
    (None, f"apop learner {CANARY} x", " C: apop learner •••• ••••"),
    (None, f"AUTH PLAIN {BLOB}", " C: AUTH PLAIN ••••"),
    ("AUTH PLAIN", BLOB, " C: ••••"),
    ("AUTH PLAIN", CANARY, " C: ••••"),
    (None, f":explain PASS {CANARY}", " :explain PASS ••••"),
    (None, f":EXPLAIN pass {CANARY}", " :EXPLAIN pass ••••"),
    (None, f":exp  AUTH PLAIN {BLOB}", " :exp  AUTH PLAIN ••••"),
    (None, f":PASS {CANARY}", " :PASS ••••"),
    (None, f": pass {CANARY}", " : pass ••••"),
    (None, f":auth PLAIN learner {CANARY}", " :auth PLAIN •••• ••••"),
    (None, f":auth PLAIN {BLOB}", " :auth PLAIN ••••"),
]


@needs_tmux()
def test_no_way_to_type_a_password_leaves_it_anywhere(tmux: Callable[..., Tmux], tmp_path: Path) -> None:
    shell = tmux()
    shell.prompt()
    for before, line, echo in WAYS:
        if before:
            shell.line(before, "S: +")
        shell.line(line, "", echo=echo)
        assert not found_in(shell.scroll()), line
    shell.line("USER learner", "+OK")
    shell.type("PASS\r")
    shell.wait("Password (not shown):")
    shell.type(CANARY + "\r")
    shell.prompt()
    shell.line("STLS", "TLS is on")
    for tries, name in enumerate([name for name in NAMES if name != "EXTERNAL"], 1):  # which has no secret
        asked = shell.scroll().count(" (not shown")
        shell.type(f":auth {name} learner\r")
        shell.until(lambda asked=asked: shell.scroll().count(" (not shown") > asked, shell.scroll)
        shell.type(CANARY + "\r")
        shell.until(lambda tries=tries: shell.scroll().count("That was one try.") == tries, shell.scroll)
        shell.prompt()
        assert not found_in(shell.scroll()), name
    shell.paste(f"USER learner\nPAS {CANARY}\nAUTH PLAIN\n{BLOB}\n")
    shell.wait("▸ USER learner")
    shell.press("C-c")
    shell.prompt()
    shell.line(":ladder", "server")
    shell.line(":raw", "S>")
    shell.line(":save saved", "written")
    shell.type(":quit\r")
    shell.until(lambda: not shell.alive(), shell.screen)
    files = files_below(tmp_path)
    history = tmp_path / "state" / "popshell" / "history"
    assert {history, tmp_path / "saved"} <= files.keys()
    assert "+USER learner\n" in files[history], "the history is kept, or this would prove nothing"
    assert "C: PASS ••••" in files[tmp_path / "saved"]
    for path, text in files.items():
        assert not found_in(text), path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_secrets_are_masked_on_the_way_in(terminal: Callable[..., Pty]) -> None:
    """Not only what stays on the screen: nothing of it is ever written to the terminal."""
    shell = terminal()
    shell.prompt()
    for before, line, echo in WAYS[:12]:
        if before:
            shell.line(before, "S: +")
        shell.line(line, "", echo=echo)
    shell.remembered("USER learner")  # the newest that is no login
    assert not found_in(shell.raw.decode("utf-8", "replace"))


def test_secret_that_the_server_repeats_is_masked(
    terminal: Callable[..., Pty], peer: Callable[..., Peer], tmp_path: Path
) -> None:
    server = peer({"PASS": f"-ERR {CANARY} is not it\r\n".encode(), "NOOP": f"+OK {CANARY}\r\n".encode()})
    shell = terminal(f"127.0.0.1:{server.port}")
    shell.prompt()
    shell.line("USER learner", "+OK")
    shell.line(f"PASS {CANARY}", "-ERR •••• is not it", echo=" C: PASS ••••")
    shell.line("NOOP", "+OK ••••")
    shell.line(":ladder", "server")
    shell.line(":raw", "S>")
    shell.line(":save saved", "saved")
    assert server.heard[1] == f"PASS {CANARY}", "it was sent as typed"
    assert not found_in(shell.raw.decode())
    assert not any(found_in(text) for text in files_below(tmp_path).values())


def test_the_search_for_the_canary_can_fail(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"a {BLOB}")
    assert BLOB in found_in(files_below(tmp_path)[tmp_path / "x"])


def test_reveal_shows_what_is_typed_on_the_practice_server_alone(
    terminal: Callable[..., Pty], peer: Callable[..., Peer], tmp_path: Path
) -> None:
    server = peer()
    for address, shows in (((), True), ((f"127.0.0.1:{server.port}",), False)):
        shell = terminal(*address)
        shell.prompt()
        shell.line(":reveal on", "")
        shell.line("USER learner", "+OK")
        shell.type(f"PASS {CANARY}")
        shell.wait(f"▸ PASS {CANARY}" if shows else "▸ PASS •••••••••")
        shell.type("\r")
        shell.wait(f" C: PASS {CANARY}" if shows else " C: PASS ••••")
        shell.prompt()
        assert not any(found_in(text) for text in files_below(tmp_path).values())


def test_what_was_no_secret_is_one_after_user(terminal: Callable[..., Pty]) -> None:
    """The same text was shown before, in another context: it is judged anew, mask and colours (sec-K2)."""
    shell = terminal()
    shell.prompt()
    shell.type(CANARY)
    shell.wait(f"▸ {CANARY}")
    shell.type("\x15")
    shell.prompt()
    shell.line("USER learner", "+OK")
    shell.type(CANARY)
    shell.wait("▸ " + "•" * len(CANARY))
    assert shell.screen().count(CANARY) == 0


#: what is due while one types, what is typed then, what after it; the lines that are asked about, and what is sent
AHEAD = [
    ("greeting", "USER mei\r", f"PASS {CANARY}\r", ["USER mei", "PASS ••••"], ["USER mei", f"PASS {CANARY}"]),
    ("greeting", "\r\rSTAT\r", "NOOP\r", ["STAT", "NOOP"], ["STAT", "NOOP"]),
    ("greeting", "USER m", "ei\r", [], ["USER mei"]),  # half a line: its other half ends it
    ("NOOP", f"PASS {CANARY}\r", "STAT\r", ["PASS ••••", "STAT"], [f"PASS {CANARY}", "STAT"]),
    ("NOOP", f"\x1b[200~USER mei\nPAS {CANARY}\n\x1b[201~", "STAT\r", ["USER mei", "PAS ••••", "STAT"], None),
    ("STLS", "USER mei\rPA", f"SS {CANARY}\r", ["USER mei", "PASS ••••"], ["USER mei", f"PASS {CANARY}"]),
    ("STLS", f"USER mei\r{CANARY}\r", "STAT\r", ["USER mei", "••••", "STAT"], None),
]


@pytest.mark.parametrize(
    ("due", "ahead", "then", "asked", "sent"), AHEAD, ids=[f"{way[0]} {at}" for at, way in enumerate(AHEAD)]
)
def test_what_is_typed_ahead_is_confirmed_as_whole_lines_and_never_joined(
    due: str,
    ahead: str,
    then: str,
    asked: list[str],
    sent: list[str] | None,
    terminal: Callable[..., Pty],
    peer: Callable[..., Peer],
    tmp_path: Path,
) -> None:
    server = peer({"NOOP": None, "STLS": None}, greeting=b"" if due == "greeting" else b"+OK ready\r\n")
    shell = terminal(f"127.0.0.1:{server.port}")
    if due == "greeting":
        shell.wait("Connected to")
    else:
        shell.prompt()
        shell.type(f"{due}\r")
        server.wait(due)
    heard = len(server.heard)
    server.answers |= {"NOOP": b"+OK\r\n", "PAS": b"-ERR no\r\n"}
    shell.type(ahead)
    shell.pause()
    server.say(b"-ERR not here\r\n" if due == "STLS" else b"+OK ready\r\n")
    shell.wait("stands at the prompt, not sent" if "\r" in ahead or "\n" in ahead else "▸ USER m")
    assert server.heard[heard:] == []
    shell.type(then)
    if asked:
        shell.wait(f"Send these {len(asked)} lines?")
        assert "".join(f"    {line}\n" for line in asked) in shell.scroll()
        assert server.heard[heard:] == []
        shell.type("y\r" if sent else "n\r")
    shell.until(lambda: server.heard[heard:] == (sent or []), lambda: f"{server.heard} {shell.scroll()}")
    assert CANARY.encode() not in shell.raw
    assert not any(found_in(text) for text in files_below(tmp_path).values())
