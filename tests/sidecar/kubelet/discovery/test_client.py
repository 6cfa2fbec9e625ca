"""Connections to a kubelet: real TLS, real proxies, and the tests' own token services."""

import asyncio
import base64
import contextlib
import gc
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from webhook_certs.authority import create_authority

from sidecar.errors import LiveryError, SettingsError, UpstreamError, UpstreamTimeoutError
from sidecar.kubelet.discovery.client import PodsClient
from sidecar.model.pods.discovery_settings import parse_discovery_settings
from sidecar.model.pods.pod_stream import read_pods
from tests.sidecar.apps import Answer, App, http
from tests.sidecar.certificates import client_certificate
from tests.sidecar.kubelets import AUTHORITY, kubelet_tls, pod, pod_list, tell_pods

pytestmark = pytest.mark.anyio

PODS = tell_pods(pod("shop", "web"))
TOLD = read_pods(pod_list(pod("shop", "web")))
TRUST = {"ca_pem": AUTHORITY.certificate_pem}


@contextlib.asynccontextmanager
async def _client(document: Any, environ: Mapping[str, str] = {}) -> AsyncIterator[PodsClient]:
    client = PodsClient(parse_discovery_settings(document), environ)
    try:
        yield client
    finally:
        await client.close()


def _url(app: App, host: str = "127.0.0.1") -> str:
    return f"https://{host}:{app.port}"


def _header(request: str, name: str) -> str:
    lines = [line for line in request.split("\r\n") if line.lower().startswith(f"{name}: ")]
    return lines[0].split(": ", 1)[1] if lines else ""


async def test_pods_are_asked_for_behind_whatever_path_the_url_has() -> None:
    async with App(PODS, tls=kubelet_tls()) as app:
        url = f"{_url(app)}/api/v1/nodes/n/proxy"
        async with _client({"url": url, "tls_config": TRUST}) as client:
            assert await client.fetch() == TOLD
            assert await client.fetch() == TOLD

        assert app.requests[0].startswith("GET /api/v1/nodes/n/proxy/pods HTTP/1.1\r\n")
        assert app.connections == 1
        assert "authorization" not in app.requests[0].lower()


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"bearer_token": "abc"}, "Bearer abc"),
        ({"bearer_token_file": "FILE"}, "Bearer of-a-file"),
        ({"authorization": {"type": "Token", "credentials": "x y"}}, "Token x y"),
        ({"authorization": {"credentials_file": "FILE"}}, "Bearer of-a-file"),
        ({"basic_auth": {"username": "ü", "password": "p:"}},
         "Basic " + base64.b64encode("ü:p:".encode()).decode()),
        ({"basic_auth": {"username": "u", "password_file": "FILE"}},
         "Basic " + base64.b64encode(b"u:of-a-file").decode()),
    ],
)  # fmt: skip
async def test_each_way_to_be_known_is_sent(
    tmp_path: Path, given: dict[str, Any], header: str
) -> None:
    (tmp_path / "secret").write_text("of-a-file\n")
    document = json.loads(json.dumps(given).replace("FILE", str(tmp_path / "secret")))
    async with App(PODS, tls=kubelet_tls()) as app:
        async with _client({"url": _url(app), "tls_config": TRUST, **document}) as client:
            await client.fetch()
        assert _header(app.requests[0], "authorization") == header


