"""rules: which stretch of a line is what; and the palette that gives the styles their looks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import COLOURED

from popshell.protocol.commands import COMMANDS, Content, MultiLine
from popshell.protocol.line import MASK, Context, parse
from popshell.ui import theme
from popshell.ui.layout import Look
from popshell.ui.theme import Spans

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def read(line: str, spans: Spans) -> list[tuple[str, str]]:
    return [(line[start:end], style) for start, end, style in spans]


def test_status_lines() -> None:
    cases: list[tuple[str, list[tuple[str, str]]]] = [
        ("+OK", [("+OK", "ok")]),
        ("+OK 2 320", [("+OK", "ok"), ("2", "number"), ("320", "number")]),
        ("+OK 2 messages (320 octets)", [("+OK", "ok"), ("2", "number"), ("320", "number")]),
        ("-ERR no such message", [("-ERR", "err")]),
        ("-ERR [IN-USE] busy", [("-ERR", "err"), ("[IN-USE]", "code")]),
        ("-ERR [SYS/TEMP]", [("-ERR", "err"), ("[SYS/TEMP]", "code")]),
        ("+OK [UTF8] on", [("+OK", "ok"), ("[UTF8]", "code")]),
        ("-ERR busy [IN-USE]", [("-ERR", "err")]),  # a code stands at the head only (RFC 2449 §8)
        ("+OK ready <1896.6971@dbc.mtview.ca.us>", [("+OK", "ok"), ("<1896.6971@dbc.mtview.ca.us>", "stamp")]),
        ("+OK <not a stamp> <a@b> 10.0.0.1 v2.3", [("+OK", "ok"), ("<a@b>", "stamp")]),
        ("+ PDE4OTY=", [("+", "challenge")]),
        ("+", [("+", "challenge")]),
        ("+ok 2", []),  # indicators are upper case (RFC 1939 §3)
        ("+OKAY 2", []),
        ("-ERROR", []),
        (" +OK", []),
        ("* OK IMAP4", []),
        ("", []),
        ("+OK ٣ ３", [("+OK", "ok")]),  # digits of other scripts are no numbers,
    ]
    for line, expected in cases:
        assert read(line, theme.status_spans(line)) == expected, line


def test_lines_of_a_body() -> None:
    cases: list[tuple[Content, str, list[tuple[str, str]]]] = [
        (Content.SCAN_LISTINGS, "1 120", [("1", "number"), ("120", "number")]),
        (Content.SCAN_LISTINGS, "1 120 extra", [("1", "number"), ("120", "number")]),
        (Content.SCAN_LISTINGS, "1  120", []),
        (Content.SCAN_LISTINGS, "one 120", []),
        (Content.UNIQUE_IDS, "1 whqtswO00WBw418f9t5JxYwZ", [("1", "number"), ("whqtswO00WBw418f9t5JxYwZ", "uid")]),
        (Content.UNIQUE_IDS, "1 a\\\\b", [("1", "number"), ("a\\\\b", "uid")]),
        (Content.UNIQUE_IDS, "1", []),
        (Content.CAPABILITIES, "TOP", [("TOP", "capability")]),
        (Content.CAPABILITIES, "sasl PLAIN", [("sasl", "capability")]),
        (Content.CAPABILITIES, "EXPIRE 60 USER", [("EXPIRE", "capability"), ("60", "number")]),
        (Content.CAPABILITIES, "X-OWN 5", [("5", "number")]),
        (Content.CAPABILITIES, "", []),
        (Content.MAIL, "Subject: 1 120", []),
        (Content.MAIL, "+OK", []),
        (Content.MAIL, "..", [(".", "stuffing")]),
        (Content.TEXT, "1 120", []),
        (Content.SCAN_LISTINGS, ".1 120", [(".", "stuffing"), ("1", "number"), ("120", "number")]),
    ]
    for kind, line, expected in cases:
        assert read(line, theme.body_spans(kind, line)) == expected, (kind, line)


def test_lines_of_a_header() -> None:
    cases: list[tuple[str, list[tuple[str, str]]]] = [
        ("Subject: a: b", [("Subject:", "header-name"), (" a: b", "header-value")]),
        ("X-Empty:", [("X-Empty:", "header-name"), ("", "header-value")]),
        ("\tfolded: rest", [("\tfolded: rest", "header-value")]),
        ("no colon", []),
        ("two words: x", []),
        (": x", []),
        ("..a: b", [(".", "stuffing"), (".a:", "header-name"), (" b", "header-value")]),
    ]
    for line, expected in cases:
        assert read(line, theme.body_spans(Content.MAIL, line, in_header=True)) == expected, line


def test_typed_lines() -> None:
    cases: list[tuple[str, list[tuple[str, str]]]] = [
        ("STAT", [("STAT", "command")]),
        ("retr 1", [("retr", "command"), ("1", "number")]),
        ("TOP 1 0", [("TOP", "command"), ("1", "number"), ("0", "number")]),
        ("LIST all", [("LIST", "command"), ("all", "argument")]),
        ("USER bob", [("USER", "command"), ("bob", "argument")]),
        ("PASS two words", [("PASS", "command"), ("two words", "secret")]),
        ("APOP bob 0123", [("APOP", "command"), ("bob", "argument"), ("0123", "secret")]),
        ("AUTH PLAIN AGJvYg==", [("AUTH", "command"), ("PLAIN", "mechanism"), ("AGJvYg==", "secret")]),
        ("STAT now", [("STAT", "command"), ("now", "extra")]),
        ("NONSENSE 1", [("NONSENSE", "command-unknown"), ("1", "argument")]),
        ("no such USER", [("no", "command-unknown"), ("such", "argument"), ("USER", "argument")]),
        ("", []),
    ]
    for line, expected in cases:
        assert read(line, theme.command_spans(parse(line))) == expected, line
        shown = [(MASK if style == "secret" else text, style) for text, style in expected]
        assert [(text, style) for style, text in theme.sent_runs(parse(line)) if style] == shown, line


def test_a_mistyped_verb_right_after_user_hides_what_follows() -> None:
    line = "PAS secret"
    spans = theme.command_spans(parse(line, Context(follows="USER")))
    assert read(line, spans) == [("PAS", "command-unknown"), ("secret", "secret")]


def test_every_command_of_the_table_is_one() -> None:
    """The names come from the table: there is no second list that could drift."""
    for name in COMMANDS:
        assert theme.command_spans(parse(name))[0].style == "command"


def test_bodies_belong_to_multi_line_commands() -> None:
    for name in ("LIST", "UIDL", "RETR", "TOP", "CAPA"):
        assert COMMANDS[name].multi_line is not MultiLine.NEVER
    assert theme.content_of("LANG") is Content.TEXT


def test_guess() -> None:
    cases: list[tuple[str, Content]] = [
        ("1 120", Content.SCAN_LISTINGS),
        ("1 uid", Content.UNIQUE_IDS),
        ("TOP", Content.CAPABILITIES),
        ("Top", Content.TEXT),
        ("+OK 1 2", Content.TEXT),
    ]
    for line, kind in cases:
        assert theme.guess(line) == kind, line


LINES = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["+OK", "-ERR", "+", " ", "[IN-USE]", "[", "]", "<a@b>", "<", "1", "120", ".", "..", ":", "PASS", "X", "\t"]
        ),
        max_size=9,
    ).map("".join),
)


@PROFILE
@given(LINES)
def test_spans_are_in_order_and_known(line: str) -> None:
    found = [theme.status_spans(line), theme.command_spans(parse(line))]
    found += [theme.body_spans(kind, line) for kind in Content] + [theme.body_spans(Content.MAIL, line, in_header=True)]
    for spans in found:
        done = 0
        for start, end, style in spans:
            assert done <= start <= end <= len(line)
            assert style in theme.STYLES
            done = end


@pytest.mark.parametrize(
    "line", ["+OK " + "<" * 50_000, "+OK " + "1" * 50_000, "+OK [" + "a" * 50_000, "+OK " + "<a" * 25_000]
)
def test_hostile_lines_take_linear_time(line: str) -> None:
    """They would take minutes if a pattern went back over the line for each place where it may begin."""
    assert theme.status_spans(line)[0].style == "ok"


# -- styles ------------------------------------------------------------------------------------------------------------


def test_colours_are_written_as_escape_sequences() -> None:
    assert COLOURED.paint("ok", "+OK") == "\x1b[1;38;5;114m+OK\x1b[m"
    assert Look(theme="light-16").paint("err", "-ERR") == "\x1b[1;31m-ERR\x1b[m"
    assert Look(theme="light-16").paint("ok", "+OK") == "\x1b[1m+OK\x1b[m", "its green is too faint on white"
    assert COLOURED.paint("header-value", "x") == "x"
    assert COLOURED.paint("ok", "") == ""
    assert COLOURED.around("number") == ("\x1b[38;5;80m", "\x1b[m")


def test_without_colour_nothing_is_written() -> None:
    for look in (Look(), Look(plain=True)):
        assert look.paint("err", "-ERR") == "-ERR"
        assert look.around("err") == ("", "")


def test_an_unknown_style_is_an_error() -> None:
    with pytest.raises(KeyError):
        COLOURED.paint("gaudy", "x")


def test_the_theme_is_decided_once() -> None:
    good = {"TERM": "xterm-256color"}
    for setting, environ, isatty, theme_name in (
        (("auto", "default"), good, True, "auto"),
        (("auto", "default"), good, False, "none"),
        (("auto", "default"), {}, True, "none"),
        (("dark", "config.toml:1"), good, True, "dark"),
        (("dark", "config.toml:1"), {"TERM": "linux"}, True, "dark-16"),
        (("light", "--theme"), {"TERM": "screen"}, True, "light-16"),
        (("light", "--theme"), {"TERM": "screen", "COLORTERM": "truecolor"}, True, "light"),
        (("dark", "config.toml:1"), good | {"NO_COLOR": "1"}, True, "none"),
        (("dark", "--theme"), good | {"NO_COLOR": "1"}, True, "dark"),
        (("none", "--theme"), good | {"CLICOLOR_FORCE": "1"}, True, "none"),
        (("auto", "default"), good | {"NO_COLOR": ""}, True, "auto"),  # no-color.org: "not an empty string"
        (("auto", "default"), good | {"NO_COLOR": "0"}, True, "none"),
        (("auto", "default"), good | {"CLICOLOR_FORCE": "1"}, False, "auto"),
        (("auto", "default"), good | {"CLICOLOR_FORCE": "0"}, False, "none"),
        (("auto", "default"), good | {"FORCE_COLOR": "1"}, False, "auto"),
        (("auto", "default"), good | {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, "none"),
        (("auto", "default"), {"TERM": "dumb"}, True, "none"),
    ):
        assert theme.chosen(*setting, environ, isatty) == theme_name, (setting, environ, isatty)


def luminance(rgb: tuple[int, ...]) -> float:
    """Relative luminance (WCAG 2.2)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Contrast ratio (WCAG 2.2): 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgb(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def test_a_background_has_the_theme_that_is_legible_on_it() -> None:
    for name, grounds in theme.BACKGROUNDS.items():
        assert {theme.fitting(rgb(ground)) for ground in grounds} == {name}
    for grey in range(256):
        found = theme.fitting((grey,) * 3)
        inks = [colour.rgb for colour in theme.COLOURS.get(found, {}).values()]
        assert all(contrast(ink, (grey,) * 3) >= 4.5 for ink in inks), grey
    assert theme.fitting((128, 128, 128)) == "auto"


def test_every_style_of_a_theme_is_legible_on_its_backgrounds() -> None:
    assert round(contrast(rgb("#ffffff"), rgb("#000000"))) == 21
    faint = [
        (name, style, ground)
        for name, grounds in theme.BACKGROUNDS.items()
        for style in theme.STYLES
        for word in theme.words(style, name).split()
        if word.startswith("#")
        for ground in grounds
        if contrast(rgb(word), rgb(ground)) < 4.5
    ]
    assert faint == []


#: The named colours 0 to 15 of common terminals.
NAMED = {
    "xterm": "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5"
    " 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
    "VGA": "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa"
    " 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
    "Windows": "0c0c0c c50f1f 13a10e c19c00 0037da 881798 3a96dd cccccc"
    " 767676 e74856 16c60c f9f1a5 3b78ff b4009e 61d6d6 f2f2f2",
    "Tango": "000000 cc0000 4e9a06 c4a000 3465a4 75507b 06989a d3d7cf"
    " 555753 ef2929 8ae234 fce94f 729fcf ad7fa8 34e2e2 eeeeec",
    "Solarized": "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5"
    " 002b36 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3",
}
#: Colours of these palettes with which no other code does better, and the contrast that they have at least.
FAINTER = {("dark", "Solarized"): 3.0, ("light", "Solarized"): 3.2, ("dark", "Windows"): 3.1}


def test_the_named_colours_are_legible_in_common_palettes() -> None:
    faint = []
    for palette, listed in NAMED.items():
        named = [rgb(text) for text in listed.split()]
        solarized = palette == "Solarized"
        grounds = {"dark": named[8 if solarized else 0], "light": named[15]}
        for name, colours in theme.COLOURS.items():
            for word, colour in colours.items():
                if not colour.named:
                    continue
                drawn = named[colour.named - 30 if colour.named < 90 else colour.named - 90 + 8]
                ratio = contrast(drawn, grounds[name])
                if ratio < FAINTER.get((name, palette), 4.5):
                    faint.append((name, palette, word, round(ratio, 2)))
    assert faint == []


def test_where_the_background_is_not_known_there_is_no_colour() -> None:
    """Only the default foreground, bold and underline."""
    for style in theme.STYLES:
        assert set(re.findall(r"\d+", theme.begin(style, "auto"))) <= {"1", "4"}, style
        assert theme.begin(style, "none") == "", style
    assert theme.begin("warn", "auto") == "\x1b[1m"


def test_prompt_toolkit_knows_every_style() -> None:
    for name in theme.THEMES:
        style = theme.prompt_style(name)
        for of in theme.STYLES:
            known = style.get_attrs_for_style_str(f"class:{of}")
            codes = theme.begin(of, name)
            assert bool(known.color) == bool(re.search(r"38;5|[39]\dm", codes)), (name, of)
            assert known.bold == bool(re.search(r"\[1[;m]", codes)), (name, of)
