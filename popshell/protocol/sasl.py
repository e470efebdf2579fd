"""APOP's digest, SASLprep, and the shape of an AUTH mechanism: stepwise, for client and server, with intermediates.

A mechanism is one entry of mechanisms.MECHANISMS: shell, completion, practice server and its CAPA list read it. Each of
its sides is a generator: it is started with the first message, or None if there is none, is sent each message that
follows, and yields a Step for each. Messages are bytes; base64 is undone outside (`decode_line`). None is no message;
b"" is an empty one, which is sent.

Names and secrets outside ASCII are prepared by SASLprep (RFC 4013), so that two ways to write one character are equal
(RFC 4616 §2, RFC 6856 §2.2); what is ASCII is RFC 1939's, and nothing is done to it.

Traps: CR, LF or NUL hidden in base64 have forged replies in other servers (greenmail#1011), so fields are checked again
after decoding; secrets are compared by `hmac.compare_digest`, and an unknown name takes the same way as a wrong secret.
Text may hold octets that are no UTF-8, as surrogates: it is encoded by `octets_of` alone, and never proves anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Generator
from typing import Any

from popshell.protocol.commands import LONGEST_LINE
from popshell.protocol.wire import from_base64
from popshell.tuples import NamedTuple

#: The type of channel binding here: by the server's certificate (RFC 5929 §4). tls-unique is not defined for TLS 1.3,
#: and Python tells no tls-exporter.
BINDING = "tls-server-end-point"
#: Looks up the secret of a name, given as `prepared` leaves it; None for an unknown name.
SecretOf = Callable[[str], str | None]

#: JSON about a token, or in one, is not read beyond this.
_MOST_OCTETS = 64 * 1024


class SaslError(Exception):
    """A message that cannot be read or must not be trusted, or one too many; the exchange is over.

    `code` is stable; `detail` is what the other side gave as its reason, and may hold anything.

    | code | side | what |
    |---|---|---|
    | bad-base64, bad-message | both | it is not what the mechanism sends |
    | not-prepared | client | name or secret cannot be prepared by SASLprep (RFC 5802 §5.1), or cannot be written |
    | bad-token | client | a token holds what none may hold (RFC 6750 §2.1) |
    | no-binding | client | a -PLUS mechanism without channel-binding data |
    | bad-nonce | client | the server's nonce does not extend ours (RFC 5802 §5.1) |
    | no-iterations | client | 0 of them (RFC 5802 §7: posit-number) |
    | too-many-iterations | client | more than MOST_ITERATIONS |
    | extension | client | an extension is mandatory and not known (RFC 5802 §5.1) |
    | server-error | client | the server's own reason is in `detail` |
    | bad-server-signature | client | the server does not know the secret (RFC 5802 §5) |
    | not-proved | client | `+OK` before the exchange was over |
    | channel-binding | server | the client is bound to another channel, or to none (RFC 5802 §6) |
    | downgrade | server | the client was shown no -PLUS where there is one (RFC 5802 §6) |
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


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
    #: of a client that is done: the server may still send one message, its reason why it refuses
    more: bool = False
    #: keys of what is odd but no error: few-iterations, token-refused
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        size = None if self.reply is None else len(self.reply)  # the reply may be a password
        return f"Step({size} octets, done={self.done}, named={self.named}, proved={self.proved!r})"


Side = Generator[Step, bytes | None, None]


class Run:
    """One side of one use of a mechanism. After a message that cannot be read, and after `done`, no more is taken."""

    def __init__(self, begin: Callable[[bytes | None], Side]) -> None:
        self._begin = begin
        self._side: Side | None = None
        self._over = False
        #: whether this side has all that it needs, or has failed
        self.done = False
        #: the intermediates and the warnings so far
        self.named: tuple[Named, ...] = ()
        self.warnings: tuple[str, ...] = ()

    def step(self, message: bytes | None) -> Step:
        """Take the other side's message; None begins where the other side has not spoken. Raises SaslError."""
        if self._over:
            raise SaslError("bad-message")
        self._over = self.done = True  # also if it raises
        if self._side is None:
            self._side = self._begin(message)
            step = next(self._side)
        else:
            step = self._side.send(message)
        self.done = step.done
        self._over = step.done and not step.more
        self.named += step.named
        self.warnings += step.warnings
        return step


class Credentials(NamedTuple):
    """What a client's side works with."""

    name: str
    #: the password, or the token
    secret: str
    #: the identity to act as; "" is one's own
    authzid: str = ""
    #: channel-binding data, None without TLS: the server's certificate's (net.certificates.Handshake.binding)
    binding: bytes | None = None
    binding_type: str = BINDING
    #: whether the server lists the mechanism with channel binding, too
    plus_offered: bool = False
    #: where OAUTHBEARER says that it connected to (RFC 7628 §3.1), "" and 0 to say nothing
    host: str = ""
    port: int = 0
    #: SCRAM's nonce; "" for a random one
    nonce: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, ..., authzid={self.authzid!r})"


class Verifier(NamedTuple):
    """What a server's side works with."""

    secret_of: SecretOf
    #: a text that no other run has: the challenge of CRAM-MD5
    unique: str = ""
    #: whose a token is, as names are compared; None if it is not valid
    token_of: SecretOf = lambda token: None
    #: the name that TLS has proved by the client's certificate
    certificate: str | None = None
    #: tls-server-end-point's data, if mechanisms with channel binding are listed
    binding: bytes | None = None
    iterations: int = 4096
    #: what SCRAM's salts are made from, with the name, so that a name has one salt, an unknown one too
    salt_key: bytes = b""
    #: what the server adds to SCRAM's nonce; "" for a random one
    nonce: str = ""

    def __repr__(self) -> str:
        return "Verifier(...)"


