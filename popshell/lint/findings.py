"""What lint says: a Finding is a fault by its code and facts, a Fault is the same in words for the author.

RULES is the closed list of codes; each has its text in `messages.toml`, `[lint]`, and a broken copy in
`tests/test_lint.py` that shows it to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NO_FACTS: Mapping[str, object] = MappingProxyType({})

RULES = (
    # files
    "missing-file",
    "no-course",
    "stray-file",
    "too-large",
    "leaves-folder",
    "not-a-file",
    "not-utf-8",
    "byte-order-mark",
    "line-ends",
    # heads and tables of words
    "bad-head",
    "bad-toml",
    "unknown-key",
    "missing-key",
    "keys-differ",
    "not-text",
    "summary-wide",
    "unknown-place",
    "places-differ",
    "stray-brace",
    # dialogues
    "bad-fence",
    "open-fence",
    "bad-line",
    "untrue",
    "after-close",
    "dialogues-differ",
    # citations
    "bad-citation",
    "no-such-rfc",
    "no-such-section",
    "table-citation",
    "uncited",
    # bodies
    "no-text",
    "stray-heading",
    "heading-order",
    "missing-heading",
    "deviation-unsaid",
    "deviation-unknown",
    "simplified",
    "too-deep",
    # lessons
    "bad-course",
    "course-field",
    "bad-name",
    "listed-twice",
    "course-id-taken",
    "bad-lesson",
    "no-such-kind",
    "no-such-line",
    "no-such-placeholder",
    "no-such-capability",
    "bad-id",
    "bad-title",
    "unseen",
    "duplicate-id",
    "no-exercise",
    "kind-needs",
    "missing-maildrop",
    "start-unheard",
    "solution-fails",
    "solution-answers-not",
    "answer-unseen",
    "predicts-nothing",
    "mispredicts",
    "prefix-passes",
    "wrong-passes",
    "wrong-is-right",
    "teaches-unknown",
    "not-taught",
    "no-task",
    "no-hint",
    "no-solved",
    "no-wrong",
    "stray-wrong",
    "stray-exercise",
    "hints-differ",
    "commands-differ",
    "text-differs",
    "no-such-meta",
    "headline-wide",
    "translated-fact",
    "stale",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault before it has words. `line` is 0 where the whole file is meant."""

    path: str
    line: int
    code: str
    facts: Mapping[str, object] = field(default_factory=lambda: _NO_FACTS)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in words: what is wrong, and what to do."""

    path: str
    line: int
    code: str
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.text} ({self.code})"
