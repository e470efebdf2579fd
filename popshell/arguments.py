"""The command line: one table of commands, one of options, and an argparse parser for each command.

The first word that is neither an option nor an option's value chooses the parser: a name of COMMANDS is that command,
any other word is a HOST, and so is what follows `--`. Options that every command takes may stand before or after the
name. Their words stand in `messages.toml`, `[cli]`; argparse's own messages come in the user's language through the
function that argparse calls for gettext.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from popshell import __version__
from popshell.config import LONGEST_TIMEOUT, NOTES, SUBCOMMANDS, THEMES, TLS_MIN, Config, read_ip, read_name, read_pin
from popshell.course.catalog import match_language
from popshell.net.address import Destination, TlsMode, Way, expanded, parse_address
from popshell.net.errors import NetError
from popshell.tuples import NamedTuple
from popshell.ui.layout import wrap_text
from popshell.words import LANGUAGES

if TYPE_CHECKING:
    import argparse

    from popshell.course.catalog import Words


class Place(NamedTuple):
    """A word of a command that is no option. `words` is the key of its help; `nargs` is argparse's: "?" one or none,
    None one, "+" several, after which a HOST may stand."""

    name: str
    metavar: str
    words: str
    nargs: str | None = "?"
    choices: tuple[str, ...] | None = None


#: Each command with its places; "" is the shell itself.
COMMANDS: Mapping[str, tuple[Place, ...]] = MappingProxyType(
    {
        "": (Place("address", "HOST", "which-host"),),
        "learn": (Place("lesson", "LESSON", "which-lesson"),),
        "serve": (),
        "watch": (Place("address", "HOST", "which-host", None),),
        "ping": (Place("address", "HOST", "which-host", None),),
        "check": (Place("address", "HOST", "which-host"),),
        "run": (Place("scripts", "FILE", "scripts", "+"),),
        "explain": (Place("log", "FILE", "log-file", None),),
        "lint": (Place("directory", "DIR", "language"),),
        "config": (Place("what", "connections", "names-only", choices=("connections",)),),
        "lesson": (Place("action", "new", "new", None, ("new",)), Place("name", "NAME", "name", None)),
    }
)
assert tuple(COMMANDS)[1:] == SUBCOMMANDS


class Option(NamedTuple):
    """An option: its names, what add_argument() gets, its heading in the help, and the commands that take it.

    `commands` holds names of COMMANDS; "HOST" is the shell with a HOST, "" the shell without one. None is all of them.
    """

    names: tuple[str, ...]
    settings: Mapping[str, Any]
    heading: str = "general"
    commands: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        return self.names[0].removeprefix("--")

    @property
    def attribute(self) -> str:
        """Where Arguments has it."""
        return str(self.settings.get("dest") or self.name.replace("-", "_"))

    @property
    def may_have_value(self) -> bool:
        """Whether it is a flag that takes a value after `=` alone: the word after it is not its own."""
        return self.settings.get("nargs") == "?"

    @property
    def usage(self) -> str:
        """As it is typed: `--tls implicit|stls|none`, `--ca FILE`, `--insecure`."""
        return f"{self.names[0]}{self.shown_value}"

    @property
    def takes_value(self) -> bool:
        """Whether the word after it is its value."""
        return not self.may_have_value and ("metavar" in self.settings or "choices" in self.settings)

    @property
    def shown_value(self) -> str:
        """Its value as help and references show it, with what stands between both; "" if it has none."""
        value = "|".join(self.settings.get("choices") or ()) or self.settings.get("metavar", "")
        return f"[={value}]" if self.may_have_value else value and f" {value}"

    def belongs_to(self, command: str) -> bool:
        """Whether the parser of `command` has it."""
        return self.commands is None or command in self.commands or (command == "" and "HOST" in self.commands)


_PATH: Mapping[str, Any] = MappingProxyType({"type": lambda text: text or "."})  # an empty path is not as if none
_SHELL = ("HOST", "", "learn")
_SHOWS = (*_SHELL, "watch", "config")  # `popshell config` shows what would hold
_LOGS_IN = ("HOST", "", "check", "run")
_RECORDS = (*_SHELL, "serve", "explain", "check", "run", "watch", "ping")


def _option(*names: str, heading: str = "general", commands: tuple[str, ...] | None = None, **settings: Any) -> Option:
    return Option(names, settings or {"action": "store_true"}, heading, commands)


#: Without a HOST they hold for `:connect HOST`.
_connection = partial(_option, heading="connection", commands=("HOST", "watch", "learn", "", "check", "run", "ping"))
_listening = partial(_option, heading="listening")
_practice = partial(_option, heading="practice", commands=("serve", "", "run"))
_check = partial(_option, heading="check", commands=("check",))
_output = partial(_option, heading="output")


def read_seconds(text: str) -> float:
    """Seconds above 0, a day at the most. Raises ValueError."""
    seconds = float(text)
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise ValueError(text)
    return seconds


OPTIONS = (
    _connection("--tls", choices=[mode.value for mode in TlsMode]),
    _connection("--ca", **_PATH, metavar="FILE"),
    _connection("--pin", type=read_pin, action="append", dest="pins", metavar="PIN"),
    _connection("--cert", **_PATH, metavar="FILE"),
    _connection("--key", **_PATH, metavar="FILE"),
    _connection("--tls-min", choices=TLS_MIN),
    _connection("--sni", type=read_name, metavar="NAME"),
    _connection("--address", type=read_ip, metavar="IP", dest="ip"),
    _connection("--ipv4", "-4"),
    _connection("--ipv6", "-6"),
    _connection("--insecure"),
    _connection("--timeout", type=read_seconds, metavar="SECONDS"),
    _option("--user", metavar="NAME", heading="passwords", commands=("check", "run")),
    _option("--password-command", metavar="COMMAND", heading="passwords", commands=_LOGS_IN),
    _option("--password-fd", type=int, metavar="N", heading="passwords", commands=_LOGS_IN),
    _option("--token-command", metavar="COMMAND", heading="passwords", commands=("HOST", "")),
    _listening("--listen", type=int, metavar="PORT", commands=("watch",)),
    _listening("--port", type=int, metavar="P", commands=("serve",)),
    _listening("--tls-port", type=int, metavar="P", commands=("serve", "watch")),
    _listening("--ca-out", **_PATH, metavar="FILE", commands=("serve", "watch")),
    _listening("--client-cert-out", **_PATH, metavar="FILE", commands=("serve",)),
    _listening("--host", metavar="ADDRESS", commands=("serve",)),
    _listening("--lan", commands=("serve",)),
    _practice("--surrogates", commands=("serve",)),
    _practice("--maildrop", **_PATH, metavar="DIR"),
    _practice("--account", action="append", metavar="NAME:PASSWORD"),
    _practice("--require-tls"),
    _practice("--mechanisms", action="append", metavar="NAMES"),
    _practice("--without", action="append", metavar="NAMES"),
    _check("--fetch"),
    _check("--wrong-login"),
    _check("--destructive"),
    _check("--wait", type=read_seconds, metavar="SECONDS"),
    _check("--exec", metavar="COMMAND"),
    _output("--tap", commands=("check",)),
    _output("--junit", metavar="FILE", commands=("check", "run")),
    _output("--format", metavar="NAME", commands=("explain",)),
    _option("--fix-dialogues", heading="files", commands=("lint",)),
    _option("--mark-translated", heading="files", commands=("lint",)),
    _output("--plain", commands=_SHOWS),
    _output("--ascii", commands=_SHOWS),
    _output("--json", nargs="?", choices=("1", "2"), const="2", commands=_RECORDS),
    _output("--log", metavar="FILE", commands=("HOST", "watch", "learn", "", "serve")),
    _output("--send", "-c", action="append", metavar="LINE", commands=("HOST", "")),
    _output("--stop-on-err", commands=(*_SHELL, "run")),
    _output("--yes", commands=_SHELL),
    _output("--notes", choices=NOTES, commands=_SHOWS),
    _output("--theme", choices=THEMES, commands=_SHOWS),
    _option("--vi", action="store_const", const="vi", commands=(*_SHELL, "config")),
    _option("--lang", type=lambda name: match_language(name) or name, choices=LANGUAGES),
    _option("--lessons", **_PATH, metavar="DIR"),
    _option("--version", "-V", action="version", version=f"popshell {__version__}"),
    _option("--help", "-h", action="help"),
)

_BY_NAME = {name: option for option in OPTIONS for name in option.names}
_NOT_GIVEN: Mapping[str, object] = {
    **{place.name: None for places in COMMANDS.values() for place in places},
    **{option.attribute: False if option.settings.get("action") == "store_true" else None for option in OPTIONS},
}
#: The options that `:connect` takes, too.
CONNECT_OPTIONS = tuple(option for option in OPTIONS if option.heading == "connection")
#: Those that mean nothing without TLS.
_OF_TLS = ("ca", "pins", "cert", "key", "tls_min", "sni", "insecure")


#: argparse's messages (its msgids) and the keys of ours; one that is not listed stays in English. argparse fills in the
#: values by `%`, so ours have its placeholders; `%.0r` drops a value that may be a password.
ARGPARSE: Mapping[str, str] = MappingProxyType(
    {
        "usage: ": "usage",
        "argument %(argument_name)s: %(message)s": "argument",
        "expected one argument": "value-missing",
        "ignored explicit argument %r": "value-not-wanted",
        "the following arguments are required: %s": "required",
    }
)


class Usage(Exception):
    """The arguments are wrong; the text says how, in the user's language. `command` is the one that was meant."""

    def __init__(self, text: str, command: str = "") -> None:
        super().__init__(text)
        self.command = command


