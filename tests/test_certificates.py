"""The chain of a handshake, whether it was verified or refused, and the check that failed."""

from __future__ import annotations

import ssl
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support import each

from popshell.config import read_pin
from popshell.net.certificates import Handshake, covers, pin_of, report, watched

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
HOST = "pop.example.org"


class Made:
    """A certificate and its key, issued by `by` or by itself."""

    def __init__(self, name: str, by: Made | None = None, **how: Any) -> None:
        self.key = how.get("key") or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by, ca = by or self, how.get("ca", False)
        key = self.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.certificate.subject if by is not self else subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(how.get("begins", NOW - 30 * DAY))
            .not_valid_after(how.get("ends", NOW + 30 * DAY))
            .add_extension(x509.BasicConstraints(ca, how.get("below")), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if ca and how.get("usage", True):
            usage = x509.KeyUsage("names" not in how, *(False,) * 4, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        if "limit" in how:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(how["limit"])], None), critical=True)
        if not ca or "names" in how:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        if "purpose" in how:
            builder = builder.add_extension(x509.ExtendedKeyUsage([how["purpose"]]), critical=False)
        self.certificate = builder.sign(by.key, hashes.SHA256())
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return ssl.DER_cert_to_PEM_cert(self.der)


ROOT = Made("Root", ca=True)
MIDDLE = Made("Middle", ROOT, ca=True)
GOOD = Made(HOST, MIDDLE)


def shake(
    tmp_path: Any, sent: list[Made], *, trusted: Made = ROOT, name: str = HOST, strict: bool = False
) -> tuple[dict[str, Any], Any]:
    """A handshake in memory; the report of it, and what the client kept."""
    file = tmp_path / "server.pem"
    key = sent[0].key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(key + "".join(one.pem for one in sent).encode())
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(file)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.load_verify_locations(cadata=trusted.pem)
    if strict:
        ours.verify_flags |= ssl.VERIFY_X509_STRICT
    kept = Handshake()
    watched(ours, kept)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = theirs.wrap_bio(up, down, server_side=True)
    client = ours.wrap_bio(down, up, server_hostname=name)
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return report(kept.chain(), name, code=error.verify_code, message=error.verify_message), kept
    return report(kept.chain(), name, anchor=next(reversed(kept.chain(verified=True)), None)), kept


def test_a_verified_chain(tmp_path: Any) -> None:
    found, kept = shake(tmp_path, [GOOD, MIDDLE])
    assert kept.chain() == (GOOD.der, MIDDLE.der)
    assert kept.first[:2] == b"\x16\x03"
    assert {key: found[key] for key in ("name", "check", "link", "openssl", "anchor", "ordered")} == {
        "name": HOST, "check": "", "link": 0, "openssl": "", "anchor": "CN=Root", "ordered": True,
    }  # fmt: skip
    first, second = found["chain"]
    assert first == {
        "subject": f"CN={HOST}",
        "names": [HOST],
        "issuer": "CN=Middle",
        "valid_from": (NOW - 30 * DAY).replace(microsecond=0).isoformat(" ", "minutes"),
        "valid_until": (NOW + 30 * DAY).replace(microsecond=0).isoformat(" ", "minutes"),
        "days": 29,
        "key": "EC secp256r1",
        "signature": "ecdsa-with-SHA256",
        "fingerprint": GOOD.certificate.fingerprint(hashes.SHA256()).hex(),
        "pin": pin_of(GOOD.der),
        "faults": [],
    }
    assert (second["subject"], second["names"], second["faults"]) == ("CN=Middle", [], [])


def test_each_check_that_can_fail_and_the_link_that_it_failed_at(tmp_path: Any) -> None:
    stale = {"begins": NOW - 60 * DAY, "ends": NOW - 12 * DAY - DAY / 2}
    old_middle = Made("Middle", ROOT, ca=True, **stale)
    bare = Made("Bare", ca=True, usage=False)
    other = Made("Root", ca=True)
    table: list[tuple[str, int, dict[str, Any]]] = [
        ("expired", 1, {"sent": [Made(HOST, MIDDLE, **stale), MIDDLE]}),
        ("expired", 2, {"sent": [Made(HOST, old_middle), old_middle]}),
        ("expired", 0, {"sent": [Made(HOST, o := Made("Old", ca=True, **stale))], "trusted": o}),
        ("not-yet-valid", 1, {"sent": [Made(HOST, MIDDLE, begins=NOW + 3 * DAY), MIDDLE]}),
        ("name", 1, {"sent": [Made("imap.example.org", MIDDLE), MIDDLE]}),
        ("name", 1, {"sent": [GOOD, MIDDLE], "name": "192.0.2.1"}),
        ("no-issuer", 1, {"sent": [GOOD]}),
        ("no-issuer", 2, {"sent": [GOOD, MIDDLE], "trusted": bare}),
        ("own-root", 3, {"sent": [GOOD, MIDDLE, ROOT], "trusted": bare}),
        ("self-signed", 1, {"sent": [Made(HOST)]}),
        ("purpose", 1, {"sent": [Made(HOST, MIDDLE, purpose=ExtendedKeyUsageOID.CLIENT_AUTH), MIDDLE]}),
        ("not-ca", 2, {"sent": [Made("below.example.org", GOOD), GOOD, MIDDLE]}),
        ("purpose", 1, {"sent": [o := Made(HOST, ca=True, names=True)], "trusted": o}),
        ("path-length", 3, {"sent": [
            Made(HOST, m := Made("Lower", t := Made("Upper", ROOT, ca=True, below=0), ca=True)), m, t]}),
        ("name-constraint", 1, {"sent": [Made(HOST, c := Made("C", ROOT, ca=True, limit="example.net")), c]}),
        ("weak", 1, {"sent": [Made(HOST, MIDDLE, key=rsa.generate_private_key(65537, 1024)), MIDDLE]}),
        ("form", 0, {"sent": [Made(HOST, bare)], "trusted": bare, "strict": True}),
        ("form", 2, {"sent": [Made(HOST, b := Made("B", ROOT, ca=True, usage=False)), b], "strict": True}),
        ("signature", 0, {"sent": [GOOD, MIDDLE], "trusted": other}),
    ]  # fmt: skip

    def check(check: str, link: int, how: dict[str, Any]) -> None:
        if check == "weak":  # the server's end must send it
            found = report([one.der for one in how["sent"]], HOST, code=66, message="EE certificate key too weak")
        elif check == "signature":
            found = report([one.der for one in how["sent"]], HOST, code=7, message="certificate signature failure")
        else:
            found, _ = shake(tmp_path, **how)
        assert (found["check"], found["link"]) == (check, link), found["openssl"]
        assert len(found["chain"]) == len(how["sent"])
        assert found["anchor"] == "", "nothing was verified"

    each(table, check)


