"""Meta commands that look: at a line before it is sent, at the machine, at the maildrop, at what was said so far.

The table of all meta commands is in meta.py.
"""

from __future__ import annotations

from popshell.course.explain import explain_line
from popshell.protocol.commands import State
from popshell.protocol.line import MASK, Context, parse
from popshell.ui import diagram, render
from popshell.ui.layout import Line, columns, pad
from popshell.ui.shell import Misused, Shell
from popshell.visible import fold, show

# -- looking -----------------------------------------------------------------------------------------------------------


async def explain(shell: Shell, argument: str) -> None:
    if not argument:
        raise Misused
    if argument.startswith(":"):
        _explain_meta(shell, argument[1:].partition(" ")[0])
        return
    context = shell.session.connection.context() if shell.session else Context(State.CLOSED)
    line = parse(argument, context)
    spans = explain_line(line, shell.catalog, shell.options.language)
    shell.screen.lines(render.span_lines(line, spans, shell.screen.look))


def _explain_meta(shell: Shell, name: str) -> None:
    from popshell.ui import meta

    known = meta.found(name)
    if len(known) != 1:
        meta.not_found(shell, name, known)
        return
    shell.screen.lines(meta.meta_rows(shell, known))
    shell.say("explain.meta")


def _show(shell: Shell, lines: list[Line], margin: str = " ") -> None:
    """Show a drawing as a reply is shown: whole where one can well scroll back, else a windowful at a time."""
    text = shell.screen.drawn([("", margin), *line] if line else line for line in lines)
    if len(lines) > shell.screen.comfortable:
        shell.page(text)
    else:
        shell.page_rest, shell.cut_short = [], None
        shell.screen.styled(text)


async def state(shell: Shell, argument: str) -> None:
    drawn = diagram.machine(shell.state, shell.screen.look.within(-1), shell.words)
    _show(shell, drawn)


async def mailbox(shell: Shell, argument: str) -> None:
    from popshell.ui import drawings

    if argument not in ("", "all"):
        raise Misused
    if shell.session is None:
        shell.say("shell.no-connection", style="warn")
        return
    view = shell.session.connection.maildrop
    if not view.open:
        shell.say("shell.no-maildrop", style="warn")
        return
    drawn = drawings.mailbox(
        drawings.mail_rows(view),
        shell.screen.look.within(-1),
        shell.words,
        messages=view.count,
        octets=view.octets,
        marks=len(view.marks),
        limit=drawings.MOST_ROWS if argument else drawings.LIMIT,
    )
    _show(shell, drawn)


async def ladder(shell: Shell, argument: str) -> None:
    from popshell.ui import drawings

    rungs = drawings.rungs(shell.call.session.transcript if shell.call else shell.earlier)
    drawn = drawings.ladder(rungs, shell.screen.look.within(-1), shell.words, now=shell.state.value)
    _show(shell, drawn)


async def more(shell: Shell, argument: str) -> None:
    if argument not in ("", "all"):
        raise Misused
    if shell.page_rest:
        rest, before = "".join(shell.page_rest), shell.screen.page
        if argument:
            shell.screen.styled(rest)
            shell.page_rest = []
        else:
            shell.page(rest)
        shell.screen.page = before + shell.screen.page
        return
    if shell.cut_short is None:
        shell.say("shell.no-more")
        return
    exchange, start = shell.cut_short
    shown = shell.screen.reply(exchange, start, 1 << 40 if argument else None)
    shell.cut_short = (exchange, start + shown.lines) if shown.left else None
    if shell.cut_short:
        shell.say("shell.more", left=shown.left, total=start + shown.total)


async def pager(shell: Shell, argument: str) -> None:
    """The page or long reply that was shown last, whole, in the user's pager."""
    screen = shell.screen
    last = next((exchange for exchange in reversed(shell.exchanges()) if exchange.raw_content()), None)
    if not screen.page and last is None:
        shell.say("shell.nothing-yet")
        return
    page = screen.page + "".join(shell.page_rest)
    if not await screen.page_out(page.splitlines() if page or last is None else screen.whole(last)):
        shell.say("shell.no-pager", style="warn")


async def raw(shell: Shell, argument: str) -> None:
    """The last exchange octet by octet, secrets masked: CR and LF are shown, and what is no ASCII in hexadecimal."""
    due = shell.session.connection.under_way() if shell.session else None
    last = due or next(reversed(shell.exchanges()), None)
    if last is None:
        shell.say("shell.nothing-yet")
        return
    width = shell.screen.columns
    lines: list[Line] = []
    for text in last.sent_lines():
        lines += _framed("gutter-client", "C", f"{_octets(text)}\\r\\n", width)
    for at, row in enumerate(_rows(last.received[:_MOST_RAW])):
        lines += _framed("gutter-server", "S", _octets(last.received_text(row, at)), width)
    if due:
        name = last.name or shell.words("problem.greeting")
        lines += render.paragraph(
            shell.words("shell.raw-due", command=show(name, keep="")), shell.screen.look, style="warn"
        )
    if (left := len(last.received) - _MOST_RAW) > 0:
        lines += render.paragraph(shell.words("shell.raw-more", left=left), shell.screen.look, style="note")
    _show(shell, lines, "")


#: Octets of a reply that `:raw` shows.
_MOST_RAW = 128 * 1024


def _rows(data: bytes) -> list[bytes]:
    """The rows of what came, each with its LF."""
    *rows, rest = data.split(b"\n")
    return [row + b"\n" for row in rows] + ([rest] if rest else [])


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
            shell.screen.lines([[("", "    "), ("note", label), ("peer", text[start:end])]])


async def fork(shell: Shell, argument: str) -> None:
    """What the maildrop would be after QUIT, and after the line going dead, side by side."""
    if shell.session is None or shell.call is None:
        shell.say("shell.no-connection", style="warn")
        return
    if shell.fork is None or not shell.call.endpoint.practice:
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