async def test_a_token_is_read_anew_for_each_question(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with App(PODS, tls=kubelet_tls()) as app:
        given = {"url": _url(app), "tls_config": TRUST, "bearer_token_file": str(file)}
        async with _client(given) as client:
            with pytest.raises(UpstreamError, match="bearer_token_file"):
                await client.fetch()
            for token in ("one", "two"):
                file.write_text(token)
                await client.fetch()
        assert [_header(one, "authorization") for one in app.requests] == [
            "Bearer one",
            "Bearer two",
        ]


class _TokenService(App):
    """Issues numbered tokens to clients that send the secret in one of two ways."""

    def __init__(self, *, takes_header: bool, lasts: int = 3600) -> None:
        super().__init__(self._answer)
        self.takes_header, self.lasts = takes_header, lasts
        self.forms: list[dict[str, list[str]]] = []

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        request = self.requests[-1]
        body = await self.readers[writer].readexactly(int(_header(request, "content-length")))
        self.forms.append(parse_qs(body.decode()))
        pair = base64.b64encode(b"me:s%20%3Acret").decode()
        has_header = _header(request, "authorization") == f"Basic {pair}"
        in_form = self.forms[-1].get("client_secret") == ["s :cret"]
        if has_header if self.takes_header else in_form:
            answer = {"access_token": f"token-{len(self.forms)}", "expires_in": self.lasts}
            writer.write(http(json.dumps(answer).encode(), kind="application/json"))
        else:
            error = json.dumps({"error": "invalid_client"}).encode()
            writer.write(http(error, kind="application/json", status="401 Unauthorized"))


@pytest.mark.parametrize("takes_header", [True, False])
async def test_a_token_of_oauth_2_is_fetched_once_and_kept(takes_header: bool) -> None:
    async with (
        _TokenService(takes_header=takes_header) as service,
        App(PODS, tls=kubelet_tls()) as app,
    ):
        oauth2 = {
            "client_id": "me", "client_secret": "s :cret", "scopes": ["a", "b"],
            "token_url": f"http://127.0.0.1:{service.port}/token",
            "endpoint_params": {"audience": "kubelet"},
        }  # fmt: skip
        async with _client({"url": _url(app), "tls_config": TRUST, "oauth2": oauth2}) as client:
            await asyncio.gather(client.fetch(), client.fetch())
            asked = len(service.forms)
            assert asked == (1 if takes_header else 2)
            form = service.forms[-1]
            assert (form["grant_type"], form["scope"]) == (["client_credentials"], ["a b"])
            assert form["audience"] == ["kubelet"]
            app.answer = http(b"", status="401 Unauthorized")
            with pytest.raises(UpstreamError, match="the kubelet rejected the credentials"):
                await client.fetch()
            app.answer = PODS
            await client.fetch()
            assert len(service.forms) > asked  # a rejected token is not used again
        header = _header(app.requests[0], "authorization")
        assert header == f"Bearer token-{asked}"


@pytest.mark.parametrize(
    "lasts", [b"1" + b"0" * 400, b'"3600"', b"-5", b"null", b"1e999", b'"soon"']
)
async def test_whatever_a_token_service_says_of_time_is_bounded(lasts: bytes) -> None:
    answer = http(b'{"access_token": "abc", "expires_in": %b}' % lasts)
    async with App(answer) as service, App(PODS, tls=kubelet_tls()) as app:
        oauth2 = {"client_id": "me", "token_url": f"http://127.0.0.1:{service.port}"}
        async with _client({"url": _url(app), "tls_config": TRUST, "oauth2": oauth2}) as client:
            assert await client.fetch() == TOLD


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        ({"proxy_from_environment": True}, {"HTTPS_PROXY": "ftp://proxy.example"}),
        ({"url": "https://xn--a.example"}, {}),
    ],
)
async def test_an_address_that_is_none_is_an_error_of_ours(
    given: dict[str, Any], environ: dict[str, str]
) -> None:
    async with _client({"url": "https://kubelet.example", **given}, environ) as client:
        with pytest.raises(UpstreamError, match="the kubelet's pods"):
            await client.fetch()


async def test_a_token_near_its_end_is_fetched_anew() -> None:
    async with (
        _TokenService(takes_header=True, lasts=5) as service,
        App(PODS, tls=kubelet_tls()) as app,
    ):
        oauth2 = {
            "client_id": "me", "client_secret": "s :cret",
            "token_url": f"http://127.0.0.1:{service.port}",
        }  # fmt: skip
        async with _client({"url": _url(app), "tls_config": TRUST, "oauth2": oauth2}) as client:
            await client.fetch()
            await client.fetch()
        assert len(service.forms) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            http(b'{"error": "x", "error_description": "no such client"}', status="400 Bad"),
            "400: no such client",
        ),
        (http(b"{}"), "answered 200: no access_token"),
        (http(b"<html>"), "answered 200: no access_token"),
        (
            http(b'{"access_token": "a\\u0000b"}'),
            "the token contains characters that an HTTP header may not",
        ),
        (http(b"[" * 300_000), "the response is too large"),
        (b"nonsense\r\n\r\n", "oauth2.token_url"),
    ],
)
async def test_a_token_service_that_fails_is_named(answer: Answer, reason: str) -> None:
    async with App(answer) as service, App(PODS, tls=kubelet_tls()) as app:
        oauth2 = {
            "client_id": "me", "client_secret": "tell-nobody",
            "token_url": f"http://127.0.0.1:{service.port}",
        }  # fmt: skip
        async with _client({"url": _url(app), "tls_config": TRUST, "oauth2": oauth2}) as client:
            with pytest.raises(UpstreamError, match=reason) as caught:
                await client.fetch()
        assert "tell-nobody" not in str(caught.value)
        assert app.requests == []


