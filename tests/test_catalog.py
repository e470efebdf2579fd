"""catalog: languages are chosen, pages and words read; and every key that the source asks for is there."""

from __future__ import annotations

import ast
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import popshell
from popshell.course import catalog as module
from popshell.course.catalog import (
    LANGUAGES,
    Catalog,
    Words,
    bundled,
    choose_language,
    match_language,
)
from popshell.course.document import DEEPEST, Document, LessonError, read_tables, too_deep
from popshell.ui.theme import STYLES

CATALOG = Catalog((bundled(),))
SOURCE = Path(popshell.__file__).parent


# -- languages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        *((name, "zh-Hant") for name in ("zh", "zh_TW", "zh-hk", "ZH_MO", "zh-Hant", "zh_Hant_TW", "ZH-HANT-HK")),
        *((name, "en") for name in ("en", "EN", "en_GB", "en-US", "C", "POSIX")),
        *((name, None) for name in ("zh_CN", "zh-Hans", "de", "", "english", "x-zh-Hant")),
    ],
)
def test_match_language(name: str, tag: str | None) -> None:
    assert match_language(name) == tag


@pytest.mark.parametrize(
    ("wanted", "environ", "tag"),
    [
        (None, {}, "en"),
        ("zh-Hant", {"POPSHELL_LANG": "en", "LANG": "C"}, "zh-Hant"),
        (None, {"POPSHELL_LANG": "zh_TW", "LC_ALL": "C"}, "zh-Hant"),
        ("de", {"POPSHELL_LANG": "zh"}, "zh-Hant"),
        ("de", {"POPSHELL_LANG": "fr", "LANG": "zh_TW.UTF-8"}, "zh-Hant"),
        (None, {"LC_ALL": "C", "LC_MESSAGES": "zh_TW", "LANG": "zh_TW"}, "en"),
        (None, {"LC_MESSAGES": "zh_HK.Big5", "LANG": "en_US"}, "zh-Hant"),
        (None, {"LC_ALL": "", "LANG": "zh_TW.UTF-8"}, "zh-Hant"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"LANG": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_choose_language(wanted: str | None, environ: dict[str, str], tag: str) -> None:
    assert choose_language(wanted, environ) == tag


# -- pages -------------------------------------------------------------------------------------------------------------

GOOD = '+++\nsummary = "a"\nnote = "n"\n[ok]\nnote = "o"\nnumber = 3\n+++\n\n\nBody.\n+++\nmore\n\n'


def test_read_page() -> None:
    page = Document("en/x.md", GOOD).checked()
    assert page.head == {"summary": "a", "note": "n", "ok": {"note": "o", "number": 3}}
    assert page.body == "Body.\n+++\nmore\n"
    assert page.body_line == 8
    assert page.summary == "a"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("note", "n"),
        ("ok.note", "o"),
        ("ok.number", None),
        ("summary.note", None),
        ("err.note", None),
        ("ok", None),
    ],
)
def test_note(key: str, text: str | None) -> None:
    assert Document("x", GOOD).note(key) == text


def test_a_page_without_summary_has_an_empty_one() -> None:
    assert Document("x", "+++\n+++\n").summary == ""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no-fence"),
        ("Body.\n", 1, "no-fence"),
        ('+++\nsummary = "a"\n', 1, "no-fence"),
        ('+++\nsummary = "a"\nnote = n\n+++\n', 3, "Invalid value"),
        ('+++\nsummary = "a"\nsummary = "b"\n+++\n', 3, "Cannot overwrite"),
        ('+++\nnote = """a\n+++\n', 2, "Unterminated"),
        (f'+++\nsummary = "a"\nx = {"[" * 999}{"]" * 999}\n+++\n', 3, "nested"),
    ],
)
def test_page_errors(text: str, line: int, words: str) -> None:
    with pytest.raises(LessonError, match=rf"^en/x\.md:{line}: .*{words}"):
        Document("en/x.md", text).checked()


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([], None),
        (["[" * DEEPEST], None),
        (["[" * (DEEPEST + 1)], 1),
        (["[" * DEEPEST, "{"], 2),
        (["[" * DEEPEST, "]{", "}]["], None),
        (["]" * 9, "[" * DEEPEST], None),
        (["[]" * 99], None),
        (["x = {", *["{"] * DEEPEST], DEEPEST + 1),
    ],
)
def test_too_deep(rows: list[str], line: int | None) -> None:
    assert too_deep(rows) == line


