"""Passwords that are not typed: descriptor, command, keyring, netrc; and what may be wrong with each."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path

import pytest
from interop.practice import mail_server, serving
from stage import LOCAL, Stage, run
from support import ROOT, each

from popshell.passwords import Found, PasswordError, Passwords, stored
from popshell.ui.shell import Options

HOST = "pop.example.org"


def given(passwords: Passwords, *, token: bool = False) -> Found | None:
    return asyncio.run(passwords.given("mei", token=token))


def pipe(data: bytes) -> int:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


def test_a_descriptor_gives_one_line_and_leaves_the_rest() -> None:
    descriptor = pipe(b"p\xc3\xa4ss \r\nSTAT\n")
    passwords = Passwords(descriptor=descriptor)
    assert given(passwords) == Found("mei", "päss ", "fd")
    assert given(passwords) == Found("mei", "päss ", "fd"), "it is read once and kept"
    assert os.read(descriptor, 9) == b"STAT\n"
    os.close(descriptor)
    assert "ss" not in repr(given(passwords)).removeprefix("Password")


def test_commands_and_what_is_wrong_with_them() -> None:
    def works(command: str, secret: str) -> None:
        assert given(Passwords(command)) == Found("mei", secret, "command")

    def fails(command: str, code: str, facts: Mapping[str, object]) -> None:
        with pytest.raises(PasswordError) as caught:
            given(Passwords(command))
        assert (caught.value.code, caught.value.facts) == (code, facts)

    each([("echo one; echo two", "one"), ("printf 'no newline'", "no newline"), ("printf 'a\\r\\n'", "a")], works)
    each(
        [
            ("exit 3", "command-failed", {"status": 3}),
            ("echo secret; exit 1", "command-failed", {"status": 1}),
            ("true", "command-empty", {}),
            ("/no/such/program 2>/dev/null", "command-failed", {"status": 127}),
        ],
        fails,
    )
    assert given(Passwords()) is None
    tokens = Passwords("echo password", token_command="echo token")
    assert [found.secret for found in (given(tokens), given(tokens, token=True)) if found] == ["password", "token"]
    assert given(tokens, token=True) == Found("mei", "token", "token")
    assert given(Passwords("echo only"), token=True) == Found("mei", "only", "command")


def test_a_descriptor_without_a_password_is_refused() -> None:
    def fails(data: bytes | None, code: str) -> None:
        descriptor = 4096 if data is None else pipe(data)
        with pytest.raises(PasswordError) as caught:
            Passwords(descriptor=descriptor)
        assert caught.value.code == code
        if data is not None:
            os.close(descriptor)

    each([(None, "fd-unreadable"), (b"", "fd-empty"), (b"\n", "fd-empty")], fails)


NETRC = """\
# machine pop.example.org login mei password commented
machine other.example login mei password other
machine POP.example.org
    login mei password "with \\"blank\\" and #"
machine pop.example.org login lin password lins#1
macdef init
machine pop.example.org login eve password macro

machine ::1 login six password #six  # login nobody
machine last.example login mei password "a b" macdef x
machine pop.example.org login eve password macro

