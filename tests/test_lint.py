"""lint: every rule is shown to fail on a broken copy of the lessons, and the copy that is not broken has no fault.

A case is a mutation of one copy and the findings that it has to bring, all of them: code, file, line. Lessons of the
course are left out of the copy: they are proved elsewhere, and authors are at work on them.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import each, over

from popshell.course.catalog import LANGUAGES, Catalog, Words, bundled
from popshell.course.lesson import fingerprint
from popshell.lint import files, lint, pages
from popshell.lint.files import Finding, read_tree
from popshell.lint.lint import (
    CLEAN,
    FAULTY,
    RULES,
    USAGE,
    check_dialogue,
    examine,
    fix_dialogues,
    in_words,
    mark_translated,
    run_lint,
)
from popshell.lint.pages import Rfcs, check_citations, read_rfcs
from popshell.server.maildrop import Message
from popshell.server.replies import Texts

LESSONS = Path(str(bundled()))
_OF_THE_COURSE = ("course.toml", "[0-9][0-9]-*.md", "lesson-template.md")
Where = tuple[str, str, int]
NOOP, RETR = "en/commands/NOOP.md", "en/commands/RETR.md"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lessons without the course. Tests that break them take a copy."""
    root = tmp_path_factory.mktemp("clean") / "lessons"
    shutil.copytree(LESSONS, root, ignore=shutil.ignore_patterns(*_OF_THE_COURSE))
    return root


@pytest.fixture(scope="module")
def clean_findings(clean: Path) -> list[Where]:
    """None; but should the lessons be broken, only the test that says so fails, not all."""
    return found(clean)


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Copy:
    root = tmp_path / "lessons"
    shutil.copytree(clean, root)
    return Copy(root)


def link(clean: Path, folder: Path) -> Copy:
    """A copy of hard links: made faster, and to be changed by `Copy.write` only, which puts a new file in place."""
    root = folder / "lessons"
    shutil.copytree(clean, root, copy_function=os.link)
    return Copy(root)


@functools.cache
def words(language: str) -> Words:
    return Catalog((bundled(),)).words(language)


@dataclass
class Copy:
    """A copy of the lessons, and ways to break it. Ways that change a line give its number."""

    root: Path

    def read(self, path: str) -> str:
        return (self.root / path).read_bytes().decode("utf-8")

    def write(self, path: str, text: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)

    def change(self, path: str, old: str, new: str) -> int:
        """Replace `old`, which stands there at least once, where it stands first."""
        text = self.read(path)
        assert old in text, f"{old!r} is not in {path}"
        self.write(path, text.replace(old, new, 1))
        return text.count("\n", 0, text.index(old)) + 1

    def append(self, path: str, text: str) -> int:
        """Append a line. Returns its number."""
        before = self.read(path)
        self.write(path, before + text + "\n")
        return before.count("\n") + 1

    def line(self, path: str, start: str) -> int:
        """The number of the first line that begins so."""
        rows = self.read(path).split("\n")
        return next(at for at, row in enumerate(rows, 1) if row.startswith(start))


def found(root: Path) -> list[Where]:
    return [(finding.code, finding.path, finding.line) for finding in examine(root).findings]


#: A mutation that gives the findings that it brings.
Breaking = Callable[[Copy], list[Where]]
CASES: dict[str, Breaking] = {}


def case(name: str) -> Callable[[Breaking], Breaking]:
    """Name a case `rule` or `rule: what is special`."""

    def put(breaking: Breaking) -> Breaking:
        assert name not in CASES
        CASES[name] = breaking
        return breaking

    return put


def changes(name: str, path: str, old: str, new: str, more: int = 0, **also: str) -> None:
    """A case that changes one text; the finding is `more` lines below. `also`: further codes on the same line."""

    def breaking(copy: Copy) -> list[Where]:
        line = copy.change(path, old, new) + more
        return [(code, path, line) for code in (name.partition(":")[0], *also.values())]

    case(name)(breaking)


def appends(name: str, path: str, text: str) -> None:
    case(name)(lambda copy: [(name.partition(":")[0], path, copy.append(path, text) + text.count("\n"))])


def writes(name: str, path: str, text: str = "x\n") -> None:
    """A case that puts a file where none belongs."""

    def breaking(copy: Copy) -> list[Where]:
        copy.write(path, text)
        return [(name.partition(":")[0], path, 0)]

    case(name)(breaking)


# -- files -------------------------------------------------------------------------------------------------------------


def removes(name: str, path: str, missing: str = "") -> None:
    def breaking(copy: Copy) -> list[Where]:
        target = copy.root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        return [("missing-file", missing or path, 0)]

    case(name)(breaking)


removes("missing-file", "zh-Hant/commands/NOOP.md")
removes("missing-file: English", "en/states/UPDATE.md")
removes("missing-file: the server's words, and nothing can be played", "en/replies.toml")
removes("missing-file: the sections of RFCs, and no citation is proved", "rfc.toml")
removes("missing-file: no mail, and nothing can be played", "maildrops/default")
writes("stray-file", "en/commands/HELO.md")
writes("stray-file: a hidden one", ".DS_Store")
writes("stray-file: a hidden mail", "maildrops/default/.08.eml")
writes("stray-file: a backup", "en/commands/RETR.md~")
writes("stray-file: a second suffix", "zh-Hant/messages.toml.orig")
writes("stray-file: a language that the shell does not know", "de/messages.toml", "")
writes("stray-file: a lesson that no course names", "en/01-greeting.md")
writes("stray-file: no mail", "maildrops/default/README.md")
writes("stray-file: too deep", "en/commands/old/RETR.md")


