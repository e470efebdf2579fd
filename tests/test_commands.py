"""The command table against a second list, written from the RFCs; transitions of every state and command."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import each, replay, whole

from popshell.protocol.commands import (
    CAPABILITIES,
    COMMANDS,
    LONGEST_LINE,
    RESPONSE_CODES,
    CommandSpec,
    Kind,
    MultiLine,
    State,
    Transition,
    Undo,
    legal,
    transitions,
)
from popshell.protocol.connection import Connection
from popshell.protocol.line import LONGEST_ARGUMENT

PROFILE = settings(max_examples=400, deadline=None, derandomize=True, database=None)
A, T, U, C = State.AUTHORIZATION, State.TRANSACTION, State.UPDATE, State.CLOSED

#: RFC 1939 §9, RFC 2449 §5, RFC 2595 §4, RFC 5034 §4, RFC 6856 §2.1 and §3.1; and the commands of older RFCs.
VALID = {
    A: {"USER", "PASS", "QUIT", "APOP", "CAPA", "STLS", "AUTH", "UTF8", "LANG", "RPOP"},
    T: {"STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "QUIT", "TOP", "UIDL", "CAPA", "LANG", "LAST", "XTND"},
    U: set(),
    C: set(),
}
#: How each is written, and whether `+OK` goes on: without an argument, with one.
SYNTAX = {
    "USER name": (False, False),
    "PASS string": (False, False),
    "APOP name digest": (False, False),
    "AUTH mechanism [initial-response]": (True, False),
    "STLS": (False, False),
    "CAPA": (True, True),
    "UTF8": (False, False),
    "LANG [lang]": (True, False),
    "STAT": (False, False),
    "LIST [msg]": (True, False),
    "RETR msg": (True, True),
    "DELE msg": (False, False),
    "NOOP": (False, False),
    "RSET": (False, False),
    "TOP msg n": (True, True),
    "UIDL [msg]": (True, False),
    "QUIT": (False, False),
    "LAST": (False, False),
    "RPOP user": (False, False),
    "XTND extension [name]": (True, True),
}


#: Where each is defined: read in the RFCs, not in our table. The two oldest number no headings.
SECTIONS = """
STAT 1939 5, LIST 1939 5, RETR 1939 5, DELE 1939 5, NOOP 1939 5, RSET 1939 5, QUIT 1939 6, TOP 1939 7, UIDL 1939 7,
USER 1939 7, PASS 1939 7, APOP 1939 7, CAPA 2449 5, STLS 2595 4, AUTH 5034 4, UTF8 6856 2.1, LANG 6856 3.2, LAST 1460 5,
RPOP 1225 Optional POP3 Commands, XTND 1082 The XTND Command
"""
CAPABILITY_SECTIONS = """
TOP 2449 6.1, USER 2449 6.2, SASL 2449 6.3, RESP-CODES 2449 6.4, LOGIN-DELAY 2449 6.5, PIPELINING 2449 6.6, EXPIRE 2449
6.7, UIDL 2449 6.8, IMPLEMENTATION 2449 6.9, STLS 2595 4, AUTH-RESP-CODE 3206 6, UTF8 6856 2, LANG 6856 3
"""
CODE_SECTIONS = "LOGIN-DELAY 2449 8.1.1, IN-USE 2449 8.1.2, SYS/TEMP 3206 4, SYS/PERM 3206 4, AUTH 3206 5, UTF8 6856 5"


def test_where_it_is_defined() -> None:
    def found_in(rows: Iterable[tuple[str, int, str]]) -> set[str]:
        return {f"{name} {rfc} {section}" for name, rfc, section in rows}

    def listed(text: str) -> set[str]:
        return set(" ".join(text.split()).split(", "))

    assert found_in((row.name, row.rfc, row.section) for row in COMMANDS.values()) == listed(SECTIONS)
    assert found_in((row.tag, row.rfc, row.section) for row in CAPABILITIES.values()) == listed(CAPABILITY_SECTIONS)
    assert found_in((row.code, row.rfc, row.section) for row in RESPONSE_CODES.values()) == listed(CODE_SECTIONS)
    assert {row.name: row.removed_by for row in COMMANDS.values() if row.removed_by} == {"LAST": 1725, "RPOP": 1460}


def test_what_else_the_rfcs_say_of_a_command() -> None:
    """Which capability announces it, what must come before it and must not, what it continues, and what cannot wait."""
    announced = {row.name: row.capability for row in COMMANDS.values() if row.capability}
    assert announced == {
        "USER": "USER", "PASS": "USER", "AUTH": "SASL", "STLS": "STLS", "UTF8": "UTF8", "LANG": "LANG", "TOP": "TOP",
        "UIDL": "UIDL",
    }  # fmt: skip
    assert {row.name: row.must_follow for row in COMMANDS.values() if row.must_follow} == {
        "PASS": "USER",
        "RPOP": "USER",
    }
    assert {row.name: row.not_after for row in COMMANDS.values() if row.not_after} == {"STLS": ("UTF8",)}
    assert [row.name for row in COMMANDS.values() if row.continues] == ["AUTH"]
    assert [row.name for row in COMMANDS.values() if row.starts_tls] == ["STLS"]
    assert {row.name for row in COMMANDS.values() if row.ends_pipeline} == {"PASS", "APOP", "AUTH", "STLS", "QUIT"}
    assert {row.name for row in COMMANDS.values() if row.undo is Undo.RSET} == {"DELE"}
    leave = {"PASS", "APOP", "AUTH", "STLS", "UTF8"}
    assert {row.name for row in COMMANDS.values() if row.undo is Undo.LEAVE} == leave


def test_the_longest_lines() -> None:
    """RFC 2449 §4: 255 octets, CRLF included. RFC 1939 §3: "Each argument may be up to 40 characters long." """
    assert (LONGEST_LINE, LONGEST_ARGUMENT) == (255, 40)


def test_where_a_command_is_valid() -> None:
    for state in State:
        assert {name for name, spec in COMMANDS.items() if state in spec.transitions} == VALID[state]
        assert {spec.name for spec in legal(state)} == VALID[state] - {"LAST", "RPOP", "XTND"}


def test_syntax_and_multi_line() -> None:
    found = {spec.syntax: (spec.expects_multi_line(0), spec.expects_multi_line(1)) for spec in COMMANDS.values()}
    assert found == SYNTAX


def test_arrows() -> None:
    """RFC 1939 §3: the three states, and what leads from one to the next."""
    arrows = {(arrow.before, arrow.after): set(arrow.commands) for arrow in transitions()}
    assert arrows == {
        (C, A): set(),
        (A, A): {"USER", "STLS", "CAPA", "UTF8", "LANG"},
        (A, T): {"PASS", "APOP", "AUTH"},
        (T, T): {"STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL", "CAPA", "LANG"},
        (A, C): {"QUIT"},
        (T, U): {"QUIT"},
        (U, C): set(),
    }
    assert next(iter(transitions())) == Transition(C, A, ())


def test_only_a_login_opens_the_maildrop() -> None:
    into = {spec.name for spec in COMMANDS.values() if spec.transitions.get(A) is T}
    assert into - {"RPOP"} == {spec.name for spec in COMMANDS.values() if spec.logs_in} == {"PASS", "APOP", "AUTH"}


def test_what_is_secret() -> None:
    secret = {(spec.name, param.name) for spec in COMMANDS.values() for param in spec.params if param.secret}
    assert secret == {("PASS", "string"), ("APOP", "digest"), ("AUTH", "initial-response")}


def test_each_row_is_consistent() -> None:
    def check(key: str, spec: CommandSpec) -> None:
        assert spec.name == key
        assert key.isascii()
        assert key.isupper()
        assert 3 <= len(key) <= 4, "RFC 1939 §3"
        assert spec.capability is None or spec.capability in CAPABILITIES
        assert spec.must_follow is None or spec.must_follow in COMMANDS
        assert set(spec.not_after) <= COMMANDS.keys()
        optional = [param.optional for param in spec.params]
        assert optional == sorted(optional), "optional parameters come last"
        assert spec.required == optional.count(False)
        assert spec.multi_line is not MultiLine.WITHOUT_ARGUMENT or optional == [True] or key == "AUTH"
        assert Kind.SECRET not in (param.kind for param in spec.params) or len(spec.params) == 1
        assert dict(spec.on_err) == ({T: U} if key == "QUIT" else {}), "after -ERR nothing moves but QUIT"
        with pytest.raises(AttributeError):
            spec.name = "X"  # type: ignore[misc]
        with pytest.raises(TypeError):
            spec.transitions[C] = C  # type: ignore[index]

    each(COMMANDS.items(), check)


# -- the same table, walked on the wire -------------------------------------------------------------------------------

ARGUMENTS = {
    "USER": b" x",
    "PASS": b" x",
    "APOP": b" x " + b"0" * 32,
    "AUTH": b" PLAIN =",
    "RETR": b" 1",
    "DELE": b" 1",
}
ARGUMENTS |= {"TOP": b" 1 1", "RPOP": b" x", "XTND": b" x"}
#: how to get into a state
WAYS = {
    C: [],
    A: [("S", b"+OK\r\n")],
    T: [("S", b"+OK\r\n"), ("C", b"APOP x " + b"0" * 32 + b"\r\n"), ("S", b"+OK\r\n")],
    U: [("S", b"+OK\r\n"), ("C", b"APOP x 0\r\n"), ("S", b"+OK\r\n"), ("C", b"QUIT\r\n"), ("S", b"+OK\r\n")],
}


def after(state: State, name: str, reply: bytes) -> State:
    line = name.encode() + ARGUMENTS.get(name, b"")
    content = b".\r\n" if COMMANDS[name].expects_multi_line(line.count(b" ")) and reply == b"+OK\r\n" else b""
    greeting = [("S", b"-ERR\r\n")] if state is C else []
    outcome = replay([*WAYS[state], *greeting, ("C", line + b"\r\n"), ("S", reply + content)], whole)
    last = outcome.events[-1]
    assert (last.name, last.before, last.problem) == (name, state, None)  # type: ignore[union-attr]
    return last.after  # type: ignore[union-attr]


def test_every_state_and_command() -> None:
    """`+OK` leads where the table says; what is not in the table leads nowhere; so does `-ERR`, but to QUIT."""

    def check(state: State, name: str) -> None:
        moves = COMMANDS[name].transitions
        assert after(state, name, b"+OK\r\n") is moves.get(state, state)
        assert after(state, name, b"-ERR no\r\n") is (U if (name, state) == ("QUIT", T) else state)

    each(itertools.product(State, COMMANDS), check)


@PROFILE
@given(st.lists(st.tuples(st.sampled_from(sorted(COMMANDS)), st.booleans()), max_size=12))
def test_every_walk_follows_the_arrows(steps: list[tuple[str, bool]]) -> None:
    connection = Connection()
    connection.received(b"+OK\r\n")
    arrows = {(arrow.before, arrow.after) for arrow in transitions()} | {(A, A), (U, U), (C, C)}
    for name, good in steps:
        line = name.encode() + ARGUMENTS.get(name, b"")
        before = connection.state
        connection.sent(line + b"\r\n")
        many = good and COMMANDS[name].expects_multi_line(line.count(b" "))
        events = connection.received((b"+OK\r\n" if good else b"-ERR\r\n") + (b".\r\n" if many else b""))
        assert len(events) == 1
        assert (before, connection.state) in arrows
        if connection.wants_tls:
            connection.tls_started()


def test_only_what_leads_to_update_can_never_be_taken_back() -> None:
    for spec in COMMANDS.values():
        for state in State:
            never = spec.undo_in(state) is Undo.NEVER
            assert never == (spec.name == "QUIT" and state is not A), (spec.name, state)
    assert COMMANDS["QUIT"].undo_in(A) is Undo.END
    assert COMMANDS["DELE"].undo_in(A) is Undo.RSET
