"""TLS: whom a client trusts, what it saw, and the practice server's certificate of the day.

The client always makes its own context: verification on, TLS 1.2 and up, SNI and host check (sec-T1). `--insecure`
switches verification off and nothing else; the fingerprint is reported so that it can be compared by eye.

Traps: `create_default_context` reads the system's store, which costs 23-37 ms: a connection that trusts one given
certificate (the practice server's) does without. trustme costs 66 ms to import: it is imported when the practice
server's TLS is first used. Facts must be taken right after the handshake; later asyncio has thrown them away.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from popshell.net.errors import NetError, symbol

if TYPE_CHECKING:
    from datetime import datetime

    import trustme


class TlsFacts(NamedTuple):
    """What a handshake settled. Texts come from the peer's certificate: show them through `popshell.visible` only.

    Of a certificate that was not verified Python tells nothing but the fingerprint: the other fields are then empty.
    """

    version: str
    cipher: str
    #: `commonName=..., organizationName=...`, in the certificate's order
    subject: str
    issuer: str
    #: the DNS names and IP addresses that the certificate is for
    names: tuple[str, ...]
    not_after: datetime | None
    #: SHA-256 over the certificate, 64 hexadecimal digits in lower case
    fingerprint: str
    verified: bool


def client_context(ca_file: Path | None, ca_data: str, insecure: bool) -> ssl.SSLContext:
    """What a client trusts. `ca_data` alone is trusted alone; `ca_file` is trusted *besides* the system's store.

    Raises NetError: `ca-file-unreadable`, `ca-file-no-certificate`; also when `insecure` would not need the file.
    """
    if insecure or (ca_data and ca_file is None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_data:
        context.load_verify_locations(cadata=ca_data)
    if ca_file is not None:
        _add_file(context, ca_file)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _add_file(context: ssl.SSLContext, path: Path) -> None:
    try:
        # Read by ourselves, so that "cannot be read" and "no certificate in it" are told apart; and DER is taken, too.
        octets = path.read_bytes()
    except OSError as error:
        raise NetError("ca-file-unreadable", path=str(path), reason=symbol(error)) from error
    try:
        context.load_verify_locations(cadata=octets.decode("ascii", "ignore") if b"-----BEGIN" in octets else octets)
    except (ssl.SSLError, ValueError) as error:
        raise NetError("ca-file-no-certificate", path=str(path)) from error


def facts_of(transport: asyncio.BaseTransport, *, verified: bool) -> TlsFacts:
    """What the handshake on `transport` settled."""
    from datetime import UTC, datetime  # no other start pays for it

    session: ssl.SSLObject = transport.get_extra_info("ssl_object")
    # A dictionary of nested tuples, empty for a certificate that was not verified; typeshed cannot say it better.
    certificate: dict[str, Any] = session.getpeercert() or {}
    octets = session.getpeercert(binary_form=True) or b""
    cipher = session.cipher()
    end = certificate.get("notAfter")
    return TlsFacts(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        subject=_name(certificate.get("subject", ())),
        issuer=_name(certificate.get("issuer", ())),
        names=tuple(value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")),
        not_after=datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC) if end else None,
        fingerprint=hashlib.sha256(octets).hexdigest(),
        verified=verified,
    )


def _name(rows: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    return ", ".join(f"{key}={value}" for row in rows for key, value in row)


#: Who the practice server's certificate says it is.
_OWNER = "PopShell practice server"


class PracticeCertificate:
    """A certificate authority and one server certificate, made for this run and kept in memory.

    The client trusts `pem`, the authority's certificate, and checks the name like any other.
    """

    __slots__ = ("_authority", "_context", "_names")

    def __init__(self, names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")) -> None:
        import trustme

        self._names = names
        self._authority: trustme.CA = trustme.CA(organization_name=_OWNER)
        self._context: ssl.SSLContext | None = None

    @property
    def pem(self) -> str:
        return self._authority.cert_pem.bytes().decode("ascii")

    @property
    def context(self) -> ssl.SSLContext:
        """For the server's end."""
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            # Python's ssl takes a key from a file only: trustme writes one of mode 0600 and removes it at once.
            # The common name is obsolete (RFC 6125 §2.3), but fetchmail 6.4 refuses a certificate without one.
            certificate = self._authority.issue_cert(*self._names, common_name=self._names[0], organization_name=_OWNER)
            certificate.configure_cert(context)
            self._context = context
        return self._context
