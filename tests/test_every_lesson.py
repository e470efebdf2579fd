"""Every exercise of the course, generated from the files: it can be solved, and by nothing less.

What `popshell lint` proves, proved once more without its code; and what it does not: case, width and a wrong turn first
change nothing. The exercises are facts and the same in both languages, which one test proves; so they are played once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from learner import TAGS, catalog, course, lesson
from support import each

from popshell.course.lesson import Exercise, ExerciseKind
from popshell.course.player import Rehearsal
from popshell.protocol.commands import COMMANDS, State

#: Checks that count lines or look at the first: there a detour is a wrong turn by intention.
_STRICT = ("at_most", "sent_first", "flight", "never")


def exercises() -> Iterator[tuple[str, str]]:
    """Each exercise of the course: its lesson's name and its id."""
    for name in course().lessons:
        for exercise in lesson(name).exercises:
            yield name, exercise.id


def found(name: str, identity: str) -> Exercise:
    exercise = lesson(name).find(identity)
    assert exercise is not None
    return exercise


def solves(exercise: Exercise, lines: Iterable[str]) -> bool:
    return Rehearsal(catalog(), exercise).play(lines)


def test_both_languages_have_the_same_exercises_in_words_of_their_own() -> None:
    def check(name: str) -> None:
        english, chinese = lesson(name, "en"), lesson(name, "zh-Hant")
        assert english.exercises == chinese.exercises
        assert len(english.exercises) >= 4
        assert english.title != chinese.title
        assert re.search("[\u4e00-\u9fff]", chinese.text)

    assert len(course().lessons) == 19
    each(((name,) for name in course().lessons), check)


def test_every_exercise_can_be_solved_and_by_nothing_less() -> None:
    def check(name: str, identity: str) -> None:
        exercise = found(name, identity)
        whole = Rehearsal(catalog(), exercise)
        assert not whole.solved
        assert whole.play(exercise.solution)
        for count in range(len(exercise.solution)):
            assert not solves(exercise, exercise.solution[:count]), exercise.solution[:count]
        for wrong in exercise.wrong:
            assert not solves(exercise, wrong.lines), wrong
        if exercise.kind is ExerciseKind.REPAIR:
            assert exercise.failed
            assert not solves(exercise, exercise.failed)

    each(exercises(), check)


def test_every_exercise_has_all_its_words_in_both_languages() -> None:
    def check(name: str, identity: str, tag: str) -> None:
        exercise, prose = found(name, identity), lesson(name, tag).prose[identity]
        assert prose.task
        assert prose.solved
        assert prose.hints
        assert all(prose.hints)
        assert len(prose.hints) == len(lesson(name, "en").prose[identity].hints)
        assert set(prose.wrong) - {""} == {wrong.say for wrong in exercise.wrong}
        assert len(set(prose.hints)) == len(prose.hints)
        for wrong in exercise.wrong:
            assert prose.wrong[wrong.say]
        assert 0 < len(prose.headline) <= 80
        for text in (prose.task, *prose.hints, prose.solved, *prose.wrong.values()):
            assert not re.search(r"<(stamp|apop|auth-plain)>", text), "a placeholder is for lines, not for prose"
            assert not re.search(r"\bTODO\b|\bFIXME\b|\bXXX\b", text)

    each(((*place, tag) for place in exercises() for tag in TAGS), check)


