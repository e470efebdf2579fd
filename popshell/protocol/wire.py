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
from io import BytesIO

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


#: RFC 5322 §2.1.1: octets of a line of a mail, CRLF not counted.
LONGEST_MAIL_LINE = 998


def too_long(octets: bytes | bytearray, start: int, stop: int, longest: int) -> int:
    """Where the first line crosses `longest`, CRLF not counted; -1 if none does. The first begins at `start`, which is
    negative if some of it is not in `octets`."""
    while start + longest + 2 <= stop:
        last = octets.rfind(CRLF, max(start, 0), start + longest + 2)
        if last < 0:
            return start + longest + 2
        start = last + 2
    return -1


class Counts(NamedTuple):
    """What is known of a content without another look at it: whole lines, LFs that end none, dots that were stuffed."""

    lines: int = 0
    bare: int = 0
    stuffed: int = 0
    #: whether a line is longer than LONGEST_MAIL_LINE
    long: bool = False


class Unstuffing:
    """Undoes byte-stuffing in a content that comes in pieces, which end within no CRLF."""

    __slots__ = ("fresh", "stuffed")

    def __init__(self) -> None:
        #: whether what comes next is the beginning of a line
        self.fresh = True
        self.stuffed = 0

    def undo(self, raw: bytes) -> bytes:
        piece, count = _STUFFED.subn(CRLF, raw)  # of few matches in much, quicker than bytes.replace
        if self.fresh and piece.startswith(b"."):
            piece, count = piece[1:], count + 1
        self.fresh = raw.endswith(CRLF) if raw else self.fresh
        self.stuffed += count
        return piece


