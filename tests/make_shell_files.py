"""Make what a shell and `man` know of popshell, from the tables of the command line: docs/completions/ and docs/man/.

Use: python tests/make_shell_files.py            (`--check` only tells which files are stale)

The wheel puts them where bash, zsh, fish and man look for them. `tests/test_docs.py` fails when one is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from popshell import __version__
from popshell.arguments import COMMANDS, OPTIONS, SUBCOMMANDS, Option, synopsis
from popshell.course.catalog import Catalog, Words, bundled

ROOT = Path(__file__).resolve().parents[1]


def words(tag: str) -> Words:
    return Catalog((bundled(),)).words(tag)


def of(command: str) -> list[Option]:
    return [option for option in OPTIONS if option.belongs_to(command)]


def values(option: Option) -> list[str] | None:
    """What an option's value can be; [] is a file or directory, None anything or nothing."""
    if "choices" in option.settings:
        return list(option.settings["choices"])
    return [] if option.settings.get("metavar") in ("FILE", "DIR") else None


def bash() -> str:
    rows = [
        "# bash completion for popshell",
        "_popshell() {",
        "    local cur=$2 prev=$3 command= word",
        "    COMPREPLY=()",
    ]
    rows += ['    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do', "        case $word in"]
    rows += [
        f"            {'|'.join(SUBCOMMANDS)}) command=$word; break ;;",
        "        esac",
        "    done",
        "    case $prev in",
    ]
    for option in OPTIONS:
        known = values(option)
        if option.takes_value:
            names = "|".join(option.names)
            reply = f"COMPREPLY=($(compgen -W '{' '.join(known)}' -- \"$cur\")); " if known else ""
            if known == []:
                reply = 'COMPREPLY=($(compgen -f -- "$cur")); '
            rows.append(f"        {names}) {reply}return ;;")
    rows += ["    esac", "    if [[ $cur == -* ]]; then", "        case $command in"]
    for command in (*SUBCOMMANDS, ""):
        names = " ".join(name for option in of(command) for name in option.names if name.startswith("--"))
        rows.append(f"            {command or '*'}) COMPREPLY=($(compgen -W '{names}' -- \"$cur\")) ;;")
    hosts = "|".join(name for name, places in COMMANDS.items() if name and places[:1] and places[0].metavar == "HOST")
    rows += ["        esac", f"    elif [[ -z $command || $command == @({hosts}) ]]; then"]
    names = " ".join(SUBCOMMANDS)
    rows.append("        word=$(popshell config connections 2>/dev/null)")
    rows.append(f"        [[ -n $command ]] || word='{names} '$word")
    rows.append('        COMPREPLY=($(compgen -W "$word" -- "$cur"))')
    rows += ["    elif [[ $command == lint ]]; then", '        COMPREPLY=($(compgen -d -- "$cur"))', "    fi", "}"]
    return "\n".join([*rows, "complete -F _popshell popshell", ""])


def zsh() -> str:
    text = words("en")

    def spec(option: Option) -> str:
        about = (
            text(f"cli.{option.name}").replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
        )
        known = values(option)
        value = ""
        if option.takes_value:
            choices = f"({' '.join(known)})" if known else "_files" if known == [] else ""
            value = f":{option.settings.get('metavar', 'value').replace(':', ' ')}:{choices}"
        elif option.may_have_value:
            return f"'{option.names[0]}=-[{about}]::value:({' '.join(known or ())})'"
        return f"'{option.names[0]}[{about}]{value}'"

    rows = [
        "#compdef popshell",
        "_popshell() {",
        "    local -a names; local word command=",
        "    for word in ${words[2,CURRENT-1]}; do",
    ]
    rows += [
        f"        if [[ $word == ({'|'.join(SUBCOMMANDS)}) ]]; then command=$word; break; fi",
        "    done",
        "    case $command in",
    ]
    for command in (*SUBCOMMANDS, ""):
        rows.append(f"        {command or '*'})")
        host = bool(COMMANDS[command]) and COMMANDS[command][0].metavar == "HOST"
        if host:
            known = "" if command else " ".join(SUBCOMMANDS) + " "
            rows.append(f"            names=({known}" + '${(f)"$(popshell config connections 2>/dev/null)"})')
        place = "'*:directory:_files -/'" if command == "lint" else "'1:host:($names)'" if host else "'*: :'"
        rows.append("            _arguments " + " ".join([*map(spec, of(command)), place]) + " ;;")
    return "\n".join([*rows, "    esac", "}", '_popshell "$@"', ""])


