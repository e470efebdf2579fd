"""The table of the shell's own commands; `:help`; those that look at something, change a setting, or do something.

They begin with a colon, so no POP3 command can ever collide. Help, completion and the reference are derived from the
table, which is put together here: rows of this file, and those that the course brings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType

from popshell.course.catalog import LANGUAGES, match_language
from popshell.course.document import LessonError
from popshell.course.explain import explain_line, explain_reply, legal_now, pages, subject
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, State
from popshell.protocol.line import Context, parse, upper
from popshell.protocol.secrets import begins_login, takes_secret
from popshell.ui import diagram, drawings, layout, octets
from popshell.ui.auth import NAMES, apop, auth, tls
from popshell.ui.events import End
from popshell.ui.exports import WITH_SECRETS, save
from popshell.ui.front import run_block
from popshell.ui.layout import Line, pad
from popshell.ui.shell import Meta, Refused, Shell, Undone
from popshell.visible import show

#: What `:notes` can be, as the setting `notes`: `auto` says once what repeats (display.py).
NOTES = ("auto", "full", "brief", "off")


class Metas:
    """The table; `course` are the rows of the course."""

    def __init__(self, course: Iterable[Meta] = ()) -> None:
        self.rows: Mapping[str, Meta] = MappingProxyType(
            {meta.name: meta for meta in (*LOOKING, *ACTIONS, *course, QUIT)}
        )

    def found(self, name: str) -> list[Meta]:
        """The commands that a name, or the beginning of one, may stand for."""
        name = name.lower()
        exact = [meta for meta in self.rows.values() if name == meta.name or name in meta.also]
        return exact or [meta for meta in self.rows.values() if meta.name.startswith(name)]

    def one(self, shell: Shell, name: str) -> Meta | None:
        """The command of that name. None, and what else it may be is said; only the name: a password may follow it."""
        known = self.found(name)
        if len(known) == 1:
            return known[0]
        from difflib import get_close_matches  # only a slip needs it

        if known:
            near = shell.words.listed(f":{meta.name}" for meta in known)
            shell.say("shell.meta-ambiguous", style="warn", name=show(name), near=near)
        elif upper(name) in COMMANDS:
            shell.say("shell.meta-pop3", style="warn", command=upper(name))
        elif similar := get_close_matches(name.lower(), self.rows, 1, 0.7):
            shell.say("shell.meta-near", style="warn", name=show(name), near=similar[0])
        else:
            shell.say("shell.meta-unknown", style="warn", name=show(name))
        return None

    async def run(self, shell: Shell, text: str) -> None:
        """Run one line that begins with a colon. Raises Leave."""
        name, argument = (*text[1:].split(maxsplit=1), "", "")[:2]  # also at a full-width space
        meta, argument = self.one(shell, name or "help"), argument.strip()
        if meta is None:
            if argument or begins_login(None, name):
                shell.login_held_back()  # `:auht PLAIN mei`, `:pass`
            shell.tally.usage = True
            return
        try:
            if argument and not meta.param:
                raise Refused
            if meta.connected and shell.session is None:
                raise Refused("shell.no-connection")
            await meta.run(shell, argument)
        except Refused as refused:
            shell.say(refused.key or "shell.usage", style=refused.style, **{"usage": meta.usage, **refused.facts})
            shell.tally.usage = shell.tally.usage or not refused.key
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=error)


# -- help --------------------------------------------------------------------------------------------------------------


async def _help(shell: Shell, argument: str) -> None:
    from popshell.ui.pages import render  # markdown-it is loaded for the first page only

    language, wanted = shell.options.language, argument.strip().strip("[]")
    if not wanted:
        _overview(shell)
        return
    if wanted.lower() in ("states", "state"):
        await _shown(_state, " ")(shell, "")
        return
    path = page_for(argument.strip())
    page = shell.catalog.page(language, path) if path else None
    metas = shell.metas().found(wanted.removeprefix(":")) if page is None else []
    if len(metas) == 1:
        shell.screen.lines(meta_rows(shell, metas))
        if metas[0].name == "connect":
            options = [(("command", usage), shell.words(key)) for usage, key in shell.connect_options]
            shell.screen.lines(layout.two_columns(options, shell.screen.look))
        return
    if page is None:
        shell.say("shell.no-page", style="warn", name=show(wanted))
        shell.tally.usage = True
        return
    screen = shell.screen
    shell.page(screen.drawn(render(page, path or "", shell.words, screen.look)))


def page_for(word: str) -> str | None:
    """The path of the page that a word asks for: command, [CODE], capability, state, or the path itself."""
    path = word.strip("[]")
    return path if path in pages() else subject(word)[0] or None


def _overview(shell: Shell) -> None:
    words, look, session = shell.words, shell.screen.look, shell.session
    lines = layout.paragraph(words("shell.help-intro"), look)
    if session is None:
        lines += layout.paragraph(words("shell.help-closed"), look, style="warn")
    else:
        context = session.connection.context()
        lines += layout.paragraph(words("shell.help-legal", state=context.state.value), look, style="emphasis")
        now = legal_now(context, session.connection.stamp)
        known = [(spec, shell.catalog.page(words.language, f"commands/{spec.name}")) for spec in now]
        rows = [(("command", spec.syntax), page.summary if page else "") for spec, page in known]
        lines += layout.two_columns(rows, look)
    lines += layout.paragraph(words("shell.help-metas"), look, style="emphasis")
    shell.page(shell.screen.drawn([*lines, *meta_rows(shell, list(shell.metas().rows.values()))]))


def meta_rows(shell: Shell, metas: list[Meta]) -> list[Line]:
    rows = [(("command", meta.usage), shell.words(f"meta.{meta.name}")) for meta in metas]
    return layout.two_columns(rows, shell.screen.look)


def _help_words() -> tuple[str, ...]:
    tags = (tag for tag in CAPABILITIES if tag not in COMMANDS)
    codes = (f"[{row.code}]" for row in RESPONSE_CODES.values())
    return ("states", *COMMANDS, *State.__members__, *tags, *codes)


def _one_of(argument: str, *choices: str) -> None:
    """Raises Refused, which shows the usage, for an argument that is none of the choices."""
    if argument not in ("", *choices):
        raise Refused


# -- looking -----------------------------------------------------------------------------------------------------------


async def explain(shell: Shell, argument: str) -> None:
    if not argument:
        raise Refused
    if argument.startswith(":"):
        if meta := shell.metas().one(shell, argument[1:].partition(" ")[0]):
            shell.screen.lines(meta_rows(shell, [meta]))
            shell.say("explain.meta")
        return
    context = shell.session.connection.context() if shell.session else Context(State.CLOSED)
    catalog, language = shell.catalog, shell.options.language
    if argument[:3] in ("C: ", "S: "):  # copied with the mark of who speaks
        argument = argument[3:]
    spans = explain_reply(argument, catalog, language) or explain_line(parse(argument, context), catalog, language)
    shell.screen.lines(layout.span_lines(spans, shell.screen.look))


def _shown(draw: Callable[[Shell, str], list[Line]], margin: str = "") -> Callable[[Shell, str], Awaitable[None]]:
    """Shows what is drawn as a reply is shown: whole where one can well scroll back, else a windowful at a time.

    No lines: why there are none was said.
    """

    async def run(shell: Shell, argument: str) -> None:
        lines = draw(shell, argument)
        text = shell.screen.drawn([("", margin), *line] if line else line for line in lines)
        if len(lines) > shell.screen.comfortable:
            shell.page(text)
        elif lines:
            shell.rest = None
            shell.screen.styled(text)

    return run


def _state(shell: Shell, argument: str) -> list[Line]:
    return diagram.machine(shell.state, shell.screen.look.within(-1), shell.words)


def _mailbox(shell: Shell, argument: str) -> list[Line]:
    _one_of(argument, "all")
    assert shell.session is not None
    view = shell.session.connection.maildrop
    if not view.open:
        raise Refused("shell.no-maildrop")
    limit = drawings.MOST_ROWS if argument else drawings.LIMIT
    return drawings.mailbox(view, shell.screen.look.within(-1), shell.words, limit=limit)


def _ladder(shell: Shell, argument: str) -> list[Line]:
    exchanges = shell.exchanges_here() if shell.endpoint else shell.exchanges()
    return drawings.ladder(exchanges, shell.screen.look.within(-1), shell.words, shell.state)


async def more(shell: Shell, argument: str) -> None:
    _one_of(argument, "all")
    rest, before = shell.rest, shell.screen.page
    if rest is None:
        raise Refused("shell.no-more", style="note")
    if rest.exchange is not None:
        shell.reply(rest.exchange, rest.start, 1 << 40 if argument else None)
        return
    if argument:
        shell.screen.styled("".join(rest.rows))
        shell.rest = None
    else:
        shell.page("".join(rest.rows))
    shell.screen.page = before + shell.screen.page


async def pager(shell: Shell, argument: str) -> None:
    """The page or long reply that was shown last, whole, in the user's pager."""
    screen = shell.screen
    last = next((exchange for exchange in reversed(shell.exchanges()) if exchange.raw_content()), None)
    if not screen.page and last is None:
        raise Refused("shell.nothing-yet", style="note")
    page = screen.page + "".join(shell.rest.rows if shell.rest else ())
    if not await screen.page_out(page.splitlines() if page or last is None else screen.whole(last)):
        shell.say("shell.no-pager", style="warn")


