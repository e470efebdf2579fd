"""Where to connect, as people write it: HOST, HOST:PORT, `pop://user@host:port` (RFC 2384), `pops://` (ours).

A host alone means port 995 with TLS; on any other port STLS is required (sec-T1). On loopback, on any port but 995, the
default is clear text.

Trap: `urlsplit` leaves `user;AUTH=+APOP` whole, and unquoting before splitting would let a name bring its own `@`.
"""

from __future__ import annotations

from typing import NamedTuple

from popshell.net.transport import TlsMode

TLS_PORT = 995
PORT = 110


class AddressError(ValueError):
    """The text is no address."""


class Address(NamedTuple):
    """A host, a port, and how TLS begins there; `user` is "" where the address names none."""

    host: str
    port: int
    tls: TlsMode
    user: str = ""

    @property
    def loopback(self) -> bool:
        return self.host == "localhost" or _is_loopback_text(self.host)

    @property
    def label(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str, tls: TlsMode | None = None) -> Address:
    """Read an address; `tls` overrules the default. Raises AddressError."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    elif scheme.lower() not in ("pop", "pops"):
        raise AddressError(text)
    rest = rest.rstrip("/") if mark else rest
    user, at, place = rest.rpartition("@")
    if at and not mark:
        raise AddressError(text)
    host, port = _split(place, text)
    if port is None:
        port = PORT if scheme.lower() == "pop" else TLS_PORT
    if tls is None:
        local = host == "localhost" or _is_loopback_text(host)
        if port == TLS_PORT or scheme.lower() == "pops":
            tls = TlsMode.IMPLICIT
        else:
            tls = TlsMode.NONE if local else TlsMode.STLS
    from urllib.parse import unquote

    # RFC 2384 §4: `<user>;auth=<auth>`; what is quoted is unquoted only now.
    return Address(host, port, tls, unquote(user.partition(";")[0]))


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
    if not host or any(ch.isspace() or ch in "/?#@" or ch < " " for ch in host):
        raise AddressError(text)
    if not colon:
        return host, None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535):
        raise AddressError(text)
    return host, int(digits)


def _is_loopback_text(host: str) -> bool:
    """Only a numeric address counts: `127.0.0.1.example.org` is a name of somebody's."""
    import ipaddress  # 3 ms, for a real host only

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
