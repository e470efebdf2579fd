"""The conversations in `tests/transcripts/*.txt`, replayed: the RFCs' own examples and the practice server's sessions.

A file holds transcripts, divided by a line of dashes. Each begins with fields, then a blank line, then the lines:

    name:     what it shows
    source:   where it stands, or why it is here
    start:    `quoted STATE`: somebody else's session, watched by a Connection that is in STATE at first
              `practice`: the C: lines go to the practice server, and its S: lines are compared
    with:     what the practice server starts with, divided by commas: tls, no-tls, mrose=tanstaaf (an account),
              120 octets (a message of that size), 90 utf8 octets (one that needs UTF8), in_use, login_delay=60, ...

    C: a line of the client; several in a row are sent at once
    S: a line of the server; one that ends in ` ...` is compared up to there
    S: -ERR <empty>     the words that `replies.toml` holds under that key; <zh-Hant:empty>: in that language
    S: <message 2>      all lines of message 2
    = STATE             the state is this now; TLS: the handshake is done; END: the server closes

On a failure the two conversations are shown as a diff.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import ROOT, drain, each, message, practice_server, texts

from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.wire import CRLF
from popshell.server.faults import FAULTS
from popshell.server.maildrop import Message, stuffed_slices
from popshell.server.mailserver import MailServer

FOLDER = ROOT / "tests" / "transcripts"


@dataclass(frozen=True)
class Transcript:
    name: str
    source: str
    start: str
    options: tuple[str, ...]
    lines: tuple[str, ...]


def read(text: str) -> Iterator[Transcript]:
    for block in text.split("\n----\n"):
        head, _, body = block.strip("\n").partition("\n\n")
        fields = {key.strip(): value.strip() for key, _, value in (row.partition(":") for row in head.split("\n"))}
        assert set(fields) <= {"name", "source", "start", "with"}, fields
        options = tuple(word.strip() for word in fields.get("with", "").split(",") if word.strip())
        lines = tuple(body.split("\n"))
        assert all(line[:2] in ("C:", "S:", "= ") for line in lines), lines
        yield Transcript(fields["name"], fields["source"], fields["start"], options, lines)


ALL = [transcript for path in sorted(FOLDER.glob("*.txt")) for transcript in read(path.read_text("utf-8"))]


def server_with(options: tuple[str, ...]) -> tuple[MailServer, bool]:
    """The practice server that `with:` describes, and whether the session begins under TLS."""
    settings: dict[str, Any] = {"accounts": {"learner": "secret"}, "messages": []}
    faults: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key == "stamp":
            settings["new_stamp"] = lambda stamp=value: stamp
        elif option.endswith(" octets"):
            settings["messages"].append(sized(int(option.split()[0]), "信" if "utf8" in option else "so many octets"))
        elif key == "without":
            faults[key] = value.split()
        elif key in FAULTS:
            faults[key] = int(value) if value else True
        elif option != "tls":
            settings["accounts"][key] = value
    settings["messages"] = tuple(settings["messages"])
    if not settings["messages"]:
        del settings["messages"]
    return practice_server(faults=faults, **settings), "tls" in options


def sized(octets: int, subject: str) -> Message:
    """A message of so many octets, with a line that begins with a dot."""
    head = f"Subject: {subject}\r\n\r\n.\r\n".encode()
    return message(head + b"x" * (octets - len(head) - 2) + b"\r\n")


def replayed(transcript: Transcript) -> list[str]:
    """What the practice server makes of the client's lines, in the transcript's form."""
    server, tls = server_with(transcript.options)
    session, watcher = server.session(tls=tls), Connection()
    out: list[str] = []

    def say() -> None:
        data = drain(session)
        for event in watcher.received(data):
            assert isinstance(event, Challenge) or event.problem is None, event
        assert data.endswith(CRLF) or not data
        out.extend(f"S: {line}" for line in data.decode("utf-8", "surrogateescape").split("\r\n")[:-1])

    say()
    for sent, group in itertools.groupby(transcript.lines, lambda line: line.startswith("C:")):
        lines = list(group)
        if sent:
            data = b"".join(line[3:].encode() + CRLF for line in lines)
            out.extend(lines)
            session.feed(data)
            watcher.sent(data)
            say()
        for line in lines:
            if line == "= TLS" and session.starts_tls:
                session.tls_started()
                watcher.tls_started()
                out.append(line)
            elif line == "= END":
                out.append(line if session.closing else "= not at its end")
            elif line.startswith("="):
                out.append(f"= {watcher.state.value}")
    return out


def watched(transcript: Transcript) -> list[str]:
    """What a Connection makes of a quoted conversation, in the transcript's form."""
    watcher = Connection()
    state = State(transcript.start.split()[1])
    if state is not State.CLOSED:
        watcher.received(b"+OK\r\n")
    if state is State.TRANSACTION:
        watcher.sent(b"APOP a b\r\n")
        watcher.received(b"+OK\r\n")
    out: list[str] = []
    for line in transcript.lines:
        data = line[3:].encode() + CRLF
        if line.startswith("C:"):
            watcher.sent(data)
        elif line.startswith("S:"):
            for event in watcher.received(data):
                assert isinstance(event, Challenge) or event.problem is None, event
        elif line == "= TLS" and watcher.wants_tls:
            watcher.tls_started()
        elif line == "= END" and not watcher.pending:
            watcher.close()
        elif line != f"= {watcher.state.value}":
            line = f"= {watcher.state.value}"
        out.append(line)
    assert watcher.pending == 0, "a reply is still due"
    return out


