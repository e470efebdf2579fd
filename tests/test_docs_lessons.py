"""The how-tos for teachers are true: followed step by step, as they stand, in an empty folder.

A page is a row of steps. A block `console` holds lines with `$`, which are typed, and what they answer; any other block
behind a line that names a file and nothing else is what that file holds.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import make_reference
import pytest
from make_dialogues import fits
from test_packaging import files_of_the_tree

from popshell.course.catalog import Catalog, bundled
from popshell.course.lesson import META_LINES, Exercise, ExerciseKind, _Head, read_lesson
from popshell.course.player import placed
from popshell.lint.lessons import WIDEST_HEADLINE
from popshell.lint.lint import examine, in_words

ROOT = Path(__file__).resolve().parents[1]
LESSON = "docs/how-to-write-a-lesson.md"
ROOM = "docs/how-to-teach-a-room-without-internet.md"
_BLOCK = re.compile(r"(?ms)(?:^`([^`\n]+)`\n\n)?^(`{3,})([a-z]*)\n(.*?)^\2$")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


class Step(NamedTuple):
    """A file to write, or (without a name) a line to type and what it answers."""

    file: str
    text: str
    answer: tuple[str, ...] = ()


def steps(page: str) -> Iterator[Step]:
    for file, _, kind, text in _BLOCK.findall(page):
        if file:
            yield Step(file, text)
        elif kind == "console":
            for typed in re.split(r"(?m)^\$ ", text)[1:]:
                line, *answer = typed.splitlines()
                yield Step("", line, tuple(answer))


class Desk:
    """Where a teacher sits: an empty folder, an empty home, and `popshell` at hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "desk"
        self.folder.mkdir()
        hand = folder / "hand"
        hand.mkdir()
        (hand / "popshell").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m popshell "$@"\n')
        (hand / "popshell").chmod(0o755)
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("POPSHELL", "XDG_"))}
        self.environment = keep | {
            "PATH": f"{hand}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "HOME": str(folder / "home"),
            "POPSHELL_LANG": "en",
        }

    def type(self, line: str, **more: str) -> list[str]:
        """What the terminal shows."""
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
        )
        return [row.rstrip() for row in done.stdout.splitlines()]

    def follow(self, page: str) -> None:
        for step in steps(page):
            if step.file:
                path = self.folder / step.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.text, "utf-8")
            else:
                shown = self.type(step.text)
                assert fits(step.answer, shown), "\n".join(["$ " + step.text, *shown])


# -- how to write a lesson ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The desk when the page was followed to its end."""
    made = Desk(tmp_path_factory.mktemp("teacher"))
    made.follow(text_of(LESSON))
    return made


def mistakes() -> list[tuple[str, str, str, str]]:
    """The rows of the table of mistakes: file, what stood there, what is written, what lint says."""
    rows = re.findall(r"(?m)^\| `([^`]+\.md)` \| `(.+?)` \| `(.+?)` \| (.+) \|$", text_of(LESSON))
    return [(file, old, new, said) for file, old, new, said in rows]


