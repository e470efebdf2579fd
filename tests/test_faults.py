"""FAULTS: each entry acts at its point of a session; state belongs to a session; a new fault is one entry."""

from __future__ import annotations

import pytest
from interop.practice import Wire, listening, mail_server, run
from support import (
    LOGIN,
    NAME,
    SECRET,
    STAMP,
    Clock,
    converse,
    drain,
    logged_in,
    message,
    play,
    practice_server,
    rehearse,
    status,
    statuses,
)

from popshell.protocol.line import CommandLine
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import apop_digest
from popshell.server import faults
from popshell.server.faults import FAULTS, Active, Fault, bind, number, read_faults, true_or_false
from popshell.server.replies import Reply
from popshell.server.session import ServerSession
from popshell.words import Flaw

#: A fault by its parameter, lines, and how the reply to the last one begins.
EACH: list[tuple[dict[str, object], tuple[str, ...], str]] = [
    ({"in_use": True}, LOGIN, "-ERR [IN-USE]"),
    ({"temp_failure": True}, LOGIN, "-ERR [SYS/TEMP]"),
    ({"perm_failure": True}, LOGIN, "-ERR [SYS/PERM]"),
    ({"temp_failure": True, "in_use": True}, LOGIN, "-ERR [SYS/TEMP]"),
    ({"temp_failure": True}, ("USER learner", "PASS wrong"), "-ERR [AUTH]"),
    ({"temp_failure": False}, LOGIN, "+OK"),
    ({"update_fails": True}, (*LOGIN, "DELE 1", "QUIT"), "-ERR [SYS/TEMP]"),
    ({"update_fails": True}, (*LOGIN, "DELE 1", "QUIT x"), "-ERR"),
    ({"update_fails": True}, (*LOGIN, "QUIT"), "+OK"),
    ({"require_tls": True}, ("USER learner",), "-ERR passwords"),
    ({"require_tls": True}, ("AUTH PLAIN",), "-ERR [AUTH]"),
    ({"require_tls": True}, ("AUTH NOSUCH",), "-ERR"),
    ({"require_tls": True}, ("AUTH PLAIN AAAA y",), "-ERR too many"),
    # Right or wrong, APOP is refused alike, and its secret is not looked at (RFC 2595 §2.2).
    ({"require_tls": True}, (f"APOP {NAME} {apop_digest(STAMP, SECRET)}",), "-ERR [AUTH] passwords"),
    ({"require_tls": True}, (f"APOP {NAME} {'0' * 32}",), "-ERR [AUTH] passwords"),
    ({"require_tls": True}, ("STLS", f"APOP {NAME} {apop_digest(STAMP, SECRET)}"), "+OK"),
    ({"require_tls": True}, ("STLS", *LOGIN), "+OK"),
    ({"require_tls": True}, ("x" * 300,), "-ERR line is too long"),
    ({"require_tls": True}, ("x" * 9000,), "-ERR line is too long"),
    ({"without": ["TOP"]}, ("nonsense",), "-ERR unknown command"),
    ({"without": ["TOP"]}, ("x" * 9000,), "-ERR line is too long"),
    ({"update_fails": True}, (*LOGIN, "DELE 1", "x" * 9000), "-ERR line is too long"),
    ({"update_fails": True}, (*LOGIN, "DELE 1", "STAT"), "+OK 6 "),
    ({"without": ["TOP"]}, (*LOGIN, "TOP 1 0"), "-ERR"),
    ({"without": ["UIDL"]}, (*LOGIN, "TOP 1 0"), "+OK"),
    ({"mechanisms": ["CRAM-MD5"]}, ("AUTH PLAIN",), "-ERR no such mechanism"),
    ({"mechanisms": ["PLAIN"], "iterations": 5000}, ("AUTH PLAIN AGxlYXJuZXIAc2VjcmV0",), "+OK"),
    ({"mechanisms": ["LOGIN"], "require_tls": True}, ("AUTH LOGIN",), "-ERR [AUTH]"),
    ({"line_goes_dead_after": 3}, (*LOGIN, "STAT"), "+OK"),
    ({"line_goes_dead_after": 2}, (*LOGIN, "STAT"), ""),
]


def test_what_each_fault_does() -> None:
    for parameters, lines, wanted in EACH:
        replies = statuses(*lines, faults=parameters)
        last = replies[-1] if len(replies) == len(lines) else ""
        assert last.startswith(wanted), (parameters, lines, replies)
        assert bool(last) == bool(wanted), (parameters, lines, replies)
    assert {name for parameters, _, _ in EACH for name in parameters} | {"login_delay"} == FAULTS.keys()


