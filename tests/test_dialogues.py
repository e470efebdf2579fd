"""dialogues: blocks are read, played and rewritten; what stands on a page is what is on the wire."""

from __future__ import annotations

import pytest

from popshell.course.catalog import Catalog, bundled
from popshell.course.document import Document, Fence
from popshell.course.player import STAMP, Turn, Untruth, compare, turns
from popshell.lint.files import Finding
from popshell.lint.lint import Stage, begins, check_dialogue, check_form, fix_text, redone
from popshell.protocol.commands import State
from popshell.server.maildrop import from_files

GAP = "[...]"
CATALOG = Catalog((bundled(),))
MAILS = [("1.eml", b"Subject: one\n\n.\n..x\ny\n"), ("2.eml", "Subject: zwei\n\n\xff caf\xe9\n".encode("latin-1"))]
STAGE = Stage(from_files(MAILS), CATALOG.languages, CATALOG.replies)


def blocks_of(source: Document) -> tuple[list[Fence], list[Finding]]:
    return source.fences, list(check_form(source))


def page(*rows: str, info: str = "pop3") -> str:
    return "\n".join(("Before.", "", f"```{info}", *rows, "```", "After.", ""))


def document(text: str) -> Document:
    """Without a head: the lines are those of the text."""
    return Document("x.md", text)


def untrue(*rows: str, info: str = "pop3") -> tuple[int, str, str] | None:
    """The row at fault, counted from 0, its code, and what is really said; None if the block is true."""
    blocks, findings = blocks_of(document(page(*rows, info=info)))
    assert findings == []
    for finding in check_dialogue("x.md", blocks[0], STAGE):
        return finding.line - 4, finding.code, str(finding.facts.get("really", ""))
    return None


def fixed(*rows: str, info: str = "pop3") -> list[str]:
    text = fix_text(document(page(*rows, info=info)), STAGE)
    assert text.startswith(f"Before.\n\n```{info}\n")
    assert text.endswith("\n```\nAfter.\n")
    return text.split("\n")[3:-3]


def test_the_place_of_blocks() -> None:
    text = "a\n```pop3\nC: QUIT\n```\nb\n````pop3 TRANSACTION\nC: NOOP\n```\n````\n"
    blocks, findings = blocks_of(document(text))
    assert [(block.line, block.end, block.info) for block in blocks] == [(2, 4, "pop3"), (6, 9, "pop3 TRANSACTION")]
    assert [(finding.code, finding.line) for finding in findings] == [("bad-line", 8)]


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ("pop3", State.AUTHORIZATION),
        ("pop3 AUTHORIZATION", State.AUTHORIZATION),
        ("pop3 TRANSACTION", State.TRANSACTION),
        ('pop3 quoted "Dovecot 2.3.19"', None),
    ],
)
def test_the_beginning_of_a_block(info: str, state: State | None) -> None:
    blocks, findings = blocks_of(document(page("C: QUIT", "S: +OK", info=info)))
    assert findings == []
    assert begins(blocks[0]) is state


@pytest.mark.parametrize(
    "info",
    [
        "pop3 UPDATE",
        "pop3 CLOSED",
        "pop3  TRANSACTION",
        "pop3 transaction",
        "pop3 quoted",
        'pop3 quoted ""',
        "pop",
        "",
        "text",
    ],
)
def test_what_begins_no_block(info: str) -> None:
    blocks, findings = blocks_of(document(page("C: QUIT", "nothing of ours", info=info)))
    assert [(finding.code, finding.line) for finding in findings] == [("bad-fence", 3)]
    assert begins(blocks[0]) is None  # and is not played


def test_a_block_that_does_not_end() -> None:
    blocks, findings = blocks_of(document("```pop3\nC: QUIT\n``\n"))
    assert [(finding.code, finding.line) for finding in findings] == [("open-fence", 1)]
    assert len(blocks) == 1


def test_a_turn_of_many_rows() -> None:
    """Its cost grows as its rows do: else this test would take minutes."""
    (turn,) = turns([(1, "C: LIST"), *((at, "S: x") for at in range(2, 200_002))])
    assert (turn.line, len(turn.lines), len(turn.said)) == (1, 200_001, 200_000)


def test_gaps_one_after_the_other_cost_what_one_does() -> None:
    """Else this test would take minutes."""
    assert compare(["a", *["…"] * 150_000, "b"], ["a", *["x"] * 2000, "b"]) == ()


