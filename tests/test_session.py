"""Session: what is submitted goes out at once, each reply reaches the line it answers, and nothing waits for ever."""

from __future__ import annotations

import pytest
from stage import CLOSE, ScriptedWire, run, turns
from support import Clock

from popshell.protocol.connection import Challenge
from popshell.protocol.line import parse
from popshell.protocol.records import Exchange, Problem
from popshell.session import ConnectError, Event, Session, Unsendable, transcript_lines


class Parts:
    """A Session on a scripted wire, with the events that no caller awaited."""

    def __init__(self, answers: dict[str, bytes | None] | None = None, greeting: bytes | None = b"+OK hi\r\n") -> None:
        self.late: list[Event] = []
        self.ends: list[Exception | None] = []
        self.clock = Clock()
        self.session = Session(self.clock, self._event, self.ends.append)
        self.wire = ScriptedWire(answers or {}, greeting)
        self.wire.session = self.session
        self.session.wire = self.wire

    def _event(self, event: Event, awaited: bool) -> None:
        if not awaited:
            self.late.append(event)


def test_line_goes_out_byte_for_byte_with_crlf() -> None:
    async def go() -> None:
        parts = Parts()
        for text in ("  stat ", "", "RETR\t1", "\udcff", "UTF8 é"):
            parts.session.submit(text)
        assert bytes(parts.wire.sent) == b"  stat \r\n\r\nRETR\t1\r\n\xff\r\nUTF8 \xc3\xa9\r\n"
        await turns()
        parts.session.end()

    run(go())


def test_line_that_would_be_two_is_refused_before_a_byte_goes_out() -> None:
    async def go() -> None:
        for text in ("a\r", "a\nb", "\0"):
            parts = Parts()
            with pytest.raises(Unsendable):
                parts.session.submit(text)
            assert not parts.wire.sent
            assert parts.session.replies_due == 1, "the greeting only"
            parts.session.end()

    run(go())


def test_a_line_parsed_already_goes_out_as_it_was_typed() -> None:
    async def go() -> None:
        parts = Parts({"NOOP": b"+OK\r\n"})
        await parts.session.greeting
        line = parse(" NOOP ", parts.session.connection.context())
        answer = await parts.session.submit(line)
        assert isinstance(answer, Exchange)
        assert answer.command is line
        assert answer.sent == b" NOOP \r\n"

    run(go())


def test_octets_between_stls_and_tls_answer_no_line() -> None:
    async def go() -> None:
        parts = Parts({"STLS": b"+OK\r\n+OK injected\r\n", "CAPA": None})
        await parts.session.greeting
        stls, capa = parts.session.submit("STLS"), parts.session.submit("CAPA")
        begins = await stls
        assert isinstance(begins, Exchange)
        assert begins.name == "STLS"
        (injection,) = [event for event in parts.late if isinstance(event, Exchange)]
        assert injection.problem == Problem("stls-injection")
        assert injection.answers_no_line
        assert parts.session.ended, "what follows an injection is not read"
        unanswered = await capa
        assert isinstance(unanswered, Exchange)
        assert (unanswered.name, unanswered.problem) == ("CAPA", Problem("no-reply"))

    run(go())


def test_replies_answer_in_order_and_the_abandoned_ones_come_late() -> None:
    async def go() -> None:
        parts = Parts({"STAT": None, "NOOP": None})
        await parts.session.greeting
        first, second = parts.session.submit("STAT"), parts.session.submit("NOOP")
        first.cancel()
        parts.wire.say(b"+OK 1 1\r\n+OK\r\n")
        answer = await second
        assert isinstance(answer, Exchange)
        assert answer.name == "NOOP"
        assert [event.name for event in parts.late if isinstance(event, Exchange)] == ["STAT"]
        assert [exchange.name for exchange in parts.session.transcript] == ["", "STAT", "NOOP"]
        assert parts.session.replies_due == 0

    run(go())


def test_challenge_answers_its_command_and_the_response_gets_the_end() -> None:
    async def go() -> None:
        parts = Parts({"AUTH": b"+ \r\n", "xyz": b"-ERR no\r\n"})
        await parts.session.greeting
        challenge = await parts.session.submit("AUTH PLAIN")
        assert isinstance(challenge, Challenge)
        end = await parts.session.submit("xyz")
        assert isinstance(end, Exchange)
        assert end.name == "AUTH"
        assert parts.session.replies_due == 0

    run(go())


def test_an_unasked_line_answers_no_waiter() -> None:
    async def go() -> None:
        parts = Parts({"NOOP": None})
        await parts.session.greeting
        parts.wire.say(b"+OK surprise\r\n")
        waiting = parts.session.submit("NOOP")
        parts.wire.say(b"+OK real\r\n")
        answer = await waiting
        assert isinstance(answer, Exchange)
        assert answer.response is not None
        assert answer.response.text == "real"
        assert len(parts.late) == 1

    run(go())


def test_a_closed_connection_ends_every_wait() -> None:
    async def go() -> None:
        parts = Parts({"STAT": None, "NOOP": None})
        await parts.session.greeting
        first, second = parts.session.submit("STAT"), parts.session.submit("NOOP")
        parts.wire.say(CLOSE)
        record = await first
        assert isinstance(record, Exchange)
        assert record.problem is not None
        unanswered = await second
        assert isinstance(unanswered, Exchange)
        assert unanswered.problem == Problem("no-reply"), "each line that went out has its record"
        assert parts.ends == [None]
        with pytest.raises(ConnectionError):
            parts.session.submit("STAT")
        parts.session.end()
        assert parts.ends == [None], "reported once"

    run(go())


