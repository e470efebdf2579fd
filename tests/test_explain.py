"""explain: every reply of the practice server has its note, of the right page and whole, in both languages.

Replies of other servers are played by hand, status line by status line, through the same Connection as in the shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from support import each, over, rehearse

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.explain import Note, _unknown, citation, explain, explain_line, facts, pages, suggestion, warning
from popshell.course.notes import REASONS, WHY, reason
from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import MASK, Context, parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange, Problem
from popshell.server.maildrop import from_files
from popshell.server.mailserver import MailServer

CATALOG = Catalog((bundled(),))
MESSAGES = from_files(CATALOG.maildrop_files("default"))
STAMP = "<1896.697170952@popshell.example>"
LOGIN = ("USER learner", "PASS secret")
PLAIN = "AGxlYXJuZXIAc2VjcmV0"
DIGEST = "88c0adfeab181737fec4489ad6acafb5"


def server(**options: Any) -> MailServer:
    settings: dict[str, Any] = {"messages": MESSAGES, "clock": lambda: 0.0, "new_stamp": lambda: STAMP}
    return MailServer({"learner": "secret"}, CATALOG.languages, CATALOG.replies, **(settings | options))


def last(*lines: str, tls: bool = False, **options: Any) -> Exchange:
    """The last exchange of a session on the practice server."""
    return rehearse(lines, server(**options), tls=tls)[-1]


def real(*moves: str) -> Exchange:
    """The last exchange with another server: lines `C: ...` and `S: ...`; the greeting goes without saying."""
    connection = Connection()
    connection.received(b"+OK\r\n")
    out: list[Exchange | Challenge] = []
    for move in moves:
        data = move[3:].encode() + b"\r\n"
        out += connection.sent(data) if move.startswith("C:") else connection.received(data)
    found = [event for event in out if isinstance(event, Exchange)]
    assert found, moves
    return found[-1]


IN = ("C: USER learner", "S: +OK", "C: PASS secret", "S: +OK")


def notes(exchange: Exchange, language: str = "en") -> list[Note]:
    found = explain(exchange, CATALOG, language)
    for note in found:
        assert note.sort in ("ok", "err", "info", "warn")
        assert note.text.strip()
        assert not re.search(r"[{}]", note.text), note.text
        assert re.fullmatch(r"(?:RFC \d+ (?:§[\w.]+|“[^”]+”))?", note.cite)
    return found


def template(language: str, page: str, key: str) -> str:
    found = CATALOG.page(language, page)
    assert found is not None
    text = found.note(key)
    assert text is not None, (page, key)
    return text


def says(note: str, text: str) -> bool:
    """Whether `note` is `text` with its placeholders filled."""
    parts = re.split(r"\{[a-z_]+(?:\|[^|{}]*\|[^|{}]*)?\}", text)
    return re.fullmatch(".+?".join(map(re.escape, parts)), note, re.DOTALL) is not None


# -- +OK ---------------------------------------------------------------------------------------------------------------

EMPTY: dict[str, Any] = {"messages": ()}
#: Lines, the key that explains the last, and further ways of the server.
OKS: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (("USER learner",), "note", {}),
    (LOGIN, "note", {}),
    ((f"APOP learner {DIGEST}",), "note", {}),
    ((f"AUTH PLAIN {PLAIN}",), "note", {}),
    (("auth plain", PLAIN), "note", {}),
    (("STLS",), "note", {}),
    (("CAPA",), "stls", {}),
    (("CAPA",), "note", {"faults": {"without": ["STLS"]}}),
    (("STLS", "CAPA"), "tls", {}),
    ((*LOGIN, "CAPA"), "transaction", {}),
    (("STLS", *LOGIN, "CAPA"), "transaction", {}),
    (("UTF8",), "note", {}),
    (("LANG",), "note", {}),
    (("LANG zh",), "one", {}),
    (("QUIT",), "authorization", {}),
    ((*LOGIN, "QUIT"), "note", {}),
    ((*LOGIN, "DELE 1", "QUIT"), "marks", {}),
    ((*LOGIN, "DELE 1", "DELE 3", "QUIT"), "marks", {}),
    ((*LOGIN, "STAT"), "note", {}),
    ((*LOGIN, "STAT"), "empty", EMPTY),
    ((*LOGIN, "LIST"), "note", {}),
    ((*LOGIN, "LIST"), "empty", EMPTY),
    ((*LOGIN, "LIST 2"), "one", {}),
    ((*LOGIN, "UIDL"), "note", {}),
    ((*LOGIN, "UIDL"), "empty", EMPTY),
    ((*LOGIN, "UIDL 2"), "one", {}),
    ((*LOGIN, "RETR 1"), "note", {}),
    ((*LOGIN, "RETR 2"), "note", {}),
    ((*LOGIN, "TOP 1 0"), "note", {}),
    ((*LOGIN, "TOP 2 99"), "note", {}),
    ((*LOGIN, "DELE 1"), "note", {}),
    ((*LOGIN, "NOOP"), "note", {}),
    ((*LOGIN, "RSET"), "none", {}),
    ((*LOGIN, "DELE 1", "RSET"), "note", {}),
]  # fmt: skip


@over("language", LANGUAGES)
@over("lines, key, options", OKS)
def test_ok(lines: tuple[str, ...], key: str, options: dict[str, Any], language: str) -> None:
    exchange = last(*lines, **options)
    assert exchange.ok
    spec = COMMANDS[exchange.name]
    found = notes(exchange, language)
    assert found[0].sort == "ok"
    assert found[0].cite == citation(spec.rfc, spec.section)
    assert says(found[0].text, template(language, f"commands/{exchange.name}", f"ok.{key}"))
    stuffed = "stuffed" in facts(exchange)
    assert len(found) == 1 + stuffed
    if stuffed:
        assert found[1].cite == "RFC 1939 §3"
        assert says(found[1].text, template(language, f"commands/{exchange.name}", "ok.stuffed"))


def test_every_command_that_is_served_is_explained() -> None:
    told = {last(*lines, **options).name for lines, _, options in OKS}
    assert told == {name for name, spec in COMMANDS.items() if not spec.historic}


def test_a_secret_is_in_no_note() -> None:
    for lines, _, options in OKS:
        for exchange in rehearse(lines, server(**options)):
            said = " ".join(note.text for note in notes(exchange))
            assert not any(secret in said for secret in ("secret", PLAIN, DIGEST))


def test_what_a_historic_command_means_where_it_is_served() -> None:
    exchange = real(*IN, "C: LAST", "S: +OK 3")
    assert says(notes(exchange)[0].text, template("en", "commands/LAST", "ok.note"))


def test_an_unknown_command_that_is_served() -> None:
    found = notes(real("C: XLST", "S: +OK fine"))
    assert [(note.sort, note.cite) for note in found] == [("ok", "")]
    assert "`XLST`" in found[0].text


def test_a_command_served_where_it_is_not_legal() -> None:
    found = notes(real("C: STAT", "S: +OK 2 320"))
    assert [note.sort for note in found] == ["ok", "warn"]
    assert "AUTHORIZATION" in found[1].text


def test_a_reply_without_the_facts_of_its_note_has_none() -> None:
    assert notes(real(*IN, "C: STAT", "S: +OK two messages")) == []


# -- -ERR --------------------------------------------------------------------------------------------------------------

#: What is sent, the reason, further ways of the server.
ERRS: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    *(((name + " 1 1"[: 2 * spec.required],), "wrong-state", {}) for name, spec in COMMANDS.items()
      if State.AUTHORIZATION not in spec.transitions and not spec.historic),
    *(((*LOGIN, line), "wrong-state", {}) for line in
      ("USER x", "PASS x", f"APOP x {DIGEST}", "AUTH PLAIN", "STLS", "UTF8")),
    (("LAST",), "historic", {}),
    ((*LOGIN, "LAST"), "historic", {}),
    (("USER learner", "RPOP x"), "historic", {}),
    ((*LOGIN, "XTND BBOARDS"), "historic", {}),
    (("PASS secret",), "must-follow", {}),
    (("USER learner", "NOOP", "PASS secret"), "must-follow", {}),
    *(((line,), "missing-argument", {}) for line in ("USER", "APOP", "APOP learner", "AUTH")),
    (("USER learner", "PASS"), "missing-argument", {}),
    *(((*LOGIN, line), "missing-argument", {}) for line in ("RETR", "TOP", "TOP 1", "DELE")),
    *(((line,), "extra-argument", {}) for line in
      ("USER a b", f"APOP a {DIGEST} c", "AUTH PLAIN = c", "STLS a", "CAPA a", "UTF8 a", "LANG en de", "QUIT a")),
    *(((*LOGIN, line), "extra-argument", {}) for line in
      ("STAT 1", "LIST 1 2", "RETR 1 2", "DELE 1 2", "NOOP 1", "RSET 1", "TOP 1 2 3", "UIDL 1 2")),
    *(((*LOGIN, line), "bad-number", {}) for line in
      ("RETR x", "DELE -1", "LIST 1.5", "UIDL 2z7ks7mn2ctvdxxf", "TOP x 1", "TOP 1 x", "RETR ١")),
    *(((*LOGIN, line), "zero", {}) for line in ("RETR 0", "DELE 00", "LIST 0", "UIDL 0", "TOP 0 1")),
    *(((*LOGIN, "DELE 1", line), "marked", {}) for line in ("RETR 1", "DELE 1", "LIST 1", "UIDL 1", "TOP 1 0")),
    *(((*LOGIN, line), "unseen-message", {}) for line in ("RETR 8", "DELE 99", "LIST 8")),
    *(((*LOGIN, "LIST", line), "no-such-message", {}) for line in ("UIDL 8", "TOP 8 0")),
    *(((*LOGIN, line), "perhaps-lacking", {}) for line in ("UIDL 8", "TOP 8 0")),
    *(((*LOGIN, "CAPA", line), "unseen-message", {}) for line in ("UIDL 8", "TOP 8 0")),
    *(((*LOGIN, "STAT", line), "no-such-message", {}) for line in ("RETR 8", "DELE 99")),
    (("STLS", "STLS"), "already-tls", {}),
    (("UTF8", "STLS"), "not-after", {}),
    (("USER learner", "PASS wrong"), "credentials", {}),
    (("USER nobody", "PASS secret"), "credentials", {}),
    ((f"APOP learner {'0' * 32}",), "credentials", {}),
    (("AUTH PLAIN AGxlYXJuZXIAd3Jvbmc=",), "credentials", {}),
    (("AUTH PLAIN", "AGxlYXJuZXIAd3Jvbmc="), "credentials", {}),
    (("AUTH PLAIN =",), "bad-message", {}),  # readable as base64, and not PLAIN's message
    (("AUTH PLAIN", "="), "bad-message", {}),
    (("AUTH PLAIN", "bGVhcm5lcg=="), "bad-message", {}),
    (("AUTH PLAIN", "*"), "cancelled", {}),
    (("AUTH PLAIN !",), "bad-base64", {}),
    (("AUTH PLAIN", "not base64"), "bad-base64", {}),
    (("AUTH CRAM-MD5",), "says-no-mechanism", {}),
    (("CAPA", "AUTH CRAM-MD5"), "unknown-mechanism", {}),
    (("AUTH X =",), "says-no-mechanism", {}),
    (("CAPA", "AUTH X ="), "unknown-mechanism", {}),
    (("APOP learner ABC",), "bad-digest", {}),
    (("LANG de",), "unknown-language", {}),
    (("USER learner",), "tls-required", {"faults": {"require_tls": True}}),
    (("AUTH PLAIN",), "tls-required", {"faults": {"require_tls": True}}),
    ((f"AUTH PLAIN {PLAIN}",), "tls-required", {"faults": {"require_tls": True}}),  # its words say so
    *(case for before, line, options in (
        ((), "STLS", {"faults": {"without": ["STLS"]}}),
        ((), "UTF8", {"faults": {"without": frozenset({"UTF8"})}}),
        ((), "LANG", {"faults": {"without": frozenset({"LANG"})}}),
        (LOGIN, "UIDL", {"faults": {"without": frozenset({"UIDL"})}}),
        ((*LOGIN, "LIST"), "TOP 1 0", {"faults": {"without": frozenset({"TOP"})}}),
    ) for case in (((*before, line), "perhaps-lacking", options), ((*before, "CAPA", line), "not-supported", options))),
    (("USER learner", "STLS"), "after-user", {"faults": {"without": ["STLS"]}}),
    (("",), "empty", {}),
    (("  ",), "empty", {}),
    (("HELO",), "unknown-command", {}),
    (("XYZZY",), "unknown-command", {}),
    ((" NOOP",), "leading-space", {}),
    (("USER\tlearner",), "tab", {}),
    (("USER " + "x" * 300,), "too-long", {}),
    (("USER a\0b",), "control", {}),
]  # fmt: skip


@over("language", LANGUAGES)
@over("lines, why, options", ERRS)
def test_err(lines: tuple[str, ...], why: str, options: dict[str, Any], language: str) -> None:
    exchange = last(*lines, **options)
    assert exchange.response is not None
    assert not exchange.response.ok
    assert exchange.command is not None
    assert reason(exchange) == why
    found = notes(exchange, language)
    assert found[0].sort == "err"
    page = CATALOG.page(language, f"commands/{exchange.name}") if exchange.command.spec else None
    words = CATALOG.words(language)
    general = {
        "wrong-state": [f"why.wrong-state-{'after' if exchange.before is State.TRANSACTION else 'before'}-login"],
        "unknown-command": ["why.unknown-near", "why.unknown-command"],
    }.get(why, [f"why.{why}"])
    texts = [page.note(f"err.{why}") if page else None, *map(words.get, general)]
    own = texts[0]
    assert any(says(found[0].text, text) for text in ([own] if own else texts) if text)


#: What other servers said, move by move, and the reason.
OTHERS: list[tuple[tuple[str, ...], str]] = [
    # what the client knows of the maildrop tells more than it was given
    ((*IN, "C: STAT", "S: +OK 2 320", "C: RETR 2", "S: -ERR no"), "refused"),
    ((*IN, "C: STAT", "S: +OK 2 320", "C: RETR 3", "S: -ERR no"), "no-such-message"),
    ((*IN, "C: LIST 2", "S: +OK 2 200", "C: RETR 2", "S: -ERR no"), "refused"),
    ((*IN, "C: UIDL 2", "S: +OK 2 abc", "C: TOP 2 0", "S: -ERR no"), "perhaps-lacking"),
    ((*IN, "C: RETR 2", "S: -ERR no"), "unseen-message"),
    ((*IN, "C: DELE 2", "S: +OK", "C: RETR 2", "S: -ERR no"), "marked"),
    ((*IN, "C: STAT", "S: +OK 2 320", "C: TOP 3 0", "S: -ERR no"), "no-such-message"),
    ((*IN, "C: TOP 3 0", "S: -ERR no"), "perhaps-lacking"),
    (("C: CAPA", "S: +OK", "S: TOP", "S: .", *IN, "C: TOP 1 0", "S: -ERR unknown command TOP"), "says-no-command"),
    ((*IN, "C: RETR 1", "S: -ERR Command not implemented"), "says-no-command"),
    ((*IN, "C: RETR 1", "S: -ERR no such message, unknown number"), "unseen-message"),
    ((*IN, "C: LIST", "S: -ERR no"), "refused"),
    ((*IN, "C: NOOP", "S: -ERR no"), "refused"),
    ((*IN, "C: QUIT", "S: -ERR some deleted messages not removed"), "nothing-marked"),
    ((*IN, "C: QUIT", "S: -ERR [SYS/TEMP] busy"), "nothing-marked"),
    ((*IN, "C: DELE 2", "S: +OK", "C: QUIT", "S: -ERR [SYS/TEMP] busy"), "refused"),
    ((*IN, "C: RETR 1", "S: -ERR [SYS/PERM/DISK] broken"), "code"),
    ((*IN, "C: RETR 1", "S: -ERR [X-OWN] mine"), "unseen-message"),
    (("C: CAPA", "S: -ERR unknown"), "refused"),
    (("C: USER x", "S: -ERR no"), "refused"),
    (("C: USER x", "S: -ERR STLS first"), "tls-required"),
    (("C: USER x", "S: -ERR [AUTH] never heard of it"), "before-proof"),
    (("C: USER x", "S: -ERR [AUTH] 请使用SSL登录"), "tls-required"),
    (("C: AUTH SCRAM-SHA-256", "S: -ERR [AUTH] not for you"), "before-proof"),
    ((f"C: AUTH PLAIN {PLAIN}", "S: -ERR authentication mechanism not supported"), "says-no-mechanism"),
    (("C: AUTH CRAM-MD5", "S: -ERR Unsupported authentication mechanism."), "says-no-mechanism"),
    (("C: AUTH PLAIN", "S: -ERR plaintext mechanism not supported without TLS"), "tls-required"),
    ((f"C: AUTH PLAIN {PLAIN}", "S: -ERR no such user, the mechanism is fine"), "refused"),
    (("C: PASS x", "S: -ERR [AUTH] no"), "credentials"),
    (("C: AUTH SCRAM-SHA-1 eA==", "S: + dj1hYmM=", "C: =", "S: -ERR [AUTH] no"), "after-proof"),
    (("C: AUTH SCRAM-SHA-1 eA==", "S: + dj1hYmM=", "C: =", "S: -ERR no"), "after-proof"),
    (("C: AUTH SCRAM-SHA-1 eA==", "S: + cj1hYmM=", "C: eA==", "S: -ERR no"), "credentials"),
    (("C: USER x", "S: +OK", "C: PASS x", "S: -ERR no"), "refused"),
    (("C: USER x", "S: +OK", "C: PASS x", "S: -ERR [IN-USE] no"), "code"),
    ((f"C: AUTH PLAIN {PLAIN}", "S: -ERR no"), "refused"),
    (("C: CAPA", "S: +OK", "S: SASL PLAIN", "S: .", f"C: AUTH PLAIN {PLAIN}", "S: -ERR no"), "credentials"),
    (("C: CAPA", "S: +OK", "S: SASL X", "S: .", f"C: AUTH PLAIN {PLAIN}", "S: -ERR no"), "unknown-mechanism"),
    (("C: CAPA", "S: +OK", "S: TOP", "S: .", f"C: AUTH PLAIN {PLAIN}", "S: -ERR no"), "not-supported"),
    (("C: AUTH CRAM-MD5", "S: + PDE+", "C: eA==", "S: -ERR no"), "credentials"),
    (("C: AUTH CRAM-MD5", "S: + PDE+", "C: x y", "S: -ERR no"), "bad-base64"),
    (("C: AUTH CRAM-MD5", "S: -ERR no"), "refused"),
    (("C: AUTH CRAM-MD5", "S: + PDE+", "C: eA==", "S: -ERR unknown command"), "says-no-mechanism"),
    (("C: AUTH CRAM-MD5", "S: + PDE+", "C: eA==", "S: -ERR [SYS/PERM] switched off"), "code"),
    (("C: AUTH CRAM-MD5", "S: + PDE+", "C: eA==", "S: -ERR [LOGIN-DELAY] wait"), "code"),
    (("C: AUTH CRAM-MD5", "S: + PDE+", "C: *", "S: -ERR [AUTH] cancelled"), "cancelled"),
    (("C: AUTH XOAUTH2", "S: + ", "C: dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==", "S: + e30=", "C: ", "S: -ERR no"), "token"),
    (("C: AUTH OAUTHBEARER bixhPWEsAWF1dGg9QmVhcmVyIHgBAQ==", "S: -ERR [AUTH] no"), "token"),
    (("C: LANG *", "S: -ERR no"), "unknown-language"),
    (("C: LANG", "S: -ERR no"), "perhaps-lacking"),
    (("C: USER x", "S: +OK", "C: CAPA", "S: -ERR no"), "after-user"),
]


def test_every_reason_is_met() -> None:
    assert {why for _, why, _ in ERRS} | {why for _, why in OTHERS} == WHY.keys()


def test_every_reason_that_a_page_names_can_come_to_that_command() -> None:
    """Where the table says so: those that are met here are not denied there."""
    for lines, why, options in ERRS:
        spec = COMMANDS.get(last(*lines, **options).name)
        if spec is not None and why in REASONS:
            assert REASONS[why](spec), (spec.name, why)


@over("moves, why", OTHERS)
@over("language", LANGUAGES)
def test_reasons_of_other_servers(moves: tuple[str, ...], why: str, language: str) -> None:
    exchange = real(*moves)
    assert reason(exchange) == why
    assert notes(exchange, language)[0].sort == "err"


@over("language", LANGUAGES)
def test_a_cancelled_login_and_one_without_a_password_blame_no_password(language: str) -> None:
    """`[AUTH]` after `*` speaks of no proof; who sends none of a password need not send STLS first."""
    begun = ("C: AUTH CRAM-MD5", "S: + PDE+")
    cancelled = notes(real(*begun, "C: *", "S: -ERR [AUTH] cancelled"), language)
    assert [note.text for note in cancelled] == [template(language, "commands/AUTH", "err.cancelled")]
    digest = notes(real(*begun, "C: eA==", "S: -ERR [AUTH] no"), language)
    assert [note.text for note in digest] == [template(language, "commands/AUTH", "err.credentials")]


@over("line, why", [("USER x", "before-proof"), (f"AUTH PLAIN {PLAIN}", "credentials"), ("AUTH PLAIN", "before-proof")])
def test_under_tls_clear_text_is_not_to_blame(line: str, why: str) -> None:
    assert reason(real(f"C: {line}", "S: -ERR [AUTH] no clear text")._replace(tls=True)) == why


# -- response codes ----------------------------------------------------------------------------------------------------


def again(**conditions: Any) -> Exchange:
    """A second login on the same server."""
    shared = server(faults=conditions)
    rehearse(LOGIN, shared)
    return rehearse(LOGIN, shared)[-1]


CODES: list[tuple[str, Any, list[str]]] = [
    ("IN-USE", lambda: again(in_use=True), ["err"]),
    ("LOGIN-DELAY", lambda: again(login_delay=60), ["err"]),
    ("SYS/TEMP", lambda: again(temp_failure=True), ["err"]),
    ("SYS/PERM", lambda: again(perm_failure=True), ["err"]),
    ("UTF8", lambda: last(*LOGIN, "RETR 7"), ["err"]),
    ("SYS/TEMP", lambda: real(*IN, "C: STAT", "S: -ERR [SYS/TEMP/DISK/FULL] x"), ["err"]),
    ("IN-USE", lambda: real("C: USER x", "S: +OK", "C: PASS x", "S: -ERR [in-use] x"), ["err"]),
]


@over("language", LANGUAGES)
@over("code, made, sorts", CODES)
def test_codes(code: str, made: Any, sorts: list[str], language: str) -> None:
    found = notes(made(), language)
    assert [note.sort for note in found] == sorts
    assert says(found[-1].text, template(language, f"codes/{code.replace('/', '-')}", "note"))
    assert found[-1].cite.startswith(("RFC 2449 §8.1", "RFC 3206 §", "RFC 6856 §"))


BAD_PLAIN = "AUTH PLAIN AGxlYXJuZXIAd3Jvbmc="


@over("language", LANGUAGES)
@over(
    "exchange, page, more",
    [
        (lambda: last("USER learner", "PASS wrong"), "PASS", []),
        (lambda: last("USER learner", "PASS wrong", tls=True), "PASS", []),
        (lambda: last(f"APOP learner {'0' * 32}"), "APOP", []),
        (lambda: last(BAD_PLAIN), "AUTH", ["why.perhaps-tls"]),
        (lambda: last(BAD_PLAIN, tls=True), "AUTH", []),
    ],
)
def test_a_refused_login_is_explained_once_and_want_of_tls_not_named_under_tls(
    exchange: Any, page: str, more: list[str], language: str
) -> None:
    words = CATALOG.words(language)
    found = notes(exchange(), language)
    wanted = [template(language, f"commands/{page}", "err.credentials"), *map(words, more)]
    assert [note.text for note in found] == wanted
    assert found[0].cite.startswith("RFC 3206 §")


@over("language", LANGUAGES)
def test_quit_before_the_login_erases_nothing_and_does_not_say_so(language: str) -> None:
    words = CATALOG.words(language)
    before, after = (
        [span.text for span in explain_line(parse("QUIT", Context(state)), CATALOG, language)]
        for state in (State.AUTHORIZATION, State.TRANSACTION)
    )
    assert words("undo.end") in before
    assert words("undo.never") not in before
    assert words("undo.never") in after


@over("language, listed", [("en", "1, 3"), ("zh-Hant", "1、3")])
def test_numbers_in_a_row_stand_as_the_language_has_them(language: str, listed: str) -> None:
    assert any(listed in note.text for note in notes(last(*LOGIN, "DELE 3", "DELE 1"), language))


@over("language", LANGUAGES)
def test_lang_refused_may_mean_that_there_is_no_lang(language: str) -> None:
    """Without a code the two cannot be told apart, so the note names both."""
    (note,) = notes(real("C: LANG de", "S: -ERR Unknown command."), language)
    assert "LANG" in note.text
    assert note.text != CATALOG.words(language)("why.refused")


def test_a_name_refused_with_auth_in_clear_text_is_want_of_tls() -> None:
    refused = real("C: USER x", "S: -ERR [AUTH] plain text is off")
    assert reason(refused) == "tls-required"
    assert len(notes(refused)) == 1
    assert reason(refused._replace(tls=True)) == "before-proof"


@over("language", LANGUAGES)
def test_a_code_at_quit_advises_nothing_that_cannot_be_done_any_more(language: str) -> None:
    exchange = last(*LOGIN, "DELE 1", "QUIT", faults={"update_fails": True})
    assert exchange.response is not None
    assert exchange.response.code == "SYS/TEMP"
    assert [note.text for note in notes(exchange, language)] == [template(language, "commands/QUIT", "err.refused")]


@over("language", LANGUAGES)
def test_unknown_codes(language: str) -> None:
    found = notes(real(*IN, "C: NOOP", "S: -ERR [X-OWN/THING] mine"), language)
    assert [(note.sort, note.cite) for note in found] == [("err", "RFC 2449 §8")]
    assert "[X-OWN/THING]" in found[0].text


# -- facts -------------------------------------------------------------------------------------------------------------

A, T = {"state": "AUTHORIZATION", "after": "AUTHORIZATION"}, {"state": "TRANSACTION", "after": "TRANSACTION"}
NO_MARKS: dict[str, object] = {"marked": 0, "marks": ""}


@over(
    "lines, known",
    [
        ((), {"state": "CLOSED", "after": "AUTHORIZATION", "stamp": STAMP}),
        (("user learner",), {**A, **NO_MARKS, "command": "USER", "argument": "learner", "name": "learner"}),
        (LOGIN, {**A, "after": "TRANSACTION", **NO_MARKS, "command": "PASS"}),
        (
            (f"APOP learner {'0' * 32}",),
            {**A, **NO_MARKS, "command": "APOP", "argument": "learner", "name": "learner", "code": "AUTH"},
        ),
        (("AUTH PLAIN !",), {**A, **NO_MARKS, "command": "AUTH", "argument": "PLAIN", "mechanism": "PLAIN"}),
        (("LANG ZH",), {**A, **NO_MARKS, "command": "LANG", "argument": "ZH", "lang": "zh-Hant"}),
        (("LANG de",), {**A, **NO_MARKS, "command": "LANG", "argument": "de", "lang": "de"}),
        (("LANG",), {**A, **NO_MARKS, "command": "LANG"}),
        (("CAPA",), {**A, **NO_MARKS, "command": "CAPA", "tags": 12}),
        (("XYZZY 1",), {**A, **NO_MARKS, "command": "XYZZY", "argument": "1"}),
        (("",), {**A, **NO_MARKS, "command": "••••"}),
        ((*LOGIN, "STAT"), {**T, **NO_MARKS, "command": "STAT", "count": 7, "octets": 7528}),
        ((*LOGIN, "LIST"), {**T, **NO_MARKS, "command": "LIST", "count": 7, "octets": 7528}),
        ((*LOGIN, "LIST 2"), {**T, **NO_MARKS, "command": "LIST", "argument": "2", "msg": 2, "size": 762}),
        ((*LOGIN, "UIDL"), {**T, **NO_MARKS, "command": "UIDL", "count": 7}),
        (
            (*LOGIN, "UIDL 2"),
            {**T, **NO_MARKS, "command": "UIDL", "argument": "2", "msg": 2, "uid": "2z7ks7mn2ctvdxxf"},
        ),
        (
            (*LOGIN, "TOP 1 0"),
            {**T, **NO_MARKS, "command": "TOP", "argument": "1", "msg": 1, "n": "0", "octets": 210, "lines": 6},
        ),
        ((*LOGIN, "RETR x"), {**T, **NO_MARKS, "command": "RETR", "argument": "x"}),
        ((*LOGIN, "LIST", "RETR 9"), {**T, **NO_MARKS, "command": "RETR", "argument": "9", "msg": 9, "last": 7}),
        (
            (*LOGIN, "DELE 3", "DELE 1"),
            {**T, "command": "DELE", "argument": "1", "msg": 1, "marked": 2, "marks": "1, 3"},
        ),
        ((*LOGIN, "DELE 3", "RSET"), {**T, "command": "RSET", "marked": 1, "marks": "3"}),
        ((*LOGIN, "DELE 3", "RSET", "RSET"), {**T, "command": "RSET", **NO_MARKS}),
        ((*LOGIN, "DELE 3", "QUIT"), {**T, "after": "UPDATE", "command": "QUIT", "marked": 1, "marks": "3"}),
    ],
)
def test_facts(lines: tuple[str, ...], known: dict[str, object]) -> None:
    assert facts(last(*lines)) == known


def test_facts_of_a_message_with_dots() -> None:
    message = MESSAGES[1].content
    known = facts(last(*LOGIN, "RETR 2"))
    assert known["octets"] == len(message)
    assert known["lines"] == message.count(b"\r\n")
    assert known["stuffed"] == message.count(b"\r\n.") + message.startswith(b".")


@over(
    "moves, lacking",
    [
        ((*IN, "C: STAT", "S: +OK"), {"count", "octets"}),
        ((*IN, "C: LIST 1", "S: +OK"), {"size"}),
        ((*IN, "C: UIDL 1", "S: +OK abc"), {"uid"}),
    ],
)
def test_what_a_reply_does_not_tell_is_no_fact(moves: tuple[str, ...], lacking: set[str]) -> None:
    assert not facts(real(*moves)).keys() & lacking


# -- greetings and problems --------------------------------------------------------------------------------------------


def received(data: bytes, *sent: str, close: bool = False) -> Exchange:
    """What comes of bytes that a server sends, after its greeting if something was sent before."""
    connection = Connection()
    out: list[Exchange | Challenge] = connection.received(b"+OK\r\n") if sent else []
    for line in sent:
        out += connection.sent(line.encode() + b"\r\n")
    out += connection.received(data)
    out += connection.close() if close else []
    found = [event for event in out if isinstance(event, Exchange)]
    return found[-1]


@over("language", LANGUAGES)
@over(
    "data, key, sort, cite",
    [
        (b"+OK hello <1.2@x>\r\n", "stamp", "info", "RFC 1939 §7"),
        (b"+OK hello\r\n", "plain", "info", "RFC 1939 §4"),
        (b"+OK <no stamp>\r\n", "plain", "info", "RFC 1939 §4"),
        (b"-ERR too many connections\r\n", "refused", "err", "RFC 1939 §4"),
    ],
)
def test_greetings(data: bytes, key: str, sort: str, cite: str, language: str) -> None:
    (note,) = notes(received(data), language)
    assert (note.sort, note.cite) == (sort, cite)
    text = CATALOG.words(language).get(f"greeting.{key}")
    assert text is not None
    assert says(note.text, text)


PROBLEMS: list[tuple[str, str, Exchange]] = [
    ("unasked", "", received(b"-ERR autologout\r\n+OK\r\n", "CAPA x")),
    ("bare-lf", "", received(b"+OK\n", "NOOP")),
    ("lower-case", "", received(b"+ok\r\n", "NOOP")),
    ("not-pop3", "imap", received(b"* OK IMAP4rev1\r\n")),
    ("not-pop3", "smtp", received(b"220 ESMTP\r\n")),
    ("not-pop3", "http", received(b"HTTP/1.1 400 Bad Request\r\n")),
    ("not-pop3", "ssh", received(b"SSH-2.0-x\r\n")),
    ("not-pop3", "tls", received(b"\x15\x03\x01\x00\x02\x02\x46")),
    ("not-pop3", "", received(b"What?\r\n")),
    ("challenge", "", received(b"+ x\r\n", "NOOP")),
    ("status-too-long", "", received(b"+OK " + b"x" * 9000)),
    ("stls-injection", "", received(b"+OK\r\n+OK\r\n", "STLS")),
    ("no-terminator", "", received(b"+OK\r\nTOP\r\n", "CAPA", close=True)),
    ("no-terminator", "bare-lf", received(b"+OK\r\nTOP\n.\n", "CAPA", close=True)),
    ("no-terminator", "bare-lf", received(b"+OK\r\n1 a\n.\r\n+OK\r\n+OK bye\r\n", "UIDL", close=True)),
    ("no-terminator", "terminator-lf", received(b"+OK\r\n1 a\r\n.\n", "UIDL", close=True)),
    ("no-terminator", "status-inside", received(b"+OK\r\n1 a\r\n-ERR full\r\n", "UIDL", close=True)),
    ("cut", "", received(b"+O", "NOOP", close=True)),
    ("no-reply", "", received(b"", "NOOP", close=True)),
    ("no-reply", "", received(b"", close=True)),
]


@over("language", LANGUAGES)
@over("code, more, exchange", PROBLEMS)
def test_problems(code: str, more: str, exchange: Exchange, language: str) -> None:
    """`more` is what else is said: what speaks there, or how a reply ends that never ended."""
    assert exchange.problem is not None
    assert exchange.problem.code == code
    words = CATALOG.words(language)
    found = notes(exchange, language)
    assert [note.sort for note in found] == ["warn" if code == "unasked" else "err", *(["info"] if more else [])]
    text = words.get(f"problem.{code}")
    assert text is not None
    assert says(found[0].text, text)
    if exchange.problem.speaks:
        assert more == exchange.problem.speaks
        assert found[1].text == words(f"speaks.{more}")
    elif more:
        assert found[1].text == words(f"shell.waiting-{more}", command=exchange.name)


def test_a_problem_names_what_was_due() -> None:
    said = {exchange.name: notes(exchange)[0].text for code, _, exchange in PROBLEMS if code in ("no-reply", "cut")}
    assert "NOOP" in said["NOOP"]
    assert CATALOG.words("en")("problem.greeting") in said[""]


def test_a_problem_without_words_is_told_by_its_code() -> None:
    exchange = received(b"+ x\r\n", "NOOP")
    odd = exchange._replace(problem=Problem("new-sort"))
    assert [note.text for note in notes(odd)] == ["new-sort"]


def test_problems_of_limits_have_words() -> None:
    for code in ("line-too-long", "content-too-long", "too-many-lines"):
        assert CATALOG.words("zh-Hant").get(f"problem.{code}")


# -- :explain ----------------------------------------------------------------------------------------------------------


def spans(text: str, language: str = "en", **context: Any) -> Iterator[tuple[str | None, str]]:
    line = parse(text, Context(**context))
    for span in explain_line(line, CATALOG, language):
        assert span.text.strip()
        assert not re.search(r"[{}]", span.text)
        yield (text[span.token.start : span.token.end] if span.token else None), span.text


@over("language", LANGUAGES)
@over("name", COMMANDS)
def test_spans_of_a_command_with_all_its_arguments(name: str, language: str) -> None:
    spec = COMMANDS[name]
    text = " ".join((name, *("1" for _ in spec.params)))
    found = list(spans(text, language, state=next(iter(spec.transitions)), follows=spec.must_follow or ""))
    page = CATALOG.page(language, f"commands/{name}")
    assert page is not None
    assert found[0] == (name, page.summary)
    assert found[1 : 1 + len(spec.params)] == [("1", page.note(f"args.{param.name}")) for param in spec.params]
    assert [token for token, _ in found[1 + len(spec.params) :]] == [None] * (len(found) - 1 - len(spec.params))
    assert found[-1][1] == citation(spec.rfc, spec.section)


def test_spans_at_length() -> None:
    words = CATALOG.words("en")
    assert list(spans("DELE 0 x")) == [
        ("DELE", template("en", "commands/DELE", "summary")),
        ("0", template("en", "commands/DELE", "args.msg")),
        ("x", words("explain.extra")),
        (None, words("warn.wrong-state", state="AUTHORIZATION", allowed="TRANSACTION")),
        (None, words("warn.zero")),
        (None, words("warn.extra-argument", syntax="DELE msg")),
        (None, words("reply.one")),
        (None, words("undo.rset")),
        (None, "RFC 1939 §5"),
    ]
    assert dict(spans("LIST", state=State.TRANSACTION))[None] == "RFC 1939 §5"
    assert (None, words("reply.many")) in list(spans("LIST", state=State.TRANSACTION))
    assert list(spans("XYZZY a")) == [
        ("XYZZY", words("explain.unknown")),
        ("a", words("explain.extra")),
        (None, words("warn.unknown-command")),
    ]
    assert list(spans("")) == [(None, words("warn.empty"))]


def test_secrets_in_spans_are_not_shown() -> None:
    told = list(spans("PAS secret", follows="USER"))
    assert told[1] == ("secret", CATALOG.words("en")("explain.secret"))
    assert all("secret" not in text or token == "secret" for token, text in told)
    assert MASK not in "".join(text for _, text in told)


@over("language", LANGUAGES)
@over(
    "text, code, context",
    [
        ("", "empty", {}),
        (" CAPA", "leading-space", {}),
        ("USER\tx", "tab", {}),
        ("CAPA ", "trailing-space", {}),
        ("USER  x", "double-space", {}),
        ("USER a\0", "control", {}),
        ("USER " + "x" * 300, "too-long", {}),
        ("XYZZY", "unknown-command", {}),
        ("LAST", "historic", {}),
        ("STAT", "wrong-state", {}),
        ("PASS x", "must-follow", {}),
        ("STLS", "already-tls", {"tls": True}),
        ("STLS", "not-after", {"done": frozenset({"UTF8"})}),
        ("USER", "missing-argument", {}),
        ("CAPA x", "extra-argument", {}),
        ("RETR x", "bad-number", {"state": State.TRANSACTION}),
        ("RETR 0", "zero", {"state": State.TRANSACTION}),
        ("RETR 1", "marked", {"state": State.TRANSACTION, "maildrop": MaildropView(marks=frozenset({1}))}),
        ("RETR 9", "no-such-message", {"state": State.TRANSACTION, "maildrop": MaildropView(last=7)}),
        ("APOP x y", "bad-digest", {}),
        ("AUTH PLAIN !", "bad-base64", {}),
        ("USER " + "x" * 41, "long-argument", {}),
        ("USER é", "non-ascii", {}),
    ],
)
def test_warnings(text: str, code: str, context: dict[str, Any], language: str) -> None:
    line = parse(text, Context(**context))
    assert line.has(code)
    words = CATALOG.words(language)
    said = words.get(f"warn.{code}")
    assert said is not None
    assert says(warning(line, code, words), said)


def test_a_warning_for_a_slip_names_the_command_meant() -> None:
    assert "STAT" in warning(parse("STTA"), "unknown-command", CATALOG.words("en"))
    # a semicolon is ASCII
    assert warning(parse("STAT;"), "unknown-command", CATALOG.words("en")) == "not STAT: it has U+003B"


@over(
    "typed, meant",
    [
        *(("STA", "STAT"), ("RERT", "RETR"), ("QIUT", "QUIT"), ("DEL", "DELE"), ("LSIT", "LIST"), ("CAP", "CAPA")),
        *(("STATUS", "STAT"), ("DELETE", "DELE"), ("USR", "USER"), ("UTF-8", "UTF8")),
        *((word, None) for word in ("SECRET", "HELO", "XYZZY", "LOGIN", "")),
    ],
)
def test_suggestion(typed: str, meant: str | None) -> None:
    assert suggestion(typed) == meant


def test_no_historic_command_is_suggested() -> None:
    assert suggestion("LASTT") not in ("LAST", "RPOP", "XTND")


def test_citation() -> None:
    assert citation(1939, "5") == "RFC 1939 §5"
    assert citation(1225, "Optional POP3 Commands") == "RFC 1225 “Optional POP3 Commands”"


def test_pages_are_found_by_their_path() -> None:
    assert all(CATALOG.page("en", path) for path in pages())


def test_each_word_of_why_has_its_use() -> None:
    """A reason, or a note that explain.py gives by itself."""
    general = {"wrong-state-before-login", "wrong-state-after-login", "wrong-state-closed", "unknown-near", "odd-near",
               "odd-character", "silent", "space-at-end", "space-twice",
               "unseen-character", "perhaps-tls", "unknown-code", "ok-unknown",
               "accepted-zero", "accepted-marked", "accepted-no-such-message", "accepted-argument",
               "accepted-against-rfc", "no-code", "code-elsewhere"}  # fmt: skip
    keys = [*CATALOG.words("en").keys()]
    there = {key.partition(".")[2] for key in keys if key.startswith("why.")}
    assert there - WHY.keys() == general


def test_what_is_said_of_a_secret_line_names_nothing_of_the_secret() -> None:
    """Neither an odd character in it, nor what it resembles; what stands between it and the login word is named."""
    after_user = Context(State.AUTHORIZATION, "USER")

    def check(text: str, context: Context, shown: str, *hidden: str) -> None:
        for words in (CATALOG.words(tag) for tag in LANGUAGES):
            line = parse(text, context)
            said = " ".join(warning(line, one.code, words) for one in line.diagnostics)
            key, facts = _unknown(line, {})
            said += f"{words.get(f'why.{key}')} {facts}"
            assert shown in said
            assert not [one for one in hidden if one in said], said

    each(
        [
            ("p\xe4ssw\xf6rd", after_user, "••••", "U+00E4", "U+00F6", "PASS"),
            ("\u5bc6x", after_user, "••••", "U+5BC6"),
            ("RERT", after_user, "••••", "RETR"),
            ("hunter\xe9", Context(State.AUTHORIZATION, refused=True), "••••", "U+00E9"),
            ("PASS\u3000hunter\xe9", Context(State.AUTHORIZATION), "U+3000", "U+00E9", "hunter"),
            ("\ufeffPASS hunter\xe9", Context(State.AUTHORIZATION), "U+FEFF", "U+00E9", "hunter"),
        ],
        check,
    )
