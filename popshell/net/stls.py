"""Replies of one line, and STLS before anything else (RFC 2595 §4), for connections on which no user types."""

from __future__ import annotations

import asyncio
import re

from popshell.net.client import Transport
from popshell.net.errors import NetError
from popshell.protocol.strangers import what_speaks
from popshell.protocol.wire import CRLF

#: The longest line that is read, in octets (wire.ReplyLimits.status_line).
_LONGEST = 8 * 1024


class Incoming:
    """What a transport that was just opened has delivered, and what of it is not read yet. It takes over `on_data`."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        """A line is waited for so many seconds."""
        self._transport, self._seconds = transport, seconds
        self._on_close = transport.on_close
        self.came = bytearray()
        #: set when more has come, or the connection has ended
        self.news = asyncio.Event()
        transport.on_data, transport.on_close = self.heard, self._closed

    def heard(self, data: bytes) -> None:
        self.came += data
        self.news.set()

    def _closed(self, error: Exception | None) -> None:
        self.news.set()
        self._on_close(error)

    async def line(self, overdue: str) -> bytes:
        """The next line, if it is a whole reply that begins with `+OK`.

        Raises NetError: `overdue` if nothing comes, `turned-away` for `-ERR`, `not-pop3`, `line-cut` without an end,
        `closed-early` if the server closes before.
        """
        target = self._transport.target
        try:
            async with asyncio.timeout(self._seconds):
                while b"\n" not in self.came and not self._transport.closed and len(self.came) < _LONGEST:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            if not self.came:
                facts = {"seconds": round(self._seconds), "host": target.host, "port": target.port}
                raise NetError(overdue, **facts) from None
        text, end, self.came = self.came.partition(b"\n")
        line = bytes(text + end)
        if line.startswith(b"+OK") and end:
            return line
        known = re.match(rb"\+OK|-ERR", line) is not None
        code = ("turned-away" if end else "line-cut") if known else "not-pop3" if line else "closed-early"
        speaks = what_speaks(line).replace("pop3", "")
        said = line.decode("utf-8", "backslashreplace").strip()
        raise NetError(code, host=target.host, port=target.port, text=said, speaks=speaks)

    async def stls(self) -> bytes:
        """Read the greeting, which comes in clear text, and put TLS over the connection; gives the greeting.

        Raises NetError: as `line` for the greeting, with `greeting-timeout`; `unasked-before-tls`; then
        `stls-refused`, `reply-timeout`.
        """
        greeting = await self.line("greeting-timeout")
        if self.came:  # what came ahead of its time would be taken for the reply to STLS
            raise NetError("unasked-before-tls")
        self._transport.write(b"STLS" + CRLF)
        try:
            await self.line("reply-timeout")
        except NetError as error:
            if error.code == "reply-timeout":
                raise
            raise NetError("stls-refused") from error
        await self.start_tls()
        return greeting

    async def start_tls(self) -> None:
        """The reply to STLS was the last that was read: one octet more, and the connection is aborted (sec-T2)."""
        await self._transport.start_tls(after=self._transport.bytes_in - len(self.came))
