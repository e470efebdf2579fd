"""popshell check on other servers: what they miss is what docs/reference-check.md says of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from support import ROOT, SECRET
from terminal.driver import environment

from interop.cyrus import cyrus
from interop.dovecot import dovecot

PAGE = (ROOT / "docs" / "reference-check.md").read_text("utf-8")


def known(server: str) -> set[str]:
    row = re.search(rf"^\| {server} .*", PAGE, re.M)
    assert row is not None
    return set(re.findall(r"`(\d{4}-[\w-]+)`", row[0]))


def missed(home: Path, *argv: str, user: str = "learner", secret: str = SECRET) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "popshell", "check", "--json", "--destructive", *argv],
        input=f"{user}\n{secret}\n".encode(),
        capture_output=True,
        timeout=300,
        env=environment(home),
    )
    report = json.loads(done.stdout)
    assert done.returncode == report["exit_code"] == 1, done.stderr
    assert secret not in done.stdout.decode() + done.stderr.decode()
    return {row["id"] for row in report["rows"] if row["verdict"] == "missed"}


def test_dovecot(tmp_path: Path) -> None:
    with dovecot(password="canary-7731") as server:
        argv = (f"localhost:{server.port}", "--tls", "none", "--ca", str(server.ca_file))
        assert missed(tmp_path, *argv, secret=server.password) == known("Dovecot")


def test_cyrus(tmp_path: Path) -> None:
    with cyrus(password="canary-7731") as server:
        argv = (f"localhost:{server.tls_port}", "--tls", "implicit", "--ca", str(server.ca_file))
        assert missed(tmp_path, *argv, secret=server.password) == known("Cyrus")
