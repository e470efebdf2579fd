"""diagram.py: exact drawings, and that they say what the command table says, all of it and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import plain

from popshell.protocol import commands
from popshell.protocol.commands import COMMANDS, CommandSpec, State, legal, transitions
from popshell.ui.diagram import HERE, LEGAL, TAKEN, arrow, fold, machine, path
from popshell.ui.layout import Line, Look, columns

CLOSED, AUTHORIZATION, TRANSACTION, UPDATE = State


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
  #==^==========+=#    APOP|AUTH    +--+----------+        +--+-----+
     | 問候     | QUIT                 : 斷線                 | 伺服器關閉連線
  +--+----------v----------------------v----------------------v--------------+
  | CLOSED  沒有連線                                                         |
  +--------------------------------------------------------------------------+
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
  │ USER+PASS·APOP·AUTH
┌─▼───────────┐
│ TRANSACTION │
└─┬───────────┘
  ├┄line lost┄▶
  │ CLOSED
  │ ↺ CAPA LANG STAT
  │   LIST RETR DELE
  │   NOOP RSET TOP UIDL
  │ QUIT
┌─▼──────┐
│ UPDATE │
└─┬──────┘
  └─server closes▶
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


def look(width: int, ascii: bool = False) -> Look:
    return Look(width=width, ascii=ascii)


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
        assert drawn(machine(TRANSACTION, look(80), ENGLISH)) == ENGLISH_80
        assert drawn(machine(AUTHORIZATION, look(80, True), CHINESE)) == CHINESE_80_ASCII
        assert drawn(machine(UPDATE, look(44), CHINESE)) == CHINESE_44
        assert drawn(machine(CLOSED, look(24), ENGLISH)) == ENGLISH_24

    def test_every_arrow_of_the_table_is_drawn_and_no_other(self) -> None:
        for width in (20, 40, 44, 72, 80, 120):
            for state in State:
                lines = machine(state, look(width), ENGLISH)
                assert names_in(lines) == names_on_arrows(), (width, state)
                assert plain(lines).count("line lost") == 1
                assert " ".join(plain(lines).split()).count("server closes") == 1

    def test_that_check_can_fail(self) -> None:
        lines = [line for line in machine(CLOSED, look(80), ENGLISH) if "DELE" not in plain([line])]
        assert names_on_arrows() - names_in(lines) == Counter(["DELE", "NOOP", "RSET", "TOP", "UIDL"]) + Counter(
            ["USER", "STLS", "CAPA", "UTF8", "LANG"]
        )

    def test_a_row_added_to_the_table_is_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for width in (20, 44, 80, 120):
            old = plain(machine(TRANSACTION, look(width), ENGLISH))
            for before in State:
                for after in State:
                    with monkeypatch.context() as patch:
                        add_row(patch, (before, after))
                        lines = machine(TRANSACTION, look(width), ENGLISH)
                    case = (width, before, after)
                    assert plain(lines) != old, case
                    assert names_in(lines)["FROB"] >= 1 or "FROB" in plain(lines), case
                    assert max(columns(line) for line in plain(lines).splitlines()) <= width, case

    def test_labels_that_do_not_fit_are_listed_below(self, monkeypatch: pytest.MonkeyPatch) -> None:
        row = CommandSpec("FROBNICATE", 9999, "1", MappingProxyType({TRANSACTION: UPDATE}))
        monkeypatch.setattr(commands, "_ROWS", (*COMMANDS.values(), row))
        assert "  TRANSACTION ─▶ UPDATE (QUIT·FROBNICATE)\n" in plain(machine(CLOSED, look(80), ENGLISH))

    def test_the_current_state_is_marked_without_colour(self) -> None:
        for width in (20, 60, 80, 120):
            for state in State:
                text = plain(machine(state, look(width), ENGLISH))
                assert re.findall(r"║\[(\w+)\]", text) == [state.value]
                others = [other for other in State if other is not state]
                assert all(other.value in text and f"[{other.value}]" not in text for other in others)

    def test_what_is_legal_now_is_bright(self) -> None:
        for width in (20, 44, 80):
            bright = " ".join(styled(machine(AUTHORIZATION, look(width), ENGLISH), LEGAL))
            assert set(re.findall(r"\w+", bright)) == {spec.name for spec in legal(AUTHORIZATION)}

    def test_nothing_moves_when_the_state_changes(self) -> None:
        def places(state: State, words: Fixed) -> list[tuple[int, int]]:
            rows = plain(machine(state, look(80, True), words)[:10]).splitlines()
            return [(y, x) for y, row in enumerate(rows) for x, c in enumerate(row) if c in "^v>"]

        for words in (ENGLISH, CHINESE):
            assert len({tuple(places(state, words)) for state in State}) == 1

    def test_chinese_labels_do_not_bend_lines(self) -> None:
        for width in (78, 80, 120):
            for words in (ENGLISH, CHINESE):
                rows = grid(machine(TRANSACTION, look(width), words))
                floor = next(y for y, row in enumerate(rows) if "CLOSED" in "".join(row))
                ends, posts, starts = (
                    {x for x, cell in enumerate(rows[y]) if cell in set(marks)}
                    for y, marks in ((floor - 3, "┬╤▲"), (floor - 2, "│┊"), (floor - 1, "▼┴"))
                )
                assert ends == posts == starts
                assert len(posts) == 4
                assert len(rows[floor - 1]) == len(rows[floor]) == len(rows[floor + 1])

    def test_chinese_labels_do_not_bend_the_lane(self) -> None:
        for words in (ENGLISH, CHINESE):
            rows = grid(machine(TRANSACTION, look(44), words))
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
            (TRANSACTION, 30, "A ─▶ [TRANSACTION] ─▶ U"),
            (AUTHORIZATION, 15, "[AUTHORIZATION]"),
        ],
    )
    def test_exact(self, state: State, width: int, line: str) -> None:
        assert plain(path(state, look(width), ENGLISH)) == line

    def test_ascii_and_chinese(self) -> None:
        line = plain(path(UPDATE, look(80, True), CHINESE))
        assert line == "連線 -> AUTHORIZATION -USER+PASS|APOP|AUTH-> TRANSACTION -QUIT-> [UPDATE]"

    def test_exactly_the_current_state_is_marked(self) -> None:
        for state in State:
            assert styled(path(state, look(80), ENGLISH), HERE) == [f"[{state.value}]"]

    def test_the_login_arrow_follows_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add_row(monkeypatch, (AUTHORIZATION, TRANSACTION), must_follow="APOP", logs_in=True)
        assert "─USER+PASS·APOP·AUTH·APOP+FROB─▶" in plain(path(AUTHORIZATION, look(120), ENGLISH))


class TestArrow:
    def test_exact(self) -> None:
        assert drawn(arrow(AUTHORIZATION, TRANSACTION, "pass secret word", look(80), ENGLISH)) == LOGIN
        assert drawn(arrow(AUTHORIZATION, CLOSED, "QUIT", look(80), ENGLISH)) == LEAVING
        assert drawn(arrow(TRANSACTION, CLOSED, "RETR", look(80, True), CHINESE)) == LOST_ASCII
        assert drawn(arrow(TRANSACTION, UPDATE, "QUIT", look(20), ENGLISH)) == NARROW

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
    def test_the_taken_arrow_tells_what_led_there(
        self, before: State, after: State, command: str | None, label: str
    ) -> None:
        for width in (24, 50, 80):
            lines = arrow(before, after, command, look(width), ENGLISH)
            assert label in " ".join(styled(lines, TAKEN))
            assert styled(lines, HERE) == [f"[{after.value}]"]

    def test_all_that_is_legal_now_is_shown_or_nothing(self) -> None:
        for width in range(20, 130):
            shown = " ".join(styled(arrow(AUTHORIZATION, TRANSACTION, "PASS", look(width), ENGLISH), LEGAL)).split()
            assert shown == ([spec.name for spec in legal(TRANSACTION)] if shown or width >= 80 else []), width

    def test_no_change_no_arrow(self) -> None:
        assert arrow(TRANSACTION, TRANSACTION, "NOOP", look(80), ENGLISH) == []

    def test_no_argument_is_ever_drawn(self) -> None:
        for width in range(20, 100, 7):
            assert "secret" not in plain(arrow(AUTHORIZATION, TRANSACTION, "PASS secret", look(width), ENGLISH)).lower()

    def test_no_arrow_is_drawn_that_does_not_exist(self) -> None:
        """A row that leaves states out would join what is not joined."""
        pairs = {(taken.before.value, taken.after.value) for taken in transitions()}
        for width in range(20, 100):
            for before, after in ((UPDATE, CLOSED), (TRANSACTION, CLOSED), (AUTHORIZATION, TRANSACTION)):
                first = plain(arrow(before, after, None, look(width), ENGLISH)).splitlines()[0]
                names = re.findall("|".join(state.value for state in State), first)
                assert set(pairwise(names)) <= pairs, width


class TestAll:
    widths = st.integers(20, 200)
    states = st.sampled_from(State)
    languages = st.sampled_from([ENGLISH, CHINESE])

    @settings(max_examples=300, deadline=None)
    @given(states, states, widths, st.booleans(), languages, st.sampled_from([None, "QUIT", "x" * 300]))
    def test_no_line_is_too_wide(
        self, state: State, other: State, width: int, ascii: bool, words: Fixed, command: str | None
    ) -> None:
        change = arrow(state, other, command, look(width, ascii), words)
        assert len(change) <= 3
        for lines in (machine(state, look(width, ascii), words), path(state, look(width, ascii), words), change):
            assert all(columns(line) <= width for line in plain(lines).splitlines())

    @given(states, states, widths)
    def test_ascii_is_ascii(self, state: State, other: State, width: int) -> None:
        for lines in (machine(state, look(width, True), ENGLISH), path(state, look(width, True), ENGLISH)):
            assert plain(lines).isascii()
        assert plain(arrow(state, other, None, look(width, True), ENGLISH)).isascii()

    def test_fold_balances(self) -> None:
        assert fold(["CAPA", "LANG", "STAT", "LIST", "RETR"], 20) == ["CAPA LANG STAT", "LIST RETR"]
        assert fold(["AUTHORIZATION"], 5) == ["AUTHORIZATION"]
        assert fold([], 5) == []


def test_the_server_s_closing_is_one_short_line_and_in_narrow_windows_three() -> None:
    assert drawn(arrow(UPDATE, CLOSED, None, look(77), ENGLISH)).strip() == "UPDATE ━━server closes━━▶ [CLOSED]"
    assert drawn(arrow(UPDATE, CLOSED, None, look(77, True), ENGLISH)).strip() == "UPDATE ==server closes==> [CLOSED]"
    assert len(arrow(UPDATE, CLOSED, None, look(30), ENGLISH)) == 3
