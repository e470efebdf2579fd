"""Each mechanism of AUTH, client against server in memory, against the RFCs' examples and against another library."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
from collections.abc import Iterable

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st
from support import each

from popshell.protocol.mechanisms import MECHANISMS, MOST_ITERATIONS
from popshell.protocol.sasl import (
    BINDING,
    ClientLines,
    Credentials,
    Mechanism,
    Run,
    SaslError,
    Step,
    Verifier,
    decode_line,
    encode_line,
    json_object,
    prepared,
)
from popshell.protocol.ways import rank, token_facts
from popshell.server.mailserver import practice_token

PROFILE = settings(max_examples=100, deadline=None, derandomize=True, database=None)
ACCOUNTS = {"mei": "pineapple", "海": "信箱 key", "a,b=c": "x=,y"}
TOKEN = practice_token("mei")
BOUND = b"\x01" * 32
PASSWORDS = [name for name, row in MECHANISMS.items() if row.proof == "password"]
SCRAMS = [name for name in MECHANISMS if name.startswith("SCRAM")]
TOKENS = ["OAUTHBEARER", "XOAUTH2"]


def verifier(mechanism: str, **more: object) -> Verifier:
    """A server that serves a mechanism to mei, few iterations to be quick."""
    binding = BOUND if MECHANISMS[mechanism].binds else None
    known = Verifier(ACCOUNTS.get, "<1.2@x>", {TOKEN: "mei"}.get, "mei", binding, 10)
    return known._replace(**more)  # type: ignore[arg-type]


def credentials(mechanism: str, **more: object) -> Credentials:
    """What mei proves herself with by a mechanism."""
    row = MECHANISMS[mechanism]
    secret = {"password": "pineapple", "token": TOKEN, "certificate": ""}[row.proof]
    return Credentials("mei", secret, binding=BOUND if row.binds else None)._replace(**more)  # type: ignore[arg-type]


def runs(name: str, login: Credentials | None = None, known: Verifier | None = None) -> tuple[Run, Run]:
    return MECHANISMS[name].as_client(login or credentials(name)), MECHANISMS[name].as_server(known or verifier(name))


def meet(name: str, login: Credentials | None = None, known: Verifier | None = None) -> str | None:
    client, server = runs(name, login, known)
    message = client.step(None).reply
    step = server.step(message)
    while not step.done:
        step = server.step(client.step(step.reply).reply)
    assert step.proved is None or client.done, "the client has not seen the server's proof"
    return step.proved


def refused(code: str, name: str, login: Credentials | None = None, known: Verifier | None = None) -> SaslError:
    with pytest.raises(SaslError) as found:
        meet(name, login, known)
    assert found.value.code == code, name
    return found.value


# -- all of them -------------------------------------------------------------------------------------------------------


def test_right_and_wrong_secrets() -> None:
    def check(name: str) -> None:
        assert meet(name) == "mei"
        wrong = {"password": "wrong", "token": practice_token("mei", 1), "certificate": ""}[MECHANISMS[name].proof]
        if MECHANISMS[name].proof == "certificate":
            assert meet(name, None, verifier(name, certificate=None)) is None
        else:
            assert meet(name, credentials(name, secret=wrong)) is None
        if MECHANISMS[name].proof == "password":
            assert meet(name, credentials(name, name="nobody")) is None
            assert meet(name, credentials(name, name="nobody", secret="no such name")) is None
            for account, secret in ACCOUNTS.items():
                assert meet(name, credentials(name, name=account, secret=secret)) == account

    each([(name,) for name in MECHANISMS], check)


def test_an_account_without_a_password_is_not_the_stand_in_s() -> None:
    for name in SCRAMS:
        known = verifier(name, secret_of={"mei": ""}.get)
        assert meet(name, credentials(name, secret="no such name"), known) is None, name


def test_to_act_as_another_is_refused() -> None:
    """RFC 4616 §2, RFC 5802 §5.1, RFC 4422: as oneself it is allowed, however it is written."""

    def check(name: str) -> None:
        assert meet(name, credentials(name, authzid="mei")) == "mei"
        assert meet(name, credentials(name, authzid="ｍｅｉ")) == "mei"
        assert meet(name, credentials(name, authzid="hai")) is None

    each([(name,) for name in MECHANISMS if name not in ("LOGIN", "CRAM-MD5", "XOAUTH2")], check)


def test_a_token_of_another() -> None:
    for name in TOKENS:
        assert meet(name, credentials(name, name="hai")) is None, name
        assert meet(name, credentials(name, name="ｍｅｉ")) == "mei", name


#: What each side names; a star marks a secret.
_SCRAM_REST = [
    "channel-binding",
    "auth-message",
    "salted-password*",
    "client-key*",
    "stored-key*",
    "client-signature*",
    "client-proof*",
    "server-key*",
    "server-signature*",
]
_SCRAM = ["gs2-header", "authcid", "client-nonce", "nonce", "salt", "iterations", *_SCRAM_REST]
NAMED = {
    "EXTERNAL": (["authzid"], ["authzid", "certificate"]),
    **dict.fromkeys(SCRAMS, (_SCRAM, _SCRAM)),
    "OAUTHBEARER": (["gs2-header", "host", "port", "token*"], ["gs2-header", "host", "port", "token*"]),
    "XOAUTH2": (["user", "token*"], ["user", "token*"]),
    "CRAM-MD5": (["challenge", "authcid", "digest*"], ["challenge", "authcid", "digest*"]),
    "PLAIN": (["authzid", "authcid", "passwd*"], ["authzid", "authcid", "passwd*"]),
    "LOGIN": (
        ["first-prompt", "authcid", "second-prompt", "passwd*"],
        ["first-prompt", "authcid", "second-prompt", "passwd*"],
    ),
}


def marked(run: Run) -> list[str]:
    return [one.name + "*" * one.secret for one in run.named]


def test_the_intermediates_have_names_and_agree() -> None:
    def check(name: str) -> None:
        client, server = runs(name)
        step = server.step(client.step(None).reply)
        while not step.done:
            step = server.step(client.step(step.reply).reply)
        assert (marked(client), marked(server)) == NAMED[name]
        both = {one.name: one.value for one in client.named}
        assert all(both[one.name] == one.value for one in server.named if one.name in both)

    assert NAMED.keys() == MECHANISMS.keys()
    each([(name,) for name in MECHANISMS], check)


def test_no_secret_is_in_a_repr() -> None:
    def check(name: str) -> None:
        login, known = credentials(name), verifier(name)
        client, server = runs(name, login, known)
        seen: list[object] = [login, known, client, server, step := client.step(None)]
        while not step.done:
            seen.append(step := server.step(step.reply))
            seen += [] if step.done else [step := client.step(step.reply)]
        seen += [*client.named, *server.named]
        secrets = {one.value for one in (*client.named, *server.named) if one.secret} | {"pineapple", TOKEN}
        text = " ".join(map(repr, seen))
        assert not [secret for secret in secrets if secret in text]
        assert not [secret for secret in secrets if base64.b64encode(secret.encode()).decode()[:-4] in text]

    each([(name,) for name in MECHANISMS], check)


@PROFILE
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_name_and_password_that_can_be_prepared(name: str, secret: str) -> None:
    forbidden = set("\0\r\n")
    usable = not forbidden & set(name + secret) and name and secret
    found, stored = prepared(name), prepared(secret, stored=True)
    for row in PASSWORDS:
        if row == "CRAM-MD5" and name != name.strip(" "):
            continue
        known = verifier(row, secret_of={found: secret}.get)
        result: object = "refused"
        with contextlib.suppress(SaslError):
            result = meet(row, credentials(row, name=name, secret=secret), known)
        if usable:
            assert result == found if found and stored else result in (None, "refused"), row


def test_where_each_mechanism_is_defined_and_what_it_gives_away() -> None:
    """RFC and section, whether a listener learns the secret, what is proved, whether it binds to TLS."""
    assert {name: (row.rfc, row.section, row.clear_text, row.proof, row.binds) for name, row in MECHANISMS.items()} == {
        "EXTERNAL": (0, "", False, "certificate", False),  # RFC 4422, appendix A, which is no section
        "SCRAM-SHA-256-PLUS": (7677, "3", False, "password", True),
        "SCRAM-SHA-1-PLUS": (5802, "4", False, "password", True),
        "SCRAM-SHA-256": (7677, "3", False, "password", False),
        "SCRAM-SHA-1": (5802, "4", False, "password", False),
        "OAUTHBEARER": (7628, "3", True, "token", False),
        "XOAUTH2": (0, "", True, "token", False),
        "CRAM-MD5": (2195, "2", False, "password", False),
        "PLAIN": (4616, "2", True, "password", False),
        "LOGIN": (0, "", True, "password", False),
    }


def test_a_name_with_blanks_logs_in() -> None:
    def check(row: str) -> None:
        known = verifier(row, secret_of={"mei lin a": "x y"}.get)
        assert meet(row, credentials(row, name="mei lin a", secret="x y"), known) == "mei lin a"

    each([(row,) for row in PASSWORDS], check)


@PROFILE
@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"", b"=", b"\x01", b"n,,n=mei,r=x", b"r=x,s=,i=1"]), max_size=5)
)
def test_any_message_raises_sasl_errors_alone(messages: list[bytes]) -> None:
    for name, row in MECHANISMS.items():
        for run in (row.as_client(credentials(name)), row.as_server(verifier(name))):
            with contextlib.suppress(SaslError):
                run.step(None)
                for message in messages:
                    step = run.step(message)
                    assert step.proved is None or name == "EXTERNAL"


@PROFILE
@given(st.data())
def test_a_message_changed_anywhere_proves_nothing_and_raises_sasl_errors_alone(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(SCRAMS))
    client, server = runs(name, credentials(name, nonce="ours"), verifier(name, nonce="theirs"))
    which = data.draw(st.integers(0, 3))
    at, octet = data.draw(st.integers(0, 500)), data.draw(st.integers(1, 255))
    step, number = client.step(None), 0
    with contextlib.suppress(SaslError):
        while True:
            message = bytearray(step.reply or b"")
            if number == which and message:
                message[at % len(message)] ^= octet
            step = (server, client)[number % 2].step(bytes(message))
            number += 1
            if step.done and number % 2:
                assert step.proved is None or which == 4
                return
            assert not (step.done and which == 3), "the client takes a signature that was changed"
            if step.done:
                return


# -- base64 lines ------------------------------------------------------------------------------------------------------


def test_what_is_sent_before_a_challenge() -> None:
    def form(name: str, initial: bool, **more: object) -> str:
        client = ClientLines(MECHANISMS[name], credentials(name, **more))
        command = client.command(initial=initial)
        assert (len(command.split()) == 3) == (client.form == "initial")
        assert len(command) <= 253
        return client.form

    each(
        [
            ("PLAIN", True, {}, "initial"),
            ("PLAIN", False, {}, "two-lines"),
            ("XOAUTH2", True, {}, "initial"),
            ("XOAUTH2", True, {"secret": "x" * 1500}, "too-long"),
            ("XOAUTH2", False, {"secret": "x" * 1500}, "two-lines"),
            ("CRAM-MD5", True, {}, "server-first"),
            ("LOGIN", True, {}, "server-first"),
            ("SCRAM-SHA-256", True, {}, "initial"),
        ],
        lambda name, initial, more, wanted: form(name, initial, **more) == wanted or pytest.fail(name),
    )
    assert ClientLines(MECHANISMS["EXTERNAL"], credentials("EXTERNAL")).command() == "AUTH EXTERNAL ="


def test_a_success_that_comes_too_early() -> None:
    """A server that does not know the secret leaves its signature out, or does not even read ours."""

    def check(name: str) -> None:
        client = ClientLines(MECHANISMS[name], credentials(name))
        server = MECHANISMS[name].as_server(verifier(name))
        client.command(initial=False)
        assert client.outcome(False) is None
        answer = client.answer("") if client.form == "two-lines" else client.answer(challenge(server))
        if name in SCRAMS or name == "LOGIN":
            answer = client.answer(encode_line(server.step(decode_line(answer)).reply or b""))
        error = client.outcome(True)
        assert (error.code if error else None) == ("not-proved" if name in SCRAMS else None)

    def challenge(server: Run) -> str:
        return encode_line(server.step(None).reply or b"")

    each([(name,) for name in MECHANISMS], check)
    for name in MECHANISMS:
        client = ClientLines(MECHANISMS[name], credentials(name))
        client.command(initial=False)
        error = client.outcome(True)
        assert error is not None, name
        assert error.code == "not-proved", name


def test_cancelled_stays_cancelled() -> None:
    client = ClientLines(MECHANISMS["SCRAM-SHA-256"], credentials("SCRAM-SHA-256"))
    client.command()
    assert client.answer(encode_line(b"r=other,s=QQ==,i=4096")) == "*"
    error = client.outcome(True)
    assert error is not None
    assert error.code == "bad-nonce"


# -- the RFCs' examples ------------------------------------------------------------------------------------------------

#: name, password, nonces, the server's message and so on, of RFC 5802 §5 and RFC 7677 §3.
EXAMPLES = {
    "SCRAM-SHA-1": (
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


def test_scram_s_examples() -> None:
    for name, (first, challenge, final, signature) in EXAMPLES.items():
        client = MECHANISMS[name].as_client(Credentials("user", "pencil", nonce=first.partition(b"r=")[2].decode()))
        assert client.step(None).reply == first
        step = client.step(challenge)
        assert (step.reply, step.warnings) == (final, ())
        assert client.step(signature) == Step(b"", True)


def test_cram_md5_s_example() -> None:
    """RFC 2195 §2."""
    stamp = "<1896.697170952@postoffice.reston.mci.net>"
    client = ClientLines(MECHANISMS["CRAM-MD5"], Credentials("tim", "tanstaaftanstaaf"))
    server = MECHANISMS["CRAM-MD5"].as_server(Verifier({"tim": "tanstaaftanstaaf"}.get, stamp))
    assert client.command() == "AUTH CRAM-MD5"
    challenge = encode_line(server.step(None).reply or b"")
    assert challenge == "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    answer = client.answer(challenge)
    assert answer == "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    assert server.step(decode_line(answer)).proved == "tim"


def test_plain_s_examples() -> None:
    """RFC 4616 §4."""
    client = MECHANISMS["PLAIN"].as_client(Credentials("tim", "tanstaaftanstaaf"))
    assert client.step(None).reply == b"\0tim\0tanstaaftanstaaf"
    client = MECHANISMS["PLAIN"].as_client(Credentials("Kurt", "xipj3plmq", authzid="Ursel"))
    assert client.step(None).reply == b"Ursel\0Kurt\0xipj3plmq"


def test_oauthbearer_s_examples() -> None:
    """RFC 7628 §4.1 and §4.3."""
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    login = Credentials("user@example.com", token, host="server.example.com", port=143)
    wanted = (
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    client = ClientLines(MECHANISMS["OAUTHBEARER"], login)
    assert client.command() == f"AUTH OAUTHBEARER {wanted}"
    server = MECHANISMS["OAUTHBEARER"].as_server(Verifier(ACCOUNTS.get, token_of={token: "user@example.com"}.get))
    assert server.step(decode_line(wanted)).proved == "user@example.com"
    reason = (
        "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRw"
        "czovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
    )
    assert client.answer(reason) == "AQ=="
    assert client.run.warnings == ("token-refused",)
    assert [tuple(one)[:2] for one in client.run.named[-3:]] == [
        ("status", "invalid_token"),
        ("scope", "example_scope"),
        ("openid-configuration", "https://example.com/.well-known/openid-configuration"),
    ]
    # "the empty Authorization header, which is how a client can query for the needed scope"
    server = MECHANISMS["OAUTHBEARER"].as_server(Verifier(ACCOUNTS.get))
    step = server.step(b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=\x01\x01")
    assert json.loads(step.reply or b"")["status"] == "invalid_token"
    assert server.step(b"\x01") == Step(None, True)


# -- SCRAM -------------------------------------------------------------------------------------------------------------


def test_scram_with_another_library() -> None:
    def check(name: str, user: str, secret: str) -> None:
        plus = MECHANISMS[name].binds
        binding = (BINDING, BOUND) if plus else None
        ours = MECHANISMS[name].as_client(credentials(name, name=user, secret=secret))
        mechanism = scramp.ScramMechanism(name)
        theirs = mechanism.make_server(
            lambda _: mechanism.make_auth_info(secret, iteration_count=4096), channel_binding=binding
        )
        theirs.set_client_first((ours.step(None).reply or b"").decode())
        step = ours.step(theirs.get_server_first().encode())
        theirs.set_client_final((step.reply or b"").decode())
        assert ours.step(theirs.get_server_final().encode()).done
        client = scramp.ScramClient([name], user, secret, channel_binding=binding)
        server = MECHANISMS[name].as_server(verifier(name, secret_of={user: secret}.get, iterations=4096))
        client.set_server_first((server.step(client.get_client_first().encode()).reply or b"").decode())
        client.set_server_final((server.step(client.get_client_final().encode()).reply or b"").decode())
        assert server.step(b"").proved == user

    rows = [("user", "pencil"), ("mei", "\u2168 信\u00a0箱"), ("é", "I\u00adX")]
    each([(name, *row) for name in SCRAMS for row in rows], check)


def to_scram(challenge: bytes, *, login: Credentials | None = None) -> Step:
    client = MECHANISMS["SCRAM-SHA-256"].as_client(login or credentials("SCRAM-SHA-256", nonce="abc"))
    client.step(None)
    return client.step(challenge)


def test_what_a_scram_client_refuses_at_once() -> None:
    def check(challenge: bytes, code: str) -> None:
        with pytest.raises(SaslError) as found:
            to_scram(challenge)
        assert found.value.code == code

    each(
        [
            (b"", "bad-message"),
            (b"r=abcdef,s=QQ==", "bad-message"),
            (b"r=abcdef,s=QQ==,i=0", "no-iterations"),
            (b"e=unknown-user", "server-error"),
            (b"r=abcdef,s=QQ==,i=0x10", "bad-message"),
            (b"r=abcdef,s=QQ==,i=-1", "bad-message"),
            (b"r=abcdef,s=QQ==,i=04096", "bad-message"),
            (b"r=abcdef,s=Q,i=4096", "bad-message"),
            (b"r=abcdef,i=4096,s=QQ==", "bad-message"),
            (b"r=abcdef,s=QQ==,i=4096\r\n", "bad-message"),
            (b"r=abc\xff,s=QQ==,i=4096", "bad-message"),
            (b"r=xbcdef,s=QQ==,i=4096", "bad-nonce"),
            (b"r=ab,s=QQ==,i=4096", "bad-nonce"),
            (b"r=abc,s=QQ==,i=4096", "bad-nonce"),
            (b"m=x,r=abcdef,s=QQ==,i=4096", "extension"),
            (b"r=abcdef,s=QQ==,i=" + str(MOST_ITERATIONS + 1).encode(), "too-many-iterations"),
            (b"r=abcdef,s=QQ==,i=" + b"9" * 5000, "too-many-iterations"),
        ],
        check,
    )


def test_as_many_iterations_as_the_limit_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("popshell.protocol.mechanisms.MOST_ITERATIONS", 5000)
    assert to_scram(b"r=abcdef,s=QQ==,i=5000").reply is not None


def test_few_iterations_are_a_warning_and_extensions_are_ignored() -> None:
    assert to_scram(b"r=abcdef,s=QQ==,i=4095").warnings == ("few-iterations",)
    assert to_scram(b"r=abcdef,s=QQ==,i=4096,x=y,z=a=b").warnings == ()


def test_the_server_s_signature_is_checked() -> None:
    def check(final: bytes, code: str, detail: str) -> None:
        client = MECHANISMS["SCRAM-SHA-256"].as_client(credentials("SCRAM-SHA-256", nonce="abc"))
        client.step(None)
        client.step(b"r=abcdef,s=QQ==,i=4096")
        with pytest.raises(SaslError) as found:
            client.step(final)
        assert (found.value.code, found.value.detail) == (code, detail)
        assert client.done

    each(
        [
            (b"v=QQ==", "bad-server-signature", ""),
            (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "bad-server-signature", ""),
            (b"v=Q", "bad-server-signature", ""),
            (b"", "bad-message", ""),
            (b"v=", "bad-message", ""),
            (b"e=invalid-proof", "server-error", "invalid-proof"),
            (b"e=other-error,x=y", "server-error", "other-error"),
        ],
        check,
    )


def test_channel_binding() -> None:
    """RFC 5802 §6."""
    plus, bare = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
    refused("no-binding", plus, credentials(plus, binding=None))
    refused("channel-binding", plus, credentials(plus, binding=b"\x02" * 32))
    refused("channel-binding", plus, None, verifier(plus, binding=None))
    both = verifier(plus)
    # y: the client could bind and was shown no -PLUS, though there is one: its list was changed on the way.
    refused("downgrade", bare, credentials(bare, binding=BOUND), both)
    assert meet(bare, credentials(bare, binding=BOUND)) == "mei"
    assert meet(bare, credentials(bare, binding=BOUND, plus_offered=True), both) == "mei"
    assert meet(bare, credentials(bare), both) == "mei"
    flags = [
        (bare, credentials(bare, nonce="x"), b"n,,"),
        (bare, credentials(bare, nonce="x", binding=BOUND), b"y,,"),
        (bare, credentials(bare, nonce="x", binding=BOUND, plus_offered=True), b"n,,"),
        (plus, credentials(plus, nonce="x", authzid="a,b=c"), b"p=tls-server-end-point,a=a=2Cb=3Dc,"),
    ]
    for name, login, header in flags:
        assert MECHANISMS[name].as_client(login).step(None).reply == header + b"n=mei,r=x", header


def test_what_a_scram_server_refuses() -> None:
    def check(name: str, first: bytes, code: str) -> None:
        with pytest.raises(SaslError) as found:
            MECHANISMS[name].as_server(verifier(name)).step(first)
        assert found.value.code == code

    plus, bare = "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"
    each(
        [
            (bare, b"", "bad-message"),
            (bare, b"n=mei,r=x", "bad-message"),
            (bare, b"x,,n=mei,r=x", "bad-message"),
            (bare, b"n,,n=,r=x", "bad-message"),
            (bare, b"n,,n=mei,r=", "bad-message"),
            (bare, b"n,,n=mei,r=a b", "bad-message"),
            (bare, b"n,,n=m=ei,r=x", "bad-message"),
            (bare, b"n,,n=m=2cei,r=x", "bad-message"),
            (bare, b"n,,n=mei\r\n,r=x", "bad-message"),
            (bare, b"n,,n=me\0i,r=x", "bad-message"),
            (bare, b"n,,n=\xff,r=x", "bad-message"),
            (bare, b"n,,m=x,n=mei,r=x", "extension"),
            (bare, b"p=tls-server-end-point,,n=mei,r=x", "channel-binding"),
            (plus, b"p=tls-unique,,n=mei,r=x", "channel-binding"),
            (plus, b"n,,n=mei,r=x", "channel-binding"),
            (plus, b"y,,n=mei,r=x", "downgrade"),
        ],
        check,
    )


def test_a_scram_client_prepares_or_gives_up() -> None:
    for name in SCRAMS:
        assert meet(name, credentials(name, name="ｍｅｉ")) == "mei"
        for more in (
            {"name": "\u0627\u0031"},
            {"name": ""},
            {"secret": "\u0221"},
            {"name": "a\0"},
            {"authzid": "\ud800"},
        ):
            refused("not-prepared", name, credentials(name, **more))


def test_a_name_has_one_salt_and_an_unknown_one_has_one_too() -> None:
    def salt(name: str, key: bytes) -> str:
        server = MECHANISMS["SCRAM-SHA-256"].as_server(verifier("SCRAM-SHA-256", salt_key=key))
        server.step(f"n,,n={name},r=x".encode())
        return next(one.value for one in server.named if one.name == "salt")

    for name in ("mei", "nobody"):
        assert salt(name, b"k") == salt(name, b"k") != salt(name, b"l")
    assert salt("mei", b"k") != salt("nobody", b"k")


# -- the others --------------------------------------------------------------------------------------------------------


def test_messages_of_servers_and_clients_that_cannot_be_read() -> None:
    def check(name: str, messages: Iterable[bytes | None]) -> None:
        server = MECHANISMS[name].as_server(verifier(name))
        *before, last = messages
        for message in before:
            server.step(message)
        with pytest.raises(SaslError, match=r"^bad-message$"):
            server.step(last)

    user = f"user=mei\x01auth=Bearer {TOKEN}\x01\x01".encode()
    each(
        [
            ("CRAM-MD5", [b""]),
            ("LOGIN", [b"mei"]),  # RFC 5034 §4: MUST reject
            ("CRAM-MD5", [None, b"mei"]),
            ("CRAM-MD5", [None, b" " + b"0" * 32]),
            ("CRAM-MD5", [None, b"mei " + b"A" * 32]),
            ("LOGIN", [None, b"", b"x"]),
            ("LOGIN", [None, b"mei", b""]),
            ("LOGIN", [None, b"mei\r\n"]),
            ("EXTERNAL", [b"a\0b"]),
            ("EXTERNAL", [b"\xff"]),
            ("XOAUTH2", [b""]),
            ("XOAUTH2", [user[:-1]]),
            ("XOAUTH2", [user + b"\x01"]),
            ("XOAUTH2", [user.replace(b"user=", b"")]),
            ("XOAUTH2", [user.replace(b"mei", b"hai"), b"\x01"]),
            ("OAUTHBEARER", [b"\x01"]),
            ("OAUTHBEARER", [user]),
            ("OAUTHBEARER", [user.replace(b"user=mei", b"n,a=hai,"), b""]),
            ("OAUTHBEARER", [user.replace(b"user=mei", b"n,a=ha=i,")]),
        ],
        check,
    )


def test_the_client_speaks_first_or_the_server_does() -> None:
    """RFC 5034 §4: an empty challenge asks a client that speaks first; one that says something is no such."""
    for name in MECHANISMS:
        if name in ("LOGIN", "CRAM-MD5"):
            client = MECHANISMS[name].as_client(credentials(name))
            assert (client.step(b"<1@x>").reply or b"").startswith(b"mei"), name
            continue
        assert MECHANISMS[name].as_server(verifier(name)).step(None).reply == b"", name
        assert MECHANISMS[name].as_client(credentials(name)).step(b"").reply is not None, name
        with pytest.raises(SaslError, match=r"^bad-message$"):
            MECHANISMS[name].as_client(credentials(name)).step(b"hello")
    with pytest.raises(SaslError, match=r"^bad-message$"):
        MECHANISMS["CRAM-MD5"].as_client(credentials("CRAM-MD5")).step(b"")


def test_characters_that_no_message_can_carry() -> None:
    rows = [("PLAIN", field, "\0") for field in ("name", "secret", "authzid")]
    rows += [("EXTERNAL", "authzid", "\0")]
    rows += [(name, "authzid", character) for name in SCRAMS for character in "\0\r\n"]
    rows += [(name, "name", character) for name in TOKENS for character in "\0\r\n\x01"]
    for name, field, character in rows:
        with pytest.raises(SaslError, match=r"^not-prepared$"):
            MECHANISMS[name].as_client(credentials(name, **{field: f"a{character}b"})).step(None)


def values(run: Run) -> dict[str, str]:
    return {one.name: one.value for one in run.named}


def test_what_external_and_cram_name() -> None:
    for certificate in ("mei", None):
        server = MECHANISMS["EXTERNAL"].as_server(verifier("EXTERNAL", certificate=certificate))
        server.step(b"hai")
        assert values(server) == {"authzid": "hai", "certificate": certificate or ""}
    # A password that no server stores goes in as it is typed.
    client = MECHANISMS["CRAM-MD5"].as_client(credentials("CRAM-MD5", secret="\u0221\u00ad"))
    digest = hmac.new("\u0221\u00ad".encode(), b"<1@x>", "md5").hexdigest()
    assert client.step(b"<1@x>").reply == f"mei {digest}".encode()


def test_the_end_of_scram_on_the_server_s_side() -> None:
    """RFC 5802 §5.1: another nonce, and words after the server's signature, are no SCRAM; a wrong proof ends it."""

    def begun(secret: str = "pineapple") -> tuple[Run, bytes]:
        client, server = runs("SCRAM-SHA-256", credentials("SCRAM-SHA-256", nonce="ours", secret=secret))
        final = client.step(server.step(client.step(None).reply).reply).reply
        return server, final or b""

    server, final = begun()
    assert len(base64.b64decode(values(server)["salt"])) == 16
    with pytest.raises(SaslError, match=r"^bad-message$"):
        server.step(final.replace(b"r=ours", b"r=Ours"))
    server, final = begun()
    assert server.step(final).reply is not None
    assert values(server)["auth-message"].startswith("n=mei,r=ours,r=ours")
    with pytest.raises(SaslError, match=r"^bad-message$"):
        server.step(b"x")
    server, final = begun("wrong")
    step = server.step(final)
    assert (step.reply, step.done, step.proved) == (None, True, None)
    assert "client-proof" in {one.name for one in step.named}
    unbound = MECHANISMS["SCRAM-SHA-256-PLUS"].as_server(verifier("SCRAM-SHA-256-PLUS", binding=None))
    with pytest.raises(SaslError, match=r"^channel-binding$"):
        unbound.step(b"p=tls-server-end-point,,n=mei,r=x")


