"""Transport: every NetError code is brought about on loopback; TLS facts; injection; flow; cancelling."""

from __future__ import annotations

import asyncio
import datetime
import errno
import functools
import hashlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from interop.practice import ipv6, listening, mail_server, run, until
from interop.scripted import Act, Answer, ScriptedServer, playing
from support import each, over

from popshell.net import client, errors, trust
from popshell.net.address import Address, Destination, Excused, TlsMode, Way, parse_address
from popshell.net.client import Deadlines, Transport, connect
from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.net.trust import client_context

CA = trustme.CA()
PEM = CA.cert_pem.bytes().decode()
SOON = Deadlines(connect=0.2, handshake=0.2)


@dataclass
class Ear:
    """What a Transport told: `data` and `ends`."""

    data: bytearray = field(default_factory=bytearray)
    ends: list[Exception | None] = field(default_factory=list)

    def hear(self, data: bytes) -> None:
        assert not self.ends
        self.data += data

    async def upto(self, end: bytes) -> bytes:
        await until(lambda: end in self.data or self.ends)
        head, found, rest = bytes(self.data).partition(end)
        assert found, bytes(self.data)
        self.data[:] = rest
        return head + found


def resolve_all_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name has the address 127.0.0.1."""

    async def here(host: str, port: int, family: int, asking: Callable[[], None]) -> Any:
        asking()
        return [(socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr(client, "resolve", here)


async def dial(port: int, ear: Ear | None = None, *, deadlines: Deadlines | None = None, **target: Any) -> Transport:
    ear = ear or Ear()
    trusted = target.pop("ca_data", "")
    address = Address(target.pop("host", "127.0.0.1"), port, target.pop("tls", TlsMode.NONE))
    place = Destination(address, ca_data=lambda: trusted, **target)
    return await connect(place, on_data=ear.hear, on_close=ear.ends.append, deadlines=deadlines)


async def hang_up(transport: Transport) -> None:
    transport.close()
    await until(lambda: transport.closed)


def leaf(**how: Any) -> ssl.SSLContext:
    """The server's end with a certificate made to order."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = how.pop("names", ("127.0.0.1",))
    how.pop("ca", CA).issue_cert(*names, **how).configure_cert(context)
    return context


@asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> Any:
    """TLS from the first byte, and a greeting."""
    async with playing([Act.TLS, b"+OK\r\n"], context) as port:
        yield port


# What works


def test_clear_text() -> None:
    async def body() -> None:
        async with playing([b"+OK ready\r\n", b"+OK 0 0\r\n", (b"+OK bye\r\n", Act.CLOSE)]) as port:
            ear = Ear()
            transport = await dial(port, ear)
            assert not ear.data, "nothing is told before connect() has returned"
            assert (transport.peer, transport.loopback, transport.tls) == (f"127.0.0.1:{port}", True, None)
            assert await ear.upto(b"\r\n") == b"+OK ready\r\n"
            transport.write(b"STAT\r\n")
            assert await ear.upto(b"\r\n") == b"+OK 0 0\r\n"
            assert transport.bytes_in == 20
            other = Ear()
            transport.on_data = other.hear
            transport.write(b"QUIT\r\n")
            await until(lambda: transport.closed)
            assert bytes(other.data) == b"+OK bye\r\n"
            assert (bytes(ear.data), ear.ends) == (b"", [None])
            transport.close()
            await until(lambda: transport.closed)
            assert ear.ends == [None], "the end is told once"

    run(body())


def test_small_writes_are_not_held_back() -> None:
    async def body() -> None:
        async with playing([b"+OK\r\n"]) as port:
            transport = await dial(port)
            sock = transport._transport.get_extra_info("socket")  # type: ignore[union-attr]
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await hang_up(transport)

    run(body())


@over("mode", [TlsMode.IMPLICIT, TlsMode.STLS])
def test_tls_facts(mode: TlsMode) -> None:
    async def body() -> None:
        async with listening(mail_server(), implicit_tls=mode is TlsMode.IMPLICIT) as (listener, port):
            ear = Ear()
            transport = await dial(port, ear, tls=mode, ca_data=listener.certificate_pem())
            assert not ear.data
            await ear.upto(b"\r\n")
            if mode is TlsMode.STLS:
                assert transport.tls is None
                transport.write(b"STLS\r\n")
                await ear.upto(b"\r\n")
                assert await transport.start_tls(after=transport.bytes_in) is transport.tls
            facts = transport.tls
            assert facts is not None
            known = facts.known
            assert facts.anchor is not None
            assert (known["version"], known["cipher"][:4]) == ("TLSv1.3", "TLS_")
            assert known["names"] == "localhost, 127.0.0.1, 0:0:0:0:0:0:0:1"
            assert known["subject"].endswith("commonName=localhost")
            assert known["issuer"].startswith("organizationName=PopShell practice server")
            assert known["subject"] != known["issuer"]
            assert known["not_after"].endswith("+00:00")
            der = transport._transport.get_extra_info("ssl_object").getpeercert(binary_form=True)  # type: ignore[union-attr]
            assert known["fingerprint"] == hashlib.sha256(der).hexdigest()
            transport.write(b"CAPA\r\n")
            assert b"STLS" not in await ear.upto(b"\r\n.\r\n")
            transport.write(b"QUIT\r\n")
            await until(lambda: transport.closed)
            assert ear.ends == [None]
            assert transport.tls is facts, "facts outlive the connection"

    run(body())


