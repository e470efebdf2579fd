"""Link: one connection with its states, and what it publishes; and the subscribers of a shell."""

from __future__ import annotations

import asyncio

import pytest
from stage import CLOSE, LOCAL, PRACTICE, ScriptedWire, Stage, cancelled, run, turns, until
from support import Clock

from popshell.protocol.commands import State
from popshell.session import ConnectError, Endpoint, OpenConnection, Session
from popshell.ui import link as links
from popshell.ui.events import (
    Challenged,
    Connected,
    Connecting,
    End,
    Ended,
    Failed,
    Greeted,
    Overdue,
    Replied,
    Sent,
    ShellEvent,
    TlsStarted,
    Unshown,
    Waiting,
)
from popshell.ui.link import Link, Phase


class Held:
    """A Link on a scripted wire, and what it published."""

    def __init__(
        self,
        answers: dict[str, bytes | None],
        *,
        endpoint: Endpoint = LOCAL,
        patient: bool = True,
        greeting: bytes | None = b"+OK ready\r\n",
        timeout: float | None = None,
    ) -> None:
        self.events: list[ShellEvent] = []
        self.link = Link(self.events.append, patient=patient)
        self._script = answers, greeting
        self._endpoint = endpoint._replace(timeout=timeout)

    async def open(self) -> bool:
        return await self.link.open(self._connect())

    async def _connect(self) -> OpenConnection:
        self.session = Session(Clock(), self.link.received, self.link.ended)
        self.wire = ScriptedWire(*self._script)
        self.wire.session = self.session
        self.session.wire = self.wire
        return OpenConnection(self.session, self._endpoint)

    async def send(self, text: str) -> None:
        await self.link.reply(self.session.submit(text))

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]

    @property
    def end(self) -> Ended:
        (ended,) = (event for event in self.events if isinstance(event, Ended))
        return ended


def test_two_links_live_side_by_side() -> None:
    """Each has its own replies, phase and end, whatever the other does in the same loop."""

    async def go() -> None:
        first = Held({"NOOP": b"+OK first\r\n", "STAT": None})
        second = Held({"NOOP": b"+OK second\r\n", "QUIT": b"+OK bye\r\n" + CLOSE})
        assert await asyncio.gather(first.open(), second.open()) == [True, True]
        waiting = asyncio.ensure_future(first.send("STAT"))
        await until(lambda: "STAT" in first.wire.heard)
        await second.send("NOOP")
        await second.send("QUIT")
        assert (first.link.phase, second.link.phase) == (Phase.OPEN, Phase.CLOSED)
        assert second.end.how is End.QUIT
        assert not waiting.done()
        first.wire.say(b"+OK 1 1\r\n")
        await waiting
        await first.send("NOOP")
        texts = [e.exchange.response.text for e in first.events if isinstance(e, Replied) and e.exchange.response]
        assert texts[1:] == ["1 1", "first"]
        assert second.kinds == [Connecting, Connected, Greeted, Replied, Replied, Ended]
        first.link.close(End.DROPPED)
        assert first.end.how is End.DROPPED

    run(go())


def test_phases_of_a_link_from_its_opening_to_its_end() -> None:
    async def go() -> None:
        held = Held({"STLS": b"+OK\r\n", "AUTH": b"+ \r\n", "*": b"-ERR\r\n", "QUIT": b"+OK\r\n"}, greeting=None)
        seen: list[Phase] = []
        assert held.link.phase is Phase.CONNECTING

        def note(event: ShellEvent) -> None:
            held.events.append(event)
            seen.append(held.link.phase)

        held.link.publish = note
        opening = asyncio.ensure_future(held.open())
        await turns()
        assert held.link.phase is Phase.GREETING
        held.wire.say(b"+OK ready\r\n")
        assert await opening
        assert held.link.phase is Phase.OPEN
        await held.send("STLS")
        assert held.link.phase is Phase.OPEN
        await held.send("AUTH PLAIN")
        await held.send("*")
        leaving = asyncio.ensure_future(held.send("QUIT"))
        await until(lambda: held.link.phase is Phase.LEAVING)
        held.wire.hang_up()
        await leaving
        assert held.link.phase is Phase.CLOSED
        assert held.kinds == [
            *(Connecting, Connected, Greeted, Replied, TlsStarted, Challenged, Replied, Replied, Ended)
        ]
        assert seen == [Phase.CONNECTING, *[Phase.GREETING] * 2, *[Phase.OPEN] * 5, Phase.CLOSED]

    run(go())


def test_how_each_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "CLOSING_TIME", 0.01)
    monkeypatch.setattr(links, "HANG_TIME", 0.01)
    monkeypatch.setattr(links, "PRACTICE_TIME", 0.02)

    async def end(answer: bytes | None, how: str = "") -> Ended:
        script = {"USER": b"+OK\r\n", "PASS": b"+OK\r\n", "DELE": b"+OK\r\n", "QUIT": answer, "NOOP": answer}
        held = Held(script, endpoint=PRACTICE, patient=False) if how == "timeout" else Held(script)
        await held.open()
        for line in ("USER a", "PASS b", "DELE 2"):
            await held.send(line)
        if how == "timeout":
            with pytest.raises(ConnectError, match="reply-timeout"):
                await held.send("NOOP")
        else:
            await held.send(how or "QUIT")
        assert held.link.phase is Phase.CLOSED
        assert held.link.state is State.CLOSED
        return held.end

    async def go() -> None:
        for wanted, answer, line in (
            (End.QUIT, b"+OK\r\n" + CLOSE, ""),
            (End.QUIT_CLOSED_HERE, b"+OK\r\n", ""),
            (End.LOST, CLOSE, "NOOP"),
            (End.BROKEN, b"what\r\n", "NOOP"),
            (End.TIMEOUT, None, "timeout"),
        ):
            ended = await end(answer, line)
            assert ended.how is wanted
            assert (ended.marks == (2,)) or wanted in (End.QUIT, End.QUIT_CLOSED_HERE), wanted
        lost = await end(CLOSE, "QUIT")
        assert (lost.how, lost.quit_sent, lost.marks) == (End.LOST, True, (2,))

    run(go())


