"""Record what PopShell puts out for a corpus of inputs, and compare two recordings.

    python tests/corpus/record.py record OUT [--python PYTHON] [--path PYTHONPATH] [--like OLD] [--lessons DIR]
    python tests/corpus/record.py compare OLD NEW [--full]
    python tests/corpus/record.py keep [--python PYTHON] [--path PYTHONPATH]

The program is driven from outside only: its command line, pipes, a terminal (pyte) and scripted servers on loopback. It
imports nothing of popshell, so that the same inputs can be given to any version of it. A case becomes one text file
below OUT; what differs from run to run (times, ports, stamps, certificates, places) is replaced. The inputs that were
read from the lessons and transcripts of this checkout are kept in OUT/inputs.json; `--like OLD` takes them from there,
so that a later version is given the inputs of the first one. `keep` makes the small part that tests/test_corpus.py
replays, tests/corpus/v1/; it is made from the first version and from no other.
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import contextlib
import difflib
import fnmatch
import hashlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))

from terminal.driver import Peer, Pty  # noqa: E402

from corpus import cases  # noqa: E402

TAGS = ("en", "zh-Hant")
SIZES = ((60, 20), (80, 24), (120, 40))
SECONDS = 60.0
#: A terminal that was silent for so long, in seconds, has drawn what it draws.
QUIET = 0.25
#: How long a screen is waited for, in seconds.
LATEST = 10.0

#: Read by Python when it starts: the process id and the seconds of the clock are written the same in every run, so that
#: a stamp like `<process-ID.clock@hostname>` has the same length and digests of it are the same.
_SITE = """
import os, time

class _Id(int):
    def __format__(self, spec): return "4242"
    def __str__(self): return "4242"

class _Seconds(float):
    def __int__(self): return 1700000000

_id, _seconds = os.getpid, time.time
os.getpid = lambda: _Id(_id())
time.time = lambda: _Seconds(_seconds())
"""


@contextlib.contextmanager
def site() -> Iterator[str]:
    """A directory with what Python reads at its start, and for compiled files."""
    with tempfile.TemporaryDirectory(prefix="popshell-site-") as cache:
        (Path(cache) / "sitecustomize.py").write_text(_SITE)
        yield cache


@dataclass(frozen=True)
class Target:
    """The version to record: a Python, the path of its package, and lessons to use instead of its own."""

    python: str
    path: str
    lessons: str = ""
    cache: str = ""

    def command(self, *arguments: str) -> list[str]:
        return [self.python, "-m", "popshell", *arguments]

    def environment(self, home: Path) -> dict[str, str]:
        """Nothing of the machine's user; all that is written lies below `home`."""
        found = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PYTHONPATH": os.pathsep.join(filter(None, (self.cache, self.path))),
            "PYTHONPYCACHEPREFIX": self.cache,
        }
        return found | ({"POPSHELL_LESSONS": self.lessons} if self.lessons else {})


@dataclass(frozen=True)
class Case:
    """One run of the program through pipes. `show` are files below the home directory that belong to the output."""

    name: str
    arguments: tuple[str, ...]
    lines: str = ""
    peer: str = ""
    show: tuple[str, ...] = ()


# -- inputs ------------------------------------------------------------------------------------------------------------


def collected() -> dict[str, Any]:
    """What is read from this checkout: dialogues of pages and transcripts, and the exercises of the course."""
    return {"dialogues": _dialogues(), "course": _course()}


