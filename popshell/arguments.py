"""What may be given on the command line: options, their words, and what is wrong with them.

Options are accepted before and after a subcommand. Their help stands in `messages.toml`, `[cli]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from popshell import __version__
from popshell.net.client import TlsMode
from popshell.visible import width

if TYPE_CHECKING:
    import argparse

    from popshell.course.catalog import Words

SUBCOMMANDS = ("learn", "lesson", "serve", "lint")

#: How the program is called, in no language.
SYNOPSIS = """popshell [OPTIONS] [HOST | HOST:PORT | pop://USER@HOST:PORT]
       popshell learn [LESSON]
       popshell serve [--port P] [--maildrop DIR] [--account NAME:PASSWORD] [--require-tls]
       popshell lint [DIR] [--fix-dialogues] [--mark-translated]
       popshell lesson new NAME [--lessons DIR]"""

#: Where an option means something: a subcommand, `HOST`, or the practice server inside ("").
_BELONGS: Mapping[str, tuple[str, ...]] = {
    "port": ("serve",),
    "fix_dialogues": ("lint",),
    "mark_translated": ("lint",),
    # without HOST they hold for `:connect HOST`
    "tls": ("HOST", "learn", ""),
    "ca": ("HOST", "learn", ""),
    "insecure": ("HOST", "learn", ""),
    "maildrop": ("serve", ""),
    "account": ("serve", ""),
    "require_tls": ("serve", ""),
}


class Usage(Exception):
    """The arguments are wrong; the text says how, in the user's language."""


class Arguments:
    """What was given on the command line; argparse sets it, and without arguments is not needed: 5 ms."""

    words: Sequence[str] = ()
    tls: str | None = None
    ca: Path | None = None
    insecure = False
    lang: str | None = None
    plain = False
    ascii = False
    lessons: Path | None = None
    json = False
    stop_on_err = False
    yes = False
    vi = False
    port: int | None = None
    maildrop: Path | None = None
    account: Sequence[str] | None = None
    require_tls = False
    fix_dialogues = False
    mark_translated = False


def stray_option(arguments: Arguments, kind: str) -> tuple[str, str] | None:
    """An option that was given and means nothing to `kind` (a subcommand, `HOST` or ""), and what it belongs to.

    It is refused, because one that is ignored may be the one that somebody relied on: `--require-tls HOST`.
    """
    for name, kinds in _BELONGS.items():
        if getattr(arguments, name) not in (None, False) and kind not in kinds:
            return f"--{name.replace('_', '-')}", " / ".join(found or "popshell" for found in kinds)
    return None


def synopsis(words: Words) -> str:
    """`usage: popshell ...`, in a language, its lines one below the other."""
    lead = words("cli.usage")
    rows = [row.strip() for row in SYNOPSIS.split("\n")]
    return lead + f"\n{' ' * width(lead)}".join(rows)


def parser(words: Words) -> argparse.ArgumentParser:
    """All options; their words come from `messages.toml`, `[cli]`, and so do the complaints."""
    import argparse

    class Formatter(argparse.HelpFormatter):
        """argparse counts characters, where a Chinese one has two columns."""

        def _split_lines(self, text: str, width: int) -> list[str]:
            return _filled(text, width)

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            return "\n".join(indent + row for row in _filled(text, width - len(indent)))

    class Parser(argparse.ArgumentParser):
        """argparse in our words: what is wrong, and what to do."""

        def error(self, message: str) -> NoReturn:
            raise Usage(words("cli.bad-arguments", reason=message))

        def format_usage(self) -> str:
            return f"{synopsis(words)}\n"

        def format_help(self) -> str:
            _, _, rest = super().format_help().partition("\n\n")
            for title in (words("cli.arguments"), words("cli.options")):
                rest = rest.replace(f"\n{title}:\n", f"\n{words('cli.heading', title=title)}\n")
            return f"{synopsis(words)}\n\n{rest}"

        def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
            try:
                found, unknown = self.parse_known_intermixed_args(args, namespace)
            except argparse.ArgumentError as error:
                raise Usage(self._complaint(error)) from None
            if unknown:
                raise Usage(self._stranger(unknown[0].partition("=")[0]))  # behind it may stand a password
            return found

        def _complaint(self, error: argparse.ArgumentError) -> str:
            action = next((a for a in self._actions if error.argument_name in a.option_strings), None)
            if action is None:
                return words("cli.bad-arguments", reason=error.message)
            option, choices = action.option_strings[0], words.listed(action.choices or ())
            if action.nargs == 0:
                return words("cli.no-value-wanted", option=option)
            value = _quoted(error.message)
            if value is None:
                return words("cli.no-value", option=option, value=action.metavar or "|".join(action.choices or ()))
            if choices:
                return words("cli.bad-choice", option=option, value=value, choices=choices)
            return words("cli.bad-number", option=option, value=value)

        def _stranger(self, option: str) -> str:
            from difflib import get_close_matches

            near = get_close_matches(option, self._option_string_actions, 1, 0.6)
            return words("cli.near-option" if near else "cli.unknown-option", option=option, near="".join(near))

    made = Parser(
        prog="popshell",
        description=words("cli.description"),
        add_help=False,
        allow_abbrev=False,
        usage=SYNOPSIS,
        exit_on_error=False,
        formatter_class=Formatter,
    )
    places = made.add_argument_group(words("cli.arguments"))
    places.add_argument("words", nargs="*", metavar="HOST", help=words("cli.host"))
    group = made.add_argument_group(words("cli.options"))

    def option(*names: str, key: str = "", **settings: object) -> None:
        group.add_argument(*names, help=words(f"cli.{key or names[0].lstrip('-')}"), **settings)  # type: ignore[arg-type]

    option("--tls", choices=[mode.value for mode in TlsMode])
    option("--ca", type=Path, metavar="FILE")
    option("--insecure", action="store_true")
    option("--lang", metavar="LANG")
    option("--plain", action="store_true")
    option("--ascii", action="store_true")
    option("--lessons", type=Path, metavar="DIR")
    option("--json", action="store_true")
    option("--stop-on-err", action="store_true")
    option("--yes", action="store_true")
    option("--vi", action="store_true")
    option("--port", type=int, metavar="P")
    option("--maildrop", type=Path, metavar="DIR")
    option("--account", action="append", metavar="NAME:PASSWORD")
    option("--require-tls", action="store_true")
    option("--fix-dialogues", action="store_true")
    option("--mark-translated", action="store_true")
    option("--version", "-V", action="version", version=f"popshell {__version__}")
    option("--help", "-h", action="help")
    return made


def _filled(text: str, room: int) -> list[str]:
    """`text` in rows of at most `room` columns; none begins with closing punctuation."""
    rows = [""]
    for piece in re.findall(r"(?:[!-~]+ ?|[^!-~])[，。；：、）」]*", text):
        if rows[-1] and width(rows[-1] + piece.rstrip()) > room:
            rows.append("")
        rows[-1] += piece
    return [row.rstrip() for row in rows]


def _quoted(message: str) -> str | None:
    """The value that argparse quotes in its complaint; None if the value is what is missing."""
    found = re.search(r"'(.*?)'", message)
    return found[1] if found else None


def peek(argv: list[str], name: str) -> str | None:
    """The value of an option before the arguments are parsed: help and errors are in its language already."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return None
