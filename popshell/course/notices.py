"""Notices: what does not fit, noticed once as it passes. The observer is fed with every Exchange, in order.

A notice is one entry of NOTICES: its code, the commands that it looks at, and a test that gives its facts, or None.
Two numbers are compared only where both came from the server. Its words: `lessons/<language>/doctor.toml`, `[notice]`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from popshell.course.notes import language_tag, sizes
from popshell.course.symptoms import goes_on, whole
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange, Response, Status
from popshell.protocol.wire import CRLF
from popshell.tuples import NamedTuple
from popshell.visible import show

Facts = dict[str, object]
#: RFC 2449 §4: the longest first line of a reply, CRLF included.
LONGEST_STATUS = 512
_ROW = {
    "LIST": re.compile(rb"[0-9]{1,10} [0-9]{1,15}(?: .*)?", re.DOTALL),
    "UIDL": re.compile(rb"[0-9]{1,10} .*", re.DOTALL),  # what the unique-id may hold is a matter of its own
}
#: Notices on the form of a reply, in place of the note that it would have: they come each time.
_EACH_TIME = ("rows", "no-numbers", "other-message", "lang-no-tag")
_UNIQUE_ID = re.compile(rb"[\x21-\x7e]{1,70}")
#: Capabilities that announce a command of their name, the same before and after login (RFC 2449 §6, RFC 6856 §2, §3).
_ANNOUNCED = ("TOP", "UIDL", "STLS", "UTF8", "LANG")


class Notice(NamedTuple):
    """What does not fit: a code of `[notice]`, and the facts that its words name."""

    code: str
    facts: Facts


class Entry(NamedTuple):
    """One notice. `commands` are those whose `+OK` it looks at; () for every record."""

    code: str
    commands: tuple[str, ...]
    test: Callable[[Exchange, Notices], Facts | None]


class Notices:
    """The observer of one session. `again()` gives the one for the next connection to the same server."""

    def __init__(self, before: Mapping[str, int] | None = None, account: str = "") -> None:
        """`before` are the unique-ids of the session before with their numbers, `account` is whose maildrop it was."""
        self.before: Mapping[str, int] = before or {}
        self.utf8 = self.languages = False
        #: whether TLS was on at the last CAPA: without and with TLS the lists may differ (RFC 2595 §4)
        self.capa_tls: bool | None = None
        self._account_before, self._account = account, ""
        self._seen: set[str] = set()
        self._ids: dict[str, int] = {}
        #: the last record that answers a line
        self.last: Exchange | None = None

    def saw(self, exchange: Exchange) -> list[Notice]:
        """What does not fit in `exchange`. Most codes come once a session."""
        found = [
            Notice(code, facts)
            for code, commands, test in NOTICES
            if code not in self._seen and (not commands or (exchange.ok and exchange.name in commands))
            if (facts := test(exchange, self)) is not None
        ]
        self._seen |= {code for code, _ in found if code not in _EACH_TIME}
        self._remember(exchange)
        return found

    def again(self) -> Notices:
        """An observer for the next session, which remembers this one's unique-ids and whose they are."""
        if self._ids:
            return Notices(self._ids, self._account)
        return Notices(self.before, self._account_before)

    def _remember(self, exchange: Exchange) -> None:
        self.last = self.last if exchange.answers_no_line else exchange
        if not exchange.ok:
            return
        if exchange.name in ("USER", "APOP"):
            self._account = next(iter(_arguments(exchange)), "")
        if exchange.after is State.TRANSACTION and exchange.before is not State.TRANSACTION:
            # AUTH does not show the account's name: then it is not known whose the maildrop is.
            self._account = "" if exchange.name == "AUTH" else self._account
            if not self._account or self._account != self._account_before:
                self.before = {}
        if exchange.name == "CAPA":
            self.capa_tls = exchange.tls
        self.utf8 = self.utf8 or exchange.name == "UTF8"
        self.languages = self.languages or (exchange.name == "LANG" and bool(_arguments(exchange)))
        if exchange.name == "UIDL":
            self._ids |= {uid: number for number, uid in exchange.maildrop.unique_ids.items()}


def _message(exchange: Exchange) -> int | None:
    return exchange.command.message if exchange.command else None


