"""The one palette, in the tongues of the terminal, prompt_toolkit, pygments and rich.

Theory. A style is a name and a few plain words (`bold green`); whoever colours anything names a style and nothing else.
Only the eight base colours of the terminal are used, never a background, white, black or "bright black": those are the
ones that themes, light and dark, keep legible. Colour is never the only sign: each use has a word or a mark beside it,
so `NO_COLOR` takes nothing away.

Whether there is colour is decided once, by `colour_allowed`, and travels as a frozen `Palette`; prompt_toolkit and rich
are told, because left alone they disagree (rich honours FORCE_COLOR, prompt_toolkit does not).

Traps. Imports of the three libraries are inside functions: the first prompt must not pay for rich or pygments.
prompt_toolkit learned "dim" late, and takes unknown words for colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import prompt_toolkit.styles
    import pygments.style
    import rich.theme

#: Name of a style -> its look, as words out of `_SGR`. The empty look is the terminal's own.
STYLES: Mapping[str, str] = MappingProxyType(
    {
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
)

_SGR: Mapping[str, str] = MappingProxyType(
    {
        "bold": "1",
        "dim": "2",
        "underline": "4",
        "red": "31",
        "green": "32",
        "yellow": "33",
        "magenta": "35",
        "cyan": "36",
    }
)
_ATTRIBUTES = ("bold", "dim", "underline")
_RESET = "\x1b[m"


class Palette(NamedTuple):
    """Whether there is colour; `plain` asks for words instead of signs, and for no escape sequence at all (--plain)."""

    colour: bool
    plain: bool = False
    #: signs of ours in ASCII (--ascii)
    ascii: bool = False

    def paint(self, name: str, text: str) -> str:
        """`text` in the style `name`, where there is colour."""
        return ansi(name, text) if self.colour and not self.plain else text

    def around(self, name: str) -> tuple[str, str]:
        """What `paint` puts before and behind a text, for writers that colour many at once."""
        begin = _begin(name) if self.colour and not self.plain else ""
        return begin, _RESET if begin else ""


COLOURED = Palette(colour=True)
COLOURLESS = Palette(colour=False)
PLAIN = Palette(colour=False, plain=True)


def colour_allowed(environ: Mapping[str, str], isatty: bool) -> bool:
    """The one decision. NO_COLOR, if not empty, wins (no-color.org); FORCE_COLOR colours what is no terminal."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return isatty and environ.get("TERM") != "dumb"


@lru_cache(maxsize=len(STYLES))
def _begin(name: str) -> str:
    codes = ";".join(_SGR[word] for word in STYLES[name].split())
    return f"\x1b[{codes}m" if codes else ""


def ansi(name: str, text: str) -> str:
    """`text` with the escape sequences of the style `name`; it must be safe already, and one line."""
    begin = _begin(name)
    return f"{begin}{text}{_RESET}" if begin and text else text


def prompt_style(palette: Palette = COLOURED) -> prompt_toolkit.styles.Style:
    """The palette as prompt_toolkit classes: `class:header-name`."""
    from prompt_toolkit.styles import Attrs, Style

    attributes = tuple(word for word in _ATTRIBUTES if word in Attrs._fields)
    rules = [(name, _named(look, attributes) if palette.colour else "") for name, look in STYLES.items()]
    # prompt_toolkit draws its toolbar in reverse, which turns every colour in it into a patch of background.
    return Style([*rules, ("bottom-toolbar", "noreverse"), ("bottom-toolbar.text", "noreverse")])


def rich_theme(palette: Palette = COLOURED) -> rich.theme.Theme:
    """The palette as rich style names, beside those that rich has."""
    from rich.theme import Theme

    return Theme({name: look if palette.colour else "" for name, look in STYLES.items()})


def pygments_style() -> type[pygments.style.Style]:
    """The palette as a style for pygments' formatters, for the tokens of our lexer."""
    from pygments.style import Style

    from popshell.ui.lexer import TOKENS

    looks = {token: _named(STYLES[name], ("bold", "underline")) for name, token in TOKENS.items()}
    return type("PopShellStyle", (Style,), {"styles": looks})


def _named(look: str, attributes: tuple[str, ...]) -> str:
    """A look in the words that prompt_toolkit and pygments share: `bold ansigreen`."""
    words = (word if word in _ATTRIBUTES else f"ansi{word}" for word in look.split())
    return " ".join(word for word in words if word.startswith("ansi") or word in attributes)
