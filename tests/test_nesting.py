"""nesting: nothing that markdown-it would leave out passes, however the marks are mixed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from popshell.course.nesting import DEEPEST, too_nested

PROFILE = settings(max_examples=600, deadline=None, derandomize=True, database=None)
_MARKS = (
    "> ",
    ">",
    "- ",
    "* ",
    "1. ",
    "10) ",
    "  ",
    "    ",
    "   ",
    "+   ",
    "\t",
    "a",
    "b c",
    "---",
    "* * *",
    "# x",
    " ",
)


def rows(marks: list[str]) -> st.SearchStrategy[str]:
    row = st.lists(st.sampled_from(marks), max_size=24).flatmap(
        lambda parts: st.sampled_from(["", "x", " x"]).map(lambda end: "".join(parts) + end)
    )
    return st.lists(row, min_size=1, max_size=6).map("\n".join)


TEXTS = st.lists(st.sampled_from(_MARKS), min_size=1, max_size=4, unique=True).flatmap(rows)


def left_out(text: str) -> bool:
    """Whether markdown-it shows less than it would without its bound."""
    shown = [token.content for token in MarkdownIt("commonmark").parse(text)]
    return shown != [token.content for token in MarkdownIt("commonmark", {"maxNesting": 400}).parse(text)]


@PROFILE
@given(TEXTS)
def test_what_would_be_left_out_is_found(text: str) -> None:
    assert too_nested(text) is not None or not left_out(text)


def test_the_bound_is_that_of_the_reader() -> None:
    assert MarkdownIt("commonmark").options.maxNesting == DEEPEST
    assert left_out("> " * 20 + "x")
    assert not left_out("> " * 19 + "x")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x", None),
        ("> " * 19 + "x", None),
        ("> " * 20 + "x", 1),
        ("- " * 9 + "x", None),
        ("- " * 10 + "x", 1),
        ("\n".join("  " * depth + "- x" for depth in range(9)), None),
        ("\n".join("  " * depth + "- x" for depth in range(30)), 10),
        ("x\n\n" + "> - " * 7 + "x", 3),
        ("```\n" + ">" * 50 + "\n```\n" + ">" * 50, 4),
        ("* " * 30, None),
        ("    " + "> " * 30, None),
        ("\n\n".join(["- x"] * 50), None),
        ("\n\n".join(["> x"] * 50), None),
    ],
)
def test_the_line_is_told(text: str, line: int | None) -> None:
    assert too_nested(text) == line


@pytest.mark.parametrize(
    "piece", [">", "> ", "- ", "* ", " ", "\t", "> " * 19 + "\n", "  " * 9 + "- a\n", "1. " * 9 + "\n"]
)
def test_a_long_text_takes_no_time(piece: str) -> None:
    text = (piece * (1 << 20))[: 1 << 20]
    start = time.process_time()
    too_nested(text)
    assert time.process_time() - start < 3
