"""Make the pages of the reference that say what a table of the program says.

Use: python tests/make_reference.py            (`--check` only tells which pages are stale)

Whole pages are written from the tables and the words of `lessons/en`; in pages by hand, the parts between
`<!-- made: NAME -->` and `<!-- end -->` are. `tests/test_docs.py` fails when a page is not what would be written here.

What a limit, a check of a lesson or a condition means stands here, because the code has only its name; one without
words, or words for none, is an error.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from support import rehearse

from popshell import arguments
from popshell.course import mail
from popshell.course.catalog import Catalog, Words, bundled
from popshell.course.checks import CHECKS, Replied, read_check
from popshell.course.doctor import Premises, Product, Rule, Rules, Source, load
from popshell.course.document import Document, LessonError
from popshell.course.explain import explain, undo_in_words
from popshell.course.lesson import Lesson, read_lesson
from popshell.course.notices import NOTICES
from popshell.course.player import Rehearsal
from popshell.course.progress import read_course
from popshell.net.client import Deadlines
from popshell.protocol import line as commandline
from popshell.protocol import records as exchange
from popshell.protocol.commands import CAPABILITIES, COMMANDS, RESPONSE_CODES, CommandSpec, State, known_code
from popshell.protocol.wire import ReplyLimits
from popshell.server import maildrop
from popshell.server.faults import FAULTS, read_faults
from popshell.server.maildrop import from_files
from popshell.server.mailserver import MailServer
from popshell.server.settings import SERVED, Limits
from popshell.ui import completer, diagram, events, exports, link, screen
from popshell.ui.course_metas import Course
from popshell.ui.metas import Metas

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python tests/make_reference.py"
_PART = re.compile(r"(?s)(<!-- made: ([a-z-]+) -->\n).*?(<!-- end -->)")
_ORDER = (State.CLOSED, State.AUTHORIZATION, State.TRANSACTION, State.UPDATE)


@cache
def catalog() -> Catalog:
    return Catalog((bundled(),))


@cache
def words() -> Words:
    return catalog().words("en")


def page(path: str) -> Document:
    found = catalog().page("en", path)
    assert found is not None, path
    return found


def note(source: str) -> str:
    return f"*Made from {source} by `{COMMAND}`; a test fails when it is stale. Do not edit.*\n"


def keys(section: str) -> list[str]:
    """The names of all words in a section of messages.toml."""
    return [key.partition(".")[2] for key in words().keys() if key.startswith(f"{section}.")]  # noqa: SIM118


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"

    head = list(head)
    return row(head) + "|" + "---|" * len(head) + "\n" + "".join(row(cells) for cells in rows)


def cite(rfc: int, section: str) -> str:
    """`RFC 1939 §5`; sections without a number are cited by their heading."""
    place = f"§{section}" if re.fullmatch(r"[0-9A-Z](?:[0-9.]*[0-9])?", section) else f'"{section}"'
    return f"[RFC {rfc}](https://www.rfc-editor.org/rfc/rfc{rfc}) {place}"


def cites(spec: CommandSpec) -> str:
    return ", ".join([cite(spec.rfc, spec.section), *(cite(*other) for other in spec.see)])


# -- commands ----------------------------------------------------------------------------------------------------------


def commands() -> str:
    living = [spec for spec in COMMANDS.values() if not spec.historic]
    past = [spec for spec in COMMANDS.values() if spec.historic]
    out = [
        "# Reference: POP3 commands\n",
        note("the command table and the English pages"),
        "The same table drives the shell's colours, completion, warnings and diagram, and the practice server.\n"
        "In the shell, `:help RETR` shows the whole page of a command, with dialogues and pitfalls.\n",
        table(
            ("command", "what it does", "state", "reply to `+OK`"),
            (
                (
                    f"[`{spec.syntax}`](#{spec.name.lower()})",
                    page(f"commands/{spec.name}").summary,
                    ", ".join(state.value for state in _ORDER if state in spec.transitions),
                    reply(spec),
                )
                for spec in living
            ),
        ),
        *(one_command(spec) for spec in living),
        "## History\n",
        "These left POP3 long ago. A server answers `-ERR`.\n",
        *(one_command(spec, level=3) for spec in past),
        "## Capabilities\n",
        "What `CAPA` lists.\n",
        table(
            ("capability", "what it says", "announced in", "source"),
            (
                (
                    f"`{row.tag}`",
                    page(f"capabilities/{row.tag}").summary,
                    ", ".join(state.value for state in _ORDER if state in row.announced),
                    cite(row.rfc, row.section),
                )
                for row in CAPABILITIES.values()
            ),
        ),
        "## Response codes\n",
        "A word in brackets after `-ERR` (or `+OK`) that a program can read.\n",
        table(
            ("code", "what it says", "source"),
            (
                (f"`[{row.code}]`", page(f"codes/{row.page}").summary, cite(row.rfc, row.section))
                for row in RESPONSE_CODES.values()
            ),
        ),
        "## States\n",
        table(("state", "what it is"), ((state.value, page(f"states/{state.value}").summary) for state in _ORDER)),
        mermaid(),
    ]
    return "\n".join(out)


def reply(spec: CommandSpec) -> str:
    return {"never": "one line", "always": "many lines", "without argument": "many lines, one with an argument"}[
        spec.multi_line.value
    ]


def one_command(spec: CommandSpec, level: int = 2) -> str:
    about = page(f"commands/{spec.name}")
    rows = [("Syntax", f"`{spec.syntax}`")]
    arguments = about.head.get("args", {})
    rows += [(f"`{param.name}`", arguments[param.name]) for param in spec.params]
    for before in _ORDER:
        if before in spec.transitions:
            after = spec.transitions[before]
            stays = "stays there" if before is after else f"leads to {after.value}"
            rows.append((before.value, f"`+OK` {stays}" + on_err(spec, before)))
    rows.append(("Reply", reply(spec)))
    rows.append(("Undo", "; ".join(undo_in_words(spec, words()))))
    if spec.must_follow:
        rows.append(("Comes after", f"`+OK` to `{spec.must_follow}`, with nothing between"))
    if spec.continues:
        rows.append(("Dialogue", "the server may answer `+ ` and wait for one more line"))
    if spec.not_after:
        rows.append(("Not after", ", ".join(f"`{name}`" for name in spec.not_after)))
    if spec.capability:
        rows.append(("Announced by", f"capability `{spec.capability}`"))
    secret = [f"`{param.name}`" for param in spec.params if param.secret]
    if secret:
        rows.append(("Masked", ", ".join(secret)))
    if spec.removed_by:
        rows.append(("Removed by", f"RFC {spec.removed_by}"))
    rows.append(("Source", cites(spec)))
    summary = about.summary[:1].upper() + about.summary[1:] + "."
    return f"{'#' * level} {spec.name}\n\n{summary}\n\n{table(('', ''), rows)}"


def on_err(spec: CommandSpec, before: State) -> str:
    after = spec.on_err.get(before, before)
    return "" if after is before else f"; `-ERR` leads to {after.value}, too"


def mermaid() -> str:
    """The states as a Mermaid diagram, every arrow as the shell's own drawing labels it."""
    machine = diagram.Machine(words())
    lines = ["stateDiagram-v2", "    direction LR"]
    for before, after in dict.fromkeys((taken.before, taken.after) for taken in machine.arrows):
        lines.append(f"    {before.value} --> {after.value} : {', '.join(machine.labels(before, after))}")
    lost = words()("diagram.lost")
    lines += [f"    {state.value} --> {machine.home.value} : {lost}" for state in machine.row if machine.loses(state)]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


