"""Exports: what `:save FILE` writes, by the file's suffix: a transcript, Markdown, HTML, SVG or JSON.

What is not JSON is made of the transcript's rows; all but the plain transcript have notes and the life of connections
among them, as remarks. Every row is filtered, so that `cat` of a file does nothing to a terminal.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from popshell.protocol.records import Exchange
from popshell.transcript import transcript_lines
from popshell.ui.events import Greeted, Replied, ShellEvent, Unanswered
from popshell.ui.jsonrecords import JsonRecords
from popshell.ui.layout import inline, wrap_text
from popshell.ui.shell import Shell
from popshell.visible import fold, show, width

#: Columns of a remark, and of all rows of the picture; of the picture: size of the font, width of a character, height
#: of a row.
_COLUMNS = 100
_SIZE, _WIDE, _HIGH = 14, 8.5, 19


def transcript(shell: Shell, *, masked: bool = True) -> Iterator[str]:
    return transcript_lines(shell.exchanges(), masked=masked, private=shell.words("shell.private"))


def records(shell: Shell) -> Iterator[tuple[dict[str, Any], Exchange | None]]:
    """The session as JSON records; those of exchanges with the exchange."""
    when = 0.0
    out = JsonRecords(words=shell.net_words, clock=lambda: when)
    left = {id(exchange): exchange for exchange in shell.exchanges()}
    events: list[tuple[float, ShellEvent | None]] = [*shell.record, (time.time(), None)]
    for at, event in events:
        when = at
        exchange = event.exchange if isinstance(event, Greeted | Replied | Unanswered) else None
        # What a course played to begin an exercise was not published: it stands before what followed it.
        while left and (event is None or id(exchange) in left):
            first = left.pop(next(iter(left)))
            if first is not exchange:
                yield from ((record, first) for record in out.records(Replied(first)))
        if event is not None:
            yield from ((record, exchange) for record in out.records(event))


def _rows(shell: Shell) -> Iterator[str]:
    """The transcript with remarks: the life of connections, and notes."""
    for record, exchange in records(shell):
        if exchange is None:
            yield from _remark(_life(record))
        else:
            yield from transcript_lines([exchange], private=shell.words("shell.private"))
            for note in record["notes"]:
                yield from _remark("".join(text for _, text in inline(f"{note['sort']}: {note['text']}")))


def _remark(text: str) -> list[str]:
    return wrap_text(show(text, keep=""), _COLUMNS, "# ", "#   ")


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
