"""Lessons as data: how a file is read and refused, what each check and condition means, how an exercise is played."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from learner import catalog
from support import LOGIN, over, play

from popshell.course import catalog as catalogs
from popshell.course.attempt import Prediction, is_solved, vocabulary
from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.checks import CHECKS, Check, Evidence, Replied, normal, read_check, same_line
from popshell.course.document import Document, LessonError
from popshell.course.lesson import (
    Exercise,
    ExerciseKind,
    Prose,
    fingerprint,
    new_lesson,
    read_lesson,
    read_prose,
)
from popshell.course.player import STAMP, Rehearsal, exercise_server, placed
from popshell.course.progress import Course, read_course
from popshell.lint.lint import examine, in_words, mark_translated
from popshell.protocol.commands import State
from popshell.server.faults import FAULTS, read_faults
from popshell.words import Flaw

VOCABULARY = vocabulary(catalog())
EN = catalog().words("en")


def exercise(**changes: Any) -> Exercise:
    """An exercise to be played, `do` if nothing else is said."""
    known: dict[str, Any] = {
        "id": "x",
        "kind": ExerciseKind.DO,
        "maildrop": "default",
        "conditions": dict(read_faults(changes.pop("conditions", {}))),
        "start": (),
        "line": "",
        "answers": (),
        "seen": True,
        "failed": (),
        "checks": tuple(read_check(check) for check in changes.pop("check", ())),
        "solution": (),
        "wrong": (),
    }
    if account := changes.pop("account", None):
        changes["login"] = ":".join(account)
    return Exercise(**(known | changes))


def played(*lines: str, **changes: Any) -> Rehearsal:
    rehearsal = Rehearsal(catalog(), exercise(**changes))
    rehearsal.play(lines)
    return rehearsal


# -- checks: each once true, once false --------------------------------------------------------------------------------

#: The check, lines that make it true, lines that do not. `start` logs in.
TRUTHS: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ({"replied": {"command": "STAT"}}, ("STAT",), ("LIST",)),
    ({"replied": {"ok": False}}, ("RETR 99",), ("RETR 1",)),
    ({"replied": {"state": "TRANSACTION"}}, ("NOOP",), ()),
    ({"replied": {"after": "UPDATE"}}, ("QUIT",), ("NOOP",)),
    ({"replied": {"argument": "2"}}, ("DELE 2",), ("DELE 3",)),
    ({"replied": {"argument": 2}}, ("DELE 2",), ("STAT",)),
    ({"replied": {"line": "top 1 0"}}, ("Top  1 0",), ("TOP 1 1",)),
    ({"replied": {"code": "auth"}}, ("QUIT", ":connect", "USER learner", "PASS wrong"), ("QUIT", ":connect", *LOGIN)),
    ({"replied": {"tls": True}}, ("QUIT", ":connect", "STLS", "CAPA"), ("QUIT", ":connect", "CAPA")),
    ({"replied": {"many": True}}, ("LIST",), ("LIST 1",)),
    ({"replied": {"many": False}}, ("LIST 1",), ("LIST",)),
    ({"replied": {"stuffed": True}}, tuple(f"RETR {n}" for n in range(1, 8)), ("RETR 1",)),
    ({"replied": {"cancelled": True}}, (":connect", "AUTH PLAIN", "*"), (":connect", "AUTH PLAIN", "AGEAYg==")),
    ({"replied": {"command": "NOOP", "least": 2}}, ("NOOP", "NOOP"), ("NOOP", "STAT")),
    ({"replied": {"command": "FROB", "ok": False}}, ("frob",), ("STAT",)),
    ({"replied": {"command": "RETR", "argument": "2"}}, ("RETR 02",), ("RETR 20",)),
    ({"replied": {"line": "TOP 1 0"}}, ("TOP 01 00",), ("TOP 10 0",)),
    ({"steps": [{"command": "STAT"}, {"command": "LIST"}]}, ("STAT", "NOOP", "LIST"), ("LIST", "STAT")),
    (
        {"steps": [{"command": "STAT"}, {"command": "NOOP", "next": True}]},
        ("STAT", "STAT", "NOOP"),
        ("STAT", "LIST", "NOOP"),
    ),
    ({"steps": [{"ok": True}, {"ok": False}, {"ok": True}]}, ("STAT", "FROB", "STAT"), ("FROB", "STAT", "FROB")),
    ({"together": ["STAT", "LIST"]}, ("LIST\nNOOP\nSTAT",), ("LIST\nNOOP", "STAT\nNOOP")),
    ({"together": ["STAT", "STAT"]}, ("STAT\nSTAT",), ("STAT\nNOOP",)),
    ({"together": ["STAT", "LIST 1"]}, ("STAT\nlist 01",), ("STAT\nLIST 2", "LIST 1")),
    ({"together": ["STAT", "RETR"]}, ("STAT\nRETR 1",), ("STAT\nRETR 99",)),
    ({"sent_first": "STAT"}, ("STAT", "LIST"), ("LIST", "STAT")),
    ({"sent_first": "STAT"}, ("stat",), ()),
    ({"in_order": ["STAT", "LIST"]}, ("STAT", "NOOP", "LIST"), ("LIST", "STAT")),
    ({"in_order": ["RETR", "DELE"]}, ("RETR 1", "DELE 1"), ("RETR 99", "DELE 1")),
    ({"never": ["RETR", "TOP"]}, ("STAT",), ("STAT", "TOP 1 0", "STAT")),
    ({"at_most": 2}, ("STAT", ":help", "LIST"), ("STAT", "LIST", "NOOP")),
    ({"state": "TRANSACTION"}, ("STAT",), (":drop",)),
    ({"state": "AUTHORIZATION"}, (":connect",), ()),
    ({"state": "CLOSED"}, ("QUIT",), ("NOOP",)),
    ({"marks": [1, 2]}, ("DELE 2", "DELE 1"), ("DELE 1",)),
    ({"marks": []}, ("DELE 1", "RSET"), ("DELE 1",)),
    ({"retrieved": [1]}, ("RETR 1", "TOP 2 0"), ("RETR 1", "RETR 2")),
    ({"retrieved": [1]}, ("RETR 1", "RETR 99"), ("TOP 1 99",)),
    ({"maildrop": [7, 6, 5, 4, 3, 2]}, ("DELE 1", "QUIT"), ("DELE 1", ":drop")),
    ({"tls": True}, (":connect", "STLS"), (":connect",)),
    ({"tls": False}, (":connect",), (":connect", "STLS")),
    ({"dropped": True}, (":drop",), ("QUIT",)),
    ({"dropped": True}, (":connect",), ("NOOP",)),
    ({"dropped": False}, ("QUIT",), (":drop",)),
    ({"waited": 600}, (":wait 599", ":wait 1"), (":wait 599",)),
    ({"flight": 3}, ("CAPA", "STAT\nNOOP\nLIST"), ("CAPA", "STAT", "NOOP", "LIST")),
    ({"flight": 2}, ("STAT\nNOOP",), ("STAT",)),
]


@over("check, true, false", TRUTHS)
def test_a_check_looks_at_the_effect(check: dict[str, Any], true: tuple[str, ...], false: tuple[str, ...]) -> None:
    read = read_check(check)
    # `marks = []` and the like hold at the beginning: the evidence at the end is judged, not any moment.
    assert read.holds(played(*true, start=LOGIN).evidence())
    assert not read.holds(played(*false, start=LOGIN).evidence())


def test_every_check_and_every_field_is_tried() -> None:
    assert {next(iter(check)) for check, _, _ in TRUTHS} == CHECKS.keys() == set(Check.__struct_fields__)
    fields = {name for check, _, _ in TRUTHS for name in (check.get("replied") or {})}
    assert fields == set(Replied.__struct_fields__) - {"next"}


def test_a_right_prediction_of_another_state_proves_nothing() -> None:
    """The task begins in AUTHORIZATION; who logs in first is right about something else."""
    guess = {"kind": ExerciseKind.PREDICT, "line": "STAT", "solution": (":answer -ERR AUTHORIZATION one",)}
    assert not played(*LOGIN, "STAT", ":answer +OK TRANSACTION one", **guess).solved
    assert played("STAT", ":answer -ERR AUTHORIZATION one", **guess).solved


def test_a_secret_is_no_argument_to_be_guessed_at() -> None:
    check = read_check({"replied": {"command": "PASS", "argument": "secret"}})
    assert not check.holds(played(*LOGIN).evidence())


def test_a_flight_by_a_meta_command() -> None:
    assert read_check({"flight": 3}).holds(played("CAPA", ":flight STAT | NOOP | LIST", start=LOGIN).evidence())


def test_only_what_comes_after_start_counts() -> None:
    assert not read_check({"replied": {"command": "USER"}}).holds(played(start=LOGIN).evidence())
    assert read_check({"never": ["USER"]}).holds(played("STAT", start=LOGIN).evidence())
    assert not read_check({"dropped": True}).holds(played(start=(*LOGIN, ":drop")).evidence())
    assert not read_check({"waited": 1}).holds(played(start=(":wait 5",)).evidence())
    assert read_check({"marks": [1]}).holds(played(start=(*LOGIN, "DELE 1")).evidence())


BAD_CHECKS: list[tuple[dict[str, Any], str]] = [
    ({}, "one-check"),
    ({"marks": [], "tls": True}, "one-check"),
    ({"marked": [1]}, "unknown field `marked`"),
    ({"replied": {}}, "replied {'form'"),
    ({"replied": ["STAT"]}, "got `array` - at `$.replied`"),
    ({"replied": {"colour": "red"}}, "unknown field `colour`"),
    ({"replied": {"ok": "yes"}}, "Expected `bool | null`, got `str` - at `$.replied.ok`"),
    ({"replied": {"least": "two"}}, "Expected `int`, got `str` - at `$.replied.least`"),
    ({"replied": {"command": "stat"}}, "no-command"),
    ({"replied": {"command": "TOP 1"}}, "no-command"),
    ({"replied": {"command": 3}}, "got `int` - at `$.replied.command`"),
    ({"replied": {"state": "ASLEEP"}}, "Invalid enum value 'ASLEEP' - at `$.replied.state`"),
    ({"replied": {"after": 1}}, "got `int` - at `$.replied.after`"),
    ({"sent_first": ""}, "no-command"),
    ({"in_order": []}, "`array` of length >= 1"),
    ({"in_order": "STAT"}, "got `str`"),
    ({"in_order": ["STAT", "FROB"]}, "no-command {'name': \"'FROB'\"}"),
    ({"never": [["STAT"]]}, "Expected `str`, got `array` - at `$.never[0]`"),
    ({"together": [" ", "STAT"]}, "no-command {'name': \"''\"}"),
    ({"steps": [{"ok": True}]}, "`array` of length >= 2"),
    ({"at_most": -1}, "`int` >= 0"),
    ({"at_most": True}, "got `bool`"),
    ({"at_most": "4"}, "got `str`"),
    ({"state": "transaction"}, "Invalid enum value 'transaction'"),
    ({"state": ["CLOSED"]}, "got `array`"),
    ({"marks": 1}, "got `int`"),
    ({"marks": [0]}, "`int` >= 1 - at `$.marks[0]`"),
    ({"retrieved": [True]}, "got `bool`"),
    ({"maildrop": ["1"]}, "got `str`"),
    ({"tls": 1}, "got `int`"),
    ({"dropped": "no"}, "got `str`"),
    ({"waited": 1.5}, "got `float`"),
]


@over("raw, reason", BAD_CHECKS)
def test_a_bad_check_is_refused_in_words(raw: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_check(raw)
    assert reason in str(caught.value)


# -- conditions --------------------------------------------------------------------------------------------------------

_LOGIN = ("USER learner", "PASS secret")
#: The condition, lines, and the reply to the last of them.
TRIED: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"in_use": True}, _LOGIN, "-ERR [IN-USE]"),
    ({"login_delay": 60}, (*_LOGIN, "QUIT", ":connect", *_LOGIN), "-ERR [LOGIN-DELAY]"),
    ({"login_delay": 60}, (*_LOGIN, "QUIT", ":wait 61", ":connect", *_LOGIN), "+OK"),
    ({"temp_failure": True}, _LOGIN, "-ERR [SYS/TEMP]"),
    ({"perm_failure": True}, _LOGIN, "-ERR [SYS/PERM]"),
    ({"update_fails": True}, (*_LOGIN, "DELE 1", "QUIT"), "-ERR [SYS/TEMP]"),
    ({"update_fails": True}, (*_LOGIN, "QUIT"), "+OK"),
    ({"require_tls": True}, _LOGIN, "-ERR"),
    ({"require_tls": True}, ("STLS", *_LOGIN), "+OK"),
    ({"without": ["TOP"]}, (*_LOGIN, "TOP 1 0"), "-ERR"),
    ({"without": ["UIDL"]}, (*_LOGIN, "TOP 1 0"), "+OK"),
    ({"mechanisms": ["CRAM-MD5"]}, ("AUTH PLAIN",), "-ERR"),
    ({"mechanisms": ["CRAM-MD5"]}, ("AUTH CRAM-MD5", "*"), "+ "),
    ({"mechanisms": ["SCRAM-SHA-256"], "iterations": 5000}, ("AUTH SCRAM-SHA-256 biwsbj14LHI9eQ==", "*"), "+ "),
    ({"line_goes_dead_after": 3}, (*_LOGIN, "STAT"), "+OK"),
    ({"line_goes_dead_after": 3}, (*_LOGIN, "STAT", "STAT", ":drop"), ""),
]


@over("raw, lines, reply", TRIED)
def test_a_condition_is_what_the_server_does(raw: dict[str, Any], lines: tuple[str, ...], reply: str) -> None:
    last = played(*lines, conditions=raw).exchanges[-1]
    assert (last.status_line().decode() if last.response else "").startswith(reply)
    assert bool(last.response) == bool(reply)


def test_every_condition_is_tried_and_is_one_of_the_servers() -> None:
    assert {name for raw, _, _ in TRIED for name in raw} == FAULTS.keys()


@over(
    "raw, reason",
    [
        ({"on_fire": True}, "`on_fire` is unknown; there are `in_use, iterations, "),
        ({"without": "TOP"}, "a list of names in `[ ]` is wanted (`without`)"),
        ({"login_delay": "60"}, "a whole number from 0 on is wanted (`login_delay`)"),
        ({"mechanisms": ["PLAIN", "NTLM"]}, "`NTLM` is unknown; there are `EXTERNAL, SCRAM-SHA-256-PLUS, "),
        ({"iterations": 0}, "a whole number from 1 on is wanted (`iterations`)"),
        ({"in_use": 1}, "`true` or `false` is wanted (`in_use`)"),
    ],
)
def test_a_bad_condition_is_refused_in_words(raw: dict[str, Any], reason: str) -> None:
    with pytest.raises(Flaw) as caught:
        read_faults(raw)
    assert catalogs.in_words(caught.value, EN).startswith(reason)


# -- answers and predictions -------------------------------------------------------------------------------------------


def answered(answers: tuple[str, ...], seen: bool, evidence: Evidence) -> bool:
    asked = exercise(kind=ExerciseKind.ANSWER, answers=answers, seen=seen)
    return is_solved(asked, evidence, VOCABULARY)


@over("given", ["762", " 762 ", "７６２", "762 Octets", "762　octets", "762  OCTETS"])
def test_how_an_answer_is_written_does_not_count(given: str) -> None:
    asked = Evidence(tuple(play(*LOGIN)), answer=given)
    assert answered(("762", "762 octets"), False, asked)


def test_an_answer_has_to_stand_in_a_reply() -> None:
    asked = tuple(play(*LOGIN, "STAT"))
    assert answered(("7528",), True, Evidence(asked, answer="7528"))
    assert not answered(("7528",), True, Evidence(asked[:1], answer="7528"))
    assert not answered(("7528",), True, Evidence(asked, answer="1"))
    assert not answered(("7528",), True, Evidence(asked))
    assert not answered((), False, Evidence(asked, answer=""))
    assert normal("ＯＫ  Yes") == "ok yes"


def test_an_answer_counts_when_it_is_given_and_not_later() -> None:
    question = {"kind": ExerciseKind.ANSWER, "answers": ("7",), "start": LOGIN}
    assert not played(":answer 7", "STAT", **question).solved
    assert played("STAT", ":answer 7", **question).solved
    assert played("STAT", ":answer 7", "QUIT", **question).solved
    assert played(":answer 7", seen=False, **question).solved


@over(
    "text, said",
    [
        ("+OK TRANSACTION many", Prediction(True, State.TRANSACTION, True)),
        ("one, authorization, -err", Prediction(False, State.AUTHORIZATION, False)),
        ("－ＥＲＲ、update、單行", Prediction(False, State.UPDATE, False)),
        ("ok closed 多行", Prediction(True, State.CLOSED, True)),
        ("err 一行", Prediction(False, None, False)),
        ("I think +OK", Prediction(True, None, None)),
        ("", Prediction()),
    ],
)
def test_a_prediction_is_read_in_any_order(text: str, said: Prediction) -> None:
    assert VOCABULARY.prediction(text) == said
    assert said.complete == (None not in (said.ok, said.state, said.many))


def test_what_a_prediction_got_wrong() -> None:
    stat = play(*LOGIN, "STAT")[-1]
    assert Prediction(True, State.TRANSACTION, False).faults(stat) == []
    assert Prediction(False, State.UPDATE, True).faults(stat) == ["status", "state", "lines"]
    assert Prediction(True, State.UPDATE, False).faults(stat) == ["state"]
    quit_ = play(*LOGIN, "QUIT")[-1]
    before_login = play("QUIT")[-1]
    assert [Prediction(True, state, False).faults(quit_) for state in State] == [[], ["state"], ["state"], []]
    assert [Prediction(True, state, False).faults(before_login) for state in State] == [[], *[["state"]] * 3]
    silent = played(*LOGIN, ":drop", conditions={"line_goes_dead_after": 1}).exchanges[-1]
    assert silent.response is None
    assert Prediction(True, State.UPDATE, False).faults(silent) == ["status", "state", "lines"]


@over(
    "one, other, same",
    [
        ("STAT", "stat", True),
        ("retr  1", "RETR 1", True),
        ("PASS Secret", "pass Secret", True),
        ("PASS Secret", "PASS secret", False),
        ("RETR 1", "RETR 2", False),
        ("auth plain =", "AUTH PLAIN =", True),
        ("LANG ZH-hant", "lang zh-Hant", True),
        ("AUTH PLAIN abc", "AUTH PLAIN ABC", False),
        ("", "", True),
        ("", "STAT", False),
        ("QUIT PLEASE", "quit please", True),
        ("PASS a B", "PASS a b", False),
    ],
)
def test_lines_that_say_the_same(one: str, other: str, same: bool) -> None:
    assert same_line(one, other) == same


# -- an exercise under way ---------------------------------------------------------------------------------------------


def test_a_prediction_is_held_sent_and_compared() -> None:
    guess = {"kind": ExerciseKind.PREDICT, "line": "STAT"}
    under_way = played("STAT", **guess)
    assert [e for e in under_way.exchanges if e.command] == []  # held
    assert under_way.play([":answer -ERR AUTHORIZATION one"])
    assert not played("STAT", ":answer +OK AUTHORIZATION one", **guess).solved
    assert not played("STAT", ":answer -ERR", **guess).solved
    assert not played("QUIT", ":answer -ERR AUTHORIZATION one", **guess).solved  # nothing comes any more
    twice = played("STAT", ":answer -ERR UPDATE one", "STAT", **guess)
    assert [e.name for e in twice.exchanges if e.command] == ["STAT"]  # a wrong one is made anew
    assert twice.play([":answer -ERR AUTHORIZATION one"])
    assert [e.name for e in played("STAT", ":answer -ERR", **guess).exchanges if e.command] == []  # not all was said


def test_start_is_played_and_a_prediction_in_it_is_not_held() -> None:
    under_way = played(kind=ExerciseKind.PREDICT, line="STAT", start=(*LOGIN, "STAT"))
    assert [e.name for e in under_way.start if e.command] == ["USER", "PASS", "STAT"]
    assert under_way.exchanges == ()
    assert under_way.line.connection.state is State.TRANSACTION


def test_what_was_solved_stays_solved() -> None:
    first = [{"sent_first": "QUIT"}]
    assert played("STAT", check=first, start=LOGIN).attempt.beyond_mending()
    assert not played(":wait 5", check=first, start=LOGIN).attempt.beyond_mending(), "QUIT can still be the first"
    assert played(":drop", check=[{"dropped": False}], start=LOGIN).attempt.beyond_mending()
    under_way = played("DELE 1", check=[{"marks": [1]}], start=LOGIN)
    assert under_way.solved
    assert under_way.play(["RSET"])


def test_lines_after_the_end_go_nowhere() -> None:
    under_way = played("QUIT", "STAT", ":drop", ":wait 5", start=LOGIN)
    assert [e.name for e in under_way.exchanges] == ["QUIT"]
    assert not under_way.evidence().dropped


def test_the_line_goes_dead_by_autologout() -> None:
    assert not played(":wait 599", start=LOGIN).evidence().dropped
    gone = played("DELE 1", ":wait 601", start=LOGIN)
    assert gone.evidence().dropped
    assert gone.evidence().state is State.CLOSED
    assert gone.evidence().maildrop == (1, 2, 3, 4, 5, 6, 7)  # RFC 1939 §3: autologout does not enter UPDATE


def test_placeholders() -> None:
    given = exercise(account=("mei", "kettle"))
    digest = hashlib.md5(f"{STAMP}kettle".encode()).hexdigest()
    blob = base64.b64encode(b"\0mei\0kettle").decode()
    assert placed("A <stamp> B <apop> C <auth-plain> <port> {x}", given, STAMP) == (
        f"A {STAMP} B {digest} C {blob} 110 {{x}}"
    )
    assert "<" not in placed("<stamp><auth-plain>", given, None)
    solved = {"check": [{"state": "TRANSACTION"}], "account": ("mei", "kettle")}
    assert played("APOP mei <apop>", **solved).solved
    assert played(":apop mei", **solved).solved
    assert played("AUTH PLAIN <auth-plain>", **solved).solved
    assert played("AUTH PLAIN", "<auth-plain>", **solved).solved


def test_each_kind_is_judged_by_its_own() -> None:
    nothing = Evidence()
    assert is_solved(exercise(), nothing, VOCABULARY)
    assert not is_solved(exercise(kind=ExerciseKind.PREDICT), nothing, VOCABULARY)
    assert is_solved(exercise(kind=ExerciseKind.PREDICT), Evidence(predicted=True), VOCABULARY)
    assert not is_solved(exercise(kind=ExerciseKind.ANSWER, answers=("x",), seen=False), nothing, VOCABULARY)
    assert is_solved(exercise(kind=ExerciseKind.ANSWER, answers=("x",), seen=False), Evidence(answer="X"), VOCABULARY)
    assert not is_solved(exercise(kind=ExerciseKind.REPAIR, check=[{"tls": True}]), nothing, VOCABULARY)


def test_each_entry_has_a_server_of_its_own() -> None:
    one, other = played("DELE 1", "QUIT", start=LOGIN), played(start=LOGIN)
    assert one.evidence().maildrop == (2, 3, 4, 5, 6, 7)
    assert other.evidence().maildrop == (1, 2, 3, 4, 5, 6, 7)
    with pytest.raises(LessonError, match=r"missing-maildrop.*moon"):
        exercise_server(catalog(), exercise(maildrop="moon"), lambda: 0.0)


# -- a lesson's file ---------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "My Course!"
    folder.mkdir()
    assert new_lesson(folder, "01-first", EN) == 0
    capsys.readouterr()
    return folder


def both(root: Path) -> Catalog:
    return Catalog((root, bundled()))


@contextmanager
def kept(root: Path) -> Iterator[None]:
    """The lesson is afterwards what it was before."""
    path = root / "en/01-first.md"
    text = path.read_text()
    try:
        yield
    finally:
        path.write_text(text)


def change(root: Path, old: str, new: str, path: str = "en/01-first.md") -> int:
    """Replace `old`; gives the line on which it stood."""
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def test_a_lesson_as_data(root: Path) -> None:
    lesson = read_lesson(both(root), "01-first", "en")
    assert (lesson.name, lesson.id, lesson.title, lesson.stale) == ("01-first", "first", "A new lesson", False)
    assert [e.kind.value for e in lesson.exercises] == ["answer", "predict", "do", "do"]
    assert lesson.find("count") is lesson.exercises[0]
    assert lesson.find("nothing") is None
    assert lesson.exercises[0].wrong[0].say == "one-too-many"
    chinese = read_lesson(both(root), "01-first", "zh-Hant")
    assert chinese.exercises == lesson.exercises
    assert chinese.prose.keys() == lesson.prose.keys()
    assert chinese.title != lesson.title
    assert not chinese.stale


def test_a_translation_that_is_old_or_missing(root: Path) -> None:
    change(root, "Take all marks back.", "Take back all the marks.")
    assert read_lesson(both(root), "01-first", "zh-Hant").stale
    assert not read_lesson(both(root), "01-first", "en").stale
    mark_translated(root)
    assert not read_lesson(both(root), "01-first", "zh-Hant").stale
    (root / "zh-Hant" / "01-first.md").unlink()
    lesson = read_lesson(both(root), "01-first", "zh-Hant")
    assert (lesson.stale, lesson.title) == (True, "A new lesson")
    assert fingerprint("a") != fingerprint("b")
    assert len(fingerprint("a")) == 16


BROKEN: list[tuple[str, str, str, int]] = [
    ('kind = "answer"', 'kind = "sing"', "(`$.exercise[0].kind`); there are `do, predict, answer, repair`", 0),
    ('kind = "answer"', 'kind = "answer"\naccount = "nobody"', "written NAME:PASSWORD (exercise `count`)", -1),
    ('kind = "answer"', "kind = 7", "a text in quotes is wanted", 0),
    ('answer = ["7"]', "answer = [7]", "a text in quotes is wanted", 0),
    ('answer = ["7"]', 'answers = ["7"]', "`answers` is unknown", 0),
    ('solution = ["STAT", ":answer 7"]', "", "`solution` is missing", -5),
    ('title = "A new lesson"', "title = 3", "a text in quotes is wanted", 0),
    ('title = "A new lesson"', 'titel = "A new lesson"', "`titel` is unknown", 0),
    (
        'kind = "answer"',
        'kind = "answer"\nconditions = { on_fire = true }',
        "`on_fire` is unknown; there are",
        -1,
    ),
    (
        "check = [{ marks = [2] }]",
        'check = [{ marks = "2" }]',
        "(`$.exercise[2].check[0].marks`) (exercise `mark`)",
        0,
    ),
    (
        "check = [{ marks = [2] }]",
        "check = [{ marked = [2] }]",
        "check[0]`); there are `replied, ",
        0,
    ),
    ('wrong = [{ lines = ["DELE 1"], say', 'wrong = [{ line = ["DELE 1"], say', "`line` is unknown", None),  # type: ignore[list-item]
]


@over("old, new, reason, shift", BROKEN)
def test_a_bad_head_is_named_with_its_line(old: str, new: str, reason: str, shift: int | None, root: Path) -> None:
    with kept(root):
        line = change(root, old, new)
        with pytest.raises(LessonError) as caught:
            read_lesson(both(root), "01-first", "en")
    error = caught.value
    said = catalogs.in_words(error, EN)
    assert reason in said
    assert said.startswith(f"en/01-first.md:{error.line}: ")
    assert shift is None or error.line == line + shift


@over(
    "data, line, reason",
    [
        (b"no head\n", 1, "between two lines that hold `+++`"),
        (b"+++\nid = 1\n", 1, "between two lines that hold `+++`"),
        (b'+++\nid = "x\n+++\n', 2, "not closed"),
        (b'+++\nid = "x"\nid = "y"\n+++\n', 3, "stands there twice"),
        (b"\xff\xfe", 0, "not UTF-8"),
        (b'+++\nid = "x"\ntitle = "x"\nteaches = []\nexercise = []\n+++\n', 1, "A lesson has exercises"),
    ],
)
def test_what_is_no_lesson_is_named(data: bytes, line: int, reason: str, root: Path) -> None:
    (root / "en/01-first.md").write_bytes(data)
    with pytest.raises(LessonError) as caught:
        read_lesson(both(root), "01-first", "en")
    assert caught.value.line == line
    assert reason in catalogs.in_words(caught.value, EN)


def test_a_file_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(catalogs, "read_file", denied)
    with pytest.raises(LessonError, match="Permission denied"):
        read_lesson(both(root), "01-first", "en")


# -- prose -------------------------------------------------------------------------------------------------------------


def prose_of(body: str) -> tuple[str, dict[str, Prose]]:
    return read_prose(Document("x.md", f"+++\n+++\n{body}"))


def test_prose_is_cut_at_its_headings() -> None:
    text, prose = prose_of(
        "Before.\n\n### not an exercise's\n\n## a\nTask\n\n### hint\none\n### hint\ntwo\n### solved\nSo it is.\n"
        "### wrong x-y\nno\n### wrong\nalways no\n### mystery\nlost\n"
        "```\n## in a fence\n### hint\n```\n~~~\n## and here\n~~~\n## b\n#### deep\nTask of b.\n## a\nAgain.\n"
    )
    assert text == "Before.\n\n### not an exercise's"
    assert list(prose) == ["a", "b"]
    assert prose["a"].task == "Again."
    assert prose["a"].hints == ("one", "two")
    assert prose["a"].solved == "So it is."
    assert prose["a"].wrong == {"x-y": "no", "": "always no"}
    assert prose["b"].task == "#### deep\nTask of b."
    assert prose_of("") == ("", {})
    assert prose_of("## only") == ("", {"only": Prose()})


@over(
    "task, headline",
    [
        ("Say `QUIT`. Then rest.", "Say `QUIT`."),
        ("What is it? I ask.", "What is it?"),
        ("一句話。第二句。", "一句話。"),
        ("No end\n\nnext paragraph", "No end"),
        ("Two\nlines here. x", "Two lines here."),
        ("RFC 1939 is 1.5 old", "RFC 1939 is 1.5 old"),
        ("", ""),
    ],
)
def test_the_headline_is_the_first_sentence(task: str, headline: str) -> None:
    assert Prose(task).headline == headline


# -- the course's file -------------------------------------------------------------------------------------------------


def test_a_lesson_is_found_by_name_word_and_number() -> None:
    course = Course("c", ("01-greeting", "02-dots"))
    assert [course.find(wanted) for wanted in ("02-dots", "dots", "2", "02")] == ["02-dots"] * 4
    assert course.find("3") is None
    assert course.find("") is None


@over(
    "text, reason",
    [
        ("id = 1\nlessons = []", "a text in quotes is wanted"),
        ('id = "x"', "lessons"),
        ('id = "x"\nlessons = []', "no lessons"),
        ('id = "x"\nlessons = ["a"]\ncolour = 1', "`colour` is unknown"),
        ("id = ", "what stands after `=` is no value"),
        ("a = " + "[" * 30 + "]" * 30, "nested too deep"),
        ('id = "x"\nlessons = ["../a"]', "no lesson's name"),
    ],
)
def test_a_bad_course_is_refused_in_words(text: str, reason: str, root: Path) -> None:
    (root / "course.toml").write_text(text)
    with pytest.raises(LessonError) as caught:
        read_course(both(root))
    assert reason in catalogs.in_words(caught.value, EN)
    assert caught.value.path == "course.toml"


def test_no_course_at_all(tmp_path: Path) -> None:
    with pytest.raises(LessonError) as caught:
        read_course(Catalog((tmp_path,)))
    assert caught.value.code == "missing-course"
    (tmp_path / "course.toml").write_bytes(b"\xff")
    with pytest.raises(LessonError) as caught:
        read_course(Catalog((tmp_path,)))
    assert "not UTF-8" in catalogs.in_words(caught.value, EN)
    with pytest.raises(LessonError) as caught:
        read_lesson(Catalog((tmp_path,)), "01-x", "en")
    assert caught.value.code == "missing-lesson"


def test_a_strangers_course_may_not_have_our_id(tmp_path: Path) -> None:
    """It would mark, and could wipe, a learner's progress in ours."""
    (tmp_path / "course.toml").write_text('id = "pop3"\nlessons = ["01-x"]\n')
    with pytest.raises(LessonError) as caught:
        read_course(Catalog((tmp_path, bundled())))
    assert caught.value.code == "course-id-taken"
    for language in LANGUAGES:
        said = catalogs.in_words(caught.value, Catalog((bundled(),)).words(language))
        assert said.startswith("course.toml:1: `pop3`"), said


