"""Client for the kubelet: requests over TLS with a token; response bodies are streamed.

Source: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from sidecar import VERSION
from sidecar.errors import SettingsError, UpstreamError, UpstreamTimeoutError
from sidecar.http.connection import Connection, render_request
from sidecar.http.decoding import Decoder
from sidecar.http.pool import ConnectionPool
from sidecar.http.secrets import read_token
from sidecar.http.tls import CaFile, unverified_context
from sidecar.model.exposition.formats import Format, format_of_content_type
from sidecar.model.hosts import bracket

KUBELET_PORT = 10250
MAX_IDLE_CONNECTIONS = 4
MAX_REASON_BYTES = 300
_CADVISOR = "/metrics/cadvisor"
_HINTS = {
    401: "the token was rejected",
    403: "the service account is not allowed to get {right}; see the chart's ClusterRole",
}
_RIGHTS = {"/pods": "nodes/pods (before Kubernetes 1.33: nodes/proxy)"}
"""RBAC resource by path; `nodes/metrics` for every other path."""


class KubeletSettings(NamedTuple):
    """How to reach the kubelet, verify it and authenticate to it."""

    url: str
    """`https://host:port`, with a path prefix, if any."""
    api_server: str = ""
    """`https://host:port` of the API server to go through; empty for direct access."""
    port: int = KUBELET_PORT
    """Port of kubelets that are accessed directly."""
    token_file: Path | None = None
    ca_file: Path | None = None
    """CAs that sign the kubelet's certificate, PEM; None for the system's."""
    is_verified: bool = True
    cadvisor_path: str = ""
    """The kubelet's path for cAdvisor metrics; empty if it is the same as the proxy's."""

    def of_node(self, name: str, address: str) -> "KubeletSettings":
        """Return the settings for one node's kubelet.

        Args:
            name: the node's name; needed for access through the API server.
            address: a host, IP address or whole URL; not needed for access through the API server.
        """
        if self.api_server:
            return self._replace(url=f"{self.api_server}/api/v1/nodes/{name}/proxy")
        if "://" in address:
            return self._replace(url=address)
        return self._replace(url=f"https://{bracket(address)}:{self.port}")


Parts = AsyncGenerator[list[bytes], None]
"""Chunks of a response body as they arrive; must be closed once iteration has started."""


class KubeletClient:
    """Sends requests to one kubelet over pooled connections.

    Raises:
        SettingsError: the URL is invalid, or the CAs cannot be read.
    """

    def __init__(self, settings: KubeletSettings) -> None:
        self._settings = settings
        parts = _split(settings.url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._is_secure = parts.scheme == "https"
        self._ca_bundle = CaFile(settings.ca_file)
        self._unverified = None if settings.is_verified else unverified_context()
        self._pool = ConnectionPool(self._connect, MAX_IDLE_CONNECTIONS)
        self._context()  # reports an unusable CA file at once

    async def get(self, path: str, *, accept: str, timeout_seconds: float) -> Parts:
        """Send a request; returns the body's chunks when the response begins.

        Args:
            path: the path at the kubelet, with its query.
            accept: the only accepted media type.
            timeout_seconds: until the response begins.

        Raises:
            UpstreamTimeoutError: the response did not begin in time.
            UpstreamError: no connection, not HTTP, or a status other than 200; says what to do.
        """
        request = self._render(path, accept, timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                connection = await self._pool.send(request)
                if connection.status != 200:
                    raise UpstreamError(await _refusal(connection, path))
        except TimeoutError:
            reason = f"the kubelet did not answer within {timeout_seconds:.3g} s"
            raise UpstreamTimeoutError(reason) from None
        try:
            decoder = _decoder(connection, accept)
        except UpstreamError:
            connection.close()
            raise
        return self._read(connection, decoder)

    def close(self) -> None:
        """Close idle connections now, and those in use when they are released."""
        self._pool.close()

    def _render(self, path: str, accept: str, timeout_seconds: float) -> bytes:
        headers = {
            "Host": f"{bracket(self._host)}:{self._port}",
            "User-Agent": f"livery-proxy/{VERSION}",
            "Accept": accept,
            # Within a node, compression costs the kubelet more than it saves.
            "Accept-Encoding": "identity",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_seconds:.3f}",
        }
        if self._settings.token_file is not None:
            token = read_token(self._settings.token_file, "the kubelet's token")
            headers["Authorization"] = f"Bearer {token}"
        own, mark, query = path.partition("?")
        if own == _CADVISOR and self._settings.cadvisor_path:
            own = self._settings.cadvisor_path
        return render_request("GET", f"{self._prefix}{own}{mark}{query}", headers)

    async def _connect(self) -> Connection:
        tls = self._context()
        return await Connection.open(self._host, self._port, tls=tls, server_name=self._host)

    def _context(self) -> ssl.SSLContext | None:
        """Return the TLS context, reloaded when the CA file changes; None for http."""
        if not self._is_secure:
            return None
        try:
            return self._unverified or self._ca_bundle.context()
        except OSError as error:
            path = self._settings.ca_file
            raise SettingsError(f"--kubelet-ca-file: {path}: {error}") from error

    async def _read(self, connection: Connection, decoder: Decoder) -> Parts:
        try:
            while parts := await connection.read_available():
                if decoder.is_identity:
                    yield parts
                    continue
                for plain in decoder.decode(b"".join(parts)):
                    yield [plain]
            decoder.finish()
        finally:
            self._pool.release(connection)


def _split(url: str) -> SplitResult:
    """Parse the kubelet's URL, and check that a request can be sent to it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        is_good = parts.scheme in ("https", "http") and bool(host) and parts.port != 0
    except ValueError:  # an invalid port, bracket or host name
        is_good = False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not is_good or not is_plain or parts.query or parts.fragment:
        raise SettingsError(f"the kubelet's URL {url[:200]!r} is not https://host:port")
    return parts


def _decoder(connection: Connection, accept: str) -> Decoder:
    kind = connection.headers.get("content-type", "")
    if not _is_wanted(kind, accept):
        raise UpstreamError(f"the kubelet sent {kind[:80]!r} instead of {accept}")
    return Decoder(connection.headers.get("content-encoding", ""))


def _is_wanted(kind: str, accept: str) -> bool:
    if accept.startswith("text/plain"):
        return format_of_content_type(kind) is Format.TEXT
    return kind.partition(";")[0].strip().lower() == accept


async def _refusal(connection: Connection, path: str) -> str:
    """Describe an error response by its status and the beginning of its body; closes it."""
    status = connection.status
    try:
        said = b"" if status in _HINTS else await connection.read()
    finally:
        connection.close()
    line = " ".join(said[:MAX_REASON_BYTES].decode("utf-8", "replace").split())
    hint = _HINTS.get(status, "").format(right=_RIGHTS.get(path, "nodes/metrics")) or line
    if 300 <= status < 400:
        hint = "redirects are not followed"
    return f"the kubelet answered {status}" + (f": {hint}" if hint else "")
