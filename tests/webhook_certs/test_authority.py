"""CAs and leaves: their contents, validity and issuers."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from webhook_certs.authority import (
    BACKDATE,
    Authority,
    create_authority,
    cross_sign,
    fingerprint,
    issue_leaf,
    load_certificate,
)
from webhook_certs.errors import CertificateError

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
AUTHORITY = create_authority("livery", NOW, 10 * DAY)
_OLD = create_authority("livery", NOW - 20 * DAY, 10 * DAY)


def test_two_cas_are_never_taken_for_each_other() -> None:
    names = {
        load_certificate(create_authority("livery", at).certificate_pem).subject
        for at in (NOW, NOW + timedelta(microseconds=1), NOW + DAY)
    }

    assert len(names) == 3


def test_a_ca_may_sign_and_serve_nothing() -> None:
    extensions = load_certificate(AUTHORITY.certificate_pem).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)

    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)


@pytest.mark.parametrize(
    ("lifetime", "end"), [(DAY, NOW + DAY), (20 * DAY, NOW + 10 * DAY)], ids=["own", "of-the-ca"]
)
def test_a_leaf_is_valid_from_before_it_was_made_to_its_end_or_its_cas(
    lifetime: timedelta, end: datetime
) -> None:
    leaf = issue_leaf(AUTHORITY, ["a"], NOW, lifetime=lifetime)
    certificate = load_certificate(leaf.chain_pem)

    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (
        NOW - BACKDATE,
        end,
    )
    assert (leaf.not_before, leaf.not_after) == (NOW - BACKDATE, end)


@pytest.mark.parametrize("at", [NOW - 2 * BACKDATE, NOW + 10 * DAY, NOW + 11 * DAY])
def test_a_ca_signs_in_its_time_only(at: datetime) -> None:
    with pytest.raises(CertificateError, match="expired or is not valid yet"):
        issue_leaf(AUTHORITY, ["a"], at)


def test_names_and_addresses_stand_where_clients_look() -> None:
    names = ["a.example", "*.b.example", "127.0.0.1", "::1"]
    certificate = load_certificate(issue_leaf(AUTHORITY, names, NOW).chain_pem)
    sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert sans.get_values_for_type(x509.DNSName) == ["a.example", "*.b.example"]
    assert [str(item) for item in sans.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_name_too_long_for_a_subject_is_whole_among_the_names() -> None:
    name = ".".join(["x" * 60] * 4)
    certificate = load_certificate(issue_leaf(AUTHORITY, [name], NOW).chain_pem)
    sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert sans.get_values_for_type(x509.DNSName) == [name]


@pytest.mark.parametrize("names", [[], [""], ["a", ""], ["\u00fcn\u00ef"]])
def test_a_leaf_for_nobody_is_refused(names: list[str]) -> None:
    with pytest.raises(CertificateError, match="name"):
        issue_leaf(AUTHORITY, names, NOW)


def test_a_leaf_is_signed_by_its_ca_and_sent_with_what_stands_between() -> None:
    newer = create_authority("livery", NOW, 20 * DAY)
    crossed = cross_sign(AUTHORITY, newer, NOW)
    leaf = issue_leaf(newer, ["a"], NOW, intermediates_pem=crossed)
    first, second = x509.load_pem_x509_certificates(leaf.chain_pem.encode())

    first.verify_directly_issued_by(second)
    second.verify_directly_issued_by(load_certificate(AUTHORITY.certificate_pem))
    first.verify_directly_issued_by(load_certificate(newer.certificate_pem))
    assert second.not_valid_after_utc == NOW + 10 * DAY


def test_a_fingerprint_is_the_hash_of_the_certificate_itself() -> None:
    der = ssl.PEM_cert_to_DER_cert(AUTHORITY.certificate_pem)
    digest = hashlib.sha256(der).hexdigest().upper()

    assert fingerprint(AUTHORITY.certificate_pem).replace(":", "") == digest
    assert fingerprint(AUTHORITY.certificate_pem)[2::3] == ":" * 31


@pytest.mark.parametrize("pem", ["", "nonsense", "\u00fc", AUTHORITY.key_pem])
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    with pytest.raises(CertificateError, match="not a PEM certificate"):
        load_certificate(pem)


def test_a_key_that_is_none_or_of_another_kind_signs_nothing() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    for text, reason in ((pem, "not an elliptic curve key"), ("nonsense", "not a PEM private key")):
        with pytest.raises(CertificateError, match=reason):
            issue_leaf(Authority(AUTHORITY.certificate_pem, text), ["a"], NOW)


def test_an_encrypted_key_signs_nothing() -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        .decode()
    )
    with pytest.raises(CertificateError, match="not a PEM private key"):
        issue_leaf(Authority(AUTHORITY.certificate_pem, pem), ["a"], NOW)


def test_a_ca_that_has_expired_vouches_for_none() -> None:
    for signer, signed in ((AUTHORITY, _OLD), (_OLD, AUTHORITY)):
        with pytest.raises(CertificateError, match="expired"):
            cross_sign(signer, signed, NOW)
