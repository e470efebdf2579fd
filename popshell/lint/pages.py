"""Lint of texts: pages, tables of words, citations, `doctor.toml`.

What may stand where is decided in `course/notes.py`. A translation is held to its English file: the same keys, and in
each text the same placeholders. A deviation of the practice server is one row of DEVIATIONS and one
`## Practice server` section that cites the row's RFC; a section without a row is no longer true.

A citation names a section that the RFC has: `RFC 1939 §5`; in lists, `RFC 1939 §3, §5`, `RFC 1939 §5 and §7`,
`RFC 1939 §5、§7`; for the RFCs without numbers `RFC 1225 "Optional POP3 Commands"`; an RFC alone, `RFC 1939`. A line
may end within one. `lessons/rfc.toml` knows all sections.

Traps: a character is taken for Simplified if GB 2312 has it and Big5 has not; what both have may still be the wrong one
of two. A citation that is written a little differently would never be checked: therefore a `§` that belongs to none is
a fault, and so is `RFC1939`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from popshell.course.catalog import LANGUAGES, Catalog, Words, bundled
from popshell.course.doctor import Rules, read
from popshell.course.document import DEEPEST, Heading
from popshell.course.notes import REPLIES, facts_of, head_keys, sections
from popshell.course.notices import NOTICES
from popshell.lint.files import Finding, Source, Tree
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES
from popshell.protocol.mechanisms import MECHANISMS
from popshell.server.settings import DEVIATIONS
from popshell.tuples import NamedTuple
from popshell.visible import width
from popshell.words import fill, places

#: docs/pages.md: a Chinese character takes two columns.
WIDEST_SUMMARY = 44
CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a table and of the tables in it, `section.key`; what lies deeper is no text."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _beyond(keys: Iterable[str], known: Collection[str]) -> list[str]:
    """The keys that are not known; of a table that is not known at all, only its name."""
    tables = {key.partition(".")[0] for key in known if "." in key}
    return sorted({key if (name := key.partition(".")[0]) in tables else name for key in keys if key not in known})


def check_words(source: Source) -> Iterator[Finding]:
    """The head of a page and each table of words: its keys, and texts that can be shown.

    Pages and `replies.toml` have a closed list of keys; other tables hold texts under any name, in sections.
    """
    if source.words is None or not (source.page or (source.is_toml and source.language)):
        return
    present, replies = flat(source.words), source.name == "replies.toml"
    required = tuple(REPLIES) if replies else ()
    known: Collection[str] = required or [key for key in present if "." in key]
    if source.page:
        required, optional = head_keys(source.page)
        known = (*required, *optional)
    for key in _beyond(present, known):
        yield source.finding(key, "unknown-key", key=key)
    for key in required:
        if key not in present:
            yield source.finding(0 if replies else key, "missing-key", key=key)
    for key, value in present.items():
        if key in known:
            facts = REPLIES[key] if replies else facts_of(source.page, key) if source.page else None
            yield from _check_text(source, key, value, facts)


def _check_text(source: Source, key: str, value: Any, known: frozenset[str] | None) -> Iterator[Finding]:
    """One text. `known` are the facts that it may name; None if any."""
    if not isinstance(value, str):
        yield source.finding(key, "not-text", key=key)
        return
    if "{" not in value and "}" not in value:
        return
    for place in sorted(places(value) - known) if known is not None else ():
        yield source.finding(key, "unknown-place", key=key, place=place, known=tuple(sorted(known or ())) or "-")
    left = fill(value, dict.fromkeys(places(value), ""))
    if left is not None and ("{" in left or "}" in left):
        yield source.finding(key, "stray-brace", key=key)


def compare_words(english: Source, other: Source) -> Iterator[Finding]:
    """Two files of words in two languages: the same keys, the same placeholders."""
    if not (english.page or english.is_toml) or english.words is None or other.words is None:
        return  # the facts of a lesson stand in its English file only
    ours, theirs = flat(english.head), flat(other.head)
    for here, mine, there, its in ((english, ours, other, theirs), (other, theirs, english, ours)):
        for key in _beyond(its, mine):
            yield here.finding(key.partition(".")[0], "keys-differ", key=key, other=there.path)
    for key in ours.keys() & theirs.keys():
        text, translation = ours[key], theirs[key]
        both_texts = isinstance(text, str) and isinstance(translation, str)
        if both_texts and "{" in text + translation and places(text) != places(translation):
            yield other.finding(key, "places-differ", key=key, here=_list(translation), there=_list(text))


def _list(text: str) -> str:
    return ", ".join(f"{{{place}}}" for place in sorted(places(text))) or "-"


# -- bodies ------------------------------------------------------------------------------------------------------------


def check_page(source: Source, words: Mapping[str, Words]) -> Iterator[Finding]:
    """Summary and body of one page; `words` name the headings in each language."""
    if not source.page or source.fault is not None:
        return
    if (columns := width(source.summary)) > WIDEST_SUMMARY:
        yield source.finding("summary", "summary-wide", columns=columns, most=WIDEST_SUMMARY)
    yield from _check_body(source, words[source.language])
    if source.page.startswith("commands/") and not any(found.section for found in citations(source.text)):
        yield source.finding(0, "uncited")


def _check_body(source: Source, words: Words) -> Iterator[Finding]:
    """The sections of a page's body."""
    first, headings = source.body_line, source.headings
    required, last = sections(source.page, words)
    order = [*required, last]
    known = ", ".join(order)
    end = headings[0].line if headings else len(source.rows) + 1
    if not source.part(first, end):
        yield source.finding(first, "no-text")
    reached = -1
    for heading in headings:
        if heading.level != 2 or heading.text not in order:
            yield source.finding(heading.line, "stray-heading", heading=heading.text, known=known)
            continue
        here = order.index(heading.text)
        if here <= reached:
            yield source.finding(heading.line, "heading-order", heading=heading.text, known=known)
        reached = max(reached, here)
    present = {heading.text for heading in headings}
    for name in required:
        if name not in present:
            yield source.finding(first, "missing-heading", heading=name)
    yield from _check_deviations(source, next((heading for heading in headings if heading.text == last), None), last)


