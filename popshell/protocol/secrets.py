"""Secrets: what must not be shown, stored or logged, and how it is masked. No other module decides either.

A text is secret by where it stands (position) or by what it looks like (likeness):

| position | why |
|---|---|
| the rest of the line after PASS, blanks included | RFC 1939 §7 |
| APOP's digest, AUTH's initial response, and whatever follows them | RFC 1939 §7, RFC 5034 §4 |
| a line that answers a challenge, except `*` | RFC 5034 §4 |
| right after `+OK` to USER, a word that is no command, and what follows it | it was meant to be PASS |
| what follows a name after USER, or after a slip of it | it was meant to be the password |
| after a login, or a slip of one, that was refused or held back, a line that is no command | it may be the answer |
| what follows a login word that stands where it does not belong | `QUIT PASS x`, `mei PASS x` |

| likeness | example |
|---|---|
| what follows a login word in any spelling or language, also of another protocol | `P A S S x`, `РАЅЅ x`, `密碼 x` |
| outside TRANSACTION, what follows a slip of a login word, and the tail of one | `PAS x`, `PASSx`, `AUHT PLAIN x` |
| a name with the password in it | `USER mei:x`, `pop://user:password@host` |
| what no mechanism is called; a digest for a name | `AUTH PLAIN=AGEAYg==` |
| a message of PLAIN, or one with a token, in base64, wherever it stands | `AUHT PLAIN AGEAYg==` |

Ways in: line.py asks `secret_rest` and `is_secret_word` while it cuts a line into tokens; `typed_rows` reads what was
typed at a prompt, also a block or a meta command. Ways out: screens, JSON, transcripts, history and every `repr` pass
`CommandLine.masked`, `masked_answer` or `redact`. The last searches replies for the secrets sent so far, since a
server may repeat them; the text of a message is never changed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from popshell.protocol.commands import COMMANDS, CommandSpec, Context, Kind, Param, State
from popshell.protocol.lookalikes import ENCODED, as_letters, folded, is_one_slip
from popshell.protocol.wire import from_base64

#: What stands where a secret stood; always the same, so that it does not show the length.
MASK = "••••"
#: The answer that cancels AUTH (RFC 5034 §4).
CANCEL = "*"

#: What follows a word for an account, up to where more follows.
_NAME = r"[\s:=,;|\"'<(]+[^\s:=,;|\"'<>()]+(?=[^\w.@%+-]+\w|[:=,;|])"
#: The commands that carry a secret, or ask for one, and those that come right before one (RFC 1939 §7: USER).
_LOGINS = tuple(spec for spec in COMMANDS.values() if any(p.kind in (Kind.SECRET, Kind.DIGEST) for p in spec.params))
_ASKING = tuple(spec.name for spec in COMMANDS.values() if spec.continues)
_BEFORE_LOGIN = tuple({spec.must_follow: 0 for spec in _LOGINS if spec.must_follow})
_NAME_WORDS = (*_BEFORE_LOGIN, "USERNAME", "USERID", "ACCOUNT", "ACCT")
#: Words with which other protocols log in; what follows them, or a slip of them, holds a secret.
_FOREIGN_LOGINS = (
    *("LOGIN", "LOGON", "AUTHENTICATE", "AUTHINFO", "PASSWORD", "PASSWD", "PASSPHRASE", "PASSCODE"),
    *("PWD", "PW", "PROXY-AUTHORIZATION", "BEARER", "SIGNIN", "IDENTIFY"),
)
#: Words for a password in other languages; the last are found within a text, too, since theirs has no blanks.
_WORDS = "MDP|PASSE|PASSWORT|KENNWORT|SENHA|CONTRASENA|HASLO|WACHTWOORD|PAROLA"
_WORDS_WITHIN = "密碼|密码|口令|通行碼|登入|登录|登錄|パスワード|ログイン|비밀번호|암호|пароль|κωδικός"
_LOGIN_NAMES = (*(spec.name for spec in _LOGINS), *_FOREIGN_LOGINS)
_BEGINS = r"(?<![^\W_])(?<!/)(?<![^\W_][._@%+-])"
#: What may stand around a secret, and be no part of it.
_BEFORE = r"^[\W_\u3164]+"
_AROUND = " \t:=,;\"'<>"
_ENDS_IN = rf"(?:[\s:,;|\uff1a]|{ENCODED})+|=+(?=[^=])"
_WORDS_OF = r"\w[^\s:=,;|]*"
_BASE64 = r"[A-Za-z0-9+/]{4,}={0,2}"
_IN_ADDRESS = r"(?<=:)(?!//)[^:@/\s]+(?=@)"
#: An address with a password in it, or a JWT (RFC 7519 §3).
_TELLING = r"://[^/@\s]*:[^@\s]+@|\beyJ[\w-]{8,}\.[\w-]+\."
#: A name with more after it than a name has; brackets hold addresses.
_MORE_THAN_A_NAME = r"[^\s:=,;|\[]+[\s:=,;|]+[^\s:=,;|]|[0-9A-F]{32}\Z"
#: RFC 4422 §3.1: capitals, digits, hyphen, underscore; at most 20. In small letters, digits stand after a hyphen.
_MECHANISM_NAME = r"(?:[A-Z0-9_-]{1,20}|(?=.{1,20}\Z)[a-z]+(?:[_-][a-z0-9]+)*)\Z"
#: The value of an option that there is not: `--password=x`, `-u mei:x`.
_IN_OPTION = r"(?i)(--?pa\w*[= ]|(?:-u|--user)[= ]?[^\s:]+:)\s*\S+"


# -- what is secret in a line -----------------------------------------------------------------------------------------


def secret_rest(text: str, start: int, end: int, spec: CommandSpec | None, context: Context) -> tuple[int, int] | None:
    """Of a line with the keyword `text[start:end]`: where the keyword ends and its secret rest begins, or None."""
    if spec is not None:
        return (end, end + 1) if spec.params and spec.params[0].kind is Kind.SECRET else None
    plain, ends = folded(text)
    expected = context.follows in _BEFORE_LOGIN or (context.refused and context.state is State.AUTHORIZATION)
    head = (_login_verb(plain, slips=expected or context.state is not State.TRANSACTION) or ("", None))[1]
    if head is not None and not plain[head:].strip():
        head = None
    if expected:
        # A word without a blank may be the secret itself.
        head = None if head and plain[head].isalnum() and text[start : start + 4].upper() != "PASS" else head
    elif head is None and len(plain) > 1:
        head = next((found.end() for found in _login_word().finditer(plain) if plain[found.end() :].strip()), None)
    if head is None:
        return (start, start) if expected and text[start:].rstrip() != CANCEL else None
    at = ends[head - 1]
    return (at, at + 1) if text[at : at + 1] in (" ", "\t", "") else (at, at)


def secret_from(text: str, end: int, spec: CommandSpec | None) -> int:
    """Where, in the arguments of a known command, what follows a login word begins; the end of `text` if none does."""
    if spec is not None and len(text) > end:
        plain, ends = folded(text[end:])
        if found := _login_word().search(plain):
            return end + ends[found.end() - 1]
    return len(text)


def is_secret_word(word: str, spec: CommandSpec | None, param: Param | None) -> bool:
    """Whether one word of a line is secret: by its parameter, after it (`param` is None), or by its form."""
    if param is None:
        # What USER has too much may be the secret that comes with the next command.
        too_much = spec is not None and (takes_secret(spec) or spec.must_follow or spec.name in _BEFORE_LOGIN)
        return bool(too_much) or _is_login_message(word) or not (word.isalnum() or re.search(_TELLING, word) is None)
    if param.kind is Kind.NAME and re.match(_MORE_THAN_A_NAME, folded(word)[0]):
        return True
    if param.kind is Kind.MECHANISM and not re.match(_MECHANISM_NAME, word) and word.upper() not in _mechanisms():
        return True
    return param.secret or _is_login_message(word)


def takes_secret(spec: CommandSpec) -> bool:
    """Whether the command has a secret among its parameters."""
    return any(param.secret for param in spec.params)


def begins_login(spec: CommandSpec | None, text: str) -> bool:
    """Whether a line is a login, comes right before one, or is a slip of either: the next may hold the secret.

    A login of another protocol is one if it has a name at most: with two words it is complete.
    """
    if spec is not None:
        return spec.logs_in or spec.name in _BEFORE_LOGIN
    plain = folded(text)[0]
    if len(plain) < 2:  # no word has one letter: the first key waits for no pattern
        return False
    if verb := _login_verb(plain, slips=True):
        word, head = verb
        return word not in _FOREIGN_LOGINS or head is None or len(re.findall(_WORDS_OF, plain[head:])) < 2
    found = _login_word().search(plain)
    return found is not None and len(re.findall(_WORDS_OF, plain[found.end() :])) == 1


@functools.cache
def _login_word() -> re.Pattern[str]:
    """A login word that stands anywhere in a folded line, or a word for an account with the name."""
    within = re.sub(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])", r"\\s*", folded(_WORDS_WITHIN)[0])
    return re.compile(
        rf"{_BEGINS}(?:{'|'.join(_LOGIN_NAMES)}|{_WORDS})(?![._@%+-]*[^\W_])|(?:{within})[是為为]?"
        rf"|{_BEGINS}AUTHORIZATION(?=\s*:)|{_BEGINS}(?:{'|'.join(_NAME_WORDS)}){_NAME}"  # the state has no colon
        r"|(?<!\S)-(?:U|-USER)[ =]?[^\s:]+(?=:)"
    )


@functools.cache
def _mechanisms() -> tuple[str, ...]:
    from popshell.protocol.mechanisms import MECHANISMS  # no start pays for it

    return tuple(sorted(MECHANISMS, key=len, reverse=True))


def _login_verb(plain: str, slips: bool) -> tuple[str, int | None] | None:
    """The login word that a folded line begins with, and where its secret begins, None for a name without one.

    `slips`: also a slip of it, and one with more letters right after it.
    """
    words = [(word, places[:]) for word, places in _first_words(plain)] if len(plain) > 1 else []
    if spaced := next(((word, places[-1]) for word, places in words[1:] if word in _LOGIN_NAMES), None):
        return spaced
    for word, places in words:
        if word in _NAME_WORDS or any(is_one_slip(word, command) for command in _BEFORE_LOGIN):
            name = re.compile(_NAME).match(plain, places[-1])
            return word, name.end() if name else None
        if slips and word.startswith(_NAME_WORDS):
            return word, places[-1]
        for login in _ASKING:
            for size in (len(word), *range(len(login) - 1, len(login) + 2)) if slips or word == login else ():
                head = word[:size]
                if len(head) == size and (head == login or is_one_slip(head, login)):
                    found = _mechanism_at(plain, places[size - 1])
                    if found or head in (word, login):
                        return word, found or places[size - 1]
        for login in _LOGIN_NAMES:
            if word == login or (slips and len(login) > 3 and word.startswith(login)):
                return word, places[len(login) - 1]
            if slips and len(login) > 3 and is_one_slip(word, login):
                return word, places[-1]
    found = _mechanism_at(plain, 0) if slips and " " in plain else None
    return (plain[:found], found) if found else None


@functools.cache
def _mechanism_name() -> re.Pattern[str]:
    return re.compile(rf"[\W_]*(?:{'|'.join(map(re.escape, _mechanisms()))})(?![^\W_])")


def _mechanism_at(plain: str, at: int) -> int | None:
    """Where a mechanism's name ends that begins at `at`, or after what is no letter."""
    found = _mechanism_name().match(plain, at)
    return found.end() if found else None


