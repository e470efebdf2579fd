"""visible: nothing unsafe comes out, nothing is lost, and the checks themselves can fail."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak.visible_million import MARKS, UNSAFE, check, recover, samples
from wcwidth import wcwidth

from popshell.visible import ATOM, fold, harmless, is_mark, show, whole_characters, width

PROFILE = settings(max_examples=400, deadline=None, derandomize=True, database=None)

#: Every character but those of the large uniform blocks: Han, Hangul syllables, private use.
SMALL = [
    chr(code)
    for code in (*range(0x3400), *range(0x9F00, 0xAC01), *range(0xD7A0, 0x20000), *range(0xE0000, 0xE1000))
    if not 0xE000 < code < 0xF8FF
]

SHOWN = [
    (b"+OK", "+OK"),
    (b"\x1b[2J", "\\x1b[2J"),
    (b"a\r\n", "a\\r\n"),
    (b"a\tb", "a\tb"),
    (b"\x00\x07\x7f", "\\x00\\x07\\x7f"),
    (b"C:\\path", "C:\\\\path"),
    (b"\\x1b", "\\\\x1b"),
    (b"\xff\xfe", "\\xff\\xfe"),
    (b"\x9b", "\\x9b"),  # an octet that is not UTF-8 ...
    ("\x9b".encode(), "\\u009b"),  # ... and the character that a terminal may take for CSI
    ("\u202eab".encode(), "\\u202eab"),
    ("\ufeffx".encode(), "\\ufeffx"),
    ("\U000e0041".encode(), "\\U000e0041"),
    ("信箱 é \U0001f600".encode(), "信箱 é \U0001f600"),
    ("e\u0301".encode(), "e\u0301"),
    ("\u0301a\n\u0301b".encode(), "\\u0301a\n\\u0301b"),
    (("e" + "\u0301" * 6).encode(), "e" + "\u0301" * 4 + "\\u0301\\u0301"),
    ("❤\ufe0f".encode(), "❤\\ufe0f"),
    ("\ue0b0".encode(), "\\ue0b0"),
    (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),  # a surrogate is no UTF-8
    (b"\xe4\xbf", "\\xe4\\xbf"),
    (b"", ""),
]


def test_what_is_shown_of_octets() -> None:
    for data, text in SHOWN:
        assert show(data) == text, data
        assert recover(text) == data, data


def test_text_is_shown_as_its_octets_are() -> None:
    for data, text in SHOWN:
        assert show(data.decode("utf-8", "surrogateescape")) == text


def test_a_lone_surrogate_is_shown() -> None:
    assert show("a\ud800") == "a\\ud800"
    assert recover("a\\ud800") == "a\ud800".encode("utf-8", "surrogatepass")


def test_keep_nothing() -> None:
    assert show(b"a\tb\r\nc", keep="") == "a\\tb\\r\\nc"
    assert show(b"a\tb\nc", keep="\t") == "a\tb\\nc"
    assert recover("a\\tb\\r\\nc") == b"a\tb\r\nc"


def test_nothing_else_can_be_kept() -> None:
    for keep in ("\r", "\x1b", "a"):
        with pytest.raises(ValueError, match="LF and TAB"):
            show(b"", keep=keep)


def test_20000_octet_strings() -> None:
    for data in samples(20_000, seed=1939):
        check(data)


@PROFILE
@given(st.binary(max_size=60))
def test_any_octets(data: bytes) -> None:
    check(data)
    check(data, lambda octets: show(octets, keep=""))


@PROFILE
@given(st.text(st.characters(exclude_categories=[]) | st.characters(categories=["Cs"]), max_size=40))
def test_any_text(text: str) -> None:
    view = show(text)
    assert UNSAFE.isdisjoint(view)
    assert recover(view) == b"".join(map(octets, text))


def octets(character: str) -> bytes:
    """A surrogate of "surrogateescape" is an octet, others have the three octets that no decoder takes."""
    escaped = "\udc80" <= character <= "\udcff"
    return character.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")


def test_every_character() -> None:
    """The ranges in the code against the tables of this Python; of what is safe, the backslash alone is doubled."""
    safe = [chr(code) for code in range(0x110000) if chr(code) not in UNSAFE and chr(code) != "\n"]
    views = show("\n".join(f"a{character}" for character in safe)).split("\n")
    changed = [character for character, view in zip(safe, views, strict=True) if view != f"a{character}"]
    assert changed == ["\\"], list(map(ascii, changed))
    assert all(view.startswith("\\") for view in show("\n".join(UNSAFE)).split("\n"))


def test_no_character_without_width_begins_a_line() -> None:
    """What a terminal would draw on our margin, by the tables of wcwidth, newer than those of Python."""
    for line in show("\n".join(SMALL)).split("\n"):
        assert line == "" or wcwidth(line[0]) > 0 or line[0] == "\t", hex(ord(line[0]))


@pytest.mark.parametrize(
    "careless",
    [
        lambda data: data.decode("utf-8", "replace"),  # leaks, and loses octets
        lambda data: show(data).replace("\\\\", "\\"),  # the backslash is not doubled
        lambda data: "".join(c for c in data.decode("utf-8", "replace") if c.isprintable()),  # removes
    ],
)
def test_the_check_can_fail(careless: object) -> None:
    def failures() -> int:
        count = 0
        for data in samples(500, seed=1):
            try:
                check(data, careless)  # type: ignore[arg-type]
            except (AssertionError, ValueError):
                count += 1
        return count

    assert failures() > 20


def test_recover_refuses_what_show_never_gives() -> None:
    for text in ("\\", "a\\q", "\\x1", "\\xGG", "\\u12", "\\x1B"):
        with pytest.raises(ValueError, match="stray backslash"):
            recover(text)


def test_marks_stay_with_their_letters() -> None:
    assert all(is_mark(mark) for mark in MARKS)
    hebrew = "בְּרֵאשִׁית"
    thai = "ที่นี่"
    korean = unicodedata.normalize("NFD", "안녕")
    for word in (hebrew, thai, korean):
        assert show(word) == word


def test_width() -> None:
    known = [("abc", 3), ("信箱", 4), ("信箱ab", 6), ("ＵＳＥＲ", 8), ("e\u0301", 1), ("─▶·…§", 5), ("", 0)]
    for text, columns in [*known, ("\t", 8), ("a\tb", 10)]:
        assert width(text) == columns, text


def test_width_is_never_too_small() -> None:
    """By the tables of wcwidth, newer than those of Python."""
    for character in SMALL:
        assert wcwidth(character) <= width(character) or show(character) != character, hex(ord(character))


@PROFILE
@given(st.text(max_size=80), st.integers(16, 40))
def test_fold(text: str, columns: int) -> None:
    view = show(text, keep="\t")
    cuts = list(fold(view, columns))
    rows = [view[start:end] for start, end in cuts]
    assert "".join(rows) == view
    assert all(width(row) <= columns for row in rows)
    assert not any(row and is_mark(row[0]) for row in rows)
    assert [atom[0] for row in rows for atom in re.finditer(ATOM, row)] == [atom[0] for atom in re.finditer(ATOM, view)]


def test_whole_characters() -> None:
    for text in ("aé信\U0001f600", "é", "信", "\U0001f600"):
        octets = text.encode()
        for end in range(len(octets) + 1):
            assert whole_characters(octets[:end]).decode() == octets[:end].decode("utf-8", "ignore")
    assert whole_characters(b"\xbf" * 5) == b"\xbf" * 5  # no beginning is near: junk stays


def test_harmless_is_what_the_filter_leaves_alone() -> None:
    all_of_them = "".join(map(chr, range(0x110000)))
    for block in (all_of_them[at : at + 64] for at in range(0, len(all_of_them), 64)):
        # Of the 900,000 that no one has assigned, or that are for private use, four of a block.
        few = [ch for at, ch in enumerate(block) if at % 16 == 5 or unicodedata.category(ch) not in ("Cn", "Co")]
        for ch in block if harmless(block) else filter(harmless, few):
            text = f"{ch * 6}a{ch * 6}\n{ch}"
            assert ch == "\\" or show(text) == text
    assert harmless("+OK §7 「信」\n\t\\")
    for text in ("\x1b", "a\u0301", "\u3164", "\u115f", "\uffa0", "\u202e", "\x9b", "\udc9b", "\ufe0f", "\U000e0041"):
        assert not harmless(text)
