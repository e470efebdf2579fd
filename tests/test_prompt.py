"""The prompt, the warning behind the cursor, and the toolbar: every fact they owe, and in every width."""

from __future__ import annotations

import re

import pytest
from stage import CATALOG, LOCAL, METAS, FakeScreen, Stage, cancelled, run, turns

from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.line import Context, parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.session import Endpoint
from popshell.ui.layout import Line, line_columns
from popshell.ui.link import COUNTDOWN
from popshell.ui.prompt import Toolbar, Typing, hint, prompt_line
from popshell.ui.shell import Options


class Bar:
    """The toolbar of a stage, with what is typed in the test's hands."""

    def __init__(self, stage: Stage) -> None:
        self.typed = ""
        self._toolbar = Toolbar(stage.shell, Typing(stage.shell), lambda: self.typed)

    def lines(self, typed: str = "", columns: int = 80, rows: int = 24) -> list[Line]:
        self.typed = typed
        return self._toolbar(rows, columns)

    def text(self, typed: str = "", columns: int = 80, rows: int = 24) -> str:
        return "\n".join(map(shown, self.lines(typed, columns, rows)))


def shown(line: Line) -> str:
    return "".join(text for _, text in line)


# -- the prompt --------------------------------------------------------------------------------------------------------


def test_prompt_names_state_lock_and_what_is_wrong_with_the_lock() -> None:
    async def go() -> None:
        stage = Stage()
        assert shown(prompt_line(stage.shell)) == "CLOSED ▸ "
        await stage.begin()
        assert shown(prompt_line(stage.shell)) == "AUTHORIZATION ▸ "
        await stage.run("STLS")
        assert shown(prompt_line(stage.shell)) == "AUTHORIZATION 🔒 TLS ▸ "
        assert ("lock", "🔒 TLS") in prompt_line(stage.shell)
        await stage.run("AUTH PLAIN")
        assert "AUTH +" in shown(prompt_line(stage.shell))
        assert stage.shell.link is not None
        assert stage.shell.link.connection is not None
        elsewhere = Endpoint("h:995", practice=False, loopback=False, insecure=True)
        stage.shell.link.connection = stage.shell.link.connection._replace(endpoint=elsewhere)
        assert ("err", "TLS not verified!") in prompt_line(stage.shell)
        stage.shell.screen = FakeScreen(ascii=True)
        assert shown(prompt_line(stage.shell)).isascii()

    run(go())


# -- the warning -------------------------------------------------------------------------------------------------------


def test_warning_is_the_first_objection_and_none_while_it_may_still_become_right() -> None:
    cases: list[tuple[str, str]] = [
        ("STAT", "only in TRANSACTION"),
        ("PASS x", "only right after USER"),
        ("USER a b", "too many words"),
        ("FOO", "no POP3 command"),
        ("RETRX 1", "RETR?"),
        ("LAST", "history"),
        ("USER  a", "two spaces"),
        (" USER a", "space before"),
        ("APOP a b", "32 lower-case hex digits"),
        ("STA", ""),
        ("st", ""),
        ("", ""),
        ("USER", ""),
        ("USER a", ""),
    ]
    for typed, warning in cases:
        said = hint(parse(typed, Context()), CATALOG.words("en"), False)
        assert (warning in said) if warning else said == "", typed
        assert said.startswith("⚠ ") or not said, typed
        assert hint(parse(typed, Context()), CATALOG.words("en"), True).isascii(), typed


@pytest.mark.parametrize(
    ("typed", "warning"),
    [("RETR 2", "marked"), ("RETR 9", "no message"), ("RETR 0", "begin with 1"), ("RETR x", "digits"), ("RETR 1", "")],
)
def test_warning_knows_the_maildrop(typed: str, warning: str) -> None:
    view = MaildropView(open=True, last=7, marks=frozenset({2}))
    said = hint(parse(typed, Context(State.TRANSACTION, maildrop=view)), CATALOG.words("en"), False)
    assert (warning in said) if warning else said == ""


# -- the toolbar -------------------------------------------------------------------------------------------------------


