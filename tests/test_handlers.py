"""handlers: one function per command, and what each does to session and maildrop. Words are looked up, not written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support import (
    LOGIN,
    NAME,
    SECRET,
    STAMP,
    converse,
    default_messages,
    each,
    logged_in,
    message,
    over,
    plain,
    play,
    practice_server,
    status,
    statuses,
    texts,
)

from popshell.protocol.commands import CAPABILITIES, COMMANDS, State
from popshell.protocol.maildrop_view import scan_listing, unique_id_listing
from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import ClientLines, Credentials, apop_digest, decode_line, encode_line
from popshell.server.handlers import HANDLERS
from popshell.server.maildrop import Message
from popshell.server.mailserver import practice_token
from popshell.server.replies import Reply, error
from popshell.server.session import ServerSession

A, T = State.AUTHORIZATION, State.TRANSACTION
DIGEST = apop_digest(STAMP, SECRET)
#: a sound line for each command, by the state it belongs to
SOUND = {
    A: {line.split()[0]: line for line in ("USER x", f"APOP {NAME} {DIGEST}", f"AUTH PLAIN {plain()}", "STLS", "UTF8")},
    T: {line.split()[0]: line for line in ("STAT", "LIST", "UIDL", "RETR 1", "TOP 1 1", "DELE 1", "NOOP", "RSET")},
}
BOTH = {"CAPA": "CAPA", "LANG": "LANG", "QUIT": "QUIT"}


def test_every_command_that_is_no_history_is_served() -> None:
    assert HANDLERS.keys() == {name for name, spec in COMMANDS.items() if not spec.historic}
    assert SOUND[A].keys() | SOUND[T].keys() | BOTH.keys() | {"PASS"} == HANDLERS.keys()


@over("state", [A, T])
@over("name", HANDLERS)
def test_every_command_in_every_state(name: str, state: State) -> None:
    """RFC 1939 §3: "-ERR" to a command in an incorrect state; what is legal is served."""
    line = (SOUND[A] | SOUND[T] | BOTH | {"PASS": f"PASS {SECRET}"})[name]
    before = [] if state is A else [*LOGIN]
    if name == "PASS" and state is A:
        before = LOGIN[:1]
    exchange = play(*before, line)[-1]
    legal = state in COMMANDS[name].transitions
    assert exchange.ok is legal
    assert exchange.after is (COMMANDS[name].transitions[state] if legal else state)
    if not legal:
        assert status(exchange) == "-ERR " + texts("en")["wrong-state"]


class TestCapa:
    """RFC 2449 §5: the list is computed from what is served."""

    def rows(self, *lines: str, **options: object) -> dict[str, tuple[str, ...]]:
        response = play(*lines, "CAPA", **options)[-1].response  # type: ignore[arg-type]
        assert response is not None
        return response.capabilities()

    def test_only_known_tags_once_each(self) -> None:
        response = play("CAPA")[-1].response
        assert response is not None
        assert response.lines is not None
        tags = [row.split()[0].decode() for row in response.lines]
        assert set(tags) <= CAPABILITIES.keys()
        assert len(set(tags)) == len(tags)

    def test_what_authorization_announces_stays(self) -> None:
        """RFC 2449 §5; STLS is the exception (RFC 2595 §4: "permitted in the current state")."""
        before, after = self.rows(), self.rows(*LOGIN)
        assert before.keys() - after.keys() == {"STLS"}
        assert after.keys() <= before.keys()

    @over("state", [A, T])
    def test_each_announced_command_works(self, state: State) -> None:
        before = [] if state is A else [*LOGIN]
        announced = self.rows(*before)
        for name, line in SOUND[state].items():
            tag = COMMANDS[name].capability
            if tag is not None:
                assert tag in announced, name
            assert play(*before, line)[-1].ok, name

    def test_sasl_lists_the_mechanisms(self) -> None:
        assert self.rows()["SASL"] == ("PLAIN",)

    def test_stls(self) -> None:
        assert "STLS" in self.rows()
        assert "STLS" not in self.rows("STLS")  # under TLS
        assert "STLS" not in self.rows("UTF8")  # RFC 6856 §2.1

    def test_login_delay(self) -> None:
        assert "LOGIN-DELAY" not in self.rows()
        assert self.rows(faults={"login_delay": 900})["LOGIN-DELAY"] == ("900",)

    def test_utf8_names_are_announced_where_an_account_needs_them(self) -> None:
        """RFC 6856 §2.2: without `UTF8 USER` a client "MUST NOT use UTF-8 characters when authenticating"."""
        assert self.rows()["UTF8"] == ()
        assert self.rows(accounts={"a": "b", "üser": "c"})["UTF8"] == ("USER",)
        assert self.rows(accounts={"a": "信"})["UTF8"] == ("USER",)


class TestLogin:
    def test_a_password_may_hold_blanks(self) -> None:
        """RFC 1939 §7, PASS: blanks are part of the password, a trailing one, too."""
        for secret in ("two words", " before", "behind ", "a  b", "信箱", "a\tb"):
            assert play(f"USER {NAME}", f"PASS {secret}", accounts={NAME: secret})[-1].ok
            assert not play(f"USER {NAME}", f"PASS {secret}x", accounts={NAME: secret})[-1].ok

    def test_the_last_user_counts(self) -> None:
        assert play("USER nobody", f"USER {NAME}", f"PASS {SECRET}")[-1].ok
        assert not play(f"USER {NAME}", "USER nobody", f"PASS {SECRET}")[-1].ok

    def test_pass_comes_immediately_after_user(self) -> None:
        wanted = "-ERR " + texts("en")["must-follow"]
        for between in ("CAPA", "NOOP", "x", "LANG en", "PASS wrong", "AUTH PLAIN ="):
            assert statuses(f"USER {NAME}", between, f"PASS {SECRET}")[-1] == wanted

    def test_a_name_may_be_utf8(self) -> None:
        assert play("USER 海", "PASS 信", accounts={"海": "信"})[-1].ok

    def test_two_ways_to_write_a_name_open_one_maildrop(self) -> None:
        """RFC 6856 §2.2, RFC 4013: one login removes a message, the other sees that it is gone."""
        server = practice_server(accounts={"é": "\u2168"})
        assert play("USER e\u0301", "PASS IX", "DELE 1", "QUIT", server=server)[-1].ok
        assert statuses("AUTH PLAIN " + plain("é", "I\u00adX"), "STAT", server=server)[-1].startswith("+OK 6 ")

    @over("account", [(NAME, "\udcff"), ("\udcff", SECRET)])
    @over("lines", [LOGIN, (f"USER {NAME}", "PASS \udcff"), ("USER \udcff", f"PASS {SECRET}")])
    def test_an_account_that_is_no_utf8_cannot_be_used_and_harms_nobody(
        self, account: tuple[str, str], lines: tuple[str, ...]
    ) -> None:
        accounts = dict([account, ("mei", SECRET)])
        digest = apop_digest(STAMP, account[1])
        found = statuses(*lines, f"APOP {account[0]} {digest}", "USER mei", f"PASS {SECRET}", accounts=accounts)
        assert [line.partition(" ")[0] for line in found] == ["+OK", "-ERR", "-ERR", "+OK", "+OK"]

    def test_apop_needs_this_session_s_stamp(self) -> None:
        assert play(f"APOP {NAME} {DIGEST}")[-1].ok
        assert not play(f"APOP {NAME} {apop_digest('<1.2@x>', SECRET)}")[-1].ok
        assert not play(f"APOP {NAME} {apop_digest(STAMP, 'wrong')}")[-1].ok

    def test_after_a_failure_another_way_is_open(self) -> None:
        """RFC 5034 §4: "the server MUST behave as if the client had not issued the AUTH command"."""
        assert play("AUTH PLAIN", "*", *LOGIN)[-1].ok
        assert play("AUTH PLAIN", plain(secret="wrong"), f"AUTH PLAIN {plain()}")[-1].ok
        assert play(f"USER {NAME}", "PASS wrong", f"APOP {NAME} {DIGEST}")[-1].ok

    def test_an_auth_command_in_either_form(self) -> None:
        client = ClientLines(MECHANISMS["PLAIN"], Credentials(NAME, SECRET))
        assert play(client.command())[-1].ok
        client = ClientLines(MECHANISMS["PLAIN"], Credentials(NAME, SECRET))
        assert play(client.command(initial=False).lower(), client.answer(""))[-1].ok

    def test_login_tells_count_and_octets(self) -> None:
        octets = str(sum(m.octets for m in default_messages()))
        assert all(word in statuses(*LOGIN)[-1] for word in ("7", octets))


class TestListings:
    """RFC 1939 §5 and §7; sec-V13."""

    def test_list_tells_what_retr_sends(self) -> None:
        exchanges = play("UTF8", *LOGIN, "LIST", *(f"RETR {n}" for n in range(1, 8)))
        sizes = scan_listing(exchanges[3].response.content)  # type: ignore[union-attr, arg-type]
        for number, exchange in enumerate(exchanges[4:], 1):
            assert exchange.response is not None
            assert exchange.response.content == default_messages()[number - 1].content
            assert len(exchange.response.content) == sizes[number]

    def test_uidl(self) -> None:
        listing = play(*LOGIN, "UIDL")[-1].response
        assert listing is not None
        assert unique_id_listing(listing.content or b"") == {
            n: m.unique_id for n, m in enumerate(default_messages(), 1)
        }
        assert statuses(*LOGIN, "UIDL 3")[-1] == f"+OK 3 {default_messages()[2].unique_id}"

    def test_marked_messages_are_not_listed(self) -> None:
        exchanges = play(*LOGIN, "DELE 2", "LIST", "UIDL", "STAT")
        for exchange in exchanges[3:5]:
            assert exchange.response is not None
            assert exchange.response.lines is not None
            assert [int(row.split()[0]) for row in exchange.response.lines] == [1, 3, 4, 5, 6, 7]
        assert status(exchanges[5]).startswith("+OK 6 ")

    def test_an_empty_maildrop(self) -> None:
        for line in ("LIST", "UIDL"):
            assert play(*LOGIN, line, messages=())[-1].raw_content() == b".\r\n"
        assert statuses(*LOGIN, "STAT", messages=())[-1] == "+OK 0 0"

    def test_top(self) -> None:
        mail = message(b"A: b\n\n.1\n2\n3\n")
        for lines, wanted in (
            (0, b"A: b\r\n\r\n"),
            (2, b"A: b\r\n\r\n.1\r\n2\r\n"),
            (99, mail.content),
            (9_999_999_999, mail.content),
            (99_999_999_999, mail.content),  # RFC 1939 §7 gives the number of lines no bound
            ("9" * 240, mail.content),
        ):
            response = play(*LOGIN, f"TOP 1 {lines}", messages=(mail,))[-1].response
            assert response is not None
            assert response.content == wanted

    def test_a_message_of_any_octets(self) -> None:
        content = b"A: b\r\n\r\n\0\xff.\r\n.\r\n..\r\nbare \n.\nand \r.\r\r\n.\r\n"
        response = play(*LOGIN, "RETR 1", messages=(Message(content, "u"),))[-1].response
        assert response is not None
        assert response.content == content


class TestUtf8:
    """RFC 6856 §2.1 and §5."""

    MAIL = (message("Subject: 信\n\nbody\n".encode()), message("Subject: a\n\n信\n".encode()))

    def test_a_header_in_utf8_needs_utf8(self) -> None:
        found = statuses(*LOGIN, "RETR 1", "TOP 1 0", "RETR 2", "LIST 1", "DELE 1", messages=self.MAIL)[2:]
        assert [line[:12] for line in found] == ["-ERR [UTF8] "] * 2 + [found[2][:12], "+OK 1 22", found[4][:12]]
        assert found[2].startswith("+OK")
        assert found[4].startswith("+OK")

    def test_a_part_s_header_in_utf8_needs_utf8(self) -> None:
        """RFC 6532 §3: the header of a MIME part, too; TOP as well as RETR, whatever TOP would show of it."""
        part = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: 信\n\nbody\n--b--\n"
        found = statuses(*LOGIN, "RETR 1", "TOP 1 0", messages=(message(part.encode()),))[2:]
        assert [line[:12] for line in found] == ["-ERR [UTF8] "] * 2

    def test_with_utf8_it_is_sent_as_it_is(self) -> None:
        response = play("UTF8", *LOGIN, "RETR 1", messages=self.MAIL)[-1].response
        assert response is not None
        assert response.content == self.MAIL[0].content

    def test_a_surrogate_can_be_sent_instead(self) -> None:
        """RFC 6856 §2.1: in ASCII, and of the size that LIST says; with UTF8 it is the message itself."""
        part = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: 信\n\n信\n--b--\n"
        mails = (*self.MAIL, message("From: 林 <林@x>\nX: y\n\n信\n".encode()), message(part.encode()))
        options = {"messages": mails, "surrogates": True}
        *_, listing, first, second, third, fourth, top = [
            exchange.response.content or b""
            for exchange in play(*LOGIN, "LIST", *(f"RETR {n}" for n in range(1, 5)), "TOP 1 0", **options)
            if exchange.response
        ]
        assert scan_listing(listing) == dict(enumerate(map(len, (first, second, third, fourth)), 1))
        assert first == b"Subject: =?utf-8?b?5L+h?=\r\n\r\nbody\r\n"
        assert top == b"Subject: =?utf-8?b?5L+h?=\r\n\r\n"
        assert second == self.MAIL[1].content, "UTF-8 in a body alone is no reason"
        assert third.isascii()
        assert b"X: y\r\n" in third
        assert b"5L+hDQo=" in third
        assert b"Content-Description: =?utf-8?b?5L+h?=\r\n" in fourth
        assert fourth.isascii()
        assert b"5L+h\r\n" in fourth
        whole = play("UTF8", *LOGIN, "RETR 1", **options)[-1].response
        assert whole is not None
        assert whole.content == self.MAIL[0].content

    def test_what_the_surrogate_is_of_does_not_change(self) -> None:
        server = practice_server(messages=self.MAIL, surrogates=True)
        first = statuses(*LOGIN, "UIDL 1", "DELE 1", "QUIT", server=server)
        assert first[2] == f"+OK 1 {self.MAIL[0].unique_id}"
        assert server.maildrop_of(NAME).messages == self.MAIL[1:]

    def test_a_server_that_does_not_know_utf8_does_not_ask_for_it(self) -> None:
        faults = {"without": ["UTF8"]}
        assert play(*LOGIN, "RETR 1", messages=self.MAIL, faults=faults)[-1].ok

    def test_a_reply_is_an_error_or_not(self) -> None:
        assert error("x", "AUTH", count=1) == Reply(False, "x", {"count": 1}, "AUTH")
        assert error("x").ok is False

    def test_utf8_is_answered_in_words(self) -> None:
        assert statuses("UTF8") == ["+OK " + texts("en")["utf8"]]


class TestLang:
    """RFC 6856 §3.2; ranges of RFC 4647 §3.3.1."""

    @over(
        "wanted, tag",
        [
            ("en", "en"),
            ("EN", "en"),
            ("zh", "zh-Hant"),
            ("ZH-hant", "zh-Hant"),
            ("*", "en"),
            ("zh-", None),
            ("z", None),
            ("fr", None),
        ],
    )
    def test_range(self, wanted: str, tag: str | None) -> None:
        (answer,) = statuses(f"LANG {wanted}")
        assert answer == (
            f"+OK {tag} " + texts(tag)["lang"].partition(" ")[2] if tag else "-ERR " + texts("en")["unknown-language"]
        )

    def test_from_then_on(self) -> None:
        assert statuses("LANG zh", "NOOP", "LANG x", "NOOP", "LANG *", "NOOP")[1::2] == [
            "-ERR " + texts(tag)["wrong-state"] for tag in ("zh-Hant", "zh-Hant", "en")
        ]

    def test_another_session_is_not_asked(self) -> None:
        server = practice_server()
        play("LANG zh", server=server)
        assert play("NOOP", server=server)[-1].received.isascii()

    def test_listing(self) -> None:
        response = play("LANG")[-1].response
        assert response is not None
        assert response.content is not None
        assert response.content.decode() == "en English\r\nzh-Hant 繁體中文\r\n"


class TestDele:
    def test_marks_until_rset(self) -> None:
        session = logged_in()
        converse(session, b"DELE 1\r\nDELE 3\r\nDELE 3\r\nDELE 8\r\n")
        assert session.maildrop.marks == {1, 3}
        converse(session, b"RSET\r\n")
        assert session.maildrop.marks == set()

    @over("number", ["0", "8", "4294967297", "4294967296", "-1", "١", "１", "1x", "1 2", ""])
    def test_nothing_is_marked(self, number: str) -> None:
        session = logged_in()
        assert converse(session, f"DELE {number}\r\n".encode()).startswith(b"-ERR")
        assert session.maildrop.marks == set()

    def test_a_long_number_is_a_number(self) -> None:
        """There is no such message; it is not called malformed."""
        for line in (
            "DELE 99999999999",
            "RETR 10000000000",
            f"LIST {'9' * 240}",
            "UIDL 00000000000",
            "TOP 99999999999 0",
        ):
            last = statuses(*LOGIN, line)[-1]
            missing = texts("en")["zero" if line.endswith(" 00000000000") else "no-such-message"]
            assert last.startswith("-ERR " + missing.partition("{")[0]), line

    def test_blanks_too_many_do_no_harm(self) -> None:
        """RFC 2449 §3 has one space: a row of `settings.DEVIATIONS`."""
        for line in ("LIST  2", "LIST 2 ", "STAT ", "NOOP   ", "TOP  2  0", "UIDL  2 "):
            tidy = " ".join(line.split())
            assert statuses(*LOGIN, line)[-1] == statuses(*LOGIN, tidy)[-1], line
            assert statuses(*LOGIN, line)[-1].startswith("+OK"), line
        # Of a password they are a part.
        assert statuses(LOGIN[0], f"PASS  {SECRET}")[-1].startswith("-ERR")

    def test_a_number_with_zeros_before_it_is_that_number(self) -> None:
        session = logged_in()
        assert converse(session, b"DELE 000000000000002\r\n").startswith(b"+OK")
        assert session.maildrop.marks == {2}


class TestMechanisms:
    """The practice server serves what it is set to, and of that what leads anywhere (RFC 5034 §3)."""

    EVERY: Mapping[str, object] = {"mechanisms": tuple(MECHANISMS), "iterations": 10}
    TOKEN = practice_token(NAME)

    def session(self, *, tls: bool, binding: bytes | None = None, **options: Any) -> ServerSession:
        options.setdefault("faults", self.EVERY)
        session = practice_server(tokens=lambda: {self.TOKEN: NAME, practice_token(NAME, 1): NAME}, **options).session(
            tls=tls
        )
        if tls:
            session.tls_started(binding)
            session.certificate = NAME
        drained(session)
        return session

    def listed(self, session: ServerSession) -> list[str]:
        return [mechanism.name for mechanism in session.mechanisms]

    def test_what_is_listed(self) -> None:
        bound = [name for name, row in MECHANISMS.items() if row.binds]
        passwords = [name for name, row in MECHANISMS.items() if not row.only_under_tls]
        assert self.listed(self.session(tls=True, binding=b"x")) == list(MECHANISMS)
        assert self.listed(self.session(tls=True)) == [name for name in MECHANISMS if name not in bound]
        assert self.listed(self.session(tls=False)) == passwords
        unknown = self.session(tls=True, binding=b"x")
        unknown.certificate = None
        assert self.listed(unknown) == [name for name, row in MECHANISMS.items() if row.proof != "certificate"]
        strict = {**self.EVERY, "require_tls": True}
        assert self.listed(self.session(tls=False, faults=strict)) == [
            name for name in passwords if not MECHANISMS[name].clear_text
        ]
        for name in MECHANISMS:
            rest = tuple(one for one in MECHANISMS if one != name)
            for faults in ({"mechanisms": rest}, {**self.EVERY, "without": [name]}):
                session = self.session(tls=True, binding=b"x", faults=faults)
                assert self.listed(session) == list(rest), name
                assert ask(session, f"AUTH {name}") == "-ERR no such mechanism", name

    def test_no_tokens_no_token_mechanisms(self) -> None:
        session = practice_server(faults=self.EVERY).session(tls=True)
        assert not {"XOAUTH2", "OAUTHBEARER"}.intersection(self.listed(session))

    def test_what_needs_tls_says_so(self) -> None:
        for name, row in MECHANISMS.items():
            said = ask(self.session(tls=False), f"AUTH {name}")
            assert said.startswith("-ERR [AUTH] passwords are taken under TLS" if row.only_under_tls else "+ "), name

    def log_in(self, session: ServerSession, name: str, secret: str, *, binding: bytes | None = b"x") -> str:
        plus_offered = binding is not None and f"{name}-PLUS" in self.listed(session)
        login = Credentials(NAME, secret, binding=binding, plus_offered=plus_offered)
        client = ClientLines(MECHANISMS[name], login)
        said = ask(session, client.command())
        while said.startswith("+ "):
            said = ask(session, client.answer(said[2:]))
        assert not (said.startswith("+OK") and client.outcome(True)), name
        return said

    def test_each_logs_in_and_refuses(self) -> None:
        def check(name: str) -> None:
            row = MECHANISMS[name]
            right = {"password": SECRET, "token": self.TOKEN, "certificate": ""}[row.proof]
            wrong = practice_token(NAME, 1) if row.proof == "token" else "wrong"
            session = self.session(tls=True, binding=b"x")
            if row.proof == "certificate":
                session.certificate = "another"
                assert ask(session, f"AUTH {name} {encode_line(NAME.encode())}").startswith("-ERR [AUTH] wrong name")
            else:
                assert self.log_in(session, name, wrong).startswith("-ERR [AUTH] wrong name or password")
            session.certificate = NAME
            assert self.log_in(session, name, right).startswith("+OK maildrop has")

        each([(name,) for name in MECHANISMS], check)

    def test_another_channel(self) -> None:
        session = self.session(tls=True, binding=b"x")
        assert self.log_in(session, "SCRAM-SHA-1-PLUS", SECRET, binding=b"y") == "-ERR channel binding does not match"
        said = ask(session, "AUTH SCRAM-SHA-1 " + encode_line(b"y,,n=mei,r=x"))
        assert said.startswith("-ERR channel binding is served here")

    def test_each_can_be_cancelled_and_takes_no_nonsense(self) -> None:
        for name in MECHANISMS:
            session = self.session(tls=True, binding=b"x")
            assert ask(session, f"AUTH {name}").startswith("+ "), name
            assert ask(session, "*") == "-ERR authentication cancelled", name
            assert ask(session, f"AUTH {name}").startswith("+ "), name
            assert ask(session, "=AAA") == "-ERR that is not base64", name

    def test_the_iterations(self) -> None:
        few = {"mechanisms": ("SCRAM-SHA-1",), "iterations": 5000}
        said = ask(self.session(tls=False, faults=few), "AUTH SCRAM-SHA-1 " + encode_line(b"n,,n=mei,r=x"))
        assert decode_line(said.removeprefix("+ ")).endswith(b",i=5000")

    def test_more_iterations_than_it_computes_itself(self) -> None:
        many = {"mechanisms": ("SCRAM-SHA-1",), "iterations": 10**9}
        assert self.log_in(self.session(tls=False, faults=many), "SCRAM-SHA-1", SECRET, binding=None) == (
            "-ERR authentication cancelled"
        )


def drained(session: ServerSession) -> str:
    out = b""
    while (chunk := session.next_chunk()) is not None:
        out += chunk
    return out.decode().removesuffix("\r\n")


def ask(session: ServerSession, line: str) -> str:
    session.feed(line.encode() + b"\r\n")
    return drained(session)
