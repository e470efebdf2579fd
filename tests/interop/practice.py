"""The practice server and raw sockets for tests: no sleeping, a clock set by hand, a loop that must be silent.

A Wire is a client that does nothing of its own: it sends what it is told, reads what is there, and can end a connection
in the ways that real ones end: FIN, half-closed, RST.
"""

from __future__ import annotations

import asyncio
import gc
import queue
import socket
import ssl
import struct
import threading
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from popshell.net.listener import Listener
from popshell.net.peer import NewSession
from popshell.server.maildrop import Message, from_files
from popshell.server.mailserver import MailServer
from popshell.server.settings import Limits

ROOT = Path(__file__).resolve().parents[2]
MAILDROP = ROOT / "lessons" / "maildrops" / "default"
STAMP = "<1896.697170952@popshell.example>"
USER, PASSWORD = "learner", "secret"


@dataclass
class Clock:
    """The practice server's clock; it moves when a test moves it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def default_files() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(MAILDROP.glob("*.eml"))]


def default_messages() -> tuple[Message, ...]:
    return from_files(default_files())


@cache
def texts(language: str) -> dict[str, str]:
    return tomllib.loads((ROOT / "lessons" / language / "replies.toml").read_text(encoding="utf-8"))


def mail_server(messages: tuple[Message, ...] | None = None, **more: Any) -> MailServer:
    """The server of the lessons: account learner, password secret, the default maildrop."""
    settings: dict[str, Any] = {
        "accounts": {USER: PASSWORD},
        "languages": {"en": "English", "zh-Hant": "繁體中文"},
        "texts": texts,
        "messages": default_messages() if messages is None else messages,
        "new_stamp": lambda: STAMP,
    }
    return MailServer(**settings | more)


def ipv6() -> bool:
    """Whether the kernel has it on loopback: asked without anything of ours."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@asynccontextmanager
async def listening(
    served: MailServer | NewSession, *, limits: Limits | None = None, **how: Any
) -> AsyncIterator[tuple[Listener, int]]:
    """A server, or what makes sessions, on a loopback port; `how` goes to `Listener.start`."""
    if isinstance(served, MailServer):
        served, limits = served.session, served.limits
    listener = Listener(served, limits or Limits())
    _, port = await listener.start(**how)
    try:
        yield listener, port
    finally:
        await listener.close()
        assert listener.connections == 0


@contextmanager
def serving(server: MailServer, **how: Any) -> Iterator[tuple[int, str]]:
    """The server in a thread of its own, for clients that block: gives its port and its CA as PEM."""
    ready: queue.SimpleQueue[tuple[int, str] | BaseException] = queue.SimpleQueue()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with listening(server, **how) as (listener, port):
            ready.put((port, listener.certificate_pem()))
            await stop.wait()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as error:
            ready.put(error)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        started = ready.get(timeout=20)
        if isinstance(started, BaseException):
            raise started
        yield started
    finally:
        with suppress(RuntimeError):  # it failed, and its loop is closed
            loop.call_soon_threadsafe(stop.set)
        thread.join()


async def together(rows: Iterable[tuple[Any, ...]], check: Callable[..., Awaitable[None]]) -> None:
    """Check rows at the same time, for servers pause after a refusal; all that fail are reported."""
    rows, gate = list(rows), asyncio.Semaphore(8)

    async def one(*row: Any) -> None:
        async with gate:
            await check(*row)

    found = await asyncio.gather(*(one(*row) for row in rows), return_exceptions=True)
    failed = [f"{row!r}:\n    {error!r}" for row, error in zip(rows, found, strict=True) if error is not None]
    assert rows, "the table is empty"
    assert not failed, f"{len(failed)} of {len(rows)} rows fail:\n" + "\n".join(failed)


def run(coroutine: Coroutine[Any, Any, None], seconds: float = 30) -> None:
    """Run a test. What asyncio would only log fails it, and so does a socket that nobody closed."""
    complaints: list[dict[str, Any]] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        try:
            async with asyncio.timeout(seconds):
                await coroutine
        finally:
            while _dialled:
                _dialled.pop().close()

    gc.freeze()  # what is there already is not looked through: that took 70 ms each time
    try:
        asyncio.run(guarded())
        gc.collect()  # an unclosed transport warns when it is collected, and warnings are errors
    finally:
        gc.unfreeze()
    assert not complaints, complaints


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds; `run` bounds it."""
    while not condition():
        await asyncio.sleep(0)


#: Client sockets of the test under way: it need not close them, also when it fails.
_dialled: list[socket.socket] = []


class Wire:
    """A raw client socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = bytearray()

    @classmethod
    async def dial(cls, port: int, *, source: str = "127.0.0.1", receive_buffer: int | None = None) -> Wire:
        sock = socket.socket()
        _dialled.append(sock)
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, most: int = 65536) -> bytes:
        """What is there, b"" at the end; a reset is an end, too."""
        await asyncio.sleep(0)  # sock_recv does not let the loop turn while there is something
        try:
            return await asyncio.get_running_loop().sock_recv(self.sock, most)
        except ConnectionResetError:
            return b""

    async def upto(self, end: bytes = b"\r\n") -> bytes:
        """Everything up to and with `end`. Fails at the end of the stream."""
        begin = 0
        while (found := self.got.find(end, begin)) < 0:
            begin = max(0, len(self.got) - len(end))
            data = await self.receive()
            assert data, bytes(self.got[-200:])
            self.got += data
        stop = found + len(end)
        head = bytes(self.got[:stop])
        del self.got[:stop]
        return head

    async def ask(self, line: str, end: bytes = b"\r\n") -> bytes:
        await self.send(line.encode() + b"\r\n")
        return await self.upto(end)

    async def log_in(self) -> None:
        assert (await self.upto()).startswith(b"+OK")
        assert (await self.ask(f"USER {USER}")).startswith(b"+OK")
        assert (await self.ask(f"PASS {PASSWORD}")).startswith(b"+OK")

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        while data := await self.receive():
            self.got += data
        rest = bytes(self.got)
        self.got.clear()
        return rest

    async def rest_after(self, line: str) -> bytes:
        """Send a line after which the server closes; everything up to the end of the stream."""
        await self.send(line.encode() + b"\r\n")
        return await self.rest()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class TlsWire(Wire):
    """A Wire under TLS, the handshake in the test's hands."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, name: str = "127.0.0.1") -> None:
        super().__init__(wire.sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def shake_hands(self, right_behind: bytes = b"") -> None:
        """Shake hands; `right_behind` goes out in the same packet as the client's last flight."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await super().send(self._outgoing.read())
                data = await super().receive()
                assert data, "closed in the handshake"
                self._incoming.write(data)
            else:
                break
        if right_behind:
            self._tls.write(right_behind)
        if self._outgoing.pending:
            await super().send(self._outgoing.read())

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await super().send(self._outgoing.read())

    async def receive(self, most: int = 65536) -> bytes:
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                data = await super().receive(most)
                if not data:
                    return b""
                self._incoming.write(data)


def trusting(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    return context


__all__ = [
    "PASSWORD",
    "STAMP",
    "USER",
    "Clock",
    "Limits",
    "TlsWire",
    "Wire",
    "default_files",
    "default_messages",
    "listening",
    "mail_server",
    "run",
    "serving",
    "texts",
    "trusting",
    "until",
]
