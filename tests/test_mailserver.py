"""mailserver: bytes in, bytes out: order, limits, locks, time, faults; and any bytes at all (sec-V1 to V13)."""

from __future__ import annotations

import gc
import itertools
import random
import re
from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    LOGIN,
    NAME,
    SECRET,
    STAMP,
    Clock,
    at_random,
    blob,
    chunks_of,
    converse,
    default_messages,
    drain,
    logged_in,
    message,
    over,
    plain,
    play,
    practice_server,
    rehearse,
    status,
    statuses,
    texts,
)

from popshell.protocol import sasl
from popshell.protocol.commands import Context, State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import advance
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import apop_digest
from popshell.protocol.wire import unstuff
from popshell.server import maildrop
from popshell.server import session as session_module
from popshell.server.handlers import HANDLERS
from popshell.server.maildrop import Message
from popshell.server.mailserver import MailServer
from popshell.server.replies import Reply, Words
from popshell.server.session import ServerSession
from popshell.server.settings import DEVIATIONS, SERVED, Limits

PROFILE = settings(max_examples=250, deadline=None, derandomize=True, database=None)
AUTO = 600.0


def opened(**options: object) -> ServerSession:
    """A session whose greeting has been read."""
    session = practice_server(**options).session()
    assert drain(session).startswith(b"+OK ")
    return session


def words(key: str, tag: str = "en") -> bytes:
    return texts(tag)[key].encode()


class TestOneCommandOneReply:
    """sec-V2, RFC 2449 §6.6: in order, under pipelining too."""

    def test_pipelined(self) -> None:
        session = opened()
        out = converse(session, b"USER learner\r\nPASS secret\r\nSTAT\r\nNOOP\r\nDELE 1\r\nSTAT\r\nQUIT\r\nNOOP\r\n")
        lines = out.split(b"\r\n")
        assert len(lines) == 8  # seven replies; NOOP behind QUIT has none
        assert lines[2].startswith(b"+OK 7 ")
        assert lines[5].startswith(b"+OK 6 ")
        assert session.closing

    def test_the_next_line_waits_until_the_reply_has_gone_out(self) -> None:
        """The pull model: the peer's pace bounds the memory."""
        session = logged_in(messages=(message(b"A: b\n\n" + b"x" * 1_000_000),))
        session.feed(b"RETR 1\r\nDELE 1\r\n")
        assert session.next_chunk()
        assert session.maildrop.marks == set()
        assert session._lines.pending
        drain(session)
        assert session.maildrop.marks == {1}
        assert not session._lines.pending

    def test_a_long_message_goes_out_in_slices(self) -> None:
        content = b"A: b\r\n\r\n" + b".dots\r\n" * 3_000_000
        session = logged_in(messages=(message(content),))
        session.feed(b"RETR 1\r\n")
        pieces = list(iter(session.next_chunk, None))
        assert max(map(len, pieces)) <= 512 * 1024
        assert unstuff(b"".join(pieces).partition(b"\r\n")[2]) == content

    def test_a_long_listing_goes_out_in_slices(self) -> None:
        session = logged_in(messages=tuple(default_messages()) * 2000)
        for name in (b"LIST", b"UIDL"):
            session.feed(name + b"\r\n")
            pieces = list(iter(session.next_chunk, None))
            assert len(pieces) > 1
            assert max(map(len, pieces)) <= 128 * 1024
            rows = b"".join(pieces).split(b"\r\n")
            assert len(rows) == 14_000 + 3
            assert rows[-2] == b"."


class TestLines:
    """sec-V1: an own line reader."""

    @over("cut", [1, 7, 100_000])
    def test_an_over_long_line_has_one_reply_and_no_tail(self, cut: int) -> None:
        session = logged_in()
        data = b"USER " + b"A" * 20_000 + b"DELE 1\r\nSTAT\r\n"
        out = converse(session, *chunks_of(cut)(data)).split(b"\r\n")
        assert out == [b"-ERR " + words("too-long"), out[1], b""]
        assert out[1].startswith(b"+OK 7 ")

    @over("length", [255, 256, 1025, 8192, 8193, 20_000])
    def test_a_command_has_255_octets_at_most(self, length: int) -> None:
        """RFC 2449 §4: 255 must be taken, CRLF included."""
        session = opened()
        out = converse(session, b"USER " + b"x" * (length - 7) + b"\r\n")
        assert out.startswith(b"+OK" if length <= 255 else b"-ERR " + words("too-long"))
        assert out.count(b"\r\n") == 1

    @over("length", [256, 1025, 8192])
    def test_auth_with_an_initial_response_is_no_exception(self, length: int) -> None:
        """RFC 5034 §4: what would not fit into 255 octets is sent as the answer to the challenge."""
        session = opened(accounts={NAME: "s" * length})
        line = f"AUTH PLAIN {plain(secret='s' * length)}"[: length - 2].encode()
        assert converse(session, line + b"\r\nNOOP\r\n").startswith(b"-ERR " + words("too-long") + b"\r\n-ERR ")
        assert session.answer_auth is None
        assert session.context.state is State.AUTHORIZATION

    def test_an_answer_to_a_challenge_may_be_longer(self) -> None:
        """RFC 5034 §4: "independent of any line-length limitations"; sec-V9: 8,192."""
        long_name = "n" * 1000
        session = opened(accounts={long_name: "s" * 1000})
        out = converse(session, b"AUTH PLAIN\r\n", plain(long_name, "s" * 1000).encode() + b"\r\n")
        assert out.startswith(b"+ \r\n+OK")

    def test_an_over_long_answer_ends_auth(self) -> None:
        session = opened()
        out = converse(session, b"NOOP\r\nAUTH PLAIN\r\n", b"A" * 9000 + b"\r\n", b"CAPA\r\n")
        assert out.split(b"\r\n")[1:4] == [b"+ ", b"-ERR " + words("too-long"), b"+OK " + words("capa")]

    def test_a_partial_line_at_the_end_is_nothing(self) -> None:
        session = logged_in()
        assert converse(session, b"DELE 1\r\nQUIT").count(b"\r\n") == 1
        session.lost()
        assert drain(session) == b""
        assert len(session.settings.accounts.maildrop_of(NAME).messages) == 7

    @over("end", [b"\n", b"\r", b"\0\r\n", b"\x0b\r\n"])
    def test_only_crlf_ends_a_line(self, end: bytes) -> None:
        session = logged_in()
        assert not converse(session, b"DELE 1" + end + b"NOOP\r\n").startswith(b"+OK")
        assert session.maildrop.marks == set()


