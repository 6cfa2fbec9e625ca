import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.sidecar.apps import connected, get, until
from tests.sidecar.http.site import Site

pytestmark = pytest.mark.anyio

_GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.port = await site.server.start("127.0.0.1", 0)
    yield site
    await site.server.drain(0)
    await until(lambda: not len(site.server.connections))


async def test_an_idle_connection_makes_room_for_a_new_one(site: Site) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(32)]
    await until(lambda: len(site.server.connections) == 32)

    assert [(await get(site.port, "/")).status for _ in range(3)] == [200, 200, 200]

    for _, writer in idle:
        writer.transport.abort()


async def test_with_all_connections_busy_the_next_is_refused(site: Site) -> None:
    busy = [asyncio.create_task(get(site.port, "/slow")) for _ in range(32)]
    await until(lambda: len(site.requests) == 32)

    async with connected(site.port) as client:
        reply = await client.reply()
    site.gate.set()

    assert (reply.status, reply.text) == (503, "too many connections\n")
    assert {(await task).text for task in busy} == {"at last\n"}


async def test_draining_finishes_what_is_in_flight_and_closes_the_rest(site: Site) -> None:
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


async def test_draining_gives_up_in_the_end(site: Site) -> None:
    async with connected(site.port) as client:
        await client.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(site.requests) == 1)
        await site.server.drain(0.05)

        assert await client.is_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_address_families_are_served(host: str) -> None:
    both = Site()
    port = await both.server.start("", 0)
    async with connected(port, host) as client:
        assert (await client.get("/")).status == 200
    await both.server.drain(1)
