"""stream: what is written of a reply, by whichever way. How hostile replies fare: `test_hostile_screen.py`."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from looks import COLOURED, COLOURLESS
from soak.visible_million import recover

from popshell.protocol.commands import Content
from popshell.protocol.line import parse
from popshell.ui import stream
from popshell.ui.layout import PLAIN, Look
from popshell.ui.stream import Shown, View, client_line, pager, status_line, write_content
from popshell.ui.theme import begin, body_spans, sent_runs
from popshell.visible import width

PROFILE = settings(max_examples=250, deadline=None, derandomize=True, database=None)
SEQUENCE = re.compile(r"\x1b\[(?:[0-9;]*m|\?7[lh])")
BARE = View(COLOURLESS)
CYAN, RED = (begin(name, "dark") for name in ("number", "err"))


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


def drawn(raw: bytes, kind: Content = Content.TEXT, view: View = BARE, first: int = 0) -> str:
    out = Out()
    write_content(out, raw, kind, view, first=first)
    return out.getvalue()


def shown(raw: bytes, kind: Content = Content.TEXT, view: View = BARE, first: int = 0) -> Shown:
    return write_content(Out(), raw, kind, view, first=first)


# What is written


def test_of_what_the_reader_has_had_enough_of_the_rest_is_left() -> None:
    """Ctrl-C while a long reply is being written: the block on its way is the last."""
    raw, asked = b"a line\r\n" * 100_000 + b".\r\n", []

    def enough() -> bool:
        asked.append(True)
        return len(asked) == 2

    out = Out()
    found = write_content(out, raw, Content.TEXT, BARE._replace(max_lines=1 << 40, enough=enough))
    assert (found.lines, found.total) == (out.getvalue().count("\n"), 100_000)
    assert 0 < found.lines < 10_000
    assert "S: .\n" not in out.getvalue()


def test_where_a_content_begins_and_how_many_lines_it_has_need_not_be_found_out() -> None:
    for first, most in ((0, 2), (1, 1), (2, 5), (0, 9)):
        raw, view = b"A: b\r\n\r\nc\r\nd\r\n.\r\n", BARE._replace(max_lines=most)
        alone, within = Out(), Out()
        wanted = write_content(alone, raw, Content.MAIL, view, first=first)
        assert write_content(within, b"+OK\r\n" + raw, Content.MAIL, view, first=first, begin=5, lines=4) == wanted
        assert within.getvalue() == alone.getvalue()


def test_a_listing() -> None:
    assert drawn(b"1 120\r\n2 200\r\n.\r\n", Content.SCAN_LISTINGS) == " S: 1 120\n S: 2 200\n S: .\n"
    assert drawn(b"1 120\r\n", Content.SCAN_LISTINGS, View(COLOURED)) == (f" S: {CYAN}1\x1b[m {CYAN}120\x1b[m\n")


def test_a_mail_shows_header_stuffing_and_terminator() -> None:
    raw = b"Subject: x\r\n\r\na: b\r\n..\r\n.\r\n"
    assert drawn(raw, Content.MAIL) == " S: Subject: x\n S: \n S: a: b\n S: ..\n S: .\n"
    coloured = drawn(raw, Content.MAIL, View(COLOURED)).split("\n")
    gutter = " S: "
    assert coloured == [
        f"{gutter}{CYAN}Subject:\x1b[m x",
        gutter,
        f"{gutter}a: b",
        f"{gutter}\x1b[4;38;5;221m.\x1b[m.",
        f"{gutter}\x1b[1;38;5;221m.\x1b[m",
        "",
    ]


def test_a_mail_without_header_has_none() -> None:
    assert CYAN not in drawn(b"\r\na: b\r\n\r\nc: d\r\n.\r\n", Content.MAIL, View(COLOURED))
    assert drawn(b"a: b\r\nc: d\r\n", Content.MAIL, View(COLOURED)).count(CYAN) == 2


def test_an_empty_content() -> None:
    assert drawn(b".\r\n") == " S: .\n"
    assert shown(b".\r\n") == Shown(0, 0)
    assert drawn(b"") == ""
    assert shown(b"") == Shown(0, 0)


def test_a_content_that_was_cut_has_no_terminator() -> None:
    assert drawn(b"whole\r\nhal") == " S: whole\n S: hal\n"
    assert shown(b"whole\r\nhal") == Shown(2, 2)


def test_counts() -> None:
    raw = b"a\r\n..b\r\n...\r\nc\r\n.\r\n"
    assert shown(raw) == Shown(4, 4)
    assert shown(raw, view=View(COLOURLESS, max_lines=2)) == Shown(2, 4)
    assert drawn(raw, view=View(COLOURLESS, max_lines=2)) == " S: a\n S: ..b\n"
    assert drawn(raw, view=View(COLOURLESS, max_lines=2), first=2) == " S: ...\n S: c\n S: .\n"
    assert shown(raw, view=View(COLOURLESS, max_lines=2), first=2) == Shown(2, 2)
    assert shown(raw, first=9) == Shown(0, 0)


def test_2000_lines_then_ask() -> None:
    raw = b"1 1\r\n" * 5000 + b".\r\n"
    result = shown(raw, Content.SCAN_LISTINGS)
    assert (result.lines, result.total, result.left) == (2000, 5000, 3000)
    assert drawn(raw, Content.SCAN_LISTINGS).count("\n") == 2000


def test_rows_count_against_the_limit() -> None:
    """A line that is cut into rows counts as many; the line that reaches the limit is whole."""
    raw = (b"x" * 100 + b"\r\n") * 50 + b".\r\n"
    for kind in Content:
        text = drawn(raw, kind, View(COLOURLESS, columns=30, max_lines=10))
        assert text.count("\n") == 12
        assert shown(raw, kind, View(COLOURLESS, columns=30, max_lines=10)).lines == 3


@pytest.mark.parametrize(("plain", "first", "more"), [(False, " S: ", " S| "), (True, "S: ", "S| ")])
def test_long_lines_are_cut_into_rows(plain: bool, first: str, more: str) -> None:
    rows = drawn(b"x" * 200 + b"\r\n", view=View(Look(plain=plain), columns=80)).splitlines()
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
    text = drawn(raw, Content.MAIL)
    assert text == f" S: {'x' * 998}\n S~ +9,999,002 octets\n S: next\n S: .\n"
    assert shown(raw) == Shown(2, 2)
    assert drawn(b"x" * 998 + b"\r\n") == f" S: {'x' * 998}\n"
    words = View(COLOURLESS, hidden="另有 {octets} 位元組", long_line=4)
    assert drawn("信箱統計\r\n".encode(), view=words) == " S: 信\n S~ 另有 9 位元組\n"


def test_a_bare_lf_or_cr_ends_no_line() -> None:
    assert drawn(b"a\nb\rc\r\r\n\n\r\n") == " S: a\\nb\\rc\\r\n S: \\n\n"
    assert shown(b"a\nb\rc\r\r\n\n\r\n").total == 2


def test_one_write_a_block_and_the_first_is_small() -> None:
    raw = b"".join(b"%d 100\r\n" % n for n in range(100_000)) + b".\r\n"
    out = Out()
    write_content(out, raw, Content.SCAN_LISTINGS, View(COLOURED, columns=80, max_lines=10**9))
    assert len(out.events[0]) < 8 * 4096
    assert out.events[1] == "flush"
    assert len(out.events) < len(raw) / 65_536 + 6
    assert all(event.endswith("\n") for event in out.events if event != "flush")


def test_the_pager_gives_the_same_rows() -> None:
    raw = b"Subject: x\r\n\r\n" + b"..line\r\n" * 30_000 + b"y" * 5000 + b"\r\n.\r\n"
    view = View(COLOURED, columns=80, max_lines=10**9)
    assert "\n".join(pager(raw, Content.MAIL, view)) + "\n" == drawn(raw, Content.MAIL, view)
    assert len(list(pager(raw, Content.MAIL, View(COLOURED, max_lines=3)))) == 30_005
    assert next(pager(raw, Content.MAIL, BARE)) == " S: Subject: x"


def test_status_lines() -> None:
    cases: list[tuple[str, str, str]] = [
        ("+OK 2 320", "✔S: +OK 2 320", "[OK] S: +OK 2 320"),
        ("-ERR no", "✘S: -ERR no", "[ERR] S: -ERR no"),
        ("+ eA==", "›S: + eA==", "[MORE] S: + eA=="),
        ("* OK IMAP", "?S: * OK IMAP", "[?] S: * OK IMAP"),
        ("+ok", "?S: +ok", "[?] S: +ok"),
        ("", "?S: ", "[?] S: "),
        ("+OK ••••", "✔S: +OK ••••", "[OK] S: +OK ••••"),
        ("+OK a\tb\rc\nd", "✔S: +OK a\\tb\\rc\\nd", "[OK] S: +OK a\\tb\\rc\\nd"),
    ]
    for raw, expected, plain in cases:
        assert status_line(raw, COLOURLESS) == expected
        assert status_line(raw, PLAIN) == plain
        assert SEQUENCE.sub("", status_line(raw, COLOURED)) == expected


def test_status_lines_have_colours_and_rows() -> None:
    assert status_line("-ERR [IN-USE] x", COLOURED) == (
        f"{RED}✘\x1b[mS: {RED}-ERR\x1b[m {begin('code', 'dark')}[IN-USE]\x1b[m x"
    )
    rows = status_line("+OK " + "x" * 100, COLOURLESS, 80).split("\n")
    assert rows == ["✔S: +OK " + "x" * 72, " S| " + "x" * 28]


@pytest.mark.parametrize("look", [COLOURLESS, PLAIN])
@pytest.mark.parametrize("line", ["+OK", "-ERR", "+", "what"])
def test_status_lines_stay_within_the_window(look: Look, line: str) -> None:
    rows = status_line(f"{line} {'x' * 300}", look, 40).split("\n")
    assert max(map(width, rows)) <= 40
    assert "".join(re.sub(r"^.*?S[:|] ", "", row) for row in rows) == f"{line} {'x' * 300}"


def test_client_lines() -> None:
    assert client_line(sent_runs(parse("PASS x")), COLOURLESS) == " C: PASS ••••"
    assert client_line(sent_runs(parse("PASS x")), Look(ascii=True)) == " C: PASS ****"
    assert client_line(sent_runs(parse("PASS x"), masked=False), COLOURLESS) == " C: PASS x"
    assert client_line(sent_runs(parse("STAT")), PLAIN) == "C: STAT"
    assert client_line(sent_runs(parse("RETR 1")), COLOURED) == (
        f" \x1b[1;38;5;80mC:\x1b[m \x1b[1mRETR\x1b[m {CYAN}1\x1b[m"
    )
    assert client_line(sent_runs(parse("A\x1b[2J")), COLOURLESS) == " C: A\\x1b[2J"


# The same by any way

WIRE = st.lists(
    st.one_of(
        st.sampled_from(
            [b"1 120", b"2 a", b"2 a\\b", b"..", b".x", b"", b"a: b", b" folded", b"TOP", b"x" * 30, b"\t\t", b"a\nb"]
        ),
        st.binary(max_size=30),
        st.text(max_size=20).map(lambda text: text.encode()),
        st.sampled_from([b"z" * size for size in (16, 17, 77, 249, 250, 997, 998, 999)] + [b"\t" * 9]),
        st.integers(1, 60).map(lambda size: "信".encode() * size),
    ).map(lambda line: line.replace(b"\r\n", b"")),
    max_size=12,
)
VIEWS = st.builds(
    lambda look, columns, most: View(look, columns, most),
    st.sampled_from([COLOURED, COLOURLESS, PLAIN]),
    st.sampled_from([None, 1, 20, 31, 80]),
    st.sampled_from([1, 3, 2000]),
)


def wire(lines: list[bytes]) -> bytes:
    """Lines as a content, as a reader would hand it out: no line in it is the terminator."""
    return b"".join((b".." if line == b"." else line) + b"\r\n" for line in lines)


@PROFILE
@given(WIRE, st.sampled_from(Content), VIEWS, st.sampled_from([b"", b".\r\n", b"cut"]))
def test_blocks_are_drawn_as_lines_are(lines: list[bytes], kind: Content, view: View, end: bytes) -> None:
    raw = wire(lines) + end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream._Rows, "_plain", lambda self, block: ("", 0))
        patch.setattr(stream._Rows, "_regular", lambda self, block: ("", 0))
        one_by_one = drawn(raw, kind, view), shown(raw, kind, view)
    assert (unguarded(drawn(raw, kind, view)), shown(raw, kind, view)) == (
        unguarded(one_by_one[0]),
        one_by_one[1],
    )


@PROFILE
@given(WIRE, st.sampled_from(Content), VIEWS, st.integers(1, 70))
def test_the_size_of_blocks_makes_no_difference(lines: list[bytes], kind: Content, view: View, size: int) -> None:
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
@given(WIRE, st.sampled_from(Content))
def test_colour_says_nothing_of_its_own(lines: list[bytes], kind: Content) -> None:
    raw = wire(lines) + b".\r\n"
    assert SEQUENCE.sub("", drawn(raw, kind, View(COLOURED))) == drawn(raw, kind, BARE)


@PROFILE
@given(WIRE)
def test_the_octets_are_recoverable_from_the_rows(lines: list[bytes]) -> None:
    raw = b"".join(line[:998] + b"\r\n" for line in lines)
    rows = drawn(raw).split("\n")[:-1]
    assert [recover(row[4:]) for row in rows if not row.startswith(" S~")] == raw.split(b"\r\n")[:-1]


@PROFILE
@given(WIRE | st.integers(0, 40).map(lambda count: [b"\x00"] * count), st.sampled_from(Content), VIEWS)
@example([b""] * 50, Content.MAIL, View(COLOURED, 20))
@example([b"."] * 50, Content.TEXT, View(COLOURED, 20))
@example([b"\x00" * 900] * 5, Content.MAIL, View(COLOURED, 1))
@example([b"1 1"] * 50, Content.UNIQUE_IDS, View(COLOURED, 80))
@example([b"a:\x01\x01"] * 50, Content.MAIL, View(COLOURED, 20))
@example([b"T"] * 50, Content.CAPABILITIES, View(COLOURED, 20))
@example([b"\xe2\x80\x8b" * 300] * 3, Content.MAIL, View(COLOURED, 20))
def test_eight_times_at_most(lines: list[bytes], kind: Content, view: View) -> None:
    raw = wire(lines) + b".\r\n"
    # The brackets of the only block are no part of what grows with the input.
    assert len(drawn(raw, kind, view)) <= 8 * len(raw) + len("\x1b[?7l\x1b[?7h")


def test_what_a_rule_says_is_what_is_painted() -> None:
    line = "1 120"
    painted = drawn(line.encode() + b"\r\n", Content.SCAN_LISTINGS, View(COLOURED))
    for start, end, style in body_spans(Content.SCAN_LISTINGS, line):
        assert COLOURED.paint(style, line[start:end]) in painted
