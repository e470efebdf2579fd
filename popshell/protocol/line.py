"""One typed line, parsed: tokens with spans and diagnostics. Colour, completion, warning and explanation read these.

RFC 1939 §3: a keyword, case-insensitive, then arguments, "each separated by a single SPACE character". Nothing here
raises on bad input: a wrong line is sent like any other, and its `-ERR` is the lesson. A diagnostic says what a strict
reader would object to; its `code` is stable and names a text in `messages.toml`.

Traps: the argument of PASS is the rest of the line, blanks included (RFC 1939 §7); `int()` and `str.isdigit()` take
digits of other scripts, so numbers are matched by `[0-9]{1,10}`.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from typing import NamedTuple

from popshell.protocol.commands import COMMANDS, CommandSpec, Kind, Param, State
from popshell.protocol.commands import Context as Context

#: What stands where a secret stood; always the same, so that it tells nothing of the length.
MASK = "••••"

NUMBER = re.compile(r"[0-9]{1,10}\Z")
_DIGEST = re.compile(r"[0-9a-f]{32}\Z")
_BLANKS = " \t"
#: RFC 2449 §4: a command line is at most 255 octets, CRLF included.
LONGEST_LINE = 255
#: RFC 1939 §3: "Each argument may be up to 40 characters long."
LONGEST_ARGUMENT = 40


class Role(enum.Enum):
    """What a token is."""

    COMMAND = "command"
    ARGUMENT = "argument"
    EXTRA = "extra"


class Token(NamedTuple):
    """A word of the line at `text[start:end]`; `param` is the row's parameter that it fills."""

    start: int
    end: int
    text: str
    role: Role
    param: Param | None = None
    secret: bool = False

    def __repr__(self) -> str:
        return f"Token({self.start}, {self.end}, {MASK if self.secret else self.text!r}, {self.role.value})"


class Diagnostic(NamedTuple):
    """An objection to `text[start:end]`. `mild` ones are taken by most servers."""

    code: str
    start: int
    end: int
    mild: bool = False


class CommandLine(NamedTuple):
    """A line as typed, without its CRLF. `spec` is None for a keyword that the table does not know."""

    text: str
    spec: CommandSpec | None
    tokens: tuple[Token, ...]
    diagnostics: tuple[Diagnostic, ...]
    #: what it was judged against
    context: Context

    def __repr__(self) -> str:
        # Tracebacks and logs print it: no secret (sec-K5).
        return f"CommandLine({self.redacted()!r}, {[d.code for d in self.diagnostics]}, {self.context.state.value})"

    @property
    def name(self) -> str:
        """The keyword in upper case; "" if there is none."""
        return upper(self.tokens[0].text) if self.tokens else ""

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens[1:])

    @property
    def state(self) -> State:
        return self.context.state

    @property
    def continues(self) -> bool:
        """Whether the server may answer `+ ` and ask for another line."""
        return self.spec is not None and self.spec.continues

    @property
    def expects_multi_line(self) -> bool:
        """Whether `+OK` goes on to a dot line. An unknown one is taken for single-line (curl#14201: never guess)."""
        return self.spec is not None and self.spec.expects_multi_line(len(self.tokens) - 1)

    @property
    def message(self) -> int | None:
        """The message-number that it names, if it names a sound one."""
        for token in self.tokens:
            if token.param and token.param.kind is Kind.MESSAGE and NUMBER.match(token.text):
                return int(token.text)
        return None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text in it that must not be shown, longest first, what base64 hides included."""
        found: list[str] = []
        for token in self.tokens:
            if token.secret and token.text:
                found.append(token.text)
                if token.param is None or token.param.kind not in (Kind.SECRET, Kind.DIGEST):
                    found.extend(hidden_in_base64(token.text))
        return tuple(sorted(set(found), key=len, reverse=True))

    def redacted(self) -> str:
        """The line with every secret replaced by MASK (sec-K2)."""
        text = self.text
        for token in reversed(self.tokens):
            if token.secret and token.text:
                text = text[: token.start] + MASK + text[token.end :]
        return text

    def has(self, code: str) -> bool:
        return any(diagnostic.code == code for diagnostic in self.diagnostics)

    @property
    def blunder(self) -> Diagnostic | None:
        """The first objection that is not mild."""
        return next((d for d in self.diagnostics if not d.mild), None)


def advance(context: Context, line: CommandLine, ok: bool) -> Context:
    """Where a session stands after the reply to `line`. TLS begins later than `+OK` to STLS: `tls_on`.

    Client and server move by this alone. A server that says `+OK` to what the table forbids stays where it is, and the
    command counts as done: what happened is followed, not what should have.
    """
    spec = line.spec
    if spec is None or not ok:
        # `QUIT x` is refused for its form and leads nowhere.
        moves = spec.on_err if spec is not None and line.blunder is None else {}
        return context._replace(state=moves.get(context.state, context.state), follows="")
    state = spec.transitions.get(context.state, context.state)
    return context._replace(state=state, follows=spec.name, done=context.done | {spec.name})


def tls_on(context: Context) -> Context:
    """Where a session stands once TLS is on: both sides forget what was said in clear text (RFC 2595 §4)."""
    return context._replace(follows="", tls=True, utf8_user=False)


#: A password in an address (RFC 2384 §3 allows none): what stands between `:` and `@`.
_IN_ADDRESS = re.compile(r"(?<=:)(?!//)[^:@/\s]+(?=@)")


def without_password(text: str) -> str:
    """`text` with the passwords of addresses in it, `pop://user:password@host`, as MASK."""
    return _IN_ADDRESS.sub(MASK, text)


def in_flight(text: str) -> list[str]:
    """The lines between the bars of `STAT | LIST`, as `:flight` takes them: two or more, all POP3; else none."""
    rows = [row.strip() for row in text.split("|") if row.strip()]
    return [] if len(rows) < 2 or any(row.startswith(":") for row in rows) else rows


def upper(word: str) -> str:
    """ASCII in upper case, anything else as it is: `str.upper()` makes PASS of `pa\xdf` and LIST of `l\u0131st`."""
    return word.upper() if word.isascii() else word


def hidden_in_base64(text: str) -> tuple[str, ...]:
    """The words inside a SASL response: decoded, cut at NUL; () if it is no base64."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ()
    # In PLAIN the first two fields are names (RFC 4616 §2); only the last is secret, also where the first NUL was
    # forgotten. Elsewhere all of it is.
    last = decoded.rpartition(b"\0")[2]
    return (last.decode("utf-8", "surrogateescape"),) if last else ()


