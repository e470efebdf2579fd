"""The -ERR doctor: from what was seen of a session to the likely causes of a refusal, and the next safe step.

Rules are data, `lessons/doctor.toml`: the premises of a rule, its causes, its next step, its source. Nothing is said
whose premises were not seen. PREMISES is the closed list of kinds of premises; docs/reference-doctor.md describes them.
Words stand in `lessons/<language>/doctor.toml`.

A rule is at most as sure as its file says: `literal`, the source has these very words or defines this response code;
`family`, the source has words or refusals of this kind; `elimination`, only what else could be is ruled out. Words that
several products share are no more than `family` until greeting or CAPA name the product. A rule with words says what
code came with them: where another one came, the code alone counts. Causes come from rules with words if there are any,
of these from the surest alone, and first from the one with the most premises.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from popshell.course.catalog import Catalog, Words
from popshell.course.symptoms import PREMISES, Facts, Regular, Seen, Text, announced, holds, matches, observe, refusal
from popshell.protocol.records import Exchange
from popshell.tuples import NamedTuple
from popshell.visible import show

Sure = Literal["literal", "family", "elimination"]
_RANK = {"literal": 3, "family": 2, "elimination": 1}
#: Causes that are shown at most.
MOST_CAUSES = 6


# -- the file ----------------------------------------------------------------------------------------------------------


class _Premises(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must have been seen. A field is a kind of premise; None asks nothing."""

    def asked(self) -> Iterator[tuple[str, Any]]:
        return ((name, wanted) for name in self.__struct_fields__ if (wanted := getattr(self, name)) is not None)


if TYPE_CHECKING:
    Premises = _Premises
