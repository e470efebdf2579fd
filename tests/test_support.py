"""The loops of the suite: every row is checked, every row that fails is reported, and no table may be empty."""

from __future__ import annotations

import pytest
from support import each, over


def test_every_row_that_fails_is_reported() -> None:
    seen: list[tuple[int, str]] = []

    @over("letter", "ab")
    @over("number, double", [(1, 2), (2, 5), (3, 7)])
    def check(letter: str, number: int, double: int) -> None:
        seen.append((number, letter))
        assert double == 2 * number

    with pytest.raises(AssertionError) as caught:
        check()
    assert seen == [(1, "a"), (2, "a"), (3, "a"), (1, "b"), (2, "b"), (3, "b")]
    assert str(caught.value).count("(2, 5)") == str(caught.value).count("(3, 7)") == 2
    assert "(1, 2)" not in str(caught.value)


def test_an_empty_table_fails() -> None:
    with pytest.raises(AssertionError, match="empty"):
        each([], print)
