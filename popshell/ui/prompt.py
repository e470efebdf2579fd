"""The prompt and the bottom toolbar: what is drawn while one types. It only formats state that is already there.

The prompt is one line and has no frame, because terminals repeat it on each resize. The toolbar has four: the path of
the states, two on the line being typed, the connection with the maildrop as known so far. A low window has three of
them, a very low one has one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from prompt_toolkit.formatted_text import StyleAndTextTuples

from popshell.course.catalog import Catalog, Words
from popshell.course.explain import warning
from popshell.course.now import legal_now
from popshell.protocol.commands import CommandSpec, State, Undo
from popshell.protocol.line import CommandLine, Context
from popshell.protocol.maildrop_view import MaildropView
from popshell.ui import diagram
from popshell.ui.layout import Line, Look, Run, clip_line, line_columns, wrap_runs
from popshell.ui.shell import Shell
from popshell.ui.typed import Typing
from popshell.ui.waiting import COUNTDOWN
from popshell.visible import show

#: Rows of a window from which on the toolbar has three rows, and four.
_LOW, _HIGH = 12, 20


def formatted(line: Line) -> StyleAndTextTuples:
    return [(f"class:{style}" if style else "", text) for style, text in line]


def prompt_line(shell: Shell) -> Line:
    """`AUTHORIZATION ▸ `; TLS and its lack of verification are named in it."""
    state = shell.state
    line: Line = [("state-here" if state is not State.CLOSED else "dim", state.value)]
    session, tls = shell.session, _tls(shell)
    if tls is not None:
        line += [("", " "), tls]
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
        self._known: tuple[CommandLine, tuple[str, int], list[Line]] | None = None

    def __call__(self, rows: int, columns: int) -> list[Line]:
        words, room = self._shell.words, max(columns - 1, 0)
        about = self._about(words, room)
        # In a low window there is no room for a picture: what is typed matters most, unless the time runs out.
        if rows < _LOW:
            return [clip_line(self._place_line(words, room) if self._counts_down() else about[0], room, self._mark)]
        shown = [*(about if rows >= _HIGH else about[:1]), self._place_line(words, room)]
        path = _path(self._shell.state, room, self._shell.screen.look, words)
        return [path, *(clip_line(line, room, self._mark) for line in shown)]

    @property
    def _mark(self) -> str:
        return "..." if self._shell.screen.ascii else "…"

    @property
    def _dot(self) -> Run:
        return ("dim", " - " if self._shell.screen.ascii else " · ")

    def _counts_down(self) -> bool:
        left = self._shell.seconds_left()
        return left is not None and left <= COUNTDOWN

    def _about(self, words: Words, room: int) -> list[Line]:
        """Two rows on the line being typed; of an empty one, what could be typed."""
        session, text = self._shell.session, self._typed()
        if text.startswith(":"):
            return _two_rows(_meta_help(text, words), room)
        tutor = self._shell.tutor
        metas: Line = (tutor.toolbar() if tutor else []) or [("", " "), ("dim", words("toolbar.metas"))]
        if session is None:
            return _two_rows([("dim", words("toolbar.connect"))], room, metas)
        if session.connection.challenged:
            return _two_rows([("challenge", words("toolbar.challenge"))], room, metas)
        context = session.connection.context()
        line = self._typing.line(text, context)
        if line.spec is None:
            names = "  ".join(spec.name for spec in legal_now(context))
            now = words("toolbar.legal-now", names=names) if names else words("toolbar.nothing-now")
            return _two_rows([("dim", now)], room, metas)
        # The parse of the same text in the same context is the same object.
        known = self._known
        if known is None or known[0] is not line or known[1] != (words.language, room):
            rows = self._about_command(line, line.spec, context, words, room)
            self._known = known = line, (words.language, room), rows
        return known[2]

    def _about_command(
        self, line: CommandLine, spec: CommandSpec, context: Context, words: Words, room: int
    ) -> list[Line]:
        """Syntax and what it does; whether it is legal now, how its reply ends, and whether it can be undone."""
        page = self._catalog.page(words.language, f"commands/{spec.name}")
        many = spec.expects_multi_line(len(line.tokens) - 1)
        found = line.blunder if not line.has("missing-argument") or context.state not in spec.transitions else None
        undo = spec.undo_in(context.state)
        legality = ("warn", warning(line, found.code, words)) if found else ("ok", words("toolbar.legal"))
        first: Line = [("command", spec.syntax), ("", page.summary if page else "")]
        second: Line = [legality]
        # What there is no room for beside a long warning moves up; if there is none either, it is left out.
        for part in (
            ("warn" if undo is Undo.NEVER else "dim", words(f"undo.{undo.value}")),
            ("dim", words(f"reply.{'many' if many else 'one'}")),
        ):
            if line_columns(_joined([*second, part], self._dot)) <= room:
                second.insert(1, part)
            elif line_columns(_joined([*first, part], self._dot)) <= room:
                first.append(part)
        return [_joined(first, self._dot), _joined(second, self._dot)]

    def _place_line(self, words: Words, room: int) -> Line:
        """Server, TLS, the maildrop as known so far, the time of the last exchange: as much as there is room for."""
        shell = self._shell
        call, session = shell.call, shell.session
        if call is None or session is None:
            return []
        place, connection = call.endpoint, session.connection
        label, name = show(place.label, keep=""), words("toolbar.practice")
        # Each with its rank: in a narrow window the highest goes first.
        parts: list[tuple[int, str, Line]] = [(0, "", [("state", name if place.practice else label)])]
        if place.practice:
            parts.append((6, " ", [("dim", label)]))
        dot = self._dot[1]
        parts.append((0, dot, [_tls(shell) or ("dim", words("toolbar.no-tls"))]))
        parts += _maildrop(connection.maildrop, words, dot, shell.screen.ascii)
        due = connection.due() if session.replies_due else None
        if due is not None:
            name = show(due.command.name, keep="") if due.command else ""
            parts.append((1, dot, [("warn", words("toolbar.due", command=name) if name else words(_GREETING))]))
        elif session.transcript:
            time = f"{session.transcript[-1].milliseconds:.0f}"
            parts.append((4, dot, [("dim", words("toolbar.time", time=time))]))
        if self._counts_down():
            left = max(0, round(shell.seconds_left() or 0))
            parts.append((1, dot, [("warn", words("toolbar.autologout", seconds=left))]))
        for most in range(6, -1, -1):
            line: Line = [("", " ")]
            for rank, before, runs in parts:
                if rank <= most:
                    line += [("dim", before), *runs] if before else runs
            if line_columns(line) <= room:
                break
        return line


_GREETING = "toolbar.due-greeting"


def _tls(shell: Shell) -> Run | None:
    """`TLS` with its lock, or what is wrong with it; None without TLS."""
    session, place = shell.session, shell.call.endpoint if shell.call else None
    if session is None or not session.connection.tls:
        return None
    if place is not None and place.insecure:
        return "err", shell.words("toolbar.insecure")
    return "lock", shell.screen.lock + shell.words("toolbar.tls")


def _joined(parts: Line, dot: Run) -> Line:
    line: Line = [("", " ")]
    for at, part in enumerate(parts):
        line += [dot, part] if at else [part]
    return line


@lru_cache(maxsize=64)
def _wrapped(runs: tuple[Run, ...], room: int) -> list[Line]:
    """The runs as rows; wrapped once, since the toolbar is redrawn on every key."""
    return wrap_runs(runs, max(room, 2), " ", " ")


def _two_rows(runs: Line, room: int, below: Line | None = None) -> list[Line]:
    """The runs in one row with `below` under it, or in two; what is more is cut off."""
    first, *more = _wrapped(tuple(runs), room) or [[]]
    if not more:
        return [first, below or []]
    return [first, [run for line in more for run in line] if len(more) > 1 else more[0]]


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
        listed = " ".join(f"#{n}" for n in marks[:8]) + (more if len(marks) > 8 else "")
        parts.append((2, dot, [("warn", f"{sign} {words('toolbar.marks', marks=listed)}")]))
    return parts


def _path(state: State, room: int, look: Look, words: Words) -> Line:
    """The path is drawn once for each state and width: the toolbar is redrawn on every key."""
    key = (state, room, look.signless, words.language)
    if key not in _paths:
        if len(_paths) > 64:
            _paths.clear()
        _paths[key] = clip_line([("", " "), *diagram.path(state, look._replace(width=room - 1), words)[0]], room)
    return _paths[key]


_paths: dict[tuple[State, int, bool, str], Line] = {}


def _meta_help(text: str, words: Words) -> Line:
    from popshell.ui.meta import found, usage

    known = found(text[1:].partition(" ")[0])
    if len(known) == 1:
        meta = known[0]
        return [("command", usage(meta)), ("dim", f"  {words(f'meta.{meta.name}')}".replace("`", ""))]
    return [("dim", "  ".join(f":{meta.name}" for meta in known))]
