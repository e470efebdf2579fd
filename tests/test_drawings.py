"""drawings.py: exact ladders and mailboxes, straight lines, and text of a server that can shift nothing."""

from __future__ import annotations

import re
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import plain

from popshell.protocol.commands import State
from popshell.protocol.line import parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange, read_status
from popshell.ui.drawings import LIMIT, ladder, mailbox
from popshell.ui.layout import Line, Look, columns

if TYPE_CHECKING:
    from popshell.course.catalog import Words

CLOSED, AUTHORIZATION, TRANSACTION, UPDATE = State


def look(width: int, ascii: bool = False) -> Look:
    return Look(width=width, ascii=ascii)


def rung(
    line: str, reply: str, before: State, after: State, milliseconds: float | None = None, lines: int | None = None
) -> Exchange:
    """One exchange; `line` is empty for a greeting."""
    content = None if lines is None else b"x\r\n" * lines
    response = read_status(reply.encode())
    response = response and response._replace(content=content)
    received = reply.encode("utf-8", "surrogateescape") + b"\r\n" if reply else b""
    finished = (milliseconds or 0) / 1000
    return Exchange(parse(line) if line else None, response, before, after, received=received, finished=finished)


def english(key: str, /, **facts: object) -> str:
    return {
        "ladder.client": "client",
        "ladder.server": "server",
        "ladder.lines": "{count} lines",
        "ladder.nothing": "no reply",
        "ladder.empty": "Nothing has been said yet.",
        "diagram.closes": "server closes",
        "diagram.lost": "line lost",
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
        "ladder.client": "用戶端",
        "ladder.server": "伺服器",
        "ladder.lines": "{count} 行",
        "ladder.nothing": "沒有回覆",
        "ladder.empty": "還沒有任何對話。",
        "mailbox.summary": "{messages} 封郵件，{octets} 個位元組；標記為刪除：{marks}",
        "mailbox.unknown": "`?` 表示還不知道。",
        "mailbox.left-out": "略過 {count} 封郵件",
        "mailbox.marked": "已標記",
        "mailbox.number": "編號",
        "mailbox.octets": "位元組",
        "mailbox.unique-id": "唯一識別碼",
        "mailbox.subject": "主旨",
    }[key].format(**facts)


SESSION = (
    rung("", "+OK practice server ready <1896.697170952@popshell.example>", CLOSED, AUTHORIZATION, 3.14),
    rung("STAT", "-ERR not logged in", AUTHORIZATION, AUTHORIZATION, 0.42),
    rung("USER learner", "+OK", AUTHORIZATION, AUTHORIZATION, 0.3),
    rung("PASS secret", "+OK 信箱已鎖定，可以開始", AUTHORIZATION, TRANSACTION, 120.0),
    rung("RETR 1", "+OK 120 octets", TRANSACTION, TRANSACTION, lines=14),
    rung("QUIT", "+OK bye", TRANSACTION, UPDATE, 2.0),
)

