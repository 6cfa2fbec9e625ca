import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection, render_request
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio

_REQUEST = render_request("GET", "/", {"Host": "x"})


async def _whole(connection: Connection) -> bytes:
    parts = []
    while part := await connection.read():
        parts.append(part)
    return b"".join(parts)


async def _exchange(connection: Connection) -> bytes:
    await connection.send(_REQUEST)
    return await _whole(connection)


async def _failure(answer: bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]) -> str:
    async with App(answer) as app, asyncio.timeout(4):
        connection = await Connection.open("127.0.0.1", app.port)
        with pytest.raises(UpstreamError) as caught:
            await _exchange(connection)
        connection.close()
    return str(caught.value)


async def _endless(writer: asyncio.StreamWriter, start: bytes, more: bytes) -> None:
    writer.write(start)
    while True:
        writer.write(more)
        await writer.drain()


def test_a_request_is_written_with_its_body_and_length() -> None:
    request = render_request("POST", "/a", {"Host": "x"}, b"{}")

    assert request == b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


async def test_requests_follow_one_another_on_a_connection() -> None:
    async with App(http(b"body")) as app:
        connection = await Connection.open("127.0.0.1", app.port)
        for _ in range(3):
            assert await connection.send(_REQUEST) == 200
            assert await _whole(connection) == b"body"
            assert connection.is_reusable
        connection.close()
    assert app.connections == 1


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\na 1\n")
        writer.close()

    async with App(answer) as app:
        connection = await Connection.open("127.0.0.1", app.port)
        await connection.send(_REQUEST)

        assert await _whole(connection) == b"a 1\n"
        assert not connection.is_reusable


async def test_an_interim_answer_is_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with App(interim * 3 + http(b"a 1\n")) as app:
        connection = await Connection.open("127.0.0.1", app.port)

        assert await connection.send(_REQUEST) == 200
        assert await _whole(connection) == b"a 1\n"
        assert "link" not in connection.headers
        connection.close()


async def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async with App(http(b"one") + http(b"two")) as app:
        connection = await Connection.open("127.0.0.1", app.port)
        await connection.send(_REQUEST)

        assert await _whole(connection) == b"one"
        with pytest.raises(UpstreamError):
            await connection.send(_REQUEST)


async def test_a_sender_is_held_back_while_nobody_reads() -> None:
    body = b"x" * (9 << 20)
    async with App(http(body)) as app:
        connection = await Connection.open("127.0.0.1", app.port)
        await connection.send(_REQUEST)
        for _ in range(100):
            await asyncio.sleep(0)

        assert connection.buffered_bytes < 2 << 20
        assert await _whole(connection) == body
        connection.close()


@pytest.mark.parametrize(
    "garbage", [b"hello\r\n\r\n", b"\x15\x03\x01\x00\x02\x02", b"HTTP/1.1 abc\r\n\r\n", b"\n"]
)
async def test_what_is_not_http_is_named_so(garbage: bytes) -> None:
    assert (await _failure(garbage)).startswith("the response is not HTTP/1.1: it begins with ")


async def test_a_switch_of_protocols_is_refused() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"

    assert await _failure(switch) == "the response switches protocols without being asked to"


async def test_headers_without_end_are_refused() -> None:
    reason = await _failure(lambda w: _endless(w, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 99))

    assert reason == "more than 65536 bytes of headers"


async def test_interim_answers_without_end_are_refused() -> None:
    reason = await _failure(lambda w: _endless(w, b"", b"HTTP/1.1 100 Continue\r\n\r\n"))

    assert reason == "more than 65536 bytes of headers"


@pytest.mark.parametrize("more", [b"X-Trailer: y\r\n", b"X" * 100, b"X: " + b"y" * 100])
async def test_trailers_without_end_are_refused(more: bytes) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na 1\r\n0\r\n"

    reason = await _failure(lambda w: _endless(w, start, more))

    expected = "more than 65536 bytes of chunk sizes or trailers"
    assert reason == expected or "the response's chunks are" in reason


async def test_a_chunk_size_without_end_is_refused() -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x="

    reason = await _failure(lambda w: _endless(w, start, b"y" * 100))

    assert reason == "more than 65536 bytes of chunk sizes or trailers"


async def test_an_empty_port_is_named() -> None:
    async with App(b"") as app:
        port = app.port
    with pytest.raises(UpstreamError, match=rf"^connection refused on port {port} \(127.0.0.1\)$"):
        await Connection.open("127.0.0.1", port)