def test_the_message_of_a_token() -> None:
    """RFC 7628 §3.1: name, host and port are left out where there are none."""
    auth = f"auth=Bearer {TOKEN}\x01\x01"
    each(
        [
            ("OAUTHBEARER", {}, f"n,a=mei,\x01{auth}"),
            ("OAUTHBEARER", {"name": ""}, f"n,,\x01{auth}"),
            ("OAUTHBEARER", {"authzid": "hai"}, f"n,a=hai,\x01{auth}"),
            ("OAUTHBEARER", {"host": "h", "port": 110}, f"n,a=mei,\x01host=h\x01port=110\x01{auth}"),
            ("XOAUTH2", {"host": "h", "port": 110}, f"user=mei\x01{auth}"),
        ],
        lambda name, more, wanted: (
            MECHANISMS[name].as_client(credentials(name, **more)).step(None).reply == wanted.encode()
            or pytest.fail(name)
        ),
    )


def test_what_a_server_reads_in_the_message_of_a_token() -> None:
    def check(name: str, message: str, proved: bool, named: dict[str, str]) -> None:
        server = MECHANISMS[name].as_server(verifier(name))
        step = server.step(message.encode())
        assert step.proved == ("mei" if proved else None)
        assert values(server) == named
        if not proved:
            status = "invalid_token" if name == "OAUTHBEARER" else "400"
            assert json.loads(step.reply or b"") == {"status": status, "schemes": "bearer", "scope": "pop"}
            assert step.named

    auth = f"auth=Bearer {TOKEN}\x01\x01"
    head = {"gs2-header": "n,a=mei,", "host": "", "port": "", "token": TOKEN}
    each(
        [
            ("OAUTHBEARER", f"n,a=mei,\x01{auth}", True, head),
            ("OAUTHBEARER", f"n,a=mei,\x01host=h\x01port=1\x01{auth}", True, {**head, "host": "h", "port": "1"}),
            ("OAUTHBEARER", f"n,a=mei,\x01Other=x\x01{auth}", True, head),
            ("OAUTHBEARER", f"n,,\x01{auth}", True, {**head, "gs2-header": "n,,"}),
            ("OAUTHBEARER", "n,a=mei,\x01host=h\x01\x01", False, {**head, "host": "h", "token": ""}),
            ("OAUTHBEARER", f"n,a=mei,\x01auth=Basic {TOKEN}\x01\x01", False, head),
            ("OAUTHBEARER", "n,a=mei,\x01auth=Bearer a b\x01\x01", False, {**head, "token": "a b"}),
            ("XOAUTH2", f"user=mei\x01{auth}", True, {"user": "mei", "token": TOKEN}),
            ("XOAUTH2", f"user=a=2Cb\x01{auth}", False, {"user": "a=2Cb", "token": TOKEN}),
        ],
        check,
    )


