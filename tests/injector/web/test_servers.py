"""The injector's servers: what they finish and what they abort; signals stay untouched."""

import asyncio
import contextlib
import signal
import ssl
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from webhook_certs.authority import create_authority, issue_leaf
from webhook_certs.tls import create_server_context

from injector.web import servers
from injector.web.servers import TLS_READ_BYTES, AppServer, PortBudget
from sidecar.http.handshakes import HandshakeBudget
from sidecar.http.listener import open_socket
from tests.injector.web.serving import ask, send, serving

pytestmark = pytest.mark.anyio

_GET = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class _Slow:
    """An app that answers when it is released."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.app = Starlette(routes=[Route("/", self._answer)])

    async def _answer(self, request: Request) -> Response:
        self.is_asked.set()
        await self.may_answer.wait()
        return PlainTextResponse("done")


async def _measure(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _until_refused(port: int) -> None:
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            await ask(port, "")


async def test_what_is_in_flight_at_the_end_is_finished() -> None:
    slow, stop = _Slow(), asyncio.Event()
    server = AppServer(slow.app, open_socket("127.0.0.1", 0), None)
    port = server.port
    run = asyncio.create_task(server.run_until(stop))
    answer = asyncio.create_task(ask(port, _GET))
    await slow.is_asked.wait()
    stop.set()
    async with asyncio.timeout(10):
        await _until_refused(port)
    assert not (await asyncio.wait([run], timeout=0.3))[0]  # it waits for the answer
    slow.may_answer.set()

    assert (await answer).endswith("done")
    await run


async def test_a_request_that_takes_long_to_answer_outlives_silent_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.05)
    slow = _Slow()
    async with serving(slow.app) as port:
        answer = asyncio.create_task(ask(port, _GET))
        await slow.is_asked.wait()
        for _ in range(2):
            assert not await ask(port, "GET / HTTP/1.1\r\nHost:")
        slow.may_answer.set()

        assert (await answer).endswith("done")


async def test_a_second_request_that_never_comes_whole_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.05)
    async with serving(Starlette(routes=[Route("/", _measure)])) as port:
        reader, writer = await send(port, _GET.replace("Connection: close\r\n", ""))
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        async with asyncio.timeout(10):
            assert not await reader.read()
        writer.close()


async def test_a_connection_between_requests_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.02)
    async with serving(Starlette(routes=[Route("/", _measure)])) as port:
        reader, writer = await send(port, _GET.replace("Connection: close\r\n", ""))
        await reader.readuntil(b"\r\n\r\n0")
        for _ in range(2):  # each waits until a silent connection is aborted
            assert not await ask(port, "GET")
        writer.write(_GET.encode())

        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_the_processs_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    slow = _Slow()
    async with serving(slow.app) as port:
        _, writer = await send(port, _GET)
        await slow.is_asked.wait()
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
        slow.may_answer.set()
        writer.close()


async def test_a_body_of_many_tls_reads_comes_whole() -> None:
    authority = create_authority("test", datetime.now(UTC))
    context = create_server_context(issue_leaf(authority, ["127.0.0.1"], datetime.now(UTC)))
    app = Starlette(routes=[Route("/", _measure, methods=["POST"])])
    trust = ssl.create_default_context(cadata=authority.certificate_pem)
    size = 20 * TLS_READ_BYTES + 1
    async with serving(app, context) as port, httpx.AsyncClient(verify=trust) as client:
        answer = await client.post(f"https://127.0.0.1:{port}/", content=b"x" * size)

    assert answer.text == str(size)


async def test_what_serves_is_not_named() -> None:
    async with serving(Starlette(routes=[Route("/", _measure)])) as port:
        answer = (await ask(port, _GET)).lower()

    assert answer.startswith("http/1.1 200")
    assert "server:" not in answer
    assert "uvicorn" not in answer


async def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    app = Starlette(routes=[Route("/", _measure)])
    async with serving(app, budget=PortBudget(connections=4)) as port:
        kept = _GET.replace("Connection: close\r\n", "")
        idle = [await send(port, kept) for _ in range(4)]
        for reader, _ in idle:
            await reader.readuntil(b"\r\n\r\n0")

        assert (await ask(port, _GET)).startswith("HTTP/1.1 200")
        assert await idle[0][0].read() == b""
        for _, writer in idle:
            writer.close()


async def test_of_silent_tls_connections_the_oldest_makes_room() -> None:
    authority = create_authority("test", datetime.now(UTC))
    context = create_server_context(issue_leaf(authority, ["127.0.0.1"], datetime.now(UTC)))
    app = Starlette(routes=[Route("/", _measure)])
    trust = ssl.create_default_context(cadata=authority.certificate_pem)
    async with serving(
        app, context, budget=PortBudget(handshakes=HandshakeBudget(silent=8))
    ) as port:
        silent = [await send(port, "") for _ in range(20)]
        for reader, _ in silent[:12]:
            assert await reader.read() == b""
        async with httpx.AsyncClient(verify=trust) as client:
            assert (await client.get(f"https://127.0.0.1:{port}/")).text == "0"
        for _, writer in silent:
            writer.close()


async def test_a_body_that_trickles_to_a_page_that_is_not_there_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.2)
    async with serving(Starlette()) as port:
        reader, writer = await send(
            port, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
        )

        async def trickle() -> None:
            with contextlib.suppress(OSError):
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(0.02)

        task = asyncio.create_task(trickle())
        async with asyncio.timeout(10):
            with contextlib.suppress(OSError):
                while await reader.read(1000):
                    pass
        task.cancel()
        writer.close()


async def _write_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_an_answer_that_nobody_takes_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "ANSWER_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.4)

    async def large(scope: object, receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with serving(large) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionError):
                await _write_for_ever(writer)
        writer.transport.abort()

    assert not reader.at_eof()


async def test_what_is_no_request_behind_an_answer_fills_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def early(scope: object, receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async with serving(early) as port:
        reader, writer = await send(
            port, "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await reader.readuntil(b"no")
        writer.write(b"Z\r\n")
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()

    assert [record.levelname for record in caplog.records if record.levelno >= 40] == []
