"""What may be given on the command line: options, their words, and what is wrong with them.

Options are accepted before and after a subcommand. Their help stands in `messages.toml`, `[cli]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from popshell import __version__
from popshell.net.transport import TlsMode

if TYPE_CHECKING:
    import argparse

    from popshell.learn.catalog import Words

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


def parser(words: Words) -> argparse.ArgumentParser:
    """All options; their words come from `messages.toml`, `[cli]`."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Usage(message)

    made = Parser(
        prog="popshell", description=words("cli.description"), add_help=False, allow_abbrev=False, usage=SYNOPSIS
    )
    made.add_argument("words", nargs="*", metavar="HOST", help=words("cli.host"))
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


def peek(argv: list[str], name: str) -> str | None:
    """The value of an option before the arguments are parsed: help and errors are in its language already."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return None
