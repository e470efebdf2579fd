"""A million cuttings: `python tests/soak/million_cuttings.py [relay] [COUNT] [SEED]`.

sec-P1 asks that the same bytes give the same Exchanges however TCP cuts them. Each dialogue is made by chance (both
directions in a fixed order; pipelining, challenges, STLS, unasked lines, faults, tight limits), watched whole, and then
byte by byte and at random, 25 cuttings in all. The suite runs the same on a seeded sample (`tests/test_connection.py`).

With `relay` the dialogues pass the Relay of `popshell watch`: the same octets come out on both sides, with the same
reports, and they are those that went in, but where the relay marks them as its own (`tests/test_relay.py`).
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import differing_cutting, differing_relay

CUTTINGS = 25


def main(count: int, seed: int, relay: bool) -> int:
    differs = differing_relay if relay else differing_cutting
    started = time.monotonic()
    dialogues = -(-count // CUTTINGS)
    differing = 0
    for number in range(dialogues):
        difference = differs(random.Random(f"{seed}/{number}"), CUTTINGS)
        if difference is not None:
            differing += 1
            print(f"dialogue {number}: {difference}", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{dialogues * CUTTINGS} cuttings of {dialogues} dialogues, seed {seed}: {differing} differ, {seconds:.0f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    relay = sys.argv[1:2] == ["relay"]
    given = [int(word) for word in sys.argv[1 + relay :]]
    sys.exit(main(given[0] if given else 1_000_000, given[1] if len(given) > 1 else 1, relay))
