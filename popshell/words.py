"""The languages of `lessons/`, the filling of placeholders in their words, and faults that words are filled for.

`{name}` is replaced by a fact; `{count|message|messages}` chooses by number, and `#` in a choice stands for the number.
Nothing is evaluated: a lesson is data (sec-D1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: The languages, by tag. `en` is the one that others fall back to.
LANGUAGES = ("en", "zh-Hant")
_PLACE = re.compile(r"\{([a-z_]+)(?:\|([^|{}]*)\|([^|{}]*))?\}")


def places(template: str) -> set[str]:
    """The names of all facts that `template` needs."""
    return {match[1] for match in _PLACE.finditer(template)}


def fill(template: str, facts: Mapping[str, object]) -> str | None:
    """`template` with its placeholders replaced; None if it needs a fact that is not known."""
    if "{" not in template:
        return template
    if not places(template) <= facts.keys():
        return None

    def put(match: re.Match[str]) -> str:
        value = str(facts[match[1]])
        if match[2] is None:
            return value
        return (match[2] if value == "1" else match[3]).replace("#", value)

    return _PLACE.sub(put, template)


class Flaw(ValueError):
    """What is wrong with something that an author wrote: a key of `[reason]` of messages.toml, and its facts.

    A fact called `reason` is a reason within it.
    """

    def __init__(self, code: str, /, **facts: object) -> None:
        super().__init__(f"{code} {facts}")
        self.code, self.facts = code, facts
