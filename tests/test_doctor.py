"""The -ERR doctor: each rule on a conversation of its own, each premise by taking it away, and what `:why` says."""

from __future__ import annotations

import datetime
import re
import tomllib
from functools import cache
from typing import Any

import doctor
import pytest
from support import ROOT

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.doctor import Diagnosis, Premises, Rules, diagnose, judge, load, read, why
from popshell.course.notes import OK_KEYS, WHY
from popshell.course.symptoms import PREMISES, Facts, Seen, decoded_text, observe
from popshell.words import places

CASES = doctor.cases()
RANK = {"": 0, "elimination": 1, "family": 2, "literal": 3}


@cache
def rules() -> Rules:
    return load(Catalog((bundled(),)))


def of(*rows: str) -> Diagnosis:
    """The diagnosis of a conversation."""
    exchanges, facts = doctor.watched([move for row in rows for move in doctor.moves(row)])
    return diagnose(exchanges, facts, rules())


def table(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "lessons" / path).read_text("utf-8"))


# -- the rules ---------------------------------------------------------------------------------------------------------


def test_every_case_has_its_causes_in_order() -> None:
    wrong = []
    for case in CASES:
        exchanges, facts = doctor.watched(case.moves)
        found = diagnose(exchanges, facts, rules())
        first = found.causes[0] if found.causes else None
        assert len({cause.sure for cause in found.causes}) <= 1, str(case)  # `:why` says it once
        said = (
            first.rule.id if first else "-",
            found.named.product.id if found.named else "-",
            first.sure if first else "",
            [cause.code for cause in found.causes],
        )
        if said != (case.rule, case.product, case.sure, case.causes):
            wrong.append(f"{case}: {said}")
    assert not wrong, "\n".join(wrong)


def test_every_rule_is_reached_by_a_case() -> None:
    assert {rule.id for rule in rules().rule} == {case.rule for case in CASES} - {"-"}


def test_every_premise_matters() -> None:
    """Without one premise the rule does not speak, and what speaks instead is no surer, or goes by the code alone."""
    wrong, taken = [], 0
    for case in CASES:
        rule = next((rule for rule in rules().rule if rule.id == case.rule), None)
        if rule is None:
            continue
        exchanges, facts = doctor.watched(case.moves)
        seen = observe(exchanges, facts)
        for kind, wanted in rule.seen.asked():
            if kind == "text" and not wanted:
                continue  # any text: see test_a_text_is_not_silence
            taken += 1
            found = judge(without(kind, wanted, seen), rules())
            spoke = {cause.rule.id for cause in found.causes}
            first = found.causes[0] if found.causes else None
            surer = first is not None and RANK[first.sure] > RANK[case.sure]
            by_code = first is not None and {kind for kind, _ in first.rule.seen.asked()} == {"code"}
            if rule.id in spoke or (surer and not by_code):
                wrong.append(f"{case}: without {kind}: {spoke}")
    assert taken > 500
    assert not wrong, "\n".join(wrong)


def without(kind: str, wanted: Any, seen: Seen) -> Seen:
    """What was seen, with the opposite of one premise."""
    flips: dict[str, dict[str, Any]] = {
        "code": {"code": "" if wanted else "X-OTHER"},
        "text": {"texts": (), "replies": ()},
        "command": {"command": "XTND"},
        "mechanism": {"mechanism": "X-OTHER"},
        "state": {"state": "UPDATE"},
        "tls": {"tls": not wanted},
        "present": {"capabilities": None},
        "absent": {"capabilities": None},
        "unknown": {"capabilities": {} if wanted else None},
        "greeting": {"greeting": ()},
        "product": {"greeting": (), "capabilities": None},
        "first": {"first": not wanted},
        "repeated": {"repeated": 0},
        "seconds": {"seconds": 0.0},
        "closed": {"closed": not wanted},
        "problem": {"problem": ""},
        "raw": {"raw": ""},
        "objection": {"objections": frozenset()},
        "challenge": {"challenges": ()},
        "answer": {"answer": "sent"},
        "longer": {"octets": 0},
        "follows": {"follows": ""},
        "marked": {"marked": not wanted},
        "address": {"address": None},
        "host": {"host": "mail.example"},
    }
    return seen._replace(**flips[kind])


