"""The practice server without sockets: bytes in, bytes out. `net/listener.py` gives it a port, `rehearse()` none.

A MailServer holds what sessions share: accounts, maildrops with their lock, limits, faults, words. A ServerSession is
one connection. It *pulls*: `feed()` only stores bytes, `next_chunk()` gives the next piece of output and serves the
next line only when the last reply has gone out, so that the peer's pace bounds the memory and no reply of 20 MB holds
up a room.

What is legal is judged by the same `parse` that the client's prompt uses; a reply's words come from `replies.toml`.
Faults (`Conditions`) are set by the process that runs the server, never by a verb of the protocol (sec-V12).
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, CommandSpec, Context, Kind, State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import CommandLine, advance, parse, tls_on
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import MECHANISMS, Mechanism, Run, encode_line, prepared
from popshell.protocol.wire import CRLF, LineReader
from popshell.server.faults import Conditions, Limits
from popshell.server.handlers import HANDLERS, Reply, auth_answer
from popshell.server.maildrop import Maildrop, Message, OpenMaildrop
from popshell.words import fill

#: Behind the seconds of a stamp, so that two connections in one second, to any servers of this process, differ.
_SERIAL = itertools.count(1)

#: A line of HTTP: a method and what it is asked of, or the version behind it (RFC 9112 §3). A message-number is asked
#: of nothing: `DELETE 1` is a learner's slip. Compiled by `re` when first used, and kept: no start pays for it.
_HTTP = rb"(?is)(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE)[ \t](?![ \t]*[0-9]+[ \t]*\Z)|.*[ \t]HTTP/"

#: The commands that each CAPA tag announces.
_ANNOUNCED = {tag: tuple(spec for spec in COMMANDS.values() if spec.capability == tag) for tag in CAPABILITIES}

#: Text of a reply by its key, in one language.
Texts = Mapping[str, str]


class MailServer:
    """What all sessions share. `languages` maps a tag to the language's own name; `texts(tag)` gives its replies."""

    def __init__(
        self,
        accounts: Mapping[str, str],
        languages: Mapping[str, str],
        texts: Callable[[str], Texts],
        messages: tuple[Message, ...] = (),
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        conditions: Conditions = Conditions(),  # noqa: B008 (frozen)
        clock: Callable[[], float] = time.monotonic,
        new_stamp: Callable[[], str] | None = None,
        offers_tls: bool = True,
        implementation: str = "PopShell",
        host: str = "popshell.example",
    ) -> None:
        self.accounts = accounts
        self.languages = languages
        self.texts = texts
        self.messages = messages
        self.limits = limits
        self.conditions: Conditions = conditions
        self.clock = clock
        self.new_stamp = new_stamp
        self.offers_tls = offers_tls
        self.implementation: str = implementation
        self.host = host
        self.maildrops: dict[str, Maildrop] = {}

    def secret_of(self, name: str) -> str | None:
        """The secret of the account whose name, as it is compared, is `name`; all are looked at, to take equal time."""
        return {prepared(account, stored=True): secret for account, secret in self.accounts.items()}.get(name)

    @property
    def takes_utf8_names(self) -> bool:
        """Whether an account has a name or a secret that is not ASCII, so that CAPA has to say so (RFC 6856 §2.2)."""
        return not all(text.isascii() for account in self.accounts.items() for text in account)

    def maildrop_of(self, name: str) -> Maildrop:
        """The maildrop of an account; each begins with the same messages."""
        if name not in self.maildrops:
            self.maildrops[name] = Maildrop(self.messages)
        return self.maildrops[name]

    def stamp(self) -> str:
        """A timestamp that differs each time: "<process-ID.clock@hostname>" (RFC 1939 §7, APOP)."""
        if self.new_stamp is not None:
            return self.new_stamp()
        return f"<{os.getpid()}.{int(time.time())}{next(_SERIAL):03}@{self.host}>"

    def session(self, *, tls: bool = False) -> ServerSession:
        return ServerSession(self, tls=tls)


