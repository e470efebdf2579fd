"""Scripts of `popshell run`: a dialogue of `C:` and `S:` lines with directives; read, played and compared.

docs/reference-scripts.md describes the form. A transcript of `:save` has it, and so has a dialogue of a lesson.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any, NoReturn

from popshell.conformance.rows import PLACES, line
from popshell.conformance.session import Channel, Session
from popshell.course.player import ROW, Turn, Untruth, compare, turns
from popshell.protocol.records import Exchange, stamp
from popshell.protocol.sasl import Credentials
from popshell.protocol.secrets import MASK, joined, redact
from popshell.session import transcript_lines
from popshell.tuples import NamedTuple
from popshell.words import Flaw

#: No script is longer, in octets.
LONGEST = 1024 * 1024
#: `@wait` takes no longer, in seconds.
LONGEST_WAIT = 3600.0
#: Where a script can fail, with its exit code (docs/reference-scripts.md).
STAGES: Mapping[str, int] = {
    "": 0,
    "reply": 1,
    "script": 2,
    "connect": 3,
    "tls": 4,
    "greeting": 5,
    "login": 6,
    "end": 7,
}
#: Each directive with what its argument must be.
_DIRECTIVES = {
    "connect": r"\S*",
    "tls": "",
    "wait": r"\d{1,7}(\.\d{1,3})?",
    "secret": r"([a-z][a-z0-9_]*)?",
    "expect-close": "",
}
#: The codes of net/errors.py that say that TLS failed, and those that say that the greeting did.
_TLS = "certificate|handshake|not-tls|tls|stls|closed-(in|after)|wants-cert|no-server|reply-timeout|unasked"
GREETING_FAILED = "turned-away|not-pop3|closed-early|line-cut|greeting"
_LOGINS = ("USER", "PASS", "APOP", "AUTH")
#: What is filled in where a transcript has a mask.
_MASKED = {"PASS ": "{secret}", "APOP ": "{digest}", "AUTH PLAIN ": "{plain}"}
_WILD = re.compile(rf"(\*|{MASK}|\{{[a-z][a-z0-9_]*\}})")
_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: How many captures a row may have, and how many characters one takes (a unique-id has 70 at most, RFC 1939 §7).
_CAPTURES, _LONGEST_CAPTURE = 4, 80
#: Rows that are shown before the one that differs.
_SHOWN = 3


class Directive(NamedTuple):
    line: int
    name: str
    argument: str


class Script(NamedTuple):
    steps: tuple[Turn | Directive, ...]

    @property
    def rows(self) -> Iterator[str]:
        """All lines that are sent."""
        return (row for step in self.steps if isinstance(step, Turn) for row in step.sent)

    @property
    def needs_account(self) -> bool:
        """Whether a password, or a name, has to be filled in somewhere."""
        named = {name for row in self.rows for name in _NAME.findall(row)} & PLACES
        return bool(named) or any(MASK in row for row in self.rows) or self.asks

    @property
    def asks(self) -> bool:
        return any(isinstance(step, Directive) and step.name == "secret" for step in self.steps)

    @property
    def connects(self) -> bool:
        """Whether it says itself to connect elsewhere than to the practice server."""
        places = {step.argument for step in self.steps if isinstance(step, Directive) and step.name == "connect"}
        return bool(places - {"", "practice"})


class Outcome(NamedTuple):
    """What came of a script: passed if `stage` is "". `code` says why not, in `messages.toml`, `[run]`.

    `rows` show what was sent, what was expected (`-`) and what came (`+`), without secrets; `text` is the network's.
    """

    turns: int
    stage: str = ""
    line: int = 0
    code: str = ""
    text: str = ""
    rows: tuple[str, ...] = ()
    expected: str | None = None
    received: str | None = None


def read_script(data: bytes) -> Script:
    """Read a script. Raises Flaw with the `line`."""
    if len(data) > LONGEST:
        raise Flaw("script-too-long", line=1, most=LONGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Flaw("not-utf-8", line=data.count(b"\n", 0, error.start) + 1) from None
    steps: list[Turn | Directive] = []
    rows: list[tuple[int, str]] = []
    for at, row in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not row.strip() or row.startswith("#"):
            continue
        if row.startswith("@"):
            steps += turns(rows)
            rows.clear()
            steps.append(_directive(at, row))
        elif ROW.fullmatch(row) and row not in ("C: [...]", "C: …") and "\0" not in row and "\r" not in row:
            if row.startswith("S:") and len({*_NAME.findall(row)} - PLACES) > _CAPTURES:
                raise Flaw("many-captures", line=at, most=_CAPTURES)
            rows.append((at, row))
        else:
            raise Flaw("bad-row", line=at, row=row[:80])
    steps += turns(rows)
    if not steps:
        raise Flaw("script-empty", line=1)
    return Script(tuple(steps))


def _directive(at: int, row: str) -> Directive:
    name, argument = (*row[1:].strip().split(None, 1), "", "")[:2]
    if name not in _DIRECTIVES:
        raise Flaw("unknown-directive", line=at, name=name[:80], names=tuple(f"@{one}" for one in _DIRECTIVES))
    if re.fullmatch(_DIRECTIVES[name], argument) is None or (name == "wait" and float(argument) > LONGEST_WAIT):
        raise Flaw("bad-argument", line=at, name=name, argument=argument[:80])
    return Directive(at, name, argument)


def play(
    script: Script,
    connect: Callable[[str], Channel],
    account: Credentials | None = None,
    wait: Callable[[float], None] = lambda seconds: None,
) -> Outcome:
    """Play a script. `connect` opens a channel to a place, "" for the usual one; it may raise OSError."""
    player = _Player(connect, account, wait)
    try:
        for step in script.steps:
            player.do(step)
        return Outcome(player.turns)
    except _Failed as failed:
        return failed.outcome
    except OSError as error:
        code = str(getattr(error, "code", ""))
        stage = "tls" if re.match(_TLS, code) else "greeting" if re.match(GREETING_FAILED, code) else "connect"
        return Outcome(player.turns, stage, player.line, "network", str(error))
    finally:
        if player.session is not None:
            player.session.cut()


class _Failed(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


class _Player:
    """One script under way."""

    def __init__(
        self, connect: Callable[[str], Channel], account: Credentials | None, wait: Callable[[float], None]
    ) -> None:
        self._connect, self._account, self._wait = connect, account, wait
        self._captured: dict[str, str] = {}
        self.session: Session | None = None
        self.turns = 0
        self.line = 0
        #: how many records of the session are compared already
        self._seen = 0

    def do(self, step: Turn | Directive) -> None:
        self.line = step.line
        if isinstance(step, Turn):
            self.turns += 1
            self._turn(step)
        elif step.name == "connect":
            self._open(step.argument)
        elif step.name == "secret":
            self._captured[step.argument or "secret"] = self._account.secret if self._account else ""
        elif step.name == "wait":
            self._wait(float(step.argument))
            if self.session is not None:
                self.session.listen()  # the server may have closed by now
        else:
            session = self._here()
            if step.name == "tls" and not session.channel.tls:
                self._turn(Turn((step.line,) * 2, ("STLS",), ("+OK*",)))
            elif step.name == "expect-close":
                session.listen(closes=True)
                if not session.closed:
                    self._fail("end", "not-closed")

    def _here(self) -> Session:
        return self.session or self._open("")

    def _open(self, where: str) -> Session:
        if self.session is not None:
            self.session.cut()
        self._seen = 0
        self.session = Session(self._connect(where))
        return self.session

    def _greeted(self, session: Session) -> None:
        """A greeting that the script does not look at must be one all the same."""
        if self._seen == 0:
            greeting = session.entered.exchange
            if greeting is None or greeting.problem is not None:
                received = greeting.reply_line() if greeting is not None else None
                self._fail("greeting", "no-greeting", received=received)
            self._seen = 1

    def _turn(self, turn: Turn) -> None:
        session = self._here()
        given, stage = 0, "greeting"
        if turn.sent:
            self._greeted(session)
            words = [row.split(" ")[0].upper() for row in turn.sent]
            stage = "tls" if "STLS" in words else "end" if "QUIT" in words else "reply"
            under_way = session.connection.under_way()
            if session.connection.challenged and under_way is not None:
                given = len(under_way.steps) + 1
            if given or any(word in _LOGINS for word in words):
                stage = "login"
            lines = [self._octets(session, row, at) for at, row in zip(turn.lines, turn.sent, strict=False)]
            if session.closed:
                self._fail(stage, "closed")
            session.say(*lines)
        elif self._seen:
            stage = "reply"
            session.listen()
        self._compare(session, turn, given, stage)
        self._seen = len(session.said)
        if session.connection.wants_tls:
            session.start_tls()

    def _octets(self, session: Session, row: str, at: int) -> bytes:
        """A line with its places and captures filled in; of a transcript, with what was masked."""
        if MASK in row:
            under_way = session.connection.under_way() if session.connection.challenged else None
            typed = f"{under_way.command.text} {row}" if under_way and under_way.command else row
            place = next((place for begin, place in _MASKED.items() if typed.upper().startswith(begin)), "")
            if not place or row.count(MASK) > 1 or self._account is None:
                self._fail("script", "masked", at)
            row = row.replace(MASK, place)
        data = line(row, session.connection.stamp, self._account, self._captured)
        if any(octet in data for octet in b"\r\n\0"):
            self._fail("script", "unsendable", at)
        return data

    def _compare(self, session: Session, turn: Turn, given: int, stage: str) -> None:
        """Hold what came against a turn; of the exchange under way `given` lines were compared before."""
        records = session.evidence[self._seen :]
        heard = [row[3:] for row in transcript_lines(records, masked=False) if row.startswith("S:")][given:]
        said = [_any_stamp(row) for row in turn.said] if stage == "greeting" else turn.said
        found = compare(said, heard, _stands, self._captured) if said else self._captured
        due = session.connection.pending and not session.connection.challenged
        if isinstance(found, Untruth):
            expected = turn.said[found.at] if found.at < len(turn.said) else None
            received = heard[found.heard] if found.heard is not None else None
            missing = "closed" if session.closed else "no-reply" if due or session.connection.broken else "differs"
            at = turn.lines[len(turn.sent) + min(found.at, len(turn.said) - 1)]
            rows = self._shown(turn, records, expected, received, turn.said[: found.at])
            # Where the lone dot is missed, the reply has not ended: that it differs says less.
            self._fail(stage, missing if received is None or expected == "." else "differs", at, **rows)
        if due and not session.closed:
            self._fail(stage, "no-reply", turn.line, **self._shown(turn, records, None, None, heard))
        self._captured = found

    def _shown(
        self, turn: Turn, records: list[Exchange], expected: str | None, received: str | None, before: Sequence[str]
    ) -> dict[str, Any]:
        """What is shown of a turn that failed, without secrets: its rows, what was expected, and what came."""
        own: tuple[str, ...] = ()
        if self._account and self._account.secret and self.session:
            own = (self._account.secret, line("{digest}", self.session.connection.stamp, self._account, {}).decode())
        hidden = joined((), (*own, *(secret for record in records for secret in record.secrets)))
        expected, received = (None if row is None else redact(row, hidden) for row in (expected, received))
        sent = [row for row in transcript_lines(records) if row.startswith("C:")]
        rows = [f"  {redact(row, hidden)}" for row in sent[len(sent) - len(turn.sent) :]]
        rows += [f"  S: {redact(row, hidden)}" for row in before[-_SHOWN:]]
        rows += [] if expected is None else [f"- S: {expected}"]
        rows += [] if received is None else [f"+ S: {received}"]
        if expected is not None and received is not None:
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(expected, received, strict=False)))
            rows += [] if _WILD.match(expected, same) else [f"     {' ' * same}^"]
        return {"rows": tuple(rows), "expected": expected, "received": received}

    def _fail(self, stage: str, code: str, at: int = 0, **shown: Any) -> NoReturn:
        raise _Failed(Outcome(self.turns, stage, at or self.line, code, **shown))


def _any_stamp(row: str) -> str:
    """A greeting's timestamp differs in each session (RFC 1939 §7): any stands for any."""
    found = stamp(row)
    return row.replace(found, "<*@*>") if found else row


