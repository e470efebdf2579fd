"""`popshell serve` as a process: its ports, its CA, its log, and its end; curl and poplib are the clients."""

from __future__ import annotations

import json
import os
import poplib
import pty
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from terminal.driver import environment

CURL = shutil.which("curl")
UTF8_MAIL = "Subject: 月光\r\n\r\nHello\r\n".encode()


class Served:
    """A running `popshell serve`; `said` is what it printed so far, as lines, up to the command for Python."""

    def __init__(self, process: subprocess.Popen[bytes], *, human: str = "stdout") -> None:
        self.process = process
        stream = getattr(process, human)
        self.said = [stream.readline().decode()]
        while self.said[-1] and not self.said[-1].startswith("python3 "):
            self.said.append(stream.readline().decode())
        self.ports = [int(port) for port in re.findall(r"(?<=127\.0\.0\.1:)\d+(?=\n)", "".join(self.said))]

    def ended(self) -> tuple[int, str, str]:
        """End it by SIGTERM: its exit code, and the rest of what it printed."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out.decode(), err.decode()


@contextmanager
def serving(home: Path, *options: str, human: str = "stdout") -> Iterator[Served]:
    command = [sys.executable, "-m", "popshell", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(home), cwd=home
    ) as process:
        try:
            yield Served(process, human=human)
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def refused(home: Path, *options: str, language: str = "en") -> str:
    """What `popshell serve` says when it does not start."""
    command = [sys.executable, "-m", "popshell", "serve", "--port", "0", "--lang", language, *options]
    done = subprocess.run(command, capture_output=True, timeout=30, env=environment(home), cwd=home)
    assert done.returncode == 2, done
    assert b"Traceback" not in done.stderr
    assert not done.stdout
    return done.stderr.decode()


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    if CURL is None:
        pytest.skip("no curl")
    return subprocess.run([CURL, "-sS", "--noproxy", "*", *arguments], capture_output=True, timeout=30)


@contextmanager
def logged_in(port: int, password: str = "secret", name: str = "learner") -> Iterator[poplib.POP3]:
    client = poplib.POP3("127.0.0.1", port, timeout=20)
    try:
        client.user(name)
        client.pass_(password)
        yield client
    finally:
        client.close()


def session(port: int, password: str = "secret", name: str = "learner") -> None:
    """Log in and say QUIT."""
    with logged_in(port, password, name) as client:
        client.quit()


# -- reached -----------------------------------------------------------------------------------------------------------


def test_a_client_that_verifies_reaches_it_by_the_ca_file(tmp_path: Path) -> None:
    with serving(tmp_path, "--tls-port", "0", "--ca-out", "ca.pem") as served:
        clear, implicit = served.ports
        ca, login = str(tmp_path / "ca.pem"), ("-u", "learner:secret")
        for url, options in ((f"pop3s://127.0.0.1:{implicit}/1", ()), (f"pop3://127.0.0.1:{clear}/1", ("--ssl-reqd",))):
            assert b"Subject:" in curl("--cacert", ca, *login, *options, url).stdout, url
            done = curl(*login, *options, url)
            assert done.returncode == 60, "no trust without the CA (CURLE_PEER_FAILED_VERIFICATION)"
            assert not done.stdout
        context = ssl.create_default_context(cafile=ca)
        client = poplib.POP3_SSL("localhost", implicit, timeout=20, context=context)
        assert client.getwelcome().startswith(b"+OK")
        client.close()
        assert served.ended()[0] == 0


def test_the_ca_is_never_written_over_a_file(tmp_path: Path) -> None:
    for language, words in (("en", "ca.pem cannot be written"), ("zh-Hant", "無法寫入 ca.pem")):
        (tmp_path / "ca.pem").write_text("mine")
        assert words in refused(tmp_path, "--ca-out", "ca.pem", language=language)
        assert (tmp_path / "ca.pem").read_text() == "mine"
    (tmp_path / "link.pem").symlink_to("elsewhere.pem")
    refused(tmp_path, "--ca-out", "link.pem")
    assert not (tmp_path / "elsewhere.pem").exists()
    refused(tmp_path, "--ca-out", "no/such/directory/ca.pem")


def test_external_opens_the_account_of_the_certificate_and_no_other(tmp_path: Path) -> None:
    files = ("--ca-out", "ca.pem", "--client-cert-out", "me.pem")
    with serving(tmp_path, "--account", "\u7f8e\ufb01:C4n4ry", "--account", "mei:moth", *files) as served:
        mine, there = tmp_path / "me.pem", f"127.0.0.1:{served.ports[0]}"
        assert "Client certificate of \u7f8e\ufb01, with its key: me.pem\n" in served.said
        assert stat.S_IMODE(mine.stat().st_mode) == 0o600

        def shell(*lines: str, cert: str = "me.pem") -> str:
            command = [sys.executable, "-m", "popshell", there, "--tls", "stls", "--ca", "ca.pem", "--cert", cert]
            command += [word for line in lines for word in ("-c", line)]
            done = subprocess.run(command, capture_output=True, timeout=30, env=environment(tmp_path), cwd=tmp_path)
            return (done.stdout + done.stderr).decode()

        own = shell("STLS", "CAPA", ":auth EXTERNAL mei", ":auth EXTERNAL", "STAT", "QUIT")
        assert re.search("^S: SASL EXTERNAL ", own, re.M), own
        refused_, opened = own.find("-ERR [AUTH] wrong name or password"), own.find("+OK maildrop")
        assert 0 < refused_ < opened, own
        client = poplib.POP3("127.0.0.1", served.ports[0], timeout=20)  # without a certificate
        lists = [client.capa()["SASL"]]
        client.stls(ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))
        lists.append(client.capa()["SASL"])
        assert [("PLAIN" in listed, "EXTERNAL" in listed) for listed in lists] == [(True, False)] * 2
        with pytest.raises(poplib.error_proto, match="no such mechanism"):
            client._shortcmd("AUTH EXTERNAL =")  # type: ignore[attr-defined]
        client.close()
        stranger = trustme.CA().issue_cert(common_name="\u7f8e\ufb01").private_key_and_cert_chain_pem
        stranger.write_to_path(tmp_path / "other.pem")
        assert "+OK maildrop" not in shell("STLS", ":auth EXTERNAL", cert="other.pem")
        assert served.ended()[0] == 0
    assert "64 characters" in refused(tmp_path, "--account", "x" * 65 + ":y", "--client-cert-out", "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ((), "pop3://"),
        (("--tls-port", "0", "--ca-out", "our ca.pem"), "pop3s://"),
        (("--require-tls", "--ca-out", "ca.pem"), "pop3://"),
    ],
)
def test_what_it_says_to_type_works(options: tuple[str, ...], url: str, tmp_path: Path) -> None:
    with serving(tmp_path, *options) as served:
        for command in served.said[-2:]:
            assert url in command or command.startswith("python3 "), command
            command = command.replace("python3", sys.executable, 1).replace("curl", "curl -s --noproxy '*'", 1)
            if "curl" in command and CURL is None:
                continue
            done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, cwd=tmp_path)
            assert b"Subject:" in done.stdout, (command, done)


def test_a_password_of_the_users_own_is_not_printed(tmp_path: Path) -> None:
    with serving(tmp_path, "--account", "mei:C4n4ry") as served:
        assert any(row.startswith("curl -u mei pop3://") for row in served.said)
        session(served.ports[0], "C4n4ry", "mei")
        _, out, err = served.ended()
        assert "C4n4ry" not in "".join(served.said) + out + err


def test_utf8_in_a_header_is_refused_or_sent_in_ascii(tmp_path: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "1.eml").write_bytes(UTF8_MAIL)
    with (
        serving(tmp_path, "--maildrop", "mails") as served,
        logged_in(served.ports[0]) as client,
        pytest.raises(poplib.error_proto, match=r"\[UTF8\]"),
    ):
        client.retr(1)
    with (
        serving(tmp_path, "--maildrop", "mails", "--surrogates") as served,
        logged_in(served.ports[0]) as client,
    ):
        lines = client.retr(1)[1]
        assert b"\r\n".join(lines).isascii()
        assert any(line.startswith(b"Subject: =?utf-8?") for line in lines)


def test_a_directory_without_mail_is_said(tmp_path: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "note.txt").write_text("no mail")
    with serving(tmp_path, "--maildrop", "mails") as served:
        with logged_in(served.ports[0]) as client:
            assert client.stat() == (0, 0)
        assert served.ended()[2] == "mails has no .eml file: the maildrop is empty.\n"
    (tmp_path / "mails" / "1.EML").write_bytes(UTF8_MAIL)
    with serving(tmp_path, "--maildrop", "mails") as served:
        with logged_in(served.ports[0]) as client:
            assert client.stat()[0] == 1
        assert served.ended()[2].startswith("mails: 1 entry is left out.")


# -- by other machines -------------------------------------------------------------------------------------------------


def test_an_address_that_others_reach_needs_lan(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        for language, words in (("en", f"Other machines can reach {host}."), ("zh-Hant", f"其他機器連得到 {host}。")):
            refusal = refused(tmp_path, "--host", host, language=language)
            assert words in refusal
            assert "--lan" in refusal
    with serving(tmp_path, "--host", "localhost") as served:
        assert len(served.ports) == 1


def test_lan_names_the_addresses_warns_and_makes_a_fresh_password(tmp_path: Path) -> None:
    """Nothing is sent here: the port is bound, and what is said is read."""
    found = []
    for _ in range(2):
        with serving(tmp_path, "--lan") as served:
            said = "".join(served.said)
            assert "PopShell practice server on 0.0.0.0:" in said
            assert re.search(r"Other machines can reach it: \d+\.\d+\.\d+\.\d+\.", said), said
            found += re.findall(r"Account learner, password (\S+)", said)
            assert f"-u learner:{found[-1]} " in said
    assert len(set(found)) == 2
    assert "secret" not in found


def test_under_lan_neither_the_known_password_nor_the_known_token_is_taken(tmp_path: Path) -> None:
    from popshell.server.mailserver import practice_token

    with serving(tmp_path, "--lan", "--host", "127.0.0.1", "--mechanisms", "PLAIN XOAUTH2") as served:
        said = "".join(served.said)
        assert "Other machines" not in said, "they cannot reach it"
        with pytest.raises(poplib.error_proto):
            session(served.ports[0])
        session(served.ports[0], re.findall(r"password (\S+)", said)[0])
        assert practice_token("learner") not in said
        assert re.search(r"^Token of learner: \S+\.\S+\.$", said, re.MULTILINE)


# -- watched -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["file", "stdout"])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_log_says_what_was_said_and_no_secret(where: str, as_json: bool, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    options = ["--log", "log" if where == "file" else "-", *(["--json"] if as_json else [])]
    human = "stderr" if where == "stdout" and as_json else "stdout"
    with serving(tmp_path, *options, human=human) as served:
        with pytest.raises(poplib.error_proto):
            session(served.ports[0], "C4n4ryC4n4ry")
        session(served.ports[0])
        code, out, err = served.ended()
    assert code == 0
    assert "C4n4ry" not in out + err
    rows = out.splitlines()
    if where == "file":
        assert out == "", "the log is in the file"
        before, *rows = (tmp_path / "log").read_text("utf-8").splitlines()
        assert before == "before"
        assert "C4n4ry" not in "".join(rows)
    if as_json:
        records = [json.loads(row) for row in rows]
        assert [record["event"] for record in records if record["session"] == 2] == [*["exchange"] * 4, "ended"]
        lines = [record["command"]["line"] for record in records if record.get("command") and record["session"] == 2]
        assert lines == ["USER learner", "PASS ••••", "QUIT"]
        assert all(record["client"].startswith("127.0.0.1:") for record in records)
    else:
        assert [row.partition("C: ")[2] for row in rows if " 2 " in row and "C: " in row] == [
            "USER learner",
            "PASS ••••",
            "QUIT",
        ]
        assert '"user": "learner"' in next(row for row in rows if " 2 ends: " in row)


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "no/such/log"):
        assert f"{name} cannot be written: " in refused(tmp_path, "--log", name)


def test_the_server_ends_when_the_reader_of_its_log_is_gone(tmp_path: Path) -> None:
    with serving(tmp_path, "--json", human="stderr") as served:
        assert served.process.stdout is not None
        served.process.stdout.close()
        with suppress(OSError, EOFError, poplib.error_proto):
            session(served.ports[0])
        assert served.process.stderr is not None
        assert served.process.stderr.read() == b"", "no traceback"
        assert served.process.wait(30) == 141, "as SIGPIPE would have ended it"


def test_a_terminal_gets_a_line_for_each_session(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "popshell", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment(tmp_path)) as process:
        os.close(slave)
        with open(master, "rb", buffering=0) as terminal:
            shown = b""
            while b"c.quit()" not in shown:
                shown += terminal.read(4096)
            found = re.search(rb"127\.0\.0\.1:(\d+)\r", shown)
            assert found
            with logged_in(int(found[1])) as client:
                client.retr(1)
                client.dele(2)
                client.quit()
            poplib.POP3("127.0.0.1", int(found[1]), timeout=20).close()
            while shown.count(b" s\r\n") < 2:
                shown += terminal.read(4096)
            process.terminate()
            assert process.wait(30) == 0
    rows = [re.sub(r"127\S+|[0-9.]+ s$", "~", row) for row in shown.decode().splitlines()[-2:]]
    assert rows == [
        "1  ~  learner, without TLS: 5 commands, 1 message fetched, 1 removed, QUIT, ~",
        "2  ~  no login, without TLS: 0 commands, 0 messages fetched, 0 removed, no QUIT, ~",
    ]


# -- its end -----------------------------------------------------------------------------------------------------------


def test_sessions_are_informed_at_the_end_and_lose_no_mail(tmp_path: Path) -> None:
    with serving(tmp_path, "--json", human="stderr") as served, logged_in(served.ports[0]) as client:
        client.dele(1)
        waiting = socket.create_connection(("127.0.0.1", served.ports[0]), timeout=20)
        assert waiting.recv(100).startswith(b"+OK")
        code, out, err = served.ended()
        assert client.file is not None
        assert client.file.read() == b"-ERR [SYS/TEMP] the server is shutting down\r\n"
        with waiting:
            assert b"shutting down" in waiting.recv(100)
    assert (code, err) == (0, "")
    ends = [record for record in map(json.loads, out.splitlines()) if record["event"] == "ended"]
    assert [(record["removed"], record["quit"]) for record in ends] == [(0, False)] * 2


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "popshell", "serve", "--port", "0", "--tls-port", str(port), "--ca-out", "ca"]
        done = subprocess.run(command, capture_output=True, timeout=30, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 3
    assert f"{port} cannot be used".encode() in done.stderr
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--port", "5555", "--tls-port", "5555"), 2, "--port and --tls-port are both 5555; they have to differ."),
        (("--host", "no.such.invalid", "--lan"), 3, "There is no host called no.such.invalid.\n"),
        (("--maildrop", "/dev/null"), 2, "/dev/null: a part of the path is no directory.\nusage: popshell serve"),
    ],
)
def test_what_cannot_be_served_is_said(options: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "popshell", "serve", *options]
    done = subprocess.run(command, capture_output=True, timeout=30, env=environment(tmp_path), cwd=tmp_path, text=True)
    assert done.returncode == code
    assert said in done.stderr