async def why(shell: Shell, argument: str) -> None:
    """Why the server refused the last line that it refused, as far as the rules of `lessons/doctor.toml` go."""
    from popshell.course import doctor  # msgspec, and the rules, are loaded for the first question only
    from popshell.course.symptoms import Facts

    endpoint = shell.endpoint
    if endpoint is None:
        raise Refused("shell.no-connection")
    facts = Facts(endpoint.host, closed=shell.link.how is End.LOST)
    diagnosis = doctor.diagnose(shell.exchanges_here(), facts, doctor.load(shell.catalog))
    words = shell.catalog.words(shell.options.language, "doctor")
    for style, text in doctor.why(diagnosis, words, echoes=not endpoint.practice):
        shell.screen.lines(layout.paragraph(text, shell.screen.look, style=style))


async def fork(shell: Shell, argument: str) -> None:
    """What the maildrop would be after QUIT, and after the line going dead, side by side."""
    assert shell.session is not None
    if shell.fork is None or not shell.on_practice:
        raise Refused("shell.no-fork")
    if not shell.session.connection.maildrop.open:
        raise Refused("shell.fork-closed")
    after_quit, after_loss = shell.fork()
    words = shell.words
    left, right = words("shell.fork-quit"), words("shell.fork-lost")
    half = max(20, (shell.screen.columns - 6) // 2)
    rows: list[Line] = [[("", "  "), ("emphasis", pad(left, half)), ("emphasis", right)]]
    for number in sorted({*after_quit, *after_loss}):
        stays, gone = ("", words("shell.fork-stays", number=number)), ("warn", words("shell.fork-gone", number=number))
        first, second = (stays if number in kept else gone for kept in (after_quit, after_loss))
        rows.append([("", "  "), (first[0], pad(first[1], half)), second])
    shell.screen.lines(rows)
    shell.say("shell.fork-note")


# -- settings ----------------------------------------------------------------------------------------------------------


async def notes(shell: Shell, argument: str) -> None:
    _one_of(argument, *NOTES)
    shell.options.notes = argument or shell.options.notes
    shell.say("shell.notes-are", value=shell.options.notes)


async def lang(shell: Shell, argument: str) -> None:
    tag = (argument and match_language(argument)) or argument
    _one_of(tag, *LANGUAGES)
    shell.options.language = tag or shell.options.language
    shell.say("shell.language-is", value=shell.words("language.name"))


async def reveal(shell: Shell, argument: str) -> None:
    _one_of(argument, "on", "off")
    shell.options.reveal = argument == "on" if argument else shell.options.reveal
    key = "reveal-off" if not shell.options.reveal else "reveal-on" if shell.on_practice else "reveal-not-here"
    shell.say(f"shell.{key}")


# -- the session -------------------------------------------------------------------------------------------------------


async def flight(shell: Shell, argument: str) -> None:
    """Several lines in one flight, without pasting; what logs in is typed by itself, where it is masked."""
    from popshell.course.player import in_flight  # msgspec and the practice server, which no start pays

    rows = in_flight(argument)
    if not rows:
        raise Refused
    if any(spec and takes_secret(spec) for spec in (parse(row).spec for row in rows)):
        raise Refused("shell.no-login-in-flight")
    session = shell.session
    if session is not None and "PIPELINING" not in (session.connection.capabilities or {}):
        shell.say("shell.one-by-one")
    await run_block(shell, rows)


async def connect(shell: Shell, argument: str) -> None:
    """A new connection; one to a real server with marks set is not given up unasked."""
    if not await shell.connect(argument or None):
        raise Undone


async def unlock(shell: Shell, argument: str) -> None:
    """DELE may go out on this connection. A script, which cannot be asked, allows the QUIT that erases, too."""
    if shell.on_practice:
        shell.say("shell.unlock-practice")
    else:
        shell.link.unlocked = True
        key = "shell.unlocked" if shell.screen.interactive else "shell.unlocked-script"
        shell.say(key, style="warn", place=shell.link.place)


async def drop(shell: Shell, argument: str) -> None:
    """Close the connection without QUIT; what that means is said when it has ended."""
    shell.close(End.DROPPED)


async def _mail(shell: Shell, argument: str) -> None:
    from popshell.ui.mail import mail  # Python's email package is loaded for the first mail only

    await mail(shell, argument)


#: Rows of the table of meta commands: those that look at something, and those that do something.
LOOKING = (
    Meta("help", _help, "[WORD]", _help_words, also=("?", "h")),
    Meta("explain", explain, "LINE", lambda: tuple(COMMANDS)),
    Meta("state", _shown(_state, " ")),
    Meta("mailbox", _shown(_mailbox, " "), "[all]", lambda: ("all",), connected=True),
    Meta("ladder", _shown(_ladder, " ")),
    Meta("more", more, "[all]", lambda: ("all",)),
    Meta("pager", pager),
    Meta("raw", _shown(octets.raw)),
    Meta("wire", _shown(octets.wire), "[N] [hex]", lambda: ("hex",)),
    Meta("times", _shown(octets.times)),
    Meta("mail", _mail, "N"),
    Meta("why", why),
    Meta("tls", tls),
)
ACTIONS = (
    Meta("apop", apop, "NAME"),
    Meta("flight", flight, "LINE | LINE"),
    Meta("connect", connect, "[HOST] [OPTIONS]", lambda: ("practice",)),
    Meta("unlock", unlock, connected=True),
    Meta("drop", drop, connected=True),
    Meta("save", save, "[N|--with-secrets] FILE", lambda: (WITH_SECRETS,)),
    Meta("notes", notes, f"[{'|'.join(NOTES)}]", lambda: NOTES),
    Meta("lang", lang, f"[{'|'.join(LANGUAGES)}]", lambda: tuple(LANGUAGES)),
    Meta("reveal", reveal, "[on|off]", lambda: ("on", "off")),
    Meta("auth", auth, "[MECH [NAME [as=OTHER]]]", lambda: NAMES, connected=True),
    Meta("fork", fork, connected=True),
)
QUIT = Meta("quit", lambda shell, _: shell.leave(), also=("exit", "q"))
