"""`popshell ping`: connects, reads the greeting, sends QUIT, writes one line; the exit code names the stage."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from popshell.arguments import Arguments
from popshell.net.address import TlsMode
from popshell.net.client import Deadlines, Target, connect
from popshell.net.errors import NetError
from popshell.net.stls import stls_first
from popshell.protocol.strangers import what_speaks
from popshell.protocol.wire import CRLF
from popshell.reach import Reach
from popshell.script import STAGES
from popshell.session import Step
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.config import Config
    from popshell.course.catalog import Words

#: The stages of a connection, with the exit code if it fails there: those of scripts, and the look-up of a name.
EXIT_CODES = {"ok": 0, "lookup": 8, "tcp": STAGES["connect"], "tls": STAGES["tls"]}
EXIT_CODES |= {"greeting": STAGES["greeting"], "quit": STAGES["end"]}
#: How long greeting and reply are waited for, in seconds, and how long they may be, in octets.
_PATIENCE, _LONGEST = 30.0, 8 * 1024
#: How long the server may take to close after QUIT, in seconds.
_GOODBYE = 2.0
#: The stage that a step ends.
_ENDS = {"resolved": "lookup", "connected": "tcp", "tls": "tls"}


def ping(arguments: Arguments, config: Config, words: Words) -> int:
    """Returns the exit code. Raises Usage."""
    reach = Reach(arguments, config, words)
    target = reach.target(arguments.address or "")
    found = asyncio.run(_Ping(target, arguments.timeout, reach).run())
    found["seconds"] = {stage: round(seconds, 4) for stage, seconds in found["seconds"].items()}
    found["exit_code"] = EXIT_CODES[found["stage"]]
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return int(found["exit_code"])
    place = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
    times = words.listed(
        words("ping.time", stage=words(f"ping.{stage}"), milliseconds=round(seconds * 1000))
        for stage, seconds in found["seconds"].items()
    )
    if found["stage"] == "ok":
        text = words("ping.ok", place=place, address=found["address"], tls=found["tls"] or words("ping.clear"))
    else:
        text = words("ping.failed", place=place, stage=words(f"ping.{found['stage']}"), error=found["error"]["text"])
        times = times and f"({times})"
    sys.stdout.write(show(f"{text} {times}".strip(), keep="").replace("\n", " ") + "\n")
    return int(found["exit_code"])


class _Ping:
    """One try."""

    def __init__(self, target: Target, timeout: float | None, reach: Reach) -> None:
        self._target, self._reach = target, reach
        self._patience = timeout or _PATIENCE
        self._deadlines = Deadlines(timeout, timeout) if timeout else Deadlines()
        self._came, self._news = bytearray(), asyncio.Event()
        self._stage, self._ended = "tcp", False
        self._found: dict[str, Any] = {
            "version": 1,
            "host": target.host,
            "port": target.port,
            "address": None,
            "tls": None,
            "greeting": None,
            "seconds": {},
            "error": None,
        }

    async def run(self) -> dict[str, Any]:
        """What came of it: `stage` is `ok`, or where it failed."""
        try:
            await self._talk()
            self._stage = "ok"
        except NetError as error:
            self._found["error"] = {"code": error.code, "text": self._reach.say(error)}
        return {**self._found, "stage": self._stage}

    async def _talk(self) -> None:
        target, loop = self._target, asyncio.get_running_loop()
        transport = await connect(
            target, on_data=self._heard, on_close=self._closed, deadlines=self._deadlines, on_step=self._step
        )
        try:
            began, self._stage = loop.time(), "greeting"
            if target.tls is TlsMode.STLS:
                self._stage = "tls"
                greeting = await stls_first(transport, self._patience)
                self._stage = "greeting"
            else:
                greeting = await self._line()
                self._found["seconds"]["greeting"] = loop.time() - began
            self._found["greeting"] = greeting.decode("utf-8", "backslashreplace").rstrip("\r\n")
            self._came.clear()
            began, self._stage = loop.time(), "quit"
            transport.write(b"QUIT" + CRLF)
            await self._line()
            self._found["seconds"]["quit"] = loop.time() - began
        finally:
            transport.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    while not self._ended:
                        self._news.clear()
                        await self._news.wait()

    def _step(self, step: Step) -> None:
        self._found["address"] = step.address or None
        if step.what == "resolving":
            self._stage = "lookup"
        elif step.what in _ENDS and step.seconds is not None:
            self._found["seconds"][_ENDS[step.what]] = step.seconds
        self._stage = {"resolved": "tcp", "connected": "tls"}.get(step.what, self._stage)
        if step.what == "tls":
            self._found["tls"] = step.facts["version"]

    def _heard(self, data: bytes) -> None:
        self._came.extend(data)
        self._news.set()

    def _closed(self, error: Exception | None) -> None:
        self._ended = True
        self._news.set()

    async def _line(self) -> bytes:
        """A reply of one line. Raises NetError: `not-pop3`, `turned-away`, `greeting-timeout`, `closed-early`."""
        try:
            async with asyncio.timeout(self._patience):
                while b"\n" not in self._came and len(self._came) < _LONGEST and not self._ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise NetError("greeting-timeout", seconds=round(self._patience), host=self._target.host) from None
        line = bytes(self._came.partition(b"\n")[0])
        facts: dict[str, Any] = {"host": self._target.host, "port": self._target.port}
        if line.startswith(b"+OK"):
            return line
        facts["text"] = line.decode("utf-8", "backslashreplace").strip()
        if line.startswith(b"-ERR"):
            raise NetError("turned-away", **facts)
        raise NetError("not-pop3" if line else "closed-early", speaks=what_speaks(line), **facts)
