"""`popshell lesson new NAME`: a lesson that passes lint, to be changed into one's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from popshell.learn.catalog import LANGUAGES, Words
from popshell.learn.lesson import fingerprint

_NAME = re.compile(r"[0-9]{2}-[a-z0-9][a-z0-9-]*\Z")

_HEAD = """+++
id = "{id}"
title = "{title}"
teaches = ["STAT", "DELE"]

[[exercise]]
id = "count"
kind = "answer"
start = ["USER learner", "PASS secret"]
answer = ["7"]
solution = ["STAT", ":answer 7"]
wrong = [{{ lines = [":answer 6"], say = "one-short" }}]

[[exercise]]
id = "mark"
kind = "do"
start = ["USER learner", "PASS secret"]
solution = ["DELE 2"]
check = [{{ marks = [2] }}]
+++
"""


def new_lesson(folder: Path, name: str, words: Words) -> int:
    """Write lesson `name` in every language below `folder`, and name it in course.toml. Returns the exit code."""
    if not _NAME.match(name):
        sys.stderr.write(words("scaffold.bad-name") + "\n")
        return 2
    files = {tag: folder / tag / f"{name}.md" for tag in LANGUAGES}
    taken = next((path for path in files.values() if path.exists()), None)
    if taken is not None:
        sys.stderr.write(words("scaffold.exists", path=str(taken)) + "\n")
        return 2
    identity = name.partition("-")[2]
    english = _HEAD.format(id=identity, title=words("scaffold.title")) + _PROSE["en"]
    try:
        for tag, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            head = f'+++\ntitle = "{_TITLES[tag]}"\ntranslated_from = "{fingerprint(english)}"\n+++\n'
            path.write_text(english if tag == "en" else head + _PROSE[tag], encoding="utf-8")
        _name_in_course(folder / "course.toml", name, folder.resolve().name)
    except OSError as error:
        sys.stderr.write(words("scaffold.failed", reason=error.strerror or "") + "\n")
        return 2
    for path in files.values():
        sys.stdout.write(words("scaffold.made", path=str(path)) + "\n")
    return 0


def _name_in_course(path: Path, name: str, course: str) -> None:
    """Append the lesson to `lessons = [...]`; make the file if there is none."""
    if not path.exists():
        identity = re.sub(r"[^a-z0-9-]+", "-", course.lower()).strip("-") or "course"
        path.write_text(f'id = "{identity}"\nlessons = [\n  "{name}",\n]\n', encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    end = text.rfind("]")
    before = text[:end].rstrip()
    comma = "" if before.endswith((",", "[")) else ","
    path.write_text(f'{before}{comma}\n  "{name}",\n{text[end:]}', encoding="utf-8")
