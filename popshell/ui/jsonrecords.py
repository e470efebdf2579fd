"""JSON records: a subscriber that writes an object a line for what happens, and `--log` (docs/reference-json.md).

Version 1 has exchanges alone. Version 2 has the life of each connection, too: each step, TLS, and which side ended it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from popshell.protocol.records import JSON_VERSIONS
from popshell.session import ConnectError, Step
from popshell.ui.events import Connecting, Ended, Failed, Greeted, Replied, ShellEvent, Unanswered

if TYPE_CHECKING:
    from popshell.ui.shell import Shell


class JsonRecords:
    """`words` puts a failure of the network into words; `clock` gives seconds since 1970."""

    def __init__(
        self,
        out: TextIO | None = None,
        version: int = JSON_VERSIONS[-1],
        *,
        words: Callable[[ConnectError], str] = lambda error: error.code,
        clock: Callable[[], float] = time.time,
        before: int = 0,
    ) -> None:
        """`before`: how many connections were counted already."""
        self._out = out or sys.stdout
        self._version = version
        self._words = words
        self._clock = clock
        #: connections of this run so far, and the last step towards the newest
        self._connections = before
        self._last: Step | None = None

    def heard(self, event: ShellEvent, **more: object) -> None:
        """`more` are further fields of an exchange."""
        for record in self.records(event):
            # ASCII escapes keep CR, LF, NEL, U+2028 and every control character out of the line (sec-F3).
            self._out.write(json.dumps({**record, **more}, ensure_ascii=True) + "\n")
            self._out.flush()

    def records(self, event: ShellEvent) -> Iterator[dict[str, Any]]:
        """The records of an event, of most events none."""
        if isinstance(event, Greeted | Replied | Unanswered):
            notes = [{"sort": n.sort, "text": n.text, "cite": n.cite or None} for n in event.notes]
            record = event.exchange.to_json(self._version)
            yield {**(record if self._version == 1 else self._stamped(record)), "notes": notes}
        elif self._version == 1:
            return
        elif isinstance(event, Connecting):
            self._connections += 1
            self._last = None
        elif isinstance(event, Step):
            self._last = event
            if event.what == "not-connected":
                where = {"host": event.host, "port": event.port, "addresses": event.address}
                facts: dict[str, Any] = {**event.facts, **where}
                yield self._failed(ConnectError(facts.pop("code"), **facts), event.what)
            else:
                addresses = str(event.facts["addresses"]).split(", ") if event.what == "resolved" else None
                tls = dict(event.facts) if event.what == "tls" else None
                yield self._life(event.what, tls=tls, addresses=addresses)
        elif isinstance(event, Ended):
            if isinstance(event.error, ConnectError):
                yield self._failed(event.error)
            yield self._life("closed", by=event.by, how=event.how.value)
        elif isinstance(event, Failed):
            yield self._failed(event.error)

    def _failed(self, error: ConnectError, event: str = "failed") -> dict[str, Any]:
        facts: dict[str, Any] = {"code": error.code, "text": self._words(error), "facts": dict(error.facts)}
        facts["certificates"] = error.certificates
        return self._life("certificate-refused" if error.code.startswith("certificate-") else event, error=facts)

    def _life(self, event: str, **more: object) -> dict[str, Any]:
        error = more.get("error")
        # An address that cannot be read leads nowhere, though the connection before it led somewhere.
        last = None if isinstance(error, dict) and "address" in error["facts"] else self._last
        place = {
            "host": last.host if last else None,
            "address": (last.address or None) if last else None,
            "port": last.port if last else None,
        }
        seconds = last.seconds and round(last.seconds, 4) if last is not None and event == last.what else None
        nothing = {"tls": None, "by": None, "how": None, "error": None, "addresses": None, "seconds": seconds}
        return self._stamped({"type": "connection", "event": event, **place, **nothing, **more})

    def _stamped(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the number of its connection and the time, in UTC."""
        seconds, milliseconds = divmod(round(self._clock() * 1000), 1000)
        when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"
        head = {"version": self._version, "type": record["type"], "time": when, "connection": self._connections}
        return {**head, **record}


def log_to(shell: Shell, out: TextIO) -> None:
    """Write the records of a shell to a log, each at once: what was written is with the system, and survives a kill.

    If the disk is full later, it is said, and the log ends.
    """
    records = JsonRecords(out, words=shell.net_words)

    def heard(event: ShellEvent) -> None:
        try:
            records.heard(event)
        except OSError as error:
            shell.subscribers.remove(heard)
            shell.tally.failed = True
            shell.say("shell.save-failed", style="err", path="--log", reason=error)

    shell.subscribe(heard)
