"""Replies as read: the status line, response codes, listings and the timestamp."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support import each

from popshell.protocol.commands import CAPABILITIES, RESPONSE_CODES, State, known_code
from popshell.protocol.maildrop_view import header_field, scan_listing, unique_id_listing
from popshell.protocol.records import Problem, Response, Status, no_status, read_status, spoiled, stamp
from popshell.protocol.strangers import passes_on, what_speaks
from popshell.protocol.wire import WireError

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def ok(text: str = "", content: bytes | None = None) -> Response:
    return Response(Status.OK, text, content=content)


class TestStatusLine:
    """RFC 1939 §3, RFC 2449 §3, RFC 5034 §4."""

    def test_what_is_read(self) -> None:
        def check(line: bytes, status: Status, code: str, text: str | None) -> None:
            response = read_status(line)
            assert response is not None
            assert (response.status, response.code, response.content) == (status, code, None)
            assert text is None or response.text == text

        each(
            [
                (b"+OK", Status.OK, "", ""),
                (b"+OK ", Status.OK, "", ""),
                (b"+OK  two", Status.OK, "", " two"),
                (b"-ERR", Status.ERR, "", ""),
                (b"-ERR no such message", Status.ERR, "", "no such message"),
                (b"+", Status.CONTINUE, "", ""),
                (b"+ ", Status.CONTINUE, "", ""),
                (b"+ [AUTH] x", Status.CONTINUE, "", "[AUTH] x"),  # a challenge has no codes
                (b"-ERR [IN-USE] Do you have another POP session running?", Status.ERR, "IN-USE", None),
                (b"-ERR [IN-USE]", Status.ERR, "IN-USE", ""),
                (b"-ERR [IN-USE]no blank", Status.ERR, "IN-USE", "no blank"),  # text = resp-code *CHAR
                (b"-ERR [in-use] x", Status.ERR, "IN-USE", "x"),
                (b"-ERR [SYS/TEMP/disk/2] x", Status.ERR, "SYS/TEMP/DISK/2", "x"),
                (b"-ERR [ ] x", Status.ERR, "", "[ ] x"),
                (b"-ERR [] x", Status.ERR, "", "[] x"),
                (b"-ERR [a//b] x", Status.ERR, "", "[a//b] x"),
                (b"-ERR [/a] x", Status.ERR, "", "[/a] x"),
                (b"-ERR [open x", Status.ERR, "", "[open x"),
                (b"-ERR x [AUTH]", Status.ERR, "", "x [AUTH]"),
                (b"+OK \xe4\xbd\xa0", Status.OK, "", "你"),
                (b"+OK \xff", Status.OK, "", "\udcff"),
            ],
            check,
        )

    def test_what_is_no_status_line(self) -> None:
        def check(line: bytes, problem: Problem) -> None:
            assert read_status(line) is None
            assert no_status(line) == problem

        each(
            [
                (b"", Problem("no-status")),
                (b" +OK", Problem("no-status", "ok")),
                (b"+ok", Problem("lower-case")),
                (b"-err", Problem("lower-case")),
                (b"+OKAY", Problem("no-status", "ok")),
                (b"+OK\tx", Problem("no-status", "ok")),
                (b"+OK\r", Problem("no-status", "ok")),
                (b"-", Problem("not-pop3")),
                (b"X", Problem("not-pop3")),
                (b"ERR", Problem("no-status", "err")),
                (b"+ERR busy", Problem("no-status", "err")),
                (b"ERR.LOGIN.PASSERR", Problem("no-status", "err")),
                (b"+\xff", Problem("not-pop3")),
                (b"OK", Problem("no-status", "ok")),
                (b"\xef\xbc\x8bOK", Problem("no-status", "ok")),
                (b"-Err x", Problem("lower-case")),
                (b"+Ok", Problem("lower-case")),
                (b"* OK IMAP4rev1", Problem("not-pop3", "imap")),
                (b"*OK", Problem("no-status", "ok")),
                (b"-ERRlogin failed", Problem("no-status", "err")),
                (b"+\0O\0K\0", Problem("no-status", "ok")),
                (b"\0", Problem("no-status")),
                (b"220 x", Problem("not-pop3", "smtp")),
                (b"421 x", Problem("not-pop3", "smtp")),
                (b"554 x", Problem("not-pop3", "smtp")),
                (b"HTTP/1.1 400", Problem("not-pop3", "http")),
                (b"SSH-2.0", Problem("not-pop3", "ssh")),
            ],
            check,
        )

    @PROFILE
    @given(st.binary(max_size=40))
    def test_never_raises(self, line: bytes) -> None:
        for head in (b"", b"+OK ", b"-ERR [", b"+ "):
            response = read_status(head + line)
            if response is not None and response.ok:
                response.drop_listing(), response.scan_row(), response.unique_id_row(), stamp(response.text)

    def test_a_long_code_is_read_in_one_pass(self) -> None:
        assert read_status(b"-ERR [" + b"a/" * 100_000) == Response(Status.ERR, "[" + "a/" * 100_000)


class TestListings:
    """RFC 1939 §5 and §7, and what servers make of it: twisted/twisted#9104, tcllib, CVE-2003-1471."""

    def test_drop_listing(self) -> None:
        def check(text: str, wanted: object) -> None:
            assert ok(text).drop_listing() == wanted

        each(
            [
                ("2 320", (2, 320)),
                ("0 0", (0, 0)),
                ("2 320 extra words", (2, 320)),
                ("4294967297 1", (4294967297, 1)),
                ("2  320", None),
                (" 2 320", None),
                ("2", None),
                ("2 320x", None),
                ("-1 320", None),
                ("+2 320", None),
                ("2 320\n", None),
                ("٢ ٣", None),  # digits, but not POP3's
                ("12345678901 1", None),
                ("1 1234567890123456", None),
            ],
            check,
        )

    def test_scan_row(self) -> None:
        def check(text: str, wanted: object) -> None:
            assert ok(text).scan_row() == wanted

        each(
            [("1 120", (1, 120)), ("01 221", (1, 221)), ("+1 221", (1, 221)), ("1", None), ("x 1", None)],
            check,
        )

    def test_unique_id_row(self) -> None:
        def check(text: str, wanted: object) -> None:
            assert ok(text).unique_id_row() == wanted

        each(
            [
                ("2 QhdPYR:00WBw1Ph7x7", (2, "QhdPYR:00WBw1Ph7x7")),
                ("2 " + "x" * 70, (2, "x" * 70)),
                ("2 " + "x" * 71, None),
                ("tw-1", None),  # twisted#9104
                ("2 ", None),
                ("2 é", None),
            ],
            check,
        )

    def test_scan_listing_passes_over_what_is_none(self) -> None:
        content = b"1 120\r\n2 200 more\r\nrubbish\r\n\r\n3\r\n 4 1\r\n5 1x\r\n6\n6 1\r\n7 7\r\n"
        assert scan_listing(content) == {1: 120, 2: 200, 7: 7}
        assert scan_listing(b"") == {}

    def test_unique_id_listing(self) -> None:
        content = b"1 whqtswO00WBw418f9t5JxYwZ\r\n2 QhdPYR:00WBw1Ph7x7\r\n3\r\n4 " + b"x" * 71 + b"\r\n"
        assert unique_id_listing(content) == {1: "whqtswO00WBw418f9t5JxYwZ", 2: "QhdPYR:00WBw1Ph7x7"}

    def test_lines(self) -> None:
        assert ok().lines is None
        assert ok(content=b"").lines == []
        assert ok(content=b"a\x0bb\x85\r\n\r\n").lines == [b"a\x0bb\x85", b""]

    def test_capabilities(self) -> None:
        content = b"TOP\r\nsasl PLAIN\r\nSASL LOGIN\r\n\r\nEXPIRENEVER\r\n"
        assert ok(content=content).capabilities() == {"TOP": (), "SASL": ("PLAIN", "LOGIN"), "EXPIRENEVER": ()}
        assert ok(content=b"X \xff\r\n").capabilities() == {"X": ("\udcff",)}


