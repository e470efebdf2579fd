"""Tutor: a course inside the ordinary shell. It watches what happens, judges by effect, and says what was shown.

Each exercise has a practice server of its own, fresh, set up as the exercise wants; entering it opens a new connection
and plays `start`. Everything else of the shell goes on working, and a wrong turn costs nothing. A connection to a real
server pauses the lesson; nothing of a lesson is ever sent there (sec-D3).

Evidence and judgement are those of course/attempt.py; `start` is played over the shell's connection; what the course
shows at length is in pages.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from popshell.course import player
from popshell.course.attempt import Attempt, Collector, vocabulary
from popshell.course.document import LessonError
from popshell.course.lesson import Exercise, Lesson, Prose
from popshell.course.progress import Lessons, Standing
from popshell.protocol.commands import State
from popshell.protocol.line import CommandLine, parse
from popshell.protocol.secrets import masked_answer
from popshell.session import ConnectError
from popshell.ui import layout, pages
from popshell.ui.events import End, Ended, Replied, ShellEvent
from popshell.ui.layout import Line
from popshell.ui.shell import Refused, Shell
from popshell.visible import show

#: After so many lines beyond the shortest solution the tutor says what is still missing, unasked.
PATIENCE = 4
#: Lines that a task, a greeting with its notes, the prompt and the toolbar take.
_TASK_ROWS = 20


class Stage(Protocol):
    """The practice server of this process as a lesson needs it: `net.connector.Connector`."""

    @property
    def clock(self) -> Callable[[], float]:
        """The server's clock, in seconds."""

    def use(self, server: player.PracticeServer) -> None:
        """Let new connections of the practice server meet `server`."""

    def pass_time(self, seconds: float) -> None:
        """Move the practice server's clock."""


