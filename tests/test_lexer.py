"""lexer: golden files in the form of pygments' own, `tests/lexer/*.txt`.

After a change that is meant: `UPDATE_GOLDENS=1 python -m pytest tests/test_lexer.py`, then read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygments import lexers
from pygments.token import Keyword, Literal, Text

from popshell.protocol.commands import COMMANDS
from popshell.ui import theme
from popshell.ui.lexer import TOKENS, DarkStyle, LightStyle, Pop3Lexer

PROFILE = settings(max_examples=200, deadline=None, derandomize=True, database=None)
GOLDENS = sorted((Path(__file__).parent / "lexer").glob("*.txt"))
SECRET = Literal.String.Secret


def lex(text: str) -> list[tuple[str, str]]:
    """Tokens as the golden files write them."""
    return [(value, str(token).removeprefix("Token.")) for token, value in Pop3Lexer(stripnl=False).get_tokens(text)]


def written(tokens: list[tuple[str, str]]) -> str:
    """One token a line, a blank line behind each line of the input, as in pygments' tests."""
    lines = []
    for value, token in tokens:
        lines.append(f"{value!r:<13} {token}")
        if value.endswith("\n"):
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
def test_golden(golden: Path) -> None:
    comment, _, rest = golden.read_text(encoding="utf-8").partition("---input---\n")
    source, _, expected = rest.partition("\n---tokens---\n")
    found = written(lex(source))
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(f"{comment}---input---\n{source}\n---tokens---\n{found}", encoding="utf-8")
    else:
        assert found == expected


def test_there_are_goldens() -> None:
    assert len(GOLDENS) >= 8


def test_pygments_finds_it() -> None:
    assert isinstance(lexers.get_lexer_by_name("pop3"), Pop3Lexer)
    assert isinstance(lexers.get_lexer_for_filename("session.pop3"), Pop3Lexer)
    assert isinstance(lexers.get_lexer_for_mimetype("text/x-pop3"), Pop3Lexer)


def test_every_command_is_a_keyword_at_the_start_of_a_line_only() -> None:
    for name in COMMANDS:
        assert (name, "Keyword") in lex(f"C: {name}\n")
        assert not any(token.startswith("Keyword") for _, token in lex(f"S: -ERR no such {name.lower()}\n"))
        assert not any(token.startswith("Keyword") for _, token in lex(f"{name} without a prefix\n"))


def test_secrets_have_a_type_of_their_own() -> None:
    cases: list[tuple[str, list[str]]] = [
        ("C: PASS two words\n", ["two words"]),
        ("C: pass x\n", ["x"]),
        ("C: APOP bob c4c9334bac560ecc979e58001b3e22fb\n", ["c4c9334bac560ecc979e58001b3e22fb"]),
        ("C: AUTH PLAIN AGJvYgBw\n", ["AGJvYgBw"]),
        ("C: AUTH LOGIN\nS: + VXNlcg==\nC: Ym9i\nS: + UGFzcw==\nC: cHc=\nS: +OK\nC: STAT\n", ["Ym9i", "cHc="]),
        ("C: AUTH PLAIN\nS: +\nC: *\nS: -ERR cancelled\n", []),
        ("C: USER bob\nS: +OK\nC: PAS secret\n", ["secret"]),
        (" C: PASS x\n", ["x"]),
        ("S: +OK PASS x\n", []),
    ]
    for transcript, secrets in cases:
        assert [value for value, token in lex(transcript) if token == "Literal.String.Secret"] == secrets, transcript


def test_types_are_plain_pygments_types_below() -> None:
    """A style that knows nothing of us colours our tokens as their parents."""
    assert SECRET in Literal.String
    assert TOKENS["command"] is Keyword
    assert set(TOKENS) <= set(theme.STYLES)
    for style, name in ((DarkStyle, "dark"), (LightStyle, "light")):
        for style_name, token in TOKENS.items():
            drawn = style.style_for_token(token)
            words = theme.words(style_name, name).split()
            assert drawn["bold"] == ("bold" in words), (name, style_name)
            colour = next((word[1:] for word in words if word[0] == "#"), None)
            assert drawn["color"] == colour, (name, style_name)


@PROFILE
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["C: ", "S: ", "C:", "", " S: ", "✔S: ", " S| ", "#"]),
            st.sampled_from(
                ["", ".", "..", "+OK", "-ERR x", "+ eA==", "RETR 1", "LIST", "UIDL", "CAPA", "PASS x", "a: b", "..."]
            )
            | st.text(st.characters(exclude_characters="\n\r"), max_size=9),
        ),
        max_size=12,
    )
)
def test_tokens_add_up_to_the_input(lines: list[tuple[str, str]]) -> None:
    text = "".join(prefix + line + "\n" for prefix, line in lines)
    tokens = list(Pop3Lexer(stripnl=False, ensurenl=False).get_tokens(text))
    assert "".join(value for _, value in tokens) == text
    position = 0
    for start, token, value in Pop3Lexer(stripnl=False).get_tokens_unprocessed(text):
        assert start == position
        assert str(token) != "Token.Error"
        position += len(value)


def test_a_mail_that_quotes_a_dialogue_stays_a_mail() -> None:
    transcript = "C: RETR 1\nS: +OK\nS:\nS: +OK 2 320\nS: -ERR [IN-USE]\nS: .\nS: +OK 2 320\n"
    found = list(Pop3Lexer().get_tokens(transcript))
    assert (Text, "+OK 2 320") in found
    assert (TOKENS["err"], "-ERR") not in found
    assert found.count((TOKENS["ok"], "+OK")) == 2


@pytest.mark.parametrize(
    "transcript",
    [
        "C: RETR 1\nS: +OK\nC: STAT\nS: +OK 2 320\n",  # the mail was left out
        "C: RETR 1\n...\nC: STAT\nS: +OK\nS: +OK 2 320\n",  # the reply was left out
    ],
)
def test_what_is_left_out_is_not_waited_for(transcript: str) -> None:
    assert list(Pop3Lexer().get_tokens(transcript)).count((TOKENS["ok"], "+OK")) == 2
