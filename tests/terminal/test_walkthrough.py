"""The walk-through in a real terminal at 80x24, step by step, in both languages.

What the shell should say is taken from the lessons, so that better words do not break it; that it says *this*, and in
which colour, where the arrow leads and what the toolbar knows is asserted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from interop.dovecot import dovecot

from popshell.course.catalog import Catalog, bundled
from popshell.words import fill
from terminal.driver import Pty, Tmux, codes, needs_tmux, painted

pytestmark = pytest.mark.terminal
CATALOG = Catalog((bundled(),))
STAMP = re.compile(r"<[0-9.]+@popshell\.example>")


def flat(text: str) -> str:
    """Without white space: a line end stands for a blank in English, and for nothing in Chinese."""
    return re.sub(r"\s+", "", text)


class Walk:
    """One session, and what the lessons say of it."""

    def __init__(self, terminal: Tmux, language: str) -> None:
        self.terminal = terminal
        self.language = language
        self.words = CATALOG.words(language)

    def note(self, path: str, key: str, **facts: object) -> str:
        page = CATALOG.page(self.language, path)
        assert page is not None
        template = page.note(key)
        assert template, (path, key)
        return self.plain(fill(template, facts) or "")

    def word(self, key: str, **facts: object) -> str:
        return self.plain(self.words(key, **facts))

    @staticmethod
    def plain(text: str) -> str:
        assert text
        return flat(re.sub(r"[`*]", "", text))

    def line(self, typed: str, status: str, note: str, *, echo: str | None = None) -> str:
        """Type a line; its reply has this status and is explained by this note. Gives what it showed."""
        shown = self.terminal.line(typed, status, echo=echo)
        row = next(row for row in shown.split("\n") if re.match(r"[✔✘›]S:", row))
        assert row.startswith(f"{'✔' if status == '+OK' else '✘'}S: {status}")
        assert note in flat(shown), (note, shown)
        return shown

    def toolbar(self) -> list[str]:
        """The four lines below the prompt."""
        rows = self.terminal.screen().rstrip("\n").split("\n")
        return [row.strip() for row in rows[-4:]]

    def toolbar_shows(self, *wanted: str) -> None:
        self.terminal.wait(lambda _: all(word in "\n".join(self.toolbar()) for word in wanted))


@needs_tmux()
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_walk_through(tmux: Callable[..., Tmux], language: str) -> None:
    terminal = tmux("--lang", language, "--theme", "dark")
    walk = Walk(terminal, language)
    word, note, line = walk.word, walk.note, walk.line

    # the greeting is shown and explained, the stamp named
    start = terminal.prompt("AUTHORIZATION ▸")
    stamps = STAMP.findall(start)
    assert stamps
    assert word("greeting.stamp", stamp=stamps[0]) in flat(start)
    assert f"━━{walk.words('diagram.greeting')}━━▶ [AUTHORIZATION]" in start
    walk.toolbar_shows("[AUTHORIZATION]", "QUIT", walk.words("toolbar.no-tls"), walk.words("toolbar.practice"))

    # STAT earns -ERR: why, and what to do
    shown = line("STAT", "-ERR", "STAT")
    assert all(name in shown for name in ("AUTHORIZATION", "TRANSACTION", "USER", "PASS"))
    line("USER learner", "+OK", note("commands/USER", "ok.note", name="learner"))

    # PASS masked as typed, and in the scroll; the arrow drawn
    terminal.type("PASS secret")
    terminal.wait("▸ PASS ••••••")
    walk.toolbar_shows("PASS string", walk.words("toolbar.legal"))
    assert "PASS secret" not in terminal.scroll()
    terminal.press("C-u")
    shown = line("PASS secret", "+OK", note("commands/PASS", "ok.note"), echo=" C: PASS ••••")
    assert "━━PASS━━▶ [TRANSACTION]" in shown
    assert "PASS secret" not in terminal.scroll()
    terminal.prompt("TRANSACTION ▸")
    walk.toolbar_shows("[TRANSACTION]", walk.words("toolbar.maildrop-unknown"))

    line("STAT", "+OK", note("commands/STAT", "ok.note", count=7, octets=7528))
    walk.toolbar_shows(walk.words("toolbar.maildrop", count=7))
    shown = line("LIST", "+OK", note("commands/LIST", "ok.note", count=7, octets=7528))
    assert re.search(r"^ S: 2 762$", shown, re.M)
    assert re.search(r"^ S: \.$", shown, re.M)
    shown = line("UIDL 1", "+OK", "1")
    found = re.search(r"\+OK 1 (\S+)", shown)
    assert found
    assert note("commands/UIDL", "ok.one", msg=1, uid=found[1], argument="1") in flat(shown)

    # a stuffed dot shown and explained
    shown = line("RETR 2", "+OK", note("commands/RETR", "ok.note", msg=2, octets=762, lines=29))
    assert " S: ..gulls-i-suspect\n" in shown
    assert note("commands/RETR", "ok.stuffed", stuffed=7) in flat(shown)
    assert codes("stuffing") <= painted(terminal.coloured(), "..gulls-i-suspect")[0], "underlined and yellow"
    shown = line("TOP 2 0", "+OK", note("commands/TOP", "ok.note", msg=2, n=0))
    assert "Subject: No parcel" in shown
    assert "gulls" not in shown
    line("retr 99", "-ERR", note("commands/RETR", "err.no-such-message", msg=99, last=7))

    # DELE marks, RETR is refused, RSET takes it back
    line("DELE 1", "+OK", note("commands/DELE", "ok.note", msg=1, marks="1", marked=1))
    walk.toolbar_shows("✗ " + walk.words("toolbar.marks", marks="#1"), walk.words("toolbar.maildrop", count=6))
    terminal.type("RETR 1")
    terminal.wait(f"⚠ {walk.words('warn.marked')}")
    terminal.press("C-u")
    shown = line("RETR 1", "-ERR", note("commands/RETR", "err.marked", msg=1))
    assert "RSET" in shown
    line("RSET", "+OK", note("commands/RSET", "ok.note", marks="1", marked=1))
    walk.toolbar_shows(walk.words("toolbar.maildrop", count=7))
    assert "✗" not in "".join(walk.toolbar())

    # QUIT: the message to be erased is named, UPDATE drawn, connection closed, told
    line("DELE 2", "+OK", note("commands/DELE", "ok.note", msg=2, marks="2", marked=1))
    walk.toolbar_shows("✗ " + walk.words("toolbar.marks", marks="#2"))
    shown = line("QUIT", "+OK", note("commands/QUIT", "ok.marks", marks="2", marked=1))
    assert word("shell.quit-erases", marks="2", count=1) in flat(terminal.scroll())
    assert "━━QUIT━━▶ [UPDATE]" in shown
    assert word("shell.closed") in flat(shown)
    terminal.prompt("CLOSED ▸")
    walk.toolbar_shows("[CLOSED]", walk.words("toolbar.connect"))

    # once more: CAPA, STLS, APOP
    terminal.line(":connect", "[AUTHORIZATION]")
    assert len(set(STAMP.findall(terminal.scroll()))) == 2, "each connection has a stamp of its own"
    shown = line("CAPA", "+OK", note("commands/CAPA", "ok.stls", tags=12, state="AUTHORIZATION"))
    assert " S: STLS\n" in shown
    shown = line("STLS", "+OK", note("commands/STLS", "ok.note"))
    assert flat((walk.words.get("shell.tls-on") or "?").partition("{")[0]) in flat(shown)
    assert "CAPA" in shown, "to be asked anew"
    terminal.prompt(f"AUTHORIZATION 🔒 {walk.words('toolbar.tls')} ▸")
    walk.toolbar_shows(f"· 🔒 {walk.words('toolbar.tls')} ·")
    terminal.type(":apop learner\r")
    terminal.wait(walk.words("shell.password").strip())
    terminal.type("secret\r")
    terminal.wait("▸ APOP learner ••••")
    assert word("shell.apop-ready") in flat(terminal.scroll())
    assert re.search(r"MD5\( <[0-9.]+@popshell\.example> \+ •••• \)\n += ••••\n", terminal.scroll())
    walk.toolbar_shows("[AUTHORIZATION]", "APOP name digest")
    terminal.press("Enter")
    terminal.prompt("TRANSACTION 🔒 TLS ▸")
    assert note("commands/APOP", "ok.note", name="learner") in flat(terminal.scroll())

    # the server itself answers in Chinese
    shown = line("LANG zh-Hant", "+OK", note("commands/LANG", "ok.one", lang="zh-Hant", argument="zh-Hant"))
    assert re.search(r"\+OK zh-Hant [\u4e00-\u9fff]", shown)
    shown = line("RETR 88", "-ERR", "88")
    assert re.search(r"-ERR [\u4e00-\u9fff]", shown)

    # colours: never the only sign, but true
    coloured = terminal.coloured()
    assert all(codes("ok") <= look for look in painted(coloured, "+OK practice"))
    assert all(codes("err") <= look for look in painted(coloured, "-ERR no"))
    assert all(codes("ok") <= look for look in painted(coloured, "✔"))
    assert all(codes("err") <= look for look in painted(coloured, "✘"))
    assert all(codes("gutter-client") <= look for look in painted(coloured, "C: "))
    assert all(codes("stamp") <= look for look in painted(coloured, stamps[0])[:1])
    assert codes("diagram.taken") <= painted(coloured, "━━PASS━━▶")[0]
    assert codes("diagram.here") <= painted(coloured, "[TRANSACTION]")[0]
    assert codes("header-name") <= painted(coloured, "Subject: No parcel")[-1], "a field name"
    assert not painted(coloured, "secret\n")
    assert "Traceback" not in coloured


def test_walk_through_on_dovecot(terminal: Callable[..., Pty]) -> None:
    """The same commands, typed by hand, to a server that others wrote; now every erasure is asked about."""
    with dovecot() as server:
        shell = terminal(f"127.0.0.1:{server.port}", "--ca", str(server.ca_file))
        shell.prompt("AUTHORIZATION ▸")
        assert "Dovecot" in shell.screen()
        assert "APOP needs it" in shell.screen()
        assert "USER, then PASS" in " ".join(shell.line("STAT", "✘S: -ERR").split())
        shell.line(f"USER {server.user}", "✔S: +OK")
        assert "━━PASS━━▶ [TRANSACTION]" in shell.line(f"PASS {server.password}", "✔S: +OK", echo=" C: PASS ••••")
        assert "7 messages, 7528 octets" in shell.line("STAT", "✔S: +OK 7 7528")
        assert "\n S: 2 762\n" in shell.line("LIST", "✔S: +OK")
        assert "Message 1 has the unique-id" in shell.line("UIDL 1", "✔S: +OK 1 ")
        shell.type("RETR 2\r")
        shell.wait("Type y to send RETR")
        shell.type("y\r")
        shown = shell.wait("were byte-stuffed")
        shell.prompt("TRANSACTION ▸")
        assert "\n S: ..gulls-i-suspect\n" in shown
        assert "7 lines were byte-stuffed" in shown
        assert "gulls" not in shell.line("TOP 2 0", "✔S: +OK")
        assert "There is no message 99" in shell.line("retr 99", "✘S: -ERR")
        shell.line(":unlock", ":drop leaves")
        shell.line("DELE 1", "Message 1 is only marked")
        assert "RSET takes all marks back" in shell.line("RETR 1", "✘S: -ERR")
        shell.line("RSET", "✔S: +OK")
        shell.line("DELE 2", "✔S: +OK")
        shell.type("QUIT\r")
        shell.wait("QUIT erases 1 message")
        assert server.left(server.user) == 7
        shell.type("yes\r")
        shell.prompt("CLOSED ▸")
        assert "━━QUIT━━▶ [UPDATE]" in shell.scroll()
        assert "as it must after QUIT" in shell.scroll()
        assert server.left(server.user) == 6

        shell.line(":connect", "Dovecot")
        shell.line("CAPA", " S: STLS")
        shown = " ".join(shell.line("STLS", "✔S: +OK").split())
        assert "TLS is on: TLSv1." in shown
        shell.prompt("AUTHORIZATION 🔒 TLS ▸")
        shell.type(f":apop {server.user}\r")
        shell.wait("Password")
        shell.type(f"{server.password}\r")
        shell.wait("▸ APOP learner ••••")
        shell.type("\r")
        shell.wait("━━APOP━━▶ [TRANSACTION]")
        shell.prompt("TRANSACTION 🔒 TLS ▸")
        shell.line("LANG zh-Hant", "✘S: -ERR")  # Dovecot has no LANG
        shell.type(":drop\r")
        shell.prompt("CLOSED ▸")
        assert server.left(server.user) == 6


def test_painted_can_tell_colours_apart() -> None:
    text = "\x1b[1m\x1b[32m+OK\x1b[0m x \x1b[31m-ERR\x1b[39m y\x1b[7;4mz"
    assert painted(text, "+OK") == [{"1", "32"}]
    assert painted(text, "x") == [set()]
    assert painted(text, "-ERR") == [{"31"}]
    assert painted(text, "y") == [{"39"}]
    assert painted(text, "z") == [{"39", "7", "4"}]
    assert painted(text, "no such word") == []


@needs_tmux()
def test_waiting_can_fail(tmux: Callable[..., Tmux]) -> None:
    terminal = tmux()
    terminal.prompt()
    with pytest.raises(AssertionError, match="did not come"):
        terminal.wait("-ERR what nobody said", 0.2)
    with pytest.raises(AssertionError, match="no prompt"):
        terminal.prompt("UPDATE ▸", 0.2)