@dataclass(slots=True)
class Tutor:
    """One learner's way through one course."""

    shell: Shell
    lessons: Lessons
    stage: Stage
    lesson: Lesson | None = None
    #: the try at the exercise; None before the first exercise
    attempt: Attempt | None = None
    #: what was said already of progress that cannot be kept
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        shell = self.shell
        shell.subscribe(self.heard)
        shell.gates.append(self.gate)
        shell.toolbar.append(self.toolbar)
        shell.announces_practice = False

    # -- where we are --------------------------------------------------------------------------------------------------

    @property
    def here(self) -> tuple[Lesson, Attempt]:
        """The lesson, and the try at its exercise. Raises Refused if there is no exercise."""
        if self.lesson is None or self.attempt is None:
            raise Refused("tutor.no-exercise")
        return self.lesson, self.attempt

    @property
    def prose(self) -> Prose:
        """The exercise's words in today's language."""
        lesson, attempt = self.here
        return self.lessons.get(lesson.name).prose.get(attempt.exercise.id, Prose())

    @property
    def paused(self) -> bool:
        """Whether the shell talks to a real server just now; also when that has closed, until one goes back."""
        endpoint = self.shell.endpoint
        return self.attempt is None or (endpoint is not None and not endpoint.practice)

    @property
    def judged(self) -> Attempt | None:
        """The attempt, as long as what happens counts for it."""
        attempt = self.attempt
        return None if attempt is None or attempt.solved or self.paused else attempt

    def toolbar(self) -> Line:
        """Task and progress, for the toolbar."""
        lesson, attempt = self.lesson, self.attempt
        if lesson is None or attempt is None:
            return []
        words, at = self.shell.words, lesson.exercises.index(attempt.exercise) + 1
        number = self.lessons.course.lessons.index(lesson.name) + 1
        place = words("tutor.place", lesson=number, exercise=at, count=len(lesson.exercises))
        if attempt.solved:
            return [("", " "), ("ok", f"{place} {pages.tick(self.shell)} {words('tutor.go-on')}")]
        if attempt.overshot and not self.paused:
            return [("", " "), ("emphasis", place), ("", " "), ("warn", words("tutor.overshot"))]
        task = words("tutor.paused") if self.paused else show(self.prose.headline.replace("`", ""), keep="")
        return [("", " "), ("emphasis", place), ("", f" {task}")]

    # -- entering ------------------------------------------------------------------------------------------------------

    async def begin(self, wanted: str = "") -> bool:
        """Go to lesson `wanted`, `6`, `dots` or `dots/3` with an exercise; "" is where the learner left.

        False if there is no such lesson, or all is done.
        """
        self.tell_trouble()
        if wanted:
            lesson_name, _, exercise = wanted.replace(" ", "/").partition("/")
            name = self.lessons.course.find(lesson_name)
            if name is None:
                self.shell.say("tutor.no-lesson", style="warn", name=show(wanted))
                return False
            lesson = self.lessons.get(name)
            entered = lesson.find(exercise) if exercise else self.lessons.to_do_in(lesson)
            if entered is None:
                ids = self.shell.words.listed(f"{n} {show(e.id)}" for n, e in enumerate(lesson.exercises, 1))
                self.shell.say("tutor.no-such-exercise", style="warn", name=show(exercise), known=ids)
                return False
            await self.enter(lesson, entered, text=True)
            return True
        place = self.lessons.first_open()
        if place is None:
            self.course_done()
            return False
        resumed = self.lessons.progress.place(self.lessons.course.id) is not None
        self.shell.say("tutor.welcome-back" if resumed else "tutor.welcome", style="emphasis")
        await self.enter(*place, text=True)
        return True

    def course_done(self) -> None:
        """Nothing is open any more; what was skipped is named, for it can still be done."""
        skipped = [
            f"{number}/{at}"
            for number, lesson in enumerate(self.lessons.all(), 1)
            for at, exercise in enumerate(lesson.exercises, 1)
            if self.lessons.standing(lesson, exercise).state == "skipped"
        ]
        self.shell.say("tutor.course-done", style="emphasis")
        if skipped:
            first, listed = skipped[0], self.shell.words.listed(skipped)
            self.shell.say("tutor.course-skipped", count=len(skipped), first=first, listed=listed)

    async def enter(self, lesson: Lesson, exercise: Exercise, *, text: bool) -> None:
        self.lesson = lesson
        self._try(exercise)
        self.lessons.progress.leave_at(self.lessons.course.id, lesson.name, exercise.id)
        self.tell_trouble()
        if text:
            await self._read(self.show_lesson())
        await self.again()

    def _try(self, exercise: Exercise, collector: Collector | None = None) -> Attempt:
        """A new attempt at an exercise; nothing is judged until everything stands."""
        words = vocabulary(self.shell.catalog)
        attempt = self.attempt = Attempt(exercise, self.placed, words, collector, solved=True)
        return attempt

    async def _read(self, rows: int) -> None:
        """Wait for Enter where text and task do not fit the window together. What is typed instead is not lost."""
        screen = self.shell.screen
        while screen.pauses and (self.shell.rest or rows + _TASK_ROWS > screen.rows):
            rest = self.shell.rest
            typed = await screen.ask(self.shell.words("tutor.enter-more" if rest else "tutor.enter"))
            if typed or not rest:
                self.shell.draft = typed or self.shell.draft
                return
            self.shell.page("".join(rest.rows))

    def show_lesson(self) -> int:
        """The lesson's text, in today's language. Returns how many lines it has."""
        lesson = self.lessons.get(self.here[0].name)
        lines = pages.lesson_text(self.shell, self.lessons.course.lessons, lesson)
        self.shell.page(self.shell.screen.drawn(lines))
        return len(lines)

    def show_task(self) -> None:
        """The exercise's task again."""
        lesson, attempt = self.here
        pages.show_task(self.shell, lesson, attempt.exercise, self.prose)

    async def again(self) -> None:
        """A new connection to a fresh server, `start` played, the task shown."""
        shell, exercise = self.shell, self.here[1].exercise
        shell.put_away(End.LEFT)
        self.show_task()
        shell.screen.lines([[]])
        server, collector = player.exercise_server(shell.catalog, exercise, self.stage.clock)
        self.stage.use(server)
        attempt = self._try(exercise, collector)
        await shell.connect("practice", silent=bool(exercise.start))
        if shell.session is not None and exercise.start:
            try:
                await self._play_start(attempt)
            except (ConnectError, ConnectionError):
                shell.close()
                shell.say("tutor.start-failed", style="err")
                return
        attempt.solved = False

    async def _play_start(self, attempt: Attempt) -> None:
        """Play `start`, shown folded: one line. Raises ConnectError or ConnectionError if the connection ends first."""
        shell, line = self.shell, ShellLine(self.shell, self.stage.pass_time)
        await player.play_start(attempt, line)
        shell.link.silent = False
        played = shell.words.listed(f"`{show(row, keep='')}`" for row in line.played)
        text = shell.words("tutor.played", lines=played)
        shell.screen.lines(layout.paragraph(text, shell.screen.look, style="dim"))
        shell.screen.state_changed(State.CLOSED, shell.state, [])

    # -- what the shell publishes --------------------------------------------------------------------------------------

    def heard(self, event: ShellEvent) -> None:
        """An event of the shell: the evidence comes from the practice server, this says when to judge it."""
        match event:
            case Replied(exchange=exchange):
                attempt, session = self.judged, self.shell.session
                # It is judged when no reply of its flight is due; QUIT when the server has closed: when it has ended.
                ends = exchange.name == "QUIT" and exchange.after in (State.UPDATE, State.CLOSED)
                due = session is not None and session.replies_due
                if attempt is not None and exchange.command is not None and not ends and not due:
                    self.weigh(attempt)
            case Ended(how=how):
                opened, attempt = self.shell.opened, self.attempt
                if opened is not None and attempt is not None and attempt.collector is not None:
                    # The server ends its session now, so that all is recorded before it is judged.
                    attempt.collector.lost(opened.session.connection.stamp)
                if self.judged is None or attempt is None or how in (End.REPLACED, End.LEFT):
                    return
                if how not in (End.QUIT, End.QUIT_CLOSED_HERE):
                    attempt.dropped()
                self.weigh(attempt, ended=True)

    async def gate(self, line: CommandLine) -> CommandLine | None:
        """A gate of the shell: Enter on a line whose effect is to be predicted is held."""
        attempt = self.judged
        if attempt is None or not attempt.holds(line.text):
            return line
        self.shell.say("tutor.held", style="emphasis", line=attempt.exercise.line)
        return None

    # -- judging -------------------------------------------------------------------------------------------------------

    def say_solved(self) -> None:
        """The exercise is solved: say and remember it."""
        self.remember(state="solved", tries=self.standing_here().tries + 1)
        shell = self.shell
        shell.screen.lines([[("ok", f" {pages.tick(shell)} {show(shell.words('tutor.solved'), keep='')}")]])
        shell.screen.lines(pages.laid_out(shell, self.prose.solved))
        try:
            self._tell_next()
        except LessonError as error:
            shell.say("tutor.unreadable", style="err", reason=error)

    def _tell_next(self) -> None:
        lesson, _ = self.here
        by_key = self.shell.screen.interactive  # in a script Enter is an empty line, which is sent
        if self.lessons.open_in(lesson):
            if by_key:
                self.shell.say("tutor.next", style="emphasis")
            return
        pages.summary(self.shell, self.lessons.get(lesson.name))
        if self.lessons.first_open() is None:
            self.course_done()
        elif by_key:
            self.shell.say("tutor.next-lesson", style="emphasis")

    def weigh(self, attempt: Attempt, *, ended: bool = False) -> None:
        """Judge; if it is not solved, help along where that is wanted.

        A wrong turn that the author foresaw gets its text; else, now and then, what is still missing is said.
        """
        if attempt.judge():
            self.say_solved()
            return
        on_the_way = attempt.on_the_way()
        # Half of the way is no try; but what the author says of those who stop there, is said.
        if (wrong := attempt.wrong_turn(whole=on_the_way)) is not None:
            self.say_wrong(wrong.say)
        if on_the_way:
            if self.shell.screen.interactive and not self.shell.screen.prompts:  # no toolbar keeps it in sight
                self.shell.say("tutor.task-again", task=show(self.prose.headline, keep=""))
            return
        beyond = len(attempt.typed) - len(attempt.exercise.solution)
        if wrong is not None:
            self.count_try()
        elif attempt.beyond_mending():
            if not attempt.overshot:
                attempt.overshot = True
                self.count_try()
                pages.say_missing(self.shell, attempt)
                self.shell.say("tutor.again")
        elif ended or (beyond > 0 and beyond % PATIENCE == 0):
            self.count_try()
            pages.say_missing(self.shell, attempt)
            if ended:
                self.shell.say("tutor.again")

    def say_wrong(self, key: str) -> None:
        self.shell.screen.lines(pages.laid_out(self.shell, self.prose.wrong.get(key, "")))

    def placed(self, line: str) -> str:
        """A lesson's line with its placeholders filled for the connection as it is."""
        opened = self.shell.opened
        port = opened.endpoint.label.rpartition(":")[2] if opened else ""
        stamp = opened.session.connection.stamp if opened else None
        return player.placed(line, self.here[1].exercise, stamp, port)

    # -- remembering ---------------------------------------------------------------------------------------------------

    def standing_here(self) -> Standing:
        lesson, attempt = self.here
        return self.lessons.standing(lesson, attempt.exercise)

    def remember(self, **changes: Any) -> None:
        lesson, attempt = self.here
        self.lessons.progress.record(self.lessons.course.id, lesson.id, attempt.exercise.id, **changes)
        self.tell_trouble()

    def tell_trouble(self) -> None:
        """Say, once each, that a damaged file was set aside and that progress cannot be saved."""
        progress = self.lessons.progress
        if (aside := str(progress.damaged or "")) and aside not in self._said:
            self._said.add(aside)
            self.shell.say("tutor.newer" if progress.newer else "tutor.damaged", style="warn", path=show(aside))
        if progress.unsaved and "unsaved" not in self._said:
            self._said.add("unsaved")
            self.shell.say("tutor.unsaved", style="warn", reason=progress.unsaved)

    def count_try(self) -> None:
        self.remember(tries=self.standing_here().tries + 1)


