"""Lines spelled otherwise: code in backticks where there are no colours (`--plain`), our signs in ASCII (`--ascii`).

Theory. Lines come wrapped, and what is spelled otherwise may be wider. Where a line becomes too wide by that, the lines
that were wrapped from the same text are joined and wrapped again. They are known by this: each begins in the same
column, with a word for which there was no room above.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from popshell.ui.wrap import CODE, Line, Run, columns, in_ascii, line_columns, plain, wrap_runs

#: What stands left of a text: blanks, and perhaps a sign.
_LEAD = re.compile(r" *(?:[^\w`\s] +)?")


def in_backticks(lines: Iterable[Line], room: int) -> Iterator[Line]:
    """What is to be typed is told by backticks."""
    return respelled(lines, room, lambda run: (run[0], f"`{run[1]}`") if run[0] == CODE else run)


def without_signs(lines: Iterable[Line], room: int) -> Iterator[Line]:
    """Words and signs of ours in ASCII; what a peer said stays as it is."""
    return respelled(lines, room, lambda run: run if run[0] == "peer" else (run[0], in_ascii(run[1])))


def respelled(lines: Iterable[Line], room: int, spell: Callable[[Run], Run]) -> Iterator[Line]:
    """The lines, each run spelled anew, no wider than `room` if they were not before."""
    group: list[Line] = []
    for line in lines:
        if group and not _goes_on(group, line, room):
            yield from _rewrapped(group, room, spell)
            group = []
        group.append(line)
    yield from _rewrapped(group, room, spell)


def _goes_on(group: list[Line], line: Line, room: int) -> bool:
    text, above = plain([line]), plain([group[-1]])
    word, column = text.lstrip(" "), _blanks(text)
    if not word or columns(above) <= column or (len(group) > 1 and _blanks(above) != column):
        return False
    first = re.match(r"[!-~]+|.{3}|.", word)
    return first is not None and columns(above) + 1 + columns(first[0]) > room


def _rewrapped(group: list[Line], room: int, spell: Callable[[Run], Run]) -> Iterator[Line]:
    marked = [[spell(run) for run in line] for line in group]
    if all(line_columns(new) <= max(room, line_columns(old)) for new, old in zip(marked, group, strict=True)):
        yield from marked
        return
    texts = [plain([line]) for line in group]
    lead = _LEAD.match(texts[0])
    column = _blanks(texts[1]) if len(texts) > 1 else lead.end() if lead else 0
    head, body = _cut(marked[0], column)
    for line in marked[1:]:
        body += [("", "\n"), *line]
    first, *rest = wrap_runs(body, room, " " * column, " " * column)
    yield [*head, *(first[1:] if column else first)]
    yield from rest


def _blanks(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _cut(line: Line, column: int) -> tuple[Line, Line]:
    """What stands left of a column, and the rest."""
    head: Line = []
    for at, (style, text) in enumerate(line):
        width = columns(text)
        if width > column:
            return [*head, (style, text[:column])], [(style, text[column:]), *line[at + 1 :]]
        head.append((style, text))
        column -= width
    return head, []
