"""How deep a Markdown text is nested: what lies deeper than a reader of Markdown goes falls silently off the screen.

A quote is one level, a list two (the list and its item), a paragraph one: markdown-it counts so. Blocks between fences
are text.

Trap: this is no reader of Markdown. Where a paragraph goes on without its marks it takes the containers to be open
still, so it may tell a level too many, never one too few.
"""

from __future__ import annotations

import re

#: Nothing in a Markdown text is nested deeper (sec-D2).
DEEPEST = 20
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r" {0,3}([-*_])(?: *\1){2,} *")
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r" {0,3}(?:[-+*]|[0-9]{1,9}[.)])(?= |$)")


def too_nested(text: str) -> int | None:
    """The first line of a Markdown text, from 1, that is nested deeper than DEEPEST; None if none is.

    Behind marks readers of Markdown do not agree on the width of a tab, so it is tried as one blank and as up to four.
    """
    found = [at for one in ({1, 4} if "\t" in text else {4}) if (at := _too_nested(text, one)) is not None]
    return min(found, default=None)


def _too_nested(text: str, tab: int) -> int | None:
    open_: list[int] = []  # the containers that are open: 0 a quote, else how far the text of a list item is indented
    fence = ""
    spoken = False  # whether the line before could go on in this one
    for at, row in enumerate(text.split("\n"), 1):
        if fence:
            fence = "" if row.strip().startswith(fence) and not row.strip().strip(fence[0]) else fence
            continue
        if not open_ and (found := _FENCE.match(row)):
            fence, spoken = found[1], False
            continue
        rest = row.expandtabs(tab)
        kept, rest = _within(open_, rest)
        level = sum(2 if width else 1 for width in open_[:kept])
        fresh: list[int] = []
        while level < DEEPEST and not (len(rest) < 1000 and _RULE.fullmatch(rest)):
            if found := _QUOTE.match(rest):
                fresh.append(0)
                rest = rest[found.end() :]
            elif found := _ITEM.match(rest):
                blanks = len(rest[found.end() :]) - len(rest[found.end() :].lstrip(" "))
                fresh.append(found.end() + (blanks if 1 <= blanks <= 4 else 1))
                rest = rest[fresh[-1] :]
            else:
                break
            level += 2 if fresh[-1] else 1
        if level >= DEEPEST:
            return at
        if fresh or not spoken or not rest.strip():
            open_ = [*open_[:kept], *fresh]
        spoken = bool(rest.strip())
    return None


def _within(open_: list[int], rest: str) -> tuple[int, str]:
    """How many of the open containers a line belongs to, and what it says in there."""
    for kept, width in enumerate(open_):
        if width == 0:
            found = _QUOTE.match(rest)
            if found is None:
                return kept, rest
            rest = rest[found.end() :]
        elif rest.strip():
            if len(rest) - len(rest.lstrip(" ")) < width:
                return kept, rest
            rest = rest[width:]
    return len(open_), rest
