"""Notices: each on a conversation in which something does not fit, and none where everything does."""

from __future__ import annotations

import random
import tomllib
from typing import TypeGuard

import doctor
from support import LOGIN, ROOT, play, random_dialogue, replay, whole

from popshell.course.catalog import Catalog, bundled
from popshell.course.doctor import diagnose, load, why
from popshell.course.notices import NOTICES, Notice, Notices
from popshell.course.symptoms import Facts
from popshell.protocol.records import Exchange
from popshell.words import places

LONG = "x" * 999
MESSAGE = ("S: Subject: a", "S: ", "S: one", "S: two", "S: .")  # 24 octets in 4 lines
LOGGED_IN = ("S: <plain>", "C: <login>")

#: conversation after the login -> what is noticed, with its facts
TABLE: tuple[tuple[tuple[str, ...], dict[str, dict[str, object]]], ...] = (
    # sizes and counts
    (("C: LIST 1  S: +OK 1 20", "C: RETR 1  S: +OK", *MESSAGE),
     {"size-line-ends": {"msg": 1, "listed": 20, "came": 24, "lines": 4}}),
    (("C: LIST 1  S: +OK 1 1024", "C: RETR 1  S: +OK", *MESSAGE), {"size": {"msg": 1, "listed": 1024, "came": 24}}),
    (("C: LIST 1  S: +OK 1 24", "C: RETR 1  S: +OK 24 octets", *MESSAGE), {}),
    (("C: RETR 1  S: +OK 27 octets", *MESSAGE), {"size-said": {"said": 27, "came": 24}}),
    (("C: RETR 1  S: +OK message follows", *MESSAGE), {}),
    (("C: STAT  S: +OK 2 320", "C: LIST  S: +OK", "S: 1 320", "S: ."),
     {"count": {"command": "LIST", "now": 1, "before": 2}}),
    (("C: LIST  S: +OK", "S: 1 320", "S: .", "C: STAT  S: +OK 2 320"),
     {"count": {"command": "STAT", "now": 2, "before": 1}}),
    (("C: STAT  S: +OK 2 320", "C: LIST  S: +OK", "S: 1 120", "S: 2 201", "S: ."),
     {"sum": {"now": 321, "before": 320}}),
    (("C: STAT  S: +OK 2 320", "C: LIST  S: +OK", "S: 1 120", "S: 2 200", "S: ."), {}),
    (("C: STAT  S: +OK 2 320", "C: UIDL  S: +OK", "S: 1 a", "S: ."),
     {"uidl-count": {"command": "UIDL", "now": 1, "before": 2}}),
    (("C: LIST  S: +OK", "S: 1 120", "S: 2 200", "S: .", "C: DELE 1  S: +OK", "C: STAT  S: +OK 1 200"), {}),
    # rows and numbers
    (("C: STAT  S: +OK 2 320", "C: LIST  S: +OK", "S: 1\\t120", "S: 2 200", "S: ."),
     {"rows": {"command": "LIST", "count": 1, "row": "1\\t120"}}),
    (("C: LIST  S: +OK", "S: ", "S: 1 120", "S: ."), {"rows": {"command": "LIST", "count": 1, "row": ""}}),
    (("C: LIST  S: +OK", "S: 1 10", "S: 1 20", "S: ."), {"row-repeats": {"command": "LIST", "msg": 1}}),
    (("C: UIDL  S: +OK", "S: 1 " + "u" * 71, "S: ."), {"uid-grammar": {"msg": "1"}}),
    (("C: UIDL  S: +OK", "S: 1 ", "S: 2 b", "S: ."),
     {"uid-grammar": {"msg": "1"}}),
    (("C: UIDL 1  S: +OK 1 a\\xe9",), {"uid-grammar": {"msg": "1"}, "status-8bit": {"encoding": "no UTF-8"}}),
    (("C: UIDL  S: +OK", "S: 1 " + "u" * 70, "S: ."), {}),
    (("C: UIDL  S: +OK", "S: 1 a", "S: 2 b", "S: 3 a", "S: ."), {"uid-repeats": {"uid": "a", "first": 1, "second": 3}}),
    (("C: STAT  S: +OK",), {"no-numbers": {"command": "STAT"}}),
    (("C: UIDL 1  S: +OK tw-1",), {"no-numbers": {"command": "UIDL"}}),
    (("C: LIST  S: +OK", "S: 0 120", "S: 1 120", "S: ."), {"zero": {}}),
    (("C: DELE 0  S: -ERR",), {}),
    (("C: LIST  S: +OK", "S: 1 120", "S: 3 120", "S: ."), {"gaps": {"command": "LIST"}}),
    (("C: LIST 1  S: +OK 99 1024",), {"other-message": {"command": "LIST", "msg": 1, "other": 99}}),
    (("C: UIDL 1  S: +OK 2 b",), {"other-message": {"command": "UIDL", "msg": 1, "other": 2}}),
    (("C: LIST  S: +OK", "S: 1 120", "S: .", "C: LIST 1  S: +OK 1 140"),
     {"size-changed": {"msg": 1, "now": 140, "before": 120}}),
    (("C: UIDL  S: +OK", "S: 1 a", "S: 2 b", "S: .", "C: UIDL  S: +OK", "S: 1 b", "S: 2 c", "S: ."),
     {"uid-changed": {"msg": 1, "now": "b", "before": "a"}}),
    (("C: UIDL  S: +OK", "S: 1 a", "S: .", "C: UIDL 1  S: +OK 1 a"), {}),
    (("C: LIST 01  S: +OK 01 221",), {}),
    (("C: DELE 1  S: +OK", "C: LIST  S: +OK", "S: 1 0", "S: 2 5", "S: ."),
     {"marked-listed": {"command": "LIST", "msg": 1}}),
    (("C: DELE 1  S: +OK", "C: UIDL 1  S: +OK 1 a"), {}),
    (("C: LIST 1  S: +OK 2 messages", "S: 1 120", "S: 2 200"),
     {"other-message": {"command": "LIST", "msg": 1, "other": 2}, "no-numbers": {"command": "LIST"}}),
    (("C: LIST 1  S: +OK 1 120", "S: +OK something"), {}),
    (("C: NOOP  S: +OK", "S: 1 120"), {}),
    (("C: LIST  S: +OK 1 120", "= close"), {"one-line": {"command": "LIST"}}),
    (("C: LIST  S: +OK 2 messages", "S: 1 120", "= close"), {}),
    # capabilities
    (("C: CAPA  S: +OK", "S: UIDL", "S: .", "C: UIDL  S: -ERR"), {"capa-refused": {"tag": "UIDL", "command": "UIDL"}}),
    (("C: CAPA  S: +OK", "S: UIDL", "S: .", "C: UIDL  S: -ERR [SYS/TEMP] later"), {}),
    (("C: CAPA  S: +OK", "S: TOP", "S: .", "C: TOP 9 0  S: -ERR"), {}),
    (("C: CAPA  S: +OK", "S: TOP", "S: .", "C: LIST 1  S: +OK 1 9", "C: TOP 1 0  S: -ERR"),
     {"capa-refused": {"tag": "TOP", "command": "TOP"}}),
    (("C: CAPA  S: +OK", "S: TOP", "S: .", "C: TOP 1  S: -ERR"), {}),
    (("C: CAPA  S: +OK", "S: USER", "S: .", "C: UIDL  S: +OK", "S: ."),
     {"capa-works": {"tag": "UIDL", "command": "UIDL"}}),
    (("C: UIDL  S: +OK", "S: ."), {}),
    (("C: CAPA  S: +OK", "S: UIDL", "S: .", "C: UIDL  S: +OK", "S: ."), {}),
    # octets
    (("C: NOOP  S: +OK " + "x" * 507,), {"long-status": {"octets": 513}}),
    (("C: NOOP  S: +OK " + "x" * 506,), {}),
    (("C: RETR 1  S: +OK", "S: a: b", "S: ", f"S: {LONG}", "S: ."), {"long-line": {"msg": 1}}),
    (("C: RETR 1  S: +OK", f"S: a: {LONG[4:]}", f"S: {LONG[1:]}", "S: ."), {}),
    (("C: RETR 1  S: +OK", "S: ", "S: text", "S: ."), {"no-header": {"msg": 1, "row": ""}}),
    (("C: TOP 1 0  S: +OK", "S: From a Mon Jan  1 00:00:00 2024", "S: a: b", "S: ."),
     {"no-header": {"msg": 1, "row": "From a Mon Jan  1 00:00:00 2024"}}),
    (("C: NOOP  S: +OK caf\u00e9",), {"status-8bit": {"encoding": "UTF-8"}}),
    (("C: LANG fr  S: +OK fr d'accord", "C: NOOP  S: +OK caf\u00e9"), {}),
    (("C: LANG fr  S: +OK fr caf\u00e9",), {}),
    (("C: TOP 1 0  S: +OK", "S: Subject: caf\u00e9", "S: ", "S: ."), {"header-8bit": {"msg": 1}}),
    (("C: RETR 1  S: +OK", "S: Subject: a", "S: ", "S: caf\u00e9", "S: ."), {}),
    (("C: RETR 1  S: +OK", "S: a: b\\nc: d", "S: ", "S: ."), {"bare-lf": {"msg": 1, "count": 1}}),
    (("C: TOP 1 1  S: +OK", *MESSAGE), {"top-body": {"asked": 1, "sent": 2}}),
    (("C: TOP 1 2  S: +OK", *MESSAGE), {}),
    (("C: TOP 1 0  S: +OK", "S: Subject: a", "S: ."), {}),
    (("C: RETR 1  S: +OK", *MESSAGE, "S: the rest", "S: of it", "S: ."), {"early-dot": {"msg": 1}}),
    (("C: TOP 7 9  S: +OK", *MESSAGE, "C: STAT", "S: the rest", "S: ."), {"early-dot": {"msg": 7}}),
    (("C: RETR 1  S: +OK", *MESSAGE, "S: -ERR autologout"), {}),
    (("C: RETR 1  S: +OK", *MESSAGE, "C: NOOP  S: +OK", "S: what is this"), {}),
    (("C: LIST  S: +OK", "S: 1 120", "S: .", "S: 2 120"), {}),
    (("C: LANG en  S: +OK",), {"lang-no-tag": {}}),
    (("C: LANG zh-Hant  S: +OK zh-Hant yes",), {}),
)  # fmt: skip


