"""Dialogues in pages: a block ```` ```pop3 ```` is played on the practice server and must be true, octet for octet.

The form and how it is compared stand in course/dialogue.py. The first turn has no `C:` where the block begins with the
greeting. Clock and stamp are fixed (`player.STAMP`), so the same block gives the same reply for ever.

Played are bytes, not records: a ServerSession is fed, and what comes back is cut at CRLF. So a byte-stuffed dot is seen
as it is on the wire, and a `+ ` of AUTH is a line like any other.

Traps: an answer to a challenge is a `C:` line and nothing else marks it. Several `C:` lines in a row are pipelined, so
the replies to all of them stand after the last one, also when `redone` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from popshell.course.dialogue import ELLIPSIS, ROW, Turn, Untruth, compare, turns
from popshell.course.document import Document
from popshell.course.player import STAMP, PracticeLine
from popshell.lint.files import Finding
from popshell.protocol.commands import State
from popshell.protocol.wire import CRLF
from popshell.server.maildrop import Message
from popshell.server.mailserver import FREE, MailServer
from popshell.server.replies import Texts

LEARNER, PASSWORD = "learner", "secret"
_INFO = re.compile(r'pop3(?: (AUTHORIZATION|TRANSACTION)| quoted "([^"]*[^"\s][^"]*)")?')
#: Lines that are less alike are not the same line changed.
_ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: `line` and `end` are the lines of its fences, `rows` what lies between them."""

    line: int
    end: int
    info: str
    rows: tuple[str, ...]
    state: State = State.AUTHORIZATION
    quoted: bool = False


def read_blocks(source: Document) -> tuple[list[Block], list[Finding]]:
    """The blocks of a file, and what is wrong with their form. What is no dialogue at all is taken for quoted."""
    blocks: list[Block] = []
    findings: list[Finding] = []
    for fence in source.fences:
        known = _INFO.fullmatch(fence.info)
        state = State(known[1] or "AUTHORIZATION") if known else State.AUTHORIZATION
        block = Block(fence.line, fence.end, fence.info, fence.rows, state, known is None or known[2] is not None)
        blocks.append(block)
        if not fence.closed:
            findings.append(Finding(source.path, fence.line, "open-fence"))
        elif not fence.plain or known is None:
            facts = {"info": source.rows[fence.line - 1].strip()}
            findings.append(Finding(source.path, fence.line, "bad-fence", facts))
        else:
            findings += _bad_rows(source.path, block)
    return blocks, findings


def played(source: Document) -> list[Block]:
    """The blocks of a file that are played: what is quoted or has no good form is not."""
    blocks, findings = read_blocks(source)
    broken = {finding.line for finding in findings}
    return [b for b in blocks if not b.quoted and broken.isdisjoint(range(b.line, b.end + 1))]


def _bad_rows(path: str, block: Block) -> Iterator[Finding]:
    if not block.rows:
        yield Finding(path, block.line, "bad-line", {"row": ""})
    for at, row in enumerate(block.rows, block.line + 1):
        if ROW.fullmatch(row) is None or row == f"C: {ELLIPSIS}":
            yield Finding(path, at, "bad-line", {"row": row})


class Stage:
    """Plays blocks, each on a fresh practice server with the same mails and words."""

    def __init__(
        self, messages: tuple[Message, ...], languages: Mapping[str, str], texts: Callable[[str], Texts]
    ) -> None:
        self._messages = messages
        self._languages = languages
        self._texts = texts

    def server(self) -> MailServer:
        """The practice server as the shell starts it, but that neither time nor the stamp moves."""
        return MailServer(
            {LEARNER: PASSWORD},
            self._languages,
            self._texts,
            self._messages,
            faults=FREE,
            clock=lambda: 0.0,
            new_stamp=lambda: STAMP,
        )

    def play(self, block: Block) -> Iterator[tuple[Turn, list[str] | None]]:
        """Each turn with the lines that really come; None if the server had closed before it."""
        line = PracticeLine(self.server())
        if block.state is State.TRANSACTION:
            line.say((f"USER {LEARNER}",))
            line.say((f"PASS {PASSWORD}",))
        for turn in turns(enumerate(block.rows, block.line + 1)):
            if not turn.sent:
                yield turn, _lines(line.greeting) if block.state is State.AUTHORIZATION else []
            elif line.session.closing:
                yield turn, None
            else:
                yield turn, _lines(line.say(turn.sent))
        line.drop()


def _lines(said: bytes) -> list[str]:
    """What the server said as lines; octets that are no UTF-8 as `\\xNN`."""
    return [line.decode("utf-8", "backslashreplace") for line in said.split(CRLF)[:-1]]


def check_dialogue(path: str, block: Block, stage: Stage) -> Iterator[Finding]:
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


def redone(said: tuple[str, ...], heard: list[str]) -> tuple[str, ...]:
    """`said` made true: as it is if it is true, else the real lines, with each `[...]` left where it stood.

    Lines between two `[...]` become those that they are most like; where nothing is like them they fall out.
    """
    if not isinstance(compare(said, heard), Untruth):
        return said
    if ELLIPSIS not in said:
        return tuple(heard)
    pieces: list[list[str]] = [[]]
    for row in said:
        if row == ELLIPSIS:
            pieces.append([])
        else:
            pieces[-1].append(row)
    first, *middle, last = pieces
    if len(heard) <= len(said) - len(pieces) + 1:
        return tuple(heard)  # as short as the lines that were shown: nothing is left to leave out
    made = [*heard[: len(first)], ELLIPSIS]
    rest = heard[len(first) : len(heard) - len(last)]
    for piece in filter(None, middle):
        found = _most_like(piece, rest)
        if found is not None:
            made += [*rest[found : found + len(piece)], ELLIPSIS]
            rest = rest[found + len(piece) :]
    return (*made, *heard[len(heard) - len(last) :])


def _most_like(piece: list[str], rest: list[str]) -> int | None:
    """Where in `rest` the lines of `piece` stand, or those most like them; None if nothing is like them."""
    scores = [
        sum(SequenceMatcher(None, a, b).ratio() for a, b in zip(piece, rest[at:], strict=False)) / len(piece)
        for at in range(len(rest) - len(piece) + 1)
    ]
    best = max(scores, default=0.0)
    return scores.index(best) if best >= _ALIKE else None


def compare_blocks(english: Document, other: Document) -> Iterator[Finding]:
    """Both languages show the same dialogues, line for line; one finding for the first block that differs."""
    path, ours, theirs = other.path, english.fences, other.fences
    for number, (one, two) in enumerate(zip(ours, theirs, strict=False), 1):
        if (one.info, one.rows) != (two.info, two.rows):
            rows = zip((one.info, *one.rows, "```"), (two.info, *two.rows, "```"), strict=False)
            at = next(at for at, (a, b) in enumerate(rows) if a != b)
            yield Finding(path, two.line + at, "dialogues-differ", {"number": number, "other": english.path})
            return
    if len(ours) != len(theirs):
        number = min(len(ours), len(theirs)) + 1
        line = theirs[number - 1].line if len(theirs) >= number else 0
        yield Finding(path, line, "dialogues-differ", {"number": number, "other": english.path})


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
