"""Mail: the octets of a message as a mail program reads them: fields, a tree of parts, text; bounded.

Theory. A mail is written by a stranger. Its structure is found by offsets alone, one search for each boundary, so that
the octets of each piece can be shown beside what they mean. Python's email package, which has quadratic spots and
raises what it should not (cpython#136063), is given a single field at a time, cut to a bounded length. What crosses a
limit, or cannot be read, becomes a Fault and is left as octets; nothing here raises, whatever the octets.

What comes out is text of a stranger: it passes `visible.show` before it is shown (sec-R3).
"""

from __future__ import annotations

import binascii
import codecs
import email.message
import re
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import groupby

from popshell.course.symptoms import guessed
from popshell.tuples import NamedTuple


class Limits(NamedTuple):
    """How much of a message is read (docs/reference-limits.md): octets, unless said otherwise."""

    header: int = 64 * 1024
    depth: int = 50
    parts: int = 1000
    parameters: int = 200
    #: seconds for the whole message
    seconds: float = 2.0
    #: of one field that is decoded, and of one text as it came
    field: int = 8 * 1024
    text: int = 256 * 1024


LIMITS = Limits()


class Fault(NamedTuple):
    """What could not be read as it should: a code of `messages.toml`, `[mail]`, and the number of the part."""

    code: str
    part: str


class Field(NamedTuple):
    """A header field: its name, its value decoded and unfolded, and its octets without the last line end."""

    name: str
    value: str
    raw: bytes