@pytest.mark.parametrize(
    ("tls", "given"),
    [
        (lambda: kubelet_tls("other.example"), {}),
        (lambda: kubelet_tls(at=datetime.now(UTC) - timedelta(hours=3)), {}),
        (lambda: kubelet_tls(authority=create_authority("x", datetime.now(UTC))), {}),
        (kubelet_tls, {"server_name": "other.example"}),
    ],
    ids=["other-name", "expired", "other-authority", "server-name"],
)
async def test_a_kubelet_that_is_not_verified_gets_no_token(
    tls: Any, given: dict[str, Any]
) -> None:
    async with App(PODS, tls=tls()) as app:
        document = {"url": _url(app), "bearer_token": "x", "tls_config": {**TRUST, **given}}
        async with _client(document) as client:
            with pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.fetch()
        assert app.requests == []
        document["tls_config"] = {"insecure_skip_verify": True}
        async with _client(document) as client:
            assert await client.fetch() == TOLD


async def test_a_kubelet_is_verified_by_the_name_that_is_given() -> None:
    async with App(PODS, tls=kubelet_tls("worker-1.example")) as app:
        tls = {**TRUST, "server_name": "worker-1.example", "min_version": "TLS13"}
        async with _client({"url": _url(app), "tls_config": tls}) as client:
            assert await client.fetch() == TOLD


