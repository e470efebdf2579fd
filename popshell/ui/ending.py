"""How a connection ends, and what became of the marks: told truly, whoever closed, and whatever was still due.

Only QUIT in TRANSACTION enters UPDATE (RFC 1939 §6). So after every other end nothing was deleted; but a QUIT that was
sent and never answered leaves it open, and then that is what is said.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from popshell.course.explain import Note
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange, Problem
from popshell.session import ConnectError, Session
from popshell.ui import waiting

if TYPE_CHECKING:
    from popshell.ui.shell import Shell


def tell(shell: Shell, session: Session, before: State, error: Exception | None) -> None:
    """Tell of an end that nobody here asked for: `before` is the state it met, `error` what the network says."""
    left = shell.seconds_left(session)
    if left is not None and left <= 0:
        shell.say("shell.autologout", style="warn")
    elif isinstance(error, ConnectError):
        shell.fail(error)
    elif session.connection.broken is None:  # else the fault's own words have said that we closed
        shell.say("shell.server-closed", style="warn")
    if shell.begun:
        shell.say("shell.reconnect")
    shell.moved(before, State.CLOSED)
    became_of_marks(shell, session)
    if shell.tutor is not None:
        shell.tutor.line_lost()


def became_of_marks(shell: Shell, session: Session) -> None:
    """After an end without a reply to QUIT: whether the marked messages are still there."""
    unanswered = [e for e in session.transcript if e.command is not None and e.response is None]
    marks = session.connection.at_stake | {
        e.command.message for e in unanswered if e.name == "DELE" and e.command and e.command.message
    }
    if not marks:
        return
    quit_sent = any(e.name == "QUIT" for e in unanswered)
    key = "shell.dropped-quit" if quit_sent else "shell.dropped-marks"
    shell.say(key, style="warn", marks=shell.words.listed(sorted(marks)), count=len(marks))


async def after_quit(shell: Shell, before: State) -> None:
    """QUIT was answered: the server closes (RFC 1939 §6); if it does not, we do, and say so."""
    shell.expected_end = True
    closed = await shell.closing()
    if not closed:
        shell.hang_up()
    shell.say("shell.closed" if closed else "shell.closed-by-us", seconds=round(waiting.CLOSING_TIME))
    if shell.tutor is not None:
        shell.tutor.goodbye()
    if before is not State.CLOSED:
        shell.moved(before, State.CLOSED)


async def begin_tls(shell: Shell, session: Session) -> None:
    """The handshake that `+OK` to STLS asks for. If it fails, the connection is gone, and why is told."""
    before, shell.expected_end = shell.state, True  # a failure has words of its own
    try:
        await session.start_tls()
    except (Exception, asyncio.CancelledError) as error:
        shell.hang_up()
        told = error if isinstance(error, ConnectError) else ConnectError("tls-failed")
        shell.fail(told)
        shell.moved(before, State.CLOSED)
        fault = Exchange(None, None, before, State.CLOSED, problem=Problem("tls-failed"))
        session.transcript.append(fault)
        shell.screen.record(fault, [Note("err", shell.net_words(told))])
        if isinstance(error, asyncio.CancelledError):
            raise
        return
    shell.expected_end = False
    facts = shell.call.tls_facts() if shell.call else {}
    shell.say("shell.tls-on", style="lock", **{"version": "TLS", "cipher": "", **facts}, lock=shell.screen.lock)


async def may_part(shell: Shell) -> bool:
    """Whether to give up the open connection without QUIT: with marks set they are named, and it is asked."""
    session = shell.session
    if session is None or not session.connection.at_stake or not shell.screen.interactive:
        return True
    marks = session.connection.at_stake
    key = "shell.ask-leave-quit" if session.connection.is_due("QUIT") else "shell.ask-leave"
    answer = await shell.screen.ask(shell.words(key, marks=shell.words.listed(sorted(marks)), count=len(marks)))
    return answer.strip().lower() in ("y", "yes", shell.words("shell.yes"))
