"""A keystroke, measured as ratios (docs/performance.md: K1, K4): `python tests/benchmarks/bench_keys.py`.

The time of a key is from its writing to the terminal until its echo is written back; a key follows when everything is
drawn. Its processor time is what the program does because of it, also after the echo. PopShell, litecli and a bare
`PromptSession` stand at their prompts side by side, and each types a line of its own kind in turn; medians of all keys
are compared. Then the same line is typed where a maildrop has 100,000 messages
and where it has 100 (STAT, LIST and UIDL were given, by a scripted server on loopback), and behind a history of 100,000
lines and none. For K4 the toolbar is drawn, since it could grow. See contenders.py for what is measured, and how.
"""

from __future__ import annotations

import socketserver
import threading
from contextlib import ExitStack

from contenders import Programs, Watched, arguments, programs, ratio

LINE = "RETR 57"
#: A line of SQL with as many keys of its keyword, and the rest.
SQL = "SELE 57"
CLEAR = "\x15"
MANY, FEW = 100_000, 100


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, messages: int) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        octets = [500 + n * 7919 % 60_000 for n in range(1, messages + 1)]
        self.answers = {
            b"STAT": b"+OK %d %d\r\n" % (messages, sum(octets)),
            b"LIST": b"+OK\r\n" + b"".join(b"%d %d\r\n" % row for row in enumerate(octets, 1)) + b".\r\n",
            b"UIDL": b"+OK\r\n" + b"".join(b"%d %032x\r\n" % (n, n << 64) for n in range(1, messages + 1)) + b".\r\n",
        }


class _Talk(socketserver.StreamRequestHandler):
    """A POP3 server by its looks: `+OK` to everything."""

    server: _Server

    def handle(self) -> None:
        self.wfile.write(b"+OK scripted\r\n")
        while line := self.rfile.readline():
            self.wfile.write(self.server.answers.get(line.strip().upper(), b"+OK\r\n"))


def logged_in(found: Programs, messages: int, running: ExitStack) -> Watched:
    """PopShell in a maildrop, everything about its messages learnt."""
    server = running.enter_context(_Server(messages))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    running.callback(server.shutdown)
    command = [*found.popshell, "--tls", "none", "--yes", f"127.0.0.1:{server.server_address[1]}"]
    program = running.enter_context(Watched(command, found.home(f"maildrop-{messages}"), cursor=True))
    program.until("▸")
    for line in ("USER a", "PASS b", "STAT", "LIST", "UIDL"):
        program.settle()
        program.type(line)
        program.key("\r", "▸")
    return program


def with_history(found: Programs, lines: int, command: str, running: ExitStack) -> Watched:
    """PopShell at its first prompt. Where no line of the history goes on from what is typed, all are searched."""
    home = found.home(f"history-{lines}-{command}")
    file = home / ".local" / "state" / "popshell" / "history"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"\n# 2026-01-01 00:00:00\n+{command} {n}\n" for n in range(lines)))
    program = running.enter_context(Watched(found.popshell, home, cursor=True))
    program.until("▸")
    program.settle()
    return program


def type_line(program: Watched, line: str) -> tuple[list[float], float]:
    """Milliseconds to the echo of each key of a line, which is then taken back, and of work for one key on average."""
    program.settle()
    times, before = [], program.worked()
    for key in line:
        # A blank is seldom written: it is on the screen already.
        times += [program.key(key)] if key != " " else []
        program.type(" ") if key == " " else program.settle()
    worked = (program.worked() - before) / len(line)
    program.type(CLEAR)
    return times, worked


def menu(program: Watched) -> list[float]:
    """Milliseconds from Tab behind `RETR ` to the menu of the first message-numbers."""
    program.type("RETR ")
    taken = program.key("\t", "octets")
    program.settle()
    program.type(CLEAR)
    return [taken]


def main() -> None:
    options = arguments("ratios of performance.md K1, K4", 5)  # 35 keys of each; a round takes 6 s, most of it quiet
    with programs(options.venv) as found, ExitStack() as running:

        def at_prompt(command: list[str], prompt: str, name: str, cursor: bool = False) -> Watched:
            program = running.enter_context(Watched(command, found.home(name), cursor=cursor))
            program.until(prompt)
            return program

        things = {
            "ours": (at_prompt(found.popshell, "▸", "ours"), LINE),
            "ours, toolbar": (at_prompt(found.popshell, "▸", "toolbar", True), LINE),
            "litecli": (at_prompt(found.lite, "(none)>", "litecli"), SQL),
            "litecli, toolbar": (at_prompt(found.lite, "(none)>", "litecli-toolbar", True), SQL),
            "bare": (at_prompt(found.bare, ">", "bare"), LINE),
            "many messages": (logged_in(found, MANY, running), LINE),
            "few messages": (logged_in(found, FEW, running), LINE),
            "long history": (with_history(found, MANY, "LIST", running), LINE),
            "no history": (with_history(found, 0, "LIST", running), LINE),
            "suggestions": (with_history(found, MANY, "RETR", running), LINE),
        }
        times: dict[str, list[float]] = {name: [] for name in things}
        work: dict[str, list[float]] = {name: [] for name in things}
        tabs: dict[str, list[float]] = {name: [] for name in ("many messages", "few messages")}
        for at in range(options.rounds + 1):
            for name, (program, line) in things.items():
                taken, worked = type_line(program, line)
                if at:  # the first line warms up
                    times[name] += taken
                    work[name].append(worked)
            for name in tabs:
                tabs[name] += menu(things[name][0])
        ratio(
            "K1 a key, toolbars drawn / litecli, processor time", work["ours, toolbar"], work["litecli, toolbar"], 0.85
        )
        ratio("   the same, until its echo", times["ours, toolbar"], times["litecli, toolbar"], None)
        ratio("   until its echo, where no question is answered", times["ours"], times["litecli"], None)
        ratio("   a key / bare PromptSession", times["ours"], times["bare"], None)
        ratio("K4 a key, 100,000 messages / 100", times["many messages"], times["few messages"], 1.25)
        ratio("K4 Tab behind RETR, 100,000 messages / 100", tabs["many messages"], tabs["few messages"], 1.25)
        ratio("K4 a key, 100,000 lines of history / none", times["long history"], times["no history"], 1.25)
        ratio("   the same, lines of it suggested", times["suggestions"], times["no history"], None)


if __name__ == "__main__":
    main()
