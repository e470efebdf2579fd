"""commandline: tokens, diagnostics and redaction; any text is parsed, and no secret leaves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import blob, plain

from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.line import MASK, CommandLine, Context, Role, hidden_in_base64, parse
from popshell.protocol.maildrop_view import MaildropView

PROFILE = settings(max_examples=500, deadline=None, derandomize=True, database=None)
A, T = State.AUTHORIZATION, State.TRANSACTION
CANARY = "C4n4ry-77"
DIGEST = "c4c9334bac560ecc979e58001b3e22fb"
SOME = Context(T, maildrop=MaildropView(open=True, last=7, marks=frozenset({3})))

#: text, context -> the codes of all objections, in order; mild ones in brackets
OBJECTIONS = [
    ("STAT", Context(T), []),
    ("stat", Context(T), []),
    ("STAT ", Context(T), ["(trailing-space)"]),
    ("STAT", Context(A), ["wrong-state"]),
    ("STAT 1", Context(T), ["extra-argument"]),
    ("", Context(A), ["empty"]),
    ("  \t", Context(A), ["leading-space", "empty"]),
    (" NOOP", Context(T), ["leading-space"]),
    ("HELO x", Context(A), ["unknown-command"]),
    ("LIST  1", Context(T), ["(double-space)"]),
    ("LIST\t1", Context(T), ["tab"]),
    ("LIST \t 1", Context(T), ["tab"]),
    ("LIST 1 2", Context(T), ["extra-argument"]),
    ("LIST 1\u00a02", Context(T), ["bad-number", "(non-ascii)"][:1]),
    ("RETR", Context(T), ["missing-argument"]),
    ("RETR ", Context(T), ["(trailing-space)", "missing-argument"]),
    ("TOP 1", Context(T), ["missing-argument"]),
    ("TOP 1 0", Context(T), []),
    ("TOP 0 0", Context(T), ["zero"]),
    ("TOP 1 -1", Context(T), ["bad-number"]),
    ("RETR 0", Context(T), ["zero"]),
    ("RETR -1", Context(T), ["bad-number"]),
    ("RETR +1", Context(T), ["bad-number"]),
    ("RETR 1x", Context(T), ["bad-number"]),
    ("RETR 1_0", Context(T), ["bad-number"]),
    ("RETR ١", Context(T), ["bad-number"]),
    ("RETR １", Context(T), ["bad-number"]),
    ("RETR ²", Context(T), ["bad-number"]),
    ("RETR 01", Context(T), []),
    ("RETR 4294967297", Context(T), []),
    ("RETR 12345678901", Context(T), ["bad-number"]),
    ("RETR 1\n", Context(T), ["control", "bad-number"]),
    ("RETR 3", SOME, ["marked"]),
    ("RETR 7", SOME, []),
    ("RETR 8", SOME, ["no-such-message"]),
    ("RETR 4294967297", SOME, ["no-such-message"]),
    ("USER", Context(A), ["missing-argument"]),
    ("USER a b", Context(A), ["extra-argument"]),
    ("USER " + "x" * 40, Context(A), []),
    ("USER " + "x" * 41, Context(A), ["(long-argument)"]),
    ("USER é", Context(A), ["(non-ascii)"]),
    ("USER é", Context(A, done=frozenset({"UTF8"})), []),
    ("PASS x", Context(A), ["must-follow"]),
    ("PASS x", Context(A, "USER"), []),
    ("PASS", Context(A, "USER"), ["missing-argument"]),
    ("PASS ", Context(A, "USER"), []),  # the empty password
    ("PASS a  b ", Context(A, "USER"), []),  # RFC 1939 §7: blanks belong to it
    ("PASS\tx", Context(A, "USER"), ["tab"]),
    ("PASS x", Context(T, "USER"), ["wrong-state"]),
    ("PASS x\0", Context(A, "USER"), ["control"]),
    (f"APOP x {DIGEST}", Context(A), []),
    (f"APOP x {DIGEST.upper()}", Context(A), ["bad-digest"]),
    (f"APOP x {DIGEST[:-1]}", Context(A), ["bad-digest"]),
    ("APOP x", Context(A), ["missing-argument"]),
    ("AUTH", Context(A), ["missing-argument"]),
    ("AUTH PLAIN", Context(A), []),
    ("AUTH PLAIN =", Context(A), []),
    ("AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q=", Context(A), []),
    ("AUTH PLAIN =AAA", Context(A), ["bad-base64"]),  # RFC 5034 §4 names these two
    ("AUTH PLAIN AAA=BBB", Context(A), ["bad-base64"]),
    ("AUTH PLAIN AAA", Context(A), ["bad-base64"]),
    ("AUTH PLAIN AA*A", Context(A), ["bad-base64"]),
    ("AUTH PLAIN éé", Context(A), ["bad-base64", "(non-ascii)"]),
    ("AUTH PLAIN = =", Context(A), ["extra-argument"]),
    ("STLS", Context(A), []),
    ("STLS", Context(A, tls=True), ["already-tls"]),
    ("STLS", Context(A, done=frozenset({"UTF8"})), ["not-after"]),  # RFC 6856 §2.1
    ("STLS", Context(T, tls=True), ["wrong-state"]),
    ("LANG *", Context(T), []),
    ("LAST", Context(T), ["historic"]),
    ("RPOP x", Context(A), ["historic", "must-follow"]),
    ("XTND BBOARDS", Context(T), ["historic"]),
    ("NOOP " + "x" * 248, Context(T), ["extra-argument"]),  # 253 octets and CRLF
    ("NOOP " + "x" * 249, Context(T), ["too-long", "extra-argument"]),
    ("NOOP " + "é" * 124 + "x", Context(T), ["too-long", "extra-argument"]),
    ("NOOP \udcff", Context(T), ["extra-argument"]),
    ("NOOP \ud800", Context(T), ["extra-argument"]),  # a lone surrogate that stands for no octet
]


@pytest.mark.parametrize(("text", "context", "wanted"), OBJECTIONS)
def test_objections(text: str, context: Context, wanted: list[str]) -> None:
    line = parse(text, context)
    assert [f"({d.code})" if d.mild else d.code for d in line.diagnostics] == wanted
    grave = [code for code in wanted if not code.startswith("(")]
    assert (line.blunder.code if line.blunder else None) == (grave[0] if grave else None)
    assert all(line.has(code.strip("()")) for code in wanted)
    assert not line.has("no such code")


@pytest.mark.parametrize(
    "text", ["pa\xdf x", "\u017ftat", "\ufb06at", "l\u0131st", "LI\ufb06", "ＳＴＡＴ", "stat\u0307"]
)
def test_a_keyword_is_ascii(text: str) -> None:
    """`str.upper()` would make commands of them: "paß" becomes PASS, "ſtat" STAT."""
    line = parse(text, Context(T))
    assert line.spec is None
    assert line.name not in COMMANDS
    assert line.has("unknown-command")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_keyword_is_of_any_case(name: str) -> None:
    for text in (name, name.lower(), name.title(), name.swapcase()):
        assert parse(text).spec is COMMANDS[name]
        assert parse(text).name == name


@pytest.mark.parametrize(
    ("text", "many"),
    [
        ("LIST", True),
        ("LIST ", True),
        ("LIST 1", False),
        ("LIST\t1", False),
        ("uidl", True),
        ("LANG x", False),
        ("CAPA x", True),
        ("RETR", True),
        ("STAT", False),
        ("WHAT", False),  # never guess (curl#14201)
        ("", False),
    ],
)
def test_expects_multi_line(text: str, many: bool) -> None:
    assert parse(text).expects_multi_line is many


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("DELE 2", 2),
        ("TOP 7 9", 7),
        ("DELE x", None),
        ("DELE", None),
        ("STAT 2", None),
        ("LIST 01", 1),
        ("TOP x 1", None),
    ],
)
def test_message(text: str, number: int | None) -> None:
    assert parse(text).message == number


def test_tokens() -> None:
    line = parse("  top 12  3 x ", Context(T))
    assert [(t.start, t.end, t.text, t.role, t.param and t.param.name) for t in line.tokens] == [
        (2, 5, "top", Role.COMMAND, None),
        (6, 8, "12", Role.ARGUMENT, "msg"),
        (10, 11, "3", Role.ARGUMENT, "n"),
        (12, 13, "x", Role.EXTRA, None),
    ]
    assert line.arguments == ("12", "3", "x")
    assert line.state is T


# -- secrets (sec-K2, sec-K3) ----------------------------------------------------------------------------------------

AFTER_USER = Context(A, "USER")
SECRETS = [
    (f"PASS {CANARY}", Context(A), f"PASS {MASK}"),
    (f"  pass {CANARY}", Context(A), f"  pass {MASK}"),
    (f"PASS\t{CANARY}", Context(A), f"PASS\t{MASK}"),
    (f"PASS  {CANARY} {CANARY} ", Context(A), f"PASS {MASK}"),
    (f"PASS {CANARY}", Context(T), f"PASS {MASK}"),
    (f"PASS {CANARY}\nx", Context(A), f"PASS {MASK}"),
    (f"APOP mei {DIGEST}", Context(A), f"APOP mei {MASK}"),
    (f"apop mei {CANARY} {CANARY}", Context(A), f"apop mei {MASK} {MASK}"),
    (f"APOP mei\t{CANARY}", Context(A), f"APOP mei\t{MASK}"),
    (f"AUTH PLAIN {plain('mei', CANARY)}", Context(A), f"AUTH PLAIN {MASK}"),
    (f"AUTH PLAIN {plain('mei', CANARY)} {CANARY}", Context(A), f"AUTH PLAIN {MASK} {MASK}"),
    (f"AUTH {plain('mei', CANARY)}", Context(A), f"AUTH {MASK}"),  # no mechanism
    (f"auth x {CANARY}", Context(A), f"auth x {MASK}"),
    (f"AUHT PLAIN {plain('mei', CANARY)}", Context(A), f"AUHT PLAIN {MASK}"),
    (f"AUTHPLAIN {plain('mei', CANARY)}", Context(A), f"AUTHPLAIN {MASK}"),
    (plain("mei", CANARY), Context(A), MASK),  # the answer to a challenge that did not come
    (plain("mei", CANARY) + " x", Context(T), f"{MASK} x"),
    (f"PAS {CANARY}", AFTER_USER, f"PAS {MASK}"),
    (f"  pas {CANARY}", AFTER_USER, f"  pas {MASK}"),
    (f"PSAS {CANARY} x", AFTER_USER, f"PSAS {MASK}"),
    (f"PAS\t{CANARY}", AFTER_USER, f"PAS\t{MASK}"),
    (f"PASS{CANARY}", AFTER_USER, f"PASS{MASK}"),
    (f"pass:{CANARY} x", AFTER_USER, f"pass{MASK}"),
    (f"PASSWORD {CANARY}", AFTER_USER, f"PASS{MASK}"),
    (CANARY, AFTER_USER, MASK),  # the password alone
    (f"{CANARY} {CANARY}", AFTER_USER, MASK),
    (f"pa\xdf {CANARY}", AFTER_USER, f"pa\xdf {MASK}"),
    # without USER before them: whoever slips here meant to log in
    (f"PAS {CANARY}", Context(A), f"PAS {MASK}"),
    (f"PASSS {CANARY} x", Context(A), f"PASS{MASK}"),
    (f"pssa {CANARY}", Context(A), f"pssa {MASK}"),
    (f"PASD {CANARY}", Context(A), f"PASD {MASK}"),
    (f"PASS{CANARY}", Context(A), f"PASS{MASK}"),
    (f"PASSWORD {CANARY}", Context(State.CLOSED), f"PASS{MASK}"),
    (f"APO mei {CANARY}", Context(A), f"APO {MASK}"),
]


@pytest.mark.parametrize(("text", "context", "shown"), SECRETS)
def test_redacted(text: str, context: Context, shown: str) -> None:
    line = parse(text, context)
    assert line.redacted() == shown
    for view in (line.redacted(), line.name, repr(line), repr(line.tokens), repr(line.diagnostics)):
        assert CANARY not in view
        assert plain("mei", CANARY) not in view
        assert DIGEST not in view
    assert any(CANARY in secret or secret == DIGEST for secret in line.secrets)
    assert list(line.secrets) == sorted(line.secrets, key=len, reverse=True)


@pytest.mark.parametrize(
    "text", ["QUIT", "USER mei", "APOP mei", "AUTH PLAIN", "LIST 1", "HELP me", "", "PASS", "PASS ", "PAX", "TASK x y"]
)
def test_nothing_secret_nothing_masked(text: str) -> None:
    for context in (Context(A), Context(T)):
        assert parse(text, context).redacted() == text
        assert parse(text, context).secrets == ()


def test_the_mask_tells_nothing_of_the_length() -> None:
    assert parse("PASS x").redacted() == parse("PASS " + "x" * 200).redacted()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (plain("mei", "pw"), ("pw",)),
        (plain("mei", "pw", "hai"), ("pw",)),
        (blob("mei\0pw"), ("pw",)),  # the first NUL forgotten
        (blob("token"), ("token",)),
        (blob("mei\0pw\0"), ()),
        ("", ()),
        ("=", ()),
        ("not base64", ()),
        ("é", ()),
        ("/w==", ("\udcff",)),
    ],
)
def test_hidden_in_base64(text: str, wanted: tuple[str, ...]) -> None:
    assert hidden_in_base64(text) == wanted


# -- any text --------------------------------------------------------------------------------------------------------

BLANKS = st.text(alphabet=" \t", max_size=3)
WORDS = st.one_of(
    st.sampled_from(
        [*COMMANDS, "PAS", "1", "0", "=", plain("mei", CANARY), DIGEST, CANARY, "４", "\x00", "\ud800", "\udcff"]
    ),
    st.text(st.characters(exclude_categories=[]), max_size=8),  # surrogates too
)
TEXTS = st.lists(st.tuples(BLANKS, WORDS), max_size=5).map(lambda parts: "".join(a + b for a, b in parts))
CONTEXTS = st.builds(
    Context,
    state=st.sampled_from(State),
    follows=st.sampled_from(["", "USER", "AUTH"]),
    tls=st.booleans(),
    done=st.sampled_from([frozenset(), frozenset({"UTF8"})]),
    maildrop=st.sampled_from([MaildropView(), SOME.maildrop]),
)


def check_spans(line: CommandLine) -> None:
    end = 0
    for token in line.tokens:
        assert end <= token.start <= token.end <= len(line.text)
        assert token.text == line.text[token.start : token.end]
        end = token.end
    for diagnostic in line.diagnostics:
        assert 0 <= diagnostic.start <= diagnostic.end <= len(line.text)
    if line.tokens:
        assert [token.role for token in line.tokens].count(Role.COMMAND) == 1


@PROFILE
@given(TEXTS, CONTEXTS)
def test_any_text_is_parsed(text: str, context: Context) -> None:
    line = parse(text, context)
    check_spans(line)
    assert repr(line)
    assert line.redacted().count(MASK) == sum(t.secret and t.text != "" for t in line.tokens) + text.count(MASK)
    _ = line.message, line.blunder, line.expects_multi_line, line.arguments


@PROFILE
@given(BLANKS, st.sampled_from(["PASS ", "pass ", "PAS ", "PASSS ", "PASS\t", "X ", "PASS"]), TEXTS, CONTEXTS)
def test_a_password_is_never_shown(blanks: str, verb: str, around: str, context: Context) -> None:
    line = parse(blanks + verb + CANARY + around, Context(context.state, "USER"))
    assert CANARY not in line.redacted() + repr(line) + repr(line.tokens) + line.name
    assert any(CANARY in secret for secret in line.secrets)