def _first_words(plain: str) -> Iterator[tuple[str, list[int]]]:
    """The first word of a folded line, and the first ones joined while they are short; where each letter ends."""
    word, places = "", list[int]()
    for found in re.finditer(r"[^\W_]+(?:[@$]+[^\W_]*)*(?![^\W_]|://)", plain):
        word += as_letters(found[0])
        places += range(found.start() + 1, found.end() + 1)
        yield word, places
        if len(found[0]) > 3 or len(word) > 12:
            return


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
        if start == 0:
            refused = (context.refused and line.spec is None) or begins_login(line.spec, row)
            context = context._replace(follows=line.spec.name if line.spec else "", refused=refused)
            challenged = line.spec is not None and line.spec.continues and len(line.arguments) == 1


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
    if words and _names_mechanism(words):
        return text.rindex(words[2]) if len(words) == 3 else len(text)
    pop3 = word.upper() in COMMANDS or _login_verb(folded(rest)[0], slips=True) is not None
    return len(text) - len(rest if pop3 else rest[len(word) :].lstrip())


def _names_mechanism(words: list[str]) -> bool:
    """Whether the words are `auth MECH NAME` of the meta command; what else follows may be a password."""
    if words[0].lower() != "auth" or len(words) not in (2, 3) or (len(words) == 3 and _is_login_message(words[2])):
        return False
    return words[1].upper() in (*_mechanisms(), "APOP", "USER")


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
    return re.sub(_IN_OPTION, rf"\1{MASK}", re.sub(_IN_ADDRESS, MASK, text))


