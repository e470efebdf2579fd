"""Response: one reply of the server, and readers for what RFC 1939 lets a client read out of it.

Only the first word, a response code and the listings may be read by a program; "the text after +OK is free" (RFC 1939
§5). The readers are tolerant as clients must be: a row that is none is passed over, and extra words behind a row are
left alone ("a drop listing ... should make no other assumptions about the line", RFC 1939 §5).
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple


class Status(enum.Enum):
    """The status indicator (RFC 1939 §3); CONTINUE is AUTH's `+ ` (RFC 5034 §4): neither success nor failure."""

    OK = "+OK"
    ERR = "-ERR"
    CONTINUE = "+"


# RFC 2449 §3: resp-level = 1*rchar, rchar = %x21-2E / %x30-5C / %x5E-7F; levels are separated by "/".
_CODE = re.compile(r"\[([\x21-\x2e\x30-\x5c\x5e-\x7f]+(?:/[\x21-\x2e\x30-\x5c\x5e-\x7f]+)*)\] ?")
# Compiled by `re` when first used, and kept: no start pays for them.
_DROP = r"([0-9]{1,10}) ([0-9]{1,15})(?: |\Z)"
_SCAN = r"\+?([0-9]{1,10}) ([0-9]{1,15})(?: |\Z)"
_UNIQUE = r"([0-9]{1,10}) ([\x21-\x7e]{1,70})(?: |\Z)"
_SCAN_ROWS = rb"(?:\A|(?<=\r\n))([0-9]{1,10}) ([0-9]{1,15})(?: [^\r\n]*)?(?=\r\n)"
_UNIQUE_ROWS = rb"(?:\A|(?<=\r\n))([0-9]{1,10}) ([\x21-\x7e]{1,70})(?: [^\r\n]*)?(?=\r\n)"
#: RFC 1939 §7: the timestamp is a msg-id; no longer than a line may be (sec-T6).
_LONGEST_STAMP = 255


class Response(NamedTuple):
    """A reply: status, response code in upper case ("" if none), text behind both, and un-stuffed content or None.

    `text` is UTF-8 with what is not UTF-8 kept by surrogateescape: show it through `popshell.visible` only.
    `content` is the multi-line part with its CRLFs, byte-stuffing undone, without the terminator (RFC 1939 §3).
    """

    status: Status
    text: str
    code: str = ""
    content: bytes | None = None

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def lines(self) -> list[bytes] | None:
        """The content cut into lines without CRLF; None for a single-line reply."""
        if self.content is None:
            return None
        return self.content.split(b"\r\n")[:-1] if self.content else []

    def drop_listing(self) -> tuple[int, int] | None:
        """Count and octets from `+OK nn mm` (RFC 1939 §5, STAT)."""
        match = re.match(_DROP, self.text)
        return (int(match[1]), int(match[2])) if match else None

    def scan_row(self) -> tuple[int, int] | None:
        """Message-number and octets from `+OK msg octets` (RFC 1939 §5, LIST)."""
        match = re.match(_SCAN, self.text)
        return (int(match[1]), int(match[2])) if match else None

    def unique_id_row(self) -> tuple[int, str] | None:
        """Message-number and unique-id from `+OK msg id` (RFC 1939 §7, UIDL)."""
        match = re.match(_UNIQUE, self.text)
        return (int(match[1]), match[2]) if match else None

    def scan_listing(self) -> dict[int, int]:
        """All scan listings of the content (RFC 1939 §5)."""
        return {int(n): int(size) for n, size in re.findall(_SCAN_ROWS, self.content or b"")}

    def unique_id_listing(self) -> dict[int, str]:
        """All unique-id listings of the content (RFC 1939 §7)."""
        return {int(n): uid.decode("ascii") for n, uid in re.findall(_UNIQUE_ROWS, self.content or b"")}

    def capabilities(self) -> dict[str, tuple[str, ...]]:
        """CAPA tags in upper case with their arguments, in the server's order (RFC 2449 §5)."""
        rows = (line.decode("utf-8", "surrogateescape").split() for line in self.lines or ())
        return {row[0].upper(): tuple(row[1:]) for row in rows if row}

    def header_field(self, name: str) -> str | None:
        """The first field `name` of a message's header, unfolded, still encoded (RFC 5322 §2.2). It reads 64 KiB."""
        head = (b"\r\n" + (self.content or b"")[:65536]).partition(b"\r\n\r\n")[0]
        wanted = name.lower().encode() + b":"
        rows = head.split(b"\r\n")
        for at, row in enumerate(rows):
            if row[: len(wanted)].lower() == wanted:
                value = row[len(wanted) :]
                for more in rows[at + 1 :]:
                    if not more.startswith((b" ", b"\t")):
                        break
                    value += more
                return value.strip().decode("utf-8", "surrogateescape")
        return None


def read_status(line: bytes) -> Response | None:
    """Read a status line without its CRLF; None if it is none. `+OK`, `-ERR` or `+`, then SP or the end (sec-P3)."""
    word, _, rest = line.partition(b" ")
    try:
        status = Status(word.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    text = rest.decode("utf-8", "surrogateescape")
    if status is Status.CONTINUE:
        return Response(status, text)
    match = _CODE.match(text)
    return Response(status, text[match.end() :], match[1].upper()) if match else Response(status, text)


def stamp(greeting: str) -> str | None:
    """The timestamp that APOP needs: the first `<...@...>` of the greeting (RFC 1939 §7). One scan, no backtracking."""
    start = greeting.find("<")
    while start >= 0:
        end = greeting.find(">", start)
        if end < 0:
            return None
        start = greeting.rfind("<", start, end)
        found = greeting[start : end + 1]
        inside = found[1:-1]
        left, at, right = inside.rpartition("@")
        if len(found) <= _LONGEST_STAMP and left and at and right and all("!" <= ch <= "~" for ch in inside):
            return found
        start = greeting.find("<", end)
    return None