class Mechanism(NamedTuple):
    """One SASL mechanism (RFC 5034 §4). `rfc` is 0 where none defines it, or none that is cited."""

    name: str
    rfc: int
    section: str
    client: Callable[[Credentials, bytes | None], Side]
    server: Callable[[Verifier, bytes | None], Side]
    #: a message holds the secret itself, so it needs TLS
    clear_text: bool = False
    #: what proves the name: "password", "token", "certificate"
    proof: str = "password"
    #: it is bound to the TLS channel
    binds: bool = False

    @property
    def only_under_tls(self) -> bool:
        """Whether it is wrong, or senseless, without TLS (RFC 7628 §3, RFC 5802 §6)."""
        return self.proof != "password" or self.binds

    def as_client(self, credentials: Credentials) -> Run:
        return Run(lambda first: self.client(credentials, first))

    def as_server(self, verifier: Verifier) -> Run:
        return Run(lambda first: self.server(verifier, first))


class ClientLines:
    """The client's lines of one AUTH: the command, and an answer to each challenge. Raises SaslError when made."""

    def __init__(self, mechanism: Mechanism, credentials: Credentials) -> None:
        self._mechanism = mechanism
        self.run = mechanism.as_client(credentials)
        #: the first message, if the client speaks first, until it is sent
        self._held = self.run.step(None).reply
        #: why the exchange was cancelled, if it was
        self.error: SaslError | None = None
        #: how the first message goes: server-first (there is none), initial, two-lines (as wanted), too-long
        self.form = ""

    def command(self, *, initial: bool = True) -> str:
        """AUTH with the initial response, if there is one and the line is no longer than a command may be.

        Without the SASL capability it must not be sent (RFC 5034 §3), and Microsoft's servers take tokens on a line of
        their own only: then `initial` is False.
        """
        command = f"AUTH {self._mechanism.name}"
        if self._held is None or not initial:
            self.form = "server-first" if self._held is None else "two-lines"
            return command
        whole = f"{command} {encode_line(self._held) or '='}"
        if len(whole) + 2 > LONGEST_LINE:
            self.form = "too-long"
            return command
        self.form, self._held = "initial", None
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

    def outcome(self, ok: bool) -> SaslError | None:
        """What is wrong although the last reply is there: the reason for `*`, or a `+OK` that came too early.

        Without this a server that does not know the secret could leave its signature out (RFC 5802 §5).
        """
        if ok and self.error is None and (self._held is not None or not self.run.done):
            self.error = SaslError("not-proved")
        return self.error


def saslprep(text: str, *, stored: bool = False) -> str | None:
    """Prepare a name or a secret for comparison (RFC 4013 §2); None for what must not be used.

    A `stored` string may hold no code point that Unicode 3.2 had not assigned yet; one to compare with it, a query, may
    (RFC 3454 §7). Octets that were no UTF-8 are surrogates here, and prohibited with them (RFC 4013 §2.3).
    """
    import stringprep  # builds tables; names in ASCII need none
    from unicodedata import ucd_3_2_0

    mapped = (" " if stringprep.in_table_c12(ch) else ch for ch in text if not stringprep.in_table_b1(ch))
    result = ucd_3_2_0.normalize("NFKC", "".join(mapped))
    tables = ("c12", "c21_c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9", *(("a1",) if stored else ()))
    prohibited = [getattr(stringprep, f"in_table_{table}") for table in tables]
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
    return hashlib.md5(octets_of(whole), usedforsecurity=False).hexdigest()


def verify_apop(stamp: str, name: str, digest: str, secret_of: SecretOf) -> str | None:
    """The name, as it is compared, if `digest` proves that it knows its secret."""
    name, secret = looked_up(name, secret_of)
    expected = apop_digest(stamp, secret if secret is not None else "no such name")
    same = hmac.compare_digest(octets_of(expected), octets_of(digest))
    return name if same and secret is not None else None


def verify_password(name: str, password: str, secret_of: SecretOf) -> str | None:
    """The name, as it is compared, if `password` is its secret; an unknown name costs the same time (sec-V10)."""
    name, secret = looked_up(name, secret_of)
    given = prepared(password)
    expected = secret if secret is not None else "no such name"
    same = hmac.compare_digest(octets_of(expected), octets_of(given if given is not None else password))
    return name if same and secret is not None and given is not None else None


def looked_up(name: str, secret_of: SecretOf) -> tuple[str, str | None]:
    """A name as it is compared, and its secret, if it has one that can be used."""
    found = prepared(name)
    secret = secret_of(found) if found is not None else None
    return found or "", prepared(secret, stored=True) if secret is not None else None


def acts_as(proved: str | None, authzid: str) -> str | None:
    """The name that was proved, if it may act as `authzid`: as itself alone (RFC 4616 §2); "" is itself."""
    return proved if authzid == "" or prepared(authzid) == proved else None


def octets_of(text: str) -> bytes:
    """`text` as it is sent and hashed: UTF-8; octets that were none are as they came."""
    return text.encode(errors="surrogateescape")


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


def json_object(octets: bytes) -> dict[str, Any]:
    """The object that `octets` are in JSON; empty if they are none, or too many to be about a token."""
    import json  # no start pays for it

    try:
        found = json.loads(octets) if len(octets) <= _MOST_OCTETS else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
