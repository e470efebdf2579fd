"""How a practice server is set: its limits, the faults that a lesson wants, and where it departs from RFCs' advice."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Limits in seconds and octets (docs/reference-limits.md). The default is the embedded server's: patient."""

    #: an answer to AUTH's challenge; a command may have LONGEST_LINE octets (RFC 2449 §4), also AUTH (RFC 5034 §4)
    line: int = 8192
    autologout: float = 600.0
    line_time: float = 60.0
    handshake: float = 15.0
    write_stall: float = 60.0
    #: octets a second, over `write_stall`, that a peer must take while half of `connections` or more are in use
    slowest: int = 500
    output: int = 64 * 1024
    bad_commands: int | None = None
    login_wait: float = 0.0
    login_wait_most: float = 15.0
    connections: int = 64
    connections_an_address: int = 10


#: For a server that others reach: it does not wait for ever for a client that errs.
SERVED = Limits(bad_commands=20, login_wait=2.0)


class Conditions(NamedTuple):
    """Faults and strictness, a closed table; set in the process only (sec-V12)."""

    in_use: bool = False
    login_delay: int | None = None
    temp_failure: bool = False
    perm_failure: bool = False
    update_fails: bool = False
    require_tls: bool = False
    without: frozenset[str] = frozenset()
    #: after so many commands the line goes dead: no reply, no close by QUIT, no UPDATE
    line_goes_dead_after: int | None = None


class Deviation(NamedTuple):
    """Where the server departs from an RFC's advice so that a learner can try; `page` says it, and lint looks there."""

    name: str
    rfc: int
    section: str
    page: str


DEVIATIONS = (
    Deviation("USER with PASS, and APOP, for one account", 1939, "13", "commands/APOP"),
    Deviation("USER with PASS, and APOP, for one account", 1939, "13", "commands/USER"),
    # RFC 4616 replaces RFC 2595 §6, which had defined PLAIN and forbidden it in clear text.
    Deviation("PLAIN in clear text", 4616, "5", "commands/AUTH"),
    Deviation("PLAIN in clear text", 4616, "5", "capabilities/SASL"),
)
