"""Session: one connection as a log shows it: its lines, exchanges and states, and what the tool said of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from popshell.logs.text import Event
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange


@dataclass(slots=True)
class Entry:
    """One line of a session as it is shown. `exchange` stands at the first line of a reply, once it is whole."""

    event: Event
    text: str = ""
    exchange: Exchange | None = None
    #: part of a reply after its first line
    content: bool = False
    #: the log does not show it; it is taken to have happened because the tool went on
    assumed: bool = False
    #: the state that begins with this line
    state: State | None = None


@dataclass(slots=True)
class Session:
    """One connection as the log shows it."""

    entries: list[Entry] = field(default_factory=list)
    exchanges: list[tuple[Exchange, Entry | None]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    marks: frozenset[int] = frozenset()
    erased: frozenset[int] = frozenset()
    #: where the other end closed, and whether something was due then
    closed: Event | None = None
    tool: list[Event] = field(default_factory=list)
    unfit: Event | None = None
    secrets: set[str] = field(default_factory=set)
    spoke: bool = False
    tls: bool = False
    #: the greeting, commands or replies are not in the log
    gaps: bool = False
    #: octets that were announced and came, of a reply that is not whole
    short: tuple[int, int, Entry] | None = None
    #: the commands are not in the log
    alone: bool = False
    #: a refusal whose command is not in the log
    nameless: bool = False
    #: the log shows that a connection was made, and that the server said anything
    begun: bool = False
    heard: bool = False
    #: the tool says that it waits for the greeting
    greeting: bool = False
    #: this form shows no replies
    unseen: bool = False
    #: several connections were open at once, and the replies do not say whose they are
    mixed: bool = False
