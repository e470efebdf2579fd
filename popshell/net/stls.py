"""STLS before anything else (RFC 2595 §4), for connections on which no user types it; and what a first reply lacks."""

from __future__ import annotations

import asyncio
import re

from popshell.net.client import Target, Transport
from popshell.net.errors import NetError
from popshell.protocol.strangers import what_speaks
from popshell.protocol.wire import CRLF

#: The longest line that is read, in octets (wire.ReplyLimits.status_line).
LONGEST = 8 * 1024


def judged(line: bytes, target: Target) -> bytes:
    """`line`, if it is a whole reply that begins with `+OK`.

    Raises NetError: `turned-away` for `-ERR`, `not-pop3`, `line-cut` without an end, `closed-early` if it is empty.
    """
    if line.startswith(b"+OK") and line.endswith(b"\n"):
        return line
    known = re.match(rb"\+OK|-ERR", line) is not None
    code = ("turned-away" if line.endswith(b"\n") else "line-cut") if known else "not-pop3" if line else "closed-early"
    speaks = what_speaks(line).replace("pop3", "")
    text = line.decode("utf-8", "backslashreplace").strip()
    raise NetError(code, host=target.host, port=target.port, text=text, speaks=speaks)


async def stls_first(transport: Transport, seconds: float) -> bytes:
    """Put TLS over a connection that was just opened; gives the greeting, which came in clear text.

    Afterwards `transport` calls what it called before. Raises NetError: as `judged` for the greeting,
    `greeting-timeout`, `unasked-before-tls`; then `stls-refused`, `reply-timeout`.
    """
    on_data, on_close = transport.on_data, transport.on_close
    came, news, target = bytearray(), asyncio.Event(), transport.target

    def heard(data: bytes) -> None:
        came.extend(data)
        news.set()

    def closed(error: Exception | None) -> None:
        news.set()
        on_close(error)

    async def line(start: int, overdue: str) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                while not (end := came.find(b"\n", start) + 1) and not transport.closed and len(came) < start + LONGEST:
                    news.clear()
                    await news.wait()
        except TimeoutError:
            if start == len(came):
                raise NetError(overdue, seconds=round(seconds), host=target.host, port=target.port) from None
        return judged(bytes(came[start : end or None]), target)

    transport.on_data, transport.on_close = heard, closed
    greeting = await line(0, "greeting-timeout")
    if len(came) > len(greeting):  # what came ahead of its time would be taken for the reply to STLS
        raise NetError("unasked-before-tls")
    transport.write(b"STLS" + CRLF)
    try:
        reply = await line(len(greeting), "reply-timeout")
    except NetError as error:
        if error.code == "reply-timeout":
            raise
        raise NetError("stls-refused") from error
    # One octet more, and the connection is aborted (sec-T2).
    await transport.start_tls(after=len(greeting) + len(reply))
    transport.on_data, transport.on_close = on_data, on_close
    return greeting
