"""However the program ends or stops, the terminal is as it was found (sec-U4); SIGKILL alone needs `stty sane`."""

from __future__ import annotations

import contextlib
import signal
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from terminal.driver import POPSHELL, Peer, Pty, Terminal, Tmux, logged_in, needs_tmux

pytestmark = pytest.mark.terminal
Terminals = Callable[..., Pty]
Peers = Callable[..., Peer]
ENDING = [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
#: What the prompt turns on and must turn off again: bracketed paste, hidden cursor, alternate screen, mouse.
PRIVATE = {2004, 1049, 1000, 1006}


def left_clean(shell: Pty) -> None:
    shell.pump()
    assert shell.restored()
    assert not shell.display.private & PRIVATE
    assert shell.display.cursor.hidden is False
    assert "Traceback" not in shell.scroll()
    assert "Press ENTER" not in shell.scroll()
    assert "Return value already set" not in shell.scroll()


def test_settings_do_change_while_it_runs(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    assert not shell.restored(), "or the tests below could not fail"
    assert 2004 in shell.display.private


@pytest.mark.parametrize("keys", [":quit\r", "\x04"], ids=[":quit", "Ctrl-D"])
def test_leaving(keys: str, terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.line("STAT", "-ERR")
    shell.type(keys)
    assert shell.exit_code() == 0, "an interactive session ends with 0"
    left_clean(shell)


@pytest.mark.parametrize(
    ("where", "number"),
    [
        *(("half typed", number) for number in ENDING),
        ("reply due", signal.SIGTERM),
        ("reply due", signal.SIGHUP),
        ("question", signal.SIGTERM),
        ("menu", signal.SIGQUIT),
        ("search", signal.SIGHUP),
    ],
)
def test_signal(where: str, number: signal.Signals, terminal: Terminals, peer: Peers) -> None:
    server = peer({"STAT": None})
    shell = terminal(f"127.0.0.1:{server.port}")
    shell.prompt()
    match where:
        case "half typed":
            shell.type("PASS x")
            shell.wait("▸ PASS •")
        case "reply due":
            shell.type("STAT\r")
            server.wait("STAT")
        case "question":
            shell.line("USER a", "+OK")
            shell.type("PASS\r")
            shell.wait("Password")
        case "menu":
            shell.type("\t")
            shell.wait("name the maildrop")
        case "search":
            shell.type("\x12")
            shell.wait("reverse-i-search")
    shell.signal(number)
    assert shell.exit_code() == 128 + number
    left_clean(shell)
    assert "QUIT" not in server.heard


def test_signal_in_a_flood(terminal: Terminals, peer: Peers) -> None:
    """A peer that sends as fast as the network takes it keeps no signal waiting: a reply, and unasked lines."""
    floods = {"TOP 1 0": b"a line of a mail without end\r\n", "LIST 1": b"1 100\r\n", "STAT": b"-ERR flood\r\n"}
    for number, (line, data) in zip((signal.SIGTERM, signal.SIGHUP, signal.SIGTERM), floods.items(), strict=True):
        server = peer({line: b"+OK\r\n"})
        shell = logged_in(terminal, server)
        shell.type(line + "\r")
        server.wait(line)
        over = threading.Event()

        def flood(server: Peer = server, data: bytes = data, over: threading.Event = over) -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    server.say(data * 2_000)

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        shell.signal(number)
        assert shell.exit_code() == 128 + number, line
        left_clean(shell)
        over.set()
        thread.join(10)
        assert "QUIT" not in server.heard


def test_two_signals_at_once(terminal: Terminals) -> None:
    """A window that closes sends SIGHUP from the kernel and from the shell in it."""
    shell = terminal()
    shell.prompt()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
        shell.signal(number)
    # The last one may come when all is tidied up and nobody listens any more.
    assert shell.exit_code() in (128 + signal.SIGHUP, 128 + signal.SIGTERM, -signal.SIGHUP)
    left_clean(shell)


def test_window_that_goes_away_ends_the_program(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.hang_up()
    assert shell.process.wait(10) != 0


FAULT = """
import sys
import popshell.ui.{module} as module
def broken(*arguments, **more):
    secret = "C4n4ry-77"
    raise ZeroDivisionError(secret)
module.{name} = broken
from popshell.cli import run
sys.exit(run([]))
"""


def test_an_internal_error_in_a_line_is_reported_without_values_and_the_shell_goes_on(terminal: Terminals) -> None:
    shell = terminal(command=[sys.executable, "-c", FAULT.format(module="shell", name="Shell.send")])
    shell.prompt()
    shell.type("STAT\r")
    shell.wait("ZeroDivisionError")
    shell.prompt()
    shell.type(":quit\r")
    assert shell.exit_code() == 0
    assert "C4n4ry" not in shell.scroll()
    left_clean(shell)


def test_an_internal_error_in_the_loop_restores_the_terminal(terminal: Terminals) -> None:
    shell = terminal(command=[sys.executable, "-c", FAULT.format(module="editor", name="Editor.read")])
    assert shell.exit_code() == 3
    assert "ZeroDivisionError" in shell.scroll()
    assert "C4n4ry" not in shell.scroll()
    left_clean(shell)


# -- Ctrl-Z ------------------------------------------------------------------------------------------------------------


class JobShell:
    """bash without line editing, so that nothing but popshell touches the settings; `stty -g` tells them."""

    def __init__(self, terminal: Pty | Tmux, home: Path) -> None:
        self.terminal: Terminal = terminal
        self.home = home
        self._count = 0
        self.terminal.wait("bash-")

    def settings(self) -> str:
        self._count += 1
        path = self.home / f"settings-{self._count}"
        self.terminal.type(f"stty -g > {path}; echo told-$((1+{self._count - 1}))\r")
        self.terminal.wait(f"told-{self._count}")
        return path.read_text()


def test_ctrl_z_and_fg_at_the_prompt(terminal: Terminals, tmp_path: Path) -> None:
    bash = JobShell(terminal(command=["bash", "--norc", "--noediting", "-i"]), tmp_path)
    shell = bash.terminal
    before = bash.settings()
    shell.type(" ".join(POPSHELL) + "\r")
    shell.prompt()
    shell.type("STA")
    shell.wait("▸ STA")
    shell.type("\x1a")
    shell.wait("Stopped")
    assert bash.settings() == before
    shell.type("fg\r")
    shell.wait(lambda scroll: scroll.rpartition("\nfg")[2].count("▸ STA"))
    shell.type("T\r")
    shell.wait("✘S: -ERR")
    shell.prompt()
    shell.type(":quit\r")
    shell.wait(lambda scroll: (":quit" in scroll and scroll.rstrip().endswith("bash-5.2#")) or "$" in scroll[-12:])
    assert bash.settings() == before


def test_ctrl_z_and_fg_while_a_reply_is_due(terminal: Terminals, peer: Peers, tmp_path: Path) -> None:
    server = peer({"STAT": None})
    bash = JobShell(terminal(command=["bash", "--norc", "--noediting", "-i"]), tmp_path)
    shell = bash.terminal
    before = bash.settings()
    shell.type(" ".join(POPSHELL) + f" 127.0.0.1:{server.port}\r")
    shell.prompt()
    shell.type("STAT\r")
    server.wait("STAT")
    shell.type("\x1a")
    shell.wait("Stopped")
    assert bash.settings() == before
    shell.type("fg\r")
    shell.wait(lambda scroll: scroll.rpartition("\nfg")[2])
    server.say(b"+OK 3 300\r\n")
    shell.wait("+OK 3 300")
    shell.prompt()
    shell.type(":quit\r")
    shell.wait(lambda scroll: scroll.rstrip().endswith(("#", "$")))
    assert bash.settings() == before


@needs_tmux()
def test_ctrl_z_without_job_control_does_nothing(tmux: Callable[..., Tmux]) -> None:
    """popshell as the only program of a window: stopped it would be stopped for ever."""
    shell = tmux()
    shell.prompt()
    shell.press("C-z")
    shell.type("STAT\r")
    shell.wait("✘S: -ERR")


# -- --plain on a terminal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [":quit\r", "\x04", ":drop\r:quit\r"], ids=[":quit", "Ctrl-D", "two at once"])
def test_leaving_plain(keys: str, terminal: Terminals) -> None:
    shell = terminal("--plain")
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("STAT\r")
    shell.wait("[ERR]")
    shell.type(keys)
    assert shell.exit_code() == 0
    assert shell.restored()
    assert b"\x1b" not in shell.raw


def test_ctrl_c_in_plain(terminal: Terminals) -> None:
    shell = terminal("--plain")
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("\x03")
    assert shell.exit_code() == 130
    assert shell.restored()
    assert "Traceback" not in shell.scroll()
    assert "Fatal" not in shell.scroll()


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {}], ids=["TERM=dumb", "--plain"])
def test_bare_pass_in_plain_is_not_echoed_and_not_sent_as_a_command(env: dict[str, str], terminal: Terminals) -> None:
    shell = terminal(*(() if env else ("--plain",)), env=env)
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("USER learner\r")
    shell.wait("waits for PASS")
    shell.type("PASS\r")
    shell.wait("Password (not shown):")
    shell.type("secret\r")
    shell.wait("[STATE: TRANSACTION]")
    assert b"secret" not in shell.raw.partition(b"C: USER")[2]
    shell.type("STAT\r")
    shell.wait("[OK] S: +OK 7 7528")
    assert shell.restored()


def test_plain_ctrl_c_ends_the_waiting_and_not_the_program(
    terminal: Callable[..., Pty], peer: Callable[..., Peer]
) -> None:
    """sec-U1, without a REPL: the prompt is the next line, and the replies stay in step."""
    server = peer({"STAT": None})
    shell = terminal("--plain", f"127.0.0.1:{server.port}")
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("STAT\n")
    shell.until(lambda: "STAT" in server.heard, shell.scroll)
    shell.type("\x03")
    shell.wait("still due")
    shell.type("NOOP\n")
    shell.until(lambda: "NOOP" in server.heard, shell.scroll)
    server.say(b"+OK 3 300\r\n")
    shell.wait("The late reply to STAT")
    shell.wait("+OK noop")
    shell.type(":quit\n")
    assert shell.exit_code() == 0


def test_plain_does_not_show_what_answers_a_challenge(terminal: Callable[..., Pty]) -> None:
    shell = terminal("--plain")
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("AUTH PLAIN\n")
    shell.wait("masked here")
    shell.until(lambda: not shell.settings()[3] & termios.ECHO, shell.scroll)
    shell.type("AGxlYXJuZXIAc2VjcmV0\n")
    shell.wait("[STATE: TRANSACTION]")
    assert "AGxlYXJuZXIAc2VjcmV0" not in shell.raw.decode("utf-8", "replace")
    assert shell.settings()[3] & termios.ECHO


def test_plain_announces_autologout(terminal: Callable[..., Pty]) -> None:
    shell = terminal("--plain")
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type(":wait 545\n")
    shell.wait("will log out in a minute")
    shell.type(":wait 60\n")
    shell.wait("logged you out")


def test_a_block_pasted_into_a_question_is_not_taken_for_an_answer(
    terminal: Callable[..., Pty], peer: Callable[..., Peer]
) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.type("RETR 1\r")
    shell.wait("Type y to send RETR")
    shell.type("\x1b[200~PASS C4n4ry\r\nyes\r\n\x1b[201~")
    shell.type("\r")
    shell.wait("Not sent")
    assert "C4n4ry" not in shell.raw.decode("utf-8", "replace")
    assert "RETR 1" not in server.heard


def test_plain_what_is_typed_ahead_answers_no_question_and_is_not_sent(
    terminal: Callable[..., Pty], peer: Callable[..., Peer]
) -> None:
    """sec-U2, sec-U7: `yes` typed while a reply was due is no consent."""
    server = peer({"NOOP": None})
    shell = terminal("--plain", f"127.0.0.1:{server.port}")
    for line, wanted in (("USER a", "waits for PASS"), ("PASS b", "[STATE: TRANSACTION]")):
        shell.type(f"{line}\n")
        shell.wait(wanted)
    shell.type("NOOP\n")
    shell.until(lambda: "NOOP" in server.heard, shell.scroll)
    shell.type("DELE 1\nyes\nQUIT\nyes\n")
    server.say(b"+OK noop\r\n")
    shell.wait("Send these 4 lines?")
    shell.type("no\n")
    shell.wait("Not sent")
    assert server.heard[-1] == "NOOP"
    shell.type("RETR 1\n")
    shell.wait("asked once")
    shell.type("\x03")
    shell.wait(lambda scroll: "asked once" in scroll and scroll.rstrip().endswith(":") is False)
    shell.type("STAT\n")
    shell.wait("+OK 3 300")
    assert "RETR 1" not in server.heard
    shell.type(":quit\n")
    assert shell.exit_code() == 0


def test_plain_ctrl_d_with_marks_names_them_and_asks(terminal: Callable[..., Pty]) -> None:
    shell = terminal("--plain")
    for line, wanted in (
        ("USER learner", "waits for PASS"),
        ("PASS secret", "[STATE: TRANSACTION]"),
        ("DELE 2", "Marked now"),
    ):
        shell.type(f"{line}\n")
        shell.wait(wanted)
    shell.type("\x04")
    shell.wait("Type y to leave")
    shell.type("no\n")
    shell.type("STAT\n")
    shell.wait("+OK 6 6766")
    shell.type("\x04")
    shell.wait(lambda scroll: scroll.count("Type y to leave") == 2)
    shell.type("y\n")
    assert shell.exit_code() == 0


def test_plain_ctrl_c_at_a_question_sends_nothing_and_stays(terminal: Callable[..., Pty]) -> None:
    shell = terminal("--plain")
    shell.wait("[STATE: AUTHORIZATION]")
    shell.type("USER learner\n")
    shell.wait("waits for PASS")
    shell.type("PASS\n")
    shell.wait("Password (not shown):")
    shell.type("\x03")
    shell.until(lambda: shell.settings()[3] & termios.ECHO, shell.scroll)
    shell.type("PASS secret\n")
    shell.wait("[STATE: TRANSACTION]")