def _arguments(exchange: Exchange) -> tuple[str, ...]:
    return exchange.command.arguments if exchange.command else ()


_NO_REPLY = Response(Status.ERR, "")


def _reply(exchange: Exchange) -> Response:
    return exchange.response or _NO_REPLY


# -- sizes and counts --------------------------------------------------------------------------------------------------


def _size(exchange: Exchange, memory: Notices, line_ends: bool = False) -> Facts | None:
    """LIST gave another size than came; with `line_ends` by one octet for each line, else by anything else."""
    number = _message(exchange)
    listed, came = exchange.maildrop_before.sizes.get(number or 0), sizes(exchange, _reply(exchange))
    if listed is None or came is None or came[0] == listed or (came[0] - listed == came[1]) is not line_ends:
        return None
    facts: Facts = {"msg": number, "listed": listed, "came": came[0]}
    return facts | ({"lines": came[1]} if line_ends else {})


def _size_said(exchange: Exchange, memory: Notices) -> Facts | None:
    said, content = re.match(r"([0-9]{1,15}) octets\b", _reply(exchange).text), _reply(exchange).content
    if said is None or content is None or int(said[1]) == len(content):
        return None
    return {"said": int(said[1]), "came": len(content)}


def _count(exchange: Exchange, memory: Notices) -> Facts | None:
    before, now = exchange.maildrop_before.count, exchange.maildrop.count
    if before is None or before == now or not whole(exchange):
        return None
    return {"command": exchange.name, "now": now, "before": before}


def _sum(exchange: Exchange, memory: Notices) -> Facts | None:
    before, now = exchange.maildrop_before, exchange.maildrop
    # Another count explains another sum: that is said already.
    if None in (before.octets, now.octets) or before.count != now.count or before.octets == now.octets:
        return None
    return {"now": now.octets, "before": before.octets} if whole(exchange) else None


# -- rows and numbers --------------------------------------------------------------------------------------------------


def _rows(exchange: Exchange) -> Iterator[tuple[bytes, int | None]]:
    """The rows of a list, each with its number; None where it cannot be read."""
    for row in _reply(exchange).lines or ():
        yield row, int(row.split(b" ", 1)[0]) if _ROW[exchange.name].fullmatch(row) else None


def _unreadable(exchange: Exchange, memory: Notices) -> Facts | None:
    bad = [row for row, number in _rows(exchange) if number is None]
    return {"command": exchange.name, "count": len(bad), "row": show(bad[0][:60], keep="")} if bad else None


def _row_repeats(exchange: Exchange, memory: Notices) -> Facts | None:
    counted = Counter(number for _, number in _rows(exchange) if number is not None)
    twice = next((number for number, times in counted.items() if times > 1), None)
    return None if twice is None else {"command": exchange.name, "msg": twice}


def _uid_grammar(exchange: Exchange, memory: Notices) -> Facts | None:
    response = _reply(exchange)
    rows = response.lines if response.content is not None else [response.text.encode("utf-8", "surrogateescape")]
    for row in rows or ():
        number, space, uid = row.partition(b" ")
        if number.isdigit() and space and not _UNIQUE_ID.fullmatch(uid):
            return {"msg": show(number[:10], keep="")}
    return None


def _uid_repeats(exchange: Exchange, memory: Notices) -> Facts | None:
    first: dict[str, int] = {}
    for number, uid in exchange.maildrop.unique_ids.items():
        if first.setdefault(uid, number) != number:
            return {"uid": uid, "first": first[uid], "second": number}
    return None


def _no_numbers(exchange: Exchange, memory: Notices) -> Facts | None:
    response = _reply(exchange)
    readers = {"STAT": response.drop_listing, "LIST": response.scan_row, "UIDL": response.unique_id_row}
    found = response.content is not None or readers[exchange.name]() is not None
    return None if found or (exchange.name == "UIDL" and _uid_grammar(exchange, memory)) else {"command": exchange.name}


def _gaps(exchange: Exchange, memory: Notices) -> Facts | None:
    view = exchange.maildrop
    numbers = sorted(view.sizes if exchange.name == "LIST" else view.unique_ids)
    known = view.readable and not view.marks and numbers and _reply(exchange).content is not None
    return {"command": exchange.name} if known and 0 not in numbers and len(numbers) != numbers[-1] else None


