"""Link: one connection from its opening to its end, with its states. It publishes what happens and needs no screen.

    CONNECTING ──▶ GREETING ──▶ OPEN ──▶ LEAVING (QUIT was answered) ──▶ CLOSED
                               ▲  │
                   UPGRADING ──┘◀─┘ (STLS was answered)

Every state can go to CLOSED. Events are published in the order of the wire, as they come, whether a call waits for them
or not: a reply that is no longer waited for (Ctrl-C), and octets that answer no line, are `late`.

Traps. To stop waiting for a reply does not stop the reply (sec-U1). A reply to STLS starts TLS also if it is late. The
server may close at any time, also in the same packet as a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import TypeVar

from popshell.protocol.commands import State
from popshell.protocol.connection import Due
from popshell.protocol.line import parse
from popshell.protocol.records import Exchange, Problem
from popshell.session import ConnectError, Event, OpenConnection, Session, Step
from popshell.ui import events
from popshell.ui.events import End, ShellEvent

_T = TypeVar("_T")

#: Seconds before autologout at which it is counted down, or announced.
COUNTDOWN = 60.0
#: A server that sends less is slow, in octets a second: worth a word, no reason to leave.
SLOWEST = 100
#: How long the server may take to close after QUIT, in seconds, before this side does.
CLOSING_TIME = 2.0
#: After so many seconds it is said what is waited for. Slow refusals are common: Courier 1.0.16 takes 5 s.
HANG_TIME = 2.0
#: Seconds from one look at what has come to the next.
TICK = 1.0
#: After so many seconds a reply that is not complete is no longer waited for (docs/reference-limits.md).
REPLY_TIME = 60.0
GREETING_TIME = 30.0
#: The practice server answers at once or, as a lesson's condition, not at all: a script need not wait for long.
PRACTICE_TIME = 4.0


class Phase(Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    GREETING = "greeting"
    OPEN = "open"
    UPGRADING = "upgrading"
    LEAVING = "leaving"
    CLOSED = "closed"


class Link:
    """One connection of a shell.

    `patient`: a person can stop waiting; if not, a reply that does not come ends it. `silent`: replies that are waited
    for are recorded only, and nothing is done for them, while a course plays the beginning of an exercise.
    """

    def __init__(self, publish: Callable[[ShellEvent], None], *, patient: bool = True, silent: bool = False) -> None:
        self.phase = Phase.CONNECTING
        self.connection: OpenConnection | None = None
        self.silent = silent
        #: the steps on the way to the connection, and to TLS
        self.steps: list[Step] = []
        #: whether the user allowed DELE (`:unlock`)
        self.unlocked = False
        #: how the connection ended; None while it is open
        self.how: End | None = None
        #: a shell that keeps another link until this one stands changes both then
        self.publish = publish
        self.patient = patient
        self._closed = asyncio.Event()
        #: the handshake after STLS, or the end after QUIT
        self._next: asyncio.Task[None] | None = None

    @property
    def session(self) -> Session | None:
        """The session, as long as it is open."""
        session = self.connection.session if self.connection else None
        return None if session is None or session.ended else session

    @property
    def look_only(self) -> bool:
        """Whether it leads to a real server on which DELE was not allowed, by `:unlock` or in config.toml."""
        endpoint = self.connection.endpoint if self.connection else None
        return endpoint is not None and not endpoint.practice and endpoint.look_only and not self.unlocked

    @property
    def place(self) -> str:
        """Where it leads, as `:connect` takes it."""
        endpoint = self.connection.endpoint if self.connection else None
        return "" if endpoint is None else "practice" if endpoint.practice else endpoint.label

    @property
    def state(self) -> State:
        return self.session.connection.state if self.session else State.CLOSED

    # -- opening -------------------------------------------------------------------------------------------------------

    async def open(self, connecting: Awaitable[OpenConnection]) -> bool:
        """Take the connection that is being opened, wait for its greeting, and give STLS if its endpoint demands it.

        False if it did not last. Raises ConnectError. Cancelled before the TLS that is demanded, it closes: nothing may
        go out in clear text (sec-T3).
        """
        self.publish(events.Connecting())
        try:
            self.connection = await self._lasting(connecting, "connecting")
        except BaseException:
            self.phase = Phase.CLOSED
            raise
        self.phase = Phase.GREETING
        endpoint, session = self.connection.endpoint, self.connection.session
        self.publish(events.Connected(endpoint))
        try:
            await self.reply(session.greeting)
            if endpoint.stls and self.session is not None:
                await self._insist_on_tls(self.session)
        except ConnectionError:  # the server has closed, which is about to be published
            await self._closed.wait()
        except asyncio.CancelledError:
            if endpoint.stls and self.session is not None:
                self.close()
                self.publish(events.Failed(ConnectError("stls-refused", place=self.place, said="")))
            raise
        self.phase = Phase.OPEN if self.session else Phase.CLOSED
        return self.session is not None

    async def _insist_on_tls(self, session: Session) -> None:
        """`--tls stls`: STLS first, sent by the shell; without TLS there is no session (sec-T3)."""
        if not session.transcript[0].ok:
            return self.close()  # it turned us away: no STLS, and nothing else in clear text
        if any(exchange.answers_no_line for exchange in session.transcript):  # in clear text, so from anyone
            self.close()
            raise ConnectError("unasked-before-tls", place=self.place)
        line = parse("STLS", session.connection.context())
        awaited = session.submit(line)
        self.publish(events.Sent(line, by_shell="shell.sent-by-shell"))
        reply = await self.reply(awaited)
        if self.session is None or not session.connection.tls:
            self.close()
            if not (isinstance(reply, Exchange) and reply.ok):  # else what failed after it was reported
                raise ConnectError("stls-refused", place=self.place, said="")

    # -- replies -------------------------------------------------------------------------------------------------------

    async def reply(self, awaited: asyncio.Future[Event | None], *, lasting: bool = False) -> Event | None:
        """Wait until a reply was published, and what it asks for is done: TLS after STLS, the end after QUIT.

        None if it did not come. Cancelling stops the waiting, not the reply. Raises ConnectError for a reply that does
        not come where no person can decide. `lasting`: it may last as long as more of it comes.
        """
        limit = self._time_for(awaited)
        try:
            await self._watch(awaited, limit, lasting)
        except asyncio.CancelledError:
            awaited.cancel()
            raise
        if awaited.cancel():  # it has not come
            due = self.due()
            if not self.patient:
                self.close(End.TIMEOUT)
                from popshell.course.symptoms import too_late

                raise ConnectError(**too_late(due, round(limit), self.place))
            self.publish(events.Overdue(due, round(limit)))
            return None
        if self._next is not None and not self._next.done():
            await self._lasting(self._next, "tls" if self.phase is Phase.UPGRADING else "closing")
        return awaited.result()

    def _time_for(self, awaited: asyncio.Future[Event | None]) -> float:
        """How long a reply is waited for, in seconds: what the user set, or the limit of its kind."""
        assert self.connection is not None
        endpoint = self.connection.endpoint
        if endpoint.timeout is not None:
            return endpoint.timeout
        usual = GREETING_TIME if self.connection.session.greeting is awaited else REPLY_TIME
        return PRACTICE_TIME if endpoint.practice and not self.patient else usual

    def due(self) -> Due | None:
        """The reply that is under way, as far as it has come."""
        return self.session.connection.due() if self.session else None

    async def _watch(self, awaited: asyncio.Future[Event | None], limit: float, lasting: bool) -> None:
        """Wait for a reply, and report each second what has come of it; that it comes slowly is reported once."""
        loop = asyncio.get_running_loop()
        began = since = loop.time()  # `limit` is over `since`
        session, seen, reported, hang_said = self.session, None, False, False
        step = min(HANG_TIME, limit)
        while not (await asyncio.wait({awaited}, timeout=step))[0] and session is not None:
            due, now = session.connection.due(), loop.time()
            if lasting and due is not None and seen is not None and due.octets > seen.octets:
                since = now
            if due is None or (seen is not None and now - since >= limit):
                return
            rate, lasted = None, session.now() - due.since
            if not reported and seen is not None and seen.octets < due.octets < SLOWEST * lasted:
                rate, reported = round(due.octets / lasted), True
            within, silent = None if lasting else round(limit), session.now() - max(session.last_heard, due.since)
            if silent >= HANG_TIME and session.settle():
                continue
            hangs = not hang_said and bool(due.content or due.tail) and silent >= HANG_TIME
            hang_said = hang_said or hangs
            self.publish(
                events.Waiting(due, rate, round(now - began), within, seen is None, "reply", round(silent), hangs)
            )
            if now - since >= limit:
                return
            seen, step = due, min(TICK, HANG_TIME, limit - (now - since))

    async def _lasting(self, work: Awaitable[_T], what: str) -> _T:
        """Wait for what is no reply, and report each second that it lasts.

        Trap: `work` is awaited here and in no task, because the greeting may come in the turn of the loop after it.
        """
        ticking = asyncio.ensure_future(self._tick(what))
        try:
            return await work
        finally:
            ticking.cancel()

    async def _tick(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        began, step = loop.time(), HANG_TIME
        while not self.silent:
            await asyncio.sleep(step)
            self.publish(events.Waiting(None, seconds=round(loop.time() - began), what=what))
            step = min(TICK, HANG_TIME)

    def step(self, step: Step) -> None:
        """A step on the way to the connection was taken."""
        self.steps.append(step)
        self.publish(step)

    def received(self, event: Event, awaited: bool) -> None:
        """The session has an event; `awaited` if a call waits for it."""
        played = awaited and self.silent
        if not isinstance(event, Exchange):
            if not played:
                self.publish(events.Challenged(event, late=not awaited))
            return
        if played or (self.phase is Phase.CLOSED and event.problem is not None):
            self.publish(events.Unshown(event))  # the other will never come, because this side closed
            return
        self.publish((events.Greeted if event.is_greeting else events.Replied)(event, late=not awaited))
        session = self.session
        if session is not None and session.connection.wants_tls and session.connection.broken is None:
            if self._next is None or self._next.done():
                self._next = asyncio.ensure_future(self._start_tls(session))
        elif awaited and event.name == "QUIT" and event.response and event.after in (State.UPDATE, State.CLOSED):
            self.phase = Phase.LEAVING
            self._next = asyncio.ensure_future(self._finish(event.after))

    async def _start_tls(self, session: Session) -> None:
        """The handshake that `+OK` to STLS asks for. If it fails, the connection is closed, and why is published."""
        before, state, self.phase = self.phase, self.state, Phase.UPGRADING
        try:
            await session.start_tls()
        except (Exception, asyncio.CancelledError) as error:
            failure = error if isinstance(error, ConnectError) else ConnectError("tls-failed")
            self._end(End.TLS_FAILED, state, failure)
            fault = Exchange(None, None, state, State.CLOSED, problem=Problem("tls-failed"))
            session.transcript.append(fault)
            self.publish(events.Unshown(fault, error=failure))
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        self.phase = before
        self.publish(events.TlsStarted(self.connection.tls_facts() if self.connection else {}))

    # -- ending --------------------------------------------------------------------------------------------------------

    async def _finish(self, before: State) -> None:
        """QUIT was answered: the server closes (RFC 1939 §6); if it does not, this side does."""
        if not await self.closing():
            self._end(End.QUIT_CLOSED_HERE, before)

    async def closing(self) -> bool:
        """Wait until the server has closed, but no longer than it may take; whether it has."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), CLOSING_TIME)
        return self._closed.is_set()

    def close(self, how: End = End.LEFT) -> None:
        """Close without QUIT, so without UPDATE (RFC 1939 §6)."""
        if self.session is not None:
            self._end(how, self.state)

    def ended(self, error: Exception | None) -> None:
        """The session's transport is closed: by the server, by the network, or by this side."""
        self._closed.set()
        if self.phase in (Phase.CLOSED, Phase.UPGRADING) or self.connection is None:
            return  # who closed reports it
        session, left = self.connection.session, self.seconds_left()
        before = session.transcript[-1].after if session.transcript else State.CLOSED
        if self.silent and session.transcript[-1:] and session.transcript[-1].name == "QUIT":
            self.phase = Phase.CLOSED
            return
        if self.phase is Phase.LEAVING:
            how = End.QUIT
        elif left is not None and left <= 0:
            how = End.AUTOLOGOUT
        else:
            broken = session.connection.broken
            how = End.LOST if broken is None else End.FLOODED if broken.code == "flood" else End.BROKEN
        self._end(how, before, error)

    def _end(self, how: End, before: State, error: Exception | None = None) -> None:
        """Close if that is not done, and publish how the connection ended and which messages were marked."""
        assert self.connection is not None
        self.phase, self.how = Phase.CLOSED, how
        session = self.connection.session
        if not session.ended:
            session.close()
        unanswered = [e for e in session.transcript if e.command is not None and e.response is None]
        marks = session.connection.at_stake | {
            e.command.message for e in unanswered if e.name == "DELE" and e.command and e.command.message
        }
        quit_sent = any(e.name == "QUIT" for e in unanswered)
        self.publish(events.Ended(how, before, error, tuple(sorted(marks)), quit_sent))

    def seconds_left(self) -> float | None:
        """Seconds until the practice server's autologout; None elsewhere."""
        connection = self.connection
        if connection is None or connection.endpoint.autologout is None:
            return None
        return connection.session.last_sent + connection.endpoint.autologout - connection.session.now()
