"""The practice server on a port: hostile peers, the lock, deletion, timers, limits, TLS. No test sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import ssl
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from interop.practice import Clock, Limits, TlsWire, Wire, listening, mail_server, run, texts, trusting, until
from support import over

from popshell.net.errors import NetError
from popshell.net.listener import Listener, PracticeCertificate
from popshell.net.peer import Pace, Peer
from popshell.server import handlers
from popshell.server.maildrop import SLICE, Message
from popshell.server.mailserver import MailServer
from popshell.server.session import ServerSession

SMALL = Message(b"Subject: small\r\n\r\nbody\r\n", "small")
#: 20 MB, every line of which needs a stuffed dot
LARGE = Message(b"Subject: large\r\n\r\n" + b".dotted line of mail\r\n" * 910_000, "large")


def drop(server: MailServer) -> Any:
    return server.maildrop_of("learner")


# The port


@over("host", ["0.0.0.0", "::", "192.0.2.1", "224.0.0.1"])
def test_others_are_let_in_only_on_demand(host: str) -> None:
    async def body() -> None:
        with pytest.raises(ValueError, match="not-loopback"):
            await Listener(mail_server().session).start(host)

    run(body())


def test_a_host_that_is_none() -> None:
    async def body() -> None:
        with pytest.raises(NetError, match="no-such-host"):
            await Listener(mail_server().session).start("a..b")

    run(body())


def test_beyond_loopback_can_be_asked_for() -> None:
    async def body() -> None:
        async with listening(mail_server(), host="0.0.0.0", beyond_loopback=True) as (_, port):
            wire = await Wire.dial(port)
            assert (await wire.upto()).startswith(b"+OK")
            wire.close()

    run(body())


def test_several_ports_and_a_second_start() -> None:
    async def body() -> None:
        listener = Listener(mail_server().session)
        _, plain = await listener.start()
        _, tls = await listener.start(implicit_tls=True)
        assert plain != tls
        wire = await Wire.dial(plain)
        assert (await wire.upto()).startswith(b"+OK")
        await listener.close()
        assert await wire.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await Wire.dial(plain)
        _, again = await listener.start()
        other = await Wire.dial(again)
        assert (await other.upto()).startswith(b"+OK")
        wire.close()
        other.close()
        await listener.close()
        await listener.close()

    run(body())


def test_a_whole_session() -> None:
    async def body() -> None:
        server = mail_server((SMALL,))
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            assert await wire.ask("STAT") == b"+OK 1 24\r\n"
            assert (await wire.ask("RETR 1", b"\r\n.\r\n")).endswith(b"\r\nbody\r\n.\r\n")
            assert (await wire.ask("QUIT")).startswith(b"+OK")
            assert await wire.rest() == b""
            wire.close()
            await until(lambda: not listener.connections)

    run(body())


# Lines


def test_pipelined_commands_are_answered_in_order() -> None:
    async def body() -> None:
        async with listening(mail_server((SMALL,) * 1)) as (_, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            lines = [f"LIST {number % 7}\r\n".encode() for number in range(3000)]
            sending = asyncio.ensure_future(wire.send(b"".join(lines)))
            for number in range(3000):
                expected = b"+OK 1 24" if number % 7 == 1 else b"-ERR"
                assert (await wire.upto()).startswith(expected), number
            await sending
            wire.close()

    run(body())


def test_a_long_line_is_one_error_and_its_tail_no_command() -> None:
    async def body() -> None:
        server = mail_server((SMALL,))
        async with listening(server) as (_, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            sending = asyncio.ensure_future(wire.send(b"A" * 3_000_000 + b"DELE 1\r\nSTAT\r\n"))
            assert (await wire.upto()).startswith(b"-ERR")
            assert await wire.upto() == b"+OK 1 24\r\n"
            await sending
            assert await wire.ask("QUIT") == b"+OK bye, 0 messages removed\r\n"
            wire.close()

    run(body())


def test_a_long_line_is_not_kept() -> None:
    async def body() -> None:
        async with listening(mail_server()) as (_, port):
            wire = await Wire.dial(port)
            await wire.upto()
            piece = b"A" * 65536
            tracemalloc.start()
            for _ in range(40):
                await wire.send(piece)
                await asyncio.sleep(0)
            kept, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert kept < 256 * 1024
            wire.close()

    run(body())


def test_only_crlf_ends_a_line() -> None:
    async def body() -> None:
        async with listening(mail_server((SMALL,))) as (_, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            await wire.send(b"STAT\nNOOP\r\n")
            assert (await wire.upto()).startswith(b"-ERR")
            assert await wire.ask("STAT") == b"+OK 1 24\r\n", "one line, one reply"
            wire.close()

    run(body())


@over("half", [b"QUIT", b"QUIT\n", b"QUIT\r"])
def test_a_partial_line_at_the_end_is_nothing(half: bytes) -> None:
    async def body() -> None:
        server = mail_server((SMALL,))
        async with listening(server) as (_, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            await wire.send(b"DELE 1\r\n" + half)
            wire.half_close()
            assert (await wire.rest()).count(b"+OK") == 1
            assert drop(server).messages == (SMALL,)
            wire.close()

    run(body())


def test_a_half_closed_client_gets_all_its_answers() -> None:
    """`printf '...' | nc`: all commands and FIN in one flight."""

    async def body() -> None:
        server = mail_server((LARGE,))
        async with listening(server) as (_, port):
            wire = await Wire.dial(port)
            await wire.send(b"USER learner\r\nPASS secret\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
            wire.half_close()
            reply = await wire.rest()
            assert reply.count(b"\r\n..dotted") == 910_000
            assert reply.endswith(b"\r\n.\r\n+OK message 1 deleted\r\n+OK bye, 1 message removed\r\n")
            wire.close()

    run(body())


@over("request_line", [b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"OPTIONS * HTTP/1.1"])
def test_a_web_page_gets_no_conversation(request_line: bytes) -> None:
    async def body() -> None:
        async with listening(mail_server()) as (_, port):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.send(request_line + b"\r\nHost: 127.0.0.1\r\n\r\nUSER learner\r\nPASS secret\r\n")
            reply = await wire.rest()
            assert reply.startswith(b"-ERR")
            assert reply.count(b"\r\n") == 1
            assert b"127.0.0.1" not in reply
            wire.close()

    run(body())


def test_a_tls_hello_on_a_clear_text_port_is_hung_up_on() -> None:
    async def body() -> None:
        async with listening(mail_server()) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.send(bytes.fromhex("1603010200010001fc0303") + bytes(300))
            assert await wire.rest() == b""
            wire.close()
            await until(lambda: not listener.connections)

    run(body())


# The lock, and deletion


async def _fin(wire: Wire, listener: Listener, clock: Clock) -> None:
    wire.close()


async def _half_close(wire: Wire, listener: Listener, clock: Clock) -> None:
    wire.half_close()


async def _rst(wire: Wire, listener: Listener, clock: Clock) -> None:
    wire.reset()


async def _autologout(wire: Wire, listener: Listener, clock: Clock) -> None:
    clock.now += 600
    listener.check_timers()


async def _half_a_line(wire: Wire, listener: Listener, clock: Clock) -> None:
    await wire.send(b"QUI")
    await until(lambda: listener.next_check <= 60)
    clock.now += 60
    listener.check_timers()


async def _server_closes(wire: Wire, listener: Listener, clock: Clock) -> None:
    await listener.close()


@over("end", [_fin, _half_close, _rst, _autologout, _half_a_line, _server_closes])
def test_every_end_but_quit_keeps_mail_and_gives_the_lock_back(end: Any) -> None:
    async def body() -> None:
        clock = Clock()
        server = mail_server((SMALL,), clock=clock)
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            assert (await wire.ask("DELE 1")).startswith(b"+OK")
            assert drop(server).in_use
            await end(wire, listener, clock)
            await until(lambda: not drop(server).in_use and not listener.connections)
            assert drop(server).messages == (SMALL,)
            wire.close()

    run(body())


@over("how", ["reset", "close"])
def test_the_lock_is_given_back_in_the_middle_of_a_reply(how: str) -> None:
    async def body() -> None:
        server = mail_server((LARGE,))
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            await wire.send(b"RETR 1\r\n")
            await until(lambda: held_up(listener))
            getattr(wire, how)()  # close() with mail unread is RST, too
            await until(lambda: not drop(server).in_use)
            assert drop(server).messages == (LARGE,)

    run(body())


def test_quit_deletes_and_frees_the_maildrop_for_the_next() -> None:
    async def body() -> None:
        server = mail_server((SMALL, LARGE))
        async with listening(server) as (_, port):
            first, second = await Wire.dial(port), await Wire.dial(port)
            await first.log_in()
            await second.upto()
            await second.ask("USER learner")
            assert (await second.ask("PASS secret")).startswith(b"-ERR [IN-USE]"), "at once"
            await first.ask("DELE 1")
            assert await first.ask("QUIT") == b"+OK bye, 1 message removed\r\n"
            await second.ask("USER learner")
            assert (await second.ask("PASS secret")).startswith(b"+OK")
            assert drop(server).messages == (LARGE,)
            first.close()
            second.close()

    run(body())


# Time


@over("logged_in", [True, False])
def test_autologout_is_silent_and_not_early(logged_in: bool) -> None:
    async def body() -> None:
        clock = Clock()
        async with listening(mail_server(clock=clock)) as (listener, port):
            wire = await Wire.dial(port)
            await (wire.log_in() if logged_in else wire.upto())
            clock.now += 599
            listener.check_timers()
            assert (await wire.ask("CAPA")).startswith(b"+OK"), "not before ten minutes"
            await wire.upto(b".\r\n")
            clock.now += 599
            listener.check_timers()
            assert listener.connections == 1, "the command has put it off"
            clock.now += 1
            listener.check_timers()
            assert await wire.rest() == b"", "no response (RFC 1939 §3)"
            wire.close()

    run(body())


def test_the_timer_is_armed_for_the_earliest_thing_due() -> None:
    async def body() -> None:
        clock = Clock()
        async with listening(mail_server(clock=clock)) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            assert 599 < listener.next_check <= 600
            await wire.send(b"half a li")
            await until(lambda: listener.next_check <= 60)
            assert listener.next_check > 59
            await wire.ask("ne")
            listener.check_timers()
            assert 599 < listener.next_check <= 600
            wire.close()
            await until(lambda: not listener.connections)
            listener.check_timers()
            assert listener.next_check == math.inf, "no connection, no timer"

    run(body())


def test_the_timer_goes_off_by_itself() -> None:
    """The one test that waits for the clock: 20 ms."""

    async def body() -> None:
        async with listening(mail_server(limits=Limits(autologout=0.02))) as (_, port):
            wire = await Wire.dial(port)
            await wire.upto()
            assert await wire.rest() == b""
            wire.close()

    run(body())


def test_a_wrong_password_is_answered_late() -> None:
    async def body() -> None:
        clock = Clock()
        async with listening(mail_server(clock=clock, limits=Limits(login_wait=2.0))) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.ask("USER learner")
            await wire.send(b"PASS wrong\r\nCAPA\r\n")
            await until(lambda: listener.next_check <= 2)
            clock.now += 1.9
            listener.check_timers()
            assert 0 < listener.next_check <= 0.11
            clock.now += 0.1
            listener.check_timers()
            assert (await wire.upto()).startswith(b"-ERR [AUTH]")
            assert (await wire.upto()).startswith(b"+OK")
            wire.close()

    run(body())


def test_the_last_reply_is_not_lost_when_it_is_late() -> None:
    """A limit of bad commands closes; the delayed -ERR goes out first."""

    async def body() -> None:
        clock = Clock()
        limits = Limits(login_wait=2.0, bad_commands=1)
        async with listening(mail_server(clock=clock, limits=limits)) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.ask("USER learner")
            await wire.send(b"PASS wrong\r\n")
            await until(lambda: listener.next_check <= 2)
            clock.now += 2
            listener.check_timers()
            assert (await wire.rest()).startswith(b"-ERR [AUTH]")
            wire.close()

    run(body())


# Slow peers


def held_up(listener: Listener) -> bool:
    """Whether output waits for a peer that does not read: its pace is looked at after a second."""
    return listener.next_check <= 1


class Recorded:
    """Makes sessions and keeps them; `given` counts the octets that each gave out to be sent."""

    def __init__(self, server: MailServer) -> None:
        self.server = server
        self.sessions: list[ServerSession] = []
        self.given: list[int] = []

    def __call__(self, *, tls: bool, client: str) -> ServerSession:
        session = self.server.session(tls=tls, client=client)
        number = len(self.sessions)

        def counted(_: ServerSession, piece: bytes) -> bytes:
            self.given[number] += len(piece)
            return piece

        session._hooks = session._hooks._replace(on_octets=(*session._hooks.on_octets, counted))
        self.sessions.append(session)
        self.given.append(0)
        return session

    async def settled(self) -> None:
        """Until no session gives out anything any more."""
        quiet, before = 0, sum(self.given)
        while quiet < 20:
            await asyncio.sleep(0)
            quiet = quiet + 1 if sum(self.given) == before else 0
            before = sum(self.given)


#: What one connection may hold, in octets: a transport's limit and one slice, a third longer by stuffed dots; beside
#: them what the two systems hold of it, of which each takes twice what is asked for.
HELD = 64 * 1024 + SLICE * 4 // 3 + 2 * 128 * 1024 + 2 * 64 * 1024


def test_20_megabytes_in_slices_to_a_slow_reader() -> None:
    async def body() -> None:
        recorded = Recorded(mail_server((LARGE,)))
        async with listening(recorded) as (_, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            before = recorded.given[0]
            await wire.send(b"RETR 1\r\n")
            most = 0
            got = bytearray()
            while not got.endswith(b"\r\n.\r\n"):
                got += await wire.receive(100_000)
                most = max(most, recorded.given[0] - before - len(got))
            status, _, content = bytes(got).partition(b"\r\n")
            assert status == b"+OK %d octets" % LARGE.octets
            assert content[:-3].replace(b"\r\n.", b"\r\n") == LARGE.content
            assert 0 < most <= HELD
            wire.close()

    run(body())


@over("tls", [False, True])
def test_a_hundred_stalled_readers(tls: bool) -> None:
    count = 100

    async def body() -> None:
        limits = Limits(connections=count + 1, connections_an_address=count + 1)
        accounts = {str(number): "secret" for number in range(count)} | {"learner": "secret"}
        recorded = Recorded(mail_server((LARGE,), accounts=accounts, limits=limits))
        async with listening(recorded, limits=limits) as (listener, port):
            wires = [await stalled(recorded, listener, port, str(number), tls) for number in range(count)]
            # Under TLS asyncio holds 256 KiB more.
            assert sum(recorded.given) <= count * (HELD + (256 * 1024 if tls else 0))
            # And nobody else waits for them.
            wire = await Wire.dial(port)
            await wire.log_in()
            wire.close()
            for one in wires:
                one.reset()

    run(body())


async def stalled(recorded: Recorded, listener: Listener, port: int, name: str, tls: bool) -> Wire:
    """A client that has asked for much and reads nothing."""
    wire = await Wire.dial(port, receive_buffer=65536)
    await wire.upto()
    if tls:
        wire = await upgraded(wire, listener)
    await wire.ask(f"USER {name}")
    await wire.ask("PASS secret")
    await wire.send(b"RETR 1\r\n" * 50)
    await recorded.settled()
    return wire


@dataclass(frozen=True)
class HeldUp:
    """A server whose only client has asked for much and takes nothing."""

    clock: Clock
    server: MailServer
    listener: Listener
    recorded: Recorded
    wire: Wire

    def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.listener.check_timers()

    async def take_a_little(self) -> None:
        """Read until the server has sent more."""
        before = sum(self.recorded.given)
        while sum(self.recorded.given) == before:
            assert await self.wire.receive()
        await self.recorded.settled()


@contextlib.asynccontextmanager
async def one_held_up(*, tls: bool = False, limits: Limits = Limits()) -> AsyncIterator[HeldUp]:  # noqa: B008
    clock = Clock()
    recorded = Recorded(mail_server((LARGE,), clock=clock, limits=limits))
    async with listening(recorded, limits=limits) as (listener, port):
        wire = await stalled(recorded, listener, port, "learner", tls)
        assert held_up(listener)
        yield HeldUp(clock, recorded.server, listener, recorded, wire)


@over("tls", [False, True])
def test_a_peer_that_takes_nothing_for_a_minute_is_cut_off(tls: bool) -> None:
    async def body() -> None:
        async with one_held_up(tls=tls) as it:
            it.later(59)
            assert drop(it.server).in_use
            it.later(1)
            await until(lambda: not drop(it.server).in_use and not it.listener.connections)
            it.wire.close()

    run(body())


def test_a_peer_that_takes_a_little_is_kept() -> None:
    async def body() -> None:
        async with one_held_up() as it:
            for _ in range(13):
                # More than 12 minutes, longer than the autologout: a long reply to a slow reader is no silence.
                await it.take_a_little()
                it.later(59)
                assert drop(it.server).in_use
            it.wire.reset()

    run(body())


def test_a_slow_peer_is_cut_off_while_half_of_the_places_are_taken() -> None:
    """sec-V9, "minimum rate 500 B/s under load"."""

    async def body() -> None:
        for connections, slowest, kept in ((2, 10**9, False), (2, 1, True), (3, 10**9, True)):
            async with one_held_up(limits=Limits(connections=connections, slowest=slowest)) as it:
                it.later(1)
                await it.take_a_little()
                it.later(59)
                await it.recorded.settled()
                assert bool(it.listener.connections) is kept, (connections, slowest)
                it.wire.reset()

    run(body())


def test_the_slowest_pace() -> None:
    """500 octets a second over a minute; what was taken in the first second is the other system's buffer."""
    for octets, crowded, kept in (
        (59 * 500 - 1, True, False),
        (59 * 500, True, True),
        (0, False, False),
        (1, False, True),
    ):
        pace = Pace(Limits(), 1000.0)
        assert pace.due == 1001.0
        assert pace.keeps_up(1001.0, 100_000, crowded)
        assert pace.due == 1060.0
        assert pace.keeps_up(1060.0, 100_000 + octets, crowded) is kept, (octets, crowded)
        if kept:
            assert pace.due == 1120.0
            assert not pace.keeps_up(1120.0, 100_000 + octets + (60 * 500 - 1 if crowded else 0), crowded)


