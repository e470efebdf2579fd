"""Sentences of the RFCs that can bind somebody, as short fingerprints: lessons/conformance.toml forgets none.

`python tests/make_rfc_sentences.py FOLDER` reads rfc1939.txt and its fellows in FOLDER, and says which fingerprints
`tests/rfc_sentences.toml` lacks or has in vain; exit code 1 if there are any. What a sentence led to is written there
by hand. The texts are no part of the project; a fingerprint is a section, the first words and a short hash.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: The RFCs, and the sections that count; () for all.
RFCS = {1939: (), 2449: (), 2595: ("4",), 3206: (), 5034: (), 6856: ()}
SENTENCES = Path(__file__).with_name("rfc_sentences.toml")
_BINDS = re.compile(
    r"\b(must|should|may|shall|required?|requires|requirements?|optional|optionally|recommended|not|cannot)\b", re.I
)
_PAGE = re.compile(r"\n+[^\n]*\[Page \d+\]\n\f?\n?RFC \d+ [^\n]*\n+")
_HEADING = re.compile(r"(?m)^(\d+(?:\.\d+)*)\.? +\S[^\n]*$|^(Appendix [A-Z])\. [^\n]*$")
_END = re.compile(r"(?<=[.!?:])\)?\s+(?=[\"'`(]?[A-Z0-9\[(*])")
#: Sections without requirements: they name people, books and rights.
_LEFT_OUT = re.compile(r"References|Author|Acknowledg|Copyright|Conventions|Status of|Table of|Intellectual|IANA")


class Sentence(NamedTuple):
    """Where a sentence stands, and a short hash of it with a number, for the same may stand there twice."""

    rfc: int
    section: str
    hash: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.rfc} {self.section} {self.hash} {' '.join(self.text.split()[:4])}"


def sentences(rfc: int, text: str) -> Iterator[Sentence]:
    """The sentences with a word that can bind, in order."""
    text = _HEADING.sub(lambda heading: f"\n{heading[0]}\n", _PAGE.sub("\n", text))
    section, title, wanted, seen = "0", "", RFCS[rfc], Counter[str]()
    for block in re.split(r"\n\s*\n", text):
        if "....." in block or ". . . ." in block:
            continue
        first, _, rest = block.lstrip("\n\f").partition("\n")
        if (heading := _HEADING.match(first)) is not None:
            section, title, block = heading[1] or heading[2], first, rest
        if _LEFT_OUT.search(title) or section == "0" or (wanted and section not in wanted):
            continue
        for sentence in _END.split(" ".join(block.split())):
            if _BINDS.search(sentence):
                digest = hashlib.sha256(sentence.encode()).hexdigest()[:8]
                seen[section + digest] += 1
                yield Sentence(rfc, section, f"{digest}.{seen[section + digest]}", sentence)


def extract(folder: Path) -> list[Sentence]:
    return [
        sentence
        for rfc in RFCS
        for sentence in sentences(rfc, (folder / f"rfc{rfc}.txt").read_text("utf-8", "replace"))
    ]


def main(folder: str) -> int:
    found = {sentence.key for sentence in extract(Path(folder))}
    kept = set(tomllib.loads(SENTENCES.read_text("utf-8"))["sentences"])
    for key in sorted(found - kept):
        print("not in the list:", key)
    for key in sorted(kept - found):
        print("not in the texts:", key)
    return int(found != kept)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
