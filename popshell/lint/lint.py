"""`popshell lint`: proves every page and every translation of a `lessons/` directory.

The way: tree.py takes in the files; each is examined by itself, then beside its English one. What is examined stands in
heads.py (words), dialogues.py, citations.py and bodies.py; the closed lists that it is held to, in keys.py; what a
fault means to an author, in `messages.toml`, `[lint]`.

Trap: dialogues need the server's words. Where a `replies.toml` lacks one they are not played: the lack is the finding.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from popshell.course.catalog import LANGUAGES, Catalog, Page, Words, bundled
from popshell.course.gate import Refused
from popshell.course.keys import REPLIES
from popshell.course.lesson import fingerprint, is_maildrop
from popshell.course.nesting import DEEPEST, too_nested
from popshell.lint import bodies, heads
from popshell.lint.citations import Rfc, check_citations, check_tables, citations, read_rfcs
from popshell.lint.courselint import check_course
from popshell.lint.dialogues import Block, Stage, check_dialogue, compare_blocks, fix_text
from popshell.lint.findings import Fault, Finding
from popshell.lint.lessons import check_lessons
from popshell.lint.tree import Source, Tree, read_tree
from popshell.server.maildrop import from_files
from popshell.server.mailserver import Texts
from popshell.visible import show

_MARK = re.compile(r"^translated_from\s*=.*$", re.MULTILINE)
#: Exit codes of `popshell lint`.
CLEAN, FAULTY, USAGE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Report:
    """What lint found, by file and line, and how much it looked at."""

    findings: tuple[Finding, ...]
    files: int
    dialogues: int


def run_lint(
    root: Path | None,
    words: Words,
    *,
    fix: bool = False,
    mark: bool = False,
    write: Callable[[str], object] | None = None,
) -> int:
    """The subcommand: lint `root`, or the bundled lessons. Returns the exit code.

    With `fix` dialogues are rewritten first; with `mark` translations of lessons are marked as up to date.
    """
    write = write or sys.stdout.write
    folder: Traversable = root if root is not None else bundled()
    if not folder.is_dir():
        write(show(words("cli.no-lessons", path=str(folder))) + "\n")
        return USAGE
    if isinstance(folder, Path):  # in a zip nothing can be rewritten
        changed = [*(fix_dialogues(folder) if fix else ()), *(mark_translated(folder) if mark else ())]
        for path in changed:
            write(show(words("lint.rewritten", path=path)) + "\n")
    report = examine(folder)
    faults = in_words(report.findings, words)
    for fault in faults:
        write(show(str(fault)) + "\n")
    if faults:
        write(words("cli.lint-faults", count=len(faults)) + "\n")
        return FAULTY
    write(words("cli.lint-clean", files=report.files, dialogues=report.dialogues) + "\n")
    return CLEAN


def lint(root: Traversable, words: Words) -> list[Fault]:
    """Every fault of the lessons below `root`, by file and line, in the language of `words`."""
    return in_words(examine(root).findings, words)


def in_words(findings: tuple[Finding, ...], words: Words) -> list[Fault]:
    return [Fault(found.path, found.line, found.code, words(f"lint.{found.code}", **found.facts)) for found in findings]


def examine(root: Traversable) -> Report:
    """Examine all below `root`."""
    tree = read_tree(root)
    findings = list(tree.findings)
    rfcs = _rfcs(tree)
    if rfcs is not None:
        findings += check_tables(rfcs)
    for source in tree.sources.values():
        findings += _examine_text(source, rfcs)
    played = 0
    stages = Stages(root, tree)
    for source, block in _played(tree):
        played += 1
        stage = stages.get(source)
        if stage is not None:
            findings += check_dialogue(source.path, block, stage)
    for english, other in _pairs(tree):
        findings += _compare(english, other)
    if stages.ready:
        findings += check_lessons(tree, stages.catalog)
    findings += check_course(tree, root)
    findings.sort(key=lambda found: (found.path, found.line, found.code))
    return Report(tuple(findings), tree.files, played)


def fix_dialogues(root: Path) -> list[str]:
    """Rewrite the `S:` lines of all dialogues as the server says them. Returns the paths of the files that changed."""
    tree = read_tree(root)
    stages = Stages(root, tree)
    changed = []
    for path in sorted({source.path for source, _ in _played(tree)}):
        source = tree.sources[path]
        stage = stages.get(source)
        made = fix_text(path, source.text, stage) if stage is not None else source.text
        if made != source.text:
            (root / path).write_bytes(made.encode())
            changed.append(path)
    return changed


def mark_translated(root: Path) -> list[str]:
    """Write into each translated lesson which English text it was made from. Returns the paths of those that changed.

    Only a person who has compared the two should ask for it.
    """
    changed = []
    for english, other in _pairs(read_tree(root)):
        if english.page or english.path.endswith(".toml") or other.words is None:
            continue
        mark = f'translated_from = "{fingerprint(english.text)}"'
        made, found = _MARK.subn(mark, other.text, count=1)
        if not found:
            made = other.text.replace("+++\n", f"+++\n{mark}\n", 1)
        if made != other.text:
            (root / other.path).write_bytes(made.encode())
            changed.append(other.path)
    return changed


# -- one file ----------------------------------------------------------------------------------------------------------


def _rfcs(tree: Tree) -> dict[int, Rfc] | None:
    """What `rfc.toml` knows; None where it cannot be read: citations are not proven then, and that is said."""
    source = tree.sources.get("rfc.toml")
    if source is None and not tree.whole:
        return read_rfcs(tomllib.loads(Catalog((bundled(),)).read("rfc.toml")))
    return read_rfcs(source.words) if source is not None and source.words is not None else None


def _examine_text(source: Source, rfcs: Mapping[int, Rfc] | None) -> Iterator[Finding]:
    """A file by itself, its dialogues left out."""
    path, text = source.path, source.text
    blocks: list[Block] = []
    if path.endswith(".toml"):
        if path == "course.toml":
            return  # courselint.py
        if isinstance(source.table, Finding):
            yield source.table
        elif source.language:
            yield from heads.check_words(path, source.name, source.table, text)
    else:
        blocks, findings = source.blocks
        yield from findings
        yield from bodies.check_links(path, text, blocks)
        if isinstance(source.head, Finding):
            yield source.head
        elif source.page:
            yield from _examine_page(source, source.head, blocks)
        if isinstance(source.head, Page) and too_nested(source.head.body) is not None:
            yield Finding(path, too_nested(text) or source.body_line, "too-deep", {"most": DEEPEST})
    if rfcs is not None and source.language:
        yield from check_citations(path, text, rfcs)
    if source.language == "zh-Hant":
        yield from bodies.check_simplified(path, text, blocks)


def _examine_page(source: Source, page: Page, blocks: list[Block]) -> Iterator[Finding]:
    path, text = source.path, source.text
    yield from heads.check_head(path, source.page, page, text)
    yield from bodies.check_body(path, source.page, source.language, text, source.body_line, blocks)
    if source.page.startswith("commands/") and not any(found.section for found in citations(text)):
        yield Finding(path, 0, "uncited")


# -- dialogues ---------------------------------------------------------------------------------------------------------


class Stages:
    """The stages of a lessons directory, one for each maildrop, made when first wanted."""

    def __init__(self, root: Traversable, tree: Tree) -> None:
        self.catalog = Catalog((root,) if tree.whole else (root, bundled()))
        self._tree = tree
        self._made: dict[str, Stage | None] = {}
        self._texts = {tag: found for tag in LANGUAGES if (found := self._replies(tag)) is not None}

    @property
    def ready(self) -> bool:
        """Whether the server has all its words, without which nothing can be played."""
        return self._texts.keys() == LANGUAGES.keys()

    def _replies(self, tag: str) -> Texts | None:
        """The server's words in a language; None if they are not all there."""
        source = self._tree.sources.get(f"{tag}/replies.toml")
        if source is None:
            try:
                return None if self._tree.whole else self.catalog.replies(tag)
            except ValueError:
                return None  # said already, as a file that must not be read
        words = source.words or {}
        return words if all(isinstance(words.get(key), str) for key in REPLIES) else None

    def get(self, source: Source) -> Stage | None:
        """The stage for the dialogues of `source`; None if there is none, which others say."""
        name = self._maildrop(source)
        if name is not None and name not in self._made:
            self._made[name] = None
            try:
                if self.ready:
                    messages = from_files(self.catalog.maildrop_files(name))
                    self._made[name] = Stage(messages, self._texts.__getitem__)
            except (Refused, FileNotFoundError):
                pass
        return self._made[name] if name is not None else None

    def _maildrop(self, source: Source) -> str | None:
        """The maildrop of a page or a lesson; None if nobody knows: the English head cannot be read."""
        if source.page:
            return "default"
        english = self._tree.english(source)
        named = english.words.get("maildrop", "default") if english and english.words is not None else None
        return named if isinstance(named, str) and is_maildrop(named) else None


def _played(tree: Tree) -> Iterator[tuple[Source, Block]]:
    """Every block that is played, with its file."""
    for source in tree.sources.values():
        if source.path.endswith(".md"):
            blocks, findings = source.blocks
            broken = {found.line for found in findings}
            for block in blocks:
                if not block.quoted and broken.isdisjoint(range(block.line, block.end + 1)):
                    yield source, block


# -- two languages -----------------------------------------------------------------------------------------------------


def _pairs(tree: Tree) -> Iterator[tuple[Source, Source]]:
    """Each translated file behind its English one."""
    for source in tree.sources.values():
        english = tree.english(source)
        if english is not None and english is not source:
            yield english, source


def _compare(english: Source, other: Source) -> Iterator[Finding]:
    """The same keys, placeholders and dialogues. The facts of a lesson stand in its English file only."""
    pages = english.page or english.path.endswith(".toml")
    if pages and english.words is not None and other.words is not None:
        ours, theirs = ((source.path, source.words or {}, source.text) for source in (english, other))
        yield from heads.compare(ours, theirs)
    if english.path.endswith(".md"):
        yield from compare_blocks(english.path, english.blocks[0], other.path, other.blocks[0])
