"""The practice server satisfies clients that this project did not write: curl, Python's poplib, mpop, fetchmail.

They get the lessons' maildrop over TCP, and what they hand out is compared byte for byte with the files. The message
with UTF-8 header fields may be sent in UTF-8 mode only (RFC 6856 §2.1), of which poplib alone knows: the others are
served the rest, and it is shown that its refusal leaves them whole.
"""

from __future__ import annotations

import poplib
import re
import shlex
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import over

from interop.practice import PASSWORD, USER, default_messages, mail_server, serving, trusting
from interop.programs import call, need
from popshell.server.maildrop import Message

ALL = default_messages()
#: the number of the first message that needs UTF8
UTF8 = next(number for number, message in enumerate(ALL, 1) if message.needs_utf8)
PLAIN = tuple(message for message in ALL if not message.needs_utf8)


def contents(messages: tuple[Message, ...]) -> list[bytes]:
    return [message.content for message in messages]


def test_the_maildrop_is_worth_the_trouble() -> None:
    """What makes clients fail is in it: stuffed dots, a long line, a header alone, 8-bit text."""
    assert 0 < len(PLAIN) < len(ALL)
    contents = [message.content for message in PLAIN]
    assert any(b"\r\n.\r\n" in content for content in contents)
    assert max(len(line) for content in contents for line in content.split(b"\r\n")) > 2048
    assert any(content.endswith(b"\r\n\r\n") and content.count(b"\r\n\r\n") == 1 for content in contents)


# curl


