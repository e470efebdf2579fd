"""Ways to log in: which can be used here and now and which is best, and what a token says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import json_object
from popshell.protocol.wire import from_base64
from popshell.tuples import NamedTuple

#: Seconds since 1970 up to the year 3000: what every system's clock can make a date of.
_LAST_DATE = 32_503_680_000


class TokenFacts(NamedTuple):
    """What a JWT says of itself (RFC 7519 §4.1); nothing of it is verified here, and the token is not in it.

    Times are seconds since 1970, None if it does not tell. Texts are the issuer's: show them through visible.py.
    """

    expires: float | None
    issued: float | None
    scope: tuple[str, ...]
    audience: tuple[str, ...]
    #: who it is for, by the first of upn, preferred_username, email, unique_name, sub
    user: str


def token_facts(token: str) -> TokenFacts | None:
    """What a token says of itself; None for an opaque one, which only its issuer can read."""
    parts = token.split(".")
    if len(parts) != 3 or not re.fullmatch("[A-Za-z0-9_-]+", parts[1]):
        return None
    text = parts[1].replace("-", "+").replace("_", "/")
    claims = json_object(from_base64(text + "=" * (-len(text) % 4)) or b"")
    if not claims:
        return None

    def words(value: Any) -> tuple[str, ...]:
        return tuple(value.split() if isinstance(value, str) else (one for one in value or () if isinstance(one, str)))

    def moment(name: str) -> float | None:
        value = claims.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_DATE:
            return None
        return float(value)

    lists = {name: value for name, value in claims.items() if isinstance(value, str | list)}
    scope = words(lists.get("scope") or lists.get("scp") or lists.get("roles"))
    names = ("upn", "preferred_username", "email", "unique_name", "sub")
    user = next((value for name in names if isinstance(value := claims.get(name), str)), "")
    return TokenFacts(moment("exp"), moment("iat"), scope, words(lists.get("aud")), user)


class Choice(NamedTuple):
    """A way to log in: a mechanism, or the commands APOP and USER; `why` is a key of words, `order` counts from 1."""

    name: str
    usable: bool
    why: str
    order: int


def rank(
    capabilities: Mapping[str, tuple[str, ...]] | None,
    stamp: str | None,
    *,
    tls: bool,
    verified: bool = True,
    binding: bool = False,
    certificate: bool = False,
) -> list[Choice]:
    """All ways to log in, the best usable first, each with its reason.

    `capabilities` is what CAPA listed here and now, None if there is no list; `verified` tells whether the server's
    certificate was, `binding` whether channel-binding data is there, `certificate` whether the client has shown one.

    Usable: bound, proof (the secret is not sent), token, certificate, digest (MD5, weak), protected (sent under TLS),
    unverified (sent under TLS to a peer that was not verified), stls-first, in-clear. Not usable: no-list, not-offered,
    no-stamp, no-binding, no-certificate, needs-tls, not-here (the server has it, this program has not).
    """
    listed = capabilities.get("SASL", ()) if capabilities is not None else ()
    offered = {name.upper(): name for name in listed}
    stls = capabilities is not None and "STLS" in capabilities

    def clear() -> str:
        return ("protected" if verified else "unverified") if tls else "stls-first" if stls else "in-clear"

    def judge(name: str) -> tuple[bool, str]:
        row = MECHANISMS.get(name)
        if name == "USER":
            known = capabilities is None or "USER" in capabilities
            return known, clear() if known else "not-offered"
        if name == "APOP":
            return stamp is not None, "digest" if stamp is not None else "no-stamp"
        if name not in offered:
            return False, "no-list" if capabilities is None else "not-offered"
        if row is None:
            return False, "not-here"
        if row.only_under_tls and not tls:
            return False, "needs-tls"
        if row.proof == "certificate":
            return certificate, "certificate" if certificate else "no-certificate"
        if row.binds:
            return binding, "bound" if binding else "no-binding"
        if row.proof == "token":
            return True, "token" if verified else "unverified"
        return True, clear() if row.clear_text else "digest" if name == "CRAM-MD5" else "proof"

    known = list(MECHANISMS)
    known.insert(known.index("PLAIN"), "APOP")
    names = [*known, "USER", *(name for name in offered if name not in MECHANISMS)]
    judged = sorted(((name, *judge(name)) for name in names), key=lambda row: not row[1])
    return [Choice(name, usable, why, order) for order, (name, usable, why) in enumerate(judged, 1)]