def test_what_is_seen_beside_the_check_that_failed_first(tmp_path: Any) -> None:
    stale = Made("imap.example.org", begins=NOW - 60 * DAY, ends=NOW - 12 * DAY - DAY / 2)
    found, _ = shake(tmp_path, [stale])
    assert (found["check"], found["chain"][0]["faults"], found["chain"][0]["days"]) == (
        "self-signed", ["expired", "name", "self-signed"], 12,
    )  # fmt: skip
    found, _ = shake(tmp_path, [GOOD, ROOT, MIDDLE], trusted=Made("Else", ca=True))
    assert (found["check"], found["link"], found["ordered"]) == ("own-root", 2, False)


def test_an_address_that_stands_there_as_a_name_is_not_said_to_be_one() -> None:
    found = report([Made("127.0.0.1").der], "127.0.0.1", code=64)
    assert (found["chain"][0]["names"], "name" in found["chain"][0]["faults"]) == (["DNS:127.0.0.1"], True)


def test_a_strict_context_names_the_check(tmp_path: Any) -> None:
    default = ssl.create_default_context().verify_flags & ssl.VERIFY_X509_STRICT
    assert bool(default) == (sys.version_info >= (3, 13))
    bare = Made("Bare", ca=True, usage=False)
    found, _ = shake(tmp_path, [Made("other.example", bare)], trusted=bare, strict=True)
    assert found["openssl"].startswith("92: ")


def test_what_is_no_certificate_is_no_error() -> None:
    junk = GOOD.der[:40] + bytes(reversed(GOOD.der[40:]))
    for octets in (b"", b"\x30", b"hello", GOOD.der[:100], junk):
        found = report([octets, GOOD.der], HOST, code=20)
        assert found["chain"][1]["subject"] == f"CN={HOST}"
        assert len(found["chain"][0]["fingerprint"]) == 64
    assert report([], HOST, code=20)["link"] == 0


def test_an_odd_certificate_gives_no_warning_on_the_terminal(recwarn: pytest.WarningsRecorder) -> None:
    negative = bytearray(GOOD.der)
    assert negative[13] == 0x02  # the serial number, its length, and its first octet
    negative[15] |= 0x80
    assert report([bytes(negative)], HOST)["chain"][0]["subject"] == f"CN={HOST}"
    assert pin_of(bytes(negative)) == pin_of(GOOD.der)
    assert not recwarn.list


def test_pins() -> None:
    pin = pin_of(GOOD.der)
    digest = hashes.Hash(hashes.SHA256())
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    digest.update(GOOD.key.public_key().public_bytes(serialization.Encoding.DER, info))
    digits = digest.finalize().hex()
    pairs = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    renewed = Made(HOST, MIDDLE, key=GOOD.key)
    for form in (pin, pin.replace(":", "//"), f"sha256:{digits}", f"SHA256:{pairs.upper()}"):
        assert read_pin(form) == pin == pin_of(renewed.der)
    assert read_pin(f"{pin}, sha256:{digits}") == f"{pin},{pin}"
    for wrong in (
        "",
        "sha256",
        "sha256:",
        pin + ",",
        ",",
        f"{pin},x",
        "md5:" + digits,
        "sha256:" + digits[:-2],
        digits,
        pin + "A",
        "sha256:ä",
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            read_pin(wrong)


def test_names() -> None:
    rows = [
        ("pop.example.org", "POP.example.org.", True),
        ("*.example.org", "pop.example.org", True),
        ("*.example.org", "a.pop.example.org", False),
        ("*.example.org", "example.org", False),
        ("pop.example.org", "example.org", False),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("DNS:127.0.0.1", "127.0.0.1", False),
    ]
    each(rows, lambda pattern, name, wanted: covers(pattern, name) is wanted or pytest.fail("not so"))
