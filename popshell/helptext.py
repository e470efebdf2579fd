"""argparse in the user's language: its messages, and help that counts columns and keeps line breaks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from popshell.ui.layout import wrap_text

if TYPE_CHECKING:
    from popshell.course.catalog import Words

#: argparse's messages (its msgids) and the keys of ours; one that is not listed stays in English. argparse fills in the
#: values by `%`, so ours have its placeholders; `%.0r` drops a value that may be a password.
ARGPARSE: Mapping[str, str] = MappingProxyType(
    {
        "usage: ": "usage",
        "argument %(argument_name)s: %(message)s": "argument",
        "expected one argument": "value-missing",
        "ignored explicit argument %r": "value-not-wanted",
        "invalid %(type)s value: %(value)r": "value-kind",
        "the following arguments are required: %s": "required",
    }
)


def make_parser(
    command: str, usage: str, epilog: str, words: Words, fail: Callable[[str], NoReturn]
) -> argparse.ArgumentParser:
    """A parser without arguments yet; `fail` gets what is wrong, in words."""

    class OfType(str):
        """The message about a value of another type: some types have words of their own, `cli.value-TYPE`."""

        def __mod__(self, facts: Any) -> str:
            own = words.get(f"cli.value-{facts['type'].removeprefix('read_')}")
            return str.__mod__(own or self, facts)

    def translated(message: str) -> str:
        text = words(f"cli.{ARGPARSE[message]}") if message in ARGPARSE else message
        return OfType(text) if "%(type)s" in message else text

    argparse._ = translated  # type: ignore[attr-defined]

    class Formatter(argparse.HelpFormatter):
        """argparse counts characters, where a Chinese one has two columns; line breaks of a text are kept."""

        def _format_action_invocation(self, action: argparse.Action) -> str:
            return super()._format_action_invocation(action).replace(" [", "[=")

        def _split_lines(self, text: str, width: int) -> list[str]:
            return _wrapped(text, width)

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            paragraphs = text.split("\n")
            return "\n".join(indent + row for part in paragraphs for row in _wrapped(part, width - len(indent)))

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            fail(message)

        def _check_value(self, action: argparse.Action, value: Any) -> None:
            if action.choices is not None and value not in action.choices:
                choices = tuple(f"`{choice}`" for choice in action.choices)
                raise argparse.ArgumentError(action, words("cli.choice", value=value, choices=choices))

        def format_help(self) -> str:
            text = super().format_help()
            for group in self._action_groups:  # argparse ends a heading with an ASCII colon
                text = text.replace(f"\n{group.title}:\n", f"\n{words('cli.heading', title=group.title)}\n")
            return text

    return Parser(
        prog=f"popshell {command}".strip(),
        usage=usage,
        description=words(f"cli.about-{command or 'shell'}"),
        epilog=epilog,
        add_help=False,
        allow_abbrev=False,
        formatter_class=Formatter,
    )


def _wrapped(text: str, room: int) -> list[str]:
    """`text` in rows of at most `room` columns, each with the blanks with which it begins."""
    lead = text[: len(text) - len(text.lstrip(" "))]
    return wrap_text(text, room, lead, lead) or [""]
