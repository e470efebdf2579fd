"""Passwords that need not be typed: from a descriptor, a command, the keyring of the system, or netrc.

Never from the arguments or the environment, which other users of the machine can read (sec-K1). A descriptor or a
command was asked for by its option and is used at once; the keyring and netrc are only offered where a person can type.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import sys
from collections.abc import Iterator

from popshell.tuples import NamedTuple

#: The keyring's service; the name there is NAME@HOST: `keyring set popshell mei@pop.example.org`.
SERVICE = "popshell"
#: Octets of a password that is read from a descriptor.
_LONGEST = 8192
#: A word of a netrc after comments and macros, which end at an empty line; and a value, perhaps in quotation marks.
_NETRC_WORD = r"(?:\s+|#.*|macdef\b.*(?:\n.+)*)*(\S*)"
_NETRC_VALUE = (
    r"(?!\s*\n\s*(?:machine|default|login|password|account|macdef)\b)"
    r'\s*(?:"((?:\\.|[^"\\])*)"(?!\S)|([^"\s]\S*))'
)


class PasswordError(Exception):
    """No password where one was to be had. `code` names words in `messages.toml`, `[password]`, `facts` fill them."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


class Found(NamedTuple):
    """A password, whose it is, and where it was: `fd`, `command`, `token` (a command, too), `keyring` or `netrc`."""

    name: str
    secret: str
    place: str

    def __repr__(self) -> str:
        return f"Found({self.name!r}, ..., {self.place!r})"


class Passwords:
    """What the options say. `descriptor` is read here, one line. Raises PasswordError."""

    def __init__(self, command: str = "", descriptor: int | None = None, token_command: str = "") -> None:
        self._command = command
        self._token_command = token_command
        self._read = None if descriptor is None else _line_of(descriptor)

    async def given(self, name: str = "", *, token: bool = False) -> Found | None:
        """What an option gives: a password, or a token by its own command; None without such an option.

        Raises PasswordError.
        """
        if token and self._token_command:
            return Found(name, await _output_of(self._token_command), "token")
        if self._read is not None:
            return Found(name, self._read, "fd")
        return Found(name, await _output_of(self._command), "command") if self._command else None

    async def find(self, name: str, host: str) -> Found | None:
        """What an option gives, else what is stored: for where no question can be asked. Raises PasswordError."""
        return await self.given(name) or await asyncio.to_thread(stored, name, host)


def stored(name: str, host: str) -> Found | None:
    """The password that the keyring or netrc holds for `name` at `host`; without a name, netrc's first for the host.

    Raises PasswordError: `netrc-unreadable`, `netrc-line`, `netrc-open` if others may read it; `keyring-locked`,
    `keyring-none`, `keyring-failed` if netrc has none either.
    """
    host = host.rstrip(".").lower()
    try:
        secret = _in_keyring(f"{name}@{host}") if name else None
    except PasswordError:
        if found := _in_netrc(name, host):
            return found
        raise
    return Found(name, secret, "keyring") if secret else _in_netrc(name, host)


def _in_keyring(entry: str) -> str | None:
    try:
        import keyring  # an extra; it looks for the system's keyrings, which takes its time
    except ImportError:
        return None
    try:
        secret: str | None = keyring.get_password(SERVICE, entry)
    except Exception as error:  # each backend has errors of its own, beside those of the package
        code = {"KeyringLocked": "locked", "NoKeyringError": "none"}.get(type(error).__name__, "failed")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PasswordError(f"keyring-{code}", entry=entry, reason=reason) from error
    return secret


def _in_netrc(name: str, host: str) -> Found | None:
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(1024 * 1024)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PasswordError("netrc-unreadable", path=str(path), reason=error) from error
    for machine, login, password in _netrc_rows(text, path):
        if machine in (host, "") and password and name in ("", login):
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise PasswordError("netrc-open", path=path)
            return Found(login, password, "netrc")
    return None


def _netrc_rows(text: str, path: str) -> Iterator[tuple[str, str, str]]:
    """The entries of a netrc: machine ("" for `default`), login, password. Words of other programs are passed over.

    Python's own module keeps one login of a machine, and refuses a whole file for a word that it does not know.
    Raises PasswordError `netrc-line`, where it comes to a line that cannot be read.
    """
    entry, at = dict[str, str](), 0
    while (found := re.compile(_NETRC_WORD).match(text, at)) is not None and (word := found[1]):
        at, value = found.end(), ""
        if word in ("machine", "login", "password", "account"):
            got = re.compile(_NETRC_VALUE).match(text, at)
            if got is None:
                raise PasswordError("netrc-line", path=str(path), line=text.count("\n", 0, at) + 1, word=word)
            value, at = re.sub(r"\\(.)", r"\1", got[1] or "") or got[2] or "", got.end()
        if word in ("machine", "default"):
            if entry:
                yield entry["machine"], entry.get("login", ""), entry.get("password", "")
            entry = {"machine": value.lower()}
        elif value and entry:
            entry[word] = value
    if entry:
        yield entry["machine"], entry.get("login", ""), entry.get("password", "")


def _line_of(descriptor: int) -> str:
    """One line, octet by octet: what follows it is somebody else's. Raises PasswordError."""
    data = bytearray()
    try:
        while len(data) < _LONGEST and (octet := os.read(descriptor, 1)) not in (b"", b"\n"):
            data += octet
    except OSError as error:
        raise PasswordError("fd-unreadable", number=descriptor, reason=error) from error
    return _checked(bytes(data), PasswordError("fd-empty", number=descriptor))


async def _output_of(command: str) -> str:
    """The first line that a command writes. A script on standard input is not its. Raises PasswordError."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    source = None if sys.stdin.isatty() else nothing
    process = await asyncio.create_subprocess_shell(command, stdin=source, stdout=pipe)
    try:
        output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        raise PasswordError("command-failed", status=process.returncode)
    return _checked(output.partition(b"\n")[0], PasswordError("command-empty"))


def _checked(line: bytes, empty: PasswordError) -> str:
    text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if not text:
        raise empty
    return text
