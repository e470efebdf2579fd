"""History: what was typed, without any secret, in a file that only its owner can read (sec-K3)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncGenerator, Callable, Collection, Iterable

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

#: How much of an old history is read, in octets, and how many entries a suggestion looks at: a key must stay cheap.
TAIL = 64 * 1024
LOOK_BACK = 500
#: The file is looked for so long after a prompt is drawn, in seconds: the first key must not wait for it.
LATER = 0.05


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


class RecentSuggest(AutoSuggest):
    """The newest entry that goes on from what is typed and is not in `failed`; looks at the last LOOK_BACK entries."""

    def __init__(self, failed: Collection[str] = ()) -> None:
        self._failed = failed

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        text = document.text
        if not text.strip() or "\n" in text:
            return None
        for entry in reversed(buffer.history.get_strings()[-LOOK_BACK:]):
            if entry.startswith(text) and "\n" not in entry and entry != text and entry not in self._failed:
                return Suggestion(entry[len(text) :])
        return None
