"""APOP's digest and the AUTH mechanisms, stepwise, for client and server, with named intermediates.

A mechanism is one entry of MECHANISMS: shell, completion, practice server and its CAPA list read it. Each of its sides
is a generator: it is started with the first message, or None if there is none, is sent each message that follows, and
yields a Step for each. Messages are bytes; base64 is undone outside (`decode_line`). None is no message; b"" is an
empty one, which is sent.

Names and secrets outside ASCII are prepared by SASLprep (RFC 4013), so that two ways to write one character are equal
(RFC 4616 §2, RFC 6856 §2.2); what is ASCII is RFC 1939's, and nothing is done to it.

Traps: CR, LF or NUL hidden in base64 have forged replies in other servers (greenmail#1011), so fields are checked again
after decoding; secrets are compared by `hmac.compare_digest`, and an unknown name takes the same way as a wrong secret.
Text may hold octets that are no UTF-8, as surrogates: it is encoded by `_octets` alone, and never proves anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from popshell.protocol.commands import LONGEST_LINE
from popshell.protocol.wire import from_base64

#: Looks up the secret of a name, given as `prepared` leaves it; None for an unknown name.
SecretOf = Callable[[str], str | None]


class SaslError(Exception):
    """A message that cannot be read, or one too many. `code` is stable: bad-base64, bad-message."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Named(NamedTuple):
    """An intermediate of a mechanism, for the eye."""

    name: str
    value: str
    secret: bool = False

    def __repr__(self) -> str:
        return f"Named({self.name!r}, {'...' if self.secret else self.value!r})"


class Step(NamedTuple):
    """What a side does with a message: what it sends (None: nothing), and whether it has all that it needs."""

    reply: bytes | None
    done: bool = False
    named: tuple[Named, ...] = ()
    #: of a server that is done: the name, as it is compared, that was proved; None if none was
    proved: str | None = None


Side = Generator[Step, bytes | None, None]


class Run:
    """One side of one use of a mechanism. After a message that cannot be read, and after `done`, no more is taken."""

    def __init__(self, begin: Callable[[bytes | None], Side]) -> None:
        self._begin = begin
        self._side: Side | None = None
        self.done = False
        #: the intermediates so far
        self.named: tuple[Named, ...] = ()

    def step(self, message: bytes | None) -> Step:
        """Take the other side's message; None begins where the other side has not spoken. Raises SaslError."""
        if self.done:
            raise SaslError("bad-message")
        self.done = True  # also if it raises
        if self._side is None:
            self._side = self._begin(message)
            step = next(self._side)
        else:
            step = self._side.send(message)
        self.done = step.done
        self.named += step.named
        return step


class Mechanism(NamedTuple):
    """One SASL mechanism (RFC 5034 §4). `server` gets a text that no other run has: the greeting's timestamp."""

    name: str
    rfc: int
    section: str
    client: Callable[[str, str, bytes | None], Side]
    server: Callable[[SecretOf, str, bytes | None], Side]
    #: a message holds the secret itself, so it needs TLS
    clear_text: bool = False

    def as_client(self, name: str, secret: str) -> Run:
        return Run(lambda first: self.client(name, secret, first))

    def as_server(self, secret_of: SecretOf, unique: str = "") -> Run:
        return Run(lambda first: self.server(secret_of, unique, first))


class ClientLines:
    """The client's lines of one AUTH: the command, and an answer to each challenge."""

    def __init__(self, mechanism: Mechanism, name: str, secret: str) -> None:
        self._mechanism = mechanism
        self.run = mechanism.as_client(name, secret)
        #: the first message, if the client speaks first, until it is sent
        self._held = self.run.step(None).reply
        #: why the exchange was cancelled, if it was
        self.error: SaslError | None = None

    def command(self, *, initial: bool = True) -> str:
        """AUTH with the initial response, if there is one and the line is no longer than a command may be.

        Without the SASL capability it must not be sent (RFC 5034 §3): then `initial` is False.
        """
        command = f"AUTH {self._mechanism.name}"
        if self._held is None or not initial:
            return command
        whole = f"{command} {encode_line(self._held) or '='}"
        if len(whole) + 2 > LONGEST_LINE:
            return command
        self._held = None
        return whole

    def answer(self, challenge: str) -> str:
        """The line that answers a challenge, given without its `+ `; `*` cancels where there is none."""
        try:
            message = decode_line(challenge)
            if self._held is None:
                reply = self.run.step(message).reply
            elif message:
                raise SaslError("bad-message")
            else:
                reply, self._held = self._held, None
        except SaslError as error:
            self.error = error
            return "*"
        return encode_line(reply or b"")


def saslprep(text: str, *, stored: bool = False) -> str | None:
    """Prepare a name or a secret for comparison (RFC 4013 §2); None for what must not be used.

    A `stored` string may hold no code point that Unicode 3.2 had not assigned yet; one to compare with it, a query, may
    (RFC 3454 §7). Octets that were no UTF-8 are surrogates here, and prohibited with them (RFC 4013 §2.3).
    """
    import stringprep  # builds tables; names in ASCII need none
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
    """MD5 over the timestamp, angle brackets included, followed by the secret, in lower-case hex (RFC 1939 §7).

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
    if (message := from_base64(line)) is None:
        raise SaslError("bad-base64")
    return message


def encode_line(message: bytes) -> str:
    """One base64 line for `message`; an empty one is `=` as an initial response, and an empty line else."""
    return base64.b64encode(message).decode()


def _plain_client(name: str, secret: str, first: bytes | None) -> Side:
    """message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 §2); no authzid: act as oneself."""
    if first:
        raise SaslError("bad-message")
    named = (Named("authzid", ""), Named("authcid", name), Named("passwd", secret, True))
    yield Step(b"\0" + _octets(name) + b"\0" + _octets(secret), True, named)


def _plain_server(secret_of: SecretOf, unique: str, first: bytes | None) -> Side:
    message = first if first is not None else (yield Step(b""))
    fields = message.split(b"\0") if message else []
    if len(fields) != 3 or not fields[1] or not fields[2]:
        raise SaslError("bad-message")
    try:
        authzid, name, secret = (field.decode("utf-8") for field in fields)
    except UnicodeDecodeError as error:
        raise SaslError("bad-message") from error
    if any(ch in "\r\n" for ch in authzid + name + secret):
        raise SaslError("bad-message")
    proved = verify_password(name, secret, secret_of)
    # Without authzid it is derived from the prepared name; another's is refused (RFC 4616 §2).
    allowed = authzid == "" or prepared(authzid) == proved
    named = (Named("authzid", authzid), Named("authcid", name), Named("passwd", secret, True))
    yield Step(None, True, named, proved if allowed else None)


_ROWS = (
    Mechanism("PLAIN", 4616, "2", _plain_client, _plain_server, clear_text=True),
)  # fmt: skip

#: Every mechanism that client and practice server know, by its name in upper case.
MECHANISMS: Mapping[str, Mechanism] = MappingProxyType({row.name: row for row in _ROWS})