def test_a_password_in_clear_text_is_refused_after_require_tls_was_hidden() -> None:
    """PASS is refused by itself, not only because USER before it was."""
    session = practice_server(faults={"require_tls": True}).session()
    drain(session)
    session.context = session.context._replace(follows="USER")
    session.name = NAME
    assert converse(session, b"PASS secret\r\n").startswith(b"-ERR [AUTH] passwords")


def test_login_delay_ends_on_time() -> None:
    clock = Clock(1000.0)
    server = practice_server(clock=clock, faults={"login_delay": 60})
    rehearse([*LOGIN, "QUIT"], server)
    for now, wanted in ((1059.5, "-ERR [LOGIN-DELAY]"), (1060.0, "+OK")):
        clock.now = now
        assert status(rehearse(LOGIN, server)[-1]).startswith(wanted), now


def test_a_failed_update_closes_and_keeps_every_message() -> None:
    server = practice_server(faults={"update_fails": True})
    session = logged_in(server)
    converse(session, b"DELE 1\r\nQUIT\r\n")
    assert session.closing
    assert not server.maildrop_of("learner").in_use
    assert len(server.maildrop_of("learner").messages) == 7


def test_bad_parameters_are_refused() -> None:
    for raw, codes in (
        ({"on_fire": True}, "choices unknown"),
        ({"without": "TOP"}, "place kind-list"),
        ({"without": [1]}, "place kind-list"),
        ({"login_delay": "60"}, "place kind-number"),
        ({"login_delay": True}, "place kind-number"),
        ({"line_goes_dead_after": -1}, "place kind-number"),
        ({"in_use": 1}, "place kind-flag"),
        ({"mechanisms": "PLAIN"}, "place kind-list"),
        ({"mechanisms": ["PLAIN", "NO"]}, "place choices unknown"),
        ({"mechanisms": [7]}, "place kind-list"),
        ({"iterations": 0}, "place kind-number"),
    ):
        for refuse in (read_faults, bind, lambda raw: mail_server(faults=raw)):
            with pytest.raises(Flaw) as caught:
                refuse(raw)
            found, flaw = [], caught.value
            while isinstance(flaw, Flaw):
                found.append(flaw.code)
                flaw = flaw.facts.get("reason")
            assert " ".join(found) == codes, raw


def test_a_refusal_names_what_may_be_given() -> None:
    known, place = ", ".join(sorted(FAULTS)), "mechanisms"
    for raw, wanted in (
        ({"iterations": 0}, [{"place": "iterations"}, {"least": 1}]),
        ({"login_delay": -1}, [{"place": "login_delay"}, {"least": 0}]),
        ({place: ["PLAIN", "NO"]}, [{"place": place}, {"known": ", ".join(MECHANISMS)}, {"name": "NO"}]),
        ({"on_fire": True}, [{"known": known}, {"name": "on_fire"}]),
    ):
        with pytest.raises(Flaw) as caught:
            read_faults(raw)
        flaw, found = caught.value, []
        while isinstance(flaw, Flaw):
            found.append({name: fact for name, fact in flaw.facts.items() if name != "reason"})
            flaw = flaw.facts.get("reason")
        assert found == wanted, raw


def test_the_least_parameters() -> None:
    assert read_faults({"iterations": 1, "login_delay": 0}) == {"iterations": 1, "login_delay": 0}


def test_state_belongs_to_a_session() -> None:
    """One session uses up its lines; another of the same server begins anew."""
    server = practice_server(faults={"line_goes_dead_after": 3})
    first, second = server.session(), server.session()
    drain(first), drain(second)
    assert converse(first, b"NOOP\r\n" * 5).count(b"\r\n") == 3
    assert converse(second, b"NOOP\r\n" * 2).count(b"\r\n") == 2


def test_the_same_seed_draws_the_same_numbers_and_each_session_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(active: Active, session: ServerSession, line: CommandLine | None, reply: Reply) -> Reply:
        return reply if active.random.random() < 0.5 else Reply(False, "not-supported")

    monkeypatch.setattr(faults, "FAULTS", {"flip": Fault(true_or_false, on_reply=flip)})

    def drawn(seed: int | None) -> list[list[bool]]:
        server = practice_server(faults={"flip": True}, seed=seed)
        return [[exchange.ok for exchange in rehearse(["CAPA"] * 40, server)] for _ in range(2)]

    first, second = drawn(1)
    assert [first, second] == drawn(1)
    assert first != second
    assert drawn(2) != drawn(1)
    assert drawn(None) != drawn(None)  # without a seed they differ each time


