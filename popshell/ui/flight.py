"""Several lines at once: a pasted block, or `:flight`. What CAPA lets be pipelined goes out in one flight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from popshell.protocol.line import parse
from popshell.ui import waiting

if TYPE_CHECKING:
    from popshell.ui.shell import Shell


async def run_block(shell: Shell, lines: list[str]) -> None:
    """Run `lines`: as one flight where the server announced PIPELINING (RFC 2449 §6.6), else one by one."""
    while lines:
        session = shell.session
        if session is None and not lines[0].startswith(":"):
            shell.say("shell.not-connected", style="warn")
            _keep(shell, lines)
            return
        count = 1
        if session and session.connection.capabilities and "PIPELINING" in session.connection.capabilities:
            count = flight(lines)
        now, lines = lines[:count], lines[count:]
        try:
            if count > 1:
                sent = await _send(shell, now)
                lines = now[sent:] + lines
                if not sent:  # the connection is ending just now
                    shell.say("shell.not-connected", style="warn")
                    _keep(shell, lines)
                    return
            else:
                await shell.run(now[0])
        except asyncio.CancelledError:
            _keep(shell, lines)
            raise


def flight(lines: list[str]) -> int:
    """How many of the first lines may go out together: up to one whose reply decides what is next."""
    for count, text in enumerate(lines, 1):
        line = parse(text)
        if text.startswith(":") or line.spec is None or line.spec.name == "DELE" or line.has("control"):
            return max(1, count - 1)
        if line.spec.ends_pipeline:
            return max(1, count - 1)
    return len(lines)


async def _send(shell: Shell, lines: list[str]) -> int:
    """Send `lines`, then show their replies. How many went out: the line may close meanwhile."""
    shell.say("shell.pipelined", count=len(lines))
    futures = []
    with shell.order.kept():
        for text in lines:
            if shell.session is None:
                break  # why is told with the replies to the lines before it
            line = parse(text, shell.session.connection.context())
            try:
                futures.append(shell.session.submit(line))
            except ConnectionError:
                break
            shell.screen.command(line, True)
        for future in futures:
            await shell.show(await waiting.reply_to(shell, future))
    return len(futures)


def _keep(shell: Shell, lines: list[str]) -> None:
    """Lines that were not sent go back to the prompt."""
    if lines:
        shell.draft = "\n".join(lines)
        shell.say("shell.paste-kept")
