import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection, render_request
from sidecar.http.pool import ConnectionPool
from tests.sidecar.apps import App, http, until

pytestmark = pytest.mark.anyio

_REQUEST = render_request("GET", "/", {"Host": "x"})
_ANSWER = http(b"a 1\n")


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with App(_ANSWER) as app, asyncio.timeout(10):
        yield app


def _pool(app: App, max_idle: int = 4) -> ConnectionPool:
    return ConnectionPool(lambda: Connection.open("127.0.0.1", app.port), max_idle)


async def _exchange(pool: ConnectionPool) -> bytes:
    connection = await pool.send(_REQUEST)
    try:
        return b"".join(await connection.read_available())
    finally:
        pool.release(connection)


async def _exchange_at_once(pool: ConnectionPool, count: int) -> None:
    connections = [await pool.send(_REQUEST) for _ in range(count)]
    for connection in connections:
        while await connection.read():
            pass
        pool.release(connection)


def _end(answer: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    return act


async def test_a_connection_is_used_for_one_request_after_another(app: App) -> None:
    pool = _pool(app)

    assert [await _exchange(pool) for _ in range(3)] == [b"a 1\n"] * 3
    assert (app.connections, len(app.requests)) == (1, 3)
    pool.close()


async def test_connections_that_the_server_closed_while_idle_are_replaced(app: App) -> None:
    pool = _pool(app)
    await _exchange_at_once(pool, 3)
    app.hang_up()
    await until(lambda: not app.readers)

    assert await _exchange(pool) == b"a 1\n"
    assert (app.connections, len(app.requests)) == (4, 4)
    pool.close()


async def test_a_request_that_met_the_end_of_an_idle_connection_is_sent_again(app: App) -> None:
    pool = _pool(app)
    await _exchange_at_once(pool, 2)

    async def end_old_connections(writer: asyncio.StreamWriter) -> None:
        if app.connections == 2:
            writer.close()
        else:
            writer.write(_ANSWER)

    app.answer = end_old_connections

    assert await _exchange(pool) == b"a 1\n"
    assert (app.connections, len(app.requests)) == (3, 5)
    pool.close()


async def test_a_request_whose_answer_began_is_not_sent_again(app: App) -> None:
    pool = _pool(app)
    await _exchange(pool)
    app.answer = _end(b"HTTP/1.1 200 OK\r\nContent-")

    with pytest.raises(UpstreamError, match="the connection was lost: closed"):
        await _exchange(pool)
    assert (app.connections, len(app.requests)) == (1, 2)


async def test_a_new_connection_that_fails_is_not_tried_again(app: App) -> None:
    app.answer = _end(b"")

    with pytest.raises(UpstreamError, match="the connection was lost: closed"):
        await _exchange(_pool(app))
    assert (app.connections, len(app.requests)) == (1, 1)


async def test_an_answer_that_arrived_but_was_not_read_does_not_disturb_the_next(app: App) -> None:
    pool = _pool(app)
    connection = await pool.send(_REQUEST)
    await until(lambda: connection.is_reusable)
    pool.release(connection)
    app.answer = http(b"b 2\n")

    assert await _exchange(pool) == b"b 2\n"
    assert app.connections == 1
    pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_ANSWER[:-1], id="body not whole"),
        pytest.param(http(b"", headers={"Connection": "close"}), id="server ends it"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="HTTP/1.0"),
    ],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(app: App, answer: bytes) -> None:
    app.answer = answer
    pool = _pool(app)

    pool.release(await pool.send(_REQUEST))

    await until(lambda: not app.readers)


async def test_no_more_idle_connections_are_kept_than_allowed(app: App) -> None:
    pool = _pool(app, max_idle=1)

    await _exchange_at_once(pool, 3)
    await until(lambda: len(app.readers) == 1)
    await _exchange_at_once(pool, 3)

    assert app.connections == 3 + 2
    pool.close()


async def test_a_closed_pool_closes_idle_connections_now_and_others_on_release(app: App) -> None:
    pool = _pool(app)
    busy = await pool.send(_REQUEST)
    await _exchange(pool)
    pool.close()
    await until(lambda: len(app.readers) == 1)

    assert await busy.read() == b"a 1\n"
    pool.release(busy)
    await until(lambda: not app.readers)


async def test_the_connection_of_a_request_that_is_given_up_is_closed(app: App) -> None:
    async def wait_for_the_end(writer: asyncio.StreamWriter) -> None:
        await app.readers[writer].read()

    app.answer = wait_for_the_end
    task = asyncio.create_task(_pool(app).send(_REQUEST))
    await until(lambda: bool(app.requests))
    task.cancel()

    await until(lambda: not app.readers)
    assert task.cancelled()


async def test_a_connection_that_was_held_back_is_not_used_again(app: App) -> None:
    app.answer = http(b"x" * ((1 << 20) + 1000))
    pool = _pool(app)
    connection = await pool.send(_REQUEST)
    await until(lambda: connection.buffered_bytes > 1 << 20)
    pool.release(connection)
    app.answer = http(b"next")

    assert await _exchange(pool) == b"next"
    assert app.connections == 2
