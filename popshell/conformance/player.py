"""The player of conformance rows: over any Channel, in as few connections as the rows need.

It sends the lines of the rows, a login, and CAPA, STAT, RETR and QUIT of its own. What can cost mail, time or an
account is sent only where `Allowed` says so. Rows that leave a session as it was share one; others have their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

from popshell.conformance.rows import MATCHERS, Needs, Row, Seen, Start, Step, line
from popshell.conformance.session import Channel, Session
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import Credentials
from popshell.tuples import NamedTuple

Verdict = Literal["met", "missed", "unseen"]
#: How many messages are fetched to find one with a line that begins with a dot, and one with UTF-8 in its header.
_MOST_FETCHED = 20
#: Instead of a number of messages, where neither STAT nor LIST gives one: it is neither empty nor enough.
_UNKNOWN = -1
_STARTS: tuple[Start, ...] = ("AUTHORIZATION", "TRANSACTION", "REFUSED")


class Allowed(NamedTuple):
    """What may be done that can cost mail, time or an account."""

    fetch: bool = False
    marks: bool = False
    destructive: bool = False
    #: how many wrong logins in all
    wrong_logins: int = 0
    #: the longest wait at a time, in seconds
    wait: float = 0


class Result(NamedTuple):
    """What came of a row. `reason` is a code of `[because]` of conformance.toml: why it was missed or could not
    be seen, with `fact` to go with it.

    `step` is the step that was not met, from 1. `exchanges` is the evidence: what was sent and what came.
    """

    row: Row
    verdict: Verdict
    reason: str = ""
    fact: str = ""
    step: int = 0
    exchanges: tuple[Exchange, ...] = ()


def play(
    rows: Iterable[Row],
    connect: Callable[[], Channel],
    account: Credentials | None = None,
    allowed: Allowed = Allowed(),  # noqa: B008 (frozen)
    wait: Callable[[int], None] = lambda seconds: None,
) -> tuple[Result, ...]:
    """Play `rows`; the results are in their order.

    Rows that share a session come first, those that remove mail last. Where `connect` raises OSError, a row is unseen.
    `wait` lets so many seconds pass.
    """
    rows = tuple(rows)
    player = _Player(connect, account, allowed, wait)
    order = sorted(
        range(len(rows)), key=lambda at: (rows[at].destructive, rows[at].alone, _STARTS.index(rows[at].state))
    )
    results = {at: player.play(rows[at]) for at in order}
    player.leave()  # who breaks off, by Ctrl-C or a signal, does not wait for the reply to QUIT
    return tuple(results[at] for at in range(len(rows)))


class _Unseen(Exception):
    """A row cannot be played: what lacks, as a code of `[because]` of conformance.toml with its fact."""

    def __init__(self, code: str, fact: object = "") -> None:
        super().__init__(code)
        self.code, self.fact = code, str(fact)


class _Player:
    """One run: what is known of the server by now, and the sessions that rows share."""

    def __init__(
        self,
        connect: Callable[[], Channel],
        account: Credentials | None,
        allowed: Allowed,
        wait: Callable[[int], None],
    ) -> None:
        self._connect, self._account, self._allowed, self._wait = connect, account, allowed, wait
        self._wrong_logins = 0
        self._shared: dict[Start, Session] = {}
        self._asked: set[Start] = set()
        self._capabilities: dict[str, tuple[str, ...]] = {}
        self._messages: int | None = None
        self._found: dict[str, int] | None = None
        self._logged_in = False
        self._delay = 0

    def play(self, row: Row) -> Result:
        """Play a row; once more on a new session if it was missed on one that other rows had used before."""
        used = not row.alone and row.state != "REFUSED" and row.state in self._shared
        result = self._play(row)
        if result.verdict == "missed" and used:
            self.leave()
            result = self._play(row)
        return result

    def _play(self, row: Row) -> Result:
        sessions: dict[int, Session] = {}
        start, at = 0, 0
        try:
            self._permit(row)
            self._learn(row.needs)
            if row.alone:
                self.leave()  # one session may hold a maildrop
            session = sessions[1] = self._open(row.state, row.names_account) if row.alone else self._share(row.state)
            start = 0 if row.alone else len(session.said)
            if row.state == "AUTHORIZATION" and not any(step.entered for step in row.steps):
                _answered(session.entered, "greeting")
            self._check(row.needs, session)
            past, held = [session.entered], list[Step]()
            for at, step in enumerate(row.steps, 1):
                held.append(step)
                if step.hold:
                    continue
                for one, seen in zip(held, self._do(held, sessions, past[0]), strict=True):
                    past.append(seen)
                    fault = _fault(one, seen, past[:-1])
                    if fault and one.when:
                        raise _Unseen("condition", at)
                    if fault:
                        return Result(row, "missed", *fault, len(past) - 1, _evidence(sessions, start))
                held.clear()
            return Result(row, "met", exchanges=_evidence(sessions, start))
        except _Unseen as lack:
            return Result(row, "unseen", lack.code, lack.fact, exchanges=_evidence(sessions, start))
        except OSError as error:
            return Result(row, "unseen", "no-connection", str(error), at, _evidence(sessions, start))
        except BaseException:  # Ctrl-C, or a signal: no reply to QUIT is waited for
            for session in sessions.values():
                session.cut()
            raise
        finally:
            for number, session in sessions.items():
                if row.alone or number > 1 or not session.sound:
                    session.finish()
            if row.destructive:
                self._messages = None

    def leave(self) -> None:
        """Finish the sessions that rows share."""
        for session in self._shared.values():
            session.finish()
        self._shared.clear()

    # -- what must be there ------------------------------------------------------------------------------------------

    def _permit(self, row: Row) -> None:
        allowed = self._allowed
        for code, lacks in (
            ("fetch", row.fetches and not allowed.fetch),
            ("marks", row.marks and not allowed.marks),
            ("destructive", row.destructive and not allowed.destructive),
            ("wait", row.longest_wait > allowed.wait),
            ("account", row.names_account and self._account is None),
        ):
            if lacks:
                raise _Unseen(code)
        if row.wrong_login and not (row.state == "REFUSED" and "REFUSED" in self._shared):
            if self._wrong_logins >= allowed.wrong_logins:
                raise _Unseen("wrong-login", self._wrong_logins or "")
            self._wrong_logins += 1

    def _learn(self, needs: Needs) -> None:
        """Ask what must be known before the row, on a session that rows share."""
        if needs.capability and not self._asked:
            self._share("AUTHORIZATION")
        if (needs.messages or needs.empty) and self._messages is None and self._account:
            self._share("TRANSACTION")
        if (needs.utf8 or needs.dotted) and self._found is None:
            self._found = self._search()

    def _check(self, needs: Needs, session: Session) -> None:
        for wanted in needs.capability:
            tag, *arguments = wanted.split()
            if tag not in self._capabilities or not {*arguments} <= {*self._capabilities[tag]}:
                raise _Unseen("capability", wanted)
        messages, found, account = self._messages or 0, self._found or {}, self._account
        for code, lacks, fact in (
            ("stamp", needs.stamp and session.connection.stamp is None, ""),
            ("clear", needs.clear and session.channel.tls, ""),
            ("tls", needs.tls and not session.channel.tls, ""),
            ("messages", needs.messages > messages, needs.messages),
            ("empty", needs.empty and messages != 0, ""),
            ("unicode", needs.unicode and (account is None or (account.name + account.secret).isascii()), ""),
            ("utf8", needs.utf8 and "utf8" not in found, ""),
            ("dotted", needs.dotted and "dotted" not in found, ""),
        ):
            if lacks:
                raise _Unseen(code, fact)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def _share(self, state: Start) -> Session:
        """The session that rows share in `state`; a new one if there is none that can go on."""
        session = self._shared.get(state)
        # After a refusal the server may close: what it said is all the same to be looked at.
        if session is None or not (session.sound or state == "REFUSED"):
            if state != "AUTHORIZATION":
                self._rest()
            session = self._shared.pop("AUTHORIZATION", None)
            if session is None or not session.sound:
                session = self._open("AUTHORIZATION", logs_in=False)
            self._ask(session, "AUTHORIZATION")
            if not session.sound:  # CAPA was the end of it
                session = self._open("AUTHORIZATION", logs_in=False)
            known = self._messages
            self._enter(session, state)
            if state == "TRANSACTION" and not session.sound and known is None:  # so were STAT, or LIST
                session = self._open(state, logs_in=True)
            self._shared[state] = session
        return session

    def _open(self, state: Start, logs_in: bool) -> Session:
        if logs_in:
            self._rest()
        session = Session(self._connect())
        self._enter(session, state)
        return session

    def _enter(self, session: Session, state: Start) -> None:
        """Log in, or be refused; raises _Unseen, and leaves, if that comes to nothing."""
        if state == "AUTHORIZATION":
            return
        _answered(session.entered, "greeting")
        if state == "REFUSED":
            session.say(self._line("USER {name}", session))
            session.entered = session.say(self._line("PASS {wrong}", session))[0]
            return
        session.entered = self._log_in(session)
        if not _answered(session.entered, "no-login").ok:
            session.finish()
            raise _Unseen("login-refused")
        self._ask(session, "TRANSACTION")
        if self._messages is None:
            counts = (session.say(command)[0].messages for command in (b"STAT", b"LIST"))
            self._messages = next((count for count in counts if count is not None), _UNKNOWN)

    def _ask(self, session: Session, state: Start) -> None:
        if state not in self._asked:
            self._asked.add(state)
            response = session.say(b"CAPA")[0].response
            if response is not None and response.ok:
                found = response.capabilities()
                delay = (found.get("LOGIN-DELAY") or ("",))[0]
                self._delay = int(delay) if re.fullmatch("[0-9]{1,6}", delay) else self._delay
                self._capabilities = found | self._capabilities

    def _rest(self) -> None:
        """Let LOGIN-DELAY pass before each login but the first (RFC 2449 §6.5)."""
        if self._logged_in and self._delay:
            if self._delay > self._allowed.wait:
                raise _Unseen("login-delay", self._delay)
            self._wait(self._delay)
        self._logged_in = True

    def _log_in(self, session: Session) -> Seen:
        """By USER and PASS where CAPA does not speak against it, else by AUTH PLAIN, else by APOP."""
        if not self._capabilities or "USER" in self._capabilities:
            session.say(self._line("USER {name}", session))
            return session.say(self._line("PASS {secret}", session))[0]
        plain = "PLAIN" in self._capabilities.get("SASL", ())
        return session.say(self._line("AUTH PLAIN {plain}" if plain else "APOP {name} {digest}", session))[0]

    def _search(self) -> dict[str, int]:
        """The first message with a line that begins with a dot, and the first with UTF-8, by RETR."""
        found: dict[str, int] = {}
        if not self._allowed.fetch or self._account is None:
            return found
        session = self._share("TRANSACTION")
        for number in range(1, min(self._messages or 0, _MOST_FETCHED) + 1):
            seen = session.say(b"RETR %d" % number)[0]
            if seen.exchange is None or seen.response is None or not session.sound:
                break
            # A message that is there and is not given, on a server with UTF8, is refused for its UTF-8.
            if not seen.response.ok or not (seen.content or b"").isascii():
                found.setdefault("utf8", number)
            # Without byte-stuffing a lone dot ends the reply, and the rest comes unasked.
            if b"\r\n." in seen.exchange.raw_content().removesuffix(b"\r\n.\r\n") or seen.came:
                found.setdefault("dotted", number)
        return found

    # -- one step ----------------------------------------------------------------------------------------------------

    def _do(self, steps: list[Step], sessions: dict[int, Session], entered: Seen) -> list[Seen]:
        """Do one step, or several lines in one piece; what came of each."""
        step = steps[-1]
        if step.open:
            sessions[step.open] = self._open("AUTHORIZATION", not step.at_once)
            return [sessions[step.open].entered]
        if step.entered:
            return [entered]
        session = sessions[step.login or step.cut or step.tls or step.on]
        if step.login:
            return [self._log_in(session)]
        if step.cut:
            session.cut()
        elif step.tls:
            session.start_tls()
        elif step.wait:
            self._wait(step.wait)
            came = session.listen(step.awaits_close)
            return [Seen(None, session.closed, came)]
        else:
            return session.say(*(self._octets(one, session) for one in steps), closes=step.awaits_close)
        return [Seen(None, session.closed)]

    def _octets(self, step: Step, session: Session) -> bytes:
        return bytes.fromhex(step.hex) if step.hex is not None else self._line(step.send or "", session)

    def _line(self, text: str, session: Session) -> bytes:
        values = {"beyond": (self._messages or 0) + 1, **(self._found or {})}
        return line(text, session.connection.stamp, self._account, values)


def _fault(step: Step, seen: Seen, past: list[Seen]) -> tuple[str, str] | None:
    """Why a step is not met, as a code with its fact; None if it is. What is no POP3 meets nothing."""
    if step.or_closed and seen.closed:
        return None
    problem = seen.exchange.problem if seen.exchange else None
    if problem is not None:
        return "problem", problem.code
    if step.replies and seen.exchange is None:
        return "no-reply", ""
    if step.replies and seen.came:
        return "unasked", ""
    return next(
        (("matcher", name) for name, value in step.matchers if not MATCHERS[name].meets(value, seen, past)), None
    )


def _answered(seen: Seen, code: str) -> Exchange:
    """The exchange of a reply that can be read; raises _Unseen with `code` if there is none."""
    if seen.exchange is None or seen.exchange.problem is not None:
        raise _Unseen(code)
    return seen.exchange


def _evidence(sessions: dict[int, Session], start: int) -> tuple[Exchange, ...]:
    """What was said: from `start` on in the first session, all in the others."""
    first = sessions[1].evidence[start:] or sessions[1].evidence[-1:] if 1 in sessions else []
    entered = sessions[1].entered.exchange if 1 in sessions else None
    before = [entered] if entered is not None and entered not in first else []
    return (*before, *first, *(said for number, one in sessions.items() if number > 1 for said in one.evidence))