def _dialogues() -> dict[str, str]:
    """The C: lines of each dialogue in a page, a lesson or a transcript, each script once."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "lessons" / "en").rglob("*.md")):
        blocks = re.findall(r"^```pop3([^\n]*)\n(.*?)^```", path.read_text("utf-8"), re.M | re.S)
        for number, (info, body) in enumerate(blocks, 1):
            login = [*cases.LOGIN] if info.strip() == "TRANSACTION" else []
            sent = [row[3:] for row in body.split("\n") if row.startswith("C:")]
            name = path.relative_to(ROOT / "lessons" / "en").with_suffix("").as_posix().replace("/", "-")
            found[f"{name}-{number}"] = "\n".join([*login, *sent])
    for path in sorted((ROOT / "tests" / "transcripts").glob("*.txt")):
        for number, block in enumerate(path.read_text("utf-8").split("\n----\n"), 1):
            sent = [row[3:] for row in block.split("\n") if row.startswith("C:")]
            found[f"{path.stem}-{number}"] = "\n".join(sent)
    once: dict[str, str] = {}
    for name, script in found.items():
        if script and script not in once.values() and "HTTP" not in script:  # closed by the server: a race
            once[name] = script
    return once


def _course() -> list[dict[str, Any]]:
    """Each exercise: lesson, id, account, its solution and its wrong turns."""
    names = tomllib.loads((ROOT / "lessons" / "course.toml").read_text("utf-8"))["lessons"]
    found = []
    for lesson in names:
        text = (ROOT / "lessons" / "en" / f"{lesson}.md").read_text("utf-8")
        for exercise in tomllib.loads(text.split("+++\n")[1])["exercise"]:
            solution = exercise["solution"]
            if exercise["kind"] == "predict":
                solution = [exercise["line"], *solution]
            wrong = [turn["lines"] for turn in exercise.get("wrong", [])]
            account = exercise.get("account", "learner:secret")
            found.append(
                {"lesson": lesson, "id": exercise["id"], "account": account, "solution": solution, "wrong": wrong}
            )
    return found


def _script(text: str) -> str:
    """The lines as they go to standard input."""
    text = re.sub(r"^@in$", "\n".join(cases.LOGIN), text, flags=re.M)
    return text if not text or text.endswith("\n") else text + "\n"


def _ways(name: str, options: Sequence[str], script: str, peer: str = "", *, few: bool = False) -> Iterator[Case]:
    """A dialogue in all its ways: JSON, plain, plain in ASCII; both languages; with what `:save` writes of it."""
    ends = re.search(r"^:(quit|exit|q)$", script, re.M) or script.rstrip("\n").endswith(("AUTH PLAIN", "apop learner"))
    saved = script if ends or peer.startswith("closes") else script + ":save saved.txt\n"
    for tag in TAGS:
        ways = {"json": ("--json",), "plain": ("--plain",), "ascii": ("--plain", "--ascii")}
        for way, flags in ways.items():
            if few and (way, tag) not in (("json", "en"), ("plain", "en"), ("plain", "zh-Hant")):
                continue
            if "{peer}" in " ".join(options) or peer == "" or "{peer}" in script:
                place: tuple[str, ...] = ()
            else:
                place = ("{peer}",)
            arguments = (*flags, "--lang", tag, *options, *place)
            yield Case(f"{name}.{tag}.{way}", arguments, saved if way != "json" else script, peer)


def piped(inputs: Mapping[str, Any]) -> list[Case]:
    """All cases that are one run through pipes."""
    made: list[Case] = []
    for name, text in cases.DIALOGUES.items():
        made += _ways(f"dialogues/{name}", (), _script(text))
    for name, (options, text) in cases.DIALOGUES_WITH.items():
        made += _ways(f"dialogues/{name}", options, _script(text))
    for command in (*cases.COMMANDS, "FROB"):
        made += _ways(f"commands/{command}", (), _script(_matrix(command)), few=True)
    for name, text in inputs["dialogues"].items():
        made += _ways(f"pages/{name}", (), _script(text), few=True)
    for name, (peer, options, text) in cases.PEER_DIALOGUES.items():
        made += _ways(f"servers/{name}", options, _script(text), peer, few=name not in _WIDE)
    for name, (arguments, text) in cases.COMMAND_LINES.items():
        for tag in TAGS:
            tail = () if any(word.startswith("--lang") for word in arguments) else (f"--lang={tag}",)
            given = (*tail, *arguments) if "--" in arguments else (*arguments, *tail)
            show = ("course", "broken/en/01-trip.md", "c.txt") if name.startswith(("lesson", "lint", "learn")) else ()
            made.append(Case(f"command-line/{name}.{tag}", given, text, show=show))
    return made


#: Cases with a scripted server that are recorded in ASCII and in the JSON of both languages, too.
_WIDE = ("metas", "retr", "bad-bytes", "auth", "bare-refusals", "secret-echo", "dele-yes", "round")


def _matrix(command: str) -> str:
    """A command with arguments of every kind, before and after the login, and when all is over."""
    rows = [f"{command}{tail}" for tail in ("", " 1", " 0", " 99", " x", " 1 2", " 1 2 3")]
    return "\n".join(("CAPA", *rows, ":connect", *cases.LOGIN, *rows, "QUIT", rows[0]))


# -- one run through pipes ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A home directory with the files that cases name; its path has the same length each time."""
    home = Path(tempfile.mkdtemp(prefix="popshell-corpus-", dir="/tmp"))
    try:
        for name, data in {**cases.FILES, **{name: text.encode() for name, text in cases.COURSES.items()}}.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(data)
        (home / "course").mkdir()
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def scripted(name: str) -> Iterator[str]:
    """A scripted server of `cases.PEERS`; gives its address."""
    if not name:
        yield ""
        return
    greeting, answers = cases.PEERS[name]
    peer = Peer({key: _answer(data, lambda: peer) for key, data in answers.items()}, greeting.removesuffix(cases.CLOSE))
    if greeting.endswith(cases.CLOSE):

        def greet_and_close(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.sendall(peer.greeting)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        peer._serve = greet_and_close  # type: ignore[method-assign]
    try:
        yield f"127.0.0.1:{peer.port}"
    finally:
        peer.close()


def _answer(data: bytes, peer: Callable[[], Peer]) -> Any:
    """The answer as `Peer` takes it: bytes, or what says them and closes."""
    if not data.endswith(cases.CLOSE):
        return data

    def last() -> None:
        if data != cases.CLOSE:
            peer().say(data.removesuffix(cases.CLOSE))
        peer()._connections[-1].shutdown(socket.SHUT_WR)

    return last


def run_case(case: Case, target: Target) -> str:
    """Run a case; its output as the text that is recorded."""
    with _home() as home, scripted(case.peer) as peer:
        arguments = [word.replace("{peer}", peer) for word in case.arguments]
        lines = case.lines.replace("{peer}", peer)
        before = set(home.rglob("*"))
        try:
            done = subprocess.run(
                target.command(*arguments),
                input=lines.encode("utf-8", "surrogateescape"),
                capture_output=True,
                cwd=home,
                env=target.environment(home),
                timeout=SECONDS,
            )
            out, err, code = done.stdout, done.stderr, str(done.returncode)
        except subprocess.TimeoutExpired as expired:
            out, err, code = expired.stdout or b"", expired.stderr or b"", "none: it did not end"
        parts = [
            ("$ popshell " + " ".join(case.arguments), ""),
            ("<<", case.lines.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")),
            ("== stdout", out.decode("utf-8", "backslashreplace")),
            ("== stderr", err.decode("utf-8", "backslashreplace")),
        ]
        made = [path for path in sorted(home.rglob("*")) if path.is_file() and path not in before]
        shown = {home / name for name in case.show if (home / name).is_file()}
        for path in sorted({*made, *shown}):
            if path.suffix != ".lock":
                mode = f"{path.stat().st_mode & 0o777:o}"
                text = path.read_bytes().decode("utf-8", "backslashreplace")
                parts.append((f"== file {path.relative_to(home)} {mode}", text))
        parts.append((f"== exit {code}", ""))
        return normal(
            "".join(f"{title}\n{text}{'' if text.endswith(chr(10)) or not text else chr(10)}" for title, text in parts),
            home,
        )


_MARKS = r"(?:\u27e6[^\u27e7]*\u27e7)*"


def normal(text: str, home: Path | None = None) -> str:
    """`text` with what differs from run to run replaced, by something of the same width where layout depends on it."""
    if home is not None:
        text = text.replace(str(home), "/HOME")
    text = re.sub(r"<\d+\.\d{10,13}(?=\.{3}|@|\d*@)", lambda m: "<4242.1700000000" + m[0][-3:], text)
    text = re.sub(r'"milliseconds": [\d.]+', '"milliseconds": 0.0', text)
    text = re.sub(
        rf"^({_MARKS}) +\d+(?:\.\d)?(?=  {_MARKS}[|\u2502\u25c0\u2500])",
        lambda m: m[1] + "#.#".rjust(8),
        text,
        flags=re.M,
    )
    text = re.sub(r"\d+(?:\.\d)? ms\b", "# ms", text)
    text = re.sub(r"\d+(?:\.\d)? (?=\u6beb\u79d2)", "# ", text)
    # How much of a line fits behind a time depends on its digits.
    text = re.sub(r"(# (?:ms|\u6beb\u79d2)  .{,8}).*\u2026$", "\\1\u2026", text, flags=re.M)
    text = re.sub(r" 127\.0\.0\.1:\d+(?=.*# (?:ms|\u6beb\u79d2)$)", "", text, flags=re.M)
    text = re.sub(r"(127\.0\.0\.1|localhost|\]):\d{4,5}\b", r"\1:PORT", text)
    text = re.sub(r"#[\w-]{16}\b", "#" + "c" * 16, text)
    text = re.sub(
        r"(SHA-256\s+)([0-9a-f]{20,}(?:\n +[0-9a-f]+$)*)", lambda m: m[1] + re.sub(r"\w", "h", m[2]), text, flags=re.M
    )
    text = re.sub(r'"at": \d+', '"at": 1700000000', text)
    text = re.sub(r"\b20[2-9]\d-\d\d-\d\d\b(?![T ]?\d\d:)", "DATE", text) if "certificate" in text.lower() else text
    text = re.sub(r"^# \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+$", "# TIME", text, flags=re.M)
    return re.sub(r"object at 0x[0-9a-f]+", "object at 0x0", text)


# -- the course --------------------------------------------------------------------------------------------------------


class Pupil:
    """`popshell learn --plain`, line by line: after each line a harmless one is sent, and its answer is waited for."""

    def __init__(self, target: Target, home: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            target.command("learn", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=target.environment(home),
        )
        self.text = ""
        self._count = 0

    def say(self, line: str) -> str:
        """Type a line; what was shown because of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._count += 1
        mark = f"zz{self._count}zz"
        self.process.stdin.write(f"{line}\n:help {mark}\n".encode())
        self.process.stdin.flush()
        data, end = b"", time.monotonic() + SECONDS
        while not re.search(rb"`?" + mark.encode() + rb"[^\n]*\n", data):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not more:
                break
            data += more
        shown = "".join(row for row in data.decode().splitlines(True) if mark not in row)
        self.text += shown
        return f"> {line}\n{shown}"

    def filled(self, line: str, account: str) -> str:
        """The line with its placeholders worked out from the newest greeting; a block becomes a flight."""
        name, _, password = account.partition(":")
        stamps = re.findall(r"S: \+OK [^\n]*?(<[^<>\s]+@[^<>\s]+>)", self.text)
        stamp = stamps[-1] if stamps else ""
        digest = hashlib.md5((stamp + password).encode()).hexdigest()
        plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        line = line.replace("<stamp>", stamp).replace("<apop>", digest).replace("<auth-plain>", plain)
        return f":flight {' | '.join(line.split(chr(10)))}" if "\n" in line else line

    def leave(self) -> str:
        out, _ = self.process.communicate(timeout=SECONDS)
        return f"{out.decode()}== exit {self.process.returncode}\n"


def play_course(exercises: Sequence[Mapping[str, Any]], tag: str, target: Target) -> Iterator[tuple[str, str]]:
    """Every solution of the course, lesson by lesson; and what the progress file holds at the end."""
    with _home() as home:
        for lesson, members in _by_lesson(exercises).items():
            pupil = Pupil(target, home, lesson, "--plain", "--lang", tag)
            shown = ""
            for exercise in members:
                shown += pupil.say(f":lesson {lesson}/{exercise['id']}")
                for line in exercise["solution"]:
                    shown += pupil.say(pupil.filled(line, exercise["account"]))
            shown += pupil.say(":next")
            yield f"course/solved-{lesson}.{tag}", normal(shown + pupil.leave(), home)
        pupil = Pupil(target, home, "--plain", "--lang", tag)
        shown = "".join(pupil.say(line) for line in (":lessons", ":certificate c.txt", ":certificate c.txt", ":next"))
        shown += pupil.leave()
        for path in (home / "c.txt", _progress(home)):
            shown += f"== file {path.name}\n{path.read_text('utf-8') if path.is_file() else 'missing'}\n"
        yield f"course/finished.{tag}", normal(shown, home)


def play_detours(exercises: Sequence[Mapping[str, Any]], tag: str, target: Target) -> Iterator[tuple[str, str]]:
    """Every wrong turn, all hints, the solution as it is shown, skipping, and the end of a lesson in between."""
    with _home() as home:
        for lesson, members in _by_lesson(exercises).items():
            pupil = Pupil(target, home, "--plain", "--lang", tag, lesson)
            shown = ""
            for exercise in members:
                shown += pupil.say(f":lesson {lesson}/{exercise['id']}")
                for turn in exercise["wrong"]:
                    for line in (*turn, ":again"):
                        shown += pupil.say(pupil.filled(line, exercise["account"]))
                for line in (":solution", ":hint", ":hint", ":hint", ":hint", ":solution", ":skip"):
                    shown += pupil.say(line)
            yield f"course/detours-{lesson}.{tag}", normal(shown + pupil.leave(), home)
        pupil = Pupil(target, home, "--plain", "--lang", tag)
        tail = (":lessons", ":next", ":certificate c.txt", ":reset\nn", ":reset all\ny", ":lessons")
        shown = "".join(pupil.say(line) for line in tail)
        progress = _progress(home).read_text("utf-8") if _progress(home).is_file() else "missing"
        yield f"course/skipped.{tag}", normal(f"{shown}{pupil.leave()}== file progress.json\n{progress}\n", home)


def _by_lesson(exercises: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for exercise in exercises:
        found[exercise["lesson"]].append(exercise)
    return found


def _progress(home: Path) -> Path:
    return home / ".local" / "share" / "popshell" / "progress.json"


# -- screens -----------------------------------------------------------------------------------------------------------


def picture(terminal: Pty) -> str:
    """The screen as text, each change of colour written out as \u27e6bold green\u27e7, and the cursor's place."""
    display = terminal.display
    rows = []
    for y in range(display.lines):
        row, last = "", ""
        for x in range(display.columns):
            cell = display.buffer[y][x]
            names = [
                name
                for name in ("bold", "italics", "underscore", "strikethrough", "reverse", "blink")
                if getattr(cell, name)
            ]
            names += [cell.fg] * (cell.fg != "default") + [f"on-{cell.bg}"] * (cell.bg != "default")
            look = " ".join(names)
            if look != last and cell.data:
                row += f"\u27e6{look}\u27e7"
                last = look
            row += cell.data
        rows.append(row.rstrip().removesuffix("\u27e6\u27e7").rstrip())
    return "\n".join(rows).rstrip("\n") + f"\n-- cursor {display.cursor.y},{display.cursor.x}\n"


def play_scenario(name: str, tag: str, size: tuple[int, int], target: Target) -> Iterator[tuple[str, str]]:
    """One scenario in a terminal of one size: all pictures, then all that was written, then the history file."""
    options, steps = cases.SCENARIOS[name]
    columns, rows = size
    with _home() as home, _terminal(target, home, (*options, "--lang", tag), size) as terminal:
        shown = ""
        for keys, wanted, title in steps:
            if keys:
                _press(terminal, keys)
            _settled(terminal, wanted)
            if title:
                shown += f"## {title}\n{picture(terminal)}"
        shown += f"## all\n{terminal.scroll()}"
        history = home / ".local" / "state" / "popshell" / "history"
        shown += f"## history\n{history.read_text('utf-8') if history.is_file() else 'missing'}"
        yield f"screens/{name}.{columns}x{rows}.{tag}", normal(shown, home)


def play_plain_terminal(tag: str, target: Target) -> Iterator[tuple[str, str]]:
    """`--plain` for a person at a terminal."""
    with _home() as home, _terminal(target, home, ("--plain", "--lang", tag), (80, 24)) as terminal:
        _settled(terminal, "+OK")
        for line, wanted in cases.PLAIN_TERMINAL:
            _press(terminal, f"{line}\r")
            _settled(terminal, wanted)
        yield f"screens/plain.80x24.{tag}", normal(f"{terminal.scroll()}== exit {terminal.process.poll()}\n", home)


@contextlib.contextmanager
def _terminal(target: Target, home: Path, arguments: Sequence[str], size: tuple[int, int]) -> Iterator[Pty]:
    env: dict[str, str | None] = {**target.environment(home), "XDG_STATE_HOME": None, "PYTHONDONTWRITEBYTECODE": None}
    terminal = Pty(home=home, columns=size[0], rows=size[1], env=env, command=target.command(*arguments))
    try:
        yield terminal
    finally:
        terminal.close()


_PROMPT = re.compile(r"(?:AUTHORIZATION|TRANSACTION|UPDATE|CLOSED|AUTH)\b.*[\u25b8>]")


def _ready(terminal: Pty) -> bool:
    """Whether the last prompt on the screen is empty; Enter is pressed where a lesson's text waits for it."""
    rows = terminal.screen().split("\n")
    row = rows[terminal.display.cursor.y]
    if "Enter" in row and not _PROMPT.match(row):
        _press(terminal, "\r")
        return False
    prompts = [row for row in rows if _PROMPT.match(row)]
    return bool(prompts) and _PROMPT.fullmatch(prompts[-1].rstrip()) is not None


def _press(terminal: Pty, keys: str) -> None:
    """Type, and wait until the program draws something because of it."""
    before = len(terminal.raw)
    terminal.type(keys)
    end = time.monotonic() + LATEST
    while len(terminal.raw) == before and time.monotonic() < end:
        terminal.pump(0.02)


def _settled(terminal: Pty, wanted: str) -> None:
    """Wait for one of the texts divided by `|`, or the empty prompt, and then until nothing more is drawn.

    What does not come is recorded as missing. "!" waits for the end of drawing alone.
    """
    end = time.monotonic() + LATEST
    while time.monotonic() < end and wanted != "!":
        screen = terminal.screen()
        if any(text in screen for text in wanted.split("|")) if wanted else _ready(terminal):
            break
        terminal.pump(0.02)
    pauses = 3 if wanted == "!" else 1
    while time.monotonic() < end and pauses:
        before = len(terminal.raw)
        terminal.pump(QUIET)
        pauses -= len(terminal.raw) == before


# -- serve -------------------------------------------------------------------------------------------------------------


def play_serve(tag: str, target: Target) -> Iterator[tuple[str, str]]:
    """`popshell serve`, spoken to by a bare socket and by the shell itself."""
    with _home() as home:
        for name, arguments in (
            ("plain", ()),
            ("tls", ("--require-tls", "--account", "mei:kettle", "--maildrop", "mails")),
        ):
            server = subprocess.Popen(
                target.command("serve", *arguments, "--lang", tag),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=target.environment(home),
            )
            try:
                assert server.stdout is not None
                shown = server.stdout.readline().decode()
                port = int(re.findall(r":(\d+)", shown)[-1])
                shown += _spoken(
                    port, ("CAPA", "USER learner", "PASS secret", "STAT", "UIDL", "RETR 2", "FROB", "QUIT")
                )
                for options in (
                    ("--tls", "none"),
                    ("--tls", "stls"),
                    ("--tls", "stls", "--insecure"),
                    ("--tls", "implicit"),
                ):
                    user = ("USER mei", "PASS kettle") if arguments else cases.LOGIN
                    script = "\n".join(("CAPA", *user, "STAT", ":tls", ":flight NOOP | STAT", "QUIT\n"))
                    case = Case("", ("--plain", "--yes", "--lang", tag, *options, f"127.0.0.1:{port}"), script)
                    shown += run_case(case, target)
                server.send_signal(signal.SIGTERM)
                shown += f"{server.stdout.read().decode()}== exit {server.wait(SECONDS)}\n"
            finally:
                if server.poll() is None:
                    server.kill()
                server.wait()
                if server.stdout:
                    server.stdout.close()
            yield f"command-line/serve-{name}.{tag}", normal(shown, home)


def _spoken(port: int, lines: Sequence[str]) -> str:
    """What a server says to lines sent one after the other."""
    shown = ""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection, connection.makefile("rwb") as file:
        shown += f"S: {file.readline().decode()}"
        for line in lines:
            file.write(f"{line}\r\n".encode())
            file.flush()
            shown += f"C: {line}\n"
            many = line.split()[0] in ("CAPA", "UIDL", "RETR")
            while row := file.readline():
                shown += f"S: {row.decode('utf-8', 'backslashreplace')}"
                if not many or row == b".\r\n" or row.startswith(b"-ERR"):
                    break
    return shown.replace("\r", "")


# -- recording ---------------------------------------------------------------------------------------------------------


def record(out: Path, target: Target, inputs: Mapping[str, Any], only: str, jobs: int) -> int:
    """Run everything that `only` matches and write it below `out`. Gives the number of cases."""
    exercises = inputs["course"]
    work: list[tuple[str, Callable[[], Iterator[tuple[str, str]]]]] = []

    def one(case: Case) -> Callable[[], Iterator[tuple[str, str]]]:
        return lambda: iter([(case.name, run_case(case, target))])

    for tag in TAGS:
        work.append(("course/solved", lambda tag=tag: play_course(exercises, tag, target)))  # type: ignore[misc]
        work.append(("course/detours", lambda tag=tag: play_detours(exercises, tag, target)))  # type: ignore[misc]
        work.append(("command-line/serve", lambda tag=tag: play_serve(tag, target)))  # type: ignore[misc]
        work.append(("screens/plain", lambda tag=tag: play_plain_terminal(tag, target)))  # type: ignore[misc]
        for name in cases.SCENARIOS:
            for size in SIZES:
                scenario = lambda n=name, t=tag, s=size: play_scenario(n, t, s, target)  # noqa: E731
                work.append((f"screens/{name}.{size[0]}x{size[1]}.{tag}", scenario))
    work += [(case.name, one(case)) for case in piped(inputs)]
    count = 0
    # Terminals wait most of the time, so more of them run at once.
    wanted = [(name, job) for name, job in work if fnmatch.fnmatch(name, only)]
    rest, screens = ([one for one in wanted if one[0].startswith("screens") is drawn] for drawn in (False, True))
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(concurrent.futures.ThreadPoolExecutor(size)) for size in (jobs, 2 * jobs)]
        maps = [pool.map(_done, part) for pool, part in zip(pools, (rest, screens), strict=True)]
        for found in itertools.chain(*maps):
            for name, text in found:
                path = out / f"{name}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8", errors="backslashreplace")
                count += 1
    return count


def _done(work: tuple[str, Callable[[], Iterator[tuple[str, str]]]]) -> list[tuple[str, str]]:
    """What a piece of work gives; a fault in one does not end the recording, it is what is recorded."""
    name, job = work
    try:
        return list(job())
    except (AssertionError, OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return [(name, f"not recorded: {type(error).__name__} {error}\n")]


# -- what is kept ------------------------------------------------------------------------------------------------------

KEPT = Path(__file__).parent / "v1"


def kept_cases(flags: Sequence[str], scripts: Mapping[str, str]) -> Iterator[Case]:
    """The cases of tests/corpus/v1/; `flags` ask for version 1 of the JSON, `scripts` are what is typed."""
    for name in cases.KEPT:
        yield Case(name, (*flags, "--maildrop", "mails"), scripts[name])
    for name in cases.KEPT_SERVERS:
        peer, options, _ = cases.PEER_DIALOGUES[name]
        yield Case(f"server-{name}", (*flags, *options, "{peer}"), scripts[f"server-{name}"], peer)


def played(case: Case, target: Target) -> tuple[str, str]:
    """Standard output of a case, and the transcript that it saves as saved.txt."""
    text = run_case(case, target)
    output = text.partition("== stdout\n")[2].partition("== stderr\n")[0]
    return output, text.partition("== file saved.txt 600\n")[2].rpartition("== exit")[0]


def keep(target: Target, exercises: Sequence[Mapping[str, Any]]) -> None:
    """Write tests/corpus/v1/: scripts, JSON, transcripts, a progress file of a course half done, a history."""
    KEPT.mkdir(exist_ok=True)
    scripts = {name: _script(cases.DIALOGUES[name]) for name in cases.KEPT}
    scripts |= {f"server-{name}": _script(cases.PEER_DIALOGUES[name][2]) for name in cases.KEPT_SERVERS}
    scripts = {name: f"{text.replace(':save s.txt', ':raw')}:save saved.txt\n" for name, text in scripts.items()}
    for case in kept_cases(("--json",), scripts):
        output, saved = played(case, target)
        texts = {"in": case.lines, "jsonl": output, "txt": saved}
        for kind, text in texts.items():
            (KEPT / f"{case.name}.{kind}").write_text(text, "utf-8", errors="surrogateescape", newline="")
    with _home() as home:
        pupil = Pupil(target, home, "1", "--plain")
        for exercise in (one for one in exercises if one["lesson"] < "03"):
            pupil.say(f":lesson {exercise['lesson']}/{exercise['id']}")
            for line in exercise["solution"]:
                pupil.say(pupil.filled(line, exercise["account"]))
        for line in (":lesson 3", ":skip", ":hint", "FROB", ":hint"):
            pupil.say(line)
        pupil.leave()
        shutil.copyfile(_progress(home), KEPT / "progress.json")
    with _home() as home, _terminal(target, home, (), (80, 24)) as terminal:
        _settled(terminal, "")
        for keys in ("STAT\r", "USER learner\r", "PASS secret\r", ":help \u4fe1\r", "LIST 1\r", "UIDL\r"):
            _press(terminal, keys)
            _settled(terminal, "")
        history = (home / ".local" / "state" / "popshell" / "history").read_text("utf-8")
        (KEPT / "history").write_text(re.sub(r"^# .*$", "# 2026-03-02 08:05:00.000000", history, flags=re.M), "utf-8")


# -- comparing ---------------------------------------------------------------------------------------------------------


def compare(old: Path, new: Path, *, full: bool = False) -> int:
    """Print what differs: cases with the same difference together. Gives the number of cases that differ."""
    names = sorted({path.relative_to(top).as_posix() for top in (old, new) for path in top.rglob("*.txt")})
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    equal: dict[str, int] = defaultdict(int)
    differ: dict[str, int] = defaultdict(int)
    diffs: dict[str, list[str]] = {}
    for name in names:
        group = name.partition("/")[0]
        texts = [(top / name).read_text("utf-8").split("\n") if (top / name).is_file() else None for top in (old, new)]
        if texts[0] == texts[1]:
            equal[group] += 1
            continue
        differ[group] += 1
        if texts[0] is None or texts[1] is None:
            diffs[name] = [f"only in {new if texts[0] is None else old}"]
            alike[(diffs[name][0],)].append(name)
            continue
        diffs[name] = list(difflib.unified_diff(texts[0], texts[1], "old", "new", lineterm="", n=1))[2:]
        alike[tuple(row for row in diffs[name] if row[:1] in "+-")].append(name)
    for members in sorted(alike.values(), key=len, reverse=True):
        rows = diffs[members[0]]
        print(
            f"\n=== {len(members)} x: {' '.join(name.removesuffix('.txt') for name in members[: None if full else 6])}"
            f"{'' if full or len(members) <= 6 else ' ...'}"
        )
        for row in rows if full else rows[:30]:
            print("   ", row)
        if not full and len(rows) > 30:
            print(f"    ... {len(rows) - 30} more rows; --full shows them")
    print()
    for group in sorted({*equal, *differ}):
        print(f"{group:14} {equal[group]:5} equal {differ[group]:5} different")
    print(f"{'all':14} {sum(equal.values()):5} equal {sum(differ.values()):5} different")
    return sum(differ.values())


def main() -> int:
    parser = argparse.ArgumentParser(description="Record what PopShell puts out, and compare two recordings.")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record a version")
    recording.add_argument("out", type=Path)
    keeping = commands.add_parser("keep", help="make tests/corpus/v1/ from the first version")
    for one in (recording, keeping):
        one.add_argument("--python", default=sys.executable, help="the Python to run it with")
        one.add_argument("--path", default=str(ROOT), help="PYTHONPATH of the version")
    recording.add_argument("--like", type=Path, help="an older recording, to take its inputs")
    recording.add_argument("--lessons", default="", help="a lessons/ directory to use instead of the version's own")
    recording.add_argument("--only", default="*", help="cases to run, as a pattern: 'screens/*'")
    recording.add_argument("--jobs", type=int, default=2)
    comparing = commands.add_parser("compare", help="show what differs between two recordings")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument("--full", action="store_true")
    given = parser.parse_args()
    if given.command == "compare":
        return 1 if compare(given.old, given.new, full=given.full) else 0
    began = time.monotonic()
    with site() as cache:
        if given.command == "keep":
            keep(Target(given.python, given.path, cache=cache), _course())
            return 0
        inputs = json.loads((given.like / "inputs.json").read_text("utf-8")) if given.like else collected()
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "inputs.json").write_text(json.dumps(inputs, indent=1, ensure_ascii=False), "utf-8")
        target = Target(given.python, given.path, given.lessons, cache)
        count = record(given.out, target, inputs, given.only, given.jobs)
    print(f"{count} cases in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
