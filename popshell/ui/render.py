"""Notes, texts and explanations as styled lines, spelled and wrapped for a Look; nothing here writes.

Text of a peer goes through `visible.show` before it becomes a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from popshell.course.explain import Note, Span
from popshell.protocol.line import MASK, CommandLine
from popshell.ui.layout import Line, Look, Run, inline, line_columns, pad, wrap
from popshell.visible import show, tame

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


def span_lines(line: CommandLine, spans: Sequence[Span], look: Look) -> list[Line]:
    """`:explain`: each token with its meaning beside it, then what is wrong, then what the line would do."""
    tokens: list[tuple[Run, str]] = []
    for span in spans:
        if span.token is not None:
            word = MASK if span.token.secret else show(span.token.text, keep="")
            tokens.append(((span.token.role.value, word), tame(span.text)))
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