def test_toolbar_shows_where_one_is_and_what_can_be_typed() -> None:
    async def go() -> None:
        stage = Stage()
        bar = Bar(stage)
        await stage.begin()
        rule, path, now, metas, place = bar.text().split("\n")
        assert set(rule) == {"─"}
        assert len(rule) == 79
        assert "[AUTHORIZATION]" in path
        assert "TRANSACTION" in path
        assert "UPDATE" in path
        assert re.findall(r"[A-Z0-9]{4}", now) == [
            "USER",
            "APOP",
            "AUTH",
            "STLS",
            "CAPA",
            "UTF8",
            "LANG",
            "QUIT",
        ]
        assert ":help" in metas
        assert ":quit" in metas
        assert place.startswith(" practice 127.0.0.1:1 · no TLS · maildrop closed · ")
        assert place.endswith(" ms")

    run(go())


@pytest.mark.parametrize(
    ("typed", "facts"),
    [
        ("RETR 1", ["RETR msg", "send one message", "legal now", "many lines", "changes nothing"]),
        ("retr", ["RETR msg", "legal now", "many lines"]),
        ("LIST", ["LIST [msg]", "many lines"]),
        ("LIST 1", ["LIST [msg]", "one line"]),
        ("DELE 1", ["DELE msg", "one line", "RSET takes it back"]),
        ("QUIT", ["erase what is marked", "one line", "cannot be taken back"]),
        ("USER a", ["only in AUTHORIZATION", "one line"]),
        ("RETR x", ["9 are wanted", "many lines", "changes nothing"]),
        ("FOO", ["now: CAPA"]),
        (":notes", [":notes [auto|full|brief|off]", "how much is explained"]),
        (":sa", [":save"]),
    ],
)
def test_toolbar_tells_of_the_line_being_typed(typed: str, facts: list[str]) -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in()
        text = Bar(stage).text(typed)
        for fact in facts:
            assert fact in text

    run(go())


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.TRANSACTION])
def test_every_command_leaves_room_for_all_its_facts_at_80_columns(state: State, language: str) -> None:
    async def go() -> None:
        stage = Stage(options=Options(language=language))
        await (stage.begin() if state is State.AUTHORIZATION else stage.log_in("LIST", "DELE 2"))
        bar, words = Bar(stage), CATALOG.words(language)
        for name, spec in COMMANDS.items():
            for typed in (name, f"{name} 2", f"{name} x y z"):
                command, effect = (shown(line) for line in bar.lines(typed)[2:4])
                assert spec.syntax in command
                assert CATALOG.page(language, f"commands/{name}").summary in command  # type: ignore[union-attr]
                assert "…" not in command + effect
                reply = "many" if spec.expects_multi_line(len(typed.split()) - 1) else "one"
                for fact in (f"undo.{spec.undo_in(state).value}", f"reply.{reply}"):
                    assert words(fact) in command + effect, (typed, command, effect)

    run(go())


def test_toolbar_shows_the_maildrop_as_known_so_far_and_the_marks() -> None:
    async def go() -> None:
        stage = Stage()
        bar = Bar(stage)
        await stage.log_in()
        assert "maildrop ?" in bar.text()
        await stage.run("STAT")
        assert "7 messages 7528 octets" in bar.text()
        await stage.run("LIST", "DELE 1")
        assert "6 messages 6971 octets · ✗ marked #1 · " in bar.text()
        assert ("warn", "✗ marked #1") in bar.lines()[4]
        await stage.run("RSET")
        assert "✗" not in bar.text()

    run(go())


def test_toolbar_names_the_reply_that_is_due() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script={"STAT": None})
        await stage.begin()
        await cancelled(stage.shell.run("STAT"), lambda: "STAT" in stage.wire.heard)
        text = Bar(stage).text()
        assert "reply to STAT still due" in text
        assert "practice" not in text
        assert "127.0.0.1:110" in text

    run(go())


def test_toolbar_under_tls_in_a_challenge_and_without_connection() -> None:
    async def go() -> None:
        stage = Stage()
        bar = Bar(stage)
        assert "[CLOSED]" in bar.text()
        assert bar.text().count(":connect opens") == 1
        await stage.begin("STLS")
        assert " · 🔒 TLS · " in bar.text()
        assert ("lock", "🔒 TLS") in bar.lines()[4]
        await stage.run("AUTH PLAIN")
        assert "* cancels" in bar.text("AGEAYg==")
        assert "AGEAYg" not in bar.text("AGEAYg==")

    run(go())


