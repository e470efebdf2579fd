"""Any octets for Connection and ServerSession: `python tests/soak/fuzz.py [SECONDS] [SEED]`.

sec-P9 asks that no octets raise an exception: Connection makes events of them, and every event can be written as JSON,
shown and read; ServerSession answers in whole lines, and whatever happened the lock is given back, and mail is removed
by QUIT alone. Ten minutes by default. A case is made of its seed and its number, so one that fails can be had again.
The suite runs a sample (`tests/test_fuzz.py`).
"""

from __future__ import annotations

import json
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import support
from support import NAME, SECRET, Clock, default_messages, drain, plain, practice_server

from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.records import Exchange
from popshell.server.maildrop import Message
from popshell.server.settings import Limits

_WORDS = (
    *(name.encode() for name in COMMANDS), NAME.encode(), SECRET.encode(), plain().encode(), "信".encode(),
    b"PLAIN", b"0", b"1", b"7", b"8", b"4294967297", b"-1", b"=", b"*", b"en", b"zh-Hant", b" ", b"  ", b"\t", b"\r\n",
    b"\r", b"\n", b"\0", b"\xff", b"\xe4\xbf", b"A" * 300, b"B" * 9000, b"\x16\x03", b" HTTP/1.1", b"GET /", b"[X/Y]",
    b"<1.2@x>", b".",
)  # fmt: skip
_LOGIN = f"USER {NAME}\r\nPASS {SECRET}\r\n".encode()
_LINES = (
    b"USER learner", b"PASS secret", b"STAT", b"LIST", b"UIDL", b"RETR 2", b"RETR 7", b"RETR 8", b"TOP 2 1", b"DELE 1",
    b"RSET", b"NOOP", b"CAPA", b"STLS", b"UTF8", b"LANG", b"QUIT",
)  # fmt: skip
_MAIL = (*default_messages(), Message(b"A: b\r\n\r\n.\r\n..\0\xff\r\n.\n", "odd"), Message(b"", "empty"))


def octets(rng: random.Random) -> bytes:
    """A few octets of one of three sorts: any, words that mean something, whole lines."""
    kind = rng.random()
    if kind < 0.2:
        return rng.randbytes(rng.randrange(20))
    if kind < 0.5:
        return b"".join(rng.choices(_WORDS, k=rng.randrange(6)))
    return rng.choice(_LINES) + b"\r\n"


def watch(rng: random.Random) -> None:
    """One dialogue for a Connection, both sides saying whatever they like. Raises if an event is not what it should."""
    connection = Connection(limits=support.random_limits(rng), longest_line=rng.choice((40, 65536)))
    moves = support.random_dialogue(rng) if rng.random() < 0.5 else []
    for _ in range(rng.randrange(12)):
        moves.insert(rng.randrange(len(moves) + 1), (rng.choice("CSSS"), octets(rng)))
    cut = support.at_random(rng) if rng.random() < 0.5 else support.whole
    for who, data in moves:
        if who == "tls":
            if connection.wants_tls and not connection.broken:
                connection.tls_started()
        elif who == "close":
            look(connection.close())
        else:
            for piece in cut(data):
                look(connection.sent(piece) if who == "C" else connection.received(piece))
        connection.context()
    look(connection.close())
    assert connection.state is State.CLOSED


def look(events: Sequence[object]) -> None:
    """Everything that anybody reads of an event."""
    for event in events:
        assert isinstance(event, (Exchange, Challenge)), event
        repr(event)
        if isinstance(event, Exchange):
            json.dumps(event.to_json(), ensure_ascii=False).encode("utf-8", "surrogateescape")
            event.status_line()
            if event.response is not None:
                reply = event.response
                reply.drop_listing(), reply.scan_row(), reply.unique_id_row()
                reply.capabilities()


def serve(rng: random.Random) -> None:
    """One connection of a practice server. Raises if it does not keep what docs/security.md promises (sec-V)."""
    clock = Clock()
    accounts = rng.choice(({NAME: SECRET}, {NAME: "信\udcff"}, {"海": SECRET, NAME: SECRET}))
    faults: dict[str, object] = {
        "in_use": rng.random() < 0.05,
        "temp_failure": rng.random() < 0.05,
        "update_fails": rng.random() < 0.1,
        "require_tls": rng.random() < 0.2,
        "without": rng.sample(["USER", "SASL", "UTF8", "LANG", "RESP-CODES", "STLS"], rng.choice((0, 0, 0, 2))),
    }
    if rng.random() < 0.3:
        faults["login_delay"] = 60
    if rng.random() < 0.25:
        faults["line_goes_dead_after"] = 3
    limits = Limits(bad_commands=rng.choice((None, 3)), login_wait=rng.choice((0.0, 2.0)), line=rng.choice((60, 8192)))
    tls = rng.random() < 0.2
    server = practice_server(accounts=accounts, messages=_MAIL, faults=faults, limits=limits, clock=clock)
    session = server.session(tls=tls)
    out = drain(session)
    session.feed(rng.choice((b"", _LOGIN, b"UTF8\r\n" + _LOGIN)))
    for _ in range(rng.randrange(25)):
        session.feed(octets(rng))
        out += drain(session)
        if session.starts_tls:
            session.tls_started()
        if rng.random() < 0.1:
            clock.now += rng.choice((1.0, 30.0, 700.0))
            session.expire()
        assert session.deadline() > 0
    quitted = session.context.state is State.UPDATE
    session.lost()
    assert out.startswith(b"+OK ")
    assert out.endswith(b"\r\n")
    for name in accounts:
        maildrop = server.maildrop_of(name)
        assert not maildrop.in_use
        assert quitted or maildrop.messages == _MAIL, "removed, and nobody quitted"


def case(seed: int, number: int) -> None:
    rng = random.Random(f"{seed}/{number}")
    (watch if number % 2 else serve)(rng)


def main(seconds: float, seed: int) -> int:
    started = time.monotonic()
    number = failures = 0
    while time.monotonic() - started < seconds:
        try:
            case(seed, number)
        except Exception:
            failures += 1
            print(f"case {number} of seed {seed}:\n{traceback.format_exc()}", file=sys.stderr)
        number += 1
    print(f"{number} cases, seed {seed}: {failures} failures, {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else 600, given[1] if len(given) > 1 else 1))
