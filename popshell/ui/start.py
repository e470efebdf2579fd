"""`start` of an exercise: the lines that the shell plays on the practice server before the learner's turn.

Nothing of it is judged, and nothing of it ever goes to a real server (sec-D3): the tutor opens the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from popshell.course import rehearsal
from popshell.course.lesson import Exercise
from popshell.protocol.commands import State
from popshell.protocol.line import parse
from popshell.protocol.secrets import masked_answer
from popshell.session import Session
from popshell.ui import render, waiting
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.ui.tutor import Tutor


async def play(tutor: Tutor, session: Session, exercise: Exercise) -> None:
    """Play `start`, shown folded: one line. Raises ConnectError or ConnectionError if the line ends before that."""
    shell, played = tutor.shell, []
    for text in exercise.start:
        rows = rehearsal.rows_of(text, exercise, session.connection.stamp)
        if not rows:
            if text.startswith(":wait "):
                tutor.stage.pass_time(float(text[6:]))
            elif text in (":drop", ":connect"):
                shell.hang_up()
            if text == ":connect":
                await shell.take_call(shell.dial("practice", shell.late, shell.ended), quiet=True)
                session = shell.session or session
            played.append(text)
        for row in rows:
            line = parse(row, session.connection.context())
            challenged = session.connection.challenged
            await waiting.reply_to(shell, session.submit(row))
            played.append(masked_answer(row) if challenged else line.redacted())
            if session.connection.wants_tls:
                await session.start_tls()
    shell.screen.lines(
        render.paragraph(
            shell.words("tutor.played", lines=shell.words.listed(f"`{show(row, keep='')}`" for row in played)),
            shell.screen.look,
            style="dim",
        )
    )
    shell.screen.state_changed(State.CLOSED, shell.state, [])
