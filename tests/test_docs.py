"""The docs say what is: made pages are fresh, dialogues are true, links lead somewhere, the how-to works.

Each check here has a case beside it that it must find.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import make_dialogues
import make_reference
import pytest
from support import SCHEMA, rehearse
from test_packaging import files_of_the_tree

import popshell
from popshell import arguments
from popshell.course.catalog import Catalog, bundled
from popshell.course.explain import explain
from popshell.protocol.connection import Challenge, Connection
from popshell.protocol.records import JSON_VERSIONS, Exchange
from popshell.server.maildrop import from_files
from popshell.server.mailserver import MailServer
from popshell.ui.events import Replied
from popshell.ui.exports import JsonRecords

ROOT = Path(__file__).resolve().parents[1]
DOCS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# -- made pages --------------------------------------------------------------------------------------------------------


class TestMadePages:
    @pytest.mark.parametrize("name", make_reference.pages())
    def test_is_fresh(self, name: str) -> None:
        """If this fails: python tests/make_reference.py, and read what changed."""
        assert text_of(name) == make_reference.made(name), f"stale; make it anew: {make_reference.COMMAND}"

    def test_says_that_it_is_made(self) -> None:
        for name in make_reference.PAGES:
            assert make_reference.COMMAND in text_of(name).split("\n## ")[0]

    def test_every_part_is_used(self) -> None:
        used = {part for name in DOCS for part in re.findall(r"<!-- made: ([a-z-]+) -->", text_of(name))}
        assert used == make_reference.PARTS.keys()

    def test_a_limit_without_words_is_an_error(self) -> None:
        with pytest.raises(KeyError, match="new_limit"):
            make_reference.limit_rows({"old": ("a limit", "s")}, {"old": 1.0, "new_limit": 2.0})

    def test_a_page_that_was_edited_is_found(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        names = ["docs/reference-meta.md", "docs/reference-limits.md"]
        (tmp_path / "docs").mkdir()
        for name in names:
            (tmp_path / name).write_text(make_reference.made(name), "utf-8")
        monkeypatch.setattr(make_reference, "ROOT", tmp_path)
        monkeypatch.setattr(make_reference, "pages", lambda: names)
        assert make_reference.stale() == []
        page = tmp_path / names[0]
        page.write_text(page.read_text("utf-8").replace("`:state`", "`:stat`"), "utf-8")
        assert make_reference.stale() == [names[0]]


# -- dialogues ---------------------------------------------------------------------------------------------------------


def typed_in(name: str) -> list[str]:
    """All that is typed in the dialogues of a page."""
    return [
        line for block in make_dialogues.blocks(text_of(name)) for line in block.lines if make_dialogues.is_typed(line)
    ]


class TestDialogues:
    @pytest.mark.parametrize(("name", "language"), make_dialogues.PAGES.items())
    def test_are_what_the_shell_shows(self, name: str, language: str) -> None:
        """If this fails: python tests/make_dialogues.py, and read what changed."""
        assert len(list(make_dialogues.blocks(text_of(name)))) > 0
        assert make_dialogues.wrong(text_of(name), language) == []

    def test_the_tutorial_uses_nearly_every_command(self) -> None:
        typed = {line.split()[1].upper() for line in typed_in("docs/tutorial.md") if line.startswith(" C: ")}
        assert typed >= {"USER", "PASS", "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "QUIT"}
        assert typed >= {"CAPA", "STLS", "APOP", "LANG"}

    @pytest.mark.parametrize("name", ["tutorial", "tutorial-debug"])
    def test_the_tutorial_is_the_same_in_both_languages(self, name: str) -> None:
        assert typed_in(f"docs/{name}.md") == typed_in(f"docs/{name}.zh-Hant.md")

    def test_a_lie_is_found_and_corrected(self) -> None:
        page = "```pop3\n C: STAT\n✔S: +OK 7 7528\n```\n"
        assert len(make_dialogues.wrong(page)) == 1
        assert "✘S: -ERR not in this state" in make_dialogues.rewritten(page)
        assert make_dialogues.wrong(make_dialogues.rewritten(page)) == []

    @pytest.mark.parametrize(
        ("said", "shown", "true"),
        [
            (["a", "b"], ["a", "b"], True),
            (["a", "b"], ["a"], False),
            (["a"], ["a", "b"], False),
            (["a", "[...]"], ["a"], True),
            (["a", "[...]", "z"], ["a", "b", "c", "z"], True),
            (["a", "[...]", "y"], ["a", "b", "c", "z"], False),
            (["on: [...]."], ["on: TLSv1.3."], True),
            (["on: [...]."], ["on: TLSv1.3"], False),
            ([".", "(x)"], ["a", "(x)"], False),
        ],
    )
    def test_gaps(self, said: list[str], shown: list[str], true: bool) -> None:
        assert make_dialogues.fits(said, shown) is true


# -- JSON --------------------------------------------------------------------------------------------------------------

_FAULTS = (
    b"* OK IMAP4rev1 ready\r\n",
    b"+OK bare\n",
    b"+OK one\r\n+OK two\r\n",
    b"-ERR [SYS/TEMP] later \xff\r\n",
    b"",
)


def records() -> Iterator[dict[str, Any]]:
    """What `--json` writes of exchanges of every kind."""
    catalog = Catalog((bundled(),))
    messages = from_files(catalog.maildrop_files("default"))
    server = MailServer({"learner": "secret"}, catalog.languages, catalog.replies, messages)
    lines = [
        "hello",
        "STAT",
        "USER learner",
        "PASS wrong",
        "AUTH PLAIN",
        "AGxlYXJuZXIAc2VjcmV0",
        "LIST",
        "RETR 99",
        "QUIT",
    ]
    exchanges: list[Exchange] = rehearse(lines, server)
    for data in _FAULTS:
        connection = Connection()
        events = [*connection.received(data), *connection.close()]
        exchanges += [event for event in events if not isinstance(event, Challenge)]
    for exchange in exchanges:
        out = io.StringIO()
        JsonRecords(out).heard(Replied(exchange, tuple(explain(exchange, catalog, "en"))))
        (line,) = out.getvalue().splitlines()
        assert line.isascii()
        yield json.loads(line)


def fields_of_the_schema(kind: str) -> dict[str, bool]:
    """The fields of a kind of record by their path, `command.name`, `notes[].text`, and whether each may be null."""
    defined, found = SCHEMA.schema["$defs"], {}

    def walk(node: dict[str, Any], path: str) -> None:
        for name, inner in node.get("properties", {}).items():
            inner = defined[inner["$ref"].rpartition("/")[2]] if "$ref" in inner else inner
            at = f"{path}.{name}".lstrip(".")
            found[at] = None in inner.get("enum", ()) or "null" in inner.get("type", ())
            if at != "error.facts":
                walk(inner, at)
                walk(inner.get("items", {}), f"{at}[]")

    walk(defined[kind], "")
    return found


def fields_of_the_page(heading: str) -> dict[str, bool]:
    """The same, as docs/reference-json.md has them."""
    table = text_of("docs/reference-json.md").partition(f"## {heading}")[2].partition("\n\n|")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z0-9_.\[\]]+)` \| ([a-z ]+) \|", table, re.MULTILINE)
    return {name: kind.endswith(" or null") for name, kind in rows}


class TestJson:
    def test_page_and_schema_have_the_same_fields(self) -> None:
        assert fields_of_the_page("Fields") == fields_of_the_schema("exchange")
        assert fields_of_the_page("The life of a connection") == fields_of_the_schema("connection")

    def test_records_are_what_the_schema_says(self) -> None:
        for record in records():
            SCHEMA.validate(record)
            assert not SCHEMA.is_valid({**record, "more": 1})

    def test_the_version_is_on_the_page(self) -> None:
        assert f"# Reference: JSON, version {JSON_VERSIONS[-1]}" in text_of("docs/reference-json.md")

    def test_diagnostics_and_problems_are_on_the_page(self) -> None:
        page = text_of("docs/reference-json.md")
        codes: set[str] = set()
        for record in records():
            codes |= {*record["command"]["diagnostics"]} if record["command"] else set()
            codes |= {record["problem"]["code"]} if record["problem"] else set()
        assert codes >= {"unknown-command", "wrong-state", "not-pop3", "bare-lf", "unasked", "no-reply"}
        assert {code for code in codes if f"`{code}`" not in page} == set()

    def test_octets_that_are_not_utf_8_come_back(self) -> None:
        (found,) = (r for r in records() if r["code"] == "SYS/TEMP")
        assert found["text"].encode("utf-8", "surrogateescape") == b"later \xff"


# -- links and names ---------------------------------------------------------------------------------------------------

_LINK = re.compile(r"(?<!\\)\[[^\]\n]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?ms)^(`{3,})[^\n]*\n.*?^\1$")
_PATH = re.compile(r"`((?:popshell|lessons|tests|docs|\.ci)/[\w./-]*\w)`")


def anchors(page: str) -> set[str]:
    """What a heading is called in an address: lower case, no punctuation, hyphens for blanks."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _CODE.sub("", page), re.MULTILINE):
        kept = "".join(ch for ch in heading.lower() if ch in " -_" or unicodedata.category(ch)[0] in "LN")
        name, number = kept.replace(" ", "-"), 0
        while (name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(name if not number else f"{name}-{number}")
    return found


def dead_links(name: str, page: str) -> list[str]:
    """The relative links of a page that lead nowhere."""
    dead = []
    for link in _LINK.findall(_CODE.sub("", page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(page if not path else target.read_text("utf-8"))):
            dead.append(link)
    return dead


def missing_files(page: str) -> list[str]:
    return [path for path in _PATH.findall(page) if not (ROOT / path).exists()]


@pytest.mark.parametrize("name", DOCS)
class TestEveryPage:
    def test_has_no_dead_link(self, name: str) -> None:
        assert dead_links(name, text_of(name)) == []

    def test_names_files_that_exist(self, name: str) -> None:
        made_up = {"lessons/en/commands/MARK.md", "lessons/zh-Hant/commands/MARK.md", "lessons/de"}  # the how-tos' own
        assert {*missing_files(text_of(name))} <= made_up

    def test_closes_its_fences(self, name: str) -> None:
        fence = ""
        for line in text_of(name).splitlines():
            if ticks := re.match(r"`{3,}(?=[^`]*$)", line):
                fence = ticks[0] if not fence else "" if line == fence else fence
        assert fence == ""

    def test_begins_with_a_heading(self, name: str) -> None:
        assert text_of(name).startswith("# ")


def test_dead_links_are_found() -> None:
    page = "# A\n[good](docs/LICENSE) [bad](docs/none.md) [self](#a) [no](#b) [web](https://x.example)\n```\n[in](code)\n```\n"
    assert dead_links("README.md", page) == ["docs/none.md", "#b"]
    assert missing_files("`popshell/cli.py` `popshell/none.py`") == ["popshell/none.py"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, front = set(), ["README.md"]
    while front:
        name = front.pop()
        reached.add(name)
        for link in _LINK.findall(_CODE.sub("", text_of(name))):
            path = os.path.normpath(Path(name).parent / link.partition("#")[0])
            if path.endswith(".md") and path not in reached and (ROOT / path).is_file():
                front.append(path)
    assert reached == {*DOCS}


def test_labels_in_the_code_are_explained() -> None:
    """`sec-R1` stands in docs/security.md, `perf-S5` in docs/performance.md."""
    told = set(re.findall(r"^\| (sec-[A-Z][0-9]+) \|", text_of("docs/security.md"), re.MULTILINE))
    told |= {
        f"perf-{name}"
        for name in re.findall(r"^\| \*\*([A-Z][0-9]+)\*\*", text_of("docs/performance.md"), re.MULTILINE)
    }
    used: dict[str, str] = {}
    for path in [*(ROOT / "popshell").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        used |= dict.fromkeys(re.findall(r"\b(?:sec|perf)-[A-Z][0-9]+", path.read_text("utf-8")), path.name)
    assert used.keys() - told == set(), {label: used[label] for label in used.keys() - told}
    assert len(used) > 20


# -- README and command line -------------------------------------------------------------------------------------------


class TestReadme:
    def test_the_two_commands(self) -> None:
        lines = text_of("README.md").splitlines()
        assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/popshell" in lines
        assert "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest" in lines

    def test_speaks_to_chinese_readers(self) -> None:
        assert "`popshell --lang zh-Hant`" in text_of("README.md")

    def test_the_picture_is_sound_and_of_this_version(self) -> None:
        source = text_of("docs/picture.svg")
        tree = ElementTree.fromstring(source)
        words = " ".join(element.text or "" for element in tree.iter("{http://www.w3.org/2000/svg}text"))
        assert f"PopShell {popshell.__version__}" in words, "make it anew: python tests/make_picture.py"
        assert "-ERR" in words
        assert source.replace('xmlns="http://www.w3.org/2000/svg"', "").count("http") == 0
        assert "@font-face" not in source
        assert len(source) < 60_000


class TestCommandLine:
    def test_names_every_subcommand(self) -> None:
        page = text_of("docs/reference-cli.md")
        for name in arguments.SUBCOMMANDS:
            assert f"| `popshell {name}" in page

    def test_names_every_variable(self) -> None:
        """Every variable whose name stands in the program as a string of its own."""
        page = text_of("docs/reference-cli.md")
        source = "".join(path.read_text("utf-8") for path in (ROOT / "popshell").rglob("*.py"))
        for name in re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', source):
            assert f"`{name}`" in page, name
        assert "POPSHELL_LANG" in page


# -- the how-to, step by step ------------------------------------------------------------------------------------------


class HowTo:
    """A how-to of docs/, followed to the letter in a copy of the tree."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder = folder
        self.page = text_of(page)
        for name in files_of_the_tree():
            if not re.match(r"lessons/[\w-]+/[0-9]|lessons/course", name.as_posix()):  # the course takes its time
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        for compiled in (ROOT / "popshell").rglob("*.pyc"):  # what is not edited need not be compiled anew
            (folder / compiled.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, folder / compiled.relative_to(ROOT))

    def block(self, language: str, number: int) -> str:
        return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", self.page)[number]

    def put(self, name: str, text: str, *, before: str = "", after: str = "") -> None:
        """Put a block of the page into a file, before or after the one line that begins so."""
        path = self.folder / name
        lines = path.read_text("utf-8").splitlines(keepends=True)
        (at,) = (at for at, line in enumerate(lines) if line.startswith(before or after))
        lines.insert(at if before else at + 1, text + ("\n\n" if before else ""))
        path.write_text("".join(lines), "utf-8")

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Both outputs of `popshell ARGUMENTS` in the copy."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONUTF8": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "popshell", *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        return done.stdout + done.stderr

    def python(self, program: str) -> str:
        """What a program prints in the copy; the reason it stopped, if it did."""
        environment = {**os.environ, "PYTHONPATH": f"{self.folder}:{self.folder}/tests"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        return done.stdout or done.stderr

    def talk(self) -> str:
        return self.run("--plain", "--lang", "en", stdin="USER learner\nPASS secret\nDELE 1\nMARK\n")


#: What the practice server of a copy makes of AUTH CRAM-SHA256 with a right and with a wrong password.
CRAM = """
from support import drain, practice_server
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import ClientLines, Credentials

for secret in ("secret", "wrong"):
    session = practice_server(faults={"mechanisms": ("PLAIN", "CRAM-SHA256")}).session()
    client = ClientLines(MECHANISMS["CRAM-SHA256"], Credentials("learner", secret))
    drain(session)
    session.feed(client.command().encode() + b"\\r\\n")
    challenge = drain(session).decode().strip()
    session.feed(client.answer(challenge.removeprefix("+ ")).encode() + b"\\r\\n")
    print(secret, drain(session).decode()[:4])
"""


def test_how_to_add_a_mechanism(tmp_path: Path) -> None:
    how_to = HowTo(tmp_path / "popshell-try", "docs/how-to-add-a-mechanism.md")
    how_to.put("popshell/protocol/mechanisms.py", how_to.block("python", 0), before="_ROWS = (")
    how_to.put("popshell/protocol/mechanisms.py", how_to.block("python", 1), after='    Mechanism("CRAM-MD5"')
    assert how_to.python(CRAM) == "secret +OK \nwrong -ERR\n"
    how_to.run("lint", "--lang", "en", "--fix-dialogues")
    assert "CRAM-SHA256" not in how_to.run("lint", "--lang", "en")


def test_how_to_add_a_command(tmp_path: Path) -> None:
    how_to = HowTo(tmp_path / "popshell-try", "docs/how-to-add-a-command.md")
    how_to.put("popshell/protocol/commands.py", how_to.block("python", 0), after='    CommandSpec("RSET"')
    assert "[ERR] S: -ERR unknown command" in how_to.talk()

    how_to.put("popshell/server/handlers.py", how_to.block("python", 1), before="def _message(")
    how_to.put("popshell/server/handlers.py", how_to.block("python", 2), after='        "RSET": rset,')
    for number, tag in enumerate(("en", "zh-Hant")):
        how_to.put(f"lessons/{tag}/replies.toml", how_to.block("toml", number), before="noop =")
    how_to.put("popshell/course/notes.py", how_to.block("python", 3), after='        "rset":')
    said = how_to.talk()
    assert "C: MARK\n[OK] S: +OK 1 message is marked" in said

    found = how_to.run("lint", "--lang", "en")
    assert "en/commands/MARK.md: This file is missing" in found
    assert "zh-Hant/commands/MARK.md: This file is missing" in found
    assert "replies.toml" not in found

    (page,) = re.findall(r"(?ms)^````\n(\+\+\+.*?)^````$", how_to.page)
    (how_to.folder / "lessons/en/commands/MARK.md").write_text(page, "utf-8")
    found = how_to.run("lint", "--lang", "en")
    (promised,) = re.findall(r"(?m)^en/commands/MARK\.md:.*\[\.\.\.\]$", how_to.page)
    assert promised.removesuffix("[...]") in found
    how_to.run("lint", "--fix-dialogues", "--lang", "en")
    assert "S: +OK 1 message is marked\n" in (how_to.folder / "lessons/en/commands/MARK.md").read_text("utf-8")
    assert "\nen/commands/MARK.md" not in "\n" + how_to.run("lint", "--lang", "en")
    assert "The server counts the marks." in how_to.talk()


BARE_LF = """
import make_reference
from support import drain, practice_server

session = practice_server(faults={"bare_lf": True}).session()
print(drain(session)[-2:], "bare_lf" in make_reference.conditions())
"""


def test_how_to_add_a_fault(tmp_path: Path) -> None:
    how_to = HowTo(tmp_path / "popshell-try", "docs/how-to-add-a-fault.md")
    how_to.put("popshell/server/faults.py", how_to.block("python", 0), after='        "in_use":')
    assert "names and their words differ: ['bare_lf']" in how_to.python(BARE_LF)
    how_to.put("tests/make_reference.py", how_to.block("python", 1), after='    "update_fails":')
    assert how_to.python(BARE_LF).endswith("\\n' True\n")


REFUSED = """
import make_reference
from popshell.course.checks import Evidence, read_check
from support import play

exchanges = tuple(play("STAT", "NOOP"))[-2:]
check = read_check({"refused": 2})
print(check.holds(Evidence(exchanges)), check.holds(Evidence(exchanges[1:])), "refused" in make_reference.checks())
"""


def test_how_to_add_a_check(tmp_path: Path) -> None:
    how_to = HowTo(tmp_path / "popshell-try", "docs/how-to-add-a-check.md")
    how_to.put("popshell/course/checks.py", how_to.block("python", 0), after='        "waited":')
    how_to.put("lessons/en/messages.toml", how_to.block("toml", 0), after="[missing]")
    assert "missing.refused" in how_to.run("lint", "--lang", "en")
    how_to.put("lessons/zh-Hant/messages.toml", how_to.block("toml", 1), after="[missing]")
    assert "refused" not in how_to.run("lint", "--lang", "en")
    how_to.put("tests/make_reference.py", how_to.block("python", 1), after='    "waited":')
    assert how_to.python(REFUSED) == "True False True\n"


def test_how_to_add_a_meta_command(tmp_path: Path) -> None:
    how_to = HowTo(tmp_path / "popshell-try", "docs/how-to-add-a-meta-command.md")
    how_to.put("popshell/ui/metas.py", how_to.block("python", 0) + "\n", before="LOOKING = (")
    how_to.put("popshell/ui/metas.py", how_to.block("python", 1), after='    Meta("raw"')
    for number, table in enumerate(("[meta]", "[shell]")):
        how_to.put("lessons/en/messages.toml", how_to.block("toml", number), after=table)
        assert f"{table[1:-1]}.count" in how_to.run("lint", "--lang", "en")
        how_to.put("lessons/zh-Hant/messages.toml", how_to.block("toml", number + 2), after=table)
    assert "count" not in how_to.run("lint", "--lang", "en")
    said = how_to.run("--plain", "--lang", "en", stdin="USER learner\nPASS secret\n:count\n")
    assert "2 lines were sent." in said
    assert "meta.count" not in how_to.run("--plain", "--lang", "zh-Hant", stdin=":help :count\n")


def test_how_to_add_a_language(tmp_path: Path) -> None:
    how_to = HowTo(tmp_path / "popshell-try", "docs/how-to-add-a-language.md")
    shutil.copytree(how_to.folder / "lessons/en", how_to.folder / "lessons/de")
    assert "de/messages.toml" in how_to.run("lint", "--lang", "en")
    for name, old, new in (
        ("popshell/words.py", 'LANGUAGES = ("en", "zh-Hant")\n', how_to.block("python", 0)),
        ("lessons/de/messages.toml", 'name = "English"\n', how_to.block("toml", 0)),
    ):
        path = how_to.folder / name
        path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    assert "de/messages.toml" not in how_to.run("lint", "--lang", "en")
    how_to.run("lint", "--fix-dialogues", "--lang", "en")
    assert "(untrue)" not in how_to.run("lint", "--lang", "en")
    (how_to.folder / "lessons/de/commands/RETR.md").unlink()
    assert "de/commands/RETR.md" in how_to.run("lint", "--lang", "en")
    said = how_to.run("--plain", "--lang", "de", stdin="USER learner\nPASS secret\nLANG\nLANG de\n")
    assert "S: de Deutsch" in said
    assert said.count("[OK]") >= 4


# -- the spine ---------------------------------------------------------------------------------------------------------


def test_the_spine_can_be_read_in_an_evening() -> None:
    section = text_of("docs/architecture.md").partition("## The spine")[2].partition("\n## ")[0]
    files = re.findall(r"`(popshell/[\w/]+\.py)`", section)
    assert len(files) > 5
    lines = {name: len(text_of(name).splitlines()) for name in files}
    assert sum(lines.values()) < 3000, lines
