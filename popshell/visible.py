r"""The one filter: what comes from outside goes in, text that is safe to show comes out (sec-R1, sec-R2).

Theory. Servers, mails, lessons and file names reach a screen, a log or a file as text only through `show`. Nothing is
removed: what a terminal would obey, or would not draw, is written out, so a learner sees what is there and nothing of
it happens. The octets can be recovered from the view, so it hides nothing either (tests/soak/visible_million.py).

| shown as | stands for |
|---|---|
| `\xNN` | one octet: a C0 control, DEL, or an octet that is not UTF-8 |
| `\uNNNN`, `\UNNNNNNNN` | one character: C1, format characters (bidi, zero width, BOM, soft hyphen, tags), ... |
| `\t` `\n` `\r` | these three, where `keep` does not let them through |
| `\\` | a backslash; the only visible character that is doubled, without which the others could be forged |

Written out as characters are: every category Cf, Zl, Zp and Cs; what Unicode calls default-ignorable (variation
selectors, fillers: they are not seen, and they change the width of what stands before them); private use (no common
meaning: fonts draw prompts with it, and one terminal draws pictures); noncharacters and the two ranges that Unicode
keeps for more of the same. The ranges are a literal, so every Python shows the same; a test compares them with the
Unicode tables of the Python it runs on. Unassigned characters pass: they may be new letters.

Combining marks pass where they have a letter to stand on: not at the beginning of a line, where they would alter our
own gutter, and no more than four in a row, because piled marks are drawn over the lines above.

Traps. The view is UTF-8 text for *one* place: code that cuts it and needs the octets again must cut between atoms
(`ATOM`). A lone surrogate of a `str` stands for an octet if it is one of "surrogateescape" (os.fsdecode). After any
decoding (base64, RFC 2047, JSON) the result passes here again (sec-R3). A carriage return is never let through: strip
line ends first.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import LogRecord

#: One piece of a view that must not be cut in two: an escape or a character.
ATOM = r"\\(?:[\\tnr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})|(?s:.)"

_KEEPABLE = "\n\t"
#: Of what is written out, these alone are letters to Unicode; the others are controls and marks.
_BLANK_LETTERS = "\u115f\u3164\uffa0"
_C0 = "".join(map(chr, range(0x20)))
#: Ranges that are written out wherever they stand, beside C0 and the backslash; for a character class.
_WRITTEN_OUT = (
    "\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff"
)
#: Many ranges beyond U+FFFF make a class four times slower: these two hold them all; `_name_of_suspect` looks closer.
_SUSPECT_ASTRAL = "\U000110bd-\U0001d17a\U0001fffe-\U0010ffff"

# Where marks are looked for. Scripts and symbols without any are passed over at once; in what is left, marks are no
# `\w`, but Hangul vowels and finals are; then `is_mark` decides.
_NO_MARKS = (
    "\x00-\u02ff\u0370-\u0482\u048a-\u0590\u05d0-\u05ea\u0620-\u064a\u2010-\u205f\u20a0-\u20cf\u2100-\u2bff"
    "\u2e00-\u3029\u3030-\u3098\u309b-\ua48f\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U0001f000-\U0001faff"
)
_MAYBE_MARK = f"(?:[^\\w{_NO_MARKS}]|[\u1160-\u11ff\ud7b0-\ud7ff])"
_MOST_MARKS = 4

_NAMED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def show(data: bytes | str, *, keep: str = _KEEPABLE) -> str:
    """`data` with everything unsafe written out. `keep` names the controls that pass: of LF and TAB, or none."""
    passing = _passing(keep)
    if isinstance(data, bytes):
        if not data.translate(None, passing):
            return data.decode("ascii")
        text = data.decode("utf-8", "surrogateescape")
    else:
        text = data
    ascii_only = text.isascii()
    if ascii_only and not text.encode("ascii").translate(None, passing):
        return text
    text = _unsafe(keep).sub(_write_out, text)
    if ascii_only:
        return text
    at_line_start, word, pile = _places_of_marks()
    return word.sub(lambda match: pile.sub(_level, match[0]), at_line_start.sub(_free, text))


def tame(text: str, *, keep: str = _KEEPABLE) -> str:
    """`show` for texts of lessons, and for what was shown once: a backslash stays single."""
    return show(text, keep=keep).replace("\\\\", "\\")


def harmless(text: str) -> bool:
    """Whether `show` has nothing to write out but backslashes; a "no" is no proof. Quick: most is printable ASCII."""
    rest = set(re.sub(r"[ -~\n]+", "", text))
    return all(ch in _KEEPABLE or (ch.isprintable() and ch not in _BLANK_LETTERS and not is_mark(ch)) for ch in rest)


def fault_of(error: BaseException) -> str:
    """What may be shown of an exception that should not have been: its kind and place, none of its values (sec-K5)."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} ({place})"


