"""Scripted applications and clients on loopback, including misbehaving ones."""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Act = Callable[[asyncio.StreamWriter], Awaitable[None]]
Answer = bytes | Act


def http(
    body: bytes, kind: str = TEXT, status: str = "200 OK", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole response; an empty `kind` omits the content type."""
    lines = {"Content-Type": kind} if kind else {}
    lines |= {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def zipped(body: bytes, encoding: str = "gzip") -> bytes:
    return http(gzip.compress(body, 1), headers={"Content-Encoding": encoding})


class App:
    """A server that answers every request with `answer`, and records the request heads."""

    def __init__(
        self, answer: Answer, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.answers: dict[str, Answer] = {}
        """Answers by path, in place of `answer`."""
        self.requests: list[str] = []
        self.readers: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}
        """Readers for what follows a request's head, by the writer of its connection."""
        self.connections = 0
        self.port = 0
        self._host, self._tls = host, tls
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self._host, self.port, ssl=self._tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def target(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://:{self.port}/metrics"

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def hang_up(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def read_body(self, writer: asyncio.StreamWriter) -> bytes:
        """Read the body of the last request, for an answer that is a function."""
        length = self.requests[-1].lower().partition("content-length: ")[2].partition("\r\n")[0]
        return await self.readers[writer].readexactly(int(length))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        self.readers[writer] = reader
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            # The end of the test is not an error of the server.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.requests.append(head.decode())
                    path = self.requests[-1].split(" ")[1].partition("?")[0]
                    await _act(writer, self.answers.get(path, self.answer))
        finally:
            self._open.discard(writer)
            del self.readers[writer]
            writer.transport.abort()


async def _act(writer: asyncio.StreamWriter, answer: Answer) -> None:
    if isinstance(answer, bytes):
        writer.write(answer)
        await writer.drain()
    else:
        await answer(writer)


class Reply(NamedTuple):
    """A response as the client received it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """A connection on which a test can write anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, path: str = "/metrics", **headers: str) -> Reply:
        lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        return await self.reply()

    async def reply(self, *, has_body: bool = True) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): text for name, text in pairs}
        size = int(headers.get("content-length", "0")) if has_body else 0
        body = await self.reader.readexactly(size)
        return Reply(int(first.split(" ")[1]), headers, body)

    async def is_closed(self) -> bool:
        """Whether the server closes the connection without sending anything more."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


@contextlib.asynccontextmanager
async def connected(
    port: int,
    host: str = "127.0.0.1",
    *,
    limit: int = 1 << 16,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Connect; `limit` is the size of the read buffer."""
    reader, writer = await asyncio.open_connection(host, port, limit=limit, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def get(port: int, path: str = "/metrics", **headers: str) -> Reply:
    """Fetch a page over a new connection."""
    async with connected(port) as client:
        return await client.get(path, **headers)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition; the timeout is long because the machine may be busy."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
