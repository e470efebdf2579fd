"""Who may import whom: the table of docs/architecture.md is the rule, and no file imports itself over others.

Imports are read with `ast`, so those within functions and behind `TYPE_CHECKING` count, too.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Mapping

from support import ROOT


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Circles that only type checkers see, each with the reason why a Protocol cannot avoid it.
TYPE_ONLY_CIRCLES: Mapping[frozenset[str], str] = {}
#: Modules that open sockets or speak other protocols, and functions that open sockets: for `net` alone.
SOCKETS = words("socket ssl socketserver http urllib poplib imaplib smtplib ftplib xmlrpc selectors")
URL_SPELLING = "urllib.parse"
OPENERS = words("open_connection start_server create_connection create_server create_datagram_endpoint sock_connect")
TERMINAL = words("prompt_toolkit pygments rich curses readline termios tty")
PRINTERS = {"cli", "ui"}

Sources = Mapping[str, str]


def sources() -> dict[str, str]:
    """Every file of the package: its path below popshell/ and its text."""
    root = ROOT / "popshell"
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in sorted(root.rglob("*.py"))}


def module_of(path: str) -> str:
    return "popshell." + path.removesuffix(".py").removesuffix("__init__").replace("/", ".").rstrip(".")


def package_of(path: str) -> str:
    """The row of the table: a package's name, or the module's where it is in none."""
    return path.partition("/")[0].removesuffix(".py")


@functools.cache
def nodes(text: str) -> list[ast.AST]:
    return [*ast.walk(ast.parse(text))]


@functools.cache
def imports(text: str, *, types: bool = True) -> list[tuple[int, str]]:
    """Every imported name with its line; `from popshell.ui import theme` is popshell.ui.theme."""
    found: list[tuple[int, str]] = []
    only_types: set[int] = set()
    for node in nodes(text):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            only_types |= {id(inner) for part in node.body for inner in ast.walk(part)}
    for node in nodes(text):
        if id(node) in only_types and not types:
            continue
        if isinstance(node, ast.Import):
            found += ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.append((node.lineno, "a relative import"))
            else:
                found += ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    return found


def graph(files: Sources, *, types: bool) -> dict[str, set[str]]:
    """Which file imports which: path -> paths."""
    paths = {module_of(path): path for path in files}
    arrows: dict[str, set[str]] = {path: set() for path in files}
    for path, text in files.items():
        for _, name in imports(text, types=types):
            target = paths.get(name) or paths.get(name.rpartition(".")[0])
            if target and not target.endswith("__init__.py") and target != path:
                arrows[path].add(target)
    return arrows


def circles(arrows: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The groups of files that import each other, directly or over others."""
    reached = {path: set(targets) for path, targets in arrows.items()}
    for middle in reached:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    return {
        frozenset(other for other in reached if other in reached[path] and path in reached[other])
        for path in reached
        if path in reached[path]
    }


def table() -> dict[str, tuple[set[str], set[str]]]:
    """The table of the architecture page: package -> packages of ours, packages of others."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    part = page.partition("## Who may import whom")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", part, re.M)
    return {
        name: (set(re.findall(r"`(\w+)`", ours)), set(re.findall(r"`(\w+)`", others))) for name, ours, others in rows
    }


def used(files: Sources) -> dict[str, tuple[set[str], set[str]]]:
    """What each package really imports, in the form of the table."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for path, text in files.items():
        package = package_of(path)
        ours, others = found.setdefault(package, (set(), set()))
        for _, name in imports(text):
            top, _, rest = name.partition(".")
            if top == "popshell":
                ours |= {rest.split(".")[0]} - {package, "__version__"}
            elif top not in sys.stdlib_module_names:
                others.add(top)
    found.pop("__init__", None)
    return found


def misplaced(files: Sources) -> list[str]:
    """Sockets outside `net`, terminal libraries outside `ui`, print() where nothing is written, relative imports."""
    wrong = []
    for path, text in files.items():
        package = package_of(path)
        for line, name in imports(text):
            top = name.partition(".")[0]
            if name == "a relative import":
                wrong.append(f"{path}:{line}: a relative import")
            if top in SOCKETS and package != "net" and not name.startswith(URL_SPELLING):
                wrong.append(f"{path}:{line}: {name} outside net")
            if top in TERMINAL and package != "ui":
                wrong.append(f"{path}:{line}: {name} outside ui")
        for node in nodes(text):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in OPENERS and package != "net":
                    wrong.append(f"{path}:{node.lineno}: {called}() opens a socket outside net")
                if isinstance(node.func, ast.Name) and called == "print" and package not in PRINTERS:
                    wrong.append(f"{path}:{node.lineno}: print()")
    return wrong


def test_no_file_imports_itself_over_others() -> None:
    files = sources()
    assert len(files) > 30
    assert circles(graph(files, types=False)) == set()
    assert circles(graph(files, types=True)) == set(TYPE_ONLY_CIRCLES)


def test_the_architecture_page_allows_what_is_imported_and_nothing_else() -> None:
    assert used(sources()) == table()


def test_sockets_terminal_and_output_stay_where_they_belong() -> None:
    assert misplaced(sources()) == []


def test_protocol_server_and_session_need_the_standard_library_only() -> None:
    found = used(sources())
    seen, waiting = set(), ["protocol", "server", "session"]
    while waiting:
        package = waiting.pop()
        seen.add(package)
        assert found[package][1] == set(), package
        waiting += found[package][0] - seen


def test_each_of_these_checks_can_fail() -> None:
    files = {"a/x.py": "from popshell.b import y", "b/y.py": "def f():\n    import popshell.c.z", "c/z.py": ""}
    assert circles(graph(files, types=False)) == set()
    back = {**files, "c/z.py": "if TYPE_CHECKING:\n    from popshell.a.x import X"}
    assert circles(graph(back, types=False)) == set()
    assert circles(graph(back, types=True)) == {frozenset(files)}
    assert circles(graph({**files, "c/z.py": "def g():\n    from popshell.a import x"}, types=False)) == {
        frozenset(files)
    }
    assert used({"a/x.py": "import rich\nfrom popshell import visible"}) == {"a": ({"visible"}, {"rich"})}
    wrong = {
        "session.py": "asyncio.open_connection(1)",
        "server/x.py": "from ssl import SSLContext",
        "course/x.py": "import rich.text",
        "protocol/x.py": "print(1)",
        "ui/x.py": "from . import y",
        "lint/x.py": "def f():\n    from urllib.request import urlopen",
    }
    assert len(misplaced(wrong)) == len(wrong)
    assert misplaced({"net/x.py": "import ssl\ncreate_server(1)", "ui/x.py": "import rich\nprint(1)"}) == []


def test_no_file_is_above_450_lines() -> None:
    assert {path: count for path, text in sources().items() if (count := text.count("\n")) > 450} == {}
