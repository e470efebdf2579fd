"""Arguments, exit codes, and the only place where the parts are put together. Only __main__ imports it.

Options are accepted before and after a subcommand; a bare word that is no subcommand is a host. What a terminal needs
(prompt_toolkit) is imported after the arguments are read, and the embedded server starts in the same event loop.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import gc
import io
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING

from popshell import __version__
from popshell.arguments import (
    CONNECT_OPTIONS,
    Arguments,
    Usage,
    destination_of,
    parse_arguments,
    peek,
    read_destination,
    synopsis,
)
from popshell.config import SETTINGS, Config, ConfigError, config_path, read_config, show_config
from popshell.course.catalog import LANGUAGES, Catalog, Words, bundled, choose_language, match_language
from popshell.course.document import LessonError
from popshell.net.address import AddressError, Destination, text_of
from popshell.net.connector import Connector
from popshell.net.errors import NetError
from popshell.passwords import PasswordError, Passwords
from popshell.protocol.commands import CAPABILITIES
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import prepared
from popshell.server.maildrop import TooLarge, from_files, read_directory
from popshell.server.mailserver import FREE, MailServer, practice_token
from popshell.server.settings import SERVED, Limits
from popshell.ui.display import new_shell
from popshell.ui.shell import MetaCommands, Options, Shell
from popshell.visible import background_faults, fault_of, show

if TYPE_CHECKING:
    from popshell.ui.course_metas import Course
    from popshell.ui.screen import Screen
    from popshell.ui.tutor import Tutor

DEFAULT_ACCOUNT = ("learner", "secret")
OK, USAGE, FAILED = 0, 2, 3


def run(argv: list[str]) -> int:
    """Run one invocation. Returns the exit code: 0, 1 a reply was -ERR, 2 usage, 3 protocol, network or TLS, 141."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, TextIOWrapper):  # a terminal that is not UTF-8 is shown escapes, never an exception
            out.reconfigure(errors="backslashreplace")
    path, wrong = config_path(os.environ), None
    try:
        config = read_config(path, os.environ)
    except ConfigError as error:
        config, wrong = read_config(None, os.environ), error
    language = choose_language(peek(argv, "--lang") or config.get("language"), os.environ)
    own = peek(argv, "--lessons") or config.get("lessons")
    try:
        catalog = Catalog((own, bundled()) if own else (bundled(),))
    except FileNotFoundError as error:
        _complain(f"popshell: lessons/ is missing: {error}")
        return USAGE
    try:
        words = catalog.words(language)
        for tag in LANGUAGES if own else ():  # a stranger's words are read before anything needs them
            catalog.words(tag), catalog.replies(tag)
    except (OSError, ValueError) as error:
        catalog = Catalog((bundled(),))
        words = catalog.words(language)
        if "lint" not in argv:  # lint says it with its file and line
            _complain(words("cli.bad-lessons", reason=error))
            return USAGE
    background_faults(lambda what: _complain(words("shell.fault", what=what)))
    arguments = Arguments()
    try:
        arguments = parse_arguments(argv, words)
        if wrong is not None:
            what = words(f"config.{wrong.code}", **wrong.facts)
            whole = "" if wrong.facts["line"] else "-whole"
            raise Usage(words(f"config.error{whole}", **wrong.facts, what=what))
        given = {one.name: getattr(arguments, one.option.removeprefix("--")) or None for one in SETTINGS}
        config = config.with_options(given)
        chosen = config.values["language"]
        source = chosen.source if match_language(chosen.value) else "locale"
        return _dispatch(arguments, config.in_language(language, source), catalog)
    except Usage as error:
        _complain(f"popshell: {error}\n{words('cli.usage')}{synopsis(error.command or arguments.command)}")
        return USAGE
    except LessonError as error:
        _complain(words("cli.bad-lessons", reason=error))
        return USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise  # the reader of the output is gone, and with it the place for a message: __main__ ends the program
    except OSError as error:
        from popshell.course.catalog import in_words

        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        what = f"{type(error).__name__}: {in_words(error, words)}"
        _complain(words("cli.bad-output", reason=error) if full else words("shell.fault", what=what))
        return FAILED
    except Exception as error:
        _complain(words("shell.fault", what=fault_of(error)))
        return FAILED


