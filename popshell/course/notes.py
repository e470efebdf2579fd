"""Which note a reply gets, and which facts it may name: the closed lists of docs/pages.md as data.

A note is a text of the head of a command's page: `[ok]` by what the reply was, `[err]` by the reason. Which reasons a
command can meet follows from its row in the command table; a note for any other is never read.

Traps. A note whose fact is not known is not shown; so the facts of a key are those that are *always* known when it is
chosen: `argument` is none of them where the argument is missing. Without a response code much of a reason is a guess,
and a wrong guess sends a learner the wrong way: where two are possible the one wins that the server can hardly have
missed, an unreadable message before the want of TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from popshell.course.catalog import Words
from popshell.protocol.commands import COMMANDS, CommandSpec, Kind, State, known_code
from popshell.protocol.line import CommandLine, upper
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange, Response, stamp
from popshell.protocol.sasl import Mechanism, SaslError, Verifier, decode_line
from popshell.protocol.secrets import MASK
from popshell.protocol.wire import from_base64, stuffed_lines

# -- keys of [ok] ------------------------------------------------------------------------------------------------------

Known = Mapping[str, Any]

#: Keys of `[ok]` beside `note`, by command, and when each is chosen: the first that fits.
OK_KEYS: Mapping[str, Mapping[str, Callable[[Exchange, Known], bool]]] = MappingProxyType(
    {
        "CAPA": {
            "transaction": lambda e, _: e.before is State.TRANSACTION,
            "tls": lambda e, _: e.tls,
            "stls": lambda e, _: e.response is not None and "STLS" in e.response.capabilities(),
        },
        "STAT": {"empty": lambda _, known: known.get("count") == 0},
        "LIST": {"one": lambda e, _: _has_argument(e), "empty": lambda _, known: known.get("count") == 0},
        "UIDL": {"one": lambda e, _: _has_argument(e), "empty": lambda _, known: known.get("count") == 0},
        "LANG": {"one": lambda e, _: _has_argument(e)},
        # A note of its own, after `note`.
        "RETR": {"stuffed": lambda e, _: False},
        "TOP": {"stuffed": lambda e, _: False},
        "QUIT": {
            "authorization": lambda e, _: e.before is not State.TRANSACTION,
            "marks": lambda _, known: bool(known["marked"]),
        },
        "RSET": {"none": lambda _, known: not known["marked"]},
    }
)


def _has_argument(exchange: Exchange) -> bool:
    return exchange.command is not None and bool(exchange.command.arguments)


def ok_keys(exchange: Exchange, known: Known) -> list[str]:
    """The keys of `[ok]` that fit the reply, the best first."""
    fits = [key for key, when in OK_KEYS.get(exchange.name, {}).items() if when(exchange, known)]
    return [*(f"ok.{key}" for key in fits[:1]), "ok.note"]


# -- reasons of [err] --------------------------------------------------------------------------------------------------


def _takes(*kinds: Kind) -> Callable[[CommandSpec], bool]:
    return lambda spec: any(param.kind in kinds for param in spec.params)


def _always(spec: CommandSpec) -> bool:
    return True


#: Reasons of `[err]`, each with the commands that can meet it.
REASONS: Mapping[str, Callable[[CommandSpec], bool]] = MappingProxyType(
    {
        "wrong-state": _always,
        "must-follow": lambda spec: spec.must_follow is not None,
        "missing-argument": lambda spec: spec.required > 0,
        # PASS takes the rest of the line (RFC 1939 §7): nothing is too many.
        "extra-argument": lambda spec: not _takes(Kind.SECRET)(spec),
        "bad-number": _takes(Kind.MESSAGE, Kind.LINES),
        "zero": _takes(Kind.MESSAGE),
        "already-tls": lambda spec: spec.starts_tls,
        "not-after": lambda spec: bool(spec.not_after),
        "marked": _takes(Kind.MESSAGE),
        "no-such-message": _takes(Kind.MESSAGE),
        "credentials": lambda spec: spec.logs_in,
        "cancelled": lambda spec: spec.continues,
        "bad-base64": _takes(Kind.INITIAL),
        "bad-message": _takes(Kind.INITIAL),
        "unknown-mechanism": _takes(Kind.MECHANISM),
        "bad-digest": _takes(Kind.DIGEST),
        "unknown-language": _takes(Kind.LANGUAGE),
        "tls-required": lambda spec: spec.logs_in or spec.name == "USER",
        "not-supported": _always,
        "historic": lambda spec: spec.historic,
        "refused": _always,
    }
)


def reason(exchange: Exchange) -> str:
    """Why `-ERR`: one of the reasons of docs/pages.md; `code` where the response code says it all."""
    line, response = exchange.command, exchange.response
    assert line is not None
    assert response is not None
    spec = line.spec
    if spec is None:
        return "empty" if line.has("empty") else "unknown-command"
    if spec.historic:
        return "historic"
    if exchange.steps and exchange.sent.endswith(b"\r\n*\r\n"):
        return "cancelled"
    row = known_code(response.code) if response.code else None
    if row is not None and row.code == "AUTH":
        # Refused before anything was proved: against policy, most likely for want of TLS (RFC 3206 §5).
        unproved = spec.name == "USER" or (spec.continues and len(line.arguments) < 2 and not exchange.steps)
        return "tls-required" if unproved and not exchange.tls else "credentials"
    if row is not None:
        return "refused" if spec.name == "QUIT" else "code"
    if (objection := line.objection) is not None:
        return objection.code
    number, maildrop = line.message, exchange.maildrop_before
    if number is not None:
        if not (number in maildrop.numbers or number in maildrop.sizes or number in maildrop.unique_ids):
            # Of a maildrop that was not asked about, an optional command's refusal may mean either.
            return "refused" if maildrop.last is None and spec.capability else "no-such-message"
        return "not-supported" if spec.capability else "refused"
    if spec.name in ("PASS", "APOP"):
        return "refused"  # wrong, or right and the maildrop is in use: without a code the two look alike
    if spec.name == "AUTH":
        return _reason_of_auth(exchange, line)
    if spec.name == "USER":
        # Servers say +OK to any name (RFC 1939 §7 lets them; Dovecot 2.3.19 does), but some not in clear text.
        return "refused" if exchange.tls else "tls-required"
    if spec.capability and exchange.capabilities_before is not None:
        announced = spec.capability in exchange.capabilities_before
        if not announced and spec.name in ("LANG", "UTF8"):  # TOP and UIDL are often served though not listed
            return "not-supported"
    if spec.name == "LANG" and line.arguments:
        return "unknown-language"
    return "not-supported" if spec.capability else "refused"


def _reason_of_auth(exchange: Exchange, line: CommandLine) -> str:
    """A message that cannot be read is no wrong one: only a wrong one may be the fault of clear text."""
    mechanism = MECHANISMS.get(upper(line.arguments[0]))
    if exchange.steps:
        answer = exchange.steps[-1].answer
        if answer != b"=" and from_base64(answer) is None:
            return "bad-base64"
        # Only the first message can be read by itself, and only where the client speaks first.
        alone = len(exchange.steps) == 1 and not exchange.steps[0].challenge and len(line.arguments) < 2
        if mechanism and alone and not _readable(mechanism, answer.decode("ascii")):
            return "bad-message"
        return "credentials"
    if mechanism is None:
        return "unknown-mechanism"
    if len(line.arguments) > 1 and not _readable(mechanism, line.arguments[1]):
        return "bad-message"
    if (mechanism.clear_text or mechanism.only_under_tls) and not exchange.tls:
        return "tls-required"
    return "credentials" if len(line.arguments) > 1 else "unknown-mechanism"


def _readable(mechanism: Mechanism, text: str) -> bool:
    """Whether a base64 line is a message of the mechanism, right or wrong."""
    try:
        mechanism.as_server(Verifier(lambda name: None)).step(decode_line(text))
    except SaslError:
        return False
    return True


# -- facts -------------------------------------------------------------------------------------------------------------

#: What every exchange knows.
ALWAYS = frozenset({"command", "state", "after"})
#: Facts with the name of a parameter.
TYPED = frozenset({"name", "mechanism", "lang", "msg", "n"})


class Facts(NamedTuple):
    """Facts that a reply gives: their names, and their values; None where the reply does not give them."""

    names: tuple[str, ...]
    read: Callable[[Exchange, Response], tuple[object, ...] | None]


def _of_content(exchange: Exchange, response: Response) -> tuple[object, ...] | None:
    if response.content is None:
        return (exchange.stream.octets, exchange.stream.lines) if exchange.stream and exchange.ok else None
    return len(response.content), response.content.count(b"\r\n")


def _stuffed(exchange: Exchange, response: Response) -> tuple[object, ...] | None:
    sizes, many = _of_content(exchange, response), stuffed_lines(exchange.raw_content())
    return (*sizes, many) if sizes is not None and many else None


def _listed(exchange: Exchange, response: Response) -> tuple[object, ...] | None:
    view = exchange.maildrop
    return None if response.content is None else (view.count or 0, view.octets or 0)


_MESSAGE = {
    "": Facts(("octets", "lines"), _of_content),
    "stuffed": Facts(("octets", "lines", "stuffed"), _stuffed),
}
#: By command and key of `[ok]`; "" stands for the keys not named.
OF_OK: Mapping[str, Mapping[str, Facts]] = MappingProxyType(
    {
        "STAT": {"": Facts(("count", "octets"), lambda e, r: r.drop_listing())},
        "LIST": {
            "": Facts(("count", "octets"), _listed),
            "one": Facts(("size",), lambda e, r: row[1:] if (row := r.scan_row()) and r.content is None else None),
        },
        "UIDL": {
            "": Facts(("count",), lambda e, r: listed[:1] if (listed := _listed(e, r)) else None),
            "one": Facts(("uid",), lambda e, r: row[1:] if (row := r.unique_id_row()) and r.content is None else None),
        },
        "RETR": _MESSAGE,
        "TOP": _MESSAGE,
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
        known["code"] = response.code
    if line is None:
        if response is not None and (found := stamp(response.text)):
            known["stamp"] = found
        return known
    known["command"] = line.name or MASK
    public = [token for token in line.tokens[1:] if not token.secret]
    if public:
        known["argument"] = public[0].text
    for token in public:
        if token.param is not None:
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
        for given in OF_OK.get(line.name, {}).values():
            known |= zip(given.names, given.read(exchange, response) or (), strict=False)
        if line.name == "LANG" and line.arguments:
            known["lang"] = response.text.split(" ", 1)[0]
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
    if word not in _BEFORE_ARGUMENTS:
        given = [p for p in spec.params if not p.secret and (not p.optional or word in _WITH_ARGUMENT)]
        known |= {"argument"} if given else set()
        known |= {p.name for p in given if p.kind is not Kind.WORD} & TYPED
    if section == "ok":
        of_ok = OF_OK.get(name, {})
        known |= set(of_ok[word if word in of_ok else ""].names) if of_ok else set()
    if word == "no-such-message":
        known.add("last")
    if name in _MARKING:
        known |= {"marks", "marked"}
    return frozenset(known)


# -- heads and bodies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeadKeys:
    """What the head of a page must and may hold: `summary`, `args.msg`, `ok.note`; and its tables."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def head_keys(page: str) -> HeadKeys:
    """The keys of the page `commands/RETR`."""
    kind, _, name = page.partition("/")
    if kind == "codes":
        return HeadKeys(("summary", "note"))
    if kind != "commands":
        return HeadKeys(("summary",))
    spec = COMMANDS[name]
    required = ("summary", *(f"args.{param.name}" for param in spec.params), "ok.note")
    optional = (
        *(f"ok.{key}" for key in OK_KEYS.get(name, ())),
        *(f"err.{reason}" for reason, meets in REASONS.items() if meets(spec)),
    )
    return HeadKeys(required, optional, ("args", "ok", "err"))


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
needs-utf8 unknown-language unknown-mechanism bad-message channel-binding downgrade cancelled not-supported historic
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
