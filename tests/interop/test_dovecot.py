"""Our client against a real Dovecot, and Dovecot beside the practice server: the same lines, the same first words."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support import over

from interop.dovecot import Dovecot, dovecot
from interop.practice import listening, mail_server, run, until
from interop.talk import Talk, talking
from popshell.net import client
from popshell.net.address import Address, Destination, TlsMode, Way
from popshell.net.errors import NetError
from popshell.protocol.commands import State
from popshell.protocol.maildrop_view import scan_listing
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import apop_digest


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot([f"user{number}" for number in range(12)]) as running:
        yield running


def target(server: Dovecot, mode: TlsMode, **more: object) -> Destination:
    port = server.tls_port if mode is TlsMode.IMPLICIT else server.port
    return Destination(Address("127.0.0.1", port, mode), **more)  # type: ignore[arg-type]


async def opened(talk: Talk, mode: TlsMode, user: str) -> Exchange:
    """Greeting, STLS where it belongs, login."""
    greeting = await talk.next()
    assert isinstance(greeting, Exchange)
    assert greeting.is_greeting
    assert greeting.ok
    if mode is TlsMode.STLS:
        assert (await talk.ask_all("STLS"))[0].ok
        await talk.start_tls()
    return (await talk.ask_all(f"USER {user}", "PASS secret"))[1]


@over("mode", TlsMode)
def test_a_session(server: Dovecot, mode: TlsMode) -> None:
    async def body() -> None:
        ca = None if mode is TlsMode.NONE else server.ca_file
        async with talking(target(server, mode, way=Way(ca=ca))) as talk:
            login = await opened(talk, mode, "user0")
            assert login.after is State.TRANSACTION
            assert talk.transport is not None
            facts = talk.transport.tls
            assert (facts is not None) == (mode is not TlsMode.NONE)
            if facts is not None:
                assert facts.anchor is not None
                assert facts.known["names"] == "localhost, 127.0.0.1"
            stat, listing, uidl = await talk.ask_all("STAT", "LIST", "UIDL")
            assert stat.response is not None
            counts = stat.response.drop_listing()
            assert counts is not None
            assert counts[0] == len(server.files)
            assert listing.maildrop.count == len(server.files)
            assert len(uidl.maildrop.unique_ids) == len(server.files)
            for number, (name, octets) in enumerate(server.files, 1):
                [got] = await talk.ask_all(f"RETR {number}")
                assert got.response is not None
                expected = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                assert got.response.content == expected, name
                [head] = await talk.ask_all(f"TOP {number} 0")
                assert head.response is not None
                assert head.response.content is not None
                assert expected.startswith(head.response.content.removesuffix(b"\r\n"))
            [bye] = await talk.ask_all("QUIT")
            assert (bye.ok, bye.after) == (True, State.UPDATE)
            assert talk.transport is not None
            await until(lambda: talk.transport.closed)
            assert talk.ended == [None]
            assert not [event for event in talk.events if isinstance(event, Exchange) and event.problem]

    run(body())


@over("mode", [TlsMode.IMPLICIT, TlsMode.STLS])
def test_a_certificate_that_nobody_vouches_for(server: Dovecot, mode: TlsMode) -> None:
    async def body() -> None:
        with pytest.raises(NetError) as caught:
            async with talking(target(server, mode)) as talk:
                await opened(talk, mode, "user0")
        assert caught.value.code == "certificate-unknown"

    run(body())


def test_a_certificate_for_another_name(server: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(host: str, port: int, *_: object) -> object:
        return [(socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr(client, "resolve", here)

    async def body() -> None:
        where = Destination(Address("pop.example.org", server.tls_port, TlsMode.IMPLICIT), Way(ca=server.ca_file))
        with pytest.raises(NetError) as caught:
            async with talking(where):
                pass
        assert caught.value.code == "certificate-wrong-host"

    run(body())


def test_tls_to_the_clear_text_port(server: Dovecot) -> None:
    async def body() -> None:
        with pytest.raises(NetError) as caught:
            async with talking(
                Destination(Address("127.0.0.1", server.port, TlsMode.IMPLICIT), Way(ca=server.ca_file))
            ):
                pass
        assert caught.value.code == "not-tls-pop3"

    run(body())


def test_insecure(server: Dovecot) -> None:
    async def body() -> None:
        async with talking(target(server, TlsMode.STLS, insecure=True)) as talk:
            await opened(talk, TlsMode.STLS, "user0")
            assert talk.transport is not None
            assert talk.transport.tls is not None
            assert talk.transport.tls.anchor is None
            assert len(talk.transport.tls.known["fingerprint"]) == 64

    run(body())


def test_capabilities_are_forgotten_by_stls(server: Dovecot) -> None:
    async def body() -> None:
        async with talking(target(server, TlsMode.STLS, way=Way(ca=server.ca_file))) as talk:
            await talk.next()
            await talk.ask("CAPA")
            assert "STLS" in (talk.connection.capabilities or {})
            await talk.ask("STLS")
            await talk.start_tls()
            assert talk.connection.capabilities is None
            await talk.ask("CAPA")
            assert "STLS" not in (talk.connection.capabilities or {"STLS": ()})

    run(body())


def test_apop(server: Dovecot) -> None:
    async def body() -> None:
        async with talking(target(server, TlsMode.NONE)) as talk:
            await talk.next()
            stamp = talk.connection.stamp
            assert stamp is not None
            [login] = await talk.ask_all(f"APOP user1 {apop_digest(stamp, server.password)}")
            assert login.ok
            assert login.after is State.TRANSACTION

    run(body())


def test_deletion_is_by_quit_alone(server: Dovecot) -> None:
    async def body() -> None:
        count = len(server.files)
        async with talking(target(server, TlsMode.NONE)) as talk:
            await opened(talk, TlsMode.NONE, "user2")
            await talk.ask("DELE 1")
        assert server.left("user2") == count
        async with talking(target(server, TlsMode.NONE)) as talk:
            await opened(talk, TlsMode.NONE, "user2")
            await talk.ask("DELE 1")
            await talk.ask("QUIT")
        assert server.left("user2") == count - 1

    run(body())


def test_pipelining(server: Dovecot) -> None:
    async def body() -> None:
        async with talking(target(server, TlsMode.NONE)) as talk:
            await opened(talk, TlsMode.NONE, "user3")
            lines = [f"RETR {number}" for number in range(1, len(server.files) + 1)] * 20 + ["STAT"]
            talk.send(*lines)
            for line in lines:
                answer = await talk.next()
                assert isinstance(answer, Exchange)
                assert answer.command is not None
                assert (answer.command.text, answer.ok) == (line, True)

    run(body())


#: Each row is a session; "*" stands for a login. Dovecot closes at the third bad command before login: no row has more.
SCRIPTS: dict[str, list[str]] = {
    "before login": ["STAT", "LIST", "CAPA", "QUIT"],
    "before login, more": ["RETR 1", "DELE 1", "CAPA", "QUIT"],
    "before login, nonsense": ["NOOP", "FOO", "CAPA", "QUIT"],
    "login": ["PASS secret", "USER user4", "USER user4", "PASS wrong", "USER user4", "PASS secret", "STAT"],
    "wrong AUTH": ["AUTH NONSENSE", "CAPA"],
    "listings": [
        "*",
        "STAT",
        "LIST",
        "LIST 1",
        "UIDL",
        "UIDL 1",
        "LIST 99",
        "UIDL 99",
        "LIST 0",
        "RETR 99",
        "TOP 99 0",
    ],
    "numbers": ["*", "RETR 0", "RETR -1", "RETR abc", "RETR 4294967297", "RETR 18446744073709551617", "TOP 1 -1"],
    "arguments": ["*", "RETR", "DELE", "TOP 1", "TOP", "RETR 1x", "LIST 1x"],
    "marks": ["*", "DELE 1", "DELE 1", "RETR 1", "LIST 1", "TOP 1 0", "UIDL 1", "STAT", "RSET", "RETR 1", "STAT"],
    "case": ["*", "stat", "Stat", "lIsT 1", "noop"],
    "after login": ["*", "USER user4", "PASS secret", "STLS", "APOP user4 0123456789abcdef0123456789abcdef"],
    "quit": ["*", "DELE 2", "QUIT"],
    "quit before login": ["QUIT"],
}


@over("name", SCRIPTS)
def test_the_practice_server_says_what_dovecot_says(server: Dovecot, name: str) -> None:
    """The first word, the number of lines, and the numbers of STAT and LIST; texts are free (RFC 1939 §5)."""
    user = {"quit": "user5"}.get(name, "user4")

    async def play(where: Destination, files: int) -> list[tuple[object, ...]]:
        seen: list[tuple[object, ...]] = []
        async with talking(where) as talk:
            await talk.next()
            for line in SCRIPTS[name]:
                if line == "*":
                    await talk.ask_all(f"USER {user}", "PASS secret")
                    continue
                [answer] = await talk.ask_all(line)
                assert answer.response is not None, line
                numbers: object = None
                if answer.ok and line.upper() == "STAT":
                    numbers = answer.response.drop_listing()
                elif answer.ok and line.upper().startswith("LIST"):
                    numbers = answer.response.scan_row() or scan_listing(answer.response.content or b"")
                seen.append((line, answer.response.status, numbers, answer.after))
        return seen

    async def body() -> None:
        theirs = await play(target(server, TlsMode.NONE), len(server.files))
        practice = mail_server(accounts={"user4": "secret", "user5": "secret"})
        async with listening(practice) as (_, port):
            ours = await play(Destination(Address("127.0.0.1", port, TlsMode.NONE)), len(server.files))
        assert ours == theirs
        if name == "quit":
            assert server.left(user) == len(practice.maildrop_of(user).messages) == len(server.files) - 1

    run(body())
