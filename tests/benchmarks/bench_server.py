"""perf-V1, V3, V4: the practice server's sessions a second and RETR, in ratio to Twisted's pop3 and to Dovecot.

    .venv/bin/python tests/benchmarks/bench_server.py [--rounds N] [--seconds S] [--dovecot] [--costs]

Wants a C compiler (`cc`) and Twisted (`pip install 'popshell[benchmark]'`); `--dovecot` a Dovecot. Every server has the
same 2,000 accounts, and 20 messages of 2 KB and one of 20 MB; Twisted is given TCP_NODELAY, without which it answers 23
small messages a second. Each server is a process of its own on one core, the load generator (load.c, one epoll loop) on
another. Servers take turns in many short rounds, and the median of the rounds' ratios counts: a machine that is
fast now and slow then is so for both.

Beside what was served a second stands what a second of the server's *processor time* served: where other programs use
the cores, that ratio stays as it is. Two things show that the generator is not what is measured: the last column, the
share of its core that it used; and `prepared`, an asyncio.Protocol with nothing but prepared replies, whose sessions a
second it drives with the same ease. `--costs` measures our sessions with 10 to 100,000 accounts, 10 to 10,000 messages,
and beside 10 to 1,000 idle connections: the cost of a session depends on none of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ACCOUNTS = 2000
SMALL = b"Subject: small\r\n\r\n" + (b"x" * 70 + b"\r\n") * 28
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 290_000
#: name, the generator's words, limit against Twisted, limit against Dovecot
LOADS = (
    ("sessions, 50 clients", ("sessions", "50", "0"), 1.2, None),
    ("sessions, 500 clients", ("sessions", "500", "0"), 1.2, None),
    ("RETR of 2 KB, 50 clients", ("retr", "50", "1"), 2.0, None),
    ("RETR of 20 MB, 1 client", ("retr", "1", "21"), 2.0, 1.0),
)


def mails(small: int = 20) -> list[bytes]:
    return [SMALL + b"%d\r\n" % number for number in range(small)] + [LARGE]


# -- the servers, each in a process of its own -------------------------------------------------------------------------


async def serve_popshell(accounts: int, small: int) -> None:
    from interop.practice import Limits, mail_server

    from popshell.net.listener import Listener
    from popshell.server.maildrop import from_files

    limits = Limits(connections=10_000, connections_an_address=10_000)
    messages = from_files([(f"{number:06}", octets) for number, octets in enumerate(mails(small))])
    server = mail_server(messages, accounts=names(accounts), limits=limits, new_stamp=None)
    _, port = await Listener(server.session, limits).start()
    print(port, flush=True)
    await asyncio.Event().wait()


async def serve_prepared() -> None:
    """As fast as asyncio can be: no command is looked at, but for its first letter."""
    taken = memoryview(bytearray(4096))

    class Prepared(asyncio.BufferedProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.write(b"+OK ready\r\n")

        def get_buffer(self, sizehint: int) -> memoryview:
            return taken

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.write(b"+OK 21 20635480\r\n")
            if taken[0] == ord("Q"):
                self.transport.close()

    server = await asyncio.get_running_loop().create_server(Prepared, "127.0.0.1", backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def serve_twisted(accounts: int, small: int) -> None:
    from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
    from twisted.cred.portal import IRealm, Portal
    from twisted.internet import protocol, reactor
    from twisted.mail import pop3
    from zope.interface import implementer

    contents = mails(small)

    @implementer(pop3.IMailbox)
    class Mailbox:
        def listMessages(self, index: int | None = None) -> Any:
            return [len(octets) for octets in contents] if index is None else len(contents[index])

        def getMessage(self, index: int) -> BytesIO:
            return BytesIO(contents[index])

        def getUidl(self, index: int) -> bytes:
            return b"%d" % index

        def deleteMessage(self, index: int) -> None: ...

        def undeleteMessages(self) -> None: ...

        def sync(self) -> None: ...

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Any:
            return pop3.IMailbox, Mailbox(), lambda: None

    class Served(pop3.POP3):
        def connectionMade(self) -> None:
            self.transport.setTcpNoDelay(True)
            super().connectionMade()

    portal = Portal(Realm())
    known = {name.encode(): secret.encode() for name, secret in names(accounts).items()}
    portal.registerChecker(InMemoryUsernamePasswordDatabaseDontUse(**{n.decode(): s for n, s in known.items()}))
    factory = protocol.ServerFactory()

    def build(address: object) -> Served:
        served = Served()
        served.portal, served.factory = portal, factory
        return served

    factory.buildProtocol = build
    port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=1024)
    print(port.getHost().port, flush=True)
    reactor.run()


def names(accounts: int) -> dict[str, str]:
    return {f"user{number}": "secret" for number in range(accounts)}


class Running(NamedTuple):
    port: int
    #: seconds of processor time used so far, by all its processes
    spent: Callable[[], float]


@contextlib.contextmanager
def child(kind: str, accounts: int = ACCOUNTS, small: int = 20) -> Iterator[Running]:
    """`popshell`, `twisted` or `prepared`, on the first core."""
    command = [sys.executable, __file__, "serve", kind, str(accounts), str(small)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            os.sched_setaffinity(process.pid, {cores()[0]})
            assert process.stdout is not None
            yield Running(int(process.stdout.readline()), lambda: spent([process.pid]))
        finally:
            process.terminate()


@contextlib.contextmanager
def dovecot_running() -> Iterator[Running]:
    """Dovecot with processes that serve one connection after the other, all on the first core."""
    from interop.dovecot import dovecot

    files = [(str(number), octets) for number, octets in enumerate(mails())]
    tuned = (
        "service pop3-login {\n service_count = 0\n process_min_avail = 1\n client_limit = 1000\n}\n"
        "service pop3 {\n service_count = 1000\n process_min_avail = 50\n process_limit = 2000\n}\n"
        "mail_max_userip_connections = 0\n"
    )
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0]})  # inherited by all of its processes
    with dovecot([f"user{number}" for number in range(50)], files=files, extra=tuned) as running:
        os.sched_setaffinity(0, before)
        yield Running(running.port, lambda: spent(group()))


def group() -> list[int]:
    """The processes below this one."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found = list(parents.get(os.getpid(), ()))
    for pid in found:
        found += parents.get(pid, ())
    return found


