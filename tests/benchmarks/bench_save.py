"""`:save N FILE` of 100 MB, in ratio to poplib's `retr`, and its memory: `python tests/benchmarks/bench_save.py`.

A server in a process of its own sends the message from memory over loopback. poplib's part is `retr(1)` alone, without
writing a file; ours is the whole meta command in a Shell, the file on disk included. Each is run in turn, medians are
compared. Memory is what the resident size of a process of its own rises by at most (`ru_maxrss`), against its size when
it is logged in.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import poplib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from popshell.course.catalog import Catalog, bundled
from popshell.net.connector import Connector
from popshell.server.mailserver import MailServer
from popshell.ui.display import new_shell
from popshell.ui.exports import save_message
from popshell.ui.metas import Metas
from popshell.ui.screen import PlainScreen
from popshell.ui.shell import Options

LINE = b"TWFpbCBpcyBvbGRlciB0aGFuIHRoZSB3ZWIsIGFuZCBQT1AzIGlzIG9sZGVyIHRoYW4gbW9zdCBv\r\n"


def serve(megabytes: int) -> None:
    """Answer +OK to every line, and RETR with a message; the port is the first line of standard output."""
    body = (LINE * 99 + b"..stuffed\r\n") * (megabytes * 1_000_000 // (len(LINE) * 100) + 1)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def talk(peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            peer.sendall(b"+OK ready\r\n")
            for line in lines:
                peer.sendall(b"+OK\r\n")
                if line.startswith(b"RETR"):
                    peer.sendall(body)
                    peer.sendall(b".\r\n")

    while True:
        threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()


def theirs(port: int) -> tuple[float, float, int]:
    poplib._MAXLINE = 1 << 20  # type: ignore[attr-defined]
    server = poplib.POP3("127.0.0.1", port)
    server.user("a")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, used = time.perf_counter(), time.process_time()
    server.retr(1)
    return (
        time.perf_counter() - start,
        time.process_time() - used,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    )


async def ours(port: int, directory: Path) -> tuple[float, float, int]:
    connector = Connector(MailServer({}, {"en": "English"}, dict))
    options = Options(notes="off", yes=True)
    shell = new_shell(Catalog((bundled(),)), PlainScreen(io.StringIO()), connector.connect, options, Metas)
    assert await shell.connect(f"127.0.0.1:{port}")
    await shell.run("USER a")
    await shell.run("PASS b")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, used = time.perf_counter(), time.process_time()
    await save_message(shell, "1", str(directory / "saved"))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (directory / "saved").stat().st_size > 1_000_000
    shell.close()
    return seconds, used, more


def child(way: str, port: int, directory: str) -> tuple[float, float, int]:
    """Seconds, seconds of processor time, and KiB of one run in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", way, "--port", str(port), "--into", directory],
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds, used, more = json.loads(done.stdout)
    return seconds, used, more


def main() -> None:
    parser = argparse.ArgumentParser(description="`:save N FILE` in ratio to poplib")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--into", help="directory of the file; default: a temporary one")
    parser.add_argument("--child", choices=("serve", "ours", "poplib"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "serve":
        serve(options.megabytes)
    elif options.child == "poplib":
        print(json.dumps(theirs(options.port)))
    elif options.child:
        print(json.dumps(asyncio.run(ours(options.port, Path(options.into)))))
    else:
        compare(options.megabytes, options.rounds, options.into)


def compare(megabytes: int, rounds: int, into: str | None) -> None:
    command = [sys.executable, __file__, "--child", "serve", "--megabytes", str(megabytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            found: dict[str, list[tuple[float, float, int]]] = {"ours": [], "poplib": []}
            for _ in range(rounds):
                for way, runs in found.items():
                    with tempfile.TemporaryDirectory(dir=into) as directory:
                        runs.append(child(way, port, directory))
        finally:
            server.kill()
    for way, runs in found.items():
        seconds, used = (statistics.median(run[at] for run in runs) for at in (0, 1))
        print(f"{way:7} {seconds:6.2f} s, {used:6.2f} s of processor time, {max(run[2] for run in runs):8,} KiB more")
    for at, what in enumerate(("time", "processor time")):
        ratio = statistics.median(theirs[at] / ours[at] for ours, theirs in zip(*found.values(), strict=True))
        print(f"{what}: poplib's / ours {ratio:.2f}")


if __name__ == "__main__":
    main()
