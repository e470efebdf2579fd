"""Lines, limits and byte-stuffing: each case is read whole, in pieces, and with octets after it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support import Cutter, chunks_of, each, whole

from popshell.protocol.wire import (
    Kept,
    LineReader,
    ReplyLimits,
    ReplyReader,
    WireError,
    from_base64,
    stuff,
    stuffed_lines,
    unstuff,
)

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)
CUTTERS = [whole, *map(chunks_of, (1, 2, 3, 5, 7, 4096))]
SMALL = ReplyLimits(status_line=10, content_line=5, content=20)

#: what arrives -> what is read first, or the fault and the bytes that show it
STATUS_LINES = [
    (b"+OK\r\n", b"+OK\r\n"),
    (b"\r\n", b"\r\n"),
    (b"+OK\r\r\n", b"+OK\r\r\n"),
    (b"+OK 1 2 3\r\n", ("status-too-long", b"+OK 1 2 3\r")),
    (b"+OK 1 23\r\n", b"+OK 1 23\r\n"),  # ten octets: the limit itself
    (b"+OK 1 2345678", ("status-too-long", b"+OK 1 2345")),
    (b"+OK 1 2345", ("status-too-long", b"+OK 1 2345")),
    (b"+OK 1 234", None),
    (b"+OK\n", ("bare-lf", b"+OK\n")),
    (b"\n", ("bare-lf", b"\n")),
    (b"+OK\r \n", ("bare-lf", b"+OK\r \n")),
    (b"\x16\x03\x01", ("tls", b"\x16\x03")),
    (b"\x15\x03\x03\n", ("tls", b"\x15\x03")),
    (b"\x14\x03\x03", ("tls", b"\x14\x03")),
    (b"\x17\x03\x03", ("tls", b"\x17\x03")),
    (b"\x15+OK\r\n", b"\x15+OK\r\n"),
    (b"", None),
    (b"+OK\r", None),
    (b"\x16", None),
]

CONTENTS = [
    (b".\r\n", b".\r\n"),
    (b"a\r\n.\r\n", b"a\r\n.\r\n"),
    (b"..\r\n.\r\n", b"..\r\n.\r\n"),
    (b"\r\n\r\n.\r\n", b"\r\n\r\n.\r\n"),
    (b".x\r\n.\r\n", b".x\r\n.\r\n"),  # a lone stuffed dot is not the end
    (b"12345\r\n.\r\n", b"12345\r\n.\r\n"),  # the longest line
    (b"123456\r\n.\r\n", ("line-too-long", b"123456\r")),
    (b"1\r\n123456", None),
    (b"1\r\n1234567", ("line-too-long", b"1\r\n1234567")),
    (b"1234\r\n1234\r\n1234\r\n.\r\n", ("content-too-long", b"1234\r\n1234\r\n1234\r\n.\r\n"[:21])),
    (b"1234\r\n1234\r\n123\r\n.\r\n", b"1234\r\n1234\r\n123\r\n.\r\n"),  # twenty octets: the limit itself
    (b"1234\r\n1234\r\n1234\r\n12", None),
    (b"1234\r\n1234\r\n1234567\r\n12", ("line-too-long", b"1234\r\n1234\r\n1234567")),
    (b"1\n.\n\r\n.\r\n", b"1\n.\n\r\n.\r\n"),  # sec-P2: only CRLF.CRLF ends it
    (b"1\n.\r\n", None),
    (b"\n.\r\n", None),
    (b"\r\n12345\r\n.\r\n", b"\r\n12345\r\n.\r\n"),
    (b"\r\n123456\r\n.\r\n", ("line-too-long", b"\r\n123456\r")),
    (b"12345\r\n12345\r\n.\r\n", b"12345\r\n12345\r\n.\r\n"),
    (b"a\r.\r\n", None),
    (b"a\r\n.\r", None),
    (b"a\r\n.", None),
]


def read(reader: ReplyReader, data: bytes, cut: Cutter, take: str, *args: object) -> object:
    if take == "content":
        reader.begin(b"")
    for piece in cut(data):
        reader.feed(piece)
        try:
            found = getattr(reader, take)(*args)
        except WireError as error:
            return (error.code, error.raw) if str(error) == error.code else error
        if isinstance(found, Kept):
            assert (found.plain, found.counts.stuffed) == (unstuff(found.raw), stuffed_lines(found.raw))
            assert found.counts.lines == found.plain.count(b"\r\n")
            assert found.counts.bare == found.plain.count(b"\n") - found.counts.lines
            assert found.raw is found.raw, "60 MB would be copied"
            return found.raw
        if found is not None:
            return found
    return None


AFTER = [b"", b"+OK\r\n", b"\n", b".\r\n"]


def check_every_cut(data: bytes, wanted: object, take: str, *args: object, limits: ReplyLimits = SMALL) -> None:
    """`data` is read as `wanted` however it is cut and whatever follows it; what is not whole stays."""
    for cut in CUTTERS:
        for after in AFTER if wanted is not None else [b""]:  # what follows the unfinished belongs to it
            reader = ReplyReader(limits)
            assert read(reader, data + after, cut, take, *args) == wanted, (cut, after)
            if wanted is None:
                assert (reader.held, len(reader), reader.head(3), reader.tail(4)) == (
                    data,
                    len(data),
                    data[:3],
                    data[-4:],
                )
                assert (reader.line_ends, reader.has_line) == (data.count(b"\n"), b"\r\n" in data)


def test_status_lines() -> None:
    each(STATUS_LINES, lambda data, wanted: check_every_cut(data, wanted, "status_line"))


def test_contents() -> None:
    each(CONTENTS, lambda data, wanted: check_every_cut(data, wanted, "content", None))


def test_rows_of_a_listing_are_counted_without_the_terminator() -> None:
    def check(rows: int) -> None:
        content = b"".join(b"%d 1\r\n" % n for n in range(rows)) + b".\r\n"
        wanted = content if rows <= 3 else ("too-many-lines", content[: 5 * 5] if rows > 4 else content)
        check_every_cut(content, wanted, "content", 3, limits=ReplyLimits())

    each(((rows,) for rows in range(7)), check)


def test_a_row_may_end_in_two_cr() -> None:
    check_every_cut(b"\r\r\n\r\n.\r\n", b"\r\r\n\r\n.\r\n", "content", 2, limits=ReplyLimits())


def test_of_two_limits_the_one_that_is_crossed_first_counts() -> None:
    limits = ReplyLimits(content_line=5, content=12)
    for rows, data, wanted in (
        (1, b"1\r\n2\r\n3\r\n123456", ("too-many-lines", b"1\r\n2\r\n3\r\n")),
        (3, b"1\r\n12345678\r\n\r\n\r\n\r\n", ("line-too-long", b"1\r\n1234567")),
        (2, b"12345\r\n1234\r\n\r\n", ("content-too-long", b"12345\r\n1234\r\n"[:13])),
    ):
        assert read(ReplyReader(limits), data, whole, "content", rows) == wanted, data


def test_what_a_client_takes() -> None:
    """The figures of docs/reference-limits.md. RFC 1939 §3 allows 512 octets to a reply's line; servers send more."""
    assert ReplyLimits() == (8192, 1_048_576, 67_108_864, 1_000, 200_000, 50, 1_000, 10.0, 3.0)


