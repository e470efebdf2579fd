"""Reports: cases that passed, failed or were left out, as JUnit's XML and as TAP. `check` and `run` write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal
from xml.sax.saxutils import quoteattr

from popshell.tuples import NamedTuple
from popshell.visible import tame


class Case(NamedTuple):
    """One case. `message` says why it failed or was left out, `rows` show it; no secret is in any of them.

    `todo`: it failed, and is no failure of the whole.
    """

    group: str
    name: str
    title: str
    outcome: Literal["passed", "failed", "skipped"]
    message: str = ""
    rows: Sequence[str] = ()
    todo: str = ""


def junit(name: str, cases: Iterable[Case]) -> str:
    """One test suite for each group. XML 1.0 has no controls: they are written out."""
    out = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites name={_quoted(name)}>"]
    for group, members in groupby(cases, lambda case: case.group):
        some = list(members)
        failed = sum(case.outcome == "failed" and not case.todo for case in some)
        skipped = sum(case.outcome == "skipped" or bool(case.todo) for case in some)
        counts = f'tests="{len(some)}" failures="{failed}" errors="0" skipped="{skipped}"'
        out.append(f"  <testsuite name={_quoted(group)} {counts}>")
        out += [row for case in some for row in _testcase(case)]
        out.append("  </testsuite>")
    return "\n".join([*out, "</testsuites>", ""])


def _testcase(case: Case) -> Iterator[str]:
    head = f"    <testcase classname={_quoted(case.group)} name={_quoted(f'{case.name}: {case.title}')}"
    if case.outcome == "passed":
        yield f"{head}/>"
        return
    kind = "failure" if case.outcome == "failed" and not case.todo else "skipped"
    message = f"{case.todo}: {case.message}" if case.todo else case.message
    yield f"{head}>"
    yield f"      <{kind} message={_quoted(message)}>{_quoted(chr(10).join(case.rows))[1:-1]}</{kind}>"
    yield "    </testcase>"


def _quoted(text: str) -> str:
    return quoteattr(tame(text, keep="\n"), {'"': "&quot;"})


def tap(cases: Sequence[Case]) -> str:
    """TAP 14; a case that is `todo` is `not ok` and counts as no failure there."""
    out = ["TAP version 14", f"1..{len(cases)}"]
    for number, case in enumerate(cases, 1):
        title = tame(f"{case.name} {case.title}", keep="").replace("#", r"\#")
        note = f" # SKIP {case.message}" if case.outcome == "skipped" else f" # TODO {case.todo}" if case.todo else ""
        out.append(f"{'not ' if case.outcome == 'failed' else ''}ok {number} - {title}{tame(note, keep='')}")
        if case.outcome == "failed":
            rows = [f"    {tame(row, keep='')}" for row in (case.message, *case.rows)]
            out += ["  ---", "  message: |", *rows, "  ..."]
    return "\n".join([*out, ""])
