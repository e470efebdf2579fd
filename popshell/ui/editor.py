"""The prompt of a terminal as a source of lines: prompt_toolkit's line editor, its keys, questions, signals.

One asyncio loop, one writer. Traps, measured. patch_stdout reorders output, so we print when no prompt is live and use
run_in_terminal when one is. prompt_toolkit removes our SIGINT handler unless told not to (`handle_sigint=False`). Keys
that arrive in one packet after Enter are a paste, whatever the terminal calls them: they stay in the buffer and are
asked about, never run (sec-U3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TextIO, cast

from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.controls import BufferControl
from prompt_toolkit.layout.processors import AfterInput
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.shortcuts.prompt import CompleteStyle, PromptSession

from popshell.protocol.line import MASK
from popshell.ui import layout, terminal, theme
from popshell.ui.completer import RecentSuggest, ShellCompleter, ShellHistory
from popshell.ui.events import Replied, ShellEvent
from popshell.ui.front import Front, Source, Stopped, Typed
from popshell.ui.layout import Line, Look
from popshell.ui.prompt import Mask, ShellLexer, Toolbar, Typing, formatted, hint, prompt_line
from popshell.ui.screen import ClockOut, Screen
from popshell.ui.shell import Shell
from popshell.visible import fault_of, show

#: prompt_toolkit's depth for themes with colours of their own; left to itself it goes by NO_COLOR alone.
_DEPTHS = {"dark": ColorDepth.DEPTH_8_BIT, "light": ColorDepth.DEPTH_8_BIT}


class TerminalScreen(Screen):
    """A Screen that knows the live prompt."""

    editor: Editor

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.pauses = True
        self._clock = ClockOut(self.out)
        self.out = cast("TextIO", self._clock)

    def clock(self, line: Line, seconds: int) -> None:
        """One row, drawn anew each second."""
        self._clock.clock(self.drawn(self.look.rows([[("", " "), *line]])).rstrip("\n"))

    def interrupt(self, show: Callable[[], None]) -> None:
        self.editor.interruptions.tell(show)

    async def ask(self, question: str, *, hidden: bool = False, piped: bool = False) -> str | None:
        return await self.editor.ask(question, hidden=hidden)

    async def page_out(self, rows: Iterable[str]) -> bool:
        return await self.editor.page_out(rows)


class Editor(Source):
    """The line editor of one Shell, as a source of its front end."""

    def __init__(
        self,
        shell: Shell,
        device: terminal.Terminal,
        history: Callable[[], str],
        name: str = "",
        vi: bool = False,
        keys: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(shell)
        self._typing = Typing(shell)
        #: lines that were refused when they were last sent: they are not suggested
        self._failed: set[str] = set()
        shell.subscribe(self._heard)
        self._terminal = device
        self._task: asyncio.Task[None] | None = None
        self.interruptions = Interruptions(lambda: self._live() is not None)
        self._stopped: int | None = None
        self._style = theme.prompt_style(shell.screen.look.theme)
        self._toolbar = Toolbar(shell, self._typing, self._typed)
        self._session: PromptSession[str] = PromptSession(
            message=lambda: formatted(prompt_line(shell)),
            completer=ShellCompleter(shell, self._typing.context, name),
            complete_while_typing=False,
            complete_style=CompleteStyle.COLUMN,
            history=ShellHistory(history, self._typing.has_secret, self._unkept),
            auto_suggest=RecentSuggest(self._failed),
            enable_history_search=False,
            bottom_toolbar=self._draw_toolbar,
            input_processors=[Mask(shell, self._typing), AfterInput(self._hint)],
            key_bindings=terminal.prompt_keys(lambda: run_in_terminal(self._suspend), self._run_line, keys),
            erase_when_done=True,
            enable_suspend=False,
            style=self._style,
            color_depth=_DEPTHS.get(shell.screen.look.theme, ColorDepth.DEPTH_4_BIT),
            include_default_pygments_style=False,
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
        )
        for control in self._session.layout.find_all_controls():
            if isinstance(control, BufferControl) and control.buffer is self._session.default_buffer:
                control.lexer = ShellLexer(self._typing)
        for window in self._session.layout.find_all_windows():
            if window.style == "class:bottom-toolbar":
                window.style = ""  # of its own it has no colour, and each cell was given it anew with each key
        self._asking: PromptSession[str] | None = None
        terminal.understand(self._session.app.input)
        self._session.app.renderer.cpr_not_supported_callback = self._without_cpr
        if not self._session.app.output.responds_to_cpr:
            self._session.app.output.get_rows_below_cursor_position = self._rows_below  # type: ignore[method-assign]

    def _without_cpr(self) -> None:
        """The terminal does not say where its cursor is: the rows of the toolbar are made below the prompt."""
        app = self._session.app
        app.output.get_rows_below_cursor_position = self._rows_below  # type: ignore[method-assign]
        app.renderer.erase()
        app.renderer.request_absolute_cursor_position()
        app.invalidate()

    def _rows_below(self) -> int:
        """Make sure of rows below the cursor, which stands in the first column, and say how many with its own."""
        output = self._session.app.output
        size = output.get_size()
        rows = min(len(self._toolbar(size.rows, size.columns)), size.rows - 1)
        output.write_raw("\n" * rows)
        output.cursor_up(rows)
        output.flush()
        return rows + 1

    def _run_line(self, buffer: Buffer, line: str) -> None:
        """Run the line of a key; what was being typed comes back to the next prompt."""
        self.shell.draft, buffer.text = buffer.text, line
        buffer.validate_and_handle()

    # -- the source of lines -------------------------------------------------------------------------------------------

    async def run(self, begin: Callable[[], Awaitable[bool]]) -> int:
        """Run `begin`, then read lines until the user leaves. Returns the exit code."""
        loop = asyncio.get_running_loop()
        self._install_signals(loop)
        loop.set_exception_handler(self._background_fault)
        self._terminal.quiet()
        try:
            began = await Front(self.shell, self).run(begin)
        except Stopped as stopped:
            return 128 + stopped.number
        finally:
            self._terminal.restore()
        return 0 if began else self.shell.tally.exit_code()

    async def read(self, front: Front) -> Typed | None:
        """One prompt; None after Ctrl-C. Ctrl-D is the end."""
        self.interrupted()
        self.shell.screen.lines([])  # a row that counts is gone
        shell, ahead = self.shell, self._terminal.typed_ahead().lstrip("\n")
        kept = not shell.draft and "\n" in ahead
        # Lines that were typed ahead stay whole: what is typed next begins a line of its own.
        draft, shell.draft = shell.draft or ahead, ""
        if kept:
            shell.say("shell.draft-kept")
        try:
            text = await self._session.prompt_async(default=draft, handle_sigint=False, set_exception_handler=False)
        except KeyboardInterrupt:
            return None
        finally:
            self._terminal.quiet()
        rows = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
        return Typed(rows, ask=len(rows) > 1)

    @contextlib.contextmanager
    def interrupts(self, task: asyncio.Task[Any]) -> Iterator[None]:
        self._task = task
        self._listen()
        try:
            yield
        finally:
            self._task = None
            asyncio.get_running_loop().remove_reader(0)

    def _listen(self) -> None:
        """While something is waited for, keys are kept; kitty's Ctrl-C is one, and no signal."""
        if self._task is None:
            return
        loop = asyncio.get_running_loop()

        def key() -> None:
            if not self._terminal.take():
                loop.remove_reader(0)
            elif self._terminal.interrupts():
                self._interrupted()

        with contextlib.suppress(OSError, NotImplementedError):
            loop.add_reader(0, key)

    def interrupted(self) -> None:
        if self._stopped is not None:
            raise Stopped(self._stopped) from None

    def last_minute(self, begins: bool) -> None:
        """The toolbar counts down."""
        if self._session.app.is_running:
            self._session.app.invalidate()

    def _background_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = fault_of(error) if error is not None else str(context.get("message", "?"))
        self.interruptions.tell(lambda: self.shell.say("shell.fault", style="err", what=show(what, keep="")))

    # -- signals -------------------------------------------------------------------------------------------------------

    def _install_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)

    def _live(self) -> PromptSession[str] | None:
        for session in (self._asking, self._session):
            if session is not None and session.app.is_running:
                return session
        return None

    def _interrupted(self) -> None:
        self._break_off(KeyboardInterrupt())

    def _stop(self, number: int) -> None:
        """SIGTERM, SIGHUP, SIGQUIT: leave without QUIT, the terminal as it was found (sec-U4)."""
        self._stopped = number
        self._break_off(Stopped(number))

    def _break_off(self, reason: BaseException) -> None:
        """End what is under way: the live prompt, or the task in the foreground."""
        live = self._live()
        if live is not None:
            # A closing window sends SIGHUP twice; prompt_toolkit raises at the second end of a prompt.
            with contextlib.suppress(Exception):
                live.app.exit(exception=reason)
        elif self._task is not None:
            self._task.cancel()

    def _suspend(self) -> None:
        """Ctrl-Z: give the terminal back as it was found, stop, and take it again."""
        loop = asyncio.get_running_loop()
        self._terminal.restore()
        # Its default action, on the whole job, as the kernel would; where no shell controls this job and could continue
        # it, it does nothing.
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(0, signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._terminal.quiet()

    # -- what the prompt asks ------------------------------------------------------------------------------------------

    def _heard(self, event: ShellEvent) -> None:
        if isinstance(event, Replied) and event.exchange.command is not None:
            change = self._failed.discard if event.exchange.ok else self._failed.add
            change(event.exchange.command.text)

    def _typed(self) -> str:
        return self._session.default_buffer.document.current_line if self._session.app.is_running else ""

    def _hint(self) -> StyleAndTextTuples:
        text = self._session.default_buffer.text
        if not text or text.startswith(":") or "\n" in text or self._typing.challenged() or self.shell.session is None:
            return []
        said = hint(self._typing.line(text, self._typing.context()), self.shell.words, self.shell.screen.ascii)
        return [("class:warn", f"   {said}")] if said else []

    def _unkept(self, path: str, reason: OSError) -> None:
        """The history cannot be kept: said above the line that may be typed just now."""
        facts = {"path": show(path, keep=""), "reason": reason}
        self.interruptions.tell(lambda: self.shell.say("shell.history-unkept", style="warn", **facts))

    def _draw_toolbar(self) -> StyleAndTextTuples:
        size = self._session.app.output.get_size()
        lines = self._toolbar(size.rows, size.columns)
        out: StyleAndTextTuples = []
        for at, line in enumerate(lines):
            out += [("", "\n")] if at else []
            out += formatted(line)
        return out

    # -- asking, and lending the terminal ------------------------------------------------------------------------------

    async def ask(self, question: str, *, hidden: bool = False) -> str | None:
        """Ask for one line; None after Ctrl-C or Ctrl-D. Not stored anywhere."""
        self._terminal.typed_ahead()  # what was typed before the question is no answer to it
        keys = KeyBindings()

        @keys.add(Keys.BracketedPaste)
        def paste(event: KeyPressEvent) -> None:
            """A password may be pasted; what else is pasted into a question was meant for somewhere else."""
            if hidden:
                event.current_buffer.insert_text(event.data.replace("\r", "\n").partition("\n")[0])

        self._asking = PromptSession(
            history=InMemoryHistory(),
            style=self._style,
            enable_suspend=False,
            erase_when_done=hidden,
            key_bindings=keys,
        )
        self._asking.app.renderer.cpr_not_supported_callback = lambda: None
        # A prompt of more than one line would be repeated on each resize; so all but the last is printed.
        look = self.shell.screen.look
        *above, last = layout.paragraph(question.strip(), look.within(max(look.width - 12, 39)), " ", "warn")
        last.append(("", " "))
        self.shell.screen.lines(above)
        message = formatted(last)
        try:
            answer = await self._asking.prompt_async(
                message, is_password=hidden, handle_sigint=False, set_exception_handler=False
            )
            if hidden:  # what stays on the screen does not tell the length
                self.shell.screen.lines([[*last, ("secret", MASK if answer else "")]])
            return answer
        except (KeyboardInterrupt, EOFError):
            return None
        finally:
            self._asking = None
            self._terminal.quiet()
            self._listen()

    async def page_out(self, rows: Iterable[str]) -> bool:
        """Give the terminal to the user's pager, and take it again. What happens meanwhile is shown afterwards."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is the pager's, Ctrl-Z stops both
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_reader(0)
        self._terminal.restore()
        self.interruptions.held = True
        try:
            return await terminal.page_out(rows, self.shell.screen.out.encoding or "utf-8", os.environ)
        finally:
            self._terminal.quiet()
            self._install_signals(loop)
            self._listen()
            await self.interruptions.release()


class Interruptions:
    """What happens by itself is shown above a live prompt, in order, never into the line that is being typed.

    A reply that comes late, the server closing, a fault in the background: each brings a function that shows it. It is
    called at once if no prompt is live, by run_in_terminal if one is, and later while another program has the terminal.
    `is_live` says whether a prompt stands on the screen.
    """

    def __init__(self, is_live: Callable[[], bool]) -> None:
        self._is_live = is_live
        self._waiting: list[Callable[[], None]] = []
        self._draining: asyncio.Task[None] | None = None
        #: whether another program has the terminal: all is kept until `release()`
        self.held = False

    def tell(self, show: Callable[[], None]) -> None:
        """Call `show` above a live prompt, in order; at once if there is none."""
        self._waiting.append(show)
        if self.held or (self._draining is not None and not self._draining.done()):
            return
        if self._is_live():
            self._draining = asyncio.ensure_future(self._drain())
        else:
            self._show()

    async def release(self) -> None:
        """The terminal is ours again: tell what happened meanwhile."""
        self.held = False
        await self._drain()

    async def _drain(self) -> None:
        while self._waiting:
            if self._is_live():
                await run_in_terminal(self._show)
            else:
                self._show()

    def _show(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one()
