"""stream: what is written of a reply, and that nothing a server sends leaves its rows on a terminal (sec-R1 to R7)."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popshell.ui import stream
from popshell.ui.rules import BodyKind, body_spans
from popshell.ui.stream import Shown, View, client_line, pager, status_line, write_content
from popshell.ui.theme import COLOURED, COLOURLESS, PLAIN, Palette
from popshell.visible import recover, width

PROFILE = settings(max_examples=250, deadline=None, derandomize=True, database=None)
KINDS: tuple[BodyKind, ...] = ("listing", "uids", "mail", "capabilities", "text")
SEQUENCE = re.compile(r"\x1b\[(?:[0-9;]*m|\?7[lh])")
BARE = View(COLOURLESS)


class Out(io.StringIO):
    """A standard output that remembers its writes and when it was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def write(self, text: str) -> int:
        self.events.append(text)
        return super().write(text)

    def flush(self) -> None:
        self.events.append("flush")


def drawn(raw: bytes, kind: BodyKind = "text", view: View = BARE, first: int = 0) -> str:
    out = Out()
    write_content(out, raw, kind, view, first=first)
    return out.getvalue()


def shown(raw: bytes, kind: BodyKind = "text", view: View = BARE, first: int = 0) -> Shown:
    return write_content(Out(), raw, kind, view, first=first)


# What is written


def test_a_listing() -> None:
    assert drawn(b"1 120\r\n2 200\r\n.\r\n", "listing") == " S: 1 120\n S: 2 200\n S: .\n"
    assert drawn(b"1 120\r\n", "listing", View(COLOURED)) == (
        " \x1b[2mS:\x1b[m \x1b[36m1\x1b[m \x1b[36m120\x1b[m\n"
    )


def test_a_mail_shows_header_stuffing_and_terminator() -> None:
    raw = b"Subject: x\r\n\r\na: b\r\n..\r\n.\r\n"
    assert drawn(raw, "mail") == " S: Subject: x\n S: \n S: a: b\n S: ..\n S: .\n"
    coloured = drawn(raw, "mail", View(COLOURED)).split("\n")
    gutter = " \x1b[2mS:\x1b[m "
    assert coloured == [
        f"{gutter}\x1b[36mSubject:\x1b[m x",
        gutter,
        f"{gutter}a: b",
        f"{gutter}\x1b[4;33m.\x1b[m.",
        f"{gutter}\x1b[1;33m.\x1b[m",
        "",
    ]


def test_an_empty_content() -> None:
    assert drawn(b".\r\n") == " S: .\n"
    assert shown(b".\r\n") == Shown(0, 0, 0, False)
    assert drawn(b"") == ""
    assert shown(b"") == Shown(0, 0, 0, False)


def test_a_content_that_was_cut_has_no_terminator() -> None:
    assert drawn(b"whole\r\nhal") == " S: whole\n S: hal\n"
    assert shown(b"whole\r\nhal") == Shown(2, 2, 10, False)


def test_counts() -> None:
    raw = b"a\r\n..b\r\n...\r\nc\r\n.\r\n"
    assert shown(raw) == Shown(4, 4, 14, False, stuffed=2)
    assert shown(raw, view=View(COLOURLESS, max_lines=2)) == Shown(2, 4, 14, True, stuffed=2)
    assert drawn(raw, view=View(COLOURLESS, max_lines=2)) == " S: a\n S: ..b\n"
    assert drawn(raw, view=View(COLOURLESS, max_lines=2), first=2) == " S: ...\n S: c\n S: .\n"
    assert shown(raw, view=View(COLOURLESS, max_lines=2), first=2) == Shown(2, 4, 14, False, stuffed=2)
    assert shown(raw, first=9) == Shown(0, 4, 14, False, stuffed=2)


def test_2000_lines_then_ask() -> None:
    raw = b"1 1\r\n" * 5000 + b".\r\n"
    result = shown(raw, "listing")
    assert (result.lines, result.total_lines, result.truncated) == (2000, 5000, True)
    assert drawn(raw, "listing").count("\n") == 2000