def background_faults(say: Callable[[str], None]) -> None:
    """Let `say` have what `fault_of` says of a fault below the event loop, which asyncio would log with its values."""
    from asyncio.log import logger

    def kept(record: LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            say(fault_of(record.exc_info[1]))
        return not record.exc_info

    logger.filters[:] = [kept]


def width(text: str) -> int:
    """How many columns a line of a view takes: never fewer than a terminal needs, a tab counted as eight.

    Characters of ambiguous width count as one; where a terminal is set to draw them with two, this is too few.
    """
    columns = len(text) if text.isascii() else sum(map(_columns, text))
    return columns + 7 * text.count("\t")


def fold(text: str, columns: int) -> Iterator[tuple[int, int]]:
    """Where each row begins and ends when `text` is cut at `columns`: no atom, and no letter with its marks, in two."""
    if width(text) <= columns:
        yield 0, len(text)
        return
    start = used = letter = before = 0  # `letter`: where the last letter begins; `before`: what was used up to it
    for atom in re.finditer(ATOM, text):
        if not is_mark(atom[0][0]):
            letter, before = atom.start(), used
        used += width(atom[0])
        if used > columns and letter > start:
            yield start, letter
            start, used = letter, used - before
    yield start, len(text)


def whole_characters(octets: bytes) -> bytes:
    """`octets` without the beginning of a UTF-8 character that was cut in two at their end."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    decoder.decode(octets)
    return octets.removesuffix(decoder.getstate()[0])


def is_mark(character: str) -> bool:
    """Whether a terminal may draw it on the character before it; what is unassigned may be a mark one day."""
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cn")
        or "\u1160" <= character <= "\u11ff"
        or "\ud7b0" <= character <= "\ud7ff"
    )


@lru_cache(maxsize=8)
def _passing(keep: str) -> bytes:
    """The ASCII that passes, for the test that costs nothing."""
    if not set(keep) <= set(_KEEPABLE):
        raise ValueError("only LF and TAB can be kept")
    return bytes(range(0x20, 0x7F)).replace(b"\\", b"") + keep.encode("ascii")


@lru_cache(maxsize=8)
def _unsafe(keep: str) -> re.Pattern[str]:
    """What is written out, as one character class; compiled when something may be."""
    controls = "".join(control for control in _C0 if control not in keep)
    return re.compile(f"[{re.escape(controls)}{_WRITTEN_OUT}{_SUSPECT_ASTRAL}\\\\]+")


@lru_cache(maxsize=1)
def _places_of_marks() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Where a line may begin with marks, words that may hold many, and piles of them. Not compiled before the first
    text that is not ASCII: these classes would be half of the time that importing this file takes."""
    many = f"{{{_MOST_MARKS + 1},}}"
    return (
        re.compile(f"(?m:^){_MAYBE_MARK}+"),
        re.compile(f"[^{_NO_MARKS}]{many}"),
        re.compile(f"{_MAYBE_MARK}{many}"),
    )


def _name(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return _NAMED.get(character) or f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # "surrogateescape": an octet that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=1)
def _names() -> Mapping[str, str]:
    """The names of what an attacker can send cheaply, ready made: ASCII and octets that are not UTF-8."""
    return {chr(code): _name(chr(code)) for code in (*range(0x80), *range(0xDC80, 0xDD00))}


def _write_out(match: re.Match[str]) -> str:
    names = _names()
    return "".join([names.get(character) or _name_of_suspect(character) for character in match[0]])


@lru_cache(maxsize=1)
def _written_out_astral() -> re.Pattern[str]:
    planes = "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0xF0000, 0x10000))
    return re.compile(
        "[\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
        f"{planes}\U000f0000-\U0010ffff]"
    )


def _name_of_suspect(character: str) -> str:
    if character > "\uffff" and not _written_out_astral().match(character):
        return character
    return _name(character)


def _free(match: re.Match[str]) -> str:
    """Write out the marks with which a line begins."""
    marks = "".join(takewhile(is_mark, match[0]))
    return "".join(map(_name, marks)) + match[0][len(marks) :]


def _level(match: re.Match[str]) -> str:
    """Write out the marks that are piled too high."""
    out = []
    height = 0
    for character in match[0]:
        height = height + 1 if is_mark(character) else 0
        out.append(_name(character) if height > _MOST_MARKS else character)
    return "".join(out)


#: Narrow in the Unicode of older Pythons, wide since: trigrams, hexagrams, counting rods, letters of flags.
_WIDE_SINCE = "[☰-☷⚊-⚏\u4dc0-\u4dff\U0001d300-\U0001d356\U0001d360-\U0001d376\U0001f1e6-\U0001f1ff]"


@lru_cache(maxsize=8192)
def _columns(character: str) -> int:
    category = unicodedata.category(character)
    if category in ("Mn", "Me"):
        return 0  # Mc is counted: some terminals give it a column, some do not
    if category == "Cn" or unicodedata.east_asian_width(character) in "WF":
        return 2
    return 2 if character >= "\u2630" and re.match(_WIDE_SINCE, character) else 1
