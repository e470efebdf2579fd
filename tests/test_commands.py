"""commands: the table against a second list, written from the RFCs; transitions for every state and command."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import replay, whole

from popshell.protocol.commands import (
    CAPABILITIES,
    COMMANDS,
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
    "AUTH mechanism [initial-response]": (False, False),
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


@pytest.mark.parametrize("state", State)
def test_where_a_command_is_valid(state: State) -> None:
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


@pytest.mark.parametrize("spec", COMMANDS.values(), ids=list(COMMANDS))
class TestRow:
    def test_the_name_is_its_key_and_a_keyword(self, spec: CommandSpec) -> None:
        assert COMMANDS[spec.name] is spec
        assert spec.name.isascii()
        assert spec.name.isupper()
        assert 3 <= len(spec.name) <= 4  # RFC 1939 §3

    def test_what_it_names_is_there(self, spec: CommandSpec) -> None:
        assert spec.capability is None or spec.capability in CAPABILITIES
        assert spec.must_follow is None or spec.must_follow in COMMANDS
        assert set(spec.not_after) <= COMMANDS.keys()

    def test_optional_parameters_come_last(self, spec: CommandSpec) -> None:
        optional = [param.optional for param in spec.params]
        assert optional == sorted(optional)
        assert spec.required == optional.count(False)
        assert (spec.multi_line is MultiLine.WITHOUT_ARGUMENT) <= (optional == [True])

    def test_a_secret_with_blanks_is_the_only_parameter(self, spec: CommandSpec) -> None:
        kinds = [param.kind for param in spec.params]
        assert Kind.SECRET not in kinds or len(kinds) == 1

    def test_it_cannot_be_changed(self, spec: CommandSpec) -> None:
        with pytest.raises(AttributeError):
            spec.name = "X"  # type: ignore[misc]
        with pytest.raises(TypeError):
            spec.transitions[C] = C  # type: ignore[index]

    def test_after_an_error_nothing_moves_but_quit(self, spec: CommandSpec) -> None:
        assert dict(spec.on_err) == ({T: U} if spec.name == "QUIT" else {})


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


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_state_and_command(state: State, name: str) -> None:
    """`+OK` leads where the table says; what is not in the table leads nowhere; so does `-ERR`, but to QUIT."""
    moves = COMMANDS[name].transitions
    assert after(state, name, b"+OK\r\n") is moves.get(state, state)
    assert after(state, name, b"-ERR no\r\n") is (U if (name, state) == ("QUIT", T) else state)


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


@pytest.mark.parametrize("spec", COMMANDS.values(), ids=COMMANDS)
def test_only_what_leads_to_update_can_never_be_taken_back(spec: CommandSpec) -> None:
    for state in State:
        never = spec.undo_in(state) is Undo.NEVER
        assert never == (spec.name == "QUIT" and state is not A)
    assert COMMANDS["QUIT"].undo_in(A) is Undo.END
