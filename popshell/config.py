"""The user's configuration: config.toml, the environment and the options, in rising order; each value knows its source.

One table of settings. A file that is not there costs nothing; one that cannot be read, or holds a name or value that
means nothing, is refused with its line. It has no place for passwords.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

from popshell.tuples import NamedTuple
from popshell.visible import show, width
from popshell.words import LANGUAGES

#: The program's commands (arguments.py has their parsers): no connection may be named like one.
SUBCOMMANDS = ("learn", "serve", "watch", "ping", "check", "run", "explain", "lint", "config", "lesson")
#: What `editing = "..."` can be.
EDITING = ("emacs", "vi")
NOTES = ("auto", "full", "brief", "off")
THEMES = ("auto", "dark", "light", "none")
TLS_MODES = ("implicit", "stls", "none")
TLS_MIN = ("1.2", "1.3")


def read_pin(text: str) -> str:
    """Pins as typed, in hexadecimal digits or base64, as `net.certificates.pin_of` writes them. Raises ValueError."""
    if "," in text:
        return ",".join(read_pin(one.strip()) for one in text.split(","))
    value = text[len(match[0]) :] if (match := re.match("(?i)sha256(:|//)", text)) else ""
    digits = value.replace(":", "")
    if re.fullmatch("[0-9A-Fa-f]{64}", digits):
        return "sha256:" + base64.b64encode(bytes.fromhex(digits)).decode()
    if not re.fullmatch("[A-Za-z0-9+/]{43}=", value):
        raise ValueError(text)
    return f"sha256:{value}"


def read_ip(text: str) -> str:
    """A numeric address as typed. Raises ValueError."""
    from ipaddress import ip_address

    return str(ip_address(text.strip("[]")))


def read_name(text: str) -> str:
    """The name of a host, or a numeric address, that a certificate can be for. Raises ValueError."""
    if not re.fullmatch(r"[^\s\x00-\x1f/@?#\\]+", text):
        raise ValueError(text)
    text.encode("idna")  # an empty label, and one of more than 63 octets, are none
    return text


Kind = tuple[str, ...] | type[Any] | Callable[[str], str]


class Setting(NamedTuple):
    """One setting: what it may be, what it is by itself, and the variable and the option that overrule the file.

    `kind` is a tuple of choices, a type (numbers as in _NUMBERS), or what reads a text and raises ValueError.
    """

    name: str
    kind: Kind
    default: object
    variable: str = ""
    option: str = ""


SETTINGS = (
    Setting("language", LANGUAGES, "", "POPSHELL_LANG", "--lang"),
    Setting("notes", NOTES, "auto", "", "--notes"),
    Setting("theme", THEMES, "auto", "", "--theme"),
    Setting("editing", EDITING, "emacs", "", "--vi"),
    Setting("plain", bool, False, "", "--plain"),
    Setting("ascii", bool, False, "", "--ascii"),
    Setting("lessons", str, "", "POPSHELL_LESSONS", "--lessons"),
    Setting("timeout", float, 60, "", "--timeout"),
)
#: The longest timeout, in seconds: a day.
LONGEST_TIMEOUT = 86_400.0
#: What numbers are, by their kind: above 0, the most, and the code of one that is not: seconds, and ports.
_NUMBERS: Mapping[Any, tuple[float, str]] = {float: (LONGEST_TIMEOUT, "seconds"), int: (65535, "port")}
#: A key of the keyboard as prompt_toolkit names it: f1 to f24, c-x, escape, s-tab.
_KEY = r"(?:f(?:[1-9]|1\d|2[0-4])|c-[a-z]|s-(?:tab|up|down|left|right))\Z"
_CONNECTION = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"


class Value(NamedTuple):
    """A value that holds, and where it comes from: "default", a variable, an option, or `config.toml:LINE`."""

    value: Any
    source: str


#: What `[connections.NAME]` may hold, and what holds without it.
CONNECTION: Mapping[str, tuple[Kind, object]] = MappingProxyType(
    {
        "host": (str, ""),
        "port": (int, None),
        "tls": (TLS_MODES, ""),  # the port decides
        "user": (str, ""),
        "ca": (str, ""),
        "pin": (read_pin, ""),
        "cert": (str, ""),
        "key": (str, ""),
        "tls_min": (TLS_MIN, ""),
        "sni": (read_name, ""),
        "address": (read_ip, ""),
        "ipv4": (bool, False),
        "ipv6": (bool, False),
        "password_command": (str, ""),
        "look_only": (bool, True),  # DELE is held back until `:unlock`
    }
)


class Connection(SimpleNamespace):
    """A named connection, with what CONNECTION names: `popshell NAME` goes to it. `ip` is its `address`."""

    @property
    def address(self) -> str:
        """Host and port as net/address.py reads them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else self.host


