"""Highlighting: the styles and the themes, for our escape sequences, prompt_toolkit and pygments; and the rules.

Theory of themes. Code that colours names a style and nothing else. A style has attributes and one colour; what the
colour is, the theme says. With `auto` the terminal is asked for its background (`fitting`). Where it is not known there
are no colours: the default foreground, bold and underline are legible on every background. `dark` and `light` have
colours of the fixed 256-colour cube, each with a contrast of 4.5:1 at least on `BACKGROUNDS`; their `-16` forms are for
terminals that have only the named colours, which each terminal defines as it likes: a colour that common palettes draw
too faint is left out there. "dim" is not used, since its contrast is not known. Colour is never the only sign: each use
has a word or a mark beside it.

Theory of rules. A rule is a tiny function from one line to spans (start, end, name of a style), in order and without
overlap; what no span covers is plain. Commands come parsed (`line.parse`), so the table is the only list of names;
replies are matched by the few forms that RFC 1939 and RFC 2449 give them. Live input, transcripts and replies all read
these.

Traps. prompt_toolkit takes unknown words for colours, does not honour FORCE_COLOR, and has names of its own for the
sixteen colours. Lines are text that passed the filter, or lines that a formatter will escape: a view of `\\x1b` is
seven plain characters here. Patterns are matched to whole lines, are linear, and take ASCII digits only. A line is of
the kind that the *command* asked for: "+OK" inside a mail is no status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from popshell.protocol.commands import CAPABILITIES, COMMANDS, Content
from popshell.protocol.line import CommandLine
from popshell.tuples import NamedTuple
from popshell.visible import show

if TYPE_CHECKING:
    import prompt_toolkit.styles

#: Name of a style -> its attributes and its colour. A style without words has the colours of the terminal.
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
    "command-unknown": "underline red",
    "argument": "",
    "extra": "underline red",
    "mechanism": "magenta",
    "secret": "grey",
    "comment": "grey",
    # the margin
    "gutter-client": "bold cyan",
    "gutter-server": "",  # it stands on every row: a sequence there would multiply what a hostile reply costs
    # what a peer said, beside words of ours: never changed, not even for --ascii
    "peer": "",
    # words of the shell
    "note": "grey",
    "warn": "bold yellow",
    "emphasis": "bold",
    "state": "",
    "state-here": "bold green",
    "arrow": "cyan",
    "lock": "bold green",
    "rfc": "underline grey",
    "dim": "grey",
    "diagram.line": "grey",
    "diagram.state": "",
    "diagram.here": "bold green",
    "diagram.command": "",
    "diagram.legal": "cyan",
    "diagram.taken": "bold cyan",
    "diagram.note": "grey",
}

_ATTRIBUTES = {"bold": "1", "underline": "4"}
#: prompt_toolkit's names of SGR 30 to 37 and 90 to 97.
_NAMED = {
    first + at: f"ansi{bright}{name}"
    for first, bright in ((30, ""), (90, "bright"))
    for at, name in enumerate(("black", "red", "green", "yellow", "blue", "magenta", "cyan"))
} | {37: "ansigray", 97: "ansiwhite"}


#: What prompt_toolkit would draw in colours and backgrounds of its own.
_OVER: Mapping[str, str] = MappingProxyType(
    {
        # In reverse, every colour in the toolbar would be a patch of background.
        "bottom-toolbar": "noreverse",
        "bottom-toolbar.text": "noreverse",
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit",
        "completion-menu.meta.completion.current": "noinherit underline",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit reverse",
        "control-character": "noinherit underline",
        "search": "noinherit underline",
        "search.current": "noinherit reverse",
        "incsearch": "noinherit underline",
        "incsearch.current": "noinherit reverse",
    }
)


class Colour(NamedTuple):
    """A colour of the 256 by its number (16 to 255), and the SGR code of the named one; 0 where none is legible."""

    number: int
    named: int = 0

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Its red, green and blue, 0 to 255: a cube of 6 steps a side, then a ramp of greys."""
        if self.number >= 232:
            return (8 + (self.number - 232) * 10,) * 3
        at = self.number - 16
        red, green, blue = (0 if step == 0 else 55 + 40 * step for step in (at // 36, at // 6 % 6, at % 6))
        return red, green, blue


COLOURS: Mapping[str, Mapping[str, Colour]] = MappingProxyType(
    {
        "dark": {
            "red": Colour(210, 91),
            "green": Colour(114, 32),
            "yellow": Colour(221, 93),
            "magenta": Colour(176, 95),
            "cyan": Colour(80, 96),
            "grey": Colour(250, 37),
        },
        "light": {
            "red": Colour(124, 31),
            "green": Colour(22),
            "yellow": Colour(94),
            "magenta": Colour(90, 35),
            "cyan": Colour(24, 34),
            "grey": Colour(240),
        },
    }
)
#: What the colours of a theme are legible on: white or black, and what editors and terminals have instead.
BACKGROUNDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dark": ("#000000", "#1e1e1e", "#002b36", "#282c34", "#300a24"),
        "light": ("#ffffff", "#fdf6e3", "#f2f2f2", "#eeeeee"),
    }
)
#: What a Look may have as its theme.
THEMES = ("none", "auto", "dark", "light", "dark-16", "light-16")
#: The escape sequence that ends every style.
END = "\x1b[m"


