"""Which note a reply gets, and which facts it may name: the closed lists of docs/pages.md as data.

A note is a text of the head of a command's page: `[ok]` by what the reply was, `[err]` by the reason. Each names its
premises, what must have been seen, by the kinds of symptoms.PREMISES; the first whose premises hold is given. So the
order is from what a record proves to what is not known: an objection to the line before a capability that CAPA did not
list, and last `refused`. One `-ERR` without a code proves nothing of the server.

Trap: a note whose fact is not known is not shown; so the facts of a key are those that are *always* known when it is
chosen: `argument` is none of them where the argument is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from popshell.course.catalog import Words
from popshell.course.symptoms import holds, seen_in, whole
from popshell.protocol.commands import COMMANDS, RESPONSE_CODES, CommandSpec, Kind, State, Undo
from popshell.protocol.line import NUMBER
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange, Response, stamp
from popshell.protocol.secrets import MASK, redact_code
from popshell.tuples import NamedTuple
from popshell.visible import show

#: What must have been seen, by kinds of symptoms.PREMISES; all of it.
Premises = Mapping[str, Any]

# -- keys of [ok] ------------------------------------------------------------------------------------------------------

#: Keys of `[ok]` beside `note`, by command, with their premises: the first that fits. Without premises it is no such
#: choice: a note of its own, given after the other where its facts are known.
OK_KEYS: Mapping[str, Mapping[str, Premises]] = MappingProxyType(
    {
        "AUTH": {"list": {"argument": False, "empty": False}, "none": {"argument": False}},
        "CAPA": {
            "transaction": {"state": "TRANSACTION"},
            "tls": {"tls": True},
            "stls": {"present": ("STLS",)},
        },
        "STAT": {"empty": {"empty": True}},
        "LIST": {"one": {"argument": True}, "empty": {"empty": True}},
        "UIDL": {"one": {"argument": True}, "empty": {"empty": True}},
        "LANG": {"one": {"argument": True}, "empty": {"argument": False, "empty": True}},
        "STLS": {"against": {"against": ("wrong-state", "already-tls")}},
        "RETR": {"stuffed": {}},
        "TOP": {"stuffed": {}},
        "QUIT": {"authorization": {"state": "AUTHORIZATION"}, "marks": {"marked": True}},
        "RSET": {"none": {"marked": False}},
    }
)


def ok_keys(exchange: Exchange) -> list[str]:
    """The keys of `[ok]` that fit the reply, the best first; what a command with another argument does fits none."""
    seen = seen_in(exchange)
    for key, premises in OK_KEYS.get(exchange.name, {}).items():
        if premises and holds(premises.items(), seen):
            return [f"ok.{key}"] if "argument" in premises else [f"ok.{key}", "ok.note"]
    return ["ok.note"]


# -- reasons of [err] --------------------------------------------------------------------------------------------------


def _takes(*kinds: Kind) -> Callable[[CommandSpec], bool]:
    return lambda spec: any(param.kind in kinds for param in spec.params)


def _always(spec: CommandSpec) -> bool:
    return True


def _may_lack(spec: CommandSpec) -> bool:
    """Whether a server need not have it, and CAPA says whether it has; PASS goes with USER."""
    return spec.capability is not None and not spec.must_follow


class Reason(NamedTuple):
    """Why `-ERR`: its premises, any one of the sets; and the commands that can meet it, None if no page has it."""

    premises: tuple[Premises, ...]
    meets: Callable[[CommandSpec], bool] | None = None


def _against(code: str, meets: Callable[[CommandSpec], bool] | None = None) -> Reason:
    """A reason that is an objection to the line."""
    return Reason(({"against": (code,)},), meets)


def _met(meets: Callable[[CommandSpec], bool], *premises: Premises) -> Reason:
    """A reason whose premises name its commands themselves."""
    names = tuple(name for name, spec in COMMANDS.items() if meets(spec))
    return Reason(tuple({"command": names, **one} for one in premises or ({},)), meets)


_CLEAR = tuple(name for name, mechanism in MECHANISMS.items() if mechanism.clear_text or mechanism.only_under_tls)
_TOKEN = tuple(name for name, mechanism in MECHANISMS.items() if mechanism.proof == "token")
_NOT_QUIT = tuple(name for name in COMMANDS if name != "QUIT")
#: A server that names TLS, or clear text, when it refuses a login.
_NAMES_TLS = r"(?<![a-z])(?:STLS|STARTTLS|TLS|SSL)(?![a-z])|(?:clear|plain) ?-?text|encrypt|secure|\blayer\b|明文|加密"
#: A server that says of a mechanism, or of a command, that it has none.
_NO_SUCH = r"(?:unknown|unrecogni[sz]ed|unsupported|unimplemented|invalid|no such)\b[\w -]{0,16}\b"
_NOT = r"\b[\w -]{0,16}\bnot (?:supported|available|implemented|recogni[sz]ed|offered|enabled)"
_NO_MECHANISM = rf"{_NO_SUCH}mechanism|mechanism{_NOT}|[没沒不]\w{{0,6}}(?:机制|機制)"
_NO_COMMAND = rf"{_NO_SUCH}command|^(?:un|not )implemented\b|command{_NOT}"

#: Every reason, the first whose premises hold counts.
WHY: Mapping[str, Reason] = MappingProxyType(
    {
        "empty": Reason(({"objection": ("empty",)},)),
        "unknown-command": Reason(({"objection": ("unknown-command",)},)),
        "historic": Reason(({"objection": ("historic",)},), lambda spec: spec.historic),
        "cancelled": Reason(({"answer": ("cancelled",)},), lambda spec: spec.continues),
        # Its words or a mechanism speak for it; `[AUTH]` alone has many causes (RFC 3206 §5).
        "tls-required": _met(
            lambda spec: spec.logs_in or spec.name == "USER",
            {"text": _NAMES_TLS, "tls": False},
            {"code": "AUTH", "tls": False, "answer": ("none",), "mechanism": _CLEAR},
        ),
        "says-no-mechanism": _met(
            _takes(Kind.MECHANISM),
            {"text": _NO_MECHANISM, "served": ("yes", "unknown")},
            {"text": _NO_COMMAND, "served": ("yes",)},
        ),
        "before-proof": _met(
            lambda spec: spec.continues or spec.name == "USER",
            {"code": "AUTH", "command": ("USER",)},
            {"code": "AUTH", "answer": ("none",)},
        ),
        # SCRAM's server sends its signature once the client's proof was found right (RFC 5802 §5).
        "after-proof": _met(_takes(Kind.MECHANISM), {"challenge": "^v="}),
        "token": _met(
            _takes(Kind.MECHANISM),
            {"code": "AUTH", "mechanism": _TOKEN},
            {"code": "", "mechanism": _TOKEN, "answer": ("sent",), "served": ("yes",)},
        ),
        "credentials": _met(
            lambda spec: spec.logs_in,
            {"code": "AUTH"},
            {"code": "", "command": ("AUTH",), "answer": ("sent",), "served": ("yes",)},
        ),
        "code": Reason(
            tuple({"code": code, "command": row.commands or _NOT_QUIT} for code, row in RESPONSE_CODES.items())
        ),
        **{code: _against(code) for code in ("leading-space", "tab", "control", "too-long")},
        "wrong-state": _against("wrong-state", _always),
        "must-follow": _against("must-follow", lambda spec: spec.must_follow is not None),
        "missing-argument": _against("missing-argument", lambda spec: spec.required > 0),
        # PASS takes the rest of the line (RFC 1939 §7): nothing is too many.
        "extra-argument": _against("extra-argument", lambda spec: not _takes(Kind.SECRET)(spec)),
        "bad-number": _against("bad-number", _takes(Kind.MESSAGE, Kind.LINES)),
        "zero": _against("zero", _takes(Kind.MESSAGE)),
        "already-tls": _against("already-tls", lambda spec: spec.starts_tls),
        "not-after": _against("not-after", lambda spec: bool(spec.not_after)),
        "marked": _against("marked", _takes(Kind.MESSAGE)),
        "no-such-message": _against("no-such-message", _takes(Kind.MESSAGE)),
        "bad-digest": _against("bad-digest", _takes(Kind.DIGEST)),
        "bad-base64": Reason(({"against": ("bad-base64",)}, {"answer": ("not-base64",)}), _takes(Kind.INITIAL)),
        "bad-message": Reason(({"answer": ("unreadable",)},), _takes(Kind.INITIAL)),
        "nothing-marked": _met(lambda spec: spec.undo is Undo.NEVER, {"marked": False}),
        # RFC 1939 §7: after `+OK` to USER come PASS or QUIT; some servers take nothing else.
        "after-user": _met(
            lambda spec: (
                State.AUTHORIZATION in spec.transitions and not spec.logs_in and spec.name not in ("USER", "QUIT")
            ),
            {"follows": ("USER",)},
        ),
        "not-supported": _met(_may_lack, {"served": ("no",)}),
        "unknown-mechanism": _met(_takes(Kind.MECHANISM), {"served": ("mechanism",)}),
        "unknown-language": _met(_takes(Kind.LANGUAGE), {"argument": True}),
        "perhaps-lacking": _met(
            lambda spec: _may_lack(spec) and not spec.continues and spec.name != "USER", {"served": ("unknown",)}
        ),
        "says-no-command": _met(_takes(Kind.MESSAGE), {"text": _NO_COMMAND}),
        "unseen-message": _met(_takes(Kind.MESSAGE), {"listed": False}),
        "refused": Reason(({},), _always),
    }
)
#: The reasons that are keys of `[err]`, each with the commands that can meet it.
REASONS: Mapping[str, Callable[[CommandSpec], bool]] = MappingProxyType(
    {name: why.meets for name, why in WHY.items() if why.meets is not None}
)


def reason(exchange: Exchange) -> str:
    """Why `-ERR`: the first reason of WHY whose premises were seen."""
    seen = seen_in(exchange)
    return next(name for name, why in WHY.items() if any(holds(premises.items(), seen) for premises in why.premises))


# -- facts -------------------------------------------------------------------------------------------------------------

#: RFC 6856 §3.2: the reply to LANG begins with a language tag (RFC 5646 §2.1).
LANGUAGE_TAG = r"(?i)([A-Za-z]{2,3}|[ix](?=-))(-[A-Za-z0-9]{1,8})*"
#: What every exchange knows.
ALWAYS = frozenset({"command", "state", "after"})
#: Facts with the name of a parameter.
TYPED = frozenset({"name", "mechanism", "lang", "msg", "n"})


class Facts(NamedTuple):
    """Facts that a reply gives: their names, and their values; None where the reply does not give them."""

    names: tuple[str, ...]
    read: Callable[[Exchange, Response], tuple[object, ...] | None]


def sizes(exchange: Exchange, response: Response) -> tuple[int, int] | None:
    """The octets of the content, and its lines; None if there is none."""
    if response.content is None:
        return (exchange.stream.octets, exchange.stream.lines) if exchange.stream and exchange.ok else None
    return len(response.content), exchange.counts.lines


def _stuffed(exchange: Exchange, response: Response) -> tuple[object, ...] | None:
    came, many = sizes(exchange, response), exchange.counts.stuffed
    return (*came, many) if came is not None and many else None


def _listed(exchange: Exchange, response: Response) -> tuple[object, ...] | None:
    view = exchange.maildrop
    return (view.count, view.octets or 0) if response.content is not None and whole(exchange) else None


def _row(exchange: Exchange, row: tuple[int, object] | None, response: Response) -> tuple[object, ...] | None:
    """What a row says of the message that was asked about; of another it says nothing here."""
    asked = exchange.command.message if exchange.command else None
    return row[1:] if row is not None and row[0] == asked and response.content is None else None


def language_tag(exchange: Exchange) -> str:
    """The tag that the reply to `LANG tag` begins with; "" if it begins with none, or with that of another language."""
    asked = exchange.command.arguments[:1] if exchange.command else ()
    tag = exchange.response.text.split(" ", 1)[0] if exchange.response else ""
    found = re.fullmatch(LANGUAGE_TAG, tag)
    if not asked or found is None:
        return ""
    return tag if asked[0] == "*" or asked[0].lower().startswith(found[1].lower()) else ""


def _mechanisms(exchange: Exchange, response: Response) -> tuple[object, ...] | None:
    rows = [show(row[:40], keep="") for row in response.lines or ()]
    return (", ".join(rows[:12]),) if rows else None


_MESSAGE = {
    "": Facts(("octets", "lines"), sizes),
    "stuffed": Facts(("octets", "lines", "stuffed"), _stuffed),
}
#: By command and key of `[ok]`; "" stands for the keys not named.
OF_OK: Mapping[str, Mapping[str, Facts]] = MappingProxyType(
    {
        "STAT": {"": Facts(("count", "octets"), lambda e, r: r.drop_listing())},
        "LIST": {
            "": Facts(("count", "octets"), _listed),
            "one": Facts(("size",), lambda e, r: _row(e, r.scan_row(), r)),
        },
        "UIDL": {
            "": Facts(("count",), lambda e, r: listed[:1] if (listed := _listed(e, r)) else None),
            "one": Facts(("uid",), lambda e, r: _row(e, r.unique_id_row(), r)),
        },
        "RETR": _MESSAGE,
        "TOP": _MESSAGE,
        "LANG": {"one": Facts(("lang",), lambda e, r: (tag,) if (tag := language_tag(e)) else None)},
        "AUTH": {"list": Facts(("mechanisms",), _mechanisms)},
        "CAPA": {"": Facts(("tags",), lambda e, r: (len(r.capabilities()),))},
    }
)
#: The marks are known to these, whatever the reply.
_MARKING = ("DELE", "RSET", "QUIT")
#: Reasons that are decided before, or without, a look at the arguments: none need be there.
_BEFORE_ARGUMENTS = ("wrong-state", "must-follow", "missing-argument", "already-tls", "not-after", "historic")
#: Keys that are chosen only when an argument was given, even one that may be left out.
_WITH_ARGUMENT = ("one", "extra-argument", "bad-number", "zero", "marked", "no-such-message", "unknown-language")


def facts(exchange: Exchange, words: Words | None = None) -> dict[str, object]:
    """What a note may name; a fact that is not known is not there. `words` separate numbers in a list."""
    line, response = exchange.command, exchange.response
    known: dict[str, object] = {"state": exchange.before.value, "after": exchange.after.value}
    if response is not None and response.code:
        known["code"] = redact_code(response.code, exchange.secrets)
    if line is None:
        if response is not None and (found := stamp(response.text)):
            known["stamp"] = found
        return known
    known["command"] = line.name or MASK
    public = [token for token in line.tokens[1:] if not token.secret]
    if public:
        known["argument"] = public[0].text
    for token in public:
        if token.param is not None and (token.param.kind not in (Kind.MESSAGE, Kind.LINES) or NUMBER.match(token.text)):
            known[token.param.name.replace("-", "_")] = token.text
    if line.message is not None:
        known["msg"] = line.message
    before = exchange.maildrop_before
    if before.last is not None:
        known["last"] = before.last
    marks = before.marks if line.name in ("RSET", "QUIT") else exchange.maildrop.marks
    known["marked"] = len(marks)
    known["marks"] = words.listed(sorted(marks)) if words else ", ".join(map(str, sorted(marks)))
    if response is not None and response.ok:
        of_ok = OF_OK.get(line.name, {}).values()
        for name in {name for given in of_ok for name in given.names}:
            known.pop(name, None)  # the reply's word for it counts, not ours
        for given in of_ok:
            known |= zip(given.names, given.read(exchange, response) or (), strict=False)
    return known


def facts_of(page: str, key: str) -> frozenset[str]:
    """The facts that the note `key` of the page `commands/RETR` may name."""
    kind, _, name = page.partition("/")
    section, _, word = key.partition(".")
    if kind == "codes" and key == "note":
        return ALWAYS | {"code"}
    if kind != "commands" or section not in ("ok", "err"):
        return frozenset()
    spec = COMMANDS[name]
    known = set(ALWAYS)
    if word not in _BEFORE_ARGUMENTS and key not in ("ok.list", "ok.none"):
        given = [p for p in spec.params if not p.secret and (not p.optional or word in _WITH_ARGUMENT)]
        known |= {"argument"} if given else set()
        given = [p for p in given if word != "bad-number" or p.kind not in (Kind.MESSAGE, Kind.LINES)]
        known |= {p.name for p in given if p.kind is not Kind.WORD} & TYPED
    if section == "ok":
        of_ok = OF_OK.get(name, {})
        given_by = of_ok.get(word) or of_ok.get("")
        known |= set(given_by.names) if given_by else set()
    if word == "no-such-message":
        known.add("last")
    if name in _MARKING:
        known |= {"marks", "marked"}
    return frozenset(known)


# -- heads and bodies --------------------------------------------------------------------------------------------------


def head_keys(page: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys that the head of a page must hold, and those that it may hold, as `args.msg` and `ok.one`."""
    kind, _, name = page.partition("/")
    if kind != "commands":
        return ("summary", "note") if kind == "codes" else ("summary",), ()
    spec = COMMANDS[name]
    of_ok = (f"ok.{key}" for key in OK_KEYS.get(name, ()))
    of_err = (f"err.{reason}" for reason, meets in REASONS.items() if meets(spec))
    return ("summary", *(f"args.{param.name}" for param in spec.params), "ok.note"), (*of_ok, *of_err)


