"""Draws the machine that a POP3 session is: in one line for the toolbar, as the arrow just taken, whole for `:state`.

Theory. Everything drawn is read from `transitions()` and `legal()` each time; there is no second copy of the machine
here. The state that the first arrow (the greeting) leaves is home: a session begins and ends there. The others stand
in a row in the order in which the arrows reach them, and an arrow is one of four: the way on (to the next in the
row), a loop, the way home, or any other. The last kind does not exist today; it is listed below the drawing, so that
a row added to the table can never go missing.

One arrow is in no row of the table because nobody types it: when the line is lost, a session goes home without
passing UPDATE (RFC 1939 §6). It is drawn, dashed, from every state that a command would lead from into UPDATE.

The current state has brackets and a double frame beside its style, because colour alone says nothing to some readers.
Drawings are made of box characters and, for terminals that draw those with two columns, turned into ASCII character
by character: the layout is the same.

Traps. Words come from outside and may be Chinese: measure with `columns`, never with `len`. A password must never
get here: `arrow` draws the first word of what it is given and nothing else.
"""

from __future__ import annotations

from popshell.ui.wrap import plain

__all__ = ["arrow", "machine", "mermaid", "path", "plain", "to_ascii"]

LINE, STATE, HERE = "diagram.line", "diagram.state", "diagram.here"
COMMAND, LEGAL, TAKEN, NOTE = "diagram.command", "diagram.legal", "diagram.taken", "diagram.note"

_OR = "·"
_ASCII = str.maketrans(
    "─━┄═│┃┊║┌┐└┘╭╮╔╗╚╝┗┛├┤╟╢┬┴╧╤▶◀▲▼↺·…—✔✘✗",
    "-=.=||:#++++..####+++###++##><^v@|~-+x x".replace(" ", ""),
)