# -- meta commands -----------------------------------------------------------------------------------------------------


def meta_commands() -> str:
    out = [
        "# Reference: the shell's own commands\n",
        note("the table of meta commands and their English words"),
        "They begin with a colon, so no POP3 command can ever be one of them, and such a line is not sent.\n"
        "A beginning is enough where it is the only one: `:mailb` is `:mailbox`. Tab completes names and choices.\n",
        table(
            ("command", "what it does"),
            (
                (", ".join(f"`{name}`" for name in (row.usage, *(f":{also}" for also in row.also))), about)
                for row in Metas(Course(None, None).rows()).rows.values()  # type: ignore[arg-type]
                for about in [words()(f"meta.{row.name}")]
            ),
        ),
        "`:auth` sends lines of its own, and each is shown as sent by it: `CAPA`, if no list is known here and now;\n"
        "then `USER` and `PASS`, `APOP`, or `AUTH` and an answer to each challenge; after the login `CAPA` again, if\n"
        "there was a list: the note on it says what is new and what is gone. It asks for the name, if none was typed,\n"
        "and for the password or token, which is not shown. It tries once. Where an answer of the server must\n"
        "not be trusted, it sends `*`; Ctrl-C leaves you in the middle of AUTH, where `*` cancels, too. `as=OTHER` is\n"
        "the name to act as (the authorization identity).\n",
        "`:mail N` sends `RETR N`, unless the message was fetched on this connection already; some servers then count\n"
        "it as read. It shows the fields that mail programs show, decoded and unfolded, the parts as a tree, plain\n"
        "text where a message has it in several forms, HTML as text; and below what was encoded, the octets.\n",
        "`:save N FILE` sends `RETR N` and writes what comes as it comes, with no limit. Until the message is whole\n"
        "the file is FILE.part; so it stays if the transfer breaks off. Nothing that exists is written over. After\n"
        "Ctrl-C the transfer goes on: POP3 cannot stop one.\n",
        "`:wire` shows the last exchange, `:wire N` another by its number in `:times`; neither sends a line.\n"
        "A session remembers when the last 4,096 pieces came and went. Secrets and their length are masked.\n",
        "What `:notes`, `:lang` and `:reveal` set holds until you leave. For what holds from the start, see\n"
        "[the command line](reference-cli.md).\n",
    ]
    return "\n".join(out)


