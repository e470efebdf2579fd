"""`popshell explain`: real logs of many tools against their true verdicts, forms, masking, and input of any sort."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logforms import FORMS, SCENES
from support import ROOT, each

from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.logs import reader, text
from popshell.logs.formats import all_formats, faults, framed, said
from popshell.logs.report import explain_log
from popshell.logs.text import Line

LOGS = ROOT / "tests" / "logs"
VERDICTS = tomllib.loads((LOGS / "verdicts.toml").read_text("utf-8"))
CATALOG = Catalog((bundled(),))
#: The passwords of the logs and what tools make of them.
CANARIES = ("hunter2-canary", "aHVudGVyMi1jYW5hcnk", "AGxlYXJuZXIAaHVudGVyMi1jYW5hcnk", "AGxlYXJuZXIAc2VjcmV0")
HEX_CANARY = b"hunter2-canary".hex()


@functools.lru_cache(maxsize=250)  # more than there are logs
def explained(data: bytes, name: str = "") -> dict[str, object]:
    shown, code = explain_log(data, CATALOG, "en", name, as_json=True)
    found = json.loads(shown)
    assert isinstance(found, dict)
    found["exit"] = code
    return found


def verdict(found: dict[str, object]) -> dict[str, object]:
    """What verdicts.toml says of a log."""
    connections = found["sessions"]
    assert isinstance(connections, list)
    faults = [one["first_fault"] for one in connections if one["first_fault"]]
    out: dict[str, object] = {
        "form": found["format"],
        "states": [" ".join(one["states"]) for one in connections],
        "erased": sorted({number for one in connections for number in one["erased"]}),
    }
    return out | ({"line": faults[0]["line"], "code": faults[0]["code"]} if faults else {})


def expected(name: str) -> dict[str, object]:
    row = {key: value for key, value in VERDICTS[name].items() if key != "secret"}
    return {"erased": [], **row}


def test_each_log_has_its_verdict() -> None:
    assert sorted(path.stem for path in LOGS.glob("*.log")) == sorted(VERDICTS)
    wrong = {}
    for name in VERDICTS:
        found = explained((LOGS / f"{name}.log").read_bytes())
        got = verdict(found)
        if got != expected(name) or found["exit"] != ("code" in VERDICTS[name]):
            wrong[name] = (got, found["exit"])
    assert wrong == {}


def test_each_line_of_a_message_is_the_servers() -> None:
    """The text of message 2 looks like protocol in many ways."""
    trap = re.compile(r"S: \+OK 2 messages|S: -ERR no such message|< \+OK bye|\+OK this is text|-ERR so is this")
    wrong = []
    for name, row in VERDICTS.items():
        for one in explained((LOGS / f"{name}.log").read_bytes())["sessions"]:  # type: ignore[attr-defined]
            sent = [event["text"] for event in one["events"] if event["from"] == "client"]
            wrong += [(name, text) for text in sent if trap.search(text)]
            if [text.strip().upper() for text in sent].count("QUIT") > 1:
                wrong.append((name, "QUIT twice"))
            if row.get("code") == "cut-off" and "QUIT" in sent:
                wrong.append((name, "QUIT"))
    assert wrong == []


def test_forms_have_samples() -> None:
    wrong = []
    for form in all_formats():
        first = [form.match(sample) for sample in form.samples]
        used = {found[1].re.pattern for found in first if found}
        wrong += [(form.name, kind, pattern) for kind, pattern in form.rules if pattern not in used]
        wrong += [
            (form.name, "no rule", sample) for sample, found in zip(form.samples, first, strict=True) if not found
        ]
        if not form.samples or not form.title:
            wrong.append((form.name, "no sample", ""))
    assert wrong == []
    assert len({form.name for form in all_formats()}) == len(all_formats())


def test_of_a_frame_what_tcp_carried_is_read() -> None:
    """Without what Ethernet adds to a short one; Linux's capture of any interface has a longer head."""
    ip = bytes.fromhex("4500002e 00004000 40060000 7f000001 7f000002 006e1000 00000001 00000001 50190040 00000000")

    def check(frame: bytes, whole: bool) -> None:
        rows = [f"{at:04x}  {frame[at:][:16].hex(' ')}   ...." for at in range(0, len(frame), 16)]
        found = [line[:2] for line in framed([Line(number, row, False) for number, row in enumerate(rows, 7)])]
        assert found == whole * [(7, "7f000001:110 > 7f000002:4096 F 6"), (10, "0000  2b 4f 4b 20 31 0d  ")]

    each(
        [
            (bytes(12) + b"\x08\0" + ip + b"+OK 1\r" + bytes(6), True),
            (bytes(14) + b"\x08\0" + ip + b"+OK 1\r", True),
            (bytes(14) + ip + b"+OK 1\r", False),
            (bytes(12) + b"\x08\0" + ip.replace(b"\x40\x06", b"\x40\x11") + b"+OK 1\r", False),
            (b"\x08\0E", False),
            (b"+OK 1\r", False),
        ],
        check,
    )


