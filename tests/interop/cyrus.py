"""A Cyrus IMAP server's POP3 of the test's own: started on loopback, ended by its id.

    with cyrus() as server:
        server.tls_port, server.ca_file, server.user, server.password

It serves implicit TLS, with every password mechanism of Cyrus SASL, and makes an empty maildrop at the first login.

Traps: its processes become the user `cyrus`, so only root can start it; a wrong password costs three seconds.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from interop.programs import lacking, need


@dataclass(frozen=True)
class Cyrus:
    tls_port: int
    ca_file: Path
    user: str
    password: str


_CONFIGURATION = """
configdirectory: {folder}/conf
partition-default: {folder}/part
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
sasl_mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256
allowplaintext: yes
autocreate_quota: 0
autocreate_post: yes
servername: localhost
tls_server_cert: {folder}/server.pem
tls_server_key: {folder}/server.key
"""
_SERVICES = """
START {{
}}
SERVICES {{
  pop3s cmd="{pop3d} -s -C {folder}/imapd.conf" listen="127.0.0.1:{port}" prefork=0
}}
"""


@contextmanager
def cyrus(user: str = "learner", password: str = "secret") -> Iterator[Cyrus]:
    """Start it, and end it. Skips, or fails under CI, if it is not installed."""
    program, set_password, pop3d = need("cyrmaster"), need("saslpasswd2"), need("/usr/lib/cyrus/bin/pop3d")
    try:
        owner = pwd.getpwnam("cyrus")
    except KeyError:
        lacking("there is no user cyrus")
    if os.getuid() != 0:
        lacking("only root can start Cyrus")
    folder = Path(tempfile.mkdtemp(prefix="popshell-cyrus-"))
    try:
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", "127.0.0.1", common_name="localhost")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        leaf.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        leaf.private_key_pem.write_to_path(folder / "server.key")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        (folder / "imapd.conf").write_text(_CONFIGURATION.format(folder=folder))
        (folder / "cyrus.conf").write_text(_SERVICES.format(pop3d=pop3d, folder=folder, port=port))
        for name in ("conf", "part"):
            (folder / name).mkdir()
        subprocess.run(
            [set_password, "-p", "-c", "-f", folder / "sasldb2", "-u", "localhost", user],
            input=password.encode(),
            check=True,
            timeout=20,
        )
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        with subprocess.Popen(
            [program, "-C", folder / "imapd.conf", "-M", folder / "cyrus.conf", "-p", folder / "pid", "-D"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                _await(process, port)
                yield Cyrus(port, folder / "ca.pem", user, password)
            finally:
                process.terminate()
                process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, "cyrmaster does not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("cyrmaster does not listen")
