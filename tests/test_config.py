"""The configuration: what overrules what, where a value comes from, and how a file that means nothing is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from support import ROOT
from terminal.driver import Peer

from popshell import cli, config
from popshell.arguments import parse_arguments, read_destination
from popshell.config import Config, ConfigError, Value, config_path, read_config
from popshell.course.catalog import LANGUAGES, Catalog, bundled
from popshell.net.address import Destination, TlsMode, Way, parse_address
from popshell.net.errors import NetError

FILE = """
language = "zh-Hant"
notes = "brief"
timeout = 5
ascii = true

[keys]
f1 = ":help"

[connections.work]
host = "pop.example.org"
port = 1110
tls = "stls"
user = "mei"
ca = "ca.pem"
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_options_overrule_variables_overrule_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    assert read_config(None, {}).values["language"] == Value("", "default")
    assert read_config(path, {}).values["language"] == Value("zh-Hant", "config.toml:2")
    held = read_config(path, {"POPSHELL_LANG": "en"})
    assert held.values["language"] == Value("en", "POPSHELL_LANG")
    assert held.with_options({"language": "zh-Hant"}).values["language"] == Value("zh-Hant", "--lang")
    assert held.values["timeout"] == Value(5.0, "config.toml:4")
    assert held.with_options({"timeout": 7.0, "notes": None}).values["notes"] == Value("brief", "config.toml:3")


def test_connections_and_keys(tmp_path: Path) -> None:
    held = read_config(written(tmp_path, FILE), {})
    assert held.keys == {"f1": ":help"}
    work = {name: value for name, value in vars(held.connections["work"]).items() if value}
    wanted: dict[str, object] = {"name": "work", "host": "pop.example.org", "port": 1110, "tls": "stls"}
    assert work == {**wanted, "user": "mei", "ca": "ca.pem", "look_only": True}


def test_connect_takes_names_and_the_options_of_a_connection(tmp_path: Path) -> None:
    held, words = read_config(written(tmp_path, FILE), {}), Catalog((bundled(),)).words("en")
    given, work = parse_arguments(["--ca", "run.pem"], words), parse_address("pop.example.org:1110", TlsMode.STLS)
    other = parse_address("other:110")
    here = Destination(other, Way(Path("run.pem")), timeout=5.0)
    cases = {
        "work": Destination(work._replace(user="mei"), Way(Path("ca.pem")), timeout=5.0),
        "work --tls none --timeout 7": Destination(
            work._replace(user="mei", tls=TlsMode.NONE), Way(Path("ca.pem")), timeout=7.0
        ),
        "--insecure other:110": here._replace(insecure=True),
        "other:110 --ca 'a b.pem'": here._replace(way=Way(Path("a b.pem"))),
        "--tls implicit": here._replace(address=other._replace(tls=TlsMode.IMPLICIT)),
        "practice": Destination(None, Way(Path("run.pem")), timeout=5.0),
    }
    found = {text: read_destination(text, here, given, held, words) for text in cases}
    assert found == cases
    for text, says in {
        "other --yes": ":connect` has no option --yes",
        "other --tsl none": ":connect` has no option --tsl",
        "other --tls": ":help connect",
        "other --tls later": ":help connect",
        "other mei": "mei is a word too many",
        "'other": "quotation mark",
    }.items():
        with pytest.raises(NetError) as refused:
            read_destination(text, here, given, held, words)
        assert says in str(refused.value.facts["reason"]), text


