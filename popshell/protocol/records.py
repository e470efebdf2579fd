"""What was said: Response, a reply as it was read, and Exchange, the one record of everything that happened.

A Response has the status, the response code, the text and the un-stuffed content; its listings are read on request.
An Exchange is a greeting (no command, first), a command with its reply, octets that no command asked for, or a fault
that ended the session. Screen, JSON, transcript, lesson check and log read it. `problem` names a fault by a stable
code; its words stand in `messages.toml`, `[problem]`.

| problem | what was seen |
|---|---|
| `unasked` | a line with no command outstanding; shown, never used (sec-P4) |
| `unasked-listing` | such a line, the first row of a listing; its other rows follow as one `unasked-rows` |
| `unasked-rows` | the other rows of that listing: `lines` says how many |
| `unasked-last` | the last such line that is kept; what comes after it is counted |
| `unasked-more` | `lines` such lines of `octets` octets were counted and not kept |
| `flood` | too many such lines, or for too long; the connection is closed |
| `bare-lf` | a status line that ends with LF alone |
| `lower-case` | `+ok` or `-err`: indicators are upper case (RFC 1939 §3); the session goes on, except from a greeting |
| `no-status` | an empty reply, or one that begins like an indicator (`speaks`), as `-ERRlogin`; the session goes on |
| `not-pop3` | the first word is neither `+OK` nor `-ERR`; `speaks` says what it looks like, "" if unknown |
| `challenge` | `+ ` although no AUTH is under way |
| `status-too-long`, `line-too-long`, `content-too-long`, `too-many-lines` | a limit (`wire.ReplyLimits`) |
| `stls-injection` | octets after the reply to STLS and before TLS (sec-T2) |
| `tls-failed` | the handshake after `+OK` to STLS came to nothing; the connection is closed |
| `no-terminator` | the server closed within a multi-line reply |
| `cut` | the server closed within a status line |
| `no-reply` | the server closed although a reply was due |
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

from popshell.protocol import maildrop_view, secrets
from popshell.protocol.commands import State
from popshell.protocol.line import CommandLine
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.strangers import what_speaks
from popshell.protocol.wire import CRLF, LONGEST_MAIL_LINE, Counts, Stream, WireError, stuffed_lines, too_long, unstuff
from popshell.tuples import NamedTuple


class Status(enum.Enum):
    """The status indicator (RFC 1939 §3); CONTINUE is AUTH's `+ ` (RFC 5034 §4): neither success nor failure."""

    OK = "+OK"
    ERR = "-ERR"
    CONTINUE = "+"


# RFC 2449 §3: resp-level = 1*rchar, rchar = %x21-2E / %x30-5C / %x5E-7F; levels are separated by "/".
_CODE = r"\[([\x21-\x2e\x30-\x5c\x5e-\x7f]+(?:/[\x21-\x2e\x30-\x5c\x5e-\x7f]+)*)\] ?"
#: What a server most likely meant for an indicator: `+ERR`, `-OK`, `OK`, `+OK:`, `+ OK`, `-ERRlogin`.
_RESEMBLES = rb"(?i)[^A-Za-z0-9]+(OK|ERR)|(OK|ERR)(?:OR)?\b"
#: RFC 1939 §7: the timestamp is a msg-id; no longer than a line may be (sec-T6).
_LONGEST_STAMP = 255
#: Versions of the JSON form, the newest last. A field that is added makes no new one; one that is renamed, removed or
#: another type does.
JSON_VERSIONS = (1, 2)


class Problem(NamedTuple):
    """A fault by its stable code. `speaks` is what it looks like: imap, smtp, http, tls, ssh, or the indicator ok, err.

    `lines` and `octets` say how many were counted, where the record does not hold each of them.
    """

    code: str
    speaks: str = ""
    lines: int = 0
    octets: int = 0

    @property
    def unasked(self) -> bool:
        """Whether it is of lines that no command asked for, and no more than a remark: the session goes on."""
        return self.code.startswith("unasked")

    @property
    def ends(self) -> bool:
        """Whether nothing that follows is trusted; else it is no more than a remark."""
        return not (self.unasked or self.code in ("lower-case", "no-status"))


