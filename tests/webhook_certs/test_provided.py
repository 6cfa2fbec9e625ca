"""A provided certificate: served if it is usable, otherwise refused with a reason."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from webhook_certs.authority import Authority, create_authority, issue_leaf
from webhook_certs.errors import CertificateError
from webhook_certs.provided import read_provided

NAME = "livery-injector.livery-system.svc"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
AUTHORITY = create_authority("theirs", NOW)


def provided(*names: str, authority: Authority = AUTHORITY, now: datetime = NOW) -> dict[str, str]:
    """Return what cert-manager puts into a Secret."""
    leaf = issue_leaf(authority, names or (NAME,), now, lifetime=timedelta(days=90))
    return {"tls.crt": leaf.chain_pem, "tls.key": leaf.key_pem, "ca.crt": authority.certificate_pem}


def test_a_certificate_that_fits_is_served_as_it_is() -> None:
    files = provided("other", NAME)

    material = read_provided(files, NAME, NOW, "Secret a/b")

    assert material.leaf.chain_pem == files["tls.crt"]
    assert material.leaf.not_after == NOW + timedelta(days=90)
    assert material.bundle_pem == files["ca.crt"]
    assert NOW < material.renew_at <= NOW + timedelta(hours=1)


def test_a_wildcard_counts_for_one_label() -> None:
    files = provided("*.livery-system.svc")

    assert read_provided(files, NAME, NOW, "here").leaf.chain_pem == files["tls.crt"]
    with pytest.raises(CertificateError, match="not for"):
        read_provided(files, f"a.{NAME}", NOW, "here")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ca.crt": ""}, "ca.crt is missing"),
        ({"tls.key": ""}, "tls.key is missing"),
        ({"tls.crt": "nonsense"}, "tls.crt is not a PEM certificate"),
        ({"ca.crt": "nonsense"}, "ca.crt is not a PEM certificate"),
        ({"tls.key": "nonsense"}, "tls.key is not a PEM key"),
        ({"tls.key": provided()["tls.key"]}, "tls.key is not the key of tls.crt"),
        (provided("elsewhere"), "the certificate is not for livery-injector"),
        ({"ca.crt": "x" * (300 << 10)}, "ca.crt is over 256 KiB"),
        (
            {"ca.crt": create_authority("other", NOW).certificate_pem},
            "tls.crt is not signed by ca.crt",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(change: dict[str, str], reason: str) -> None:
    with pytest.raises(CertificateError, match=f"^Secret a/b: {reason}"):
        read_provided({**provided(), **change}, NAME, NOW, "Secret a/b")


@pytest.mark.parametrize("days", [-1, 91])
def test_a_certificate_counts_in_its_time_only(days: int) -> None:
    with pytest.raises(CertificateError, match="not now"):
        read_provided(provided(), NAME, NOW + timedelta(days=days), "here")


def test_what_stands_around_the_cas_is_left_out() -> None:
    files = provided()
    other = create_authority("other", NOW).certificate_pem
    odd = f"# Ubersicht \u00fc\n{files['ca.crt'].rstrip()}\n\n{other.rstrip()}"

    material = read_provided({**files, "ca.crt": odd}, NAME, NOW, "here")

    assert material.bundle_pem == files["ca.crt"] + other


def test_a_key_too_weak_to_be_served_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    sans = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    certificate = builder.add_extension(sans, critical=False).sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()

    with pytest.raises(CertificateError, match="cannot be used"):
        read_provided({"tls.crt": pem, "tls.key": key_pem, "ca.crt": pem}, NAME, NOW, "here")
