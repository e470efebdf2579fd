"""Notices: what does not fit, noticed once as it passes. The observer is fed with every Exchange, in order.

A notice is one entry of NOTICES: its code, the commands that it looks at, and a test that gives its facts, or None.
Two numbers are compared only where both came from the server. Its words: `lessons/<language>/doctor.toml`, `[notice]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from popshell.course.notes import language_tag
from popshell.course.symptoms import goes_on, whole
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange
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
        found = []
        for code, facts in self._look(exchange):
            found.append(Notice(code, facts))
            if code not in _EACH_TIME:
                self._seen.add(code)
        self._remember(exchange)
        return found

    def again(self) -> Notices:
        """An observer for the next session, which remembers this one's unique-ids and whose they are."""
        if self._ids:
            return Notices(self._ids, self._account)
        return Notices(self.before, self._account_before)

    def _look(self, exchange: Exchange) -> Iterator[tuple[str, Facts]]:
        for entry in NOTICES:
            if entry.code in self._seen or (entry.commands and not (exchange.ok and exchange.name in entry.commands)):
                continue
            if (facts := entry.test(exchange, self)) is not None:
                yield entry.code, facts

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


def _text(exchange: Exchange) -> str:
    return exchange.response.text if exchange.response else ""


def _content(exchange: Exchange) -> bytes | None:
    return exchange.response.content if exchange.response else None


def _first_line(exchange: Exchange) -> bytes:
    """The first line without its CRLF; the rest, which may be 64 MB, is not copied."""
    end = exchange.received.find(CRLF)
    return exchange.received[: end if end >= 0 else None]


def _rows(exchange: Exchange) -> list[bytes]:
    return (exchange.response.lines or []) if exchange.response else []


# -- sizes and counts --------------------------------------------------------------------------------------------------


def _listed_and_came(exchange: Exchange) -> tuple[int, int, int] | None:
    """The size that LIST gave, the octets that came, and in how many lines; None if there is nothing to say of it."""
    listed, content = exchange.maildrop_before.sizes.get(_message(exchange) or 0), _content(exchange)
    if listed is None or (content is not None and len(content) == listed):
        return None
    if content is not None:
        return listed, len(content), exchange.counts.lines
    stream = exchange.stream
    return (listed, stream.octets, stream.lines) if stream is not None and stream.octets != listed else None


def _size_line_ends(exchange: Exchange, memory: Notices) -> Facts | None:
    found = _listed_and_came(exchange)
    if found is None or found[1] - found[0] != found[2]:
        return None
    return {"msg": _message(exchange), "listed": found[0], "came": found[1], "lines": found[2]}


def _size(exchange: Exchange, memory: Notices) -> Facts | None:
    found = _listed_and_came(exchange)
    if found is None or _size_line_ends(exchange, memory) is not None:
        return None
    return {"msg": _message(exchange), "listed": found[0], "came": found[1]}


def _size_said(exchange: Exchange, memory: Notices) -> Facts | None:
    said, content = re.match(r"([0-9]{1,15}) octets\b", _text(exchange)), _content(exchange)
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


def _unreadable(exchange: Exchange, memory: Notices) -> Facts | None:
    bad = [row for row in _rows(exchange) if not _ROW[exchange.name].fullmatch(row)]
    return {"command": exchange.name, "count": len(bad), "row": show(bad[0][:60], keep="")} if bad else None


def _row_repeats(exchange: Exchange, memory: Notices) -> Facts | None:
    seen: set[int] = set()
    for row in _rows(exchange):
        if _ROW[exchange.name].fullmatch(row):
            number = int(row.split(b" ", 1)[0])
            if number in seen:
                return {"command": exchange.name, "msg": number}
            seen.add(number)
    return None


def _uid_grammar(exchange: Exchange, memory: Notices) -> Facts | None:
    rows = _rows(exchange) if _content(exchange) is not None else [_text(exchange).encode("utf-8", "surrogateescape")]
    for row in rows:
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
    response = exchange.response
    if response is None or response.content is not None:
        return None
    readers = {"STAT": response.drop_listing, "LIST": response.scan_row, "UIDL": response.unique_id_row}
    found = readers[exchange.name]() is not None or (exchange.name == "UIDL" and _uid_grammar(exchange, memory))
    return None if found else {"command": exchange.name}


def _zero(exchange: Exchange, memory: Notices) -> Facts | None:
    return {} if any(re.match(rb"0+ ", row) for row in _rows(exchange)) else None


