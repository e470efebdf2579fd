"""A lesson in a real terminal of 80 by 24, once in each language: the newcomer's walk-through of the course."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from popshell.course.catalog import Catalog, bundled
from popshell.course.lesson import read_lesson
from popshell.course.progress import Progress
from terminal.driver import Pty, Tmux, codes, needs_tmux, painted

pytestmark = [pytest.mark.terminal, needs_tmux()]
CATALOG = Catalog((bundled(),))


def plain(text: str) -> str:
    """Without backticks, blanks and line ends: wrapped text is found as it was written."""
    return re.sub(r"[\s`]+", "", text)


def wide(row: str) -> int:
    return sum(2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in row)


def clean(terminal: Tmux) -> str:
    """The screen; no row is cut, no escape, backtick or placeholder is left in it."""
    screen = terminal.screen()
    rows = screen.rstrip("\n").split("\n")
    assert len(rows) <= 24
    assert all(wide(row) <= 80 for row in rows)
    assert "Traceback" not in screen
    assert not re.search(r"\\x1b|\{[a-z_]+\}|`|<stamp>", screen), screen
    return screen


def first_of(text: str) -> str:
    """A piece of a text that is surely shown: its first sentence, as far as the first Markdown sign."""
    return plain(re.split(r"[*_\[]", text)[0])[:30]


@pytest.mark.parametrize("tag", ["en", "zh-Hant"])
def test_a_beginner_takes_the_first_lesson(tag: str, tmux: Callable[..., Tmux], tmp_path: Path) -> None:
    say, read = CATALOG.words(tag), read_lesson(CATALOG, "01-greeting", tag)
    word = {key: say(f"tutor.{key}") for key in ("solved", "go-on", "enter", "not-right")}
    terminal = tmux("learn", "--lang", tag, "--theme", "dark")

    # Greeted, ten lines of text, and Enter goes on to the first task.
    terminal.wait(word["enter"].strip())
    screen = clean(terminal)
    assert first_of(say("tutor.welcome")) in plain(screen)
    assert plain(say("tutor.title", number=1, total=19, title=read.title)) in plain(screen)
    assert first_of(read.text) in plain(screen)
    assert "1" in set().union(*painted(terminal.coloured(), read.title)), "the title stands out"
    terminal.type("\r")
    terminal.prompt()
    assert first_of(read.prose["say-goodbye"].task) in plain(clean(terminal))
    shows(terminal, plain(say("tutor.place", lesson=1, exercise=1, count=5)))
    shows(terminal, plain(read.prose["say-goodbye"].headline))

    # The first command, and what it showed; the word of success is green, and the toolbar says what comes next.
    terminal.line("QUIT", word["solved"])
    screen = clean(terminal)
    assert first_of(read.prose["say-goodbye"].solved) in plain(screen)
    assert codes("ok") <= painted(terminal.coloured(), word["solved"])[-1]
    shows(terminal, plain(f"✔ {word['go-on']}"))
    assert codes("ok") <= painted(terminal.coloured(), word["go-on"].split("；")[0].split(";")[0])[-1]
    terminal.line(":next", plain_task(say, 2))
    terminal.line("HELLO", word["solved"])
    terminal.line(":next", plain_task(say, 3))

    # Fails twice, and is told what is missing; takes a hint.
    told = terminal.line(
        ":answer popshell", "@" if tag == "none" else read.prose["host-in-the-stamp"].wrong["half"][:6]
    )
    assert plain(read.prose["host-in-the-stamp"].wrong["half"]) in plain(told)
    told = terminal.line(":answer 1", word["not-right"][:4])
    assert plain(word["not-right"]) in plain(told)
    told = terminal.line(":hint", say("tutor.hint", number=1, total=3)[:6])
    assert plain(read.prose["host-in-the-stamp"].hints[0]) in plain(told)
    assert plain(read.prose["host-in-the-stamp"].hints[1]) not in plain(told)
    clean(terminal)
    terminal.line(":answer popshell.example", word["solved"])
    terminal.line(":next", plain_task(say, 4))

    # Predicts wrongly and sees why: the line waits, goes out, and each part that was wrong is named.
    hold(terminal)
    assert " C: QUIT PLEASE\n" not in terminal.scroll()
    told = terminal.line(":answer +OK CLOSED one", say("tutor.predict-again", line="X").replace("`", "")[:6])
    assert " C: QUIT PLEASE" in told
    assert plain(say("tutor.wrong-status", status="-ERR")) in plain(told)
    assert plain(say("tutor.wrong-state", state="AUTHORIZATION")) in plain(told)
    assert plain(read.prose["quit-please"].wrong[""]) in plain(told)
    assert word["solved"] not in told
    clean(terminal)

    # Ctrl-D; the next day it goes on at the same exercise.
    terminal.press("C-d")
    terminal.until(lambda: not terminal.alive(), lambda: "Ctrl-D does not leave")
    again = tmux("learn", "--lang", tag)
    again.wait(word["enter"].strip())
    assert plain(say("tutor.welcome-back")) in plain(clean(again))
    again.type("\r")
    again.prompt()
    assert first_of(read.prose["quit-please"].task) in plain(clean(again))
    shows(again, plain(say("tutor.place", lesson=1, exercise=4, count=5)))
    hold(again)
    again.line(":answer -ERR AUTHORIZATION one", word["solved"])
    again.line(":next", plain_task(say, 5))
    shows(again, plain(say("tutor.place", lesson=1, exercise=5, count=5)))
    assert "✔" not in toolbar(again)

    # The end of the lesson: what was learned, with its sources.
    again.line("QUIT", "[CLOSED]")
    again.line(":connect", "[AUTHORIZATION]")
    told = again.line("QUIT", word["solved"])
    assert plain(say("tutor.lesson-done", title=read.title)) in plain(told)
    assert re.search(r"QUIT .*RFC 1939 §6", told)
    assert "▸  1  5/5" in again.line(":lessons", "(finale)").replace("✔", "▸")
    standing = Progress(tmp_path / ".local/share/popshell/progress.json").standing(
        "pop3", "greeting", "host-in-the-stamp"
    )
    assert (standing.state, standing.tries, standing.hints) == ("solved", 3, 1)


def plain_task(say: Callable[..., str], number: int) -> str:
    return say("tutor.task", number=number, total=5)


def toolbar(terminal: Tmux) -> str:
    """The rows below the prompt."""
    rows = terminal.screen().rstrip("\n").split("\n")
    at = max((at for at, row in enumerate(rows) if "▸" in row and not row.startswith(" ")), default=0)
    return "\n".join(rows[at + 1 :])


def hold(terminal: Tmux) -> None:
    """Type the line of the prediction; Enter holds it, and the question stands there."""
    terminal.type("QUIT PLEASE\r")
    terminal.wait(
        lambda text: "+OKor-ERR" in plain(text) or "`+OK`或`-ERR`" in plain(text) or "+OK或-ERR" in plain(text)
    )
    terminal.prompt()


def shows(terminal: Tmux, wanted: str) -> None:
    """The toolbar comes to show `wanted`; it is drawn right after the prompt."""
    terminal.until(
        lambda: wanted in plain(toolbar(terminal)), lambda: f"{wanted!r} not in the toolbar:\n{terminal.screen()}"
    )


def test_what_is_typed_instead_of_enter_is_not_lost(terminal: Callable[..., Pty]) -> None:
    """Somebody who knows what to do types the command at once: it stands at the prompt, unsent."""
    pty = terminal("learn")
    pty.wait("Enter goes on")
    pty.type("QUIT\r")
    pty.wait("▸ QUIT")
    assert "\n C: QUIT" not in pty.scroll()  # the lesson's own dialogue stands further to the right
    pty.type("\r")
    pty.wait("Solved.")


def test_ctrl_d_at_the_first_page_leaves(terminal: Callable[..., Pty]) -> None:
    pty = terminal("learn")
    pty.wait("Enter goes on")
    pty.type("\x04")  # it ends the question, as Enter does
    pty.prompt()
    pty.type("\x04")
    assert pty.exit_code() == 0
    assert pty.restored()
    assert "Traceback" not in pty.scroll()


def test_a_strangers_lesson_cannot_touch_the_terminal(terminal: Callable[..., Pty], tmp_path: Path) -> None:
    """sec-D1, R1: title, clipboard, clearing, and a headline for the toolbar, all of them hostile."""
    from popshell.course.lesson import new_lesson

    root = tmp_path / "course"
    root.mkdir()
    assert new_lesson(root, "01-first", CATALOG.words("en")) == 0
    path = root / "en" / "01-first.md"
    nasty = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;cm0=\x07\x1b[?1049h\x9b6n\x1b[6n"
    escaped = "".join(f"\\u{ord(ch):04x}" if ord(ch) < 32 or ord(ch) > 126 else ch for ch in nasty)
    text = path.read_text().replace('title = "A new lesson"', f'title = "{escaped} A new lesson"')
    for words in ("The text of the lesson", "How many messages", "There is a command", "`STAT` answers with"):
        assert words in text
        text = text.replace(words, f"{nasty} {words}", 1)
    path.write_text(text)
    pty = terminal("learn", "--lessons", str(root), rows=60)
    pty.prompt()
    pty.line(":hint", "Hint 1")
    pty.line("STAT", "7 7528")
    pty.line(":answer 7", "Solved.")
    pty.line(":lessons", "A new lesson")
    assert not pty.display.titles
    assert 1049 not in {mode >> 5 for mode in pty.display.private} | pty.display.private
    assert b"\x1b]0;" not in pty.raw
    assert b"\x1b]52" not in pty.raw
    assert b"\x1b]8;" not in pty.raw
    assert "owned" in pty.scroll()


@pytest.mark.parametrize("size", [(60, 20), (80, 24)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("tag", ["en", "zh-Hant"])
def test_the_task_stays_in_sight(tag: str, size: tuple[int, int], tmux: Callable[..., Tmux]) -> None:
    """Below the rule, with nothing typed, while one types, and after a reply that fills the window."""
    columns, rows = size
    headline = plain(read_lesson(CATALOG, "03-user-pass", tag).prose["cat-at-the-door"].headline)
    terminal = tmux("learn", "3", "--lang", tag, columns=columns, rows=rows)
    more = {plain(CATALOG.words(tag)(f"tutor.{key}")) for key in ("enter", "enter-more")}
    pages: list[str] = [""]

    def read_on() -> bool:
        screen = terminal.screen()
        if screen != pages[-1] and plain(screen.rstrip().split("\n")[-1]) in more:
            terminal.type("\r")
            pages.append(screen)
        return "▸" in screen

    terminal.until(read_on, terminal.scroll)
    terminal.prompt()
    shows(terminal, headline)
    terminal.type("CAPA")
    terminal.wait("▸ CAPA")
    shows(terminal, headline)
    terminal.type("\r")
    terminal.wait("IMPLEMENTATION")
    terminal.prompt()
    shows(terminal, headline)
    assert "─" * (columns - 1) in toolbar(terminal)


def test_what_is_meant_for_the_course_is_understood_without_a_colon(tmux: Callable[..., Tmux]) -> None:
    """Enter after "Solved", `hint`, and a whole prediction for a line that is held; nothing of them is sent."""
    terminal = tmux("learn", "1")
    terminal.wait("Enter goes on")
    terminal.type("\r")
    terminal.prompt()
    terminal.type("\r")  # nothing is solved: nothing happens
    terminal.line("QUIT", "Solved.")
    terminal.type("\r")
    terminal.wait("Exercise 2 of 5")
    terminal.prompt()
    terminal.type("hint\r")
    terminal.wait("Understood as :hint.")
    terminal.wait("Hint 1")
    terminal.prompt()
    terminal.type(":lesson 1/4\r")
    terminal.wait(lambda text: text.count("Enter goes on") == 2)
    terminal.type("\r")
    terminal.wait("Exercise 4 of 5")
    terminal.prompt()
    terminal.type("QUIT PLEASE\r")
    terminal.wait("is not sent yet")
    terminal.prompt()
    terminal.type("-ERR AUTHORIZATION one\r")
    terminal.wait(lambda text: text.count("Solved.") == 2)
    assert " C: hint" not in terminal.scroll()
    assert " C: -ERR" not in terminal.scroll()
