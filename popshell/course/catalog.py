"""Catalog: finds `lessons/`, reads words and pages in a language, falls back to English.

`lessons/` lies beside the package in a checkout and inside it in a wheel. A root is the path of a directory, or within
a zip a Traversable. Everything is read when it is first asked for and kept.

What is called `reason` in a text of ours is put into words, too: an exception of the system, of Python or a library,
or what one said. `[reason]` of `messages.toml` has the words. What no row knows stays as it is: a symbol to search for,
or words that are ours already.

A file is read only if it lies inside its folder, is a plain file, and has 1 MiB at most: any course is held to
that everywhere (sec-D2, D6). Trap: a pipe must not be waited for and a device has no size, so a file is opened
without waiting, looked at once more when it is open, and never read beyond the bound.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from popshell.course.document import Document, LessonError, read_tables, safe
from popshell.visible import show
from popshell.words import LANGUAGES as LANGUAGES
from popshell.words import Flaw, fill

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    Root = str | os.PathLike[str] | Traversable

_T = TypeVar("_T")


def bundled() -> str | Traversable:
    """The lessons that come with PopShell. Raises FileNotFoundError."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for folder in (os.path.join(package, "lessons"), os.path.join(os.path.dirname(package), "lessons")):
        if os.path.isdir(folder):
            return folder
    from importlib.resources import files  # 25 ms that only a zipped package has to pay

    zipped = files("popshell").joinpath("lessons")
    if zipped.is_dir():
        return zipped
    raise FileNotFoundError(os.path.join(package, "lessons"))


def choose_language(wanted: str | None, environ: Mapping[str, str]) -> str:
    """The language from --lang, then POPSHELL_LANG, then the locale (zh_TW, zh_HK, zh_MO and zh_Hant are zh-Hant)."""
    for name in (wanted, environ.get("POPSHELL_LANG")):
        if name and (tag := match_language(name)):
            return tag
    locale = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return match_language(locale.partition(".")[0]) or "en"


def match_language(name: str) -> str | None:
    """The tag of a language that `name` asks for, or None."""
    name = name.replace("_", "-").lower()
    if name in ("zh", "zh-tw", "zh-hk", "zh-mo"):
        return "zh-Hant"
    if name in ("c", "posix"):
        return "en"
    return next((tag for tag in LANGUAGES if f"{name}-".startswith(f"{tag.lower()}-")), None)


class Words:
    """The words of one language: `words("section.key", fact=...)`; where a file lacks a key, those of `fallback`."""

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
        """The text of `key`. A template that needs other facts is one of another version: then the fallback's counts.

        A fact called `reason` may be an exception, or what one said: it is put into words, too. A tuple is listed.

        Raises KeyError: a missing key or fact is a fault of ours.
        """
        if "reason" in facts:
            facts["reason"] = in_words(facts["reason"], self)
        facts |= {name: self.listed(fact) for name, fact in facts.items() if isinstance(fact, tuple)}
        template = self.get(key)
        text = fill(template, facts) if template is not None else None
        if text is not None:
            return text
        if self._fallback is None:
            raise KeyError(key)
        return self._fallback(key, **facts)

    def listed(self, items: Iterable[object]) -> str:
        """Several things in a row, separated as in the language: `1, 3`."""
        return self("list.separator").join(map(str, items))

    def named(self, name: str, what: str) -> str:
        """A name and what is said of it, with the colon of the language: `LIST: one line`."""
        return self("list.named", name=name, what=what)

    def keys(self) -> Iterator[str]:
        return (f"{section}.{name}" for section, table in self._tables.items() for name in table)


def _texts(roots: Iterable[Root], path: str) -> Iterator[str]:
    """The texts of a file below each of `roots` that has it. Raises Refused."""
    for root in roots:
        data = read_file(root, path)
        if data is not None:
            text = data.decode("utf-8-sig")
            yield text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


