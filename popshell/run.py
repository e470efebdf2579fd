"""`popshell run`: plays scripts and reports, in words, as JSON and as JUnit's XML; the exit code names the stage."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popshell.arguments import Arguments
from popshell.protocol.sasl import Credentials
from popshell.reach import Case, Practice, Reach, junit, write_file
from popshell.script import LONGEST, STAGES, Outcome, Script, play, read_script
from popshell.visible import tame
from popshell.words import Flaw

if TYPE_CHECKING:
    from popshell.config import Config
    from popshell.course.catalog import Words
    from popshell.server.mailserver import MailServer


def run_scripts(arguments: Arguments, config: Config, words: Words, new_server: Callable[[], MailServer]) -> int:
    """Play the scripts and report. Returns the exit code of the first that failed. Raises Usage."""
    reach = Reach(arguments, config, words)
    paths, where = _split(arguments.scripts or (), config, reach, words)
    scripts = [(path, _read(path, reach, words)) for path in paths]
    if where:
        reach.destination(where)
        for name in ("maildrop", "account", "require_tls", "mechanisms", "without"):
            if getattr(arguments, name):  # it would be ignored, and somebody may rely on it
                raise reach.usage("cli.only-with", option=f"--{name.replace('_', '-')}", commands="`popshell run FILE`")
    here = not where and not any(script.connects for _, script in scripts)
    needed = any(script.needs_account for _, script in scripts)
    account = None
    if needed and (not here or any(script.asks for _, script in scripts) or arguments.user):
        account = reach.account(needed=True)
    done: list[dict[str, Any]] = []
    for path, script in scripts:
        began = time.monotonic()
        outcome = _play(script, where, reach, account, new_server)
        done.append(_record(path, outcome, time.monotonic() - began, words))
        if not arguments.json:
            sys.stdout.write("".join(tame(row) + "\n" for row in _text(done[-1], words)))
            sys.stdout.flush()
        if outcome.stage and arguments.stop_on_err:
            break
    if arguments.json:
        sys.stdout.write(json.dumps({"version": 1, "scripts": done}) + "\n")
    elif len(done) > 1:
        passed = sum(one["passed"] for one in done)
        sys.stdout.write(words("run.summary", passed=passed, failed=len(done) - passed) + "\n")
    if arguments.junit:
        write_file(arguments.junit, junit("popshell run", [_case(one, words) for one in done]), reach)
    return next((one["exit_code"] for one in done if not one["passed"]), 0)


def _split(given: Any, config: Config, reach: Reach, words: Words) -> tuple[list[str], str]:
    """The files, and HOST: the last word that is not the name of a file."""
    *files, last = given
    if last in config.connections or not (last.endswith(".pop") or Path(last).exists()):
        if not files:
            raise reach.usage("run.no-file", path=last, reason=words("run.bad-file"))
        return files, "" if last == "practice" else last
    return [*files, last], ""


def _read(path: str, reach: Reach, words: Words) -> Script:
    try:
        with open(path, "rb") as file:
            return read_script(file.read(LONGEST + 1))
    except OSError as error:
        raise reach.usage("run.no-file", path=path, reason=error) from None
    except Flaw as error:
        raise reach.usage("run.bad-script", path=path, line=error.facts["line"], reason=error) from None


def _play(
    script: Script, where: str, reach: Reach, account: Credentials | None, new_server: Callable[[], MailServer]
) -> Outcome:
    """Play one script: its connections share their bounds with those to the same place alone."""
    opened: dict[str, Any] = {}
    last = [where]

    def channels(place: str) -> Any:
        """To a place, "" for the last one."""
        where = last[0] = place or last[0]
        if where not in opened:
            practice = where in ("", "practice")
            opened[where] = Practice(new_server(), reach) if practice else reach.channels(reach.destination(where))
        return opened[where]

    try:
        if account is None and script.needs_account:
            account = channels("").account
        return play(script, lambda place: channels(place).connect(), account, lambda left: channels("").pass_time(left))
    finally:
        for one in opened.values():
            one.close()


# -- reports -----------------------------------------------------------------------------------------------------------


def _record(path: str, outcome: Outcome, seconds: float, words: Words) -> dict[str, Any]:
    """What came of a script (docs/reference-scripts.md)."""
    return {
        "file": path,
        "passed": not outcome.stage,
        "turns": outcome.turns,
        "seconds": round(seconds, 3),
        "stage": outcome.stage or None,
        "exit_code": STAGES[outcome.stage],
        "line": outcome.line or None,
        "code": outcome.code or None,
        "reason": (outcome.text or words(f"run.{outcome.code}")) if outcome.stage else None,
        "expected": outcome.expected,
        "received": outcome.received,
        "rows": list(outcome.rows),
    }


def _text(done: dict[str, Any], words: Words) -> Iterator[str]:
    if done["passed"]:
        yield words("run.passed", path=done["file"], turns=done["turns"])
        return
    stage = words(f"run.stage-{done['stage']}")
    yield words("run.failed", path=done["file"], line=done["line"] or 0, stage=stage, reason=done["reason"])
    yield from (f"    {row}" for row in done["rows"])


def _case(done: dict[str, Any], words: Words) -> Case:
    if done["passed"]:
        return Case("popshell run", done["file"], "", "passed")
    stage = words(f"run.stage-{done['stage']}")
    message = words("run.stage", stage=stage, line=done["line"] or 0, reason=done["reason"])
    return Case("popshell run", done["file"], "", "failed", message, done["rows"])
