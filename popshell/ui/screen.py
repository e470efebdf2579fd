"""Screens: where a Shell shows things: on a terminal, as plain text, and beside JSON; lines without a prompt.

Only this module and the REPL write to standard output. Peer text goes through stream.py, our own through the palette.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TextIO

from popshell.protocol.commands import State
from popshell.protocol.line import MASK, CommandLine
from popshell.protocol.records import Exchange
from popshell.ui import stream, theme
from popshell.ui.layout import PLAIN, Line, Look, paragraph, wrap

#: A reply is shown whole if it fills no more windows than that, and no more lines; else a windowful, and `:more`.
WINDOWS, MOST_LINES = 3, 200
#: Seconds of a wait at which a screen that is not redrawn says how long it has lasted.
CLOCK_LINES = (2, 10, 30)
#: Octets that no window is high enough for.
_SURELY_LONG = 1 << 20
#: Lines of a broken reply that are shown.
_EVIDENCE = 20


def draws(encoding: str) -> bool:
    """Whether a terminal's encoding has the characters that pictures are made of."""
    try:
        "✔─▶•".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


class ClockOut:
    """A terminal's output with a row at its end that counts: it is redrawn, and gone when anything else is written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._stands = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

    def write(self, text: str) -> int:
        if self._stands:
            self._stands = False
            text = "\r\x1b[2K" + text
        return self._out.write(text)

    def clock(self, row: str) -> None:
        """Draw the row anew; it is no wider than the window."""
        self.write("")
        self._out.write(row)
        self._out.flush()
        self._stands = True


class Screen:
    """Coloured text on a terminal. The REPL adds questions and keeps the prompt whole (`ask`, `interrupt`)."""

    interactive: bool = True
    #: whether there is a prompt at which a finished line can be put, unsent
    prompts: bool = True

    def __init__(self, look: Look, *, out: TextIO | None = None) -> None:
        self._look = look
        self.out = out or sys.stdout
        self.most = MOST_LINES
        #: Ctrl-C was pressed: of a long reply no more is shown than is being written
        self.enough = False
        #: whether a long text may wait for Enter
        self.pauses = False
        #: whether the server might repeat a password, so that its words are masked (sec-K2)
        self.echoes = True
        #: octets of a line that are shown: what RFC 5322 §2.1.1 allows is whole
        self.longest = 998
        #: gives a text in today's language, "" if there is none
        self.text_of: Callable[[str], str] = lambda key: ""
        #: the page that was shown last, as far as it was shown, for `:pager`; "" if a reply came after it
        self.page = ""

    @property
    def columns(self) -> int:
        return max(20, shutil.get_terminal_size((80, 24)).columns)

    def _window(self) -> int | None:
        return self.columns

    @property
    def look(self) -> Look:
        """How text of ours is spelled and how wide it may be, in the window as it is now."""
        return self._look._replace(width=self.columns - 1, units=self.text_of("layout.units"))

    @property
    def ascii(self) -> bool:
        """Whether signs and drawings are made of ASCII."""
        return self._look.signless

    @property
    def rows(self) -> int:
        """How many lines can be seen at once."""
        return max(5, shutil.get_terminal_size((80, 24)).lines)

    def drawn(self, lines: Iterable[Line]) -> str:
        """Lines of our own as text, escapes of ours included."""
        paint, spelled = self._look.paint, self._look.spelled
        return "".join("".join(paint(s, t) if s else t for s, t in spelled(line)).rstrip() + "\n" for line in lines)

    def write(self, text: str) -> None:
        """Show a text, escapes of ours included, at once."""
        self.out.write(text)
        self.out.flush()

    def lines(self, lines: Iterable[Line]) -> None:
        """Show lines of our own, already safe."""
        self.write(self.drawn(lines))

    def notes(self, lines: Iterable[Line]) -> None:
        """Show the notes on a reply."""
        self.lines(lines)

    @property
    def lock(self) -> str:
        """The sign before `TLS`; the fonts of the Linux console have none."""
        return "" if self.ascii or os.environ.get("TERM") == "linux" else "🔒 "

    @property
    def comfortable(self) -> int:
        """How many lines are shown whole: to their beginning one can well scroll back."""
        return min(WINDOWS * self.rows, self.most)

    @property
    def windowful(self) -> int:
        """How many lines of a reply are read at a glance: prompt, toolbar and notes stand below them."""
        return max(self.rows - 8, 6)

    def styled(self, text: str) -> None:
        """Show a page that was laid out for `columns` already, escapes of ours included."""
        self.page = text
        self.write(text)

    def command(self, line: CommandLine | None, masked: bool, note: str = "") -> None:
        """Show a line that was sent; None is an answer to a challenge."""
        if line is None:
            sent: Line = [("secret", MASK) if masked else ("command", "*")]
        else:
            sent = theme.sent_runs(line, masked=masked)
        drawn = stream.client_line(sent, self._look, self._window())
        self.write(drawn + (self._look.paint("note", f"   ({note})") if note else "") + "\n")

    def reply(
        self, exchange: Exchange, start: int = 0, most: int | None = None, *, begun: bool = False
    ) -> stream.Shown:
        """Show the reply of an Exchange, from content line `start`; `begun`: what is before it was shown as it came."""
        self.page = ""
        code = exchange.problem.code if exchange.problem else ""
        raw, begin = exchange.received, exchange.content_at
        empty = begin == len(raw)
        if exchange.problem is not None and not exchange.problem.unasked and (empty or code != "no-terminator"):
            return self._evidence(exchange)
        if start == 0 and not begun and exchange.received and code != "unasked-rows":
            self.out.write(self._status(exchange.reply_line(masked=self.echoes)) + "\n")
        if empty:
            self.out.flush()
            return stream.Shown(0, 0)
        if most is None:
            most = max(self._most_of(raw, 0, begin) - start, 0) if begun else self._most_of(raw, start, begin)
        if code == "unasked-rows" and self.echoes:
            raw = _redacted(exchange, raw, start + most)
        hidden = self.text_of("shell.hidden") or "+{octets}"
        view = stream.View(self._look, self._window(), most, self.longest, hidden, enough=lambda: self.enough)
        kind, lines = theme.content_of(exchange.name), exchange.counted.lines if exchange.counted else None
        return stream.write_content(self.out, raw, kind, view, first=start, begin=begin, lines=lines)

    def _status(self, line: str) -> str:
        return stream.status_line(line, self._look, self._window())

    def _most_of(self, raw: bytes, start: int, begin: int = 0) -> int:
        """How many rows of a content are shown unasked: all, if one can well scroll back to its beginning."""
        comfortable = self.comfortable
        if not start and len(raw) - begin > _SURELY_LONG:
            return self.windowful
        lines = raw[begin:].split(b"\r\n", start + comfortable + 2)[start:]
        if lines[-2:] == [b".", b""]:
            del lines[-2:]
        rows = sum(max(1, -(-len(line) // (self.columns - 4))) for line in lines)
        if start:
            return comfortable if rows <= self.windowful + 2 else self.windowful
        return comfortable if rows <= comfortable else self.windowful

    def whole(self, exchange: Exchange) -> Iterator[str]:
        """The rows of a reply, nothing left out, for a pager."""
        yield self._status(exchange.reply_line())
        if raw := exchange.raw_content():
            view = stream.View(self._look, self._window(), long_line=1 << 40, paged=True)
            yield from stream.pager(raw, theme.content_of(exchange.name), view)

    async def page_out(self, rows: Iterable[str]) -> bool:
        """Show rows, filtered and coloured already, in the user's pager; False where there is none."""
        return False

    def _evidence(self, exchange: Exchange) -> stream.Shown:
        """What arrived before the fault, as far as it helps."""
        came = (exchange.received or exchange.rest)[:_SURELY_LONG]
        rows = came.removesuffix(b"\r\n").split(b"\r\n")[:_EVIDENCE] if came else []
        for row in rows:
            text = exchange.redact(row[:512].decode("utf-8", "surrogateescape"))
            self.out.write(self._status(text) + "\n")
        self.out.flush()
        return stream.Shown(len(rows), len(rows))

    def challenge(self, line: str) -> None:
        """Show a challenge of AUTH, of which `line` is what comes after `+ `."""
        self.write(self._status(f"+ {line}") + "\n")

    def state_changed(self, before: State, after: State, drawn: list[Line]) -> None:
        """Show the arrow that was taken."""
        self.lines([[("", "  "), *line] for line in drawn])

    def interrupt(self, show: Callable[[], None]) -> None:
        """Call `show` so that it does not garble a line that is being typed."""
        show()

    async def ask(self, question: str, *, hidden: bool = False, piped: bool = False) -> str | None:
        """Ask for a line, which is not shown if it is `hidden`; None if it cannot be had, or was not given (Ctrl-C).

        `piped`: where no person sits at the keyboard, the next line of the script is the answer to a hidden question.
        """
        return None

    def arriving(self, exchange: Exchange, start: int, *, begun: bool) -> int:
        """Show the whole lines that have come of a reply under way, up to the cap; how many lines are shown now."""
        whole = exchange._replace(received=exchange.received[: exchange.received.rfind(b"\r\n") + 2])
        return start + self.reply(whole, start, max(self.comfortable - start, 0), begun=begun).lines

    def clock(self, line: Line, seconds: int) -> None:
        """Show how long something has been waited for: here a line at a few times, no row that is redrawn."""
        if seconds in CLOCK_LINES:
            self.lines(wrap(line, self.look, "     ", "     "))

    def waiting(self, text: str) -> None:
        self.lines(paragraph(text, self.look, "     ", "note"))


