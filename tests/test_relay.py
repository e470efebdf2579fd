"""Relay: octets pass unchanged however they are cut; what it answers itself is marked, and no secret is reported."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import (
    CRLF,
    NAME,
    SECRET,
    STAMP,
    Move,
    Relayed,
    at_random,
    chunks_of,
    differing_relay,
    drain,
    each,
    plain,
    practice_server,
    relayed,
    texts,
    whole,
)
from test_mailserver import PIECES

from popshell.net.relay import Answered, LeftOpen, Relay, Said, Unreadable, list_for_client
from popshell.protocol.connection import Challenge
from popshell.protocol.sasl import apop_digest

GREETING: Move = ("S", f"+OK {STAMP}\r\n".encode())
LIST = "+OK list\r\n{}.\r\n"


def moves(*lines: str, greeting: bool = True) -> list[Move]:
    """`C: STAT`, `S: +OK`, `tls`, `close`; `|` in a line is CRLF."""
    found = [GREETING] if greeting else []
    for line in lines:
        who, _, text = line.partition(": ")
        found.append((who[0] if text else who, (text.replace("|", "\r\n") + "\r\n").encode() if text else b""))
    return found


def own(key: str, status: str = "-ERR") -> bytes:
    return f"{status} {texts('en')[key]}\r\n".encode()


# -- what passes -------------------------------------------------------------------------------------------------------


def test_cuttings_of_random_dialogues() -> None:
    """tests/soak/million_cuttings.py relay makes a million of them."""
    for number in range(300):
        assert differing_relay(random.Random(f"relay/{number}"), 6) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(PIECES)), max_size=12), st.integers(0, 1 << 32))
@example([b"UTF8\r\nCAPA\r\n"], 0)
def test_client_and_server_get_what_they_would_get_without_it(pieces: list[bytes], seed: int) -> None:
    """The client in clear text: the practice server offers STLS, and so does the relay; nothing is to be changed."""
    stream = b"".join(pieces)
    if b"STLS" in stream.upper():
        return
    direct = practice_server().session()
    direct.feed(stream)
    wanted = drain(direct)
    cut = at_random(random.Random(seed))
    relay, server, heard, said = Relay(lambda event: None, texts("en")), practice_server().session(), b"", b""

    def pump() -> None:
        nonlocal heard, said
        while True:
            said += bytes(relay.to_client)
            relay.to_client.clear()
            heard += bytes(relay.to_server)
            server.feed(bytes(relay.to_server))
            relay.to_server.clear()
            if not (out := drain(server)):
                return
            for piece in cut(out):
                relay.server_sent(piece)

    pump()
    for piece in cut(stream):
        relay.client_sent(piece)
        pump()
    relay.client_closed()
    pump()
    assert said == wanted
    assert heard == stream


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.one_of(st.binary(max_size=80), st.sampled_from(PIECES))), max_size=20))
def test_any_octets_from_both_sides_pass(run: list[tuple[bool, bytes]]) -> None:
    relay = Relay(lambda event: None, texts("en"))
    for by_client, data in run:
        (relay.client_sent if by_client else relay.server_sent)(data)
        if relay.starts_tls:
            relay.client_tls_started()
    relay.server_closed()
    sent = b"".join(data for by_client, data in run if by_client)
    came = b"".join(data for by_client, data in run if not by_client)
    if not any(word in sent.upper() for word in (b"CAPA", b"STLS", b"-PLUS")):
        assert bytes(relay.to_client) == came
        assert sent.startswith(bytes(relay.to_server))


def test_a_long_line_passes_before_its_end() -> None:
    relay = Relay(lambda event: None, texts("en"))
    relay.server_sent(b"+OK\r\n")
    relay.client_sent(b"RETR")
    assert not relay.to_server, "it might be STLS"
    relay.client_sent(b"x" * 600)
    assert len(relay.to_server) == 604
    relay.client_sent(b"\r\nSTLS\r\n")
    assert len(relay.to_server) == 606, "the next line is one of its own"
    assert not relay.starts_tls, "a reply is due"


# -- what it answers ---------------------------------------------------------------------------------------------------

PLUS = "SCRAM-SHA-256-PLUS"
BASE = f"+OK list|SASL {PLUS} PLAIN|STLS|TOP|."
#: What the client and the server get, and what is marked as its own.
DIALOGUES: dict[str, tuple[list[Move], bytes, bytes, list[str]]] = {
    "STLS is answered here, and CAPA offers it": (
        moves("C: CAPA", "S: +OK list|TOP|.", "C: STLS", "tls", "C: CAPA", "S: +OK list|TOP|.", "C: STAT", "S: +OK"),
        b"+OK list\r\nTOP\r\nSTLS\r\n.\r\n" + own("stls", "+OK") + b"+OK list\r\nTOP\r\n.\r\n+OK\r\n",
        b"CAPA\r\nCAPA\r\nSTAT\r\n",
        ["+STLS", "own STLS"],
    ),
    "the server's own offer is left as it is": (
        moves("C: CAPA", "S: +OK list|STLS|X|."), b"+OK list\r\nSTLS\r\nX\r\n.\r\n", b"CAPA\r\n", [],
    ),
    "under TLS there is no offer": (
        moves("C: STLS", "tls", "C: CAPA", "S: +OK list|STLS|X|."),
        own("stls", "+OK") + b"+OK list\r\nX\r\n.\r\n", b"CAPA\r\n", ["own STLS", "-STLS"],
    ),
    "nor after the login": (
        moves("C: USER a", "S: +OK", "C: PASS b", "S: +OK", "C: CAPA", "S: +OK list|X|.", "C: STLS"),
        b"+OK\r\n+OK\r\n+OK list\r\nX\r\n.\r\n" + own("wrong-state"), b"USER a\r\nPASS b\r\nCAPA\r\n", ["own STLS"],
    ),
    "nor after UTF8": (
        moves("C: UTF8", "S: +OK", "C: CAPA", "S: +OK list|X|.", "C: STLS"),
        b"+OK\r\n+OK list\r\nX\r\n.\r\n" + own("not-after"), b"UTF8\r\nCAPA\r\n", ["own STLS"],
    ),
    "a refused CAPA": (moves("C: CAPA", "S: -ERR no"), b"-ERR no\r\n", b"CAPA\r\n", []),
    "mechanisms that bind": (
        moves("C: CAPA", f"S: {BASE}", f"C: AUTH {PLUS} abc", "C: auth scram-sha-1-plus", "C: QUIT", "S: +OK bye"),
        b"+OK list\r\nSASL PLAIN\r\nSTLS\r\nTOP\r\n.\r\n" + 2 * own("channel-binding") + b"+OK bye\r\n",
        b"CAPA\r\nQUIT\r\n", [f"-SASL {PLUS} PLAIN", "+SASL PLAIN", "own AUTH", "own AUTH"],
    ),
    "no other mechanism": (
        moves("C: STLS", "tls", "C: CAPA", f"S: +OK list|SASL {PLUS}|."),
        own("stls", "+OK") + b"+OK list\r\n.\r\n", b"CAPA\r\n", ["own STLS", f"-SASL {PLUS}"],
    ),
    "twice": (
        moves("C: STLS", "tls", "C: STLS"), own("stls", "+OK") + own("already-tls"), b"", ["own STLS", "own STLS"],
    ),
    "with an argument": (moves("C: stls now"), own("extra-argument"), b"", ["own STLS"]),
    "the order of replies is kept": (
        moves(f"C: NOOP|AUTH {PLUS} x|NOOP", "S: +OK 1|+OK 2"),
        b"+OK 1\r\n" + own("channel-binding") + b"+OK 2\r\n", b"NOOP\r\nNOOP\r\n", ["own AUTH"],
    ),
    "before the greeting": (
        [("C", b"STLS\r\n"), GREETING], own("stls", "+OK"), b"", ["own STLS"],
    ),
    "an answer to a challenge": (
        moves("C: AUTH LOGIN", "S: + ", "C: STLS", "S: + ", f"C: AUTH {PLUS}", "S: -ERR"),
        b"+ \r\n+ \r\n-ERR\r\n", f"AUTH LOGIN\r\nSTLS\r\nAUTH {PLUS}\r\n".encode(), [],
    ),
    "the same sent ahead": (
        moves("C: AUTH LOGIN|STLS", "S: + ", "S: -ERR"), b"+ \r\n-ERR\r\n", b"AUTH LOGIN\r\nSTLS\r\n", [],
    ),
    "mail that looks like CAPA": (
        moves("C: RETR 1", "S: +OK|CAPA|+OK list|SASL X-PLUS|.", "C: CAPA", "S: +OK|."),
        b"+OK\r\nCAPA\r\n+OK list\r\nSASL X-PLUS\r\n.\r\n+OK\r\nSTLS\r\n.\r\n", b"RETR 1\r\nCAPA\r\n", ["+STLS"],
    ),
    "what cannot be read passes unread": (
        moves("C: CAPA", "S: * OK IMAP", f"C: STLS|AUTH {PLUS} x|CAPA", "S: +OK|STLS|."),
        b"* OK IMAP\r\n+OK\r\nSTLS\r\n.\r\n", f"CAPA\r\nSTLS\r\nAUTH {PLUS} x\r\nCAPA\r\n".encode(), ["unreadable"],
    ),
    "a CAPA without end": (
        [*moves("C: CAPA", "S: +OK list|STLS"), ("close", b"")], b"+OK list\r\nSTLS\r\n", b"CAPA\r\n", [],
    ),
    "octets between STLS and TLS reach the client under TLS": (
        moves("C: STLS", "S: +OK unasked", "tls"), own("stls", "+OK") + b"+OK unasked\r\n", b"", ["own STLS"],
    ),
}  # fmt: skip


def marks(found: Relayed) -> list[str]:
    out = []
    for event in found.events:
        if isinstance(event, Unreadable):
            out.append("unreadable")
        elif isinstance(event, Answered):
            out += [f"own {event.event.name}"] if event.own and not isinstance(event.event, Challenge) else []
            out += [f"-{row}" for row in event.taken] + [f"+{row}" for row in event.put]
    return out


def test_dialogues() -> None:
    def check(name: str) -> None:
        dialogue, to_client, to_server, marked = DIALOGUES[name]
        for cut in (whole, chunks_of(1), chunks_of(3)):
            found = relayed(dialogue, cut)
            assert found.to_client.removeprefix(GREETING[1]) == to_client
            assert found.to_server == to_server
            assert marks(found) == marked

    each([(name,) for name in DIALOGUES], check)


def test_clear_text_after_stls_is_nothing() -> None:
    """RFC 2595 §4: what is not under TLS must not be taken for what is."""
    for pieces, answer in (
        ((b"STLS\r\nSTAT\r\n",), own("stls-pipelined")),
        ((b"STLS\r\n", b"STAT"), own("stls", "+OK")),
    ):
        relay = Relay(lambda event: None, texts("en"))
        relay.server_sent(b"+OK\r\n")
        for piece in pieces:
            relay.client_sent(piece)
        assert relay.closing
        relay.client_tls_started()
        relay.client_sent(b"NOOP\r\n")
        assert bytes(relay.to_client) == b"+OK\r\n" + answer
        assert not relay.to_server


def test_a_list_too_long_to_be_held_passes_unchanged() -> None:
    rows = b"X" * 100 + b"\r\n"
    found = relayed([GREETING, ("C", b"CAPA\r\n"), ("S", b"+OK\r\nSTLS\r\n" + 990 * rows + b".\r\n")], chunks_of(999))
    assert found.to_client.count(b"STLS") == 1
    assert marks(found) == []
    again = relayed(
        [GREETING, ("C", b"CAPA\r\nCAPA\r\n"), ("S", b"+OK\r\n" + 990 * rows + b".\r\n+OK\r\n.\r\n")], chunks_of(999)
    )
    assert again.to_client.endswith(b"\r\n.\r\n+OK\r\nSTLS\r\n.\r\n"), "the next list is held again"


def test_there_is_no_server() -> None:
    events: list[object] = []
    relay = Relay(events.append, texts("en"))
    relay.turn_away("temp-failure")
    assert relay.closing
    assert bytes(relay.to_client) == b"-ERR [SYS/TEMP] " + texts("en")["temp-failure"].encode() + CRLF
    assert [(type(event), event.own) for event in events if isinstance(event, Answered)] == [(Answered, True)]


def test_a_client_that_leaves() -> None:
    events: list[object] = []
    relay = Relay(events.append, texts("en"))
    relay.server_sent(b"+OK\r\n")
    relay.client_sent(b"STAT\r\nQUI")
    relay.client_closed()
    assert bytes(relay.to_server) == b"STAT\r\nQUI"
    assert [event.exchange.name for event in events if isinstance(event, LeftOpen)] == ["STAT"]
    waiting = Relay(events.append, texts("en"))
    waiting.client_sent(b"STLS\r\nCAPA")
    waiting.client_closed()
    assert not waiting.to_server


# -- what is bounded ---------------------------------------------------------------------------------------------------


def test_what_waits_is_bounded() -> None:
    relay = Relay(lambda event: None, texts("en"))
    relay.client_sent(b"NOOP\r\n" * 5000)
    assert relay.full
    assert len(relay.to_server) < 6 * 1001
    relay.server_sent(b"+OK\r\n" * 2)
    assert relay.full
    while relay.full:
        relay.server_sent(b"+OK\r\n" * 100)
    assert bytes(relay.to_server) == b"NOOP\r\n" * 5000


def test_the_rows_of_a_list() -> None:
    def check(rows: Iterable[str], stls: bool, kept: Iterable[str]) -> None:
        reply = b"+OK\r\n" + b"".join(row.encode() + CRLF for row in rows) + b".\r\n"
        wanted = b"+OK\r\n" + b"".join(row.encode() + CRLF for row in kept) + b".\r\n"
        assert list_for_client(reply, stls=stls)[0] == wanted

    each(
        [
            (["..x", "", "TOP "], False, ["..x", "", "TOP "]),
            (["stls", "STLS"], True, ["stls", "STLS"]),
            (["stls x", "Stls"], False, []),
            (["sasl a-plus  b  C-PLUS"], False, ["sasl b"]),
            (["SASL  PLAIN   X"], False, ["SASL  PLAIN   X"]),
            ([], True, ["STLS"]),
        ],
        check,
    )


# -- what is reported --------------------------------------------------------------------------------------------------


def test_who_said_what_in_order() -> None:
    found = relayed(
        moves("C: USER a|PASS b", "S: +OK|-ERR no", "C: AUTH LOGIN", "S: + ", "C: eA==|eQ==", "S: + |+OK in"), whole
    )
    said = []
    for event in found.events:
        if isinstance(event, Said):
            said.append(f"C {event.line.redacted() if event.line else 'answer'}")
        elif isinstance(event, Answered):
            challenge = isinstance(event.event, Challenge)
            said.append("S +" if challenge else f"S {event.event.response.status.value}")
    assert said == [
        "S +OK", "C USER a", "S +OK", "C PASS ••••", "S -ERR", "C AUTH LOGIN", "S +", "C answer", "S +", "C answer",
        "S +OK",
    ]  # fmt: skip


def login_lines() -> dict[str, list[Move]]:
    scram = "biwsbj1sZWFybmVyLHI9"
    return {
        "PASS": moves(f"C: USER {NAME}", "S: +OK", f"C: PASS {SECRET}", "S: -ERR wrong secret"),
        "PASS ahead": moves(f"C: USER {NAME}|PASS {SECRET}", "S: +OK|+OK"),
        "APOP": moves(f"C: APOP {NAME} {apop_digest(STAMP, SECRET)}", "S: +OK"),
        "PLAIN": moves(f"C: AUTH PLAIN {plain()}", "S: +OK"),
        "PLAIN in two lines": moves("C: AUTH PLAIN", "S: + ", f"C: {plain()}", "S: +OK"),
        "LOGIN ahead": moves("C: AUTH LOGIN|bGVhcm5lcg==|c2VjcmV0", "S: + |+ |+OK"),
        "SCRAM": moves(f"C: AUTH SCRAM-SHA-256 {scram}", "S: + cj1h", "C: Yz1iaXdzLHA9", "S: -ERR no"),
        "PLUS": moves(f"C: AUTH {PLUS} {plain()}"),
    }


def test_no_secret_is_shown_of_any_login() -> None:
    digest, message = apop_digest(STAMP, SECRET), plain()

    def check(name: str, dialogue: list[Move], cut: Callable[[bytes], Iterable[bytes]]) -> None:
        for event in relayed(dialogue, cut).events:
            shown = repr(event)
            if isinstance(event, Said):
                shown = event.line.redacted() if event.line else ""
            elif isinstance(event, Answered) and not isinstance(event.event, Challenge):
                shown = repr(event.event.to_json()) + repr(event.event)
            for canary in (SECRET, digest, message, "c2VjcmV0", "Yz1iaXdzLHA9"):
                assert canary not in shown, name

    cuts = (whole, chunks_of(1))
    each([(name, dialogue, cut) for name, dialogue in login_lines().items() for cut in cuts], check)
