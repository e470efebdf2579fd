"""Two real terminals for the shell, and a peer for it to talk to. Nothing here sleeps for a fixed time: `wait` polls.

`Tmux` is a terminal emulator that knows colours, scrollback and resizing. `Pty` is a bare pseudo-terminal: exact bytes
in both directions, termios, signals and the exit code; its screen is kept by pyte, which answers cursor queries.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyte
import pytest
from started import take_terminal

from popshell.ui.theme import begin

POPSHELL = [sys.executable, "-m", "popshell"]
SECONDS = 10.0
_PAUSE = 0.01


def environment(home: Path, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """A small environment of its own: nothing of the machine's user, and nothing is written outside `home`."""
    known = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "SSL_CERT_FILE": os.devnull,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    for name, value in (more or {}).items():
        known.pop(name, None)
        if value is not None:
            known[name] = value
    return known


class Terminal:
    """What both terminals have in common."""

    def screen(self) -> str:
        raise NotImplementedError

    def type(self, text: str) -> None:
        raise NotImplementedError

    def scroll(self) -> str:
        """All that was written, what has left the window included."""
        return self.screen()

    def wait(self, wanted: str | Callable[[str], object], seconds: float = SECONDS) -> str:
        """Wait until the text is to be seen, or the condition holds for all that was written; gives the latter."""
        return self.until(lambda: self._met(wanted), lambda: f"{wanted!r} did not come:\n{self.scroll()}", seconds)

    def _met(self, wanted: str | Callable[[str], object]) -> str | None:
        text = self.scroll()
        return text if (wanted in text if isinstance(wanted, str) else wanted(text)) else None

    def until(self, ask: Callable[[], Any], complaint: Callable[[], str], seconds: float = SECONDS) -> Any:
        end = time.monotonic() + seconds
        while True:
            answer = ask()
            if answer:
                return answer
            if time.monotonic() > end:
                raise AssertionError(complaint())
            self.pause()

    def pause(self) -> None:
        time.sleep(_PAUSE)

    def prompt(self, text: str = "▸", seconds: float = SECONDS) -> str:
        """Wait until the prompt is the last line above the toolbar and nothing is typed at it; gives the screen."""

        def there() -> str | None:
            screen = self.screen()
            rows = [row for row in screen.split("\n") if text in row and not row.startswith("  ")]
            return screen if rows and rows[-1].rstrip().endswith(text) else None

        return self.until(there, lambda: f"no prompt:\n{self.screen()}", seconds)

    def remembered(self, entry: str) -> None:
        """Wait until the history offers the entry: it is read a moment after the prompt is drawn."""

        def up() -> bool:
            self.type("\x1b[A")
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                self.pause()
                if f"▸ {entry}" in self.screen():
                    return True
            self.type("\x1b[B")  # an entry before it may have come instead
            return False

        self.until(up, lambda: f"{entry!r} is not remembered:\n{self.screen()}")

    def line(self, text: str, expect: str, *, echo: str | None = None, prompt: str = "▸") -> str:
        """Type a line and Enter; wait until `expect` stands below its echo, and the prompt below that. Gives both."""
        mark = echo or (f" C: {text}" if not text.startswith(":") else f" {text}")
        before = _count(self.scroll(), mark)
        self.type(text + "\r")

        def answered(scroll: str) -> bool:
            return _count(scroll, mark) > before and expect in _below(scroll, mark)

        self.wait(answered)
        self.prompt(prompt)
        return _below(self.scroll(), mark)


def _count(scroll: str, mark: str) -> int:
    return sum(row.rstrip() == mark for row in scroll.split("\n"))


def _below(scroll: str, mark: str) -> str:
    rows = scroll.split("\n")
    at = max((at for at, row in enumerate(rows) if row.rstrip() == mark), default=len(rows))
    return "\n".join(rows[at:])


