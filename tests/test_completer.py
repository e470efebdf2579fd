"""What Tab offers: in which order, with which remark, in whose case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.document import Document
from stage import CATALOG, METAS, Stage, metas_of, run

from popshell.course.catalog import LANGUAGES
from popshell.protocol.commands import COMMANDS, State, legal
from popshell.protocol.line import Context
from popshell.protocol.maildrop_view import MaildropView
from popshell.ui.completer import MOST, ShellCompleter, with_prefix
from popshell.ui.course_metas import Course
from popshell.ui.metas import Metas
from popshell.ui.shell import Options


def completer_of(
    context: Context,
    language: str = "en",
    capabilities: dict[str, tuple[str, ...]] | None = None,
    metas: Callable[[], Metas] = lambda: metas_of(None),
    stamp: str | None = "<1@x>",
) -> ShellCompleter:
    """The completer of a shell, of which no more is there than it reads."""
    session = SimpleNamespace(connection=SimpleNamespace(capabilities=capabilities, stamp=stamp))
    shell: Any = SimpleNamespace(
        catalog=CATALOG, words=CATALOG.words(language), session=session, screen=SimpleNamespace(ascii=False)
    )
    shell.metas, shell.connections, shell.connect_options = metas, (), ()
    return ShellCompleter(shell, lambda: context, "learner")


def offered(
    text: str,
    context: Context | None = None,
    *,
    language: str = "en",
    capabilities: dict[str, tuple[str, ...]] | None = None,
) -> list[Completion]:
    return list(completer_of(context or Context(), language, capabilities).suggest(text))


def texts(text: str, context: Context | None = None, **how: object) -> list[str]:
    return [found.text for found in offered(text, context, **how)]  # type: ignore[arg-type]


LOGGED_IN = Context(State.TRANSACTION, maildrop=MaildropView(open=True, last=12))


@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.TRANSACTION])
def test_legal_commands_first_the_others_with_the_reason(state: State) -> None:
    found = offered("", Context(state))
    names = [suggestion.text.strip() for suggestion in found]
    assert set(names) == {name for name, spec in COMMANDS.items() if not spec.historic}
    here = [spec.name for spec in legal(state) if not (spec.must_follow and state is State.AUTHORIZATION)]
    assert names[: len(here)] == here
    for suggestion in found[len(here) :]:
        assert (
            "TRANSACTION" in suggestion.display_meta_text
            or "USER" in suggestion.display_meta_text
            or "AUTHORIZATION" in suggestion.display_meta_text
        )
    assert all(suggestion.display_meta_text for suggestion in found)


def test_pass_is_legal_right_after_user_only() -> None:
    assert "USER" in {s.text: s.display_meta_text for s in offered("pa")}["pass "]
    after = Context(State.AUTHORIZATION, follows="USER")
    assert texts("", after)[:2] == ["USER ", "PASS "]


@pytest.mark.parametrize(("typed", "wanted"), [("RE", "RETR "), ("re", "retr "), ("Re", "retr "), ("r", "retr ")])
def test_case_follows_what_is_typed(typed: str, wanted: str) -> None:
    found = offered(typed, LOGGED_IN)
    assert found[0].text == wanted
    assert found[0].start_position == -len(typed)


def test_without_connection_connect_is_what_is_offered() -> None:
    closed = Context(State.CLOSED)
    assert texts("", closed) == [":connect"]
    assert all(":connect first" in found.display_meta_text for found in offered("ST", closed))


def test_what_tls_or_utf8_rules_out_stands_behind_with_the_reason() -> None:
    for context in (Context(tls=True), Context(done=frozenset({"UTF8"}))):
        found = offered("", context)
        names = [suggestion.text.strip() for suggestion in found]
        assert names.index("STLS") > names.index("QUIT")
        assert {s.text: s.display_meta_text for s in found}["STLS"] in ("TLS is on already", "not after UTF8")


def test_apop_stands_last_with_the_reason_without_a_timestamp() -> None:
    """RFC 1939 §7: the digest is made from the greeting's timestamp."""
    for stamp, wanted in ((None, "the greeting holds no timestamp"), ("<1@x>", "")):
        found = list(completer_of(Context(), stamp=stamp).suggest(""))
        names = [suggestion.text.strip() for suggestion in found]
        assert (names.index("APOP") > names.index("QUIT")) is (stamp is None)
        assert wanted in found[names.index("APOP")].display_meta_text


def test_history_is_not_offered() -> None:
    assert not texts("LAS")
    assert not texts("XT")


def test_message_numbers_with_size_and_subject() -> None:
    seen: list[Completion] = []

    async def go() -> None:
        stage = Stage()
        await stage.log_in("LIST", "UIDL 1", "TOP 3 0", "DELE 2")
        assert stage.shell.session is not None
        context = stage.shell.session.connection.context()
        seen.extend(offered("RETR ", context))
        assert texts("DELE ", context) == ["1", "3", "4", "5", "6", "7"]
        assert texts("TOP 3 ", context) == ["0", "5", "10"]

    run(go())
    assert [s.text for s in seen] == ["1", "3", "4", "5", "6", "7"], "a marked one would be refused"
    assert seen[0].display_meta_text.startswith("557 octets · ")
    assert seen[1].display_meta_text == "935 octets · 四十二號包裹在哪裡？"
    assert seen[2].display_meta_text == "1052 octets"


def test_numbers_are_computed_not_searched() -> None:
    view = MaildropView(open=True, last=100_000, marks=frozenset({77}))
    found = texts("RETR 7", Context(State.TRANSACTION, maildrop=view))
    assert len(found) == MOST
    assert found[:3] == ["7", "70", "71"]
    assert "77" not in found
    assert texts("RETR 100000", Context(State.TRANSACTION, maildrop=view)) == ["100000"]


