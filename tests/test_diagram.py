"""diagram.py: exact drawings, and that they say what the command table says, all of it and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popshell.protocol import commands
from popshell.protocol.commands import COMMANDS, CommandSpec, State, legal, transitions
from popshell.ui.arrows import HERE, LEGAL, TAKEN, fold
from popshell.ui.diagram import arrow, machine, mermaid, path
from popshell.ui.layout import Line, columns, plain

CLOSED, AUTHORIZATION, TRANSACTION, UPDATE = State
STATES = list(State)


class Fixed:
    """Words for tests; the real ones are in `lessons/`."""

    def __init__(self, **words: str) -> None:
        self._words = words

    def __call__(self, key: str, /, **facts: object) -> str:
        section, _, name = key.partition(".")
        assert section == "diagram"
        return self._words[name].format(**facts)


ENGLISH = Fixed(
    connect="connect",
    greeting="greeting",
    closes="server closes",
    closed="no connection",
    lost="line lost",
    lost_note="If the line is lost, nothing is deleted.",
    here="you are here",
)
CHINESE = Fixed(
    connect="連線",
    greeting="問候",
    closes="伺服器關閉連線",
    closed="沒有連線",
    lost="斷線",
    lost_note="斷線的話，什麼都不會刪除。",
    here="你在這裡",
)


ENGLISH_80 = """
                                    CAPA LANG STAT LIST RETR
  USER STLS CAPA UTF8 LANG          DELE NOOP RSET TOP UIDL
    ╭────╮                            ╭────╮
  ┌─┴────▼────────┐    USER+PASS    ╔═╧════▼══════╗  QUIT  ┌────────┐
  │ AUTHORIZATION ├────────────────▶║[TRANSACTION]╟───────▶│ UPDATE │
  └──▲──────────┬─┘    APOP·AUTH    ╚══╤══════════╝        └──┬─────┘
     │ greeting │ QUIT                 ┊ line lost            │ server closes
  ┌──┴──────────▼──────────────────────▼──────────────────────▼──────────────┐
  │ CLOSED  no connection                                                    │
  └──────────────────────────────────────────────────────────────────────────┘
  [TRANSACTION] you are here
  ┊ If the line is lost, nothing is deleted.
"""
CHINESE_80_ASCII = """
                                    CAPA LANG STAT LIST RETR
  USER STLS CAPA UTF8 LANG          DELE NOOP RSET TOP UIDL
    +----+                            +----+
  #=+====v========#    USER+PASS    +-+----v------+  QUIT  +--------+
  #[AUTHORIZATION]+---------------->| TRANSACTION +------->| UPDATE |
  #==^======+=====#    APOP|AUTH    +--+----------+        +--+-----+
     | 問候 | QUIT                     : 斷線                 | 伺服器關閉連線
  +--+------v--------------------------v----------------------v---------------+
  | CLOSED  沒有連線                                                          |
  +---------------------------------------------------------------------------+
  [AUTHORIZATION] 你在這裡
  : 斷線的話，什麼都不會刪除。
"""
CHINESE_44 = """
┌────────┐
│ CLOSED │◀────────────────────────────────┐
└─┬──────┘                                 │
  │ 問候                                   │
┌─▼─────────────┐                          │
│ AUTHORIZATION ├─QUIT─────────────────────┤
└─┬─────────────┘                          │
  │ ↺ USER STLS CAPA UTF8 LANG             │
  │ USER+PASS·APOP·AUTH                    │
┌─▼───────────┐                            │
│ TRANSACTION ├┄斷線┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┤
└─┬───────────┘                            │
  │ ↺ CAPA LANG STAT LIST RETR             │
  │   DELE NOOP RSET TOP UIDL              │
  │ QUIT                                   │
╔═▼══════╗                                 │
║[UPDATE]╟─伺服器關閉連線──────────────────┘
╚════════╝
  [UPDATE] 你在這裡
  ┊ 斷線的話，什麼都不會刪除。
