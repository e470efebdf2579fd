"""Rows: what stands below the head of a packet or a burst, as octets with the line that each part stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from popshell.logs.text import Line, from_hex, octets, unescaped

#: the line, its text, and what the rule `row` found
Rows = list[tuple[int, str, re.Match[str] | None]]
Pieces = list[tuple[int, bytes]]


def _lines(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    while rows and not rows[-1][1]:
        rows = rows[:-1]
    out = []
    for number, text, _ in rows:
        glued = re.match(r"(.*?)\w{1,20}: fetch loop start$", text)
        out.append((number, octets(glued[1]) if glued else octets(text) + b"\r\n"))
    return out


def _hex(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    """Packets whole: what belongs to POP3 are the last octets."""
    data = [(number, from_hex(text)) for number, text, _ in rows]
    out, skip = [], sum(len(part) for _, part in data) - length
    for number, part in data:
        if length and skip < len(part):
            out.append((number, part[max(skip, 0) :]))
        skip -= len(part)
    return out


def _escaped(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    return [(number, unescaped(text)) for number, text, _ in rows]


def _wrapped(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    """curl's rows: hexadecimal, or text whose line ends were dropped: offsets tell where they were."""
    starts = [int(found["at"], 16) for _, _, found in rows if found] + [length]
    sizes = [after - start for start, after in pairwise(starts)]
    if rows and all(_is_dump(text, size) for (_, text, _), size in zip(rows, sizes, strict=False)):
        return [(number, from_hex(text[: size * 3 - 1])) for (number, text, _), size in zip(rows, sizes, strict=False)]
    out = []
    for (number, text, _), start, after in zip(rows, starts, starts[1:], strict=False):
        data = octets(text)
        out.append((number, data + b"\r\n" if after - start == len(data) + 2 or after <= start else data))
    return out


def _is_dump(text: str, size: int) -> bool:
    """Whether a row shows `size` octets as hexadecimal."""
    return 0 < size <= 16 and re.fullmatch(r"[0-9a-f]{2}(?: [0-9a-f]{2})*", text[: size * 3 - 1]) is not None


def _socat(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    out: list[tuple[int, bytes]] = []
    dump = any(re.fullmatch(r"--|(?: [0-9a-f]{2})+", text) for _, text, _ in rows)
    for number, text, _ in rows:
        if re.match(r"(?: [0-9a-f]{2}){1,16}(?:  |$| [^0-9a-f])", text):
            out.append((number, from_hex(text)))
        elif re.fullmatch(r"(?: [0-9a-f]{2})+", text):  # -x without -v: a packet a row
            out.append((number, bytes.fromhex(text)))
        elif not dump:
            out.append((number, unescaped(text) + b"\n"))
    if out and not dump:  # the last may be without LF
        out[-1] = (out[-1][0], out[-1][1][: length - sum(len(part) for _, part in out[:-1])])
    return out


def _tail(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    """The last octets of a packet whose head is no text; CR is not shown, and LF counts for both."""
    out: list[tuple[int, bytes]] = []
    if not length:
        return out
    if rows and not rows[-1][1]:
        rows = rows[:-1]  # the packet's own LF, and tcpdump's after it
        ends = b"\r\n"
    else:
        ends = b""
    for number, text, _ in reversed(rows):
        data = octets(text) + ends
        if len(data) >= length:
            out.append((number, data[len(data) - length :]))
            break
        out.append((number, data))
        length -= len(data)
        ends = b"\r\n"
    return out[::-1]


def _counted(rows: Rows, length: int) -> list[tuple[int, bytes]]:
    if rows and rows[0][2] is not None:
        return [(number, from_hex(text.lstrip())) for number, text, _ in rows]
    out = []
    for number, text, _ in rows:
        out.append((number, (octets(text) + b"\r\n")[:length]))
        length -= len(out[-1][1])
    return out


def framed(lines: list[Line]) -> Iterator[Line]:
    """The lines of tshark -x, each dump of a TCP packet as a head with its sides, and rows of what TCP carried."""
    packet: list[tuple[int, bytes]] = []
    for line in (*lines, Line(0, "", False)):
        row = re.match(_DUMPED, line.text)
        if packet and (row is None or int(row["at"], 16) == 0):
            yield from _unwrapped(packet)
            packet = []
        if row is not None:
            packet.append((line.number, from_hex(row["text"])))
        elif line.text:
            yield line


_DUMPED = r"(?P<at>[0-9a-f]{4,8})  (?P<text>(?:[0-9a-f]{2} ){1,16}) "


def _unwrapped(packet: list[tuple[int, bytes]]) -> Iterator[Line]:
    """One frame without its heads, which begin with IP's after an EtherType; nothing if it is no TCP."""
    frame = b"".join(data for _, data in packet)

    def number(at: int, size: int = 1) -> int:
        return int.from_bytes(frame[at : at + size])

    if (found := re.match(rb"(?s).{0,20}?(?:\x08\x00(?=[\x45-\x4f])|\x86\xdd(?=[\x60-\x6f]))", frame)) is None:
        return
    ip, six = found.end(), found[0].endswith(b"\xdd")
    tcp, end = (ip + 40, ip + 40 + number(ip + 4, 2)) if six else (ip + number(ip) % 16 * 4, ip + number(ip + 2, 2))
    if number(ip + (6 if six else 9)) != 6:
        return
    names, size = ip + (8 if six else 12), 16 if six else 4
    src, dst = (f"{frame[names + n * size :][:size].hex()}:{number(tcp + 2 * n, 2)}" for n in (0, 1))
    flags = "".join(name for bit, name in enumerate("F.R") if number(tcp + 13) >> bit & 1) or "."
    at = tcp + number(tcp + 12) // 16 * 4
    yield Line(packet[0][0], f"{src} > {dst} {flags} {max(min(end, len(frame)) - at, 0)}", False)
    start = 0
    for line, data in packet:
        part = frame[max(at, start) : min(end, start + len(data))]
        start += len(data)
        if part:
            yield Line(line, f"0000  {part.hex(' ')}  ", False)


#: What a head announced -> octets, each part with its line; `Format.rows` names one.
READERS = {
    "lines": _lines,
    "hex": _hex,
    "escaped": _escaped,
    "wrapped": _wrapped,
    "socat": _socat,
    "tail": _tail,
    "counted": _counted,
}


def by_line(pieces: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Octets with the line that each part stands in, cut at LF; the last may be without."""
    held, start = b"", 0
    for number, data in pieces:
        for part in data.splitlines(keepends=True) if b"\r" not in data else re.findall(rb"[^\n]*\n|[^\n]+", data):
            start = start if held else number
            held += part
            if held.endswith(b"\n"):
                yield start, held
                held = b""
    if held:
        yield start, held
