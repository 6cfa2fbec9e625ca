"""Address of an API server and credentials for it; files are reloaded when they change.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sidecar.errors import SettingsError, UpstreamError
from sidecar.http.secrets import read_secret, read_token
from sidecar.http.tls import CaFile, trusting_context, unverified_context

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Material(NamedTuple):
    """A certificate or key: a file, reloaded when it changes, or its content."""

    file: Path | None = None
    data: bytes = b""

    def __repr__(self) -> str:
        """Show the file, never the data."""
        return f"Material({self.file or 'data'})"

    def stamp(self) -> int:
        """Return the file's modification time; 0 for inline data or an unreadable file."""
        with contextlib.suppress(OSError):
            return 0 if self.file is None else self.file.stat().st_mtime_ns
        return 0


class Credentials(NamedTuple):
    """Credentials for the API server; empty for anonymous requests."""

    token: str = ""
    token_file: Path | None = None
    basic: tuple[str, str] | None = None
    """A user and password."""
    certificate: Material | None = None
    key: Material | None = None

    def __repr__(self) -> str:
        """Show which kinds are set, never a secret."""
        kinds = [name for name, value in zip(self._fields, self, strict=True) if value]
        return f"Credentials({', '.join(kinds)})"

    def header(self) -> str:
        """Return the Authorization header; a token file is read each time.

        Raises:
            UpstreamError: the file cannot be read, or holds no token.
        """
        if self.token_file is not None:
            return f"Bearer {read_token(self.token_file, 'the token for the API server')}"
        if self.token:
            return f"Bearer {self.token}"
        if self.basic is not None:
            pair = ":".join(self.basic).encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return ""


class ApiAccess(NamedTuple):
    """How to reach one API server, verify it and authenticate to it."""

    host: str
    port: int
    is_secure: bool
    prefix: str = ""
    """Path prefix of the API."""
    server_name: str = ""
    """Name that its certificate must have; empty for the host."""
    ca: Material | None = None
    """CAs that sign its certificate; None for the system's."""
    is_verified: bool = True
    credentials: Credentials = Credentials()
    namespace: str = "default"
    """Namespace to use if none is given."""


def split_server(url: str, what: str) -> ApiAccess:
    """Parse an API server's URL.

    Raises:
        SettingsError: it is invalid; the error begins with `what`, which names its source.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise SettingsError(f"{what}: {url[:200]!r} is not https://host:port")
    is_secure = parts.scheme == "https"
    return ApiAccess(host, port or (443 if is_secure else 80), is_secure, parts.path.rstrip("/"))


def read_in_cluster(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> ApiAccess | None:
    """Read API server access from a pod's service account and environment; None outside a pod."""
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    if not host or not (folder / "token").exists():
        return None
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = "default"
    with contextlib.suppress(UpstreamError):
        namespace = read_secret(folder / "namespace", "the pod's namespace") or namespace
    return ApiAccess(
        host,
        int(port) if port.isascii() and port.isdigit() else 443,
        is_secure=True,
        ca=Material(folder / "ca.crt"),
        credentials=Credentials(token_file=folder / "token"),
        namespace=namespace,
    )


class ApiTls:
    """TLS context for an API server, rebuilt when one of its files changes.

    Args:
        access: the API server.
    """

    def __init__(self, access: ApiAccess) -> None:
        self._access = access
        self._stamps: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context, with the client certificate if there is one; None for http.

        Raises:
            UpstreamError: a file cannot be read, or holds no certificate or key.
        """
        access = self._access
        if not access.is_secure:
            return None
        used = (access.ca, access.credentials.certificate, access.credentials.key)
        stamps = tuple(0 if item is None else item.stamp() for item in used)
        if self._context is None or stamps != self._stamps:
            try:
                self._context, self._stamps = self._load(), stamps
            except (OSError, ssl.SSLError, ValueError) as error:
                # ValueError: not ASCII, or a key that needs a password.
                raise UpstreamError(f"TLS to the API server cannot be set up: {error}") from error
        return self._context

    def _load(self) -> ssl.SSLContext:
        access = self._access
        if not access.is_verified:
            context = unverified_context()
        elif access.ca is None:
            context = CaFile(None).context()
        elif access.ca.file is not None:
            context = CaFile(access.ca.file).context()
        else:
            context = trusting_context(access.ca.data.decode())
        certificate, key = access.credentials.certificate, access.credentials.key
        if certificate is not None and key is not None:
            with _as_file(certificate) as certificate_path, _as_file(key) as key_path:
                # An empty password makes an encrypted key an error, not a prompt.
                context.load_cert_chain(certificate_path, key_path, password="")
        return context


@contextlib.contextmanager
def _as_file(material: Material) -> Iterator[Path]:
    """Yield a file that contains it: OpenSSL loads client certificates from files only."""
    if material.file is not None:
        yield material.file
        return
    handle, name = tempfile.mkstemp()  # readable by its owner only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(material.data)
        yield Path(name)
    finally:
        Path(name).unlink()
