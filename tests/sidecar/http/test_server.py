import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sidecar.http import server
from sidecar.http.messages import Request, Response, plain
from sidecar.http.server import Server
from tests.sidecar.apps import connected, get, until

pytestmark = pytest.mark.anyio

_BIG = b"x" * (20 << 20)
_GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


class _Site:
    """A server with pages that are slow, large or broken."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.gate = asyncio.Event()
        self.cancelled = 0
        self.server = Server(self._handle)
        self.port = 0

    async def _handle(self, request: Request) -> Response:
        self.requests.append(request)
        pages: dict[str, Callable[[], Awaitable[Response]]] = {"/slow": self._slow}
        if request.path == "/broken":
            raise ZeroDivisionError
        if request.path == "/big":
            return Response(200, _BIG)
        return await pages[request.path]() if request.path in pages else plain(200, "hello")

    async def _slow(self) -> Response:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return plain(200, "at last")


@pytest.fixture
async def site() -> AsyncIterator[_Site]:
    site = _Site()
    site.port = await site.server.start("127.0.0.1", 0)
    yield site
    await site.server.drain(0)
    await until(lambda: not site.server.connections)


async def test_a_request_reaches_the_handler_with_its_parts(site: _Site) -> None:
    reply = await get(site.port, "/a?b=c", X_Two="1")

    assert (reply.status, reply.text) == (200, "hello\n")
    request = site.requests[0]
    assert (request.method, request.path, request.query) == ("GET", "/a", "b=c")
    assert request.headers["x-two"] == "1"


async def test_repeated_headers_are_joined(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n\r\n")
        await client.reply()

    assert site.requests[0].headers["accept"] == "a, b"


async def test_a_connection_serves_one_request_after_another(site: _Site) -> None:
    async with connected(site.port) as client:
        replies = [await client.get("/") for _ in range(50)]

    assert {reply.status for reply in replies} == {200}
    assert "connection" not in replies[0].headers


async def test_a_request_may_come_byte_by_byte(site: _Site) -> None:
    async with connected(site.port) as client:
        for position in range(len(_GET)):
            await client.send(_GET[position : position + 1])
            await asyncio.sleep(0)

        assert (await client.reply()).status == 200


async def test_an_http_1_0_client_is_answered_and_the_connection_closed(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")

        assert (await client.reply()).headers["connection"] == "close"
        assert await client.is_closed()


async def test_an_answer_to_head_has_the_length_but_no_body(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"HEAD / HTTP/1.1\r\n\r\n")
        reply = await client.reply(has_body=False)

        assert reply.headers["content-length"] == "6"
        assert (await client.get("/")).text == "hello\n"


async def test_a_body_of_a_request_is_read_and_ignored(site: _Site) -> None:
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
async def test_garbage_is_refused_with_a_sentence(site: _Site, garbage: bytes) -> None:
    async with connected(site.port) as client:
        await client.send(garbage)
        reply = await client.reply()

        assert (reply.status, reply.text) == (400, "not a plain HTTP/1.1 request\n")
        assert await client.is_closed()
    assert not site.requests


async def test_of_pipelined_requests_the_first_is_answered_untouched(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(_GET + b"GET /other HTTP/1.1\r\nHost: evil\r\nX-More: 1\r\n\r\n")

        assert (await client.reply()).headers["connection"] == "close"
        assert await client.is_closed()
    assert [(item.path, dict(item.headers)) for item in site.requests] == [("/a", {"host": "x"})]


@pytest.mark.parametrize("rest", [b"\0\0\0", b"GET /oth", b"\r\n\r\nx"])
async def test_what_comes_behind_a_request_does_not_harm_its_answer(
    site: _Site, rest: bytes
) -> None:
    async with connected(site.port) as client:
        await client.send(_GET + rest)

        assert (await client.reply()).text == "hello\n"


async def test_an_upgrade_is_not_taken_up_but_the_request_answered(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        )

        assert (await client.reply()).status == 200
        assert await client.is_closed()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, "the headers are too large\n"),
        (b"GET /" + b"x" * 20_000, "the headers are too large\n"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3_000, "the headers are too large\n"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n" + b"x" * 90_000,
            "the request is too large\n",
        ),
    ],
)
async def test_a_request_beyond_the_bounds_is_refused(
    site: _Site, data: bytes, sentence: str
) -> None:
    async with connected(site.port) as client:
        await client.send(data)
        reply = await client.reply()

        assert (reply.status, reply.text) == (431, sentence)
        assert await client.is_closed()


async def test_headers_that_trickle_in_are_given_up(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT_SECONDS", 0.1)
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
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT_SECONDS", 0.05)
    async with connected(site.port) as client:
        assert await client.is_closed()


async def test_an_idle_connection_is_closed_in_the_end(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT_SECONDS", 0.05)
    async with connected(site.port) as client:
        assert (await client.get("/")).status == 200
        assert await client.is_closed()


async def test_an_idle_connection_makes_room_for_a_new_one(site: _Site) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(32)]
    await until(lambda: len(site.server.connections) == 32)

    assert [(await get(site.port, "/")).status for _ in range(3)] == [200, 200, 200]

    for _, writer in idle:
        writer.transport.abort()


async def test_with_all_connections_busy_the_next_is_refused(site: _Site) -> None:
    busy = [asyncio.create_task(get(site.port, "/slow")) for _ in range(32)]
    await until(lambda: len(site.requests) == 32)

    async with connected(site.port) as client:
        reply = await client.reply()
    site.gate.set()

    assert (reply.status, reply.text) == (503, "too many connections\n")
    assert {(await task).text for task in busy} == {"at last\n"}


async def test_a_slow_reader_is_given_up_while_others_are_served(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT_SECONDS", 0.3)
    async with connected(site.port, limit=1024) as client:
        await client.send(b"GET /big HTTP/1.1\r\n\r\n")
        await until(lambda: site.server.unsent_bytes == len(_BIG))

        assert (await get(site.port, "/")).status == 200
        await until(lambda: not site.server.connections)
        await until(lambda: site.server.unsent_bytes == 0)


async def test_a_large_answer_arrives_whole_at_several_readers(site: _Site) -> None:
    replies = await asyncio.gather(*(get(site.port, "/big") for _ in range(3)))

    assert [reply.body == _BIG for reply in replies] == [True, True, True]
    await until(lambda: site.server.unsent_bytes == 0)


async def test_an_unread_answer_followed_by_garbage_does_not_hold_the_connection(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT_SECONDS", 0.1)
    async with connected(site.port, limit=1024) as client:
        await client.send(b"GET /big HTTP/1.1\r\n\r\n\0garbage")

        await until(lambda: len(site.requests) == 1)
        await until(lambda: not site.server.connections)


async def test_a_client_that_vanishes_ends_its_request(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(site.requests) == 1)
        client.writer.transport.abort()

        await until(lambda: site.cancelled == 1 and not site.server.connections)
    assert (await get(site.port, "/")).status == 200


async def test_a_failing_handler_is_a_500_and_a_log_entry(
    site: _Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(site.port) as client:
        reply = await client.get("/broken")

        assert (reply.status, reply.text) == (500, "internal error; see the log\n")
        assert (await client.get("/")).status == 200
    assert "ZeroDivisionError" in caplog.text


async def test_draining_finishes_what_is_in_flight_and_closes_the_rest(site: _Site) -> None:
    async with connected(site.port) as busy, connected(site.port) as idle:
        await busy.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(site.requests) == 1 and len(site.server.connections) == 2)
        drain = asyncio.create_task(site.server.drain(4))

        assert await idle.is_closed()
        site.gate.set()
        reply = await busy.reply()
        await drain

    assert (reply.text, reply.headers["connection"]) == ("at last\n", "close")
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", site.port)


async def test_draining_gives_up_in_the_end(site: _Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(site.requests) == 1)
        await site.server.drain(0.05)

        assert await client.is_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_address_families_are_served(host: str) -> None:
    both = _Site()
    port = await both.server.start("", 0)
    async with connected(port, host) as client:
        assert (await client.get("/")).status == 200
    await both.server.drain(1)
