"""The one table: every fact about a POP3 command stands here, once.

Highlighter, completer, warnings, reply framing, practice server, CAPA list, state diagram, reference and
explanations are derived from it. The table holds facts only: no code, no prose, no colour.

The trick that keeps it small: "allowed in" and "leads to" are one column. `LIST: {TRANSACTION: TRANSACTION}` says
both that LIST is legal in TRANSACTION and that `+OK` stays there. What is not in the mapping is not legal, and the
miss is the explanation.

Trap: "multi-line" has three values. LIST, UIDL and LANG answer one line with an argument and many without one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from popshell.protocol.maildrop_view import MaildropView
from popshell.tuples import NamedTuple


class State(enum.Enum):
    """The states of a POP3 session (RFC 1939 §3); CLOSED is before the greeting and after the end."""

    CLOSED = "CLOSED"
    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"

    # Members are single: enum's own hash, written in Python, costs more than the look-up that it is for.
    __hash__ = object.__hash__


class Context(NamedTuple):
    """Where a session stands when a line is served: what the line is judged against, and what its reply moves."""

    state: State = State.AUTHORIZATION
    #: the command whose `+OK` came last, "" if the last reply was none
    follows: str = ""
    tls: bool = False
    #: commands that had `+OK` on this connection
    done: frozenset[str] = frozenset()
    maildrop: MaildropView = MaildropView()
    #: the server said `UTF8 USER`: names and passwords may be UTF-8 before the UTF8 command, too (RFC 6856 §2.2)
    utf8_user: bool = False
    #: a login was refused, or held back here, and no other command came since: what comes may be its secret
    refused: bool = False


#: RFC 2449 §4: a command line is at most 255 octets, CRLF included.
LONGEST_LINE = 255


class Kind(enum.Enum):
    """What sort of word a parameter takes; completion, colour and checks follow from it."""

    NAME = "name"  # a mailbox: user name (RFC 1939 §7)
    SECRET = "secret"  # the rest of the line, blanks included (RFC 1939 §7, PASS)
    DIGEST = "digest"  # 32 lower-case hexadecimal digits (RFC 1939 §7, APOP)
    MESSAGE = "message"  # a message-number: 1 and up (RFC 1939 §5)
    LINES = "lines"  # a number of lines: 0 and up (RFC 1939 §7, TOP)
    MECHANISM = "mechanism"  # a SASL mechanism name (RFC 5034 §4)
    INITIAL = "initial"  # base64 of the initial response, or = (RFC 5034 §4)
    LANGUAGE = "language"  # a language range (RFC 4647), or * (RFC 6856 §3.2)
    WORD = "word"  # anything: arguments of commands that are history


class MultiLine(enum.Enum):
    """Whether `+OK` is followed by lines up to a line that holds only a dot (RFC 1939 §3)."""

    NEVER = "never"
    ALWAYS = "always"
    WITHOUT_ARGUMENT = "without argument"


class Content(enum.Enum):
    """What the lines after a multi-line `+OK` are."""

    TEXT = "text"
    SCAN_LISTINGS = "scan listings"  # message-number and octets (RFC 1939 §5)
    UNIQUE_IDS = "unique-id listings"  # message-number and unique-id (RFC 1939 §7)
    MAIL = "mail"  # header, empty line, body (RFC 5322)
    CAPABILITIES = "capabilities"  # a tag and its parameters (RFC 2449 §3)


class Undo(enum.Enum):
    """Whether what `+OK` did can be taken back."""

    NOTHING = "nothing"  # nothing is changed
    RSET = "rset"  # RSET takes it back (RFC 1939 §5)
    LEAVE = "leave"  # only a new connection takes it back
    NEVER = "never"  # it is done for good: the command leads to UPDATE
    END = "end"  # the session is over, and nothing else has changed


class Param(NamedTuple):
    """One parameter of a command. `name` is RFC 1939's word for it where it has one."""

    name: str
    kind: Kind
    optional: bool = False

    @property
    def secret(self) -> bool:
        """True if its value must not be shown, stored or logged; the one mark that redaction reads."""
        return self.kind in (Kind.SECRET, Kind.DIGEST, Kind.INITIAL)


