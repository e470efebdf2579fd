"""Exports: JSON records, and what `:save` writes: by the file's suffix a transcript, Markdown, HTML, SVG or JSON.

What is not JSON is made of the transcript's rows; all but the plain transcript have notes and the life of connections
among them, as remarks. Every row is filtered, so that `cat` of a file does nothing to a terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from popshell.protocol.records import JSON_VERSIONS, Exchange
from popshell.protocol.wire import Stream
from popshell.session import ConnectError, Step, transcript_lines
from popshell.ui.events import Connecting, Ended, Failed, Overdue, Replied, ShellEvent, Unshown
from popshell.ui.layout import inline, wrap_text
from popshell.ui.shell import Refused, Shell
from popshell.visible import fold, show, width

WITH_SECRETS = "--with-secrets"
#: Columns of a remark, and of all rows of the picture; of the picture: size of the font, width of a character, height
#: of a row.
_COLUMNS = 100
_SIZE, _WIDE, _HIGH = 14, 8.5, 19


class JsonRecords:
    """A subscriber that writes an object a line for what happens (docs/reference-json.md).

    Version 1 has exchanges alone. Version 2 has the life of each connection, too: each step, TLS, and which side ended
    it. `words` puts a failure of the network into words; `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        version: int = JSON_VERSIONS[-1],
        *,
        words: Callable[[ConnectError], str] = lambda error: error.code,
        clock: Callable[[], float] = time.time,
        before: int = 0,
    ) -> None:
        """`before`: how many connections were counted already."""
        self._out = out or sys.stdout
        self._version = version
        self._words = words
        self._clock = clock
        #: connections of this run so far, and the last step towards the newest
        self._connections = before
        self._last: Step | None = None

    def heard(self, event: ShellEvent, **more: object) -> None:
        """`more` are further fields of an exchange."""
        for record in self.records(event):
            # ASCII escapes keep CR, LF, NEL, U+2028 and every control character out of the line (sec-F3).
            self._out.write(json.dumps({**record, **more}, ensure_ascii=True) + "\n")
            self._out.flush()

    def records(self, event: ShellEvent) -> Iterator[dict[str, Any]]:
        """The records of an event, of most events none."""
        if isinstance(event, Replied | Unshown):
            notes = [{"sort": n.sort, "text": n.text, "cite": n.cite or None} for n in event.notes]
            record = event.exchange.to_json(self._version)
            yield {**(record if self._version == 1 else self._stamped(record)), "notes": notes}
        elif self._version == 1:
            return
        elif isinstance(event, Connecting):
            self._connections += 1
            self._last = None
        elif isinstance(event, Step):
            self._last = event
            if event.what == "not-connected":
                where = {"host": event.host, "port": event.port, "addresses": event.address}
                facts: dict[str, Any] = {**event.facts, **where}
                yield self._failed(ConnectError(facts.pop("code"), **facts), event.what)
            else:
                addresses = str(event.facts["addresses"]).split(", ") if event.what == "resolved" else None
                tls = dict(event.facts) if event.what == "tls" else None
                yield self._life(event.what, tls=tls, addresses=addresses)
        elif isinstance(event, Ended):
            if isinstance(event.error, ConnectError):
                yield self._failed(event.error)
            yield self._life("closed", by=event.by, how=event.how.value)
        elif isinstance(event, Failed):
            yield self._failed(event.error)

    def _failed(self, error: ConnectError, event: str = "failed") -> dict[str, Any]:
        facts: dict[str, Any] = {"code": error.code, "text": self._words(error), "facts": dict(error.facts)}
        facts["certificates"] = error.certificates
        return self._life("certificate-refused" if error.code.startswith("certificate-") else event, error=facts)

    def _life(self, event: str, **more: object) -> dict[str, Any]:
        error = more.get("error")
        # An address that cannot be read leads nowhere, though the connection before it led somewhere.
        last = None if isinstance(error, dict) and "address" in error["facts"] else self._last
        place = {name: getattr(last, name, None) or None for name in ("host", "address", "port")}
        seconds = last.seconds and round(last.seconds, 4) if last is not None and event == last.what else None
        nothing = {"tls": None, "by": None, "how": None, "error": None, "addresses": None, "seconds": seconds}
        return self._stamped({"type": "connection", "event": event, **place, **nothing, **more})

    def _stamped(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the number of its connection and the time, in UTC."""
        seconds, milliseconds = divmod(round(self._clock() * 1000), 1000)
        when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"
        head = {"version": self._version, "type": record["type"], "time": when, "connection": self._connections}
        return {**head, **record}


def transcript(shell: Shell, *, masked: bool = True) -> Iterator[str]:
    return transcript_lines(shell.exchanges(), masked=masked, private=shell.words("shell.private"))


def records(shell: Shell) -> Iterator[tuple[dict[str, Any], Exchange | None]]:
    """The session as JSON records; those of exchanges with the exchange."""
    when = 0.0
    out = JsonRecords(words=shell.net_words, clock=lambda: when)
    for at, event in shell.record:
        when = at
        exchange = event.exchange if isinstance(event, Replied | Unshown) else None
        yield from ((record, exchange) for record in out.records(event))


def _rows(shell: Shell) -> Iterator[str]:
    """The transcript with remarks: the life of connections, and notes."""
    for record, exchange in records(shell):
        if exchange is None:
            remarks = [_life(record)]
        else:
            yield from transcript_lines([exchange], private=shell.words("shell.private"))
            notes = (inline(f"{note['sort']}: {note['text']}") for note in record["notes"])
            remarks = ["".join(text for _, text in note) for note in notes]
        for remark in remarks:
            yield from wrap_text(show(remark, keep=""), _COLUMNS, "# ", "#   ")


def _life(record: Mapping[str, Any]) -> str:
    """`2026-01-01T00:00:00.000Z connected pop.example.org [192.0.2.1]:995`."""
    place = (
        f"{record['host']} [{record['address'] or ''}]:{record['port']}".replace(" []", "") if record["host"] else ""
    )
    facts = {**(record["tls"] or {}), **{name: record[name] for name in ("by", "how", "seconds") if record[name]}}
    facts["addresses"] = " ".join(record["addresses"]) if record["addresses"] else None
    error = f"({record['error']['code']}) {record['error']['text']}" if record["error"] else ""
    shown_facts = (f"{name}={value}" for name, value in facts.items() if isinstance(value, str | float))
    return " ".join(filter(None, (record["time"], record["event"], place, *shown_facts, error)))


def _markdown(shell: Shell) -> Iterator[str]:
    rows = list(_rows(shell))
    fence = "`" * max([3, *(len(run) + 1 for row in rows for run in re.findall("`+", row))])
    yield from ("# PopShell", "", f"{fence}pop3", *rows, fence)


def _html(shell: Shell) -> Iterator[str]:
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter

    from popshell.ui.lexer import DarkStyle, LightStyle, Pop3Lexer

    yield f'<!DOCTYPE html><html lang="{shell.options.language}"><meta charset="utf-8"><title>PopShell</title>'
    yield "<style>pre { white-space: pre-wrap; overflow-wrap: anywhere }"
    for wish, ink, style in (("light", "#000", LightStyle), ("dark", "#fff", DarkStyle)):
        yield f"@media (prefers-color-scheme: {wish}) {{ body {{ color: {ink}; background: {style.background_color} }}"
        yield from (*HtmlFormatter(style=style).get_token_style_defs("body"), "}")
    yield "</style><pre>"
    yield highlight("\n".join(_rows(shell)), Pop3Lexer(), HtmlFormatter(nowrap=True))
    yield "</pre>"


def _svg(shell: Shell) -> Iterator[str]:
    from pygments import highlight
    from pygments.formatters.svg import SvgFormatter

    from popshell.ui.lexer import DarkStyle, LightStyle, Pop3Lexer

    style, ink = (DarkStyle, "#fff") if shell.screen.look.theme.startswith("dark") else (LightStyle, "#000")
    cut = ((row, *piece) for row in _rows(shell) for piece in fold(row, _COLUMNS))
    rows = ["   "[: 3 * bool(start)] + row[start:end] for row, start, end in cut]
    wide, high = round((max(map(width, rows), default=0) + 2) * _WIDE), len(rows) * _HIGH + _SIZE
    language = f'xml:lang="{shell.options.language}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {language} width="{wide}" height="{high}">'
    yield f'<rect width="100%" height="100%" fill="{style.background_color}"/>'
    yield f'<g font-family="monospace" font-size="{_SIZE}px" fill="{ink}">'
    yield highlight("\n".join(rows), Pop3Lexer(), SvgFormatter(nowrap=True, style=style, xoffset=_SIZE))
    yield "</g></svg>"


def _json(shell: Shell) -> Iterator[str]:
    rows = [json.dumps(record, ensure_ascii=True) for record, _ in records(shell)]
    yield from ("[", *(f"{row}," for row in rows[:-1]), *rows[-1:], "]")


#: What is written for a suffix.
EXPORTS: Mapping[str, Callable[[Shell], Iterator[str]]] = MappingProxyType(
    {".pop": transcript, ".txt": transcript, ".md": _markdown, ".html": _html, ".svg": _svg, ".json": _json}
)


# -- files -------------------------------------------------------------------------------------------------------------

#: How a file is opened that must not be there yet.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


async def save_message(shell: Shell, number: str, name: str) -> None:
    """Send RETR, and write what comes, to FILE.part until it is whole; what exists is left alone (sec-F1).

    A transfer that is no longer waited for (Ctrl-C) goes on, since POP3 cannot stop one; its end is reported when it
    comes.
    """
    if not name:
        raise Refused
    path = Path(name).expanduser()
    try:
        if os.path.lexists(path):
            raise FileExistsError
        saving = Saving(shell, number, path)
    except OSError as error:
        shell.tally.usage = True
        failed(shell, path, error)
        return
    shell.subscribe(saving.heard)
    try:
        await shell.send(f"RETR {number}", by_shell="shell.sent-for-save", stream=saving.stream)
    finally:
        if not saving.stream.used:  # it was not sent, and why was shown
            saving.forget()


def failed(shell: Shell, path: Path, error: OSError) -> None:
    """Say why a file cannot be written."""
    key = "shell.save-exists" if isinstance(error, FileExistsError) else "shell.save-failed"
    shell.say(key, style="err", path=show(str(path)), reason=error)


def write_new(shell: Shell, name: str, lines: Iterable[str]) -> bool:
    """Write a new file, 0600; what exists is left alone and no link is followed (sec-F1)."""
    if not name:
        raise Refused
    path = Path(name).expanduser()
    try:
        file = os.fdopen(os.open(path, _NEW, 0o600), "w", encoding="utf-8")
        try:
            with file:
                file.writelines(f"{line}\n" for line in lines)
        except BaseException:
            path.unlink(missing_ok=True)  # half of it is none
            raise
    except OSError as error:
        shell.tally.usage = True
        failed(shell, path, error)
        return False
    return True


class Saving:
    """A message on its way into a file; a subscriber until its reply, or the end of the connection, has come."""

    def __init__(self, shell: Shell, number: str, path: Path) -> None:
        """Raises OSError if FILE.part cannot be made."""
        self.stream = Stream(self._write)
        self._shell, self._number, self._path = shell, number, path
        self._part = path.with_name(path.name + ".part")
        self._file = os.fdopen(os.open(self._part, _NEW | getattr(os, "O_BINARY", 0), 0o600), "wb", buffering=0)
        self._error: OSError | None = None

    def _write(self, piece: bytes) -> None:
        """Write on; after a fault of the disk what still comes is passed over, so that the session stays in step."""
        view = memoryview(piece)
        try:
            while view and self._error is None:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            self._error = error

    def forget(self) -> None:
        """Nothing came: there is no file."""
        self._shell.subscribers.remove(self.heard)
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _facts(self) -> dict[str, str]:
        facts = {"path": show(str(self._path)), "part": show(str(self._part)), "msg": self._number}
        return facts | {"octets": f"{self.stream.octets:,}", "lines": str(self.stream.lines), "sha": self.stream.sha256}

    def heard(self, event: ShellEvent) -> None:
        if isinstance(event, Overdue) and event.due is not None and event.due.stream is self.stream:
            self._shell.say("shell.save-goes-on", style="warn", **self._facts())
        if not isinstance(event, Replied | Unshown) or event.exchange.stream is not self.stream:
            return
        came, shell = event.exchange.response, self._shell
        if came is None or not came.ok:
            self.forget()
            return
        shell.subscribers.remove(self.heard)
        facts = self._facts()
        try:
            self._file.close()
            if self._error is not None:
                raise self._error
            if event.exchange.ok:
                _name(self._part, self._path)
                shell.say("shell.saved-message", **facts)
            else:
                shell.say("shell.save-broken", style="warn", **facts)
        except OSError as error:
            shell.tally.failed = True
            failed(shell, self._path, error)
            shell.say("shell.save-part", style="warn", **facts)


def _name(part: Path, path: Path) -> None:
    """Give the file its name, unless another has come to bear it. Raises OSError."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError from None
        part.rename(path)
    else:
        part.unlink()


async def save(shell: Shell, argument: str) -> None:
    """Write the session: redacted, unless one asks for a transcript with secrets and says yes to it (sec-K4)."""
    first, _, rest = argument.partition(" ")
    if first.isdecimal() and first.isascii():
        await save_message(shell, first, rest.strip())
        return
    masked = first != WITH_SECRETS
    path = argument if masked else rest.strip()
    suffix = Path(path).suffix.lower()
    export = EXPORTS.get(suffix) if suffix else transcript
    if not path or not (masked or export in (transcript, None)):
        raise Refused
    if export is None:
        shell.tally.usage = True
        shell.say("shell.save-suffix", style="err", suffix=show(suffix), suffixes=shell.words.listed(EXPORTS))
        return
    if not masked:
        question = shell.words("shell.ask-secrets", path=show(path))
        if not await shell.confirm(question):
            raise Refused("shell.not-saved", style="note")
    if write_new(shell, path, export(shell) if masked else transcript(shell, masked=False)):
        key = "shell.saved" if masked else "shell.saved-secrets"
        shell.say(key, path=show(path), count=len(shell.exchanges()))
