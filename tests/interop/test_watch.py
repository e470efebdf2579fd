"""`popshell watch` between mail programs and a real server, Dovecot, whose certificate it verifies."""

from __future__ import annotations

import asyncio
from pathlib import Path

from test_watch import Watching, watching

from interop.dovecot import Dovecot, dovecot
from interop.practice import run
from interop.programs import call, need
from popshell.net.address import TlsMode

PASSWORD = "Canary-4711"
SCRAM = "auth_mechanisms = plain login apop cram-md5 scram-sha-1 scram-sha-256\n"
#: Program, how it reaches PopShell, its way to log in, how PopShell reaches Dovecot.
WAYS = (
    ("mpop", "stls", "scram-sha-256", TlsMode.IMPLICIT),
    ("mpop", "none", "cram-md5", TlsMode.STLS),
    ("mpop", "implicit", "plain", TlsMode.STLS),
    ("fetchmail", "none", "user", TlsMode.IMPLICIT),
    ("fetchmail", "stls", "user", TlsMode.NONE),
    ("curl", "implicit", "CRAM-MD5", TlsMode.STLS),
    ("curl", "stls", "LOGIN", TlsMode.IMPLICIT),
)


def command(program: str, how: str, auth: str, name: str, seen: Watching, folder: Path) -> list[str | Path]:
    """Fetches message 2, or all, into the file `got`."""
    port, tls = (seen.implicit if how == "implicit" else seen.clear), how != "none"
    if program == "curl":
        address = f"pop3{'s' * (how == 'implicit')}://localhost:{port}/2"
        options = ["-sS", "--noproxy", "*", "--cacert", seen.ca, "-u", f"{name}:{PASSWORD}", "-o", "got"]
        return ["curl", *options, "--login-options", f"AUTH={auth}", *["--ssl-reqd"] * (how == "stls"), address]
    config = folder / "rc"
    if program == "mpop":
        rows = {
            "host": "localhost",
            "port": port,
            "user": name,
            "passwordeval": f"echo {PASSWORD}",
            "auth": auth,
            "tls": "on" if tls else "off",
            "delivery": f"mda cat >>{folder}/got",
            "received_header": "off",
            **({"tls_starttls": "on" if how == "stls" else "off", "tls_trust_file": seen.ca} if tls else {}),
        }
        config.write_text("account a\n" + "".join(f"{key} {value}\n" for key, value in rows.items()))
        words: list[str | Path] = ["mpop", "-C", config, "a"]
    else:
        deliver = folder / "deliver"
        deliver.write_text(f"#!/bin/sh\nexec cat >>{folder}/got\n")
        deliver.chmod(0o700)
        check = f"sslproto 'TLS1.2+' sslcertck sslcertfile '{seen.ca}'" if tls else "sslproto ''"
        config.write_text(
            f"set invisible\npoll localhost protocol pop3 port {port} no dns\n  user '{name}' password '{PASSWORD}'"
            f" {check} fetchall no keep no rewrite no mimedecode no stripcr mda '{deliver}'\n"
        )
        words = ["fetchmail", "-f", config, "--nodetach", "--nosyslog", "--pidfile", folder / "pid"]
    config.chmod(0o600)
    return words


def test_mail_programs_and_dovecot(tmp_path: Path) -> None:
    for program in {way[0] for way in WAYS}:
        need(program)
    names = [f"user{number}" for number in range(len(WAYS))]
    with dovecot(names, PASSWORD, extra=SCRAM) as server:

        async def body(number: int, program: str, how: str, auth: str, upstream: TlsMode) -> None:
            folder = tmp_path / names[number]
            folder.mkdir()
            await fetch(server, folder, names[number], (program, how, auth), upstream)

        async def all_of_them() -> None:
            for number, way in enumerate(WAYS):
                await body(number, *way)

        run(all_of_them(), 60)


async def fetch(server: Dovecot, folder: Path, name: str, way: tuple[str, str, str], upstream: TlsMode) -> None:
    port = server.tls_port if upstream is TlsMode.IMPLICIT else server.port
    ca = "" if upstream is TlsMode.NONE else server.ca_file.read_text("ascii")
    async with watching(port, folder, upstream, ca) as seen:
        done = await asyncio.to_thread(call, command(*way, name, seen, folder), folder)
        assert done.returncode == 0, (way, done.stderr, seen.text)
        whole = [content.replace(b"\r\n", b"\n") for _, content in server.files]
        got = (folder / "got").read_bytes().replace(b"\r\n", b"\n")
        assert (got == whole[1]) if way[0] == "curl" else all(content.rstrip() in got for content in whole), way
        if way[0] != "curl":
            assert server.left(name) == 0, "erased by QUIT"
        assert "C: QUIT" in seen.text
        assert "[STATE: TRANSACTION]" in seen.text
        assert PASSWORD not in seen.text + seen.raw
        assert any(row.get("command") for row in seen.records)