def test_a_long_line_of_mail_is_taken() -> None:
    """2,048 octets break real mail (odoo#10920); the default takes a line of 1 MiB."""
    content = b"x" * (1024 * 1024) + b"\r\n.\r\n"
    assert read(ReplyReader(ReplyLimits()), content, whole, "content", None) == content
    assert read(ReplyReader(ReplyLimits()), b"x" + content, whole, "content", None)[0] == "line-too-long"  # type: ignore[index]


def test_a_line_that_is_longer_than_mail_may_have_is_noticed_as_it_comes() -> None:
    """RFC 5322 §2.1.1: 998 octets, without the dot that was stuffed."""
    for line, long in (
        (b"x" * 998, False),
        (b"x" * 999, True),
        (b".." + b"x" * 997, False),
        (b".." + b"x" * 998, True),
    ):
        for cut in CUTTERS:
            for before in (b"", b"a\r\n"):
                reader = ReplyReader(ReplyLimits())
                reader.begin(b"+OK\r\n")
                found = None
                for piece in cut(before + line + b"\r\n.\r\n"):
                    reader.feed(piece)
                    found = reader.content(None)
                assert found is not None
                assert (found.counts.long, found.raw) == (long, b"+OK\r\n" + before + line + b"\r\n.\r\n")


def test_what_is_left_can_be_taken() -> None:
    reader = ReplyReader(ReplyLimits())
    reader.feed(b"+OK\r\nrest")
    assert reader.status_line() == b"+OK\r\n"
    assert (reader.held, len(reader), reader.take_all(), len(reader)) == (b"rest", 4, b"rest", 0)


# -- lines of a client ------------------------------------------------------------------------------------------------

