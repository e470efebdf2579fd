"""STLS before anything else (RFC 2595 §4), for connections on which no user types it."""

from __future__ import annotations

import asyncio

from popshell.net.client import Transport
from popshell.net.errors import NetError
from popshell.protocol.wire import CRLF

#: The longest line that is read, in octets (wire.ReplyLimits.status_line).
_LONGEST = 8 * 1024


async def stls_first(transport: Transport, seconds: float) -> bytes:
    """Put TLS over a connection that was just opened; gives the greeting, which came in clear text.

    Afterwards `transport` calls what it called before. Raises NetError: `stls-refused` also where the server takes
    longer than `seconds` or closes.
    """
    on_data, on_close = transport.on_data, transport.on_close
    came, news = bytearray(), asyncio.Event()

    def heard(data: bytes) -> None:
        came.extend(data)
        news.set()

    def closed(error: Exception | None) -> None:
        news.set()
        on_close(error)

    async def line(start: int) -> bytes:
        while not (end := came.find(b"\n", start) + 1):
            if transport.closed or len(came) > start + _LONGEST:
                raise NetError("stls-refused")
            news.clear()
            await news.wait()
        if not came.startswith(b"+OK", start):
            raise NetError("stls-refused")
        return bytes(came[start:end])

    transport.on_data, transport.on_close = heard, closed
    try:
        async with asyncio.timeout(seconds):
            greeting = await line(0)
            transport.write(b"STLS" + CRLF)
            reply = await line(len(greeting))
    except TimeoutError as error:
        raise NetError("stls-refused") from error
    # One octet more, and the connection is aborted (sec-T2).
    await transport.start_tls(after=len(greeting) + len(reply))
    transport.on_data, transport.on_close = on_data, on_close
    return greeting
