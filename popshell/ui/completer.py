"""Completion and history: what could stand at the cursor, and what was typed before, without any secret (sec-K3).

Deciding *what* to suggest is `suggest()`, apart from prompt_toolkit. With 100,000 messages nothing is scanned: numbers
with a given prefix are computed, 50 at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from itertools import islice

from prompt_toolkit import auto_suggest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

from popshell.course.catalog import LANGUAGES, Catalog
from popshell.course.explain import objection, warning
from popshell.protocol.commands import COMMANDS, CommandSpec, Kind, State
from popshell.protocol.line import Context, parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.tuples import NamedTuple
from popshell.ui.layout import clip
from popshell.ui.shell import MetaCommands
from popshell.visible import show

MOST = 50


class Suggestion(NamedTuple):
    """A word to put in place of the last `length` characters, and a remark on it."""

    text: str
    length: int
    remark: str = ""


class Known(NamedTuple):
    """What completion needs to know, read when Tab is pressed."""

    context: Context
    capabilities: dict[str, tuple[str, ...]] | None
    language: str
    name: str = ""
    ascii: bool = False
    metas: Callable[[], MetaCommands] | None = None
    #: the names of connections, and the options of `:connect` as they are typed
    connections: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def suggest(text: str, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    """What could stand at the end of `text`."""
    if text.startswith(":"):
        yield from _metas(text, known, catalog)
        return
    words = text.split(" ")
    if len(words) == 1:
        yield from _commands(text, known, catalog)
        return
    spec = COMMANDS.get(words[0].upper())
    at = len(words) - 2
    if spec is None or at >= len(spec.params):
        return
    prefix = words[-1]
    match spec.params[at].kind:
        case Kind.MESSAGE:
            yield from _numbers(prefix, spec, known, catalog)
        case Kind.LINES:
            yield from (Suggestion(n, len(prefix)) for n in ("0", "5", "10") if n.startswith(prefix))
        case Kind.MECHANISM:
            # Without a list: the one that each server MUST implement (RFC 5034 §4).
            offered = (known.capabilities or {}).get("SASL") or ("PLAIN",)
            yield from _words(prefix, (show(name, keep="") for name in offered))
        case Kind.LANGUAGE:
            yield from _words(prefix, (*LANGUAGES, "*"))
        case Kind.NAME if known.name:
            yield from _words(prefix, (known.name,))
        case Kind.INITIAL:
            yield from _words(prefix, ("=",))


def _words(prefix: str, words: Iterator[str] | tuple[str, ...]) -> Iterator[Suggestion]:
    yield from (Suggestion(word, len(prefix)) for word in words if word.lower().startswith(prefix.lower()))


def _commands(prefix: str, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    """Legal commands first, then the others with the reason; no historic ones."""
    words = catalog.words(known.language)
    if not prefix and known.context.state is State.CLOSED:
        yield Suggestion(":connect", 0, words("meta.connect"))
        return
    here: list[Suggestion] = []
    elsewhere: list[Suggestion] = []
    for spec in COMMANDS.values():
        if spec.historic or not spec.name.startswith(prefix.upper()):
            continue
        name = spec.name if prefix == prefix.upper() else spec.name.lower()
        blank = " " if spec.params else ""
        if code := objection(spec, known.context):
            line = parse(spec.name, known.context)
            elsewhere.append(Suggestion(name + blank, len(prefix), warning(line, code, words)))
        else:
            page = catalog.page(known.language, f"commands/{spec.name}")
            here.append(Suggestion(name + blank, len(prefix), page.summary if page else ""))
    yield from here
    yield from elsewhere


def _metas(text: str, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    if known.metas is None:
        return
    table = known.metas()
    name, blank, rest = text[1:].partition(" ")
    words = catalog.words(known.language)
    if not blank:
        for meta in table.rows.values():
            if meta.name.startswith(name.lower()):
                yield Suggestion(f":{meta.name}" + (" " if meta.param else ""), len(text), words(f"meta.{meta.name}"))
        return
    metas = table.found(name)
    if len(metas) != 1:
        return
    meta = metas[0]
    if meta.name in ("explain", "flight"):  # a line of POP3, or the last of several
        line = rest.rpartition(" | ")[2] if meta.name == "flight" else rest
        yield from () if line.startswith(":") else suggest(line, known, catalog)
    elif meta.param.endswith("FILE"):
        option, blank, path = rest.partition(" ")
        with_option = bool(blank) and option in meta.choices()
        yield from () if with_option else _words(rest, meta.choices() if rest.startswith("-") else ())
        yield from _files(path if with_option else rest)
    elif meta.name == "connect":
        yield from _connects(rest, (*meta.choices(), *known.connections), known.options)
    elif meta.name == "apop":
        yield from _words(rest, (known.name,) if known.name else ())
    elif meta.name == "answer":
        *said, last = rest.split(" ")
        yield from _words(last, tuple(word for word in meta.choices() if word not in said))
    elif meta.name == "lesson":
        yield from _words(rest, _lessons(catalog))
    else:
        choices = (*meta.choices(), *(f":{row}" for row in table.rows)) if meta.name == "help" else meta.choices()
        for choice in _words(rest, choices):
            yield choice._replace(remark=_about(choice.text, known, catalog)) if meta.name == "help" else choice


def _connects(rest: str, places: tuple[str, ...], options: tuple[str, ...]) -> Iterator[Suggestion]:
    """What `:connect` takes: a place, options, and their values."""
    before, _, last = rest.rpartition(" ")
    words = before.split()
    _, _, value = next((o for o in options if words and o.startswith(f"{words[-1]} ")), "").partition(" ")
    if value == "FILE":
        yield from _files(last)
    elif value:
        yield from _words(last, tuple(value.split("|")) if "|" in value else ())
    else:
        if not any(not word.startswith("-") for word in words):
            yield from _words(last, places)
        yield from _words(last, tuple(o.partition(" ")[0] for o in options if o.partition(" ")[0] not in words))


def _about(word: str, known: Known, catalog: Catalog) -> str:
    from popshell.ui.metas import page_for

    path = page_for(word)
    page = catalog.page(known.language, path) if path else None
    words = catalog.words(known.language)
    return page.summary if page else words.get(f"meta.{'state' if word == 'states' else word.removeprefix(':')}") or ""


def _lessons(catalog: Catalog) -> tuple[str, ...]:
    from popshell.course.document import LessonError
    from popshell.course.progress import read_course

    try:
        return tuple(read_course(catalog).lessons)
    except (LessonError, OSError):
        return ()


def _files(typed: str) -> Iterator[Suggestion]:
    """Folders and files that begin so; a name that cannot be shown as it is cannot be typed either."""
    folder, slash, begin = typed.rpartition("/")
    place = os.path.expanduser(folder + slash) or "."
    try:
        with os.scandir(place) as entries:
            names = sorted((entry.name + "/" * entry.is_dir() for entry in entries), key=str.lower)
    except OSError:
        return
    fitting = (n for n in names if n.startswith(begin) and (begin or n[0] != ".") and show(n, keep="") == n)
    yield from (Suggestion(name, len(begin)) for name in islice(fitting, MOST))


def with_prefix(prefix: str, last: int) -> Iterator[int]:
    """The numbers 1 to `last` whose digits begin with `prefix`, smallest first, without looking at the others."""
    if not prefix:
        yield from range(1, last + 1)
        return
    if not (prefix.isascii() and prefix.isdigit()) or prefix.startswith("0"):
        return
    low = high = int(prefix)
    while low <= last:
        yield from range(low, min(high, last) + 1)
        low, high = low * 10, high * 10 + 9


def _numbers(prefix: str, spec: CommandSpec, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    """Message-numbers with what is known of them; marked ones are left out, since they would be refused."""
    view = known.context.maildrop
    count = 0
    for number in with_prefix(prefix, view.last or 0):
        if number in view.marks:
            continue
        yield Suggestion(str(number), len(prefix), _about_message(number, view, catalog, known))
        count += 1
        if count == MOST:
            return


def _about_message(number: int, view: MaildropView, catalog: Catalog, known: Known) -> str:
    parts: list[str] = []
    if (size := view.sizes.get(number)) is not None:
        parts.append(catalog.words(known.language)("toolbar.message", octets=size))
    if (subject := view.subjects.get(number)) is not None:
        from popshell.ui.drawings import decoded_words

        parts.append(clip(show(decoded_words(subject), keep=""), 36, "..." if known.ascii else "…"))
    elif (unique_id := view.unique_ids.get(number)) is not None:
        parts.append(show(unique_id, keep=""))
    return (", " if known.ascii else " · ").join(parts)


class ShellCompleter(Completer):
    """`suggest()` for prompt_toolkit. `known` is asked on each Tab."""

    def __init__(self, known: Callable[[], Known], catalog: Catalog) -> None:
        self._known = known
        self._catalog = catalog

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        if "\n" in document.text:
            return
        for found in suggest(text, self._known(), self._catalog):
            yield Completion(found.text, -found.length, display=found.text.strip(), display_meta=found.remark)


#: How much of an old history is read, in octets, and how many entries a suggestion looks at: a key must stay cheap.
TAIL = 64 * 1024
LOOK_BACK = 500
#: The file is looked for so long after a prompt is drawn, in seconds: the first key must not wait for it.
LATER = 0.05


# -- history -----------------------------------------------------------------------------------------------------------


class ShellHistory(FileHistory):
    """A FileHistory of mode 0600 that never takes a line with a secret; `is_secret` judges the line as it was typed."""

    def __init__(
        self,
        where: Callable[[], str],
        is_secret: Callable[[str], bool],
        unkept: Callable[[str, OSError], None] = lambda path, reason: None,
    ) -> None:
        """`where` is asked when the history is first read or written: finding the place costs a few milliseconds.

        `unkept` is called once, with the file and the reason, if nothing can be kept.
        """
        self._is_secret = is_secret
        self._where = where
        self._unkept = unkept
        self._path: str | None = None
        self._waited = False
        super().__init__("")

    async def load(self) -> AsyncGenerator[str, None]:
        """What prompt_toolkit asks for when it has drawn a prompt."""
        if not self._waited:
            await asyncio.sleep(LATER)
            self._waited = True
        async for entry in super().load():
            yield entry

    @property
    def filename(self) -> str:
        """The file, made on first use; "" if it cannot be had, and then nothing is kept."""
        if self._path is None:
            path = self._where()
            try:
                self._path = _made(path)
            except OSError as error:
                self._path = ""
                self._unkept(error.filename or path, error)
        return self._path

    @filename.setter
    def filename(self, value: str) -> None:
        """FileHistory sets it; we know better."""

    def append_string(self, string: str) -> None:
        """Overridden here, not in `store_string`, so that memory and search are clean as well."""
        if not self._is_secret(string):
            super().append_string(string)

    def store_string(self, string: str) -> None:
        if self.filename:
            with contextlib.suppress(OSError):
                _made(self.filename)  # it may have been removed meanwhile
                super().store_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """The newest entries first, from the tail of the file."""
        if not self.filename:
            return []
        try:
            with open(self.filename, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL))
                rows = file.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return []
        if size > TAIL:
            rows = rows[next((at for at, row in enumerate(rows) if row.startswith("# ")), len(rows)) :]
        entries: list[str] = []
        lines: list[str] = []
        for row in [*rows, "#"]:
            if row.startswith("+"):
                lines.append(row[1:])
            elif lines:
                entries.append("\n".join(lines))
                lines = []
        return reversed(entries)


def _made(path: str) -> str:
    """Make the file 0600 before the first write: FileHistory itself would take the umask.

    Raises OSError, also for what is no regular file: to open a FIFO would wait for its reader.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
    finally:
        os.close(descriptor)
    os.chmod(path, 0o600)
    return path


class RecentSuggest(auto_suggest.AutoSuggest):
    """The newest entry that goes on from what is typed and is not in `failed`; looks at the last LOOK_BACK entries."""

    def __init__(self, failed: Collection[str] = ()) -> None:
        self._failed = failed

    def get_suggestion(self, buffer: Buffer, document: Document) -> auto_suggest.Suggestion | None:
        text = document.text
        if not text.strip() or "\n" in text:
            return None
        for entry in reversed(buffer.history.get_strings()[-LOOK_BACK:]):
            if entry.startswith(text) and "\n" not in entry and entry != text and entry not in self._failed:
                return auto_suggest.Suggestion(entry[len(text) :])
        return None
