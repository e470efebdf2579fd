"""Notes, texts and explanations as styled lines, spelled and wrapped for a Look; nothing here writes.

Text of a peer goes through `visible.show` before it becomes a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from popshell.course.explain import Note, Span
from popshell.protocol.line import MASK, CommandLine, Role
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange, Status
from popshell.protocol.wire import ReplyLimits
from popshell.ui.layout import Line, Look, Run, inline, line_columns, pad, wrap
from popshell.visible import show, tame

if TYPE_CHECKING:
    from popshell.ui.ladder import Rung
    from popshell.ui.mailbox import MailRow

#: No maildrop has more messages than its listing may have lines.
MOST_ROWS = ReplyLimits().listing_lines
#: Notes stand below the text of a reply, right of its gutter.
INDENT = "     "
_SIGNS = {"ok": ("✔", "*", "ok"), "err": ("✘", "*", "err"), "warn": ("⚠", "!", "warn"), "info": (" ", " ", "note")}


def note_lines(notes: Iterable[Note], look: Look, *, cite: bool = True) -> list[Line]:
    """The notes below a reply: a sign, the text, its source."""
    lines: list[Line] = []
    for note in notes:
        sign, plain_sign, style = _SIGNS[note.sort]
        source: Line = [("", "  "), ("rfc", note.cite)] if cite and note.cite else []
        wrapped = wrap([*inline(tame(note.text), "note"), *source], look, INDENT, INDENT)
        if wrapped and sign.strip():
            wrapped[0] = [("", "   "), (style, plain_sign if look.signless else sign), ("", " "), *wrapped[0][1:]]
        lines += wrapped
    return lines


def paragraph(text: str, look: Look, indent: str = "  ", style: str = "") -> list[Line]:
    """A text of ours, wrapped; each of its lines is a paragraph."""
    parts = tame(text).split("\n")
    return [line for part in parts for line in wrap(inline(part, style), look, indent, indent) or [[]]]


def token_style(line: CommandLine, index: int) -> str:
    """The style of a token as it is typed and as it is shown once sent."""
    token = line.tokens[index]
    if token.role is Role.COMMAND:
        return "command" if line.spec else "command-unknown"
    if token.secret:
        return "secret"
    if token.role is Role.EXTRA:
        return "extra"
    return "number" if token.text.isdigit() and token.text.isascii() else "argument"


def span_lines(line: CommandLine, spans: Sequence[Span], look: Look) -> list[Line]:
    """`:explain`: each token with its meaning beside it, then what is wrong, then what the line would do."""
    tokens: list[tuple[Run, str]] = []
    for span in spans:
        if span.token is not None:
            word = MASK if span.token.secret else show(span.token.text, keep="")
            tokens.append(((token_style(line, line.tokens.index(span.token)), word), tame(span.text)))
    lines = two_columns(tokens, look, indent=2)
    sign = "! " if look.signless else "⚠ "
    for span in spans:
        if span.sort == "warn":
            lines += wrap([("warn", sign), *inline(tame(span.text), "warn")], look, "  ", "    ")
    facts = " · ".join(span.text for span in spans if span.sort == "fact")
    source = [("rfc", span.text) for span in spans if span.sort == "cite"]
    return lines + (wrap([("note", facts), ("", "  "), *source], look, "  ", "  ") if facts else [])


def two_columns(rows: Sequence[tuple[Run, str]], look: Look, *, indent: int = 4) -> list[Line]:
    """What is typed, and its meaning beside it; below it, where there is no room."""
    typed = [look.spelled([run]) for run, _ in rows]
    widest = max(map(line_columns, typed), default=0) + 1
    beside = look.width - widest - indent >= 24
    start = " " * indent
    hanging = " " * (indent + widest + 1 if beside else indent + 2)
    lines: list[Line] = []
    for ((style, word),), (_, text) in zip(typed, rows, strict=True):
        wrapped = wrap(inline(text, "note"), look, hanging, hanging)
        if not beside:
            lines += wrap([(style, word)], look, start, start + "  ")
        else:
            wrapped = wrapped or [[]]
            wrapped[0] = [("", start), (style, pad(word, widest + 1)), *wrapped[0][1:]]
        lines += wrapped
    return lines


def rungs(exchanges: Iterable[Exchange]) -> list[Rung]:
    """The session for `:ladder`, secrets masked."""
    from popshell.ui.ladder import Rung

    out: list[Rung] = []
    for exchange in exchanges:
        response = exchange.response
        # Behind the challenges of AUTH stands the reply that counts.
        row = exchange.received.split(b"\r\n", len(exchange.steps) + 1)[: len(exchange.steps) + 1][-1]
        head = show(exchange.redact(row.decode("utf-8", "surrogateescape")), keep="")
        if exchange.problem is not None:
            head = head or exchange.problem.code
        good = None if response is None or response.status is Status.CONTINUE else response.ok
        lines = response.content.count(b"\r\n") if response and response.content is not None else None
        sent = " / ".join(show(text, keep="") for text in exchange.sent_lines()) or None
        before, after = exchange.before.value, exchange.after.value
        out.append(Rung(sent, head, good, lines, before, after, exchange.milliseconds if exchange.finished else None))
    return out


def mail_rows(view: MaildropView) -> Iterable[MailRow]:
    """The maildrop as known so far, a row a message."""
    from popshell.ui.mailbox import MailRow

    for number in view.numbers[:MOST_ROWS]:  # a hostile STAT may claim any number
        subject = view.subjects.get(number)
        yield MailRow(
            number,
            view.sizes.get(number),
            view.unique_ids.get(number),
            show(decoded_words(subject), keep="") if subject is not None else None,
            number in view.marks,
        )


def decoded_words(text: str) -> str:
    """A header field with its encoded words decoded (RFC 2047); as it is if they cannot be."""
    if "=?" not in text:
        return text
    from email.errors import MessageError  # only a mail with encoded words pays for the import
    from email.header import decode_header, make_header

    try:
        return str(make_header(decode_header(text[:4096])))
    except (MessageError, LookupError, ValueError):
        return text