# -- limits ------------------------------------------------------------------------------------------------------------

_REPLY = {
    "status_line": ("longest status line", "octets"),
    "content_line": ("longest line within a reply", "octets"),
    "content": ("longest reply", "octets"),
    "capability_lines": ("most lines of a reply to `CAPA`", ""),
    "listing_lines": ("most lines of a reply to `LIST`, `UIDL`, `LANG`", ""),
    "unasked_kept": ("lines that no command asked for, since the last reply, that are shown; more are counted", ""),
    "unasked_lines": ("such lines that end the connection; rows of a listing that was not due do not count", ""),
    "unasked_time": ("for so long such lines may keep coming", "s"),
    "unasked_pause": ("after a silence of this that time begins anew", "s"),
}
_MAIL = {
    "header": ("of a header; the rest of it is not read", "octets"),
    "depth": ("levels of parts within parts", ""),
    "parts": ("parts", ""),
    "parameters": ("parameters of a field", ""),
    "seconds": ("until the parts that were found by then are shown", "s"),
    "field": ("of a field that is decoded", "octets"),
    "text": ("of the text of a part", "octets"),
}
_DEADLINES = {
    "connect": ("until a connection stands, name look-up included", "s"),
    "handshake": ("until TLS stands", "s"),
    "goodbye": ("how long the other side's end of TLS is waited for", "s"),
}
_SHELL = {
    "GREETING_TIME": ("until the greeting has come", "s"),
    "REPLY_TIME": ("until a reply is whole", "s"),
    "COUNTDOWN": ("before the practice server's autologout it is counted down", "s"),
    "SLOWEST": ("a reply that comes more slowly is said to be slow", "octets a second"),
    "HANG_TIME": ("after this the shell says what it is waiting for, and shows the lines of a reply as they come", "s"),
    "TICK": ("from one look at what has come to the next", "s"),
    "CLOSING_TIME": ("how long the server may take to close after `QUIT`", "s"),
}
_SCREEN = {
    "WINDOWS": ("windows that a reply may fill and still be shown whole; else a windowful, and `:more` goes on", ""),
    "MOST_LINES": ("lines that are shown whole at most, however high the window is", ""),
}
_HISTORY = {
    "TAIL": ("how much of the history file is read at start", "octets"),
    "LOOK_BACK": ("entries that a suggestion looks at", ""),
}
_TYPED = {
    "LONGEST_LINE": ("longest line that the RFC allows, CRLF included (RFC 2449 §4); a warning", "octets"),
    "LONGEST_ARGUMENT": ("longest argument that the RFC allows (RFC 1939 §3); a warning", "characters"),
}
_SERVER = {
    "line": ("longest answer to a challenge of `AUTH`, CRLF included; a command has 255 octets at most", "octets"),
    "autologout": ("silence after which the server hangs up, without UPDATE (RFC 1939 §3)", "s"),
    "line_time": ("until a line that was begun is whole", "s"),
    "handshake": ("until TLS stands", "s"),
    "write_stall": ("how long a client may take nothing of a reply", "s"),
    "slowest": (
        "octets a second that a client must take of a reply, over the time of `write_stall`, "
        "while at least half of `connections` are in use",
        "octets",
    ),
    "output": ("octets of a reply held for a slow client", "octets"),
    "bad_commands": ("`-ERR` in a row, then the server hangs up", ""),
    "login_wait": ("wait after a wrong password; doubles each time", "s"),
    "login_wait_most": ("longest such wait", "s"),
    "connections": ("connections at a time", ""),
    "connections_an_address": ("connections at a time from one address of another machine", ""),
}
_MAILDROP = {
    "LARGEST_MESSAGE": ("largest message of `--maildrop`", "octets"),
    "LARGEST_MAILDROP": ("all messages of it together", "octets"),
    "MOST_MESSAGES": ("messages of it", ""),
}


