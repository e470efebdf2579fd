"""Connector: opens a shell's connections, to the practice server of this process or to a real one.

It joins a Transport to a Session: octets go up, lines go down.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from popshell.net.address import Address, AddressError, Destination, Excused, TlsMode, parse_address
from popshell.net.client import connect as open_transport
from popshell.net.listener import Listener
from popshell.server.mailserver import MailServer
from popshell.session import ConnectError, Endpoint, Event, OpenConnection, Session, Step


class Clock:
    """Seconds of the monotonic clock, moved ahead by `:wait`; the practice server and its client share it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


#: The practice server of this process.
PRACTICE = Destination()


class Connector:
    """Opens connections for the Shell."""

    def __init__(
        self,
        server: MailServer,
        destination: Destination = PRACTICE,
        read: Callable[[str, Destination], Destination] = lambda text, here: Destination(parse_address(text)),
    ) -> None:
        """`read` understands what `:connect` was given, and raises AddressError or NetError; it knows where one is.

        If `destination` is insecure, that excuses the first host and port that is connected to.
        """
        self.server = server
        #: where the connection that stood last leads
        self.destination = destination
        self._read = read
        self._excused = Excused(destination.insecure)
        self.clock = Clock()
        server.settings = server.settings._replace(clock=self.clock)
        self._listener = Listener(lambda **client: self.server.session(**client))  # of the server that is in use then
        self._practice: tuple[str, int] | None = None

    async def open_practice(self) -> tuple[str, int]:
        """Start the practice server, once. Raises NetError."""
        if self._practice is None:
            self._practice = await self._listener.start()
        return self._practice

    async def close(self) -> None:
        await self._listener.close()

    def use(self, server: MailServer) -> None:
        """Let new connections of the practice server meet `server`."""
        self.server = server

    def pass_time(self, seconds: float) -> None:
        self.clock.ahead += seconds
        self._listener.check_timers()

    def fork(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The messages that the open maildrop would hold after QUIT, and after a lost connection."""
        return next(m for m in self.server.maildrops.values() if m.in_use).fork()

    def connect(
        self,
        where: str | None,
        on_event: Callable[[Event, bool], None],
        on_end: Callable[[Exception | None], None],
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> Awaitable[OpenConnection]:
        """Connect to `where`: None for the same place again, "practice" for the server of this process.

        Raises ConnectError at once for what is not understood; what is awaited raises what the network says
        (net/errors.py).
        """
        try:
            destination = self.destination if where is None else self._read(where, self.destination)
        except AddressError as error:
            raise ConnectError(error.code, **error.facts) from None
        if destination.way.files:
            from popshell.net.trust import ask_passphrase

            ask_passphrase(destination.way)
        return self._connect(destination, on_event, on_end, on_step)

    async def _connect(
        self,
        destination: Destination,
        on_event: Callable[[Event, bool], None],
        on_end: Callable[[Exception | None], None],
        on_step: Callable[[Step], None],
    ) -> OpenConnection:
        practice = destination.address is None
        if destination.address is None:
            address = Address(*await self.open_practice(), TlsMode.NONE)
            opened = Destination(address, timeout=destination.timeout, ca_data=self._listener.certificate_pem)
        else:
            address = destination.address
            opened = destination._replace(insecure=self._excused(address, destination.insecure))
        transport = await open_transport(
            opened,
            on_step=lambda step: on_step(step._replace(practice=practice)),
        )
        self.destination = destination
        session = Session(self.clock, on_event, on_end, tls=transport.tls is not None)
        session.wire, transport.on_data, transport.on_close = transport, session.received, session.end
        endpoint = Endpoint(
            address.label,
            practice=practice,
            loopback=transport.loopback,
            insecure=opened.insecure,
            autologout=self.server.limits.autologout if practice else None,
            stls=address.tls is TlsMode.STLS,
            timeout=destination.timeout,
            draft=address.draft,
            look_only=destination.look_only,
            password_command=destination.password_command,
            certificate=bool(opened.way.cert or opened.way.key),
            tokens=(lambda: self.server.settings.accounts.tokens) if practice else dict,
        )
        return OpenConnection(
            session,
            endpoint,
            tls_facts=lambda: dict(transport.tls.known) if transport.tls else {},
            binding=lambda: transport.tls.binding if transport.tls else None,
            certificates=lambda: transport.tls.report(opened.name) if transport.tls else None,
        )
