"""Arguments, exit codes, and the only place where the parts are put together. Nobody imports it.

Options are accepted before and after a subcommand; a bare word that is no subcommand is a host. What a terminal needs
(prompt_toolkit) is imported after the arguments are read, and the embedded server starts in the same event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from popshell import __version__
from popshell.learn.catalog import LANGUAGES, Catalog, PageError, Words, bundled, choose_language
from popshell.net.address import Address, AddressError, parse_address
from popshell.net.errors import NetError
from popshell.net.listener import Listener
from popshell.net.transport import Target, TlsMode, Transport, connect
from popshell.server.maildrop import from_files, read_directory
from popshell.server.mailserver import SERVED, Conditions, Limits, MailServer
from popshell.session import Event, Session
from popshell.ui.shell import Call, CallError, Leave, Options, Place, Screen, Shell
from popshell.visible import fault_of, show

if TYPE_CHECKING:
    import argparse
    from importlib.resources.abc import Traversable

    from popshell.learn.lesson import Exercise
    from popshell.ui.tutor import Tutor

SUBCOMMANDS = ("learn", "lesson", "serve", "lint")
DEFAULT_ACCOUNT = ("learner", "secret")
OK, REFUSED, USAGE, FAILED = 0, 1, 2, 3


class Usage(Exception):
    """The arguments are wrong; the text says how, in the user's language."""


class Arguments:
    """What was given on the command line; argparse sets it, and without arguments is not needed: 5 ms."""

    words: Sequence[str] = ()
    tls: str | None = None
    ca: Path | None = None
    insecure = False
    lang: str | None = None
    plain = False
    ascii = False
    lessons: Path | None = None
    json = False
    stop_on_err = False
    yes = False
    vi = False
    port: int | None = None
    maildrop: Path | None = None
    account: Sequence[str] | None = None
    require_tls = False
    fix_dialogues = False
    mark_translated = False


