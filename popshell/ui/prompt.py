"""The prompt and the bottom toolbar: what is drawn while one types. It only formats state that is already there.

The prompt is one line and has no frame, because terminals repeat it on each resize. The toolbar has three: the path of
the states, the command being typed, the connection with the maildrop as known so far. In a low window it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from prompt_toolkit.formatted_text import StyleAndTextTuples

from popshell.learn.catalog import Catalog, Words
from popshell.learn.explain import warning
from popshell.protocol.commandline import CommandLine
from popshell.protocol.commands import State, Undo, legal
from popshell.protocol.maildropview import MaildropView
from popshell.ui import diagram
from popshell.ui.shell import Shell
from popshell.ui.typed import Typing
from popshell.ui.waiting import COUNTDOWN
from popshell.ui.wrap import Line, clip, clip_line, line_columns
from popshell.visible import show


def formatted(line: Line) -> StyleAndTextTuples:
    return [(f"class:{style}" if style else "", text) for style, text in line]


def prompt_line(shell: Shell) -> Line:
    """`AUTHORIZATION ▸ `; TLS and its lack of verification are named in it."""
    state = shell.state
    line: Line = [("state-here" if state is not State.CLOSED else "dim", state.value)]
    session, place = shell.session, shell.call.place if shell.call else None
    if session is not None and session.connection.tls:
        insecure = place is not None and place.insecure
        line += [
            ("", " "),
            ("err" if insecure else "lock", shell.words(f"toolbar.{'insecure' if insecure else 'tls'}")),
        ]
    if session is not None and session.connection.challenged:
        line += [("", " "), ("challenge", "AUTH +")]
    return [*line, ("prompt", " > " if shell.screen.ascii else " ▸ ")]


def hint(line: CommandLine, words: Words, ascii: bool) -> str:
    """The first objection to the line being typed, for behind the cursor. Never blocks Enter."""
    found = line.blunder or next(iter(line.diagnostics), None)
    if (
        found is None
        or found.code in ("empty", "missing-argument")
        or (found.code == "unknown-command" and _begun(line))
    ):
        return ""
    return ("! " if ascii else "⚠ ") + warning(line, found.code, words)


def _begun(line: CommandLine) -> bool:
    """Whether an unknown keyword may still become a command."""
    return len(line.tokens) == 1 and line.text == line.tokens[0].text and _is_beginning(line.name)


@lru_cache(maxsize=64)
def _is_beginning(name: str) -> bool:
    from popshell.protocol.commands import COMMANDS

    return any(command.startswith(name) for command in COMMANDS)


class Toolbar:
    """Draws the toolbar of one shell; `typed` gives the text at the prompt."""

    def __init__(self, shell: Shell, catalog: Catalog, typing: Typing, typed: Callable[[], str]) -> None:
        self._shell = shell
        self._catalog = catalog
        self._typing = typing
        self._typed = typed

    def __call__(self, rows: int, columns: int) -> list[Line]:
        shell = self._shell
        words = shell.words
        command, effect = self._command_lines(words, columns - 1)
        mark = "..." if shell.screen.ascii else "…"
        # Below 12 rows there is no room for a picture: the line on what is typed matters most.
        if rows < 12:
            return [clip_line(command, columns - 1, mark)]
        path: Line = [("", " "), *_path(shell.state, columns - 2, shell.screen.ascii, words)]
        drawn = [path, command, effect, self._place_line(words, columns - 1)] if rows >= 20 else [path, command]
        return [clip_line(line, columns - 1, mark) for line in drawn]

    def _command_lines(self, words: Words, room: int) -> tuple[Line, Line]:
        """Syntax and what it does; then whether it is legal now, how its reply ends, and whether it can be undone."""
        session = self._shell.session
        text = self._typed()
        tutor = self._shell.tutor
        metas: Line = (tutor.toolbar() if tutor else []) or [("", " "), ("dim", words("toolbar.metas"))]
        if text.startswith(":"):
            return [("", " "), ("dim", _meta_help(text, words))], []
        if session is None:
            return [("", " "), ("dim", words("toolbar.connect"))], metas
        if session.connection.challenged:
            return [("", " "), ("challenge", words("toolbar.challenge"))], metas
        context = session.connection.context()
        line = self._typing.line(text, context)
        spec = line.spec
        if spec is None:
            names = "  ".join(spec.name for spec in legal(context.state))
            return [("", " "), ("dim", words("toolbar.legal-now", names=names))], metas
        page = self._catalog.page(words.language, f"commands/{spec.name}")
        dot = ("dim", " - " if self._shell.screen.ascii else " · ")
        many = spec.expects_multi_line(len(line.tokens) - 1)
        found = line.blunder if not line.has("missing-argument") or context.state not in spec.transitions else None
        done = spec.undo_in(context.state)
        undo = ("warn" if done is Undo.NEVER else "dim", words(f"undo.{done.value}"))
        command: Line = [("", " "), ("command", spec.syntax), dot, ("", page.summary if page else "")]
        rest: Line = [dot, ("dim", words("reply.many" if many else "reply.one")), dot, undo]
        legality = ("ok", words("toolbar.legal"))
        if found:
            # The warning stands behind the cursor, too; so it is what may be cut.
            most = max(room - 1 - line_columns(rest), 12)
            mark = "..." if self._shell.screen.ascii else "…"
            legality = ("warn", clip(warning(line, found.code, words), most, mark))
        return command, [("", " "), legality, *rest]

    def _place_line(self, words: Words, room: int) -> Line:
        """Server, TLS, the maildrop as known so far, the time of the last exchange: as much as there is room for."""
        shell = self._shell
        call, session = shell.call, shell.session
        if call is None or session is None:
            return []
        place, connection = call.place, session.connection
        label, name = show(place.label, keep=""), words("toolbar.practice")
        # Each with its rank: in a narrow window the highest goes first.
        parts: list[tuple[int, str, Line]] = [(0, "", [("state", name if place.practice else label)])]
        if place.practice:
            parts.append((6, " ", [("dim", label)]))
        lock = "no-tls" if not connection.tls else "insecure" if place.insecure else "tls"
        dot = " - " if shell.screen.ascii else " · "
        parts.append((0, dot, [({"no-tls": "dim", "tls": "lock"}.get(lock, "err"), words(f"toolbar.{lock}"))]))
        parts += _maildrop(connection.maildrop, words, dot, shell.screen.ascii)
        if session.replies_due:
            due = connection.due()
            command = due.command.name if due and due.command else "?"
            parts.append((1, dot, [("warn", words("toolbar.due", command=show(command)))]))
        elif session.transcript:
            time = f"{session.transcript[-1].milliseconds:.0f}"
            parts.append((4, dot, [("dim", words("toolbar.time", time=time))]))
        if (left := shell.seconds_left()) is not None and left <= COUNTDOWN:
            parts.append((1, dot, [("warn", words("toolbar.autologout", seconds=max(0, round(left))))]))
        for most in range(6, -1, -1):
            line: Line = [("", " ")]
            for rank, before, runs in parts:
                if rank <= most:
                    line += [("dim", before), *runs] if before else runs
            if line_columns(line) <= room:
                break
        return line


def _maildrop(view: MaildropView, words: Words, dot: str, ascii: bool) -> list[tuple[int, str, Line]]:
    """What is known of the maildrop, in parts for the line of the place."""
    if not view.open:
        return [(5, dot, [("dim", words("toolbar.maildrop-closed"))])]
    if view.count is None:
        parts: list[tuple[int, str, Line]] = [(3, dot, [("", words("toolbar.maildrop-unknown"))])]
    else:
        parts = [(3, dot, [("number", words("toolbar.maildrop", count=view.count))])]
        if view.octets is not None:
            parts.append((5, " ", [("dim", words("toolbar.octets", octets=view.octets))]))
    if view.marks:
        marks = sorted(view.marks)
        sign, more = ("x", " ...") if ascii else ("✗", " …")
        listed = " ".join(f"{sign}{n}" for n in marks[:8]) + (more if len(marks) > 8 else "")
        parts.append((2, dot, [("warn", words("toolbar.marks", marks=listed))]))
    return parts


def _path(state: State, columns: int, ascii: bool, words: Words) -> Line:
    return _drawn_path(state, columns, ascii, words.language, words)


_paths: dict[tuple[State, int, bool, str], Line] = {}


def _drawn_path(state: State, columns: int, ascii: bool, language: str, words: Words) -> Line:
    """The path is drawn once for each state and width: the toolbar is redrawn on every key."""
    key = (state, columns, ascii, language)
    if key not in _paths:
        if len(_paths) > 64:
            _paths.clear()
        _paths[key] = diagram.path(state, columns, ascii, words)[0]
    return _paths[key]


def _meta_help(text: str, words: Words) -> str:
    from popshell.ui.meta import METAS, usage

    name = text[1:].partition(" ")[0].lower()
    if name in METAS:
        return f"{usage(METAS[name])}  {words(f'meta.{name}')}".replace("`", "")
    found = [f":{meta}" for meta in METAS if meta.startswith(name)]
    return "  ".join(found)
