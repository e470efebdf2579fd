"""The terminal's settings: quiet, unseen, as found; and raw keys as the text that they would have given."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from popshell.ui.terminal import Terminal, edit


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def test_quiet_takes_echo_and_lines_and_leaves_signals(ends: tuple[int, int]) -> None:
    _, slave = ends
    found = termios.tcgetattr(slave)
    terminal = Terminal(slave)
    terminal.quiet()
    flags = termios.tcgetattr(slave)[3]
    assert not flags & termios.ECHO
    assert not flags & termios.ICANON
    assert flags & termios.ISIG
    assert termios.tcgetattr(slave) != found, "the comparison below could not fail otherwise"
    terminal.restore()
    assert termios.tcgetattr(slave) == found


def test_unseen_takes_the_echo_for_one_line(ends: tuple[int, int]) -> None:
    _, slave = ends
    found = termios.tcgetattr(slave)
    terminal = Terminal(slave)

    def go() -> None:
        with terminal.unseen():
            assert not termios.tcgetattr(slave)[3] & termios.ECHO
            assert termios.tcgetattr(slave)[3] & termios.ICANON
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        go()
    assert termios.tcgetattr(slave) == found
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signal_while_unseen_restores_and_ends(ends: tuple[int, int], number: signal.Signals) -> None:
    _, slave = ends
    found = termios.tcgetattr(slave)
    code = (
        "import sys, time; from popshell.ui.terminal import Terminal\n"
        "with Terminal(0).unseen():\n    print('ready', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=slave, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert termios.tcgetattr(slave) != found
        process.send_signal(number)
        assert process.wait(20) == -number
    assert termios.tcgetattr(slave) == found


def test_typed_ahead_is_what_was_typed(ends: tuple[int, int]) -> None:
    master, slave = ends
    terminal = Terminal(slave)
    terminal.quiet()
    assert terminal.typed_ahead() == ""
    os.write(master, b"DELE 1\rQU\x7f\x7fSTAT\r\x1b[A\xe4\xb8\xad")
    end = time.monotonic() + 5
    text = ""
    while not text.endswith("中") and time.monotonic() < end:
        text += terminal.typed_ahead()
    assert text == "DELE 1\nSTAT\n中"


def test_closed_terminal_raises_nothing() -> None:
    master, slave = pty.openpty()
    terminal = Terminal(slave)
    os.close(master)
    os.close(slave)
    terminal.quiet()
    assert terminal.typed_ahead() == ""
    terminal.restore()


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("STAT\r", "STAT\n"),
        ("a\r\nb\nc", "a\nb\nc"),
        ("ab\x7f\x7f\x7fc", "c"),
        ("a\r\x7fb", "a\nb"),
        ("abc\x15d", "d"),
        ("a\rbc\x15d", "a\nd"),
        ("\x1b[200~x\ry\x1b[201~", "x\ny"),
        ("\x1b[A\x1bOP\x1b[1;5Cz", "z"),
        ("\x03\x04\x1a\x00q", "q"),
        ("a\tb", "a\tb"),
        ("\x1b[24;1R", ""),
        ("\x1b", ""),
        ("中\x7f文", "文"),
    ],
)
def test_edit(typed: str, text: str) -> None:
    assert edit(typed) == text