class TestBareLf:
    """A client that sends LF alone (`nc`) gets an answer at once; nothing of such a line is ever a command."""

    ANSWER = b"-ERR " + texts("en")["bare-lf"].encode() + b"\r\n"

    def test_each_is_answered_and_none_is_served(self) -> None:
        session = logged_in()
        assert converse(session, b"DELE 1\n") == self.ANSWER
        assert converse(session, b"DELE 2\n") == self.ANSWER
        assert converse(session, b"DELE 3\r\n") == b"", "the rest of the same line"
        assert converse(session, b"STAT\r\n").startswith(b"+OK 7 ")
        assert session.deadline() == AUTO, "no line is under way"

    def test_it_ends_auth(self) -> None:
        session = opened()
        assert converse(session, b"AUTH PLAIN\r\n", plain().encode() + b"\n") == b"+ \r\n" + self.ANSWER
        assert converse(session, b"\r\nCAPA\r\n").startswith(b"+OK")

    def test_a_web_page_is_still_no_client(self) -> None:
        session = opened()
        assert converse(session, b"GET / HTTP/1.1\nHost: x\n\nUSER a\r\n") == b"-ERR " + words("http") + b"\r\n"
        assert session.closing


class TestOtherProtocols:
    """sec-V11."""

    @over("cut", [1, 10_000])
    @over(
        "request_line",
        [
            b"GET / HTTP/1.1",
            b"POST /?" + b"x" * 4000 + b" HTTP/1.1",
            b"GET /" + b"x" * 9000 + b" HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"GET /",  # HTTP/0.9
            b"get\t/",
            b"CONNECT x:1\tHTTP/1.1",
            b"FOO /\tHTTP/1.1",
            b"\r\n \t\r\nPOST / HTTP/1.1",
            b"GET ",
            *(method + b" /x" for method in b"PUT HEAD OPTIONS DELETE PATCH TRACE".split()),
        ],
    )
    def test_http_is_not_served(self, request_line: bytes, cut: int) -> None:
        session = opened()
        data = request_line + b"\r\nHost: localhost\r\n\r\nUSER learner\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n"
        out = converse(session, *chunks_of(cut)(data))
        *_, last, end = out.split(b"\r\n")
        assert (last, end) == (b"-ERR " + words("http" if len(request_line) < 9000 else "too-long"), b"")
        assert out.count(b"\r\n") == 1 + request_line.count(b"\r\n")
        assert session.closing
        assert session.name == ""

    @over("line", ["DELETE 1", "GET", "delete  2 ", "POSTAL x", "TRACER / x", "USER HTTP/1.1"])
    def test_a_learner_s_slip_is_no_http(self, line: str) -> None:
        assert play(line, "CAPA")[-1].ok is (line != "USER HTTP/1.1")

    def test_only_the_first_line_is_looked_at(self) -> None:
        assert statuses("NOOP", "USER a HTTP/1.1", "QUIT")[-1].startswith("+OK")

    @over("cut", [1, 2, 100])
    def test_a_tls_hello_is_not_answered(self, cut: int) -> None:
        session = opened()
        assert converse(session, *chunks_of(cut)(b"\x16\x03\x01\x02\x00\r\nQUIT\r\n")) == b""
        assert session.closing

    def test_later_it_is_a_line_like_any_other(self) -> None:
        session = opened()
        assert converse(session, b"NOOP\r\n\x16\x03\r\n").count(b"-ERR") == 2
        assert not session.closing

    def test_in_the_middle_of_a_line_it_is_no_hello(self) -> None:
        session = opened()
        assert converse(session, b"USER ", b"\x16\x03", b"\r\n").startswith(b"+OK")


