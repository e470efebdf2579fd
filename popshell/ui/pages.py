"""A page of `lessons/` on the screen (`:help RETR`): facts derived from the tables, then the Markdown body.

rich lays out frame and table; the text is wrapped by wrap.py first, since rich would begin lines with 。 and split
`-ERR`. Loaded for the first page only: rich and markdown-it cost 100 ms. Links are shown with their target, never as
terminal links (sec-D5).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from popshell.course.catalog import Page, Words
from popshell.course.explain import citation, undo_in_words
from popshell.protocol.commands import (
    CAPABILITIES,
    COMMANDS,
    RESPONSE_CODES,
    CommandSpec,
    MultiLine,
    State,
    transitions,
)
from popshell.ui import markdown
from popshell.ui.respell import in_backticks
from popshell.ui.theme import COLOURED, COLOURLESS, Palette, rich_theme
from popshell.ui.wrap import Line, Run, columns, in_ascii, inline, wrap_runs
from popshell.visible import tame

_MOST_COLUMNS = 92


def render(page: Page, path: str, words: Words, columns: int, ascii: bool, palette: Palette | None = None) -> str:
    """The page as text for `columns`, with escapes where `palette` has colour."""
    palette = palette or (COLOURLESS._replace(ascii=True) if ascii else COLOURED)
    if palette.ascii:  # before it is wrapped: some signs become longer
        head_of_page = {key: in_ascii(text) if isinstance(text, str) else text for key, text in page.head.items()}
        page = page._replace(body=in_ascii(page.body), head=head_of_page)
    width = min(columns - 1, _MOST_COLUMNS)
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        theme=rich_theme(palette),
        force_terminal=palette.colour,
        color_system="standard" if palette.colour else None,
        no_color=not palette.colour,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        safe_box=ascii,
    )
    kind, _, name = path.partition("/")
    title = _title(kind, name)
    head = Text(title, "command")
    head.append(f"  {words(f'page.{_KINDS[kind]}')}", "dim")
    if palette.plain:
        console.print(Text(f"== {title}: {tame(page.summary)} =="))
    else:
        from rich import box

        console.print(
            Panel(
                Text(tame(page.summary)),
                title=head,
                title_align="left",
                border_style="dim",
                box=box.ASCII if ascii else box.ROUNDED,
            )
        )
    console.print(_facts(kind, name, page, words, width, palette.ascii))
    body = markdown.layout(page.body, width - 2, palette.plain or ascii, words)
    for line in in_backticks(body, width - 2) if palette.plain else body:
        console.print(_text(line), no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
    text = out.getvalue()
    if not palette.colour:
        text = "".join(f"{row.rstrip()}\n" for row in text.splitlines())
    return in_ascii(text) if palette.ascii else text.replace("→", "->").replace("·", "/") if ascii else text


_KINDS = {"commands": "command", "codes": "code", "capabilities": "capability", "states": "state"}


def _title(kind: str, name: str) -> str:
    if kind == "codes":
        return next((f"[{row.code}]" for row in RESPONSE_CODES.values() if row.page == name), name)
    return name


def _text(line: Line) -> Text:
    text = Text()
    for style, part in line:
        text.append(part, style or None)
    return text


# -- facts from the tables ---------------------------------------------------------------------------------------------


def _facts(kind: str, name: str, page: Page, words: Words, width: int, ascii: bool) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 1), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    rows = list(_rows(kind, name, page, words))
    room = width - max((columns(words(f"page.{label}")) for label, _ in rows if label), default=0) - 3
    for label, value in rows:
        runs = [value] if isinstance(value, tuple) else inline(value)
        wrapped = wrap_runs([(style, in_ascii(text)) for style, text in runs] if ascii else runs, room)
        table.add_row(words(f"page.{label}") if label else "", Text("\n").join(_text(line) for line in wrapped))
    return table


def _rows(kind: str, name: str, page: Page, words: Words) -> Iterator[tuple[str, str | Run]]:
    if kind == "commands":
        yield from _command_rows(COMMANDS[name], page, words)
    elif kind == "capabilities":
        row = CAPABILITIES[name]
        yield "announced-in", " / ".join(s.value for s in State if s in row.announced)
        yield "source", ("rfc", citation(row.rfc, row.section))
    elif kind == "codes":
        code = next(row for row in RESPONSE_CODES.values() if row.page == name)
        yield "source", ("rfc", citation(code.rfc, code.section))
    else:
        state = State(name)
        for arrow in transitions():
            if arrow.before is state and arrow.after is not state:
                server = words("diagram.closes" if state is State.UPDATE else "diagram.greeting")
                yield "leads-to", f"{' · '.join(arrow.commands) or server} → {arrow.after.value}"


def _command_rows(spec: CommandSpec, page: Page, words: Words) -> Iterator[tuple[str, str | Run]]:
    if spec.historic:
        yield "", ("warn", words("page.history"))
    yield "syntax", ("command", spec.syntax)
    for at, param in enumerate(spec.params):
        yield "" if at else "arguments", f"{param.name}: {tame(page.note(f'args.{param.name}') or '')}"
    arrows = [a.value if a is b else f"{a.value} → {b.value}" for a, b in spec.transitions.items()]
    yield "states", " / ".join(arrows)
    if spec.multi_line is MultiLine.WITHOUT_ARGUMENT:
        full = spec.syntax.replace("[", "").replace("]", "")
        yield "reply", f"{spec.name}: {words('reply.many')}; {full}: {words('reply.one')}"
    else:
        yield "reply", words("reply.many" if spec.multi_line is MultiLine.ALWAYS else "reply.one")
    for at, undo in enumerate(undo_in_words(spec, words)):
        yield "" if at else "undo", undo
    if spec.capability:
        yield "announced-by", f"CAPA: {spec.capability}"
    yield "source", ("rfc", citation(spec.rfc, spec.section))
    if spec.see:
        yield "see-also", ("rfc", words.listed(citation(*where) for where in spec.see))
