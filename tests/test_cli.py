"""Arguments and exit codes: what a script sees of popshell (sec-U5)."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import started
import trustme
from cryptography.hazmat.primitives import serialization
from support import each
from terminal.driver import Peer, environment

from popshell import __version__, arguments, cli
from popshell.arguments import OPTIONS, SUBCOMMANDS
from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.visible import width

ROOT = Path(__file__).resolve().parents[1]
DONE = subprocess.CompletedProcess[bytes]


def popshell(*arguments: str, stdin: bytes = b"", home: Path, env: dict[str, str | None] | None = None) -> DONE:
    command = [sys.executable, "-m", "popshell", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=30, env=environment(home, env))


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


# -- every line runs ---------------------------------------------------------------------------------------------------

LOGIN = b"USER learner\nPASS secret\n"


def test_pipe_runs_every_line_the_last_without_newline_too(tmp_path: Path) -> None:
    done = popshell(stdin=LOGIN + b"STAT\r\n\nDELE 1\nQUIT", home=tmp_path)
    text = done.stdout.decode()
    lines = [line for line in text.split("\n") if line.startswith("C:")]
    assert lines == ["C: USER learner", "C: PASS ••••", "C: STAT", "C: ", "C: DELE 1", "C: QUIT"]
    assert "[STATE: UPDATE]" in text
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.returncode == 1, "the empty line was refused"


def test_lines_of_the_command_line(tmp_path: Path) -> None:
    done = popshell("-c", "USER learner", "-c", "PASS secret", "--send", "STAT", stdin=b"NOOP\n", home=tmp_path)
    lines = [line for line in done.stdout.decode().split("\n") if line.startswith("C:")]
    assert lines == ["C: USER learner", "C: PASS ••••", "C: STAT"], "standard input is not read, no QUIT is sent"
    assert done.returncode == 0
    assert b"none is sent by itself" in done.stdout
    quits = popshell("-c", "USER learner", "-c", "PASS secret", "-c", "DELE 1", "-c", "QUIT", home=tmp_path)
    assert b"none is sent by itself" not in quits.stdout
    refused = popshell("--json", "-c", "STAT", home=tmp_path)
    assert refused.returncode == 1
    assert json.loads(refused.stdout.splitlines()[-1])["type"]


def test_file_as_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(LOGIN + b"STAT\nQUIT")
    with script.open("rb") as file:
        command = [sys.executable, "-m", "popshell"]
        done = subprocess.run(command, stdin=file, capture_output=True, timeout=30, env=environment(tmp_path))
    assert done.returncode == 0
    assert b"[OK] S: +OK 7 7528" in done.stdout


def test_nothing_on_standard_input(tmp_path: Path) -> None:
    assert popshell(home=tmp_path).returncode == 0
    command = [sys.executable, "-m", "popshell"]
    closed = subprocess.run([*command], stdin=subprocess.DEVNULL, capture_output=True, env=environment(tmp_path))
    assert closed.returncode == 0


@pytest.mark.parametrize(
    ("stdin", "code"),
    [
        (b"CAPA\nQUIT\n", 0),
        (b"STAT\nQUIT\n", 1),
        (LOGIN + b"RETR 99\nSTAT\nQUIT\n", 1),
        (b":nosuch\nQUIT\n", 2),
        (b"QUIT\nSTAT\n", 3),
        (b"STAT\nQUIT\nNOOP\n", 3),
        (b":drop\nSTAT\n", 3),
    ],
)
def test_exit_code(stdin: bytes, code: int, tmp_path: Path) -> None:
    assert popshell(stdin=stdin, home=tmp_path).returncode == code


def test_stop_on_err(tmp_path: Path) -> None:
    done = popshell("--stop-on-err", stdin=b"CAPA\nSTAT\nNOOP\nQUIT\n", home=tmp_path)
    assert b"C: STAT" in done.stdout
    assert b"C: NOOP" not in done.stdout
    assert done.returncode == 1


def test_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(LOGIN + b"RETR 6\n" * 60)
    command = f"{sys.executable} -m popshell < {tmp_path}/lines | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, env=environment(tmp_path))
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_json_is_records_on_stdout_and_words_on_stderr(tmp_path: Path) -> None:
    done = popshell("--json", stdin=LOGIN + b":help\nRETR 3\nSTAT\nQUIT", home=tmp_path)
    records = [json.loads(line) for line in done.stdout.decode("ascii").split("\n")[:-1]]
    assert [r["command"] and r["command"]["line"] for r in records if r["type"] == "exchange"] == [
        None,
        "USER learner",
        "PASS ••••",
        "RETR 3",
        "STAT",
        "QUIT",
    ]
    assert done.returncode == 0
    assert b":explain LINE" in done.stderr
    assert b"secret" not in done.stdout


# -- hosts -------------------------------------------------------------------------------------------------------------


def test_host_that_does_not_answer_is_exit_3_and_no_line_runs(tmp_path: Path) -> None:
    done = popshell("127.0.0.1:1", stdin=b"STAT\n", home=tmp_path)
    assert done.returncode == 3
    assert b"Nothing listens at 127.0.0.1:1" in done.stdout
    assert b"C: STAT" not in done.stdout


def test_batch_on_a_real_server_needs_yes(tmp_path: Path, peer: Peer) -> None:
    lines = b"USER a\nPASS b\nDELE 1\nQUIT\n"
    done = popshell(f"127.0.0.1:{peer.port}", stdin=lines, home=tmp_path)
    assert peer.heard == ["USER a", "PASS b", "QUIT"]
    assert b":unlock" in done.stdout
    assert done.returncode == 2
    peer.heard.clear()
    done = popshell("--yes", f"127.0.0.1:{peer.port}", stdin=lines, home=tmp_path)
    assert peer.heard == ["USER a", "PASS b", "DELE 1", "QUIT"]
    assert done.returncode == 0


def test_stls_refused_or_not_offered_ends_with_the_reason(tmp_path: Path, peer: Peer) -> None:
    peer.answers["STLS"] = b"-ERR not here\r\n"
    done = popshell(f"127.0.0.1:{peer.port}", "--tls", "stls", stdin=b"USER a\nPASS b\n", home=tmp_path)
    assert peer.heard == ["STLS"]
    assert done.returncode == 3
    assert b"TLS could not be set up" in done.stdout


def test_other_protocol_is_named(tmp_path: Path) -> None:
    server = Peer(greeting=b"* OK IMAP4rev1 ready\r\n")
    done = popshell(f"127.0.0.1:{server.port}", stdin=b"STAT\n", home=tmp_path)
    server.close()
    assert done.returncode == 3
    assert b"IMAP" in done.stdout
    assert server.heard == []


# -- arguments ---------------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.run(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--nosuch"], "--nosuch"),
        (["--tls", "maybe"], "maybe"),
        (["a", "b"], "b is a word too many"),
        (["serve", "x"], "x is a word too many"),
        (["http://h"], "http://h"),
        (["h:0"], "h:0"),
        (["h:99999"], "h:99999"),
        (["--port", "1"], "serve"),
        (["--fix-dialogues"], "lint"),
        (["--port", "x", "serve"], "x"),
        (["--lang", "klingon"], "klingon"),
        (["--lessons", "/no/such"], "/no/such"),
        (["--account", "nopassword"], "NAME:PASSWORD"),
        (["--account", "a b:c"], "NAME:PASSWORD"),
        (["--maildrop", "/no/such"], "/no/such"),
        (["--ca"], "--ca"),
        (["lint", "--port", "1"], "--port does nothing here, so it is refused. It goes with `popshell serve`"),
        (["serve", "--port", "70000"], "65535"),
        (["serve", "--port", "-1"], "65535"),
        (["serve", "--account", "a:b", "--account", "a:c"], "once only"),
        (["--ca", "/no/such"], "/no/such"),
        (["--ca", "/etc/passwd", "h"], "no certificate in the file"),
        (["serve", "--tls", "none"], "--tls does nothing here, so it is refused. It goes with `popshell HOST`"),
        (["lint", "--insecure"], "--insecure does nothing here, so it is refused. It goes with `popshell HOST`"),
        (["--require-tls", "h:1"], "--require-tls does nothing here, so it is refused. It goes with `popshell serve`"),
        (
            ["--maildrop", "/tmp", "h:1"],
            "--maildrop does nothing here, so it is refused. It goes with `popshell serve`",
        ),
        (["--account", "a:b", "h:1"], "--account does nothing here, so it is refused. It goes with `popshell serve`"),
        (["pop://mei:secret@h"], "never a password"),
        (["pop://a%0D%0AQUIT@h"], "not an address"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_are_exit_2_and_said(
    argv: list[str], word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POPSHELL_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert word in err
    assert out == ""
    assert "Traceback" not in err


def test_ascii_in_plain_is_ascii(tmp_path: Path) -> None:
    typed = b"USER learner\nPASS secret\nRETR 1\nDELE 1\n:state\n:help DELE\nQUIT\n"
    for argv, environ in ((["--ascii"], {}), ([], {"PYTHONIOENCODING": "ascii"})):
        done = subprocess.run(
            [sys.executable, "-m", "popshell", "--plain", "--lang", "en", *argv],
            input=typed, capture_output=True, env=environment(tmp_path, environ), check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0
        ours = [row for row in done.stdout.split(b"\n") if not row.startswith(b"S:")]
        assert all(row.isascii() for row in ours), [row for row in ours if not row.isascii()]
        assert b"\\x" not in b"".join(ours)


def test_a_password_in_an_address_is_repeated_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("pop://mei:C4n4ry@h", "mei:C4n4ry@h", "pop://mei:C4n4ry;AUTH=*@h"):
        code, out, err = run(capsys, address)
        assert code == 2
        assert "C4n4ry" not in out + err


def test_auth_that_the_input_leaves_open_is_a_failure(tmp_path: Path) -> None:
    done = popshell("--plain", "--lang", "en", stdin=b"AUTH PLAIN\n", home=tmp_path)
    assert done.returncode == 3
    assert b"in the middle of AUTH" in done.stdout


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{} <&-", 0),
        ("{} <&- >&-", 0),
        ("{} --version >&-", 0),
        ("{} --bogus 2>&-", 2),
        ("{} --version >/dev/full", 3),
        ("printf 'NOOP\\nQUIT\\n' | {} >/dev/full", 3),
    ],
)
def test_streams_that_are_closed_or_full_bring_no_traceback(command: str, code: int, tmp_path: Path) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("the kernel has no /dev/full")
    line = command.format(f"{shlex.quote(sys.executable)} -m popshell")
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, env=environ, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == code
    for said in (done.stdout, done.stderr):
        assert b"Traceback" not in said
        assert b"Exception" not in said
        assert b"AttributeError" not in said
        assert b"should not have happened" not in said
    if "NOOP" in command:
        assert b"The output cannot be written: the disk is full." in done.stderr


def test_a_wrong_option_is_explained_in_the_language_of_the_user() -> None:
    cases: list[tuple[list[str], dict[str, str]]] = [
        (["--nosuch"], {"en": "no option --nosuch", "zh-Hant": "沒有 --nosuch"}),
        (["--plian"], {"en": "Did you mean --plain?", "zh-Hant": "你要的是不是 --plain？"}),
        (["--acount=a:C4n4ry"], {"en": "Did you mean --account?", "zh-Hant": "你要的是不是 --account？"}),
        (["--tls", "no"], {"en": "cannot be no; choose one of: ", "zh-Hant": "不能是 no；請選一個："}),
        (["--ca"], {"en": "--ca: it needs a value", "zh-Hant": "--ca：後面要有值"}),
        (["h", "--pin", "sha256:x"], {"en": "'sha256:x' is no pin", "zh-Hant": "'sha256:x' 不是公開金鑰的指紋"}),
        (["h", "--sni", "."], {"en": "'.' is no name of a host", "zh-Hant": "'.' 不是主機名稱"}),
        (["h", "--sni", "a b"], {"en": "'a b' is no name of a host"}),
        (["h", "--address", "h"], {"en": "'h' is no numeric address", "zh-Hant": "'h' 不是數字位址"}),
        (["serve", "--port", "x"], {"en": "'x' is not of the kind", "zh-Hant": "這裡要的是數字，'x' 不是"}),
        (["ping", "h", "--timeout", "0"], {"en": "seconds, above 0 and at most a day", "zh-Hant": "大於 0，最多一天"}),
        (["--plain=x"], {"en": "without a value", "zh-Hant": "後面不加值"}),
        (["--ca", "a", "check", "h", "--ca=b"], {"en": "--ca: given more than once", "zh-Hant": "--ca：給了不只一個"}),
        (["lesson", "new"], {"en": "missing: NAME", "zh-Hant": "少了：NAME"}),
        (["lesson", "old", "x"], {"en": "choose one of: ", "zh-Hant": "請選一個："}),
    ]
    wrong = []
    for argv, wanted in cases:
        for tag, text in wanted.items():
            try:
                arguments.parse_arguments(argv, Catalog((bundled(),)).words(tag))
                wrong.append((argv, tag, "accepted"))
            except arguments.Usage as error:
                if text not in str(error) or "C4n4ry" in str(error):
                    wrong.append((argv, tag, str(error)))
    assert not wrong


def test_an_option_of_tls_is_refused_where_there_is_none() -> None:
    """`ping` and `watch` never begin TLS with `--tls none`; a shell does when STLS is typed, and then they hold."""
    options = (
        ["--ca", "f"],
        ["--pin", "sha256:" + 64 * "0"],
        ["--cert", "f"],
        ["--key", "f"],
        ["--tls-min", "1.3"],
        ["--sni", "n"],
    )
    wrong = []
    for command, option, tag in product(("ping", "watch", "check", ""), (*options, ["--insecure"]), LANGUAGES):
        argv = [*([command] if command else []), "h", *option, "--tls", "none"]
        try:
            arguments.parse_arguments(argv, Catalog((bundled(),)).words(tag))
            said = ""
        except arguments.Usage as error:
            said = str(error)
        if (option[0] in said and "--tls none" in said) != (command in ("ping", "watch")):
            wrong.append((argv, said))
    assert not wrong


def test_every_message_of_argparse_that_is_translated_is_one_of_argparse() -> None:
    import argparse

    source = Path(argparse.__file__).read_text("utf-8").replace("'\n                   '", "").replace('"', "'")
    assert [message for message in arguments.ARGPARSE if f"'{message}'" not in source] == []


def test_help_of_every_command_is_in_one_language_and_no_wider_than_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wrong = []
    for language in LANGUAGES:
        words = Catalog((bundled(),)).words(language)
        for command in arguments.COMMANDS:
            text = arguments.parser(command, words).format_help()
            rows = text.splitlines()
            wrong += [(command, row) for row in rows if width(row) > 80]
            if rows[0] != f"{words('cli.usage')}{arguments.synopsis(command)}":
                wrong.append((command, rows[0]))
            if words("cli.heading", title=words("cli.examples")) not in rows:
                wrong.append((command, "no examples"))
            if language != "en" and ("usage:" in text or "positional" in text or "optional" in text):
                wrong.append((command, "English in it"))
    assert not wrong


_WITHOUT_POSIX = """
import asyncio, sys
for name in ("fcntl", "termios", "tty", "pwd", "grp", "resource", "pty"):
    sys.modules[name] = None