def parser(words: Words) -> argparse.ArgumentParser:
    """All options; their words come from `messages.toml`, `[cli]`."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Usage(message)

    made = Parser(
        prog="popshell", description=words("cli.description"), add_help=False, allow_abbrev=False, usage=_USAGE
    )
    made.add_argument("words", nargs="*", metavar="HOST", help=words("cli.host"))
    group = made.add_argument_group(words("cli.options"))

    def option(*names: str, key: str = "", **settings: object) -> None:
        group.add_argument(*names, help=words(f"cli.{key or names[0].lstrip('-')}"), **settings)  # type: ignore[arg-type]

    option("--tls", choices=[mode.value for mode in TlsMode])
    option("--ca", type=Path, metavar="FILE")
    option("--insecure", action="store_true")
    option("--lang", metavar="LANG")
    option("--plain", action="store_true")
    option("--ascii", action="store_true")
    option("--lessons", type=Path, metavar="DIR")
    option("--json", action="store_true")
    option("--stop-on-err", action="store_true")
    option("--yes", action="store_true")
    option("--vi", action="store_true")
    option("--port", type=int, metavar="P")
    option("--maildrop", type=Path, metavar="DIR")
    option("--account", action="append", metavar="NAME:PASSWORD")
    option("--require-tls", action="store_true")
    option("--fix-dialogues", action="store_true")
    option("--mark-translated", action="store_true")
    option("--version", "-V", action="version", version=f"popshell {__version__}")
    option("--help", "-h", action="help")
    return made


_USAGE = """popshell [OPTIONS] [HOST | HOST:PORT | pop://USER@HOST:PORT]
       popshell learn [LESSON]
       popshell serve [--port P] [--maildrop DIR] [--account NAME:PASSWORD] [--require-tls]
       popshell lint [DIR] [--fix-dialogues] [--mark-translated]
       popshell lesson new NAME [--lessons DIR]"""


def run(argv: list[str]) -> int:
    """Run one invocation. Returns the exit code: 0, 1 a reply was -ERR, 2 usage, 3 protocol, network or TLS."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, TextIOWrapper):  # a terminal that is not UTF-8 is shown escapes, never an exception
            out.reconfigure(errors="backslashreplace")
    language = choose_language(_peek(argv, "--lang"), os.environ)
    try:
        catalog = _catalog(_peek(argv, "--lessons") or os.environ.get("POPSHELL_LESSONS"))
    except FileNotFoundError as error:
        _complain(f"popshell: lessons/ is missing: {error}")
        return USAGE
    try:
        words = catalog.words(language)
    except (OSError, ValueError) as error:
        catalog = Catalog((bundled(),))
        _complain(catalog.words("en")("cli.bad-lessons", reason=str(error)))
        return USAGE
    try:
        arguments = Arguments()
        if argv:
            parser(words).parse_intermixed_args(argv, arguments)
        return _dispatch(arguments, catalog, language)
    except Usage as error:
        _complain(f"popshell: {error}\n{_USAGE}")
        return USAGE
    except PageError as error:
        _complain(words("cli.bad-lessons", reason=str(error)))
        return USAGE
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has gone; there is nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            _complain(words("shell.fault", what=f"{type(error).__name__} {error.strerror or ''}"))
        return FAILED
    except Exception as error:
        _complain(words("shell.fault", what=fault_of(error)))
        return FAILED


def _peek(argv: list[str], name: str) -> str | None:
    """The value of an option before the arguments are parsed: help and errors are in its language already."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return None


def _catalog(own: str | None) -> Catalog:
    roots: list[Traversable] = [Path(own)] if own else []
    return Catalog((*roots, bundled()))


def _complain(text: str) -> None:
    sys.stderr.write(show(text) + "\n")


def _dispatch(arguments: Arguments, catalog: Catalog, language: str) -> int:
    words = catalog.words(language)
    if arguments.lang and choose_language(arguments.lang, {}) == "en" and not arguments.lang.lower().startswith("en"):
        raise Usage(words("cli.bad-lang", lang=arguments.lang, languages=", ".join(LANGUAGES)))
    if arguments.lessons and not arguments.lessons.is_dir():
        raise Usage(words("cli.no-lessons", path=str(arguments.lessons)))
    subcommand = arguments.words[0] if arguments.words and arguments.words[0] in SUBCOMMANDS else ""
    rest = arguments.words[1:] if subcommand else arguments.words
    if len(rest) > {"serve": 0, "lesson": 2}.get(subcommand, 1):
        raise Usage(words("cli.too-many", word=rest[-1]))
    if arguments.port is not None and subcommand != "serve":
        raise Usage(words("cli.only-with", option="--port", command="serve"))
    for option in ("fix_dialogues", "mark_translated"):
        if getattr(arguments, option) and subcommand != "lint":
            raise Usage(words("cli.only-with", option=f"--{option.replace('_', '-')}", command="lint"))
    if subcommand == "lint":
        from popshell.learn.lint import run_lint

        return run_lint(
            Path(rest[0]) if rest else None, words, fix=arguments.fix_dialogues, mark=arguments.mark_translated
        )
    if subcommand == "lesson":
        from popshell.learn.scaffold import new_lesson

        if len(rest) != 2 or rest[0] != "new":
            raise Usage(words("cli.lesson-new"))
        return new_lesson(arguments.lessons or Path("lessons"), rest[1], words)
    server = _server(arguments, catalog, words, served=subcommand == "serve")
    if subcommand == "serve":
        return asyncio.run(_serve(server, arguments.port or 0, words))
    address = None
    if subcommand == "learn":
        return _start(arguments, catalog, language, server, None, learn=rest[0] if rest else "")
    if rest:
        try:
            address = parse_address(rest[0], TlsMode(arguments.tls) if arguments.tls else None)
        except AddressError:
            raise Usage(words("cli.bad-address", address=rest[0])) from None
    return _start(arguments, catalog, language, server, address)


def _server(arguments: Arguments, catalog: Catalog, words: Words, *, served: bool) -> MailServer:
    """The practice server, embedded or served."""
    accounts: dict[str, str] = {}
    for text in arguments.account or ():
        name, colon, password = text.partition(":")
        if not (name and colon and password) or any(ch.isspace() for ch in name):
            raise Usage(words("cli.bad-account", account=name or text))
        accounts[name] = password
    try:
        if arguments.maildrop is not None:
            messages = read_directory(arguments.maildrop)
        else:
            messages = from_files(catalog.maildrop_files("default"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Usage(words("cli.bad-maildrop", path=str(arguments.maildrop), reason=reason)) from None
    return MailServer(
        accounts or dict([DEFAULT_ACCOUNT]),
        LANGUAGES,
        catalog.replies,
        messages,
        limits=SERVED if served else Limits(),
        conditions=Conditions(require_tls=arguments.require_tls),
    )


async def _serve(server: MailServer, port: int, words: Words) -> int:
    """`popshell serve`: one line with the address, then until SIGINT or SIGTERM."""
    import signal

    listener = Listener(server)
    try:
        host, bound = await listener.start("127.0.0.1", port)
    except NetError as error:
        _complain(words("cli.bad-port", port=port, reason=words(f"net.{error.code}", **{"port": port, **error.facts})))
        return FAILED
    sys.stdout.write(words("cli.serving", host=host, port=bound) + "\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await listener.close()
    return OK


def _start(
    arguments: Arguments,
    catalog: Catalog,
    language: str,
    server: MailServer,
    address: Address | None,
    learn: str | None = None,
) -> int:
    """Choose a front end and run the shell; `learn` names a lesson, "" is where the learner left."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    plain = arguments.plain or arguments.json or not terminal or os.environ.get("TERM", "dumb") == "dumb"
    options = Options(language=language, yes=arguments.yes)
    clock = Clock()
    server.clock = clock
    dialer = Dialer(server, address, arguments, clock)
    if not plain and os.name == "nt":
        _complain(catalog.words(language)("shell.windows"))
        plain = True
    if plain:
        return asyncio.run(_plain(arguments, catalog, options, dialer, terminal, learn))
    return asyncio.run(_interactive(arguments, catalog, options, dialer, learn))


async def _interactive(
    arguments: Arguments, catalog: Catalog, options: Options, dialer: Dialer, learn: str | None
) -> int:
    gc.disable()
    asyncio.get_running_loop().call_later(1.0, _collect)
    from popshell.ui.repl import Repl, ReplScreen
    from popshell.ui.theme import Palette, colour_allowed

    ascii = arguments.ascii or not _draws(sys.stdout.encoding)
    screen = ReplScreen(Palette(colour_allowed(os.environ, True)), ascii=ascii)
    shell = _shell(catalog, screen, dialer, options)
    name = dialer.address.user if dialer.address else next(iter(dialer.server.accounts))
    repl = Repl(shell, catalog, _history_path, name, vi=arguments.vi)
    screen.repl = repl
    shell.say("shell.banner", version=__version__, style="emphasis")
    if learn is None and dialer.address is None:
        await _introduce(shell, dialer)
    elif dialer.address is not None and dialer.address.user:
        shell.draft = f"USER {dialer.address.user}"
    try:
        return await repl.run(lambda: _begin(shell, learn))
    finally:
        gc.enable()
        await dialer.close()


def _collect() -> None:
    """Garbage is looked for once the first prompt stands; what was loaded for it is none, and would hold up a key."""
    gc.freeze()
    gc.enable()


def _draws(encoding: str) -> bool:
    """Whether a terminal's encoding has the characters that pictures are made of."""
    try:
        "✔─▶•".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


async def _introduce(shell: Shell, dialer: Dialer) -> None:
    """Name the practice server, its account and its password."""
    await dialer.open_practice()
    account, password = next(iter(dialer.server.accounts.items()))
    shell.say("shell.banner-practice", name=account, password=password, place=dialer.practice_label)


async def _begin(shell: Shell, learn: str | None) -> bool:
    """Connect; with `learn`, begin the course there or where the learner left."""
    if learn is None:
        return await shell.connect()
    return await shell.learn(learn)


def _shell(catalog: Catalog, screen: Screen, dialer: Dialer, options: Options) -> Shell:
    shell = Shell(catalog, screen, dialer.dial, options)
    shell.fork = dialer.fork
    shell.make_tutor = lambda made: _tutor(made, catalog, dialer)
    return shell


def _tutor(shell: Shell, catalog: Catalog, dialer: Dialer) -> Tutor:
    """Begin the course: read its order and the learner's progress. Raises LessonError."""
    import platformdirs

    from popshell.learn.course import Lessons, Progress, read_course
    from popshell.ui.tutor import Tutor

    course = read_course(catalog)
    progress = Progress(Path(platformdirs.user_data_path("popshell")) / "progress.json")
    return Tutor(shell, Lessons(catalog, course), progress, Stage(dialer, catalog))


async def _plain(
    arguments: Arguments,
    catalog: Catalog,
    options: Options,
    dialer: Dialer,
    terminal: bool,
    learn: str | None,
) -> int:
    """No redraw, no escapes; every line of standard input runs (sec-U5)."""
    from popshell.batch import lines_of
    from popshell.ui.screen import JsonScreen, PlainScreen

    screen = JsonScreen() if arguments.json else PlainScreen(interactive=terminal)
    shell = _shell(catalog, screen, dialer, options)
    if terminal:
        shell.say("shell.plain-hint", version=__version__)
        if learn is None and dialer.address is None:
            await _introduce(shell, dialer)
    began = False
    try:
        began = await _begin(shell, learn)
        if began:
            lines = lines_of(sys.stdin.buffer)
            screen.answers = lines
            async for text in lines:
                # There is no prompt to put a finished line at: an empty line is the Enter that sends it.
                draft, shell.draft = shell.draft, ""
                rows = (text or draft).split("\n")
                await (shell.run_block(rows) if len(rows) > 1 else shell.run(rows[0]))
                if arguments.stop_on_err and shell.tally.exit_code():
                    break
    except Leave:
        pass
    finally:
        shell.hang_up()
        await dialer.close()
    return OK if terminal and began and not arguments.json else shell.tally.exit_code()


def _history_path() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_path("popshell")) / "history"


