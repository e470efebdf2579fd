"""The user's pager: `$PAGER`, or else `less`, with a text that was filtered and coloured already (`:pager`).

No shell reads the command. `less` is told to be secure (no files, no commands), to obey colours and nothing else, and
to chop long rows: our rows have their margin, and a row that it broke would have none (sec-R5).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from itertools import islice

#: Rows that are handed over in one go.
_ROWS = 500


def command(environ: Mapping[str, str]) -> list[str] | None:
    """The pager with its arguments; None if there is none."""
    with contextlib.suppress(ValueError):  # a quotation mark without its fellow
        words = shlex.split(environ.get("PAGER", "")) or ["less"]
        for found in (words, ["less"], ["more"]):
            if shutil.which(found[0]):
                return [*found, "-RS"] if os.path.basename(found[0]) == "less" else found
    return None


async def run(rows: Iterable[str], encoding: str, environ: Mapping[str, str]) -> bool:
    """Show the rows until the user leaves the pager; False if there is none."""
    words = command(environ)
    if words is None:
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, env={**environ, "LESSSECURE": "1"}
        )
    except OSError:
        return False
    assert process.stdin is not None
    try:
        left = iter(rows)
        with contextlib.suppress(ConnectionError):  # whoever has seen enough leaves in the middle
            while some := list(islice(left, _ROWS)):
                process.stdin.write("".join(f"{row}\n" for row in some).encode(encoding, "backslashreplace"))
                await process.stdin.drain()
        process.stdin.close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return True