@case("no-course")
def _(copy: Copy) -> list[Where]:
    for tag in LANGUAGES:  # pages without the words of the shell are laid over the bundled ones
        (copy.root / tag / "messages.toml").unlink()
    return [("no-course", "course.toml", 0)]


@case("too-large")
def _(copy: Copy) -> list[Where]:
    copy.append("en/commands/NOOP.md", "x" * (1 << 20))
    return [("too-large", "en/commands/NOOP.md", 0)]


@case("too-large: a mail, too")
def _(copy: Copy) -> list[Where]:
    copy.write("maildrops/big/1.eml", b"x" * ((1 << 20) + 1))
    return [("too-large", "maildrops/big/1.eml", 0)]


@case("leaves-folder")
def _(copy: Copy) -> list[Where]:
    outside = copy.root.parent / "secret.md"
    outside.write_text("secret")
    page = copy.root / "en" / "commands" / "NOOP.md"
    page.unlink()
    page.symlink_to(outside)
    return [("leaves-folder", "en/commands/NOOP.md", 0), ("missing-file", "en/commands/NOOP.md", 0)]


@case("leaves-folder: a folder")
def _(copy: Copy) -> list[Where]:
    (copy.root / "maildrops" / "mine").symlink_to("/", target_is_directory=True)
    return [("leaves-folder", "maildrops/mine", 0)]


@case("stray-file: a link to a folder inside")
def _(copy: Copy) -> list[Where]:
    (copy.root / "en" / "loop").symlink_to(copy.root / "en", target_is_directory=True)
    return [("stray-file", "en/loop", 0)]