def nothing(*_): raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = asyncio.SelectorEventLoop.remove_signal_handler = nothing
from popshell.__main__ import main
sys.argv = ["popshell", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("argv", "typed", "wanted"),
    [
        (["--plain"], "USER learner\nPASS secret\nSTLS\nRETR 2\nQUIT\n", b"erased"),
        (["--json"], "USER learner\nPASS secret\nSTAT\nQUIT\n", b'"STAT"'),
        (["learn", "--plain"], "QUIT\n:next\n", b"Exercise 2 of"),
        (["lint", "own"], "", b"3 files, "),
    ],
)
def test_plain_needs_nothing_that_windows_lacks(argv: list[str], typed: str, wanted: bytes, tmp_path: Path) -> None:
    """What POSIX alone has is taken away: terminals' settings, file locks, signals in the event loop."""
    if "own" in argv:
        (tmp_path / "own").mkdir()
        popshell("lesson", "new", "01-mine", "--lessons", str(tmp_path / "own"), home=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_POSIX, "--lang", "en", *argv],
        input=typed.encode(), capture_output=True, env=environment(tmp_path), check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert wanted in done.stdout, (done.stdout[-800:], done.stderr[-800:])
    assert b"Traceback" not in done.stderr
    assert b"should not have happened" not in done.stdout + done.stderr