class TestNothingIsEchoed:
    """sec-V3."""

    CANARY = "C4n4ry<script>\x1b[31m"

    @over(
        "lines",
        [
            ["{}"],
            ["USER {}"],
            ["USER {}", "PASS {}"],
            ["APOP {} {}"],
            ["AUTH {}"],
            ["AUTH PLAIN {}"],
            ["AUTH PLAIN", "{}"],
            ["LANG {}"],
            ["CAPA {}"],
            ["RETR {}"],
            [*LOGIN, "RETR {}", "TOP {} {}", "LIST {}", "UIDL {}", "DELE {}", "XTND {}"],
            ["{} HTTP/1.1"],
            ["USER " + "x" * 300 + "{}"],
            ["USER " + "x" * 9000 + "{}"],
        ],
    )
    def test_in_no_reply(self, lines: list[str]) -> None:
        for exchange in play(*(line.replace("{}", self.CANARY) for line in lines)):
            assert b"C4n4ry" not in exchange.received
            assert b"\x1b" not in exchange.received

    @PROFILE
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=12, max_size=40))
    def test_no_text_of_the_peer(self, text: str) -> None:
        for exchange in play(text, "USER " + text, "PASS " + text, "AUTH PLAIN", text, "LANG " + text):
            assert text not in exchange.received.decode()


class TestDeletionOnlyByQuit:
    """sec-V4, RFC 1939 §6."""

    @over("end", ["lost", "expired", "dead", "bad commands", "http", "QUIT"])
    def test_what_ends_a_session(self, end: str) -> None:
        clock = Clock()
        limits = Limits(bad_commands=3)
        dead = {"line_goes_dead_after": 4} if end == "dead" else {}
        server = practice_server(clock=clock, limits=limits, faults=dead)
        session = logged_in(server)
        assert converse(session, b"DELE 1\r\nDELE 7\r\n").count(b"+OK") == 2
        if end == "expired":
            clock.now = AUTO
            assert session.expire()
        elif end == "bad commands":
            assert converse(session, b"x\r\nx\r\nx\r\nQUIT\r\n").count(b"-ERR") == 3
            assert session.closing
        elif end == "dead":
            assert converse(session, b"QUIT\r\n") == b""
        elif end == "QUIT":
            assert converse(session, b"QUIT\r\n").startswith(b"+OK")
        elif end == "http":
            converse(session, b"GET / HTTP/1.1\r\n")
        session.lost()
        assert len(server.maildrop_of(NAME).messages) == (5 if end == "QUIT" else 7)
        assert not server.maildrop_of(NAME).in_use

    def test_quit_with_an_argument_does_nothing(self) -> None:
        server = practice_server()
        rehearse([*LOGIN, "DELE 1", "QUIT 1"], server)
        assert len(server.maildrop_of(NAME).messages) == 7

    def test_the_next_session_sees_it(self) -> None:
        server = practice_server()
        rehearse([*LOGIN, "DELE 1", "QUIT"], server)
        after = rehearse([*LOGIN, "STAT"], server)
        assert after[-1].response is not None
        assert after[-1].response.drop_listing() == (6, sum(m.octets for m in default_messages()[1:]))


class TestLock:
    """sec-V7, RFC 1939 §4."""

    def test_one_session_at_a_time(self) -> None:
        server = practice_server(accounts={NAME: SECRET, "mei": SECRET})
        first, second = logged_in(server), server.session()
        drain(second)
        attempt = f"USER {NAME}\r\nPASS {SECRET}\r\n".encode()
        assert converse(second, attempt).endswith(b"-ERR [IN-USE] " + words("in-use") + b"\r\n")
        assert second.context.state is State.AUTHORIZATION
        assert converse(second, b"USER mei\r\nPASS secret\r\n").count(b"+OK") == 2  # another maildrop
        third = server.session()
        drain(third)
        first.lost()  # the socket died
        assert converse(third, attempt).count(b"+OK") == 2

    def test_quit_releases_it(self) -> None:
        server = practice_server()
        assert converse(logged_in(server), b"QUIT\r\n").startswith(b"+OK")
        logged_in(server)

    def test_a_failed_update_releases_it_and_keeps_all(self) -> None:
        server = practice_server(faults={"update_fails": True})
        session = logged_in(server)
        out = converse(session, b"DELE 1\r\nQUIT\r\n")
        assert out.endswith(b"-ERR [SYS/TEMP] " + words("update-fails") + b"\r\n")
        assert len(logged_in(server).maildrop.messages) == 7

    def test_the_wrong_password_tells_nothing_of_the_lock(self) -> None:
        server = practice_server()
        logged_in(server)
        assert "[AUTH]" in status(rehearse([f"USER {NAME}", "PASS wrong"], server)[-1])


