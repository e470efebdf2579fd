"""Whether a message has UTF-8 in a header, its own or that of a part: such a one is for UTF-8 mode (RFC 6856 §2.1).

RFC 6532 §3 allows UTF-8 in the header fields of a message, of a MIME part, and of a message within a message. A body in
8bit is no header: it is older than UTF-8 mode (RFC 2045 §2.8), and every server sends it. So the parts are looked for,
in octets and without the `email` package, which no start should pay for; a message all in ASCII is not looked into.

It is bounded whatever the mail says: where the bounds end, what is left counts as body.
"""

from __future__ import annotations

import re

from popshell.protocol.wire import CRLF

#: How much of a header is read for its Content-Type, in octets.
LARGEST_HEAD = 64 * 1024
#: How deep parts lie within parts, and how many there are, until nobody looks any more.
DEEPEST = 50
MOST_PARTS = 1000

# Compiled by `re` when first used, and kept: no start pays for them. A field goes on in lines that begin with a blank
# (RFC 5322 §2.2.3).
_TYPE = rb"(?i)(?:\A|\r\n)content-type:((?:[^\r\n]|\r\n[ \t])*)"
_ENCODING = rb"(?i)(?:\A|\r\n)content-transfer-encoding:[ \t]*(?:\r\n[ \t]+)*(base64|quoted-printable)"
_BOUNDARY = rb'(?i);\s*boundary\s*=\s*(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))'

_PLAIN, _MESSAGE = b"text/plain", b"message/rfc822"


def body_start(content: bytes, start: int = 0, end: int | None = None) -> int:
    """Where the body begins that belongs to the header at `start`: behind the first empty line, or nowhere."""
    if end is None:
        end = len(content)
    if content.startswith(CRLF, start, end):
        return start + 2  # no header at all
    found = content.find(CRLF + CRLF, start, end)
    return found + 4 if found >= 0 else end


def has_utf8_header(content: bytes) -> bool:
    """Whether a header of `content` or of a part of it holds octets outside ASCII."""
    if content.isascii():
        return False
    waiting = [(0, len(content), 0, _PLAIN)]
    for _ in range(MOST_PARTS):
        if not waiting:
            break
        start, end, depth, usual = waiting.pop()
        body = body_start(content, start, end)
        head = content[start:body]
        if not head.isascii():
            return True
        if depth < DEEPEST:
            kind, boundary = _content_type(head[:LARGEST_HEAD], usual)
            if boundary:
                within = _MESSAGE if kind == b"multipart/digest" else _PLAIN  # RFC 2046 §5.1.5
                room = MOST_PARTS - len(waiting)
                waiting += [(*part, depth + 1, within) for part in _parts(content, body, end, boundary, room)]
            elif kind in (_MESSAGE, b"message/global") and not re.search(_ENCODING, head[:LARGEST_HEAD]):
                waiting.append((body, end, depth + 1, _PLAIN))
    return False


def _content_type(head: bytes, usual: bytes) -> tuple[bytes, bytes]:
    """Type and subtype in lower case, and the boundary of a multipart (RFC 2045 §5.1)."""
    field = re.search(_TYPE, head)
    if field is None:
        return usual, b""
    kind = field[1].partition(b";")[0].strip().lower()
    found = re.search(_BOUNDARY, field[1]) if kind.startswith(b"multipart/") else None
    return kind, (found[1] or found[2]) if found else b""


def _parts(content: bytes, start: int, end: int, boundary: bytes, most: int) -> list[tuple[int, int]]:
    """Where the parts between the boundary lines are (RFC 2046 §5.1.1); the last one may lack its end."""
    line = re.compile(rb"\r\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    found: list[tuple[int, int]] = []
    begin = -1
    # The first one may be the first line of the body: its CRLF is the end of the header.
    for match in line.finditer(content, max(0, start - 2), end):
        if begin >= 0:
            found.append((begin, match.start()))
        if match[1] or len(found) >= most:
            return found
        begin = min(match.end() + 2, end)
    return [*found, (begin, end)] if begin >= 0 else found
