"""The inputs of the corpus that are written by hand: dialogues, scripted servers, command lines, terminal scenarios.

Everything here is data. A dialogue is what a user types, one line after the other; `@in` stands for the login of the
practice server, `{peer}` for the address of the scripted server of the case.
"""

# ruff: noqa: SIM905 - a list of words is easier to read as one string

from __future__ import annotations

from collections.abc import Mapping, Sequence

LOGIN = ("USER learner", "PASS secret")
LONG = "X" * 260
COMMANDS = tuple(
    "APOP AUTH CAPA DELE LANG LAST LIST NOOP PASS QUIT RETR RPOP RSET STAT STLS TOP UIDL USER UTF8 XTND".split()
)

#: name -> lines typed, to the practice server.
DIALOGUES: Mapping[str, str] = {
    "nothing": "",
    "quit-at-once": "QUIT",
    "first-round": "@in\nSTAT\nLIST\nUIDL\nRETR 1\nDELE 1\nRSET\nNOOP\nQUIT",
    "every-message": "@in\nRETR 1\nRETR 2\nRETR 3\nRETR 4\nRETR 5\nRETR 6\nRETR 7\nTOP 4 3\nTOP 6 0\nQUIT",
    "small-letters": "user learner\npass secret\nstat\nList 2\nuidl 2\ntop 1 0\nquit",
    "deleted-for-good": "@in\nDELE 1\nDELE 3\nLIST\nUIDL\nSTAT\n:mailbox\n:fork\nQUIT\n:connect\n@in\n"
    "LIST\n:mailbox\nQUIT",
    "deleted-and-lost": "@in\nDELE 1\nDELE 3\n:fork\n:drop\n:state\n:connect\n@in\nSTAT\n:mailbox\nQUIT",
    "wrong-password": "USER learner\nPASS wrong\nUSER learner\nPASS\nUSER nobody\nPASS secret\n"
    "USER learner\nPASS secret\nQUIT",
    "must-follow": "PASS secret\nUSER learner\nNOOP\nPASS secret\nUSER learner\nCAPA\nPASS secret\nQUIT",
    "two-logins": "@in\nUSER learner\nPASS secret\nAPOP learner 0123456789abcdef0123456789abcdef\n"
    "AUTH PLAIN\nSTLS\nUTF8\nQUIT",
    "numbers": "@in\nRETR 0\nRETR -1\nRETR +1\nRETR 01\nRETR 1.0\nRETR \uff11\nRETR 99\n"
    "RETR 99999999999999999999\nRETR\n"
    "RETR 1 2\nRETR one\nLIST 0\nLIST 99\nUIDL x\nTOP 1\nTOP 1 x\nTOP 1 -1\nTOP 99 1\nTOP 0 0\nDELE 99\nQUIT",
    "marked": "@in\nDELE 2\nDELE 2\nRETR 2\nTOP 2 0\nLIST 2\nUIDL 2\nLIST\nRSET\nRSET\nRETR 2\nQUIT",
    "empty-maildrop": "@in\nDELE 1\nDELE 2\nDELE 3\nDELE 4\nDELE 5\nDELE 6\nDELE 7\nSTAT\nLIST\nUIDL\n"
    "QUIT\n:connect\n@in\nSTAT\n"
    "LIST\nUIDL\nRETR 1\n:mailbox\n:fork\nQUIT",
    "blanks": " STAT\nSTAT \nUSER  learner\nUSER\tlearner\nUSER learner \n\n   \nNOOP  \nQUIT ",
    "controls": "NOOP \x01\nUSER le\x1b[31marner\nNOOP \x7f\nUSER \u202eabc\nQUIT",
    "too-long": f"USER {LONG}\nNOOP {LONG}\n{LONG}\nQUIT",
    "long-argument": f"USER {'n' * 41}\nAPOP {'n' * 41} {'0' * 32}\nQUIT",
    "unknown-words": "HELLO\nFROB 1 2\nRETRR 1\nLSIT\nEHLO x\nA1 LOGIN a b\nhelp\nexit\nls\n@in\nDEL 1\nQUIT",
    "historic": "RPOP learner\nLAST\nXTND BBOARDS\n@in\nLAST\nXTND BBOARDS\nRPOP x\nQUIT",
    "not-ascii": "USER \u90f5\u5dee\nPASS \u5bc6\u78bc\nUTF8\nUSER \u90f5\u5dee\nPASS \u5bc6\u78bc\n\u4f60\u597d\nQUIT",
    "capa": "CAPA\nCAPA x\nSTLS\nCAPA\nCAPA\n@in\nCAPA\nQUIT",
    "stls": "STLS x\nSTLS\n:tls\nSTLS\nCAPA\n@in\n:tls\n:state\nSTAT\nQUIT",
    "stls-late": "@in\nSTLS\nQUIT",
    "apop": ":apop learner\nsecret\n\nSTAT\n:raw\n:ladder\nQUIT",
    "apop-wrong": ":apop\n:apop a b\n:apop learner\nwrong\n\n:apop learner\n\n:apop nobody\nsecret\n\nSTAT\nQUIT",
    "apop-forms": "APOP\nAPOP learner\nAPOP learner fish\nAPOP learner 0123456789ABCDEF0123456789ABCDEF\n"
    "APOP learner 0123456789abcdef0123456789abcdef\nAPOP learner 0123456789abcdef0123456789abcdef x\nQUIT",
    "apop-unsent": ":apop learner\nsecret\nSTAT\n\nQUIT",
    "auth": "AUTH\nAUTH FROB\nAUTH plain\n*\nAUTH PLAIN\nAGxlYXJuZXIAc2VjcmV0\nSTAT\n:raw\n:ladder\nQUIT",
    "auth-initial": "AUTH PLAIN AGxlYXJuZXIAc2VjcmV0\nSTAT\nQUIT",
    "auth-wrong": "AUTH PLAIN AGxlYXJuZXIAd3Jvbmc=\nAUTH PLAIN =\nAUTH PLAIN fish!\nAUTH PLAIN ZmlzaA==\n"
    "AUTH PLAIN\nfish!\n"
    "AUTH PLAIN\nZmlzaA==\nAUTH PLAIN\n=\nAUTH PLAIN\n\nAUTH PLAIN x y\nQUIT",
    "auth-open": "AUTH PLAIN",
    "auth-metas": "AUTH PLAIN\n:help\n:state\n:notes\n:explain *\n*\nAUTH PLAIN\n:drop\n:connect\nQUIT",
    "utf8": "UTF8\nUTF8 x\nUTF8 USER\nSTLS\nCAPA\n@in\nRETR 7\nUTF8\nQUIT",
    "utf8-needed": "@in\nRETR 7\nTOP 7 1\nQUIT",
    "lang": "LANG\nLANG en\nLANG zh-Hant\nLANG zh\nLANG *\nLANG miaow\nLANG en x\nFROB\n@in\n"
    "LANG zh-Hant\nRETR 99\nLANG en\nQUIT",
    "flight": "CAPA\n@in\n:flight\n:flight |\n:flight STAT\n:flight STAT | LIST | UIDL\n:flight STAT | | NOOP\n"
    ":flight RETR 99 | FROB | RETR 1\n:flight USER a | PASS b\n:flight DELE 1 | QUIT\n:flight NOOP | NOOP\nQUIT",
    "flight-unannounced": "@in\n:flight STAT | LIST\n:flight NOOP | QUIT | NOOP\nQUIT",
    "flight-secrets": ":flight PASS secret\n:flight USER learner | PASS secret\n:flight APOP a b\n"
    ":flight AUTH PLAIN x\nQUIT",
    "pasted-block": "USER learner\r\nPASS secret\r\nSTAT\r\nQUIT\r\n",
    "after-the-end": "QUIT\nSTAT\n:state\n:mailbox\n:raw\n:tls\n:help\n:fork\n:drop\n:apop learner\n"
    ":flight STAT\n:explain STAT\n:ladder",
    "connect": ":connect\n:connect practice\n@in\n:connect\nSTAT\n:connect practice x\n"
    ":connect localhost:1\n:connect bad host\n"
    ":connect pop://a:b@host\n:connect :1\n:connect [::1\nQUIT",
    "drop": ":drop\n:drop\n:connect\n@in\n:drop\n:drop now\nSTAT\n:connect\n@in\nDELE 1\n:drop\nQUIT",
    "save": ":save\n:save a.txt\n:save a.txt\n:save /no/such/dir/a.txt\n@in\nRETR 1\n:save b.txt\n"
    ":save --with-secrets\n"
    ":save --with-secrets c.txt\nyes\n:save --with-secrets d.txt\nno\n:sav --with-secrets e.txt\n\u662f\nQUIT",
    "notes": ":notes\n:notes brief\nSTAT\n@in\nLIST\n:notes off\nSTAT\nRETR 99\n:notes full\nSTAT\n"
    ":notes loud\n:notes full x\nQUIT",
    "lang-meta": ":lang\n:lang zh-Hant\nSTAT\n:help QUIT\n:lang zh_TW\n:lang en\nSTAT\n:lang fr\n:lang en x\nQUIT",
    "reveal": ":reveal\n:reveal on\nUSER learner\nPASS secret\n:raw\n:reveal off\n:reveal maybe\n:reveal on off\nQUIT",
    "state": ":state\n:state x\nUSER learner\n:state\nPASS secret\n:state\nDELE 1\n:state\nQUIT\n:state",
    "mailbox": ":mailbox\n@in\n:mailbox\nSTAT\n:mailbox\nLIST\n:mailbox\nUIDL\n:mailbox\nTOP 2 0\nRETR 3\n"
    "DELE 4\n:mailbox all\n"
    ":mailbox some\nQUIT\n:mailbox",
    "ladder": ":ladder\n:ladder x\n@in\nLIST\nRETR 1\nFROB\n:flight STAT | NOOP\nDELE 1\nQUIT\n:ladder\n"
    ":connect\n:ladder",
    "more": ":more\n:more all\n:more x\n@in\nRETR 6\n:more\n:more all\n:pager\n:help RETR\n:more\n:pager\nQUIT",
    "raw": ":raw\n:raw x\nFROB \u90f5\n:raw\n@in\n:raw\nRETR 7\n:raw\nAUTH PLAIN x\n:raw\nQUIT\n:raw",
    "tls-meta": ":tls\n:tls x\nSTLS\n:tls\nQUIT\n:tls",
    "fork": ":fork\n@in\n:fork\nDELE 2\nDELE 5\n:fork\n:fork x\nRSET\n:fork\nQUIT\n:fork",
    "meta-names": ":\n:?\n:h\n:q!\n:mail\n:l\n:le\n:s\n:stat\n:retr 1\n:pass secret\n:helpp\n:laddr\n"
    ":xyzzy\n: help QUIT\n:HELP QUIT\n:Help",
    "quit-metas": "@in\nDELE 1\n:quit",
    "exit-meta": ":exit",
    "q-meta": "STAT\n:q",
    "quit-with-argument": ":quit now\nSTAT",
    "help-overview": ":help\n@in\n:help\nQUIT\n:help",
    "help-commands": "\n".join(f":help {word}" for word in COMMANDS),
    "help-others": "\n".join(
        f":help {word}"
        for word in (
            "states AUTHORIZATION TRANSACTION UPDATE CLOSED AUTH-RESP-CODE EXPIRE IMPLEMENTATION LOGIN-DELAY "
            "PIPELINING RESP-CODES SASL [IN-USE] [AUTH] [SYS/TEMP] [SYS/PERM] [LOGIN-DELAY] [UTF8] [FROB] IN-USE "
            "SYS/TEMP retr frob :save save :apop :l commands/RETR codes/AUTH ../x"
        ).split()
    ),
    "explain": "\n".join(
        f":explain {line}".rstrip()
        for line in (
            "",
            "USER learner",
            "PASS secret",
            "PASS two words",
            "RETR 1",
            "RETR",
            "RETR 0",
            "RETR 1 2",
            "TOP 1 5",
            "LIST",
            "LIST 2",
            "UIDL 3",
            "DELE 1",
            "QUIT",
            "STAT",
            "NOOP x",
            "APOP learner 0123456789abcdef0123456789abcdef",
            "APOP learner x",
            "AUTH PLAIN AGxlYXJuZXIAc2VjcmV0",
            "AUTH",
            "CAPA",
            "STLS",
            "UTF8",
            "LANG zh-Hant",
            "LAST",
            "RPOP x",
            "FROB x y",
            "lsit",
            ":help",
            ":explain STAT",
            "\u90f5\u4ef6",
            "retr  1",
        )
    ),
    "explain-inside": "@in\nDELE 1\n:explain RETR 1\n:explain RETR 99\n:explain RETR 2\n:explain USER a\n"
    ":explain STLS\n"
    ":explain QUIT\n:explain RSET\n:explain TOP 1 1\n:explain LAST\nQUIT\n:explain STAT",
    "course-outside": ":lessons\n:lesson\n:hint\n:answer x\n:solution\n:skip\n:again\n:next\n:wait 5\n"
    ":reset\n:certificate c.txt",
    "course-misused": ":lessons x\n:lesson frob\n:lesson 99\n:lesson 1/frob\n:lesson 1/1\n:next x\n"
    ":hint x\n:answer\n:solution x\n"
    ":skip x\n:again x\n:wait\n:wait x\n:wait -1\n:wait 1 2\n:reset x\n:certificate",
    "wait": ":lesson 10\n:wait 5\n:wait 0.5\n:wait 599\n@in\n:wait 601\nSTAT\n:connect\nSTAT",
    "secrets-everywhere": "USER secret\nPASS secret\nRETR secret\nsecret\nUSER learner\nPASS secret\n"
    "USER secret\n:raw\n:ladder\n:save s.txt\nQUIT",
    "secret-typed-wrong": "PASS\nPAS secret\npass  secret\n PASS secret\nUSER learner\nPASS  secret\n"
    ":pass secret\n:PASS secret\nQUIT",
    "bytes": "USER \udcff\udcfe\nNOOP \udc80\nRETR \udcc3\nQUIT",
}