else:
    _FIELDS = [(name, kind.wanted | None, None) for name, kind in PREMISES.items() if kind.wanted]
    Premises = msgspec.defstruct("Premises", _FIELDS, bases=(_Premises,), frozen=True, forbid_unknown_fields=True)


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a rule comes from: an RFC and its section, or a title with its address; `date` is when it says so."""

    title: str = ""
    url: str = ""
    date: str = ""
    rfc: int = 0


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server or provider, and what names it: its greeting and IMPLEMENTATION for certain, the rest perhaps."""

    id: str
    name: str
    source: str
    greeting: str | None = None
    implementation: str | None = None
    reply: str | None = None
    tags: tuple[str, ...] = ()
    #: it stands between the client and the server: replies may be those of another product
    between: bool = False


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. `of` is the product that was seen to say so; `at` is the place within the source."""

    id: str
    sure: Sure
    seen: Premises
    causes: tuple[str, ...]
    next: str
    source: str
    at: str = ""
    of: str = ""
    #: `own`: no other product is known to use these words; `plain`: they say the cause themselves in any product;
    #: `shared`: other products use them, too, for other causes
    words: Literal["own", "plain", "shared"] = "own"


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    source: dict[str, Source]
    product: tuple[Product, ...]
    rule: tuple[Rule, ...]


@lru_cache(maxsize=2)
def read(text: str) -> Rules:
    """The rules of a file. Raises ValueError with the place of what is not allowed in it."""
    rules = msgspec.convert(tomllib.loads(text), Rules)
    for place, fault in _faults(rules):
        raise ValueError(f"{place}: {fault}")
    return rules


def _faults(rules: Rules) -> Iterator[tuple[str, str]]:
    """What is wrong with rules beyond their shape."""
    for key, source in rules.source.items():
        if bool(source.rfc) is bool(source.title):
            yield key, "a source is an RFC or has a title"
        try:  # a day, a month or a year
            datetime.date.fromisoformat(source.date + "-01-01"[len(source.date) - 4 :])
        except ValueError:
            yield key, f"{source.date} is no date"
    products = {product.id for product in rules.product}
    patterns: list[tuple[Rule | Product, Iterable[str | None]]] = [
        (one, (one.greeting, one.implementation, one.reply)) for one in rules.product
    ]
    for rule in rules.rule:
        asked = dict(rule.seen.asked())
        patterns.append((rule, [wanted for kind, wanted in asked.items() if PREMISES[kind].wanted is Regular]))
        if "text" in asked and "code" not in asked:
            yield rule.id, 'words need the code that came with them, "" for none'
        if not {rule.of, *asked.get("product", ())} - {""} <= products:
            yield rule.id, "a product is unknown"
        if not rule.causes or not asked:
            yield rule.id, "a rule has causes and premises"
    for row, expressions in patterns:
        if row.source not in rules.source:
            yield row.id, f"the source {row.source} is unknown"
        for pattern in filter(None, expressions):
            try:
                re.compile(pattern)
            except re.error as error:
                yield row.id, f"{pattern} is no regular expression: {error}"


def load(catalog: Catalog) -> Rules:
    """The rules of `lessons/doctor.toml`."""
    return read(catalog.read("doctor.toml"))


# -- the diagnosis -----------------------------------------------------------------------------------------------------


class Named(NamedTuple):
    """The product that the server seems to be, and how sure that is."""

    product: Product
    sure: Sure


class Cause(NamedTuple):
    """A possible cause by its code in `[cause]`, with the rule that names it and how sure that is."""

    code: str
    sure: Sure
    rule: Rule


class Cited(NamedTuple):
    """A source by its key, and the place in it."""

    key: str
    source: Source
    at: str


class Diagnosis(NamedTuple):
    """What was asked about, the causes with the likeliest first, and the next step by its code in `[next]`.

    Without causes the reason is not known. `exchange` is None where nothing was refused.
    """

    exchange: Exchange | None
    seen: Seen
    named: Named | None = None
    causes: tuple[Cause, ...] = ()
    next: str = "unknown"
    sources: tuple[Cited, ...] = ()


def diagnose(exchanges: Sequence[Exchange], facts: Facts, rules: Rules) -> Diagnosis:
    """Why the last refusal of a session came about, as far as the rules know."""
    at = refusal(exchanges)
    return judge(observe(exchanges, facts), rules, exchanges[at] if at is not None else None)


def judge(seen: Seen, rules: Rules, exchange: Exchange | None = None) -> Diagnosis:
    """The diagnosis of what was seen."""
    named = fingerprint(seen, rules)
    seen = seen._replace(product=named.product.id if named else "")
    held = [(rule, sure) for rule in rules.rule if (sure := sureness(rule, seen, named)) is not None]
    if not held:
        return Diagnosis(exchange, seen, named)
    best = max(_weight(rule, sure) for rule, sure in held)
    chosen = [(rule, sure) for rule, sure in held if _weight(rule, sure) == best]
    chosen.sort(key=lambda pair: -len([*pair[0].seen.asked()]))
    causes: dict[str, Cause] = {}
    for rule, sure in chosen:
        for code in rule.causes:
            causes.setdefault(code, Cause(code, sure, rule))
    kept = tuple(causes.values())[:MOST_CAUSES]
    sources = dict.fromkeys((cause.rule.source, cause.rule.at) for cause in kept)
    cited = tuple(Cited(key, rules.source[key], at) for key, at in sources)
    spoken = {rule.of for rule, _ in chosen if rule.words == "own"}
    if named is None and len(spoken) == len({rule.of for rule, _ in chosen}) == 1:
        named = next((Named(product, "family") for product in rules.product if product.id in spoken), None)
    return Diagnosis(exchange, seen, named, kept, chosen[0][0].next, cited)


def fingerprint(seen: Seen, rules: Rules) -> Named | None:
    """The product that greeting or IMPLEMENTATION name, else the one that capabilities or replies look like."""
    implementation = Text("", " ".join((seen.capabilities or {}).get("IMPLEMENTATION", ())))
    for product in rules.product:
        named = ((product.greeting, seen.greeting), (product.implementation, (implementation,)))
        if any(pattern and matches(pattern, texts) for pattern, texts in named):
            return Named(product, "literal")
    for product in rules.product:
        tags = product.tags and all(announced(tag, seen) for tag in product.tags)
        if tags or (product.reply and matches(product.reply, seen.replies)):
            return Named(product, "family")
    return None


def sureness(rule: Rule, seen: Seen, named: Named | None) -> Sure | None:
    """How sure `rule` is of what was seen; None if it does not apply."""
    if not holds(rule.seen.asked(), seen):
        return None
    if not rule.of or (named is not None and named.product.id == rule.of):
        return rule.sure
    other = named is not None and not named.product.between
    if other and rule.words == "shared":
        return None
    return "family" if rule.sure == "literal" and (other or rule.words == "shared") else rule.sure


def _weight(rule: Rule, sure: Sure) -> tuple[bool, int]:
    has_words = not {"text", "raw", "challenge"}.isdisjoint(kind for kind, _ in rule.seen.asked())
    return sure != "elimination" and has_words, _RANK[sure]


# -- in words ----------------------------------------------------------------------------------------------------------


class Paragraph(NamedTuple):
    """A paragraph of `:why`; `style` is one of the screen's: `emphasis`, `note`, or ""."""

    style: str
    text: str


