"""Reasons: what the system and libraries say of a fault reaches the user in the language of the shell alone."""

from __future__ import annotations

import errno
import os
import re
import shlex
import ssl
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from stage import CATALOG
from support import ROOT, each

from popshell import cli
from popshell.course.catalog import _TEXTS, in_words
from popshell.course.document import Document, LessonError
from popshell.course.lesson import _read_head
from popshell.server.faults import read_faults
from popshell.words import Flaw

CHINESE, ENGLISH = CATALOG.words("zh-Hant"), CATALOG.words("en")
#: What may stand in a Chinese sentence: names in backquotes, quotes or capitals, paths, numbers.
_NAMES = re.compile(r"`[^`]*`|'[^']*'|\b[A-Z][A-Z0-9-]+\b|[\w./-]*[./][\w./-]*|maildrops/|\bid\b")
_TOML = [
    *("a = ", "a = x", "a = 1 2", "a 1", "= 1", "a = 'x", 'a = "x', "a = [1", "a = {b = 1", "[a", "[[a]", "!"),
    *("a = 1\na = 2", "[a]\n[a]", "a = {b = 1, b = 2}", "a = 1\n[a.b]", "a = {}\n[a.b]", "a.b = 1\na = 2"),
    *('a = "\\q"', 'a = "\x01"', 'a = "\\ud800"', 'a = "\\xq"', 'a = "x\ny"', "a = '\x7f'", "a = '''x", "# \x01"),
    *("a = 2026-13-01", "a = 0x", "[a]\nb.c=1\n[a.b]"),
]


def caught(act: Any) -> Exception:
    with pytest.raises(Exception) as found:  # noqa: PT011
        act()
    return found.value


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    number: int = 1


def _failures() -> list[Exception]:
    found = [
        OSError(number, os.strerror(number)) for number in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOSPC)
    ]
    found += [OSError(number, "x") for number in errno.errorcode]
    found += [caught(lambda text=text: tomllib.loads(text)) for text in _TOML]
    rows: list[Any] = [{}, {"name": 1}, {"name": "x", "other": 1}, {"name": "x", "number": "1"}, [], 1]
    found += [caught(lambda row=row: msgspec.convert(row, _Row)) for row in rows]
    found += [
        caught(lambda: b"\xff".decode()),
        RecursionError("maximum recursion depth exceeded"),
        FileNotFoundError("x"),
    ]
    found += [caught(lambda: shlex.split("'x")), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")]
    faults: list[dict[str, Any]] = [{"latency": "x"}, {"no_such": 1}, {"require_tls": 2}, {"without": 1}]
    faults += [{"mechanisms": 1}]
    return [*found, *(caught(lambda row=row: dict(read_faults(row))) for row in faults)]


def _heads() -> list[Exception]:
    """Lessons that cannot be read, each for another reason."""
    good = (ROOT / "lessons/en/03-user-pass.md").read_text("utf-8")
    cuts = [("id =", "ident ="), ('id = "', "id = 7 #"), ("[[exercise]]", "[exercise]"), ("+++", ""), ("\n+++", "")]
    cuts += [('account = "', 'account = "x" #'), ("[[exercise]]", '[[exercise]]\nmaildrop = "../x"')]
    cuts += [("start = [", 'start = ["\\u0000",')]
    found: list[Exception] = []
    for old, new in cuts:
        document = Document("en/03-user-pass.md", good.replace(old, new, 1))
        try:
            _read_head(document.checked())
        except LessonError as error:
            found.append(error)
    return found


def test_no_reason_is_english_in_a_chinese_sentence() -> None:
    failures = [*_failures(), *_heads()]
    assert len(failures) > 60

    def check(error: Exception) -> None:
        said = in_words(error, CHINESE)
        assert not re.findall(r"[A-Za-z]{2,}", _NAMES.sub("", said)), said
        for text in (str(error), f"{str(error).partition(' - ')[0]} - at `$.x`"):
            if not isinstance(error, OSError | UnicodeError | RecursionError | LessonError | Flaw):
                assert not re.findall(r"[A-Za-z]{2,}", _NAMES.sub("", in_words(text, CHINESE))), text
        assert in_words(error, ENGLISH)

    each([(error,) for error in failures], check)


def test_each_row_has_its_words() -> None:
    for words in (CHINESE, ENGLISH):
        assert [key for key, _ in _TEXTS if key and words.get(f"reason.{key}") is None] == []
    assert in_words("ECONNRESET", CHINESE).startswith("ECONNRESET，")
    assert in_words("SSLV3_ALERT_HANDSHAKE_FAILURE", CHINESE) == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert CHINESE("net.lost", host="h", port=1, reason="ENETDOWN") == "和 h:1 之間的網路斷了（ENETDOWN，網路沒有開）。"
    assert in_words(caught(lambda: tomllib.loads('a = "x\nb = 1')), ENGLISH).startswith("a quote or a bracket is not")
    for text in ("Expected `array | null`, got `int`", "Expected `str`, got `array`"):
        assert "a list in" in in_words(text, ENGLISH), text
    assert "\x1b" not in in_words("what \x1b[2J a stranger wrote", CHINESE)


def test_no_file_is_named_with_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each file that an option or a subcommand names, and that cannot be read or written."""
    missing = str(tmp_path / "none" / "x.pem")
    (tmp_path / "config.toml").write_text("a = x\n", "utf-8")

    def check(*argv: str) -> None:
        assert cli.run(["--lang", "zh-Hant", *argv]) in (2, 3)
        said = capsys.readouterr().err.partition("\n用法")[0]
        assert missing in said
        assert "沒有這個檔案" in said
        assert "ENOENT" not in said

    for option in ("--ca", "--cert", "--key"):
        check("localhost:1", option, missing)
    each(
        [("explain", missing), ("run", missing), ("--log", missing, "localhost:1"), ("serve", "--maildrop", missing)],
        check,
    )


#: Chinese text, and a mark of ASCII beside it that has a full-width form.
_WIDE = r"[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]"
_HALF = re.compile(rf"{_WIDE} ?[,;:!?()](?![A-Za-z:])|(?<![A-Z?])[,;:!?()] ?{_WIDE}")


def test_punctuation_beside_chinese_text_is_full_width() -> None:
    """In all that stands in `lessons/zh-Hant/`; not in code or a dialogue, nor where a mark is itself the subject."""

    def check(path: Path) -> None:
        text = re.sub(r"(?ms)^```.*?^```|^#.*?$" if path.suffix == ".md" else r"(?m)^#.*$", "", path.read_text("utf-8"))
        found = [row for row in re.sub(r"`[^`\n]*`", "`", text).split("\n") if _HALF.search(row)]
        assert [row for row in found if "從 ! 到 ~" not in row] == []

    each([(path,) for path in sorted((ROOT / "lessons/zh-Hant").rglob("*.*"))], check)
    assert all(map(_HALF.search, ("完成: 3", "完成 (3)", "LISTs: 一行", "一,二", "(一)")))
