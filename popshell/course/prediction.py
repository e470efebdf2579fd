"""Prediction: what a learner expects of a line before it is sent, read from words in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from popshell.course.answers import normal
from popshell.protocol.commands import State
from popshell.protocol.records import Exchange


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
