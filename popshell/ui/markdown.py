"""Markdown of lessons as styled lines: headings, paragraphs, lists and fenced blocks; everything else as its text.

The text is wrapped by our own rules (wrap.py). Links are shown with their target, never as terminal links (sec-D5).
markdown-it is imported with this module, so nothing imports it before the first page or lesson is shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from popshell.course.catalog import Words
from popshell.ui import rules
from popshell.ui.wrap import Line, Run, wrap_runs
from popshell.visible import tame


def layout(markdown: str, width: int, plain: bool, words: Words) -> Iterator[Line]:
    """Markdown as styled lines: headings, paragraphs, lists, quotes and fenced blocks; everything else as its text."""
    indent, first = "  ", ""
    heading = False
    for token in MarkdownIt("commonmark").parse(markdown):
        match token.type:
            case "heading_open":
                heading = True
                yield []
            case "heading_close":
                heading = False
            case "list_item_open":
                first = f"{token.info}{token.markup} " if token.info else "• " if not plain else "- "
                indent += "  "
            case "list_item_close":
                indent = indent[:-2]
            case "paragraph_open" if not first:
                yield []
            case "inline":
                runs = list(_inline(token, "emphasis" if heading else ""))
                if heading:
                    yield from wrap_runs(runs, width, " ", " ")
                else:
                    lead = indent[:-2] + first if first else indent
                    yield from wrap_runs(runs, width, lead, indent)
                    first = ""
            case "fence" | "code_block":
                yield []
                yield from _fence(token, indent, width, plain, words)


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


def _fence(token: Token, indent: str, width: int, plain: bool, words: Words) -> Iterator[Line]:
    word, _, info = token.info.partition(" ")
    if word == "pop3" and info.startswith("quoted"):
        source = info.partition(" ")[2].strip().strip('"')
        yield [("dim", f"{indent}{words('page.quoted', source=tame(source))}")]
    for row in token.content.rstrip("\n").split("\n"):
        yield [("", indent), *_dialogue(row)] if word == "pop3" else [("", indent), ("literal", tame(row))]


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
