"""popshell run: scripts are read, played and compared; a failure names its stage and line and holds no secret.

Contact with the practice server is in `World` (test_conformance.py), with the command line in `run`.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import Stage
from stage import run as in_stage
from support import LOGIN as LOGIN_LINES
from support import NAME, ROOT, SECRET, STAMP, each, plain, practice_server, rehearse
from test_check import fake
from test_conformance import Memory, Peer, World

from popshell import cli
from popshell.course.catalog import Catalog, bundled
from popshell.course.document import Document, Fence
from popshell.lint.lint import begins, played
from popshell.protocol.commands import State
from popshell.protocol.sasl import Credentials
from popshell.script import STAGES, Outcome, _stands, play, read_script
from popshell.server.mailserver import FREE
from popshell.session import transcript_lines
from popshell.words import Flaw

ACCOUNT = Credentials(NAME, SECRET)
LOGIN = f"C: USER {NAME}\nS: +OK*\nC: PASS {SECRET}\nS: +OK*\n"


def outcome(text: str, account: Credentials | None = ACCOUNT, **options: object) -> Outcome:
    world = World(options={"new_stamp": lambda: STAMP, **options})
    return play(read_script(text.encode()), lambda where: world.connect(), account, lambda s: world.wait(int(s)))


# -- what passes -------------------------------------------------------------------------------------------------------


def test_scripts_that_pass() -> None:
    def passes(text: str) -> None:
        found = outcome(text)
        assert not found.stage, found

    each(
        [
            ("C: CAPA\nS: +OK*\nS: …\nS: .\n",),
            ("C: CAPA\nS: +OK*\nS: [...]\nS: USER\nS: …",),
            ("# a comment\n\nS: +OK *\nC: CAPA\nC: QUIT\n",),
            ("\ufeffC: NOOP\r\nS: -ERR*\r\n",),
            (LOGIN + "C: STAT\nS: +OK {n} {size}\nC: LIST\nS: +OK {n} messages*\nS: …\nS: {n} *\nS: .\n",),
            (LOGIN + "C: UIDL 1\nS: +OK 1 {uid}\nC: UIDL\nS: +OK*\nS: 1 {uid}\nS: …\n",),
            (LOGIN + "C: LIST {beyond}\nS: -ERR*\n",),
            ("C: USER {name}\nS: +OK*\nC: PASS ••••\nS: +OK*\nC: NOOP\nC: NOOP\nS: +OK*\nS: +OK*\n",),
            ("C: APOP learner ••••\nS: +OK*\n",),
            ("C: AUTH PLAIN\nS: + \nC: ••••\nS: +OK*\n",),
            ("C: AUTH PLAIN ••••\nS: +OK*\n",),
            ("C: AUTH PLAIN\nS: +*\nC: *\nS: -ERR*\n",),
            ("@secret word\nC: USER learner\nC: PASS {word}\nS: +OK*\nS: +OK*\n",),
            ("C: QUIT\nS: +OK*\n@expect-close\n@connect\nS: +OK*\nC: QUIT\nS: +OK*\n",),
            ("@tls\n" + LOGIN + "@tls\nC: STLS\nS: -ERR*\n",),
            ("C: STLS\nS: +OK*\n@tls\n" + LOGIN,),
            (LOGIN + "@wait 700\n@expect-close\n",),
        ],
        passes,
    )


def test_every_dialogue_of_the_pages_is_a_script() -> None:
    names = [f"commands/{path.stem}" for path in sorted((ROOT / "lessons" / "en" / "commands").glob("*.md"))]
    pages = [Document(name, (ROOT / "lessons" / "en" / f"{name}.md").read_text("utf-8")) for name in names]
    blocks = [(page.path, block) for page in pages for block in played(page)]
    assert len(blocks) > 20

    def passes(where: str, block: Fence) -> None:
        text = (LOGIN if begins(block) is State.TRANSACTION else "") + "\n".join(block.rows)
        assert not (found := outcome(text)).stage, found

    each(blocks, passes)


def test_a_transcript_is_a_script() -> None:
    world = World(options={"new_stamp": None})
    lines = [f"USER {NAME}", f"PASS {SECRET}", "STAT", "LIST", "UIDL", "RETR 1", "TOP 5 0", "NOPE", "DELE 1", "QUIT"]
    text = "\n".join(transcript_lines(rehearse(lines, world.server), private="private"))
    assert SECRET not in text
    assert not (found := outcome(text, new_stamp=None)).stage, found
    assert outcome(text.replace("S: +OK 7", "S: +OK 8")).stage == "reply"
    twice = "\n".join(transcript_lines([*rehearse(["QUIT"], world.server), *rehearse(["NOOP", "QUIT"], world.server)]))
    assert twice.count("@connect") == 1
    assert not (found := outcome(twice, new_stamp=None)).stage, found


# -- what fails --------------------------------------------------------------------------------------------------------


def test_each_failure_has_its_stage_and_line() -> None:
    def fails(text: str, stage: str, line: int, code: str) -> None:
        found = outcome(text)
        assert (found.stage, found.line, found.code) == (stage, line, code), found
        assert STAGES[stage]

    each(
        [
            ("S: +OK nothing else\n", "greeting", 1, "differs"),
            ("C: USER learner\nS: -ERR*\n", "login", 2, "differs"),
            ("C: AUTH PLAIN\nS: +*\nC: AGEAYg==\nS: +OK*\n", "login", 4, "differs"),
            (LOGIN + "C: STAT\nS: +OK 8 *\n", "reply", 6, "differs"),
            (LOGIN + "C: STAT\n# not seven\n\nS: +OK 8 *\n", "reply", 8, "differs"),
            (LOGIN + "C: LIST\nS: +OK*\nS: 1 *\nS: .\n", "reply", 8, "differs"),
            (LOGIN + "C: LIST 1\nS: +OK*\nS: 2 *\n", "reply", 7, "differs"),
            (LOGIN + "C: STLS\nS: +OK*\n", "tls", 6, "differs"),
            (LOGIN + "@tls\n", "tls", 5, "differs"),
            ("C: QUIT\nS: -ERR*\n", "end", 2, "differs"),
            ("C: QUIT\nS: +OK*\nC: NOOP\nS: -ERR*\n", "reply", 3, "closed"),
            ("@expect-close\n", "end", 1, "not-closed"),
            (LOGIN + "@wait\t700\nC: NOOP\nS: +OK*\n", "reply", 6, "closed"),
            ("C: AUTH CRAM-MD5 ••••\n", "script", 1, "masked"),
            (LOGIN + "C: UIDL 1\nS: +OK {n} {n}\n", "reply", 6, "differs"),
        ],
        fails,
    )


def test_what_is_shown_of_a_failure() -> None:
    found = outcome(f"C: USER {NAME}\nS: +OK*\nC: PASS {SECRET}\nS: +OK {SECRET} maildrop has 9 messages *\n")
    assert found.rows[0] == "  C: PASS ••••"
    assert found.rows[1].startswith("- S: +OK •••• maildrop has 9")
    assert found.rows[2].startswith("+ S: +OK maildrop has 7")
    assert SECRET not in repr(found)
    assert outcome(LOGIN + "C: STAT\nS: +OK 8 *\n").rows[-1] == f"     {' ' * 4}^"
    silent = play(read_script(b"C: NOOP\nS: +OK*\n"), lambda where: Peer((b"+OK\r\n",), False))
    assert (silent.stage, silent.code, silent.line) == ("reply", "no-reply", 2)
    cut = play(read_script(b"C: NOOP\nS: +OK*\n"), lambda where: Peer((b"+OK\r\n",), True))
    assert (cut.stage, cut.code) in {("reply", "closed"), ("connect", "network")}
    half = play(
        read_script(b"C: RETR 1\nS: +OK*\nS: [...]\nS: .\n"), lambda where: Peer((b"+OK\r\n", b"+OK\r\nx\r\n"), False)
    )
    assert (half.stage, half.code, half.line) == ("reply", "no-reply", 4)
    alien = play(read_script(b"C: NOOP\nS: -ERR*\n"), lambda where: Peer((b"220 smtp\r\n",), False))
    assert (alien.stage, alien.received) == ("greeting", "220 smtp")


def test_scripts_that_cannot_be_read() -> None:
    def refused(data: bytes, line: int, code: str) -> None:
        with pytest.raises(Flaw) as caught:
            read_script(data)
        assert (caught.value.facts["line"], caught.value.code) == (line, code)

    each(
        [
            (b"", 1, "script-empty"),
            (b"# nothing\n", 1, "script-empty"),
            (b"C: A\nX: B\n", 2, "bad-row"),
            (b"C:A\n", 1, "bad-row"),
            ("C: …".encode(), 1, "bad-row"),
            (b"\n@nothing\n", 2, "unknown-directive"),
            (b"@wait\n", 1, "bad-argument"),
            (b"@wait 1e9\n", 1, "bad-argument"),
            (b"@wait 3601\n", 1, "bad-argument"),
            (b"@secret A B\n", 1, "bad-argument"),
            (b"C: A\nC: \xff\n", 2, "not-utf-8"),
            (b"C: A\0\n", 1, "bad-row"),
            (b"S: {a} {b} {c} {d} {e}\n", 1, "many-captures"),
            (b"#" * (1024 * 1024 + 1), 1, "script-too-long"),
        ],
        refused,
    )


def test_wildcards() -> None:
    def stands(row: str, line: str, captured: dict[str, str] | None) -> None:
        assert _stands(row, line, {"known": "k*"}) == (None if captured is None else {"known": "k*", **captured})

    each(
        [
            ("a", "a", {}),
            ("a", "b", None),
            ("*", "", {}),
            ("a*", "a", {}),
            ("*a", "ba", {}),
            ("*a*b", "aab", {}),
            ("*ab", "aab", {}),
            ("a*b*c", "abc", {}),
            ("a.c", "abc", None),
            ("{n} *", "7 messages", {"n": "7"}),
            ("* {n} messages*", "maildrop has 7 messages (1)", {"n": "7"}),
            ("*{n}", "a b cd", {"n": "d"}),
            ("{a}-{b}", "1-2", {"a": "1", "b": "2"}),
            ("{a} {a}", "1 1", {"a": "1"}),
            ("{a} {a}", "1 2", None),
            ("{a}", "two words", None),
            ("{a}", "x" * 81, None),
            ("{known}", "k*", {}),
            ("{known}", "kx", None),
            ("{secret}", "{secret}", {}),
            ("{secret}", "a", None),
            ("••••!", "anything!", {}),
            ("{Not}", "{Not}", {}),
        ],
        stands,
    )
    # Many wildcards over a long line of a hostile server end.
    assert _stands("*a" * 30 + "b", "a" * 1_000_000, {}) is None
    assert _stands("{a}-{b}-{c}-{d}*x", "-" * 100_000, {}) is None


ROW = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["C: ", "S: ", "@", "#"]).flatmap(lambda head: st.text(max_size=20).map(head.__add__)),
    st.sampled_from(
        [
            *("S: +OK*", "S: …", "S: [...]", "S: .", "S: {n} {size}", "C: LIST {n}", "C: PASS ••••", "C: {secret}"),
            *("@connect", "@connect x", "@tls", "@wait 1", "@wait 700", "@secret", "@secret a", "@expect-close"),
            *(
                "C: USER learner",
                "C: PASS secret",
                "C: AUTH PLAIN",
                "C: *",
                "C: STLS",
                "C: RETR 1",
                "C: QUIT",
                "C: DELE 1",
            ),
        ]
    ),
)


@given(st.lists(ROW, max_size=10), st.one_of(st.none(), st.lists(st.binary(max_size=40), max_size=4)), st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_script_ends_in_an_outcome(rows: list[str], pieces: list[bytes] | None, closes: bool) -> None:
    """On the practice server, or on a peer that says anything."""
    try:
        script = read_script("\n".join(rows).encode("utf-8", "surrogatepass"))
    except Flaw:
        return
    world = World()

    def connect(where: str) -> Memory | Peer:
        return world.connect() if pieces is None else Peer(tuple(pieces), closes)

    found = play(script, connect, ACCOUNT, lambda seconds: world.wait(int(seconds)))
    assert found.stage in STAGES
    assert bool(found.stage) == bool(found.code)


# -- the command line --------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*argv: str, stdin: bytes = b"", terminal: bool = False) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)
        code = cli.run(["run", "--lang", "en", *argv])
        return (code, *capsys.readouterr())

    return run


def test_the_practice_server_answers_where_no_host_is_given(tmp_path: Path, run: Run) -> None:
    good, bad, report = tmp_path / "good.pop", tmp_path / "bad.pop", tmp_path / "report.xml"
    good.write_text(
        f"S: +OK * {STAMP}\n@tls\nC: USER learner\nS: +OK*\nC: PASS ••••\nS: +OK*\n@wait 1\nC: NOOP\nS: +OK*\n"
        "@wait 700\n@expect-close\n"
    )
    bad.write_text("C: USER learner\nS: +OK*\nC: PASS secret\nS: -ERR*\n")
    assert run(str(good))[:2] == (0, f"{good}: passed, 4 turns\n")
    code, out, _ = run(str(good), str(bad), "--junit", str(report))
    assert code == STAGES["login"]
    assert f"{bad}:4: failed at stage login" in out
    assert out.endswith("1 passed, 1 failed.\n")
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), len(suite)) == ("2", "1", 2)
    assert [case.get("name") for case in suite] == [str(good), str(bad)]
    code, out, _ = run("--json", "--stop-on-err", str(bad), str(good))
    (only,) = json.loads(out)["scripts"]
    assert (code, only["stage"], only["line"], only["expected"]) == (6, "login", 4, "-ERR*")
    assert SECRET not in out + report.read_text().replace("secret.pop", "")


def test_what_save_writes_is_played(tmp_path: Path, run: Run) -> None:
    """A session with AUTH, a message that went into a file, and a second connection."""
    saved, shell = tmp_path / "x.pop", Stage(server=practice_server(faults=FREE))
    lines = ["CAPA", "AUTH PLAIN", plain(), "LIST", f":save 2 {tmp_path}/m.eml", "NOPE", "DELE 1", "QUIT"]
    in_stage(shell.begin(*lines, ":connect practice", *LOGIN_LINES, "TOP 1 0", f":save {saved}"))
    assert "C: RETR 2\nS: +OK 762 octets\nS: [...]\nS: .\n" in saved.read_text("utf-8"), shell.text
    for argv in ((str(saved),), (str(saved), "practice")):
        code, out, err = run(*argv)
        assert (code, out) == (0, f"{saved}: passed, 13 turns\n"), err
    saved.write_text(saved.read_text("utf-8").replace("S: +OK message 1 deleted", "S: +OK message 1 is gone"))
    code, out, _ = run(str(saved), "practice")
    assert code == STAGES["reply"]
    assert "- S: +OK message 1 is gone\n    + S: +OK message 1 deleted\n                       ^\n" in out


def test_what_a_block_of_a_lesson_holds_is_played(tmp_path: Path, run: Run) -> None:
    pages = [Document(path.stem, path.read_text("utf-8")) for path in sorted((ROOT / "lessons" / "en").glob("*.md"))]
    blocks = [block for page in pages for block in played(page) if begins(block) is State.AUTHORIZATION]
    assert len(blocks) > 5
    for number, block in enumerate(blocks):
        script = tmp_path / f"{number}.pop"
        script.write_text("\n".join(block.rows), "utf-8")
        code, out, err = run(str(script))
        assert code == 0, out + err


def test_arguments_that_are_wrong(tmp_path: Path, run: Run) -> None:
    script = tmp_path / "a.pop"
    script.write_text("C: PASS {secret}\n")
    other = tmp_path / "b.pop"
    other.write_text("C: NOOP\nnothing\n")

    def refused(argv: tuple[str, ...], says: str) -> None:
        code, out, err = run(*argv)
        assert code == 2
        assert not out or "--junit" in argv
        assert says in err

    each(
        [
            (("nosuch.pop",), "nosuch.pop"),
            ((str(tmp_path / "nosuch.pop"), "127.0.0.1:1"), "nosuch.pop"),
            (("127.0.0.1:1",), "no such file"),
            ((str(other),), "b.pop:2"),
            ((str(script), "127.0.0.1:1"), "--user"),
            ((str(script), "127.0.0.1:1", "--user", "mei"), "password"),
            ((str(script), "127.0.0.1:1", "--password-fd", "4096"), "4096"),
            ((str(script), "smtp://a"), "smtp://a"),
            ((str(script), "127.0.0.1:1", "--require-tls"), "--require-tls"),
            ((str(script), "--junit", str(tmp_path / "no" / "report")), "report"),
        ],
        refused,
    )


def test_after_a_fault_of_the_protocol_the_reply_has_not_come(tmp_path: Path, run: Run) -> None:
    """It is not said to differ: what follows a line with a bare LF is not read."""
    script = tmp_path / "x.pop"
    script.write_text("S: +OK*\nC: NOOP\nS: +OK*\nC: NOOP\nS: +OK*\n")

    def serve(line: socket.socket) -> None:
        line.sendall(b"+OK\r\n")
        while line.recv(100):
            line.sendall(b"+OK\n")

    with fake(serve) as port:
        code, out, _ = run(str(script), f"127.0.0.1:{port}", "--timeout", "1")
    assert code == STAGES["reply"]
    assert out.startswith(f"{script}:5: failed at stage reply: the reply did not come"), out


def test_a_server_that_is_not_there(tmp_path: Path, run: Run) -> None:
    script = tmp_path / "a.pop"
    script.write_text("C: PASS {secret}\n")
    code, out, _ = run(str(script), "127.0.0.1:1", stdin=b"mei\ncanary\n")
    assert code == STAGES["connect"]
    assert "127.0.0.1:1" in out
    assert "canary" not in out


def test_ways_to_give_an_account(run: Run, tmp_path: Path) -> None:
    """A server that repeats what it hears learns which account was used; the password is in no output."""
    script, report = tmp_path / "a.pop", tmp_path / "report.xml"
    script.write_text("C: USER {name}\nS: +OK*\nC: PASS {secret}\nS: +OK*\nC: APOP {name} {digest}\nS: -ERR\n")
    read, write = os.pipe()
    os.write(write, b"canary\nmore")

    def given(argv: tuple[str, ...], stdin: bytes, name: str) -> None:
        said: list[bytes] = []

        def echoes(line: socket.socket) -> None:
            line.sendall(b"+OK <1@2>\r\n")
            while data := line.recv(4096):
                said.append(data)
                line.sendall(b"+OK " + b" ".join(said).replace(b"\r\n", b" ") + b"\r\n")

        with fake(echoes) as port:
            where = (str(script), f"127.0.0.1:{port}", "--timeout", "2", "--junit", str(report))
            code, out, err = run(*where, *argv, stdin=stdin)
        assert said[:2] == [f"USER {name}\r\n".encode(), b"PASS canary\r\n"]
        assert code == STAGES["login"]
        for text in (out, err, report.read_text("utf-8")):
            assert "canary" not in text

    each(
        [
            ((), b"mei\ncanary\n", "mei"),
            (("--json",), b"mei\r\ncanary", "mei"),
            (("--user", "lin"), b"canary\n", "lin"),
            (("--user", "lin"), b"lin\ncanary\n", "lin"),
            (("--user", "lin", "--password-command", "echo canary"), b"NOOP\n", "lin"),
            (("--user", "lin", "--password-fd", str(read)), b"", "lin"),
        ],
        given,
    )
    os.close(read)
    os.close(write)


def test_a_hidden_prompt(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "a.pop"
    script.write_text("C: PASS {secret}\n")
    monkeypatch.setattr("getpass.getpass", lambda prompt: "canary")
    assert run(str(script), "127.0.0.1:1", "--user", "mei", terminal=True)[0] == STAGES["connect"]
    assert run(str(script), "127.0.0.1:1", terminal=True)[0] == 2


def test_the_bundle_has_words_for_every_outcome() -> None:
    words = Catalog((bundled(),)).words("en")
    source = (ROOT / "popshell" / "script.py").read_text("utf-8")
    codes = {f"run.{code}" for code in re.findall(r'_fail\("?\w+"?, "([a-z-]+)"', source)}
    codes |= {f"reason.{code}" for code in re.findall(r'Flaw\("([a-z0-9-]+)"', source)}
    assert len(codes) > 10
    assert not [code for code in codes if words.get(code) is None]