def secrets_in(word: str, param: Param | None = None) -> tuple[str, ...]:
    """What must not be shown of a secret text, or of the answer to a challenge: itself, and what base64 hides.

    Of several words also the last: blanks, or a name, may stand before what was meant as the secret, or computed; and
    what follows a last colon or its like.
    """
    if word in ("", CANCEL):
        return ()
    plain = param is not None and param.kind in (Kind.SECRET, Kind.DIGEST)
    last = word.split()[-1:]
    found = [word, *([] if plain else (text for part in (word, *last) for text in hidden_in_base64(part)))]
    parts = (
        part
        for text in found
        for piece in (text, *text.split()[-1:], *([] if plain else re.split(_ENDS_IN, text)[-1:]))
        for part in (piece, re.sub(_BEFORE, "", piece).rstrip(_AROUND.replace("=", "")))
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
        text = re.sub(_BASE64, lambda word: MASK if _repeats(word[0], known) else word[0], text)
    for secret in known:
        if len(secret) > 2:
            text = text.replace(secret, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def _repeats(word: str, known: tuple[str, ...]) -> bool:
    """Whether the base64 `word` hides one of the secrets."""
    hidden = (from_base64(word) or b"").decode(errors="surrogateescape")
    return any(len(secret) > 2 and secret in hidden for secret in known)


def redact_code(code: str, known: Iterable[str]) -> str:
    """A response code, which is kept in upper case, and so is a secret that was repeated in it."""
    return MASK if any(len(secret) > 2 and secret.upper() in code for secret in known) else code