def test_broken_session_hangs_up_and_reads_no_more() -> None:
    async def go() -> None:
        parts = Parts(greeting=b"* OK IMAP4\r\n")
        record = await parts.session.greeting
        assert isinstance(record, Exchange)
        assert record.problem is not None
        assert parts.wire.closed
        assert parts.session.ended

    run(go())


def test_clock_of_the_last_line_sent() -> None:
    async def go() -> None:
        parts = Parts({"NOOP": b"+OK\r\n"})
        await parts.session.greeting
        parts.clock.now = 42.0
        await parts.session.submit("NOOP")
        parts.clock.now = 99.0
        assert parts.session.last_sent == 42.0
        assert parts.session.now() == 99.0

    run(go())


def test_tls_begins_after_its_handshake() -> None:
    async def go() -> None:
        parts = Parts({"STLS": b"+OK\r\n", "CAPA": b"+OK\r\n.\r\n"})
        await parts.session.greeting
        await parts.session.submit("STLS")
        assert not parts.session.connection.tls
        await parts.session.start_tls()
        assert parts.session.connection.tls
        answer = await parts.session.submit("CAPA")
        assert isinstance(answer, Exchange)
        assert answer.tls

    run(go())


def test_the_wire_gets_the_octet_at_which_the_reply_to_stls_ended() -> None:
    """What comes after it in clear text must not be counted with it: the wire aborts then (sec-T2)."""

    async def go() -> None:
        parts = Parts({"STLS": b"+OK\r\n"}, greeting=b"+OK hi\r\n")
        await parts.session.greeting
        await parts.session.submit("STLS")
        parts.wire.say(b"+OK injected\r\n")
        ended: list[int] = []

        async def start_tls(*, after: int) -> None:
            ended.append(after)

        parts.wire.start_tls = start_tls  # type: ignore[method-assign]
        await parts.session.start_tls()
        assert ended == [len(b"+OK hi\r\n+OK\r\n")]

    run(go())


def test_what_cannot_be_written_was_never_sent() -> None:
    async def go() -> None:
        parts = Parts()
        await parts.session.greeting

        def closed(data: bytes) -> None:
            raise ConnectError("closed")

        parts.wire.write = closed  # type: ignore[method-assign]
        with pytest.raises(ConnectionError):
            parts.session.submit("NOOP")
        assert parts.session.replies_due == 0

    run(go())


def test_an_unfinished_reply_that_is_no_longer_awaited_is_recorded() -> None:
    async def go() -> None:
        parts = Parts({"STAT": None})
        await parts.session.greeting
        parts.session.submit("STAT").cancel()
        parts.wire.say(b"+OK 1")
        parts.session.close()
        assert [event.problem for event in parts.late if isinstance(event, Exchange)] == [Problem("cut")]
        assert parts.wire.closed
        parts.session.close()
        assert parts.ends == [None]

    run(go())


def test_what_an_error_says_of_itself() -> None:
    error = ConnectError("refused", host="h", port=995)
    assert (error.code, error.facts) == ("refused", {"host": "h", "port": 995})
    assert repr(error) == "ConnectError('refused', {'host': 'h', 'port': 995})"


def test_transcript_without_masks_and_with_a_remark_before_mail() -> None:
    async def go() -> None:
        parts = Parts(
            {
                "PASS": b"+OK C4n4ry\r\n",
                "AUTH": b"+ C4n4ry\r\n",
                "C4n4ry": b"+OK\r\n",
                "RETR": b"+OK\r\nC4n4ry\tx\r\n.\r\n",
            }
        )
        await parts.session.greeting
        for text in ("USER a", "PASS C4n4ry", "AUTH PLAIN", "C4n4ry", "RETR 1"):
            await parts.session.submit(text)
        open_lines = list(transcript_lines(parts.session.transcript, masked=False, private="mail follows"))
        assert open_lines[3:] == [
            "C: PASS C4n4ry",
            "S: +OK C4n4ry",
            "C: AUTH PLAIN",
            "S: + C4n4ry",
            "C: C4n4ry",
            "S: +OK",
            "C: RETR 1",
            "S: +OK",
            "# mail follows",
            "S: C4n4ry\tx",
            "S: .",
        ]
        masked = list(transcript_lines(parts.session.transcript))
        assert masked[3:7] == ["C: PASS ••••", "S: +OK ••••", "C: AUTH PLAIN", "S: + ••••"]
        assert "S: C4n4ry\tx" in masked, "the text of a message is not changed"

    run(go())


def test_transcript_has_c_and_s_lines_masked_and_filtered() -> None:
    async def go() -> None:
        parts = Parts(
            {
                "USER": b"+OK\r\n",
                "PASS": b"-ERR C4n4ry is wrong\r\n",
                "AUTH": b"+ Q2hhbGxlbmdl\r\n",
                "Yg==": b"-ERR \x1b[31m\r\n",
                "LIST": b"+OK\r\n1 1\r\n..x\r\n.\r\n",
                "STAT": b"+OK 1",
            }
        )
        await parts.session.greeting
        for text in ("USER a", "PASS C4n4ry", "AUTH PLAIN", "Yg==", "LIST"):
            await parts.session.submit(text)
        cut = parts.session.submit("STAT")
        await turns()
        parts.wire.say(CLOSE)
        await cut
        assert list(transcript_lines(parts.session.transcript)) == [
            "S: +OK hi",
            "C: USER a",
            "S: +OK",
            "C: PASS ••••",
            "S: -ERR •••• is wrong",
            "C: AUTH PLAIN",
            "S: + Q2hhbGxlbmdl",
            "C: ••••",
            "S: -ERR \\x1b[31m",
            "C: LIST",
            "S: +OK",
            "S: 1 1",
            "S: ..x",
            "S: .",
            "C: STAT",
            "S: +OK 1",
            "# cut, no CRLF",
        ]

    run(go())
