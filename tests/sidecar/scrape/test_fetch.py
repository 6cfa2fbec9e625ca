import asyncio
import gzip
import zlib
from collections.abc import Sequence

import pytest

from sidecar.errors import LimitError, UpstreamError, UpstreamTimeoutError
from sidecar.model.targets import parse_target
from sidecar.scrape.fetch import Budget, Fetched, Question, TargetClient
from sidecar.scrape.settings import ScrapeLimits
from tests.sidecar.apps import App, http, zipped
from tests.sidecar.certificates import self_signed

pytestmark = pytest.mark.anyio

_CUT = "the connection was lost: closed before the end of the response"
_BODY = b"".join(b'requests_total{path="/%d"} %d\n' % (i, i) for i in range(2_000))


def _client(target: str, pod_ip: str = "") -> TargetClient:
    return TargetClient(parse_target(target), pod_ip, ScrapeLimits().target_bytes)


async def _fetch(
    client: TargetClient,
    *,
    query: str = "",
    timeout_seconds: float = 3.0,
    accept: str = "text/x",
    passed: Sequence[tuple[str, str]] = (),
) -> Fetched:
    budget = Budget(ScrapeLimits().scrape_bytes, "from all targets in one scrape")
    return await client.fetch(Question(accept, query, passed), timeout_seconds, budget)


async def _fetch_once(app: App, *, timeout_seconds: float = 3.0) -> Fetched:
    client = _client(app.target)
    try:
        return await _fetch(client, timeout_seconds=timeout_seconds)
    finally:
        client.close()


async def _refusal(app: App, *, timeout_seconds: float = 3.0) -> str:
    async with app:
        with pytest.raises((UpstreamError, LimitError)) as caught:
            await _fetch_once(app, timeout_seconds=timeout_seconds)
    return str(caught.value)


def _encoded(body: bytes, encoding: str) -> bytes:
    return http(body, headers={"Content-Encoding": encoding})


async def test_a_target_is_asked_with_these_headers_and_no_others() -> None:
    async with App(http(b"a 1\n")) as app:
        await _fetch_once(app)

    first, *lines = app.requests[0].rstrip().split("\r\n")
    assert first == "GET /metrics HTTP/1.1"
    assert {line.split(":")[0] for line in lines} == {
        "Host", "User-Agent", "Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pod_ip", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("", "localhost")],
)
async def test_the_host_is_the_pods_address_as_prometheus_sent_it(pod_ip: str, host: str) -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(app.target, pod_ip)
        await _fetch(client)
        client.close()

        assert f"Host: {host}:{app.port}\r\n" in app.requests[0]


async def test_headers_that_are_passed_on_reach_the_target() -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(app.target)
        await _fetch(client, passed=[("authorization", "Bearer x")])
        client.close()

    assert "authorization: Bearer x\r\n" in app.requests[0]


def _redirect(location: str, status: str = "307 Temporary Redirect") -> bytes:
    return http(b"moved", status=status, headers={"Location": location})


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
@pytest.mark.parametrize(
    "location", ["/metrics/", "metrics/", "http://127.0.0.1:{port}/metrics/", "/metrics/#x"]
)
async def test_a_redirect_to_the_same_origin_is_followed(status: str, location: str) -> None:
    async with App(http(b"a 1\n")) as app:
        app.answers["/metrics"] = _redirect(location.format(port=app.port), status)
        client = _client(app.target, "127.0.0.1")

        assert (await _fetch(client)).body == b"a 1\n"
        client.close()

    assert [text.split(" ")[1] for text in app.requests] == ["/metrics", "/metrics/"]
    assert app.connections == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/m", "//127.0.0.2/m", "https://127.0.0.1:{port}/m",
        "http://127.0.0.1:1/m", "http://localhost:{port}/m", "ftp://127.0.0.1:{port}/m",
        "http://[::1/m", "http://127.0.0.1:99999/m",
    ],
)  # fmt: skip
async def test_a_redirect_elsewhere_is_refused_and_shown(location: str) -> None:
    async with App(b"") as app:
        app.answer = _redirect(location.format(port=app.port))
        client = _client(app.target, "127.0.0.1")
        with pytest.raises(UpstreamError, match=r"^redirected to '") as caught:
            await _fetch(client)
        client.close()

        assert location.format(port=app.port) in str(caught.value)
    assert len(app.requests) == 1


