"""The loop on a terminal: read a line, give it to the Shell, show. One asyncio loop, one writer, no patch_stdout.

Traps, measured. patch_stdout reorders output, so we print when no prompt is live and use run_in_terminal when one is.
prompt_toolkit removes our SIGINT handler unless told not to (`handle_sigint=False`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.controls import BufferControl
from prompt_toolkit.layout.processors import AfterInput
from prompt_toolkit.shortcuts.prompt import CompleteStyle, PromptSession

from popshell.course.catalog import Catalog
from popshell.protocol.line import MASK
from popshell.ui import flight, render, theme, waiting
from popshell.ui.completer import Known, ShellCompleter
from popshell.ui.history import MemoryHistory, RecentSuggest, ShellHistory
from popshell.ui.interruptions import Interruptions
from popshell.ui.keys import prompt_keys
from popshell.ui.layout import Look
from popshell.ui.prompt import Mask, ShellLexer, Toolbar, formatted, hint, prompt_line
from popshell.ui.screen import Screen
from popshell.ui.shell import Leave, Shell
from popshell.ui.tty import Terminal
from popshell.ui.typed import Typing
from popshell.ui.waiting import COUNTDOWN
from popshell.visible import fault_of, show


class Stopped(Exception):
    """A signal asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class ReplScreen(Screen):
    """A Screen that knows the live prompt."""

    repl: Repl

    def __init__(self, look: Look, *, ascii: bool = False) -> None:
        super().__init__(look, ascii=ascii)
        self.pauses = True

    def interrupt(self, show: Callable[[], None]) -> None:
        self.repl.interruptions.tell(show)

    async def ask(self, question: str) -> str:
        return await self.repl.ask(question) or ""

    async def ask_hidden(self, question: str, *, piped: bool = False) -> str | None:
        return await self.repl.ask(question, hidden=True)

    async def page_out(self, rows: Iterable[str]) -> bool:
        return await self.repl.page_out(rows)


