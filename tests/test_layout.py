"""layout.py: looks, columns, line breaks in two languages, styles that survive them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from looks import plain

from popshell.course.explain import Note
from popshell.ui import layout
from popshell.ui.layout import (
    CODE,
    EMPHASIS,
    Line,
    Look,
    clip,
    clip_line,
    columns,
    inline,
    pad,
    wrap_runs,
)

ENGLISH = (
    "`DELE` only marks a message: 120 octets are erased when `QUIT` leads to UPDATE (RFC 1939 §6). If the line is lost "
    "— nothing is erased, and `-ERR [SYS/TEMP]` or -ERR says so; byte-stuffing too."
)
CHINESE = (
    "`DELE` 只是「標記」訊息：`QUIT` 之後，伺服器進入 UPDATE 狀態才真正刪除 120 個位元組（RFC 1939 §6）。"
    "如果連線中斷——例如斷線……那麼什麼都不會刪除！回覆是 -ERR，第 3 封訊息仍然存在；byte-stuffing 也一樣。"
)
UNITS = "個位元組 位元組 個 封 %"
NEVER_FIRST = "，。、；：？！」』）》〉％…—～・"
NEVER_LAST = "「『（《〈"

#: What a line end must not part, wherever it fits into a line.
WHOLE = (
    "`DELE`",
    "`QUIT`",
    "-ERR",
    "`-ERR [SYS/TEMP]`",
    "RFC 1939 §6",
    "120 octets",
    "120 個位元組",
    "第 3 封",
    "byte-stuffing",
)


def wrap(text: str, columns: int, indent: str = "", hanging: str = "") -> list[str]:
    return plain(wrap_runs([("", text)], columns, indent, hanging, UNITS)).splitlines()


def parted(text: str, lines: list[str]) -> list[str]:
    """Which of WHOLE stand in `text` but in no single line of `lines`."""
    return [whole for whole in WHOLE if whole in text and not any(whole in line for line in lines)]


def ill_begun(lines: list[str]) -> list[str]:
    """The lines that begin or end as no line may."""
    return [line for line in lines if line.lstrip(" ")[0] in NEVER_FIRST or line[-1] in NEVER_LAST]


class TestColumns:
    def test_pad(self) -> None:
        assert pad("授權", 6) == "授權  "
        assert pad("授權", 3) == "授權"

    def test_clip(self) -> None:
        for text, width, clipped in (
            ("TRANSACTION", 11, "TRANSACTION"),
            ("TRANSACTION", 6, "TRANS…"),
            ("交易階段", 8, "交易階段"),
            ("交易階段", 7, "交易階…"),
            ("交易階段", 6, "交易…"),
            ("交易", 1, "…"),
            ("交易", 0, ""),
            ("", -1, ""),
            ("a\\x1bc", 5, "a…"),  # an escape is not cut in two
        ):
            assert clip(text, width) == clipped, (text, width)

    def test_clip_keeps_styles(self) -> None:
        assert clip_line([("", "ab\\x1b[2J")], 6) == [("", "ab…")]
        assert clip_line([("a", "交易"), ("b", "階段"), ("c", "x")], 7) == [("a", "交易"), ("b", "階…")]


class TestWrap:
    def test_lines_fit_and_break_where_they_may(self) -> None:
        for text in (ENGLISH, CHINESE):
            for width in range(24, 81):
                lines = wrap(text, width, "✘ ", "  ")
                assert max(map(columns, lines)) <= width
                assert parted(text, lines) == [], width
                assert ill_begun([line[2:] for line in lines]) == [], width

    def test_these_checks_can_fail(self) -> None:
        cut = [CHINESE[i : i + 9] for i in range(0, len(CHINESE), 9)]
        assert "120 個位元組" in parted(CHINESE, cut)
        assert ill_begun(["訊息「", "，伺服器"]) == ["訊息「", "，伺服器"]
        assert "-ERR" in parted("say -ERR", ["say -", "ERR"])

    def test_english(self) -> None:
        assert wrap("Log in: USER, then PASS.  See RFC 1939 §7 for byte-stuffing.", 24) == [
            "Log in: USER, then PASS.",
            "See RFC 1939 §7 for",
            "byte-stuffing.",
        ]

    def test_chinese(self) -> None:
        assert wrap("標記為刪除的郵件，在 `QUIT` 之後才會消失。", 18, "✘ ", "  ") == [
            "✘ 標記為刪除的郵",
            "  件，在 `QUIT` 之",
            "  後才會消失。",
        ]

    def test_punctuation_takes_its_character_along(self) -> None:
        assert wrap("一二三四，五", 8) == ["一二三", "四，五"]
        assert wrap("一二三「四」", 8) == ["一二三", "「四」"]
        assert wrap("（一）（二）", 6) == ["（一）", "（二）"]
        assert wrap("一二……三", 5) == ["一", "二……", "三"]

    def test_held_together(self) -> None:
        for whole in ("-ERR", "+OK", "`b c d`", "RFC 1939 §5", "3.5 ms", "12 封", "12 %", "第 3 封", "x-y-z"):
            assert wrap(f"a {whole}", columns(whole) + 1) == ["a", whole]

    def test_no_number_keeps_the_end_of_a_sentence(self) -> None:
        assert wrap("see RFC 1939. Then more", 14) == ["see RFC 1939.", "Then more"]

    def test_too_long_is_cut_hard_and_nothing_is_lost(self) -> None:
        assert wrap("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
        assert wrap("a `one two` b", 5) == ["a", "`one", "two`", "b"]
        assert wrap("`one two`", 7) == ["`one", "two`"]
        assert wrap("授權", 1) == ["授", "權"]
        assert wrap("xxxxxxxxxx，", 10) == ["xxxxxxxxx", "x，"]

    def test_a_newline_is_a_blank_but_not_in_chinese(self) -> None:
        assert wrap("one\n  two", 20) == ["one two"]
        assert wrap("授權\n  階段", 20) == ["授權階段"]
        assert wrap("用\nSTAT", 20) == ["用 STAT"]

    def test_nothing(self) -> None:
        assert wrap("", 20) == wrap("  ", 20) == []

    @given(st.text(st.sampled_from("ab -，。「」（授權`…—§1 \n*\u0301")), st.integers(2, 30))
    @example("1 ", 2)
    @example("111\u0301", 3)  # more characters than columns
    def test_any_text(self, text: str, width: int) -> None:
        lines = wrap(text, width)
        assert all(columns(line) <= width and line.strip() for line in lines)
        assert "".join("".join(lines).split()) == "".join(text.split())


class TestRuns:
    def test_inline(self) -> None:
        note = "`DELE` only *marks* it; 2*3*4, `LANG *`, a ` and a * stay."
        assert inline(note) == [
            (CODE, "DELE"),
            ("", " only "),
            (EMPHASIS, "marks"),
            ("", " it; 2*3*4, "),
            (CODE, "LANG *"),
            ("", ", a ` and a * stay."),
        ]
        assert inline("只是*標記*而已") == [("", "只是"), (EMPHASIS, "標記"), ("", "而已")]
        assert inline("") == []

    def test_styles_survive(self) -> None:
        runs = inline("`DELE` only *marks a message* here")
        assert wrap_runs(runs, 16, "> ", "| ") == [
            [("", "> "), (CODE, "DELE"), ("", " only")],
            [("", "| "), (EMPHASIS, "marks a")],
            [("", "| "), (EMPHASIS, "message"), ("", " here")],
        ]

    def test_code_is_not_broken_and_takes_its_punctuation_along(self) -> None:
        lines = wrap_runs(inline("回覆是 `-ERR [IN-USE]`，請稍候"), 18)
        assert plain(lines).splitlines() == ["回覆是", "-ERR [IN-USE]，請", "稍候"]

    @given(
        st.lists(st.tuples(st.sampled_from(["", CODE, EMPHASIS]), st.text("ab 授，。-1", max_size=9))),
        st.integers(2, 30),
    )
    def test_every_character_keeps_its_style(self, runs: list[tuple[str, str]], width: int) -> None:
        def characters(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
            return [(style, character) for style, text in parts for character in text if character != " "]

        assert characters([run for line in wrap_runs(runs, width) for run in line]) == characters(runs)


def test_a_last_line_is_never_one_chinese_character_where_another_can_be_pulled_down() -> None:
    cases: list[tuple[str, int, list[str]]] = [
        ("一二三四五六七八九。", 18, ["一二三四五六七", "八九。"]),
        ("一二三四五六七八九", 16, ["一二三四五六七", "八九"]),
        ("一二三四五六七，八。", 16, ["一二三四五六", "七，八。"]),
        ("一二三四五六七八 RFC 9", 16, ["一二三四五六七八", "RFC 9"]),
        ("一二", 2, ["一", "二"]),
        ("English words a", 14, ["English words", "a"]),
    ]
    for text, room, lines in cases:
        assert wrap(text, room) == lines, text


# -- looks -------------------------------------------------------------------------------------------------------------

TEXT = (
    "`RSET` takes all `marks` back, `LIST` shows which `numbers` there are, and `QUIT` ends it. Then `:connect` and "
    "`:mailbox` tell what is left of `DELE 1`, `DELE 2` and `DELE 3` (§6 …)."
)
SPELLED = {
    Look(): TEXT.replace("`", ""),
    Look(ascii=True): TEXT.replace("`", "").replace("§6 …", "sec. 6 ..."),
    Look(plain=True): TEXT,
    Look(plain=True, ascii=True): TEXT.replace("§6 …", "sec. 6 ..."),
}


def test_a_text_is_spelled_before_it_is_wrapped() -> None:
    for look, spelled in SPELLED.items():
        for width in range(30, 90, 7):
            lines = layout.paragraph(TEXT, look._replace(width=width))
            rows = plain(lines).split("\n")
            assert all(columns(row) <= width for row in rows), (look, width)
            assert all(row.startswith("  ") and row[2] != " " for row in rows), (look, width)
            assert " ".join(plain(lines).split()) == spelled, (look, width)


def test_what_is_spelled_already_stays_as_it_is() -> None:
    for look in SPELLED:
        once = look.spelled(inline(TEXT))
        assert look.spelled(once) == once


def test_what_was_typed_or_received_is_never_respelled() -> None:
    for style in ("peer", "argument", "extra"):
        line: Line = [("note", "§5 … “x”"), (style, "§5 … “x”")]
        assert plain([Look(ascii=True).spelled(line)]) == 'sec. 5 ... "x"§5 … “x”'


def test_a_drawing_keeps_its_width_in_ascii() -> None:
    line: Line = [("diagram.line", "╭─▶║┊│┗━▲↺"), ("peer", "─")]
    assert Look().rows([line]) == [line]
    assert plain(Look(ascii=True).rows([line])) == "+->#:|+=^@─" == plain(Look(plain=True).rows([line]))


def test_a_sign_at_the_left_keeps_its_place() -> None:
    notes = [Note("ok", "one `two` three four five"), Note("info", "short")]
    lines = layout.note_lines(notes, Look(plain=True, width=19))
    assert plain(lines) == "   * one `two`\n     three four\n     five\n     short"
