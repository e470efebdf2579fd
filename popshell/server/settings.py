"""What a session of the practice server is set to: limits, clock, words, faults; and the deviations from RFCs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from popshell.server.maildrop import Accounts
from popshell.server.replies import Words
from popshell.tuples import NamedTuple


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


#: For a server that others reach: it closes after 20 errors in a row and delays the reply to a failed login.
SERVED = Limits(bad_commands=20, login_wait=2.0)


class Settings(NamedTuple):
    """What one session is served by. Two sessions of one server may have different settings."""

    accounts: Accounts
    #: a language's tag and its own name; the first one is a session's language until LANG (RFC 6856 §3)
    languages: Mapping[str, str]
    words: Words
    #: seconds, from any start
    clock: Callable[[], float]
    #: makes the timestamp of a greeting, different each time (RFC 1939 §7, APOP)
    new_stamp: Callable[[], str]
    limits: Limits = Limits()
    #: parameters of faults by their names in `faults.FAULTS`
    faults: Mapping[str, object] = MappingProxyType({})
    #: start of the random numbers that faults draw; None for different ones each time
    seed: int | None = None
    #: a message with UTF-8 in a header is sent in ASCII to a client without UTF8, in place of `-ERR [UTF8]`
    surrogates: bool = False


class Deviation(NamedTuple):
    """A departure from an RFC's advice so that a learner can try more; lint checks that `page` names it."""

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
    Deviation("PLAIN and LOGIN in clear text", 5034, "4", "commands/AUTH"),
    Deviation("PLAIN and LOGIN in clear text", 5034, "4", "capabilities/SASL"),
    Deviation("UTF-8 in a body without UTF8", 6856, "2.1", "commands/UTF8"),
    # The grammar of both RFCs has one space; `LIST  2` is a slip that does no harm.
    Deviation("more than one space between words, and spaces at the end", 2449, "3", "commands/LIST"),
    # "This can be any positive response": but a client that is closed without a word does not learn why.
    Deviation("-ERR in place of the greeting, to one connection too many", 1939, "4", "codes/SYS-TEMP"),
)
