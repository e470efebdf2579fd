"""Messages, maildrops and accounts of the practice server: octets, marks, the lock, and what UPDATE removes.

A Maildrop outlives sessions; an OpenMaildrop is one session's frozen view of it: message-numbers are given when it is
opened and never change (RFC 1939 §5). Files are read once and never written: a deletion lasts as long as the process.

Trap: only UPDATE removes (RFC 1939 §6). Whatever else ends a session calls `release()`, which keeps every message.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import hmac
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

from popshell.protocol.sasl import prepared
from popshell.protocol.ways import token_facts
from popshell.protocol.wire import CRLF, stuff

#: How much of a long message is prepared at a time, in octets, so that it does not hold up other sessions.
SLICE = 256 * 1024
#: What a maildrop may hold (docs/reference-limits.md), in octets and messages.
LARGEST_MESSAGE = 25 * 1024 * 1024
LARGEST_MAILDROP = 256 * 1024 * 1024
MOST_MESSAGES = 10_000


class Message:
    """One message as octets with CRLF line ends, and its unique-id (RFC 1939 §7: 1 to 70 characters 0x21 to 0x7E)."""

    def __init__(self, content: bytes, unique_id: str) -> None:
        self.content, self.unique_id = content, unique_id
        #: prepared when first needed: a short content as it is sent; whether a long one has nothing to stuff
        self._stuffed: bytes | None = None
        self._unstuffed = False
        self._needs_utf8: bool | None = None
        self._surrogate: Message | None = None

    @property
    def octets(self) -> int:
        """Its size as LIST gives it: CRLF counted as two octets, no byte-stuffing (RFC 1939 §11)."""
        return len(self.content)

    @property
    def needs_utf8(self) -> bool:
        """Whether a header, its own or a part's, is in UTF-8 (RFC 6532 §3): for UTF-8 mode only (RFC 6856 §2.1)."""
        if self._needs_utf8 is None:
            self._needs_utf8 = has_utf8_header(self.content)
        return self._needs_utf8

    def surrogate(self) -> Message:
        """The same message in ASCII, for a client that did not give UTF8 (RFC 6856 §2.1); its unique-id stays."""
        if self._surrogate is None:
            self._surrogate = Message(in_ascii(self.content), self.unique_id)
        return self._surrogate

    def stuffed(self) -> bytes | Iterator[bytes]:
        """The content as it is sent: stuffed and terminated (RFC 1939 §3); a long one in slices."""
        if len(self.content) > SLICE:
            return self._slices()
        if self._stuffed is None:
            self._stuffed = stuffed_whole(self.content)
        return self._stuffed

    def _slices(self) -> Iterator[bytes]:
        if self._unstuffed:
            for start in range(0, len(self.content), SLICE):
                yield self.content[start : start + SLICE]
            yield _terminator(self.content)
            return
        sent = 0
        for piece in stuffed_slices(self.content):
            sent += len(piece)
            yield piece
        self._unstuffed = sent == len(self.content) + len(_terminator(self.content))

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
    """Messages from (name, octets) pairs, in the order of the names.

    Line ends become CRLF, a last one is added, and a byte order mark that an editor left is no part of the header.
    """
    messages: list[Message] = []
    seen: dict[str, int] = {}
    for _, raw in sorted(files):
        content = raw.removeprefix(codecs.BOM_UTF8).replace(CRLF, b"\n").replace(b"\n", CRLF)
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


def read_directory(where: str | os.PathLike[str]) -> tuple[Message, ...]:
    """The `.eml` files of a directory, in any case, read once; hidden ones and links out of it are passed over.

    Raises OSError, and TooLarge.
    """
    from pathlib import Path

    folder, files = Path(where), list[tuple[str, bytes]]()
    total, inside = 0, folder.resolve()
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".eml" or path.name.startswith(".") or not path.is_file():
            continue  # macOS writes `._NAME` beside NAME
        if not path.resolve().is_relative_to(inside):
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
    yield _terminator(content)


def stuffed_whole(content: bytes) -> bytes:
    """`content` byte-stuffed and terminated, at once: for what is short."""
    return stuff(content) + _terminator(content)


def _terminator(content: bytes) -> bytes:
    return b".\r\n" if content.endswith(CRLF) or not content else b"\r\n.\r\n"