class TestHeaderField:
    """RFC 5322 §2.2."""

    def test_subject(self) -> None:
        def check(content: bytes, wanted: str | None) -> None:
            assert header_field(content, "subject") == wanted

        each(
            [
                (b"Subject: hello\r\n\r\n", "hello"),
                (b"From: a\r\nSUBJECT:b\r\n\tc\r\n d\r\n\r\n", "b\tc d"),
                (b"Subject: one\r\nSubject: two\r\n\r\n", "one"),
                (b"Subject: \xff\r\n\r\n", "\udcff"),
                (b"X-Subject: no\r\n\r\nSubject: body\r\n", None),
                (b"\r\nSubject: a body without header\r\n\r\n", None),
                (b"Subject: cut", "cut"),
                (b"Subject: " + b"x" * 70_000, "x" * (65_536 - 9)),
                (b"", None),
            ],
            check,
        )


class TestStamp:
    """RFC 1939 §7, APOP: the timestamp is a msg-id (sec-T6)."""

    def test_stamp(self) -> None:
        def check(greeting: str, wanted: str | None) -> None:
            assert stamp(greeting) == wanted

        each(
            [
                ("POP3 server ready <1896.697170952@dbc.mtview.ca.us>", "<1896.697170952@dbc.mtview.ca.us>"),
                ("<a@b> and <c@d>", "<a@b>"),
                ("a < b <c@d> e", "<c@d>"),
                ("<x> <c@d>", "<c@d>"),
                ("<<c@d>>", "<c@d>"),
                ("ready", None),
                ("ready <open@x", None),
                ("<no at sign>", None),
                ("<@x>", None),
                ("<x@>", None),
                ("<a b@c>", None),
                ("<a\x00b@c>", None),
                ("<é@c>", None),
                ("<" + "x" * 251 + "@x>", "<" + "x" * 251 + "@x>"),  # 255 characters
                ("<" + "x" * 252 + "@x>", None),
                (">", None),
                ("> <a@b>", "<a@b>"),
                ("<x> <c@d> <e@f>", "<c@d>"),
                ("<a@b@>", None),
                ("<!~@~!>", "<!~@~!>"),
            ],
            check,
        )

    def test_no_backtracking(self) -> None:
        assert stamp("<" * 200_000) is None
        assert stamp("<a>" * 100_000) is None


