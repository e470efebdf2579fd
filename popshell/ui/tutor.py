"""Tutor: a course inside the ordinary shell. It watches what happens, judges by effect, and says what was shown.

Each exercise has a practice server of its own, fresh, set up as the exercise wants; entering it opens a new connection
and plays `start`. Everything else of the shell goes on working, and a wrong turn costs nothing. A connection to a real
server pauses the lesson; nothing of a lesson is ever sent there (sec-D3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from popshell.learn.checks import Evidence, Prediction, normal, read_prediction, same_line
from popshell.learn.course import Lessons, Progress, Standing
from popshell.learn.explain import citation
from popshell.learn.lesson import Exercise, ExerciseKind, Lesson, LessonError, Prose
from popshell.learn.rehearsal import Rehearsal, is_solved, placed
from popshell.protocol.capabilities import CAPABILITIES, known_code
from popshell.protocol.commandline import CommandLine, parse
from popshell.protocol.commands import COMMANDS, State
from popshell.protocol.exchange import Exchange
from popshell.session import Call, Event, Session, transcript_lines
from popshell.ui import markdown, render
from popshell.ui.shell import Shell
from popshell.ui.wrap import Line
from popshell.visible import show

#: After so many lines beyond the shortest solution the tutor says what is still missing, unasked.
PATIENCE = 4
#: Lines that a task, a greeting with its notes, the prompt and the toolbar take.
_TASK_ROWS = 18


class Stage(Protocol):
    """The practice server as a lesson needs it; cli.py has it."""

    async def open(
        self, exercise: Exercise, late: Callable[[Event], None], ended: Callable[[Exception | None], None]
    ) -> Call:
        """A connection to a fresh server, set up for `exercise`."""

    def left(self) -> tuple[int, ...]:
        """The numbers of the messages that the server's maildrop still holds."""

    def pass_time(self, seconds: float) -> None:
        """Move the practice server's clock."""


@dataclass(slots=True)
class Attempt:
    """What happened since the exercise was entered or begun `:again`."""

    exchanges: list[Exchange] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    dropped: bool = False
    waited: float = 0.0
    answer: str | None = None
    predicted: bool | None = None
    held: str | None = None
    solved: bool = False
    told: int = 0
    overshot: bool = False