def test_a_timer_that_is_late_does_not_cut_off_what_was_not_watched() -> None:
    """The first look comes after more than a minute: what had been taken is not known, so nothing is."""
    pace = Pace(Limits(), 0.0)
    assert not pace.keeps_up(61.0, 5, False)
    pace = Pace(Limits(write_stall=0.5), 0.0)
    assert pace.due == 0.5


def test_what_the_other_system_took_by_itself_is_no_progress() -> None:
    """A second after output was held up: until then acknowledgements are still under way."""

    async def body() -> None:
        async with one_held_up() as it:
            it.later(0)
            assert 0.9 < it.listener.next_check <= 1
            it.later(1)
            assert 58 < it.listener.next_check <= 59
            it.wire.reset()

    run(body())


def test_a_slow_reply_does_not_count_as_silence_afterwards() -> None:
    async def body() -> None:
        clock = Clock()
        recorded = Recorded(mail_server((LARGE,), clock=clock))
        async with listening(recorded) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            await wire.send(b"RETR 1\r\nNOO")
            await recorded.settled()
            it = HeldUp(clock, recorded.server, listener, recorded, wire)
            for _ in range(20):
                await it.take_a_little()
                it.later(59)
            rest = b""
            while not rest.endswith(b"\r\n.\r\n"):
                rest = rest[-5:] + await wire.receive()
            listener.check_timers()
            await wire.send(b"P\r\n")
            assert (await wire.upto()).startswith(b"+OK")
            wire.close()

    run(body())


