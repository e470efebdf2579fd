"""The course as a learner meets it: the real `popshell learn --plain`, played whole by a simulated learner."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from learner import TAGS, InProcess, Learner, catalog, course, environment, lesson, progress_file, words
from stage import FakeScreen, Stage
from support import each
from terminal.driver import Peer

from popshell.course.attempt import Attempt, vocabulary
from popshell.course.catalog import Catalog, bundled
from popshell.course.checks import Evidence, read_check
from popshell.course.lesson import Exercise, ExerciseKind, Lesson, new_lesson, read_lesson
from popshell.course.player import Rehearsal
from popshell.course.progress import Lessons, Progress
from popshell.protocol.commands import COMMANDS
from popshell.ui import course_metas, link, pages
from popshell.ui.shell import Options, Shell
from popshell.ui.tutor import Tutor
from popshell.visible import width

EN = catalog().words("en")


def in_small_letters(line: str) -> str:
    """A line as many a beginner types it: keywords, and the words of an answer, in lower case (RFC 1939 §3)."""
    if line.startswith(":flight "):
        return ":flight " + " | ".join(map(in_small_letters, line.removeprefix(":flight ").split(" | ")))
    if line.startswith(":answer"):
        return line.lower()
    words = (row.partition(" ") for row in line.split("\n"))
    return "\n".join((word.lower() if word in COMMANDS else word) + blank + rest for word, blank, rest in words)


def played(learner: Learner | InProcess, wrongs: bool, spelled: Callable[[str], str] = str) -> list[str]:
    """Play the whole course, and before each solution all listed wrong turns if they are asked for; what went wrong."""
    faults: list[str] = []
    tag, say = learner.tag, catalog().words(learner.tag)
    for name in course().lessons:
        read = lesson(name, tag)
        for exercise in read.exercises:
            if wrongs:
                faults += wrong_turns(learner, read, exercise, spelled)
                learner.say(":again")
            shown = learner.do(exercise, map(spelled, lines_of(exercise, exercise.solution)))
            where = f"{name}/{exercise.id}/{tag}"
            if f"* {say('tutor.solved')}" not in shown:
                faults.append(f"{where} is not solved: {shown[-400:]}")
                learner.say(":skip")
                continue
            if words(read.prose[exercise.id].solved)[:30] not in words(shown):
                faults.append(f"{where} does not say what was shown")
            learner.say(":next")
    return faults


def lines_of(exercise: Exercise, lines: tuple[str, ...]) -> list[str]:
    """The line of a prediction is typed before it is answered."""
    rows = list(lines)
    if exercise.kind is ExerciseKind.PREDICT and rows and rows[-1].startswith(":answer") and exercise.line not in rows:
        rows.insert(len(rows) - 1, exercise.line)
    return rows


def wrong_turns(
    learner: Learner | InProcess, read: Lesson, exercise: Exercise, spelled: Callable[[str], str]
) -> list[str]:
    """Take each; it does not pass, and the author's text for it is said."""
    faults = []
    solved = catalog().words(learner.tag)("tutor.solved")
    for wrong in exercise.wrong:
        learner.say(":again")
        shown = learner.do(exercise, map(spelled, lines_of(exercise, wrong.lines)))
        if f"* {solved}" in shown:
            faults.append(f"{read.name}/{exercise.id}: {wrong.lines} passes")
        if words(read.prose[exercise.id].wrong[wrong.say])[:30] not in words(shown):
            faults.append(
                f"{read.name}/{exercise.id}: {wrong.lines} is not answered with {wrong.say!r}: {shown[-400:]}"
            )
    return faults


