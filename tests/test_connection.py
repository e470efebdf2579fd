"""Exchanges from the octets of both directions, the same for every way of cutting them (sec-P1).

The dialogues stand once; each is watched whole, byte by byte, in other sizes and at random. Dialogues made by chance
follow, 22,000 cuttings; `tests/soak/million_cuttings.py` runs a million.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    CLOSE,
    TIGHT,
    TIGHTER,
    TLS,
    Move,
    Outcome,
    at_random,
    blob,
    chunks_of,
    differing_cutting,
    each,
    first_difference,
    plain,
    random_dialogue,
    random_limits,
    replay,
    whole,
)

from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import MASK, Context, parse
from popshell.protocol.records import Exchange, Problem, Status, Step
from popshell.protocol.wire import Counts, ReplyLimits, Stream, stuff

PROFILE = settings(max_examples=600, deadline=None, derandomize=True, database=None)
A, T, U, C = State.AUTHORIZATION, State.TRANSACTION, State.UPDATE, State.CLOSED
GREETING: Move = ("S", b"+OK ready\r\n")
LOGIN: list[Move] = [GREETING, ("C", b"APOP mei 0\r\n"), ("S", b"+OK\r\n")]
CANARY = "C4n4ry-77"


def moves(*steps: str | Move, start: list[Move] = LOGIN) -> list[Move]:
    """Steps written as "C: ..." and "S: ...", each a line; other moves as they are."""
    out = list(start)
    for step in steps:
        out.append(step if isinstance(step, tuple) else (step[0], step[3:].encode() + b"\r\n"))
    return out


def in_words(outcome: Outcome, skip: int = 0) -> list[str]:
    """Each event in a few words: command, status or problem, state after."""
    words = []
    for event in outcome.events[skip:]:
        if isinstance(event, Challenge):
            words.append(f"{event.command.name} + {event.line.decode()}".rstrip())
        else:
            what = event.problem.code if event.problem else event.response.status.value if event.response else "?"
            speaks = f" ({event.problem.speaks})" if event.problem and event.problem.speaks else ""
            words.append(f"{event.name or '-'} {what}{speaks} {event.after.value[:1]}")
    return words


#: name -> (moves, limits, what comes of it after the greeting and, where there is one, the login)
DIALOGUES: dict[str, tuple[list[Move], ReplyLimits | None, list[str]]] = {
    "greeting": (moves(start=[GREETING]), None, ["- +OK A"]),
    "greeting -ERR": (moves("S: -ERR busy", start=[]), None, ["- -ERR C"]),
    "greeting challenge": (moves("S: + hello", start=[]), None, ["- challenge C"]),
    "greeting imap": (moves("S: * OK IMAP4rev1", start=[]), None, ["- not-pop3 (imap) C"]),
    "greeting smtp": (moves("S: 220 mail ESMTP", start=[]), None, ["- not-pop3 (smtp) C"]),
    "greeting http": (moves("S: HTTP/1.1 400 Bad Request", start=[]), None, ["- not-pop3 (http) C"]),
    "greeting ssh": (moves("S: SSH-2.0-x", start=[]), None, ["- not-pop3 (ssh) C"]),
    "greeting tls": (moves(("S", b"\x15\x03\x01\x00\x02\x02\x46"), start=[]), None, ["- not-pop3 (tls) C"]),
    "greeting nothing known": (moves("S: hello", start=[]), None, ["- not-pop3 C"]),
    "greeting lower case": (moves("S: +ok", start=[]), None, ["- lower-case C"]),
    "greeting mixed case": (moves("S: -Err x", start=[]), None, ["- lower-case C"]),
    "bare AUTH, one line": (moves("C: AUTH", "C: CAPA", "S: +OK", "S: +OK", "S: TOP", "S: .", start=[GREETING]), None,
                           ["- +OK A", "AUTH +OK A", "CAPA +OK A"]),
    "bare AUTH, one line, -ERR": (moves("C: AUTH", "S: +OK", "C: NOOP", "S: -ERR x", start=[GREETING]), None,
                                 ["- +OK A", "AUTH +OK A", "NOOP -ERR A"]),
    "lower case": (moves("C: STAT", "S: +ok 2 320", "C: STAT", "S: +OK 1 9", "C: LIST", "S: -Err", "C: NOOP", "S: +OK"),
                   None, ["STAT lower-case T", "STAT +OK T", "LIST lower-case T", "NOOP +OK T"]),
    "+ where no AUTH is": (moves("C: STAT", "S: + OK 2 320", "C: NOOP", "S: + x"), None,
                           ["STAT no-status (ok) T", "NOOP challenge T"]),
    "tab after +OK": (moves("S: +OK\tx", start=[]), None, ["- not-pop3 (ok) C"]),
    "space before +OK": (moves("S:  +OK", start=[]), None, ["- not-pop3 (ok) C"]),
    "+OKAY": (moves("S: +OKAY", start=[]), None, ["- not-pop3 (ok) C"]),
    "empty status line": (moves("S: ", start=[]), None, ["- not-pop3 C"]),
    "bare LF": (moves(("S", b"+OK ready\n"), start=[]), None, ["- bare-lf C"]),
    "cut greeting": (moves(("S", b"+OK read"), CLOSE, start=[]), None, ["- cut C"]),
    "bare LF, HTML": (moves(("S", b"<html>\n"), start=[]), None, ["- not-pop3 (http) C"]),
    "bare LF, MySQL": (moves(("S", b"J\0\0\0\n8.0\0"), start=[]), None, ["- not-pop3 (mysql) C"]),
    "cut greeting, HTML": (moves(("S", b"<!DOCTYPE html><p>"), CLOSE, start=[]), None, ["- not-pop3 (http) C"]),
    "no greeting": (moves(CLOSE, start=[]), None, ["- no-reply C"]),
    "two greetings": (moves("S: +OK again", start=[GREETING]), None, ["- +OK A", "- unasked A"]),
    "pipelined": (
        moves("C: STAT", "C: LIST", "C: RETR 1", "S: +OK 1 9", "S: +OK", "S: 1 9", "S: .", "S: +OK", "S: ..", "S: ."),
        None,
        ["STAT +OK T", "LIST +OK T", "RETR +OK T"],
    ),
    "pipelined, one refused": (
        moves("C: LIST", "C: LIST 1", "C: NOOP", "S: -ERR", "S: +OK 1 9", "S: +OK"),
        None,
        ["LIST -ERR T", "LIST +OK T", "NOOP +OK T"],
    ),
    "pipelined login": (
        moves("C: USER a", "C: PASS b", "C: STAT", "S: +OK", "S: +OK", "S: +OK 0 0", start=[GREETING]),
        None,
        ["- +OK A", "USER +OK A", "PASS +OK T", "STAT +OK T"],
    ),
    "unasked": (moves("S: +OK 1", "C: STAT", "S: +OK 2 2"), None, ["- unasked T", "STAT +OK T"]),
    "unasked, half before the command": (
        moves(("S", b"+OK 9"), "C: STAT", ("S", b"9 9\r\n+OK 1 1\r\n")),
        None,
        ["- unasked T", "STAT +OK T"],
    ),
    "unasked at the end": (moves(("S", b"+OK by"), CLOSE), None, ["- unasked T"]),
    "more replies than commands": (
        moves("C: X", "S: -ERR", "S: -ERR", "S: what"),
        None,
        ["X -ERR T", "- unasked T", "- unasked T"],
    ),
    "AUTH in one line": (moves("C: AUTH PLAIN =", "S: -ERR", start=[GREETING]), None, ["- +OK A", "AUTH -ERR A"]),
    "AUTH with a challenge": (
        moves("C: AUTH PLAIN", "S: + ", "C: AGEAYg==", "S: +OK", "C: STAT", "S: +OK 0 0", start=[GREETING]),
        None,
        ["- +OK A", "AUTH +", "AUTH +OK T", "STAT +OK T"],
    ),
    "AUTH with two challenges": (
        moves("C: AUTH X", "S: + YQ==", "C: Yg==", "S: + Yw==", "C: ", "S: +OK", start=[GREETING]),
        None,
        ["- +OK A", "AUTH + YQ==", "AUTH + Yw==", "AUTH +OK T"],
    ),
    "AUTH cancelled": (
        moves("C: AUTH PLAIN", "S: + ", "C: *", "S: -ERR", "C: *", "S: -ERR", start=[GREETING]),
        None,
        ["- +OK A", "AUTH +", "AUTH -ERR A", "* -ERR A"],
    ),
    "AUTH, the answer sent ahead": (
        moves("C: AUTH PLAIN", "C: AGEAYg==", "C: STAT", "S: + ", "S: +OK", "S: +OK 0 0", start=[GREETING]),
        None,
        ["- +OK A", "AUTH +", "AUTH +OK T", "STAT +OK T"],
    ),
    "AUTH, the answer sent ahead and AUTH refused": (
        moves("C: AUTH PLAIN", "C: AGEAYg==", "C: CAPA", "S: -ERR", "S: -ERR", "S: -ERR", start=[GREETING]),
        None,
        ["- +OK A", "AUTH -ERR A", "- -ERR A", "CAPA -ERR A"],
    ),
    "AUTH, the reply before the answer": (  # sec-P4: what precedes its command never counts
        moves("C: AUTH PLAIN", "S: + ", "S: +OK you are in", "C: AGEAYg==", "S: -ERR no", start=[GREETING]),
        None,
        ["- +OK A", "AUTH +", "- unasked A", "AUTH -ERR A"],
    ),
    "AUTH, half the reply before the answer": (
        moves("C: AUTH PLAIN", ("S", b"+ \r\n+OK you"), "C: AGEAYg==", "S:  are in", "S: -ERR no", start=[GREETING]),
        None,
        ["- +OK A", "AUTH +", "- unasked A", "AUTH -ERR A"],
    ),
    "AUTH, closed instead of an answer": (
        moves("C: AUTH PLAIN", "S: + ", "S: -ERR timeout", CLOSE, start=[GREETING]),
        None,
        ["- +OK A", "AUTH +", "- unasked A", "AUTH no-reply C"],
    ),
    "challenge without AUTH": (moves("C: STAT", "S: + go on"), None, ["STAT challenge T"]),
    "STLS": (
        moves("C: STLS", "S: +OK", TLS, "C: CAPA", "S: +OK", "S: USER", "S: .", start=[GREETING]),
        None,
        ["- +OK A", "STLS +OK A", "CAPA +OK A"],
    ),
    "STLS refused": (
        moves("C: STLS", "S: -ERR", "C: X", "S: -ERR", start=[GREETING]),
        None,
        ["- +OK A", "STLS -ERR A", "X -ERR A"],
    ),
    "STLS, injection in one flight": (
        moves("C: STLS", "S: +OK", "S: +OK injected", TLS, start=[GREETING]),
        None,
        ["- +OK A", "STLS +OK A", "- stls-injection A"],
    ),
    "STLS, injection of one octet": (
        moves("C: STLS", ("S", b"+OK\r\n\x16"), TLS, "C: NOOP", start=[GREETING]),
        None,
        ["- +OK A", "STLS +OK A", "- stls-injection A"],
    ),
    "STLS, commands after it": (
        moves("C: STLS", "C: CAPA", "S: +OK", TLS, "S: -ERR", "C: NOOP", "S: +OK", start=[GREETING]),
        None,
        ["- +OK A", "STLS +OK A", "CAPA -ERR A", "NOOP +OK A"],
    ),
    "STLS where it is not legal": (moves("C: STLS", "S: +OK", "C: NOOP", "S: +OK"), None, ["STLS +OK T", "NOOP +OK T"]),
    "STLS twice": (
        moves("C: STLS", "S: +OK", TLS, "C: STLS", "S: +OK", "S: +OK", start=[GREETING]),
        None,
        ["- +OK A", "STLS +OK A", "STLS +OK A", "- unasked A"],
    ),
    "no terminator": (moves("C: RETR 1", "S: +OK", "S: half", CLOSE), None, ["RETR no-terminator C"]),
    "no terminator, bare LF": (moves("C: RETR 1", ("S", b"+OK\r\nx\n.\n"), CLOSE), None, ["RETR no-terminator C"]),
    "cut": (moves("C: STAT", ("S", b"+OK 2 3"), CLOSE), None, ["STAT cut C"]),
    "no reply": (moves("C: STAT", "C: NOOP", CLOSE), None, ["STAT no-reply C", "NOOP no-reply C"]),
    "nothing after a fault": (
        moves("C: STAT", "S: what", "S: +OK", "C: NOOP", "S: +OK", CLOSE),
        None,
        ["STAT not-pop3 T"],
    ),
    "QUIT": (moves("C: QUIT", "S: +OK", CLOSE), None, ["QUIT +OK U"]),
    "QUIT, update fails": (moves("C: QUIT", "S: -ERR some deleted messages not removed", CLOSE), None, ["QUIT -ERR U"]),
    "QUIT x": (moves("C: QUIT x", "S: -ERR", "C: NOOP", "S: +OK"), None, ["QUIT -ERR T", "NOOP +OK T"]),
    "QUIT in AUTHORIZATION": (moves("C: QUIT", "S: +OK", CLOSE, start=[GREETING]), None, ["- +OK A", "QUIT +OK C"]),
    "after QUIT": (moves("C: QUIT", "C: NOOP", "S: +OK", CLOSE), None, ["QUIT +OK U", "NOOP no-reply C"]),
    "unknown command, +OK": (moves("C: HELP", "S: +OK", "S: line", "S: ."), None, ["HELP +OK T", *["- unasked T"] * 2]),
    "empty line": (moves("C: ", "S: -ERR"), None, ["- -ERR T"]),
    "accepted although illegal": (
        moves("C: RETR 1", "S: +OK", "S: x", "S: .", start=[GREETING]),
        None,
        ["- +OK A", "RETR +OK A"],
    ),
    "status too long": (moves("C: STAT", ("S", b"+OK " + b"x" * 60), CLOSE), TIGHT, ["STAT status-too-long T"]),
    "line too long": (moves("C: RETR 1", "S: +OK", "S: " + "x" * 25), TIGHT, ["RETR line-too-long T"]),
    "line just short enough": (moves("C: RETR 1", "S: +OK", "S: " + "x" * 24, "S: ."), TIGHT, ["RETR +OK T"]),
    "content too long": (moves("C: RETR 1", "S: +OK", *["S: xxxxxxxx"] * 10), TIGHT, ["RETR content-too-long T"]),
    "too many capabilities": (moves("C: CAPA", "S: +OK", *["S: X"] * 4, "S: ."), TIGHT, ["CAPA too-many-lines T"]),
    "as many capabilities as may be": (moves("C: CAPA", "S: +OK", *["S: X"] * 3, "S: ."), TIGHT, ["CAPA +OK T"]),
    "too many rows": (moves("C: UIDL", "S: +OK", *["S: 1 x"] * 4, "S: ."), TIGHT, ["UIDL too-many-lines T"]),
    "mail has no limit of lines": (moves("C: TOP 1 9", "S: +OK", *["S: x"] * 9, "S: ."), TIGHT, ["TOP +OK T"]),
}  # fmt: skip


def test_what_comes_of_each_dialogue() -> None:
    def check(name: str) -> None:
        steps, limits, wanted = DIALOGUES[name]
        assert in_words(replay(steps, whole, limits), skip=2 if steps[:3] == LOGIN else 0) == wanted

    each(((name,) for name in DIALOGUES), check)


def test_the_same_comes_of_it_however_it_is_cut() -> None:
    def check(name: str) -> None:
        steps, limits, _ = DIALOGUES[name]
        wanted = replay(steps, whole, limits)
        cutters = [*map(chunks_of, (1, 2, 3, 5, 7)), *(at_random(random.Random(seed)) for seed in range(8))]
        for cutter in cutters:
            found = replay(steps, cutter, limits)
            assert found == wanted, first_difference(wanted, found)

    each(((name,) for name in DIALOGUES), check)


def test_the_same_comes_of_it_with_octets_after_it() -> None:
    def check(name: str, after: bytes) -> None:
        steps, limits, _ = DIALOGUES[name]
        steps = [*steps, ("S", after), CLOSE]
        wanted, found = replay(steps, whole, limits), replay(steps, chunks_of(1), limits)
        assert found == wanted, first_difference(wanted, found)

    open_ones = [name for name, (steps, _, _) in DIALOGUES.items() if steps[-1] != CLOSE]
    after = [b"+OK more\r\n", b"half", b"\n", b".\r\n", b"+ \r\n", b"\x16\x03"]
    each(itertools.product(open_ones, after), check)


@pytest.mark.parametrize("part", range(4))
def test_dialogues_by_chance_however_they_are_cut(part: int) -> None:
    """4 x 550 dialogues, each in 10 cuttings: 22,000; in four parts, so that two processes share them."""
    for seed in range(550):
        difference = differing_cutting(random.Random(part * 1000 + seed), cuttings=10)
        assert difference is None, f"seed {part * 1000 + seed}: {difference}"


def test_chance_meets_every_fault() -> None:
    """The generator is worth its time only if it gets everywhere."""
    met: set[str] = set()
    for seed in range(1200):
        rng = random.Random(seed)
        steps = random_dialogue(rng)
        outcome = replay(steps, whole, random_limits(rng))
        met |= {event.problem.code for event in outcome.events if isinstance(event, Exchange) and event.problem}
        met |= {"challenge met"} if any(isinstance(event, Challenge) for event in outcome.events) else set()
    assert met == {
        "unasked", "unasked-listing", "unasked-rows", "bare-lf", "lower-case", "not-pop3", "no-status", "challenge",
        "status-too-long", "line-too-long", "content-too-long", "too-many-lines", "stls-injection", "no-terminator",
        "cut", "no-reply", "challenge met",
    }  # fmt: skip


# -- any bytes (sec-P9) -----------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"+OK", b"-ERR ", b"\r\n", b".\r\n", b"+ ", b"STAT\r\n", b"LIST\r\n", b"AUTH X\r\n", b"STLS\r\n", b"\xff"]
    ),
)


@PROFILE
@given(st.lists(st.tuples(st.sampled_from("CST"), PIECES), max_size=20), st.sampled_from([None, TIGHT, TIGHTER]))
def test_any_bytes_give_exchanges_or_a_broken_connection(
    steps: list[tuple[str, bytes]], limits: ReplyLimits | None
) -> None:
    connection = Connection(limits=limits)
    for who, data in steps:
        broken = connection.broken
        if who == "T" and connection.wants_tls and not broken:
            connection.tls_started()
        events = connection.sent(data) if who == "C" else connection.received(data)
        assert not (broken and events)
        for event in events:
            assert isinstance(event, Exchange | Challenge)
            assert repr(event)
            if isinstance(event, Exchange):
                json.dumps(event.to_json())
                assert event.problem is not None or event.response is not None
        assert connection.pending >= connection.challenged
        assert connection.context().state in State
        due = connection.due()
        assert due is None or due.octets >= 0
    connection.close()
    assert (connection.state, connection.pending, connection.close()) == (C, 0, [])


# -- what an Exchange holds --------------------------------------------------------------------------------------------


def last(*steps: str | Move, start: list[Move] = LOGIN, limits: ReplyLimits | None = None) -> Exchange:
    event = replay(moves(*steps, start=start), whole, limits).events[-1]
    assert isinstance(event, Exchange)
    return event


class TestExchange:
    def test_raw_bytes_both_ways(self) -> None:
        exchange = last("C: RETR 1", "S: +OK 9 octets", "S: ..dot", "S: .")
        assert exchange.sent == b"RETR 1\r\n"
        assert exchange.received == b"+OK 9 octets\r\n..dot\r\n.\r\n"
        assert exchange.status_line() == b"+OK 9 octets"
        assert exchange.raw_content() == b"..dot\r\n.\r\n"
        assert exchange.response is not None
        assert exchange.response.content == b".dot\r\n"
        assert exchange.ok
        assert not exchange.is_greeting

    def test_an_incomplete_reply_is_kept_and_is_no_message(self) -> None:
        """sec-P5: what was cut is shown as far as it came, and never taken for a message."""
        exchange = last("C: RETR 1", "S: +OK", "S: half", CLOSE)
        assert exchange.problem == Problem("no-terminator")
        assert not exchange.ok
        assert exchange.raw_content() == b"half\r\n"
        assert exchange.response is not None
        assert exchange.response.content is None
        assert exchange.received == b"+OK\r\nhalf\r\n"

    def test_steps_of_auth(self) -> None:
        exchange = last("C: AUTH X", "S: + YQ==", "C: Yg==", "S: + ", "C: *", "S: -ERR", start=[GREETING])
        assert exchange.steps == (Step(b"YQ==", b"Yg=="), Step(b"", b"*"))
        assert exchange.sent == b"AUTH X\r\nYg==\r\n*\r\n"
        assert exchange.received == b"+ YQ==\r\n+ \r\n-ERR\r\n"
        assert exchange.sent_lines() == ["AUTH X", MASK, "*"]
        assert exchange.to_json()["challenges"] == ["YQ==", ""]

    def test_what_is_no_reply_stands_after_the_challenges(self) -> None:
        for line, problem in (("+ok", "lower-case"), ("hello", "not-pop3")):
            exchange = last("C: AUTH X", "S: + YQ==", "C: Yg==", f"S: {line}", start=[GREETING])
            assert exchange.problem is not None
            assert (exchange.problem.code, exchange.received) == (problem, f"+ YQ==\r\n{line}\r\n".encode())

    def test_a_line_that_ends_with_a_bare_lf_is_kept_as_it_was_sent(self) -> None:
        connection = logged_in()
        connection.sent(b"NOOP\n")
        (noop,) = connection.received(b"+OK\r\n")
        assert isinstance(noop, Exchange)
        assert noop.sent == b"NOOP\n"

    def test_what_was_counted_as_it_came(self) -> None:
        """Also of a content that comes in two pieces: where its last line began is known."""
        exchange = last("C: RETR 1", "S: +OK 9 octets", "S: ..dot", "S: .")
        assert exchange.counted == Counts(lines=1, stuffed=1)
        connection = logged_in()
        connection.sent(b"RETR 1\r\n")
        connection.received(b"+OK\r\n" + b"a\r\n" * 400)
        (mail,) = connection.received(b"b\r\nc\r\n.\r\n")
        assert isinstance(mail, Exchange)
        assert mail.counted == Counts(lines=402)

    def test_what_was_sent_ahead(self) -> None:
        outcome = replay(moves("C: A", "C: B", "S: -ERR", "C: C", "S: -ERR", "S: -ERR", "C: D", "S: -ERR"), whole)
        assert [event.ahead for event in outcome.events[2:]] == [0, 1, 1, 0]  # type: ignore[union-attr]

    def test_rows_received_and_the_one_that_ends_it(self) -> None:
        """Challenges and the status line may repeat a secret and are masked; content is not."""
        steps = ["C: AUTH X", f"S: + {CANARY}", f"C: {CANARY}", f"S: -ERR {CANARY}"]
        auth = last(*steps, start=[GREETING])
        assert auth.reply_line() == f"-ERR {MASK}"
        assert auth.reply_line(masked=False) == f"-ERR {CANARY}"
        assert auth.received_lines() == [f"+ {MASK}\r\n", f"-ERR {MASK}\r\n"]
        assert auth.received_lines(masked=False) == [f"+ {CANARY}\r\n", f"-ERR {CANARY}\r\n"]
        assert auth.sent_lines(masked=False) == ["AUTH X", CANARY]
        cut = last("C: AUTH X", "S: + ", f"C: {CANARY}", CLOSE, start=[GREETING])
        assert (cut.reply_line(), cut.received_lines()) == ("", ["+ \r\n"])
        assert last("C: RETR 1", "S: +OK 9", "S: x", "S: .").reply_line() == "+OK 9"
        assert last("C: NOOP", CLOSE).reply_line() == ""
        pass_ = last("C: USER a", "S: +OK", f"C: PASS {CANARY}", f"S: -ERR {CANARY}", start=[GREETING])
        assert pass_.reply_line() == f"-ERR {MASK}"

    def test_what_a_log_shows(self) -> None:
        exchange = last("C: NOOP", "S: +OK fine")
        assert repr(exchange) == "Exchange(['NOOP'], '+OK fine', TRANSACTION -> TRANSACTION, None, 10 octets)"
        assert repr(Step(b"a", b"b")) == "Step(...)"

    def test_what_a_closed_connection_leaves(self) -> None:
        """The line that was due, and each after it, with its time, its octets and its secrets."""
        connection = Connection()
        connection.received(b"+OK\r\n", 1.0)
        connection.sent(b"APOP a 0\r\n", 2.0)
        connection.received(b"+OK\r\n", 3.0)
        connection.sent(b"STAT\r\nDELE 1\r\nPASS hunter2\r\n", 4.0)
        records = [event for event in connection.close(9.0) if isinstance(event, Exchange)]
        assert [record.sent for record in records] == [b"STAT\r\n", b"DELE 1\r\n", b"PASS hunter2\r\n"]
        assert [(record.started, record.finished, record.ahead) for record in records] == [
            (4.0, 9.0, 0),
            (4.0, 9.0, 1),
            (4.0, 9.0, 2),
        ]
        assert "hunter2" in records[-1].secrets
        assert records[1].command == parse("DELE 1", connection.here._replace(state=T))
        assert [(record.before, record.after) for record in records] == [(T, C), (C, C), (C, C)]

    def test_a_fault_keeps_what_came_before_it_and_its_time(self) -> None:
        connection = Connection(limits=TIGHT)
        connection.received(b"+OK\r\n")
        connection.sent(b"CAPA\r\n", 1.0)
        (fault,) = connection.received(b"+OK\r\n" + b"X\r\n" * 9, 2.0)
        assert isinstance(fault, Exchange)
        assert fault.received == b"+OK\r\n" + b"X\r\n" * 5
        assert (fault.started, fault.finished, fault.problem) == (1.0, 2.0, Problem("too-many-lines"))
        assert connection.broken == Problem("too-many-lines")

    def test_an_unasked_line_is_read_as_far_as_it_came(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        (whole_line,) = connection.received(b"-ERR bye\r\n", 3.0)
        assert isinstance(whole_line, Exchange)
        assert (whole_line.started, whole_line.finished) == (3.0, 3.0)
        assert whole_line.response is not None
        assert (whole_line.response.text, whole_line.received) == ("bye", b"-ERR bye\r\n")
        connection.received(b"-ERR by")
        (part,) = connection.close(5.0)
        assert isinstance(part, Exchange)
        assert part.response is not None
        assert (part.response.text, part.started, part.finished) == ("by", 5.0, 5.0)

    def test_octets_before_tls_have_a_time(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        connection.sent(b"STLS\r\n", 1.0)
        _, injection = connection.received(b"+OK\r\n+OK\r\n", 2.0)
        assert isinstance(injection, Exchange)
        assert (injection.started, injection.finished, injection.rest) == (2.0, 2.0, b"+OK\r\n")
        assert injection.received == b"", "how much has come by then is chance"

    def test_the_maildrop_as_replies_describe_it(self) -> None:
        listed = last("C: LIST", "S: +OK", "S: 1 120", "S: 2 200", "S: .").maildrop
        assert dict(listed.sizes) == {1: 120, 2: 200}
        assert last("C: RETR 1", "S: +OK", "S: Subject: x", "S: ", "S: .").maildrop.subjects == {1: "x"}

    def test_greeting(self) -> None:
        exchange = replay([("S", b"+OK hi <1.2@x>\r\n")], whole).events[0]
        assert isinstance(exchange, Exchange)
        assert exchange.is_greeting
        assert (exchange.name, exchange.sent_lines(), exchange.to_json()["command"]) == ("", [], None)

    def test_which_are_equal(self) -> None:
        """When something happened, and what came after it, is left out."""
        one, other = last("C: STAT", "S: +OK 2 320"), last("C: STAT", "S: +OK 3 320")
        assert one == last("C: STAT", "S: +OK 2 320")._replace(started=5.0, rest=b"x")
        assert not (one != last("C: STAT", "S: +OK 2 320"))  # noqa: SIM202 (`!=` is what is tested)
        assert one != other
        assert not (one == other)  # noqa: SIM201
        assert one != tuple(one)

    def test_status_line(self) -> None:
        exchange = last("C: STAT", "S: +OK 2 320")
        for received, line in ((b"+OK", b"+OK"), (b"\r\n+OK\r\n", b""), (b"", b"")):
            assert exchange._replace(received=received).status_line() == line, received

    def test_json(self) -> None:
        exchange = last("C: list", "S: +OK [X/Y] two", "S: 1 120", "S: ..", "S: .")
        assert exchange.to_json(1) == {
            "version": 1,
            "command": {"name": "LIST", "line": "list", "known": True, "diagnostics": []},
            "status": "+OK",
            "code": "X/Y",
            "text": "two",
            "lines": ["1 120", "."],
            "before": "TRANSACTION",
            "after": "TRANSACTION",
            "tls": False,
            "octets": 29,
            "milliseconds": 0.0,
            "problem": None,
        }

    def test_json_of_version_2(self) -> None:
        exchange = last("C: list", "S: +OK [X/Y] two", "S: 1 120", "S: ..", "S: .")
        assert exchange.to_json() == exchange.to_json(1) | {
            "version": 2,
            "type": "exchange",
            "sent": ["list\r\n"],
            "received": ["+OK [X/Y] two\r\n", "1 120\r\n", "..\r\n", ".\r\n"],
            "challenges": [],
            "streamed": None,
        }
        broken = last("C: X", "S: * OK IMAP").to_json()
        assert (broken["text"], broken["received"]) == (None, ["* OK IMAP\r\n"])
        assert broken["problem"] == {"code": "not-pop3", "speaks": "imap", "lines": None, "octets": None}
        cut = last("C: RETR 1", "S: +OK", "S: half", CLOSE).to_json()
        assert cut["lines"] == ["half"]

    def test_json_of_a_content_that_is_handed_on(self) -> None:
        connection, pieces = Connection(), list[bytes]()
        stream = Stream(pieces.append)
        assert not stream.used
        connection.received(b"+OK\r\n")
        connection.sent(b"RETR 1\r\n", stream=stream)
        (exchange,) = connection.received(b"+OK\r\n..a\r\nb\r\n.\r\n")
        assert isinstance(exchange, Exchange)
        assert stream.used is True
        assert b"".join(pieces) == b".a\r\nb\r\n"
        assert exchange.to_json()["streamed"] == {
            "octets": 7,
            "lines": 2,
            "sha256": "ce4c51a3d5840cd3dfbbc2f426a9569f667ca524376682ac3346158a40a874b7",
        }
        assert exchange.to_json()["octets"] == exchange.to_json(1)["octets"] == len(b"+OK\r\n..a\r\nb\r\n.\r\n")

    def test_json_of_a_fault(self) -> None:
        found = last("C: X", "S: * OK IMAP").to_json(1)
        assert found["problem"] == {"code": "not-pop3", "speaks": "imap"}
        assert (found["status"], found["text"]) == (None, "* OK IMAP\r\n")
        assert last("C: STAT", "S: +ok").to_json(1)["problem"] == {"code": "lower-case", "speaks": None}
        found = last("C: RETR 1", "S: +OK [X] nine", "S: half", CLOSE).to_json(1)
        assert (found["status"], found["code"], found["text"], found["lines"]) == ("+OK", "X", "nine", None)

    def test_json_is_one_record_a_line(self) -> None:
        """F3: CR LF NEL U+2028 are escaped, and what is not UTF-8 does not raise."""
        exchange = last("C: STAT", ("S", b"+OK \xe2\x80\xa8\xc2\x85\xff\r\n"))
        text = json.dumps(exchange.to_json())
        assert len(text.splitlines()) == 1
        assert json.loads(text)["text"] == "\u2028\x85\udcff"

    def test_time(self) -> None:
        connection = Connection(now=1.0)
        (greeting,) = connection.received(b"+OK\r\n", 1.25)
        connection.sent(b"STAT\r\nNOOP\r\n", 2.0)
        stat, noop = connection.received(b"+OK 1 1\r\n+OK\r\n", 2.5)
        assert [e.milliseconds for e in (greeting, stat, noop)] == [250.0, 500.0, 500.0]  # type: ignore[union-attr]
        connection.sent(b"NOOP\r\n", 3.0)
        (third,) = connection.received(b"+OK\r\n", 3.12346)
        assert third.to_json()["milliseconds"] == 123.5  # type: ignore[union-attr]

    def test_when_the_first_octet_of_a_reply_came(self) -> None:
        connection = Connection(now=1.0)
        connection.received(b"+OK\r\n", 1.25)
        connection.sent(b"LIST\r\nNOOP\r\n", 2.0)
        connection.received(b"+O", 2.5)
        (listed,) = connection.received(b"K\r\n1 2\r\n.\r\n", 3.0)
        (lost,) = connection.close(4.0)
        assert isinstance(listed, Exchange)
        assert isinstance(lost, Exchange)
        assert (listed.started, listed.arrived, listed.finished) == (2.0, 2.5, 3.0)
        assert (lost.arrived, lost.finished) == (None, 4.0)
        assert listed.counts.lines == 1

    def test_when_a_reply_was_whole(self) -> None:
        """Of a content that is handed on, of a list that the next reply ends, and at the caller's zero."""
        connection = logged_in()
        connection.sent(b"RETR 1\r\n", 1.0, stream=Stream(lambda _: None))
        connection.sent(b"AUTH\r\nNOOP\r\n", 1.0)
        (retr,) = connection.received(b"+OK\r\na\r\n.\r\n", 2.0)
        connection.received(b"+OK\r\n", 3.0)
        auth, noop = connection.received(b"+OK\r\n", 4.0)
        connection.sent(b"AUTH\r\n")
        connection.received(b"+OK\r\n")
        (alone,) = connection.settle()
        connection.sent(b"NOOP\r\n")
        (cut,) = connection.close()
        events = (retr, auth, noop, alone, cut)
        assert [event.finished for event in events] == [2.0, 4.0, 4.0, 0.0, 0.0]  # type: ignore[union-attr]

    def test_a_login_that_was_held_back_may_still_be_answered(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        connection.login_held_back()
        assert connection.context().refused is True
        connection.sent(b"hunter2\r\n")
        (answer,) = connection.received(b"-ERR hunter2\r\n")
        assert isinstance(answer, Exchange)
        assert answer.sent_lines() == [MASK]
        assert answer.reply_line() == f"-ERR {MASK}"


# -- secrets (sec-K2) --------------------------------------------------------------------------------------------------

BLOB = plain("mei", CANARY)
LOGINS: dict[str, list[str | Move]] = {
    "PASS": ["C: USER mei", "S: +OK", f"C: PASS {CANARY}"],
    "pass": ["C: USER mei", "S: +OK", f"C: pass {CANARY}"],
    "blanks before": ["C: USER mei", "S: +OK", f"C:   pass {CANARY}"],
    "tab": ["C: USER mei", "S: +OK", f"C: PASS\t{CANARY}"],
    "PAS": ["C: USER mei", "S: +OK", f"C: PAS {CANARY}"],
    "PASSsecret": ["C: USER mei", "S: +OK", f"C: PASS{CANARY}"],
    "alone": ["C: USER mei", "S: +OK", f"C: {CANARY}"],
    "pipelined": ["C: USER mei", f"C: PAS {CANARY}", "S: +OK"],
    "APOP": [f"C: APOP mei {CANARY}"],
    "AUTH initial": [f"C: AUTH PLAIN {BLOB}"],
    "AUTH continuation": ["C: AUTH PLAIN", "S: + ", f"C: {BLOB}"],
    "AUTH two fields": ["C: AUTH PLAIN", "S: + ", f"C: {blob('mei' + chr(0) + CANARY)}"],
    "AUTH LOGIN": [
        "C: AUTH LOGIN",
        "S: + VXNlcm5hbWU6",
        f"C: {blob('mei')}",
        "S: + UGFzc3dvcmQ6",
        f"C: {blob(CANARY)}",
    ],
    "AUTH refused, answer sent ahead": ["C: AUTH PLAIN", f"C: {BLOB}", "S: -ERR no"],
    "AUTH without mechanism": [f"C: AUTH {BLOB}"],
    "AUHT": [f"C: AUHT PLAIN {BLOB}"],
}
#: `{}` is the last word that was sent: the secret, or base64 that holds it
ECHOES = [
    f"-ERR no such password {CANARY}",
    f"-ERR [AUTH] {CANARY}{CANARY}",
    "+OK {}",
    f"-ERR [{CANARY}] is wrong",
    f"* {CANARY} {{}} not POP3",
]


def leaks(text: str, sent: str = BLOB) -> bool:
    return any(secret.lower() in text.lower() for secret in (CANARY, BLOB, sent))


def views(exchange: Exchange) -> list[str]:
    """Everything of an Exchange that is written or printed."""
    status = exchange.redact(exchange.status_line().decode("utf-8", "surrogateescape"))
    own = [repr(exchange), str(exchange), repr(exchange.command), repr(exchange.steps), exchange.name, status]
    return [*own, json.dumps(exchange.to_json()), *exchange.sent_lines()]


def test_no_secret_is_written() -> None:
    def check(name: str, echo: str) -> None:
        sent = next(step for step in reversed(LOGINS[name]) if step[0] == "C").split()[-1]  # type: ignore[union-attr]
        steps = [*LOGINS[name], "S: " + echo.format(sent), "C: NOOP", "S: -ERR " + CANARY]
        outcome = replay(moves(*steps, start=[GREETING]), whole)
        exchanges = [event for event in outcome.events if isinstance(event, Exchange)]
        assert any(sent.encode() in exchange.sent for exchange in exchanges)
        for event in outcome.events:
            assert not leaks(repr(event), sent)
        for exchange in exchanges:
            assert [view for view in views(exchange) if leaks(view, sent)] == []

    each(itertools.product(LOGINS, ECHOES), check)


def test_a_secret_echoed_in_a_challenge_is_masked() -> None:
    steps = ["C: AUTH X", "S: + ", f"C: {blob(CANARY)}", f"S: + {CANARY}", "C: *", "S: -ERR"]
    assert not leaks(json.dumps(last(*steps, start=[GREETING]).to_json()))


def test_a_secret_is_not_cut_in_two() -> None:
    """The text of a fault is cut to 1,024 characters after masking, not before."""
    head = "x" * (1024 - len(CANARY) // 2)
    found = last("C: USER a", "S: +OK", f"C: PASS {CANARY}", f"S: {head}{CANARY}", start=[GREETING]).to_json(1)["text"]
    assert CANARY[:4] not in found
    assert len(found) == 1024


def test_the_content_of_a_message_is_not_masked() -> None:
    login: list[Move] = moves("C: USER a", "S: +OK", f"C: PASS {CANARY}", "S: +OK", start=[GREETING])
    exchange = last("C: RETR 1", f"S: +OK {CANARY}", f"S: {CANARY}", "S: .", start=login)
    assert exchange.to_json()["lines"] == [CANARY]
    assert exchange.received_lines() == [f"+OK {MASK}\r\n", f"{CANARY}\r\n", ".\r\n"]
    assert exchange.to_json()["text"] == MASK


def test_a_short_secret_does_not_eat_the_text() -> None:
    exchange = last("C: USER a", "S: +OK", "C: PASS a", "S: -ERR a bad password", start=[GREETING])
    assert exchange.redact("a bad password") == f"{MASK} bad password", "as a word of its own, and within none"


# -- what the owner asks -----------------------------------------------------------------------------------------------


class TestQuestions:
    def test_a_new_connection_awaits_its_greeting(self) -> None:
        connection = Connection(tls=True)
        assert (connection.here, connection.pending) == (Context(C, tls=True), 1)
        assert (connection.tls, connection.wants_tls, connection.closed) == (True, False, False)
        assert (connection.capabilities, connection.stamp, connection.broken) == (None, None, None)
        (greeting,) = connection.received(b"+OK\r\n")
        assert isinstance(greeting, Exchange)
        assert (greeting.started, greeting.tls, greeting.capabilities_before) == (0.0, True, None)

    def test_what_capa_said_last(self) -> None:
        capa: list[str | Move] = ["C: CAPA", "S: +OK", "S: TOP", "S: ."]
        assert last(*capa, start=[GREETING]).capabilities_before is None
        assert last(*capa, "C: NOOP", "S: +OK", start=[GREETING]).capabilities_before == {"TOP": ()}
        login: list[str | Move] = ["C: APOP a 0", "S: +OK", "C: NOOP", "S: +OK"]
        assert last(*capa, *login, start=[GREETING]).capabilities_before == {"TOP": ()}, "also after the login"
        assert last(*login, start=[GREETING]).capabilities_before is None

    def test_the_longest_line_that_is_kept(self) -> None:
        for octets, kept in ((65_536, True), (65_537, False)):
            connection = Connection()
            connection.received(b"+OK\r\n")
            connection.sent(b"x" * (octets - 2) + b"\r\n")
            (refused,) = connection.received(b"-ERR\r\n")
            assert isinstance(refused, Exchange)
            assert (len(refused.sent) == octets) is kept, octets

    def test_pending_and_challenged(self) -> None:
        connection = Connection()
        assert (connection.pending, connection.challenged) == (1, False)
        connection.received(b"+OK\r\n")
        assert connection.pending == 0
        connection.sent(b"AUTH X\r\n")
        connection.received(b"+ \r\n")
        assert (connection.pending, connection.challenged) == (1, True)
        connection.sent(b"*\r\nNOOP\r\n")
        assert (connection.pending, connection.challenged) == (2, False)

    def test_due(self) -> None:
        connection = Connection(5.0)
        due = connection.due()
        assert due is not None
        assert (due.command, due.since, due.octets, due.content, due.tail) == (None, 5.0, 0, False, b"")
        connection.received(b"+OK\r\n")
        assert connection.due() is None
        connection.sent(b"RETR 1\r\n", 7.0)
        connection.received(b"+OK\r\na\r\nb\n")
        due = connection.due()
        assert due is not None
        assert due.command is not None
        assert (due.command.name, due.since, due.octets, due.lines, due.content) == ("RETR", 7.0, 10, 2, True)
        for end in (b".\n", b"x" * 600, b"x\n.\r\n"):
            connection.received(end)
            due = connection.due()
            assert due is not None
            assert due.tail.endswith(end[-512:])
            assert len(due.tail) <= 512
        connection.received(b"\r\n.\r\n")
        assert connection.due() is None
        connection.sent(b"RETR 2\r\n", 8.0)
        connection.received(b"+OK\r\n.\n")
        due = connection.due()
        assert due is not None
        assert (due.content, due.tail) == (True, b".\n"), "of an empty content, too"

    def test_due_waits_for_nobody_while_challenged(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        connection.sent(b"AUTH X\r\n")
        assert connection.due() is not None
        connection.received(b"+ \r\n")
        assert connection.due() is None

    def test_context_if_all_goes_well(self) -> None:
        def check(sent: bytes, wanted: Context) -> None:
            for greeted in (True, False):
                connection = Connection()
                if greeted:
                    connection.received(b"+OK\r\n")
                connection.sent(sent)
                assert connection.context() == wanted, greeted

        each(
            [
                (b"", Context(A)),
                (b"USER a\r\n", Context(A, "USER", done=frozenset({"USER"}))),
                (b"USER a\r\nPASS b\r\n", Context(T, "PASS", done=frozenset({"USER", "PASS"}))),
                (b"USER a\r\nNOOP\r\n", Context(A, "", done=frozenset({"USER"}))),
                (b"what\r\n", Context(A)),
                (b"STLS\r\n", Context(A, "", True, frozenset({"STLS"}))),
                (b"AUTH X\r\nYQ==\r\nQUIT\r\n", Context(U, "QUIT", done=frozenset({"AUTH", "QUIT"}))),
            ],
            check,
        )

    def test_a_line_parsed_already_is_parsed_again_only_for_another_context(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        user = parse("USER a", connection.context())
        connection.sent(b"USER a\r\n", line=user)
        pass_ = parse("PASS b", connection.context())
        connection.sent(b"PASS b\r\n", line=pass_)
        assert connection.context().state is T
        first, second = connection.received(b"-ERR\r\n-ERR\r\n")
        assert isinstance(first, Exchange)
        assert isinstance(second, Exchange)
        assert first.command is user
        assert second.command == parse("PASS b", Context(A, refused=True)), (
            "USER was refused, so it does not follow USER"
        )

    def test_what_is_under_way_is_shown_as_far_as_it_came(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        assert connection.under_way() is None
        connection.sent(b"RETR 1\r\n")
        connection.received(b"+OK\r\nhal")
        found = connection.under_way()
        assert found is not None
        assert (found.name, found.received, found.before, found.after) == ("RETR", b"+OK\r\nhal", A, A)
        head, due = connection.under_way(7), connection.due()
        assert head is not None
        assert due is not None
        assert (head.received, due.octets, due.lines, due.content, due.tail) == (b"+OK\r\nha", 8, 0, True, b"hal")
        assert found.response is not None
        assert found.finished == 0.0

    def test_what_quit_might_erase(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        connection.sent(b"APOP a 0\r\nDELE 1\r\nDELE 2\r\nDELE 0\r\nRETR 3\r\n")
        connection.received(b"+OK\r\n+OK\r\n")
        assert connection.context().state is T
        assert (connection.maildrop.marks, connection.at_stake) == ({1}, {1, 2})
        assert (connection.is_due("RETR"), connection.is_due("DELE"), connection.is_due("QUIT")) == (True, True, False)
        connection.received(b"-ERR\r\n")
        assert connection.at_stake == {1}

    def test_capabilities_are_forgotten(self) -> None:
        """RFC 2595 §4 after STLS, RFC 2449 §5 after the login."""
        capa: list[str | Move] = ["C: CAPA", "S: +OK", "S: SASL PLAIN", "S: ."]
        outcome = replay(moves(*capa, start=[GREETING]), whole)
        assert outcome.end["capabilities"] == {"SASL": ("PLAIN",)}
        for steps in (["C: STLS", "S: +OK", TLS], ["C: APOP a 0", "S: +OK"], ["C: CAPA", "S: -ERR"]):
            end = replay(moves(*capa, *steps, start=[GREETING]), whole).end  # type: ignore[arg-type]
            assert (end["capabilities"] is None) == (steps[-1] != "S: -ERR")

    def test_stamp(self) -> None:
        assert replay([("S", b"+OK hi <1.2@x>\r\n")], whole).end["stamp"] == "<1.2@x>"
        assert replay([("S", b"-ERR <1.2@x>\r\n")], whole).end["stamp"] is None

    def test_after_the_end_nothing_is_sent(self) -> None:
        connection = Connection()
        connection.close()
        assert connection.sent(b"STAT\r\n") == []
        assert connection.pending == 0

    def test_a_sent_line_too_long_to_keep_has_its_reply_all_the_same(self) -> None:
        connection = Connection(longest_line=100)
        connection.received(b"+OK\r\n")
        connection.sent(b"x" * 200 + b"\r\nSTAT\r\n")
        first, second = connection.received(b"-ERR too long\r\n+OK 1 1\r\n")
        assert isinstance(first, Exchange)
        assert isinstance(second, Exchange)
        assert first.response is not None
        assert first.response.status is Status.ERR
        assert (second.name, second.ok) == ("STAT", True)
        assert first.sent == b"\r\n"

    def test_an_answer_may_hold_any_octets(self) -> None:
        exchange = last("C: AUTH X", "S: + ", ("C", b"\xff\r\n"), "S: -ERR", start=[GREETING])
        assert exchange.secrets == ("\udcff",)
        challenged = last("C: AUTH X", ("S", b"+ \xff\r\n"), "C: *", "S: -ERR", start=[GREETING])
        assert challenged.steps == (Step(b"\xff", b"*"),)

    def test_tls_is_wanted_once(self) -> None:
        connection = Connection()
        connection.received(b"+OK\r\n")
        connection.sent(b"STLS\r\n")
        connection.received(b"+OK\r\n")
        assert connection.wants_tls is True
        connection.tls_started()
        assert (connection.wants_tls, connection.tls) == (False, True)


def test_names_in_utf8_are_no_slip_where_capa_says_so() -> None:
    """RFC 6856 §2.2: `UTF8 USER` allows them before the UTF8 command."""
    for capability, warned in ((b"UTF8", True), (b"UTF8 USER", False)):
        connection = Connection()
        connection.received(b"+OK\r\n")
        connection.sent(b"CAPA\r\n")
        connection.received(b"+OK\r\n" + capability + b"\r\n.\r\n")
        assert parse("USER m\xfcller", connection.context()).has("non-ascii") is warned
        assert parse("PASS \xfc", connection.context()).has("non-ascii") is warned
        assert parse("LANG \xfc", connection.context()).has("non-ascii")


# -- what is not kept, and what is due ---------------------------------------------------------------------------------


def logged_in() -> Connection:
    connection = Connection()
    connection.received(b"+OK ready\r\n")
    connection.sent(b"APOP mei 0\r\n")
    connection.received(b"+OK\r\n")
    return connection


def test_a_content_is_handed_on_whole_however_it_comes() -> None:
    def check(content: bytes, size: int) -> None:
        connection, came = logged_in(), []
        stream = Stream(came.append)
        connection.sent(b"RETR 1\r\n", stream=stream)
        connection.sent(b"NOOP\r\n")
        reply = b"+OK\r\n" + stuff(content) + b".\r\n"
        events, fed = [], 0
        wire = reply + b"+OK\r\n"
        for piece in (wire[at : at + size] for at in range(0, len(wire), size)):
            events += connection.received(piece)
            fed += len(piece)
            assert content.startswith(b"".join(came))
            if not events:
                due = connection.due()
                assert due is not None
                assert (due.octets, due.stream) == (fed, stream)
                assert due.lines >= b"".join(came).count(b"\n")
                assert not connection.content_lines()
        assert b"".join(came) == content
        assert (stream.octets, stream.lines, stream.raw) == (len(content), content.count(b"\n"), len(reply) - 5)
        assert stream.sha256 == hashlib.sha256(content).hexdigest()
        assert [(event.name, event.ok) for event in events] == [("RETR", True), ("NOOP", True)]

    contents = [b"", b".\r\n", b"a\r\n.\r\n.b\r\n", b"x" * 40 + b"\r\n", b"a\r\r\n.\r\n", b"a\n.b\r\n", b"\r\n\r\n"]
    each([(content, size) for content in contents for size in (1, 2, 3, 4, 5, 7, 100)], check)


def test_what_was_handed_on_before_the_connection_ended() -> None:
    connection, came = logged_in(), []
    stream = Stream(came.append)
    connection.sent(b"RETR 1\r\n", stream=stream)
    connection.received(b"+OK\r\n..a\r\nb\r\n.\r")
    (event,) = connection.close()
    assert isinstance(event, Exchange)
    assert event.problem is not None
    assert event.problem.code == "no-terminator"
    assert b"".join(came) == b".a\r\nb\r\n\r"
    assert stream.raw == len(b"..a\r\nb\r\n.\r")


def test_a_bare_auth_without_a_list_is_whole_when_nothing_more_comes() -> None:
    connection = Connection()
    connection.received(b"+OK ready\r\n")
    assert connection.settle() == []
    connection.sent(b"AUTH\r\n", 1.0)
    assert connection.settle() == []
    connection.received(b"+OK\r\n", 2.0)
    connection.sent(b"CAPA\r\n", 3.0)
    (event,) = connection.settle(4.0)
    assert isinstance(event, Exchange)
    assert (event.name, event.ok, event.milliseconds) == ("AUTH", True, 3000)
    due = connection.due()
    assert due is not None
    assert due.command is not None
    assert due.command.name == "CAPA"
    assert [event.name for event in connection.received(b"+OK\r\n.\r\n")] == ["CAPA"]  # type: ignore[union-attr]
    connection.sent(b"AUTH\r\n")
    connection.received(b"+OK\r\nPL")
    assert connection.settle() == []
    connection.received(b"AIN\r\n")
    assert connection.settle() == []
    connection.sent(b"CAPA\r\n")
    connection.received(b".\r\n+OK\r\n")
    assert connection.settle() == []  # CAPA's reply has an end of its own


def test_whether_a_line_of_a_content_has_come() -> None:
    connection = logged_in()
    assert not connection.content_lines()
    connection.sent(b"LIST\r\n")
    for piece, come in (
        (b"+O", False),
        (b"K\r\n", False),
        (b"1 2", False),
        (b"\r\n", True),
        (b"2", True),
        (b"\r\n.\r\n", False),
    ):
        connection.received(piece)
        assert connection.content_lines() is come, piece


def test_the_lines_of_a_content_that_did_not_end() -> None:
    for came, lines in (
        (b"+OK\r\n..a\r\nb", [b".a", b"b"]),
        (b"+OK\r\na\r\n", [b"a"]),
        (b"+OK\r\n", None),
        (b"", None),
    ):
        connection = logged_in()
        connection.sent(b"RETR 1\r\n")
        connection.received(came)
        (event,) = connection.close()
        assert isinstance(event, Exchange)
        assert event.content_lines() == lines, came


def test_all_rows_of_what_is_no_reply_may_repeat_a_secret() -> None:
    login: list[Move] = moves("C: USER a", "S: +OK", f"C: PASS {CANARY}", start=[GREETING])
    exchange = replay([*login, ("S", f"{CANARY}\r\n{CANARY}".encode()), ("close", b"")], whole).events[-1]
    assert isinstance(exchange, Exchange)
    assert exchange.response is None
    assert exchange.received_lines() == [f"{MASK}\r\n", MASK]
