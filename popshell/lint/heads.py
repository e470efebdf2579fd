"""Lint of words: heads of pages, `messages.toml`, `replies.toml`: keys, placeholders, width, both languages alike.

What may stand where is decided in `keys.py`. A translation is held to its English file: the same keys, and in each text
the same placeholders.

Trap: tomllib tells no lines for keys, so they are searched by `key_lines`; a multi-line string that looks like `key = `
may mislead it by some lines, never in what it finds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from popshell.course.catalog import DEEPEST, Page, PageError, read_page, too_deep
from popshell.course.keys import REPLIES, facts_of, head_keys
from popshell.lint.findings import Finding
from popshell.visible import width
from popshell.words import fill, places

#: docs/pages.md: a Chinese character takes two columns.
WIDEST_SUMMARY = 44
#: The line above and below a head.
FENCE = "+++"
_FAULT_LINE = re.compile(r".*?:(\d+): (.*)", re.DOTALL)
_TABLE = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")


def read_head(path: str, text: str) -> Page | Finding:
    """The page, or the fault that keeps it from being read."""
    try:
        return read_page(path, text)
    except PageError as error:
        found = _FAULT_LINE.match(str(error))
        assert found is not None
        return Finding(path, int(found[1]), "bad-head", {"reason": found[2]})


def read_toml(path: str, text: str) -> dict[str, Any] | Finding:
    if (deep := too_deep(text.split("\n"))) is not None:
        return Finding(path, deep, "bad-toml", {"reason": f"brackets nested deeper than {DEEPEST}"})
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        return Finding(path, line, "bad-toml", {"reason": str(error)})


def key_lines(text: str) -> dict[str, int]:
    """The line of each key, `section.key`, and of each table, `section`, of a head or a TOML file."""
    found: dict[str, int] = {}
    section = ""
    fences = 0
    for at, row in enumerate(text.split("\n"), 1):
        if row.strip() == FENCE:
            fences += 1
            if fences == 2:
                break
        elif table := _TABLE.match(row):
            section = table[1]
            found.setdefault(section, at)
        elif key := _KEY.match(row):
            found.setdefault(f"{section}.{key[1]}" if section else key[1], at)
    return found


def flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of a table and of the tables in it, `section.key`; what lies deeper is no text."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def check_head(path: str, page_path: str, page: Page, text: str) -> Iterator[Finding]:
    """One page by itself: known keys only, all that are wanted, texts that can be shown."""
    keys = head_keys(page_path)
    lines = key_lines(text)
    for name, value in page.head.items():
        if isinstance(value, dict) and name not in keys.tables:
            yield Finding(path, lines.get(name, 1), "unknown-key", {"key": name})
    known = (*keys.required, *keys.optional)
    present = dict(flat(page.head))
    for key, value in present.items():
        if key not in known:
            if key.partition(".")[0] in (*keys.tables, key):
                yield Finding(path, lines.get(key, 1), "unknown-key", {"key": key})
            continue
        yield from _check_text(path, lines.get(key, 1), key, value, facts_of(page_path, key))
    for key in keys.required:
        if key not in present:
            line = lines.get(key.partition(".")[0], 1) if "." in key else 1
            yield Finding(path, line, "missing-key", {"key": key})
    columns = width(page.summary)
    if columns > WIDEST_SUMMARY:
        yield Finding(path, lines.get("summary", 1), "summary-wide", {"columns": columns, "most": WIDEST_SUMMARY})


def check_words(path: str, name: str, table: Mapping[str, Any], text: str) -> Iterator[Finding]:
    """`messages.toml`: tables of texts. `replies.toml`: texts, with the keys and facts that the server has."""
    lines = key_lines(text)
    replies = name == "replies.toml"
    present = dict(flat(table))
    for key, value in present.items():
        if ("." in key) is replies or (replies and key not in REPLIES):
            yield Finding(path, lines.get(key, 1), "unknown-key", {"key": key})
            continue
        yield from _check_text(path, lines.get(key, 1), key, value, REPLIES[key] if replies else None)
    if replies:
        for key in REPLIES:
            if key not in present:
                yield Finding(path, 0, "missing-key", {"key": key})


def _check_text(path: str, line: int, key: str, value: Any, known: frozenset[str] | None) -> Iterator[Finding]:
    """One text. `known` are the facts that it may name; None if any."""
    if not isinstance(value, str):
        yield Finding(path, line, "not-text", {"key": key})
        return
    if known is not None:
        for place in sorted(places(value) - known):
            facts = ", ".join(sorted(known)) or "-"
            yield Finding(path, line, "unknown-place", {"key": key, "place": place, "known": facts})
    left = fill(value, dict.fromkeys(places(value), ""))
    if left is not None and ("{" in left or "}" in left):
        yield Finding(path, line, "stray-brace", {"key": key})


def compare(
    english: tuple[str, Mapping[str, Any], str], other: tuple[str, Mapping[str, Any], str]
) -> Iterator[Finding]:
    """Two files of words (path, table, text) in two languages: the same keys, the same placeholders."""
    ours, theirs = dict(flat(english[1])), dict(flat(other[1]))
    for here, mine, there, its in ((english, ours, other, theirs), (other, theirs, english, ours)):
        lines = key_lines(here[2])
        tables = {key.partition(".")[0] for key in mine}
        # Of a table that is not there at all, its name alone is told.
        lacking = {key if (name := key.partition(".")[0]) in tables else name for key in its.keys() - mine.keys()}
        for key in sorted(lacking):
            yield Finding(here[0], lines.get(key.partition(".")[0], 1), "keys-differ", {"key": key, "other": there[0]})
    lines = key_lines(other[2])
    for key in ours.keys() & theirs.keys():
        text, translation = ours[key], theirs[key]
        if isinstance(text, str) and isinstance(translation, str) and places(text) != places(translation):
            facts = {"key": key, "here": _list(translation), "there": _list(text)}
            yield Finding(other[0], lines.get(key, 1), "places-differ", facts)


def _list(text: str) -> str:
    return ", ".join(f"{{{place}}}" for place in sorted(places(text))) or "-"
