"""Lines that no command asked for: shown, counted, recognised as a listing, and too many of them end the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from stage import LOCAL, Stage, run, turns
from support import for_each, practice_server

from popshell.net.address import Destination, TlsMode, parse_address
from popshell.net.connector import Connector
from popshell.protocol.connection import Connection
from popshell.protocol.records import Exchange, Problem
from popshell.protocol.wire import ReplyLimits
from popshell.session import transcript_lines
from popshell.ui.events import End, Ended, Replied, ShellEvent

LIMITS = ReplyLimits()
FLOOD = b"-ERR flood\r\n"
ROWS = b"".join(b"%d 100\r\n" % number for number in range(1, 10_001))


def opened(*answered: tuple[bytes, bytes]) -> Connection:
    """A connection whose greeting came, and whose lines were answered."""
    connection = Connection()
    connection.received(b"+OK ready\r\n")
    for line, reply in answered:
        connection.sent(line)
        connection.received(reply)
    return connection


def codes(events: list[Any]) -> list[str]:
    return [event.problem.code if event.problem else event.name for event in events]


def test_fifty_lines_are_kept_and_the_rest_is_counted() -> None:
    connection = opened()
    events = connection.received(FLOOD * 60)
    assert codes(events) == ["unasked"] * 49 + ["unasked-last"]
    assert connection.broken is None
    more, reply = [*connection.sent(b"NOOP\r\n"), *connection.received(b"+OK\r\n")]
    assert isinstance(more, Exchange)
    assert more.problem is not None
    assert (more.problem.code, more.problem.lines, more.problem.octets) == ("unasked-more", 10, 10 * len(FLOOD))
    assert more.received == b""
    assert more.to_json()["problem"] == {"code": "unasked-more", "speaks": None, "lines": 10, "octets": 120}
    assert codes([reply]) == ["NOOP"]
    assert codes(connection.received(FLOOD)) == ["unasked"], "after a reply the counting begins anew"


def test_what_ends_the_connection() -> None:
    """Each row: what comes, in seconds between its lines, and whether that is too much."""
    rows = (
        ("999 lines at once", FLOOD, 999, 0.0, ""),
        ("1,000 lines at once", FLOOD, 1_000, 0.0, "flood"),
        ("lines of nothing", b"\r\n", 1_000, 0.0, "flood"),
        ("for 9 s", FLOOD, 10, 1.0, ""),
        ("for 10 s", FLOOD, 11, 1.0, "flood"),
        ("with silence between", FLOOD, 30, 4.0, ""),
        ("with less than silence between", FLOOD, 5, 3.0, "flood"),
        ("a listing of 200,000 rows", b"1 100\r\n", 200_000, 0.0, ""),
        ("a listing of more", b"1 100\r\n", 200_001, 0.0, "too-many-lines"),
        ("listings that end at once", b"1 100\r\n.\r\n", 1_000, 0.0, "flood"),
    )

    def check(row: tuple[str, bytes, int, float, str]) -> None:
        _, line, count, seconds, code = row
        connection = opened()
        if seconds:
            events = [event for at in range(count) for event in connection.received(line, at * seconds)]
        else:
            events = connection.received(line * count)
        assert (connection.broken.code if connection.broken else "") == code
        assert len(events) <= 2 * LIMITS.unasked_kept + 2

    for_each(rows, check)


def test_the_same_comes_of_a_flood_however_it_is_cut() -> None:
    data = b"-ERR a\r\n" * 30 + b"1 100\r\n2 100\r\n.\r\n" + b"x\r\n" * 20 + FLOOD * 980
    whole = opened().received(data)
    assert codes(whole)[-2:] == ["unasked-more", "flood"]
    assert isinstance(flood := whole[-1], Exchange)
    # Of the listing its first row counts.
    assert flood.problem == Problem("flood", lines=1_000, octets=8 * 30 + 7 + 3 * 20 + len(FLOOD) * 949)
    for size in (1, 7, 1000):
        connection = opened()
        cut = [event for at in range(0, len(data), size) for event in connection.received(data[at : at + size])]
        assert cut == whole, size


def test_a_listing_that_was_not_due_is_recognised() -> None:
    connection = opened((b"USER a\r\n", b"+OK\r\n"), (b"PASS b\r\n", b"+OK\r\n"))
    connection.sent(b"LIST 7\r\n")
    reply, first, rest = connection.received(b"+OK\r\n" + ROWS + b".\r\n")
    assert codes([reply, first, rest]) == ["LIST", "unasked-listing", "unasked-rows"]
    assert isinstance(first, Exchange)
    assert isinstance(rest, Exchange)
    assert first.received + rest.received == ROWS + b".\r\n"
    assert (first.reply_line(), rest.reply_line()) == ("1 100", ""), "rows have no status line"
    assert rest.problem is not None
    assert (rest.problem.lines, rest.problem.octets) == (9_999, len(rest.received))
    text = list(transcript_lines([first, rest]))
    assert text[:4] == ["S: 1 100", "# unasked-listing", "S: 2 100", "S: 3 100"]
    assert connection.broken is None


def test_a_listing_without_end_is_recorded_before_what_follows() -> None:
    for_each(
        (
            ("a line is sent", lambda c: c.sent(b"NOOP\r\n"), ["unasked-rows"]),
            ("the server closes", lambda c: c.close(), ["unasked-rows"]),
            ("another line comes", lambda c: c.received(FLOOD), ["unasked-rows", "unasked"]),
        ),
        lambda row: check_end(*row[1:]),
    )


def test_the_bounds_of_a_listing_that_was_not_due() -> None:
    """Each row: the most lines, the most octets after the first row, and what four rows of seven octets come to."""

    def check(row: tuple[int, int, str | None]) -> None:
        lines, octets, code = row
        connection = Connection(limits=ReplyLimits(listing_lines=lines, content=octets))
        connection.received(b"+OK\r\n" + b"1 100\r\n" * 4)
        assert (connection.broken and connection.broken.code) == code

    for_each(((4, 21, None), (3, 21, "too-many-lines"), (4, 20, "content-too-long"), (3, 20, "too-many-lines")), check)


def test_what_was_counted_is_recorded_when_something_else_comes() -> None:
    """Before the reply of a line, at its time; before a half line at the end; of the line that waits for an answer."""
    connection = opened()
    connection.received(FLOOD * 60 + b"-ERR fl", 1.0)
    assert codes(connection.sent(b"NOOP\r\n", 2.0)) == ["unasked-more"]
    more, reply = connection.received(b"ood\r\n+OK\r\n", 3.0)
    assert codes([more, reply]) == ["unasked-more", "NOOP"]
    assert isinstance(more, Exchange)
    assert (more.started, more.finished, more.problem) == (3.0, 3.0, Problem("unasked-more", lines=1, octets=12))

    connection = opened()
    connection.received(b"1 100\r\n2 100\r\n3 10", 1.0)
    rows, half = connection.close(4.0)
    assert codes([rows, half]) == ["unasked-rows", "unasked"]
    assert isinstance(rows, Exchange)
    assert (rows.started, rows.finished) == (4.0, 4.0)

    connection = opened((b"AUTH PLAIN\r\n", b"+ \r\n"))
    *_, flood = connection.received(FLOOD * 1_000)
    assert isinstance(flood, Exchange)
    assert (flood.name, flood.problem and flood.problem.code) == ("AUTH", "flood")


def check_end(do: Any, wanted: list[str]) -> None:
    connection = opened()
    assert codes(connection.received(b"1 100\r\n2 100\r\n3 100\r\n")) == ["unasked-listing"]
    assert codes(do(connection)) == wanted


# -- in the shell ------------------------------------------------------------------------------------------------------


def heard(stage: Stage) -> list[ShellEvent]:
    events: list[ShellEvent] = []
    stage.shell.subscribe(events.append)
    return events


def test_the_shell_says_once_what_floods_and_why_it_closed() -> None:
    async def test() -> None:
        stage = Stage(LOCAL, script={})
        events = heard(stage)
        await stage.begin()
        stage.screen.forget()
        stage.wire.say(FLOOD * 1_000_000)
        await turns()
        assert [event.how for event in events if isinstance(event, Ended)] == [End.FLOODED]
        # The greeting, the lines that are kept, the first that is not, and the flood's end.
        assert len([event for event in events if isinstance(event, Replied)]) == LIMITS.unasked_kept + 3
        assert stage.wire.closed
        assert stage.screen.flat.count("This line was not asked for.") == 1
        assert "1,000 lines and 10 seconds" in stage.screen.flat
        assert ":connect" in stage.screen.flat
        assert len(stage.text.encode()) <= 8 * 1_000 * len(FLOOD)
        assert len(stage.shell.exchanges()) == LIMITS.unasked_kept + 3
        assert stage.shell.tally.exit_code() == 3

    run(test())


def test_rows_of_a_listing_that_was_not_due_are_said_once() -> None:
    async def test() -> None:
        stage = Stage(
            LOCAL, script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "LIST": b"+OK 7 100\r\n" + ROWS + b".\r\n"}
        )
        await stage.begin("USER a", "PASS b")
        text = await stage.run("LIST 7")
        await turns()
        text = " ".join(stage.text.split())
        assert text.count("look like a listing that was not due") == 1
        assert "This line was not asked for. It is shown" not in text
        assert "of 9,999" in text.replace("9999", "9,999"), "the rows are shown as far as the window goes"
        assert stage.shell.session is not None

    run(test())


def test_a_million_lines_over_tcp_end_in_a_closed_connection() -> None:
    """The peer floods as fast as the network takes it; what the client takes of it is bounded."""

    listener = socket.create_server(("127.0.0.1", 0))

    def flood() -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"+OK ready\r\n")
            for _ in range(1_000):
                peer.sendall(FLOOD * 1_000)

    async def test() -> None:
        ended = asyncio.Event()
        events: list[Any] = []
        address = parse_address(f"127.0.0.1:{listener.getsockname()[1]}", TlsMode.NONE)
        connector = Connector(practice_server(), Destination(address))
        found = await connector.connect(None, lambda event, awaited: events.append(event), lambda error: ended.set())
        await ended.wait()
        assert found.session.connection.broken is not None
        assert found.session.connection.broken.code == "flood"
        assert len(events) == LIMITS.unasked_kept + 3

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    run(test())
    thread.join()
    listener.close()
