"""AUTH with programs that this project did not write: our client against Dovecot, curl and mpop against our server."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from support import over

from interop.cyrus import cyrus
from interop.dovecot import Dovecot, dovecot
from interop.practice import PASSWORD, USER, default_messages, listening, mail_server, run, serving, together
from interop.programs import call, need
from interop.talk import Talk, talking
from popshell.net.address import Address, Destination, TlsMode, Way, parse_address
from popshell.net.certificates import end_point_binding
from popshell.net.connector import Connector
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import ClientLines, Credentials
from popshell.server.mailserver import MailServer, practice_token
from popshell.ui.display import new_shell
from popshell.ui.shell import Options

PLAIN = tuple(message for message in default_messages() if not message.needs_utf8)
PASSWORDS = [name for name, row in MECHANISMS.items() if row.proof == "password" and not row.binds]

# -- our client against Dovecot ----------------------------------------------------------------------------------------

EXTRA = """
auth_mechanisms = plain login apop cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2 external
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = %s
}
"""
TOKEN = practice_token(USER)


class TokenInfo(BaseHTTPRequestHandler):
    """Says whose a token is; Dovecot asks it (RFC 7662 has another form of it)."""

    def do_GET(self) -> None:
        valid = self.path.endswith(f"={TOKEN}")
        body = json.dumps({"username": "user1"} if valid else {"error": "invalid_token"}).encode()
        self.send_response(200 if valid else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    folder = tmp_path_factory.mktemp("oauth")
    with HTTPServer(("127.0.0.1", 0), TokenInfo) as issuer:
        thread = threading.Thread(target=issuer.serve_forever)
        thread.start()
        try:
            (folder / "oauth2.conf").write_text(
                f"tokeninfo_url = http://127.0.0.1:{issuer.server_port}/?token=\nusername_attribute = username\n"
            )
            with dovecot([f"user{number}" for number in range(4)], extra=EXTRA % (folder / "oauth2.conf")) as running:
                yield running
        finally:
            issuer.shutdown()
            thread.join()


async def authenticate(talk: Talk, name: str, login: Credentials, *, initial: bool) -> tuple[Exchange, ClientLines]:
    client = ClientLines(MECHANISMS[name], login)
    answer = await talk.ask(client.command(initial=initial))
    while isinstance(answer, Challenge):
        answer = await talk.ask(client.answer(answer.line.decode()))
    return answer, client


def test_dovecot(server: Dovecot) -> None:
    async def check(name: str, initial: bool, secret: str, binding: bytes | None) -> None:
        where = Destination(Address("127.0.0.1", server.tls_port, TlsMode.IMPLICIT), way=Way(ca=server.ca_file))
        async with talking(where) as talk:
            await talk.next()
            capa = await talk.ask("CAPA")
            assert name in (talk.connection.capabilities or {})["SASL"], capa
            login = Credentials("user1", secret, binding=binding)
            answer, client = await authenticate(talk, name, login, initial=initial)
            right = secret == server.password
            assert (answer.ok, client.outcome(answer.ok)) == (right, None), answer.status_line()

    run(together(product(PASSWORDS, (True, False), (server.password, "wrong"), (None, b"x" * 32)), check))


def test_dovecot_s_tokens(server: Dovecot) -> None:
    """A refusal is JSON in a challenge, and `-ERR` comes after the fixed answer."""

    async def check(name: str, initial: bool, token: str) -> None:
        where = Destination(Address("127.0.0.1", server.tls_port, TlsMode.IMPLICIT), way=Way(ca=server.ca_file))
        async with talking(where) as talk:
            await talk.next()
            login = Credentials("user1", token, host="localhost", port=server.tls_port)
            answer, client = await authenticate(talk, name, login, initial=initial)
            named = {one.name for one in client.run.named}
            refused = client.run.warnings == ("token-refused",)
            assert answer.ok == (token == TOKEN), (answer, server.log())
            assert refused == (token == "wrong")
            assert ("status" in named) == refused, client.run.named
            assert client.outcome(answer.ok) is None

    run(together(product(("XOAUTH2", "OAUTHBEARER"), (True, False), (TOKEN, "wrong")), check))


def test_dovecot_s_external(server: Dovecot) -> None:
    """Without a client certificate it is refused."""

    async def body() -> None:
        where = Destination(Address("127.0.0.1", server.tls_port, TlsMode.IMPLICIT), way=Way(ca=server.ca_file))
        async with talking(where) as talk:
            await talk.next()
            answer, _ = await authenticate(talk, "EXTERNAL", Credentials("", ""), initial=True)
            assert not answer.ok

    run(body())


def test_dovecot_through_the_shell(server: Dovecot) -> None:
    """`:auth`, with the right and with a wrong secret; SCRAM's proof of the server is reported."""
    from stage import CATALOG, FakeScreen, metas_of

    async def body() -> None:
        address = parse_address(f"localhost:{server.tls_port}", TlsMode.IMPLICIT)
        for name in ("SCRAM-SHA-256", "CRAM-MD5"):
            for secret in (server.password, "wrong"):
                connector, screen = (
                    Connector(mail_server(), Destination(address, Way(ca=server.ca_file))),
                    FakeScreen(columns=300),
                )
                shell = new_shell(CATALOG, screen, connector.connect, Options(), partial(metas_of, None))
                assert await shell.connect()
                screen.answers = [secret]
                await shell.run(f":auth {name} user1")
                right = secret == server.password
                assert (shell.state is State.TRANSACTION) == right, screen.text
                assert ("the server knows the password" in screen.text) == (right and name.startswith("SCRAM"))
                await shell.run("QUIT")
                assert shell.session is None

    run(body())