def test_what_tools_say_names_faults_that_there_are() -> None:
    assert {code for code, _ in said()} <= {*faults(), "never"}
    for language in LANGUAGES:
        words = CATALOG.words(language)
        for code, causes in ((code, row["causes"]) for code, row in faults().items()):
            assert words.get(f"log-fault.{code}"), (language, code)
            for cause in causes:
                assert words.get(f"log-cause.{cause}"), (language, cause)


def test_the_page_names_every_form_and_fault() -> None:
    page = (ROOT / "docs" / "reference-logs.md").read_text("utf-8")
    assert [form.name for form in all_formats() if f"| `{form.name}` | {form.title} |" not in page] == []
    for code, causes in ((code, row["causes"]) for code, row in faults().items()):
        assert re.search(
            rf"^\| `{code}` \|.*\| {', '.join(f'`{cause}`' for cause in causes)} \|$", page, re.MULTILINE
        ), code


def test_a_session_is_the_same_in_every_form() -> None:
    wrong = []
    for form, write in FORMS.items():
        for scene, (turns, states, code) in SCENES.items():
            got = verdict(explained(write(turns).encode("latin-1")))
            if (got["form"], got["states"], got.get("code", "")) != (form.split()[0], [" ".join(states)], code):
                wrong.append((form, scene, got))
    assert wrong == []


def test_sessions_in_one_file_are_kept_apart() -> None:
    """One after the other without QUIT, or line by line: marks that name a connection tell them apart."""

    def tshark(host: str, reply: str) -> list[str]:
        turns = ["S: +OK hi", "C: USER mei", "S: +OK", "C: PASS hunter2-canary", f"S: {reply}"]
        way = {"S": f"{host} → 127.0.0.1", "C": f"127.0.0.1 → {host}"}
        return [f"    1   0.0{at}  {way[turn[0]]}  POP 80 {turn}\n" for at, turn in enumerate(turns)]

    def perl(address: str, reply: str) -> list[str]:
        turns = ["<<< +OK hi", ">>> USER mei", "<<< +OK", ">>> PASS ....", f"<<< {reply}"]
        return [f"Net::POP3=GLOB({address}){turn}\n" for turn in turns]

    for first, second in (
        (tshark("127.0.0.7", "+OK in"), tshark("127.0.0.8", "-ERR [IN-USE] no")),
        (perl("0x5f", "+OK in"), perl("0x6f", "-ERR [IN-USE] no")),
    ):
        mixed = [row for pair in zip(first, second, strict=True) for row in pair]
        for rows, line in ((mixed, 10), (first + second, 10), (second + first, 5)):
            found = explained("".join(rows).encode())["sessions"]
            got = {" ".join(one["states"]): one["first_fault"] for one in found}  # type: ignore[attr-defined]
            assert got.pop("AUTHORIZATION TRANSACTION", "none") is None
            assert [(fault["line"], fault["code"]) for fault in got.values()] == [(line, "in-use")]


def test_of_an_end_alone_nothing_is_said() -> None:
    """A capture that begins where the server closes does not show that it was silent."""
    whole = (LOGS / "tcpdump-A-closegreet.log").read_bytes()
    end = re.sub(rb"(?s).*?(?=[\d:.]+ IP \S+pop3 > \S+ Flags \[F)", b"", whole, count=1)
    assert 0 < len(end) < len(whole)
    assert [verdict(explained(data)).get("code") for data in (whole, end)] == ["no-greeting", None]