def test_rows_count_against_the_limit() -> None:
    """A line that is cut into rows counts as many; the line that reaches the limit is whole."""
    raw = (b"x" * 100 + b"\r\n") * 50 + b".\r\n"
    for kind in KINDS:
        text = drawn(raw, kind, View(COLOURLESS, columns=30, max_lines=10))
        assert text.count("\n") == 12
        assert shown(raw, kind, View(COLOURLESS, columns=30, max_lines=10)).lines == 3


@pytest.mark.parametrize(("plain", "first", "more"), [(False, " S: ", " S| "), (True, "S: ", "S| ")])
def test_long_lines_are_cut_into_rows(plain: bool, first: str, more: str) -> None:
    rows = drawn(b"x" * 200 + b"\r\n", view=View(Palette(False, plain), columns=80)).splitlines()
    assert [row[: len(first)] for row in rows] == [first, more, more]
    assert "".join(row[len(first) :] for row in rows) == "x" * 200
    assert max(map(len, rows)) == 80


def test_rows_break_between_escapes_and_between_letters() -> None:
    view = View(COLOURLESS, columns=20)
    rows = drawn(b"\x00" * 5 + b"\r\n", view=view).splitlines()
    assert rows == [" S: " + "\\x00" * 4, " S| \\x00"]
    marked = "e\u0301" * 40
    rows = drawn(marked.encode() + b"\r\n", view=View(PLAIN, columns=20)).splitlines()
    assert [row[3:] for row in rows] == ["e\u0301" * 17, "e\u0301" * 17, "e\u0301" * 6]
    rows = drawn("信".encode() * 20 + b"\r\n", view=View(PLAIN, columns=20)).splitlines()
    assert [width(row) for row in rows] == [19, 19, 11]


def test_76_columns_of_base64_fit_into_a_window_of_80() -> None:
    assert drawn(b"A" * 76 + b"\r\n", view=View(COLOURLESS, columns=80)).count("\n") == 1


def test_a_line_too_long_is_cut_with_a_note() -> None:
    raw = b"x" * 10_000_000 + b"\r\nnext\r\n.\r\n"
    text = drawn(raw, "mail")
    assert text == f" S: {'x' * 998}\n S~ +9,999,002 octets\n S: next\n S: .\n"
    assert shown(raw) == Shown(2, 2, 10_000_008, False)
    assert drawn(b"x" * 998 + b"\r\n") == f" S: {'x' * 998}\n"
    words = View(COLOURLESS, hidden="另有 {octets} 位元組", long_line=4)
    assert drawn("信箱統計\r\n".encode(), view=words) == " S: 信\n S~ 另有 9 位元組\n"


def test_a_bare_lf_or_cr_ends_no_line() -> None:
    assert drawn(b"a\nb\rc\r\r\n\n\r\n") == " S: a\\nb\\rc\\r\n S: \\n\n"
    assert shown(b"a\nb\rc\r\r\n\n\r\n").total_lines == 2


def test_one_write_a_block_and_the_first_is_small() -> None:
    raw = b"".join(b"%d 100\r\n" % n for n in range(100_000)) + b".\r\n"
    out = Out()
    write_content(out, raw, "listing", View(COLOURED, columns=80, max_lines=10**9))
    assert len(out.events[0]) < 8 * 4096
    assert out.events[1] == "flush"
    assert len(out.events) < len(raw) / 65_536 + 6
    assert all(event.endswith("\n") for event in out.events if event != "flush")


def test_the_pager_gives_the_same_rows() -> None:
    raw = b"Subject: x\r\n\r\n" + b"..line\r\n" * 30_000 + b"y" * 5000 + b"\r\n.\r\n"
    view = View(COLOURED, columns=80, max_lines=10**9)
    assert "\n".join(pager(raw, "mail", view)) + "\n" == drawn(raw, "mail", view)
    assert "\n".join(pager(raw, "mail", view, first=7)) + "\n" == drawn(raw, "mail", view, first=7)
    assert len(list(pager(raw, "mail", View(COLOURED, max_lines=3)))) == 30_005
    assert next(pager(raw, "mail", BARE)) == " S: Subject: x"


