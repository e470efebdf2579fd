"""What the shell says of certificates and of servers that are not what was asked for, in both languages."""

from __future__ import annotations

import asyncio
import datetime
import re
import socket
import ssl
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from interop.dovecot import dovecot
from interop.practice import ipv6, mail_server, run, serving
from interop.scripted import Act, Piecemeal, playing
from stage import CATALOG, FakeScreen, metas_of
from support import each
from test_certificates import HOST, MIDDLE, NOW, ROOT, Made

from popshell.arguments import destination_of, parse_arguments, read_destination
from popshell.config import read_config
from popshell.course.catalog import LANGUAGES
from popshell.net import trust
from popshell.net.address import Address, Destination, TlsMode, Way
from popshell.net.certificates import report
from popshell.net.connector import Connector
from popshell.net.errors import CHECKS
from popshell.ui import link
from popshell.ui.auth import verdict
from popshell.ui.display import new_shell
from popshell.ui.shell import Options, Shell

CA = trustme.CA()


def shell_for(
    port: int, mode: TlsMode, language: str = "en", *, host: str = "127.0.0.1", insecure: bool = False, **way: Any
) -> tuple[Shell, FakeScreen]:
    """A shell that is not connected yet; a script's, so that it gives up by itself."""
    place = Destination(Address(host, port, mode), Way(**way), insecure, timeout=way.pop("timeout", None))
    connector, screen = Connector(mail_server(), place), FakeScreen(columns=200)
    screen.interactive = False
    return new_shell(CATALOG, screen, connector.connect, Options(language), partial(metas_of, None)), screen


def context(**how: Any) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*how.pop("names", ("127.0.0.1",)), **how).configure_cert(made)
    return made


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(path)
    return path


def test_every_check_has_words_in_each_language() -> None:
    """What failed, and what would mend it on which side; also of a certificate that was not sent."""
    chain = [Made("imap.example.org", MIDDLE, begins=NOW + datetime.timedelta(1)).der, MIDDLE.der, ROOT.der]
    checks = {*CHECKS.values(), "pin", "other"}

    def check(language: str, check: str, number: int) -> None:
        found = {**report(chain, HOST, check=check, code=1, message="why"), "link": number, "place": "h:995"}
        rows = list(verdict(found, CATALOG.words(language), "popshell"))
        assert [style for style, _ in rows] == ["err", *["warn"] * (len(rows) - 3), "note", "note"]
        assert all(text and "{" not in text for _, text in rows)

    each([(tag, name, number) for tag in LANGUAGES for name in sorted(checks) for number in (0, 1, 3)], check)


def test_trust_is_no_advice_where_the_date_is_wrong_too() -> None:
    """`--ca` would lead to the next refusal."""
    for check, says in (("self-signed", "clock"), ("own-root", "clock"), ("revoked", "do not connect")):
        for language in LANGUAGES:
            old = Made(HOST, begins=NOW - datetime.timedelta(9), ends=NOW - datetime.timedelta(2))
            found = {**report([old.der], HOST, check=check, code=1, message="why"), "place": "h:995"}
            advice = list(verdict(found, CATALOG.words(language), "popshell"))[-1][1]
            assert "--ca" not in advice
            assert language != "en" or says in advice


def test_a_refused_chain_is_shown_and_kept_for_tls(ca: Path) -> None:
    ended = NOW - datetime.timedelta(days=12, hours=12)
    rows = [
        ("en", {"not_after": ended}, "expired 12 days ago", "What has expired is certificate 1."),
        ("zh-Hant", {"not_after": ended}, "12 天前過期", "第 1 張憑證已經過期"),
        ("en", {"names": ("pop.example.org",)}, "pop.example.org", "127.0.0.1 is not among the names of certificate 1"),
        ("zh-Hant", {"names": ("pop.example.org",)}, "pop.example.org", "第 1 張憑證的名稱裡沒有 127.0.0.1"),
        ("en", {"not_before": NOW + datetime.timedelta(days=3, hours=1)}, "begins in 3 days", "not valid yet"),
    ]

    def check(language: str, how: dict[str, Any], fact: str, verdict: str) -> None:
        async def body() -> None:
            for mode, script in ((TlsMode.IMPLICIT, [Act.TLS]), (TlsMode.STLS, [b"+OK\r\n", (b"+OK\r\n", Act.TLS)])):
                async with playing(script, context(**how)) as port:  # type: ignore[arg-type]
                    shell, screen = shell_for(port, mode, language, ca=ca)
                    assert not await shell.connect()
                    first = screen.flat
                    screen.forget()
                    await shell.run(":tls")
                    for shown in (first, screen.flat):
                        assert fact in shown
                        assert verdict in shown
                        assert "SHA-256" in shown
                        assert "sha256:" in shown
                    # On loopback neither mode is the default: without it the advice would lead to clear text.
                    again = f"popshell 127.0.0.1:{port} --tls {mode.value} --"
                    assert again in first or "not_before" in how

        run(body())

    each(rows, check)


