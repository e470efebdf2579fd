"""The states of a session as drawings: one line for the toolbar, the arrow just taken, the whole machine for `:state`.

Theory. Everything drawn is read from the command table each time; there is no second copy of the machine. `path` and
`arrow` come in several forms, from the one that says most to the one that needs least, and the first that fits is
shown. `machine` fills one of three templates (`_WIDE`, `_LANE`, `_NARROW`); an arrow of the table that has no slot in
it, or whose label is too long for its slot, is listed below, so that a row added to the table can never go missing.
The current state has brackets, and in boxes a double frame, because colour alone says nothing to some readers.

One arrow is in no row of the table, since it is no command: when the connection is lost, a session ends without
passing UPDATE (RFC 1939 §6). It leaves, dashed, every state from which a command leads into UPDATE.

Traps. A password must never get here: `arrow` draws the first word of what it is given and nothing else. Labels may be
Chinese: measure with `columns()`, never with `len`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from popshell.protocol.commands import State, Transition, legal, transitions
from popshell.ui.layout import Line, Look, Run, clip, columns, inline, line_columns, wrap

if TYPE_CHECKING:
    from popshell.course.catalog import Words

LINE, STATE, HERE = "diagram.line", "diagram.state", "diagram.here"
COMMAND, LEGAL, TAKEN, NOTE = "diagram.command", "diagram.legal", "diagram.taken", "diagram.note"
_OR = "·"

Arrow = tuple[State, State]


class Machine:
    """The arrows of the table as it is now: the greeting leaves `home`, `row` are the others as arrows reach them."""

    def __init__(self, words: Words) -> None:
        self.words, self.arrows = words, tuple(transitions())
        states = dict.fromkeys(state for taken in self.arrows for state in (taken.before, taken.after))
        self.home, *self.row = states

    def labels(self, before: State, after: State) -> list[str]:
        """What leads from `before` to `after`: commands, or the words for what the server does without being asked."""
        found = [taken for taken in self.arrows if (taken.before, taken.after) == (before, after)]
        return [label for taken in found for label in self._labels(taken)]

    def _labels(self, taken: Transition) -> Sequence[str]:
        if not taken.commands:
            return (self.words("diagram.greeting" if taken.before is self.home else "diagram.closes"),)
        first = {spec.name: spec.must_follow for spec in legal(taken.before)}
        return [f"{first[name]}+{name}" if first.get(name) else name for name in taken.commands]

    def cause(self, before: State, after: State, verb: str) -> tuple[str, bool]:
        """What to call the change from `before` to `after` when `verb` was the last that was typed, "" for nothing.

        And whether the server leads there without being asked, as it closes after UPDATE.
        """
        found = next((t for t in self.arrows if (t.before, t.after) == (before, after)), None)
        by_itself = found is not None and not found.commands
        if verb and (after is not self.home or (found and verb in found.commands)):
            return verb, by_itself
        return self._labels(found)[0] if found and by_itself else self.words("diagram.lost"), by_itself

    def loses(self, state: State) -> bool:
        """Whether a connection that is lost in `state` leads past UPDATE."""
        return any(t.commands and t.before is state is not t.after is State.UPDATE for t in self.arrows)


# -- one line ----------------------------------------------------------------------------------------------------------


def path(state: State, look: Look, words: Words) -> list[Line]:
    """The machine in one line, for the toolbar; in a narrower window it says less."""
    drawn = Machine(words)
    row = (drawn.home, *drawn.row) if state is drawn.home else drawn.row
    start: Line = [] if state is drawn.home else [(NOTE, words("diagram.connect")), (LINE, " ─▶ ")]
    labels = {arrow: _joint(look).join(drawn.labels(*arrow)) for arrow in pairwise(row)}
    typed = {arrow: label for arrow, label in labels.items() if arrow[0] is not drawn.home}
    leaving = {arrow: label for arrow, label in typed.items() if arrow[0] is state}
    forms = (
        [*start, *_walk(row, state, labels)],
        *(_walk(row, state, shown) for shown in (typed, leaving, {})),
        _walk(row, state, short=True),
        _walk([state], state),
    )
    return _first_that_fits(([form] for form in forms), look)


def arrow(
    before: State, after: State, command: str | None, look: Look, words: Words, *, brief: bool = False
) -> list[Line]:
    """The arrow just taken, in at most three lines; `command` is what was typed, None if the connection was lost.

    `brief` leaves out what is possible after it.
    """
    if before is after:
        return []
    drawn = Machine(words)
    states = (drawn.home, *drawn.row)
    verb = command.split(maxsplit=1)[0].upper() if command and command.strip() else ""
    label, by_itself = drawn.cause(before, after, verb)
    if by_itself or (before, after) in pairwise(states):
        rows = [row for row in (states, drawn.row, (before, after)) if (before, after) in pairwise(row)]
        walks = [_walk(row, after, {(before, after): label}, taken=True) for row in rows]
        forms = [[walk, *([] if brief else _possible(walk, after, look.width))] for walk in walks]
    else:
        start, end = sorted((states.index(before), states.index(after)))
        forms = [_back(_walk(row, after), before, after, label) for row in (states, states[start : end + 1])]
    last = [(TAKEN, f" ┗━{clip(label, max(look.width - 5, 1), look.ellipsis)}━▶")]
    return _first_that_fits([*forms, [[(STATE, before.value)], last, _walk([after], after)]], look)


def _joint(look: Look) -> str:
    return "|" if look.signless else _OR


def _walk(
    row: Sequence[State],
    here: State,
    labels: Mapping[Arrow, str] | None = None,
    taken: bool = False,
    short: bool = False,
) -> Line:
    """The states of `row` with the arrows between them, those with a label drawn as `taken` or not.

    `short` leaves the first letter of all states but the current one.
    """
    line, labels = list[Run](), labels or {}
    for before, after in zip((None, *row), row, strict=False):
        text = labels.get((before, after), "") if before else ""
        if text and taken:
            line.append((TAKEN, f" ━━{text}━━▶ "))
        elif text:
            line += [(LINE, " ─"), (LEGAL if before is here else COMMAND, text), (LINE, "─▶ ")]
        elif before:
            line.append((LINE, " ─▶ "))
        name = after.value[:1] if short else after.value
        line.append((HERE, f"[{after.value}]") if after is here else (STATE, name))
    return line


def _possible(line: Line, here: State, width: int) -> list[Line]:
    """What may be given now, in at most two lines under the name of the state; nothing where there is no room."""
    left = _middle(line, here) - len(here.value) // 2
    lines = fold([spec.name for spec in legal(here)], width - left - 2)
    if len(lines) > 2:
        return []
    return [[(LINE, " " * left + ("  " if at else "╰ ")), (LEGAL, text)] for at, text in enumerate(lines)]


def _back(line: Line, before: State, after: State, label: str) -> list[Line]:
    """`line` with an arrow under it, from `before` to a state that is not the next one."""
    start, end = (_middle(line, state) for state in (before, after))
    left, room = min(start, end), abs(start - end) - 1
    text = f" {clip(label, max(room - 4, 1))} "
    strokes = room - columns(text)
    heads = ("┃", "▲") if start < end else ("▲", "┃")
    return [
        line,
        [("", " " * left), (TAKEN, heads[0] + " " * room + heads[1])],
        [("", " " * left), (TAKEN, "┗" + "━" * (strokes // 2) + text + "━" * (strokes - strokes // 2) + "┛")],
    ]


def _middle(line: Line, state: State) -> int:
    """The column in which the middle of the name of `state` stands."""
    x = 0
    for style, text in line:
        if text.strip("[]") == state.value and style in (HERE, STATE):
            break
        x += columns(text)
    return x + columns(text) // 2


def _first_that_fits(forms: Iterable[list[Line]], look: Look) -> list[Line]:
    """The first form that fits; the last one is clipped if need be."""
    lines: list[Line] = []
    for lines in forms:
        if all(line_columns(line) <= look.width for line in lines):
            break
    return look.rows(lines)


def fold(labels: Sequence[str], room: int, joint: str = " ") -> list[str]:
    """The labels in as few lines of `room` columns as they need, of equal length if possible; none is cut."""
    count, longest = len(_filled(labels, room, joint)), max(map(columns, labels), default=0)
    folded = (_filled(labels, width, joint) for width in range(min(longest, room), room + 1))
    return next(lines for lines in folded if len(lines) <= count)


def _filled(labels: Sequence[str], room: int, joint: str) -> list[str]:
    """The labels in lines of at most `room` columns, each as full as possible."""
    lines: list[str] = []
    for label in labels:
        if lines and columns(lines[-1] + joint + label) <= room:
            lines[-1] += joint + label
        else:
            lines.append(label)
    return lines


# -- the whole machine -------------------------------------------------------------------------------------------------

# Words in lower case are slots for the labels of an arrow. With dots a slot is as wide as it is drawn, with a dot at
# both ends its text is centred; without dots it is as wide as its text. A text that is narrower is padded with the
# character after the slot. A row with a star is repeated for each line of its slots, or left out if they are empty.
_WIDE = """
* self_a..........................  self_t...................................
    ╭────╮                            ╭────╮
  ┌─┴────▼────────┐ .login......... ┌─┴────▼──────┐ .quit. ┌────────┐
  │ AUTHORIZATION ├────────────────▶│ TRANSACTION ├───────▶│ UPDATE │
  └──▲──────────┬─┘ .login......... └──┬──────────┘        └──┬─────┘
     │ greet... │ leave................┊ lost................ │ closes........
  ┌──┴──────────▼──────────────────────▼──────────────────────▼──────────────┐
  │ CLOSED  closed.........                                                  │
  └──────────────────────────────────────────────────────────────────────────┘
