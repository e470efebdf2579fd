"""Lessons of strangers are data (sec-D1 to D6): nothing is run, nothing is reached, and what is shown cannot act."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from learner import Learner, catalog, environment, progress_file, words

from popshell.course.catalog import Catalog, Refused, bundled
from popshell.course.document import LessonError
from popshell.course.lesson import MOST_LINES, new_lesson, read_lesson
from popshell.course.player import Rehearsal
from popshell.course.progress import Progress, read_course
from popshell.lint.lint import examine, run_lint

EN = catalog().words("en")
LESSON = "en/01-first.md"
#: Title, clipboard, clear screen, C1, bell, backspace, a link, bidi override, zero width, NEL, line separator.
NASTY = "\\u001b]0;owned\\u0007\\u001b[2J\\u001b]52;c;cm0=\\u0007\\u009b31m\\u0008\\u001b]8;;http://evil\\u001b\\\\\\u202e\\u200b\\u0085\\u2028"
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
EVALUATED = ("{{ 7*7 }}", "${7*7}", "{x.__class__}", "#{7*7}", "<%= 7*7 %>", "{title}", "{number}", "%(title)s", "`id`")


@pytest.fixture
def course(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    root = tmp_path / "course"
    root.mkdir()
    assert new_lesson(root, "01-first", EN) == 0
    capsys.readouterr()
    return root


@pytest.fixture
def learn(course: Path, tmp_path: Path) -> Iterator[Callable[..., Learner]]:
    made: list[Learner] = []

    def make(*arguments: str, **how: Any) -> Learner:
        made.append(Learner(tmp_path, *arguments, lessons=course, **how))
        return made[-1]

    yield make
    for learner in made:
        learner.__exit__()


def change(root: Path, *pairs: tuple[str, str], path: str = LESSON) -> None:
    text = (root / path).read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    (root / path).write_text(text)


def both(root: Path) -> Catalog:
    return Catalog((root, bundled()))


def refused(root: Path) -> LessonError:
    with pytest.raises(LessonError) as caught:
        read_lesson(both(root), "01-first", "en")
    return caught.value


def refusal(root: Path, home: Path, *options: str) -> str:
    """What `popshell learn` says of a course that it refuses; never a traceback, never long."""
    done = subprocess.run(
        [sys.executable, "-m", "popshell", "learn", "--plain", "--lessons", str(root), *options],
        input=":lessons\nSTAT\n",
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=20,
    )
    out = done.stdout + done.stderr
    assert "Traceback" not in out
    assert not ACTING.search(out)
    return " ".join(out.split())


# -- what is shown is inert (D1, R1) -----------------------------------------------------------------------------------


def poison(root: Path, text: str) -> None:
    """`text`, as TOML writes it in the head and as it is in the prose, wherever an author can put words."""
    raw = json.loads(f'"{text}"') if text == NASTY else text
    quoted = text if text == NASTY else json.dumps(text)[1:-1]
    change(
        root,
        ('title = "A new lesson"', f'title = "{quoted} title"'),
        ('teaches = ["STAT"', f'teaches = ["{quoted}", "STAT"'),
        ('id = "count"', f'id = "{quoted.replace("#", "")}"') if "\n" not in raw else ('id = "count"', 'id = "count"'),
        ('answer = ["7"]', f'answer = ["7", "{quoted}"]'),
        ('lines = ["LIST 7"', f'lines = ["{quoted}", "LIST 7"'),
        ("The text of the lesson", f"{raw} [here](http://evil.example/{raw}) The text of the lesson"),
        ("How many messages", f"{raw} How many messages"),
        ("There is a command", f"{raw} There is a command"),
        ("`STAT` answers with the number", f"{raw} `STAT` answers `{raw}` with the number"),
        ("That was another message", f"{raw} That was another message"),
    )


def walk(learner: Learner) -> str:
    """Everything that shows an author's words."""
    shown = learner.began
    for line in (":lessons", ":lesson", ":hint", ":hint", ":solution", ":answer 3", "LIST 7", ":answer 8", "STAT"):
        shown += learner.say(line)
    shown += learner.say(":answer 7", ":skip", ":next", "RETR 1", ":answer +OK TRANSACTION many", ":hint", ":solution")
    shown += learner.say(":skip", "DELE 1", "RSET", "DELE 2", ":next", "NOOP", "NOOP", "NOOP", "NOOP", "NOOP", "RSET")
    return shown + learner.say(":lessons", ":certificate c.txt")


