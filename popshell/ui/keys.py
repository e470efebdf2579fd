"""Keys: as terminals send them (kitty's protocol, xterm's, a paste without end), and what they do at the prompt.

A program that died may leave a terminal in kitty's keyboard mode, where Ctrl-C is `ESC[99;5u` and Enter `ESC[13u`
(https://sw.kovidgoyal.net/kitty/keyboard-protocol/). They are understood: no mode has to be switched off, which older
terminals would take for something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.input.base import Input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys

from popshell.ui.terminal import ANSWERS

#: `CSI key[:others] ; modifiers[:event] [; text] u` and xterm's `CSI 27 ; modifiers ; key ~`.
_KEY = r"\x1b\[(?:(\d+)((?::\d*)*)(?:;(\d*)(?::(\d+))?(?:;[\d:]*)?)?u|27;(\d+);(\d+)~)"
_BEGUN = r"\x1b\[\??[0-9:;]+\Z|\x1b\]11;[^\x07\x1b]*\x1b?\Z"
_CURSOR = r"\x1b\[\d+;\d+R"
_SHIFT, _ALT, _CTRL = 1, 2, 4
#: kitty's private keys that type something: Enter and the digits of the keypad.
_KEYPAD = {57414: "\r", **{57399 + digit: str(digit) for digit in range(10)}}


def legacy(typed: str) -> str:
    """`typed` with each such sequence as the character that terminals send without the protocol."""
    return re.sub(_KEY, _legacy, typed) if "\x1b[" in typed else typed


def _legacy(match: re.Match[str]) -> str:
    code, others, modifiers, event, xterm, xterm_code = match.groups()
    if event == "3":  # a key that is let go
        return ""
    number = int(code or xterm_code)
    held = max(int(modifiers or xterm or 1) - 1, 0)
    if 57344 <= number <= 63743:
        return _KEYPAD.get(number, "")
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return ""
    key = chr(number)
    if held & _SHIFT and key == "\t":
        key = "\x1b[Z"
    elif held & _SHIFT:
        shifted = (others or "").split(":")[1:2]
        key = chr(int(shifted[0])) if shifted and shifted[0] else key.upper()
    if held & _CTRL and "@" <= key.upper() <= "_":
        key = chr(ord(key.upper()) & 0x1F)
    return ("\x1b" if held & _ALT else "") + key


class Parser(Vt100Parser):
    """prompt_toolkit's parser, which does not know these keys, and waits for the end of a paste for ever."""

    _held = ""

    def feed(self, data: str) -> None:
        if self._in_bracketed_paste:
            self._paste(data)
            return
        data, self._held = self._held + data, ""
        if "\x1b" in data and (begun := re.search(_BEGUN, data)):
            data, self._held = data[: begun.start()], begun[0]
        before, paste, after = data.partition("\x1b[200~")
        # The terminal may answer late what it was asked at the start.
        super().feed(legacy(re.sub(ANSWERS, "", before)) if "\x1b" in before else before)
        if paste:
            super().feed(paste)
            self._paste(after + self._held)

    def _paste(self, data: str) -> None:
        """Ctrl-C ends a paste whose end has not come: what was pasted is dropped with the line."""
        self._held = ""
        arrived = re.sub(_CURSOR, self._cursor, self._paste_buffer + data)
        end = arrived.find("\x1b[201~")
        if end < 0 and ("\x03" in data or "\x03" in legacy(data)):
            self._in_bracketed_paste, self._paste_buffer = False, ""
            super().feed("\x03")
        elif end < 0:
            self._paste_buffer = arrived
        else:
            self._paste_buffer = ""
            super().feed(arrived[: end + 6])
            self.feed(arrived[end + 6 :])

    def _cursor(self, match: re.Match[str]) -> str:
        """Where the cursor is, which a resize makes the library ask for, may be answered within a paste."""
        self.feed_key_callback(KeyPress(Keys.CPRResponse, match[0]))
        return ""

    def flush(self) -> None:
        held, self._held = self._held, ""
        if held:
            super().feed(held)
        super().flush()


def understand(source: Input) -> None:
    """Let the input of a terminal understand these keys."""
    if isinstance(source, Vt100Input):
        source.vt100_parser = Parser(source.vt100_parser.feed_key_callback)


def prompt_keys(
    suspend: Callable[[], object], run: Callable[[Buffer, str], None], lines: Mapping[str, str]
) -> KeyBindings:
    """The bindings of the prompt; `suspend` is called at Ctrl-Z, `run` with the line that a key of `lines` types."""
    keys = KeyBindings()
    for key, line in lines.items():
        keys.add(key)(lambda event, line=line: run(event.current_buffer, line))

    @keys.add(Keys.BracketedPaste)
    def paste(event: KeyPressEvent) -> None:
        """Pasted lines stay in the buffer; Enter then shows them and asks."""
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(text.rstrip("\n"))

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def enter(event: KeyPressEvent) -> None:
        """Enter runs; but followed by keys of the same packet, it is a line end of a paste."""
        if any(press.key == Keys.ControlM or len(press.key) == 1 for press in event.key_processor.input_queue):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("c-z")
    def stop(event: KeyPressEvent) -> None:
        suspend()

    return keys