class Arguments(SimpleNamespace):
    """What was given on the command line, places and options by name; what was not is False for a flag, else None.

    argparse sets it; a start without arguments does without argparse (5 ms).
    """

    command = ""

    def __getattr__(self, name: str) -> Any:
        """Called for what was not given."""
        if name in _NOT_GIVEN:
            return _NOT_GIVEN[name]
        raise AttributeError(name)

    @property
    def pin(self) -> str:
        """Any one of several will do, as of those in one `--pin`."""
        return ",".join(self.pins or ())


def parse_arguments(argv: Sequence[str], words: Words) -> Arguments:
    """Read `argv`. Raises Usage; SystemExit after `--help` and `--version`."""
    found = Arguments()
    if not argv:
        return found
    at = next((at for at in _own_words(argv) if not argv[at].startswith("-")), None)
    where = "HOST" if at is not None or "--" in argv[:-1] else ""
    if at is not None and argv[at] in SUBCOMMANDS:
        where = found.command = argv[at]
        argv = [*argv[:at], *argv[at + 1 :]]
    for at in _own_words(argv):
        if (option := _BY_NAME.get(argv[at].partition("=")[0])) and not option.belongs_to(where):
            # It would be ignored, and somebody may rely on it, as in `--require-tls HOST`.
            commands = (f"`{f'popshell {command}'.strip()}`" for command in option.commands or ())
            raise Usage(words("cli.only-with", option=option.names[0], commands=words.listed(commands)), found.command)
    _, unknown = parser(found.command, words).parse_known_intermixed_args(_with_values(argv), found)
    if unknown:
        raise Usage(_objection(unknown[0], words), found.command)
    if found.tls == "none" and found.command in ("ping", "watch"):  # elsewhere STLS may be typed, or be a row
        for option in CONNECT_OPTIONS:
            if option.attribute in _OF_TLS and getattr(found, option.attribute):
                raise Usage(words("cli.without-tls", option=option.names[0]), found.command)
    return found