LADDER_ENGLISH_80 = """
     ms  client               server
    3.1  │◀────── ✔ +OK ──────│  practice server ready <1896.697170952@popshell…
         ╞══ AUTHORIZATION ═══╡
         │────── STAT ───────▶│
    0.4  │◀───── ✘ -ERR ──────│  not logged in
         │────── USER ───────▶│  learner
    0.3  │◀────── ✔ +OK ──────│
         │────── PASS ───────▶│  ••••
    120  │◀────── ✔ +OK ──────│  信箱已鎖定，可以開始
         ╞═══ TRANSACTION ════╡
         │────── RETR ───────▶│  1
         │◀────── ✔ +OK ──────│  120 octets
         │◀┄┄┄┄ 14 lines ┄┄┄┄┄│
         │────── QUIT ───────▶│
    2.0  │◀────── ✔ +OK ──────│  bye
         ╞══════[UPDATE]══════╡
"""
LADDER_CHINESE_80_ASCII = """
     ms  用戶端               伺服器
    3.1  |<------- +OK -------|  practice server ready <1896.697170952@popshe...
         +== AUTHORIZATION ===+
         |------ STAT ------->|
    0.4  |<------ -ERR -------|  not logged in
         |------ USER ------->|  learner
    0.3  |<------- +OK -------|
         |------ PASS ------->|  ****
    120  |<------- +OK -------|  信箱已鎖定，可以開始
         +=== TRANSACTION ====+
         |------ RETR ------->|  1
         |<------- +OK -------|  120 octets
         |<...... 14 行 ......|
         |------ QUIT ------->|
    2.0  |<------- +OK -------|  bye
         +======[UPDATE]======+
"""
LADDER_CHINESE_40 = """
 用戶端            伺服器
 │◀──── ✔ +OK ─────│  3.1 ms  practice …
 ╞═ AUTHORIZATION ═╡
 │───── STAT ─────▶│
 │◀──── ✘ -ERR ────│  0.4 ms  not logge…
 │───── USER ─────▶│  learner
 │◀──── ✔ +OK ─────│  0.3 ms
 │───── PASS ─────▶│  ••••
 │◀──── ✔ +OK ─────│  120 ms  信箱已鎖…
 ╞══ TRANSACTION ══╡
 │───── RETR ─────▶│  1
 │◀──── ✔ +OK ─────│  120 octets
 │◀┄┄┄┄ 14 行 ┄┄┄┄┄│
 │───── QUIT ─────▶│
 │◀──── ✔ +OK ─────│  2.0 ms  bye
 ╞════[UPDATE]═════╡
"""
LADDER_ENGLISH_24 = """
◀ ✔ +OK 3.1 ms practice…
═ AUTHORIZATION ═
▶ STAT
◀ ✘ -ERR 0.4 ms not log…
▶ USER learner
◀ ✔ +OK 0.3 ms
▶ PASS ••••
◀ ✔ +OK 120 ms 信箱已鎖…
═ TRANSACTION ═
▶ RETR 1
◀ ✔ +OK 120 octets
◀ 14 lines
▶ QUIT
◀ ✔ +OK 2.0 ms bye
═ [UPDATE] ═
"""


def drawn(lines: list[Line]) -> str:
    return "\n" + plain(lines) + "\n"


def lifelines(lines: list[Line]) -> set[tuple[int, int]]:
    """The columns in which the two lifelines stand, one pair for each way that occurs."""
    found = set()
    for row in plain(lines).splitlines()[1:]:
        cells = [cell for character in row for cell in (character, "")[: columns(character)]]
        first, second, *_ = [x for x, cell in enumerate(cells) if cell in set("│╞╡")]
        found.add((first, second))
    return found


def test_exact_ladder() -> None:
    for width, ascii, words, expected in (
        (80, False, english, LADDER_ENGLISH_80),
        (80, True, chinese, LADDER_CHINESE_80_ASCII),
        (40, False, chinese, LADDER_CHINESE_40),
        (24, False, english, LADDER_ENGLISH_24),
    ):
        assert drawn(ladder(SESSION, look(width, ascii), words)) == expected


@pytest.mark.parametrize("words", [english, chinese])
@pytest.mark.parametrize("width", [36, 59, 60, 80, 120])
def test_lifelines_are_straight(words: Words, width: int) -> None:
    assert len(lifelines(ladder(SESSION, look(width), words))) == 1


def test_that_check_can_fail() -> None:
    lines = ladder(SESSION, look(80), chinese)
    bent = [[("", "x"), *line] if index == 3 else line for index, line in enumerate(lines)]
    assert len(lifelines(bent)) == 2


@pytest.mark.parametrize("width", [20, 36, 60, 120])
def test_text_of_the_server_stands_last(width: int) -> None:
    """Nothing follows it on its line that could shift if a terminal measures it otherwise."""
    odd = rung("NOOP", "+OK END", TRANSACTION, TRANSACTION, 1.0)
    row = next(row for row in plain(ladder([odd], look(width), english)).splitlines() if "+OK" in row)
    assert row.endswith("END")


def test_where_a_session_is_cut_the_state_is_told() -> None:
    rows = plain(ladder(SESSION[4:5], look(80, True), english)).splitlines()
    assert "[TRANSACTION]" in rows[1]
    jump = [SESSION[2], SESSION[4]]
    assert sum("TRANSACTION" in row for row in plain(ladder(jump, look(80, True), english)).splitlines()) == 1


