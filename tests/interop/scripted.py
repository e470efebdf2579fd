"""A server that plays a script: a greeting, then one answer for each line that it is sent, whatever the line is.

An answer is a row of acts: bytes to send, CLOSE (FIN), RESET (RST), Piecemeal (one packet an octet), or TLS. It is how
tests show a client what real servers did, byte for byte, without those servers.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum


class Act(Enum):
    CLOSE = "close"
    RESET = "reset"
    TLS = "tls"


@dataclass(frozen=True)
class Piecemeal:
    """Bytes that arrive one by one."""

    data: bytes


Step = bytes | Act | Piecemeal
#: one answer; a single step needs no brackets
Answer = Step | tuple[Step, ...]


class ScriptedServer(asyncio.Protocol):
    """One connection. `heard` is every line that came, in clear or under TLS."""

    def __init__(self, script: Sequence[Answer], tls: ssl.SSLContext | None, heard: list[bytes]) -> None:
        self._answers = list(script)
        self._tls = tls
        self._heard = heard
        self._line = b""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answer()

    def data_received(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\r\n")
        for line in lines:
            self._heard.append(line)
            self._answer()

    def inject(self, data: bytes) -> None:
        """Send past our own TLS, as somebody on the way can."""
        assert self._transport is not None
        os.write(self._transport.get_extra_info("socket").fileno(), data)

    def _answer(self) -> None:
        if self._answers:
            answer = self._answers.pop(0)
            self._task = asyncio.get_running_loop().create_task(
                self._play(answer if isinstance(answer, tuple) else (answer,), self._task)
            )

    async def _play(self, steps: tuple[Step, ...], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        for step in steps:
            assert self._transport is not None
            match step:
                case bytes():
                    if steps[-1] is Act.TLS:
                        self._transport.pause_reading()
                    self._transport.write(step)
                case Piecemeal(data):
                    for octet in data:
                        self._transport.write(bytes((octet,)))
                        await asyncio.sleep(0)
                        await asyncio.sleep(0)
                case Act.CLOSE:
                    self._transport.close()
                case Act.RESET:
                    sock: socket.socket = self._transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self._transport.abort()
                case Act.TLS:
                    assert self._tls is not None
                    try:
                        self._transport = await asyncio.get_running_loop().start_tls(
                            self._transport, self, self._tls, server_side=True
                        )
                    except OSError:
                        self._transport = None


@asynccontextmanager
async def playing(
    script: Sequence[Answer],
    tls: ssl.SSLContext | None = None,
    heard: list[bytes] | None = None,
    made: list[ScriptedServer] | None = None,
) -> AsyncIterator[int]:
    """The script on a loopback port, played anew for each connection; `made` collects those."""
    lines: list[bytes] = [] if heard is None else heard
    made = [] if made is None else made

    def one() -> ScriptedServer:
        made.append(ScriptedServer(script, tls, lines))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in made:
            if connection._task is not None:
                await connection._task
            if connection._transport is not None:
                connection._transport.abort()
        await server.wait_closed()