class Catalog:
    """The lessons of one or more directories, the first that has a file wins."""

    def __init__(self, roots: tuple[Root, ...]) -> None:
        self.roots = roots
        self._cache: dict[tuple[str, str], Any] = {}

    def read(self, path: str) -> str:
        """The text of a file below `lessons/`. Raises FileNotFoundError, and Refused."""
        text = next(_texts(self.roots, path), None)
        if text is None:
            raise FileNotFoundError(path)
        return text

    def words(self, language: str, name: str = "messages") -> Words:
        """The words of `<language>/messages.toml`; with the name of another file, of that and then of this one.

        Key by key: a course has words of its own, and what it lacks is taken from those that come with PopShell, then
        from English. Raises FileNotFoundError if none of them has the file.
        """

        def load() -> Words:
            found = None if name == "messages" else self.words(language)
            for tag in dict.fromkeys(("en", language)):
                for text in self._every(f"{tag}/{name}.toml"):
                    found = Words(language, safe(read_tables(text), text), found)
            if found is None:
                raise FileNotFoundError(f"{language}/{name}.toml")
            return found

        return self._once((name, language), load)

    @property
    def languages(self) -> Mapping[str, str]:
        """The languages by tag, in their own words."""
        return _Names(self)

    def replies(self, language: str) -> Mapping[str, str]:
        """What the practice server says in a language; what a course lacks is taken from the bundled lessons."""

        def load() -> Mapping[str, str]:
            texts = self._every(f"{language}/replies.toml")
            return {key: text for table in texts for key, text in read_tables(table).items()}

        return self._once(("replies", language), load)

    def _every(self, path: str) -> list[str]:
        """A file as every root has it, the bundled lessons first: what comes later goes before it."""
        ours = bundled()
        return [*_texts((*(root for root in self.roots if root != ours), ours), path)][::-1]

    def document(self, path: str) -> Document:
        """A file as a Document. Raises FileNotFoundError, and LessonError if it cannot be read; not for its head."""
        try:
            return Document(path, self.read(path))
        except FileNotFoundError:
            raise
        except (OSError, UnicodeDecodeError) as error:
            raise LessonError(path, 0, "bad-lesson", reason=error) from None

    def page(self, language: str, path: str) -> Document | None:
        """The page `commands/RETR` in a language, else in English, else None. Raises LessonError."""

        def load() -> Document | None:
            for tag in dict.fromkeys((language, "en")):
                try:
                    page = self.document(f"{tag}/{path}.md").checked()
                except FileNotFoundError:
                    continue
                page.head = safe(page.head, page.text)
                return page
            return None

        return self._once((language, path), load)

    def maildrop_files(self, name: str) -> list[tuple[str, bytes]]:
        """The `.eml` files of a maildrop. Raises FileNotFoundError, and Refused."""
        folder = f"maildrops/{name}"

        def load() -> list[tuple[str, bytes]]:
            for root in self.roots:
                names = names_in(root, folder)
                if names is not None:
                    mails = (mail for mail in names if mail.endswith(".eml") and not mail.startswith("."))
                    read = ((mail, read_file(root, f"{folder}/{mail}")) for mail in mails)
                    return [(mail, data) for mail, data in read if data is not None]
            raise FileNotFoundError(name)

        return self._once(("maildrop", name), load)

    def _once(self, key: tuple[str, str], load: Callable[[], _T]) -> _T:
        if key not in self._cache:
            self._cache[key] = load()
        found: _T = self._cache[key]
        return found


