"""FORMATS: how the logs of other tools are written, read from formats.toml, an entry for each form.

A rule is a kind and a pattern; of an entry's rules the first that matches a line decides what the line is.

| kind | what the line is |
|---|---|
| `sent`, `received` | a line of the protocol; group `text` holds it, `id` the connection if the log tells it |
| `client`, `server`, `packet` | a head: what follows came from that side; a packet names `src`, `dst`, `len` octets |
| `packet-sent`, `packet-received`, `packet-row`, `packet-fin` | a packet in one line; its sender closes |
| `fin` | within what a head announced: its sender closes |
| `row` | what a head announced; `text` holds it |
| `node` | the address of one side |
| `more` | goes on with the line before it |
| `json` | an exchange of PopShell's own |
| `bare` | a line of a dialogue without marks, after something else |
| `begin` | a new connection |
| `closed` | the other end closed; `text` is what the log glued in front |
| `close` | a file descriptor is closed |
| `ends` | a content that stands without its terminator has ended |
| `hidden` | a login line that the tool does not show |
| `accepted`, `refused`, `reason` | a reply in the tool's words; why it was refused, said later |
| `greeting` | what the tool says next that the server said is the greeting |
| `stray`, `unfit` | a line that is no reply, where one was due, in the tool's words; the tool took it for one |
| `fetched`, `broken`, `ended` | a message was fetched, was not, the session ended, in the tool's words |
| `renegotiate` | the tool took a typed line for itself |
| `stage` | a stage direction |
| `noise`, `aside` | the tool's own words; `aside` stands within what a head announced |

A line that no rule matches is `rest`: the tool's (`noise`), a reply's content if one is due (`content`), or a part of
what the last head announced (`burst`).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

CONTENT, REPLIES, COMMANDS = frozenset({"content"}), frozenset({"replies", "content"}), frozenset({"commands"})


@dataclass(frozen=True)
class Format:
    """One form of log. `name` is what `--format` takes; `title` names the tool."""

    name: str
    title: str
    rules: tuple[tuple[str, re.Pattern[str]], ...]
    #: lines that prove the rules: each rule is the first match of one
    samples: tuple[str, ...]
    rest: str = "noise"
    #: how a protocol line is written: "" as it is, `literal` with escapes between quotes, `escaped` without quotes
    text: str = ""
    #: how what follows a head is written: a key of `rows.READERS`
    rows: str = "lines"
    #: no marks: who spoke is inferred from the order of the dialogue
    bare: bool = False
    #: typed by a person: a line that is no command may be one that was meant
    typed: bool = False
    #: what the tool leaves out: `content`, `replies`, `commands`
    hides: frozenset[str] = frozenset()
    #: contents stand without doubled dots and without their terminator
    unstuffed: bool = False
    #: where else secrets stand: group 1 is one
    secrets: tuple[str, ...] = ()
    #: a stump may have the tool's next line glued to it: the fault is seen where the tool says it
    glued: bool = False
    #: a line that a log of this form must have to be recognised
    needs: re.Pattern[str] | None = None

    def match(self, line: str) -> tuple[str, re.Match[str]] | None:
        """The kind of `line` and what its rule found; None if it is `rest`."""
        for kind, pattern in self.rules:
            if found := pattern.match(line):
                return kind, found
        return None


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("popshell.logs").joinpath("formats.toml").read_text("utf-8"))


def part(name: str) -> str:
    """The pattern of a [part], with those that it names filled in."""
    return _filled(_tables()["part"][name])


@cache
def heads() -> dict[str, re.Pattern[str]]:
    """What collectors of logs, editors and mails put in front of each line, by name."""
    return {name: re.compile(_filled(pattern)) for name, pattern in _tables()["head"].items()}


def _filled(pattern: str) -> str:
    return re.sub(r"<<(\w+)>>", lambda name: part(name[1]), pattern)


def _format(table: dict[str, Any]) -> Format:
    settings = dict(table)
    settings["rules"] = tuple((kind, re.compile(_filled(pattern))) for kind, pattern in table["rules"])
    settings["samples"] = tuple(table["samples"])
    settings["secrets"] = tuple(table.get("secrets", ()))
    settings["hides"] = frozenset(table.get("hides", ()))
    settings["needs"] = re.compile(_filled(table["needs"])) if "needs" in table else None
    return Format(**settings)


@cache
def all_formats() -> tuple[Format, ...]:
    """Every form, the more particular ones first: of two that fit a log alike the first is taken."""
    return tuple(_format(table) for table in _tables()["format"])


@cache
def said(table: str = "said") -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Names and the pattern of what is said of them, in the order in which they are looked for; `never` is none."""
    rows = _tables()[table]
    return tuple((code, re.compile("|".join(patterns), re.IGNORECASE)) for code, patterns in rows.items())
