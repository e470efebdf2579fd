"""The wheel holds what the checkout holds, and lessons are found wherever PopShell is put.

Theory. hatchling is called in this process, so nothing is fetched. The builds begin from a copy of the tree (tracked
and new files, nothing that git ignores), because hatchling obeys `.gitignore` without a word: one line there once left
a whole language out of the wheel. What is built runs in a Python without site-packages (`-S`) wherever that is enough,
so that an installed PopShell cannot answer in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import hatchling.build
import pytest

import popshell

ROOT = Path(__file__).resolve().parents[1]
_LEAVE_OUT = {".git", ".venv", "dist", "build", "__pycache__"}
_LOOK = """
from popshell.course.catalog import LANGUAGES, Catalog, bundled
catalog = Catalog((bundled(),))
print(bundled())
for tag in LANGUAGES:
    print(tag, catalog.words(tag).language, catalog.page(tag, "commands/RETR").path, len(catalog.replies(tag)))
print(len(catalog.maildrop_files("default")))
"""


def files_of_the_tree() -> list[Path]:
    """What a clone would hold: tracked files and new ones. Without git, all but what tools leave behind."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        names = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    else:
        names = [
            path.relative_to(ROOT)
            for path in ROOT.rglob("*")
            if not any(part in _LEAVE_OUT or part.endswith("_cache") for part in path.relative_to(ROOT).parts)
        ]
    return [name for name in names if (ROOT / name).is_file()]


