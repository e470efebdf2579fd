"""Terminals and peers that are gone when the test is over, whatever happened in it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terminal.driver import Peer, Pty, Tmux

# A suite that runs in the background of a script is told to ignore Ctrl-C, and programs inherit what is ignored.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


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