#: name -> (options, lines typed), to the practice server.
DIALOGUES_WITH: Mapping[str, tuple[Sequence[str], str]] = {
    "stop-on-err": (("--stop-on-err",), "NOOP\n@in\nQUIT"),
    "stop-on-err-late": (("--stop-on-err",), "@in\nSTAT\nRETR 99\nQUIT"),
    "stop-on-usage": (("--stop-on-err",), ":frob\nQUIT"),
    "yes": (("--yes",), "@in\nDELE 1\n:save --with-secrets c.txt\nQUIT"),
    "account": (
        ("--account", "mei:tea time", "--account", "hai:moth"),
        "USER mei\nPASS tea time\nSTAT\nQUIT\n:connect\nUSER hai\nPASS moth\nQUIT",
    ),
    "require-tls": (
        ("--require-tls",),
        "CAPA\nUSER learner\nPASS secret\nAPOP learner 0123456789abcdef0123456789abcdef\n"
        "AUTH PLAIN\nAUTH PLAIN AGxlYXJuZXIAc2VjcmV0\nSTLS\n@in\nQUIT",
    ),
    "maildrop": (
        ("--maildrop", "mails"),
        "@in\nSTAT\nLIST\nUIDL\nRETR 1\nRETR 2\nRETR 3\nTOP 2 1\n:raw\n:mailbox\nQUIT",
    ),
    "vi-and-ascii": (("--vi", "--ascii"), "@in\n:state\n:ladder\nQUIT"),
}

