"""Reasons: what the system, Python and its libraries say of a fault, in the words of the user's language.

What is called `reason` in a text of ours passes here (`catalog.Words`): an exception, or what one said. `[reason]` of
`messages.toml` has the words. What no row knows stays as it is: a symbol to search for, or words that are ours already.
"""

from __future__ import annotations

import errno
import re
from typing import Protocol

from popshell.course.document import LessonError
from popshell.visible import show


class Words(Protocol):
    """What is asked here of the words of a language (catalog.Words)."""

    def get(self, key: str) -> str | None: ...
    def __call__(self, key: str, /, **facts: object) -> str: ...


#: A key of `[reason]`, and the whole of a text that it stands for; groups are its facts, `reason` a reason within it.
_TEXTS = tuple(
    (key, re.compile(pattern, re.DOTALL))
    for key, pattern in (
        # where it is
        ("at", r"(?:the head is no TOML: )?(?P<reason>.+?) \(at line (?P<line>\d+), column (?P<column>\d+)\)"),
        ("", r"(?:the head is no TOML: )?(?P<reason>.+?) \(at end of document\)"),
        ("", r"the head is no TOML: (?P<reason>.+)"),
        ("place", r"(?P<reason>.+?) - at `(?P<place>.+?)`"),
        ("exercise", r"exercise (?P<id>[^\s:]+): (?P<reason>.+)"),
        ("place", r"(?:condition|fault) `(?P<place>[^`]+)`: (?P<reason>.+)"),
        ("choices", r"(?P<reason>.+?); there are (?P<known>.+)"),
        # tomllib
        ("twice", r"Cannot (?:overwrite|declare|mutate|redefine) .+|Duplicate inline table key .+"),
        ("no-equals", "Expected '=' after a key in a key/value pair"),
        ("not-closed", r"Unterminated .+|Unclosed .+|Expected (?:\"|').+|Illegal character '\\n'"),
        ("no-key", "Invalid initial character for a key part|Invalid statement"),
        ("no-value", "Invalid value|Invalid date or datetime"),
        ("bad-character", r"Illegal character .+|Unescaped .+|Invalid hex value|Escaped .+|Found invalid .+"),
        ("line-goes-on", "Expected newline or end of document after a statement"),
        ("nested", r"brackets nested deeper than (?P<most>\d+)|line \d+: brackets nested deeper than (?P<most_>\d+)"),
        ("no-fence", r"a page begins with a line (?P<fence>\S+)|the head has no closing line (?P<fence_>\S+)"),
        # msgspec
        ("missing", r"Object missing required field `(?P<name>[^`]+)`"),
        ("unknown", r"Object contains unknown field `(?P<name>[^`]+)`"),
        ("kind", r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>[^`]+)`"),
        ("range", r"Expected `[^`]+` (?P<bound>.+)"),
        ("value", r"Invalid enum value (?P<value>.+)"),
        # ours, for authors
        ("kind-flag", "true or false is wanted"),
        ("kind-number", "a number is wanted|1 or more is wanted"),
        ("kind-list", r"`(?P<name>\w+)` is a list of .+"),
        ("unknown", r"there is no \w+ `(?P<name>[^`]+)`"),
        ("not-utf-8", r"the file is not UTF-8: .+"),
        ("one-check", "a check has one name and one value"),
        ("account", "an account is name:password"),
        ("no-command", r"(?P<name>'.+?') is no command(?: of POP3|: one word in capitals)"),
        ("no-maildrop", r"(?P<name>'.+?') is no directory below maildrops/"),
        ("many-lines", r"(?P<count>\d+) lines are too many; (?P<most>\d+) at the most"),
        ("control", r"(?P<line>'.+?') holds a CR or a NUL, which no line can \(RFC 1939 §3\)"),
        ("no-course", "there is no course.toml"),
        ("no-lesson", "there is no such lesson"),
        ("no-lessons", "the course has no lessons"),
        ("replied", r"`replied` is a table such as (?P<form>\{.+\})"),
        # shlex
        ("not-closed", "No closing quotation|No escaped character"),
    )
)


def in_words(reason: object, words: Words) -> str:
    """A reason in words: of an exception, of its text, or of the symbol of an errno."""
    if isinstance(reason, LessonError):
        place = f"{reason.path}:{reason.line}" if reason.line else reason.path
        known = None if reason.code in ("bad-lesson", "bad-head", "bad-toml") else words.get(f"lint.{reason.code}")
        said = words(f"lint.{reason.code}", **reason.facts) if known else in_words(reason.facts["reason"], words)
        return f"{show(place)}: {said}"
    if isinstance(reason, OSError) and isinstance(symbol := getattr(reason, "reason", None), str):  # of OpenSSL
        return symbol
    if isinstance(reason, OSError) and (reason.errno or isinstance(reason, FileNotFoundError)):
        reason = errno.errorcode.get(reason.errno or errno.ENOENT, str(reason.errno))
    elif isinstance(reason, UnicodeDecodeError):
        return words("reason.not-utf-8")
    elif isinstance(reason, RecursionError):
        return words("reason.nested", most="?")
    elif isinstance(reason, UnicodeError | BaseException):
        reason = str(reason) or type(reason).__name__
    text = str(reason)
    if text.isupper() and words.get(f"reason.{text}"):
        return words(f"reason.{text}")
    for key, pattern in _TEXTS:
        if found := pattern.fullmatch(text):
            facts = {name.rstrip("_"): value for name, value in found.groupdict().items() if value is not None}
            if key == "kind":
                kinds = {name: kind.removesuffix(" | null") for name, kind in facts.items()}
                facts = {name: words.get(f"reason.type-{kind}") or f"`{kind}`" for name, kind in kinds.items()}
            return words(f"reason.{key}", **facts) if key else in_words(facts["reason"], words)
    return show(text)
