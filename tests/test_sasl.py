"""Digests and mechanisms against the RFCs' own examples; whatever is wrong is refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import each

from popshell.protocol.mechanisms import MECHANISMS
from popshell.protocol.sasl import (
    ClientLines,
    Credentials,
    Mechanism,
    Named,
    SaslError,
    SecretOf,
    Side,
    Step,
    Verifier,
    apop_digest,
    decode_line,
    encode_line,
    prepared,
    saslprep,
    verify_apop,
    verify_password,
)

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)
ACCOUNTS = {"mei": "pineapple", "海": "信箱 key", "X": "XX"}
PLAIN = MECHANISMS["PLAIN"]


class TestApop:
    """RFC 1939 §7."""

    STAMP = "<1896.697170952@dbc.mtview.ca.us>"
    DIGEST = "c4c9334bac560ecc979e58001b3e22fb"

    def test_the_rfc_s_example(self) -> None:
        assert apop_digest(self.STAMP, "tanstaaf") == self.DIGEST

    def test_verify(self) -> None:
        secret_of = {"mrose": "tanstaaf"}.get
        assert verify_apop(self.STAMP, "mrose", self.DIGEST, secret_of) == "mrose"
        assert not verify_apop(self.STAMP, "mrose", self.DIGEST.upper(), secret_of)
        assert not verify_apop(self.STAMP, "mrose", "", secret_of)
        assert not verify_apop(self.STAMP, "mrose", "é\udcff", secret_of)
        assert not verify_apop(self.STAMP.replace("1", "2"), "mrose", self.DIGEST, secret_of)

    def test_an_unknown_name_proves_nothing(self) -> None:
        stand_in = apop_digest(self.STAMP, "no such name")
        assert not verify_apop(self.STAMP, "nobody", stand_in, ACCOUNTS.get)

    def test_the_secret_is_prepared(self) -> None:
        """RFC 6856 §2.2: a client that does it too, and one whose keyboard writes it so, compute the same digest."""
        plain = hashlib.md5(f"{self.STAMP}IX".encode()).hexdigest()
        raw = "\u0221\u2168"  # cannot be prepared as a stored string, so it goes in as it is
        assert apop_digest(self.STAMP, raw) == hashlib.md5(f"{self.STAMP}{raw}".encode()).hexdigest()
        assert apop_digest(self.STAMP, "\u2168") == apop_digest(self.STAMP, "I\u00adX") == plain
        assert verify_apop(self.STAMP, "\u2168", plain, {"IX": "\u2168"}.get) == "IX"

    def test_a_secret_that_cannot_be_prepared_has_a_digest_that_proves_nothing(self) -> None:
        def check(secret: str) -> None:
            digest = apop_digest(self.STAMP, secret)
            assert len(digest) == 32
            assert verify_apop(self.STAMP, "mrose", digest, {"mrose": secret}.get) is None

        each([(row,) for row in ["\udcff", "\u0627\u0031", "\u0221"]], check)


class TestPassword:
    def test_verify(self) -> None:
        def check(name: str, password: str, right: bool) -> None:
            assert verify_password(name, password, ACCOUNTS.get) == (name if right else None)

        each(
            [
                ("mei", "pineapple", True),
                ("海", "信箱 key", True),
                ("mei", "pineapple ", False),
                ("mei", "", False),
                ("mei", "\udcff", False),
                ("nobody", "no such name", False),  # the stand-in that makes the time equal is no password
                ("", "", False),
            ],
            check,
        )

    def test_prepared(self) -> None:
        def check(name: str, password: str, account: tuple[str, str], proved: str | None) -> None:
            assert verify_password(name, password, dict([account]).get) == proved

        each(
            [
                ("ｍｅｉ", "pine", ("mei", "pine"), "mei"),
                ("mei", "\u2168", ("mei", "IX"), "mei"),
                ("mei", "IX", ("mei", "\u2168"), "mei"),
                ("e\u0301", "x", ("é", "x"), "é"),
                ("海", "信\u3000箱", ("海", "信 箱"), "海"),
                ("海", "信箱 ", ("海", "信箱"), None),  # a blank counts after any character (RFC 1939 §7)
                ("mei", "a\tb", ("mei", "a\tb"), "mei"),  # ASCII is RFC 1939's
                ("mei", "\u0221", ("mei", "\u0221"), None),  # not assigned in Unicode 3.2: may be asked, not stored
                ("mei", "\udcff", ("mei", "\udcff"), None),  # no UTF-8: "MUST reject" (RFC 6856 §2.2)
                ("mei\udcff", "x", ("mei\udcff", "x"), None),
                ("mei", "\u0627\u0031", ("mei", "\u0627\u0031"), None),
                ("mei", "\u00ad", ("mei", "\u00ad"), None),  # nothing is left of it (RFC 4616 §2)
            ],
            check,
        )


class TestSaslprep:
    """RFC 4013."""

    def test_saslprep(self) -> None:
        def check(given: str, wanted: str | None) -> None:
            assert saslprep(given) == wanted

        each(
            [
                ("I\u00adX", "IX"),  # the examples of §3
                ("user", "user"),
                ("USER", "USER"),
                ("\u00aa", "a"),
                ("\u2168", "IX"),
                ("\u0007", None),
                ("\u0627\u0031", None),
                ("a\u00a0b\u3000c", "a b c"),  # §2.1: blanks of other scripts
                ("\u0627\u0628", "\u0627\u0628"),
                ("\u0627a\u0628", None),  # RFC 3454 §6
                ("\u06271\u0628", "\u06271\u0628"),
                ("\u0627\u06281", None),
                ("1\u0627\u0628", None),
                ("a\u1680b", "a b"),
                ("a\udcff", None),
                ("\ue000", None),
                ("\u200e", None),
                ("\ufffd", None),
                ("", ""),
            ],
            check,
        )

    def test_what_was_not_assigned_may_be_asked_but_not_stored(self) -> None:
        """RFC 3454 §7."""
        assert saslprep("\u0221") == "\u0221"
        assert saslprep("\u0221", stored=True) is None
        assert prepared("\u0221") == "\u0221"
        assert prepared("\u0221", stored=True) is None

    @PROFILE
    @given(st.text(max_size=20))
    def test_once_is_enough(self, text: str) -> None:
        once = saslprep(text)
        assert once is None or saslprep(once) == once

    @PROFILE
    @given(st.text(st.characters(codec="ascii"), max_size=20))
    def test_ascii_is_left_alone(self, text: str) -> None:
        assert prepared(text) == prepared(text, stored=True) == text


class TestLines:
    """RFC 5034 §4: base64, or `=` for an empty initial response."""

    def test_decode(self) -> None:
        def check(line: str, message: bytes) -> None:
            assert decode_line(line) == message

        each([("=", b""), ("", b""), ("YQ==", b"a"), ("AGEAYg==", b"\0a\0b")], check)

    def test_bad_base64(self) -> None:
        def check(line: str) -> None:
            with pytest.raises(SaslError, match=r"^bad-base64$"):
                decode_line(line)

        each(
            [
                (row,)
                for row in ["=AAA", "AAA=BBB", "YQ", "YQ=", "Y Q==", "YQ==\n", "YQ==YQ==", "*", "é", "\udcff", "=="]
            ],
            check,
        )

    @PROFILE
    @given(st.binary(max_size=60))
    def test_there_and_back(self, message: bytes) -> None:
        assert decode_line(encode_line(message)) == message

    @PROFILE
    @given(st.text(st.characters(exclude_categories=[]), max_size=30))
    def test_any_text(self, line: str) -> None:
        with contextlib.suppress(SaslError):
            assert isinstance(decode_line(line), bytes)


def test_a_name_is_looked_up_only_if_it_can_be_prepared() -> None:
    asked: list[str] = []

    def secret_of(name: str) -> str | None:
        asked.append(name)
        return {"": "x"}.get(name)

    assert verify_password("\udcff", "x", secret_of) is None
    assert verify_apop("<1@x>", "\udcff", apop_digest("<1@x>", "x"), secret_of) is None
    assert asked == []
    assert verify_password("", "x", secret_of) == ""


def plain_proves(message: bytes, secret_of: SecretOf = ACCOUNTS.get) -> str | None:
    return PLAIN.as_server(Verifier(secret_of)).step(message).proved


class TestPlain:
    """RFC 4616 §2."""

    def test_what_a_message_proves(self) -> None:
        for message, name in (
            (b"\0mei\0pineapple", "mei"),
            (b"mei\0mei\0pineapple", "mei"),
            ("\0ｍｅｉ\0pineapple".encode(), "mei"),
            ("ｍｅｉ\0mei\0pineapple".encode(), "mei"),
            ("\0海\0信箱 key".encode(), "海"),
            (b"\0X\0XX", "X"),
            (b"hai\0mei\0pineapple", None),  # to act as another: RFC 4616 §4, second example
            (b"\0mei\0wrong", None),
            (b"\0nobody\0pineapple", None),
            (b"\0nobody\0no such name", None),
        ):
            assert plain_proves(message) == name, message

    def test_a_message_that_cannot_be_read(self) -> None:
        def check(message: bytes) -> None:
            with pytest.raises(SaslError, match=r"^bad-message$"):
                plain_proves(message)

        each(
            [
                (row,)
                for row in [
                    b"",
                    b"mei\0pineapple",
                    b"\0mei\0pineapple\0",
                    b"\0\0pineapple",
                    b"\0mei\0",
                    b"\0mei\0pine\r\nDELE 1",  # greenmail#1011
                    b"\0mei\n\0pineapple",
                    b"\r\0mei\0pineapple",
                    b"\0mei\0\xff",
                    b"\0m\xc0\xafi\0x",
                ]
            ],
            check,
        )

    def test_255_octets_each(self) -> None:
        """RFC 4616 §2: "Servers MUST be capable of accepting ... up to and including 255 octets." """
        name, secret = "n" * 255, "s" * 255
        message = f"{name}\0{name}\0{secret}".encode()
        assert plain_proves(message, {name: secret}.get) == name
        assert len(base64.b64encode(message)) < 8192

    def test_without_an_initial_response_the_server_asks_with_an_empty_message(self) -> None:
        server = PLAIN.as_server(Verifier(ACCOUNTS.get))
        assert server.step(None) == Step(b"")
        assert server.step(b"\0mei\0pineapple").proved == "mei"

    def test_what_both_sides_name(self) -> None:
        client, server = PLAIN.as_client(Credentials("mei", "pineapple")), PLAIN.as_server(Verifier(ACCOUNTS.get))
        server.step(client.step(None).reply)
        wanted = [("authzid", "", False), ("authcid", "mei", False), ("passwd", "pineapple", True)]
        assert [*map(tuple, client.named)] == [*map(tuple, server.named)] == wanted
        assert "pineapple" not in repr(client.named)


# -- a mechanism of several messages ----------------------------------------------------------------------------------


def toy_client(login: Credentials, first: bytes | None) -> Side:
    """Server first: a text; name and a digest over it; the server proves itself, too; an empty message ends it."""
    name, secret = login.name, login.secret
    challenge = first if first is not None else (yield Step(None))
    digest = hmac.new(secret.encode(), challenge or b"", "sha256").hexdigest()
    named = (Named("text", (challenge or b"").decode()), Named("digest", digest, True))
    proof = yield Step(f"{name} {digest}".encode(), named=named)
    if proof != hmac.new(secret.encode(), digest.encode(), "sha256").hexdigest().encode():
        raise SaslError("bad-message")
    yield Step(b"", done=True, named=(Named("proof", (proof or b"").decode()),))


def toy_server(known: Verifier, first: bytes | None) -> Side:
    unique = known.unique
    if first is not None:
        raise SaslError("bad-message")  # RFC 5034 §4: there is no initial response in a mechanism like this
    answer = yield Step(unique.encode())
    name, _, digest = (answer or b"").decode().partition(" ")
    secret = known.secret_of(name)
    if secret is None or digest != hmac.new(secret.encode(), unique.encode(), "sha256").hexdigest():
        yield Step(None, done=True)
    proof = hmac.new((secret or "").encode(), digest.encode(), "sha256").hexdigest()
    yield Step(proof.encode(), named=(Named("proof", proof),))
    yield Step(None, done=True, proved=name)


TOY = Mechanism("TOY", 5034, "4", toy_client, toy_server)
#: what needs nothing but a name and a password; the others have tests of their own
ROWS = [*(row for row in MECHANISMS.values() if not row.only_under_tls), TOY]


def authenticate(mechanism: Mechanism, name: str, secret: str, *, initial: bool = True) -> tuple[str | None, list[str]]:
    """Client against server over lines of base64: the name that was proved, and the lines of both."""
    client, server = (
        ClientLines(mechanism, Credentials(name, secret)),
        mechanism.as_server(Verifier(ACCOUNTS.get, "<1.2@x>")),
    )
    lines = [client.command(initial=initial)]
    words = lines[0].split(" ")
    step = server.step(decode_line(words[2]) if len(words) > 2 else None)
    while not step.done:
        lines.append(f"+ {encode_line(step.reply or b'')}")
        lines.append(client.answer(lines[-1][2:]))
        if lines[-1] == "*":
            return None, lines
        step = server.step(decode_line(lines[-1]))
    assert step.proved is None or client.run.done, "a client that is not done has not seen the server's proof"
    return step.proved, lines


def test_client_and_server_agree_in_every_mechanism() -> None:
    for mechanism in ROWS:
        assert mechanism.name == mechanism.name.upper()
        for name, secret in ACCOUNTS.items():
            for initial in (True, False):
                assert authenticate(mechanism, name, secret, initial=initial)[0] == name, (mechanism.name, initial)
            assert authenticate(mechanism, name, "wrong")[0] is None, mechanism.name
        assert authenticate(mechanism, "nobody", "pineapple")[0] is None, mechanism.name


def test_lines_of_a_mechanism_of_three_messages() -> None:
    proved, lines = authenticate(TOY, "mei", "pineapple")
    assert proved == "mei"
    assert [line.split(" ")[0] for line in lines[:2]] == ["AUTH", "+"]
    assert decode_line(lines[1][2:]) == b"<1.2@x>"
    assert decode_line(lines[2]).startswith(b"mei ")
    assert (lines[0], len(lines), lines[4]) == ("AUTH TOY", 5, "")
    assert TOY.as_server(Verifier(ACCOUNTS.get)).step(None) == Step(b"")


def test_a_run_collects_what_is_named() -> None:
    client, server = TOY.as_client(Credentials("mei", "pineapple")), TOY.as_server(Verifier(ACCOUNTS.get, "<1.2@x>"))
    assert (client.done, server.done) == (False, False)
    client.step(None)
    answer = client.step(server.step(None).reply).reply
    last = client.step(server.step(answer).reply).reply
    assert server.step(last).proved == "mei"
    assert [one.name for one in client.named] == ["text", "digest", "proof"]
    assert [one.name for one in server.named] == ["proof"]
    assert (client.done, server.done) == (True, True)
    assert repr(client.named[0]) == "Named('text', '<1.2@x>')"
    assert repr(client.named[1]) == "Named('digest', '...')"


def test_a_server_that_proves_nothing_is_cancelled() -> None:
    client = ClientLines(TOY, Credentials("mei", "pineapple"))
    client.command()
    client.answer(encode_line(b"text"))
    assert client.error is None
    assert client.answer(encode_line(b"not the proof")) == "*"
    assert client.error is not None
    assert client.error.code == "bad-message"


def test_a_challenge_that_is_no_base64_is_cancelled() -> None:
    """RFC 5034 §4: "it MUST cancel the authentication using the "*" response"."""
    for mechanism in ROWS:
        client = ClientLines(mechanism, Credentials("mei", "pineapple"))
        client.command(initial=False)
        assert client.answer("=AAA") == "*", mechanism.name


def test_plain_sends_nothing_to_a_server_that_asks_for_something_else() -> None:
    client = ClientLines(PLAIN, Credentials("mei", "pineapple"))
    assert client.command(initial=False) == "AUTH PLAIN"
    assert client.answer("aGk=") == "*"
    assert client.error is not None
    assert client.error.code == "bad-message"


def test_an_initial_response_that_makes_the_line_too_long_waits_for_a_challenge() -> None:
    """RFC 5034 §4: 255 octets, CRLF included (RFC 2449 §4)."""
    at_most = 255 - 2 - len("AUTH PLAIN ")
    for octets in (179, 180, 181, 182, 183, 184):
        client = ClientLines(PLAIN, Credentials("m", "s" * (octets - 3)))
        whole = base64.b64encode(b"\0m\0" + b"s" * (octets - 3)).decode()
        fits = len(whole) <= at_most
        assert client.command() == ("AUTH PLAIN " + whole if fits else "AUTH PLAIN"), octets
        if not fits:
            assert client.answer("") == whole, octets


def test_the_initial_response_fits_to_the_octet() -> None:
    def client(login: Credentials, first: bytes | None) -> Side:
        yield Step(b"x" * 183, done=True)

    for name, fits in (("TOY", True), ("TOYS", False)):
        command = ClientLines(Mechanism(name, 5034, "4", client, toy_server), Credentials("mei", "x")).command()
        assert (len(command) + 2 == 255) is fits, name
        assert (command == f"AUTH {name}") is not fits, name


def test_plain_has_one_message() -> None:
    client = ClientLines(PLAIN, Credentials("mei", "pineapple"))
    assert (
        client.command()
        == f"AUTH PLAIN {encode_line(PLAIN.as_client(Credentials('mei', 'pineapple')).step(b'').reply or b'')}"
    )
    assert client.answer("") == "*"
    with pytest.raises(SaslError) as found:
        PLAIN.as_client(Credentials("mei", "pineapple")).step(b"text")
    assert found.value.code == "bad-message"


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    def client(login: Credentials, first: bytes | None) -> Side:
        yield Step(b"", done=True)

    mechanism = Mechanism("EMPTY", 5034, "4", client, toy_server)
    assert ClientLines(mechanism, Credentials("mei", "x")).command() == "AUTH EMPTY ="
    late = ClientLines(mechanism, Credentials("mei", "x"))
    assert (late.command(initial=False), late.answer("")) == ("AUTH EMPTY", "")


def test_names_and_warnings_of_all_steps_are_kept() -> None:
    def client(login: Credentials, first: bytes | None) -> Side:
        yield Step(b"", named=(Named("first", "1"),), warnings=("few-iterations",))
        yield Step(b"", done=True, named=(Named("second", "2"),), warnings=("token-refused",))

    run = Mechanism("TWO", 5034, "4", client, toy_server).as_client(Credentials("mei", "x"))
    run.step(None)
    run.step(b"")
    assert [one.value for one in run.named] == ["1", "2"]
    assert run.warnings == ("few-iterations", "token-refused")


def test_one_message_too_many_is_refused() -> None:
    for mechanism in ROWS:
        server = mechanism.as_server(Verifier(ACCOUNTS.get, "<1.2@x>"))
        with contextlib.suppress(SaslError):
            while not server.step(b"").done:
                pass
        with pytest.raises(SaslError) as found:
            server.step(b"\0mei\0pineapple")
        assert found.value.code == "bad-message"


@PROFILE
@given(st.binary(max_size=40))
def test_no_message_by_chance_proves_anything(message: bytes) -> None:
    for mechanism in MECHANISMS.values():
        with contextlib.suppress(SaslError):
            assert mechanism.as_server(Verifier(ACCOUNTS.get)).step(message).proved is None
