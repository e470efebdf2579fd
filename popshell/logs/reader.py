"""read(): a log file becomes Events: which line, who spoke, which octets. The form is recognised or given by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from popshell.logs.dialogue import Dialogue
from popshell.logs.formats import (
    READERS,
    Format,
    Rows,
    all_formats,
    by_line,
    framed,
    said,
    without_heads,
)
from popshell.logs.text import (
    CLIENT,
    LONGEST_LOG,
    MOST_LINES,
    OTHER,
    SERVER,
    TOOL,
    UNKNOWN,
    Event,
    Line,
    fenced,
    is_command,
    literal,
    octets,
    read_lines,
    resumed,
    unescaped,
    unquoted,
)
from popshell.tuples import NamedTuple

_STATUS = re.compile(r"(?:\+OK|-ERR)(?: |$)|\+ ")
_SENDS = ("sent", "client", "packet-sent", "packet-row", "bare")
_RECEIVES = ("received", "server", "packet-received", "packet-row", "bare")
#: So much a line says for a form at most.
_MOST = 2.5
_PORTS = ("110", "995", "1110", "1995", "2110", "8110", "00110", "00995", "pop3", "pop3s")


class Log(NamedTuple):
    """A log as read. `format` is None if no form fits."""

    format: Format | None
    events: list[Event]
    #: every line that was read, as it is
    lines: list[Line]
    #: the log is longer than what is read of it
    cut: bool = False


def read(data: bytes, name: str = "") -> Log:
    """Read a log. `name` is the entry to use, "" to recognise one. Raises KeyError for a name that there is not."""
    plain = unquoted(read_lines(data))
    raw = fenced(plain)
    cut = len(data) > LONGEST_LOG or data.count(b"\n") > MOST_LINES
    entry = next((entry for entry in all_formats() if entry.name == name), None)
    if name and entry is None:
        raise KeyError(name)
    best, lines = 0.0, raw
    for candidate in (raw, *([plain] if raw is not plain else []), *without_heads(raw)):
        # Lines as they are come first; what stands outside code fences belongs to the log if it adds to it.
        least = 1.0 if candidate is raw else 1.05 if candidate is plain else 1.2
        for form in (entry,) if entry else all_formats():
            points = _score(form, candidate, best * least)
            if points > best * least:
                best, lines, found = points, candidate, form
    if not best:
        return Log(entry, _events(entry, raw) if entry else [], raw, cut)
    events = _events(found, lines)
    if found.replies and not any(found.replies.search(line.text) for line in lines):
        found = replace(found, hides=found.hides | {"replies", "content"})
    return Log(found, events, raw, cut)


def _score(form: Format, lines: list[Line], least: float) -> float:
    """How well a form fits: marks count if what they mark is POP3, a tool's own words count little.

    0 if it fits no better than `least`: lines are looked at as long as it still may.
    """
    points = evidence = 0.0
    if form.needs:
        if not any(form.needs.search(line.text[:2000]) for line in lines):
            return 0.0
        points, evidence = 1.0, 0.6 if form.bare else 1.0
    heard: set[str] = set()
    lines = lines[:3000]
    for left, line in zip(range(len(lines), 0, -1), lines, strict=True):
        if points + _MOST * left <= least:
            return 0.0
        text = line.text[:2000]
        match = form.match(text)
        if match is None:
            if form.bare and _STATUS.match(text):
                points, evidence = points + 1.5, evidence + 1
            elif form.bare and form.needs and OTHER.match(text):
                evidence += 0.5
            elif form.bare and is_command(text):
                points += 0.5
            continue
        kind, found = match
        body = found.groupdict().get("text") or found.groupdict().get("bare") or ""
        if form.text:
            body = body.strip("'\"`").partition("\\r\\n")[0]
        sent = kind in _SENDS and is_command(body)
        if kind == "sent" and _STATUS.match(body):
            points -= 1
        elif sent or (kind in _RECEIVES and (_STATUS.match(body) or OTHER.match(body))):
            points, evidence = points + 2, evidence + 1
        elif kind in ("sent", "received"):
            points += 0.3
        elif kind == "closed" and form.bare:
            points, evidence = points + 0.5, evidence + 0.4 * _names_fault(form, text)
        elif kind == "noise":
            if form.bare and found[0][:1].isalpha() is False and text.endswith(("$ ", "$")):
                continue
            new = text[:6] not in heard
            heard.add(text[:6])
            points += 0.3 if new else 0.02
            evidence += 0.4 if _names_fault(form, text) else 0.2 if new else 0
        elif kind == "packet":
            points, evidence = points + _MOST, evidence + 1
        else:  # heads, beginnings, and what only this tool says
            points, evidence = points + 1, evidence + 1
    return points if evidence >= 1 else 0.0


def _names_fault(form: Format, text: str) -> bool:
    """Whether a line of a form without marks, of which something else proves it, says what went wrong below POP3."""
    return form.bare and bool(form.needs) and any(one.search(text) for code, one in said() if code != "never")


# -- lines to events -------------------------------------------------------------------------------------------------


def _events(form: Format, lines: list[Line]) -> list[Event]:
    return Dialogue(form, lines).events() if form.bare else _Marked(form).read(lines)


class _Marked:
    """Reads a form with marks."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self.out: list[Event] = []
        #: the head under way: source, its line, its match, and the rows below it
        self.head: tuple[str, int, re.Match[str]] | None = None
        self.rows: Rows = []
        self.fin = False  # its sender closes
        self.due = 0  # octets that a `counted` head still announces
        self.nodes: dict[str, str] = {}
        self.side = ""
        self.fds: set[str] = set()

    def read(self, lines: list[Line]) -> list[Event]:
        last = self.form.match(lines[-1].text) if lines else None
        if last and last[0] == "received" and not last[1]["text"]:
            lines = lines[:-1]  # the mark of a line that never came
        for line in {"strace": resumed, "tshark-x": framed}.get(self.form.name, iter)(lines):
            self._line(line)
        self._flush()
        if any("|" in event.source for event in self.out):
            return list(_sided(self.out))
        if self.form.hides == {"commands"} and not any(event.source == CLIENT for event in self.out):
            status = [_STATUS.match(one.octets.decode("latin-1").rstrip()) is not None for one in self.out]
            return [one._replace(kind="alone") if is_one else one for one, is_one in zip(self.out, status, strict=True)]
        return self.out

    def _say(self, line: int, source: str, kind: str, octets: bytes = b"", text: str = "", key: str = "") -> None:
        self.out.append(Event(line, source, kind, octets, text, key))

    def _line(self, line: Line) -> None:
        form, number = self.form, line.number
        if self.due > 0 and form.rows == "counted":
            self.rows.append((number, line.text, None))
            self.due -= len(octets(line.text)) + 2
            if self.due <= 0:
                self._flush(whole=self.due == 0)
            return
        match = form.match(line.text)
        burst = form.glued and self.head is not None and self.head[0] == SERVER
        if match is None or (burst and match[0] in ("client", "server")):
            if self.head is not None and form.rest == "burst":
                self.rows.append((number, line.text, None))
            elif form.rest == "content" and (line.cr or not line.text.startswith(("curl:", "* "))):
                self._say(number, SERVER, "content", octets(line.text) + b"\r\n", key=self.side)
            else:
                self._say(number, TOOL, "noise", text=line.text)
            return
        kind, found = match
        if kind == "row":
            if (src := found.groupdict().get("src")) is not None and (not self.head or self.head[0] != self._side(src)):
                self._flush()
                self.head = (self._side(src), number, found)
            if self.head is None:  # of what is no part of POP3: TLS's own records
                return self._say(number, TOOL, "noise", text=line.text)
            self.rows.append((number, found["text"], found))
            return
        self.fin |= kind == "fin" and self.head is not None
        if kind in ("aside", "fin"):
            return self._say(number, TOOL, "noise", text=line.text)
        self._flush()
        getattr(self, "_" + kind.replace("-", "_"), self._other)(line, found, kind)

    # -- the kinds ---------------------------------------------------------------------------------------------------

    def _other(self, line: Line, found: re.Match[str], kind: str) -> None:
        groups = found.groupdict()
        if kind == "begin":
            self.side = groups.get("id") or self.side
            self.fds.add(self.side)
        elif kind == "closed" and self.form.name == "strace" and groups["id"] not in self.fds:
            return self._say(line.number, TOOL, "noise", text=line.text)
        if kind == "closed" and groups.get("text"):
            self._say(line.number, SERVER, "data", octets(groups["text"]))
        data = b""
        if kind in ("refused", "stray", "unfit", "broken", "fetched"):
            written = unescaped if self.form.text == "literal" else octets
            data = written(groups["text"]) + (b" deleted" if groups.get("deleted") else b"")
        self._say(line.number, TOOL, kind, data, line.text, groups.get("id") or "")

    def _side(self, mark: str) -> str:
        return f"{self.nodes.get(mark, mark or '-')}|{self.nodes.get('' if mark else chr(9), '-' if mark else chr(9))}"

    def _sent(self, line: Line, found: re.Match[str], kind: str) -> None:
        source = CLIENT if kind == "sent" else SERVER
        groups = found.groupdict()
        key = self.side = groups.get("id") or self.side
        text = groups["text"] or groups.get("bare") or ""
        if self.form.text:
            data = literal(text) if self.form.text == "literal" else unescaped(text)
            if kind == "received" and data.startswith((b"+OK", b"-ERR")):
                self.fds.add(key)  # what greets is the connection
            if self.form.name == "strace" and key not in self.fds:
                if kind == "sent":  # what the program read elsewhere, files with passwords among it, is no part of this
                    self._say(line.number, TOOL, "noise", text=line.text)
                return
            if "cut" in groups:
                data = data if not groups["cut"] else data + "…\r\n".encode()
            elif source == CLIENT and not data.endswith(b"\n"):
                data += b"\r\n"
            elif data.startswith((b"+OK", b"-ERR")) and b"\n" not in data and line.text[:1] in "b'\"":
                data += b"\r\n"  # the greeting, printed by a Python program
            for number, part in by_line([(line.number, data)]):
                self._say(number, source, "data", part, key=key)
            if groups.get("cut") and (more := int(groups["len"]) - len(data)) > 0:
                self._say(line.number, source, "count", str(more).encode(), key=key)
            return
        shown = line.text if self.form.rest == "content" else ""
        self.out.append(Event(line.number, source, "data", octets(text) + b"\r\n", shown, key))

    _received = _sent

    def _close(self, line: Line, found: re.Match[str], kind: str) -> None:
        self.fds.discard(found["id"])
        self._say(line.number, TOOL, "noise", text=line.text)

    def _more(self, line: Line, found: re.Match[str], kind: str) -> None:
        source = self.out[-1].source if self.out else UNKNOWN
        if source == TOOL:
            return self._other(line, found, "noise")
        for number, part in by_line([(line.number, literal(found["text"]))]):
            self._say(number, source, "data", part)

    def _client(self, line: Line, found: re.Match[str], kind: str) -> None:
        self.head = (CLIENT if kind == "client" else SERVER, line.number, found)
        if "text" in found.groupdict():
            self.rows.append((line.number, found["text"], None))
            if kind == "client":
                self._flush()

    _server = _client

    def _packet(self, line: Line, found: re.Match[str], kind: str) -> None:
        groups = found.groupdict()
        sides = {
            "socat": f"{groups['src']}|{'<' if groups['src'] == '>' else '>'}",
            "counted": self._side(groups["src"]),
        }
        self.head = (sides.get(self.form.rows, f"{groups['src']}|{groups['dst']}"), line.number, found)
        if kind == "packet":
            self.due = int(groups["len"])
        else:
            self.rows.append((line.number, groups["text"], None))

    _packet_row = _packet

    def _packet_sent(self, line: Line, found: re.Match[str], kind: str) -> None:
        source, pair = CLIENT if kind == "packet-sent" else SERVER, "|".join(sorted((found["src"], found["dst"])))
        if fragment := re.match(r"DATA fragment, (\d{1,9}) bytes", found["text"]):
            self._say(line.number, source, "count", fragment[1].encode(), key=pair)
        else:
            self._say(line.number, source, "data", octets(found["text"]) + b"\r\n", key=pair)
            self.nodes[source + pair] = found["src"]

    _packet_received = _packet_sent

    def _packet_fin(self, line: Line, found: re.Match[str], kind: str) -> None:
        pair = "|".join(sorted((found["src"], found["dst"])))
        server = self.nodes.get(SERVER + pair) == found["src"]
        if found["src"] == found["dst"]:  # both on one machine: the server has the lower port
            ports = re.findall(r"(?<![\w.])\d{1,5}(?= (?:→|->) \d| \[)", found.string[found.end("dst") :])
            server = len(ports) == 2 and int(ports[0]) < int(ports[1])
        self._say(line.number, TOOL, "closed" if server else "noise", text=line.text, key=pair)

    def _node(self, line: Line, found: re.Match[str], kind: str) -> None:
        self.nodes["\t" if found["node"] == "1" else ""] = found["src"]

    def _json(self, line: Line, found: re.Match[str], kind: str) -> None:
        try:
            record = json.loads(found["text"])
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            return self._say(line.number, TOOL, "noise", text=line.text)
        if record.get("type") == "connection":
            what, by = record.get("event"), record.get("by")
            kind = "begin" if what == "connected" else "closed" if by in ("server", "network") else "noise"
            error = record["error"] if isinstance(record.get("error"), dict) else {}
            named = (what, record.get("host"), record.get("port"), record.get("how"), error.get("code"))
            return self._say(line.number, TOOL, kind, text=" ".join(str(one) for one in named if one))
        command, status = record.get("command"), record.get("status")
        if isinstance(command, dict) and isinstance(command.get("line"), str):
            self._say(line.number, CLIENT, "data", octets(command["line"].replace("\n", " ")) + b"\r\n")
            for challenge in record["challenges"] if isinstance(record.get("challenges"), list) else ():
                self._say(line.number, SERVER, "data", b"+ " + octets(str(challenge).replace("\n", " ")) + b"\r\n")
                self._say(line.number, CLIENT, "hidden")
        if isinstance(status, str):
            code = f"[{record['code']}] " if isinstance(record.get("code"), str) else ""
            row = f"{status} {code}{record.get('text') or ''}".rstrip().replace("\n", " ")
            self._say(line.number, SERVER, "data", octets(row) + b"\r\n")
        elif isinstance(record.get("text"), str):
            self._say(line.number, SERVER, "data", octets(record["text"].split("\r\n")[0]) + b"\r\n")
        for row in record["lines"] if isinstance(record.get("lines"), list) else ():
            if isinstance(row, str):
                self._say(line.number, SERVER, "content", octets(row.replace("\n", " ")) + b"\r\n")
        streamed, problem = record.get("streamed"), record.get("problem")
        if isinstance(streamed, dict) and isinstance(streamed.get("octets"), int):
            self._say(line.number, SERVER, "count", str(streamed["octets"]).encode())
        if isinstance(problem, dict) and problem.get("code") in ("no-terminator", "cut", "no-reply"):
            self._say(line.number, TOOL, "closed")
        elif isinstance(record.get("lines"), list) or streamed:
            self._say(line.number, TOOL, "ends")

    # -- what a head announced ---------------------------------------------------------------------------------------

    def _flush(self, whole: bool = True) -> None:
        if self.head is None:
            return
        (source, number, found), rows, fin = self.head, self.rows, self.fin
        self.head, self.rows, self.due, self.fin = None, [], 0, False
        groups = found.groupdict()
        length = int(groups["len"]) if groups.get("len") else 0
        pieces = READERS[self.form.rows](rows, length)
        for at, part in by_line(pieces):
            glued = self.form.glued and not part.endswith(b"\n")
            self.out.append(Event(at, source, "data", part, key=groups.get("id") or "", glued=glued))
        if length and not pieces:
            self._say(number, source, "count", str(length).encode())
        flags = set(groups.get("flags") or "") | set("F" * fin)
        if flags & set("SFR"):
            self._say(number, source, "begin" if "S" in flags else "fin", text=found.string)


