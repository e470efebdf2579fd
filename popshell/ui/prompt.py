"""The prompt: its line, the colours and the mask over what is typed, the warning after the cursor, the toolbar.

It only formats state that is already there. The prompt is one line and has no frame, because terminals repeat it on
each resize. Below it a rule, then the toolbar: in a course the task, at all times; the path of the states, two rows on
the line being typed, the connection with the maildrop as known so far. In a low window some rows are left out, a very
low one has one: the task while nothing is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.lexers import Lexer

from popshell.course.catalog import Words
from popshell.course.explain import legal_now, warning
from popshell.protocol import secrets
from popshell.protocol.commands import COMMANDS, CommandSpec, State, Undo
from popshell.protocol.line import CommandLine, Context, parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.ui import diagram
from popshell.ui.layout import Line, Look, Run, clip_line, line_columns, wrap
from popshell.ui.link import COUNTDOWN
from popshell.ui.shell import Shell
from popshell.visible import show

#: Rows of a window from which on the toolbar has a rule and a path; a second row on the line; a path beside a task.
_LOW, _HIGH, _ROOMY = 12, 20, 24
_DOT: Run = ("dim", " · ")
#: Marked messages that are named; of more it is said how many they are.
_MARKS = 6
#: A part of the row on the connection: in a narrow window the highest rank is left out first.
_Part = tuple[int, Line]


class Typing:
    """Reads what is typed at one shell's prompt; lexer, mask, warning and toolbar share its one parse.

    A row of the buffer is a line of POP3, a meta command with a line in it (`:explain PASS x`), or an answer to a
    challenge of AUTH. What holds a secret, also in a mistyped command or a pasted block, `protocol.secrets` decides.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._key: tuple[str, Context] | None = None
        self._line: CommandLine | None = None
        self._judged: tuple[Context, bool] | None = None
        self._version = 0

    def line(self, text: str, context: Context) -> CommandLine:
        """`text` parsed; of the same text in the same context the same line."""
        key = (text, context)
        if self._line is None or self._key != key:
            self._line = parse(text, context)
            self._key = key
        return self._line

    def context(self) -> Context:
        """What the line being typed will meet."""
        session = self._shell.session
        return session.connection.context() if session else Context(self._shell.state)

    def rows(self, text: str) -> Iterator[secrets.Row[CommandLine]]:
        """The rows of what was typed, where POP3 begins in each, and that line; None is an answer to a challenge."""
        return secrets.typed_rows(text, self.context(), self.challenged(), self.line)

    def version(self) -> int:
        """Another number as soon as the same text may be judged anew: the context is another, or AUTH asked."""
        now = self.context(), self.challenged()
        if now != self._judged:
            self._judged = now
            self._version += 1
        return self._version

    def challenged(self) -> bool:
        """Whether what is typed answers a challenge of AUTH."""
        return bool(self._shell.session and self._shell.session.connection.challenged)

    def has_secret(self, text: str) -> bool:
        """Whether what was typed is never stored (sec-K3)."""
        return not secrets.fit_for_history(self.rows(text))

    def masked(self, text: str) -> str:
        """`text` with its secrets as MASK."""
        return secrets.masked_rows(self.rows(text))


def formatted(line: Line) -> StyleAndTextTuples:
    """A line for prompt_toolkit."""
    return [(f"class:{style}" if style else "", text) for style, text in line]


def prompt_line(shell: Shell) -> Line:
    """`AUTHORIZATION ▸ `; TLS and its lack of verification are named in it. On a real server the seat belt is first."""
    state, session, tls = shell.state, shell.session, _tls(shell)
    line = [*_belt(shell), ("state-here" if state is not State.CLOSED else "dim", state.value)]
    if tls is not None:
        line += [("", " "), tls]
    if session is not None and session.connection.challenged:
        line += [("", " "), ("challenge", "AUTH +")]
    return [*line, ("prompt", " > " if shell.screen.ascii else " ▸ ")]


