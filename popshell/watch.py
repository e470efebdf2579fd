"""`popshell watch`: stands between a mail program and its server, and shows their sessions as the shell would.

It listens on loopback only. What it answers itself (net/relay.py) is marked as its own on the screen and in the log.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from popshell.arguments import Arguments
from popshell.course import symptoms
from popshell.net.address import Destination, TlsMode, is_loopback_name, text_of
from popshell.net.errors import NetError
from popshell.net.relay import Answered, LeftOpen, Said, Unreadable
from popshell.net.relaying import Ended, RelayListener, RelaySession, SessionEvent
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge
from popshell.protocol.line import CommandLine
from popshell.protocol.records import JSON_VERSIONS, Exchange
from popshell.protocol.wire import from_base64
from popshell.serve import Stop, listen, log_of, say, until_stopped
from popshell.session import Endpoint, Step
from popshell.ui import diagram, events
from popshell.ui.display import Display
from popshell.ui.events import End
from popshell.ui.exports import JsonRecords
from popshell.ui.layout import Look
from popshell.ui.screen import CLOCK_LINES, PlainScreen, Screen, draws
from popshell.ui.shell import Options, Shell
from popshell.ui.theme import chosen
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.config import Config
    from popshell.course.catalog import Catalog, Words

#: Lines of a reply's content that are shown.
_SHOWN = 12


async def watch(destination: Destination, arguments: Arguments, config: Config, catalog: Catalog) -> int:
    """Relay until SIGINT or SIGTERM; gives the exit code. Raises Usage, and OSError when nothing can be written."""
    options = Options(config.get("language"), config.get("notes"))
    screen = _screen(arguments, config)
    words, stop = catalog.words(options.language), Stop()

    def dial(*_: object) -> NoReturn:
        raise AssertionError  # nothing is typed

    with log_of(arguments, words) as log:
        version = int(arguments.json or JSON_VERSIONS[-1])
        watcher = _Watcher(lambda: _View(catalog, screen, dial, options), destination, log, version, stop)
        listener = RelayListener(destination, watcher.heard, catalog.replies("en"))

        async def start() -> None:
            bound = await listen(listener, "127.0.0.1", arguments.listen, arguments, words)
            say(screen.out, _introduction(destination, arguments, bound, words))

        ticking = asyncio.get_running_loop().create_task(watcher.tick(listener))
        try:
            return await until_stopped(listener, start, stop, words)
        finally:
            ticking.cancel()


def _screen(arguments: Arguments, config: Config) -> Screen:
    # JSON lines on standard output leave the other one to what is for people.
    out = sys.stderr if arguments.json or arguments.log == "-" else sys.stdout
    colours = out.isatty() and not config.get("plain") and os.environ.get("TERM", "dumb") != "dumb"
    ascii = config.get("ascii") or not draws(out.encoding)
    theme = "none" if config.get("plain") else chosen(*config.values["theme"], os.environ, colours)
    return Screen(Look(theme, ascii=ascii), out=out) if colours else PlainScreen(out, ascii=ascii, theme=theme)


def _introduction(
    destination: Destination, arguments: Arguments, bound: list[tuple[str, int]], words: Words
) -> Iterator[str]:
    address = destination.address
    assert address is not None  # the command has a HOST
    clear = address.tls is TlsMode.NONE
    how = words("watch.how-insecure" if destination.insecure and not clear else f"watch.how-{address.tls.value}")
    yield words("watch.between", server=address.label, how=how)
    for key, place in zip(("watch.place", "watch.place-tls"), bound, strict=False):
        yield words(key, place=text_of(place))
    yield words("watch.ca", path=str(arguments.ca_out)) if arguments.ca_out else words("watch.no-ca")
    if clear and not is_loopback_name(address.host):
        yield words("watch.clear")


class _View(Shell):
    """What one session is shown by: a shell at whose prompt nothing is typed."""

    #: where the session stands
    at: State = State.CLOSED
    #: what the record of the next reply says of PopShell's part in it
    own: Mapping[str, object] = MappingProxyType({})
    #: whether mechanisms that bind to the server's certificate were kept from the program, and it was not said yet what
    #: becomes of one that says that it could have used them
    unbound: bool = False
    #: what was last said to be missing of a reply
    lack: str = ""

    @property
    def again(self) -> str:
        return "popshell watch"

    def reply(self, exchange: Exchange, start: int = 0, most: int | None = None, *, begun: bool = False) -> None:
        shown = self.screen.reply(exchange, start, _SHOWN, begun=begun)
        if shown.left > 0:
            self.say("watch.left", left=shown.left)

    def note(self, event: events.ShellEvent) -> None:
        """For the record only: what Display would say of it is for one who types, or of a server."""
        for heard in self.subscribers[1:]:
            heard(event)

    def check(self) -> None:
        """Raises OSError if something could not be written."""
        self.record.clear()  # a session may be long, and nothing is asked of it afterwards
        if self._output_failed is not None:
            raise self._output_failed


class _Watcher:
    """Shows and records what sessions report."""

    def __init__(
        self, new_view: Callable[[], _View], destination: Destination, log: TextIO | None, version: int, stop: Stop
    ) -> None:
        self._new_view = new_view
        self._insecure = destination.insecure
        self._stls = destination.address is not None and destination.address.tls is TlsMode.STLS
        self._log = log
        self._version = version
        self._stop = stop
        self._views: dict[RelaySession, _View] = {}
        self._shown: RelaySession | None = None  # the session that was shown last

    def heard(self, session: RelaySession, event: SessionEvent) -> None:
        """What a RelayListener reports to: octets pass, whatever goes wrong here.

        Where nothing can be written any more the program ends.
        """
        try:
            view = self._turn(session)
            try:
                self._show(session, view, event)
            except Exception as error:
                view.failed(error)
            view.check()
            if isinstance(event, Ended):
                del self._views[session]
        except OSError as error:
            self._stop(error)

    async def tick(self, listener: RelayListener) -> None:
        """Say at a few times for how long a reply is due."""
        while True:
            await asyncio.sleep(1.0)
            for session in tuple(listener.sessions):
                if session in self._views and (due := session.due()) is not None:
                    seconds = int(session.clock() - due.since)
                    if seconds in CLOCK_LINES:
                        view = self._turn(session)
                        facts: Any = {"command": _name(view, due.command), "lines": due.lines, "octets": due.octets}
                        view.say("watch.due", seconds=seconds, **facts)
                        if (due.content or due.tail) and view.lack != (lack := symptoms.lack(due)):
                            view.lack = lack
                            view.say(f"shell.{lack}", **facts)

    def _turn(self, session: RelaySession) -> _View:
        """The view of a session, named if another one was shown last."""
        if session not in self._views:
            view = self._views[session] = self._new_view()
            view.subscribe(Display(view).heard)
            if self._log is not None:
                records = JsonRecords(self._log, self._version, words=view.net_words, before=session.number - 1)
                view.subscribe(lambda event: records.heard(event, **view.own))
            view.publish(events.Connecting())
        view = self._views[session]
        if session is not self._shown:
            self._shown = session
            view.say("watch.session", style="emphasis", number=session.number, client=session.client)
        return view

    def _show(self, session: RelaySession, view: _View, event: SessionEvent) -> None:
        match event:
            case Step(what=what):
                view.publish(event)
                if what == "connected":
                    where = text_of((event.address or event.host, event.port))
                    endpoint = Endpoint(where, practice=False, loopback=False, insecure=self._insecure)
                    view.publish(events.Connected(endpoint))
                elif what == "tls" and self._stls:
                    view.say("watch.stls")
            case Said(line=line, cancels=cancels):
                view.publish(events.Sent(line, cancels))
            case Answered(event=Challenge() as challenge):
                view.screen.challenge(challenge.line.decode("utf-8", "surrogateescape"))
            case Answered(event=Exchange() as exchange):
                self._answered(view, exchange, event)
            case LeftOpen(exchange=exchange):
                view.say("watch.left-open", style="warn", line=_name(view, exchange.command))
                view.publish(events.Unshown(exchange))
                if lack := symptoms.lacked(exchange):
                    view.say(f"shell.{lack}", command=_name(view, exchange.command))
            case Unreadable():
                view.say("watch.unreadable", style="warn")
            case NetError():
                view.publish(events.Failed(event))
            case Ended(by_server=by_server, error=error):
                quits = view.at is State.UPDATE
                how = End.LEFT if not by_server else End.QUIT if quits else End.LOST
                view.say("watch.server-closed" if by_server else "watch.client-closed")
                if view.at is not State.CLOSED:
                    look = view.screen.look.within(-2)
                    drawn = diagram.arrow(view.at, State.CLOSED, None, look, view.words) if by_server else []
                    view.screen.state_changed(view.at, State.CLOSED, drawn)
                view.note(events.Ended(how, view.at, error))

    def _answered(self, view: _View, exchange: Exchange, event: Answered) -> None:
        marked = event.own or event.taken or event.put
        view.own = {"own": {"reply": event.own, "taken": event.taken, "put": event.put}} if marked else {}
        said = (events.Greeted if exchange.is_greeting else events.Replied)(exchange)
        if event.own:  # notes explain servers
            view.reply(exchange)
            view.note(said)
            view.say(f"watch.own-{exchange.name.lower() or 'greeting'}", style="warn")
        else:
            view.publish(said)
        view.own = {}
        view.at = exchange.after
        for key, rows in (("watch.taken", event.taken), ("watch.put", event.put)):
            if rows:
                view.say(key, style="warn", rows=view.words.listed([show(row, keep="") for row in rows]))
        view.unbound = view.unbound or any("-PLUS" in row.upper() for row in event.taken)
        if view.unbound and exchange.name == "AUTH" and not exchange.ok and _could_bind(exchange):
            view.unbound = False
            view.say("watch.could-bind", style="warn")
        view.say("watch.took", milliseconds=round(exchange.milliseconds), octets=len(exchange.received))


def _could_bind(exchange: Exchange) -> bool:
    """Whether SCRAM's first message says that the program binds to certificates, and thinks the server does not: the
    flag `y`. A server that does has to refuse then (RFC 5802 §6)."""
    mechanism, *given = exchange.command.arguments[:2] if exchange.command else ("",)
    first = given[0] if given else exchange.steps[0].answer if exchange.steps else b""
    return mechanism.upper().startswith("SCRAM-") and (from_base64(first) or b"").startswith(b"y,")


def _name(view: _View, command: CommandLine | None) -> str:
    """What is waited for: a command, or the greeting."""
    return show(command.name if command else view.words("problem.greeting"), keep="")
