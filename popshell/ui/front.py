"""The loop of every front end: read lines from a source, run them, until the input ends or the user leaves.

There are three sources: the prompt of a terminal (editor.py), a person at a terminal that is not redrawn (`--plain`),
and a script from a pipe or a file. What is asked before several lines are sent, how Ctrl-C gives the prompt back
(sec-U1), and the last minute before autologout are the same for all and stand here.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any

from popshell.protocol.line import parse
from popshell.tuples import NamedTuple
from popshell.ui.events import Sent
from popshell.ui.layout import Run
from popshell.ui.link import COUNTDOWN, Link
from popshell.ui.screen import Lines
from popshell.ui.shell import Leave, Shell
from popshell.visible import fault_of, show

#: So long after a line, in seconds, whatever follows was not typed by hand: a paste, or typed ahead.
_AT_ONCE = 0.02


class Stopped(Exception):
    """A signal asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Typed(NamedTuple):
    """What was read: one line or several. `ask` if they are to be shown and asked about before any of them is run."""

    rows: list[str]
    ask: bool = False


class Source:
    """Where lines come from, and what its kind of terminal wants done.

    By itself it is a script, from a pipe or a file: each line is run, and nothing is asked or shown.
    """

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        #: to be set before the first line is read
        self.lines: Lines

    async def _next(self) -> str:
        try:
            return await self.lines.__anext__()
        except StopAsyncIteration:
            raise EOFError from None

    def _or_draft(self, text: str) -> Typed:
        """There is no prompt to put a finished line at: an empty line is the Enter that sends it."""
        draft, self.shell.draft = self.shell.draft, ""
        return Typed((text or draft).split("\n"))

    async def read(self, front: Front) -> Typed | None:
        """What is to be run next; None if that is nothing. Raises EOFError at the end of the input."""
        return self._or_draft(await self._next())

    def interrupts(self, task: asyncio.Task[Any]) -> contextlib.AbstractContextManager[object]:
        """While it is entered, Ctrl-C cancels `task`."""
        return contextlib.nullcontext()

    def interrupted(self) -> None:
        """The task was cancelled. Raises what shall end the loop instead."""
        raise asyncio.CancelledError

    def last_minute(self, begins: bool) -> None:
        """Autologout is near: called each second of the last minute."""


class PersonSource(Source):
    """A person at a terminal that is not redrawn. Lines that come at once are asked about, AUTH's answers not shown."""

    async def read(self, front: Front) -> Typed | None:
        shell = self.shell
        if shell.session is not None and shell.session.connection.challenged:
            text: str | None = await front.foreground(shell.screen.ask("", hidden=True))
            if text is None:
                return None
        else:
            text = await self._next()
        await asyncio.sleep(_AT_ONCE)
        rows = [text, *self.lines.read_ahead()]
        if len(rows) == 1:
            return self._or_draft(text)
        return Typed(rows, ask=not all(row.startswith(":") for row in rows))  # the shell's own go nowhere

    @contextlib.contextmanager
    def interrupts(self, task: asyncio.Task[Any]) -> Iterator[None]:
        loop, screen = asyncio.get_running_loop(), self.shell.screen

        def stop(*_: object) -> None:
            screen.enough = True  # before the loop has a turn: 60 MB may be on their way to the terminal
            loop.call_soon_threadsafe(task.cancel)

        screen.enough = False
        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(self) -> None:
        self.shell.screen.lines([[]])

    def last_minute(self, begins: bool) -> None:
        if begins:
            self.shell.screen.interrupt(lambda: self.shell.say("shell.autologout-soon", style="warn"))