def test_a_name_is_sent_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_all_here(monkeypatch)
    asked: list[str | None] = []
    context = leaf(names=("pop.example.org",))
    context.sni_callback = lambda _session, name, _context: asked.append(name)

    async def body() -> None:
        async with tls_server(context) as port:
            for name in ("pop.example.org", "pop.example.org."):
                transport = await dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, host=name)
                await hang_up(transport)
        assert asked == ["pop.example.org", "pop.example.org"]

    run(body())


def test_an_address_and_a_name_may_be_given_for_a_host() -> None:
    """`--address`: elsewhere, the host's name is verified. `--sni`: that name is asked for and verified."""
    asked: list[str | None] = []
    context = leaf(names=("pop.example.org",))
    context.sni_callback = lambda _session, name, _context: asked.append(name)

    async def body() -> None:
        async with tls_server(context) as port:
            for host, way in (
                ("pop.example.org", Way(ip="127.0.0.1")),
                ("127.0.0.1", Way(sni="pop.example.org")),
            ):
                transport = await dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, host=host, way=way)
                assert transport.peer == f"127.0.0.1:{port}"
                await hang_up(transport)
            wrong = dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, host="mail.example.org", way=Way(ip="127.0.0.1"))
            assert (await failure(wrong)).code == "certificate-wrong-host"
        assert asked == ["pop.example.org", "pop.example.org", "mail.example.org"]

    run(body())


