"""Masking: no secret of a log comes out again, as it stands, in base64, in hexadecimal, or in what the tool printed."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from popshell.logs.formats import Format
from popshell.protocol.secrets import MASK
from popshell.protocol.wire import from_base64

#: Where tools print secrets beside the protocol: group 1 is one.
_PLACES = (
    r"(?i)\b(?:pass(?:word|wd|phrase)?|passwordeval|secret|(?:access_|refresh_)?token)[\"']?(?: +is)? *[=:] *"
    r"[\"']?([^\s\"',;]{1,200})",
    r"(?i)\b(?:-u|--user|--proxy-user) +[\"']?[^\s:\"']{1,120}:([^\s\"']{1,200})",
    r"[a-z][a-z0-9+]{1,12}://[^\s/:@]{1,120}:([^\s/@]{1,200})@",
    r"(?i)\b(?:Bearer|Basic) +([A-Za-z0-9._~+/=-]{6,4000})",
    r"""(?i)\bpass(?:word)?_?\((?:user|pw|\w+=)*["']([^"']{1,200})["']""",
    r"""(?i)\b(?:login|apop|auth\w*)\(["'][^"']{1,120}["'], *["']([^"']{1,200})["']""",
    r"\bPASS +(?!\*|of\b|or\b|and\b|is\b)(\S.{0,250})$",
    r"\bRequest parameter: (\S+)$",
    r"\bAPOP +\S{1,80} +([0-9a-fA-F]{32})\b",
    r"(?i)Resumption PSK: *([0-9A-F]{32,200})|Master-Key: *([0-9A-F]{32,200})",
)
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/=_.-])(?=[A-Za-z0-9+/]*[A-Z0-9+/])[A-Za-z0-9+/]{8,16000}={0,2}(?![A-Za-z0-9+/=])"
)

_MOST_IN_PATTERN = 200
_LONGEST_IN_PATTERN = 4000


class Masker:
    """Replaces every known secret by MASK, and what has the form of one."""

    def __init__(self, form: Format | None, secrets: Iterable[str], lines: Iterable[str]) -> None:
        self._places = [re.compile(pattern) for pattern in (*(form.secrets if form else ()), *_PLACES)]
        known = {secret for secret in secrets if secret and MASK not in secret and set(secret) != {"*"}}
        for line in lines:
            known |= self._printed(line[:4000])
        self._words = sorted((s for s in known if len(s) < 3), key=len, reverse=True)
        self._long = sorted({form for s in known if len(s) > 2 for form in _forms(s)}, key=len, reverse=True)
        few = [secret for secret in self._long if len(secret) < _LONGEST_IN_PATTERN][:_MOST_IN_PATTERN]
        self._any = re.compile("|".join(map(re.escape, few)), re.IGNORECASE) if few else None
        #: the others by their first characters: a pattern of thousands is tried at every place
        self._rest: dict[str, list[str]] = {}
        for secret in sorted(set(self._long).difference(few), key=len, reverse=True):
            self._rest.setdefault(secret[:3].lower(), []).append(secret)

    def _printed(self, line: str) -> set[str]:
        return {
            group
            for place in self._places[:-1]
            for match in place.finditer(line)
            for group in match.groups()
            if group and len(group) > 2 and not re.fullmatch(r"[*.•x]+|\W*|\(not|True|False|None|on|off", group)
        }

    def known(self, text: str) -> str:
        """`text` without the secrets that are known: for words of ours, of which none has only the form of one."""
        if self._any is not None:
            text = self._any.sub(MASK, text)
        if self._rest:
            low = text.lower()
            starts = {low[at : at + 3] for at in range(len(low) - 2)} & self._rest.keys()
            for secret in (secret for start in starts for secret in self._rest[start]):
                text = text.replace(secret, MASK)
        for word in self._words:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", MASK, text)
        return text

    def __call__(self, text: str) -> str:
        """`text` without its secrets, and without what has the form of one."""
        text = self.known(text)
        for place in self._places:
            if place.search(text):
                text = place.sub(_without_groups, text)
        # What a challenge holds is the server's, and no secret.
        return text if text.startswith("+ ") else _BASE64.sub(self._token, text)

    def _token(self, match: re.Match[str]) -> str:
        hidden = from_base64(match[0])
        if hidden is None:
            return match[0]
        inner = hidden.decode("utf-8", "replace")
        holds = self._any is not None and self._any.search(inner)
        # Text in base64 is what SASL sends, wherever it stands.
        return MASK if holds or hidden.count(b"\0") == 2 or re.fullmatch(r"[\x01\x20-\x7e]{6,}", inner) else match[0]


def _without_groups(match: re.Match[str]) -> str:
    text = match[0]
    for group in match.groups():
        if group:
            text = text.replace(group, MASK)
    return text


def _forms(secret: str) -> list[str]:
    raw = secret.encode("utf-8", "surrogateescape")
    forms = [secret, base64.b64encode(raw).decode().rstrip("="), raw.hex(), raw.hex(" ")]
    return [form for form in forms if len(form) > 2]
