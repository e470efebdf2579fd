"""Transcripts: a session as `C:` and `S:` lines, as `:save` writes them and `popshell run` plays them."""

from __future__ import annotations

from collections.abc import Iterator

from popshell.protocol.records import Exchange
from popshell.visible import show


def transcript_lines(exchanges: list[Exchange], *, masked: bool = True, private: str = "") -> Iterator[str]:
    """The session as `C:`/`S:` lines, secrets masked, everything else filtered (sec-F2).

    Unmasked is for what no user typed, such as a dialogue of a lesson, and for a user who asked for it and agreed.
    `private` is the remark that stands before the text of a message (sec-K4); `[...]` is a text that went into a file.
    Each further connection begins with `@connect`, as in a script (docs/reference-scripts.md).
    """
    for number, exchange in enumerate(exchanges):
        if number and exchange.is_greeting:
            yield "@connect"
        sent = [f"C: {show(text, keep='')}" for text in exchange.sent_lines(masked=masked)]
        received = exchange.received_lines(masked=masked)
        status = len(exchange.steps)
        yield from sent[:1]
        for at, line in enumerate(received):
            if at == status + 1 and private and exchange.name in ("RETR", "TOP"):
                yield f"# {private}"
            text = line.removesuffix("\r\n")
            yield f"S: {show(text, keep=chr(9) if at > status else '')}"
            yield from sent[at + 1 : at + 2]
        if exchange.stream is not None and exchange.ok:
            yield from ("S: [...]", "S: .")
        if exchange.problem is not None and (received[status:] or exchange.problem.lines):
            cut = received and not received[-1].endswith("\r\n")
            yield f"# {exchange.problem.code}" + (", no CRLF" if cut else "")