def test_account_error_does_not_repeat_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, "--account", "a b:C4n4ry")
    assert "C4n4ry" not in err


@pytest.mark.parametrize(
    ("environ", "argv", "chinese"),
    [
        ({"LC_ALL": "zh_TW.UTF-8"}, [], True),
        ({"LANG": "zh_HK"}, [], True),
        ({"LANG": "zh_CN.UTF-8"}, [], False),
        ({"LANG": "zh_TW.UTF-8", "POPSHELL_LANG": "en"}, [], False),
        ({"LANG": "zh_TW.UTF-8"}, ["--lang", "en"], False),
        ({"LANG": "C", "POPSHELL_LANG": "zh-Hant"}, [], True),
        ({"LANG": "C"}, ["--lang=zh-Hant"], True),
    ],
)
def test_language_of_help_follows_option_environment_locale(
    environ: dict[str, str],
    argv: list[str],
    chinese: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "POPSHELL_LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        cli.run([*argv, "--help"])
    assert ended.value.code == 0
    assert any("\u4e00" <= ch <= "\u9fff" for ch in capsys.readouterr().out) == chinese


def test_help_names_every_option_and_subcommand() -> None:
    words = Catalog((bundled(),)).words("en")
    shell = arguments.parser("", words).format_help()
    assert [name for name in arguments.SUBCOMMANDS if f"\n  {name} " not in shell] == []
    told = {command: arguments.parser(command, words).format_help() for command in arguments.COMMANDS}
    wrong = []
    for option in arguments.OPTIONS:
        for command, text in told.items():
            named = re.search(rf"(?<![\w-]){option.names[0]}(?![\w-])", text) is not None
            if named != option.belongs_to(command):
                wrong.append((option.names[0], command))
    assert not wrong
    assert "--port" not in shell
    assert "--port" in told["serve"]
    assert "pop://" in shell


def test_the_first_word_that_is_no_option_chooses_the_command() -> None:
    words = Catalog((bundled(),)).words("en")
    cases: list[tuple[list[str], dict[str, object]]] = [
        (["--port", "0", "serve", "--lang", "en"], {"command": "serve", "port": 0, "lang": "en"}),
        (["serve", "--lang", "en", "--port", "0"], {"command": "serve", "port": 0, "lang": "en"}),
        (["--log", "learn", "learn"], {"command": "learn", "log": "learn", "lesson": None}),
        (["learn", "serve"], {"command": "learn", "lesson": "serve"}),
        (["--plain", "learn", "--yes", "dots/3", "--ascii"], {"command": "learn", "lesson": "dots/3", "ascii": True}),
        (["--", "learn"], {"command": "", "address": "learn"}),
        (["--plain", "--", "serve"], {"command": "", "address": "serve", "plain": True}),
        (["--ca", "lint", "h", "--yes"], {"command": "", "address": "h", "ca": "lint"}),
        (["--tls=none", "h"], {"command": "", "address": "h", "tls": "none"}),
        (["lint", "mine"], {"command": "lint", "directory": "mine"}),
        (
            ["lesson", "--lessons", "mine", "new", "20-x"],
            {"command": "lesson", "name": "20-x", "lessons": "mine"},
        ),
        (["serve", "--account", "a:b", "--account", "c:d"], {"command": "serve", "account": ["a:b", "c:d"]}),
        ([], {"command": "", "address": None, "tls": None, "account": None}),
    ]
    wrong = []
    for argv, wanted in cases:
        found = arguments.parse_arguments(argv, words)
        wrong += [(argv, name, getattr(found, name)) for name, value in wanted.items() if getattr(found, name) != value]
    assert not wrong


def test_no_arguments_are_what_argparse_makes_of_none() -> None:
    words = Catalog((bundled(),)).words("en")
    found = vars(arguments.parser("", words).parse_intermixed_args([]))
    assert {name: value or None for name, value in found.items()} == {
        name: getattr(arguments.Arguments(), name) or None for name in found
    }


def test_version(tmp_path: Path) -> None:
    done = popshell("--version", home=tmp_path)
    assert done.stdout == f"popshell {__version__}\n".encode()


def test_password_stands_neither_in_argv_nor_environment(tmp_path: Path) -> None:
    """sec-K1: the way a password goes in is standard input; what /proc shows to others has none."""
    command = [sys.executable, "-m", "popshell"]
    with started.Real(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"USER learner\nPASS C4n4ry-77\n")
        process.stdin.flush()
        end = time.monotonic() + 20
        seen = b""
        while b"[AUTH]" not in seen and time.monotonic() < end:
            seen += os.read(process.stdout.fileno(), 65536)
        shown = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        assert b"C4n4ry" not in shown + seen
        process.stdin.close()
        assert process.wait(20) == 1
        process.stdout.read()


# -- serve -------------------------------------------------------------------------------------------------------------


def test_serve_prints_its_address_and_ends_at_sigterm(tmp_path: Path) -> None:
    import socket

    command = [sys.executable, "-m", "popshell", "serve", "--port", "0", "--account", "a:b"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path)
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.fullmatch(r"PopShell practice server on 127\.0\.0\.1:(\d+)\n", line)
        assert found, line
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as client:
            stream = client.makefile("rwb")
            assert stream.readline().startswith(b"+OK")
            stream.write(b"USER a\r\nPASS b\r\nQUIT\r\n")
            stream.flush()
            assert [row[:3] for row in stream.readlines()] == [b"+OK"] * 3
        process.terminate()
        assert process.wait(20) == 0


# -- lessons of one's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "variable"])
def test_lint_and_lesson_new_take_the_lessons_that_are_asked_for(way: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    option = ["--lessons", str(own)] if way == "option" else []
    env = {"POPSHELL_LESSONS": str(own)} if way == "variable" else {}
    assert popshell("lesson", "new", "01-mine", *option, home=tmp_path, env={**env}).returncode == 0
    assert (own / "en" / "01-mine.md").is_file()
    done = popshell("lint", *option, home=tmp_path, env={**env})
    assert (done.returncode, done.stdout) == (0, b"3 files, 2 dialogues: all true.\n")


@pytest.mark.parametrize("subcommand", ["learn", "lint", "lesson new 02-more", ""])
def test_lessons_that_are_not_there_are_named(subcommand: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    done = popshell(*subcommand.split(), home=tmp_path, env={"POPSHELL_LESSONS": str(gone)})
    assert done.returncode == 2
    assert str(gone).encode() in done.stderr
    assert not gone.exists()


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_learn_without_a_course_says_so_and_does_not_play_another(language: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "maildrops" / "default").mkdir(parents=True)
    (own / "maildrops" / "default" / "1.eml").write_text("Subject: x\n\nHello\n")
    done = popshell("learn", "--lessons", str(own), "--lang", language, home=tmp_path)
    assert done.returncode == 2
    assert not done.stdout
    assert "course.toml" in done.stderr.decode()
    assert f"popshell lesson new 01-name --lessons {own}" in done.stderr.decode()
    # To the shell itself a folder of mails alone is of use.
    done = popshell("--lessons", str(own), stdin=LOGIN + b"STAT\nQUIT", home=tmp_path)
    assert b"+OK 1 " in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["messages.toml", "replies.toml"])
@pytest.mark.parametrize("tag", ["en", "zh-Hant"])
@pytest.mark.parametrize("what", ["pipe", "device", "deep"])
def test_words_of_a_stranger_that_cannot_be_read_are_named(what: str, tag: str, name: str, tmp_path: Path) -> None:
    """Neither a traceback nor a server that falls silent; lint says more."""
    own = tmp_path / "own"
    (own / tag).mkdir(parents=True)
    file = own / tag / name
    if what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file.symlink_to("/dev/zero")
    else:
        file.write_text(f"a = {'[' * 5000}{']' * 5000}\n")
    done = popshell("--lessons", str(own), stdin=LOGIN + b"LANG zh-Hant\nQUIT", home=tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"cannot be read: " in done.stderr
    assert not done.stdout
    done = popshell("lint", "--lessons", str(own), home=tmp_path)
    assert done.returncode == 1
    assert f"{tag}/{name}:".encode() in done.stdout


def test_the_answer_to_a_hidden_question_never_goes_out_as_a_command(tmp_path: Path) -> None:
    """Whatever becomes of the command that asks for it, and of a slip of one (sec-K1)."""
    server = Peer(greeting=b"+OK hi\r\n")

    def check(command: str, heard: list[str], *more: str) -> None:
        for options in ["--plain", *more], ["--json", *more]:
            server.heard.clear()
            lines = f"{command}\nC4n4ry\nQUIT\n".encode()
            done = popshell(f"127.0.0.1:{server.port}", *options, stdin=lines, home=tmp_path)
            assert server.heard == [*heard, "QUIT"]
            assert b"C4n4ry" not in done.stdout + done.stderr

    each(
        [
            (":apop mei", []),
            (":apop", []),
            (":apop mei x", []),
            (":apop mei x\n:apop mei", []),
            (":auth NOSUCH mei", []),
            (":auth PLAIN mei x", []),
            (":auht PLAIN mei", []),
            (":pass", []),
            (":password", []),
            ("USER mei\nPASS x\n:auth PLAIN mei", ["USER mei", "PASS x"]),
            ("USER mei\nPASS", ["USER mei", "PASS"]),
            ("USER mei\nPASS", ["USER mei", "PASS"], "--password-command", "false"),
            (":apop mei", [], "--password-command", "false"),
            (":auth PLAIN mei", [], "--password-command", "false"),
        ],
        check,
    )
    server.heard.clear()
    popshell(f"127.0.0.1:{server.port}", "--plain", stdin=b":auth NOSUCH mei\nSTAT\nFROB\nQUIT\n", home=tmp_path)
    assert server.heard == ["STAT", "FROB", "QUIT"]  # a command is none, and ends the wait for one
    own = trustme.CA().issue_cert("mei@example.org")
    key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked = key.private_bytes(*form, serialization.BestAvailableEncryption(b"C4n4ry"))
    (tmp_path / "own.pem").write_bytes(own.cert_chain_pems[0].bytes() + locked)
    server.heard.clear()
    lines = f":connect 127.0.0.1:{server.port} --tls stls --cert {tmp_path / 'own.pem'}\nC4n4ry\nSTAT\n".encode()
    popshell(f"127.0.0.1:{server.port}", "--plain", stdin=lines, home=tmp_path)
    assert server.heard == ["STLS"]  # it was refused
    server.close()


def test_what_follows_a_refused_login_is_masked(tmp_path: Path) -> None:
    server = Peer(greeting=b"+OK hi\r\n")
    server.answers["AUTH"] = server.answers["PASS"] = b"-ERR no\r\n"
    for login in (b"AUTH LOGIN\n", b"USER mei\nPASS\n"):
        done = popshell(f"127.0.0.1:{server.port}", "--json", stdin=login + b"C4n4ry\nQUIT\n", home=tmp_path)
        assert b"C4n4ry" not in done.stdout + done.stderr
    server.close()


def test_a_subcommand_lists_its_own_options_and_refuses_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """By the table: an option is in the help of a command, or giving it says where it belongs."""
    words = {"": [], "lesson": ["new", "01-x"], "run": ["x.pop"], "explain": ["x"], "ping": ["h"]}
    values = {"type": "1", "choices": "auto", "metavar": "x"}

    def check(command: str) -> None:
        argv = [command] if command else []
        with pytest.raises(SystemExit):
            cli.run([*argv, "--help"])
        listed = set(re.findall(r"(?m)^  (--[a-z0-9-]+)", capsys.readouterr().out))
        assert listed == {option.names[0] for option in OPTIONS if option.belongs_to(command)}
        for option in OPTIONS:
            if option.names[0] not in listed:
                value = next((values[key] for key in values if key in option.settings), "x")
                given = [value] if option.takes_value else []
                assert cli.run([*argv, *words.get(command, []), option.names[0], *given]) == 2
                assert f"{option.names[0]} does nothing here" in capsys.readouterr().err, option.names

    each([(command,) for command in ("", *SUBCOMMANDS)], check)
    assert "--notes" not in {option.names[0] for option in OPTIONS if option.belongs_to("ping")}