# -- a new fault is one entry ------------------------------------------------------------------------------------------


def test_what_a_fault_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session, and the line; None in its place for one that is too long, and for an answer to a challenge."""
    seen: list[tuple[str, ServerSession, str | None]] = []

    def on_line(active: Active, session: ServerSession, line: CommandLine | None) -> None:
        seen.append(("line", session, line and line.text))

    def on_reply(active: Active, session: ServerSession, line: CommandLine | None, reply: Reply) -> Reply:
        seen.append(("reply", session, line and line.text))
        return reply

    monkeypatch.setattr(faults, "FAULTS", {"listen": Fault(true_or_false, on_line=on_line, on_reply=on_reply)})
    session = practice_server(faults={"listen": True}).session()
    converse(session, b"CAPA\r\n" + b"x" * 9000 + b"\r\nAUTH PLAIN\r\nAGE=\r\n")
    given = ("CAPA", None, "AUTH PLAIN", None)
    assert seen == [(which, session, text) for text in given for which in ("line", "reply")]


def _start_reply(active: Active, session: ServerSession, line: CommandLine | None, reply: Reply) -> Reply:
    active.counts["sent"] = 0
    return reply


def _cut(active: Active, session: ServerSession, octets: bytes) -> bytes:
    """Close within a reply, after as many octets of it as the parameter says."""
    left = active.value - active.counts["sent"]
    active.counts["sent"] += len(octets)
    if len(octets) >= left:
        session.close_now()
    return octets[:left]


def test_a_fault_that_cuts_a_reply_after_n_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Fault(number, on_reply=_start_reply, on_octets=_cut)
    monkeypatch.setattr(faults, "FAULTS", {**FAULTS, "cut_reply": cut})
    mail = message(b"A: b\n\n" + b"x" * 1_000_000)
    for octets in (100, 300_000):  # within the first piece, and within a later one
        server = practice_server(messages=(mail,), faults={"cut_reply": octets})
        session = logged_in(server)
        assert converse(session, b"STAT\r\n").startswith(b"+OK 1 ")
        out = converse(session, b"RETR 1\r\nNOOP\r\n")
        assert len(out) == octets
        assert out.startswith(b"+OK")
        assert session.closing
        session.lost()
        assert not server.maildrop_of("learner").in_use


def test_a_fault_that_sends_bare_lf(monkeypatch: pytest.MonkeyPatch) -> None:
    bare_lf = Fault(true_or_false, on_octets=lambda active, session, octets: octets.replace(b"\r\n", b"\n"))
    monkeypatch.setattr(faults, "FAULTS", {**FAULTS, "bare_lf": bare_lf})
    session = practice_server(faults={"bare_lf": True}).session()
    out = drain(session) + converse(session, b"CAPA\r\nQUIT\r\n")
    assert out.count(b"\n") > 3
    assert b"\r" not in out
    assert play("CAPA", faults={"bare_lf": True}) == []  # a strict client ends the session at the greeting


def test_two_sessions_of_one_listener_differ() -> None:
    """Account store, clock, limits and faults are the session's."""

    async def body() -> None:
        ours = mail_server(faults={"in_use": True})
        theirs = mail_server((), accounts={"mei": "secret"})
        first = [ours.settings, theirs.settings._replace(limits=theirs.limits._replace(bad_commands=1))]
        taken = iter(first)

        def new_session(*, tls: bool, client: str) -> ServerSession:
            assert client.startswith("127.0.0.1:")
            return ours.session(tls=tls, client=client, settings=next(taken))

        async with listening(new_session) as (_, port):
            one, other = await Wire.dial(port), await Wire.dial(port)
            await one.upto()
            await one.ask("USER learner")
            assert (await one.ask("PASS secret")).startswith(b"-ERR [IN-USE]")
            assert (await one.ask("x")).startswith(b"-ERR")
            assert (await one.ask("CAPA")).startswith(b"+OK")
            await other.upto()
            await other.ask("USER mei")
            assert (await other.ask("PASS secret")).startswith(b"+OK")
            assert await other.ask("STAT") == b"+OK 0 0\r\n"
            assert (await other.rest_after("x")).count(b"\r\n") == 1
            assert not ours.maildrop_of("learner").in_use

    run(body())
