"""Turn: the exchange under way, as far as it has come; Challenge and Due are what its owner is told of it."""

from __future__ import annotations

from typing import NamedTuple

from popshell.protocol.commandline import CommandLine
from popshell.protocol.exchange import Step
from popshell.protocol.response import Response


class Challenge(NamedTuple):
    """The server asks for another line (`+ `, RFC 5034 §4). `line` is what stands behind the blank: base64."""

    line: bytes
    command: CommandLine


class Due(NamedTuple):
    """A reply that has not arrived whole: the hang watch reads it."""

    command: CommandLine | None
    since: float
    octets: int
    lines: int
    #: a line of a lone dot that does not end the reply because its line ends are bare LF
    bare_lf_dot: bool


class Turn:
    """The exchange under way. `line` is None for the greeting."""

    __slots__ = ("ahead", "line", "received", "response", "sent", "started", "steps", "waiting")

    def __init__(self, line: CommandLine | None, sent: bytes, started: float, ahead: int = 0) -> None:
        self.line = line
        self.ahead = ahead  # how many replies were due when the line was sent
        self.sent = sent
        self.started = started
        self.received = bytearray()
        self.steps: list[Step] = []
        self.waiting: bytes | None = None  # a challenge without its answer
        self.response: Response | None = None  # a status line whose content is still to come