# -- our client against Cyrus ------------------------------------------------------------------------------------------


def test_cyrus() -> None:
    """Cyrus 3.6 with Cyrus SASL 2.1.28: it binds by tls-unique, and takes `y` for what it is, a downgrade."""
    bound = [name for name, row in MECHANISMS.items() if row.binds]
    rows = [(name, "none", "secret", True) for name in PASSWORDS]
    rows += [(name, "tls-unique", "secret", True) for name in bound]
    rows += [("SCRAM-SHA-256", "offered", "secret", True), ("SCRAM-SHA-256", "not offered", "secret", False)]
    rows += [(name, "tls-unique", "wrong", False) for name in bound[:1]]

    async def check(name: str, binding: str, secret: str, right: bool) -> None:
        where = Destination(Address("127.0.0.1", server.tls_port, TlsMode.IMPLICIT), way=Way(ca=server.ca_file))
        async with talking(where) as talk:
            await talk.next()
            await talk.ask("CAPA")
            assert name in (talk.connection.capabilities or {})["SASL"]
            login = Credentials(server.user, secret, plus_offered=binding == "offered")
            if binding == "tls-unique":
                session: Any = talk.transport._transport.get_extra_info("ssl_object")  # type: ignore[union-attr]
                data = session.get_channel_binding("tls-unique")
                login = login._replace(binding=data, binding_type="tls-unique", plus_offered=True)
            elif binding != "none":
                login = login._replace(binding=b"x" * 32)
            answer, client = await authenticate(talk, name, login, initial=True)
            assert (answer.ok, client.outcome(answer.ok)) == (right, None), answer

    async def all_rows() -> None:
        await check(*rows[0])  # Cyrus makes a maildrop at the first login, and takes no second one meanwhile
        await together(rows[1:], check)

    with cyrus() as server:
        run(all_rows())


# -- our client against our server, under TLS --------------------------------------------------------------------------