def test_a_peer_that_does_not_take_the_end_of_a_reply_is_cut_off() -> None:
    """The session has said all, and some of it waits in the transport."""

    async def body() -> None:
        clock = Clock()
        server = mail_server((Message(b"X: y\r\n\r\n" + b"z" * 60_000 + b"\r\n", "middling"),), clock=clock)
        recorded = Recorded(server)
        async with listening(recorded) as (listener, port):
            for count in range(1, 100):
                wire = await Wire.dial(port, receive_buffer=65536)
                await wire.log_in()
                before = recorded.given[-1]
                await wire.send(b"RETR 1\r\n" * count)
                await recorded.settled()
                if recorded.given[-1] - before >= count * 60_000 and held_up(listener):
                    break
                wire.reset()
                await until(lambda: not listener.connections)
            assert listener.connections == 1, "nothing waited"
            for seconds in (1, 58):
                clock.now += seconds
                listener.check_timers()
                assert drop(server).in_use
            clock.now += 1
            listener.check_timers()
            await until(lambda: not listener.connections)
            assert not drop(server).in_use
            wire.close()

    run(body())


@pytest.mark.parametrize("end", [b"QUIT\r\n", b""], ids=["QUIT", "FIN"])
def test_what_is_unsent_at_the_end_is_given_a_minute_and_the_lock_is_free_at_once(end: bytes) -> None:
    """How much two systems take is theirs: it is asked for more and more, until some of it waits at the end."""

    async def body() -> None:
        clock = Clock()
        server = mail_server((Message(b"X: y\r\n\r\n" + b"z" * 30_000 + b"\r\n", "middling"),), clock=clock)
        recorded = Recorded(server)
        async with listening(recorded) as (listener, port):
            for count in range(1, 200):
                wire = await Wire.dial(port, receive_buffer=65536)
                await wire.log_in()
                await wire.send(b"RETR 1\r\n" * count + end)
                if not end:
                    wire.half_close()
                await recorded.settled()
                if not drop(server).in_use and listener.connections:
                    break
                wire.close()
                await until(lambda: not listener.connections)
            assert listener.connections == 1, "nothing waited"
            clock.now += 59
            listener.check_timers()
            assert listener.connections == 1
            clock.now += 1
            listener.check_timers()
            await until(lambda: not listener.connections)
            wire.close()

    run(body())


