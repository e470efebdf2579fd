"""APOP's digest and the AUTH mechanisms: pure functions, both sides, their intermediates visible.

MECHANISMS is open: one row adds a mechanism to the shell's completion, the client and the practice server's CAPA.

Traps: CR, LF or NUL hidden in base64 have forged replies in other servers (greenmail#1011), so fields are checked again
after decoding; secrets are compared by `hmac.compare_digest`, and an unknown name takes the same way as a wrong secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

#: Looks up the secret of a name; None for an unknown name.
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


def apop_digest(stamp: str, secret: str) -> str:
    """MD5 over the timestamp, angle brackets included, and behind it the secret, in lower-case hex (RFC 1939 §7)."""
    return hashlib.md5((stamp + secret).encode(), usedforsecurity=False).hexdigest()


def verify_apop(stamp: str, name: str, digest: str, secret_of: SecretOf) -> bool:
    """Whether `digest` proves that `name` knows its secret."""
    secret = secret_of(name)
    expected = apop_digest(stamp, secret if secret is not None else "no such name")
    return hmac.compare_digest(expected.encode(), digest.encode("utf-8", "surrogateescape")) and secret is not None


def verify_password(name: str, password: str, secret_of: SecretOf) -> bool:
    """Whether `password` is the secret of `name`; an unknown name costs the same time (sec-V10)."""
    secret = secret_of(name)
    given = password.encode("utf-8", "surrogateescape")
    same = hmac.compare_digest((secret if secret is not None else "no such name").encode(), given)
    return same and secret is not None


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
    return b"\0" + name.encode() + b"\0" + secret.encode()


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
    return name if proved and authzid in ("", name) else None


MECHANISMS: Mapping[str, Mechanism] = MappingProxyType(
    {
        row.name: row
        for row in (Mechanism("PLAIN", 4616, "2", lambda stamp: b"", _plain_message, _verify_plain, clear_text=True),)
    }
)