def noticed(observer: Notices, *rows: str) -> list[Notice]:
    exchanges, _ = doctor.watched([move for row in rows for move in doctor.moves(row)])
    return [notice for exchange in exchanges for notice in observer.saw(exchange)]


def test_what_does_not_fit_is_noticed_with_its_facts_and_nothing_else_is() -> None:
    wrong = []
    for rows, wanted in TABLE:
        found = {notice.code: notice.facts for notice in noticed(Notices(), *LOGGED_IN, *rows)}
        if found != wanted:
            wrong.append(f"{rows}: {found}")
    assert not wrong, "\n".join(wrong)


def test_what_the_list_of_mechanisms_says_and_what_is_done() -> None:
    capa = ("S: <plain>", "C: CAPA  S: +OK", "S: SASL LOGIN CRAM-MD5", "S: .")
    found = {
        row: [(notice.code, notice.facts["tag"]) for notice in noticed(Notices(), *capa, *row)]
        for row in (
            ("C: AUTH cram-md5  S: -ERR not here",),
            ("C: AUTH CRAM-MD5  S: -ERR [AUTH] no",),
            ("C: AUTH PLAIN  S: -ERR no",),
            ("C: AUTH PLAIN AGEAYg==  S: +OK",),
            ("C: AUTH CRAM-MD5  S: + PDE+", "C: YQ==  S: -ERR wrong"),
        )
    }
    assert [*found.values()] == [[("sasl-refused", "SASL CRAM-MD5")], [], [], [("sasl-works", "SASL PLAIN")], []]


