"""Dialogue: who spoke in a log that has no marks, inferred from the order of a POP3 session."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from functools import cached_property
from itertools import pairwise, takewhile

from popshell.logs.formats import Format, said
from popshell.logs.text import ANNOUNCED, OTHER, Event, Line, is_command, octets
from popshell.protocol.line import parse

_STATUS = re.compile(r"(\+OK|-ERR)(?: |$)")


def _unanswered(rows: list[tuple[Line, str]]) -> bool:
    """Whether most replies answer no line before them: what was sent is not in the log."""
    replies = sum(_STATUS.match(text) is not None for _, text in rows)
    answers = sum(is_command(a) and _STATUS.match(b) is not None for (_, a), (_, b) in pairwise(rows))
    return replies > max(1, 2 * answers)


def _within(rows: list[tuple[Line, str]]) -> bool:
    """Whether the log begins within a reply: its lone dot comes before any command that is answered."""
    texts = [text for _, text in rows]
    begun = not texts or _STATUS.match(texts[0]) or OTHER.match(texts[0]) or is_command(texts[0])
    answered = (at for at, (a, b) in enumerate(pairwise(texts)) if is_command(a) and _STATUS.match(b))
    return not begun and "." in texts and texts.index(".") < next(answered, len(texts))


class Dialogue:
    """Reads a form without marks. What is inferred is marked as inferred; what cannot be known is `unknown`."""

    def __init__(self, form: Format, lines: list[Line]) -> None:
        self.form = form
        self.lines = lines
        self.out: list[Event] = []
        self._connect()
        #: blank lines with a bare LF between packets, where the lines themselves end with CR LF
        self.packets = sum(line.cr for line in lines) * 2 > len(lines)

    def _connect(self) -> None:
        self.greeted = False
        self.due: deque[bool | None] = deque()  # for each reply due whether it has many lines; None: AUTH
        self.content = False
        self.challenged = False
        self.missing = 0  # octets of a message that were announced and have not come
        self.raw = 0  # the same if no dot was doubled
        self.hidden = False  # a login line that is not shown is unanswered
        self.foreign = False  # the greeting was that of another protocol

    def events(self) -> list[Event]:
        if self.form.name == "dovecot-rawlog":
            return self._rawlog()
        rows = [(line, line.text) for line in self.lines if line.text and self.form.match(line.text) is None]
        first = next((at for at, (_, text) in enumerate(rows) if _STATUS.match(text)), 0)
        if _unanswered(rows) and all(_STATUS.match(text) for _, text in rows[first : first + 2]):
            return self._server_alone(rows[first:])  # what was sent came from a pipe, and was not shown
        self.greeted = self.content = _within(rows)
        for at, line in enumerate(self.lines):
            self._line(at, line)
        return self.out

    def _say(self, line: int, source: str, kind: str, text: str = "", data: str | None = None) -> None:
        sent = octets(data) + b"\r\n" if data is not None else b""
        self.out.append(Event(line, source, kind, sent, text, "", data is not None))

    def _line(self, at: int, line: Line) -> None:
        text, number = line.text, line.number
        match = self.form.match(text)
        kind = match[0] if match else ""
        if self.content and self._typed_on[at] and is_command(text) and not self._ends_later(at):
            # Commands alone follow: what was typed after a message that did not end, or a message that broke off.
            return self._client(number, text) if self.missing <= 2 else self._say(number, "unknown", "data", data=text)
        if self.content and (kind not in ("closed", "begin", "renegotiate") and not self._tool_in_content(at, kind)):
            if self.packets and not line.cr and not text and at + 1 < len(self.lines):
                return
            return self._server(number, text)
        if self.content and kind == "begin" and self._ends_later(at) and not self._greets(at + 1):
            return self._server(number, text)
        if match and kind == "closed":
            if self.content and self._ends_later(at):
                return self._server(number, text)
            glued = match[1].groupdict().get("text") or ""
            if glued:
                if not (self.content or (self.due and glued[:1] in "+-")):
                    return self._spoken(at, line)
                self.out.append(Event(number, "server", "data", octets(glued), "", "", True))
            self._say(number, "tool", "closed", text)
            self._connect()
        elif match:
            if kind == "begin" and (self.greeted or not self.due):  # what was typed may stand above it
                self._connect()
            elif kind == "refused" and self.hidden:
                return self._refused(number, text)
            elif kind == "hidden":
                self.due.append(None)
                self.hidden = True
            elif kind == "accepted" and self.hidden:
                self.due.popleft()
                self.hidden = False
            elif kind in ("accepted", "refused", "reason"):  # the reply stands in the log, too
                kind = "noise"
            self._say(number, "tool", kind, text)
        else:
            self._spoken(at, line)

    def _refused(self, number: int, text: str) -> None:
        """A login that is not shown was refused; why may stand below. Without a reply it was none."""
        self.hidden = False
        below = (self.form.match(line.text) for line in self.lines[number : number + 60])
        reason = next((found[1]["text"] for found in below if found and found[0] == "reason"), "")
        if not text and any(code in ("no-terminator", "cut-off") and one.search(reason) for code, one in said()):
            return
        self.due.popleft()
        self.out.append(Event(number, "tool", "refused", octets(reason), text))

    def _tool_in_content(self, at: int, kind: str) -> bool:
        """Whether the tool speaks within a reply that never ends: a line of its own, and no lone dot after it."""
        return kind == "noise" and not self._ends_later(at)

    def _greets(self, at: int) -> bool:
        """Whether the first line from `at` on that is no tool's is a status line."""
        texts = (line.text for line in self.lines[at : at + 5] if line.text and self.form.match(line.text) is None)
        return _STATUS.match(next(texts, "")) is not None

    def _ends_later(self, at: int) -> bool:
        """Whether the content goes on to its lone dot; a new connection or greeting comes before none."""
        dots, begins = self._ends
        dot, begin = bisect_right(dots, at), bisect_right(begins, at)
        return dot < len(dots) and (begin == len(begins) or dots[dot] < begins[begin])

    @cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        """Where lone dots stand, and where connections begin."""
        kinds = [found[0] if (found := self.form.match(line.text)) else "" for line in self.lines]
        dots = [index for index, line in enumerate(self.lines) if line.text == "."]
        return dots, [index for index, kind in enumerate(kinds) if kind == "begin"]

    @cached_property
    def _typed_on(self) -> list[bool]:
        """Whether from a line on, up to the tool's next, there are only commands."""
        typed = [True]
        for line in reversed(self.lines):
            ours = self.form.match(line.text) is not None
            typed.append(ours or (typed[-1] and (is_command(line.text) or not line.text.strip())))
        return typed[:0:-1]

    def _server(self, number: int, text: str) -> None:
        self._say(number, "server", "data", data=text)
        if self.content:
            size = len(octets(text)) + 2
            self.missing, self.raw = self.missing - size + text.startswith("."), self.raw - size
            self.content = text != "." or self._goes_on(number)

    def _goes_on(self, number: int) -> bool:
        """Whether a lone dot stands in the message: what was announced ends at the next one, octet for octet."""
        left = self.raw
        while left > 0 and number < len(self.lines) and (text := self.lines[number].text) != ".":
            left, number = left - len(octets(text)) - 2, number + 1
        return left == 0 < self.raw and number < len(self.lines) and self.lines[number].text == "."

    def _client(self, number: int, text: str) -> None:
        if self.hidden and text == "QUIT":  # a login that is not shown got no further
            self._refused(number, "")
        self._say(number, "client", "data", data=text)
        if self.challenged:
            self.challenged = False
            return
        line = parse(text)
        self.due.append(None if line.continues else line.expects_multi_line)

    def _spoken(self, at: int, line: Line) -> None:
        text, number = line.text, line.number
        status = _STATUS.match(text)
        if not text.strip():
            return
        if status:
            if self.greeted and self.due:
                many = self.due.popleft()
                self.content = bool(many) and status[1] == "+OK"
                announced = ANNOUNCED.search(text) if self.content else None
                self.missing = self.raw = int(announced[1]) if announced else 0
            elif not self.greeted and self._one_too_many(at):  # what was typed did not wait for the greeting
                self.greeted = True
                return self._say(number, "server", "late", text, text)
            self.greeted = True
            self._say(number, "server", "data", data=text)
        elif text.rstrip() == "+" or text.startswith("+ "):
            self.challenged = bool(self.due) and self.due[0] is None
            self._server(number, text)
        elif self.challenged or is_command(text):
            self._client(number, text)
        elif OTHER.match(text) and (self.foreign or not (self.greeted or self.due)):
            self.greeted = self.foreign = True
            self.due.clear()
            self._server(number, text)
        elif not self.due and self.missing > 2:
            self._server(number, text)  # the message ended too early: this is more of it
        elif not self.due and self.form.typed and self._answered(at, text):
            self._client(number, text)
        elif self.due or (self.form.typed and self.greeted):
            self._say(number, "unknown", "data", data=text)
        else:
            self._say(number, "tool", "noise", text)

    def _one_too_many(self, at: int) -> bool:
        """Whether from a line on more status lines stand together than are due up to a reply of many lines."""
        due = next((number for number, many in enumerate(self.due, 1) if many), len(self.due))
        texts = (line.text for line in self.lines[at : at + 200] if line.text)
        return 0 < due < len([*takewhile(_STATUS.match, texts)])

    def _answered(self, at: int, text: str) -> bool:
        """Whether a line that is no command is followed by a reply, as one that was sent is."""
        if len(text.split()) > 3:
            return False
        for line in self.lines[at + 1 : at + 3]:
            if line.text:
                return (OTHER if self.foreign else _STATUS).match(line.text) is not None
        return False

    # -- Dovecot's rawlog: both directions, or one ---------------------------------------------------------

    def _rawlog(self) -> list[Event]:
        rows = []
        for line in self.lines:
            match = self.form.match(line.text)
            if match:
                rows.append((line, match[1]["text"]))
            else:
                self._say(line.number, "tool", "noise", line.text)
        answers = any(_STATUS.match(text) for _, text in rows)
        if _unanswered(rows):
            return self._server_alone(rows)
        for at, (line, text) in enumerate(rows):
            if not answers:
                self._client(line.number, text)
            elif self.content:
                self._server(line.number, text)
            else:
                self._spoken(at, line._replace(text=text))
        return self.out

    def _server_alone(self, rows: list[tuple[Line, str]]) -> list[Event]:
        """Replies alone: a reply goes on to a lone dot if its second line is no status line."""
        self.content = _within(rows)
        shown = {line.number for line, _ in rows}
        asides = [line for line in self.lines if line.number not in shown and line.text]
        for at, (line, text) in enumerate(rows):
            while asides and asides[0].number < line.number:
                self._aside(asides.pop(0))
            following = rows[at + 1][1] if at + 1 < len(rows) else "+OK"
            if not self.content and not _STATUS.match(text) and not text.startswith("+"):
                self._say(line.number, "tool", "noise", text)
            elif not self.content:
                self.content = text.startswith("+OK") and not _STATUS.match(following)
                self._say(line.number, "server", "alone-many" if self.content else "alone", data=text)
            else:
                self._server(line.number, text)
        for line in asides:
            self._aside(line)
        return self.out

    def _aside(self, line: Line) -> None:
        match = self.form.match(line.text)
        if match and match[0] == "closed" and match[1].groupdict().get("text"):
            self.out.append(Event(line.number, "server", "data", octets(match[1]["text"]), "", "", True))
        self._say(line.number, "tool", match[0] if match else "noise", line.text)