def _parts(name: str, theme: str) -> Iterator[tuple[str, Colour | None]]:
    """The words of a style that the theme has: attributes as they are, colours with what they are in it."""
    colours = COLOURS.get(theme.removesuffix("-16"), {})
    for word in STYLES[name].split():
        if word in _ATTRIBUTES:
            if theme != "none":
                yield word, None
        elif (colour := colours.get(word)) and (colour.named or not theme.endswith("-16")):
            yield word, colour


@lru_cache(maxsize=len(STYLES) * 2)
def begin(name: str, theme: str) -> str:
    """The escape sequence with which the style `name` begins, "" for one without words. Raises KeyError."""
    codes = [
        _ATTRIBUTES[word] if colour is None else str(colour.named) if theme.endswith("-16") else f"38;5;{colour.number}"
        for word, colour in _parts(name, theme)
    ]
    return f"\x1b[{';'.join(codes)}m" if codes else ""


def words(name: str, theme: str) -> str:
    """The style as prompt_toolkit and pygments write it: `bold #87d787`, `bold ansigreen`. Raises KeyError."""
    return " ".join(
        word
        if colour is None
        else _NAMED[colour.named]
        if theme.endswith("-16")
        else "#{:02x}{:02x}{:02x}".format(*colour.rgb)
        for word, colour in _parts(name, theme)
    )


def chosen(wanted: str, source: str, environ: Mapping[str, str], isatty: bool) -> str:
    """The theme of a Look for the setting `theme`, which is `wanted` by `source` (config.Value).

    In falling order: the option `--theme`; NO_COLOR, if not empty (no-color.org), is `none`; CLICOLOR_FORCE and
    FORCE_COLOR, if neither empty nor 0, style what is no terminal, too; config.toml. TERM=dumb is `none`.
    """
    if environ.get("NO_COLOR") and source != "--theme":
        return "none"
    forced = any(environ.get(name, "0") not in ("", "0") for name in ("CLICOLOR_FORCE", "FORCE_COLOR"))
    if not forced and (not isatty or environ.get("TERM", "dumb") == "dumb"):
        return "none"
    return f"{wanted}-16" if wanted in COLOURS and not _has_256(environ) else wanted


def fitting(background: tuple[int, ...]) -> str:
    """The theme whose colours all have a contrast of 4.5:1 on a background (red, green, blue: 0 to 255), or `auto`."""

    def light(rgb: tuple[int, ...]) -> float:
        """WCAG's relative luminance."""
        parts = (part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in rgb)
        return sum(part * weight for part, weight in zip(parts, (0.2126, 0.7152, 0.0722), strict=True)) + 0.05

    ground = light(background)
    for name, colours in COLOURS.items():
        inks = [light(colour.rgb) for colour in colours.values()]
        if min(inks) / ground >= 4.5 or ground / max(inks) >= 4.5:
            return name
    return "auto"


def _has_256(environ: Mapping[str, str]) -> bool:
    """Whether the terminal has 256 colours: by terminfo's convention for names, COLORTERM, and names that are known."""
    term = environ.get("TERM", "")
    known = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "wezterm", "contour")
    return "256color" in term or "direct" in term or term.startswith(known) or bool(environ.get("COLORTERM"))


def prompt_style(theme: str) -> prompt_toolkit.styles.Style:
    """The styles as prompt_toolkit classes: `class:header-name`."""
    from prompt_toolkit.styles import Style

    rules = [(name, words(name, theme)) for name in STYLES]
    ghost = words("dim", theme) or ("underline" if theme != "none" else "")
    return Style([*rules, *_OVER.items(), ("auto-suggestion", f"noinherit {ghost}")])


# -- the rules ---------------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """`line[start:end]` is in the style `style`."""

    start: int
    end: int
    style: str


Spans = list[Span]

