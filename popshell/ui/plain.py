"""The loop without a REPL: lines come from a pipe, or from a person at a terminal that is not redrawn (`--plain`).

For a person Ctrl-C ends the waiting for a reply, answers to AUTH are not shown, and autologout is announced: what the
REPL has a toolbar for.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable

from popshell.session import Session
from popshell.ui import flight, waiting
from popshell.ui.shell import Shell


async def run(shell: Shell, lines: AsyncIterator[str], *, stop_on_err: bool = False) -> None:
    """Run every line; with `stop_on_err` up to the first that fails. Raises Leave."""
    person = shell.screen.interactive
    watch = asyncio.ensure_future(_warn_of_autologout(shell)) if person else None
    try:
        while (text := await _next_line(shell, lines)) is not None:
            # There is no prompt to put a finished line at: an empty line is the Enter that sends it.
            draft, shell.draft = shell.draft, ""
            rows = (text or draft).split("\n")
            work = flight.run_block(shell, rows) if len(rows) > 1 else shell.run(rows[0])
            await (_giving_way(shell, work) if person else work)
            if stop_on_err and shell.tally.exit_code():
                return
    finally:
        if watch is not None:
            watch.cancel()


async def _next_line(shell: Shell, lines: AsyncIterator[str]) -> str | None:
    """The next line; an answer to a challenge of AUTH is a secret, and a person's is not shown."""
    if shell.screen.interactive and shell.session is not None and shell.session.connection.challenged:
        return await shell.screen.ask_hidden("")
    return await anext(lines, None)


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


async def _giving_way(shell: Shell, work: Awaitable[None]) -> None:
    """Run `work`; Ctrl-C ends the waiting for its reply, not the program."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the program
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        waiting.interrupted(shell)
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
