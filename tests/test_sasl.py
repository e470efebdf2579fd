"""sasl: digests and mechanisms against the RFCs' own examples; whatever is wrong is refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popshell.protocol.sasl import (
    MECHANISMS,
    SaslError,
    apop_digest,
    decode_line,
    encode_line,
    prepared,
    saslprep,
    verify_apop,
    verify_password,
)

PROFILE = settings(max_examples=300, deadline=None, derandomize=True, database=None)
ACCOUNTS = {"mei": "pineapple", "海": "信箱 key"}
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
        assert apop_digest(self.STAMP, "\u2168") == apop_digest(self.STAMP, "I\u00adX") == plain
        assert verify_apop(self.STAMP, "\u2168", plain, {"IX": "\u2168"}.get) == "IX"

    @pytest.mark.parametrize("secret", ["\udcff", "\u0627\u0031", "\u0221"])
    def test_a_secret_that_cannot_be_prepared_has_a_digest_that_proves_nothing(self, secret: str) -> None:
        digest = apop_digest(self.STAMP, secret)
        assert len(digest) == 32
        assert verify_apop(self.STAMP, "mrose", digest, {"mrose": secret}.get) is None


class TestPassword:
    @pytest.mark.parametrize(
        ("name", "password", "right"),
        [
            ("mei", "pineapple", True),
            ("海", "信箱 key", True),
            ("mei", "pineapple ", False),
            ("mei", "", False),
            ("mei", "\udcff", False),
            ("nobody", "no such name", False),  # the stand-in that makes the time equal is no password
            ("", "", False),
        ],
    )
    def test_verify(self, name: str, password: str, right: bool) -> None:
        assert verify_password(name, password, ACCOUNTS.get) == (name if right else None)

    @pytest.mark.parametrize(
        ("name", "password", "account", "proved"),
        [
            ("ｍｅｉ", "pine", ("mei", "pine"), "mei"),
            ("mei", "\u2168", ("mei", "IX"), "mei"),
            ("mei", "IX", ("mei", "\u2168"), "mei"),
            ("e\u0301", "x", ("é", "x"), "é"),
            ("海", "信\u3000箱", ("海", "信 箱"), "海"),
            ("海", "信箱 ", ("海", "信箱"), None),  # a blank counts behind any character (RFC 1939 §7)
            ("mei", "a\tb", ("mei", "a\tb"), "mei"),  # ASCII is RFC 1939's
            ("mei", "\u0221", ("mei", "\u0221"), None),  # not assigned in Unicode 3.2: may be asked, not stored
            ("mei", "\udcff", ("mei", "\udcff"), None),  # no UTF-8: "MUST reject" (RFC 6856 §2.2)
            ("mei\udcff", "x", ("mei\udcff", "x"), None),
            ("mei", "\u0627\u0031", ("mei", "\u0627\u0031"), None),
            ("mei", "\u00ad", ("mei", "\u00ad"), None),  # nothing is left of it (RFC 4616 §2)
        ],
    )
    def test_prepared(self, name: str, password: str, account: tuple[str, str], proved: str | None) -> None:
        assert verify_password(name, password, dict([account]).get) == proved


class TestSaslprep:
    """RFC 4013."""

    @pytest.mark.parametrize(
        ("given", "wanted"),
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
            ("a\udcff", None),
            ("\ue000", None),
            ("\u200e", None),
            ("\ufffd", None),
            ("", ""),
        ],
    )
    def test_saslprep(self, given: str, wanted: str | None) -> None:
        assert saslprep(given) == wanted

    def test_what_was_not_assigned_may_be_asked_but_not_stored(self) -> None:
        """RFC 3454 §7."""
        assert saslprep("\u0221") == "\u0221"
        assert saslprep("\u0221", stored=True) is None

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

    @pytest.mark.parametrize(("line", "message"), [("=", b""), ("", b""), ("YQ==", b"a"), ("AGEAYg==", b"\0a\0b")])
    def test_decode(self, line: str, message: bytes) -> None:
        assert decode_line(line) == message

    @pytest.mark.parametrize(
        "line", ["=AAA", "AAA=BBB", "YQ", "YQ=", "Y Q==", "YQ==\n", "YQ==YQ==", "*", "é", "\udcff", "=="]
    )
    def test_bad_base64(self, line: str) -> None:
        with pytest.raises(SaslError, match="bad-base64"):
            decode_line(line)

    @PROFILE
    @given(st.binary(max_size=60))
    def test_there_and_back(self, message: bytes) -> None:
        assert decode_line(encode_line(message)) == message

    @PROFILE
    @given(st.text(st.characters(exclude_categories=[]), max_size=30))
    def test_any_text(self, line: str) -> None:
        with contextlib.suppress(SaslError):
            assert isinstance(decode_line(line), bytes)


class TestPlain:
    """RFC 4616 §2."""

    @pytest.mark.parametrize(
        ("message", "name"),
        [
            (b"\0mei\0pineapple", "mei"),
            (b"mei\0mei\0pineapple", "mei"),
            ("\0ｍｅｉ\0pineapple".encode(), "mei"),
            ("ｍｅｉ\0mei\0pineapple".encode(), "mei"),
            ("\0海\0信箱 key".encode(), "海"),
            (b"hai\0mei\0pineapple", None),  # to act as another: RFC 4616 §4, second example
            (b"\0mei\0wrong", None),
            (b"\0nobody\0pineapple", None),
            (b"\0nobody\0no such name", None),
        ],
    )
    def test_verify(self, message: bytes, name: str | None) -> None:
        assert PLAIN.verify(b"", message, ACCOUNTS.get) == name

    @pytest.mark.parametrize(
        "message",
        [
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
        ],
    )
    def test_bad_message(self, message: bytes) -> None:
        with pytest.raises(SaslError, match="bad-message"):
            PLAIN.verify(b"", message, ACCOUNTS.get)

    def test_255_octets_each(self) -> None:
        """RFC 4616 §2: "Servers MUST be capable of accepting ... up to and including 255 octets." """
        name, secret = "n" * 255, "s" * 255
        message = f"{name}\0{name}\0{secret}".encode()
        assert PLAIN.verify(b"", message, {name: secret}.get) == name
        assert len(base64.b64encode(message)) < 8192


@pytest.mark.parametrize("mechanism", MECHANISMS.values(), ids=list(MECHANISMS))
@pytest.mark.parametrize("name", ACCOUNTS)
def test_both_sides_agree(mechanism: object, name: str) -> None:
    assert mechanism.name == mechanism.name.upper()  # type: ignore[attr-defined]
    challenge = mechanism.challenge("<1.2@x>")  # type: ignore[attr-defined]
    message = mechanism.respond(challenge, name, ACCOUNTS[name])  # type: ignore[attr-defined]
    assert mechanism.verify(challenge, message, ACCOUNTS.get) == name  # type: ignore[attr-defined]
    wrong = mechanism.respond(challenge, name, "wrong")  # type: ignore[attr-defined]
    assert mechanism.verify(challenge, wrong, ACCOUNTS.get) is None  # type: ignore[attr-defined]


@PROFILE
@given(st.binary(max_size=40))
def test_any_message(message: bytes) -> None:
    for mechanism in MECHANISMS.values():
        with contextlib.suppress(SaslError):
            assert mechanism.verify(b"", message, ACCOUNTS.get) is None
