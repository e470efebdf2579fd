"""Secrets: what is one, what is masked, what may be stored; and what must be left alone, so that masking all fails."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from support import blob, each, plain
from test_line import BLANKS, CANARY, CONTEXTS, DIGEST, TEXTS

from popshell.protocol import secrets
from popshell.protocol.commands import COMMANDS, Context, Kind, Param, State
from popshell.protocol.line import advance, parse
from popshell.protocol.secrets import MASK, hidden_in_base64, redact, redact_code, without_password

PROFILE = settings(max_examples=500, deadline=None, derandomize=True, database=None)
A, T = State.AUTHORIZATION, State.TRANSACTION

AFTER_USER = Context(A, "USER")


def token_message(token: str) -> str:
    """XOAUTH2's message."""
    return base64.b64encode(f"user=mei\x01auth=Bearer {token}\x01\x01".encode()).decode()


SECRETS = [
    (f"PASS {CANARY}", Context(A), f"PASS {MASK}"),
    (f"  pass {CANARY}", Context(A), f"  pass {MASK}"),
    (f"PASS\t{CANARY}", Context(A), f"PASS\t{MASK}"),
    (f"PASS  {CANARY} {CANARY} ", Context(A), f"PASS {MASK}"),
    (f"PASS {CANARY}", Context(T), f"PASS {MASK}"),
    (f"PASS {CANARY}\nx", Context(A), f"PASS {MASK}"),
    (f"APOP mei {DIGEST}", Context(A), f"APOP mei {MASK}"),
    (f"apop mei {CANARY} {CANARY}", Context(A), f"apop mei {MASK} {MASK}"),
    (f"APOP mei\t{CANARY}", Context(A), f"APOP mei\t{MASK}"),
    (f"AUTH PLAIN {plain('mei', CANARY)}", Context(A), f"AUTH PLAIN {MASK}"),
    (f"AUTH PLAIN {plain('mei', CANARY)} {CANARY}", Context(A), f"AUTH PLAIN {MASK} {MASK}"),
    (f"AUTH {plain('mei', CANARY)}", Context(A), f"AUTH {MASK}"),  # no mechanism
    (f"auth x {CANARY}", Context(A), f"auth x {MASK}"),
    (f"AUHT PLAIN {plain('mei', CANARY)}", Context(A), f"AUHT PLAIN {MASK}"),
    (f"AUTHPLAIN {plain('mei', CANARY)}", Context(A), f"AUTHPLAIN {MASK}"),
    (plain("mei", CANARY), Context(A), MASK),  # the answer to a challenge that did not come
    (plain("mei", CANARY) + " x", Context(T), f"{MASK} x"),
    (f"AUHT XOAUTH2 {token_message(CANARY)}", Context(A), f"AUHT XOAUTH2 {MASK}"),
    (token_message(CANARY), Context(A), MASK),
    (f"PAS {CANARY}", AFTER_USER, f"PAS {MASK}"),
    (f"  pas {CANARY}", AFTER_USER, f"  pas {MASK}"),
    (f"PSAS {CANARY} x", AFTER_USER, f"PSAS {MASK}"),
    (f"PAS\t{CANARY}", AFTER_USER, f"PAS\t{MASK}"),
    (f"PASS{CANARY}", AFTER_USER, f"PASS{MASK}"),
    (f"pass:{CANARY} x", AFTER_USER, f"pass{MASK}"),
    (f"PASSWORD {CANARY}", AFTER_USER, f"PASS{MASK}"),
    (CANARY, AFTER_USER, MASK),  # the password alone
    (f"{CANARY} {CANARY}", AFTER_USER, MASK),
    (f"pa\xdf {CANARY}", AFTER_USER, f"pa\xdf {MASK}"),
    # what was meant for another command, another protocol, or as an answer
    (f"USER mei {CANARY}", Context(A), f"USER mei {MASK}"),
    (f"user mei {CANARY} {CANARY}", Context(A), f"user mei {MASK} {MASK}"),
    (f"USR mei {CANARY}", Context(A), f"USR mei {MASK}"),
    (f"USER: mei  {CANARY} x", Context(A), f"USER: mei {MASK}"),
    (f"\uff35\uff33\uff25\uff32 mei {CANARY}", Context(A), f"\uff35\uff33\uff25\uff32 mei {MASK}"),
    (f"pwd {CANARY}", Context(A), f"pwd {MASK}"),
    (f"LOGIN mei {CANARY}", Context(A), f"LOGIN {MASK}"),
    (f"a1 LOGIN mei {CANARY}", Context(A), f"a1 LOGIN {MASK}"),
    (f"AUTHENTICATE PLAIN {CANARY}", Context(T), f"AUTHENTICATE {MASK}"),
    (f"password {CANARY}", Context(T), f"password {MASK}"),
    (f"\uff30\uff21\uff33\uff33 {CANARY}", Context(A), f"\uff30\uff21\uff33\uff33 {MASK}"),
    (f"PASS\u3000{CANARY}", Context(A), f"PASS{MASK}"),
    (CANARY, Context(A, refused=True), MASK),
    (f"{CANARY} {CANARY}", Context(A, refused=True), MASK),
    (base64.b64encode(CANARY.encode()).decode(), Context(A, refused=True), MASK),
    (f"pop://mei:{CANARY}@h", Context(T), MASK),
    (f"eyJhbGciOiJub25lIn0.{CANARY}.x", Context(T), MASK),
    (f"P A S S {CANARY}", Context(A), f"P A S S {MASK}"),
    (f"密碼：{CANARY}", Context(T), f"密碼{MASK}"),
    # without USER before them: a slip here was meant to log in
    (f"PAS {CANARY}", Context(A), f"PAS {MASK}"),
    (f"PASSS {CANARY} x", Context(A), f"PASS{MASK}"),
    (f"pssa {CANARY}", Context(A), f"pssa {MASK}"),
    (f"PASD {CANARY}", Context(A), f"PASD {MASK}"),
    (f"PASS{CANARY}", Context(A), f"PASS{MASK}"),
    (f"PASSWORD {CANARY}", Context(State.CLOSED), f"PASS{MASK}"),
    (f"APO mei {CANARY}", Context(A), f"APO {MASK}"),
]


