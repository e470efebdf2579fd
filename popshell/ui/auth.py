"""`:auth`, `:apop`: the ways to log in, ranked; one login, each step shown, no second try. `:tls`: a chain in words.

It sends CAPA if the list is not known, then USER and PASS, APOP, or AUTH with its answers, and once logged in CAPA
again where there was a list, for what has changed; all are shown as its own.
Masked are secrets, and what is computed from one so that it could be found again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from popshell.course.catalog import Words
from popshell.protocol.commands import State
from popshell.protocol.connection import Challenge
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.records import Exchange
from popshell.protocol.sasl import ClientLines, Credentials, Mechanism, Named, SaslError, apop_digest, prepared
from popshell.protocol.secrets import CANCEL, MASK, is_secret_word, redact
from popshell.protocol.ways import Choice, rank, token_facts
from popshell.protocol.wire import from_base64
from popshell.session import Event, OpenConnection
from popshell.ui import layout
from popshell.ui.layout import Line, Run, columns, pad, paragraph
from popshell.ui.safety import ask_password
from popshell.ui.shell import Refused, Shell
from popshell.visible import show

#: What `:auth` can log in by.
NAMES = (*MECHANISMS, "APOP", "USER")
#: What each message of a client is made of, in the RFCs' names; SCRAM's hash is H.
_MESSAGES = {
    "PLAIN": ("authzid NUL authcid NUL passwd",),
    "LOGIN": ("authcid", "passwd"),
    "CRAM-MD5": ("authcid SP digest",),
    "SCRAM": ("gs2-header n=authcid,r=client-nonce", "c=channel-binding,r=nonce,p=client-proof"),
    "XOAUTH2": ("user=user ^A auth=Bearer SP token ^A ^A",),
    "OAUTHBEARER": ("gs2-header ^A host=host ^A port=port ^A auth=Bearer SP token ^A ^A", "^A"),
    "EXTERNAL": ("authzid",),
}
#: What is computed from what (RFC 5802 §3, RFC 2195 §2).
_FORMULAS = {
    "salted-password": "PBKDF2-HMAC(H, passwd, salt, iterations)",
    "client-key": 'HMAC(salted-password, "Client Key")',
    "stored-key": "H(client-key)",
    "client-signature": "HMAC(stored-key, auth-message)",
    "client-proof": "client-key XOR client-signature",
    "server-key": 'HMAC(salted-password, "Server Key")',
    "server-signature": "HMAC(server-key, auth-message)",
    "auth-message": "client-first-bare , server-first , client-final-without-proof",
    "channel-binding": "base64(gs2-header [cbind-data])",
    "digest": "HMAC-MD5(passwd, challenge)",
}
_SENT = "auth.sent"


async def auth(shell: Shell, argument: str) -> None:
    """`:auth [MECH [NAME [as=OTHER]]]`."""
    assert shell.session is not None
    connection = shell.session.connection
    if argument:
        shell.login_held_back()  # until its secret was asked for
    if connection.challenged or shell.state is not State.AUTHORIZATION:
        raise Refused("auth.not-now", state=shell.state.value)
    first, *rest = argument.split() or [""]
    mechanism = first.upper()
    if mechanism == "APOP":
        _stamp(shell)
    if mechanism and mechanism not in NAMES:
        shell.say("auth.unknown", style="warn", names=shell.words.listed(NAMES))
        shell.tally.usage = True
        return
    row = MECHANISMS.get(mechanism)
    who = await _who(shell, row, rest) if mechanism else None
    shell.held_back = False
    if connection.capabilities is None and (row or not mechanism):
        await shell.send("CAPA", by_shell=_SENT)
    opened = shell.opened
    if shell.session is None or opened is None:
        return
    ways = _ways(opened)
    if not mechanism:
        shell.say("auth.ways", style="emphasis")
    _show_ways(shell, [way for way in ways if mechanism in ("", way.name)])
    if not mechanism and any(way.why == "token" for way in ways):
        for token, name in opened.endpoint.tokens().items():
            shell.say("cli.token", name=name, token=token)
    if who is None:
        return
    listed = connection.capabilities is not None
    if row is not None:
        trusted = await _Login(shell, opened, row, who).run()
    elif mechanism == "APOP":
        trusted = await _send_last(shell, _apop_line(shell, who.name, who.secret))
    else:
        answer = await shell.send(f"USER {who.name}", by_shell=_SENT)
        accepted = isinstance(answer, Exchange) and answer.ok
        trusted = await _send_last(shell, f"PASS {who.secret}") if accepted else _succeeded(shell, answer)
    if listed and trusted and not connection.closed:
        await shell.send("CAPA", by_shell=_SENT)


async def _who(shell: Shell, row: Mechanism | None, words: list[str]) -> Credentials:
    """The name as typed or asked for, and the secret, which is asked for and not shown. Raises Refused without them."""
    authzid = words.pop().removeprefix("as=") if row and words and words[-1].startswith("as=") else ""
    if len(words) > 1 or (words and is_secret_word(words[0], None, None)):
        raise Refused  # perhaps a password
    if row is not None and row.proof == "certificate":
        return Credentials("", "", authzid or "".join(words))
    name = words[0] if words else (await shell.screen.ask(shell.words("auth.ask-name")) or "").strip()
    if not name:
        raise Refused
    token = row is not None and row.proof == "token"
    secret = await ask_password(shell, name, token=token, piped=True)
    if not secret or shell.session is None:
        raise Refused("shell.not-sent")
    shell.session.connection.hide(secret)
    if token:
        _show_token(shell, secret)
    return Credentials(name, secret, authzid)


# -- the ways ----------------------------------------------------------------------------------------------------------


def _ways(opened: OpenConnection) -> list[Choice]:
    """All ways to log in."""
    connection = opened.session.connection
    return rank(
        connection.capabilities,
        connection.stamp,
        tls=connection.tls,
        verified=not opened.endpoint.insecure,
        binding=opened.binding() is not None,
        certificate=opened.endpoint.certificate,
    )


def _show_ways(shell: Shell, ways: Iterable[Choice]) -> None:
    def run(way: Choice) -> Run:
        return "command" if way.usable else "note", f"{way.order if way.usable else '-':>2} {show(way.name, keep='')}"

    rows = [(run(way), shell.words(f"auth.why-{way.why}")) for way in ways]
    shell.screen.lines(layout.two_columns(rows, shell.screen.look, indent=2))


def _show_token(shell: Shell, token: str) -> None:
    """What the token says of itself; not the token."""
    facts = token_facts(token)
    if facts is None:
        shell.say("auth.token-opaque")
        return
    rows = [Named("user", facts.user), Named("scope", " ".join(facts.scope)), Named("aud", " ".join(facts.audience))]
    if facts.expires is not None:
        rows.append(Named("exp", datetime.fromtimestamp(facts.expires, UTC).isoformat(" ")))
    _show(shell, (row._replace(value=redact(row.value, (token,))) for row in rows if row.value))
    if facts.expires is not None and facts.expires <= datetime.now(UTC).timestamp():
        shell.say("auth.token-expired", style="warn")


# -- APOP, USER --------------------------------------------------------------------------------------------------------


async def apop(shell: Shell, name: str) -> None:
    """`:apop NAME`: compute the digest step by step and put the line at the prompt, unsent."""
    shell.login_held_back()  # until its secret was asked for
    if not name or " " in name:
        raise Refused
    if shell.session is None:
        raise Refused("shell.not-connected")
    _stamp(shell)
    if shell.state is not State.AUTHORIZATION:
        raise Refused("shell.apop-logged-in", state=shell.state.value)
    secret = await ask_password(shell, name, piped=True)
    if not secret:
        raise Refused("shell.not-sent")
    shell.held_back = False
    shell.draft = _apop_line(shell, name, secret)
    shell.say("shell.apop-ready" if shell.screen.prompts else "shell.apop-ready-plain")


def _stamp(shell: Shell) -> str:
    """The timestamp of the greeting. Raises Refused if it had none, or the session is over."""
    stamp = shell.session.connection.stamp if shell.session else None
    if stamp is None:
        raise Refused("shell.no-stamp")
    return stamp


def _apop_line(shell: Shell, name: str, secret: str) -> str:
    """The line of APOP, after its sum was shown. Raises Refused without a timestamp."""
    stamp = _stamp(shell)
    digest, shown = apop_digest(stamp, secret), shell.options.reveal and shell.on_practice
    lines: list[Line] = [
        [("", "    MD5( "), ("stamp", show(stamp, keep="")), ("", " + "), ("secret", MASK), ("", " )")],
        [("", "      = "), ("secret", digest if shown else MASK)],
    ]
    shell.screen.lines(lines)
    return f"APOP {prepared(name) or name} {digest}"  # RFC 6856 §2.2


async def _send_last(shell: Shell, line: str) -> bool:
    """Send the line that logs in; whether it did."""
    return _succeeded(shell, await shell.send(line, by_shell=_SENT))


def _succeeded(shell: Shell, answer: Event | None) -> bool:
    """Whether the answer is `+OK`; after a refusal, that there is no second try."""
    ok = isinstance(answer, Exchange) and answer.ok
    if isinstance(answer, Exchange) and answer.response is not None and not ok:
        shell.say("auth.one-try")
    return ok


# -- AUTH --------------------------------------------------------------------------------------------------------------


class _Login:
    """One use of a mechanism."""

    def __init__(self, shell: Shell, opened: OpenConnection, row: Mechanism, who: Credentials) -> None:
        self._shell, self._opened, self._row, self._who = shell, opened, row, who
        self._known = tuple(filter(None, (who.secret, prepared(who.secret))))
        self._messages = self._named = self._warnings = 0  # that were shown

    async def run(self) -> bool:
        """Whether it has led to a login that can be trusted."""
        shell, opened, name = self._shell, self._opened, self._row.name
        greeting = opened.session.transcript[0].response
        microsoft = greeting is not None and re.search("Microsoft Exchange|Outlook", greeting.text) is not None
        offered = {one.upper() for one in (opened.session.connection.capabilities or {}).get("SASL", ())}
        port = opened.endpoint.label.rpartition(":")[2]
        login = self._who._replace(
            # Without a list it is not known whether -PLUS is there: then `y` would be untrue.
            binding=opened.binding() if offered else None,
            plus_offered=f"{name}-PLUS" in offered,
            host=opened.endpoint.host,
            port=int(port) if port.isdigit() else 0,
        )
        try:
            client = ClientLines(self._row, login)
        except SaslError as error:
            shell.say(f"auth.error-{error.code}", style="err", detail="")
            shell.say("shell.not-sent", style="warn")
            shell.tally.usage = True
            return False
        microsoft = microsoft and self._row.proof == "token"
        command = client.command(initial=name in offered and not microsoft)
        form = "not-offered" if name not in offered else "microsoft" if microsoft else client.form
        if client.form == "initial":
            self._show_message(client, command.split(" ")[2])
        shell.say(f"auth.form-{client.form if client.form == 'server-first' else form}")
        shell.shows_itself = True
        try:
            answer = await shell.send(command, by_shell=_SENT)
            while isinstance(answer, Challenge) and shell.session is not None and client.error is None:
                answer = await shell.send(self._answer(client, answer), by_shell=_SENT)
        finally:
            shell.shows_itself = False
        if isinstance(answer, Challenge) and client.error is not None:
            shell.say("auth.error-goes-on", style="err")
        if not isinstance(answer, Exchange) or answer.response is None:
            return False  # why there is no reply was shown
        if answer.ok and client.outcome(True) is not None:
            shell.say("auth.error-not-proved", style="err")
            shell.tally.failed = True
            return False
        return _succeeded(shell, answer)

    def _answer(self, client: ClientLines, challenge: Challenge) -> str:
        """The line that answers a challenge, after both were shown."""
        shell, text = self._shell, challenge.line.decode("utf-8", "surrogateescape")
        shell.screen.challenge(redact(text, self._known))
        if decoded := from_base64(text):
            shell.say("auth.received")
            _show(shell, [Named("decoded", self._safe(decoded))])
        line = client.answer(text)
        for warning in client.run.warnings[self._warnings :]:
            shell.say(f"auth.warning-{warning}", style="warn")
        self._warnings = len(client.run.warnings)
        if client.error is not None:
            detail = show(redact(client.error.detail, self._known), keep="")
            shell.say(f"auth.error-{client.error.code}", style="err", detail=detail)
            shell.say("auth.cancels", style="warn")
            shell.tally.failed = True
        else:
            self._show_message(client, line)
        return line

    def _show_message(self, client: ClientLines, line: str) -> None:
        """A message: what is in it, how that was computed, and its base64, unless something in it is secret."""
        shell, named = self._shell, client.run.named[self._named :]
        forms = _MESSAGES.get("SCRAM" if self._row.name.startswith("SCRAM") else self._row.name, ())
        form = forms[self._messages] if self._messages < len(forms) else ""
        self._named, self._messages = len(client.run.named), self._messages + 1
        proof = tuple(one.value for one in named if one.name == "server-signature")  # the server sends it next
        self._known += proof
        if proof and shell.session is not None:
            shell.session.connection.hide(*proof)
        if client.run.done and not named and any(one.name == "server-signature" for one in client.run.named):
            shell.say("auth.server-proved", style="ok")
        shell.say("auth.sends" if line and line != CANCEL else "auth.sends-empty", number=self._messages)
        rows = [one._replace(value=one.value if one.secret else self._safe(one.value)) for one in named]
        rows += [Named("message", form)] if form else []
        if any(one.secret for one in named):
            rows.append(Named("base64", line, True))
        elif line not in ("", "="):
            rows += [Named("text", self._safe(from_base64(line) or b"")), Named("base64", line)]
        _show(shell, rows)

    def _safe(self, text: str | bytes) -> str:
        """What a peer sent or was sent, with the secret masked where it is repeated."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        return redact(text, self._known)