def _complain(text: str) -> None:
    sys.stderr.write(show(text) + "\n")


def _dispatch(arguments: Arguments, config: Config, catalog: Catalog) -> int:
    words = catalog.words(config.get("language"))
    command, own = arguments.command, config.get("lessons")
    if command == "config":  # first: it shows where a value that cannot be used comes from
        sys.stdout.write(show_config(config, arguments.what, words))
        return OK
    if own and not os.path.isdir(own):
        raise Usage(words("cli.no-lessons", path=own))
    for port in (arguments.port, arguments.tls_port, arguments.listen):
        if not 0 <= (port or 0) <= 65535:
            raise Usage(words("cli.bad-port-number", port=port), command)
    if command == "lint":
        from popshell.lint.lint import run_lint

        return run_lint(arguments.directory or own, words, fix=arguments.fix_dialogues, mark=arguments.mark_translated)
    if command == "explain":
        return _explain(arguments, catalog, config.get("language"))
    if command == "lesson":
        from popshell.course.lesson import new_lesson

        return new_lesson(own or "lessons", arguments.name, words)
    if command == "learn" and own and not os.path.lexists(os.path.join(own, "course.toml")):
        raise Usage(words("cli.no-course", path=own))
    if command == "ping":
        from popshell.reach import ping

        return ping(arguments, config, words)
    if command == "check":
        from popshell.check import check

        return check(arguments, config, catalog)
    if command == "run":
        from popshell.run import run_scripts

        return run_scripts(arguments, config, words, lambda: _server(arguments, catalog, words, served=False))
    try:
        destination = destination_of(arguments, arguments, config)
        if destination.way.files:  # what cannot be used is reported also where no HOST is given yet
            from popshell.net.trust import client_context

            client_context(destination.way)
    except (AddressError, NetError) as error:
        if error.code != "own-key-passphrase" or command not in ("", "learn"):  # the shell asks for it
            raise Usage(words(f"net.{error.code}", **error.facts)) from None
    if command == "watch":
        from popshell.watch import watch

        return asyncio.run(watch(destination, arguments, config, catalog))
    server = _server(arguments, catalog, words, served=command == "serve")
    if command == "serve":
        from popshell.serve import serve

        return asyncio.run(serve(server, arguments, words))
    return _Run(arguments, config, catalog, server, destination).code()


def _explain(arguments: Arguments, catalog: Catalog, language: str) -> int:
    """`popshell explain FILE`: 0 no fault in the log, 1 a fault, 2 the form of the log is not known. Raises Usage."""
    from popshell.logs.report import explain_log, names
    from popshell.logs.text import LONGEST_LOG

    words = catalog.words(language)
    if arguments.format and arguments.format not in names():
        raise Usage(words("cli.bad-format", format=arguments.format, formats=words.listed(names())), "explain")
    try:
        with open(0 if arguments.log == "-" else arguments.log, "rb", closefd=arguments.log != "-") as source:
            data = source.read(LONGEST_LOG + 1)
    except OSError as error:
        raise Usage(words("cli.bad-log", path=arguments.log, reason=error), "explain") from None
    text, code = explain_log(data, catalog, language, arguments.format or "", as_json=bool(arguments.json))
    sys.stdout.write(text)
    return code


