"""HTTP client for a kubelet's pod list: TLS, proxies, redirects and HTTP/2 as configured."""

import asyncio
import contextlib
import logging
import os
import ssl
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from sidecar import VERSION
from sidecar.errors import LiveryError, SettingsError, UpstreamError, UpstreamTimeoutError
from sidecar.kubelet.discovery.credentials import Credentials
from sidecar.model.pods.discovery_settings import DiscoverySettings, ProxySettings, TlsSettings
from sidecar.model.pods.no_proxy import bypasses_proxy
from sidecar.model.pods.pod_list import Pod, bound_annotations
from sidecar.model.pods.pod_stream import PodListReader

TIMEOUT_SECONDS = 30.0
MAX_REASON_BYTES = 300
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_HINTS = {
    401: "the kubelet rejected the credentials",
    403: "the credentials do not allow get on nodes/pods (before Kubernetes 1.33: nodes/proxy)",
}
# httpx logs every request at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)


_HUNG_UP = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


_NAMELESS = {
    "ConnectError": "the connection could not be made, or was closed at once",
    "ReadError": "the connection was lost",
    "RemoteProtocolError": "the answer is not HTTP",
}
"""Texts for httpx errors without a message, by class name."""


class PodsClient:
    """Fetches the pods of one kubelet.

    Args:
        settings: where and how.
        environ: environment with the proxy variables, used if the settings say so.

    Raises:
        SettingsError: a certificate or CA cannot be used; names the argument.
    """

    def __init__(
        self, settings: DiscoverySettings, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._settings = settings
        self._token_client: httpx.AsyncClient | None = None
        if (oauth2 := settings.oauth2) is not None:
            tls = _tls_context(oauth2.tls, "oauth2.tls_config")
            self._token_client = _client(_Routes(oauth2.proxy, tls, environ, has_http2=True))
        tls = _tls_context(settings.tls, "tls_config")
        self._routes = _Routes(settings.proxy, tls, environ, has_http2=settings.enable_http2)
        self._client = _client(
            self._routes,
            auth=Credentials(settings, self._token_client),
            follow_redirects=settings.follow_redirects,
        )

    async def fetch(self) -> tuple[Pod, ...]:
        """Return the pods of `/pods`.

        Raises:
            UpstreamTimeoutError: the list was not complete within 30 s.
            UpstreamError: no connection, or a status other than 200; says what to do.
            PodsError: the response is not a list of pods, or is too long.
            LiveryError: the credentials cannot be read.
        """
        url = f"{self._settings.url}/pods"
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                try:
                    return await self._ask(url)
                except _HUNG_UP:
                    # The kubelet just closed an idle connection: a GET is safe to retry.
                    return await self._ask(url)
        except TimeoutError:
            reason = f"the kubelet did not send its pod list within {TIMEOUT_SECONDS:g} s"
            raise UpstreamTimeoutError(reason) from None
        except LiveryError:
            raise
        except Exception as error:
            # A boundary: if a proxy closes or sends garbage, the libraries below raise arbitrary
            # exceptions (IndexError, AssertionError), which must not escape.
            reason = str(error) or _NAMELESS.get(type(error).__name__, type(error).__name__)
            if way := self._routes.way_to(url):
                reason = f"through the proxy {way}: {reason}"
            if "CERTIFICATE_VERIFY_FAILED" in reason:
                reason += (
                    "; set tls_config.ca_file (--ca-file) to the CA of the kubelet's certificate"
                )
            raise UpstreamError(f"cannot fetch the kubelet's pods from {url}: {reason}") from error

    async def _ask(self, url: str) -> tuple[Pod, ...]:
        async with self._client.stream("GET", url) as answer:
            return await _read(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        if self._token_client is not None:
            await self._token_client.aclose()


def _client(routes: "_Routes", **options: Any) -> httpx.AsyncClient:
    # Identity encoding: size limits apply to the bytes that arrive.
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"livery/{VERSION}",
    }
    return httpx.AsyncClient(transport=routes, headers=headers, timeout=TIMEOUT_SECONDS, **options)


async def _read(answer: httpx.Response) -> tuple[Pod, ...]:
    status = answer.status_code
    if 300 <= status < 400:
        reason = "the redirect is not followed (follow_redirects)"
        raise UpstreamError(f"the kubelet answered {status}: {reason}")
    if status != 200:
        hint = _HINTS.get(status) or await _read_reason(answer)
        raise UpstreamError(f"the kubelet answered {status}" + (f": {hint}" if hint else ""))
    encoding = answer.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UpstreamError(f"the kubelet used an unrequested content encoding: {encoding[:40]!r}")
    reader = PodListReader(bound_annotations)
    async for part in answer.aiter_raw():
        reader.feed(part)
        await asyncio.sleep(0)  # lets scrapes run between two parts
    return reader.finish()


async def _read_reason(answer: httpx.Response) -> str:
    said = b""
    async for part in answer.aiter_raw():
        said += part
        if len(said) > MAX_REASON_BYTES:
            break
    return " ".join(said[:MAX_REASON_BYTES].decode("utf-8", "replace").split())


class _Routes(httpx.AsyncBaseTransport):
    """Sends each request, redirected ones too, directly or through the proxy for its URL."""

    def __init__(
        self,
        proxy: ProxySettings,
        tls: ssl.SSLContext,
        environ: Mapping[str, str],
        *,
        has_http2: bool,
    ) -> None:
        self._proxy = proxy
        self._environ = environ
        self._options: dict[str, Any] = {"verify": tls, "http2": has_http2, "trust_env": False}
        self._ways: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        proxy_url = self._choose(request.url)
        way = self._ways.get(proxy_url)
        if way is None:
            proxy = self._make_proxy(proxy_url) if proxy_url else None
            way = self._ways[proxy_url] = httpx.AsyncHTTPTransport(proxy=proxy, **self._options)
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for way in self._ways.values():
            await way.aclose()

    def way_to(self, url: str) -> str:
        """Return the proxy for a URL, without user and password; empty if there is none."""
        return self._choose(httpx.URL(url)).rpartition("@")[2]

    def _choose(self, url: httpx.URL) -> str:
        """Return the URL of the proxy for a request; empty if there is none."""
        given = self._proxy
        port = url.port or (443 if url.scheme == "https" else 80)
        if given.proxy_from_environment:
            if bypasses_proxy(url.host, port, self._variable("no_proxy")):
                return ""
            return self._variable(f"{url.scheme}_proxy")
        if given.no_proxy and bypasses_proxy(url.host, port, given.no_proxy):
            return ""
        return given.proxy_url

    def _variable(self, name: str) -> str:
        return self._environ.get(name.upper()) or self._environ.get(name, "")

    def _make_proxy(self, url: str) -> httpx.Proxy:
        headers = [
            (name, value)
            for name, values in self._proxy.proxy_connect_header.items()
            for value in values
        ]
        # A value from the environment may omit the scheme, as curl allows.
        full = url if "://" in url else f"http://{url}"
        # As in Go, tls_config also applies to the connection to the proxy.
        tls = self._options["verify"] if full.startswith("https://") else None
        return httpx.Proxy(full, headers=headers, ssl_context=tls)


class _NamedContext(ssl.SSLContext):
    """Verifies the server by a configured name instead of the URL's host."""

    server_name = ""

    def wrap_bio(  # noqa: PLR0917 # its callers pass all arguments by position
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.server_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def _tls_context(tls: TlsSettings, path: str) -> ssl.SSLContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = tls.server_name
    with warnings.catch_warnings():
        # The user configured this version explicitly.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[tls.min_version]
    try:
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif tls.ca_file or tls.ca_pem:
            context.load_verify_locations(cafile=tls.ca_file or None, cadata=tls.ca_pem or None)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError, ValueError) as error:
        argument = "ca_file" if tls.ca_file else "ca_pem"
        raise SettingsError(f"{path}.{argument}: {error}") from error
    if tls.cert_file or tls.cert_pem:
        _load_pair(context, tls, path)
    return context


def _load_pair(context: ssl.SSLContext, tls: TlsSettings, path: str) -> None:
    try:
        with (
            _as_file(tls.cert_file, tls.cert_pem) as cert,
            _as_file(tls.key_file, tls.key_pem) as key,
        ):
            # An empty password makes an encrypted key an error, not a prompt on the terminal.
            context.load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{path}: certificate and key: {error}") from error


@contextlib.contextmanager
def _as_file(name: str, text: str) -> Iterator[str]:
    """Yield a file name, also for inline PEM: OpenSSL reads keys from files only."""
    if name:
        yield name
        return
    if hasattr(os, "memfd_create"):  # works on a read-only file system
        number = os.memfd_create("pem", os.MFD_CLOEXEC)
        try:
            os.write(number, text.encode())
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        yield file.name
