"""Replay: the events of a log go through the engine of the shell, a Connection for each session."""

from __future__ import annotations

import re
from collections.abc import Iterable

from popshell.logs.formats import Format
from popshell.logs.text import ANNOUNCED, CLIENT, HIDDEN, OTHER, SERVER, TOOL, UNKNOWN, Event, answered, greetings
from popshell.logs.verdict import Entry, Session, tool_fault
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.line import parse
from popshell.protocol.records import Exchange, Problem
from popshell.protocol.secrets import MASK, masked_answer, secrets_in

#: What tools say that begin with TLS.
_TLS = re.compile(
    r":995\b|pop3s|port 995|isSSL true|Handshake was completed|verify return|SSL connection using|CONNECTED\("
    r"|--starttls"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}$")


def sessions(form: Format, events: list[Event]) -> list[Session]:
    """Replay the events of a log, a session for each connection."""
    found: list[_Replay] = []
    open_ones: dict[str, _Replay] = {}
    live: set[str] = set()
    greets = greetings(events)
    for event in events:
        replay = open_ones.get(event.key)
        if replay is None and event.kind != "begin" and (other := open_ones.get("")) is not None:
            replay = None if event.key and event.source != TOOL and other.session.spoke else other
        if event.source == TOOL and not event.key and found:
            replay = found[-1]
        begins = event.kind == "begin" and replay is not None and replay.session.spoke
        if replay is None or begins or replay.is_over(event, id(event) in greets):
            replay = _Replay(form)
            found.append(replay)
        open_ones[event.key] = replay
        replay.take(event)
        (live.discard if replay.ended else live.add)(event.key)
        replay.session.mixed |= form.mixes and len(live) > 1 and not replay.ended
    for replay in found:
        replay.finish()
    all_of_them = [replay.session for replay in found]
    silent = [session for session in all_of_them if session.closed or session.begun]
    return [one for one in all_of_them if one.spoke] or silent[-1:] or all_of_them[:1] or [Session()]


