"""Meta commands that look: at a line before it is sent, at the machine, at the maildrop, at what was said so far.

The table of all meta commands is in meta.py.
"""

from __future__ import annotations

from popshell.learn.explain import explain_line
from popshell.protocol.commandline import MASK, Context, parse
from popshell.protocol.commands import State
from popshell.ui import diagram, render
from popshell.ui.shell import Misused, Shell
from popshell.ui.wrap import Line, columns, pad
from popshell.visible import fold, show

# -- looking -----------------------------------------------------------------------------------------------------------


async def explain(shell: Shell, argument: str) -> None:
    if not argument:
        raise Misused
    context = shell.session.connection.context() if shell.session else Context(State.CLOSED)
    line = parse(argument, context)
    spans = explain_line(line, shell.catalog, shell.options.language)
    shell.screen.lines(render.span_lines(line, spans, shell.screen.columns))


async def state(shell: Shell, argument: str) -> None:
    drawn = diagram.machine(shell.state, shell.screen.columns - 2, shell.screen.ascii, shell.words)
    shell.screen.lines([[("", " "), *line] for line in drawn])


async def mailbox(shell: Shell, argument: str) -> None:
    from popshell.ui import mailbox

    if shell.session is None:
        shell.say("shell.no-connection", style="warn")
        return
    view = shell.session.connection.maildrop
    if not view.open:
        shell.say("shell.no-maildrop", style="warn")
        return
    drawn = mailbox.table(
        render.mail_rows(view),
        shell.screen.columns - 2,
        shell.screen.ascii,
        shell.words,
        messages=view.count,
        octets=view.octets,
        marks=len(view.marks),
    )
    shell.screen.lines([[("", " "), *line] for line in drawn])


async def ladder(shell: Shell, argument: str) -> None:
    from popshell.ui import ladder

    rungs = render.rungs(shell.call.session.transcript if shell.call else shell.earlier)
    drawn = ladder.ladder(rungs, shell.screen.columns - 2, shell.screen.ascii, shell.words)
    shell.screen.lines([[("", " "), *line] for line in drawn])


async def more(shell: Shell, argument: str) -> None:
    if shell.page_rest:
        rest = shell.page_rest
        if argument == "all":
            shell.screen.styled("".join(rest))
            shell.page_rest = []
        else:
            shell.page("".join(rest))
        return
    if shell.cut_short is None:
        shell.say("shell.no-more")
        return
    exchange, start = shell.cut_short
    shown = shell.screen.reply(exchange, start, None if argument != "all" else 1 << 40)
    shell.cut_short = (exchange, start + shown.lines) if shown.left else None
    if shell.cut_short:
        shell.say("shell.more", left=shown.left, total=start + shown.total)


async def raw(shell: Shell, argument: str) -> None:
    """The last exchange octet by octet, secrets masked: CR and LF are shown, and what is no ASCII in hexadecimal."""
    exchanges = shell.exchanges()
    if not exchanges:
        shell.say("shell.nothing-yet")
        return
    last = exchanges[-1]
    lines: list[Line] = []
    for text in last.sent_lines():
        lines += _framed("gutter-client", "C", f"{_octets(text)}\\r\\n", shell.screen.columns)
    # Only what is no mail may be masked: a mail is shown as it is.
    masked = len(last.steps) + 1 if last.response else _MOST_RAW
    rows = last.received.split(b"\n")
    rows = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
    for at, row in enumerate(rows[:_MOST_RAW]):
        text = row[:_LONGEST_RAW].decode("utf-8", "surrogateescape")
        text = _octets(last.redact(text) if at < masked else text)
        lines += _framed("gutter-server", "S", text, shell.screen.columns)
        if len(row) > _LONGEST_RAW:
            lines.append([("gutter-server", "  S~ "), ("note", f"+{len(row) - _LONGEST_RAW}")])
    shell.screen.lines(lines)
    if len(rows) > _MOST_RAW:
        shell.say("shell.raw-more", left=len(rows) - _MOST_RAW)


_MOST_RAW, _LONGEST_RAW = 40, 2000


def _octets(text: str) -> str:
    """`text` in ASCII alone: nothing in it can be measured otherwise than we do, so no row can lose its gutter."""
    return "".join(
        ch if ch.isascii() or ch == MASK[0] else "".join(f"\\x{octet:02x}" for octet in ch.encode())
        for ch in show(text, keep="")
    )


def _framed(style: str, mark: str, text: str, width: int) -> list[Line]:
    """A line of a peer in rows that all have a gutter (sec-R5)."""
    return [
        [(style, f"  {mark}{'|' if start else '>'} "), ("", text[start:end])]
        for start, end in fold(text, max(width - 6, 10))
    ]


async def tls(shell: Shell, argument: str) -> None:
    known = shell.call.tls_facts() if shell.call and shell.session else {}
    if not known:
        shell.say("shell.no-tls" if shell.session else "shell.no-connection", style="warn")
        return
    labels = {name: shell.words.get(f"tls.{name}") or name for name in known}
    widest = max(map(columns, labels.values())) + 2
    for name, value in known.items():
        # A certificate is its maker's text: each of its rows stands behind our label.
        text = show(str(value), keep="")
        for start, end in fold(text, max(shell.screen.columns - widest - 5, 16)):
            label = pad(labels[name] if not start else "", widest)
            shell.screen.lines([[("", "    "), ("note", label), ("", text[start:end])]])


async def fork(shell: Shell, argument: str) -> None:
    """What the maildrop would be after QUIT, and after the line going dead, side by side."""
    if shell.session is None or shell.call is None:
        shell.say("shell.no-connection", style="warn")
        return
    if shell.fork is None or not shell.call.place.practice:
        shell.say("shell.no-fork", style="warn")
        return
    if not shell.session.connection.maildrop.open:
        shell.say("shell.fork-closed", style="warn")
        return
    after_quit, after_loss = shell.fork()
    words = shell.words
    left, right = words("shell.fork-quit"), words("shell.fork-lost")
    half = max(20, (shell.screen.columns - 6) // 2)
    rows: list[Line] = [[("emphasis", "  " + pad(left, half)), ("emphasis", right)]]
    numbers = sorted({*after_quit, *after_loss})
    for number in numbers:
        stays, gone = words("shell.fork-stays", number=number), words("shell.fork-gone", number=number)
        cells = [(stays, "") if number in kept else (gone, "warn") for kept in (after_quit, after_loss)]
        rows.append([("", "  "), (cells[0][1], pad(cells[0][0], half)), (cells[1][1], cells[1][0])])
    shell.screen.lines(rows)
    shell.say("shell.fork-note")