def _check_deviations(source: Source, heading: Heading | None, name: str) -> Iterator[Finding]:
    """What DEVIATIONS says of the page stands in its last section, and nothing else does."""
    start = heading.line if heading else 0
    cited = citations("\n".join(source.rows[start:])) if heading else ()
    said = {(found.rfc, found.section): start + found.line for found in cited}
    wanted = {(row.rfc, row.section): row.name for row in DEVIATIONS if row.page == source.page}
    for (rfc, section), what in wanted.items():
        if (rfc, section) not in said:
            yield source.finding(start, "deviation-unsaid", heading=name, name=what, rfc=rfc, section=section)
    if heading and not wanted:
        yield source.finding(start, "deviation-unknown", heading=name, rfc="-", section="-")
        return
    for (rfc, section), line in said.items():
        if section and (rfc, section) not in wanted:
            yield source.finding(line, "deviation-unknown", heading=name, rfc=rfc, section=section)


def check_text(source: Source) -> Iterator[Finding]:
    """Any file: what keeps its head from being read, links, characters that Traditional Chinese does not write."""
    if source.fault is not None and source.path != "course.toml":
        yield source.finding(source.fault.line, source.fault.code, **source.fault.facts)
    if not source.is_toml and source.fault is None and (deep := source.too_deep) is not None:
        yield source.finding(deep, "too-deep", most=DEEPEST)
    depth, chinese = source.path.count("/"), source.language == "zh-Hant"
    for at, row in source.outside_fences():
        text = CODE.sub("", row)
        for match in () if source.is_toml else _LINK.finditer(text):
            if _leaves(match[1], depth):
                yield source.finding(at, "leaves-folder", target=match[1])
        if chinese and not row.isascii() and (found := dict.fromkeys(_simplified().findall(text))):
            yield source.finding(at, "simplified", characters="".join(found))


@cache
def _simplified() -> re.Pattern[str]:
    """A Han character that GB 2312 has and Big5 has not."""
    han = "".join(map(chr, range(0x4E00, 0xA000)))
    ours = set(han.encode("gb2312", "ignore").decode("gb2312"))
    return re.compile(f"[{''.join(sorted(ours - set(han.encode('big5', 'ignore').decode('big5'))))}]")


def _leaves(target: str, depth: int) -> bool:
    """Whether a link, in a file `depth` folders deep, leads out of the folder on any step (sec-D6)."""
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


# -- citations ---------------------------------------------------------------------------------------------------------

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


class Citation(NamedTuple):
    """`section` is a number, a heading, or "" where the RFC alone is named. `line` counts from 1."""

    rfc: int
    section: str
    line: int


#: By the number of an RFC its sections, and its headings without a number.
Rfcs = Mapping[int, frozenset[str]]