def _own_words(argv: Sequence[str]) -> Iterator[int]:
    """Where the words before `--` stand that are no value of an option before them."""
    at = 0
    while at < len(argv) and argv[at] != "--":
        yield at
        at += 2 if (option := _BY_NAME.get(argv[at])) and option.takes_value else 1


def _with_values(argv: Sequence[str]) -> list[str]:
    """`argv` with the value of each flag that may have one: argparse would take the word after it, a HOST."""
    values = {name: option.settings["const"] for option in OPTIONS if option.may_have_value for name in option.names}
    end = argv.index("--") if "--" in argv else len(argv)
    return [*(f"{word}={values[word]}" if word in values else word for word in argv[:end]), *argv[end:]]


def _objection(word: str, words: Words) -> str:
    """What is wrong with a word that a command does not take. What follows `=` may be a password: not repeated."""
    from difflib import get_close_matches

    if not word.startswith("-"):
        return words("cli.too-many", word=word)
    name = word.partition("=")[0]
    near = get_close_matches(name, _BY_NAME, 1, 0.6)
    return words("cli.near-option" if near else "cli.unknown-option", option=name, near="".join(near))


def synopsis(command: str) -> str:
    """How a command is called, in no language: `popshell learn [OPTIONS] [LESSON]`."""
    shown = {"?": "[{}]", None: "{}", "+": "{}... [HOST]"}
    places = (shown[place.nargs].format(place.metavar) for place in COMMANDS[command])
    return " ".join(("popshell", *([command] if command else ()), "[OPTIONS]", *places))