@pytest.mark.parametrize(
    ("raw", "expected", "plain"),
    [
        (b"+OK 2 320\r\n", "✔S: +OK 2 320", "[OK] S: +OK 2 320"),
        (b"-ERR no\r\n", "✘S: -ERR no", "[ERR] S: -ERR no"),
        (b"+ eA==\r\n", "›S: + eA==", "[MORE] S: + eA=="),
        (b"* OK IMAP\r\n", "?S: * OK IMAP", "[?] S: * OK IMAP"),
        (b"+ok", "?S: +ok", "[?] S: +ok"),
        (b"", "?S: ", "[?] S: "),
        ("+OK ••••", "✔S: +OK ••••", "[OK] S: +OK ••••"),
        (b"+OK a\tb\rc\nd", "✔S: +OK a\\tb\\rc\\nd", "[OK] S: +OK a\\tb\\rc\\nd"),
    ],
)
def test_status_lines(raw: bytes | str, expected: str, plain: str) -> None:
    assert status_line(raw, COLOURLESS) == expected
    assert status_line(raw, PLAIN) == plain
    assert SEQUENCE.sub("", status_line(raw, COLOURED)) == expected


def test_status_lines_have_colours_and_rows() -> None:
    assert status_line(b"-ERR [IN-USE] x", COLOURED) == (
        "\x1b[1;31m✘\x1b[m\x1b[2mS:\x1b[m \x1b[1;31m-ERR\x1b[m \x1b[35m[IN-USE]\x1b[m x"
    )
    rows = status_line(b"+OK " + b"x" * 100, COLOURLESS, 80).split("\n")
    assert rows == ["✔S: +OK " + "x" * 72, " S| " + "x" * 28]


def test_client_lines() -> None:
    assert client_line("PASS ••••", COLOURLESS) == " C: PASS ••••"
    assert client_line("STAT", PLAIN) == "C: STAT"
    assert client_line("RETR 1", COLOURED) == " \x1b[1;36mC:\x1b[m \x1b[1mRETR\x1b[m \x1b[36m1\x1b[m"
    assert client_line("A\x1b[2J", COLOURLESS) == " C: A\\x1b[2J"


# The same by any way

WIRE = st.lists(
    st.one_of(
        st.sampled_from(
            [b"1 120", b"2 uid", b"2 a\\b", b"..", b".x", b"", b"a: b", b" folded", b"TOP 5", b"x" * 30, b"\t\t", b"a\nb"]
        ),
        st.binary(max_size=30),
        st.text(max_size=20).map(lambda text: text.encode()),
        st.integers(900, 1100).map(lambda size: b"z" * size),
    ).map(lambda line: line.replace(b"\r\n", b"")),
    max_size=12,
)
VIEWS = st.builds(
    View,
    st.sampled_from([COLOURED, COLOURLESS, PLAIN]),
    st.sampled_from([None, 1, 20, 31, 80]),
    st.sampled_from([1, 3, 2000]),
)


def wire(lines: list[bytes]) -> bytes:
    """Lines as a content, as a reader would hand it out: no line in it is the terminator."""
    return b"".join(b".." + line[1:] if line == b"." else line + b"\r\n" for line in lines)


@PROFILE
@given(WIRE, st.sampled_from(KINDS), VIEWS, st.sampled_from([b"", b".\r\n", b"cut"]))
def test_blocks_are_drawn_as_lines_are(lines: list[bytes], kind: BodyKind, view: View, end: bytes) -> None:
    raw = wire(lines) + end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream._Rows, "_plain", lambda self, block: None)
        patch.setattr(stream._Rows, "_regular", lambda self, block: None)
        one_by_one = drawn(raw, kind, view), shown(raw, kind, view)
    assert (unguarded(drawn(raw, kind, view)), shown(raw, kind, view)) == (
        unguarded(one_by_one[0]),
        one_by_one[1],
    )


@PROFILE
@given(WIRE, st.sampled_from(KINDS), VIEWS, st.integers(1, 70))
def test_the_size_of_blocks_makes_no_difference(
    lines: list[bytes], kind: BodyKind, view: View, size: int
) -> None:
    raw = wire(lines) + b".\r\n"
    whole = unguarded(drawn(raw, kind, view)), shown(raw, kind, view)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_FIRST_BLOCK", size)
        patch.setattr(stream, "_BLOCK", size * 2)
        assert (unguarded(drawn(raw, kind, view)), shown(raw, kind, view)) == whole