async def test_after_five_redirects_the_scrape_fails() -> None:
    async with App(_redirect("/metrics")) as app:
        client = _client(app.target)
        with pytest.raises(UpstreamError, match="more than 5 redirects; the last one is to /metr"):
            await _fetch(client)
        client.close()

    assert len(app.requests) == 6


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_the_body_of_a_redirect_may_be_of_any_size(size: int) -> None:
    async with App(http(b"a 1\n")) as app:
        app.answers["/metrics"] = http(b"x" * size, status="307 T", headers={"Location": "/m"})
        client = _client(app.target)

        assert (await _fetch(client)).body == b"a 1\n"
        client.close()


@pytest.mark.parametrize(
    ("path", "query", "asked"),
    [("/m", "a=b", "/m?a=b"), ("/m?x=1", "a=b", "/m?x=1&a=b"), ("/m?x=1", "", "/m?x=1")],
)
async def test_a_query_is_added_to_the_targets_own(path: str, query: str, asked: str) -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(f"http://:{app.port}{path}")
        await _fetch(client, query=query)
        client.close()

    assert app.requests[0].split(" ")[1] == asked


async def test_a_body_comes_back_as_it_was_sent() -> None:
    async with App(http(_BODY, "text/plain; x=y")) as app:
        assert await _fetch_once(app) == Fetched(_BODY, "text/plain; x=y")


async def test_a_body_without_content_type_or_end_is_taken() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + _BODY)
        await writer.drain()
        writer.close()

    async with App(answer) as app:
        assert await _fetch_once(app) == Fetched(_BODY, "")


async def test_a_body_in_chunks_of_one_byte_is_put_together() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with App(head + chunks + b"0\r\nX-Trailer: 1\r\n\r\n") as app:
        assert (await _fetch_once(app)).body == _BODY


@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
async def test_a_gzip_body_is_decompressed(encoding: str) -> None:
    async with App(zipped(_BODY, encoding)) as app:
        assert (await _fetch_once(app)).body == _BODY


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_gzip_body_may_come_in_parts(size: int) -> None:
    body = gzip.compress(b"x" * 3_000_000)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with App(head + chunks + b"0\r\n\r\n") as app:
        assert len((await _fetch_once(app)).body) == 3_000_000


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (http(b"", status="302 Found"), "redirected to a Location that cannot be followed: "),
        (http(b"x" * 5_000_000, status="500 Internal Server Error"), "answered 500"),
        (http(b"", status="204 No Content"), "answered 204"),
        (http(b"", status="401 Unauthorized"), "answered 401 to a scrape without credentials; "),
        (_encoded(b"a 1\n", "gzip"), "the gzip body is damaged: "),
        (
            _encoded(gzip.compress(_BODY)[:-9], "gzip"),
            "the gzip body is incomplete or followed by other data",
        ),
        (_encoded(gzip.compress(_BODY)[:-8] + b"\0" * 8, "gzip"), "the gzip body is damaged: "),
        (
            _encoded(gzip.compress(_BODY) + b"x", "gzip"),
            "the gzip body is incomplete or followed by other data",
        ),
        (_encoded(zlib.compress(_BODY), "gzip"), "the gzip body is damaged: "),
        (_encoded(b"", "gzip"), "the gzip body is incomplete or followed by other data"),
        (http(b"x" * ((10 << 20) + 1)), "more than 10 MiB from one target"),
        (zipped(b"\0" * (1 << 30)), "more than 10 MiB from one target"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000, "more than 65536 bytes of headers"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the response is not HTTP/1.1: it begins with 'SSH-2.0"),
    ],
)
async def test_a_bad_answer_is_refused_in_one_sentence(answer: bytes, sentence: str) -> None:
    assert (await _refusal(App(answer))).startswith(sentence)