def _server(arguments: Arguments, catalog: Catalog, words: Words, *, served: bool) -> MailServer:
    """The practice server, embedded or served."""
    accounts: dict[str, str] = {}
    for text in arguments.account or ():
        name, colon, password = text.partition(":")
        if not (name and colon and password) or any(ch.isspace() for ch in name):
            raise Usage(words("cli.bad-account", account=name or text))
        if prepared(name, stored=True) is None or prepared(password, stored=True) is None:
            raise Usage(words("cli.unusable-account", account=name))
        if name in accounts:
            raise Usage(words("cli.account-twice", account=name))
        accounts[name] = password
    faults: dict[str, object] = {**FREE, "require_tls": arguments.require_tls}

    fresh: Callable[[], str] = str
    if arguments.lan:  # what is public about the practice server is not for one that other machines reach
        from popshell.serve import fresh_password

        fresh = fresh_password
    offered = set(MECHANISMS)
    for option, taken in (("mechanisms", tuple(MECHANISMS)), ("without", (*MECHANISMS, "APOP", *CAPABILITIES))):
        if (given := getattr(arguments, option)) is not None:
            faults[option] = names = tuple(" ".join(given).upper().replace(",", " ").split())
            if not set(names) <= set(taken):
                raise Usage(words("cli.bad-names", option=f"--{option}", names=words.listed(taken)))
            offered = offered.intersection(names) if option == "mechanisms" else offered.difference(names)

    def tokens() -> dict[str, str]:
        if not any(MECHANISMS[name].proof == "token" for name in offered):
            return {}
        return {practice_token(name, unique=fresh()): name for name in accounts or [DEFAULT_ACCOUNT[0]]}

    path = str(arguments.maildrop or "maildrops/default")
    try:
        if arguments.maildrop is not None:
            messages = read_directory(arguments.maildrop)
            if (left := len(os.listdir(path)) - len(messages)) or not messages:
                _complain(words("cli.left-out" if messages else "cli.empty-maildrop", path=path, count=left))
        else:
            messages = from_files(catalog.maildrop_files("default"))
    except TooLarge as error:
        raise Usage(words("cli.maildrop-too-large", path=path, name=error.name)) from None
    except (OSError, ValueError) as error:
        raise Usage(words("cli.bad-maildrop", path=path, reason=error)) from None
    return MailServer(
        accounts or {DEFAULT_ACCOUNT[0]: fresh() or DEFAULT_ACCOUNT[1]},
        catalog.languages,
        catalog.replies,
        messages,
        limits=SERVED if served else Limits(),
        faults=faults,
        tokens=tokens,
        surrogates=arguments.surrogates,
    )


