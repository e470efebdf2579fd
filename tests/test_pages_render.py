"""Pages on the screen: what the tables say, then the body; in both languages, every width, with and without colour."""

from __future__ import annotations

import re

from looks import COLOURED, COLOURLESS
from stage import CATALOG

from popshell.course.catalog import LANGUAGES
from popshell.course.document import Document
from popshell.course.explain import pages
from popshell.protocol.commands import COMMANDS
from popshell.ui.layout import PLAIN, Look
from popshell.ui.pages import markdown, render
from popshell.ui.screen import Screen
from popshell.visible import width

_SGR = re.compile(r"\x1b\[[0-9;]*m")
LOOKS = [(Look(), 40), (Look(), 120), (Look(ascii=True), 40), (PLAIN, 80), (Look(plain=True, ascii=True), 40)]


def page(path: str, language: str = "en") -> Document:
    found = CATALOG.page(language, path)
    assert found is not None
    return found


def drawn(path: str, language: str = "en", columns: int = 80, look: Look = COLOURLESS) -> str:
    lines = render(page(path, language), path, CATALOG.words(language), look._replace(width=columns - 1))
    return Screen(look).drawn(lines)


def test_every_page_fits_the_window_in_every_look() -> None:
    wrong = []
    for look, columns in LOOKS:
        for language in LANGUAGES:
            for path in pages():
                rows = drawn(path, language, columns, look).split("\n")
                ours = [row for row in rows if not re.match(r"    |.* - ", row)]
                wrong += [(look, columns, path, row) for row in ours if width(row) >= columns]
    assert not wrong


def test_every_page_says_its_summary_and_its_source() -> None:
    for language in LANGUAGES:
        for path in pages():
            text = " ".join(drawn(path, language).split())
            assert page(path, language).summary.split(" ", 1)[0] in text, path
            assert "RFC " in text or path.startswith("states/"), path


def test_the_page_of_a_command_has_the_facts_of_the_table() -> None:
    for language in LANGUAGES:
        words = CATALOG.words(language)
        for name, spec in COMMANDS.items():
            text = drawn(f"commands/{name}", language)
            wanted = [spec.syntax, *(words.named(param.name, "") for param in spec.params)]
            wanted += [a.value if a is b else f"{a.value} → {b.value}" for a, b in spec.transitions.items()]
            wanted += [words(f"undo.{spec.undo_in(state).value}") for state in spec.transitions]
            assert [fact for fact in wanted if fact not in text] == [], name
            assert f"RFC {spec.rfc} §" in text or f"RFC {spec.rfc} “" in text, name
            assert (words("page.history") in text) == spec.historic, name


def test_notes_on_arguments_have_their_markup_rendered() -> None:
    head = drawn("commands/RETR").partition("This is what")[0]
    assert "as LIST shows it" in head
    assert "as `LIST` shows it" in drawn("commands/RETR", look=PLAIN)


def test_colour_comes_from_the_look_alone_and_changes_no_text() -> None:
    for path in ("commands/RETR", "codes/IN-USE", "states/TRANSACTION"):
        coloured = drawn(path, look=COLOURED)
        assert "\x1b[1m" in coloured
        assert _SGR.sub("", coloured) == drawn(path)
        assert "\x1b" not in drawn(path)
        assert "\x1b" not in drawn(path, look=PLAIN)


def test_ascii_draws_nothing_but_ascii() -> None:
    odd = []
    for look in (Look(ascii=True), Look(plain=True, ascii=True)):
        for path in pages():
            rows = drawn(path, look=look).splitlines()
            # Dialogues hold what servers say in other languages.
            odd += [(path, row) for row in rows if not row.isascii() and not re.search("[\u4e00-\u9fff]", row)]
    assert not odd


def test_no_line_ends_with_blanks() -> None:
    for look in (COLOURLESS, PLAIN, Look(ascii=True)):
        for path in pages():
            assert not [row for row in drawn(path, look=look).splitlines() if row != row.rstrip()], path


def test_plain_has_a_heading_of_words() -> None:
    assert drawn("codes/IN-USE", look=PLAIN).startswith("== [IN-USE]: ")


def test_a_dialogue_keeps_its_lines_and_marks() -> None:
    assert re.search(r"^ +C: LIST 2\n +S: \+OK 2 762$", drawn("commands/LIST"), re.M)


def test_a_page_of_others_is_filtered() -> None:
    hostile = Document("codes/X.md", "+++\n+++\n\x1b[2J [bank](http://evil\x1b[m) `\x07`\n")
    hostile.head = {"summary": "\x1b]0;x\x07"}
    text = Screen(COLOURLESS).drawn(render(hostile, "codes/IN-USE", CATALOG.words("en"), COLOURLESS))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "http://evil" in text, "a link shows its target"


def test_a_narrow_window_is_no_error() -> None:
    for path in ("commands/AUTH", "codes/SYS-TEMP", "capabilities/UTF8", "states/CLOSED"):
        for language in LANGUAGES:
            for columns in (20, 21, 30):
                rows = drawn(path, language, columns).splitlines()
                assert width(rows[0]) <= columns - 1, (path, rows[0])


def test_the_arrows_of_a_state_name_the_command_before_the_state() -> None:
    assert "QUIT → UPDATE" in drawn("states/TRANSACTION")
    assert "server closes → CLOSED" in drawn("states/UPDATE")
    assert "greeting → AUTHORIZATION" in drawn("states/CLOSED")
    assert "RFC 8314 §3、RFC 2595 §4" in drawn("commands/PASS", "zh-Hant")


def test_rows_of_a_dialogue_that_do_not_fit_go_on_right_of_their_mark() -> None:
    text = "```pop3\nS: +OK practice server ready <1896.697170952@popshell.example>\nC: QUIT\n```\n"
    lines = markdown(text, PLAIN._replace(width=40), CATALOG.words("en"))
    rows = [row for line in lines if (row := "".join(text for _, text in line).rstrip())]
    assert [width(row) > 40 for row in rows] == [False] * len(rows)
    assert rows == ["  S: +OK practice server ready", "     <1896.697170952@popshell.example>", "  C: QUIT"]
