"""APOP's digest and the AUTH mechanisms: pure functions, both sides, their intermediates visible.

MECHANISMS is open: one row adds a mechanism to the shell's completion, the client and the practice server's CAPA.

Names and secrets outside ASCII are prepared by SASLprep (RFC 4013), so that two ways to write one character are equal
(RFC 4616 §2, RFC 6856 §2.2); what is ASCII is RFC 1939's, and nothing is done to it.

Traps: CR, LF or NUL hidden in base64 have forged replies in other servers (greenmail#1011), so fields are checked again
after decoding; secrets are compared by `hmac.compare_digest`, and an unknown name takes the same way as a wrong secret.
Text may hold octets that are no UTF-8, as surrogates: it is encoded by `_octets` alone, and never proves anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

#: Looks up the secret of a name, given as `prepared` leaves it; None for an unknown name.
SecretOf = Callable[[str], str | None]


class SaslError(Exception):
    """A response that cannot be read. `code` is stable: bad-base64, bad-message."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Mechanism(NamedTuple):
    """One SASL mechanism (RFC 5034 §4).

    `challenge(stamp)` is what the server sends first, b"" where the client speaks first. `respond(challenge, name,
    secret)` is the client's message. `verify(challenge, message, secret_of)` gives the name that it proves, or None;
    raises SaslError for a message that cannot be read.
    """

    name: str
    rfc: int
    section: str
    challenge: Callable[[str], bytes]
    respond: Callable[[bytes, str, str], bytes]
    verify: Callable[[bytes, bytes, SecretOf], str | None]
    #: the message holds the secret itself, so it needs TLS
    clear_text: bool = False


def saslprep(text: str, *, stored: bool = False) -> str | None:
    """Prepare a name or a secret for comparison (RFC 4013 §2); None for what must not be used.

    A `stored` string may hold no code point that Unicode 3.2 had not assigned yet; one to compare with it, a query, may
    (RFC 3454 §7). Octets that were no UTF-8 are surrogates here, and prohibited with them (RFC 4013 §2.3).
    """
    import stringprep  # builds tables; nobody whose name is ASCII needs them
    from unicodedata import ucd_3_2_0

    mapped = (" " if stringprep.in_table_c12(ch) else ch for ch in text if not stringprep.in_table_b1(ch))
    result = ucd_3_2_0.normalize("NFKC", "".join(mapped))
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        *((stringprep.in_table_a1,) if stored else ()),
    )
    if any(wrong(ch) for ch in result for wrong in prohibited):
        return None
    if any(map(stringprep.in_table_d1, result)):  # it is written from right to left: all of it has to be (RFC 3454 §6)
        whole = stringprep.in_table_d1(result[0]) and stringprep.in_table_d1(result[-1])
        if not whole or any(map(stringprep.in_table_d2, result)):
            return None
    return result


def prepared(text: str, *, stored: bool = False) -> str | None:
    """`text` as it is compared: ASCII as it is, anything else by SASLprep; None for what proves nothing."""
    return text if text.isascii() else saslprep(text, stored=stored) or None


def apop_digest(stamp: str, secret: str) -> str:
    """MD5 over the timestamp, angle brackets included, and behind it the secret, in lower-case hex (RFC 1939 §7).

    The secret is prepared as a stored string (RFC 6856 §2.2); one that cannot be goes in as it is: no server takes it.
    """
    whole = stamp + (prepared(secret, stored=True) or secret)
    return hashlib.md5(_octets(whole), usedforsecurity=False).hexdigest()


def verify_apop(stamp: str, name: str, digest: str, secret_of: SecretOf) -> str | None:
    """The name, as it is compared, if `digest` proves that it knows its secret."""
    name, secret = _looked_up(name, secret_of)
    expected = apop_digest(stamp, secret if secret is not None else "no such name")
    same = hmac.compare_digest(_octets(expected), _octets(digest))
    return name if same and secret is not None else None


def verify_password(name: str, password: str, secret_of: SecretOf) -> str | None:
    """The name, as it is compared, if `password` is its secret; an unknown name costs the same time (sec-V10)."""
    name, secret = _looked_up(name, secret_of)
    given = prepared(password)
    expected = secret if secret is not None else "no such name"
    same = hmac.compare_digest(_octets(expected), _octets(given if given is not None else password))
    return name if same and secret is not None and given is not None else None


def _looked_up(name: str, secret_of: SecretOf) -> tuple[str, str | None]:
    """A name as it is compared, and its secret, if it has one that can be used."""
    found = prepared(name)
    secret = secret_of(found) if found is not None else None
    return found or "", prepared(secret, stored=True) if secret is not None else None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def decode_line(line: str) -> bytes:
    """Read one base64 line of an exchange; `=` is the empty initial response (RFC 5034 §4). Raises SaslError."""
    if line == "=":
        return b""
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SaslError("bad-base64") from error


def encode_line(message: bytes) -> str:
    """One base64 line for `message`; `=` for an empty one as initial response."""
    return base64.b64encode(message).decode("ascii") or "="


def _plain_message(challenge: bytes, name: str, secret: str) -> bytes:
    """message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 §2); no authzid: act as oneself."""
    return b"\0" + _octets(name) + b"\0" + _octets(secret)


def _verify_plain(challenge: bytes, message: bytes, secret_of: SecretOf) -> str | None:
    fields = message.split(b"\0")
    if len(fields) != 3 or not fields[1] or not fields[2]:
        raise SaslError("bad-message")
    try:
        authzid, name, secret = (field.decode("utf-8") for field in fields)
    except UnicodeDecodeError as error:
        raise SaslError("bad-message") from error
    if any(ch in "\r\n" for ch in authzid + name + secret):
        raise SaslError("bad-message")
    proved = verify_password(name, secret, secret_of)
    # Without one it is derived from the prepared name; another's is refused (RFC 4616 §2).
    return proved if authzid == "" or prepared(authzid) == proved else None


MECHANISMS: Mapping[str, Mechanism] = MappingProxyType(
    {
        row.name: row
        for row in (Mechanism("PLAIN", 4616, "2", lambda stamp: b"", _plain_message, _verify_plain, clear_text=True),)
    }
)
