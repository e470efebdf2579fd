"""Reach: what `popshell check` and `run` connect to, by which account, and how they report; and `popshell ping`.

A name and a password come from `--user` with a hidden prompt, `--password-command` or `--password-fd`, or are the two
lines of standard input.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from copy import copy
from itertools import groupby
from typing import TYPE_CHECKING, Any

from popshell.arguments import Arguments, Usage, destination_of
from popshell.course.player import STAMP
from popshell.net.address import Address, AddressError, Destination, Excused, TlsMode
from popshell.net.channel import Bounds, Channel, ChannelError, Channels, free_port
from popshell.net.connector import Clock
from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.net.trust import client_context
from popshell.passwords import PasswordError, Passwords
from popshell.protocol.sasl import Credentials
from popshell.protocol.wire import CRLF
from popshell.script import GREETING_FAILED, STAGES
from popshell.session import Step
from popshell.tuples import NamedTuple
from popshell.visible import show, tame

if TYPE_CHECKING:
    from popshell.config import Config
    from popshell.course.catalog import Words
    from popshell.server.mailserver import MailServer

#: So long is waited for an account on standard input that was not announced, in seconds.
_INPUT_TIME = 2.0
#: How long a server that is started may take until it listens, and how long until it ends, in seconds.
_START_TIME, _END_TIME = 10.0, 3.0
#: What ends the group $0 when its standard input does: after SIGKILL to us, which no program can catch.
_GUARD = "read -r _; kill -s TERM -- -$0; sleep 1; kill -s KILL -- -$0"
#: How long a reply of a server that was started is waited for: it is on this machine, and nothing slows it down.
_OWN_REPLY = 3.0


class Reach:
    """What the arguments say about connecting. Raises Usage."""

    def __init__(self, arguments: Arguments, config: Config, words: Words) -> None:
        self._arguments, self._config, self._words = arguments, config, words
        self.timeout: float | None = arguments.timeout
        self._host = ""
        self._excused = Excused(arguments.insecure)

    def usage(self, key: str, **facts: object) -> Usage:
        return Usage(self._words(key, **facts), self._arguments.command)

    def say(self, error: NetError) -> str:
        """An error in words, with the command that one would try next."""
        given, again = self._arguments, f"popshell {self._arguments.command}"
        place = given.address or "{host}:{port}".format_map({"host": "?", "port": "?", **error.facts})
        if given.exec:
            place = f"--exec {shlex.quote(given.exec)}"
        own = given.exec and error.code == "refused"
        key = "reach.not-listening" if own else f"net.{error.code}"
        facts = {"again": again, "place": place, "mode": f" --tls {given.tls}" if given.tls else "", "holder": "{port}"}
        text = self._words(key, **facts | error.facts)
        speaks = error.facts.get("speaks")
        return f"{text} ({self._words(f'speaks.{speaks}')})" if speaks else text

    def destination(self, where: str) -> Destination:
        """Where a HOST or a named connection leads; its name and password command stand for those not given."""
        wanted = copy(self._arguments)
        wanted.address = where
        try:
            destination = destination_of(wanted, wanted, self._config)
            client_context(destination.way)  # what cannot be used is reported before anything is asked
        except (AddressError, NetError) as error:
            raise self.usage(f"net.{error.code}", **error.facts) from None
        address = destination.address
        assert address is not None
        self._arguments.user = self._arguments.user or address.user
        self._arguments.password_command = self._arguments.password_command or destination.password_command
        self._host = address.host
        return destination._replace(insecure=self._excused(address))

    def channels(self, destination: Destination, reply: float = Bounds().reply) -> Channels:
        """Channels to a server; a reply is waited for so long unless `--timeout` says otherwise."""
        return Channels(destination, self.say, Bounds(reply))

    def account(self, *, needed: bool) -> Credentials | None:
        """The account; None if none is given and none is `needed`. Raises Usage."""
        arguments = self._arguments
        name = arguments.user or ""
        try:
            passwords = Passwords(arguments.password_command, arguments.password_fd)
            found = asyncio.run(passwords.find(name, self._host) if name and self._host else passwords.given(name))
        except PasswordError as error:
            wrong, found = self.usage(f"password.{error.code}", **error.facts), None
            if not error.code.startswith("keyring"):
                raise wrong from None
            sys.stderr.write(show(str(wrong)) + "\n")
        if found is None and (name or needed) and sys.stdin.isatty():
            if not name:
                raise self.usage("reach.no-name")
            return Credentials(name, getpass.getpass(self._words("shell.password")))
        rows = [found.secret] if found else _input(wait=bool(name) or needed)
        name = name or (rows[0] if len(rows) == 2 else "")
        if rows and name:
            return Credentials(name, rows[-1])
        if rows or name or needed:
            raise self.usage("reach.no-password" if name else "reach.no-name")
        return None


def _input(*, wait: bool) -> list[str]:
    """Up to two lines of standard input, empty ones left out; it may be a pipe that stays empty."""
    if sys.stdin.isatty():
        return []
    source = sys.stdin.buffer
    with suppress(OSError, ValueError):  # not everything can be waited for
        if not wait and not select.select([source], [], [], _INPUT_TIME)[0]:
            return []
    rows = [source.readline(8192) for _ in range(2)]
    return [row.rstrip(b"\r\n").decode("utf-8", "surrogateescape") for row in rows if row.strip()]


class Practice(Channels):
    """Channels to a practice server of one script's own: its stamp is fixed, and its clock moves without waiting."""

    def __init__(self, server: MailServer, reach: Reach) -> None:
        self._clock = Clock()
        server.settings = server.settings._replace(clock=self._clock, new_stamp=lambda: STAMP)
        runner = asyncio.Runner()
        self._listener = Listener(server.session)
        address = Address(*runner.run(self._listener.start()), TlsMode.NONE)
        here = Destination(address, timeout=reach.timeout, ca_data=self._listener.certificate_pem)
        super().__init__(here, reach.say, Bounds(), runner)
        self.account = Credentials(*next(iter(server.accounts.items())))

    def pass_time(self, seconds: float) -> None:
        self._clock.ahead += seconds

        async def look() -> None:
            self._listener.check_timers()
            await asyncio.sleep(0)

        self.run(look())

    def close(self) -> None:
        self.run(self._listener.close())
        super().close()


