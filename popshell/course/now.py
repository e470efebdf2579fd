"""Now: what may be given here and now. Toolbar, completion and `:help` offer what this says, so they cannot disagree.

It is judged by the parse, as a line that is typed is: a command is legal if a strict reader has nothing against its
keyword. Arguments and what is known of the maildrop do not count.
"""

from __future__ import annotations

from functools import lru_cache

from popshell.protocol.commands import COMMANDS, CommandSpec, State
from popshell.protocol.line import Context, parse

_AGAINST = ("wrong-state", "must-follow", "already-tls", "not-after")


def objection(spec: CommandSpec, context: Context) -> str | None:
    """The code of what is against giving the command just now; None if nothing is."""
    return _objection(spec.name, context.state, context.follows, context.tls, context.done)


def legal_now(context: Context) -> tuple[CommandSpec, ...]:
    """The commands that may be given just now, in the table's order; history left out."""
    return tuple(spec for spec in COMMANDS.values() if not spec.historic and objection(spec, context) is None)


@lru_cache(maxsize=256)
def _objection(name: str, state: State, follows: str, tls: bool, done: frozenset[str]) -> str | None:
    line = parse(name, Context(state, follows, tls, done))
    return next((found.code for found in line.diagnostics if found.code in _AGAINST), None)
