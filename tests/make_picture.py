"""Make docs/picture.svg: the shell as it is, taken from the real program.

Use: python tests/make_picture.py            (needs tmux)

The program runs in a tmux window and lines are typed at it; what then stands in the window, colours included, becomes
text in an SVG. Nothing is redrawn by hand. Fonts are those of the reader's machine; every run of characters is given
its place and its width, so the columns stay straight in any of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from popshell.ui.theme import Colour

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "picture.svg"
COLUMNS, ROWS = 80, 29
#: What is typed, and what has to be seen before the next line is.
SESSION = (
    ("STAT\r", "RFC 1939 §5"),
    ("USER learner\r", "+OK send PASS"),
    ("PASS secret\r", "DELE NOOP RSET"),
    ("RETR 2", "send one message"),
)
TITLE = "PopShell"
ALTERNATIVE = (
    "PopShell in a terminal: STAT is refused with -ERR and explained; after USER and PASS the arrow from AUTHORIZATION "
    "to TRANSACTION is drawn; RETR 2 stands at the prompt, and the toolbar says what it will do."
)

#: Width and height of a character, size of the font, margins; in the units of the picture.
WIDE, HIGH, SIZE, MARGIN, BAR = 8.4, 18.5, 14, 18, 30
FONTS = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
PAPER, INK, FAINT, EDGE, DOTS = "#1d2430", "#d5dbe5", "#8592a6", "#323c4d", "#4a566b"
_SWITCHES: dict[str, dict[str, Any]] = {
    "1": {"bold": True},
    "2": {"dim": True},
    "4": {"underline": True},
    "7": {"reverse": True},
    "22": {"bold": False, "dim": False},
    "24": {"underline": False},
    "27": {"reverse": False},
    "39": {"colour": ""},
}
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


@dataclass(frozen=True, slots=True)
class Look:
    """How a character looks."""

    colour: str = ""
    bold: bool = False
    dim: bool = False
    underline: bool = False
    reverse: bool = False

    def after(self, codes: str) -> Look:
        """The look behind an SGR sequence. Raises ValueError for one that the shell's palette does not use."""
        look, rest = self, iter((codes or "0").split(";"))
        for code in rest:
            if code in ("", "0"):
                look = Look()
            elif code in _SWITCHES:
                look = replace(look, **_SWITCHES[code])
            elif code == "38" and next(rest) == "5":
                look = replace(look, colour="#{:02x}{:02x}{:02x}".format(*Colour(int(next(rest))).rgb))
            elif code != "49":
                raise ValueError(f"SGR {code}")
        return look

    @property
    def paint(self) -> str:
        """The colour of what is drawn: of the character, or, reversed, of its ground."""
        return self.colour or (FAINT if self.dim and not self.reverse else INK)

    @property
    def attributes(self) -> str:
        colour = PAPER if self.reverse else self.paint
        out = f' fill="{colour}"' if colour != INK else ""
        if self.dim and (self.colour or self.reverse):
            out += ' opacity="0.7"'
        if self.bold:
            out += ' font-weight="bold"'
        if self.underline:
            out += ' text-decoration="underline"'
        return out


def take() -> tuple[list[str], tuple[int, int]]:
    """The lines of the window, with their colours, at the end of SESSION; and where the cursor stands."""
    with tempfile.TemporaryDirectory() as home:
        tmux = ["tmux", "-S", str(Path(home) / "tmux")]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": home,
            "LANG": "C.UTF-8",
            "TERM": "tmux-256color",
        }

        def ask(*words: str) -> str:
            done = subprocess.run([*tmux, *words], env=environment, capture_output=True, check=True)
            return done.stdout.decode("utf-8")

        def wait(seen: Callable[[str], bool]) -> None:
            end = time.monotonic() + 20
            while not seen(ask("capture-pane", "-p")):
                if time.monotonic() > end:
                    raise SystemExit("this did not come about:\n" + ask("capture-pane", "-p"))
                time.sleep(0.1)

        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        start = [*tmux, "-f", os.devnull, "new-session", "-d", *size, f"{sys.executable} -m popshell --theme dark"]
        subprocess.run(start, env=environment, check=True)
        try:
            ask("set", "-g", "status", "off")
            wait(lambda text: "▸" in text and ":quit" in text.splitlines()[-2])
            for keys, wanted in SESSION:
                ask("send-keys", "-l", keys)
                wait(lambda text, wanted=wanted: wanted in text)
                if keys.endswith("\r"):
                    wait(_ready)
            lines = ask("capture-pane", "-e", "-p", "-N").split("\n")[:ROWS]
            column, row = ask("display-message", "-p", "#{cursor_x} #{cursor_y}").split()
            return lines, (int(column), int(row))
        finally:
            ask("kill-server")


