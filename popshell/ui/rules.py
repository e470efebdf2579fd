"""The highlighting rules: which stretch of a line is what. Live input, transcripts and replies all read these.

Theory. A rule is a tiny function from one line to spans (start, end, name of a style), in order and without overlap;
what no span covers is plain. Commands come parsed (`line.parse`), so the table is the only list of names;
replies are matched by the few forms that RFC 1939 and RFC 2449 give them. Nothing here colours, writes or decides.

Traps. Lines are text that passed the filter, or lines that a formatter will escape: a view of `\\x1b` is seven plain
characters here. Patterns are matched to whole lines, are linear, and take ASCII digits only. A line is of the kind that
the *command* asked for: "+OK" inside a mail is no status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from popshell.protocol.commands import CAPABILITIES, COMMANDS, Content
from popshell.protocol.line import CommandLine
from popshell.tuples import NamedTuple
from popshell.visible import show

#: What the lines of a multi-line reply are.
BodyKind = Literal["listing", "uids", "mail", "capabilities", "text"]


class Span(NamedTuple):
    """`line[start:end]` is in the style `style`."""

    start: int
    end: int
    style: str


Spans = list[Span]

STATUS = re.compile(r"(?P<ok>\+OK)(?= |\Z)|(?P<err>-ERR)(?= |\Z)|(?P<challenge>\+)(?= |\Z)")
# RFC 2449 §3; only after a status indicator.
_CODE = r"(?:\+OK|-ERR) (\[[^\[\]\s]+\])(?= |\Z)"
# In the free text of a status line: the stamp of the greeting, and numbers that are words of their own.
_TEXT = re.compile(
    r"(?P<stamp><[^<>@\s]{1,200}@[^<>@\s]{1,200}>)|(?P<number>(?<![\w.:/@-])[0-9]{1,10}(?![\w:/@-]|\.[0-9]))",
    re.ASCII,
)
LISTING = r"(?P<number>[0-9]{1,10}) (?P<octets>[0-9]{1,15})(?= |\Z)"
UIDS = r"(?P<number>[0-9]{1,10}) (?P<uid>[!-~]{1,140})(?= |\Z)"
# RFC 5322 §2.2: a field name is printable ASCII without colon. After the filter a backslash may be doubled.
HEADER = r"(?s)(?P<name>[!-9;-~]{1,100}:)(?P<value>.*)\Z"
_CAPABILITY = r"[!-~]+"

_BODIES: Mapping[Content, BodyKind] = {
    Content.SCAN_LISTINGS: "listing",
    Content.UNIQUE_IDS: "uids",
    Content.MAIL: "mail",
    Content.CAPABILITIES: "capabilities",
}


def body_kind(command: str) -> BodyKind:
    """What the lines are that `command`, in upper case, is answered with."""
    spec = COMMANDS.get(command)
    return _BODIES.get(spec.content, "text") if spec else "text"


def command_spans(line: CommandLine) -> Spans:
    """A typed line: each token in the style that its role names, wherever the line is shown."""
    return [Span(token.start, token.end, token.role.value) for token in line.tokens]


def sent_runs(line: CommandLine, *, masked: bool = True) -> list[tuple[str, str]]:
    """A line that was sent as runs that are safe to show, its secrets as MASK unless `masked` is False."""
    line = line.masked() if masked else line
    runs: list[tuple[str, str]] = []
    at = 0
    for token in line.tokens:
        runs += [("", show(line.text[at : token.start], keep="")), (token.role.value, show(token.text, keep=""))]
        at = token.end
    return [run for run in [*runs, ("", show(line.text[at:], keep=""))] if run[1]]


def status_spans(line: str) -> Spans:
    """A status line: indicator, response code, stamp, numbers. What is no status has no spans."""
    status = STATUS.match(line)
    if status is None:
        return []
    spans = [Span(*status.span(), status.lastgroup or "")]
    if spans[0].style == "challenge":
        return spans
    if "[" in line and (code := re.match(_CODE, line)):
        spans.append(Span(*code.span(1), "code"))
    for match in _TEXT.finditer(line, spans[-1].end):
        spans.append(Span(*match.span(), match.lastgroup or ""))
    return spans


def _row_spans(pattern: str, line: str) -> Spans:
    """A row of a listing (RFC 1939 §5, §7): message-number, and octets or unique-id."""
    match = re.match(pattern, line)
    if match is None:
        return []
    second = "uid" if "uid" in match.groupdict() else "number"
    return [Span(*match.span(1), "number"), Span(*match.span(2), second)]


def capability_spans(line: str) -> Spans:
    """A capability (RFC 2449 §5): a tag that an RFC defines stands out, its numbers too."""
    tag = re.match(_CAPABILITY, line)
    if tag is None:
        return []
    spans = [Span(*tag.span(), "capability")] if tag[0].upper() in CAPABILITIES else []
    return spans + [Span(*match.span(), "number") for match in _TEXT.finditer(line, tag.end()) if match["number"]]


def header_spans(line: str) -> Spans:
    """A line of a mail's header: field name and value, or the folded rest of a value (RFC 5322 §2.2.3)."""
    if line[:1] in (" ", "\t"):
        return [Span(0, len(line), "header-value")]
    match = re.match(HEADER, line)
    if match is None:
        return []
    return [Span(*match.span("name"), "header-name"), Span(*match.span("value"), "header-value")]


_BODY_RULES: Mapping[BodyKind, Callable[[str], Spans]] = {
    "listing": partial(_row_spans, LISTING),
    "uids": partial(_row_spans, UIDS),
    "capabilities": capability_spans,
    "mail": lambda line: [],
    "text": lambda line: [],
}


def body_spans(kind: BodyKind, line: str, *, in_header: bool = False) -> Spans:
    """One line of a multi-line reply as on the wire: the dot that byte-stuffing put there has a span of its own."""
    rule = header_spans if in_header else _BODY_RULES[kind]
    if not line.startswith("."):
        return rule(line)
    stuffing = Span(0, 1, "stuffing")
    return [stuffing, *(Span(start + 1, end + 1, style) for start, end, style in rule(line[1:]))]


def guess(line: str) -> BodyKind:
    """What a line looks like where the command is not known: for fragments of transcripts only."""
    if re.fullmatch(LISTING, line):
        return "listing"
    if re.fullmatch(UIDS, line):
        return "uids"
    tag = re.match(_CAPABILITY, line)
    return "capabilities" if tag and tag[0] in CAPABILITIES else "text"
