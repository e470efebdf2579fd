"""The shell's own commands: a table like COMMANDS. They begin with a colon, so no POP3 command can ever collide.

A row holds the name, its parameter and the function; what it does in words stands in `messages.toml`, `[meta]`. Help,
completion and the reference are derived from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from popshell.course.catalog import LANGUAGES
from popshell.course.explain import pages
from popshell.course.now import legal_now
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, State, known_code
from popshell.protocol.line import upper
from popshell.ui import coursework, doing, looking, render
from popshell.ui.coursework import Run, of_course
from popshell.ui.layout import Line
from popshell.ui.shell import Misused, Shell
from popshell.visible import show


@dataclass(frozen=True, slots=True)
class Meta:
    """One meta command. `choices` are the words that its parameter can be, for completion; `also` further names."""

    name: str
    run: Run
    param: str = ""
    choices: Callable[[], tuple[str, ...]] = tuple
    also: tuple[str, ...] = ()


def found(name: str) -> list[Meta]:
    """The meta commands that a name, or the beginning of one, may stand for."""
    name = name.lower()
    exact = [meta for meta in METAS.values() if name == meta.name or name in meta.also]
    return exact or [meta for meta in METAS.values() if meta.name.startswith(name)]


async def run_meta(shell: Shell, text: str) -> None:
    """Run one line that begins with a colon. Raises Leave."""
    name, _, argument = text[1:].strip().partition(" ")
    known = found(name or "help")
    if len(known) != 1:
        not_found(shell, name, known)
        shell.tally.usage = True
        return
    meta, argument = known[0], argument.strip()
    try:
        if argument and not meta.param:
            raise Misused
        await meta.run(shell, argument)
    except Misused:
        shell.say("shell.usage", style="warn", usage=usage(meta))
        shell.tally.usage = True


def not_found(shell: Shell, name: str, known: list[Meta]) -> None:
    """Say what else it may be; only the name is repeated, since a password may stand behind it."""
    from difflib import get_close_matches  # only a slip needs it

    if known:
        near = shell.words.listed(f":{meta.name}" for meta in known)
        shell.say("shell.meta-ambiguous", style="warn", name=show(name), near=near)
    elif upper(name) in COMMANDS:
        shell.say("shell.meta-pop3", style="warn", command=upper(name))
    elif similar := get_close_matches(name.lower(), METAS, 1, 0.7):
        shell.say("shell.meta-near", style="warn", name=show(name), near=similar[0])
    else:
        shell.say("shell.meta-unknown", style="warn", name=show(name))


async def _help(shell: Shell, argument: str) -> None:
    from popshell.ui import pages as layout  # markdown-it is loaded for the first page only

    language, wanted = shell.options.language, argument.strip().strip("[]")
    if not wanted:
        _overview(shell)
        return
    if wanted.lower() in ("states", "state"):
        await looking.state(shell, "")
        return
    path = page_for(argument.strip())
    page = shell.catalog.page(language, path) if path else None
    metas = found(wanted.removeprefix(":")) if page is None else []
    if len(metas) == 1:
        shell.screen.lines(meta_rows(shell, metas))
        return
    if page is None:
        shell.say("shell.no-page", style="warn", name=show(wanted))
        shell.tally.usage = True
        return
    screen = shell.screen
    shell.page(screen.drawn(layout.render(page, path or "", shell.words, screen.look)))


def page_for(word: str) -> str | None:
    """The path of the page that a word asks for: command, [CODE], capability, state, or the path itself."""
    wanted, bracketed = word.strip("[]"), word.startswith("[")
    upper = wanted.upper()
    code = known_code(wanted)
    if "/" in wanted and wanted in pages():
        return wanted
    if bracketed and code:
        return f"codes/{code.page}"
    if upper in COMMANDS:
        return f"commands/{upper}"
    if upper in State.__members__:
        return f"states/{upper}"
    if upper in CAPABILITIES:
        return f"capabilities/{upper}"
    return f"codes/{code.page}" if code else None


def _overview(shell: Shell) -> None:
    words, look, session = shell.words, shell.screen.look, shell.session
    lines = render.paragraph(words("shell.help-intro"), look)
    if session is None:
        lines += render.paragraph(words("shell.help-closed"), look, style="warn")
    else:
        context = session.connection.context()
        lines += render.paragraph(words("shell.help-legal", state=context.state.value), look, style="emphasis")
        known = [(spec, shell.catalog.page(words.language, f"commands/{spec.name}")) for spec in legal_now(context)]
        rows = [(("command", spec.syntax), page.summary if page else "") for spec, page in known]
        lines += render.two_columns(rows, look)
    lines += render.paragraph(words("shell.help-metas"), look, style="emphasis")
    shell.page(shell.screen.drawn([*lines, *meta_rows(shell, list(METAS.values()))]))


def meta_rows(shell: Shell, metas: list[Meta]) -> list[Line]:
    rows = [(("command", usage(meta)), shell.words(f"meta.{meta.name}")) for meta in metas]
    return render.two_columns(rows, shell.screen.look)


def usage(meta: Meta) -> str:
    return f":{meta.name} {meta.param}".rstrip()


def _help_words() -> tuple[str, ...]:
    tags = (tag for tag in CAPABILITIES if tag not in COMMANDS)
    codes = (f"[{row.code}]" for row in RESPONSE_CODES.values())
    return ("states", *COMMANDS, *State.__members__, *tags, *codes, *(f":{name}" for name in METAS))


METAS: Mapping[str, Meta] = MappingProxyType(
    {
        meta.name: meta
        for meta in (
            Meta("help", _help, "[WORD]", _help_words, also=("?", "h")),
            Meta("explain", looking.explain, "LINE", lambda: tuple(COMMANDS)),
            Meta("state", looking.state),
            Meta("mailbox", looking.mailbox, "[all]", lambda: ("all",)),
            Meta("ladder", looking.ladder),
            Meta("more", looking.more, "[all]", lambda: ("all",)),
            Meta("pager", looking.pager),
            Meta("raw", looking.raw),
            Meta("tls", looking.tls),
            Meta("apop", doing.apop, "NAME"),
            Meta("flight", doing.flight, "LINE | LINE"),
            Meta("connect", doing.connect, "[HOST|practice]", lambda: ("practice",)),
            Meta("drop", doing.drop),
            Meta("save", doing.save, "[--with-secrets] FILE", lambda: (doing.WITH_SECRETS,)),
            Meta("notes", doing.notes, "[full|brief|off]", lambda: ("full", "brief", "off")),
            Meta("lang", doing.lang, f"[{'|'.join(LANGUAGES)}]", lambda: tuple(LANGUAGES)),
            Meta("reveal", doing.reveal, "[on|off]", lambda: ("on", "off")),
            Meta("fork", looking.fork),
            Meta("lessons", of_course(coursework.lessons)),
            Meta("lesson", of_course(coursework.lesson), "[NAME]"),
            Meta("next", of_course(coursework.next_)),
            Meta("hint", of_course(coursework.hint)),
            Meta("answer", of_course(coursework.answer), "TEXT"),
            Meta("solution", of_course(coursework.solution)),
            Meta("skip", of_course(coursework.skip)),
            Meta("again", of_course(coursework.again)),
            Meta("wait", of_course(coursework.wait), "SECONDS"),
            Meta("reset", of_course(coursework.reset), "[all]", lambda: ("all",)),
            Meta("certificate", of_course(coursework.certificate), "FILE"),
            Meta("quit", doing.quit_, also=("exit", "q")),
        )
    }
)

__all__ = ["METAS", "Meta", "found", "meta_rows", "not_found", "run_meta", "usage"]
