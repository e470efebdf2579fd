"""Terminals and peers that are gone when the test is over, whatever happened in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terminal.driver import Peer, Pty, Tmux


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Callable[..., Tmux]]:
    yield from _maker(Tmux, tmp_path)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Pty]]:
    yield from _maker(Pty, tmp_path)


def _maker(kind: type[Any], home: Path) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(*arguments: str, **how: Any) -> Any:
        made.append(kind(*arguments, home=home, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(*arguments: Any, **how: Any) -> Peer:
        made.append(Peer(*arguments, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()