#: Files that stand in the home directory of each case: mails for `--maildrop`.
FILES: Mapping[str, bytes] = {
    "mails/1.eml": b"From: a@x.example\nSubject: plain\n\n.\n..two\nend\n",
    "mails/2.eml": "Subject: =?utf-8?b?6YO15beu?=\nFrom: \u90f5\u5dee <p@x.example>\n\n\u4fe1\n".encode(),
    "mails/3.eml": b"Subject: octets\n\n\xff\xfe caf\xe9 \x1b[31mred\x1b[0m \x07\n",
}

LISTING = b"+OK 2 messages\r\n1 100\r\n2 200\r\n.\r\n"
CLOSE = b"<close>"

#: A scripted server: the greeting, and answers by line or keyword; one that ends in CLOSE closes the connection. What
#: is not listed is answered as by `Peer` of tests/terminal/driver.py.
PEERS: Mapping[str, tuple[bytes, Mapping[str, bytes]]] = {
    "plain": (b"+OK ready\r\n", {}),
    "stamp": (
        b"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n",
        {"APOP": b"+OK maildrop has 1 message (369 octets)\r\n"},
    ),
    "courier": (
        b"+OK Hello there.\r\n",
        {
            "CAPA": b"+OK Here's what I can do:\r\nSTLS\r\nTOP\r\nUSER\r\nLOGIN-DELAY 10\r\nPIPELINING\r\n"
            b"UIDL\r\nIMPLEMENTATION Courier Mail Server\r\nEXPIRE 31 USER\r\nX-OWN thing\r\n.\r\n"
        },
    ),
    "bare-capa": (b"+OK\r\n", {"CAPA": b"+OK\r\n.\r\n"}),
    "no-capa": (b"+OK\r\n", {"CAPA": b"-ERR what?\r\n"}),
    "refuses": (b"-ERR too many connections\r\n", {}),
    "refuses-and-stays": (b"-ERR [SYS/TEMP] come back later\r\n", {}),
    "in-use": (
        b"+OK\r\n",
        {"PASS": b"-ERR [IN-USE] somebody reads here\r\n", "CAPA": b"+OK\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n"},
    ),
    "login-delay": (b"+OK\r\n", {"PASS": b"-ERR [LOGIN-DELAY] not so fast\r\n"}),
    "sys-temp": (b"+OK\r\n", {"PASS": b"-ERR [SYS/TEMP] disk away\r\n"}),
    "sys-perm": (b"+OK\r\n", {"PASS": b"-ERR [SYS/PERM] broken\r\n"}),
    "auth-code": (b"+OK\r\n", {"PASS": b"-ERR [AUTH] no\r\n", "USER": b"+OK\r\n"}),
    "auth-code-user": (b"+OK\r\n", {"USER": b"-ERR [AUTH] under TLS only\r\n"}),
    "utf8-code": (b"+OK\r\n", {"RETR": b"-ERR [UTF8] give UTF8 first\r\n"}),
    "own-code": (b"+OK\r\n", {"PASS": b"-ERR [X-MOON/FULL] not tonight\r\n"}),
    "bare-refusals": (
        b"+OK\r\n",
        dict.fromkeys("STAT LIST UIDL RETR TOP DELE RSET NOOP CAPA LANG UTF8 STLS AUTH QUIT".split(), b"-ERR\r\n"),
    ),
    "no-user": (b"+OK\r\n", {"USER": b"-ERR no clear text\r\n"}),
    "retr": (
        b"+OK\r\n",
        {
            "RETR 1": b"+OK 120 octets\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nFrom: x\r\n\r\n..dot\r\nline\r\n.\r\n",
            "RETR 2": b"+OK\r\n\xff\xfe\x1b[2J\x07caf\xe9\r\n\xe4\xbf\xa1\r\n.\r\n",
            "RETR 3": b"+OK empty\r\n.\r\n",
            "TOP": b"+OK\r\nSubject: t\r\n\r\n.\r\n",
            "UIDL": b"+OK\r\n1 aaa\r\n2 bbb\r\n.\r\n",
            "UIDL 1": b"+OK 1 aaa\r\n",
        },
    ),
    "long-retr": (
        b"+OK\r\n",
        {"RETR": b"+OK\r\n" + b"".join(b"line %d of the letter\r\n" % n for n in range(1, 301)) + b".\r\n"},
    ),
    "wide-retr": (b"+OK\r\n", {"RETR": b"+OK\r\n" + b"w" * 5000 + b"\r\n.\r\n"}),
    "odd-counts": (
        b"+OK\r\n",
        {
            "STAT": b"+OK\r\n",
            "LIST": b"+OK\r\n1 x\r\nfoo\r\n-1 5\r\n.\r\n",
            "UIDL": b"+OK\r\n1\r\n.\r\n",
            "LIST 1": b"+OK hello\r\n",
        },
    ),
    "stat-words": (b"+OK\r\n", {"STAT": b"+OK 3 300 (plus words)\r\n", "LIST 2": b"+OK 2 200 octets\r\n"}),
    "unasked": (b"+OK\r\n", {"NOOP": b"+OK\r\n+OK nobody asked\r\n"}),
    "unasked-late": (b"+OK\r\n+OK and one more\r\n", {}),
    "bare-lf": (b"+OK\r\n", {"STAT": b"+OK 1 1\n"}),
    "bare-lf-inside": (b"+OK\r\n", {"RETR": b"+OK\r\na\nb\n\r\n.\r\n"}),
    "lower-case": (b"+OK\r\n", {"STAT": b"+ok 1 1\r\n"}),
    "not-pop3": (b"* OK IMAP4rev1 ready\r\n", {}),
    "smtp": (b"220 mail.example ESMTP\r\n", {}),
    "http": (b"HTTP/1.1 400 Bad Request\r\n", {}),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", {}),
    "tls-bytes": (b"\x15\x03\x01\x00\x02\x02\x50\r\n", {}),
    "nonsense-later": (b"+OK\r\n", {"STAT": b"what was that\r\n"}),
    "challenge": (b"+OK\r\n", {"STAT": b"+ go on\r\n"}),
    "auth": (b"+OK\r\n", {"AUTH": b"+ \r\n", "AGEAYg==": b"+OK welcome\r\n", "*": b"-ERR cancelled\r\n"}),
    "auth-steps": (b"+OK\r\n", {"AUTH": b"+ Zmlyc3Q=\r\n", "YQ==": b"+ c2Vjb25k\r\n", "Yg==": b"+OK in\r\n"}),
    "auth-bad-challenge": (b"+OK\r\n", {"AUTH": b"+ !!!\r\n", "*": b"-ERR\r\n"}),
    "closes-at-once": (CLOSE, {}),
    "closes-mid-greeting": (b"+OK rea" + CLOSE, {}),
    "closes-no-reply": (b"+OK\r\n", {"STAT": CLOSE}),
    "closes-mid-line": (b"+OK\r\n", {"STAT": b"+OK 3 3" + CLOSE}),
    "closes-mid-listing": (b"+OK\r\n", {"LIST": b"+OK\r\n1 100\r\n2 2" + CLOSE}),
    "closes-after-reply": (b"+OK\r\n", {"NOOP": b"+OK bye now\r\n" + CLOSE}),
    "bad-bytes": (
        b"+OK \xff\x1b]0;title\x07 ready \xe2\x80\xae\r\n",
        {"STAT": b"+OK 1 1 \x00\x9b31m\r\n", "NOOP": b"-ERR \xf0\x9f\x93\xa8 \xc3\r\n"},
    ),
    "long-status": (b"+OK\r\n", {"NOOP": b"+OK " + b"n" * 600 + b"\r\n", "STAT": b"+OK " + b"n" * 9000 + b"\r\n"}),
    "secret-echo": (b"+OK\r\n", {"PASS": b"-ERR the password hunter2 is wrong for me\r\n"}),
    "stls-refused": (b"+OK\r\n", {"STLS": b"-ERR no TLS here\r\n", "CAPA": b"+OK\r\nSTLS\r\n.\r\n"}),
    "stls-injection": (b"+OK\r\n", {"STLS": b"+OK begin\r\n+OK injected\r\n"}),
    "stls-no-tls": (b"+OK\r\n", {"STLS": b"+OK begin\r\n" + CLOSE}),
    "utf8-lang": (
        b"+OK\r\n",
        {
            "CAPA": b"+OK\r\nUTF8 USER\r\nLANG\r\n.\r\n",
            "UTF8": b"+OK\r\n",
            "LANG": b"+OK\r\nen English\r\nfr Fran\xc3\xa7ais\r\n.\r\n",
            "LANG fr": b"+OK fr La langue\r\n",
            "LANG xx": b"-ERR no\r\n",
        },
    ),
    "accepts-all": (b"+OK\r\n", dict.fromkeys("FROB LAST RPOP STAT DELE".split(), b"+OK sure\r\n")),
    "quit-fails": (b"+OK\r\n", {"QUIT": b"-ERR some deleted messages not removed\r\n"}),
    "quit-sys-temp": (b"+OK\r\n", {"QUIT": b"-ERR [SYS/TEMP] not all removed\r\n" + CLOSE}),
}

