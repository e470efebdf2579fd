"""pages: the bundled ones are proved, and what they are held to is what the docs, the shell and the server say."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from support import rehearse

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.course.explain import pages
from popshell.course.notes import ALWAYS, OK_KEYS, REASONS, REPLIES, TYPED, facts_of, head_keys, sections
from popshell.lint.lint import examine
from popshell.lint.pages import citations
from popshell.protocol import line as commandline
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, State
from popshell.server import faults, handlers, mailserver, replies, session
from popshell.server.replies import Reply
from popshell.server.settings import DEVIATIONS
from popshell.words import fill, places

ROOT = Path(__file__).resolve().parents[1]
DOCS = (ROOT / "docs" / "pages.md").read_text("utf-8")
CATALOG = Catalog((bundled(),))
PAGES = tuple(pages())


def test_bundled_pages_and_words_have_no_fault() -> None:
    """Lessons of the course are proved with the course."""
    lesson = re.compile(r"[\w-]+/(?:\d\d-|lesson-template)[^/]*\.md|course\.toml")
    assert [finding for finding in examine(Path(str(bundled()))).findings if not lesson.fullmatch(finding.path)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_code_dot_stands_before_a_full_stop(language: str) -> None:
    """On the screen the two look like two dots, where the point is that it is one."""
    files = [f"{language}/{page}.md" for page in PAGES] + [f"{language}/messages.toml"]
    found = {file: re.findall(r".{20}`\.`\s*[.。]", CATALOG.read(file)) for file in files}
    assert not {file: texts for file, texts in found.items() if texts}


def test_there_is_a_page_for_every_row() -> None:
    assert len(PAGES) == len(set(PAGES)) == len(COMMANDS) + len(CAPABILITIES) + len(RESPONSE_CODES) + len(State)
    assert all(CATALOG.page(language, page) for page in PAGES for language in LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_no_note_is_idle(page: str, language: str) -> None:
    """Every text of a head is one that can be looked up, and says something."""
    found = CATALOG.page(language, page)
    assert found is not None
    required, optional = head_keys(page)
    texts = {key: found.note(key) for key in (*required, *optional)}
    assert all(texts[key] for key in required)
    assert "" not in texts.values()
    assert not found.summary.endswith((".", "。"))


# -- the lists and the docs --------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of docs/pages.md, cut into cells."""
    _, found, rest = DOCS.partition(f"\n{heading}\n")
    assert found, heading
    rows = re.search(r"(?m)(?:^\|.*\n)+", rest)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[0].split("\n")[2:-1]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([a-z][a-z0-9_-]*)`", cell)


def test_keys_of_ok_are_those_of_the_docs() -> None:
    told = {command: set(names(row[1])) for row in table("### Keys of `[ok]`") for command in row[0].split(", ")}
    assert told == {command: set(keys) for command, keys in OK_KEYS.items()}


def test_reasons_are_those_of_the_docs() -> None:
    assert [reason for row in table("### Reasons of `[err]`") for reason in names(row[0])] == list(REASONS)


def test_reasons_that_the_docs_give_to_commands_are_met_by_them() -> None:
    for row in table("### Reasons of `[err]`"):
        told = set(re.findall(r"\b[A-Z0-9]{3,}\b", row[1])) & COMMANDS.keys()
        for reason in names(row[0]) if told and len(names(row[0])) == 1 else ():
            told -= {"USER"} if reason == "must-follow" else set()  # it is what PASS has to follow
            assert told <= {name for name, spec in COMMANDS.items() if REASONS[reason](spec)}, reason


def test_facts_are_those_of_the_docs() -> None:
    told = {fact for row in table("### Placeholders") for fact in names(row[0])}
    known = {fact for page in PAGES for key in chain(*head_keys(page))
             for fact in facts_of(page, key)}  # fmt: skip
    assert told == known
    assert told >= ALWAYS | TYPED


@pytest.mark.parametrize(
    ("page", "key", "facts"),
    [
        ("commands/RETR", "summary", set()),
        ("commands/RETR", "args.msg", set()),
        ("commands/RETR", "ok.note", {*ALWAYS, "argument", "msg", "octets", "lines"}),
        ("commands/RETR", "ok.stuffed", {*ALWAYS, "argument", "msg", "octets", "lines", "stuffed"}),
        ("commands/RETR", "err.missing-argument", ALWAYS),
        ("commands/RETR", "err.wrong-state", ALWAYS),
        ("commands/RETR", "err.bad-number", {*ALWAYS, "argument"}),
        ("commands/RETR", "err.no-such-message", {*ALWAYS, "argument", "msg", "last"}),
        ("commands/TOP", "ok.note", {*ALWAYS, "argument", "msg", "n", "octets", "lines"}),
        ("commands/LIST", "ok.note", {*ALWAYS, "count", "octets"}),
        ("commands/LIST", "ok.empty", {*ALWAYS, "count", "octets"}),
        ("commands/LIST", "ok.one", {*ALWAYS, "argument", "msg", "size"}),
        ("commands/UIDL", "err.not-supported", ALWAYS),
        ("commands/PASS", "err.credentials", ALWAYS),
        ("commands/APOP", "err.credentials", {*ALWAYS, "argument", "name"}),
        ("commands/AUTH", "ok.note", {*ALWAYS, "argument", "mechanism"}),
        ("commands/LANG", "ok.note", ALWAYS),
        ("commands/LANG", "ok.one", {*ALWAYS, "argument", "lang"}),
        ("commands/DELE", "err.marked", {*ALWAYS, "argument", "msg", "marks", "marked"}),
        ("commands/QUIT", "ok.authorization", {*ALWAYS, "marks", "marked"}),
        ("commands/CAPA", "ok.note", {*ALWAYS, "tags"}),
        ("commands/XTND", "ok.note", {*ALWAYS, "argument"}),
        ("commands/RPOP", "err.historic", ALWAYS),
        ("codes/AUTH", "note", {*ALWAYS, "code"}),
        ("states/UPDATE", "summary", set()),
    ],
)
def test_facts_of_a_note(page: str, key: str, facts: set[str]) -> None:
    assert facts_of(page, key) == facts


@pytest.mark.parametrize("language", LANGUAGES)
def test_headings_are_those_of_the_docs(language: str) -> None:
    body = DOCS.partition("### Body")[2].partition("### Dialogues")[0]
    told = re.findall(r"`## ([^`]+)`", body)
    words = CATALOG.words(language)
    required, last = sections("commands/RETR", words)
    assert {*required[2:], last} <= set(told)
    assert required[:2] == ("`+OK`", "`-ERR`")
    assert sections("states/CLOSED", words) == (required[2:], last)