#: Slips of a login, in AUTHORIZATION alone, and login words in every spelling, in any state; the secret follows.
SLIPS = [
    *("APSS ", "PSAS ", "PPAASS ", "PASSWROD: ", "PASWORD ", "LOGN mei ", "USERmei ", "PASS,", "PASS+"),
    *(
        "AUTHPLAIN ",
        "AUTH=PLAIN ",
        "AUTH-PLAIN ",
        "AUHTPLAIN ",
        "AUT LOGIN ",
        "AUHT ",
        "PLAIN ",
        "CRAM-MD5 ",
        "XOAUTH2 ",
    ),
]
SPELLINGS = [
    *(
        "USER mei:",
        "USER mei,",
        "USER mei=",
        "USER mei\u3000",
        "USER mei\xa0",
        "USER mei@example.org:",
        "USER mei;PASS ",
    ),
    *("USER=mei PASS=", "USER:mei PASS:", "USER:mei:", "U S E R mei ", "US ER mei ", "USER\u3000mei ", "USRE: mei,"),
    *("username=mei&password=", "username: mei ", "ACCOUNT mei ", "C: USER mei ", "a1 USER mei ", "RPOP mei "),
    *("P A S S ", "PA SS ", "P.A.S.S. ", "P-A-S-S ", "[PASS] ", '"PASS" ', "'PASS' '", "*PASS* ", "/PASS ", "\\PASS "),
    *(
        "PASS=",
        "PASS:",
        "PASS -> ",
        "PASS\uff1a",
        "PASS\t",
        "PASS\xa0",
        "PASS\u2028",
        "PASS\u3164",
        "PASS\x0b",
        "P4SS ",
    ),
    *(
        "QUIT PASS ",
        "NOOP PASS:",
        "CAPA PASS=",
        "PASS_",
        "SIGNIN mei ",
        "LIST pass ",
        "STAT;PASS ",
        "CAPA|PASS ",
        "STAT\nPASS ",
        "mei PASS ",
        "user mei pass ",
        "XX: PASS: ",
    ),
    *("2026-01-01 12:00:00 > PASS ", '{"user": "mei", "pass": "', "C: a1 LOGIN mei ", "LOGIN mei:", "login: mei "),
    *(
        "Authorization: Basic ",
        "AUTH PLAIN=",
        "AUTH PLAIN:",
        "APOP mei:",
        "APOP mei,",
        "\uff21\uff35\uff34\uff28 LOGIN ",
    ),
    *("curl -u mei:", "fetch --user=mei:", "--password=", "--password ", "Proxy-Authorization: Basic ", "Bearer "),
    *("passwd ", "Passwort ", "mot de passe: ", "contrase\xf1a ", "пароль ", "비밀번호 ", "パスワード："),
    *("密碼 ", "密　碼：", "密碼：", "密碼", "我的密碼是", "口令 ", "ㄣㄇㄋㄋ ", "ㄣㄇㄋㄋ　", "ЗФЫЫ "),
    *("РАЅЅ ", "ΡΑΣΣ ", "пасс ", "PАSS ", "Ꮲᴀꜱꜱ ", "Ⱥpop mei ", "\U0001d40f\U0001d400\U0001d412\U0001d412 "),
    *("ⓅⒶⓈⓈ ", "🅿🅰🆂🆂 ", "🇵🇦🇸🇸 ", "ｐａｓｓ　", "P\u0301A\u0308SS ", "pa\xdf ", "PA$$ ", "P@55 "),
    *("\ufeffPASS ", "\u200bPASS ", "PA\u200bSS ", "P\xadASS ", "\u202ePASS ", "PASS\ufe0f ", "\x00PASS ", "\x01PASS "),
    *("PAS\bSS ", "PASX\bS ", "PAX\x7fSS ", "PA\x1b[DSS ", "\x1b[200~PASS ", "\x1bOAPASS ", "LIST\x15PASS "),
]


