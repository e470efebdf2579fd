"""Lint of bodies: sections in order, deviations of the practice server where they belong, no Simplified characters.

A deviation is one row of DEVIATIONS and one `## Practice server` section that cites the row's RFC; a section without a
row is what remains when the server was put right, and no longer true.

Trap: a character is taken for Simplified if GB 2312 has it and Big5 has not. What both have (后, 里, 台) may still be
the wrong one of two; only a reader sees that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from popshell.course.keys import sections
from popshell.lint.citations import citations
from popshell.lint.dialogues import Block
from popshell.lint.findings import Finding
from popshell.server.faults import DEVIATIONS

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*$")
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")


def check_body(path: str, page: str, language: str, text: str, first: int, blocks: list[Block]) -> Iterator[Finding]:
    """The sections of one page's body, which begins at line `first`."""
    rows = outside_fences(text, blocks)
    headings = [(at, found[1], found[2]) for at, row in rows if at >= first and (found := _HEADING.match(row))]
    required, last = sections(page, language)
    order = [*required, last]
    reached = -1
    end = headings[0][0] if headings else len(text.split("\n")) + 1
    if not any(row.strip() for at, row in rows if first <= at < end):
        yield Finding(path, first, "no-text")
    for at, level, name in headings:
        if level != "##" or name not in order:
            yield Finding(path, at, "stray-heading", {"heading": name, "known": ", ".join(order)})
            continue
        here = order.index(name)
        if here <= reached:
            yield Finding(path, at, "heading-order", {"heading": name, "known": ", ".join(order)})
        reached = max(reached, here)
    present = {name for _, _, name in headings}
    for name in required:
        if name not in present:
            yield Finding(path, first, "missing-heading", {"heading": name})
    yield from _check_deviations(path, page, last, text, headings)


def _check_deviations(
    path: str, page: str, heading: str, text: str, headings: list[tuple[int, str, str]]
) -> Iterator[Finding]:
    """What DEVIATIONS says of the page stands in its last section, and nothing else does."""
    starts = [at for at, _, name in headings if name == heading]
    said: dict[tuple[int, str], int] = {}
    if starts:
        start = starts[0]
        rows = text.split("\n")[start:]
        said = {(found.rfc, found.section): start + found.line for found in citations("\n".join(rows))}
    wanted = {(row.rfc, row.section): row.name for row in DEVIATIONS if row.page == page}
    for (rfc, section), name in wanted.items():
        if (rfc, section) not in said:
            facts = {"heading": heading, "name": name, "rfc": rfc, "section": section}
            yield Finding(path, starts[0] if starts else 0, "deviation-unsaid", facts)
    if starts and not wanted:
        yield Finding(path, starts[0], "deviation-unknown", {"heading": heading, "rfc": "-", "section": "-"})
        return
    for (rfc, section), line in said.items():
        if section and (rfc, section) not in wanted:
            facts = {"heading": heading, "rfc": rfc, "section": section}
            yield Finding(path, line, "deviation-unknown", facts)


def outside_fences(text: str, blocks: list[Block]) -> list[tuple[int, str]]:
    """The lines of `text` with their numbers, fenced blocks left out."""
    fenced = {at for block in blocks for at in range(block.line, block.end + 1)}
    return [(at, row) for at, row in enumerate(text.split("\n"), 1) if at not in fenced]


def check_simplified(path: str, text: str, blocks: list[Block]) -> Iterator[Finding]:
    """Characters that Traditional Chinese does not write, outside of code and dialogues; one finding a line."""
    for at, row in outside_fences(text, blocks):
        if row.isascii():
            continue
        found = "".join(dict.fromkeys(ch for ch in _CODE.sub("", row) if is_simplified(ch)))
        if found:
            yield Finding(path, at, "simplified", {"characters": found})


@cache
def is_simplified(character: str) -> bool:
    """Whether `character` is a Han character that GB 2312 has and Big5 has not."""
    return "\u4e00" <= character <= "\u9fff" and _in(character, "gb2312") and not _in(character, "big5")


def _in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def check_links(path: str, text: str, blocks: list[Block]) -> Iterator[Finding]:
    """Links lead to the web or to a file inside `lessons/` (sec-D6)."""
    depth = path.count("/")
    for at, row in outside_fences(text, blocks):
        for match in _LINK.finditer(_CODE.sub("", row)):
            if _leaves(match[1], depth):
                yield Finding(path, at, "leaves-folder", {"target": match[1]})


def _leaves(target: str, depth: int) -> bool:
    """Whether a link, in a file `depth` folders deep, leads out of the folder on any step."""
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", target, re.IGNORECASE)
    if scheme:
        return scheme[1].lower() not in ("http", "https")
    if target.startswith(("/", "\\")):
        return True
    *folders, last = re.split(r"[/\\]", target.partition("#")[0])
    for part in (*folders, last if last == ".." else "."):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False
