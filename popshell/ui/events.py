"""Events: what a shell publishes about its connections, for the screen, JSON records, the exit code and a course.

`late` events may come while a line is being typed: no call waits for them, or it cannot be known whether one does.
Named tuples: to define a frozen dataclass takes seven times as long, and all are defined before the first prompt.
"""

from __future__ import annotations

from enum import Enum

from popshell.course.explain import Note
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge, Due
from popshell.protocol.line import CommandLine
from popshell.protocol.records import Exchange
from popshell.session import ConnectError, Endpoint, Step
from popshell.tuples import NamedTuple


class End(Enum):
    """How a connection ended."""

    #: the server closed after its reply to QUIT (RFC 1939 §6)
    QUIT = "quit"
    #: it did not close in time after that reply, so this side did
    QUIT_CLOSED_HERE = "quit-closed-here"
    #: the server or the network closed it
    LOST = "lost"
    #: the practice server's inactivity timer ran out (RFC 1939 §3)
    AUTOLOGOUT = "autologout"
    #: closed here after a fault in what the server sent: nothing is trusted after it
    BROKEN = "broken"
    #: closed here, because too much came that no command asked for
    FLOODED = "flooded"
    #: the handshake after `+OK` to STLS came to nothing
    TLS_FAILED = "tls-failed"
    #: closed here, because no reply came where no person can decide to wait longer
    TIMEOUT = "timeout"
    #: closed here without QUIT, as the user wished
    DROPPED = "dropped"
    #: closed here without QUIT for another connection
    REPLACED = "replaced"
    #: closed here, because the user leaves or the input has ended
    LEFT = "left"


class Connecting:
    """A connection is being opened."""


class Connected(NamedTuple):
    """A connection was opened; its greeting is still to come."""

    endpoint: Endpoint


class Sent(NamedTuple):
    """A line went out. `line` is None for an answer to a challenge; `cancels` if that answer is `*`.

    `by_shell` is the key of the words that say why the shell sent it, "" for a line that was typed.
    """

    line: CommandLine | None
    cancels: bool = False
    by_shell: str = ""


class Replied(NamedTuple):
    """A reply came, or octets that are no reply to any line. `late`: no call waits for it."""

    exchange: Exchange
    notes: tuple[Note, ...] = ()
    late: bool = False


class Greeted(Replied):
    """The greeting came: the reply that no line asks for."""

    __slots__ = ()


class Challenged(NamedTuple):
    """The server asks for one more line of an AUTH dialogue."""

    challenge: Challenge
    late: bool = False


class Waiting(NamedTuple):
    """Something takes long: published each second from `link.HANG_TIME` on.

    `what` is `reply` (the greeting's too; `due` says of which, and what has come), `connecting` or `tls`. `limit` is in
    seconds, None if it is not known here. `rate`, once, in octets a second, if a reply comes slowly.
    """

    due: Due | None
    rate: int | None = None
    seconds: int = 0
    limit: int | None = None
    first: bool = True
    what: str = "reply"
    #: for how many seconds nothing came; `hangs` once, when a reply that has begun is found to stand still
    silent: int = 0
    hangs: bool = False


class Overdue(NamedTuple):
    """A reply is no longer waited for; it may still come. `limit` in seconds if a deadline passed, None for Ctrl-C."""

    due: Due | None
    limit: int | None = None


class TlsStarted(NamedTuple):
    """TLS is on; `facts` are what `:tls` shows."""

    facts: dict[str, object]


class Unshown(NamedTuple):
    """An exchange that is recorded, and is no reply to show: this side cut it off, or a course played it.

    `error` if TLS failed.
    """

    exchange: Exchange
    notes: tuple[Note, ...] = ()
    error: ConnectError | None = None


class Ended(NamedTuple):
    """The connection is closed. `before` is the state that the end met, `error` what the network reported."""

    how: End
    before: State
    error: Exception | None = None
    #: messages that were marked, or whose DELE had no reply yet; whether QUIT was sent and not answered
    marks: tuple[int, ...] = ()
    quit_sent: bool = False

    @property
    def by(self) -> str:
        """Who closed it: `server`, `client` (this side) or `network`."""
        if self.how not in (End.QUIT, End.LOST, End.AUTOLOGOUT):
            return "client"
        code = self.error.code if isinstance(self.error, ConnectError) else ""
        return {"lost": "network", "tls-broken": "client"}.get(code, "server")


class Failed(NamedTuple):
    """A connection could not be opened, or what was wanted of it could not be had."""

    error: ConnectError


#: Events that come late whatever they say.
ALWAYS_LATE = (Overdue, TlsStarted, Ended)
ShellEvent = (
    Connecting
    | Step
    | Connected
    | Sent
    | Replied
    | Challenged
    | Waiting
    | Overdue
    | TlsStarted
    | Unshown
    | Ended
    | Failed
)

#: What stands in the record of a session; the others are of the moment.
RECORDED = (Connecting, Step, Replied, Unshown, Ended, Failed)


class Tally:
    """What decides the exit code of a run without terminal; a subscriber."""

    def __init__(self) -> None:
        self.refused = self.usage = self.failed = False

    def heard(self, event: ShellEvent) -> None:
        if isinstance(event, Replied):
            exchange = event.exchange
            if exchange.problem is not None and not exchange.problem.unasked:
                self.failed = True
            elif exchange.response is not None and not exchange.response.ok:
                self.refused = True
                self.failed = self.failed or exchange.is_greeting
        elif isinstance(event, Failed) or (isinstance(event, Ended) and isinstance(event.error, ConnectError)):
            self.failed = True

    def exit_code(self) -> int:
        return 3 if self.failed else 2 if self.usage else 1 if self.refused else 0
