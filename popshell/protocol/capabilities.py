"""Capabilities and response codes: one row each, with their RFC.

A capability is a line of the CAPA reply (RFC 2449 §6); a response code is a word in brackets at the head of a reply's
text (RFC 2449 §8). Which command a capability announces stands in the command table; the practice server computes its
CAPA list from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from popshell.protocol.commands import State


class Capability(NamedTuple):
    """One CAPA tag: where it is announced and which RFC defines it."""

    tag: str
    rfc: int
    section: str
    #: the states in which a CAPA reply may list it (RFC 2449 §6, "announced states")
    announced: frozenset[State]
    #: the tag without which it says nothing
    within: str = ""


class ResponseCode(NamedTuple):
    """One extended response code; `page` is the name of its lesson page."""

    code: str
    rfc: int
    section: str
    #: the tag that promises it
    capability: str = "RESP-CODES"

    @property
    def page(self) -> str:
        return self.code.replace("/", "-")


_BOTH = frozenset({State.AUTHORIZATION, State.TRANSACTION})
_FIRST = frozenset({State.AUTHORIZATION})

_CAPABILITIES = (
    Capability("TOP", 2449, "6.1", _BOTH),
    Capability("USER", 2449, "6.2", _BOTH),
    Capability("SASL", 2449, "6.3", _BOTH),
    Capability("RESP-CODES", 2449, "6.4", _BOTH),
    Capability("LOGIN-DELAY", 2449, "6.5", _BOTH),
    Capability("PIPELINING", 2449, "6.6", _BOTH),
    Capability("EXPIRE", 2449, "6.7", _BOTH),
    Capability("UIDL", 2449, "6.8", _BOTH),
    Capability("IMPLEMENTATION", 2449, "6.9", _BOTH),
    Capability("STLS", 2595, "4", _FIRST),
    Capability("AUTH-RESP-CODE", 3206, "6", _BOTH, within="RESP-CODES"),
    Capability("UTF8", 6856, "2", _BOTH),
    Capability("LANG", 6856, "3", _BOTH),
)

_CODES = (
    ResponseCode("LOGIN-DELAY", 2449, "8.1.1"),
    ResponseCode("IN-USE", 2449, "8.1.2"),
    ResponseCode("SYS/TEMP", 3206, "4"),
    ResponseCode("SYS/PERM", 3206, "4"),
    ResponseCode("AUTH", 3206, "5", "AUTH-RESP-CODE"),
    ResponseCode("UTF8", 6856, "5"),
)

CAPABILITIES: Mapping[str, Capability] = MappingProxyType({row.tag: row for row in _CAPABILITIES})
RESPONSE_CODES: Mapping[str, ResponseCode] = MappingProxyType({row.code: row for row in _CODES})


def known_code(code: str) -> ResponseCode | None:
    """The row for `code`; unknown detail behind a `/` is ignored level by level (RFC 2449 §8)."""
    code = code.upper()
    while code:
        if code in RESPONSE_CODES:
            return RESPONSE_CODES[code]
        code = code.rpartition("/")[0]
    return None
