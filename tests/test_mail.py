"""`:mail`: a message as a mail program reads it, whatever its octets, and how the shell shows it."""

from __future__ import annotations

import base64
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import COLOURLESS
from stage import LOCAL, FakeScreen, Stage, run
from support import each

from popshell.course.mail import LIMITS, Mail, decoded, read, text_of
from popshell.protocol.wire import stuff
from popshell.ui.layout import PLAIN
from popshell.visible import show

MULTIPART = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def of(head: str, body: bytes = b"", encoding: str = "") -> Mail:
    head += f"\r\nContent-Transfer-Encoding: {encoding}" if encoding else ""
    return read(head.encode() + b"\r\n\r\n" + body)


def word(text: str, charset: str, codec: str = "") -> bytes:
    return b"=?%s?B?%s?=" % (charset.encode(), base64.b64encode(text.encode(codec or charset)))


def test_fields_are_decoded() -> None:
    def check(value: bytes, wanted: str) -> None:
        assert decoded(value) == wanted

    big5 = "王小明".encode("big5")
    each(
        [
            (b" plain ", "plain"),
            (b"=?utf-8?Q?caf=C3=A9_au?= lait", "café au lait"),
            (word("王小明", "Big5") + b" <a@b>", "王小明 <a@b>"),
            (word("日本語", "ISO-2022-JP"), "日本語"),
            (word("汉字", "GB18030"), "汉字"),
            (word("\u9280㐀", "gb2312", "gb18030"), "\u9280㐀"),
            (word("一", "utf-8") + b" \t" + word("二", "utf-8") + b" x", "一二 x"),
            (word("一", "utf-8") + b" " + word("二", "big5") + b"y", "一二y"),
            # a character that was cut in two
            (b"=?big5?B?%s?= =?big5?B?%s?=" % (base64.b64encode(big5[:3]), base64.b64encode(big5[3:])), "王小明"),
            (b"=?utf-8*en?Q?a?=", "a"),
            (b"=?x-none?Q?a=E9?=", "a\udce9"),
            (b"=?hex?Q?6161?=", "6161"),
            (b"=?utf-8?B?YQ?=", "a"),
            (b"=?utf-8?B?!!!?=", ""),
            (b"=?utf-8?Q?a", "=?utf-8?Q?a"),
            (b"caf\xc3\xa9 \xff", "café \udcff"),
        ],
        check,
    )


def test_text_is_read_in_its_charset() -> None:
    def check(head: str, body: bytes, encoding: str, text: str, *faults: str) -> None:
        mail = of(head, body, encoding)
        found = text_of(mail, mail.root)
        assert (found.text, found.faults) == (text, faults)

    def kind(charset: str) -> str:
        return f"Content-Type: text/plain; charset={charset}"

    html, flowed = "Content-Type: text/html", "Content-Type: text/plain; format=Flowed"
    each(
        [
            ("X: y", b"a\r\nb", "", "a\nb"),
            ("X: y", "é".encode(), "", "é"),
            (kind("big5"), "碁王".encode("cp950"), "8bit", "碁王"),
            (kind("Big5"), base64.b64encode("王小明".encode("big5")), "BASE64", "王小明"),
            (kind("iso-2022-jp"), "日本語ｱ".encode("iso2022_jp_ext"), "7bit", "日本語ｱ"),
            (kind("gb18030"), "汉字㐀".encode("gb18030"), "", "汉字㐀"),
            (kind("utf-8"), b"a=\r\nb=C3=A9", "quoted-printable", "abé"),
            (kind("iso-8859-1"), b"\x93x\x94", "", "“x”"),
            (kind("utf-8"), b"\xff", "", "\udcff", "bad-octets"),
            (kind("utf-8"), "\u7e41\u9ad4\u4e2d\u6587".encode("big5"), "", "\u7e41\u9ad4\u4e2d\u6587", "as-big5"),
            ("X: y", "\u7b80\u4f53".encode("gb2312"), "", "\u7b80\u4f53", "as-gb18030"),
            (kind("us-ascii"), "m\xe9tal".encode("latin-1"), "", "m\udce9tal", "bad-octets"),
            (kind("utf-8"), "\u7e41\u9ad4".encode()[:-1], "", "\u7e41\udce9\udcab", "bad-octets"),
            (kind("big5"), b"\xff", "", "\ufffd", "bad-octets"),
            (kind("x-klingon"), b"\xc3\xa9", "", "é", "charset"),
            (kind("punycode"), b"a-b", "", "a-b", "charset"),
            (kind("utf-8"), b"begin", "x-uuencode", "begin", "encoding"),
            (kind("hz-gb-2312"), b"~{<:Ky~}", "", "己所"),
            (kind("utf-7"), b"A+ImIDkQ-.", "", "A≢Α."),
            (flowed, b"one \r\ntwo\r\n three\r\n\r\n-- \r\nme", "", "one two\nthree\n\n-- \nme"),
            (flowed, b">> a \r\n>> b\r\n> c \r\nd \r\n-- \r\n>", "", ">> a b\n> c \nd \n-- \n> "),
            (f"{flowed}; delsp=yes", b"one \r\ntwo", "", "onetwo"),
            ("Content-Type: text/plain; format=fixed", b"one \r\ntwo", "", "one \ntwo"),
            (html, b"<style>x</style><p>a &amp;\nb</p><a href='http://x'>c</a>", "", "a & b\nc <http://x>\n"),
            (html, b"<ul><li>a<li>b</ul><img alt=cat>", "", "* a\n* b\n[cat]\n"),
            (html, b"a<!-- not closed", "", "a<!-- not closed\n"),
        ],
        check,
    )


