"""What a learner answers: an answer compared with the lesson's, and a prediction of a reply read from words.

Width, case, blanks and units of an answer do not count; the words of a prediction stand in any order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from popshell.protocol.commands import State
from popshell.protocol.records import Exchange


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


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a learner expects of a line: status, the state after it, one line or many."""

    ok: bool | None = None
    state: State | None = None
    many: bool | None = None

    @property
    def complete(self) -> bool:
        return None not in (self.ok, self.state, self.many)

    def comes_true(self, exchange: Exchange) -> bool:
        """Whether nothing that it says is wrong."""
        return not self.complete or not self.faults(exchange)

    def faults(self, exchange: Exchange) -> list[str]:
        """What it got wrong: of `status`, `state`, `lines`."""
        response = exchange.response
        if response is None:
            return ["status", "state", "lines"]
        seen = {
            "status": (self.ok, response.ok),
            "state": (self.state, exchange.after),
            "lines": (self.many, response.content is not None),
        }
        return [name for name, (said, was) in seen.items() if said != was]


_WORDS: Mapping[str, tuple[str, Any]] = {
    "+ok": ("ok", True),
    "ok": ("ok", True),
    "-err": ("ok", False),
    "err": ("ok", False),
    "one": ("many", False),
    "many": ("many", True),
    "一行": ("many", False),
    "多行": ("many", True),
    "單行": ("many", False),
    **{state.value.casefold(): ("state", state) for state in State},
}


def read_prediction(text: str) -> Prediction:
    """`+OK TRANSACTION many`, in any order, parts may be missing; unknown words are passed over."""
    said: dict[str, Any] = {}
    for word in normal(text).replace(",", " ").replace("、", " ").split():
        if word in _WORDS:
            name, value = _WORDS[word]
            said[name] = value
    return Prediction(**said)