#: case -> (scripted server, options, lines typed). `{peer}` is its address; if no option names it, HOST is added.
PEER_DIALOGUES: Mapping[str, tuple[str, Sequence[str], str]] = {
    "round": ("plain", (), "USER a\nPASS b\nSTAT\nLIST\nNOOP\nQUIT"),
    "dele-asks": ("plain", (), "USER a\nPASS b\nDELE 1\nQUIT"),
    "dele-yes": (
        "plain",
        ("--yes",),
        "USER a\nPASS b\nDELE 1\n:fork\n:reveal on\n:drop\n:connect\nUSER a\nPASS b\nDELE 1\nDELE 2\nQUIT",
    ),
    "quit-mail-left": ("plain", ("--yes",), "USER a\nPASS b\nDELE 1\n:quit"),
    "input-ends-with-marks": ("plain", ("--yes",), "USER a\nPASS b\nDELE 1"),
    "metas": (
        "plain",
        (),
        ":help\n:state\n:tls\n:raw\n:apop a\n:fork\n:mailbox\nUSER a\nPASS b\nSTAT\nLIST\n:mailbox\n"
        ":ladder\n:wait 5\n:save s.txt\n:drop",
    ),
    "url-user": ("plain", ("pop://mei@{peer}",), "PASS b\nUSER mei\nPASS b\nQUIT"),
    "from-practice": (
        "plain",
        ("--plain",),
        "@in\n:connect {peer}\nUSER a\nPASS b\nSTAT\n:connect\nNOOP\n:connect practice\n@in\nQUIT",
    ),
    "apop": ("stamp", (), ":apop mrose\ntanstaaf\n\nQUIT"),
    "apop-plain-greeting": ("plain", (), ":apop mrose\ntanstaaf\n\nAPOP a b\nQUIT"),
    "courier": ("courier", (), "CAPA\n:help\nUSER a\nPASS b\n:flight STAT | LIST | NOOP\n:flight LIST | QUIT\n:raw"),
    "bare-capa": ("bare-capa", (), "CAPA\nCAPA\nUSER a\nPASS b\nCAPA\nTOP 1 0\nUIDL\nQUIT"),
    "no-capa": ("no-capa", (), "CAPA\n:flight USER a | NOOP\nQUIT"),
    "refuses": ("refuses", (), "STAT\n:connect\nQUIT"),
    "refuses-and-stays": ("refuses-and-stays", (), "STAT\nUSER a\nQUIT"),
    **{
        name: (name, (), "CAPA\nUSER a\nPASS b\nRETR 1\nQUIT")
        for name in (
            "in-use",
            "login-delay",
            "sys-temp",
            "sys-perm",
            "auth-code",
            "auth-code-user",
            "utf8-code",
            "own-code",
            "no-user",
        )
    },
    "bare-refusals": (
        "bare-refusals",
        (),
        "CAPA\nLANG\nLANG xx\nUTF8\nSTLS\nAUTH PLAIN\nAUTH\nUSER a\nPASS b\nSTAT\nLIST\nLIST 1\nUIDL\nUIDL 1\nRETR 1\n"
        "TOP 1 0\nDELE 1\nRSET\nNOOP\nFROB\nLAST\nQUIT\n:state",
    ),
    "retr": (
        "retr",
        (),
        "USER a\nPASS b\nLIST\nUIDL\nUIDL 1\nRETR 1\nRETR 2\n:raw\nRETR 3\nTOP 1 0\n:mailbox\n:save s.txt\nQUIT",
    ),
    "long-retr": ("long-retr", (), "USER a\nPASS b\nRETR 1\n:more\n:more all\n:raw\nQUIT"),
    "wide-retr": ("wide-retr", (), "USER a\nPASS b\nRETR 1\n:raw\nQUIT"),
    "odd-counts": ("odd-counts", (), "USER a\nPASS b\nSTAT\nLIST\nLIST 1\nUIDL\n:mailbox\nQUIT"),
    "stat-words": ("stat-words", (), "USER a\nPASS b\nSTAT\nLIST 2\n:mailbox\nQUIT"),
    "unasked": ("unasked", (), "NOOP\nNOOP\nUSER a\n:ladder\nQUIT"),
    "unasked-late": ("unasked-late", (), "USER a\nPASS b\nSTAT\nQUIT"),
    **{
        name: (name, (), "USER a\nPASS b\nRETR 1\nSTAT\nNOOP\n:raw\n:ladder\n:save s.txt\nQUIT")
        for name in (
            "bare-lf",
            "bare-lf-inside",
            "lower-case",
            "nonsense-later",
            "challenge",
            "bad-bytes",
            "long-status",
        )
    },
    **{
        name: (name, (), "STAT\n:connect\n:ladder")
        for name in ("not-pop3", "smtp", "http", "ssh", "tls-bytes", "closes-at-once", "closes-mid-greeting")
    },
    "auth": ("auth", ("--yes",), "AUTH PLAIN\n*\nAUTH PLAIN\nAGEAYg==\n:raw\n:ladder\n:save s.txt\nQUIT"),
    "auth-asks": ("auth", (), "AUTH PLAIN\nAGEAYg==\nAUTH FROB\n*\nQUIT"),
    "auth-steps": ("auth-steps", (), "AUTH X-TWO\nYQ==\nYg==\n:raw\n:ladder\n:save s.txt\nQUIT"),
    "auth-bad-challenge": ("auth-bad-challenge", (), "AUTH X-TWO\n*\nQUIT"),
    "closes-no-reply": ("closes-no-reply", (), "STAT\nNOOP\n:state\n:ladder\n:connect\nQUIT"),
    "closes-mid-line": ("closes-mid-line", (), "STAT\nNOOP\n:raw"),
    "closes-mid-listing": ("closes-mid-listing", (), "USER a\nPASS b\nLIST\nNOOP\n:raw\n:mailbox"),
    "closes-after-reply": ("closes-after-reply", ("--yes",), "USER a\nPASS b\nDELE 1\nNOOP"),
    "secret-echo": ("secret-echo", (), "USER a\nPASS hunter2\n:raw\n:ladder\n:save s.txt\nQUIT"),
    "stls-refused": ("stls-refused", (), "CAPA\nSTLS\nUSER a\nQUIT"),
    "stls-refused-option": ("stls-refused", ("--tls", "stls", "{peer}"), "USER a\nQUIT"),
    "stls-injection": ("stls-injection", (), "STLS\nNOOP"),
    "stls-no-tls": ("stls-no-tls", (), "STLS\nNOOP"),
    "implicit-option": ("closes-at-once", ("--tls", "implicit", "{peer}"), "NOOP"),
    "utf8-lang": ("utf8-lang", (), "CAPA\nUTF8\nLANG\nLANG fr\nLANG xx\nSTLS\nQUIT"),
    "accepts-all": (
        "accepts-all",
        ("--yes",),
        "FROB\nSTAT\nLAST\nDELE 1\nUSER a\nPASS b\nLAST\nRPOP a\nXTND B\nDELE 0\nDELE 9\nQUIT",
    ),
    "quit-fails": ("quit-fails", ("--yes",), "USER a\nPASS b\nDELE 1\nQUIT\n:state"),
    "quit-sys-temp": ("quit-sys-temp", ("--yes",), "USER a\nPASS b\nDELE 1\nQUIT\n:state"),
    "lessons-on-a-real-server": (
        "plain",
        (),
        ":lesson 1\nQUIT\n:connect {peer}\n:hint\n:answer x\n:connect practice\nQUIT",
    ),
}