def test_login_takes_any_words_for_the_prompts() -> None:
    for prompts in ((b"Username:", b"Password:"), (b"User Name\0", b"Password\0"), (b"", b"\xff")):
        client = MECHANISMS["LOGIN"].as_client(credentials("LOGIN"))
        assert client.step(None).reply is None
        assert [client.step(prompt).reply for prompt in prompts] == [b"mei", b"pineapple"]


def test_the_reason_of_a_refused_token() -> None:
    def check(reason: bytes, named: dict[str, str]) -> None:
        for name, answer in (("XOAUTH2", b""), ("OAUTHBEARER", b"\x01")):
            client = MECHANISMS[name].as_client(credentials(name))
            assert client.step(None).done
            step = client.step(reason)
            assert (step.reply, step.done, step.warnings) == (answer, True, ("token-refused",))
            assert {one.name: one.value for one in step.named[1:]} == named
            assert step.named[0][:2] == ("server-error", reason.decode("utf-8", "surrogateescape"))
            with pytest.raises(SaslError):
                client.step(reason)

    google = b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'
    each(
        [
            (google, {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}),
            (b'{"status":400,"scope":["a"],"other":"x"}', {"status": "400"}),
            (b"", {}),
            (b"no JSON", {}),
            (b"[]", {}),
            (b"\xff", {}),
            (b"[" * 60_000, {}),
        ],
        check,
    )


