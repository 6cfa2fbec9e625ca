"""The kubelet: asked over TLS with a token, its answers taken while they come.

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
    401: "the kubelet does not know the token",
    403: "the service account may not get {right}; see the chart's ClusterRole",
}
_RIGHTS = {"/pods": "nodes/pods (before Kubernetes 1.33: nodes/proxy)"}
"""By path; `nodes/metrics` for all others that are asked for."""


class KubeletSettings(NamedTuple):
    """Where the kubelet is, and by what it is known."""

    url: str
    """`https://host:port`, with the path before the kubelet's own, if any."""
    api_server: str = ""
    """`https://host:port` of the API server whose node proxy is asked; empty for the kubelet."""
    port: int = KUBELET_PORT
    """Of kubelets that are asked directly."""
    token_file: Path | None = None
    ca_file: Path | None = None
    """PEM of the CAs that sign it; None for the system's."""
    is_verified: bool = True
    cadvisor_path: str = ""
    """The kubelet's own path of cAdvisor's metrics, where it is another than ours."""

    def of_node(self, name: str, address: str) -> "KubeletSettings":
        """Return the settings for one node's kubelet.

        Args:
            name: the node's; needed to ask through the API server.
            address: a host or IP address, or a whole URL; not needed through the API server.
        """
        if self.api_server:
            return self._replace(url=f"{self.api_server}/api/v1/nodes/{name}/proxy")
        if "://" in address:
            return self._replace(url=address)
        return self._replace(url=f"https://{bracket(address)}:{self.port}")


Parts = AsyncGenerator[list[bytes], None]
"""A body while it comes, as it came; to be closed once it was begun."""


class KubeletClient:
    """Asks one kubelet, over connections that are kept.

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
        self._context()  # so that a wrong file is found at once

    async def get(self, path: str, *, accept: str, timeout_seconds: float) -> Parts:
        """Ask; returns the body's parts when the answer begins.

        Args:
            path: the kubelet's own, with its query.
            accept: the one media type that is taken.
            timeout_seconds: until the answer begins.

        Raises:
            UpstreamTimeoutError: it did not begin in time.
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
        """Drop the connections, those under way when they are done."""
        self._pool.close()

    def _render(self, path: str, accept: str, timeout_seconds: float) -> bytes:
        headers = {
            "Host": f"{bracket(self._host)}:{self._port}",
            "User-Agent": f"livery-proxy/{VERSION}",
            "Accept": accept,
            # Within one node compressing costs the kubelet more than it saves anyone.
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
        """Return how the kubelet is verified now: a cluster's CA is renewed, too."""
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
    """Divide a URL, and see that all of it can be sent."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        is_good = parts.scheme in ("https", "http") and bool(host) and parts.port != 0
    except ValueError:  # of ports, brackets, and names that are none
        is_good = False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not is_good or not is_plain or parts.query or parts.fragment:
        raise SettingsError(f"the kubelet's URL {url[:200]!r} is not https://host:port")
    return parts


def _decoder(connection: Connection, accept: str) -> Decoder:
    kind = connection.headers.get("content-type", "")
    if not _is_wanted(kind, accept):
        raise UpstreamError(f"the kubelet answered {kind[:80]!r} in place of {accept}")
    return Decoder(connection.headers.get("content-encoding", ""))


def _is_wanted(kind: str, accept: str) -> bool:
    if accept.startswith("text/plain"):
        return format_of_content_type(kind) is Format.TEXT
    return kind.partition(";")[0].strip().lower() == accept


async def _refusal(connection: Connection, path: str) -> str:
    """Say why not, with the beginning of what the kubelet says; the rest is not read."""
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