def test_tls_tells_what_was_verified_and_what_was_not(ca: Path) -> None:
    server = mail_server()
    with serving(server, implicit_tls=True) as (port, pem):
        ca.write_text(pem)

        async def body(insecure: bool, language: str, said: str) -> None:
            shell, screen = shell_for(port, TlsMode.IMPLICIT, language, ca=None if insecure else ca, insecure=insecure)
            assert await shell.connect()
            await shell.run(":tls")
            assert said in screen.flat
            assert "TLSv1.3" in screen.flat
            for width in (60, 61, 62, 80):
                screen.forget()
                screen.size = (width, 20)
                await shell.run(":tls")
                pieces = re.findall(r" ([0-9A-F:]{6,})$", screen.text, re.M)
                assert max(map(len, pieces)) > 30, "a fingerprint, not only hours"
                assert all(re.fullmatch("(?:[0-9A-F]{2}:?)+", piece) for piece in pieces), pieces
            await shell.run("QUIT")

        rows = [
            (False, "en", "yes: the chain leads to O=PopShell practice server"),
            (False, "zh-Hant", "是：憑證鏈通到 O=PopShell practice server"),
            (True, "en", "NO, as was wished: nothing proves who answers"),
            (True, "zh-Hant", "否，照你的意思沒有驗證：對方是誰無從證明"),
        ]
        each(rows, lambda *row: run(body(*row)))


def test_insecure_does_not_follow_to_another_place(tmp_path: Path) -> None:
    """Not with `:connect`, to another name or port, nor to a connection of config.toml; back at the first it holds."""
    words = CATALOG.words("en")

    async def body(one: int, two: int) -> None:
        (tmp_path / "config.toml").write_text(
            f'[connections]\nwork = {{host = "127.0.0.1", port = {two}, tls = "implicit"}}\n'
            f'same = {{host = "127.0.0.1", port = {one}, tls = "implicit"}}\n',
            "utf-8",
        )
        config = read_config(tmp_path / "config.toml", {})
        given = parse_arguments(["--insecure", "--tls", "implicit", f"127.0.0.1:{one}"], words)

        def read(text: str, here: Destination) -> Destination:
            return read_destination(text, here, given, config, words)

        place = destination_of(given, given, config)
        connector, screen = Connector(mail_server(), place, read), FakeScreen(columns=200)
        screen.interactive = False
        shell = new_shell(CATALOG, screen, connector.connect, Options("en"), partial(metas_of, None))
        assert await shell.connect()
        await shell.run("QUIT")
        for where in (f"localhost:{one}", f"127.0.0.1:{two}", "work"):
            screen.forget()
            assert not await shell.connect(where), where
            assert "was refused" in screen.flat
        assert await shell.connect("same")
        await shell.run("QUIT")
        await asyncio.sleep(0.05)  # the refused ones are closed

    with serving(mail_server(), implicit_tls=True) as (one, _), serving(mail_server(), implicit_tls=True) as (two, _):
        run(body(one, two))


def test_pins_add_up(tmp_path: Path) -> None:
    """In one option or in several, on the command line and after `:connect`; the nearest place that has any counts."""
    words, one, two = CATALOG.words("en"), f"sha256:{'A' * 43}=", f"sha256:{'B' * 43}="
    (tmp_path / "config.toml").write_text(f'[connections.work]\nhost = "h"\npin = "{one},{two}"\n')
    config = read_config(tmp_path / "config.toml", {})

    def gives(argv: str, connect: str, wanted: str) -> None:
        given = parse_arguments(argv.split(), words)
        place = destination_of(given, given, config)
        assert (read_destination(connect, place, given, config, words) if connect else place).way.pin == wanted

    both = f"{one},{two}"
    each(
        [
            (f"h --pin {one} --pin {two}", "", both),
            (f"h --pin {one},{two} --pin {one}", "", f"{both},{one}"),
            ("h", f"h --pin {one} --pin {two}", both),
            (f"h --pin {one}", f"--pin {two}", two),
            (f"h --pin {one}", "elsewhere", ""),
            ("work", "", both),
            (f"work --pin {one}", "", one),
        ],
        gives,
    )