"""
ENGLISH_24 = """
╔════════╗
║[CLOSED]║
╚═╤══════╝
  │ greeting
┌─▼─────────────┐
│ AUTHORIZATION │
└─┬─────────────┘
  ├─QUIT─▶ CLOSED
  │ ↺ USER STLS CAPA
  │   UTF8 LANG
  │ USER+PASS
  │ APOP·AUTH
┌─▼───────────┐
│ TRANSACTION │
└─┬───────────┘
  ├┄line lost┄▶ CLOSED
  │ ↺ CAPA LANG STAT
  │   LIST RETR DELE
  │   NOOP RSET TOP
  │   UIDL
  │ QUIT
┌─▼──────┐
│ UPDATE │
└─┬──────┘
  └─server closes─▶
    CLOSED
  [CLOSED] you are here
  ┊ If the line is lost,
    nothing is deleted.
"""

LOGIN = """
CLOSED ─▶ AUTHORIZATION ━━PASS━━▶ [TRANSACTION] ─▶ UPDATE
                                   ╰ CAPA LANG STAT LIST RETR
                                     DELE NOOP RSET TOP UIDL QUIT
"""
LEAVING = """
[CLOSED] ─▶ AUTHORIZATION ─▶ TRANSACTION ─▶ UPDATE
    ▲             ┃
    ┗━━━ QUIT ━━━━┛
"""
LOST_ASCII = """
[CLOSED] -> AUTHORIZATION -> TRANSACTION -> UPDATE
    ^                             |
    +=========== 斷線 ============+
"""
NARROW = """
TRANSACTION
 ┗━QUIT━▶
