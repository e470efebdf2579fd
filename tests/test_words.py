"""words: placeholders are filled with facts; nothing is evaluated; every reply of the practice server can be filled."""

from __future__ import annotations

import re
import tomllib

import pytest
from stage import METAS
from support import ROOT, texts

from popshell.words import fill, places

FACTS = {"count": 2, "octets": 1, "name": "mei", "zero": 0}


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("", ""),
        ("no places", "no places"),
        ("hello {name}", "hello mei"),
        ("{name}{name}", "meimei"),
        ("{count|# message|# messages}", "2 messages"),
        ("{octets|# octet|# octets}", "1 octet"),
        ("{zero|# octet|# octets}", "0 octets"),
        ("{count||s}", "s"),
        ("{count|one|#/#}", "2/2"),
        ("{unknown}", None),
        ("{name} {unknown|a|b}", None),
        ("{name.x} {name[0]} {name!r} {} {Name} {{name}}", "{name.x} {name[0]} {name!r} {} {Name} {mei}"),
        ("${name} {{ 1 }} %(name)s", "$mei {{ 1 }} %(name)s"),
        ("{count|a}", "{count|a}"),
        ("# stays", "# stays"),
    ],
)
def test_fill(template: str, wanted: str | None) -> None:
    assert fill(template, FACTS) == wanted


def test_a_fact_is_not_a_template() -> None:
    assert fill("{name}", {"name": "{count} #", "count": 1}) == "{count} #"
    assert fill("{name|a #|b #}", {"name": "{name}"}) == "b {name}"


def test_places() -> None:
    assert places("{a} {b|x|y} {b} {C} text") == {"a", "b"}


class TestReplies:
    """The words of the practice server."""

    def test_both_languages_hold_the_same_keys_and_places(self) -> None:
        english, chinese = texts("en"), texts("zh-Hant")
        assert english.keys() == chinese.keys()
        assert {key: places(english[key]) for key in english} == {key: places(chinese[key]) for key in english}

    @pytest.mark.parametrize("tag", ["en", "zh-Hant"])
    def test_a_reply_is_one_short_line(self, tag: str) -> None:
        """RFC 1939 §3: 512 octets with CRLF; a text that began with "[" would be a response code (RFC 2449 §6.4)."""
        for key, text in texts(tag).items():
            assert len(text.encode()) < 400, key
            assert text == text.strip(), key
            assert text, key
            assert not text.startswith("["), key
            assert not any(ord(ch) < 32 or ch in "\x7f\u2028\u2029" for ch in text), key

    def test_english_is_ascii(self) -> None:
        """Before LANG, text is ASCII (RFC 6856 §3.2)."""
        assert all(text.isascii() for text in texts("en").values())

    def test_no_key_is_missing_and_none_is_left_over(self) -> None:
        """Every word in quotes in the server, and every diagnostic of a command line, that is a key of the file."""
        code = "".join((ROOT / "popshell" / name).read_text("utf-8") for name in SOURCES)
        used = set(re.findall(r'"([a-z0-9-]+)"', code))
        assert texts("en").keys() <= used
        asked = set(re.findall(r'(?:error\(|Reply\((?:True|False), )"([a-z0-9-]+)"', code))
        assert asked
        assert asked <= texts("en").keys()


SOURCES = (
    "server/handlers.py",
    "server/faults.py",
    "server/session.py",
    "server/replies.py",
    "protocol/line.py",
    "protocol/sasl.py",
    "protocol/mechanisms.py",
)

#: Words that are not for a person at the prompt: of the command line, and of what only happens there.
ELSEWHERE = {"cli", "config", "man", "lint", "password", "explain-log", "watch", "reach", "check", "run"}
NAMES_AN_OPTION = {
    "net.ca-file-unreadable",
    "net.ca-file-no-certificate",
    "net.own-file-unreadable",
    "net.own-no-key",
    "shell.windows",
    "shell.needs-yes",
    "meta.save",
}


def test_advice_inside_the_shell_can_be_followed_there() -> None:
    """An option stands after `:connect` or after what begins another try; each `:word` is a meta command."""
    wrong, commands = [], 0
    known = {*METAS, *(name for meta in METAS.values() for name in meta.also)}
    for tag in ("en", "zh-Hant"):
        for file in ("messages", "doctor"):
            for section, words in tomllib.loads((ROOT / "lessons" / tag / f"{file}.toml").read_text("utf-8")).items():
                for key, text in words.items() if isinstance(words, dict) else ():
                    if section in ELSEWHERE or f"{section}.{key}" in NAMES_AN_OPTION or not isinstance(text, str):
                        continue
                    option = re.search(r"(?<![\w|])--[a-z]|`popshell", text)
                    if option and not re.search(r"`(:connect|\{again\}) ?", text):
                        wrong.append(f"{tag} {section}.{key}: {text}")
                    metas = re.findall(r"`:([a-z]+)( [^`]+)?", text)
                    commands += len(metas)
                    wrong += [f"{tag} {section}.{key}: there is no :{meta}" for meta, _ in metas if meta not in known]
                    bare = [meta for meta, given in metas if given and meta in METAS and not METAS[meta].param]
                    wrong += [f"{tag} {section}.{key}: :{meta} takes nothing" for meta in bare]
    assert commands > 100
    assert not wrong, "\n".join(wrong)