class Response(NamedTuple):
    """A reply: status, response code in upper case ("" if none), text after both, and un-stuffed content or None.

    `text` is UTF-8 with what is not UTF-8 kept by surrogateescape: show it through `popshell.visible` only.
    `content` is the multi-line part with its CRLFs, byte-stuffing undone, without the terminator (RFC 1939 §3).
    """

    status: Status
    text: str
    code: str = ""
    content: bytes | None = None

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def lines(self) -> list[bytes] | None:
        """The content cut into lines without CRLF; None for a single-line reply."""
        if self.content is None:
            return None
        return self.content.split(b"\r\n")[:-1] if self.content else []

    def drop_listing(self) -> tuple[int, int] | None:
        """Count and octets from `+OK nn mm` (RFC 1939 §5, STAT)."""
        return maildrop_view.drop_listing(self.text)

    def scan_row(self) -> tuple[int, int] | None:
        """Message-number and octets from `+OK msg octets` (RFC 1939 §5, LIST)."""
        return maildrop_view.scan_row(self.text)

    def unique_id_row(self) -> tuple[int, str] | None:
        """Message-number and unique-id from `+OK msg id` (RFC 1939 §7, UIDL)."""
        return maildrop_view.unique_id_row(self.text)

    def capabilities(self) -> dict[str, tuple[str, ...]]:
        """CAPA tags in upper case with their arguments, in the server's order (RFC 2449 §5)."""
        found: dict[str, tuple[str, ...]] = {}
        for tag, *arguments in filter(None, (_text(line).split() for line in self.lines or ())):
            found[tag.upper()] = (*found.get(tag.upper(), ()), *arguments)  # a tag may come twice
        return found