def _other_message(exchange: Exchange, memory: Notices) -> Facts | None:
    asked, row = _message(exchange), re.match(r"([0-9]{1,10}) ", _reply(exchange).text)
    if asked is None or row is None or int(row[1]) == asked:
        return None
    return {"command": exchange.name, "msg": asked, "other": int(row[1])}


def _changed(before: Mapping[int, object], now: Mapping[int, object]) -> Facts | None:
    number = next((number for number, value in before.items() if now.get(number, value) != value), None)
    return None if number is None else {"msg": number, "now": now[number], "before": before[number]}


def _marked_listed(exchange: Exchange, memory: Notices) -> Facts | None:
    rows = (re.match(rb"([0-9]{1,10}) ", row) for row in _reply(exchange).lines or ())
    found = next((int(row[1]) for row in rows if row and int(row[1]) in exchange.maildrop.marks), None)
    return {"command": exchange.name, "msg": found} if found is not None else None


def _one_line(exchange: Exchange, memory: Notices) -> Facts | None:
    problem = exchange.problem
    if problem is None or problem.code != "no-terminator" or exchange.name not in ("LIST", "UIDL"):
        return None
    line, _, rest = exchange.received.partition(CRLF)
    return {"command": exchange.name} if not rest and re.match(rb"\+OK [0-9]+ \S+\s*\Z", line) else None


# -- capabilities ------------------------------------------------------------------------------------------------------


def _offer(exchange: Exchange, memory: Notices) -> tuple[Facts, bool] | None:
    """What CAPA calls a command, and whether it listed it; None if it was not asked with and without TLS as now."""
    known, words = exchange.capabilities_before, _arguments(exchange)
    if known is None or exchange.tls is not memory.capa_tls or (exchange.name == "AUTH" and not words):
        return None
    if exchange.name != "AUTH":
        return {"tag": exchange.name, "command": exchange.name}, exchange.name in known
    name = words[0].upper()
    return {"tag": f"SASL {name}", "command": f"AUTH {name}"}, name in map(str.upper, known.get("SASL", ()))


def _works(exchange: Exchange, memory: Notices) -> Facts | None:
    offer = _offer(exchange, memory)
    return offer[0] if offer is not None and not offer[1] else None


def _refused(exchange: Exchange, memory: Notices, commands: tuple[str, ...]) -> Facts | None:
    """A line without a fault that got a plain `-ERR`, though CAPA listed its command, or the mechanism of AUTH."""
    line, response, before = exchange.command, exchange.response, exchange.maildrop_before
    if line is None or line.name not in commands or line.diagnostics or exchange.problem:
        return None
    # `TOP n` and `UIDL n` may lack the message, `LANG xx` the language; an initial response of AUTH may be wrong.
    there = line.message is None or line.message in before.sizes or line.message in before.unique_ids
    most = {"LANG": 0, "AUTH": 1}.get(line.name, len(line.arguments))
    if not there or len(line.arguments) > most or exchange.steps or response is None or response.ok or response.code:
        return None
    offer = _offer(exchange, memory)
    return offer[0] if offer is not None and offer[1] else None


# -- octets ------------------------------------------------------------------------------------------------------------


def _long_status(exchange: Exchange, memory: Notices) -> Facts | None:
    octets = len(exchange.status_line()) + 2
    return {"octets": octets} if exchange.response is not None and octets > LONGEST_STATUS else None


def _status_8bit(exchange: Exchange, memory: Notices) -> Facts | None:
    line = exchange.status_line()
    # The reply to LANG is in the new language already (RFC 6856 §3.2).
    if memory.languages or exchange.name == "LANG" or exchange.response is None or line.isascii():
        return None
    return {"encoding": "no UTF-8" if "\ufffd" in line.decode("utf-8", "replace") else "UTF-8"}


def _header_8bit(exchange: Exchange, memory: Notices) -> Facts | None:
    content = _reply(exchange).content or b""
    head = content[: end if (end := content.find(CRLF + CRLF)) >= 0 else None]
    return {"msg": _message(exchange)} if not memory.utf8 and not head.isascii() else None


