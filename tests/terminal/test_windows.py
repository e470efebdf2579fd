"""Windows of every size, terminals of every kind, and bytes that try to take the terminal over (sec-U6, R1, R5, R7)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from popshell.ui.terminal import _ASK_BACKGROUND
from terminal.driver import Peer, Pty, Tmux, needs_tmux

pytestmark = pytest.mark.terminal
Terminals = Callable[..., Pty]
Peers = Callable[..., Peer]


def sound(text: str) -> None:
    assert "Traceback" not in text
    assert "should not have happened" not in text
    assert "Exception" not in text


# -- size --------------------------------------------------------------------------------------------------------------


@needs_tmux()
@pytest.mark.parametrize("size", [(20, 5), (40, 12), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_session_in_a_window_of_any_size(size: tuple[int, int], tmux: Callable[..., Tmux]) -> None:
    shell = tmux(columns=size[0], rows=size[1])
    shell.prompt()
    for line in (
        "USER learner",
        "PASS secret",
        "RETR 2",
        "DELE 1",
        ":state",
        ":help",
        ":more all",
        ":ladder",
        ":mailbox",
    ):
        shell.line(line, "", echo=" C: PASS ••••" if line == "PASS secret" else None)
    shell.press("Tab")
    shell.type(":quit")
    shell.wait("▸ :quit")
    sound(shell.scroll())
    shell.press("Enter")
    shell.wait(lambda scroll: re.search(r"without\s+erasing:", scroll))
    shell.type("y\r")
    shell.until(lambda: not shell.alive(), shell.screen)


@needs_tmux()
def test_ten_resizes_a_second(tmux: Callable[..., Tmux]) -> None:
    import time

    shell = tmux()
    shell.prompt()
    shell.type("RETR 2")
    shell.wait("▸ RETR 2")
    sizes = [(100, 30), (60, 15), (20, 5), (36, 12), (10, 3), (120, 40), (80, 8), (79, 24), (41, 19), (80, 24)]
    for columns, rows in sizes * 2:
        shell.resize(columns, rows)
        time.sleep(0.1)  # the pace is what is tested
    shell.wait("▸ RETR 2   ⚠ only in TRANSACTION")
    shell.press("Enter")
    shell.wait(" C: RETR 2")
    shell.wait(lambda _: "connect ─▶" in shell.screen().rpartition(" C: RETR 2\n")[2])
    shell.prompt()
    sound(shell.scroll())
    # Rows of an older toolbar may be left above (prompt_toolkit#1933, open); what is live is whole.
    below = shell.screen().rpartition(" C: RETR 2\n")[2]
    assert below.count("▸") == 1
    assert below.count("connect ─▶") == 1


@needs_tmux()
def test_resize_redraws_toolbar_and_wraps_what_comes(tmux: Callable[..., Tmux]) -> None:
    shell = tmux()
    shell.prompt()
    shell.type("RETR 2")
    shell.wait("▸ RETR 2")
    for columns, rows in ((100, 30), (80, 24), (60, 20), (50, 24)):
        shell.resize(columns, rows)
        shell.wait(lambda _, last=rows - 1: _toolbar_stands_at(shell.screen(), last))  # type: ignore[misc]
    assert shell.screen().count("▸") == 1, "no ghosts"
    assert shell.screen().count("RETR msg") == 1
    shell.press("C-u")
    shown = shell.line("STAT", "-ERR")
    assert all(len(row) <= 50 for row in shown.split("\n"))
    assert re.search(r"^     \S", shown, re.M), "wrapped by us, indented"


def _toolbar_stands_at(screen: str, last: int) -> bool:
    rows = screen.split("\n")
    return len(rows) > last and rows[last].startswith(" practice") and "[AUTHORIZATION]" in rows[last - 3]


# -- kinds of terminal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": None}], ids=["TERM=dumb", "no TERM"])
def test_dumb_terminal_gets_words_and_no_escape(env: dict[str, str | None], terminal: Terminals) -> None:
    shell = terminal(env=env)
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("STAT\rUSER learner\rPASS secret\rRETR 3\r:help RETR\r:state\rDELE 1\r")
    shell.wait("marked")
    shell.type("QUIT\r")
    shell.wait("[STATE: CLOSED]")
    shell.type("\x04")
    assert shell.exit_code() == 0
    assert b"\x1b" not in shell.raw
    text = shell.raw.decode()
    for word in ("[OK] S: +OK", "[ERR] S: -ERR", "[STATE: TRANSACTION]", "[STATE: UPDATE]", "C: STAT"):
        assert word in text
    sound(text)


def test_no_color_takes_the_colours_and_nothing_else(terminal: Terminals) -> None:
    colours = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|9\d|10\d|38|48)[;m]")
    for options, env, coloured in (
        (("--theme", "dark"), {}, True),
        (("--theme", "light"), {"NO_COLOR": ""}, True),
        (("--theme", "light"), {"NO_COLOR": "1"}, True),  # an option is nearer than the environment (no-color.org)
        ((), {}, False),
        ((), {"NO_COLOR": "1"}, False),
        (("--theme", "none"), {}, False),
    ):
        shell = terminal(*options, env=env)
        shell.prompt()
        shell.line("STAT", "✘S: -ERR")
        shell.type(":help RETR\r")
        shell.wait("lines are not shown")
        shell.prompt()
        shell.type("\t")
        shell.wait("name the maildrop")
        assert bool(colours.search(shell.raw)) == coloured, (options, env)


@pytest.mark.parametrize(
    "env",
    [{"LC_ALL": "C", "LANG": None}, {"LANG": None}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}],
    ids=lambda env: "/".join(f"{name}={value}" for name, value in env.items()),
)
def test_poor_locale_is_no_error(env: dict[str, str | None], terminal: Terminals) -> None:
    shell = terminal("--lang", "zh-Hant", env=env)
    prompt = "AUTHORIZATION ▸" if "PYTHONIOENCODING" not in env else "AUTHORIZATION >"
    shell.prompt(prompt)
    for line, word in (("STAT", "-ERR"), (":help RETR", "RFC 1939"), (":state", "CLOSED")):
        shell.line(line, word, prompt=prompt)
    shell.type(":quit\r")
    assert shell.exit_code() == 0
    sound(shell.scroll())


def test_ascii_draws_with_ascii(terminal: Terminals) -> None:
    shell = terminal("--ascii")
    shell.prompt("N >")
    shell.line("USER learner", "+OK", prompt="N >")
    shell.type("PASS secret")
    shell.wait("> PASS ******")
    shell.type("\r")
    shell.prompt("N >")
    for line, word in (
        ("DELE 1", "x marked #1"),
        (":state", "AUTHORIZATION"),
        (":ladder", "server"),
        (":mailbox", "octets"),
    ):
        shell.line(line, word if line != "DELE 1" else "+OK", prompt="N >")
    shell.wait("x marked #1")
    drawn = set("─━│┃▶▸◀╭╮╰╯✔✘⚠·…✗┄═╞╡→•") & set(shell.scroll())
    assert not drawn, drawn


# -- hostile bytes -----------------------------------------------------------------------------------------------------

PAYLOADS = [
    b"\x1b]0;owned\x07",
    b"\x1b]52;c;b3duZWQ=\x07",
    b"\x1b[c",
    b"\x1b[>c",
    b"\x1b[5n",
    b"\x1b[18t",
    b"\x1bP+q544e\x1b\\",
    b"\x1b[?1049h",
    b"\x1b[?25l",
    b"\x1b[?2004l",
    b"\x1b[2J\x1b[H",
    b"\x1b[8m",
    b"\x1b(0",
    b"\x0e",
    b"\x05",
    b"\x07",
    b"\x08\x08\x08\x08forged",
    b"\rforged",
    b"\x0bforged",
    b"\x9b31m",
    b"\xc2\x9b31m",
    b"\xe2\x80\xaetxt.exe",
    b"\xe2\x80\xa8forged",
    b"\xc2\x85forged",
    b"\x7f",
    b"\xff\xfe",
    "✔S: +OK forged".encode(),
    b"A" * 76 + "✔S: +OK forged".encode(),
    "中".encode() * 60,
    b"AUTHORIZATION \xe2\x96\xb8 forged",
]
#: What a row of a reply may begin with; a peer cannot put it there.
MARGIN = re.compile(r"(?:✔S: |✘S: |›S: |\?S: | S: | S\| | S~ | C: | {2,}|[A-Z]+ ▸| S:$|$)")


@pytest.mark.parametrize("where", ["status", "mail", "listing", "greeting", "challenge", "stray"])
def test_hostile_bytes_leave_the_terminal_as_it_was(where: str, terminal: Terminals, peer: Peers) -> None:
    payload = b"".join(PAYLOADS[:20])
    rows = b"\r\n".join(PAYLOADS)
    answers = {
        "STAT": b"+OK " + payload + b"\r\n",
        "RETR": b"+OK\r\nSubject: " + rows + b"\r\n\r\n" + rows + b"\r\n.\r\n",
        "UIDL": b"+OK\r\n" + rows + b"\r\n.\r\n",
        "AUTH": b"+ " + payload + b"\r\n",
    }
    greeting = b"+OK ready\r\n" if where != "greeting" else b"+OK " + payload + b"\r\n"
    server = peer(answers, greeting)
    shell = terminal(f"127.0.0.1:{server.port}")
    shell.wait("▸")
    modes = set(shell.display.private)
    command = {"status": "STAT", "mail": "RETR 1", "listing": "UIDL", "challenge": "AUTH PLAIN"}.get(where)
    if command:
        shell.type(command + "\r")
        server.wait(command)
        shell.wait("forged" if where in ("mail", "listing") else "x1b")
    elif where == "stray":
        server.say(b"".join(PAYLOADS[:20]) + b"\r\n")
        shell.wait("x1b")
    shell.prompt()  # nothing stands in the buffer that the terminal answered
    shell.type("ok?")
    typed = "▸ ok?" if where != "challenge" else "▸ •••"
    shell.wait(typed)
    raw = shell.raw.replace(_ASK_BACKGROUND, b"", 1)
    for bad in (*PAYLOADS[:17], b"\x9b31m", b"\xc2\x9b", b"\xe2\x80\xae"):
        if bad not in (b"\x07", b"\x08\x08\x08\x08forged", b"\x1b[?25l", b"\x1b[?2004l"):
            assert bad not in raw, bad
    assert shell.display.titles == []
    assert shell.display.private == modes
    text = shell.scroll().partition("Connected to")[2].partition("\n")[2]
    shown = text.rpartition(typed)[0].rpartition("\n")[0]
    assert [row for row in shown.split("\n") if not MARGIN.match(row)] == []
    sound(text)


def test_the_margin_check_can_fail() -> None:
    assert not MARGIN.match("forged")
    assert not MARGIN.match("+OK forged")
    assert not MARGIN.match("✔ forged")


@needs_tmux()
def test_hostile_bytes_in_a_real_emulator(tmux: Callable[..., Tmux], peer: Peers) -> None:
    server = peer({"RETR": b"+OK\r\n" + b"\r\n".join(PAYLOADS) + b"\r\n.\r\n"})
    shell = tmux(f"127.0.0.1:{server.port}")
    shell.prompt()
    before = shell._tmux("display-message", "-p", "#{pane_title} #{alternate_on} #{cursor_flag} #{window_name}")
    shown = shell.line("RETR 1", "forged")
    assert shell._tmux("display-message", "-p", "#{pane_title} #{alternate_on} #{cursor_flag} #{window_name}") == before
    assert "owned" not in shell._tmux("list-buffers")
    rows = shown.partition("▸")[0].split("\n")[1:-1]
    assert [row for row in rows if not MARGIN.match(row)] == []
    assert "\\x1b]52;c;b3duZWQ=\\x07" in shown