def test_only_the_last_state_is_in_brackets() -> None:
    text = plain(ladder(SESSION, look(80), english))
    assert "[UPDATE]" in text
    assert text.count("[") == 1


def test_good_and_bad_differ_without_colour() -> None:
    rows = plain(ladder(SESSION, look(80), english)).splitlines()
    assert [row for row in rows if "✘" in row] == [row for row in rows if "-ERR" in row] != []
    assert [row for row in rows if "✔" in row] == [row for row in rows if "+OK" in row] != []


@pytest.mark.parametrize(
    ("odd", "label", "text"),
    [
        (rung("auth plain", "+ ", AUTHORIZATION, AUTHORIZATION), "<-------- + --------|", ""),
        (rung("RETR 1", "", TRANSACTION, CLOSED), "<-------- ? --------|", "no reply"),
        (rung("RETR 1", "* BYE", TRANSACTION, CLOSED), "<-------- ? --------|", "* BYE"),
        (rung("••••", "+OK", AUTHORIZATION, TRANSACTION), "|------------------->|", "****"),
        (rung("a/b c", "+OK", AUTHORIZATION, TRANSACTION), "|------------------->|", "a/b c"),
        (rung("RETR 1", "+OK", TRANSACTION, TRANSACTION, lines=0), "|<..... 0 lines .....|", ""),
    ],
)
def test_odd_rungs(odd: Exchange, label: str, text: str) -> None:
    rows = plain(ladder([odd], look(80, True), english)).splitlines()
    assert any(label in row and row.endswith(text or "|") for row in rows)


def test_what_a_server_says_is_filtered_once() -> None:
    odd = rung("NOOP", "+OK \x1b]0;owned\x07", TRANSACTION, TRANSACTION)
    assert "\\x1b]0;owned\\x07" in plain(ladder([odd], look(80), english))
    odd = rung("NOOP", "+OK a\\b …", TRANSACTION, TRANSACTION)
    assert plain(ladder([odd], look(80, True), english)).endswith("a\\\\b …")


def test_nothing_said() -> None:
    assert ladder([], look(80), chinese) == [[("note", "還沒有任何對話。")]]


texts = st.text(st.sampled_from("ab 授權…\\+-ERROK\x1b"), max_size=60)
states = st.sampled_from([CLOSED, AUTHORIZATION, TRANSACTION, UPDATE])
counts = st.none() | st.integers(0, 10**9)
rungs = st.builds(rung, texts, texts, states, states, counts, st.none() | st.integers(0, 99))


@given(st.lists(rungs, max_size=5), st.integers(20, 130), st.booleans(), st.sampled_from([english, chinese]))
def test_no_line_is_too_wide(session: list[Exchange], width: int, ascii: bool, words: Words) -> None:
    text = plain(ladder(session, look(width, ascii), words))
    assert all(columns(line) <= width for line in text.split("\n"))
    assert "\x1b" not in text


def test_the_end_is_a_step_of_its_own_and_one_is_where_it_led() -> None:
    closed = plain(ladder(SESSION, look(80), english, CLOSED)).splitlines()
    assert closed[-3:] == [
        "         ╞══════ UPDATE ══════╡",
        "         │◀── server closes ──│",
        "         ╞══════[CLOSED]══════╡",
    ]
    lost = plain(ladder(SESSION[:-1], look(80), english, CLOSED)).splitlines()
    assert lost[-2:] == ["         │┄┄┄┄ line lost ┄┄┄┄┄│", "         ╞══════[CLOSED]══════╡"]
    listed = plain(ladder(SESSION, look(24), english, CLOSED)).splitlines()
    assert listed[-2:] == ["◀ server closes", "═ [CLOSED] ═"]
    assert ladder(SESSION, look(80), english, UPDATE) == ladder(SESSION, look(80), english)
    assert len(ladder((), look(80), english, CLOSED)) == 1


# -- the mailbox -------------------------------------------------------------------------------------------------------

