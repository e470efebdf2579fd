"""The lines of a log file: encodings, colours and quoting taken off, numbers kept; literals decoded; events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from popshell.protocol.commands import COMMANDS
from popshell.tuples import NamedTuple

#: How much of a log is read, in octets and in lines, and of a line, in characters.
LONGEST_LOG = 16 * 1024 * 1024
MOST_LINES = 100_000
LONGEST_LINE = 1024 * 1024

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]{0,30}[ -/]?[@-~]|\][^\x07\x1b]{0,300}(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cM])")
#: what stands in front of a whole row: its indentation, and the mark of a quote
_HEAD = re.compile(r"[ \t]*(?:>[ \t>]*(?=\r))?")
_RUBBED_OUT = re.compile(r"[^\b]\x08(?: \x08)?")
_UNFINISHED = re.compile(r"(?P<call>(?P<pid>\[pid +\d+\] |\d+ +)(?:[\d:.]+ )?(?P<name>\w+)\(.*?)<unfinished \.\.\.>$")
_RESUMED = re.compile(r"(?P<pid>\[pid +\d+\] |\d+ +)(?:[\d:.]+ )?<\.\.\. (?P<name>\w+) resumed> ?(?P<rest>.*)$")
_QUOTE = re.compile(r" ?(?:> ?|\| ?)")
_FENCE = re.compile(r"\s*(?:```|~~~)`*\w*\s*$")
_LITERAL = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|`((?:[^`\\]|\\.)*)`")
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u\{?([0-9A-Fa-f]{4,6})\}?|([0-7]{1,3})|(.))")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "e": "\x1b", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


#: How the greeting of another protocol begins: SMTP, IMAP, HTTP, SSH.
OTHER = re.compile(r"[245]\d\d[ -]|\* (?:OK|BYE|PREAUTH)|HTTP/|SSH-|<!DOCTYPE|<html")
#: How many octets a reply says that it has.
ANNOUNCED = re.compile(r"\b(\d{1,12}) (?:octets|bytes)\b", re.IGNORECASE)
_KEYWORD = re.compile(r"([A-Za-z]{3,4}8?)(?: |$)")

#: How the first command of a session begins.
_FIRST = re.compile(rb"(?i)(?:CAPA|USER|APOP|AUTH|STLS)\b")

CLIENT, SERVER, TOOL, UNKNOWN = "client", "server", "tool", "unknown"
#: A login line whose secret the tool has masked.
HIDDEN = re.compile(
    rb"((?:PASS|USER|AUTH|APOP)(?: [\w@.-]+)??) +"
    rb"(?:\*+|\.{3,}|<[^>]*>|\[[^\]]*\]|xxx+|\(hidden\)|(?:\xe2\x80\xa2)+)\s*$",
    re.IGNORECASE,
)


class Line(NamedTuple):
    """A line of the file: its number (1-based), its text without its end, and whether it ended with CR LF."""

    number: int
    text: str
    cr: bool


class Event(NamedTuple):
    """What a line of the log says.

    `kind`: `data` (`octets` went over the line), `begin`, `closed`, `hidden` (a login line that is not shown), `late`
    (the greeting, below what was sent before it), `accepted`, `refused` (a reply in the tool's words), `unfit` (the
    tool took it for a reply), `fetched`, `broken`, `ended`, `ends` (no more content), `count` (`octets` holds a
    number: as many came and are not shown), `json`, `stage`, `renegotiate`, or `noise`.
    """

    line: int
    source: str
    kind: str
    octets: bytes = b""
    text: str = ""
    key: str = ""
    #: the log has no mark for who spoke
    inferred: bool = False
    #: the end of the line is not known: what follows it may be the tool's
    glued: bool = False


def read_lines(data: bytes) -> list[Line]:
    """The lines of a file; what is not UTF-8 is kept by surrogateescape. UTF-16 is recognised by its BOM or zeros."""
    data = data[:LONGEST_LOG]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    elif data[:2000].count(0) * 3 > len(data[:2000]) and data[1:2] == b"\0":
        text = data.decode("utf-16-le", "replace")
    else:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    rows = text.split("\n", MOST_LINES)
    while len(rows) > 1 and not rows[-1]:
        rows.pop()
    if not rows[-1] or len(rows) > MOST_LINES:
        rows.pop()
    return [_clean(number, row) for number, row in enumerate(rows, 1)]


def _clean(number: int, row: str) -> Line:
    if "\x1b" in row:
        row = _ESCAPES.sub("", row)
    cr = row.endswith("\r")
    row = row.rstrip("\r")[:LONGEST_LINE]
    if "\r" in row and (head := _HEAD.match(row)):  # a progress meter writes over itself, from where the row begins
        row = head[0] + row.rpartition("\r")[2]
    for _ in range(80):
        if "\x08" not in row or (rubbed := _RUBBED_OUT.sub("", row)) == row:
            break
        row = rubbed
    return Line(number, row, cr)


def unquoted(lines: list[Line]) -> list[Line]:
    """`lines` without the quoting of a mail or the indentation that all of them have."""
    for _ in range(4):
        filled = [line for line in lines if line.text.strip()]
        if not filled:
            break
        if sum(_QUOTE.match(line.text) is not None for line in filled) * 10 >= len(filled) * 9:
            lines = [line._replace(text=_QUOTE.sub("", line.text, count=1)) for line in lines]
            continue
        indents = sorted(len(line.text) - len(line.text.lstrip(" \t")) for line in filled)
        if most := indents[min(2, len(indents) // 10)]:
            blanks = re.compile(rf"[ \t]{{0,{min(most, 200)}}}")
            lines = [line._replace(text=blanks.sub("", line.text, count=1)) for line in lines]
        break
    return lines


def fenced(lines: list[Line]) -> list[Line]:
    """`lines` with those alone that stand between the first and the last code fence, if there are two."""
    fences = [line.number for line in lines if _FENCE.match(line.text)]
    if len(fences) < 2:
        return lines
    return [line if line.number > fences[0] else line._replace(text="") for line in lines[: fences[-1] - 1]]


def resumed(lines: list[Line]) -> Iterator[Line]:
    """The lines of strace with calls that it shows in two halves put together, at the second one."""
    first: dict[tuple[str | None, str], str] = {}
    for line in lines:
        if begun := _UNFINISHED.match(line.text):
            first[begun["pid"], begun["name"]] = re.sub(r" +$", " ", begun["call"])
        elif rest := _RESUMED.match(line.text):
            line = line._replace(text=first.pop((rest["pid"], rest["name"]), "") + rest["rest"])
        yield line


def is_command(text: str) -> bool:
    """Whether a line begins with the keyword of a command."""
    match = _KEYWORD.match(text)
    return match is not None and match[1].upper() in COMMANDS


def octets(text: str) -> bytes:
    """The octets that a text of the log stands for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no octet
        return text.encode("utf-8", "replace")