# -- catalogs ----------------------------------------------------------------------------------------------------------


def toml(text: str) -> object:
    """What tomllib makes of it, None for an error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


@pytest.mark.parametrize("file", ["messages.toml", "replies.toml"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_our_tables_are_read_without_tomllib_and_alike(
    language: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CATALOG.read(f"{language}/{file}")
    wanted = tomllib.loads(text)
    monkeypatch.setattr(tomllib, "loads", None)
    assert read_tables(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        'a = "b"',
        '[x]\na = "say \\"hi\\""\nb-1_c = ""\n\n# a remark\n[y]\n',
        'a = "1"\n[x]\na = "2"\n',
        'a = "tab\there 字"',
        # not plain: tomllib reads these
        "a = 1",
        "a = 'literal'",
        'a = "\\u4e00\\n"',
        'a="b"',
        'a = "b" # a remark',
        ' a = "b"',
        '"a" = "b"',
        'a.b = "c"',
        "[x.y]\na = 1",
        '[x.y]\na = "1"\n[x]\nb = "2"',
        "[[x]]\n[[x]]\n",
        "[ x ]",
        'a = """\n[x]\nb = "c"\n"""',
        'a = [\n"b"\n]\n',
        # no TOML: tomllib says what is wrong
        'a = "b"\na = "c"',
        'a = "b"\n[a]',
        '[x]\na = "b"\n[x]\nc = "d"',
        'a = "b',
        'a = "b" c',
        'a = "\\"',
        'a = "\\q"',
        'a = "\x1b"',
        'a = "b\rc"',
        "# \x07",
        "[]",
        "[x",
        "字 = 1",
        '字 = "b"',
        "[字]",
        "[x]]",
        "nothing",
    ],
)
def test_tables_are_what_tomllib_reads(text: str) -> None:
    wanted = toml(text)
    if wanted is None:
        with pytest.raises(tomllib.TOMLDecodeError):
            read_tables(text)
    else:
        assert read_tables(text) == wanted


def write(root: Path, **files: str | bytes) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.fixture
def small(tmp_path: Path) -> Catalog:
    mine = write(tmp_path / "mine", en__commands__A_md='+++\nsummary = "mine"\n+++\n', en__only_txt="mine")
    base = write(
        tmp_path / "base",
        en__commands__A_md='+++\nsummary = "base"\n+++\n',
        en__commands__B_md='+++\nsummary = "english"\n+++\n',
        fr__commands__A_md='+++\nsummary = "autre"\n+++\n',
        en__messages_toml='[a]\none = "1 {n}"\ntwo = "2"\n',
        fr__messages_toml='[a]\none = "un {n}"\n[b]\nflat = "x"\n',
        en__replies_toml='noop = "x"\n',
    )
    return Catalog((mine, base))


def test_the_first_directory_wins(small: Catalog) -> None:
    page = small.page("en", "commands/A")
    assert page is not None
    assert page.summary == "mine"
    assert small.read("en/only.txt") == "mine"
    assert small.replies("en")["noop"] == "x"


def test_a_page_falls_back_to_english(small: Catalog) -> None:
    found = [small.page("fr", f"commands/{name}") for name in "AB"]
    assert [(page.summary, page.path) for page in found if page] == [
        ("autre", "fr/commands/A.md"),
        ("english", "en/commands/B.md"),
    ]
    assert small.page("fr", "commands/C") is None
    with pytest.raises(FileNotFoundError):
        small.read("en/commands")


def test_words_fall_back_to_english_key_by_key(small: Catalog) -> None:
    words = small.words("fr")
    assert isinstance(words, Words)
    assert (words.language, words("a.one", n=3), words("a.two"), words.get("b.flat")) == ("fr", "un 3", "2", "x")
    assert words.get("a.none") is words.get("none") is words.get("") is words.get("a") is None
    assert list(words.keys()) == ["a.one", "b.flat"]
    for key in ("a.none", "a.one"):  # not there; a fact is missing
        with pytest.raises(KeyError):
            words(key)


def test_what_was_read_is_kept(small: Catalog) -> None:
    assert small.words("fr") is small.words("fr")
    assert small.page("fr", "commands/A") is small.page("fr", "commands/A")
    assert small.replies("en") is small.replies("en")


def test_a_page_that_is_not_utf_8_is_a_page_error(tmp_path: Path) -> None:
    catalog = Catalog((write(tmp_path, en__commands__A_md=b"+++\n+++\n\xff\n"),))
    with pytest.raises(LessonError, match=r"^en/commands/A\.md:0: .*UnicodeDecodeError"):
        catalog.page("en", "commands/A")


def test_maildrops(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", maildrops__one__1_eml=b"a", maildrops__one__notes_txt=b"b")
    (mine / "maildrops" / "one" / "._1.eml").write_bytes(b"what macOS leaves beside a file")
    catalog = Catalog((mine, bundled()))
    assert catalog.maildrop_files("one") == [("1.eml", b"a")]
    assert len(catalog.maildrop_files("default")) == 7
    with pytest.raises(FileNotFoundError):
        catalog.maildrop_files("none")


def test_lessons_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for path in sorted((*Path(str(bundled())).rglob("*.toml"), *Path(str(bundled())).rglob("RETR.md"))):
            file.write(path, f"lessons/{path.relative_to(str(bundled())).as_posix()}")
        file.writestr("lessons/maildrops/default/1.eml", b"a")
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        catalog = Catalog((zipfile.Path(file, "lessons/"),))
        page = catalog.page("zh-Hant", "commands/RETR")
        assert page is not None
        assert page.text == CATALOG.document("zh-Hant/commands/RETR.md").text
        assert catalog.words("en")("meta.quit") == CATALOG.words("en")("meta.quit")
        assert catalog.maildrop_files("default") == [("1.eml", b"a")]


def test_bundled_lessons_lie_inside_or_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "popshell"
    (package / "course").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "course" / "catalog.py"))
    monkeypatch.setattr("importlib.resources.files", lambda name: package)
    with pytest.raises(FileNotFoundError):
        bundled()
    (tmp_path / "lessons").mkdir()
    assert Path(str(bundled())) == tmp_path / "lessons"
    (package / "lessons").mkdir()
    assert Path(str(bundled())) == package / "lessons"


def test_bundled_lessons_of_a_zipped_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "x.zip" / "popshell" / "course" / "catalog.py"))
    (tmp_path / "inside" / "lessons").mkdir(parents=True)
    monkeypatch.setattr("importlib.resources.files", lambda name: tmp_path / "inside")
    assert bundled() == tmp_path / "inside" / "lessons"


# -- keys --------------------------------------------------------------------------------------------------------------

SECTIONS = frozenset(key.partition(".")[0] for key in CATALOG.words("en").keys())  # noqa: SIM118
_KEY = re.compile(rf"(?:{'|'.join(sorted(SECTIONS))})\.[a-z0-9_-]+")
_START = re.compile(rf"({'|'.join(sorted(SECTIONS))})\.[a-z0-9_-]*")


def literals(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line and text of every string that is no docstring; True for the beginning of an f-string."""
    begun: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            begun.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            begun |= {id(part) for part in node.values}
            first = node.values[0] if node.values else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value, True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in begun:
            yield node.lineno, node.value, False


