"""The keys of the prompt that are ours: paste, Enter, Ctrl-Z. All others are prompt_toolkit's.

Keys that arrive in one packet behind Enter are a paste, whatever the terminal calls them: they stay in the buffer and
are asked about, never run (sec-U3).
"""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys


def prompt_keys(suspend: Callable[[], object]) -> KeyBindings:
    """The bindings of the prompt; `suspend` is called at Ctrl-Z."""
    keys = KeyBindings()

    @keys.add(Keys.BracketedPaste)
    def paste(event: KeyPressEvent) -> None:
        """Pasted lines stay in the buffer; Enter then shows them and asks."""
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(text.rstrip("\n"))

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def enter(event: KeyPressEvent) -> None:
        """Enter runs; but with keys of the same packet behind it, it is a line end of a paste."""
        if any(press.key == Keys.ControlM or len(press.key) == 1 for press in event.key_processor.input_queue):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("c-z")
    def stop(event: KeyPressEvent) -> None:
        suspend()

    return keys
