"""The AUTH mechanisms, client and server side: one entry of MECHANISMS each.

The shape of a mechanism is sasl.py's. Sources: PLAIN RFC 4616; CRAM-MD5 RFC 2195; SCRAM RFC 5802 and RFC 7677, its
channel binding RFC 5929; OAUTHBEARER RFC 7628; EXTERNAL RFC 4422 Appendix A; LOGIN draft-murchison-sasl-login-00;
XOAUTH2 Google's "OAuth 2.0 Mechanism" for IMAP, POP and SMTP.

Traps: what one side sends is checked as a whole before any of it is used. A server chooses the iterations of SCRAM, and
so how long the client computes: there is a bound. SCRAM's last message proves the server: a `+OK` without it proves
nothing (`ClientLines.outcome`). The error of the token mechanisms comes as a challenge and must be answered, or the
next command is taken for the answer.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from popshell.protocol.sasl import (
    BINDING,
    Credentials,
    Mechanism,
    Named,
    SaslError,
    Side,
    Step,
    Verifier,
    acts_as,
    encode_line,
    json_object,
    looked_up,
    octets_of,
    prepared,
    verify_password,
)
from popshell.protocol.wire import from_base64
from popshell.tuples import NamedTuple

#: A server SHOULD ask for at least so many (RFC 5802 §5.1, RFC 7677 §3).
FEW_ITERATIONS = 4096
#: More are refused: half a second to a second of one core. RFC 5802 §9 warns of servers that ask for too many.
MOST_ITERATIONS = 2_000_000
_STAND_IN = "no such name"
#: The intermediates that are secret. SCRAM's client-signature is: with the proof it gives the client's key; and by the
#: server's a password can be guessed, as by a digest.
_SECRET = "passwd|digest|token|salted-password|(?:client|stored|server)-key|(?:client|server)-signature|client-proof"


def _named(**values: str) -> tuple[Named, ...]:
    """Intermediates in the order given; their names have `-` for `_`."""
    dashed = {name.replace("_", "-"): value for name, value in values.items()}
    return tuple(Named(name, value, re.fullmatch(_SECRET, name) is not None) for name, value in dashed.items())


def _sendable(text: str, *forbidden: str) -> bytes:
    """`text` in UTF-8. Raises SaslError not-prepared, if it holds what the message cannot carry."""
    if any(ch in text for ch in forbidden):
        raise SaslError("not-prepared")
    try:
        return octets_of(text)
    except UnicodeEncodeError as error:
        raise SaslError("not-prepared") from error


def _received(message: bytes | None) -> str:
    """The text of a message. Raises SaslError; line ends are in none, and have forged replies (greenmail#1011)."""
    try:
        text = (message or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise SaslError("bad-message") from error
    if "\r" in text or "\n" in text:
        raise SaslError("bad-message")
    return text


def _client_first(first: bytes | None) -> None:
    """Where the client speaks first, the server has nothing to say before it."""
    if first:
        raise SaslError("bad-message")


def _server_first(first: bytes | None) -> None:
    """Where the server speaks first, an initial response MUST be rejected (RFC 5034 §4)."""
    if first is not None:
        raise SaslError("bad-message")


# -- PLAIN, LOGIN, EXTERNAL -------------------------------------------------------------------------------------------


def _plain_client(login: Credentials, first: bytes | None) -> Side:
    """message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 §2); no authzid: act as oneself."""
    _client_first(first)
    message = b"\0".join(_sendable(text, "\0") for text in (login.authzid, login.name, login.secret))
    yield Step(message, True, _named(authzid=login.authzid, authcid=login.name, passwd=login.secret))


def _plain_server(known: Verifier, first: bytes | None) -> Side:
    fields = _received(first if first is not None else (yield Step(b""))).split("\0")
    if len(fields) != 3 or not fields[1] or not fields[2]:
        raise SaslError("bad-message")
    authzid, name, secret = fields
    # Without authzid it is derived from the prepared name; another's is refused (RFC 4616 §2).
    proved = acts_as(verify_password(name, secret, known.secret_of), authzid)
    yield Step(None, True, _named(authzid=authzid, authcid=name, passwd=secret), proved)


def _login_client(login: Credentials, first: bytes | None) -> Side:
    """The server asks twice, in words that differ from product to product, for the name and for the password."""
    asked = first if first is not None else (yield Step(None))
    asked = yield Step(_sendable(login.name), named=_named(first_prompt=_shown(asked), authcid=login.name))
    yield Step(_sendable(login.secret), True, _named(second_prompt=_shown(asked), passwd=login.secret))


def _login_server(known: Verifier, first: bytes | None) -> Side:
    _server_first(first)
    name = _received((yield Step(b"Username:", named=_named(first_prompt="Username:"))))
    secret = _received((yield Step(b"Password:", named=_named(authcid=name, second_prompt="Password:"))))
    if not name or not secret:
        raise SaslError("bad-message")
    yield Step(None, True, _named(passwd=secret), verify_password(name, secret, known.secret_of))


def _external_client(login: Credentials, first: bytes | None) -> Side:
    """The client's certificate proves the name; the message is the name to act as, or empty (RFC 4422 Appendix A)."""
    _client_first(first)
    yield Step(_sendable(login.authzid, "\0"), True, _named(authzid=login.authzid))


def _external_server(known: Verifier, first: bytes | None) -> Side:
    authzid = _received(first if first is not None else (yield Step(b"")))
    if "\0" in authzid:
        raise SaslError("bad-message")
    named = _named(authzid=authzid, certificate=known.certificate or "")
    yield Step(None, True, named, acts_as(known.certificate, authzid))


def _shown(message: bytes | None) -> str:
    return (message or b"").decode(errors="surrogateescape")


# -- CRAM-MD5 ---------------------------------------------------------------------------------------------------------


def _cram_client(login: Credentials, first: bytes | None) -> Side:
    """name SP digest, an HMAC-MD5 of the challenge with the password as the key (RFC 2195 §2)."""
    challenge = first if first is not None else (yield Step(None))
    if not challenge:
        raise SaslError("bad-message")
    digest = _cram_digest(prepared(login.secret, stored=True) or login.secret, challenge)
    named = _named(challenge=_shown(challenge), authcid=login.name, digest=digest)
    yield Step(_sendable(login.name) + b" " + digest.encode(), True, named)


def _cram_server(known: Verifier, first: bytes | None) -> Side:
    _server_first(first)
    challenge = known.unique.encode()
    answer = _received((yield Step(challenge, named=_named(challenge=known.unique))))
    name, _, digest = answer.rpartition(" ")  # a name may hold spaces, a digest none
    if not name or not re.fullmatch("[0-9a-f]{32}", digest):
        raise SaslError("bad-message")
    found, secret = looked_up(name, known.secret_of)
    expected = _cram_digest(secret if secret is not None else _STAND_IN, challenge)
    same = hmac.compare_digest(expected, digest) and secret is not None
    yield Step(None, True, _named(authcid=name, digest=digest), found if same else None)


def _cram_digest(secret: str, challenge: bytes) -> str:
    return hmac.new(_sendable(secret), challenge, "md5").hexdigest()


# -- SCRAM ------------------------------------------------------------------------------------------------------------

#: RFC 5802 §7. Extensions at the end are ignored, but no attribute comes twice, and a mandatory one, `m=`, anywhere in
#: a message MUST make it fail (§5.1).
_NONCE = r"[!-+\--~]+"
_BASE64 = "[A-Za-z0-9+/]+={0,2}"
_MORE = r"(?:,(?![aceimnprsv]=)[A-Za-z]=[^,\0]+)*"
_GS2 = r"(?P<flag>[ny]|p=[A-Za-z0-9.-]+),(?:a=(?P<authzid>[^,\0]+))?,"
_CLIENT_FIRST = rf"(?P<gs2>{_GS2})(?P<bare>n=(?P<name>[^,\0]+),r=(?P<nonce>{_NONCE}){_MORE})"
_ERROR = r"e=(?P<error>[^,\0]+)"
_SERVER_FIRST = rf"(?:r=(?P<nonce>{_NONCE}),s=(?P<salt>{_BASE64}),i=(?P<count>0|[1-9][0-9]*)|{_ERROR}){_MORE}"
_CLIENT_FINAL = rf"(?P<without>c=(?P<bound>{_BASE64}),r=(?P<nonce>{_NONCE}){_MORE}),p=(?P<proof>{_BASE64})"
_SERVER_FINAL = rf"(?:v=(?P<signature>{_BASE64})|{_ERROR}){_MORE}"


class _Proof(NamedTuple):
    """What is computed from a password, once all that goes into it is known (RFC 5802 §3)."""

    client_proof: bytes
    server_signature: bytes
    named: tuple[Named, ...]


def _prove(algorithm: str, secret: bytes, salt: bytes, iterations: int, message: str) -> _Proof:
    def mac(key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, algorithm).digest()

    salted = hashlib.pbkdf2_hmac(algorithm, secret, salt, iterations)
    client_key = mac(salted, b"Client Key")
    stored_key = hashlib.new(algorithm, client_key).digest()
    client_signature = mac(stored_key, message.encode())
    proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
    server_key = mac(salted, b"Server Key")
    server_signature = mac(server_key, message.encode())
    named = _named(
        auth_message=message,
        salted_password=encode_line(salted),
        client_key=encode_line(client_key),
        stored_key=encode_line(stored_key),
        client_signature=encode_line(client_signature),
        client_proof=encode_line(proof),
        server_key=encode_line(server_key),
        server_signature=encode_line(server_signature),
    )
    return _Proof(proof, server_signature, named)


def _scram_client(algorithm: str, plus: bool, login: Credentials, first: bytes | None) -> Side:
    _client_first(first)
    if plus and login.binding is None:
        raise SaslError("no-binding")
    name, secret = prepared(login.name), prepared(login.secret, stored=True)
    if not name or secret is None:
        raise SaslError("not-prepared")
    gs2 = f"{_flag(plus, login)},{f'a={_escaped(login.authzid)}' if login.authzid else ''},"
    nonce = login.nonce or _new_nonce()
    bare = f"n={_escaped(name)},r={nonce}"
    named = _named(gs2_header=gs2, authcid=name, client_nonce=nonce)
    challenge = _received((yield Step((gs2 + bare).encode(), named=named)))
    match = _matched(_SERVER_FIRST, challenge)
    count, salt = match["count"], from_base64(match["salt"])
    if salt is None:
        raise SaslError("bad-message")
    if not match["nonce"].startswith(nonce) or match["nonce"] == nonce:
        raise SaslError("bad-nonce")
    if count == "0":
        raise SaslError("no-iterations")
    if len(count) > len(str(MOST_ITERATIONS)) or int(count) > MOST_ITERATIONS:
        raise SaslError("too-many-iterations")
    bound = encode_line(gs2.encode() + (login.binding or b"" if plus else b""))
    without = f"c={bound},r={match['nonce']}"
    proof = _prove(algorithm, octets_of(secret), salt, int(count), f"{bare},{challenge},{without}")
    named = _named(nonce=match["nonce"], salt=match["salt"], iterations=count, channel_binding=bound) + proof.named
    few = ("few-iterations",) if int(count) < FEW_ITERATIONS else ()
    answer = f"{without},p={encode_line(proof.client_proof)}".encode()
    match = _matched(_SERVER_FINAL, _received((yield Step(answer, named=named, warnings=few))))
    if not hmac.compare_digest(from_base64(match["signature"]) or b"", proof.server_signature):
        raise SaslError("bad-server-signature")
    yield Step(b"", True)


def _scram_server(algorithm: str, plus: bool, known: Verifier, first: bytes | None) -> Side:
    opening = _matched(_CLIENT_FIRST, _received(first if first is not None else (yield Step(b""))))
    if opening["flag"] == "y" and known.binding is not None:
        raise SaslError("downgrade")
    bound_to = f"p={BINDING}" if known.binding is not None else None
    if opening["flag"].startswith("p") != plus or (plus and opening["flag"] != bound_to):
        raise SaslError("channel-binding")
    name, authzid = _unescaped(opening["name"]), _unescaped(opening["authzid"] or "")
    found, secret = looked_up(name, known.secret_of)
    nonce = opening["nonce"] + (known.nonce or _new_nonce())
    salt = hmac.new(known.salt_key, octets_of(found), "sha256").digest()[:16]
    challenge = f"r={nonce},s={encode_line(salt)},i={known.iterations}"
    named = _named(gs2_header=opening["gs2"], authcid=name, client_nonce=opening["nonce"], nonce=nonce)
    named += _named(salt=encode_line(salt), iterations=str(known.iterations))
    final = _matched(_CLIENT_FINAL, _received((yield Step(challenge.encode(), named=named))))
    bound = encode_line(opening["gs2"].encode() + (known.binding or b"" if plus else b""))
    if final["nonce"] != nonce:
        raise SaslError("bad-message")
    if final["bound"] != bound:
        raise SaslError("channel-binding")
    message = f"{opening['bare']},{challenge},{final['without']}"
    count = min(known.iterations, MOST_ITERATIONS)  # who asks for more, to see it refused, need not compute it
    proof = _prove(algorithm, octets_of(secret if secret is not None else _STAND_IN), salt, count, message)
    same = hmac.compare_digest(from_base64(final["proof"]) or b"", proof.client_proof)
    proved = acts_as(found if same and secret is not None else None, authzid)
    named = _named(channel_binding=bound) + proof.named
    if proved is None:
        yield Step(None, True, named)  # the server's last message is optional then (RFC 5802 §5.1)
        return
    if (yield Step(f"v={encode_line(proof.server_signature)}".encode(), named=named)) != b"":
        raise SaslError("bad-message")
    yield Step(None, True, proved=proved)


def _flag(plus: bool, login: Credentials) -> str:
    """`y`: we could bind the channel, but the server lists no -PLUS; so it finds who changed its list (RFC 5802 §6).

    Who chooses the mechanism without -PLUS although both could, says `n`: `y` would be untrue, and MUST be refused.
    """
    if plus:
        return f"p={login.binding_type}"
    return "y" if login.binding is not None and not login.plus_offered else "n"


def _matched(pattern: str, text: str) -> re.Match[str]:
    """Read a message of SCRAM. Raises SaslError."""
    match = re.fullmatch(pattern, text)
    if match is None:
        raise SaslError("extension" if re.search("(?:^|,)m=", text) else "bad-message")
    if "error" in match.groupdict() and match["error"] is not None:
        raise SaslError("server-error", match["error"])
    return match


def _escaped(name: str) -> str:
    """saslname (RFC 5802 §7): the two characters that divide a message are written otherwise."""
    _sendable(name, "\0", "\r", "\n")
    return name.replace("=", "=3D").replace(",", "=2C")


def _unescaped(name: str) -> str:
    if re.search("=(?!2C|3D)", name):
        raise SaslError("bad-message")
    return name.replace("=2C", ",").replace("=3D", "=")


def _new_nonce() -> str:
    return encode_line(os.urandom(18))


# -- XOAUTH2, OAUTHBEARER ---------------------------------------------------------------------------------------------


def _token_client(bearer: bool, login: Credentials, first: bytes | None) -> Side:
    """RFC 7628 §3.1, or its forerunner. A refusal comes as a challenge with JSON, and its answer is fixed."""
    _client_first(first)
    if not re.fullmatch("[A-Za-z0-9._~+/-]+=*", login.secret):  # RFC 6750 §2.1
        raise SaslError("bad-token")
    _sendable(login.name, "\x01", "\0", "\r", "\n")
    if bearer:
        authzid = login.authzid or login.name
        gs2 = f"n,{f'a={_escaped(authzid)}' if authzid else ''},"
        where = [f"host={login.host}"] if login.host else []
        where += [f"port={login.port}"] if login.port else []
        fields = [gs2, *where, f"auth=Bearer {login.secret}"]
        named = _named(gs2_header=gs2, host=login.host, port=str(login.port or ""), token=login.secret)
    else:
        fields = [f"user={login.name}", f"auth=Bearer {login.secret}"]
        named = _named(user=login.name, token=login.secret)
    refusal = yield Step(_sendable("\x01".join([*fields, "", ""])), True, named, more=True)
    yield Step(b"\x01" if bearer else b"", True, _refusal(refusal or b""), warnings=("token-refused",))


def _refusal(message: bytes) -> tuple[Named, ...]:
    """The server's reason (RFC 7628 §3.2.2): as it came, and the fields of its JSON, if it is that."""
    fields = json_object(message)
    known = ("status", "schemes", "scope", "openid-configuration")
    found = {name: str(value) for name in known if isinstance(value := fields.get(name), str | int)}
    return _named(server_error=_shown(message), **found)


def _token_server(bearer: bool, known: Verifier, first: bytes | None) -> Side:
    text = _received(first if first is not None else (yield Step(b"")))
    head, _, rest = text.partition("\x01")
    gs2 = re.fullmatch("[ny],(?:a=([^,\0]+))?," if bearer else "user=([^\0]+)", head)
    if gs2 is None or not re.fullmatch("(?:[A-Za-z]+=[^\x01\0]*\x01)*\x01", rest):
        raise SaslError("bad-message")
    claimed = (_unescaped(gs2[1] or "") if bearer else gs2[1]) or ""
    fields = dict(field.split("=", 1) for field in rest.split("\x01") if field)
    scheme, _, token = fields.get("auth", "").partition(" ")
    if bearer:
        named = _named(gs2_header=head, host=fields.get("host", ""), port=fields.get("port", ""), token=token)
    else:
        named = _named(user=claimed, token=token)
    proved = acts_as(known.token_of(token) if scheme.lower() == "bearer" else None, claimed)
    if proved is None:
        status = "invalid_token" if bearer else "400"
        reason = f'{{"status":"{status}","schemes":"bearer","scope":"{PRACTICE_SCOPE}"}}'
        answer = yield Step(reason.encode(), named=named)
        if answer != (b"\x01" if bearer else b""):
            raise SaslError("bad-message")
        named = ()
    yield Step(None, True, named, proved)


#: The scope that the practice server asks for.
PRACTICE_SCOPE = "pop"


# -- the table --------------------------------------------------------------------------------------------------------


def _scram(name: str, rfc: int, section: str, algorithm: str, *, plus: bool) -> Mechanism:
    client, server = partial(_scram_client, algorithm, plus), partial(_scram_server, algorithm, plus)
    return Mechanism(name, rfc, section, client, server, binds=plus)


def _token(name: str, rfc: int, section: str, *, bearer: bool) -> Mechanism:
    client, server = partial(_token_client, bearer), partial(_token_server, bearer)
    return Mechanism(name, rfc, section, client, server, clear_text=True, proof="token")


_ROWS = (
    Mechanism("EXTERNAL", 0, "", _external_client, _external_server, proof="certificate"),
    _scram("SCRAM-SHA-256-PLUS", 7677, "3", "sha256", plus=True),
    _scram("SCRAM-SHA-1-PLUS", 5802, "4", "sha1", plus=True),
    _scram("SCRAM-SHA-256", 7677, "3", "sha256", plus=False),
    _scram("SCRAM-SHA-1", 5802, "4", "sha1", plus=False),
    _token("OAUTHBEARER", 7628, "3", bearer=True),
    _token("XOAUTH2", 0, "", bearer=False),
    Mechanism("CRAM-MD5", 2195, "2", _cram_client, _cram_server),
    Mechanism("PLAIN", 4616, "2", _plain_client, _plain_server, clear_text=True),
    Mechanism("LOGIN", 0, "", _login_client, _login_server, clear_text=True),
)

#: Every mechanism that client and practice server know, by its name in upper case, the best first.
MECHANISMS: Mapping[str, Mechanism] = MappingProxyType({row.name: row for row in _ROWS})