def test_the_stages_of_a_real_connection_are_shown(ca: Path) -> None:
    async def body(language: str, *said: str) -> None:
        async with playing([(Act.TLS, b"+OK\r\n")], context(names=("localhost",))) as port:
            shell, screen = shell_for(port, TlsMode.IMPLICIT, language, host="localhost", ca=ca)
            assert await shell.connect()
            shell.close()
        for text in said:
            assert text in screen.flat

    rows = [
        ("en", "localhost is ", "TCP to 127.0.0.1:", "TLS stands: TLSv1.3", "certificate verified", "came after"),
        ("zh-Hant", "localhost 的位址是 ", "的 TCP 已接通", "TLS 已建立：TLSv1.3", "憑證已驗證", "歡迎訊息過了"),
    ]  # fmt: skip
    each(rows, lambda *row: run(body(*row)))


#: What is at the other end, how it is asked, and what is said, with what to type; P stands for the port.
WRONG_MODES: list[tuple[Any, TlsMode, tuple[str, ...]]] = [
    ([b"+OK ready\r\n"], TlsMode.IMPLICIT, ("speaks POP3, but in clear text", "popshell 127.0.0.1:P --tls stls")),
    ([b"* OK IMAP4rev1\r\n"], TlsMode.IMPLICIT, ("looks like IMAP", "popshell 127.0.0.1 tries 995")),
    ([b"220 mail ESMTP\r\n"], TlsMode.IMPLICIT, ("used by SMTP", "popshell 127.0.0.1 tries 995")),
    ([b"SSH-2.0-OpenSSH\r\n"], TlsMode.IMPLICIT, ("looks like SSH", "popshell 127.0.0.1 tries 995")),
    ([b'"IMPLEMENTATION" "x"\r\n'], TlsMode.IMPLICIT, ("looks like ManageSieve",)),
    ([b"HTTP/1.1 400 Bad Request\r\n"], TlsMode.IMPLICIT, ("looks like HTTP", "captive portal")),
    ([b"* OK IMAP4rev1\r\n"], TlsMode.NONE, ("no reply of POP3", "looks like IMAP", "popshell 127.0.0.1:110")),
    ([b"220 mail ESMTP\r\n"], TlsMode.NONE, ("used by SMTP", "popshell 127.0.0.1 tries 995")),
    ([b"SSH-2.0-OpenSSH\r\n"], TlsMode.STLS, ("looks like SSH", "popshell 127.0.0.1 tries 995")),
    ([b'"IMPLEMENTATION" "x"\r\n'], TlsMode.NONE, ("looks like ManageSieve",)),
    ([b"HTTP/1.1 302 Found\r\n"], TlsMode.NONE, ("looks like HTTP", "captive portal")),
    ([b"\x15\x03\x01\x00\x02\x02\x46"], TlsMode.NONE, ("like a record of TLS", "popshell 127.0.0.1:P --tls implicit")),
    ([(Act.TLS, b"* OK IMAP4rev1\r\n")], TlsMode.IMPLICIT, ("looks like IMAP", "popshell 127.0.0.1 tries 995")),
    ([()], TlsMode.NONE, ("no greeting yet", "popshell 127.0.0.1:P --tls implicit", "No greeting within")),
    ([Act.TLS, ()], TlsMode.IMPLICIT, ("TLS stands, but no greeting yet", "No greeting within")),
    ([Act.CLOSE], TlsMode.IMPLICIT, ("closed instead of beginning TLS", "popshell 127.0.0.1:P --tls stls")),
    ([b"+OK\r\n", b"-ERR unknown\r\n"], TlsMode.STLS, ("without it nothing is sent",)),
    ([(b"-ERR too many\r\n", Act.CLOSE)], TlsMode.STLS, ("turned this connection away",)),
    ([b"-ERR too many\r\n"], TlsMode.STLS, ("turned this connection away",)),
    ([(b"+OK\r\n", Act.CLOSE)], TlsMode.STLS, ("server closed the connection",)),
    ([b"\xff\xfd\x18login: "], TlsMode.NONE, ("looks like telnet", "only a part of a greeting came (10 octets")),
    ([b"<html>\n<p>Log in</p>\n"], TlsMode.NONE, ("looks like HTTP", "995")),
    ([Piecemeal(b"* OK IMAP4\r\n")], TlsMode.IMPLICIT, ("looks like IMAP", "995")),
]  # fmt: skip


