"""New files of `:save`; of `:save N FILE` a message as it is, streamed: it is FILE.part until it is whole.

A transfer that is no longer waited for (Ctrl-C) goes on, since POP3 cannot stop one; its end is reported when it comes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from popshell.protocol.wire import Stream
from popshell.ui.events import Greeted, Overdue, Replied, ShellEvent, Unanswered
from popshell.ui.shell import Misused, Shell
from popshell.visible import show

#: How a file is opened that must not be there yet.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


async def save_message(shell: Shell, number: str, name: str) -> None:
    """Send RETR, and write what comes; what exists is left alone and no link is followed (sec-F1)."""
    if not name:
        raise Misused
    path = Path(name).expanduser()
    try:
        if os.path.lexists(path):
            raise FileExistsError
        saving = Saving(shell, number, path)
    except OSError as error:
        shell.tally.usage = True
        failed(shell, path, error)
        return
    shell.subscribe(saving.heard)
    try:
        await shell.send(f"RETR {number}", by_shell="shell.sent-for-save", stream=saving.stream)
    finally:
        if not saving.stream.used:  # it was not sent, and why was shown
            saving.forget()


def failed(shell: Shell, path: Path, error: OSError) -> None:
    """Say why a file cannot be written."""
    key = "shell.save-exists" if isinstance(error, FileExistsError) else "shell.save-failed"
    shell.say(key, style="err", path=show(str(path)), reason=error)


def write_new(shell: Shell, name: str, lines: Iterable[str]) -> bool:
    """Write a new file, 0600; what exists is left alone and no link is followed (sec-F1)."""
    if not name:
        raise Misused
    path = Path(name).expanduser()
    try:
        file = os.fdopen(os.open(path, _NEW, 0o600), "w", encoding="utf-8")
        try:
            with file:
                file.writelines(f"{line}\n" for line in lines)
        except BaseException:
            path.unlink(missing_ok=True)  # half of it is none
            raise
    except OSError as error:
        shell.tally.usage = True
        failed(shell, path, error)
        return False
    return True


class Saving:
    """A message on its way into a file; a subscriber until its reply, or the end of the connection, has come."""

    def __init__(self, shell: Shell, number: str, path: Path) -> None:
        """Raises OSError if FILE.part cannot be made."""
        self.stream = Stream(self._write)
        self._shell, self._number, self._path = shell, number, path
        self._part = path.with_name(path.name + ".part")
        self._file = os.fdopen(os.open(self._part, _NEW | getattr(os, "O_BINARY", 0), 0o600), "wb", buffering=0)
        self._error: OSError | None = None

    def _write(self, piece: bytes) -> None:
        """Write on; after a fault of the disk what still comes is passed over, so that the session stays in step."""
        view = memoryview(piece)
        try:
            while view and self._error is None:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            self._error = error

    def forget(self) -> None:
        """Nothing came: there is no file."""
        self._shell.subscribers.remove(self.heard)
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _facts(self) -> dict[str, str]:
        facts = {"path": show(str(self._path)), "part": show(str(self._part)), "msg": self._number}
        return facts | {"octets": f"{self.stream.octets:,}", "lines": str(self.stream.lines), "sha": self.stream.sha256}

    def heard(self, event: ShellEvent) -> None:
        if isinstance(event, Overdue) and event.due is not None and event.due.stream is self.stream:
            self._shell.say("shell.save-goes-on", style="warn", **self._facts())
        if not isinstance(event, Greeted | Replied | Unanswered) or event.exchange.stream is not self.stream:
            return
        came, shell = event.exchange.response, self._shell
        if came is None or not came.ok:
            self.forget()
            return
        shell.subscribers.remove(self.heard)
        facts = self._facts()
        try:
            self._file.close()
            if self._error is not None:
                raise self._error
            if event.exchange.ok:
                _name(self._part, self._path)
                shell.say("shell.saved-message", **facts)
            else:
                shell.say("shell.save-broken", style="warn", **facts)
        except OSError as error:
            shell.tally.failed = True
            failed(shell, self._path, error)
            shell.say("shell.save-part", style="warn", **facts)


def _name(part: Path, path: Path) -> None:
    """Give the file its name, unless another has come to bear it. Raises OSError."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError from None
        part.rename(path)
    else:
        part.unlink()
