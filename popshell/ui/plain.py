"""The loop without a REPL: lines come from a pipe, or from a person at a terminal that is not redrawn (`--plain`).

For a person Ctrl-C ends the waiting for a reply, answers to AUTH are not shown, lines that come at once are asked
about, and autologout is announced: what the REPL has keys and a toolbar for.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable
from typing import TypeVar

from popshell.session import Session
from popshell.ui import ending, flight, waiting
from popshell.ui.screen import LineSource
from popshell.ui.shell import Shell
from popshell.visible import show

_T = TypeVar("_T")


#: So long after a line, in seconds, whatever follows was not typed by hand: a paste, or typed ahead.
_AT_ONCE = 0.02


async def run(shell: Shell, lines: LineSource, *, stop_on_err: bool = False) -> None:
    """Run every line; with `stop_on_err` up to the first that fails. Raises Leave."""
    if shell.screen.interactive:
        await _run_for_a_person(shell, lines)
        return
    while (text := await _next(lines)) is not None:
        await _line(shell, text)
        if stop_on_err and shell.tally.exit_code():
            return
    if shell.session is not None and shell.session.connection.challenged:
        shell.tally.failed = True
        shell.say("shell.auth-open", style="err")


async def _next(lines: LineSource) -> str | None:
    try:
        return await lines.__anext__()
    except StopAsyncIteration:
        return None


async def _line(shell: Shell, text: str) -> None:
    # There is no prompt to put a finished line at: an empty line is the Enter that sends it.
    draft, shell.draft = shell.draft, ""
    rows = (text or draft).split("\n")
    await (flight.run_block(shell, rows) if len(rows) > 1 else shell.run(rows[0]))


async def _run_for_a_person(shell: Shell, lines: LineSource) -> None:
    watch = asyncio.ensure_future(_warn_of_autologout(shell))
    try:
        while True:
            if shell.session is not None and shell.session.connection.challenged:
                # It is a secret, so it is not shown.
                text = await _giving_way(shell, shell.screen.ask_hidden(""))
                if text is None:
                    continue
            elif (text := await _next(lines)) is None:
                if await ending.may_part(shell):
                    return
                continue
            await asyncio.sleep(_AT_ONCE)
            rows = [text, *lines.read_ahead()]
            await _giving_way(shell, _block(shell, rows) if len(rows) > 1 else _line(shell, text))
    finally:
        watch.cancel()


async def _block(shell: Shell, rows: list[str]) -> None:
    """Lines that came at once, or while a reply was due: they are shown and asked about first (sec-U2, sec-U3)."""
    if not all(row.startswith(":") for row in rows):  # the shell's own go nowhere
        from popshell.ui.typed import Typing

        shell.say("shell.pasted", count=len(rows))
        for row in Typing(shell).masked("\n".join(rows)).split("\n"):
            shell.screen.lines([[("", f"    {show(row, keep='')}")]])
        answer = await shell.screen.ask(shell.words("shell.ask-paste", count=len(rows)))
        if answer.strip().lower() not in ("y", "yes", shell.words("shell.yes")):
            shell.say("shell.not-sent", style="warn")
            return
    await flight.run_block(shell, rows)
    shell.draft = ""  # what was kept of it was said


async def _warn_of_autologout(shell: Shell) -> None:
    """Where no toolbar counts down: say once, when the last minute begins, that the server will log out."""
    said: Session | None = None
    while True:
        left = shell.seconds_left()
        if left is None or left > waiting.COUNTDOWN:
            said = None
        elif said is not shell.session:
            said = shell.session
            shell.screen.interrupt(lambda: shell.say("shell.autologout-soon", style="warn"))
        await asyncio.sleep(1.0)


async def _giving_way(shell: Shell, work: Awaitable[_T]) -> _T | None:
    """Run `work`; Ctrl-C ends the waiting, for a reply or for an answer, not the program. None then."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the program
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        shell.screen.lines([[]])
        waiting.interrupted(shell)
        return None
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
