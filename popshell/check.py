"""`popshell check`: plays the rows of lessons/conformance.toml on a server and reports, grouped by RFC.

What can cost mail or an account is sent only where an option allows it. Exit code: 0, 1 if a MUST is missed, 3 without
a connection, or if the server is gone at the end.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any

from popshell.arguments import Arguments
from popshell.conformance.player import Allowed, Result, play
from popshell.conformance.rows import Level, read
from popshell.course.explain import problem_notes
from popshell.net.channel import Channel, ChannelError, Channels
from popshell.net.errors import NetError
from popshell.protocol.sasl import Credentials
from popshell.protocol.secrets import joined, redact
from popshell.reach import Case, Reach, junit, started, tap, write_file
from popshell.session import transcript_lines
from popshell.visible import show, tame

if TYPE_CHECKING:
    from popshell.config import Config
    from popshell.course.catalog import Catalog, Words

OK, MISSED, NO_CONNECTION = 0, 1, 3
#: How the levels are kept apart in the report.
_GROUPS: Mapping[Level, str] = {
    "must": "MUST",
    "must not": "MUST",
    "may not": "MUST",
    "should": "SHOULD",
    "should not": "SHOULD",
    "may": "MAY",
    "plain": "-",
}
#: The option with which a row could be seen that was not, by the reason.
OPTIONS: Mapping[str, str] = {
    "account": "--user NAME",
    "fetch": "--fetch",
    "wrong-login": "--wrong-login",
    "marks": "--destructive",
    "destructive": "--destructive",
    "clear": "--tls none",
    "tls": "--tls stls / --tls implicit",
}
#: Rows of evidence, and of one reply's content, that are shown.
_SHOWN, _CONTENT = 30, 16
_LONGEST = 200


def check(arguments: Arguments, config: Config, catalog: Catalog) -> int:
    """Check a server and report. Returns the exit code. Raises Usage."""
    words = catalog.words(config.get("language"), "conformance")
    reach = Reach(arguments, config, words)
    if bool(arguments.address) == bool(arguments.exec):
        raise reach.usage("check.host-or-exec")
    if arguments.json and arguments.tap:
        raise reach.usage("check.one-form")
    with ExitStack() as stack:
        destination = reach.destination(arguments.address) if arguments.address else None
        account = reach.account(needed=arguments.destructive)
        try:
            if destination is None:
                channels, first = stack.enter_context(started(arguments.exec or "", reach))
            else:
                channels = reach.channels(destination)
                stack.callback(channels.close)
                first = channels.connect()
            report = _examined(arguments, channels, first, account, catalog, words)
        except ChannelError as error:
            sys.stderr.write(show(str(error)) + "\n")
            return NO_CONNECTION
    _write(arguments, report, reach, words)
    code: int = report["exit_code"]
    return code


def _examined(
    arguments: Arguments,
    channels: Channels,
    first: Channel,
    account: Credentials | None,
    catalog: Catalog,
    words: Words,
) -> dict[str, Any]:
    """Play the rows; `first` is the channel that is open already. Gives the report (docs/reference-check.md).

    No secret is in it. Raises ChannelError if nothing comes at all.
    """
    rows = read(catalog.read("conformance.toml"))
    everything = arguments.destructive
    allowed = Allowed(
        fetch=arguments.fetch or everything,
        marks=everything,
        destructive=everything,
        wrong_logins=len(rows.row) if everything else int(arguments.wrong_login),
        wait=arguments.wait or 0,
    )
    wait = channels.pass_time
    ready = [first]
    results = play(rows.row, lambda: ready.pop() if ready else channels.connect(), account, allowed, wait)
    if not channels.octets:
        raise channels.error(NetError("greeting-timeout", seconds=round(channels.bounds.reply)))
    # What cannot be seen under TLS is looked at in clear text, where no password is sent.
    in_clear = [one.row for one in results if channels.upgrades and _option(one, first.tls) == OPTIONS["clear"]]
    again = play(in_clear, lambda: channels.connect(clear=True), None, allowed, wait)
    seen = {one.row.id: one for one in again if one.verdict != "unseen"}
    results = tuple(seen.get(one.row.id, one) for one in results)
    hidden = joined((), (account.secret, account.secret + "-wrong")) if account and account.secret else ()
    lost = ""
    if any(one.reason == "no-connection" for one in results):  # a certificate may be the reason, and not the server
        try:
            channels.connect().close()
        except ChannelError as error:
            lost = str(error)
    found = Counter((_GROUPS[one.row.level], one.verdict) for one in results)
    return {
        "version": 1,
        "place": channels.address.label,
        "tls": first.tls,
        "exit_code": MISSED if found["MUST", "missed"] else NO_CONNECTION if lost else OK,
        "lost": lost or None,
        "summary": {
            group: {verdict: found[group, verdict] for verdict in ("met", "missed", "unseen")}
            for group in dict.fromkeys(_GROUPS.values())
        },
        "rows": [_row(one, hidden, words, first.tls) for one in results],
        "unobservable": [one.id for one in rows.unseen],
    }


def _write(arguments: Arguments, report: Mapping[str, Any], reach: Reach, words: Words) -> None:
    if arguments.json:
        text = json.dumps(report) + "\n"
    elif arguments.tap:
        text = tap([_case(row) for row in report["rows"]])
    else:
        text = "".join(tame(row) + "\n" for row in _text(report, words))
    sys.stdout.write(text)
    sys.stdout.flush()
    if arguments.junit:
        cases = sorted((_case(row) for row in report["rows"]), key=lambda case: case.group)
        write_file(arguments.junit, junit(f"popshell check {report['place']}", cases), reach)


def _row(result: Result, hidden: tuple[str, ...], words: Words, tls: bool) -> dict[str, Any]:
    """What the report says of a row."""
    return {
        "id": result.row.id,
        "rfc": result.row.rfc,
        "section": result.row.section,
        "level": result.row.level,
        "words": words(f"rows.{result.row.id}"),
        "verdict": result.verdict,
        "reason": result.reason or None,
        "fact": result.fact or None,
        "because": _because(result, words) if result.reason else None,
        "option": _option(result, tls),
        "step": result.step or None,
        "evidence": _evidence(result, hidden) if result.verdict == "missed" else [],
    }


def _option(result: Result, tls: bool) -> str | None:
    """The option that would show a row that was not seen; STLS is announced in clear text only, so not under `tls`."""
    if result.verdict != "unseen":
        return None
    if result.reason in ("wait", "login-delay"):
        return f"--wait {result.fact or result.row.longest_wait}"
    if result.reason == "wrong-login" and result.fact:  # one was sent
        return OPTIONS["destructive"]
    needs_clear = tls and result.reason == "capability" and result.fact == "STLS"
    return OPTIONS.get("clear" if needs_clear else result.reason)


def _because(result: Result, words: Words) -> str:
    fact = result.fact
    if result.reason == "problem":
        last = next(one for one in reversed(result.exchanges) if one.problem and one.problem.code == fact)
        fact = next(problem_notes(last, words)).text
    return words(f"because.{result.reason}", fact=fact)


def _evidence(result: Result, hidden: tuple[str, ...]) -> list[str]:
    """What was said, secrets masked and long content left out."""
    rows: list[str] = []
    for exchange in result.exchanges:
        said = list(transcript_lines([exchange]))
        # Of a message nothing is shown: it is private, and may be anything.
        room = len(exchange.steps) + len(exchange.sent_lines()) + 1 + _CONTENT * (exchange.name not in ("RETR", "TOP"))
        rows += [row[:_LONGEST] for row in said[:room]]
        if len(said) > room:
            rows.append(f"# … {len(said) - room}")
    return [redact(row, hidden) for row in rows[-_SHOWN:]]


# -- in words ----------------------------------------------------------------------------------------------------------


def _case(row: Mapping[str, Any]) -> Case:
    group = _GROUPS[row["level"]]
    outcome = {"met": "passed", "missed": "failed", "unseen": "skipped"}[row["verdict"]]
    todo = row["level"].upper() if outcome == "failed" and group != "MUST" else ""
    place = f"RFC {row['rfc']} {group}".removesuffix(" -")
    return Case(place, row["id"], row["words"], outcome, row["because"] or "", row["evidence"], todo)


def _text(report: Mapping[str, Any], words: Words) -> Iterator[str]:
    under = words("check.tls" if report["tls"] else "check.clear")
    yield words("check.head", place=report["place"], rows=len(report["rows"]), under=under)
    often = Counter(row["because"] for row in report["rows"] if row["reason"] == "problem")
    causes = [cause for cause, times in often.items() if times > 1]
    said = set[str]()
    seen = (row for row in report["rows"] if row["verdict"] != "unseen")
    for rfc, members in groupby(seen, lambda row: row["rfc"]):
        yield ""
        yield f"RFC {rfc}"
        for row in members:
            cause = row["because"]
            level = words("check.plain") if row["level"] == "plain" else row["level"].upper()
            verdict = f"{words('check.' + row['verdict'])} §{row['section']} {level}"
            yield f"  {words.named(verdict, row['words'])}"
            if row["verdict"] == "missed":
                again = cause in said
                key = f"check.cause-{'again' if again else 'first'}"
                yield f"      {words(key, number=causes.index(cause) + 1, cause=cause) if cause in causes else cause}"
                yield from (f"        {line}" for line in row["evidence"] if not again)
                said.update({cause} & {*causes})
    yield ""
    yield words("check.summary")
    for group, counts in report["summary"].items():
        name = words("check.plain") if group == "-" else group
        yield f"  {words.named(name, words('check.counts', **counts))}"
    yield from _not_seen(report["rows"], words)
    yield words("check.unobservable", count=len(report["unobservable"]))
    musts = report["summary"]["MUST"]["missed"]
    yield words("check.missed-musts", count=musts) if musts else words("check.no-missed-must")
    if report["lost"]:
        yield words("check.lost", reason=report["lost"])


def _not_seen(rows: Sequence[Mapping[str, Any]], words: Words) -> Iterator[str]:
    """What could not be seen, under the option that would show it, or under the reason."""
    unseen: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] == "unseen":
            why = words("check.with", option=row["option"]) if row["option"] else row["because"]
            unseen.setdefault(why, []).append(row["id"])
    if unseen:
        yield words("check.not-seen")
    for why, ids in unseen.items():
        yield f"  {words('list.counted', name=why, count=len(ids))}"
        yield f"    {words.listed(ids)}"