def _lowered(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Keywords in small letters; what answers a challenge is none."""
    made = []
    for at, text in enumerate(lines):
        answers = at > 0 and lines[at - 1].upper() == "AUTH PLAIN"
        rows = (row.partition(" ") for row in text.split("\n"))
        kept = answers or text.startswith(":")
        made.append(text if kept else "\n".join(word.lower() + blank + rest for word, blank, rest in rows))
    return tuple(made)


def _wide(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Answers in full-width characters."""
    wide = {at: at + 0xFEE0 for at in range(ord("!"), ord("~") + 1)}
    return tuple(f":answer {text[8:].translate(wide)}" if text.startswith(":answer ") else text for text in lines)


def test_keywords_in_small_letters_and_answers_full_width_solve_as_well() -> None:
    tried = []

    def check(name: str, identity: str) -> None:
        exercise = found(name, identity)
        for lines in {_lowered(exercise.solution), _wide(exercise.solution)} - {exercise.solution}:
            tried.append(lines)
            assert solves(exercise, lines), lines

    each(exercises(), check)
    assert len(tried) > 100


def test_a_detour_before_the_solution_costs_nothing() -> None:
    """Looking around, and an unknown command. Where lines are counted, the latter is a wrong turn by intention."""

    def check(name: str, identity: str) -> None:
        exercise = found(name, identity)
        assert solves(exercise, [":help", ":state", *exercise.solution])
        if exercise.conditions.get("line_goes_dead_after") or any(c.name in _STRICT for c in exercise.checks):
            return
        if exercise.start[-1:] and exercise.start[-1].upper().startswith("USER "):
            return  # between USER and PASS no other line may stand, says the server; `:again` mends it
        assert solves(exercise, ["FROB", *exercise.solution])

    each(exercises(), check)


def test_only_the_right_prediction_and_an_answer_that_was_asked_for_solve() -> None:
    def check(name: str, identity: str) -> None:
        exercise = found(name, identity)
        if exercise.kind is ExerciseKind.PREDICT:
            right = [
                (status, state.value, lines)
                for status in ("+OK", "-ERR")
                for state in State
                for lines in ("one", "many")
                if solves(exercise, [*exercise.solution[:-1], f":answer {status} {state.value} {lines}"])
            ]
            # The reply to QUIT ends UPDATE: both states are right (RFC 1939 §6).
            assert [state for _, state, _ in right] in ([right[0][1]], ["CLOSED", "UPDATE"]), right
            assert len({(status, lines) for status, _, lines in right}) == 1, right
            assert not solves(exercise, [":answer"])
            assert not solves(exercise, [exercise.line])
        elif exercise.kind is ExerciseKind.ANSWER:
            for answer in exercise.answers:
                assert solves(exercise, [*exercise.solution[:-1], f":answer {answer}"]) or not exercise.seen, answer
            assert not solves(exercise, [*exercise.solution[:-1], ":answer"])
            assert not solves(exercise, [*exercise.solution[:-1], ":answer certainly not"])

    each(exercises(), check)


#: What a login is in the lessons' practice maildrops.
_IN = ("USER learner", "PASS secret")
_BACK = (":connect", *_IN)

#: Ways that no solution shows and that reach the same: (lesson, exercise, lines).
OTHER_RIGHT_WAYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # one leaves from wherever one stands
    ("01-greeting", "say-goodbye", (*_IN, "QUIT")),
    ("01-greeting", "call-twice", (*_IN, "QUIT", ":connect", "QUIT")),
    ("01-greeting", "hello-back", ("STAT",)),
    # whatever else was tried before, or on the way
    ("02-states", "into-the-stove", ("STAT", "QUIT", *_BACK, "STAT", ":answer 6")),
    ("03-user-pass", "two-refusals", ("USER learner", "PASS fish", "USER stamp", "PASS fish")),
    (
        "03-user-pass",
        "two-refusals",
        ("USER stamp", "PASS fish", "STAT", "USER LEARNER", "PASS x", "USER learner", "PASS x"),
    ),
    ("05-reading", "still-there", ("RETR 2", "RETR 1", "QUIT", *_BACK, "RETR 2", "RETR 01")),
    # counted by hand
    ("05-reading", "count-the-cat", (":answer 70",)),
    ("05-reading", "count-the-cat", ("LIST", ":answer 70 octets")),
    # what was read besides does not count against one, unless the task says so
    ("06-dots", "full-stops", ("RETR 1", "RETR 5")),
    ("06-dots", "comma-and-dot", ("RETR 3", "RETR 2", "RETR 1", ":answer 175")),
    ("07-top", "no-top-here", ("RETR 1", "RETR 2", "RETR 3")),
    ("07-top", "second-line", ("TOP 4 0", "TOP 4 1", "TOP 4 2", ":answer 85")),
    ("11-errors", "last-letter", ("UTF8", *_IN, "RETR 1", "RETR 7")),
    ("12-capabilities", "without-top", ("RETR 4", "RETR 5")),
    ("17-mail-program", "hands-before-stove", ("RETR 1", "DELE 4", "RSET", "RETR 4", "DELE 4", "QUIT")),
    ("18-myths", "other-words", ("RETR 4", "RETR 5", "LANG zh-Hant", "RETR 4", "LANG zh-Hant", "RETR 5")),
    ("18-myths", "visitor-from-1985", (*_IN, "RETR 2", "LIST", "RETR 1", "DELE 1", "QUIT")),
    ("18-myths", "visitor-from-1985", (*_IN, "DELE 1", "RSET", "RETR 1", "DELE 1", "QUIT")),
    # another door
    ("11-errors", "bare-words", (":apop learner", "CAPA", ":answer RESP-CODES")),
    ("11-errors", "bare-words", ("CAPA", "AUTH PLAIN <auth-plain>", ":answer AUTH-RESP-CODE")),
    ("11-errors", "two-languages", (":apop learner", "LANG zh-Hant", "AUTH PLAIN <auth-plain>")),
    ("11-errors", "two-languages", ("LANG zh", "LANG en", *_IN, "LANG ZH-HANT", *_IN)),
    # any command resets the timer, a refused one too (RFC 1939 §3)
    ("10-time", "twenty-minutes", (":wait 590", "FROB", ":wait 590", "USER mei", ":wait 20")),
    ("10-time", "twenty-minutes", (":wait 599", "RETR 99", ":wait 599", "STAT", ":wait 2")),
    # what woke one up, or what one does after
    ("10-time", "asleep", (":wait 600", *_BACK, "STAT", "QUIT", ":answer 7")),
    ("10-time", "asleep", (":wait 600", *_BACK, "QUIT", *_BACK, "LIST", ":answer 7")),
    ("11-errors", "stop-trying", ("CAPA", *_IN, "QUIT")),
    ("08-uidl", "next-morning", ("DELE 1", "QUIT", *_BACK, "UIDL 4", ":answer 4")),
    ("08-uidl", "after-a-crash", ("UIDL", "UIDL 2", ":connect", ":apop learner", "STAT", "UIDL")),
    ("09-deleting", "dead-line", ("QUIT", ":connect", *_IN, "LIST", ":answer 7")),
    # any order, and more than was asked
    ("12-capabilities", "one-flight", ("CAPA", ":flight UIDL 1 | LIST 1 | STAT")),
    ("12-capabilities", "one-flight", ("CAPA", "STAT", "STAT\nNOOP\nLIST 1\nUIDL 01")),
    # a number in words
    ("13-apop", "not-in-the-list", ("CAPA", ":answer 一行也沒有")),
    ("13-apop", "not-in-the-list", ("CAPA", ":answer not one")),
    ("13-apop", "same-stamp", ("CAPA", "APOP learner 00000000000000000000000000000000", "STAT", ":apop learner")),
    ("14-tls", "line-missing", ("CAPA", "STLS", "CAPA", "QUIT")),
    # without a login one may also hang up, or be hung up on
    ("14-tls", "line-missing", ("CAPA", ":drop")),
    ("14-tls", "line-missing", ("CAPA", ":wait 600")),
    ("15-auth-plain", "call-it-off", ("AUTH PLAIN", "*", "CAPA", "AUTH PLAIN", "*", "AUTH PLAIN", "<auth-plain>")),
    ("16-utf8-lang", "the-cats-own", ("LANG MIAOW", "LANG", "LANG zh-Hant", "LANG miaow")),
    ("16-utf8-lang", "the-cats-own", ("LANG en", "LANG miaow", "LANG zh", "LANG zh-Hant", "LANG miaow")),
    (
        "17-mail-program",
        "the-whole-round",
        (*_IN, "UIDL", "DELE 2", "DELE 1", "RETR 5", "RETR 4", "QUIT", *_BACK, "STAT", "UIDL", "STAT", "QUIT"),
    ),
    (
        "17-mail-program",
        "the-whole-round",
        (*_IN, "RETR 4", "RETR 5", "QUIT", *_BACK, "DELE 1", "DELE 2", "QUIT", *_BACK, "UIDL", "QUIT"),
    ),
    ("18-myths", "museum", (*_IN, "XTND BBOARDS", "QUIT", ":connect", "USER learner", "RPOP learner")),
    (
        "19-finale",
        "the-whole",
        (*_IN, *(f"RETR {n}" for n in (6, 4, 3, 1)), "QUIT", *_BACK, "DELE 6", "DELE 3", "QUIT", *_BACK, "UIDL"),
    ),
)