def test_escapes_in_all_words_are_inert(course: Path, tmp_path: Path, learn: Callable[..., Learner]) -> None:
    poison(course, NASTY)
    learner = learn()
    shown = walk(learner)
    assert not ACTING.search(shown), ascii(ACTING.findall(shown))
    assert "\\x1b]0;owned\\x07" in shown
    learner.leave()
    assert not ACTING.search(learner.text)
    for file in tmp_path.glob("c.txt"):
        assert not ACTING.search(file.read_text())


def test_the_certificate_is_inert(course: Path, tmp_path: Path, learn: Callable[..., Learner]) -> None:
    """sec-F2: `cat` of it does nothing."""
    change(course, ('title = "A new lesson"', f'title = "{NASTY}"'), ('id = "count"', f'id = "{NASTY}"'))
    (course / "course.toml").write_text(f'id = "{NASTY}"\nlessons = ["01-first"]\n')
    learner = learn()
    learner.say(":skip", ":skip", ":skip", ":skip", ":certificate c.txt")
    text = (tmp_path / "c.txt").read_text()
    assert "owned" in text
    assert not ACTING.search(text), ascii(text)


def test_nothing_is_evaluated(course: Path, learn: Callable[..., Learner]) -> None:
    for text in EVALUATED:
        change(course, ("How many messages", f"{text} How many messages"))
    change(course, ('title = "A new lesson"', 'title = "{{ 7*7 }} ${7*7} {x.__class__} {number} {title}"'))
    learner = learn()
    shown = walk(learner)
    assert "49" not in learner.began
    assert words("{{ 7*7 }} ${7*7} {x.__class__} {number} {title}") in words(learner.began)
    for text in EVALUATED:
        assert words(text) in words(shown), text


@pytest.mark.parametrize("check", ['{ python = "1" }', '{ state = "(A+)+$" }', '{ eval = "__import__(\\"os\\")" }'])
def test_checks_are_a_closed_list(check: str, course: Path) -> None:
    """sec-D4: no pattern, no expression."""
    change(course, ("{ marks = [2] }", check))
    assert "mark" in str(refused(course))


def test_a_pattern_is_a_literal(course: Path) -> None:
    change(course, ("{ marks = [2] }", '{ replied = { line = "(D+)+$", argument = ".*" } }'))
    exercise = read_lesson(both(course), "01-first", "en").find("mark")
    assert exercise is not None
    assert not Rehearsal(both(course), exercise).play(["D" * 200 + "!", "DELE 2"])


@pytest.mark.parametrize("target", ["javascript:alert(1)", "file:///etc/passwd", "http://evil/a"])
def test_links_show_where_they_lead_and_are_no_links(target: str, course: Path, learn: Callable[..., Learner]) -> None:
    """sec-D5."""
    change(course, ("The text of the lesson", f"[your bank]({target}) The text of the lesson"))
    shown = learn().began
    assert words(target) in words(shown)
    assert "\x1b" not in shown


# -- too much (D2) -----------------------------------------------------------------------------------------------------

