"""The same POP3 session written as the logs of several tools: what tests/test_logs.py reads beside the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Turn = tuple[str, bytes]

MESSAGE = (
    b"From: Ben <ben@example.net>\r\nSubject: dots\r\n\r\nC: RETR 1\r\nS: -ERR no such message\r\n> QUIT\r\n"
    b"< +OK bye\r\n"
    b"..hidden\r\n..\r\n+OK this is text\r\nQUIT\r\n\r\nBen\r\n.\r\n"
)
CAPA = b"+OK capabilities\r\nTOP\r\nUIDL\r\nSTLS\r\nSASL PLAIN LOGIN\r\n.\r\n"


def dialogue(text: str) -> list[Turn]:
    """`C:` and `S:` lines as turns; `{message}` and `{capa}` stand for whole replies."""
    turns: list[Turn] = []
    for row in text.strip().splitlines():
        side, _, line = row.strip().partition(": ")
        data = line.encode() + b"\r\n"
        data = (
            data.replace(b"{blank}", b" ")
            .replace(b"{capa}\r\n", CAPA)
            .replace(b"{message}\r\n", b"+OK 203 octets\r\n" + MESSAGE)
        )
        data = data.replace(b"{part}\r\n", b"+OK 203 octets\r\n" + MESSAGE[:110])
        turns.append((side, data))
    return turns


SCENES: dict[str, tuple[list[Turn], list[str], str]] = {
    "good": (
        dialogue(
            """S: +OK ready
            C: CAPA
            S: {capa}
            C: USER mei
            S: +OK
            C: PASS hunter2-canary
            S: +OK in
            C: STAT
            S: +OK 1 203
            C: RETR 1
            S: {message}
            C: DELE 1
            S: +OK marked
            C: QUIT
            S: +OK bye"""
        ),
        ["AUTHORIZATION", "TRANSACTION", "UPDATE"],
        "",
    ),
    "login": (
        dialogue(
            """S: +OK ready
            C: USER mei
            S: +OK
            C: PASS hunter2-canary
            S: -ERR [AUTH] no
            C: QUIT
            S: +OK bye"""
        ),
        ["AUTHORIZATION"],
        "login-refused",
    ),
    "in-use": (
        dialogue(
            """S: +OK ready
            C: USER mei
            S: +OK
            C: PASS hunter2-canary
            S: -ERR [IN-USE] locked"""
        ),
        ["AUTHORIZATION"],
        "in-use",
    ),
    "stls": (
        dialogue(
            """S: +OK ready
            C: CAPA
            S: {capa}
            C: STLS
            S: -ERR not today
            C: QUIT
            S: +OK bye"""
        ),
        ["AUTHORIZATION"],
        "stls-refused",
    ),
    "greeting": ([("S", b"-ERR [SYS/TEMP] too many connections\r\n")], [], "greeting-refused"),
    "sasl": (
        dialogue(
            """S: +OK ready
            C: AUTH PLAIN
            S: +{blank}
            C: AG1laQBodW50ZXIyLWNhbmFyeQ==
            S: +OK in
            C: NOOP
            S: +OK
            C: QUIT
            S: +OK bye"""
        ),
        ["AUTHORIZATION", "TRANSACTION", "UPDATE"],
        "",
    ),
    "cut": (
        dialogue(
            """S: +OK ready
            C: USER mei
            S: +OK
            C: PASS hunter2-canary
            S: +OK in
            C: RETR 1
            S: {part}"""
        ),
        ["AUTHORIZATION", "TRANSACTION"],
        "cut-off",
    ),
}


def lines(turns: list[Turn]) -> Iterator[tuple[str, str]]:
    """Each line with its side."""
    for side, data in turns:
        rows = data.decode("latin-1").split("\r\n")
        yield from ((side, row) for row in (rows[:-1] if not rows[-1] else rows))


def marked(sent: str, received: str, end: str = "\n") -> Callable[[list[Turn]], str]:
    """A form that has a mark in front of each line."""
    return lambda turns: "".join((sent if side == "C" else received) + line + end for side, line in lines(turns))


def literals(sent: str, received: str) -> Callable[[list[Turn]], str]:
    """A form with string literals: `{}` stands for one, quotes and all."""

    def make(turns: list[Turn]) -> str:
        out = []
        for side, data in turns:
            text = data.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
            out.append(
                (sent if side == "C" else received).format('"' + text.replace("\n", "\\n") + '"', len(data)) + "\n"
            )
        return "".join(out)

    return make


def _hex(data: bytes, row: Callable[[int, bytes], str]) -> str:
    return "".join(row(at, data[at : at + 16]) for at in range(0, len(data), 16))


def _ascii(data: bytes) -> str:
    return "".join(chr(octet) if 32 <= octet < 127 else "." for octet in data)


def socat(turns: list[Turn]) -> str:
    out = []
    for side, data in turns:
        mark = ">" if side == "C" else "<"
        out.append(f"{mark} 2026/11/30 07:24:01.000123456  length={len(data)} from=0 to={len(data) - 1}\n")
        out.append(data.decode("latin-1").replace("\r", "\\r"))
    return "".join(out)


def socat_x(turns: list[Turn]) -> str:
    out = []
    for side, data in turns:
        mark = ">" if side == "C" else "<"
        out.append(f"{mark} 2026/11/30 07:24:01.000123456  length={len(data)} from=0 to={len(data) - 1}\n")
        out.append(_hex(data, lambda at, part: "".join(f" {octet:02x}" for octet in part) + "\n"))
        out.append("--\n")
    return "".join(out)


def tcpdump_x(turns: list[Turn]) -> str:
    out = []
    for side, data in turns:
        ends = ("10.0.0.2.40001", "10.0.0.9.110")
        source, target = ends if side == "C" else ends[::-1]
        out.append(f"07:32:17.774106 IP {source} > {target}: Flags [P.], seq 1:2, ack 1, win 64, length {len(data)}\n")
        packet = bytes(40) + data

        def row(at: int, part: bytes) -> str:
            pairs = " ".join(part[i : i + 2].hex() for i in range(0, len(part), 2))
            return f"\t0x{at:04x}:  {pairs:<39}  {_ascii(part)}\n"

        out.append(_hex(packet, row))
    return "".join(out)


def follow(turns: list[Turn]) -> str:
    out = [
        "\n" + "=" * 67 + "\nFollow: tcp,ascii\nFilter: tcp.stream eq 0\nNode 0: 10.0.0.2:40001\nNode 1: 10.0.0.9:110\n"
    ]
    for side, data in turns:
        out.append(("" if side == "C" else "\t") + f"{len(data)}\n" + data.decode("latin-1") + "\n")
    return "".join(out) + "=" * 67 + "\n"


def follow_hex(turns: list[Turn]) -> str:
    out = [
        "\n" + "=" * 67 + "\nFollow: tcp,hex\nFilter: tcp.stream eq 0\nNode 0: 10.0.0.2:40001\nNode 1: 10.0.0.9:110\n"
    ]
    for side, data in turns:

        def row(at: int, part: bytes, side: str = side) -> str:
            digits = part[:8].hex(" ") + ("  " + part[8:].hex(" ") if len(part) > 8 else "")
            return ("" if side == "C" else "\t") + f"{at:08X}  {digits:<49} {_ascii(part)}\n"

        out.append(_hex(data, row))
    return "".join(out) + "=" * 67 + "\n"


def tcpflow_c(turns: list[Turn]) -> str:
    ends = ("010.000.000.002.40001", "010.000.000.009.00110")
    out = []
    for side, data in turns:
        source, target = ends if side == "C" else ends[::-1]
        out.append(f"{source}-{target}: {data.decode('latin-1')}\n")
    return "".join(out)


def curl_hex(turns: list[Turn]) -> str:
    out = ["== Info: Connected to mail.example.org (127.0.0.9) port 110 (#0)\n"]
    for side, data in turns:
        mark = "=> Send header" if side == "C" else "<= Recv header"
        out.append(f"{mark}, {len(data)} bytes (0x{len(data):x})\n")
        out.append(_hex(data, lambda at, part: f"{at:04x}: {part.hex(' ') + ' ':<48}{_ascii(part)}\n"))
    return "".join(out)


def rawlog(turns: list[Turn]) -> str:
    rows = enumerate(lines(turns))
    return "".join(f"1796023722.{number:06d} {line}\r\n" for number, (_, line) in rows)


def fdm(turns: list[Turn]) -> str:
    out = []
    for side, data in turns:
        out.append("acct: fetch loop start\nacct: polling: 2, timeout=6000\n")
        text = data.decode("latin-1")
        out.append(("> " if side == "C" else "< ") + text + ("" if text.endswith("\n") else "\n"))
    return "".join(out) + "acct: connection closed\nacct: fetching error. aborted\n"


def telnet(turns: list[Turn]) -> str:
    begin = "Trying 10.0.0.9...\nConnected to mail.example.org.\nEscape character is '^]'.\n"
    text = marked("", "")(turns)
    return (
        begin
        + (text if turns[-1][1].endswith(b"\n") else text.removesuffix("\n"))
        + "Connection closed by foreign host.\n"
    )


#: form -> how a session is written in it. A form that hides contents is not here.
FORMS: dict[str, Callable[[list[Turn]], str]] = {
    "rfc": marked("C: ", "S: "),
    "mpop": marked("--> ", "<-- ", "\r\n"),
    "mutt": marked("[2026-11-30 07:31:16] 7> ", "[2026-11-30 07:31:16] 7< "),
    "neomutt": marked(
        "[2026-11-30 07:34:00]<5> mutt_socket_write_d() 4> ", "[2026-11-30 07:34:00]<5> mutt_socket_readln_d() 4< "
    ),
    "phpmailer": marked("Client -> Server: ", "Server -> Client: ", "\r\n"),
    "mail-pop3client": marked("POP3 -> ", "POP3 <- ", "\r\n at x.pl line 3.\n"),
    "mailkit": marked("2026-11-30T07:31:16Z C: ", "2026-11-30T07:31:16Z S: ", "\r\n"),
    "thunderbird-91": marked("[1234:Main Thread]: I/POP3 SEND: ", "[1234:Main Thread]: I/POP3 RECV: "),
    "ruby": literals("<- {}", "-> {}"),
    "node": literals("Client: {}", "Server: {}"),
    "strace": literals("write(3, {0}, {1}) = {1}", "read(3, {0}, 8192) = {1}"),
    "socat": socat,
    "socat -x": socat_x,
    "tcpdump-x": tcpdump_x,
    "tshark-follow": follow,
    "tshark-follow hex": follow_hex,
    "tcpflow-c": tcpflow_c,
    "curl-trace": curl_hex,
    "dovecot-rawlog": rawlog,
    "fdm": fdm,
    "telnet": telnet,
    "dialogue": marked("", "", "\r\n"),
}
