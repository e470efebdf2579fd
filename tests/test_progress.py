"""Progress on disk: private, whole at every moment, safe between two shells, and never in the learner's way."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from learner import ROOT, Learner, catalog, environment, lesson, progress_file

from popshell.course.progress import Course, Lessons, Progress, Standing

EN = catalog().words("en")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "popshell" / "progress.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_it_is_private_plain_and_versioned(path: Path) -> None:
    old = os.umask(0)
    try:
        Progress(path, lambda: 12.7).record("pop3", "dots", "count", state="solved", tries=2, hints=1)
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert mode(path.with_name("progress.json.lock")) == 0o600
    entry = {"at": 12, "hints": 1, "state": "solved", "tries": 2}
    assert json.loads(path.read_text()) == {
        "version": 1,
        "courses": {"pop3": {"lessons": {"dots": {"count": entry}}}},
    }
    assert sorted(file.name for file in path.parent.iterdir()) == ["progress.json", "progress.json.lock"]


def test_a_file_that_others_could_read_is_private_after_the_next_exercise(path: Path) -> None:
    progress = Progress(path)
    progress.record("c", "l", "e", state="solved")
    path.chmod(0o666)
    progress.record("c", "l", "f", state="solved")
    assert mode(path) == 0o600


def test_what_was_recorded_is_found_again(path: Path) -> None:
    progress = Progress(path)
    assert progress.standing("c", "l", "e") == Standing()
    assert progress.place("c") is None
    progress.record("c", "l", "e", tries=1)
    progress.record("c", "l", "e", state="skipped", solution=True)
    progress.leave_at("c", "l", "e")
    for one in (progress, Progress(path)):
        assert one.standing("c", "l", "e") == Standing("skipped", 1, 0, True)
        assert one.standing("c", "l", "e").done
        assert one.place("c") == ("l", "e")
        assert one.damaged is None
        assert one.unsaved is None


def test_forgetting_a_lesson_and_a_course(path: Path) -> None:
    progress = Progress(path)
    for course in ("c", "d"):
        for name in ("l", "m"):
            progress.record(course, name, "e", state="solved")
    progress.forget("c", "l")
    assert [progress.standing("c", name, "e").state for name in ("l", "m")] == ["", "solved"]
    progress.forget("c")
    progress.forget("nothing", "like it")
    assert progress.standing("c", "m", "e").state == ""
    assert Progress(path).standing("d", "m", "e").state == "solved"


@pytest.mark.parametrize("name", ["../../x", "__proto__", "", "\x00", "a/b", "é\ud800", "x" * 5000, "version"])
def test_names_are_keys_and_nothing_else(name: str, path: Path) -> None:
    Progress(path).record(name, name, name, state="solved")
    assert Progress(path).standing(name, name, name).state == "solved"
    assert {file.name for file in path.parent.iterdir()} == {"progress.json", "progress.json.lock"}


def test_where_one_goes_on(path: Path) -> None:
    """The place where one left, if it is open; else what is open behind it, and only then what is open before it."""
    progress = Progress(path)
    lessons = Lessons(catalog(), Course("c", ("01-greeting", "02-states")), progress, lambda: "en")

    def first_open() -> tuple[str, str] | None:
        found = lessons.first_open()
        return found and (found[0].name, found[1].id)

    first = [exercise.id for exercise in lesson("01-greeting").exercises]
    assert first_open() == ("01-greeting", first[0])
    second = [exercise.id for exercise in lesson("02-states").exercises]
    assert len(second) > 3
    left = second[2]
    progress.leave_at("c", "02-states", left)
    assert first_open() == ("02-states", left), "not the lesson's first"
    progress.record("c", "states", left, state="solved")
    behind = second[3:]
    assert first_open() == ("02-states", behind[0])
    for exercise_id in behind:
        progress.record("c", "states", exercise_id, state="solved")
    assert first_open() == ("02-states", second[0]), "then what is open before it in its lesson"
    progress.forget("c", "states")
    for exercise_id in second[:3]:
        progress.record("c", "states", exercise_id, state="solved")
    progress.leave_at("c", "02-states", second[-1])
    progress.record("c", "states", second[-1], state="skipped")
    assert first_open() == ("02-states", behind[0]), "what was passed over in this lesson"
    for exercise_id in behind[:-1]:
        progress.record("c", "states", exercise_id, state="solved")
    assert first_open() == ("01-greeting", first[0]), "then the lessons before it"
    progress.leave_at("c", "99-gone", "x")
    assert first_open() == ("01-greeting", first[0])
    found = lessons.open_in(lesson("01-greeting"), first[-1])
    assert found is not None
    assert found.id == first[0]
    for name in ("greeting", "states"):
        for exercise in lesson("01-greeting" if name == "greeting" else "02-states").exercises:
            progress.record("c", name, exercise.id, state="skipped")
    assert first_open() is None


# -- damage ------------------------------------------------------------------------------------------------------------

SOUND: dict[str, Any] = {"version": 1, "courses": {"c": {"lessons": {"l": {"e": {"state": "solved"}}}}}}
DAMAGED = {
    "empty": b"",
    "truncated": json.dumps(SOUND).encode()[:-9],
    "no JSON": b"hello\n",
    "no UTF-8": b'{"version": 1, "courses": {"\xff": {}}}',
    "zeros": bytes(4096),
    "another version": json.dumps(SOUND | {"version": 2}).encode(),
    "no version": json.dumps({"courses": {}}).encode(),
    "a list": b"[]",
    "courses is a list": b'{"version": 1, "courses": []}',
    "no courses": b'{"version": 1}',
    "a course is a word": b'{"version": 1, "courses": {"c": "x"}}',
    "lessons is a list": b'{"version": 1, "courses": {"c": {"lessons": []}}}',
    "a lesson is a number": b'{"version": 1, "courses": {"c": {"lessons": {"l": 1}}}}',
    "an exercise is null": b'{"version": 1, "courses": {"c": {"lessons": {"l": {"e": null}}}}}',
    "tries is a word": b'{"version": 1, "courses": {"c": {"lessons": {"l": {"e": {"tries": "many"}}}}}}',
    "a state of another world": b'{"version": 1, "courses": {"c": {"lessons": {"l": {"e": {"state": {}}}}}}}',
    "nested": b"[" * 100_000,
    "a number without end": b'{"version": 1, "courses": {}, "x": ' + b"9" * 10_000 + b"}",
    "huge": b'{"version": 1, "courses": {}, "x": "' + b"x" * (5 << 20) + b'"}',
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_set_aside_whole(kind: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(DAMAGED[kind])
    progress = Progress(path, lambda: 77.0)
    assert progress.damaged == path.with_name("progress.json.damaged-77")
    assert progress.damaged.read_bytes() == DAMAGED[kind]
    assert progress.standing("c", "l", "e") == Standing()
    progress.record("c", "l", "e", state="solved")
    assert Progress(path).standing("c", "l", "e").state == "solved"
    assert Progress(path).damaged is None


def test_two_damaged_files_of_one_second_are_both_kept(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for text in ("one", "two", "three"):
        path.write_text(text)
        assert Progress(path, lambda: 77.0).damaged is not None
    kept = [file.read_text() for file in path.parent.glob("*.damaged-*")]
    assert sorted(kept) == ["one", "three", "two"]


def test_a_directory_in_its_place_is_set_aside(path: Path) -> None:
    path.mkdir(parents=True)
    progress = Progress(path)
    assert progress.damaged is not None
    progress.record("c", "l", "e", state="solved")
    assert Progress(path).standing("c", "l", "e").state == "solved"


def test_a_pipe_in_its_place_does_not_hang(path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert Progress(path).damaged is not None


def test_what_is_damaged_while_the_shell_runs_costs_nothing(path: Path) -> None:
    progress = Progress(path)
    progress.record("c", "l", "e", state="solved")
    path.write_text("rubbish")
    progress.record("c", "l", "f", state="solved")
    again = Progress(path)
    assert [again.standing("c", "l", name).state for name in "ef"] == ["solved", "solved"]
    assert progress.damaged is not None
    assert progress.damaged.read_text() == "rubbish"


def test_odd_places_are_no_places(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for place in ('"here"', "[1]", "[1, 2, 3]", "null", "{}"):
        path.write_text('{"version": 1, "courses": {"c": {"place": ' + place + "}}}")
        assert Progress(path).place("c") is None


def test_links_at_the_new_name_are_not_followed(path: Path, tmp_path: Path) -> None:
    """sec-F1."""
    path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name("progress.json.new").symlink_to(victim)
    Progress(path).record("c", "l", "e", state="solved")
    assert victim.read_text() == "precious"
    path.with_name("progress.json.lock").unlink()
    path.with_name("progress.json.lock").symlink_to(victim)
    progress = Progress(path)
    progress.record("c", "l", "f", state="solved")
    assert progress.unsaved
    assert victim.read_text() == "precious"


def test_where_nothing_can_be_written_the_shell_remembers(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a directory should be")
    progress = Progress(tmp_path / "data" / "popshell" / "progress.json")
    progress.record("c", "l", "e", state="solved")
    assert progress.unsaved
    assert progress.standing("c", "l", "e").state == "solved"


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel lets root write everywhere")
def test_a_directory_that_cannot_be_written(path: Path) -> None:
    Progress(path).record("c", "l", "e", state="solved")
    path.parent.chmod(0o500)
    try:
        progress = Progress(path)
        progress.record("c", "l", "f", state="solved")
        assert progress.unsaved
        assert progress.standing("c", "l", "e").state == "solved"
    finally:
        path.parent.chmod(0o700)


def test_a_full_disk_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(path)
    progress.record("c", "l", "e", state="solved")
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fsync", full)
        progress.record("c", "l", "f", state="solved")
    assert isinstance(progress.unsaved, OSError)
    assert Progress(path).standing("c", "l", "e").state == "solved"
    assert Progress(path).standing("c", "l", "f").state == ""
    progress.record("c", "l", "g", state="solved")
    assert progress.unsaved is None


def test_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    Progress(path).record("c", "l", "e", state="solved")
    assert Progress(path).standing("c", "l", "e").state == "solved"
    assert [file.name for file in path.parent.iterdir()] == ["progress.json"]


# -- as the learner sees it --------------------------------------------------------------------------------------------


def test_a_damaged_file_is_said_and_the_course_begins_anew(tmp_path: Path) -> None:
    file = progress_file(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_text('{"version": 1, "cour')
    with Learner(tmp_path) as learner:
        assert learner.began.split() > []
        assert "could not be read" in learner.began
        assert "progress.json.damaged-" in learner.began.replace("\n  ", "")
        assert EN("tutor.task", number=1, total=5) in learner.began
        assert "* Solved." in learner.say("QUIT")
        learner.leave()
    with Learner(tmp_path) as learner:
        assert "could not be read" not in learner.began
        assert EN("tutor.welcome-back") in learner.began


@pytest.mark.parametrize("tag", ["en", "zh-Hant"])
def test_progress_that_cannot_be_saved_is_said_once_and_the_course_goes_on(tag: str, tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file")
    said = catalog().words(tag)("tutor.unsaved", reason="x").partition("x")[0]
    with Learner(tmp_path, tag=tag) as learner:
        assert said in learner.began
        learner.say("QUIT", ":next", "HELLO")
        assert f"* {catalog().words(tag)('tutor.solved')}" in learner.text
        assert learner.text.count(said) == 1
        assert catalog().words(tag)("tutor.task", number=3, total=5) in learner.say(":next")
        assert learner.leave() == 1
        assert "Traceback" not in learner.text


# -- two at once, and a sudden end -------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from popshell.course.progress import Progress
progress = Progress(Path(sys.argv[1]))
name, count = sys.argv[2], int(sys.argv[3])
for at in range(count):
    progress.record("c", name, f"e{at}", state="solved", tries=at)
    print(at, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(path.parent, PYTHONPATH=str(ROOT)),
    )


def test_two_shells_at_once_lose_nothing(path: Path) -> None:
    path.parent.mkdir(parents=True)
    both = [writer(path, name, 60) for name in ("one", "two")]
    for process in both:
        process.communicate(timeout=30)
        assert process.returncode == 0
    progress = Progress(path)
    for name in ("one", "two"):
        assert all(progress.standing("c", name, f"e{at}").tries == at for at in range(60))
        assert all(progress.standing("c", name, f"e{at}").done for at in range(60))


def test_two_threads_over_a_damaged_file_set_it_aside_once(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for _ in range(20):
        path.write_text("rubbish")
        found: list[Progress] = []

        def begin(name: str, found: list[Progress] = found) -> None:
            progress = Progress(path)
            progress.record("c", "l", name, state="solved")
            found.append(progress)

        threads = [threading.Thread(target=begin, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(progress.damaged is not None for progress in found) == 1
        lessons = json.loads(path.read_text())["courses"]["c"]["lessons"]["l"]
        assert len(lessons) == 2
        path.unlink()


#: Forks writers, which begin at once, and kills each at a random moment of saving.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
from popshell.course.progress import Progress
path, chance = Path(sys.argv[1]), random.Random(1939)
for turn in range(40):
    out, into = os.pipe()
    child = os.fork()
    if not child:
        progress = Progress(path)
        for at in range(100_000):
            progress.record("c", f"turn{turn}", f"e{at}", state="solved", tries=at)
            os.write(into, b".")
    os.close(into)
    os.read(out, 1)  # it writes now
    time.sleep(chance.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = 1
    while more := os.read(out, 65536):
        told += len(more)
    os.close(out)
    data = json.loads(path.read_text())  # whole, or this raises
    print(told, len(data["courses"]["c"]["lessons"][f"turn{turn}"]), oct(path.stat().st_mode & 0o777), flush=True)
"""


