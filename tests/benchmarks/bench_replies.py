"""Large replies, measured as ratios (docs/performance.md: R1, R2, R3, R5): `python tests/benchmarks/bench_replies.py`.

Each thing and what it is compared with are run in turn in one process whose standard output is a terminal (a pty that
this program drains); medians are compared. "Plain" is one `sys.stdout.write` of the same text, unfiltered and without
colours. `--null` writes to /dev/null instead, where plain writing costs next to nothing: that shows our own share.

Memory is what tracemalloc counts at most while the mail is written, in a process of its own for each way of writing.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable

from popshell.protocol.commands import Content
from popshell.ui.layout import Look
from popshell.ui.stream import View, write_content
from popshell.visible import show

ALL = 10**9
WHOLE = View(Look(theme="dark"), columns=80, max_lines=ALL)
SCREEN = View(Look(theme="dark"), columns=80, max_lines=24)
MEGABYTE = 1_000_000


def listing(lines: int) -> bytes:
    return b"".join(b"%d %d\r\n" % (n, 500 + n * 7919 % 60_000) for n in range(1, lines + 1)) + b".\r\n"


def uids(lines: int) -> bytes:
    return b"".join(b"%d %032x\r\n" % (n, n * 7919 << 64) for n in range(1, lines + 1)) + b".\r\n"


def mail(octets: int) -> bytes:
    """A mail with a header, text, stuffed lines and an attachment, as most of those of this size are."""
    head = b"From: a@popshell.example\r\nTo: b@popshell.example\r\nSubject: large\r\nMIME-Version: 1.0\r\n\r\n"
    text = b"Words of a mail, some sixty columns wide, and what follows is one.\r\n" * 40 + b"..stuffed\r\n"
    base64 = (b"TWFpbCBpcyBvbGRlciB0aGFuIHRoZSB3ZWIsIGFuZCBQT1AzIGlzIG9sZGVyIHRoYW4gbW9zdCBv" + b"\r\n") * 200
    body = text + base64
    return head + body * (octets // len(body) + 1) + b".\r\n"


def chinese(octets: int) -> bytes:
    line = "這是一封很長的信，每一行都有中文，還有標點符號。「你好」\r\n".encode()
    return b"Subject: =?utf-8?b?5L2g5aW9?=\r\n\r\n" + line * (octets // len(line) + 1) + b".\r\n"


def plain(raw: bytes) -> None:
    """What we are compared with."""
    sys.stdout.write(raw.decode("utf-8").replace("\r\n", "\n"))
    sys.stdout.flush()


def median(run: Callable[[], object], other: Callable[[], object] | None, rounds: int) -> tuple[float, float]:
    """Median milliseconds of both, run in turn."""
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for index, each in enumerate((run, other)):
            if each is not None:
                start = time.perf_counter()
                each()
                times[index].append((time.perf_counter() - start) * 1000)
    return statistics.median(times[0]), statistics.median(times[1] or [0.0])


class FirstScreen(Exception):
    """Raised by the writer below when the first block is out."""


class UntilFirst:
    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()
        raise FirstScreen


def first_screen(raw: bytes, kind: Content) -> Callable[[], None]:
    """Writes the whole of a reply, but is left when the first block has been flushed."""

    def run() -> None:
        try:
            write_content(UntilFirst(), raw, kind, WHOLE)  # type: ignore[arg-type]
        except FirstScreen:
            return

    return run


def measure(rounds: int) -> dict[str, tuple[float, float]]:
    out = sys.stdout
    list_small, list_large, uid_large = listing(1_000), listing(100_000), uids(100_000)
    mail_large, mail_chinese = mail(10 * MEGABYTE), chinese(10 * MEGABYTE)
    long_line = b"Subject: x\r\n\r\n" + b"x" * (10 * MEGABYTE) + b"\r\n.\r\n"
    ascii_text = mail_large.replace(b"\r\n", b"\n")
    hits, han = ascii_text.replace(b"W", b"\\"), mail_chinese.replace(b"\r\n", b"\n")
    return {
        "filter alone, 10 MB of ASCII / plain": median(lambda: show(ascii_text), lambda: plain(ascii_text), rounds),
        "filter alone, 10 MB with backslashes / plain": median(lambda: show(hits), lambda: plain(hits), rounds),
        "filter alone, 10 MB of Chinese / plain": median(lambda: show(han), lambda: plain(han), rounds),
        "R1 first screen of LIST, 100,000 lines / 1,000 lines": median(
            first_screen(list_large, Content.SCAN_LISTINGS), first_screen(list_small, Content.SCAN_LISTINGS), 5 * rounds
        ),
        "R1 the same, and all lines counted for the footer": median(
            lambda: write_content(out, list_large, Content.SCAN_LISTINGS, SCREEN),
            lambda: write_content(out, list_small, Content.SCAN_LISTINGS, SCREEN),
            5 * rounds,
        ),
        "R2 LIST, 100,000 lines / plain": median(
            lambda: write_content(out, list_large, Content.SCAN_LISTINGS, WHOLE), lambda: plain(list_large), rounds
        ),
        "R2 UIDL, 100,000 lines / plain": median(
            lambda: write_content(out, uid_large, Content.UNIQUE_IDS, WHOLE), lambda: plain(uid_large), rounds
        ),
        "R3 mail, 10 MB / plain": median(
            lambda: write_content(out, mail_large, Content.MAIL, WHOLE), lambda: plain(mail_large), rounds
        ),
        "R3 mail, 10 MB of Chinese / plain": median(
            lambda: write_content(out, mail_chinese, Content.MAIL, WHOLE), lambda: plain(mail_chinese), rounds
        ),
        "R5 mail with a line of 10 MB, whole": median(
            lambda: write_content(out, long_line, Content.MAIL, WHOLE), None, 5 * rounds
        ),
    }


def memory(way: str) -> int:
    """KiB that the writing of the 10 MB mail holds at most, beside the mail."""
    raw = mail(10 * MEGABYTE)
    write_content(sys.stdout, mail(100_000), Content.MAIL, WHOLE)
    tracemalloc.start()
    if way == "ours":
        write_content(sys.stdout, raw, Content.MAIL, WHOLE)
    else:
        plain(raw)
    return tracemalloc.get_traced_memory()[1] // 1024


def in_child(arguments: list[str], null: bool) -> object:
    """The JSON that a child writes to its standard error while its standard output is a terminal."""
    command = [sys.executable, __file__, *arguments]
    if null:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
        return json.loads(done.stderr)
    master, slave = pty.openpty()
    child = subprocess.Popen(command, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)

    def drain() -> None:
        try:
            while os.read(master, 1 << 16):
                pass
        except OSError:
            return

    reader = threading.Thread(target=drain)
    reader.start()
    _, errors = child.communicate()
    reader.join()
    os.close(master)
    return json.loads(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description="ratios of docs/performance.md: R1, R2, R3, R5")
    parser.add_argument("--null", action="store_true", help="write to /dev/null instead of a terminal")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", choices=("times", "ours", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result: object = measure(options.rounds) if options.child == "times" else memory(options.child)
        print(json.dumps(result), file=sys.stderr)
        return
    times = in_child(["--child", "times", "--rounds", str(options.rounds)], options.null)
    assert isinstance(times, dict)
    for name, (ours, other) in times.items():
        ratio = f"{other:9.2f} ms  ratio {ours / other:5.2f}" if other else ""
        print(f"{name:55} {ours:9.2f} ms {ratio}")
    for way in ("ours", "plain"):
        print(f"R3 memory for the mail of 10 MB, {way:22} {in_child(['--child', way], options.null)} KiB")


if __name__ == "__main__":
    main()
