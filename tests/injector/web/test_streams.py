"""Policy streams as responses over real connections."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from injector.control.hub import Stream
from injector.model.policies.scope import Scope
from injector.web import servers, streams
from injector.web.streams import PolicyStream, Room
from tests.injector.web.serving import ask, send, serving
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio

_GET = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def _always() -> bool:
    return True


class _Opened:
    """An app with one stream, and whether it is open."""

    def __init__(
        self, may_go_on: Callable[[], Awaitable[bool]] = _always, lifetime_seconds: float = 60.0
    ) -> None:
        self.stream = Stream(Scope("pod", "shop"))
        self.room = Room()
        self.is_open = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.app = Starlette(routes=[Route("/", self._stream)])
        self._lifetime_seconds, self._may_go_on = lifetime_seconds, may_go_on

    async def _stream(self, _: Request) -> Response:
        return PolicyStream(self._open(), self._lifetime_seconds, self._may_go_on, self.room)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Stream]:
        self.is_open.set()
        try:
            yield self.stream
        finally:
            self.has_ended.set()


async def test_messages_come_as_they_are_pushed_and_end_with_the_stream() -> None:
    opened = _Opened()
    async with serving(opened.app) as port:
        reader, writer = await send(port, _GET)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        for message in (b'{"a":1}\n', b'{"b":2}\n'):
            opened.stream.push(message)
            assert message in await reader.readuntil(message)
        opened.stream.close()
        rest = await reader.read()
        writer.close()

    assert b"content-type: application/x-ndjson" in head
    assert b"content-length" not in head
    assert rest.endswith(b"0\r\n\r\n")


async def test_a_stream_ends_whole_when_its_time_is_over() -> None:
    opened = _Opened(lifetime_seconds=0.05)
    opened.stream.push(b"first\n")
    async with serving(opened.app) as port:
        answer = await ask(port, _GET)

    assert "first\n" in answer
    assert answer.endswith("0\r\n\r\n")
    assert opened.has_ended.is_set()


async def test_what_waits_is_not_sent_to_whom_may_not_go_on() -> None:
    answers = iter([True, False])

    async def may_go_on() -> bool:
        return next(answers)

    opened = _Opened(may_go_on)
    for message in (b"first\n", b"second\n"):
        opened.stream.push(message)
    async with serving(opened.app) as port:
        answer = await ask(port, _GET)

    assert "first" in answer
    assert "second" not in answer
    assert answer.endswith("0\r\n\r\n")


async def test_a_stream_ends_with_its_reader() -> None:
    opened = _Opened()
    async with serving(opened.app) as port:
        _, writer = await send(port, _GET)
        await opened.is_open.wait()
        writer.transport.abort()
        async with asyncio.timeout(10):
            await opened.has_ended.wait()

    assert opened.stream.is_closed


async def test_a_reader_that_takes_nothing_loses_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "SEND_TIMEOUT_SECONDS", 0.1)
    opened = _Opened()
    for _ in range(50):
        opened.stream.push(b"x" * (1 << 20))
    async with serving(opened.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(_GET.encode())
        async with asyncio.timeout(20):
            await opened.has_ended.wait()
        writer.transport.abort()

    assert not reader.at_eof()


async def test_a_proxy_that_reads_nothing_holds_up_a_piece_and_not_the_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "MAX_PIECES_OF_NAMESPACE", 1)
    opened = _Opened()
    async with serving(opened.app) as port:
        _, silent = await send(port, _GET)
        await opened.is_open.wait()
        opened.stream.push(b"x" * (8 << 20))
        await until(lambda: opened.room.left == 0)
        # All unsent data is in this one piece, the socket buffers and a small buffer.
        waiting = asyncio.create_task(opened.room.enter())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        silent.transport.abort()
        async with asyncio.timeout(10):
            await waiting


async def test_a_large_message_comes_whole() -> None:
    opened = _Opened()
    message = b"x" * (5 * streams.PIECE_BYTES + 7) + b"\n"
    async with serving(opened.app) as port:
        reader, writer = await send(port, _GET)
        await reader.readuntil(b"\r\n\r\n")
        opened.stream.push(message)
        body = b""
        while len(body) < len(message):
            size = int(await reader.readuntil(b"\r\n"), 16)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        writer.close()

    assert body == message


async def test_a_stream_that_is_closed_while_nobody_reads_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(servers, "ANSWER_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.4)
    opened = _Opened()
    async with serving(opened.app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(_GET.encode())
        await opened.is_open.wait()
        opened.stream.push(b"x" * (8 << 20))
        await asyncio.sleep(0.05)
        opened.stream.close()
        async with asyncio.timeout(10):
            await opened.has_ended.wait()
        await asyncio.sleep(0.5)
        writer.transport.abort()

    assert [record.message for record in caplog.records if record.levelno >= 40] == []


async def test_a_turn_that_was_given_to_one_who_left_goes_to_the_next() -> None:
    room = Room()
    room.left = 0
    first, second = asyncio.create_task(room.enter()), asyncio.create_task(room.enter())
    await asyncio.sleep(0)
    room.leave()
    first.cancel()
    async with asyncio.timeout(2):
        await second
    with pytest.raises(asyncio.CancelledError):
        await first

    assert room.left == 0