#: name -> (arguments, standard input). `serve` and what talks to it is done by the program itself.
COMMAND_LINES: Mapping[str, tuple[Sequence[str], str]] = {
    "help": (("--help",), ""),
    "h": (("-h",), ""),
    "help-learn": (("learn", "--help"), ""),
    "help-serve": (("serve", "--help"), ""),
    "help-lint": (("lint", "--help"), ""),
    "help-lesson": (("lesson", "--help"), ""),
    "help-lesson-new": (("lesson", "new", "--help"), ""),
    "help-host": (("host", "--help"), ""),
    "version": (("--version",), ""),
    "V": (("-V",), ""),
    "version-learn": (("learn", "--version"), ""),
    "unknown-option": (("--frob",), ""),
    "near-option": (("--plane",), ""),
    "unknown-short": (("-x",), ""),
    "option-of-other": (("--port", "1"), ""),
    "option-of-lint": (("--fix-dialogues",), ""),
    "tls-with-serve": (("serve", "--tls", "none"), ""),
    "account-with-host": (("127.0.0.1:1", "--account", "a:b"), ""),
    "require-tls-with-learn": (("learn", "--require-tls"), ""),
    "tls-no-value": (("--tls",), ""),
    "tls-bad": (("--tls", "maybe"), ""),
    "lang-bad": (("--lang", "fr"), ""),
    "lang-no-value": (("--lang",), ""),
    "lang-equals": (("--lang=zh-Hant", "--plain"), "QUIT"),
    "plain-with-value": (("--plain=yes",), ""),
    "port-bad": (("serve", "--port", "x"), ""),
    "port-big": (("serve", "--port", "70000"), ""),
    "port-negative": (("serve", "--port", "-1"), ""),
    "account-bad": (("--account", "nobody"), ""),
    "account-blank": (("--account", "a b:c"), ""),
    "account-twice": (("--account", "a:b", "--account", "a:c"), ""),
    "account-unusable": (("--account", "a:\u00ad"), ""),
    "maildrop-missing": (("--maildrop", "no-such"), ""),
    "maildrop-file": (("--maildrop", "mails/1.eml"), ""),
    "lessons-missing": (("--lessons", "no-such"), ""),
    "lessons-empty-learn": (("learn", "--lessons", "mails"), ""),
    "ca-missing": (("--ca", "no-such"), ""),
    "ca-bad": (("--ca", "mails/1.eml"), ""),
    "too-many-hosts": (("a", "b"), ""),
    "too-many-learn": (("learn", "1", "2"), ""),
    "too-many-serve": (("serve", "x"), ""),
    "host-bad": (("bad host",), ""),
    "host-password": (("pop://a:secret@host",), ""),
    "host-port": (("127.0.0.1:99999",), ""),
    "host-refused": (("127.0.0.1:1",), "QUIT"),
    "host-refused-json": (("--json", "127.0.0.1:1"), "QUIT"),
    "host-scheme": (("http://host",), ""),
    "host-empty": (("",), ""),
    "dashes": (("--", "127.0.0.1:1"), ""),
    "dashes-learn": (("--", "learn"), ""),
    "subcommand-case": (("Learn", "--tls", "none"), ""),
    "learn-no-such": (("learn", "frob"), ""),
    "learn-number": (("learn", "2"), "QUIT\n:lessons"),
    "learn-name": (("--plain", "learn", "apop"), ":hint"),
    "learn-exercise": (("learn", "13/never-said"), ":hint"),
    "learn-json": (("learn", "1", "--json"), "HELLO\nQUIT\n:next\n:hint\nHELLO"),
    "options-before": (("--plain", "--ascii", "learn", "1"), "QUIT"),
    "options-after": (("learn", "1", "--plain", "--ascii"), "QUIT"),
    "plain-json": (("--plain", "--json"), "NOOP\nQUIT"),
    "json-usage": (("--json",), ":frob\nQUIT"),
    "no-line-end": ((), "QUIT"),
    "lesson-alone": (("lesson",), ""),
    "lesson-other": (("lesson", "old", "01-x"), ""),
    "lesson-new": (("lesson", "new", "01-trip", "--lessons", "course"), ""),
    "lesson-new-again": (("lesson", "new", "01-trip", "--lessons", "broken"), ""),
    "lesson-new-bad-name": (("lesson", "new", "Trip", "--lessons", "course"), ""),
    "lesson-new-no-name": (("lesson", "new"), ""),
    "lint": (("lint",), ""),
    "lint-good": (("lint", "good"), ""),
    "lint-broken": (("lint", "broken"), ""),
    "lint-fix": (("lint", "broken", "--fix-dialogues"), ""),
    "lint-mark": (("lint", "broken", "--mark-translated"), ""),
    "lint-missing": (("lint", "no-such"), ""),
    "lint-empty": (("lint", "course"), ""),
    "lint-two": (("lint", "a", "b"), ""),
    "lint-words": (("lint", "words"), ""),
    "words-broken": (("--lessons", "words"), "QUIT"),
    "learn-own": (("learn", "--lessons", "good"), "STAT\n:hint\nQUIT\n:lessons\n:certificate c.txt"),
    "learn-broken": (("learn", "--lessons", "broken"), "QUIT"),
    "learn-own-id": (("learn", "--lessons", "taken"), "QUIT"),
}

