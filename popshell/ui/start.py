"""The shell's connection as a lesson's Player uses it, for `start` of an exercise: the lines before the learner's turn.

Nothing of them is judged, and nothing of them ever goes to a real server (sec-D3): the tutor opens the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from popshell.course.player import Player
from popshell.protocol.commands import State
from popshell.protocol.line import parse
from popshell.protocol.secrets import MASK
from popshell.ui import render, waiting
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.course.attempt import Attempt
    from popshell.ui.tutor import Tutor


class ShellLine:
    """The open connection of a shell as a `player.Line`; `played` is what was played, secrets masked."""

    def __init__(self, tutor: Tutor) -> None:
        self._tutor = tutor
        self.played: list[str] = []

    @property
    def stamp(self) -> str | None:
        session = self._tutor.shell.session
        return session.connection.stamp if session else None

    async def send(self, rows: list[str]) -> bool:
        """Raises ConnectError or ConnectionError if the connection ends before all is sent."""
        heard = True
        for row in rows:
            session = self._tutor.shell.session
            if session is None:
                raise ConnectionError
            line = parse(row, session.connection.context())
            challenged = session.connection.challenged
            heard = await waiting.reply_to(self._tutor.shell, session.submit(row)) is not None and heard
            self.played.append(MASK if challenged and row != "*" else line.redacted())
            if session.connection.wants_tls:
                await session.start_tls()
        return heard

    async def connect(self) -> None:
        shell = self._tutor.shell
        self._tutor.hang_up()
        await shell.take_call(shell.dial("practice", shell.late, shell.ended), quiet=True)
        self.played.append(":connect")

    def drop(self) -> None:
        self._tutor.hang_up()
        self.played.append(":drop")

    def wait(self, seconds: float) -> None:
        self._tutor.stage.pass_time(seconds)
        self.played.append(f":wait {seconds:g}")


async def play(tutor: Tutor, attempt: Attempt) -> None:
    """Play `start`, shown folded: one line. Raises ConnectError or ConnectionError if the line ends before that."""
    shell, line = tutor.shell, ShellLine(tutor)
    await Player(attempt, line).start()
    played = shell.words.listed(f"`{show(row, keep='')}`" for row in line.played)
    shell.screen.lines(render.paragraph(shell.words("tutor.played", lines=played), shell.screen.look, style="dim"))
    shell.screen.state_changed(State.CLOSED, shell.state, [])
