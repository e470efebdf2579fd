"""The seat belt: what is asked before a line goes out, because it may erase mail or give a password away.

It speaks up on real servers (sec-U7, sec-T5); on the practice server QUIT with marks only says what it will erase. A
line that is merely wrong is never held back: its `-ERR` is the lesson.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from popshell.protocol import secrets
from popshell.protocol.commands import State
from popshell.protocol.line import CommandLine, parse

if TYPE_CHECKING:
    from popshell.ui.shell import Shell


async def with_password(shell: Shell, line: CommandLine) -> CommandLine | None:
    """`line`, but a bare PASS asks hidden for its password; an empty answer leaves it bare, Ctrl-C sends nothing."""
    spec, session = line.spec, shell.session
    if session is None or spec is None or spec.name != "PASS" or len(line.tokens) > 1 or line.has("must-follow"):
        return line
    secret = await shell.screen.ask_hidden(shell.words("shell.password"))
    if secret is None and shell.screen.interactive:
        shell.say("shell.not-sent", style="warn")
        return None
    return parse(f"{line.text.rstrip()} {secret}", session.connection.context()) if secret else line


async def allows(shell: Shell, line: CommandLine) -> bool:
    """Whether `line` may go out: DELE is asked about once a session, QUIT with marks always, a clear-text password
    to another host always. If not, why is shown."""
    session, place = shell.session, shell.call.endpoint if shell.call else None
    if session is None or place is None:
        return True
    state, marks = session.connection.context().state, session.connection.at_stake
    name = line.spec.name if line.spec else ""
    if name == "QUIT" and marks and state is State.TRANSACTION:
        erased = {"marks": shell.words.listed(sorted(marks)), "count": len(marks)}
        if place.practice:
            shell.say("shell.quit-erases", style="warn", **erased)
            return True
        return await _consent(shell, "shell.ask-quit", name, place=place.label, **erased)
    if place.practice:
        return True
    if name == "DELE" and state is State.TRANSACTION and not shell.asked_dele:
        shell.asked_dele = await _consent(shell, "shell.ask-dele", name, place=place.label)
        return shell.asked_dele
    if secrets.readable_in_clear_text(line) and not session.connection.tls and not place.loopback:
        return await _consent(shell, "shell.ask-clear-text", name, place=place.label)
    return True


async def _consent(shell: Shell, key: str, command: str, **facts: object) -> bool:
    if shell.options.yes:
        return True
    if not shell.screen.interactive:
        shell.say("shell.needs-yes", style="err", command=command)
        shell.tally.usage = True
        return False
    answer = await shell.screen.ask(shell.words(key, **facts))
    agreed = answer.strip().lower() in ("yes", shell.words("shell.yes"))
    if not agreed:
        shell.say("shell.not-sent", style="warn")
    return agreed