class Stream:
    """Takes the content of a reply as it comes, byte-stuffing undone; the record keeps its length and hash alone.

    No limit holds for it: what takes the octets has to bear them. `octets` and `lines` are what was handed on, `raw` is
    how much of the reply that was on the wire, terminator included. `used` is whether the line was sent at all.
    """

    __slots__ = ("_hash", "_take", "_unstuffing", "lines", "octets", "raw", "used")

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._hash = hashlib.sha256()
        self._unstuffing = Unstuffing()
        self.octets = self.lines = self.raw = 0
        self.used = False

    @property
    def sha256(self) -> str:
        """SHA-256 over what was handed on, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def fresh(self) -> bool:
        return self._unstuffing.fresh

    def take(self, raw: bytes) -> None:
        """Hand on octets as they came."""
        piece = self._unstuffing.undo(raw)
        self.octets += len(piece)
        self.lines += piece.count(b"\n")  # of one octet: quicker
        self._hash.update(piece)
        self._take(piece)


class Kept:
    """A content that is kept as it comes. Nothing is copied or counted at its end: that would take 0.5 s for 60 MB."""

    __slots__ = ("_long", "_part", "_plain", "_raw", "_unstuffing", "bare", "lines", "octets", "part")

    def __init__(self, before: bytes) -> None:
        """`before` is what stands before it in the record: the status line."""
        self._raw, self._plain, self._unstuffing = BytesIO(), BytesIO(), Unstuffing()
        self._raw.write(before)
        #: of the content as sent: its octets, its whole lines, LFs that end none, the octets of the line not yet whole
        self.octets = self.lines = self.bare = self.part = 0
        self._part, self._long = 0, False

    def __len__(self) -> int:
        """How many octets there are, with what stands before."""
        return self._raw.tell()

    @property
    def raw(self) -> bytes:
        """What is before it, and itself as it was sent."""
        return self._raw.getvalue()  # no copy, unless more is added while it is in use

    @property
    def plain(self) -> bytes:
        """Byte-stuffing undone, without the terminator."""
        return self._plain.getvalue()

    @property
    def counts(self) -> Counts:
        return Counts(self.lines, self.bare, self._unstuffing.stuffed, self._long)

    def head(self, octets: int) -> bytes:
        """The first octets of what is before it and itself."""
        with self._raw.getbuffer() as held:
            return bytes(held[:octets])

    def tail(self, octets: int) -> bytes:
        """Its last octets as they were sent."""
        with self._raw.getbuffer() as held:
            return bytes(held[len(held) - min(octets, self.octets) :])

    def add(self, raw: bytes, terminator: bytes = b"") -> None:
        """Take what came, which ends within no CRLF, and what ends the content."""
        plain = self._unstuffing.undo(raw)
        self._raw.write(raw + terminator)
        self._plain.write(plain)
        self.octets += len(raw)
        lines = raw.count(CRLF)
        self.lines += lines
        self.bare += raw.count(b"\n") - lines
        self._long = self._long or too_long(plain, -self._part, len(plain), LONGEST_MAIL_LINE) >= 0
        self.part, self._part = (
            len(octets) - octets.rfind(CRLF) - 2 if lines else begun + len(octets)
            for octets, begun in ((raw, self.part), (plain, self._part))
        )


class ReplyReader:
    """Cuts what a server sends into status lines and multi-line contents."""

    __slots__ = ("_buffer", "_kept", "_limits", "_scanned")

    def __init__(self, limits: ReplyLimits) -> None:
        self._buffer = bytearray()
        self._kept: Kept | None = None  # the content under way; what may begin its terminator is in the buffer
        self._limits = limits
        self._scanned = 0  # no status line ends before it

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def held(self) -> bytes:
        """What has arrived and was not taken yet."""
        return self.head(len(self))

    def head(self, octets: int) -> bytes:
        """The first octets of it."""
        kept = self._kept.head(octets) if self._kept is not None else b""
        return kept + self._buffer[: octets - len(kept)]

    def __len__(self) -> int:
        return len(self._buffer) + (len(self._kept) if self._kept is not None else 0)

    @property
    def line_ends(self) -> int:
        """How many LFs have come of the status line or the content that is under way."""
        kept = self._kept
        return self._buffer.count(b"\n") + (kept.lines + kept.bare if kept is not None else 0)

    @property
    def has_line(self) -> bool:
        """Whether a whole line has come of it."""
        return (self._kept is not None and self._kept.lines > 0) or CRLF in self._buffer

    def tail(self, octets: int) -> bytes:
        """The last octets of what has come of the status line or the content that is under way."""
        last = bytes(self._buffer[-octets:])
        return (self._kept.tail(octets - len(last)) if self._kept is not None else b"") + last

    def _cut(self, end: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:end]
        return taken

    def _take(self, end: int) -> bytes:
        """What is kept, and as much of what is not."""
        taken, kept, self._kept, self._scanned = self._cut(end), self._kept, None, 0
        if kept is None:
            return taken
        kept.add(taken)
        return kept.raw

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
    def begun(self) -> bool:
        """Whether something of the status line or the content that is due has come."""
        return bool(self._buffer) or (self._kept is not None and self._kept.octets > 0)

    @property
    def at_reply(self) -> bool:
        """Whether what comes next is a status line, and so no row of a list."""
        kept = self._kept
        return not (kept is not None and kept.octets) and self._buffer.startswith(
            (b"+OK ", b"+OK\r", b"-ERR ", b"-ERR\r")
        )

    def begin(self, before: bytes) -> None:
        """A content begins; `before` counts as not taken yet, and is given with it, or with what breaks it."""
        self._kept = Kept(before)

    def give_up(self) -> bytes:
        """If a content was begun, it does not come: what was before it."""
        return self._take(0) if self._kept is not None else b""

    def content(self, most_rows: int | None) -> Kept | None:
        """The multi-line content that was begun, terminator included; None while it is not whole.

        `most_rows` bounds the number of lines of a listing. Raises WireError: `line-too-long`, `content-too-long`,
        `too-many-lines`.
        """
        buffer, kept = self._buffer, self._kept
        assert kept is not None
        found = -2 if not kept.octets and buffer.startswith(b".\r\n") else buffer.find(b"\r\n.\r\n")
        whole = found != -1
        self._bound(kept, found + 5 if whole else len(buffer), most_rows)
        if whole:
            kept.add(self._cut(found + 2), self._cut(3))
            self._kept = None
            return kept
        kept.add(self._cut(self._sure()))
        return None

    def stream(self, to: Stream, *, last: bool = False) -> bool:
        """Hand on what has come of a content that is not kept; True at its terminator. `last`: no more will come."""
        buffer, before = self._buffer, len(self._buffer)
        found = -2 if to.fresh and buffer.startswith(b".\r\n") else buffer.find(b"\r\n.\r\n")
        if found != -1:
            to.take(self._cut(found + 2))
            self._cut(3)
        else:
            to.take(self._cut(before if last else self._sure()))
        to.raw += before - len(buffer)
        return found != -1

    def _sure(self) -> int:
        """How much of the buffer is content whatever comes: four octets may begin the terminator, a CR a line's end."""
        end = max(len(self._buffer) - 4, 0)
        return end - (self._buffer[end - 1 : end] == b"\r")

    def _bound(self, kept: Kept, stop: int, most_rows: int | None) -> None:
        """Raise for the limit that what is kept and the first `stop` octets of the buffer cross first."""
        buffer, limits = self._buffer, self._limits
        crossed: list[tuple[int, str]] = []
        if kept.octets + stop > limits.content:
            crossed.append((limits.content + 1 - kept.octets, "content-too-long"))
        if (at := too_long(buffer, -kept.part, stop, limits.content_line)) >= 0:
            crossed.append((at, "line-too-long"))
        if most_rows is not None:
            most = most_rows + 1 - kept.lines  # the terminator's line is none of the listing
            if buffer.count(CRLF, 0, stop) > most:
                at = 0
                for _ in range(most + 1):
                    at = buffer.find(CRLF, at, stop) + 2
                crossed.append((at, "too-many-lines"))
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
