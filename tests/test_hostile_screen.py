"""Hostile replies on a terminal: nothing that a server sends leaves its rows (docs/security.md, sec-R1 to sec-R7).

The terminal is pyte. Each look at it is shown to fail: the same lines, written with a margin but without the filter,
must be caught.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import COLOURED, COLOURLESS
from support import for_each

from popshell.protocol.commands import Content
from popshell.protocol.line import parse
from popshell.ui.layout import PLAIN
from popshell.ui.stream import View, client_line, pager, status_line, write_content
from popshell.ui.theme import sent_runs

PROFILE = settings(max_examples=120, deadline=None, derandomize=True, database=None)
SEQUENCE = re.compile(r"\x1b\[(?:[0-9;]*m|\?7[lh])")
ABOVE = [f"above {n}" for n in range(5)]
MARGINS = (" S: ", " S| ", " S~ ", "✔S: ", "✘S: ", "›S: ", "?S: ", " C: ")
CLIPBOARD = re.compile(r"(?:\x1b\]|\x9d)52;")


def drawn(raw: bytes, kind: Content, view: View) -> str:
    out = io.StringIO()
    write_content(out, raw, kind, view)
    return out.getvalue()


class Terminal(pyte.Screen):
    """A terminal that remembers what it was asked and told beside text."""

    def __init__(self, columns: int = 80) -> None:
        self.asked: list[str] = []
        self.bells = 0
        super().__init__(columns, 50)
        self._stream = pyte.Stream(self)
        self.clipboard = 0
        self.feed("\n".join(ABOVE) + "\n")

    def write_process_input(self, data: str) -> None:
        self.asked.append(data)

    def bell(self, *arguments: Any) -> None:
        self.bells += 1

    def feed(self, text: str) -> None:
        self.clipboard += len(CLIPBOARD.findall(text))
        self._stream.feed(text.replace("\n", "\r\n"))

    def state(self) -> tuple[object, ...]:
        """All that output may not change."""
        return (
            (self.title, self.icon_name, frozenset(self.mode), self.margins, self.charset),
            (self.g0_charset, self.g1_charset, frozenset(self.tabstops), len(self.savepoints)),
            (self.cursor.attrs, self.cursor.hidden, self.cursor.x),
            (tuple(self.asked), self.bells, self.clipboard),
        )


def contained(text: str, columns: int = 80) -> None:
    """Feed `text` to a terminal and look: its rows begin with our margins, and nothing else has changed."""
    terminal = Terminal(columns)
    before = terminal.state()
    terminal.feed(text)
    assert terminal.state() == before
    display = terminal.display
    assert [row.rstrip() for row in display[:5]] == ABOVE
    used = range(5, terminal.cursor.y)
    assert len(used) == text.count("\n"), "the terminal has wrapped, or was moved"
    for y in used:
        cells = "".join(terminal.buffer[y][x].data for x in range(4))
        assert cells in MARGINS, f"row {y} begins with {cells!r}"
    assert not "".join(display[terminal.cursor.y :]).strip()


def careless(payload: bytes) -> str:
    """What most shells do: a margin, and the server's text as it is."""
    return "".join(f" S: {line}\n" for line in payload.decode("utf-8", "replace").split("\r\n"))