class TestCodesAndCapabilities:
    """RFC 2449 §5, §6 and §8; RFC 3206 §4; RFC 6856 §5."""

    def test_what_authorization_announces_transaction_announces(self) -> None:
        """RFC 2449 §5: "Capabilities available in the AUTHORIZATION state MUST be announced in both states."

        STLS is the exception: its RFC announces it where it is "permitted in the current state" (RFC 2595 §4).
        """
        once = {tag for tag, row in CAPABILITIES.items() if row.announced != {State.AUTHORIZATION, State.TRANSACTION}}
        assert once == {"STLS"}

    def test_unknown_detail_is_ignored(self) -> None:
        def check(code: str, wanted: str | None) -> None:
            row = known_code(code)
            assert (row.code if row else None) == wanted

        each(
            [
                ("IN-USE", "IN-USE"),
                ("in-use", "IN-USE"),
                ("SYS/TEMP", "SYS/TEMP"),
                ("SYS/TEMP/DISK", "SYS/TEMP"),
                ("LOGIN-DELAY/9/9", "LOGIN-DELAY"),
                ("SYS", None),
                ("X", None),
                ("", None),
            ],
            check,
        )

    def test_pages_are_file_names(self) -> None:
        assert {row.page for row in RESPONSE_CODES.values()} == {
            "LOGIN-DELAY",
            "IN-USE",
            "SYS-TEMP",
            "SYS-PERM",
            "AUTH",
            "UTF8",
        }


def test_octets_that_are_no_lines_name_another_protocol_only_where_a_greeting_is_due() -> None:
    tls, imap = WireError("tls", b"\x16\x03\x01"), WireError("line-too-long", b"* OK")
    assert spoiled(tls, greeting=False) == Problem("not-pop3", "tls")
    assert spoiled(imap, greeting=True) == Problem("not-pop3", "imap")
    assert spoiled(imap, greeting=False) == spoiled(WireError("line-too-long", b"+OK"), greeting=True)
    assert spoiled(imap, greeting=False) == Problem("line-too-long")


def test_greetings_of_what_passes_a_connection_on() -> None:
    for text in ("AVG POP3 Proxy Server 8.0", "[ISafe POP3 Proxy]", "POPFile v1 is proxying this", "SPAMPAL ready"):
        assert passes_on(text), text
    for text in ("POP3 server ready", "approximately ready", ""):
        assert not passes_on(text), text
    assert [what_speaks(first) for first in (b"* OK IMAP", b"+OK", b"")] == ["imap", "pop3", ""]
