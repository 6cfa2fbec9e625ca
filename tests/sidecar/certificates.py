"""Server certificates for the tests' own TLS servers."""

import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from webhook_certs.authority import Authority, create_authority, issue_leaf


def authority(name: str = "Test CA") -> Authority:
    return create_authority(name, datetime.now(UTC))


def server_tls(signer: Authority, *names: str) -> ssl.SSLContext:
    """A server's side of TLS with a certificate for these names."""
    leaf = issue_leaf(signer, names, datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.write_text(leaf.chain_pem + leaf.key_pem)
        context.load_cert_chain(path)
    return context


def self_signed(name: str) -> ssl.SSLContext:
    """As `server_tls`, by an authority that nobody knows."""
    return server_tls(authority(), name)
