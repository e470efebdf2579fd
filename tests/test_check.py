"""popshell check: what it sends, how it reports, and that no peer can hold it up; test_conformance.py tests the rows.

The server is `popshell serve`, started by --exec as a student's would be, or a `Fake` on a port.
"""

from __future__ import annotations

import io
import json
import math
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest
from interop.practice import mail_server, serving
from support import ROOT, each
from terminal.driver import environment
from test_conformance import BECAUSE, FILE, KNOWN, STRICT

from popshell import cli
from popshell.check import OPTIONS
from popshell.conformance.player import Allowed, play
from popshell.conformance.session import Session as ConformanceSession
from popshell.net.address import Address, Destination, TlsMode
from popshell.net.channel import Bounds, ChannelError, Channels, free_port
from popshell.protocol.sasl import Credentials
from popshell.reach import Case, junit, tap
from popshell.script import STAGES

CANARY = "canary-Kx81"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*argv: str, stdin: bytes = b"", command: str = "check") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = cli.run([command, "--lang", "en", *argv])
        return (code, *capfd.readouterr())

    return run


def practice(tmp_path: Path) -> tuple[str, Path]:
    """The command that starts a practice server, and the log of what it hears."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "popshell", "serve", "--account", f"learner:{CANARY}", "--log", str(log), "--json"]
    return f"env PYTHONPATH={shlex.quote(str(ROOT))} {shlex.join(command)} --port {{port}}", log


def heard(log: Path) -> list[str]:
    """The lines that were sent in all sessions."""
    records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [record["command"]["line"] for record in records if record.get("command")]


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_the_practice_server_passes_and_nothing_is_fetched_marked_or_wrong(tmp_path: Path, run: Run) -> None:
    command, log = practice(tmp_path)
    report = tmp_path / "report.xml"
    account = f"learner\n{CANARY}\n".encode()
    code, out, err = run("--exec", command, "--json", "--junit", str(report), stdin=account)
    found = json.loads(out)
    assert code == found["exit_code"] == 0
    missed = {row["id"] for row in found["rows"] if row["verdict"] == "missed"}
    assert missed <= KNOWN.keys()
    assert found["summary"]["MUST"]["missed"] == 0
    assert found["summary"]["MUST"]["met"] > 25
    assert len(found["rows"]) == len(FILE.row)
    assert len(found["unobservable"]) == len(FILE.unseen)
    lines = heard(log)
    words = {line.split(" ")[0].upper() for line in lines}
    assert {"USER", "PASS", "STAT", "QUIT"} <= words
    assert not words & {"RETR", "TOP", "DELE"}
    assert '"-ERR [AUTH]' not in log.read_text("utf-8")
    for text in (out, err, report.read_text("utf-8"), log.read_text("utf-8")):
        assert CANARY not in text
    suites = ElementTree.parse(report).getroot()
    assert sum(int(suite.get("tests") or 0) for suite in suites) == len(FILE.row)
    assert {suite.get("failures") for suite in suites} == {"0"}


def test_fetch_and_the_text(tmp_path: Path, run: Run) -> None:
    command, log = practice(tmp_path)
    code, out, _ = run("--exec", command, "--fetch", stdin=f"learner\n{CANARY}\n".encode())
    words = [line.split(" ")[0].upper() for line in heard(log)]
    assert code == 0
    assert {"RETR", "TOP"} <= {*words}
    assert "DELE" not in words
    for part in (
        "RFC 1939\n",
        "RFC 6856\n",
        "Summary\n  MUST: ",
        "with --destructive (",
        "with --wrong-login (",
        "§5 MUST: ",
    ):
        assert part in out
    assert "with --fetch" not in out


def test_without_an_account_and_as_tap(tmp_path: Path, run: Run) -> None:
    command, log = practice(tmp_path)
    code, out, _ = run("--exec", command, "--tap")
    rows = out.splitlines()
    assert code == 0
    assert rows[:2] == ["TAP version 14", f"1..{len(FILE.row)}"]
    assert sum(row.startswith(("ok ", "not ok ")) for row in rows) == len(FILE.row)
    assert all("# TODO SHOULD" in row for row in rows if row.startswith("not ok"))
    assert not {line.split(" ")[0] for line in heard(log)} & {"PASS", "APOP", "RETR", "DELE"}


def served(tmp_path: Path, *more: str) -> Iterator[tuple[int, int, Path]]:
    """A practice server on its own: clear port, TLS port, CA file."""
    ca, clear, tls = tmp_path / "ca.pem", free_port(), free_port()
    command = [
        sys.executable,
        "-m",
        "popshell",
        "serve",
        "--port",
        str(clear),
        "--tls-port",
        str(tls),
        "--ca-out",
        str(ca),
    ]
    with subprocess.Popen(
        [*command, "--account", f"learner:{CANARY}", *more], stdout=subprocess.PIPE, env=environment(tmp_path)
    ) as it:
        assert it.stdout is not None
        it.stdout.readline()
        it.stdout.readline()
        try:
            yield clear, tls, ca
        finally:
            it.terminate()


def test_set_to_be_strict_the_practice_server_misses_nothing(tmp_path: Path, run: Run) -> None:
    """What it misses otherwise is for learning, and can be switched off."""
    with contextmanager(served)(tmp_path, *STRICT) as (clear, _, ca):
        place = ("--tls", "stls", "--ca", str(ca), f"localhost:{clear}")
        code, out, _ = run(*place, "--destructive", "--json", stdin=f"learner\n{CANARY}\n".encode())
        found = json.loads(out)
        assert code == 0
        assert [row["id"] for row in found["rows"] if row["verdict"] == "missed"] == []
        met = {row["id"] for row in found["rows"] if row["verdict"] == "met"}
        assert {"5034-4-no-plaintext-in-clear", "5034-4-other-mechanism"} <= met
        assert sum(level["met"] for level in found["summary"].values()) > 100


def test_under_tls(tmp_path: Path, run: Run) -> None:
    """By STLS, TLS first and what needs clear text after it without an account; TLS from the first octet."""
    account = f"learner\n{CANARY}\n".encode()
    with contextmanager(served)(tmp_path) as (clear, tls, ca):
        common = ("--ca", str(ca), "--json")
        code, out, _ = run(f"localhost:{clear}", "--tls", "stls", *common, stdin=account)
        rows = {row["id"]: row for row in json.loads(out)["rows"]}
        assert (code, json.loads(out)["tls"]) == (0, True)
        verdicts = [rows[one]["verdict"] for one in ("2595-4-begins-tls", "2595-4-active-already", "1939-4-greeting")]
        assert verdicts == ["met", "met", "met"]
        assert rows["2595-4-capa"]["verdict"] == "met"
        code, out, _ = run(f"localhost:{tls}", "--tls", "implicit", *common, stdin=account)
        rows = {row["id"]: row for row in json.loads(out)["rows"]}
        assert (code, json.loads(out)["tls"]) == (0, True)
        assert rows["2595-4-begins-tls"]["option"] == OPTIONS["clear"]
        script = tmp_path / "a.pop"
        script.write_text("@tls\nC: USER {name}\nC: PASS {secret}\nS: …\nS: +OK*\nC: STLS\nS: -ERR*\n")
        for argv, stage in (
            ((f"localhost:{clear}", "--ca", str(ca)), ""),
            ((f"localhost:{clear}", "--tls", "stls", "--ca", str(ca)), ""),
            ((f"localhost:{tls}", "--tls", "implicit", "--ca", str(ca)), ""),
            ((f"localhost:{tls}", "--tls", "implicit"), "tls"),
            ((f"localhost:{tls}", "--tls", "stls", "--timeout", "0.5"), "greeting"),
            ((f"localhost:{clear}",), "tls"),
        ):
            assert run(str(script), *argv, stdin=account, command="run")[0] == STAGES[stage], argv
    with serving(mail_server(faults={"without": ["STLS"]})) as (port, _):  # in clear text no option shows it
        rows = {row["id"]: row for row in json.loads(run(f"127.0.0.1:{port}", "--json")[1])["rows"]}
        assert (rows["2595-4-begins-tls"]["reason"], rows["2595-4-begins-tls"]["option"]) == ("capability", None)


def test_where_stls_is_refused_nothing_is_sent(run: Run) -> None:
    said: list[bytes] = []

    def refuses(line: socket.socket) -> None:
        line.sendall(b"+OK\r\n")
        while data := line.recv(4096):
            said.append(data)
            line.sendall(b"-ERR\r\n")

    with fake(refuses) as port:
        argv = (f"127.0.0.1:{port}", "--tls", "stls", "--timeout", "0.5")
        code, out, _ = run(*argv, stdin=f"learner\n{CANARY}\n".encode())
    assert (code, out, said) == (3, "", [b"STLS\r\n"])


def test_options_are_named_for_reasons_that_there_are() -> None:
    assert OPTIONS.keys() <= BECAUSE.keys()


# -- a server that is started ------------------------------------------------------------------------------------------


def server_with_a_child(folder: Path) -> Path:
    """`popd PORT FILE`: refuses everything; its child, whose number it writes into FILE, hears no SIGTERM."""
    program = folder / "popd"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, socket, sys, time\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    open(sys.argv[2], 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "while True:\n"
        "    line, _ = server.accept()\n"
        "    try:\n"
        "        line.sendall(b'+OK hello\\r\\n')\n"
        "        for _ in line.makefile('rb'):\n"
        "            line.sendall(b'-ERR no\\r\\n')\n"
        "    except OSError:\n"
        "        pass\n"
    )
    program.chmod(0o755)
    return program


def gone(process: str) -> None:
    state = Path(f"/proc/{process}/stat")
    for _ in range(500):  # the signal is sent; the system takes its time
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(state.read_text())


def test_what_was_started_is_stopped_with_its_children(tmp_path: Path, run: Run) -> None:
    program, child = server_with_a_child(tmp_path), tmp_path / "child"
    code, out, _ = run("--exec", f"{program} {{port}} {child}", "--timeout", "0.5", "--json")
    assert (code, json.loads(out)["summary"]["MUST"]["met"] > 0) == (0, True)
    gone(child.read_text())


def test_signals_stop_it_too(tmp_path: Path) -> None:
    program = server_with_a_child(tmp_path)
    command = [sys.executable, "-m", "popshell", "check", "--timeout", "60", "--exec"]
    under_way = {
        number: subprocess.Popen(
            [*command, f"{program} {{port}} {tmp_path / number.name}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path),
        )
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
    }  # fmt: skip
    for number, process in under_way.items():
        child = tmp_path / number.name
        for _ in range(2000):
            if child.exists() and child.read_text():
                break
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
        assert b"Traceback" not in err
        gone(child.read_text())


def test_arguments_that_are_wrong_and_no_connection(tmp_path: Path, run: Run) -> None:
    def ends(argv: tuple[str, ...], code: int, says: str) -> None:
        found, out, err = run(*argv)
        assert (found, out) == (code, "")
        assert says in err

    silent = tmp_path / "silent.py"
    silent.write_text(
        "import socket, sys, time\nkept = socket.create_server(('127.0.0.1', int(sys.argv[1])))\ntime.sleep(60)\n"
    )
    never = f"{sys.executable} {silent} {{port}}"
    each(
        [
            (
                ("--exec", never, "--tls", "none", "--timeout", "0.5"),
                3,
                f"`popshell check --exec '{never}' --tls none --t",
            ),
            ((), 2, "--exec"),
            (("127.0.0.1:1", "--exec", "true"), 2, "--exec"),
            (("127.0.0.1:1", "--json", "--tap"), 2, "--tap"),
            (("127.0.0.1:1", "--destructive"), 2, "--user"),
            (("127.0.0.1:1", "--user", "mei"), 2, "password"),
            (("smtp://a",), 2, "smtp://a"),
            (("--exec", "/no/such/program {port}"), 2, "/no/such/program"),
            (("--exec", "'"), 2, "cannot be started"),
            (("--exec", ""), 2, "--exec"),
            (("--exec", "false"), 3, "Write `{port}`"),
            (("127.0.0.1:1",), 3, "127.0.0.1:1"),
        ],
        ends,
    )


def lf_everywhere(line: socket.socket) -> None:
    line.sendall(b"+OK hello\r\n")
    for command in line.makefile("rb"):
        line.sendall(b"+OK\n" if command[:4] != b"XYZZ" else b"-ERR\n")


def test_a_server_that_dies_passes_nothing(tmp_path: Path, run: Run) -> None:
    """All rows that could be missed are unseen then: that is no 0."""
    program = tmp_path / "popd.py"
    program.write_text(
        "import os, socket, sys\n"
        "line = socket.create_server(('127.0.0.1', int(sys.argv[1]))).accept()[0]\n"
        "line.sendall(b'+OK\\r\\n')\n"
        "line.recv(99)\n"
    )
    command = f"{sys.executable} {program} {{port}}"
    code, out, _ = run("--exec", command)
    assert code == 3
    assert "0 missed, 0" not in out
    assert "In the end there was no connection any more: " in out
    assert "RFC 6856" not in out, "a heading with nothing below it"
    code, out, _ = run("--exec", command, "--json")
    assert (code, json.loads(out)["exit_code"]) == (3, 3)
    assert json.loads(out)["lost"]


def test_a_students_first_server_is_reported_by_its_cause(run: Run) -> None:
    """Lines that end with LF alone are one fault, not one of each row; what STAT does not say, LIST does."""

    def serves(greeting: bytes, stat: bytes) -> Callable[[socket.socket], None]:
        def serve(line: socket.socket) -> None:
            line.sendall(greeting)
            for command in line.makefile("rb"):
                listing = command.startswith(b"LIST")
                line.sendall({b"STAT\r\n": stat}.get(command, b"+OK\r\n1 9\r\n.\r\n" if listing else b"+OK\r\n"))

        return serve

    account = f"learner\n{CANARY}\n".encode()
    with fake(serves(b"+OK hello\n", b"")) as port:
        code, out, _ = run(f"127.0.0.1:{port}", "--json", stdin=account)
    found = json.loads(out)
    missed = [row for row in found["rows"] if row["verdict"] == "missed"]
    assert code == 1
    assert 1 <= len(missed) <= 4
    assert all(row["fact"] == "bare-lf" and "ends with a bare LF" in row["because"] for row in missed)
    assert {row["reason"] for row in found["rows"] if row["verdict"] == "unseen"} >= {"greeting"}
    with fake(serves(b"+OK hello\n", b"")) as port:
        _, out, _ = run(f"127.0.0.1:{port}", stdin=account)
        _, listed, _ = run(f"127.0.0.1:{port}", "--tap", stdin=account)
    assert "S: +OK hello\\n\n" in out
    assert "S: +OK hello\\n\n" in listed
    with fake(lf_everywhere) as port:
        _, out, _ = run(f"127.0.0.1:{port}", stdin=account)
        _, listed, _ = run(f"127.0.0.1:{port}", "--json", stdin=account)
    assert out.count("bare LF") == out.count("Cause 1: ") == 1
    assert out.count("Cause 1, as above.") > 5
    rows = [row for row in json.loads(listed)["rows"] if row["reason"] == "problem"]
    assert all("ends with a bare LF" in row["because"] and row["evidence"] for row in rows)
    assert all(any(line.startswith("C: ") for line in row["evidence"]) for row in rows)
    with fake(serves(b"+OK hello\r\n", b"+OK 1 message\r\n")) as port:
        _, out, _ = run(f"127.0.0.1:{port}", "--json", "--timeout", "0.3", stdin=account)
    rows = {row["id"]: row for row in json.loads(out)["rows"]}
    assert rows["1939-5-list-empty"]["verdict"] == "unseen"
    assert rows["1939-4-numbers"]["verdict"] == "met"


# -- peers that are no servers -----------------------------------------------------------------------------------------


@contextmanager
def fake(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of 127.0.0.1; `serve` has each connection until it returns."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    done = threading.Event()

    def one(line: socket.socket) -> None:
        with line:
            line.settimeout(5)
            with suppress(OSError):
                serve(line)

    def accept() -> None:
        while not done.is_set():
            try:
                line, _ = server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=one, args=(line,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        done.set()
        thread.join()
        server.close()


def silent(line: socket.socket) -> None:
    line.recv(1)


def hangs_up(line: socket.socket) -> None:
    line.sendall(b"+OK\r\n")


def floods(line: socket.socket) -> None:
    while True:
        line.sendall(b"+OK\r\n" * 1000)


def never_ends(line: socket.socket) -> None:
    line.sendall(b"+OK\r\n")
    line.recv(100)
    line.sendall(b"+OK\r\n")
    while True:
        line.sendall(b"TOP\r\n" * 1000)


def one_line(line: socket.socket) -> None:
    while True:
        line.sendall(b"x" * 4096)


def half_a_greeting(line: socket.socket) -> None:
    line.sendall(b"+OK")
    line.recv(1)


def drips(line: socket.socket) -> None:
    line.sendall(b"+OK\r\n")
    line.recv(100)
    while not done_dripping.wait(0.05):
        line.sendall(b"+")


def agrees(line: socket.socket) -> None:
    line.sendall(b"+OK <<<<<<@@@@@@>\r\n")
    while line.recv(4096):
        line.sendall(b"+OK\r\n")


def hard_rows(line: socket.socket) -> None:
    """Rows that a careless regular expression would take for ever over."""
    line.sendall(b"+OK <a@b>" + b"<" * 2600 + b"@" * 2600 + b"\r\n")
    while line.recv(4096):
        line.sendall(b"+OK\r\nSASL" + b" PLAIN" * 100_000 + b"  \r\n.\r\n")


def echoes(line: socket.socket) -> None:
    line.sendall(b"+OK\r\n")
    said = b""
    while data := line.recv(4096):
        said = (said + data.replace(b"\r\n", b" "))[-400:]
        line.sendall(b"+OK " + said + b"\r\n.\r\n")


done_dripping = threading.Event()
BOUNDS = Bounds(reply=0.2, total=2.0, octets=2 * 1024 * 1024, silences=3)


def test_no_peer_holds_it_up() -> None:
    def ends(serve: Callable[[socket.socket], None]) -> None:
        with fake(serve) as port:
            target = Destination(Address("127.0.0.1", port, TlsMode.NONE))
            with closing(Channels(target, lambda error: error.code, BOUNDS)) as channels:
                allowed = Allowed(True, True, True, 1000, math.inf)
                results = play(
                    FILE.row, channels.connect, Credentials("learner", CANARY), allowed, lambda seconds: None
                )
                assert len(results) == len(FILE.row)
                assert all(not one.reason or one.reason in BECAUSE for one in results)
                assert channels.octets <= BOUNDS.octets + 1024 * 1024
                assert CANARY not in repr(results)

    each([(one,) for one in (silent, hangs_up, floods, never_ends, one_line, drips, agrees, hard_rows, echoes)], ends)
    done_dripping.set()


def test_half_a_line_is_a_silence() -> None:
    with fake(half_a_greeting) as port:
        target = Destination(Address("127.0.0.1", port, TlsMode.NONE))
        with closing(Channels(target, lambda error: error.code, BOUNDS._replace(reply=0.05))) as channels:
            results = play(FILE.row, channels.connect, Credentials("learner", CANARY), Allowed(), lambda seconds: None)
            assert [one.fact for one in results].count("bound-silence") > 50
            assert channels.octets == 3 * BOUNDS.silences


def test_what_comes_unasked_is_looked_for_as_long_as_the_server_is_slow() -> None:
    def slow(line: socket.socket) -> None:
        line.sendall(b"+OK\r\n")
        line.recv(100)
        done_dripping.wait(0.03)
        line.sendall(b"+OK\r\n")
        done_dripping.wait(0.01)
        line.sendall(b"+OK unasked\r\n")
        line.recv(1)

    done_dripping.clear()
    with fake(slow) as port:
        target = Destination(Address("127.0.0.1", port, TlsMode.NONE))
        with closing(Channels(target, lambda error: error.code, BOUNDS)) as channels:
            assert ConformanceSession(channels.connect()).say(b"NOOP")[0].came == b"+OK unasked\r\n"


def test_bounds_have_their_codes() -> None:
    with fake(floods) as port:
        target = Destination(Address("127.0.0.1", port, TlsMode.NONE))
        for bounds, code in (
            (BOUNDS._replace(octets=10), "bound-octets"),
            (BOUNDS._replace(total=0.0), "bound-time"),
            (BOUNDS._replace(silences=0), "bound-silence"),
        ):
            with closing(Channels(target, lambda error: error.code, bounds)) as channels:
                with pytest.raises(ChannelError) as caught:
                    all(channels.connect().receive(True) for _ in range(100))
                assert caught.value.code == code


def test_the_password_is_in_no_report_of_a_server_that_repeats_it(tmp_path: Path, run: Run) -> None:
    report = tmp_path / "report.xml"
    account = f"learner\n{CANARY}\n".encode()
    with fake(echoes) as port:
        argv = (f"127.0.0.1:{port}", "--fetch", "--wrong-login", "--timeout", "0.3", "--junit", str(report))
        code, out, err = run(*argv, stdin=account)
    assert code == 1
    assert "with --wrong-login" not in out, "it was given: more than one takes --destructive"
    assert "MISSED" in out
    for text in (out, err, report.read_text("utf-8")):
        assert CANARY not in text


def test_a_silent_server_is_no_connection(run: Run) -> None:
    with fake(silent) as port:
        code, out, err = run(f"127.0.0.1:{port}", "--timeout", "0.2")
    assert (code, out) == (3, "")
    assert "greeting" in err


# -- forms -------------------------------------------------------------------------------------------------------------


def test_reports_are_well_formed_whatever_is_in_them() -> None:
    odd = "\x00\x1b]<&\"'>\ud800\uffff#"
    cases = [
        Case("a", odd, odd, "passed"),
        Case("a", "b", odd, "failed", odd, (odd, "]]>")),
        Case("a", "c", odd, "skipped", odd),
        Case("d", "e", odd, "failed", odd, (), "SHOULD"),
    ]
    root = ElementTree.fromstring(junit(odd, cases).encode("utf-8", "backslashreplace"))
    assert [(s.get("tests"), s.get("failures"), s.get("skipped")) for s in root] == [("3", "1", "1"), ("1", "0", "1")]
    rows = tap(cases).splitlines()
    assert [row.split(" - ")[0] for row in rows if "ok " in row[:7]] == ["ok 1", "not ok 2", "ok 3", "not ok 4"]
    assert "".join(rows).isprintable()