def test_every_kind_of_premise_is_used_and_has_its_field() -> None:
    used = {kind for rule in rules().rule for kind, _ in rule.seen.asked()}
    assert used == set(Premises.__struct_fields__)
    sets = [premises for why in WHY.values() for premises in why.premises]
    sets += [premises for keys in OK_KEYS.values() for premises in keys.values()]
    assert used | {kind for premises in sets for kind in premises} == PREMISES.keys()


def test_greetings_name_their_product() -> None:
    wrong = []
    for name, greeting in doctor.GREETINGS.items():
        named = of(f"S: {greeting}").named
        wanted = "" if name in ("plain", "stamp") else doctor.OF.get(name, name)
        if (named.product.id if named else "") != wanted or (named and named.sure != "literal"):
            wrong.append((name, named))
    assert not wrong


@pytest.mark.parametrize(
    ("rows", "product"),
    [
        (("C: CAPA  S: +OK", "S: IMPLEMENTATION Stalwart Server", "S: ."), "stalwart literal"),
        (("C: CAPA  S: +OK", "S: IMPLEMENTATION ZimbraInc", "S: ."), "zimbra literal"),
        (("C: CAPA  S: +OK", "S: X-GOOGLE-RICO", "S: ."), "gmail family"),
        (("C: CAPA  S: +OK", "S: CAPA", "S: TOP", "S: ."), "dovecot family"),
        (("C: CAPA  S: +OK", "S: TOP", "S: UIDL", "S: ."), ""),
        (("C: FOO  S: -ERR Unknown command.",), "dovecot family"),
        (("C: FOO  S: -ERR Unknown command: FOO",), ""),
        (("C: FOO  S: -ERR What, mate",), "perdition family"),
    ],
)
def test_capabilities_and_replies_name_a_product(rows: tuple[str, ...], product: str) -> None:
    named = of("S: <plain>", *rows, "C: STAT  S: -ERR").named
    assert (f"{named.product.id} {named.sure}" if named else "") == product


# -- what it must not say ----------------------------------------------------------------------------------------------


def test_a_bare_refusal_is_not_known() -> None:
    login = ("C: <login>",)
    wrong = []
    for before, line in (
        ((), "USER ann"), (("C: <user>",), "PASS secret"), ((), "STLS"), ((), "AUTH PLAIN AGEAYg=="),
        (login, "STAT"), (login, "LIST"), (login, "RETR 1"), (login, "TOP 1 0"), (login, "UIDL"), (login, "DELE 1"),
        (login, "NOOP"), (login, "RSET"), (login, "QUIT"), (login, "CAPA"), ((), "UTF8"),
    ):  # fmt: skip
        for reply in ("-ERR", "-ERR no", "-ERR [X-OWN] no"):
            found = of("S: <stamp>", *before, f"C: {line}  S: {reply}")
            if found.causes or found.next != "unknown" or found.exchange is None:
                wrong.append((line, reply, found.causes))
    assert not wrong, wrong


def test_nothing_refused_is_no_diagnosis() -> None:
    found = of("S: <gmail>", "C: <login>", "C: RETR 1  S: +OK", "S: -ERR [AUTH] Web login required", "S: .")
    assert (found.exchange, found.causes) == (None, ())
    assert found.named is not None


def test_a_text_is_not_silence() -> None:
    """A reply that came slowly is judged by its rule; silence for as long is not."""
    slow = of("S: <plain>", "C: <user>", "C: PASS secret", "= wait 5", "S: -ERR")
    silent = of("S: <plain>", "C: <user>", "C: PASS secret", "= wait 5", "= close")
    assert slow.causes[0].rule.id == "slow-refusal"
    assert silent.causes[0].rule.id == "silent-after-pass"


