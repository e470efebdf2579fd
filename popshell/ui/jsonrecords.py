"""JSON records: a subscriber that writes an object a line for what happens (docs/reference-json.md).

Version 1 has exchanges alone. Version 2 has the life of each connection, too: each step, TLS, how it ended and by whom.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from popshell.protocol.records import JSON_VERSIONS
from popshell.session import ConnectError, Step
from popshell.ui.events import Connecting, Ended, Failed, Greeted, Replied, ShellEvent, Unanswered


class JsonRecords:
    """`words` puts a failure of the network into words; `clock` gives seconds since 1970."""

    def __init__(
        self,
        out: TextIO | None = None,
        version: int = JSON_VERSIONS[-1],
        *,
        words: Callable[[ConnectError], str] = lambda error: error.code,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._out = out or sys.stdout
        self._version = version
        self._words = words
        self._clock = clock
        #: connections of this run so far, and the last step towards the newest
        self._connections = 0
        self._last: Step | None = None

    def heard(self, event: ShellEvent) -> None:
        if isinstance(event, Greeted | Replied | Unanswered):
            notes = [{"sort": n.sort, "text": n.text, "cite": n.cite or None} for n in event.notes]
            record = event.exchange.to_json(self._version)
            self._write(record if self._version == 1 else self._stamped(record), notes=notes)
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
                self._failed(ConnectError(facts.pop("code"), **facts), event.what)
            else:
                self._life(event.what, tls=dict(event.facts) or None)
        elif isinstance(event, Ended):
            if isinstance(event.error, ConnectError):
                self._failed(event.error)
            self._life("closed", by=event.by, how=event.how.value)
        elif isinstance(event, Failed):
            self._failed(event.error)

    def _failed(self, error: ConnectError, event: str = "failed") -> None:
        facts = {"code": error.code, "text": self._words(error), "facts": dict(error.facts)}
        self._life("certificate-refused" if error.code.startswith("certificate-") else event, error=facts)

    def _life(self, event: str, **more: object) -> None:
        error = more.get("error")
        # An address that cannot be read leads nowhere, though the connection before it led somewhere.
        last = None if isinstance(error, dict) and "address" in error["facts"] else self._last
        place = {
            "host": last.host if last else None,
            "address": (last.address or None) if last else None,
            "port": last.port if last else None,
        }
        record = {"version": self._version, "type": "connection", "event": event, **place}
        self._write(self._stamped(record), **{"tls": None, "by": None, "how": None, "error": None, **more})

    def _stamped(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the number of its connection and the time, in UTC."""
        seconds, milliseconds = divmod(round(self._clock() * 1000), 1000)
        when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"
        head = {"version": self._version, "type": record["type"], "time": when, "connection": self._connections}
        return {**head, **record}

    def _write(self, record: Mapping[str, Any], **more: object) -> None:
        # ASCII escapes keep CR, LF, NEL, U+2028 and every control character out of the line (sec-F3).
        self._out.write(json.dumps({**record, **more}, ensure_ascii=True) + "\n")
        self._out.flush()