LONG = b"x" * 30
LINES = [
    (b"", []),
    (b"QUIT", []),  # sec-V1: without CRLF at the end of the stream it is nothing
    (b"QUIT\r", []),
    (b"QUIT\n", [b"QUIT\n"]),  # a bare LF ends no line, but it is seen
    (b"\r\n", [b""]),
    (b"STAT\r\nNOOP\r\n", [b"STAT", b"NOOP"]),
    (b"STAT\nNOP\r\nNOOP\r\n", [b"STAT\n", b"NOOP"]),
    (b"a\nb\nc\r\nNOOP\r\n", [b"a\n", b"\n", b"NOOP"]),
    (b"a\n" + LONG + b"\r\nNOOP\r\n", [b"a\n", b"NOOP"]),
    (b"a\n" + LONG + b"\n" + LONG + b"\r\nNOOP\r\n", [b"a\n", b"\n", b"NOOP"]),
    (LONG + b"\nDELE 1\r\nNOOP\r\n", [None, b"NOOP"]),
    (b"STAT\rNOP\r\n", [b"STAT\rNOP"]),
    (b"STAT\r\r\n", [b"STAT\r"]),
    (b"12345678\r\n", [b"12345678"]),  # ten octets: the limit itself
    (b"123456789\r\n", [None]),
    (LONG + b"\r\nNOOP\r\n", [None, b"NOOP"]),
    (LONG + b"DELE 1\r\n", [None]),  # sec-V1: the tail is no command
    (LONG + b"\r", []),
    (LONG + b"\r\r\r\nNOOP\r\n", [None, b"NOOP"]),
    (LONG + b"\n\r" + LONG + b"\r\n\r\n", [None, b""]),
    (LONG + b"\r\n" + LONG + b"\r\n", [None, None]),
]


def test_lines_of_a_client() -> None:
    def check(data: bytes, wanted: list[bytes | None]) -> None:
        for cut in CUTTERS:
            reader = LineReader(10)
            found = []
            for piece in cut(data):
                reader.feed(piece)
                while (line := reader.next_line()) is not False:
                    found.append(line)
            assert found == wanted, cut
            assert reader.pending == (not data.endswith((b"\r\n", b"QUIT\n")) and data != b""), cut
            reader.clear()
            assert reader.pending is False
            reader.feed(b"\r\n")
            assert reader.next_line() == b""

    each(LINES, check)


def test_an_endless_line_is_not_kept() -> None:
    for cut in CUTTERS:
        reader = LineReader(10)
        for _ in range(100):
            for piece in cut(b"x" * 99 + b"\r"):
                reader.feed(piece)
                assert reader.next_line() is False
            assert len(reader.buffer) <= 10
        assert reader.pending
        assert reader.head == b""


def test_head() -> None:
    reader = LineReader(10)
    assert reader.head == b""
    reader.feed(b"\x16")
    assert reader.head == b"\x16"
    reader.feed(b"\x03\x01")
    assert reader.head == b"\x16\x03"


# -- byte-stuffing (RFC 1939 §3) -------------------------------------------------------------------------------------

STUFFED = [
    (b"", b"", 0),
    (b".\r\n", b"..\r\n", 1),
    (b"..\r\n", b"...\r\n", 1),
    (b".x\r\n", b"..x\r\n", 1),
    (b"a\r\n.\r\n.b\r\n", b"a\r\n..\r\n..b\r\n", 2),
    (b"a.\r\n b.\r\n", b"a.\r\n b.\r\n", 0),
    (b"a\n.\r\n", b"a\n.\r\n", 0),
    (b"a\r.\r\n", b"a\r.\r\n", 0),
    (b"\r\n.\r\n\r\n", b"\r\n..\r\n\r\n", 1),
]


def test_byte_stuffing() -> None:
    def check(content: bytes, sent: bytes, dots: int) -> None:
        assert stuff(content) == sent
        assert unstuff(sent + b".\r\n") == content
        assert stuffed_lines(sent + b".\r\n") == dots

    each(STUFFED, check)


LINE_BYTES = st.text(alphabet=".\r\nab", max_size=12).map(str.encode)
CONTENT = st.lists(LINE_BYTES, max_size=8).map(lambda lines: b"".join(line + b"\r\n" for line in lines))


@PROFILE
@given(CONTENT)
def test_unstuff_undoes_stuff(content: bytes) -> None:
    sent = stuff(content) + b".\r\n"
    assert unstuff(sent) == content
    assert read(ReplyReader(ReplyLimits()), sent + b"+OK\r\n", whole, "content", None) == sent


def test_every_line_loses_one_dot_whatever_follows() -> None:
    """sec-P6: curl and poplib keep the dot of `.x`; RFC 1939 §3 takes it off."""
    assert unstuff(b".x\r\n.y\r\n.\r\n") == b"x\r\ny\r\n"


def test_base64_is_read_strictly() -> None:
    for line, wanted in (
        ("YQ==", b"a"),
        (b"YQ==", b"a"),
        ("", b""),
        ("!", None),
        (b"YQ", None),
        ("é", None),
        (b"\xff", None),
    ):
        assert from_base64(line) == wanted, line
