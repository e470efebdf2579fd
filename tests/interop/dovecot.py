"""A Dovecot of the test's own: started on loopback with its configuration in a temporary directory, ended by its id.

    with dovecot() as server:
        server.port, server.tls_port, server.ca_file, server.user, server.password

It serves clear text with STLS on `port` and implicit TLS on `tls_port`, with a certificate for localhost and 127.0.0.1
by an authority made for this run. Every name is a user with the same password and an own Maildir, which begins with
the given messages.

Traps: Dovecot never serves mail as uid 0, and its login processes run as another user; so as root it gets its own
users and a directory that they may enter (pytest's is 0700), and as somebody else everything runs as oneself, without
chroot. After a wrong password it would make this address wait for seconds, so its penalty is switched off. A port of 0
would switch a listener off, so free ones are looked for first; that can be a moment too early.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from interop.practice import default_files
from interop.programs import lacking, need


@dataclass(frozen=True)
class Dovecot:
    """A running one. `files` are the (name, octets) pairs that every maildrop begins with, by message-number."""

    port: int
    tls_port: int
    ca_file: Path
    user: str
    password: str
    files: tuple[tuple[str, bytes], ...]
    folder: Path

    def left(self, user: str) -> int:
        """How many messages the maildrop of `user` holds now, on disk."""
        maildir = self.folder / "mail" / user / "Maildir"
        return sum(1 for part in ("new", "cur") for path in (maildir / part).iterdir() if path.is_file())

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")


_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = pop3
listen = 127.0.0.1
mail_location = maildir:{folder}/mail/%n/Maildir
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
first_valid_uid = 1
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login apop cram-md5
auth_failure_delay = 0 secs
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={mail} gid={mail_group} home={folder}/mail/%n allow_all_users=yes
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


@contextmanager
def dovecot(
    users: Iterable[str] = ("learner",),
    password: str = "secret",
    files: Iterable[tuple[str, bytes]] | None = None,
    extra: str = "",
    certificate: Mapping[str, Any] | None = None,
) -> Iterator[Dovecot]:
    """Start it, and end it. `extra` is added to the configuration; `certificate` goes to trustme's
    `issue_cert`. Skips, or fails under CI, if it is not installed.
    """
    program = need("dovecot")
    users = tuple(users)
    mails = tuple(default_files() if files is None else files)
    folder = Path(tempfile.mkdtemp(prefix="popshell-dovecot-"))
    try:
        folder.chmod(0o755)
        owner = _owners()
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", "127.0.0.1", common_name="localhost", **certificate or {})
        authority.cert_pem.write_to_path(folder / "ca.pem")
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(folder / "server.pem", append=number > 0)
        key = os.open(folder / "server.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(key, "wb") as file:
            file.write(leaf.private_key_pem.bytes())
        for user in users:
            _fill(folder / "mail" / user, mails, owner["mail"])
        with socket.socket() as one, socket.socket() as two:
            for sock in (one, two):
                sock.bind(("127.0.0.1", 0))
            port, tls_port = (sock.getsockname()[1] for sock in (one, two))
        configuration = _CONFIGURATION.format(folder=folder, port=port, tls_port=tls_port, password=password, **owner)
        (folder / "dovecot.conf").write_text(configuration + extra)
        with subprocess.Popen(
            [program, "-F", "-c", folder / "dovecot.conf"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                _await(process, port, folder / "log")
                yield Dovecot(port, tls_port, folder / "ca.pem", users[0], password, mails, folder)
            finally:
                process.terminate()
                process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owners() -> dict[str, str]:
    """Whose processes they are."""
    if os.getuid() != 0:
        name, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        return dict.fromkeys(("internal", "login", "mail"), name) | dict.fromkeys(
            ("internal_group", "mail_group"), group
        )
    mail = next((name for name in ("nobody", "daemon") if _exists(name)), "nobody")
    group = grp.getgrgid(pwd.getpwnam(mail).pw_gid).gr_name
    if not (_exists("dovecot") and _exists("dovenull")):
        lacking("dovecot has no users of its own here (dovecot, dovenull)")
    return {"internal": "dovecot", "internal_group": "dovecot", "login": "dovenull", "mail": mail, "mail_group": group}


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _fill(home: Path, files: Iterable[tuple[str, bytes]], owner: str) -> None:
    maildir = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    for number, (_, octets) in enumerate(files, 1):
        # A Maildir's order is that of the times in its names.
        (maildir / "cur" / f"{1_700_000_000 + number}.M{number}P1.popshell:2,S").write_bytes(octets)
    if os.getuid() == 0:
        uid = pwd.getpwnam(owner).pw_uid
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, -1)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it listens. There is nothing to be told by, so it is tried; a few hundredths of a second."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    process.terminate()
    assert process.stderr is not None
    said = process.stderr.read().decode("utf-8", "replace")
    raise AssertionError(f"dovecot does not start: {said}{log.read_text() if log.exists() else ''}")
