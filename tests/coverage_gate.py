"""The gate of coverage: `python tests/coverage_gate.py coverage.json` (from `coverage json`).

Of `protocol`, `server`, `course` and `lint` each, at least 95 % of the branches have to be taken, and of the lines
run. Exits 1 and names the files that lack most if one of them has less, or if nothing of it was measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("protocol", "server", "course", "lint")
LEAST = 95.0


def percent(summaries: Iterable[Mapping[str, int]], done: str, whole: str) -> float:
    """The share of `whole` that is `done`, all files together; 0 if there is nothing to do at all."""
    rows = list(summaries)
    total = sum(row[whole] for row in rows)
    return 100.0 * sum(row[done] for row in rows) / total if total else 0.0


def judge(report: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Lines to read, and whether every package has enough."""
    lines, good = [], True
    for package in PACKAGES:
        files = {
            name: about["summary"]
            for name, about in report["files"].items()
            if f"popshell/{package}/" in name.replace("\\", "/")
        }
        branches = percent(files.values(), "covered_branches", "num_branches")
        statements = percent(files.values(), "covered_lines", "num_statements")
        enough = branches >= LEAST and statements >= LEAST
        good = good and enough
        mark = "ok" if enough else f"less than {LEAST:g} %"
        lines.append(f"{package:10}branches {branches:5.1f} %  lines {statements:5.1f} %  {mark}")
        if not enough:
            worst = sorted(files.items(), key=lambda file: -file[1]["missing_branches"] - file[1]["missing_lines"])
            for name, row in worst[:8]:
                lines.append(f"    {name}: {row['missing_branches']} branches, {row['missing_lines']} lines missing")
    return lines, good


if __name__ == "__main__":
    said, passed = judge(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    print("\n".join(said))
    sys.exit(0 if passed else 1)