_HEAD = """+++
id = "trip"
title = "A trip"
teaches = ["STAT", "QUIT"]

[[exercise]]
id = "count"
kind = "answer"
answer = ["7"]
start = ["USER learner", "PASS secret"]
solution = ["STAT", ":answer 7"]

[[exercise]]
id = "leave"
kind = "do"
solution = ["QUIT"]
check = [{ replied = { command = "QUIT", ok = true } }]
wrong = [{ lines = ["EXIT"], say = "exit" }]
+++
A trip in two steps (RFC 1939 \u00a75).

```pop3
C: NOOP
S: -ERR not in this state
```

## count
How many?

### hint
`STAT`.

### solved
So many (RFC 1939 \u00a75).

## leave
Leave with `QUIT`.

### hint
`QUIT`.

### solved
Gone (RFC 1939 \u00a76).

### wrong exit
Not that word.
"""
_HEAD_ZH = """+++
title = "\u65c5\u884c"
+++
""" + _HEAD.split("+++\n")[2].replace("A trip in two steps", "\u5206\u5169\u6b65\u7684\u65c5\u884c").replace(
    "How many?", "\u5e7e\u5c01\uff1f"
).replace("So many", "\u5c31\u9019\u4e9b").replace("Leave with", "\u96e2\u958b\uff1a").replace(
    "Gone", "\u8d70\u4e86"
).replace("Not that word.", "\u4e0d\u662f\u9019\u500b\u5b57\u3002")
_BROKEN = (
    _HEAD.replace('solution = ["QUIT"]', 'solution = ["STAT"]')
    .replace("S: -ERR not in this state", "S: +OK fine")
    .replace("\u00a75", "\u00a799")
    .replace("### hint\n`QUIT`.\n", "")
    .replace('say = "exit"', 'say = "other"')
    .replace('teaches = ["STAT", "QUIT"]', 'teaches = ["STAT", "FROB", "UIDL"]')
    + "\n## stray\nNothing.\n\n`:frob` and `:reset`.\n"
)

