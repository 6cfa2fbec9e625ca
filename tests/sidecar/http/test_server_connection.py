import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from sidecar.http import server_connection
from sidecar.http.messages import Request, Response
from sidecar.http.server import Server
from tests.sidecar.apps import connected, get, until
from tests.sidecar.http.site import BIG, Site

pytestmark = pytest.mark.anyio

_GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.port = await site.server.start("127.0.0.1", 0)
    yield site
    await site.server.drain(0)
    await until(lambda: not len(site.server.connections))


async def test_a_request_reaches_the_handler_with_its_parts(site: Site) -> None:
    reply = await get(site.port, "/a?b=c", X_Two="1")

    assert (reply.status, reply.text) == (200, "hello\n")
    request = site.requests[0]
    assert (request.method, request.path, request.query) == ("GET", "/a", "b=c")
    assert request.headers["x-two"] == "1"


async def test_repeated_headers_are_joined(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n\r\n")
        await client.reply()

    assert site.requests[0].headers["accept"] == "a, b"


async def test_a_connection_serves_one_request_after_another(site: Site) -> None:
    async with connected(site.port) as client:
        replies = [await client.get("/") for _ in range(50)]

    assert {reply.status for reply in replies} == {200}
    assert "connection" not in replies[0].headers


async def test_a_request_may_come_byte_by_byte(site: Site) -> None:
    async with connected(site.port) as client:
        for position in range(len(_GET)):
            await client.send(_GET[position : position + 1])
            await asyncio.sleep(0)

        assert (await client.reply()).status == 200


async def test_an_http_1_0_client_is_answered_and_the_connection_closed(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")

        assert (await client.reply()).headers["connection"] == "close"
        assert await client.is_closed()


async def test_an_answer_to_head_has_the_length_but_no_body(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"HEAD / HTTP/1.1\r\n\r\n")
        reply = await client.reply(has_body=False)

        assert reply.headers["content-length"] == "6"
        assert (await client.get("/")).text == "hello\n"


@pytest.mark.parametrize("request_line", [b"HEAD /parts HTTP/1.1", b"GET /parts HTTP/1.0"])
async def test_a_body_that_nobody_reads_comes_to_its_end(request_line: bytes) -> None:
    ended: list[int] = []

    async def follow() -> AsyncGenerator[bytes, None]:
        try:
            yield b"x" * 100
            yield b"x" * 100
        finally:
            ended.append(1)

    async def answer(_: Request) -> Response:
        return Response(200, b"", parts=follow())

    server = Server(answer)
    port = await server.start("127.0.0.1", 0)
    server.gathered = server_connection.MAX_GATHERED
    async with connected(port) as client:
        await client.send(request_line + b"\r\n\r\n")
        await client.reply(has_body=False)
    await server.drain(1)

    assert ended == [1]


async def test_a_body_of_a_request_is_read_and_ignored(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" + b"")
        assert (await client.reply()).status == 200
        assert (await client.get("/")).status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nA B: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_garbage_is_refused_with_a_sentence(site: Site, garbage: bytes) -> None:
    async with connected(site.port) as client:
        await client.send(garbage)
        reply = await client.reply()

        assert reply.status == 400
        assert reply.text.startswith("not a plain HTTP/1.1 request: ")
        assert await client.is_closed()
    assert not site.requests


async def test_of_pipelined_requests_the_first_is_answered_untouched(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(_GET + b"GET /other HTTP/1.1\r\nHost: evil\r\nX-More: 1\r\n\r\n")

        assert (await client.reply()).headers["connection"] == "close"
        assert await client.is_closed()
    assert [(item.path, dict(item.headers)) for item in site.requests] == [("/a", {"host": "x"})]


@pytest.mark.parametrize("rest", [b"\0\0\0", b"GET /oth", b"\r\n\r\nx"])
async def test_what_comes_behind_a_request_does_not_harm_its_answer(
    site: Site, rest: bytes
) -> None:
    async with connected(site.port) as client:
        await client.send(_GET + rest)

        assert (await client.reply()).text == "hello\n"


_OFFER = b"\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nA: 1\r\nA: 2"


@pytest.fixture
async def echo() -> AsyncIterator[tuple[int, list[Request]]]:
    """A server that records its requests; yields its port and the requests."""
    requests: list[Request] = []

    async def answer(request: Request) -> Response:
        requests.append(request)
        return Response(200, b"ok\n")

    server = Server(answer, keeps_bodies=True)
    yield await server.start("127.0.0.1", 0), requests
    await server.drain(0)
    await until(lambda: not len(server.connections))


@pytest.mark.parametrize("cut", [None, 1, 20, 45, -1, -3, -6])
async def test_an_upgrade_is_not_taken_up_but_the_request_answered(
    echo: tuple[int, list[Request]], cut: int | None
) -> None:
    port, requests = echo
    text = b"POST /a?b HTTP/1.1\r\nContent-Length: 2" + _OFFER + b"\r\n\r\nab"
    async with connected(port) as client:
        for _ in range(2):
            await client.send(text[:cut])
            if cut is not None:
                await asyncio.sleep(0.02)
                await client.send(text[cut:])
            assert (await client.reply()).status == 200

    assert [(item.method, item.path, item.query, item.body) for item in requests] == [
        ("POST", "/a", "b", b"ab")
    ] * 2
    assert requests[0].headers["a"] == "1, 2"


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("offer", [b"", _OFFER])
async def test_a_body_is_what_was_sent_wherever_its_head_is_cut(
    echo: tuple[int, list[Request]], offer: bytes, cut: int
) -> None:
    port, requests = echo
    hidden = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"a" + b"\r\nupgrade:" * 40 + hidden
    length = f"Content-Length: {len(body)}".encode()
    head = b"POST /a HTTP/1.1\r\n" + length + offer + b"\r\n\r\n"
    async with connected(port) as client:
        for part in (head[:-cut], head[-cut:] + body[: -len(hidden)], hidden):
            await client.send(part)
            await asyncio.sleep(0.02)
        assert (await client.reply()).status == 200

    assert [(item.path, item.body) for item in requests] == [("/a", body)]


async def test_an_upgrade_in_a_second_request_is_that_one_s(
    echo: tuple[int, list[Request]],
) -> None:
    port, requests = echo
    async with connected(port) as client:
        await client.send(b"GET /one HTTP/1.1\r\n\r\nGET /two HTTP/1.1" + _OFFER + b"\r\n\r\n")
        assert (await client.reply()).status == 200
        assert await client.is_closed()

    assert [item.path for item in requests] == ["/one"]


async def test_a_tunnel_is_refused(echo: tuple[int, list[Request]]) -> None:
    port, requests = echo
    async with connected(port) as client:
        await client.send(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.reply()).status == 400

    assert requests == []


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431, "the headers are too large\n"),
        (b"GET /" + b"x" * 20_000, 431, "the headers are too large\n"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3_000, 431, "the headers are too large\n"),
        (b"GET /" + b"x" * 200_000, 431, "the request is too large\n"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n" + b"x" * 200_000, 413,
            "the request is too large\n",
        ),
    ],
)  # fmt: skip
async def test_a_request_beyond_the_bounds_is_refused(
    site: Site, data: bytes, status: int, sentence: str
) -> None:
    async with connected(site.port) as client:
        await client.send(data)
        reply = await client.reply()

        assert (reply.status, reply.text) == (status, sentence)
        assert await client.is_closed()


async def test_headers_that_trickle_in_are_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "HEADER_TIMEOUT_SECONDS", 0.1)
    async with connected(site.port) as client:
        trickle = asyncio.create_task(_trickle(client.writer))
        reply = await client.reply()
        trickle.cancel()

        assert (reply.status, reply.text) == (408, "no whole request within 0.1 s\n")
        assert await client.is_closed()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\n")
    while True:
        writer.write(b"A: b\r\n")
        await asyncio.sleep(0.02)