class Part(NamedTuple):
    """A part, the message itself included; its body stands in the octets of the message from `start` to `end`.

    `number` counts the parts of each multipart from 1: `2.1`; "" is the message. `kind` is its media type in lower
    case, `encoding` its content-transfer-encoding. `other_form` says that another part shows the same; `flowed` and
    `delsp` are the parameters of plain text whose paragraphs go over several lines (RFC 3676 §4).
    """

    number: str
    kind: str
    fields: tuple[Field, ...]
    start: int
    end: int
    charset: str = ""
    encoding: str = ""
    filename: str = ""
    attached: bool = False
    other_form: bool = False
    flowed: bool = False
    delsp: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether a mail program shows its text."""
        # A multipart whose parts cannot be found is text (RFC 2045 §5.2).
        text = self.kind.startswith(("text/", "multipart/"))
        return text and not (self.attached or self.other_form or self.parts)

    def all(self) -> Iterator[Part]:
        """The part and all below it, in the order of the octets."""
        yield self
        for part in self.parts:
            yield from part.all()


class Mail(NamedTuple):
    """A message as it was read."""

    octets: bytes
    root: Part
    faults: tuple[Fault, ...]


class Text(NamedTuple):
    """The text of a part with LF as line end; `left` octets of it were not read."""

    text: str
    faults: tuple[str, ...] = ()
    left: int = 0


# -- structure ---------------------------------------------------------------------------------------------------------


def read(octets: bytes, clock: Callable[[], float] = time.monotonic) -> Mail:
    """Read a message: its content as RETR gives it, byte-stuffing undone. Never raises."""
    reader = _Reader(octets, clock)
    root = reader.part("", 0, len(octets), "text/plain", 0)
    return Mail(octets, root, tuple(dict.fromkeys(reader.faults)))


class _Reader:
    """Finds the parts of one message, as far as LIMITS allow."""

    def __init__(self, octets: bytes, clock: Callable[[], float]) -> None:
        self.faults: list[Fault] = []
        self._octets, self._clock = octets, clock
        self._end = clock() + LIMITS.seconds
        self._left = LIMITS.parts

    def part(self, number: str, start: int, end: int, default: str, depth: int) -> Part:
        """The part whose header begins at `start`; `default` is its media type if it names none (RFC 2046 §5.1.5)."""
        head_end, body = _header_ends(self._octets, start, end)
        whole = head_end - start <= LIMITS.header
        fields, odd = _fields(self._octets[start : min(head_end, start + LIMITS.header)], LIMITS.field)
        if odd or not whole:
            self._fault("no-field" if whole else "header", number)
        mime = self._mime(fields, number)
        kind = mime.get_content_type() if "content-type" in mime else default
        filename = _filename(mime)
        part = Part(
            number,
            kind,
            fields,
            body,
            end,
            charset=_parameter(mime, "charset"),
            encoding=str(mime.get("content-transfer-encoding", "")).split("(")[0].strip().lower(),
            filename=filename,
            # RFC 2183 §2.8: what is not known counts as attachment; without the field, a name alone is no reason.
            attached=str(mime.get("content-disposition", "inline")).partition(";")[0].strip().lower() != "inline",
            flowed=kind == "text/plain" and _parameter(mime, "format").lower() == "flowed",
            delsp=_parameter(mime, "delsp").lower() == "yes",
        )
        if kind.startswith("multipart/") or kind == "message/rfc822":
            if depth >= LIMITS.depth:
                self._fault("depth", number)
            else:
                part = part._replace(parts=self._below(part, _parameter(mime, "boundary"), depth + 1))
        return part

    def _fault(self, code: str, number: str) -> None:
        self.faults.append(Fault(code, number))

    def _mime(self, fields: tuple[Field, ...], number: str) -> email.message.Message:
        """The fields of MIME, with no more parameters than are read."""
        mime = email.message.Message()
        for field in fields:
            if field.name.lower() in _MIME and field.name not in mime:  # of several the first counts
                pieces = field.value.split(";", LIMITS.parameters + 1)
                if len(pieces) > LIMITS.parameters + 1:
                    self._fault("parameters", number)
                value = ";".join(pieces[: LIMITS.parameters + 1])
                mime[field.name] = re.sub("[\ud800-\udfff]", "\ufffd", value)
        return mime

    def _below(self, part: Part, boundary: str, depth: int) -> tuple[Part, ...]:
        if part.kind == "message/rfc822":
            spans = iter([(part.start, part.end)])
        elif boundary:
            spans = self._spans(part, boundary)
        else:
            self._fault("no-boundary", part.number)
            return ()
        default = "message/rfc822" if part.kind == "multipart/digest" else "text/plain"
        found: list[Part] = []
        for count, (start, end) in enumerate(spans, 1):
            if self._left <= 0 or self._clock() > self._end:
                self._fault("parts-most" if self._left <= 0 else "time", part.number)
                break
            self._left -= 1
            found.append(self.part(f"{part.number}.{count}".lstrip("."), start, end, default, depth))
        return _in_one_form(found) if part.kind == "multipart/alternative" else tuple(found)

    def _spans(self, part: Part, boundary: str) -> Iterator[tuple[int, int]]:
        """Where the parts of a multipart stand (RFC 2046 §5.1.1); its body has a line end before it."""
        octets, start = self._octets, -1
        mark = b"\n--" + boundary.encode("utf-8", "surrogateescape")
        delimiter = re.compile(re.escape(mark) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
        for found in delimiter.finditer(octets, max(part.start - 1, 0), part.end):
            if start >= 0:
                at = found.start()
                yield start, max(at - octets.startswith(b"\r", at - 1), start)
            if found[1]:
                return
            start = min(octets.find(b"\n", found.end(), part.end) + 1 or part.end, part.end)
        self._fault("not-closed" if start >= 0 else "no-parts", part.number)
        if start >= 0:
            yield start, part.end


_MIME = ("content-type", "content-transfer-encoding", "content-disposition")


def _header_ends(octets: bytes, start: int, end: int) -> tuple[int, int]:
    """Where a header ends, and where the body begins: after the first empty line."""
    if octets.startswith((b"\n", b"\r\n"), start, end):
        return start, start + 1 + octets.startswith(b"\r", start)
    crlf = octets.find(b"\n\r\n", start, end)
    lf = octets.find(b"\n\n", start, crlf + 1 if crlf >= 0 else end)
    if lf >= 0:
        return lf, lf + 2
    return (crlf, crlf + 3) if crlf >= 0 else (end, end)


def _fields(head: bytes, most: int) -> tuple[tuple[Field, ...], bool]:
    """The fields of a header (RFC 5322 §2.2), and whether lines were passed over that are none: without a colon."""
    out, odd = [], False
    for raw in re.split(rb"\r?\n(?![ \t])", head.removesuffix(b"\r")):
        name, colon, value = raw.partition(b":")
        if colon and re.fullmatch(rb"[!-9;-~]{1,100}[ \t]*", name):
            out.append(Field(name.decode("ascii").rstrip(), decoded(re.sub(rb"\r?\n", b"", value[:most])), raw))
        else:
            odd = odd or bool(raw.strip())
    return tuple(out), odd


def _in_one_form(parts: list[Part]) -> tuple[Part, ...]:
    """The forms of a multipart/alternative (RFC 2046 §5.1.4), all but one marked: plain text, or else the last."""
    chosen = next((part for part in parts if part.kind == "text/plain"), parts[-1] if parts else None)
    return tuple(part if part is chosen else _marked(part) for part in parts)


def _marked(part: Part) -> Part:
    return part._replace(other_form=True, parts=tuple(map(_marked, part.parts)))


def _parameter(mime: email.message.Message, name: str, field: str = "content-type") -> str:
    """A parameter of a field of MIME, RFC 2231's forms included; "" if there is none that can be read."""
    try:
        value = mime.get_param(name, "", field)
    except (ValueError, LookupError, TypeError, AttributeError):  # such as the number of a piece in 5,000 digits
        return ""
    if isinstance(value, tuple):  # RFC 2231 §4: charset, language, and octets as Latin-1
        charset, _, text = value
        return _in_charset((text or "").encode("latin-1", "replace"), charset or "us-ascii")[0]
    return str(value)


