"""Request bodies over real connections: whole, too large, too slow, broken off."""

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
from injector.web.bodies import read_body, refusal
from tests.injector.web.serving import ask, send, serving

pytestmark = pytest.mark.anyio

LIMIT = 10
_HEAD = "POST / HTTP/1.1\r\nHost: x\r\n"


async def _echo(request: Request) -> Response:
    try:
        return Response(await read_body(request, LIMIT))
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
    assert answer.endswith("no whole body within 0.05 s\n")


async def test_a_body_that_breaks_off_is_not_taken_for_whole() -> None:
    met: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def take(request: Request) -> Response:
        begun.set()
        with pytest.raises(RequestError) as caught:
            await read_body(request, LIMIT)
        met.set_result(caught.value.status)
        return Response()

    async with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as port:
        _, writer = await send(port, f"{_HEAD}Content-Length: 5\r\n\r\nab")
        await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(10):
            assert await met == 400
