"""Draws a session as a sequence diagram, for `:ladder`: two lifelines, an arrow for each line sent and each reply.

Theory. A rung is one exchange. What was sent is an arrow to the right under the command's name, the reply an arrow to
the left under its status; the lines of a multi-line reply are a dashed arrow of their own, because they come after
the status line. Between rungs a bar names the state that the session entered, in brackets where it still is. The end
is a step of its own: the server's closing after UPDATE is an arrow, a line that was lost a dashed line without one.

All text of a server stands to the right of the lifelines and last on its line: a terminal may measure it otherwise
than we do, and then nothing stands behind it that could shift. For the same reason the time stands at the left.

Traps. The text of a rung is shown as it comes: secrets are masked and control characters written out by the caller
(`visible.show`). What is not printable all the same is filtered here; filtering twice would double each backslash.
Text of a server is never turned into ASCII, only what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from popshell.protocol.commands import State
from popshell.protocol.line import MASK
from popshell.ui.arrows import HERE, LINE, NOTE, to_ascii
from popshell.ui.arrows import STATE as PLACE
from popshell.ui.layout import Line, Run, Words, clip, clip_line, columns, pad
from popshell.visible import show

_WIDE, _NARROW = 60, 36
_STATUSES = ("+OK", "-ERR", "+")
_SIGNS = {"ok": "✔", "err": "✘", "challenge": "", "warn": "?"}


@dataclass(frozen=True, slots=True)
class Rung:
    """One exchange as `:ladder` shows it; `sent` is None for a greeting, `reply` is the status line."""

    sent: str | None
    reply: str
    good: bool | None
    lines: int | None
    before: str
    after: str
    milliseconds: float | None


@dataclass(frozen=True, slots=True)
class _Step:
    """One row to draw: what stands on the arrow or bar, and what behind it."""

    sort: str  # "bar", "sent", "reply", "lines", "closes" or "lost"
    label: Run
    text: str = ""
    time: str = ""


def ladder(rungs: Iterable[Rung], columns: int, ascii: bool, words: Words, *, now: str = "") -> list[Line]:
    """The rungs from top to bottom, no line wider than `columns`. `now` is the state, if it is not the last rung's."""
    steps = _steps(tuple(rungs), ascii, words, now)
    if not steps:
        lines: list[Line] = [[("note", words("ladder.empty"))]]
    elif columns < _NARROW:
        lines = [_listed(step, ascii) for step in steps]
    else:
        lines = _drawn(steps, columns, ascii, words)
    if ascii:
        lines = [[(style, text.replace(MASK, "*" * len(MASK))) for style, text in line] for line in lines]
    return [clip_line(line, columns, "..." if ascii else "…") for line in lines]


def _steps(rungs: Sequence[Rung], ascii: bool, words: Words, now: str) -> list[_Step]:
    steps: list[_Step] = []
    state = ""
    for rung in rungs:
        if rung.before != state and (state or rung.sent is not None):
            steps.append(_Step("bar", (PLACE, rung.before)))
        if rung.sent is not None:
            verb, text = _split(_safe(rung.sent))
            steps.append(_Step("sent", ("command", verb), text))
        steps.append(_reply(rung, ascii, words))
        if rung.lines is not None:
            steps.append(_Step("lines", ("number", words("ladder.lines", count=rung.lines))))
        state = rung.after
        if rung.after != rung.before:
            steps.append(_Step("bar", (PLACE, rung.after)))
    if now and state and now != state:
        closes = state == State.UPDATE.value
        sort, label = ("closes", "diagram.closes") if closes else ("lost", "diagram.lost")
        steps += [_Step(sort, (NOTE if closes else "warn", words(label))), _Step("bar", (PLACE, now))]
    last = max((index for index, step in enumerate(steps) if step.sort == "bar"), default=None)
    if last is not None:
        steps[last] = _Step("bar", (HERE, f"[{steps[last].label[1]}]"))
    return steps


def _reply(rung: Rung, ascii: bool, words: Words) -> _Step:
    time = "" if rung.milliseconds is None else _milliseconds(rung.milliseconds)
    status, _, text = _safe(rung.reply).partition(" ")
    if status not in _STATUSES:
        status, text = "", _safe(rung.reply) or words("ladder.nothing")
    style = "challenge" if status == "+" else "warn" if rung.good is None else "ok" if rung.good else "err"
    # In ASCII there are no signs; the status is a word by itself.
    sign = "" if ascii and status else _SIGNS[style]
    return _Step("reply", (style, f"{sign} {status}".strip()), text, time)


def _split(sent: str) -> tuple[str, str]:
    """The command's name and the rest; no name where the line is an answer to a challenge, or something odd."""
    verb, _, text = sent.partition(" ")
    return (verb, text) if verb.isascii() and verb.isalnum() and len(verb) <= 10 else ("", sent)


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}" if value < 100_000 else f"{value / 1000:.0f}e3"


def _safe(text: str) -> str:
    return text if text.isprintable() else show(text, keep="")


def _drawn(steps: Sequence[_Step], width: int, ascii: bool, words: Words) -> list[Line]:
    """The steps between two lifelines; the times in a column of their own where there is room."""
    timed = width >= _WIDE
    first = 9 if timed else 1
    inside = 28 if width >= 100 else 20 if timed else 17
    client = pad(words("ladder.client"), inside + 1)
    margin = f"{'ms':>7}  " if timed else " "
    lines: list[Line] = [[("dim", margin), (PLACE, client + words("ladder.server"))]]
    for step in steps:
        drawn = _between(step, inside)
        text: Line = [("", "  "), ("peer", step.text)] if step.text else []
        if step.time and not timed:
            text = [("dim", f"  {step.time} ms"), *text]
        lines.append(
            [
                ("dim", f"{step.time:>{first - 2}}  " if timed else " "),
                *(to_ascii([drawn])[0] if ascii else drawn),
                *text,
            ]
        )
    return lines


def _between(step: _Step, inside: int) -> Line:
    """The lifelines and what runs from one to the other."""
    start, stroke, end, style = {
        "bar": ("", "═", "", LINE),
        "sent": ("", "─", "▶", "arrow"),
        "reply": ("◀", "─", "", "arrow"),
        "lines": ("◀", "┄", "", "arrow"),
        "closes": ("◀", "─", "", "arrow"),
        "lost": ("", "┄", "", LINE),
    }[step.sort]
    sides = "╞╡" if step.sort == "bar" else "││"
    label = step.label[1]
    if label and not label.startswith("["):
        label = f" {label} "
    label = clip(label, inside - 2)
    strokes = inside - columns(start + label + end)
    left = strokes // 2
    return [
        (LINE, sides[0]),
        (style, start + stroke * left),
        (step.label[0], label),
        (style, stroke * (strokes - left) + end),
        (LINE, sides[1]),
    ]


def _listed(step: _Step, ascii: bool) -> Line:
    """The step as a line with its arrow in front, for windows with no room for lifelines."""
    mark = {"bar": "═", "sent": "▶", "reply": "◀", "lines": "◀", "closes": "◀", "lost": "┄"}[step.sort]
    drawn: Line = [("arrow", mark)] + ([("", " "), step.label] if step.label[1] else [])
    if step.sort == "bar":
        drawn.append(("arrow", " ═"))
    line = to_ascii([drawn])[0] if ascii else drawn
    for style, text in (("dim", step.time and f"{step.time} ms"), ("peer", step.text)):
        if text:
            line = [*line, ("", " "), (style, text)]
    return line
