"""The cases of tests/doctor.txt: conversations, and what the doctor makes of the refusal at their end.

A case begins with `# RULE = PRODUCT SURENESS: CAUSE, CAUSE` (`-` for no product), where the rule is the one that names
the first cause, and the sureness is its. `# - = PRODUCT:` is a refusal whose reason is not known. Then come

    S: <gmail>           the greeting that GREETINGS has under that name
    C: LINE              a line of the client; `  S: ` on the same line begins the reply to it
    C: <user>            USER with an address, answered +OK; <login>: PASS, too
    S: LINE              a line of the server; escapes `xNN`, `uNNNN`, `t`, `n` after a backslash as in Python
    = tls | close | wait SECONDS | host NAME
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from support import ROOT

from popshell.course.symptoms import Facts
from popshell.protocol.commands import State
from popshell.protocol.connection import Connection
from popshell.protocol.records import Exchange
from popshell.protocol.wire import CRLF

GREETINGS = {
    "plain": "+OK ready",
    "stamp": "+OK ready <1.2@mail.example>",
    "popshell": "+OK practice server ready <28198.1796040276001@popshell.example>",
    "gmail": "+OK Gpop ready for requests from 203.0.113.5 5b1f17b1804b1-47",
    "exchange-online": "+OK The Microsoft Exchange POP3 service is ready. [UABBADcAUAAy]",
    "exchange": "+OK The Microsoft Exchange POP3 service is ready.",
    "exchange-2003": "+OK Microsoft Exchange Server 2003 POP3 server version 6.5.7638.1 (mail.example) ready.",
    "exchange-2007": "+OK Microsoft Exchange Server 2007 POP3 service ready",
    "yahoo": "+OK hello from popgate-0.8.0.504347 pop108.mail.gq1.yahoo.com",
    "coremail": "+OK Welcome to coremail Mail Pop3 Server (163coms[726cd87d72d896a1ac393507346040fas])",
    "qq": "+OK XMail POP3 Server v1.0 Service Ready(XMail v1.0)",
    "qq-old": "+OK QQMail POP3 Server v1.0 Service Ready(QQMail v2.0)",
    "yandex": "+OK POP Ya! na@8-0a1b2c3d4e5f kV1bXX0Wq4Y1",
    "gmx": "+OK POP server ready H migmx027 0M8Bvu-1XV3cY0000-00vgzr",
    "free": "+OK POP3 ready <21459.1549983012@popn2>",
    "dovecot": "+OK Dovecot (Debian) ready.",
    "dovecot-directadmin": "+OK DA ready.",
    "cyrus": "+OK mail.example Cyrus POP3 3.6.1-Debian server ready <3132.1@mail.example>",
    "courier": "+OK Hello there.",
    "qmail": "+OK <1441.1732956000@mail.example>",
    "mailenable": "+OK Welcome to MailEnable POP3 Server",
    "mdaemon": "+OK mail.example POP MDaemon 9.0.4 ready <MDAEMON-F200612010000.AA0000000MD0001@mail.example>",
    "kerio": "+OK Kerio Connect 8.0.1 POP3 server ready <1.2@mail.example>",
    "axigen": "+OK AXIGEN POP3 server on mail.example ready <1.2@mail.example>",
    "icewarp": "+OK mail.example IceWarp 10.3.5 POP3 Mon, 30 Nov 2026 09:00:00 +0000 <1@mail.example>",
    "communigate": "+OK CommuniGate Pro POP3 Server 6.1 ready <1.2@mail.example>",
    "zimbra": "+OK mail.example Zimbra 8.8.15_GA_4059 POP3 server ready",
    "james": "+OK <1.2@mail.example> POP3 server (JAMES POP3 Server) ready ",
    "stalwart": "+OK Stalwart POP3 at your service.",
    "wildduck": "+OK wildduck ready for requests from 127.0.0.1 egiy4k2x",
    "domino": "+OK HCL Notes POP3 server version Release 11.0.1 ready on srv/org.",
    "groupwise": "+OK GroupWise POP3 server ready",
    "netmail": "+OK mail.example NetMail POP3 Agent $Revision: 3.0.1 $",
    "mailutils": "+OK POP3 Ready <18.1732956000@localhost>",
    "solid": "+OK Solid POP3 server ready <1.2@mail.example>",
    "tcllib": "+OK localhost tcllib/pop3d-1.1.0 ready <1.2@localhost>",
    "perdition": "+OK POP3 perditon ready on 127.0.0.1 0002c319",
    "nginx": "+OK POP3 ready",
    "davmail": "+OK DavMail 6.0.1-3390 POP ready at Mon Nov 30 09:00:00 UTC 2026",
    "popfile": "+OK POP3 POPFile (v1.1.3) server ready",
    "avast": "+OK avast! POP3 proxy ready.",
    "avg": "+OK AVG POP3 Proxy Server 9.0.716/9.0.716",
}
#: GREETINGS whose product has another name.
OF = {
    "exchange-2007": "exchange-2003",
    "qq-old": "qq",
    "dovecot-directadmin": "dovecot",
    "avast": "scanner",
    "avg": "scanner",
}
_SHORT = {
    "<user>": (("C", "USER ann@mail.example"), ("S", "+OK")),
    "<login>": (("C", "USER ann@mail.example"), ("S", "+OK"), ("C", "PASS secret"), ("S", "+OK")),
}


@dataclass
class Case:
    """One case as it stands in the file."""

    rule: str
    product: str
    sure: str
    causes: list[str]
    moves: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.rule}: {' / '.join(text for _, text in self.moves)}"


def cases() -> list[Case]:
    found: list[Case] = []
    for row in (ROOT / "tests" / "doctor.txt").read_text("utf-8").split("\n"):
        if row.startswith("# "):
            head, _, causes = row[2:].partition(":")
            rule, _, said = head.partition(" = ")
            product, _, sure = said.partition(" ")
            found.append(Case(rule, product, sure, [cause.strip() for cause in causes.split(",") if cause.strip()]))
        elif row:
            found[-1].moves += moves(row)
    return found


def moves(row: str) -> Iterator[tuple[str, str]]:
    """The moves of one row."""
    kind, text = row[:1], row[3:] if row[1:3] == ": " else row[2:]
    if kind == "C":
        sent, _, reply = text.partition("  S: ")
        if sent in _SHORT:
            yield from _SHORT[sent]
            return
        yield "C", sent
        if reply:
            yield "S", reply
    elif kind == "S" and text.startswith("<") and text.endswith(">") and text[1:-1] in GREETINGS:
        yield "S", GREETINGS[text[1:-1]]
    else:
        assert kind in "S=", row
        yield kind, text


def octets(text: str) -> bytes:
    """A line as it goes over the wire."""
    escapes = {"t": b"\t", "n": b"\n", "\\": b"\\"}
    pieces = re.split(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|[tn\\])", text)
    out = pieces[0].encode()
    for escape, plain in zip(pieces[1::2], pieces[2::2], strict=True):
        code = escape[1:]
        out += escapes.get(escape) or (bytes.fromhex(code) if escape[0] == "x" else chr(int(code, 16)).encode())
        out += plain.encode()
    return out


def watched(script: list[tuple[str, str]]) -> tuple[list[Exchange], Facts]:
    """What a Connection makes of the moves."""
    host = next((text[5:] for kind, text in script if kind == "=" and text.startswith("host ")), "")
    tls = ("=", "tls") in script
    connection, out, now = Connection(tls=tls), [], 0.0
    for kind, text in script:
        if kind == "C":
            out += connection.sent(octets(text) + CRLF, now)
        elif kind == "S":
            out += connection.received(octets(text) + CRLF, now)
        elif text == "close":
            out += connection.close(now)
        elif text.startswith("wait "):
            now += float(text[5:])
    closed = connection.state is State.CLOSED and bool(out)
    return [one for one in out if isinstance(one, Exchange)], Facts(host, closed=closed and ("=", "close") in script)
