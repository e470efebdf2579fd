"""The shell's own commands: a table like COMMANDS. They begin with a colon, so no POP3 command can ever collide.

A row holds the name, its parameter and the function; what it does in words stands in `messages.toml`, `[meta]`. Help,
completion and the reference are derived from the table.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from popshell.learn.catalog import LANGUAGES, match_language
from popshell.learn.explain import explain_line, pages
from popshell.protocol.capabilities import CAPABILITIES, known_code
from popshell.protocol.commandline import MASK, Context, parse
from popshell.protocol.commands import COMMANDS, State, legal
from popshell.protocol.sasl import apop_digest
from popshell.session import transcript_lines
from popshell.ui import diagram, render
from popshell.ui.shell import Shell
from popshell.ui.wrap import Line, columns, inline, pad, wrap_runs
from popshell.visible import fold, show

if TYPE_CHECKING:
    from popshell.ui.tutor import Tutor

Run = Callable[[Shell, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Meta:
    """One meta command. `choices` are the words that its parameter can be, for completion."""

    name: str
    run: Run
    param: str = ""
    choices: Callable[[], tuple[str, ...]] = tuple


async def run_meta(shell: Shell, text: str) -> None:
    """Run one line that begins with a colon. Raises Leave."""
    name, _, argument = text[1:].strip().partition(" ")
    if not name:
        name = "help"
    known = [meta for meta in METAS.values() if meta.name == name] or [
        meta for meta in METAS.values() if meta.name.startswith(name.lower())
    ]
    if len(known) != 1:
        near = ", ".join(f":{meta.name}" for meta in known)
        shell.say("shell.meta-ambiguous" if near else "shell.meta-unknown", style="warn", name=show(name), near=near)
        shell.tally.usage = True
        return
    await known[0].run(shell, argument.strip())


# -- looking -----------------------------------------------------------------------------------------------------------


async def _help(shell: Shell, argument: str) -> None:
    from popshell.ui import pages as layout  # rich and markdown-it are loaded for the first page only

    language, wanted = shell.options.language, argument.strip().strip("[]")
    if not wanted:
        _overview(shell)
        return
    if wanted.lower() in ("states", "state"):
        await _state(shell, "")
        return
    path = page_for(wanted, bracketed=argument.strip().startswith("["))
    page = shell.catalog.page(language, path) if path else None
    if page is None and wanted.lower().removeprefix(":") in METAS:
        shell.screen.lines(_meta_rows(shell, [METAS[wanted.lower().removeprefix(":")]]))
        return
    if page is None:
        shell.say("shell.no-page", style="warn", name=show(wanted))
        shell.tally.usage = True
        return
    screen = shell.screen
    shell.page(layout.render(page, path or "", shell.words, screen.columns, screen.ascii, screen.palette))


def page_for(wanted: str, *, bracketed: bool = False) -> str | None:
    """The path of the page that a word asks for: command, response code, capability, state, or the path itself."""
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
    words, width, state = shell.words, shell.screen.columns, shell.state
    lines = render.paragraph(words("shell.help-intro"), width)
    lines += render.paragraph(words("shell.help-legal", state=state.value), width, style="emphasis")
    found = [(spec, shell.catalog.page(words.language, f"commands/{spec.name}")) for spec in legal(state)]
    lines += _two_columns([(spec.syntax, page.summary if page else "") for spec, page in found], width)
    if state is State.CLOSED:
        lines.append([("", "    "), ("command", ":connect")])
    lines += render.paragraph(words("shell.help-metas"), width, style="emphasis")
    shell.page(shell.screen.drawn([*lines, *_meta_rows(shell, list(METAS.values()))]))


def _meta_rows(shell: Shell, metas: list[Meta]) -> list[Line]:
    return _two_columns([(usage(meta), shell.words(f"meta.{meta.name}")) for meta in metas], shell.screen.columns)


def _two_columns(rows: list[tuple[str, str]], width: int) -> list[Line]:
    """What to type, and what it does beside it; below it, where there is no room."""
    widest = max((columns(name) for name, _ in rows), default=0) + 1
    beside = width - widest - 5 >= 24
    indent = " " * (4 + widest if beside else 6)
    lines: list[Line] = []
    for name, text in rows:
        wrapped = wrap_runs([(style or "note", part) for style, part in inline(text)], width - 1, indent, indent)
        if not beside:
            lines += wrap_runs([("command", name)], width - 1, "    ", "      ")
        elif wrapped:
            wrapped[0] = [("", "    "), ("command", pad(name, widest)), *wrapped[0][1:]]
        lines += wrapped
    return lines


def usage(meta: Meta) -> str:
    return f":{meta.name} {meta.param}".rstrip()


async def _explain(shell: Shell, argument: str) -> None:
    if not argument:
        shell.say("shell.usage", style="warn", usage=usage(METAS["explain"]))
        return
    context = shell.session.connection.context() if shell.session else Context(State.CLOSED)
    line = parse(argument, context)
    spans = explain_line(line, shell.catalog, shell.options.language)
    shell.screen.lines(render.span_lines(line, spans, shell.screen.columns))


async def _state(shell: Shell, argument: str) -> None:
    drawn = diagram.machine(shell.state, shell.screen.columns - 2, shell.screen.ascii, shell.words)
    shell.screen.lines([[("", " "), *line] for line in drawn])


async def _mailbox(shell: Shell, argument: str) -> None:
    from popshell.ui import mailbox

    view = shell.session.connection.maildrop if shell.session else None
    if view is None or not view.open:
        shell.say("shell.no-maildrop", style="warn")
        return
    drawn = mailbox.table(
        render.mail_rows(view),
        shell.screen.columns - 2,
        shell.screen.ascii,
        shell.words,
        messages=view.count,
        octets=view.octets,
        marks=len(view.marks),
    )
    shell.screen.lines([[("", " "), *line] for line in drawn])


async def _ladder(shell: Shell, argument: str) -> None:
    from popshell.ui import ladder

    rungs = render.rungs(shell.call.session.transcript if shell.call else shell.earlier)
    drawn = ladder.ladder(rungs, shell.screen.columns - 2, shell.screen.ascii, shell.words)
    shell.screen.lines([[("", " "), *line] for line in drawn])


async def _more(shell: Shell, argument: str) -> None:
    if shell.page_rest:
        rest = shell.page_rest
        if argument == "all":
            shell.screen.styled("".join(rest))
            shell.page_rest = []
        else:
            shell.page("".join(rest))
        return
    if shell.cut_short is None:
        shell.say("shell.no-more")
        return
    exchange, start = shell.cut_short
    shown = shell.screen.reply(exchange, start, None if argument != "all" else 1 << 40)
    shell.cut_short = (exchange, start + shown.lines) if shown.left else None
    if shell.cut_short:
        shell.say("shell.more", left=shown.left, total=start + shown.total)


async def _raw(shell: Shell, argument: str) -> None:
    """The last exchange octet by octet, secrets masked: CR and LF are shown, and what is no ASCII in hexadecimal."""
    exchanges = shell.exchanges()
    if not exchanges:
        shell.say("shell.nothing-yet")
        return
    last = exchanges[-1]
    lines: list[Line] = []
    for text in last.sent_lines():
        lines += _framed("gutter-client", "C", f"{_octets(text)}\\r\\n", shell.screen.columns)
    # Only what is no mail may be masked: a mail is shown as it is.
    masked = len(last.steps) + 1 if last.response else _MOST_RAW
    rows = last.received.split(b"\n")
    rows = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
    for at, row in enumerate(rows[:_MOST_RAW]):
        text = row[:_LONGEST_RAW].decode("utf-8", "surrogateescape")
        text = _octets(last.redact(text) if at < masked else text)
        lines += _framed("gutter-server", "S", text, shell.screen.columns)
        if len(row) > _LONGEST_RAW:
            lines.append([("gutter-server", "  S~ "), ("note", f"+{len(row) - _LONGEST_RAW}")])
    shell.screen.lines(lines)
    if len(rows) > _MOST_RAW:
        shell.say("shell.raw-more", left=len(rows) - _MOST_RAW)


_MOST_RAW, _LONGEST_RAW = 40, 2000


def _octets(text: str) -> str:
    """`text` in ASCII alone: nothing in it can be measured otherwise than we do, so no row can lose its gutter."""
    return "".join(
        ch if ch.isascii() or ch == MASK[0] else "".join(f"\\x{octet:02x}" for octet in ch.encode())
        for ch in show(text, keep="")
    )


def _framed(style: str, mark: str, text: str, width: int) -> list[Line]:
    """A line of a peer in rows that all have a gutter (sec-R5)."""
    return [
        [(style, f"  {mark}{'|' if start else '>'} "), ("", text[start:end])]
        for start, end in fold(text, max(width - 6, 10))
    ]


async def _tls(shell: Shell, argument: str) -> None:
    known = shell.call.tls_facts() if shell.call and shell.session else {}
    if not known:
        shell.say("shell.no-tls")
        return
    labels = {name: shell.words.get(f"tls.{name}") or name for name in known}
    widest = max(map(columns, labels.values())) + 2
    for name, value in known.items():
        # A certificate is its maker's text: each of its rows stands behind our label.
        text = show(str(value), keep="")
        for start, end in fold(text, max(shell.screen.columns - widest - 5, 16)):
            label = pad(labels[name] if not start else "", widest)
            shell.screen.lines([[("", "    "), ("note", label), ("", text[start:end])]])


# -- settings ----------------------------------------------------------------------------------------------------------


async def _notes(shell: Shell, argument: str) -> None:
    if argument in ("full", "brief", "off"):
        shell.options.notes = argument
    elif argument:
        shell.say("shell.choose", style="warn", choices="full, brief, off")
        return
    shell.say("shell.notes-are", value=shell.options.notes)


async def _lang(shell: Shell, argument: str) -> None:
    tag = match_language(argument) if argument else None
    if argument and tag is None:
        shell.say("shell.choose", style="warn", choices=", ".join(LANGUAGES))
        return
    if tag:
        shell.options.language = tag
    shell.say("shell.language-is", value=LANGUAGES[shell.options.language])


async def _reveal(shell: Shell, argument: str) -> None:
    if argument in ("on", "off"):
        shell.options.reveal = argument == "on"
    elif argument:
        shell.say("shell.choose", style="warn", choices="on, off")
        return
    practice = shell.call is not None and shell.call.place.practice
    key = "reveal-off" if not shell.options.reveal else "reveal-on" if practice else "reveal-not-here"
    shell.say(f"shell.{key}")


# -- doing -------------------------------------------------------------------------------------------------------------


async def _apop(shell: Shell, argument: str) -> None:
    """Compute the digest step by step and put the line at the prompt, unsent."""
    session = shell.session
    if session is None or not session.connection.stamp:
        shell.say("shell.no-stamp" if session else "shell.not-connected", style="warn")
        return
    if not argument or " " in argument:
        shell.say("shell.usage", style="warn", usage=usage(METAS["apop"]))
        return
    secret = await shell.screen.ask_hidden(shell.words("shell.password"), piped=True)
    if not secret:
        shell.say("shell.not-sent", style="warn")
        return
    digest = apop_digest(session.connection.stamp, secret)
    stamp = show(session.connection.stamp, keep="")
    shell.screen.lines(
        [
            [("", "    MD5( "), ("stamp", stamp), ("", " + "), ("secret", MASK), ("", " )")],
            [("", "      = "), ("number", digest)],
        ]
    )
    shell.draft = f"APOP {argument} {digest}"
    shell.say("shell.apop-ready")


async def _flight(shell: Shell, argument: str) -> None:
    """Several lines in one flight, without pasting; what logs in is typed by itself, where it is masked."""
    rows = [row.strip() for row in argument.split(" | ") if row.strip()]
    if len(rows) < 2 or any(row.startswith(":") for row in rows):
        shell.say("shell.usage", style="warn", usage=usage(METAS["flight"]))
    elif any(spec and any(p.secret for p in spec.params) for spec in (parse(row).spec for row in rows)):
        shell.say("shell.no-login-in-flight", style="warn")
    else:
        await shell.run_block(rows)


async def _connect(shell: Shell, argument: str) -> None:
    session = shell.session
    marks = session.connection.maildrop.marks if session else frozenset()
    if marks:
        shell.say("shell.dropped-marks", style="warn", marks=", ".join(map(str, sorted(marks))))
    if shell.tutor is not None:
        shell.tutor.reconnecting()
    await shell.connect(argument or None)


async def _drop(shell: Shell, argument: str) -> None:
    session = shell.session
    if session is None:
        shell.say("shell.not-connected", style="warn")
        return
    marks, due, before = session.connection.maildrop.marks, session.connection.due(), shell.state
    shell.hang_up()
    shell.say("shell.dropped", style="warn")
    if marks and due is not None and due.command is not None and due.command.name == "QUIT":
        shell.say("shell.dropped-quit", style="warn", marks=", ".join(map(str, sorted(marks))))
    elif marks:
        shell.say("shell.dropped-marks", style="warn", marks=", ".join(map(str, sorted(marks))))
    shell.moved(before, State.CLOSED)
    if shell.tutor is not None:
        shell.tutor.line_lost()


async def _save(shell: Shell, argument: str) -> None:
    """Write the session as a redacted transcript."""
    if _write(shell, argument, "save", lambda: transcript_lines(shell.exchanges())):
        shell.say("shell.saved", path=show(argument), count=len(shell.exchanges()))


def _write(shell: Shell, argument: str, meta: str, lines: Callable[[], Iterable[str]]) -> bool:
    """Write a new file, 0600; what exists is left alone and no link is followed (sec-F1)."""
    if not argument:
        shell.say("shell.usage", style="warn", usage=usage(METAS[meta]))
        return False
    path = Path(argument).expanduser()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        key = "shell.save-exists" if isinstance(error, FileExistsError) else "shell.save-failed"
        shell.say(key, style="err", path=show(str(path)), reason=error.strerror or "")
        shell.tally.usage = True
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines())
    return True


async def _quit(shell: Shell, argument: str) -> None:
    await shell.leave()


# -- the course --------------------------------------------------------------------------------------------------------


def _tutor(shell: Shell) -> Tutor | None:
    """The course; begun on the first of its commands. None, and said, if it cannot be read."""
    if shell.tutor is None and shell.make_tutor is not None:
        from popshell.learn.lesson import LessonError

        try:
            shell.tutor = shell.make_tutor(shell)
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=show(str(error)))
            return None
    if shell.tutor is None:
        shell.say("tutor.no-course", style="warn")
    return shell.tutor


def _lessons_do(act: Callable[[Tutor, str], Awaitable[None] | None]) -> Run:
    """A meta command of the course. A lesson that cannot be read is said, not raised."""

    async def run(shell: Shell, argument: str) -> None:
        from popshell.learn.lesson import LessonError

        tutor = _tutor(shell)
        if tutor is None:
            return
        try:
            done = act(tutor, argument)
            if done is not None:
                await done
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=show(str(error)))

    return run


async def begin_course(shell: Shell, lesson: str) -> bool:
    """`popshell learn`: False, with the reason shown, if the course cannot begin."""
    from popshell.learn.lesson import LessonError

    tutor = _tutor(shell)
    if tutor is None:
        shell.tally.usage = True
        return False
    try:
        return await tutor.begin(lesson or None) or await shell.connect("practice")
    except LessonError as error:
        shell.say("tutor.unreadable", style="err", reason=show(str(error)))
        shell.tally.usage = True
        return False


async def _lesson(tutor: Tutor, argument: str) -> None:
    if argument or tutor.lesson is None:
        await tutor.begin(argument or None)
    else:
        tutor.show_lesson()
        tutor.show_task()


async def _again(tutor: Tutor, argument: str) -> None:
    if tutor.exercise is None:
        tutor.shell.say("tutor.no-exercise", style="warn")
    else:
        await tutor.again()


async def _wait(tutor: Tutor, argument: str) -> None:
    if not argument.isascii() or not argument.isdigit() or len(argument) > 6:
        tutor.shell.say("shell.usage", style="warn", usage=usage(METAS["wait"]))
    else:
        await tutor.wait(float(argument))


def _certificate(tutor: Tutor, argument: str) -> None:
    lines = tutor.certificate()
    if lines is not None and _write(tutor.shell, argument, "certificate", lambda: lines):
        tutor.shell.say("tutor.certificate-written", path=show(argument))


async def _fork(shell: Shell, argument: str) -> None:
    """What the maildrop would be after QUIT, and after the line going dead, side by side."""
    if shell.fork is None or shell.session is None or not shell.session.connection.maildrop.open:
        shell.say("shell.no-fork", style="warn")
        return
    after_quit, after_loss = shell.fork()
    words = shell.words
    left, right = words("shell.fork-quit"), words("shell.fork-lost")
    half = max(20, (shell.screen.columns - 6) // 2)
    rows: list[Line] = [[("emphasis", "  " + pad(left, half)), ("emphasis", right)]]
    numbers = sorted({*after_quit, *after_loss})
    for number in numbers:
        stays, gone = words("shell.fork-stays", number=number), words("shell.fork-gone", number=number)
        cells = [(stays, "") if number in kept else (gone, "warn") for kept in (after_quit, after_loss)]
        rows.append([("", "  "), (cells[0][1], pad(cells[0][0], half)), (cells[1][1], cells[1][0])])
    shell.screen.lines(rows)
    shell.say("shell.fork-note")


def _help_words() -> tuple[str, ...]:
    return ("states", *COMMANDS, *State.__members__, *(tag for tag in CAPABILITIES if tag not in COMMANDS))


METAS: Mapping[str, Meta] = MappingProxyType(
    {
        meta.name: meta
        for meta in (
            Meta("help", _help, "[WORD]", _help_words),
            Meta("explain", _explain, "LINE", lambda: tuple(COMMANDS)),
            Meta("state", _state),
            Meta("mailbox", _mailbox),
            Meta("ladder", _ladder),
            Meta("more", _more, "[all]", lambda: ("all",)),
            Meta("raw", _raw),
            Meta("tls", _tls),
            Meta("apop", _apop, "NAME"),
            Meta("flight", _flight, "LINE | LINE"),
            Meta("connect", _connect, "[HOST]"),
            Meta("drop", _drop),
            Meta("save", _save, "FILE"),
            Meta("notes", _notes, "[full|brief|off]", lambda: ("full", "brief", "off")),
            Meta("lang", _lang, "[en|zh-Hant]", lambda: tuple(LANGUAGES)),
            Meta("reveal", _reveal, "[on|off]", lambda: ("on", "off")),
            Meta("fork", _fork),
            Meta("lessons", _lessons_do(lambda tutor, argument: tutor.list_lessons())),
            Meta("lesson", _lessons_do(_lesson), "[NAME]"),
            Meta("next", _lessons_do(lambda tutor, argument: tutor.next())),
            Meta("hint", _lessons_do(lambda tutor, argument: tutor.hint())),
            Meta("answer", _lessons_do(lambda tutor, argument: tutor.answer(argument)), "TEXT"),
            Meta("solution", _lessons_do(lambda tutor, argument: tutor.solution())),
            Meta("skip", _lessons_do(lambda tutor, argument: tutor.skip())),
            Meta("again", _lessons_do(_again)),
            Meta("wait", _lessons_do(_wait), "SECONDS"),
            Meta(
                "reset", _lessons_do(lambda tutor, argument: tutor.reset(argument == "all")), "[all]", lambda: ("all",)
            ),
            Meta("certificate", _lessons_do(_certificate), "FILE"),
            Meta("quit", _quit),
        )
    }
)

__all__ = ["METAS", "Meta", "run_meta", "usage"]