def test_a_token_that_cannot_be_one() -> None:
    for name in TOKENS:
        for secret in ("", "two words", "a\x01b", "a\r\n", "é", "a=b"):
            refused("bad-token", name, credentials(name, secret=secret))
        refused("not-prepared", name, credentials(name, name="a\x01auth=x"))


# -- tokens ------------------------------------------------------------------------------------------------------------


def jwt(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


def test_what_a_token_says_of_itself() -> None:
    def check(claims: object, wanted: tuple[object, ...] | None) -> None:
        assert token_facts(jwt(claims)) == wanted

    microsoft = {
        "aud": "https://outlook.office.com",
        "exp": 1700003600,
        "iat": 1700000000,
        "scp": "POP.AccessAsUser.All SMTP.Send",
        "upn": "mei@example.org",
        "sub": "x",
    }
    scope = ("POP.AccessAsUser.All", "SMTP.Send")
    each(
        [
            (microsoft, (1700003600.0, 1700000000.0, scope, ("https://outlook.office.com",), "mei@example.org")),
            ({"aud": ["a", "b", 1], "roles": ["POP.AccessAsApp"]}, (None, None, ("POP.AccessAsApp",), ("a", "b"), "")),
            ({"exp": "soon", "iat": 1e300, "aud": {}, "scope": 1, "upn": 2, "sub": "s"}, (None, None, (), (), "s")),
            ({"exp": -6.3e10, "iat": True, "sub": "s"}, (None, None, (), (), "s")),
            ({"exp": 4e10, "iat": 0, "sub": "s"}, (None, 0.0, (), (), "s")),
            ({"preferred_username": "p", "email": "e", "unique_name": "u"}, (None, None, (), (), "p")),
            ({"email": "e", "unique_name": "u", "sub": "s"}, (None, None, (), (), "e")),
            ({"unique_name": "u", "sub": "s"}, (None, None, (), (), "u")),
            ({"exp": 32_503_680_000, "sub": "???>>>"}, (None, None, (), (), "???>>>")),  # "-" and "_" in base64url
            ({"sub": "x" * 70_000}, None),
            ({}, None),
            ([], None),
            ("x", None),
        ],
        check,
    )
    facts = token_facts(TOKEN)
    assert facts is not None
    assert (facts.scope, facts.user) == (("pop",), "mei")
    for opaque in ("", "EwBIA8l6BAAU", "a.b.c", "a.b", "é.é.é", "a." + "A" * 5 + ".c", jwt("x" * 70_000)):
        assert token_facts(opaque) is None, opaque[:20]


def test_how_much_json_is_read() -> None:
    for octets, wanted in ((64 * 1024, {"a": 1}), (64 * 1024 + 1, {})):
        assert json_object(b'{"a": 1}'.ljust(octets)) == wanted


@PROFILE
@given(st.text(max_size=50) | st.builds(jwt, st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_any_token(token: str) -> None:
    facts = token_facts(token)
    assert facts is None or token not in repr(facts)


# -- which is best -----------------------------------------------------------------------------------------------------


def ranked(*args: object, **more: object) -> dict[str, tuple[bool, str]]:
    rows = rank(*args, **more)  # type: ignore[arg-type]
    assert [row.order for row in rows] == list(range(1, len(rows) + 1))
    usable = [row.usable for row in rows]
    assert usable == sorted(usable, reverse=True)
    return {row.name: (row.usable, row.why) for row in rows}


def test_rank() -> None:
    every = {"SASL": (*MECHANISMS, "GSSAPI"), "USER": (), "STLS": ()}
    found = ranked(every, "<1@x>", tls=True, binding=True, certificate=True)
    assert [name for name, (usable, _) in found.items() if usable] == [
        "EXTERNAL",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1",
        "OAUTHBEARER",
        "XOAUTH2",
        "CRAM-MD5",
        "APOP",
        "PLAIN",
        "LOGIN",
        "USER",
    ]
    assert found["GSSAPI"] == (False, "not-here")
    each(
        [
            (found, "EXTERNAL", True, "certificate"),
            (found, "SCRAM-SHA-256-PLUS", True, "bound"),
            (found, "SCRAM-SHA-1", True, "proof"),
            (found, "XOAUTH2", True, "token"),
            (found, "CRAM-MD5", True, "digest"),
            (found, "APOP", True, "digest"),
            (found, "PLAIN", True, "protected"),
            (ranked(every, None, tls=True), "APOP", False, "no-stamp"),
            (ranked(every, None, tls=True), "EXTERNAL", False, "no-certificate"),
            (ranked(every, None, tls=True), "SCRAM-SHA-1-PLUS", False, "no-binding"),
            (ranked(every, None, tls=True, verified=False), "USER", True, "unverified"),
            (ranked(every, None, tls=True, verified=False), "XOAUTH2", True, "unverified"),
            (ranked(every, None, tls=False), "OAUTHBEARER", False, "needs-tls"),
            (ranked(every, None, tls=False), "SCRAM-SHA-1-PLUS", False, "needs-tls"),
            (ranked(every, None, tls=False), "PLAIN", True, "stls-first"),
            (ranked({"USER": ()}, None, tls=False), "PLAIN", False, "not-offered"),
            (ranked({"SASL": ("plain",)}, None, tls=False), "PLAIN", True, "in-clear"),
            (ranked({"SASL": ("plain",)}, None, tls=False), "LOGIN", False, "not-offered"),
            (ranked({"SASL": ("plain",)}, None, tls=False), "USER", False, "not-offered"),
            (ranked(None, None, tls=False), "USER", True, "in-clear"),
            (ranked(None, None, tls=False), "PLAIN", False, "no-list"),
        ],
        lambda rows, name, usable, why: rows[name] == (usable, why) or pytest.fail(f"{name}: {rows[name]}"),
    )


def test_mechanisms_are_named_as_they_are_looked_up() -> None:
    assert all(isinstance(row, Mechanism) and name == row.name == name.upper() for name, row in MECHANISMS.items())


def test_what_is_seen_of_a_step_and_of_a_login_that_has_not_begun() -> None:
    assert (repr(verifier("PLAIN")), ClientLines(MECHANISMS["PLAIN"], credentials("PLAIN")).form) == (
        "Verifier(...)",
        "",
    )
    assert "None" in repr(Step(None))
    assert "secret" not in repr(Step(b"secret"))
    assert "6" in repr(Step(b"secret"))
