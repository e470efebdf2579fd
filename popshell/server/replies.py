"""Replies of the practice server: what a handler decides, and its status line in the words of `replies.toml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from popshell.protocol.wire import CRLF
from popshell.tuples import NamedTuple
from popshell.words import fill

#: Text of a reply by its key, in one language.
Texts = Mapping[str, str]
#: How many status lines are kept ready.
_KEPT = 1024


class Reply(NamedTuple):
    """A reply before it has words: `key` names a text of `replies.toml`; `raw` is a text that no language changes."""

    ok: bool
    key: str = ""
    facts: Mapping[str, object] = MappingProxyType({})
    code: str = ""
    #: the multi-line part as it is sent, whole or in pieces
    content: bytes | Iterator[bytes] | None = None
    raw: str | None = None
    #: what AUTH's `+ ` asks with (RFC 5034 §4)
    challenge: bytes | None = None


def error(key: str, code: str = "", **facts: object) -> Reply:
    return Reply(False, key, facts, code)


_GREETING = Reply(True, "greeting", {"stamp": "\0"})


class Refused(Exception):
    """How a handler gives an error from within."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Words:
    """Status lines in all languages; each is made once for the same facts."""

    def __init__(self, texts: Callable[[str], Texts]) -> None:
        """`texts(tag)` gives the texts in the language of a tag."""
        self._texts = texts
        self._made: dict[tuple[object, ...], bytes] = {}

    def status_line(self, language: str, reply: Reply, code: str = "") -> bytes:
        """The status line of `reply`, with the response code `code` if there is one (RFC 2449 §8)."""
        if reply.raw is not None:
            return f"{'+OK' if reply.ok else '-ERR'} {reply.raw}\r\n".encode()
        key = (language, reply.ok, reply.key, code, *reply.facts.values())
        line = self._made.get(key)
        if line is None:
            text = fill(self._texts(language).get(reply.key, ""), reply.facts) or ""
            words = ("+OK" if reply.ok else "-ERR", code and f"[{code}]", text)
            line = " ".join(filter(None, words)).encode() + CRLF
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[key] = line
        return line

    def greeting(self, language: str, stamp: str) -> bytes:
        """The greeting with its timestamp, which is different each time (RFC 1939 §7, APOP); "" for none."""
        line = self.status_line(language, _GREETING)
        return line.replace(b"\0" if stamp else b" \0", stamp.encode())