_OUTSIDE = ("../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "..\\..\\..\\x", "x/../../../..", "data:x")
for _target in _OUTSIDE:
    appends(f"leaves-folder: {_target}", "en/commands/NOOP.md", f"See [this]({_target}).")


@case("leaves-folder: of several links, the one that does")
def _(copy: Copy) -> list[Where]:
    copy.append(NOOP, "[web](https://example.org/../../..), [RETR](RETR.md), [up](../states/UPDATE.md#x), [here](./..)")
    return [("leaves-folder", NOOP, copy.append(NOOP, "[web](HTTPS://example.org), [out](<../../..>)"))]


@case("not-a-file")
def _(copy: Copy) -> list[Where]:
    os.mkfifo(copy.root / "maildrops" / "default" / "08.eml")
    return [("not-a-file", "maildrops/default/08.eml", 0)]


@case("not-a-file: a link to nothing")
def _(copy: Copy) -> list[Where]:
    (copy.root / "en" / "x.md").symlink_to("none.md")
    return [("not-a-file", "en/x.md", 0)]


@case("not-utf-8")
def _(copy: Copy) -> list[Where]:
    start, heading, end = copy.read("en/commands/NOOP.md").encode().partition(b"## Pitfalls")
    copy.write("en/commands/NOOP.md", start + heading + b"\xa4\xa4" + end)
    return [("not-utf-8", "en/commands/NOOP.md", start.count(b"\n") + 1)]


@case("byte-order-mark")
def _(copy: Copy) -> list[Where]:
    copy.write("zh-Hant/replies.toml", "\ufeff" + copy.read("zh-Hant/replies.toml"))
    return [("byte-order-mark", "zh-Hant/replies.toml", 1)]


@case("line-ends")
def _(copy: Copy) -> list[Where]:
    line = copy.change("en/commands/NOOP.md", "## Dialogue\n", "## Dialogue\r\n")
    return [("line-ends", "en/commands/NOOP.md", line)]


@case("line-ends: CR alone")
def _(copy: Copy) -> list[Where]:
    line = copy.change("en/commands/NOOP.md", "## Dialogue\n", "Old Macs did\rthis.\n\n## Dialogue\n")
    return [("line-ends", "en/commands/NOOP.md", line)]


# -- heads and tables of words -----------------------------------------------------------------------------------------


@case("bad-head")
def _(copy: Copy) -> list[Where]:
    copy.write(NOOP, copy.read(NOOP).removeprefix("+++\n"))
    return [("bad-head", NOOP, 1)]


@case("bad-head: never closed")
def _(copy: Copy) -> list[Where]:
    copy.write(NOOP, copy.read(NOOP).replace("\n+++\n", "\n", 1))
    return [("bad-head", NOOP, 1)]


changes("bad-head: no TOML", RETR, "marked = ", "marked ")
changes("bad-head: a key twice", RETR, "marked = ", 'zero = "again"\nmarked = ')
changes("bad-toml: nested so deep that a parser gives up", "rfc.toml", "[rfc1939]", f"x = {'[' * 999}{']' * 999}")
changes("bad-toml", "zh-Hant/messages.toml", "\nrefused = ", "\nrefused ", more=1)
changes("bad-toml: rfc.toml", "rfc.toml", "[rfc1939]", "[rfc1939")
changes("bad-toml: the server's words", "en/replies.toml", "noop = ", "noop ")


def both(name: str, page: str, old: str, new: str, code: str = "", more: int = 0) -> None:
    """A case that changes both languages in the same way; `old` is a pattern."""

    def breaking(copy: Copy) -> list[Where]:
        out = []
        for tag in LANGUAGES:
            path = f"{tag}/{page}"
            text = copy.read(path)
            match = re.search(old, text, re.MULTILINE)
            assert match is not None, f"{old!r} is not in {path}"
            copy.write(path, text[: match.start()] + match.expand(new) + text[match.end() :])
            out.append((code or name.partition(":")[0], path, text.count("\n", 0, match.start()) + 1 + more))
        return out

    case(name)(breaking)


both("unknown-key", "commands/RETR.md", r"^summary", r'title = "RETR"\nsummary')
both("unknown-key: a parameter that is none", "commands/RETR.md", r"^msg = ", r'number = "1"\nmsg = ')
both("unknown-key: of another command", "commands/RETR.md", r"^stuffed = ", r'empty = "x"\nstuffed = ')
both("unknown-key: a reason that cannot come", "commands/QUIT.md", r"^refused = ", r'zero = "x"\nrefused = ')
both("unknown-key: a reason that is none", "commands/QUIT.md", r"^refused = ", r'because = "x"\nrefused = ')
both("unknown-key: a table and all in it, said once", "commands/RETR.md", r"^\[err\]", r'[warn]\na = "x"\n[err]')
both("unknown-key: a note of a state", "states/UPDATE.md", r"^summary", r'note = "x"\nsummary')
both("unknown-key: a table of a code", "codes/AUTH.md", r"^\+\+\+\n(?=[^s])", r'[ok]\na = "x"\n+++\n')
both("unknown-key: a reply that is never given", "replies.toml", r"^noop = ", r'wave = "x"\nnoop = ')
both("unknown-key: a table of replies", "replies.toml", r"\Z", r'[more]\nwave = "x"\n')
both("unknown-key: a text outside of a table", "messages.toml", r"\A", r'hello = "x"\n')


def doctor(name: str, old: str, new: str, more: int | None = None) -> None:
    """A case that changes the doctor's rules. Without `more` the fault is the file's."""

    @case(name)
    def _(copy: Copy) -> list[Where]:
        line = copy.change("doctor.toml", old, new)
        return [(name.partition(":")[0], "doctor.toml", 0 if more is None else line + more)]


doctor("bad-doctor", 'of = "gmail"', 'of = "gnail"')
doctor("bad-doctor: a date", 'date = "1996-05"', 'date = "1996-15"')
doctor("bad-doctor: a source without a name", "rfc = 1939, ", "")
doctor("no-such-section: of a rule", 'at = "8.1.2"', 'at = "88"', more=-6)


@case("missing-key: a notice's words")
def _(copy: Copy) -> list[Where]:
    for tag in LANGUAGES:
        copy.write(f"{tag}/doctor.toml", re.sub("(?m)^zero = .*\n", "", copy.read(f"{tag}/doctor.toml")))
    return [("missing-key", f"{tag}/doctor.toml", 0) for tag in LANGUAGES]


@case("unknown-key: a cause that no rule names")
def _(copy: Copy) -> list[Where]:
    return [
        (
            "unknown-key",
            f"{tag}/doctor.toml",
            copy.change(f"{tag}/doctor.toml", "[cause]\n", '[cause]\nodd = "x"\n') + 1,
        )
        for tag in LANGUAGES
    ]


@case("missing-key")
def _(copy: Copy) -> list[Where]:
    for tag in LANGUAGES:
        copy.write(f"{tag}/commands/NOOP.md", re.sub("(?m)^summary = .*\n", "", copy.read(f"{tag}/commands/NOOP.md")))
    return [("missing-key", f"{tag}/commands/NOOP.md", 1) for tag in LANGUAGES]


both("missing-key: a parameter", "commands/RETR.md", r"^msg = .*\n", r"", more=-1)
both("missing-key: what +OK means", "commands/LAST.md", r"^note = .*\n", r"", more=-1)


@case("missing-key: a code's note")
def _(copy: Copy) -> list[Where]:
    for tag in LANGUAGES:
        copy.write(f"{tag}/codes/AUTH.md", re.sub("(?m)^note = .*\n", "", copy.read(f"{tag}/codes/AUTH.md")))
    return [("missing-key", f"{tag}/codes/AUTH.md", 1) for tag in LANGUAGES]


@case("missing-key: a reply, and nothing can be played")
def _(copy: Copy) -> list[Where]:
    for tag in LANGUAGES:
        copy.write(f"{tag}/replies.toml", re.sub("(?m)^noop = .*\n", "", copy.read(f"{tag}/replies.toml")))
    return [("missing-key", f"{tag}/replies.toml", 0) for tag in LANGUAGES]


@case("keys-differ")
def _(copy: Copy) -> list[Where]:
    copy.change("en/commands/QUIT.md", "refused = ", 'wrong-state = "x"\nrefused = ')
    return [("keys-differ", "zh-Hant/commands/QUIT.md", copy.line("zh-Hant/commands/QUIT.md", "[err]"))]


@case("keys-differ: the translation has more")
def _(copy: Copy) -> list[Where]:
    copy.change("zh-Hant/messages.toml", "\n[warn]\n", '\n[warn]\nnew = "x"\n')
    return [("keys-differ", "en/messages.toml", copy.line("en/messages.toml", "[warn]"))]


@case("keys-differ: a whole table, said once")
def _(copy: Copy) -> list[Where]:
    copy.append("en/messages.toml", '[new]\none = "x"\ntwo = "x"')
    return [("keys-differ", "zh-Hant/messages.toml", 1)]


changes("not-text", RETR, '"There is no message 0: numbers begin with 1. Try `RETR 1`."', "0")
changes("not-text: a list", "zh-Hant/messages.toml", 'yes = "', 'yes = [] # "')
changes("summary-wide", NOOP, 'summary = "', 'summary = "a very long summary that goes on and on: ')
changes("summary-wide: Chinese takes two", "zh-Hant/states/CLOSED.md", 'summary = "', 'summary = "' + "中" * 20)
both("unknown-place", "commands/RETR.md", r'^marked = "', r'marked = "{count} ')
both("unknown-place: where the argument is missing", "commands/RETR.md", '^missing-argument = "', r"\g<0>{argument} ")
both("unknown-place: only where lines were stuffed", "commands/TOP.md", r'^note = "', r'note = "{stuffed} ')
both("unknown-place: in a summary", "commands/NOOP.md", r'^summary = "', r'summary = "{command} ')
both("unknown-place: in a code's note", "codes/AUTH.md", r'^note = "', r'note = "{msg} ')
both("unknown-place: in a reply", "replies.toml", r'^http = "', r'http = "{count} ')
both("unknown-place: of an argument that may be left out", "commands/LIST.md", r'^note = "', r'note = "{msg} ')
changes("places-differ", "zh-Hant/commands/RETR.md", "{octets} ", "")
changes("places-differ: in messages", "zh-Hant/messages.toml", "`{syntax}`", "")
changes("places-differ: in replies", "zh-Hant/replies.toml", "{stamp}", "")
changes("stray-brace", RETR, "`RSET` takes all marks back", "{RSET} takes all marks back")
changes("stray-brace: half a choice", "en/replies.toml", "{seconds|# second|# seconds}", "{seconds|# second} {seconds}")
changes("stray-brace: in messages", "en/messages.toml", "\nplain = ", '\nplain = "{" # ', more=1)

# -- dialogues ---------------------------------------------------------------------------------------------------------

for _info in ("```pop3 UPDATE", "```", "```sh", '```pop3 quoted ""', '```pop3 quoted " "', "```pop3 quoted", "```POP3"):
    both(f"bad-fence: {_info}", "commands/NOOP.md", r"^```pop3 TRANSACTION", _info)


@case("bad-fence: tildes")
def _(copy: Copy) -> list[Where]:
    line = copy.append(NOOP, "~~~pop3\nC: QUIT\nS: +OK not replayed\n~~~")
    return [("bad-fence", NOOP, line), ("dialogues-differ", f"zh-Hant/{NOOP[3:]}", 0)]


@case("bad-fence: indented, as in a list")
def _(copy: Copy) -> list[Where]:
    line = copy.append(NOOP, "- as here:\n  ```pop3\n  C: QUIT\n  ```") + 1
    return [("bad-fence", NOOP, line), ("dialogues-differ", f"zh-Hant/{NOOP[3:]}", 0)]


@case("open-fence")
def _(copy: Copy) -> list[Where]:
    line = copy.append(NOOP, "```pop3\nC: QUIT\nS: +OK bye")
    return [("open-fence", NOOP, line), ("dialogues-differ", f"zh-Hant/{NOOP[3:]}", 0)]


both("bad-line", "commands/NOOP.md", r"^S: \+OK", r"*S: +OK")
both("bad-line: no blank", "commands/NOOP.md", r"^S: \+OK", r"S:+OK")
both("bad-line: nothing at all", "commands/NOOP.md", r"^C: NOOP\nS: .*\n", r"", more=-1)
both("bad-line: the client leaves nothing out", "commands/NOOP.md", r"^C: NOOP", "C: [...]")
both("untrue", "commands/NOOP.md", r"^S: \+OK still here", r"S: +OK")
both("untrue: the server says more", "commands/RETR.md", r"^S: \.\nC: RETR 2", r"C: RETR 2")
both("untrue: the server says less", "commands/NOOP.md", r"^(S: \+OK.*)", r"\1\nS: .", more=1)
both("untrue: the greeting", "states/CLOSED.md", r"^S: \+OK practice", r"S: +OK Practice")
both("untrue: a greeting when logged in", "commands/NOOP.md", r"^C: NOOP", r"S: +OK\nC: NOOP")
both("untrue: the dots as on the wire, not un-stuffed", "commands/RETR.md", r"^S: \.\.hidden", r"S: .hidden")
both("untrue: behind [...]", "capabilities/SASL.md", r"^S: SASL .*", r"S: SASL LOGIN")
both("untrue: a challenge", "commands/AUTH.md", r"^S: \+ $", r"S: +")
both("untrue: pipelined, in the wrong order", "capabilities/PIPELINING.md", r"(S: \+OK 7.*)\n(S: \+OK 1.*)", r"\2\n\1")


@case("untrue: a command without an answer")
def _(copy: Copy) -> list[Where]:
    out = []
    for tag in LANGUAGES:
        line = copy.change(f"{tag}/commands/NOOP.md", "S: +OK still here\n", "")
        out.append(("untrue", f"{tag}/commands/NOOP.md", line))
    return out


both("after-close", "commands/QUIT.md", r"^(S: \+OK bye)$", "\\1\nC: NOOP\nS: +OK", more=1)
changes("dialogues-differ", "zh-Hant/commands/LIST.md", "C: LIST 2\nS: +OK 2 762", "C: LIST 1\nS: +OK 1 557")
changes("dialogues-differ: in its beginning", "zh-Hant/commands/LAST.md", 'RFC 1460 §5"\n', 'RFC 1460 §6"\n')


@case("dialogues-differ: one is missing")
def _(copy: Copy) -> list[Where]:
    line = copy.append("zh-Hant/commands/NOOP.md", "```pop3\nC: QUIT\nS: +OK bye\n```")
    return [("dialogues-differ", "zh-Hant/commands/NOOP.md", line)]


@case("dialogues-differ: one is missing in the translation")
def _(copy: Copy) -> list[Where]:
    copy.append("en/commands/NOOP.md", "```pop3\nC: QUIT\nS: +OK bye\n```")
    return [("dialogues-differ", "zh-Hant/commands/NOOP.md", 0)]


# -- citations ---------------------------------------------------------------------------------------------------------

appends("bad-citation", NOOP, "So says §5 of the RFC.")
appends("bad-citation: run together", NOOP, "So says RFC1939 §5.")
appends("bad-citation: a comma before the section", NOOP, "So says RFC 1939, §5.")

appends("no-such-rfc", NOOP, "So says RFC 1149 §3.")
appends("no-such-rfc: named alone", NOOP, "So says RFC 1149.")
appends("no-such-section", NOOP, "So says RFC 1939 §16.")
appends("no-such-section: the second of a list", NOOP, "So say RFC 1939 §5 and §16.")
appends("no-such-section: Chinese list", NOOP, "（RFC 1939 §5、§16）。")

appends("no-such-section: a subsection", NOOP, "So says RFC 1939 §7.1.")
appends("no-such-section: a heading", NOOP, 'So says RFC 1225 "Compulsory POP3 Commands".')

changes("no-such-section: in messages", "en/messages.toml", "(RFC 1939 §3)", "(RFC 1939 §33)")


@case("no-such-section: in a source")
def _(copy: Copy) -> list[Where]:
    out = []
    for tag in LANGUAGES:
        path = f"{tag}/commands/XTND.md"
        out.append(("no-such-section", path, copy.change(path, "1082, The XTND Command", "1082, The BOARD Command")))
    return out


@case("no-such-section: in the tables of the program")
def _(copy: Copy) -> list[Where]:
    copy.change("rfc.toml", '"6.9" = "IMPLEMENTATION capability"\n', "")
    pages = [f"{tag}/capabilities/IMPLEMENTATION.md" for tag in LANGUAGES]
    cited = [
        ("no-such-section", path, at)
        for path in pages
        for at, row in enumerate(copy.read(path).split("\n"), 1)
        for _ in re.findall(r"RFC 2449 §6\.9", row)
    ]
    assert cited
    return [("no-such-section", "popshell/protocol/commands.py", 0), *cited]


@case("uncited")
def _(copy: Copy) -> list[Where]:
    copy.write(NOOP, re.sub(r" §[\d.]+", "", copy.read(NOOP)))
    return [("uncited", NOOP, 0)]


# -- bodies ------------------------------------------------------------------------------------------------------------


@case("no-text")
def _(copy: Copy) -> list[Where]:
    text = copy.read("en/states/UPDATE.md")
    head, body = text.split("\n+++\n")
    copy.write("en/states/UPDATE.md", f"{head}\n+++\n\n## Dialogue\n{body.partition('## Dialogue')[2]}")
    return [("no-text", "en/states/UPDATE.md", head.count("\n") + 3)]


appends("stray-heading", NOOP, "## See also")
appends("stray-heading: of a deeper level", NOOP, "### Pitfalls")
appends("stray-heading: in the other language", "zh-Hant/commands/NOOP.md", "## Pitfalls")
appends("heading-order", NOOP, "## Dialogue")
changes("stray-heading: replies on a state's page", "en/states/UPDATE.md", "## Dialogue", "## `+OK`\n\n## Dialogue")


@case("heading-order: pitfalls before the dialogue")
def _(copy: Copy) -> list[Where]:
    text = copy.read("en/states/UPDATE.md")
    start, dialogue = text.split("## Dialogue\n")
    dialogue, pitfalls = dialogue.split("## Pitfalls\n")
    text = f"{start}## Pitfalls\n{pitfalls}\n## Dialogue\n{dialogue}"
    copy.write("en/states/UPDATE.md", text)
    return [("heading-order", "en/states/UPDATE.md", text[: text.index("## Dialogue")].count("\n") + 1)]


@case("missing-heading")
def _(copy: Copy) -> list[Where]:
    copy.change(NOOP, "## Pitfalls\n", "")
    text = copy.read(NOOP)
    return [("missing-heading", NOOP, text[: text.index("\n+++\n", 4) + 5].count("\n") + 1)]


@case("deviation-unsaid")
def _(copy: Copy) -> list[Where]:
    text = copy.read("en/commands/APOP.md")
    copy.write("en/commands/APOP.md", text.partition("\n## Practice server")[0] + "\n")
    return [("deviation-unsaid", "en/commands/APOP.md", 0)]


@case("deviation-unsaid: without its citation")
def _(copy: Copy) -> list[Where]:
    path = "zh-Hant/commands/USER.md"
    text = copy.read(path)
    head, heading, section = text.partition("## 練習伺服器")
    copy.write(path, head + heading + section.replace("（RFC 1939 §13）", ""))
    return [("deviation-unsaid", path, head.count("\n") + 1)]


@case("deviation-unknown")
def _(copy: Copy) -> list[Where]:
    line = copy.append("en/capabilities/USER.md", "\n## Practice server\n\nIt does not list it (RFC 2449 §5).") + 1
    return [("deviation-unknown", "en/capabilities/USER.md", line)]


appends("deviation-unknown: beside a true one", "en/commands/APOP.md", "Nor does it do this (RFC 1939 §3).")
appends("too-deep", NOOP, "> " * 20 + "x")
appends("too-deep: lists", NOOP, "\n".join("  " * depth + "- x" for depth in range(10)))
appends("simplified", "zh-Hant/commands/NOOP.md", "服务器什么都不做。")
changes("simplified: in a head", "zh-Hant/commands/NOOP.md", 'summary = "', 'summary = "这')
changes("simplified: in messages", "zh-Hant/messages.toml", '\nplain = "', '\nplain = "这', more=1)
changes("simplified: in replies", "zh-Hant/replies.toml", 'http = "', 'http = "这')


# -- the cases are played ----------------------------------------------------------------------------------------------


def test_clean_copy_has_no_fault(clean_findings: list[Where]) -> None:
    assert clean_findings == []


def remembering(rule: lint.Rule) -> lint.Rule:
    """The rule; one over each file or pair of files remembers what it found in them."""
    if not isinstance(rule.check, functools.partial):
        return rule
    (check,) = rule.check.args
    remembered = functools.cache(lambda *sources: [*check(*sources)])
    return rule._replace(check=functools.partial(rule.check.func, remembered))


@pytest.fixture
def parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a copy only what was changed is read and played anew: what is the same as before has its result already."""
    source, ours = functools.cache(files.Source), Catalog((bundled(),))
    rfcs: dict[int, Rfcs] = {}
    cited: dict[tuple[object, ...], list[Finding]] = {}

    def citations(path: str, text: str, known: Rfcs) -> list[Finding]:
        key = path, text, id(known)
        return cited[key] if key in cited else cited.setdefault(key, [*check_citations(path, text, known)])

    texts: dict[tuple[str, bytes], str | None] = {}

    def decoded(path: str, data: bytes, findings: list[Finding]) -> str | None:
        if (path, data) in texts:
            return texts[path, data]
        before, text = len(findings), decode(path, data, findings)
        return texts.setdefault((path, data), text) if len(findings) == before else text

    decode = files._decode
    monkeypatch.setattr(files, "_decode", decoded)
    stages: dict[object, lint.Stage] = {}

    def stage(mails: tuple[Message, ...], names: dict[str, str], texts: Callable[[str], Texts]) -> lint.Stage:
        made = lint_stage(mails, names, texts)
        kept = ((mail.unique_id, mail.content) for mail in mails)
        return stages.setdefault((*kept, *names.items(), *(id(texts(tag)) for tag in names)), made)

    lint_stage, played = lint.Stage, functools.cache(lambda *given: list(check_dialogue(*given)))
    monkeypatch.setattr(lint, "Stage", stage)
    monkeypatch.setattr(lint, "check_dialogue", played)
    monkeypatch.setattr(pages, "read_rfcs", lambda table: rfcs.setdefault(id(table), read_rfcs(table)))
    monkeypatch.setattr(pages, "check_citations", citations)
    monkeypatch.setattr(lint, "RULES", tuple(map(remembering, RULES)))
    for module in (files, lint):
        monkeypatch.setattr(module, "Source", source)
    monkeypatch.setattr(lint, "Catalog", lambda roots: ours if roots == (bundled(),) else Catalog(roots))


@over("name", CASES)
def test_broken_copy_has_exactly_these_faults(
    name: str, clean: Path, clean_findings: list[Where], tmp_path: Path, parsed_once: None
) -> None:
    linked = link(clean, Path(tempfile.mkdtemp(dir=tmp_path)))
    wanted = CASES[name](linked)
    assert wanted
    findings = examine(linked.root).findings
    places = [(finding.code, finding.path, finding.line) for finding in findings]
    assert sorted(places) == sorted([*wanted, *clean_findings])
    for language in LANGUAGES:
        # Words raise KeyError for a fact that is not there: what comes back is whole.
        assert len(in_words(findings, words(language))) == len(findings)


# -- words for authors -------------------------------------------------------------------------------------------------


@over("language", LANGUAGES)
def test_every_rule_has_its_words(language: str) -> None:
    named = {key.partition(".")[2] for key in iter(words(language).keys()) if key.startswith("lint.")}
    assert named == {*(code for rule in RULES for code in rule.codes.split()), "rewritten"}


def test_a_fault_names_its_place_and_its_rule(copy: Copy) -> None:
    line = copy.append(NOOP, "See RFC 1149.")
    assert in_words(examine(copy.root).findings, words("en")) == [
        f"{NOOP}:{line}: lessons/rfc.toml does not know RFC 1149. Correct the number, or add the RFC with"
        " tests/make_rfc_toml.py. (no-such-rfc)"
    ]


# -- the subcommand ----------------------------------------------------------------------------------------------------


def ran(root: Path | None, language: str = "en", **options: bool) -> tuple[int, list[str]]:
    out: list[str] = []
    code = run_lint(root, words(language), write=out.append, **options)
    return code, "".join(out).splitlines()


def test_run_on_what_is_true(clean: Path) -> None:
    code, said = ran(clean)
    assert (code, len(said)) == (CLEAN, 1)
    files, dialogues = map(int, re.findall(r"\d+", said[0]))
    assert files == sum(path.is_file() for path in clean.rglob("*"))
    pages = (path.read_text("utf-8") for path in clean.rglob("*.md"))
    assert dialogues == sum(len(re.findall(r"(?m)^```pop3(?! quoted)", page)) for page in pages)


def test_run_tells_each_fault_and_how_many(copy: Copy) -> None:
    line = copy.change(NOOP, "still here", "\x1b[31mhere")
    code, said = ran(copy.root)
    assert code == FAULTY
    assert said[0].startswith(f"{NOOP}:{line}: ")
    assert "\x1b" not in "".join(said)
    assert any("\\x1b" in row and "nobody sees" in row for row in said)
    assert said[-1] == "3 faults."


def test_run_needs_a_directory(tmp_path: Path) -> None:
    code, said = ran(tmp_path / "none")
    assert code == USAGE
    assert "none" in said[0]


def test_run_writes_to_standard_output(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lint(clean, words("zh-Hant")) == CLEAN
    assert capsys.readouterr().out


def test_run_without_a_directory_takes_the_bundled_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[Path] = []
    monkeypatch.setattr(lint, "examine", lambda root: examined.append(root) or lint.Report((), 0, 0))
    own, named = ran(None), ran(LESSONS)
    assert (own[0], named[0]) == (CLEAN, CLEAN)
    assert own[1][0].startswith("PopShell's own lessons, 0 files")
    assert named[1] == ["0 files, 0 dialogues: all true."]
    assert examined == [LESSONS] * 2


def test_in_a_zip_nothing_is_rewritten(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.change(NOOP, "still here", "not here")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", copy.root)
    with zipfile.ZipFile(packed) as file:
        monkeypatch.setattr(lint, "bundled", lambda: zipfile.Path(file))
        code, said = ran(None, fix=True)
    assert code == FAULTY
    assert said[0].startswith(f"{NOOP}:")
    assert said[-1] == "2 faults."


def test_run_rewrites_first(copy: Copy) -> None:
    before = copy.read(NOOP)
    copy.change(NOOP, "still here", "not here")
    code, said = ran(copy.root, fix=True)
    assert (code, len(said)) == (CLEAN, 2)
    assert said[0].startswith(NOOP)
    assert copy.read(NOOP) == before


def test_all_dialogues_can_be_made_true_again(clean: Path, copy: Copy) -> None:
    """Every replied line is spoilt that stands in no gap's reach; fixing gives back each page octet for octet."""
    spoilt = set()
    for path in sorted(copy.root.rglob("*.md")):
        text = path.read_text("utf-8")
        blocks = re.split(r"(?ms)(^```pop3(?: TRANSACTION)?\n.*?^```$)", text)
        made = "".join(
            re.sub(r"(?m)^S: .*", "S: -ERR spoilt", part) if at % 2 and "[...]" not in part else part
            for at, part in enumerate(blocks)
        )
        if made != text:
            path.write_text(made, "utf-8")
            spoilt.add(path.relative_to(copy.root).as_posix())
    assert len(spoilt) > 40
    assert {finding.path for finding in examine(copy.root).findings} == spoilt
    assert set(fix_dialogues(copy.root)) == spoilt
    for path in spoilt:
        assert copy.read(path) == (clean / path).read_text("utf-8")
    assert fix_dialogues(copy.root) == []


def test_nothing_is_rewritten_without_the_words_of_the_server(copy: Copy) -> None:
    copy.change(NOOP, "still here", "not here")
    (copy.root / "en" / "replies.toml").unlink()
    assert fix_dialogues(copy.root) == []


# -- a course of one's own ---------------------------------------------------------------------------------------------

_ENGLISH = """+++
id = "mine"
title = "Mine"
teaches = ["STAT"]
maildrop = "one"

[[exercise]]
id = "count"
kind = "do"
start = ["USER learner", "PASS secret"]
check = [{ replied = { command = "STAT", ok = true } }]
solution = ["STAT"]
+++
"""
_PROSE = """A text (RFC 1939 §5).

```pop3 TRANSACTION
C: STAT
S: +OK 1 21
```

## count
Count the mail.

### hint
`STAT`

### solved
One.
"""
_CHINESE = '+++\ntitle = "我的"\n+++\n'


@pytest.fixture
def course(tmp_path: Path) -> Copy:
    """A teacher's directory: a course and nothing else; pages, words and RFCs are the bundled ones."""
    copy = Copy(tmp_path / "mine")
    copy.write("course.toml", 'id = "mine"\nlessons = ["01-mine"]\n')
    copy.write("maildrops/one/1.eml", "Subject: x\n\nHello\n")
    copy.write("en/01-mine.md", _ENGLISH + _PROSE)
    copy.write("zh-Hant/01-mine.md", _CHINESE + _PROSE)
    mark_translated(copy.root)
    return copy


def test_a_course_alone_is_linted_over_the_bundled_pages(course: Copy) -> None:
    assert found(course.root) == []


def test_a_byte_order_mark_is_the_one_fault_of_its_file(course: Copy) -> None:
    """Some editors for Windows write it; what plays a course reads it as lint does."""
    for path in ("course.toml", "en/01-mine.md", "zh-Hant/01-mine.md"):
        text = course.read(path)
        course.write(path, "\ufeff" + text)
        assert found(course.root) == [("byte-order-mark", path, 1)]
        course.write(path, text)


def test_its_dialogues_are_played_on_its_maildrop(course: Copy) -> None:
    course.change("zh-Hant/01-mine.md", "1 21", "7 7528")
    line = course.line("zh-Hant/01-mine.md", "S: +OK")
    assert set(found(course.root)) == {(code, "zh-Hant/01-mine.md", line) for code in ("untrue", "dialogues-differ")}


def test_without_its_maildrop_nothing_is_played(course: Copy) -> None:
    course.change("en/01-mine.md", '"one"', '"two"')
    mark_translated(course.root)
    line = course.line("en/01-mine.md", "maildrop =")
    assert found(course.root) == [("missing-maildrop", "en/01-mine.md", line)]
    assert fix_dialogues(course.root) == []


#: Each way to spoil the head, and the fault that it is; None is a file that is not there.
SPOILT: list[tuple[str, Callable[[str], str | None]]] = [
    ("bad-head", lambda text: text.replace('"do"', "do")),
    ("bad-lesson", lambda text: text.replace('"one"', '"../one"')),
    ("bad-lesson", lambda text: text.replace('"one"', "1")),
    ("not-utf-8", lambda text: text.replace("Count the mail", "Count the m\udcffil")),
    ("too-large", lambda text: text + "x" * (1 << 20)),
    ("missing-file", lambda text: None),
]


def test_without_its_english_head_nothing_is_judged(course: Copy) -> None:
    """Which maildrop the dialogues are of, only the head knows: with another one all of them would be called untrue."""
    path, other = "en/01-mine.md", "zh-Hant/01-mine.md"
    whole, chinese = course.read(path), course.read(other)

    def check(fault: str, spoil: Callable[[str], str | None]) -> None:
        text = spoil(whole)
        course.write(path, (text or "").encode("utf-8", "surrogateescape"))
        if text is None:
            (course.root / path).unlink()
        places = [(code, place) for code, place, _ in found(course.root)]
        assert [code for code, place in places if place == path] == [fault]
        assert {code for code, place in places if place != path} <= {"stale"}
        course.change(other, "1 21", "9 99")
        assert fix_dialogues(course.root) == []
        course.write(other, chinese)

    each(SPOILT, check)


def test_its_citations_are_proved(course: Copy) -> None:
    line = course.append("en/01-mine.md", "See RFC 1939 §55.")
    mark_translated(course.root)
    assert found(course.root) == [("no-such-section", "en/01-mine.md", line)]


def test_a_lesson_is_wanted_in_both_languages(course: Copy) -> None:
    (course.root / "zh-Hant" / "01-mine.md").unlink()
    course.write("course.toml", 'id = "mine"\nlessons = ["01-mine", "02-more"]\n')
    wanted = ("zh-Hant/01-mine.md", "en/02-more.md", "zh-Hant/02-more.md")
    assert sorted(found(course.root)) == sorted(("missing-file", path, 0) for path in wanted)


@over("text", ["lessons = [", 'id = "mine"\nlessons = ["../01-mine", 3]\n', 'id = "mine"\n'])
def test_a_course_that_cannot_be_read_names_no_lessons(text: str, course: Copy) -> None:
    course.write("course.toml", text)
    places = found(course.root)
    assert {path for _, path, _ in places} == {"course.toml"}
    assert {code for code, _, _ in places} <= {"bad-course", "bad-name"}
    # Which lessons belong to it, nobody can tell then: none is called astray.
    assert "stray-file" not in {code for code, _, _ in places}


def test_the_template_of_lessons_is_one_of_them(course: Copy) -> None:
    course.write("en/lesson-template.md", course.read("en/01-mine.md").replace('"mine"', '"template"'))
    assert found(course.root) == [("missing-file", "zh-Hant/lesson-template.md", 0)]


def test_mark_translated(course: Copy) -> None:
    other = "zh-Hant/01-mine.md"
    mark = f'translated_from = "{fingerprint(course.read("en/01-mine.md"))}"\n'
    course.write(other, _CHINESE + _PROSE)
    assert ("stale", other) in {place[:2] for place in found(course.root)}
    assert mark_translated(course.root) == [other]
    assert course.read(other).startswith(f"+++\n{mark}")
    assert mark_translated(course.root) == []
    course.write(other, course.read(other).replace(mark, 'translated_from = "old"\n'))
    code, said = ran(course.root, mark=True)
    assert (code, len(said)) == (CLEAN, 2)
    assert course.read(other).startswith(f"+++\n{mark}")


def test_a_translation_without_a_head_cannot_be_marked(course: Copy) -> None:
    course.write("zh-Hant/01-mine.md", _PROSE)
    assert mark_translated(course.root) == []


def test_a_tree_is_whole_or_a_course(course: Copy, clean: Path) -> None:
    assert not read_tree(course.root).whole
    assert read_tree(clean).whole
    course.write("en/messages.toml", "")
    assert read_tree(course.root).whole


def test_a_course_may_bring_pages_and_replies_of_its_own(course: Copy, clean: Path) -> None:
    """It need not bring all of them: the others are the bundled ones."""
    for path in ("en/commands/NOOP.md", "zh-Hant/replies.toml"):
        course.write(path, (clean / path).read_bytes())
    assert found(course.root) == []


@pytest.mark.parametrize("holds", [(), ("maildrops/one/1.eml",), ("en/01-mine.md", "zh-Hant/01-mine.md")])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_folder_without_a_course_is_told_so_and_nothing_else(
    holds: tuple[str, ...], language: str, course: Copy
) -> None:
    for path in [path for path in course.root.rglob("*") if path.is_file()]:
        if path.relative_to(course.root).as_posix() not in holds:
            path.unlink()
    if "en/01-mine.md" in holds:  # nor are its lessons astray, and what they say is proved
        assert ("no-course", "course.toml", 0) in found(course.root)
        assert not {"stray-file", "missing-file"} & {code for code, _, _ in found(course.root)}
        return
    assert found(course.root) == [("no-course", "course.toml", 0)]
    code, said = ran(course.root, language)
    assert code == FAULTY
    assert "popshell lesson new" in said[0]


def test_a_course_that_is_a_pipe_is_named_once(course: Copy) -> None:
    (course.root / "course.toml").unlink()
    os.mkfifo(course.root / "course.toml")
    assert found(course.root) == [("not-a-file", "course.toml", 0)]


def test_a_course_that_says_that_it_has_one_language_needs_no_other(tmp_path: Path) -> None:
    """Its files hold everything, the facts of the exercises, too; a file of another language is none of its."""
    from popshell.course.lesson import new_lesson, read_lesson
    from popshell.course.progress import Course

    assert Course("x", ()).languages == LANGUAGES
    new_lesson(tmp_path, "01-mine", Catalog((bundled(),)).words("en"))
    english, chinese = tmp_path / "en" / "01-mine.md", tmp_path / "zh-Hant" / "01-mine.md"
    head = english.read_text("utf-8").split("+++\n")[1]
    chinese.write_text(f"+++\n{head}+++\n{chinese.read_text('utf-8').split('+++')[2]}", "utf-8")
    course = tmp_path / "course.toml"
    named = course.read_text("utf-8")
    course.write_text(f'{named}languages = ["zh-Hant"]\n', "utf-8")
    assert [(found.path, found.code) for found in list(examine(tmp_path).findings)] == [("en/01-mine.md", "stray-file")]
    english.unlink()
    assert list(examine(tmp_path).findings) == []
    lesson = read_lesson(Catalog((tmp_path, bundled())), "01-mine", "zh-Hant")
    assert lesson.exercises
    assert not lesson.stale
    for wrong in ("[]", '["fr"]', '"en"'):
        course.write_text(f"{named}languages = {wrong}\n", "utf-8")
        assert "bad-course" in [found.code for found in list(examine(tmp_path).findings)], wrong
    course.write_text(named, "utf-8")
    assert ("en/01-mine.md", "missing-file") in [(found.path, found.code) for found in list(examine(tmp_path).findings)]