def _top_body(exchange: Exchange, memory: Notices) -> Facts | None:
    arguments, content = _arguments(exchange), _reply(exchange).content
    if content is None or len(arguments) < 2 or not re.fullmatch("[0-9]{1,9}", arguments[1]):
        return None
    sent = (CRLF + content).partition(CRLF + CRLF)[2].count(CRLF)
    return {"asked": int(arguments[1]), "sent": sent} if sent > int(arguments[1]) else None


def _no_header(exchange: Exchange, memory: Notices) -> Facts | None:
    content = _reply(exchange).content
    if content is None or re.match(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:", content):
        return None
    row = content[: content.find(CRLF)][:60] if content else b""
    return {"msg": _message(exchange), "row": show(row, keep="")}


# -- another session ---------------------------------------------------------------------------------------------------


def _renumbered(exchange: Exchange, memory: Notices) -> Facts | None:
    for number, uid in exchange.maildrop.unique_ids.items():
        if memory.before.get(uid, number) != number:
            return {"msg": number, "before": memory.before[uid]}
    return None


def _uids_changed(exchange: Exchange, memory: Notices) -> Facts | None:
    now = exchange.maildrop.unique_ids.values()
    if _reply(exchange).content is None or not now or not memory.before or not memory.before.keys().isdisjoint(now):
        return None
    return {"count": len(memory.before)}


_MAIL, _LISTS, _MESSAGES = ("RETR",), ("LIST", "UIDL"), ("RETR", "TOP")
NOTICES = (
    Entry("size-line-ends", _MAIL, partial(_size, line_ends=True)),
    Entry("size", _MAIL, _size),
    Entry("size-said", _MAIL, _size_said),
    Entry("count", ("STAT", "LIST"), _count),
    Entry("uidl-count", ("UIDL",), _count),
    Entry("sum", ("STAT", "LIST"), _sum),
    Entry("rows", _LISTS, _unreadable),
    Entry("row-repeats", _LISTS, _row_repeats),
    Entry("uid-grammar", ("UIDL",), _uid_grammar),
    Entry("uid-repeats", ("UIDL",), _uid_repeats),
    Entry("no-numbers", ("STAT", *_LISTS), _no_numbers),
    Entry("zero", _LISTS, lambda x, _: {} if any(re.match(rb"0+ ", row) for row, _ in _rows(x)) else None),
    Entry("gaps", _LISTS, _gaps),
    Entry("other-message", _LISTS, _other_message),
    Entry("size-changed", ("LIST",), lambda x, _: _changed(x.maildrop_before.sizes, x.maildrop.sizes)),
    Entry("uid-changed", ("UIDL",), lambda x, _: _changed(x.maildrop_before.unique_ids, x.maildrop.unique_ids)),
    Entry("marked-listed", _LISTS, _marked_listed),
    Entry("one-line", (), _one_line),
    Entry("capa-refused", (), partial(_refused, commands=_ANNOUNCED)),
    Entry("capa-works", _ANNOUNCED, _works),
    Entry("sasl-refused", (), partial(_refused, commands=("AUTH",))),
    Entry("sasl-works", ("AUTH",), _works),
    Entry("long-status", (), _long_status),
    Entry("long-line", _MESSAGES, lambda x, _: {"msg": _message(x)} if x.counts.long else None),
    Entry("status-8bit", (), _status_8bit),
    Entry("header-8bit", _MESSAGES, _header_8bit),
    Entry("bare-lf", _MESSAGES, lambda x, _: {"msg": _message(x), "count": x.counts.bare} if x.counts.bare else None),
    Entry("no-header", _MESSAGES, _no_header),
    Entry("top-body", ("TOP",), _top_body),
    Entry("early-dot", (), lambda x, m: {"msg": _message(m.last)} if m.last and goes_on(m.last, x) else None),
    Entry("lang-no-tag", ("LANG",), lambda x, _: {} if _arguments(x) and not language_tag(x) else None),
    Entry("renumbered", ("UIDL",), _renumbered),
    Entry("uids-changed", ("UIDL",), _uids_changed),
)