async def test_a_length_that_promises_more_than_comes_is_noticed() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n")
        await writer.drain()
        writer.close()

    assert await _refusal(App(answer)) == _CUT


async def test_chunks_that_break_off_are_noticed() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n")
        await writer.drain()
        writer.close()

    assert await _refusal(App(answer)) == _CUT


async def test_a_length_that_promises_less_ends_the_body_and_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\nb 2\n"
    async with App(answer) as app:
        client = _client(app.target)
        assert [(await _fetch(client)).body for _ in range(2)] == [b"a 1\n", b"a 1\n"]
        client.close()

    assert app.connections == 2


async def test_an_application_that_never_answers_is_given_up() -> None:
    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    app = App(answer)
    async with app:
        with pytest.raises(UpstreamTimeoutError, match=r"^no complete response within 0\.1 s$"):
            await _fetch_once(app, timeout_seconds=0.1)


async def test_an_application_that_trickles_is_given_up() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.02)

    assert await _refusal(App(answer), timeout_seconds=0.2) == "no complete response within 0.2 s"


async def test_a_connection_is_kept_between_scrapes() -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(app.target)
        for _ in range(5):
            await _fetch(client)
        client.close()

    assert app.connections == 1


@pytest.mark.parametrize("notices_first", [True, False])
async def test_a_connection_closed_between_scrapes_is_no_failure(notices_first: bool) -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(app.target)
        await _fetch(client)
        app.hang_up()
        if notices_first:
            await asyncio.sleep(0.01)

        assert (await _fetch(client)).body == b"a 1\n"
        client.close()
    assert app.connections == 2


async def test_an_application_that_always_hangs_up_is_tried_once_more_only() -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(app.target)
        await _fetch(client)

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.close()

        app.answer = answer
        with pytest.raises(UpstreamError, match=_CUT):
            await _fetch(client)
    assert len(app.requests) == 3


async def test_after_a_failure_the_next_scrape_starts_afresh() -> None:
    async with App(http(b"", status="500 Oh")) as app:
        client = _client(app.target)
        with pytest.raises(UpstreamError):
            await _fetch(client)
        app.answer = http(b"a 1\n")

        assert (await _fetch(client)).body == b"a 1\n"
        client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_application_may_listen_on_one_family_only(host: str) -> None:
    async with App(http(b"a 1\n"), host=host) as app:
        assert (await _fetch_once(app)).body == b"a 1\n"


async def test_an_application_may_listen_on_the_pods_address_only() -> None:
    async with App(http(b"a 1\n"), host="127.0.0.9") as app:
        client = _client(app.target, "127.0.0.9")
        assert (await _fetch(client)).body == b"a 1\n"
        client.close()


async def test_a_port_where_nobody_listens_is_named_with_each_address() -> None:
    app = App(b"")
    async with app:
        pass
    with pytest.raises(UpstreamError) as caught:
        await _fetch_once(app)

    assert str(caught.value) == f"connection refused on port {app.port} (127.0.0.1, ::1)"


async def test_a_self_signed_certificate_is_good_enough_on_loopback() -> None:
    async with App(http(b"a 1\n"), tls=self_signed("nobody")) as app:
        assert (await _fetch_once(app)).body == b"a 1\n"


async def test_https_to_a_plain_application_is_a_failure_with_a_reason() -> None:
    async with App(http(b"a 1\n")) as app:
        client = _client(f"https://:{app.port}/metrics")
        with pytest.raises(UpstreamError, match=r"within 0\.2 s; if it speaks no TLS, annotate"):
            await _fetch(client, timeout_seconds=0.2)


def test_a_budget_is_used_up_by_all_its_takers() -> None:
    budget = Budget(2 << 20, "from here")
    budget.take(1 << 20)
    budget.take(1 << 20)

    with pytest.raises(LimitError, match=r"^more than 2 MiB from here$"):
        budget.take(1)
