"""Make lessons/rfc.toml: which sections the RFCs really have.

Use: python tests/make_rfc_toml.py DIR > lessons/rfc.toml, where DIR holds rfcNNNN.txt files as the RFC Editor
publishes them. Lint and the shell read the result; nobody edits it.

A heading begins in the first column, stands between blank lines and may run on in indented lines. Tables of
contents and numbered lists are indented, so they fall out by themselves; page headers and footers are taken
out first.

Trap: some old RFCs have no numbers (937, 1081, 1082, 1225, 1957), and some numbered ones have headings
without a number too (it is the "Overview" of RFC 1725 that says that LAST was removed): both go into
`headings`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_FOOTER = re.compile(r".*\[Page \d+\]\s*")
_HEADER = re.compile(r"RFC \d+\s.*\b(?:19|20)\d\d\s*")
#: `5.`, `5`, `2.1.`, `A.`, `Appendix A.1.`; a single letter without dot or "Appendix" is the word "A"
_NUMBERED = re.compile(
    r"(?:Appendix ([A-Z](?:\.\d+)*)\.?|([A-Z](?:\.\d+)*)\.|(\d+(?:\.\d+)*)\.?) +(?:(?:Appendix )?-- )?(\S.*)"
)
#: a heading without a number: one line of words; not `C: ...`, not `(1) ...`
_UNNUMBERED = re.compile(r"(?![CS]: )[A-Z][^.]{3,71}")
#: headings that every RFC has and no page cites
_BOILERPLATE = re.compile(
    r"(?:Status of this Memo|Copyright Notice|Table of Contents|Abstract|Full Copyright Statement"
    r"|Intellectual Property|Acknowledge?ments?|(?:Author|Editor)(?:'s|s') Address(?:es)?:?)",
    re.IGNORECASE,
)


def without_page_marks(lines: list[str]) -> list[str]:
    """The text with each page's footer and header blanked; in RFC 937 the header has a second line."""
    kept: list[str] = []
    after_header = False
    for line in (line.replace("\f", "").rstrip() for line in lines):
        header = _HEADER.fullmatch(line) is not None
        drop = header or _FOOTER.fullmatch(line) or (after_header and line and not line[0].isspace())
        kept.append("" if drop else line)
        after_header = header
    return kept


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """The runs of lines between blank lines."""
    block: list[str] = []
    for line in (*lines, ""):
        if line:
            block.append(line)
        elif block:
            yield block
            block = []


def joined(block: list[str]) -> str:
    return " ".join(" ".join(block).split())


def title_and_headings(text: str) -> tuple[str, list[str]]:
    """The title (the block after the masthead) and each heading in the order of the text."""
    _masthead, title, *rest = blocks(without_page_marks(text.splitlines()))
    headings = [
        joined(block) for block in rest if not block[0][0].isspace() and all(line[0].isspace() for line in block[1:])
    ]
    return joined(title), headings


def quoted(text: str) -> str:
    """A TOML string: basic, or literal where the text has double quotes."""
    if '"' in text and "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def table(number: int, text: str) -> Iterator[str]:
    """The lines of one RFC's table."""
    title, headings = title_and_headings(text)
    sections: dict[str, str] = {}
    unnumbered: list[str] = []
    for heading in headings:
        if match := _NUMBERED.fullmatch(heading):
            key = match[1] or match[2] or match[3]
            if key in sections:
                raise ValueError(f"RFC {number}: section {key} twice")
            sections[key] = match[4]
        elif _UNNUMBERED.fullmatch(heading) and not _BOILERPLATE.fullmatch(heading):
            unnumbered.append(heading)
    yield f"[rfc{number}]"
    yield f"title = {quoted(title)}"
    if unnumbered:
        yield "headings = ["
        yield from (f"  {quoted(heading)}," for heading in unnumbered)
        yield "]"
    if sections:
        yield ""
        yield f"[rfc{number}.sections]"
        yield from (f'"{key}" = {quoted(heading)}' for key, heading in sections.items())


def main(directory: Path) -> str:
    numbers = {int(path.stem.removeprefix("rfc")): path for path in directory.glob("rfc*.txt")}
    if not numbers:
        raise SystemExit(f"no rfcNNNN.txt in {directory}")
    out = ["# Made by tests/make_rfc_toml.py from the texts of the RFC Editor; do not edit."]
    for number, path in sorted(numbers.items()):
        out += ["", *table(number, path.read_text(encoding="utf-8", errors="replace"))]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python tests/make_rfc_toml.py DIR > lessons/rfc.toml")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    sys.stdout.write(main(Path(sys.argv[1])))
