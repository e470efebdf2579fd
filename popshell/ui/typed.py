"""The text at the prompt, parsed once for each context: from this parse come colours, mask and what history may keep.

A row of the buffer is a line of POP3, a meta command with a line in it (`:explain PASS x`), or an answer to a challenge
of AUTH. The parse says what holds a secret (sec-K2, sec-K3), also in a mistyped command and in a pasted block.
"""

from __future__ import annotations

from collections.abc import Iterator

from popshell.protocol.commands import COMMANDS
from popshell.protocol.line import MASK, CommandLine, Context, parse, without_password
from popshell.ui.shell import Shell

_BLANKS = " \t"


class Typing:
    """Reads what is typed at one shell's prompt; lexer, mask, warning and toolbar share its one parse."""

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

    def _row(self, text: str, context: Context) -> tuple[int, CommandLine]:
        """The POP3 line in what is typed, and where it begins: `:explain PASS x` and `:PASS x` hold secrets, too."""
        start = _start(text)
        if start and not "explain".startswith(text[1:start].strip().lower()):
            context = context._replace(follows="")  # the word after another meta command is no slip of PASS
        return start, self.line(text[start:], context)

    def rows(self, text: str) -> Iterator[tuple[str, int, CommandLine | None]]:
        """The rows of what was typed, each judged after those before it; None is an answer to a challenge."""
        context, answer = self.context(), self.challenged()
        for row in text.split("\n"):
            if answer:
                yield row, 0, None
                answer = False
                continue
            start, line = self._row(row, context)
            yield row, start, line
            if start == 0 and line.spec is not None:
                context = context._replace(follows=line.spec.name)
                answer = line.spec.continues and len(line.tokens) == 2

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
        """Whether any line of what was typed holds a secret or logs in; such a text is never stored (sec-K3)."""
        for row, start, line in self.rows(text):
            if line is None or any(token.secret and token.text for token in line.tokens):
                return True
            if start and without_password(row) != row:
                return True
            if _logs_in(line.text) if not start else _login_within(row):
                return True
        return False

    def masked(self, text: str) -> str:
        """`text` with its secrets as MASK."""
        rows = []
        for row, start, line in self.rows(text):
            if line is None or (start and _login_within(row)):
                rows.append(row if row == "*" else MASK)
            else:
                shown = row[:start] + line.redacted()
                rows.append(without_password(shown) if start else shown)
        return "\n".join(rows)


def _start(text: str) -> int:
    """Where a POP3 line begins in a meta command: after its name, or after a colon that was typed by habit."""
    if not text.startswith(":"):
        return 0
    rest = text[1:].lstrip(_BLANKS)
    word = rest.replace("\t", " ").partition(" ")[0]
    if word.upper() not in COMMANDS:
        rest = rest[len(word) :].lstrip(_BLANKS)
    return len(text) - len(rest)


def _logs_in(text: str) -> bool:
    """Whether a line logs in, even without its secret, and even after a blank and a colon."""
    words = text.replace("\t", " ").replace(":", " ").split()
    return any((spec := COMMANDS.get(word.upper())) and any(p.secret for p in spec.params) for word in words[:2])


def _login_within(text: str) -> bool:
    """Whether a line of several, `:flight STAT | PASS x`, holds one that logs in with an argument."""
    words = text.upper().split()[:-1]
    later = words[2:] if len(words) > 2 else []
    return any((spec := COMMANDS.get(word)) and any(param.secret for param in spec.params) for word in later)
