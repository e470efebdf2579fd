"""What servers of other protocols say first: a hint for the user, not a decision."""

from __future__ import annotations

import re

#: Name (`messages.toml`, `[speaks]`) and the first octets, in this order: FTP and NNTP begin with the digits of SMTP.
SPEAKS = (
    ("pop3", rb"[+]OK\b|-ERR\b"),
    ("imap", rb"\* "),
    ("sieve", rb'"(?:IMPLEMENTATION|SIEVE|SASL)"'),
    ("http", rb"HTTP/\d|<!doctype|<html"),
    ("ssh", rb"SSH-\d"),
    ("tls", rb"[\x14-\x17]\x03[\x00-\x04]"),
    ("ftp", rb"220[ -][^\n]*FTP"),
    ("nntp", rb"20[01][ -][^\n]*(?:NNTP|news|INN)"),
    ("smtp", rb"[245]\d\d(?:[ -]|\r?\n|\Z)"),
    ("telnet", rb"\xff[\xfb-\xfe]"),
    ("vnc", rb"RFB \d{3}\."),
    ("mysql", rb"...\x00(?:\x0a(?:[0-9]|\Z)|\xff)"),
)


#: Greetings of what passes a connection on: `AVG POP3 Proxy Server`, `[ISafe POP3 Proxy]`, `is proxying this ...`.
_PASSES_ON = r"(?i)\bprox(?:y|ying)\b|Spampal|POPFile"


def passes_on(greeting: str) -> bool:
    """Whether a greeting is most likely that of a virus scanner or a proxy between client and server."""
    return re.search(_PASSES_ON, greeting) is not None


def what_speaks(first: bytes) -> str:
    """What the first octets of a server look like; "" if that is not known."""
    return next((name for name, pattern in SPEAKS if re.match(pattern, first, re.I)), "")
