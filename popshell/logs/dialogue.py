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
from popshell.tuples import NamedTuple

_STATUS = re.compile(r"(\+OK|-ERR)(?: |$)")


class _Row(NamedTuple):
    """A line: what `kind` of line the form says it is, "" of the dialogue, and what its rule found as `said`."""

    number: int
    text: str
    cr: bool
    kind: str = ""
    said: str = ""


def _row(form: Format, line: Line) -> _Row:
    kind, match = form.match(line.text) or (form.rest, None)
    said = (match.groupdict().get("text") or "") if match else line.text
    return _Row(line.number, said, line.cr) if kind == "bare" else _Row(*line, kind, said)


def _unanswered(texts: list[str]) -> bool:
    """Whether most replies answer no line before them: what was sent is not in the log."""
    replies = sum(_STATUS.match(text) is not None for text in texts)
    answers = sum(is_command(a) and _STATUS.match(b) is not None for a, b in pairwise(texts))
    return replies > max(1, 2 * answers)


def _within(texts: list[str]) -> bool:
    """Whether the log begins within a reply: its lone dot comes before any command that is answered."""
    begun = not texts or _STATUS.match(texts[0]) or OTHER.match(texts[0]) or is_command(texts[0])
    answered = (at for at, (a, b) in enumerate(pairwise(texts)) if is_command(a) and _STATUS.match(b))
    return not begun and "." in texts and texts.index(".") < next(answered, len(texts))