def _ready(text: str) -> bool:
    """Whether the last prompt is empty again."""
    prompts = [line for line in text.splitlines() if "▸" in line and not line.startswith(" ")]
    return bool(prompts) and prompts[-1].rstrip().endswith("▸")


def cells(lines: list[str]) -> Iterator[list[tuple[str, Look]]]:
    """The characters of each line with their looks. A look lasts beyond the end of its line."""
    look = Look()
    for line in lines:
        row: list[tuple[str, Look]] = []
        at = 0
        for match in _SGR.finditer(line):
            row += [(character, look) for character in line[at : match.start()]]
            look, at = look.after(match[1]), match.end()
        row += [(character, look) for character in line[at:]]
        yield row


def runs(row: list[tuple[str, Look]]) -> Iterator[tuple[int, str, Look]]:
    """(column, text, look). A character outside ASCII stands alone: another font may have to lend it."""
    keyed = groupby(enumerate(row), key=lambda it: (it[1][1], "" if it[1][0].isascii() else str(it)))
    for (look, _), group in keyed:
        members = list(group)
        yield members[0][0], "".join(cell[0] for _, cell in members), look


def svg(lines: list[str], cursor: tuple[int, int]) -> str:
    width, height = COLUMNS * WIDE + 2 * MARGIN, len(lines) * HIGH + BAR + 1.4 * MARGIN
    top = BAR + MARGIN * 0.7

    def at(column: float, row: float) -> tuple[float, float]:
        return round(MARGIN + column * WIDE, 2), round(top + row * HIGH, 2)

    x, y = at(*cursor)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(TITLE)}</title>',
        f'<desc id="d">{escape(ALTERNATIVE)}</desc>',
        f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="9"'
        f' fill="{PAPER}" stroke="{EDGE}"/>',
        f'<path d="M1 {BAR}H{width - 1:.0f}" stroke="{EDGE}"/>',
        *(f'<circle cx="{MARGIN + 4 + 18 * n}" cy="{BAR / 2:g}" r="5" fill="{DOTS}"/>' for n in range(3)),
        f'<text x="{width / 2:.0f}" y="{BAR / 2 + 4.5:g}" fill="{FAINT}" font-size="13" text-anchor="middle"'
        f' font-family="system-ui, sans-serif">{escape(TITLE)}</text>',
        f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" fill="{INK}" opacity="0.55"/>',
        f'<g fill="{INK}" font-family="{FONTS}" font-size="{SIZE}" xml:space="preserve">',
    ]
    for number, row in enumerate(cells(lines)):
        for column, text, look in runs(row):
            if look.reverse:
                x, y = at(column, number)
                out.append(
                    f'<rect x="{x}" y="{y}" width="{len(text) * WIDE + 0.3:.2f}" height="{HIGH + 0.3:.2f}"'
                    f' fill="{look.paint}"/>'
                )
            if not text.strip():
                continue
            column += len(text) - len(text.lstrip())
            text = text.strip()
            x, y = at(column, number + 0.74)
            length = round(len(text) * WIDE, 2)
            out.append(
                f'<text x="{x}" y="{y}" textLength="{length}" lengthAdjust="spacingAndGlyphs"{look.attributes}>'
                f"{escape(text)}</text>"
            )
    return "\n".join([*out, "</g>", "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(svg(*take()), "utf-8")
    print(PICTURE.relative_to(ROOT))
