"""Look-alikes: a text in plain capital letters, as it reads or was meant, so that a word is known in every spelling."""

from __future__ import annotations

import operator
import re

#: Letters of other scripts that look like a Latin one, that stand for its sound, or that its key types: Cyrillic,
#: Greek, Armenian, Cherokee, Bopomofo. What Unicode itself calls a Latin letter is not listed.
_LETTERS = str.maketrans(
    *(
        "АВЕЅОРСТНІЈКМУХԜԌПФЫЗΑΒΕΖΗΙΚΜΝΟΡΤΥΧΣΠՍՏՕᎪᏢᏚᏌᎢᎻᏞᎥᏀᏦᎬᎡᎠᏔᏟᎳӀ"
        + "ㄇㄖㄏㄎㄍㄑㄕㄘㄛㄨㄜㄠㄩㄙㄟㄣㄆㄐㄋㄔㄧㄒㄊㄌㄗㄈ",
        "ABESOPSTHIJKMYXWGPASPABEZHIKMNOPTYXSPUSOAPSUTHLIGKERDWCWI" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    )
)
#: How Unicode names the letters that are drawn from Latin ones: small capitals, with strokes, as flags; and Lisu.
_NAMED = (
    r"(?:.*LATIN .*LETTER (?:SMALL CAPITAL |DOTLESS )?|REGIONAL INDICATOR SYMBOL LETTER |LISU LETTER )([A-Z])(?:\b|A\b)"
)
#: What a terminal makes of a key that was no letter.
_SEQUENCE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O?.)?"
#: An octet of ASCII after `%`, as in an address (RFC 2384 §3).
ENCODED = "%[0-7][0-9A-Fa-f]"
#: Signs and digits that stand for letters.
_SIGNS = str.maketrans("@$450137", "ASASOIET")
#: Blank, though Unicode counts them among the letters and signs.
_BLANKS = "\u115f\u1160\u2800"


def folded(text: str) -> tuple[str, list[int]]:
    """`text` in plain capitals, and for each character of that, where the one in `text` ends that it stands for.

    Invisible and combining characters are left out, erased ones, too; blanks of any width, and what ends a line, are
    a space. What is written as in an address, `%20`, is read.
    """
    if text.isascii() and text.isprintable() and "%" not in text:
        return text.upper(), list(range(1, len(text) + 1))
    found: list[tuple[str, int]] = []
    at = 0
    while at < len(text):
        if sequence := re.compile(_SEQUENCE).match(text, at):
            at = sequence.end()
            continue
        encoded = re.compile(ENCODED).match(text, at) if text[at] == "%" else None
        char, at = (chr(int(encoded[0][1:], 16)), encoded.end()) if encoded else (text[at], at + 1)
        if char in "\b\x7f":
            del found[-1:]
        else:
            found += ((letter, at) for letter in _plain(char))
    return "".join(letter for letter, _ in found), [end for _, end in found]


def _plain(char: str) -> str:
    """One character in plain capitals; "" if nothing is seen of it."""
    if char.isascii() and char.isprintable():
        return char.upper()
    if char.isspace() or char in "\0\x15\x17" or char in _BLANKS:
        return " "
    from unicodedata import category, name, normalize  # no line in ASCII needs it

    plain = ""
    for part in normalize("NFKD", char).upper():
        if category(part)[0] not in "CM":
            named = None if part.isascii() else re.match(_NAMED, name(part, ""))
            plain += named[1] if named else part.translate(_LETTERS)
    return " " if plain and plain in _BLANKS else plain


def as_letters(word: str) -> str:
    """`word` with the letters that its signs and digits stand for; a number stays one."""
    return word.translate(_SIGNS) if re.search("[A-Z]", word) else word


def is_one_slip(word: str, name: str) -> bool:
    """Whether `word` is `name` with one letter too many, missing or wrong, some doubled, or in another order."""
    if len(word) == len(name):
        return sum(map(operator.ne, word, name)) == 1 or sorted(word) == sorted(name)
    longer, shorter = (word, name) if len(word) > len(name) else (name, word)
    if len(longer) - len(shorter) == 1 and any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer))):
        return True
    return longer is word and word[0] == name[0] and _undoubled(word) == _undoubled(name)


def _undoubled(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)