@pytest.mark.parametrize("as_files", [True, False])
async def test_a_client_certificate_is_shown(tmp_path: Path, as_files: bool) -> None:
    certificate, key = client_certificate("me")
    given = {"cert_pem": certificate, "key_pem": key, **TRUST}
    if as_files:
        for kind in ("ca", "cert", "key"):
            (tmp_path / kind).write_text(given.pop(f"{kind}_pem"))
            given[f"{kind}_file"] = str(tmp_path / kind)
    wants = kubelet_tls()
    wants.verify_mode = ssl.CERT_REQUIRED
    wants.load_verify_locations(cadata=certificate)
    async with App(PODS, tls=wants) as app:
        async with _client({"url": _url(app), "tls_config": given}) as client:
            assert await client.fetch() == TOLD
        async with _client({"url": _url(app), "tls_config": TRUST}) as client:
            with pytest.raises(UpstreamError):
                await client.fetch()


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        ({"ca_pem": "nonsense"}, "tls_config.ca_pem"),
        ({"ca_file": "/none"}, "tls_config.ca_file"),
        ({"cert_pem": "nonsense", "key_pem": "x"}, "tls_config: certificate and key"),
        ({"cert_file": "/none", "key_file": "/none"}, "tls_config: certificate and key"),
    ],
)
async def test_certificates_that_cannot_be_used_are_named(tls: Any, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        PodsClient(parse_discovery_settings({"tls_config": tls}))


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(b"", status="401 Unauthorized"), "the kubelet rejected the credentials"),
        (http(b"", status="403 Forbidden"), "the credentials do not allow get on nodes/pods"),
        (http(b"x" * (1 << 20), status="500 Oh"), "the kubelet answered 500: xxx"),
        (http(b" " * 2000, kind="application/json"), "the pod list is larger than 0 MiB"),
        (http(b"a" * 200, kind="application/json"), "the pod list is not valid JSON"),
        (http(b"x", headers={"Content-Encoding": "gzip"}), "an unrequested content encoding"),
        (b"nonsense\r\n\r\n", "the kubelet's pods"),
        (_hang_up, "the kubelet's pods"),
    ],
)
async def test_what_the_kubelet_may_say_instead_is_an_error_with_its_reason(
    answer: Answer, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.model.pods.pod_stream.MAX_LIST_BYTES", 1000)
    async with (
        App(answer, tls=kubelet_tls()) as app,
        _client({"url": _url(app), "tls_config": TRUST}) as client,
    ):
        with pytest.raises(LiveryError, match=reason) as caught:
            await client.fetch()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_a_connection_that_the_kubelet_closed_while_it_was_idle_costs_no_answer(
    protocol: str,
) -> None:
    tls = kubelet_tls()
    tls.set_alpn_protocols([protocol])
    answer = _answer_http2 if protocol == "h2" else _answer_http1
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        given = {"url": f"https://127.0.0.1:{port}", "tls_config": TRUST}
        async with _client(given) as client:
            for _ in range(4):
                assert await client.fetch() == TOLD
                await asyncio.sleep(0.05)


async def _answer_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    assert isinstance(PODS, bytes)
    writer.write(PODS)  # without `Connection: close`
    writer.close()


async def _answer_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, then close on the next one, as after an idle timeout."""
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    answered = False
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            if not isinstance(event, RequestReceived):
                continue
            if answered:
                writer.close()
                return
            answered = True
            headers = [(":status", "200"), ("content-type", "application/json")]
            connection.send_headers(event.stream_id, headers)
            connection.send_data(event.stream_id, pod_list(pod("shop", "web")), end_stream=True)
        writer.write(connection.data_to_send())
    writer.close()


async def test_a_kubelet_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.kubelet.discovery.client.TIMEOUT_SECONDS", 0.2)

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async with (
        App(drip, tls=kubelet_tls()) as app,
        _client({"url": _url(app), "tls_config": TRUST}) as client,
    ):
        with pytest.raises(UpstreamTimeoutError, match=r"within 0\.2 s"):
            await client.fetch()


async def test_redirects_are_followed_without_the_token_for_others() -> None:
    async with App(PODS, tls=kubelet_tls()) as other, App(b"", tls=kubelet_tls()) as app:
        app.answer = http(b"", status="307 Go", headers={"Location": f"{_url(other)}/there"})
        document = {"url": _url(app), "tls_config": TRUST, "bearer_token": "x"}
        async with _client(document) as client:
            assert await client.fetch() == TOLD
        assert other.requests[0].startswith("GET /there ")
        assert _header(other.requests[0], "authorization") == ""
        async with _client({**document, "follow_redirects": False}) as client:
            with pytest.raises(UpstreamError, match="the redirect is not followed"):
                await client.fetch()


class _Proxy:
    """An HTTP proxy that supports CONNECT."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "_Proxy":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        port = int(head.split(" ")[1].rpartition(":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            back.transport.abort()
            writer.transport.abort()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.close()


async def test_a_proxy_is_gone_through_with_its_headers_and_the_name_still_verified() -> None:
    async with _Proxy() as proxy, App(PODS, tls=kubelet_tls("worker-1")) as app:
        document: dict[str, Any] = {
            "url": _url(app, "kubelet.example"),
            "tls_config": {**TRUST, "server_name": "worker-1"},
            "proxy_url": f"http://127.0.0.1:{proxy.port}",
            "proxy_connect_header": {"X-Team": ["a", "b"]},
            "bearer_token": "tell-nobody",
        }
        async with _client(document) as client:
            assert await client.fetch() == TOLD
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT kubelet.example:{app.port} ")
    assert "X-Team: a\r\nX-Team: b\r\n" in head
    assert "tell-nobody" not in head


async def test_who_is_named_in_no_proxy_is_called_directly() -> None:
    async with _Proxy() as proxy, App(PODS, tls=kubelet_tls("localhost")) as app:
        url = {"url": _url(app, "localhost"), "tls_config": TRUST}
        through = f"http://127.0.0.1:{proxy.port}"
        async with _client({**url, "proxy_url": through, "no_proxy": "x.example"}) as client:
            assert await client.fetch() == TOLD
        environ = {"HTTPS_PROXY": through, "no_proxy": "y"}
        async with _client({**url, "proxy_from_environment": True}, environ) as client:
            assert await client.fetch() == TOLD
        assert proxy.heads == []
        async with _client({**url, "proxy_url": through}) as client:
            assert await client.fetch() == TOLD
        assert len(proxy.heads) == 1


async def test_the_environment_names_a_proxy_where_it_is_asked() -> None:
    async with _Proxy() as proxy, App(PODS, tls=kubelet_tls("kubelet.example")) as app:
        document = {"url": _url(app, "kubelet.example"), "tls_config": TRUST}
        environ = {"https_proxy": f"127.0.0.1:{proxy.port}", "NO_PROXY": "other.example"}
        async with _client({**document, "proxy_from_environment": True}, environ) as client:
            assert await client.fetch() == TOLD
        assert len(proxy.heads) == 1
        async with _client(document, environ) as client:
            with pytest.raises(UpstreamError):
                await client.fetch()
        assert len(proxy.heads) == 1


@pytest.mark.parametrize("said", [b"", b"\x05", b"\x05\xff\x00\x00", b"HTTP/1.1 banana\r\n\r\n"])
@pytest.mark.parametrize(
    "scheme",
    [
        "http",
        # httpcore leaves the socket of a failed SOCKS greeting to the garbage collector.
        pytest.param("socks5", marks=pytest.mark.filterwarnings("ignore")),
    ],
)
async def test_a_proxy_that_closes_or_talks_nonsense_is_an_error_with_a_reason(
    scheme: str, said: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(3)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = {"url": "https://kubelet.example:10250", "proxy_url": f"{scheme}://127.0.0.1:{port}"}
    async with _client(given) as client:
        with pytest.raises(UpstreamError, match=r"cannot fetch the kubelet's pods from .*: ."):
            await client.fetch()
    server.close()
    gc.collect()
