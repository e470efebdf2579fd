"""Helpers for the tests of protocol/ and server/: a practice server without sockets, dialogues and ways to cut them."""

from __future__ import annotations

import base64
import functools
import inspect
import itertools
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jsonschema import Draft202012Validator

from popshell.net.relay import Answered, Relay
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.records import Exchange
from popshell.protocol.wire import CRLF, ReplyLimits
from popshell.server.maildrop import Message, from_files, read_directory
from popshell.server.mailserver import MailServer
from popshell.server.session import ServerSession

ROOT = Path(__file__).resolve().parents[1]
#: what each line of `--json` has to be
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/json-2.schema.json").read_text("utf-8")))
STAMP = "<1896.697170952@popshell.example>"
NAME, SECRET = "learner", "secret"
_Case = TypeVar("_Case")


def for_each(cases: Iterable[_Case], check: Callable[[_Case], None]) -> None:
    """Check every case of a table; what fails is reported for all of them, each with its case."""
    failures: list[str] = []
    cases = list(cases)
    for case in cases:
        try:
            check(case)
        except AssertionError as error:
            failures.append(f"{case!r}: {error}")
    assert cases, "a table without cases"
    assert not failures, f"{len(failures)} of {len(cases)} cases:\n" + "\n".join(failures)


def each(rows: Iterable[tuple[Any, ...]], check: Callable[..., object]) -> None:
    """Check every row of a table; all rows that fail are reported, each with its reason."""
    failed, many = [], 0
    for row in rows:
        many += 1
        try:
            check(*row)
        except Exception as error:
            failed.append(f"{row!r}:\n    {type(error).__name__}: {error}")
    assert many, "the table is empty"
    assert not failed, f"{len(failed)} of {many} rows fail:\n" + "\n".join(failed)