[UPDATE]
"""


def drawn(lines: list[Line]) -> str:
    return "\n" + plain(lines) + "\n"


def styled(lines: list[Line], style: str) -> list[str]:
    """What is drawn in one style."""
    return [part for line in lines for name, part in line if name == style]


def grid(lines: list[Line]) -> list[list[str]]:
    """The drawing as a terminal shows it: a cell for every column, the second of a wide character empty."""
    return [
        [cell for character in row for cell in (character, "")[: columns(character)]]
        for row in plain(lines).splitlines()
    ]


def names_on_arrows() -> Counter[str]:
    """How often each command has to stand in a whole drawing: on its arrows, and before those that must follow it."""
    names = [name for taken in transitions() for name in taken.commands]
    specs = {spec.name: spec for state in State for spec in legal(state)}
    return Counter([*names, *filter(None, (specs[name].must_follow for name in names))])


def names_in(lines: list[Line]) -> Counter[str]:
    """How often each command of the table stands in a drawing."""
    known = {spec.name for state in State for spec in legal(state)}
    return Counter(word for word in re.findall(r"[A-Z0-9]+", plain(lines)) if word in known)


def add_row(monkeypatch: pytest.MonkeyPatch, *moves: tuple[State, State], **facts: bool | str) -> None:
    """The table with a row FROB more, for this test."""
    row = CommandSpec("FROB", 9999, "1", MappingProxyType(dict(moves)), **facts)  # type: ignore[arg-type]
    monkeypatch.setattr(commands, "_ROWS", (*COMMANDS.values(), row))


class TestMachine:
    def test_exact(self) -> None:
        assert drawn(machine(TRANSACTION, 80, False, ENGLISH)) == ENGLISH_80
        assert drawn(machine(AUTHORIZATION, 80, True, CHINESE)) == CHINESE_80_ASCII
        assert drawn(machine(UPDATE, 44, False, CHINESE)) == CHINESE_44
        assert drawn(machine(CLOSED, 24, False, ENGLISH)) == ENGLISH_24

    @pytest.mark.parametrize("width", [20, 40, 44, 72, 80, 120])
    @pytest.mark.parametrize("state", STATES)
    def test_every_arrow_of_the_table_is_drawn_and_no_other(self, state: State, width: int) -> None:
        lines = machine(state, width, False, ENGLISH)
        assert names_in(lines) == names_on_arrows()
        assert plain(lines).count("line lost") == 1
        assert " ".join(plain(lines).split()).count("server closes") == 1

    def test_that_check_can_fail(self) -> None:
        lines = [line for line in machine(CLOSED, 80, False, ENGLISH) if "DELE" not in plain([line])]
        assert names_on_arrows() - names_in(lines) == Counter(["DELE", "NOOP", "RSET", "TOP", "UIDL"]) + Counter(
            ["USER", "STLS", "CAPA", "UTF8", "LANG"]
        )

    @pytest.mark.parametrize("width", [20, 44, 80, 120])
    @pytest.mark.parametrize("before", STATES)
    @pytest.mark.parametrize("after", STATES)
    def test_a_row_added_to_the_table_is_drawn(
        self, monkeypatch: pytest.MonkeyPatch, before: State, after: State, width: int
    ) -> None:
        old = plain(machine(TRANSACTION, width, False, ENGLISH))
        add_row(monkeypatch, (before, after))
        lines = machine(TRANSACTION, width, False, ENGLISH)
        assert plain(lines) != old
        assert names_in(lines)["FROB"] >= 1
        assert max(columns(line) for line in plain(lines).splitlines()) <= width

    @pytest.mark.parametrize("width", [20, 60, 80, 120])
    @pytest.mark.parametrize("state", STATES)
    def test_the_current_state_is_marked_without_colour(self, state: State, width: int) -> None:
        text = plain(machine(state, width, False, ENGLISH))
        assert re.findall(r"║\[(\w+)\]", text) == [state.value]
        assert all(other.value in text and f"[{other.value}]" not in text for other in State if other is not state)

    @pytest.mark.parametrize("width", [20, 44, 80])
    def test_what_is_legal_now_is_bright(self, width: int) -> None:
        bright = " ".join(styled(machine(AUTHORIZATION, width, False, ENGLISH), LEGAL))
        assert set(re.findall(r"\w+", bright)) == {spec.name for spec in legal(AUTHORIZATION)}

    @pytest.mark.parametrize("words", [ENGLISH, CHINESE])
    def test_nothing_moves_when_the_state_changes(self, words: Fixed) -> None:
        def places(state: State) -> list[tuple[int, int]]:
            rows = plain(machine(state, 80, True, words)[:10]).splitlines()
            return [(y, x) for y, row in enumerate(rows) for x, c in enumerate(row) if c in "^v>"]

        assert places(CLOSED) == places(AUTHORIZATION) == places(TRANSACTION) == places(UPDATE)

    @pytest.mark.parametrize("words", [ENGLISH, CHINESE])
    @pytest.mark.parametrize("width", [72, 80, 120])
    def test_chinese_labels_do_not_bend_lines(self, words: Fixed, width: int) -> None:
        rows = grid(machine(TRANSACTION, width, False, words))
        floor = next(y for y, row in enumerate(rows) if "CLOSED" in "".join(row))
        ends, posts, starts = (
            {x for x, cell in enumerate(rows[y]) if cell in set(marks)}
            for y, marks in ((floor - 3, "┬╤▲"), (floor - 2, "│┊"), (floor - 1, "▼┴"))
        )
        assert ends == posts == starts
        assert len(posts) == 4
        assert len(rows[floor - 1]) == len(rows[floor]) == len(rows[floor + 1])

    @pytest.mark.parametrize("words", [ENGLISH, CHINESE])
    def test_chinese_labels_do_not_bend_the_lane(self, words: Fixed) -> None:
        rows = grid(machine(TRANSACTION, 44, False, words))
        lane = [row[43] for row in rows[:18] if len(row) == 44]
        assert "".join(lane) == "┐│││┤││││┤│││││┘"


class TestPath:
    @pytest.mark.parametrize(
        ("state", "width", "line"),
        [
            (AUTHORIZATION, 80, "connect ─▶ [AUTHORIZATION] ─USER+PASS·APOP·AUTH─▶ TRANSACTION ─QUIT─▶ UPDATE"),
            (TRANSACTION, 80, "connect ─▶ AUTHORIZATION ─USER+PASS·APOP·AUTH─▶ [TRANSACTION] ─QUIT─▶ UPDATE"),
            (CLOSED, 80, "[CLOSED] ─▶ AUTHORIZATION ─USER+PASS·APOP·AUTH─▶ TRANSACTION ─QUIT─▶ UPDATE"),
            (AUTHORIZATION, 60, "[AUTHORIZATION] ─USER+PASS·APOP·AUTH─▶ TRANSACTION ─▶ UPDATE"),
            (TRANSACTION, 60, "AUTHORIZATION ─▶ [TRANSACTION] ─QUIT─▶ UPDATE"),
            (TRANSACTION, 40, "AUTHORIZATION ─▶ [TRANSACTION] ─▶ UPDATE"),
            (TRANSACTION, 30, "A ─▶ [TRANSACTION] ─QUIT─▶ U"),
            (AUTHORIZATION, 20, "[AUTHORIZATION]▶T▶U"),
            (TRANSACTION, 20, "A▶[TRANSACTION]▶U"),
            (AUTHORIZATION, 15, "[AUTHORIZATION]"),
        ],
    )
    def test_exact(self, state: State, width: int, line: str) -> None:
        assert plain(path(state, width, False, ENGLISH)) == line

    def test_ascii_and_chinese(self) -> None:
        line = plain(path(UPDATE, 80, True, CHINESE))
        assert line == "連線 -> AUTHORIZATION -USER+PASS|APOP|AUTH-> TRANSACTION -QUIT-> [UPDATE]"

    @pytest.mark.parametrize("state", STATES)
    def test_exactly_the_current_state_is_marked(self, state: State) -> None:
        assert styled(path(state, 80, False, ENGLISH), HERE) == [f"[{state.value}]"]

    def test_the_login_arrow_follows_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add_row(monkeypatch, (AUTHORIZATION, TRANSACTION), must_follow="APOP", logs_in=True)
        assert "─USER+PASS·APOP·AUTH·APOP+FROB─▶" in plain(path(AUTHORIZATION, 120, False, ENGLISH))


class TestArrow:
    def test_exact(self) -> None:
        assert drawn(arrow(AUTHORIZATION, TRANSACTION, "pass secret word", 80, False, ENGLISH)) == LOGIN
        assert drawn(arrow(AUTHORIZATION, CLOSED, "QUIT", 80, False, ENGLISH)) == LEAVING
        assert drawn(arrow(TRANSACTION, CLOSED, "RETR", 80, True, CHINESE)) == LOST_ASCII
        assert drawn(arrow(TRANSACTION, UPDATE, "QUIT", 20, False, ENGLISH)) == NARROW

    @pytest.mark.parametrize(
        ("before", "after", "command", "label"),
        [
            (CLOSED, AUTHORIZATION, None, "greeting"),
            (AUTHORIZATION, TRANSACTION, "APOP", "APOP"),
            (AUTHORIZATION, TRANSACTION, "RPOP", "RPOP"),
            (AUTHORIZATION, CLOSED, "QUIT", "QUIT"),
            (AUTHORIZATION, CLOSED, None, "line lost"),
            (TRANSACTION, CLOSED, "RETR", "line lost"),
            (TRANSACTION, CLOSED, " ", "line lost"),
            (UPDATE, CLOSED, None, "server closes"),
        ],
    )
    @pytest.mark.parametrize("width", [24, 50, 80])
    def test_the_taken_arrow_tells_what_led_there(
        self, before: State, after: State, command: str | None, label: str, width: int
    ) -> None:
        lines = arrow(before, after, command, width, False, ENGLISH)
        assert label in " ".join(styled(lines, TAKEN))
        assert styled(lines, HERE) == [f"[{after.value}]"]

    @pytest.mark.parametrize("width", range(20, 130))
    def test_all_that_is_legal_now_is_told_or_nothing(self, width: int) -> None:
        told = " ".join(styled(arrow(AUTHORIZATION, TRANSACTION, "PASS", width, False, ENGLISH), LEGAL)).split()
        assert told == ([spec.name for spec in legal(TRANSACTION)] if told or width >= 80 else [])

    def test_no_change_no_arrow(self) -> None:
        assert arrow(TRANSACTION, TRANSACTION, "NOOP", 80, False, ENGLISH) == []

    @pytest.mark.parametrize("width", range(20, 100, 7))
    def test_no_argument_is_ever_drawn(self, width: int) -> None:
        assert "secret" not in plain(arrow(AUTHORIZATION, TRANSACTION, "PASS secret", width, False, ENGLISH)).lower()

    @pytest.mark.parametrize("width", range(20, 100))
    def test_no_arrow_is_drawn_that_does_not_exist(self, width: int) -> None:
        """A row that leaves states out would join what is not joined."""
        pairs = {(taken.before.value, taken.after.value) for taken in transitions()}
        for before, after in ((UPDATE, CLOSED), (TRANSACTION, CLOSED), (AUTHORIZATION, TRANSACTION)):
            first = plain(arrow(before, after, None, width, False, ENGLISH)).splitlines()[0]
            names = re.findall("|".join(state.value for state in State), first)
            assert set(pairwise(names)) <= pairs


class TestAll:
    widths = st.integers(20, 200)
    states = st.sampled_from(STATES)
    languages = st.sampled_from([ENGLISH, CHINESE])

    @settings(max_examples=300, deadline=None)
    @given(states, states, widths, st.booleans(), languages, st.sampled_from([None, "QUIT", "x" * 300]))
    def test_no_line_is_too_wide(
        self, state: State, other: State, width: int, ascii: bool, words: Fixed, command: str | None
    ) -> None:
        change = arrow(state, other, command, width, ascii, words)
        assert len(change) <= 3
        for lines in (machine(state, width, ascii, words), path(state, width, ascii, words), change):
            assert all(columns(line) <= width for line in plain(lines).splitlines())

    @given(states, states, widths)
    def test_ascii_is_ascii(self, state: State, other: State, width: int) -> None:
        for lines in (machine(state, width, True, ENGLISH), path(state, width, True, ENGLISH)):
            assert plain(lines).isascii()
        assert plain(arrow(state, other, None, width, True, ENGLISH)).isascii()

    def test_mermaid(self) -> None:
        lines = mermaid(ENGLISH).splitlines()
        assert lines[0] == "stateDiagram-v2"
        assert "    AUTHORIZATION --> TRANSACTION : USER+PASS, APOP, AUTH" in lines
        assert "    TRANSACTION --> CLOSED : line lost" in lines
        assert sum(" --> " in line for line in lines) == len(list(transitions())) + 1

    def test_mermaid_follows_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add_row(monkeypatch, (UPDATE, TRANSACTION))
        assert "    UPDATE --> TRANSACTION : FROB" in mermaid(ENGLISH).splitlines()

    def test_fold_balances(self) -> None:
        assert fold(["CAPA", "LANG", "STAT", "LIST", "RETR"], 20) == ["CAPA LANG STAT", "LIST RETR"]
        assert fold(["AUTHORIZATION"], 5) == ["AUTHORIZATION"]
        assert fold([], 5) == []


def test_the_server_s_closing_is_one_short_line_and_in_narrow_windows_three() -> None:
    assert drawn(arrow(UPDATE, CLOSED, None, 77, False, ENGLISH)).strip() == "UPDATE ━━server closes━━▶ [CLOSED]"
    assert drawn(arrow(UPDATE, CLOSED, None, 77, True, ENGLISH)).strip() == "UPDATE ==server closes==> [CLOSED]"
    assert len(arrow(UPDATE, CLOSED, None, 30, False, ENGLISH)) == 3
