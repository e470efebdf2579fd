"""What a learner answers: an answer compared with the lesson's, and a prediction of a reply read from words.

Width, case, blanks and units of an answer do not count; the words of a prediction stand in any order. Numbers and words
may be those of any language of `lessons/`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from popshell.course.catalog import LANGUAGES, Catalog
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange

_STATUS = {"+ok": True, "ok": True, "-err": False, "err": False}
_STATES = {state.value.casefold(): state for state in State}


def normal(answer: str) -> str:
    """An answer as it is compared: width (U+FF17 is 7), case and blanks do not count."""
    return " ".join(unicodedata.normalize("NFKC", answer).casefold().split())


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
        after = exchange.after
        if after is State.UPDATE and self.state is State.CLOSED:
            after = State.CLOSED  # the reply to QUIT ends UPDATE, so that both are right (RFC 1939 §6)
        seen = {
            "status": (self.ok, response.ok),
            "state": (self.state, after),
            "lines": (self.many, response.content is not None),
        }
        return [name for name, (said, was) in seen.items() if said != was]


class Vocabulary:
    """The words in which answers are given, of all languages: `[language]` of `messages.toml`."""

    def __init__(self, catalog: Catalog) -> None:
        self.numbers: dict[str, int] = {}
        self.many: dict[str, bool] = {}
        self._separators = ","
        for tag in LANGUAGES:
            try:
                words = catalog.words(tag)
            except (OSError, ValueError):
                continue  # a stranger's, which cannot be read: others say so
            for number, names in enumerate(words("language.numbers").split()):
                self.numbers |= dict.fromkeys(map(normal, names.split("/")), number)
            for many, key in ((False, "language.one-line"), (True, "language.many-lines")):
                self.many |= dict.fromkeys(map(normal, words(key).split("/")), many)
            self._separators += words("list.separator").strip()

    @cached_property
    def _figures(self) -> re.Pattern[str]:
        """A number in figures, a word in letters, or a run of numerals of a language that parts no words."""
        numerals = "".join({ch for name in self.numbers for ch in name if not ch.isascii()})
        run = f"|[{re.escape(numerals)}]+" if numerals else ""
        return re.compile(rf"[0-9]+(?:,[0-9]{{3}})*(?:\.[0-9]+)?|[a-z]+{run}")

    def number_in(self, text: str) -> int | None:
        """The one number that is said in `text`, in figures or words, whatever stands around it; else None."""
        found = [number for word in self._figures.findall(normal(text)) if (number := self._value(word)) is not None]
        return found[0] if len(found) == 1 else None

    def _value(self, word: str) -> int | None:
        if word[0] in "0123456789":
            return int(word.replace(",", "")) if "." not in word else None
        return self.numbers.get(word)

    def is_answer(self, answers: tuple[str, ...], text: str) -> bool:
        """Whether `text` says one of `answers`. A number counts with any unit: `6 letters`, `six`."""
        if normal(text) in {normal(answer) for answer in answers}:
            return True
        numbers = {int(answer) for answer in answers if answer.isascii() and answer.isdigit()}
        return bool(numbers) and self.number_in(text) in numbers

    def prediction(self, text: str) -> Prediction:
        """`+OK TRANSACTION many`, in any order, parts may be missing; unknown words are passed over."""
        said: dict[str, Any] = {}
        for word in re.sub(f"[{re.escape(self._separators)}]", " ", normal(text)).split():
            for name, meanings in (("ok", _STATUS), ("state", _STATES), ("many", self.many)):
                if word in meanings:
                    said[name] = meanings[word]
        return Prediction(**said)


@lru_cache(maxsize=8)
def vocabulary(catalog: Catalog) -> Vocabulary:
    """The vocabulary of a catalog, read once."""
    return Vocabulary(catalog)
