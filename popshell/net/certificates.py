"""Certificates: the chain as the server sent it, in facts, and which check of it failed at which link.

The chain of a handshake that failed is had from that handshake's own SSL object: there is no second, weaker connection.
What OpenSSL calls the verified chain is filled then, too; it is asked for after a success alone. Facts are plain
values, fit for JSON; texts in them were chosen by who made the certificate: show them through `popshell.visible` only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import ssl
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from popshell.net.errors import CHECKS

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

#: Names in the issuers of programs and devices that read along: they answer TLS in the server's place.
_BETWEEN = re.compile(
    r"avast|\bAVG\b|Kaspersky|\bESET\b|Bitdefender|\bNorton\b|McAfee|Sophos|Fortinet|FortiGate|Zscaler|Netskope"
    r"|Palo Alto|Blue ?Coat|Forcepoint|Barracuda|Cisco Umbrella|SonicWall|WatchGuard|Check Point|Untangle|Dr\.? ?Web"
    r"|mitmproxy|PortSwigger|Charles Proxy|Fiddler",
    re.I,
)
_DER = 2  # _ssl.ENCODING_DER
#: Octets of the header of a TLS record (RFC 8446 §5.1).
_HEADER = 5


def watched(context: ssl.SSLContext, kept: Handshake) -> None:
    """Let `kept` have what the next handshake of `context` leaves: asyncio throws it away when that fails."""

    class Kept(ssl.SSLObject):
        @classmethod
        def _create(cls, incoming: ssl.MemoryBIO, *rest: Any, **settings: Any) -> Any:
            kept.session = super()._create(incoming, *rest, **settings)  # type: ignore[misc]
            kept._incoming = incoming
            return kept.session

        def do_handshake(self) -> None:
            kept._look()
            super().do_handshake()

    context.sslobject_class = Kept


class Handshake:
    """What one handshake left, and what it settled if it succeeded (`trust.settle`)."""

    def __init__(self) -> None:
        self.session: ssl.SSLObject | None = None
        #: the first octets that the server sent, also if they are no TLS
        self.first = b""
        #: what was settled, by names of `messages.toml`, `[tls]`; of a certificate that was not verified Python gives
        #: nothing but the fingerprint
        self.known: dict[str, str] = {}
        #: the trusted certificate that a verified chain leads to
        self.anchor: bytes | None = None
        self._incoming: ssl.MemoryBIO | None = None

    def _look(self) -> None:
        # Of less than the header of a record OpenSSL keeps nothing: what is there then is what follows.
        if self._incoming is not None and self._incoming.pending and len(self.first) < _HEADER:
            came = self._incoming.read()
            self._incoming.write(came)
            self.first += came

    def chain(self, *, verified: bool = False) -> tuple[bytes, ...]:
        """The certificates that the server sent, the server's own first, in DER; () if none can be had.

        `verified`, after a handshake that was: the chain that was built of them, up to the trusted one.
        """
        method = "get_verified_chain" if verified else "get_unverified_chain"
        if self.session is None:
            return ()
        if public := getattr(self.session, method, None):  # from Python 3.13; before, the object below has them
            return tuple(public())
        below = self.session._sslobj  # type: ignore[attr-defined]
        return tuple(one.public_bytes(_DER) for one in getattr(below, method)() or ())

    @property
    def binding(self) -> bytes | None:
        """What SCRAM's -PLUS mechanisms are bound to."""
        return next(map(end_point_binding, self.chain()), None)

    def report(self, name: str, **how: Any) -> dict[str, Any]:
        """The chain in facts, as `report`; `name` is the one that was asked for."""
        return report(self.chain(), name, anchor=self.anchor, **how)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 over the certificate, in hexadecimal digits."""
    return hashlib.sha256(certificate).hexdigest()


def pin_form(digest: bytes) -> str:
    """A SHA-256 as `--pin` takes it."""
    return "sha256:" + base64.b64encode(digest).decode()


def pin_of(certificate: bytes) -> str:
    """`sha256:` and the base64 of SHA-256 over the public key's SubjectPublicKeyInfo (RFC 7469 §2.4); "" if unreadable.

    It stays when a certificate is renewed for the same key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = _loaded(certificate).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # as in `_facts`
        return ""
    return pin_form(hashlib.sha256(key).digest())


