"""Meta commands that do something: settings, APOP's digest, connecting, several lines at once, a transcript in a file.

The table of all meta commands is in metas.py.
"""

from __future__ import annotations

from pathlib import Path

from popshell.course.catalog import LANGUAGES, match_language
from popshell.protocol.commands import State
from popshell.protocol.line import parse
from popshell.protocol.sasl import apop_digest, prepared
from popshell.protocol.secrets import MASK, takes_secret
from popshell.ui.events import End
from popshell.ui.front import run_block
from popshell.ui.passwords import ask_password
from popshell.ui.shell import Meta, Misused, Shell, Undone
from popshell.visible import show

WITH_SECRETS = "--with-secrets"
#: What `:notes` can be, as the setting `notes`: `auto` says once what repeats (display.py).
NOTES = ("auto", "full", "brief", "off")

# -- settings ----------------------------------------------------------------------------------------------------------


async def notes(shell: Shell, argument: str) -> None:
    if argument in NOTES:
        shell.options.notes = argument
    elif argument:
        shell.say("shell.choose", style="warn", choices=shell.words.listed(NOTES))
        return
    shell.say("shell.notes-are", value=shell.options.notes)


async def lang(shell: Shell, argument: str) -> None:
    tag = match_language(argument) if argument else None
    if argument and tag is None:
        shell.say("shell.choose", style="warn", choices=shell.words.listed(LANGUAGES))
        return
    if tag:
        shell.options.language = tag
    shell.say("shell.language-is", value=shell.words("language.name"))


async def reveal(shell: Shell, argument: str) -> None:
    if argument in ("on", "off"):
        shell.options.reveal = argument == "on"
    elif argument:
        shell.say("shell.choose", style="warn", choices=shell.words.listed(("on", "off")))
        return
    key = "reveal-off" if not shell.options.reveal else "reveal-on" if shell.on_practice else "reveal-not-here"
    shell.say(f"shell.{key}")


# -- the session -------------------------------------------------------------------------------------------------------


async def apop(shell: Shell, argument: str) -> None:
    """Compute the digest step by step and put the line at the prompt, unsent."""
    session = shell.session
    stamp = session.connection.stamp if session is not None else None
    if not argument or " " in argument:
        shell.login_held_back()
        raise Misused
    # In a script the next line is the answer, whatever becomes of the command: it must not go out as a command.
    scripted = not shell.screen.interactive
    secret = await ask_password(shell, argument, piped=True) if scripted else None
    if secret is None:
        shell.login_held_back()
    if session is None or stamp is None:
        shell.say("shell.no-stamp" if session else "shell.not-connected", style="warn")
        return
    if session.connection.state is not State.AUTHORIZATION:
        shell.say("shell.apop-logged-in", style="warn", state=session.connection.state.value)
        return
    if not scripted:
        secret = await ask_password(shell, argument, piped=True)
    if not secret:
        shell.say("shell.not-sent", style="warn")
        return
    digest = apop_digest(stamp, secret)
    shell.screen.lines(
        [
            [("", "    MD5( "), ("stamp", show(stamp, keep="")), ("", " + "), ("secret", MASK), ("", " )")],
            [("", "      = "), ("secret", digest if shell.options.reveal and shell.on_practice else MASK)],
        ]
    )
    shell.draft = f"APOP {prepared(argument) or argument} {digest}"  # RFC 6856 §2.2
    shell.say("shell.apop-ready" if shell.screen.prompts else "shell.apop-ready-plain")


async def flight(shell: Shell, argument: str) -> None:
    """Several lines in one flight, without pasting; what logs in is typed by itself, where it is masked."""
    from popshell.course.player import in_flight  # msgspec and the practice server, which no start pays

    rows = in_flight(argument)
    if not rows:
        raise Misused
    if any(spec and takes_secret(spec) for spec in (parse(row).spec for row in rows)):
        shell.say("shell.no-login-in-flight", style="warn")
        return
    session = shell.session
    if session is not None and "PIPELINING" not in (session.connection.capabilities or {}):
        shell.say("shell.one-by-one")
    await run_block(shell, rows)


async def connect(shell: Shell, argument: str) -> None:
    """A new connection; one to a real server with marks set is not given up unasked."""
    if not await shell.connect(argument or None, asking=not shell.on_practice):
        raise Undone


async def unlock(shell: Shell, argument: str) -> None:
    """DELE may go out on this connection. A script, which cannot be asked, allows the QUIT that erases, too."""
    if shell.session is None or shell.link is None:
        shell.say("shell.no-connection", style="warn")
    elif shell.on_practice:
        shell.say("shell.unlock-practice")
    else:
        shell.link.unlocked = True
        key = "shell.unlocked" if shell.screen.interactive else "shell.unlocked-script"
        shell.say(key, style="warn", place=shell.link.place)


async def drop(shell: Shell, argument: str) -> None:
    """Close the connection without QUIT; what that means is said when it has ended."""
    if shell.session is None:
        shell.say("shell.no-connection", style="warn")
    else:
        shell.close(End.DROPPED)


async def save(shell: Shell, argument: str) -> None:
    """Write the session: redacted, unless one asks for a transcript with secrets and says yes to it (sec-K4)."""
    first, _, rest = argument.partition(" ")
    if first.isdecimal() and first.isascii():
        from popshell.ui.saving import save_message

        await save_message(shell, first, rest.strip())
        return
    masked = first != WITH_SECRETS
    path = argument if masked else rest.strip()
    from popshell.ui.exports import EXPORTS, transcript
    from popshell.ui.saving import write_new

    suffix = Path(path).suffix.lower()
    export = EXPORTS.get(suffix) if suffix else transcript
    if not path or not (masked or export in (transcript, None)):
        raise Misused
    if export is None:
        shell.tally.usage = True
        shell.say("shell.save-suffix", style="err", suffix=show(suffix), suffixes=shell.words.listed(EXPORTS))
        return
    if not masked:
        question = shell.words("shell.ask-secrets", path=show(path))
        if not await shell.confirm(question):
            shell.say("shell.not-saved")
            return
    if write_new(shell, path, export(shell) if masked else transcript(shell, masked=False)):
        key = "shell.saved" if masked else "shell.saved-secrets"
        shell.say(key, path=show(path), count=len(shell.exchanges()))


async def quit_(shell: Shell, argument: str) -> None:
    await shell.leave()


#: Rows of the table of meta commands.
ACTIONS = (
    Meta("apop", apop, "NAME"),
    Meta("flight", flight, "LINE | LINE"),
    Meta("connect", connect, "[HOST] [OPTIONS]", lambda: ("practice",)),
    Meta("unlock", unlock),
    Meta("drop", drop),
    Meta("save", save, "[N|--with-secrets] FILE", lambda: (WITH_SECRETS,)),
    Meta("notes", notes, f"[{'|'.join(NOTES)}]", lambda: NOTES),
    Meta("lang", lang, f"[{'|'.join(LANGUAGES)}]", lambda: tuple(LANGUAGES)),
    Meta("reveal", reveal, "[on|off]", lambda: ("on", "off")),
)
QUIT = Meta("quit", quit_, also=("exit", "q"))
