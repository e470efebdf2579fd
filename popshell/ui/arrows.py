"""The arrows of the command table as a drawing sees them; `diagram` is the door to all drawings.

Theory. The state that the first arrow (the greeting) leaves is home: a session begins and ends there. The others stand
in a row, in the order in which arrows reach them. An arrow is then one of four: the way on (to the next in the row), a
loop, a way home, or any other. The last kind does not exist today; drawings list it below, so that a row added to the
table can never go missing.

One arrow is in no row of the table because nobody types it: when the line is lost, a session goes home without
passing UPDATE (RFC 1939 §6). It leaves, dashed, every state that a command would lead from into UPDATE.

Trap: labels come from outside and may be Chinese. Measure with `columns()`, never with `len`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from popshell.protocol.commands import State, Transition, legal, transitions
from popshell.ui.layout import Line, Words, columns

LINE, STATE, HERE = "diagram.line", "diagram.state", "diagram.here"
COMMAND, LEGAL, TAKEN, NOTE = "diagram.command", "diagram.legal", "diagram.taken", "diagram.note"
OR = "·"


class Post(NamedTuple):
    """An arrow between a state and home."""

    label: str
    down: bool = True
    lost: bool = False


class Machine(NamedTuple):
    """The arrows of the table, told apart by what they are to a drawing."""

    arrows: tuple[Transition, ...]
    home: State
    row: tuple[State, ...]
    words: Words

    def labels(self, before: State, after: State) -> tuple[str, ...]:
        """What leads from `before` to `after`: commands, or the words for what the server does by itself."""
        return tuple(
            label
            for taken in self.arrows
            if (taken.before, taken.after) == (before, after)
            for label in self._labels(taken)
        )

    def _labels(self, taken: Transition) -> tuple[str, ...]:
        if not taken.commands:
            return (self.words("diagram.greeting" if taken.before is self.home else "diagram.closes"),)
        first = {spec.name: spec.must_follow for spec in legal(taken.before)}
        return tuple(f"{first[name]}+{name}" if first.get(name) else name for name in taken.commands)

    def cause(self, before: State, after: State, verb: str) -> str:
        """What to call the change from `before` to `after` when `verb` was the last that was typed, "" for nothing."""
        found = next((t for t in self.arrows if (t.before, t.after) == (before, after)), None)
        if verb and (after is not self.home or (found and verb in found.commands)):
            return verb
        return self.words("diagram.lost") if not found or found.commands else self._labels(found)[0]

    def by_itself(self, before: State, after: State) -> bool:
        """Whether the server leads from `before` to `after` without being asked, as it closes after UPDATE."""
        return any((t.before, t.after) == (before, after) and not t.commands for t in self.arrows)

    def loses(self, place: State) -> bool:
        """Whether a line that is lost in `place` leads past UPDATE."""
        into = any(taken.commands and (taken.before, taken.after) == (place, State.UPDATE) for taken in self.arrows)
        return into and place is not State.UPDATE

    def ways_home(self, place: State) -> Iterator[Post]:
        """The arrows from `place` home."""
        if labels := self.labels(place, self.home):
            yield Post(OR.join(labels))
        if self.loses(place):
            yield Post(self.words("diagram.lost"), lost=True)

    def next(self, place: State) -> State | None:
        """The next state in the row."""
        return dict(pairwise((self.home, *self.row))).get(place)

    def others(self) -> Iterator[Transition]:
        """Arrows that are no loop, no way on and no way home."""
        for taken in self.arrows:
            loop_or_home = taken.before in self.row and taken.after in (taken.before, self.home)
            if not loop_or_home and self.next(taken.before) is not taken.after:
                yield taken


def read(words: Words) -> Machine:
    """The machine as the table has it now."""
    arrows = tuple(transitions())
    home, *row = dict.fromkeys(place for taken in arrows for place in (taken.before, taken.after))
    return Machine(arrows, home, tuple(row), words)


def fold(labels: Sequence[str], room: int, joint: str = " ") -> list[str]:
    """The labels in as few lines of `room` columns as they need, of equal length if possible; none is cut."""
    lines = fill(labels, room, joint)
    for narrower in range(room - 1, 0, -1):
        tighter = fill(labels, narrower, joint)
        if len(tighter) > len(lines) or any(columns(line) > narrower for line in tighter):
            break
        lines = tighter
    return lines


def fill(labels: Sequence[str], room: int, joint: str) -> list[str]:
    """The labels in lines of at most `room` columns, each as full as possible."""
    lines: list[str] = []
    for label in labels:
        if lines and columns(lines[-1] + joint + label) <= room:
            lines[-1] += joint + label
        else:
            lines.append(label)
    return lines


_ASCII = str.maketrans(
    dict(zip("─━═┄│┃┊║▶◀▲▼↺·…—✔✘✗", "-==.||:#><^v@|~-+xx", strict=True))
    | dict.fromkeys("┌┐└┘├┤┬┴╭╮╰┗┛╟╧╤╞╡", "+")
    | dict.fromkeys("╔╗╚╝", "#")
)


def to_ascii(lines: Iterable[Line]) -> list[Line]:
    """The lines with every drawn character replaced by one ASCII character, one column wide."""
    return [[(style, text.translate(_ASCII)) for style, text in line] for line in lines]