def _filename(mime: email.message.Message) -> str:
    name = _parameter(mime, "filename", "content-disposition") or _parameter(mime, "name")
    return decoded(name.encode("utf-8", "surrogateescape"))  # encoded words are not allowed here, and common


# -- words and octets --------------------------------------------------------------------------------------------------

_ENCODED = r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?]*)\?="
#: An encoded word (RFC 2047 §2), its charset perhaps with a language (RFC 2231 §5); blanks inside are a common slip.
_WORD = re.compile(_ENCODED)
#: Blanks between two of them are no text (RFC 2047 §6.2).
_WORDS = re.compile(rf"{_ENCODED}(?:\s*{_ENCODED})*")


def decoded(value: bytes) -> str:
    """The value of a field, unfolded, as a mail program shows it: encoded words decoded (RFC 2047)."""
    return _WORDS.sub(_decoded, value.decode("utf-8", "surrogateescape").strip())


def _decoded(words: re.Match[str]) -> str:
    """Words of one charset are decoded as one, for many a program cuts a character in two."""
    found = groupby(_WORD.findall(words[0]), key=lambda word: str(word[0]).lower())
    octets = ((charset, b"".join(_word_octets(*word[1:]) for word in same)) for charset, same in found)
    return "".join(_in_charset(part, charset)[0] for charset, part in octets)


