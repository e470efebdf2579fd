"""`:wire`: what went over the line, piece by piece, and what a naive client reads; `:times`: how long it took."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st
from looks import COLOURLESS
from stage import LOCAL, FakeScreen, Stage, cancelled, run, turns
from support import each

from popshell.protocol.wire import stuff
from popshell.session import ConnectError, Step
from popshell.ui.layout import PLAIN
from popshell.ui.octets import NAIVE, said

SCRIPT: dict[str, bytes | None] = {"USER": b"+OK\r\n", "PASS": None, "RETR": None, "NOOP": b"+OK\r\n"}


async def answered(on: Stage, line: str, *pieces: tuple[float, bytes]) -> None:
    """Send a line; after so many seconds each piece comes."""
    work = asyncio.ensure_future(on.run(line))
    await turns()
    for seconds, piece in pieces:
        on.clock.now += seconds
        on.wire.say(piece)
    await work


async def fetched(content: bytes, *, columns: int = 80, plain: bool = False) -> Stage:
    """A connection on which a message came in two pieces, the second in the middle of a line."""
    screen = FakeScreen(columns=columns, rows=200, look=PLAIN if plain else COLOURLESS)
    on = Stage(place=LOCAL, script=SCRIPT, screen=screen)
    await on.begin("USER learner")
    await answered(on, "PASS C4n4ry", (0.25, b"+OK welcome C4n"), (0.5, b"4ry\r\n"))
    reply = b"+OK\r\n" + stuff(content) + b".\r\n"
    await answered(on, "RETR 1", (0.125, reply[:9]), (1.0, reply[9:]))
    on.screen.forget()
    return on


def test_pieces_stand_where_they_ended_with_their_times() -> None:
    async def go(width: int, plain: bool) -> None:
        on = await fetched(b"Subject: x\r\n\r\n.\r\n", columns=width, plain=plain)
        rows = [re.sub(r" +", " ", row) for row in (await on.run(":wire")).splitlines()]
        assert rows[rows.index(" C> RETR 1\\r\\n") :] == [
            " C> RETR 1\\r\\n",
            " C~ sent at 0.0 ms",
            " S> +OK\\r\\n",
            " S> Subj",
            " S~ 9 octets up to here came together, at 125.0 ms",
            " S| ect: x\\r\\n",
            " S> \\r\\n",
            " S> ..\\r\\n",
            *[row for row in rows if row.startswith(" S~") and "octets" not in row and "end of" not in row],
            " S> .\\r\\n",
            " S~ 17 octets up to here came together, at 1,125.0 ms",
            " S~ the end of the reply: CRLF, a dot, CRLF",
        ]

    each([(80, False), (80, True), (60, False)], lambda *row: run(go(*row)))


def test_what_a_lone_dot_in_a_message_cut_off_is_named_on_both_sides() -> None:
    async def go() -> None:
        on = Stage(place=LOCAL, script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "RETR": b"+OK\r\nSubject: x\r\n.\r\n"})
        await on.begin("USER learner", "PASS secret", "RETR 1")
        assert "the end of the reply" in await on.run(":wire")
        on.wire.say(b"the rest\r\n.\r\n")
        await turns()
        assert "a lone dot that the server did not double (RFC 1939 §3)" in on.screen.flat
        for line, named in ((":wire 4", "this lone dot ended the reply"), (":wire 5", "most likely the rest of")):
            on.screen.forget()
            await on.run(line)
            assert named in " ".join(re.sub(r"  S~ ", "", on.screen.flat).split())

    run(go())


def test_a_secret_shows_neither_itself_nor_its_length() -> None:
    async def go(line: str) -> None:
        on = await fetched(b"")
        shown = await on.run(line)
        assert "••••" in shown or "****" in shown
        assert not re.search(r"C4n|4ry|43 34|\b(13|15|20) octets| 20  ", shown), shown

    each([(":wire 3",), (":wire 3 hex",), (":times",)], lambda *row: run(go(*row)))


def test_the_answers_to_challenges_stand_where_they_were_given() -> None:
    async def go() -> None:
        on = Stage(place=LOCAL, script={"AUTH": b"+ Zm9v\r\n", "c2VjcmV0": b"+OK\r\n"})
        await on.begin("AUTH LOGIN", "c2VjcmV0")
        rows = re.findall(r"^  ([CS]>.*)", await on.run(":wire"), re.M)
        assert rows == ["C> AUTH LOGIN\\r\\n", "S> + Zm9v\\r\\n", "C> ••••\\r\\n", "S> +OK\\r\\n"]

    run(go())


def test_what_a_naive_client_reads() -> None:
    def check(line: bytes, found: dict[str, str]) -> None:
        assert {code: read for code, test in NAIVE.items() if (read := test(line)) is not None} == found

    each(
        [
            (b"plain", {}),
            (b".", {}),
            (b"..", {"lone-dot": ""}),
            (b"..dot", {"stuffed": "..dot"}),
            (b"a\nb", {"bare-lf": "2"}),
            (b"a\n.\nb", {"lf-dot": "", "bare-lf": "3"}),
            (b"a\n.", {"lf-dot": "", "bare-lf": "2"}),
            (b".\na", {"lf-dot": "", "bare-lf": "2", "stuffed": ".\na"}),
            (b"a\rb", {"bare-cr": "2"}),
            (b"a\0b", {"nul": "a"}),
            (b"caf\xc3\xa9", {"latin": "cafÃ©"}),
            (b"caf\xe9", {"no-utf8": "caf\ufffd"}),
        ],
        check,
    )


def test_each_remark_has_words_and_is_not_made_without_end() -> None:
    async def go() -> None:
        on = await fetched(b".\r\n.x\r\na\n.\nb\r\na\rb\r\na\0\r\n\xc3\xa9\r\n\xe9\r\n" * 9, columns=200)
        shown = await on.run(":wire")
        texts = [on.shell.words(f"wire.{code}", read="").partition("{")[0] for code in NAIVE]
        assert [shown.count(text[:40]) for text in texts] == [3] * len(NAIVE)

    run(go())


def test_hexadecimal_and_what_cannot_be_shown() -> None:
    async def go(line: str, said: str) -> None:
        on = await fetched(b"\x1b[31m\r\n")
        assert said in await on.run(line)

    rows = [
        (":wire hex", "  S> 000005  1b 5b 33 31 6d 0d 0a                             .[31m..\n"),
        (":wire 4 hex", "  C> 000000  52 45 54 52 20 31 0d 0a                          RETR 1..\n"),
        (":wire 5", "There are 4 exchanges"),
        (":wire 0", "There are 4 exchanges"),
        (":wire x", "Usage: :wire [N] [hex]"),
        (":wire 4hex", "Usage: :wire [N] [hex]"),
    ]
    each(rows, lambda *row: run(go(*row)))

    async def closed() -> None:
        on = Stage()
        await on.run(":wire", ":times")
        assert on.text.count("Nothing has happened yet") == 2, on.text

    run(closed())


@given(st.lists(st.binary(max_size=9).map(lambda octets: octets.replace(b"\r", b"")), max_size=6), st.integers(1, 40))
def test_lines_and_pieces_cover_all_that_was_said(lines: list[bytes], size: int) -> None:
    async def go() -> None:
        screen = FakeScreen(columns=200, rows=5000)
        on = Stage(place=LOCAL, script=SCRIPT | {"PASS": b"+OK\r\n"}, screen=screen)
        screen.most = 5000
        await on.begin("USER a", "PASS b")
        reply = b"+OK\r\n" + stuff(b"".join(line + b"\r\n" for line in lines)) + b".\r\n"
        await answered(on, "RETR 1", *((0.1, reply[at : at + size]) for at in range(0, len(reply), size)))
        last = on.shell.exchanges()[-1]
        found = [line for line in said(last) if not line.by_client]
        assert found[0].start == 0
        assert found[-1].end == len(reply)
        shown = await on.run(":wire")
        assert shown.count("came together") == len(range(0, len(reply), size))

    run(go())


def test_times_of_steps_and_exchanges() -> None:
    async def go(width: int, plain: bool, bars: bool) -> None:
        on = await fetched(b"x" * 98 + b"\r\n", columns=width, plain=plain)
        assert on.shell.link is not None
        moments = (("resolving", "", None), ("resolved", "", 0.5), ("connecting", "::1", None))
        more = (("not-connected", "::1", 0.25), ("connected", "127.0.0.1", 0.25), ("tls", "", 1.0), ("tls", "", 0.5))
        on.shell.link.steps = [Step(what, "h", 1, at, seconds=took) for what, at, took in (*moments, *more)]
        rows = (await on.run(":times")).splitlines()
        cells = [re.split(r" {2,}", row.strip()) for row in rows if re.search(r"[0-9-]$|[─━]$", row)]
        assert [row[:5] for row in cells if row[0][0] not in "1234"] == [
            ["name lookup", "-", "500.0", "-", "-"],
            ["not reached ::1", "-", "250.0", "-", "-"],
            ["TCP to 127.0.0.1", "-", "250.0", "-", "-"],
            ["TLS handshake", "-", "1,000.0", "-", "-"],
            ["TLS handshake", "-", "500.0", "-", "-"],
            ["in sum", "375.0", "4,375.0", "124", "28"],
        ]
        assert ["4 RETR 1", "125.0", "1,125.0", "108", "96"] in [row[:5] for row in cells]
        assert any("━" in row for row in rows) is bars
        assert all(len(row) <= width for row in rows)

    each([(80, False, True), (66, False, False), (80, True, False)], lambda *row: run(go(*row)))


def test_a_reply_that_broke_off_has_no_time_of_a_last_octet() -> None:
    async def go(reply: bytes | None, first: str, octets: str) -> None:
        on = Stage(LOCAL, script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "STAT": reply, "RETR": reply})
        await on.begin("USER a", "PASS b")
        await cancelled(on.shell.run("RETR 1"), lambda: "RETR 1" in on.wire.heard)
        await turns()
        on.clock.now += 40
        await on.run(":drop")
        rows = [re.split(r" {2,}", row.strip()) for row in (await on.run(":times")).splitlines()]
        assert [row for row in rows if row[0] == "4 RETR 1"] == [["4 RETR 1", first, "-", octets, "-"]]
        assert [row for row in rows if row[0] == "in sum"] == [["in sum", "0.0", "0.0", "21", "-"]]

    each([(b"+OK\r\na\r\n", "0.0", "8"), (b"+O", "0.0", "2"), (None, "-", "-")], lambda *row: run(go(*row)))


def test_each_step_is_timed() -> None:
    async def go() -> None:
        on = Stage()
        await on.begin()
        assert on.shell.link is not None
        on.shell.link.step(Step("connecting", "h", 1, "::1"))
        on.shell.link.step(Step("connected", "h", 1, "::1", seconds=0.5))
        assert [(step.what, step.seconds) for step in on.shell.link.steps] == [("connecting", None), ("connected", 0.5)]
        assert "TCP to ::1" in await on.run(":times")
        on.shell.publish(Step("not-connected", "h", 1, "::1", {"code": ConnectError("refused").code}))

    run(go())
