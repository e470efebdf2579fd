"""How long a key, Ctrl-C, SIGTERM and SIGHUP wait while a server floods: `python tests/benchmarks/bench_flood.py`.

    python tests/benchmarks/bench_flood.py [--rounds N]

A server in a process of its own sends as fast as it is read: `endless` is a reply to RETR that never ends (it is cut
off at 64 MiB), `60 MB` one that does, `unasked` are lines that no command asked for. The shell runs on a
pseudo-terminal, with and without --plain. What is measured is the time from the key or the signal to what it does:
the prompt after Ctrl-C, then a key's echo while the flood goes on, the end of the program. It comes when the server has
sent so many megabytes, and in each further round 0.1 s later; the last mark is where the reply is at its end, and all
that is done with it is due. What was written to the terminal is counted, too.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LIMIT = 0.2
LINE = b"Mail is older than the web, and POP3 is older than most mail programs.\r\n"
BLOCK = LINE * 900
#: of each flood, the megabytes at which something is done
FLOODS = {"endless": (2, 30, 67), "60 MB": (2, 30, 60), "unasked": (0,)}


def serve(kind: str) -> None:
    """One client; its port is the first line of standard output, then a line for each mark that was passed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    peer = listener.accept()[0]
    peer.sendall(b"+OK ready\r\n")
    with peer, peer.makefile("rb") as lines:
        for line in lines:
            peer.sendall(b"+OK\r\n")
            if line.startswith(b"RETR"):
                break
        sent, marks = 0, [mark * 1_000_000 for mark in FLOODS[kind]]
        try:
            while kind != "60 MB" or sent < 60_000_000:
                while marks and sent >= marks[0]:
                    print(marks.pop(0), flush=True)
                peer.sendall(b"X unasked\r\n" * 4000 if kind == "unasked" and sent else BLOCK)
                if kind == "unasked" and not sent:
                    peer.sendall(b".\r\n")
                sent += len(BLOCK)
            peer.sendall(b".\r\n")
            for mark in marks:
                print(mark, flush=True)
        except OSError:
            return
        time.sleep(5)


class Shell:
    """A shell that is logged in on a pseudo-terminal and has asked for message 1."""

    def __init__(self, kind: str, plain: bool, home: Path) -> None:
        from terminal.driver import Pty

        self.server = subprocess.Popen(
            [sys.executable, __file__, "serve", kind], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.server.stdout is not None
        place = f"127.0.0.1:{self.server.stdout.readline().strip()}"
        self.pty = Pty(*(["--plain"] if plain else []), "--lang", "en", place, home=home)
        self.raw = b""
        for line in ("", "USER a\r", "PASS b\r", "RETR 1\r"):
            before = len(self.raw)
            self.pty.type(line)
            # The greeting and each reply; before RETR a question.
            self.until(lambda: (b"asked once" if line[:1] == "R" else b"+OK") in self.raw[before:], 20)  # noqa: B023
            self.pause()
        self.raw = b""
        self.pty.type("y\r")

    def marked(self, number: int) -> None:
        assert self.server.stdout is not None
        for _ in range(number + 1):
            while not select.select([self.server.stdout], [], [], 0)[0]:
                self.take(0.001)
            self.server.stdout.readline()

    def take(self, seconds: float) -> None:
        if select.select([self.pty.master], [], [], seconds)[0]:
            try:
                data = os.read(self.pty.master, 65536)
            except OSError:
                return
            self.raw += data
            if b"\x1b[6n" in data:
                self.pty.send(b"\x1b[1;1R")  # where the cursor is

    def pause(self) -> None:
        while select.select([self.pty.master], [], [], 0.4)[0]:
            self.take(0)

    def until(self, there, seconds: float = 10.0) -> float:  # type: ignore[no-untyped-def]
        """Seconds until it is there."""
        began = time.perf_counter()
        while not there():
            if time.perf_counter() - began > seconds:
                raise SystemExit(f"did not come: {self.raw[-600:].decode(errors='replace')}")
            self.take(0.001)
        return time.perf_counter() - began

    def ended(self) -> bool:
        return self.pty.process.poll() is not None

    def close(self) -> None:
        self.pty.close()
        self.server.kill()
        self.server.wait()
        assert self.server.stdout is not None
        self.server.stdout.close()


def measure(kind: str, plain: bool, act: str, mark: int, delay: float, home: Path) -> tuple[dict[str, float], float]:
    shell = Shell(kind, plain, home)
    try:
        shell.marked(mark)
        later = time.perf_counter() + delay
        shell.until(lambda: time.perf_counter() >= later)
        before = len(shell.raw)
        found: dict[str, float] = {}
        if act == "Ctrl-C":
            shell.pty.type("\x03")
            # Without a prompt: the reply is still due, is over, or was whole and its note ends what is shown of it.
            signs = (b"still due", b"CLOSED", b"octets in") if plain else ("▸".encode(),)
            found["Ctrl-C"] = shell.until(lambda: shell.ended() or any(sign in shell.raw[before:] for sign in signs))
            if not plain:
                before = len(shell.raw)
                shell.pty.type("Q")
                found["key"] = shell.until(lambda: b"Q" in shell.raw[before:])
        else:
            shell.pty.signal(getattr(signal, act))
            found[act] = shell.until(shell.ended)
        return found, len(shell.raw)
    finally:
        shell.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="print each run")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as home:
        for kind, marks in FLOODS.items():
            for plain in (False, True):
                worst: dict[str, list[float]] = {}
                written = 0.0
                for at in range(len(marks)):
                    for turn in range(options.rounds):
                        for act in ("Ctrl-C", "SIGTERM", "SIGHUP"):
                            found, octets = measure(kind, plain, act, at, turn * 0.1, Path(home))
                            written = max(written, octets)
                            for name, seconds in found.items():
                                worst.setdefault(name, []).append(seconds)
                said = ", ".join(f"{name} {statistics.median(s):.3f} (most {max(s):.3f})" for name, s in worst.items())
                verdict = "met" if max(map(max, worst.values())) <= LIMIT else "NOT MET"
                mode = "--plain" if plain else "terminal"
                print(f"{kind:8} {mode}: {said} s; {written:,.0f} octets written; {verdict}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main()
