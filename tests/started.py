"""Starts of PopShell that do not load its modules anew: a Python that has loaded them forks for each.

Hundreds of tests start `python -m popshell`, and most of a start is the loading of modules: 0.2 to 0.4 s, which are
measured by the tests of the start itself (tests/test_startup.py). `begin` puts `Started` in the place of
`subprocess.Popen`. A command that is no plain `python -m popshell`, or whose environment would change how Python
starts, starts as before. What is forked is a child of the test's process like any other, with pipes, terminal,
signals and exit code of its own. SUITE_STARTS=real in the environment turns this off, as does coverage of processes.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: The class that starts every process anew.
Real = subprocess.Popen
_COMMAND = [sys.executable, "-m", "popshell"]
_LOCALE = "C.UTF-8"
_CHILD_SUBREAPER = 36


def take_terminal() -> None:
    """For `preexec_fn`: standard input becomes the terminal whose keys send signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _usual(environment: Mapping[str, str]) -> bool:
    """Whether Python starts in this environment as the one that forks has started."""
    found = {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        found.pop(name, None)
    *before, last = found.pop("PYTHONPATH", "").split(os.pathsep)
    ours = last == str(ROOT) and all(map(os.path.isfile, map(_custom, before)))
    return ours and set(found.values()) <= {_LOCALE}


def _custom(folder: str) -> str:
    """What Python runs when it starts, if PYTHONPATH has the folder."""
    return os.path.join(folder, "sitecustomize.py")


class Started(subprocess.Popen):  # type: ignore[type-arg]
    """`subprocess.Popen`; plain starts of PopShell are forked."""

    def _execute_child(self, *given: Any) -> None:
        args, executable, preexec_fn, _, pass_fds, cwd, env, _, _, shell = given[:10]
        pipes, session = given[10:16], given[21]
        environment = dict(os.environ if env is None else env)
        plain = isinstance(args, list) and args[:3] == _COMMAND and not (executable or shell or pass_fds)
        if not plain or preexec_fn not in (None, take_terminal) or not _usual(environment):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        order = {
            "arguments": [os.fspath(word) for word in args[3:]],
            "directory": os.path.abspath(cwd or os.curdir),
            "environment": environment,
            "session": session,
            "terminal": preexec_fn is not None,
        }
        files = [number if at < 0 else at for number, at in enumerate((pipes[0], pipes[3], pipes[5]))]
        self.pid = _forker(os.getpid()).start(order, files)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class _Forker:
    """The Python that forks, as the tests see it."""

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.one = threading.Lock()
        with theirs:
            self.process = Real(
                [sys.executable, __file__, str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": _LOCALE},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(self, order: dict[str, Any], files: list[int]) -> int:
        """The number of the new process. Its parent ends at once, so that it becomes a child of this process."""
        prctl = ctypes.CDLL(None).prctl
        with self.one:
            prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self.line, [json.dumps(order).encode()], files)
                return int(self.line.recv(64))
            finally:
                prctl(_CHILD_SUBREAPER, 0, 0, 0, 0)


@functools.cache
def _forker(process: int) -> _Forker:
    """One for each process of tests, of which some fork themselves."""
    return _Forker()


def begin() -> None:
    """From here on `subprocess.Popen` and `subprocess.run` fork what can be forked."""
    measured = any(name.startswith("COVERAGE_PROCESS") for name in os.environ)
    if sys.platform == "linux" and os.environ.get("SUITE_STARTS") != "real" and not measured:
        subprocess.Popen = Started  # type: ignore[misc]


# -- the Python that forks ---------------------------------------------------------------------------------------------


def _forked(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each order that comes; returns in the new processes alone."""
    while True:
        text, files, _, _ = socket.recv_fds(line, 1 << 20, 3)
        if not text:
            os._exit(0)
        read, write = os.pipe()
        parent = os.fork()
        if not parent:
            child = os.fork()
            if not child:
                for at in (line.detach(), read, write):
                    os.close(at)
                return json.loads(text), files
            os.write(write, b"%d" % child)
            os._exit(0)
        os.waitpid(parent, 0)
        line.send(os.read(read, 64))
        for at in (*files, read, write):
            os.close(at)


def _become(order: dict[str, Any], files: list[int]) -> None:
    """Make of this process what `python -m popshell` is once its modules are loaded."""
    for number, at in enumerate(files):
        os.dup2(at, number)
    os.closerange(3, max(files) + 1)
    if order["session"]:
        os.setsid()
    if order["terminal"]:
        take_terminal()
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.argv = [str(ROOT / "popshell/__main__.py"), *order["arguments"]]
    before = order["environment"]["PYTHONPATH"].split(os.pathsep)[:-1]
    sys.path[:1] = [order["directory"], *before]
    for custom in map(_custom, before):
        exec(Path(custom).read_text("utf-8"), {})
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        lines = name == "stderr" or os.isatty(number)
        stream = open(  # noqa: SIM115 (for as long as we run)
            number,
            "w" if number else "r",
            buffering=1 if number and lines else -1,
            encoding="utf-8",
            errors="backslashreplace" if name == "stderr" else "surrogateescape",
            newline="\n" if number else None,
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    import popshell

    for module in pkgutil.walk_packages(popshell.__path__, "popshell."):
        importlib.import_module(module.name)
    gc.freeze()  # what is not looked through stays shared
    _become(*_forked(socket.socket(fileno=int(sys.argv[1]))))
    from popshell.__main__ import main

    code = main()
    atexit._run_exitfuncs()
    for out in (sys.stdout, sys.stderr):
        out.flush()
    os._exit(code)  # all that was loaded is not taken apart