def test_a_file_that_means_nothing_is_refused_with_its_line(tmp_path: Path) -> None:
    cases: list[tuple[str | bytes, str, int]] = [
        ("language = 'klingon'", "choice", 1),
        ("\n\nlanguage = 3", "choice", 3),
        ("colour = 'x'", "unknown", 1),
        ("notes = 'full'\ntimeout = 0", "seconds", 2),
        ("timeout = true", "seconds", 1),
        ("timeout = 86401", "seconds", 1),
        ("timeout = nan", "seconds", 1),
        ("ascii = 'yes'", "flag", 1),
        ("lessons = 3", "text", 1),
        ('lessons = "a\\u001b[2J"', "text", 1),
        ("keys = 3", "no-table", 1),
        ("[keys]\nenter = ':help'", "no-key", 2),
        ("[keys]\nf25 = ':help'", "no-key", 2),
        ("[keys]\nf1 = 3", "text", 2),
        ("connections = 3", "no-table", 1),
        ("[connections.learn]\nhost = 'h'", "connection-subcommand", 1),
        ("[connections.'a b']\nhost = 'h'", "connection-name", 1),
        ("[connections.practice]\nhost = 'h'", "connection-name", 1),
        ("[connections.a]\nport = 110", "connection-host", 1),
        ("[connections.a]\nhost = 'h'\nport = 0", "port", 3),
        ("[connections.a]\nhost = 'h'\nport = true", "port", 3),
        ("[connections.a]\nhost = 'h'\ntls = 'ssl'", "choice", 3),
        ("[connections.a]\nhost = 'h'\npassword = 'C4n4ry'", "password", 3),
        ("[connections.a]\nhost = 'h'\nname = 'x'", "unknown", 3),
        ("language = ", "syntax", 1),
        ("notes = 'full'\nnotes = 'off'", "syntax", 2),
        (b"notes = 'full'\n# \xff", "not-utf-8", 2),
        ("a = " + "[" * 5000, "unreadable", 0),
    ]
    wrong = []
    for text, code, line in cases:
        with pytest.raises(ConfigError) as refused:
            read_config(written(tmp_path, text), {})
        if (refused.value.code, refused.value.facts["line"]) != (code, line):
            wrong.append((text[:40], refused.value.code, refused.value.facts["line"]))
        if "C4n4ry" in str(refused.value.facts):
            wrong.append((text[:40], "the password is repeated", 0))
    assert not wrong


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match="unreadable"):
        read_config(tmp_path / "config.toml", {})


def test_every_reason_has_words_in_both_languages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "popshell").mkdir()
    for tag in LANGUAGES:
        written(tmp_path / "popshell", "[connections.a]\nhost = 'h'\nport = 'C4n4ry'")
        assert cli.run(["config", "--lang", tag]) == 2
        said = capsys.readouterr().err
        assert "config.toml" in said
        assert "3" in said
        assert "connections.a.port" in said
        assert "C4n4ry" not in said


def test_config_shows_what_holds_and_whence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("POPSHELL_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    (tmp_path / "popshell").mkdir()
    written(tmp_path / "popshell", 'notes = "brief"\n[connections.work]\nhost = "pop.example.org"\n')
    assert cli.run(["config", "--theme", "light"]) == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["notes", "=", '"brief"', "#", "config.toml:1"] in rows
    assert ["theme", "=", '"light"', "#", "--theme"] in rows
    assert ["language", "=", '"en"', "#", "locale"] in rows
    assert ["connections.work.host", "=", '"pop.example.org"', "#", "config.toml"] in rows
    assert cli.run(["config", "connections"]) == 0
    assert capsys.readouterr().out == "work\n"
    # What cannot be used is shown, too; a variable's language is the one that it chose, if it chose one.
    for variable, shown, source in (("zh_TW", "zh-Hant", "POPSHELL_LANG"), ("fr", "en", "locale")):
        monkeypatch.setenv("POPSHELL_LANG", variable)
        assert cli.run(["config", "--lessons", str(tmp_path / "none")]) == 0
        rows = [row.split() for row in capsys.readouterr().out.splitlines()]
        assert ["language", "=", f'"{shown}"', "#", source] in rows
        assert ["lessons", "=", f'"{tmp_path}/none"', "#", "--lessons"] in rows


def test_a_named_connection_is_connected_to_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "popshell").mkdir()
    server = Peer()
    rows = f'[connections.work]\nhost = "127.0.0.1"\nport = {server.port}\nuser = "mei"\n'
    written(tmp_path / "popshell", rows)
    done = subprocess.run(
        [sys.executable, "-m", "popshell", "--plain", "--lang", "en", "work"],
        input=b"QUIT\n", capture_output=True, timeout=30, env={**os.environ, "HOME": str(tmp_path)}, cwd=ROOT,
    )  # fmt: skip
    server.close()
    assert server.heard == ["QUIT"]
    assert done.returncode == 0
    assert cli.run(["--ca", "/no/such", "work"]) == 2
    capsys.readouterr()


def test_the_place_is_the_one_of_platformdirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for home in (str(tmp_path), ""):
        monkeypatch.setenv("XDG_CONFIG_HOME", home)
        assert Path(config_path({"XDG_CONFIG_HOME": home})) == platformdirs.user_config_path("popshell") / "config.toml"


def test_settings_of_the_program_and_of_its_tables_are_the_same() -> None:
    from popshell.net.address import TlsMode

    assert {mode.value for mode in TlsMode} == set(config.TLS_MODES)
    assert isinstance(read_config(None, {}), Config)
