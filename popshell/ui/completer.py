"""Completion and history: what could stand at the cursor, and what was typed before, without any secret (sec-K3).

Deciding *what* to suggest is `suggest()`. With 100,000 messages nothing is scanned: numbers with a given prefix are
computed, 50 at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import stat
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from itertools import groupby, islice

from prompt_toolkit import auto_suggest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History

from popshell.course.catalog import LANGUAGES, Catalog
from popshell.course.explain import legal_now, objection, warning
from popshell.protocol.commands import COMMANDS, Kind, State
from popshell.protocol.line import Context, parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.ui.layout import clip
from popshell.ui.shell import Shell
from popshell.visible import show

MOST = 50


def _suggestion(text: str, length: int, remark: str = "") -> Completion:
    """A word to put in place of the last `length` characters, and a remark on it."""
    return Completion(text, -length, display=text.strip(), display_meta=remark)


class ShellCompleter(Completer):
    """Completion at the prompt of a shell. `context` gives what the line will meet, `name` is the account's."""

    def __init__(self, shell: Shell, context: Callable[[], Context], name: str = "") -> None:
        self._shell, self._context, self._name = shell, context, name

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        if "\n" not in document.text:
            yield from self.suggest(document.text_before_cursor)

    def suggest(self, text: str) -> Iterator[Completion]:
        """What could stand at the end of `text`."""
        if text.startswith(":"):
            yield from self._metas(text)
            return
        name, *words = text.split(" ")
        if not words:
            yield from self._commands(text)
            return
        spec = COMMANDS.get(name.upper())
        if spec is None or len(words) > len(spec.params):
            return
        prefix = words[-1]
        match spec.params[len(words) - 1].kind:
            case Kind.MESSAGE:
                yield from self._numbers(prefix)
            case Kind.LINES:
                yield from _words(prefix, ("0", "5", "10"))
            case Kind.MECHANISM:
                session = self._shell.session
                capabilities = session.connection.capabilities if session is not None else None
                # Without a list: the one that each server MUST implement (RFC 5034 §4).
                offered = (capabilities or {}).get("SASL") or ("PLAIN",)
                yield from _words(prefix, (show(name, keep="") for name in offered))
            case Kind.LANGUAGE:
                yield from _words(prefix, (*LANGUAGES, "*"))
            case Kind.NAME if self._name:
                yield from _words(prefix, (self._name,))
            case Kind.INITIAL:
                yield from _words(prefix, ("=",))

    def _commands(self, prefix: str) -> Iterator[Completion]:
        """Legal commands first, then the others with the reason; no historic ones."""
        words, context = self._shell.words, self._context()
        if not prefix and context.state is State.CLOSED:
            yield _suggestion(":connect", 0, words("meta.connect"))
            return
        session, elsewhere = self._shell.session, list[Completion]()
        now = legal_now(context, session.connection.stamp if session is not None else None)
        for spec in COMMANDS.values():
            if spec.historic or not spec.name.startswith(prefix.upper()):
                continue
            text = (spec.name if prefix == prefix.upper() else spec.name.lower()) + (" " if spec.params else "")
            if spec not in now:
                code = objection(spec, context)
                reason = warning(parse(spec.name, context), code, words) if code else words("auth.why-no-stamp")
                elsewhere.append(_suggestion(text, len(prefix), reason))
            else:
                page = self._shell.catalog.page(words.language, f"commands/{spec.name}")
                yield _suggestion(text, len(prefix), page.summary if page else "")
        yield from elsewhere

    def _metas(self, text: str) -> Iterator[Completion]:
        table, words = self._shell.metas(), self._shell.words
        name, blank, rest = text[1:].partition(" ")
        if not blank:
            for meta in table.rows.values():
                if meta.name.startswith(name.lower()):
                    shown = f":{meta.name}" + (" " if meta.param else "")
                    yield _suggestion(shown, len(text), words(f"meta.{meta.name}"))
            return
        metas = table.found(name)
        if len(metas) != 1:
            return
        meta = metas[0]
        if meta.name in ("explain", "flight"):  # a line of POP3, or the last of several
            line = rest.rpartition(" | ")[2] if meta.name == "flight" else rest
            yield from () if line.startswith(":") else self.suggest(line)
        elif meta.param.endswith("FILE"):
            option, blank, path = rest.partition(" ")
            with_option = bool(blank) and option in meta.choices()
            yield from () if with_option else _words(rest, meta.choices() if rest.startswith("-") else ())
            yield from _files(path if with_option else rest)
        elif meta.name == "connect":
            options = tuple(usage for usage, _ in self._shell.connect_options)
            yield from _connects(rest, (*meta.choices(), *self._shell.connections), options)
        elif meta.name == "apop":
            yield from _words(rest, (self._name,) if self._name else ())
        elif meta.name == "answer":
            *said, last = rest.split(" ")
            yield from _words(last, (word for word in meta.choices() if word not in said))
        elif meta.name == "lesson":
            yield from _words(rest, _lessons(self._shell.catalog))
        elif meta.name == "help":
            for choice in _words(rest, (*meta.choices(), *(f":{row}" for row in table.rows))):
                yield _suggestion(choice.text, len(rest), self._about(choice.text))
        else:
            yield from _words(rest, meta.choices())

    def _about(self, word: str) -> str:
        from popshell.ui.metas import page_for

        path, words = page_for(word), self._shell.words
        page = self._shell.catalog.page(words.language, path) if path else None
        key = "state" if word == "states" else word.removeprefix(":")
        return page.summary if page else words.get(f"meta.{key}") or ""

    def _numbers(self, prefix: str) -> Iterator[Completion]:
        """Message-numbers with what is known of them; marked ones are left out, since they would be refused."""
        view = self._context().maildrop
        numbers = (number for number in with_prefix(prefix, view.last or 0) if number not in view.marks)
        for number in islice(numbers, MOST):
            yield _suggestion(str(number), len(prefix), self._about_message(number, view))

    def _about_message(self, number: int, view: MaildropView) -> str:
        parts, ascii = list[str](), self._shell.screen.ascii
        if (size := view.sizes.get(number)) is not None:
            parts.append(self._shell.words("toolbar.message", octets=size))
        if (subject := view.subjects.get(number)) is not None:
            from popshell.ui.drawings import decoded_words

            parts.append(clip(show(decoded_words(subject), keep=""), 36, "..." if ascii else "…"))
        elif (unique_id := view.unique_ids.get(number)) is not None:
            parts.append(show(unique_id, keep=""))
        return (", " if ascii else " · ").join(parts)