@over("text, number", [
        ("6", 6), ("6 letters", 6), ("message 6", 6), ("第 6 封", 6), ("7封信", 7), ("1,285 octets", 1285), ("six", 6),
        ("Thirteen cakes", 13), ("六封", 6), ("十三個", 13), ("兩分鐘", 2), ("十", 10), ("６", 6), ("47 號包裹", 47),
        ("6 of 7", None), ("none", None), ("", None), ("6.5", None), ("letters", None), ("二十三", None),
    ])  # fmt: skip
def test_the_one_number_in_an_answer(text: str, number: int | None) -> None:
    assert VOCABULARY.number_in(text) == number


def test_a_number_counts_with_any_unit_but_no_other_number_does() -> None:
    assert VOCABULARY.is_answer(("6", "6 messages"), "six letters")
    assert not VOCABULARY.is_answer(("6",), "7 letters")
    assert not VOCABULARY.is_answer(("6",), "6 or 7")
    assert not VOCABULARY.is_answer(("STLS",), "6")


def test_a_course_in_a_zip(tmp_path: Path) -> None:
    """A zipped package has lessons, too: nothing asks for a Path."""
    source = Path(str(bundled()))
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("course.toml", "en/01-greeting.md", "en/messages.toml", "en/replies.toml", "zh-Hant/replies.toml"):
            archive.write(source / name, name)
        for mail in (source / "maildrops" / "default").glob("*.eml"):
            archive.write(mail, f"maildrops/default/{mail.name}")
    zipped = Catalog((zipfile.Path(tmp_path / "p.zip"),))  # type: ignore[arg-type]
    assert read_course(zipped).lessons[0] == "01-greeting"
    lesson = read_lesson(zipped, "01-greeting", "en")
    assert Rehearsal(zipped, lesson.exercises[0]).play(lesson.exercises[0].solution)


