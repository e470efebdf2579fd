"""A pygments lexer for transcripts: `pygmentize -l pop3`, Sphinx, MkDocs, our pages. pygments is imported only here.

Theory. A transcript is lines `C: ` and `S: `. What a server line is depends on the command that it answers, so the
lexer keeps the commands that await their reply, in order (pipelining included), and reads a multi-line content up to
its dot. Every line is cut by `ui.theme`, the rules that also colour the live shell. Where no command is known, as in a
fragment, a line is taken for what it looks like.

What the shell puts into the margin (`✔S: `, ` S| `) is understood, so a screen that was copied keeps its colours. A
line without a prefix belongs to the content that is open; `...`, `[...]` and lines with `#` are remarks of the writer,
and after a remark outside a content no reply is awaited any more: it stands for what was left out. What RFC 1939 §10
puts into angle brackets (`C: <open connection>`) is a remark, too, but leaves nothing out.

The blanks after `C:` and `S:` are prefix, as RFC 1939 §10 prints them; in a mail only as many of them as its `+OK` line
has, and at least one, because the others belong to the mail.

Traps. "user" in "no such user" is no keyword: keywords are parsed at the beginning of a client's line only. Passwords
(PASS, the digest of APOP, AUTH and the lines that answer its `+ `) have a token type of their own, `String.Secret`, so
that a style or a filter can hide them; the lexer itself must not: a lexer's tokens add up to its input.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pygments.lexer import Lexer
from pygments.style import Style
from pygments.token import Comment, Generic, Keyword, Literal, Name, Number, Punctuation, Text, Whitespace

from popshell.protocol.commands import Content
from popshell.protocol.line import CommandLine, Context, parse
from popshell.ui import theme
from popshell.ui.theme import Span, Spans

#: Style of the palette -> type of token; `DarkStyle` and `LightStyle` colour the tokens by the palette.
TOKENS: Mapping[str, Any] = MappingProxyType(
    {
        "ok": Generic.Inserted,
        "err": Generic.Error,
        "challenge": Generic.Strong,
        "code": Name.Decorator,
        "stamp": Literal.String.Other,
        "number": Number.Integer,
        "uid": Literal.String.Symbol,
        "capability": Name.Builtin,
        "header-name": Name.Attribute,
        "header-value": Literal.String,
        "stuffing": Punctuation.Stuffing,
        "terminator": Punctuation.Terminator,
        "command": Keyword,
        "command-unknown": Name.Function,
        "argument": Name.Variable,
        "extra": Name.Variable.Extra,
        "mechanism": Name.Constant,
        "secret": Literal.String.Secret,
        "comment": Comment,
        "gutter-client": Generic.Prompt.Client,
        "gutter-server": Generic.Prompt.Server,
    }
)

Lexed = Iterator[tuple[int, Any, str]]


class DarkStyle(Style):  # type: ignore[misc]
    """The theme `dark` for pygments: `pygmentize -O style=popshell-dark`."""

    background_color = theme.BACKGROUNDS["dark"][0]
    styles: ClassVar = {token: theme.words(name, "dark") for name, token in TOKENS.items()}


class LightStyle(Style):  # type: ignore[misc]
    """The theme `light` for pygments."""

    background_color = theme.BACKGROUNDS["light"][0]
    styles: ClassVar = {token: theme.words(name, "light") for name, token in TOKENS.items()}


_ASIDE = re.compile(r"<[^<>@]*>")
_MARGIN = r"[ \t]*(?:[✔✘›+!>?] ?|\[[A-Z?]+\] )?"
_ROW = re.compile(
    rf"(?:(?P<prefix>{_MARGIN}(?P<mark>C:|S:|S[|~]))|(?P<remark>[ \t]*(?:\.\.\.|\[\.\.\.\]|…|#.*)[ \t]*(?=\n|\Z)))?"
    r"(?P<line>.*)(?P<end>\n|\Z)"
)


class _Dialogue:
    """Where the dialogue stands: commands without a reply, the content that is open, an AUTH that asks."""

    def __init__(self) -> None:
        self.pending: deque[CommandLine] = deque()
        self.body: Content | None = None
        self.in_header = False
        self.asking = False
        self.follows = ""
        self.indent = 1  # blanks after `S:` on the last status line

    def row(self, row: re.Match[str]) -> Lexed:
        """The tokens of a row; one without a prefix is content if some is open, otherwise text."""
        mark, text = row["mark"], row["line"]
        line = text.lstrip(" \t") if mark in ("C:", "S:") else text.removeprefix(" ") if mark else text
        if row["remark"]:
            if not self.body:
                self.pending.clear()
            yield row.start(), Comment, row["remark"]
        elif mark:
            if mark == "S:" and self.body is not Content.MAIL:
                self.indent = max(len(text) - len(line), 1)
            elif mark == "S:" and len(text) - len(line) > self.indent:
                line = text[self.indent :]
            yield row.start(), TOKENS["gutter-client" if mark == "C:" else "gutter-server"], row["prefix"]
            if blank := text[: len(text) - len(line)]:
                yield row.start("line"), Whitespace, blank
        spans: Spans = []
        if mark == "C:":
            spans = self.client(line)
        elif mark == "S:" or (not mark and not row["remark"] and self.body):
            spans = self.server(line)
        offset = row.end("line") - len(line)
        for style, part in theme.runs(line, spans):
            yield offset, TOKENS.get(style, Whitespace if part.isspace() else Text), part
            offset += len(part)
        if row["end"]:
            yield row.start("end"), Whitespace, row["end"]

    def client(self, line: str) -> Spans:
        """A line that the client sent."""
        self.body = None  # its end was left out
        if _ASIDE.fullmatch(line):
            return [Span(0, len(line), "comment")]
        if self.asking:
            self.asking = False
            return [Span(0, len(line), "secret" if line != "*" else "command")]
        parsed = parse(line, Context(follows=self.follows))
        if parsed.tokens:
            self.pending.append(parsed)
        return theme.command_spans(parsed)

    def server(self, line: str) -> Spans:
        """A line that the server sent."""
        if line == "[...]":
            return [Span(0, len(line), "comment")]
        if line == ".":
            self.body = None
            return [Span(0, 1, "terminator")]
        if not self.body and _ASIDE.fullmatch(line):
            return [Span(0, len(line), "comment")]
        if self.body:
            if not line:
                self.in_header = False
            return theme.body_spans(self.body, line, in_header=self.in_header)
        spans = theme.status_spans(line)
        if spans:
            self._reply(spans[0].style)
            return spans
        return theme.body_spans(theme.guess(line), line)

    def _reply(self, style: str) -> None:
        self.asking = style == "challenge"
        if self.asking or not self.pending:
            return
        command = self.pending.popleft()
        self.follows = command.name if style == "ok" else ""
        if style == "ok" and command.expects_multi_line:
            self.body = theme.content_of(command.name)
            self.in_header = self.body is Content.MAIL


class Pop3Lexer(Lexer):  # type: ignore[misc]
    """Dialogues of POP3, as RFC 1939 prints them and PopShell shows them."""

    name = "POP3"
    aliases: ClassVar = ["pop3"]
    filenames: ClassVar = ["*.pop3"]
    mimetypes: ClassVar = ["text/x-pop3"]
    url = "https://www.rfc-editor.org/rfc/rfc1939"
    version_added = ""

    def get_tokens_unprocessed(self, text: str) -> Lexed:
        dialogue = _Dialogue()
        for row in _ROW.finditer(text):
            yield from dialogue.row(row)
