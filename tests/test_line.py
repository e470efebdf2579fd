"""Parsing of one line: tokens, objections, masked form; what a reply to it moves. Any text is parsed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support import each, plain

from popshell.course.player import in_flight
from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.line import MASK, CommandLine, Context, Role, advance, parse, tls_on
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
    ("RETR 12345678901", Context(T), []),
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
    ("PASS a  b ", Context(A, "USER"), ["(trailing-space)"]),  # RFC 1939 §7: blanks belong to it
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
    ("STAT 1 2", Context(T), ["extra-argument", "extra-argument"]),
    ("TOP 3 x", SOME, ["bad-number", "marked"]),  # what the maildrop says comes after what the form says
    ("TOP 8 x", SOME, ["bad-number", "no-such-message"]),
    ("NOOP x\r", Context(T), ["control", "extra-argument"]),
    ("NOOP \udcff", Context(T), ["extra-argument"]),
    ("NOOP \ud800", Context(T), ["extra-argument"]),  # a lone surrogate that stands for no octet
]


def test_objections() -> None:
    def check(text: str, context: Context, wanted: list[str]) -> None:
        line = parse(text, context)
        assert [f"({d.code})" if d.mild else d.code for d in line.diagnostics] == wanted
        grave = [code for code in wanted if not code.startswith("(")]
        assert (line.objection.code if line.objection else None) == (grave[0] if grave else None)
        assert all(line.has(code.strip("()")) for code in wanted)
        assert not line.has("no such code")

    each(OBJECTIONS, check)


def test_where_an_objection_points() -> None:
    def check(text: str, context: Context, code: str, pointed_at: str) -> None:
        (found,) = [d for d in parse(text, context).diagnostics if d.code == code]
        assert text[found.start : found.end] == pointed_at
        assert found.end - found.start == len(pointed_at)

    each(
        [
            ("  LIST", Context(T), "leading-space", "  "),
            ("LIST  1", Context(T), "double-space", "  "),
            ("LIST \t1", Context(T), "tab", " \t"),
            ("PASS\tx", Context(A), "tab", "\t"),
            ("STAT  ", Context(T), "trailing-space", "  "),
            ("  ", Context(T), "empty", "  "),
            ("HELO x", Context(A), "unknown-command", "HELO"),
            (" RETR x", Context(T), "bad-number", "x"),
            ("TOP 3 0", SOME, "marked", "3"),
            ("TOP 8 0", SOME, "no-such-message", "8"),
            ("LIST 1 2", Context(T), "extra-argument", "2"),
            ("STAT", Context(A), "wrong-state", "STAT"),
            ("RETR", Context(T), "missing-argument", ""),
            ("NOOP\n", Context(T), "control", "NOOP\n"),
            ("NOOP " + "x" * 249, Context(T), "too-long", "NOOP " + "x" * 249),
        ],
        check,
    )


def test_a_keyword_is_ascii() -> None:
    """`str.upper()` would make commands of them: "paß" becomes PASS, "ſtat" STAT."""

    def check(text: str) -> None:
        line = parse(text, Context(T))
        assert line.spec is None
        assert line.name not in COMMANDS
        assert line.has("unknown-command")

    each(((text,) for text in KEYWORDS_OF_OTHER_SCRIPTS), check)


KEYWORDS_OF_OTHER_SCRIPTS = ["pa\xdf x", "\u017ftat", "\ufb06at", "l\u0131st", "LI\ufb06", "ＳＴＡＴ", "stat\u0307"]


def test_a_keyword_is_of_any_case() -> None:
    for name in COMMANDS:
        for text in (name, name.lower(), name.title(), name.swapcase()):
            assert parse(text).spec is COMMANDS[name], text
            assert parse(text).name == name, text


def test_which_replies_go_on_to_a_dot_line() -> None:
    def check(text: str, many: bool) -> None:
        assert parse(text).expects_multi_line is many

    each(
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
        check,
    )


def test_the_message_that_a_line_names() -> None:
    def check(text: str, number: int | None) -> None:
        assert parse(text).message == number

    each(
        [
            ("DELE 2", 2),
            ("TOP 7 9", 7),
            ("DELE x", None),
            ("DELE", None),
            ("STAT 2", None),
            ("LIST 01", 1),
            ("TOP x 1", None),
        ],
        check,
    )


def test_advance_moves_by_the_table() -> None:
    """The state that the reply leads to, what came last, and what is done."""
    some = frozenset({"CAPA"})

    def check(state: State, text: str, ok: bool, wanted: tuple[State, str, set[str]]) -> None:
        context = Context(state, "USER", True, some, SOME.maildrop, True)
        moved = advance(context, parse(text, context), ok)
        assert (moved.state, moved.follows, set(moved.done - some)) == wanted
        assert moved.refused is (not ok and text.startswith("PASS")), "only a refused login is remembered"
        assert moved._replace(state=state, follows="USER", done=some, refused=False) == context, "nothing else moves"

    each(
        [
            (A, "PASS x", True, (T, "PASS", {"PASS"})),
            (A, "PASS x", False, (A, "", set())),
            (A, "CAPA", True, (A, "CAPA", set())),
            (A, "STAT", True, (A, "STAT", {"STAT"})),  # a server that takes it where it is not legal
            (A, "HELP", True, (A, "", set())),
            (A, "", False, (A, "", set())),
            (A, "QUIT", True, (State.CLOSED, "QUIT", {"QUIT"})),
            (A, "QUIT", False, (A, "", set())),
            (T, "QUIT", True, (State.UPDATE, "QUIT", {"QUIT"})),
            (T, "QUIT", False, (State.UPDATE, "", set())),  # RFC 1939 §6: messages that were not removed
            (T, "QUIT ", False, (State.UPDATE, "", set())),  # a mild objection is none
            (T, "QUIT x", False, (T, "", set())),  # refused for its form
            (A, "STLS", True, (A, "STLS", {"STLS"})),  # TLS is not on yet
            (A, "AUTH", True, (A, "", set())),  # it lists mechanisms, and is no login
            (T, "RETR pass x", False, (T, "", set())),
        ],
        check,
    )


def test_what_tls_lets_be_forgotten() -> None:
    before = Context(A, "STLS", done=frozenset({"USER", "STLS"}), utf8_user=True)
    assert tls_on(before) == Context(A, "", True, before.done)
    assert tls_on(before._replace(refused=True)) == Context(A, "", True, before.done)


def test_a_refused_login_is_forgotten_with_the_next_command_that_is_known() -> None:
    refused = Context(A, refused=True)
    for text in ("AUTH", "CAPA", "STAT"):
        assert advance(refused, parse(text, refused), ok=True).refused is False, text
    assert advance(refused, parse("hunter2", refused), ok=False).refused is True


def test_the_lines_of_a_flight() -> None:
    def check(text: str, *wanted: str) -> None:
        assert in_flight(text) == list(wanted)

    each(
        [
            ("STAT | LIST", "STAT", "LIST"),
            ("STAT|  RETR 1  |", "STAT", "RETR 1"),
            ("STAT",),
            ("| STAT",),
            ("STAT | :quit",),
            (":quit | STAT | LIST",),
            ("",),
        ],
        check,
    )


def test_tokens() -> None:
    line = parse("  top 12  3 x ", Context(T))
    assert [(t.start, t.end, t.text, t.role, t.param and t.param.name) for t in line.tokens] == [
        (2, 5, "top", Role.COMMAND, None),
        (6, 8, "12", Role.NUMBER, "msg"),
        (10, 11, "3", Role.NUMBER, "n"),
        (12, 13, "x", Role.EXTRA, None),
    ]
    assert line.arguments == ("12", "3", "x")
    assert line.state is T


def test_the_role_of_a_token_names_its_style() -> None:
    """Typed and sent lines are coloured by it alone, so that they look alike."""

    def check(text: str, context: Context, *styles: str) -> None:
        line = parse(text, context)
        assert tuple(token.role.value for token in line.tokens) == styles
        assert tuple(token.role.value for token in line.masked().tokens) == styles

    each(
        [
            ("RETR 1", Context(T), "command", "number"),
            ("retr x", Context(T), "command", "argument"),
            ("TOP 1 0 9", Context(T), "command", "number", "number", "extra"),
            ("USER 12", Context(A), "command", "argument"),
            ("AUTH PLAIN =", Context(A), "command", "mechanism", "secret"),
            ("LANG en", Context(A), "command", "argument"),
            ("HELP me 1", Context(T), "command-unknown", "argument", "argument"),
            ("PASS x y", Context(A), "command", "secret"),
            ("PAS x", Context(A), "command-unknown", "secret"),
            ("APOP mei 0 1", Context(A), "command", "argument", "secret", "secret"),
        ],
        check,
    )


def test_a_masked_line_keeps_its_tokens() -> None:
    line = parse(f" APOP mei {DIGEST}  x ", Context(A)).masked()
    assert line.text == f" APOP mei {MASK}  {MASK} "
    assert [line.text[token.start : token.end] for token in line.tokens] == ["APOP", "mei", MASK, MASK]
    assert [token.text for token in line.tokens] == ["APOP", "mei", MASK, MASK]
    assert (line.spec, line.context, line.diagnostics) == (COMMANDS["APOP"], Context(A), ())
    assert [token.param and token.param.name for token in line.tokens] == [None, "name", "digest", None]
    plain_line = parse("RETR 1", Context(T))
    assert repr(plain_line.tokens[1]) == "Token(5, 6, '1', number)"
    assert plain_line.masked() is plain_line


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
        assert [token.role in (Role.COMMAND, Role.UNKNOWN) for token in line.tokens].count(True) == 1


@PROFILE
@given(TEXTS, CONTEXTS)
def test_any_text_is_parsed(text: str, context: Context) -> None:
    line = parse(text, context)
    check_spans(line)
    assert repr(line)
    assert line.redacted().count(MASK) == sum(t.secret and t.text != "" for t in line.tokens) + text.count(MASK)
    _ = line.message, line.objection, line.expects_multi_line, line.arguments