# -- the lists and the server ------------------------------------------------------------------------------------------


def calls(source: str) -> Iterator[tuple[str, list[ast.expr], set[str]]]:
    """Every call of a name: the name, its arguments, the names of its keywords."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.args, {keyword.arg or "" for keyword in node.keywords}


def texts_in(expression: ast.expr) -> list[str]:
    return [
        node.value for node in ast.walk(expression) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def replies_in_source() -> dict[str, set[str]]:
    """The keys of replies that the server's source makes, with the facts that it gives them."""
    found: dict[str, set[str]] = {}
    for module in (handlers, faults, session, replies):
        for name, arguments, keywords in calls(inspect.getsource(module)):
            if name == "Reply" and len(arguments) > 1:
                given = set(texts_in(arguments[2])) if len(arguments) > 2 else set()
                for key in texts_in(arguments[1]):
                    found.setdefault(key, set()).update(given)
            elif name == "error":
                for key in texts_in(arguments[0]):
                    found.setdefault(key, set()).update(keywords)
    return found


def graver_diagnostics() -> set[str]:
    """The codes of diagnostics that are not mild: the server refuses a line with the text of this name."""
    source = inspect.getsource(commandline)
    found = {arguments[0].value for name, arguments, keywords in calls(source)
             if name in ("Diagnostic", "object_to") and isinstance(arguments[0], ast.Constant)
             and "mild" not in keywords}  # fmt: skip
    for node in ast.walk(ast.parse(source)):  # the objections to an argument are pairs: code, mild
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            code, mild = node.elts
            if isinstance(code, ast.Constant) and isinstance(mild, ast.Constant) and mild.value is False:
                found.add(code.value)
    return {str(code) for code in found}


