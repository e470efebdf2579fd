"""A million cuttings of what passes `popshell watch`: `python tests/soak/relay_cuttings.py [COUNT] [SEED]`.

Each dialogue is made by chance, as for million_cuttings.py, and passes a Relay whole, byte by byte and at random, 25
cuttings in all: the same octets come out on both sides, with the same reports, and where nothing is marked as the
relay's own, they are those that went in. The suite runs a sample (`tests/test_relay.py`).
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import differing_relay

CUTTINGS = 25


def main(count: int, seed: int) -> int:
    started = time.monotonic()
    dialogues = -(-count // CUTTINGS)
    differing = 0
    for number in range(dialogues):
        difference = differing_relay(random.Random(f"{seed}/{number}"), CUTTINGS)
        if difference is not None:
            differing += 1
            print(f"dialogue {number}: {difference}", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{dialogues * CUTTINGS} cuttings of {dialogues} dialogues, seed {seed}: {differing} differ, {seconds:.0f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else 1_000_000, given[1] if len(given) > 1 else 1))
