"""Lint of citations: every `RFC 1939 §5` names a section that the RFC has. `lessons/rfc.toml` knows them all.

Forms: `RFC 1939 §5`; lists, `RFC 1939 §3, §5`, `RFC 1939 §5 and §7`, `RFC 1939 §5、§7`; for the RFCs without numbers
`RFC 1225 "Optional POP3 Commands"`; an RFC alone, `RFC 1939`. A line may end within one.

Trap: what is written a little differently would not be seen, and so never be checked. Therefore a `§` that belongs to
no citation is a fault, and so is `RFC1939`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.lint.files import Finding
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES
from popshell.protocol.mechanisms import MECHANISMS
from popshell.server.settings import DEVIATIONS

_NUMBER = r"§(?:\d+(?:\.\d+)*|[A-Z](?:\.\d+)*\b)"
_SECTION = re.compile(_NUMBER)
_LOOSE = re.compile(r"\bRFC-?\d+(?:,?\s*§[\w.]*)?|§[\w.]*")


@cache
def _citation() -> re.Pattern[str]:
    """A citation; between its sections stand the words of any language."""
    ours = Catalog((bundled(),))
    conjunctions = {word for tag in LANGUAGES for word in ours.words(tag)("language.and").split("/")}
    spaced = "|".join(sorted(word for word in conjunctions if word.isascii()))
    signs = "".join(sorted(word for word in conjunctions if not word.isascii()))
    return re.compile(
        r"\bRFC\s+(?P<rfc>\d+)"
        rf"(?:\s+(?P<sections>{_NUMBER}(?:(?:\s*[,、;；{signs}]\s*|\s+(?:{spaced})\s+){_NUMBER})*)"
        r"|,?\s+[\"“](?P<heading>[^\"“”]{3,80})[\"”]"
        r"|,\s+(?P<source>[A-Z][^\"“”\n]{3,80})(?=\"\s*$))?",
        re.MULTILINE,
    )


@dataclass(frozen=True, slots=True)
class Citation:
    """`section` is a number, a heading, or "" where the RFC alone is named. `line` counts from 1."""

    rfc: int
    section: str
    line: int


@dataclass(frozen=True, slots=True)
class Rfc:
    """What an RFC has: its sections by number, and its headings without one."""

    sections: frozenset[str]
    headings: frozenset[str]

    def has(self, section: str) -> bool:
        return section in self.sections or section in self.headings


def read_rfcs(table: Mapping[str, Any]) -> dict[int, Rfc]:
    """`rfc.toml` by number."""
    return {
        int(name.removeprefix("rfc")): Rfc(frozenset(row.get("sections", ())), frozenset(row.get("headings", ())))
        for name, row in table.items()
    }


def citations(text: str) -> Iterator[Citation]:
    """Every citation of `text`, in order."""
    for match in _citation().finditer(text):
        rfc = int(match["rfc"])
        line = _line(text, match.start())
        if match["sections"]:
            start = match.start("sections")
            for section in _SECTION.finditer(match["sections"]):
                yield Citation(rfc, section[0].removeprefix("§"), _line(text, start + section.start()))
        else:
            heading = match["heading"] or match["source"] or ""
            yield Citation(rfc, " ".join(heading.split()), line)


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def check_citations(path: str, text: str, rfcs: Mapping[int, Rfc]) -> Iterator[Finding]:
    for found in citations(text):
        if found.rfc not in rfcs:
            yield Finding(path, found.line, "no-such-rfc", {"rfc": found.rfc})
        elif found.section and not rfcs[found.rfc].has(found.section):
            yield Finding(path, found.line, "no-such-section", {"rfc": found.rfc, "section": found.section})
    for match in _LOOSE.finditer(_citation().sub(lambda match: " " * len(match[0]), text)):
        line = _line(text, match.start())
        row = text.split("\n")[line - 1]
        yield Finding(path, line, "bad-citation", {"text": match[0], "row": row.strip()[:60]})


def check_tables(rfcs: Mapping[int, Rfc]) -> Iterator[Finding]:
    """The citations of the program's own tables: what they name is shown with every reply."""
    for path, name, rfc, section in _of_tables():
        if rfc not in rfcs or (section and not rfcs[rfc].has(section)):
            yield Finding(path, 0, "table-citation", {"row": name, "rfc": rfc, "section": section or "-"})


def _of_tables() -> Iterator[tuple[str, str, int, str]]:
    """Every citation in a table of the program: file, row, RFC, section ("" for an RFC alone)."""
    commands, capabilities = "popshell/protocol/commands.py", "popshell/protocol/commands.py"
    for spec in COMMANDS.values():
        yield commands, spec.name, spec.rfc, spec.section
        yield from ((commands, spec.name, rfc, section) for rfc, section in spec.see)
        if spec.removed_by:
            yield commands, spec.name, spec.removed_by, ""
    for row in CAPABILITIES.values():
        yield capabilities, row.tag, row.rfc, row.section
    for code in RESPONSE_CODES.values():
        yield capabilities, code.code, code.rfc, code.section
    for mechanism in MECHANISMS.values():
        if mechanism.rfc:
            yield "popshell/protocol/mechanisms.py", mechanism.name, mechanism.rfc, mechanism.section
    for deviation in DEVIATIONS:
        yield "popshell/server/mailserver.py", deviation.name, deviation.rfc, deviation.section
