"""Document: a text file of `lessons/`, read once, with the line of everything in it.

A page or a lesson has a head in TOML between two lines `+++` and a body in Markdown; a TOML file is all head. The
screen, the course and lint read Documents, so that they agree on what a heading, a fence or a key is.

tomllib and markdown-it are imported when the first document is read. Trap: neither says where a key stands, so keys
are found by the look of their lines; a multi-line string that looks like `key = ` may mislead a line number, nothing
else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from popshell.tuples import NamedTuple
from popshell.visible import harmless, tame
from popshell.words import Flaw

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

#: The line above and below a head.
FENCE = "+++"
#: Neither brackets of a head nor blocks of a body are nested deeper (sec-D2): a reader of TOML would run out of stack,
#: one of Markdown silently leaves out what lies deeper. A quote counts 1, a list 2 (the list and its item).
DEEPEST = 20
#: A key of more dots than that nests as deep; the parser would take quadratic time for it.
_DOTTED = r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){20}"""
#: A text with one of these after a backslash may hold what the raw file does not show.
_ESCAPED = "uUbfex"
_TABLE = r"\s*(\[\[?)\s*([\w.-]+)\s*\]"
_KEY = r"""\s*["']?([\w-]+)["']?\s*="""
_STRING_OR_COMMENT = r"""\"((?:\\.|[^"\\])*)\"|'([^']*)'|\#.*"""
# A row of a plain table; control characters are left to tomllib, which refuses them.
_TEXT = r'[^"\\\x00-\x08\x0a-\x1f\x7f]*'
_PLAIN = re.compile(rf'([\w-]+) = "({_TEXT}(?:\\["\\]{_TEXT})*)"', re.ASCII)
_PLAIN_TABLE = re.compile(r"\[([\w-]+)\]", re.ASCII)

Key = str | int


class LessonError(ValueError):
    """A file of a course that cannot be read, or must not be. `line` is 0 if the whole file is meant.

    `code` is one of lint's, and `facts` are those of its text; where it says why, `reason` is an exception or a text.
    """

    def __init__(self, path: str, line: int, code: str, /, **facts: object) -> None:
        super().__init__(f"{path}:{line}: {code} {facts}")
        self.path, self.line, self.code, self.facts = path, line, code, facts


class Heading(NamedTuple):
    line: int
    level: int
    text: str


class Fence(NamedTuple):
    """A fenced block: `line` is that of its opening fence, `end` that of its closing one, or its last if it has none.

    `plain` is one of three backticks or more at the left margin.
    """

    line: int
    end: int
    info: str
    rows: tuple[str, ...]
    closed: bool
    plain: bool