#: Hostile lines that a terminal does something with; pyte knows them all.
OBEYED = {
    "title": b"\x1b]0;pwned\x07x",
    "title, ended by ST": b"\x1b]2;pwned\x1b\\x",
    "clipboard": b"\x1b]52;c;cm0gLXJmIH4K\x07x",
    "clipboard, C1": "\x9d52;c;QQ==\x9c".encode(),
    "clear the screen": b"\x1b[2J",
    "clear the screen, C1": "\x9b2J\x9b1;1Hx".encode(),
    "home and write": b"\x1b[H+OK all is well",
    "up and write": b"\x1b[5A\rforged",
    "reset": b"\x1bc",
    "alignment test": b"\x1b#8",
    "hide the cursor": b"\x1b[?25l",
    "no wrap": b"\x1b[?7l",
    "insert mode": b"\x1b[4h",
    "origin mode": b"\x1b[?6h",
    "reverse screen": b"\x1b[?5h",
    "scroll region": b"\x1b[2;4r",
    "delete lines": b"\x1b[10A\x1b[9M",
    "clear tab stops": b"\x1b[3g",
    "save the cursor": b"\x1b7",
    "colours without end": b"\x1b[31;7mred",
    "ask for the cursor": b"\x1b[6n",
    "ask for the device": b"\x1b[c",
    "ask for the state": b"\x1b[5n",
    "ask, C1": "\x9b6n".encode(),
    "bell": b"\x07",
    "backspace over the margin": b"\x08" * 9 + b"AUTHORIZATION \xe2\x96\xb8 ",
    "carriage return": b"real\rforged",
    "line feed": b"a\nforged: no margin",
    "vertical tab": b"a\x0bforged",
    "form feed": b"a\x0cforged",
    "next line": b"a\x1bEforged",
    "index": b"a\x1bDforged",
    "a mark on the margin": "\u0301x".encode(),
    "marks on the margin": ("\u0338" * 3 + "x").encode(),
    "too wide": b"x" * 300,
    "too wide, Chinese": "信".encode() * 60,
    "blanks up to a forged row": b" " * 76 + "✔S: +OK forged".encode(),
    "the prompt": b"\r\x1b[KAUTHORIZATION \xe2\x96\xb8 PASS ",
    "alternate screen and home": b"\x1b[?1049h\x1b[H\x1b[2J",
    "erase in line": b"\x1b[2K\x1b[1G+OK",
}
#: Hostile lines that pyte passes over or only draws; terminals of flesh and blood do not.
OTHERS = {
    "next line, C1": "a\x85forged".encode(),
    "conceal": b"\x1b[8mhidden",
    "shift out": b"\x0eqqqq",
    "other letters": b"\x1b(0qqqq",
    "device control": b'\x1bP$q"p\x1b\\',
    "answerback": b"\x05",
    "private message": b"\x1b^x\x1b\\",
    "window report": b"\x1b[21t",
    "kitty graphics": b"\x1b_Gi=1;AAAA\x1b\\",
    "hyperlink": b"\x1b]8;;http://evil/\x07bank\x1b]8;;\x07",
    "bracketed paste ends": b"\x1b[201~DELE 1",
    "bidi": "\u202egnp.exe".encode(),
    "zero width": "pass\u200bword\ufeff".encode(),
    "tags": "\U000e0041\U000e0042".encode(),
    "line separator": "a\u2028forged".encode(),
    "rich markup": b"[/] [bold]x[/bold] :skull: [link=http://evil]x",
    "ptk markup": b"\x01raw\x02 \x1b[9999C",
    "our prompt": "AUTHORIZATION ▸ QUIT".encode(),
    "our margin": "✔S: +OK all is well".encode(),
    "our note": b" S~ +0 octets",
    "not UTF-8": bytes(range(0x80, 0x100)),
    "all controls": bytes(range(0x20)) + b"\x7f",
    "over-long": b"\x1b" * 20_000,
    "piled marks": ("a" + "\u0301" * 400).encode(),
    "only marks": ("\u0301" * 400).encode(),
    "vowels of Hangul": ("\u1161" * 300).encode(),
    "tabs": b"\t" * 60,
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 ❤\ufe0f".encode() * 9,
    "letters of flags": "\U0001f1f9\U0001f1fc".encode() * 30,
    "unassigned": "\U0001fbfa\u0378".encode() * 40,
    "a bare dot": b"..",
}
HOSTILE = OBEYED | OTHERS


def text(payload: bytes) -> str:
    return payload.decode("utf-8", "surrogateescape")


