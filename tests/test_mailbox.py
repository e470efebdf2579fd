"""mailbox.py: exact tables, what is listed of a large maildrop, and what is not known."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popshell.ui.layout import Line, Words, columns, plain
from popshell.ui.mailbox import LIMIT, MailRow, table


def english(key: str, /, **facts: object) -> str:
    return {
        "mailbox.summary": "{messages} messages, {octets} octets; marked as deleted: {marks}",
        "mailbox.unknown": "`?` is not known yet.",
        "mailbox.left-out": "{count} messages not shown",
        "mailbox.marked": "marked",
        "mailbox.number": "number",
        "mailbox.octets": "octets",
        "mailbox.unique-id": "unique-id",
        "mailbox.subject": "subject",
    }[key].format(**facts)


def chinese(key: str, /, **facts: object) -> str:
    return {
        "mailbox.summary": "{messages} 封郵件，{octets} 個位元組；標記為刪除：{marks}",
        "mailbox.unknown": "`?` 表示還不知道。",
        "mailbox.left-out": "略過 {count} 封郵件",
        "mailbox.marked": "已標記",
        "mailbox.number": "編號",
        "mailbox.octets": "位元組",
        "mailbox.unique-id": "唯一識別碼",
        "mailbox.subject": "主旨",
    }[key].format(**facts)


MAILS = (
    MailRow(1, 120, "whqtswO00WBw418f9t5JxYwZ", "Welcome to the maildrop", False),
    MailRow(2, 2000, "QhdPYR:00WBw1Ph7x7", None, True),
    MailRow(3, None, None, "練習：標題很長的一封郵件，要看看會不會切斷在奇怪的地方", False),
)

ENGLISH_80 = """
2 messages, ? octets; marked as deleted: 1
number  octets            unique-id                 subject
     1     120            whqtswO00WBw418f9t5JxYwZ  Welcome to the maildrop
     2    2000  ✗ marked  QhdPYR:00WBw1Ph7x7
     3       ?            ?                         練習：標題很長的一封郵件，…
? is not known yet.
"""
CHINESE_80_ASCII = """
2 封郵件，? 個位元組；標記為刪除：1
編號  位元組            唯一識別碼                主旨
   1     120            whqtswO00WBw418f9t5JxYwZ  Welcome to the maildrop
   2    2000  x 已標記  QhdPYR:00WBw1Ph7x7
   3       ?            ?                         練習：標題很長的一封郵件，...
