"""Lines without a terminal: standard input as it comes, from a pipe, a file or a dumb terminal (sec-U5).

prompt_toolkit would write escapes into the pipe and lose a last line without newline; asyncio cannot watch a regular
file. So a thread reads, and the event loop takes over line by line. Every line runs, the last one without newline too.

Trap: the thread reads below Python's buffer. One that waits inside the buffer holds its lock, and an interpreter that
ends then (`:quit`, Ctrl-C) cannot get it and aborts.
"""

from __future__ import annotations

import asyncio
import threading
from typing import BinaryIO

_BLOCK = 64 * 1024
#: How many lines are read before somebody wants them.
_AHEAD = 64


class Lines:
    """The lines of `stream`, line ends cut off; what is not UTF-8 is kept by surrogateescape.

    An asynchronous iterator that may be asked again after its wait was cancelled, and after the end of a terminal's
    input (Ctrl-D), which is not its last word. The running loop is the one that takes the lines.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._raw = getattr(stream, "raw", stream)
        self._again = stream.isatty()
        threading.Thread(target=self._read, daemon=True).start()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        line = await self._queue.get()
        self._room.release()
        if line is None:
            if not self._again:
                self._queue.put_nowait(None)  # the next call finds the end, too
            raise StopAsyncIteration
        return _text(line)

    def read_ahead(self) -> list[str]:
        """The lines that were read and not asked for yet; they are not given again."""
        lines: list[str] = []
        while not self._queue.empty():
            line = self._queue.get_nowait()
            if line is None:
                self._queue.put_nowait(None)
                break
            self._room.release()
            lines.append(_text(line))
        return lines

    def _put(self, line: bytes | None) -> bool:
        self._room.acquire()
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
        except RuntimeError:
            return False  # the loop is gone
        return True

    def _read(self) -> None:
        rest = bytearray()
        try:
            while (data := self._raw.read(_BLOCK)) or self._again:
                if not data:
                    if not self._end(rest):
                        return
                # Only what is new is searched, so that a line of many blocks costs no more than its length.
                elif b"\n" not in data:
                    rest += data
                else:
                    *lines, tail = (bytes(rest) + data).split(b"\n")
                    rest[:] = tail
                    if not all(map(self._put, lines)):
                        return
        except (OSError, ValueError):
            self._again = False
        self._end(rest)

    def _end(self, rest: bytearray) -> bool:
        """A last line without its line end, and then the end."""
        last = bytes(rest)
        rest.clear()
        return (not last or self._put(last)) and self._put(None)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")


def lines_of(stream: BinaryIO) -> Lines:
    """The lines of `stream`, read by a thread from now on."""
    return Lines(stream)
