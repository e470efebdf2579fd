"""The rooms of docs/architecture.md: who may import whom, who opens sockets, who writes to the screen.

The table below is the one of the architecture page. It is read with `ast`, so imports within functions and behind
`TYPE_CHECKING` count, too.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from support import ROOT

FREE = {"visible", "words"}  # everyone may import them, they import nothing of ours


@dataclass(frozen=True)
class Room:
    """What a room may import: rooms of ours, and packages that are neither ours nor Python's."""

    ours: frozenset[str] = frozenset()
    third: frozenset[str] = frozenset()


def room(ours: str = "", third: str = "") -> Room:
    return Room(frozenset(ours.split()), frozenset(third.split()))


EVERYTHING = "arguments conformance protocol server session batch course lint net ui"
ROOMS = {
    "visible": room(),
    "words": room(),
    "protocol": room(),
    "server": room("protocol"),
    "session": room("protocol"),
    "batch": room("protocol session course.explain course.catalog"),
    "conformance": room("protocol", "msgspec"),
    "course": room("protocol server.faults", "markdown_it msgspec"),
    "lint": room("protocol course server", "markdown_it msgspec"),
    "net": room("protocol server session", "trustme cryptography"),
    # A wall that was moved: ui/markdown.py lays out lessons, so it reads markdown-it's tokens, as the course does.
    "ui": room("protocol session course", "prompt_toolkit pygments markdown_it"),
    "cli": room(EVERYTHING, "platformdirs"),
    "arguments": room("course.catalog net.address"),
    "__main__": room("cli"),
    "__init__": room(),
}
#: Modules that play lessons on the practice server, and gather the evidence there.
PROVERS = {"player", "attempt"}

SOCKETS = {
    "socket",
    "ssl",
    "socketserver",
    "http",
    "urllib",
    "poplib",
    "imaplib",
    "smtplib",
    "ftplib",
    "xmlrpc",
    "selectors",
}
OPENERS = {
    "open_connection",
    "start_server",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "sock_connect",
}
TERMINAL = {"prompt_toolkit", "pygments", "curses", "readline", "termios", "tty"}
PRINTERS = {"cli", "batch", "ui"}


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported name with its line; `from popshell.ui import theme` is popshell.ui.theme."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "a relative import"
            elif re.fullmatch(r"popshell(\.[a-z_]+)?", node.module or ""):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def faults(sources: Mapping[str, str]) -> list[str]:
    """What is wrong in `sources`: path below popshell/ -> text."""
    return [f"{path}:{line}: {what}" for path, text in sources.items() for line, what in _faults(path, ast.parse(text))]


def _faults(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    name, _, module = path.removesuffix(".py").partition("/")
    allowed = ROOMS.get(name)
    if allowed is None:
        yield 1, f"{name} is no room of the table"
        return
    for line, imported in imports(tree):
        yield from ((line, what) for what in _import_faults(name, module, imported, allowed))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in OPENERS and name != "net":
                yield node.lineno, f"{called}() opens a socket outside net"
            if isinstance(node.func, ast.Name) and called == "print" and name not in PRINTERS:
                yield node.lineno, "print() outside cli, batch and ui"


def _import_faults(name: str, module: str, imported: str, allowed: Room) -> Iterator[str]:
    top, _, rest = imported.partition(".")
    if top == "popshell":
        target = rest.split(".")[0]
        if target in ("", "__version__"):
            return  # the version
        prover = name == "course" and module in PROVERS and target == "server"
        exact = any(rest == ours or rest.startswith(ours + ".") for ours in allowed.ours)
        if not (target == name or (target in FREE and name != "__init__" and name not in FREE) or exact or prover):
            yield f"{name} must not import {imported}"
    elif top not in sys.stdlib_module_names and top not in allowed.third:
        yield f"{name} must not import {top}"
    if top in SOCKETS and name != "net":
        yield f"{imported} outside net"
    if top in TERMINAL and name != "ui":
        yield f"{imported} outside ui"


def test_the_house() -> None:
    paths = (ROOT / "popshell").rglob("*.py")
    sources = {path.relative_to(ROOT / "popshell").as_posix(): path.read_text("utf-8") for path in paths}
    assert len(sources) > 40
    assert faults(sources) == []


@pytest.mark.parametrize(
    ("path", "source", "told"),
    [
        ("protocol/x.py", "from popshell.server import maildrop", "protocol must not import popshell.server.maildrop"),
        ("protocol/x.py", "import popshell.session", "protocol must not import popshell.session"),
        ("protocol/x.py", "def f():\n    import msgspec", "protocol must not import msgspec"),
        (
            "protocol/x.py",
            "if TYPE_CHECKING:\n    from popshell.ui import theme",
            "protocol must not import popshell.ui.theme",
        ),
        ("protocol/x.py", "from . import wire", "protocol must not import a relative import"),
        ("protocol/x.py", "print(1)", "print() outside cli, batch and ui"),
        ("protocol/x.py", "import socket", "socket outside net"),
        ("words.py", "from popshell.protocol import wire", "words must not import popshell.protocol.wire"),
        ("words.py", "from popshell import visible", "words must not import popshell.visible"),
        ("visible.py", "import wcwidth", "visible must not import wcwidth"),
        ("server/x.py", "import popshell.net.listener", "server must not import popshell.net.listener"),
        ("server/x.py", "from popshell.cli import main", "server must not import popshell.cli.main"),
        ("session.py", "asyncio.open_connection(1)", "open_connection() opens a socket outside net"),
        ("session.py", "from ssl import SSLContext", "ssl outside net"),
        ("session.py", "from popshell import batch", "session must not import popshell.batch"),
        ("batch.py", "from popshell.lint import lint", "batch must not import popshell.lint.lint"),
        (
            "course/checks.py",
            "from popshell.server.maildrop import Message",
            "course must not import popshell.server.maildrop",
        ),
        ("course/checks.py", "import pygments.token", "pygments.token outside ui"),
        ("net/x.py", "from popshell.ui import theme", "net must not import popshell.ui.theme"),
        ("net/x.py", "from pygments import lex", "net must not import pygments"),
        ("ui/x.py", "from popshell.net.client import connect", "ui must not import popshell.net.client"),
        ("ui/x.py", "import popshell.server.mailserver", "ui must not import popshell.server.mailserver"),
        ("ui/x.py", "from urllib.request import urlopen", "urllib.request outside net"),
        ("ui/x.py", "from popshell import cli", "ui must not import popshell.cli"),
        ("cli.py", "import prompt_toolkit", "prompt_toolkit outside ui"),
        ("cli.py", "loop.create_server(f)", "create_server() opens a socket outside net"),
        ("plugins/x.py", "", "plugins is no room of the table"),
    ],
)
def test_a_fault_is_told(path: str, source: str, told: str) -> None:
    assert told in "\n".join(faults({path: source}))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("protocol/x.py", "from popshell.visible import show\nfrom popshell.protocol.wire import CRLF\nimport re"),
        ("server/x.py", "from popshell.words import fill\nimport popshell.protocol.wire"),
        ("lint/lint.py", "from popshell.server import mailserver"),
        ("net/x.py", "import asyncio, ssl, socket\ndef f():\n    import trustme\nasyncio.open_connection(1)"),
        ("ui/x.py", "from pygments.token import Text\nprint(1)\nconsole.print(1)"),
        ("course/x.py", "log.print(1)"),
        ("cli.py", "import popshell\nfrom popshell import __version__\nimport popshell.net.listener"),
    ],
)
def test_what_is_allowed(path: str, source: str) -> None:
    assert faults({path: source}) == []