_NONE: Mapping[State, State] = MappingProxyType({})


class CommandSpec(NamedTuple):
    """One row: what a command is, where it is legal, where `+OK` and `-ERR` lead, and how its reply ends."""

    name: str
    rfc: int
    section: str
    transitions: Mapping[State, State]
    params: tuple[Param, ...] = ()
    multi_line: MultiLine = MultiLine.NEVER
    content: Content = Content.TEXT
    undo: Undo = Undo.NOTHING
    #: where `-ERR` leads, for states that it does not leave unchanged
    on_err: Mapping[State, State] = _NONE
    #: the CAPA tag that announces it; None for what every server has to serve (RFC 1939 §5)
    capability: str | None = None
    #: the command whose `+OK` must come immediately before
    must_follow: str | None = None
    #: the server may answer `+ ` and ask for another line (RFC 5034 §4)
    continues: bool = False
    #: after `+OK` both sides negotiate TLS; illegal when TLS is on (RFC 2595 §4)
    starts_tls: bool = False
    #: commands after whose `+OK` this one must not be given any more in the session
    not_after: tuple[str, ...] = ()
    #: the command authenticates: its `+OK` opens the maildrop
    logs_in: bool = False
    #: nothing is sent after it before its reply has come: for STLS by RFC 2595 §4, for the others because clients stop
    #: pipelining after a failed login
    ends_pipeline: bool = False
    #: it left the protocol long ago: taught as history, answered with `-ERR`
    historic: bool = False
    #: the RFC that took it out, where one says so
    removed_by: int | None = None
    #: further RFCs and sections worth reading
    see: tuple[tuple[int, str], ...] = ()

    @property
    def required(self) -> int:
        """How many arguments it needs."""
        return sum(not param.optional for param in self.params)

    @property
    def syntax(self) -> str:
        """The command with its parameters as RFC 1939 writes them: `TOP msg n`, `LIST [msg]`."""
        words = (f"[{p.name}]" if p.optional else p.name for p in self.params)
        return " ".join((self.name, *words))

    def undo_in(self, state: State) -> Undo:
        """Whether what `+OK` does in `state` can be taken back: only UPDATE erases (RFC 1939 §6)."""
        if self.undo is Undo.NEVER and self.transitions.get(state, State.UPDATE) is not State.UPDATE:
            return Undo.END
        return self.undo

    def expects_multi_line(self, argument_count: int) -> bool:
        """Whether `+OK` to it, given so many arguments, goes on to a line holding only a dot."""
        if self.multi_line is MultiLine.WITHOUT_ARGUMENT:
            return argument_count == 0
        return self.multi_line is MultiLine.ALWAYS


_A, _T, _U, _C = State.AUTHORIZATION, State.TRANSACTION, State.UPDATE, State.CLOSED
_STAY_T = MappingProxyType({_T: _T})
_STAY_A = MappingProxyType({_A: _A})
_STAY_BOTH = MappingProxyType({_A: _A, _T: _T})
_LOGIN = MappingProxyType({_A: _T})
_QUIT = MappingProxyType({_A: _C, _T: _U})
_UPDATE = MappingProxyType({_T: _U})
_NAME, _N, _MSG = Param("name", Kind.NAME), Param("n", Kind.LINES), Param("msg", Kind.MESSAGE)
_MAYBE_MSG = (_MSG._replace(optional=True),)
_STRING, _DIGEST = Param("string", Kind.SECRET), Param("digest", Kind.DIGEST)
_MECHANISM, _INITIAL = Param("mechanism", Kind.MECHANISM), Param("initial-response", Kind.INITIAL, optional=True)
_LANG = Param("lang", Kind.LANGUAGE, optional=True)
_USER, _EXTENSION = Param("user", Kind.NAME), Param("extension", Kind.WORD)
_DATA = Param("name", Kind.WORD, optional=True)
_ALWAYS, _UNLESS_NAMED = MultiLine.ALWAYS, MultiLine.WITHOUT_ARGUMENT
_MAIL, _IDS = Content.MAIL, Content.UNIQUE_IDS