def lessons_of(folder: Path) -> set[str]:
    """The lesson files of a checkout, as paths below `lessons/`."""
    return {
        path.relative_to(folder / "lessons").as_posix()
        for path in (folder / "lessons").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def lessons_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    return {name.removeprefix("popshell/lessons/") for name in names if name.startswith("popshell/lessons/")}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as a fresh clone would be."""
    folder = tmp_path_factory.mktemp("clone") / "popshell"
    for name in files_of_the_tree():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(how: Callable[[str], str], folder: Path, into: Path) -> Path:
    """Call one hook of the build backend, as pip would, in `folder`."""
    before = Path.cwd()
    into.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        return into / how(str(into))
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(hatchling.build.build_wheel, clone, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(*arguments: str, path: Path | None, cwd: Path, bare: bool = True, stdin: str = "") -> str:
    """Standard output of a Python process; `bare` leaves site-packages out."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "POPSHELL"))}
    environment |= {"PYTHONPATH": str(path or ""), "PYTHONUTF8": "1", "HOME": str(cwd)}
    done = subprocess.run(
        [sys.executable, *(["-S"] if bare else []), *arguments],
        cwd=cwd,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sees_all_lessons(said: str, place: str) -> None:
    where, english, chinese, mails = said.splitlines()
    assert place in where
    assert english.startswith("en en en/commands/RETR.md ")
    assert chinese.startswith("zh-Hant zh-Hant zh-Hant/commands/RETR.md ")
    assert mails == "7"


class TestWheel:
    def test_its_lessons_are_those_of_the_directory(self, wheel: Path, clone: Path) -> None:
        assert lessons_in(wheel) == lessons_of(clone)
        assert len(lessons_of(clone)) > 80
        for tag in ("en", "zh-Hant"):
            assert f"{tag}/messages.toml" in lessons_in(wheel)

    def test_the_clone_has_the_lessons_of_this_tree(self, clone: Path) -> None:
        assert lessons_of(clone) == lessons_of(ROOT), "git ignores a file below lessons/"

    def test_every_octet_is_the_same(self, unpacked: Path, clone: Path) -> None:
        for name in lessons_of(clone):
            assert (unpacked / "popshell/lessons" / name).read_bytes() == (clone / "lessons" / name).read_bytes(), name

    def test_its_package_is_that_of_the_directory(self, wheel: Path, clone: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            held = {name for name in archive.namelist() if not name.endswith("/")}
        ours = {path.relative_to(clone).as_posix() for path in (clone / "popshell").rglob("*") if path.is_file()}
        rest = {name for name in held if not name.startswith("popshell/lessons/") and ".dist-info/" not in name}
        shared = {name for name in rest if ".data/data/share/" in name}
        assert len(shared) == 5, "completions for three shells, man pages in two languages"
        assert rest - shared == ours
        assert "popshell/py.typed" in rest

    def test_the_comparison_can_fail(self, clone: Path, tmp_path: Path) -> None:
        """A line in .gitignore that looks harmless takes a whole language out of the wheel."""
        spoilt = tmp_path / "spoilt"
        shutil.copytree(clone, spoilt)
        with (spoilt / ".gitignore").open("a") as file:
            file.write("en/\n")
        built = build(hatchling.build.build_wheel, spoilt, tmp_path / "wheel")
        assert lessons_in(built) != lessons_of(spoilt)

    def test_names_its_entry_points(self, unpacked: Path) -> None:
        (points,) = unpacked.glob("*.dist-info/entry_points.txt")
        text = points.read_text()
        assert "[console_scripts]\npopshell = popshell.__main__:main" in text
        assert "[pygments.lexers]\npop3 = popshell.ui.lexer:Pop3Lexer" in text

    def test_tells_version_and_licence(self, unpacked: Path) -> None:
        (metadata,) = unpacked.glob("*.dist-info/METADATA")
        fields = Parser().parsestr(metadata.read_text("utf-8"))
        assert fields["Version"] == popshell.__version__
        assert fields["License-Expression"] == "MIT"
        assert [path.name for path in unpacked.glob("*.dist-info/licenses/docs/LICENSE")] == ["LICENSE"]
        assert fields["Requires-Python"] == ">=3.11"

    def test_a_wheel_made_from_the_source_archive_is_the_same(self, clone: Path, wheel: Path, tmp_path: Path) -> None:
        archive = build(hatchling.build.build_sdist, clone, tmp_path / "sdist")
        with tarfile.open(archive) as source:
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not yet in 3.11.2
            source.extractall(tmp_path / "source", **safely)
        (folder,) = (tmp_path / "source").iterdir()
        for name in ("README.md", "docs/LICENSE", "docs/tutorial.md", "lessons/rfc.toml", "tests/test_packaging.py"):
            assert (folder / name).is_file(), name
        again = build(hatchling.build.build_wheel, folder, tmp_path / "wheel")
        with zipfile.ZipFile(again) as left, zipfile.ZipFile(wheel) as right:
            assert sorted(left.namelist()) == sorted(right.namelist())


class TestLessonsAreFound:
    def test_in_the_wheel_itself_on_the_path(self, wheel: Path, tmp_path: Path) -> None:
        sees_all_lessons(python("-c", _LOOK, path=wheel, cwd=tmp_path), wheel.name)

    def test_in_an_installed_wheel(self, unpacked: Path, tmp_path: Path) -> None:
        sees_all_lessons(python("-c", _LOOK, path=unpacked, cwd=tmp_path), str(unpacked / "popshell" / "lessons"))

    def test_in_an_editable_install(self, clone: Path, tmp_path: Path) -> None:
        built = build(hatchling.build.build_editable, clone, tmp_path / "wheel")
        site = tmp_path / "site"
        with zipfile.ZipFile(built) as archive:
            archive.extractall(site)
            assert not [name for name in archive.namelist() if "lessons" in name], "a copy would grow stale"
        look = f"import site; site.addsitedir({str(site)!r})\n{_LOOK}"
        sees_all_lessons(python("-c", look, path=None, cwd=tmp_path), str(clone / "lessons"))

    def test_in_a_bare_clone(self, clone: Path) -> None:
        sees_all_lessons(python("-c", _LOOK, path=None, cwd=clone), str(clone / "lessons"))

    def test_a_package_without_lessons_says_so(self, clone: Path, tmp_path: Path) -> None:
        shutil.copytree(clone / "popshell", tmp_path / "alone" / "popshell")
        with pytest.raises(AssertionError, match="FileNotFoundError"):
            python("-c", _LOOK, path=None, cwd=tmp_path / "alone")


class TestProgram:
    @pytest.fixture(params=["clone", "unpacked", "wheel"])
    def place(self, request: pytest.FixtureRequest) -> Path:
        path: Path = request.getfixturevalue(request.param)
        return path

    def test_tells_its_version(self, place: Path, tmp_path: Path) -> None:
        assert python("-m", "popshell", "--version", path=place, cwd=tmp_path) == f"popshell {popshell.__version__}\n"

    def test_runs(self, place: Path, tmp_path: Path) -> None:
        said = python("-m", "popshell", "--plain", path=place, cwd=tmp_path, bare=False, stdin="QUIT")
        assert "[OK] S: +OK practice server ready <" in said
        assert "C: QUIT\n[OK] S: +OK " in said


def test_pygmentize_knows_pop3(unpacked: Path, tmp_path: Path) -> None:
    """The entry point makes `pygmentize -l pop3` work, and Sphinx and MkDocs with it."""
    transcript = tmp_path / "session.txt"
    transcript.write_text("C: USER learner\nS: +OK send PASS\nC: PASS secret\nS: -ERR no such user\n")
    arguments = ("-m", "pygments", "-l", "pop3", "-f", "raw", str(transcript))
    said = python(*arguments, path=unpacked, cwd=tmp_path, bare=False)
    assert "Token.Keyword\t'USER'" in said
    assert "Token.Literal.String.Secret\t'secret'" in said
    assert "Token.Keyword\t'user'" not in said
