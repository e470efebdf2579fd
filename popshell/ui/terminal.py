"""The terminal of a file descriptor: its settings, keys that were typed ahead, the user's pager. POSIX only.

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
import tty
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from time import monotonic
from types import FrameType

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.input.base import Input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys

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
            tty.setcbreak(self._fd, termios.TCSANOW)

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


# -- keys --------------------------------------------------------------------------------------------------------------

# A program that died may leave a terminal in kitty's keyboard mode, where Ctrl-C is `ESC[99;5u` and Enter `ESC[13u`
# (https://sw.kovidgoyal.net/kitty/keyboard-protocol/). They are understood: no mode has to be switched off, which older
# terminals would take for something else.

#: `CSI key[:others] ; modifiers[:event] [; text] u` and xterm's `CSI 27 ; modifiers ; key ~`.
_KEY = r"\x1b\[(?:(\d+)((?::\d*)*)(?:;(\d*)(?::(\d+))?(?:;[\d:]*)?)?u|27;(\d+);(\d+)~)"
_BEGUN = r"\x1b\[\??[0-9:;]+\Z|\x1b\]11;[^\x07\x1b]*\x1b?\Z"
_CURSOR = r"\x1b\[\d+;\d+R"
_SHIFT, _ALT, _CTRL = 1, 2, 4
#: kitty's private keys that type something: Enter and the digits of the keypad.
_KEYPAD = {57414: "\r", **{57399 + digit: str(digit) for digit in range(10)}}


def legacy(typed: str) -> str:
    """`typed` with each such sequence as the character that terminals send without the protocol."""
    return re.sub(_KEY, _legacy, typed) if "\x1b[" in typed else typed


def _legacy(match: re.Match[str]) -> str:
    code, others, modifiers, event, xterm, xterm_code = match.groups()
    if event == "3":  # a key that is let go
        return ""
    number = int(code or xterm_code)
    held = max(int(modifiers or xterm or 1) - 1, 0)
    if 57344 <= number <= 63743:
        return _KEYPAD.get(number, "")
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return ""
    key = chr(number)
    if held & _SHIFT and key == "\t":
        key = "\x1b[Z"
    elif held & _SHIFT:
        shifted = (others or "").split(":")[1:2]
        key = chr(int(shifted[0])) if shifted and shifted[0] else key.upper()
    if held & _CTRL and "@" <= key.upper() <= "_":
        key = chr(ord(key.upper()) & 0x1F)
    return ("\x1b" if held & _ALT else "") + key


class Parser(Vt100Parser):
    """prompt_toolkit's parser, which does not know these keys, and waits for the end of a paste for ever."""

    _held = ""

    def feed(self, data: str) -> None:
        if self._in_bracketed_paste:
            self._paste(data)
            return
        data, self._held = self._held + data, ""
        if "\x1b" in data and (begun := re.search(_BEGUN, data)):
            data, self._held = data[: begun.start()], begun[0]
        before, paste, after = data.partition("\x1b[200~")
        # The terminal may answer late what it was asked at the start.
        super().feed(legacy(re.sub(ANSWERS, "", before)) if "\x1b" in before else before)
        if paste:
            super().feed(paste)
            self._paste(after + self._held)

    def _paste(self, data: str) -> None:
        """Ctrl-C ends a paste whose end has not come: what was pasted is dropped with the line."""
        self._held = ""
        arrived = re.sub(_CURSOR, self._cursor, self._paste_buffer + data)
        end = arrived.find("\x1b[201~")
        if end < 0 and ("\x03" in data or "\x03" in legacy(data)):
            self._in_bracketed_paste, self._paste_buffer = False, ""
            super().feed("\x03")
        elif end < 0:
            self._paste_buffer = arrived
        else:
            self._paste_buffer = ""
            super().feed(arrived[: end + 6])
            self.feed(arrived[end + 6 :])

    def _cursor(self, match: re.Match[str]) -> str:
        """Where the cursor is, which a resize makes the library ask for, may be answered within a paste."""
        self.feed_key_callback(KeyPress(Keys.CPRResponse, match[0]))
        return ""

    def flush(self) -> None:
        held, self._held = self._held, ""
        if held:
            super().feed(held)
        super().flush()


def understand(source: Input) -> None:
    """Let the input of a terminal understand these keys."""
    if isinstance(source, Vt100Input):
        source.vt100_parser = Parser(source.vt100_parser.feed_key_callback)


def prompt_keys(
    suspend: Callable[[], object], run: Callable[[Buffer, str], None], lines: Mapping[str, str]
) -> KeyBindings:
    """The bindings of the prompt; `suspend` is called at Ctrl-Z, `run` with the line that a key of `lines` types."""
    keys = KeyBindings()
    for key, line in lines.items():
        keys.add(key)(lambda event, line=line: run(event.current_buffer, line))

    @keys.add(Keys.BracketedPaste)
    def paste(event: KeyPressEvent) -> None:
        """Pasted lines stay in the buffer; Enter then shows them and asks."""
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(text.rstrip("\n"))

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def enter(event: KeyPressEvent) -> None:
        """Enter runs; but followed by keys of the same packet, it is a line end of a paste."""
        if any(press.key == Keys.ControlM or len(press.key) == 1 for press in event.key_processor.input_queue):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("c-z")
    def stop(event: KeyPressEvent) -> None:
        suspend()

    return keys
