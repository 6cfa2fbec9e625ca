"""A server's TLS context whose certificate can be replaced while it serves."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from webhook_certs.authority import Leaf
from webhook_certs.errors import CertificateError


def create_server_context(leaf: Leaf) -> ssl.SSLContext:
    """Create a context that serves a leaf.

    Raises:
        CertificateError: key and certificate do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    use_leaf(context, leaf)
    return context


def use_leaf(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Serve another leaf from the next handshake on; handshakes in progress keep the old one.

    Must be called on the thread that accepts connections.

    Raises:
        CertificateError: key and certificate do not match; the old leaf stays.
    """
    # Try a separate context first: a failed load would leave the live one without a key.
    check_leaf(leaf)
    _load(context, leaf)


def check_leaf(leaf: Leaf) -> None:
    """Check that a leaf can be served.

    Raises:
        CertificateError: OpenSSL refuses it: its key does not match or is too weak.
    """
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), leaf)


def _load(context: ssl.SSLContext, leaf: Leaf) -> None:
    with _file(leaf.chain_pem + leaf.key_pem) as path:
        try:
            context.load_cert_chain(path)
        except (ssl.SSLError, OSError) as error:
            raise CertificateError(f"certificate and key cannot be used: {error}") from error


@contextmanager
def _file(pem: str) -> Iterator[str]:
    """Give a secret a path while OpenSSL reads it; in memory if the system supports it."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            os.write(handle, pem.encode())
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        yield file.name