class Dialogue:
    """Reads a form without marks. What is inferred is marked as inferred; what cannot be known is `unknown`."""

    def __init__(self, form: Format, lines: list[Line]) -> None:
        self.form = form
        self.rows = [_row(form, line) for line in lines]
        #: each line of the dialogue has something in front of it
        self.stamped = form.rest != "bare"
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
        rows = [row for row in self.rows if not row.kind and (row.text or self.stamped)]
        texts = [row.text for row in rows]
        first = next((at for at, text in enumerate(texts) if _STATUS.match(text)), len(rows))
        if self.stamped and first == len(rows):
            self._clients_alone()
        elif _unanswered(texts) and (self.stamped or all(map(_STATUS.match, texts[first : first + 2]))):
            self._server_alone(rows if self.stamped else rows[first:])  # what was sent came from a pipe
        else:
            self.greeted = self.content = _within(texts)
            for at, row in enumerate(self.rows):
                self._line(at, row)
        return self.out

    def _say(self, line: int, source: str, kind: str, text: str = "", data: str | None = None) -> None:
        sent = octets(data) + b"\r\n" if data is not None else b""
        self.out.append(Event(line, source, kind, sent, text, "", data is not None))

    def _line(self, at: int, row: _Row) -> None:
        number, text, cr, kind, said = row
        if self.content and self.form.typed and self._typed_on[at] and is_command(text) and not self._ends_later(at):
            # Commands alone follow: what was typed after a message that did not end, or a message that broke off.
            return self._client(number, text) if self.missing <= 2 else self._say(number, "unknown", "data", data=text)
        if self.content and (kind not in ("closed", "begin", "renegotiate") and not self._tool_in_content(at, kind)):
            if self.packets and not cr and not text and at + 1 < len(self.rows):
                return
            return self._server(number, text)
        if self.content and kind == "begin" and self._ends_later(at) and not self._greets(at + 1):
            return self._server(number, text)
        if kind == "closed":
            if self.content and self._ends_later(at):
                return self._server(number, text)
            if said and not (self.content or (self.due and said[:1] in "+-")):
                return self._spoken(at, row)
            self._close(row)
            self._connect()
        elif kind:
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
            self._spoken(at, row)

    def _close(self, row: _Row) -> None:
        """The other end closed; what it said before may stand in the same line."""
        if row.said:
            self.out.append(Event(row.number, "server", "data", octets(row.said), "", "", True))
        self._say(row.number, "tool", "closed", row.text)

    def _refused(self, number: int, text: str) -> None:
        """A login that is not shown was refused; why may stand below. Without a reply it was none."""
        self.hidden = False
        reason = next((row.said for row in self.rows[number : number + 60] if row.kind == "reason"), "")
        if not text and any(code in ("no-terminator", "cut-off") and one.search(reason) for code, one in said()):
            return
        self.due.popleft()
        self.out.append(Event(number, "tool", "refused", octets(reason), text))

    def _tool_in_content(self, at: int, kind: str) -> bool:
        """Whether the tool speaks within a reply: its lines are known, or no lone dot comes after this one."""
        return kind == "noise" and (self.stamped or not self._ends_later(at))

    def _greets(self, at: int) -> bool:
        """Whether the first line from `at` on that is no tool's is a status line."""
        texts = (row.text for row in self.rows[at : at + 5] if row.text and not row.kind)
        return _STATUS.match(next(texts, "")) is not None

    def _ends_later(self, at: int) -> bool:
        """Whether the content goes on to its lone dot; a new connection or greeting comes before none."""
        dots, begins = self._ends
        dot, begin = bisect_right(dots, at), bisect_right(begins, at)
        return dot < len(dots) and (begin == len(begins) or dots[dot] < begins[begin])

    @cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        """Where lone dots stand, and where connections begin."""
        dots = [at for at, row in enumerate(self.rows) if row.text == "."]
        return dots, [at for at, row in enumerate(self.rows) if row.kind == "begin"]

    @cached_property
    def _typed_on(self) -> list[bool]:
        """Whether from a line on, up to the tool's next, there are only commands."""
        typed = [True]
        for row in reversed(self.rows):
            typed.append(bool(row.kind) or (typed[-1] and (is_command(row.text) or not row.text.strip())))
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
        while left > 0 and number < len(self.rows) and (text := self.rows[number].text) != ".":
            left, number = left - len(octets(text)) - 2, number + 1
        return left == 0 < self.raw and number < len(self.rows) and self.rows[number].text == "."

    def _client(self, number: int, text: str) -> None:
        if self.hidden and text == "QUIT":  # a login that is not shown got no further
            self._refused(number, "")
        self._say(number, "client", "data", data=text)
        if self.challenged:
            self.challenged = False
            return
        line = parse(text)
        self.due.append(None if line.continues else line.expects_multi_line)

    def _spoken(self, at: int, row: _Row) -> None:
        text, number = row.text, row.number
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
        texts = (row.text for row in self.rows[at : at + 200] if row.text)
        return 0 < due < len([*takewhile(_STATUS.match, texts)])

    def _answered(self, at: int, text: str) -> bool:
        """Whether a line that is no command is followed by a reply, as one that was sent is."""
        if len(text.split()) > 3:
            return False
        for row in self.rows[at + 1 : at + 3]:
            if row.text:
                return (OTHER if self.foreign else _STATUS).match(row.text) is not None
        return False

    # -- one direction alone -----------------------------------------------------------------------------------------

    def _clients_alone(self) -> None:
        for row in self.rows:
            if row.kind:
                self._say(row.number, "tool", row.kind, row.text)
            else:
                self._client(row.number, row.text)

    def _server_alone(self, rows: list[_Row]) -> None:
        """Replies alone: a reply goes on to a lone dot if its second line is no status line."""
        texts = [row.text for row in rows]
        self.content = _within(texts)
        following = dict(zip((row.number for row in rows), (*texts[1:], "+OK"), strict=True))
        for row in self.rows:
            number, text = row.number, row.text
            if row.kind == "closed":
                self._close(row)
            elif number not in following:
                if text:
                    self._say(number, "tool", row.kind or "noise", text)
            elif self.content:
                self._server(number, text)
            elif _STATUS.match(text) or text.startswith("+"):
                self.content = text.startswith("+OK") and not _STATUS.match(following[number])
                self._say(number, "server", "alone-many" if self.content else "alone", data=text)
            else:
                self._say(number, "tool", "noise", text)