# RFC 2449 §3: a response code stands right after the status indicator.
_STATUS = re.compile(r"(?:(?P<ok>\+OK)|(?P<err>-ERR))(?: (?P<code>\[[^\[\]\s]+\]))?(?= |\Z)|(?P<challenge>\+)(?= |\Z)")
# In the free text of a status line: the stamp of the greeting, and numbers that are words of their own.
_TEXT = re.compile(
    r"(?P<stamp><[^<>@\s]{1,200}@[^<>@\s]{1,200}>)|(?P<number>(?<![\w.:/@-])[0-9]{1,10}(?![\w:/@-]|\.[0-9]))",
    re.ASCII,
)
_CAPABILITY = r"[!-~]+"
#: Lines of one form, and the style of each group. RFC 1939 §5, §7: message-number, and octets or unique-id. RFC 5322
#: §2.2: a field name is printable ASCII without colon (after the filter a backslash may be doubled); a line that begins
#: with a blank is the folded rest of a value (§2.2.3).
_FORMS: Mapping[Content, tuple[str, tuple[str, str]]] = {
    Content.SCAN_LISTINGS: (r"([0-9]{1,10}) ([0-9]{1,15})(?= |\Z)", ("number", "number")),
    Content.UNIQUE_IDS: (r"([0-9]{1,10}) ([!-~]{1,140})(?= |\Z)", ("number", "uid")),
    Content.MAIL: (r"(?s)(?:([!-9;-~]{1,100}:)|(?=[ \t]))(.*)\Z", ("header-name", "header-value")),
}


def content_of(command: str) -> Content:
    """What the lines are that `command`, in upper case, is answered with."""
    spec = COMMANDS.get(command)
    return spec.content if spec else Content.TEXT


def command_spans(line: CommandLine) -> Spans:
    """A typed line: each token in the style that its role names, wherever the line is shown."""
    return [Span(token.start, token.end, token.role.value) for token in line.tokens]


def runs(text: str, spans: Spans) -> list[tuple[str, str]]:
    """`text` as runs: what a span covers in its style, the rest in none."""
    cut: list[tuple[str, str]] = []
    at = 0
    for start, end, style in spans:
        cut += [("", text[at:start]), (style, text[start:end])]
        at = end
    return [run for run in [*cut, ("", text[at:])] if run[1]]


def sent_runs(line: CommandLine, *, masked: bool = True) -> list[tuple[str, str]]:
    """A line that was sent as runs that are safe to show, its secrets as MASK unless `masked` is False."""
    line = line.masked() if masked else line
    return [(style, show(text, keep="")) for style, text in runs(line.text, command_spans(line))]


def status_spans(line: str) -> Spans:
    """A status line: indicator, response code, stamp, numbers. What is no status has no spans."""
    status = _STATUS.match(line)
    if status is None:
        return []
    spans = [Span(*status.span(name), name) for name, found in status.groupdict().items() if found]
    if status["challenge"]:
        return spans
    return spans + [Span(*match.span(), match.lastgroup or "") for match in _TEXT.finditer(line, status.end())]


def _capability_spans(line: str) -> Spans:
    """A capability (RFC 2449 §5): a tag that an RFC defines stands out, its numbers too."""
    tag = re.match(_CAPABILITY, line)
    if tag is None:
        return []
    spans = [Span(*tag.span(), "capability")] if tag[0].upper() in CAPABILITIES else []
    return spans + [Span(*match.span(), "number") for match in _TEXT.finditer(line, tag.end()) if match["number"]]


def body_spans(kind: Content, line: str, *, in_header: bool = False) -> Spans:
    """One line of a multi-line reply as on the wire: the dot that byte-stuffing put there has a span of its own.

    `in_header`: the line is one of a mail, and above its empty line.
    """
    if line.startswith("."):
        unstuffed = _body_spans(kind, line[1:], in_header)
        return [Span(0, 1, "stuffing"), *(Span(start + 1, end + 1, style) for start, end, style in unstuffed)]
    return _body_spans(kind, line, in_header)


def _body_spans(kind: Content, line: str, in_header: bool) -> Spans:
    if kind is Content.CAPABILITIES:
        return _capability_spans(line)
    if kind is Content.TEXT or (kind is Content.MAIL and not in_header):
        return []
    pattern, styles = _FORMS[kind]
    if (match := re.match(pattern, line)) is None:
        return []
    return [Span(*match.span(at), style) for at, style in enumerate(styles, 1) if match[at] is not None]


def guess(line: str) -> Content:
    """What a line looks like where the command is not known: for fragments of transcripts only."""
    for kind in (Content.SCAN_LISTINGS, Content.UNIQUE_IDS):
        if re.fullmatch(_FORMS[kind][0], line):
            return kind
    tag = re.match(_CAPABILITY, line)
    return Content.CAPABILITIES if tag and tag[0] in CAPABILITIES else Content.TEXT