def _belt(shell: Shell) -> Line:
    """Whether DELE is held back; if not, the messages that QUIT would erase."""
    session = shell.session
    if session is None or shell.on_practice:
        return []
    if marks := session.connection.at_stake:
        return [("warn", f"{'x' if shell.screen.ascii else '✗'} {_listed(marks)}"), ("", " ")]
    if shell.look_only:
        return [("ok", shell.words("toolbar.look-only")), ("", " ")]
    return [("warn", shell.words("toolbar.unlocked")), ("", " ")]


def _listed(marks: Collection[int]) -> str:
    """`#1 #3`; of many the first, and how many they are."""
    listed = " ".join(f"#{n}" for n in sorted(marks)[:_MARKS])
    return listed if len(marks) <= _MARKS else f"{listed} ... ({len(marks)})"


def hint(line: CommandLine, words: Words, ascii: bool) -> str:
    """The first objection to the line being typed, for after the cursor. Never blocks Enter."""
    found = line.objection or next(iter(line.diagnostics), None)
    if (
        found is None
        or found.code in ("empty", "missing-argument")
        or (found.code == "unknown-command" and _begun(line))
    ):
        return ""
    return ("! " if ascii else "⚠ ") + warning(line, found.code, words)


def _begun(line: CommandLine) -> bool:
    """Whether an unknown keyword may still become a command."""
    whole = len(line.tokens) == 1 and line.text == line.tokens[0].text
    return whole and any(command.startswith(line.name) for command in COMMANDS)


# -- colours and mask --------------------------------------------------------------------------------------------------


class ShellLexer(Lexer):
    """Colours from the one parse: tokens by their role, objections underlined.

    Trap: PromptSession wraps a lexer in one that never asks for `invalidation_hash`, and colours, and with them the
    mask, would be those of an earlier context. So editor.py gives it to the control itself.
    """

    def __init__(self, typing: Typing) -> None:
        self._typing = typing

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines = list(self._typing.rows(document.text))

        def row(number: int) -> StyleAndTextTuples:
            text, start, line = lines[number] if number < len(lines) else ("", 0, None)
            if line is None:
                return [("class:secret", text)]
            out: StyleAndTextTuples = [("class:dim", text[:start])]
            at = 0
            wrong = [] if start else [d for d in line.diagnostics if not d.mild]
            for token in line.tokens:
                out.append(("", text[start + at : start + token.start]))
                style = token.role.value if not start or token.secret else "dim"
                under = any(d.start <= token.start and token.end <= d.end for d in wrong)
                out.append(
                    (f"class:{style}{' underline' if under else ''}", text[start + token.start : start + token.end])
                )
                at = token.end
            out.append(("", text[start + at :]))
            return out

        return row

    def invalidation_hash(self) -> int:
        return self._typing.version()


#: What joins emoji into one, each as a character of one column: terminals disagree how wide the joined one is.
_APART = {0x200D: "+", 0xFE0F: " ", **dict.fromkeys(range(0x1F3FB, 0x1F400), "+")}


class Mask(Processor):
    """Shows secrets as bullets of the same number, so that the cursor stays right (sec-K2)."""

    def __init__(self, shell: Shell, typing: Typing) -> None:
        self._shell = shell
        self._typing = typing

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        shell, answering = self._shell, self._typing.challenged()
        if shell.options.reveal and shell.on_practice:
            return Transformation(transformation_input.fragments)
        dot = "*" if shell.screen.ascii else "•"
        challenged = answering and transformation_input.document.text != "*"
        out: StyleAndTextTuples = []
        for fragment in transformation_input.fragments:
            style, text = fragment[0], fragment[1]
            secret = "class:secret" in style and (challenged or not answering)
            out.append((style, dot * len(text) if secret else text.translate(_APART)))
        return Transformation(out)


# -- the toolbar -------------------------------------------------------------------------------------------------------


