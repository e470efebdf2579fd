"""The whole machine in boxes: `wide` lays the row of states on home as a floor, `stacked` goes from top to bottom.

Theory. `wide` measures first (every box as wide as its name and its posts, every gap as wide as its label), gives what
is left over to the gaps, then draws on a canvas. Nothing moves when the current state does: the brackets around its
name take the place of blanks. `stacked` writes line by line; the ways home run in a lane at the right, and where there
is no room for one they are written out.

Trap: a joint in a frame (`┬`, `▼`) has to know whether the frame is double; `_Canvas.join` looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from popshell.protocol.commands import State
from popshell.ui.arrows import COMMAND, HERE, LEGAL, LINE, NOTE, OR, STATE, Machine, Post, fill, fold
from popshell.ui.layout import Line, columns, line_columns


class _Canvas:
    """A grid of cells to draw on in any order; a wide character takes two."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, tuple[str, str]]] = {}

    def put(self, x: int, y: int, text: str, style: str = LINE) -> None:
        row = self._rows.setdefault(y, {})
        for character in text:
            row[x] = (style, character)
            if columns(character) == 2:
                row[x + 1] = (style, "")
            x += columns(character)

    def box(self, x: int, y: int, width: int, place: State, here: State) -> None:
        style, name = (HERE, f"[{place.value}]") if place is here else (STATE, f" {place.value} ")
        corners = "╔╗╚╝═║" if place is here else "┌┐└┘─│"
        frame = HERE if place is here else LINE
        self.put(x, y, corners[0] + corners[4] * (width - 2) + corners[1], frame)
        self.put(x, y + 1, corners[5] + " " * (width - 2) + corners[5], frame)
        self.put(x + 1, y + 1, name, style)
        self.put(x, y + 2, corners[2] + corners[4] * (width - 2) + corners[3], frame)

    def join(self, x: int, y: int, character: str) -> None:
        """Puts a joint into the frame of a box, double where the frame is."""
        style, old = self._rows[y][x]
        self.put(x, y, character.translate(_DOUBLE) if old in "═║" else character, style)

    def lines(self) -> list[Line]:
        drawn: list[Line] = []
        for y in range(max(self._rows) + 1):
            row = self._rows.get(y, {})
            cells = [row.get(x, ("", " ")) for x in range(max(row, default=-1) + 1)]
            runs = groupby(cells, key=lambda cell: cell[0])
            drawn.append([(style, "".join(text for _, text in run)) for style, run in runs])
        return drawn


_DOUBLE = str.maketrans("┬┴├", "╤╧╟")
_MARGIN, _POST = 2, 3


@dataclass(slots=True)
class _Column:
    """A state in the row of the wide drawing."""

    place: State
    loops: tuple[str, ...]
    way_on: tuple[str, ...]
    posts: list[tuple[int, Post]]
    width: int
    gap: int = 0
    x: int = 0

    @property
    def reach(self) -> int:
        """Where the label of the last post ends, counted from the box's left edge."""
        return max((offset + 2 + columns(post.label) for offset, post in self.posts), default=0)


def wide(drawn: Machine, here: State, width: int) -> list[Line] | None:
    """The row from left to right, home below it; None if `width` is too small for it."""
    row = [_column(drawn, place) for place in drawn.row]
    if not _place(row, width):
        return None
    right = max(max(column.x + column.width, column.x + column.reach + 1) for column in row)
    looping = [column for column in row if column.loops]
    folded = {
        column.place: fold(column.loops, (following.x - 2 if following else width) - column.x)
        for column, following in zip(looping, [*looping[1:], None], strict=False)
    }
    top = max(map(len, folded.values()), default=-1) + 1
    canvas = _Canvas()
    canvas.box(_MARGIN, top + 4, right - _MARGIN, drawn.home, here)
    canvas.put(_MARGIN + len(drawn.home.value) + 4, top + 5, drawn.words("diagram.closed"), NOTE)
    for column, following in zip(row, [*row[1:], None], strict=True):
        style = LEGAL if column.place is here else COMMAND
        canvas.box(column.x, top, column.width, column.place, here)
        _draw_loop(canvas, column, top, folded.get(column.place, []), style)
        _draw_posts(canvas, column, top, style, LEGAL if drawn.home is here else COMMAND)
        if following and column.way_on:
            _draw_way_on(canvas, column, top, style)
    return canvas.lines()


def _column(drawn: Machine, place: State) -> _Column:
    posts: list[tuple[int, Post]] = []
    offset = _POST
    up = [Post(OR.join(drawn.labels(drawn.home, place)), down=False)] if place is drawn.next(drawn.home) else []
    for post in (*up, *drawn.ways_home(place)):
        posts.append((offset, post))
        offset += 3 + columns(post.label)
    width = max(len(place.value) + 4, posts[-1][0] + 3 if posts else 0)
    following = drawn.next(place)
    way_on = drawn.labels(place, following) if following else ()
    return _Column(place, drawn.labels(place, place), way_on, posts, width)


def _place(row: list[_Column], width: int) -> bool:
    """Gives every column its place; False if they need more than `width`."""
    gaps = [max(columns(text) for text in _two_lines(column.way_on)) + 2 for column in row[:-1]]
    for column, gap in zip(row, gaps, strict=False):
        column.gap = max(gap, 6, column.reach - column.width)
    last = row[-1]
    needed = _MARGIN + sum(column.width + column.gap for column in row) + max(0, last.reach + 1 - last.width)
    # What is left over: first some air for every arrow, then room for its label in one line, then more air.
    for wish in (lambda c: c.gap + 2, lambda c: columns(OR.join(c.way_on)) + 4, lambda c: c.gap + 4):
        for column in row[:-1]:
            grown = max(wish(column) - column.gap, 0)
            if needed + grown <= width:
                column.gap += grown
                needed += grown
    x = _MARGIN
    for column in row:
        column.x = x
        x += column.width + column.gap
    return needed <= width


