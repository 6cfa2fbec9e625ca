"""Server certificates for the tests' own TLS servers."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from webhook_certs.authority import Authority, create_authority, issue_leaf


def authority(name: str = "Test CA") -> Authority:
    return create_authority(name, datetime.now(UTC))


def server_tls(signer: Authority, *names: str) -> ssl.SSLContext:
    """A server's TLS context with a certificate for these names."""
    leaf = issue_leaf(signer, names, datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.write_text(leaf.chain_pem + leaf.key_pem)
        context.load_cert_chain(path)
    return context


def self_signed(name: str) -> ssl.SSLContext:
    """A server's TLS context with a certificate of an unknown authority."""
    return server_tls(authority(), name)


def client_certificate(name: str) -> tuple[str, str]:
    """A self-signed client certificate and its key, as PEM."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()
