"""Document: keys, headings and fences with their lines; nothing that markdown-it would leave out passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from popshell.course.document import DEEPEST, Document, Fence, Heading

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


def document(text: str) -> Document:
    """Without a head: the lines are those of the text."""
    return Document("x.md", text)


def left_out(text: str) -> bool:
    """Whether markdown-it shows less than it would without its bound."""
    shown = [token.content for token in MarkdownIt("commonmark").parse(text)]
    return shown != [token.content for token in MarkdownIt("commonmark", {"maxNesting": 400}).parse(text)]


@PROFILE
@given(TEXTS)
def test_what_would_be_left_out_is_found(text: str) -> None:
    assert document(text).too_deep is not None or not left_out(text)


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
    assert document(text).too_deep == line


def test_the_lines_of_keys() -> None:
    text = (
        '+++\nid = "x"\n[[exercise]]\nid = "a"\n[[exercise]]\nid = "b"\nkind = 3\n[[exercise.wrong]]\nsay = "b"\n+++\n'
    )
    read = Document("x.md", text)
    wanted = {
        ("id",): 2,
        ("kind",): 1,
        ("exercise", 0): 3,
        ("exercise", 0, "kind"): 3,
        ("exercise", 1, "id"): 6,
        ("exercise", 1, "wrong", 0, "say"): 9,
        ("exercise", 9, "id"): 3,
    }
    assert {path: read.line(*path) for path in wanted} == wanted
    messages = {
        "Expected `str` - at `$.exercise[1].kind`": 7,
        "Expected `str` - at `$.exercise[1].wrong[0].say`": 9,
        "missing field `solution` - at `$.exercise[1]`": 5,
        "Object contains unknown field `kind` - at `$.exercise[1]`": 7,
        "missing required field `id`": 1,
        "what?": 1,
    }
    assert {message: read.line_of(message) for message in messages} == messages


def test_the_lines_of_values() -> None:
    read = Document("x.toml", 'lessons = [\n  "01-ab",  # "01-a"\n  "01-a", "01-a",\n  \'01-c\',\n]\nid = "01-c"\n')
    found = [read.line_with(name, "lessons", nth=nth) for name, nth in (("01-a", 1), ("01-a", 2), ("01-c", 1))]
    assert found == [3, 3, 4]
    assert read.line_with("01-c", "lessons", nth=2) == read.line_with("01-x", "lessons") == 1
    assert read.line_with("1-c", "id") == 6, "a part of it"


def test_headings_and_fences() -> None:
    text = "## a\n~~~\n## no\n~~~\n> ## no\n\nno\n---\n### b ###\n````pop3 x\n```\n````\n"
    text += "- ```\n  y\n  ```\n\n    ```z\n\n```\nend"
    read = document(text)
    assert read.headings == [Heading(1, 2, "a"), Heading(9, 3, "b")]
    assert read.fences == [
        Fence(2, 4, "", ("## no",), True, False),
        Fence(10, 12, "pop3 x", ("```",), True, True),
        Fence(13, 15, "", ("  y",), True, False),
        Fence(17, 18, "z", ("",), True, False),
        Fence(19, 20, "", ("end",), False, True),
    ]
    assert [at for at, _ in read.outside_fences()] == [1, 5, 6, 7, 8, 9, 16]
