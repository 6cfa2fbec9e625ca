"""TLS contexts: CAs that the proxy trusts, and certificates that it serves, reloaded from files."""

import asyncio
import logging
import os
import ssl
from pathlib import Path

from sidecar.errors import SettingsError

logger = logging.getLogger(__name__)

CERTIFICATE_POLL_SECONDS = 5.0


def unverified_context() -> ssl.SSLContext:
    """Return a context that does not verify servers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trusting_context(pem: str) -> ssl.SSLContext:
    """Return a context that trusts the CAs in a PEM text, and no others.

    Raises:
        ssl.SSLError: the text contains no certificate.
        ValueError: the text is not ASCII.
    """
    if not pem.isascii():
        raise ValueError("it contains characters that are not allowed in PEM")
    context = _client_context()
    context.load_verify_locations(cadata=pem)
    return context


def client_context(
    *, ca_pem: str = "", certificate_pem: str = "", key_pem: str = "", is_verifying: bool = True
) -> ssl.SSLContext:
    """Return a client context with its own CAs and client certificate.

    Args:
        ca_pem: the CAs; empty for the system's.
        certificate_pem: the client certificate; empty for none.
        key_pem: the client certificate's key.
        is_verifying: whether the server's certificate is verified.

    Raises:
        ssl.SSLError: a text contains no certificate, or the key does not match.
        ValueError: a text is not ASCII.
    """
    context = _client_context() if is_verifying else unverified_context()
    if not (ca_pem + certificate_pem + key_pem).isascii():
        raise ValueError("it contains characters that are not allowed in PEM")
    if ca_pem:
        context.load_verify_locations(cadata=ca_pem)
    elif is_verifying:
        context.load_default_certs()
    if certificate_pem:
        # `load_cert_chain` only reads files: this one is in memory, and closed after the call.
        with os.fdopen(os.memfd_create("certificate"), "w") as file:
            file.write(f"{key_pem}\n{certificate_pem}\n")
            file.flush()
            # An empty password: an encrypted key is an error, not a prompt on the terminal.
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
    return context


def _client_context() -> ssl.SSLContext:
    # Not `create_default_context`: from Python 3.13 it refuses certificates that lack extensions,
    # as those of many clusters do.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class CaFile:
    """CAs in a file, reloaded when it changes; if it is invalid, the last good ones stay.

    Args:
        path: a PEM file; None for the system's CAs.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp = -1
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts the current CAs.

        Raises:
            OSError: the file could never be loaded: it is unreadable, or has no certificate.
        """
        try:
            stamp = 0 if self._path is None else self._path.stat().st_mtime_ns
            if self._context is None or stamp != self._stamp:
                self._context, self._stamp = self._load(), stamp
        except OSError:
            if self._context is None:
                raise
        return self._context

    def _load(self) -> ssl.SSLContext:
        context = _client_context()
        if self._path is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=self._path)
        return context


class ServedCertificate:
    """A server certificate and its key in files, reloaded when they change.

    Raises:
        SettingsError: the files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._stamps = self._stat()
        try:
            self.tls = self._current = self._load()
        except (OSError, ssl.SSLError, ValueError) as error:
            reason = f"{certificate} and {key}: {error}"
            raise SettingsError(f"--tls-cert-file, --tls-key-file: {reason}") from error
        # A context keeps one certificate per key type, so a new one gets a context of its own.
        self.tls.sni_callback = self._choose

    async def follow(self) -> None:
        """Reload the files whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(CERTIFICATE_POLL_SECONDS)
            stamps = self._stat()
            if stamps == self._stamps:
                continue
            self._stamps = stamps
            try:
                self._current = self._load()
            except (OSError, ssl.SSLError, ValueError) as error:
                extra = {"reason": str(error)}
                logger.error("the new certificate cannot be used; the old one stays", extra=extra)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # An empty password: an encrypted key is an error, not a prompt on the terminal.
        certificate, key = self._files
        context.load_cert_chain(certificate, key, password="")
        return context

    def _stat(self) -> list[int]:
        try:
            return [path.stat().st_mtime_ns for path in self._files]
        except OSError:
            return []
