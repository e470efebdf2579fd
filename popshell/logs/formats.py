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
| `bare` | a line of a dialogue without marks; `text` holds it |
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

What stands below a head becomes octets, each part with its line, by one of READERS.

A line that no rule matches is `rest`: the tool's (`noise`), a reply's content if one is due (`content`), a part of
what the last head announced (`burst`), or of the dialogue (`bare`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise
from typing import Any

from popshell.logs.text import Line, from_hex, octets, unescaped


@dataclass(frozen=True)
class Format:
    """One form of log. `name` is what `--format` takes; `title` names the tool."""

    name: str
    title: str
    rules: tuple[tuple[str, str], ...]
    #: lines that prove the rules: each rule is the first match of one
    samples: tuple[str, ...]
    rest: str = "noise"
    #: how a protocol line is written: "" as it is, `literal` with escapes between quotes, `escaped` without quotes
    text: str = ""
    #: how what follows a head is written: a key of READERS
    rows: str = "lines"
    #: no marks: who spoke is inferred from the order of the dialogue
    bare: bool = False
    #: typed by a person: a line that is no command may be one that was meant
    typed: bool = False
    #: what the tool leaves out: `content`, `replies`, `commands`
    hides: frozenset[str] = frozenset()
    #: a line without which a log of this form leaves out content and replies, too
    replies: re.Pattern[str] | None = None
    #: replies do not name their connection
    mixes: bool = False
    #: contents stand without doubled dots and without their terminator
    unstuffed: bool = False
    #: a stump may have the tool's next line glued to it: the fault is seen where the tool says it
    glued: bool = False
    #: a line that a log of this form must have to be recognised
    needs: re.Pattern[str] | None = None

    def match(self, line: str) -> tuple[str, re.Match[str]] | None:
        """The kind of `line` and what its rule found; None if it is `rest`."""
        if (rule := self._first.match(line)) is None:
            return None
        kind, pattern = self.rules[int(str(rule.lastgroup)[1:])]
        found = re.match(pattern, line)
        assert found is not None
        return kind, found

    @cached_property
    def _first(self) -> re.Pattern[str]:
        """All rules as one pattern, for most forms match no line of a log; the group `_7` is the eighth rule."""
        patterns = (re.sub(r"\(\?P<\w+>", "(?:", pattern) for _, pattern in self.rules)
        return re.compile("|".join(f"(?P<_{at}>{pattern})" for at, pattern in enumerate(patterns)))


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("popshell.logs").joinpath("formats.toml").read_text("utf-8"))


@cache
def heads() -> dict[str, re.Pattern[str]]:
    """What collectors of logs, editors and mails put in front of each line, by name."""
    return {name: re.compile(_filled(pattern)) for name, pattern in _tables()["head"].items()}


def _filled(pattern: str) -> str:
    """A pattern with those of [part] that it names filled in."""
    return re.sub(r"<<(\w+)>>", lambda name: _filled(_tables()["part"][name[1]]), pattern)


def _format(table: dict[str, Any]) -> Format:
    settings = dict(table)
    settings["rules"] = tuple((kind, _filled(pattern)) for kind, pattern in table["rules"])
    settings["samples"] = tuple(table["samples"])
    settings["hides"] = frozenset(table.get("hides", ()))
    settings |= {name: re.compile(_filled(table[name])) for name in ("needs", "replies") if name in table}
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


def faults() -> dict[str, dict[str, list[str]]]:
    """The faults of a session by code: their `causes`, and the `codes`, `reasons` and `problems` that show them."""
    found: dict[str, dict[str, list[str]]] = _tables()["fault"]
    return found


def shown_by(kind: str, name: str) -> str:
    """The fault that a name of a kind shows, or that has this name; "" if none."""
    return next((code for code, row in faults().items() if name in row.get(kind, ())), name if name in faults() else "")


def without_heads(lines: list[Line], deep: bool = True) -> Iterator[list[Line]]:
    """`lines` without what most of them have in front, in each way there is: a time, a head of syslog, a quote."""
    for name, pattern in heads().items():
        filled = [line.text for line in lines[:400] if line.text.strip()]
        having = sum((found := pattern.match(text)) is not None and found.end() > 0 for text in filled)
        if filled and having * 10 >= len(filled) * 6:
            bare = [line._replace(text=pattern.sub("", line.text, count=1)) for line in lines]
            if name == "quote":  # the others are of the mail
                pairs = zip(lines, bare, strict=True)
                bare = [line if pattern.match(old.text) else line._replace(text="") for old, line in pairs]
            yield bare
            if deep:
                yield from without_heads(bare, deep=False)


# -- what a head announced ---------------------------------------------------------------------------------------------

#: the line, its text, and what the rule `row` found
Rows = list[tuple[int, str, re.Match[str] | None]]
Pieces = list[tuple[int, bytes]]


def _lines(rows: Rows, length: int) -> Pieces:
    while rows and not rows[-1][1]:
        rows = rows[:-1]
    out = []
    for number, text, _ in rows:
        glued = re.match(r"(.*?)\w{1,20}: fetch loop start$", text)
        out.append((number, octets(glued[1]) if glued else octets(text) + b"\r\n"))
    return out


def _hex(rows: Rows, length: int) -> Pieces:
    """Packets whole: what belongs to POP3 are the last octets."""
    data = [(number, from_hex(text)) for number, text, _ in rows]
    out, skip = [], sum(len(part) for _, part in data) - length
    for number, part in data:
        if length and skip < len(part):
            out.append((number, part[max(skip, 0) :]))
        skip -= len(part)
    return out


