"""`popshell lint`: proves every page and every translation of a `lessons/` directory, by the table RULES.

A rule is a function over Documents and the codes of what it finds: those of files.py, pages.py and lessons.py, and
here those of dialogues. What a code means to an author stands in `messages.toml`, `[lint]`.

A block ```` ```pop3 ```` of a page is played on the practice server and must be true, octet for octet. Its form, and
how it is compared, stand in course/player.py. The first turn has no `C:` where the block begins with the greeting.
Clock and stamp are fixed, so the same block gives the same reply for ever. Played are bytes, not records: what comes is
cut at CRLF, so a byte-stuffed dot is seen as it is on the wire, and a `+ ` of AUTH is a line like any other.

Traps: an answer to a challenge is a `C:` line and nothing else marks it. Several `C:` lines in a row are pipelined, so
the replies to all of them stand after the last one, also when `redone` writes them. Dialogues need the server's words:
where a `replies.toml` lacks one they are not played; the lack is the finding.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import partial
from importlib.resources.abc import Traversable
from itertools import pairwise, zip_longest
from pathlib import Path

from popshell.course.catalog import LANGUAGES, Catalog, Refused, Words, bundled
from popshell.course.document import Document, Fence, read_tables
from popshell.course.lesson import fingerprint, is_maildrop
from popshell.course.notes import REPLIES
from popshell.course.player import ELLIPSIS, ROW, STAMP, PracticeLine, Turn, Untruth, compare, turns
from popshell.lint import pages
from popshell.lint.files import Finding, Source, read_tree
from popshell.lint.lessons import check_course, check_lessons
from popshell.lint.pages import Rfcs
from popshell.protocol.commands import State
from popshell.protocol.wire import CRLF
from popshell.server.maildrop import Message, from_files
from popshell.server.mailserver import FREE, MailServer
from popshell.server.replies import Texts
from popshell.tuples import NamedTuple
from popshell.visible import show

_MARK = re.compile(r"^translated_from\s*=.*$", re.MULTILINE)
LEARNER, PASSWORD = "learner", "secret"
_INFO = re.compile(r'pop3(?: (AUTHORIZATION|TRANSACTION)| quoted "([^"]*[^"\s][^"]*)")?')
#: Lines that are less alike are not the same line changed.
_ALIKE = 0.6
#: Exit codes of `popshell lint`.
CLEAN, FAULTY, USAGE = 0, 1, 2


class Report(NamedTuple):
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
    for fault in in_words(report.findings, words):
        write(show(fault) + "\n")
    if report.findings:
        write(words("cli.lint-faults", count=len(report.findings)) + "\n")
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


# -- dialogues ---------------------------------------------------------------------------------------------------------


def begins(fence: Fence) -> State | None:
    """The state in which a dialogue begins; None if it is not played: it is quoted, or no dialogue at all."""
    known = _INFO.fullmatch(fence.info)
    return State(known[1] or "AUTHORIZATION") if known is not None and known[2] is None else None


def check_form(source: Document) -> Iterator[Finding]:
    """What is wrong with the form of a file's fenced blocks."""
    return (found for fence in source.fences for found in _faults(source, fence))


def _faults(source: Document, fence: Fence) -> list[Finding]:
    if not fence.closed:
        return [Finding(source.path, fence.line, "open-fence")]
    if not fence.plain or _INFO.fullmatch(fence.info) is None:
        return [Finding(source.path, fence.line, "bad-fence", {"info": source.rows[fence.line - 1].strip()})]
    if not fence.rows:
        return [Finding(source.path, fence.line, "bad-line", {"row": ""})]
    rows = enumerate(fence.rows, fence.line + 1)
    return [Finding(source.path, at, "bad-line", {"row": source.rows[at - 1]}) for at, row in rows if not _is_row(row)]


def _is_row(row: str) -> bool:
    return ROW.fullmatch(row) is not None and row != f"C: {ELLIPSIS}"


def played(source: Document) -> list[Fence]:
    """The blocks of a file that are played: what is quoted or has no good form is not."""
    return [fence for fence in source.fences if begins(fence) and not _faults(source, fence)]