@pytest.mark.parametrize(("left", "counted"), [(61.0, False), (60.0, True), (59.6, True), (0.4, True), (-3.0, True)])
def test_last_minute_before_autologout_is_counted_down(left: float, counted: bool) -> None:
    async def go() -> None:
        stage = Stage()
        await stage.log_in("STAT", "DELE 1", "DELE 2")
        stage.clock.now += 600.0 - left
        assert stage.shell.seconds_left() == pytest.approx(left)
        for language in ("en", "zh-Hant"):
            stage.options.language = language
            said = CATALOG.words(language)("toolbar.autologout", seconds=max(0, round(left)))
            assert (said in Bar(stage).text(columns=80)) == counted, Bar(stage).text(columns=80)
        await stage.run("NOOP")
        assert stage.shell.seconds_left() == pytest.approx(600)

    run(go())


def test_no_countdown_on_a_real_server() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script={})
        await stage.begin()
        stage.clock.now += 10_000
        assert stage.shell.seconds_left() is None
        assert "autologout" not in Bar(stage).text()

    run(go())


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize("ascii", [False, True])
def test_no_window_is_too_small_and_no_line_too_wide(language: str, ascii: bool) -> None:
    async def go() -> None:
        stage = Stage(screen=FakeScreen(ascii=ascii), options=Options(language=language))
        bar = Bar(stage)
        await stage.log_in("LIST", *(f"DELE {n}" for n in range(1, 8)))
        stage.clock.now += 600 - COUNTDOWN / 2
        for rows in (1, 5, 11, 12, 19, 20, 24, 50):
            for columns in (1, 2, 10, 20, 40, 60, 79, 80, 120, 200):
                for typed in ("", "RETR 1", "AUTH PLAIN", ":", ":help", "x" * 300):
                    lines = bar.lines(typed, columns, rows)
                    assert len(lines) == (1 if rows < 12 else 4 if rows < 20 else 5)
                    assert all(line_columns(line) <= max(columns - 1, 0) for line in lines)
                    if ascii and language == "en":
                        assert all(shown(line).isascii() for line in lines), [shown(line) for line in lines]

    run(go())


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_a_low_window_keeps_the_place_and_a_very_low_one_has_it_while_time_runs_out(language: str) -> None:
    async def go() -> None:
        stage = Stage(options=Options(language=language))
        bar = Bar(stage)
        await stage.log_in("DELE 2", "DELE 5")
        _, path, command, place = bar.text("RETR 1", rows=12).split("\n")
        assert "[TRANSACTION]" in path
        assert "RETR msg" in command
        assert "#2 #5" in place
        assert "RETR msg" in bar.text("RETR 1", rows=11)
        stage.clock.now += 600 - COUNTDOWN / 2
        for rows in (11, 12, 24):
            assert CATALOG.words(language)("toolbar.autologout", seconds=30) in bar.text(
                "RETR 1", columns=60, rows=rows
            )
        assert "RETR msg" not in bar.text("RETR 1", rows=11)

    run(go())


@pytest.mark.parametrize("ascii", [False, True])
def test_the_task_is_always_in_sight(ascii: bool) -> None:
    """Also while one types; no row is lost that a window of 24 rows had without a task."""

    async def go() -> None:
        stage = Stage(screen=FakeScreen(ascii=ascii))
        task = "Lesson 3 1/5 Log in with a password that is wrong, and then with the right one."
        stage.shell.toolbar.append(lambda: [("", f" {task}")])
        await stage.begin()
        bar = Bar(stage)
        for columns, rows, most in ((60, 20, 6), (80, 20, 6), (80, 24, 7), (120, 40, 7), (60, 50, 7)):
            for typed in ("", "USER learner", ":help", "FOO"):
                lines = bar.lines(typed, columns, rows)
                text = " ".join(" ".join(map(shown, lines)).split())
                assert task in text, (columns, rows, typed)
                assert len(lines) <= most, (columns, rows, typed)
                assert all(shown(line).strip() for line in lines[:-2]), (columns, rows, typed)
                assert set(shown(lines[0])) == ({"-"} if ascii else {"─"})
        assert "Log in" in bar.text("USER learner", 80, 12)
        assert "Log in" in bar.text("", 80, 5)
        assert "USER name" in bar.text("USER learner", 80, 5), "one row alone: what is typed matters most"

    run(go())