def limits() -> str:
    out = [
        "# Reference: limits and times\n",
        note("the program's own tables"),
        "## What the shell takes from a server\n",
        "Past one of these the connection is closed and the fault is named. Lines of mail may be long: 2,048 octets,\n"
        "as some libraries have it, would refuse real mail.\n",
        limit_rows(_REPLY, _fields(ReplyLimits())),
        "`:mail` reads so much of a message, and names what it does not read; `:save N FILE` has no limit:\n",
        limit_rows(_MAIL, _fields(mail.LIMITS)),
        "## How long the shell waits\n",
        "In a terminal nothing is given up: when time is up you get the prompt back, and the reply is shown when it\n"
        "comes. Without a terminal the connection is closed, and the exit code is 3.\n",
        limit_rows(_DEADLINES, _fields(Deadlines())),
        limit_rows(_SHELL, _names(link, _SHELL)),
        "## What you type\n",
        limit_rows(_TYPED, _names(commandline, _TYPED)),
        "## Screen and history\n",
        limit_rows(_SCREEN, _names(screen, _SCREEN)),
        limit_rows(_HISTORY, _names(completer, _HISTORY)),
        "## Practice server\n",
        "The server inside the shell is patient, because a learner errs. `popshell serve` guards itself a little.\n",
        limit_rows(_SERVER, _fields(Limits()), _fields(SERVED), ("inside the shell", "`popshell serve`")),
        "A directory given with `--maildrop` is read once and never written:\n",
        limit_rows(_MAILDROP, _names(maildrop, _MAILDROP)),
    ]
    return "\n".join(out)


def limit_rows(
    meanings: Mapping[str, tuple[str, str]],
    values: Mapping[str, Any],
    others: Mapping[str, Any] | None = None,
    heads: tuple[str, ...] = ("limit",),
) -> str:
    """One row a limit, in the order of the code. Raises KeyError for a limit without words, or the other way round."""
    if meanings.keys() != values.keys():
        raise KeyError(f"limits and their words differ: {sorted(meanings.keys() ^ values.keys())}")
    return table(
        ("name", "what", *heads),
        (
            (f"`{name}`", meanings[name][0], *(amount(of[name], meanings[name][1]) for of in (values, others) if of))
            for name in values
        ),
    )