machine bare.example login mei
default login anyone password any
"""


def test_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".netrc"
    path.write_text(NETRC)
    path.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setitem(sys.modules, "keyring", None)  # not installed

    def holds(name: str, host: str, secret: str | None) -> None:
        found = stored(name, host)
        assert (found.secret if found else None) == secret

    each(
        [
            ("mei", HOST, 'with "blank" and #'),
            ("mei", "Pop.Example.org.", 'with "blank" and #'),
            ("lin", HOST, "lins#1"),
            ("", HOST, 'with "blank" and #'),
            ("eve", HOST, None),
            ("mei", "bare.example", None),
            ("six", "::1", "#six"),
            ("mei", "last.example", "a b"),
            ("anyone", "elsewhere.example", "any"),
        ],
        holds,
    )
    for text, wrong in (
        ("machine a login mei\npassword\n", ("password", 2)),
        ("machine a login mei password\nmachine pop.example.org login mei password x", ("password", 1)),
        ('machine a\n\nlogin "mei password x\n', ("login", 3)),
        ("machine", ("machine", 1)),
    ):
        path.write_text(text)
        with pytest.raises(PasswordError) as caught:
            stored("mei", HOST)
        assert (caught.value.code, caught.value.facts["word"], caught.value.facts["line"]) == ("netrc-line", *wrong), (
            text
        )
    path.write_text(f"machine {HOST} login mei password good\nmachine a password")
    assert stored("mei", HOST) == Found("mei", "good", "netrc"), "what comes after it does not matter"
    path.write_text(NETRC)
    path.chmod(0o640)
    assert stored("eve", HOST) is None, "a file that is not used may be as open as it likes"
    with pytest.raises(PasswordError, match="netrc-open"):
        stored("mei", HOST)
    monkeypatch.setenv("NETRC", str(tmp_path))
    with pytest.raises(PasswordError, match="netrc-unreadable"):
        stored("mei", HOST)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert stored("mei", HOST) is None


def test_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    keyring = types.ModuleType("keyring")
    entries = {("popshell", f"mei@{HOST}"): "kept"}
    keyring.get_password = lambda service, entry: entries.get((service, entry))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert stored("mei", HOST.upper()) == Found("mei", "kept", "keyring")
    assert stored("lin", HOST) is None
    assert asyncio.run(Passwords().find("mei", HOST)) == Found("mei", "kept", "keyring")
    assert asyncio.run(Passwords("echo asked for").find("mei", HOST)) == Found("mei", "asked for", "command")

    def refuses(kind: str, text: str, code: str, reason: str) -> None:
        def raises(service: str, entry: str) -> str:
            raise type(kind, (RuntimeError,), {})(text)

        keyring.get_password = raises  # type: ignore[attr-defined]
        with pytest.raises(PasswordError) as caught:
            stored("mei", HOST)
        assert (caught.value.code, caught.value.facts) == (code, {"entry": f"mei@{HOST}", "reason": reason})
        assert stored("", HOST) is None, "without a name it is not asked"

    async def said(language: str, words: str) -> None:
        """Before the question: what, why, what to do; what is typed then is sent."""
        stage = Stage(place=LOCAL, options=Options(language), script={"USER": b"+OK\r\n", "PASS": b"+OK\r\n"})
        stage.screen.answers = ["typed"]
        await stage.begin("CAPA", ":auth USER mei")
        assert words in stage.screen.flat
        assert b"PASS typed" in stage.wire.sent

    each(
        [
            ("KeyringLocked", "Failed", "keyring-locked", "Failed"),
            ("NoKeyringError", "No backend.\nSee", "keyring-none", "No backend. See"),
            ("DBusError", "", "keyring-failed", "DBusError"),
        ],
        refuses,
    )
    refuses("KeyringLocked", "Failed", "keyring-locked", "Failed")
    each([("en", "The keyring is locked"), ("zh-Hant", "金鑰圈上了鎖")], lambda *row: run(said(*row)))
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login mei password plain\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert stored("mei", HOST) == Found("mei", "plain", "netrc"), "what netrc has is as good"
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "keyring", None)  # not installed
    assert stored("mei", HOST) is None


BACKEND = """
import json, os
from keyring.backend import KeyringBackend

class Kept(KeyringBackend):
    priority = 1

    def _all(self):
        return json.load(open(os.environ["KEPT"])) if os.path.exists(os.environ["KEPT"]) else {}

    def get_password(self, service, name):
        return self._all().get(service + " " + name)

    def set_password(self, service, name, password):
        json.dump({**self._all(), service + " " + name: password}, open(os.environ["KEPT"], "w"))

    def delete_password(self, service, name):
        raise NotImplementedError