class Tmux(Terminal):
    """popshell in a window of a tmux server of its own."""

    def __init__(
        self,
        *arguments: str,
        home: Path,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str | None] | None = None,
        command: list[str] | None = None,
    ) -> None:
        self._socket = tempfile.mktemp(prefix="popshell-tmux-", dir="/tmp")
        self.home = home
        size = ["-x", str(columns), "-y", str(rows)]
        given = environment(home, env)
        settings = [word for name, value in given.items() for word in ("-e", f"{name}={value}") if name != "PATH"]
        start = ["new-session", "-d", "-c", str(home), *size, *settings, *(command or [*POPSHELL, *arguments])]
        later = [";", "set", "-g", "status", "off", ";", "set", "-g", "history-limit", "5000"]
        self._tmux("-f", "/dev/null", *start, *later, env=given | {"TERM": "xterm-256color"})

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", self._socket, *words], capture_output=True, text=True, env=env, timeout=SECONDS
        )
        if done.returncode:
            raise AssertionError(f"tmux {words}: {done.stderr}")
        return done.stdout

    def pause(self) -> None:
        """Longer than for a Pty: each look is a process."""
        time.sleep(3 * _PAUSE)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def scroll(self) -> str:
        return self._tmux("capture-pane", "-p", "-S", "-")

    def coloured(self) -> str:
        """All that was written, with SGR sequences."""
        return self._tmux("capture-pane", "-p", "-e", "-S", "-")

    def type(self, text: str) -> None:
        """Press the keys of `text`, `\\r` for Enter, one by one."""
        for at, part in enumerate(text.split("\r")):
            if at:
                self.press("Enter")
            if part:
                self._tmux("send-keys", "-l", "--", part)

    def press(self, *names: str) -> None:
        """Press keys by tmux's names: `C-c`, `Tab`, `Up`."""
        self._tmux("send-keys", *names)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def paste(self, text: str) -> None:
        """A bracketed paste, if the program in the window asked for that."""
        self._tmux("set-buffer", "--", text)
        self._tmux("paste-buffer", "-p", "-d")

    def alive(self) -> bool:
        return subprocess.run(["tmux", "-S", self._socket, "list-sessions"], capture_output=True).returncode == 0

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True)
        with contextlib.suppress(OSError):
            os.unlink(self._socket)


class _Screen(pyte.HistoryScreen):
    """pyte's screen; its answers to queries go to the program, and are counted: data must not cause any."""

    def __init__(self, columns: int, rows: int, answer: Callable[[bytes], None]) -> None:
        super().__init__(columns, rows, history=5000, ratio=0.001)
        self._answer = answer
        self.titles: list[str] = []
        self.private: set[int] = set()

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())

    def set_title(self, param: str) -> None:
        self.titles.append(param)

    def set_mode(self, *modes: int, **how: Any) -> None:
        if how.get("private"):
            self.private |= set(modes)
        super().set_mode(*modes, **how)

    def reset_mode(self, *modes: int, **how: Any) -> None:
        if how.get("private"):
            self.private -= set(modes)
        super().reset_mode(*modes, **how)


def _stripped(rows: Iterable[str]) -> str:
    return "\n".join(row.rstrip() for row in rows) + "\n"


class Pty(Terminal):
    """A program on a bare pseudo-terminal. `raw` is every byte that it wrote."""

    def __init__(
        self,
        *arguments: str,
        home: Path,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str | None] | None = None,
        command: list[str] | None = None,
        background: str = "",
    ) -> None:
        self.background = background
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.found = termios.tcgetattr(self.slave)
        self.raw = b""
        self._seen: tuple[object, tuple[str, str]] = (None, ("", ""))
        self.display = _Screen(columns, rows, self.send)
        self._stream = pyte.ByteStream(self.display)
        self.process = subprocess.Popen(
            command or [*POPSHELL, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment(home, env),
            cwd=home,
            start_new_session=True,
            preexec_fn=take_terminal,
        )

    def send(self, data: bytes) -> None:
        """Bytes to the program's terminal, in one write."""
        os.write(self.master, data)

    def type(self, text: str) -> None:
        self.send(text.encode())

    def pause(self) -> None:
        """Until nothing has been written for a while."""
        while self.master >= 0 and select.select([self.master], [], [], _PAUSE)[0]:
            self.pump()

    def pump(self, seconds: float = 0.0) -> None:
        """Take what the program has written."""
        while self.master >= 0 and select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data
            if self.background and b"\x1b]11;?" in data:
                self.send(f"\x1b]11;rgb:{self.background}\x1b\\".encode())
            self._stream.feed(data)
            seconds = 0.0

    def screen(self) -> str:
        return self._read()[0]

    def scroll(self) -> str:
        return self._read()[1]

    def _read(self) -> tuple[str, str]:
        """What is to be seen, and that with what has left the window: read once as long as nothing is written."""
        self.pump()
        state = len(self.raw), self.display.columns, self.display.lines
        if self._seen[0] != state:
            width, shown = self.display.columns, self.display.display
            gone = ["".join(row[at].data for at in range(width)) for row in self.display.history.top]
            self._seen = state, (_stripped(shown), _stripped([*gone, *shown]))
        return self._seen[1]

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def restored(self) -> bool:
        """Whether the terminal's settings are what they were before the program started."""
        return self.settings() == self.found

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def exit_code(self, seconds: float = SECONDS) -> int:
        """Wait for the end of the program."""

        def ended() -> tuple[int] | None:
            self.pump()
            code = self.process.poll()
            return None if code is None else (code,)

        return self.until(ended, lambda: f"it goes on:\n{self.scroll()}", seconds)[0]

    def hang_up(self) -> None:
        """The terminal goes away: its window was closed."""
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)


