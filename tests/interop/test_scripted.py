"""What real servers do to a client, byte for byte, through a real socket: each row is a server that somebody met.

A row is the server's script (its greeting, then one answer a line), the lines typed, and the records that come of it,
in short: `STAT +OK`, `RETR +OK 3 lines`, `CAPA -ERR [AUTH]`, `+ challenge`, `unasked`, and `!code` for a problem.
`source` says where it was seen: a server that was tried, a public thread, a CVE, or the rule that it breaks.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trustme

from interop.practice import run, together, until
from interop.scripted import Act, Answer, Piecemeal, playing
from interop.talk import Event, Talk, talking
from popshell.net.address import Address, Destination, TlsMode
from popshell.net.errors import NetError
from popshell.protocol.connection import Challenge
from popshell.protocol.records import Exchange
from popshell.protocol.wire import ReplyLimits

OK = b"+OK\r\n"
LOGIN = ("USER u", "PASS p")


@dataclass(frozen=True)
class Row:
    name: str
    source: str
    script: tuple[Answer, ...]
    typed: tuple[str, ...]
    told: tuple[str, ...]
    #: all lines in one flight
    pipelined: bool = False
    #: how the line ended, where the server ends it: "" for an orderly end, else NetError's code
    ended: str | None = None
    check: Callable[[Talk], bool] | None = None
    limits: ReplyLimits | None = None


def in_short(event: Event) -> str:
    """One record in a few words."""
    if isinstance(event, Challenge):
        return f"+ {event.line.decode()}"
    parts = [event.name or ("greeting" if event.is_greeting else "")]
    if event.response is not None:
        parts.append(event.response.status.value)
        parts.append(f"[{event.response.code}]" if event.response.code else "")
        lines = event.response.lines
        parts.append("" if lines is None else f"{len(lines)} lines")
    if event.problem is not None:
        parts.append("!" + "/".join(filter(None, (event.problem.code, event.problem.speaks))))
    return " ".join(filter(None, parts))


def last(talk: Talk) -> Exchange:
    event = talk.events[-1]
    assert isinstance(event, Exchange)
    return event


def content(talk: Talk) -> bytes | None:
    response = last(talk).response
    assert response is not None
    return response.content


def capabilities(talk: Talk) -> list[str]:
    return list(talk.connection.capabilities or ())


def mail(body: bytes) -> bytes:
    return OK + b"Subject: x\r\n\r\n" + body


ROWS = (
    # Status lines
    Row(
        "every reply bare",
        "popa3d; a bare indicator is a whole reply (RFC 1939 §3)",
        (OK, OK, OK, b"+OK 2 320\r\n", OK, b"-ERR\r\n", (OK, Act.CLOSE)),
        (*LOGIN, "STAT", "DELE 1", "DELE 9", "QUIT"),
        ("greeting +OK", "USER +OK", "PASS +OK", "STAT +OK", "DELE +OK", "DELE -ERR", "QUIT +OK"),
        ended="",
        check=lambda talk: talk.connection.maildrop.marks == {1},
    ),
    Row(
        "a space and nothing behind it",
        "RFC 1939 §3: the text behind the indicator may be empty",
        (b"+OK \r\n", b"+OK \r\n", b"-ERR \r\n"),
        LOGIN,
        ("greeting +OK", "USER +OK", "PASS -ERR"),
        check=lambda talk: last(talk).response.text == "",  # type: ignore[union-attr]
    ),
    Row(
        "a reply that takes its time, octet by octet",
        "Courier 1.0.16 takes 5.1 s, Cyrus 3.6.1 3.1 s, even for a syntax error",
        (Piecemeal(b"+OK Hello there.\r\n"), Piecemeal(b"-ERR Invalid command.\r\n"), Piecemeal(b"+OK 0 0\r\n")),
        ("FOO", "STAT"),
        ("greeting +OK", "FOO -ERR", "STAT +OK"),
    ),
    Row(
        "text in GBK",
        "lin-mao/qqbot#36: a server's reply that is not UTF-8",
        (b"+OK \xbb\xb6\xd3\xad\r\n", b"-ERR \xca\xda\xc8\xa8\xc2\xeb\r\n"),
        ("USER u",),
        ("greeting +OK", "USER -ERR"),
        check=lambda talk: last(talk).status_line() == b"-ERR \xca\xda\xc8\xa8\xc2\xeb",
    ),
    Row(
        "a status line without end",
        "cpython CVE-2013-1752: unbounded readline",
        (OK, b"+OK " + b"x" * 9000),
        ("NOOP",),
        ("greeting +OK", "NOOP !status-too-long"),
        ended="",
    ),
    # Greetings
    Row(
        "locked at the door",
        "horms/perdition#4",
        ((b"-ERR [IN-USE] in use by pid 12345\r\n", Act.CLOSE),),
        (),
        ("greeting -ERR [IN-USE]",),
        ended="",
    ),
    Row(
        "a greeting cut off",
        "CPython's poplib takes it for good",
        ((b"+OK PO", Act.CLOSE),),
        (),
        ("!cut",),
        ended="",
    ),
    Row("no greeting", "MailKit#972: a TLS port, spoken to in clear", ((Act.CLOSE,),), (), ("!no-reply",), ended=""),
    Row(
        "a TLS alert",
        "MailKit#457, openssl s_server",
        ((b"\x15\x03\x01\x00\x02\x02\x46",),),
        (),
        ("!not-pop3/tls",),
        ended="",
    ),
    Row("IMAP", "FairEmail#56", (b"* OK [CAPABILITY IMAP4rev1] ready\r\n",), (), ("!not-pop3/imap",), ended=""),
    Row("SMTP", "FairEmail#56", (b"220 mail.example ESMTP\r\n",), (), ("!not-pop3/smtp",), ended=""),
    Row("HTTP", "a captive portal", (b"HTTP/1.1 302 Found\r\n",), (), ("!not-pop3/http",), ended=""),
    Row("SSH", "a wrong port", (b"SSH-2.0-OpenSSH_9.2\r\n",), (), ("!not-pop3/ssh",), ended=""),
    Row("bare LF", "blog.yimingliu.com 2009; superuser 1545899", (b"+OK ready\n",), (), ("!bare-lf",), ended=""),
    Row("lower case", "RFC 1939 §3: indicators are upper case", (b"+ok ready\r\n",), (), ("!lower-case",), ended=""),
    Row("no blank after the indicator", "RFC 1939 §3", (b"+OKAY ready\r\n",), (), ("!not-pop3/ok",), ended=""),
    # CAPA
    Row(
        "CAPA refused",
        "popa3d, solid-pop3d, voidpop",
        (OK, b"-ERR unknown command\r\n", OK),
        ("CAPA", "USER u"),
        ("greeting +OK", "CAPA -ERR", "USER +OK"),
        check=lambda talk: talk.connection.capabilities is None,
    ),
    Row(
        "CAPA with junk",
        "GNU mailutils 3.15 EXPIRENEVER, Twisted 24.11 CELERITY, Courier 1.0.16 UTF8 USER",
        (OK, b"+OK\r\nTOP\r\nEXPIRENEVER\r\nCELERITY\r\nUTF8 USER\r\nSASL PLAIN LOGIN\r\nCAPA\r\n\r\n.\r\n"),
        ("CAPA",),
        ("greeting +OK", "CAPA +OK 7 lines"),
        check=lambda talk: capabilities(talk) == ["TOP", "EXPIRENEVER", "CELERITY", "UTF8", "SASL", "CAPA"],
    ),
    Row(
        "CAPA that changes after login",
        "jakartaee/mail-api#50, IndySockets/Indy#427",
        (OK, b"+OK\r\nUSER\r\n.\r\n", OK, OK, b"+OK\r\nTOP\r\nUIDL\r\n.\r\n"),
        ("CAPA", *LOGIN, "CAPA"),
        ("greeting +OK", "CAPA +OK 1 lines", "USER +OK", "PASS +OK", "CAPA +OK 2 lines"),
        check=lambda talk: capabilities(talk) == ["TOP", "UIDL"],
    ),
    Row(
        "CAPA without end",
        "docs/reference-limits.md",
        (OK, b"+OK\r\n" + b"X-JUNK\r\n" * 1200),
        ("CAPA",),
        ("greeting +OK", "CAPA +OK !too-many-lines"),
        ended="",
    ),
    # Listings
    Row(
        "UIDL without the number",
        "twisted/twisted#9104",
        (OK, OK, OK, b"+OK tw-1\r\n"),
        (*LOGIN, "UIDL 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "UIDL +OK"),
        check=lambda talk: not talk.connection.maildrop.unique_ids,
    ),
    Row(
        "numbers echoed as they were typed",
        "tcllib's pop3d 1.1.0",
        (OK, OK, OK, b"+OK 01 221\r\n", b"+OK +1 221\r\n"),
        (*LOGIN, "LIST 01", "LIST +1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "LIST +OK", "LIST +OK"),
        check=lambda talk: talk.connection.maildrop.sizes == {1: 221},
    ),
    Row(
        "UIDL refused, ids empty or twice",
        "tcllib's pop3d 1.1.0; Zimbra/zm-mailbox#1472; CVE-2018-14356",
        (OK, OK, OK, b"-ERR unknown command 'UIDL'\r\n", b"+OK\r\n1 \r\n2 ab\r\n2 cd\r\n3\r\n.\r\n"),
        (*LOGIN, "UIDL", "UIDL"),
        ("greeting +OK", "USER +OK", "PASS +OK", "UIDL -ERR", "UIDL +OK 4 lines"),
        check=lambda talk: dict(talk.connection.maildrop.unique_ids) == {2: "cd"},
    ),
    Row(
        "a size that is no number",
        "axllent/mailpit PR312: %!d(float64=5461)",
        (OK, OK, OK, b"+OK 1 %!d(float64=5461)\r\n", b"+OK\r\n1 %!d(float64=5461)\r\n.\r\n"),
        (*LOGIN, "STAT", "LIST"),
        ("greeting +OK", "USER +OK", "PASS +OK", "STAT +OK", "LIST +OK 1 lines"),
        check=lambda talk: not talk.connection.maildrop.sizes,
    ),
    Row(
        "numbers below zero and beyond all bounds",
        "CVE-2003-1471, CVE-2004-2520",
        (OK, OK, OK, b"+OK -1 -1\r\n", b"+OK\r\n-1 5\r\n99999999999999999999 5\r\n\xd9\xa3 5\r\n1 5\r\n.\r\n"),
        (*LOGIN, "STAT", "LIST"),
        ("greeting +OK", "USER +OK", "PASS +OK", "STAT +OK", "LIST +OK 4 lines"),
        check=lambda talk: dict(talk.connection.maildrop.sizes) == {1: 5},
    ),
    Row(
        "an empty listing",
        "RFC 1939 §5",
        (OK, OK, OK, b"+OK\r\n.\r\n"),
        (*LOGIN, "LIST"),
        ("greeting +OK", "USER +OK", "PASS +OK", "LIST +OK 0 lines"),
        check=lambda talk: talk.connection.maildrop.count == 0,
    ),
    Row(
        "marked messages still listed, and deleted twice",
        "Twisted 24.11, GNU mailutils 3.15",
        (OK, OK, OK, OK, b"+OK\r\n1 0\r\n2 200\r\n.\r\n", OK, b"+OK 2 200\r\n"),
        (*LOGIN, "DELE 1", "LIST", "DELE 1", "STAT"),
        ("greeting +OK", "USER +OK", "PASS +OK", "DELE +OK", "LIST +OK 2 lines", "DELE +OK", "STAT +OK"),
        check=lambda talk: talk.connection.maildrop.marks == {1},
    ),
    Row(
        "DELE 0 accepted",
        "Twisted 24.11 passes -1 on to the mailbox",
        (OK, OK, OK, OK),
        (*LOGIN, "DELE 0"),
        ("greeting +OK", "USER +OK", "PASS +OK", "DELE +OK"),
        check=lambda talk: last(talk).command.has("zero"),  # type: ignore[union-attr]
    ),
    # Mail
    Row(
        "more octets than LIST said",
        "Twisted 24.11, tcllib count LF; Courier 1.0.16 394 and 1,101",
        (OK, OK, OK, b"+OK 1 10\r\n", b"+OK 10 octets\r\nSubject: x\r\n\r\nfar more than ten octets\r\n.\r\n"),
        (*LOGIN, "LIST 1", "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "LIST +OK", "RETR +OK 3 lines"),
    ),
    Row(
        "dots of all kinds",
        "axllent/mailpit#299, greenmail#475, python/cpython#95252",
        (OK, OK, OK, mail(b"..\r\n...\r\n.. \r\na.\r\n..a\r\n.\r\n")),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK 7 lines"),
        check=lambda talk: content(talk) == b"Subject: x\r\n\r\n.\r\n..\r\n. \r\na.\r\n.a\r\n",
    ),
    Row(
        "a dot that was not stuffed",
        "pocoproject/poco#340, bertjohnson/OpaqueMail#68",
        (OK, OK, OK, mail(b"one\r\n.\r\ntwo\r\n.\r\n"), OK),
        (*LOGIN, "RETR 1", "NOOP"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK 3 lines", "!unasked", "!unasked", "NOOP +OK"),
    ),
    Row(
        "lines of LF alone, and a dot that ends nothing",
        "curl/curl#740, #2309: it hangs",
        (OK, OK, OK, (OK + b"Subject: x\n\nbody\n.\n",)),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK"),
        check=lambda talk: talk.connection.due().tail.endswith(b".\n"),  # type: ignore[union-attr]
    ),
    Row(
        "NUL and eight bits",
        "seven of nine servers tried hand NUL on",
        (OK, OK, OK, mail(b"a\x00b\xff\x1b[31m\r\n.\r\n")),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK 3 lines"),
        check=lambda talk: content(talk) == b"Subject: x\r\n\r\na\x00b\xff\x1b[31m\r\n",
    ),
    Row(
        "a line of 100,000 octets",
        "odoo#10920, frappe PR15581: poplib stops at 2,048",
        (OK, OK, OK, mail(b"x" * 100_000 + b"\r\n.\r\n")),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK 3 lines"),
    ),
    Row(
        "a line without end",
        "docs/reference-limits.md",
        (OK, OK, OK, mail(b"x" * 3000)),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK !line-too-long"),
        ended="",
        limits=ReplyLimits(content_line=2048),
    ),
    Row(
        "mail without end",
        "docs/reference-limits.md",
        (OK, OK, OK, mail(b"xy\r\n" * 3000)),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK !content-too-long"),
        ended="",
        limits=ReplyLimits(content=8192),
    ),
    Row(
        "RETR without a number: a status line, then the end",
        "tcllib's pop3d 1.1.0",
        (OK, OK, OK, (b"+OK 5599716 octets\r\n", Act.CLOSE)),
        (*LOGIN, "RETR"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK !no-terminator"),
        ended="",
    ),
    Row(
        "closed in the middle of a mail",
        "node-pop3#26; sec-P5: never taken for whole",
        (OK, OK, OK, (mail(b"half of i"), Act.CLOSE)),
        (*LOGIN, "RETR 1"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK !no-terminator"),
        ended="",
    ),
    Row(
        "reset instead of a mail",
        "tcllib's pop3d 1.1.0, LIST 1x",
        (OK, OK, OK, Act.RESET),
        (*LOGIN, "LIST 1x"),
        ("greeting +OK", "USER +OK", "PASS +OK", "LIST !no-reply"),
        ended="reset",
    ),
    Row(
        "TOP 1 0 that sends it all",
        "stalwart#3165; tcllib's pop3d 1.1.0",
        (OK, OK, OK, mail(b"body\r\n.\r\n")),
        (*LOGIN, "TOP 1 0"),
        ("greeting +OK", "USER +OK", "PASS +OK", "TOP +OK 3 lines"),
    ),
    Row(
        "a message gone meanwhile",
        "mysociety/alaveteli#5697",
        (OK, OK, OK, b"-ERR Message 31 expunged\r\n", OK),
        (*LOGIN, "RETR 31", "NOOP"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR -ERR", "NOOP +OK"),
    ),
    # Endings
    Row(
        "closed without a word",
        "Twisted 24.11, wrong number of arguments",
        (OK, Act.CLOSE),
        ("STAT now",),
        ("greeting +OK", "STAT !no-reply"),
        ended="",
    ),
    Row(
        "one slip ends the session",
        "WildDuck 1.46; popa3d and solid-pop3d after a wrong PASS",
        (OK, (b"-ERR bad command\r\n", Act.CLOSE)),
        ("FOO",),
        ("greeting +OK", "FOO -ERR"),
        ended="",
    ),
    Row(
        "QUIT that could not delete",
        "RFC 1939 §6",
        (OK, OK, OK, OK, (b"-ERR some deleted messages not removed\r\n", Act.CLOSE)),
        (*LOGIN, "DELE 1", "QUIT"),
        ("greeting +OK", "USER +OK", "PASS +OK", "DELE +OK", "QUIT -ERR"),
        ended="",
    ),
    # Logging in
    Row(
        "a password refused in clear",
        "runeasymail/easymail#106, mailcow-dockerized#1157",
        (OK, b"-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n"),
        ("USER u",),
        ("greeting +OK", "USER -ERR [AUTH]"),
    ),
    Row(
        "a maildrop in use",
        "tcllib's pop3d 1.1.0 says it without a code",
        (OK, OK, b"-ERR could not aquire lock for maildrop\r\n", OK, b"-ERR [IN-USE] locked\r\n"),
        (*LOGIN, *LOGIN),
        ("greeting +OK", "USER +OK", "PASS -ERR", "USER +OK", "PASS -ERR [IN-USE]"),
    ),
    Row(
        "AUTH PLAIN in two steps",
        "marlam/mpop#11: Outlook; some send a bare +",
        (OK, b"+ \r\n", b"-ERR no\r\n", b"+\r\n", OK),
        ("AUTH PLAIN", "AHUAcA==", "AUTH PLAIN", "AHUAcA=="),
        ("greeting +OK", "+ ", "AUTH -ERR", "+ ", "AUTH +OK"),
    ),
    Row(
        "XOAUTH2 that fails with a challenge",
        "simonrob/email-oauth2-proxy#244",
        (OK, b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n", b"-ERR Authentication failure: unknown user name or bad password\r\n"),
        ("AUTH XOAUTH2 dXNlcg==", ""),
        ("greeting +OK", "+ eyJzdGF0dXMiOiI0MDAifQ==", "AUTH -ERR"),
    ),
    Row(
        "a challenge that nobody asked for",
        "sec-P4: only AUTH is answered with a challenge (RFC 5034 §4)",
        (OK, b"+ go ahead\r\n"),
        ("STAT",),
        ("greeting +OK", "STAT !challenge"),
        ended="",
    ),
    # Out of step
    Row(
        "the line echoed before the -ERR",
        "GNU mailutils 3.15, an over-long line",
        (OK, b"USER " + b"a" * 600 + b"\r\n-ERR too long\r\n"),
        ("USER " + "a" * 600,),
        ("greeting +OK", "USER !not-pop3"),
        ended="",
    ),
    Row(
        "more replies than commands",
        "Cyrus 3.6.1, a line of 10 kB",
        (OK, b"-ERR Syntax error\r\n-ERR Syntax error\r\n-ERR Unknown command\r\n", OK),
        ("USER " + "a" * 10_000, "USER u"),
        ("greeting +OK", "USER -ERR", "-ERR !unasked", "-ERR !unasked", "USER +OK"),
    ),
    Row(
        "a reply before its command",
        "CVE-2021-39272 fetchmail: a reply that precedes its command never counts",
        (OK + b"+OK logged in\r\n", b"-ERR no\r\n"),
        ("USER u",),
        ("greeting +OK", "+OK !unasked", "USER -ERR"),
    ),
    Row(
        "the dot of one mail overtakes its body",
        "WildDuck 1.46, pipelined RETRs; mpop fails on it",
        (OK, OK, OK, OK + b".\r\nSubject: one\r\n\r\nbody\r\n"),
        (*LOGIN, "RETR 1", "RETR 2"),
        ("greeting +OK", "USER +OK", "PASS +OK", "RETR +OK 0 lines", "RETR !not-pop3"),
        pipelined=True,
        ended="",
    ),
    Row(
        "an unknown command with a long answer",
        "curl/curl#14201: never guess",
        (OK, b"+OK help follows\r\nUSER\r\nPASS\r\n.\r\n", OK),
        ("HELP", "NOOP"),
        ("greeting +OK", "HELP +OK", "!unasked", "!unasked", "!unasked", "NOOP +OK"),
    ),
    Row(
        "pipelined, in two packets cut anywhere",
        "RFC 2449 §6.6",
        (OK, OK, OK, b"+OK\r\n1 5\r", b"\n.\r\n+O", b"K 1 5\r\n"),
        (*LOGIN, "LIST", "STAT", "NOOP"),
        ("greeting +OK", "USER +OK", "PASS +OK", "LIST +OK 1 lines", "STAT +OK"),
        pipelined=True,
    ),
    # STLS
    Row(
        "STLS refused",
        "RFC 2595 §4",
        (OK, b"-ERR Command not permitted when TLS active\r\n", OK),
        ("STLS", "USER u"),
        ("greeting +OK", "STLS -ERR", "USER +OK"),
        check=lambda talk: not talk.connection.wants_tls,
    ),
    Row(
        "a reply slipped in behind that of STLS",
        "CVE-2021-22947 curl, CVE-2020-14954 mutt, CVE-2026-115559 imaplib",
        (OK, b"+OK begin\r\n+OK injected\r\n"),
        ("STLS",),
        ("greeting +OK", "STLS +OK", "!stls-injection"),
        ended="",
    ),
    Row(
        "closed instead of TLS",
        "Dovecot 2.3.19, when CAPA came in the same packet",
        (OK, (OK, Act.CLOSE)),
        ("STLS",),
        ("greeting +OK", "STLS +OK"),
        ended="",
    ),
)


def test_rows() -> None:
    async def check(row: Row) -> None:
        async with (
            playing(row.script) as port,
            talking(Destination(Address("127.0.0.1", port, TlsMode.NONE)), limits=row.limits) as talk,
        ):
            await settled(talk, sent_by(row, 1))
            if row.pipelined:
                talk.send(*row.typed)
                await settled(talk, sent_by(row, len(row.script)))
            else:
                for number, line in enumerate(row.typed, 2):
                    talk.send(line)
                    await settled(talk, sent_by(row, number))
            if row.ended is not None:
                await until(lambda: talk.ended)
                [end] = talk.ended
                assert (end.code if isinstance(end, NetError) else "" if end is None else repr(end)) == row.ended
            assert tuple(in_short(event) for event in talk.events) == row.told
            assert not talk.ended or row.ended is not None, "it ended unexpectedly"
            assert row.check is None or row.check(talk)

    run(together(((row,) for row in ROWS), check))


def sent_by(row: Row, answers: int) -> int:
    """How many octets the server has sent with so many answers."""
    count = 0
    for answer in row.script[:answers]:
        for step in answer if isinstance(answer, tuple) else (answer,):
            count += len(step) if isinstance(step, bytes) else len(step.data) if isinstance(step, Piecemeal) else 0
    return count


async def settled(talk: Talk, octets: int) -> None:
    """Until all that the server sends by now has been read, or the line has ended."""
    assert talk.transport is not None
    transport = talk.transport
    await until(lambda: transport.bytes_in >= octets or talk.ended)
    await asyncio.sleep(0)


def test_names_differ_and_sources_are_given() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.source for row in ROWS)


def test_stls_and_then_the_capabilities_anew() -> None:
    """The whole of STLS with a scripted server: what was announced in clear is forgotten (RFC 2595 §4)."""
    context, pem = _certificate()

    async def body() -> None:
        heard: list[bytes] = []
        script: list[Answer] = [OK, b"+OK\r\nSTLS\r\n.\r\n", (OK, Act.TLS), b"+OK\r\nUSER\r\n.\r\n", (OK, Act.CLOSE)]
        async with (
            playing(script, context, heard) as port,
            talking(Destination(Address("127.0.0.1", port, TlsMode.STLS), ca_data=lambda: pem)) as talk,
        ):
            await talk.next()
            await talk.ask("CAPA")
            assert capabilities(talk) == ["STLS"]
            await talk.ask("STLS")
            await talk.start_tls()
            assert talk.connection.capabilities is None
            await talk.ask("CAPA")
            assert capabilities(talk) == ["USER"]
            await talk.ask("QUIT")
            assert [event.tls for event in talk.events if isinstance(event, Exchange)] == [False] * 3 + [True] * 2
            assert heard == [b"CAPA", b"STLS", b"CAPA", b"QUIT"]
            await until(lambda: talk.ended)
            assert talk.ended == [None]

    run(body())


def test_nothing_is_sent_in_clear_when_stls_leads_nowhere() -> None:
    """sec-T3: no secret on the wire, whatever the server says."""
    script: list[Answer] = [OK, OK + b"-ERR TLS is not available\r\n"]
    heard: list[bytes] = []

    async def body() -> None:
        async with (
            playing(script, heard=heard) as port,
            talking(Destination(Address("127.0.0.1", port, TlsMode.STLS))) as talk,
        ):
            await talk.next()
            await talk.ask("STLS")
            await until(lambda: talk.ended)
            with pytest.raises(NetError) as caught:
                talk.send("PASS secret")
            assert caught.value.code == "closed"
            assert heard == [b"STLS"]

    run(body())


def _certificate() -> tuple[ssl.SSLContext, str]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, authority.cert_pem.bytes().decode()
