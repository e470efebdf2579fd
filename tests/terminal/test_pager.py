"""`:pager` in a real terminal: the pager has it whole, and afterwards all is as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from terminal.driver import Pty, Tmux

pytestmark = pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")


def test_pager_shows_the_page_and_gives_the_terminal_back(tmux: Callable[..., Tmux]) -> None:
    window = tmux()
    window.prompt()
    window.line(":help RETR", "lines are not shown")
    window.type(":pager\r")
    window.until(lambda: window.screen().rstrip().endswith(":"), window.screen)
    assert "send one message" in window.screen()
    window.press("C-c")
    window.press("G")
    window.until(lambda: "(END)" in window.screen(), window.screen)
    assert "retr 1" in window.screen()
    window.press("q")
    window.prompt()
    window.line("CAPA", "STLS")
    window.type("US")
    window.press("C-c")
    window.prompt()
    window.type(":quit\r")
    window.until(lambda: not window.alive(), window.screen)


def test_settings_are_the_same_after_the_pager(terminal: Callable[..., Pty]) -> None:
    pty = terminal()
    pty.prompt()
    pty.line("CAPA", "STLS")
    before = pty.settings()
    pty.type(":pager\r")
    pty.wait("(END)")
    pty.type("q")
    pty.prompt()
    assert pty.settings() == before
    pty.type(":quit\r")
    assert pty.exit_code() == 0
    assert pty.restored()
