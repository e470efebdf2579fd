"""The closed lists of docs/pages.md: keys of heads, reasons of `-ERR`, facts that a note may name, headings, replies.

They stand here once, as data; tests compare them with docs/pages.md, with `explain` and with the server's source.
Which reasons a command can meet follows from its row in the command table; a note for any other is never read.

Trap: a note whose fact is not known is not shown. So the facts of a key are those that are *always* known when it is
chosen: `argument` is none of them where the argument is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from popshell.course.catalog import Words
from popshell.protocol.commands import COMMANDS, CommandSpec, Kind

# -- heads -------------------------------------------------------------------------------------------------------------

#: Keys of `[ok]` beside `note`, by command.
OK_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "CAPA": ("stls", "tls", "transaction"),
        "STAT": ("empty",),
        "LIST": ("one", "empty"),
        "UIDL": ("one", "empty"),
        "LANG": ("one",),
        "RETR": ("stuffed",),
        "TOP": ("stuffed",),
        "QUIT": ("authorization", "marks"),
        "RSET": ("none",),
    }
)


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

#: What every exchange knows.
ALWAYS = frozenset({"command", "state", "after"})
#: Facts with the name of a parameter.
TYPED = frozenset({"name", "mechanism", "lang", "msg", "n"})
#: Facts that a reply gives, by command and key of `[ok]`; "" stands for the keys not named.
_OF_OK: Mapping[tuple[str, str], frozenset[str]] = MappingProxyType(
    {
        ("STAT", ""): frozenset({"count", "octets"}),
        ("LIST", ""): frozenset({"count", "octets"}),
        ("LIST", "one"): frozenset({"size"}),
        ("UIDL", ""): frozenset({"count"}),
        ("UIDL", "one"): frozenset({"uid"}),
        ("RETR", ""): frozenset({"octets", "lines"}),
        ("RETR", "stuffed"): frozenset({"octets", "lines", "stuffed"}),
        ("TOP", ""): frozenset({"octets", "lines"}),
        ("TOP", "stuffed"): frozenset({"octets", "lines", "stuffed"}),
        ("CAPA", ""): frozenset({"tags"}),
    }
)
#: The marks are known to these, whatever the reply.
_MARKING = ("DELE", "RSET", "QUIT")
#: Reasons that are decided before, or without, a look at the arguments: none need be there.
_BEFORE_ARGUMENTS = ("wrong-state", "must-follow", "missing-argument", "already-tls", "not-after", "historic")
#: Keys that are chosen only when an argument was given, even one that may be left out.
_WITH_ARGUMENT = ("one", "extra-argument", "bad-number", "zero", "marked", "no-such-message", "unknown-language")


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
        known |= _OF_OK.get((name, word), _OF_OK.get((name, ""), frozenset()))
    if word == "no-such-message":
        known.add("last")
    if name in _MARKING:
        known |= {"marks", "marked"}
    return frozenset(known)


# -- meta commands -----------------------------------------------------------------------------------------------------

#: The shell's own commands, by name: what a text may tell a learner to type behind a colon.
METAS = (
    *("help", "explain", "state", "mailbox", "ladder", "more", "raw", "tls", "apop", "flight", "connect", "drop"),
    *("save", "notes", "lang", "reveal", "fork", "lessons", "lesson", "next", "hint", "answer", "solution", "skip"),
    *("again", "wait", "reset", "certificate", "quit", "pager"),
)


# -- bodies ------------------------------------------------------------------------------------------------------------

#: The headings of a body that are words of `[language]`.
HEADINGS = ("dialogue", "pitfalls", "practice-server")
_REPLIES = ("`+OK`", "`-ERR`")


def sections(page: str, words: Words) -> tuple[tuple[str, ...], str]:
    """The headings that the body of a page must hold, in order, and the last one, that it may hold."""
    dialogue, pitfalls, practice = (words(f"language.{heading}") for heading in HEADINGS)
    required = (dialogue, pitfalls)
    return ((*_REPLIES, *required) if page.startswith("commands/") else required), practice


# -- replies -----------------------------------------------------------------------------------------------------------

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
        **dict.fromkeys(
            (
                *("user", "stls", "utf8", "capa", "lang-list", "uidl", "top", "noop", "quit"),
                *(
                    "credentials",
                    "in-use",
                    "temp-failure",
                    "perm-failure",
                    "update-fails",
                    "tls-required",
                    "needs-utf8",
                ),
                *("unknown-language", "unknown-mechanism", "bad-message", "cancelled", "not-supported"),
                *("historic", "unknown-command", "wrong-state", "must-follow", "already-tls", "not-after"),
                *("missing-argument", "extra-argument", "bad-number", "zero", "bad-digest", "bad-base64"),
                *("leading-space", "tab", "empty", "control", "too-long", "stls-pipelined", "http"),
                "too-many-connections",
            ),
            frozenset[str](),
        ),
    }
)
