"""`popshell lint`: proves every page and every translation of a `lessons/` directory, by the table RULES.

A rule is a function over Documents and the codes of what it finds: files.py, pages.py (pages and words), dialogues.py,
citations.py, doctorlint.py, lessons.py. What a code means to an author stands in `messages.toml`, `[lint]`.

Trap: dialogues need the server's words. Where a `replies.toml` lacks one they are not played: the lack is the finding.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources.abc import Traversable
from pathlib import Path

from popshell.course.catalog import LANGUAGES, Catalog, Refused, Words, bundled
from popshell.course.lesson import fingerprint, is_maildrop
from popshell.course.notes import REPLIES
from popshell.lint.citations import Rfc, check_citations, check_tables, read_rfcs
from popshell.lint.dialogues import Block, Stage, check_dialogue, compare_blocks, fix_text, played, read_blocks
from popshell.lint.doctorlint import check_doctor
from popshell.lint.files import Finding, Source, read_tree
from popshell.lint.lessons import check_course, check_lessons
from popshell.lint.pages import check_page, check_text, check_words, compare_words
from popshell.server.maildrop import from_files
from popshell.server.replies import Texts
from popshell.tuples import NamedTuple
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
    root: str | Path | None,
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
    found = root or bundled()
    folder = Path(found) if isinstance(found, str) else found
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
        write(show(fault) + "\n")
    if faults:
        write(words("cli.lint-faults", count=len(faults)) + "\n")
        return FAULTY
    key = "cli.lint-clean" if root else "cli.lint-clean-own"
    write(words(key, files=report.files, dialogues=report.dialogues) + "\n")
    return CLEAN


def in_words(findings: Iterable[Finding], words: Words) -> list[str]:
    """Findings as lines for the author: where, what is wrong, what to do, the code."""
    return [
        f"{found.path}{f':{found.line}' if found.line else ''}: "
        f"{words(f'lint.{found.code}', **found.facts)} ({found.code})"
        for found in findings
    ]


@cache
def _bundled_rfcs() -> dict[int, Rfc]:
    return read_rfcs(Source("rfc.toml", Catalog((bundled(),)).read("rfc.toml")).words or {})


class Lint:
    """What the rules look at: the files, the RFCs' sections, and the practice server for what is played."""

    def __init__(self, root: Traversable) -> None:
        self.root = root
        self.tree = read_tree(root)
        self.catalog = Catalog((root,) if self.tree.whole else (root, bundled()))
        ours = Catalog((bundled(),))
        self.words = {tag: ours.words(tag) for tag in LANGUAGES}
        self.rfcs = self._rfcs()
        self.replies = {tag: found for tag in LANGUAGES if (found := self._replies(tag)) is not None}
        self._stages: dict[str, Stage | None] = {}

    @property
    def plays(self) -> bool:
        """Whether the server has all its words, without which nothing can be played."""
        return len(self.replies) == len(LANGUAGES)

    def _rfcs(self) -> dict[int, Rfc] | None:
        """What `rfc.toml` knows; None where it cannot be read: citations are not proven then, and that is said."""
        source = self.tree.sources.get("rfc.toml")
        if source is None and not self.tree.whole:
            return _bundled_rfcs()
        return read_rfcs(source.words) if source is not None and source.words is not None else None

    def _replies(self, tag: str) -> Texts | None:
        """The server's words in a language; None if they are not all there."""
        source = self.tree.sources.get(f"{tag}/replies.toml")
        if source is None:
            try:
                return None if self.tree.whole else self.catalog.replies(tag)
            except ValueError:
                return None  # said already, as a file that must not be read
        words = source.words or {}
        return words if all(isinstance(words.get(key), str) for key in REPLIES) else None

    def blocks(self) -> Iterator[tuple[Source, Block]]:
        """Every block that is played, with its file."""
        for source in self.tree.sources.values():
            yield from ((source, block) for block in played(source))

    def pairs(self) -> Iterator[tuple[Source, Source]]:
        """Each translated file after its original."""
        for source in self.tree.sources.values():
            original = self.tree.original(source)
            if original is not None and original is not source:
                yield original, source

    def stage(self, source: Source) -> Stage | None:
        """The stage for the dialogues of `source`; None if there is none, of which others say why."""
        name = self._maildrop(source)
        if name is None or not self.plays:
            return None
        if name not in self._stages:
            try:
                mails = from_files(self.catalog.maildrop_files(name))
                names = {tag: self.words[tag]("language.name") for tag in LANGUAGES}
                self._stages[name] = Stage(mails, names, self.replies.__getitem__)
            except (Refused, FileNotFoundError):
                self._stages[name] = None
        return self._stages[name]

    def _maildrop(self, source: Source) -> str | None:
        """The maildrop of a page or a lesson; None if the English head, which names it, cannot be read."""
        if source.page:
            return "default"
        english = self.tree.original(source)
        named = english.words.get("maildrop", "default") if english and english.words is not None else None
        return named if isinstance(named, str) and is_maildrop(named) else None


