"""Servers that are not the practice server: TLS, certificates, the seat belt, and when the program ends at once."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from terminal.driver import Peer, Pty, logged_in

pytestmark = pytest.mark.terminal
Terminals = Callable[..., Pty]
Peers = Callable[..., Peer]


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context, and the file of the CA behind it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, tmp_path / "ca.pem"


def test_certificate_is_refused_without_its_ca(
    terminal: Terminals, peer: Peers, authority: tuple[ssl.SSLContext, Path]
) -> None:
    server = peer(tls=authority[0])
    shell = terminal("--tls", "implicit", f"127.0.0.1:{server.port}")
    assert shell.exit_code() == 3
    text = " ".join(shell.scroll().split())
    assert "no CA that is trusted here has signed it" in text
    assert "--ca FILE" in text
    assert server.heard == []
    assert shell.restored()


def test_certificate_is_accepted_with_its_ca_and_tls_shows_it(
    terminal: Terminals, peer: Peers, authority: tuple[ssl.SSLContext, Path]
) -> None:
    server = peer(tls=authority[0])
    shell = terminal("--tls", "implicit", "--ca", str(authority[1]), f"127.0.0.1:{server.port}")
    shell.prompt("AUTHORIZATION 🔒 TLS ▸")
    shown = shell.line(":tls", "SHA-256")
    assert "TLSv1." in shown
    assert "127.0.0.1" in shown
    assert "not verified" not in shell.screen()


def test_insecure_is_named_at_the_prompt(
    terminal: Terminals, peer: Peers, authority: tuple[ssl.SSLContext, Path]
) -> None:
    server = peer(tls=authority[0])
    shell = terminal("--insecure", "--tls", "implicit", f"127.0.0.1:{server.port}")
    shell.prompt("AUTHORIZATION TLS not verified! ▸")
    shell.wait("· TLS not verified! ·")  # in the toolbar, too


@pytest.mark.parametrize("answer", [b"-ERR not offered\r\n", b"* BAD\r\n"], ids=["refused", "other protocol"])
def test_stls_that_does_not_come_about_ends_the_program(answer: bytes, terminal: Terminals, peer: Peers) -> None:
    server = peer({"STLS": answer})
    shell = terminal("--tls", "stls", f"127.0.0.1:{server.port}")
    assert shell.exit_code() == 3
    assert "(sent by the shell: TLS has to come first here)" in shell.scroll()
    assert "TLS could not be set up" in shell.scroll()
    assert server.heard == ["STLS"]
    assert shell.restored()


def test_ctrl_c_before_tls_leaves_no_session(terminal: Terminals, peer: Peers) -> None:
    server = peer({"STLS": None})
    shell = terminal("--tls", "stls", f"127.0.0.1:{server.port}")
    server.wait("STLS")
    shell.type("\x03")
    shell.prompt("CLOSED ▸")
    shell.type("PASS x\r")
    shell.wait("nothing was sent")
    assert server.heard == ["STLS"]


def test_host_that_does_not_answer_ends_the_program(terminal: Terminals) -> None:
    shell = terminal("127.0.0.1:1")
    assert shell.exit_code() == 3
    assert "Nothing listens at 127.0.0.1:1" in shell.scroll()
    assert shell.restored()


def test_seat_belt(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = logged_in(terminal, server)
    shell.prompt("look-only TRANSACTION ▸")
    shell.type("DELE 2\r")
    shell.wait("Look-only: DELE 2 was not sent.")
    shell.prompt()
    assert "DELE 2" not in server.heard
    shell.line(":unlock", ":drop leaves", prompt="unlocked TRANSACTION ▸")
    shell.line("DELE 2", "+OK")
    shell.line("DELE 3", "+OK", prompt="✗ #2 #3 TRANSACTION ▸")
    for answer, times in (("no", 1), ("yes", 2)):
        shell.type("QUIT\r")
        shell.wait(lambda scroll, times=times: scroll.count("Type y to send QUIT") == times)  # type: ignore[misc]
        assert "QUIT" not in server.heard
        shell.type(answer + "\r")
        shell.prompt("TRANSACTION ▸" if answer == "no" else "CLOSED ▸")
    assert "QUIT erases 2 messages" in shell.scroll()
    assert ": 2, 3." in " ".join(shell.scroll().split())
    assert server.heard[-1] == "QUIT"


def test_the_user_of_an_address_is_put_at_the_prompt_unsent(terminal: Terminals, peer: Peers) -> None:
    server = peer()
    shell = terminal(f"pop://me%40home@127.0.0.1:{server.port}")
    shell.wait("AUTHORIZATION ▸ USER me@home")
    assert server.heard == []
    shell.type("\r")
    shell.wait("✔S: +OK")
    server.wait("USER me@home")


def test_connect_goes_elsewhere_and_back(terminal: Terminals, peer: Peers) -> None:
    first, second = peer(), peer(greeting=b"+OK second\r\n")
    shell = terminal(f"127.0.0.1:{first.port}")
    shell.prompt()
    shell.line(f":connect 127.0.0.1:{second.port}", "+OK second")
    shell.line("NOOP", "+OK noop")
    assert second.heard == ["NOOP"]
    assert first.heard == []
    shell.line(":connect", "+OK second")
    shell.line(":connect practice", "practice server ready")
    shell.wait(" practice 127.0.0.1:")
    shell.line(":connect 127.0.0.1:1", "Nothing listens")
    shell.wait("stays open.")
