"""maildrop: octets, unique-ids, stuffing in slices, the lock, and that only UPDATE removes."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import default_messages, message, over

from popshell.protocol.mechanisms import PRACTICE_SCOPE
from popshell.protocol.wire import ReplyLimits, ReplyReader, stuff, unstuff
from popshell.server import maildrop as module
from popshell.server.maildrop import (
    Accounts,
    Maildrop,
    Message,
    from_files,
    in_ascii,
    read_directory,
    stuffed_slices,
    stuffed_whole,
)
from popshell.server.mailserver import practice_token

PROFILE = settings(max_examples=400, deadline=None, derandomize=True, database=None)


class TestFromFiles:
    """RFC 1939 §11: CRLF line ends, counted as two octets."""

    @over(
        "raw, content",
        [
            (b"A: b\n\nbody\n", b"A: b\r\n\r\nbody\r\n"),
            (b"A: b\r\n\r\nbody\r\n", b"A: b\r\n\r\nbody\r\n"),
            (b"A: b\r\n\nbody\n", b"A: b\r\n\r\nbody\r\n"),
            (b"A: b\n\nbody", b"A: b\r\n\r\nbody\r\n"),  # no final newline
            (b"A: b\n", b"A: b\r\n\r\n"),  # a header alone ends with an empty line
            (b"A: b", b"A: b\r\n\r\n"),
            (b"\nbody", b"\r\nbody\r\n"),
            (b"", b"\r\n"),
            (b"A: b\n\na\rb\0\xff\n", b"A: b\r\n\r\na\rb\0\xff\r\n"),
            (b"A: b\n\na\r\r\n", b"A: b\r\n\r\na\r\r\n"),
            (b"\xef\xbb\xbfA: b\n\n\xef\xbb\xbf\n", b"A: b\r\n\r\n\xef\xbb\xbf\r\n"),  # only at the beginning
        ],
    )
    def test_line_ends(self, raw: bytes, content: bytes) -> None:
        assert message(raw).content == content
        assert message(raw).octets == len(content)

    def test_order_of_names(self) -> None:
        found = from_files([("b", b"B: 2\n\n"), ("a", b"A: 1\n\n"), ("10", b"N: 0\n\n")])
        assert [m.content[:1] for m in found] == [b"N", b"A", b"B"]

    def test_unique_ids(self) -> None:
        """RFC 1939 §7: 1 to 70 characters 0x21 to 0x7E, unique in the maildrop, the same in every session."""
        files = [(str(n), b"A: %d\n\n" % (n % 3)) for n in range(7)]
        ids = [m.unique_id for m in from_files(files)]
        assert len(set(ids)) == 7
        assert ids[0] == "lv6a3afx4zopnpmz", "as it was in the first version: it lasts"
        assert all(1 <= len(i) <= 70 and all("!" <= ch <= "~" for ch in i) for i in ids)
        assert ids == [m.unique_id for m in from_files(reversed(files))]
        assert ids[3] == ids[0] + ".2"


class TestReadDirectory:
    def test_only_mail(self, tmp_path: Path) -> None:
        (tmp_path / "b.eml").write_bytes(b"B: 2\n\n")
        (tmp_path / "a.eml").write_bytes(b"A: 1\n\n")
        (tmp_path / "c.txt").write_bytes(b"C: 3\n\n")
        (tmp_path / "C.EML").write_bytes(b"C: 3\n\n")
        (tmp_path / "0.Eml").write_bytes(b"Z: 0\n\n")
        (tmp_path / "d.eml").mkdir()
        assert [m.content for m in read_directory(tmp_path)] == [
            b"Z: 0\r\n\r\n",
            b"C: 3\r\n\r\n",
            b"A: 1\r\n\r\n",
            b"B: 2\r\n\r\n",
        ]

    def test_what_is_no_file_is_passed_over(self, tmp_path: Path) -> None:
        """A pipe would be waited for, and a device never ends."""
        (tmp_path / "a.eml").write_bytes(b"A: 1\n\n")
        os.mkfifo(tmp_path / "b.eml")
        (tmp_path / "c.eml").symlink_to("/dev/zero")
        (tmp_path / "d.eml").symlink_to("none")
        (tmp_path / "._a.eml").write_bytes(b"macOS keeps more about a.eml here\n")
        assert [m.content for m in read_directory(tmp_path)] == [b"A: 1\r\n\r\n"]

    def test_a_missing_directory(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_directory(tmp_path / "none")

    @pytest.mark.parametrize(
        ("limit", "most"), [("LARGEST_MESSAGE", 5), ("LARGEST_MAILDROP", 11), ("MOST_MESSAGES", 1)]
    )
    def test_limits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
        (tmp_path / "a.eml").write_bytes(b"A: 1\n\n")
        (tmp_path / "b.eml").write_bytes(b"B: 2\n\n")
        assert len(read_directory(tmp_path)) == 2
        monkeypatch.setattr(module, limit, most)
        with pytest.raises(module.TooLarge) as caught:
            read_directory(tmp_path)
        assert caught.value.name == ("b.eml" if limit != "LARGEST_MESSAGE" else "a.eml")
        monkeypatch.setattr(module, limit, most + 1)
        assert len(read_directory(tmp_path)) == 2, "the limit itself is allowed"


class TestTop:
    """RFC 1939 §7: header, empty line, n lines of the body; all of it if there are fewer."""

    @over(
        "lines, wanted",
        [
            (0, b"A: b\r\n\r\n"),
            (1, b"A: b\r\n\r\n1\r\n"),
            (2, b"A: b\r\n\r\n1\r\n\r\n"),
            (3, None),
            (4, None),
            (9_999_999_999, None),
        ],
    )
    def test_lines(self, lines: int, wanted: bytes | None) -> None:
        content = b"A: b\r\n\r\n1\r\n\r\n3\r\n"
        assert Message(content, "u").top(lines) == (wanted or content)

    def test_without_header(self) -> None:
        content = b"\r\nbody\r\n\r\nmore\r\n"
        assert Message(content, "u").top(0) == b"\r\n"
        assert Message(content, "u").top(1) == b"\r\nbody\r\n"

    def test_without_empty_line(self) -> None:
        assert Message(b"A: b\r\n", "u").top(0) == b"A: b\r\n"

    @over(
        "content, needs",
        [
            ("A: b\r\n\r\né\r\n", False),
            ("A: é\r\n\r\nb\r\n", True),
            ("A: é\r\n", True),
            ("\r\né\r\n\r\n", False),
        ],
    )
    def test_needs_utf8(self, content: str, needs: bool) -> None:
        assert Message(content.encode(), "u").needs_utf8 is needs


# -- byte-stuffing across the borders of slices (sec-V13) --------------------------------------------------------------

CONTENT = st.text(alphabet="\r\n.a", max_size=60).map(lambda text: text.encode() + b"\r\n")


@PROFILE
@given(CONTENT, st.integers(1, 9))
def test_slices_are_what_stuffing_at_once_gives(content: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLICE", size)
        slices = list(stuffed_slices(content))
    sent = b"".join(slices)
    assert sent == stuffed_whole(content) == stuff(content) + b".\r\n"
    assert unstuff(sent) == content
    assert max(map(len, slices)) <= 2 * (size + 1) + 2  # every octet a dot, and a CRLF that is not cut
    reader = ReplyReader(ReplyLimits())
    reader.begin(b"")
    reader.feed(sent + b"+OK\r\n")
    assert (kept := reader.content(None)) is not None
    assert kept.raw == sent


@over("content", [b"a\r\r\n.b\r\n", b"\r\n\r\n.b\r\n", b"\r\r\r\n.\r\n", b".\r\n", b"..\r\n.\r\n", b"a\r\n"])
@over("size", range(1, 7))
def test_a_dot_behind_any_border_is_stuffed(content: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", size)
    assert unstuff(b"".join(stuffed_slices(content))) == content


def test_content_without_a_last_crlf_gets_one() -> None:
    assert b"".join(stuffed_slices(b"a")) == b"a\r\n.\r\n"
    assert b"".join(stuffed_slices(b"")) == b".\r\n"


@over("pattern", [b"x" * 70 + b"\r\n", b".\r\n", b"\r", b"."])
def test_a_long_message_comes_in_slices(pattern: bytes) -> None:
    content = pattern * (20 * 1024 * 1024 // len(pattern)) + b"\r\n"
    size = most = 0
    for piece in stuffed_slices(content):
        size += len(piece)
        most = max(most, len(piece))
    assert most <= 512 * 1024 + 4
    assert size >= len(content) + 3


def test_a_long_message_without_dots_is_the_same_each_time() -> None:
    """The second time nothing is searched for: slices of the content, and the terminator."""
    for content in (b"a\r\n" * 300_000, b"x" * 600_000, b"x" * 524_288, b"y\r\n" * 87_382 + b"..\r\n"):
        mail = Message(content, "u")
        first, second = (list(mail.stuffed()) for _ in range(2))
        assert b"".join(first) == b"".join(second) == stuffed_whole(content)
        assert max(map(len, second)) <= 262_144 + 10
        if b"\n.." not in stuffed_whole(content):
            assert [*map(len, second[:-1])] == [
                *(min(262_144, len(content) - at) for at in range(0, len(content), 262_144))
            ]
        assert len(second) >= len(content) // 262_144 + 1


def test_a_short_message_is_prepared_once() -> None:
    mail, longest = Message(b".a\r\n", "u"), Message(b"x" * 262_144, "u")
    assert mail.stuffed() == b"..a\r\n.\r\n"
    assert mail.stuffed() is mail.stuffed()
    assert longest.stuffed() == longest.content + b"\r\n.\r\n"
    assert not isinstance(Message(b"x" * 262_145, "u").stuffed(), bytes)


# -- the lock, and UPDATE ----------------------------------------------------------------------------------------------


class TestMaildrop:
    def test_the_lock(self) -> None:
        drop = Maildrop(default_messages())
        first = drop.open()
        assert first is not None
        assert drop.in_use
        assert drop.open() is None
        first.release()
        second = drop.open()
        assert second is not None
        first.release()  # twice, and not by its holder: nothing happens
        assert drop.in_use
        assert drop.open() is None

    def test_only_update_removes(self) -> None:
        drop = Maildrop(default_messages())
        opened = drop.open()
        assert opened is not None
        opened.marks |= {1, 7}
        opened.release()
        assert drop.messages == default_messages()
        opened = drop.open()
        assert opened is not None
        assert opened.marks == set()
        opened.marks |= {1, 7}
        opened.update()
        assert drop.messages == default_messages()[1:-1]
        assert not drop.in_use

    def test_copies_are_removed_one_by_one(self) -> None:
        drop = Maildrop(from_files([("a", b"A: 1\n\n"), ("b", b"A: 1\n\n")]))
        opened = drop.open()
        assert opened is not None
        opened.marks.add(1)
        opened.update()
        assert len(drop.messages) == 1

    def test_numbers(self) -> None:
        opened = Maildrop(default_messages()).open()
        assert opened is not None
        assert opened.get(1) is default_messages()[0]
        assert opened.get(7) is default_messages()[6]
        for number in (0, -1, 8, 4294967297, 2**64 + 1):
            assert opened.get(number) is None  # never wraps
        opened.marks.add(1)
        assert opened.get(1) is default_messages()[0]
        assert [n for n, _ in opened.unmarked()] == [2, 3, 4, 5, 6, 7]
        assert opened.drop_listing() == (6, sum(m.octets for m in default_messages()[1:]))

    def test_fork(self) -> None:
        drop = Maildrop(default_messages())
        everything = (1, 2, 3, 4, 5, 6, 7)
        assert drop.fork() == (everything, everything)
        opened = drop.open()
        assert opened is not None
        opened.marks |= {2, 3}
        assert drop.fork() == ((1, 4, 5, 6, 7), everything)
        assert (opened.marks, drop.in_use, drop.messages) == ({2, 3}, True, default_messages())
        drop.messages = default_messages()[:1]  # the session keeps what it opened
        assert drop.fork() == ((1, 4, 5, 6, 7), everything)


#: A message, and the same in ASCII: fields as encoded-words (RFC 2047), bodies in base64 (RFC 2045 §6.8).
IN_ASCII = [
    ("Subject: 信\nTo: a@b\n\nhi", "Subject: =?utf-8?b?5L+h?=\nTo: a@b\n\nhi\n"),
    ("Subject: 信\n 信\n\n", "Subject: =?utf-8?b?5L+hIOS/oQ==?=\n\n"),
    ("Subject: \udcff\nTo: a\n b\n\n", "Subject: =?utf-8?b?77+9?=\nTo: a\n b\n\n"),
    (
        "Subject: 信\nContent-Type: text/plain; charset=big5\nContent-Transfer-Encoding: 8bit\n\n信\n",
        "Subject: =?utf-8?b?5L+h?=\nContent-Type: text/plain; charset=big5\n"
        "Content-Transfer-Encoding: base64\n\n5L+hDQo=\n",
    ),
    (
        "X: y\n\n信\n",
        'X: y\nContent-Transfer-Encoding: base64\nContent-Type: text/plain; charset="utf-8"\n\n5L+hDQo=\n',
    ),
    (
        "Content-Type: image/png\nContent-Transfer-Encoding: BINARY\n\n信\n",
        "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n5L+hDQo=\n",
    ),
    *(
        tuple(
            f"Subject: {subject}\nContent-Transfer-Encoding: {way}\n\n{body}\n"
            for subject in ("信", "=?utf-8?b?5L+h?=")
        )
        for way, body in (("Base64", "5L+h"), ("Quoted-Printable", "=E4=BF=A1"))
    ),
    (
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: 信\n\n信\n--b\n\nhi\n--b--\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: =?utf-8?b?5L+h?=\nContent-Transfer-Encoding: base64\n"
        'Content-Type: text/plain; charset="utf-8"\n\n5L+h\n\n--b\n\nhi\n--b--\n',
    ),
    # What cannot be taken apart, as for UTF-8 between the parts: the fields that are ASCII.
    (
        "Subject: 信\n 2\nTo: a\n b\nContent-Type: multipart/mixed; boundary=b\n\n信\n--b\n\nTo: c\n--b--\n",
        "To: a\n b\nContent-Type: multipart/mixed; boundary=b\n\n",
    ),
]


@over("mail, wanted", IN_ASCII)
def test_a_message_in_ascii(mail: str, wanted: str) -> None:
    octets = mail.replace("\n", "\r\n").encode("utf-8", "surrogateescape")
    assert in_ascii(octets).decode() == wanted.replace("\n", "\r\n")


def test_a_surrogate_keeps_the_unique_id_and_is_made_once() -> None:
    mail = Message("Subject: 信\r\n\r\n".encode(), "u")
    assert mail.surrogate().unique_id == "u"
    assert mail.surrogate() is mail.surrogate()


def test_what_a_token_opens() -> None:
    """The practice server's tokens are JWTs whose time is kept; others last."""
    names = {
        practice_token("mei", 1): "mei",
        practice_token("lin"): "lin",
        "信": "a",
        "s\u00adoft": "s\u00adoft",
        "t": "\u0221",
    }
    accounts = Accounts({}, (), lambda: names)
    for token, name in (
        (practice_token("mei", 1), None),
        (practice_token("lin"), "lin"),
        (practice_token("lin") + "=", None),
        ("信", "a"),
        ("\udcff", None),
        ("", None),
        ("s\u00adoft", "soft"),  # as SASLprep compares it (RFC 4013 §2.1)
        ("t", None),  # unassigned in Unicode 3.2: not for a name that is stored (RFC 4013 §2.5)
    ):
        assert accounts.token_of(token) == name, token


