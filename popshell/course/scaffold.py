"""`popshell lesson new NAME`: a lesson that passes lint, to be changed into one's own.

It is a copy of `lesson-template.md`, which is proved like every other lesson.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from popshell.course import gate
from popshell.course.catalog import LANGUAGES, Catalog, Words, bundled
from popshell.course.lesson import fingerprint
from popshell.course.progress import read_course

_NAME = re.compile(r"[0-9]{2}-[a-z0-9][a-z0-9-]*\Z")
_TEMPLATE = "lesson-template"


def new_lesson(folder: Path, name: str, words: Words) -> int:
    """Write lesson `name` in every language below `folder`, and name it in course.toml. Returns the exit code."""
    if not _NAME.match(name):
        sys.stderr.write(words("scaffold.bad-name") + "\n")
        return 2
    files = {tag: folder / tag / f"{name}.md" for tag in LANGUAGES}
    taken = next((path for path in files.values() if os.path.lexists(path)), None)
    if taken is not None:
        sys.stderr.write(words("scaffold.exists", path=str(taken)) + "\n")
        return 2
    catalog = Catalog((bundled(),))
    english = catalog.read(f"en/{_TEMPLATE}.md").replace('id = "template"', f'id = "{name.partition("-")[2]}"', 1)
    mark = f'translated_from = "{fingerprint(english)}"'
    try:
        gate.check(folder, "course.toml")
        for tag in LANGUAGES:  # nothing is written where a link leads out
            gate.check(folder, tag, folder=True)
        for tag, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            text = english
            if tag != "en":
                text = re.sub(r'(?m)^translated_from = ".*"$', mark, catalog.read(f"{tag}/{_TEMPLATE}.md"), count=1)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(words("scaffold.made", path=str(path)) + "\n")
        _name_in_course(folder / "course.toml", name, folder.resolve().name)
    except OSError as error:
        sys.stderr.write(words("scaffold.failed", reason=error.strerror or "") + "\n")
        return 2
    except gate.Refused as error:
        sys.stderr.write(words("scaffold.failed", reason=str(error)) + "\n")
        return 2
    return 0


def _name_in_course(path: Path, name: str, course: str) -> None:
    """Append the lesson to `lessons = [...]`; make the file if there is none."""
    if not path.exists():
        identity = re.sub(r"[^a-z0-9-]+", "-", course.lower()).strip("-") or "course"
        if identity == read_course(Catalog((bundled(),))).id:
            identity = f"my-{identity}"  # learners' progress is kept by it
        path.write_text(f'id = "{identity}"\nlessons = [\n  "{name}",\n]\n', encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    end = text.rfind("]")
    before = text[:end].rstrip()
    comma = "" if before.endswith((",", "[")) else ","
    path.write_text(f'{before}{comma}\n  "{name}",\n{text[end:]}', encoding="utf-8")
