"""What is said of other servers' replies: never more than was seen, and never less than is still known.

One table, played through the shell: a server's answers, what is typed, what stands on the screen and what must not.
"""

from __future__ import annotations

import functools
from typing import Any

from stage import CLOSE, Stage, run, turns
from support import each

from popshell.course.catalog import LANGUAGES
from popshell.protocol.strangers import SPEAKS
from popshell.session import ConnectError, Endpoint
from popshell.ui.events import Failed
from popshell.ui.shell import Options

PLACE = Endpoint("mail.example:110", False, True)
GREETING = "+OK ready"
IN = ("USER x", "PASS y")
OK = {"USER": "+OK", "PASS": "+OK", "QUIT": "+OK bye<close>"}
LOCKED = ("locked for you", "unlocks", "has locked")
SIZE = "\r\n".join(f"{n} 1" for n in range(1, 200_100))

#: what the server answers (`|` ends a line), what is typed, what is said, what is not
ROWS: list[tuple[dict[str, str], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [
    # AUTH without a mechanism, as servers answer it, in one packet or in several
    ({"AUTH": "+OK|PLAIN|LOGIN|."}, ("AUTH",), ("lists mechanisms: PLAIN, LOGIN", "This logs nobody in"),
     ("not asked for", "TRANSACTION]", "not POP3", "though the argument")),
    ({"AUTH": "+OK Supported methods:|CRAM-MD5|."}, ("AUTH", "STAT"), ("mechanisms: CRAM-MD5", "Log in first"), ()),
    ({"AUTH": "+OK|."}, ("AUTH",), ("with +OK and no list", "logs nobody in"), ("You are in", "not asked for")),
    ({"AUTH": "+OK PLAIN LOGIN|."}, ("AUTH", "STAT"), ("no list", "Log in first"), ("You are in",)),
    ({"AUTH": "+OK|PLAIN|."}, (*IN, "AUTH"), ("lists mechanisms: PLAIN", "RFC does not allow it"), ("Nobody",)),
    # one -ERR without a code says nothing of the server
    ({"AUTH": "-ERR Unknown command."}, ("AUTH PLAIN",), ("No known code says why", "may be unknown"),
     ("takes no password", "server does not")),
    ({"USER": "-ERR"}, ("USER x",), ("may be unknown",), ("takes no password", "does not have")),
    ({"AUTH": "-ERR [AUTH] no"}, ("AUTH NOSUCH",), ("no password was wrong",), ("STLS first", "password is wrong")),
    ({"CAPA": "-ERR"}, ("CAPA",), ("or takes none at this point",), ()),
    ({"CAPA": "-ERR", "STLS": "-ERR"}, ("USER x", "CAPA", "USER x", "STLS"),
     ("CAPA may work before USER", "STLS may work before USER"), ("has no CAPA", "No STLS")),
    ({"UIDL": "-ERR"}, (*IN, "UIDL"), ("optional, so perhaps it is not served",), ("server has none",)),
    ({"NOOP": "-ERR"}, (*IN, "NOOP"), ("refused; it did not say why",), ()),
    ({"RETR": "-ERR"}, (*IN, "RETR 3"), ("most likely because there is no message 3",), ("There is no message",)),
    ({"APOP": f"-ERR no{CLOSE.decode()}"}, ("APOP mei " + "0" * 32,), ("digest is wrong, or", "closed"),
     ("takes no APOP",)),
    ({"QUIT": "-ERR<close>"}, (*IN, "QUIT"), ("nothing was to be erased",), ("not erased",)),
    # a code says what its RFC gives it, for the commands that the RFC names
    ({"STAT": "-ERR [AUTH] no"}, (*IN, "STAT"), ("a code for USER, PASS, APOP, AUTH",), ("name or password", "login")),
    ({"CAPA": "-ERR [IN-USE]"}, ("CAPA",), ("a code for PASS, APOP, AUTH",), ("login was right", "did not say why")),
    ({"USER": "-ERR [IN-USE] x"}, ("USER x",), ("a code for PASS",), ("login was right",)),
    ({"PASS": "-ERR [UTF8] x"}, IN, ("a code for LIST, RETR, TOP", "password may be wrong"), ("This message",)),
    ({"NOOP": "-ERR [LOGIN-DELAY]"}, (*IN, "NOOP"), ("a code for USER, PASS",), ("too recent",)),
    ({"PASS": "-ERR [X/Y] z"}, IN, ("No known code", "[X/Y] is a response code that PopShell does not"), ("No code",)),
    ({"RSET": "-ERR [X/Y]"}, (*IN, "RSET"), ("PopShell does not know",), ("did not say why",)),
    ({"STAT": "-ERR [AUTH no"}, (*IN, "STAT"), ("begins no response code",), ("name or password",)),
    ({"LANG": "-ERR no"}, ("LANG en",), ("may not have en",), ("does not have en",)),
    # a list of capabilities that has a tag twice
    ({"CAPA": "+OK|SASL PLAIN|SASL LOGIN|.", "AUTH": "-ERR"}, ("CAPA", "AUTH PLAIN"), ("may be unknown to it",),
     ("did not list",)),
    # TLS that was accepted where none can begin
    ({"STLS": "+OK"}, (*IN, "STLS"), ("PopShell begins no TLS here",), ("both sides negotiate", "TLS is on")),
    ({"STLS": "+OK"}, ("STLS", "STLS"), ("TLS is on", "PopShell begins no TLS here"), ()),
    ({"STLS": "+OK", "insecure": ""}, ("STLS",), ("was not verified: nothing proves who answers",), ("protects",)),
    # the greeting
    ({"": "-ERR no", "QUIT": "+OK bye"}, ("QUIT",), ("turned this connection away",), ("does not allow it",)),
    ({"": "+OK <1.2@a> ready"}, (), ("in it is its timestamp",), ("at the end", "no timestamp")),
    ({"": "+OK <1.2> ready"}, (), ("no timestamp of the form <...@...>",), ()),
    ({"": "-ERR [SYS/PERM] go away"}, (), ("its words may say why",), ("later",)),
    *(
        ({"STAT": line}, (*IN, "STAT"), ("must be upper case", "the session goes on"), ("looks like", "closed"))
        for line in ("+ok 2", "-Err", "+Ok")
    ),
    ({"": "+ok ready"}, (), ("must be upper case", "PopShell closed the"), ()),
    ({"": "+OKready"}, (), ("resembles +OK", "closed"), ()),
    ({"": "220 ready"}, (), ("SMTP", "FTP and NNTP"), ("looks like SMTP",)),
    # a login locks nothing that was seen
    ({}, IN, ("maildrop is open",), LOCKED),
    ({"APOP": "+OK"}, ("APOP mei " + "0" * 32,), ("maildrop is open",), LOCKED),
    ({}, (*IN, "QUIT"), ("none is erased", "is to close"), LOCKED),
    ({"AUTH": "+ aGk=", "bWVpIDAw": "-ERR [AUTH] no"}, ("AUTH CRAM-MD5", "bWVpIDAw"), ("name or password",), ("NUL",)),
    # +OK to what the RFC does not allow
    ({"TOP": "+OK|A: b||."}, (*IN, "TOP 1 x"), ("not what the RFC allows",), ("x lines",)),
    ({"LIST": "+OK +1 120"}, (*IN, "LIST +1"), ("not what the RFC allows",), ("Message +1",)),
    ({"STAT": "+OK 2 320"}, ("STAT",), ("RFC does not allow it",), ()),
    ({"DELE": "+OK"}, (*IN, "DELE x", "DELE +1", "DELE", "DELE 1 2"), ("not what the RFC allows", "Marked now: 1."),
     ("x is only", "+1 is only", "internal")),
    ({"DELE": "+OK", "RETR": "+OK|A: b||."}, (*IN, "DELE 0", "RETR 0"), ("there is no message 0",), ("Message 0",)),
    ({"DELE": "+OK", "RETR": "+OK|A: b||."}, (*IN, "DELE 1", "RETR 1"), ("though message 1 is marked",), ()),
    ({"STAT": "+OK 1 5", "RETR": "+OK|A: b||."}, (*IN, "STAT", "RETR 2"), ("highest message-number so far was 1",), ()),
    ({"NOOP": "+OK"}, (*IN, "NOOP x"), ("not what the RFC allows",), ("though the argument",)),
    # rows
    ({"LIST": "+OK|1\t120|2|3 9|."}, (*IN, "LIST", "STAT"), ("2 rows of the reply", "1\\t120", "one space"),
     ("othing to list", "are not 1 to", "no messages")),
    ({"LIST": "+OK||1 120|."}, (*IN, "LIST"), ("1 row of the reply",), ("no messages", "othing")),
    ({"UIDL": "+OK|1|."}, (*IN, "UIDL"), ("1 row of the reply",), ("no messages", "othing")),
    ({"STAT": "+OK 3 30", "LIST": "+OK|1 10|foo|bar|."}, (*IN, "STAT", "LIST", ":mailbox"),
     ("2 rows of the reply", "\n      3"), ("shows 1 message",)),
    ({"LIST": "+OK 99 1024", "UIDL": "+OK 99 x"}, (*IN, "LIST 1", "UIDL 1"),
     ("LIST was asked about message 1 and answered about message 99", "UIDL was asked"), ("Message 1 has",)),
    ({"LIST 7": "+OK|1 120|2 200|."}, (*IN, "LIST 7"), ("look like a listing that was not due",), ()),
    ({"STAT": "+OK"}, (*IN, "STAT"), ("missing or not in its form",), ("no messages",)),
    ({"STAT": "+OK  2 320"}, (*IN, "STAT"), ("missing or not in its form",), ()),
    ({"LIST": "+OK|0 120|1 120|."}, (*IN, "LIST"), ("speaks of message 0",), ("2 messages",)),
    ({"STAT": "+OK 1 1", "LIST": "+OK 1 1"}, (*IN, "STAT", "LIST 1"), ("1 octet together", "has 1 octet."), ()),
    ({"UIDL": "+OK|1|."}, (*IN, "UIDL"), ("cannot be read",), ("unique-id of message",)),
    ({"UIDL": "+OK 1 a b c\xe9"}, (*IN, "UIDL 1"), ("unique-id of message 1 is not",), ("missing or not",)),
    ({"UIDL": "+OK|7 z|."}, (*IN, "UIDL"), ("do not run from 1",), ("not 1 to 1",)),
    ({"RETR": "+OK|hello|."}, (*IN, "RETR 1"), ("does not begin with a header field", "hello"), ()),
    ({"LIST 1": "+OK 1 1024", "RETR": "+OK|Subject: a||b|."}, (*IN, "LIST 1", "RETR 1"),
     ("1024 octets for message 1; 17 came", "Usual causes"), ()),
    ({"LIST": f"+OK\r\n{SIZE}"}, (*IN, "LIST"), ("PopShell's own", "200,000"), ("honest",)),
    ({"LANG": "+OK Language changed"}, ("LANG en",), ("does not begin with the tag",), ("are in Language",)),
    ({"LANG": "+OK fr d'accord"}, ("LANG en",), ("does not begin with the tag",), ("are in fr",)),
    ({"LANG": "+OK|."}, ("LANG",), ("names no language to choose",), ("one a line",)),
    ({"LANG": "+OK"}, ("LANG en",), ("does not begin with the tag",), ("texts are in .", "one a line")),
    ({"LIST": "+OK|1 10|1 20|2 5|."}, (*IN, "LIST"), ("more than one row for message 1",), ("2 messages",)),
    # no indicator
    ({"LIST": "+ERR no", "NOOP": "+OK"}, (*IN, "LIST", "NOOP"), ("no status indicator", "resembles -ERR", "C: NOOP"),
     ("not POP3", "line lost")),
    ({"STAT": "", "NOOP": "+OK"}, (*IN, "STAT", "NOOP"), ("is an empty line", "session goes on"), ("not POP3",)),
    *(({"STAT": line, "NOOP": "+OK"}, (*IN, "STAT", "NOOP"), ("session goes on", "C: NOOP"), ("not POP3", "line lost"))
      for line in ("+OKAY", "-ERRlogin", "+OKlogged in", "+ OK 2 320", "--ERR", "\0", "+OK\t2",
                   "\ufeff+OK 2 320", "\uff0bOK", "   ", "+\0O\0K\0")),
    ({"STAT": "OK 2 320"}, (*IN, "STAT"), ("resembles +OK",), ("not POP3",)),
    ({"STAT": "\x16\x03\x01"}, (*IN, "STAT"), ("record of TLS",), ()),
    ({"": "+ERR too busy"}, (), ("resembles -ERR", "closed"), ()),
    # what comes before TLS
    ({"": "+OK ready|+OK type your password now", "STLS": "+OK"}, ("STLS",), ("not asked for",), ()),
    ({"": "+OK ready|+OK type your password now", "STLS": "+OK", "stls": ""}, (),
     ("not asked for, in clear text", "connection is closed"), ("TLS is on",)),
    # characters
    ({"PASS": "-ERR"}, ("USER x", "PASS\u3000y"), ("U+3000 IDEOGRAPHIC SPACE", "the command PASS"), ("Did you mean",)),
    ({}, ("\ufeffUSER x",), ("U+FEFF", "the command USER"), ("Did you mean",)),
    ({}, ("ＳＴＡＴ",), ("U+FF33", "the command STAT"), ("Did you mean",)),
    ({}, ("：hint",), ("U+FF1A FULLWIDTH COLON", "the command :hint"), ("Did you mean",)),
    ({}, (":help　STAT",), ("count the messages",), ("There is no :help",)),
    ({}, ("S\u0422AT",), ("U+0422 CYRILLIC", "the command STAT"), ("Did you mean",)),
    ({}, ("USER\u00a0x",), ("U+00A0", "the command USER"), ()),
    ({}, ("XYZZY",), ("POP3 has no command XYZZY",), ("U+",)),
    ({"PASS": "-ERR"}, ("USER x", "PASS secret "), ("ended with a space",), ()),
    ({"PASS": "-ERR"}, ("USER x", "PASS  secret"), ("two spaces after the keyword",), ()),
    *(({"PASS": "-ERR"}, ("USER x", f"PASS {a}secret{b}"), ("is not seen, or looks like a space",), ("U+",))
      for a, b in (("", "\u3000"), ("", "\u00a0"), ("\ufeff", ""), ("\u2003", ""), ("\u200b", ""), ("", "\t"))),
    ({"PASS": "-ERR"}, ("USER x", "PASS secret"), (), ("not seen", "space")),
    ({}, ("USER:x",), ("U+003A COLON", "the command USER"), ("Did you",)),
    ({}, ("STAT;",), ("U+003B SEMICOLON", "the command STAT"), ("Did you",)),
    ({}, ("USER x", "PASS:y"), ("the command PASS", "U+003A"), ("Did you mean", "y,")),
    # replies can be explained
    ({}, (":explain -ERR [IN-USE] locked",), ("the command was refused", "IN-USE", "own words"), ("keyword",)),
    ({}, (":explain +OK 2 320",), ("success", "number of messages"), ("keyword",)),
    ({}, (":explain + PDE+",), ("waits for an answer",), ("keyword",)),
    ({}, (":explain S: +OK 2 320",), ("success", "number of messages"), ("keyword",)),
    ({}, (":explain C: STAT",), ("count the messages",), ("keyword that POP3",)),
    ({}, (":explain +OK <1.2@a>",), ("timestamp that APOP needs",), ("only some commands",)),
    *(({}, (f":explain {text}",), (said, "neither +OK nor -ERR"), ("keyword that POP3",)) for text, said in (
        ("OK 2 320", "resembles +OK"), ("-ERRlogin", "resembles -ERR"), ("* OK hi", "IMAP"), ("220 hi", "SMTP"))),
    ({}, (":explain +ERR",), ("neither +OK nor -ERR",), ("keyword",)),
]  # fmt: skip


def octets(answer: str) -> bytes:
    body, _, closes = answer.partition("<close>")
    return body.replace("|", "\r\n").encode() + b"\r\n" + (CLOSE if closes or "<close>" in answer else b"")


async def shown(answers: dict[str, str], typed: tuple[str, ...], language: str) -> str:
    """The screen after it all, its lines joined."""
    script: dict[str, Any] = {key: octets(answer) for key, answer in {**OK, **answers}.items()}
    place = PLACE._replace(stls="stls" in answers, insecure="insecure" in answers)
    greeting = script.get("", octets(GREETING))
    stage = Stage(place=place, script=script, greeting=greeting, options=Options(language=language, yes=True))
    await stage.shell.connect()
    await stage.run(*typed)
    await turns()
    return stage.text


@functools.cache
def screens(language: str) -> list[str]:
    """The screen of each row, all played in one loop: a loop costs more than a row."""
    found: list[str] = []

    async def play() -> None:
        for answers, typed, *_ in ROWS:
            found.append(await shown(answers, typed, language))

    run(play(), 120)
    return found


def test_no_more_is_said_than_was_seen() -> None:
    def check(text: str, row: tuple[dict[str, str], tuple[str, ...], tuple[str, ...], tuple[str, ...]]) -> None:
        flat = " ".join(text.split())
        assert [part for part in row[2] if part not in (text if "\n" in part else flat)] == [], (row[:2], text)
        assert [part for part in row[3] if part in flat] == [], (row[:2], text)

    each(zip(screens("en"), ROWS, strict=True), check)


def test_in_each_language_what_is_odd_is_said() -> None:
    """As many notes, and no placeholder left."""

    def check(row: tuple[Any, ...], *texts: str) -> None:
        marks = [[text.count(mark) for mark in "✔✘⚠"] for text in texts]
        assert all(one == marks[0] for one in marks), (row[:2], marks)

    each(zip(ROWS, *map(screens, LANGUAGES), strict=True), check)


def test_whatever_speaks_where_tls_is_due_is_said_in_each_language() -> None:
    def check(language: str, speaks: str) -> None:
        stage = Stage(options=Options(language=language))
        code = "not-tls-pop3" if speaks == "pop3" else "not-tls"
        stage.shell.publish(Failed(ConnectError(code, host="h", port=995, place="h:995", speaks=speaks)))
        assert "h:995" in stage.text

    each([(language, speaks) for language in LANGUAGES for speaks in ("", *dict(SPEAKS))], check)