def spent(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return total / 1e9


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


# -- the load ----------------------------------------------------------------------------------------------------------


class Result(NamedTuple):
    a_second: float
    #: by a second of the server's processor time
    a_cpu_second: float
    megabytes: float
    #: the share of its core that the generator used, and the server
    generator: float
    server: float


@contextlib.contextmanager
def generator() -> Iterator[Path]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("no C compiler")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "load"
        subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("load.c")], check=True)
        yield program


def load(program: Path, running: Running, words: tuple[str, str, str], seconds: float) -> Result:
    kind, clients, message = words
    command = [str(program), str(running.port), kind, clients, str(seconds), message]
    before = running.spent()
    other = {cores()[-1]}
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, other))
    if done.returncode:
        raise SystemExit(done.stderr)
    count, octets, wall, own = map(float, done.stdout.split())
    used = running.spent() - before
    return Result(count / wall, count / used, octets / used / 1e6, own / wall, used / wall)


def middle(results: list[Result]) -> Result:
    return Result(*(statistics.median(column) for column in zip(*results, strict=True)))


def compare(program: Path, rounds: int, seconds: float, with_dovecot: bool) -> None:
    with contextlib.ExitStack() as stack:
        servers = {kind: stack.enter_context(child(kind)) for kind in ("popshell", "twisted", "prepared")}
        if with_dovecot:
            servers["dovecot"] = stack.enter_context(dovecot_running())
        for title, words, twisted, dovecot in LOADS:
            results: dict[str, list[Result]] = {kind: [] for kind in servers}
            for _ in range(rounds):
                for kind, running in servers.items():
                    fits = {"dovecot": int(words[1]) <= 50, "prepared": words[0] == "sessions"}
                    if fits.get(kind, True):
                        results[kind].append(load(program, running, words, seconds))
            print(title)
            found = {kind: middle(rows) for kind, rows in results.items() if rows}
            for kind, row in found.items():
                print(
                    f"  {kind:9} {row.a_second:9.1f}/s; a CPU second {row.a_cpu_second:9.1f}, {row.megabytes:7.1f} MB; "
                    f"server {row.server:4.0%}, generator {row.generator:4.0%} of a core"
                )
            for kind, limit in (("twisted", twisted), ("dovecot", dovecot)):
                if kind in found:
                    pairs = list(zip(results["popshell"], results[kind], strict=True))
                    ratios = [statistics.median(ours[at] / theirs[at] for ours, theirs in pairs) for at in (0, 1)]
                    verdict = (
                        "" if limit is None else f"  limit {limit:g}  {'met' if ratios[1] >= limit else 'NOT MET'}"
                    )
                    print(f"  ratio to {kind}: {ratios[0]:.2f}; by processor time {ratios[1]:.2f}{verdict}", flush=True)


def costs(program: Path, seconds: float) -> None:
    """Milliseconds of processor time for one of our sessions."""
    words = ("sessions", "10", "0")

    def show(count: int, what: str, running: Running) -> None:
        each = 1000 / load(program, running, words, seconds).a_cpu_second
        print(f"{count:7} {what:13} {each:.3f} ms a session", flush=True)

    for accounts in (10, 1000, 100_000):
        with child("popshell", accounts) as running:
            show(accounts, "accounts", running)
    for small in (10, 1000, 10_000):
        with child("popshell", small=small) as running:
            show(small, "messages", running)
    with child("popshell") as running, contextlib.ExitStack() as idle:
        open_now = 0
        for count in (10, 100, 1000):
            for _ in range(count - open_now):
                idle.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            open_now = count
            show(count, "idle sessions", running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--dovecot", action="store_true")
    parser.add_argument("--costs", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with generator() as program:
        if options.costs:
            costs(program, options.seconds)
        else:
            compare(program, options.rounds, options.seconds, options.dovecot)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        _, _, kind, accounts, small = sys.argv
        if kind == "popshell":
            asyncio.run(serve_popshell(int(accounts), int(small)))
        elif kind == "prepared":
            asyncio.run(serve_prepared())
        else:
            serve_twisted(int(accounts), int(small))
    else:
        main()