def test_the_reply_before_the_close_is_asked_about() -> None:
    found = of("S: <gmx>", "C: <user>", "C: PASS secret  S: -ERR authentication failed", "C: QUIT", "= close")
    assert found.exchange is not None
    assert (found.exchange.name, found.causes[0].code, found.seen.closed) == ("PASS", "pop-off", True)


def test_the_last_refusal_is_asked_about_also_after_a_success() -> None:
    found = of("S: <dovecot>", "C: <login>", "C: RETR 9  S: -ERR There's no message 9.", "C: NOOP  S: +OK")
    assert [cause.code for cause in found.causes] == ["no-such-message"]


# -- encodings ---------------------------------------------------------------------------------------------------------


def test_texts_are_read_in_the_likeliest_encoding() -> None:
    for text, codec, wanted in (
        ("plain words", "ascii", "UTF-8"),
        ("使用者名稱或密碼錯誤", "utf-8", "UTF-8"),
        ("用户无权使用pop3", "gb18030", "GB18030"),
        ("使用者名稱或密碼錯誤", "big5", "Big5"),
        ("信箱已被鎖定，請稍後再試", "big5", "Big5"),
    ):
        first = decoded_text(text.encode(codec))[0]
        assert first == (wanted, text), text


def test_octets_of_no_encoding_are_read_somehow() -> None:
    assert decoded_text(b"\xff\xfe\x80")[-1].encoding == "Latin-1"


def test_a_pattern_meets_each_reading() -> None:
    found = of("S: <coremail>", "C: <user>", f"C: PASS secret  S: -ERR {shown('用户无权使用pop3'.encode('gb18030'))}")
    assert found.seen.texts[0].encoding == "GB18030"
    assert found.causes[0].rule.id == "netease-pop-off"


def shown(octets: bytes) -> str:
    return "".join(chr(octet) if octet < 128 else f"\\x{octet:02x}" for octet in octets)


# -- in words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_why_says_what_came_who_why_and_what_next(language: str) -> None:
    words = Catalog((bundled(),)).words(language, "doctor")
    found = of("S: <gmail>", "C: <user>", "C: PASS secret  S: -ERR [AUTH] Application-specific password required")
    lines = [paragraph.text for paragraph in why(found, words)]
    assert "PASS ••••" in lines[0]
    assert "Application-specific password required" in lines[0]
    assert "Gmail" in lines[1]
    assert lines[2].startswith("1. ")
    assert words("cause.account-password") in lines[2]
    assert words("sure.literal") in lines[3]
    assert words("next.app-password") in lines[4]
    assert "https://github.com/mailman/mailman/issues/50" in lines[5]
    assert "2012-06-09" in lines[5]


def test_why_says_when_it_does_not_know() -> None:
    words = Catalog((bundled(),)).words("en", "doctor")
    lines = [paragraph.text for paragraph in why(of("S: <plain>", "C: <user>", "C: PASS secret  S: -ERR"), words)]
    assert words("doctor.unknown") in lines
    assert not any(line.startswith("1.") for line in lines)
    assert [p.text for p in why(of("S: <plain>"), words)] == [words("doctor.nothing")]


def test_what_came_broken_is_no_refusal() -> None:
    words = Catalog((bundled(),)).words("en", "doctor")
    for rows in (("C: RETR 1  S: +OK 9 octets", "= close"), ("C: LIST", "S: 1 9")):
        lines = [p.text for p in why(of("S: <plain>", "C: <login>", *rows), words)]
        assert lines[1:] == [words("doctor.no-refusal")], rows


def test_why_says_the_encoding_and_hides_the_secret() -> None:
    words = Catalog((bundled(),)).words("en", "doctor")
    reply = shown("hunter2 用户无权使用pop3".encode("gb18030"))
    lines = [p.text for p in why(of("S: <plain>", "C: <user>", f"C: PASS hunter2  S: -ERR {reply}"), words)]
    assert not any("hunter2" in line for line in lines)
    assert any("GB18030" in line and "用户无权使用pop3" in line for line in lines)


