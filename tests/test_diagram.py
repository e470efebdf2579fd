"""diagram.py: exact drawings, and that they say what the command table says, all of it and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from textwrap import dedent
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popshell.protocol import commands
from popshell.protocol.commands import COMMANDS, CommandSpec, State, legal, transitions
from popshell.ui.arrows import HERE, LEGAL, TAKEN, fold
from popshell.ui.diagram import arrow, machine, mermaid, path
from popshell.ui.wrap import Line, columns, plain

CLOSED, AUTHORIZATION, TRANSACTION, UPDATE = State
STATES = list(State)


class Fixed:
    """Words for tests; the real ones are in `lessons/`."""

    def __init__(self, **words: str) -> None:
        self._words = words

    def __call__(self, key: str, /, **facts: object) -> str:
        section, _, name = key.partition(".")
        assert section == "diagram"
        return self._words[name].format(**facts)


ENGLISH = Fixed(
    connect="connect",
    greeting="greeting",
    closes="server closes",
    closed="no connection",
    lost="line lost",
    lost_note="If the line is lost, nothing is deleted.",
    here="you are here",
)
CHINESE = Fixed(
    connect="連線",
    greeting="問候",
    closes="伺服器關閉連線",
    closed="沒有連線",
    lost="斷線",
    lost_note="斷線的話，什麼都不會刪除。",
    here="你在這裡",
)


def text(lines: list[Line]) -> str:
    return "\n" + plain(lines) + "\n"


def same(lines: list[Line], expected: str) -> bool:
    assert text(lines) == dedent(expected)
    return True


class TestMachine:
    def test_english_80(self) -> None:
        assert same(
            machine(TRANSACTION, 80, False, ENGLISH),
            """
@EN80
            """,
        )
