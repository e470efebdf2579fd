"""Addresses as people write them: host, port, how TLS begins, who (RFC 2384; sec-T1, sec-P8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import over

from popshell.net.address import Address, AddressError, TlsMode, is_loopback_name, parse_address

IMPLICIT, STLS, NONE = TlsMode.IMPLICIT, TlsMode.STLS, TlsMode.NONE

#: text -> what it means
ADDRESSES: dict[str, Address] = {
    # a host alone is port 995 with TLS, also on this machine
    "pop.example.org": Address("pop.example.org", 995, IMPLICIT),
    "localhost": Address("localhost", 995, IMPLICIT),
    "127.0.0.1": Address("127.0.0.1", 995, IMPLICIT),
    "::1": Address("::1", 995, IMPLICIT),
    "2001:db8::1": Address("2001:db8::1", 995, IMPLICIT),
    "[2001:db8::1]": Address("2001:db8::1", 995, IMPLICIT),
    "bücher.example": Address("bücher.example", 995, IMPLICIT),
    # on any other port STLS is required
    "pop.example.org:995": Address("pop.example.org", 995, IMPLICIT),
    "pop.example.org:110": Address("pop.example.org", 110, STLS),
    "pop.example.org:1": Address("pop.example.org", 1, STLS),
    "pop.example.org:65535": Address("pop.example.org", 65535, STLS),
    "[2001:db8::1]:110": Address("2001:db8::1", 110, STLS),
    "192.0.2.1:110": Address("192.0.2.1", 110, STLS),
    "127.0.0.1.example.org:110": Address("127.0.0.1.example.org", 110, STLS),
    "localhost.example.org:110": Address("localhost.example.org", 110, STLS),
    # on loopback, on any port but 995, the default is none
    "localhost:110": Address("localhost", 110, NONE),
    "LocalHost:110": Address("localhost", 110, NONE),
    "localhost.:110": Address("localhost", 110, NONE),
    "localhost:995": Address("localhost", 995, IMPLICIT),
    "127.0.0.1:1110": Address("127.0.0.1", 1110, NONE),
    "127.1:1110": Address("127.1", 1110, NONE),
    "127.255.0.9:1110": Address("127.255.0.9", 1110, NONE),
    "[::1]:110": Address("::1", 110, NONE),
    "[::ffff:127.0.0.1]:110": Address("::ffff:127.0.0.1", 110, NONE),
    # RFC 2384: port 110 unless one is named
    "pop://pop.example.org": Address("pop.example.org", 110, STLS),
    "POP://pop.example.org": Address("pop.example.org", 110, STLS),
    "pop://pop.example.org/": Address("pop.example.org", 110, STLS),
    "pop://pop.example.org:995": Address("pop.example.org", 995, IMPLICIT),
    "pop://localhost": Address("localhost", 110, NONE),
    "pop://mei@pop.example.org:8110": Address("pop.example.org", 8110, STLS, "mei"),
    "pop://mei%40example.org@pop.example.org": Address("pop.example.org", 110, STLS, "mei@example.org"),
    "pop://m%C3%BCller@h": Address("h", 110, STLS, "müller"),
    "pop://%FF@h": Address("h", 110, STLS, "\udcff"),
    "pop://a+b!c*@h": Address("h", 110, STLS, "a+b!c*"),
    "pop://mei;AUTH=+APOP@h": Address("h", 110, STLS, "mei", "+APOP"),
    "pop://mei;auth=*@h": Address("h", 110, STLS, "mei", "*"),
    "pop://mei;AUTH=SCRAM-SHA-256@h": Address("h", 110, STLS, "mei", "SCRAM-SHA-256"),
    "pop://;AUTH=*@h": Address("h", 110, STLS, "", "*"),
    # ours: TLS from the first octet
    "pops://pop.example.org": Address("pop.example.org", 995, IMPLICIT),
    "pops://mei@localhost:1995": Address("localhost", 1995, IMPLICIT, "mei"),
}


@over("text", ADDRESSES)
def test_what_it_means(text: str) -> None:
    assert parse_address(text) == ADDRESSES[text]


@over("text", ADDRESSES)
@over("tls", list(TlsMode))
def test_tls_on_the_command_line_overrules(text: str, tls: TlsMode) -> None:
    assert parse_address(text, tls) == ADDRESSES[text]._replace(tls=tls)


@over(
    "text",
    [
        "", ":", ":110", "h:", "h:0", "h:65536", "h:99999", "h:１１０", "h:+1", "h:1 ", "h:1x", "h/x", "h ", " h",
        "h?x",
        "a@h", "a@h:110", "[::1", "[::1]x", "[::1]:", "[]", "imap://h", "pop://", "pop:///", "pop://h/x", "pop://h///",
        "pop://@h", "pop://u@h@x", "pop://u%zz@h", "pop://u%4@h", "pop://u;@h", "pop://u;AUTH=@h", "pop://u;AUTH@h",
        "pop://u;foo=bar@h", "pop://u;AUTH=+APOP;x=y@h", "pop://a b@h", "pop://a/b@h", "pop://a\x1bb@h", "h\x00",
        "h\x1b",
        "pop://a%0D%0AQUIT@h", "pop://a%0a@h", "pop://a%00@h", "pop://a%1b%5B31m@h", "pop://a%20b@h", "pop://a%7F@h",
        "pop://a%C2%9Bb@h", "pop://u;AUTH=%0D%0AQUIT@h",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert caught.value.code == "bad-address"


@over("text", ["pop://mei:secret@h", "pop://mei:@h", "pops://mei:secret;AUTH=*@h"])
def test_a_password_has_no_place_in_an_address(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert caught.value.code == "address-password"


@over(
    "text, draft",
    [
        ("pop.example.org", ""),
        ("pop://h", ""),
        ("pop://mei@h", "USER mei"),
        ("pop://mei;AUTH=*@h", "USER mei"),
        ("pop://mei;AUTH=+APOP@h", ":apop mei"),
        ("pop://mei;auth=+apop@h", ":apop mei"),
        ("pop://mei;AUTH=PLAIN@h", "AUTH PLAIN"),
        ("pop://;AUTH=PLAIN@h", "AUTH PLAIN"),
    ],
)
def test_the_line_that_logs_in_as_the_address_asks(text: str, draft: str) -> None:
    assert parse_address(text).draft == draft


@over("text, label", [("h", "h:995"), ("[::1]:110", "[::1]:110"), ("pop://mei@h", "h:110"), ("::1", "[::1]:995")])
def test_label(text: str, label: str) -> None:
    assert parse_address(text).label == label
    assert parse_address(label, NONE) == parse_address(text, NONE)._replace(user="", auth="")


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    for whole in (text, f"pop://{text}", f"pop://{text}@h"):
        try:
            found = parse_address(whole)
        except AddressError:
            continue
        assert 0 < found.port < 65536
        assert not any(ch in "\r\n\0\x1b" for ch in found.draft + found.host)


@over("host", ["", "example.org", "128.0.0.1", "::2", "127.0.0.1.", "1::", "\udcff", "x" * 300])
def test_who_is_somebody_else(host: str) -> None:
    assert not is_loopback_name(host)