#: Courses for lint and `learn --lessons`: a good one, a broken one, broken words, and one that takes our course's id.
COURSES: Mapping[str, str] = {
    "good/course.toml": 'id = "trip"\nlessons = ["01-trip"]\n',
    "good/en/01-trip.md": _HEAD,
    "good/zh-Hant/01-trip.md": _HEAD_ZH,
    "broken/course.toml": 'id = "broken"\nlessons = ["01-trip", "02-none", "01-trip", "Bad"]\nextra = 1\n',
    "broken/en/01-trip.md": _BROKEN,
    "broken/zh-Hant/01-trip.md": _HEAD_ZH.replace("`QUIT`", "`STAT`"),
    "broken/en/commands/RETR.md": "+++\nsummary = 'x'\nfrob = 1\n+++\nText.\n\n## Pitfalls\n\n```pop3 FROB\nX\n```\n",
    "broken/en/notes.txt": "stray\n",
    "words/en/messages.toml": "[shell\n",
    "taken/course.toml": 'id = "pop3"\nlessons = ["01-trip"]\n',
    "taken/en/01-trip.md": _HEAD,
}

#: A terminal scenario: options, and steps (keys, what has to be on the screen then: "" is the empty prompt, name of
#: the picture or "" for none).
Step = tuple[str, str, str]
SCENARIOS: Mapping[str, tuple[Sequence[str], Sequence[Step]]] = {
    "shell": (
        (),
        (
            ("", "", "first-screen"),
            ("STA", "STA", "typing-a-command"),
            ("T", "STAT", "warning-behind-the-cursor"),
            ("\r", "", "error"),
            ("US\t", "USER", "completed-word"),
            ("learner\r", "", "user"),
            ("PASS sec", "PASS \u2022\u2022\u2022", "masked-password"),
            ("ret\r", "", "logged-in"),
            ("R\t\t", "RETR", "completion-menu"),
            ("\x03", "", ""),
            ("LIST\r", "", "list"),
            ("RETR 2\r", "", "retr"),
            ("TOP 6 0\r", "", "top"),
            ("DELE 1\r", "", "marked"),
            ("RETR 1", "RETR 1", "warning-marked"),
            ("\x15:help\r", "", "help"),
            (":help QUIT\r", "", "help-page"),
            (":state\r", "", "state"),
            (":mailbox\r", "", "mailbox"),
            (":ladder\r", "", "ladder"),
            (":fork\r", "", "fork"),
            (":raw\r", "", "raw"),
            (":explain TOP 1 5 x\r", "", "explain"),
            (":frob\r", "", "unknown-meta"),
            (":no\t", ":notes", "meta-completed"),
            ("\x15", "", ""),
            (":flight STAT | NOOP | LIST 2\r", "", "flight"),
            ("\x1b[200~STAT\nNOOP\n\x1b[201~", "NOOP", "pasted-block"),
            ("\r", "y:|\u662f\uff1a", "block-asks"),
            ("y\r", "", "block-sent"),
            ("\x1b[A", "NOOP", "history-up"),
            ("\x03", "", ""),
            ("QUIT\r", "", "quit"),
            ("STAT", "STAT", "closed-warning"),
            ("\x15:connect\r", "", "connected-again"),
            (":drop\r", "", "dropped"),
        ),
    ),
    "login": (
        (),
        (
            ("", "", ""),
            ("CAPA\r", "", "capa"),
            ("STLS\r", "", "stls"),
            (":apop learner\r", "Password|\u5bc6\u78bc\uff08", "apop-password"),
            ("secret\r", "APOP learner", "apop-ready"),
            ("\r", "", "apop-sent"),
            ("LANG zh-Hant\r", "", "lang"),
            ("\x04", "!", ""),
        ),
    ),
    "auth": (
        (),
        (
            ("", "", ""),
            ("AUTH PLAIN\r", "!", "challenge"),
            ("AGxl", "\u2022\u2022\u2022\u2022", "masked-answer"),
            ("\x15*\r", "", "cancelled"),
            (":reveal on\r", "", "reveal"),
            ("PASS secret", "PASS secret", "revealed"),
        ),
    ),
    "course": (
        ("learn", "1"),
        (
            ("", "Enter", "lesson-text"),
            ("", "", "lesson-task"),
            ("EXIT\r", "", "wrong-turn"),
            (":hint\r", "", "hint"),
            ("QUIT\r", "", "solved"),
            (":next\r", "", "next-exercise"),
            (":lesson 1/quit-please\r", "", "quiz-task"),
            ("QUIT PLEASE\r", ":answer", "quiz-held"),
            (":answer +OK CLOSED one\r", "", "quiz-wrong"),
            (":again\r", "", "quiz-again"),
            (":lessons\r", "", "lessons"),
            (":lesson 13/comma-and-capitals\r", "", "repair"),
            (":skip\r", "", "skipped"),
        ),
    ),
    "ascii": (
        ("--ascii",),
        (
            ("", "", "first-screen"),
            ("USER learner\r", "", ""),
            ("PASS secret\r", "", "logged-in"),
            ("DELE 2\r", "", "marked"),
            (":state\r", "", "state"),
            (":ladder\r", "", "ladder"),
            (":mailbox\r", "", "mailbox"),
        ),
    ),
    "vi": (("--vi",), (("", "", ""), ("STAT\x1b", "STAT", "vi-navigation"), ("bdw", "", "vi-deleted"))),
}

#: `--plain` in a terminal: what is typed, and what has to be seen before the next line is.
PLAIN_TERMINAL: Sequence[tuple[str, str]] = (
    ("STAT", "-ERR"),
    ("USER learner", "send PASS"),
    ("PASS secret", "TRANSACTION]"),
    ("DELE 1", "deleted"),
    (":help", ":quit  "),
    (":state", "| CLOSED"),
    ("QUIT", "STATE: CLOSED]|CLOSED]"),
    (":quit", "!"),
)

#: What stays in tests/corpus/v1/: dialogues with the practice server (on the mails of FILES), and with scripted ones.
#: None of them asks for what may grow: the list of CAPA, the languages.
KEPT: Sequence[str] = (
    "first-round deleted-for-good wrong-password numbers marked blanks controls unknown-words historic not-ascii "
    "stls-late apop-forms auth-wrong bytes"
).split()
KEPT_SERVERS: Sequence[str] = (
    "round courier retr odd-counts unasked bare-lf lower-case not-pop3 challenge bad-bytes auth-steps closes-no-reply "
    "closes-mid-line closes-mid-listing secret-echo stls-injection own-code accepts-all"
).split()