def expanded(transcript: Transcript) -> list[str]:
    """The lines with messages in place of their names."""
    out = []
    for line in transcript.lines:
        if line.startswith("S: <message ") and transcript.start == "practice":
            number = int(line.removeprefix("S: <message ").removesuffix(">"))
            content = b"".join(stuffed_slices(server_with(transcript.options)[0].messages[number - 1].content))
            out += [
                f"S: {row}"
                for row in content.removesuffix(b".\r\n").decode("utf-8", "surrogateescape").split("\r\n")[:-1]
            ]
        else:
            out.append(line)
    return out


def pattern(wanted: str) -> re.Pattern[str]:
    """What a line of the file stands for."""
    free = wanted.endswith(" ...")
    parts = re.split(r"<(?:([a-zA-Z-]+):)?([a-z0-9-]+)>", wanted.removesuffix("...").rstrip() if free else wanted)
    found = re.escape(parts[0])
    for tag, key, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found += words(tag or "en", key) + re.escape(rest)
    return re.compile(found + (".*" if free else ""))


def words(tag: str, key: str) -> str:
    """A pattern for the text under `key`; a place of a count is one of its two choices."""
    parts = re.split(r"\{[a-z_]+(?:\|([^|{}]*)\|([^|{}]*))?\}", texts(tag)[key])
    found = re.escape(parts[0])
    for one, many, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        choices = [r"[0-9]+".join(map(re.escape, choice.split("#"))) for choice in (one, many) if choice is not None]
        found += f"(?:{'|'.join(choices) or '[^ ]+'})" + re.escape(rest)
    return found


def compare(wanted: list[str], found: list[str]) -> str:
    """A diff; "" if they agree. What is free in `wanted` is taken over from `found`."""
    pairs = itertools.zip_longest(wanted, found, fillvalue="")
    matched = [line if pattern(want).fullmatch(line) else want for want, line in pairs][: len(wanted)]
    return "\n".join(difflib.unified_diff(matched, found, "in the file", "replayed", lineterm="", n=4))


def test_transcript() -> None:
    def check(transcript: Transcript) -> None:
        found = replayed(transcript) if transcript.start == "practice" else watched(transcript)
        difference = compare(expanded(transcript), found)
        assert not difference, f"{transcript.name} ({transcript.source})\n{difference}"

    each([(row,) for row in ALL], check)


def test_names_differ() -> None:
    names = [transcript.name for transcript in ALL]
    assert len(names) == len(set(names)) >= 30


def test_a_wrong_transcript_is_shown() -> None:
    def check(wrong: str, told: str) -> None:
        (transcript,) = read(f"name: n\nsource: s\nstart: practice\n\n{wrong}\n")
        assert told in compare(expanded(transcript), replayed(transcript)).split("\n")

    each(
        [
            ("S: +OK ...\nC: STAT\nS: +OK 1 120", "-S: +OK 1 120"),
            ("S: +OK ...\nC: NOOP\nS: +OK ...", "+S: -ERR not in this state"),
            ("S: +OK ...\n= TRANSACTION", "+= AUTHORIZATION"),
            ("S: +OK ...\nC: QUIT\nS: +OK ...\nS: +OK ...", "-S: +OK ..."),
            ("S: +OK ...\n= END", "+= not at its end"),
            ("S: -ERR ...", "-S: -ERR ..."),
        ],
        check,
    )


def test_a_wrong_quotation_is_shown() -> None:
    (transcript,) = read("name: n\nsource: s\nstart: quoted TRANSACTION\n\nC: QUIT\nS: +OK\n= CLOSED\n")
    assert "+= UPDATE" in compare(expanded(transcript), watched(transcript))
    (transcript,) = read("name: n\nsource: s\nstart: quoted TRANSACTION\n\nC: NOOP\nS: hello\n")
    with pytest.raises(AssertionError):
        watched(transcript)
    (transcript,) = read("name: n\nsource: s\nstart: quoted TRANSACTION\n\nC: LIST\nS: +OK\n")
    with pytest.raises(AssertionError, match="still due"):
        watched(transcript)