def variations(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The same log as it comes out of editors, mails and collectors of logs."""
    rows = data.rstrip(b"\n").split(b"\n")
    text = data.decode("utf-8", "replace")
    yield "CR LF", re.sub(rb"\r*\n", b"\r\n", data)
    yield "LF", re.sub(rb"\r+\n", b"\n", data)
    yield "BOM", b"\xef\xbb\xbf" + data
    yield "UTF-16", b"\xff\xfe" + text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-16-le")
    yield "colours", b"".join(b"\x1b[32m" + row + b"\x1b[0m\n" for row in rows)
    yield "indented", b"".join(b"    " + row + b"\n" for row in rows)
    yield "quoted", b"".join(b"> " + row + b"\n" for row in rows)
    yield "times", b"".join(b"[07:44:03] " + row + b"\n" for row in rows)
    yield "syslog", b"".join(b"Nov 30 07:44:03 host prog[12]: " + row + b"\n" for row in rows)
    yield "container", b"".join(b"mail-1  | " + row + b"\n" for row in rows)
    yield "numbered", b"".join(b"%6d\t%s\n" % numbered for numbered in enumerate(rows, 1))
    # What stands around it is no part of it: each line is one further down.
    yield "fenced", b"```text\n" + b"\n".join(rows) + b"\n```\n\nWhat is wrong?\n"


def test_a_log_is_recognised_however_it_was_copied() -> None:
    wrong = []
    for name in VERDICTS:
        every = list(variations((LOGS / f"{name}.log").read_bytes()))
        # A third for each log, by its name: each variation meets thirty of them.
        for what, data in every[crc32(name.encode()) % 3 :: 3]:
            if what in ("times", "syslog") and name.startswith("popshell-save"):
                continue  # with a time in front, C: and S: are MailKit's
            got = verdict(explained(data))
            if what == "fenced" and isinstance(line := got.get("line"), int):
                got["line"] = line - 1
            if got != expected(name):
                wrong.append((name, what, got))
    assert wrong == []


def test_a_quoted_log_may_have_text_around_it() -> None:
    log = (LOGS / "netpop3-greeterr.log").read_bytes()
    quoted = b"Mei wrote:\n" + b"".join(b"> " + row + b"\n" for row in log.splitlines()) + b"\nNo idea.\n"
    got = verdict(explained(quoted))
    assert (got["form"], got["line"], got["code"]) == ("net-pop3", 8, "greeting-refused")


def test_a_progress_meter_in_a_quoted_log_is_no_end_of_the_quote() -> None:
    quoted = dict(variations((LOGS / "curl-meter-good.log").read_bytes()))["quoted"]
    assert verdict(explained(quoted)) == expected("curl-meter-good")


def leaks(text: str) -> list[str]:
    bare = text.replace(" ", "")
    return [canary for canary in CANARIES if canary in text] + ([HEX_CANARY] if HEX_CANARY in bare else [])


def test_no_secret_comes_out() -> None:
    inputs = [(name, (LOGS / f"{name}.log").read_bytes()) for name in VERDICTS]
    inputs += [
        (f"{form} {scene}", FORMS[form](SCENES[scene][0]).encode("latin-1")) for form in FORMS for scene in SCENES
    ]
    inputs += [
        (name, data.encode())
        for name, data in {
            "typed at once": "+OK hi\nUSER mei\nPASS hunter2-canary\n",
            "one letter wrong": "+OK hi\nUSER mei\n+OK\nPAS hunter2-canary\n-ERR what\n",
            "the client alone": "1796023722.270001 AUTH LOGIN\r\n1796023722.270003 bWVp\r\n"
            "1796023722.270004 aHVudGVyMi1jYW5hcnk=\r\n1796023722.27 aHVudGVyMi1jYW5hcnk=\r\n",
            "a command line": "$ curl -v -u mei:hunter2-canary pop3://a/\n* Connected to a\n< +OK\n> CAPA\n",
            "an address": "* Connected to a\n< +OK\n* URL pop3://mei:hunter2-canary@a/\n",
            "another tool's settings": "S: +OK\ns-nail: Credentials: host a, user mei, pass hunter2-canary\nC: STAT\n",
            "settings": "using account default from x\npassword = hunter2-canary\n<-- +OK\n",
            "echoed": "S: +OK\nC: USER mei\nS: +OK\nC: PASS hunter2-canary\nS: -ERR no hunter2-canary here\n",
            "token": "C: AUTH XOAUTH2 dXNlcj1tZWkBYXV0aD1CZWFyZXIgaHVudGVyMi1jYW5hcnkBAQ==\nS: +OK\n",
            "a source line": "*put* b'USER mei'\n*get* b'-ERR\\r\\n'\nTraceback (most recent call last):\n"
            '    M.user("mei"); M.pass_("hunter2-canary")\n',
            "AUTH LOGIN": "S: +OK\nC: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: bWVp\nS: + UGFzcw==\nC: aHVudGVyMi1jYW5hcnk=\n",
        }.items()
    ]
    wrong = []
    for at, (name, data) in enumerate(inputs):
        for as_json in (False, True):  # what is masked is the same in each language: they take turns
            shown, _ = explain_log(data, CATALOG, tuple(LANGUAGES)[(at + as_json) % 2], as_json=as_json)
            wrong += [(name, as_json, canary) for canary in leaks(shown)]
            if "dXNlcj1tZWkB" in shown:
                wrong.append((name, as_json, "token"))
    assert wrong == []
    digests = [name for name, row in VERDICTS.items() if "digest" in row["secret"]]
    for name in digests:
        found = explained((LOGS / f"{name}.log").read_bytes())
        events = [event for one in found["sessions"] for event in one["events"]]  # type: ignore[attr-defined]
        sent = [event["text"] for event in events if event["from"] == "client"]
        assert not re.search(r"[0-9a-f]{32}|[A-Za-z0-9+/]{30,}=*$", "\n".join(sent), re.MULTILINE), name


def test_our_own_words_are_no_secret() -> None:
    """`Trying PASS again` has the form of a password on its line."""
    log = b"S: +OK\nC: USER mei\nS: +OK\nC: PASS hunter2-canary\nS: -ERR [SYS/PERM] no hunter2-canary\n"
    shown, _ = explain_log(log, CATALOG, "en", as_json=False)
    assert "Trying PASS again" in shown
    assert leaks(shown) == []


UNKNOWN = {
    "nothing": b"",
    "prose": b"Dear all, please use telnet to connect.\nQUIT is a word. STAT too.\nRegards\n",
    "octets": bytes(range(256)) * 40,
    "a table": b"id,name\n1,mei\n2,ben\n",
    "SMTP without marks": b"220 mx ESMTP\nEHLO x\n250 ok\nQUIT\n221 bye\n",
}


def test_what_is_no_log_is_said_to_be_none() -> None:
    wrong = {}
    for name, data in UNKNOWN.items():
        found = explained(data)
        if (found["format"], found["sessions"], found["exit"]) != (None, [], 2):
            wrong[name] = found
        shown, code = explain_log(data, CATALOG, "zh-Hant")
        assert code == 2
        assert "--format" in shown
    assert wrong == {}


def test_a_direction_that_is_inferred_is_marked() -> None:
    found = explained((LOGS / "telnet-good.log").read_bytes())
    events = [event for event in found["sessions"][0]["events"] if event["from"] in ("client", "server")]  # type: ignore[index]
    assert events
    assert all(event.get("inferred") for event in events)
    shown, _ = explain_log((LOGS / "telnet-good.log").read_bytes(), CATALOG, "en")
    assert "no marks" in shown
    found = explained((LOGS / "mpop-good.log").read_bytes())
    assert not any(event.get("inferred") for event in found["sessions"][0]["events"])  # type: ignore[index]


def test_a_reply_to_quit_that_is_not_in_the_log_is_not_claimed() -> None:
    for name, said_of_it in (("poplib1-good", "If QUIT was answered +OK"), ("mpop-good", "QUIT was answered +OK:")):
        shown, _ = explain_log((LOGS / f"{name}.log").read_bytes(), CATALOG, "en")
        assert f"\n{said_of_it}" in shown, name


def test_what_the_log_does_not_have_is_neither_counted_nor_called_the_greeting() -> None:
    for name, absent, present in (
        ("popshell-save-file", "octets in", "8443"),
        ("rfc-good", "octets in", "120 octets"),
        ("getmail-cut", "greeting", "reply to RETR was whole"),
        ("tshark-V-cut", "greeting: 508", "The reply to RETR broke off: 508"),
    ):
        shown, _ = explain_log((LOGS / f"{name}.log").read_bytes(), CATALOG, "en")
        assert (absent in shown, present in shown) == (False, True), name


def test_a_line_whose_sender_cannot_be_told_is_unknown() -> None:
    found = explained(b"Trying 1.1.1.1...\nConnected to a.\n+OK hi\nUSER mei\nwhat is this line\n+OK\nQUIT\n+OK bye\n")
    assert [event["from"] for event in found["sessions"][0]["events"]][4] == "unknown"  # type: ignore[index]


def test_each_line_of_a_rawlog_is_shown_once_where_it_stands() -> None:
    both = FORMS["dovecot-rawlog"](SCENES["good"][0]).encode()
    for data in (both, *((LOGS / f"dovecot-rawlog-good-{way}.log").read_bytes() for way in ("in", "out"))):
        rows = data.splitlines(keepends=True)
        (session,) = explained(b"".join([*rows[:2], b"of the tool\n", *rows[2:]]))["sessions"]  # type: ignore[misc]
        assert [event["line"] for event in session["events"]] == [*range(1, len(rows) + 2)]
        assert session["events"][2] == {"line": 3, "from": "tool", "text": "of the tool"}
    # What was sent without waiting for the greeting is found among lines of the tool, too.
    rows = ("LIST", "tool", "+OK hi", "+OK", "1 9", ".", "QUIT", "+OK")
    early = "".join("of the tool\n" if row == "tool" else f"1796023722.000000 {row}\n" for row in rows)
    (session,) = explained(early.encode())["sessions"]  # type: ignore[misc]
    assert [event["line"] for event in session["events"] if event.get("command") == "LIST"] == [4]


FAULTY = {
    "no greeting": (
        "Trying 1.1.1.1...\nConnected to a.\nUSER mei\nConnection closed by foreign host.\n",
        4,
        "no-greeting",
    ),
    "closed after PASS": (
        "Connected to a.\n+OK\nUSER a\n+OK\nPASS b\nConnection closed by foreign host.\n",
        6,
        "no-reply",
    ),
    "closed while nothing was due": (
        "Connected to a.\n+OK\nUSER a\n+OK\nPASS b\n+OK\nSTAT\n+OK 1 2\nConnection closed by foreign host.\n",
        9,
        "closed",
    ),
    "closed after the greeting": ("Connected to a.\n+OK\nConnection closed by foreign host.\n", 3, "closed"),
    "IMAP": ("Trying 1.1.1.1...\nConnected to a.\n* OK IMAP4rev1 ready\n", 3, "not-pop3"),
    "nothing listens": (
        "Trying 1.1.1.1...\ntelnet: Unable to connect to remote host: Connection refused\n",
        2,
        "connect-refused",
    ),
    "a dot that was not doubled": (
        "Connected to a.\n+OK\nUSER a\n+OK\nPASS b\n+OK\nRETR 1\n+OK 99 octets\nhello\n.\nmore of it\n+OK text\n.\n",
        11,
        "dots-not-doubled",
    ),
    "no such message": (
        "S: +OK\nC: USER a\nS: +OK\nC: PASS b\nS: +OK\nC: STAT\nS: +OK 1 9\nC: RETR 7\nS: -ERR no\n",
        9,
        "no-such-message",
    ),
    "no TLS": ("S: +OK\nC: USER a\nS: -ERR use TLS first\n", 3, "tls-required"),
    "SMTP with marks": ("S: 220 mx ESMTP\nC: CAPA\nS: 502 no\n", 1, "not-pop3"),
    "no end, and then typed": (
        "Connected to a.\n+OK\nUSER a\n+OK\nPASS b\n+OK\nRETR 1\n+OK 7 octets\nhello\nNOOP\nQUIT\n",
        9,
        "no-terminator",
    ),
    "nothing asked": ("S: +OK\nS: +OK again\n", 2, "unasked"),
    "two times": ("C: NOOP\nS: +OK\nS: +OK\n", 3, "unasked"),
}


def test_faults_are_found_at_their_lines() -> None:
    wrong = {}
    for name, (log, line, code) in FAULTY.items():
        got = verdict(explained(log.encode()))
        if (got.get("line"), got.get("code")) != (line, code):
            wrong[name] = got
    assert wrong == {}


FAULTLESS = {
    "within a reply": ("S: UIDL\nS: .\nC: USER a\nS: +OK\nC: QUIT\nS: +OK\n", ["AUTHORIZATION"]),
    "within a reply, without marks": (
        "Trying 1.1.1.1...\n2 508\n.\nNOOP\n+OK\nQUIT\n+OK bye\n",
        ["AUTHORIZATION TRANSACTION UPDATE"],
    ),
    "what Dovecot sent": (
        "1796023722.1 +OK ready\r\n1796023722.1 +OK\r\n1796023722.1 TOP\r\n1796023722.1 .\r\n1796023722.1 + \r\n"
        "1796023722.1 +OK Logged in.\r\n1796023722.1 +OK Logging out.\r\n".replace(".1 ", ".100000 "),
        ["AUTHORIZATION TRANSACTION UPDATE"],
    ),
    "a tool that hides replies, twice": ("*cmd* 'NOOP'\n*cmd* 'QUIT'\n" * 2, ["AUTHORIZATION TRANSACTION UPDATE"] * 2),
    "a length of many digits": (
        "S: +OK\nC: QUIT\nS: +OK\n> 2026/11/30 07:24:01.1 length=" + "9" * 5000,
        ["AUTHORIZATION"],
    ),
}


def test_where_a_log_begins_is_no_fault() -> None:
    wrong = {}
    for name, (log, states) in FAULTLESS.items():
        got = verdict(explained(log.encode()))
        if (got.get("code"), got["states"]) != (None, states):
            wrong[name] = got
    assert wrong == {}


def test_a_command_that_the_log_does_not_have_is_not_named() -> None:
    data = (LOGS / "phpmailer-level1-auth.log").read_bytes()
    one = explained(data)["sessions"][0]  # type: ignore[index]
    assert "NOOP" not in json.dumps(one)
    assert "not in the log" in one["first_fault"]["text"]


def test_a_form_can_be_named() -> None:
    data = b'-> "+OK\\r\\n"\n<- "QUIT\\r\\n"\n-> "+OK\\r\\n"\n'
    assert explained(data)["format"] == explained(data, "ruby")["format"] == "ruby"
    telnet = (LOGS / "telnet-good.log").read_bytes()
    assert [explained(telnet, name)["format"] for name in ("", "nc")] == ["telnet", "nc"]
    assert (explained(data, "rfc")["format"], explained(data, "rfc")["exit"]) == (None, 2)  # no line has it
    with pytest.raises(KeyError):
        explained(data, "nothing")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=4000))
def test_any_octets_have_an_answer(data: bytes) -> None:
    for as_json in (False, True):
        shown, code = explain_log(data, CATALOG, "en", as_json=as_json)
        assert code in (0, 1, 2)
        assert all(ch in "\n\t" or ch.isprintable() for ch in shown)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_pieces_of_logs_have_an_answer(data: st.DataObject) -> None:
    names = st.sampled_from(sorted(VERDICTS))
    pieces = []
    for _ in range(data.draw(st.integers(1, 3))):
        log = (LOGS / f"{data.draw(names)}.log").read_bytes()
        start = data.draw(st.integers(0, len(log)))
        pieces.append(log[start : data.draw(st.integers(start, len(log)))])
    form = data.draw(st.sampled_from(["", *(form.name for form in all_formats())]))
    whole = b"".join(pieces)
    found = explained(whole, form)
    assert found["exit"] in (0, 1, 2)
    count = whole.count(b"\n") + 1
    for one in found["sessions"]:  # type: ignore[attr-defined]
        assert all(1 <= event["line"] <= count for event in one["events"])
        assert one["first_fault"] is None or 1 <= one["first_fault"]["line"] <= count


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader, text):
        monkeypatch.setattr(module, "MOST_LINES", 50)
        monkeypatch.setattr(module, "LONGEST_LOG", 600)
    for data, lines in ((b"S: +OK\n" * 70, 50), (b"S: +OK " + b"x" * 700, 1)):
        found = explained(data)
        assert found["cut"] is True
        assert len(found["sessions"][0]["events"]) == lines  # type: ignore[index]
    said_of_it, _ = explain_log(b"S: +OK\n" * 70, CATALOG, "en")
    assert "50 lines" in said_of_it


def run(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "popshell", "explain", *arguments], input=data, capture_output=True)


def test_the_command() -> None:
    log = LOGS / "fetchmail-auth.log"
    done = run(str(log))
    assert done.returncode == 1
    assert b"line 14" in done.stdout
    piped = run("-", "--json", data=log.read_bytes())
    assert piped.returncode == 1
    assert json.loads(piped.stdout)["sessions"][0]["first_fault"]["line"] == 14
    assert run(str(LOGS / "fetchmail-good.log")).returncode == 0
    assert run("-", data=b"nothing of it\n").returncode == 2
    for arguments, word in (
        (("--format", "nonesuch", str(log)), b"thunderbird"),
        ((str(LOGS / "missing.log"),), b"missing.log"),
        ((), b"FILE"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert word in done.stderr
        assert b"Traceback" not in done.stderr