def over(names: str, rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `pytest.mark.parametrize`, in one test: it checks every row and reports all that fail."""
    keys = [name.strip() for name in names.split(",")]
    table = [row if len(keys) > 1 else (row,) for row in rows]

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(check)

        def test(*owner: Any, **fixtures: Any) -> None:
            each(table, lambda *row: check(*owner, **fixtures, **dict(zip(keys, row, strict=True))))

        left = [one for name, one in signature.parameters.items() if name not in keys]
        functools.update_wrapper(test, check)
        test.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return test

    return decorate


# -- the practice server -----------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """A clock that moves when a test moves it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@functools.cache
def texts(tag: str) -> Mapping[str, str]:
    return tomllib.loads((ROOT / "lessons" / tag / "replies.toml").read_text("utf-8"))


@functools.cache
def default_messages() -> tuple[Message, ...]:
    return read_directory(ROOT / "lessons" / "maildrops" / "default")


def message(content: bytes) -> Message:
    return from_files([("a", content)])[0]


def practice_server(**options: Any) -> MailServer:
    """The practice server as the shell starts it, with a fixed clock and stamp."""
    settings = {
        "accounts": {NAME: SECRET},
        "languages": {"en": "English", "zh-Hant": "繁體中文"},
        "texts": texts,
        "messages": default_messages(),
        "clock": Clock(),
        "new_stamp": lambda: STAMP,
    }
    return MailServer(**(settings | options))


def play(*lines: str, tls: bool = False, server: MailServer | None = None, **options: Any) -> list[Exchange]:
    """The Exchanges of `lines` on a practice server, the greeting left out."""
    return rehearse(lines, server or practice_server(**options), tls=tls)[1:]


def rehearse(
    lines: Iterable[str], server: MailServer, *, tls: bool = False, then: Callable[[ServerSession], None] | None = None
) -> list[Exchange]:
    """Play `lines` on `server` without sockets, each after the reply to the last; the greeting is the first record.

    A line after `+OK` to STLS is under TLS. `then` sees the session before it is lost.
    """
    session = server.session(tls=tls)
    connection = Connection(tls=tls)
    out: list[Exchange] = []

    def pump() -> None:
        while (chunk := session.next_chunk()) is not None:
            out.extend(e for e in connection.received(chunk) if not isinstance(e, Challenge))
        if session.starts_tls:
            session.tls_started()
            connection.tls_started()
        if session.closing:
            out.extend(e for e in connection.close() if not isinstance(e, Challenge))

    pump()
    for line in lines:
        if connection.closed:
            break
        data = line.encode("utf-8", "surrogateescape") + CRLF
        connection.sent(data)
        session.feed(data)
        pump()
    if then is not None:
        then(session)
    session.lost()
    return out


def status(exchange: Exchange) -> str:
    """The status line as text."""
    return exchange.status_line().decode()


def statuses(*lines: str, **options: Any) -> list[str]:
    return [status(exchange) for exchange in play(*lines, **options)]


LOGIN = (f"USER {NAME}", f"PASS {SECRET}")


def plain(name: str = NAME, secret: str = SECRET, authorize_as: str = "") -> str:
    """The one message of PLAIN, as a line (RFC 4616 §2)."""
    return blob(f"{authorize_as}\0{name}\0{secret}")


def blob(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def drain(session: ServerSession) -> bytes:
    """All that the session has to say now."""
    pieces = []
    while (piece := session.next_chunk()) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def converse(session: ServerSession, *pieces: bytes) -> bytes:
    """Feed `pieces` one after the other; what comes back, together."""
    out = b""
    for piece in pieces:
        session.feed(piece)
        out += drain(session)
    return out


def logged_in(server: MailServer | None = None, **options: Any) -> ServerSession:
    session = (server or practice_server(**options)).session()
    drain(session)
    assert converse(session, f"USER {NAME}\r\nPASS {SECRET}\r\n".encode()).count(b"+OK") == 2
    return session


# -- dialogues: both directions in one order, cut in every way ---------------------------------------------------------

#: A move of a dialogue: "C" or "S" with bytes; "tls" when the handshake is done; "close" when the line is.
Move = tuple[str, bytes]
Cutter = Callable[[bytes], Iterable[bytes]]
Event = Exchange | Challenge
TLS: Move = ("tls", b"")
CLOSE: Move = ("close", b"")


def merged(moves: Sequence[Move]) -> list[Move]:
    """Neighbours of one direction become one piece, so that "whole" means whole."""
    out: list[Move] = []
    for who, data in moves:
        if out and who in "CS" and out[-1][0] == who:
            out[-1] = (who, out[-1][1] + data)
        else:
            out.append((who, data))
    return out


@dataclass
class Outcome:
    """What a Connection made of a dialogue."""

    events: list[Event] = field(default_factory=list)
    end: dict[str, object] = field(default_factory=dict)


_FACTS = (
    "here",
    "stamp",
    "capabilities",
    "broken",
    "closed",
    "wants_tls",
    "pending",
)


def replay(moves: Sequence[Move], cut: Cutter, limits: ReplyLimits | None = None) -> Outcome:
    """Let a Connection watch `moves`, each direction's bytes cut by `cut`."""
    connection = Connection(limits=limits)
    outcome = Outcome()
    for who, data in merged(moves):
        if who == "tls":
            if connection.wants_tls and not connection.broken:
                connection.tls_started()
        elif who == "close":
            outcome.events += connection.close()
        else:
            take = connection.sent if who == "C" else connection.received
            for piece in cut(data):
                outcome.events += take(piece)
    outcome.end = {name: getattr(connection, name) for name in _FACTS}
    outcome.end["challenged"] = connection.challenged
    return outcome


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def chunks_of(size: int) -> Cutter:
    return lambda data: (data[at : at + size] for at in range(0, len(data), size))


def at_random(rng: random.Random) -> Cutter:
    """Pieces of random lengths, short ones more often; now and then an empty one."""

    def cut(data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            size = rng.choice((0, 1, 1, 2, 3, 5, 8, 21, 200))
            yield data[at : at + size]
            at += size

    return cut


# -- dialogues made by chance ------------------------------------------------------------------------------------------

#: Small enough that a dialogue of a few hundred octets crosses each of them.
TIGHT = ReplyLimits(status_line=48, content_line=24, content=96, capability_lines=3, listing_lines=3)
TIGHTER = ReplyLimits(status_line=20, content_line=10, content=22, capability_lines=1, listing_lines=2)

_COMMANDS = (
    b"USER learner", b"PASS secret", b"PAS secret", b"APOP learner " + b"0" * 32, b"AUTH PLAIN", b"AUTH PLAIN =",
    b"AUTH PLAIN AGxlYXJuZXIAc2VjcmV0", b"CAPA", b"STLS", b"STAT", b"LIST", b"LIST 1", b"UIDL", b"RETR 1", b"TOP 1 0",
    b"DELE 1", b"RSET", b"NOOP", b"LANG", b"UTF8", b"QUIT", b"XTND x", b"hello", b"", b"retr 2", b"  pass x", b"\xff",
)  # fmt: skip
_ANSWERS = (b"*", b"AGxlYXJuZXIAc2VjcmV0", b"=", b"", b"STAT")
_STATUS = (
    b"+OK", b"+OK ", b"+OK 2 320", b"+OK [X/Y] z", b"-ERR", b"-ERR [IN-USE] no", b"+OK ready <1.2@x>", b"-ERR secret",
    b"+OK 1 120", b"+OK 1 uid",
)  # fmt: skip
_FAULTS = (
    b"+OK bare\n", b"+ok\r\n", b"-err x\r\n", b"+OKAY\r\n", b"+OK\tx\r\n", b"* OK imap\r\n", b"220 smtp\r\n", b"\r\n",
    b"HTTP/1.1 400\r\n", b"\x15\x03\x01\x00", b"\x16\x03", b"+ \r\n", b"+OK " + b"x" * 60, b"\n", b"+OK\r\r\n",
)  # fmt: skip
_ROWS = (
    b"1 120", b"2 200", b"1 uid-1", b".", b"..", b".x", b"", b"Subject: hello", b"USER", b"a\rb", b"c\nd", b"\r",
    b"\n.\n", b"x" * 9, b"y" * 23, b"z" * 40, b"\x00\xff",
)  # fmt: skip
_NOISE = (
    b"\r",
    b"\n",
    b".",
    b"\r\n",
    b"+OK",
    b"-ERR",
    b"+",
    b" ",
    b"x",
    b"\r\n.\r\n",
    b"+OK\r\n",
    b".\r\n",
    b"\x16",
    b"\x03",
)


def random_dialogue(rng: random.Random) -> list[Move]:
    """A dialogue of a few turns: pipelined, challenged, unasked for, faulty; mostly sound, so it gets somewhere."""
    moves: list[Move] = []
    if rng.random() < 0.95:
        moves.append(("S", rng.choice(_STATUS[:3]) + CRLF))
    for _ in range(rng.randint(1, 6)):
        moves += rng.choices((_turn, _noise, _torn), (10, 1, 2))[0](rng)
    if rng.random() < 0.5:
        moves.append(CLOSE)
    return moves


def _turn(rng: random.Random) -> list[Move]:
    lines = [rng.choice(_COMMANDS) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    moves = [("C", line + CRLF) for line in lines]
    if rng.random() < 0.1:
        moves.append(("C", rng.choice(_ANSWERS) + CRLF))
    for line in lines:
        if line.startswith(b"AUTH") and rng.random() < 0.7:
            moves.append(("S", b"+ " + rng.choice((b"", b"aGk=")) + CRLF))
            if rng.random() < 0.9:
                moves.append(("C", rng.choice(_ANSWERS) + CRLF))
        moves.append(("S", _reply(rng, line)))
        if line == b"STLS" and rng.random() < 0.8:
            moves.append(TLS)
    if rng.random() < 0.1:
        moves.append(("S", rng.choice(_STATUS) + CRLF))  # nobody asked
    return moves


def _reply(rng: random.Random, line: bytes) -> bytes:
    if rng.random() < 0.08:
        return rng.choice(_FAULTS)
    reply = rng.choice(_STATUS) + CRLF
    word = line.upper().split(b" ")[0]
    if (
        reply.startswith(b"+OK")
        and word in (b"CAPA", b"LIST", b"UIDL", b"RETR", b"TOP", b"LANG", b"XTND")
        and rng.random() < 0.9
    ):
        rows = [rng.choice(_ROWS) for _ in range(rng.choice((0, 1, 2, 3, 5)))]
        reply += b"".join((b"." + row if row.startswith(b".") else row) + CRLF for row in rows)
        reply += b".\r\n" if rng.random() < 0.95 else b""
    return reply


def _noise(rng: random.Random) -> list[Move]:
    return [("S", b"".join(rng.choice(_NOISE) for _ in range(rng.randint(1, 12))))]


def _torn(rng: random.Random) -> list[Move]:
    """A line of one side in the middle of a line of the other."""
    mine, theirs = rng.choice(_COMMANDS) + CRLF, rng.choice(_STATUS) + CRLF
    at, there = rng.randint(0, len(mine)), rng.randint(0, len(theirs))
    return [("C", mine[:at]), ("S", theirs[:there]), ("C", mine[at:]), ("S", theirs[there:])]


def random_limits(rng: random.Random) -> ReplyLimits | None:
    return rng.choice((None, None, TIGHT, TIGHT, TIGHTER))


def differing_cutting(rng: random.Random, cuttings: int) -> str | None:
    """Cut one random dialogue in `cuttings` ways; None if all give the same, else what differs, ready to print."""
    moves, limits = random_dialogue(rng), random_limits(rng)
    wanted = replay(moves, whole, limits)
    cutters = [("byte by byte", chunks_of(1)), *(("at random", at_random(rng)) for _ in range(cuttings - 2))]
    for name, cutter in cutters:
        found = replay(moves, cutter, limits)
        if found != wanted:
            return f"{name}: {merged(moves)}\n{limits}\n{first_difference(wanted, found)}"
    return None


def first_difference(wanted: Outcome, found: Outcome) -> str:
    for at, pair in enumerate(itertools.zip_longest(wanted.events, found.events)):
        if pair[0] != pair[1]:
            return f"event {at}:\n  whole {_told(pair[0])}\n  cut   {_told(pair[1])}"
    return f"at the end:\n  whole {wanted.end}\n  cut   {found.end}"


def _told(event: Event | None) -> str:
    return f"{event} {getattr(event, 'sent', b'')!r} {getattr(event, 'received', b'')!r} {getattr(event, 'ahead', '')}"


# -- a relay -----------------------------------------------------------------------------------------------------------


@dataclass
class Relayed:
    """What came out of a Relay on both sides, and what it reported."""

    to_client: bytes
    to_server: bytes
    events: list[object]


def relayed(moves: Sequence[Move], cut: Cutter) -> Relayed:
    """Let `moves` pass a Relay, each direction's bytes cut by `cut`; what is left of them passes at the end."""
    events: list[object] = []
    relay = Relay(events.append, texts("en"))
    pass_through(relay, moves, cut)
    return Relayed(bytes(relay.to_client), bytes(relay.to_server), events)


def pass_through(relay: Relay, moves: Sequence[Move], cut: Cutter) -> None:
    """Hand `moves` to a relay, as its owner does."""
    for who, data in merged(moves):
        if who == "tls":
            if relay.starts_tls:
                relay.client_tls_started()
        elif who == "close":
            relay.server_closed()
        else:
            take = relay.client_sent if who == "C" else relay.server_sent
            for piece in cut(data):
                take(piece)


def differing_relay(rng: random.Random, cuttings: int) -> str | None:
    """Cut one random dialogue in `cuttings` ways; None if all pass alike, and as they came where nothing is marked."""
    moves = random_dialogue(rng)
    # Whether a client waited for the reply to STLS is a matter of time.
    while any(who == "C" and re.search(rb"(?i)stls\r\n.", data, re.DOTALL) for who, data in merged(moves)):
        moves = random_dialogue(rng)
    wanted = relayed(moves, whole)
    cutters = [chunks_of(1), *(at_random(rng) for _ in range(cuttings - 2))]
    for cutter in cutters:
        found = relayed(moves, cutter)
        if found != wanted:
            return f"{merged(moves)}\n  whole {wanted}\n  cut   {found}"
    sent, came = (b"".join(data for who, data in moves if who == side) for side in "CS")
    marked = any(isinstance(event, Answered) and (event.own or event.taken or event.put) for event in wanted.events)
    if not marked and (not sent.startswith(wanted.to_server) or not came.startswith(wanted.to_client)):
        return f"{merged(moves)}\n  changed to {wanted}"
    return None


@functools.cache
def _decoded(word: str) -> str:
    return base64.b64decode(word[: len(word) // 4 * 4]).decode("latin-1") + "\n" if "=" not in word[:-2] else ""


def leaks(text: str, secrets: tuple[str, ...]) -> list[str]:
    """The secrets that are in a text, also in base64 of any alignment."""
    hidden = "".join(map(_decoded, {*re.findall(r"[A-Za-z0-9+/]{4,}={0,2}", text)}))
    return [secret for secret in secrets if secret in text or secret in hidden]
