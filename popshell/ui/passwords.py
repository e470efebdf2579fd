"""Asks for a password or a token: what an option gives is taken, what is stored is offered, else it is typed."""

from __future__ import annotations

import asyncio

from popshell.passwords import Found, PasswordError, Passwords, stored
from popshell.ui.shell import Shell
from popshell.visible import show


async def ask_password(shell: Shell, name: str, *, token: bool = False, piped: bool = False) -> str | None:
    """The password or token of `name` for the open connection; None if there is none, and "" if none was typed.

    A person takes what is stored by Enter; a script, whose next line is the answer if `piped`, by an empty line.
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
                found = await asyncio.to_thread(stored, name, _host(shell))
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
    typed = await shell.ask_secret(question, piped=piped)
    if found is None or typed or (typed is None and shell.screen.interactive):
        return typed
    return _said(shell, found)


def _said(shell: Shell, found: Found) -> str:
    if found.place:
        shell.say("password.taken", place=shell.words(f"password.{found.place}"))
    return found.secret


def _host(shell: Shell) -> str:
    return shell.endpoint.label.rpartition(":")[0].strip("[]") if shell.endpoint else ""