def test_a_practice_token() -> None:
    """A JWT (RFC 7519 §6) without a signature."""
    for token, more in ((practice_token("mei"), {}), (practice_token("mei", unique="x"), {"jti": "x"})):
        head, claims, signature = token.split(".")
        assert signature == ""
        assert json.loads(urlsafe_b64decode(head + "==")) == {"alg": "none"}
        padded = claims + "=" * (-len(claims) % 4)
        assert len(padded) - len(claims) < 3
        assert " " not in urlsafe_b64decode(padded).decode()
        found = json.loads(urlsafe_b64decode(padded))
        wanted = {"aud": "popshell.example", "exp": 4102444800, "scope": PRACTICE_SCOPE, "sub": "mei"}
        assert found == wanted | more


def test_links_that_lead_out_of_a_directory_are_passed_over(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.txt"
    inside.mkdir()
    outside.write_bytes(b"secret")
    (inside / "a.eml").write_bytes(b"Subject: a\n\nx\n")
    (inside / "b.eml").symlink_to(outside)
    (inside / "c.eml").symlink_to(inside / "a.eml")
    assert [b"secret" in message.content for message in read_directory(inside)] == [False, False]


def test_a_directory_that_is_too_large_names_the_mail() -> None:
    assert str(module.TooLarge("a.eml")) == module.TooLarge("a.eml").name == "a.eml"
