"""A CA and the leaf certificates that it signs, with ECDSA P-256 keys.

Source: https://www.rfc-editor.org/rfc/rfc5280 (extensions) and RFC 9525 (names in SANs only).
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook_certs.errors import CertificateError

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(hours=24)
BACKDATE = timedelta(minutes=5)
"""Clocks of nodes differ: a certificate is valid from shortly before it is issued."""


class Authority(NamedTuple):
    """A CA: certificate and private key, PEM; the key is empty once it is no longer needed."""

    certificate_pem: str
    key_pem: str

    def __repr__(self) -> str:
        """Show the CA's fingerprint, never its key."""
        return f"Authority({fingerprint(self.certificate_pem)[:23]}…)"


class Leaf(NamedTuple):
    """A serving certificate: chain without the root, private key and validity period."""

    chain_pem: str
    key_pem: str
    not_before: datetime
    not_after: datetime

    def __repr__(self) -> str:
        """Show the validity period, never the key."""
        return f"Leaf({self.not_before:%Y-%m-%dT%H:%MZ} to {self.not_after:%Y-%m-%dT%H:%MZ})"


def create_authority(name: str, now: datetime, lifetime: timedelta = CA_LIFETIME) -> Authority:
    """Create a new self-signed CA.

    Args:
        name: its common name; a suffix makes every CA's subject unique.
        now: the current time.
        lifetime: how long it is valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {now.astimezone(UTC):%Y%m%d%H%M%S%f}")]
    )
    certificate = _sign_authority(subject, key.public_key(), (subject, key), (now, now + lifetime))
    return Authority(_pem(certificate), _key_pem(key))


def cross_sign(signer: Authority, signed: Authority, now: datetime) -> str:
    """Cross-sign a CA; clients that trust only the signer then trust the signed CA's leaves. PEM.

    The certificate is valid as long as both CAs are.

    Raises:
        CertificateError: a certificate or key cannot be read, or one of both CAs has expired.
    """
    signer_certificate, new = (
        load_certificate(signer.certificate_pem),
        load_certificate(signed.certificate_pem),
    )
    end = min(signer_certificate.not_valid_after_utc, new.not_valid_after_utc)
    if end <= now - BACKDATE:
        raise CertificateError("one of the two CAs has expired")
    public_key = new.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise CertificateError("the CA's key is neither an RSA nor an elliptic curve key")
    issuer = (signer_certificate.subject, _load_key(signer.key_pem))
    return _pem(_sign_authority(new.subject, public_key, issuer, (now, end)))


def issue_leaf(
    authority: Authority,
    names: Sequence[str],
    now: datetime,
    *,
    lifetime: timedelta = LEAF_LIFETIME,
    intermediates_pem: str = "",
) -> Leaf:
    """Issue a serving certificate.

    Args:
        authority: the CA that signs.
        names: DNS names and IP addresses, at least one.
        now: the current time.
        lifetime: how long it is valid, at most as long as the CA.
        intermediates_pem: cross-signed certificates to send after it.

    Raises:
        CertificateError: there is no name, or the CA has expired.
    """
    if not names:
        raise CertificateError("a serving certificate needs at least one name")
    sans = [_general_name(name) for name in names]
    ca = load_certificate(authority.certificate_pem)
    end = min(now + lifetime, ca.not_valid_after_utc)
    if not ca.not_valid_before_utc <= now < end:
        raise CertificateError("the CA has expired or is not valid yet")
    key = ec.generate_private_key(ec.SECP256R1())
    begin = max(now - BACKDATE, ca.not_valid_before_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(sans), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issuer_identifier(_load_key(authority.key_pem)), critical=False)
    )
    certificate = builder.sign(_load_key(authority.key_pem), hashes.SHA256())
    return Leaf(_pem(certificate) + intermediates_pem, _key_pem(key), begin, end)


def load_certificate(pem: str) -> x509.Certificate:
    """Read the first certificate of a PEM text.

    Raises:
        CertificateError: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise CertificateError(f"not a PEM certificate: {error}") from error


def fingerprint(pem: str) -> str:
    """Return a certificate's SHA-256 as `openssl x509 -fingerprint -sha256` prints it."""
    return load_certificate(pem).fingerprint(hashes.SHA256()).hex(":").upper()


_Issuer = tuple[x509.Name, ec.EllipticCurvePrivateKey]


def _sign_authority(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: _Issuer,
    validity: tuple[datetime, datetime],
) -> x509.Certificate:
    name, key = issuer
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0] - BACKDATE)
        .not_valid_after(validity[1])
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_issuer_identifier(key), critical=False)
        .sign(key, hashes.SHA256())
    )


def _issuer_identifier(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        if name:
            return x509.DNSName(name)
    except ValueError:
        pass
    raise CertificateError(f"{name!r} is neither a DNS name nor an IP address")


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise CertificateError(f"not a PEM private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the CA's key is not an elliptic curve key")
    return key