def test_the_stages_are_told_with_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(host: str, port: int, family: int, asking: Any) -> Any:
        asking()
        await asyncio.sleep(0.01)
        return [(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr(client, "resolve", two)
    steps: list[Any] = []

    async def body() -> None:
        async with tls_server(leaf(names=("pop.example.org",))) as port:
            ear, target = Ear(), Destination(Address("pop.example.org", port, TlsMode.IMPLICIT), ca_data=lambda: PEM)
            transport = await connect(target, on_data=ear.hear, on_close=ear.ends.append, on_step=steps.append)
            await hang_up(transport)

    run(body())
    assert [(step.what, step.address) for step in steps] == [
        ("resolving", ""),
        ("resolved", ""),
        ("connecting", "127.0.0.2"),
        ("not-connected", "127.0.0.2"),
        ("connecting", "127.0.0.1"),
        ("connected", "127.0.0.1"),
        ("tls", "127.0.0.1"),
    ]
    assert steps[1].facts["addresses"] == "127.0.0.2, 127.0.0.1"
    assert steps[1].seconds >= 0.01
    assert [step.seconds is None for step in steps] == [True, False, True, False, True, False, False]


def test_insecure_reports_the_fingerprint() -> None:
    certificate = CA.issue_cert("elsewhere.example", not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    async def body() -> None:
        async with tls_server(context) as port:
            transport = await dial(port, tls=TlsMode.IMPLICIT, insecure=True)
            assert transport.tls is not None
            assert transport.tls.anchor is None
            assert transport.tls.known["fingerprint"] == hashlib.sha256(der).hexdigest()
            assert transport.tls.known.keys() == {"version", "cipher", "fingerprint"}
            await hang_up(transport)

    run(body())


def test_ca_file_adds_to_the_system_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "system.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    file = tmp_path / "ca.pem"
    file.write_text("what people paste above it\n" + PEM)
    der = tmp_path / "ca.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(PEM))
    assert client_context(Way()).cert_store_stats()["x509"] == 1
    for path in (file, der):
        assert client_context(Way(ca=path)).cert_store_stats()["x509"] == 2
    alone = client_context(Way(), PEM)
    assert alone.cert_store_stats()["x509"] == 1, "a pinned certificate is trusted alone"
    for context in (alone, client_context(Way(ca=file))):
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2

    async def body() -> None:
        async with tls_server(leaf()) as port:
            transport = await dial(port, tls=TlsMode.IMPLICIT, way=Way(ca=file))
            assert transport.tls is not None
            assert transport.tls.anchor is not None
            await hang_up(transport)

    run(body())


@pytest.mark.skipif(not ipv6(), reason="the kernel has no IPv6 on loopback")
def test_ipv6() -> None:
    async def body() -> None:
        listener = Listener(mail_server().session)
        host, port = await listener.start("::1")
        ear = Ear()
        transport = await dial(port, ear, host="::1", tls=TlsMode.STLS, ca_data=listener.certificate_pem())
        assert (host, transport.peer, transport.loopback) == ("::1", f"[::1]:{port}", True)
        await ear.upto(b"\r\n")
        transport.write(b"STLS\r\n")
        await ear.upto(b"\r\n")
        assert (await transport.start_tls(after=transport.bytes_in)).anchor is not None
        await hang_up(transport)
        await listener.close()

    run(body())


def test_a_name_with_two_addresses_is_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` is often ::1 first, and the server listens on 127.0.0.1 only."""

    async def body() -> None:
        async with playing([b"+OK\r\n"]) as port:
            real = socket.getaddrinfo
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                dead = unused.getsockname()[1]

            def two(host: str, asked: int, family: int, flags: int = 0, **more: Any) -> Any:
                if flags & socket.AI_NUMERICHOST:
                    return real(host, asked, flags=flags, **more)
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", dead)),
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
                ]

            monkeypatch.setattr(socket, "getaddrinfo", two)
            transport = await dial(port, host="two.example")
            assert transport.peer == f"127.0.0.1:{port}"
            await hang_up(transport)

    run(body())


# Everything that can go wrong: one case a code, and a code has a case

Case = Callable[[Path, pytest.MonkeyPatch], Awaitable[NetError]]
CASES: dict[str, list[Case]] = {}


def case(code: str) -> Callable[[Case], Case]:
    def note(function: Case) -> Case:
        CASES.setdefault(code, []).append(function)
        return function

    return note


async def failure(opening: Awaitable[Transport]) -> NetError:
    with pytest.raises(NetError) as caught:
        await opening
    return caught.value


async def end_of(ear: Ear) -> NetError:
    await until(lambda: ear.ends)
    assert len(ear.ends) == 1
    assert isinstance(ear.ends[0], NetError)
    return ear.ends[0]


async def tls_failure(script: list[Answer], **how: Any) -> NetError:
    """Implicit TLS to a script that is no TLS server."""
    async with playing(script) as port:
        return await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, **how))


async def certificate_failure(**how: Any) -> NetError:
    async with tls_server(leaf(**how)) as port:
        error = await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM))
    assert error.facts["name"] == "127.0.0.1"
    return error


@case("no-such-host")
async def _unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    def nothing(host: str, *rest: Any, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    return await failure(dial(110, host="pop.example"))


@case("no-such-host")
async def _no_name_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await failure(dial(110, host="a..b"))


@case("no-such-family")
async def _no_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with playing([b"+OK\r\n"]) as port:
        await hang_up(await dial(port, way=Way(ipv4=True)))
        await hang_up(await dial(port, way=Way(ipv4=True, ipv6=True)))
        error = await failure(dial(port, way=Way(ipv6=True)))
    assert error.facts["family"] == "6"
    return error


@case("name-service")
async def _resolver_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    def again(host: str, *rest: Any, flags: int = 0, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME if flags else socket.EAI_AGAIN, "")

    monkeypatch.setattr(socket, "getaddrinfo", again)
    return await failure(dial(110, host="pop.example"))


@case("name-service")
async def _resolver_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    release = threading.Event()

    def hang(host: str, *rest: Any, flags: int = 0, **more: Any) -> Any:
        if not flags:
            release.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, "")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        return await failure(dial(110, host="pop.example", deadlines=SOON))
    finally:
        release.set()


@case("refused")
async def _refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure(dial(port))
    assert error.facts["addresses"] == f"127.0.0.1:{port}"
    return error


@case("unreachable")
async def _unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    # A multicast group is no TCP peer: the system refuses by itself, nothing goes out.
    error = await failure(dial(110, host="224.0.0.1"))
    assert str(error.facts["reason"]).startswith("E")
    return error


@case("timeout")
async def _timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """A full backlog drops the first packet, like a firewall does."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting: list[Transport] = []
        try:
            for _ in range(8):
                waiting.append(await dial(port, deadlines=SOON))
        except NetError as error:
            return error
        finally:
            for transport in waiting:
                await hang_up(transport)
    raise AssertionError("the backlog was never full")


@case("reset")
async def _reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with playing([b"+OK\r\n", Act.RESET]) as port:
        ear = Ear()
        transport = await dial(port, ear)
        await ear.upto(b"\r\n")
        transport.write(b"STAT\r\n")
        return await end_of(ear)


@case("reset")
async def _reset_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """What the system says if the reset overtakes the end of `connect`: there is a way, and somebody there."""

    async def reset(*args: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", reset, raising=False)
    return await failure(dial(110))


@case("lost")
async def _lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with playing([b"+OK\r\n"]) as port:
        ear = Ear()
        transport = await dial(port, ear)
        # What asyncio calls when the system reports it; a network cannot be unplugged on loopback.
        transport._transport._fatal_error(OSError(errno.ENETDOWN, "Network is down"))  # type: ignore[union-attr]
        error = await end_of(ear)
        assert error.facts["reason"] == "ENETDOWN"
        return error


@case("closed")
async def _closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with playing([(b"+OK\r\n", Act.CLOSE)]) as port:
        ear = Ear()
        transport = await dial(port, ear)
        await until(lambda: ear.ends)
        with pytest.raises(NetError) as caught:
            transport.write(b"STAT\r\n")
        return caught.value


@case("handshake-timeout")
async def _silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await tls_failure([()], deadlines=SOON)


@case("closed-in-handshake")
async def _hung_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await tls_failure([Act.CLOSE])


@case("closed-in-handshake")
async def _reset_in_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await tls_failure([Act.RESET])


@case("not-tls-pop3")
async def _greeting_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await tls_failure([b"+OK POP3 ready\r\n"])


@case("not-tls")
async def _others_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    for speaks, first in STRANGERS.items():
        error = await tls_failure([first])
        assert (error.code, error.facts["speaks"]) == ("not-tls", speaks)
    return error


#: What servers of other protocols say first, or answer to a ClientHello.
STRANGERS = {
    "imap": b"* OK [CAPABILITY IMAP4rev1] ready\r\n",
    "smtp": b"220 mail.example.org ESMTP\r\n",
    "ftp": b"220 (vsFTPd 3.0.3)\r\n",
    "nntp": b"200 news.example.org InterNetNews NNRP server INN 2.7.1 ready\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "sieve": b'"IMPLEMENTATION" "Dovecot Pigeonhole"\r\n',
    "vnc": b"RFB 003.008\n",
    "": b"hello\r\n",
}


@case("wants-certificate")
async def _no_certificate_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """In TLS 1.3 the refusal comes after the client's handshake. With a certificate the same server greets."""
    theirs = trustme.CA()
    context = leaf()
    context.verify_mode = ssl.CERT_REQUIRED
    theirs.configure_trust(context)
    ours = theirs.issue_cert("mei@example.org")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    ear, way = Ear(), Way(cert=tmp_path / "own.pem")
    with blocking_server(context) as port:
        transport = await dial(port, ear, tls=TlsMode.IMPLICIT, ca_data=PEM, way=way)
        await ear.upto(b"\r\n")
        await hang_up(transport)
    with blocking_server(context) as port:
        ear = Ear()
        await dial(port, ear, tls=TlsMode.IMPLICIT, ca_data=PEM)
        return await end_of(ear)


@case("own-refused")
async def _a_certificate_of_our_own_by_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    context = leaf()
    context.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(context)
    trustme.CA().issue_cert("mei@example.org").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    with blocking_server(context) as port:
        ear = Ear()
        await dial(port, ear, tls=TlsMode.IMPLICIT, ca_data=PEM, way=Way(cert=tmp_path / "own.pem"))
        return await end_of(ear)


@case("certificate-pin")
async def _another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """The pin is on top of verification: a right one mends no certificate, and --insecure does not switch it off."""
    context = leaf()
    async with tls_server(context) as port:
        wrong = Way(pin="sha256:" + "A" * 43 + "=")
        error = await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, way=wrong))
        right = Way(pin=str(error.facts["found"]))
        await hang_up(await dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, way=right))
        await hang_up(await dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, way=Way(pin=f"{wrong.pin},{right.pin}")))
        assert (await failure(dial(port, tls=TlsMode.IMPLICIT, insecure=True, way=wrong))).code == "certificate-pin"
        assert (await failure(dial(port, tls=TlsMode.IMPLICIT, way=right))).code == "certificate-unknown"
    assert error.certificates is not None
    assert (error.certificates["check"], error.certificates["link"]) == ("pin", 1)
    assert error.certificates["chain"][0]["pin"] == right.pin
    return error


async def _own(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """What can be wrong with the client's own certificate, and its key."""
    ours, another = CA.issue_cert("mei@example.org"), CA.issue_cert("lin@example.org")
    cert, key, locked, both, broken = (tmp_path / name for name in ("cert", "key", "locked", "both", "broken"))
    ours.cert_chain_pems[0].write_to_path(cert)
    another.private_key_pem.write_to_path(key)
    secret = serialization.BestAvailableEncryption(b"secret")
    loaded = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    locked.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    both.write_bytes(cert.read_bytes() + locked.read_bytes())
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    for way in {
        "own-file-unreadable": (Way(cert=tmp_path / "none"), Way(cert=cert, key=tmp_path)),
        "own-no-certificate": (Way(key=key),),
        "own-no-key": (Way(cert=cert),),
        "own-key-mismatch": (Way(cert=cert, key=key),),
        "own-key-passphrase": (Way(cert=cert, key=locked), Way(cert=both)),
        "own-key-wrong": (Way(cert=cert, key=locked), Way(cert=both)),
        "own-certificate": (Way(cert=broken),),
    }[code]:
        if code == "own-key-wrong":
            with pytest.raises(NetError) as asked:
                trust.ask_passphrase(way)
            assert asked.value.code == "own-key-passphrase"
            assert asked.value.answer is not None
            assert not asked.value.answer("")
            assert asked.value.answer("wrong")
            trust.ask_passphrase(way)  # it is known now
        error = await failure(dial(1, tls=TlsMode.IMPLICIT, way=way))
        assert error.code == code, way
    if code == "own-key-wrong":
        with pytest.raises(NetError):
            trust.ask_passphrase(way)  # it is asked for again
    return error


for _code in (
    *("file-unreadable", "no-certificate", "no-key", "key-mismatch"),
    *("key-passphrase", "key-wrong", "certificate"),
):
    case(f"own-{_code}")(functools.partial(_own, f"own-{_code}"))


@case("closed-after-stls")
async def _hung_up_after_stls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with playing([b"+OK\r\n", (b"+OK begin\r\n", Act.CLOSE)]) as port:
        ear = Ear()
        transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
        await ear.upto(b"\r\n")
        transport.write(b"STLS\r\n")
        await ear.upto(b"begin\r\n")
        with pytest.raises(NetError) as caught:
            await transport.start_tls(after=transport.bytes_in)
        return caught.value


@case("not-tls-after-stls")
async def _clear_text_after_stls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """Injected a moment later than `stls-injection`: it meets the handshake, which it spoils."""
    made: list[ScriptedServer] = []
    async with playing([b"+OK\r\n", b"+OK begin\r\n"], made=made) as port:
        ear = Ear()
        transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
        await ear.upto(b"\r\n")
        transport.write(b"STLS\r\n")
        await ear.upto(b"\r\n")
        after = transport.bytes_in
        made[0].inject(b"+OK injected\r\n")  # on loopback it has arrived by now, and the loop has not read it
        error = await failure(transport.start_tls(after=after))  # type: ignore[arg-type]
        assert ear.ends == [error]
        assert not ear.data
        return error


@case("tls-too-old")
async def _older_than_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    context = leaf()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with blocking_server(context) as port:
        await hang_up(await dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, way=Way(tls_min="1.2")))
    with blocking_server(context) as port:
        error = await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, way=Way(tls_min="1.3")))
    assert error.facts["least"] == "1.3"
    return error


@contextmanager
def blocking_server(context: ssl.SSLContext) -> Iterator[int]:
    """One TLS connection and a greeting. asyncio's server sends no alert when it refuses; this one does."""

    def serve() -> None:
        with suppress(OSError):
            accepted, _ = listener.accept()
            accepted.settimeout(10)
            with context.wrap_socket(accepted, server_side=True) as wrapped:
                wrapped.sendall(b"+OK\r\n")
                wrapped.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


@case("tls-too-old")
async def _old_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    # A fatal alert, protocol_version (RFC 8446 §6.2), as an old server sends it.
    return await tls_failure([bytes.fromhex("15030100020246")])


@case("tls-too-old")
async def _old_hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    # A ServerHello of TLS 1.0 (RFC 2246 §7.4.1.3): version 3.1, 32 octets, no session, a cipher, no compression.
    hello = bytes.fromhex("0301") + bytes(range(32)) + bytes.fromhex("00002f00")
    record = bytes.fromhex("02") + len(hello).to_bytes(3) + hello
    return await tls_failure([bytes.fromhex("160301") + len(record).to_bytes(2) + record])


@case("handshake-refused")
async def _alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    error = await tls_failure([bytes.fromhex("15030300020228")])  # fatal, handshake_failure
    assert "HANDSHAKE_FAILURE" in str(error.facts["reason"])
    return error


@case("handshake-failed")
async def _nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await tls_failure([bytes.fromhex("1603030004ff000000")])  # a handshake message that does not exist


@case("unknown-name")
async def _unrecognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await tls_failure([bytes.fromhex("15030300020270")])  # fatal, unrecognized_name (RFC 6066 §3)


@case("bad-name")
async def _no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """Without a name asyncio would verify for none: any certificate of a trusted CA would do."""
    resolve_all_here(monkeypatch)
    async with playing([Act.TLS], leaf()) as port:
        for host, way in (("..", Way()), ("localhost", Way(sni="."))):
            error = await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, host=host, way=way))
            assert error.code == "bad-name"
        return error


@case("bad-name")
async def _impossible_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    resolve_all_here(monkeypatch)
    async with playing([b""]) as port:
        return await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, host=".example"))


@case("tls-broken")
async def _broken_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    made: list[ScriptedServer] = []
    async with playing([Act.TLS, b"+OK\r\n"], leaf(), made=made) as port:
        ear = Ear()
        transport = await dial(port, ear, tls=TlsMode.IMPLICIT, ca_data=PEM)
        transport.write(b"NOOP\r\n")
        await ear.upto(b"\r\n")
        made[0].inject(b"+OK in clear\r\n")
        error = await end_of(ear)
        assert not ear.data, "clear text inside TLS reached the reader"
        return error


@case("certificate-expired")
async def _expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    error = await certificate_failure(not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    assert error.facts["verify_code"] == 10
    return error


@case("certificate-not-yet-valid")
async def _not_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await certificate_failure(not_before=datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC))


@case("certificate-unknown")
async def _unknown_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await certificate_failure(ca=trustme.CA())


@case("certificate-unknown")
async def _system_store_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with tls_server(leaf()) as port:
        return await failure(dial(port, tls=TlsMode.IMPLICIT))


@case("certificate-unknown")
async def _self_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with tls_server(_context_of(*_certificate_made_by_hand(client_only=False))) as port:
        error = await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM))
    assert error.facts["verify_code"] == 18
    return error


@case("certificate-wrong-host")
async def _wrong_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    resolve_all_here(monkeypatch)
    async with tls_server(leaf(names=("pop.example.org",))) as port:
        error = await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM, host="mail.example.org"))
    assert (error.facts["name"], error.facts["verify_code"]) == ("mail.example.org", 62)
    return error


@case("certificate-wrong-host")
async def _wrong_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await certificate_failure(names=("localhost",))


@case("certificate-other")
async def _for_clients_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """A certificate that may not be used by servers (verify code 26)."""
    made = _certificate_made_by_hand(client_only=True)
    async with tls_server(_context_of(*made)) as port:
        return await failure(dial(port, tls=TlsMode.IMPLICIT, ca_data=made[0].decode()))


@case("ca-file-unreadable")
async def _no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    error = await failure(dial(1, tls=TlsMode.IMPLICIT, way=Way(ca=tmp_path / "none.pem")))
    assert error.facts == {"path": str(tmp_path / "none.pem"), "reason": "ENOENT"}
    return error


@case("ca-file-unreadable")
async def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    return await failure(dial(1, tls=TlsMode.STLS, way=Way(ca=tmp_path)))


@case("ca-file-no-certificate")
async def _empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    (tmp_path / "empty.pem").touch()
    return await failure(dial(1, tls=TlsMode.STLS, way=Way(ca=tmp_path / "empty.pem")))


@case("ca-file-no-certificate")
async def _key_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    (tmp_path / "key.pem").write_bytes(CA.private_key_pem.bytes())
    return await failure(dial(1, tls=TlsMode.IMPLICIT, insecure=True, way=Way(ca=tmp_path / "key.pem")))


@case("stls-injection")
async def _injection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    """`+OK` and a forged reply in one packet (CVE-2021-22947): aborted before the handshake."""
    heard: list[bytes] = []
    async with playing([b"+OK\r\n", b"+OK begin\r\n+OK injected\r\n"], heard=heard) as port:
        ear = Ear()
        transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
        await ear.upto(b"\r\n")
        before = transport.bytes_in
        transport.write(b"STLS\r\n")
        await until(lambda: transport.bytes_in > before)
        error = await failure(transport.start_tls(after=before + len(b"+OK begin\r\n")))  # type: ignore[arg-type]
        assert error.facts["octets"] == len(b"+OK injected\r\n")
        assert ear.ends == [error]
        assert transport.closed
        assert transport.tls is None
        assert heard == [b"STLS"]
        return error


@case("port-in-use")
async def _taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    async with playing([]) as port:
        return await _no_listener(port)


@case("port-forbidden")
async def _forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refuse)  # root may bind them all
    return await _no_listener(110)


@case("cannot-listen")
async def _not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetError:
    listener = Listener(mail_server().session)
    with pytest.raises(NetError) as caught:
        await listener.start("192.0.2.1", beyond_loopback=True)  # TEST-NET-1: no machine has it
    return caught.value


async def _no_listener(port: int) -> NetError:
    with pytest.raises(NetError) as caught:
        await Listener(mail_server().session).start(port=port)
    assert caught.value.facts["port"] == port
    return caught.value


def documented() -> dict[str, set[str]]:
    """The codes of the table in errors.py, with their facts."""
    table: dict[str, set[str]] = {}
    facts: set[str] = set()
    for row in (errors.__doc__ or "").splitlines():
        if row.startswith("| `"):
            _, code, _, names, _ = row.split("|")
            if names.strip() != "the same":
                facts = set(re.findall(r"`([a-z_]+)`", names))
            table[code.strip(" `")] = facts
    return table


@pytest.mark.parametrize(
    ("code", "number"), [(code, number) for code in documented() for number in range(max(1, len(CASES.get(code, ()))))]
)
def test_failure(code: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        error = await CASES[code][number](tmp_path, monkeypatch)
        assert error.code == code, error
        assert documented()[code] <= error.facts.keys(), error
        assert all(isinstance(fact, str | int | float) for fact in error.facts.values())

    run(body())


def test_cases_are_documented() -> None:
    assert set(CASES) == set(documented())


def _certificate_made_by_hand(client_only: bool) -> tuple[bytes, bytes]:
    """A certificate that signed itself, and its key: what trustme does not make."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "by hand")])
    use = ExtendedKeyUsageOID.CLIENT_AUTH if client_only else ExtendedKeyUsageOID.SERVER_AUTH
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _context_of(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(key + certificate).tempfile() as path:
        context.load_cert_chain(path)
    return context


def test_a_resolver_that_hangs_does_not_keep_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(host: str, *rest: Any, flags: int = 0, **more: Any) -> Any:
        if not flags:
            release.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, "")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    rescue = threading.Timer(5, release.set)
    rescue.start()

    async def body() -> None:
        assert (await failure(dial(110, host="pop.example", deadlines=SOON))).code == "name-service"

    try:
        run(body())
        assert not release.is_set(), "the loop was left while the question was still open"
    finally:
        rescue.cancel()
        release.set()


# STLS


def test_octets_that_come_before_the_handshake_begins_count() -> None:
    """Not in one packet with `+OK`, but before the shell has got round to start_tls."""

    async def body() -> None:
        made: list[ScriptedServer] = []
        async with playing([b"+OK\r\n", b"+OK begin\r\n"], made=made) as port:
            ear = Ear()
            transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
            await ear.upto(b"\r\n")
            transport.write(b"STLS\r\n")
            await ear.upto(b"\r\n")
            after = transport.bytes_in
            made[0].inject(b"x")
            await until(lambda: transport.bytes_in > after)
            error = await failure(transport.start_tls(after=after))  # type: ignore[arg-type]
            assert (error.code, error.facts["octets"]) == ("stls-injection", 1)

    run(body())


def test_a_second_handshake_while_one_is_under_way_ends_the_connection() -> None:
    """No octet came after the reply; what comes now is the handshake's, and the second one must not take it."""

    async def body() -> None:
        async with playing([b"+OK\r\n", b"+OK begin\r\n"]) as port:
            ear = Ear()
            transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
            await ear.upto(b"\r\n")
            transport.write(b"STLS\r\n")
            await ear.upto(b"\r\n")
            first = asyncio.ensure_future(transport.start_tls(after=transport.bytes_in))
            await asyncio.sleep(0)
            error = await failure(transport.start_tls(after=transport.bytes_in))  # type: ignore[arg-type]
            assert (error.code, error.facts["octets"]) == ("stls-injection", 0)
            assert ear.ends == [error]
            with pytest.raises(NetError):
                await first

    run(body())


def test_a_refused_certificate_after_stls_ends_the_connection() -> None:
    heard: list[bytes] = []

    async def body() -> None:
        script: list[Answer] = [b"+OK\r\n", (b"+OK begin\r\n", Act.TLS)]
        async with playing(script, leaf(names=("localhost",)), heard) as port:
            ear = Ear()
            transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
            await ear.upto(b"\r\n")
            transport.write(b"STLS\r\n")
            await ear.upto(b"\r\n")
            error = await failure(transport.start_tls(after=transport.bytes_in))  # type: ignore[arg-type]
            assert error.code == "certificate-wrong-host"
            assert ear.ends == [error]
            assert transport.closed
            with pytest.raises(NetError, match="closed"):
                transport.write(b"PASS secret\r\n")
            assert heard == [b"STLS"], "nothing went on in clear text"

    run(body())


def test_stls_typed_by_hand_needs_no_promise_beforehand() -> None:
    """`--tls none`, and then the learner types STLS: whom to trust is settled only then."""

    async def body() -> None:
        async with listening(mail_server()) as (listener, port):
            ear = Ear()
            transport = await dial(port, ear)
            await ear.upto(b"\r\n")
            transport.write(b"STLS\r\n")
            await ear.upto(b"\r\n")
            transport.destination = transport.destination._replace(ca_data=listener.certificate_pem)
            assert (await transport.start_tls(after=transport.bytes_in)).anchor is not None
            await hang_up(transport)

    run(body())


@over("mode", [TlsMode.IMPLICIT, TlsMode.STLS])
def test_what_comes_with_the_end_of_the_handshake_is_told_after_it(mode: TlsMode) -> None:
    """A server may speak in the packet that ends the handshake; asyncio delivers that before start_tls returns."""
    context = leaf()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where the server has the last word of the handshake

    async def serve(server: socket.socket) -> socket.socket:
        loop = asyncio.get_running_loop()
        peer, _ = await loop.sock_accept(server)
        if mode is TlsMode.STLS:
            await loop.sock_sendall(peer, b"+OK\r\n")
            assert await loop.sock_recv(peer, 100) == b"STLS\r\n"
            await loop.sock_sendall(peer, b"+OK\r\n")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(peer, outgoing.read())
                incoming.write(await loop.sock_recv(peer, 65536))
            else:
                break
        tls.write(b"+OK early\r\n")
        await loop.sock_sendall(peer, outgoing.read())
        return peer

    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            serving = asyncio.ensure_future(serve(server))
            ear = Ear()
            transport = await dial(server.getsockname()[1], ear, tls=mode, ca_data=PEM)
            if mode is TlsMode.STLS:
                await ear.upto(b"\r\n")
                transport.write(b"STLS\r\n")
                await ear.upto(b"\r\n")
                await transport.start_tls(after=transport.bytes_in)
            assert not ear.data
            assert transport.tls is not None
            assert await ear.upto(b"\r\n") == b"+OK early\r\n"
            (await serving).close()
            await hang_up(transport)

    run(body())


# Endings, cancelling


def test_deadlines() -> None:
    """Seconds, as docs/reference-limits.md has them."""
    assert Deadlines() == (10.0, 15.0, 2.0)


@over("stage", ["connecting", "shaking hands", "upgrading"])
def test_cancelling_leaves_nothing_open(stage: str) -> None:
    async def body() -> None:
        if stage == "connecting":
            with socket.socket() as deaf:
                deaf.bind(("127.0.0.1", 0))
                deaf.listen(0)
                port = deaf.getsockname()[1]
                fill = [socket.socket() for _ in range(4)]
                for sock in fill:
                    sock.setblocking(False)
                    sock.connect_ex(("127.0.0.1", port))
                await _cancel(asyncio.ensure_future(dial(port)))
                for sock in fill:
                    sock.close()
            return
        async with playing([b"" if stage == "shaking hands" else b"+OK\r\n", b"+OK\r\n"]) as port:
            if stage == "shaking hands":
                await _cancel(asyncio.ensure_future(dial(port, tls=TlsMode.IMPLICIT, ca_data=PEM)))
                return
            ear = Ear()
            transport = await dial(port, ear, tls=TlsMode.STLS, ca_data=PEM)
            transport.write(b"STLS\r\n")
            await ear.upto(b"\r\n+OK\r\n")
            await _cancel(asyncio.ensure_future(transport.start_tls(after=transport.bytes_in)))
            assert transport.closed
            assert ear.ends == [None]

    run(body())


async def _cancel(task: asyncio.Future[Any]) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_end_is_not_reported_from_within_close() -> None:
    async def body() -> None:
        async with playing([b"+OK\r\n"]) as port:
            ear = Ear()
            transport = await dial(port, ear)
            transport.close()
            assert not ear.ends
            await until(lambda: transport.closed)
            assert ear.ends == [None]

    run(body())


def test_a_bug_in_the_owner_ends_the_connection_and_is_reported() -> None:
    async def body() -> None:
        complaints: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        async with playing([b"+OK\r\n"]) as port:
            ends: list[Exception | None] = []

            def hear(data: bytes) -> None:
                raise ZeroDivisionError

            await connect(Destination(Address("127.0.0.1", port, TlsMode.NONE)), on_data=hear, on_close=ends.append)
            await until(lambda: ends)
            assert isinstance(ends[0], ZeroDivisionError)
            assert isinstance(complaints[0], ZeroDivisionError)

    run(body())


def test_insecure_excuses_one_host_and_port() -> None:
    """Neither another name of the same machine, nor another port, nor what comes after; it holds for the whole run."""

    def check(given: bool, *places: tuple[str, bool]) -> None:
        excused = Excused(given)
        for text, wanted in places:
            assert excused(parse_address(text.removesuffix("!")), text.endswith("!")) is wanted, text

    first, others = ("127.0.0.1:995", True), ("localhost:995", "127.0.0.1:110", "[::1]:995", "127.0.0.2:995")
    rows = [
        (True, first, *((text, False) for text in others), first),
        (True, ("pop.example.org", True), ("pop.example.org:995", True), ("pops://mei@pop.example.org", True)),
        (True, ("a.example:110", True), ("a.example", False), ("b.a.example:110", False), ("a.example.:110", False)),
        (False, (others[0], False), (others[0] + "!", True), (others[0], True), ("127.0.0.1:995", False)),
        (True, first, ("localhost:995!", True), first, ("localhost:110", False)),
    ]
    each(rows, check)
