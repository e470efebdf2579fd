"""The seat belt: what is asked before a line is sent, because it may erase mail or give a password away; passwords.

It holds for real servers (sec-U7, sec-T5), which are looked at only until `:unlock`; on the practice server QUIT with
marks only says what it will erase. A line that is merely wrong is never held back: its `-ERR` is the lesson.
"""

from __future__ import annotations

import asyncio

from popshell.passwords import Found, PasswordError, Passwords, stored
from popshell.protocol import secrets
from popshell.protocol.commands import State
from popshell.protocol.line import CommandLine, parse
from popshell.ui.link import Link
from popshell.ui.shell import Shell
from popshell.visible import show


class SeatBelt:
    """The first gate of a shell."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        #: the link on which RETR was agreed to: it is asked about once a connection
        self._may_fetch: Link | None = None

    async def __call__(self, line: CommandLine) -> CommandLine | None:
        """The line, a bare PASS with the password that was asked for; None, and why is shown, if it is not sent."""
        held_back, self._shell.held_back = self._shell.held_back, False
        if held_back and line.spec is None and not self._shell.screen.interactive:
            self._shell.say("shell.held-answer", style="warn")
            self._shell.tally.usage = True
            return None
        complete = await self._with_password(line)
        return complete if complete is not None and await self._allows(complete) else None

    async def _with_password(self, line: CommandLine) -> CommandLine | None:
        """An empty answer leaves PASS bare, Ctrl-C sends nothing."""
        shell, spec, session = self._shell, line.spec, self._shell.session
        if session is None or spec is None or spec.name != "PASS" or len(line.tokens) > 1 or line.has("must-follow"):
            return line
        users = [e.command.text.partition(" ")[2] for e in shell.exchanges_here() if e.name == "USER" and e.command]
        secret = await ask_password(shell, users[-1] if users else "")
        if secret is None and shell.screen.interactive:
            shell.say("shell.not-sent", style="warn")
            return None
        shell.held_back = not secret  # a script's next line may be it
        return parse(f"{line.text.rstrip()} {secret}", session.connection.context()) if secret else line

    async def _allows(self, line: CommandLine) -> bool:
        """Whether a line may go out to a real server; on the practice server, all but a word before QUIT is free."""
        shell, session, endpoint, link = self._shell, self._shell.session, self._shell.endpoint, self._shell.link
        if session is None or endpoint is None:
            return True
        name, place = line.spec.name if line.spec else "", endpoint.label
        acts = name if session.connection.context().state is State.TRANSACTION else ""
        marks = session.connection.at_stake if acts == "QUIT" else ()
        erased = {"marks": shell.words.listed(sorted(marks)), "count": len(marks)}
        if endpoint.practice:
            if marks:
                shell.say("shell.quit-erases", style="warn", **erased)
            return True
        if marks:
            # It is asked each time; in a script `:unlock` has said so before.
            unlocked = link.unlocked and not shell.screen.interactive
            return unlocked or await self._consent("shell.ask-quit", name, place=place, **erased)
        if acts == "DELE" and shell.look_only:
            shell.say("shell.look-only", style="warn", command=show(line.redacted(), keep=""), place=place)
            shell.tally.usage = True
            return False
        if acts == "RETR" and endpoint.look_only and shell.screen.interactive and self._may_fetch is not link:
            if not await self._consent("shell.ask-retr", name, place=place):
                return False
            self._may_fetch = link
        if session.connection.tls or endpoint.loopback or not _readable_in_clear_text(line):
            return True
        return await self._consent("shell.ask-clear-text", name, place=place)

    async def _consent(self, key: str, command: str, **facts: object) -> bool:
        shell = self._shell
        if shell.options.yes:
            return True
        if not shell.screen.interactive:
            shell.say("shell.needs-yes", style="err", command=command)
            shell.tally.usage = True
            return False
        agreed = await shell.confirm(shell.words(key, **facts))
        if not agreed:
            shell.say("shell.not-sent", style="warn")
        return agreed


def _readable_in_clear_text(line: CommandLine) -> bool:
    """Whether the line, or the answer it asks for, gives a secret away; CRAM-MD5 and SCRAM send proofs only."""
    if not secrets.readable_in_clear_text(line):
        return False
    if line.name != "AUTH" or not line.arguments:
        return True
    from popshell.protocol.mechanisms import MECHANISMS  # no start pays for it

    row = MECHANISMS.get(line.arguments[0].upper())
    return row is None or row.clear_text


# -- passwords ---------------------------------------------------------------------------------------------------------


async def ask_password(shell: Shell, name: str, *, token: bool = False, piped: bool = False) -> str | None:
    """The password or token of `name` for the open connection; None if there is none, and "" if none was typed.

    What an option gives is taken, what is stored is offered, else it is typed. A person takes what is stored by Enter;
    a script, whose next line is the answer if `piped`, by an empty line.
    """
    found = None
    if token and shell.endpoint is not None:  # the practice server's
        found = next((Found(owner, one, "") for one, owner in shell.endpoint.tokens().items() if owner == name), None)
    try:
        if not shell.on_practice:
            here = Passwords(shell.endpoint.password_command) if shell.endpoint and not token else None
            for source in (shell.options.passwords, here):
                if source is not None and (found := await source.given(name, token=token)):
                    return _said(shell, found)
            if not token and (piped or shell.screen.interactive):
                found = await asyncio.to_thread(stored, name, shell.endpoint.host if shell.endpoint else "")
    except PasswordError as error:
        facts = {key: it if key == "reason" else show(str(it)) for key, it in error.facts.items()}
        shell.say(f"password.{error.code}", style="warn", **facts)
        if error.code.startswith(("command", "fd")):
            shell.tally.failed = True
            return None
    words = shell.words
    question = words("auth.ask-token" if token else "shell.password")
    if found is not None:
        place = words(f"password.{found.place}") if found.place else ""
        question = words("password.offer", place=place) if place else words("auth.offer-token")
    typed = await shell.screen.ask(question, hidden=True, piped=piped)
    if found is None or typed or (typed is None and shell.screen.interactive):
        return typed
    return _said(shell, found)


def _said(shell: Shell, found: Found) -> str:
    if found.place:
        shell.say("password.taken", place=shell.words(f"password.{found.place}"))
    return found.secret
