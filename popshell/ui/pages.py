"""Pages and lessons on the screen: facts from the tables, and Markdown as styled lines.

Of Markdown there are headings, paragraphs, lists, quotes and fenced blocks; anything else is shown as its text. Links
are shown with their target, never as terminal links (sec-D5). Import this when the first page or lesson is shown:
markdown-it takes a while to load.
"""

from __future__ import annotations

from collections.abc import Iterator

from markdown_it.token import Token

from popshell.course import document
from popshell.course.catalog import Words
from popshell.course.document import Document
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
from popshell.ui import rules
from popshell.ui.layout import Line, Look, Run, clip_line, columns, inline, line_columns, pad, wrap
from popshell.visible import tame

#: No wider, in columns: long lines are hard to read.
WIDEST = 92
_KINDS = {"commands": "command", "codes": "code", "capabilities": "capability", "states": "state"}


def render(page: Document, path: str, words: Words, look: Look) -> list[Line]:
    """A page of `lessons/` (`:help RETR`): its summary in a frame, the facts from the tables, its body."""
    look = look.within(WIDEST)
    kind, _, name = path.partition("/")
    title = next((f"[{row.code}]" for row in RESPONSE_CODES.values() if path == f"codes/{row.page}"), name)
    if look.plain:
        lines = wrap([("", f"== {words.named(title, tame(page.summary))} ==")], look)
    else:
        lines = _framed([("command", title), ("dim", f"  {words(f'page.{_KINDS[kind]}')}")], tame(page.summary), look)
    labels = [(words(f"page.{label}") if label else "", fact) for label, fact in _facts(kind, name, page, words)]
    widest = max(columns(label) for label, _ in labels) + 3
    for label, fact in labels:
        runs = [fact] if isinstance(fact, tuple) else inline(fact)
        for at, line in enumerate(wrap(runs, look, " " * widest, " " * widest)):
            lines.append([("dim", pad("" if at else label, widest)), *line[1:]])
    return [*lines, *layout(page.body, look.within(-2), words)]


def _framed(title: Line, text: str, look: Look) -> list[Line]:
    """A text in a frame with a title."""
    inner = look.width - 4
    title = clip_line(look.spelled(title), inner - 2, look.ellipsis)
    stroke = "─" * (inner - line_columns(title) - 1)
    lines: list[Line] = [[("dim", "╭─ "), *title, ("dim", f" {stroke}╮")]]
    for line in wrap([("", text)], look.within(-4)):
        lines.append([("dim", "│ "), *line, ("dim", " " * (inner - line_columns(line)) + " │")])
    return look.drawing([*lines, [("dim", f"╰{'─' * (inner + 2)}╯")]])


def _facts(kind: str, name: str, page: Document, words: Words) -> Iterator[tuple[str, str | Run]]:
    if kind == "commands":
        yield from _command_facts(COMMANDS[name], page, words)
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
                yield "leads-to", f"{' / '.join(arrow.commands) or server} → {arrow.after.value}"


def _command_facts(spec: CommandSpec, page: Document, words: Words) -> Iterator[tuple[str, str | Run]]:
    if spec.historic:
        yield "", ("warn", words("page.history"))
    yield "syntax", ("command", spec.syntax)
    for at, param in enumerate(spec.params):
        yield "" if at else "arguments", words.named(param.name, tame(page.note(f"args.{param.name}") or ""))
    arrows = [a.value if a is b else f"{a.value} → {b.value}" for a, b in spec.transitions.items()]
    yield "states", " / ".join(arrows)
    if spec.multi_line is MultiLine.WITHOUT_ARGUMENT:
        full = spec.syntax.replace("[", "").replace("]", "")
        for at, (form, key) in enumerate(((spec.name, "many"), (full, "one"))):
            yield "" if at else "reply", words.named(form, words(f"reply.{key}"))
    else:
        yield "reply", words("reply.many" if spec.multi_line is MultiLine.ALWAYS else "reply.one")
    for at, undo in enumerate(undo_in_words(spec, words)):
        yield "" if at else "undo", undo
    if spec.capability:
        yield "announced-by", f"CAPA: {spec.capability}"
    yield "source", ("rfc", citation(spec.rfc, spec.section))
    if spec.see:
        yield "see-also", ("rfc", words.listed(citation(*where) for where in spec.see))


# -- Markdown ----------------------------------------------------------------------------------------------------------


def layout(markdown: str, look: Look, words: Words) -> Iterator[Line]:
    """Markdown as styled lines."""
    indent, first = "  ", ""
    heading = False
    for token in document.markdown(markdown):
        match token.type:
            case "heading_open":
                heading = True
                yield []
            case "heading_close":
                heading = False
            case "list_item_open":
                first = f"{token.info}{token.markup} " if token.info else "- " if look.signless else "• "
                indent += "  "
            case "list_item_close":
                indent = indent[:-2]
            case "paragraph_open" if not first:
                yield []
            case "inline" if heading:
                yield from wrap(_inline(token, "emphasis"), look, " ", " ")
            case "inline":
                yield from wrap(_inline(token, ""), look, indent[:-2] + first if first else indent, indent)
                first = ""
            case "fence" | "code_block":
                yield []
                yield from _fence(token, indent, look, words)


def _inline(token: Token, style: str) -> Iterator[Run]:
    current, target = style, ""
    for child in token.children or ():
        match child.type:
            case "text":
                yield current, tame(child.content)
            case "code_inline":
                yield "literal", tame(child.content)
            case "softbreak" | "hardbreak":
                yield current, " "
            case "em_open" | "strong_open":
                current = "emphasis"
            case "em_close" | "strong_close":
                current = style
            case "link_open":
                target = str(child.attrGet("href") or "")
            case "link_close":
                yield "dim", f" <{tame(target)}>" if target else ""
            case "image" | "html_inline":
                yield current, tame(child.content)


def _fence(token: Token, indent: str, look: Look, words: Words) -> Iterator[Line]:
    word, _, info = token.info.partition(" ")
    if word == "pop3" and info.startswith("quoted"):
        source = info.partition(" ")[2].strip().strip('"')
        yield from wrap([("dim", words("page.quoted", source=tame(source)))], look, indent, indent)
    for row in token.content.rstrip("\n").split("\n"):
        line = look.spelled([("", indent), *(_dialogue(row) if word == "pop3" else [("literal", tame(row))])])
        if line_columns(line) <= look.width:
            yield line
        else:  # what does not fit goes on below, right of the mark
            yield from wrap(line[1:], look, indent, indent + "   ")


def _dialogue(row: str) -> Line:
    text = tame(row)
    mark, rest = text[:3], text[3:]
    if mark == "C: ":
        return [("gutter-client", mark), ("command", rest)]
    if mark != "S: ":
        return [("dim", text)]
    line: Line = [("gutter-server", mark)]
    at = 0
    for span in rules.status_spans(rest):
        line += [("", rest[at : span.start]), (span.style, rest[span.start : span.end])]
        at = span.end
    return [run for run in [*line, ("", rest[at:])] if run[1]]