def test_every_notice_has_a_conversation_and_words() -> None:
    codes = [entry.code for entry in NOTICES]
    elsewhere = {"renumbered", "uids-changed", "sasl-refused", "sasl-works"}
    assert {code for _, wanted in TABLE for code in wanted} | elsewhere == {*codes}
    assert len({*codes}) == len(codes)
    words = tomllib.loads((ROOT / "lessons/en/doctor.toml").read_text("utf-8"))["notice"]
    assert words.keys() == {*codes}


def test_the_facts_are_those_that_the_words_name() -> None:
    words = tomllib.loads((ROOT / "lessons/en/doctor.toml").read_text("utf-8"))["notice"]
    for _, wanted in TABLE:
        for code, facts in wanted.items():
            assert places(words[code]) <= facts.keys(), code


def test_notices_can_be_said_in_each_language() -> None:
    for language in ("en", "zh-Hant"):
        words = Catalog((bundled(),)).words(language, "doctor")
        for _, wanted in TABLE:
            for code, facts in wanted.items():
                assert words(f"notice.{code}", **facts)


def test_a_code_comes_once_a_session() -> None:
    rows = ("C: LIST  S: +OK", "S: 2 5", "S: .", "C: LIST  S: +OK", "S: 2 5", "S: 4 5", "S: .")
    observer = Notices()
    assert [notice.code for notice in noticed(observer, *LOGGED_IN, *rows)].count("gaps") == 1
    assert [notice.code for notice in noticed(observer.again(), *LOGGED_IN, *rows[:3])] == ["gaps"]


