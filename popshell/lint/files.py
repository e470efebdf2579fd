"""The files below a `lessons/` directory as lint sees them: what must be there, what must not, and each as a Document.

Trap: one bad file must not hide the others. What cannot be read is a finding and is left out; a text with CRLF or a
byte-order mark is a finding, too, and is examined without them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from popshell.course.catalog import LANGUAGES, Refused, check_file, read_file
from popshell.course.document import Document
from popshell.course.explain import pages
from popshell.course.lesson import TEMPLATE, languages_of
from popshell.tuples import NamedTuple
from popshell.visible import show

PAGES = frozenset(pages())
_TABLES = ("messages.toml", "replies.toml", "conformance.toml", "doctor.toml")
#: What a lesson is called, without a language and `.md`.
LESSON = re.compile(r"[0-9]{2}-[a-z0-9-]+")
_LESSON_FILE = re.compile(r"[^/]+/[0-9]{2}-[a-z0-9-]+\.md")
_MAIL = re.compile(r"maildrops/[^/.][^/]*/[^/.][^/]*\.eml")
#: Control characters, and those that cannot be seen: direction marks, zero widths, line and paragraph separators.
_UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Co")
_LINE_END = re.compile(r"\r\n?")


class Finding(NamedTuple):
    """A fault before it has words. `line` is 0 where the whole file is meant; `code` is one of `lint.RULES`."""

    path: str
    line: int
    code: str
    facts: Mapping[str, object] = MappingProxyType({})


class Source(Document):
    """One text file, and what its place makes of it."""

    @property
    def language(self) -> str:
        """The language that it belongs to, "" if to none."""
        tag = self.path.partition("/")[0]
        return tag if tag in LANGUAGES else ""

    @property
    def name(self) -> str:
        """Its path below the language: `commands/RETR.md`."""
        return self.path.partition("/")[2] if self.language else self.path

    @property
    def page(self) -> str:
        """The page that it is: `commands/RETR`; "" if it is none."""
        page = self.name.removesuffix(".md")
        return page if page in PAGES else ""

    @property
    def is_toml(self) -> bool:
        return self.path.endswith(".toml")

    @property
    def words(self) -> Mapping[str, Any] | None:
        """Its texts, of a head or a table; None if they cannot be read."""
        return None if self.fault else self.head

    def finding(self, at: int | str, code: str, /, **facts: object) -> Finding:
        """A finding at a line, or at a key of the head, `ok.note`."""
        return Finding(self.path, at if isinstance(at, int) else self.line(*at.split(".")), code, facts)


class Tree(NamedTuple):
    """The text files by path, how many files there are in all, and what is wrong with the files as files.

    `whole` is True for a directory that holds the words of the shell: all pages belong to it, too. Any other is a
    teacher's own, laid over the bundled one. `lessons` are the names in course.toml that can be names, in order;
    `languages` those that it has, the first of which holds the facts.
    """

    sources: Mapping[str, Source]
    files: int
    whole: bool
    findings: tuple[Finding, ...]
    lessons: tuple[str, ...]
    languages: tuple[str, ...] = LANGUAGES

    def original(self, source: Source) -> Source | None:
        """The file that `source` translates; itself if it is no translation."""
        return self.sources.get(f"{self.languages[0]}/{source.name}") if source.language else None


def read_tree(root: Traversable) -> Tree:
    """Read all below `root`."""
    findings: list[Finding] = []
    nodes = set(_walk(root, root, "", findings))
    whole = any(f"{tag}/messages.toml" in nodes for tag in LANGUAGES)
    sources: dict[str, Source] = {}
    if "course.toml" in nodes and (text := _text(root, "course.toml", findings)) is not None:
        sources["course.toml"] = Source("course.toml", text)
    elif not whole and not any(found.path == "course.toml" for found in findings):
        findings.append(Finding("course.toml", 0, "no-course"))
    table = (sources["course.toml"].words or {}) if "course.toml" in sources else {}
    said = table.get("lessons") if isinstance(table.get("lessons"), list) else None
    course = tuple(dict.fromkeys(name for name in said or () if isinstance(name, str) and LESSON.fullmatch(name)))
    sound = said is not None and set(course) == {*map(str, said)}
    languages = LANGUAGES if whole else languages_of(table)
    named = [*course, *([TEMPLATE] if any(f"{tag}/{TEMPLATE}.md" in nodes for tag in LANGUAGES) else ())]
    lessons = {f"{tag}/{name}.md" for tag in languages for name in named}
    words = (*_TABLES, *(f"{page}.md" for page in PAGES))
    base = {"rfc.toml", "conformance.toml", "doctor.toml", *(f"{tag}/{name}" for tag in LANGUAGES for name in words)}
    known = lessons | base
    findings += (Finding(path, 0, "missing-file") for path in (known if whole else lessons) - nodes)
    if whole and not any(path.startswith("maildrops/default/") for path in nodes):
        findings.append(Finding("maildrops/default", 0, "missing-file"))
    for path in sorted(nodes - {"course.toml"}):
        # Which lessons belong to it is known from a course.toml that can be read only.
        maybe = not sound and (not whole or "course.toml" in nodes) and _LESSON_FILE.fullmatch(path)
        if path not in known and not maybe and not _MAIL.fullmatch(path):
            findings.append(Finding(path, 0, "stray-file"))
        elif (text := _text(root, path, findings)) is not None:
            sources[path] = Source(path, text)
    return Tree(sources, len(nodes), whole, tuple(findings), course, languages)


def _walk(root: Traversable, folder: Traversable, prefix: str, findings: list[Finding]) -> Iterator[str]:
    """Every plain file below `folder`. Links to folders are not followed, links that lead out are not read (sec-D6)."""
    for node in sorted(folder.iterdir(), key=lambda node: node.name):
        path = prefix + node.name
        linked = isinstance(node, Path) and node.is_symlink()
        if linked and isinstance(node, Path) and isinstance(root, Path) and not _inside(root, node):
            findings.append(Finding(path, 0, "leaves-folder", {"target": os.path.realpath(node)}))
        elif node.is_file():
            yield path
        elif node.is_dir() and not linked:
            yield from _walk(root, node, path + "/", findings)
        else:
            findings.append(Finding(path, 0, "stray-file" if node.is_dir() else "not-a-file"))


def _inside(root: Path, node: Path) -> bool:
    return Path(os.path.realpath(root)) in Path(os.path.realpath(node)).parents


def _text(root: Traversable, path: str, findings: list[Finding]) -> str | None:
    """The text of a file; None, and why, if it has none. A mail is octets: only the gate looks at it."""
    try:
        if path.endswith(".eml"):
            check_file(root, path)
            return None
        data = read_file(root, path)
    except Refused as error:
        findings.append(Finding(path, 0, error.code, error.facts))
        return None
    return _decode(path, data, findings) if data is not None else None


def _decode(path: str, data: bytes, findings: list[Finding]) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        findings.append(Finding(path, data.count(b"\n", 0, error.start) + 1, "not-utf-8"))
        return None
    if text.startswith("\ufeff"):
        findings.append(Finding(path, 1, "byte-order-mark"))
        text = text[1:]
    if found := _LINE_END.search(text):
        findings.append(Finding(path, text.count("\n", 0, found.start()) + 1, "line-ends"))
        text = _LINE_END.sub("\n", text)
    doubtful = {ch for ch in set(text) - {"\n", "\t"} if unicodedata.category(ch) in _UNSEEN}
    for number, row in enumerate(text.split("\n") if doubtful else (), 1):
        if unseen := sorted(doubtful.intersection(row)):
            shown = " ".join(show(ch, keep="") for ch in unseen)
            findings.append(Finding(path, number, "unseen", {"characters": shown}))
    return text
