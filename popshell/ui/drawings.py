"""Draws the session as a sequence diagram (`:ladder`) and the maildrop as far as it is known (`:mailbox`).

Theory. A rung of the ladder is one exchange: an arrow to the right for what was sent, one to the left for its status
line, a dashed one for the content of a multi-line reply. Between rungs a bar names the state that was entered, in
brackets where the session still is. The end is a step of its own: the server's closing after UPDATE is an arrow, a
lost connection a dashed line without one.

In the mailbox what was not asked for yet is a question mark. Of 100,000 messages only those that are listed are laid
out: those around the marks first (a mark is what may still be taken back), then those at the beginning. What is left
out is counted where it would stand.

Traps. Text of a server stands last on its line: a terminal may measure it otherwise than we do, and then nothing
follows that could shift. All of it is filtered here, once: filtering twice would double each backslash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from popshell.protocol.commands import State
from popshell.protocol.line import MASK
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange, Status
from popshell.protocol.wire import ReplyLimits
from popshell.tuples import NamedTuple
from popshell.ui import theme
from popshell.ui.layout import Line, Look, Run, clip, columns, inline, pad, wrap
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.course.catalog import Words

_LINE, _STATE, _HERE, _NOTE = "diagram.line", "diagram.state", "diagram.here", "diagram.note"


# -- the ladder --------------------------------------------------------------------------------------------------------

_WIDE, _NARROW = 60, 36
_SIGNS = {"ok": "✔", "err": "✘", "challenge": "", "warn": "?"}


class _Step(NamedTuple):
    """One row to draw: what stands on the arrow or bar, and what follows it."""

    sort: str  # a key of _STROKES
    label: Run
    text: Sequence[Run] = ()
    time: str = ""


#: What runs between the lifelines: beginning, stroke, end, style; and the sign where there are no lifelines.
_STROKES = {
    "bar": ("", "═", "", _LINE, "═"),
    "sent": ("", "─", "▶", "arrow", "▶"),
    "reply": ("◀", "─", "", "arrow", "◀"),
    "lines": ("◀", "┄", "", "arrow", "◀"),
    "closes": ("◀", "─", "", "arrow", "◀"),
    "lost": ("", "┄", "", _LINE, "┄"),
}


def ladder(exchanges: Iterable[Exchange], look: Look, words: Words, now: State | None = None) -> list[Line]:
    """The session from top to bottom, secrets masked. `now` is the state, if it is not the last exchange's."""
    steps = _steps(exchanges, look, words, now)
    if not steps:
        return wrap([("note", words("ladder.empty"))], look)
    lines = [_listed(step) for step in steps] if look.width < _NARROW else _drawn(steps, look.width, words)
    if look.signless:  # in the text of a server, too
        lines = [[(style, text.replace(MASK, "*" * len(MASK))) for style, text in line] for line in lines]
    return look.rows(lines)


def _steps(exchanges: Iterable[Exchange], look: Look, words: Words, now: State | None) -> list[_Step]:
    steps: list[_Step] = []
    state: State | None = None
    for exchange in exchanges:
        sent = theme.sent_runs(exchange.command) if exchange.command else []
        for answer in exchange.sent_lines()[1:]:
            sent += [("", " / "), ("secret", answer)]
        if exchange.before is not state and (state or sent):
            steps.append(_Step("bar", (_STATE, exchange.before.value)))
        if sent:
            # No name stands on the arrow of an answer to a challenge, or of something odd.
            named = sent[0][1].isascii() and sent[0][1].isalnum() and len(sent[0][1]) <= 10
            steps.append(_Step("sent", sent[0], sent[1:]) if named else _Step("sent", ("command", ""), sent))
        steps.append(_reply(exchange, look, words))
        if exchange.response is not None and (content := exchange.response.content) is not None:
            steps.append(_Step("lines", ("number", words("ladder.lines", count=content.count(b"\r\n")))))
        state = exchange.after
        if exchange.before is not state:
            steps.append(_Step("bar", (_STATE, state.value)))
    if now and state and now is not state:
        sort, style = ("closes", _NOTE) if state is State.UPDATE else ("lost", "warn")
        steps += [_Step(sort, (style, words(f"diagram.{sort}"))), _Step("bar", (_STATE, now.value))]
    last = max((index for index, step in enumerate(steps) if step.sort == "bar"), default=None)
    if last is not None:
        steps[last] = _Step("bar", (_HERE, f"[{steps[last].label[1]}]"))
    return steps