def test_parts_are_a_tree() -> None:
    inner = b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nhello\r\n"
    named = (
        b"--b\r\nContent-Type: x/y; name*=utf-8''%C3%A9\r\nContent-Disposition: ATTACHMENT\r\n\r\nz\r\n--b--\r\nafter"
    )
    mail = read(MULTIPART + b"before\r\n" + inner + named)
    assert [(part.number, part.kind) for part in mail.root.all()] == [
        *(("", "multipart/mixed"), ("1", "message/rfc822"), ("1.1", "text/plain"), ("2", "x/y"))
    ]
    found = list(mail.root.all())
    assert [mail.octets[part.start : part.end] for part in found[2:]] == [b"hello", b"z"]
    assert (found[3].filename, found[3].attached, found[2].readable) == ("é", True, True)
    assert mail.faults == ()


def test_a_line_of_a_header_that_is_no_field_is_not_passed_over_in_silence() -> None:
    def check(head: bytes, *faults: tuple[str, str]) -> None:
        assert read(head + b"\r\n\r\nx\r\n").faults == faults

    each(
        [
            (b"Subject: a\r\n b",),
            (b"",),
            (b"From a@b Tue\r\nSubject: a", ("no-field", "")),
            (b"Subject: a\r\nSubject b\r\nTo: c", ("no-field", "")),
            (b"X y: z", ("no-field", "")),
        ],
        check,
    )


def test_of_several_forms_one_is_shown() -> None:
    def check(kinds: str, shown: list[str]) -> None:
        parts = "".join(f"--b\r\nContent-Type: {kind}\r\n\r\nx\r\n" for kind in kinds.split())
        mail = read(b"Content-Type: multipart/alternative; boundary=b\r\n\r\n" + f"{parts}--b--\r\n".encode())
        assert [part.kind for part in mail.root.all() if part.readable] == shown

    each([("text/plain text/html", ["text/plain"]), ("text/rtf text/html", ["text/html"])], check)


def test_a_hostile_message_is_read_within_limits() -> None:
    def check(octets: bytes, most: int, *faults: str) -> None:
        mail = read(octets)
        assert len(list(mail.root.all())) <= most
        assert {fault.code for fault in mail.faults} == {*faults}

    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(60))
    each(
        [
            (deep, LIMITS.depth + 1, "depth", "not-closed"),
            (b"Content-Type: message/rfc822\r\n\r\n" * 100, LIMITS.depth + 1, "depth"),
            (MULTIPART + b"--b\r\n\r\n" * 1100, LIMITS.parts + 1, "parts-most"),
            (MULTIPART + b"--bX\r\n" * 100, 1, "no-parts"),
            (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n", 1, "no-boundary"),
            (b"Content-Type: a/b" + b";c=d" * 300 + b"\r\n\r\n", 1, "parameters"),
            (b"X: " + b"y" * LIMITS.header + b"\r\n\r\n", 1, "header"),
            (b"Content-Type: a/b; name*%s*=x\r\n\r\n" % (b"9" * 5000), 1),
        ],
        check,
    )
    late = read(MULTIPART + b"--b\r\n\r\n" * 9, clock=count().__next__)
    assert (len(late.root.parts), late.faults[0].code) == (2, "time")


_PIECES = st.sampled_from(
    [
        *(MULTIPART, b"Content-Type: text/html; charset=", b"Content-Type: ", b"message/rfc822", b"big5", b"utf-16"),
        *(
            b"utf-7",
            b"hz",
            b"\r\n",
            b"\n",
            b"--b\r\n",
            b"--b--",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Subject: ",
        ),
        *(b"Content-Transfer-Encoding: quoted-printable\r\n", b"=?big5?B?", b"?=", b"=?utf-8?Q?", b"<![", b"<a href="),
        *(b"Content-Disposition: attachment; filename*0*=", b"x'y'%", b";filename*1*=", b"<script>", b"&#99;"),
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=20), max_size=30).map(b"".join))
def test_any_octets_are_read(octets: bytes) -> None:
    mail = read(octets)
    for part in mail.root.all():
        assert 0 <= part.start <= part.end <= len(octets)
        assert isinstance(text_of(mail, part).text, str)
        assert all(field.raw in octets for field in part.fields)


MESSAGE = b"Subject: %s\r\nX-Other: 1\r\n\r\n\x1b[31mred \x9b\r\n.dot\r\n" % word("王", "big5")


