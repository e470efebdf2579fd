"""One typed line, parsed: tokens with spans and diagnostics. Colour, completion, warning and explanation read these.

RFC 1939 §3: a keyword, case-insensitive, then arguments, "each separated by a single SPACE character". Nothing here
raises on bad input: a wrong line is sent like any other, and its `-ERR` is the lesson. A diagnostic says what a strict
reader would object to; its `code` is stable and names a text in `messages.toml`.

Traps: the argument of PASS is the rest of the line, blanks included (RFC 1939 §7); `int()` and `str.isdigit()` take
digits of other scripts, so numbers are matched by NUMBER.
"""

from __future__ import annotations

import enum
import itertools
import re

from popshell.protocol import secrets
from popshell.protocol.commands import COMMANDS, LONGEST_LINE, CommandSpec, Kind, Param, State
from popshell.protocol.commands import Context as Context
from popshell.protocol.secrets import MASK as MASK
from popshell.protocol.wire import from_base64
from popshell.tuples import NamedTuple

#: RFC 1939 gives numbers no bound; a line does, and `int()` takes no more than some thousand digits.
NUMBER = re.compile(r"[0-9]{1,255}\Z")
_DIGEST = r"[0-9a-f]{32}\Z"
_FIRST_WORD = re.compile(r"[ \t]*([^ \t]*)")
_WORD = re.compile(r"[ \t]+([^ \t]*)")
#: RFC 1939 §3: "Each argument may be up to 40 characters long."
LONGEST_ARGUMENT = 40


class Role(enum.Enum):
    """What a token is; each value is the name of its style, so that a line looks the same typed and sent."""

    COMMAND = "command"
    UNKNOWN = "command-unknown"
    SECRET = "secret"
    NUMBER = "number"
    MECHANISM = "mechanism"
    ARGUMENT = "argument"
    EXTRA = "extra"