@over("name", [name for name, row in MECHANISMS.items() if row.binds])
def test_channel_binding(name: str) -> None:
    """Both ends compute it from the certificate; after another one's, the same connection still takes the right one."""

    async def body() -> None:
        async with listening(practice(), implicit_tls=True) as (listener, port):
            where = Destination(Address("127.0.0.1", port, TlsMode.IMPLICIT), ca_data=listener.certificate_pem)
            async with talking(where) as talk:
                await talk.next()
                assert talk.transport is not None
                assert talk.transport.tls is not None
                binding = talk.transport.tls.binding
                assert binding
                for data, right in ((b"x" * 32, False), (binding, True)):
                    answer, client = await authenticate(
                        talk, name, Credentials(USER, PASSWORD, binding=data), initial=True
                    )
                    assert (answer.ok, client.outcome(answer.ok)) == (right, None)

    run(body())


def test_the_hash_of_a_certificate() -> None:
    """RFC 5929 §4.1, beside what another library reads in the certificate."""
    keys = (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048))
    signed = [
        (key, algorithm, None) for key in keys for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
    ]
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    signed.append((keys[1], hashes.SHA384(), pss))
    for key, algorithm, form in signed:
        der = certificate(key, algorithm, form)
        assert end_point_binding(der) == hashlib.new(algorithm.name, der).digest(), (key, algorithm.name, form)
    assert end_point_binding(certificate(ed25519.Ed25519PrivateKey.generate(), None, None)) is None
    for end in range(0, len(der), 7):
        assert end_point_binding(der[:end]) is None


def certificate(key: Any, algorithm: Any, form: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
    more = {"rsa_padding": form} if form else {}
    return builder.sign(key, algorithm, **more).public_bytes(Encoding.DER)


# -- curl and mpop against our server ----------------------------------------------------------------------------------


def practice(*names: str) -> MailServer:
    return mail_server(PLAIN, faults={"mechanisms": names or tuple(MECHANISMS)}, tokens=lambda: {TOKEN: USER})


@over(
    "name, initial",
    [
        *((name, initial) for name in ("PLAIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER") for initial in (True, False)),
        ("LOGIN", False),  # with --sasl-ir curl 7.88 sends an initial response, which MUST be rejected (RFC 5034 §4)
    ],
)
def test_curl(tmp_path: Path, name: str, initial: bool) -> None:
    with serving(practice(name), implicit_tls=True) as (port, pem):
        ca = tmp_path / "ca.pem"
        ca.write_text(pem)
        for right in (True, False):
            token = MECHANISMS[name].proof == "token"
            secret = ["--oauth2-bearer", TOKEN if right else "wrong"] if token else []
            who = USER if token else f"{USER}:{PASSWORD if right else 'wrong'}"
            done = call(
                [
                    *(need("curl"), "-q", "-s", "-v", "-m", "15", "--cacert", ca, "-u", who, *secret),
                    *("--login-options", f"AUTH={name}", *(["--sasl-ir"] if initial else [])),
                    f"pop3s://127.0.0.1:{port}/1",
                ],
                tmp_path,
            )
            assert (done.returncode, done.stdout) == ((0, PLAIN[0].content) if right else (67, b"")), done.stderr


@over("name", ["plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "oauthbearer", "xoauth2"])
def test_mpop(tmp_path: Path, name: str) -> None:
    program = need("mpop")
    server = practice(name.upper())
    with serving(server, implicit_tls=True) as (port, pem):
        (tmp_path / "ca.pem").write_text(pem)
        for right in (True, False):
            secret = (TOKEN if name in ("oauthbearer", "xoauth2") else PASSWORD) if right else "wrong"
            done = call(
                [
                    *(program, "--host=localhost", f"--port={port}", f"--user={USER}", f"--auth={name}"),
                    *("--tls=on", "--tls-starttls=off", f"--tls-trust-file={tmp_path / 'ca.pem'}", "--keep=on"),
                    *(f"--passwordeval=echo {secret}", "--debug", f"--delivery=mbox,{tmp_path / 'box'}"),
                ],
                tmp_path,
            )
            assert (done.returncode == 0) == right, name
