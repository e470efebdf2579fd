"""`popshell explain`: a log as an annotated session, in words or as JSON, and the exit code.

No secret of a log comes out again, as it stands, in base64, in hexadecimal, or in what the tool printed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from popshell.course.catalog import Catalog, Words
from popshell.course.doctor import load
from popshell.course.explain import explain
from popshell.logs.formats import Format, all_formats
from popshell.logs.reader import Log, read
from popshell.logs.replay import sessions
from popshell.logs.text import CLIENT, SERVER, TOOL, UNKNOWN
from popshell.logs.verdict import Entry, Fault, Session, judge, tool_fault
from popshell.protocol.secrets import MASK
from popshell.protocol.wire import from_base64
from popshell.visible import show
from popshell.words import fill

OK, FAULT, NOT_KNOWN = 0, 1, 2
#: Lines of a reply's content that the text shows; JSON has all.
_SHOWN = 4
#: The sessions of a log, each with its first fault.
Judged = list[tuple[Session, Fault | None]]
_MARKS = {CLIENT: "C:", SERVER: "S:", UNKNOWN: "?:", TOOL: "  "}


def explain_log(
    data: bytes, catalog: Catalog, language: str, name: str = "", *, as_json: bool = False
) -> tuple[str, int]:
    """The explanation of a log and the exit code. Raises KeyError if `name` is no entry of FORMATS."""
    log = read(data, name)
    found = sessions(log.format, log.events) if log.format else []
    masker = Masker((s for session in found for s in session.secrets), (line.text for line in log.lines))
    rules, words = load(catalog), catalog.words(language, "doctor")
    judged = [(session, judge(session, rules)) for session in found]
    code = NOT_KNOWN if log.format is None else FAULT if any(fault for _, fault in judged) else OK
    if code == OK and all(event.kind == "noise" for event in log.events):  # it does not have the form that was named
        log, judged, code = log._replace(format=None), [], NOT_KNOWN
    if as_json:
        return json.dumps(_json(log, judged, masker, words)) + "\n", code
    return "".join(show(row) + "\n" for row in _text(log, judged, masker, catalog, words)), code


def names() -> list[str]:
    """What `--format` takes."""
    return [form.name for form in all_formats()]


# -- words ---------------------------------------------------------------------------------------------


def _fault_words(fault: Fault, words: Words) -> str:
    """A fault in a sentence."""
    facts = {"command": "", **{key: value for key, value in fault.facts if value != ""}}
    key, unseen = f"log-fault.{fault.code}", not facts["command"] and bool(facts.get("unseen"))
    facts["command"] = facts["command"] or words(f"explain-log.{'unseen' if unseen else 'greeting'}")
    counted = words.get(f"{key}-counted") if facts.get("announced") and facts.get("came") else None
    counted = counted or (words.get(f"{key}-unseen") if unseen else None)
    text = fill(counted or words.get(key) or fault.code, facts) or fault.code
    speaks = words.get(f"speaks.{facts['speaks']}") if facts.get("speaks") else None
    return f"{text} {speaks}" if speaks else text


def _maildrop(session: Session, words: Words) -> Iterator[str]:
    if session.erased:
        assumed = any(entry.assumed for exchange, entry in session.exchanges if entry and exchange.name == "QUIT")
        key = "explain-log.erased-unseen" if assumed else "explain-log.erased"
        yield words(key, marks=words.listed(sorted(session.erased)))
    elif session.marks:
        yield words("explain-log.kept", marks=words.listed(sorted(session.marks)))


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


def _text(log: Log, judged: Judged, masker: Masker, catalog: Catalog, words: Words) -> Iterator[str]:
    if log.format is None:
        yield words("explain-log.unknown-form", formats=words.listed(names()))
        return
    if log.cut:
        yield words("explain-log.cut", lines=len(log.lines))
    yield words("explain-log.form", title=log.format.title, name=log.format.name)
    for number, (session, fault) in enumerate(judged, 1):
        yield ""
        states = " → ".join(state.value for state in session.states) or words("explain-log.no-state")
        yield words("explain-log.session", number=number, of=len(judged), states=states)
        yield from (f"  {doubt}" for doubt in _doubts(log.format, session, words))
        yield from _entries(session, masker, catalog, words)
        if fault is None:
            yield words("explain-log.no-fault")
        else:
            yield words("explain-log.first-fault", line=fault.line, text=_fault_words(fault, words))
            if fault.shown.strip():
                yield f"  {fault.line:>5}  {masker(fault.shown).strip()[:400]}"
            yield from (f"  - {words(cause)}" for cause in fault.causes)
        yield from _maildrop(session, words)


def _entries(session: Session, masker: Masker, catalog: Catalog, words: Words) -> Iterator[str]:
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
        exchange = entry.exchange
        if exchange is not None and exchange.response is not None and not (session.alone or exchange.problem):
            for note in explain(exchange, catalog, words.language):
                cite = f"  ({note.cite})" if note.cite else ""
                yield f"             {masker.known(note.text + cite)}"
        if entry.state is not None:
            yield f"         [{entry.state.value}]"


# -- JSON ----------------------------------------------------------------------------------------------


def _json(log: Log, judged: Judged, masker: Masker, words: Words) -> dict[str, Any]:
    return {
        "format": log.format.name if log.format else None,
        "cut": log.cut,
        "sessions": [_session(session, fault, masker, words) for session, fault in judged],
    }


def _session(session: Session, fault: Fault | None, masker: Masker, words: Words) -> dict[str, Any]:
    text = masker.known(_fault_words(fault, words)) if fault else ""
    return {
        "states": [state.value for state in session.states],
        "events": [_event(entry, masker, session) for entry in session.entries if entry.event.line],
        "first_fault": {"line": fault.line, "code": fault.code, "text": text} if fault else None,
        "causes": [
            {"code": cause.partition(".")[2], "text": words(cause)} for cause in (fault.causes if fault else ())
        ],
        "erased": sorted(session.erased),
        "marked_but_kept": sorted(session.marks),
    }


def _event(entry: Entry, masker: Masker, session: Session) -> dict[str, Any]:
    event, exchange = entry.event, entry.exchange
    out: dict[str, Any] = {"line": event.line, "from": event.source, "text": masker(entry.text)[:65536]}
    facts: dict[str, object] = {
        "octets": int(event.octets[:12]) if event.kind == "count" else None,
        "inferred": event.inferred,
        "assumed": entry.assumed,
        "content": entry.content,
        "state": entry.state.value if entry.state else None,
    }
    out |= {name: value for name, value in facts.items() if value}
    if exchange is not None:
        response, problem = exchange.response, exchange.problem
        out["command"] = None if session.alone else exchange.name or None
        facts = {
            "status": response.status.value if response else None,
            "code": response.code if response else None,
            "problem": problem.code if problem else None,
        }
        out |= {name: value for name, value in facts.items() if value}
    return out


# -- masking -----------------------------------------------------------------------------------------------------------

#: Where tools print secrets beside the protocol: group 1 is one.
_PLACES = (
    r"Credentials: .*?, pass (.*)$",
    r"(?i)\b(?:pass(?:word|wd|phrase)?|passwordeval|secret|(?:access_|refresh_)?token)[\"']?(?: +is)? *[=:] *"
    r"[\"']?([^\s\"',;]{1,200})",
    r"(?i)\b(?:-u|--user|--proxy-user) +[\"']?[^\s:\"']{1,120}:([^\s\"']{1,200})",
    r"[a-z][a-z0-9+]{1,12}://[^\s/:@]{1,120}:([^\s/@]{1,200})@",
    r"(?i)\b(?:Bearer|Basic) +([A-Za-z0-9._~+/=-]{6,4000})",
    r"""(?i)\bpass(?:word)?_?\((?:user|pw|\w+=)*["']([^"']{1,200})["']""",
    r"""(?i)\b(?:login|apop|auth\w*)\(["'][^"']{1,120}["'], *["']([^"']{1,200})["']""",
    r"\bPASS +(?!\*|of\b|or\b|and\b|is\b)(\S.{0,250})$",
    r"\bRequest parameter: (\S+)$",
    r"\bAPOP +\S{1,80} +([0-9a-fA-F]{32})\b",
    r"(?i)Resumption PSK: *([0-9A-F]{32,200})|Master-Key: *([0-9A-F]{32,200})",
)
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/=_.-])(?=[A-Za-z0-9+/]*[A-Z0-9+/])[A-Za-z0-9+/]{8,16000}={0,2}(?![A-Za-z0-9+/=])"
)

_MOST_IN_PATTERN = 200
_LONGEST_IN_PATTERN = 4000


class Masker:
    """Replaces every known secret by MASK, and what has the form of one."""

    def __init__(self, secrets: Iterable[str], lines: Iterable[str]) -> None:
        self._places = [re.compile(pattern) for pattern in _PLACES]
        known = {secret for secret in secrets if secret and MASK not in secret and set(secret) != {"*"}}
        for line in lines:
            known |= self._printed(line[:4000])
        self._words = sorted((s for s in known if len(s) < 3), key=len, reverse=True)
        self._long = sorted({form for s in known if len(s) > 2 for form in _forms(s)}, key=len, reverse=True)
        few = [secret for secret in self._long if len(secret) < _LONGEST_IN_PATTERN][:_MOST_IN_PATTERN]
        self._any = re.compile("|".join(map(re.escape, few)), re.IGNORECASE) if few else None
        #: the others by their first characters: a pattern of thousands is tried at every place
        self._rest: dict[str, list[str]] = {}
        for secret in sorted(set(self._long).difference(few), key=len, reverse=True):
            self._rest.setdefault(secret[:3].lower(), []).append(secret)

    def _printed(self, line: str) -> set[str]:
        return {
            group
            for place in self._places[:-1]
            for match in place.finditer(line)
            for group in match.groups()
            if group and len(group) > 2 and not re.fullmatch(r"[*.•x]+|\W*|\(not|True|False|None|on|off", group)
        }

    def known(self, text: str) -> str:
        """`text` without the secrets that are known: for words of ours, of which none has only the form of one."""
        if self._any is not None:
            text = self._any.sub(MASK, text)
        if self._rest:
            low = text.lower()
            starts = {low[at : at + 3] for at in range(len(low) - 2)} & self._rest.keys()
            for secret in (secret for start in starts for secret in self._rest[start]):
                text = text.replace(secret, MASK)
        for word in self._words:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", MASK, text)
        return text

    def __call__(self, text: str) -> str:
        """`text` without its secrets, and without what has the form of one."""
        text = self.known(text)
        for place in self._places:
            if place.search(text):
                text = place.sub(_without_groups, text)
        # What a challenge holds is the server's, and no secret.
        return text if text.startswith("+ ") else _BASE64.sub(self._token, text)

    def _token(self, match: re.Match[str]) -> str:
        hidden = from_base64(match[0])
        if hidden is None:
            return match[0]
        inner = hidden.decode("utf-8", "replace")
        holds = self._any is not None and self._any.search(inner)
        # Text in base64 is what SASL sends, wherever it stands.
        return MASK if holds or hidden.count(b"\0") == 2 or re.fullmatch(r"[\x01\x20-\x7e]{6,}", inner) else match[0]


def _without_groups(match: re.Match[str]) -> str:
    text = match[0]
    for group in match.groups():
        if group:
            text = text.replace(group, MASK)
    return text


def _forms(secret: str) -> list[str]:
    raw = secret.encode("utf-8", "surrogateescape")
    forms = [secret, base64.b64encode(raw).decode().rstrip("="), raw.hex(), raw.hex(" ")]
    return [form for form in forms if len(form) > 2]
