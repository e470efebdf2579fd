"""The practice server on a port: hostile peers, the lock, deletion, timers, limits, TLS. No test sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from interop.practice import Clock, Limits, TlsWire, Wire, listening, mail_server, run, trusting, until

from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.net.tls import PracticeCertificate
from popshell.server import handlers
from popshell.server.maildrop import SLICE, Message
from popshell.server.mailserver import MailServer

SMALL = Message(b"Subject: small\r\n\r\nbody\r\n", "small")
#: 20 MB, every line of which needs a stuffed dot
LARGE = Message(b"Subject: large\r\n\r\n" + b".dotted line of mail\r\n" * 910_000, "large")


def drop(server: MailServer) -> Any:
    return server.maildrop_of("learner")


# The port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "224.0.0.1"])
def test_others_are_let_in_only_on_demand(host: str) -> None:
    async def body() -> None:
        with pytest.raises(ValueError, match="not-loopback"):
            await Listener(mail_server()).start(host)

    run(body())


def test_a_host_that_is_none() -> None:
    async def body() -> None:
        with pytest.raises(NetError, match="no-such-host"):
            await Listener(mail_server()).start("a..b")

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
        listener = Listener(mail_server())
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
            [peer] = listener._peers
            assert peer._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
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
        async with listening(mail_server()) as (listener, port):
            wire = await Wire.dial(port)
            await wire.upto()
            [peer] = listener._peers
            for _ in range(40):
                await wire.send(b"A" * 65536)
                assert len(peer._session._lines._buffer) <= 64 * 1024
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


@pytest.mark.parametrize("half", [b"QUIT", b"QUIT\n", b"QUIT\r"])
def test_a_partial_line_at_the_end_is_nothing(half: bytes) -> None:
    async def body() -> None:
        server = mail_server((SMALL,))
        async with listening(server) as (_, port):
            wire = await Wire.dial(port)
            await wire.log_in()
            await wire.send(b"DELE 1\r\n" + half)
            wire.half_close()
            assert (await wire.rest()).count(b"\r\n") == 1
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


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"OPTIONS * HTTP/1.1"])
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
    [peer] = listener._peers
    await wire.send(b"QUI")
    await until(lambda: peer._session._lines.pending)
    clock.now += 60
    listener.check_timers()


async def _server_closes(wire: Wire, listener: Listener, clock: Clock) -> None:
    await listener.close()


@pytest.mark.parametrize("end", [_fin, _half_close, _rst, _autologout, _half_a_line, _server_closes])
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


@pytest.mark.parametrize("how", ["reset", "close"])
def test_the_lock_is_given_back_in_the_middle_of_a_reply(how: str) -> None:
    async def body() -> None:
        server = mail_server((LARGE,))
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            await wire.send(b"RETR 1\r\n")
            [peer] = listener._peers
            await until(lambda: peer._stalled)
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


@pytest.mark.parametrize("logged_in", [True, False])
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
            assert listener._timer_due == clock.now + 600
            await wire.send(b"half a li")
            await until(lambda: listener._timer_due == clock.now + 60)
            loop = asyncio.get_running_loop()
            assert listener._timer is not None
            assert 59 < listener._timer.when() - loop.time() <= 60
            await wire.ask("ne")
            listener.check_timers()
            assert listener._timer_due == clock.now + 600
            wire.close()
            await until(lambda: not listener.connections)
            listener.check_timers()
            assert listener._timer is None, "no connection, no timer"

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
            [peer] = listener._peers
            await until(lambda: peer._waiting)
            clock.now += 1.9
            listener.check_timers()
            assert peer._waiting
            assert peer.due() == 1002.0
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
            [peer] = listener._peers
            await until(lambda: peer._waiting)
            clock.now += 2
            listener.check_timers()
            assert (await wire.rest()).startswith(b"-ERR [AUTH]")
            wire.close()

    run(body())


# Slow peers


def test_20_megabytes_in_slices_to_a_slow_reader() -> None:
    async def body() -> None:
        server = mail_server((LARGE,))
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            await wire.send(b"RETR 1\r\n")
            [peer] = listener._peers
            most = 0
            got = bytearray()
            while not got.endswith(b"\r\n.\r\n"):
                got += await wire.receive(100_000)
                most = max(most, peer._transport.get_write_buffer_size())
            status, _, content = bytes(got).partition(b"\r\n")
            assert status == b"+OK %d octets" % LARGE.octets
            assert content[:-3].replace(b"\r\n.", b"\r\n") == LARGE.content
            assert 0 < most <= bound(server)
            wire.close()

    run(body())


def bound(server: MailServer) -> int:
    """What one connection may hold: up to the limit, and one slice more, a third longer by stuffed dots at worst."""
    return server.limits.output + SLICE * 4 // 3


@pytest.mark.parametrize("tls", [False, True])
def test_a_hundred_stalled_readers(tls: bool) -> None:
    count = 100

    async def body() -> None:
        server = mail_server((LARGE,), limits=Limits(connections=count + 1, connections_an_address=count + 1))
        server.accounts = {str(number): "secret" for number in range(count)} | {"learner": "secret"}
        async with listening(server) as (listener, port):
            wires = [await _stalled(listener, port, str(number), tls) for number in range(count)]
            held = [peer._transport.get_write_buffer_size() for peer in listener._peers]
            assert len(held) == count
            assert sum(held) <= count * bound(server)
            # And nobody else waits for them.
            wire = await Wire.dial(port)
            await wire.log_in()
            wire.close()
            for one in wires:
                one.reset()

    run(body())


async def _stalled(listener: Listener, port: int, name: str, tls: bool) -> Wire:
    before = set(listener._peers)
    wire = await Wire.dial(port, receive_buffer=65536)
    await wire.upto()
    if tls:
        wire = await upgraded(wire, listener)
    await wire.ask(f"USER {name}")
    await wire.ask("PASS secret")
    await wire.send(b"RETR 1\r\n" * 50)
    [peer] = set(listener._peers) - before
    await until(lambda: peer._stalled)
    return wire


@dataclass(frozen=True)
class HeldUp:
    """A server whose only client has asked for much and takes nothing."""

    clock: Clock
    server: MailServer
    listener: Listener
    peer: Any
    wire: Wire


@contextlib.asynccontextmanager
async def held_up(*, tls: bool = False, **settings: Any) -> AsyncIterator[HeldUp]:
    clock = Clock()
    server = mail_server((LARGE,), clock=clock, **settings)
    async with listening(server) as (listener, port):
        wire = await _stalled(listener, port, "learner", tls)
        [peer] = listener._peers
        yield HeldUp(clock, server, listener, peer, wire)


@pytest.mark.parametrize("tls", [False, True])
def test_a_peer_that_takes_nothing_for_a_minute_is_cut_off(tls: bool) -> None:
    async def body() -> None:
        async with held_up(tls=tls) as it:
            it.clock.now += 59
            it.listener.check_timers()
            assert drop(it.server).in_use
            it.clock.now += 1
            it.listener.check_timers()
            await until(lambda: not drop(it.server).in_use and not it.listener.connections)
            it.wire.close()

    run(body())


def test_a_peer_that_takes_a_little_is_kept() -> None:
    async def body() -> None:
        async with held_up() as it:
            for _ in range(13):
                # More than 12 minutes, longer than the autologout: a long reply on a slow line is no silence.
                it.clock.now += 59
                await _take_a_little(it.wire, it.peer)
                it.listener.check_timers()
                assert drop(it.server).in_use
            it.wire.reset()

    run(body())


@pytest.mark.parametrize(("connections", "slowest", "kept"), [(2, 10**9, False), (2, 1, True), (3, 10**9, True)])
def test_a_slow_peer_is_cut_off_where_half_of_the_places_are_taken(connections: int, slowest: int, kept: bool) -> None:
    """sec-V9, "minimum rate 500 B/s under load"."""

    async def body() -> None:
        async with held_up(limits=Limits(connections=connections, slowest=slowest)) as it:
            it.clock.now += 1
            it.listener.check_timers()
            await _take_a_little(it.wire, it.peer)
            it.clock.now += 59
            it.listener.check_timers()
            if kept:
                assert not it.peer._transport.is_closing()
                it.wire.reset()
            else:
                await until(lambda: not it.listener.connections)

    run(body())


@pytest.mark.parametrize(("octets", "kept"), [(59 * 500 - 1, False), (59 * 500, True)])
def test_the_slowest_pace(monkeypatch: pytest.MonkeyPatch, octets: int, kept: bool) -> None:
    async def body() -> None:
        async with held_up(limits=Limits(connections=2)) as it:
            taken = 100_000  # what the other side's system takes at once counts for nothing
            monkeypatch.setattr(type(it.peer), "_held", lambda self: self._written - taken)
            it.clock.now += 1
            it.listener.check_timers()
            taken += octets
            it.clock.now += 59
            it.listener.check_timers()
            assert it.peer._transport.is_closing() is not kept
            taken += 60 * 500 - 1  # in the minute after that
            it.clock.now += 60
            it.listener.check_timers()
            await until(lambda: not it.listener.connections)
            it.wire.close()

    run(body())


def test_what_the_other_system_took_by_itself_is_no_progress() -> None:
    """A second after output was held up: until then acknowledgements are still under way."""

    async def body() -> None:
        async with held_up() as it:
            assert it.peer.due() == it.clock.now + 1
            it.listener.check_timers()
            assert it.peer._taken is None
            it.clock.now += 1
            it.listener.check_timers()
            assert it.peer._taken is not None
            assert it.peer.due() == it.clock.now + 59
            it.wire.reset()

    run(body())


async def _take_a_little(wire: Wire, peer: Any) -> None:
    held = peer._transport.get_write_buffer_size()
    while peer._transport.get_write_buffer_size() == held:
        assert await wire.receive()


def test_a_slow_reply_does_not_count_as_silence_afterwards() -> None:
    async def body() -> None:
        clock = Clock()
        server = mail_server((LARGE,), clock=clock)
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            await wire.send(b"RETR 1\r\nNOO")
            [peer] = listener._peers
            await until(lambda: peer._stalled)
            for _ in range(20):
                clock.now += 59
                listener.check_timers()
                await _take_a_little(wire, peer)
            await wire.upto(b"\r\n.\r\n")
            listener.check_timers()
            await wire.send(b"P\r\n")
            assert (await wire.upto()).startswith(b"+OK")
            wire.close()

    run(body())


def test_what_is_unsent_when_we_close_is_given_a_minute() -> None:
    async def body() -> None:
        clock = Clock()
        server = mail_server((LARGE,), clock=clock)
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            await wire.send(b"RETR 1\r\n")
            [peer] = listener._peers
            await until(lambda: peer._stalled)
            peer._end()
            assert not drop(server).in_use, "the lock does not wait for a slow reader"
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


def test_connections_are_limited_in_all_and_for_each_address() -> None:
    async def body() -> None:
        async with listening(mail_server(limits=Limits(connections=5, connections_an_address=3))) as (listener, port):
            own = [await Wire.dial(port) for _ in range(3)]
            for wire in own:
                assert (await wire.upto()).startswith(b"+OK")
            assert (await _whole_life(port, "127.0.0.1")).startswith(b"-ERR [SYS/TEMP]")
            others = [await Wire.dial(port, source="127.0.0.2") for _ in range(2)]
            for wire in others:
                assert (await wire.upto()).startswith(b"+OK"), "one learner cannot stop the class"
            assert (await _whole_life(port, "127.0.0.3")).startswith(b"-ERR [SYS/TEMP]")
            assert listener.connections == 5
            own[0].close()
            await until(lambda: listener.connections == 4)
            own[0] = await Wire.dial(port)
            assert (await own[0].upto()).startswith(b"+OK")
            for wire in own + others:
                wire.close()
            await until(lambda: not listener.connections)
            assert not listener._addresses

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
        server = mail_server(limits=Limits(connections=0))
        texts = server.texts
        server.texts = lambda tag: {**texts(tag), "too-many-connections": "come back later"}
        async with listening(server) as (_, port):
            assert await _whole_life(port, "127.0.0.1") == b"-ERR [SYS/TEMP] come back later\r\n"

    run(body())


# TLS


async def upgraded(wire: Wire, listener: Listener) -> TlsWire:
    assert (await wire.ask("STLS")).startswith(b"+OK")
    tls = TlsWire(wire, trusting(listener.certificate_pem()))
    await tls.shake_hands()
    return tls


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
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


@pytest.mark.parametrize("behind", [b"USER learner\r\n", b"x", b"\r\n", bytes.fromhex("1603010005")])
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


@pytest.mark.parametrize("implicit", [False, True])
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
        server = mail_server()
        # A listing of some 30 KiB, half of what makes the transport call pause_writing.
        server.languages = {"en": "English", "zh-Hant": "x"} | {f"x-{number}": "y" * 290 for number in range(100)}
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.upto()
            [peer] = listener._peers
            count = await _nearly_stalled(wire, peer, "LANG")
            await wire.send(b"LANG\r\nSTLS\r\n")
            await until(lambda: peer._session.starts_tls)
            assert peer._stalled
            assert not peer._transport.is_reading(), "nothing in clear is read any more"
            for _ in range(count + 1):
                await wire.upto(b"\r\n.\r\n")
            assert (await wire.upto()).startswith(b"+OK")
            tls = TlsWire(wire, trusting(listener.certificate_pem()))
            await tls.shake_hands()
            assert (await tls.ask("CAPA")).startswith(b"+OK")

    run(body())


async def _nearly_stalled(wire: Wire, peer: Any, line: str) -> int:
    """Ask for 30 KiB without reading till more than half of what is allowed waits to be sent. Gives how often."""
    count = 0
    while peer._transport.get_write_buffer_size() <= 34 * 1024:
        served = peer._session._served
        await wire.send(line.encode() + b"\r\n")
        await until(lambda served=served: peer._session._served > served)  # type: ignore[misc]
        count += 1
    assert not peer._stalled
    return count


def test_a_peer_that_has_gone_keeps_no_lock_for_what_it_never_read() -> None:
    """FIN, and a few octets that nobody will fetch: the lock is free at once, the connection a minute later."""

    async def body() -> None:
        clock = Clock()
        server = mail_server((Message(b"X: y\r\n\r\n" + b"z" * 30_000 + b"\r\n", "middling"),), clock=clock)
        async with listening(server) as (listener, port):
            wire = await Wire.dial(port, receive_buffer=65536)
            await wire.log_in()
            [peer] = listener._peers
            await _nearly_stalled(wire, peer, "RETR 1")
            wire.half_close()
            await until(lambda: not drop(server).in_use)
            assert listener.connections == 1
            clock.now += 60
            listener.check_timers()
            await until(lambda: not listener.connections)

    run(body())


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("end", ["silence", "fin", "rst", "nonsense"])
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
        listener = Listener(server)
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
        server = mail_server((SMALL,))
        async with listening(server) as (_, port):
            wire, other = await Wire.dial(port), await Wire.dial(port)
            await wire.log_in()
            await other.upto()
            monkeypatch.setattr(handlers, "stat", broken)
            monkeypatch.setattr("popshell.server.mailserver.HANDLERS", {**handlers.HANDLERS, "STAT": broken})
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
