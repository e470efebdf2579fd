"""Notices and `:why` in the shell: shown where something does not fit, and nowhere else."""

from __future__ import annotations

from stage import CLOSE, LOCAL, REMOTE, Stage, run
from support import LOGIN

from popshell.ui.shell import Options

SCRIPT: dict[str, bytes | None] = {
    "USER": b"+OK\r\n",
    "PASS": b"+OK\r\n",
    "LIST 1": b"+OK 1 99\r\n",
    "RETR": b"+OK\r\nSubject: a\r\n\r\nb\r\n.\r\n",
    "UIDL": b"+OK\r\n1 a\r\n2 b\r\n.\r\n",
    "QUIT": b"+OK\r\n" + CLOSE,
}
OTHER = b"+OK\r\n1 x\r\n2 y\r\n.\r\n"


def real(**options: object) -> Stage:
    return Stage(place=LOCAL, script=dict(SCRIPT), options=Options(**options))  # type: ignore[arg-type]


def test_what_does_not_fit_is_a_warning_after_the_notes_once_a_connection() -> None:
    async def go() -> None:
        stage = real()
        await stage.begin(*LOGIN, "LIST 1")
        shown = await stage.run("RETR 1")
        assert "⚠ LIST says 99 octets for message 1; 17 came." in shown
        assert shown.index("Message 1") < shown.index("⚠")
        assert "⚠" not in await stage.run("RETR 1")
        await stage.run(":connect", *LOGIN, "LIST 1")
        assert "⚠ LIST says 99" in await stage.run("RETR 1")

    run(go())


def test_notices_follow_the_setting_of_notes() -> None:
    async def go() -> None:
        for notes, wanted in (("full", True), ("brief", True), ("off", False)):
            stage = real(notes=notes)
            await stage.begin(*LOGIN, "LIST 1")
            assert ("⚠" in await stage.run("RETR 1")) is wanted, notes

    run(go())


def test_notices_are_in_the_language_of_the_shell() -> None:
    async def go() -> None:
        stage = real(language="zh-Hant")
        await stage.begin(*LOGIN, "LIST 1")
        assert "99 個位元組" in await stage.run("RETR 1")

    run(go())


def test_unique_ids_are_compared_with_the_last_connection_to_the_same_maildrop_only() -> None:
    async def go() -> None:
        for name, place, wanted in (("ann", LOCAL, True), ("bob", LOCAL, False), ("ann", REMOTE, False)):
            stage = real()
            await stage.begin("USER ann", "PASS x", "UIDL", "QUIT")
            stage.place, stage.script = place, SCRIPT | {"UIDL": OTHER}
            stage.screen.forget()
            await stage.run(":connect", f"USER {name}", "PASS x", "UIDL")
            assert ("None of the 2 unique-ids" in stage.screen.flat) is wanted, (name, place)

    run(go())


def test_what_was_noticed_is_kept_when_another_connection_fails() -> None:
    """The connection that stays goes on: what was said of it once is not said again."""

    async def go() -> None:
        for greeting in (b"-ERR not now\r\n", b"220 mail ESMTP\r\n"):
            stage = real()
            await stage.begin(*LOGIN, "LIST 1")
            assert "⚠ LIST says 99" in await stage.run("RETR 1")
            stage.place, stage.greeting = REMOTE, greeting
            assert "stays" in (await stage.run(":connect pop.example.org"))
            stage.screen.forget()
            assert "⚠" not in await stage.run("LIST 1", "RETR 1"), greeting

    run(go())


def test_the_practice_server_gives_no_reason_for_a_notice_even_when_its_messages_are_renumbered() -> None:
    async def go() -> None:
        stage = Stage()
        lines = (
            "CAPA",
            *LOGIN,
            "CAPA",
            "STAT",
            "LIST",
            "UIDL",
            "LANG zh-Hant",
            "RETR 1",
            "TOP 1 0",
            "DELE 1",
            "LIST",
            "STAT",
            "QUIT",
        )
        await stage.begin(*lines)
        stage.screen.forget()
        await stage.run(":connect", *LOGIN, "STAT", "UIDL", "LIST")
        assert "UIDL" in stage.text
        assert "⚠" not in stage.text

    run(go())


def test_a_secret_that_a_server_repeats_is_masked_in_a_notice() -> None:
    async def go() -> None:
        stage = Stage(place=LOCAL, script=SCRIPT | {"LIST": b"+OK\r\ntopsecret\r\n.\r\n"})
        await stage.begin("USER ann", "PASS topsecret")
        assert "topsecret" not in (await stage.run("LIST")).partition("⚠")[2]
        assert "cannot be read" in stage.screen.flat

    run(go())


def test_why_says_what_was_refused_and_why_it_may_be_so() -> None:
    async def go() -> None:
        stage = Stage()
        assert "There is no connection." in await stage.run(":why")
        await stage.begin()
        assert "Nothing was refused" in await stage.run(":why")
        await stage.run("USER learner", "PASS wrong")
        shown = " ".join((await stage.run(":why")).split())
        assert "PASS •••• was answered -ERR [AUTH]" in shown
        assert "Next:" in shown

    run(go())


def test_a_close_counts_only_if_it_was_the_servers_and_followed_the_refusal() -> None:
    async def go() -> None:
        wrong = []
        for close, lines, wanted in (
            (CLOSE, (), True),
            (b"", (":drop",), False),
            (b"", ("QUIT",), False),
            (b"", ("NOOP",), False),
        ):
            replies = {"PASS": b"-ERR\r\n" + close, "NOOP": b"+OK\r\n" + CLOSE}
            stage = Stage(place=LOCAL, script=SCRIPT | replies)
            await stage.begin(*LOGIN, *lines)
            assert stage.shell.session is None
            shown = " ".join((await stage.run(":why")).split())
            if ("The server closes after a refusal" in shown) is not wanted:
                wrong.append((lines, shown))
        assert not wrong

    run(go())