class Dialer:
    """Opens connections for the Shell: to the practice server inside, or to a real one."""

    def __init__(self, server: MailServer, address: Address | None, arguments: Arguments, clock: Clock) -> None:
        self.server = server
        self.address = address
        self.ca: Path | None = arguments.ca
        self.insecure: bool = arguments.insecure
        self.tls: str | None = arguments.tls
        self.clock = clock
        self.listener: Listener | None = None
        self.practice: tuple[str, int] | None = None

    @property
    def practice_label(self) -> str:
        return f"{self.practice[0]}:{self.practice[1]}" if self.practice else ""

    async def open_practice(self) -> tuple[str, int]:
        """Start the practice server, once."""
        if self.practice is None:
            self.listener = Listener(self.server)
            try:
                self.practice = await self.listener.start("127.0.0.1", 0)
            except NetError as error:
                raise CallError(error.code, **error.facts) from None
        return self.practice

    async def close(self) -> None:
        if self.listener is not None:
            await self.listener.close()

    def use(self, server: MailServer) -> None:
        """Let new connections of the practice server meet `server`."""
        self.server = server
        if self.listener is not None:
            self.listener.server = server

    def pass_time(self, seconds: float) -> None:
        self.clock.ahead += seconds
        if self.listener is not None:
            self.listener.check_timers()

    def fork(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the open maildrop would hold after QUIT, and after the line going dead."""
        return next(m for m in self.server.maildrops.values() if m.in_use).fork()

    async def dial(
        self, where: str | None, late: Callable[[Event], None], ended: Callable[[Exception | None], None]
    ) -> Call:
        """Connect to `where`: None is where one was, "practice" the server inside. Raises CallError."""
        address = self.address
        if where == "practice":
            address = None
        elif where is not None:
            try:
                address = parse_address(where, TlsMode(self.tls) if self.tls else None)
            except AddressError:
                raise CallError("bad-address", address=where) from None
        if address is None:
            host, port = await self.open_practice()
            target = Target(host, port, TlsMode.NONE)
        else:
            target = Target(address.host, address.port, address.tls, self.ca, insecure=self.insecure)
        self.address = address
        line = _Line(self.listener if address is None else None)
        try:
            transport = await connect(target, on_data=line.data, on_close=line.closed)
        except NetError as error:
            raise CallError(error.code, **error.facts) from None
        session = Session(self.clock, late, ended, tls=transport.tls is not None)
        line.take(transport, session)
        place = Place(
            address.label if address else self.practice_label,
            practice=address is None,
            loopback=transport.loopback,
            insecure=self.insecure and address is not None,
            autologout=self.server.limits.autologout if address is None else None,
            stls=target.tls is TlsMode.STLS,
        )
        return Call(session, place, line.facts)


class Clock:
    """Seconds of the monotonic clock, moved ahead by `:wait`; the practice server and its client share it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Stage:
    """The practice server as a lesson needs it (ui/tutor.py)."""

    def __init__(self, dialer: Dialer, catalog: Catalog) -> None:
        self.dialer = dialer
        self.catalog = catalog
        self.exercise: Exercise | None = None

    async def open(
        self, exercise: Exercise, late: Callable[[Event], None], ended: Callable[[Exception | None], None]
    ) -> Call:
        from popshell.learn.rehearsal import exercise_server

        self.exercise = exercise
        self.dialer.use(exercise_server(self.catalog, exercise, self.dialer.clock))
        return await self.dialer.dial("practice", late, ended)

    def left(self) -> tuple[int, ...]:
        from popshell.learn.rehearsal import left_of

        return left_of(self.dialer.server, self.exercise) if self.exercise else ()

    def pass_time(self, seconds: float) -> None:
        self.dialer.pass_time(seconds)


class _Line:
    """Joins a Transport and a Session; the Session's Wire."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._transport: Transport | None = None
        self._session: Session | None = None
        self._stls_end: int | None = None

    def take(self, transport: Transport, session: Session) -> None:
        self._transport = transport
        self._session = session
        session.attach(self)

    def data(self, data: bytes) -> None:
        assert self._session is not None
        assert self._transport is not None
        self._session.data(data)
        if self._session.connection.wants_tls and self._stls_end is None:
            self._stls_end = self._transport.bytes_in

    def closed(self, error: Exception | None) -> None:
        if self._session is not None:
            self._session.end(error)

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            self._transport.write(data)
        except NetError as error:
            raise ConnectionError from error

    async def start_tls(self) -> None:
        assert self._transport is not None
        if self._listener is not None:
            # The practice server's certificate is made when TLS is first wanted: 70 ms that no other start pays.
            self._transport.target = self._transport.target._replace(ca_data=self._listener.certificate_pem())
        after = self._stls_end if self._stls_end is not None else self._transport.bytes_in
        await self._transport.start_tls(after=after)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def facts(self) -> dict[str, object]:
        tls = self._transport.tls if self._transport else None
        if tls is None:
            return {}
        known: dict[str, object] = {"version": tls.version, "cipher": tls.cipher}
        if tls.verified:
            known |= {"subject": tls.subject, "issuer": tls.issuer, "names": ", ".join(tls.names)}
            if tls.not_after is not None:
                known["not_after"] = tls.not_after.isoformat(" ", "minutes")
        return known | {"fingerprint": tls.fingerprint}