def read_rfcs(table: Mapping[str, Any]) -> Rfcs:
    """`rfc.toml` by number."""
    return {
        int(name.removeprefix("rfc")): frozenset((*row.get("sections", ()), *row.get("headings", ())))
        for name, row in table.items()
    }


def citations(text: str) -> Iterator[Citation]:
    """Every citation of `text`, in order."""
    for match in _citation().finditer(text):
        rfc = int(match["rfc"])
        for section in _SECTION.finditer(text, *match.span("sections")) if match["sections"] else ():
            yield Citation(rfc, section[0].removeprefix("§"), _line_at(text, section.start()))
        if not match["sections"]:
            heading = match["heading"] or match["source"] or ""
            yield Citation(rfc, " ".join(heading.split()), _line_at(text, match.start()))


def _line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def check_sources(tree: Tree, rfcs: Rfcs) -> Iterator[Finding]:
    """Everything that names a section: the program's tables, the files of each language, the doctor's rules."""
    for path, rfc, section in _of_tables():  # what they name is shown with every reply
        yield from _unknown(path, 0, rfc, section, rfcs)
    for source in tree.sources.values():
        if source.language:
            yield from check_citations(source.path, source.text, rfcs)
    yield from check_doctor(tree, rfcs)


def check_citations(path: str, text: str, rfcs: Rfcs) -> Iterator[Finding]:
    for found in citations(text):
        yield from _unknown(path, found.line, found.rfc, found.section, rfcs)
    for match in _LOOSE.finditer(_citation().sub(lambda match: " " * len(match[0]), text)):
        line = _line_at(text, match.start())
        row = text.split("\n")[line - 1]
        yield Finding(path, line, "bad-citation", {"text": match[0], "row": row.strip()[:60]})


def _unknown(path: str, line: int, rfc: int, section: str, rfcs: Rfcs) -> Iterator[Finding]:
    if rfc not in rfcs:
        yield Finding(path, line, "no-such-rfc", {"rfc": rfc})
    elif section and section not in rfcs[rfc]:
        yield Finding(path, line, "no-such-section", {"rfc": rfc, "section": section})


def _of_tables() -> Iterator[tuple[str, int, str]]:
    """Every citation in a table of the program: file, RFC, section ("" for an RFC alone)."""
    for spec in COMMANDS.values():
        removed = ((spec.removed_by, ""),) if spec.removed_by else ()
        for rfc, section in ((spec.rfc, spec.section), *spec.see, *removed):
            yield "popshell/protocol/commands.py", rfc, section
    tables: tuple[tuple[str, Iterable[Any]], ...] = (
        ("popshell/protocol/commands.py", (*CAPABILITIES.values(), *RESPONSE_CODES.values())),
        ("popshell/protocol/mechanisms.py", MECHANISMS.values()),
        ("popshell/server/settings.py", DEVIATIONS),
    )
    for path, rows in tables:
        yield from ((path, row.rfc, row.section) for row in rows if row.rfc)


# -- the doctor's rules ------------------------------------------------------------------------------------------------


def check_doctor(tree: Tree, rfcs: Rfcs) -> Iterator[Finding]:
    """Everything about the rules; that both languages have the same keys is for compare_words."""
    source = tree.sources.get("doctor.toml")
    if source is None or source.words is None:
        return
    try:
        rules = read(source.text)
    except ValueError as error:
        yield source.finding(0, "bad-doctor", reason=str(error))
        return
    for rule in rules.rule:
        rfc = rules.source[rule.source].rfc
        if rfc and rule.at not in rfcs.get(rfc, ()):
            line = source.text.count("\n", 0, source.text.index(f'id = "{rule.id}"')) + 1
            yield source.finding(line, "no-such-section", rfc=rfc, section=rule.at)
    for tag in LANGUAGES:
        if (words := tree.sources.get(f"{tag}/doctor.toml")) is not None and words.words is not None:
            yield from _check_words(words, rules)


def _check_words(source: Source, rules: Rules) -> Iterator[Finding]:
    """A word for each cause, next step and notice, and for nothing else."""
    wanted = {f"cause.{cause}" for rule in rules.rule for cause in rule.causes} | {"next.unknown"}
    wanted |= {f"next.{rule.next}" for rule in rules.rule} | {f"notice.{entry.code}" for entry in NOTICES}
    present = {key for key in flat(source.words or {}) if key.startswith(("cause.", "next.", "notice."))}
    for code, keys in (("missing-key", wanted - present), ("unknown-key", present - wanted)):
        yield from (source.finding(key if key in present else 0, code, key=key) for key in sorted(keys))