def test_turns() -> None:
    rows = ("S: +OK hello", "C: STAT", "C: LIST 1", "S: +OK", "S:", "S: [...]", "C:", "S: -ERR", "C: QUIT")
    blocks, _ = blocks_of(document(page(*rows)))
    assert turns(enumerate(blocks[0].rows, blocks[0].line + 1)) == [
        Turn((4,), (), ("+OK hello",)),
        Turn((5, 6, 7, 8, 9), ("STAT", "LIST 1"), ("+OK", "", GAP)),
        Turn((10, 11), ("",), ("-ERR",)),
        Turn((12,), ("QUIT",), ()),
    ]


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("", "", None),
        ("a", "a", None),
        ("a b", "a b", None),
        ("a", "b", (0, "b")),
        ("a b", "a c", (1, "c")),
        ("a", "a b", (1, "b")),
        ("a b", "a", (1, None)),
        ("", "a", (0, "a")),
        ("a", "", (0, None)),
        (GAP, "", None),
        (GAP, "a b c", None),
        (f"a {GAP}", "a", None),
        (f"a {GAP} d", "a b c d", None),
        (f"a {GAP} d", "a d", None),
        (f"a {GAP} d", "a b c", (2, "c")),
        (f"{GAP} b {GAP} d", "a b c b d", None),
        (f"{GAP} b {GAP} b", "a b", (3, None)),
        (f"{GAP} bee {GAP}", "a been c", (1, "been")),
        (f"{GAP} {GAP}", "a", None),
        (f"{GAP} a", "a a b", (2, "b")),
        (f"{GAP} b c", "b a b c", None),
        (f"{GAP} b d {GAP}", "b c b c", (2, "c")),
    ],
)
def test_compare(said: str, heard: str, wrong: tuple[int, str | None] | None) -> None:
    lines = heard.split()
    found = compare(said.split(), lines)
    if isinstance(found, Untruth):
        found = (found.at, None if found.heard is None else lines[found.heard])
    assert found == (wrong or ())


@pytest.mark.parametrize(
    ("said", "heard", "made"),
    [
        ("old", "new", "new"),
        ("old", "new more", "new more"),
        ("old more", "new", "new"),
        ("", "new", "new"),
        ("old", "", ""),
        # true: left as it is
        (f"a {GAP} c", "a b c", f"a {GAP} c"),
        (f"{GAP} c {GAP}", "a b c", f"{GAP} c {GAP}"),
        # the ends hold, whatever lies between
        (f"old {GAP} old", "a b c d", f"a {GAP} d"),
        (f"old more {GAP} old", "a b c d", f"a b {GAP} d"),
        (f"old {GAP}", "a b", f"a {GAP}"),
        (f"{GAP} old", "a b", f"{GAP} b"),
        # between two gaps, what is most alike
        (f"x {GAP} SASL-PLAIN {GAP} .", "+OK TOP SASL-LOGIN UIDL .", f"+OK {GAP} SASL-LOGIN {GAP} ."),
        (f"x {GAP} two-1 two-2 {GAP} .", "+OK one two-1 two-3 .", f"+OK {GAP} two-1 two-3 {GAP} ."),
        (f"x {GAP} STLS {GAP} .", "+OK TOP UIDL EXPIRE .", f"+OK {GAP} ."),
        (f"x {GAP} b {GAP} c {GAP} .", "+OK a b b c d .", f"+OK {GAP} b {GAP} c {GAP} ."),
        (f"{GAP} bb {GAP} cc {GAP} .", "1 cc 2 bb 3 !", f"{GAP} bb {GAP} !"),
        # no longer than what was shown: nothing is left out
        (f"+OK {GAP} x {GAP} .", "-ERR", "-ERR"),
        (f"+OK {GAP} .", "a b", "a b"),
    ],
)
def test_redone(said: str, heard: str, made: str) -> None:
    found = redone(tuple(said.split()), heard.split())
    assert " ".join(found) == made
    assert not isinstance(compare(found, heard.split()), Untruth)