MAILS = MaildropView(
    open=True,
    count=2,
    sizes={1: 120, 2: 2000},
    unique_ids={1: "whqtswO00WBw418f9t5JxYwZ", 2: "QhdPYR:00WBw1Ph7x7"},
    subjects={1: "Welcome to the maildrop", 3: "練習：標題很長的一封郵件，要看看會不會切斷在奇怪的地方"},
    marks=frozenset({2}),
    last=3,
)

MAILBOX_ENGLISH_80 = """
2 messages, ? octets; marked as deleted: 1
number  octets            unique-id                 subject
     1     120            whqtswO00WBw418f9t5JxYwZ  Welcome to the maildrop
     2    2000  ✗ marked  QhdPYR:00WBw1Ph7x7
     3       ?            ?                         練習：標題很長的一封郵件，…
? is not known yet.
"""
MAILBOX_CHINESE_80_ASCII = """
2 封郵件，? 個位元組；標記為刪除：1
編號  位元組            唯一識別碼                主旨
   1     120            whqtswO00WBw418f9t5JxYwZ  Welcome to the maildrop
   2    2000  x 已標記  QhdPYR:00WBw1Ph7x7
   3       ?            ?                         練習：標題很長的一封郵件，...
? 表示還不知道。
"""
MAILBOX_CHINESE_40 = """
2 封郵件，? 個位元組；標記為刪除：1
1  120          whqtswO00WBw418f9t5JxYwZ
2 2000 ✗ 已標記 QhdPYR:00WBw1Ph7x7
3    ?          ?
? 表示還不知道。
"""
MAILBOX_ENGLISH_20 = """
2 messages, ?
octets; marked as
deleted: 1
1  120
2 2000 ✗ marked
3    ?
? is not known yet.
"""


def many(count: int, *marked: int) -> MaildropView:
    """A maildrop of `count` messages, all of which are known."""
    sizes = {number: number + 100 for number in range(1, count + 1)}
    unique_ids = {number: f"id{number}" for number in sizes}
    return MaildropView(open=True, sizes=sizes, unique_ids=unique_ids, marks=frozenset(marked), last=count)


def listed(lines: list[Line]) -> list[int]:
    return [int(found[1]) for line in plain(lines).splitlines() if (found := re.match(r" *(\d+) +\d+ ", line))]


def left_out(lines: list[Line]) -> int:
    return sum(int(number) for number in re.findall(r"(\d+) messages not shown", plain(lines)))


def test_exact_mailbox() -> None:
    for width, ascii, words, expected in (
        (80, False, english, MAILBOX_ENGLISH_80),
        (80, True, chinese, MAILBOX_CHINESE_80_ASCII),
        (40, False, chinese, MAILBOX_CHINESE_40),
        (20, False, english, MAILBOX_ENGLISH_20),
    ):
        assert drawn(mailbox(MAILS, look(width, ascii), words)) == expected


@pytest.mark.parametrize("words", [english, chinese])
def test_columns_are_straight(words: Words) -> None:
    rows = plain(mailbox(MAILS, look(80), words)).splitlines()[1:5]
    unique_ids = [words("mailbox.unique-id"), "whq", "Qhd", "?  "]
    places = [columns(row[: row.rindex(start)]) for row, start in zip(rows, unique_ids, strict=True)]
    assert len(set(places)) == 1


def test_a_mark_is_a_sign_and_a_word() -> None:
    assert "✗ marked" in plain(mailbox(MAILS, look(80), english))
    assert "x marked" in plain(mailbox(MAILS, look(80, True), english))
    assert "✗" not in plain(mailbox(MAILS._replace(marks=frozenset()), look(80), english))


@pytest.mark.parametrize(
    ("facts", "summary", "unknown"),
    [
        ({}, "? messages, ? octets; marked as deleted: 0", True),
        ({"count": 0, "octets": 0}, "0 messages, 0 octets; marked as deleted: 0", False),
        ({"count": 3, "octets": 9, "marks": frozenset({1, 2})}, "3 messages, 9 octets; marked as deleted: 2", False),
    ],
)
def test_nothing_listed(facts: dict[str, Any], summary: str, unknown: bool) -> None:
    """After STAT two numbers are known and no row."""
    lines = plain(mailbox(MaildropView(open=True, **facts), look(80), english)).splitlines()
    assert lines == [summary, "? is not known yet."][: 1 + unknown]


