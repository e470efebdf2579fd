"""Hang watch: what a reply lacks that is due, or that never ended, by its last octets. Loaded when a wait is long."""

from __future__ import annotations

import re
from typing import Any

from popshell.protocol.connection import Due
from popshell.protocol.records import Exchange
from popshell.protocol.strangers import what_speaks
from popshell.visible import show

#: How a multi-line reply ends that may be meant to be whole and is not, by the key of the words for it; the first fits.
_ENDS = {
    "terminator-lf": re.compile(rb"(?:\A|\r\n)\.\n\Z"),
    "bare-lf": re.compile(rb"\n\.\r?\n\Z"),
    "dot-open": re.compile(rb"(?:\A|\n)\.\r?\Z"),
    "dot-blank": re.compile(rb"(?:\A|\n)(?:[ \t\r\0]*\.[ \t\r\0]+\r?|[ \t\0]+\.\r?)\n\Z"),
    "dot-stuffed": re.compile(rb"(?:\A|\n)\.\.\r\n\Z"),
    "bare-cr": re.compile(rb"\r\.\r\Z"),
    "status-inside": re.compile(rb"(?:\A|\n)(?:\+OK|-ERR)(?: [^\n]*)?\r?\n\Z"),
    "tls-record": re.compile(rb"[\x14-\x17]\x03[\x00-\x04]"),  # RFC 8446 §5.1
}
#: So many of the last octets are looked at, and are shown.
_LOOKED_AT, _SHOWN = 512, 24


def lack(due: Due, tls: bool = True) -> str:
    """The key of what is missing of a reply, in `messages.toml`, `shell.waiting-...`."""
    if not due.octets:
        return "waiting" if due.command else "waiting-greeting-tls" if tls else "waiting-greeting"
    if not due.content:
        return "waiting-line"
    if not due.lines and not due.tail:
        return "waiting-status-only"
    return f"waiting-{_end(due.tail) or 'terminator'}"


def lacked(exchange: Exchange) -> str:
    """The same key for a multi-line reply that never ended; "" where its last octets say nothing."""
    raw = exchange.received  # it may be 64 MiB
    found = _end(raw[max(exchange.content_at, len(raw) - _LOOKED_AT) :])
    return found and f"waiting-{found}"


def _end(tail: bytes) -> str:
    """Which of `_ENDS` it is; "" for none. Who took such an end for the end has sent the next line: it was answered."""
    for key, pattern in _ENDS.items():
        if pattern.search(tail):
            return (key == "status-inside" and _end(tail[: tail.rfind(b"\n", 0, -1) + 1])) or key
    return ""


def missing(due: Due) -> str:
    """The octets that have to come yet."""
    return "CRLF . CRLF" if due.content and lack(due) != "waiting-dot-open" else "CRLF"


def tail(due: Due) -> str:
    """The last octets, line ends spelled out."""
    text = due.tail[-_SHOWN:].decode("utf-8", "backslashreplace").replace("\r", "<CR>").replace("\n", "<LF>")
    return show(text, keep="")


def too_late(due: Due | None, seconds: int, place: str) -> dict[str, Any]:
    """Why a reply is no longer waited for: `code`, of `messages.toml`, `[net]`, and its facts.

    What came of a greeting may be of a protocol without line ends.
    """
    known = {"seconds": seconds, "place": place}
    if due is None or due.command is not None:
        return {"code": "reply-timeout", **known}
    if not due.octets:
        return {"code": "greeting-timeout", **known}
    host, speaks = place.rpartition(":")[0].strip("[]"), what_speaks(due.tail)
    return {"code": "greeting-cut", **known, "octets": due.octets, "host": host, "speaks": speaks}