#: The commands that carry a secret as it is, and those that come right before one (RFC 1939 §7: USER before PASS).
#: What AUTH carries is base64 and is found by its form, whatever stands before it: `_holds_password`.
_SECRET_ONES = tuple(
    spec for spec in COMMANDS.values() if any(param.kind in (Kind.SECRET, Kind.DIGEST) for param in spec.params)
)
_BEFORE_SECRET = frozenset(spec.must_follow for spec in _SECRET_ONES if spec.must_follow)


def _resembles_login(verb: str) -> bool:
    """Whether a word that is no command is probably meant for one that carries a secret: `PASSWORD`, `PAS`, `ATUH`."""
    word = upper(verb)
    return any(word.startswith(spec.name) or _one_slip(word, spec.name) for spec in _SECRET_ONES)


def _one_slip(word: str, name: str) -> bool:
    """Whether `word` is `name` with one letter too many, one missing, one wrong, or its letters in another order."""
    if abs(len(word) - len(name)) > 1:
        return False
    if sorted(word) == sorted(name):
        return True
    start = 0
    while start < min(len(word), len(name)) and word[start] == name[start]:
        start += 1
    longer, shorter = (word, name) if len(word) >= len(name) else (name, word)
    return longer[start + 1 :] == (shorter[start:] if len(word) != len(name) else shorter[start + 1 :])


def _holds_password(word: str) -> bool:
    """Whether `word` is a message of PLAIN, wherever it stands: behind a mistyped AUTH, or where no challenge came."""
    try:
        fields = base64.b64decode(word, validate=True).split(b"\0")
    except (binascii.Error, ValueError):
        return False
    return len(fields) == 3 and all(fields[1:])


def parse(text: str, context: Context | None = None) -> CommandLine:
    """Parse one line as typed, judged against `context`. Never raises."""
    context = context or Context()
    notes: list[Diagnostic] = []
    start = len(text) - len(text.lstrip(_BLANKS))
    if start:
        notes.append(Diagnostic("leading-space", 0, start))
    end = start
    while end < len(text) and text[end] not in _BLANKS:
        end += 1
    if start == end:
        return CommandLine(text, None, (), (*notes, Diagnostic("empty", 0, len(text))), context)
    spec = COMMANDS.get(upper(text[start:end]))
    tokens = [Token(start, end, text[start:end], Role.COMMAND)]
    _arguments(text, end, spec, context, tokens, notes)
    _judge(text, spec, context, tokens, notes)
    return CommandLine(text, spec, tuple(tokens), tuple(notes), context)