def _reply(exchange: Exchange, look: Look, words: Words) -> _Step:
    value, response = exchange.milliseconds, exchange.response
    time = "" if not exchange.finished else f"{value:.{value < 100:d}f}" if value < 100_000 else f"{value / 1000:.0f}e3"
    # The reply that counts comes after the challenges of AUTH.
    row = exchange.received.split(b"\r\n", len(exchange.steps) + 1)[: len(exchange.steps) + 1][-1]
    said = show(exchange.redact(row.decode("utf-8", "surrogateescape")), keep="")
    said = said or (exchange.problem.code if exchange.problem else "")
    status, _, text = said.partition(" ")
    if status not in ("+OK", "-ERR", "+"):
        status, text = "", said or words("ladder.nothing")
    good = None if response is None or response.status is Status.CONTINUE else response.ok
    style = "challenge" if status == "+" else "warn" if good is None else "ok" if good else "err"
    # Without signs the status is a word by itself.
    sign = "" if look.signless and status else _SIGNS[style]
    return _Step("reply", (style, f"{sign} {status}".strip()), [("peer", text)] if text else [], time)


def _drawn(steps: Sequence[_Step], width: int, words: Words) -> list[Line]:
    """The steps between two lifelines; the times in a column of their own where there is room."""
    timed = width >= _WIDE
    inside = 28 if width >= 100 else 20 if timed else 17
    client = pad(words("ladder.client"), inside + 1)
    lines: list[Line] = [[("dim", f"{'ms':>7}  " if timed else " "), (_STATE, client + words("ladder.server"))]]
    for step in steps:
        time = [] if timed or not step.time else [("dim", f"  {step.time} ms")]
        text: Line = [("", "  "), *_trimmed(step.text)] if step.text else []
        lines.append([("dim", f"{step.time:>7}  " if timed else " "), *_between(step, inside), *time, *text])
    return lines


def _trimmed(text: Sequence[Run]) -> Line:
    """The runs without the blank that follows the name of the command."""
    return [(text[0][0], text[0][1].removeprefix(" ")), *text[1:]]


def _between(step: _Step, inside: int) -> Line:
    """The lifelines and what runs from one to the other."""
    start, stroke, end, style, _ = _STROKES[step.sort]
    sides = "╞╡" if step.sort == "bar" else "││"
    name, label = step.label
    if label and not label.startswith("["):
        label = f" {label} "
    label = clip(label, inside - 2)
    strokes = inside - columns(start + label + end)
    left = strokes // 2
    line = [(style, start + stroke * left), (name, label), (style, stroke * (strokes - left) + end)]
    return [(_LINE, sides[0]), *line, (_LINE, sides[1])]


def _listed(step: _Step) -> Line:
    """The step as a line with its arrow in front, for windows with no room for lifelines."""
    line: Line = [("arrow", _STROKES[step.sort][4])]
    for runs in ([step.label], [("dim", step.time and f"{step.time} ms")], _trimmed(step.text or (("", ""),))):
        if any(text for _, text in runs):
            line += [("", " "), *runs]
    return [*line, ("arrow", " ═")] if step.sort == "bar" else line


# -- the mailbox -------------------------------------------------------------------------------------------------------

#: How many messages are listed at most, unless `:mailbox all` asks for the rest: no more than a listing may have lines.
LIMIT, MOST_ROWS = 50, ReplyLimits().listing_lines
_AROUND = 2
#: From how many columns on there is a head, and how few are worth a unique-id or a subject.
_HEADED, _LEAST = 44, 8
_UNKNOWN = "?"


def decoded_words(text: str) -> str:
    """A header field with its encoded words decoded (RFC 2047)."""
    if "=?" not in text:
        return text
    from popshell.course.mail import decoded  # only a mail with encoded words pays for the import

    return decoded(text[:4096].encode("utf-8", "surrogateescape"))


