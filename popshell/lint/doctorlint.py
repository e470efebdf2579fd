"""Lint of `doctor.toml`: its form, its sources, and words for all that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from popshell.course.catalog import LANGUAGES
from popshell.course.doctor import Rules, read
from popshell.course.notices import NOTICES
from popshell.lint.citations import Rfc
from popshell.lint.files import Finding, Source, Tree

_PATH = "doctor.toml"


def check_doctor(tree: Tree, rfcs: Mapping[int, Rfc]) -> Iterator[Finding]:
    """Everything about the rules; that both languages have the same keys is for pages.py."""
    source = tree.sources.get(_PATH)
    if source is None or source.words is None:
        return
    try:
        rules = read(source.text)
    except ValueError as error:
        yield source.finding(0, "bad-doctor", reason=str(error))
        return
    for rule in rules.rule:
        rfc = rules.source[rule.source].rfc
        if rfc and not (rfc in rfcs and rfcs[rfc].has(rule.at)):
            line = source.text.count("\n", 0, source.text.index(f'id = "{rule.id}"')) + 1
            yield source.finding(line, "no-such-section", rfc=rfc, section=rule.at)
    for tag in LANGUAGES:
        if (words := tree.sources.get(f"{tag}/{_PATH}")) is not None and words.words is not None:
            yield from _check_words(words, rules)


def _check_words(source: Source, rules: Rules) -> Iterator[Finding]:
    """A word for each cause, next step and notice, and for nothing else."""
    wanted = {
        "cause": {cause for rule in rules.rule for cause in rule.causes},
        "next": {rule.next for rule in rules.rule} | {"unknown"},
        "notice": {entry.code for entry in NOTICES},
    }
    for section, keys in wanted.items():
        table = (source.words or {}).get(section, {})
        for key in sorted(keys - table.keys()):
            yield source.finding(0, "missing-key", key=f"{section}.{key}")
        for key in sorted(table.keys() - keys):
            yield source.finding(source.line(section, key), "unknown-key", key=f"{section}.{key}")