def _wrapped(rows: Rows, length: int) -> Pieces:
    """curl's rows: hexadecimal, or text whose line ends were dropped: offsets tell where they were."""
    starts = [int(found["at"], 16) for _, _, found in rows if found] + [length]
    sizes = [after - start for start, after in pairwise(starts)]
    if rows and all(_is_dump(text, size) for (_, text, _), size in zip(rows, sizes, strict=False)):
        return [(number, from_hex(text[: size * 3 - 1])) for (number, text, _), size in zip(rows, sizes, strict=False)]
    out = []
    for (number, text, _), start, after in zip(rows, starts, starts[1:], strict=False):
        data = octets(text)
        out.append((number, data + b"\r\n" if after - start == len(data) + 2 or after <= start else data))
    return out


def _is_dump(text: str, size: int) -> bool:
    """Whether a row shows `size` octets as hexadecimal."""
    return 0 < size <= 16 and re.fullmatch(r"[0-9a-f]{2}(?: [0-9a-f]{2})*", text[: size * 3 - 1]) is not None


def _socat(rows: Rows, length: int) -> Pieces:
    out: Pieces = []
    dump = any(re.fullmatch(r"--|(?: [0-9a-f]{2})+", text) for _, text, _ in rows)
    for number, text, _ in rows:
        if re.match(r"(?: [0-9a-f]{2}){1,16}(?:  |$| [^0-9a-f])", text):
            out.append((number, from_hex(text)))
        elif re.fullmatch(r"(?: [0-9a-f]{2})+", text):  # -x without -v: a packet a row
            out.append((number, bytes.fromhex(text)))
        elif not dump:
            out.append((number, unescaped(text) + b"\n"))
    if out and not dump:  # the last may be without LF
        out[-1] = (out[-1][0], out[-1][1][: length - sum(len(part) for _, part in out[:-1])])
    return out


def _tail(rows: Rows, length: int) -> Pieces:
    """The last octets of a packet whose head is no text; CR is not shown, and LF counts for both."""
    out: Pieces = []
    ends = b""
    if rows and not rows[-1][1]:  # the packet's own LF, and tcpdump's after it
        rows, ends = rows[:-1], b"\r\n"
    for number, text, _ in reversed(rows):
        if length > 0:
            out.append((number, (octets(text) + ends)[-length:]))
            length -= len(out[-1][1])
        ends = b"\r\n"
    return out[::-1]


def _counted(rows: Rows, length: int) -> Pieces:
    if rows and rows[0][2] is not None:
        return [(number, from_hex(text.lstrip())) for number, text, _ in rows]
    out = []
    for number, text, _ in rows:
        out.append((number, (octets(text) + b"\r\n")[:length]))
        length -= len(out[-1][1])
    return out


def framed(lines: list[Line]) -> Iterator[Line]:
    """The lines of tshark -x, each dump of a TCP packet as a head with its sides, and rows of what TCP carried."""
    packet: Pieces = []
    for line in (*lines, Line(0, "", False)):
        row = re.match(_DUMPED, line.text)
        if packet and (row is None or int(row["at"], 16) == 0):
            yield from _unwrapped(packet)
            packet = []
        if row is not None:
            packet.append((line.number, from_hex(row["text"])))
        elif line.text:
            yield line


_DUMPED = r"(?P<at>[0-9a-f]{4,8})  (?P<text>(?:[0-9a-f]{2} ){1,16}) "


def _unwrapped(packet: Pieces) -> Iterator[Line]:
    """One frame without its heads, which begin with IP's after an EtherType; nothing if it is no TCP."""
    frame = b"".join(data for _, data in packet)

    def number(at: int, size: int = 1) -> int:
        return int.from_bytes(frame[at : at + size])

    if (found := re.match(rb"(?s).{0,20}?(?:\x08\x00(?=[\x45-\x4f])|\x86\xdd(?=[\x60-\x6f]))", frame)) is None:
        return
    ip, six = found.end(), found[0].endswith(b"\xdd")
    tcp, end = (ip + 40, ip + 40 + number(ip + 4, 2)) if six else (ip + number(ip) % 16 * 4, ip + number(ip + 2, 2))
    if number(ip + (6 if six else 9)) != 6:
        return
    names, size = ip + (8 if six else 12), 16 if six else 4
    src, dst = (f"{frame[names + n * size :][:size].hex()}:{number(tcp + 2 * n, 2)}" for n in (0, 1))
    flags = "".join(name for bit, name in enumerate("FSR") if number(tcp + 13) >> bit & 1) or "."
    at = tcp + number(tcp + 12) // 16 * 4
    yield Line(packet[0][0], f"{src} > {dst} {flags} {max(min(end, len(frame)) - at, 0)}", False)
    start = 0
    for line, data in packet:
        part = frame[max(at, start) : min(end, start + len(data))]
        start += len(data)
        if part:
            yield Line(line, f"0000  {part.hex(' ')}  ", False)


#: What a head announced -> octets, each part with its line; `Format.rows` names one.
READERS: dict[str, Callable[[Rows, int], Pieces]] = {
    "lines": _lines,
    "hex": _hex,
    "escaped": lambda rows, length: [(number, unescaped(text)) for number, text, _ in rows],
    "wrapped": _wrapped,
    "socat": _socat,
    "tail": _tail,
    "counted": _counted,
}


def by_line(pieces: Pieces) -> Iterator[tuple[int, bytes]]:
    """Octets with the line that each part stands in, cut at LF; the last may be without."""
    held, start = b"", 0
    for number, data in pieces:
        for part in data.splitlines(keepends=True) if b"\r" not in data else re.findall(rb"[^\n]*\n|[^\n]+", data):
            start = start if held else number
            held += part
            if held.endswith(b"\n"):
                yield start, held
                held = b""
    if held:
        yield start, held