class TestLarge:
    def test_fifty_are_all_shown(self) -> None:
        lines = mailbox(many(LIMIT), look(80), english)
        assert listed(lines) == list(range(1, LIMIT + 1))
        assert left_out(lines) == 0

    def test_the_beginning_where_there_are_no_marks(self) -> None:
        lines = mailbox(many(LIMIT + 1), look(80), english)
        assert listed(lines) == list(range(1, LIMIT + 1))
        assert left_out(lines) == 1

    def test_around_the_marks(self) -> None:
        lines = mailbox(many(100_000, 500, 502, 99_999), look(80), english)
        numbers = listed(lines)
        assert set(numbers) >= {498, 499, 500, 501, 502, 503, 504, 99_997, 99_998, 99_999, 100_000}
        assert len(numbers) == LIMIT
        assert left_out(lines) == 100_000 - LIMIT
        assert "marked as deleted: 3" in plain(lines)

    def test_more_marks_than_rows(self) -> None:
        lines = mailbox(many(1000, *range(1, 1001)), look(80), english)
        assert len(listed(lines)) == LIMIT
        assert "marked as deleted: 1000" in plain(lines)

    def test_marks_side_by_side(self) -> None:
        lines = mailbox(many(2000, *range(1000, 1048)), look(80), english)
        assert listed(lines) == list(range(998, 1048))

    @pytest.mark.parametrize("marked", [(10_000,), tuple(range(1, 20_000))])
    def test_nothing_is_built(self, marked: tuple[int, ...]) -> None:
        rows = many(20_000, *marked)
        tracemalloc.start()
        try:
            mailbox(rows, look(80), english)
            assert tracemalloc.get_traced_memory()[1] < 500_000
        finally:
            tracemalloc.stop()

    def test_that_check_can_fail(self) -> None:
        rows = many(20_000, 10_000)
        tracemalloc.start()
        try:
            mailbox(rows, look(80), english, limit=20_000)
            assert tracemalloc.get_traced_memory()[1] > 500_000
        finally:
            tracemalloc.stop()

    @given(st.integers(0, 130), st.sets(st.integers(1, 130), max_size=60))
    def test_every_message_is_listed_or_counted(self, count: int, marked: set[int]) -> None:
        lines = mailbox(many(count, *marked), look(80), english)
        assert len(listed(lines)) + left_out(lines) == count
        assert listed(lines) == sorted(set(listed(lines)))
        assert len(listed(lines)) == min(count, LIMIT)


def test_what_the_caller_forgot_is_filtered_in_the_mailbox() -> None:
    row = {"sizes": {1: 1}, "unique_ids": {1: "授\x1b"}, "subjects": {1: "\x1b[2J\u202e"}}
    text = plain(mailbox(MaildropView(open=True, last=1, **row), look(80), english))
    assert "\x1b" not in text
    assert "\\x1b[2J\\u202e" in text
    assert re.search(r"1  \\u6388\S+x1b", text), "a unique-id is ASCII, whatever came"


mail_texts = st.text(st.sampled_from("ab 授權…\\\x1b\u202e"), max_size=90)
numbers = st.integers(0, 10**10)
places = st.integers(1, 9)
maildrops = st.builds(
    MaildropView,
    count=st.none() | numbers,
    octets=st.none() | numbers,
    sizes=st.dictionaries(places, numbers),
    unique_ids=st.dictionaries(places, mail_texts),
    subjects=st.dictionaries(places, mail_texts),
    marks=st.frozensets(places),
    last=st.none() | st.integers(0, 9),
)


@given(maildrops, st.integers(20, 130), st.booleans(), st.sampled_from([english, chinese]))
def test_no_line_of_the_mailbox_is_too_wide(mails: MaildropView, width: int, ascii: bool, words: Words) -> None:
    text = plain(mailbox(mails, look(width, ascii), words))
    assert all(columns(line) <= width for line in text.split("\n"))
    assert "\x1b" not in text
