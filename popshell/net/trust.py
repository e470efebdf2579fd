"""What a client trusts, and what a handshake settled.

The client always makes its own context: verification on, TLS 1.2 and up, SNI and host check (sec-T1). `--insecure`
switches verification off and nothing else; a pin is asked for on top of verification, never instead.

Trap: `create_default_context` reads the system's store, which costs 23-37 ms: a connection that trusts one given
certificate (the practice server's) does without.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from popshell.net.address import Way
from popshell.net.certificates import Handshake, fingerprint
from popshell.net.errors import NetError, symbol


def client_context(way: Way, ca_data: str = "", insecure: bool = False) -> ssl.SSLContext:
    """What a client trusts. `ca_data` (PEM) alone is trusted alone; a file is trusted *besides* the system's store.

    Raises NetError: `ca-file-unreadable`, `ca-file-no-certificate`, also when `insecure` would not need the file;
    `own-certificate` and `own-certificate-unreadable` for the client's own.
    """
    if insecure or (ca_data and way.ca is None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if way.tls_min == "1.3" else ssl.TLSVersion.TLSv1_2
    if ca_data:
        context.load_verify_locations(cadata=ca_data)
    if way.ca is not None:
        _add_file(context, way.ca)
    if way.cert is not None or way.key is not None:
        _show_own(context, way.cert or way.key or Path(), way.key or way.cert or Path())
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


#: What was typed for encrypted keys in this run, by their files.
_PASSPHRASES: dict[Path, str] = {}


def ask_passphrase(way: Way) -> None:
    """Raises NetError `own-key-passphrase`, whose `answer` takes it, if the client's key needs one not known yet."""
    path = way.key or way.cert
    try:
        locked = path is not None and path not in _PASSPHRASES and b"ENCRYPTED" in path.read_bytes()
    except OSError:
        return  # `client_context` says so
    if locked and path is not None:
        error = NetError("own-key-passphrase", path=str(path))
        error.answer = lambda typed: bool(typed and _PASSPHRASES.setdefault(path, typed))
        raise error


def _show_own(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Have the client's own certificate shown to a server that asks for one. Raises NetError."""
    for path, held in ((cert, "CERTIFICATE"), (key, "PRIVATE KEY")):
        if f"{held}-----".encode() not in _octets(path, "own-file-unreadable"):
            raise NetError(f"own-no-{held.rpartition(' ')[2].lower()}", path=str(path))
    asked: list[Path] = []

    def passphrase() -> str:  # without it OpenSSL would ask on the terminal; an empty one is refused
        asked.append(key)
        return _PASSPHRASES.get(key, "")

    try:
        context.load_cert_chain(cert, key, passphrase)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        code = "own-key-mismatch" if symbol(error) == "KEY_VALUES_MISMATCH" else "own-certificate"
        if asked:
            code = "own-key-wrong" if _PASSPHRASES.pop(key, "") else "own-key-passphrase"
        raise NetError(code, path=str(key if asked else cert), key=str(key), reason=symbol(error)) from error


def _octets(path: Path, code: str) -> bytes:
    """Read here, so that "cannot be read" and "no certificate in it" are different errors. Raises NetError `code`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NetError(code, path=str(path), reason=symbol(error)) from error


def _add_file(context: ssl.SSLContext, path: Path) -> None:
    """Trust the certificates of a file, PEM or DER. Raises NetError."""
    octets = _octets(path, "ca-file-unreadable")
    try:
        context.load_verify_locations(cadata=octets.decode("ascii", "ignore") if b"-----BEGIN" in octets else octets)
    except (ssl.SSLError, ValueError) as error:
        raise NetError("ca-file-no-certificate", path=str(path)) from error


def settle(handshake: Handshake, *, verified: bool) -> None:
    """Note what a handshake that succeeded settled. Texts come from the peer's certificate."""
    from datetime import UTC, datetime  # no other start pays for it

    session = handshake.session
    assert session is not None
    cipher = session.cipher()
    known = handshake.known = {"version": session.version() or "", "cipher": cipher[0] if cipher else ""}
    # A dictionary of nested tuples, empty for a certificate that was not verified; typeshed cannot say it better.
    certificate: dict[str, Any] = session.getpeercert() or {}
    if certificate:
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
        known |= {key: _name(certificate.get(key, ())) for key in ("subject", "issuer")}
        known |= {"names": ", ".join(names), "not_after": ends.isoformat(" ", "minutes")}
    known["fingerprint"] = fingerprint(session.getpeercert(binary_form=True) or b"")
    handshake.anchor = next(reversed(handshake.chain(verified=True)), None) if verified else None


def _name(rows: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    return ", ".join(f"{key}={value}" for row in rows for key, value in row)