#: Ways that look like it and do not reach it.
OTHER_WRONG_WAYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("01-greeting", "call-twice", ("QUIT", ":connect", "STAT")),
    # answered before one has come back
    ("02-states", "into-the-stove", ("STAT", "QUIT", ":answer 6")),
    ("08-uidl", "next-morning", ("UIDL", "DELE 1", "QUIT", ":answer 4")),
    ("10-time", "asleep", ("STAT", "LIST 7", ":wait 600", ":answer 7")),
    ("10-time", "asleep", ("RSET", ":wait 600", *_BACK, "STAT", ":answer 7")),
    ("10-time", "asleep", ("QUIT", *_BACK, ":wait 600", *_BACK, "STAT", ":answer 7")),
    # what was counted is something else
    ("05-reading", "count-the-cat", ("LIST", ":answer 62")),
    # hung up on, or not long enough, or the mark is gone
    ("10-time", "twenty-minutes", (":wait 590", "FROB", ":wait 610")),
    ("10-time", "twenty-minutes", (":wait 590", "FROB", ":wait 590", "FROB")),
    ("10-time", "twenty-minutes", (":wait 590", "RSET", ":wait 590", "FROB", ":wait 20")),
    # gone without a look, or after the password was said
    ("14-tls", "line-missing", (":drop",)),
    ("14-tls", "line-missing", ("CAPA", ":connect")),
    ("14-tls", "line-missing", ("CAPA", "USER learner", ":drop")),
    # one name refused, and the other only given
    ("03-user-pass", "two-refusals", ("USER stamp", "USER learner", "PASS fish", "USER learner", "PASS fish")),
    ("03-user-pass", "two-refusals", ("USER stamp", "PASS fish", "USER learner", "STAT", "PASS fish")),
    # another door, where the task names this one
    ("03-user-pass", "same-line", ("AUTH PLAIN <auth-plain>",)),
    # another letter
    ("05-reading", "still-there", ("RETR 1", "RETR 1", "QUIT", *_BACK, "RETR 2")),
    ("06-dots", "comma-and-dot", ("RETR 2", ":answer 175")),
    ("07-top", "second-line", ("TOP 4 2", "RETR 4", ":answer 85")),
    ("11-errors", "last-letter", ("UTF8", *_IN, "TOP 7 999")),
    ("18-myths", "visitor-from-1985", (*_IN, "DELE 1", "QUIT", *_BACK, "RETR 1")),
    ("17-mail-program", "hands-before-stove", ("DELE 4", "QUIT", *_BACK, "RETR 4", "QUIT")),
    # nothing broke, nothing was looked at again
    ("08-uidl", "after-a-crash", ("UIDL", "UIDL", "RSET", "QUIT", *_BACK)),
    ("08-uidl", "after-a-crash", ("UIDL", "UIDL", ":drop", *_BACK)),
    ("08-uidl", "after-a-crash", ("UIDL", ":drop", *_BACK, "UIDL 1")),
    # the QUIT that the story is about
    ("09-deleting", "dead-line", (":drop", *_BACK, "STAT", ":answer 7")),
    ("09-deleting", "dead-line", ("STAT", ":drop", *_BACK, "STAT", ":answer 7")),
    # both refusals in one language
    ("11-errors", "two-languages", (*_IN, *_IN, "LANG en")),
    ("11-errors", "two-languages", ("LANG en", *_IN, *_IN)),
    ("11-errors", "two-languages", (*_IN, "LANG en", *_IN)),
    ("11-errors", "two-languages", (*_IN, *_IN, "LANG zh-Hant")),
    ("16-utf8-lang", "the-cats-own", ("LANG en", "LANG miaow", "LANG miaow")),
    ("16-utf8-lang", "the-cats-own", ("LANG miaow", "LANG miaow", "LANG zh-Hant")),
    ("16-utf8-lang", "the-cats-own", ("LANG miaow", "LANG en", "LANG miaow")),
    ("16-utf8-lang", "the-cats-own", ("LANG miaow", "LANG zh-Hant", "LANG en", "LANG miaow")),
    ("18-myths", "other-words", ("RETR 5", "LANG zh-Hant", "LANG en", "RETR 5")),
    ("18-myths", "other-words", ("RETR 5", "LANG en", "RETR 5")),
    ("18-myths", "other-words", ("LANG zh-Hant", "RETR 5")),
    # once more after a refusal that says: do not
    ("11-errors", "stop-trying", (*_IN, *_IN, "QUIT")),
    ("11-errors", "stop-trying", (*_IN, "USER learner", "QUIT")),
    # one by one, and then a flight of something else
    ("12-capabilities", "one-flight", ("CAPA", "STAT", "LIST 1", "UIDL 1", "NOOP\nNOOP\nNOOP")),
    ("12-capabilities", "one-flight", ("CAPA", "STAT\nLIST\nUIDL")),
    # another stamp
    ("13-apop", "same-stamp", ("APOP learner 00000000000000000000000000000000", ":connect", ":apop learner")),
    ("13-apop", "same-stamp", ("APOP learner 00000000000000000000000000000000", "QUIT", ":connect", ":apop learner")),
    (
        "13-apop",
        "same-stamp",
        (":apop learner", "QUIT", ":connect", "APOP learner 00000000000000000000000000000000"),
    ),
    ("14-tls", "line-missing", ("QUIT", ":connect", "CAPA")),
    ("15-auth-plain", "call-it-off", ("AUTH PLAIN", "<auth-plain>", "QUIT", ":connect", "AUTH PLAIN", "*")),
    # one id proves nothing of the others, and before the erasing none does
    (
        "17-mail-program",
        "the-whole-round",
        (*_IN, "UIDL", "RETR 4", "RETR 5", "DELE 1", "DELE 2", "QUIT", *_BACK, "UIDL 1", "QUIT"),
    ),
    (
        "17-mail-program",
        "the-whole-round",
        (*_IN, "UIDL", "RETR 4", "RETR 5", "QUIT", *_BACK, "UIDL", "DELE 1", "DELE 2", "QUIT"),
    ),
    (
        "17-mail-program",
        "the-whole-round",
        (*_IN, "DELE 1", "DELE 2", "QUIT", *_BACK, "RETR 2", "RETR 3", "QUIT", *_BACK, "UIDL", "QUIT"),
    ),
    ("18-myths", "museum", ("RPOP learner", *_IN, "XTND BBOARDS")),
    ("18-myths", "museum", ("USER learner", "STAT", "RPOP learner", *_IN, "XTND BBOARDS")),
    (
        "19-finale",
        "the-whole",
        (*_IN, *(f"RETR {n}" for n in (1, 3, 4, 6)), "DELE 3", "DELE 6", "QUIT", *_BACK, "UIDL 1"),
    ),
    (
        "19-finale",
        "the-whole",
        (*_IN, *(f"RETR {n}" for n in (1, 3, 4, 6)), "QUIT", *_BACK, "UIDL", "DELE 3", "DELE 6", "QUIT"),
    ),
)