def _sided(events: list[Event]) -> Iterator[Event]:
    """Events whose source is `FROM|TO` get a side: by the port, by what was said, else unknown."""
    servers: dict[frozenset[str], str] = {}
    for event in events:
        sides = event.source.split("|")
        if len(sides) != 2 or frozenset(sides) in servers:
            continue
        ports = [side for side in sides if re.sub(r"\D+\((\w+)\)$|.*[.:](?=\w+$)", r"\1", side) in _PORTS]
        if len(ports) == 1:
            servers[frozenset(sides)] = ports[0]
        elif event.octets.startswith((b"+OK", b"-ERR")) or OTHER.match(event.octets.decode("latin-1")):
            servers[frozenset(sides)] = sides[0]
        elif is_command(event.octets.decode("latin-1").rstrip()):
            servers[frozenset(sides)] = sides[1]
    for event in events:
        sides = event.source.split("|")
        if len(sides) != 2:
            yield event
            continue
        pair = frozenset(sides)
        server = servers.get(pair)
        source = UNKNOWN if server is None else SERVER if server == sides[0] else CLIENT
        key = "|".join(sorted(pair)) if all(len(side) > 2 for side in sides) else ""
        if event.kind in ("begin", "fin"):
            kind = "begin" if event.kind == "begin" else "closed" if source == SERVER else "noise"
            yield event._replace(source=TOOL, kind=kind, key=key, octets=b"")
        else:
            yield event._replace(source=source, key=key)