def literal(text: str) -> bytes:
    """The octets of string literals as Python, Ruby, JavaScript and strace write them."""
    found = "".join(next(part for part in match.groups() if part is not None) for match in _LITERAL.finditer(text))
    return unescaped(found)


def unescaped(text: str) -> bytes:
    """The octets of a text with the escapes of C, Python or JavaScript in it."""

    def put(match: re.Match[str]) -> str:
        if match[1] or match[3]:
            value = int(match[1] or match[3], 16 if match[1] else 8) & 255
            return chr(0xDC00 + value if value > 127 else value)
        if match[2]:
            value = int(match[2], 16)
            return chr(value) if value < 0x110000 and not 0xD800 <= value < 0xE000 else "?"
        return _NAMED.get(match[4], match[4])

    return octets(_ESCAPED.sub(put, text)) if "\\" in text else octets(text)


def from_hex(text: str) -> bytes:
    """The octets of a row of a dump; what is no hexadecimal ends it."""
    digits = re.match(r"(?: {0,2}[0-9A-Fa-f]{2}){0,16}", text)
    return bytes.fromhex(digits[0] if digits else "")


def answered(text: str, many: bool) -> bytes:
    """A command that a reply may have answered, by its own text alone; `many` if it had more than one line."""
    if many:
        return b"LIST" if re.search("messages|listing", text) else b"RETR 1"
    return b"QUIT" if re.search(r"(?i)logging out|\bbye\b|signing off|sign off", text) else b"NOOP"


def greetings(events: Iterable[Event]) -> set[int]:
    """The ids of events that may be a greeting: `+OK`, with the first command of a session right below it."""
    spoken = [event for event in events if event.kind == "data" and event.source in (CLIENT, SERVER)]
    firsts = (a for a, b in pairwise(spoken) if (a.source, b.source) == (SERVER, CLIENT) and _FIRST.match(b.octets))
    return {id(event) for event in firsts if event.octets.startswith(b"+OK")}