def unguarded(text: str) -> str:
    """Brackets against wrapping stand around blocks, wherever those begin."""
    return text.replace("\x1b[?7l", "").replace("\x1b[?7h", "")


@PROFILE
@given(WIRE, st.sampled_from(KINDS))
def test_colour_says_nothing_of_its_own(lines: list[bytes], kind: BodyKind) -> None:
    raw = wire(lines) + b".\r\n"
    assert SEQUENCE.sub("", drawn(raw, kind, View(COLOURED))) == drawn(raw, kind, BARE)


@PROFILE
@given(WIRE)
def test_the_octets_are_recoverable_from_the_rows(lines: list[bytes]) -> None:
    raw = b"".join(line[:998] + b"\r\n" for line in lines)
    rows = drawn(raw).split("\n")[:-1]
    assert [recover(row[4:]) for row in rows if not row.startswith(" S~")] == raw.split(b"\r\n")[:-1]


@PROFILE
@given(WIRE | st.integers(0, 40).map(lambda count: [b"\x00"] * count), st.sampled_from(KINDS), VIEWS)
@example([b""] * 50, "mail", View(COLOURED, 20))
@example([b"."] * 50, "text", View(COLOURED, 20))
@example([b"\x00" * 900] * 5, "mail", View(COLOURED, 1))
@example([b"1 1"] * 50, "uids", View(COLOURED, 80))
@example([b"a:\x01\x01"] * 50, "mail", View(COLOURED, 20))
@example([b"T"] * 50, "capabilities", View(COLOURED, 20))
@example([b"\xe2\x80\x8b" * 300] * 3, "mail", View(COLOURED, 20))
def test_eight_times_at_most(lines: list[bytes], kind: BodyKind, view: View) -> None:
    raw = wire(lines) + b".\r\n"
    # The brackets of the only block are no part of what grows with the input.
    assert len(drawn(raw, kind, view)) <= 8 * len(raw) + len("\x1b[?7l\x1b[?7h")


# On a terminal

ABOVE = [f"text that was here before, {n}" for n in range(5)]
MARGINS = (" S: ", " S| ", " S~ ", "✔S: ", "✘S: ", "›S: ", "?S: ", " C: ")
CLIPBOARD = re.compile(r"(?:\x1b\]|\x9d)52;")