class _Names(Mapping[str, str]):
    """The languages' own names, each read when it is asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getitem__(self, tag: str) -> str:
        if tag not in LANGUAGES:
            raise KeyError(tag)
        return self._catalog.words(tag)("language.name")

    def __iter__(self) -> Iterator[str]:
        return iter(LANGUAGES)

    def __len__(self) -> int:
        return len(LANGUAGES)


# -- reasons -----------------------------------------------------------------------------------------------------------

#: A key of `[reason]`, and the whole of a text that it stands for; groups are its facts, `reason` a reason within it.
_TEXTS = (
    # where it is
    ("at", r"(?P<reason>.+?) \(at line (?P<line>\d+), column (?P<column>\d+)\)"),
    ("", r"(?P<reason>.+?) \(at end of document\)"),
    ("place", r"(?P<reason>.+?) - at `(?P<place>.+?)`"),
    # tomllib
    ("twice", r"Cannot (?:overwrite|declare|mutate|redefine) .+|Duplicate inline table key .+"),
    ("no-equals", "Expected '=' after a key in a key/value pair"),
    ("not-closed", r"Unterminated .+|Unclosed .+|Expected (?:\"|').+|Illegal character '\\n'"),
    ("no-key", "Invalid initial character for a key part|Invalid statement"),
    ("no-value", "Invalid value|Invalid date or datetime"),
    ("bad-character", r"Illegal character .+|Unescaped .+|Invalid hex value|Escaped .+|Found invalid .+"),
    ("line-goes-on", "Expected newline or end of document after a statement"),
    # msgspec
    ("missing", r"Object missing required field `(?P<name>[^`]+)`"),
    ("unknown", r"Object contains unknown field `(?P<name>[^`]+)`"),
    ("kind", r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>[^`]+)`"),
    ("range", r"Expected `[^`]+` (?P<bound>.+)"),
    ("value", r"Invalid enum value (?P<value>.+)"),
    # shlex
    ("not-closed", "No closing quotation|No escaped character"),
)


def in_words(reason: object, words: Words) -> str:
    """A reason in words: of an exception, of its text, or of the symbol of an errno."""
    if isinstance(reason, LessonError):
        place = f"{reason.path}:{reason.line}" if reason.line else reason.path
        why = reason.facts.get("reason")
        return f"{show(place)}: {in_words(why, words) if why else words(f'lint.{reason.code}', **reason.facts)}"
    if isinstance(reason, Flaw):
        return words(f"reason.{reason.code}", **reason.facts)
    if isinstance(flaw := getattr(reason, "__cause__", None), Flaw):  # msgspec says where it is
        return in_words(Flaw("place", reason=flaw, place=str(reason).rpartition(" - at `")[2].rstrip("`")), words)
    if isinstance(reason, OSError) and isinstance(symbol := getattr(reason, "reason", None), str):  # of OpenSSL
        return symbol
    if isinstance(reason, OSError) and (reason.errno or isinstance(reason, FileNotFoundError)):
        reason = errno.errorcode.get(reason.errno or errno.ENOENT, str(reason.errno))
    elif isinstance(reason, UnicodeDecodeError):
        return words("reason.not-utf-8")
    elif isinstance(reason, RecursionError):
        return words("reason.nested")
    elif isinstance(reason, UnicodeError | BaseException):
        reason = str(reason) or type(reason).__name__
    text = str(reason)
    if text.isupper() and words.get(f"reason.{text}"):
        return words(f"reason.{text}")
    for key, pattern in _TEXTS:
        if found := re.fullmatch(pattern, text, re.DOTALL):
            facts = found.groupdict()
            if key == "kind":
                kinds = {name: kind.removesuffix(" | null") for name, kind in facts.items()}
                facts = {name: words.get(f"reason.type-{kind}") or f"`{kind}`" for name, kind in kinds.items()}
            return words(f"reason.{key}", **facts) if key else in_words(facts["reason"], words)
    return show(text)


# -- what may be read --------------------------------------------------------------------------------------------------

#: No file of a course is larger (sec-D2).
LARGEST = 1 << 20


class Refused(LessonError):
    """A file that a course must not have, and that was not read."""


def read_file(root: Root, path: str) -> bytes | None:
    """The octets of the file `path` below `root`; None if there is none. Raises Refused."""
    if not isinstance(root, str | os.PathLike):  # in a zip there are neither links nor devices
        packed = _within(root, path)
        return packed.read_bytes() if packed.is_file() else None
    name = os.path.join(root, path)
    if not os.path.lexists(name) or (os.path.isdir(name) and not os.path.islink(name)):
        return None
    check_file(root, path)
    with open(os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(path, 0, "not-a-file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Refused(path, 0, "too-large", octets=len(data), most=LARGEST)
    return data


def names_in(root: Root, path: str) -> list[str] | None:
    """The names in the folder `path` below `root`, in order; None if there is no such folder. Raises Refused."""
    if not isinstance(root, str | os.PathLike):
        packed = _within(root, path)
        return sorted(node.name for node in packed.iterdir()) if packed.is_dir() else None
    if not os.path.lexists(os.path.join(root, path)):
        return None
    check_file(root, path, folder=True)
    return sorted(os.listdir(os.path.join(root, path)))


def check_file(root: Root, path: str, *, folder: bool = False) -> None:
    """Raises Refused for what is there and must not be read: a file, or with `folder` a folder."""
    if not isinstance(root, str | os.PathLike) or not os.path.lexists(os.path.join(root, path)):
        return
    real = os.fspath(root)
    parts = path.split("/")
    if ".." in parts or any(os.path.islink(real := os.path.join(real, part)) for part in parts):
        real, base = os.path.realpath(os.path.join(root, path)), os.path.realpath(root)
        if real != base and not real.startswith(os.path.join(base, "")):
            raise Refused(path, 0, "leaves-folder", target=real)
    try:
        found = os.stat(real)
    except OSError:  # a link to nothing, or to itself
        raise Refused(path, 0, "not-a-file") from None
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode):
        raise Refused(path, 0, "not-a-file")
    if not folder and found.st_size > LARGEST:
        raise Refused(path, 0, "too-large", octets=found.st_size, most=LARGEST)


def _within(root: Traversable, path: str) -> Traversable:
    for part in path.split("/"):
        root = root.joinpath(part)
    return root
