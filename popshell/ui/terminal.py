"""The terminal behind a file descriptor: its settings, what was typed ahead, and the user's pager. POSIX only.

While a reply is due the terminal does not echo (a password typed ahead would be shown) and gives its bytes at once, so
that what was typed ahead can be put at the next prompt *unsent* (sec-U2). Whatever way the program ends, `restore()`
puts back what was found (sec-U4).

No shell reads the pager's command. `less` is told to be secure (no files, no commands), to obey colours and nothing
else, and to chop long rows: our rows have their margin, and a row that it broke would have none (sec-R5).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import termios
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from time import monotonic
from types import FrameType

#: Rows that are handed over in one go.
_ROWS = 500
_CTRL_C = rb"\x1b\[(?:99(?::\d*)*;5(?::1)?(?:;[\d:]*)?u|27;5;99~)"
_ENTER = r"\x1b\[13(?:;1(?::1)?)?u"
#: xterm's OSC 11, the question for the background; then DA1, which terminals answer that do not know it.
_ASK_BACKGROUND = b"\x1b]11;?\x1b\\\x1b[c"
_BACKGROUND = r"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})"
#: The answers to both.
ANSWERS = r"\x1b\]11;[^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[\?[\d;]*c"
_ESCAPES = r"\x1b\[200~|\x1b\[201~|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b.?"


class Terminal:
    """Settings of the terminal behind file descriptor `fd`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._found = termios.tcgetattr(fd)
        self._taken = b""

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
        with contextlib.suppress(OSError, ValueError):
            while select.select([self._fd], [], [], 0)[0] and self.take():
                pass
        data, self._taken = self._taken, b""
        return edit(data.decode("utf-8", "replace"))

    def background(self, patience: float = 0.2) -> tuple[int, ...]:
        """The terminal's background as red, green, blue (0 to 255); () if it does not say in `patience` seconds.

        What was typed meanwhile is kept. Echo is off afterwards, as after `quiet()`.
        """
        self.quiet()
        try:
            os.write(1, _ASK_BACKGROUND)  # standard input may be open for reading alone: `popshell </dev/tty`
        except OSError:
            return ()
        end = monotonic() + patience
        while select.select([self._fd], [], [], max(end - monotonic(), 0))[0] and self.take():
            if any(answer[0].endswith("c") for answer in re.finditer(ANSWERS, self._text())):
                break
        said = re.search(_BACKGROUND, self._text())
        return tuple(int(part, 16) * 255 // (16 ** len(part) - 1) for part in said.groups()) if said else ()

    def _text(self) -> str:
        return self._taken.decode("latin-1")

    def take(self) -> bool:
        """Keep the keys that are there for `typed_ahead`; False at the end of the input."""
        with contextlib.suppress(OSError):
            data = os.read(self._fd, 65536)
            self._taken += data
            return bool(data)
        return False

    def interrupts(self) -> bool:
        """Whether a Ctrl-C is among the keys kept that was sent as an escape sequence; it is taken out."""
        match = re.search(_CTRL_C, self._taken)
        if match:
            self._taken = self._taken[: match.start()] + self._taken[match.end() :]
        return match is not None


def edit(typed: str) -> str:
    """Raw keys as the text that they would have given."""
    out: list[str] = []
    if "\x1b" in (text := re.sub(ANSWERS, "", typed)):
        text = re.sub(_ESCAPES, "", re.sub(_ENTER, "\r", text))
    for ch in text.replace("\r\n", "\n").replace("\r", "\n"):
        if ch in "\x7f\b":
            if out and out[-1] != "\n":
                out.pop()
        elif ch == "\x15":
            while out and out[-1] != "\n":
                out.pop()
        elif ch == "\n" or ch == "\t" or ch >= " ":
            out.append(ch)
    return "".join(out)


# -- the pager ---------------------------------------------------------------------------------------------------------


def pager_command(environ: Mapping[str, str]) -> list[str] | None:
    """The pager with its arguments; None if there is none."""
    with contextlib.suppress(ValueError):  # a quotation mark that is not closed
        words = shlex.split(environ.get("PAGER", "")) or ["less"]
        for found in (words, ["less"], ["more"]):
            if shutil.which(found[0]):
                return [*found, "-RS"] if os.path.basename(found[0]) == "less" else found
    return None


async def page_out(rows: Iterable[str], encoding: str, environ: Mapping[str, str]) -> bool:
    """Show the rows until the user leaves the pager; False if there is none."""
    words = pager_command(environ)
    if words is None:
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, env={**environ, "LESSSECURE": "1"}
        )
    except OSError:
        return False
    assert process.stdin is not None
    try:
        left = iter(rows)
        with contextlib.suppress(ConnectionError):  # the pager may be left in the middle
            while some := list(islice(left, _ROWS)):
                process.stdin.write("".join(f"{row}\n" for row in some).encode(encoding, "backslashreplace"))
                await process.stdin.drain()
        process.stdin.close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return True