def read_status(line: bytes) -> Response | None:
    """Read a status line without its CRLF; None if it is none. `+OK`, `-ERR` or `+`, then SP or the end (sec-P3)."""
    word, _, rest = line.partition(b" ")
    try:
        status = Status(word.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    text = rest.decode(errors="surrogateescape")
    if status is Status.CONTINUE:
        return Response(status, text)
    match = re.match(_CODE, text) if text.startswith("[") else None
    return Response(status, text[match.end() :], match[1].upper()) if match else Response(status, text)


def no_status(line: bytes, *, greeting: bool = False) -> Problem:
    """What is wrong with a line that is no reply where it stands, and what it looks like.

    With `greeting` it ends the session, whatever it is: the server may not speak POP3 at all.
    """
    word = (line.split() or [b""])[0]
    if word.upper() in (b"+OK", b"-ERR") and word != word.upper():
        return Problem("lower-case")
    if speaks := what_speaks(line).replace("pop3", ""):
        return Problem("not-pop3", speaks)
    like = re.match(_RESEMBLES, line.replace(b"\0", b""))  # in UTF-16 each letter has a NUL
    if like or not word.strip(b"\0"):
        code = "not-pop3" if greeting else "no-status"
        return Problem(code, (like[1] or like[2]).decode().lower() if like else "")
    return Problem("challenge" if word == b"+" and line.startswith(word) else "not-pop3")


def spoiled(error: WireError, *, greeting: bool) -> Problem:
    """What is wrong with octets that cannot be cut into lines; a greeting of them is most likely another protocol's."""
    speaks = "tls" if error.code == "tls" else what_speaks(error.raw).replace("pop3", "") if greeting else ""
    return Problem("not-pop3" if speaks else error.code, speaks)


def stamp(greeting: str) -> str | None:
    """The timestamp that APOP needs: the first `<...@...>` of the greeting (RFC 1939 §7). One scan, no backtracking."""
    start = greeting.find("<")
    while start >= 0:
        end = greeting.find(">", start)
        if end < 0:
            return None
        start = greeting.rfind("<", start, end)
        found = greeting[start : end + 1]
        inside = found[1:-1]
        left, at, right = inside.rpartition("@")
        if len(found) <= _LONGEST_STAMP and left and at and right and all("!" <= ch <= "~" for ch in inside):
            return found
        start = greeting.find("<", end)
    return None


class Step(NamedTuple):
    """One `+ ` of the server and the line that answered it (RFC 5034 §4)."""

    challenge: bytes
    answer: bytes

    def __repr__(self) -> str:
        return "Step(...)"  # the answer is a secret


class Exchange(NamedTuple):
    """What was sent, what came back, and the session's state before and after."""

    command: CommandLine | None
    response: Response | None
    before: State
    after: State
    sent: bytes = b""
    received: bytes = b""
    steps: tuple[Step, ...] = ()
    problem: Problem | None = None
    tls: bool = False
    maildrop_before: MaildropView = MaildropView()
    maildrop: MaildropView = MaildropView()
    #: what CAPA said last on this connection before this line, also before a login or TLS; None if it was not asked
    capabilities_before: Mapping[str, tuple[str, ...]] | None = None
    #: secrets sent so far, longest first: none may show up in what is written of a status line
    secrets: tuple[str, ...] = ()
    #: how many replies were still due when the line was sent: above 0, it was pipelined (RFC 2449 §6.6)
    ahead: int = 0
    #: where the content went as it came, if it was not kept: `received` is then the status line alone
    stream: Stream | None = None
    #: what was counted of the content as it came
    counted: Counts | None = None
    #: of a fault: what had arrived after the octets that show it. How much that is, is chance
    rest: bytes = b""
    #: seconds on the caller's clock: when the line went out (of AUTH its last answer, so that no typing counts;
    #: for a greeting: when the connection stood), and when the reply was whole
    started: float = 0.0
    #: when its first octet came; None if none did
    arrived: float | None = None
    finished: float = 0.0

    def __eq__(self, other: object) -> bool:
        """Whether the same happened. When, and what had come after it, is left out: the last six fields."""
        return isinstance(other, Exchange) and self[:-6] == other[:-6]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        # Tracebacks and logs print it: no secret (sec-K5).
        reply = f"{self.response.status.value} {self.redact(self.response.text)}" if self.response else None
        moved = f"{self.before.value} -> {self.after.value}"
        return f"Exchange({self.sent_lines()}, {reply!r}, {moved}, {self.problem}, {len(self.received)} octets)"

    @property
    def is_greeting(self) -> bool:
        return self.command is None and self.problem is None

    @property
    def answers_no_line(self) -> bool:
        """Whether no line is answered by it: unasked octets, or octets between STLS and TLS."""
        if (problem := self.problem) is None:
            return False
        return problem.unasked or problem.code == "stls-injection" or (problem.code == "flood" and not self.command)

    @property
    def name(self) -> str:
        """The command's name in upper case, "" for a greeting and unasked lines."""
        return self.command.name if self.command else ""

    @property
    def ok(self) -> bool:
        return self.response is not None and self.response.ok and self.problem is None

    @property
    def milliseconds(self) -> float:
        return (self.finished - self.started) * 1000

    def status_line(self) -> bytes:
        """The first line as it arrived, its CRLF cut off."""
        end = self.received.find(CRLF)  # no partition: what follows may be 64 MiB
        return self.received[:end] if end >= 0 else self.received

    def raw_content(self) -> bytes:
        """The multi-line part as far as it arrived: byte-stuffed, with terminator; b"" if there is none."""
        return self.received[self.content_at :]

    @property
    def content_at(self) -> int:
        """Where the multi-line part begins in `received`, which may be 64 MiB; its length if there is none."""
        if self.problem is not None and self.problem.code == "unasked-rows":
            return 0
        if self.response is None or (self.response.content is None and self.steps):
            return len(self.received)
        return self.received.find(CRLF) + 2 if CRLF in self.received else len(self.received)

    @property
    def counts(self) -> Counts:
        """What was counted of the content as it came, or is counted now."""
        content = (self.response.content if self.response is not None else None) or b""
        if self.counted is not None and content:
            return self.counted
        lines, long = content.count(CRLF), too_long(content, 0, len(content), LONGEST_MAIL_LINE) >= 0
        return Counts(lines, content.count(b"\n") - lines, stuffed_lines(self.raw_content()), long)

    def redact(self, text: str) -> str:
        """`text` with every secret of the session masked (sec-K2). Never for message content."""
        return secrets.redact(text, self.secrets)

    def sent_lines(self, *, masked: bool = True) -> list[str]:
        """The lines that went out."""
        if self.command is None:
            return []
        answers = (_text(step.answer) for step in self.steps)
        if not masked:
            return [self.command.text, *answers]
        return [self.command.redacted(), *map(secrets.masked_answer, answers)]

    def received_lines(self, *, masked: bool = True) -> list[str]:
        """All that was received as text, cut into lines, each with its CRLF; the last may have none.

        The status line and what stands before it may repeat a secret, so may all of what is no reply; the text of a
        message is never changed.
        """
        *lines, last = (self.received + self.rest).split(CRLF)
        rows = [_text(line) + "\r\n" for line in lines] + ([_text(last)] if last else [])
        if not masked:
            return rows
        shown = len(rows) if self.response is None else len(self.steps) + 1
        return [*map(self.redact, rows[:shown]), *rows[shown:]]

    def reply_line(self, *, masked: bool = True) -> str:
        """The status line that ends the exchange, after the challenges of AUTH; "" if none came."""
        if self.problem is not None and self.problem.code == "unasked-rows":
            return ""
        line = _text(self.received.split(CRLF, len(self.steps) + 1)[len(self.steps)])
        return self.redact(line) if masked else line

    def content_lines(self) -> list[bytes] | None:
        """The content as far as it came, cut into lines, byte-stuffing undone; None if it has none."""
        raw = self.raw_content()
        if self.response is None or self.response.content is not None or not raw:
            return self.response.lines if self.response else None
        whole = raw if raw.endswith(CRLF) else raw + CRLF
        return self.response._replace(content=unstuff(whole + b".\r\n")).lines

    def to_json(self, version: int = JSON_VERSIONS[-1]) -> dict[str, Any]:
        """The published form (docs/reference-json.md), secrets masked; what is not UTF-8 stands as \\udcXX escapes."""
        out = self._version_1()
        if version == 1:
            return out
        problem = out["problem"] and {"lines": None, "octets": None, **out["problem"]}
        lines, stream = self.content_lines(), self.stream
        return {
            **out,
            "version": version,
            "type": "exchange",
            "sent": [f"{line}\r\n" for line in self.sent_lines()],
            "received": self.received_lines(),
            "text": out["text"] if self.response else None,
            "lines": lines if lines is None else [_text(line) for line in lines],
            "challenges": out.get("challenges", []),
            "streamed": {"octets": stream.octets, "lines": stream.lines, "sha256": stream.sha256} if stream else None,
            "problem": problem,
        }

    def _version_1(self) -> dict[str, Any]:
        """The fields of version 1."""
        response = self.response
        out: dict[str, Any] = {
            "version": 1,
            "command": None,
            "status": response.status.value if response else None,
            "code": secrets.redact_code(response.code, self.secrets) or None if response else None,
            "text": self.redact(response.text) if response else None,
            "lines": None,
            "before": self.before.value,
            "after": self.after.value,
            "tls": self.tls,
            "octets": len(self.received) + (self.stream.raw if self.stream else 0),
            "milliseconds": round(self.milliseconds, 1),
            "problem": None,
        }
        if self.command is not None:
            out["command"] = {
                "name": self.command.name,
                "line": self.command.redacted(),
                "known": self.command.spec is not None,
                "diagnostics": [d.code for d in self.command.diagnostics],
            }
        if self.steps:
            out["challenges"] = [self.redact(_text(step.challenge)) for step in self.steps]
        if response and response.lines is not None:
            out["lines"] = [_text(line) for line in response.lines]
        if self.problem:
            out["problem"] = {"code": self.problem.code, "speaks": self.problem.speaks or None}
            if self.problem.lines:
                out["problem"] |= {"lines": self.problem.lines, "octets": self.problem.octets}
            if response is None:
                out["text"] = self.redact(_text(self.received))[:1024]
        return out


def _text(octets: bytes) -> str:
    return octets.decode(errors="surrogateescape")