def _gaps(exchange: Exchange, memory: Notices) -> Facts | None:
    view = exchange.maildrop
    numbers = view.sizes if exchange.name == "LIST" else view.unique_ids
    if (
        not view.readable
        or _content(exchange) is None
        or view.marks
        or not numbers
        or sorted(numbers) == [*range(1, len(numbers) + 1)]
    ):
        return None
    return {"command": exchange.name} if 0 not in numbers else None


def _other_message(exchange: Exchange, memory: Notices) -> Facts | None:
    asked, row = _message(exchange), re.match(r"([0-9]{1,10}) ", _text(exchange))
    if asked is None or row is None or int(row[1]) == asked:
        return None
    return {"command": exchange.name, "msg": asked, "other": int(row[1])}


def _changed(before: Mapping[int, object], now: Mapping[int, object]) -> Facts | None:
    number = next((number for number, value in before.items() if now.get(number, value) != value), None)
    return None if number is None else {"msg": number, "now": now[number], "before": before[number]}


def _size_changed(exchange: Exchange, memory: Notices) -> Facts | None:
    return _changed(exchange.maildrop_before.sizes, exchange.maildrop.sizes)


def _uid_changed(exchange: Exchange, memory: Notices) -> Facts | None:
    return _changed(exchange.maildrop_before.unique_ids, exchange.maildrop.unique_ids)


def _marked_listed(exchange: Exchange, memory: Notices) -> Facts | None:
    marks = exchange.maildrop.marks
    if not marks:
        return None
    numbers = (int(row[1]) for text in _rows(exchange) if (row := re.match(rb"([0-9]{1,10}) ", text)))
    found = next((number for number in numbers if number in marks), None)
    return {"command": exchange.name, "msg": found} if found is not None else None


def _one_line(exchange: Exchange, memory: Notices) -> Facts | None:
    problem = exchange.problem
    if problem is None or problem.code != "no-terminator" or exchange.name not in ("LIST", "UIDL"):
        return None
    line, _, rest = exchange.received.partition(CRLF)
    return {"command": exchange.name} if not rest and re.match(rb"\+OK [0-9]+ \S+\s*\Z", line) else None


# -- capabilities ------------------------------------------------------------------------------------------------------


def _capa_refused(exchange: Exchange, memory: Notices) -> Facts | None:
    line, response, known = exchange.command, exchange.response, exchange.capabilities_before
    if line is None or response is None or response.ok or response.code or known is None or line.diagnostics:
        return None
    if exchange.problem is not None or line.name not in _ANNOUNCED or line.name not in known:
        return None
    if exchange.tls is not memory.capa_tls:
        return None
    # `LANG xx` may lack the language, `TOP n` and `UIDL n` the message.
    if line.name == "LANG" and line.arguments:
        return None
    number, before = line.message, exchange.maildrop_before
    there = number is None or number in before.sizes or number in before.unique_ids
    return {"tag": line.name, "command": line.name} if there else None


def _sasl_refused(exchange: Exchange, memory: Notices) -> Facts | None:
    """A mechanism of the list that is refused before it has begun; with an initial response it may be the password."""
    line, response, known = exchange.command, exchange.response, exchange.capabilities_before or {}
    if line is None or line.name != "AUTH" or line.diagnostics or exchange.steps or exchange.problem is not None:
        return None
    if response is None or response.ok or response.code or exchange.tls is not memory.capa_tls:
        return None
    mechanism = line.arguments[0].upper() if len(line.arguments) == 1 else ""
    return {"tag": f"SASL {mechanism}", "command": f"AUTH {mechanism}"} if _offers(known, mechanism) else None


def _sasl_works(exchange: Exchange, memory: Notices) -> Facts | None:
    words, known = _arguments(exchange), exchange.capabilities_before
    if not words or known is None or _offers(known, words[0]) or exchange.tls is not memory.capa_tls:
        return None
    return {"tag": f"SASL {words[0].upper()}", "command": f"AUTH {words[0].upper()}"}


def _offers(known: Mapping[str, tuple[str, ...]], mechanism: str) -> bool:
    return mechanism.upper() in map(str.upper, known.get("SASL", ()))


def _capa_works(exchange: Exchange, memory: Notices) -> Facts | None:
    known = exchange.capabilities_before
    if known is None or exchange.name in known or exchange.tls is not memory.capa_tls:
        return None
    return {"tag": exchange.name, "command": exchange.name}