def test_a_login_is_known_in_every_spelling() -> None:
    def check(text: str, *contexts: Context) -> None:
        for context in contexts:
            for secret in (CANARY, blob(CANARY)):
                line = parse(text + secret, context)
                assert line.has_secret
                assert secret not in line.redacted() + repr(line) + line.name, context
                expected = context.refused or context.follows
                assert any(secret in one if expected else secret == one for one in line.secrets), "it may be repeated"

    each([(text, Context(A), Context(A, refused=True), AFTER_USER) for text in SLIPS], check)
    each([(text, Context(A), Context(A, refused=True), AFTER_USER, Context(T)) for text in SPELLINGS], check)


#: Where letters are put between those of PASS or on top, it is PASS still.
INVISIBLE = ["", "\u200b", "\u200d", "\xad", "\u0301", "\ufe0f", "\x01", "X\b", "é\x7f", "\x1b[C", "\U000e0041"]
ALIKE = {"P": "PpРрΡＰᴘⓟ𝐏Þ"[:-1], "A": "AaАаΑＡᴀÄ𝐀", "S": "SsЅѕＳꜱſ𝐒"}


@PROFILE
@given(
    st.lists(st.tuples(st.sampled_from(INVISIBLE), st.integers(0, 7)), min_size=4, max_size=4), st.sampled_from([A, T])
)
def test_a_password_after_a_word_that_reads_as_pass(made: list[tuple[str, int]], state: State) -> None:
    word = "".join(
        before + ALIKE[letter][at % len(ALIKE[letter])] for letter, (before, at) in zip("PASS", made, strict=True)
    )
    line = parse(f"{word} {CANARY}", Context(state))
    assert CANARY not in line.redacted() + repr(line)


def test_a_line_with_a_secret_is_masked() -> None:
    def check(text: str, context: Context, shown: str) -> None:
        line = parse(text, context)
        assert line.has_secret
        assert line.redacted() == shown
        for view in (line.redacted(), line.name, repr(line), repr(line.tokens), repr(line.diagnostics)):
            assert not any(secret in view for secret in (CANARY, plain("mei", CANARY), DIGEST))
        assert any(CANARY in secret or secret == DIGEST for secret in line.secrets)
        assert list(line.secrets) == sorted(line.secrets, key=len, reverse=True)

    each(SECRETS, check)