def test_a_wrong_mode_is_named_with_what_to_type(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "HANG_TIME", 0.05)
    monkeypatch.setattr(link, "GREETING_TIME", 0.2)

    def check(script: Any, mode: TlsMode, said: tuple[str, ...]) -> None:
        async def body() -> None:
            heard: list[bytes] = []
            async with playing(script, context(), heard=heard) as port:
                shell, screen = shell_for(port, mode, ca=ca)
                assert not await shell.connect()
                assert "should not have happened" not in screen.flat, screen.flat
                for text in said:
                    assert text.replace(":P ", f":{port} ") in screen.flat, screen.flat
                assert not [line for line in heard if b"USER" in line or b"PASS" in line]

        run(body())

    each(WRONG_MODES, check)


def test_the_passphrase_of_the_client_s_key_is_asked_for_and_shown_nowhere(ca: Path, tmp_path: Path) -> None:
    """Hidden; once for a run; one that is wrong is asked for again. Where no person is, it is said what to do."""
    ours, key = CA.issue_cert("mei@example.org"), tmp_path / "key"
    loaded = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    secret = serialization.BestAvailableEncryption(b"C4n4ry")
    key.write_bytes(ours.cert_chain_pems[0].bytes() + loaded.private_bytes(*form, secret))

    async def body(language: str, asked: str, wrong: str, nobody: str) -> None:
        demanding = context()
        demanding.verify_mode = ssl.CERT_REQUIRED
        CA.configure_trust(demanding)
        async with playing([(Act.TLS, b"+OK\r\n")], demanding) as port:
            shell, screen = shell_for(port, TlsMode.IMPLICIT, language, ca=ca, cert=key)
            assert not await shell.connect()
            assert nobody in screen.flat
            screen.interactive = True
            screen.answers = ["wrong", "C4n4ry"]
            assert not await shell.connect()
            assert wrong in screen.flat
            assert await shell.connect(), screen.flat
            assert await shell.connect(), screen.flat
            assert screen.answers == []
            assert [asked in question for question in screen.asked] == [True] * 3
            assert "C4n4ry" not in screen.text
            shell.close()

    each(
        [
            ("en", "Passphrase of", "not the passphrase of", "is encrypted. The shell asks"),
            ("zh-Hant", "的通行密語", "這不是", "加了密"),
        ],
        lambda *row: (trust._PASSPHRASES.clear(), run(body(*row))),
    )


