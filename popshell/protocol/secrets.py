"""Secrets: what must not be shown, stored or logged, and how it is masked. No other module decides either.

A text is secret by where it stands (position) or by what it looks like (likeness):

| position | why |
|---|---|
| the rest of the line after PASS, blanks included | RFC 1939 §7 |
| APOP's digest, AUTH's initial response, and whatever follows them | RFC 1939 §7, RFC 5034 §4 |
| a line that answers a challenge, except `*` | RFC 5034 §4 |
| right after `+OK` to USER, a word that is no command, and what follows it | it was meant to be PASS |
| what follows the name of USER, or of a slip of it | it was meant to be the password |
| after a login that was refused or held back, a line that is no command | it may be the answer that was not asked for |

| likeness | example |
|---|---|
| outside TRANSACTION, what follows a slip of PASS or APOP, and a slip's tail | `PAS x`, `PASSWORD x`, `PASSx` |
| a message of PLAIN, or one with a token, in base64, wherever it stands | `AUHT PLAIN AGEAYg==` |
| the password in an address | `pop://user:password@host` |

Ways in: line.py asks `secret_rest` and `is_secret_word` while it cuts a line into tokens; `typed_rows` reads what was
typed at a prompt, also a block or a meta command. Ways out: screens, JSON, transcripts, history and every `repr` pass
`CommandLine.masked`, `masked_answer` or `redact`. The last searches replies for the secrets sent so far, since a
server may repeat them; the text of a message is never changed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from popshell.protocol.commands import COMMANDS, CommandSpec, Context, Kind, Param, State
from popshell.protocol.wire import from_base64

#: What stands where a secret stood; always the same, so that it does not show the length.
MASK = "••••"
#: The answer that cancels AUTH (RFC 5034 §4).
CANCEL = "*"

#: The commands that carry a secret as it is, and those that come right before one (RFC 1939 §7: USER before PASS).
#: What AUTH carries is base64 and is found by its form: `_is_login_message`.
_LOGINS = tuple(spec for spec in COMMANDS.values() if any(p.kind in (Kind.SECRET, Kind.DIGEST) for p in spec.params))
_BEFORE_LOGIN = frozenset(spec.must_follow for spec in _LOGINS if spec.must_follow)
#: Words with which other protocols log in; what follows them holds a secret in any state.
_FOREIGN_LOGINS = ("LOGIN", "AUTHENTICATE", "AUTHINFO", "PASSWORD", "PASSWD", "PASSPHRASE", "PASSCODE", "PWD", "PW")
#: The longest keyword (RFC 1939 §3): a longer word is none, and may be the secret itself.
_LONGEST_KEYWORD = 4
#: What may stand around a secret, and be no part of it.
_AROUND = " \t:=,;\"'<>"
_BASE64 = re.compile(r"[A-Za-z0-9+/]{4,}={0,2}")
_IN_ADDRESS = re.compile(r"(?<=:)(?!//)[^:@/\s]+(?=@)")
#: The value of an option that there is not: `--password=x`.
_IN_OPTION = re.compile(r"(?i)(--?pa\w*[= ])\s*\S+")


# -- what is secret in a line -----------------------------------------------------------------------------------------


def secret_rest(text: str, start: int, end: int, spec: CommandSpec | None, context: Context) -> tuple[int, int] | None:
    """Of a line with the keyword `text[start:end]`: where the keyword ends and its secret rest begins, or None."""
    if spec is not None:
        return (end, end + 1) if spec.params and spec.params[0].kind is Kind.SECRET else None
    word = text[start:end]
    after_user = context.follows in _BEFORE_LOGIN
    slip = context.state is not State.TRANSACTION and _resembles(word, (spec.name for spec in _LOGINS))
    if not (after_user or slip):
        if (head := _foreign_login(text, start) or _slip_of_a_name(text, start, word)) is not None:
            return head, head + 1
        waits = context.refused and context.state is State.AUTHORIZATION and word != CANCEL
        return (start, start) if waits else None
    if len(word) <= _LONGEST_KEYWORD:
        return end, end + 1
    head = start + _LONGEST_KEYWORD if word[:_LONGEST_KEYWORD].upper() == "PASS" else start
    return head, head


def is_secret_word(word: str, spec: CommandSpec | None, param: Param | None) -> bool:
    """Whether one word of a line is secret: by its parameter, after it (`param` is None), or by its form."""
    if param is not None:
        return param.secret or _is_login_message(word)
    # What USER has too much may be the secret that comes with the next command.
    too_much = spec is not None and (takes_secret(spec) or spec.name in _BEFORE_LOGIN)
    return too_much or _is_login_message(word)


def takes_secret(spec: CommandSpec) -> bool:
    """Whether the command has a secret among its parameters."""
    return any(param.secret for param in spec.params)


def _foreign_login(text: str, start: int) -> int | None:
    """Where a login word of another protocol ends: the first word, or the second after a tag, or PASS after `C:`."""
    for match in re.finditer(r"[^ \t]+", text[start:]):
        word = _plain_width(match[0]).upper()
        if word in _FOREIGN_LOGINS or (word == "PASS" and match.start() > 0):
            return start + match.end()
        if match.start() > 0:
            break
    return None


def _slip_of_a_name(text: str, start: int, word: str) -> int | None:
    """Where the account's name ends after a slip of USER, if more follows it: that may be the password."""
    if not _resembles(word, _BEFORE_LOGIN):
        return None
    name = re.match(r"[^ \t]+[ \t]+[^ \t]+(?=[ \t])", text[start:])
    return start + name.end() if name else None