def stage(content: bytes, screen: FakeScreen) -> Stage:
    answers = {
        "USER": b"+OK\r\n",
        "PASS": b"+OK\r\n",
        "RETR 7": b"-ERR no\r\n",
        "RETR": b"+OK\r\n" + stuff(content) + b".\r\n",
    }
    return Stage(place=LOCAL, screen=screen, script=dict(answers))


def test_the_page_shows_the_message_beside_its_octets() -> None:
    async def go(look: str, margin: str) -> None:
        on = stage(MESSAGE, FakeScreen(columns=60, look=PLAIN if look == "plain" else COLOURLESS))
        await on.log_in(":mail 1")
        rows = on.text.splitlines()
        assert "C: RETR 1   (sent by the shell for :mail)" in rows[0]
        for row in (f"  {margin} Subject: 王", "    S: Subject: =?big5?B?pP0=?=", f"  {margin} .dot"):
            assert row in rows, row
        assert f"  {margin} \\x1b[31mred \\x9b" in rows
        assert "\x1b" not in on.text
        again = await on.run(":mail 1")
        assert "C: RETR" not in again, "it was fetched already"
        assert "Subject: 王" in again
        assert on.wire.heard == ["USER learner", "PASS secret", "RETR 1"]

    each([("plain", "|"), ("", "│")], lambda *row: run(go(*row)))


def test_what_cannot_be_shown() -> None:
    async def go(line: str, said: str) -> None:
        on = stage(b"\r\n" + b"x\r\n" * 3000, FakeScreen(rows=5000))
        await on.log_in(line)
        assert said in on.screen.flat, on.text[-300:]

    each(
        [
            (":mail", "Usage: :mail N"),
            (":mail x", "Usage: :mail N"),
            (":mail 7", "-ERR no"),
            (":mail 1", "The first 2000 rows are shown."),
        ],
        lambda *row: run(go(*row)),
    )


def test_a_deep_tree_stays_readable() -> None:
    async def go() -> None:
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(45))
        on = stage(deep, FakeScreen(columns=60, rows=5000))
        await on.log_in(":mail 1")
        tree = on.text[on.text.index("Its parts") : on.text.index("\n\n", on.text.index("Its parts") + 12)]
        assert max(map(len, tree.splitlines())) <= 60
        assert len(tree.splitlines()) < 45 * 7

    run(go())


def test_what_is_shown_of_any_message_is_safe() -> None:
    async def go(content: bytes) -> None:
        on = stage(content, FakeScreen())
        await on.log_in(":mail 1")
        assert show(on.text) == on.text.replace("\\", "\\\\")

    hostile = "\x1b]0;t\x07\u202e\x9b31m\r\n".encode()
    heads = (
        b"Subject: ",
        b"From: =?utf-8?B?%s?=\r\nX: " % base64.b64encode(hostile),
        MULTIPART + b"--b\r\nContent-Type: ",
    )
    attached = b"Content-Disposition: attachment; filename="
    each([(head + hostile + b"\r\n\r\n" + hostile,) for head in (*heads, attached)], lambda *row: run(go(*row)))


def test_texts_are_read_for_so_long_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr("popshell.ui.mail.time", SimpleNamespace(monotonic=count().__next__))
        on = stage(MULTIPART + b"--b\r\n\r\nx\r\n" * 9, FakeScreen(rows=99))
        await on.log_in(":mail 1")
        assert on.text.count("  │ x") < 9
        assert "two seconds had passed" in on.screen.flat

    run(go())


def test_parts_attachments_and_messages_within_are_shown() -> None:
    async def go() -> None:
        inner = b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nhello\r\n"
        file = b"--b\r\nContent-Type: x/y; name=n\r\nContent-Disposition: attachment; filename=f.bin\r\n\r\nz\r\n"
        broken = b"--b\r\nContent-Type: text/plain; charset=klingon; name=n.txt\r\n\r\n" + b"long words " * 30 + b"\r\n"
        large = b"--b\r\n\r\n" + (b"x" * 70 + b"\r\n") * 4000
        on = stage(
            MULTIPART + inner + file + broken + large + b"--b\r\nContent-Type: multipart/mixed\r\n\r\n",
            FakeScreen(rows=5000),
        )
        await on.log_in(":mail 1")
        for said in (
            "1.1 text/plain, 5 octets",
            "2 x/y, 1 octet, attachment f.bin",
            "3 text/plain, klingon, 330 octets, name n.txt",
            "The message within 1: │ Subject: inner",
            "Part 1.1 (text/plain; lines of the message: 8): │ hello",
            "The charset klingon is not known",
            "│ long words long words",
            "no boundary is named",
            "The boundary that ends its parts is missing",
        ):
            assert said in on.screen.flat, said

    run(go())


def test_how_much_of_a_text_was_not_read_is_said() -> None:
    async def go() -> None:
        on = stage(b"\r\n" + b"x" * (LIMITS.text + 1000) + b"\r\n", FakeScreen(columns=1000, rows=5000))
        await on.log_in(":mail 1")
        assert "1,002 more octets of this part are not shown" in on.screen.flat

    run(go())