def _word_octets(encoding: str, text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    return _from_base64(octets) if encoding in "bB" else binascii.a2b_qp(octets, header=True)


def _from_base64(octets: bytes) -> bytes:
    """What base64 stands for, as far as it goes; what is not of its alphabet is passed over (RFC 2045 §6.8)."""
    letters = re.sub(rb"[^A-Za-z0-9+/]+", b"", octets.partition(b"=")[0])
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


#: What a charset is read as: supersets that mail programs write under the smaller name.
_READ_AS = {
    "big5": ("cp950", "big5hkscs"),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "iso2022_jp": ("iso2022_jp_ext",),
    "shift_jis": ("cp932",),
    "euc_kr": ("cp949",),
    "iso8859-1": ("cp1252", "iso8859-1"),
    "ascii": ("utf-8",),
}
#: Codecs of Python that are charsets of mail; others are none, and punycode takes quadratic time.
_CHARSETS = re.compile("ascii|big5|cp|euc_|gb|hz|iso2022_|iso8859-|johab|koi8|mac|shift_jis|tis-620|utf-")


def _codec(charset: str) -> str:
    """The name of Python's codec for a charset; "" if it is not known."""
    if not re.fullmatch(r"[A-Za-z0-9_.:()+-]{1,40}", charset):
        return ""
    try:
        name = codecs.lookup(charset.lower()).name
    except (LookupError, ValueError):
        return ""
    return name if _CHARSETS.match(name) else ""


def _in_charset(octets: bytes, charset: str) -> tuple[str, str]:
    """`octets` as text, and a fault: `charset` if it is not known, `bad-octets` if some are none of it, "" for neither.

    Of a charset that is not known, UTF-8 is tried; octets that are none stay octets, by surrogateescape.
    """
    name = _codec(charset or "us-ascii")
    if not name:
        return octets.decode("utf-8", "surrogateescape"), "charset"
    for codec in (known := _READ_AS.get(name, (name,))):
        try:
            return octets.decode(codec), ""
        except UnicodeError:
            continue
    return octets.decode(known[0], "surrogateescape" if known[0] == "utf-8" else "replace"), "bad-octets"


# -- text --------------------------------------------------------------------------------------------------------------


def text_of(mail: Mail, part: Part) -> Text:
    """The text of a part, its encoding undone and its charset read; HTML as text. Never raises."""
    raw = mail.octets[part.start : part.end]
    left = max(len(raw) - LIMITS.text, 0)
    raw, faults = raw[: LIMITS.text], []
    if part.encoding == "base64":
        raw = _from_base64(raw)
    elif part.encoding == "quoted-printable":
        raw = binascii.a2b_qp(raw)
    elif part.encoding not in ("", "7bit", "8bit", "binary"):
        faults.append("encoding")
    text, fault = _in_charset(raw, part.charset)
    if fault == "bad-octets" and _codec(part.charset or "ascii") in ("ascii", "utf-8") and (guess := guessed(raw)):
        text, fault = guess.text, f"as-{guess.encoding.lower()}"
    faults += [fault] if fault else []
    text = text.replace("\r\n", "\n")
    if part.kind == "text/html":
        reader = _Html()
        if not reader.read(text):
            faults.append("html")
        text = reader.text()
    return Text(_unflowed(text, part.delsp) if part.flowed else text, tuple(faults), left)


def _unflowed(text: str, delsp: bool) -> str:
    """Text of `format=flowed` with each paragraph in one line: one that ends with a blank goes on (RFC 3676 §4)."""
    out: list[list[str]] = []
    goes_on = -1  # the depth of quotation of a paragraph that is not at its end
    for line in text.split("\n"):
        unquoted = line.lstrip(">")
        depth, body = len(line) - len(unquoted), unquoted.removeprefix(" ")
        flows = body.endswith(" ") and body != "-- "  # a signature begins
        if depth != goes_on or body == "-- ":
            out.append([">" * depth + " " * bool(depth)])
        out[-1].append(body[:-1] if flows and delsp else body)
        goes_on = depth if flows else -1
    return "\n".join(map("".join, out))


class _Html(HTMLParser):
    """HTML as text: blocks are lines, a link is followed by where it leads; scripts, styles and the head are left out.

    Trap: `close()` takes quadratic time where a tag was not closed (CVE-2025-6069), so it is not called, and what was
    left by then is text.
    """

    _HIDDEN = ("script", "style", "head", "title", "template")
    _BLOCKS = (
        *("p", "div", "br", "tr", "li", "ul", "ol", "table", "blockquote", "pre", "hr", "dl", "dt", "dd"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "article", "section", "header", "footer"),
    )
    _PIECE = 16 * 1024

    def __init__(self) -> None:
        super().__init__()
        self._out: list[str] = []
        self._hidden = ""
        self._link = ""

    def read(self, text: str) -> bool:
        """Take in `text`; False if it could not be read to its end."""
        end = time.monotonic() + LIMITS.seconds
        for at in range(0, len(text), self._PIECE):
            try:
                self.feed(text[at : at + self._PIECE])
            except (AssertionError, ValueError):  # a declaration that is none
                return False
            if time.monotonic() > end:
                return False
        self.handle_data(self.rawdata)
        return True

    def text(self) -> str:
        lines = (re.sub(r"[ \t\f\r]+", " ", line).strip() for line in "".join(self._out).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in self._HIDDEN:
            self._hidden = self._hidden or tag
        elif tag == "body":
            self._hidden = ""
        elif tag in self._BLOCKS:
            self._out.append("\n* " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self._out.append("  ")
        elif tag == "img" and values.get("alt"):
            self.handle_data(f"[{values['alt']}]")
        elif tag == "a":
            self._link = values.get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""
        elif tag == "a" and self._link:
            self.handle_data(f" <{self._link}>")
            self._link = ""
        elif tag in self._BLOCKS:
            self._out.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._out.append(data.replace("\n", " "))