def _redacted(exchange: Exchange, raw: bytes, most: int) -> bytes:
    """`raw` with the secrets masked in its first `most` lines: there may be 200,000 more, of which none is shown."""
    *lines, rest = raw.split(b"\r\n", most)
    shown = exchange.redact("".join(line.decode("utf-8", "surrogateescape") + "\r\n" for line in lines))
    return shown.encode("utf-8", "surrogateescape") + rest


class PlainScreen(Screen):
    """Words instead of signs, no escapes but those of a theme, no cap: for pipes, dumb terminals and screen readers."""

    prompts = False

    def __init__(
        self, out: TextIO | None = None, *, interactive: bool = False, ascii: bool = False, theme: str = "none"
    ) -> None:
        super().__init__(PLAIN._replace(theme=theme, ascii=ascii), out=out)
        self.most = self.longest = 1 << 40
        self.interactive = interactive
        #: where answers come from when a person sits at the terminal: the same lines as the commands
        self.answers: Lines | None = None

    async def ask(self, question: str, *, hidden: bool = False, piped: bool = False) -> str | None:
        if hidden:
            return await self._ask_hidden(question, piped)
        await self._forget_ahead()
        rows = wrap([("", question.strip())], self.look.within(-11), "  ", "  ")
        self.write(self.drawn(rows).rstrip("\n") + " ")
        return await self._answer()

    async def _forget_ahead(self) -> None:
        """What a person typed before the question is no answer to it (sec-U2); what follows it at once, is."""
        if self.answers is not None and self.interactive:
            await asyncio.sleep(0)
            self.answers.read_ahead()

    async def _answer(self) -> str | None:
        return None if self.answers is None else await anext(self.answers, None)

    async def _ask_hidden(self, question: str, piped: bool) -> str | None:
        if self.answers is None or not (self.interactive or piped):
            return None
        if not self.interactive:
            return await self._answer()  # the next line of the pipe
        try:
            from popshell.ui.terminal import Terminal
        except ImportError:  # Windows
            from getpass import getpass

            return await asyncio.get_running_loop().run_in_executor(None, getpass, question)
        # Not getpass: the reader of the commands waits at the same terminal, and one of both would get the password.
        await self._forget_ahead()
        with Terminal(0).unseen():
            self.write(question)
            secret = await self._answer()
        self.out.write("\n")
        return secret

    @property
    def columns(self) -> int:
        return super().columns if self.interactive else 80

    @property
    def rows(self) -> int:
        return 1 << 20

    def _window(self) -> int | None:
        return None

    def _most_of(self, raw: bytes, start: int, begin: int = 0) -> int:
        return self.most

    def state_changed(self, before: State, after: State, drawn: list[Line]) -> None:
        self.write(f"[STATE: {after.value}]\n")


