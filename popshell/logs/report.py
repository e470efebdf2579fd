"""`popshell explain`: a log as an annotated session, in words or as JSON, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from popshell.course.catalog import Catalog, Words
from popshell.course.doctor import load
from popshell.course.explain import explain
from popshell.logs.formats import Format, all_formats
from popshell.logs.masking import Masker
from popshell.logs.reader import Log, read
from popshell.logs.replay import sessions
from popshell.logs.session import Entry, Session
from popshell.logs.text import CLIENT, SERVER, TOOL, UNKNOWN
from popshell.logs.verdict import Verdict, judge, tool_fault
from popshell.protocol.records import Exchange
from popshell.visible import show
from popshell.words import fill

OK, FAULT, NOT_KNOWN = 0, 1, 2
#: Lines of a reply's content that the text shows; JSON has all.
_SHOWN = 4
_MARKS = {CLIENT: "C:", SERVER: "S:", UNKNOWN: "?:", TOOL: "  "}


def explain_log(
    data: bytes, catalog: Catalog, language: str, name: str = "", *, as_json: bool = False
) -> tuple[str, int]:
    """The explanation of a log and the exit code. Raises KeyError if `name` is no entry of FORMATS."""
    log = read(data, name)
    found = sessions(log.format, log.events) if log.format else []
    masker = Masker(log.format, (s for session in found for s in session.secrets), (line.text for line in log.lines))
    rules, words = load(catalog), catalog.words(language, "doctor")
    judged = [(session, judge(session, rules)) for session in found]
    faulty = any(verdict.fault for _, verdict in judged)
    code = NOT_KNOWN if log.format is None else FAULT if faulty else OK
    if as_json:
        return json.dumps(_json(log, judged, masker, words)) + "\n", code
    return "".join(show(row) + "\n" for row in _text(log, judged, masker, catalog, words)), code


def names() -> list[str]:
    """What `--format` takes."""
    return [form.name for form in all_formats()]


# -- words ---------------------------------------------------------------------------------------------


def fault_words(verdict: Verdict, words: Words) -> str:
    """The first fault in a sentence; "" if there is none."""
    if verdict.fault is None:
        return ""
    facts = {"command": "", **{key: value for key, value in verdict.fault.facts if value != ""}}
    key, unseen = f"log-fault.{verdict.fault.code}", not facts["command"] and bool(facts.get("unseen"))
    facts["command"] = facts["command"] or words(f"explain-log.{'unseen' if unseen else 'greeting'}")
    counted = words.get(f"{key}-counted") if facts.get("announced") and facts.get("came") else None
    counted = counted or (words.get(f"{key}-unseen") if unseen else None)
    text = fill(counted or words.get(key) or verdict.fault.code, facts) or verdict.fault.code
    speaks = words.get(f"speaks.{facts['speaks']}") if facts.get("speaks") else None
    return f"{text} {speaks}" if speaks else text


def _maildrop(session: Session, words: Words) -> list[str]:
    if session.erased:
        assumed = any(entry.assumed for exchange, entry in session.exchanges if entry and exchange.name == "QUIT")
        key = "explain-log.erased-unseen" if assumed else "explain-log.erased"
        return [words(key, marks=words.listed(sorted(session.erased)))]
    if session.marks:
        return [words("explain-log.kept", marks=words.listed(sorted(session.marks)))]
    return []


def _doubts(form: Format, session: Session, words: Words) -> Iterator[str]:
    """What is not known of a session, and what was inferred."""
    if any(entry.event.inferred for entry in session.entries):
        yield words("explain-log.inferred")
    if session.alone:
        yield words("explain-log.no-commands")
    elif "replies" in form.hides and session.spoke:
        yield words("explain-log.no-replies")
    elif session.gaps:
        yield words("explain-log.gaps")
    if session.nameless:
        yield words("explain-log.nameless")
    if session.mixed:
        yield words("explain-log.mixed")
    if any(entry.event.source == UNKNOWN and entry.event.octets for entry in session.entries):
        yield words("explain-log.unknown-lines")


def _text(
    log: Log, judged: list[tuple[Session, Verdict]], masker: Masker, catalog: Catalog, words: Words
) -> Iterator[str]:
    if log.format is None:
        yield words("explain-log.unknown-form", formats=words.listed(names()))
        return
    if log.cut:
        yield words("explain-log.cut", lines=len(log.lines))
    yield words("explain-log.form", title=log.format.title, name=log.format.name)
    for number, (session, verdict) in enumerate(judged, 1):
        yield ""
        states = " → ".join(state.value for state in session.states) or words("explain-log.no-state")
        yield words("explain-log.session", number=number, of=len(judged), states=states)
        yield from (f"  {doubt}" for doubt in _doubts(log.format, session, words))
        yield from _entries(log.format, session, verdict, masker, catalog, words)
        if verdict.fault is None:
            yield words("explain-log.no-fault")
        else:
            yield words("explain-log.first-fault", line=verdict.fault.line, text=fault_words(verdict, words))
            if verdict.fault.shown.strip():
                yield f"  {verdict.fault.line:>5}  {masker(verdict.fault.shown).strip()[:400]}"
            for cause in verdict.causes:
                yield f"  - {words(cause)}"
        yield from _maildrop(session, words)


def _entries(
    form: Format, session: Session, verdict: Verdict, masker: Masker, catalog: Catalog, words: Words
) -> Iterator[str]:
    rows = 0
    for entry in session.entries:
        event = entry.event
        if event.source == TOOL and not (
            event.kind in ("closed", "begin", "stage", "renegotiate") or tool_fault(event)
        ):
            continue
        if event.kind in ("assumed", "ends", "count") and not entry.text:
            continue
        rows = rows + 1 if entry.content else 0
        if entry.content and rows > _SHOWN and entry.state is None:
            if rows == _SHOWN + 1:
                yield f"         {words('explain-log.more')}"
            continue
        mark = _MARKS[event.source] + ("~" if event.inferred else "")
        yield f"  {event.line:>5}  {mark:<3} {masker(entry.text)[:2000]}".rstrip()
        if entry.exchange is not None:
            for note in _notes(entry, session, catalog, words):
                yield f"             {masker.known(note)}"
        if entry.state is not None:
            yield f"         [{entry.state.value}]"


def _notes(entry: Entry, session: Session, catalog: Catalog, words: Words) -> Iterator[str]:
    exchange = entry.exchange
    assert exchange is not None
    if session.alone or exchange.problem is not None or exchange.response is None:
        return
    for note in explain(exchange, catalog, words.language):
        cite = f"  ({note.cite})" if note.cite else ""
        yield note.text + cite


# -- JSON ----------------------------------------------------------------------------------------------


def _json(log: Log, judged: list[tuple[Session, Verdict]], masker: Masker, words: Words) -> dict[str, Any]:
    return {
        "format": log.format.name if log.format else None,
        "cut": log.cut,
        "sessions": [_session(session, verdict, masker, words) for session, verdict in judged],
    }


def _session(session: Session, verdict: Verdict, masker: Masker, words: Words) -> dict[str, Any]:
    fault = verdict.fault
    return {
        "states": [state.value for state in session.states],
        "events": [_event(entry, masker, session) for entry in session.entries if entry.event.line],
        "first_fault": {"line": fault.line, "code": fault.code, "text": masker.known(fault_words(verdict, words))}
        if fault
        else None,
        "causes": [{"code": cause.partition(".")[2], "text": words(cause)} for cause in verdict.causes],
        "erased": sorted(session.erased),
        "marked_but_kept": sorted(session.marks),
    }


def _event(entry: Entry, masker: Masker, session: Session) -> dict[str, Any]:
    event = entry.event
    out: dict[str, Any] = {"line": event.line, "from": event.source, "text": masker(entry.text)[:65536]}
    facts = {
        "octets": int(event.octets[:12]) if event.kind == "count" else None,
        "inferred": event.inferred,
        "assumed": entry.assumed,
        "content": entry.content,
        "state": entry.state.value if entry.state else None,
    }
    out |= {name: value for name, value in facts.items() if value}
    out |= _exchange(entry.exchange) if entry.exchange else {}
    return out | {"command": None} if session.alone and "command" in out else out


def _exchange(exchange: Exchange) -> dict[str, Any]:
    out: dict[str, Any] = {"command": exchange.name or None}
    if exchange.response is not None:
        out["status"] = exchange.response.status.value
        if exchange.response.code:
            out["code"] = exchange.response.code
    if exchange.problem is not None:
        out["problem"] = exchange.problem.code
    return out