def amount(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    if unit == "s":
        return "none" if value == 0 else f"{value:g} s"
    if unit == "octets":
        for size, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
            if value >= size and value % size == 0:
                return f"{value // size:,} {name}"
    return f"{value:,} {unit}".strip()


def _fields(of: Any) -> dict[str, Any]:
    """A dataclass or a named tuple as a mapping."""
    if isinstance(of, tuple):
        return of._asdict()
    return {field.name: getattr(of, field.name) for field in fields(of)}


def _names(module: Any, meanings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(module, name) for name in meanings}


# -- checks and conditions of lessons ----------------------------------------------------------------------------------

#: An example of the value, and when the check holds.
_CHECKS = {
    "replied": (
        '{ command = "STAT", ok = true }',
        "some exchange after `start` fits every field, below",
    ),
    "steps": (
        '[{ command = "USER", argument = "mei" }, { command = "PASS", ok = false, next = true }]',
        "exchanges that fit came in this order; others may stand between them, unless a step says `next = true`",
    ),
    "sent_first": ('"STAT"', "the first line after `start` is this command"),
    "in_order": ('["CAPA", "STLS"]', "these commands got `+OK`, in this order; others may stand between them"),
    "never": ('["RETR"]', "none of these commands was sent after `start`"),
    "at_most": ("4", "so many POP3 lines at the most were sent after `start`"),
    "state": ('"TRANSACTION"', "the session is in this state; `CLOSED` if there is no connection"),
    "marks": ("[1, 2]", "exactly these messages are marked"),
    "retrieved": ("[1]", "exactly these messages came whole by `RETR` (numbers as in the session)"),
    "maildrop": (
        "[1, 3]",
        "the server's maildrop holds exactly these messages, by their numbers at the exercise's beginning",
    ),
    "tls": ("true", "the connection is under TLS"),
    "dropped": ("true", "a connection ended after `start` without `QUIT`"),
    "waited": ("600", "so many seconds at least were waited with `:wait`"),
    "flight": ("3", "so many lines at least went out in one flight"),
    "together": ('["STAT", "LIST"]', "one flight held all these commands, and each got `+OK`"),
}
#: An example, and what the field means.
_REPLIED = {
    "command": ('"STAT"', "the command; any word in capitals, also one that POP3 does not have"),
    "ok": ("true", "whether the reply was `+OK`"),
    "state": ('"AUTHORIZATION"', "the state before it"),
    "after": ('"TRANSACTION"', "the state after it"),
    "argument": ('"2"', "the first argument, unless it is secret; case does not count, `02` is 2"),
    "line": ('"RETR 2"', "the whole line; case and the number of blanks do not count, `RETR 02` is `RETR 2`"),
    "code": ('"IN-USE"', "the response code of the reply"),
    "tls": ("true", "whether it went under TLS"),
    "many": ("true", "whether the reply has many lines"),
    "stuffed": ("true", "whether a line of the reply was byte-stuffed"),
    "cancelled": ("true", "whether the dialogue was cancelled with `*`"),
    "next": ("true", "in `steps` only: it comes right after the step before it, with no other command between"),
    "least": ("2", "how many such exchanges there are at least; 1 if absent"),
}
#: An example, and what the practice server does then.
_CONDITIONS = {
    "in_use": ("true", "answers a right login with `-ERR [IN-USE]`"),
    "login_delay": (
        "60",
        "announces and enforces LOGIN-DELAY: `-ERR [LOGIN-DELAY]` within so many seconds after a login",
    ),
    "temp_failure": ("true", "answers a right login with `-ERR [SYS/TEMP]`"),
    "perm_failure": ("true", "answers a right login with `-ERR [SYS/PERM]`"),
    "update_fails": ("true", "answers `QUIT` with marks with `-ERR [SYS/TEMP]`, and erases nothing"),
    "require_tls": ("true", "takes passwords under TLS only"),
    "without": ('["TOP", "UIDL"]', "neither announces nor serves these capabilities"),
    "mechanisms": ('["PLAIN", "CRAM-MD5"]', "serves these mechanisms of AUTH, where they can be used; PLAIN if absent"),
    "iterations": ("10000", "asks for so many iterations in SCRAM; 4096 if absent"),
    "line_goes_dead_after": ("3", "so many commands are served, then the line is dead: no reply, no close"),
}


def meanings(
    head: tuple[str, str], names: Iterable[str], words: Mapping[str, tuple[str, str]], read: Callable[[Any], object]
) -> str:
    """One row a name, in the order of the code. Raises KeyError for a name without words, or the other way round, and
    ValueError for an example that lint would refuse.
    """
    names = list(names)
    if set(names) != words.keys():
        raise KeyError(f"names and their words differ: {sorted(set(names) ^ words.keys())}")
    for name in names:
        read(tomllib.loads(f"{name} = {words[name][0]}"))
    return table(head, ((f"`{name} = {words[name][0]}`", words[name][1]) for name in names))


def checks() -> str:
    return meanings(("check", "holds if"), CHECKS, _CHECKS, read_check)


def replied() -> str:
    return meanings(
        ("field", "what it means"), Replied.__struct_fields__, _REPLIED, lambda raw: read_check({"replied": raw})
    )


def conditions() -> str:
    return meanings(("condition", "the practice server"), FAULTS, _CONDITIONS, read_faults)


# -- what the course teaches -------------------------------------------------------------------------------------------

#: A row of the tables: which table, and its name there. `AUTH` is a command and a response code.
Row = tuple[str, str]
#: Where a row is taught: a lesson's name, and its exercises that meet the row.
Taught = Mapping[Row, Mapping[str, list[str]]]


def rows_of_the_tables() -> list[Row]:
    return [
        *(("command", name) for name in COMMANDS),
        *(("state", state.value) for state in _ORDER),
        *(("code", name) for name in RESPONSE_CODES),
        *(("capability", name) for name in CAPABILITIES),
    ]


def met(exchanges: Iterable[exchange.Exchange]) -> set[Row]:
    """What these exchanges touched: commands sent, states, codes of replies, capabilities that `CAPA` listed."""
    rows: set[Row] = set()
    for each in exchanges:
        rows |= {("state", each.before.value), ("state", each.after.value)}
        if each.command is not None and each.command.spec is not None:
            rows.add(("command", each.command.spec.name))
        if each.response is not None:
            if (code := known_code(each.response.code or "")) is not None:
                rows.add(("code", code.code))
            if each.name == "CAPA":
                rows |= {("capability", tag) for tag in each.response.capabilities()}
    return rows


def lessons() -> Iterator[Lesson]:
    course = catalog()
    for name in read_course(course).lessons:
        try:
            yield read_lesson(course, name, "en")
        except LessonError as error:
            if error.code != "missing-lesson":  # lint says that a file is missing
                raise


def taught(course: Iterable[Lesson]) -> Taught:
    """Play every solution; what comes before it (`start`) is not counted.

    A lesson that names the row in `teaches` goes before those that only meet it on their way.
    """
    everywhere: dict[Row, dict[str, list[str]]] = {}
    told: dict[str, tuple[str, ...]] = {}
    for lesson in course:
        told[lesson.name] = lesson.teaches
        for exercise in lesson.exercises:
            played = Rehearsal(catalog(), exercise)
            played.play(exercise.solution)
            for row in met(played.exchanges):
                everywhere.setdefault(row, {}).setdefault(lesson.name, []).append(exercise.id)
    return {
        row: {name: ids for name, ids in found.items() if row[1] in told[name]} or found
        for row, found in everywhere.items()
    }


def coverage() -> str:
    found = taught(lessons())

    def part(what: str, title: str) -> Iterator[str]:
        yield f"## {title}\n"
        yield table(
            (what, "lesson", "exercises"),
            (
                (f"`{name}`" + history_of(kind, name), f"`{lesson}`", ", ".join(f"`{each}`" for each in ids))
                for kind, name in rows_of_the_tables()
                if kind == what
                for lesson, ids in (found.get((kind, name)) or {"": []}).items()
            ),
        )

    out = [
        "# Reference: what the course teaches\n",
        note("the tables of the program and the exercises, each played with its solution,"),
        "For each row of the tables: the lessons that say they teach it, and their exercises whose solution uses it.\n"
        "What is played before an exercise is not counted. Where no lesson says so, all that meet it are named.\n",
        *part("command", "Commands"),
        *part("state", "States"),
        *part("code", "Response codes"),
        "A code counts where a reply brings it.\n",
        *part("capability", "Capabilities"),
        "A capability counts where the reply to `CAPA` lists it.\n",
    ]
    return "\n".join(out)


def history_of(kind: str, name: str) -> str:
    return " (history)" if kind == "command" and COMMANDS[name].historic else ""


# -- parts of pages ----------------------------------------------------------------------------------------------------


def usage() -> str:
    return "```\n" + "".join(f"{arguments.synopsis(command)}\n" for command in arguments.COMMANDS) + "```\n"


def options() -> str:
    rows = []
    for option in arguments.OPTIONS:
        value = option.shown_value
        names = ", ".join(f"`{name}{value}`" for name in option.names)
        where = " / ".join(f"`popshell {name}`".replace(" `", "`") for name in option.commands or ())
        rows.append((names, where or "everywhere", words()(f"cli.{option.name}")))
    return table(("option", "goes with", "what it does"), rows)


def problems() -> str:
    """The table in the docstring that defines them, without its head."""
    rows = [line for line in (exchange.__doc__ or "").splitlines() if line.startswith("| `")]
    return "| code | what was seen |\n|---|---|\n" + "".join(f"{row}\n" for row in rows)


def speaks() -> str:
    return ", ".join(f"`{name}`" for name in keys("speaks")) + "\n"


def ends() -> str:
    """How a connection can end, from the comments of the table that defines it."""
    rows, said = [], ""
    for line in inspect.getsource(events.End).splitlines():
        if line.strip().startswith("#:"):
            said = line.strip().removeprefix("#:").strip()
        elif " = " in line:
            name, said = line.split('"')[1], said or rows[-1][1]
            rows.append((f"`{name}`", said))
            said = ""
    return table(("how", "what happened"), rows)


def json_record() -> str:
    """What `--json` writes of one exchange, laid out."""
    server = MailServer(
        {"learner": "secret"},
        catalog().languages,
        catalog().replies,
        from_files(catalog().maildrop_files("default")),
        clock=lambda: 0.0,
        new_stamp=lambda: "<1896.697170952@popshell.example>",
    )
    last = rehearse(["USER learner", "PASS secret", "LIST"], server)[-1]
    out = io.StringIO()
    records = exports.JsonRecords(out, clock=lambda: 1_767_225_600.0)
    records.heard(events.Connecting())
    records.heard(events.Replied(last, tuple(explain(last, catalog(), "en"))))
    return f"```json\n{json.dumps(json.loads(out.getvalue()), indent=2, ensure_ascii=False)}\n```\n"


#: Where the words at the prompt speak of one line only.
_IN_GENERAL = {
    "missing-argument": "an argument is missing",
    "extra-argument": "too many words",
    "wrong-state": "not legal in this state",
    "must-follow": "has to come right after another command",
}


def diagnostics() -> str:
    """Every objection that the parser can make; `unknown-near` is only another text for `unknown-command`."""
    tree = ast.parse((ROOT / "popshell" / "protocol" / "line.py").read_text("utf-8"))
    literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    codes = [code for code in keys("warn") if code in literals]
    return table(("code", "what is wrong"), ((f"`{code}`", _IN_GENERAL.get(code) or warned(code)) for code in codes))


def warned(code: str) -> str:
    return words()(f"warn.{code}")


def modules() -> str:
    """The files of the program, each with the first sentence that it says of itself."""
    out = []
    for folder in ("popshell", *(f"popshell/{path.name}" for path in sorted((ROOT / "popshell").iterdir()))):
        files = [path for path in sorted((ROOT / folder).glob("*.py")) if docstring(path)]
        if files:
            out.append(f"\n**{folder}/**\n\n")
            out.append(
                table(("file", "what it is"), ((f"`{path.name}`", first_sentence(docstring(path))) for path in files))
            )
    return "".join(out).lstrip("\n")


def programs(folder: str) -> str:
    """The programs of a folder below tests/, each with its first sentence."""
    # What is shared by programs is none: it has nothing to run.
    found = sorted((ROOT / "tests" / folder).glob("*.py"))
    paths = [path for path in found if "__main__" in path.read_text("utf-8")]
    rows = ((f"`python tests/{folder}/{path.name}`", first_sentence(docstring(path))) for path in paths)
    return table(("command", "what it does"), rows)


@cache
def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def first_sentence(text: str) -> str:
    """Up to the first full stop with a blank after it, or the end of the paragraph."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    found = re.match(r".*?[.!?](?= [A-Z`]|$)", paragraph)
    sentence = (found[0] if found else paragraph).removesuffix(".")
    return re.sub(r":? `python tests/[^`]*`", "", sentence)


# -- the doctor --------------------------------------------------------------------------------------------------------

_PREMISES = {
    "code": "the response code is this or below it (`SYS` holds for `SYS/TEMP`); empty for none",
    "text": "the reply's text, in one of its readings, matches this regular expression, whatever the case",
    "command": "the command that was refused is one of these; empty for the greeting and for unasked lines",
    "mechanism": "the mechanism of `AUTH` is one of these; empty for none",
    "state": "the session was in this state",
    "tls": "TLS was on, or was not",
    "present": "CAPA was read and has all these rows: `TAG`, or `TAG ARGUMENT`",
    "absent": "CAPA was read and has none of these rows",
    "unknown": "CAPA was not read, or was",
    "greeting": "the greeting's text matches this regular expression",
    "product": "greeting, capabilities or replies name one of these products",
    "first": "it was the first command of the connection, or was not",
    "repeated": "it was refused at least so many times in this session",
    "seconds": "the reply took at least so long",
    "closed": "the server closed the connection after it, or did not",
    "problem": "the record has one of these problems ([JSON](reference-json.md#problems))",
    "raw": "the line that came, indicator included, matches this regular expression",
    "objection": "the line had one of these objections ([diagnostics](reference-json.md#diagnostics))",
    "challenge": "a challenge of the server, decoded from base64, matches this regular expression",
    "answer": "the last answer of AUTH was one of these: `cancelled`, `none`, `not-base64`, `sent`, `unreadable`",
    "longer": "the line that was sent is longer than so many octets, CRLF included",
    "follows": "the command before it was one of these, and was answered `+OK`",
    "marked": "messages were marked as deleted, or none were",
    "address": "the user name has an `@`, or has none",
    "host": "the host's name matches this regular expression",
}


@cache
def rules() -> Rules:
    return load(catalog())


def premises() -> str:
    kinds = Premises.__struct_fields__
    if _PREMISES.keys() != set(kinds):
        raise SystemExit(f"premises without words, or words without a premise: {_PREMISES.keys() ^ set(kinds)}")
    return table(("premise", "what must have been seen"), ((f"`{name}`", _PREMISES[name]) for name in kinds))


def products() -> str:
    def row(product: Product) -> tuple[str, ...]:
        certain = [f"greeting `{product.greeting}`"] if product.greeting else []
        certain += [f"IMPLEMENTATION `{product.implementation}`"] if product.implementation else []
        perhaps = [f"capabilities `{' '.join(product.tags)}`"] if product.tags else []
        perhaps += [f"a reply `{product.reply}`"] if product.reply else []
        return f"`{product.id}`", product.name, "; ".join(certain), "; ".join(perhaps), sourced(product.source, "")

    return table(("product", "name", "named by", "perhaps by", "source"), map(row, rules().product))


def sourced(key: str, at: str) -> str:
    source: Source = rules().source[key]
    if source.rfc:
        return cite(source.rfc, at)
    title = f"[{source.title}]({source.url})" if source.url else source.title
    return f"{title}{', ' if at else ''}{at} ({source.date})"


def doctor_rules() -> str:
    def row(rule: Rule) -> tuple[str, ...]:
        asked = "; ".join(f"{kind} `{_value(wanted)}`" for kind, wanted in rule.seen.asked())
        words = "" if rule.words == "own" else f" ({rule.words})"
        sure = rule.sure + words
        causes = ", ".join(f"`{cause}`" for cause in rule.causes)
        return f"`{rule.id}`", rule.of, asked, sure, causes, f"`{rule.next}`", sourced(rule.source, rule.at)

    head = ("rule", "of", "premises", "sureness", "causes", "next", "source")
    return table(head, map(row, rules().rule))


def _value(wanted: object) -> str:
    if isinstance(wanted, tuple):
        return " ".join(str(one) or '""' for one in wanted)
    return str(wanted).lower() if isinstance(wanted, bool) else str(wanted) or '""'


def notices() -> str:
    words = catalog().words("en", "doctor")
    rows = (
        (f"`{entry.code}`", " ".join(f"`{one}`" for one in entry.commands), words.get(f"notice.{entry.code}") or "")
        for entry in NOTICES
    )
    return table(("notice", "looks at", "what it says"), rows)


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference-commands.md": commands,
    "docs/reference-meta.md": meta_commands,
    "docs/reference-limits.md": limits,
    "docs/course-coverage.md": coverage,
}
PARTS: Mapping[str, Callable[[], str]] = {
    "usage": usage,
    "options": options,
    "states": mermaid,
    "modules": modules,
    "benchmarks": lambda: programs("benchmarks"),
    "soak": lambda: programs("soak"),
    "json": json_record,
    "ends": ends,
    "problems": problems,
    "speaks": speaks,
    "diagnostics": diagnostics,
    "checks": checks,
    "replied": replied,
    "conditions": conditions,
    "premises": premises,
    "products": products,
    "doctor-rules": doctor_rules,
    "notices": notices,
}


def made(name: str) -> str:
    """What a page should be. Raises KeyError for a part that is not known."""
    if name in PAGES:
        return PAGES[name]()
    text = (ROOT / name).read_text("utf-8")
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def pages() -> list[str]:
    """The pages that this program has a hand in."""
    by_hand = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))]
    return [*PAGES, *(name for name in by_hand if name not in PAGES and _PART.search((ROOT / name).read_text("utf-8")))]


def stale() -> list[str]:
    return [name for name in pages() if not (ROOT / name).is_file() or (ROOT / name).read_text("utf-8") != made(name)]


def main() -> int:
    arguments = argparse.ArgumentParser(description="Make the generated pages of docs/.")
    arguments.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is stale")
    check = arguments.parse_args().check
    found = stale()
    for name in found:
        if not check:
            (ROOT / name).write_text(made(name), "utf-8")
        sys.stdout.write(f"{'stale' if check else 'written'}: {name}\n")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
