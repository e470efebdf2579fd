"""The terminal's own settings: quiet while we work, and as they were when we leave. POSIX only.

While a reply is due the terminal does not echo (a password typed ahead would be shown) and gives its bytes at once, so
that what was typed ahead can be put at the next prompt *unsent* (sec-U2). Whatever way the program ends, `restore()`
puts back what was found (sec-U4).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import termios
from collections.abc import Iterator
from types import FrameType

_ESCAPES = re.compile(r"\x1b\[200~|\x1b\[201~|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b.?")


class Terminal:
    """Settings of the terminal behind file descriptor `fd`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._found = termios.tcgetattr(fd)

    def quiet(self) -> None:
        """No echo, no line editing; Ctrl-C and its like still work."""
        with contextlib.suppress(termios.error, OSError):
            settings = termios.tcgetattr(self._fd)
            settings[3] &= ~(termios.ECHO | termios.ICANON)
            settings[6][termios.VMIN] = 1
            settings[6][termios.VTIME] = 0
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)

    def restore(self) -> None:
        """As it was found."""
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._found)

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """No echo for one line, where nothing else changes the terminal (`--plain`); a signal puts it back, too."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.restore()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        kept = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
        try:
            with contextlib.suppress(termios.error, OSError):
                settings = termios.tcgetattr(self._fd)
                settings[3] &= ~termios.ECHO
                termios.tcsetattr(self._fd, termios.TCSANOW, settings)
            yield
        finally:
            self.restore()
            for number, handler in kept.items():
                signal.signal(number, handler)

    def typed_ahead(self) -> str:
        """What was typed since the last prompt: lines end with LF, escape sequences are left out, backspace obeyed."""
        data = b""
        with contextlib.suppress(OSError, ValueError):
            while select.select([self._fd], [], [], 0)[0]:
                more = os.read(self._fd, 65536)
                if not more:
                    break
                data += more
        return edit(data.decode("utf-8", "replace"))


def edit(typed: str) -> str:
    """Raw keys as the text that they would have given."""
    out: list[str] = []
    for ch in _ESCAPES.sub("", typed).replace("\r\n", "\n").replace("\r", "\n"):
        if ch in "\x7f\b":
            if out and out[-1] != "\n":
                out.pop()
        elif ch == "\x15":
            while out and out[-1] != "\n":
                out.pop()
        elif ch == "\n" or ch == "\t" or ch >= " ":
            out.append(ch)
    return "".join(out)