class Terminal(pyte.Screen):  # type: ignore[misc]
    """A terminal that remembers what it was asked and told beside text."""

    def __init__(self, columns: int = 80) -> None:
        self.asked: list[str] = []
        self.bells = 0
        super().__init__(columns, 90)
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
    assert [row.rstrip() for row in terminal.display[:5]] == ABOVE
    used = range(5, terminal.cursor.y)
    assert len(used) == text.count("\n"), "the terminal has wrapped, or was moved"
    for y in used:
        cells = "".join(terminal.buffer[y][x].data for x in range(4))
        assert cells in MARGINS, f"row {y} begins with {cells!r}"
    assert not "".join(terminal.display[terminal.cursor.y :]).strip()


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
    "other letters": b"\x1b(0qqqq",
    "shift out": b"\x0eqqqq",
    "save the cursor": b"\x1b7",
    "colours without end": b"\x1b[31;7mred",
    "conceal": b"\x1b[8mhidden",
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
    "next line, C1": "a\x85forged".encode(),
    "index": b"a\x1bDforged",
    "a mark on the margin": "\u0301x".encode(),
    "marks on the margin": ("\u0338" * 3 + "x").encode(),
    "too wide": b"x" * 300,
    "too wide, Chinese": "信".encode() * 60,
    "blanks up to a forged row": b" " * 76 + b"✘S: ".replace("✘".encode(), b"+") + b"forged",
    "the prompt": b"\r\x1b[KAUTHORIZATION \xe2\x96\xb8 PASS ",
    "alternate screen and home": b"\x1b[?1049h\x1b[H\x1b[2J",
    "erase in line": b"\x1b[2K\x1b[1G+OK",
}
#: Hostile lines that pyte passes over or only draws; terminals of flesh and blood do not.
OTHERS = {
    "device control": b"\x1bP$q\"p\x1b\\",
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
WRITERS: dict[str, Callable[[bytes, View], str]] = {
    **{kind: lambda payload, view, kind=kind: drawn(b"a\r\n" + payload + b"\r\nb\r\n.\r\n", kind, view) for kind in KINDS},
    "mail body": lambda payload, view: drawn(b"\r\n" + payload + b"\r\n.\r\n", "mail", view),
    "pager": lambda payload, view: "\n".join(pager(payload + b"\r\n.\r\n", "mail", view)) + "\n",
    "status": lambda payload, view: status_line(b"+OK " + payload, view.palette, view.columns) + "\n",
    "junk": lambda payload, view: status_line(payload, view.palette, view.columns) + "\n",
    "client": lambda payload, view: client_line(payload.decode("utf-8", "replace"), view.palette, view.columns) + "\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines_stay_in_their_rows(name: str) -> None:
    for palette in (COLOURED, COLOURLESS):
        for write in WRITERS.values():
            text = write(HOSTILE[name], View(palette, columns=80, max_lines=60))
            assert_inert(text)
            rows = text.split("\n")
            if len(rows) <= 80:
                contained(text)


def assert_inert(text: str) -> None:
    """Of escape sequences there are only ours: colours, and the bracket against wrapping, closed again."""
    left = SEQUENCE.sub("", text)
    assert not [c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co") and c not in "\n\t"]
    assert text.count("\x1b[?7l") == text.count("\x1b[?7h")
    assert text.rfind("\x1b[?7l") <= text.rfind("\x1b[?7h")


@pytest.mark.parametrize("name", OBEYED)
def test_the_look_at_the_terminal_can_fail(name: str) -> None:
    with pytest.raises(AssertionError):
        contained(careless(OBEYED[name]))


def test_a_harmless_line_passes_the_look_even_carelessly() -> None:
    contained(careless(b"a\r\nb"))


@pytest.mark.parametrize("name", HOSTILE)
def test_plain_mode_writes_no_escape_sequence(name: str) -> None:
    for write in WRITERS.values():
        text = write(HOSTILE[name], View(PLAIN, columns=80, max_lines=60))
        assert "\x1b" not in text
        for row in text.rstrip("\n").split("\n"):
            assert re.match(r"(?:\[(?:OK|ERR|MORE|\?)\] )?[SC][:|~] ", row)


def test_a_terminal_that_counts_other_columns_cannot_break_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some terminals draw characters of ambiguous width with two columns."""
    narrow = pyte.screens.wcwidth

    def wide(character: str) -> int:
        return 2 if unicodedata.east_asian_width(character) == "A" else narrow(character)

    monkeypatch.setattr(pyte.screens, "wcwidth", wide)
    payload = "…─§".encode() * 25 + b"\r\n"
    contained(drawn(payload, "mail", View(COLOURED, columns=80)))
    with pytest.raises(AssertionError, match="wrapped"):
        contained(unguarded(drawn(payload, "mail", View(COLOURED, columns=80))))


def test_a_window_narrower_than_a_row() -> None:
    text = drawn(b"x" * 60 + b"\r\n.\r\n", "text", View(COLOURED, columns=12))
    contained(text, columns=12)
    with pytest.raises(AssertionError, match="wrapped"):
        contained(unguarded(text), columns=12)


@PROFILE
@given(st.lists(st.binary(max_size=40) | st.text(max_size=30).map(str.encode), max_size=4), st.sampled_from(KINDS))
def test_any_octets_stay_in_their_rows(lines: list[bytes], kind: BodyKind) -> None:
    text = drawn(wire([line.replace(b"\r\n", b"") for line in lines]), kind, View(COLOURED, columns=80, max_lines=70))
    assert_inert(text)
    contained(text)


def test_what_a_rule_says_is_what_is_painted() -> None:
    line = "1 120"
    painted = drawn(line.encode() + b"\r\n", "listing", View(COLOURED))
    for start, end, style in body_spans("listing", line):
        assert COLOURED.paint(style, line[start:end]) in painted