# -- the rules ---------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """One rule: the codes of what it finds, each with its text in `messages.toml`, `[lint]`, and where it looks."""

    codes: str
    check: Callable[[Lint], Iterable[Finding]]


def _each(check: Callable[[Source], Iterable[Finding]], lint: Lint) -> Iterator[Finding]:
    """A rule over each file by itself."""
    return (found for source in lint.tree.sources.values() for found in check(source))


def _pair(check: Callable[[Source, Source], Iterable[Finding]], lint: Lint) -> Iterator[Finding]:
    """A rule over each file and its English one."""
    return (found for english, other in lint.pairs() for found in check(english, other))


def _check_dialogues(lint: Lint) -> Iterator[Finding]:
    for source, block in lint.blocks():
        if (stage := lint.stage(source)) is not None:
            yield from check_dialogue(source.path, block, stage)


def _check_citations(lint: Lint) -> Iterator[Finding]:
    if lint.rfcs is not None:
        yield from check_tables(lint.rfcs)
        for source in lint.tree.sources.values():
            if source.language:
                yield from check_citations(source.path, source.text, lint.rfcs)


RULES = (
    Rule(
        "missing-file no-course stray-file too-large leaves-folder not-a-file not-utf-8 byte-order-mark line-ends"
        " unseen",
        lambda lint: lint.tree.findings,
    ),
    Rule("bad-head bad-toml leaves-folder simplified too-deep", partial(_each, check_text)),
    Rule("unknown-key missing-key not-text unknown-place stray-brace", partial(_each, check_words)),
    Rule(
        "unknown-key missing-key not-text unknown-place stray-brace summary-wide uncited no-text stray-heading"
        " heading-order missing-heading deviation-unsaid deviation-unknown",
        lambda lint: (found for source in lint.tree.sources.values() for found in check_page(source, lint.words)),
    ),
    Rule("keys-differ places-differ", partial(_pair, compare_words)),
    Rule("bad-fence open-fence bad-line", partial(_each, lambda source: read_blocks(source)[1])),
    Rule("untrue after-close", _check_dialogues),
    Rule("dialogues-differ", partial(_pair, compare_blocks)),
    Rule("bad-citation no-such-rfc no-such-section table-citation", _check_citations),
    Rule(
        "bad-doctor no-such-section missing-key unknown-key",
        lambda lint: check_doctor(lint.tree, lint.rfcs) if lint.rfcs is not None else (),
    ),
    Rule(
        "bad-course course-field bad-name listed-twice course-id-taken",
        lambda lint: check_course(lint.tree, lint.root),
    ),
    Rule(
        "bad-lesson no-such-kind no-such-line no-such-placeholder no-such-capability bad-id bad-title duplicate-id"
        " no-exercise kind-needs missing-maildrop start-unheard solution-fails solution-answers-not answer-unseen"
        " predicts-nothing mispredicts prefix-passes wrong-passes wrong-is-right teaches-unknown not-taught no-task"
        " no-hint no-solved no-wrong stray-wrong stray-exercise hints-differ commands-differ text-differs no-such-meta"
        " headline-wide translated-fact missing-key stale",
        lambda lint: check_lessons(lint.tree, lint.catalog) if lint.plays else (),
    ),
)


def examine(root: Traversable) -> Report:
    """Examine all below `root` by every rule."""
    lint = Lint(root)
    findings: list[Finding] = []
    for rule in RULES:
        found = list(rule.check(lint))
        assert {finding.code for finding in found} <= set(rule.codes.split()), found
        findings += found
    findings.sort(key=lambda found: (found.path, found.line, found.code))
    return Report(tuple(findings), lint.tree.files, sum(1 for _ in lint.blocks()))


def fix_dialogues(root: Path) -> list[str]:
    """Rewrite the `S:` lines of all dialogues as the server says them. Returns the paths of the files that changed."""
    lint, changed = Lint(root), []
    for path in sorted({source.path for source, _ in lint.blocks()}):
        source = lint.tree.sources[path]
        stage = lint.stage(source)
        made = fix_text(source, stage) if stage is not None else source.text
        if made != source.text:
            (root / path).write_bytes(made.encode())
            changed.append(path)
    return changed


def mark_translated(root: Path) -> list[str]:
    """Write into each translated lesson which English text it was made from. Returns the paths of those that changed.

    Only a person who has compared the two should ask for it.
    """
    changed = []
    for english, other in Lint(root).pairs():
        if english.page or english.is_toml or other.words is None:
            continue
        mark = f'translated_from = "{fingerprint(english.text)}"'
        made, found = _MARK.subn(mark, other.text, count=1)
        if not found:
            made = other.text.replace("+++\n", f"+++\n{mark}\n", 1)
        if made != other.text:
            (root / other.path).write_bytes(made.encode())
            changed.append(other.path)
    return changed