class Front:
    """The front end of one shell."""

    def __init__(self, shell: Shell, source: Source) -> None:
        self.shell = shell
        self._source = source

    async def run(self, begin: Callable[[], Awaitable[bool]], *, stop_on_err: bool = False) -> bool:
        """Run `begin`, then all lines; with `stop_on_err` up to the first that fails.

        False if `begin` failed: its reason is shown already, and there is nothing to go on with. Raises Stopped.
        """
        shell = self.shell
        watch = asyncio.ensure_future(self._watch()) if shell.screen.interactive else None
        try:
            # Without a prompt to give back, Ctrl-C before the first line ends the program.
            if await (self.foreground(begin()) if shell.screen.prompts else begin()) is False:
                return False
            while not (stop_on_err and shell.tally.exit_code()):
                try:
                    typed = await self._source.read(self)
                except EOFError:
                    if not shell.screen.interactive:
                        if shell.session is not None and shell.session.connection.challenged:
                            shell.tally.failed = True
                            shell.say("shell.auth-open", style="err")
                        break
                    await shell.leave()
                    continue
                if typed is not None:
                    await self.foreground(self._run(typed))
        except (Leave, EOFError):
            pass
        finally:
            if watch is not None:
                watch.cancel()
            shell.close()
        return True

    async def foreground(self, work: Awaitable[Any]) -> Any:
        """Run `work` so that Ctrl-C ends it and gives the prompt back, not the program (sec-U1); None then."""
        task = asyncio.ensure_future(work)
        try:
            with self._source.interrupts(task):
                return await task
        except asyncio.CancelledError:
            self._source.interrupted()
            self.shell.interrupted()
            return None
        except (Leave, Stopped, EOFError):
            raise
        except Exception as error:  # a fault of ours: it must not cost a person the session
            if not self.shell.screen.interactive:
                raise
            self.shell.say("shell.fault", style="err", what=show(fault_of(error), keep=""))
            return None

    async def _run(self, typed: Typed) -> None:
        shell, rows = self.shell, typed.rows
        # On the practice server nothing is lost, so nothing is asked.
        if typed.ask and not shell.on_practice and not await self._agreed(rows):
            if shell.screen.prompts:
                _keep(shell, rows)
            else:
                shell.say("shell.not-sent", style="warn")
        elif len(rows) > 1:
            await run_block(shell, rows)
            if typed.ask and not shell.screen.prompts:
                shell.draft = ""  # that lines were kept was said; an empty line is not to send them
        else:
            # What is not sent is shown by nothing else, and the prompt is erased when a line is entered.
            if shell.screen.prompts and (rows[0].startswith(":") or (rows[0] and shell.session is None)):
                self._show(rows, ("dim", " "))
            await shell.run(rows[0])

    async def _agreed(self, rows: list[str]) -> bool:
        """Lines that came at once, or while a reply was due, are shown and asked about first (sec-U2, sec-U3)."""
        shell = self.shell
        shell.say("shell.pasted", count=len(rows))
        self._show(rows, ("", "    "))
        return await shell.confirm(shell.words("shell.ask-paste", count=len(rows)))

    def _show(self, rows: list[str], margin: Run) -> None:
        """Show lines as they were typed, their secrets masked."""
        from popshell.ui.prompt import Typing  # prompt_toolkit is loaded where lines are shown

        masked = Typing(self.shell).masked("\n".join(rows)).split("\n")
        self.shell.screen.lines([[(margin[0], margin[1] + show(row, keep=""))] for row in masked])

    async def _watch(self) -> None:
        """Look for the last minute before autologout."""
        counted: Link | None = None
        while True:
            left = self.shell.seconds_left()
            if left is None or left > COUNTDOWN:
                counted = None
            else:
                self._source.last_minute(counted is not self.shell.link)
                counted = self.shell.link
            near = left is not None and left <= COUNTDOWN + 5
            await asyncio.sleep(1.0 if near or not self.shell.screen.prompts else 5.0)


# -- several lines -----------------------------------------------------------------------------------------------------


async def run_block(shell: Shell, lines: list[str]) -> None:
    """Run `lines`, together where the server announced PIPELINING (RFC 2449 §6.6), else one by one."""
    while lines:
        session = shell.session
        if session is None and not lines[0].startswith(":"):
            _keep(shell, lines, connected=False)
            return
        count = 1
        if session and "PIPELINING" in (session.connection.capabilities or {}):
            # The seat belt may ask about RETR (safety.py): it goes alone then.
            asks = shell.endpoint is not None and shell.endpoint.look_only and not shell.on_practice
            count = together(lines, ("DELE", "RETR") if asks else ("DELE",))
        now, lines = lines[:count], lines[count:]
        try:
            if count > 1:
                sent = await _send_together(shell, now)
                lines = now[sent:] + lines
                if not sent:  # the connection is ending just now
                    _keep(shell, lines, connected=False)
                    return
            elif not await shell.run(now[0]):
                _keep(shell, lines)
                return
        except asyncio.CancelledError:
            _keep(shell, lines)
            raise


def together(lines: list[str], alone: Collection[str] = ("DELE",)) -> int:
    """How many of the first lines may go out together: up to one whose reply decides what is next, or of `alone`."""
    for count, text in enumerate(lines, 1):
        line = parse(text)
        spec = line.spec
        if text.startswith(":") or spec is None or spec.name in alone or spec.ends_pipeline or line.has("control"):
            return max(1, count - 1)
    return len(lines)


async def _send_together(shell: Shell, lines: list[str]) -> int:
    """Send `lines`, then wait for their replies. How many went out: the connection may end meanwhile."""
    shell.say("shell.pipelined", count=len(lines))
    link, awaited = shell.link, []
    for text in lines:
        if link.session is None:
            break  # why is reported with the replies to the lines before it
        line = parse(text, link.session.connection.context())
        try:
            awaited.append(link.session.submit(line))
        except ConnectionError:
            break
        shell.publish(Sent(line))
    for reply in awaited:
        await link.reply(reply)
    return len(awaited)


def _keep(shell: Shell, lines: list[str], *, connected: bool = True) -> None:
    """Lines that were not sent go back to the prompt."""
    if not connected:
        shell.say("shell.not-connected", style="warn")
    if lines:
        shell.draft = "\n".join(lines)
        shell.say("shell.paste-kept")
