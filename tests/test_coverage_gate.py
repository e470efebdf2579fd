"""The gate of coverage can open and shut."""

from __future__ import annotations

from typing import Any

import pytest
from coverage_gate import PACKAGES, judge


def report(**branches: tuple[int, int]) -> dict[str, Any]:
    """What `coverage json` writes, as far as it is read: (covered, all) branches of each package; 100 lines of 100."""
    return {
        "files": {
            f"popshell/{package}/a.py": {
                "summary": {
                    "covered_branches": covered,
                    "num_branches": whole,
                    "missing_branches": whole - covered,
                    "covered_lines": 100,
                    "num_statements": 100,
                    "missing_lines": 0,
                }
            }
            for package, (covered, whole) in branches.items()
        }
    }


def test_enough_is_enough() -> None:
    assert judge(report(protocol=(95, 100), server=(40, 40), course=(96, 100), lint=(96, 100), ui=(0, 100)))[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_one_package_below_shuts_it(package: str) -> None:
    lines, good = judge(report(**{name: (94 if name == package else 100, 100) for name in PACKAGES}))
    assert not good
    assert f"    popshell/{package}/a.py: 6 branches, 0 lines missing" in lines


@pytest.mark.parametrize("package", PACKAGES)
def test_one_package_that_was_not_measured_shuts_it(package: str) -> None:
    assert not judge(report(**{name: (100, 100) for name in PACKAGES if name != package}))[1]


def test_lines_count_too() -> None:
    made = report(protocol=(1, 1), server=(1, 1), course=(1, 1), lint=(1, 1))
    made["files"]["popshell/server/a.py"]["summary"] |= {"covered_lines": 90, "missing_lines": 10}
    assert not judge(made)[1]
