import asyncio
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.http import handshakes
from sidecar.http.messages import Request, Response, plain
from sidecar.http.server import HANDSHAKES, Server
from tests.sidecar.apps import connected, until
from tests.sidecar.certificates import self_signed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    async def hello(_: Request) -> Response:
        return plain(200, "hello")

    server = Server(hello)
    port = await server.start("127.0.0.1", 0, self_signed("x"))
    yield server, port
    await server.drain(0)


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_a_connection_is_served_after_its_handshake(server: tuple[Server, int]) -> None:
    _, port = server
    async with connected(port, tls=_trusting()) as client:
        assert [(await client.get("/")).text for _ in range(2)] == ["hello\n", "hello\n"]


async def test_of_silent_connections_the_oldest_makes_room(server: tuple[Server, int]) -> None:
    it, port = server
    silent = [
        await asyncio.open_connection("127.0.0.1", port) for _ in range(HANDSHAKES.silent + 3)
    ]
    await until(lambda: it.dropped_handshakes == 3)

    async with connected(port, tls=_trusting()) as client:
        assert (await client.get("/")).status == 200
    for reader, _ in silent[:3]:
        assert await reader.read() == b""
    for _, writer in silent:
        writer.transport.abort()


async def test_a_handshake_that_never_ends_is_given_up(
    server: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "TIMEOUT_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server[1])

    assert await reader.read() == b""
    writer.close()


async def test_what_is_not_tls_is_dropped_and_others_are_served(
    server: tuple[Server, int],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server[1])
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" not in await reader.read()
    writer.close()

    async with connected(server[1], tls=_trusting()) as client:
        assert (await client.get("/")).status == 200


async def test_a_request_in_the_same_flight_as_the_handshakes_end_is_read(
    server: tuple[Server, int],
) -> None:
    for _ in range(50):
        async with connected(server[1], tls=_trusting()) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.reply()).text == "hello\n"


async def test_a_silent_connection_costs_no_handshake(server: tuple[Server, int]) -> None:
    _, port = server
    begun = 0
    init = sslproto.SSLProtocol.__init__

    def counted(self: sslproto.SSLProtocol, *given: Any, **named: Any) -> None:
        nonlocal begun
        begun += 1
        init(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sslproto.SSLProtocol, "__init__", counted)
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert begun == 0
        for _, writer in silent:
            writer.transport.abort()


async def test_a_client_that_stalls_its_handshakes_leaves_room_for_others(
    server: tuple[Server, int],
) -> None:
    _, port = server
    count = HANDSHAKES.agreeing + HANDSHAKES.queued
    stalled = [
        await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        for _ in range(count)
    ]
    for _, writer in stalled:
        writer.write(b"\x16")
    await asyncio.sleep(0.05)

    async with asyncio.timeout(5), connected(port, tls=_trusting()) as client:
        assert (await client.get("/")).status == 200
    for _, writer in stalled:
        writer.transport.abort()


async def test_more_clients_at_once_than_handshakes_all_get_their_turn(
    server: tuple[Server, int],
) -> None:
    port = 0

    async def ask() -> int:
        async with connected(port, tls=_trusting()) as client:
            return (await client.get("/")).status

    other = Server(server[0].handler, max_connections=200)
    port = await other.start("127.0.0.1", 0, self_signed("x"))
    assert set(await asyncio.gather(*(ask() for _ in range(HANDSHAKES.agreeing * 3)))) == {200}
    await other.drain(1)