def curl(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return call([need("curl"), "-q", "-s", "-v", "-m", "15", "-u", f"{USER}:{PASSWORD}", *arguments], tmp_path)


def said(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The commands that curl sent."""
    return [line[2:] for line in done.stderr.decode("utf-8", "replace").splitlines() if line.startswith("> ")]


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return tmp_path / "ca.pem"


LOGINS = {
    "apop": ("AUTH=+APOP", r"APOP learner [0-9a-f]{32}"),
    "plain": ("AUTH=PLAIN", r"AUTH PLAIN"),
}


@over("tls", ["none", "stls", "implicit"])
@over("login", LOGINS)
def test_curl(tmp_path: Path, ca: Path, tls: str, login: str) -> None:
    options, command = LOGINS[login]
    with serving(mail_server(PLAIN), implicit_tls=tls == "implicit") as (port, pem):
        ca.write_text(pem)
        base = f"{'pop3s' if tls == 'implicit' else 'pop3'}://127.0.0.1:{port}/"
        more = ["--login-options", options, "--cacert", str(ca), *(["--ssl-reqd"] if tls == "stls" else [])]
        listing = curl(tmp_path, *more, base)
        assert listing.returncode == 0, listing.stderr
        rows = [f"{number} {message.octets}" for number, message in enumerate(PLAIN, 1)]
        assert listing.stdout.decode().split("\r\n") == [*rows, ""]
        lines = said(listing)
        assert ("STLS" in lines) == (tls == "stls")
        assert [line for line in lines if re.fullmatch(command, line)], lines
        for number, message in enumerate(PLAIN, 1):
            got = curl(tmp_path, *more, base + str(number))
            assert (got.returncode, got.stdout) == (0, message.content), number


def test_curl_with_an_initial_response(tmp_path: Path) -> None:
    with serving(mail_server(PLAIN)) as (port, _):
        more = ["--login-options", "AUTH=PLAIN", "--sasl-ir"]
        got = curl(tmp_path, *more, f"pop3://127.0.0.1:{port}/1")
        assert got.stdout == PLAIN[0].content
        assert "AUTH PLAIN AGxlYXJuZXIAc2VjcmV0" in said(got)


def test_curl_with_user_and_pass(tmp_path: Path) -> None:
    server = mail_server(PLAIN, new_stamp=lambda: "", faults={"without": frozenset({"SASL"})})
    with serving(server) as (port, _):
        got = curl(tmp_path, f"pop3://127.0.0.1:{port}/2")
        assert got.stdout == PLAIN[1].content
        assert said(got)[:3] == ["CAPA", "USER learner", "PASS secret"]


def test_curl_refuses_a_certificate_that_it_does_not_know(tmp_path: Path) -> None:
    with serving(mail_server(PLAIN)) as (port, _):
        got = curl(tmp_path, "--ssl-reqd", f"pop3://127.0.0.1:{port}/1")
        assert (got.returncode, got.stdout) == (60, b"")
        assert not [line for line in said(got) if line.startswith(("APOP", "AUTH", "USER", "PASS"))]


def test_curl_survives_a_refused_message_and_a_wrong_password(tmp_path: Path) -> None:
    with serving(mail_server()) as (port, _):
        refused = curl(tmp_path, f"pop3://127.0.0.1:{port}/{UTF8}")
        assert (refused.returncode != 0, refused.stdout) == (True, b"")
        assert b"[UTF8]" in refused.stderr
        wrong = call([need("curl"), "-q", "-s", "-u", "learner:wrong", f"pop3://127.0.0.1:{port}/1"], tmp_path)
        assert (wrong.returncode, wrong.stdout) == (67, b"")
        assert curl(tmp_path, f"pop3://127.0.0.1:{port}/1").stdout == ALL[0].content


def test_curl_deletes_by_quit(tmp_path: Path) -> None:
    server = mail_server(PLAIN)
    with serving(server) as (port, _):
        got = curl(tmp_path, "-I", "-X", "DELE 1", f"pop3://127.0.0.1:{port}/")
        assert got.returncode == 0, got.stderr
        assert said(got)[-1] == "DELE 1"  # it does not tell of its QUIT
    assert contents(server.maildrop_of(USER).messages) == contents(PLAIN[1:])


# poplib


@over("tls", ["none", "stls", "implicit"])
def test_poplib(monkeypatch: pytest.MonkeyPatch, tls: str) -> None:
    monkeypatch.setattr(poplib, "_MAXLINE", 65536)
    server = mail_server()
    with serving(server, implicit_tls=tls == "implicit") as (port, pem):
        client: poplib.POP3
        if tls == "implicit":
            client = poplib.POP3_SSL("127.0.0.1", port, context=trusting(pem), timeout=15)
        else:
            client = poplib.POP3("127.0.0.1", port, timeout=15)
        if tls == "stls":
            assert "STLS" in client.capa()
            client.stls(trusting(pem))
            assert "STLS" not in client.capa()
        assert client.getwelcome().startswith(b"+OK")
        client.utf8()
        client.user(USER)
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client.pass_("wrong")
        client.user(USER)
        client.pass_(PASSWORD)
        assert client.stat() == (len(ALL), sum(message.octets for message in ALL))
        assert client.list()[1] == [f"{n} {m.octets}".encode() for n, m in enumerate(ALL, 1)]
        assert client.uidl()[1] == [f"{n} {m.unique_id}".encode() for n, m in enumerate(ALL, 1)]
        assert client.uidl(3) == f"+OK 3 {ALL[2].unique_id}".encode()
        for number, message in enumerate(ALL, 1):
            lines = client.retr(number)[1]
            assert b"".join(line + b"\r\n" for line in lines) == message.content, number
            head = client.top(number, 0)[1]
            assert b"".join(line + b"\r\n" for line in head) == message.top(0), number
        with pytest.raises(poplib.error_proto, match="-ERR"):
            client.retr(len(ALL) + 1)
        client.dele(2)
        client.rset()
        client.noop()
        client.dele(len(ALL))
        client.quit()
    assert contents(server.maildrop_of(USER).messages) == contents(ALL[:-1])


def test_poplib_with_apop() -> None:
    with serving(mail_server()) as (port, _):
        client = poplib.POP3("127.0.0.1", port, timeout=15)
        client.apop(USER, PASSWORD)
        with pytest.raises(poplib.error_proto, match=r"\[UTF8\]"):
            client.retr(UTF8)
        assert client.stat()[0] == len(ALL), "the refusal has changed nothing"
        client.quit()


# mpop


@over("delivery", ["maildir", "mbox"])
@over("tls", ["none", "stls", "implicit"])
def test_mpop(tmp_path: Path, ca: Path, tls: str, delivery: str) -> None:
    program = need("mpop")
    tmp_path = Path(tempfile.mkdtemp(dir=tmp_path))
    inbox = tmp_path / "inbox"
    for folder in ("cur", "new", "tmp") if delivery == "maildir" else ():
        (inbox / folder).mkdir(parents=True)
    server = mail_server(PLAIN)
    with serving(server, implicit_tls=tls == "implicit") as (port, pem):
        ca.write_text(pem)
        settings = {
            "host": "localhost",
            "port": str(port),
            "user": USER,
            "passwordeval": f"echo {PASSWORD}",
            "auth": {"none": "apop", "stls": "user", "implicit": "plain"}[tls],
            "tls": "off" if tls == "none" else "on",
            "delivery": f"{delivery} {inbox}",
            "uidls_file": str(tmp_path / "uidls"),
            "received_header": "off",
            "keep": "off",
        }
        if tls != "none":
            settings |= {"tls_starttls": "on" if tls == "stls" else "off", "tls_trust_file": str(ca)}
        config = tmp_path / "mpoprc"
        config.write_text("account practice\n" + "".join(f"{key} {value}\n" for key, value in settings.items()))
        config.chmod(stat.S_IRUSR | stat.S_IWUSR)
        info = call([program, "-C", config, "--serverinfo", "practice"], tmp_path)
        assert info.returncode == 0, info.stderr
        for word in (b"PIPELINING", b"TOP", b"UIDL"):
            assert word in info.stdout
        done = call([program, "-C", config, "practice"], tmp_path)
        assert done.returncode == 0, done.stderr
    expected = sorted(as_lf(message.content) for message in PLAIN)
    if delivery == "maildir":
        got = [path.read_bytes() for path in (inbox / "new").iterdir()]
    else:
        got = from_mbox(inbox.read_bytes())
    assert sorted(got) == expected
    assert server.maildrop_of(USER).messages == (), "deleted by QUIT, as it was told"


def as_lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def from_mbox(mbox: bytes) -> list[bytes]:
    """The messages of an mbox file: its From_ lines, its quoting and the empty line behind each undone."""
    parts = re.split(rb"(?:\A|\n)From [^\n]*\n", mbox.removesuffix(b"\n"))[1:]
    return [re.sub(rb"(?m)^>(>*From )", rb"\1", part) for part in parts]


def test_mpop_refuses_a_certificate_for_another_name(tmp_path: Path, ca: Path) -> None:
    server = mail_server(PLAIN)
    with serving(server) as (port, pem):
        ca.write_text(pem)
        program = need("mpop")
        config = tmp_path / "mpoprc"
        config.write_text(
            f"account practice\nhost 127.0.0.2\nport {port}\nuser {USER}\npasswordeval echo {PASSWORD}\n"
            f"tls on\ntls_starttls on\ntls_trust_file {ca}\ndelivery mda cat >{tmp_path}/got\n"
        )
        config.chmod(0o600)
        done = call([program, "-C", config, "practice"], tmp_path)
        assert done.returncode != 0
    assert not (tmp_path / "got").exists()


# fetchmail


@over("tls", ["none", "stls", "implicit"])
def test_fetchmail(tmp_path: Path, ca: Path, tls: str) -> None:
    program = need("fetchmail")
    tmp_path = Path(tempfile.mkdtemp(dir=tmp_path))
    got = tmp_path / "got"
    got.mkdir()
    deliver = tmp_path / "deliver"
    deliver.write_text(f'#!/bin/sh\nexec cat >"$(mktemp {shlex.quote(str(got))}/XXXXXX)"\n')
    deliver.chmod(0o700)
    server = mail_server(PLAIN)
    with serving(server, implicit_tls=tls == "implicit") as (port, pem):
        ca.write_text(pem)
        how = {"none": "sslproto ''", "stls": "sslproto 'TLS1.2+'", "implicit": "ssl"}[tls]
        check = "" if tls == "none" else f"sslcertck sslcertfile '{ca}'"
        config = tmp_path / "fetchmailrc"
        config.write_text(
            f"set invisible\nset no bouncemail\n"
            f"poll localhost protocol pop3 port {port} no dns\n"
            f"  user '{USER}' password '{PASSWORD}' {how} {check}\n"
            f"  fetchall no keep no rewrite no mimedecode no stripcr mda '{deliver}'\n"
        )
        config.chmod(0o600)
        done = call([program, "-f", config, "--nodetach", "--nosyslog", "--pidfile", tmp_path / "pid", "-v"], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (b"POP3> STLS" in done.stdout) == (tls == "stls")
    files = sorted(as_lf(path.read_bytes()) for path in got.iterdir())
    assert files == sorted(as_lf(message.content) for message in PLAIN)
    assert server.maildrop_of(USER).messages == ()
