import asyncio
import contextlib
import gzip

import pytest

from sidecar.errors import LimitError, UpstreamError
from sidecar.gateway.answers import Terms, pass_on
from sidecar.gateway.backends.backend import Backend, BackendSettings
from sidecar.gateway.backends.group import Asked
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import JSON, Refusal
from sidecar.http.messages import Response, gather
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio
_BROKEN_GZIP = gzip.compress(b"{}")[:10] + bytes(20)


class _Passed:
    """One backend answer that is passed on."""

    def __init__(self, answer: object, limit_bytes: int = 1 << 30) -> None:
        self.app = App(answer)  # type: ignore[arg-type]
        self.limit_bytes = limit_bytes
        self.ended = 0
        self.holds = True

    async def response(self) -> Response:
        self.backend = Backend(f"http://127.0.0.1:{self.app.port}", BackendSettings())
        connection = await self.backend.send(Question("GET", "/", ""), takes_gzip=True)
        asked = Asked(self.backend, connection)
        terms = Terms(JSON, self.limit_bytes, lambda: self.holds, self._end)
        return await pass_on(asked, terms)

    def _end(self) -> None:
        self.ended += 1


async def test_a_small_answer_goes_out_with_its_length() -> None:
    passed = _Passed(http(b'{"a": 1}', JSON))
    async with passed.app:
        response = await passed.response()

    assert (response.body, response.parts, response.content_type) == (b'{"a": 1}', None, JSON)
    assert passed.ended == 1


async def test_what_a_backend_compressed_stays_so() -> None:
    body = gzip.compress(b"{}")
    passed = _Passed(http(body, JSON, headers={"Content-Encoding": "gzip", "X-Secret": "x"}))
    async with passed.app:
        response = await passed.response()

    assert response.headers == (("Content-Encoding", "gzip"),)
    assert response.body == body


async def test_a_large_answer_is_passed_on_while_it_comes() -> None:
    body = b"x" * 3_000_000
    passed = _Passed(http(body, JSON))
    async with passed.app:
        response = await passed.response()
        assert response.parts is not None
        assert passed.ended < 1
        assert await gather(response.parts) == body

    assert passed.ended == 1


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (http(b"<html>", "text/html"), 502, "does not answer like a Prometheus"),
        (http(b"{}", JSON, "500 Internal Server Error"), 502, "the backend answered 500"),
        (http(b"", JSON, "302 Found", {"Location": "http://evil"}), 502, "answered 302"),
        (http(b'{"error": "bad"}', JSON, "400 Bad Request"), 400, "^bad$"),
        (http(b'{"error": "many"}', JSON, "422 Unprocessable Entity"), 422, "^many$"),
        (http(b'{"error": "timed out"}', JSON, "503 Service Unavailable"), 503, "timed out"),
        (http(b"x", JSON, "400 Bad Request"), 502, "answered 400"),
        (http(_BROKEN_GZIP, JSON, "400 Bad Request", {"Content-Encoding": "gzip"}), 502, "400"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2000000000\r\n\r\n",
         422, "the response is over 1024 MiB"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_of_a_prometheus_is_said_to_be_none(
    answer: bytes, status: int, reason: str
) -> None:
    passed = _Passed(answer)
    async with passed.app:
        with pytest.raises(Refusal, match=reason) as caught:
            await passed.response()

    assert caught.value.status == status
    assert passed.ended == 1


async def test_half_an_answer_is_not_passed_on_as_a_whole() -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: 9000000\r\n\r\n"
        writer.write(head.encode() + b"x" * 1_000_000)
        await writer.drain()
        writer.close()

    passed = _Passed(half)
    async with passed.app:
        response = await passed.response()
        assert response.parts is not None
        with pytest.raises(UpstreamError):
            await gather(response.parts)

    assert passed.ended == 1


async def test_an_answer_without_end_is_bounded() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n\r\n".encode())
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()

    passed = _Passed(endless, limit_bytes=2_000_000)
    async with passed.app:
        response = await passed.response()
        assert response.parts is not None
        with pytest.raises(LimitError):
            async for _ in response.parts:
                pass

    assert passed.ended == 1


async def test_nothing_is_passed_on_under_rules_that_are_gone() -> None:
    passed = _Passed(http(b"{}", JSON))
    passed.holds = False
    async with passed.app:
        with pytest.raises(Refusal, match="rules changed during this request") as caught:
            await passed.response()

    assert (caught.value.status, caught.value.retry_seconds) == (503, 1)
    assert passed.ended == 1


async def test_an_answer_breaks_off_when_the_rules_change() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n\r\n".encode())
        writer.write(b"x" * 1_000_000)
        while passed.holds:
            await asyncio.sleep(0.01)
        writer.write(b"secret")
        writer.close()

    passed = _Passed(slow)
    async with passed.app:
        response = await passed.response()
        assert response.parts is not None
        first = await anext(response.parts)
        passed.holds = False
        with pytest.raises(Refusal, match="rules changed"):
            await gather(response.parts)

    assert b"secret" not in first
    assert passed.ended == 1


async def test_a_backend_that_stops_in_the_middle_is_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    async with _Stalled(head + b"x" * 300_000) as port:
        backend = Backend(f"http://127.0.0.1:{port}", BackendSettings())
        connection = await backend.send(Question("GET", "/", ""), takes_gzip=False)
        ended: list[int] = []
        terms = Terms(JSON, 1 << 30, lambda: True, lambda: ended.append(1), pause_seconds=0.1)
        response = await pass_on(Asked(backend, connection), terms)
        assert response.parts is not None
        with pytest.raises(LimitError, match="nothing more"):
            await gather(response.parts)

    assert ended == [1]


async def test_an_answer_ends_whoever_is_slow() -> None:
    passed = _Passed(http(b"x" * 3_000_000, JSON))
    async with passed.app:
        backend = Backend(f"http://127.0.0.1:{passed.app.port}", BackendSettings())
        connection = await backend.send(Question("GET", "/", ""), takes_gzip=False)
        until = asyncio.get_running_loop().time()
        terms = Terms(JSON, 1 << 30, lambda: True, lambda: None, until=until)
        response = await pass_on(Asked(backend, connection), terms)
        assert response.parts is not None
        with pytest.raises(LimitError, match="too slow"):
            await gather(response.parts)
        await response.parts.aclose()


class _Stalled:
    """A server that starts a response and never finishes it."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._ended = asyncio.Event()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._ended.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._said)
        with contextlib.suppress(OSError):
            await reader.read()
            writer.close()
            await writer.wait_closed()
        self._ended.set()
