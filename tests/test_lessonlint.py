"""Lint of lessons: a sound course has no fault; a broken one for each rule brings just that rule, with its line."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from stage import METAS
from support import over
from test_lint import CASES

from popshell.course.catalog import Catalog, bundled
from popshell.course.lesson import META_LINES, Translation, new_lesson, read_lesson
from popshell.course.player import PLACEHOLDERS, placed
from popshell.lint.files import Finding
from popshell.lint.lessons import _metas
from popshell.lint.lint import RULES, examine, in_words, mark_translated, run_lint

WORDS, CHINESE = (Catalog((bundled(),)).words(language) for language in ("en", "zh-Hant"))
EN, ZH = "en/01-first.md", "zh-Hant/01-first.md"


@pytest.fixture
def course(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A course of one lesson, as `popshell lesson new` makes it."""
    assert new_lesson(tmp_path, "01-first", WORDS) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def courses(tmp_path: Path) -> Callable[[], Path]:
    """Makes such a course."""

    def make() -> Path:
        root = Path(tempfile.mkdtemp(prefix="course-", dir=tmp_path))
        assert new_lesson(root, "01-first", WORDS) == 0
        return root

    return make


def places(findings: Iterable[Finding]) -> list[tuple[str, str, int]]:
    return [(found.code, found.path, found.line) for found in findings]


def faults(root: Path) -> list[tuple[str, str, int]]:
    return places(examine(root).findings)


def line_of(path: Path, text: str) -> int:
    return next(at for at, row in enumerate(path.read_text().split("\n"), 1) if text in row)


def change(root: Path, path: str, old: str, new: str, *, mark: bool = True) -> int:
    """Replace `old`, which stands there, and mark the translation anew. Gives the line of the change."""
    text = (root / path).read_text()
    assert old in text
    line = text[: text.index(old)].count("\n") + 1
    (root / path).write_text(text.replace(old, new, 1))
    if mark:
        mark_translated(root)
    return line


def cut(root: Path, path: str, heading: str, exercise: str) -> None:
    """Take a section of an exercise's prose out."""
    text = (root / path).read_text()
    start = text.index(heading, text.index(f"## {exercise}\n"))
    end = re.compile(r"^#{2,3} ", re.M).search(text, start + len(heading))
    (root / path).write_text(text[:start] + (text[end.start() :] if end else ""))
    mark_translated(root)


def test_a_new_lesson_passes(course: Path) -> None:
    assert faults(course) == []
    assert run_lint(course, WORDS, write=lambda text: None) == 0


BREAKS: dict[str, Callable[[Path], tuple[str, str | int]]] = {}


def breaks(code: str) -> Callable[[Callable[[Path], tuple[str, str | int]]], None]:
    """Register a way to break a course; it gives the file of the fault, and its line or a text on that line."""

    def keep(way: Callable[[Path], tuple[str, str | int]]) -> None:
        BREAKS[f"{code}: {way.__name__}"] = way

    return keep