"""
_LANE = """
┌────────┐
│ CLOSED │◀────────────────────────────────┐
└─┬──────┘                                 │
  │ greet...............................   │
┌─▼─────────────┐                          │
│ AUTHORIZATION ├─leave................────┤
└─┬─────────────┘                          │
* │ ↺ self_a............................   │
* │ login...............................   │
┌─▼───────────┐                            │
│ TRANSACTION ├┄lost...................┄┄┄┄┤
└─┬───────────┘                            │
* │ ↺ self_t............................   │
* │ quit................................   │
┌─▼──────┐                                 │
│ UPDATE ├─closes......................────┘
└────────┘
"""
_NARROW = """
┌────────┐
│ CLOSED │
└─┬──────┘
  │ greet
┌─▼─────────────┐
│ AUTHORIZATION │
└─┬─────────────┘
  ├─leave─▶ CLOSED
* │ ↺ self_a
* │ login
┌─▼───────────┐
│ TRANSACTION │
└─┬───────────┘
  ├┄lost┄▶
  │ CLOSED
* │ ↺ self_t
* │ quit
┌─▼──────┐
│ UPDATE │
└─┬──────┘
  └─closes▶
    CLOSED
"""
_TEMPLATES = ((78, _WIDE), (44, _LANE), (0, _NARROW))
_CLOSED, _AUTHORIZATION, _TRANSACTION, _UPDATE = State
_SLOTS: dict[str, Arrow] = {
    "greet": (_CLOSED, _AUTHORIZATION),
    "self_a": (_AUTHORIZATION, _AUTHORIZATION),
    "login": (_AUTHORIZATION, _TRANSACTION),
    "leave": (_AUTHORIZATION, _CLOSED),
    "self_t": (_TRANSACTION, _TRANSACTION),
    "quit": (_TRANSACTION, _UPDATE),
    "closes": (_UPDATE, _CLOSED),
}
_PART = (
    r"(?P<slot>(?P<centred>\.?)(?P<name>[a-z_]+)\.*)|(?P<here>\[[A-Z]+\]|[╔╗╚╝═║╤╧╟][╔╗╚╝═║╤╧╟▲▼]*)|(?P<state>[A-Z]+)"
)
_DOUBLE = str.maketrans("┌┐└┘─│┬┴├", "╔╗╚╝═║╤╧╟")


def machine(state: State, look: Look, words: Words) -> list[Line]:
    """The whole machine with every legal command on its arrow, for `:state`; in a narrow window from top to bottom."""
    drawn = Machine(words)
    lines, shown = _picture(drawn, state, look, next(text for least, text in _TEMPLATES if look.width >= least))
    for before, after in dict.fromkeys((taken.before, taken.after) for taken in drawn.arrows):
        if (before, after) in shown:
            continue
        names: Line = [(STATE, before.value), (LINE, " ─▶ "), (STATE, after.value)]
        label = _joint(look).join(drawn.labels(before, after))
        lines += wrap([*names, (COMMAND, f" ({label})")], look, "  ", "    ")
    lines += wrap([(HERE, f"[{state.value}]"), (NOTE, " " + words("diagram.here"))], look, "  ", "  ")
    if any(map(drawn.loses, drawn.row)):
        lines += wrap([(LINE, "┊ "), *inline(words("diagram.lost_note"), NOTE)], look, "  ", "    ")
    return look.rows(lines)


def _picture(drawn: Machine, here: State, look: Look, template: str) -> tuple[list[Line], set[Arrow]]:
    """A template with the labels of the arrows in its slots, and the arrows that have a slot into which they fit."""
    rows = _framed(template.strip("\n").split("\n"), here)
    texts, shown = _texts(drawn, look, rows)
    lines: list[Line] = []
    for row in rows:
        parts = list(re.finditer(_PART, row))
        slots = [part["name"] for part in parts if part["name"]]
        count = max((len(texts[name]) for name in slots), default=1) if row.startswith("*") else 1
        # The texts of a row end together; of a slot that is there twice, the next line is taken.
        for at in range(count):
            filled = {name: texts[name].pop(0) if len(texts[name]) >= count - at else "" for name in slots}
            lines.append(_line(row.replace("↺", " ") if at else row, parts, filled, here))
    return lines, shown


def _texts(drawn: Machine, look: Look, rows: Sequence[str]) -> tuple[dict[str, list[str]], set[Arrow]]:
    """The lines of each slot, and the arrows whose labels fit."""
    slots = [(row, slot) for row in rows for slot in re.finditer(_PART, row) if slot["name"]]
    times = Counter(slot["name"] for _, slot in slots)
    texts: dict[str, list[str]] = {}
    shown = set(_SLOTS.values())
    for row, slot in slots:
        if (name := slot["name"]) not in _SLOTS:
            texts[name] = [drawn.words(f"diagram.{name}")]
            continue
        before, after = _SLOTS[name]
        room = len(slot[0]) if slot[0].endswith(".") else look.width - len(row) + len(slot[0])
        lines = fold(drawn.labels(before, after), room, " " if before is after else _joint(look))
        if not row.startswith("*") and (len(lines) > times[name] or any(columns(line) > room for line in lines)):
            shown.discard((before, after))
            lines = [look.ellipsis]
        texts[name] = lines
    return texts, shown


def _line(row: str, parts: Sequence[re.Match[str]], texts: Mapping[str, str], here: State) -> Line:
    """A row of a template with its slots filled."""
    line: Line = []
    done = 0
    for part in parts:
        line.append((LINE, row[done : part.start()].replace("*", " ")))
        done = part.end()
        if not part["slot"]:
            line.append((HERE if part["here"] else STATE, part[0]))
            continue
        text, arrow = texts[part["name"]], _SLOTS.get(part["name"])
        width = len(part[0]) if part[0].endswith(".") else columns(text)
        left = (width - columns(text)) // 2 if part["centred"] else 0
        after = row[done : done + 1]
        filling = (after if after in ("─", "┄") else " ") * (width - left - columns(text))
        style = NOTE if arrow is None else LEGAL if arrow[0] is here else COMMAND
        line += [(LINE, " " * left), (style, text), (LINE, filling)]
    return [run for run in [*line, (LINE, row[done:])] if run[1]]


def _framed(rows: list[str], here: State) -> list[str]:
    """The rows with brackets and a double frame for one state."""
    y = next(y for y, row in enumerate(rows) if f"│ {here.value} " in row)
    left = rows[y].index(f"│ {here.value} ")
    right = rows[y - 1].index("┐", left)
    name = f"║[{here.value}]"
    middle = name + rows[y][left + len(name) : right] + rows[y][right].translate(_DOUBLE)
    above, below = (rows[at][left : right + 1].translate(_DOUBLE) for at in (y - 1, y + 1))
    boxed = {y - 1: above, y: middle, y + 1: below}
    return [row[:left] + boxed[at] + row[right + 1 :] if at in boxed else row for at, row in enumerate(rows)]
