"""The history file: private, without secrets, read from its tail; and what is suggested out of it."""

from __future__ import annotations

import asyncio
import os
import stat
from functools import partial
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from stage import CATALOG

from popshell.course.catalog import in_words
from popshell.ui.completer import LOOK_BACK, TAIL, RecentSuggest, ShellHistory


def never(text: str) -> bool:
    return False


def entries(path: Path) -> list[str]:
    """As a new run of the shell sees it, the newest first."""
    return list(ShellHistory(lambda: path, never).load_history_strings())


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_file_is_private_before_the_first_write(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "state" / "popshell" / "history"
    old = os.umask(umask)
    try:
        history = ShellHistory(lambda: path, never)
        assert list(history.load_history_strings()) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size == 0
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
        history.append_string("STAT")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_file_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\n# x\n+STAT\n")
    path.chmod(0o644)
    assert entries(path) == ["STAT"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "history").symlink_to(tmp_path / "elsewhere")
    history = ShellHistory(lambda: tmp_path / "history", never)
    history.append_string("STAT")
    assert not (tmp_path / "elsewhere").exists()
    assert history.get_strings() == ["STAT"], "kept for this run"


def test_no_place_for_a_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = ShellHistory(lambda: tmp_path / "file" / "history", never)
    assert list(history.load_history_strings()) == []
    history.append_string("STAT")
    assert history.get_strings() == ["STAT"]


def test_file_that_was_removed_meanwhile_is_made_anew_as_private(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = ShellHistory(lambda: path, never)
    history.append_string("STAT")
    path.unlink()
    old = os.umask(0o022)
    try:
        history.append_string("LIST")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert entries(path) == ["LIST"]


def test_secret_is_neither_in_memory_nor_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = ShellHistory(lambda: path, lambda text: "C4n4ry" in text)
    for text in ("USER learner", "PASS C4n4ry", "STAT\nPASS C4n4ry\nLIST", "STAT"):
        history.append_string(text)
    assert history.get_strings() == ["USER learner", "STAT"]
    assert "C4n4ry" not in path.read_text()
    assert entries(path) == ["STAT", "USER learner"]


def test_the_filter_can_fail(tmp_path: Path) -> None:
    history = ShellHistory(lambda: tmp_path / "history", never)
    history.append_string("PASS C4n4ry")
    assert "C4n4ry" in (tmp_path / "history").read_text()


def test_entries_survive_with_their_lines_and_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = ShellHistory(lambda: path, never)
    typed = ["STAT", "STAT\nLIST", "+x", "# y", "中文", "  blank ", "UIDL 1"]
    for text in typed:
        history.append_string(text)
    assert entries(path) == typed[::-1]


def test_large_history_costs_no_more_than_its_tail(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with path.open("w") as file:
        for number in range(200_000):
            file.write(f"\n# 2026-01-01\n+RETR {number}\n")
    assert path.stat().st_size > 20 * TAIL
    found = entries(path)
    assert found[0] == "RETR 199999"
    assert found == [f"RETR {199_999 - at}" for at in range(len(found))], "whole entries only, none cut in two"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n+\xff\n", b"+no newline", b"garbage\n\n"])
def test_damaged_file_does_no_harm(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history"
    path.write_bytes(content)
    assert isinstance(entries(path), list)


def test_first_key_does_not_wait_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\n# x\n+STAT\n")
    asked: list[Path] = []

    def where() -> Path:
        asked.append(path)
        return path

    async def drawn_and_typed() -> list[str]:
        history = ShellHistory(where, never)
        loading = asyncio.ensure_future(anext(history.load()))
        await asyncio.sleep(0)
        assert asked == []
        history.append_string("LIST")  # Enter came first
        assert await loading == "LIST"
        return [entry async for entry in history.load()]

    assert asyncio.run(drawn_and_typed()) == ["LIST", "STAT"]


def suggested(typed: str, history: list[str]) -> str | None:
    memory = InMemoryHistory()
    for text in history:
        memory.append_string(text)
    assert (
        typed == ""
        or RecentSuggest(memory.get_strings()).get_suggestion(Buffer(history=memory), Document(typed)) is None
    )
    found = RecentSuggest().get_suggestion(Buffer(history=memory), Document(typed))
    return found.text if found else None


def test_suggestion_is_the_newest_that_goes_on() -> None:
    assert suggested("RE", ["RETR 1", "RETR 2", "STAT"]) == "TR 2"
    assert suggested("RETR 2", ["RETR 2"]) is None
    assert suggested("", ["STAT"]) is None
    assert suggested("  ", ["  STAT"]) is None
    assert suggested("S", ["STAT\nLIST"]) is None, "a block is no suggestion"
    assert suggested("x\ny", ["x\nyz"]) is None
    assert suggested("s", ["STAT"]) is None


def test_what_failed_is_not_suggested() -> None:
    memory = InMemoryHistory()
    for text in ("STAT", "STTA"):
        memory.append_string(text)
    for failed, wanted in ((set(), "TA"), ({"STTA"}, "AT")):
        found = RecentSuggest(failed).get_suggestion(Buffer(history=memory), Document("ST"))
        assert found is not None
        assert found.text == wanted


def test_suggestion_looks_at_the_newest_only() -> None:
    assert suggested("OLD", ["OLDEST", *["NOOP"] * LOOK_BACK]) is None


def test_a_fifo_is_not_waited_for_and_it_is_said_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "history")
    said: list[tuple[Path, str]] = []
    history = ShellHistory(lambda: tmp_path / "history", never, lambda path, why: said.append((path, why)))
    history.append_string("STAT")
    history.append_string("LIST")
    assert list(history.load_history_strings()) == []
    assert history.get_strings() == ["STAT", "LIST"]
    assert [str(path) for path, _ in said] == [str(tmp_path / "history")]


def _tell(said: list[str], path: str, reason: OSError) -> None:
    said.append(f"{path}: {in_words(reason, CATALOG.words('en'))}")


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    (tmp_path / "history").symlink_to("/dev/null")
    said: list[str] = []
    for where in (tmp_path / "file" / "history", tmp_path / "history"):
        tell = partial(_tell, said)
        ShellHistory(partial(str, where), never, tell).append_string("STAT")
    assert said[0].startswith(f"{tmp_path / 'file'}: something of that name")
    assert "a link, which is not followed" in said[1]