def test_one_client_does_not_keep_the_others_waiting() -> None:
    """20,000 pipelined commands are 0.3 s of work; another's single one is answered in between."""

    async def body() -> None:
        async with listening(mail_server()) as (_, port):
            busy, quick = await Wire.dial(port), await Wire.dial(port)
            await busy.log_in()
            await quick.upto()
            sending = asyncio.ensure_future(busy.send(b"NOOP\r\n" * 20_000))
            count = 0
            answered_at = 0

            async def read() -> None:
                nonlocal count
                while count < 20_000:
                    count += (await busy.receive()).count(b"\r\n")

            reading = asyncio.ensure_future(read())
            await until(lambda: count)
            await quick.ask("CAPA")
            answered_at = count
            await reading
            await sending
            assert answered_at < 10_000
            busy.close()
            quick.close()

    run(body())


# Limits


def test_connections_are_limited_in_all() -> None:
    """On this machine one address may have them all: it is every program's."""

    async def body() -> None:
        async with listening(mail_server(limits=Limits(connections=5, connections_an_address=3))) as (listener, port):
            own = [await Wire.dial(port) for _ in range(5)]
            for wire in own:
                assert (await wire.upto()).startswith(b"+OK")
            assert (await _whole_life(port, "127.0.0.2")).startswith(b"-ERR [SYS/TEMP]")
            assert listener.connections == 5
            own[0].close()
            await until(lambda: listener.connections == 4)
            own[0] = await Wire.dial(port)
            assert (await own[0].upto()).startswith(b"+OK")
            for wire in own:
                wire.close()

    run(body())


