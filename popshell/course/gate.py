"""The gate of a course: a file is read only if it lies inside its folder, is a plain file, and has 1 MiB at the most.

Whatever reads a file of a course reads it here, so that a stranger's course is held to the same everywhere (sec-D2,
D6). What may not be read is Refused, unread; what is not there at all is None.

Trap: a pipe must not be waited for and a device has no size, so a file is opened without waiting, looked at once more
when it is open, and never read beyond the bound.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # half a millisecond that the first prompt does without

#: No file of a course is larger (sec-D2).
LARGEST = 1 << 20
_REASONS = {
    "leaves-folder": "it leads out of the folder of the course",
    "too-large": "the file is larger than 1 MiB",
    "not-a-file": "it is no plain file",
}


class Refused(ValueError):
    """A file that a course must not have. `code` and `facts` are those of a text of `[lint]`."""

    def __init__(self, path: str, code: str, **facts: object) -> None:
        self.path, self.code = path, code
        self.facts: Mapping[str, object] = facts
        self.reason = _REASONS[code]
        super().__init__(f"{path}: {self.reason}")


def read(root: Traversable, path: str) -> bytes | None:
    """The octets of the file `path` below `root`; None if there is none. Raises Refused."""
    if not isinstance(root, Path):  # in a zip there are neither links nor devices
        packed = _within(root, path)
        return packed.read_bytes() if packed.is_file() else None
    if not os.path.lexists(root / path) or (os.path.isdir(root / path) and not os.path.islink(root / path)):
        return None
    check(root, path)
    with open(
        os.open(root / path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
    ) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(path, "not-a-file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Refused(path, "too-large", octets=len(data), most=LARGEST)
    return data


def names(root: Traversable, path: str) -> list[str] | None:
    """The names in the folder `path` below `root`, in order; None if there is no such folder. Raises Refused."""
    if not isinstance(root, Path):
        packed = _within(root, path)
        return sorted(node.name for node in packed.iterdir()) if packed.is_dir() else None
    if not os.path.lexists(root / path):
        return None
    check(root, path, folder=True)
    return sorted(os.listdir(root / path))


def check(root: Traversable, path: str, *, folder: bool = False) -> None:
    """Raises Refused for what is there and must not be read: a file, or with `folder` a folder."""
    if not isinstance(root, Path) or not os.path.lexists(root / path):
        return
    real, base = os.path.realpath(root / path), os.path.realpath(root)
    if real != base and not real.startswith(os.path.join(base, "")):
        raise Refused(path, "leaves-folder", target=real)
    try:
        found = os.stat(real)
    except OSError:  # a link to nothing, or to itself
        raise Refused(path, "not-a-file") from None
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode):
        raise Refused(path, "not-a-file")
    if not folder and found.st_size > LARGEST:
        raise Refused(path, "too-large", octets=found.st_size, most=LARGEST)


def _within(root: Traversable, path: str) -> Traversable:
    for part in path.split("/"):
        root = root.joinpath(part)
    return root