def fish() -> str:
    text = words("en")

    def quoted(about: str) -> str:
        return about.replace("\\", "\\\\").replace("'", "\\'")

    rows = ["# fish completion for popshell", "complete -c popshell -f"]
    none = f"not __fish_seen_subcommand_from {' '.join(SUBCOMMANDS)}"
    for command in SUBCOMMANDS:
        rows.append(f"complete -c popshell -n '{none}' -a {command} -d '{quoted(text(f'cli.{command}'))}'")
    rows.append(f"complete -c popshell -n '{none}' -a '(popshell config connections 2>/dev/null)'")
    for option in OPTIONS:
        commands = [command for command in SUBCOMMANDS if option.belongs_to(command)]
        seen = f"__fish_seen_subcommand_from {' '.join(commands)}"
        when = f"{none}; or {seen}" if option.belongs_to("") and commands else none if option.belongs_to("") else seen
        short = "".join(f" -s {name[1:]}" for name in option.names if not name.startswith("--"))
        known = values(option)
        if known:
            value = f"{'' if option.may_have_value else ' -x'} -a '{' '.join(known)}'"
        else:
            value = " -r -F" if known == [] else " -x" if option.takes_value else ""
        rows.append(
            f"complete -c popshell -n '{when}' -l {option.name}{short}{value} -d '{quoted(text(f'cli.{option.name}'))}'"
        )
    return "\n".join([*rows, ""])


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return "\\&" + text if text.startswith((".", "'")) else text


def man(tag: str) -> Callable[[], str]:
    def made() -> str:
        text = words(tag)
        rows = [
            f'.TH POPSHELL 1 "" "popshell {__version__}"',
            f".SH {text('man.name')}",
            f"popshell \\- {roff(text('man.title'))}",
        ]
        rows.append(f".SH {text('man.synopsis')}")
        for command in COMMANDS:
            rows += [f".B {roff(synopsis(command))}", ".br"]
        rows += [f".SH {text('man.description')}", roff(text("cli.about-shell")), ".PP", roff(text("man.more"))]
        rows.append(f".SH {text('man.commands')}")
        for command in SUBCOMMANDS:
            rows += [".TP", f".B popshell {command}", roff(text(f"cli.about-{command}"))]
        rows.append(f".SH {text('man.options')}")
        for option in OPTIONS:
            head = ", ".join(option.names) + option.shown_value
            where = ", ".join(f"popshell {c}".strip() for c in option.commands or ())
            rows += [".TP", f".B {roff(head)}", roff(text(f"cli.{option.name}") + (f" ({where})" if where else ""))]
        rows.append(f".SH {text('man.exit')}")
        for code in ("0", "1", "2", "3", "130", "141"):
            rows += [".TP", f".B {code}", roff(text(f"man.exit-{code}"))]
        rows.append(f".SH {text('man.files')}")
        for name, path in (
            ("config", "~/.config/popshell/config.toml"),
            ("history", "~/.local/state/popshell/history"),
            ("progress", "~/.local/share/popshell/progress.json"),
        ):
            rows += [".TP", f".I {roff(path)}", roff(text(f"man.file-{name}"))]
        return "\n".join([*rows, ""])

    return made


FILES: Mapping[str, Callable[[], str]] = {
    "docs/completions/popshell.bash": bash,
    "docs/completions/_popshell": zsh,
    "docs/completions/popshell.fish": fish,
    "docs/man/popshell.1": man("en"),
    "docs/man/zh_TW/popshell.1": man("zh-Hant"),
}


def stale() -> list[str]:
    return [
        name
        for name, made in FILES.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text("utf-8") != made()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the completions and the man pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    check = parser.parse_args().check
    found = stale()
    for name in found:
        if not check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(FILES[name](), "utf-8")
        sys.stdout.write(f"{'stale' if check else 'written'}: {name}\n")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