Answer = bytes | None | Callable[[], bytes | None]


class Peer:
    """A server for the shell to talk to: it answers by a table, stays silent, speaks or closes when it is told to.

    `answers` gives bytes by whole line or by keyword; None is silence. `heard` is every line that came.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        greeting: bytes = b"+OK ready\r\n",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers: dict[str, Answer] = {
            "USER": b"+OK\r\n",
            "PASS": b"+OK welcome\r\n",
            "STAT": b"+OK 3 300\r\n",
            "DELE": b"+OK\r\n",
            "NOOP": b"+OK noop\r\n",
            "QUIT": b"+OK bye\r\n",
            "LIST": b"+OK\r\n1 100\r\n2 100\r\n3 100\r\n.\r\n",
            **(answers or {}),
        }
        self.greeting = greeting
        self._tls = tls
        self.heard: list[str] = []
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._connections.append(connection)
            connection.sendall(self.greeting)
            while data := connection.recv(65536):
                *lines, buffer = (buffer + data).split(b"\r\n")
                for line in lines:
                    self._answer(connection, line.decode("utf-8", "surrogateescape"))

    def _answer(self, connection: socket.socket, line: str) -> None:
        self.heard.append(line)
        keyword = line.split(" ")[0].upper()
        answer = self.answers.get(line, self.answers.get(keyword, b"-ERR unknown\r\n"))
        answer = answer() if callable(answer) else answer
        if answer is not None:
            connection.sendall(answer)
        if keyword == "QUIT" and answer:
            connection.shutdown(socket.SHUT_WR)

    def say(self, data: bytes) -> None:
        """Send on the newest connection, asked or not."""
        self._connections[-1].sendall(data)

    def hang_up(self) -> None:
        """Close the newest connection."""
        self._connections[-1].shutdown(socket.SHUT_RDWR)

    def wait(self, line: str, seconds: float = SECONDS) -> None:
        """Wait until the line was heard."""
        end = time.monotonic() + seconds
        while line not in self.heard:
            assert time.monotonic() < end, f"{line!r} was not heard: {self.heard}"
            time.sleep(_PAUSE)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(SECONDS)


def at(peer: Peer) -> str:
    return f"127.0.0.1:{peer.port}"


def logged_in(terminal: Callable[..., Pty], peer: Peer, *arguments: str) -> Pty:
    """A shell at `peer`, in TRANSACTION, with `peer.heard` empty."""
    shell = terminal(*arguments, at(peer))
    shell.prompt()
    shell.line("USER a", "+OK")
    shell.line("PASS b", "+OK", echo=" C: PASS ••••")
    peer.heard.clear()
    return shell


def needs_tmux() -> pytest.MarkDecorator:
    """Skip by name where tmux is missing; under CI that is a failure, because nothing would have been tested."""
    missing = shutil.which("tmux") is None and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason="tmux is not installed")


_SGR = re.compile(r"\x1b\[([0-9;:]*)m")


def painted(coloured: str, word: str) -> list[set[str]]:
    """The SGR attributes of each place where `word` begins, in a text with SGR sequences."""
    plain, marks = "", []
    state: set[str] = set()
    at = 0
    for match in _SGR.finditer(coloured):
        marks += [frozenset(state)] * (match.start() - at)
        plain += coloured[at : match.start()]
        at = match.end()
        for code in (match[1] or "0").split(";"):
            state = set() if code in ("", "0") else _without(state, code) | {code}
    marks += [frozenset(state)] * (len(coloured) - at)
    plain += coloured[at:]
    return [set(marks[found.start()]) for found in re.finditer(re.escape(word), plain)]


def codes(style: str) -> set[str]:
    """The SGR attributes of a style in the theme `dark`."""
    return set(re.findall(r"\d+", begin(style, "dark")))


def _without(state: set[str], code: str) -> set[str]:
    """A new colour takes the place of the old one."""
    return {old for old in state if not (len(code) == len(old) == 2 and code[0] == old[0])}