def test_replies_are_those_that_the_server_can_give() -> None:
    made = replies_in_source()
    of_mechanisms = {"bad-message", "bad-base64", "channel-binding", "downgrade"}  # SaslError of a server's side
    assert {*made, *graver_diagnostics(), *of_mechanisms} == set(REPLIES)
    assert {"wrong-state", "tab", "zero", "bad-digest", "missing-argument"} <= graver_diagnostics()
    assert not {"double-space", "trailing-space", "non-ascii", "long-argument"} & graver_diagnostics()


def test_replies_are_given_the_facts_that_they_may_name() -> None:
    for key, given in replies_in_source().items():
        assert REPLIES[key] <= given, key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reply_can_be_said_in_every_language(language: str) -> None:
    texts = CATALOG.replies(language)
    assert texts.keys() == REPLIES.keys()
    for key, text in texts.items():
        said = fill(text, dict.fromkeys(REPLIES[key], 1))
        assert said, key
        assert not set(said) & set("{}\r\n"), key
        assert places(text) <= REPLIES[key]


def test_a_reply_has_the_fields_that_are_looked_for() -> None:
    assert list(inspect.signature(Reply).parameters)[:3] == ["ok", "key", "facts"]
    assert list(inspect.signature(handlers.error).parameters) == ["key", "code", "facts"]


# -- the practice server's deviations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: f"{row.page} {row.rfc} §{row.section}")
def test_deviations_are_said_where_a_learner_looks(row: mailserver.Deviation, language: str) -> None:
    page = CATALOG.page(language, row.page)
    assert page is not None
    section = page.body.partition(f"## {CATALOG.words(language)('language.practice-server')}\n")[2]
    assert (row.rfc, row.section) in {(found.rfc, found.section) for found in citations(section)}


def server() -> mailserver.MailServer:
    return mailserver.MailServer({"learner": "secret"}, LANGUAGES, CATALOG.replies)


def test_what_was_offered_before_the_login_is_listed_after_it() -> None:
    """No deviation: RFC 2449 §5, §6.2 and RFC 5034 §3. STLS alone goes (RFC 2595 §4)."""
    before, *_, after = rehearse(["CAPA", "USER learner", "PASS secret", "CAPA"], server())[1:]
    assert before.response is not None
    assert after.response is not None
    assert before.response.capabilities().keys() - after.response.capabilities().keys() == {"STLS"}
    assert {"USER", "SASL"} <= after.response.capabilities().keys()


@pytest.mark.parametrize("lines", [["AUTH PLAIN AGxlYXJuZXIAc2VjcmV0"], ["USER learner", "PASS secret"]])
def test_the_deviations_are_real(lines: list[str]) -> None:
    """PLAIN in clear text (RFC 4616 §5); passwords and APOP for one account (RFC 1939 §13)."""
    digest = "88c0adfeab181737fec4489ad6acafb5"
    fixed = mailserver.MailServer(
        {"learner": "secret"}, LANGUAGES, CATALOG.replies, new_stamp=lambda: "<1896.697170952@popshell.example>"
    )
    for way in (lines, [f"APOP learner {digest}"]):
        last = rehearse(way, fixed)[-1]
        assert (last.ok, last.tls, last.after) == (True, False, State.TRANSACTION)
