"""rules: which stretch of a line is what; and the palette that gives the styles their looks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popshell.protocol.commands import COMMANDS, MultiLine
from popshell.protocol.line import MASK, Context, parse
from popshell.ui import rules, theme
from popshell.ui.layout import COLOURED, Look
from popshell.ui.rules import BodyKind, Spans

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)
KINDS: tuple[BodyKind, ...] = ("listing", "uids", "mail", "capabilities", "text")


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
        assert read(line, rules.status_spans(line)) == expected, line


def test_lines_of_a_body() -> None:
    cases: list[tuple[BodyKind, str, list[tuple[str, str]]]] = [
        ("listing", "1 120", [("1", "number"), ("120", "number")]),
        ("listing", "1 120 extra", [("1", "number"), ("120", "number")]),
        ("listing", "1  120", []),
        ("listing", "one 120", []),
        ("uids", "1 whqtswO00WBw418f9t5JxYwZ", [("1", "number"), ("whqtswO00WBw418f9t5JxYwZ", "uid")]),
        ("uids", "1 a\\\\b", [("1", "number"), ("a\\\\b", "uid")]),
        ("uids", "1", []),
        ("capabilities", "TOP", [("TOP", "capability")]),
        ("capabilities", "sasl PLAIN", [("sasl", "capability")]),
        ("capabilities", "EXPIRE 60 USER", [("EXPIRE", "capability"), ("60", "number")]),
        ("capabilities", "X-OWN 5", [("5", "number")]),
        ("capabilities", "", []),
        ("mail", "Subject: 1 120", []),
        ("mail", "+OK", []),
        ("mail", "..", [(".", "stuffing")]),
        ("text", "1 120", []),
        ("listing", ".1 120", [(".", "stuffing"), ("1", "number"), ("120", "number")]),
    ]
    for kind, line, expected in cases:
        assert read(line, rules.body_spans(kind, line)) == expected, (kind, line)


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
        assert read(line, rules.body_spans("mail", line, in_header=True)) == expected, line


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
        assert read(line, rules.command_spans(parse(line))) == expected, line
        shown = [(MASK if style == "secret" else text, style) for text, style in expected]
        assert [(text, style) for style, text in rules.sent_runs(parse(line)) if style] == shown, line


def test_a_mistyped_verb_right_after_user_hides_what_follows() -> None:
    line = "PAS secret"
    spans = rules.command_spans(parse(line, Context(follows="USER")))
    assert read(line, spans) == [("PAS", "command-unknown"), ("secret", "secret")]


def test_every_command_of_the_table_is_one() -> None:
    """The names come from the table: there is no second list that could drift."""
    for name in COMMANDS:
        assert rules.command_spans(parse(name))[0].style == "command"


def test_bodies_belong_to_multi_line_commands() -> None:
    for name in ("LIST", "UIDL", "RETR", "TOP", "CAPA"):
        assert COMMANDS[name].multi_line is not MultiLine.NEVER
    assert rules.body_kind("LANG") == "text"


def test_guess() -> None:
    cases: list[tuple[str, BodyKind]] = [
        ("1 120", "listing"),
        ("1 uid", "uids"),
        ("TOP", "capabilities"),
        ("Top", "text"),
        ("+OK 1 2", "text"),
    ]
    for line, kind in cases:
        assert rules.guess(line) == kind, line


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
    found = [rules.status_spans(line), rules.command_spans(parse(line))]
    found += [rules.body_spans(kind, line) for kind in KINDS] + [rules.body_spans("mail", line, in_header=True)]
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
    assert rules.status_spans(line)[0].style == "ok"


# -- styles ------------------------------------------------------------------------------------------------------------


def test_colours_are_written_as_escape_sequences() -> None:
    assert COLOURED.paint("ok", "+OK") == "\x1b[1;32m+OK\x1b[m"
    assert COLOURED.paint("header-value", "x") == "x"
    assert COLOURED.paint("ok", "") == ""
    assert COLOURED.around("number") == ("\x1b[36m", "\x1b[m")


def test_without_colour_nothing_is_written() -> None:
    for look in (Look(), Look(plain=True), Look(colour=True, plain=True)):
        assert look.paint("err", "-ERR") == "-ERR"
        assert look.around("err") == ("", "")


def test_an_unknown_style_is_an_error() -> None:
    with pytest.raises(KeyError):
        COLOURED.paint("gaudy", "x")


def test_colour_is_decided_once() -> None:
    for environ, isatty, allowed in (
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),  # no-color.org: "not an empty string"
        ({"NO_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm-256color"}, True, True),
    ):
        assert theme.colour_allowed(environ, isatty) is allowed, environ


def test_prompt_toolkit_knows_every_style() -> None:
    style = theme.prompt_style(True).get_attrs_for_style_str("class:ok")
    assert (style.color, style.bold) == ("ansigreen", True)
    for name in theme.STYLES:
        assert theme.prompt_style(False).get_attrs_for_style_str(f"class:{name}").color == ""