def test_killed_at_any_moment_it_loses_the_last_exercise_at_the_most(path: Path) -> None:
    """40 writers, each killed at a random moment: the file is whole, and all that was told to be saved is in it."""
    path.parent.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(path)],
        capture_output=True,
        text=True,
        env=environment(path.parent, PYTHONPATH=str(ROOT)),
        timeout=60,
    )
    turns = [row.split() for row in done.stdout.splitlines()]
    assert len(turns) == 40, done.stderr
    for told, kept, rights in turns:
        assert int(kept) - int(told) in (0, 1), "saved, and killed before it could be told: no more than one"
        assert rights == "0o600"
    assert sum(int(told) for told, _, _ in turns) > 40, "more than the first write of each"
    progress = Progress(path)
    assert progress.damaged is None
    progress.record("c", "l", "after", state="solved")
    assert sorted(file.name for file in path.parent.iterdir()) == ["progress.json", "progress.json.lock"]


def test_a_killed_learner_goes_on_behind_what_was_solved(tmp_path: Path) -> None:
    with Learner(tmp_path) as learner:
        learner.say("QUIT", ":next", "HELLO")
        learner.kill()
    with Learner(tmp_path) as learner:
        assert EN("tutor.task", number=3, total=5) in learner.began


def test_solved_stays_solved(path: Path) -> None:
    """Another shell skips it; or one asks for a hint when all is done: neither is written."""
    one, other = Progress(path), Progress(path)
    one.record("pop3", "dots", "count", state="solved", tries=2, hints=1)
    for changes in ({"state": "skipped"}, {"hints": 2}, {"state": "shown", "hints": 3}):
        other.record("pop3", "dots", "count", **changes)
        found = Progress(path).standing("pop3", "dots", "count")
        assert (found.state, found.tries, found.hints) == ("solved", 2, 1)