def test_events_come_in_the_order_of_the_wire_and_say_whether_they_were_waited_for() -> None:
    async def go() -> None:
        held = Held({"STAT": None, "NOOP": b"+OK noop\r\n+OK extra\r\n"})
        await held.open()
        await cancelled(held.send("STAT"), lambda: "STAT" in held.wire.heard)
        held.wire.say(b"+OK 1 1\r\n")
        await held.send("NOOP")
        shown = [(e.exchange.name, e.late) for e in held.events if isinstance(e, Replied)]
        assert shown == [("", False), ("STAT", True), ("NOOP", False), ("", True)]

    run(go())


def test_what_this_side_cut_off_is_recorded_and_not_reported_as_a_reply() -> None:
    async def go() -> None:
        held = Held({"STAT": None})
        await held.open()
        await cancelled(held.send("STAT"), lambda: "STAT" in held.wire.heard)
        held.link.close(End.DROPPED)
        assert held.kinds[-2:] == [Unshown, Ended]
        held.link.close(End.DROPPED)
        assert held.kinds.count(Ended) == 1, "an end is published once"

    run(go())


def test_a_connection_that_cannot_be_opened_has_no_end() -> None:
    async def go() -> None:
        held = Held({})

        async def refused() -> OpenConnection:
            raise ConnectError("refused")

        with pytest.raises(ConnectError):
            await held.link.open(refused())
        assert held.kinds == [Connecting]
        assert held.link.phase is Phase.CLOSED
        held.link.close()
        assert held.kinds == [Connecting]

    run(go())


# -- subscribers -------------------------------------------------------------------------------------------------------


def test_a_subscriber_that_raises_is_reported_and_the_others_get_the_event() -> None:
    async def go() -> None:
        stage, heard = Stage(), []

        def broken(event: ShellEvent) -> None:
            if isinstance(event, Replied):
                raise RuntimeError("no such luck")

        stage.shell.subscribe(broken)
        stage.shell.subscribe(heard.append)
        await stage.begin("NOOP")
        assert "RuntimeError" in stage.screen.flat
        assert [type(e) for e in heard] == [Connecting, Connected, Greeted, Sent, Replied]
        assert stage.shell.tally.failed
        assert stage.shell.session is not None, "the session goes on"

    run(go())


def test_one_that_subscribes_during_an_event_gets_the_next_one() -> None:
    async def go() -> None:
        stage, heard = Stage(), []

        def first(event: ShellEvent) -> None:
            if isinstance(event, Replied) and event.exchange.is_greeting:
                stage.shell.subscribe(heard.append)

        stage.shell.subscribe(first)
        await stage.begin("NOOP")
        assert [type(e) for e in heard] == [Sent, Replied]

    run(go())


def test_output_that_is_gone_ends_the_run() -> None:
    """A pipe whose reader has left: not a fault to be reported, there is no place to report it to."""

    async def go() -> None:
        stage = Stage()
        await stage.begin()

        def gone(text: str) -> int:
            raise BrokenPipeError

        stage.screen.out.write = gone  # type: ignore[method-assign]
        with pytest.raises(BrokenPipeError):
            await stage.run("NOOP")

    run(go())


def test_gates_are_asked_in_order_and_the_first_that_holds_ends_it() -> None:
    async def go() -> None:
        stage, asked = Stage(), []

        def gate(name: str, allows: bool):  # type: ignore[no-untyped-def]
            async def ask(line):  # type: ignore[no-untyped-def]
                asked.append((name, line.text))
                return line if allows else None

            return ask

        stage.shell.gates += [gate("first", True), gate("second", False), gate("third", True)]
        await stage.begin("NOOP", ":state")
        assert asked == [("first", "NOOP"), ("second", "NOOP")]
        assert not stage.wire.sent

    run(go())


def test_a_timeout_of_the_user_holds_for_replies_and_the_greeting() -> None:
    async def go() -> None:
        held = Held({"STAT": b"+OK 1"}, timeout=0.01)
        await held.open()
        await held.send("STAT")
        assert held.kinds[3:] == [Waiting, Overdue]
        held.link.close()
        silent = Held({}, greeting=None, timeout=0.01, patient=False, endpoint=PRACTICE)
        with pytest.raises(ConnectError, match="greeting-timeout"):
            await silent.open()

    run(go())


def test_waiting_and_giving_up_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "HANG_TIME", 0.01)
    monkeypatch.setattr(links, "REPLY_TIME", 0.02)

    async def go() -> None:
        held = Held({"STAT": b"+OK 1"})
        await held.open()
        await held.send("STAT")
        assert held.kinds[3:] == [Waiting, Overdue]
        waiting = held.events[3]
        assert isinstance(waiting, Waiting)
        assert (waiting.due.octets, waiting.rate) == (5, None)
        held.link.close()

    run(go())


def test_failed_is_published_for_an_address_that_makes_no_sense() -> None:
    async def go() -> None:
        stage, heard = Stage(), []

        def strict(where, on_event, on_end, on_step):  # type: ignore[no-untyped-def]
            raise ConnectError("bad-address", address=where)

        stage.shell.dial = strict
        stage.shell.subscribe(heard.append)
        assert not await stage.shell.connect("x y")
        assert [type(e) for e in heard] == [Failed]

    run(go())
