"""Catalog: finds `lessons/`, reads words and pages in a language, falls back to English.

`lessons/` lies beside the package in a checkout and inside it in a wheel; only the Traversable interface is used, so a
zip works, too. Everything is read when it is first asked for and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from popshell.course import gate
from popshell.visible import harmless, tame
from popshell.words import fill

if TYPE_CHECKING:
    import tomllib
    from importlib.resources.abc import Traversable

#: The languages, by tag, in their own words. `en` is the one that others fall back to.
LANGUAGES: Mapping[str, str] = {"en": "English", "zh-Hant": "繁體中文"}
_FENCE = "+++"
#: A key of more dots than that nests as deep; the parser would take quadratic time for it.
_DOTTED = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){20}""")
#: A text with one of these may hold what the raw file does not show.
_ESCAPED = re.compile(r"\\[uUbfex]")
#: Brackets in a head are nested no deeper (sec-D2).
DEEPEST = 20
_T = TypeVar("_T")
# A row of a plain table; control characters are left to tomllib, which refuses them.
_TEXT = r'[^"\\\x00-\x08\x0a-\x1f\x7f]*'
_PLAIN = re.compile(rf'([\w-]+) = "({_TEXT}(?:\\"{_TEXT})*)"', re.ASCII)


def bundled() -> Traversable:
    """The lessons that come with PopShell. Raises FileNotFoundError."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "lessons", package.parent / "lessons"):
        if folder.is_dir():
            return folder
    from importlib.resources import files  # 25 ms that only a zipped package has to pay

    zipped = files("popshell").joinpath("lessons")
    if zipped.is_dir():
        return zipped
    raise FileNotFoundError(str(package / "lessons"))


def choose_language(wanted: str | None, environ: Mapping[str, str]) -> str:
    """The language from --lang, then POPSHELL_LANG, then the locale (zh_TW, zh_HK, zh_MO and zh_Hant are zh-Hant)."""
    for name in (wanted, environ.get("POPSHELL_LANG")):
        if name and (tag := match_language(name)):
            return tag
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(variable):
            return match_language(value.partition(".")[0]) or "en"
    return "en"


def match_language(name: str) -> str | None:
    """The tag of a language that `name` asks for, or None."""
    name = name.replace("_", "-").lower()
    if name in ("zh", "zh-tw", "zh-hk", "zh-mo") or name.startswith("zh-hant"):
        return "zh-Hant"
    return "en" if name in ("en", "c", "posix") or name.startswith("en-") else None


class Page(NamedTuple):
    """A page: the notes of its head and its Markdown body. `path` is below the lessons directory."""

    path: str
    head: Mapping[str, Any]
    body: str

    @property
    def summary(self) -> str:
        return str(self.head.get("summary", ""))

    def note(self, *keys: str) -> str | None:
        """The text of the first of `section.key` that the head holds."""
        for key in keys:
            section, _, name = key.partition(".")
            table = self.head.get(section) if name else self.head
            text = table.get(name or section) if isinstance(table, dict) else None
            if isinstance(text, str):
                return text
        return None


class PageError(ValueError):
    """A page whose head cannot be read. The text says what is wrong, for the author."""


def read_page(path: str, text: str) -> Page:
    """Split a page into head and body. Raises PageError."""
    lines = text.split("\n")
    if not lines or lines[0].strip() != _FENCE:
        raise PageError(f"{path}:1: a page begins with a line {_FENCE}")
    try:
        end = next(at for at, line in enumerate(lines[1:], 1) if line.strip() == _FENCE)
    except StopIteration:
        raise PageError(f"{path}:1: the head has no closing line {_FENCE}") from None
    if (deep := too_deep(lines[1:end])) is not None:
        raise PageError(f"{path}:{deep + 1}: brackets nested deeper than {DEEPEST}")
    import tomllib

    try:
        head = tomllib.loads("\n".join(lines[1:end]))
    except tomllib.TOMLDecodeError as error:
        line = (_line_of(error) or end - 1) + 1  # none is told at the end of the head
        reason = re.sub(r" \(at line \d+, ", f" (at line {line}, ", str(error))  # lines of the file, not of the head
        raise PageError(f"{path}:{line}: the head is no TOML: {reason}") from error
    return Page(path, head, "\n".join(lines[end + 1 :]).strip("\n") + "\n")


def safe(table: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """`table`, read from `text`, with everything unsafe in its texts written out: it may be a stranger's (sec-R1).

    Most files hold nothing of the kind, and are told by one look at the whole.
    """
    if _ESCAPED.search(text) is None and (harmless(text) or tame(text) == text):
        return table
    made: Mapping[str, Any] = _tamed(dict(table))
    return made


def _tamed(value: Any) -> Any:
    if isinstance(value, str):
        return tame(value)
    if isinstance(value, dict):
        return {key: _tamed(inner) for key, inner in value.items()}
    return [_tamed(inner) for inner in value] if isinstance(value, list) else value


def too_deep(rows: list[str]) -> int | None:
    """The first of `rows`, from 1, where brackets are nested deeper than DEEPEST: a parser would run out of stack."""
    depth = 0
    for at, row in enumerate(rows, 1):
        if "." in row and _DOTTED.search(row):
            return at
        if depth + row.count("[") + row.count("{") <= DEEPEST:
            depth += row.count("[") + row.count("{") - row.count("]") - row.count("}")
        else:
            for ch in row:
                depth += (ch in "[{") - (ch in "]}")
                if depth > DEEPEST:
                    return at
        depth = max(depth, 0)
    return None


def _line_of(error: tomllib.TOMLDecodeError) -> int:
    """TOMLDecodeError tells the line in its text only."""
    words = str(error).partition("(at line ")[2].partition(",")[0]
    return int(words) if words.isdecimal() else 0


def read_tables(text: str) -> Mapping[str, Any]:
    """A TOML file. Most hold nothing but tables of plain strings: those are read here, in a tenth of the time.

    tomllib reads what has any other form, and says what is wrong with what has none. Raises tomllib.TOMLDecodeError,
    and ValueError for what is nested too deep for it (sec-D2).
    """
    table: dict[str, Any] = {}
    tables = table
    for row in text.split("\n"):
        if match := _PLAIN.fullmatch(row):
            if match[1] in table:
                break
            table[match[1]] = match[2].replace('\\"', '"')
        elif row.startswith("[") and row.endswith("]") and (name := row[1:-1]) not in tables and _is_key(name):
            table = tables[name] = {}
        elif row and not (row.startswith("#") and row.isprintable()):
            break
    else:
        return tables
    if (deep := too_deep(text.split("\n"))) is not None:
        raise ValueError(f"line {deep}: brackets nested deeper than {DEEPEST}")
    import tomllib  # 2 ms that the first prompt does without

    return tomllib.loads(text)


def _is_key(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").isalnum()


class Words:
    """The words of one language: `words("section.key", fact=...)`; English where a translation lacks a key."""

    __slots__ = ("_fallback", "_tables", "language")

    def __init__(self, language: str, tables: Mapping[str, Any], fallback: Words | None = None) -> None:
        self.language = language
        self._tables = tables
        self._fallback = fallback

    def get(self, key: str) -> str | None:
        """The template of `key`, placeholders and all; None if no language has it."""
        section, _, name = key.partition(".")
        table = self._tables.get(section)
        text = table.get(name) if isinstance(table, dict) else None
        if isinstance(text, str):
            return text
        return self._fallback.get(key) if self._fallback else None

    def __call__(self, key: str, /, **facts: object) -> str:
        """The text of `key`. Raises KeyError: a missing key or fact is a fault of ours."""
        template = self.get(key)
        text = fill(template, facts) if template is not None else None
        if text is None:
            raise KeyError(key)
        return text

    def listed(self, items: Iterable[object]) -> str:
        """Several things in a row, as the language tells them apart: `1, 3`."""
        return self("list.separator").join(map(str, items))

    def keys(self) -> Iterator[str]:
        return (f"{section}.{name}" for section, table in self._tables.items() for name in table)


@dataclass(slots=True, eq=False, repr=False)
class Catalog:
    """The lessons of one or more directories, the first that has a file wins."""

    roots: tuple[Traversable, ...]
    _cache: dict[tuple[str, str], Any] = field(default_factory=dict)

    def read(self, path: str) -> str:
        """The text of a file below `lessons/`. Raises FileNotFoundError, and gate.Refused."""
        for root in self.roots:
            data = gate.read(root, path)
            if data is not None:
                text = data.decode("utf-8")
                return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
        raise FileNotFoundError(path)

    def words(self, language: str) -> Words:
        def load() -> Words:
            fallback = None if language == "en" else self.words("en")
            text = self.read(f"{language}/messages.toml")
            return Words(language, safe(read_tables(text), text), fallback)

        return self._once(("words", language), load)

    def replies(self, language: str) -> Mapping[str, str]:
        """What the practice server says in a language."""
        return self._once(("replies", language), lambda: read_tables(self.read(f"{language}/replies.toml")))

    def page(self, language: str, path: str) -> Page | None:
        """The page `commands/RETR` in a language, else in English, else None. Raises PageError."""

        def load() -> Page | None:
            for tag in dict.fromkeys((language, "en")):
                file = f"{tag}/{path}.md"
                try:
                    text = self.read(file)
                    page = read_page(file, text)
                    return page._replace(head=safe(dict(page.head), text))
                except FileNotFoundError:
                    continue
                except UnicodeDecodeError as error:
                    raise PageError(f"{file}:1: the file is not UTF-8: {error.reason}") from None
                except gate.Refused as error:
                    raise PageError(f"{file}:1: {error.reason}") from None
            return None

        return self._once((language, path), load)

    def maildrop_files(self, name: str) -> list[tuple[str, bytes]]:
        """The `.eml` files of a maildrop. Raises FileNotFoundError, and gate.Refused."""
        folder = f"maildrops/{name}"
        for root in self.roots:
            names = gate.names(root, folder)
            if names is not None:
                mails = (mail for mail in names if mail.endswith(".eml") and not mail.startswith("."))
                read = ((mail, gate.read(root, f"{folder}/{mail}")) for mail in mails)
                return [(mail, data) for mail, data in read if data is not None]
        raise FileNotFoundError(name)

    def _once(self, key: tuple[str, str], load: Callable[[], _T]) -> _T:
        if key not in self._cache:
            self._cache[key] = load()
        found: _T = self._cache[key]
        return found