class _Run:
    """One run of the shell: its front end, its connections, its course."""

    def __init__(
        self, arguments: Arguments, config: Config, catalog: Catalog, server: MailServer, destination: Destination
    ) -> None:
        self._arguments, self._config, self._catalog = arguments, config, catalog
        #: names a lesson, "" is where the learner left; None is no course
        self._learn = (arguments.lesson or "") if arguments.command == "learn" else None
        self._options = Options(config.get("language"), config.get("notes"), yes=arguments.yes)
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.send
        words = self._words()
        if arguments.log:
            from popshell.serve import open_log

            self._options.log = open_log(arguments.log, words)
        try:
            given = arguments.password_command, arguments.password_fd, arguments.token_command
            self._options.passwords = Passwords(*given)
        except PasswordError as error:
            raise Usage(words(f"password.{error.code}", **error.facts)) from None
        self._connector = Connector(server, destination, self._read)

    def _words(self) -> Words:
        return self._catalog.words(self._options.language)

    def _read(self, text: str, here: Destination) -> Destination:
        return read_destination(text, here, self._arguments, self._config, self._words())

    def code(self) -> int:
        """Choose a front end and run it. Returns the exit code."""
        dumb = os.environ.get("TERM", "dumb") == "dumb"
        plain = self._config.get("plain") or self._arguments.json or not self._terminal or dumb
        if not plain and os.name == "nt":
            _complain(self._words()("shell.windows"))
            plain = True
        return asyncio.run(self._plain() if plain else self._interactive())

    async def _interactive(self) -> int:
        gc.disable()
        asyncio.get_running_loop().call_later(1.0, _collect)
        from popshell.ui.editor import Editor, TerminalScreen
        from popshell.ui.layout import Look
        from popshell.ui.screen import draws
        from popshell.ui.terminal import Terminal
        from popshell.ui.theme import chosen, fitting

        config, connector = self._config, self._connector
        ascii = config.get("ascii") or not draws(sys.stdout.encoding)
        terminal, theme = Terminal(0), chosen(*config.values["theme"], os.environ, True)
        try:
            if theme == "auto" and (background := terminal.background()):
                theme = chosen(fitting(background), "", os.environ, True)
            screen = TerminalScreen(Look(theme, ascii=ascii))
            shell = self._new_shell(screen)
            address = connector.destination.address
            name = address.user if address is not None else next(iter(connector.server.accounts))
            vi = config.get("editing") == "vi"
            editor = screen.editor = Editor(shell, terminal, _history_path, name, vi=vi, keys=config.keys)
            await self._introduce("shell.banner", "emphasis")
            return await editor.run(self._begin)
        finally:
            terminal.restore()
            gc.enable()
            await connector.close()

    async def _plain(self) -> int:
        """No redraw, no escapes; every line of standard input runs (sec-U5)."""
        from popshell.ui.front import Front, PersonSource, Source
        from popshell.ui.screen import JsonScreen, Lines, PlainScreen, draws
        from popshell.ui.theme import chosen

        arguments, config, terminal = self._arguments, self._config, self._terminal
        ascii = config.get("ascii") or not draws(sys.stdout.encoding)
        # `--plain` is without escape sequences; for a pipe CLICOLOR_FORCE changes that.
        theme = "none" if config.get("plain") else chosen(*config.values["theme"], os.environ, False)
        screen = JsonScreen() if arguments.json else PlainScreen(interactive=terminal, ascii=ascii, theme=theme)
        shell = self._new_shell(screen)
        if terminal:
            await self._introduce("shell.plain-hint", "note")
        if arguments.json:
            from popshell.ui.exports import JsonRecords

            shell.subscribe(JsonRecords(version=int(arguments.json), words=shell.net_words).heard)

        async def begin() -> bool:
            began = await self._begin()
            if began:
                given = "\n".join(arguments.send or ()).encode("utf-8", "surrogateescape")
                screen.answers = source.lines = Lines(io.BytesIO(given) if arguments.send else sys.stdin.buffer)
            return began

        source = (PersonSource if screen.interactive else Source)(shell)
        began = False
        try:
            began = await Front(shell, source).run(begin, stop_on_err=arguments.stop_on_err)
        finally:
            await self._connector.close()
        shell.check_output()
        return OK if terminal and began and not arguments.json else shell.tally.exit_code()

    def _new_shell(self, screen: Screen) -> Shell:
        shell = self._shell = new_shell(self._catalog, screen, self._connector.connect, self._options, self._metas)
        shell.fork = self._connector.fork
        shell.connections = tuple(self._config.connections)
        shell.connect_options = tuple((option.usage, f"cli.{option.name}") for option in CONNECT_OPTIONS)
        return shell

    def _metas(self) -> MetaCommands:
        from popshell.ui.metas import Metas

        return Metas(self._course.rows())

    @functools.cached_property
    def _course(self) -> Course:
        """Loaded with the first meta command."""
        from popshell.ui.course_metas import Course

        return Course(self._shell, self._tutor)

    def _tutor(self) -> Tutor:
        """Begin the course: read its order and the learner's progress. Raises LessonError."""
        from pathlib import Path

        import platformdirs

        from popshell.course.progress import Lessons, Progress, read_course
        from popshell.ui.tutor import Tutor

        shell, course = self._shell, read_course(self._catalog)
        progress = Progress(Path(platformdirs.user_data_path("popshell")) / "progress.json")
        lessons = Lessons(self._catalog, course, progress, lambda: shell.options.language)
        return Tutor(shell, lessons, self._connector)

    async def _introduce(self, key: str, style: str) -> None:
        """Say what this is; of the practice server its account and its password."""
        shell, connector = self._shell, self._connector
        shell.say(key, version=__version__, style=style)
        if self._learn is None and connector.destination.address is None:
            place = text_of(await connector.open_practice())
            account, password = next(iter(connector.server.accounts.items()))
            shell.say("shell.banner-practice", name=account, password=password, place=place)

    async def _begin(self) -> bool:
        """Connect; with `learn`, begin the course there or where the learner left."""
        return await (self._shell.connect() if self._learn is None else self._course.begin(self._learn))


def _collect() -> None:
    """Garbage is looked for once the first prompt stands; what was loaded for it is none, and would hold up a key."""
    gc.freeze()
    gc.enable()


def _history_path() -> str:
    import platformdirs

    return os.path.join(platformdirs.user_state_dir("popshell"), "history")