#: What nothing may be masked of, in AUTHORIZATION and in TRANSACTION.
HARMLESS = [
    *(f"{name}" for name in COMMANDS),
    "USER mei", "USER hunter2", "APOP mei", "AUTH PLAIN", "LIST 1", "TOP 1 10", "LANG zh-Hant", "HELP me", "", " ",
    f"STAT {blob('abc' + chr(0) + chr(0) + 'pw')}",
    "PASS ", "PAX", "TASK x y", "PAUSE now", "LIST YQ==", "CAPA dGVzdA==", "STAT aGVsbG8AYQ==", "12345", "APPLE pie",
    # other protocols, and what is no login
    "HELO host", "EHLO pass.example.org", "MAIL FROM:<pass@example.org>", "RCPT TO:<login@example.org>", "DATA",
    "GET / HTTP/1.1", "POST /login HTTP/1.1", "Host: pass.example.org", "a1 LOGOUT", "a1 CAPABILITY", "a2 SELECT INBOX",
    "a3 FETCH 1 BODY[]", "XSENDER 1", "VRFY mei", "PORT 1", "PASV", "EXIT now", "ls -l", "ping 127.0.0.1",
    # slips of other commands, numbers, names, other scripts and widths
    "LSIT 1", "RERT 1", "RETR1", "STATS x", "UILD 1", "TOPP 1 10", "DEL 1", "QUTI now", "CAPPA x", "HEAD 1", "LSAT x",
    "12345 67890", "455 12", "1 2 3", "+OK 2 320", "-ERR no such message", "Subject: hello", "From: mei@example.org",
    "王美 你好", "\uff33\uff34\uff21\uff34 1", "\u200bSTAT 1", "LIST\x08T 1", "LIST\u30001", "привет мир", "ㄅㄆ ㄇ",
    "CLASS a b", "COMPASS x", "BYPASS 1", "PLEASE list", "POP3 x", "FAST x", "PASTE x", "PATH x", "PAGE 2", "AUDIT x",
    "AUGUST 3", "what is pass", "HELP PASS", "PLAIN", "PAR 3",
    # names, mechanisms, unique-ids
    "USER mei@example.org", "USER mei%example.org", "USER CORP\\mei", "USER mei+tag@example.org", "USER o'neil",
    "USER 王美", "USER pass", "USER password", "USER login", "USER mei@[IPv6:2001:db8::1]", "USERNAME mei", "USRE mei",
    "AUTH", "AUTH plain", "AUTH Plain", "AUTH scram-sha-256", "AUTH SCRAM-SHA-256-PLUS", "AUTH NOSUCH", "AUTH x",
    "-ERR AUTHORIZATION one line", "+OK AUTHORIZATION many lines", "S: -ERR x AUTHORIZATION y",
    "AUTH KERBEROS_V4", "XTND ARCHIVE mei", "UTF8 USER", "UIDL c4c9334bac560ecc979e58001b3e22fb",
]  # fmt: skip


def test_a_line_without_a_secret_is_not_masked() -> None:
    def check(text: str) -> None:
        for context in (Context(A), Context(T)):
            line = parse(text, context)
            assert line.redacted() == text
            assert line.secrets == ()

    texts = {
        *HARMLESS,
        *(f"{name} {argument}" for name, spec in COMMANDS.items() if spec.params for argument in ("1", "7")),
    }
    texts |= {text.lower() for text in texts}
    each([(text,) for text in texts - {"PASS 1", "PASS 7", "pass 1", "pass 7"}], check)


def test_words_like_a_login_are_not_masked_in_transaction() -> None:
    for text in (f"PAS {CANARY}", f"PASSPORT {CANARY}", f"APO mei {CANARY}", f"STTA {CANARY}"):
        assert parse(text, Context(T)).redacted() == text