class _Replay:
    """Feeds one session to a Connection."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self.session = Session(unseen="replies" in form.hides, begun=form.typed)
        self.connection = Connection(tls=False)
        self.content = False  # a status line came whose content is due
        self.rows = 0  # lines of it that the log shows
        self.bare = False  # one of them stood without a mark
        self.octets = 0  # octets of it that came
        self.hidden = 0  # octets of it that came and are not shown
        self.held: dict[str, bytes] = {}
        self.reply: Entry | None = None
        self.last: Entry | None = None
        self.greeted = False
        self.opaque = False  # TLS began: what goes over the line cannot be read
        self.quit = False
        self.before: list[tuple[bytes, Entry]] = []  # of a reply within which the log begins

    @property
    def left(self) -> bool:
        """Whether QUIT was answered."""
        return self.quit and self.connection.pending == 0

    @property
    def ended(self) -> bool:
        return self.session.closed is not None or not self.session.spoke or self.left

    # -- what comes --------------------------------------------------------------------------------------------------

    def is_over(self, event: Event, greets: bool) -> bool:
        """Whether `event` belongs to the next connection: this one was closed or left by QUIT, or `event` greets."""
        begins = greets and self.greeted and (self.content or not self.connection.pending)
        if begins or event.kind not in ("data", "hidden", "begin", "alone", "alone-many"):
            return begins
        if self.session.closed is not None and not self.held.get(event.source):
            return event.source == SERVER and event.octets.startswith((b"+OK", b"-ERR"))
        if "replies" in self.form.hides and event.source == CLIENT:
            return self.quit
        return self.left and event.source == SERVER and event.octets.startswith(b"+OK") and not self.connection.broken

    def take(self, event: Event) -> None:
        kind = event.kind
        if kind in ("data", "content", "alone", "alone-many"):
            return self._data(event)
        entry = Entry(event, event.text)
        self.session.entries.append(entry)
        self.session.begun |= kind == "begin"
        self.session.gaps &= kind != "late"
        if kind == "hidden":
            self._hidden(entry)
        elif kind == "accepted":
            if self.greeted or self.form.bare:
                entry.assumed = True
                self._reply(b"+OK\r\n", entry)
            else:
                self.session.greeting = False
                self._greet_unseen(entry)
        elif kind in ("refused", "stray"):
            self._refused(event, entry)
        elif kind == "count":
            self._count(event, entry)
        elif kind == "ends":
            if not self._tool_fault():  # after a time-out the message may be printed later
                self._end_content(entry)
        elif kind == "closed" and self.session.closed is None:
            self.session.closed = event
            if self.session.spoke:
                self._break_off()
        elif kind == "unfit":
            self.session.unfit = self.session.unfit or event
        elif kind in ("fetched", "ended"):
            self._prose(event, kind)
        elif kind == "stage" and self.content and "message" in entry.text:  # it stands for content
            entry.content, entry.event = True, event._replace(source=SERVER)
        elif kind == "greeting":
            self.session.greeting = not self.greeted
        if kind in ("noise", "broken", "renegotiate", "closed", "begin", "ends"):
            self._tool(event)

    def _tool(self, event: Event) -> None:
        self.session.tool.append(event)
        if not self.session.spoke and _TLS.search(event.text):
            self.session.tls = True
            self.connection.here = self.connection.here._replace(tls=True)

    def _data(self, event: Event) -> None:
        source, data = event.source, event.octets
        self.opaque = self.opaque or (source == CLIENT and data.startswith(b"\x16\x03"))
        if self.opaque:
            self.session.tls = True
            return self._tool(event._replace(source=TOOL, kind="noise", octets=b""))
        marked = self.content and self.bare and event.text and event.kind == "data"
        if marked and not 0 < self._announced() <= self.octets:
            # A message's text that looks like a marked line: the message has not ended.
            source, data = SERVER, event.text.encode("utf-8", "replace") + b"\r\n"
            event = event._replace(source=source, kind="content", octets=data)
        if event.kind == "content" and not self.content:
            return self._tool(event._replace(source=TOOL, kind="noise", text=data.decode("utf-8", "replace").rstrip()))
        entry = Entry(event, data.decode("utf-8", "surrogateescape").rstrip("\r\n"))
        data = self.held.pop(source, b"") + data
        self.session.entries.append(entry)
        if not data.endswith(b"\n"):
            self.held[source] = data
            if source == SERVER and self.content:
                self.last, entry.content = entry, True
                self.rows += 1
                self.octets += len(data)
            return
        if source == CLIENT:
            self._client(data, entry)
        elif source == SERVER:
            self._server(data, entry, event.kind)
        else:
            line = parse(entry.text, self.connection.here)
            entry.text = line.redacted()
            self.session.secrets.update(line.secrets)

    def _client(self, data: bytes, entry: Entry) -> None:
        self._greet_unseen(entry)
        self.session.spoke = True
        one_dot = self.last is not None and re.match(r"\.[^.]", self.last.text)  # some clients take it for the end
        if "content" in self.form.hides or self.form.unstuffed or self.hidden or one_dot:
            self._end_content(entry)
        if "replies" in self.form.hides and not (self._authenticating() and parse(entry.text).spec is None):
            self._assume(entry)
        data = HIDDEN.sub(rb"\1 " + MASK.encode(), data).rstrip(b"\r\n") + b"\r\n"
        line = parse(entry.text, self.connection.here)
        if not self.connection.challenged:
            if "commands" in self.form.hides and line.spec and line.spec.must_follow:
                self.connection.here = self.connection.here._replace(follows=line.spec.must_follow)
            # A log that begins within a session: the first command that fits one state alone tells where it stands.
            first = self.session.gaps and not self.session.exchanges and self.connection.pending == 0
            here, states = self.connection.here, list(line.spec.transitions) if line.spec else []
            if first and not here.done and here.state is State.AUTHORIZATION and states == [State.TRANSACTION]:
                self._move(State.TRANSACTION)
            if "replies" in self.form.hides and line.spec is None and self._authenticating():
                self._reply(b"+ \r\n", Entry(Event(entry.event.line, UNKNOWN, "assumed"), assumed=True))
        if self.connection.challenged:
            self.session.secrets.update(secrets_in(entry.text))
            entry.text = masked_answer(entry.text)
        else:
            entry.text = MASK if line.spec is None and _BASE64.match(entry.text) else line.redacted()
            self.session.secrets.update(line.secrets)
            self.quit = self.quit or line.name == "QUIT"
            if line.name == "PASS" and line.secrets:  # the engine needs no password, and keeps each that it gets
                data = f"PASS {MASK}\r\n".encode()
        if not self.content:
            self.last = entry
        self._take_in(self.connection.sent(data), entry)

    def _authenticating(self) -> bool:
        due = self.connection.due()
        return due is not None and due.command is not None and due.command.continues

    def _move(self, state: State) -> None:
        self.connection.here = self.connection.here._replace(state=state)
        self._state(state, self.session.entries[-1])

    def _greet_unseen(self, entry: Entry) -> None:
        """The greeting is not in the log."""
        if not self.greeted:
            self.greeted = self.session.gaps = True
            self.connection.received(b"+OK\r\n")
            self._state(State.AUTHORIZATION, entry)

    def _server(self, data: bytes, entry: Entry, kind: str) -> None:
        self.session.spoke = self.session.heard = True
        if kind.startswith("alone"):
            return self._alone(data, entry, many=kind == "alone-many")
        if self.content:
            status = data.startswith((b"+OK", b"-ERR"))
            if status and "content" in self.form.hides and not self.rows and self.connection.pending > 1:
                self._end_content(entry)
            else:
                return self._row(data, entry, kind)
        first = data.decode("utf-8", "replace")
        greets = first.startswith(("+OK", "-ERR")) or OTHER.match(first)
        if not self.greeted and (self.before or not greets):
            entry.content = True
            return self.before.append((data, entry))
        self.greeted = True
        self._reply(data, entry)

    def _row(self, data: bytes, entry: Entry, kind: str) -> None:
        entry.content = True
        if not self.rows and data.rstrip() == b"." and self.session.entries[-2].event.kind == "stage":
            return self._end_content(entry)  # a direction stands for the lines before it
        self.last = entry
        self.bare |= kind == "content"
        if kind == "content" and data.startswith(b"."):
            data = b"." + data
        data = data.removesuffix(b"\n").removesuffix(b"\r") + b"\r\n"
        self.rows += 1
        self.octets += len(data) - data.startswith(b".")
        self._take_in(self.connection.received(data), entry)

    def _reply(self, data: bytes, entry: Entry) -> None:
        self.reply = self.last = entry
        self.rows = self.octets = self.hidden = 0
        self.bare = False
        due = self.connection.pending
        out = self.connection.received(data)
        self._take_in(out, entry)
        self.content = not out and due > 0 and not self.connection.broken

    def _take_in(self, events: Iterable[Exchange | Challenge], entry: Entry) -> None:
        for event in events:
            if isinstance(event, Challenge):
                continue
            # Masking is done for the whole log at once; a copy in each exchange would grow with their square.
            event = event._replace(secrets=())
            self.content = False
            where = self.reply if self.reply is not None and self.reply.exchange is None else entry
            where.exchange = event
            self.session.exchanges.append((event, where))
            self._moved(event, entry)
        if self.connection.wants_tls:
            self.connection.tls_started()
            self.session.tls = True

    def _moved(self, exchange: Exchange, entry: Entry) -> None:
        if exchange.after in (State.AUTHORIZATION, State.TRANSACTION, State.UPDATE):
            self._state(exchange.after, entry)
        self.session.marks = exchange.maildrop.marks or self.session.marks
        if exchange.name == "RSET" and exchange.ok:
            self.session.marks = frozenset()
        if exchange.name == "QUIT" and exchange.ok and exchange.before is State.TRANSACTION:
            self.session.erased, self.session.marks = exchange.maildrop_before.marks, frozenset()

    def _state(self, state: State, entry: Entry) -> None:
        if self.session.states[-1:] != [state]:
            self.session.states.append(state)
            entry.state = state

    # -- what the log leaves out -------------------------------------------------------------------------------------

    def _end_content(self, entry: Entry) -> None:
        """The tool went on: the content that it does not show has ended."""
        if not self.content or self.reply is None:
            return
        reply, view, known = self.reply, self.connection.here.maildrop, self.connection.capabilities
        announced, came = self._announced(), self.hidden + self.octets
        if 0 < came < announced - (8 if self.hidden and self.rows else 0):
            self.session.short = self.session.short or (announced, came, self.last or reply)
        shown = self.rows
        held = self.held.pop(SERVER, b"")
        self._take_in(self.connection.received((b"\r\n" if held else b"") + b".\r\n"), entry)
        exchange = reply.exchange
        if exchange is not None and exchange.response is not None and not shown:
            bare = exchange._replace(response=exchange.response._replace(content=None))
            reply.exchange = bare
            self.session.exchanges[-1] = (bare, reply)
            self.connection.here = self.connection.here._replace(maildrop=view)
            self.connection.capabilities = known

    def _announced(self) -> int:
        """How many octets the reply under way announced; 0 if it did not."""
        under_way = self.connection.due()
        command = under_way.command if under_way else None
        if command is None or command.name != "RETR" or self.reply is None:
            return 0
        match = ANNOUNCED.search(self.reply.text)
        size = self.connection.maildrop.sizes.get(command.message or 0, 0)
        return int(match[1]) if match else size

    def _assume(self, entry: Entry) -> None:
        """Replies are not shown: the tool went on, so they were `+OK`."""
        for _ in range(200):
            if self.connection.pending == 0 or self.connection.broken:
                return
            assumed = Entry(Event(entry.event.line, UNKNOWN, "assumed"), assumed=True)
            self.session.gaps = True
            self._reply(b"+OK\r\n", assumed)
            self._end_content(assumed)
            if assumed.state is not None and entry.state is None:
                entry.state = assumed.state

    def _hidden(self, entry: Entry) -> None:
        self._greet_unseen(entry)
        self.session.spoke = True
        follows = self.connection.here.follows == "USER"
        line = MASK if self.connection.challenged else f"PASS {MASK}" if follows else f"AUTH PLAIN {MASK}"
        entry.event = entry.event._replace(source=CLIENT)
        entry.text = line
        self._take_in(self.connection.sent(line.encode() + b"\r\n"), entry)

    def _refused(self, event: Event, entry: Entry) -> None:
        self.session.heard = True
        status = b"" if event.kind == "stray" else b"-ERR "
        line = status + event.octets.removeprefix(b"-ERR ").replace(b"\n", b" ") + b"\r\n"
        foreign = not status and not self.session.spoke and OTHER.match(line.decode("utf-8", "replace"))
        if (self.session.greeting or foreign) and not self.greeted:
            self.session.spoke = self.greeted = True
            entry.event, entry.text = event._replace(source=SERVER), event.text
            return self._reply(line, entry)
        if not self.session.spoke or (self.connection.pending == 0 and not self.session.exchanges):
            self.session.spoke = True
            self._greet_unseen(entry)
            self.session.nameless = True
            self._take_in(self.connection.sent(f"PASS {MASK}\r\n".encode()), entry)
        if self.connection.pending:
            before = 0
            while self.connection.pending not in (1, before) and "replies" in self.form.hides:
                before = self.connection.pending
                self._reply(b"+OK\r\n", Entry(event, assumed=True))
            entry.event, entry.text = event._replace(source=SERVER), event.text
            self._reply(line, entry)
        else:
            self.session.tool.append(event)

    def _count(self, event: Event, entry: Entry) -> None:
        number = int(event.octets[:12])
        entry.text = ""
        self.session.heard |= event.source == SERVER
        if self.content and event.source == SERVER:
            entry.content = True
            self.hidden += number
            self.last = entry
            announced = self._announced()
            if announced and self.octets + self.hidden >= announced:
                self._end_content(entry)

    def _prose(self, event: Event, kind: str) -> None:
        if kind == "fetched":
            self._greet_unseen(self.session.entries[-1])
            self.session.spoke = True
            if self.connection.state is State.AUTHORIZATION:
                self._move(State.TRANSACTION)
            number = re.match(rb"\d{1,9}", event.octets)
            if number and b"deleted" in event.octets:
                self.session.marks |= {int(number[0])}
        elif self.connection.state is State.TRANSACTION and not (self._tool_fault() or self.session.nameless):
            self._move(State.UPDATE)
            self.session.erased, self.session.marks = self.session.marks, frozenset()

    def _alone(self, data: bytes, entry: Entry, many: bool) -> None:
        """A reply whose command is not in the log: its own text alone tells what it may answer."""
        text = data.decode("utf-8", "replace")
        if not self.greeted and "content" not in self.form.hides:
            self.greeted = True  # a whole session: the first of its replies is the greeting
            return self._reply(data, entry)
        first = not self.greeted
        self._greet_unseen(entry)
        if data[:1] == b"+" and not data.startswith(b"+OK"):
            return None  # a challenge of a login that is not in the log
        logged_in = re.match(r"(?i)\+OK.*(?:logged in|maildrop|signed in| octets|messages?\b)|\+OK \d+ \d+\s", text)
        if logged_in and self.connection.state is State.AUTHORIZATION:
            self._move(State.TRANSACTION)
            if first:
                return
        self.session.alone = True
        if self.connection.pending == 0:
            self.connection.sent(answered(text, many) + b"\r\n")
        self._reply(data, entry)

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The log ends here."""
        if len(self.before) == 1 and not self.greeted:  # a greeting that is none
            self.greeted = True
            self._reply(*self.before[0])
        if self.session.closed is None and self.session.spoke:
            if "replies" in self.form.hides and not self._tool_fault():
                self._assume(self.session.entries[-1])
            unseen = "content" in self.form.hides and not self.rows
            if (unseen or self.form.unstuffed) and not self.held.get(SERVER) and not self._tool_fault():
                self._end_content(self.session.entries[-1])
            self._break_off()

    def _tool_fault(self) -> bool:
        return any(tool_fault(event) for event in self.session.tool)

    def _break_off(self) -> None:
        if self.content and self.reply is not None:
            announced, came = self._announced(), self.hidden + self.octets
            self.session.short = (announced, came, self.last or self.reply)
        self.connection.received(self.held.pop(SERVER, b""))
        quitting = self.quit and self.connection.pending == 1
        for exchange in self.connection.close():
            if isinstance(exchange, Challenge) or (quitting and exchange.problem == Problem("no-reply")):
                continue
            exchange = exchange._replace(secrets=())
            self.session.exchanges.append((exchange, self.reply if exchange.response else self.last))