? 表示還不知道。
"""
CHINESE_40 = """
2 封郵件，? 個位元組；標記為刪除：1
1  120          whqtswO00WBw418f9t5JxYwZ
2 2000 ✗ 已標記 QhdPYR:00WBw1Ph7x7
3    ?          ?
? 表示還不知道。
"""
ENGLISH_20 = """
2 messages, ?
octets; marked as
deleted: 1
1  120
2 2000 ✗ marked
3    ?
? is not known yet.
"""


def drawn(lines: list[Line]) -> str:
    return "\n" + plain(lines) + "\n"


def many(count: int, *marked: int) -> Iterator[MailRow]:
    """A maildrop that is never in memory as a whole."""
    marks = frozenset(marked)
    return (MailRow(number, number + 100, f"id{number}", None, number in marks) for number in range(1, count + 1))


def listed(lines: list[Line]) -> list[int]:
    return [int(found[1]) for line in plain(lines).splitlines() if (found := re.match(r" *(\d+) +\d+ ", line))]


def left_out(lines: list[Line]) -> int:
    return sum(int(number) for number in re.findall(r"(\d+) messages not shown", plain(lines)))


@pytest.mark.parametrize(
    ("width", "ascii", "words", "expected"),
    [
        (80, False, english, ENGLISH_80),
        (80, True, chinese, CHINESE_80_ASCII),
        (40, False, chinese, CHINESE_40),
        (20, False, english, ENGLISH_20),
    ],
)
def test_exact(width: int, ascii: bool, words: Words, expected: str) -> None:
    assert drawn(table(MAILS, width, ascii, words, messages=2, octets=None)) == expected


@pytest.mark.parametrize("words", [english, chinese])
def test_columns_are_straight(words: Words) -> None:
    rows = plain(table(MAILS, 80, False, words, messages=2)).splitlines()[1:5]
    unique_ids = [words("mailbox.unique-id"), "whq", "Qhd", "?  "]
    places = [columns(row[: row.rindex(start)]) for row, start in zip(rows, unique_ids, strict=True)]
    assert len(set(places)) == 1


def test_a_mark_is_a_sign_and_a_word() -> None:
    assert "✗ marked" in plain(table(MAILS, 80, False, english))
    assert "x marked" in plain(table(MAILS, 80, True, english))
    assert "✗" not in plain(table(MAILS[:1], 80, False, english))


@pytest.mark.parametrize(
    ("facts", "summary", "unknown"),
    [
        ({}, "? messages, ? octets; marked as deleted: 0", True),
        ({"messages": 0, "octets": 0}, "0 messages, 0 octets; marked as deleted: 0", False),
        ({"messages": 3, "octets": 9, "marks": 2}, "3 messages, 9 octets; marked as deleted: 2", False),
    ],
)
def test_nothing_listed(facts: dict[str, int], summary: str, unknown: bool) -> None:
    """After STAT two numbers are known and no row."""
    lines = plain(table([], 80, False, english, **facts)).splitlines()
    assert lines == [summary, "? is not known yet."][: 1 + unknown]


class TestLarge:
    def test_fifty_are_all_shown(self) -> None:
        lines = table(many(LIMIT), 80, False, english)
        assert listed(lines) == list(range(1, LIMIT + 1))
        assert left_out(lines) == 0

    def test_the_beginning_where_there_are_no_marks(self) -> None:
        lines = table(many(LIMIT + 1), 80, False, english)
        assert listed(lines) == list(range(1, LIMIT + 1))
        assert left_out(lines) == 1

    def test_around_the_marks(self) -> None:
        lines = table(many(100_000, 500, 502, 99_999), 80, False, english)
        numbers = listed(lines)
        assert set(numbers) >= {498, 499, 500, 501, 502, 503, 504, 99_997, 99_998, 99_999, 100_000}
        assert len(numbers) == LIMIT
        assert left_out(lines) == 100_000 - LIMIT
        assert "marked as deleted: 3" in plain(lines)

    def test_more_marks_than_rows(self) -> None:
        lines = table(many(1000, *range(1, 1001)), 80, False, english)
        assert len(listed(lines)) == LIMIT
        assert "marked as deleted: 1000" in plain(lines)

    def test_marks_side_by_side(self) -> None:
        lines = table(many(2000, *range(1000, 1048)), 80, False, english)
        assert listed(lines) == list(range(998, 1048))

    @pytest.mark.parametrize("marked", [(10_000,), tuple(range(1, 20_000))])
    def test_nothing_is_built(self, marked: tuple[int, ...]) -> None:
        rows = many(20_000, *marked)
        tracemalloc.start()
        try:
            table(rows, 80, False, english)
            assert tracemalloc.get_traced_memory()[1] < 500_000
        finally:
            tracemalloc.stop()

    def test_that_check_can_fail(self) -> None:
        tracemalloc.start()
        try:
            table(list(many(20_000, 10_000)), 80, False, english)
            assert tracemalloc.get_traced_memory()[1] > 500_000
        finally:
            tracemalloc.stop()

    @given(st.integers(0, 130), st.sets(st.integers(1, 130), max_size=60))
    def test_every_message_is_listed_or_counted(self, count: int, marked: set[int]) -> None:
        lines = table(many(count, *marked), 80, False, english)
        assert len(listed(lines)) + left_out(lines) == count
        assert listed(lines) == sorted(set(listed(lines)))
        assert len(listed(lines)) == min(count, LIMIT)


def test_what_the_caller_forgot_is_filtered() -> None:
    row = MailRow(1, 1, "授\x1b", "\x1b[2J\u202e", False)
    text = plain(table([row], 80, False, english))
    assert "\x1b" not in text
    assert "\\x1b[2J\\u202e" in text
    assert re.search(r"1  \\u6388\S+x1b", text), "a unique-id is ASCII, whatever came"


texts = st.text(st.sampled_from("ab 授權…\\\x1b\u202e"), max_size=90)
numbers = st.integers(0, 10**10)
rows = st.builds(MailRow, numbers, st.none() | numbers, st.none() | texts, st.none() | texts, st.booleans())


@given(st.lists(rows, max_size=9), st.integers(20, 130), st.booleans(), st.sampled_from([english, chinese]))
def test_no_line_is_too_wide(mails: list[MailRow], width: int, ascii: bool, words: Words) -> None:
    text = plain(table(mails, width, ascii, words))
    assert all(columns(line) <= width for line in text.split("\n"))
    assert "\x1b" not in text