class TestWriteALesson:
    def test_every_step_answers_as_the_page_says(self, desk: Desk) -> None:
        lesson = read_lesson(Catalog((desk.folder / "my-course", bundled())), "01-trip", "en")
        assert [exercise.id for exercise in lesson.exercises] == ["largest", "throw-out"]
        files = [step.file for step in steps(text_of(LESSON)) if step.file]
        assert len(files) == 5

    @pytest.mark.parametrize("language", ["en", "zh-Hant"])
    def test_it_can_be_played_in_both_languages(self, language: str, desk: Desk, tmp_path: Path) -> None:
        (line,) = (step.text for step in steps(text_of(LESSON)) if "popshell learn" in step.text)
        shown = "\n".join(desk.type(f"{line} --lang {language}", XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path)))
        lesson = read_lesson(Catalog((desk.folder / "my-course", bundled())), "01-trip", language)
        assert lesson.title in shown
        assert not lesson.stale
        flat = re.sub(r"\s+", "", shown)
        for prose in lesson.prose.values():
            assert re.sub(r"[\s`]+", "", prose.task) in flat.replace("`", "")
            assert re.sub(r"[\s`]+", "", prose.solved) in flat.replace("`", "")

    def test_the_wrong_turn_is_answered(self, desk: Desk, tmp_path: Path) -> None:
        typed = r"LIST\n:answer 230\n:next\nDELE 1\n:drop\n"
        shown = desk.type(f"printf '{typed}' | popshell learn --lessons my-course --plain", XDG_DATA_HOME=str(tmp_path))
        assert any("You hung up." in row for row in shown)

    def test_there_are_three_mistakes(self) -> None:
        assert len(mistakes()) == 3

    @pytest.mark.parametrize(("file", "old", "new", "said"), mistakes())
    def test_lint_names_each_mistake_with_its_line(
        self, file: str, old: str, new: str, said: str, desk: Desk, tmp_path: Path
    ) -> None:
        course = tmp_path / "my-course"
        shutil.copytree(desk.folder / "my-course", course)
        words = Catalog((bundled(),)).words("en")
        assert examine(course).findings == ()
        text = (course / file).read_text("utf-8")
        assert text.count(old) == 1
        (course / file).write_text(text.replace(old, new), "utf-8")
        found = [row for row in in_words(examine(course).findings, words) if said in row]
        assert len(found) == 1
        assert re.match(rf"{re.escape(file)}:[0-9]+: ", found[0])

    def test_the_follower_can_fail(self, tmp_path: Path) -> None:
        page = "`a.txt`\n\n```\nhello\n```\n\n```console\n$ cat a.txt\nhello\n$ echo one\ntwo\n```\n"
        assert [step.file or step.text for step in steps(page)] == ["a.txt", "cat a.txt", "echo one"]
        with pytest.raises(AssertionError, match=r"\$ echo one\n +one"):
            Desk(tmp_path).follow(page)

    def test_every_key_of_the_example_is_explained(self) -> None:
        """The table below the English file names each key that stands in its head."""
        page = text_of(LESSON)
        (head,) = re.findall(r"(?ms)^\+\+\+\n(id = .*?)^\+\+\+$", page)
        facts = tomllib.loads(head)
        wanted = {*facts, *(key for exercise in facts["exercise"] for key in exercise)} - {"title", "exercise"}
        told = set(re.findall(r"(?m)^\| `([a-z]+)` \|", page))
        assert told == wanted


# -- the reference -----------------------------------------------------------------------------------------------------


def keys_of(table: str) -> set[str]:
    """The names in the first column of the table under a head, in docs/reference-lessons.md."""
    part = text_of("docs/reference-lessons.md").partition(f"| {table} |")[2].partition("\n\n")[0]
    return set(re.findall(r"(?m)^\| `\[*([a-z_]+)\]*` \|", part))


class TestReference:
    def test_has_every_key_of_a_head(self) -> None:
        assert keys_of("key of the head | what") == set(_Head.__struct_fields__)

    def test_has_every_key_of_an_exercise(self) -> None:
        assert keys_of("key of an exercise | what") == set(Exercise.__struct_encode_fields__)

    def test_has_every_kind(self) -> None:
        page = text_of("docs/reference-lessons.md")
        assert set(re.findall(r"(?m)^- \*\*([a-z]+)\*\*:", page)) == {kind.value for kind in ExerciseKind}

    def test_has_every_placeholder(self) -> None:
        page = text_of("docs/reference-lessons.md")
        (listed,) = re.findall(r"(?s)Placeholders, a closed list: (.*?)\.\n", page)
        exercise = read_lesson(Catalog((bundled(),)), "lesson-template", "en").exercises[0]
        names = re.findall(r"`(<[a-z-]+>)`", listed)
        assert len(names) > 2
        assert [name for name in names if placed(name, exercise, "<1.2@x>") == name] == []
        source = (ROOT / "popshell" / "course" / "player.py").read_text("utf-8")
        assert set(names) >= set(re.findall(r'"(<[a-z-]+>)"', source))

    def test_has_every_meta_command_of_a_line(self) -> None:
        page = text_of("docs/reference-lessons.md")
        (listed,) = re.findall(r"(?s)these meta commands, a closed list: (.*?)\. ", page)
        assert re.findall(r"`([^`]+)`", listed) == list(META_LINES)

    def test_tells_the_width_of_a_headline(self) -> None:
        assert f"within {WIDEST_HEADLINE} columns" in text_of("docs/reference-lessons.md")

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["state", "weight"], {"state": ('"UPDATE"', "x")}),
            (["state"], {"state": ('"UPDATE"', "x"), "weight": ("1", "x")}),
        ],
    )
    def test_a_check_without_words_and_words_without_a_check_are_found(
        self, names: list[str], words: Mapping[str, tuple[str, str]]
    ) -> None:
        with pytest.raises(KeyError, match="weight"):
            make_reference.meanings(("check", "holds if"), names, words, make_reference.read_check)

    def test_an_example_that_lint_would_refuse_is_found(self) -> None:
        with pytest.raises(ValueError, match="enum value"):
            make_reference.meanings(
                ("check", "holds if"), ["state"], {"state": ('"UP"', "x")}, make_reference.read_check
            )


# -- what the course teaches -------------------------------------------------------------------------------------------


