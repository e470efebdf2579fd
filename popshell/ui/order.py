"""Order: what comes by itself is told at once, but not before the reply that it followed on the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol


class Awaited(Protocol):
    """A reply that may have come already: a Future."""

    def done(self) -> bool:
        """Whether it has come, or never will."""


class Order:
    """Keeps back what came behind a reply until that has been shown. `interrupt` tells above a live prompt."""

    def __init__(self, interrupt: Callable[[Callable[[], None]], None]) -> None:
        self._interrupt = interrupt
        #: the reply that is waited for, or was waited for last
        self.awaited: Awaited | None = None
        self._showing = False
        self._untold: list[Callable[[], None]] = []

    def tell(self, show: Callable[[], None]) -> None:
        """Show what came by itself: at once, but not before the reply that it followed."""
        if self._showing and (self.awaited is None or self.awaited.done()):
            self._untold.append(show)
        else:
            self._interrupt(show)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """A reply is waited for and shown; what comes behind it is told when that is done."""
        outer, self._showing = self._showing, True
        try:
            yield
        finally:
            self._showing = outer
            if not outer:
                untold, self._untold = self._untold, []
                for show in untold:
                    self._interrupt(show)
