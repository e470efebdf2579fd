"""Addresses: as people write them, looked up, and which of them are this machine.

Written: HOST, HOST:PORT, `pop://user;AUTH=mechanism@host:port` (RFC 2384), and `pops://`, which is PopShell's own: TLS
from the first octet, port 995. A host alone means port 995 with TLS; on any other port STLS is required (sec-T1). On
loopback, on any port but 995, the default is clear text.

Traps: `urlsplit` leaves `user;AUTH=+APOP` whole, and unquoting before splitting would let a name bring its own `@`.
What is quoted may hold CR, LF, NUL and escapes, so it is checked again when it is unquoted (sec-P8).
`loop.getaddrinfo` works in the default executor, and leaving `asyncio.run` waits for that thread: with a dead name
server a Ctrl-C would hang for half a minute. So a name is looked up in a daemon thread of its own, and a numeric
address needs no thread at all.
"""

from __future__ import annotations

import asyncio
import enum
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from popshell.protocol.secrets import without_password
from popshell.tuples import NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

TLS_PORT = 995
PORT = 110


class TlsMode(enum.Enum):
    """When TLS begins: with the connection (RFC 8314), after STLS (RFC 2595), or not at all."""

    IMPLICIT = "implicit"
    STLS = "stls"
    NONE = "none"


#: RFC 2384 §8: what may stand in a user name or mechanism; the rest is quoted (`achar`, `%` with two digits).
_WORD = r"(?:[A-Za-z0-9$\-_.+!*'(),&=~]|%[0-9A-Fa-f]{2})+"
_HOST = r"[^\s\x00-\x1f/?#@\\"
#: `pop://user;AUTH=mechanism@host:port/` (RFC 2384 §8), or host and port alone; IPv6 also without brackets and port.
_ADDRESS = (
    rf"(?:(?P<scheme>(?i:pops?))://(?:(?!@)(?P<user>{_WORD})?(?:;(?i:AUTH)=(?P<auth>{_WORD}))?@)?)?"
    rf"(?:(?:\[(?P<bracketed>{_HOST}\]]+)\]|(?P<name>(?!\[){_HOST}:]+))(?::(?P<port>[0-9]{{1,5}}))?"
    rf"|(?P<bare>(?!\[){_HOST}:]*(?::{_HOST}:]*){{2,}}))(?(scheme)/?)"
)
#: A password has no place in an address (RFC 2384 §3).
_WITH_PASSWORD = r"(?is)pops?://[^;]*:.*@"


class AddressError(ValueError):
    """The text is no address. `code` names words in `messages.toml`, `[net]`: `bad-address`, `address-password`.

    `facts` fill them: the text, without a password that stood in it.
    """

    def __init__(self, text: str, code: str = "bad-address") -> None:
        super().__init__(without_password(text))
        self.code = code
        self.facts = {"address": str(self)}


class Address(NamedTuple):
    """A host, a port, and how TLS begins there; `user` and `auth` are "" where the address names none.

    `auth` is what RFC 2384 §4 puts after `;AUTH=`: a SASL mechanism, `+APOP`, or `*` for whatever is best.
    """

    host: str
    port: int
    tls: TlsMode
    user: str = ""
    auth: str = ""

    @property
    def label(self) -> str:
        return text_of((self.host, self.port))

    @property
    def mode(self) -> str:
        """The option without which this host and port would be tried in another mode; "" where it is the default."""
        return "" if parse_address(self.label).tls is self.tls else f" --tls {self.tls.value}"

    @property
    def draft(self) -> str:
        """The line that logs in as the address asks, for the prompt, unsent; "" if it names no user (RFC 2384 §4)."""
        if self.auth.upper() == "+APOP":
            return f":apop {self.user}"
        if self.auth and self.auth != "*":
            return f"AUTH {self.auth}"
        return f"USER {self.user}" if self.user else ""


class Way(NamedTuple):
    """How to get to a server, as options and config.toml say it; by itself nothing is special."""

    #: a file of CAs that are trusted besides the system's
    ca: Path | None = None
    #: the public key that the server must have, as `certificates.pin_of` writes it
    pin: str = ""
    #: the client's own certificate, and its key if that is in another file
    cert: Path | None = None
    key: Path | None = None
    #: the lowest version of TLS: "1.2" or "1.3"
    tls_min: str = ""
    #: the name that is asked for (SNI) and verified, if it is not the host
    sni: str = ""
    #: the numeric address to connect to, whatever the host's are
    ip: str = ""
    #: whether only IPv4 or IPv6 addresses are used; both: either
    ipv4: bool = False
    ipv6: bool = False

    @property
    def files(self) -> bool:
        """Whether there are files to read."""
        return bool(self.ca or self.cert or self.key)

    @property
    def family(self) -> int:
        """For `getaddrinfo`."""
        if self.ipv4 is self.ipv6:
            return socket.AF_UNSPEC
        return socket.AF_INET if self.ipv4 else socket.AF_INET6


def expanded(path: str | Path) -> Path:
    """A file as options and config.toml name it: `~` is the user's home."""
    from pathlib import Path  # it loads three modules more, and most starts have no such file

    return Path(path).expanduser()


