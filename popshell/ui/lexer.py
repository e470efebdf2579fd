"""A pygments lexer for transcripts: `pygmentize -l pop3`, Sphinx, MkDocs, our pages. pygments is imported only here.

Theory. A transcript is lines `C: ` and `S: `. What a server line is depends on the command that it answers, so the
lexer keeps the commands that await their reply, in order (pipelining included), and reads a multi-line content up to
its dot. Every line is cut by `ui.rules`, the rules that also colour the live shell. Where no command is known, as in a
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
from re import Match
from types import MappingProxyType
from typing import Any, ClassVar

from pygments.lexer import ExtendedRegexLexer, LexerContext
from pygments.style import Style
from pygments.token import Comment, Generic, Keyword, Literal, Name, Number, Punctuation, Text, Whitespace

from popshell.protocol.line import CommandLine, Context, parse
from popshell.ui import rules, theme
from popshell.ui.rules import BodyKind, Span, Spans

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


_BLANKS = " \t"
_ASIDE = re.compile(r"<[^<>@]*>")
_MARGIN = r"[ \t]*(?:[✔✘›+!>?] ?|\[[A-Z?]+\] )?"


class _Dialogue(LexerContext):  # type: ignore[misc]
    """Where the dialogue stands: commands without a reply, the content that is open, an AUTH that asks."""

    def __init__(self, text: str) -> None:
        super().__init__(text, 0)
        self.pending: deque[CommandLine] = deque()
        self.body: BodyKind | None = None
        self.in_header = False
        self.asking = False
        self.follows = ""
        self.indent = 1  # blanks after `S:` on the last status line

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
        return rules.command_spans(parsed)

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
            return rules.body_spans(self.body, line, in_header=self.in_header)
        spans = rules.status_spans(line)
        if spans:
            self._reply(spans[0].style)
            return spans
        return rules.body_spans(rules.guess(line), line)

    def _reply(self, style: str) -> None:
        self.asking = style == "challenge"
        if self.asking or not self.pending:
            return
        command = self.pending.popleft()
        self.follows = command.name if style == "ok" else ""
        if style == "ok" and command.expects_multi_line:
            self.body = rules.body_kind(command.name)
            self.in_header = self.body == "mail"


def _client(lexer: object, match: Match[str], dialogue: _Dialogue) -> Lexed:
    line = match["line"].lstrip(_BLANKS)
    yield from _prefix(match, "gutter-client", line)
    yield from _cut(match, line, dialogue.client(line))
    dialogue.pos = match.end()


def _server(lexer: object, match: Match[str], dialogue: _Dialogue) -> Lexed:
    line = match["line"].lstrip(_BLANKS)
    indent = len(match["line"]) - len(line)
    if dialogue.body != "mail":
        dialogue.indent = max(indent, 1)
    elif indent > dialogue.indent:
        line = match["line"][dialogue.indent :]
    yield from _prefix(match, "gutter-server", line)
    yield from _cut(match, line, dialogue.server(line))
    dialogue.pos = match.end()


def _continued(lexer: object, match: Match[str], dialogue: _Dialogue) -> Lexed:
    line = match["line"].removeprefix(" ")
    yield from _prefix(match, "gutter-server", line)
    yield from _cut(match, line, [])
    dialogue.pos = match.end()


def _remark(lexer: object, match: Match[str], dialogue: _Dialogue) -> Lexed:
    if not dialogue.body:
        dialogue.pending.clear()
    yield match.start(), Comment, match["line"]
    yield match.start("end"), Whitespace, match["end"]
    dialogue.pos = match.end()


def _bare(lexer: object, match: Match[str], dialogue: _Dialogue) -> Lexed:
    """A line without a prefix: content if some is open, otherwise text."""
    line = match["line"]
    yield from _cut(match, line, dialogue.server(line) if dialogue.body else [])
    dialogue.pos = match.end()


def _prefix(match: Match[str], style: str, line: str) -> Lexed:
    """Everything before `line`, which is the end of the line that was matched."""
    yield match.start(), TOKENS[style], match["prefix"]
    if blank := match["line"][: len(match["line"]) - len(line)]:
        yield match.start("line"), Whitespace, blank


def _cut(match: Match[str], line: str, spans: Spans) -> Lexed:
    """The rest of the line: spans, what lies between them, and the line's end."""
    offset, done = match.end("line") - len(line), 0
    for start, end, style in (*spans, Span(len(line), len(line), "")):
        if start > done:
            between = line[done:start]
            yield offset + done, Whitespace if between.isspace() else Text, between
        if end > start:
            yield offset + start, TOKENS[style], line[start:end]
        done = end
    yield match.start("end"), Whitespace, match["end"]


class Pop3Lexer(ExtendedRegexLexer):  # type: ignore[misc]
    """Dialogues of POP3, as RFC 1939 prints them and PopShell shows them."""

    name = "POP3"
    aliases: ClassVar = ["pop3"]
    filenames: ClassVar = ["*.pop3"]
    mimetypes: ClassVar = ["text/x-pop3"]
    url = "https://www.rfc-editor.org/rfc/rfc1939"
    version_added = ""

    tokens: ClassVar = {
        "root": [
            (rf"(?P<prefix>{_MARGIN}C:)(?P<line>.*)(?P<end>\n)", _client),
            (rf"(?P<prefix>{_MARGIN}S:)(?P<line>.*)(?P<end>\n)", _server),
            (rf"(?P<prefix>{_MARGIN}S[|~])(?P<line>.*)(?P<end>\n)", _continued),
            (r"(?P<line>[ \t]*(?:\.\.\.|\[\.\.\.\]|…|#.*)[ \t]*)(?P<end>\n)", _remark),
            (r"(?P<line>.*)(?P<end>\n)", _bare),
        ]
    }

    def get_tokens_unprocessed(self, text: str = "", context: _Dialogue | None = None) -> Lexed:
        yield from super().get_tokens_unprocessed(text, context or _Dialogue(text))