async def test_a_connection_without_a_request_is_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "HEADER_TIMEOUT_SECONDS", 0.05)
    async with connected(site.port) as client:
        assert await client.is_closed()


async def test_an_idle_connection_is_closed_in_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "IDLE_TIMEOUT_SECONDS", 0.05)
    async with connected(site.port) as client:
        assert (await client.get("/")).status == 200
        assert await client.is_closed()


async def test_a_slow_reader_is_given_up_while_others_are_served(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "WRITE_TIMEOUT_SECONDS", 0.3)
    async with connected(site.port, limit=1024) as client:
        await client.send(b"GET /big HTTP/1.1\r\n\r\n")
        await until(lambda: site.server.unsent_bytes == len(BIG))

        assert (await get(site.port, "/")).status == 200
        await until(lambda: not len(site.server.connections))
        await until(lambda: site.server.unsent_bytes == 0)


async def test_a_large_answer_arrives_whole_at_several_readers(site: Site) -> None:
    replies = await asyncio.gather(*(get(site.port, "/big") for _ in range(3)))

    assert [reply.body == BIG for reply in replies] == [True, True, True]
    await until(lambda: site.server.unsent_bytes == 0)


async def test_an_unread_answer_followed_by_garbage_does_not_hold_the_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "WRITE_TIMEOUT_SECONDS", 0.1)
    async with connected(site.port, limit=1024) as client:
        await client.send(b"GET /big HTTP/1.1\r\n\r\n\0garbage")

        await until(lambda: len(site.requests) == 1)
        await until(lambda: not len(site.server.connections))


async def test_a_client_that_vanishes_ends_its_request(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(site.requests) == 1)
        client.writer.transport.abort()

        await until(lambda: site.cancelled == 1 and not len(site.server.connections))
    assert (await get(site.port, "/")).status == 200


async def test_a_failing_handler_is_a_500_and_a_log_entry(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(site.port) as client:
        reply = await client.get("/broken")

        assert (reply.status, reply.text) == (500, "internal error; see the log\n")
        assert (await client.get("/")).status == 200
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("keeps_bodies", [True, False])
async def test_a_body_is_kept_for_a_server_that_wants_it(site: Site, keeps_bodies: bool) -> None:
    site.server.keeps_bodies = keeps_bodies
    whole = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    chunked = (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    )
    async with connected(site.port) as client:
        for raw in (whole, chunked, _GET):
            await client.send(raw)
            await client.reply()

    expected = [b"hello", b"hello", b""] if keeps_bodies else [b"", b"", b""]
    assert [request.body for request in site.requests] == expected


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Content-Length: +5\r\n",
    ],
)
async def test_a_body_whose_end_two_servers_could_see_otherwise_is_refused(
    site: Site, lengths: bytes
) -> None:
    site.server.keeps_bodies = True
    async with connected(site.port) as client:
        await client.send(b"POST / HTTP/1.1\r\n" + lengths + b"\r\n0\r\n\r\n12345")

        assert (await client.reply()).status == 400
    assert not site.requests