class Maildrop:
    """All messages of one account, and the lock: one session at a time (RFC 1939 §4)."""

    __slots__ = ("_holder", "last_login", "messages", "octets")

    def __init__(self, messages: Iterable[Message] = (), octets: int | None = None) -> None:
        """`octets`: the sizes of all messages, if their sum is known already."""
        self.messages = tuple(messages)
        self.octets = sum(message.octets for message in self.messages) if octets is None else octets
        self.last_login: float | None = None
        self._holder: OpenMaildrop | None = None

    @property
    def in_use(self) -> bool:
        return self._holder is not None

    def fork(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The message-numbers of the open session that would be left by QUIT, and by a lost connection.

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

    def open(self, *, surrogates: bool = False) -> OpenMaildrop | None:
        """Take the lock and number the messages; None if another session holds it.

        With `surrogates` a message with UTF-8 in a header is seen in ASCII.
        """
        if self._holder is not None:
            return None
        self._holder = OpenMaildrop(self, surrogates)
        return self._holder

    def release(self, opened: OpenMaildrop) -> None:
        """Give the lock back; every message stays."""
        if self._holder is opened:
            self._holder = None

    def remove(self, unique_ids: frozenset[str]) -> None:
        self.messages = tuple(m for m in self.messages if m.unique_id not in unique_ids)
        self.octets = sum(message.octets for message in self.messages)


class OpenMaildrop:
    """One session's maildrop: numbered from 1, with marks."""

    __slots__ = ("_maildrop", "_octets", "marks", "messages")

    def __init__(self, maildrop: Maildrop, surrogates: bool = False) -> None:
        self._maildrop = maildrop
        self.messages = maildrop.messages
        self._octets = maildrop.octets
        if surrogates:
            self.messages = tuple(m.surrogate() if m.needs_utf8 else m for m in self.messages)
            self._octets = sum(m.octets for m in self.messages)
        self.marks: set[int] = set()

    def get(self, number: int) -> Message | None:
        """The message of that number, marked or not; None if there is none. Numbers never wrap."""
        return self.messages[number - 1] if 1 <= number <= len(self.messages) else None

    def unmarked(self) -> Iterator[tuple[int, Message]]:
        return ((n, m) for n, m in enumerate(self.messages, 1) if n not in self.marks)

    def drop_listing(self) -> tuple[int, int]:
        """Count and octets, marked messages left out (RFC 1939 §5, STAT)."""
        if not self.marks:
            return len(self.messages), self._octets
        marked = sum(self.messages[number - 1].octets for number in self.marks)
        return len(self.messages) - len(self.marks), self._octets - marked

    def update(self) -> None:
        """UPDATE: remove what is marked and give the lock back (RFC 1939 §6)."""
        if self.marks:
            self._maildrop.remove(frozenset(self.messages[n - 1].unique_id for n in self.marks))
        self.release()

    def release(self) -> None:
        self._maildrop.release(self)


class Accounts:
    """Names with their secrets, and a maildrop for each, which begins with the same messages."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        messages: Iterable[Message] = (),
        tokens: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`tokens` gives the name of each OAuth token, when they are first wanted."""
        self.secrets = secrets
        self._tokens = tokens
        #: what SCRAM's salts are made from
        self.salt_key = os.urandom(16)
        self.messages = tuple(messages)
        self.maildrops: dict[str, Maildrop] = {}
        self._octets = sum(message.octets for message in self.messages)

    @cached_property
    def tokens(self) -> Mapping[str, str]:
        """The name of each OAuth token; without any, no mechanism with tokens is served."""
        return self._tokens()

    @cached_property
    def _prepared(self) -> dict[str | None, str]:
        return {prepared(name, stored=True): secret for name, secret in self.secrets.items()}

    def secret_of(self, name: str) -> str | None:
        """The secret of the account `name`, prepared for comparison (RFC 4013); None if there is none."""
        return self._prepared.get(name)

    def token_of(self, token: str) -> str | None:
        """The name, as it is compared, whose token it is; an expired one is nobody's."""
        given = token.encode("utf-8", "surrogateescape")
        found = [name for one, name in self.tokens.items() if hmac.compare_digest(one.encode(), given)]
        facts = token_facts(token) if found else None
        if not found or (facts is not None and facts.expires is not None and facts.expires <= time.time()):
            return None
        return prepared(found[0], stored=True)

    @cached_property
    def need_utf8(self) -> bool:
        """Whether a name or a secret is not ASCII, so that CAPA has to say `UTF8 USER` (RFC 6856 §2.2)."""
        return not all(text.isascii() for account in self.secrets.items() for text in account)

    def maildrop_of(self, name: str) -> Maildrop:
        """The maildrop of an account."""
        if name not in self.maildrops:
            self.maildrops[name] = Maildrop(self.messages, self._octets)
        return self.maildrops[name]


# -- UTF-8 in headers --------------------------------------------------------------------------------------------------

#: How much of a header is searched for its Content-Type, in octets, and how many headers and delimiter lines are read.
LARGEST_HEADER = 64 * 1024
MOST_HEADERS = 1000
MOST_DELIMITERS = 10_000

# Compiled by `re` when first used, and kept. A field goes on in lines that begin with a blank (RFC 5322 §2.2.3).
_TYPE = rb"(?i)(?:\A|\r\n)content-type:[ \t]*(?:\r\n[ \t]+)*([^\s;]*)((?:[^\r\n]|\r\n[ \t])*)"
_BOUNDARY = rb'(?i);\s*boundary\s*=\s*(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))'
_DELIMITER = rb"\r\n--([^\r\n]{1,100})(?=\r\n|\Z)"
_MESSAGES = (b"message/rfc822", b"message/global")


def body_start(content: bytes, start: int = 0) -> int:
    """The offset after the empty line that ends the header at `start`; the end of `content` if there is none."""
    if content.startswith(CRLF, start):
        return start + 2  # no header at all
    found = content.find(CRLF + CRLF, start)
    return found + 4 if found >= 0 else len(content)


def has_utf8_header(content: bytes) -> bool:
    """Whether the header of a message, of a MIME part or of a message within is not ASCII (RFC 6532 §3).

    A body in 8bit is no header: every server sends it (RFC 2045 §2.8). One pass, without nesting: a delimiter line
    counts if a header before it declared its boundary and no closing delimiter took it back (RFC 2046 §5.1.1). What is
    beyond the limits counts as body. The standard library's parser has no limits and recurses.
    """
    if content.isascii():
        return False
    declared: dict[bytes, bytes] = {}  # boundary -> the type of a part that names none
    delimiters = itertools.islice(re.finditer(_DELIMITER, content), MOST_DELIMITERS)
    start, kind = 0, b""
    for _ in range(MOST_HEADERS):
        end = body_start(content, start)
        header = content[start:end]
        if not header.isascii():
            return True
        if (field := re.search(_TYPE, header[:LARGEST_HEADER])) is not None:
            kind = field[1].lower()
            if kind.startswith(b"multipart/") and (found := re.search(_BOUNDARY, field[2])):
                # RFC 2046 §5.1.5
                declared[found[1] or found[2]] = _MESSAGES[0] if kind == b"multipart/digest" else b""
        if kind in _MESSAGES:
            start, kind = end, b""
            continue
        for found in delimiters:
            name = found[1].rstrip(b" \t")
            if found.start() < end - 2:
                continue  # within the header; the first delimiter may follow the empty line at once
            if name in declared:
                start, kind = found.end() + 2, declared[name]
                break
            declared.pop(name.removesuffix(b"--"), None)
        else:
            return False
    return False


def in_ascii(content: bytes) -> bytes:
    """A message for clients without UTF8: header fields as encoded-words (RFC 2047), bodies in base64 (RFC 2045 §6.8).

    Of a message that cannot be taken apart only the header fields that are ASCII are left.
    """
    from email import message_from_bytes, policy  # takes 10 ms; only such a message needs it

    try:
        parsed = message_from_bytes(content, policy=policy.SMTP)
        for part in parsed.walk():
            for name, value in list(part.raw_items()):
                if not str(value).isascii():
                    part.replace_header(name, " ".join(_in_utf8(str(value)).split()))
            body = part.get_payload(decode=True)
            encoding = str(part["Content-Transfer-Encoding"]).lower()
            if isinstance(body, bytes) and not body.isascii() and encoding not in ("base64", "quoted-printable"):
                del part["Content-Transfer-Encoding"]
                part["Content-Transfer-Encoding"] = "base64"
                if part.get_content_maintype() == "text" and part.get_content_charset() is None:
                    part.set_param("charset", "utf-8")
                part.set_payload(base64.encodebytes(body).decode("ascii"))
        encoded = parsed.as_bytes()
    except Exception:  # a mail may be broken in any way
        encoded = b""
    if encoded and encoded.isascii():
        return encoded if encoded.endswith(CRLF) else encoded + CRLF
    fields = re.findall(rb"(?m)^[!-9;-~]+:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", content[: body_start(content)])
    return b"".join(field for field in fields if field.isascii()) + CRLF


def _in_utf8(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