#: The headings of a body that are words of `[language]`.
HEADINGS = ("dialogue", "pitfalls", "practice-server")
_REPLIES = ("`+OK`", "`-ERR`")


def sections(page: str, words: Words) -> tuple[tuple[str, ...], str]:
    """The headings that the body of a page must hold, in order, and the last one, that it may hold."""
    dialogue, pitfalls, practice = (words(f"language.{heading}") for heading in HEADINGS)
    required = (dialogue, pitfalls)
    return ((*_REPLIES, *required) if page.startswith("commands/") else required), practice


_REPLIES_WITHOUT_FACTS = """
user stls utf8 capa lang-list uidl top noop quit credentials in-use temp-failure perm-failure update-fails tls-required
needs-utf8 unknown-language unknown-mechanism bad-message channel-binding downgrade cancelled historic
unknown-command wrong-state must-follow already-tls not-after missing-argument extra-argument bad-number zero bad-digest
bad-base64 leading-space tab empty control too-long bare-lf stls-pipelined http shutting-down too-many-connections
"""
#: Every text of the practice server with the facts that it may name: diagnostics that are not mild, and keys of Reply.
REPLIES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "greeting": frozenset({"stamp"}),
        "logged-in": frozenset({"count", "octets"}),
        "lang": frozenset({"tag"}),
        "list": frozenset({"count", "octets"}),
        "octets": frozenset({"octets"}),
        "dele": frozenset({"number"}),
        "rset": frozenset({"count", "octets"}),
        "quit-update": frozenset({"count"}),
        "login-delay": frozenset({"seconds"}),
        "no-such-message": frozenset({"count"}),
        "marked": frozenset({"number"}),
        **dict.fromkeys(_REPLIES_WITHOUT_FACTS.split(), frozenset[str]()),
    }
)