class TestTime:
    """RFC 1939 §3, autologout; RFC 2449 §6.5, LOGIN-DELAY."""

    def test_autologout(self) -> None:
        clock = Clock(100.0)
        session = opened(clock=clock)
        assert session.deadline() == 100 + AUTO
        clock.now = 699.9
        assert not session.expire()
        converse(session, b"NOOP\r\n")  # any command resets the timer, a refused one, too
        assert session.deadline() == 699.9 + AUTO
        clock.now = 699.9 + AUTO
        assert session.expire()
        assert session.closing
        assert drain(session) == b""  # "without ... sending any response"

    def test_limits(self) -> None:
        """RFC 1939 §3: autologout is ten minutes at least. Seconds and octets, as docs/reference-limits.md has them."""
        assert Limits()._asdict() == {
            "line": 8192,
            "autologout": 600.0,
            "line_time": 60.0,
            "handshake": 15.0,
            "write_stall": 60.0,
            "slowest": 500,
            "output": 65536,
            "bad_commands": None,
            "login_wait": 0.0,
            "login_wait_most": 15.0,
            "connections": 64,
            "connections_an_address": 10,
        }
        assert Limits(bad_commands=20, login_wait=2.0) == SERVED
        mail = (maildrop.LARGEST_MESSAGE, maildrop.LARGEST_MAILDROP, maildrop.MOST_MESSAGES, maildrop.SLICE)
        assert mail == (26_214_400, 268_435_456, 10_000, 262_144)

    def test_a_line_that_is_never_finished(self) -> None:
        clock = Clock()
        session = opened(clock=clock)
        converse(session, b"US")
        assert session.deadline() == 60
        clock.now = 59.0
        converse(session, b"ER x")
        assert session.deadline() == 60  # from its first octet
        converse(session, b"\r\n")
        assert session.deadline() == 59 + AUTO
        converse(session, b"NOOP\r\nNO")
        assert session.deadline() == 59 + 60
        clock.now = 59.0 + 60
        assert session.expire()

    def test_a_reply_that_takes_long_is_no_silence(self) -> None:
        clock = Clock()
        session = logged_in(clock=clock)
        session.feed(b"RETR 6\r\nNOOP\r\n")
        assert session.next_chunk()
        clock.now = 5000.0
        drain(session)
        assert session.deadline() == 5000 + AUTO

    def test_the_rest_of_a_line_with_a_bare_lf_is_no_line_that_waits_for_its_end(self) -> None:
        clock = Clock(1000.0)
        session = opened(clock=clock)
        assert converse(session, b"NOOP\nNOO").startswith(b"-ERR")
        assert session.deadline() == 1060
        assert converse(session, b"P\r\n") == b""
        assert session.deadline() == 1000 + AUTO

    def test_login_delay(self) -> None:
        clock = Clock(1000.0)
        server = practice_server(clock=clock, faults={"login_delay": 60})
        assert rehearse(["CAPA"], server)[1].response.capabilities()["LOGIN-DELAY"] == ("60",)  # type: ignore[union-attr]
        rehearse([*LOGIN, "QUIT"], server)
        clock.now = 1000.5
        refused = rehearse([*LOGIN], server)[-1]
        assert status(refused).startswith("-ERR [LOGIN-DELAY] ")
        assert "60" in status(refused)  # 59.5, rounded up
        assert status(rehearse([f"USER {NAME}", "PASS wrong"], server)[-1]).startswith("-ERR [AUTH] ")
        clock.now = 1060.0
        assert rehearse([*LOGIN], server)[-1].ok

    def test_login_delay_counts_from_a_login_that_succeeded(self) -> None:
        clock = Clock(1000.0)
        server = practice_server(clock=clock, faults={"login_delay": 60})
        rehearse([f"USER {NAME}", "PASS wrong"], server)
        assert rehearse([*LOGIN], server)[-1].ok

    def test_wait_after_a_failed_login(self) -> None:
        """2 s, doubling to 15 s; the next line waits, too."""
        clock = Clock()
        session = opened(clock=clock, limits=SERVED)
        for wait in (2, 4, 8, 15, 15):
            clock.now += 1
            began = clock.now
            assert converse(session, b"APOP a " + b"0" * 32 + b"\r\nCAPA\r\n") == b""
            assert session.wake == began + wait
            clock.now = began + wait - 0.1
            assert session.next_chunk() is None
            clock.now = began + wait
            assert drain(session).startswith(b"-ERR [AUTH] " + words("credentials") + b"\r\n+OK")

    def test_a_thousand_failed_logins_overflow_nothing(self) -> None:
        clock = Clock()
        session = opened(clock=clock, limits=Limits(login_wait=2.0))
        for _ in range(1100):
            converse(session, b"APOP a " + b"0" * 32 + b"\r\n")
            clock.now = session.wake
            assert drain(session).startswith(b"-ERR")

    def test_the_embedded_server_never_waits(self) -> None:
        session = opened()
        for _ in range(30):
            assert converse(session, b"APOP a " + b"0" * 32 + b"\r\n").startswith(b"-ERR")
        assert not session.closing


class TestLimits:
    def test_twenty_bad_commands_in_a_row(self) -> None:
        session = opened(limits=Limits(bad_commands=20))
        assert converse(session, b"x\r\n" * 19 + b"CAPA\r\n").count(b"-ERR") == 19
        assert not session.closing
        assert converse(session, b"x\r\n" * 25).count(b"-ERR") == 20
        assert session.closing

    def test_a_learner_may_err(self) -> None:
        session = opened()
        assert converse(session, b"x\r\n" * 100).count(b"-ERR") == 100
        assert not session.closing

    def test_feeding_a_closed_session_stores_nothing(self) -> None:
        session = opened()
        converse(session, b"QUIT\r\n")
        session.feed(b"x" * 1000)
        assert not session._lines.pending


def test_one_connection_too_many() -> None:
    """It is refused in place of the greeting, and no command is served."""
    session = practice_server().session()
    session.refuse()
    session.feed(b"NOOP\r\n")
    assert drain(session) == b"-ERR [SYS/TEMP] " + words("too-many-connections") + b"\r\n"
    assert session.closing