def parser(
    command: str, words: Words, objection: str = "cli.bad-arguments", options: Sequence[Option] = OPTIONS
) -> argparse.ArgumentParser:
    """The parser of one command of COMMANDS, in the language of `words`; `objection` is the key of its errors."""
    import argparse

    def translated(message: str) -> str:
        return words(f"cli.{ARGPARSE[message]}") if message in ARGPARSE else message

    argparse._ = translated  # type: ignore[attr-defined]

    class Formatter(argparse.HelpFormatter):
        """argparse counts characters, where a Chinese one has two columns; line breaks of a text are kept."""

        def _format_action_invocation(self, action: argparse.Action) -> str:
            return super()._format_action_invocation(action).replace(" [", "[=")

        def _split_lines(self, text: str, width: int) -> list[str]:
            lead = text[: len(text) - len(text.lstrip(" "))]  # each row begins with it
            return wrap_text(text, width, lead, lead) or [""]

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            rows = (row for part in text.split("\n") for row in self._split_lines(part, width - len(indent)))
            return "\n".join(indent + row for row in rows)

    given: dict[str, str] = {}

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Usage(words(objection, reason=message, called=f"popshell {command}".rstrip()), command)

        def _get_value(self, action: argparse.Action, text: str) -> Any:
            read: Any = action.type or str
            try:
                return read(text)
            except ValueError:
                key = f"cli.value-{read.__name__.removeprefix('read_')}"
                raise argparse.ArgumentError(action, words(key, value=text)) from None

        def _check_value(self, action: argparse.Action, value: Any) -> None:
            if action.type is _PATH["type"] and given.setdefault(action.dest, value) != value:
                raise argparse.ArgumentError(action, words("cli.twice"))
            if action.choices is not None and value not in action.choices:
                choices = tuple(f"`{choice}`" for choice in action.choices)
                raise argparse.ArgumentError(action, words("cli.choice", value=value, choices=choices))

        def format_help(self) -> str:
            text = super().format_help()
            for group in self._action_groups:  # argparse ends a heading with an ASCII colon
                text = text.replace(f"\n{group.title}:\n", f"\n{words('cli.heading', title=group.title)}\n")
            return text

    made = Parser(
        prog=f"popshell {command}".strip(),
        usage=synopsis(command),
        description=words(f"cli.about-{command or 'shell'}"),
        epilog="\n".join(_epilog(command, words)),
        add_help=False,
        allow_abbrev=False,
        formatter_class=Formatter,
    )
    places = made.add_argument_group(words("cli.arguments"))
    for place in COMMANDS[command]:
        about = words(f"cli.{place.words}")
        places.add_argument(place.name, nargs=place.nargs, metavar=place.metavar, choices=place.choices, help=about)
    for heading in dict.fromkeys(option.heading for option in options):
        group = made.add_argument_group(words(f"cli.options-{heading}"))
        for option in options:
            if option.heading == heading and option.belongs_to(command):
                group.add_argument(*option.names, help=words(f"cli.{option.name}"), **option.settings)
    return made