DEEP = {
    "brackets": "a = " + "[" * 5000 + "]" * 5000,
    "tables": "x = {a = " * 40 + "1" + "}" * 40,
    "dots": "a" + ".a" * 100_000 + " = 1",
    "dots in a table's name": "[a" + " . a" * 100_000 + "]",
    "quoted dots": '"a"' + '."a"' * 100_000 + " = 1",
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_nesting_is_refused_at_once(kind: str, course: Path, tmp_path: Path) -> None:
    change(course, ("+++\n", f"+++\n{DEEP[kind]}\n"))
    assert "nested" in str(refused(course))
    (course / "course.toml").write_text(f'id = "x"\nlessons = ["01-first"]\n{DEEP[kind]}\n')
    with pytest.raises(LessonError, match="nested"):
        read_course(both(course))


def test_a_key_with_dots_in_prose_is_no_nesting(course: Path) -> None:
    change(course, ("The text of the lesson", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z The text"))
    read_lesson(both(course), "01-first", "en")


def read_whole(found: Catalog) -> None:
    read_course(found)
    read_lesson(found, "01-first", "en")
    read_lesson(found, "01-first", "zh-Hant")


NESTED = {
    "quotes in one line": ">" * 3000 + " x",
    "quotes": "\n".join("> " * depth + "x" for depth in range(1, 31)),
    "lists": "\n".join("  " * depth + "- x" for depth in range(30)),
    "lists in one line": "- " * 30 + "x",
    "both": "> - " * 10 + "x",
    "numbered": "1. " * 12 + "x",
    "a million": "> " * 500_000,
}


@pytest.mark.parametrize("path", [LESSON, "zh-Hant/01-first.md"])
@pytest.mark.parametrize("kind", NESTED)
def test_deep_markdown_is_refused_at_lint_and_at_load(kind: str, path: str, course: Path, tmp_path: Path) -> None:
    """sec-D2: the reader of Markdown would leave it out without a word."""
    text = (course / path).read_text()
    first = text.index("\n+++\n") + 5
    (course / path).write_text(f"{text[:first]}{NESTED[kind]}\n\n{text[first:]}")
    with pytest.raises(LessonError, match=r"too-deep.*20") as caught:
        read_whole(both(course))
    (found,) = (found for found in examine(course).findings if found.code == "too-deep")
    assert (found.path, found.line) == (path, caught.value.line)
    rows = NESTED[kind].split("\n")
    assert (course / path).read_text().split("\n")[found.line - 1] in rows
    if kind == "quotes in one line":
        language = "en" if path == LESSON else "zh-Hant"
        said = Catalog((bundled(),)).words(language)("lint.too-deep", most=20)
        assert said.replace(" ", "") in refusal(course, tmp_path, "--lang", language).replace(" ", "")


def test_as_deep_as_is_shown_is_fine(course: Path) -> None:
    for nested in (
        "> " * 19 + "x",
        "- " * 9 + "> x",
        "* * * * * * * * * * * *",
        "    " + "> " * 30,
        "```\n" + ">" * 99,
    ):
        text = (course / LESSON).read_text()
        fence = "\n```" if nested.startswith("```") else ""
        (course / LESSON).write_text(text.replace("The text of", f"{nested}{fence}\n\nThe text of"))
        read_lesson(both(course), "01-first", "en")
        assert "too-deep" not in {found.code for found in examine(course).findings}
        (course / LESSON).write_text(text)


@pytest.mark.parametrize("path", [LESSON, "course.toml", "zh-Hant/01-first.md"])
def test_a_file_over_one_mebibyte_is_refused_unread(path: str, course: Path) -> None:
    with (course / path).open("r+b") as file:
        file.truncate(1 << 34)  # sparse: who reads it runs out of memory
    with pytest.raises(LessonError, match=r"too-large.*1048576"):
        read_whole(both(course))


def test_a_huge_number_of_hints(course: Path, learn: Callable[..., Learner]) -> None:
    change(course, ("### hint\n", "### hint\nMore.\n\n" * 20_000 + "### hint\n"))
    learner = learn()
    shown = learner.say(":hint", ":hint", ":solution")
    assert "Hint 2 of" in shown
    assert "Traceback" not in shown


def test_a_start_without_end_is_refused(course: Path, tmp_path: Path) -> None:
    many = ", ".join(['"NOOP"'] * (MOST_LINES + 1))
    change(course, ('start = ["USER learner", "PASS secret"]', f"start = [{many}]"))
    assert "many-lines" in str(refused(course))
    assert "too many" in refusal(course, tmp_path)


@pytest.mark.parametrize("line", [":wait nan", ":wait inf", ":wait -1", ":wait 1e9", ":wait", ":wait 9999999"])
@pytest.mark.parametrize("key", ["start", "solution"])
def test_a_clock_cannot_be_sent_anywhere(line: str, key: str, course: Path) -> None:
    old = {"start": 'start = ["USER learner"', "solution": 'solution = ["STAT"'}[key]
    change(course, (old, f'{key} = ["{line}"'))
    assert ":wait SECONDS" in str(refused(course))


@pytest.mark.parametrize("octet", ["\\r\\nDELE 1", "\\u0000", "\\rQUIT"])
def test_lines_hold_no_line_end(octet: str, course: Path) -> None:
    change(course, ('"PASS secret"]', f'"PASS secret{octet}"]'))
    assert "control" in str(refused(course))


# -- a real server (D3) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["start", "solution", "failed", "lines"])
def test_no_line_of_a_lesson_reaches_a_real_server(key: str, course: Path, tmp_path: Path) -> None:
    """`:connect HOST`, `:save`, `:quit` and the like are refused, each by its name, and nothing of them is done."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        port = trap.getsockname()[1]
        bad = [
            f":connect 127.0.0.1:{port}",
            f":connect pop://learner@127.0.0.1:{port}",
            f":save {tmp_path}/saved",
            f":certificate {tmp_path}/saved",
            ":reset all",
            ":lang zh-Hant",
            ":reveal on",
            ":quit",
        ]
        before = (course / LESSON).read_text()
        for row in bad:
            (course / LESSON).write_text(before)
            change(
                course,
                {
                    "start": (
                        'start = ["USER learner", "PASS secret"]',
                        f'start = ["{row}", "USER learner", "PASS secret"]',
                    ),
                    "solution": ('solution = ["STAT"', f'solution = ["{row}", "STAT"'),
                    "failed": (
                        'kind = "answer"',
                        f'kind = "repair"\nfailed = ["{row}"]\ncheck = [{{ marks = [1] }}]',
                    ),
                    "lines": ('lines = ["LIST 7"', f'lines = ["{row}", "LIST 7"'),
                }[key],
            )
            error = refused(course)
            assert error.code == "bad-lesson"
            assert row in str(error)
            assert row in (course / LESSON).read_text().split("\n")[error.line - 1]
            if row in (bad[0], bad[2], bad[-1]):
                assert ":answer TEXT" in refusal(course, tmp_path)
        assert not (tmp_path / "saved").exists()
        with pytest.raises(BlockingIOError):
            trap.accept()


# -- names and folders (D6) --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a/b", "a\\\\b", ".hidden", "\\u0000"]
)
def test_a_lesson_that_leads_out_is_refused(name: str, course: Path, tmp_path: Path) -> None:
    (course / "course.toml").write_text(f'id = "x"\nlessons = ["{name}"]\n')
    with pytest.raises(LessonError, match=r"bad-name|missing-lesson"):
        read_lesson(both(course), read_course(both(course)).lessons[0], "en")
    assert name != ".." or "cannot be read" in refusal(course, tmp_path)


@pytest.mark.parametrize("name", ["../../../etc", "/etc", "..", "a/../../b", "a\\\\b", ".git", "\\u0000"])
def test_a_maildrop_that_leads_out_is_refused(name: str, course: Path, tmp_path: Path) -> None:
    change(course, ('kind = "answer"', f'kind = "answer"\nmaildrop = "{name}"'))
    assert "no-maildrop" in str(refused(course))
    if name == "..":
        assert "cannot be read" in refusal(course, tmp_path)
        assert {found.code for found in examine(course).findings} >= {"bad-lesson"}


@pytest.mark.parametrize("what", ["file", "folder", "maildrop", "mail", "course"])
def test_a_link_that_leads_out_is_refused(what: str, course: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.eml").write_text("Subject: private\n\nTOP-SECRET\n")
    (course / "maildrops").mkdir()
    if what == "file":
        (course / LESSON).rename(outside / "01-first.md")
        (course / LESSON).symlink_to(outside / "01-first.md")
    elif what == "folder":
        (course / "en").rename(outside / "en")
        (course / "en").symlink_to(outside / "en")
    elif what == "course":
        (course / "course.toml").rename(outside / "course.toml")
        (course / "course.toml").symlink_to(outside / "course.toml")
    else:
        change(course, ('kind = "answer"', 'kind = "answer"\nmaildrop = "mine"'))
        if what == "maildrop":
            (course / "maildrops" / "mine").symlink_to(outside)
        else:
            (course / "maildrops" / "mine").mkdir()
            (course / "maildrops" / "mine" / "1.eml").symlink_to(outside / "1.eml")
    said = refusal(course, tmp_path)
    assert "leads out of the lessons directory" in said
    assert "TOP-SECRET" not in said
    assert "1 message" not in said
    assert examine(course).findings


def test_a_link_inside_the_folder_is_fine(course: Path) -> None:
    (course / "en" / "real").mkdir()
    (course / LESSON).rename(course / "en" / "real" / "x.md")
    (course / LESSON).symlink_to("real/x.md")
    assert read_lesson(both(course), "01-first", "en").id == "first"


def test_a_pipe_or_device_is_no_lesson(course: Path) -> None:
    (course / LESSON).unlink()
    os.mkfifo(course / LESSON)
    assert refused(course).code == "not-a-file"


#: What stands where a file of a course should be, and what lint says of it.
UNFIT: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "a link that leads out": ("leaves-folder", lambda file, secret: file.symlink_to(secret)),
    "a link to a device": ("leaves-folder", lambda file, secret: file.symlink_to("/dev/zero")),
    "a pipe": ("not-a-file", lambda file, secret: os.mkfifo(file)),
    "a link to nothing": ("not-a-file", lambda file, secret: file.symlink_to("none")),
    "a link to itself": ("not-a-file", lambda file, secret: file.symlink_to(file.name)),
    "a huge file": ("too-large", lambda file, secret: (file.touch(), os.truncate(file, 1 << 34))),
}
#: Where it stands.
PLACES = (
    "maildrops/mine/4.eml",
    LESSON,
    "zh-Hant/01-first.md",
    "course.toml",
    "en/messages.toml",
    "en/commands/STAT.md",
)


def plant(root: Path, tmp_path: Path, place: str, what: str) -> str:
    """Put it there. Returns the code that lint has for it."""
    change(root, ('kind = "answer"', 'kind = "answer"\nmaildrop = "mine"'))
    change(root, ('title = "A new', 'maildrop = "mine"\ntitle = "A new'))
    change(root, ("C: STAT\nS: +OK 7 7528", "C: RETR 4\nS: +OK"))
    (root / "maildrops" / "mine").mkdir(parents=True)
    for name in "123":
        (root / "maildrops" / "mine" / f"{name}.eml").write_text("Subject: x\n\nHello\n")
    secret = tmp_path / "secret"
    secret.write_text("TOP-SECRET\n")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).unlink(missing_ok=True)
    code, put = UNFIT[what]
    put(root / place, secret)
    return code


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", UNFIT)
def test_what_is_no_file_of_the_course_is_not_read(what: str, place: str, course: Path, tmp_path: Path) -> None:
    """sec-D2, D6: lint says it, plays and rewrites nothing with it, and neither hangs nor runs out of memory."""
    code = plant(course, tmp_path, place, what)
    said: list[str] = []
    run_lint(course, EN, fix=True, write=said.append)
    findings = examine(course).findings
    assert (code, place, 0) in {(found.code, found.path, found.line) for found in findings}
    assert any(row.startswith(f"{place}: ") and f"({code})" in row for row in said)
    for file in course.rglob("*.md"):
        assert file.is_symlink() or not file.is_file() or what == "a huge file" or "TOP-SECRET" not in file.read_text()
    with pytest.raises((Refused, FileNotFoundError)):
        Catalog((course,)).read(place)
    if place.endswith(".eml"):
        assert "untrue" not in {found.code for found in findings}
        with pytest.raises(Refused):
            both(course).maildrop_files("mine")
        refusal(course, tmp_path)


@pytest.mark.parametrize("place", ["course.toml", LESSON, "en/messages.toml", "maildrops/mine/4.eml"])
def test_a_pipe_does_not_stop_the_learner(place: str, course: Path, tmp_path: Path) -> None:
    plant(course, tmp_path, place, "a pipe")
    assert "no plain file" in refusal(course, tmp_path)


def test_a_huge_mail_is_refused(course: Path, tmp_path: Path) -> None:
    box = course / "maildrops" / "mine"
    box.mkdir(parents=True)
    with (box / "1.eml").open("wb") as file:
        file.truncate(1 << 34)
    change(course, ('kind = "answer"', 'kind = "answer"\nmaildrop = "mine"'))
    assert "more than 1048576" in refusal(course, tmp_path)


@pytest.mark.parametrize("name", ["../../x", "__proto__", "$(id)"])
def test_ids_are_names_and_nothing_else(name: str, course: Path, tmp_path: Path, learn: Callable[..., Learner]) -> None:
    change(course, ('id = "first"', f'id = "{name}"'), ('id = "count"', f'id = "{name}"'))
    (course / "course.toml").write_text(f'id = "{name}"\nlessons = ["01-first"]\n')
    before = set(tmp_path.rglob("*"))
    assert "* Solved." in learn().say("STAT", ":answer 7")
    fresh = {str(path.relative_to(tmp_path)) for path in set(tmp_path.rglob("*")) - before}
    assert all(path.startswith(".local") for path in fresh), fresh
    assert Progress(progress_file(tmp_path)).standing(name, name, name).state == "solved"


def test_messages_of_a_stranger_cannot_act_either(course: Path, learn: Callable[..., Learner]) -> None:
    """A course may bring words of its own for the whole shell; they pass the filter like all others."""
    table = (Path(str(bundled())) / "en" / "messages.toml").read_text()
    table = table.replace('solved = "Solved."', f'solved = "{NASTY}"').replace(
        'welcome = "Welcome', f'welcome = "{NASTY}Welcome'
    )
    table = table.replace('next = "Enter or `:next` goes on."', f'next = "{NASTY}{{x.__class__}}"')
    (course / "en" / "messages.toml").write_text(table)
    learner = learn()
    shown = learner.began + learner.say("STAT", ":answer 7", ":next", ":lessons")
    assert not ACTING.search(shown), ascii(ACTING.findall(shown))


def test_lint_takes_no_time_over_a_hostile_course(course: Path) -> None:
    for kind in ("brackets", "tables"):
        change(course, ("+++\n", f"+++\n{DEEP[kind]}\n"))
        assert examine(course).findings


def test_words_and_notes_of_a_stranger_are_inert(tmp_path: Path) -> None:
    """sec-R1: whether the escape stands in the file or is written as one for TOML."""
    folder = tmp_path / "en"
    (folder / "commands").mkdir(parents=True)
    (folder / "messages.toml").write_text('[meta]\nhelp = "\\u001b[2J"\nstate = "\u202eabc"\n', encoding="utf-8")
    (folder / "commands" / "STAT.md").write_text(
        '+++\nsummary = "\\u001b]0;title\\u0007"\n[ok]\nnote = "\u009b2J"\n+++\nText.\n', encoding="utf-8"
    )
    catalog = Catalog((tmp_path, bundled()))
    words = catalog.words("en")
    page = catalog.page("en", "commands/STAT")
    assert page is not None
    shown = words("meta.help") + words("meta.state") + page.summary + str(page.note("ok.note"))
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert "\\x1b[2J" in shown