@pytest.mark.parametrize(
    ("rows", "info"),
    [
        (("S: +OK practice server ready " + STAMP, "C: NOOP", "S: -ERR not in this state"), "pop3"),
        (
            ("C: RETR 1", "S: +OK 27 octets", "S: Subject: one", "S:", "S: ..", "S: ...x", "S: y", "S: ."),
            "pop3 TRANSACTION",
        ),
        (("C: RETR 2", "S: [...]", "S: \\xff caf\\xe9", "S: ."), "pop3 TRANSACTION"),
        (
            ("C: STAT", "C: DELE 1", "C: QUIT", "S: +OK 2 52", "S: [...]", "S: +OK bye, 1 message removed"),
            "pop3 TRANSACTION",
        ),
        (("C: AUTH PLAIN", "S: + ", "C: *", "S: [...]", "C: QUIT", "S: +OK bye"), "pop3"),
        (("C: STLS", "S: +OK begin TLS negotiation", "C: STLS", "S: -ERR TLS is active already"), "pop3"),
        (("C: STLS", "C: CAPA", "S: -ERR commands after STLS in clear text, closing"), "pop3"),
        (("C:", "S: -ERR empty command"), "pop3"),
        (("C: café", "S: -ERR unknown command"), "pop3"),
    ],
)
def test_what_is_true(rows: tuple[str, ...], info: str) -> None:
    assert untrue(*rows, info=info) is None
    assert fixed(*rows, info=info) == list(rows)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (("C: NOOP", "S: +OK"), (1, "untrue", "S: -ERR not in this state")),
        (("C: QUIT",), (1, "untrue", "S: +OK bye")),
        (("C: QUIT", "S: +OK bye", "S: more"), (2, "untrue", "-")),
        (("C: QUIT", "S: +OK bye", "C: NOOP", "C: NOOP", "S: +OK"), (2, "after-close", "")),
        (("C: NOOP", "C: QUIT", "S: [...]", "S: +OK goodbye"), (3, "untrue", "S: +OK bye")),
        (("C: AUTH PLAIN", "S: +", "C: *", "S: [...]"), (1, "untrue", "S: + ")),
    ],
)
def test_what_is_not(rows: tuple[str, ...], wrong: tuple[int, str, str]) -> None:
    assert untrue(*rows) == wrong


def test_each_block_begins_anew() -> None:
    text = page("C: DELE 1", "S: +OK message 1 deleted", "C: QUIT", "S: [...]", info="pop3 TRANSACTION")
    text += page("C: STAT", "S: +OK 2 52", info="pop3 TRANSACTION")
    blocks, findings = blocks_of(document(text))
    assert findings == []
    assert [list(check_dialogue("x.md", block, STAGE)) for block in blocks] == [[], []]


@pytest.mark.parametrize(
    ("rows", "made"),
    [
        (
            ("S: +OK hello", "C: NOOP", "S: x"),
            (f"S: +OK practice server ready {STAMP}", "C: NOOP", "S: -ERR not in this state"),
        ),
        # replies to a flight stand behind it
        (
            ("C: NOOP", "C: STAT", "C: QUIT", "S: x"),
            ("C: NOOP", "C: STAT", "C: QUIT", *["S: -ERR not in this state"] * 2, "S: +OK bye"),
        ),
        (
            ("C: NOOP", "S: x", "C: STAT"),
            ("C: NOOP", "S: -ERR not in this state", "C: STAT", "S: -ERR not in this state"),
        ),
        (
            ("C: AUTH PLAIN", "S: x", "C: *", "S: x"),
            ("C: AUTH PLAIN", "S: + ", "C: *", "S: -ERR authentication cancelled"),
        ),
        # what comes behind the end cannot be made true: a person has to see to it
        (("C: QUIT", "S: x", "C: NOOP", "S: x"), ("C: QUIT", "S: +OK bye", "C: NOOP", "S: x")),
    ],
)
def test_fixed(rows: tuple[str, ...], made: tuple[str, ...]) -> None:
    assert fixed(*rows) == list(made)


@pytest.mark.parametrize("info", ['pop3 quoted "Dovecot 2.3.19"', "text"])
def test_what_is_not_played_is_not_rewritten(info: str) -> None:
    assert fixed("C: NOOP", "S: +OK not ours", info=info) == ["C: NOOP", "S: +OK not ours"]


def test_what_has_a_bad_form_is_not_rewritten() -> None:
    assert fixed("C: NOOP", "S +OK", "S: x") == ["C: NOOP", "S +OK", "S: x"]
    assert fix_text(document("```pop3\nC: NOOP\nS: x"), STAGE) == "```pop3\nC: NOOP\nS: x"


def test_several_blocks_are_rewritten_each_in_its_place() -> None:
    text = page("C: CAPA", "S: x") + page("C: NOOP", "S: x", "S: y") + page("C: QUIT", "S: x")
    made = fix_text(document(text), STAGE)
    blocks, findings = blocks_of(document(made))
    assert findings == []
    assert [len(block.rows) for block in blocks] == [15, 2, 2]
    assert [list(check_dialogue("x.md", block, STAGE)) for block in blocks] == [[], [], []]
    assert made.count("Before.") == made.count("After.") == 3
