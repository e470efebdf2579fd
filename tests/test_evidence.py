"""Evidence: all that came is in every record, and so is the life of a connection."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from stage import LOCAL, FakeScreen, Stage, run
from support import SCHEMA, each, plain
from terminal.driver import Peer, environment

from popshell.protocol.connection import Connection
from popshell.protocol.records import Exchange
from popshell.session import transcript_lines
from popshell.ui.events import Replied
from popshell.ui.exports import JsonRecords
from popshell.ui.layout import Look
from popshell.visible import width

CANARY = "C4n4ry-77"

# -- the same octets everywhere ----------------------------------------------------------------------------------------

_PIECES = st.one_of(
    st.sampled_from(
        [*b"+OK|+ERR|-ERR |+ |\r\n|\r\n.\r\n|.|1 20\r\n|\n|\r|\t|\\|\\x41|\xff".split(b"|"), CANARY.encode()]
    ),
    st.just("\u202e\u0301\u90f5\U0001f4e7\x85".encode()),
    st.binary(max_size=6),
)
_TYPED = st.sampled_from(
    [*f"STAT|LIST|RETR 1|TOP 1 2|CAPA|STLS|QUIT|USER mei|PASS {CANARY}|AUTH PLAIN||*".split("|"), plain("mei", CANARY)]
)


def exchanges_of(greeting: bytes, moves: list[tuple[str, bytes]]) -> list[Exchange]:
    connection, found = Connection(), []
    found += connection.received(b"+OK" + greeting + b"\r\n")
    for typed, answer in moves:
        found += connection.sent(typed.encode("utf-8", "surrogateescape") + b"\r\n", 0.0)
        found += connection.received(answer)
    found += connection.close()
    return [event for event in found if isinstance(event, Exchange)]


def octets(view: str) -> bytes:
    """What a view (popshell.visible) stands for; the mask stays."""

    def back(match: re.Match[str]) -> str:
        escape = match[0]
        if escape[1] == "x":
            return bytes([int(escape[2:], 16)]).decode("utf-8", "surrogateescape")
        return chr(int(escape[2:], 16)) if escape[1] in "uU" else {"t": "\t", "n": "\n", "r": "\r"}.get(escape[1], "\\")

    text = re.sub(r"\\(?:[\\tnr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", back, view)
    return text.encode("utf-8", "surrogateescape")


def of_transcript(rows: list[str]) -> tuple[bytes, bytes]:
    """What was sent and received by a transcript."""
    sent, received = (
        b"".join(octets(row[3:]) + b"\r\n" for row in rows if row.startswith(mark)) for mark in ("C: ", "S: ")
    )
    return sent, received.removesuffix(b"\r\n") if rows[-1].endswith(", no CRLF") else received


def of_raw(shown: str) -> tuple[bytes, bytes]:
    """The same by `:raw`."""
    sent, received = (
        b"".join(octets(row[5:]) for row in shown.split("\n") if row[2:3] == mark and row[3:4] in "|>")
        for mark in ("C", "S")
    )
    return sent, received


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=8), st.lists(st.tuples(_TYPED, st.lists(_PIECES, max_size=9).map(b"".join)), max_size=5))
def test_json_transcript_and_raw_have_the_same_octets(greeting: bytes, moves: list[tuple[str, bytes]]) -> None:
    exchanges = exchanges_of(greeting, moves)
    for exchange in exchanges:
        (record,) = JsonRecords().records(Replied(exchange))
        SCHEMA.validate(record)
        sent, received = ("".join(record[name]).encode("utf-8", "surrogateescape") for name in ("sent", "received"))
        assert of_transcript(list(transcript_lines([exchange]))) == (sent, received)
        stage = Stage(screen=FakeScreen(columns=500, rows=10_000))
        stage.shell.record = [(0.0, Replied(exchange))]
        run(stage.shell.run(":raw"))
        assert of_raw(stage.text) == (sent, received)
        unmasked = "".join(exchange.received_lines(masked=False)).encode("utf-8", "surrogateescape")
        assert unmasked == exchange.received + exchange.rest, "nothing is lost"
        if not exchange.secrets and not exchange.steps:
            assert received == unmasked, "and nothing masked without need"


# -- the life of a connection ------------------------------------------------------------------------------------------


def popshell(*arguments: str, stdin: bytes = b"", home: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "popshell", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=30, env=environment(home))


def life_of(data: bytes) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in data.splitlines()]
    for record in found:
        SCHEMA.validate(record)
    times = [record["time"] for record in found]
    assert times == sorted(times)
    return [record for record in found if record["type"] == "connection"]


def with_certificate(tmp_path: Path, name: str) -> ssl.SSLContext:
    import trustme

    context, authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA()
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    return context


def hangs_up(peer: Peer) -> bytes:
    """An answer after which the server closes."""
    peer.hang_up()
    return b""


def test_the_life_of_a_connection_is_recorded(tmp_path: Path) -> None:
    clear, gone = Peer(), Peer(greeting=b"")
    clear.answers["NOOP"] = lambda: hangs_up(clear)
    right, wrong = (Peer(tls=with_certificate(tmp_path, name)) for name in ("127.0.0.1", "other.example"))
    ca, ca_of_wrong = ("--ca", str(tmp_path / "127.0.0.1.pem")), ("--ca", str(tmp_path / "other.example.pem"))
    gone.close()
    at, stands = "127.0.0.1", ["connecting", "connected"]

    def check(options: tuple[str, ...], peer: Peer, stdin: bytes, events: list[str], facts: dict[str, Any]) -> None:
        done = popshell(f"{at}:{peer.port}", "--json", *options, stdin=stdin, home=tmp_path)
        life = life_of(done.stdout)
        assert [record["event"] for record in life] == events
        assert {(r["host"], r["address"], r["port"], r["connection"]) for r in life} == {(at, at, peer.port, 1)}
        for name, wanted in facts.items():
            found = life[-1][name]
            assert wanted == (found if isinstance(wanted, str) else {key: found[key] for key in wanted})

    each(
        [
            ((), clear, b"QUIT\n", [*stands, "closed"], {"how": "quit", "by": "server"}),
            ((), clear, b"NOOP\nSTAT\n", [*stands, "closed"], {"how": "lost", "by": "server"}),
            ((), clear, b":drop\n", [*stands, "closed"], {"how": "dropped", "by": "client"}),
            ((), gone, b"", ["connecting", "not-connected", "failed"], {"error": {"code": "refused"}}),
            (
                ("--tls", "implicit", *ca),
                right,
                b"",
                [*stands, "tls", "closed"],
                {"how": "left", "by": "client"},
            ),
            (
                ("--tls", "implicit", *ca_of_wrong),
                wrong,
                b"",
                [*stands, "certificate-refused"],
                {"error": {"code": "certificate-wrong-host"}},
            ),
            (
                ("--tls", "implicit"),
                right,
                b"",
                [*stands, "certificate-refused"],
                {"error": {"code": "certificate-unknown"}},
            ),
        ],
        check,
    )
    named = life_of(popshell("--json", "nosuch.invalid:110", home=tmp_path).stdout)
    assert [record["event"] for record in named] == ["resolving", "failed"]
    unreadable = life_of(popshell("--json", "--", "a b", home=tmp_path).stdout)
    assert unreadable == []
    for peer in (clear, right, wrong):
        peer.close()


def test_a_server_that_hangs_up_between_commands_is_reported_in_every_mode(tmp_path: Path) -> None:
    """The next line is in the pipe already. A terminal is in tests/terminal/test_leaving.py."""
    peer = Peer()
    peer.answers["NOOP"] = lambda: peer.hang_up() or b""
    for options, wanted in (((), b"The server closed the connection"), (("--json",), b'"by": "server", "how": "lost"')):
        done = popshell(f"127.0.0.1:{peer.port}", *options, stdin=b"NOOP\nSTAT\nSTAT\n", home=tmp_path)
        assert done.returncode == 3
        assert done.stdout.count(wanted) == 1
        assert (done.stderr if options else done.stdout).count(b"There is no connection, so nothing was sent") == 2
    peer.close()


def test_the_reader_may_go_away(tmp_path: Path) -> None:
    many = "printf 'CAPA\\n%.0s' $(seq 3000)"
    none = "true"  # the reader is gone before a first line is run
    for options, lines in (("", many), ("--json", many), ("--json", none), ("--json=1", many)):
        shell = f"{sys.executable} -m popshell {options}"
        command = f"{lines} | {shell} | head -1; echo ${{PIPESTATUS[1]}}"
        environ = environment(tmp_path, {"PYTHONUNBUFFERED": "1"} if lines == none else {})
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=30, env=environ)
        assert done.stdout.split()[-1] == b"141"
        assert done.stderr == b"" or options
        assert b"Traceback" not in done.stderr


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_log_survives_a_kill(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"older": 1}\n')
    command = [sys.executable, "-m", "popshell", "--log", str(log)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment(tmp_path)
    ) as running:
        assert running.stdin is not None
        running.stdin.write(f"USER learner\nPASS secret\nRETR 1\nPASS {CANARY}\nNOOP\n".encode())
        running.stdin.flush()
        end = time.monotonic() + 20
        while b'"NOOP"' not in log.read_bytes() and time.monotonic() < end:
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    older, *rows = log.read_text("ascii").splitlines()
    assert older == '{"older": 1}'
    assert [record["event"] for record in life_of("\n".join(rows).encode())] == ["connecting", "connected"]
    assert json.loads(rows[-1])["command"]["line"] == "NOOP"
    assert CANARY not in log.read_text()
    log.write_text('{"half": ')
    done = popshell("--log", str(log), home=tmp_path)
    assert log.read_text().startswith('{"half": \n{"version": 2')
    if Path("/dev/full").exists():
        done = popshell("--log", "/dev/full", home=tmp_path)
        assert (done.returncode, b"--log cannot be written" in done.stdout) == (3, True)
    os.mkfifo(tmp_path / "fifo")
    for path in ("no/such/directory/log", str(tmp_path), str(tmp_path / "fifo")):
        done = popshell("--log", path, home=tmp_path)
        assert (done.returncode, b"Traceback" in done.stderr, done.stdout) == (2, False, b"")


HOSTILE = b"+OK \x1b]0;t\x07<script>&amp;``` \xc2\x9b31m\xe2\x80\xae\xff\r\n# <b>\x1b[2J ````\r\n.\r\n"


def test_exports_have_the_colours_of_the_theme_or_of_the_reader(tmp_path: Path) -> None:
    async def go(theme: str, ground: str, ink: str) -> None:
        stage = Stage(screen=FakeScreen(look=Look(theme)))
        await stage.begin(f":save {tmp_path / theme}.svg", f":save {tmp_path / theme}.html")
        picture, page = ((tmp_path / f"{theme}.{suffix}").read_text("utf-8") for suffix in ("svg", "html"))
        assert f'<rect width="100%" height="100%" fill="{ground}"/>' in picture
        assert f' fill="{ink}">' in picture
        for wish, paper in (("light", "#ffffff"), ("dark", "#000000")):
            rules = page.partition(f"(prefers-color-scheme: {wish})")[2].partition("@media")[0]
            assert f"background: {paper}" in rules
            assert re.search(r"body \.gi \{ color: #", rules), "+OK"

    dark, light = ("#000000", "#fff"), ("#ffffff", "#000")
    each(
        [("dark", *dark), ("dark-16", *dark), ("light", *light), ("none", *light), ("auto", *light)],
        lambda *row: run(go(*row)),
    )


def test_save_by_suffix(tmp_path: Path) -> None:
    """Each file is harmless, new, private, and holds the session without its secrets."""
    stage = Stage(
        place=LOCAL, script={"USER": b"+OK\r\n", "PASS": b"-ERR\r\n", "RETR": HOSTILE, "NOOP": b"+OK half<close>"}
    )
    names = ["s", "s.pop", "s.txt", "s.md", "s.html", "s.svg", "s.json", "s.JSON"]

    async def go() -> None:
        await stage.begin("USER mei", f"PASS {CANARY}", "RETR 1", "NOOP")
        for name in names:
            await stage.run(f":save {tmp_path / name}")
            before = (tmp_path / name).read_bytes()
            assert "left alone" in await stage.run(f":save {tmp_path / name}")
            assert (tmp_path / name).read_bytes() == before
        for name in names[3:]:
            assert "Usage" in await stage.run(f":save --with-secrets {tmp_path / ('x' + name)}")
            assert not (tmp_path / f"x{name}").exists()

    run(go())
    texts = {name: (tmp_path / name).read_text("utf-8") for name in names}

    def check(name: str) -> None:
        text = texts[name]
        assert all(ch == "\n" or ch.isprintable() for ch in text), "cat of it is harmless"
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert CANARY not in text
        assert "PASS" in text
        assert "half" in text, "an incomplete reply"
        assert "<script>" not in text or name[1:] in ("", ".pop", ".txt", ".md") or name[1:].lower() == ".json"

    each([(name,) for name in names], check)
    assert texts["s"] == texts["s.pop"] == texts["s.txt"]
    saved = json.loads(texts["s.json"])
    for record in saved:
        SCHEMA.validate(record)
    assert [(r.get("event") or (r["command"] and r["command"]["name"])) for r in saved] == [
        None,
        "USER",
        "PASS",
        "RETR",
        "NOOP",
        "closed",
    ]
    picture = ElementTree.fromstring(texts["s.svg"])
    assert all(width("".join(row.itertext())) <= 103 for row in picture.iter("{http://www.w3.org/2000/svg}text"))
    remarks = [row for row in texts["s.html"].split("\n") if '">#' in row]
    assert remarks
    assert not any("`" in row for row in remarks), "marks of the notes are none of their text"
    assert "http" not in texts["s.svg"].replace("http://www.w3.org/2000/svg", "") + texts["s.html"]
    fence = texts["s.md"].split("\n")[2]
    assert fence == "`````pop3"
    assert texts["s.md"].count("`````") == 2
