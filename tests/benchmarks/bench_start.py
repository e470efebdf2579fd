"""Start, measured as ratios (docs/performance.md: S1, S2, S4): `python tests/benchmarks/bench_start.py`.

The time to the first usable key is from the start of the process until a key that was pressed at the drawn prompt is
echoed. PopShell, litecli and a bare `PromptSession` are started in turn, and so are `popshell --version` and an
interpreter that does nothing; medians are compared. PopShell's practice server is up and its greeting is shown by then.
`popshell learn` is timed to the first row of its lesson. See contenders.py for what is measured, and how.

Beside it stands the ratio of processor times: where other programs keep all cores busy, that is the one that stays.
"""

from __future__ import annotations

import subprocess
import time

from contenders import Programs, Watched, arguments, difference, environment, programs, ratio, spent

#: What a prompt ends in: ours, litecli's, a bare one.
OURS, LITE, BARE = "▸", "(none)>", ">"
#: The last words of the toolbar.
TOOLBAR = ":explain LINE"


def usable(found: Programs, command: list[str], prompt: str, *, cursor: bool = False) -> float:
    """Milliseconds to the echo of a first key, pressed when `prompt` is there."""
    with Watched(command, found.home(command[0].replace("/", "_")), cursor=cursor) as program:
        program.until(prompt)
        program.key("S")
        return (time.perf_counter() - program.began) * 1000


def first_text(found: Programs, command: list[str], text: str) -> float:
    with Watched(command, found.home("learn")) as program:
        return program.until(text)


def whole(found: Programs, command: list[str]) -> float:
    """Milliseconds of a run to its end."""
    start = time.perf_counter()
    subprocess.run(command, env=environment(found.home("whole")), stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    options = arguments("ratios of docs/performance.md: S1, S2, S4", 21)
    with programs(options.venv) as found:
        things = {
            "ours": lambda: usable(found, found.popshell, OURS),
            "litecli": lambda: usable(found, found.lite, LITE),
            "bare": lambda: usable(found, found.bare, BARE),
            "toolbar": lambda: usable(found, found.popshell, TOOLBAR, cursor=True),
            "prompt": lambda: first_text(found, found.popshell, OURS),
            "learn": lambda: first_text(found, [*found.popshell, "learn"], "Lesson 1 "),
            "version": lambda: whole(found, [*found.popshell, "--version"]),
            "python": lambda: whole(found, [str(found.ours), "-c", "pass"]),
        }
        times: dict[str, list[float]] = {name: [] for name in things}
        work: dict[str, list[float]] = {name: [] for name in things}
        for thing in things.values():
            thing()  # litecli writes its settings, and the files of all are read for the first time
        for _ in range(options.rounds):
            for name, thing in things.items():
                before = spent()
                times[name].append(thing())
                work[name].append(spent() - before)
        ratio("S1 first usable key / litecli", times["ours"], times["litecli"], 0.70)
        ratio("   the same in processor time", work["ours"], work["litecli"], None)
        ratio("S2 first usable key / bare PromptSession", times["ours"], times["bare"], 1.22)
        ratio("   the same in processor time", work["ours"], work["bare"], None)
        ratio("   the same with the toolbar drawn before the key", times["toolbar"], times["bare"], 1.30)
        ratio("   the same in processor time", work["toolbar"], work["bare"], None)
        ratio("S4 popshell --version / python -c pass", times["version"], times["python"], 2.0)
        ratio("   the same in processor time", work["version"], work["python"], None)
        difference("   first text of popshell learn - prompt of popshell", times["learn"], times["prompt"], 150)


if __name__ == "__main__":
    main()
