"""MailServer: the accounts of a practice server, and the sessions on them. `net/listener.py` gives it a port."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from popshell.protocol.mechanisms import MECHANISMS, PRACTICE_SCOPE
from popshell.protocol.records import Exchange
from popshell.server.faults import bind, read_faults
from popshell.server.handlers import HANDLERS
from popshell.server.maildrop import Accounts, Maildrop, Message
from popshell.server.replies import Texts, Words
from popshell.server.session import ServerSession
from popshell.server.settings import Limits, Settings

#: Faults where no exercise has conditions of its own: every mechanism is served where it can be used.
FREE: Mapping[str, object] = MappingProxyType({"mechanisms": tuple(MECHANISMS)})
#: After the seconds of a stamp, so that two connections in one second, to any servers of this process, differ.
_SERIAL = itertools.count(1)


#: What a subscriber is called with: a session, and its Exchange as its client sees it; None at the session's end.
Observer = Callable[[ServerSession, Exchange | None], None]


class MailServer:
    """Accounts, and the settings of sessions that ask for none of their own.

    `accounts` maps a name to its secret; each maildrop begins with `messages`. `languages` maps a tag to the language's
    own name, `texts(tag)` gives its replies. Raises Flaw for a fault that is not in FAULTS.
    """

    def __init__(
        self,
        accounts: Mapping[str, str],
        languages: Mapping[str, str],
        texts: Callable[[str], Texts],
        messages: tuple[Message, ...] = (),
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        faults: Mapping[str, object] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
        new_stamp: Callable[[], str] | None = None,
        seed: int | None = None,
        tokens: Callable[[], Mapping[str, str]] = dict,
        surrogates: bool = False,
    ) -> None:
        self.settings = Settings(
            Accounts(accounts, messages, tokens),
            languages,
            Words(texts),
            clock,
            new_stamp or _stamp,
            limits,
            read_faults(faults),
            seed,
            surrogates,
        )
        self._subscribers: list[Observer] = []
        self._sessions = itertools.count(1)

    @property
    def accounts(self) -> Mapping[str, str]:
        return self.settings.accounts.secrets

    @property
    def messages(self) -> tuple[Message, ...]:
        """What each maildrop begins with."""
        return self.settings.accounts.messages

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def maildrops(self) -> Mapping[str, Maildrop]:
        """Those that were opened before, by account."""
        return self.settings.accounts.maildrops

    def maildrop_of(self, name: str) -> Maildrop:
        return self.settings.accounts.maildrop_of(name)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Let `observer` have the Exchanges of every session that begins from now on; gives what ends that.

        It is called while a session is served and must not raise. A session without a subscriber pays nothing.
        """
        self._subscribers.append(observer)
        return lambda: self._subscribers.remove(observer)

    def session(self, *, tls: bool = False, client: str = "", settings: Settings | None = None) -> ServerSession:
        """A session for a new connection. Raises Flaw for a fault that is not in FAULTS."""
        settings = settings or self.settings
        number = next(self._sessions)
        hooks = bind(settings.faults, None if settings.seed is None else f"{settings.seed}/{number}")
        observer = self._publish if self._subscribers else None
        return ServerSession(settings, HANDLERS, hooks, tls=tls, client=client, observer=observer)

    def _publish(self, session: ServerSession, exchange: Exchange | None) -> None:
        for observer in tuple(self._subscribers):
            observer(session, exchange)


def _stamp() -> str:
    """A timestamp that differs each time: "<process-ID.clock@hostname>" (RFC 1939 §7, APOP)."""
    return f"<{os.getpid()}.{int(time.time())}{next(_SERIAL):03}@popshell.example>"


#: When a practice token ends: 2100-01-01.
_TOKEN_EXPIRES = 4102444800


def practice_token(name: str, expires: int = _TOKEN_EXPIRES, unique: str = "") -> str:
    """A JWT without a signature for an account of a practice server (RFC 7519 §6).

    It is the same each time for a name, and public; with `unique` it cannot be guessed (RFC 7519 §4.1.7).
    """
    import base64
    import json

    claims = {"aud": "popshell.example", "exp": expires, "scope": PRACTICE_SCOPE, "sub": name}
    if unique:
        claims["jti"] = unique
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "none"}, claims))
    return ".".join((*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""))