class Stage:
    """Plays blocks, each on a fresh practice server with the same mails and words."""

    def __init__(
        self, messages: tuple[Message, ...], languages: Mapping[str, str], texts: Callable[[str], Texts]
    ) -> None:
        # As the shell starts it, but that neither time nor the stamp moves.
        given = ({LEARNER: PASSWORD}, languages, texts, messages)
        self._server = partial(MailServer, *given, faults=FREE, clock=lambda: 0.0, new_stamp=lambda: STAMP)

    def play(self, block: Fence) -> Iterator[tuple[Turn, list[str] | None]]:
        """Each turn with the lines that really come; None if the server had closed before it."""
        line = PracticeLine(self._server())
        if (state := begins(block)) is State.TRANSACTION:
            line.say((f"USER {LEARNER}",))
            line.say((f"PASS {PASSWORD}",))
        for turn in turns(enumerate(block.rows, block.line + 1)):
            if not turn.sent:
                yield turn, _lines(line.greeting) if state is not State.TRANSACTION else []
            elif line.session.closing:
                yield turn, None
            else:
                yield turn, _lines(line.say(turn.sent))
        line.drop()


def _lines(said: bytes) -> list[str]:
    """What the server said as lines; octets that are no UTF-8 as `\\xNN`."""
    return [line.decode("utf-8", "backslashreplace") for line in said.split(CRLF)[:-1]]


def check_dialogue(path: str, block: Fence, stage: Stage) -> Iterator[Finding]:
    """Whether a block is true; one finding at most, as what comes after the first untruth follows from it."""
    for turn, heard in stage.play(block):
        if heard is None:
            yield Finding(path, turn.line, "after-close", {"sent": turn.sent[0]})
            return
        wrong = compare(turn.said, heard)
        if isinstance(wrong, Untruth):
            line = turn.line + len(turn.sent) + wrong.at
            facts = {
                "wanted": f"S: {turn.said[wrong.at]}" if wrong.at < len(turn.said) else "-",
                "really": f"S: {heard[wrong.heard]}" if wrong.heard is not None else "-",
            }
            yield Finding(path, min(line, block.end), "untrue", facts)
            return


def compare_blocks(english: Document, other: Document) -> Iterator[Finding]:
    """Both languages show the same dialogues, line for line; one finding for the first block that differs."""
    for number, (one, two) in enumerate(zip_longest(english.fences, other.fences), 1):
        line = two.line if two else 0
        if one and two:
            if (one.info, one.rows) == (two.info, two.rows):
                continue
            rows = zip((one.info, *one.rows, "```"), (two.info, *two.rows, "```"), strict=False)
            line += next(at for at, (a, b) in enumerate(rows) if a != b)
        yield Finding(other.path, line, "dialogues-differ", {"number": number, "other": english.path})
        return


# -- the rules ---------------------------------------------------------------------------------------------------------


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
        #: whether the server has all its words, without which nothing can be played
        self.plays = len(self.replies) == len(LANGUAGES)
        self._stages: dict[str, Stage | None] = {}

    def _rfcs(self) -> Rfcs | None:
        """What `rfc.toml` knows; None where it cannot be read: citations are not proven then, and that is said."""
        source = self.tree.sources.get("rfc.toml")
        if source is None and not self.tree.whole:
            return pages.read_rfcs(read_tables(self.catalog.read("rfc.toml")))
        return pages.read_rfcs(source.words) if source is not None and source.words is not None else None

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

    def blocks(self) -> Iterator[tuple[Source, Fence]]:
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


