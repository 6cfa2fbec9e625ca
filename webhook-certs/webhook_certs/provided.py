"""Checks a certificate that is issued and renewed externally, for example by cert-manager."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    ServerVerifier,
    Store,
    VerificationError,
)

from webhook_certs.authority import Leaf
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Material
from webhook_certs.tls import check_leaf

CHAIN, KEY, CA_BUNDLE = "tls.crt", "tls.key", "ca.crt"
"""Keys of a Secret of type kubernetes.io/tls, and the one that cert-manager adds."""
_LOOK_AGAIN = timedelta(hours=1)
_MAX_PEM_BYTES = 256 << 10


def read_provided(files: Mapping[str, str], name: str, now: datetime, source: str) -> Material:
    """Check the provided certificate.

    Args:
        files: PEM texts by `tls.crt`, `tls.key`, `ca.crt`.
        name: the DNS name that clients use.
        now: the current time.
        source: where the files come from, for errors.

    Raises:
        CertificateError: a file is missing or unreadable, the key does not match, or the
            certificate is not for the name, not signed by the CA, or not valid now.
    """
    for key in (CHAIN, KEY, CA_BUNDLE):
        if not files.get(key):
            raise CertificateError(f"{source}: {key} is missing")
        if len(files[key]) > _MAX_PEM_BYTES:
            raise CertificateError(f"{source}: {key} is over {_MAX_PEM_BYTES >> 10} KiB")
    leaf, *intermediates = _certificates(files, CHAIN, source)
    ca_bundle = _certificates(files, CA_BUNDLE, source)
    _check_key(leaf, files[KEY], source)
    names = _names(leaf)
    if not any(_covers(pattern, name) for pattern in names):
        listed = ", ".join(names) or "none"
        raise CertificateError(f"{source}: the certificate is not for {name} (it names {listed})")
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not begin <= now < end:
        raise CertificateError(f"{source}: the certificate is valid from {begin} to {end}, not now")
    if leaf not in ca_bundle:
        verifier = _verifier(ca_bundle, name, now)
        try:
            verifier.verify(leaf, intermediates)
        except VerificationError as error:
            reason = f"{CHAIN} is not signed by {CA_BUNDLE}: {error}"
            raise CertificateError(f"{source}: {reason}") from error
    served = Leaf(files[CHAIN], files[KEY], begin, end)
    check_leaf(served)
    ends = min(item.not_valid_after_utc for item in ca_bundle)
    # Normalized: without comments and blanks, with a final newline.
    return Material(served, "".join(map(_pem, ca_bundle)), ends, now + _LOOK_AGAIN)


def rewrite_bundle(pem: str, source: str) -> str:
    """Return a CA bundle in the form that `read_provided` returns, without comments.

    Raises:
        CertificateError: it is not PEM.
    """
    return "".join(map(_pem, _certificates({CA_BUNDLE: pem}, CA_BUNDLE, source)))


def _certificates(files: Mapping[str, str], key: str, source: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(files[key].encode())
    except ValueError as error:
        raise CertificateError(f"{source}: {key} is not a PEM certificate: {error}") from error


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _verifier(ca_bundle: list[x509.Certificate], name: str, now: datetime) -> ServerVerifier:
    """Build a verifier that checks certificates as a client that trusts the CAs does.

    Private CAs leave out extensions that public ones must have, so only names, validity periods
    and signatures are checked.
    """
    ca_policy = ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, None
    )
    leaf_policy = ExtensionPolicy.permit_all().require_present(
        x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
    )
    builder = PolicyBuilder().store(Store(ca_bundle)).time(now)
    builder = builder.extension_policies(ca_policy=ca_policy, ee_policy=leaf_policy)
    return builder.build_server_verifier(x509.DNSName(name))


def _check_key(leaf: x509.Certificate, pem: str, source: str) -> None:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"{source}: {KEY} is not a PEM key without a password") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise CertificateError(f"{source}: {KEY} is not the key of {CHAIN}")


def _covers(pattern: str, name: str) -> bool:
    """Return whether a certificate's name, whose first label may be `*`, matches a server's."""
    pattern, name = pattern.lower(), name.lower()
    return pattern == name or (pattern[:2] == "*." and pattern[2:] == name.partition(".")[2])


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        extension = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except (x509.ExtensionNotFound, ValueError):
        return []
    sans = extension.value
    if not isinstance(sans, x509.SubjectAlternativeName):
        return []
    return sans.get_values_for_type(x509.DNSName)
