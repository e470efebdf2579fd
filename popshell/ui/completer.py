"""Completion: what could stand at the cursor, from the table, the state and what the session has seen.

Deciding *what* to suggest is `suggest()`, apart from prompt_toolkit. With 100,000 messages nothing is scanned: numbers
with a given prefix are computed, 50 at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from popshell.learn.catalog import Catalog
from popshell.learn.explain import warning
from popshell.learn.now import objection
from popshell.protocol.commandline import Context, parse
from popshell.protocol.commands import COMMANDS, CommandSpec, Kind, State
from popshell.protocol.maildropview import MaildropView
from popshell.protocol.sasl import MECHANISMS
from popshell.ui.wrap import clip
from popshell.visible import show

MOST = 50


class Suggestion(NamedTuple):
    """A word to put in place of the last `length` characters, and a remark on it."""

    text: str
    length: int
    remark: str = ""


class Known(NamedTuple):
    """What completion needs to know, read when Tab is pressed."""

    context: Context
    capabilities: dict[str, tuple[str, ...]] | None
    language: str
    name: str = ""
    ascii: bool = False


def suggest(text: str, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    """What could stand at the end of `text`."""
    if text.startswith(":"):
        yield from _metas(text, catalog, known.language)
        return
    words = text.split(" ")
    if len(words) == 1:
        yield from _commands(text, known, catalog)
        return
    spec = COMMANDS.get(words[0].upper())
    at = len(words) - 2
    if spec is None or at >= len(spec.params):
        return
    prefix = words[-1]
    match spec.params[at].kind:
        case Kind.MESSAGE:
            yield from _numbers(prefix, spec, known, catalog)
        case Kind.LINES:
            yield from (Suggestion(n, len(prefix)) for n in ("0", "5", "10") if n.startswith(prefix))
        case Kind.MECHANISM:
            offered = (known.capabilities or {}).get("SASL") or tuple(MECHANISMS)
            yield from _words(prefix, (show(name, keep="") for name in offered))
        case Kind.LANGUAGE:
            yield from _words(prefix, ("en", "zh-Hant", "*"))
        case Kind.NAME if known.name:
            yield from _words(prefix, (known.name,))
        case Kind.INITIAL:
            yield from _words(prefix, ("=",))


def _words(prefix: str, words: Iterator[str] | tuple[str, ...]) -> Iterator[Suggestion]:
    yield from (Suggestion(word, len(prefix)) for word in words if word.lower().startswith(prefix.lower()))


def _commands(prefix: str, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    """Legal commands first, the others behind them with the reason; history not at all."""
    words = catalog.words(known.language)
    if not prefix and known.context.state is State.CLOSED:
        yield Suggestion(":connect", 0, words("meta.connect"))
        return
    here: list[Suggestion] = []
    elsewhere: list[Suggestion] = []
    for spec in COMMANDS.values():
        if spec.historic or not spec.name.startswith(prefix.upper()):
            continue
        name = spec.name if prefix == prefix.upper() else spec.name.lower()
        blank = " " if spec.params else ""
        if code := objection(spec, known.context):
            line = parse(spec.name, known.context)
            elsewhere.append(Suggestion(name + blank, len(prefix), warning(line, code, words)))
        else:
            page = catalog.page(known.language, f"commands/{spec.name}")
            here.append(Suggestion(name + blank, len(prefix), page.summary if page else ""))
    yield from here
    yield from elsewhere


def _metas(text: str, catalog: Catalog, language: str) -> Iterator[Suggestion]:
    from popshell.ui.meta import METAS

    name, blank, rest = text[1:].partition(" ")
    if not blank:
        words = catalog.words(language)
        for meta in METAS.values():
            if meta.name.startswith(name.lower()):
                yield Suggestion(f":{meta.name}" + (" " if meta.param else ""), len(text), words(f"meta.{meta.name}"))
    elif (found := METAS.get(name.lower())) is not None:
        yield from _words(rest, found.choices())


def with_prefix(prefix: str, last: int) -> Iterator[int]:
    """The numbers 1 to `last` whose digits begin with `prefix`, smallest first, without looking at the others."""
    if not prefix:
        yield from range(1, last + 1)
        return
    if not (prefix.isascii() and prefix.isdigit()) or prefix.startswith("0"):
        return
    low = high = int(prefix)
    while low <= last:
        yield from range(low, min(high, last) + 1)
        low, high = low * 10, high * 10 + 9


def _numbers(prefix: str, spec: CommandSpec, known: Known, catalog: Catalog) -> Iterator[Suggestion]:
    """Message-numbers with what is known of them; marked ones are left out, since they would be refused."""
    view = known.context.maildrop
    count = 0
    for number in with_prefix(prefix, view.last or 0):
        if number in view.marks:
            continue
        yield Suggestion(str(number), len(prefix), _about(number, view, catalog, known))
        count += 1
        if count == MOST:
            return


def _about(number: int, view: MaildropView, catalog: Catalog, known: Known) -> str:
    parts: list[str] = []
    if (size := view.sizes.get(number)) is not None:
        parts.append(catalog.words(known.language)("toolbar.message", octets=size))
    if (subject := view.subjects.get(number)) is not None:
        from popshell.ui.render import decoded_words

        parts.append(clip(show(decoded_words(subject), keep=""), 36, "..." if known.ascii else "…"))
    elif (unique_id := view.unique_ids.get(number)) is not None:
        parts.append(show(unique_id, keep=""))
    return (", " if known.ascii else " · ").join(parts)


class ShellCompleter(Completer):
    """`suggest()` for prompt_toolkit. `known` is asked on each Tab."""

    def __init__(self, known: Callable[[], Known], catalog: Catalog) -> None:
        self._known = known
        self._catalog = catalog

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        if "\n" in document.text:
            return
        for found in suggest(text, self._known(), self._catalog):
            yield Completion(found.text, -found.length, display=found.text.strip(), display_meta=found.remark)