def _two_lines(labels: Sequence[str]) -> list[str]:
    """The labels in one line where there is one, else in two of about the same length."""
    whole = columns(OR.join(labels))
    return next((lines for room in range(whole) if len(lines := fill(labels, room, OR)) <= 2), [OR.join(labels)])


def _draw_loop(canvas: _Canvas, column: _Column, top: int, folded: list[str], style: str) -> None:
    if not folded:
        return
    for index, text in enumerate(folded):
        canvas.put(column.x, top - 1 - len(folded) + index, text, style)
    canvas.put(column.x + 2, top - 1, "╭────╮")
    canvas.join(column.x + 2, top, "┴")
    canvas.join(column.x + 7, top, "▼")


def _draw_posts(canvas: _Canvas, column: _Column, top: int, style: str, home_style: str) -> None:
    for offset, post in column.posts:
        x = column.x + offset
        canvas.join(x, top + 2, "┬" if post.down else "▲")
        canvas.put(x, top + 3, "┊" if post.lost else "│")
        canvas.put(x + 2, top + 3, post.label, NOTE if post.lost else style if post.down else home_style)
        canvas.join(x, top + 4, "▼" if post.down else "┴")


def _draw_way_on(canvas: _Canvas, column: _Column, top: int, style: str) -> None:
    edge = column.x + column.width
    canvas.join(edge - 1, top + 1, "├")
    canvas.put(edge, top + 1, "─" * (column.gap - 1) + "▶")
    whole = OR.join(column.way_on)
    for index, text in enumerate([whole] if columns(whole) + 2 <= column.gap else _two_lines(column.way_on)):
        canvas.put(edge + (column.gap - columns(text)) // 2, top + 2 * index, text, style)


_LANED, _WIDEST = 44, 60
#: A line of the stacked drawing and the stroke that joins it to the lane, "" where the lane only passes.
_Row = tuple[Line, str]


def stacked(drawn: Machine, here: State, width: int) -> list[Line]:
    """The row from top to bottom; with `width` for it, the ways home run in a lane at the right."""
    lane = min(width, _WIDEST) - 1 if width >= _LANED else 0
    rows = [row for place in (drawn.home, *drawn.row) for row in _storey(drawn, place, here, width, lane)]
    joined = [index for index, (_, stroke) in enumerate(rows) if stroke]
    if not lane or not joined:
        return [line for line, _ in rows]
    lines: list[Line] = []
    for index, (line, stroke) in enumerate(rows):
        end = "┐" if index == joined[0] else "┘" if index == joined[-1] else "┤" if stroke else "│"
        inside = joined[0] <= index <= joined[-1]
        lines.append([*line, (LINE, (stroke or " ") * (lane - line_columns(line)) + end)] if inside else line)
    return lines


def _storey(drawn: Machine, place: State, here: State, width: int, lane: int) -> list[_Row]:
    """One state: its box, and below it what leads out of it downwards."""
    style = LEGAL if place is here else COMMAND
    following = drawn.next(place)
    posts = list(drawn.ways_home(place)) if place in drawn.row else []
    beside, written = (posts[:1], posts[1:]) if lane else ([], posts)
    below: list[_Row] = []
    for index, post in enumerate(written):
        last = not following and index == len(written) - 1
        below += _branch(post, drawn.home.value, style, width, lane, last)
    room = (lane or width) - 7
    for index, text in enumerate(fold(drawn.labels(place, place), room)):
        below.append(([(LINE, "  │ "), (LINE, "  " if index else "↺ "), (style, text)], ""))
    for text in fold(drawn.labels(place, following), room, OR) if following else []:
        below.append(([(LINE, "  │ "), (style, text)], ""))

    edge = len(place.value) + 4
    canvas = _Canvas()
    canvas.box(0, 0, edge, place, here)
    if place in drawn.row:
        canvas.join(2, 0, "▼")
    if below:
        canvas.join(2, 2, "┬")
    stroke = ""
    if lane and place is drawn.home:
        stroke = "─"
        canvas.put(edge, 1, "◀")
    for post in beside:
        stroke = _stroke(post)
        canvas.join(edge - 1, 1, "├")
        canvas.put(edge, 1, stroke)
        canvas.put(edge + 1, 1, post.label, NOTE if post.lost else style)
    return [*zip(canvas.lines(), ("", stroke, ""), strict=True), *below]


def _branch(post: Post, home: str, style: str, width: int, lane: int, last: bool) -> Iterator[_Row]:
    """A way home that leaves the line between two boxes: to the lane, or written out."""
    label = (NOTE if post.lost else style, post.label)
    stroke = _stroke(post)
    start: Line = [(LINE, ("  └" if last else "  ├") + stroke), label]
    if lane:
        yield start, stroke
        return
    whole: Line = [*start, (LINE, stroke + "▶ "), (STATE, home)]
    if line_columns(whole) <= width:
        yield whole, ""
    else:
        yield [*start, (LINE, stroke + "▶")], ""
        yield [(LINE, "    " if last else "  │ "), (STATE, home)], ""


def _stroke(post: Post) -> str:
    return "┄" if post.lost else "─"
