"""UTF-8 in the header of a message, a part or a message within; never in a body; and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import over

from popshell.server import maildrop
from popshell.server.maildrop import LARGEST_HEADER, MOST_HEADERS, body_start, has_utf8_header

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def multipart(*parts: str, boundary: str = "b", kind: str = "mixed", more: str = "") -> str:
    """A message whose parts are between boundary lines."""
    lines = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"{more}Content-Type: multipart/{kind}; boundary={boundary}\n\n{lines}--{boundary}--\n"


def octets(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


UTF8_PART = "Content-Description: 信\n\nbody"
PLAIN_PART = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n信"

NEED = {
    "its own header": "Subject: 信\n\nbody\n",
    "no empty line": "Subject: 信\n",
    "a part": multipart(PLAIN_PART, UTF8_PART),
    "a file name": multipart('Content-Disposition: attachment; filename="信.txt"\n\nbody'),
    "the boundary in quotes": multipart(UTF8_PART).replace("=b", '="b"'),
    "the field in two lines": multipart(UTF8_PART).replace("; ", ";\n\t"),
    "capitals": multipart(UTF8_PART).replace("Content-Type: multipart", "CONTENT-TYPE: Multipart"),
    "blanks behind the boundary line": multipart(UTF8_PART).replace("--b\n", "--b \t\n"),
    "no last boundary line": multipart(UTF8_PART).replace("--b--\n", ""),
    "a preamble": multipart(UTF8_PART).replace("\n\n--b", "\n\n信 is for old programs\n--b", 1),
    "a part within a part": multipart(multipart(UTF8_PART, boundary="c")),
    "one boundary begins like the other": multipart(multipart(UTF8_PART, boundary="bc")),
    "a message within": multipart("Content-Type: message/rfc822\n\nSubject: 信\n\nbody"),
    "a message/global within": multipart("Content-Type: message/global\n\nSubject: 信\n\nbody"),
    "a part of a message within": multipart("Content-Type: message/rfc822\n\n" + multipart(UTF8_PART, boundary="c")),
    "a digest": multipart("\nSubject: 信\n\nbody", kind="digest"),
    "a message alone": "Content-Type: message/rfc822\n\nSubject: 信\n\nbody\n",
}
NEED |= {
    "a delimiter within a header": "Content-Type: multipart/mixed; boundary=b\nX: y\n--b\n z\n\n--b\n" + UTF8_PART,
    "a boundary that ends with X": multipart(UTF8_PART, boundary="bX"),
    "a digest in a digest": multipart("\n" + multipart("\nA: 信\n\nx", kind="digest", boundary="c"), kind="digest"),
}
NEED_NOT = {
    "ASCII": multipart("Content-Description: a\n\nbody"),
    "8bit text": "Content-Transfer-Encoding: 8bit\n\n信\n",
    "no header": "\n信\n\n",
    "a part in 8bit": multipart(PLAIN_PART, PLAIN_PART),
    "a part without a header": multipart("\nSubject: 信"),
    "what looks like a part in a text": "Subject: a\n\n--b\nSubject: 信\n\nbody\n--b--\n",
    "a preamble": multipart(PLAIN_PART).replace("\n\n--b", "\n\nSubject: 信\n--b", 1),
    "behind the last boundary line": multipart(PLAIN_PART) + "--b\nSubject: 信\n\nx\n",
    "a boundary that goes on": multipart("\nx").replace("--b--", "--bx\nSubject: 信\n\n--b--"),
    "a form feed at the boundary line": multipart(UTF8_PART).replace("--b\n", "--b\f\n"),
    "a boundary that is none": "Content-Type: multipart/mixed\n\n--b\nSubject: 信\n\nbody\n",
    "a boundary that the text has only in mid-line": multipart("\n x --b\nSubject: 信\n\nbody"),
}


@over("name", NEED)
def test_needs_utf8(name: str) -> None:
    assert has_utf8_header(octets(NEED[name]))


@over("name", NEED_NOT)
def test_needs_no_utf8(name: str) -> None:
    assert not has_utf8_header(octets(NEED_NOT[name]))


def nested(depth: int) -> str:
    text = UTF8_PART
    for level in range(depth):
        text = multipart(text, boundary=f"b{level}.")
    return text


class TestBounds:
    """Headers of 64 KiB, 1000 parts; depth needs no limit, as nothing recurses."""

    def test_depth(self) -> None:
        assert has_utf8_header(octets(nested(500)))

    @over("parts", [MOST_HEADERS, 100_000])
    def test_parts(self, parts: int) -> None:
        assert has_utf8_header(octets(multipart(*["\n"] * (MOST_HEADERS - 2), UTF8_PART)))
        assert not has_utf8_header(octets(multipart(UTF8_PART.replace("信", "x"), *["\n"] * parts, UTF8_PART)))

    def test_delimiter_lines(self) -> None:
        many = "\n".join(f"--{number}" for number in range(20_000))
        assert has_utf8_header(octets(multipart("\n" + many[:20_000], UTF8_PART)))
        assert not has_utf8_header(octets(multipart("\n" + many, UTF8_PART)))

    def test_delimiter_lines_within_a_header_are_no_parts(self) -> None:
        head = "Content-Type: multipart/mixed; boundary=b\nX: y\n" + "--b\n" * (MOST_HEADERS + 1)
        assert has_utf8_header(octets(f"{head}\n--b\n{UTF8_PART}"))

    def test_a_content_type_beyond_the_first_64_kib_is_not_read(self) -> None:
        filler = "X: y\n" * (LARGEST_HEADER // 8)
        assert has_utf8_header(octets(multipart(UTF8_PART, more=filler)))
        assert not has_utf8_header(octets(multipart(UTF8_PART, more=filler * 2)))

    def test_utf8_beyond_them_is_seen(self) -> None:
        assert has_utf8_header(octets("X: y\n" * LARGEST_HEADER + "Subject: 信\n\n"))

    def test_the_parts_are_not_looked_for_in_ascii(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(maildrop, "body_start", None)
        assert not has_utf8_header(octets(multipart("A: b\n\nbody")))


@over(
    "hostile",
    [
        b'Content-Type: multipart/x; boundary="' * 20_000 + b"\xff",
        b"Content-Type: multipart/x" + b"; boundary" * 6_000 + b"\r\n\r\n\xff",
        b"Content-Type: multipart/x" + b";   \t  " * 9_000 + b"\r\n\r\n\xff",
        b"Content-Type: multipart/x; boundary=-\r\n\r\n\xff" + b"\r\n---" * 200_000,
        b"Content-Type:" + b"\r\n " * 20_000 + b"\r\n\r\n\xff",
        b"Content-Type: message/rfc822\r\n\r\n" * 50_000 + b"\r\n\xff",
    ],
)
def test_hostile_mail_is_looked_through(hostile: bytes) -> None:
    assert has_utf8_header(hostile) in (True, False)


LINES = (
    "Content-Type: multipart/mixed; boundary=c\n",
    "A: 信\n",
    "信\n",
    "\n",
    "--b\n",
    "--b--\n",
    "--c\n",
    "\r",
    "--b",
)


@PROFILE
@given(
    st.lists(
        st.sampled_from([multipart("").partition("\n")[0] + "\n", "Content-Type: message/rfc822\n", *LINES]),
        max_size=14,
    )
)
def test_no_header_no_refusal(pieces: list[str]) -> None:
    """It never raises, and finds nothing where nothing is outside ASCII."""
    content = octets("".join(pieces))
    assert has_utf8_header(content) <= (not content.isascii())
    assert 0 <= body_start(content) <= len(content)
