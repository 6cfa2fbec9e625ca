"""Request bodies over real connections: complete, too large, too slow, aborted."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from injector.errors import RequestError
from injector.web import bodies
from injector.web.bodies import BodyBudget, refusal
from tests.injector.web.serving import ask, send, serving

pytestmark = pytest.mark.anyio

LIMIT = 10
_HEAD = "POST / HTTP/1.1\r\nHost: x\r\n"


async def _echo(request: Request) -> Response:
    try:
        async with BodyBudget().reading(request, LIMIT) as body:
            return Response(body)
    except RequestError as error:
        return refusal(error, error.status)


APP = Starlette(routes=[Route("/", _echo, methods=["POST"])])


@pytest.mark.parametrize(("size", "status"), [(0, 200), (LIMIT, 200), (LIMIT + 1, 413)])
async def test_a_body_is_read_up_to_its_bound(size: int, status: int) -> None:
    async with serving(APP) as port, httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/", content=b"x" * size)

    assert answer.status_code == status
    assert answer.content == (
        b"x" * size if status == 200 else b"the body is larger than 10 bytes\n"
    )


async def test_a_body_in_many_parts_is_put_together() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"ab", b"cd", b"ef"):
            yield part

    async with serving(APP) as port, httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/", content=parts())

    assert answer.content == b"abcdef"


async def test_an_endless_body_is_refused_before_its_end() -> None:
    async with serving(APP) as port:
        answer = await ask(port, f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n20\r\n{'x' * 32}\r\n")

    assert answer.startswith("HTTP/1.1 413 ")


async def test_a_body_that_says_it_is_too_large_is_not_waited_for() -> None:
    async with serving(APP) as port:
        answer = await ask(port, f"{_HEAD}Content-Length: 11\r\n\r\n")

    assert answer.startswith("HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.05)
    async with serving(APP) as port:
        answer = await ask(port, f"{_HEAD}Content-Length: 5\r\n\r\nab")

    assert answer.startswith("HTTP/1.1 408 ")
    assert answer.endswith("body incomplete after 0.05 s\n")


async def test_a_body_that_breaks_off_is_not_taken_for_whole() -> None:
    met: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def take(request: Request) -> Response:
        begun.set()
        with pytest.raises(RequestError) as caught:
            async with BodyBudget().reading(request, LIMIT):
                pass
        met.set_result(caught.value.status)
        return Response()

    async with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as port:
        _, writer = await send(port, f"{_HEAD}Content-Length: 5\r\n\r\nab")
        await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(10):
            assert await met == 400


def _arriving(budget: BodyBudget, sizes: dict[str, int]) -> list[asyncio.Task[int]]:
    """Start requests, one per client, whose bodies arrive in part and never complete."""
    return [asyncio.create_task(_read(budget, peer, size)) for peer, size in sizes.items()]


async def _read(budget: BodyBudget, peer: str, size: int, *, is_whole: bool = False) -> int:
    """Read a body of a size; returns 200, or the status of the refusal."""
    parts = [{"type": "http.request", "body": b"x" * size, "more_body": not is_whole}]

    async def receive() -> dict[str, object]:
        if parts:
            return parts.pop()
        await asyncio.sleep(3600)
        raise AssertionError

    scope = {"type": "http", "method": "POST", "headers": [], "client": (peer, 1)}
    try:
        async with budget.reading(Request(scope, receive), 100 << 20) as body:
            assert len(body) == size
    except RequestError as error:
        return error.status
    return 200


async def test_where_bytes_run_out_the_client_that_holds_most_loses_its_largest_body() -> None:
    budget = BodyBudget()
    large = _arriving(budget, {"1.1.1.1": 15 << 20, "2.2.2.2": 8 << 20})
    await asyncio.sleep(0.01)

    assert await _read(budget, "3.3.3.3", 2 << 20, is_whole=True) == 200
    done, waiting = await asyncio.wait(large, timeout=0.1)
    assert [task.result() for task in done] == [503]
    assert budget.bytes == 8 << 20
    for task in waiting:
        task.cancel()


async def test_whoever_holds_most_is_refused_first() -> None:
    budget = BodyBudget()
    large = _arriving(budget, {"1.1.1.1": 8 << 20})
    await asyncio.sleep(0.01)

    assert await _read(budget, "2.2.2.2", 30 << 20) == 503
    assert not large[0].done()
    large[0].cancel()


async def test_a_small_body_finds_room_beside_large_ones_that_are_worked_on() -> None:
    budget = BodyBudget()
    entered, leave = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        parts = [{"type": "http.request", "body": b"x" * (24 << 20), "more_body": False}]

        async def receive() -> dict[str, object]:
            return parts.pop()

        scope = {"type": "http", "method": "POST", "headers": [], "client": ("1.1.1.1", 1)}
        async with budget.reading(Request(scope, receive), 100 << 20):
            entered.set()
            await leave.wait()

    task = asyncio.create_task(work())
    await entered.wait()

    assert await _read(budget, "2.2.2.2", 100_000, is_whole=True) == 200
    large = asyncio.create_task(_read(budget, "3.3.3.3", 1 << 20, is_whole=True))
    await asyncio.sleep(0.01)
    assert not large.done()
    leave.set()
    assert await large == 200
    await task
    assert budget.bytes == 0