class JsonScreen(PlainScreen):
    """Our own words on standard error, and nothing of replies: the records of exports.py hold them."""

    def __init__(self, out: TextIO | None = None) -> None:
        super().__init__(out or sys.stderr)

    def _recorded(self, *shown: Any, **how: Any) -> Any:
        """It is part of the record."""
        return stream.Shown(0, 0)

    command = reply = challenge = notes = state_changed = _recorded


# -- lines without a prompt --------------------------------------------------------------------------------------------

_BLOCK = 64 * 1024
#: How many lines are read before somebody wants them.
_AHEAD = 64


class Lines:
    """The lines of `stream` (sec-U5), line ends cut off; what is not UTF-8 is kept by surrogateescape.

    prompt_toolkit would write escapes into a pipe and lose a last line without newline; asyncio cannot watch a regular
    file. So a thread reads, and the event loop takes over line by line. Every line runs, the last one, too.

    Trap: the thread reads with a buffer of its own. One that waits inside Python's holds its lock, and an interpreter
    that ends then (`:quit`, Ctrl-C) cannot get it and aborts.

    An asynchronous iterator that may be asked again after its wait was cancelled, and after the end of a terminal's
    input (Ctrl-D), which is not its last word. The running loop is the one that takes the lines.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._raw: Any = getattr(stream, "raw", stream)
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
        reader = io.BufferedReader(self._raw, _BLOCK)
        try:
            while (line := reader.readline()) or self._again:
                if line and not self._put(line.removesuffix(b"\n")):
                    return
                if self._again and not line.endswith(b"\n") and not self._put(None):
                    return
        except (OSError, ValueError):
            self._again = False
        finally:
            reader.detach()  # or its end would close the stream
        self._put(None)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