RULES = (
    Rule(
        "missing-file no-course stray-file too-large leaves-folder not-a-file not-utf-8 byte-order-mark line-ends"
        " unseen",
        lambda lint: lint.tree.findings,
    ),
    Rule("bad-head bad-toml leaves-folder simplified too-deep", partial(_each, pages.check_text)),
    Rule("unknown-key missing-key not-text unknown-place stray-brace", partial(_each, pages.check_words)),
    Rule(
        "summary-wide uncited no-text stray-heading heading-order missing-heading deviation-unsaid deviation-unknown",
        lambda lint: (found for source in lint.tree.sources.values() for found in pages.check_page(source, lint.words)),
    ),
    Rule("keys-differ places-differ", partial(_pair, pages.compare_words)),
    Rule("bad-fence open-fence bad-line", partial(_each, check_form)),
    Rule(
        "untrue after-close",
        lambda lint: (
            found
            for source, block in lint.blocks()
            if (stage := lint.stage(source))
            for found in check_dialogue(source.path, block, stage)
        ),
    ),
    Rule("dialogues-differ", partial(_pair, compare_blocks)),
    Rule(
        "bad-citation no-such-rfc no-such-section bad-doctor missing-key unknown-key",
        lambda lint: pages.check_sources(lint.tree, lint.rfcs) if lint.rfcs is not None else (),
    ),
    Rule(
        "bad-course course-field bad-name listed-twice course-id-taken",
        lambda lint: check_course(lint.tree, lint.root),
    ),
    Rule(
        "bad-lesson no-such-placeholder bad-id bad-title duplicate-id"
        " no-exercise kind-needs missing-maildrop start-unheard solution-fails solution-answers-not answer-unseen"
        " predicts-nothing mispredicts prefix-passes wrong-passes wrong-is-right teaches-unknown not-taught no-task"
        " no-hint no-solved no-wrong stray-wrong stray-exercise hints-differ commands-differ no-such-meta"
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


# -- what is rewritten -------------------------------------------------------------------------------------------------


def redone(said: tuple[str, ...], heard: list[str]) -> tuple[str, ...]:
    """`said` made true: as it is if it is true, else the real lines, with each `[...]` left where it stood.

    Lines between two `[...]` become those that they are most like; where nothing is like them they fall out.
    """
    if not isinstance(compare(said, heard), Untruth):
        return said
    if ELLIPSIS not in said:
        return tuple(heard)
    gaps = [-1, *(at for at, row in enumerate(said) if row == ELLIPSIS), len(said)]
    first, *middle, last = (said[one + 1 : two] for one, two in pairwise(gaps))
    if len(heard) <= len(said) - len(gaps) + 2:
        return tuple(heard)  # as short as the lines that were shown: nothing is left to leave out
    made = [*heard[: len(first)], ELLIPSIS]
    rest = heard[len(first) : len(heard) - len(last)]
    for piece in filter(None, middle):
        found = _most_like(piece, rest)
        if found is not None:
            made += [*rest[found : found + len(piece)], ELLIPSIS]
            rest = rest[found + len(piece) :]
    return (*made, *heard[len(heard) - len(last) :])


def _most_like(piece: Sequence[str], rest: list[str]) -> int | None:
    """Where in `rest` the lines of `piece` stand, or those most like them; None if nothing is like them."""
    scores = [
        sum(SequenceMatcher(None, a, b).ratio() for a, b in zip(piece, rest[at:], strict=False)) / len(piece)
        for at in range(len(rest) - len(piece) + 1)
    ]
    best = max(scores, default=0.0)
    return scores.index(best) if best >= _ALIKE else None


def fix_text(source: Document, stage: Stage) -> str:
    """The text with the `S:` lines of its replayed blocks as the server really says them; `C:` lines stay."""
    rows = list(source.rows)
    for block in reversed(played(source)):
        made: list[str] = []
        for turn, heard in stage.play(block):
            said = turn.said if heard is None else redone(turn.said, heard)
            made += [_row("C", text) for text in turn.sent] + [_row("S", text) for text in said]
        if made != [_row(row[0], row[3:]) for row in block.rows]:
            rows[block.line : block.end - 1] = made
    return "\n".join(rows)


def _row(side: str, text: str) -> str:
    """An empty line carries no blank at its end; the one after `+ ` stays, as it is sent."""
    return f"{side}: {text}" if text else f"{side}:"


def fix_dialogues(root: Path) -> list[str]:
    """Rewrite the `S:` lines of all dialogues as the server says them. Returns the paths of the files that changed."""
    lint = Lint(root)
    sources = [source for source in lint.tree.sources.values() if played(source)]
    return _written(root, ((one, fix_text(one, stage)) for one in sources if (stage := lint.stage(one)) is not None))


def mark_translated(root: Path) -> list[str]:
    """Write into each translated lesson which English text it was made from. Returns the paths of those that changed.

    Only a person who has compared the two should ask for it.
    """

    def marked(english: Source, other: Source) -> str:
        mark = f'translated_from = "{fingerprint(english.text)}"'
        made, found = _MARK.subn(mark, other.text, count=1)
        return made if found else other.text.replace("+++\n", f"+++\n{mark}\n", 1)

    pairs = [pair for pair in Lint(root).pairs() if not (pair[0].page or pair[0].is_toml) and pair[1].words is not None]
    return _written(root, ((other, marked(english, other)) for english, other in pairs))


def _written(root: Path, made: Iterable[tuple[Source, str]]) -> list[str]:
    """Write the new text of each file that has another now. Returns their paths."""
    changed = {source.path: text for source, text in made if text != source.text}
    for path, text in changed.items():
        (root / path).write_bytes(text.encode())
    return sorted(changed)
