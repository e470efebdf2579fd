"""Evidence of an exercise comes from the practice server: whichever client spoke, the same judgement."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import Any

import pytest
from learner import catalog
from stage import run, until
from support import LOGIN
from test_course import exercise

from popshell.course.attempt import Attempt, Collector, vocabulary
from popshell.course.lesson import ExerciseKind
from popshell.course.player import exercise_server
from popshell.net.listener import Listener
from popshell.protocol.commands import State


class Served:
    """An exercise on a port of loopback, with the attempt that judges it."""

    def __init__(self, **changes: Any) -> None:
        self.exercise = exercise(**changes)
        server, self.collector = exercise_server(catalog(), self.exercise, lambda: 0.0)
        self.attempt = Attempt(self.exercise, str, vocabulary(catalog()), self.collector)
        self.listener = Listener(server.session)
        self.port = 0

    async def __aenter__(self) -> Served:
        _, self.port = await self.listener.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.close()

    async def curl(self, *arguments: str) -> str:
        """What curl writes; the server has seen its end then."""
        command = ["curl", "-s", "--noproxy", "*", "--max-time", "10", *arguments]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        await until(lambda: self.listener.connections == 0)
        return done.stdout

    @property
    def url(self) -> str:
        return f"pop3://learner:secret@127.0.0.1:{self.port}/"


curl = pytest.mark.skipif(shutil.which("curl") is None and "CI" not in os.environ, reason="no curl")


@curl
def test_an_exercise_is_solved_with_curl() -> None:
    """curl 7.88: CAPA, a login, the command of the URL, QUIT; of `RETR` it wants no listing before."""
    checks = [
        {"replied": {"command": "RETR", "argument": "2", "ok": True}},
        {"in_order": ["CAPA", "RETR", "QUIT"]},
        {"retrieved": [2]},
        {"state": "CLOSED"},
        {"dropped": False},
    ]

    async def scenario() -> None:
        async with Served(check=checks) as served:
            assert not served.attempt.judge()
            await served.curl(served.url + "1")
            assert not served.attempt.judge()
            assert served.attempt.missing() is not None
            served.collector.begin()
            assert "Subject:" in await served.curl(served.url + "2")
            assert served.attempt.judge()

    run(scenario())


@curl
def test_what_curl_deletes_is_gone_and_an_answer_may_be_what_curl_saw() -> None:
    async def scenario() -> None:
        async with Served(check=[{"maildrop": [2, 3, 4, 5, 6, 7]}]) as served:
            await served.curl("-I", "-X", "DELE 1", served.url)
            assert served.attempt.judge()
        async with Served(kind=ExerciseKind.ANSWER, answers=("7",), check=[{"never": ["RETR"]}]) as served:
            assert not served.attempt.answer("7"), "the server was not asked"
            await served.curl("-X", "STAT", "-I", served.url)
            assert not served.attempt.judge(), "an answer counts when it is given"
            assert served.attempt.answer("7")

    run(scenario())


def test_the_evidence_is_that_of_the_session_that_spoke_last() -> None:
    server, collector = exercise_server(catalog(), exercise(), lambda: 0.0)

    def say(session: Any, *lines: str) -> None:
        session.feed("".join(f"{line}\r\n" for line in lines).encode())
        while session.next_chunk() is not None:
            pass

    one, two = server.session(), server.session()
    say(one)
    say(two, "STLS")
    assert evidence(collector) == (State.AUTHORIZATION, True, False)
    two.tls_started()
    say(one, *LOGIN, "DELE 3")
    assert evidence(collector) == (State.TRANSACTION, False, False)
    assert collector.evidence(None, None).marks == {3}
    two.lost()
    assert evidence(collector) == (State.TRANSACTION, False, True), "one of them ended without QUIT"
    collector.begin()
    say(one, "QUIT", "NOOP")
    assert [e.name for e in collector.exchanges] == ["QUIT"]
    one.lost()
    one.lost()
    assert evidence(collector) == (State.CLOSED, False, False)
    assert [(e.name, e.response is None) for e in collector.exchanges] == [("QUIT", False), ("NOOP", True)]
    assert 3 not in collector.evidence(None, None).maildrop


def test_a_client_of_this_process_that_closes_is_known_at_once() -> None:
    server, collector = exercise_server(catalog(), exercise(conditions={"line_goes_dead_after": 2}), lambda: 0.0)
    session = server.session()
    while session.next_chunk() is not None:
        pass
    for line in (*LOGIN, "QUIT"):
        session.feed(f"{line}\r\n".encode())
        while session.next_chunk() is not None:
            pass
    collector.lost("<another@stamp>")
    assert evidence(collector) == (State.TRANSACTION, False, False)
    collector.lost(session.stamp)
    assert evidence(collector) == (State.CLOSED, False, True)
    assert collector.typed == [*LOGIN, "QUIT"], "what got no reply was typed all the same"


def evidence(collector: Collector) -> tuple[State, bool, bool]:
    found = collector.evidence(None, None)
    return found.state, found.tls, found.dropped