def test_any_way_that_reaches_the_effect_solves() -> None:
    def check(name: str, identity: str, lines: tuple[str, ...]) -> None:
        assert solves(found(name, identity), lines)

    each(OTHER_RIGHT_WAYS, check)


def test_a_way_that_only_looks_like_it_does_not_solve() -> None:
    def check(name: str, identity: str, lines: tuple[str, ...]) -> None:
        assert not solves(found(name, identity), lines)

    each(OTHER_WRONG_WAYS, check)


def test_each_command_and_state_that_a_lesson_teaches_is_met_in_its_dialogues() -> None:
    def check(name: str) -> None:
        taught, met = set(lesson(name).teaches), set()
        for exercise in lesson(name).exercises:
            for lines in (exercise.solution, exercise.failed, *(wrong.lines for wrong in exercise.wrong)):
                rehearsal = Rehearsal(catalog(), exercise)
                rehearsal.play(lines)
                for exchange in (*rehearsal.start, *rehearsal.exchanges):
                    met |= {exchange.name, exchange.before.value, exchange.after.value}
        assert {name for name in taught if name in COMMANDS or name in State.__members__} <= met

    each(((name,) for name in course().lessons), check)


def test_no_two_lessons_and_no_two_exercises_of_one_have_the_same_id() -> None:
    """Progress is kept by them."""
    ids = [lesson(name).id for name in course().lessons]
    assert len(set(ids)) == len(ids)

    def check(name: str) -> None:
        inner = [exercise.id for exercise in lesson(name).exercises]
        assert len(set(inner)) == len(inner)

    each(((name,) for name in course().lessons), check)


def test_every_kind_of_exercise_is_in_the_course() -> None:
    kinds = {exercise.kind for name in course().lessons for exercise in lesson(name).exercises}
    assert kinds == set(ExerciseKind)
