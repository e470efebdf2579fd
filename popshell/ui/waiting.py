"""Waiting for a reply: how long, what is said meanwhile, and what remains due when nobody waits any longer (sec-U1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from popshell.session import ConnectError, Event, Session
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.ui.shell import Shell

#: Seconds before autologout at which it is counted down.
COUNTDOWN = 60.0
#: A server that sends less is slow, in octets a second: worth a word, no reason to leave.
SLOWEST = 100
#: How long the server may take to close after QUIT, in seconds, before we close.
CLOSING_TIME = 2.0
#: After so many seconds the shell says what it waits for. Slow refusals are common: Courier 1.0.16 takes 5 s.
HANG_TIME = 3.0
#: After so many seconds without a whole reply nobody waits any longer (docs/reference-limits.md).
REPLY_TIME = 60.0
GREETING_TIME = 30.0
#: The practice server answers at once, or it plays dead (a lesson's condition): a script need not wait for long.
PRACTICE_TIME = 4.0


async def reply_to(shell: Shell, future: asyncio.Future[Event | None]) -> Event | None:
    """Wait for a reply; Ctrl-C cancels the waiting, not the reply (sec-U1)."""
    session = shell.session
    limit = GREETING_TIME if session and session.greeting is future else REPLY_TIME
    if shell.call is not None and shell.call.endpoint.practice and not shell.screen.interactive:
        limit = PRACTICE_TIME
    shell.order.awaited = future
    try:
        done, _ = await asyncio.wait({future}, timeout=HANG_TIME)
        if not done and session is not None:
            _say_what_is_due(shell)
            await _watch(shell, session, future, limit - HANG_TIME)
    except asyncio.CancelledError:
        future.cancel()
        raise
    if future.done():
        return future.result()
    future.cancel()
    if not shell.screen.interactive:
        shell.hang_up()
        if shell.tutor is not None:
            shell.tutor.line_lost()
        raise ConnectError("reply-timeout", seconds=round(limit))
    interrupted(shell)
    return None


def interrupted(shell: Shell) -> None:
    """Nobody waits any longer (Ctrl-C): name the reply that is still to come."""
    due = shell.session.connection.due() if shell.session else None
    if due is not None:
        name = due.command.name if due.command else shell.words("problem.greeting")
        shell.say("shell.interrupted", style="warn", command=show(name, keep=""))


def _say_what_is_due(shell: Shell) -> None:
    """The hang watch: what has come of the reply so far, and what is missing."""
    assert shell.session is not None
    due = shell.session.connection.due()
    if due is None:
        return
    name = show(due.command.name if due.command else shell.words("problem.greeting"), keep="")
    if due.bare_lf_dot:
        key = "shell.waiting-bare-lf"
    elif due.octets:
        key = "shell.waiting-terminator" if due.command and due.command.expects_multi_line else "shell.waiting-line"
    else:
        key = "shell.waiting" if due.command else "shell.waiting-greeting"
    shell.screen.waiting(shell.words(key, command=name, lines=due.lines, octets=due.octets))


async def _watch(shell: Shell, session: Session, future: asyncio.Future[Event | None], seconds: float) -> None:
    """Wait on; if the reply comes, but drips, that is said once."""
    end, seen, said = asyncio.get_running_loop().time() + seconds, session.connection.due(), False
    while (left := end - asyncio.get_running_loop().time()) > 0:
        done, _ = await asyncio.wait({future}, timeout=min(left, HANG_TIME))
        due = session.connection.due()
        if done or due is None:
            return
        if not said and seen is not None and seen.octets < due.octets < SLOWEST * (session.now() - due.since):
            rate = round(due.octets / (session.now() - due.since))
            name = show(due.command.name if due.command else shell.words("problem.greeting"), keep="")
            text = shell.words("shell.waiting-slow", command=name, lines=due.lines, octets=due.octets, rate=rate)
            shell.screen.waiting(text)
            said = True
        seen = due
