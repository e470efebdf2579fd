"""Dialogues in the docs: played through the real shell against the practice server, compared, and rewritten.

Use: python tests/make_dialogues.py          rewrites the blocks of docs/tutorial*.md

A fenced block `pop3` shows what stands on the screen in a window of 80 columns. Its lines ` C: ...` and ` :...` are
what is typed, all others are what the shell answered. All blocks of one page are one run of the shell, in order, with
one practice server, without sockets and with a fixed clock and stamp; passwords stand there as the screen shows them.
`[...]` stands for any number of lines, or within a line for any text. A block that is true is left as it is.

A page that shows what somebody else's server said fences it as `pop3 quoted "SOURCE"`, and nothing is played.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from popshell.course.catalog import Catalog, bundled
from popshell.server.maildrop import from_files
from popshell.server.mailserver import FREE, MailServer, practice_token
from popshell.server.session import ServerSession
from popshell.session import Endpoint, Event, OpenConnection, Session, Step
from popshell.ui.display import new_shell
from popshell.ui.layout import Look
from popshell.ui.metas import Metas
from popshell.ui.screen import Screen
from popshell.ui.shell import Options

ROOT = Path(__file__).resolve().parents[1]
#: Page -> the language that the shell speaks there.
PAGES = {
    "docs/tutorial.md": "en",
    "docs/tutorial.zh-Hant.md": "zh-Hant",
    "docs/tutorial-debug.md": "en",
    "docs/tutorial-debug.zh-Hant.md": "zh-Hant",
}
#: Stands for any number of lines, or for any text in a line.
GAP = "[...]"
PASSWORD = "secret"
#: What SCRAM is bound to, in the place of a certificate's hash.
BINDING = b"certificate"
#: The clock in RFC 1939's example of a stamp (§7, APOP); each connection adds one.
STAMP = 697170952
#: Wrapping is switched off for lines whose width the terminal may see otherwise; nothing of it is seen.
_ESCAPES = re.compile(r"\x1b\[\?7[lh]")
_FENCE = re.compile(r"(?ms)^```pop3\n(.*?)^```$")


@dataclass(frozen=True, slots=True)
class Block:
    """A block: where its lines begin and end in the page, and the lines."""

    start: int
    end: int
    lines: tuple[str, ...]


def blocks(page: str) -> Iterator[Block]:
    for match in _FENCE.finditer(page):
        yield Block(match.start(1), match.end(1), tuple(match[1].splitlines()))


def is_typed(line: str) -> bool:
    return line.startswith((" C: ", " :")) and "   (" not in line  # `(sent by :auth)`


class _Screen(Screen):
    """A window of 80x24 without colours. Asked for a secret it gives the password, asked anything else nothing."""

    @property
    def columns(self) -> int:
        return 80

    @property
    def rows(self) -> int:
        return 24

    def _window(self) -> int | None:
        return 80

    async def ask(self, question: str, *, hidden: bool = False, piped: bool = False) -> str | None:
        return PASSWORD if hidden else ""


class _Line:
    """A connection to the practice server without sockets. A handshake always comes about."""

    def __init__(self, far: ServerSession) -> None:
        self._far = far
        self._near: Session | None = None
        self._tls = False

    def take(self, near: Session) -> None:
        self._near = near
        near.wire = self
        self._later()

    def write(self, data: bytes) -> None:
        self._far.feed(data)
        self._later()

    async def start_tls(self, *, after: int) -> None:
        self._far.tls_started(BINDING)
        self._tls = True

    def close(self) -> None:
        self._far.lost()

    def facts(self) -> dict[str, object]:
        return {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"} if self._tls else {}

    def _later(self) -> None:
        asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        assert self._near is not None
        while (piece := self._far.next_chunk()) is not None:
            self._near.received(piece)
        if self._far.closing:
            self._far.lost()
            self._near.end()


class Stage:
    """One run of the shell with its practice server, as the docs show it. Nothing in it depends on time or chance."""

    def __init__(self, language: str = "en") -> None:
        catalog = Catalog((bundled(),))
        stamps = count(STAMP)
        self._server = MailServer(
            {"learner": PASSWORD},
            catalog.languages,
            catalog.replies,
            from_files(catalog.maildrop_files("default")),
            faults=FREE,
            tokens=lambda: {practice_token("learner"): "learner"},
            clock=lambda: 0.0,
            new_stamp=lambda: f"<1896.{next(stamps)}@popshell.example>",
        )
        self._out = io.StringIO()
        screen = _Screen(Look(), out=self._out)
        self._shell = new_shell(catalog, screen, self._dial, Options(language=language), Metas)

    async def _dial(
        self,
        where: str | None,
        on_event: Callable[[Event, bool], None],
        on_end: Callable[[Exception | None], None],
        on_step: Callable[[Step], None],
    ) -> OpenConnection:
        line = _Line(self._server.session())
        session = Session(lambda: 0.0, on_event, on_end)
        line.take(session)
        tokens = self._server.settings.accounts.tokens
        here = Endpoint("127.0.0.1:43117", practice=True, loopback=True, tokens=lambda: tokens)
        return OpenConnection(session, here, line.facts, lambda: BINDING if line.facts() else None)

    async def open(self) -> list[str]:
        """Connect; what the shell shows of the greeting."""
        await self._shell.connect()
        return self._seen()

    async def type(self, line: str) -> list[str]:
        """Type a line as the page shows it; what the shell shows, the line itself first."""
        if line.startswith(" :"):
            await self._shell.run(line[1:])
            return [line, *self._seen()]
        text = line.removeprefix(" C: ")
        if self._shell.draft:  # :apop has put it at the prompt
            text, self._shell.draft = self._shell.draft, ""
        await self._shell.run(text.replace("••••", PASSWORD))
        return self._seen()

    async def close(self) -> None:
        self._shell.close()

    def _seen(self) -> list[str]:
        rows = _ESCAPES.sub("", self._out.getvalue()).splitlines()
        self._out.seek(0)
        self._out.truncate()
        return [row.rstrip() for row in rows]


async def _play(page: str, language: str) -> list[tuple[Block, list[str]]]:
    stage = Stage(language)
    greeting = await stage.open()
    told: list[tuple[Block, list[str]]] = []
    for number, block in enumerate(blocks(page)):
        shown = list(greeting) if number == 0 and not is_typed(block.lines[0]) else []
        for line in block.lines:
            if is_typed(line):
                shown += await stage.type(line)
        told.append((block, shown))
    await stage.close()
    return told


def play(page: str, language: str = "en") -> list[tuple[Block, list[str]]]:
    """Each block of the page, and what the shell shows when its lines are typed."""
    return asyncio.run(_play(page, language))


def fits(said: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether `shown` is what the page says, where GAP stands for anything."""
    rows = (
        # A gap of lines takes its line end along, so that it can be empty.
        "(?:[^\n]*\n)*?" if line == GAP else re.escape(line).replace(re.escape(GAP), "[^\n]*") + "\n"
        for line in said
    )
    return re.fullmatch("".join(rows), "".join(f"{line}\n" for line in shown)) is not None


def wrong(page: str, language: str = "en") -> list[str]:
    """The blocks that are not true, ready to be read."""
    return [
        "\n".join([f"line {page.count(chr(10), 0, block.start) + 1}:", *block.lines, "-- but the shell shows:", *shown])
        for block, shown in play(page, language)
        if not fits(block.lines, shown)
    ]


def rewritten(page: str, language: str = "en") -> str:
    """The page with every block that is not true replaced by what the shell shows."""
    for block, shown in reversed(play(page, language)):
        if not fits(block.lines, shown):
            page = page[: block.start] + "".join(f"{line}\n" for line in shown) + page[block.end :]
    return page


if __name__ == "__main__":
    for name, tag in PAGES.items():
        path = ROOT / name
        before = path.read_text("utf-8")
        after = rewritten(before, tag)
        if after != before:
            path.write_text(after, "utf-8")
            sys.stdout.write(f"rewritten: {name}\n")
