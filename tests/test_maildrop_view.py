"""The client knows of the maildrop what replies said, and what the practice server holds bounds it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import LOGIN, each, play, practice_server, rehearse

from popshell.protocol.line import parse
from popshell.protocol.maildrop_view import MaildropView
from popshell.protocol.records import Exchange

PROFILE = settings(max_examples=60, deadline=None, derandomize=True, database=None)
OPEN = MaildropView(open=True)


def after(view: MaildropView, line: str, text: str = "", content: bytes | None = None) -> MaildropView:
    parsed = parse(line)
    return view.after(parsed.name, parsed.message, text, content)


def facts(view: MaildropView) -> tuple[object, ...]:
    return view.count, view.octets, dict(view.sizes), sorted(view.marks), view.last


LIST = b"1 120\r\n2 200\r\n3 5\r\n"


class TestWhatAReplyTells:
    def test_nothing_is_known_at_first(self) -> None:
        assert facts(MaildropView()) == (None, None, {}, [], None)
        assert not MaildropView().open
        assert list(MaildropView().numbers) == []

    def test_a_login_opens_a_maildrop_of_which_nothing_is_known_and_an_error_tells_nothing(self) -> None:
        login, stat, refused, dele = play(*LOGIN, "STAT", "DELE 9", "DELE 1")[1:]
        assert login.maildrop == OPEN
        assert (stat.maildrop.count, stat.maildrop.last) == (7, 7)
        assert refused.maildrop is stat.maildrop
        assert dele.maildrop.marks == {1}

    def test_stat(self) -> None:
        assert facts(after(OPEN, "STAT", "2 320")) == (2, 320, {}, [], 2)
        assert after(OPEN, "STAT", "two messages") is OPEN

    def test_list(self) -> None:
        view = after(OPEN, "LIST", "", LIST)
        assert facts(view) == (3, 325, {1: 120, 2: 200, 3: 5}, [], 3)
        assert list(view.numbers) == [1, 2, 3]
        assert facts(after(OPEN, "LIST", "", b"")) == (0, 0, {}, [], 0)

    def test_a_listing_with_rows_that_cannot_be_read(self) -> None:
        view = after(OPEN, "LIST", "", b"1 120\r\nrubbish\r\n")
        assert (facts(view), view.readable) == ((None, None, {1: 120}, [], None), False)
        known = after(after(OPEN, "STAT", "5 320"), "LIST", "", b"1 120\r\nrubbish\r\n7 9\r\n")
        assert (facts(known), known.readable) == ((5, 320, {1: 120, 7: 9}, [], 7), False)
        again = after(known, "LIST", "", LIST)
        assert (facts(again)[:2], again.readable) == ((3, 325), True)

    def test_list_of_one(self) -> None:
        assert facts(after(OPEN, "LIST 2", "2 200")) == (None, None, {2: 200}, [], None)  # there may be more
        assert facts(after(after(OPEN, "STAT", "2 320"), "LIST 2", "2 200")) == (2, 320, {2: 200}, [], 2)
        assert after(OPEN, "LIST 2", "what") is OPEN

    def test_uidl(self) -> None:
        view = after(OPEN, "UIDL", "", b"1 a\r\n2 b\r\n")
        assert (dict(view.unique_ids), view.count, view.last) == ({1: "a", 2: "b"}, 2, 2)
        assert dict(after(view, "UIDL 2", "2 c").unique_ids) == {1: "a", 2: "c"}
        assert after(view, "UIDL 2", "tw-1") is view

    def test_subjects(self) -> None:
        view = after(OPEN, "TOP 1 0", "", b"Subject: hello\r\n\r\n")
        assert dict(view.subjects) == {1: "hello"}
        assert after(view, "RETR 1", "", b"Subject: hello\r\n\r\nx\r\n") is view
        assert after(view, "RETR 2", "", b"From: x\r\n\r\n") is view
        assert after(view, "RETR 2") is view

        assert dict(after(OPEN, "RETR 2", "", b"Subject: x\r\n\r\n").subjects) == {2: "x"}

    def test_a_whole_listing_replaces_what_single_rows_said(self) -> None:
        assert dict(after(after(OPEN, "LIST 9", "9 1"), "LIST", "", LIST).sizes) == {1: 120, 2: 200, 3: 5}
        assert dict(after(after(OPEN, "UIDL 9", "9 z"), "UIDL", "", b"1 a\r\n").unique_ids) == {1: "a"}

    def test_a_row_that_cannot_be_read_is_a_message_too(self) -> None:
        view = after(OPEN, "UIDL", "", b"1 a\r\nrubbish\r\n")
        assert (dict(view.unique_ids), view.count, view.last) == ({1: "a"}, None, None)

    def test_the_highest_number_that_was_seen(self) -> None:
        assert facts(after(OPEN, "STAT", "0 0")) == (0, 0, {}, [], 0)
        assert after(after(OPEN, "STAT", "2 320"), "LIST 3", "3 5").last == 3
        assert after(after(OPEN, "STAT", "9 325"), "LIST", "", LIST).last == 9
        assert after(after(OPEN, "DELE 7"), "LIST", "", LIST).last == 7
        assert after(after(OPEN, "DELE 7"), "UIDL", "", b"1 a\r\n").last == 7

    def test_what_it_does_not_read(self) -> None:
        for line in ("NOOP", "CAPA", "LANG en", "HELP", "QUIT", "DELE", "DELE x", "RETR x"):
            assert after(OPEN, line, "1 1", b"1 1\r\n") is OPEN


class TestMarks:
    def test_a_mark_takes_its_message_off(self) -> None:
        view = after(after(OPEN, "LIST", "", LIST), "DELE 2")
        assert facts(view) == (2, 125, {1: 120, 2: 200, 3: 5}, [2], 3)
        assert after(view, "DELE 2") is view  # mailutils says +OK to a second DELE

    def test_without_sizes_the_octets_are_unknown(self) -> None:
        view = after(after(OPEN, "STAT", "3 325"), "DELE 2")
        assert facts(view) == (2, None, {}, [2], 3)
        assert facts(after(OPEN, "DELE 2")) == (None, None, {}, [2], None)

    def test_what_a_mark_hides_stays_known(self) -> None:
        view = after(after(after(OPEN, "LIST", "", LIST), "DELE 3"), "LIST", "", b"1 120\r\n2 200\r\n")
        assert facts(view) == (2, 320, {1: 120, 2: 200, 3: 5}, [3], 3)
        ids = after(after(after(OPEN, "UIDL", "", b"1 a\r\n2 b\r\n"), "DELE 2"), "UIDL", "", b"1 a\r\n")
        assert (dict(ids.unique_ids), ids.count, ids.last) == ({1: "a", 2: "b"}, 1, 2)

    def test_stat_counts_marks_to_the_last(self) -> None:
        assert after(after(OPEN, "DELE 1"), "STAT", "6 1").last == 7

    def test_rset_brings_them_back(self) -> None:
        full = after(OPEN, "LIST", "", LIST)
        assert facts(after(after(full, "DELE 2"), "RSET")) == facts(full)
        assert after(full, "RSET") is full
        assert facts(after(after(after(OPEN, "STAT", "3 325"), "DELE 2"), "RSET")) == (3, None, {}, [], 3)
        assert facts(after(after(OPEN, "DELE 2"), "RSET")) == (None, None, {}, [], None)
        assert facts(after(after(after(OPEN, "LIST 2", "2 200"), "DELE 2"), "RSET")) == (None, None, {2: 200}, [], None)
        empty = after(OPEN, "LIST", "", b"1 0\r\n")
        assert facts(after(after(empty, "DELE 1"), "RSET")) == (1, 0, {1: 0}, [], 1)


def test_it_cannot_be_changed() -> None:
    def check(facts: str) -> None:
        view = after(after(OPEN, "LIST", "", LIST), "UIDL", "", b"1 a\r\n")
        mapping: Mapping[int, object] = getattr(view, facts)
        with pytest.raises(TypeError):
            mapping[1] = 1  # type: ignore[index]

    each([(row,) for row in ["sizes", "unique_ids", "subjects"]], check)


COMMANDS = st.sampled_from(
    [
        "STAT",
        "LIST",
        "UIDL",
        "RSET",
        *(f"{name} {n}" for name in ("LIST", "UIDL", "DELE", "RETR") for n in (1, 2, 6, 7, 8)),
    ]
)


def check_truth(exchange: Exchange, sizes: list[int]) -> None:
    view = exchange.maildrop
    left = [size for number, size in enumerate(sizes, 1) if number not in view.marks]
    assert view.count in (None, len(left))
    assert view.octets in (None, sum(left))
    assert view.last in (None, len(sizes))
    assert all(sizes[number - 1] == size for number, size in view.sizes.items())


@PROFILE
@given(st.lists(COMMANDS, max_size=25))
def test_the_view_never_says_what_is_not_so(lines: list[str]) -> None:
    server = practice_server()
    sizes = [message.octets for message in server.messages]
    exchanges = rehearse([*LOGIN, *lines], server)
    for one, two in itertools.pairwise(exchanges):
        check_truth(two, sizes)
        assert two.maildrop_before == one.maildrop
