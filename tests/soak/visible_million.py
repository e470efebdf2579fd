"""The properties of the filter on many random octet strings: `python tests/soak/visible_million.py [COUNT] [SEED]`.

sec-R2 asks for a million strings, no leak and a view that leads back to the octets. The suite runs the same checks on
a seeded sample (`tests/test_visible.py`). What counts as unsafe is taken from Python's Unicode tables here, not from
the ranges that the filter is made of, so that one can catch the other.
"""

from __future__ import annotations

import random
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator

from popshell.visible import show

KEPT = "\n\t"
#: Default-ignorable without being Cf (Unicode, DerivedCoreProperties.txt): invisible where they are drawn at all.
IGNORABLE = (
    {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9)}
    | set(range(0xE0000, 0xE1000))
    | set(range(0x13439, 0x13440))  # Cf since Unicode 15
)
_UNSEEN, _MARKS = {"Cc", "Cf", "Zl", "Zp", "Cs", "Co"}, {"Mn", "Mc", "Me"}
_CHARACTERS = "".join(map(chr, range(0x110000)))
_KINDS = [
    (character, kind)
    for character, kind in zip(_CHARACTERS, map(unicodedata.category, _CHARACTERS), strict=True)
    if kind in _UNSEEN or kind in _MARKS
]
UNSAFE = (
    frozenset(character for character, kind in _KINDS if kind in _UNSEEN and character not in KEPT)
    | {*map(chr, range(0xFDD0, 0xFDF0))}
    | {chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)}
    | {*map(chr, IGNORABLE)}
)
MARKS = frozenset(character for character, kind in _KINDS if kind in _MARKS)

_PIECES = (
    "\x1b[2J", "\x1b]52;c;QQ==\x07", "\x9b6n", "\\", "\\x1b", "\\\\", "\r", "\n", "\t", "\x00", "\x7f", "\u202e",
    "\u200b", "\ufeff", "\xad", "\u2028", "\u2029", "\ufe0f", "\u0301", "\u20dd", "\u0301" * 9, "\u1161", "\ue000",
    "\U000e0041", "\ufffe", "\U0010ffff", "\u0600", "é", "信", "\U0001f600", "\U00020000", "─", "a", "Z", " ",
    "+OK ", "अ", "ि",
)  # fmt: skip


def samples(count: int, seed: int) -> Iterator[bytes]:
    """Octet strings of three sorts in turn: any octets, any characters, pieces that are likely to hurt."""
    source = random.Random(seed)
    for index in range(count):
        length = source.randrange(24)
        if index % 3 == 0:
            yield source.randbytes(length)
        elif index % 3 == 1:
            codes = [source.randrange(source.choice((0x80, 0x800, 0x10000, 0x110000))) for _ in range(length)]
            yield "".join(map(chr, codes)).encode("utf-8", "surrogatepass")
        else:
            text = "".join(source.choices(_PIECES, k=length)).encode()
            cut = source.randrange(len(text) + 1)
            yield text[cut:] if source.random() < 0.3 else text


_VIEW = re.compile(r"[^\\]+|\\(?:([\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_PLAIN_OCTET = {"\\": b"\\", "t": b"\t", "n": b"\n", "r": b"\r"}


def recover(text: str) -> bytes:
    """The octets that `show` was given, a `str` as UTF-8. Raises ValueError for what `show` never gives."""
    octets = bytearray()
    end = 0
    while end < len(text):
        match = _VIEW.match(text, end)
        if match is None:
            raise ValueError(f"stray backslash at {end}")
        plain, octet, *characters = match.groups()
        if plain:
            octets += _PLAIN_OCTET[plain]
        elif octet:
            octets.append(int(octet, 16))
        else:
            digits = characters[0] or characters[1]
            # "surrogatepass": a str may hold half a pair, and UTF-8 has three octets for it that no decoder takes.
            octets += (chr(int(digits, 16)) if digits else match[0]).encode("utf-8", "surrogatepass")
        end = match.end()
    return bytes(octets)


def check(data: bytes, view: Callable[[bytes], str] = show) -> None:
    """What must be true of the view of any octets."""
    text = view(data)
    assert UNSAFE.isdisjoint(text), f"a leak: {data!r} is shown as {text!a}"
    assert recover(text) == data, f"not the same octets: {data!r} is shown as {text!a}"
    assert MARKS.isdisjoint(line[:1] for line in text.split("\n")), f"a mark begins a line: {text!a}"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1939
    start = time.perf_counter()
    failures = octets = 0
    for data in samples(count, seed):
        octets += len(data)
        try:
            check(data)
        except AssertionError as error:
            failures += 1
            print(error)
    seconds = time.perf_counter() - start
    print(f"{count:,} strings, {octets:,} octets, seed {seed}: {failures} failures, {seconds:.0f} s")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