def mailbox(view: MaildropView, look: Look, words: Words, *, limit: int = LIMIT) -> list[Line]:
    """The maildrop as known so far, at most `limit` messages of it, under a summary without the marked, as of STAT."""
    known = {"messages": view.count, "octets": view.octets, "marks": len(view.marks)}
    facts: dict[str, object] = {name: _UNKNOWN if value is None else value for name, value in known.items()}
    lines = wrap([("state", words("mailbox.summary", **facts))], look)
    last = min(view.last or 0, MOST_ROWS)  # a hostile STAT may claim any number
    if numbers := _chosen(view, last, limit):
        lines += look.rows(_table(numbers, last, view, look, words))
    if None in (view.count, view.octets) or any(n not in view.sizes or n not in view.unique_ids for n in numbers):
        lines += wrap(inline(words("mailbox.unknown"), "note"), look)
    return lines


def _chosen(view: MaildropView, last: int, limit: int) -> list[int]:
    """The messages that are listed: those around the marks first, then those at the beginning."""
    around = (range(max(mark - _AROUND, 1), min(mark + _AROUND, last) + 1) for mark in sorted(view.marks))
    chosen: dict[int, None] = {}
    for number in chain(chain.from_iterable(around), range(1, last + 1)):
        if len(chosen) == limit:
            break
        chosen[number] = None
    return sorted(chosen)


def _table(numbers: Sequence[int], last: int, view: MaildropView, look: Look, words: Words) -> Iterator[Line]:
    """The messages in aligned columns, with a line for each stretch that is left out."""
    headed = look.width >= _HEADED
    mark = f"{'x' if look.signless else '✗'} {words('mailbox.marked')}"
    longest = look.width // 3 if headed else look.width
    rows = [_cells(number, view, mark, longest, look) for number in numbers]
    if headed:
        # A mark needs no head, nor does a subject that was not seen.
        names = ("number", "octets", "", "unique-id", "subject" if any(row[-1][1] for row in rows) else "")
        rows.insert(0, [("dim", words(f"mailbox.{name}") if name else "") for name in names])
    gap = "  " if headed else " "
    widths = [max(columns(row[index][1]) for row in rows) for index in range(4)]
    if sum(widths[:3]) + 3 * len(gap) + _LEAST > look.width:
        widths[3:] = []
    subjects = sum(widths) + 4 * len(gap) + _LEAST <= look.width
    lines = [_aligned(row if subjects else [*row[:-1], ("", "")], widths, gap) for row in rows]
    if headed:
        yield lines.pop(0)
    seen = 0
    for number, line in zip((*numbers, last + 1), (*lines, None), strict=True):
        if (left := number - seen - 1) > 0:
            yield [("dim", "┊ "), *inline(words("mailbox.left-out", count=left), "dim")]
        if line is not None:
            yield line
        seen = number


def _cells(number: int, view: MaildropView, mark: str, longest: int, look: Look) -> Line:
    octets, subject = view.sizes.get(number), view.subjects.get(number, "")
    unique_id = view.unique_ids.get(number, _UNKNOWN)
    if not (unique_id.isascii() and unique_id.isprintable()):  # RFC 1939 §7: 0x21 to 0x7E
        unique_id = show(unique_id, keep="").encode("ascii", "backslashreplace").decode("ascii")
    return [
        ("number", str(number)),
        ("dim", _UNKNOWN) if octets is None else ("number", str(octets)),
        ("warn", mark if number in view.marks else ""),
        ("uid" if number in view.unique_ids else "dim", clip(unique_id, longest, look.ellipsis)),
        ("peer", show(decoded_words(subject), keep="")),
    ]


def _aligned(cells: Line, widths: Sequence[int], gap: str) -> Line:
    line: Line = []
    for index, ((style, text), width) in enumerate(zip(cells, widths, strict=False)):
        if width:
            blanks = ("", " " * (width - columns(text)))
            line += [("", gap)] if line else []
            line += [blanks, (style, text)] if index < 2 else [(style, text), blanks]
    style, text = cells[-1]
    return [*line, ("", gap), (style, text)] if text else line