WRITERS: dict[str, Callable[[bytes, View], str]] = {
    "listing": lambda payload, view: drawn(b"1 1\r\n" + payload + b"\r\n2 2\r\n.\r\n", Content.SCAN_LISTINGS, view),
    "uids": lambda payload, view: drawn(b"1 a\r\n" + payload + b"\r\n2 b\r\n.\r\n", Content.UNIQUE_IDS, view),
    "capabilities": lambda payload, view: drawn(b"TOP\r\n" + payload + b"\r\n.\r\n", Content.CAPABILITIES, view),
    "text": lambda payload, view: drawn(payload + b"\r\nb\r\n.\r\n", Content.TEXT, view),
    "mail header": lambda payload, view: drawn(b"a: " + payload + b"\r\n\r\nb\r\n.\r\n", Content.MAIL, view),
    "mail body": lambda payload, view: drawn(b"\r\n" + payload + b"\r\n.\r\n", Content.MAIL, view),
    "pager": lambda payload, view: "\n".join(pager(payload + b"\r\n.\r\n", Content.MAIL, view)) + "\n",
    "status": lambda payload, view: f"{status_line('+OK ' + text(payload), view.look, view.columns)}\n",
    "junk": lambda payload, view: f"{status_line(text(payload), view.look, view.columns)}\n",
    "client": lambda payload, view: (
        client_line(sent_runs(parse(payload.decode("utf-8", "replace"))), view.look, view.columns) + "\n"
    ),
}


def test_hostile_lines_stay_in_their_rows() -> None:
    def check(case: tuple[str, str]) -> None:
        name, writer = case
        assert_inert(WRITERS[writer](HOSTILE[name], View(COLOURLESS, columns=80, max_lines=30)))
        text = WRITERS[writer](HOSTILE[name], View(COLOURED, columns=80, max_lines=30))
        assert_inert(text)
        if text.count("\n") <= 40:  # what fits; the over-long status line does not
            contained(text)

    for_each([(name, writer) for name in HOSTILE for writer in WRITERS], check)


def unguarded(text: str) -> str:
    return text.replace("\x1b[?7l", "").replace("\x1b[?7h", "")


def assert_inert(text: str) -> None:
    """Of escape sequences there are only ours: colours, and the bracket against wrapping, closed again."""
    left = SEQUENCE.sub("", text)
    assert not [c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co") and c not in "\n\t"]
    assert text.count("\x1b[?7l") == text.count("\x1b[?7h")
    assert text.rfind("\x1b[?7l") <= text.rfind("\x1b[?7h")


def test_the_look_at_the_terminal_can_fail() -> None:
    def check(name: str) -> None:
        try:
            contained(careless(OBEYED[name]))
        except AssertionError:
            return
        raise AssertionError("not noticed")

    for_each(OBEYED, check)


def test_a_harmless_line_passes_the_look_even_carelessly() -> None:
    contained(careless(b"a\r\nb"))


def test_plain_mode_writes_no_escape_sequence() -> None:
    def check(name: str) -> None:
        for write in WRITERS.values():
            text = write(HOSTILE[name], View(PLAIN, columns=80, max_lines=30))
            assert "\x1b" not in text
            for row in text.rstrip("\n").split("\n"):
                assert re.match(r"(?:\[(?:OK|ERR|MORE|\?)\] )?[SC][:|~] ", row)

    for_each(HOSTILE, check)


def test_a_terminal_that_counts_other_columns_cannot_break_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some terminals draw characters of ambiguous width with two columns."""
    narrow = pyte.screens.wcwidth

    def wide(character: str) -> int:
        return 2 if unicodedata.east_asian_width(character) == "A" else narrow(character)

    monkeypatch.setattr(pyte.screens, "wcwidth", wide)
    payload = "…─§".encode() * 25 + b"\r\n"
    contained(drawn(payload, Content.MAIL, View(COLOURED, columns=80)))
    with pytest.raises(AssertionError, match="wrapped"):
        contained(unguarded(drawn(payload, Content.MAIL, View(COLOURED, columns=80))))


def test_a_window_narrower_than_a_row() -> None:
    text = drawn(b"x" * 60 + b"\r\n.\r\n", Content.TEXT, View(COLOURED, columns=12))
    contained(text, columns=12)
    with pytest.raises(AssertionError, match="wrapped"):
        contained(unguarded(text), columns=12)


@PROFILE
@given(st.lists(st.binary(max_size=40) | st.text(max_size=30).map(str.encode), max_size=4), st.sampled_from(Content))
def test_any_octets_stay_in_their_rows(lines: list[bytes], kind: Content) -> None:
    raw = b"".join(line.replace(b"\r\n", b"") + b"\r\n" for line in lines)
    text = drawn(raw, kind, View(COLOURED, columns=80, max_lines=70))
    assert_inert(text)
    contained(text)