# -- octets ------------------------------------------------------------------------------------------------------------


def _long_status(exchange: Exchange, memory: Notices) -> Facts | None:
    octets = len(_first_line(exchange)) + 2
    return {"octets": octets} if exchange.response is not None and octets > LONGEST_STATUS else None


def _long_line(exchange: Exchange, memory: Notices) -> Facts | None:
    return {"msg": _message(exchange)} if exchange.counts.long else None


def _status_8bit(exchange: Exchange, memory: Notices) -> Facts | None:
    line = _first_line(exchange)
    # The reply to LANG is in the new language already (RFC 6856 §3.2).
    if memory.languages or exchange.name == "LANG" or exchange.response is None or line.isascii():
        return None
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return {"encoding": "no UTF-8"}
    return {"encoding": "UTF-8"}


def _header_8bit(exchange: Exchange, memory: Notices) -> Facts | None:
    content = _content(exchange) or b""
    head = content[: end if (end := content.find(CRLF + CRLF)) >= 0 else None]
    return {"msg": _message(exchange)} if not memory.utf8 and not head.isascii() else None


def _bare_lf(exchange: Exchange, memory: Notices) -> Facts | None:
    bare = exchange.counts.bare
    return {"msg": _message(exchange), "count": bare} if bare else None


def _top_body(exchange: Exchange, memory: Notices) -> Facts | None:
    arguments, content = _arguments(exchange), _content(exchange)
    if content is None or len(arguments) < 2 or not re.fullmatch("[0-9]{1,9}", arguments[1]):
        return None
    sent = (CRLF + content).partition(CRLF + CRLF)[2].count(CRLF)
    return {"asked": int(arguments[1]), "sent": sent} if sent > int(arguments[1]) else None


def _no_header(exchange: Exchange, memory: Notices) -> Facts | None:
    content = _content(exchange)
    if content is None or re.match(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:", content):
        return None
    row = content[: content.find(CRLF)][:60] if content else b""
    return {"msg": _message(exchange), "row": show(row, keep="")}


def _lang_no_tag(exchange: Exchange, memory: Notices) -> Facts | None:
    return {} if _arguments(exchange) and not language_tag(exchange) else None


def _early_dot(exchange: Exchange, memory: Notices) -> Facts | None:
    return {"msg": _message(memory.last)} if memory.last and goes_on(memory.last, exchange) else None


# -- another session ---------------------------------------------------------------------------------------------------


def _renumbered(exchange: Exchange, memory: Notices) -> Facts | None:
    for number, uid in exchange.maildrop.unique_ids.items():
        if memory.before.get(uid, number) != number:
            return {"msg": number, "before": memory.before[uid]}
    return None


def _uids_changed(exchange: Exchange, memory: Notices) -> Facts | None:
    now = exchange.maildrop.unique_ids.values()
    if _content(exchange) is None or not now or not memory.before or not memory.before.keys().isdisjoint(now):
        return None
    return {"count": len(memory.before)}


_MAIL, _LISTS = ("RETR",), ("LIST", "UIDL")
NOTICES = (
    Entry("size-line-ends", _MAIL, _size_line_ends),
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
    Entry("zero", _LISTS, _zero),
    Entry("gaps", _LISTS, _gaps),
    Entry("other-message", _LISTS, _other_message),
    Entry("size-changed", ("LIST",), _size_changed),
    Entry("uid-changed", ("UIDL",), _uid_changed),
    Entry("marked-listed", _LISTS, _marked_listed),
    Entry("one-line", (), _one_line),
    Entry("capa-refused", (), _capa_refused),
    Entry("capa-works", _ANNOUNCED, _capa_works),
    Entry("sasl-refused", (), _sasl_refused),
    Entry("sasl-works", ("AUTH",), _sasl_works),
    Entry("long-status", (), _long_status),
    Entry("long-line", ("RETR", "TOP"), _long_line),
    Entry("status-8bit", (), _status_8bit),
    Entry("header-8bit", ("RETR", "TOP"), _header_8bit),
    Entry("bare-lf", ("RETR", "TOP"), _bare_lf),
    Entry("no-header", ("RETR", "TOP"), _no_header),
    Entry("top-body", ("TOP",), _top_body),
    Entry("early-dot", (), _early_dot),
    Entry("lang-no-tag", ("LANG",), _lang_no_tag),
    Entry("renumbered", ("UIDL",), _renumbered),
    Entry("uids-changed", ("UIDL",), _uids_changed),
)