def _login(name: str, rfc: int, section: str, *params: Param, **more: Any) -> CommandSpec:
    """A row that leads from AUTHORIZATION to TRANSACTION, for good."""
    return CommandSpec(name, rfc, section, _LOGIN, params, logs_in=True, undo=Undo.LEAVE, ends_pipeline=True, **more)


_ROWS = (
    CommandSpec("USER", 1939, "7", _STAY_A, (_NAME,), capability="USER", see=((2449, "6.2"),)),
    _login("PASS", 1939, "7", _STRING, capability="USER", must_follow="USER", see=((8314, "3"), (2595, "4"))),
    _login("APOP", 1939, "7", _NAME, _DIGEST, see=((1939, "13"),)),
    # In no RFC: servers that answer `+OK` to AUTH without a mechanism list those that they have.
    _login(
        *("AUTH", 5034, "4", _MECHANISM, _INITIAL),
        multi_line=_UNLESS_NAMED,
        capability="SASL",
        continues=True,
        see=((4616, "2"),),
    ),
    CommandSpec(
        "STLS",
        2595,
        "4",
        _STAY_A,
        capability="STLS",
        starts_tls=True,
        not_after=("UTF8",),
        undo=Undo.LEAVE,
        ends_pipeline=True,
        see=((8314, "3.1"), (6856, "2.1")),
    ),
    CommandSpec("CAPA", 2449, "5", _STAY_BOTH, (), _ALWAYS, Content.CAPABILITIES),
    CommandSpec("UTF8", 6856, "2.1", _STAY_A, capability="UTF8", undo=Undo.LEAVE, see=((6532, "3"),)),
    CommandSpec("LANG", 6856, "3.2", _STAY_BOTH, (_LANG,), _UNLESS_NAMED, capability="LANG"),
    CommandSpec("STAT", 1939, "5", _STAY_T),
    CommandSpec("LIST", 1939, "5", _STAY_T, _MAYBE_MSG, _UNLESS_NAMED, Content.SCAN_LISTINGS),
    CommandSpec("RETR", 1939, "5", _STAY_T, (_MSG,), _ALWAYS, _MAIL, see=((1939, "3"),)),
    CommandSpec("DELE", 1939, "5", _STAY_T, (_MSG,), undo=Undo.RSET, see=((1939, "6"),)),
    CommandSpec("NOOP", 1939, "5", _STAY_T, see=((1939, "3"),)),
    CommandSpec("RSET", 1939, "5", _STAY_T),
    CommandSpec("TOP", 1939, "7", _STAY_T, (_MSG, _N), _ALWAYS, _MAIL, capability="TOP", see=((2449, "6.1"),)),
    CommandSpec("UIDL", 1939, "7", _STAY_T, _MAYBE_MSG, _UNLESS_NAMED, _IDS, capability="UIDL", see=((2449, "6.8"),)),
    CommandSpec("QUIT", 1939, "6", _QUIT, on_err=_UPDATE, undo=Undo.NEVER, ends_pipeline=True, see=((1939, "4"),)),
    CommandSpec("LAST", 1460, "5", _STAY_T, historic=True, removed_by=1725),
    CommandSpec(
        "RPOP", 1225, "Optional POP3 Commands", _LOGIN, (_USER,), must_follow="USER", historic=True, removed_by=1460
    ),
    CommandSpec("XTND", 1082, "The XTND Command", _STAY_T, (_EXTENSION, _DATA), _ALWAYS, historic=True),
)

#: Every command that PopShell knows, by its name in upper case.
COMMANDS: Mapping[str, CommandSpec] = MappingProxyType({spec.name: spec for spec in _ROWS})


