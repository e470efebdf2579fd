"""Interruptions: what happens by itself is told above a live prompt, in order, never into the line that one types.

A reply that comes late, the server closing, a fault in the background: each brings a function that shows it. It is
called at once if no prompt is live, by run_in_terminal if one is, and later while another program has the terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prompt_toolkit.application.run_in_terminal import run_in_terminal


class Interruptions:
    """The queue of what is to be told. `is_live` says whether a prompt stands on the screen."""

    def __init__(self, is_live: Callable[[], bool]) -> None:
        self._is_live = is_live
        self._waiting: list[Callable[[], None]] = []
        self._draining: asyncio.Task[None] | None = None
        self._held = False

    def tell(self, show: Callable[[], None]) -> None:
        """Call `show` above a live prompt, in order; at once if there is none."""
        if self._held:
            self._waiting.append(show)
            return
        if not self._is_live() and not self._waiting:
            show()
            return
        self._waiting.append(show)
        if self._draining is None or self._draining.done():
            self._draining = asyncio.ensure_future(self._drain())

    def hold(self) -> None:
        """Another program has the terminal: keep everything until `release()`."""
        self._held = True

    async def release(self) -> None:
        """The terminal is ours again: tell what happened meanwhile."""
        self._held = False
        await self._drain()

    async def _drain(self) -> None:
        while self._waiting:
            shows, self._waiting = self._waiting, []

            def tell(shows: list[Callable[[], None]] = shows) -> None:
                for show in shows:
                    show()

            if self._is_live():
                await run_in_terminal(tell)
            else:
                tell()
