"""Names and addresses: a host's addresses, and what counts as this machine.

Traps: `loop.getaddrinfo` works in the default executor, and leaving `asyncio.run` waits for that thread: with a dead
name server a Ctrl-C would hang for half a minute. So a name is looked up in a daemon thread of its own, and an address
needs no thread at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

#: What `getaddrinfo` gives: (family, address) is all that is kept. An address is (host, port) or IPv6's four.
Address = tuple[str, int] | tuple[str, int, int, int]
Found = tuple[socket.AddressFamily, Address]


async def resolve(host: str, port: int) -> list[Found]:
    """The addresses of `host`, in the system's order. Raises OSError; UnicodeError for what cannot be a name."""
    try:
        # Digits only: nobody is asked, so this never blocks. As octets, or the codec for names is loaded: 2 ms.
        return _look_up(host.encode(), port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Found]] = loop.create_future()

    def give(found: list[Found] | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def ask() -> None:
        found: list[Found] | None = None
        error: Exception | None = None
        try:
            found = _look_up(host, port, 0)
        except (OSError, ValueError) as caught:  # UnicodeError is a ValueError
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody wants to know any more
            loop.call_soon_threadsafe(give, found, error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return await answer


def _look_up(host: str | bytes, port: int, flags: int) -> list[Found]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, (str(address[0]), *address[1:])) for family, _, _, _, address in rows]


def is_loopback(address: str) -> bool:
    """Whether a numeric address, as the system writes it, stays on this machine."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def is_localhost(host: str) -> bool:
    return host.rstrip(".").lower() == "localhost"


def is_loopback_name(host: str) -> bool:
    """Whether what was typed is this machine without asking anybody: `localhost`, or an address however it is written.

    `127.0.0.1.example.org` is a name of somebody's; `127.1` is what the system connects to as 127.0.0.1.
    """
    if is_localhost(host):
        return True
    try:
        found = _look_up(host.encode(), 0, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return False
    return all(is_loopback(address[0]) for _, address in found)


def text_of(address: Address) -> str:
    """An address as people write it: `127.0.0.1:110`, `[::1]:110`."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
