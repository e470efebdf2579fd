"""Octets on the wire: CRLF lines, limits, byte-stuffing, base64. Both ends read through this file.

Only CRLF ends a line and only CRLF.CRLF a multi-line reply (RFC 1939 §3). Limits belong here, to the reader: tight for
status and command lines, generous for mail (2,048 octets a line breaks real mail, odoo#10920).

Traps: the same bytes must give the same result however TCP cuts them. So every decision here depends on *offsets* in
the stream, never on what happened to arrive together; of several limits the one that is crossed first wins.
Nothing loops per line: a 10 MB mail is searched and un-stuffed in whole blocks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable

from popshell.tuples import NamedTuple

CRLF = b"\r\n"
_STUFFED = re.compile(rb"\r\n\.")


class ReplyLimits(NamedTuple):
    """How much a client takes, in octets unless said otherwise (docs/reference-limits.md)."""

    status_line: int = 8 * 1024
    content_line: int = 1024 * 1024
    content: int = 64 * 1024 * 1024
    capability_lines: int = 1_000
    listing_lines: int = 200_000
    #: of lines that no command asked for, since the last reply: how many are kept, and how many end the connection
    unasked_kept: int = 50
    unasked_lines: int = 1_000
    #: for how long they may keep coming, in seconds, and the silence after which that time begins anew
    unasked_time: float = 10.0
    unasked_pause: float = 3.0


class WireError(Exception):
    """The stream is not what the protocol allows. `code` is stable; `raw` are the bytes that show it, and are taken."""

    def __init__(self, code: str, raw: bytes) -> None:
        super().__init__(code)
        self.code = code
        self.raw = raw


class Stream:
    """Takes the content of a reply as it comes, byte-stuffing undone; the record keeps its length and hash alone.

    No limit holds for it: what takes the octets has to bear them. `octets` and `lines` are what was handed on, `raw` is
    how much of the reply that was on the wire, terminator included. `used` is whether the line was sent at all.
    """

    __slots__ = ("_hash", "_take", "fresh", "lines", "octets", "raw", "used")

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._hash = hashlib.sha256()
        self.octets = self.lines = self.raw = 0
        self.used = False
        #: whether what comes next is the beginning of a line
        self.fresh = True

    @property
    def sha256(self) -> str:
        """SHA-256 over what was handed on, in hexadecimal."""
        return self._hash.hexdigest()

    def take(self, raw: bytes) -> None:
        """Hand on octets as they came, which end within no line end and before no stuffed dot."""
        piece = _STUFFED.sub(CRLF, raw)  # of few matches in much, quicker than bytes.replace
        if self.fresh and piece.startswith(b"."):
            piece = piece[1:]
        self.fresh = raw.endswith(CRLF) if raw else self.fresh
        self.octets += len(piece)
        self.lines += piece.count(b"\n")  # of one octet: quicker
        self._hash.update(piece)
        self._take(piece)


class ReplyReader:
    """Cuts what a server sends into status lines and multi-line contents."""

    __slots__ = ("_buffer", "_checked", "_limits", "_rows", "_scanned")

    def __init__(self, limits: ReplyLimits) -> None:
        self._buffer = bytearray()
        self._limits = limits
        self._restart()

    def _restart(self) -> None:
        self._scanned = 0  # no terminator begins before it
        self._checked = 0  # a line begins here, and all lines before it are short enough
        self._rows = 0  # CRLFs before _scanned

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def held(self) -> bytes:
        """What has arrived and was not taken yet."""
        return bytes(self._buffer)

    def __len__(self) -> int:
        return len(self._buffer)

    def _take(self, end: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:end]
        self._restart()
        return taken

    def take_all(self) -> bytes:
        return self._take(len(self._buffer))

    def status_line(self) -> bytes | None:
        """The next status line with its CRLF, or None while it is not whole.

        Raises WireError: `tls` (a TLS record where text is due), `bare-lf`, `status-too-long`.
        """
        buffer = self._buffer
        if buffer.startswith((b"\x14\x03", b"\x15\x03", b"\x16\x03", b"\x17\x03")):
            raise WireError("tls", self._take(2))
        end = buffer.find(b"\n", self._scanned, self._limits.status_line)
        if end < 0:
            if len(buffer) >= self._limits.status_line:
                raise WireError("status-too-long", self._take(self._limits.status_line))
            self._scanned = len(buffer)
            return None
        if end == 0 or buffer[end - 1] != 13:
            raise WireError("bare-lf", self._take(end + 1))
        return self._take(end + 1)

    @property
    def at_reply(self) -> bool:
        """Whether what comes next is a status line, and so no row of a list."""
        return self._buffer.startswith((b"+OK ", b"+OK\r", b"-ERR ", b"-ERR\r"))

    def content(self, most_rows: int | None) -> bytes | None:
        """The next multi-line content as sent, stuffed, with its terminator; None while it is not whole.

        `most_rows` bounds the number of lines of a listing. Raises WireError: `line-too-long`, `content-too-long`,
        `too-many-lines`.
        """
        buffer = self._buffer
        end = -1
        if buffer[:3] == b".\r\n":
            end = 3
        else:
            found = buffer.find(b"\r\n.\r\n", max(0, self._scanned - 4))
            if found >= 0:
                end = found + 5
        whole = end >= 0
        stop = end if whole else len(buffer)
        self._bound(stop, most_rows)
        if whole:
            return self._take(end)
        self._scanned = len(buffer)
        return None

    def stream(self, to: Stream, *, last: bool = False) -> bool:
        """Hand on what has come of a content that is not kept; True at its terminator. `last`: no more will come."""
        buffer, before = self._buffer, len(self._buffer)
        found = -2 if to.fresh and buffer.startswith(b".\r\n") else buffer.find(b"\r\n.\r\n")
        if found != -1:
            to.take(self._take(found + 2))
            self._take(3)
        else:
            end = before if last else max(before - 4, 0)  # four octets may begin the terminator
            to.take(self._take(end - (not last and buffer[end - 1 : end] == b"\r")))
        to.raw += before - len(buffer)
        return found != -1

    def _bound(self, stop: int, most_rows: int | None) -> None:
        """Raise for the limit that the first `stop` octets cross first."""
        buffer, limits = self._buffer, self._limits
        crossed: list[tuple[int, str]] = []
        if stop > limits.content:
            crossed.append((limits.content + 1, "content-too-long"))
        width = limits.content_line + 2
        while self._checked + width <= stop:
            last = buffer.rfind(CRLF, self._checked, self._checked + width)
            if last < 0:
                crossed.append((self._checked + width, "line-too-long"))
                break
            self._checked = last + 2
        if most_rows is not None:
            # A CRLF may straddle the last scan: begin one octet early, at most one is then counted anew only if whole.
            start = self._scanned - 1 if self._scanned and buffer[self._scanned - 1] == 13 else self._scanned
            rows = buffer.count(CRLF, start, stop)
            most = most_rows + 1  # the terminator's line is none of the listing
            if self._rows + rows > most:
                at = start
                for _ in range(most - self._rows + 1):
                    at = buffer.find(CRLF, at, stop) + 2
                crossed.append((at, "too-many-lines"))
            self._rows += rows
        if crossed:
            at, code = min(crossed)
            raise WireError(code, self._take(at))


class LineReader:
    """Cuts what a client sends into lines, for the server and for an observer.

    An over-long line is thrown away *through its CRLF* and reported once as None, so that its tail is never taken for
    a command; what stands before the end of the stream without CRLF is nothing (sec-V1).
    """

    __slots__ = ("_after_lf", "_discarding", "_limit", "_scanned", "buffer")

    def __init__(self, limit: int) -> None:
        """`limit`: the longest line taken, in octets, CRLF included."""
        #: what has come and was not taken yet
        self.buffer = bytearray()
        self._limit = limit
        self._scanned = 0
        self._discarding = False
        self._after_lf = False  # what comes is the rest of a line with a bare LF

    def feed(self, data: bytes) -> None:
        self.buffer += data

    @property
    def pending(self) -> bool:
        """Whether anything is left that is not a whole line yet, or is one not taken yet."""
        return bool(self.buffer) or self._discarding

    @property
    def head(self) -> bytes:
        """The first two octets of the line that comes next."""
        return b"" if self._discarding or self._after_lf else bytes(self.buffer[:2])

    def clear(self) -> None:
        self.buffer.clear()
        self._scanned = 0
        self._discarding = self._after_lf = False

    def next_line(self) -> bytes | bool | None:
        """The next line without CRLF; False if none is whole yet; None for one that was too long.

        A bare LF ends no line, but a client that sends it waits for an answer: what stands before it is given with the
        LF, and the rest of the line, through its CRLF, is nothing.
        """
        buffer = self.buffer
        while (end := buffer.find(b"\n", self._scanned) + 1) > 0:
            text = bytes(buffer[:end])
            del buffer[:end]
            self._scanned = 0
            whole = text.endswith(CRLF)
            if self._discarding:
                if whole:
                    self._discarding = False
                    return None
            elif self._after_lf:
                self._after_lf = not whole
                if not whole:
                    return b"\n"
            elif end > self._limit:
                if whole:
                    return None
                self._discarding = True
            elif whole:
                return text[:-2]
            else:
                self._after_lf = True
                return text
        if len(buffer) > self._limit:
            # Keep a last CR: its LF may come next.
            buffer[:] = buffer[-1:] if buffer[-1:] == b"\r" else b""
            self._discarding = not self._after_lf
        self._scanned = len(buffer)
        return False


def stuff(content: bytes) -> bytes:
    """Byte-stuff: a line that begins with a dot gets one more (RFC 1939 §3). The very first octet counts, too."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def unstuff(raw: bytes) -> bytes:
    """Undo `stuff` on content as sent, terminator included: it is cut off, and every line loses one leading dot."""
    body = raw[:-3].replace(b"\r\n.", b"\r\n")
    return body[1:] if body.startswith(b".") else body


def stuffed_lines(raw: bytes) -> int:
    """How many lines of content as sent, terminator included, carry a stuffed dot."""
    return raw.count(b"\r\n.", 0, -3) + raw.startswith(b".", 0, -3)


def from_base64(line: str | bytes) -> bytes | None:
    """The octets that a base64 line stands for; None if it is none, which includes characters outside the alphabet."""
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None
