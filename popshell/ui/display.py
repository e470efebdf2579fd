"""Shows the events of a shell on its screen: replies with their notes, the arrow that was taken, how connections end.

`new_shell` puts a shell together with what every shell has: its exit code, its screen, JSON records, the seat belt.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from popshell.course.catalog import Catalog
from popshell.course.explain import Note
from popshell.protocol.commands import State
from popshell.protocol.connection import Due
from popshell.protocol.line import CommandLine
from popshell.protocol.records import Exchange, stamp
from popshell.protocol.secrets import redact
from popshell.protocol.strangers import what_speaks
from popshell.session import ConnectError, Step
from popshell.ui import diagram, events, layout, link
from popshell.ui.events import End, ShellEvent
from popshell.ui.safety import SeatBelt
from popshell.ui.screen import Screen
from popshell.ui.shell import Dial, MetaCommands, Options, Shell
from popshell.visible import show

if TYPE_CHECKING:
    from popshell.course.notices import Notices


def new_shell(
    catalog: Catalog, screen: Screen, dial: Dial, options: Options, metas: Callable[[], MetaCommands]
) -> Shell:
    """A shell with its subscribers and its first gate. `metas` is called when the first meta command is typed."""
    shell = Shell(catalog, screen, dial, options)
    shell.subscribe(shell.tally.heard)
    shell.subscribe(Display(shell).heard)
    shell.gates.append(SeatBelt(shell))
    if options.log is not None:
        log_to(shell, options.log)
    shell.metas = functools.cache(metas)
    return shell


def log_to(shell: Shell, out: TextIO) -> None:
    """Write the records of a shell to a log, each at once: what was written is with the system, and survives a kill.

    If the disk is full later, it is said, and the log ends.
    """
    from popshell.ui.exports import JsonRecords

    records = JsonRecords(out, words=shell.net_words)

    def heard(event: ShellEvent) -> None:
        try:
            records.heard(event)
        except OSError as error:
            shell.subscribers.remove(heard)
            shell.tally.failed = True
            shell.say("shell.save-failed", style="err", path="--log", reason=error)

    shell.subscribe(heard)


#: Octets of a reply under way that are looked at, to show the lines that have come.
_ARRIVED = 1 << 20


#: What is said of an end for which the network has given no reason.
_ENDS = {End.LOST: "shell.server-closed", End.AUTOLOGOUT: "shell.autologout"}


class Display:
    """A subscriber that shows each event in words and pictures."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        #: whether the reply shown last was a line that no command asked for
        self._unasked = False
        #: how often each thing was shown that is said at length only at first (`:notes auto`)
        self._shown: Counter[object] = Counter()
        #: what does not fit, by where a connection leads: the link to there, and what is noticed on it
        self._notices: dict[str, tuple[link.Link | None, Notices]] = {}
        #: where the connection leads that was made last
        self._place = ""
        #: whether the last step towards it was TLS
        self._tls = False
        #: the line whose reply is shown as it comes, and how many lines of its content are shown
        self._begun: tuple[CommandLine, int] | None = None
        #: what was last said to be missing of a reply
        self._lack = ""

    def heard(self, event: ShellEvent) -> None:
        shell = self._shell
        match event:
            case events.Connected(endpoint=endpoint):
                self._place = endpoint.label
                # The banner has named the first connection to the practice server.
                if not endpoint.practice:
                    shell.say("shell.connected", place=endpoint.label)
                    if self._keeps_ledger and endpoint.look_only:
                        shell.say("shell.look-only-begins")
                elif shell.announces_practice and shell.exchanges():
                    shell.say("shell.connected-practice", place=endpoint.label)
            case Step():
                self._step(event)
            case events.Sent():
                self._sent(event)
            case events.Replied():
                self._replied(event)
            case events.Challenged(challenge=challenge, late=late):
                if shell.shows_itself and not late:
                    return  # `:auth` shows it
                secrets = shell.session.connection.secrets if shell.session else ()
                shell.screen.challenge(redact(challenge.line.decode("utf-8", "surrogateescape"), secrets))
                if not late:
                    shell.say("shell.challenge" if self._at_length("challenge") else "shell.challenge-brief")
            case events.Waiting():
                self._waiting(event)
            case events.Overdue(due=due, limit=limit):
                self._arrived(due)
                if due is None or due.stream is not None:
                    return  # what becomes of a message that is written says who writes it (exports.py)
                if limit is None:
                    shell.say("shell.interrupted", style="warn", command=self._name(due))
                else:
                    key = "shell.overdue" if due.command else "shell.overdue-greeting"
                    shell.say(key, style="warn", command=self._name(due), seconds=limit)
            case events.Unshown(exchange=exchange):
                left = shell.link.how is End.LEFT  # the user is gone
                if exchange.problem is not None and exchange.problem.code == "no-terminator" and not left:
                    self._rest(exchange)
            case events.TlsStarted(facts=facts):
                known = {"version": "TLS", "cipher": "", **facts}
                insecure = shell.endpoint is not None and shell.endpoint.insecure
                key, style = ("shell.tls-unverified", "warn") if insecure else ("shell.tls-on", "lock")
                shell.say(key, style=style, **known, lock=shell.screen.lock)
            case events.Ended():
                self._ended(event)
            case events.Failed(error=error):
                self._failed(error)

    def _sent(self, event: events.Sent) -> None:
        shell = self._shell
        note = shell.words(event.by_shell) if event.by_shell else ""
        reveal = shell.options.reveal and shell.on_practice and event.line is not None and not event.by_shell
        shell.screen.command(event.line, not reveal and not event.cancels, note)

    def _replied(self, event: events.Replied) -> None:
        """The reply, the notes, and the arrow if the state changed."""
        shell, screen, exchange = self._shell, self._shell.screen, event.exchange
        if event.late and exchange.problem is None and exchange.command is not None:
            begun = self._begun is not None and self._begun[0] is exchange.command
            shell.say("shell.late-rest" if begun else "shell.late", command=exchange.command.name)
        # The practice server never repeats what it was sent (sec-V3): nothing of its words needs a mask.
        screen.echoes = not shell.on_practice
        if exchange.is_greeting and not shell.on_practice:
            shell.say("shell.step-greeting", time=self._time(exchange.milliseconds / 1000))
        self._rest(exchange)
        unasked, self._unasked = self._unasked, exchange.problem is not None and exchange.problem.code == "unasked"
        # Of many such lines it is said once.
        notes = () if unasked and self._unasked else self._worth_saying(exchange, event.notes)
        odd = self._odd(exchange)
        if shell.options.notes != "off":
            cite = shell.options.notes != "brief"
            screen.notes(layout.note_lines((*notes, *odd), screen.look, cite=cite))
        if self._keeps_ledger and exchange.maildrop.marks != exchange.maildrop_before.marks:
            shell.say("shell.marked-now", marks=shell.words.listed(sorted(exchange.maildrop.marks)) or "-")
        if exchange.command is None and exchange.problem and exchange.problem.code == "not-pop3" and self._place:
            if exchange.problem.speaks == "tls":
                shell.say("shell.try-implicit", style="warn", again=shell.again, place=self._place)
            elif exchange.problem.speaks not in ("ok", "err"):  # these are a slip of a POP3 server
                self._other_port(self._place.rpartition(":")[0])
        self._moved(exchange.before, exchange.after, exchange.command.name if exchange.command else None)

    @property
    def _keeps_ledger(self) -> bool:
        """Whether the seat belt is shown in lines: to a person on a real server, whose screen has no prompt for it."""
        shell = self._shell
        return shell.screen.interactive and not shell.screen.prompts and not shell.on_practice

    def _at_length(self, what: object, times: int = 1) -> bool:
        """Whether something that repeats is said at length now: always, never, or the first `times` times."""
        self._shown[what] += 1
        return {"full": True, "auto": self._shown[what] <= times}.get(self._shell.options.notes, False)

    def _worth_saying(self, exchange: Exchange, notes: tuple[Note, ...]) -> tuple[Note, ...]:
        """With `:notes auto` the greeting is explained once, USER and PASS three times; a refusal always is."""
        if self._shell.options.notes != "auto" or exchange.problem or not (exchange.response and exchange.response.ok):
            return notes
        if exchange.command is None:
            key = "greeting.stamp-again" if stamp(exchange.response.text) else "greeting.plain-again"
            return notes if self._at_length(key) else (Note("info", self._shell.words(key)),)
        if exchange.name in ("USER", "PASS") and not self._at_length(exchange.name, 3):
            return ()
        return notes

    def _odd(self, exchange: Exchange) -> list[Note]:
        """What does not fit in an exchange, as warnings.

        On each connection it begins anew; of a server that was reached before, its unique-ids are known. The practice
        server's maildrop may be another one each time: a course gives each exercise its own.
        """
        shell = self._shell
        here = shell.endpoint.label if shell.endpoint else ""
        watched, notices = self._notices.get(here, (None, None))
        if watched is not shell.link or notices is None:
            if exchange.is_greeting and shell.on_practice:
                return []  # so that the first prompt need not wait for notices.py
            from popshell.course.notices import Notices

            notices = notices.again() if notices is not None and not shell.on_practice else Notices()
            self._notices[here] = shell.link, notices
        found = notices.saw(exchange)
        if not found:
            return []
        words = shell.catalog.words(shell.options.language, "doctor")
        return [Note("warn", exchange.redact(words(f"notice.{code}", **facts))) for code, facts in found]

    def _moved(self, before: State, after: State, command: str | None = None) -> None:
        """Draw the arrow that was taken, if one was; without a command the connection was lost."""
        if before is not after:
            screen = self._shell.screen
            brief = self._shell.options.notes == "auto" and not self._at_length((before, after))
            drawn = diagram.arrow(before, after, command, screen.look.within(-2), self._shell.words, brief=brief)
            screen.state_changed(before, after, drawn)

    def _failed(self, error: ConnectError) -> None:
        shell = self._shell
        shell.screen.lines(layout.paragraph(shell.net_words(error), shell.screen.look, style="err"))
        if (speaks := error.facts.get("speaks", "pop3")) and speaks != "pop3":
            shell.say(f"speaks.{speaks}")
            self._other_port(str(error.facts["host"]))
        if error.certificates is not None:
            from popshell.ui.auth import show_chain

            place = f"{error.facts['host']}:{error.facts['port']}"
            shell.refused = {"place": place, "mode": error.facts["mode"], **error.certificates}
            show_chain(shell, shell.refused)

    def _other_port(self, host: str) -> None:
        """Where POP3 is, on a host that spoke something else."""
        self._shell.say("shell.other-port", style="warn", again=self._shell.again, host=host)

    def _step(self, step: Step) -> None:
        """A stage of the way to a real server, with its time."""
        self._tls = step.what == "tls"
        if step.seconds is None or step.practice:
            return
        shell, facts = self._shell, {"reason": "", **step.facts}
        if step.what == "not-connected":
            facts["why"] = shell.words(f"shell.step-{facts['code']}", **facts)
        elif step.what == "tls":
            facts["trust"] = shell.words("shell.step-verified" if "subject" in facts else "shell.step-not-verified")
        place = f"[{step.address}]:{step.port}" if ":" in step.address else f"{step.address}:{step.port}"
        facts |= {"host": step.host, "place": place, "time": self._time(step.seconds)}
        shell.screen.lines(layout.paragraph(shell.words(f"shell.step-{step.what}", **facts), shell.screen.look))

    def _time(self, seconds: float) -> str:
        key, value = ("seconds", f"{seconds:.1f}") if seconds >= 1 else ("milliseconds", f"{seconds * 1000:.0f}")
        return self._shell.words(f"shell.step-{key}", time=value)

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _name(self, due: Due) -> str:
        """What is waited for: a command, or the greeting."""
        return show(due.command.name if due.command else self._shell.words("problem.greeting"), keep="")

    def _arrived(self, due: Due | None) -> None:
        """Show the lines that have come of a reply under way, after those that were shown before."""
        session = self._shell.session
        if due is None or due.command is None or session is None or not session.connection.content_lines():
            return
        if self._shell.shows_itself:
            return
        begun = self._begun is not None and self._begun[0] is due.command
        start = self._begun[1] if begun and self._begun else 0
        if begun and start >= self._shell.screen.comfortable:
            return
        # Of what has come, which may be 64 MiB, no more is copied than can be shown.
        if (under_way := session.connection.under_way(_ARRIVED)) is not None:
            self._shell.screen.echoes = not self._shell.on_practice
            self._begun = due.command, self._shell.screen.arriving(under_way, start, begun=begun)

    def _rest(self, exchange: Exchange) -> None:
        """Show a reply, but for what was shown as it came."""
        begun, self._begun = self._begun, None if exchange.command else self._begun
        if self._shell.shows_itself and exchange.ok and exchange.name == "RETR":
            self._shell.screen.reply(exchange, most=0)
        elif begun is not None and begun[0] is exchange.command:
            self._shell.reply(exchange, begun[1], begun=True)
        else:
            self._shell.reply(exchange)

    def _waiting(self, event: events.Waiting) -> None:
        """What has come of the reply so far, and what is missing; how long it has been waited for."""
        due, words = event.due, self._shell.words
        if due is not None:
            self._arrived(due)
            self._hanging(event, due)
            named = words("toolbar.due", command=self._name(due)) if due.command else words("toolbar.due-greeting")
        else:
            named = words(f"shell.lasting-{event.what}")
        facts = {"due": named, "seconds": event.seconds, "limit": event.limit, "octets": due.octets if due else 0}
        text = words("shell.clock" if event.limit is not None else "shell.clock-short", **facts)
        silent = due is not None and (due.content or due.tail) and event.silent >= link.HANG_TIME
        if self._shell.screen.interactive and not silent:  # before the octets: a narrow terminal cuts the row's end
            text += words("shell.clock-leave")
        text += words("shell.clock-octets", **facts) if due is not None else ""
        text += words("shell.clock-silent", silent=event.silent) if silent else ""
        self._shell.screen.clock([("note", text)], event.seconds)

    def _hanging(self, event: events.Waiting, due: Due) -> None:
        """Once what has come and what is missing; once that it comes slowly; once, when it stands still, what to do."""
        from popshell.course import symptoms

        shell, tls = self._shell, self._tls
        facts = {"command": self._name(due), "lines": due.lines, "octets": due.octets, "rate": event.rate}
        here = shell.endpoint.label if due.command and shell.endpoint else self._place
        facts |= {"again": shell.again, "place": here}
        if event.rate is not None:
            shell.screen.waiting(shell.words("shell.waiting-slow", **facts))
        elif event.first or (event.hangs and symptoms.lack(due, tls) != self._lack):
            self._lack = symptoms.lack(due, tls)
            speaks = what_speaks(due.tail).replace("pop3", "") if due.command is None else ""
            likely = f" {shell.words(f'speaks.{speaks}')}" if speaks else ""
            shell.screen.waiting(shell.words(f"shell.{self._lack}", **facts) + likely)
        if event.hangs:
            # A status line may end in a part of a secret, which no mask would find.
            last = shell.words("shell.hang-last", tail=symptoms.tail(due)) if due.content and due.tail else ""
            text = shell.words("shell.hang", silent=event.silent, missing=symptoms.missing(due))
            choices = shell.words("shell.hang-choices") if shell.screen.interactive else ""
            shell.screen.waiting("\n".join(filter(None, (text, last, choices))))

    # -- ends ----------------------------------------------------------------------------------------------------------

    def _ended(self, event: events.Ended) -> None:
        shell, how = self._shell, event.how
        match how:
            case End.QUIT:
                shell.say("shell.closed")
            case End.QUIT_CLOSED_HERE:
                shell.say("shell.closed-by-us", seconds=round(link.CLOSING_TIME))
            case End.TLS_FAILED | End.LOST | End.AUTOLOGOUT | End.BROKEN | End.FLOODED:
                if isinstance(event.error, ConnectError) and how is not End.AUTOLOGOUT:
                    self._failed(event.error)
                else:
                    shell.say(_ENDS.get(how, "shell.closed-broken"), style="warn")
                if shell.begun:  # what fails at the very beginning ends the program
                    shell.say("shell.reconnect")
            case End.DROPPED:
                shell.say("shell.dropped-only" if event.quit_sent else "shell.dropped", style="warn")
            case End.LEFT if not shell.screen.interactive and event.before is State.TRANSACTION and not event.quit_sent:
                shell.say("shell.left-no-quit")
            case End.REPLACED:
                shell.say("shell.replaced")
            case _:  # a person was asked before; of a deadline the words on what failed speak
                return
        if how is End.REPLACED:  # the arrow of the new connection follows
            shell.screen.state_changed(event.before, State.CLOSED, [])
        elif how is not End.LEFT:
            self._moved(event.before, State.CLOSED)
        self._marks(event)

    def _marks(self, event: events.Ended) -> None:
        """Whether the marked messages are still there: only QUIT in TRANSACTION enters UPDATE (RFC 1939 §6).

        A QUIT that was sent and not answered leaves it open, and then that is said.
        """
        if event.marks and event.how not in (End.QUIT, End.QUIT_CLOSED_HERE):
            key = "shell.dropped-quit" if event.quit_sent else "shell.dropped-marks"
            marks = self._shell.words.listed(event.marks)
            self._shell.say(key, style="warn", marks=marks, count=len(event.marks))