"""


def test_the_real_keyring_package(tmp_path: Path) -> None:
    """The entry is made as the reference says, by keyring's own command; a backend of ours keeps it in a file."""
    pytest.importorskip("keyring")
    script = "C4n4ry-Secret"
    (tmp_path / "kept.py").write_text(BACKEND)
    environ = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "KEPT": str(tmp_path / "kept.json"),
        "HOME": str(tmp_path),
    }
    environ |= {"PYTHON_KEYRING_BACKEND": "kept.Kept", "NETRC": str(tmp_path / "none"), "LC_ALL": "C.UTF-8"}

    def done(*argv: str, stdin: str) -> str:
        command = [sys.executable, "-m", *argv]
        run = subprocess.run(command, input=stdin, capture_output=True, timeout=60, env=environ, text=True)
        assert run.returncode <= ("check" in argv), run  # its stamp is always the same: a MUST is missed
        assert script not in run.stdout + run.stderr
        return run.stdout + run.stderr

    with serving(mail_server(accounts={"learner": script})) as (port, _):
        done("keyring", "set", "popshell", "learner@127.0.0.1", stdin=script)
        place = f"127.0.0.1:{port}"
        shown = done("popshell", "--plain", "--yes", place, stdin=":auth USER learner\n\nSTAT\nQUIT\n")
        assert "it comes from the keyring." in shown
        assert "+OK 7 7528" in shown
        shown = done("popshell", "check", "--lang", "en", "--user", "learner", place, stdin="")
        assert "  ok      §3 MUST: After AUTH has succeeded" in shown
        environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
        shown = done("popshell", "check", "--lang", "en", "--user", "learner", place, stdin=f"{script}\n")
        assert "There is no keyring to ask for the password of learner@127.0.0.1." in shown
        assert "  ok      §3 MUST: After AUTH has succeeded" in shown


def test_the_shell_takes_them_wherever_it_would_ask(tmp_path: Path) -> None:
    """A server that is not the shell's own; each way, by each command that asks; nothing secret is shown."""
    script = "C4n4ry-Secret"
    home = tmp_path / "home"
    home.mkdir()
    netrc = home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login learner password {script}\n")
    netrc.chmod(0o600)
    (tmp_path / "secret").write_text(f"{script}\n")
    by_command, by_fd = f"--password-command 'cat {tmp_path}/secret'", f"--password-fd 3 3<{tmp_path}/secret"
    rows = [
        (by_command, "USER learner\\nPASS\\nSTAT\\nQUIT\\n"),
        (by_command, ":auth USER learner\\nSTAT\\nQUIT\\n"),
        (by_command, ":auth PLAIN learner\\nSTAT\\nQUIT\\n"),
        (by_command, ":apop learner\\n\\nSTAT\\nQUIT\\n"),
        (by_fd, "USER learner\\nPASS\\nSTAT\\nQUIT\\n"),
        (by_fd, ":auth PLAIN learner\\nSTAT\\nQUIT\\n"),
        ("", ":auth USER learner\\n\\nSTAT\\nQUIT\\n"),
    ]

    with serving(mail_server(accounts={"learner": script})) as (port, _):

        def check(options: str, lines: str) -> None:
            command = f"printf '{lines}' | {sys.executable} -m popshell --plain --yes 127.0.0.1:{port} {options}"
            environ = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
            done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, env=environ)
            shown = (done.stdout + done.stderr).decode()
            assert "+OK 7 7528" in shown, shown
            assert done.returncode == 0, shown
            assert script not in shown

        each(rows, check)

        def fails(options: str, code: int, said: str) -> None:
            command = (
                f"printf 'USER learner\\nPASS\\n' | {sys.executable} -m popshell --plain 127.0.0.1:{port} {options}"
            )
            environ = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
            done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, env=environ)
            assert (done.returncode, said in (done.stdout + done.stderr).decode()) == (code, True), done

        each([("--password-command false", 3, "exit code 1"), ("--password-fd 9", 2, "Descriptor 9 cannot")], fails)