@dataclass(slots=True)
class Tutor:
    """One learner's way through one course."""

    shell: Shell
    lessons: Lessons
    progress: Progress
    stage: Stage
    lesson: Lesson | None = None
    exercise: Exercise | None = None
    attempt: Attempt = field(default_factory=Attempt)
    _new: Attempt | None = None
    #: what was said already of progress that cannot be kept
    _said: set[str] = field(default_factory=set)

    # -- where we are --------------------------------------------------------------------------------------------------

    @property
    def _course(self) -> str:
        return self.lessons.course.id

    def _in_language(self, name: str) -> Lesson:
        return self.lessons.get(name, self.shell.options.language)

    @property
    def prose(self) -> Prose:
        assert self.lesson is not None
        assert self.exercise is not None
        return self._in_language(self.lesson.name).prose.get(self.exercise.id, Prose())

    @property
    def paused(self) -> bool:
        """Whether the shell talks to a real server just now; also when that has closed, until one goes back."""
        call = self.shell.call
        return self.exercise is None or (call is not None and not call.place.practice)

    def standing(self, lesson: Lesson, exercise: Exercise) -> Standing:
        return self.progress.standing(self._course, lesson.id, exercise.id)

    def toolbar(self) -> Line:
        """Task and progress, for the toolbar."""
        if self.lesson is None or self.exercise is None:
            return []
        words, at = self.shell.words, self.lesson.exercises.index(self.exercise) + 1
        number = self.lessons.course.lessons.index(self.lesson.name) + 1
        place = words("tutor.place", lesson=number, exercise=at, count=len(self.lesson.exercises))
        if self.attempt.solved:
            return [
                ("", " "),
                ("ok", place),
                ("ok", f" ✔ {words('tutor.go-on')}" if not self.shell.screen.ascii else ""),
            ]
        task = words("tutor.paused") if self.paused else show(self.prose.headline.replace("`", ""), keep="")
        return [("", " "), ("emphasis", place), ("", f" {task}")]

    # -- entering ------------------------------------------------------------------------------------------------------

    async def begin(self, wanted: str | None) -> bool:
        """Go to lesson `wanted`, or where the learner left. False if there is no such lesson, or all is done."""
        self._tell_trouble()
        if wanted:
            name = self.lessons.course.find(wanted)
            if name is None:
                self.shell.say("tutor.no-lesson", style="warn", name=show(wanted))
                return False
            lesson = self._in_language(name)
            found = self.lessons.open_in(name, self.progress, self.shell.options.language) or lesson.exercises[0]
            await self._enter(name, found.id, text=True)
            return True
        place = self.lessons.first_open(self.progress, self.shell.options.language)
        if place is None:
            self.shell.say("tutor.course-done")
            return False
        resumed = self.progress.place(self._course) is not None
        self.shell.say("tutor.welcome-back" if resumed else "tutor.welcome", style="emphasis")
        await self._enter(*place, text=True)
        return True

    async def _enter(self, name: str, exercise: str, *, text: bool) -> None:
        self.lesson = self._in_language(name)
        self.exercise = self.lesson.exercise(exercise) or self.lesson.exercises[0]
        self.progress.leave_at(self._course, name, self.exercise.id)
        self._tell_trouble()
        if text:
            await self._read(self.show_lesson())
        await self.again()

    async def _read(self, rows: int) -> None:
        """Wait for Enter where text and task do not fit the window together. What is typed instead is not lost."""
        screen = self.shell.screen
        while screen.pauses and (self.shell.page_rest or rows + _TASK_ROWS > screen.rows):
            rest = self.shell.page_rest
            typed = await screen.ask(self.shell.words("tutor.enter-more" if rest else "tutor.enter"))
            if typed or not rest:
                self.shell.draft = typed or self.shell.draft
                return
            self.shell.page("".join(rest))

    def show_lesson(self) -> int:
        """The lesson's text, in today's language. Returns how many lines it has."""
        assert self.lesson is not None
        lesson = self._in_language(self.lesson.name)
        number = self.lessons.course.lessons.index(lesson.name) + 1
        shell = self.shell
        total = len(self.lessons.course.lessons)
        title = shell.words("tutor.title", number=number, total=total, title=show(lesson.title))
        lines: list[Line] = [[], *render.paragraph(title, shell.screen.columns, " ", "emphasis")]
        if lesson.stale and shell.options.language != "en":
            lines += render.paragraph(shell.words("tutor.stale"), shell.screen.columns, style="dim")
        lines += self._laid_out(lesson.text)
        shell.page(shell.screen.drawn(lines))
        return len(lines)

    def show_task(self) -> None:
        assert self.lesson is not None
        assert self.exercise is not None
        shell, exercise = self.shell, self.exercise
        at = self.lesson.exercises.index(exercise) + 1
        head = shell.words("tutor.task", number=at, total=len(self.lesson.exercises))
        shell.screen.lines([[], *render.paragraph(head, shell.screen.columns, " ", "emphasis")])
        shell.screen.lines(self._laid_out(self.prose.task))
        if exercise.failed:
            played = Rehearsal(shell.catalog, exercise)
            for line in exercise.failed:
                played.type(line)
            said = [e for e in (*played.start, *played.exchanges) if e.command is not None]
            rows = list(transcript_lines(said, masked=False))  # the slip may well be in the secret
            shell.screen.lines([[("dim", f"    {row}")] for row in rows])
        if exercise.kind is ExerciseKind.PREDICT:
            shell.say("tutor.how-predict", line=exercise.line)
        elif exercise.kind is ExerciseKind.ANSWER:
            shell.say("tutor.how-answer")

    def _laid_out(self, text: str) -> list[Line]:
        screen = self.shell.screen
        return list(markdown.layout(text, min(screen.columns - 1, 92), screen.ascii, self.shell.words))

    async def again(self) -> None:
        """A new connection to a fresh server, `start` played, the task shown."""
        assert self.exercise is not None
        shell, exercise = self.shell, self.exercise
        self.attempt = Attempt(solved=True)  # nothing is judged until everything stands
        if shell.call is not None:
            shell.earlier += shell.call.session.transcript
            shell.hang_up()
        self.show_task()
        shell.screen.lines([[]])
        await shell.take_call(self.stage.open(exercise, shell.late, shell.ended), quiet=bool(exercise.start))
        session = shell.session
        if session is not None and exercise.start:
            await self._play(session, exercise)
        self.attempt = Attempt()
        if session is not None and not exercise.start:
            self.attempt.exchanges += session.transcript

    async def _play(self, session: Session, exercise: Exercise) -> None:
        """Play `start`, shown folded: one line."""
        shell, played = self.shell, []
        for text in exercise.start:
            if text.startswith(":"):
                if text.startswith(":wait "):
                    self.stage.pass_time(float(text[6:]))
                elif text in (":drop", ":connect"):
                    shell.hang_up()
                if text == ":connect":
                    await shell.take_call(shell.dial("practice", shell.late, shell.ended), quiet=True)
                    session = shell.session or session
                played.append(text)
                continue
            for row in placed(text, exercise, session.connection.stamp).split("\n"):
                line = parse(row, session.connection.context())
                challenged = session.connection.challenged
                await shell.reply_to(session.submit(row))
                played.append("••••" if challenged and row != "*" else line.redacted())
                if session.connection.wants_tls:
                    await session.start_tls()
        shell.screen.lines(
            render.paragraph(
                shell.words("tutor.played", lines=", ".join(f"`{show(row, keep='')}`" for row in played)),
                shell.screen.columns,
                style="dim",
            )
        )
        shell.screen.state_changed(State.CLOSED, shell.state, [])

    # -- what the shell tells ------------------------------------------------------------------------------------------

    def holds(self, line: CommandLine) -> bool:
        """Whether Enter on this line is held for a prediction."""
        exercise, attempt = self.exercise, self.attempt
        if self.paused or exercise is None or exercise.kind is not ExerciseKind.PREDICT or attempt.solved:
            return False
        if attempt.predicted is not None or not same_line(line.text, self._placed(exercise.line)):
            return False
        attempt.held = line.text
        self.shell.say("tutor.held", style="emphasis", line=exercise.line)
        return True

    def saw(self, exchange: Exchange) -> None:
        """An exchange was shown."""
        if self.paused or self.attempt.solved:
            return
        self.attempt.exchanges.append(exchange)
        if exchange.command is None:
            return
        self.attempt.typed.append(exchange.command.text)
        self.attempt.typed += [step.answer.decode("utf-8", "replace") for step in exchange.steps]
        if exchange.name == "QUIT" and exchange.after in (State.UPDATE, State.CLOSED):
            return  # judged when the server has closed: `goodbye()`
        self._weigh()

    def goodbye(self) -> None:
        """The server has closed after QUIT."""
        if not self.paused and not self.attempt.solved:
            self._weigh(ended=True)

    def _weigh(self, *, ended: bool = False) -> None:
        """Judge; if it is not solved, help along where that is wanted."""
        if self.judge():
            return
        if not self._on_the_way():
            self._help_along(ended=ended)
        elif self.exercise is not None:
            # Half of the way is no try; but what the author says of those who stop there, is said.
            for wrong in self.exercise.wrong:
                if len(wrong.lines) == len(self.attempt.typed) and self._ends_with(wrong.lines):
                    self.shell.screen.lines(self._laid_out(self.prose.wrong.get(wrong.say, "")))
                    break

    def line_lost(self) -> None:
        """The connection ended without QUIT."""
        if self.exercise is None or self.attempt.solved or self.paused:
            return
        self.attempt.dropped = True
        # A line whose reply never came was typed all the same: `QUIT`, and then the line going dead.
        for exchange in self.shell.call.session.transcript if self.shell.call else ():
            known = any(exchange is one for one in self.attempt.exchanges)
            if exchange.command is not None and exchange.response is None and not known:
                self.attempt.exchanges.append(exchange)
                self.attempt.typed.append(exchange.command.text)
        waited = self.attempt.typed and self.attempt.typed[-1].startswith(":wait")
        if not waited:  # the server's own doing (autologout) is no `:drop`
            self.attempt.typed.append(":drop")
        self._weigh(ended=True)

    def reconnecting(self) -> None:
        """`:connect` while a connection is open: it ends without QUIT."""
        if self.shell.session is not None and not self.paused:
            self.attempt.dropped = True

    def evidence(self) -> Evidence:
        shell, attempt = self.shell, self.attempt
        connection = shell.session.connection if shell.session else None
        return Evidence(
            tuple(attempt.exchanges),
            connection.state if connection else State.CLOSED,
            bool(connection and connection.tls),
            connection.maildrop.marks if connection else frozenset(),
            self.stage.left(),
            attempt.dropped,
            attempt.waited,
            attempt.answer,
            attempt.predicted,
        )

    def judge(self) -> bool:
        """Whether the exercise is solved now; if so it is said and remembered."""
        assert self.exercise is not None
        if not is_solved(self.exercise, self.evidence()):
            return False
        self.attempt.solved = True
        self._remember(state="solved", tries=self._standing().tries + 1)
        words = self.shell.words
        mark, solved = "*" if self.shell.screen.ascii else "✔", show(words("tutor.solved"), keep="")
        self.shell.screen.lines([[("ok", f" {mark} {solved}")]])
        self.shell.screen.lines(self._laid_out(self.prose.solved))
        try:
            self._tell_next()
        except LessonError as error:
            self.shell.say("tutor.unreadable", style="err", reason=show(str(error)))
        return True

    def _tell_next(self) -> None:
        assert self.lesson is not None
        if self.lessons.open_in(self.lesson.name, self.progress, "en"):
            self.shell.say("tutor.next", style="emphasis")
        else:
            self.summary()

    def summary(self) -> None:
        """The end of a lesson: what was learned, with its sources."""
        assert self.lesson is not None
        shell = self.shell
        shell.say("tutor.lesson-done", style="emphasis", title=show(self._in_language(self.lesson.name).title))
        lines: list[Line] = []
        for name in self.lesson.teaches:
            path, cite = taught(name)
            page = shell.catalog.page(shell.options.language, path) if path else None
            lines.append(
                [
                    ("", "    "),
                    ("command", show(name, keep="")),
                    ("note", f"  {show(page.summary, keep='') if page else ''}  "),
                    ("rfc", cite),
                ]
            )
        shell.screen.lines(lines)
        done = self.lessons.first_open(self.progress, "en") is None
        shell.say("tutor.course-done" if done else "tutor.next-lesson", style="emphasis")

    def _on_the_way(self) -> bool:
        """Whether all that was typed begins the known solution: then nothing needs saying."""
        assert self.exercise is not None
        solution = [row for line in self.exercise.solution for row in line.split("\n")]
        solution = [self._placed(row) for row in solution if row != ":connect"]
        typed = self.attempt.typed
        return len(typed) < len(solution) and all(map(same_line, typed, solution))

    def _help_along(self, *, ended: bool = False) -> None:
        """A wrong turn that the author foresaw gets its text; else, now and then, what is still missing."""
        assert self.exercise is not None
        for wrong in self.exercise.wrong:
            if self._ends_with(wrong.lines):
                self.shell.screen.lines(self._laid_out(self.prose.wrong.get(wrong.say, "")))
                self._count_try()
                return
        if self._overshot():
            if not self.attempt.overshot:
                self.attempt.overshot = True
                self._count_try()
                self.say_missing()
                self.shell.say("tutor.again")
            return
        beyond = len(self.attempt.typed) - len(self.exercise.solution)
        if ended or (beyond > 0 and beyond % PATIENCE == 0):
            self._count_try()
            self.say_missing()
            if ended:
                self.shell.say("tutor.again")

    def _overshot(self) -> bool:
        """Whether something happened that no further line can mend."""
        assert self.exercise is not None
        evidence = self.evidence()
        read = {e.command.message for e in evidence.commands if e.command and e.name == "RETR" and e.ok}
        return any(
            (check.name in ("never", "at_most", "sent_first") and not check.holds(evidence))
            or (check.name == "retrieved" and not read <= set(check.value))
            for check in self.exercise.checks
        )

    def _ends_with(self, lines: tuple[str, ...]) -> bool:
        wanted = [self._placed(row) for line in lines for row in line.split("\n") if row != ":connect"]
        last = self.attempt.typed[-len(wanted) :] if wanted else []
        return bool(wanted) and len(last) == len(wanted) and all(map(_same, last, wanted))

    def _placed(self, line: str) -> str:
        assert self.exercise is not None
        stamp = self.shell.call.session.connection.stamp if self.shell.call else None
        port = self.shell.call.place.label.rpartition(":")[2] if self.shell.call else ""
        return placed(line, self.exercise, stamp, port)

    def say_missing(self) -> None:
        """What is missing, from the state that was reached."""
        assert self.exercise is not None
        evidence, words = self.evidence(), self.shell.words
        missing = [check for check in self.exercise.checks if not check.holds(evidence)]
        final = ("never", "at_most", "sent_first", "retrieved")
        for check in sorted(missing, key=lambda check: check.name not in final)[:1]:
            facts = {
                "state": evidence.state.value,
                "marks": ", ".join(map(str, sorted(evidence.marks))) or words("tutor.none"),
                "maildrop": ", ".join(map(str, evidence.maildrop)) or words("tutor.none"),
                "count": len(evidence.commands),
                "wanted": self._wanted(check.value),
            }
            name = check.name if check.name != "replied" or facts["wanted"] else "replied-any"
            self.shell.say(f"missing.{name}", style="warn", **facts)

    def _wanted(self, value: object) -> str:
        if isinstance(value, State):
            return value.value
        if isinstance(value, tuple):
            return ", ".join(map(str, value)) or self.shell.words("tutor.none")
        command = getattr(value, "command", None)
        return str(command or value if isinstance(value, int | str) else command or "")

    # -- what the learner asks -----------------------------------------------------------------------------------------

    async def answer(self, text: str) -> None:
        """`:answer TEXT`: an answer, or the prediction for the held line."""
        exercise, attempt, shell = self.exercise, self.attempt, self.shell
        if exercise is None or self.paused or exercise.kind not in (ExerciseKind.ANSWER, ExerciseKind.PREDICT):
            shell.say("tutor.no-question", style="warn")
            return
        if attempt.solved:
            shell.say("tutor.next")
            return
        if exercise.kind is ExerciseKind.PREDICT:
            await self._predict(text)
            return
        attempt.answer = text
        attempt.typed.append(f":answer {text}")
        if self.judge():
            return
        attempt.answer = None  # an answer counts when it is given, not later
        self._count_try()
        for wrong in exercise.wrong:
            if self._ends_with(wrong.lines):
                shell.screen.lines(self._laid_out(self.prose.wrong.get(wrong.say, "")))
                return
        if normal(text) not in {normal(a) for a in exercise.answers}:
            shell.say("tutor.not-right", style="warn")
        elif any(not check.holds(self.evidence()) for check in exercise.checks):
            self.say_missing()
        else:
            shell.say("tutor.not-asked", style="warn")

    async def _predict(self, text: str) -> None:
        attempt, exercise, shell = self.attempt, self.exercise, self.shell
        assert exercise is not None
        if attempt.held is None:
            shell.say("tutor.type-first", style="warn", line=exercise.line)
            return
        said = read_prediction(text)
        if not said.complete:
            shell.say("tutor.incomplete", style="warn")
            return
        line, attempt.held = attempt.held, None
        before = len(attempt.exchanges)
        attempt.solved = True  # the line itself is judged here, together with the prediction
        await shell.send(line)
        attempt.solved = False
        session = shell.call.session if shell.call else None
        last = session.transcript[-1] if session and session.transcript else None
        if last is None or last.command is None:
            return
        attempt.exchanges = [*attempt.exchanges[:before], last]
        self._compare(said, last)

    def _compare(self, said: Prediction, last: Exchange) -> None:
        faults = said.faults(last)
        self.attempt.predicted = not faults
        words = self.shell.words
        if not faults:
            self.judge()
            return
        self._count_try()
        response = last.response
        status = "+OK" if response and response.ok else "-ERR"
        many = words("reply.many" if response and response.content is not None else "reply.one")
        for fault in faults:
            self.shell.say(f"tutor.wrong-{fault}", style="warn", status=status, state=last.after.value, lines=many)
        if text := self.prose.wrong.get(""):
            self.shell.screen.lines(self._laid_out(text))
        self.shell.say("tutor.predict-again", line=self.exercise.line if self.exercise else "")
        self.attempt.predicted = None

    async def next(self) -> None:
        """The next open exercise; after the last of a lesson, the next lesson."""
        if self.lesson is None or self.exercise is None:
            await self.begin(None)
            return
        language, name = self.shell.options.language, self.lesson.name
        if not self._standing().done:
            self.shell.say("tutor.still-open", style="warn")
            return
        found = self.lessons.open_in(name, self.progress, language, self.exercise.id)
        if found is not None:
            await self._enter(name, found.id, text=False)
            return
        names = self.lessons.course.lessons
        for later in (*names[names.index(name) + 1 :], *names[: names.index(name)]):
            if (found := self.lessons.open_in(later, self.progress, language)) is not None:
                await self._enter(later, found.id, text=True)
                return
        self.shell.say("tutor.course-done", style="emphasis")

    def hint(self) -> None:
        """The next hint; each says more."""
        if not self._in_lesson():
            return
        hints, standing = self.prose.hints, self._standing()
        at = min(self.attempt.told, len(hints) - 1)
        self.attempt.told += 1
        if hints:
            self.shell.say("tutor.hint", number=at + 1, total=len(hints))
            self.shell.screen.lines(self._laid_out(hints[at]))
            self._remember(hints=max(standing.hints, at + 1))
        if self.attempt.told >= len(hints):
            self.shell.say("tutor.solution-ready")

    def solution(self) -> None:
        """One way to solve it, after the hints; that it was seen is remembered."""
        if not self._in_lesson():
            return
        if self.attempt.told < len(self.prose.hints) and not self._standing().done:
            self.shell.say("tutor.hints-first", style="warn", left=len(self.prose.hints) - self.attempt.told)
            return
        assert self.exercise is not None
        self._remember(solution=True)
        rows = [self._placed(text) for text in self.exercise.solution]
        rows = [f":flight {row.replace(chr(10), ' | ')}" if "\n" in row else row for row in rows]
        if self.exercise.kind is ExerciseKind.PREDICT:
            rows.insert(0, self.exercise.line)
        self.shell.screen.lines([[("", "    "), ("command", show(row, keep=""))] for row in rows])

    async def skip(self) -> None:
        if not self._in_lesson():
            return
        if not self._standing().done:
            self._remember(state="skipped")
        self.shell.say("tutor.skipped")
        await self.next()

    async def reset(self, everything: bool) -> None:
        """Forget this lesson's progress, or the course's, after asking."""
        shell = self.shell
        question = shell.words("tutor.ask-reset-all" if everything else "tutor.ask-reset")
        agreed = shell.options.yes or (await shell.screen.ask(question)).strip().lower() in (
            "y",
            "yes",
            shell.words("shell.yes"),
        )
        if not agreed:
            shell.say("tutor.not-reset")
            return
        if everything:
            self.progress.forget(self._course)
            self._tell_trouble()
            self.lesson = self.exercise = None
            await self.begin(None)
        elif self.lesson is not None:
            self.progress.forget(self._course, self.lesson.id)
            self._tell_trouble()
            await self._enter(self.lesson.name, self.lesson.exercises[0].id, text=True)

    def list_lessons(self) -> None:
        """All lessons with what is done of each."""
        lines: list[Line] = []
        for number, name in enumerate(self.lessons.course.lessons, 1):
            lesson = self._in_language(name)
            standings = [self.standing(lesson, exercise) for exercise in lesson.exercises]
            solved = sum(s.state == "solved" for s in standings)
            here = "▸" if self.lesson is not None and name == self.lesson.name else " "
            mark = "✔" if solved == len(standings) else here
            if self.shell.screen.ascii:
                mark = {"✔": "*", "▸": ">"}.get(mark, mark)
            style = "ok" if solved == len(standings) else "emphasis" if here != " " else ""
            lines.append(
                [
                    (style, f"  {mark} {number:>2}  "),
                    ("number", f"{solved}/{len(standings)}  "),
                    (style, show(lesson.title, keep="")),
                    ("dim", f"  ({name.partition('-')[2]})"),
                ]
            )
        self.shell.page(self.shell.screen.drawn(lines))

    async def wait(self, seconds: float) -> None:
        """Move the practice server's clock (`:wait`), and see what comes of it."""
        shell = self.shell
        self.attempt.waited += seconds
        self.attempt.typed.append(f":wait {seconds:g}")
        self.shell.say("tutor.waited", seconds=f"{seconds:g}")
        self.stage.pass_time(seconds)
        left = shell.seconds_left()
        if left is not None and left <= 0:
            await shell.closing()  # autologout; `line_lost` hears of it
        elif not self.paused and not self.attempt.solved and self.exercise is not None:
            self._weigh()

    def certificate(self) -> Iterable[str] | None:
        """The lines of the certificate; None while exercises are open."""
        words, open_ones, rows = self.shell.words, 0, []
        for name in self.lessons.course.lessons:
            lesson = self._in_language(name)
            rows.append("")
            rows.append(show(lesson.title, keep=""))
            for exercise in lesson.exercises:
                standing = self.standing(lesson, exercise)
                open_ones += not standing.done
                rows.append(
                    "  "
                    + words(
                        "tutor.certificate-row",
                        exercise=show(exercise.id, keep=""),
                        state=words(f"tutor.certified-{standing.state or 'open'}"),
                        tries=standing.tries,
                        hints=standing.hints,
                        solution=words("tutor.solution-seen" if standing.solution else "tutor.solution-unseen"),
                    )
                )
        if open_ones:
            self.shell.say("tutor.certificate-open", style="warn", count=open_ones)
            return None
        return [words("tutor.certificate-title", course=show(self._course, keep="")), *rows]

    # -- remembering ---------------------------------------------------------------------------------------------------

    def _in_lesson(self) -> bool:
        if self.exercise is None:
            self.shell.say("tutor.no-exercise", style="warn")
        return self.exercise is not None

    def _standing(self) -> Standing:
        assert self.lesson is not None
        assert self.exercise is not None
        return self.standing(self.lesson, self.exercise)

    def _remember(self, **changes: object) -> None:
        assert self.lesson is not None
        assert self.exercise is not None
        self.progress.record(self._course, self.lesson.id, self.exercise.id, **changes)
        self._tell_trouble()

    def _tell_trouble(self) -> None:
        """Say, once each, that a damaged file was set aside and that progress cannot be saved."""
        if (aside := str(self.progress.damaged or "")) and aside not in self._said:
            self._said.add(aside)
            self.shell.say("tutor.damaged", style="warn", path=show(aside))
        if self.progress.unsaved and "unsaved" not in self._said:
            self._said.add("unsaved")
            self.shell.say("tutor.unsaved", style="warn", reason=self.progress.unsaved)

    def _count_try(self) -> None:
        self._remember(tries=self._standing().tries + 1)


def _same(typed: str, wanted: str) -> bool:
    """Answers are compared as answers, lines as lines."""
    return normal(typed) == normal(wanted) if wanted.startswith(":answer") else same_line(typed, wanted)


def taught(name: str) -> tuple[str, str]:
    """The page and the source of what a lesson teaches: a command, state, response code or capability."""
    row = known_code(name.strip("[]"))
    if name.startswith("[") and row is not None:
        return f"codes/{row.page}", citation(row.rfc, row.section)
    if name in COMMANDS:
        return f"commands/{name}", citation(COMMANDS[name].rfc, COMMANDS[name].section)
    if name in State.__members__:
        section = {"AUTHORIZATION": "4", "TRANSACTION": "5", "UPDATE": "6"}.get(name, "3")
        return f"states/{name}", citation(1939, section)
    if name in CAPABILITIES:
        return f"capabilities/{name}", citation(CAPABILITIES[name].rfc, CAPABILITIES[name].section)
    return (f"codes/{row.page}", citation(row.rfc, row.section)) if row else ("", "")
