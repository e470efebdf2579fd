"""Explain: an Exchange or a CommandLine becomes notes in words. Screen, batch and JSON show the same notes.

What a reply means comes from the command's page (`[ok]`, `[err]`), the response code's page, or `messages.toml`,
`[why]`; which of them, notes.py decides. docs/pages.md lists reasons and facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from popshell.course import symptoms
from popshell.course.catalog import Catalog, Words
from popshell.course.document import Document
from popshell.course.notes import facts, ok_keys, reason
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, CommandSpec, Kind, State, known_code
from popshell.protocol.line import MASK, CommandLine, Context, Role, Token, parse, upper
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange, Status, no_status, read_status, stamp
from popshell.protocol.strangers import passes_on
from popshell.protocol.wire import ReplyLimits
from popshell.tuples import NamedTuple
from popshell.words import fill


class Note(NamedTuple):
    """One note: what sort (`ok`, `err`, `info`, `warn`), its text, and the source that backs it ("" if none)."""

    sort: str
    text: str
    cite: str = ""


class Span(NamedTuple):
    """A note on one token of a line. Of the line as a whole, `token` is None and `sort` is `warn`, `fact` or `cite`."""

    token: Token | None
    text: str
    sort: str = ""


def citation(rfc: int, section: str) -> str:
    """`RFC 1939 §5`; the oldest RFCs have headings without numbers."""
    return f"RFC {rfc} §{section}" if section[:1].isdigit() else f"RFC {rfc} “{section}”"


def explain(exchange: Exchange, catalog: Catalog, language: str) -> list[Note]:
    """The notes on what just happened, the most important first."""
    words = catalog.words(language)
    if exchange.problem is not None:
        return list(problem_notes(exchange, words))
    if exchange.command is None:
        return list(_greeting(exchange, words))
    known = facts(exchange, words)
    spec = exchange.command.spec
    page = catalog.page(language, f"commands/{spec.name}") if spec else None
    cite = citation(spec.rfc, spec.section) if spec else ""
    response = exchange.response
    assert response is not None
    if response.ok:
        return list(_ok(exchange, page, words, known, cite))
    return list(_err(exchange, page, catalog, words, known, cite))


def _greeting(exchange: Exchange, words: Words) -> Iterator[Note]:
    response = exchange.response
    if response is None or not response.ok:
        yield Note("err", words("greeting.refused"), citation(1939, "4"))
        return
    if passes_on(response.text):
        yield Note("warn", words("greeting.between"))
    known = facts(exchange)
    if "stamp" in known:
        yield Note("info", words("greeting.stamp", **known), citation(1939, "7"))
    else:
        yield Note("info", words("greeting.plain"), citation(1939, "4"))


def problem_notes(exchange: Exchange, words: Words) -> Iterator[Note]:
    """What is wrong with what came, of an exchange with a problem."""
    assert exchange.problem is not None
    problem = exchange.problem
    due = exchange.command.name or exchange.sent_lines()[0] if exchange.command else words("problem.greeting")
    key = "empty-reply" if problem.code == "no-status" and not exchange.received.strip() else problem.code
    key += "-greeting" if problem.code == "lower-case" and exchange.command is None else ""
    text = words.get(f"problem.{key}") or problem.code
    limits = ReplyLimits()
    most = limits.capability_lines if exchange.name == "CAPA" else limits.listing_lines
    if problem.code == "unasked-rows":
        return  # the first row's note has said what they are
    facts = {"command": due, "lines": problem.lines, "octets": problem.octets, "most": f"{most:,}"}
    yield Note("warn" if problem.unasked else "err", fill(text, facts) or text)
    if problem.speaks:
        yield Note("info", words(f"speaks.{problem.speaks}"))
    if problem.code == "no-terminator" and (lack := symptoms.lacked(exchange)):
        yield Note("info", words(f"shell.{lack}", command=due))


#: Reasons that are read off a response code, where there is one.
_FROM_CODE = ("credentials", "token", "before-proof", "tls-required")
#: Objections that `+OK` does not heal, each with its key of `[why]`; of several, the first.
_ACCEPTED = {
    "wrong-state": "against-rfc",
    **dict.fromkeys(("missing-argument", "extra-argument", "bad-number", "bad-digest"), "argument"),
    **{code: code for code in ("zero", "marked", "no-such-message")},
}


def _ok(exchange: Exchange, page: Document | None, words: Words, known: dict[str, object], cite: str) -> Iterator[Note]:
    line = exchange.command
    assert line is not None
    # No message has number 0: what was marked, or what came, is not known.
    text = None if line.has("zero") else _filled(page, known, *ok_keys(exchange))
    if text is None and line.spec is None:
        text = words("why.ok-unknown", **known)
    if text:
        yield Note("ok", text, cite)
    if exchange.capabilities_before is not None:
        if line.name == "CAPA":
            yield Note("info", _changes(exchange, exchange.capabilities_before, words), citation(2449, "5"))
        elif exchange.before is State.AUTHORIZATION and exchange.after is State.TRANSACTION:
            yield Note("info", words("capa.outdated"), citation(2449, "5"))  # the note on STLS says so, too
    if "stuffed" in known and (more := _filled(page, known, "ok.stuffed")):
        yield Note("info", more, citation(1939, "3"))
    against = next((key for code, key in _ACCEPTED.items() if line.has(code)), None)
    against = against if exchange.before is not State.CLOSED else None  # after a greeting of -ERR: no RFC says anything
    if line.spec is not None and against and not (text and against == "argument" and line.name == "AUTH"):
        yield Note("warn", words(f"why.accepted-{against}", **known, syntax=line.spec.syntax), cite)


def _changes(exchange: Exchange, before: Mapping[str, tuple[str, ...]], words: Words) -> str:
    """How a list of capabilities differs from the one before it on this connection."""
    now = exchange.response.capabilities() if exchange.response else {}

    def beyond(these: Mapping[str, tuple[str, ...]], those: Mapping[str, tuple[str, ...]]) -> list[str]:
        """The tags that are new, and of the others their new arguments: `SASL LOGIN`."""
        more = {tag: [one for one in these[tag] if one not in those.get(tag, ())] for tag in these}
        return [" ".join((tag, *more[tag])) if tag in those else tag for tag in these if tag not in those or more[tag]]

    added, gone = beyond(now, before), beyond(before, now)
    key = "both" if added and gone else "added" if added else "gone" if gone else "same"
    return words(f"capa.{key}", added=words.listed(added), gone=words.listed(gone))


def _err(
    exchange: Exchange, page: Document | None, catalog: Catalog, words: Words, known: dict[str, object], cite: str
) -> Iterator[Note]:
    line, response = exchange.command, exchange.response
    assert line is not None
    assert response is not None
    why = reason(exchange)
    row = known_code(response.code) if response.code else None
    code_page = catalog.page(words.language, f"codes/{row.page}") if row else None
    known |= _of_spec(line.spec)
    if why == "unknown-command":
        key, known = _unknown(line, known)
        text = fill(words.get(f"why.{key}") or "", known)
        cite = citation(1939, "3")
    else:
        if why == "wrong-state" and not (page and page.note("err.wrong-state")):
            logged_in = exchange.before is State.TRANSACTION
            why = f"wrong-state-{'after' if logged_in else 'before'}-login"
            if exchange.before is State.CLOSED:  # the greeting was -ERR, and the server still listens
                why = "wrong-state-closed"
        text = _filled(page, known, f"err.{why}")
        if text is None and why != "code" and not (why == "refused" and response.code):  # its code has a note
            silent = why == "refused" and not response.text.strip()
            template = words.get("why.silent" if silent else f"why.{why}") or words.get("why.refused")
            text = fill(template or "", known) or words("why.refused", **known)
    from_code = row is not None and why in _FROM_CODE
    cancelled = why == "cancelled" and response.code == "AUTH"  # nothing was proved, so nothing was wrong
    if text:
        yield Note("err", text, citation(row.rfc, row.section) if row and from_code else cite)
    if row is not None and code_page is not None and not from_code and not cancelled and exchange.name != "QUIT":
        note = _filled(code_page, known, "note")
        if row.commands and line.name not in row.commands:
            note = words("why.code-elsewhere", **known, meant=words.listed(row.commands))
        if note:
            yield Note("info" if text else "err", note, citation(row.rfc, row.section))
    mechanism = MECHANISMS.get(upper(line.arguments[0])) if exchange.name == "AUTH" and line.arguments else None
    if why == "credentials" and mechanism is not None and mechanism.clear_text and not exchange.tls:
        yield Note("info", words("why.perhaps-tls"), citation(3206, "5"))
    for key in _in_password(line):
        yield Note("info", words(f"why.{key}"), citation(1939, "7"))
    if row is None and (response.code or response.text.startswith("[")):
        unread = words("why.unknown-code" if response.code else "why.no-code", **known)
        yield Note("info" if text else "err", unread, citation(2449, "8"))


def _in_password(line: CommandLine) -> Iterator[str]:
    """What in a refused PASS is easily not seen, by its key of `[why]`; which character it is stays secret."""
    if line.name != "PASS":
        return
    if line.has("trailing-space"):
        yield "space-at-end"
    if line.text[4:6] == "  ":
        yield "space-twice"
    import unicodedata  # for a password that was refused only

    if any(char != " " and unicodedata.category(char)[0] in "ZC" for char in line.text[5:]):
        yield "unseen-character"


def _unknown(line: CommandLine, known: dict[str, object]) -> tuple[str, dict[str, object]]:
    """The key of `[why]` for a keyword that is none, and the facts with those that it needs."""
    odd, near = odd_character(_seen(line))
    found = {"command": line.name.replace("`", "'") or MASK, "character": odd, "suggestion": near}
    key = "odd-near" if odd and near else "odd-character" if odd else "unknown-near" if near else "unknown-command"
    return key, known | {name: fact for name, fact in found.items() if fact}


def _seen(line: CommandLine) -> str:
    """The text of an unknown line as far as it is no secret: its keyword, and what parts it from the secret."""
    if not line.has_secret:
        return line.text
    start, end = line.tokens[0][:2]
    return line.text[: end + (start < end and not line.text[end : end + 1].isalnum())]


def odd_character(text: str) -> tuple[str, str | None]:
    """What in an unknown line hides its command, as `U+3000 IDEOGRAPHIC SPACE`, and which was probably meant.

    Full-width letters count, and whatever looks like a space or like nothing: a byte order mark before `USER`. Of
    ASCII what stands in the place of the space: `STAT;`, `USER:mei`.
    """
    import unicodedata  # for an unknown line only

    stop = re.match(r"([A-Za-z0-9]+)([:=,;.])", text)
    if stop and stop[1].upper() in COMMANDS:
        return f"U+{ord(stop[2]):04X} {unicodedata.name(stop[2])}", stop[1].upper()
    if text.isascii():
        return "", suggestion((text.split(" ") or [""])[0].upper())
    odd = next(char for char in text if not char.isascii())
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(" " if char.isspace() else char for char in plain if unicodedata.category(char) != "Cf")
    keyword = (plain.split() or [""])[0].upper()
    if keyword.isascii() and odd not in text.split(" ", 1)[0]:
        odd = ""  # the keyword is in ASCII: only what follows is not
    meant = keyword if keyword in COMMANDS else suggestion("".join(filter(str.isascii, keyword)))
    meant = keyword.lower() if re.match(":[A-Z]", keyword) else meant  # after a full-width colon: the shell's own
    return f"U+{ord(odd):04X} {unicodedata.name(odd, '')}".strip() if odd else "", meant


def _filled(page: Document | None, known: dict[str, object], *keys: str) -> str | None:
    for key in keys:
        template = page.note(key) if page else None
        if template is not None and (text := fill(template, known)) is not None:
            return text
    return None


@lru_cache(maxsize=64)
def suggestion(name: str) -> str | None:
    """The command that an unknown keyword is probably meant for."""
    from difflib import get_close_matches  # needed for an unknown keyword only

    names = [spec.name for spec in COMMANDS.values() if not spec.historic]
    # Letters in the wrong order are the commonest mistake: RERT is RETR, not RSET.
    near = [known for known in names if sorted(known) == sorted(name)] or get_close_matches(name, names, 1, 0.75)
    return near[0] if near else None


def explain_line(line: CommandLine, catalog: Catalog, language: str) -> list[Span]:
    """A line before it is sent, token by token, then what it would do (`:explain`)."""
    words = catalog.words(language)
    spans: list[Span] = []
    spec = line.spec
    page = catalog.page(language, f"commands/{spec.name}") if spec else None
    for token in line.tokens:
        if token.role in (Role.COMMAND, Role.UNKNOWN):
            spans.append(Span(token, page.summary if page else words("explain.unknown")))
        elif token.param is None:
            spans.append(Span(token, words("explain.secret" if token.secret else "explain.extra")))
        else:
            spans.append(Span(token, (page and page.note(f"args.{token.param.name}")) or token.param.name))
    for diagnostic in line.diagnostics:
        missing = words("explain.missing", syntax=spec.syntax) if spec and diagnostic.code == "missing-argument" else ""
        spans.append(Span(None, missing or warning(line, diagnostic.code, words), "warn"))
    if spec is not None:
        spans.append(Span(None, words(f"reply.{'many' if line.expects_multi_line else 'one'}"), "fact"))
        spans.append(Span(None, words(f"undo.{spec.undo_in(line.state).value}"), "fact"))
        spans.append(Span(None, citation(spec.rfc, spec.section), "cite"))
    return spans


def explain_reply(text: str, catalog: Catalog, language: str) -> list[Span] | None:
    """A reply, part by part (`:explain -ERR [IN-USE] locked`); None if the text is none."""
    words = catalog.words(language)
    octets = text.encode("utf-8", "surrogateescape")
    response = read_status(octets)
    if response is None:
        word, speaks = text.split(" ", 1)[0], no_status(octets).speaks
        if not speaks and text[:1] not in "+-":
            return None
        likely = [Span(None, words(f"speaks.{speaks}").replace("`", ""), "warn")] if speaks else []
        return [_part(text, 0, len(word), words("reply.none")), *likely, *_reply_facts(words)]
    end = len(response.status.value)
    spans = [_part(text, 0, end, words(f"reply.{response.status.name.lower()}"))]
    rest = len(text) - len(response.text)
    if response.code:
        row = known_code(response.code)
        code_page = catalog.page(language, f"codes/{row.page}") if row else None
        meaning = code_page.summary if code_page else words("reply.code")
        spans.append(_part(text, end + 1, len(text[:rest].rstrip()), meaning))
    if response.text:
        continued = response.status is Status.CONTINUE
        numbers = not response.code and response.drop_listing() is not None
        text_is = "numbers" if numbers else "stamp" if stamp(response.text) else "text"
        key = "reply.base64" if continued else f"reply.{text_is}"
        spans.append(_part(text, rest, len(text), words(key)))
    return spans + _reply_facts(words)


def _reply_facts(words: Words) -> list[Span]:
    return [Span(None, words("reply.whole"), "fact"), Span(None, citation(1939, "3"), "cite")]


def _part(text: str, start: int, end: int, meaning: str) -> Span:
    return Span(Token(start, end, text[start:end], Role.ARGUMENT), meaning)


def undo_in_words(spec: CommandSpec, words: Words) -> list[str]:
    """Whether it can be taken back; a text for each state if the states differ."""
    found = {state: words(f"undo.{spec.undo_in(state).value}") for state in spec.transitions}
    if len(set(found.values())) == 1:
        return [*found.values()][:1]
    return [words("undo.in", state=state.value, undo=undo) for state, undo in found.items()]


def _of_spec(spec: CommandSpec | None) -> dict[str, object]:
    """What the table says of a command, as facts of a text."""
    if spec is None:
        return {}
    allowed = " / ".join(state.value for state in spec.transitions)
    return {"allowed": allowed, "syntax": spec.syntax, "must_follow": spec.must_follow or ""}


def warning(line: CommandLine, code: str, words: Words) -> str:
    """One diagnostic in words, short enough for the line that is being typed."""
    spec = line.spec
    odd, near = odd_character(_seen(line)) if code == "unknown-command" else ("", None)
    known = {"command": line.name, "state": line.state.value, "suggestion": near or "", **_of_spec(spec)}
    if odd and near:
        return words("warn.odd-character", character=odd.partition(" ")[0], suggestion=near)
    if code == "wrong-state" and line.state is State.CLOSED:
        code = "closed"
    return words("warn.unknown-near" if near else f"warn.{code}", **known)


#: Where RFC 1939 speaks of each state.
_STATES = {"CLOSED": "3", "AUTHORIZATION": "4", "TRANSACTION": "5", "UPDATE": "6"}


def subject(word: str) -> tuple[str, str]:
    """The path of the page on what a word names, and its source; "" and "" if there is none.

    It names a command, a state, a capability or a response code; in brackets it is a code first.
    """
    name, code = word.strip("[]").upper(), known_code(word.strip("[]"))
    if not (code and word.startswith("[")):
        if name in _STATES:
            return f"states/{name}", citation(1939, _STATES[name])
        if spec := COMMANDS.get(name):
            return f"commands/{name}", citation(spec.rfc, spec.section)
        if row := CAPABILITIES.get(name):
            return f"capabilities/{name}", citation(row.rfc, row.section)
    return (f"codes/{code.page}", citation(code.rfc, code.section)) if code else ("", "")


def pages() -> Iterator[str]:
    """The path of every page that a language must have, derived from the tables."""
    yield from (f"commands/{name}" for name in COMMANDS)
    yield from (f"states/{state.value}" for state in State)
    yield from (f"capabilities/{tag}" for tag in CAPABILITIES)
    yield from (f"codes/{row.page}" for row in RESPONSE_CODES.values())


# -- what may be given now ---------------------------------------------------------------------------------------------

_AGAINST = ("wrong-state", "must-follow", "already-tls", "not-after")


def objection(spec: CommandSpec, context: Context) -> str | None:
    """The code of what is against giving the command just now; None if nothing is."""
    return _objection(spec.name, context.state, context.follows, context.tls, context.done)


def legal_now(context: Context, stamp: str | None) -> tuple[CommandSpec, ...]:
    """The commands that may be given just now, in the table's order; history left out. Arguments do not count.

    What sends a digest needs the `stamp` of the greeting to make it from (RFC 1939 §7).
    """
    now = (spec for spec in COMMANDS.values() if not spec.historic and objection(spec, context) is None)
    return tuple(spec for spec in now if stamp or all(param.kind is not Kind.DIGEST for param in spec.params))


@lru_cache(maxsize=256)
def _objection(name: str, state: State, follows: str, tls: bool, done: frozenset[str]) -> str | None:
    line = parse(name, Context(state, follows, tls, done))
    return next((found.code for found in line.diagnostics if found.code in _AGAINST), None)
