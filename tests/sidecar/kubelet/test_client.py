import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from webhook_certs.authority import create_authority

from sidecar.errors import SettingsError, UpstreamError, UpstreamTimeoutError
from sidecar.kubelet.client import KubeletClient, KubeletSettings
from tests.sidecar.apps import Answer, App, http, until
from tests.sidecar.kubelets import AUTHORITY, kubelet_tls

pytestmark = pytest.mark.anyio

_TEXT = "text/plain;version=0.0.4"
_BODY = b"a 1\n" * 1000


@contextlib.asynccontextmanager
async def _asked(
    answer: Answer, settings: KubeletSettings | None = None, *, path: str = ""
) -> AsyncIterator[tuple[App, KubeletClient]]:
    """Run a kubelet without TLS and a client of it."""
    async with App(answer) as app:
        given = settings or KubeletSettings("")
        client = KubeletClient(given._replace(url=f"http://127.0.0.1:{app.port}{path}"))
        try:
            yield app, client
        finally:
            client.close()


async def _get(
    client: KubeletClient, path: str = "/metrics", *, accept: str = _TEXT, seconds: float = 3.0
) -> bytes:
    parts = await client.get(path, accept=accept, timeout_seconds=seconds)
    async with contextlib.aclosing(parts):
        return b"".join([b"".join(some) async for some in parts])


async def test_the_kubelet_is_asked_with_these_headers_and_no_others() -> None:
    async with _asked(http(_BODY)) as (app, client):
        assert await _get(client) == _BODY

    first, *lines = app.requests[0].rstrip().split("\r\n")
    assert first == "GET /metrics HTTP/1.1"
    assert {line.split(":")[0] for line in lines} == {
        "Host", "User-Agent", "Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds",
    }  # fmt: skip
    assert f"Host: 127.0.0.1:{app.port}" in lines
    assert "X-Prometheus-Scrape-Timeout-Seconds: 3.000" in lines


@pytest.mark.parametrize(
    ("prefix", "cadvisor", "path", "asked"),
    [
        ("", "", "/metrics/cadvisor?a=b", "/metrics/cadvisor?a=b"),
        ("/", "", "/metrics", "/metrics"),
        ("/api/v1/nodes/w/proxy/", "", "/pods", "/api/v1/nodes/w/proxy/pods"),
        ("", "/other", "/metrics/cadvisor?a=/metrics/cadvisor", "/other?a=/metrics/cadvisor"),
        ("", "/other", "/metrics/cadvisor/x", "/metrics/cadvisor/x"),
        ("/x", "/other", "/metrics/cadvisor", "/x/other"),
    ],
)
async def test_a_path_is_the_kubelets_own_after_that_of_its_url(
    prefix: str, cadvisor: str, path: str, asked: str
) -> None:
    settings = KubeletSettings("", cadvisor_path=cadvisor)
    async with _asked(http(_BODY), settings, path=prefix) as (app, client):
        await _get(client, path)

    assert app.requests[0].split(" ")[1] == asked