def test_connections_are_limited_for_each_address_of_another_machine() -> None:
    """One learner cannot stop the class."""

    async def body() -> None:
        listener = Listener(mail_server().session, Limits(connections=5, connections_an_address=2))
        peers = [Peer(listener, False) for _ in range(7)]
        for peer, address in zip(peers, ("192.0.2.1",) * 3 + ("192.0.2.2",) * 2 + ("::1", "127.0.0.1"), strict=True):
            peer.address = address
        assert [listener.admit(peer) for peer in peers] == [True, True, False, True, True, True, False]
        listener.forget(peers[0])
        assert listener.admit(peers[2]), "an address that has left begins anew"

    run(body())


async def _whole_life(port: int, source: str) -> bytes:
    wire = await Wire.dial(port, source=source)
    try:
        return await wire.rest()
    finally:
        wire.close()


def test_a_connection_too_many_on_a_tls_port_is_closed_without_a_word() -> None:
    async def body() -> None:
        async with listening(mail_server(limits=Limits(connections=1)), implicit_tls=True) as (listener, port):
            first = await Wire.dial(port)
            await until(lambda: listener.connections == 1)
            assert await _whole_life(port, "127.0.0.1") == b""
            first.close()

    run(body())


def test_the_refusal_has_words_where_there_are_some() -> None:
    async def body() -> None:
        words = {"too-many-connections": "come back later"}
        server = mail_server(limits=Limits(connections=0), texts=lambda tag: {**texts(tag), **words})
        async with listening(server) as (_, port):
            assert await _whole_life(port, "127.0.0.1") == b"-ERR [SYS/TEMP] come back later\r\n"

    run(body())


