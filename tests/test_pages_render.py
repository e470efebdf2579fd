"""Pages on the screen: what the tables say, then the body; in both languages, every width, with and without colour."""

from __future__ import annotations

import io
import re

import pytest
from stage import CATALOG

from popshell.course.catalog import Page
from popshell.course.explain import pages
from popshell.protocol.commands import COMMANDS
from popshell.ui.pages import render
from popshell.ui.theme import COLOURED, COLOURLESS, PLAIN
from popshell.visible import width

LANGUAGES = ("en", "zh-Hant")
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def page(path: str, language: str = "en") -> Page:
    found = CATALOG.page(language, path)
    assert found is not None
    return found


def drawn(path: str, language: str = "en", columns: int = 80, **how: object) -> str:
    how.setdefault("ascii", False)
    how.setdefault("palette", COLOURLESS)
    return render(page(path, language), path, CATALOG.words(language), columns, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("columns", [80, 120])
def test_every_page_fits_the_window(language: str, columns: int) -> None:
    for path in pages():
        for row in drawn(path, language, columns).split("\n"):
            if not re.match(r" *[SC]: ", row):
                assert width(row.rstrip()) < columns, (path, row)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_says_what_its_summary_and_its_source_are(language: str) -> None:
    for path in pages():
        text = " ".join(drawn(path, language).split())
        assert page(path, language).summary.split(" ", 1)[0] in text
        if not path.startswith("states/"):
            assert "RFC " in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", COMMANDS)
def test_command_page_has_the_facts_of_the_table(language: str, name: str) -> None:
    spec, words = COMMANDS[name], CATALOG.words(language)
    text = drawn(f"commands/{name}", language)
    assert spec.syntax in text
    for param in spec.params:
        assert f"{param.name}: " in text
    for before, after in spec.transitions.items():
        assert (before.value if before is after else f"{before.value} → {after.value}") in text
    assert all(words(f"undo.{spec.undo_in(state).value}") in text for state in spec.transitions)
    assert f"RFC {spec.rfc} §" in text or f"RFC {spec.rfc} “" in text
    assert (words("page.history") in text) == spec.historic


def test_notes_of_arguments_are_rendered() -> None:
    head = drawn("commands/RETR").partition("This is what")[0]
    assert "as LIST shows it" in head
    assert "`" not in head


def test_colour_comes_from_the_palette_alone() -> None:
    for path in ("commands/RETR", "codes/IN-USE", "states/TRANSACTION"):
        coloured = drawn(path, palette=COLOURED)
        assert "\x1b[" in coloured
        assert [row.rstrip() for row in _SGR.sub("", coloured).splitlines()] == drawn(path).splitlines()
        assert "\x1b" not in drawn(path)
        assert "\x1b" not in drawn(path, ascii=True, palette=PLAIN)


@pytest.mark.parametrize("palette", [COLOURLESS, PLAIN])
def test_ascii_draws_nothing_but_ascii(palette: object) -> None:
    for path in pages():
        text = drawn(path, ascii=True, palette=palette)
        assert not set("╭╮╰╯─│→·•▶") & set(text), path


def test_plain_has_a_heading_of_words() -> None:
    assert drawn("codes/IN-USE", ascii=True, palette=PLAIN).startswith("== [IN-USE]: ")


def test_dialogue_keeps_its_lines_and_marks() -> None:
    text = drawn("commands/LIST")
    assert re.search(r"^ +C: LIST 2\n +S: \+OK 2 762$", text, re.M)


def test_page_of_others_is_filtered() -> None:
    hostile = Page("codes/X.md", {"summary": "\x1b]0;x\x07"}, "\x1b[2J [bank](http://evil\x1b[m) `\x07`\n")
    text = render(hostile, "codes/IN-USE", CATALOG.words("en"), 80, False, COLOURLESS)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "http://evil" in text, "a link shows its target"
    assert io.StringIO(text)


@pytest.mark.parametrize("columns", [1, 10, 20, 40])
def test_narrow_window_is_no_error(columns: int) -> None:
    for path in ("commands/AUTH", "codes/SYS-TEMP", "capabilities/UTF8", "states/CLOSED"):
        for language in LANGUAGES:
            assert drawn(path, language, max(columns, 20))


def test_arrows_of_a_state_name_the_command_before_the_state() -> None:
    assert "QUIT → UPDATE" in drawn("states/TRANSACTION")
    assert "server closes → CLOSED" in drawn("states/UPDATE")
    assert "greeting → AUTHORIZATION" in drawn("states/CLOSED")
    assert "RFC 8314 §3、RFC 2595 §4" in drawn("commands/PASS", "zh-Hant")
