"""Draws the machine that a POP3 session is: in one line for the toolbar, as the arrow just taken, whole for `:state`.

Theory. Everything drawn is read from the command table each time (`arrows.read`); there is no second copy of the
machine. Each drawing comes in several forms, from the one that says most to the one that needs least, and the first
that fits the window is shown. The current state has brackets, and in boxes a double frame, beside its style, because
colour alone says nothing to some readers. Drawings are made of box characters and, for terminals that draw those with
two columns, turned into ASCII character by character: the layout is the same.

Every function takes the width of the window, whether to draw in ASCII, and the words of the reader's language; it
returns lines of (style, text), which prompt_toolkit and plain writers (`plain`) can print.

Trap: a password must never get here. `arrow` draws the first word of what it is given and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from popshell.protocol.commands import State, legal
from popshell.ui.arrows import COMMAND, HERE, LEGAL, LINE, NOTE, OR, STATE, TAKEN, fold, read, to_ascii
from popshell.ui.layout import Line, Words, clip, clip_line, columns, inline, line_columns, plain, wrap_runs

__all__ = ["arrow", "machine", "mermaid", "path", "plain"]

_Label = Callable[[State, State], str]


def path(state: State, columns: int, ascii: bool, words: Words) -> list[Line]:
    """The machine in one line, for the toolbar; in a narrower window it says less."""
    drawn = read(words)
    row = (drawn.home, *drawn.row) if state is drawn.home else drawn.row
    start: Line = [] if state is drawn.home else [(NOTE, words("diagram.connect")), (LINE, " ─▶ ")]

    def every(before: State, after: State) -> str:
        return OR.join(drawn.labels(before, after))

    def typed(before: State, after: State) -> str:
        return "" if before is drawn.home else every(before, after)

    def leaving(before: State, after: State) -> str:
        return typed(before, after) if before is state else ""

    def none(before: State, after: State) -> str:
        return ""

    forms = (
        [*start, *_walk(row, state, every)],
        _walk(row, state, typed),
        _walk(row, state, leaving),
        _walk(row, state, none),
        _walk(row, state, leaving, short=True),
        _walk(row, state, none, short=True),
        [(style, text.replace(" ─▶ ", "▶")) for style, text in _walk(row, state, none, short=True)],
        _walk([state], state, none),
    )
    return _fit(([form] for form in forms), columns, ascii)


def arrow(before: State, after: State, command: str | None, columns: int, ascii: bool, words: Words) -> list[Line]:
    """The arrow just taken, in at most three lines; `command` is what was typed, None if the line was lost."""
    if before is after:
        return []
    drawn = read(words)
    places = (drawn.home, *drawn.row)
    verb = command.split(maxsplit=1)[0].upper() if command and command.strip() else ""
    label = drawn.cause(before, after, verb)
    if drawn.next(before) is after:
        walks = [
            _walk(row, after, taken=(before, label)) for row in (places, drawn.row, (before, after)) if before in row
        ]
        forms = [[walk, *_possible(walk, after, columns)] for walk in walks]
    elif drawn.by_itself(before, after):
        forms = [[_walk((before, after), after, taken=(before, label))]]
    else:
        start, end = sorted((places.index(before), places.index(after)))
        forms = [_back(_walk(row, after), before, after, label) for row in (places, places[start : end + 1])]
    last = [(TAKEN, f" ┗━{clip(label, max(columns - 5, 1))}━▶")]
    return _fit([*forms, [[(STATE, before.value)], last, _walk([after], after)]], columns, ascii)


def machine(state: State, columns: int, ascii: bool, words: Words) -> list[Line]:
    """The whole machine with every legal command on its arrow, for `:state`; in a narrow window from top to bottom."""
    from popshell.ui.boxes import stacked, wide  # for `:state` only

    drawn = read(words)
    lines = wide(drawn, state, columns) or stacked(drawn, state, columns)
    for other in drawn.others():
        label = OR.join(drawn.labels(other.before, other.after))
        names: Line = [(STATE, other.before.value), (LINE, " ─▶ "), (STATE, other.after.value)]
        lines += wrap_runs([*names, (COMMAND, f" ({label})")], columns, "  ", "    ")
    lines += wrap_runs([(HERE, f"[{state.value}]"), (NOTE, " " + words("diagram.here"))], columns, "  ", "  ")
    if any(map(drawn.loses, drawn.row)):
        note = [(style or NOTE, text) for style, text in inline(words("diagram.lost_note"))]
        lines += wrap_runs([(LINE, "┊ "), *note], columns, "  ", "    ")
    return _fit([lines], columns, ascii)


def mermaid(words: Words) -> str:
    """The whole machine as a Mermaid state diagram, for the docs."""
    drawn = read(words)
    lines = ["stateDiagram-v2", "    direction LR"]
    for taken in drawn.arrows:
        label = ", ".join(drawn.labels(taken.before, taken.after))
        lines.append(f"    {taken.before.value} --> {taken.after.value} : {label}")
    lines += [
        f"    {place.value} --> {drawn.home.value} : {words('diagram.lost')}"
        for place in drawn.row
        if drawn.loses(place)
    ]
    return "\n".join(lines) + "\n"


def _walk(
    row: Sequence[State],
    here: State,
    label: _Label | None = None,
    short: bool = False,
    taken: tuple[State, str] | None = None,
) -> Line:
    """The states of `row` with the arrows between them; `short` leaves the first letter of all but the current one."""
    line: Line = []
    for before, after in pairwise((None, *row)):
        if before and taken and before is taken[0]:
            line.append((TAKEN, f" ━━{taken[1]}━━▶ "))
        elif before:
            text = label(before, after) if label and after else ""
            stroke = (LINE, " ─"), (LEGAL if before is here else COMMAND, text), (LINE, "─▶ ")
            line += stroke if text else [(LINE, " ─▶ ")]
        if after:
            name = after.value[:1] if short else after.value
            line.append((HERE, f"[{after.value}]") if after is here else (STATE, name))
    return line


def _possible(line: Line, here: State, width: int) -> list[Line]:
    """What may be given now, in at most two lines under the name of the state; nothing where there is no room."""
    names = [spec.name for spec in legal(here)]
    left = _middle(line, here) - len(here.value) // 2
    lines = fold(names, width - left - 2)
    if not names or len(lines) > 2:
        return []
    marks = [(LINE, " " * left + "╰ "), (LINE, " " * (left + 2))]
    return [[mark, (LEGAL, text)] for mark, text in zip(marks, lines, strict=False)]


def _back(line: Line, before: State, after: State, label: str) -> list[Line]:
    """`line` with an arrow under it, from `before` to a state that is not the next one."""
    start, end = (_middle(line, place) for place in (before, after))
    left, right = min(start, end), max(start, end)
    room = right - left - 1
    text = f" {clip(label, max(room - 4, 1))} "
    strokes = room - columns(text)
    heads = {start: "┃", end: "▲"}
    return [
        line,
        [("", " " * left), (TAKEN, heads[left] + " " * room + heads[right])],
        [("", " " * left), (TAKEN, "┗" + "━" * (strokes // 2) + text + "━" * (strokes - strokes // 2) + "┛")],
    ]


def _middle(line: Line, place: State) -> int:
    """The column in which the middle of the name of `place` stands."""
    x = 0
    for style, text in line:
        if text.strip("[]") == place.value and style in (HERE, STATE):
            return x + columns(text) // 2
        x += columns(text)
    raise ValueError(place)


def _fit(forms: Iterable[list[Line]], width: int, ascii: bool) -> list[Line]:
    """The first form that fits; the last one is clipped if need be."""
    lines: list[Line] = []
    for lines in forms:
        if all(line_columns(line) <= width for line in lines):
            break
    clipped = [clip_line(line, width) for line in lines]
    return to_ascii(clipped) if ascii else clipped