def test_after_a_refused_login_commands_are_shown_and_end_the_suspicion() -> None:
    """Masking everything would be no proof: known commands, numbers and the cancelling star stay as they are."""
    refused = Context(A, refused=True)
    for text in ("CAPA", "QUIT", "USER mei", "NOOP", "LIST 1", "*", "TOP 1 10", "AUTH"):
        assert parse(text, refused).redacted() == text
    assert advance(refused, parse("CAPA", refused), ok=True).refused is False
    assert advance(refused, parse("CAPA", refused), ok=False).refused is False
    assert advance(refused, parse("hunter2", refused), ok=False).refused is True
    for login in ("PASS x", "APOP mei " + DIGEST, "AUTH PLAIN"):
        assert advance(AFTER_USER, parse(login, AFTER_USER), ok=False).refused is True
        assert advance(AFTER_USER, parse(login, AFTER_USER), ok=True).refused is False


def test_what_resembles_a_login() -> None:
    """One letter too many, missing, wrong, or in another order; or more letters after the whole word."""

    def check(word: str, resembles: bool) -> None:
        assert (parse(f"{word} x", Context(A)).redacted() != f"{word} x") is resembles

    slips = ["PAS", "ASS", "PSS", "PASSS", "XPASS", "PXASS", "PASX", "XASS", "PXSS", "SPAS", "SSAP", "PASSWORD"]
    each(
        [(word, True) for word in [*slips, "pa\xdf", *map(str.lower, slips), "APO", "POP", "APOPX", "AOPP", "XPOP"]],
        check,
    )
    each([(word, False) for word in ("PA", "PXX", "PAXX", "PASXX", "XXSS", "PXXS", "LOGOUT", "AP", "POPPO")], check)


def test_the_mask_does_not_show_the_length() -> None:
    assert parse("PASS x").redacted() == parse("PASS " + "x" * 200).redacted()


def test_the_secret_within_base64() -> None:
    def check(text: str, wanted: tuple[str, ...]) -> None:
        assert hidden_in_base64(text) == wanted

    each(
        [
            (plain("mei", "pw"), ("pw",)),
            (plain("mei", "pw", "hai"), ("pw",)),
            (blob("mei\0pw"), ("pw",)),  # the first NUL forgotten
            (blob("token"), ("token",)),
            (blob("mei\0pw\0"), ()),
            ("", ()),
            ("=", ()),
            ("not base64", ()),
            ("é", ()),
            ("/w==", ("\udcff",)),
        ],
        check,
    )


def test_secrets_of_a_word() -> None:
    word = blob("token")
    string, initial = Param("string", Kind.SECRET), Param("initial-response", Kind.INITIAL)
    assert secrets.secrets_in(word, string) == (word,), "a password may look like base64"
    assert secrets.secrets_in(word, initial) == secrets.secrets_in(word) == (word, "token")
    assert secrets.secrets_in("x:message", string) == ("x:message",), "and hold a colon"
    assert "message" in secrets.secrets_in("mei:message")
    assert secrets.secrets_in("one two three") == ("one two three", "three"), "of several words also the last, no other"
    assert secrets.secrets_in("one:two:three") == ("one:two:three", "three")
    assert secrets.secrets_in("xyz:") == ("xyz:", "xyz")
    assert secrets.secrets_in("xy:") == ("xy:",), "two letters of it are in many a word"
    assert secrets.secrets_in(f"mei {word} x") == (f"mei {word} x",)
    assert secrets.secrets_in(f"mei {word}") == (f"mei {word}", "token", word)
    assert secrets.secrets_in("") == secrets.secrets_in("*") == ()
    assert secrets.joined(("abc", "a"), ["abcd", "a", "b"]) == ("abcd", "abc", "a", "b")


def test_secrets_are_masked_in_a_reply() -> None:
    """Of three characters or more wherever they stand; shorter ones as words of their own."""

    def check(text: str, known: list[str], shown: str) -> None:
        assert redact(text, known) == shown

    each(
        [
            ("no such password abc", ["abc"], f"no such password {MASK}"),
            ("xabcx", ["abc"], f"x{MASK}x"),
            ("a bad password, a", ["a"], f"{MASK} bad password, {MASK}"),
            ("ab abc cab (ab)", ["ab"], f"{MASK} abc cab ({MASK})"),
            (". is no dot", ["."], f"{MASK} is no dot"),
            ("abcd abc", ["abcd", "abc"], f"{MASK} {MASK}"),
            ("nothing", [], "nothing"),
            ("AGEAYWJj !", ["abc"], f"{MASK} !"),  # base64 of what holds it
            ("AGEAYWJj !", ["ab"], "AGEAYWJj !"),
            ("AGEAYWI=", ["b"], "AGEAYWI="),
        ],
        check,
    )


