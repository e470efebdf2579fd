"""ladder.py: exact drawings, straight lifelines, and text of a server that can shift nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popshell.ui.ladder import Rung, ladder
from popshell.ui.layout import Line, Words, columns, plain

CLOSED, AUTHORIZATION, TRANSACTION, UPDATE = "CLOSED", "AUTHORIZATION", "TRANSACTION", "UPDATE"


def english(key: str, /, **facts: object) -> str:
    return {
        "ladder.client": "client",
        "ladder.server": "server",
        "ladder.lines": "{count} lines",
        "ladder.nothing": "no reply",
        "ladder.empty": "Nothing has been said yet.",
        "diagram.closes": "server closes",
        "diagram.lost": "line lost",
    }[key].format(**facts)


def chinese(key: str, /, **facts: object) -> str:
    return {
        "ladder.client": "用戶端",
        "ladder.server": "伺服器",
        "ladder.lines": "{count} 行",
        "ladder.nothing": "沒有回覆",
        "ladder.empty": "還沒有任何對話。",
    }[key].format(**facts)


SESSION = (
    Rung(None, "+OK practice server ready <1896.697170952@popshell.example>", True, None, CLOSED, AUTHORIZATION, 3.14),
    Rung("STAT", "-ERR not logged in", False, None, AUTHORIZATION, AUTHORIZATION, 0.42),
    Rung("USER learner", "+OK", True, None, AUTHORIZATION, AUTHORIZATION, 0.3),
    Rung("PASS ********", "+OK 信箱已鎖定，可以開始", True, None, AUTHORIZATION, TRANSACTION, 120.0),
    Rung("RETR 1", "+OK 120 octets", True, 14, TRANSACTION, TRANSACTION, None),
    Rung("QUIT", "+OK bye", True, None, TRANSACTION, UPDATE, 2.0),
)

ENGLISH_80 = """
     ms  client               server
    3.1  │◀────── ✔ +OK ──────│  practice server ready <1896.697170952@popshell…
         ╞══ AUTHORIZATION ═══╡
         │────── STAT ───────▶│
    0.4  │◀───── ✘ -ERR ──────│  not logged in
         │────── USER ───────▶│  learner
    0.3  │◀────── ✔ +OK ──────│
         │────── PASS ───────▶│  ********
    120  │◀────── ✔ +OK ──────│  信箱已鎖定，可以開始
         ╞═══ TRANSACTION ════╡
         │────── RETR ───────▶│  1
         │◀────── ✔ +OK ──────│  120 octets
         │◀┄┄┄┄ 14 lines ┄┄┄┄┄│
         │────── QUIT ───────▶│
    2.0  │◀────── ✔ +OK ──────│  bye
         ╞══════[UPDATE]══════╡
"""
CHINESE_80_ASCII = """
     ms  用戶端               伺服器
    3.1  |<------- +OK -------|  practice server ready <1896.697170952@popshe...
         +== AUTHORIZATION ===+
         |------ STAT ------->|
    0.4  |<------ -ERR -------|  not logged in
         |------ USER ------->|  learner
    0.3  |<------- +OK -------|
         |------ PASS ------->|  ********
    120  |<------- +OK -------|  信箱已鎖定，可以開始
         +=== TRANSACTION ====+
         |------ RETR ------->|  1
         |<------- +OK -------|  120 octets
         |<...... 14 行 ......|
         |------ QUIT ------->|
    2.0  |<------- +OK -------|  bye
         +======[UPDATE]======+
"""
CHINESE_40 = """
 用戶端            伺服器
 │◀──── ✔ +OK ─────│  3.1 ms  practice …
 ╞═ AUTHORIZATION ═╡
 │───── STAT ─────▶│
 │◀──── ✘ -ERR ────│  0.4 ms  not logge…
 │───── USER ─────▶│  learner
 │◀──── ✔ +OK ─────│  0.3 ms
 │───── PASS ─────▶│  ********
 │◀──── ✔ +OK ─────│  120 ms  信箱已鎖…
 ╞══ TRANSACTION ══╡
 │───── RETR ─────▶│  1
 │◀──── ✔ +OK ─────│  120 octets
 │◀┄┄┄┄ 14 行 ┄┄┄┄┄│
 │───── QUIT ─────▶│
 │◀──── ✔ +OK ─────│  2.0 ms  bye
 ╞════[UPDATE]═════╡
"""
ENGLISH_24 = """
◀ ✔ +OK 3.1 ms practice…
═ AUTHORIZATION ═
▶ STAT
◀ ✘ -ERR 0.4 ms not log…
▶ USER learner
◀ ✔ +OK 0.3 ms
▶ PASS ********
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


@pytest.mark.parametrize(
    ("width", "ascii", "words", "expected"),
    [
        (80, False, english, ENGLISH_80),
        (80, True, chinese, CHINESE_80_ASCII),
        (40, False, chinese, CHINESE_40),
        (24, False, english, ENGLISH_24),
    ],
)
def test_exact(width: int, ascii: bool, words: Words, expected: str) -> None:
    assert drawn(ladder(SESSION, width, ascii, words)) == expected


@pytest.mark.parametrize("words", [english, chinese])
@pytest.mark.parametrize("width", [36, 59, 60, 80, 120])
def test_lifelines_are_straight(words: Words, width: int) -> None:
    assert len(lifelines(ladder(SESSION, width, False, words))) == 1