class ShellLine:
    """The connection of a shell as a `player.Line`, for the lines before the learner's turn; its link is silent.

    Nothing of them is judged, and nothing of them ever goes to a real server (sec-D3): the tutor opens the connection.
    `played` is what was played, secrets masked.
    """

    def __init__(self, shell: Shell, pass_time: Callable[[float], None]) -> None:
        self._shell = shell
        self._pass_time = pass_time
        self.played: list[str] = []

    @property
    def stamp(self) -> str | None:
        session = self._shell.session
        return session.connection.stamp if session else None

    async def send(self, rows: list[str]) -> bool:
        """Raises ConnectError or ConnectionError if the connection ends before all is sent."""
        answered = True
        for row in rows:
            link, session = self._shell.link, self._shell.session
            if session is None:
                raise ConnectionError
            line = parse(row, session.connection.context())
            challenged = session.connection.challenged
            answered = await link.reply(session.submit(row)) is not None and answered
            self.played.append(masked_answer(row) if challenged else line.redacted())
            if session.connection.wants_tls:
                await session.start_tls()
        return answered

    async def connect(self) -> None:
        self._shell.close()
        await self._shell.connect("practice", silent=True)
        self.played.append(":connect")

    def drop(self) -> None:
        self._shell.close()
        self.played.append(":drop")

    def wait(self, seconds: float) -> None:
        self._pass_time(seconds)
        self.played.append(f":wait {seconds:g}")