class TestCoverage:
    """The page is docs/course-coverage.md; that it is fresh is said in tests/test_docs.py."""

    def test_every_row_of_the_tables_has_an_exercise(self) -> None:
        taught = make_reference.taught(make_reference.lessons())
        assert [row for row in make_reference.rows_of_the_tables() if not taught.get(row)] == []

    def test_history_is_marked(self) -> None:
        page = text_of("docs/course-coverage.md")
        assert set(re.findall(r"(?m)^\| `([A-Z]+)` \(history\) \|", page)) == {"LAST", "RPOP", "XTND"}

    def test_a_row_that_nobody_teaches_is_found(self) -> None:
        course = [lesson for lesson in make_reference.lessons() if lesson.name != "18-myths"]
        taught = make_reference.taught(course)
        missing = {row for row in make_reference.rows_of_the_tables() if not taught.get(row)}
        assert missing >= {("command", "LAST"), ("command", "RPOP"), ("command", "XTND")}

    def test_what_is_played_before_does_not_count(self) -> None:
        """`start` logs in; only the solution teaches."""
        lesson = read_lesson(Catalog((bundled(),)), "lesson-template", "en")
        taught = make_reference.taught([lesson])
        assert taught["command", "STAT"] == {"lesson-template": ["count"]}
        assert ("command", "PASS") not in taught


# -- a room without internet -------------------------------------------------------------------------------------------

_COPIED = re.compile(r"(popshell|lessons)/|(pyproject\.toml|README\.md|docs/LICENSE)$")
#: Where nothing listens: whoever tries to fetch something fails at once.
_NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def typed() -> tuple[str, ...]:
    """The lines of the page: make wheels, make an environment, install, learn."""
    return tuple(step.text for step in steps(text_of(ROOM)))


@pytest.fixture
def wheels(typed: tuple[str, ...], room: subprocess.Popen[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the first line of the page makes in a clone. Without an index it skips; under CI it fails."""
    clone = tmp_path_factory.mktemp("clone")
    for name in files_of_the_tree():
        if _COPIED.match(name.as_posix()):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    # Built with the hatchling that is here: that it can be fetched, too, is not what is tested.
    line = typed[0].replace("python3 -m pip wheel", f"{shlex.quote(sys.executable)} -m pip wheel --no-build-isolation")
    assert line != typed[0]
    trusted = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if kept := trusted.get("SUITE_SSL_CERT_FILE"):
        trusted["SSL_CERT_FILE"] = kept
    done = subprocess.run(
        ["sh", "-c", line], cwd=clone, env=trusted, capture_output=True, encoding="utf-8", timeout=120
    )
    if done.returncode:
        said = f"pip wheel could not gather the wheels (no index?): {done.stderr.strip().splitlines()[-1:]}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return clone / "popshell-wheels"


@pytest.fixture
def room(typed: tuple[str, ...], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The environment that the second line makes, under way while the wheels are gathered.

    Without pip, which is the standard library's to put there, and takes 8 s: that of this Python installs into it.
    """
    line = re.sub(r"^python3 (.*)", rf"{shlex.quote(sys.executable)} \1 --without-pip", typed[1])
    assert line != typed[1]
    with subprocess.Popen(["sh", "-c", line], cwd=tmp_path) as under_way:
        yield under_way


def test_a_room_without_internet(
    typed: tuple[str, ...], room: subprocess.Popen[bytes], wheels: Path, tmp_path: Path
) -> None:
    """All that the page does in the room, with the index off and the way out of the machine blocked."""
    wheels = shutil.copytree(wheels, tmp_path / "popshell-wheels")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "0",  # pip takes the value for that of its flag: 0 compiles nothing
        "PYTHONUTF8": "1",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _NOWHERE),
    }

    def run(line: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    _, _, install, learn = typed
    assert "--no-index" in install
    there, install = install.split("/bin/pip ")
    install = f"{shlex.quote(sys.executable)} -m pip --python {there}/bin/python {install}"
    assert room.wait(120) == 0

    # The check can fail: without one of the wheels nothing is fetched instead, and pip says what the page says.
    (part,) = wheels.glob("msgspec-*.whl")
    part.rename(tmp_path / part.name)
    lacking = run(f"{install} --dry-run")
    assert lacking.returncode != 0
    (symptom,) = re.findall(r"(?m)^\| `(Could not [^`]+)` \|", text_of(ROOM))
    assert f"{symptom} msgspec" in lacking.stderr
    (tmp_path / part.name).rename(part)

    done = run(install)
    assert done.returncode == 0, done.stderr
    played = run(f"{learn} --plain --lang en", "QUIT\n")
    assert "Lesson 1 of " in played.stdout
    assert "* Solved." in played.stdout