def test_that_check_can_fail() -> None:
    lines = ladder(SESSION, 80, False, chinese)
    bent = [[("", "x"), *line] if index == 3 else line for index, line in enumerate(lines)]
    assert len(lifelines(bent)) == 2


@pytest.mark.parametrize("width", [20, 36, 60, 120])
def test_text_of_the_server_stands_last(width: int) -> None:
    """Nothing follows it on its line that could shift if a terminal measures it otherwise."""
    rung = Rung("NOOP", "+OK END", True, None, TRANSACTION, TRANSACTION, 1.0)
    row = next(row for row in plain(ladder([rung], width, False, english)).splitlines() if "+OK" in row)
    assert row.endswith("END")


def test_where_a_session_is_cut_the_state_is_told() -> None:
    rows = plain(ladder(SESSION[4:5], 80, True, english)).splitlines()
    assert "[TRANSACTION]" in rows[1]
    jump = [SESSION[2], SESSION[4]]
    assert sum("TRANSACTION" in row for row in plain(ladder(jump, 80, True, english)).splitlines()) == 1


def test_only_the_last_state_is_in_brackets() -> None:
    text = plain(ladder(SESSION, 80, False, english))
    assert "[UPDATE]" in text
    assert text.count("[") == 1


def test_good_and_bad_differ_without_colour() -> None:
    rows = plain(ladder(SESSION, 80, False, english)).splitlines()
    assert [row for row in rows if "✘" in row] == [row for row in rows if "-ERR" in row] != []
    assert [row for row in rows if "✔" in row] == [row for row in rows if "+OK" in row] != []


@pytest.mark.parametrize(
    ("rung", "label", "text"),
    [
        (Rung("auth plain", "+ ", None, None, AUTHORIZATION, AUTHORIZATION, None), "<-------- + --------|", ""),
        (Rung("RETR 1", "", None, None, TRANSACTION, CLOSED, None), "<-------- ? --------|", "no reply"),
        (Rung("RETR 1", "* BYE", None, None, TRANSACTION, CLOSED, None), "<-------- ? --------|", "* BYE"),
        (Rung("••••", "+OK", True, None, AUTHORIZATION, TRANSACTION, None), "|------------------->|", "****"),
        (Rung("a/b c", "+OK", True, None, AUTHORIZATION, TRANSACTION, None), "|------------------->|", "a/b c"),
        (Rung("RETR 1", "+OK", True, 0, TRANSACTION, TRANSACTION, None), "|<..... 0 lines .....|", ""),
    ],
)
def test_odd_rungs(rung: Rung, label: str, text: str) -> None:
    rows = plain(ladder([rung], 80, True, english)).splitlines()
    assert any(label in row and row.endswith(text or "|") for row in rows)


def test_what_the_caller_forgot_is_filtered_and_what_he_did_is_left() -> None:
    rung = Rung("NOOP", "+OK \x1b]0;owned\x07", True, None, TRANSACTION, TRANSACTION, None)
    assert "\\x1b]0;owned\\x07" in plain(ladder([rung], 80, False, english))
    rung = Rung("NOOP", "+OK a\\\\b …", True, None, TRANSACTION, TRANSACTION, None)
    assert plain(ladder([rung], 80, True, english)).endswith("a\\\\b …")


def test_nothing_said() -> None:
    assert ladder([], 80, False, chinese) == [[("note", "還沒有任何對話。")]]


texts = st.text(st.sampled_from("ab 授權…\\+-ERROK\x1b"), max_size=60)
states = st.sampled_from([CLOSED, AUTHORIZATION, TRANSACTION, UPDATE])
counts = st.none() | st.integers(0, 10**9)
rungs = st.builds(Rung, st.none() | texts, texts, st.none() | st.booleans(), counts, states, states, counts)


@given(st.lists(rungs, max_size=5), st.integers(20, 130), st.booleans(), st.sampled_from([english, chinese]))
def test_no_line_is_too_wide(session: list[Rung], width: int, ascii: bool, words: Words) -> None:
    text = plain(ladder(session, width, ascii, words))
    assert all(columns(line) <= width for line in text.split("\n"))
    assert "\x1b" not in text


def test_the_end_is_a_step_of_its_own_and_one_is_where_it_led() -> None:
    closed = plain(ladder(SESSION, 80, False, english, now=CLOSED)).splitlines()
    assert closed[-3:] == [
        "         ╞══════ UPDATE ══════╡",
        "         │◀── server closes ──│",
        "         ╞══════[CLOSED]══════╡",
    ]
    lost = plain(ladder(SESSION[:-1], 80, False, english, now=CLOSED)).splitlines()
    assert lost[-2:] == ["         │┄┄┄┄ line lost ┄┄┄┄┄│", "         ╞══════[CLOSED]══════╡"]
    listed = plain(ladder(SESSION, 24, False, english, now=CLOSED)).splitlines()
    assert listed[-2:] == ["◀ server closes", "═ [CLOSED] ═"]
    assert ladder(SESSION, 80, False, english, now=UPDATE) == ladder(SESSION, 80, False, english)
    assert len(ladder((), 80, False, english, now=CLOSED)) == 1