@contextmanager
def started(command: str, reach: Reach) -> Iterator[tuple[Channels, Channel]]:
    """A server that is started by `command`, with the first channel to it; it is stopped at the end.

    The end is also SIGTERM, SIGHUP or SIGQUIT, as SystemExit, and SIGKILL. What it writes goes to standard error.
    Raises Usage, and ChannelError if it does not listen.
    """

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    port = free_port()
    try:
        program = shlex.split(command.replace("{port}", str(port)))
        process = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), start_new_session=True
        )
    except (OSError, ValueError, IndexError) as error:
        raise reach.usage("reach.bad-exec", command=command, reason=error) from None
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, str(process.pid)], stdin=pipe, stdout=none, stderr=none, start_new_session=True
    )
    kept = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
    try:
        with closing(reach.channels(reach.destination(f"127.0.0.1:{port}"), _OWN_REPLY)) as channels:
            yield channels, channels.await_server(lambda: process.poll() is None, _START_TIME)
    finally:
        _stop(process)
        guard.kill()
        guard.communicate()
        for number, handler in kept.items():
            signal.signal(number, handler)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started: its group. Signals wait until that is done."""
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT))
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIME)
    signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def write_file(path: str, text: str, reach: Reach) -> None:
    """Write a report, over an older one. Raises Usage."""
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise reach.usage("reach.bad-file", path=show(path), reason=error) from None


class Case(NamedTuple):
    """One case. `message` says why it failed or was left out, `rows` show it; no secret is in any of them.

    `todo`: it failed, and is no failure of the whole.
    """

    group: str
    name: str
    title: str
    #: `passed`, `failed` or `skipped`
    outcome: str
    message: str = ""
    rows: Sequence[str] = ()
    todo: str = ""


def junit(name: str, cases: Iterable[Case]) -> str:
    """One test suite for each group. XML 1.0 has no controls: they are written out."""
    from xml.etree import ElementTree

    def add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
        plain = {key: tame(str(value), keep="\n") for key, value in attributes.items()}
        return ElementTree.SubElement(parent, tag, plain)

    root = ElementTree.Element("testsuites", name=tame(name))
    for group, members in groupby(cases, lambda case: case.group):
        some = list(members)
        failed = sum(case.outcome == "failed" and not case.todo for case in some)
        skipped = sum(case.outcome == "skipped" or bool(case.todo) for case in some)
        suite = add(root, "testsuite", name=group, tests=len(some), failures=failed, errors=0, skipped=skipped)
        for case in some:
            made = add(suite, "testcase", classname=case.group, name=f"{case.name}: {case.title}".removesuffix(": "))
            if case.outcome != "passed":
                kind = "failure" if case.outcome == "failed" and not case.todo else "skipped"
                message = f"{case.todo}: {case.message}" if case.todo else case.message
                add(made, kind, message=message).text = tame("\n".join(case.rows), keep="\n")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def tap(cases: Sequence[Case]) -> str:
    """TAP 14; a case that is `todo` is `not ok` and counts as no failure there."""
    out = ["TAP version 14", f"1..{len(cases)}"]
    for number, case in enumerate(cases, 1):
        title = tame(f"{case.name} {case.title}", keep="").replace("#", r"\#")
        note = f" # SKIP {case.message}" if case.outcome == "skipped" else f" # TODO {case.todo}" if case.todo else ""
        out.append(f"{'not ' if case.outcome == 'failed' else ''}ok {number} - {title}{tame(note, keep='')}")
        if case.outcome == "failed":
            rows = [f"    {tame(row, keep='')}" for row in (case.message, *case.rows)]
            out += ["  ---", "  message: |", *rows, "  ..."]
    return "\n".join([*out, ""])


# -- popshell ping -----------------------------------------------------------------------------------------------------

#: The stages of a connection, with the exit code if it fails there: those of scripts, and the look-up of a name.
EXIT_CODES = {"ok": 0, "lookup": 8, "tcp": STAGES["connect"], "tls": STAGES["tls"]}
EXIT_CODES |= {"greeting": STAGES["greeting"], "quit": STAGES["end"]}
#: How long greeting and reply are waited for, in seconds.
_PATIENCE = 30.0
#: The stage that a step ends, and the one that it begins.
_ENDS = {"resolved": "lookup", "connected": "tcp", "tls": "tls"}
_BEGINS = {"resolving": "lookup", "resolved": "tcp", "connected": "tls"}


def ping(arguments: Arguments, config: Config, words: Words) -> int:
    """Connects, reads the greeting, sends QUIT, writes one line. Returns the exit code, by stage. Raises Usage."""
    reach = Reach(arguments, config, words)
    destination = reach.destination(arguments.address or "")
    address = destination.address
    assert address is not None
    found: dict[str, Any] = {"version": 1, "host": address.host, "port": address.port}
    found |= _pinged(reach.channels(destination, _PATIENCE))
    found["seconds"] = {stage: round(seconds, 4) for stage, seconds in found["seconds"].items()}
    code = found["exit_code"] = EXIT_CODES[found["stage"]]
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return code
    times = words.listed(
        words("ping.time", stage=words(f"ping.{stage}"), milliseconds=round(seconds * 1000))
        for stage, seconds in found["seconds"].items()
    )
    if found["stage"] == "ok":
        text = words("ping.ok", place=address.label, address=found["address"], tls=found["tls"] or words("ping.clear"))
    else:
        text = words(
            "ping.failed", place=address.label, stage=words(f"ping.{found['stage']}"), error=found["error"]["text"]
        )
        times = times and f"({times})"
    sys.stdout.write(show(f"{text} {times}".strip(), keep="").replace("\n", " ") + "\n")
    return code


def _pinged(channels: Channels) -> dict[str, Any]:
    """What came of one try: `stage` is `ok`, or where it failed."""
    found: dict[str, Any] = {"address": None, "tls": None, "greeting": None, "seconds": {}, "error": None}
    found["stage"] = "tcp"

    def step(step: Step) -> None:
        found["address"], found["stage"] = step.address or None, _BEGINS.get(step.what, found["stage"])
        if step.what in _ENDS and step.seconds is not None:
            found["seconds"][_ENDS[step.what]] = step.seconds
        if step.what == "tls":
            found["tls"] = step.facts["version"]

    channels.on_step = step
    with closing(channels):
        try:
            channel = channels.connect()
            began, found["stage"] = channels.now(), "greeting"
            greeting = channel.line("greeting-timeout")
            found["greeting"] = greeting.decode("utf-8", "backslashreplace").rstrip("\r\n")
            if not channels.upgrades:  # else it came before TLS
                found["seconds"]["greeting"] = channels.now() - began
            began, found["stage"] = channels.now(), "quit"
            channel.send(b"QUIT" + CRLF)
            channel.line("reply-timeout")
            found["seconds"]["quit"], found["stage"] = channels.now() - began, "ok"
        except ChannelError as error:
            found["error"] = {"code": error.code, "text": str(error)}
            if found["stage"] == "tls" and re.match(GREETING_FAILED, error.code):  # before STLS
                found["stage"] = "greeting"
            elif error.code in ("wants-certificate", "own-refused"):  # in TLS 1.3 that comes after our handshake
                found["stage"] = "tls"
    return found