def test_why_filters_what_a_server_says() -> None:
    words = Catalog((bundled(),)).words("en", "doctor")
    lines = [p.text for p in why(of("S: <plain>", "C: STAT  S: -ERR \\x1b[2J\\u202e"), words)]
    assert not any("\x1b" in line or "\u202e" in line for line in lines)


def test_every_diagnosis_has_its_words() -> None:
    for language in LANGUAGES:
        words = Catalog((bundled(),)).words(language, "doctor")
        for case in CASES:
            exchanges, facts = doctor.watched(case.moves)
            assert all(paragraph.text for paragraph in why(diagnose(exchanges, facts, rules()), words)), str(case)


# -- the files ---------------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_keys_and_places() -> None:
    english, other = table("en/doctor.toml"), table("zh-Hant/doctor.toml")
    assert english.keys() == other.keys()
    for section, rows in english.items():
        assert rows.keys() == other[section].keys(), section
        for key, text in rows.items():
            # A number that Chinese does not inflect needs no choice: the same facts all the same.
            assert places(text) == places(other[section][key]), f"{section}.{key}"


def test_words_are_there_for_what_is_used_and_for_nothing_else() -> None:
    words = table("en/doctor.toml")
    assert words["cause"].keys() == {cause for rule in rules().rule for cause in rule.causes}
    assert words["next"].keys() == {rule.next for rule in rules().rule} | {"unknown"}
    assert words["sure"].keys() == RANK.keys() - {""}
    assert words["source"].keys() <= rules().source.keys()


def test_every_source_is_used_named_and_dated() -> None:
    used = {row.source for row in (*rules().rule, *rules().product)}
    assert used == rules().source.keys()
    headings = tomllib.loads((ROOT / "lessons" / "rfc.toml").read_text("utf-8"))
    for key, source in rules().source.items():
        assert bool(source.rfc) != bool(source.title), key
        assert source.url.startswith("https://") or not source.url, key
        assert re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", source.date), key
        year, month, day = [*map(int, source.date.split("-")), 1, 1][:3]
        assert datetime.date(1984, 1, 1) < datetime.date(year, month, day), key
    for rule in rules().rule:
        source = rules().source[rule.source]
        if source.rfc:
            assert rule.at in headings[f"rfc{source.rfc}"]["sections"], rule.id
        if rule.source == "quoted":
            assert rule.sure != "literal", rule.id


def test_ids_stand_once() -> None:
    for rows in (rules().rule, rules().product):
        ids = [row.id for row in rows]
        assert len(set(ids)) == len(ids)


_SOURCE = '[source]\ns = { title = "a", date = "2026" }\n'
_PRODUCT = '[[product]]\nid = "p"\nname = "P"\nsource = "s"\n'
_RULE = (
    '[[rule]]\nid = "r"\nsure = "literal"\nseen = {{ {seen} }}\ncauses = [{causes}]\nnext = "n"\nsource = "{source}"\n'
)


@pytest.mark.parametrize(
    ("seen", "causes", "source", "reason"),
    [
        ('code = "AUTH"', '"c"', "t", "source t is unknown"),
        ("code = \"\", text = '('", '"c"', "s", "no regular expression"),
        ("text = 'a'", '"c"', "s", "need the code"),
        ('product = ["q"]', '"c"', "s", "product is unknown"),
        ('code = "AUTH"', "", "s", "causes and premises"),
        ("", '"c"', "s", "causes and premises"),
        ('colour = "red"', '"c"', "s", "colour"),
        ('code = "AUTH"', '"c"', "s", ""),
    ],
)
def test_a_file_that_is_not_allowed_is_refused(seen: str, causes: str, source: str, reason: str) -> None:
    text = _SOURCE + _PRODUCT + _RULE.format(seen=seen, causes=causes, source=source)
    if not reason:
        assert len(read(text).rule) == 1
        return
    with pytest.raises(ValueError, match=reason):
        read(text)


def test_facts_of_the_endpoint_are_enough_where_no_connection_came_about() -> None:
    assert diagnose([], Facts("pop.mail.me.com"), rules()).causes[0].code == "no-pop3-there"
    assert diagnose([], Facts("pop.example"), rules()).causes == ()
