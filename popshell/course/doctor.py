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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec

from popshell.course.catalog import Catalog, Words
from popshell.course.symptoms import Facts, Seen, Text, announced, holds, matches, observe, refusal
from popshell.protocol.records import Exchange
from popshell.tuples import NamedTuple
from popshell.visible import show

Sure = Literal["literal", "family", "elimination"]
_RANK = {"literal": 3, "family": 2, "elimination": 1}
#: Causes that are shown at most.
MOST_CAUSES = 6


# -- the file ----------------------------------------------------------------------------------------------------------


class Premises(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must have been seen. A field is a kind of premise, by name in PREMISES; None asks nothing."""

    code: str | None = None
    text: str | None = None
    command: tuple[str, ...] | None = None
    mechanism: tuple[str, ...] | None = None
    state: str | None = None
    tls: bool | None = None
    present: tuple[str, ...] | None = None
    absent: tuple[str, ...] | None = None
    unknown: bool | None = None
    greeting: str | None = None
    product: tuple[str, ...] | None = None
    first: bool | None = None
    repeated: int | None = None
    seconds: float | None = None
    closed: bool | None = None
    problem: tuple[str, ...] | None = None
    raw: str | None = None
    objection: tuple[str, ...] | None = None
    challenge: str | None = None
    longer: int | None = None
    follows: tuple[str, ...] | None = None
    marked: bool | None = None
    address: bool | None = None
    host: str | None = None

    def asked(self) -> Iterator[tuple[str, Any]]:
        return ((name, wanted) for name in self.__struct_fields__ if (wanted := getattr(self, name)) is not None)


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
    products = {product.id for product in rules.product}
    for key, source in rules.source.items():
        if bool(source.rfc) is bool(source.title):
            raise ValueError(f"{key}: a source is an RFC or has a title")
        if not _is_date(source.date):
            raise ValueError(f"{key}: {source.date} is no date")
    rows: list[Rule | Product] = [*rules.rule, *rules.product]
    for row in rows:
        if row.source not in rules.source:
            raise ValueError(f"{row.id}: the source {row.source} is unknown")
        for pattern in _patterns(row):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{row.id}: {pattern} is no regular expression: {error}") from None
    for rule in rules.rule:
        if rule.seen.text is not None and rule.seen.code is None:
            raise ValueError(f'{rule.id}: words need the code that came with them, "" for none')
        if not {rule.of, *(rule.seen.product or ())} - {""} <= products:
            raise ValueError(f"{rule.id}: a product is unknown")
        if not rule.causes or not any(rule.seen.asked()):
            raise ValueError(f"{rule.id}: a rule has causes and premises")
    return rules


def _is_date(text: str) -> bool:
    """Whether it is a day, a month or a year: `2026-11-30`, `2026-11`, `2026`."""
    try:
        datetime.date.fromisoformat({4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text))
    except ValueError:
        return False
    return True


def _patterns(row: Rule | Product) -> Iterator[str]:
    if isinstance(row, Product):
        yield from filter(None, (row.greeting, row.implementation, row.reply))
    else:
        seen = row.seen
        yield from filter(None, (seen.text, seen.greeting, seen.raw, seen.challenge, seen.host))


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


@dataclass(frozen=True, slots=True)
class Diagnosis:
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
    words = (rule.seen.text, rule.seen.raw, rule.seen.challenge)
    return sure != "elimination" and any(one is not None for one in words), _RANK[sure]


# -- in words ----------------------------------------------------------------------------------------------------------


class Paragraph(NamedTuple):
    """A paragraph of `:why`; `style` is one of the screen's: `emphasis`, `note`, or ""."""

    style: str
    text: str


def why(diagnosis: Diagnosis, words: Words, *, echoes: bool = True) -> list[Paragraph]:
    """What `:why` says, in the words of doctor.toml: what came, who says so, the causes, the next step, sources.

    `echoes`: the server's words may repeat a secret, so what is like one is masked in them.
    """
    return [Paragraph(style, text) for style, text in _why(diagnosis, words, echoes)]


def _why(diagnosis: Diagnosis, words: Words, echoes: bool) -> Iterator[tuple[str, str]]:
    seen, exchange = diagnosis.seen, diagnosis.exchange
    if exchange is None and not diagnosis.causes:
        yield "", words("doctor.nothing")
        return
    if exchange is not None:
        yield "emphasis", _what_came(exchange, words, echoes)
        if seen.texts and seen.texts[0].encoding != "UTF-8":
            reading = seen.texts[0]
            text = show(exchange.redact(reading.text), keep="")
            yield "", words("doctor.encoding", encoding=reading.encoding, text=text)
    if diagnosis.named is not None:
        product, sure = diagnosis.named
        yield "", words(f"doctor.product-{sure}", product=product.name)
        if product.between:
            yield "", words("doctor.between")
    if exchange is not None and exchange.problem is not None and not diagnosis.causes:
        yield "note", words("doctor.no-refusal")
        return
    if not diagnosis.causes:
        yield "note", words("doctor.unknown")
    for number, cause in enumerate(diagnosis.causes, 1):
        yield "", words("doctor.cause", number=number, cause=words(f"cause.{cause.code}"))
    if diagnosis.causes:  # all come from rules of one sureness
        yield "note", words("doctor.sure", sure=words(f"sure.{diagnosis.causes[0].sure}"))
    yield "emphasis", words("doctor.next", next=words(f"next.{diagnosis.next}"))
    for key, source, at in diagnosis.sources:
        title = words.get(f"source.{key}") or source.title
        title = f"RFC {source.rfc} §{at}" if source.rfc else ", ".join(filter(None, (title, at)))
        yield "note", words("doctor.source", source=" ".join(filter(None, (title, source.url))), date=source.date)


def _what_came(exchange: Exchange, words: Words, echoes: bool) -> str:
    """The line that was sent and the reply to it, secrets masked."""
    sent = show(exchange.sent_lines()[0], keep="") if exchange.command else ""
    reply = show(exchange.redact(_status_line(exchange)) if echoes else _status_line(exchange), keep="")
    if not reply:
        return words("doctor.silence", command=sent) if sent else words("doctor.no-greeting")
    return words("doctor.reply", command=sent, reply=reply) if sent else words("doctor.greeting", reply=reply)


def _status_line(exchange: Exchange) -> str:
    """The line that ends the exchange, after the challenges of AUTH, up to 512 octets."""
    rows = exchange.received.split(b"\r\n", len(exchange.steps) + 1)
    row = rows[len(exchange.steps)] if len(rows) > len(exchange.steps) else b""
    return row[:512].decode("utf-8", "surrogateescape")
