"""Channel binding: what the server's certificate gives SCRAM's -PLUS mechanisms to be bound to (RFC 5929 §4)."""

from __future__ import annotations

import hashlib

#: The hash of each signature algorithm, by its OID; of RSASSA-PSS (1.2.840.113549.1.1.10) the parameters name it.
_HASHES = {
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def end_point_binding(certificate: bytes) -> bytes | None:
    """tls-server-end-point: the hash of the server's certificate (DER), by the hash of its signature (RFC 5929 §4.1).

    MD5 and SHA-1 are replaced by SHA-256. None where it is not defined, as for Ed25519, and for what is no certificate.
    """
    try:
        _, start, _ = der_element(certificate, 0)
        _, _, end = der_element(certificate, start)  # tbsCertificate
        _, start, stop = der_element(certificate, end)  # signatureAlgorithm
        name = None
        while start < stop and name is None:  # the OID, then the parameters, where PSS names its hash
            tag, inner, end = der_element(certificate, start)
            name = _HASHES.get(_oid(certificate[inner:end])) if tag == 0x06 else None
            start = inner if tag & 0x20 else end
    except IndexError:
        return None
    if name is None:
        return None
    return hashlib.new("sha256" if name in ("md5", "sha1") else name, certificate).digest()


def der_element(octets: bytes, at: int) -> tuple[int, int, int]:
    """Of the DER element at `at`: its tag, where its content starts and ends. Raises IndexError."""
    size, start = octets[at + 1], at + 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(octets[at + 2 : start], "big")
    if start + size > len(octets):
        raise IndexError
    return octets[at], start, start + size


def _oid(content: bytes) -> str:
    numbers, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