def test_secrets_are_masked_in_a_response_code() -> None:
    assert redact_code("ABC/X", ["abc"]) == MASK
    assert redact_code("IN-USE", ["in"]) == "IN-USE", "a short secret is in many a word"
    assert redact_code("IN-USE", ["use!"]) == "IN-USE"


def test_passwords_in_addresses() -> None:
    def check(text: str, shown: str) -> None:
        assert without_password(text) == shown

    each(
        [
            ("pop://mei:x@h", f"pop://mei:{MASK}@h"),
            ("mei:x@h:110", f"mei:{MASK}@h:110"),
            ("pop://mei:x;AUTH=*@h", f"pop://mei:{MASK}@h"),
            ("pop://mei@h:110", "pop://mei@h:110"),
            ("h:110", "h:110"),
            ("[::1]:110", "[::1]:110"),
        ],
        check,
    )


def rows(text: str, follows: str = "", challenged: bool = False) -> list[secrets.Row[object]]:
    return list(secrets.typed_rows(text, Context(A, follows), challenged, parse))  # type: ignore[arg-type]


#: What is typed, what came before it, whether it answers a challenge -> what is shown, whether it is stored
TYPED = [
    ("STAT", "", False, "STAT", True),
    ("USER mei", "", False, "USER mei", True),
    ("PASS x", "", False, f"PASS {MASK}", False),
    ("pass", "", False, "pass", False),  # it logs in
    ("APOP mei", "", False, "APOP mei", False),
    ("AUTH PLAIN", "", False, "AUTH PLAIN", False),
    (" : pass", "", False, " : pass", False),
    (" :pass", "", False, " :pass", False),
    ("x:pass", "", False, "x:pass", False),
    ("what is pass", "", False, "what is pass", True),
    (":\tPASS x", "", False, f":\tPASS {MASK}", False),
    (":explain\tPASS x", "", False, f":explain\tPASS {MASK}", False),
    (":explain  PASS x", "", False, f":explain  PASS {MASK}", False),
    (":\x0bPASS x", "", False, f":\x0bPASS {MASK}", False),
    (":", "", False, ":", True),
    (": ", "", False, ": ", True),
    (":PASS x", "", False, f":PASS {MASK}", False),  # a colon typed by habit
    (": PASS x", "", False, f": PASS {MASK}", False),
    (":explain PASS x", "", False, f":explain PASS {MASK}", False),
    (":explain hunter2", "USER", False, f":explain {MASK}", False),
    (":expl hunter2", "USER", False, f":expl {MASK}", False),
    (":connect hunter2", "USER", False, ":connect hunter2", True),
    (":explain STAT", "", False, ":explain STAT", True),
    (":connect pop://mei:x@h", "", False, f":connect {MASK}", False),
    (":connect mei:x@h", "", False, f":connect mei:{MASK}@h", False),
    (":pas x", "", False, f":pas {MASK}", False),
    (":aut PLAIN x", "", False, f":aut PLAIN {MASK}", False),
    (":connect pop://mei@h", "", False, ":connect pop://mei@h", True),
    # The meta command `:auth`, which names a mechanism and an account; AUTH's own message after it is masked.
    (":auth PLAIN mei", "", False, ":auth PLAIN mei", True),
    (":Auth scram-sha-256 mei", "", False, ":Auth scram-sha-256 mei", True),
    (":auth APOP mei", "", False, ":auth APOP mei", True),
    (":auth user AUTH", "", False, ":auth user AUTH", True),
    (":auth PLAIN", "", False, ":auth PLAIN", True),
    (":auth PLAIN mei x", "", False, f":auth PLAIN {MASK} {MASK}", False),
    (":auth PLAIN AGEAYmJiYg==", "", False, f":auth PLAIN {MASK}", False),
    (":auth NOPE mei", "", False, f":auth NOPE {MASK}", False),
    (":auto PLAIN mei", "", False, f":auto PLAIN {MASK}", False),
    ("note:x@h", "", False, "note:x@h", True),  # no meta command: what is sent is shown
    (":flight STAT | PASS x", "", False, MASK, False),
    (":flight | PASS x", "", False, MASK, False),
    (":flight STAT | PASS", "", False, ":flight STAT | PASS", True),
    (":flight STAT | LIST", "", False, ":flight STAT | LIST", True),
    (":lang en", "", False, ":lang en", True),
    ("hunter2", "USER", False, MASK, False),
    ("hunter2", "", False, "hunter2", True),
    ("hunter2", "", True, MASK, False),
    ("*", "", True, "*", False),
    ("hunter2\nSTAT", "", True, f"{MASK}\nSTAT", False),
    ("USER mei\nhunter2", "", False, f"USER mei\n{MASK}", False),
    ("USER mei\n:lang en\nhunter2", "", False, f"USER mei\n:lang en\n{MASK}", False),
    ("STAT\nLIST 1", "", False, "STAT\nLIST 1", True),
    ("AUTH PLAIN\nhunter2", "", False, f"AUTH PLAIN\n{MASK}", False),
    ("AUTH PLAIN =\nhunter2", "", False, f"AUTH PLAIN {MASK}\n{MASK}", False),
    ("AUTH PLAIN =\nSTAT\nhunter2", "", False, f"AUTH PLAIN {MASK}\nSTAT\nhunter2", False),
    ("PASS\nhunter2", "", False, f"PASS\n{MASK}", False),
    ("login: mei\nhunter2", "", False, f"login{MASK}\n{MASK}", False),
    ("USR mei\nhunter2", "", False, f"USR mei\n{MASK}", False),
    ("AUTH PLAIN\nSTAT", "", False, f"AUTH PLAIN\n{MASK}", False),  # an answer, whatever it looks like
    ("RETR 密碼 x\nhello", "", False, f"RETR 密碼 {MASK}\nhello", False),  # nor is one with a secret after it
    ("RETR pass\nhunter2", "", False, "RETR pass\nhunter2", False),  # a command that is known is no slip of another
]


