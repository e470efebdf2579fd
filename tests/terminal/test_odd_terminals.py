"""Odd terminals: a paste without end, kitty's keys, no answer to CPR, joined emoji, a resize in the middle of them."""

from __future__ import annotations

import fcntl
import signal
import struct
import sys
import termios
from collections.abc import Callable

import pytest

from popshell.ui.theme import begin
from terminal.driver import Peer, Pty, at, logged_in

pytestmark = pytest.mark.terminal
Terminals = Callable[..., Pty]
Peers = Callable[..., Peer]


def test_ctrl_c_ends_a_paste_whose_end_does_not_come(terminal: Terminals, peer: Peers) -> None:
    for ctrl_c in ("\x03", "\x1b[99;5u"):
        shell = logged_in(terminal, peer())
        shell.type("\x1b[200~STAT")
        shell.type(ctrl_c)
        shell.pump(1.0)  # what comes in the same packet as Ctrl-C belongs to the paste, and is dropped with it
        shell.type("NOOP")
        shell.wait("▸ NOOP")  # typed before the new prompt was read it stands there, and is not sent
        shell.type("\r")
        shell.wait("+OK noop")


def test_a_paste_with_its_end_in_pieces_is_whole(terminal: Terminals, peer: Peers) -> None:
    shell = logged_in(terminal, peer())
    for piece in ("\x1b[20", "0~NO", "OP\x1b[201", "~\r"):
        shell.type(piece)
    shell.wait("+OK noop")


def test_keys_of_kitty_are_understood(terminal: Terminals, peer: Peers) -> None:
    server = peer({"STAT": None})
    shell = logged_in(terminal, server)
    shell.type("NOXX")
    shell.wait("▸ NOXX")
    shell.type("\x1b[127u\x1b[127;1:1u\x1b[111;2u\x1b[111;2:3u")
    shell.wait("▸ NOO")
    shell.type("\x1b[112;1u\x1b[99;5u")
    shell.prompt()
    shell.type("NOOP\x1b[13u")
    shell.wait("+OK noop")
    shell.prompt()
    shell.type("\x1b[27;2;78~OOP\x1b[13;1:1u\x1b[13;1:3u")
    shell.wait(lambda scroll: scroll.count("+OK noop") == 2)
    shell.prompt()
    shell.type("STAT\x1b[13u")
    server.wait("STAT")
    shell.type("\x1b[99;5u")
    shell.wait("reply to STAT is still due")
    shell.prompt()
    assert server.heard == ["NOOP", "NOOP", "STAT"]


def test_the_theme_is_that_of_the_background(terminal: Terminals, peer: Peers) -> None:
    for background, found in (("1e1e/1e1e/1e1e", "dark"), ("ff/ff/ff", "light"), ("80/80/80", "auto"), ("", "auto")):
        shell = terminal(at(peer()), background=background)
        shell.prompt()
        assert begin("ok", found).encode() + b"+OK" in shell.raw, background
    reads = terminal(background="ff/ff/ff", command=["sh", "-c", f"{sys.executable} -m popshell </dev/tty"])
    reads.prompt()
    assert begin("ok", "light").encode() + b"+OK" in reads.raw
    # It may answer late, and in pieces.
    for piece in ("NO", "\x1b]11;rgb:ff/f", "f/ff\x1b", "\\\x1b[?62", ";4c", "OP"):
        shell.type(piece)
        shell.pump(0.1)
    shell.type("\r")
    shell.wait("+OK noop")
    assert "rgb" not in shell.scroll()


def test_a_terminal_that_does_not_say_where_its_cursor_is(terminal: Terminals, peer: Peers) -> None:
    shell = terminal(at(peer()))
    shell.display.write_process_input = lambda data: None  # type: ignore[method-assign]
    shell.wait("no TLS", 20)
    shell.line("NOOP", "+OK noop")
    shell.until(lambda: "no TLS" in shell.screen(), lambda: shell.screen())
    assert "CPR" not in shell.scroll()
    assert "WARNING" not in shell.scroll()


def test_joined_emoji_are_sent_as_typed_and_the_row_stays_whole(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    family = "👨\u200d👩\u200d👧 👍🏽 ❤\ufe0f"
    shell.type(f"NOOP {family}")
    shell.wait("NOOP 👨")
    shell.type("x\x1b[D\x1b[Dy\r")
    server.wait(f"NOOP {family[:-1]}y{family[-1]}x")
    shell.wait("+OK noop")
    shell.prompt()


def test_a_resize_in_the_middle_of_a_paste_and_of_a_wait(terminal: Terminals, peer: Peers) -> None:
    server = peer({"STAT": None})
    shell = logged_in(terminal, server)

    def resize(columns: int) -> None:
        fcntl.ioctl(shell.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        shell.display.resize(24, columns)
        shell.signal(signal.SIGWINCH)
        shell.pause()

    shell.type("\x1b[200~ST")
    resize(60)
    shell.type("AT\x1b[201~\r")
    server.wait("STAT")
    shell.wait("Ctrl-C gives the")
    resize(100)
    server.say(b"+OK 3 300\r\n")
    shell.wait("+OK 3 300")
    shell.prompt()
    assert server.heard == ["STAT"]
    assert "Ctrl-C" not in shell.screen().split("+OK 3 300")[1]