def test_messages_renumbered_between_sessions() -> None:
    first, uidl = Notices(), ("C: UIDL  S: +OK", "S: 1 a", "S: 2 b", "S: .")
    assert noticed(first, *LOGGED_IN, *uidl) == []
    for rows, wanted in (
        (("S: 1 b", "S: 2 c"), [Notice("renumbered", {"msg": 1, "before": 2})]),
        (("S: 1 a", "S: 2 b", "S: 3 c"), []),
        (("S: 1 x", "S: 2 y"), [Notice("uids-changed", {"count": 2})]),
        ((), []),
    ):
        assert noticed(first.again(), *LOGGED_IN, "C: UIDL  S: +OK", *rows, "S: .") == wanted, rows


def test_a_session_without_uidl_keeps_the_ids_of_the_one_before() -> None:
    first = Notices()
    noticed(first, *LOGGED_IN, "C: UIDL  S: +OK", "S: 1 a", "S: .")
    second = first.again()
    noticed(second, *LOGGED_IN)
    assert [n.code for n in noticed(second.again(), *LOGGED_IN, "C: UIDL  S: +OK", "S: 1 z", "S: .")] == [
        "uids-changed"
    ]


def test_capabilities_from_before_tls_are_not_held_against_what_follows() -> None:
    """Without and with TLS the lists may differ (RFC 2595 §4)."""
    before = noticed_after_capa("S: <plain>", "C: <login>", "C: UIDL  S: +OK", "S: .")
    after = noticed_after_capa("= tls", "S: <plain>", "C: <login>", "C: UIDL  S: +OK", "S: .")
    assert ([notice.code for notice in before], after) == (["capa-works"], [])


def noticed_after_capa(*rows: str) -> list[Notice]:
    """What is noticed in the last exchange of `rows`, if CAPA was read without TLS before."""
    observer = Notices()
    noticed(observer, "S: <plain>", "C: CAPA  S: +OK", "S: STLS", "S: .")
    exchanges, _ = doctor.watched([move for row in rows for move in doctor.moves(row)])
    return observer.saw(exchanges[-1]._replace(capabilities_before={"STLS": ()}))


def test_the_practice_server_gives_no_reason_for_a_notice() -> None:
    lines = ("CAPA", *LOGIN, "CAPA", "STAT", "LIST", "UIDL", "LIST 1", "UIDL 1", "RETR 1", "RETR 2", "RETR 3",
             "TOP 1 0", "TOP 2 3", "DELE 1", "LIST", "UIDL", "STAT", "RSET", "STAT", "LANG",
             "LANG zh-Hant", "LANG", "NOOP", "QUIT")  # fmt: skip
    observer = Notices()
    assert [notice for exchange in play(*lines) for notice in observer.saw(exchange)] == []


def test_no_conversation_is_too_odd() -> None:
    """Whatever a Connection makes of random dialogues, observer and doctor get through it, and its words are there."""
    catalog = Catalog((bundled(),))
    rules, words = load(catalog), catalog.words("en", "doctor")
    for seed in range(400):
        observer = Notices()
        exchanges = [
            event for event in replay(random_dialogue(random.Random(seed)), whole).events if is_exchange(event)
        ]
        for exchange in exchanges:
            for code, facts in observer.saw(exchange):
                assert words(f"notice.{code}", **facts), seed
        assert [*why(diagnose(exchanges, Facts(), rules), words)], seed


def is_exchange(event: object) -> TypeGuard[Exchange]:
    return isinstance(event, Exchange)