# TLS


async def upgraded(wire: Wire, listener: Listener) -> TlsWire:
    assert (await wire.ask("STLS")).startswith(b"+OK")
    tls = TlsWire(wire, trusting(listener.certificate_pem()))
    await tls.shake_hands()
    return tls


@over("name", ["localhost", "127.0.0.1", "::1"])
def test_stls(name: str) -> None:
    async def body() -> None:
        async with listening(mail_server((SMALL,))) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            assert b"STLS" in await wire.ask("CAPA", b".\r\n")
            assert (await wire.ask("USER learner")).startswith(b"+OK")
            assert (await wire.ask("STLS")).startswith(b"+OK")
            tls = TlsWire(wire, trusting(listener.certificate_pem()), name)
            await tls.shake_hands()
            assert (await tls.ask("PASS secret")).startswith(b"-ERR"), "USER in clear is forgotten (sec-V8)"
            assert (await tls.ask("STLS")).startswith(b"-ERR")
            assert b"STLS" not in await tls.ask("CAPA", b".\r\n")
            await tls.ask("USER learner")
            await tls.ask("PASS secret")
            assert await tls.ask("STAT") == b"+OK 1 24\r\n"
            assert (await tls.ask("STLS")).startswith(b"-ERR")
            await tls.ask("QUIT")
            tls.close()
            await until(lambda: not listener.connections)

    run(body())