def _plain_width(word: str) -> str:
    """Full-width letters as ASCII ones."""
    if word.isascii():
        return word
    from unicodedata import normalize  # no line in ASCII needs it

    return normalize("NFKC", word)


def _resembles(verb: str, names: Iterable[str]) -> bool:
    """Whether a word is one of `names` with more letters after it or one slip, in any width: `PASSWORD`, `PAS`."""
    word = _plain_width(verb).upper()
    return any(word.startswith(name) or _is_one_slip(word, name) for name in names)


def _is_one_slip(word: str, name: str) -> bool:
    """Whether `word` is `name` with one letter too many, one missing, one wrong, or its letters in another order."""
    if len(word) == len(name):
        return sorted(word) == sorted(name) or sum(map(operator.ne, word, name)) == 1
    longer, shorter = sorted((word, name), key=len, reverse=True)
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


def _is_login_message(word: str) -> bool:
    """Whether `word` is a message of PLAIN (RFC 4616 §2), or one with a token (RFC 7628 §3.1).

    So after a mistyped AUTH, or where no challenge came.
    """
    if len(word) < 8:  # the shortest, two NULs and a letter each, is not decoded for nothing
        return False
    octets = from_base64(word) or b""
    fields = octets.split(b"\0")
    return (len(fields) == 3 and all(fields[1:])) or _token_in(octets) is not None


def _token_in(octets: bytes) -> bytes | None:
    """The OAuth token of a message, if it has one."""
    found = re.search(rb"(?i)(?:^|\x01)auth=bearer +([^\x01]+)", octets)
    return found[1] if found else None


# -- what was typed ---------------------------------------------------------------------------------------------------


class Line(Protocol):
    """What is asked here of a parsed line (line.CommandLine)."""

    @property
    def text(self) -> str: ...
    @property
    def spec(self) -> CommandSpec | None: ...
    @property
    def arguments(self) -> tuple[str, ...]: ...
    @property
    def has_secret(self) -> bool: ...
    def redacted(self) -> str: ...


AnyLine = TypeVar("AnyLine", bound=Line)
#: A row as typed, where its line of POP3 begins, and that line; None for an answer to a challenge.
Row = tuple[str, int, AnyLine | None]


def typed_rows(
    text: str, context: Context, challenged: bool, parse: Callable[[str, Context], AnyLine]
) -> Iterator[Row[AnyLine]]:
    """The rows of what was typed, each judged after the ones before it: lines, answers, or meta commands with a line.

    `challenged` means that the first row answers a challenge.
    """
    for row in text.split("\n"):
        if challenged:
            yield row, 0, None
            challenged = False
            continue
        start = _line_start(row)
        # The word after a meta command is no slip of PASS, but `:explain` explains what is typed next.
        explains = "explain".startswith(row[1:start].strip().lower())
        line = parse(row[start:], context if explains else context._replace(follows="", refused=False))
        yield row, start, line
        if start == 0 and line.spec is not None:
            context = context._replace(follows=line.spec.name)
            challenged = line.spec.continues and len(line.arguments) == 1


def fit_for_history(rows: Iterable[Row[AnyLine]]) -> bool:
    """Whether what was typed may be stored: no row holds a secret, answers a challenge, or logs in."""
    for row, start, line in rows:
        if line is None or line.has_secret or (start and without_password(row) != row):
            return False
        # A line may log in without its secret, and after a blank and a colon.
        if _login_within(row) if start else _names_login(line.text.replace(":", " ").upper().split()[:2]):
            return False
    return True


def masked_rows(rows: Iterable[Row[AnyLine]]) -> str:
    """What was typed, its secrets masked."""
    return "\n".join(_masked_row(*row) for row in rows)


def _masked_row(row: str, start: int, line: Line | None) -> str:
    if line is None or (start and _login_within(row)):
        return masked_answer(row)
    return without_password(row[:start] + line.redacted()) if start else line.redacted()