class Toolbar:
    """Draws the toolbar of one shell; `typed` gives the text at the prompt."""

    def __init__(self, shell: Shell, typing: Typing, typed: Callable[[], str]) -> None:
        self._shell = shell
        self._typing = typing
        self._typed = typed
        self._known: tuple[CommandLine, tuple[str, int, bool, str], list[Line]] | None = None

    def __call__(self, rows: int, columns: int) -> list[Line]:
        shell, words = self._shell, self._shell.words
        look = shell.screen.look._replace(width=max(columns - 1, 0))
        about, task = self._about(words, look), self._task(look, 2 if rows >= _HIGH else 1)
        # In a low window there is no room for a picture: what is typed matters most, unless the time runs out.
        if rows < _LOW:
            first = task[:1] if task and not self._typed() else about[:1]
            return look.rows([self._place_line(words, look.width)] if self._counts_down() else first)
        path = [_path(shell.state, look, words)] if rows >= _ROOMY or not task else []
        shown = [*(about if rows >= _HIGH else about[:1]), self._place_line(words, look.width)]
        return [_rule(look), *look.rows(task), *path, *look.rows(shown)]

    def _task(self, look: Look, most: int) -> list[Line]:
        """The task of a course."""
        brought = next(filter(None, (row() for row in self._shell.toolbar)), None)
        return _in_rows(brought, look, most) if brought else []

    def _counts_down(self) -> bool:
        left = self._shell.seconds_left()
        return left is not None and left <= COUNTDOWN

    def _about(self, words: Words, look: Look) -> list[Line]:
        """Two rows on the line being typed; of an empty one, what could be typed."""
        session, text = self._shell.session, self._typed()
        if text.startswith(":"):
            return _two_rows(_meta_help(text, self._shell), look)
        metas: Line = [("", " "), ("dim", words("toolbar.metas"))]
        if session is None:
            return _two_rows([("dim", words("toolbar.connect"))], look, metas)
        if session.connection.challenged:
            return _two_rows([("challenge", words("toolbar.challenge"))], look, metas)
        context = session.connection.context()
        line = self._typing.line(text, context)
        due = "-due" if session.connection.pending else ""  # what is due is taken to be +OK, and that is said
        if line.spec is None:
            names = "  ".join(spec.name for spec in legal_now(context, session.connection.stamp))
            now = words(f"toolbar.legal-now{due}", names=names) if names else words("toolbar.nothing-now")
            return _two_rows([("dim", now)], look, metas)
        # The parse of the same text in the same context is the same object.
        legal = f"toolbar.legal{due}"
        known, drawn = self._known, (words.language, look.width, self._shell.look_only, legal)
        if known is None or known[0] is not line or known[1] != drawn:
            rows = self._about_command(line, line.spec, context, words(legal), look.width)
            self._known = known = line, drawn, rows
        return known[2]

    def _about_command(
        self, line: CommandLine, spec: CommandSpec, context: Context, legal: str, room: int
    ) -> list[Line]:
        """Syntax and what it does; whether it is `legal`, how its reply ends, and whether it can be undone."""
        words = self._shell.words
        page = self._shell.catalog.page(words.language, f"commands/{spec.name}")
        many = spec.expects_multi_line(len(line.tokens) - 1)
        found = line.objection if not line.has("missing-argument") or context.state not in spec.transitions else None
        undo = spec.undo_in(context.state)
        legality = ("warn", warning(line, found.code, words)) if found else ("ok", legal)
        if not found and spec.name == "DELE" and self._shell.look_only:
            legality = ("warn", words("toolbar.held"))
        first: Line = [("command", spec.syntax), ("", page.summary if page else "")]
        second: Line = [legality]
        # What does not fit beside a long warning moves up; if it does not fit there either, it is left out.
        for part in (
            ("warn" if undo is Undo.NEVER else "dim", words(f"undo.{undo.value}")),
            ("dim", words(f"reply.{'many' if many else 'one'}")),
        ):
            if line_columns(_joined([*second, part])) <= room:
                second.insert(1, part)
            elif line_columns(_joined([*first, part])) <= room:
                first.append(part)
        return [_joined(first), _joined(second)]

    def _place_line(self, words: Words, room: int) -> Line:
        """Server, TLS, the maildrop as known so far, the time of the last exchange: as much as there is room for."""
        shell = self._shell
        place, session = shell.endpoint, shell.session
        if place is None or session is None:
            return []
        connection = session.connection
        label, name = show(place.label, keep=""), words("toolbar.practice")
        parts: list[_Part] = [(0, [("state", name if place.practice else label)])]
        if place.practice:
            parts.append((6, [("dim", f" {label}")]))
        parts.append((0, [_DOT, _tls(shell) or ("dim", words("toolbar.no-tls"))]))
        parts += _maildrop(connection.maildrop, words)
        due = connection.due() if session.replies_due else None
        if due is not None:
            name = show(due.command.name, keep="") if due.command else ""
            said = words("toolbar.due", command=name) if name else words("toolbar.due-greeting")
            parts.append((1, [_DOT, ("warn", said)]))
        elif session.transcript:
            time = f"{session.transcript[-1].milliseconds:.0f}"
            parts.append((4, [_DOT, ("dim", words("toolbar.time", time=time))]))
        if self._counts_down():
            left = max(0, round(shell.seconds_left() or 0))
            parts.append((1, [_DOT, ("warn", words("toolbar.autologout", seconds=left))]))
        for most in range(6, -1, -1):
            line: Line = [("", " "), *(run for rank, runs in parts if rank <= most for run in runs)]
            if line_columns(line) <= room:
                break
        return line