@pytest.mark.skipif(not ipv6(), reason="the kernel has no IPv6 on loopback")
def test_over_ipv6_a_name_and_an_address_are_verified(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a name with both families, by -4 and -6, by an address while the name is verified, by the address alone."""
    real = socket.getaddrinfo
    rows = [(socket.AF_INET, ("127.0.0.1",)), (socket.AF_INET6, ("::1",))]

    def both(host: str | bytes, port: int, family: int = 0, flags: int = 0, **more: Any) -> Any:
        if host not in ("localhost", "pop.example") or flags & socket.AI_NUMERICHOST:
            return real(host, port, family, flags=flags, **more)
        found = [(kind, 1, 6, "", (*where, port)) for kind, where in rows if family in (0, kind)]
        return found

    def check(host: str, way: dict[str, Any], stands: bool, said: tuple[str, ...], unsaid: str) -> None:
        async def body(mode: TlsMode, port: int) -> None:
            shell, screen = shell_for(port, mode, host=host, ca=ca, **way)
            assert await shell.connect() == stands, screen.flat
            for text in said:
                assert text.replace(":P", f":{port}") in screen.flat, screen.flat
            assert not unsaid or unsaid not in screen.flat, screen.flat
            if stands:
                await shell.run("QUIT")

        monkeypatch.setattr(socket, "getaddrinfo", both)
        for mode, port in ports.items():
            run(body(mode, port))

    server = mail_server()
    with serving(server, host="::1", implicit_tls=True) as (implicit, pem):
        ca.write_text(pem)
        ports = {TlsMode.IMPLICIT: implicit}
        verified = "certificate verified"
        each(
            [
                (
                    *("localhost", {}, True),
                    *(
                        (
                            "localhost is 127.0.0.1, ::1",
                            "TCP to 127.0.0.1:P: refused",
                            "TCP to [::1]:P stands",
                            verified,
                        ),
                        "",
                    ),
                ),
                ("localhost", {"ipv6": True}, True, ("localhost is ::1 ", verified), "127.0.0.1:"),
                ("localhost", {"ipv4": True}, False, ("TCP to 127.0.0.1:P: refused",), "[::1]"),
                ("localhost", {"ip": "::1"}, True, ("TCP to [::1]:P stands", verified), "127.0.0.1"),
                ("localhost", {"ip": "::1", "ipv4": True}, False, ("[::1] has no IPv4 address",), "localhost has"),
                ("pop.example", {"ip": "::1"}, False, ("is not for pop.example",), verified),
                ("::1", {}, True, ("TCP to [::1]:P stands", verified, "Connected to [::1]:P"), ""),
                ("::1", {"ipv4": True}, False, ("[::1] has no IPv4 address",), ""),
                ("::1%nowhere", {}, False, ("no host called [::1%nowhere]",), ""),
            ],
            check,
        )
        command = [sys.executable, "-m", "popshell", "ping", "--lang", "en", "--ca", str(ca), "--tls", "implicit"]
        done = subprocess.run([*command, f"[::1]:{implicit}"], capture_output=True, timeout=60, text=True)
        assert (done.returncode, f"[::1]:{implicit} (::1) greets, TLSv1.3" in done.stdout) == (0, True), done
    assert Destination(Address("fe80::1%eth0", 995, TlsMode.IMPLICIT)).name == "fe80::1"


def test_capabilities_before_and_after_tls_and_login_are_held_against_each_other(ca: Path) -> None:
    async def body() -> None:
        server = mail_server(faults={"require_tls": True})
        with serving(server) as (port, pem):
            ca.write_text(pem)
            shell, screen = shell_for(port, TlsMode.NONE, ca=ca)
            assert await shell.connect()
            for line in ("CAPA", "STLS", "CAPA"):
                screen.forget()
                await shell.run(line)
            assert "new USER, SASL; gone STLS" in screen.flat
            await shell.run("QUIT")

    run(body())


def test_dovecot_s_certificate_out_of_its_dates() -> None:
    """For another name and of an unknown CA: tests/interop/test_dovecot.py."""
    rows = [
        ({"not_after": NOW - datetime.timedelta(days=12, hours=12)}, "What has expired is certificate 1."),
        ({"not_before": NOW + datetime.timedelta(days=3, hours=1)}, "What is not valid yet is certificate 1."),
    ]

    def check(certificate: dict[str, Any], said: str) -> None:
        with dovecot(certificate=certificate) as server:

            async def body(mode: TlsMode, port: int) -> None:
                shell, screen = shell_for(port, mode, ca=server.ca_file)
                assert not await shell.connect()
                assert said in screen.flat
                shell, screen = shell_for(port, mode, insecure=True)
                assert await shell.connect()
                await shell.run(":tls")
                assert "NO, as was wished" in screen.flat
                assert "Also, certificate 1 " in screen.flat
                await shell.run("QUIT")

            run(body(TlsMode.IMPLICIT, server.tls_port))
            run(body(TlsMode.STLS, server.port))

    each(rows, check)


def test_a_greeting_of_what_passes_the_connection_on() -> None:
    async def body(language: str, said: str) -> None:
        async with playing([b"+OK AVG POP3 Proxy Server 10.0\r\n"]) as port:
            shell, screen = shell_for(port, TlsMode.NONE, language)
            assert await shell.connect()
            assert said in screen.flat
            shell.close()

    each([("en", "passes the connection on"), ("zh-Hant", "轉接連線")], lambda *row: run(body(*row)))