class Document:
    """One file. Lines count from 1. Nothing is raised: `fault` is what keeps the head from being read, if anything."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.rows = text.split("\n")
        self.head: Mapping[str, Any] = {}
        self.fault: LessonError | None = None
        #: the line on which the body begins; a TOML file has none
        self.body_line = len(self.rows) + 1 if path.endswith(".toml") else 1
        try:
            self._read_head()
        except LessonError as error:
            self.fault = error

    def _read_head(self) -> None:
        rows, first, code = self.rows, 1, "bad-toml"
        if not self.path.endswith(".toml"):
            first, code = 2, "bad-head"
            if rows[0].strip() != FENCE:
                raise LessonError(self.path, 1, code, reason=Flaw("no-fence"))
            end = next((at for at, row in enumerate(rows) if at and row.strip() == FENCE), None)
            if end is None:
                raise LessonError(self.path, 1, code, reason=Flaw("no-fence"))
            self.body_line, rows = end + 2, rows[1:end]
        if (deep := too_deep(rows)) is not None:
            raise LessonError(self.path, deep + first - 1, code, reason=Flaw("nested"))
        import tomllib

        try:
            self.head = tomllib.loads("\n".join(rows))
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), ", str(error))
            line = (int(at[1]) if at else len(rows)) + first - 1  # at the end of the head no line is named
            reason = re.sub(r" \(at line \d+, ", f" (at line {line}, ", str(error))  # lines of the file
            raise LessonError(self.path, line, code, reason=reason) from error

    def checked(self) -> Document:
        """The document itself. Raises LessonError if its head cannot be read."""
        if self.fault is not None:
            raise self.fault
        return self

    # -- the head ------------------------------------------------------------------------------------------------------

    @property
    def summary(self) -> str:
        return str(self.head.get("summary", ""))

    def note(self, key: str) -> str | None:
        """The text of `section.key`, or of a key outside of the sections; None if the head has none."""
        section, _, name = key.partition(".")
        table = self.head.get(section) if name else self.head
        text = table.get(name or section) if isinstance(table, dict) else None
        return text if isinstance(text, str) else None

    @cached_property
    def _positions(self) -> dict[tuple[Key, ...], int]:
        """The line of each table and key: ("ok", "note"), ("exercise", 0, "kind")."""
        found: dict[tuple[Key, ...], int] = {}
        counts: Counter[tuple[Key, ...]] = Counter()
        table: tuple[Key, ...] = ()
        rows = self.rows if self.path.endswith(".toml") else self.rows[: self.body_line - 2]
        for at, row in enumerate(rows, 1):
            if name := re.match(_TABLE, row):
                *outer, last = name[2].split(".")
                table = ()
                for part in outer:
                    table += (part, counts[(*table, part)] - 1) if (*table, part) in counts else (part,)
                table += (last,)
                if name[1] == "[[":
                    counts[table] += 1
                    found.setdefault(table, at)
                    table += (counts[table] - 1,)
                found.setdefault(table, at)
            elif key := re.match(_KEY, row):
                found.setdefault((*table, key[1]), at)
        return found

    def line(self, *path: Key) -> int:
        """The line of a key of the head, of what holds it if it is not there, else 1."""
        while path and path not in self._positions:
            path = path[:-1]
        return self._positions.get(path, 1)

    def line_with(self, value: str, *path: Key, nth: int = 1) -> int:
        """The line on which a string below `path` is `value` for the nth time, or holds it; else that of `path`."""
        start = self.line(*path)
        after = (line for key, line in self._positions.items() if line > start and len(key) <= len(path))
        import json  # only a fault of an author needs it

        wanted = json.dumps(value, ensure_ascii=False)[1:-1]
        strings = [
            (at, match[1] or match[2] or "")
            for at in range(start, min(after, default=self.body_line))
            for match in re.finditer(_STRING_OR_COMMENT, self.rows[at - 1])
        ]
        lines = [at for at, text in strings if text == wanted] or [at for at, text in strings if wanted in text]
        return lines[nth - 1] if len(lines) >= nth else self.line(*path, "id")

    def line_of(self, message: str) -> int:
        """The line that a message of msgspec speaks of: `... - at `$.exercise[2].check`."""
        where = re.search(r"at `\$([^`]*)`", message)
        steps = re.findall(r"\.(\w+)|\[(\d+)\]", where[1] if where else "")
        unknown = re.findall(r"unknown field `([^`]+)`", message)
        return self.line(*(int(index) if index else name for name, index in steps), *unknown)

    # -- the body ------------------------------------------------------------------------------------------------------

    @property
    def body(self) -> str:
        return "\n".join(self.rows[self.body_line - 1 :]).strip("\n") + "\n"

    @cached_property
    def _blocks(self) -> list[Token]:
        """The blocks of the body; their `map` counts the lines of the file."""
        return _parser(inline=False).parse("\n" * (self.body_line - 1) + "\n".join(self.rows[self.body_line - 1 :]))

    @property
    def too_deep(self) -> int | None:
        """The first line that is nested deeper than DEEPEST; None if none is."""
        blocks = (token for token in self._blocks if token.type != "inline" and token.nesting >= 0)
        return min((token.map[0] + 1 for token in blocks if token.map and token.level >= DEEPEST), default=None)

    @cached_property
    def headings(self) -> list[Heading]:
        """Those of the body that begin with `#`, in order; what stands in fences, quotes and lists is none."""
        blocks = self._blocks
        return [
            Heading((token.map or [0])[0] + 1, int(token.tag[1]), blocks[at + 1].content)
            for at, token in enumerate(blocks)
            if token.type == "heading_open" and token.level == 0 and token.markup.startswith("#")
        ]

    @cached_property
    def fences(self) -> list[Fence]:
        """The fenced blocks, in order; an indented block that looks like one is meant to be one."""
        found = []
        for token in self._blocks:
            looks = token.type == "code_block" and token.content.lstrip().startswith(("```", "~~~"))
            if token.map is None or not (token.type == "fence" or looks):
                continue
            start, end = token.map
            mark = token.markup or token.content.lstrip()[:3]
            last = self.rows[end - 1].strip()
            ends = end - start > 1 and last.startswith(mark) and not last.strip(mark[0])
            closed = ends or token.type != "fence" or token.level > 0
            plain = token.type == "fence" and mark[0] == "`" and self.rows[start].startswith(mark)
            info = token.info if token.type == "fence" else token.content.lstrip().split("\n")[0].strip("`~")
            rows = self.rows[start + 1 : end - 1 if ends else end]
            found.append(Fence(start + 1, end, info.strip(), tuple(rows), closed, plain))
        return found

    def outside_fences(self) -> list[tuple[int, str]]:
        """The lines of the file with their numbers, fenced blocks left out."""
        fenced = {at for fence in self.fences for at in range(fence.line, fence.end + 1)}
        return [(at, row) for at, row in enumerate(self.rows, 1) if at not in fenced]

    def part(self, start: int, end: int) -> str:
        """The text of the lines from `start` to before `end`."""
        return "\n".join(self.rows[start - 1 : end - 1]).strip()


def markdown(text: str) -> list[Token]:
    """The tokens of a Markdown text, for showing it."""
    return _parser(inline=True).parse(text)


@lru_cache(maxsize=2)
def _parser(inline: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt  # 30 ms that no start pays

    # One level more than may be: what is there is too deep, and is said to be.
    parser = MarkdownIt("commonmark", {"maxNesting": DEEPEST + 1})
    return parser if inline else parser.disable("inline")


# -- TOML --------------------------------------------------------------------------------------------------------------


def too_deep(rows: list[str]) -> int | None:
    """The first of `rows`, from 1, where brackets are nested deeper than DEEPEST: a parser would run out of stack."""
    depth = 0
    for at, row in enumerate(rows, 1):
        if "." in row and re.search(_DOTTED, row):
            return at
        for sign in re.findall(r"[\[\]{}]", row):
            depth = depth + 1 if sign in "[{" else max(depth - 1, 0)
            if depth > DEEPEST:
                return at
    return None


@lru_cache(maxsize=16)  # courses are laid over the same bundled words
def read_tables(text: str) -> Mapping[str, Any]:
    """A TOML file. Most hold nothing but tables of plain strings: those are read here, in a tenth of the time.

    tomllib reads what has any other form, and says what is wrong with what has none. Raises tomllib.TOMLDecodeError,
    and ValueError for what is nested too deep for it (sec-D2).
    """
    table: dict[str, Any] = {}
    tables = table
    for row in text.split("\n"):
        if match := _PLAIN.fullmatch(row):
            if match[1] in table:
                break
            table[match[1]] = re.sub(r"\\(.)", r"\1", match[2]) if "\\" in match[2] else match[2]
        elif (found := _PLAIN_TABLE.fullmatch(row)) and found[1] not in tables:
            table = tables[found[1]] = {}
        elif row and not (row.startswith("#") and row.isprintable()):
            break
    else:
        return tables
    if too_deep(text.split("\n")) is not None:
        raise Flaw("nested")
    import tomllib  # 2 ms that the first prompt does without

    return tomllib.loads(text)


def safe(table: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """`table`, read from `text`, with everything unsafe in its texts written out: it may be anyone's (sec-R1).

    Most files hold nothing of the kind, as one look at the whole shows.
    """
    if not any(f"\\{sign}" in text for sign in _ESCAPED) and (harmless(text) or tame(text) == text):
        return table
    made: Mapping[str, Any] = _tamed(dict(table))
    return made


def _tamed(value: Any) -> Any:
    if isinstance(value, str):
        return tame(value)
    if isinstance(value, dict):
        return {key: _tamed(inner) for key, inner in value.items()}
    return [_tamed(inner) for inner in value] if isinstance(value, list) else value