def why(diagnosis: Diagnosis, words: Words, *, echoes: bool = True) -> Iterator[Paragraph]:
    """What `:why` says, in the words of doctor.toml: what came, who says so, the causes, the next step, sources.

    `echoes`: the server's words may repeat a secret, so what is like one is masked in them.
    """
    seen, exchange = diagnosis.seen, diagnosis.exchange
    if exchange is None and not diagnosis.causes:
        yield Paragraph("", words("doctor.nothing"))
        return
    if exchange is not None:
        yield Paragraph("emphasis", _what_came(exchange, words, echoes))
        if seen.texts and seen.texts[0].encoding != "UTF-8":
            reading = seen.texts[0]
            text = show(exchange.redact(reading.text), keep="")
            yield Paragraph("", words("doctor.encoding", encoding=reading.encoding, text=text))
    if diagnosis.named is not None:
        product, sure = diagnosis.named
        yield Paragraph("", words(f"doctor.product-{sure}", product=product.name))
        if product.between:
            yield Paragraph("", words("doctor.between"))
    if exchange is not None and exchange.problem is not None and not diagnosis.causes:
        yield Paragraph("note", words("doctor.no-refusal"))
        return
    if not diagnosis.causes:
        yield Paragraph("note", words("doctor.unknown"))
    for number, cause in enumerate(diagnosis.causes, 1):
        yield Paragraph("", words("doctor.cause", number=number, cause=words(f"cause.{cause.code}")))
    if diagnosis.causes:  # all come from rules of one sureness
        yield Paragraph("note", words("doctor.sure", sure=words(f"sure.{diagnosis.causes[0].sure}")))
    yield Paragraph("emphasis", words("doctor.next", next=words(f"next.{diagnosis.next}")))
    for key, source, at in diagnosis.sources:
        title = words.get(f"source.{key}") or source.title
        title = f"RFC {source.rfc} §{at}" if source.rfc else ", ".join(filter(None, (title, at)))
        title = " ".join(filter(None, (title, source.url)))
        yield Paragraph("note", words("doctor.source", source=title, date=source.date))


def _what_came(exchange: Exchange, words: Words, echoes: bool) -> str:
    """The line that was sent and the reply to it, secrets masked."""
    sent = show(exchange.sent_lines()[0], keep="") if exchange.command else ""
    reply = show(exchange.reply_line(masked=echoes)[:512], keep="")
    if not reply:
        return words("doctor.silence", command=sent) if sent else words("doctor.no-greeting")
    return words("doctor.reply", command=sent, reply=reply) if sent else words("doctor.greeting", reply=reply)