def _stands(row: str, heard: str, captured: Mapping[str, str]) -> Mapping[str, str] | None:
    """Whether a row stands for a line; what it captures is added.

    `*`, and a mask, stand for anything, `{name}` for a word. What lies between two `*` is looked for from the left and
    not tried again, so that no line costs more than once through it.
    """
    known = tuple((name, captured[name]) for name in _names(row) if name in captured)
    if (pattern := _pattern(row, known)) is None:
        return captured if row == heard else None
    found = pattern.fullmatch(heard)
    return None if found is None else {**captured, **found.groupdict()} if pattern.groups else captured


@lru_cache(maxsize=256)
def _names(row: str) -> tuple[str, ...]:
    return tuple(_NAME.findall(row))


@lru_cache(maxsize=256)
def _pattern(row: str, known: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """The row as a regular expression, with what was captured before filled in; None if it stands for itself alone."""
    if not _WILD.search(row):
        return None
    names, pieces, captured = set[str](), [""], dict(known)
    for token in _WILD.split(row):
        name = token[1:-1] if _NAME.fullmatch(token) else ""
        if token in ("*", MASK):
            pieces.append("")
        elif not name or name in PLACES or name in captured:
            pieces[-1] += re.escape(captured.get(name, token))
        else:
            pieces[-1] += f"(?P={name})" if name in names else rf"(?P<{name}>\S{{1,{_LONGEST_CAPTURE}}})"
            names.add(name)
    first, *rest = pieces
    pattern = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return re.compile(f"(?>{first}){pattern}.*{rest[-1]}" if rest else first)
