"""Lines without a terminal: standard input as it comes, from a pipe, a file or a dumb terminal (sec-U5).

prompt_toolkit would write escapes into the pipe and lose a last line without newline; asyncio cannot watch a regular
file. So a thread reads, and the event loop takes over line by line. Every line runs, the last one without newline too.

Trap: the thread reads below Python's buffer. One that waits inside the buffer holds its lock, and an interpreter that
ends then (`:quit`, Ctrl-C) cannot get it and aborts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import BinaryIO

_BLOCK = 64 * 1024
#: How many lines are read before somebody wants them.
_AHEAD = 64


async def lines_of(stream: BinaryIO) -> AsyncIterator[str]:
    """The lines of `stream`, line ends cut off; what is not UTF-8 is kept by surrogateescape."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    raw = getattr(stream, "raw", stream)

    def put(line: bytes | None) -> bool:
        room.acquire()
        try:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        except RuntimeError:
            return False  # the loop is gone: nobody reads any more
        return True

    def read() -> None:
        rest = bytearray()
        try:
            while data := raw.read(_BLOCK):
                # Only what is new is searched, so that a line of many blocks costs no more than its length.
                if b"\n" not in data:
                    rest += data
                    continue
                *lines, tail = (bytes(rest) + data).split(b"\n")
                rest[:] = tail
                if not all(map(put, lines)):
                    return
        except (OSError, ValueError):
            pass
        if not rest or put(bytes(rest)):
            put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        room.release()
        yield line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