class Transition(NamedTuple):
    """One arrow of the state machine: `commands` lead from `before` to `after`. The greeting has no command."""

    before: State
    after: State
    commands: tuple[str, ...]


def transitions() -> Iterator[Transition]:
    """Every arrow of the state machine, derived from the table; historic commands are left out.

    The first arrow is the greeting (RFC 1939 §4), the last the server's closing after UPDATE (RFC 1939 §6).
    """
    yield Transition(_C, _A, ())
    arrows: dict[tuple[State, State], list[str]] = {}
    for spec in _ROWS:
        if not spec.historic:
            for before, after in spec.transitions.items():
                arrows.setdefault((before, after), []).append(spec.name)
    for (before, after), names in arrows.items():
        yield Transition(before, after, tuple(names))
    yield Transition(_U, _C, ())


def legal(state: State) -> tuple[CommandSpec, ...]:
    """The commands that may be given in `state`, in the table's order; history left out."""
    return tuple(spec for spec in _ROWS if state in spec.transitions and not spec.historic)


class Capability(NamedTuple):
    """One CAPA tag: where it is announced and which RFC defines it."""

    tag: str
    rfc: int
    section: str
    #: the states in which a CAPA reply may list it (RFC 2449 §6, "announced states")
    announced: frozenset[State]
    #: the tag without which it says nothing
    within: str = ""


class ResponseCode(NamedTuple):
    """One extended response code; `page` is the name of its lesson page."""

    code: str
    rfc: int
    section: str
    #: the commands that its RFC names; none: any
    commands: tuple[str, ...] = ()
    #: the tag that promises it
    capability: str = "RESP-CODES"

    @property
    def page(self) -> str:
        return self.code.replace("/", "-")


_BOTH = frozenset({State.AUTHORIZATION, State.TRANSACTION})
_FIRST = frozenset({State.AUTHORIZATION})

_CAPABILITIES = (
    Capability("TOP", 2449, "6.1", _BOTH),
    Capability("USER", 2449, "6.2", _BOTH),
    Capability("SASL", 2449, "6.3", _BOTH),
    Capability("RESP-CODES", 2449, "6.4", _BOTH),
    Capability("LOGIN-DELAY", 2449, "6.5", _BOTH),
    Capability("PIPELINING", 2449, "6.6", _BOTH),
    Capability("EXPIRE", 2449, "6.7", _BOTH),
    Capability("UIDL", 2449, "6.8", _BOTH),
    Capability("IMPLEMENTATION", 2449, "6.9", _BOTH),
    Capability("STLS", 2595, "4", _FIRST),
    Capability("AUTH-RESP-CODE", 3206, "6", _BOTH, within="RESP-CODES"),
    Capability("UTF8", 6856, "2", _BOTH),
    Capability("LANG", 6856, "3", _BOTH),
)

_CODES = (
    ResponseCode("LOGIN-DELAY", 2449, "8.1.1", ("USER", "PASS", "APOP", "AUTH")),
    ResponseCode("IN-USE", 2449, "8.1.2", ("PASS", "APOP", "AUTH")),
    ResponseCode("SYS/TEMP", 3206, "4"),
    ResponseCode("SYS/PERM", 3206, "4"),
    ResponseCode("AUTH", 3206, "5", ("USER", "PASS", "APOP", "AUTH"), "AUTH-RESP-CODE"),
    ResponseCode("UTF8", 6856, "5", ("LIST", "RETR", "TOP")),
)

CAPABILITIES: Mapping[str, Capability] = MappingProxyType({row.tag: row for row in _CAPABILITIES})
RESPONSE_CODES: Mapping[str, ResponseCode] = MappingProxyType({row.code: row for row in _CODES})


def known_code(code: str) -> ResponseCode | None:
    """The row for `code`; unknown detail after a `/` is ignored level by level (RFC 2449 §8)."""
    code = code.upper()
    while code:
        if code in RESPONSE_CODES:
            return RESPONSE_CODES[code]
        code = code.rpartition("/")[0]
    return None