@pytest.fixture
def learn(tmp_path: Path) -> Iterator[Callable[..., Learner]]:
    made: list[Learner] = []

    def make(*arguments: str, **how: object) -> Learner:
        made.append(Learner(tmp_path, *arguments, **how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for learner in made:
        learner.__exit__()


def stands(home: Path, exercise: str, name: str = "greeting") -> tuple[str, int, int, bool]:
    standing = Progress(progress_file(home)).standing("pop3", name, exercise)
    return standing.state, standing.tries, standing.hints, standing.solution


# -- one step at a time ------------------------------------------------------------------------------------------------


def test_hints_say_more_and_the_solution_comes_after_them(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner, prose = learn(), lesson("01-greeting").prose["say-goodbye"]
    assert EN("tutor.hints-first", left=len(prose.hints)) in learner.say(":solution")
    assert stands(tmp_path, "say-goodbye") == ("", 0, 0, False)
    for number, hint in enumerate(prose.hints, 1):
        shown = learner.say(":hint")
        assert EN("tutor.hint", number=number, total=len(prose.hints)) in shown
        assert words(hint) in words(shown)
        assert (EN("tutor.solution-ready").replace("`", "") in shown.replace("`", "")) == (number == len(prose.hints))
        assert stands(tmp_path, "say-goodbye") == ("", 0, number, False)
    assert words(prose.hints[-1]) in words(learner.say(":hint"))
    assert "    QUIT\n" in learner.say(":solution")
    assert stands(tmp_path, "say-goodbye") == ("", 0, len(prose.hints), True)
    learner.say("QUIT")
    assert stands(tmp_path, "say-goodbye") == ("solved", 1, len(prose.hints), True)


def test_no_solution_has_a_digest_of_another_connection(learn: Callable[..., Learner]) -> None:
    """RFC 1939 §7: it is made of the timestamp of the greeting."""
    learner = learn("apop/2")
    for _ in lesson("13-apop").prose[lesson("13-apop").exercises[1].id].hints:
        learner.say(":hint")
    learner.say("QUIT")
    assert words(EN("tutor.no-stamp")) in words(learner.say(":solution"))
    learner.say(":connect practice")
    (digest,) = re.findall("APOP learner ([0-9a-f]{32})\n", learner.say(":solution"))
    assert "* Solved." in learner.say(f"APOP learner {digest}")


def test_what_is_solved_is_not_said_to_be_skipped(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn()
    learner.say("QUIT")
    shown = learner.say(":skip")
    assert EN("tutor.skipped") not in shown
    assert EN("tutor.task", number=2, total=5) in shown
    assert stands(tmp_path, "say-goodbye")[0] == "solved"


def test_skip_is_remembered_and_comes_back_at_the_end(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn()
    assert EN("tutor.still-open").replace("`", "") in learner.say(":next").replace("`", "")
    shown = learner.say(":skip")
    assert EN("tutor.skipped") in shown
    assert EN("tutor.task", number=2, total=5) in shown
    assert stands(tmp_path, "say-goodbye") == ("skipped", 0, 0, False)
    assert "0/5" in learner.say(":lessons").split("\n")[0]
    assert "> " in learner.say(":lessons").split("\n")[0]


@pytest.mark.parametrize("tag", TAGS)
def test_lessons_and_what_one_has_met_fit_a_narrow_window(tmp_path: Path, tag: str) -> None:
    shell = Stage(screen=FakeScreen(columns=60, rows=10_000), options=Options(language=tag)).shell
    lessons = Lessons(catalog(), course(), Progress(tmp_path / "x"), lambda: tag)
    pages.list_lessons(shell, lessons, "02-states")
    for one in lessons.all():
        assert words(one.title) in words(shell.screen.text)
        pages.summary(shell, one)
    assert max(map(width, shell.screen.text.split("\n"))) < 60


def test_what_was_skipped_can_be_gone_back_to(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn()
    learner.say(":skip")
    shown = learner.say(":lessons")
    assert EN("tutor.skipped-count", count=1) in shown.split("\n")[0]
    learner.say(":lesson greeting/5")
    assert EN("tutor.task", number=5, total=5) in learner.text[-2000:]
    assert EN("tutor.task", number=1, total=5) in learner.say(":lesson 1 say-goodbye")
    shown = learner.say("QUIT")
    assert -1 < shown.find("[STATE: CLOSED]") < shown.find("* Solved."), "the arrow comes first"
    assert stands(tmp_path, "say-goodbye")[0] == "solved"
    wrong = learner.say(":lesson 1/9")
    assert EN("tutor.no-such-exercise", name="9", known="X").split("`9`")[0] in wrong
    assert "5 " in wrong, "those that there are, are named"


def test_a_lesson_that_is_done_but_for_what_was_skipped_begins_there(learn: Callable[..., Learner]) -> None:
    learner = learn()
    learner.say(":skip", ":skip", ":skip", ":skip", ":skip")
    assert EN("tutor.task", number=1, total=5) in learner.say(":lesson greeting")


def test_a_right_prediction_in_another_state_does_not_solve(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn("states")
    read = lesson("02-states")
    first = read.exercises[0]
    assert first.kind is ExerciseKind.PREDICT
    name = first.line.split()[0]
    begun = ["USER learner", "PASS secret"] if name in ("STAT", "LIST") else ["QUIT", ":connect"]
    shown = learner.say(*begun, first.line, ":answer +OK TRANSACTION one")
    assert "* Solved." not in shown
    assert words(EN("tutor.elsewhere", line=first.line)) in words(shown)
    assert stands(tmp_path, first.id, read.id)[1] == 0, "nor does it count as a try"


def test_the_fields_in_which_a_reply_differs_are_named(learn: Callable[..., Learner]) -> None:
    learner = learn("counting")
    learner.say(":lesson counting/the-gap")
    shown = learner.say("LIST 1", "LIST 3", *["NOOP"] * 4)
    told = EN("missing.replied-nearly", wanted="LIST", differs=EN.listed((EN("field.ok"), EN("field.argument"))))
    assert words(told) in words(shown)


def test_what_a_task_is_to_do_without_is_not_said_to_lack() -> None:
    def check(name: str, value: bool, key: str) -> None:
        said: list[str] = []
        shell = SimpleNamespace(words=EN, say=lambda key, style, **facts: said.append(EN(key, **facts)))
        missing = read_check({name: value})
        attempt = SimpleNamespace(evidence=Evidence, missing=lambda: missing, nearly=lambda check: [])
        pages.say_missing(cast("Shell", shell), cast("Attempt", attempt))
        assert said == [EN(f"missing.{key}")]

    cases = [("tls", True, "tls"), ("tls", False, "not-tls"), ("dropped", True, "dropped")]
    each([*cases, ("dropped", False, "not-dropped")], check)


def test_a_prediction_broken_off_leaves_the_exercise_open() -> None:
    """Ctrl-C, or a reply that does not come."""
    exercise = next(e for e in lesson("02-states").exercises if e.kind is ExerciseKind.PREDICT)
    attempt = Attempt(exercise, str, vocabulary(catalog()), held=exercise.line)

    async def send(line: str) -> None:
        raise asyncio.CancelledError

    tutor = SimpleNamespace(shell=SimpleNamespace(send=send))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(course_metas._predict(cast("Tutor", tutor), attempt, "-ERR AUTHORIZATION one"))
    assert not attempt.solved


def test_progress_of_a_newer_version_is_reported(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    progress_file(tmp_path).parent.mkdir(parents=True)
    progress_file(tmp_path).write_text('{"version": 2, "courses": {}}')
    assert "newer PopShell" in learn().began


def with_start(own: Path, start: str) -> None:
    file = own / "en" / "01-first.md"
    file.write_text(
        re.sub(r"(?m)^start = .*$", lambda _: f"start = {start}", file.read_text("utf-8"), count=1), "utf-8"
    )


def test_a_start_that_ends_the_connection_is_reported(own: Path, learn: Callable[..., Learner]) -> None:
    with_start(own, '["QUIT", "NOOP"]')
    learner = learn(lessons=own)
    assert words(EN("tutor.start-failed")) in words(learner.began)
    assert ":hint" in learner.say(":help")


@pytest.mark.parametrize("lines", ["DELE 1 | DELE 2", "DELE 1|DELE 2"])
def test_a_flight_in_start_goes_out_as_lint_plays_it(own: Path, learn: Callable[..., Learner], lines: str) -> None:
    with_start(own, f'["USER learner", "PASS secret", ":flight {lines}"]')
    learner = learn(lessons=own)
    assert "2 marks were taken back" in learner.say("RSET")
    (exercise, *_) = read_lesson(Catalog((own, bundled())), "01-first", "en").exercises
    rehearsed = Rehearsal(Catalog((own, bundled())), exercise)
    assert rehearsed.line.connection.maildrop.marks == {1, 2}


def test_again_begins_on_a_fresh_copy(learn: Callable[..., Learner]) -> None:
    learner = learn("dots")
    assert "closed" in learner.say("DELE 1", "QUIT")
    assert "Played for you" in learner.say(":again")
    assert "7 messages" in learner.say("STAT")


def test_reset_asks_and_only_yes_counts(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn()
    learner.say("QUIT", ":next", "HELLO")
    for line in (":reset", ":reset all"):
        key = "tutor.ask-reset-all" if line.endswith("all") else "tutor.ask-reset"
        shown = learner.say(line, "n")
        assert EN(key).strip() in shown
        assert EN("tutor.not-reset") in shown
        assert stands(tmp_path, "say-goodbye")[0] == "solved"
    assert EN("tutor.task", number=1, total=5) in learner.say(":reset", "y")
    assert stands(tmp_path, "say-goodbye")[0] == ""
    learner.say("QUIT")
    learner.leave()
    with Learner(tmp_path, "--yes") as sure:
        assert EN("tutor.task", number=1, total=5) in sure.say(":reset")
        assert stands(tmp_path, "say-goodbye")[0] == ""
        sure.say("QUIT", ":lesson states", ":skip")
        assert stands(tmp_path, "too-early", "states")[0] == "skipped"
        assert EN("tutor.welcome").split(".")[0] in sure.say(":reset all")
        assert stands(tmp_path, "too-early", "states")[0] == ""


def test_the_next_run_goes_on_at_the_same_exercise(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    first = learn()
    assert EN("tutor.welcome").split(".")[0] in first.began
    first.say("QUIT", ":next", "HELLO", ":next", ":hint")
    first.leave()
    second = Learner(tmp_path)
    with second:
        assert EN("tutor.welcome-back") in second.began
        assert EN("tutor.task", number=3, total=5) in second.began
        assert words(lesson("01-greeting").prose["host-in-the-stamp"].task) in words(second.began)
        assert "practice server ready" in second.began
        second.kill()
    with Learner(tmp_path, tag="zh-Hant") as third:  # another language, the same progress
        assert catalog().words("zh-Hant")("tutor.task", number=3, total=5) in third.began


def test_a_lesson_by_name_by_number_and_an_unknown_one(learn: Callable[..., Learner]) -> None:
    assert lesson("06-dots").title in learn("dots").began
    assert lesson("06-dots").title in learn("6").began
    assert lesson("06-dots").title in learn("06-dots").began
    learner = learn()
    nowhere = learner.say(":lesson no\x1b[2Jwhere", "NOOP")
    assert "There is no lesson" in nowhere
    assert "\x1b" not in nowhere
    assert "C: NOOP" in nowhere, "and everything goes on"


def test_an_unknown_lesson_ends_a_run_from_a_pipe(tmp_path: Path) -> None:
    """What was piped in was meant for that lesson, and for no other place."""
    done = subprocess.run(
        [sys.executable, "-m", "popshell", "learn", "no\x1b[2Jwhere", "--plain", "--lang", "en"],
        input=b"QUIT\n",
        capture_output=True,
        env=environment(tmp_path),
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"There is no lesson" in done.stdout
    assert b"\x1b" not in done.stdout
    assert b"QUIT" not in done.stdout


def test_lessons_lists_all_with_progress(learn: Callable[..., Learner]) -> None:
    learner = learn()
    for exercise in lesson("01-greeting").exercises:
        learner.do(exercise, lines_of(exercise, exercise.solution))
        learner.say(":next")
    rows = [row for row in learner.say(":lessons").split("\n") if row]
    assert len(rows) == len(course().lessons)
    assert rows[0].startswith("  *  1  5/5  The server speaks first")
    assert rows[1].startswith("  >  2  0/5  The three states")


def test_predictions(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    """Enter holds the line; nothing goes out before the prediction; what was wrong is told; `:again` helps."""
    learner = learn("states")
    assert "type" in learner.say(":answer -ERR AUTHORIZATION one").lower()
    held = learner.say("stat")
    assert "is not sent yet" in held
    assert "C: " not in held
    assert EN("tutor.incomplete").split(":")[0] in learner.say(":answer maybe")
    wrong = learner.say(":answer +OK TRANSACTION many")
    assert "C: stat" in wrong
    for key in ("status", "state", "lines"):
        told = EN(f"tutor.wrong-{key}", status="-ERR", state="AUTHORIZATION", lines=EN("reply.one"))
        assert told.replace("`", "") in wrong.replace("`", "")
    assert words(lesson("02-states").prose["too-early"].wrong[""]) in words(wrong)
    assert stands(tmp_path, "too-early", "states") == ("", 1, 0, False)
    assert "is not sent yet" in learner.say(":again", "STAT")
    assert "* Solved." in learner.say(":answer one, AUTHORIZATION, -err")
    assert stands(tmp_path, "too-early", "states") == ("solved", 2, 0, False)


def test_answers_have_to_be_asked_for(learn: Callable[..., Learner]) -> None:
    learner = learn("states")
    learner.say(":skip", ":skip", ":skip", ":skip")
    prose = lesson("02-states").prose["into-the-stove"]
    assert words(prose.wrong["still-open"]) in words(learner.say(":answer 6"))
    assert words(prose.wrong["dropped"]) in words(learner.say(":drop"))
    assert EN("tutor.not-right").split(".")[0] in learner.say(":answer forty-two")
    assert "* Solved." in learner.say(":again", "QUIT", ":connect", "USER learner", "PASS secret", ":answer 6 MESSAGES")


def test_fork_shows_both_ends_and_changes_neither(learn: Callable[..., Learner]) -> None:
    learner = learn("dots")
    assert "Log in first" in learner.say(":connect", ":fork")
    shown = learner.say("USER learner", "PASS secret", "DELE 2", ":fork")
    assert re.search(r"message 2: erased +message 2\n", shown)
    assert re.search(r"message 1 +message 1\n", shown)
    assert "6 messages" in learner.say("STAT")
    assert "7 messages" in learner.say("RSET", "STAT")


def test_the_digest_of_a_lesson_can_be_had_from_a_pipe(learn: Callable[..., Learner]) -> None:
    """`:apop NAME`: the next line is the password, an empty one sends what was made."""
    learner = learn("dots")
    shown = learner.say(":connect", ":apop learner", "secret", "")
    assert "[STATE: TRANSACTION]" in shown
    assert "secret" not in shown


def test_wait_moves_the_clock_and_nothing_else(learn: Callable[..., Learner]) -> None:
    learner = learn("dots")
    assert "30 seconds" in learner.say(":connect", "USER learner", "PASS secret", ":wait 30")
    assert "+OK" in learner.say("NOOP")
    assert EN("shell.autologout").split(":")[0] in learner.say(":wait 601")
    for bad in ("", "x", "-5", "1e9", "nan", "٣", "9999999"):
        assert "Traceback" not in learner.say(f":wait {bad}")


def test_free_play_goes_on_beside_the_lesson(learn: Callable[..., Learner]) -> None:
    learner = learn()
    shown = learner.say(":help RETR", ":state", ":explain TOP 1 0", "NOOP", "FROB", ":nonsense", ":mailbox", ":raw")
    assert "Traceback" not in shown
    assert "* Solved." in learner.say("QUIT")


def test_what_was_played_stands_in_the_log_and_in_what_is_saved(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn("top", "--log", str(tmp_path / "log"))
    assert "Played for you" in learner.text
    learner.say("NOOP", f":save {tmp_path}/saved.json")
    logged = [json.loads(row) for row in (tmp_path / "log").read_text().splitlines()]
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert [{**row, "time": ""} for row in logged] == [{**row, "time": ""} for row in saved]
    names = [row["command"] and row["command"]["name"] for row in saved if row["type"] == "exchange"]
    assert names == [None, "USER", "PASS", "NOOP"]


# -- a real server -----------------------------------------------------------------------------------------------------


def test_a_real_server_pauses_the_lesson_and_hears_nothing_of_it(
    tmp_path: Path, learn: Callable[..., Learner], peer: Callable[..., Peer]
) -> None:
    """sec-D3: `start` is played on the practice server only; nothing is judged; coming back goes on."""
    other = peer()
    learner = learn("peeking" if "07-peeking" in course().lessons else "7", "--tls", "none")
    before = stands(tmp_path, lesson("07-top").exercises[0].id, "top")
    learner.say(f":connect 127.0.0.1:{other.port}")
    exercise = lesson("07-top").exercises[0]
    assert exercise.start
    learner.say("NOOP", "STAT", ":hint", ":lesson", ":lessons", ":answer 7", ":wait 10", ":fork")
    assert other.heard == ["NOOP", "STAT"]
    learner.say(*(line for line in lines_of(exercise, exercise.solution) if not line.startswith(":")))
    assert stands(tmp_path, exercise.id, "top")[0] == before[0] == ""
    heard = list(other.heard)
    back = learner.say(":again")
    assert "Played for you" in back
    assert other.heard == heard
    assert "* Solved." in learner.do(exercise, lines_of(exercise, exercise.solution))
    assert other.heard == heard


@pytest.mark.parametrize("leaving", ["QUIT", ":drop"])
def test_what_a_real_server_does_solves_nothing(
    leaving: str, tmp_path: Path, learn: Callable[..., Learner], peer: Callable[..., Peer]
) -> None:
    """Not even its goodbye, which is all that the first exercise asks for; `:connect practice` goes back to it."""
    other = peer()
    learner = learn("--tls", "none")
    shown = learner.say(f":connect 127.0.0.1:{other.port}", leaving, ":answer x")
    assert "Solved." not in shown
    assert EN("tutor.no-question") in shown
    assert stands(tmp_path, "say-goodbye") == ("", 0, 0, False)
    shown = learner.say(":connect practice", "QUIT")
    assert "* Solved." in shown
    assert EN("tutor.next") not in shown, "in a script Enter is an empty line, which is sent"
    assert stands(tmp_path, "say-goodbye") == ("solved", 1, 0, False)


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(**how: object) -> Peer:
        made.append(Peer(**how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


# -- one's own course --------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A teacher's course of one lesson with a maildrop of its own."""
    root = tmp_path / "mine"
    root.mkdir()
    assert new_lesson(root, "01-first", EN) == 0
    box = root / "maildrops" / "two"
    box.mkdir(parents=True)
    for name in ("1", "2"):
        (box / f"{name}.eml").write_text(f"Subject: {name}\n\nHello.\n")
    path = root / "en" / "01-first.md"
    path.write_text(path.read_text().replace('answer = ["7"]', 'answer = ["2"]\nmaildrop = "two"', 1))
    capsys.readouterr()
    return root


@pytest.mark.parametrize("way", ["option", "variable"])
def test_an_own_course_over_the_bundled_pages(way: str, own: Path, learn: Callable[..., Learner]) -> None:
    learner = learn(lessons=own) if way == "option" else learn(env={"POPSHELL_LESSONS": str(own)})
    assert "Lesson 1 of 1: A new lesson" in learner.began
    assert "2 messages" in learner.say("STAT")
    assert "* Solved." in learner.say(":answer 2")
    assert "RETR" in learner.say(":help RETR")
    assert "7 messages" in learner.say(":next", ":skip", ":lesson", "STAT")


def test_a_stale_translation_is_reported(own: Path, learn: Callable[..., Learner]) -> None:
    zh = catalog().words("zh-Hant")
    assert zh("tutor.stale") in learn(tag="zh-Hant", lessons=own).began  # `own` changed the English text
    (own / "zh-Hant" / "01-first.md").unlink()
    missing = learn(tag="zh-Hant", lessons=own)
    assert zh("tutor.untranslated") in missing.began
    assert zh("tutor.stale") not in missing.began
    assert "A new lesson" in missing.began


def test_courses_keep_their_progress_apart(own: Path, tmp_path: Path, learn: Callable[..., Learner]) -> None:
    mine = learn(lessons=own)
    mine.say(":skip", ":skip")
    assert EN("tutor.welcome").split(".")[0] in learn().began
    assert Progress(progress_file(tmp_path)).place("pop3") == ("01-greeting", "say-goodbye")
    identity = tomllib.loads((own / "course.toml").read_text())["id"]
    assert identity.startswith("mine-")
    assert Progress(progress_file(tmp_path)).place(identity) == ("01-first", "mark")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("course.toml", 'id = "x"\nlessons = []\n', "no lessons"),
        ("course.toml", 'id = "x\n', "cannot be read"),
        ("en/01-first.md", "no head\n", "between two lines that hold `+++`"),
        ("en/01-first.md", "+++\nid = 3\n+++\n", "cannot be read"),
    ],
)
def test_a_course_that_cannot_be_read_is_reported(path: str, text: str, said: str, own: Path, tmp_path: Path) -> None:
    (own / path).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "popshell", "learn", "--plain", "--lessons", str(own)],
        input=":lessons\n:next\n:hint\n",
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=20,
    )
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 2 or path == "course.toml"  # meta.begin_course tells 0 there: reported


def test_a_broken_later_lesson_does_not_stop_the_first(own: Path, learn: Callable[..., Learner]) -> None:
    shutil.copy(own / "en" / "01-first.md", own / "en" / "02-broken.md")
    (own / "course.toml").write_text('id = "x"\nlessons = ["01-first", "02-broken"]\n')
    text = (own / "en" / "02-broken.md").read_text().replace('kind = "do"', 'kind = "sing"', 1)
    (own / "en" / "02-broken.md").write_text(text)
    learner = learn(lessons=own)
    assert "* Solved." in learner.say("STAT", ":answer 2")
    for line in (":skip", ":skip", ":skip", ":next", ":lessons", ":certificate x", ":lesson 2"):
        assert "Traceback" not in learner.say(line)
    assert "sing" in learner.say(":lesson 2")
    assert "+OK" in learner.say(":lesson 1", "STAT")


# -- the whole course --------------------------------------------------------------------------------------------------


def standings(home: Path, solved_at_once: bool) -> list[str]:
    """The exercises whose progress on disk is not what a learner who solved all of them has."""
    progress, faults = Progress(progress_file(home)), []
    for name in course().lessons:
        read = lesson(name)
        for exercise in read.exercises:
            standing = progress.standing("pop3", read.id, exercise.id)
            if standing.state != "solved" or standing.solution or (solved_at_once and standing.tries != 1):
                faults.append(f"{name}/{exercise.id}: {standing}")
    return faults


def test_the_whole_course_by_its_solutions(tmp_path: Path, learn: Callable[..., Learner]) -> None:
    learner = learn()
    assert played(learner, wrongs=False) == []
    assert EN("tutor.course-done").split("`")[0] in learner.text.replace("`", "")
    learner.say(":certificate certificate.txt")
    assert learner.leave() == 3, "a reply was -ERR, and a connection was lost: both belong to the course"
    assert "Traceback" not in learner.text
    assert standings(tmp_path, solved_at_once=True) == []
    rows = (tmp_path / "certificate.txt").read_text().split("\n")
    assert rows[0] == EN("tutor.certificate-title", course="pop3")
    exercises = sum(len(lesson(name).exercises) for name in course().lessons)
    assert sum(row.startswith("  ") and EN("tutor.certified-solved") in row for row in rows) == exercises


def test_every_wrong_turn_is_answered_and_does_not_solve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In English as the lessons write it, in Chinese in small letters."""
    monkeypatch.setattr(link, "PRACTICE_TIME", 0.01)
    monkeypatch.setattr(link, "HANG_TIME", 0.005)
    # Of some hundred writes of progress: tests/test_progress.py looks at how it is written.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(json, "dump", lambda data, file, **_: file.write(json.dumps(data)))
    faults = []
    for tag in TAGS:
        home = tmp_path / tag
        with InProcess(home, tag) as learner:
            faults += played(learner, wrongs=True, spelled=str if tag == "en" else in_small_letters)
        faults += standings(home, solved_at_once=False)
    assert faults == []