def _epilog(command: str, words: Words) -> Iterator[str]:
    """Below the options: the other commands (of the shell), and examples, which are in no language."""
    if not command:
        yield words("cli.heading", title=words("cli.commands"))
        for name in SUBCOMMANDS:
            yield f"  {name:<8} {words(f'cli.{name}')}"
        yield ""
    yield words("cli.heading", title=words("cli.examples"))
    number = 1
    while example := words.get(f"cli.example-{command or 'shell'}-{number}"):
        yield f"  {example}"
        number += 1


# -- where to connect --------------------------------------------------------------------------------------------------


#: Options that hold for every place, and not only for the HOST that they were given with.
_GENERAL = ("ca", "tls_min", "ipv4", "ipv6")


def destination_of(wanted: Arguments, given: Arguments, config: Config, here: Destination | None = None) -> Destination:
    """Where `wanted` leads: to its HOST, or the connection of config.toml that has this name. Raises AddressError.

    What `wanted` leaves out is as at the place `here`, and then as the command line `given` has it; what belongs to the
    one HOST of `given`, such as a pin, holds nowhere else.
    """
    known = config.connections.get(wanted.address or "") if here is None else None
    tls = wanted.tls or (known.tls if known is not None else "") or given.tls
    address = None
    if here is not None and here.address is not None:
        address = here.address._replace(tls=TlsMode(wanted.tls) if wanted.tls else here.address.tls)
    elif wanted.address is not None:
        address = parse_address(known.address if known is not None else wanted.address, TlsMode(tls) if tls else None)
        address = address._replace(user=known.user) if known is not None else address
    seconds = config.get("timeout") if config.values["timeout"].source != "default" else None
    place = known or here
    look_only, command = (place.look_only, place.password_command) if place is not None else (True, "")
    fields = Way._fields if given is wanted or given.address is None else _GENERAL
    way = {name: value for name in fields if (value := getattr(given, name))}
    for source in (here.way if here is not None else None, known, wanted):
        way |= {name: value for name in Way._fields if (value := getattr(source, name, None))}
    way |= {name: expanded(way[name]) for name in ("ca", "cert", "key") if way.get(name)}
    timeout = wanted.timeout or (here.timeout if here is not None else None) or seconds
    return Destination(address, Way(**way), wanted.insecure, timeout, look_only, command)


def read_destination(text: str, here: Destination, given: Arguments, config: Config, words: Words) -> Destination:
    """Where `:connect TEXT` leads: as `destination_of`; options without a HOST hold for the place `here`.

    Raises AddressError, and NetError `misread` with a `reason` in words.
    """
    import shlex

    wanted = Arguments()
    try:
        made = parser("", words, "cli.connect-arguments", CONNECT_OPTIONS)
        _, unknown = made.parse_known_intermixed_args(shlex.split(text), wanted)
        for word in unknown[:1]:
            key = "cli.connect-option" if word.startswith("-") else "cli.too-many"
            raise Usage(words(key, option=word.partition("=")[0], word=word))
    except (Usage, ValueError) as error:
        reason = str(error) if isinstance(error, Usage) else words("cli.open-quote")
        raise NetError("misread", reason=reason) from None
    if wanted.address == "practice":
        wanted.address = None
        return destination_of(wanted, given, config)
    return destination_of(wanted, given, config, here if wanted.address is None else None)


def peek(argv: Sequence[str], name: str) -> str | None:
    """The value of an option before the arguments are parsed: help and errors are in its language already."""
    for word, following in pairwise((*argv, "")):
        if word == name or word.startswith(f"{name}="):
            return following if word == name else word.partition("=")[2]
    return None
