"""Lines without a terminal: standard input as it comes, from a pipe, a file or a dumb terminal (sec-U5).

prompt_toolkit would write escapes into the pipe and lose a last line without newline; asyncio cannot watch a regular
file. So a thread reads, and the event loop takes over line by line. Every line runs, the last one without newline too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import BinaryIO


async def lines_of(stream: BinaryIO, most: int = 1 << 20) -> AsyncIterator[str]:
    """The lines of `stream`, line ends cut off; what is not UTF-8 is kept by surrogateescape."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)

    def put(line: bytes | None) -> bool:
        try:
            asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()
        except (RuntimeError, asyncio.CancelledError):
            return False  # the loop is gone: nobody reads any more
        return True

    def read() -> None:
        try:
            while (line := stream.readline(most)) and put(line):
                pass
        except (OSError, ValueError):
            pass
        put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