class ServerSession:
    """One connection of the practice server. Attributes without underscore are for handlers and the listener.

    The owner must: call `feed()` with what arrives; write every `next_chunk()` until it gives None; start TLS when
    `starts_tls` is set and all is written, then call `tls_started()`; close when `closing` is set and all is written;
    call `expire()` at `deadline()`; call `lost()` when the line is gone, however it went.
    """

    __slots__ = (
        "_bad",
        "_chunks",
        "_dead",
        "_first",
        "_heard",
        "_line",
        "_line_since",
        "_lines",
        "_served",
        "_wake",
        "awaiting",
        "closing",
        "context",
        "failed_logins",
        "language",
        "name",
        "opened",
        "server",
        "stamp",
        "starts_tls",
    )

    def __init__(self, server: MailServer, *, tls: bool = False) -> None:
        self.server: MailServer = server
        #: where the session stands; `advance` moves it
        self.context = Context(tls=tls)
        self.stamp = server.stamp()
        self.name = ""
        self.language = next(iter(server.languages))
        self.awaiting: Run | None = None
        self.opened: OpenMaildrop | None = None
        self.closing = False
        self.starts_tls = False
        self.failed_logins = 0
        self._lines = LineReader(server.limits.line)
        #: the command under way: answers to challenges are answers to it
        self._line: CommandLine | None = None
        self._bad = 0
        self._served = 0
        self._dead = False
        self._first = True
        self._wake = 0.0
        self._heard = server.clock()
        self._line_since: float | None = None
        self._chunks: Iterator[bytes] | None = self._greeting()

    # -- for the listener --------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Store what the peer sent; nothing is served yet."""
        if self.closing or self._dead:
            return
        self._lines.feed(data)
        if self._first and self._lines.head == b"\x16\x03":
            self.closing = True  # a TLS hello on a clear-text port: no reply would be understood
            return
        if self._line_since is None and self._lines.pending:
            self._line_since = self.server.clock()

    def next_chunk(self) -> bytes | None:
        """The next piece to write; None if there is nothing to say now."""
        while self.server.clock() >= self._wake:
            if self._chunks is not None:
                chunk = next(self._chunks, None)
                if chunk is not None:
                    return chunk
                self._chunks = None
                # A reply that took long on a slow line is no silence of the client.
                self._heard = self.server.clock()
                self._line_since = self._heard if self._lines.pending else None
            if self.closing or self.starts_tls or self._dead:
                return None
            line = self._lines.next_line()
            if line is False:
                if not self._lines.pending:
                    self._line_since = None
                return None
            self._heard = self.server.clock()
            self._line_since = self._heard if self._lines.pending else None
            self._chunks = self._serve(line if isinstance(line, bytes) else None)
        return None

    @property
    def wake(self) -> float:
        """When `next_chunk()` has to be asked again although nothing arrived: a delayed reply. 0 if never."""
        return self._wake

    def deadline(self) -> float:
        """When `expire()` is due: autologout, in every state (RFC 1939 §3), or a line that is never finished."""
        due = self._heard + self.server.limits.autologout
        if self._line_since is not None:
            due = min(due, self._line_since + self.server.limits.line_time)
        return due

    def expire(self) -> bool:
        """Autologout without a reply and without UPDATE (RFC 1939 §3). True if it was due."""
        if self.server.clock() < self.deadline():
            return False
        self.lost()
        return True

    def lost(self) -> None:
        """The line is gone: the lock is given back, every message stays (RFC 1939 §6)."""
        self.closing = True
        self._chunks = None
        if self.opened is not None:
            self.opened.release()
            self.opened = None

    def tls_started(self) -> None:
        """TLS is on. Nothing from before it is kept (sec-V8)."""
        self.starts_tls = False
        self.context = tls_on(self.context)
        self._lines.clear()
        self.name = ""

    # -- for handlers ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.context.state

    @property
    def tls(self) -> bool:
        return self.context.tls

    @property
    def needs_tls(self) -> bool:
        """Whether a password in clear text is refused here and now."""
        return self.server.conditions.require_tls and not self.tls

    @property
    def maildrop(self) -> OpenMaildrop:
        assert self.opened is not None
        return self.opened

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return tuple(m for m in MECHANISMS.values() if not (m.clear_text and self.needs_tls))

    def serves(self, tag: str) -> bool:
        """Whether capability `tag` holds here and now."""
        row = CAPABILITIES[tag]
        if tag in self.server.conditions.without or (row.within and not self.serves(row.within)):
            return False
        if tag == "LOGIN-DELAY":
            return self.server.conditions.login_delay is not None
        return all(self._may_serve(spec) for spec in _ANNOUNCED.get(tag, ()))

    def _may_serve(self, spec: CommandSpec) -> bool:
        """Whether a command can lead anywhere in this session, whatever its state."""
        if spec.starts_tls and (self.tls or not self.server.offers_tls):
            return False
        if self.needs_tls and any(param.kind is Kind.SECRET for param in spec.params):
            return False
        if spec.continues and not self.mechanisms:
            return False
        return not self.context.done.intersection(spec.not_after)

    def wait_after_failure(self) -> None:
        limits = self.server.limits
        if limits.login_wait:
            doublings = min(self.failed_logins - 1, 30)  # without a bound it overflows a float at the 1,025th
            wait = min(limits.login_wait * 2**doublings, limits.login_wait_most)
            self._wake = self.server.clock() + wait

    # -- serving -----------------------------------------------------------------------------------------------------

    def _greeting(self) -> Iterator[bytes]:
        text = fill(self.server.texts(self.language)["greeting"], {"stamp": self.stamp}) or ""
        yield f"+OK {text}\r\n".encode()

    def _serve(self, raw: bytes | None) -> Iterator[bytes]:
        """Serve one line; None is one that was too long. Yields the reply."""
        dead_after = self.server.conditions.line_goes_dead_after
        if dead_after is not None and self._served >= dead_after:
            self._dead = True
            return
        self._served += 1
        first, self._first = self._first, self._first and raw is not None and not raw.strip()
        if raw is not None and first and re.match(_HTTP, raw):
            # A web page in somebody's browser speaks to this port: no conversation (sec-V11).
            self.closing = True
            yield self._words(Reply(False, "http"))
            return
        if raw is None:
            self.awaiting = None
            # As a first line it may be HTTP with a long path: what follows would be served (sec-V11).
            self.closing = first
            self._line = parse("", self.context)
            reply = Reply(False, "too-long")
        elif self.awaiting is not None:
            reply = auth_answer(self, raw.decode("utf-8", "surrogateescape"))
        else:
            self._line = parse(raw.decode("utf-8", "surrogateescape"), self.context)
            reply = self._judge(self._line)
        if reply.challenge is not None:
            yield b"+ " + encode_line(reply.challenge).encode() + CRLF
            return
        assert self._line is not None
        self.context = advance(self.context, self._line, reply.ok)
        if reply.ok:
            self.starts_tls = self._line.spec is not None and self._line.spec.starts_tls
            self._bad = 0
        else:
            self._count_bad(reply)
        if self.starts_tls and self._lines.pending:
            # Commands behind STLS in the same flight: an injection, or a client that did not wait (RFC 2595 §4).
            self.starts_tls = False
            self.closing = True
            reply = Reply(False, "stls-pipelined")
        words = self._words(reply)
        if self._wake > self.server.clock():
            yield b""  # let the caller see that there is a wait before the words
        if reply.content is None:
            yield words
            return
        yield words + next(reply.content, b"")
        yield from reply.content

    def _judge(self, line: CommandLine) -> Reply:
        """Refuse what the table refuses, else let the handler serve it."""
        spec = line.spec
        if spec is not None and (spec.name not in HANDLERS or self._switched_off(spec.capability)):
            return Reply(False, "historic" if spec.historic else "unknown-command")
        if (objection := line.objection) is not None:
            return Reply(False, objection.code)
        assert spec is not None
        return HANDLERS[spec.name](self, line)

    def _switched_off(self, tag: str | None) -> bool:
        return tag is not None and tag in self.server.conditions.without

    def _count_bad(self, reply: Reply) -> None:
        most = self.server.limits.bad_commands
        self._bad += not reply.ok
        if most is not None and self._bad >= most:
            self.closing = True

    def _words(self, reply: Reply) -> bytes:
        """The status line in the session's language."""
        if reply.raw is not None:
            text = reply.raw
        else:
            text = fill(self.server.texts(self.language)[reply.key], reply.facts) or ""
        code = f"[{reply.code}] " if reply.code and self.serves(RESPONSE_CODES[reply.code].capability) else ""
        return f"{'+OK' if reply.ok else '-ERR'} {code}{text}\r\n".encode()


def rehearse(
    lines: Iterable[str], server: MailServer, *, tls: bool = False, then: Callable[[ServerSession], None] | None = None
) -> list[Exchange]:
    """Play `lines` on `server` without sockets, each after the reply to the last; the greeting is the first record.

    A line after `+OK` to STLS is under TLS. `then` sees the session before it is lost.
    """
    session = server.session(tls=tls)
    connection = Connection(tls=tls)
    out: list[Exchange] = []

    def pump() -> None:
        while (chunk := session.next_chunk()) is not None:
            out.extend(e for e in connection.received(chunk) if not isinstance(e, Challenge))
        if session.starts_tls:
            session.tls_started()
            connection.tls_started()
        if session.closing:
            out.extend(e for e in connection.close() if not isinstance(e, Challenge))

    pump()
    for line in lines:
        if connection.closed:
            break
        data = line.encode("utf-8", "surrogateescape") + CRLF
        connection.sent(data)
        session.feed(data)
        pump()
    if then is not None:
        then(session)
    session.lost()
    return out