def _words(prefix: str, words: Iterable[str]) -> Iterator[Completion]:
    yield from (_suggestion(word, len(prefix)) for word in words if word.lower().startswith(prefix.lower()))


def _connects(rest: str, places: tuple[str, ...], options: tuple[str, ...]) -> Iterator[Completion]:
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


def _lessons(catalog: Catalog) -> tuple[str, ...]:
    from popshell.course.document import LessonError
    from popshell.course.progress import read_course

    try:
        return tuple(read_course(catalog).lessons)
    except (LessonError, OSError):
        return ()


def _files(typed: str) -> Iterator[Completion]:
    """Folders and files that begin so; a name that cannot be shown as it is cannot be typed either."""
    folder, slash, begin = typed.rpartition("/")
    place = os.path.expanduser(folder + slash) or "."
    try:
        with os.scandir(place) as entries:
            names = sorted((entry.name + "/" * entry.is_dir() for entry in entries), key=str.lower)
    except OSError:
        return
    fitting = (n for n in names if n.startswith(begin) and (begin or n[0] != ".") and show(n, keep="") == n)
    yield from (_suggestion(name, len(begin)) for name in islice(fitting, MOST))


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
        History.__init__(self)  # FileHistory's own would set the place
        self._is_secret, self._where, self._unkept = is_secret, where, unkept
        self._waited = False

    async def load(self) -> AsyncGenerator[str, None]:
        """What prompt_toolkit asks for when it has drawn a prompt."""
        if not self._waited:
            await asyncio.sleep(LATER)
            self._waited = True
        async for entry in super().load():
            yield entry

    @functools.cached_property
    def filename(self) -> str:  # type: ignore[override]
        """The file, made on first use; "" if it cannot be had, and then nothing is kept."""
        path = self._where()
        try:
            return _made(path)
        except OSError as error:
            self._unkept(error.filename or path, error)
            return ""

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
        runs = groupby(rows, lambda row: row.startswith("+"))
        return reversed(["\n".join(row[1:] for row in run) for is_entry, run in runs if is_entry])


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