class Repl:
    """The interactive front end of one Shell."""

    def __init__(
        self, shell: Shell, catalog: Catalog, history: Callable[[], Path] | None, name: str = "", vi: bool = False
    ) -> None:
        self.shell = shell
        self._typing = Typing(shell)
        self._terminal = Terminal(0)
        self._task: asyncio.Task[None] | None = None
        self.interruptions = Interruptions(lambda: self._live() is not None)
        self._stopped: int | None = None
        self._style = theme.prompt_style(shell.screen.look.colour)
        self._toolbar = Toolbar(shell, catalog, self._typing, self._typed)
        self._session: PromptSession[str] = PromptSession(
            message=lambda: formatted(prompt_line(shell)),
            completer=ShellCompleter(lambda: self._known(name), catalog),
            complete_while_typing=False,
            complete_style=CompleteStyle.COLUMN,
            history=self._history(history),
            auto_suggest=RecentSuggest(),
            enable_history_search=False,
            bottom_toolbar=self._draw_toolbar,
            input_processors=[Mask(shell, self._typing), AfterInput(self._hint)],
            key_bindings=prompt_keys(lambda: run_in_terminal(self._suspend)),
            erase_when_done=True,
            enable_suspend=False,
            style=self._style,
            include_default_pygments_style=False,
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
        )
        for control in self._session.layout.find_all_controls():
            if isinstance(control, BufferControl) and control.buffer is self._session.default_buffer:
                control.lexer = ShellLexer(self._typing)
        self._asking: PromptSession[str] | None = None

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def run(self, begin: Callable[[], Awaitable[bool]]) -> int:
        """Run `begin`, then read lines until the user leaves. Returns the exit code.

        If `begin` fails, its reason is shown already, and there is nothing to go on with.
        """
        loop = asyncio.get_running_loop()
        watch = loop.create_task(self._watch())
        self._install_signals(loop)
        loop.set_exception_handler(self._background_fault)
        self._terminal.quiet()
        try:
            if await self._foreground(begin()) is False:
                return self.shell.tally.exit_code()
            while self._stopped is None:
                text = await self._read()
                if text is not None:
                    await self._foreground(self._submit(text))
        except (Leave, EOFError):
            pass
        except Stopped:
            pass
        finally:
            watch.cancel()
            self.shell.hang_up()
            self._terminal.restore()
        return 0 if self._stopped is None else 128 + self._stopped

    async def _read(self) -> str | None:
        """One prompt; None after Ctrl-C. Ctrl-D leaves, asking first where marks would be lost."""
        ahead = self._terminal.typed_ahead().lstrip("\n")
        kept = not self.shell.draft and "\n" in ahead
        draft, self.shell.draft = self.shell.draft or ahead.rstrip("\n"), ""
        if kept:
            self.shell.say("shell.draft-kept")
        try:
            text = await self._session.prompt_async(default=draft, handle_sigint=False, set_exception_handler=False)
        except KeyboardInterrupt:
            return None
        except EOFError:
            await self.shell.leave()
            return None
        finally:
            self._terminal.quiet()
        return text

    async def _submit(self, text: str) -> None:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
        if len(lines) > 1:
            await self._submit_block(lines)
        elif text.startswith(":"):
            self.shell.screen.lines([[("dim", f" {_safe(self._typing.masked(text))}")]])
            await self.shell.run(text)
        elif text or (self.shell.session and self.shell.session.connection.challenged):
            if self.shell.session is None:  # it will not be sent, so nothing else shows it
                self.shell.screen.lines([[("dim", f" {_safe(self._typing.masked(text))}")]])
            await self.shell.run(text)

    async def _submit_block(self, lines: list[str]) -> None:
        """A pasted block is shown and asked about before anything goes out."""
        shell = self.shell
        shell.say("shell.pasted", count=len(lines))
        for text in self._typing.masked("\n".join(lines)).split("\n"):
            shell.screen.lines([[("", "    "), ("", _safe(text))]])
        answer = await shell.screen.ask(shell.words("shell.ask-paste", count=len(lines)))
        if answer.strip().lower() in ("y", "yes", shell.words("shell.yes")):
            await flight.run_block(shell, lines)
        else:
            shell.draft = "\n".join(lines)
            shell.say("shell.paste-kept")

    async def _foreground(self, work: Awaitable[Any]) -> Any:
        """Run `work` so that Ctrl-C gives the prompt back (sec-U1); None then."""
        self._task = asyncio.ensure_future(work)
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._stopped is not None:
                raise Stopped(self._stopped) from None
            waiting.interrupted(self.shell)
            return None
        except (Leave, Stopped, EOFError):
            raise
        except Exception as error:  # a fault of ours: it must not cost the user the session
            self.shell.say("shell.fault", style="err", what=_safe(fault_of(error)))
            return None
        finally:
            self._task = None

    def _background_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = fault_of(error) if error is not None else str(context.get("message", "?"))
        self.interruptions.tell(lambda: self.shell.say("shell.fault", style="err", what=_safe(what)))

    async def _watch(self) -> None:
        """Redraw the toolbar each second of the last minute before autologout."""
        while True:
            left = self.shell.seconds_left()
            wait = 5.0 if left is None or left > COUNTDOWN + 5 else 1.0
            await asyncio.sleep(wait)
            if left is not None and left <= COUNTDOWN + 1 and self._session.app.is_running:
                self._session.app.invalidate()

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
        # Its default action, on the whole job, as the kernel would: nobody could wake us if no shell controls this job,
        # and then it does nothing.
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(0, signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._terminal.quiet()

    # -- what the prompt asks ------------------------------------------------------------------------------------------

    def _typed(self) -> str:
        return self._session.default_buffer.document.current_line if self._session.app.is_running else ""

    def _hint(self) -> StyleAndTextTuples:
        text = self._session.default_buffer.text
        if not text or text.startswith(":") or "\n" in text or self._typing.challenged() or self.shell.session is None:
            return []
        said = hint(self._typing.line(text, self._typing.context()), self.shell.words, self.shell.screen.ascii)
        return [("class:warn", f"   {said}")] if said else []

    def _known(self, name: str) -> Known:
        session = self.shell.session
        capabilities = session.connection.capabilities if session else None
        return Known(self._typing.context(), capabilities, self.shell.options.language, name, self.shell.screen.ascii)

    def _history(self, where: Callable[[], Path] | None) -> History:
        return (
            ShellHistory(where, self._typing.has_secret)
            if where is not None
            else MemoryHistory(self._typing.has_secret)
        )

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
        # A prompt of more than one line would be repeated on each resize; so all but the last is printed.
        look = self.shell.screen.look
        *above, last = render.paragraph(question.strip(), look.within(max(look.width - 12, 39)), " ", "warn")
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

    async def page_out(self, rows: Iterable[str]) -> bool:
        """Give the terminal to the user's pager, and take it again. What happens meanwhile is told afterwards."""
        from popshell.ui import pager

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is the pager's, Ctrl-Z stops both
        loop.remove_signal_handler(signal.SIGTSTP)
        self._terminal.restore()
        self.interruptions.hold()
        try:
            return await pager.run(rows, self.shell.screen.out.encoding or "utf-8", os.environ)
        finally:
            self._terminal.quiet()
            self._install_signals(loop)
            await self.interruptions.release()


def _safe(text: str) -> str:
    return show(text, keep="")
