"""`popshell check`: plays the rows of lessons/conformance.toml on a server and reports, grouped by RFC.

What can cost mail or an account is sent only where an option allows it. Exit code: 0, 1 if a MUST is missed, 3 without
a connection, or if the server is gone at the end.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any

from popshell.arguments import Arguments
from popshell.conformance.player import Allowed, Result, play
from popshell.conformance.rows import Level, Unseen, read
from popshell.conformance.session import Account
from popshell.course.explain import problem_notes
from popshell.net.channel import Channel, ChannelError, Channels
from popshell.net.errors import NetError
from popshell.protocol.secrets import joined, redact
from popshell.reach import Case, Reach, junit, started, tap, write_file
from popshell.session import transcript_lines
from popshell.tuples import NamedTuple
from popshell.visible import show, tame
from popshell.words import fill

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


class Report(NamedTuple):
    """What was found on a server, without secrets in any row of evidence."""

    place: str
    tls: bool
    results: Sequence[Result]
    unobservable: Sequence[Unseen]
    hidden: tuple[str, ...]
    #: why the server could not be reached any more, "" if it could, or where every row was played
    lost: str

    @property
    def exit_code(self) -> int:
        missed = any(one.verdict == "missed" and _GROUPS[one.row.level] == "MUST" for one in self.results)
        return MISSED if missed else NO_CONNECTION if self.lost else OK


def check(arguments: Arguments, config: Config, catalog: Catalog) -> int:
    """Check a server and report. Returns the exit code. Raises Usage."""
    language = config.get("language")
    words = catalog.words(language)
    reach = Reach(arguments, config, words)
    if bool(arguments.address) == bool(arguments.exec):
        raise reach.usage("check.host-or-exec")
    if arguments.json and arguments.tap:
        raise reach.usage("check.one-form")
    with ExitStack() as stack:
        target = reach.target(arguments.address) if arguments.address else None
        account = reach.account(needed=arguments.destructive)
        try:
            if target is None:
                channels, first = stack.enter_context(started(arguments.exec or "", reach))
            else:
                channels = reach.channels(target)
                stack.callback(channels.close)
                first = channels.connect()
            report = _examined(arguments, channels, first, account, catalog)
        except ChannelError as error:
            sys.stderr.write(show(str(error)) + "\n")
            return NO_CONNECTION
    _write(arguments, report, reach, words, tomllib.loads(catalog.read(f"{language}/conformance.toml")))
    return report.exit_code


def _examined(
    arguments: Arguments, channels: Channels, first: Channel, account: Account | None, catalog: Catalog
) -> Report:
    """Play the rows; `first` is the channel that is open already. Raises ChannelError if nothing comes at all."""
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
    in_clear = [one.row for one in results if channels.upgrades and _option(one) == OPTIONS["clear"]]
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
    return Report(channels.place, first.tls, results, rows.unseen, hidden, lost)


# -- reports -----------------------------------------------------------------------------------------------------------


def _write(
    arguments: Arguments, report: Report, reach: Reach, words: Words, own: Mapping[str, Mapping[str, str]]
) -> None:
    cases = [_case(one, report.hidden, own, words) for one in report.results]
    if arguments.json:
        text = json.dumps(_json(report, own, words)) + "\n"
    elif arguments.tap:
        text = tap(cases)
    else:
        text = "".join(tame(row) + "\n" for row in _text(report, cases, words))
    sys.stdout.write(text)
    sys.stdout.flush()
    if arguments.junit:
        ordered = sorted(cases, key=lambda case: case.group)
        write_file(arguments.junit, junit(f"popshell check {report.place}", ordered), reach)


def _option(result: Result) -> str | None:
    """The option that would show a row that was not seen; STLS is announced in clear text only."""
    if result.verdict != "unseen":
        return None
    if result.reason in ("wait", "login-delay"):
        return f"--wait {result.fact or result.row.longest_wait}"
    if result.reason == "wrong-login" and result.fact:  # one was sent
        return OPTIONS["destructive"]
    needs_clear = result.reason == "capability" and result.fact == "STLS"
    return OPTIONS.get("clear" if needs_clear else result.reason)


def _because(result: Result, own: Mapping[str, Mapping[str, str]], words: Words) -> str:
    text, fact = own["because"].get(result.reason, result.reason), result.fact
    if result.reason == "problem":
        last = next(one for one in reversed(result.exchanges) if one.problem and one.problem.code == fact)
        fact = next(problem_notes(last, words)).text
    return fill(text, {"fact": fact}) or text


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


def _case(result: Result, hidden: tuple[str, ...], own: Mapping[str, Mapping[str, str]], words: Words) -> Case:
    row, group = result.row, _GROUPS[result.row.level]
    place = f"RFC {row.rfc} {group}".removesuffix(" -")
    title = own["rows"].get(row.id, row.id)
    if result.verdict == "met":
        return Case(place, row.id, title, "passed")
    if result.verdict == "unseen":
        return Case(place, row.id, title, "skipped", _because(result, own, words))
    todo = "" if group == "MUST" else row.level.upper()
    return Case(place, row.id, title, "failed", _because(result, own, words), _evidence(result, hidden), todo)


def _counts(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """For each group how many rows were met, missed and not seen."""
    found = Counter((_GROUPS[one.row.level], one.verdict) for one in results)
    return {
        group: {verdict: found[group, verdict] for verdict in ("met", "missed", "unseen")}
        for group in dict.fromkeys(_GROUPS.values())
    }


def _text(report: Report, cases: Sequence[Case], words: Words) -> Iterator[str]:
    under = words("check.tls" if report.tls else "check.clear")
    yield words("check.head", place=report.place, rows=len(cases), under=under)
    pairs = list(zip(report.results, cases, strict=True))
    often = Counter(case.message for result, case in pairs if result.reason == "problem")
    causes = [message for message, times in often.items() if times > 1]
    said = set[str]()
    for rfc, members in groupby(pairs, lambda pair: pair[0].row.rfc):
        yield ""
        yield f"RFC {rfc}"
        for result, case in members:
            if result.verdict != "unseen":
                level = words("check.plain") if result.row.level == "plain" else result.row.level.upper()
                verdict = f"{words(f'check.{result.verdict}')} §{result.row.section} {level}"
                yield f"  {words.named(verdict, case.title)}"
            if result.verdict == "missed":
                number = causes.index(case.message) + 1 if case.message in causes else 0
                again = case.message in said
                said.update({case.message} & {*causes})
                key = f"check.cause-{'again' if again else 'first'}"
                yield f"      {words(key, number=number, cause=case.message) if number else case.message}"
                yield from (f"        {row}" for row in case.rows if not again)
    yield ""
    yield words("check.summary")
    for group, counts in _counts(report.results).items():
        name = words("check.plain") if group == "-" else group
        yield f"  {words.named(name, words('check.counts', **counts))}"
    yield from _not_seen(pairs, words)
    yield words("check.unobservable", count=len(report.unobservable))
    musts = _counts(report.results)["MUST"]["missed"]
    yield words("check.missed-musts", count=musts) if musts else words("check.no-missed-must")
    if report.lost:
        yield words("check.lost", reason=report.lost)


def _not_seen(pairs: Sequence[tuple[Result, Case]], words: Words) -> Iterator[str]:
    """What could not be seen, under the option that would show it, or under the reason."""
    unseen: dict[str, list[str]] = {}
    for result, case in pairs:
        if result.verdict == "unseen":
            option = _option(result)
            unseen.setdefault(words("check.with", option=option) if option else case.message, []).append(result.row.id)
    if unseen:
        yield words("check.not-seen")
    for why, ids in unseen.items():
        yield f"  {words('list.counted', name=why, count=len(ids))}"
        yield f"    {words.listed(ids)}"


def _json(report: Report, own: Mapping[str, Mapping[str, str]], words: Words) -> dict[str, Any]:
    return {
        "version": 1,
        "place": report.place,
        "tls": report.tls,
        "exit_code": report.exit_code,
        "lost": report.lost or None,
        "summary": _counts(report.results),
        "rows": [
            {
                "id": one.row.id,
                "rfc": one.row.rfc,
                "section": one.row.section,
                "level": one.row.level,
                "words": own["rows"].get(one.row.id),
                "verdict": one.verdict,
                "reason": one.reason or None,
                "fact": one.fact or None,
                "because": _because(one, own, words) if one.reason else None,
                "option": _option(one),
                "step": one.step or None,
                "evidence": _evidence(one, report.hidden) if one.verdict == "missed" else [],
            }
            for one in report.results
        ],
        "unobservable": [one.id for one in report.unobservable],
    }
