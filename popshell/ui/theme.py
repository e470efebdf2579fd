"""The styles: each a name and a few plain words, given to the terminal and to prompt_toolkit.

Theory. Code that colours names a style and nothing else. Only the eight base colours of the terminal are used,
never a background, white, black or "bright black": those are the ones that themes, light and dark, keep legible.
Colour is never the only sign: each use has a word or a mark beside it, so `NO_COLOR` takes nothing away.

Traps. prompt_toolkit learned "dim" late, takes unknown words for colours, and does not honour FORCE_COLOR.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import prompt_toolkit.styles

#: Name of a style -> its words, out of `_SGR`. A style without words has the colours of the terminal.
STYLES: Mapping[str, str] = {
    # replies
    "ok": "bold green",
    "err": "bold red",
    "challenge": "bold yellow",
    "code": "magenta",
    "literal": "bold",
    "stamp": "yellow",
    "number": "cyan",
    "uid": "yellow",
    "capability": "bold",
    "header-name": "cyan",
    "header-value": "",
    "stuffing": "underline yellow",
    "terminator": "bold yellow",
    # commands
    "command": "bold",
    "command-unknown": "red",
    "argument": "",
    "extra": "red",
    "mechanism": "magenta",
    "secret": "dim",
    "comment": "dim",
    # the margin
    "gutter-client": "bold cyan",
    "gutter-server": "dim",
    # what a peer said, beside words of ours: never changed, not even for --ascii
    "peer": "",
    # words of the shell
    "note": "dim",
    "warn": "bold yellow",
    "emphasis": "bold",
    "state": "",
    "state-here": "bold green",
    "arrow": "cyan",
    "lock": "bold green",
    "rfc": "dim underline",
    "dim": "dim",
    "diagram.line": "dim",
    "diagram.state": "",
    "diagram.here": "bold green",
    "diagram.command": "",
    "diagram.legal": "cyan",
    "diagram.taken": "bold cyan",
    "diagram.note": "dim",
}

_SGR: Mapping[str, str] = {
    "bold": "1",
    "dim": "2",
    "underline": "4",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}
_ATTRIBUTES = ("bold", "dim", "underline")
#: The escape sequence that ends every style.
END = "\x1b[m"


@lru_cache(maxsize=len(STYLES))
def begin(name: str) -> str:
    """The escape sequence with which the style `name` begins, "" for one without words. Raises KeyError."""
    codes = ";".join(_SGR[word] for word in STYLES[name].split())
    return f"\x1b[{codes}m" if codes else ""


def colour_allowed(environ: Mapping[str, str], isatty: bool) -> bool:
    """The one decision. NO_COLOR, if not empty, wins (no-color.org); FORCE_COLOR colours what is no terminal."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return isatty and environ.get("TERM") != "dumb"


def prompt_style(colour: bool) -> prompt_toolkit.styles.Style:
    """The styles as prompt_toolkit classes: `class:header-name`."""
    from prompt_toolkit.styles import Attrs, Style

    known = set(_ATTRIBUTES) & set(Attrs._fields)
    rules = [(name, " ".join(_named(words, known)) if colour else "") for name, words in STYLES.items()]
    # prompt_toolkit draws its toolbar in reverse, which turns every colour in it into a patch of background.
    return Style([*rules, ("bottom-toolbar", "noreverse"), ("bottom-toolbar.text", "noreverse")])


def _named(words: str, known: set[str]) -> Iterator[str]:
    for word in words.split():
        if word not in _ATTRIBUTES:
            yield f"ansi{word}"
        elif word in known:
            yield word
