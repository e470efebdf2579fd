"""How an answer that a learner typed is compared with the lesson's: width, case, blanks and units do not count."""

from __future__ import annotations

import re
import unicodedata


def normal(answer: str) -> str:
    """An answer as it is compared: width (ＯＫ, ７), case and blanks do not count."""
    return " ".join(unicodedata.normalize("NFKC", answer).casefold().split())


_TEENS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen"),
)
_NUMERALS = "零一二三四五六七八九十"
_FIGURES = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|[零一二兩三四五六七八九十]+|[a-z]+")


def number_in(text: str) -> int | None:
    """The one number that is said in `text`, in figures, English or Chinese, whatever stands around it; else None."""
    found = [number for word in _FIGURES.findall(normal(text)) if (number := _value(word)) is not None]
    return found[0] if len(found) == 1 else None


def _value(word: str) -> int | None:
    if word[0].isdigit():
        return int(word.replace(",", "")) if "." not in word else None
    if word in _TEENS:
        return _TEENS.index(word)
    digits = [_NUMERALS.index("二" if ch == "兩" else ch) for ch in word if ch in _NUMERALS + "兩"]
    if len(digits) == 1:
        return digits[0]
    if len(digits) == 2 and digits[0] == 10:
        return 10 + digits[1]
    return None


def is_answer(answers: tuple[str, ...], text: str) -> bool:
    """Whether `text` says one of `answers`. A number counts with any unit: `6 letters`, `第 6 封`, `six`."""
    if normal(text) in {normal(answer) for answer in answers}:
        return True
    numbers = {int(answer) for answer in answers if answer.isascii() and answer.isdigit()}
    return bool(numbers) and number_in(text) in numbers