def _tls(shell: Shell) -> Run | None:
    """`TLS` with its lock, or what is wrong with it; None without TLS."""
    session, place = shell.session, shell.endpoint
    if session is None or not session.connection.tls:
        return None
    if place is not None and place.insecure:
        return "err", shell.words("toolbar.insecure")
    return "lock", shell.screen.lock + shell.words("toolbar.tls")


def _joined(parts: Line) -> Line:
    line: Line = [("", " ")]
    for at, part in enumerate(parts):
        line += [_DOT, part] if at else [part]
    return line


@lru_cache(maxsize=8)
def _rule(look: Look) -> Line:
    """What separates the toolbar from what is above it."""
    return look.spelled([("diagram.line", "─" * look.width)])


@lru_cache(maxsize=64)
def _wrapped(runs: tuple[Run, ...], look: Look) -> list[Line]:
    """The runs as rows; wrapped once, since the toolbar is redrawn on every key."""
    return wrap(runs, look._replace(width=max(look.width, 2)), " ", " ")


def _in_rows(runs: Line, look: Look, most: int) -> list[Line]:
    """The runs in at most so many rows; what is more stands in the last, and is cut off."""
    rows = _wrapped(tuple(runs), look)
    return rows if len(rows) <= most else [*rows[: most - 1], [run for row in rows[most - 1 :] for run in row]]


def _two_rows(runs: Line, look: Look, below: Line | None = None) -> list[Line]:
    """The runs in one row with `below` under it, or in two."""
    rows = _in_rows(runs, look, 2) or [[]]
    return rows if len(rows) == 2 else [*rows, below or []]


def _maildrop(view: MaildropView, words: Words) -> list[_Part]:
    """What is known of the maildrop, in parts for the line of the place."""
    if not view.open:
        return [(5, [_DOT, ("dim", words("toolbar.maildrop-closed"))])]
    if view.count is None:
        parts: list[_Part] = [(3, [_DOT, ("", words("toolbar.maildrop-unknown"))])]
    else:
        parts = [(3, [_DOT, ("number", words("toolbar.maildrop", count=view.count))])]
        if view.octets is not None:
            parts.append((5, [("dim", f" {words('toolbar.octets', octets=view.octets)}")]))
    if view.marks:
        parts.append((2, [_DOT, ("warn", f"✗ {words('toolbar.marks', marks=_listed(view.marks))}")]))
    return parts


@lru_cache(maxsize=64)
def _path(state: State, look: Look, words: Words) -> Line:
    """The path is drawn once for each state and look: the toolbar is redrawn on every key."""
    return clip_line([("", " "), *diagram.path(state, look.within(-1), words)[0]], look.width)


def _meta_help(text: str, shell: Shell) -> Line:
    known = shell.metas().found(text[1:].partition(" ")[0])
    if len(known) == 1:
        (meta,) = known
        return [("command", meta.usage), ("dim", f"  {shell.words(f'meta.{meta.name}')}".replace("`", ""))]
    return [("dim", "  ".join(f":{meta.name}" for meta in known))]