class TestStls:
    """sec-V8, RFC 2595 §4."""

    def test_what_came_in_clear_is_forgotten(self) -> None:
        session = opened()
        assert converse(session, b"USER learner\r\nSTLS\r\n").count(b"+OK") == 2
        assert session.starts_tls
        assert session.name == ""
        session.feed(b"DELE 1\r\n")  # between +OK and the handshake
        assert session.next_chunk() is None
        assert session._lines.pending  # so the listener can hang up
        session.tls_started()
        assert not session._lines.pending
        assert converse(session, b"PASS secret\r\n") == b"-ERR " + words("must-follow") + b"\r\n"
        assert session.context.state is State.AUTHORIZATION

    @over("behind", [b"N", b"NOOP\r\n", b"\r", b"USER x\r\nPASS y\r\n"])
    def test_commands_in_the_same_flight(self, behind: bytes) -> None:
        session = opened()
        assert converse(session, b"STLS\r\n" + behind) == b"-ERR " + words("stls-pipelined") + b"\r\n"
        assert session.starts_tls is False
        assert session.closing
        assert not session.starts_tls

    def test_under_tls_from_the_start(self) -> None:
        (refused,) = play("STLS", tls=True)
        assert status(refused).encode() == b"-ERR " + words("already-tls")
        assert refused.tls