def _arguments(
    text: str,
    position: int,
    spec: CommandSpec | None,
    context: Context,
    tokens: list[Token],
    notes: list[Diagnostic],
) -> None:
    """Cut the rest of the line into arguments and give each its parameter."""
    params = spec.params if spec else ()
    # A slip of the verb may still carry a password: `PAS secret`, `PASSsecret`; right after USER so does any word,
    # `secret` alone included (sec-K3).
    verb = tokens[0]
    after_user = context.follows in _BEFORE_SECRET
    slip = spec is None and (after_user or (context.state is not State.TRANSACTION and _resembles_login(verb.text)))
    if slip and len(verb.text) > 4:
        # Keywords have three or four letters (RFC 1939 §3): what is longer is no keyword, and may be the secret itself.
        head = verb.start + 4 if verb.text[:4].upper() == "PASS" else verb.start
        tokens[0] = Token(verb.start, head, text[verb.start : head], Role.COMMAND)
        tokens.append(Token(head, len(text), text[head:], Role.ARGUMENT, secret=True))
        return
    if spec is None and _holds_password(verb.text):
        # The answer to a challenge that did not come: there is no keyword.
        tokens[0] = Token(verb.start, verb.start, "", Role.COMMAND)
        tokens.append(Token(verb.start, verb.end, verb.text, Role.EXTRA, secret=True))
    if slip or (params and params[0].kind is Kind.SECRET):
        if position < len(text):
            if text[position] == "\t":
                notes.append(Diagnostic("tab", position, position + 1))
            param = params[0] if params else None
            role = Role.ARGUMENT if param else Role.EXTRA
            tokens.append(Token(position + 1, len(text), text[position + 1 :], role, param, secret=True))
        return
    count = 0
    while position < len(text):
        blank = position
        while position < len(text) and text[position] in _BLANKS:
            position += 1
        if "\t" in text[blank:position]:
            notes.append(Diagnostic("tab", blank, position))
        elif position == len(text):
            notes.append(Diagnostic("trailing-space", blank, position, mild=True))
        elif position - blank > 1:
            notes.append(Diagnostic("double-space", blank, position, mild=True))
        start = position
        while position < len(text) and text[position] not in _BLANKS:
            position += 1
        if position > start:
            param = params[count] if count < len(params) else None
            role = Role.ARGUMENT if param else Role.EXTRA
            word = text[start:position]
            secret = bool(param and param.secret) or (param is None and any(p.secret for p in params))
            tokens.append(Token(start, position, word, role, param, secret or _holds_password(word)))
            count += 1


def _judge(text: str, spec: CommandSpec | None, context: Context, tokens: list[Token], notes: list[Diagnostic]) -> None:
    """Append what a strict reader objects to, the gravest first."""
    verb = tokens[0]

    def object_to(code: str, token: Token = verb, *, mild: bool = False) -> None:
        notes.append(Diagnostic(code, token.start, token.end, mild))

    if any(ch in "\r\n\0" for ch in text):
        notes.append(Diagnostic("control", 0, len(text)))
    if _octets(text) + 2 > LONGEST_LINE:
        notes.append(Diagnostic("too-long", 0, len(text)))
    if spec is None:
        object_to("unknown-command")
        return
    if spec.historic:
        object_to("historic")
    if context.state not in spec.transitions:
        object_to("wrong-state")
    elif spec.must_follow and context.follows != spec.must_follow:
        object_to("must-follow")
    elif spec.starts_tls and context.tls:
        object_to("already-tls")
    elif context.done.intersection(spec.not_after):
        object_to("not-after")
    arguments = tokens[1:]
    if len(arguments) < spec.required:
        notes.append(Diagnostic("missing-argument", len(text), len(text)))
    known: list[tuple[str, Token]] = []  # what the maildrop says comes behind what the form says, as a server sees it
    for token in arguments:
        if token.role is Role.EXTRA:
            object_to("extra-argument", token)
            continue
        for code, mild in _objections(token, context):
            if code in ("marked", "no-such-message"):
                known.append((code, token))
            else:
                object_to(code, token, mild=mild)
    for code, token in known:
        object_to(code, token)


def _objections(token: Token, context: Context) -> list[tuple[str, bool]]:
    """What is wrong with one argument, by its kind; and what the maildrop, as known so far, says of it."""
    assert token.param is not None
    kind, text = token.param.kind, token.text
    found: list[tuple[str, bool]] = []
    if kind in (Kind.MESSAGE, Kind.LINES):
        if not NUMBER.match(text):
            return [("bad-number", False)]
        number = int(text)
        if kind is Kind.MESSAGE:
            maildrop = context.maildrop
            if number == 0:
                found.append(("zero", False))
            elif number in maildrop.marks:
                found.append(("marked", False))
            elif maildrop.last is not None and number > maildrop.last:
                found.append(("no-such-message", False))
    elif kind is Kind.DIGEST and not _DIGEST.match(text):
        found.append(("bad-digest", False))
    elif kind is Kind.INITIAL and text != "=" and not _is_base64(text):
        found.append(("bad-base64", False))
    if len(text) > LONGEST_ARGUMENT and kind not in (Kind.INITIAL, Kind.SECRET):
        found.append(("long-argument", True))
    named_in_utf8 = context.utf8_user and kind in (Kind.NAME, Kind.SECRET)
    if not text.isascii() and "UTF8" not in context.done and not named_in_utf8:
        found.append(("non-ascii", True))
    return found


def _octets(text: str) -> int:
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that stands for no octet: it cannot be sent, but it can be judged
        return len(text.encode("utf-8", "surrogatepass"))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
