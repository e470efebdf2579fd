"""Draws the maildrop as the client knows it so far, for `:mailbox`: what nobody has asked for yet is a question mark.

Theory. Rows come one by one and may be 100,000; one pass keeps at most `limit` of them: those around the marks first
(a mark is what a learner may still take back), then those at the beginning. What is left out is counted where it
would stand.

A mark is a sign and a word, not colour alone. Numbers are aligned, and so is the unique-id, which is printable ASCII
(RFC 1939 §7); the subject stands last, because terminals differ in the width of such text.

Trap: a subject is shown as it comes, decoded and filtered by the caller (`visible.show`). What is not printable all
the same is filtered here; filtering twice would double each backslash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from popshell.ui.layout import Line, Words, clip, clip_line, columns, inline, pad, wrap_runs
from popshell.visible import show

#: How many messages are listed at most, unless `:mailbox all` asks for the rest.
LIMIT = 50
_AROUND = 2
#: From how many columns on there is a head, and how few are worth a unique-id or a subject.
_HEADED, _LEAST = 44, 8
_UNKNOWN = "?"
_NO_SUBJECT: Line = [("", "")]


@dataclass(frozen=True, slots=True)
class MailRow:
    """What is known of one message; None for what is not."""

    number: int
    octets: int | None
    unique_id: str | None
    subject: str | None
    marked: bool


@dataclass(frozen=True, slots=True)
class _Choice:
    """The rows that are listed, each with its place in the maildrop, and how many rows and marks there are."""

    rows: Sequence[tuple[int, MailRow]]
    total: int
    marks: int


def table(
    rows: Iterable[MailRow],
    columns: int,
    ascii: bool,
    words: Words,
    *,
    messages: int | None = None,
    octets: int | None = None,
    marks: int | None = None,
    limit: int = LIMIT,
) -> list[Line]:
    """The rows under a summary. `messages` and `octets` are as STAT tells them, without the marked; None if unknown."""
    choice = _choose(rows, limit)
    known: dict[str, object] = {
        "messages": messages,
        "octets": octets,
        "marks": choice.marks if marks is None else marks,
    }
    facts = {name: _UNKNOWN if value is None else value for name, value in known.items()}
    lines = wrap_runs([("state", words("mailbox.summary", **facts))], columns)
    if choice.rows:
        mark = "..." if ascii else "…"
        drawn = _drawn(choice, columns, ascii, words)
        lines += [clip_line(line, columns, mark) for line in drawn]
    if None in (messages, octets) or any(None in (row.octets, row.unique_id) for _, row in choice.rows):
        lines += wrap_runs([(style or "note", text) for style, text in inline(words("mailbox.unknown"))], columns)
    return lines


def _choose(rows: Iterable[MailRow], limit: int) -> _Choice:
    first: list[tuple[int, MailRow]] = []
    near: list[tuple[int, MailRow]] = []
    waiting: deque[tuple[int, MailRow]] = deque(maxlen=_AROUND)
    following = total = marks = 0
    for total, row in zip(count(1), rows):
        entry = total, row
        if len(first) < limit:
            first.append(entry)
        if row.marked:
            marks += 1
            following = _AROUND
        if len(near) >= limit:
            continue
        if row.marked:
            near += [*waiting, entry]
            waiting.clear()
        elif following:
            near.append(entry)
            following -= 1
        else:
            waiting.append(entry)
    if total <= limit:
        return _Choice(first, total, marks)
    chosen = dict(near[:limit])
    for place, row in first:
        if len(chosen) < limit:
            chosen.setdefault(place, row)
    return _Choice(sorted(chosen.items()), total, marks)


def _drawn(choice: _Choice, width: int, ascii: bool, words: Words) -> list[Line]:
    """The rows in aligned columns, with a line for each stretch that is left out."""
    headed = width >= _HEADED
    mark = f"{'x' if ascii else '✗'} {words('mailbox.marked')}" if any(row.marked for _, row in choice.rows) else ""
    rows = [_cells(row, mark, width // 3 if headed else width, ascii) for _, row in choice.rows]
    if headed:
        # The mark tells by itself what it is, and a subject that nobody has seen needs no head.
        names = ("number", "octets", "", "unique-id", "subject" if any(row[-1][1] for row in rows) else "")
        rows.insert(0, [("dim", words(f"mailbox.{name}") if name else "") for name in names])
    gap = "  " if headed else " "
    widths = [max(columns(row[index][1]) for row in rows) for index in range(4)]
    if sum(widths[:3]) + 3 * len(gap) + _LEAST > width:
        widths[3:] = []
    subjects = sum(widths) + 4 * len(gap) + _LEAST <= width
    lines = [_align(row if subjects else row[:-1] + _NO_SUBJECT, widths, gap) for row in rows]
    out, lines = (lines[:1], lines[1:]) if headed else ([], lines)
    seen = 0
    for (place, _), line in zip(choice.rows, lines, strict=True):
        out += [_left_out(place - seen - 1, ascii, words)] if place - seen > 1 else []
        out.append(line)
        seen = place
    return [*out, _left_out(choice.total - seen, ascii, words)] if choice.total > seen else out


def _cells(row: MailRow, mark: str, longest: int, ascii: bool) -> Line:
    octets, unique_id = (_UNKNOWN if value is None else str(value) for value in (row.octets, row.unique_id))
    if not (unique_id.isascii() and unique_id.isprintable()):
        unique_id = _safe(unique_id).encode("ascii", "backslashreplace").decode("ascii")
    return [
        ("number", str(row.number)),
        ("dim" if row.octets is None else "number", octets),
        ("warn", mark if row.marked else ""),
        ("dim" if row.unique_id is None else "uid", clip(unique_id, longest, "..." if ascii else "…")),
        ("peer", _safe(row.subject or "")),
    ]


def _align(cells: Line, widths: Sequence[int], gap: str) -> Line:
    line: Line = []
    for index, ((style, text), width) in enumerate(zip(cells, widths, strict=False)):
        if not width:
            continue
        if line:
            line.append(("", gap))
        blanks = " " * (width - columns(text))
        line += [("", blanks), (style, text)] if index < 2 else [(style, pad(text, width))]
    style, text = cells[-1]
    return [*line, ("", gap), (style, text)] if text else line


def _left_out(messages: int, ascii: bool, words: Words) -> Line:
    note = inline(words("mailbox.left-out", count=messages))
    return [("dim", f"{':' if ascii else '┊'} "), *((style or "dim", text) for style, text in note)]


def _safe(text: str) -> str:
    return text if text.isprintable() else show(text, keep="")