def _show(shell: Shell, named: Iterable[Named]) -> None:
    """Named values, each with what it is computed from; names that are no RFC's have words."""
    rows: list[tuple[str, Run]] = []
    for row in named:
        name = shell.words.get(f"auth.label-{row.name}") or row.name
        rows.append((name, ("secret", MASK) if row.secret else ("peer", row.value)))
        rows += [("", ("note", f"= {_FORMULAS[row.name]}"))] if row.name in _FORMULAS else []
    _labelled(shell, rows)


def _labelled(shell: Shell, rows: Iterable[tuple[str, Run]]) -> None:
    """Rows of label and text. A certificate is its maker's text: it is filtered, and follows a label of ours."""
    rows, look, lines = list(rows), shell.screen.look, list[Line]()
    widest = max((columns(label) for label, _ in rows), default=0) + 6
    look = look.within(widest + (look.width - widest) // 3 * 3)  # the pairs of a fingerprint stay whole
    for label, (style, text) in rows:
        lines += layout.beside([("note", pad(f"    {label}", widest))], [(style, show(text, keep=""))], look)
    shell.screen.lines(lines)


# -- :tls, certificates ------------------------------------------------------------------------------------------------

#: Names of a certificate that are shown; a shared host may have hundreds.
_MOST_NAMES = 20
_FACTS = ("subject", "names", "issuer", "valid", "key", "fingerprint", "pin")


async def tls(shell: Shell, argument: str) -> None:
    """What TLS settled on the open connection; without one, the certificates that were refused last."""
    opened = shell.opened if shell.session else None
    known = opened.tls_facts() if opened else {}
    found = opened.certificates() if opened and known else None if opened else shell.refused
    if found is None:
        raise Refused("shell.no-tls" if shell.session else "shell.no-connection")
    report = {"place": opened.endpoint.label, **found} if opened else found
    if opened:
        insecure = opened.endpoint.insecure
        anchor = report["anchor"] or "?"
        verified = shell.words("tls.verified-no" if insecure else "tls.verified-yes", anchor=anchor)
        rows = [("version", known["version"]), ("cipher", known["cipher"]), ("verified", verified)]
        _labelled(shell, ((shell.words(f"tls.{name}"), ("peer", str(value))) for name, value in rows))
    else:
        shell.say("certificate.refused-last", style="warn", name=show(report["name"]))
    show_chain(shell, report)


def show_chain(shell: Shell, report: Mapping[str, Any]) -> None:
    """The chain, link by link, then what is wrong with it and what would mend that."""
    words, chain = shell.words, report["chain"]
    if not chain:
        shell.say("certificate.none", style="warn")
        return
    shell.say("certificate.chain", count=len(chain), style="emphasis")
    for number, link in enumerate(chain, 1):
        wrong = number == report["link"]
        heading = words("certificate.own" if number == 1 else "certificate.above", number=number)
        mark: Line = [("err", words("certificate.here"))] if wrong else []
        shell.screen.lines([[("", "  "), ("emphasis", heading), *mark]])
        _labelled(shell, _rows(link, words))
    lines: list[Line] = []
    for style, text in verdict(report, words, shell.again):
        lines += paragraph(show(text), shell.screen.look, style=style)
    shell.screen.lines(lines)


def _rows(link: Mapping[str, Any], words: Words) -> Iterable[tuple[str, Run]]:
    state = next((fault for fault in ("expired", "not-yet-valid") if fault in link["faults"]), "now")
    names = words.listed(link["names"][:_MOST_NAMES])
    if (more := len(link["names"]) - _MOST_NAMES) > 0:
        names += words("certificate.more-names", count=more)
    dates = {name: link[name].removesuffix("+00:00") for name in ("valid_from", "valid_until")}
    texts = {
        **link,
        "names": names,
        "issuer": words("certificate.itself") if "self-signed" in link["faults"] else link["issuer"],
        "valid": words(f"certificate.valid-{state}", **dates, days=link["days"]) if link["valid_until"] else "",
        "key": words("certificate.signed", **link) if link["signature"] else link["key"],
        "fingerprint": ":".join(link["fingerprint"][at : at + 2] for at in range(0, 64, 2)).upper(),
    }
    return ((words(f"certificate.{name}"), ("peer", texts[name])) for name in _FACTS if texts[name])


def verdict(report: Mapping[str, Any], words: Words, again: str) -> Iterable[tuple[str, str]]:
    """Styles and texts: the check that failed, what else is to be seen, what would mend it on which side."""
    check, number, chain = report["check"], report["link"], report["chain"]
    blamed = chain[number - 1] if number else None
    unsent = "unsent" if check in ("expired", "not-yet-valid") else "chain"
    where = words("certificate.where" if blamed else f"certificate.where-{unsent}", number=number)
    first = chain[0]
    facts = {
        "mode": "",
        **report,
        "where": where,
        "again": again,
        "issuer": (blamed or chain[-1])["issuer"] or "?",
        "names": words.listed(first["names"][:_MOST_NAMES]) or "?",
        "pin": first["pin"],
    }
    if check:
        yield "err", words(f"certificate.check-{check}", **facts)
    for at, link in enumerate(chain, 1):
        for fault in link["faults"]:
            # A root signs itself; of the server's own it is said where that is no reason of a refusal.
            if (fault != "self-signed" or (at == 1 and not check)) and (fault, at) != (check, number):
                beside = {**facts, "where": words("certificate.where", number=at)}
                yield "warn", words(f"certificate.beside-{fault}", **beside)
    if not report["ordered"]:
        yield "warn", words("certificate.disordered")
    if report["between"]:
        yield "warn", words("certificate.between", **facts)
    date = next((one for link in chain for one in link["faults"] if one in ("expired", "not-yet-valid")), check)
    # To trust a certificate does not mend its date.
    here = date if check in ("self-signed", "own-root", "no-issuer") else check
    for side, cause in (("server", check), ("here", here)) if check else ():
        yield "note", words(f"certificate.mend-{side}", what=words(f"certificate.mend-{cause}-{side}", **facts))