class Config(NamedTuple):
    """What holds: `values` by the names of SETTINGS, the named connections, and lines that keys type."""

    values: Mapping[str, Value]
    connections: Mapping[str, Connection]
    keys: Mapping[str, str]

    def get(self, name: str) -> Any:
        return self.values[name].value

    def with_options(self, given: Mapping[str, object]) -> Config:
        """The same with options of the command line over it, by the settings' names; None is not given."""
        over = {s.name: Value(given[s.name], s.option) for s in SETTINGS if given.get(s.name) is not None}
        return self._replace(values={**self.values, **over})

    def in_language(self, tag: str, source: str = "locale") -> Config:
        """The same, in the language `tag`, which `source` chose."""
        return self._replace(values={**self.values, "language": Value(tag, source)})


class ConfigError(ValueError):
    """config.toml means nothing at `line` (0: all of it). `code` names words in `messages.toml`, `[config]`."""

    def __init__(self, path: str | os.PathLike[str], line: int, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts: dict[str, object] = {"path": str(path), "line": line, **facts}


def config_path(environ: Mapping[str, str]) -> str:
    """Where config.toml lies. On Linux without platformdirs, whose import would cost every start 15 ms."""
    if sys.platform == "linux":
        home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return os.path.join(home, "popshell", "config.toml")
    import platformdirs

    return os.path.join(platformdirs.user_config_dir("popshell"), "config.toml")


def read_config(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Config:
    """What holds without options: `environ` over the file (None: no file) over the defaults. Raises ConfigError."""
    values = {setting.name: Value(setting.default, "default") for setting in SETTINGS}
    connections: Mapping[str, Connection] = {}
    keys: Mapping[str, str] = {}
    if path is not None and os.path.lexists(path):
        file, kinds = _File(path), {setting.name: setting.kind for setting in SETTINGS}
        for key, given in file.data.items():
            value = file.checked("", key, given, {**kinds, "connections": dict, "keys": dict})
            if key == "connections":
                connections = {name: _connection(file, name, rows) for name, rows in value.items()}
            elif key == "keys":
                keys = {name: _typed_line(file, name, line) for name, line in value.items()}
            else:
                values[key] = Value(value, f"{os.path.basename(path)}:{file.line('', key)}")
    for setting in SETTINGS:
        if setting.variable and (given := environ.get(setting.variable)):
            values[setting.name] = Value(given, setting.variable)
    return Config(values, connections, keys)


class _File:
    """config.toml as read, with the lines of its keys."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import tomllib  # 4 ms, for those who have a file

        self.path = path
        try:
            with open(path, "rb") as file:
                self.text = file.read(1024 * 1024).decode("utf-8")
            self.data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            at = int(found[1]) if found else self.text.count("\n") + 1
            raise ConfigError(path, at, "syntax", reason=error) from None
        except UnicodeDecodeError as error:
            raise ConfigError(path, error.object[: error.start].count(b"\n") + 1, "not-utf-8") from None
        except (OSError, RecursionError) as error:
            raise ConfigError(path, 0, "unreadable", reason=error) from None

    def wrong(self, table: str, key: str, code: str, **facts: object) -> ConfigError:
        return ConfigError(self.path, self.line(table, key), code, key=f"{table}.{key}".strip("."), **facts)

    def checked(self, table: str, key: str, value: Any, kinds: Mapping[str, Kind]) -> Any:
        """The value of a key, if it is of its kind; `kinds` are those of all the keys that there may be."""
        kind = kinds.get(key)
        if kind is None:
            raise self.wrong(table, key, "unknown", known=tuple(kinds))
        if isinstance(kind, tuple):
            if value not in kind:
                raise self.wrong(table, key, "choice", choices=kind)
        elif kind in _NUMBERS:
            most, code = _NUMBERS[kind]
            if type(value) not in (int, kind) or not 0 < value <= most:
                raise self.wrong(table, key, code)
        elif not isinstance(kind, type):
            try:
                return kind(str(value))
            except ValueError:
                raise self.wrong(table, key, kind.__name__) from None
        elif not isinstance(value, kind) or (isinstance(value, str) and any(ch < " " for ch in value)):
            raise self.wrong(table, key, {bool: "flag", dict: "no-table"}.get(kind, "text"))
        return value

    def line(self, table: str, key: str) -> int:
        """The line of a key of a table, or of the table's head; a key within an inline table is on its owner's line."""
        here, head, rows = "", 0, self.text.split("\n")
        for number, row in enumerate(rows, 1):
            if match := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", row):
                here = match[1].replace('"', "").replace("'", "")
                if here == table or here == f"{table}.{key}":
                    head = number
            elif (match := re.match(r"""\s*["']?([\w. -]+?)["']?\s*=""", row)) and f"{here}.{match[1]}".strip(".") in (
                f"{table}.{key}".strip("."),
                table,
            ):
                return number
        return head


def _typed_line(file: _File, name: str, line: object) -> str:
    if not re.match(_KEY, name):
        raise file.wrong("keys", name, "no-key")
    return str(file.checked("keys", name, line, {name: str}))


def _connection(file: _File, name: str, value: object) -> Connection:
    rows, table = file.checked("connections", name, value, {name: dict}), f"connections.{name}"
    if not re.match(_CONNECTION, name) or name == "practice":
        raise file.wrong("connections", name, "connection-name")
    if name in SUBCOMMANDS:
        raise file.wrong("connections", name, "connection-subcommand")
    if key := next((key for key in rows if key in ("password", "secret", "pass")), None):
        raise file.wrong(table, key, "password")
    kinds = {key: kind for key, (kind, _) in CONNECTION.items()}
    found = {_field(key): file.checked(table, key, given, kinds) for key, given in rows.items()}
    if not found.get("host"):
        raise file.wrong("connections", name, "connection-host")
    defaults = {_field(key): default for key, (_, default) in CONNECTION.items()}
    return Connection(name=name, **defaults | found)


def _field(key: str) -> str:
    return "ip" if key == "address" else key


def show_config(config: Config, what: str | None, words: Callable[..., str]) -> str:
    """`popshell config`: what holds and where it comes from; `connections` alone for completion of their names."""
    if what == "connections":
        return "".join(f"{name}\n" for name in config.connections)
    from json import dumps  # it writes these values as TOML does

    held = [(name, *value) for name, value in config.values.items()]
    for connection in config.connections.values():
        for name, (_, default) in CONNECTION.items():
            if (value := getattr(connection, _field(name))) != default:
                held.append((f"connections.{connection.name}.{name}", value, "config.toml"))
    held += ((f"keys.{key}", line, "config.toml") for key, line in config.keys.items())
    rows = [
        (f"{name} = {dumps(value, ensure_ascii=False)}", words("config.default") if source == "default" else source)
        for name, value, source in held
    ]
    widest = max(width(row) for row, _ in rows)
    out = [f"# {config_path(os.environ)}", *(f"{row}{' ' * (widest - width(row))}  # {source}" for row, source in rows)]
    return "".join(show(row, keep="") + "\n" for row in out)
