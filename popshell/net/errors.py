"""What can go wrong on the way to a server, as stable codes; the checks of a certificate. Words: `messages.toml`.

There is one exception, NetError, a ConnectError. Its facts are plain texts and numbers for the placeholders of a
message; texts that a peer or a certificate chose are among them, so they are shown through `popshell.visible` only.
`host` and `port` stand in all of them that come from `connect()`.

| code | what happened | further facts |
|---|---|---|
| `no-such-host` | the name has no address | |
| `no-such-family` | the name has no address of the wanted kind | `family`, 4 or 6 |
| `name-service` | no name server answers just now | `seconds` |
| `refused` | nothing listens on that port | `addresses` |
| `unreachable` | no way there: no route, network or host down, forbidden by a firewall here | `addresses`, `reason` |
| `timeout` | no answer to the first packet | `addresses`, `seconds` |
| `reset` | the peer broke the connection off (RST) | `peer`, `reason` |
| `lost` | the network under a standing connection failed | `peer`, `reason` |
| `closed` | something was to be written when the connection had ended | |
| `handshake-timeout` | the TLS handshake does not come to an end | `seconds` |
| `closed-in-handshake` | the peer closed instead of shaking hands | `least` |
| `closed-after-stls` | the same, after its `+OK` to STLS | |
| `not-tls` | the peer answered in clear text: TLS is not what the port is for | `speaks` (protocol/strangers.py) |
| `not-tls-pop3` | the same, and it was POP3 | |
| `not-tls-after-stls` | clear text where TLS was to begin, after `+OK` to STLS: a fault, or an injection | |
| `tls-too-old` | no TLS version that both would speak | `least`, ours |
| `wants-certificate` | the peer takes no client without a certificate of its own | |
| `own-refused` | the peer does not accept the client's own certificate | `reason` |
| `unknown-name` | the peer has no certificate for the name that was asked for | `name` |
| `bad-name` | no certificate can be for that name | `name` |
| `handshake-refused` | the peer sent a TLS alert | `reason` |
| `handshake-failed` | anything else in the handshake | `reason` |
| `tls-broken` | a record that does not decrypt, later | `peer`, `reason` |
| `certificate-expired` | it, or one above it, is past its date | `name`, `verify_code`, `verify_message` |
| `certificate-not-yet-valid` | it, or one above it, begins in the future | the same |
| `certificate-unknown` | signed by no authority that is trusted, or by itself | the same |
| `certificate-wrong-host` | it is for other names than the one asked for | the same |
| `certificate-other` | any other objection of the verifier | the same |
| `certificate-pin` | verified, but its public key is not the one of `--pin` | `name`, `pin`, `found` |
| `own-file-unreadable` | the file of `--cert` or `--key` cannot be read | `path`, `reason` |
| `own-no-certificate` | there is none in it, in PEM | `path` |
| `own-no-key` | there is none in it, in PEM | `path` |
| `own-key-mismatch` | the key of `--key` is not the one of the certificate | `path`, `key` |
| `own-key-passphrase` | the key needs one, and there was none | `path` |
| `own-key-wrong` | it does not open the key | `path` |
| `own-certificate` | they cannot be used for another reason | `path`, `reason` |
| `ca-file-unreadable` | the file of `--ca` cannot be read | `path`, `reason` |
| `ca-file-no-certificate` | there is no certificate in it | `path` |
| `stls-injection` | octets in clear text after the `+OK` to STLS (sec-T2) | `octets` |
| `port-in-use` | the listener's port is taken | |
| `port-forbidden` | ports below 1024 need a privilege that we lack | |
| `cannot-listen` | any other reason why the port cannot be had | `reason` |

`reason` is the symbol of an errno (`EHOSTUNREACH`) or of OpenSSL (`SSLV3_ALERT_HANDSHAKE_FAILURE`), to search for.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType

from popshell.session import ConnectError

Fact = str | int | float

#: The check of a certificate that an OpenSSL result (x509_vfy.h) stands for; the rest is `other`. `messages.toml`,
#: `[certificate]`.
CHECKS: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys((2, 20, 21), "no-issuer"),
        7: "signature",
        9: "not-yet-valid",
        10: "expired",
        18: "self-signed",
        19: "own-root",
        23: "revoked",
        **dict.fromkeys((24, 79), "not-ca"),
        25: "path-length",
        26: "purpose",
        **dict.fromkeys((47, 48), "name-constraint"),
        **dict.fromkeys((62, 64), "name"),
        **dict.fromkeys((66, 67, 68), "weak"),
        **dict.fromkeys(range(80, 95), "form"),
    }
)
#: The checks whose failure has a code of its own; the rest is `certificate-other`.
_CERTIFICATE_CODES = {
    "not-yet-valid": "certificate-not-yet-valid",
    "expired": "certificate-expired",
    **dict.fromkeys(("no-issuer", "self-signed", "own-root"), "certificate-unknown"),
    "name": "certificate-wrong-host",
}

#: OpenSSL's reasons that say the answer was no TLS record at all; which one depends on its version and on the bytes.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"})
#: An alert about the certificate that was shown (RFC 8446 §6.2): the peer looks at ours alone.
_OWN = re.compile(r"_ALERT_(UNKNOWN_CA|\w*CERTIFICATE)")
_TOO_OLD = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "WRONG_SSL_VERSION"},
)


class NetError(ConnectError):
    """A failure of the network, TLS or a certificate. `code` is stable; `facts` fill its message."""


def symbol(error: BaseException) -> str:
    """The searchable name of what the system or OpenSSL says: `ECONNRESET`, `WRONG_VERSION_NUMBER`."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)


def connecting(error: OSError) -> str:
    """The code for one address that could not be reached."""
    kinds = {TimeoutError: "timeout", ConnectionRefusedError: "refused", ConnectionResetError: "reset"}
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), "unreachable")


def looking_up(error: Exception) -> str:
    """The code for a name that was not resolved."""
    unanswered = isinstance(error, TimeoutError) or (
        isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    )
    return "name-service" if unanswered else "no-such-host"


def handshaking(error: Exception) -> str:
    """The code for a TLS handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_CODES.get(CHECKS.get(error.verify_code, ""), "certificate-other")
    if isinstance(error, TimeoutError):
        return "handshake-timeout"
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "closed-in-handshake"
    reason = symbol(error)
    if "CERTIFICATE_REQUIRED" in reason:
        return "wants-certificate"
    if reason in _NOT_TLS:
        return "not-tls"
    if reason in _TOO_OLD:
        return "tls-too-old"
    if _OWN.search(reason):
        return "own-refused"
    if "UNRECOGNIZED_NAME" in reason:
        return "unknown-name"
    return "handshake-refused" if "_ALERT_" in reason else "handshake-failed"


def ending(error: BaseException) -> str:
    """The code for a standing connection that ended badly."""
    if isinstance(error, ssl.SSLError):
        code = handshaking(error)  # in TLS 1.3 the peer looks at our certificate after our handshake
        return code if code in ("wants-certificate", "own-refused") else "tls-broken"
    return "reset" if isinstance(error, ConnectionError) else "lost"


def listening(error: OSError) -> str:
    """The code for a port that could not be had."""
    return {errno.EADDRINUSE: "port-in-use", errno.EACCES: "port-forbidden"}.get(error.errno or 0, "cannot-listen")