@over("behind", [b"USER learner\r\n", b"x", b"\r\n", bytes.fromhex("1603010005")])
def test_what_comes_behind_stls_in_clear_is_refused(behind: bytes) -> None:
    """sec-V8: in one packet with STLS. The reply is -ERR and the end; nothing of it is ever served."""

    async def body() -> None:
        async with listening(mail_server()) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.send(b"STLS\r\n" + behind)
            reply = await wire.rest()
            assert reply.startswith(b"-ERR")
            assert reply.count(b"\r\n") == 1
            wire.close()
            await until(lambda: not listener.connections)

    run(body())


def test_what_comes_in_clear_after_the_reply_to_stls_spoils_the_handshake() -> None:
    async def body() -> None:
        async with listening(mail_server()) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            assert (await wire.ask("STLS")).startswith(b"+OK")
            await wire.send(b"USER learner\r\nPASS secret\r\n")
            assert b"+OK" not in await wire.rest()
            wire.close()
            await until(lambda: not listener.connections)

    run(body())


@over("implicit", [False, True])
def test_a_command_in_the_packet_that_ends_the_handshake_is_served(implicit: bool) -> None:
    async def body() -> None:
        async with listening(mail_server(), implicit_tls=implicit) as (listener, port):
            wire = await Wire.dial(port)
            if not implicit:
                await wire.upto()
                await wire.ask("STLS")
            tls = TlsWire(wire, trusting(listener.certificate_pem()))
            await tls.shake_hands(right_behind=b"NOOP\r\nCAPA\r\n")
            if implicit:
                assert b"ready" in await tls.upto()
            assert (await tls.upto()).startswith(b"-ERR")
            assert (await tls.upto()).startswith(b"+OK")
            tls.close()

    run(body())


def test_the_hello_that_comes_at_once_does_not_hang() -> None:
    """asyncio: a ClientHello read before start_tls hangs the handshake. It is sent with no pause at all here."""

    async def body() -> None:
        async with listening(mail_server()) as (listener, port):
            for _ in range(30):
                wire = await Wire.dial(port)
                await wire.upto()
                tls = await upgraded(wire, listener)
                assert (await tls.ask("CAPA")).startswith(b"+OK")
                tls.close()
                await until(lambda: not listener.connections)

    run(body())


def test_stls_while_output_is_held_up() -> None:
    """The `+OK` to STLS waits behind listings that the client has not read yet; so does the handshake."""

    async def body() -> None:
        # A listing of some 6 KiB: several of them, and the reply to STLS, are written at once.
        languages = {"en": "English", "zh-Hant": "x"} | {f"x-{number}": "y" * 290 for number in range(20)}
        recorded = Recorded(mail_server(languages=languages))
        met = 0
        async with listening(recorded) as (listener, port):
            for count in range(30, 200):
                wire = await Wire.dial(port, receive_buffer=65536)
                await wire.upto()
                await wire.send(b"LANG\r\n" * count + b"STLS\r\n")
                await recorded.settled()
                if recorded.sessions[-1].starts_tls and held_up(listener):
                    met += 1
                    for _ in range(count):
                        await wire.upto(b"\r\n.\r\n")
                    assert (await wire.upto()).startswith(b"+OK")
                    tls = TlsWire(wire, trusting(listener.certificate_pem()))
                    await tls.shake_hands()
                    assert (await tls.ask("CAPA")).startswith(b"+OK")
                elif met:
                    break
                wire.close()
                await until(lambda: not listener.connections)
        assert met, "`+OK` never waited"

    run(body())