def _line_start(text: str) -> int:
    """Where a line of POP3 begins in a meta command: after its name, or after a colon that was typed by habit."""
    if not text.startswith(":"):
        return 0
    rest = re.sub(r"^[:\s]+", "", text)
    words = rest.split()
    word = words[0] if words else ""
    pop3 = word.upper() in (*COMMANDS, *_FOREIGN_LOGINS) and not _names_mechanism(words)
    return len(text) - len(rest if pop3 else rest[len(word) :].lstrip())


def _names_mechanism(words: list[str]) -> bool:
    """Whether the words are `auth MECH NAME` of the meta command; what else follows may be a password."""
    if words[0].lower() != "auth" or len(words) not in (2, 3) or (len(words) == 3 and _is_login_message(words[2])):
        return False
    from popshell.protocol.mechanisms import MECHANISMS  # no start pays for it

    return words[1].upper() in (*MECHANISMS, "APOP", "USER")


def _login_within(text: str) -> bool:
    """Whether a line of several, `:flight STAT | PASS x`, holds one that logs in with something after it."""
    return _names_login(text.upper().split()[2:-1])


def _names_login(words: Iterable[str]) -> bool:
    return any((spec := COMMANDS.get(word)) and takes_secret(spec) for word in words)


def readable_in_clear_text(line: Line) -> bool:
    """Whether sending it without TLS gives a secret away: its own, or the answer it asks for. A digest gives none."""
    spec = line.spec
    if spec is None:
        return line.has_secret
    return (line.has_secret or spec.continues) and all(param.kind is not Kind.DIGEST for param in spec.params)


# -- masks ------------------------------------------------------------------------------------------------------------


def masked_answer(text: str) -> str:
    """A line that answers a challenge: all of it is secret, unless it cancels."""
    return CANCEL if text == CANCEL else MASK


def without_password(text: str) -> str:
    """`text` with passwords in an address, `pop://user:password@host`, or an option as MASK (RFC 2384 §3 has none)."""
    return _IN_OPTION.sub(rf"\1{MASK}", _IN_ADDRESS.sub(MASK, text))


def secrets_in(word: str, param: Param | None = None) -> tuple[str, ...]:
    """What must not be shown of a secret text, or of the answer to a challenge: itself, and what base64 hides.

    Of several words also the last: blanks, or a name, may stand before what was meant as the secret, or computed.
    """
    if word in ("", CANCEL):
        return ()
    plain = param is not None and param.kind in (Kind.SECRET, Kind.DIGEST)
    last = word.split()[-1:]
    found = [word, *([] if plain else (text for part in (word, *last) for text in hidden_in_base64(part)))]
    parts = (
        part
        for text in found
        for part in (text.lstrip(_AROUND).rstrip(_AROUND.replace("=", "")), *text.split()[-1:])
        if len(part) > 2
    )
    return tuple(dict.fromkeys((*found, *parts)))


def hidden_in_base64(text: str) -> tuple[str, ...]:
    """The secrets inside a SASL message: what follows its last NUL, all of it if there is none, and a token in it.

    In PLAIN the first two fields are names (RFC 4616 §2); the last is secret also where the first NUL was forgotten.
    Empty if it is no base64.
    """
    last = (from_base64(text) or b"").rpartition(b"\0")[2]
    return tuple(found.decode(errors="surrogateescape") for found in (last, _token_in(last)) if found)


def joined(known: tuple[str, ...], found: Iterable[str]) -> tuple[str, ...]:
    """Secrets without repetition, the longest first, so that none is masked in part."""
    return tuple(sorted({*known, *found}, key=lambda secret: (-len(secret), secret)))


def redact(text: str, known: Iterable[str]) -> str:
    """`text` of a reply with every secret known so far as MASK. Never for the text of a message.

    One of three characters or more is masked wherever it stands; a shorter one, which many a word contains, as a word
    of its own. Base64 is masked where a secret is within.
    """
    known = tuple(known)
    if known:
        text = _BASE64.sub(lambda word: MASK if _repeats(word[0], known) else word[0], text)
    for secret in known:
        if len(secret) > 2:
            text = text.replace(secret, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def _repeats(word: str, known: tuple[str, ...]) -> bool:
    """Whether the base64 `word` hides one of the secrets."""
    hidden = (from_base64(word) or b"").decode("utf-8", "surrogateescape")
    return any(len(secret) > 2 and secret in hidden for secret in known)


def redact_code(code: str, known: Iterable[str]) -> str:
    """A response code, which is kept in upper case, and so is a secret that was repeated in it."""
    return MASK if any(len(secret) > 2 and secret.upper() in code for secret in known) else code