def test_toolbar_offers_what_is_legal_here_and_now() -> None:
    async def go() -> None:
        stage = Stage()
        bar = Bar(stage)
        await stage.begin()
        assert "PASS" not in bar.text().split("\n")[2]
        await stage.run("USER learner")
        assert "PASS" in bar.text().split("\n")[2]
        await stage.run("STLS")
        assert "STLS" not in bar.text().split("\n")[2]
        unstamped = Stage(place=LOCAL, script={})
        await unstamped.begin()
        assert "APOP" not in Bar(unstamped).text().split("\n")[2], "without a timestamp in the greeting (RFC 1939 §7)"
        silent = Stage(place=LOCAL, script={"QUIT": None})
        await silent.begin()
        await cancelled(silent.shell.run("QUIT"), lambda: "QUIT" in silent.wire.heard)
        assert "now:" not in Bar(silent).text()
        assert "no command works here any more" in Bar(silent).text()
        due = Stage(place=LOCAL, script={"USER": b"+OK\r\n", "PASS": None})
        await due.begin("USER mei")
        await cancelled(due.shell.run("PASS secret"), lambda: "PASS secret" in due.wire.heard)
        bar = Bar(due)
        assert "after +OK: CAPA" in bar.text()
        assert "legal after +OK" in bar.text("STAT")
        due.wire.say(b"+OK\r\n")
        await turns()
        assert "legal now" in bar.text("STAT")
        refused = Stage(place=LOCAL, script={}, greeting=b"-ERR [SYS/TEMP] too many\r\n")
        await refused.begin()
        assert "QUIT is on its way" not in Bar(refused).text()

    run(go())


def test_greeting_that_is_late_is_what_is_due() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script={}, greeting=None)
        await cancelled(stage.shell.connect(), lambda: stage.shell.session is not None)
        assert "greeting still due" in Bar(stage).text()
        assert "?" not in Bar(stage).text().split("\n")[4].replace("maildrop ?", "")

    run(go())


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_what_does_not_fit_into_one_row_goes_on_in_the_next(language: str) -> None:
    async def go() -> None:
        stage = Stage(options=Options(language=language))
        bar, words = Bar(stage), CATALOG.words(language)
        await stage.begin()
        for name, meta in METAS.items():
            first, second = bar.text(f":{name}").split("\n")[2:4]
            said = "".join((first + second).split())
            assert "".join(words(f"meta.{name}").replace("`", "").split()) in said
            assert meta.param.replace(" ", "") in said
        narrow = bar.text("", columns=40).split("\n")[2:4]
        assert "".join(narrow).count("QUIT") == 1, "what is legal now does not end at the edge of the window"

    run(go())


def test_the_lock_has_two_columns_everywhere_and_none_where_it_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from prompt_toolkit.utils import get_cwidth

    lock = Stage().screen.lock
    assert lock.strip()
    assert get_cwidth(lock) == line_columns([("", lock)]) == 3
    assert len(lock.strip()) == 1, "no variation selector, no joiner: terminals differ on those"
    assert FakeScreen(ascii=True).lock == ""
    monkeypatch.setenv("TERM", "linux")
    assert Stage().screen.lock == ""


def test_hostile_server_name_is_filtered() -> None:
    async def go() -> None:
        stage = Stage(place=Endpoint("\x1b[31mhost:1", practice=False, loopback=True), script={})
        await stage.begin()
        assert "\\x1b[31mhost:1" in Bar(stage).text()

    run(go())


# -- one parse for all -------------------------------------------------------------------------------------------------


def test_typing_is_parsed_once_for_each_text_and_context() -> None:
    typing, context = Typing(Stage().shell), Context()
    first = typing.line("STAT", context)
    assert typing.line("STAT", context) is first
    assert typing.line("STAT", Context()) is first, "an equal context is the same"
    assert typing.line("STATX", context) is not first
    assert typing.line("STAT", Context(State.TRANSACTION)).objection is None


def test_a_password_in_an_address_is_masked_and_never_stored() -> None:
    typing = Typing(Stage().shell)
    for text in (":connect pop://mei:C4n4ry@h", ":connect mei:C4n4ry@h", ":con pop://mei:C4n4ry;AUTH=*@h:110"):
        assert typing.has_secret(text)
        assert "C4n4ry" not in typing.masked(text)
    for text in (":connect pop://mei@h:110", ":connect h:110", ":connect [::1]:110"):
        assert not typing.has_secret(text)
        assert typing.masked(text) == text