class TestSameForAll:
    """sec-V10: unknown user and wrong password cannot be told apart."""

    ATTEMPTS = (
        ["USER {}", "PASS wrong"],
        ["APOP {} " + "0" * 32],
        ["AUTH PLAIN {plain}"],
        ["AUTH PLAIN", "{plain}"],
    )

    def attempt(self, lines: list[str], name: str) -> list[str]:
        lines = [line.replace("{plain}", plain(name, "wrong")).replace("{}", name) for line in lines]
        return [exchange.received.decode() for exchange in play(*lines)]

    @over("lines", ATTEMPTS)
    def test_same_words(self, lines: list[str]) -> None:
        assert self.attempt(lines, NAME) == self.attempt(lines, "nobody")
        assert self.attempt(lines, NAME)[-1].endswith("-ERR [AUTH] " + words("credentials").decode() + "\r\n")

    @pytest.mark.parametrize("lines", ATTEMPTS)
    def test_same_way(self, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Each compares once, in constant time."""
        compared: list[tuple[bytes, bytes]] = []

        def compare(a: bytes, b: bytes) -> bool:
            compared.append((a, b))
            return a == b

        monkeypatch.setattr(sasl.hmac, "compare_digest", compare)
        self.attempt(lines, NAME)
        self.attempt(lines, "nobody")
        assert len(compared) == 2

    def test_user_gives_no_name_away(self) -> None:
        """RFC 1939 §7, USER."""
        assert statuses(f"USER {NAME}", "USER nobody", "USER \udcff") == [statuses("USER x")[0]] * 3


class TestStamp:
    def test_it_differs_each_time(self) -> None:
        """RFC 1939 §7: "MUST be different each time the POP3 server issues a banner greeting"."""
        server = practice_server(new_stamp=None)
        stamps = [server.session().stamp for _ in range(2000)]
        assert len(set(stamps)) == 2000
        assert all(re.fullmatch(r"<[0-9]+\.[0-9]+@popshell\.example>", stamp) for stamp in stamps)

    def test_apop_works_for_it(self) -> None:
        """RFC 1939 §7, APOP: a stamp in the greeting says that APOP works."""
        (exchange,) = play(f"APOP {NAME} {apop_digest(STAMP, SECRET)}")
        assert exchange.ok


class TestDeviations:
    def test_user_and_apop_for_one_account(self) -> None:
        assert play(*LOGIN)[-1].ok
        assert play(f"APOP {NAME} {apop_digest(STAMP, SECRET)}")[-1].ok

    def test_plain_in_clear_text(self) -> None:
        assert play(f"AUTH PLAIN {plain()}")[-1].ok

    def test_each_is_named(self) -> None:
        assert {d.page for d in DEVIATIONS} >= {"commands/APOP", "commands/USER", "commands/AUTH"}


class TestFaults:
    """What tests/test_faults.py and tests/transcripts/practice.txt do not show."""

    def test_the_line_goes_dead(self) -> None:
        session = logged_in(faults={"line_goes_dead_after": 3})
        assert converse(session, b"DELE 1\r\n", b"QUIT\r\n", b"NOOP\r\n").count(b"\r\n") == 1
        assert not session.closing
        assert session.settings.accounts.maildrop_of(NAME).in_use  # until the connection is known to have ended

    def test_it_goes_dead_at_once(self) -> None:
        session = opened(faults={"line_goes_dead_after": 0})
        assert converse(session, b"NOOP\r\nNOOP\r\n") == b""

    def test_without(self) -> None:
        """Neither announced nor, before login, served."""
        full = play("CAPA")[0].response
        assert full is not None
        lines = {"USER": "USER a", "SASL": "AUTH PLAIN", "STLS": "STLS", "UTF8": "UTF8", "LANG": "LANG"}
        for tag in ("USER", "SASL", "TOP", "UIDL", "STLS", "UTF8", "LANG", "RESP-CODES", "AUTH-RESP-CODE"):
            capa = play("CAPA", faults={"without": [tag]})[0].response
            assert capa is not None
            # Without response codes there is no AUTH code either (RFC 3206 §6).
            expected = {"RESP-CODES", "AUTH-RESP-CODE"} if tag == "RESP-CODES" else {tag}
            assert full.capabilities().keys() - capa.capabilities().keys() == expected, tag
            if tag in lines:
                (refused,) = play(lines[tag], faults={"without": [tag]})
                assert status(refused).encode() == b"-ERR " + words("unknown-command"), tag


class TestSubscribers:
    """A subscriber gets each session's Exchanges as the client sees them, and its end."""

    def test_what_is_published(self) -> None:
        server = practice_server()
        seen: list[tuple[ServerSession, Exchange | None]] = []
        server.subscribe(lambda *event: seen.append(event))
        theirs = rehearse([*LOGIN, "RETR 6", "AUTH PLAIN", "QUIT"], server)
        assert [exchange for _, exchange in seen] == [*theirs, None]
        assert len({id(session) for session, _ in seen}) == 1

    def test_sessions_can_be_told_apart(self) -> None:
        server = practice_server()
        seen: list[tuple[str, str | None]] = []
        unsubscribe = server.subscribe(
            lambda session, exchange: seen.append((session.client, exchange and exchange.name))
        )
        first, second = server.session(client="192.0.2.1:5"), server.session(client="192.0.2.2:6")
        drain(first), drain(second)
        converse(second, b"CAPA\r\n")
        converse(first, b"AUTH PLAIN\r\n", plain().encode() + b"\r\n")
        for session in (first, first, second):
            session.lost()
        one, other = first.client, second.client
        expected = [(one, ""), (other, ""), (other, "CAPA"), (one, "AUTH"), (one, None), (other, None)]
        assert seen == expected
        unsubscribe()
        rehearse(["CAPA"], server)
        assert seen == expected

    def test_tls_a_lost_connection_and_what_a_fault_changed(self) -> None:
        server = practice_server(faults={"line_goes_dead_after": 2})
        seen: list[Exchange] = []
        server.subscribe(lambda _, exchange: seen.append(exchange) if exchange else None)
        rehearse(["STLS", "CAPA", "NOOP"], server)
        assert [(e.name, e.tls, e.problem and e.problem.code) for e in seen] == [
            ("", False, None),
            ("STLS", False, None),
            ("CAPA", True, None),
            ("NOOP", True, "no-reply"),
        ]

    def test_the_time_of_the_end_is_the_servers(self) -> None:
        clock = Clock(5.0)
        server = practice_server(clock=clock)
        seen: list[Exchange] = []
        server.subscribe(lambda _, exchange: seen.append(exchange) if exchange else None)
        session = server.session()
        drain(session)
        session.feed(b"NOOP\r\n")
        clock.now = 9.0
        session.lost()
        assert [(e.started, e.finished) for e in seen] == [(5.0, 5.0), (5.0, 9.0)]

    def test_without_a_subscriber_nothing_watches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[object] = []
        monkeypatch.setattr(session_module, "Connection", lambda *_, **__: made.append(1))
        converse(practice_server().session(), b"CAPA\r\n")
        assert made == []


class TestAccounts:
    def test_what_a_login_costs_does_not_depend_on_how_many_messages_there_are(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Sizes are summed once for all accounts, and again only where messages went away."""
        asked: list[Message] = []
        octets = Message.octets

        def note(message: Message) -> int:
            asked.append(message)
            return len(message.content)

        accounts = {f"user{number}": SECRET for number in range(20)}
        server = practice_server(accounts=accounts, messages=tuple(default_messages()) * 100)
        monkeypatch.setattr(Message, "octets", property(note))
        for name in accounts:
            found = rehearse([f"USER {name}", "PASS secret", "STAT", "QUIT"], server)
            assert status(found[-2]) == "+OK 700 752800"
        assert len(asked) < 700
        monkeypatch.setattr(Message, "octets", octets)

    def test_names_are_prepared_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a login costs does not depend on how many accounts there are."""
        prepared: list[str] = []

        def note(text: str, *, stored: bool = False) -> str:
            prepared.append(text)
            return text

        monkeypatch.setattr(maildrop, "prepared", note)
        server = practice_server(accounts={f"user{number}": SECRET for number in range(50)} | {NAME: SECRET})
        for _ in range(3):
            rehearse([*LOGIN, "CAPA", "QUIT"], server)
        assert len(prepared) == 51


# -- any bytes -------------------------------------------------------------------------------------------------------

COMMANDS = b"CAPA|STAT|LIST|UIDL|RETR 2|TOP 2 1|DELE 1|RSET|NOOP".split(b"|")
PIECES = (
    *(line.encode() + b"\r\n" for line in LOGIN), *(line + b"\r\n" for line in COMMANDS),
    b"AUTH PLAIN\r\n", b"*\r\n", plain().encode() + b"\r\n", b"AUTH PLAIN =\r\n", b"LANG zh-Hant\r\n", b"LANG\r\n",
    b"UTF8\r\n", b"QUIT\r\n", b"\r\n", b"\r", b"\n", b"x", b"\0", b"\xff", b"A" * 300, b"B" * 9000, b" ", b"\x16\x03",
    b" HTTP/1.1",
)  # fmt: skip


def stream(rng: random.Random) -> bytes:
    weights = [3] * 12 + [1] * (len(PIECES) - 12)
    return b"".join(rng.choices(PIECES, weights, k=rng.randint(1, 14))) + b"\r\n"


@over("part", range(4))
def test_the_same_replies_however_the_commands_are_cut(part: int) -> None:
    for seed in range(100):
        rng = random.Random(part * 1000 + seed)
        data = stream(rng)
        wanted = converse(opened(), data)
        for cut in (chunks_of(1), chunks_of(3), at_random(rng)):
            assert converse(opened(), *cut(data)) == wanted, data


@over("part", range(4))
def test_every_reply_is_sound(part: int) -> None:
    """As many replies as lines, each whole, and the client is in the state that the server is in."""
    for seed in range(100):
        data = stream(random.Random(5000 + part * 1000 + seed))
        session = practice_server().session()
        watcher = Connection(longest_line=session.limits.line)
        events = watcher.received(drain(session))
        for line in data.splitlines(keepends=True):
            watcher.sent(line)
            events += watcher.received(converse(session, line))
        assert all(isinstance(event, Challenge) or event.problem is None for event in events), data
        if not session.closing:
            assert (watcher.pending, watcher.state) == (watcher.challenged, session.context.state)
            assert watcher.here.done == session.context.done
        for event in events:
            if isinstance(event, Exchange):
                assert len(event.status_line()) <= 510  # RFC 1939 §3


@PROFILE
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(PIECES)), max_size=12))
def test_any_bytes_are_answered(pieces: list[bytes]) -> None:
    session = opened()
    out = converse(session, *pieces)
    assert out == b"" or out.endswith(b"\r\n")
    assert session.deadline() > 0
    session.lost()
    assert not session.settings.accounts.maildrop_of(NAME).in_use


