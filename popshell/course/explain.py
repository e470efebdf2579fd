"""Explain: an Exchange or a CommandLine becomes notes in words. Screen, batch and JSON show the same notes.

What a reply means comes from the command's page (`[ok]`, `[err]`), the response code's page, or `messages.toml`,
`[why]`; which of them, `reason.py` decides. docs/pages.md lists reasons and facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from popshell.course.catalog import Catalog, Words
from popshell.course.document import Document
from popshell.course.reason import reason
from popshell.protocol.commands import CAPABILITIES, COMMANDS, CommandSpec, State, known_code
from popshell.protocol.line import MASK, CommandLine, Role, Token
from popshell.protocol.records import Exchange, stamp
from popshell.protocol.wire import stuffed_lines
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


def facts(exchange: Exchange, words: Words | None = None) -> dict[str, object]:
    """What a note may name; a fact that is not known is not there. `words` tell how numbers stand in a row."""
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
        known |= _facts_of_ok(exchange, line)
    return known


def _facts_of_ok(exchange: Exchange, line: CommandLine) -> dict[str, object]:
    response = exchange.response
    assert response is not None
    known: dict[str, object] = {}
    view = exchange.maildrop
    match line.name:
        case "STAT" if (listing := response.drop_listing()) is not None:
            known["count"], known["octets"] = listing
        case "LIST":
            if response.content is not None:
                known["count"], known["octets"] = view.count or 0, view.octets or 0
            elif row := response.scan_row():
                known["size"] = row[1]
        case "UIDL":
            if response.content is not None:
                known["count"] = view.count or 0
            elif unique := response.unique_id_row():
                known["uid"] = unique[1]
        case "RETR" | "TOP" if response.content is not None:
            known["octets"] = len(response.content)
            known["lines"] = response.content.count(b"\r\n")
            if many := stuffed_lines(exchange.raw_content()):
                known["stuffed"] = many
        case "CAPA":
            now, before = response.capabilities(), exchange.capabilities_before
            known["tags"] = len(now)
            if before is not None:
                changed = {tag for tag in now if tag in before and now[tag] != before[tag]}
                known["_added"] = [tag for tag in now if tag not in before] + sorted(changed)
                known["_gone"] = [tag for tag in before if tag not in now]
        case "LANG" if line.arguments:
            known["lang"] = response.text.split(" ", 1)[0]
    return known


def explain(exchange: Exchange, catalog: Catalog, language: str) -> list[Note]:
    """The notes on what just happened, the most important first."""
    words = catalog.words(language)
    if exchange.problem is not None:
        return list(_problem(exchange, words))
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
    known = facts(exchange)
    if "stamp" in known:
        yield Note("info", words("greeting.stamp", **known), citation(1939, "7"))
    else:
        yield Note("info", words("greeting.plain"), citation(1939, "4"))


def _problem(exchange: Exchange, words: Words) -> Iterator[Note]:
    assert exchange.problem is not None
    problem = exchange.problem
    due = exchange.command.name if exchange.command else words("problem.greeting")
    text = words.get(f"problem.{problem.code}") or problem.code
    yield Note("err" if problem.code != "unasked" else "warn", fill(text, {"command": due}) or text)
    if problem.speaks:
        yield Note("info", words(f"speaks.{problem.speaks}"))


def _ok(exchange: Exchange, page: Document | None, words: Words, known: dict[str, object], cite: str) -> Iterator[Note]:
    line = exchange.command
    assert line is not None
    if line.name == "DELE" and line.message not in exchange.maildrop.marks:
        yield Note("warn", words("why.accepted-no-message", **known), cite)
        return
    keys = ["ok.note"]
    match line.name:
        case "CAPA" if exchange.before is State.TRANSACTION:
            keys.insert(0, "ok.transaction")
        case "CAPA" if exchange.tls:
            keys.insert(0, "ok.tls")
        case "CAPA" if exchange.response and "STLS" in exchange.response.capabilities():
            keys.insert(0, "ok.stls")
        case "LIST" | "UIDL" | "LANG" if line.arguments:
            keys.insert(0, "ok.one")
        case "STAT" | "LIST" | "UIDL" if known.get("count") == 0:
            keys.insert(0, "ok.empty")
        case "QUIT" if exchange.before is not State.TRANSACTION:
            keys.insert(0, "ok.authorization")
        case "QUIT" if known["marked"]:
            keys.insert(0, "ok.marks")
        case "RSET" if not known["marked"]:
            keys.insert(0, "ok.none")
    text = _filled(page, known, *keys)
    if text is None and line.spec is None:
        text = words("why.ok-unknown", **known)
    if text:
        yield Note("ok", text, cite)
    if line.name == "CAPA" and "_added" in known:
        yield Note("info", _changes(known, words), citation(2449, "5"))
    if "stuffed" in known and (more := _filled(page, known, "ok.stuffed")):
        yield Note("info", more, citation(1939, "3"))
    if line.spec and exchange.before not in line.spec.transitions:
        yield Note("warn", words("why.accepted-against-rfc", **known), cite)


def _changes(known: dict[str, object], words: Words) -> str:
    """How a list of capabilities differs from the one before it on this connection."""
    added, gone = known["_added"], known["_gone"]
    assert isinstance(added, list)
    assert isinstance(gone, list)
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
    if line.spec is not None:
        known["allowed"] = " / ".join(state.value for state in line.spec.transitions)
        known["syntax"] = line.spec.syntax
        known["must_follow"] = line.spec.must_follow or ""
    if why == "unknown-command":
        near = suggestion(line.name)
        known |= {"suggestion": near} if near else {}
        text = (words.get("why.unknown-near") if near else None) or words.get("why.unknown-command")
        text = fill(text or "", known)
        cite = citation(1939, "3")
    else:
        if why == "wrong-state" and not (page and page.note("err.wrong-state")):
            logged_in = exchange.before is State.TRANSACTION
            why = f"wrong-state-{'after' if logged_in else 'before'}-login"
            if exchange.before is State.CLOSED:  # the greeting was -ERR, and the server still listens
                why = "wrong-state-closed"
        text = _filled(page, known, f"err.{why}")
        if text is None and why != "code":
            template = words.get(f"why.{why}") or words.get("why.refused")
            text = fill(template or "", known) or words("why.refused", **known)
    told = row is not None and why in ("credentials", "tls-required")  # the reason was read off the code
    if text:
        yield Note("err", text, citation(row.rfc, row.section) if row and told else cite)
    if (
        row is not None
        and code_page is not None
        and not told
        and exchange.name != "QUIT"
        and (note := _filled(code_page, known, "note"))
    ):
        yield Note("info" if text else "err", note, citation(row.rfc, row.section))
    if told and why == "credentials" and exchange.name == "AUTH" and not exchange.tls:
        yield Note("info", words("why.perhaps-tls"), citation(3206, "5"))
    if response.code and row is None:
        yield Note("info", words("why.unknown-code", **known), citation(2449, "8"))


def _filled(page: Document | None, known: dict[str, object], *keys: str) -> str | None:
    for key in keys:
        template = page.note(key) if page else None
        if template is not None and (text := fill(template, known)) is not None:
            return text
    return None


@lru_cache(maxsize=64)
def suggestion(name: str) -> str | None:
    """The command that an unknown keyword is probably meant for."""
    from difflib import get_close_matches  # only a slip needs it

    names = [spec.name for spec in COMMANDS.values() if not spec.historic]
    # Letters in the wrong order are the commonest slip: RERT is RETR, not RSET.
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


def undo_in_words(spec: CommandSpec, words: Words) -> list[str]:
    """Whether it can be taken back; a text for each state if the states differ."""
    found = {state: words(f"undo.{spec.undo_in(state).value}") for state in spec.transitions}
    if len(set(found.values())) == 1:
        return [*found.values()][:1]
    return [words("undo.in", state=state.value, undo=undo) for state, undo in found.items()]


def warning(line: CommandLine, code: str, words: Words) -> str:
    """One diagnostic in words, short enough for the line that is being typed."""
    spec = line.spec
    near = suggestion(line.name) if code == "unknown-command" else None
    known: dict[str, object] = {
        "command": line.name,
        "state": line.state.value,
        "allowed": " / ".join(s.value for s in spec.transitions) if spec else "",
        "syntax": spec.syntax if spec else "",
        "must_follow": (spec.must_follow if spec else None) or "",
        "suggestion": near or "",
    }
    if code == "wrong-state" and line.state is State.CLOSED:
        code = "closed"
    return words("warn.unknown-near" if near else f"warn.{code}", **known)


def pages() -> Iterator[str]:
    """The path of every page that a language must have, derived from the tables."""
    yield from (f"commands/{name}" for name in COMMANDS)
    yield from (f"states/{state.value}" for state in State)
    yield from (f"capabilities/{tag}" for tag in CAPABILITIES)
    from popshell.protocol.commands import RESPONSE_CODES

    yield from (f"codes/{row.page}" for row in RESPONSE_CODES.values())