@breaks("bad-course")
def is_no_toml(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('id = "x"\nlessons = [1, \n')
    return "course.toml", 3


@breaks("bad-course")
def a_name_that_is_a_number(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('id = "x"\n\nlessons = [\n  "01-first",\n  1,\n]\n')
    return "course.toml", 3


@breaks("bad-course")
def no_lessons(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('id = "x"\n')
    return "course.toml", 1


@breaks("course-field")
def an_unknown_field(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('id = "x"\nlessons = ["01-first"]\ncolour = "red"\n')
    return "course.toml", 3


@breaks("bad-name")
def a_name_that_leads_out(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('id = "x"\nlessons = [\n  # "../x" is none\n  "01-first",\n  "../x",\n]\n')
    return "course.toml", 5


@breaks("listed-twice")
def a_lesson_listed_twice(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('id = "x"\nlessons = [\n  "01-first",\n  "01-first",\n]\n')
    return "course.toml", 4


@breaks("course-id-taken")
def the_id_of_the_bundled_course(root: Path) -> tuple[str, str | int]:
    (root / "course.toml").write_text('# mine\nid = "pop3"\nlessons = ["01-first"]\n')
    return "course.toml", 2


@breaks("bad-lesson")
def an_unknown_field_of_an_exercise(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'answer = ["7"]', 'answer = ["7"]\npionts = 3') + 1


@breaks("bad-lesson")
def an_unknown_check(root: Path) -> tuple[str, str | int]:
    change(root, EN, "{ marks = [2] }", "{ marked = [2] }")
    return EN, "{ marked = [2] }"


@breaks("bad-lesson")
def an_unknown_condition(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'kind = "do"', 'kind = "do"\nconditions = { on_fire = true }')
    return EN, 'id = "mark"'


@breaks("bad-lesson")
def an_unknown_kind(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'kind = "do"', 'kind = "sing"')


@breaks("bad-lesson")
def a_line_that_leaves_the_shell(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'solution = ["DELE 2"]', 'solution = ["DELE 2", ":quit"]')


@breaks("bad-lesson")
def a_line_that_writes_a_file(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'lines = ["DELE 1"]', 'lines = [":save /tmp/x"]')


@breaks("bad-lesson")
def a_line_that_goes_elsewhere(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, '"DELE 1", "DELE 2"]', '"DELE 1", ":connect evil.example"]')


@breaks("bad-lesson")
def a_meta_command_within_a_block(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'lines = ["DELE 1"]', 'lines = ["DELE 1\\n:quit"]')


@breaks("bad-lesson")
def a_meta_command_behind_a_blank(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'lines = ["DELE 1"]', 'lines = [" :quit"]')


@breaks("no-such-placeholder")
def a_placeholder_that_is_none(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'lines = ["DELE 1"]', 'lines = ["APOP learner <digest>"]')


@breaks("bad-lesson")
def a_capability_that_is_none(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'kind = "do"', 'kind = "do"\nconditions = { without = ["TIP"] }') + 1


@breaks("bad-lesson")
def a_condition_that_is_no_number(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'kind = "do"', 'kind = "do"\nconditions = { login_delay = "x" }')
    return EN, 'id = "mark"'


@breaks("bad-lesson")
def a_head_without_an_id(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'id = "template"\n' if 'id = "template"' in (root / EN).read_text() else 'id = "first"\n', "")
    return EN, 1


@breaks("bad-lesson")
def an_exercise_without_a_kind(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'id = "mark"\nkind = "do"', 'id = "mark"') - 1


@breaks("bad-lesson")
def a_number_among_the_lines_of_the_third_exercise(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'solution = ["DELE 2"]', "solution = [2]")


@breaks("bad-lesson")
def an_expression_as_a_check(root: Path) -> tuple[str, str | int]:
    change(root, EN, "{ marks = [2] }", "{ python = \"__import__('os')\" }")
    return EN, "{ python ="


@breaks("duplicate-id")
def two_exercises_of_one_id(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'id = "mark"', 'id = "guess"')
    rows = (root / EN).read_text().split("\n")
    return EN, [at for at, row in enumerate(rows, 1) if row == 'id = "guess"'][1]


@breaks("duplicate-id")
def two_lessons_of_one_id(root: Path) -> tuple[str, str | int]:
    assert new_lesson(root, "02-first", WORDS) == 0
    return "en/02-first.md", 2


@breaks("bad-id")
def an_id_that_nobody_can_type(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'id = "first"', 'id = "../x y"')


@breaks("bad-title")
def a_title_that_is_empty(root: Path) -> tuple[str, str | int]:
    text = (root / EN).read_text()
    old = text[text.index("title = ") :].partition("\n")[0]
    return EN, change(root, EN, old, 'title = " "')


@breaks("bad-title")
def a_title_in_the_translation_that_is_wider_than_a_line(root: Path) -> tuple[str, str | int]:
    text = (root / ZH).read_text()
    old = text[text.index("title = ") :].partition("\n")[0]
    return ZH, change(root, ZH, old, f'title = "{"很" * 40}"')


@breaks("bad-title")
def a_title_with_an_escape(root: Path) -> tuple[str, str | int]:
    text = (root / EN).read_text()
    old = text[text.index("title = ") :].partition("\n")[0]
    return EN, change(root, EN, old, 'title = "x\\u001b[2J"')


@breaks("unseen")
def a_direction_mark_in_prose(root: Path) -> tuple[str, str | int]:
    text = (root / EN).read_text()
    at = text.index("### hint") + len("### hint\n")
    return EN, change(root, EN, text[at : at + 30], "\u202e" + text[at : at + 30])


@breaks("no-exercise")
def a_lesson_without(root: Path) -> tuple[str, str | int]:
    text = (root / EN).read_text()
    (root / EN).write_text('+++\nid = "first"\ntitle = "x"\nteaches = []\nexercise = []\n+++\nText (RFC 1939 §5).\n')
    (root / ZH).write_text('+++\ntitle = "x"\n+++\n課文（RFC 1939 §5）。\n')
    assert text
    mark_translated(root)
    return EN, 1


@breaks("kind-needs")
def a_prediction_of_nothing(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'line = "RETR 1"\n', "")
    return EN, 'id = "guess"'


@breaks("missing-maildrop")
def a_maildrop_that_is_not_there(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'kind = "do"', 'kind = "do"\nmaildrop = "moon"')
    return EN, 'id = "mark"'


@breaks("missing-maildrop")
def the_lesson_s_own_is_said_once(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, 'title = "', 'maildrop = "trop"\ntitle = "')


@breaks("start-unheard")
def it_goes_on_behind_quit(root: Path) -> tuple[str, str | int]:
    old = 'start = ["USER learner", "PASS secret", "DELE 1"]\nline = "RETR 1"\n'
    return EN, change(root, EN, old, old.replace('"DELE 1"', '"DELE 1", "QUIT", "NOOP"'))


@breaks("start-unheard")
def a_flight_goes_on_behind_quit(root: Path) -> tuple[str, str | int]:
    old = 'start = ["USER learner", "PASS secret", "DELE 1"]\nline = "RETR 1"\n'
    return EN, change(root, EN, old, old.replace('"DELE 1"', '":flight QUIT | NOOP", ":connect"'))


@breaks("start-unheard")
def the_line_is_dead_from_the_start(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'kind = "do"', 'kind = "do"\nconditions = { line_goes_dead_after = 2 }')
    change(root, EN, "check = [{ marks = [2] }]", "check = [{ dropped = true }]")
    old = 'start = ["USER learner", "PASS secret"]\ncheck'
    line = change(root, EN, old, 'start = ["USER learner", "PASS secret", "DELE 2"]\ncheck')
    change(root, EN, 'solution = ["DELE 2"]', 'solution = [":drop"]')
    return EN, line


@breaks("solution-answers-not")
def it_gives_another_answer(root: Path) -> tuple[str, str | int]:
    change(root, EN, '":answer 7"', '":answer 6"')
    return EN, 'id = "count"'


@breaks("answer-unseen")
def it_does_not_ask(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'solution = ["STAT", ":answer 7"]', 'solution = ["NOOP", ":answer 7"]')
    return EN, 'id = "count"'


@breaks("predicts-nothing")
def it_only_sends_the_line(root: Path) -> tuple[str, str | int]:
    change(root, EN, '":answer -ERR TRANSACTION one"', '"NOOP"')
    return EN, 'id = "guess"'


@breaks("mispredicts")
def it_predicts_something_else(root: Path) -> tuple[str, str | int]:
    change(root, EN, '":answer -ERR TRANSACTION one"', '":answer +OK TRANSACTION many"')
    return EN, 'id = "guess"'


@breaks("solution-fails")
def it_marks_another(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'solution = ["DELE 2"]', 'solution = ["DELE 3"]')
    return EN, 'id = "mark"'


@breaks("prefix-passes")
def one_line_too_many(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'solution = ["DELE 2"]', 'solution = ["DELE 2", "STAT"]')
    return EN, 'id = "mark"'


@breaks("prefix-passes")
def solved_before_it_begins(root: Path) -> tuple[str, str | int]:
    change(root, EN, '"DELE 1", "DELE 2"]', '"DELE 1", "RSET"]')
    change(
        root, EN, 'check = [{ marks = [] }, { replied = { command = "RSET", ok = true } }]', "check = [{ marks = [] }]"
    )
    return EN, 'id = "take-back"'


@breaks("wrong-passes")
def a_wrong_turn_that_is_right(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'lines = ["DELE 1"]', 'lines = ["NOOP", "DELE 2"]')
    return EN, 'id = "mark"'


@breaks("wrong-is-right")
def a_wrong_answer_that_is_right(root: Path) -> tuple[str, str | int]:
    change(root, EN, 'lines = ["LIST 7", ":answer 8"]', 'lines = [":answer ７ "]')
    return EN, 'id = "count"'


@breaks("teaches-unknown")
def a_word_of_nothing(root: Path) -> tuple[str, str | int]:
    change(root, EN, '"RSET"]\n', '"RSET", "FROB"]\n')
    return EN, "teaches ="


@breaks("not-taught")
def a_command_that_no_exercise_uses(root: Path) -> tuple[str, str | int]:
    change(root, EN, '"RSET"]\n', '"RSET", "TOP"]\n')
    return EN, "teaches ="


@breaks("no-task")
def english_lacks_a_task(root: Path) -> tuple[str, str | int]:
    change(root, EN, "Mark message 2 as deleted.", "")
    return EN, "## mark"


@breaks("no-task")
def english_lacks_a_heading(root: Path) -> tuple[str, str | int]:
    for path in (EN, ZH):
        text = (root / path).read_text()
        (root / path).write_text(text[: text.index("## take-back")])
    mark_translated(root)
    return EN, line_of(root / EN, 'id = "take-back"') - 1


@breaks("no-hint")
def chinese_lacks_its_only_hint(root: Path) -> tuple[str, str | int]:
    cut(root, EN, "### hint", "guess")
    cut(root, ZH, "### hint", "guess")
    return EN, "## guess"


@breaks("no-solved")
def chinese_does_not_say_what_was_shown(root: Path) -> tuple[str, str | int]:
    cut(root, ZH, "### solved", "mark")
    return ZH, "## mark"


@breaks("no-wrong")
def chinese_lacks_a_wrong_turn(root: Path) -> tuple[str, str | int]:
    cut(root, ZH, "### wrong other-message", "mark")
    return ZH, "## mark"


@breaks("stray-wrong")
def a_wrong_turn_that_nobody_takes(root: Path) -> tuple[str, str | int]:
    change(root, ZH, "### wrong other-message", "### wrong nobody\n沒有人走。\n\n### wrong other-message")
    return ZH, "## mark"


@breaks("stray-exercise")
def prose_of_no_exercise(root: Path) -> tuple[str, str | int]:
    (root / ZH).write_text((root / ZH).read_text() + "\n## ghost\n幽靈。\n")
    return ZH, "## ghost"


@breaks("hints-differ")
def chinese_has_one_hint_less(root: Path) -> tuple[str, str | int]:
    cut(root, ZH, "### hint", "mark")
    return ZH, "## mark"


@breaks("commands-differ")
def chinese_asks_for_another_command(root: Path) -> tuple[str, str | int]:
    change(root, ZH, "`DELE 2`。", "`DELE 3`。")
    return ZH, "## mark"


@breaks("commands-differ")
def chinese_says_that_something_else_was_shown(root: Path) -> tuple[str, str | int]:
    change(root, ZH, "`DELE` 只", "`RSET` 只")
    return ZH, line_of(root / ZH, "`RSET` 只") - 1


@breaks("commands-differ")
def chinese_sends_another_way_after_a_wrong_turn(root: Path) -> tuple[str, str | int]:
    return ZH, change(root, ZH, "### wrong other-message\n", "### wrong other-message\n`:again`。")


@breaks("commands-differ")
def chinese_tells_of_another_command(root: Path) -> tuple[str, str | int]:
    change(root, ZH, "`STAT`", "`LIST`")
    return ZH, [at for at, row in enumerate((root / ZH).read_text().split("\n"), 1) if row == "+++"][1] + 1


@breaks("no-such-meta")
def chinese_names_a_meta_command_that_is_none(root: Path) -> tuple[str, str | int]:
    return ZH, change(root, ZH, "### wrong other-message\n", "### wrong other-message\n`:agian`。") + 1


@breaks("no-such-meta")
def english_names_a_meta_command_that_is_none(root: Path) -> tuple[str, str | int]:
    return EN, change(root, EN, "That was another message.", "That was another message: `:agian now`.")


@breaks("headline-wide")
def english_has_a_task_of_one_long_sentence(root: Path) -> tuple[str, str | int]:
    change(root, EN, "Mark message 2 as deleted.", f"Mark message 2 as {'really ' * 8}deleted.")
    return EN, "## mark"


@breaks("headline-wide")
def a_chinese_character_takes_two_columns(root: Path) -> tuple[str, str | int]:
    return ZH, change(root, ZH, "## mark\n", "## mark\n" + "標" * 30 + "。")


@breaks("translated-fact")
def a_fact_in_the_translation(root: Path) -> tuple[str, str | int]:
    change(root, ZH, 'title = "', 'id = "first"\ntitle = "')
    return ZH, "id ="


@breaks("stale")
def english_went_on(root: Path) -> tuple[str, str | int]:
    change(root, EN, "Take all marks back.", "Take back all the marks.", mark=False)
    return ZH, "translated_from"


@over("case", BREAKS)
def test_a_broken_course_is_named(case: str, courses: Callable[[], Path]) -> None:
    course = courses()
    path, where = BREAKS[case](course)
    code = case.partition(":")[0]
    findings = examine(course).findings
    found = places(findings)
    line = where if isinstance(where, int) else line_of(course / path, where)
    assert (code, path, line) in found, found
    # Nothing else is wrong, but for what follows from it.
    follows = {"no-hint": {"hints-differ"}}
    allowed = {code, *follows.get(code, set())}
    assert {c for c, _, _ in found} <= allowed, found
    texts = in_words(findings, WORDS)
    assert all("{" not in re.sub(r"`[^`]*`", "", text) for text in texts)


def test_every_code_of_the_rules_has_a_broken_copy() -> None:
    """Here, or among the pages of test_lint.py."""
    codes = {code for rule in RULES for code in rule.codes.split()}
    assert {case.partition(":")[0] for case in (*BREAKS, *CASES)} == codes


@over("deep", ["a = " + "[" * 3000 + "]" * 3000, "x = {a = " * 30 + "1" + "}" * 30])
def test_a_head_that_is_nested_too_deep_is_refused(deep: str, courses: Callable[[], Path]) -> None:
    """sec-D2: before the parser runs out of stack."""
    course = courses()
    text = (course / EN).read_text().split("\n")
    (course / EN).write_text("\n".join([text[0], deep, *text[1:]]))
    assert {"bad-head", "bad-lesson"} & {code for code, _, _ in faults(course)}
    (course / "course.toml").write_text(deep)
    assert "bad-course" in {code for code, _, _ in faults(course)}


def test_a_lesson_that_leads_out_of_the_folder_is_refused(course: Path) -> None:
    """sec-D6."""
    (course / "course.toml").write_text('id = "x"\nlessons = ["../../etc/passwd"]\n')
    assert {code for code, _, _ in faults(course)} == {"bad-name"}


#: What lint says of a broken course has what an author needs to put it right.
TELLS = {
    "bad-lesson: an_unknown_kind": "do, predict, answer, repair",
    "solution-fails: it_marks_another": "`marks = [2]`",
    "answer-unseen: it_does_not_ask": "stands in no reply",
    "solution-answers-not: it_gives_another_answer": "`7`",
    "mispredicts: it_predicts_something_else": "`-ERR TRANSACTION one`",
    "course-field: an_unknown_field": "`colour`; there are id, lessons",
    "listed-twice: a_lesson_listed_twice": "`01-first` is listed",
    "bad-lesson: a_line_that_leaves_the_shell": ":answer TEXT, :flight LINE | LINE, :wait SECONDS, :drop, :connect",
    "no-such-placeholder: a_placeholder_that_is_none": "<stamp>, <apop>, <auth-plain>, <port>",
    "bad-lesson: a_capability_that_is_none": "TOP, ",
    "bad-lesson: a_condition_that_is_no_number": "is wanted (`login_delay`)",
    "start-unheard: it_goes_on_behind_quit": "`NOOP` in `start`",
    "wrong-is-right: a_wrong_answer_that_is_right": "one of the right answers",
    "commands-differ: chinese_says_that_something_else_was_shown": "DELE, RSET",
    "no-such-meta: chinese_names_a_meta_command_that_is_none": "no meta command `:agian`",
    "headline-wide: a_chinese_character_takes_two_columns": "62 columns; 60",
    "missing-maildrop: the_lesson_s_own_is_said_once": "`trop`",
}


@over("case, advice", TELLS.items())
def test_it_is_said_what_to_do(case: str, advice: str, courses: Callable[[], Path]) -> None:
    course = courses()
    BREAKS[case](course)
    findings = examine(course).findings
    (said,) = in_words(findings, WORDS)
    assert advice in said
    assert in_words(findings, CHINESE) != [said]


def test_lesson_new_never_takes_the_id_of_the_bundled_course(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "POP3"
    assert new_lesson(root, "01-first", WORDS) == 0
    capsys.readouterr()
    assert faults(root) == []


def test_a_whole_copy_of_the_course_keeps_its_id(tmp_path: Path) -> None:
    """A checkout is the bundled course itself, wherever it lies."""
    root = tmp_path / "lessons"
    shutil.copytree(str(bundled()), root, ignore=shutil.ignore_patterns("[0-9][0-9]-*.md"))
    assert "course-id-taken" not in {code for code, _, _ in faults(root)}


def test_scaffold_leaves_what_is_there(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (course / EN).read_text()
    assert new_lesson(course, "01-first", WORDS) == 2
    assert new_lesson(course, "no name", WORDS) == 2
    assert (course / EN).read_text() == before
    assert new_lesson(course, "02-second", WORDS) == 0
    assert faults(course) == []
    assert '"01-first"' in (course / "course.toml").read_text()
    capsys.readouterr()


@over("line", ["RETR <1>", "USER <A@b>", "APOP learner <apop>", "AUTH PLAIN <auth-plain>", "<>"])
def test_what_is_no_placeholder_may_stand_in_brackets(line: str, courses: Callable[[], Path]) -> None:
    course = courses()
    change(course, EN, 'lines = ["DELE 1"]', f'lines = ["{line}"]')
    assert faults(course) == []


def test_start_may_use_the_line_in_every_way_that_is_answered(course: Path) -> None:
    lines = [
        ("AUTH PLAIN", "<auth-plain>", "QUIT", ":connect", "CAPA"),
        (":flight USER learner | PASS secret", ":drop", ":wait 5", ":connect"),
        ("STLS", ":apop learner", "NOOP\\nNOOP", ":connect", "FROB"),
    ]
    old = 'start = ["USER learner", "PASS secret", "DELE 1"]'
    for start in lines:
        new = f"start = {list(start)}".replace("'", '"').replace("\\\\", "\\")
        change(course, EN, old, new)
        assert "start-unheard" not in {code for code, _, _ in faults(course)}, start
        old = new


def test_the_list_of_meta_commands_is_that_of_the_shell() -> None:
    assert _metas() == set(METAS)
    assert {line.partition(" ")[0].removeprefix(":") for line in META_LINES} <= _metas()


def test_placeholders_are_those_that_are_filled_in(course: Path) -> None:
    exercise = read_lesson(Catalog((course, bundled())), "01-first", "en").exercises[0]
    text = " ".join(PLACEHOLDERS)
    assert not set(PLACEHOLDERS) & set(placed(text, exercise, "<1.2@x>").split())
    assert placed("<digest>", exercise, "<1.2@x>") == "<digest>"


@pytest.mark.parametrize("what", ["folder", "file", "pipe"])
def test_lesson_new_writes_nothing_outside(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, outside = tmp_path / "course", tmp_path / "outside"
    (root / "en").mkdir(parents=True)
    outside.mkdir()
    if what == "folder":
        (root / "zh-Hant").symlink_to(outside)
    elif what == "file":
        (root / "en" / "01-first.md").symlink_to(outside / "x.md")
    else:
        os.mkfifo(root / "course.toml")
    assert new_lesson(root, "01-first", WORDS) == 2
    assert capsys.readouterr().err
    assert not list(outside.iterdir())
    assert not [path for path in root.rglob("*.md") if path.is_file()]


def test_a_missing_translation_is_told_from_a_stale_one(course: Path) -> None:
    catalog = Catalog((course, bundled()))

    def read(language: str) -> tuple[Translation, bool]:
        lesson = read_lesson(catalog, "01-first", language)
        return lesson.translation, lesson.stale

    assert read("en") == (Translation.CURRENT, False)
    assert read("zh-Hant") == (Translation.CURRENT, False)
    change(course, EN, "Take all marks back.", "Take back all the marks.", mark=False)
    assert read("zh-Hant") == (Translation.STALE, True)
    (course / ZH).unlink()
    assert read("zh-Hant") == (Translation.MISSING, True)
    assert read("en") == (Translation.CURRENT, False)


def test_a_head_that_is_no_toml_is_told_once_with_the_line_of_the_file(course: Path) -> None:
    line = change(course, EN, 'kind = "answer"', "kind = answer", mark=False)
    assert faults(course) == [("bad-head", EN, line)]
    (said,) = in_words(examine(course).findings, WORDS)
    assert f"(line {line}, " in said
    assert run_lint(course, WORDS, fix=True, write=lambda text: None) == 1
    assert [code for code, _, _ in faults(course)] == ["bad-head"]