def missing_keys(source: str) -> list[tuple[int, str]]:
    """The keys that `source` seems to ask for and no language has."""
    known = {*CATALOG.words("en").keys(), *STYLES}  # a style may be called as a section is
    out: list[tuple[int, str]] = []
    for line, text, begins in literals(ast.parse(source)):
        if begins and _START.fullmatch(text):
            if not any(key.startswith(text) for key in known):
                out.append((line, text))
        elif not begins and _KEY.fullmatch(text) and text not in known and not text.endswith(".toml"):
            out.append((line, text))
    return sorted(out)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_key_that_the_source_asks_for_is_there(path: Path) -> None:
    assert missing_keys(path.read_text("utf-8")) == []


def test_a_missing_key_is_found() -> None:
    source = (
        '"""shell.in-a-docstring"""\n'
        'words("shell.no-such-thing")\n'
        'say("shell.no-more" if x else "why.nothing")\n'
        'words(f"undo.{x}")\n'
        'words(f"undo.x{x}")\n'
        'read("ui/shell.py", "not.a-section", "shell.")\n'
    )
    assert missing_keys(source) == [(2, "shell.no-such-thing"), (3, "why.nothing"), (5, "undo.x")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_texts_and_not_empty(language: str) -> None:
    words = CATALOG.words(language)
    assert all(words.get(key) for key in words.keys())  # noqa: SIM118