def test_what_is_typed_is_masked_and_stored_only_without_a_secret() -> None:
    def check(text: str, follows: str, challenged: bool, shown: str, stored: bool) -> None:
        assert secrets.masked_rows(rows(text, follows, challenged)) == shown
        assert secrets.fit_for_history(rows(text, follows, challenged)) is stored

    each(TYPED, check)


def test_where_pop3_begins_in_a_meta_command() -> None:
    def check(text: str, start: int) -> None:
        assert [row[1] for row in rows(text)] == [start]

    each([("STAT", 0), (":STAT", 1), (": list 1", 2), (":explain STAT", 9), (":nope STAT", 6), (":", 1)], check)


def test_where_a_line_begins_in_what_is_typed() -> None:
    def check(text: str, challenged: bool, *wanted: tuple[int, str | None]) -> None:
        found = rows(text, "USER", challenged)
        assert [(start, line.context.follows if line else None) for _, start, line in found] == list(wanted)  # type: ignore[attr-defined]

    each(
        [
            ("STAT", False, (0, "USER")),
            ("x\nSTAT\nLIST", True, (0, None), (0, "USER"), (0, "STAT")),
            (":explain STAT", False, (9, "USER")),
            (":notes  full", False, (8, "")),
            (":PASS x", False, (1, "USER")),
            (":notes", False, (6, "")),
            (":auth PLAIN mei", False, (12, "")),
            (":auth USER u", False, (11, "")),
            (":auth PLAIN", False, (11, "")),
        ],
        check,
    )


def test_what_clear_text_gives_away() -> None:
    def check(text: str, gives: bool) -> None:
        assert secrets.readable_in_clear_text(parse(text, Context(A))) is gives

    each(
        [
            ("PASS x", True),
            ("PASS", False),
            ("PAS x", True),
            ("AUTH PLAIN", True),  # it asks for a secret
            (f"AUTH PLAIN {plain()}", True),
            (f"APOP mei {DIGEST}", False),
            ("USER mei", False),
            ("STAT", False),
            ("HELP", False),
        ],
        check,
    )


