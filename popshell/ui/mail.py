"""`:mail`: a message as a mail program shows it, and below each piece that was encoded the octets that it came as.

Every row of the message has a margin, as those of replies have (sec-R5): `│` for what a mail program shows, `S:` for
octets as they came. No more than MOST_ROWS rows are laid out, whatever the message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import islice

from popshell.course import mail as mails
from popshell.course.catalog import Words
from popshell.protocol.records import Exchange
from popshell.ui import layout
from popshell.ui.layout import Line, Look
from popshell.ui.shell import Refused, Shell
from popshell.visible import fold, show

#: Rows of a page (sec-R6), rows of octets below a field or text, and of a line of text that is wrapped, in characters.
MOST_ROWS, _MOST_RAW, _PIECE = 2000, 3, 4000
#: The fields that a mail program shows, in this order; the others are counted.
_SHOWN = ("from", "sender", "reply-to", "to", "cc", "date", "subject")


async def mail(shell: Shell, argument: str) -> None:
    """Show a message that was fetched on this connection, or send RETR first."""
    if not re.fullmatch("[0-9]{1,10}", argument):
        raise Refused
    exchange = _fetched(shell, int(argument)) or await _fetch(shell, argument)
    if exchange is None or exchange.response is None or exchange.response.content is None:
        return
    look = shell.screen.look
    rows = list(islice(_page(mails.read(exchange.response.content), argument, look, shell.words), MOST_ROWS + 1))
    if len(rows) > MOST_ROWS:
        rows[MOST_ROWS:] = layout.paragraph(shell.words("mail.rows", rows=MOST_ROWS, msg=argument), look, style="warn")
    shell.page(shell.screen.drawn(rows))


def _fetched(shell: Shell, number: int) -> Exchange | None:
    """The last RETR of the message on this connection whose reply is kept; numbers hold for one session only."""
    for exchange in reversed(shell.exchanges_here()):
        command, kept = exchange.command, exchange.response is not None and exchange.response.content is not None
        if command is not None and command.name == "RETR" and command.message == number and exchange.ok and kept:
            return exchange
    return None


async def _fetch(shell: Shell, number: str) -> Exchange | None:
    """Send RETR; its content is not shown as a reply. None if it was refused or did not come, which was shown."""
    shell.shows_itself = True
    try:
        event = await shell.send(f"RETR {number}", by_shell="shell.sent-for-mail")
    finally:
        shell.shows_itself = False
    return event if isinstance(event, Exchange) and event.ok else None


def _page(mail: mails.Mail, number: str, look: Look, words: Words) -> Iterator[Line]:
    yield from layout.paragraph(words("mail.title", msg=number, octets=f"{len(mail.octets):,}"), look, style="emphasis")
    yield []
    yield from _fields(mail.root, look, words)
    yield from _faults(mail, "", look, words)
    if mail.root.parts:
        yield []
        yield from layout.paragraph(words("mail.parts"), look, style="emphasis")
        for part in mail.root.all():
            yield from _named(part, look, words)
            yield from _faults(mail, part.number, look, words) if part.number else ()
    end = time.monotonic() + mails.LIMITS.seconds
    for part in mail.root.all():
        if time.monotonic() > end:
            yield from layout.paragraph(words("mail.time"), look, "    ", style="warn")
            return
        if part.kind == "message/rfc822" and part.parts and not part.other_form:
            yield []
            yield from layout.paragraph(words("mail.within", part=part.number or number), look, style="emphasis")
            yield from _fields(part.parts[0], look, words)
        elif part.readable:
            yield from _text(mail, part, look, words)


def _faults(mail: mails.Mail, number: str, look: Look, words: Words) -> Iterator[Line]:
    for code, part in mail.faults:
        if part == number:
            yield from layout.paragraph(words(f"mail.{code}"), look, "    ", style="warn")


def _fields(part: mails.Part, look: Look, words: Words) -> Iterator[Line]:
    """The fields that matter to a reader, each with its octets if they are others; the names of the rest."""
    of = {name: [field for field in part.fields if field.name.lower() == name] for name in _SHOWN}
    for field in (field for name in _SHOWN for field in of[name]):
        text = show(f"{field.name}: {field.value}", keep="")
        yield from _rows(text, look, len(field.name) + 1)
        if show(field.raw, keep="") != text:
            yield from _raw(field.raw, look)
    rest = [show(field.name, keep="") for field in part.fields if field.name.lower() not in _SHOWN]
    if rest:
        names = words.listed(dict.fromkeys(rest))
        yield from layout.paragraph(words("mail.fields", count=len(rest), names=names), look, style="note")


def _named(part: mails.Part, look: Look, words: Words) -> list[Line]:
    """A part as a row of the tree."""
    octets = f"{part.end - part.start:,}"
    said = [part.kind, *filter(None, (part.charset, part.encoding)), words("mail.octets", octets=octets)]
    if part.attached or part.filename:
        said.append(words("mail.attachment" if part.attached else "mail.named", name=part.filename or "-"))
    if part.other_form:
        said.append(words("mail.other-form"))
    indent = "    " + "  " * min(part.number.count(".") + bool(part.number), 10)
    text = show(words.listed(said), keep="")
    hanging = indent + " " * min(len(part.number) + 2, 12)
    return layout.wrap(
        [("number", part.number), ("", "  " if part.number else ""), ("peer", text)], look, indent, hanging
    )


def _text(mail: mails.Mail, part: mails.Part, look: Look, words: Words) -> Iterator[Line]:
    raw, read = mail.octets[part.start : part.end], mails.text_of(mail, part)
    first = mail.octets.count(b"\n", 0, part.start) + 1
    last = first + raw.count(b"\n")
    facts = {
        "part": part.number,
        "kind": show(part.kind, keep=""),
        "lines": f"{first}-{last}" if last > first else first,
    }
    yield []
    title = words("mail.text" if part.number else "mail.only-text", **facts)
    yield from layout.paragraph(title, look, style="emphasis")
    for code in read.faults:
        facts = {"charset": show(part.charset, keep=""), "encoding": show(part.encoding, keep="")}
        yield from layout.paragraph(words(f"mail.{code}", **facts), look, "    ", style="warn")
    if raw.replace(b"\r\n", b"\n")[: len(read.text)] != read.text.encode("utf-8", "surrogateescape"):
        yield from _raw(raw, look)
    for line in read.text.removesuffix("\n").split("\n"):
        yield from _rows(show(line, keep="\t").expandtabs(), look)
    if read.left:
        yield from layout.paragraph(words("mail.left", octets=f"{read.left:,}"), look, style="warn")


def _rows(text: str, look: Look, name: int = 0) -> Iterator[Line]:
    """A line of the message in rows with a margin; the first `name` characters are the name of a field."""
    room = max(look.width - 4, 16)
    margin = ("gutter-server", "  │ ")
    if layout.columns(text) <= room:
        yield [margin, ("header-name", text[:name]), ("peer", text[name:])]
        return
    for at in range(0, len(text), _PIECE):
        runs = [("header-name", text[at:name]), ("peer", text[max(at, name) : at + _PIECE])]
        yield from ([margin, *line] for line in layout.wrap_runs(runs, room, hanging="  " if name else ""))


def _raw(raw: bytes, look: Look) -> Iterator[Line]:
    """The first rows of octets as they came."""
    room, used = max(look.width - 8, 16), 0
    lines = raw[: _MOST_RAW * 1000].split(b"\n")
    for line in lines:
        text = show(line.removesuffix(b"\r"), keep="")
        for start, end in fold(text, room):
            if used == _MOST_RAW:
                yield [("gutter-server", "    S| "), ("note", look.ellipsis)]
                return
            yield [("gutter-server", "    S| " if start else "    S: "), ("peer", text[start:end])]
            used += 1