async def test_a_token_is_read_anew_for_each_question(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with _asked(http(_BODY), KubeletSettings("", token_file=file)) as (app, client):
        for token in ("one", "two\n"):
            file.write_text(token)
            await _get(client)

    sent = [request.split("Authorization: ")[1].split("\r\n")[0] for request in app.requests]
    assert sent == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("content", [None, b"", b"a b", b"a\nHost: x", b"\xff", b"x" * (65 << 10)])
async def test_without_a_token_that_can_be_sent_nothing_is_asked(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    async with _asked(http(_BODY), KubeletSettings("", token_file=file)) as (app, client):
        with pytest.raises(UpstreamError, match=rf"the kubelet's token: .*{file}"):
            await _get(client)

    assert app.requests == []


async def test_a_connection_is_kept_from_one_answer_to_the_next() -> None:
    async with _asked(http(_BODY)) as (app, client):
        for _ in range(4):
            await _get(client)

        assert (len(app.requests), app.connections) == (4, 1)


async def test_a_connection_that_the_kubelet_closed_is_replaced() -> None:
    async with _asked(http(_BODY)) as (app, client):
        await _get(client)
        app.hang_up()

        assert await _get(client) == _BODY
        assert app.connections == 2


async def test_an_answer_that_is_left_half_read_takes_its_connection_along() -> None:
    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(http(_BODY)[:-1])

    async with _asked(stall) as (app, client):
        parts = await client.get("/metrics", accept=_TEXT, timeout_seconds=3)
        assert (await anext(parts))[0].startswith(b"a 1\n")
        await parts.aclose()
        await until(lambda: not app.readers)
        app.answer = http(_BODY)
        assert await _get(client) == _BODY


@pytest.mark.parametrize(
    ("answer", "path", "reason"),
    [
        (http(b"", status="401 No"), "/pods", "401: the token was rejected"),
        (http(b"", status="403 No"), "/pods", "is not allowed to get nodes/pods"),
        (http(b"", status="403 No"), "/metrics", "is not allowed to get nodes/metrics; see"),
        (http(b"a\n  b", status="500 Oh"), "/pods", "the kubelet answered 500: a b"),
        (http(b"", status="204 Empty"), "/pods", "the kubelet answered 204"),
        (http(b"x", status="301 Go"), "/pods", "301: redirects are not followed"),
        (http(b"a 1\n", kind="application/openmetrics-text"), "/pods", "instead of text/plain"),
    ],
)
async def test_a_refusal_says_why_and_leaves_no_connection(
    answer: bytes, path: str, reason: str
) -> None:
    async with _asked(answer) as (app, client):
        with pytest.raises(UpstreamError, match=reason):
            await _get(client, path)
        await until(lambda: not app.readers)


async def test_a_reason_is_cut_however_long_the_kubelet_makes_it() -> None:
    async with _asked(http("é".encode() * (1 << 20), status="500 Oh")) as (_, client):
        with pytest.raises(UpstreamError) as caught:
            await _get(client)

    assert str(caught.value) == "the kubelet answered 500: " + "é" * 150


@pytest.mark.parametrize(
    ("kind", "is_taken"),
    [
        ("application/json", True),
        ("Application/JSON; x=y", True),
        ("", False),
        ("text/plain", False),
    ],
)
async def test_only_the_media_type_that_was_asked_for_is_taken(kind: str, is_taken: bool) -> None:
    async with _asked(http(b"{}", kind=kind)) as (_, client):
        if is_taken:
            assert await _get(client, accept="application/json") == b"{}"
        else:
            with pytest.raises(UpstreamError, match="instead of application/json"):
                await _get(client, accept="application/json")


async def test_a_kubelet_that_does_not_begin_in_time_is_given_up() -> None:
    async with _asked(b"") as (app, client):

        async def wait(writer: asyncio.StreamWriter) -> None:
            await app.readers[writer].read()  # until the client hangs up

        app.answer = wait
        with pytest.raises(UpstreamTimeoutError, match=r"did not answer within 0\.1 s"):
            await _get(client, seconds=0.1)
        await until(lambda: not app.readers)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(gzip.compress(_BODY)[:-9], "is incomplete"), (gzip.compress(_BODY) + b"x", "is incomplete")],
    ids=["broken-off", "followed"],
)
async def test_a_compressed_body_is_taken_whole_or_not_at_all(body: bytes, reason: str) -> None:
    async with _asked(http(gzip.compress(_BODY), headers={"Content-Encoding": "gzip"})) as (
        app,
        client,
    ):
        assert await _get(client) == _BODY
        app.answer = http(body, headers={"Content-Encoding": "gzip"})
        with pytest.raises(UpstreamError, match=reason):
            await _get(client)


async def test_a_renewed_ca_is_trusted_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(create_authority("other", datetime.now(UTC)).certificate_pem)
    async with App(http(_BODY), tls=kubelet_tls()) as app:
        client = KubeletClient(KubeletSettings(f"https://127.0.0.1:{app.port}", ca_file=file))
        with pytest.raises(UpstreamError, match="certificate verify failed"):
            await _get(client)
        file.write_text(AUTHORITY.certificate_pem)
        assert await _get(client) == _BODY
        client.close()


@pytest.mark.parametrize(
    "url",
    ["", "10.0.0.7:10250", "ftp://a", "https://", "https://a:70000", "https://[::1", "http://a?b=c",
     "http://a#b", "http://a..b", f"http://{'a' * 64}.b", "http://.x", "http://h:1/€",
     "http://h/a b", "http://w中", "https://h:0", "https://h/\0"],
)  # fmt: skip
def test_an_address_that_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="is not https://host:port"):
        KubeletClient(KubeletSettings(url))


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_a_ca_that_cannot_be_read_is_named_at_once(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)

    with pytest.raises(SettingsError, match=f"--kubelet-ca-file: {file}"):
        KubeletClient(KubeletSettings("https://a:1", ca_file=file))


@pytest.mark.parametrize(
    ("settings", "address", "url"),
    [
        (KubeletSettings(""), "10.0.0.7", "https://10.0.0.7:10250"),
        (KubeletSettings("", port=1), "fd00::7", "https://[fd00::7]:1"),
        (KubeletSettings("", port=1), "[fd00::7]", "https://[fd00::7]:1"),
        (KubeletSettings("", port=1), "http://a:2/x", "http://a:2/x"),
        (KubeletSettings("", api_server="https://api"), "x", "https://api/api/v1/nodes/w/proxy"),
    ],
)
def test_each_nodes_kubelet_has_its_address(
    settings: KubeletSettings, address: str, url: str
) -> None:
    assert settings.of_node("w", address) == settings._replace(url=url)
