"""`:tls`, and a chain of certificates in words: what was sent, which check failed at which link, what would mend it.

A certificate is its maker's text: each row of it follows a label of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from popshell.course.catalog import Words
from popshell.ui.layout import Line, columns, pad, paragraph, wrap_text
from popshell.ui.shell import Shell
from popshell.visible import show

#: Names of a certificate that are shown; a shared host may have hundreds.
_MOST_NAMES = 20
_FACTS = ("subject", "names", "issuer", "valid", "key", "fingerprint", "pin")


async def tls(shell: Shell, argument: str) -> None:
    """What TLS settled on the open connection; without one, the certificates that were refused last."""
    opened = shell.link.connection if shell.link and shell.session else None
    known = opened.tls_facts() if opened else {}
    found = opened.certificates() if opened and known else None if opened else shell.refused
    if found is None:
        shell.say("shell.no-tls" if shell.session else "shell.no-connection", style="warn")
        return
    report = {"place": opened.endpoint.label, **found} if opened else found
    if opened:
        insecure = opened.endpoint.insecure
        anchor = report["anchor"] or "?"
        verified = shell.words("tls.verified-no" if insecure else "tls.verified-yes", anchor=anchor)
        rows = [("version", known["version"]), ("cipher", known["cipher"]), ("verified", verified)]
        shell.screen.lines(_labelled(shell, ((shell.words(f"tls.{name}"), str(value)) for name, value in rows)))
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
        shell.screen.lines(_labelled(shell, _rows(link, words)))
    lines: list[Line] = []
    for style, text in verdict(report, words, shell.again):
        lines += paragraph(show(text), shell.screen.look, style=style)
    shell.screen.lines(lines)


def _rows(link: Mapping[str, Any], words: Words) -> Iterable[tuple[str, str]]:
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
    return ((words(f"certificate.{name}"), texts[name]) for name in _FACTS if texts[name])


def verdict(report: Mapping[str, Any], words: Words, again: str) -> Iterable[tuple[str, str]]:
    """Styles and texts: the check that failed, what else is to be seen, what would mend it on which side."""
    check, number, chain = report["check"], report["link"], report["chain"]
    blamed = chain[number - 1] if number else None
    where = words("certificate.where" if blamed else "certificate.where-unsent", number=number)
    first = chain[0]
    facts = {
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
    for side in ("server", "here") if check else ():
        yield "note", words(f"certificate.mend-{side}", what=words(f"certificate.mend-{check}-{side}", **facts))


def _labelled(shell: Shell, rows: Iterable[tuple[str, str]]) -> list[Line]:
    """Rows of label and text, the text filtered and broken within its column."""
    known = list(rows)
    widest = max((columns(label) for label, _ in known), default=0) + 2
    lines: list[Line] = []
    for label, value in known:
        for row in wrap_text(show(value, keep=""), max(shell.screen.columns - widest - 5, 16), "", ""):
            lines.append([("", "    "), ("note", pad(label, widest)), ("peer", row)])
            label = ""
    return lines