@pytest.mark.parametrize(
    ("prefix", "last", "wanted"),
    [
        ("", 3, [1, 2, 3]),
        ("1", 12, [1, 10, 11, 12]),
        ("2", 1, []),
        ("12", 130, [12, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129]),
        ("0", 9, []),
        ("x", 9, []),
        ("٣", 9, []),
        ("1", 0, []),
    ],
)
def test_with_prefix(prefix: str, last: int, wanted: list[int]) -> None:
    assert list(with_prefix(prefix, last)) == wanted
    assert list(with_prefix(prefix, last)) == [n for n in range(1, last + 1) if str(n).startswith(prefix)]


def test_mechanisms_names_languages() -> None:
    assert texts("AUTH ") == ["PLAIN"]
    assert texts("AUTH p") == ["PLAIN"]
    assert texts("AUTH ", capabilities={"SASL": ("PLAIN", "XOAUTH2", "\x1b[31m")}) == ["PLAIN", "XOAUTH2", "\\x1b[31m"]
    assert texts("AUTH PLAIN ") == ["="]
    assert texts("USER ") == ["learner"]
    assert texts("LANG ") == ["en", "zh-Hant", "*"]
    assert texts("APOP l") == ["learner"]
    assert texts("PASS ") == []
    assert texts("STAT ") == []
    assert texts("FOO ") == []
    assert texts("RETR 1 2", LOGGED_IN) == []


def test_meta_commands_and_their_words() -> None:
    assert {text.strip() for text in texts(":")} == {f":{name}" for name in METAS}
    assert texts(":he") == [":help "]
    assert texts(":HE") == [":help "]
    assert texts(":notes ") == ["auto", "full", "brief", "off"]
    assert texts(":notes b") == ["brief"]
    assert "RETR" in texts(":help r")
    assert texts(":zzz ") == []
    assert all(found.display_meta_text for found in offered(":"))


def test_what_help_knows_is_offered_with_its_summary() -> None:
    found = {s.text: s.display_meta_text for s in offered(":help ")}
    assert {"states", "RETR", "AUTHORIZATION", "PIPELINING", "[IN-USE]", "[SYS/TEMP]", ":mailbox"} <= found.keys()
    assert all(found.values())
    assert texts(":help [I") == ["[IN-USE]"]
    assert texts(":help :mailb") == [":mailbox"]


def test_explain_and_flight_offer_what_a_line_would() -> None:
    assert texts(":explain RETR 1", LOGGED_IN) == texts("RETR 1", LOGGED_IN) == ["1", "10", "11", "12"]
    assert texts(":explain ret", LOGGED_IN) == ["retr "]
    assert texts(":flight STAT | RETR 12", LOGGED_IN) == ["12"]
    assert texts(":explain :help ") == []


def test_names_of_accounts_lessons_and_servers() -> None:
    assert texts(":apop ") == ["learner"]
    assert texts(":lesson 03") == ["03-user-pass"]
    assert texts(":connect ") == ["practice"]
    assert texts(":lang ") == list(LANGUAGES)


def test_files_are_offered_for_what_takes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.txt", "other", ".hidden", "odd\x1b[31m"):
        (tmp_path / name).write_text("")
    (tmp_path / "odir").mkdir()
    monkeypatch.chdir(tmp_path)
    for command in (":save", ":certificate"):
        assert texts(f"{command} o") == ["odir/", "one.txt", "other"]
    assert texts(":save .h") == [".hidden"]
    assert texts(":save --w") == ["--with-secrets"]
    assert texts(":save --with-secrets .h") == [".hidden"]
    found = offered(f":save {tmp_path}/on")
    assert [(s.text, s.start_position) for s in found] == [("one.txt", -2)]
    assert texts(":save /no/such/o") == []
    monkeypatch.setenv("HOME", str(tmp_path))
    assert texts(":save ~/od") == ["odir/"]


def test_chinese_remarks() -> None:
    found = {s.text.strip(): s.display_meta_text for s in offered("", language="zh-Hant")}
    assert all(any("\u4e00" <= ch <= "\u9fff" for ch in remark) for remark in found.values())


def test_completer_replaces_what_is_typed_and_leaves_pasted_blocks_alone() -> None:
    completer = completer_of(LOGGED_IN)
    found = list(completer.get_completions(Document("RETR 1"), CompleteEvent()))
    assert [(c.text, c.start_position) for c in found] == [("1", -1), ("10", -1), ("11", -1), ("12", -1)]
    assert not list(completer.get_completions(Document("RETR 1\nST"), CompleteEvent()))


def test_hostile_subject_and_unique_id_are_filtered() -> None:
    view = MaildropView(open=True, last=1, subjects={1: "\x1b[2J=?utf-8?B?GxtbMko=?="})
    (found,) = offered("RETR ", Context(State.TRANSACTION, maildrop=view))
    assert found.display_meta_text.isprintable()


@pytest.mark.parametrize(("language", "many"), [("en", "many"), ("zh-Hant", "多行")])
def test_a_prediction_that_is_due_is_completed_word_by_word(language: str, many: str) -> None:
    course = Course(Stage(options=Options(language=language)).shell, lambda: cast("Any", None))
    completer = completer_of(Context(), language, metas=lambda: Metas(course.rows()))

    def completed(text: str) -> list[str]:
        return [found.text for found in completer.suggest(text)]

    assert completed(":answer ") == []
    course._tutor = cast("Any", SimpleNamespace(attempt=SimpleNamespace(held="STAT")))
    assert completed(":answer ")[:2] == ["+OK", "-ERR"]
    assert completed(":answer -ERR TR") == ["TRANSACTION"]
    assert many in completed(":answer -ERR TRANSACTION ")
    assert "-ERR" not in completed(":answer -ERR ")