@PROFILE
@given(BLANKS, st.sampled_from(["PASS ", "pass ", "PAS ", "PASSS ", "PASS\t", "X ", "PASS"]), TEXTS, CONTEXTS)
def test_a_password_is_never_shown(blanks: str, verb: str, around: str, context: Context) -> None:
    line = parse(blanks + verb + CANARY + around, Context(context.state, "USER"))
    assert CANARY not in line.redacted() + repr(line) + repr(line.tokens) + line.name
    assert any(CANARY in secret for secret in line.secrets)


def test_a_token_is_a_secret_by_itself() -> None:
    """A server may repeat it in its reply."""
    known = secrets.secrets_in(token_message(CANARY))
    assert redact(f"no such token {CANARY}", secrets.joined((), known)) == f"no such token {MASK}"


#: A line that is no command of POP3, and whether the line after it may hold the secret.
BEGINNINGS = [
    ("p", False),
    ("pa", False),
    ("pw", True),
    ("PASSWORD", True),
    ("P A S S", True),
    ("U S E R mei", True),
    ("USR mei", True),
    ("AUHT PLAIN", True),
    ("LOGIN", True),
    ("LOGIN mei", True),
    ("LOGIN mei x", False),  # it is complete
    ("LOGIN mei x y", False),
    ("a1 LOGIN mei", True),
    ("a1 LOGIN mei x", False),
    ("login: mei", True),
    ("user: mei x", True),
    ("account mei x", True),
    ("my password is", True),
    ("my password is x", False),
    ("\u5bc6\u78bc x", True),
    ("the user mei", False),
    ("-u mei:", False),
    ("-u mei:x", True),
    ("STAT", False),
    ("hello", False),
    ("P AUTH x", True),
    ("PWDP", False),
    ("PLAIN", False),  # a mechanism alone
    ("PASSx y", True),
    ("SIGN IN", False),  # words of four letters are not joined
]


def test_which_lines_begin_a_login() -> None:
    each(BEGINNINGS, _begins)
    assert secrets.begins_login(parse("USER").spec, "USER")
    assert not secrets.begins_login(parse("RETR").spec, "RETR pass x")


def _begins(text: str, wanted: bool) -> None:
    assert secrets.begins_login(None, text) is wanted


def test_what_is_masked_after_a_word_that_logs_in() -> None:
    refused = Context(A, refused=True)

    def check(text: str, context: Context, shown: str) -> None:
        assert parse(text, context).masked().text == shown

    each(
        [
            ("* ", Context(A, "USER"), "* "),  # the answer that cancels
            ("loginx", refused, MASK),  # a word without a blank may be the secret itself
            ("passx", refused, f"pass{MASK}"),
            ("login x", refused, f"login {MASK}"),
            ("pw x", Context(T), f"pw {MASK}"),
            ("p", Context(T), "p"),
            ("a1 login mei x", Context(T), f"a1 login {MASK}"),
            ("a b c d pass x", Context(T), f"a b c d pass {MASK}"),
            ("p a s s x", Context(A), f"p a s s {MASK}"),
            ("p a ss x", Context(A), f"p a ss {MASK}"),
            ("pas s", Context(A), "pas s"),
            ("AUT", Context(A), "AUT"),  # a slip of AUTH alone
            ("USERmei x", Context(A), f"USERmei {MASK}"),
            ("ABCDEFGHIJKLM pass x", Context(A), f"ABCDEFGHIJKLM pass {MASK}"),
            ("abcd login x", Context(A), f"abcd login {MASK}"),
            ("pws x", Context(A), "pws x"),
            ("LOGINmei x", Context(A), f"LOGIN{MASK}"),
            ("NOOP AGEAYg==", Context(T), f"NOOP {MASK}"),  # the shortest message of PLAIN
            ("NOOP AGEAY===", Context(T), "NOOP AGEAY==="),
        ],
        check,
    )