WORDS = st.sampled_from(
    [
        "PASS",
        "pass",
        "PASS ",
        "USER a",
        "RETR 1",
        "RETR x",
        "APOP a b",
        "AUTH PLAIN =",
        "XTND",
        "",
        " ",
        "\t",
        "\0",
        "信",
    ]
)


@PROFILE
@given(st.lists(WORDS, max_size=4).map(" ".join), st.sampled_from(State), st.sampled_from(["", "USER"]), st.booleans())
def test_a_line_is_judged_alike_when_it_is_remembered(text: str, state: State, follows: str, tls: bool) -> None:
    context = Context(state, follows, tls)
    for _ in range(2):
        remembered, anew = session_module._judged(text, context), session_module._judge(text, context)
        assert (remembered.line, remembered.refusal) == (anew.line, anew.refusal)
        assert advance(context, remembered.line, True) == advance(context, anew.line, True)


def test_no_secret_is_remembered() -> None:
    session_module._judge_once.cache_clear()
    statuses("USER learner", "PASS C4n4ry", f"APOP learner {'0' * 32}", "AUTH PLAIN C4n4ry", "PASSC4n4ry", "PAS C4n4ry")
    texts = [cell for cell in gc.get_objects() if type(cell) is session_module._Judged]
    assert texts
    assert not any("C4n4ry" in judged.line.text or "0000" in judged.line.text for judged in texts)


def test_a_bug_in_a_handler_is_not_told_to_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception reaches the owner, who hangs up; no text of it goes out, and the lock is given back."""
    from popshell.server import mailserver

    def broken(session: ServerSession, line: object) -> None:
        raise RuntimeError("C4n4ry")

    monkeypatch.setattr(mailserver, "HANDLERS", {**mailserver.HANDLERS, "NOOP": broken})
    session = logged_in()
    session.feed(b"NOOP\r\n")
    with pytest.raises(RuntimeError):
        session.next_chunk()
    session.lost()
    assert drain(session) == b""
    assert not session.settings.accounts.maildrop_of(NAME).in_use


class TestRehearse:
    def test_a_session_of_its_own_each_time(self) -> None:
        server = practice_server()
        assert [status(e) for e in rehearse(["STAT"], server)] == [status(e) for e in rehearse(["STAT"], server)]

    def test_behind_the_end_nothing_is_sent(self) -> None:
        assert [e.name for e in play("QUIT", "NOOP", "STAT")] == ["QUIT"]

    def test_then_sees_the_session(self) -> None:
        seen: list[tuple[State, set[int]]] = []
        rehearse(
            [*LOGIN, "DELE 2"], practice_server(), then=lambda s: seen.append((s.context.state, set(s.maildrop.marks)))
        )
        assert seen == [(State.TRANSACTION, {2})]

    def test_stls_and_after(self) -> None:
        assert [e.tls for e in play("CAPA", "STLS", "CAPA")] == [False, False, True]

    def test_accounts_have_maildrops_of_their_own(self) -> None:
        server: MailServer = practice_server(accounts={"a": "x", "b": "y"})
        rehearse(["USER a", "PASS x", "DELE 1", "QUIT"], server)
        counts = [rehearse([f"USER {n}", f"PASS {p}", "STAT"], server)[-1] for n, p in (("a", "x"), ("b", "y"))]
        assert [status(e).split()[1] for e in counts] == ["6", "7"]


def test_no_reply_of_auth_shows_what_base64_hides() -> None:
    """greenmail#1011: CR and LF hidden in base64 forged a reply."""
    for name, secret in itertools.product(("a\r\n+OK", "a\n", "\r"), ("b", "b\r\nDELE 1")):
        exchanges = play("AUTH PLAIN", plain(name, secret), "AUTH PLAIN " + blob(f"{name}\0{name}\0{secret}"))
        assert all(e.received.endswith(b"-ERR " + words("bad-message") + b"\r\n") for e in exchanges)