class Token(NamedTuple):
    """A word of the line at `text[start:end]`; `param` is the row's parameter that it fills, None for one too many."""

    start: int
    end: int
    text: str
    role: Role
    param: Param | None = None

    @property
    def secret(self) -> bool:
        return self.role is Role.SECRET

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
    def asks_mechanisms(self) -> bool:
        """Whether it is an AUTH without a mechanism: some servers answer with a list, and it logs nothing in."""
        return self.spec is not None and self.spec.logs_in and self.expects_multi_line

    @property
    def message(self) -> int | None:
        """The message-number that it names, if it names a sound one."""
        for token in self.tokens:
            if token.param and token.param.kind is Kind.MESSAGE and NUMBER.match(token.text):
                return int(token.text)
        return None

    @property
    def has_secret(self) -> bool:
        """Whether part of it must not be shown, an empty password included."""
        return any(token.secret for token in self.tokens)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text in it that must not be shown, longest first, what base64 hides included."""
        found = (secrets.secrets_in(token.text, token.param) for token in self.tokens if token.secret)
        return secrets.joined((), itertools.chain.from_iterable(found))

    def masked(self) -> CommandLine:
        """The line as it may be shown: MASK in place of each secret, its tokens at their new places (sec-K2)."""
        if not self.has_secret:
            return self
        text, tokens, at = "", [], 0
        for token in self.tokens:
            text += self.text[at : token.start]
            shown = MASK if token.secret and token.text else token.text
            tokens.append(Token(len(text), len(text) + len(shown), shown, token.role, token.param))
            text, at = text + shown, token.end
        return CommandLine(text + self.text[at:], self.spec, tuple(tokens), (), self.context)

    def redacted(self) -> str:
        """The text of `masked()`."""
        return self.masked().text

    def has(self, code: str) -> bool:
        return any(diagnostic.code == code for diagnostic in self.diagnostics)

    @property
    def objection(self) -> Diagnostic | None:
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
        moves = spec.on_err if spec is not None and line.objection is None else {}
        refused = (context.refused and spec is None) or secrets.begins_login(spec, line.text)
        return context._replace(state=moves.get(context.state, context.state), follows="", refused=refused)
    state = spec.transitions.get(context.state, context.state)
    if line.asks_mechanisms:
        return context._replace(follows="", refused=False)
    done = context.done if spec.name in context.done else context.done | {spec.name}
    return Context(state, spec.name, context.tls, done, context.maildrop, context.utf8_user)


def tls_on(context: Context) -> Context:
    """Where a session stands once TLS is on: both sides forget what was said in clear text (RFC 2595 §4)."""
    return context._replace(follows="", tls=True, utf8_user=False, refused=False)


def if_it_succeeds(context: Context, line: CommandLine) -> Context:
    """What the line after `line` will meet; a command that is not legal in its state is taken to fail."""
    spec = line.spec
    if spec is None or context.state not in spec.transitions:
        return advance(context, line, ok=False)
    context = advance(context, line, ok=True)
    return tls_on(context) if spec.starts_tls else context


def upper(word: str) -> str:
    """ASCII in upper case, anything else as it is: `str.upper()` makes PASS of `pa\xdf` and LIST of `l\u0131st`."""
    return word.upper() if word.isascii() else word


def parse(text: str, context: Context | None = None) -> CommandLine:
    """Parse one line as typed, judged against `context`. Never raises."""
    context = context or Context()
    notes: list[Diagnostic] = []
    first = _FIRST_WORD.match(text)
    assert first is not None  # it may be empty
    start, end = first.span(1)
    if start:
        notes.append(Diagnostic("leading-space", 0, start))
    if start == end:
        return CommandLine(text, None, (), (*notes, Diagnostic("empty", 0, len(text))), context)
    spec = COMMANDS.get(upper(text[start:end]))
    tokens = _tokens(text, start, end, spec, context, notes)
    _judge(text, spec, context, tokens, notes)
    return CommandLine(text, spec, tuple(tokens), tuple(notes), context)


def _tokens(
    text: str, start: int, end: int, spec: CommandSpec | None, context: Context, notes: list[Diagnostic]
) -> list[Token]:
    """Cut a line with the keyword `text[start:end]` into tokens and give each its parameter."""
    role = Role.COMMAND if spec else Role.UNKNOWN
    params = spec.params if spec else ()
    if (rest := secrets.secret_rest(text, start, end, spec, context)) is not None:
        head, position = rest
        tokens = [Token(start, head, text[start:head], role)]
        if text[head:position] == "\t":
            notes.append(Diagnostic("tab", head, position))
        if head < len(text):
            param = params[0] if params else None
            tokens.append(Token(position, len(text), text[position:], Role.SECRET, param))
            if text.endswith(" ") and position < len(text):  # part of the password, for most servers
                notes.append(Diagnostic("trailing-space", len(text.rstrip(" ")), len(text), mild=True))
        return tokens
    tokens = [Token(start, end, text[start:end], role)]
    if spec is None and secrets.is_secret_word(text[start:end], None, None):
        # The answer to a challenge that did not come: there is no keyword.
        tokens = [Token(start, start, "", role), Token(start, end, text[start:end], Role.SECRET)]
    secret_from = secrets.secret_from(text, end, spec)
    for count, found in enumerate(_WORD.finditer(text, end)):
        blank, start, word = found.start(), found.start(1), found[1]
        if "\t" in text[blank:start]:
            notes.append(Diagnostic("tab", blank, start))
        elif not word:
            notes.append(Diagnostic("trailing-space", blank, start, mild=True))
        elif start - blank > 1:
            notes.append(Diagnostic("double-space", blank, start, mild=True))
        if word:
            param = params[count] if count < len(params) else None
            role = Role.SECRET if found.end() > secret_from else _role(word, spec, param)
            tokens.append(Token(start, found.end(), word, role, param))
    return tokens


def _role(word: str, spec: CommandSpec | None, param: Param | None) -> Role:
    if secrets.is_secret_word(word, spec, param):
        return Role.SECRET
    if param is None:
        return Role.EXTRA if spec else Role.ARGUMENT
    if param.kind in (Kind.MESSAGE, Kind.LINES) and NUMBER.match(word):
        return Role.NUMBER
    return Role.MECHANISM if param.kind is Kind.MECHANISM else Role.ARGUMENT


def _judge(text: str, spec: CommandSpec | None, context: Context, tokens: list[Token], notes: list[Diagnostic]) -> None:
    """Append what a strict reader objects to, the gravest first."""
    verb = tokens[0]

    def object_to(code: str, token: Token = verb, *, mild: bool = False) -> None:
        notes.append(Diagnostic(code, token.start, token.end, mild))

    if "\r" in text or "\n" in text or "\0" in text:
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
    known: list[tuple[str, Token]] = []  # what the maildrop says comes after what the form says, as a server checks it
    for token in arguments:
        if token.param is None:
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
    elif kind is Kind.DIGEST and not re.match(_DIGEST, text):
        found.append(("bad-digest", False))
    elif kind is Kind.INITIAL and text != "=" and from_base64(text) is None:
        found.append(("bad-base64", False))
    if len(text) > LONGEST_ARGUMENT and kind not in (Kind.INITIAL, Kind.SECRET):
        found.append(("long-argument", True))
    named_in_utf8 = context.utf8_user and kind in (Kind.NAME, Kind.SECRET)
    if not text.isascii() and "UTF8" not in context.done and not named_in_utf8:
        found.append(("non-ascii", True))
    return found


def _octets(text: str) -> int:
    try:
        return len(text.encode(errors="surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that stands for no octet: it cannot be sent, but it can be judged
        return len(text.encode("utf-8", "surrogatepass"))
