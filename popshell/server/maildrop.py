"""Messages and maildrops of the practice server: numbers, octets, marks, the lock, and what UPDATE removes.

A Maildrop outlives sessions; an OpenMaildrop is one session's frozen view of it: message-numbers are given when it is
opened and never change (RFC 1939 §5). Files are read once and never written: a deletion lasts as long as the process.

Trap: only UPDATE removes (RFC 1939 §6). Whatever else ends a session calls `release()`, which keeps every message.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from popshell.protocol.wire import CRLF, stuff
from popshell.server.mimeheads import body_start, has_utf8_header

#: How much of a message is prepared at a time, in octets: a long one must not hold up the others.
SLICE = 256 * 1024
#: What a maildrop may hold (docs/reference-limits.md), in octets and messages.
LARGEST_MESSAGE = 25 * 1024 * 1024
LARGEST_MAILDROP = 256 * 1024 * 1024
MOST_MESSAGES = 10_000


class Message(NamedTuple):
    """One message as octets with CRLF line ends, and its unique-id (RFC 1939 §7: 1 to 70 characters 0x21 to 0x7E)."""

    content: bytes
    unique_id: str

    @property
    def octets(self) -> int:
        """Its size as LIST tells it: CRLF counted as two octets, no byte-stuffing (RFC 1939 §11)."""
        return len(self.content)

    @property
    def needs_utf8(self) -> bool:
        """Whether a header, its own or a part's, is in UTF-8 (RFC 6532 §3): for UTF-8 mode only (RFC 6856 §2.1)."""
        return has_utf8_header(self.content)

    def top(self, lines: int) -> bytes:
        """Header, empty line and the first `lines` lines of the body (RFC 1939 §7, TOP)."""
        end = body_start(self.content)
        for _ in range(lines):
            found = self.content.find(CRLF, end)
            if found < 0:
                return self.content
            end = found + 2
        return self.content[:end]


def from_files(files: Iterable[tuple[str, bytes]]) -> tuple[Message, ...]:
    """Messages from (name, octets) pairs, in the order of the names; line ends become CRLF, a last one is added."""
    messages: list[Message] = []
    seen: dict[str, int] = {}
    for _, raw in sorted(files):
        content = raw.replace(CRLF, b"\n").replace(b"\n", CRLF)
        if not content.endswith(CRLF):
            content += CRLF
        if not content.startswith(CRLF) and CRLF + CRLF not in content:
            content += CRLF  # a header with no body still ends with an empty line
        unique_id = base64.b32encode(hashlib.sha256(content).digest()[:10]).decode("ascii").lower()
        seen[unique_id] = seen.get(unique_id, 0) + 1
        # Two copies are two messages: their unique-ids differ (RFC 1939 §7).
        messages.append(Message(content, unique_id + (f".{seen[unique_id]}" if seen[unique_id] > 1 else "")))
    return tuple(messages)


class TooLarge(ValueError):
    """A mail that makes a maildrop larger than it may be; `name` is its file's."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def read_directory(folder: Path) -> tuple[Message, ...]:
    """The `.eml` files of a directory, read once; links that lead out of it are passed over.

    Raises OSError, and TooLarge.
    """
    files: list[tuple[str, bytes]] = []
    total, inside = 0, folder.resolve()
    for path in sorted(folder.iterdir()):
        if path.suffix != ".eml" or not path.is_file() or not path.resolve().is_relative_to(inside):
            continue
        size = path.stat().st_size
        total += size
        if size > LARGEST_MESSAGE or total > LARGEST_MAILDROP or len(files) >= MOST_MESSAGES:
            raise TooLarge(path.name)
        files.append((path.name, path.read_bytes()))
    return from_files(files)


def stuffed_slices(content: bytes) -> Iterator[bytes]:
    """`content` byte-stuffed and terminated (RFC 1939 §3), in slices; none is cut within a CRLF."""
    start = 0
    at_line_start = True
    while start < len(content):
        end = min(start + SLICE, len(content))
        if content[end - 1 : end + 1] == CRLF:
            end += 1
        piece = content[start:end]
        stuffed = piece.replace(b"\r\n.", b"\r\n..")
        if at_line_start and piece.startswith(b"."):
            stuffed = b"." + stuffed
        at_line_start = piece.endswith(CRLF)
        start = end
        yield stuffed
    yield b".\r\n" if at_line_start else b"\r\n.\r\n"


def stuffed_whole(content: bytes) -> bytes:
    """`content` byte-stuffed and terminated, at once: for short listings."""
    return stuff(content) + b".\r\n"


class Maildrop:
    """All messages of one account, and the lock: one session at a time (RFC 1939 §4)."""

    __slots__ = ("_holder", "last_login", "messages")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.messages = tuple(messages)
        self.last_login: float | None = None
        self._holder: OpenMaildrop | None = None

    @property
    def in_use(self) -> bool:
        return self._holder is not None

    def fork(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The message-numbers of the open session that would be left by QUIT, and by the line going dead.

        Played on copies: the session itself is untouched.
        """
        outcomes = []
        for update in (True, False):
            copy = Maildrop(self._holder.messages if self._holder else self.messages)
            opened = copy.open()
            assert opened is not None
            opened.marks |= self._holder.marks if self._holder else set()
            opened.update() if update else opened.release()
            kept = {message.unique_id for message in copy.messages}
            outcomes.append(tuple(n for n, m in enumerate(opened.messages, 1) if m.unique_id in kept))
        return outcomes[0], outcomes[1]

    def open(self) -> OpenMaildrop | None:
        """Take the lock and number the messages; None if another session holds it."""
        if self._holder is not None:
            return None
        self._holder = OpenMaildrop(self)
        return self._holder

    def release(self, opened: OpenMaildrop) -> None:
        """Give the lock back; every message stays."""
        if self._holder is opened:
            self._holder = None

    def remove(self, unique_ids: frozenset[str]) -> None:
        self.messages = tuple(m for m in self.messages if m.unique_id not in unique_ids)


class OpenMaildrop:
    """One session's maildrop: numbered from 1, with marks."""

    __slots__ = ("_maildrop", "marks", "messages")

    def __init__(self, maildrop: Maildrop) -> None:
        self._maildrop = maildrop
        self.messages = maildrop.messages
        self.marks: set[int] = set()

    def get(self, number: int) -> Message | None:
        """The message of that number, marked or not; None if there is none. Numbers never wrap."""
        return self.messages[number - 1] if 1 <= number <= len(self.messages) else None

    def unmarked(self) -> Iterator[tuple[int, Message]]:
        return ((n, m) for n, m in enumerate(self.messages, 1) if n not in self.marks)

    def drop_listing(self) -> tuple[int, int]:
        """Count and octets, marked messages left out (RFC 1939 §5, STAT)."""
        sizes = [message.octets for _, message in self.unmarked()]
        return len(sizes), sum(sizes)

    def update(self) -> None:
        """UPDATE: remove what is marked and give the lock back (RFC 1939 §6)."""
        self._maildrop.remove(frozenset(self.messages[n - 1].unique_id for n in self.marks))
        self.release()

    def release(self) -> None:
        self._maildrop.release(self)