def test_what_a_client_shows_under_tls() -> None:
    """The name in its certificate, prepared as a name is (RFC 4013); none without a certificate."""
    for name, wanted in (("mei", "mei"), ("s\u00adoft", "soft"), ("", None)):
        session = opened()
        session.feed(b"STLS\r\n")
        drain(session)
        session.tls_started(b"b", name)
        assert (session.certificate, session.binding) == (wanted, b"b")
    session.tls_started()
    assert (session.certificate, session.binding, session.starts_tls) == (None, None, False)


def test_a_session_at_first() -> None:
    session = ServerSession(practice_server().settings, HANDLERS)
    assert session.context == Context()
    assert (session.client, session.user, session.name, session.failed_logins) == ("", "", "", 0)
    assert (session.binding, session.certificate, session.opened, session.answer_auth) == (None, None, None, None)
    assert (session.closing, session.starts_tls, session.unresponsive, session.wake) == (False, False, False, 0.0)


def test_a_greeting_without_a_timestamp() -> None:
    session = practice_server(faults={"without": ["APOP"]}).session()
    greeting = drain(session)
    assert session.stamp == ""
    assert greeting == b"+OK " + texts("en")["greeting"].replace("{stamp}", "").strip().encode() + b"\r\n"


def test_status_lines_without_words() -> None:
    of = Words(texts).status_line
    assert of("en", Reply(True, raw="1 2")) == b"+OK 1 2\r\n"
    assert of("en", Reply(False, raw="no")) == b"-ERR no\r\n"
    assert of("en", Reply(False, "no such key")) == b"-ERR\r\n"
    assert of("en", Reply(True, "no such key"), "IN-USE") == b"+OK [IN-USE]\r\n"


def test_a_command_that_is_not_served_is_unknown() -> None:
    handlers = {name: handler for name, handler in HANDLERS.items() if name != "NOOP"}
    session = ServerSession(practice_server().settings, handlers)
    drain(session)
    for line, key in ((b"NOOP", "unknown-command"), (b"NOPE", "unknown-command"), (b"XTND XMIT", "historic")):
        assert converse(session, line + b"\r\n") == b"-ERR " + words(key) + b"\r\n", line


def test_silence_begins_when_a_reply_has_gone_out() -> None:
    """The time that a slow client takes for a reply, or for the greeting, is no silence (RFC 1939 §3)."""
    clock = Clock()
    session = practice_server(clock=clock, messages=(message(b"A: b\n\n" + b"x" * 600_000),)).session()
    assert session.next_chunk() is not None
    clock.now = AUTO - 1
    assert session.next_chunk() is None
    assert session.deadline() == 2 * AUTO - 1
    converse(session, f"USER {NAME}\r\nPASS {SECRET}\r\n".encode())
    session.feed(b"RETR 1\r\n")
    assert session.next_chunk() is not None
    clock.now += 100
    drain(session)
    assert session.deadline() == clock.now + AUTO
    before, clock.now = session.deadline(), clock.now + 100
    assert session.next_chunk() is None
    assert session.deadline() == before  # nothing was said since


def test_the_wait_after_a_failed_login_doubles_thirty_times_at_most() -> None:
    limits = Limits(login_wait=1.0, login_wait_most=float("inf"))
    session = opened(limits=limits)
    for failures, seconds in ((1, 1), (2, 2), (31, 2**30), (32, 2**30), (5000, 2**30)):
        session.failed_logins = failures
        session.wait_after_failure()
        assert session.wake == seconds, failures
    session.clock.now = 2.0**30  # type: ignore[attr-defined]
    session.next_chunk()
    assert session.wake == 0.0


def test_what_scram_is_verified_with() -> None:
    """At least 4096 iterations (RFC 7677 §4); one salt for a name at one server; bound only where that is offered."""

    def first(server: MailServer, binding: bytes | None = None) -> dict[str, str]:
        session = server.session(tls=True)
        session.binding = binding
        drain(session)
        challenge = converse(session, b"AUTH SCRAM-SHA-256 " + b64encode(b"y,,n=who,r=abc") + b"\r\n")
        said = b64decode(challenge.removeprefix(b"+ ")).decode()
        return dict(part.split("=", 1) for part in said.split(","))

    only = {"mechanisms": ["SCRAM-SHA-256"]}
    server = practice_server(faults=only)
    assert first(server)["i"] == "4096"
    assert len(server.settings.accounts.salt_key) == 16
    assert first(server)["s"] == first(server, b"binding")["s"] != first(practice_server(faults=only))["s"]


def test_a_session_that_begins_under_tls_is_recorded_so() -> None:
    server, seen = practice_server(), []
    server.subscribe(lambda session, exchange: seen.append(exchange))
    drain(server.session(tls=True))
    drain(server.session())
    assert [exchange.tls for exchange in seen] == [True, False]


def test_a_name_is_forgotten_once_it_was_used_and_a_mark_is_named() -> None:
    session = logged_in()
    assert session.name == ""
    converse(session, b"DELE 2\r\n")
    assert converse(session, b"RETR 2\r\n") == b"-ERR " + words("marked").replace(b"{number}", b"2") + b"\r\n"
