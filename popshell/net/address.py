"""Where to connect, as people write it: HOST, HOST:PORT, `pop://user;AUTH=mechanism@host:port` (RFC 2384), and `pops://`,
which is ours: TLS from the first octet, port 995.

A host alone means port 995 with TLS; on any other port STLS is required (sec-T1). On loopback, on any port but 995, the
default is clear text.

Traps: `urlsplit` leaves `user;AUTH=+APOP` whole, and unquoting before splitting would let a name bring its own `@`.
What is quoted may hold CR, LF, NUL and escapes, so it is looked at once more when it is unquoted (sec-P8).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from popshell.net.client import TlsMode
from popshell.net.names import is_localhost, is_loopback_name
from popshell.protocol.secrets import without_password

TLS_PORT = 995
PORT = 110

#: RFC 2384 §8: what may stand in a user name or mechanism; the rest is quoted (`achar`, `%` with two digits).
_QUOTED = re.compile(r"(?:[A-Za-z0-9$\-_.+!*'(),&=~]|%[0-9A-Fa-f]{2})+\Z")


class AddressError(ValueError):
    """The text is no address. `code` names words in `messages.toml`, `[net]`: `bad-address`, `address-password`.

    `shown` is the text without a password that stood in it.
    """

    def __init__(self, text: str, code: str = "bad-address") -> None:
        self.shown = without_password(text)
        super().__init__(self.shown)
        self.code = code


class Address(NamedTuple):
    """A host, a port, and how TLS begins there; `user` and `auth` are "" where the address names none.

    `auth` is what RFC 2384 §4 puts behind `;AUTH=`: a SASL mechanism, `+APOP`, or `*` for whatever is best.
    """

    host: str
    port: int
    tls: TlsMode
    user: str = ""
    auth: str = ""

    @property
    def label(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def draft(self) -> str:
        """The line that logs in as the address asks, for the prompt, unsent; "" if it names no user (RFC 2384 §4)."""
        if self.auth.upper() == "+APOP":
            return f":apop {self.user}"
        if self.auth and self.auth != "*":
            return f"AUTH {self.auth}"
        return f"USER {self.user}" if self.user else ""


def parse_address(text: str, tls: TlsMode | None = None) -> Address:
    """Read an address; `tls` overrules the default. Raises AddressError."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    elif scheme.lower() not in ("pop", "pops"):
        raise AddressError(text)
    who, at, place = rest.rpartition("@") if mark else ("", "", rest)
    user, auth = _read_user(who, text) if at else ("", "")
    host, port = _split(place.removesuffix("/") if mark else place, text)
    if is_localhost(host):
        host = "localhost"  # with the dot of a fully qualified name not every resolver knows it
    if port is None:
        port = PORT if scheme.lower() == "pop" else TLS_PORT
    if tls is None:
        if port == TLS_PORT or scheme.lower() == "pops":
            tls = TlsMode.IMPLICIT
        else:
            tls = TlsMode.NONE if is_loopback_name(host) else TlsMode.STLS
    return Address(host, port, tls, user, auth)


def _read_user(who: str, text: str) -> tuple[str, str]:
    """`user`, or `user;AUTH=mechanism` (RFC 2384 §8). A password has no place in it (RFC 2384 §3)."""
    user, semicolon, option = who.partition(";")
    if ":" in user:
        raise AddressError(text, "address-password")
    key, equals, auth = option.partition("=")
    if semicolon and (key.upper() != "AUTH" or not equals or not _QUOTED.match(auth)):
        raise AddressError(text)
    if not _QUOTED.match(user) and not (auth and not user):
        raise AddressError(text)
    return _unquote(user, text), _unquote(auth, text)


def _unquote(word: str, text: str) -> str:
    from urllib.parse import unquote  # only an address with a user needs it

    plain = unquote(word, errors="surrogateescape")
    if any(ch <= " " or ch == "\x7f" or "\x80" <= ch <= "\x9f" for ch in plain):
        raise AddressError(text)
    return plain


def _split(place: str, text: str) -> tuple[str, int | None]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise AddressError(text)
        digits = rest[1:]
        colon = bool(rest)
    elif place.count(":") > 1:
        host, digits, colon = place, "", False  # an IPv6 address without brackets
    else:
        host, sep, digits = place.partition(":")
        colon = bool(sep)
    if not host or any(ch.isspace() or ch in "/?#@\\" or ch < " " for ch in host):
        raise AddressError(text)
    if not colon:
        return host, None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535):
        raise AddressError(text)
    return host, int(digits)
