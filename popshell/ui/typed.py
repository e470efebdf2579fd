"""The text at the prompt, parsed once for each context: from this parse come colours, mask and what history may keep.

A row of the buffer is a line of POP3, a meta command with a line in it (`:explain PASS x`), or an answer to a challenge
of AUTH. The parse says what holds a secret (sec-K2, sec-K3), also in a mistyped command and in a pasted block.
"""

from __future__ import annotations

from collections.abc import Iterator

from popshell.protocol import secrets
from popshell.protocol.line import CommandLine, Context, parse
from popshell.ui.shell import Shell


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