def end_point_binding(certificate: bytes) -> bytes | None:
    """tls-server-end-point: the hash of the server's certificate, by the hash of its signature (RFC 5929 §4.1).

    SCRAM's -PLUS mechanisms are bound to it. MD5 and SHA-1 are replaced by SHA-256. None where it is not defined, as
    for Ed25519, and for what is no certificate.
    """
    try:
        algorithm = _loaded(certificate).signature_hash_algorithm
    except Exception:  # as in `_facts`
        return None
    if algorithm is None:
        return None
    return hashlib.new("sha256" if algorithm.name in ("md5", "sha1") else algorithm.name, certificate).digest()


def report(
    chain: Sequence[bytes],
    name: str,
    *,
    code: int = 0,
    message: str = "",
    check: str = "",
    anchor: bytes | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The chain in facts. `name` is the one that was asked for.

    `code` and `message` are OpenSSL's if it refused; `check` if something else did (`pin`). `anchor` is there only if
    the chain was verified. `link` counts from 1, the server's own certificate; 0 is one that was not sent.
    """
    from datetime import UTC, datetime  # no other start pays for it

    now = now or datetime.now(UTC)
    links = [_facts(octets, name if not at else "", now) for at, octets in enumerate(chain)]
    path = _path(links)
    check = check or (CHECKS.get(code, "other") if code else "")
    blamed = _blamed(check, code, links, path)
    for link in links:
        del link["marks"]
    return {
        "name": name,
        "check": check,
        "link": blamed,
        "openssl": f"{code}: {message}" if code else "",
        "anchor": _facts(anchor, "", now)["subject"] if anchor is not None else "",
        "between": next((found[0] for link in links if (found := _BETWEEN.search(link["issuer"]))), ""),
        "ordered": path == sorted(path),
        "chain": links,
    }


def _path(links: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which links lead from the server's certificate upwards, by the names of subject and issuer."""
    path = [0] if links else []
    while path and links[path[-1]]["issuer"] != links[path[-1]]["subject"]:
        issuer = links[path[-1]]["issuer"]
        above = [at for at, link in enumerate(links) if link["subject"] == issuer and issuer and at not in path]
        if not above:
            break
        path.append(above[0])
    return path


def _blamed(check: str, code: int, links: Sequence[Mapping[str, Any]], path: Sequence[int]) -> int:
    if not check or not links:
        return 0
    if check in ("own-root", "no-issuer"):
        return path[-1] + 1
    if check == "path-length":  # the number of CAs below a link: RFC 5280 §4.2.1.9
        below = ((at, f"path-{most}") for number, at in enumerate(path) for most in range(number - 1))
        return next((at + 1 for at, mark in below if mark in links[at]["marks"]), 0)
    if check in ("pin", "pin-certificate", "name", "name-constraint", "self-signed"):
        return 1
    if check == "purpose" and "no-tls-usage" in links[0]["marks"]:  # of a CA it is right
        return 1
    wanted = check if check in ("expired", "not-yet-valid") else code
    asked = path[1:] if check == "not-ca" else path
    return next((at + 1 for at in asked if wanted in links[at]["faults"] or wanted in links[at]["marks"]), 0)


def _loaded(octets: bytes) -> x509.Certificate:
    from cryptography import x509  # 50 ms, for those who look at a chain

    with warnings.catch_warnings(action="ignore"):  # of odd serial numbers and dates, on standard error
        return x509.load_der_x509_certificate(octets)


def _facts(octets: bytes, name: str, now: datetime) -> dict[str, Any]:
    """One certificate in facts; "" and [] where it cannot be read. `name` is what its names are held against."""
    facts: dict[str, Any] = dict.fromkeys(("subject", "issuer", "valid_from", "valid_until", "key", "signature"), "")
    facts |= {"names": [], "days": 0, "faults": [], "marks": []}
    facts |= {"fingerprint": fingerprint(octets), "pin": pin_of(octets)}
    with contextlib.suppress(Exception):  # cryptography names no set of errors for what a stranger may have encoded
        certificate = _loaded(octets)
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        dates = {"not-yet-valid": now < begins, "expired": now > ends}
        facts["faults"] = [fault for fault, there in dates.items() if there]
        facts["days"] = (begins - now if now < begins else abs(ends - now)).days  # to or since the nearer date
        facts |= {"subject": _name(certificate.subject), "issuer": _name(certificate.issuer)}
        facts |= {"valid_from": begins.isoformat(" ", "minutes"), "valid_until": ends.isoformat(" ", "minutes")}
        facts["signature"] = getattr(certificate.signature_algorithm_oid, "_name", "?")
        facts["names"] = _names(certificate)
        facts["key"] = _key(certificate)
        facts["marks"] = _marks(certificate)
    # What else can be seen without a list of trusted CAs.
    if name and facts["valid_until"] and not any(covers(pattern, name) for pattern in facts["names"]):
        facts["faults"].append("name")
    if facts["subject"] and facts["subject"] == facts["issuer"]:
        facts["faults"].append("self-signed")
    return facts


def covers(pattern: str, name: str) -> bool:
    """Whether a name of a certificate is for `name`: `*` stands for one whole first label (RFC 9525 §6.3)."""
    from ipaddress import ip_address

    try:
        return ip_address(pattern) == ip_address(name)
    except ValueError:
        pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    return pattern == name or (pattern.startswith("*.") and pattern[1:] == "." + name.partition(".")[2])


def _name(name: x509.Name) -> str:
    return ", ".join(f"{one.rfc4514_attribute_name}={one.value!s}" for one in name)


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    found = [one.value for one in certificate.extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    return [_typed(one.value) for name in found for one in name if isinstance(one, x509.DNSName | x509.IPAddress)]


def _typed(value: object) -> str:
    """A name, or an address; one that stands there as a name, which OpenSSL takes for no address, is marked as that."""
    from ipaddress import ip_address

    try:
        return f"DNS:{value}" if isinstance(value, str) and ip_address(value) else str(value)
    except ValueError:
        return str(value)


def _key(certificate: x509.Certificate) -> str:
    """`RSA 2048`, `EC secp256r1`, `Ed25519`."""
    key = certificate.public_key()
    kind = type(key).__name__.removesuffix("PublicKey").strip("_")
    kind = {"EllipticCurve": "EC"}.get(kind, kind)
    curve = getattr(key, "curve", None)
    return f"{kind} {curve.name if curve else getattr(key, 'key_size', '')}".rstrip()


def _marks(certificate: x509.Certificate) -> list[int | str]:
    """What a verifier may object to in its form (RFC 5280 §4.2) and its strength: OpenSSL's results, as in CHECKS."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    held: dict[type[x509.ExtensionType], x509.Extension[Any]] = {type(e.value): e for e in certificate.extensions}
    constraints = held.get(x509.BasicConstraints)
    is_ca = constraints is not None and bool(constraints.value.ca)
    usage, keys = held.get(x509.ExtendedKeyUsage), held.get(x509.KeyUsage)
    digest = certificate.signature_hash_algorithm
    size = getattr(certificate.public_key(), "key_size", 4096)
    small = size < (2048 if _key(certificate).startswith("RSA") else 224)
    seen: dict[int | str, bool] = {
        24: not is_ca,
        79: not is_ca,
        26: usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage.value,
        66: small,
        67: small,
        68: digest is not None and digest.name in ("md5", "sha1"),
        85: certificate.issuer != certificate.subject and x509.AuthorityKeyIdentifier not in held,
        86: is_ca and x509.SubjectKeyIdentifier not in held,
        89: is_ca and constraints is not None and not constraints.critical,
        92: is_ca and x509.KeyUsage not in held,
        "no-tls-usage": keys is not None
        and not (keys.value.digital_signature or keys.value.key_encipherment or keys.value.key_agreement),
        f"path-{constraints.value.path_length if is_ca and constraints else None}": is_ca,
    }
    return [mark for mark, there in seen.items() if there]