class Destination(NamedTuple):
    """Where to connect, and how: `address` None is the practice server of this process."""

    address: Address | None = None
    way: Way = Way()
    #: whether its certificate need not be verified; in a shell the host and port are excused for the rest of the run
    insecure: bool = False
    #: seconds for connecting and for each reply; None for the usual limits (docs/reference-limits.md)
    timeout: float | None = None
    #: whether DELE is held back until `:unlock`
    look_only: bool = True
    #: gives the password on its output; "" if none was set for this place
    password_command: str = ""
    #: gives PEM when TLS is first wanted; without `way.ca` it alone is trusted
    ca_data: Callable[[], str] = str

    @property
    def name(self) -> str:
        """The name that the certificate has to bear, and SNI. The dot of a fully qualified name is not part of it, nor
        is the zone of an address (RFC 4007 §11.2)."""
        name = self.way.sni or (self.address.host.partition("%")[0] if self.address else "")
        return name.rstrip(".") or name  # without any name the certificate of any host would do


class Excused:
    """The hosts and ports that go without a verified certificate: `--insecure` excuses the first one, for this run."""

    def __init__(self, first: bool) -> None:
        self._first, self._places = first, set[tuple[str, int]]()

    def __call__(self, address: Address, also: bool = False) -> bool:
        """Whether `address` is excused; `also` excuses it from now on."""
        if also or (self._first and not self._places):
            self._places.add((address.host, address.port))
        return (address.host, address.port) in self._places


def parse_address(text: str, tls: TlsMode | None = None) -> Address:
    """Read an address; `tls` overrules the default. Raises AddressError."""
    match = re.fullmatch(_ADDRESS, text)
    if match is None:
        raise AddressError(text, "address-password" if re.match(_WITH_PASSWORD, text) else "bad-address")
    scheme = (match["scheme"] or "").lower()
    port = int(match["port"] or (PORT if scheme == "pop" else TLS_PORT))
    if not 0 < port <= 65535:
        raise AddressError(text)
    host = match["bracketed"] or match["name"] or match["bare"]
    if is_localhost(host):
        host = "localhost"  # with the dot of a fully qualified name not every resolver knows it
    if tls is None:
        if port == TLS_PORT or scheme == "pops":
            tls = TlsMode.IMPLICIT
        else:
            tls = TlsMode.NONE if is_loopback_name(host) else TlsMode.STLS
    return Address(host, port, tls, _unquote(match["user"] or "", text), _unquote(match["auth"] or "", text))


def _unquote(word: str, text: str) -> str:
    if "%" not in word:
        return word
    from urllib.parse import unquote  # most addresses have none that is quoted

    plain = unquote(word, errors="surrogateescape")
    if any(ch <= " " or ch == "\x7f" or "\x80" <= ch <= "\x9f" for ch in plain):
        raise AddressError(text)
    return plain


# -- looked up --------------------------------------------------------------------------------------------------------

#: What `getaddrinfo` gives: (family, address) is all that is kept. An address is (host, port) or IPv6's four.
SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Found = tuple[socket.AddressFamily, SocketAddress]


async def resolve(
    host: str, port: int, family: int = socket.AF_UNSPEC, asking: Callable[[], None] = lambda: None
) -> list[Found]:
    """The addresses of `host`, in the system's order; `asking` is called if it is a name that has to be looked up.

    Raises OSError; UnicodeError for what cannot be a name.
    """
    try:
        # Digits only: no name server is asked, so this never blocks. As octets, or the codec for names is loaded: 2 ms.
        return _look_up(host.encode(), port, socket.AI_NUMERICHOST, family)
    except socket.gaierror:
        asking()
    answer: Future[list[Found]] = Future()
    answer.set_running_or_notify_cancel()  # who stops waiting leaves it to the thread

    def ask() -> None:
        try:
            answer.set_result(_look_up(host, port, 0, family))
        except (OSError, ValueError) as error:  # UnicodeError is a ValueError
            answer.set_exception(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return await asyncio.wrap_future(answer)


def _look_up(host: str | bytes, port: int, flags: int, family: int = socket.AF_UNSPEC) -> list[Found]:
    rows = socket.getaddrinfo(host, port, family, type=socket.SOCK_STREAM, flags=flags)
    return [(family, (str(address[0]), *address[1:])) for family, _, _, _, address in rows]


def is_loopback(address: str) -> bool:
    """Whether a numeric address, as the system writes it, stays on this machine."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def is_localhost(host: str) -> bool:
    return host.rstrip(".").lower() == "localhost"


def is_loopback_name(host: str) -> bool:
    """Whether what was typed is this machine, without a name server: `localhost`, or an address in any spelling.

    `127.0.0.1.example.org` is a name like any other; `127.1` is what the system connects to as 127.0.0.1.
    """
    if is_localhost(host):
        return True
    try:
        found = _look_up(host.encode(), 0, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return False
    return all(is_loopback(address[0]) for _, address in found)


def text_of(address: SocketAddress) -> str:
    """An address as it is shown: `127.0.0.1:110`, `[::1]:110`."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def client_addresses(host: str) -> tuple[str, ...]:
    """The addresses under which clients reach a server that listens on `host`: those of this machine for a wildcard.

    They are known as far as the system says which way leads out; no packet is sent.
    """
    elsewhere = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}.get(host)
    if elsewhere is None:
        return (host,)
    family, address = elsewhere
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))  # for UDP this only chooses the way
            return (str(sock.getsockname()[0]),)
    except OSError:
        return (host,)
