"""Keys: Ctrl-C, type-ahead, pasted blocks, Tab, search; and the server closing while one types (sec-U1 to U3)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from terminal.driver import Peer, Pty, Tmux, at, logged_in, needs_tmux

pytestmark = pytest.mark.terminal
Terminals = Callable[..., Pty]
Peers = Callable[..., Peer]


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_gives_the_prompt_back_and_replies_stay_in_step(terminal: Terminals, peer: Peers) -> None:
    server = peer({"STAT": None})
    shell = logged_in(terminal, server)
    shell.type("STAT\r")
    server.wait("STAT")
    shell.type("\x03")
    shell.prompt("TRANSACTION ▸")
    shell.wait("reply to STAT is still due")
    shell.wait("reply to STAT still due")  # and in the toolbar
    shell.type("NO")
    shell.wait("▸ NO")
    server.say(b"+OK 3 300\r\n")
    shell.wait("The late reply to STAT:")
    shell.wait("▸ NO")  # what was half typed is still there
    shell.type("OP\r")
    shell.wait("✔S: +OK noop")
    rows = [row for row in shell.scroll().split("\n") if "+OK" in row or "C: " in row or "late" in row]
    assert [row.strip() for row in rows[-5:]] == [
        "C: STAT",
        "The late reply to STAT:",
        "✔S: +OK 3 300",
        "C: NOOP",
        "✔S: +OK noop",
    ]


def test_type_ahead_waits_at_the_prompt_unsent(terminal: Terminals, peer: Peers) -> None:
    server = peer({"STAT": None})
    shell = logged_in(terminal, server)
    shell.type("STAT\r")
    server.wait("STAT")
    shell.type("DELE 1\rQUIT\r")
    server.say(b"+OK 3 300\r\n")
    shell.wait("▸ DELE 1\n")
    shell.wait("stands at the prompt, not sent")
    shell.type("\r")
    shell.wait("Send these 2 lines?")
    shell.type("n\r")
    shell.wait("Not sent. The lines are back at the prompt")
    shell.wait(lambda scroll: scroll.count("▸ DELE 1\n") == 1)
    shell.type("\x03")
    shell.prompt()
    assert server.heard == ["STAT"]
    shell.type("STAT\r")
    shell.until(lambda: server.heard == ["STAT", "STAT"], lambda: str(server.heard))
    shell.type("NOOP")
    server.say(b"+OK 3 300\r\n")
    shell.wait("▸ NOOP")
    shell.type("\r")
    shell.wait("+OK noop")


def test_password_typed_ahead_is_not_echoed(terminal: Terminals, peer: Peers) -> None:
    server = peer({"USER": None})
    shell = terminal(at(server))
    shell.prompt()
    shell.type("USER a\r")
    server.wait("USER a")
    shell.type("PASS C4n4ry")
    server.say(b"+OK\r\n")
    shell.wait("▸ PASS ••••••")
    assert b"C4n4ry" not in shell.raw
    assert server.heard == ["USER a"]


# -- pasted blocks -----------------------------------------------------------------------------------------------------

BLOCK = ":unlock\rDELE 1\rQUIT\r"


@pytest.mark.parametrize(
    "keys",
    ["\x1b[200~:unlock\nDELE 1\nQUIT\n\x1b[201~\r", "\x1b[200~:unlock\r\nDELE 1\r\nQUIT\x1b[201~\r", BLOCK],
    ids=["bracketed", "bracketed, CRLF", "raw keys in one write"],
)
def test_pasted_block_is_shown_and_asked_about(keys: str, terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.type(keys)
    shell.wait("Send these 3 lines?")
    assert "    :unlock\n" in shell.scroll()
    assert "    DELE 1\n" in shell.scroll()
    shell.type("n\r")
    shell.wait("▸ :unlock\nDELE 1\nQUIT\n")  # they are back
    assert server.heard == [], "nothing on the wire before consent"
    shell.type("\r")
    shell.until(lambda: shell.scroll().count("Send these 3 lines?") == 2, shell.screen)
    shell.type("y\r")
    shell.wait("Type y to send QUIT")
    assert server.heard == ["DELE 1"]
    shell.type("yes\r")
    shell.prompt("CLOSED ▸")
    assert server.heard == ["DELE 1", "QUIT"]


def test_pasted_block_without_line_end_runs_nothing(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.type("\x1b[200~STAT\nQUIT\n\x1b[201~")
    shell.wait("▸ STAT\n")
    shell.type("\x03")
    shell.prompt()
    assert server.heard == []


def test_pasted_secrets_are_masked_where_the_block_is_shown(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = terminal(at(server))
    shell.prompt()
    shell.type("\x1b[200~USER a\nPAS C4n4ry\nUSER a\npass C4n4ry\nAUTH PLAIN\nC4n4ry\n\x1b[201~\r")
    shell.wait("Send these 6 lines?")
    assert shell.scroll().count("••••\n") >= 3
    assert "C4n4ry" not in shell.scroll()


def test_pasted_block_is_pipelined_where_capa_said_so(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.line("USER learner", "+OK")
    shell.line("PASS secret", "+OK", echo=" C: PASS ••••")
    shell.line("CAPA", "PIPELINING")
    shell.type("STAT\rNOOP\rUIDL 1\r")
    shell.wait("3 lines in one flight")  # nothing is asked on the practice server
    shell.wait("has the unique-id")
    shell.prompt()


# -- the server closes -------------------------------------------------------------------------------------------------


def test_server_closing_keeps_the_line_being_typed(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.type("RET")
    shell.wait("TRANSACTION ▸ RET")
    server.hang_up()
    shell.wait("The server closed the connection")
    shell.wait("CLOSED ▸ RET")
    shell.type("R 1")
    shell.wait("CLOSED ▸ RETR 1")
    rows = [row.rstrip() for row in shell.scroll().split("\n")]
    told = next(at for at, row in enumerate(rows) if "The server closed" in row)
    assert told < next(at for at, row in enumerate(rows) if row.startswith("CLOSED ▸"))
    assert sum("▸" in row for row in rows) == 1, "the old prompt is gone"
    shell.type("\r")
    shell.wait("nothing was sent")
    shell.line(":connect", "[AUTHORIZATION]")
    assert server.heard == []


def test_autologout_is_counted_down_and_happens(terminal: Terminals) -> None:
    """`:wait` moves the practice server's clock, which is the shell's as well."""
    shell = terminal()
    shell.prompt()
    shell.line("USER learner", "+OK")
    shell.line("PASS secret", "+OK", echo=" C: PASS ••••")
    shell.line("DELE 1", "+OK")
    assert "autologout" not in shell.scroll()
    shell.line(":wait 550", "")
    first = shell.wait("· autologout in ").partition("autologout in ")[2][:2]
    shell.wait(lambda scroll: 0 < int(scroll.partition("autologout in ")[2][:2]) < int(first))  # by itself
    shell.type("RE")
    shell.wait("▸ RE")
    shell.type("\x15:wait 60\r")
    shell.wait("the server logged you out")
    shell.wait("marked (1) is still there")
    shell.prompt("CLOSED ▸")


# -- editing -----------------------------------------------------------------------------------------------------------


def test_search_in_history_and_enter(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.line("NOOP", "-ERR")
    shell.line("STAT", "-ERR")
    shell.remembered("STAT")
    shell.type("\x03")
    shell.prompt()
    shell.type("\x12NO")
    shell.wait("`NO': NOOP")
    shell.type("\r")
    shell.wait("AUTHORIZATION ▸ NOOP")
    shell.type("\r")
    shell.wait(lambda scroll: scroll.count(" C: NOOP") == 2)
    shell.prompt()
    shell.line("CAPA", "STLS")
    shell.type("CA")
    shell.wait("▸ CAPA")  # suggested out of the history
    shell.type("\x1b[C\r")
    shell.wait(lambda scroll: scroll.count(" C: CAPA") == 2)
    shell.prompt()
    shell.type("NO")
    shell.wait("▸ NO\n")  # what was refused is not suggested


def test_vi_keys(terminal: Terminals) -> None:
    shell = terminal("--vi")
    shell.prompt()
    shell.type("STATX\x1b")
    shell.wait("▸ STATX")
    time.sleep(0.6)  # prompt_toolkit waits this long to tell Escape from the beginning of a key
    shell.type("x\r")
    shell.wait(" C: STAT")


def test_tab_offers_what_is_legal_first_and_says_why_not(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.type("\t")
    screen = shell.wait(lambda scroll: "name the maildrop" in scroll and "switch this connection" in scroll)
    assert screen.index("USER  ") < screen.index("STLS  ")
    shell.type("r\t")
    shell.wait("only in TRANSACTION")
    shell.wait("retr ")
    shell.type("\x15AUTH \t")
    shell.wait("▸ AUTH PLAIN")
    shell.type("\x15:not\t")
    shell.wait("▸ :notes")
    shell.type("\x15")
    shell.line("USER learner", "+OK")
    shell.line("PASS secret", "+OK", echo=" C: PASS ••••")
    shell.line("LIST", "+OK")
    shell.line("TOP 3 0", "+OK")
    shell.type("RETR \t")
    shell.wait("935 octets · 四")


def test_warning_does_not_stop_enter(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.type("RETR 0")
    shell.wait("⚠ only in TRANSACTION")
    shell.type("\r")
    shell.wait("✘S: -ERR")


def test_bare_pass_asks_hidden_and_leaves_no_length(terminal: Terminals) -> None:
    shell = terminal()
    shell.prompt()
    shell.line("USER learner", "+OK")
    shell.type("PASS\r")
    shell.wait("Password (not shown):")
    shell.type("secret")
    shell.wait("Password (not shown): ******")
    shell.type("\r")
    shell.prompt("TRANSACTION ▸")
    assert "******" not in shell.scroll()
    assert " C: PASS ••••" in shell.scroll()


@pytest.mark.parametrize("keys", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_question_that_is_broken_off_is_no(keys: str, terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.type("RETR 1\r")
    shell.wait("Type y to send RETR")
    shell.type(keys)
    shell.prompt("TRANSACTION ▸")
    assert server.heard == []


def test_ctrl_d_with_marks_names_them_and_asks_and_never_sends_quit(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.type(":unlock\r")
    shell.prompt("unlocked TRANSACTION ▸")
    shell.type("DELE 3\r")
    shell.prompt("#3 TRANSACTION ▸")
    for key in ("\x04", ":quit\r"):
        before = shell.scroll().count("Type y to leave")
        shell.type(key)
        shell.wait(lambda scroll, before=before: scroll.count("Type y to leave") == before + 1)  # type: ignore[misc]
        shell.wait(lambda scroll: "Message 3 is marked and stays in the maildrop" in " ".join(scroll.split()))
        shell.type("n\r")
        shell.prompt("#3 TRANSACTION ▸")
    shell.type("\x04")
    shell.wait(lambda scroll: scroll.count("Type y to leave") == 3)
    shell.type("y\r")
    assert shell.exit_code() == 0
    assert "QUIT" not in server.heard


@needs_tmux()
def test_bracketed_paste_of_a_real_terminal(tmux: Callable[..., Tmux], peer: Peers, tmp_path: Path) -> None:
    server = peer()
    shell = tmux(at(server))
    shell.prompt()
    shell.paste("USER a\nPASS C4n4ry\nDELE 1\n")
    shell.wait("▸ USER a")
    shell.press("Enter")
    shell.wait("Send these 3 lines?")
    assert server.heard == []
    assert "C4n4ry" not in shell.scroll()


def test_a_key_of_the_configuration_types_its_line_and_what_was_typed_comes_back(
    terminal: Terminals, tmp_path: Path
) -> None:
    folder = tmp_path / "config" / "popshell"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[keys]\nf2 = ":state"\n', "utf-8")
    shell = terminal(env={"XDG_CONFIG_HOME": str(tmp_path / "config")})
    shell.prompt("AUTHORIZATION ▸")
    shell.type("CAP")
    shell.wait("▸ CAP")
    shell.type("\x1bOQ")
    shell.wait(":state")
    shell.wait("AUTHORIZATION ▸ CAP")


def test_ctrl_c_stops_a_long_reply_on_its_way_to_the_screen(terminal: Terminals, peer: Peers) -> None:
    """With --plain a reply is shown whole: here 800 KB, of which the terminal has taken the first kilobytes."""
    mail = b"a line\r\n" * 100_000
    server = peer({"TOP 1 9": b"+OK\r\n" + mail + b".\r\n"})
    shell = terminal("--plain", at(server))
    shell.wait("S: +OK")
    for line in ("USER a", "PASS b", "TOP 1 9"):
        shell.type(f"{line}\r")
        server.wait(line)
    taken = b""
    while b"S: a line" not in taken:
        taken += os.read(shell.master, 1024)
    shell.type("\x03")
    shell.wait("of 100000 lines are not shown")
    shell.type("NOOP\r")
    server.wait("NOOP")
    assert shell.raw.count(b"S: a line") < 50_000
