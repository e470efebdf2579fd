"""Looks for tests, and lines without their styles."""

from __future__ import annotations

from collections.abc import Iterable

from popshell.ui.layout import Line, Look

COLOURED = Look(theme="dark")
COLOURLESS = Look()


def plain(lines: Iterable[Line]) -> str:
    return "\n".join("".join(text for _, text in line).rstrip() for line in lines)