@over("implicit", [False, True])
@over("end", ["silence", "fin", "rst", "nonsense"])
def test_a_handshake_that_fails_leaves_nothing(implicit: bool, end: str) -> None:
    async def body() -> None:
        limits = Limits(handshake=0.05 if end == "silence" else 15)
        async with listening(mail_server(limits=limits), implicit_tls=implicit) as (listener, port):
            wire = await Wire.dial(port)
            if not implicit:
                await wire.upto()
                await wire.ask("STLS")
            await until(lambda: listener.connections == 1)
            if end == "fin":
                wire.half_close()
            elif end == "rst":
                wire.reset()
            elif end == "nonsense":
                await wire.send(b"USER learner\r\n")
            if end != "rst":
                assert b"+OK" not in await wire.rest()
            await until(lambda: not listener.connections)
            wire.close()

    run(body())


def test_closing_in_the_middle_of_handshakes() -> None:
    async def body() -> None:
        server = mail_server()
        listener = Listener(server.session, server.limits)
        _, port = await listener.start(implicit_tls=True)
        wires = [await Wire.dial(port) for _ in range(5)]
        await until(lambda: listener.connections == 5)
        await listener.close()
        assert listener.connections == 0
        for wire in wires:
            wire.close()

    run(body())


def test_old_tls_is_refused() -> None:
    assert PracticeCertificate().context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_key_is_on_disk_for_a_moment_and_for_us_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[int] = []
    remove = os.unlink

    def note(path: Any, *rest: Any, **more: Any) -> None:
        modes.append(stat.S_IMODE(os.stat(path).st_mode))
        remove(path, *rest, **more)

    monkeypatch.setattr(os, "unlink", note)
    certificate = PracticeCertificate()
    assert certificate.context is certificate.context, "made once"
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []
    assert "PRIVATE" not in certificate.pem


def test_each_run_has_its_own_certificate() -> None:
    assert PracticeCertificate().pem != PracticeCertificate().pem


def test_trustme_is_not_imported_before_tls_is_used() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import asyncio\n"
        "from interop.practice import *\n"
        "async def body():\n"
        "    async with listening(mail_server()) as (listener, port):\n"
        "        wire = await Wire.dial(port)\n"
        "        await wire.log_in()\n"
        "        wire.close()\n"
        "        assert 'trustme' not in sys.modules and 'cryptography' not in sys.modules\n"
        "        listener.certificate_pem()\n"
        "        assert 'trustme' in sys.modules\n"
        "asyncio.run(body())\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Bugs of ours


def test_a_bug_in_a_handler_ends_that_session_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(session: Any, line: Any) -> Any:
        raise ZeroDivisionError

    async def body() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        monkeypatch.setattr("popshell.server.mailserver.HANDLERS", {**handlers.HANDLERS, "STAT": broken})
        server = mail_server((SMALL,))
        async with listening(server) as (_, port):
            wire, other = await Wire.dial(port), await Wire.dial(port)
            await wire.log_in()
            await other.upto()
            await wire.send(b"STAT\r\n")
            assert await wire.rest() == b""
            assert not drop(server).in_use
            assert (await other.ask("CAPA")).startswith(b"+OK")
            assert [type(one) for one in complaints] == [ZeroDivisionError]
            wire.close()
            other.close()

    run(body())


def test_a_certificate_that_cannot_be_made_ends_that_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> Any:
        raise ImportError("trustme")

    async def body() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        async with listening(mail_server()) as (listener, port):
            monkeypatch.setattr(trustme, "CA", broken)
            wire = await Wire.dial(port)
            await wire.upto()
            await wire.ask("STLS")
            assert await wire.rest() == b""
            assert [type(one) for one in complaints] == [ImportError]
            await until(lambda: not listener.connections)
            wire.close()

    run(body())
