"""perf-V5: memory of an idle session of the practice server, in KiB, and its ratio to the limit of 10 KiB.

    .venv/bin/python tests/benchmarks/bench_idle_memory.py [SESSIONS]

The server runs in a child process, the clients (bare sockets) in this one. What grows is the child's private memory
(`/proc/self/smaps_rollup`, Linux): Python objects, asyncio's transport, our connection and the ServerSession; what the
kernel keeps for a socket is not in it. Measured for sessions that have been greeted, for sessions that are logged in,
each to a maildrop of its own, and for sessions under TLS; beside them, to have a scale, a server that does nothing but
greet through asyncio's streams. Medians of three children each.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import ssl
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interop.practice import Limits, mail_server, trusting

from popshell.net.listener import Listener
from popshell.server.mailserver import MailServer

LIMIT = 10.0
RUNS = 3
KINDS = ("greeted", "logged in", "under TLS", "asyncio streams")


def private_memory() -> int:
    """Octets of memory that are this process's alone."""
    gc.collect()
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_")) * 1024


async def serve(kind: str, count: int) -> None:
    """The child: a port, then the memory whenever a line comes in."""
    pem = ""
    if kind == "asyncio streams":

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"+OK ready\r\n")
            while await reader.readline():
                writer.write(b"+OK\r\n")
            writer.close()

        streams = await asyncio.start_server(greet, "127.0.0.1", 0, backlog=1024)
        port = streams.sockets[0].getsockname()[1]
    else:
        accounts = {str(number): "secret" for number in range(count)}
        server: MailServer = mail_server(
            accounts=accounts, limits=Limits(connections=count, connections_an_address=count)
        )
        listener = Listener(server.session, server.limits)
        _, port = await listener.start(implicit_tls=kind == "under TLS")
        if kind == "under TLS":
            pem = listener.certificate_pem()
    print(port, len(pem), flush=True)
    print(pem, end="", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(private_memory(), flush=True)


def measure(kind: str, count: int) -> float:
    """KiB a session."""
    with subprocess.Popen(
        [sys.executable, __file__, "serve", kind, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        port, size = map(int, child.stdout.readline().split())
        pem = child.stdout.read(size)
        context = trusting(pem) if pem else None
        dial(port, context, kind, "0").close()  # what is made once
        before = ask(child)
        clients = [dial(port, context, kind, str(number)) for number in range(count)]
        after = ask(child)
        for client in clients:
            client.close()
        child.stdin.close()
        child.terminate()
    return (after - before) / count / 1024


def ask(child: subprocess.Popen[str]) -> int:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return int(child.stdout.readline())


def dial(port: int, context: ssl.SSLContext | None, kind: str, name: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    if context is not None:
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    assert client.recv(512).startswith(b"+OK")
    if kind == "logged in":
        for line in (f"USER {name}", "PASS secret"):
            client.sendall(line.encode() + b"\r\n")
            assert client.recv(512).startswith(b"+OK")
    return client


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for kind in KINDS:
        number = min(count, 200) if kind == "under TLS" else count
        sizes = [measure(kind, number) for _ in range(RUNS)]
        median = statistics.median(sizes)
        verdict = f"ratio to the limit {median / LIMIT:.2f}" if kind in ("greeted", "logged in") else "no limit set"
        print(f"{kind:16} {number:5} sessions  {median:7.1f} KiB a session  {verdict}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
    else:
        main()