# -- a new lesson, and a teacher's first hour --------------------------------------------------------------------------


def test_a_new_lesson_names_itself_in_the_course(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    course = read_course(both(root))
    assert re.fullmatch("my-course-[0-9a-f]{6}", course.id)
    assert course == Course(course.id, ("01-first",))
    other = root / "other" / root.name
    other.mkdir(parents=True)
    assert new_lesson(other, "01-first", EN) == 0
    assert read_course(both(other)).id != course.id  # progress is kept by it
    assert new_lesson(root, "02-second", EN) == 0
    assert read_course(both(root)).lessons == ("01-first", "02-second")
    (root / "course.toml").write_text('id = "x"\nlessons = []\n')
    assert new_lesson(root, "03-third", EN) == 0
    (root / "course.toml").write_text('id = "x"\nlessons = ["03-third"]\n')
    assert new_lesson(root, "04-fourth", EN) == 0
    assert read_course(both(root)).lessons == ("03-third", "04-fourth")
    (root / "course.toml").write_text('languages = ["zh-Hant"]\n')  # as the how-to says
    assert new_lesson(root, "05-fifth", EN) == 0
    course = read_course(both(root))
    assert re.fullmatch("my-course-[0-9a-f]{6}", course.id)
    assert (course.lessons, course.languages) == (("05-fifth",), ("zh-Hant",))
    assert capsys.readouterr().err == ""


@over("languages", [("zh-Hant",), ("en",), ("zh-Hant", "en"), ("en", "zh-Hant")])
@over("order", [False, True])
def test_a_new_lesson_is_in_the_languages_of_its_course(
    languages: tuple[str, ...], order: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their line may stand before that of the lessons or after it; the first language holds the facts."""
    root = tmp_path / f"{'-'.join(languages)}{order}"
    root.mkdir()
    rows = [f"languages = {list(languages)}", "lessons = []"]
    (root / "course.toml").write_text("\n".join(['id = "kurs"', *(rows[::-1] if order else rows), ""]))
    assert new_lesson(root, "01-first", EN) == 0
    assert new_lesson(root, "02-second", EN) == 0
    assert {path.parent.name for path in root.rglob("*.md")} == {*languages}
    assert read_course(both(root)).lessons == ("01-first", "02-second")
    assert faults(root) == []
    capsys.readouterr()


@over("name", ["first", "1-first", "01-", "01-First", "01-a/b", "../01-a", "01-a\n", ""])
def test_a_bad_name_makes_nothing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_lesson(tmp_path, name, EN) == 2
    assert "NN-name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "en").write_text("a file")
    assert new_lesson(tmp_path, "01-a", EN) == 2
    assert "cannot be written" in capsys.readouterr().err


def faults(root: Path) -> list[str]:
    return in_words(examine(root).findings, EN)


def test_a_teachers_first_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lesson new`, cut down to two exercises of one's own, then three mistakes: each is named with its line."""
    root = tmp_path / "lessons"
    assert new_lesson(root, "01-mine", EN) == 0
    capsys.readouterr()
    for tag, title, tasks in (
        ("en", "My lesson", ("Count.", "Mark 2.")),
        ("zh-Hant", "我的課", ("數一數。", "標記 2。")),
    ):
        facts = """id = "mine"
title = "My lesson"
teaches = ["STAT", "DELE"]

[[exercise]]
id = "count"
kind = "answer"
start = ["USER learner", "PASS secret"]
answer = ["7"]
solution = ["STAT", ":answer 7"]

[[exercise]]
id = "mark"
kind = "do"
start = ["USER learner", "PASS secret"]
check = [{ marks = [2] }]
solution = ["DELE 2"]
"""
        head = facts if tag == "en" else f'title = "{title}"\n'
        parts = [
            f"## {name}\n{task}\n\n### hint\n`{hint}`\n\n### solved\nRFC 1939 §5\n"
            for name, task, hint in zip(("count", "mark"), tasks, ("STAT", "DELE 2"), strict=True)
        ]
        (root / tag / "01-mine.md").write_text("+++\n" + head + "+++\n" + f"{title}.\n\n" + "\n".join(parts))
    mark_translated(root)
    assert faults(root) == []

    mine = "en/01-mine.md"
    change(root, "{ marks = [2] }", "{ marks = [3] }", mine)  # the solution marks 2
    change(root, "### hint\n`STAT`\n\n", "", mine)
    change(root, "§5", "§55", mine)
    mark_translated(root)
    answer, hint, section = (line((root / mine).read_text(), text) for text in ('id = "mark"', "## count", "§55"))
    said = faults(root)
    assert any(text.startswith(f"en/01-mine.md:{answer}: ") and "solution" in text for text in said), said
    assert any(text.startswith(f"en/01-mine.md:{hint}: ") and "hint" in text for text in said), said
    assert any(text.startswith(f"en/01-mine.md:{section}: ") and "55" in text for text in said), said
    assert {text.partition(":")[0] for text in said} <= {"en/01-mine.md", "zh-Hant/01-mine.md"}


@over(
    "old, new, key",
    [
        ('answer = ["7"]\n', "", "answer"),
        ('line = "RETR 1"\n', "", "line"),
        ("check = [{ marks = [2] }]\n", "", "check"),
        ('solution = ["DELE 2"]', "solution = []", "solution"),
        ('kind = "do"', 'kind = "repair"', "failed"),
    ],
)
def test_lint_says_what_each_kind_needs(old: str, new: str, key: str, root: Path) -> None:
    with kept(root):
        change(root, old, new)
        mark_translated(root)
        assert any(found.code == "kind-needs" and found.facts["key"] == key for found in examine(root).findings)


def test_lint_plays_what_failed_and_what_goes_out_ahead(root: Path) -> None:
    """A failed dialogue that passes is a wrong turn that passes; capabilities and codes are met by using them."""
    change(
        root, 'teaches = ["STAT"', 'teaches = ["PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "[AUTH]", "CAPA", "STAT"'
    )
    change(root, 'lines = ["DELE 1"]', 'lines = [":connect", "PASS x", "USER learner", "PASS wrong", "CAPA\\nDELE 1"]')
    mark_translated(root)
    assert faults(root) == []
    change(root, 'kind = "do"', 'kind = "repair"\nfailed = ["DELE 2"]')
    mark_translated(root)
    assert [found.code for found in examine(root).findings] == ["wrong-passes"]


def test_lint_of_what_is_only_half_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "zh-Hant" / "01-first.md").unlink()
    assert [found.code for found in examine(root).findings] == ["missing-file"]
    (root / "en" / "01-first.md").rename(root / "zh-Hant" / "01-first.md")
    assert {found.code for found in examine(root).findings} >= {"missing-file"}
    new_lesson(root, "02-second", EN)
    text = (root / "zh-Hant" / "02-second.md").read_text().split("\n")
    (root / "zh-Hant" / "02-second.md").write_text("\n".join(row for row in text if not row.startswith("title")))
    assert "missing-key" in {found.code for found in examine(root).findings}
    (root / "zh-Hant" / "02-second.md").write_text("no head")
    assert "bad-head" in {found.code for found in examine(root).findings}
    (root / "course.toml").unlink()
    assert examine(root).findings


def line(text: str, wanted: str) -> int:
    return text[: text.index(wanted)].count("\n") + 1
