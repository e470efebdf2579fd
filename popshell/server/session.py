"""One connection of the practice server, without a socket: octets in, octets out.

A ServerSession *pulls*: `feed()` only stores octets, `next_chunk()` gives the next piece of output and serves the next
line only when the last reply has gone out. So the peer's pace bounds the memory, and a reply of 20 MB does not hold up
other sessions. `net.peer.PeerSession` says what its owner has to do.

What is legal is judged by the same `parse` that the client's prompt uses; a reply's words come from `replies.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, CommandSpec, Context, Kind
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import CommandLine, Token, advance, parse, tls_on
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import Mechanism, Verifier, encode_line, prepared
from popshell.protocol.wire import CRLF, LineReader
from popshell.server.maildrop import OpenMaildrop
from popshell.server.replies import Refused, Reply, error
from popshell.server.settings import Settings
from popshell.tuples import NamedTuple

#: A line of HTTP: a method and its target, or the version at the end (RFC 9112 §3). A message-number is no target:
#: `DELETE 1` is a learner's slip. Compiled by `re` when first used, and kept: no start pays for it.
_HTTP = rb"(?is)(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE)[ \t](?![ \t]*[0-9]+[ \t]*\Z)|.*[ \t]HTTP/"

#: The commands that each CAPA tag announces.
_ANNOUNCED = {tag: tuple(spec for spec in COMMANDS.values() if spec.capability == tag) for tag in CAPABILITIES}


class Hooks(NamedTuple):
    """What the faults of one session do, in the order of the table FAULTS; each function has its own state bound."""

    #: before a line is judged; None in place of it for one that is too long or answers AUTH. May answer it.
    on_line: tuple[Callable[[ServerSession, CommandLine | None], Reply | None], ...] = ()
    #: when a name is proved, before its maildrop is opened. May refuse.
    on_login: tuple[Callable[[ServerSession, str], Reply | None], ...] = ()
    #: when a reply is decided. Gives the reply that is sent.
    on_reply: tuple[Callable[[ServerSession, CommandLine | None, Reply], Reply], ...] = ()
    #: each piece of output, the greeting included. Gives the octets that are sent.
    on_octets: tuple[Callable[[ServerSession, bytes], bytes], ...] = ()
    #: whether a capability is withheld, or one argument of it (a SASL mechanism)
    withholds: tuple[Callable[[ServerSession, str, str], bool], ...] = ()


NO_HOOKS = Hooks()
Handler = Callable[["ServerSession", CommandLine], Reply]
#: Where a session stands at its greeting, without TLS and with it.
_AT_FIRST = (Context(), Context(tls=True))


class _Judged(NamedTuple):
    """A line as it is judged in one Context; `refusal` is what the table answers in place of a handler."""

    line: CommandLine
    refusal: Reply | None
    #: where `+OK` and `-ERR` lead, once one was given
    after: dict[bool, Context]


def _judge(text: str, context: Context) -> _Judged:
    line = parse(text, context)
    return _Judged(line, error(line.objection.code) if line.objection is not None else None, {})


_judge_once = lru_cache(maxsize=2048)(lambda text, *context: _judge(text, Context(*context)))

#: Commands whose lines cannot hold a secret, and those whose only argument is one.
_WITHOUT_SECRET = tuple(
    spec.name
    for spec in COMMANDS.values()
    if not any(param.kind in (Kind.SECRET, Kind.DIGEST, Kind.INITIAL) for param in spec.params)
)
_SECRET_ONLY = tuple(f"{spec.name} " for spec in COMMANDS.values() if [p.kind for p in spec.params] == [Kind.SECRET])


def _judged(text: str, context: Context) -> _Judged:
    """The same as `_judge`, remembered for short lines. No secret is remembered: `x` is judged in its place."""
    if len(text) < 64 and text.isascii() and text.isprintable():
        if text.startswith(_WITHOUT_SECRET):
            return _judge_once(text, *context[:4])
        verb, _, secret = text.partition(" ")
        if secret and not secret.endswith(" ") and text.startswith(_SECRET_ONLY):
            (_, spec, (keyword, shown), diagnostics, judged_in), refusal, after = _judge_once(f"{verb} x", *context[:4])
            tokens = (keyword, Token(shown.start, len(text), secret, shown.role, shown.param))
            return _Judged(CommandLine(text, spec, tokens, diagnostics, judged_in), refusal, after)
    return _judge(text, context)


class ServerSession:
    """One connection. Attributes without underscore are for handlers, faults and the owner."""

    # More than thirty attributes: without slots, each session would have a hash table of its own, and be slow.
    __slots__ = (  # noqa: SIM905
        "_content _errors _first _handlers _hooks _judged _last_activity _line_since _lines _observer _replying "
        "_shutting_down _status _watch answer_auth binding certificate client clock closing context failed_logins "
        "language limits name opened settings stamp starts_tls unresponsive user wake"
    ).split()

    def __init__(
        self,
        settings: Settings,
        handlers: Mapping[str, Handler],
        hooks: Hooks = NO_HOOKS,
        *,
        tls: bool = False,
        client: str = "",
        observer: Callable[[ServerSession, Exchange | None], None] | None = None,
    ) -> None:
        """`observer` gets each Exchange as the client sees it, None at the end; without one no Connection is made."""
        self.settings = settings
        #: where the client is, `127.0.0.1:49152`; "" without a socket
        self.client = client
        self.clock = settings.clock
        self.limits = settings.limits
        #: where the session stands; `advance` moves it
        self.context = _AT_FIRST[tls]
        self._hooks = hooks
        #: for APOP; without it a greeting has none (RFC 1939 §7)
        self.stamp = "" if self.withholds("APOP") else settings.new_stamp()
        self.language = next(iter(settings.languages))
        #: the name that USER gave, for PASS
        self.name = ""
        #: the account whose maildrop was opened
        self.user = ""
        #: takes the next line in place of the commands: the answer to AUTH's challenge
        self.answer_auth: Callable[[str], Reply] | None = None
        #: of TLS: tls-server-end-point's data (RFC 5929 §4), and the name that the client's certificate has proved
        self.binding: bytes | None = None
        self.certificate: str | None = None
        self.opened: OpenMaildrop | None = None
        self.failed_logins = 0
        self.closing = False
        self.starts_tls = False
        #: nothing is served or sent any more, and the connection is not closed either
        self.unresponsive = False
        self.wake = 0.0
        self._handlers = handlers
        self._lines = LineReader(self.limits.line)
        self._judged: _Judged | None = None  # the command under way: an answer to a challenge is part of it
        self._errors = 0  # in a row
        self._first = True  # no line was served yet
        self._shutting_down = False
        self._last_activity = self.clock()
        self._line_since: float | None = None  # when an unfinished line was first seen
        self._status: bytes | None = settings.words.greeting(self.language, self.stamp)
        self._content: Iterator[bytes] | None = None
        self._replying = True  # until the reply has gone out
        self._observer = observer
        self._watch: Connection | None = None
        if observer is not None:
            self._watch = Connection(self._last_activity, longest_line=self.limits.line, tls=tls)

    # -- for the owner -----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Store what the peer sent; nothing is served yet."""
        if self.closing or self.unresponsive:
            return
        if self._watch is not None:
            self._report(self._watch.sent(data, self.clock()))
        self._lines.feed(data)
        if self._judged is None and self._lines.head == b"\x16\x03":
            self.closing = True  # a TLS hello on a clear-text port: no reply would be understood

    def next_chunk(self) -> bytes | None:
        """The next piece to write; None if there is nothing to write now."""
        piece = self._next_piece()
        if piece is None or (self._hooks is NO_HOOKS and self._watch is None):
            return piece
        for alter in self._hooks.on_octets:
            piece = alter(self, piece)
        if self._watch is not None:
            self._report(self._watch.received(piece, self.clock()))
        return piece

    def deadline(self) -> float:
        """When `expire()` is due: autologout, in every state (RFC 1939 §3), or a line that is never finished."""
        due = self._last_activity + self.limits.autologout
        if self._line_since is not None:
            due = min(due, self._line_since + self.limits.line_time)
        return due

    def expire(self) -> bool:
        """Autologout without a reply and without UPDATE (RFC 1939 §3). True if it was due."""
        if self.clock() < self.deadline():
            return False
        self.lost()
        return True

    def lost(self) -> None:
        """The connection has ended: the lock is given back, every message stays (RFC 1939 §6)."""
        self.close_now()
        if self.opened is not None:
            self.opened.release()
            self.opened = None
        if self._watch is not None and self._observer is not None:
            self._report(self._watch.close(self.clock()))
            self._watch = None
            self._observer(self, None)

    def tls_started(self, binding: bytes | None = None, certificate: str = "") -> None:
        """TLS is on. Nothing that came in clear text is kept (sec-V8). `certificate` is the name in the client's."""
        self.binding, self.certificate = binding, prepared(certificate) or None
        self.starts_tls = False
        self.context = tls_on(self.context)
        self._lines.clear()
        if self._watch is not None:
            self._watch.tls_started()

    def refuse(self) -> None:
        """In place of the greeting: too many connections. No command is served."""
        self._status = self._words(error("too-many-connections", "SYS/TEMP"))
        self.closing = True

    def shut_down(self) -> None:
        """The server ends: the reply on its way is the last, then the client is informed, and the session closes.

        A line that no command asked for is outside RFC 1939; Dovecot sends one, too. Nothing is deleted.
        """
        self._shutting_down = not self.closing and not self.unresponsive and not self.starts_tls

    # -- for handlers and faults -------------------------------------------------------------------------------------

    @property
    def maildrop(self) -> OpenMaildrop:
        assert self.opened is not None
        return self.opened

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """The SASL mechanisms that may be used here and now, the best first."""
        return tuple(
            row
            for row in MECHANISMS.values()
            if (self.context.tls or not row.only_under_tls)
            and self.is_set(row)
            and (self.binding is not None or not row.binds)
            and (self.certificate is not None or row.proof != "certificate")
            and not self.withholds("SASL", row.name)
        )

    def is_set(self, mechanism: Mechanism) -> bool:
        """Whether the server is set to serve a mechanism, and has what it is about."""
        names = self.settings.faults.get("mechanisms", ("PLAIN",))
        assert isinstance(names, tuple)
        return mechanism.name in names and (mechanism.proof != "token" or bool(self.settings.accounts.tokens))

    def verifier(self) -> Verifier:
        """What the server's side of a mechanism works with."""
        accounts, iterations = self.settings.accounts, self.settings.faults.get("iterations", 4096)
        assert isinstance(iterations, int)
        return Verifier(
            accounts.secret_of,
            self.settings.new_stamp(),
            accounts.token_of,
            self.certificate,
            self.binding if any(row.binds for row in self.mechanisms) else None,
            iterations,
            accounts.salt_key,
        )

    def withholds(self, tag: str, argument: str = "") -> bool:
        """Whether a fault keeps back the capability `tag`, or one argument of it."""
        return any(hook(self, tag, argument) for hook in self._hooks.withholds)

    def serves(self, tag: str) -> bool:
        """Whether capability `tag` holds here and now."""
        row = CAPABILITIES[tag]
        if self.withholds(tag) or (row.within and not self.serves(row.within)):
            return False
        if tag == "LOGIN-DELAY":
            return "login_delay" in self.settings.faults
        return all(self._may_serve(spec) for spec in _ANNOUNCED[tag])

    def _may_serve(self, spec: CommandSpec) -> bool:
        """Whether a command can lead anywhere in this session, whatever its state."""
        if spec.starts_tls and self.context.tls:
            return False
        if spec.continues and not self.mechanisms:
            return False
        return not self.context.done.intersection(spec.not_after)

    def refuse_login(self, name: str) -> Reply | None:
        """What a fault answers to a login as `name`, whose secret was right; None to let it in."""
        for hook in self._hooks.on_login:
            if (reply := hook(self, name)) is not None:
                return reply
        return None

    def wait_after_failure(self) -> None:
        """Delay the reply to a failed login: `login_wait`, doubled by each failure, up to `login_wait_most`."""
        limits = self.limits
        if limits.login_wait:
            doublings = min(self.failed_logins - 1, 30)  # without a bound it overflows a float at the 1,025th
            self.wake = self.clock() + min(limits.login_wait * 2**doublings, limits.login_wait_most)

    def close_now(self) -> None:
        """Close at once: what was not given out by `next_chunk()` is dropped."""
        self.closing = True
        self._status = self._content = None

    # -- serving -----------------------------------------------------------------------------------------------------

    def _next_piece(self) -> bytes | None:
        if self.wake:
            if self.clock() < self.wake:
                return None
            self.wake = 0.0
        while True:
            if (status := self._status) is not None:
                self._status = None
                return status
            if self._content is not None:
                piece = next(self._content, None)
                if piece is not None:
                    return piece
                self._content = None
            if self._replying:
                # A reply that took long on a slow connection is no silence of the client.
                self._replying = False
                self._last_activity = self.clock()
            if self._shutting_down:
                self._shutting_down, self.closing = False, True
                return self._words(error("shutting-down", "SYS/TEMP"))
            if not self._lines.buffer or self.closing or self.starts_tls or self.unresponsive:
                return None
            line = self._lines.next_line()
            if line is False:
                if not self._lines.pending:
                    self._line_since = None
                elif self._line_since is None:
                    self._line_since = self.clock()
                return None
            self._line_since = None
            self._last_activity = self.clock()
            self._serve(line if isinstance(line, bytes) else None)
            if self.wake:
                return None

    def _serve(self, raw: bytes | None) -> None:
        """Serve one line, None for one that was too long; `_next_piece` gives the reply next."""
        answer = self.answer_auth
        if answer is not None:
            self.answer_auth = None
        text = raw.decode("utf-8", "surrogateescape") if raw is not None else ""
        if answer is None or raw is None:
            self._judged = _judged(text, self.context)
        judged, reply, hooks = self._judged, None, self._hooks
        assert judged is not None
        line = judged.line if raw is not None and answer is None else None
        if hooks is not NO_HOOKS:
            for on_line in hooks.on_line:
                reply = reply or on_line(self, line)
            if self.unresponsive:
                return
        if self._first or raw is None or raw.endswith(b"\n"):
            reply = self._no_command(raw, judged, reply)
        if reply is None:
            reply = answer(text) if answer is not None else self._handle(judged)
        if hooks is not NO_HOOKS:
            for on_reply in hooks.on_reply:
                reply = on_reply(self, line, reply)
        self._replying = True
        if reply.challenge is not None:
            self._status = b"+ " + encode_line(reply.challenge).encode() + CRLF
            return
        self._move(judged, reply.ok)
        if self.starts_tls and self._lines.pending:
            # Commands after STLS in the same flight: an injection, or a client that did not wait (RFC 2595 §4).
            self.starts_tls = False
            self.closing = True
            reply = error("stls-pipelined")
        self._status = self._words(reply)
        if (content := reply.content) is None:
            return
        if isinstance(content, bytes):
            self._status += content
        else:
            self._content = content

    def _no_command(self, raw: bytes | None, judged: _Judged, reply: Reply | None) -> Reply | None:
        """The refusal of what cannot be a line of POP3; `reply`, of a fault, stands before it."""
        first, self._first = self._first, self._first and raw is not None and not raw.strip()
        if reply is not None:
            return reply
        if raw is None:
            # As a first line it may be HTTP with a long path: what follows would be served (sec-V11).
            self.closing = first
            return error("too-long")
        bare = raw.endswith(b"\n")
        if first and (bare or judged.line.spec is None or b"HTTP/" in raw.upper()) and re.match(_HTTP, raw):
            # A web page in a browser connects to this port: no conversation (sec-V11).
            self.closing = True
            return error("http")
        return error("bare-lf") if bare else None

    def _handle(self, judged: _Judged) -> Reply:
        """Refuse what the table refuses, else let the handler serve it."""
        spec = judged.line.spec
        handler = self._handlers.get(spec.name) if spec is not None else None
        if spec is not None and handler is None:
            return error("historic" if spec.historic else "unknown-command")
        if judged.refusal is not None:
            return judged.refusal
        assert handler is not None  # a line without a command is refused by the table
        try:
            return handler(self, judged.line)
        except Refused as refused:
            return refused.reply

    def _move(self, judged: _Judged, ok: bool) -> None:
        """Move the state by the table, and count errors in a row."""
        after = judged.after.get(ok)
        if after is None:
            after = judged.after[ok] = advance(self.context, judged.line, ok)
        self.context = after
        if ok:
            spec = judged.line.spec
            self.starts_tls = spec is not None and spec.starts_tls
            self._errors = 0
            return
        self._errors += 1
        if self.limits.bad_commands is not None and self._errors >= self.limits.bad_commands:
            self.closing = True

    def _words(self, reply: Reply) -> bytes:
        """The status line in the session's language; the response code only where CAPA promises it."""
        code = reply.code
        if code and not self.serves(RESPONSE_CODES[code].capability):
            code = ""
        return self.settings.words.status_line(self.language, reply, code)

    def _report(self, events: list[Exchange | Challenge]) -> None:
        assert self._observer is not None
        for event in events:
            if isinstance(event, Exchange):
                self._observer(self, event)
