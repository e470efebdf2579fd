"""Hang watch: what a reply that is due lacks, by the octets with which it ends so far. Loaded when a wait is long."""

from __future__ import annotations

import re

from popshell.protocol.connection import Due
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
#: So many of the last octets are shown.
_SHOWN = 24


def lack(due: Due, tls: bool = True) -> str:
    """The key of what is missing of a reply, in `messages.toml`, `shell.waiting-...`."""
    if not due.octets:
        return "waiting" if due.command else "waiting-greeting-tls" if tls else "waiting-greeting"
    if not due.content:
        return "waiting-line"
    if not due.lines and not due.tail:
        return "waiting-status-only"
    found = next((key for key, pattern in _ENDS.items() if pattern.search(due.tail)), "terminator")
    return f"waiting-{found}"


def missing(due: Due) -> str:
    """The octets that have to come yet."""
    return "CRLF . CRLF" if due.content and lack(due) != "waiting-dot-open" else "CRLF"


def tail(due: Due) -> str:
    """The last octets, line ends spelled out."""
    text = due.tail[-_SHOWN:].decode("utf-8", "backslashreplace").replace("\r", "<CR>").replace("\n", "<LF>")
    return show(text, keep="")
