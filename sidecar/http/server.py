"""A small HTTP/1.1 server on asyncio and httptools, for endpoints that answer GET.

A general server and framework cost a pod 17 MB; what a scrape needs of them is this. Each bound
below stands against a client that is slow, greedy or malicious.
"""

import asyncio
import contextlib
import logging
import ssl
import weakref
from collections.abc import AsyncGenerator
from typing import cast

import httptools

from sidecar.errors import LiveryError
from sidecar.http.listener import open_socket
from sidecar.http.messages import Handler, Request, Response, gather, plain, render_head

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16 << 10
MAX_REQUEST_BODY_BYTES = 64 << 10
HEADER_TIMEOUT_SECONDS = 10.0
IDLE_TIMEOUT_SECONDS = 330.0
"""A little more than the five minutes for which Prometheus keeps an idle connection."""
WRITE_TIMEOUT_SECONDS = 10.0
MAX_HANDSHAKES = 64
MAX_GATHERED = 1
_WRITE_BYTES = 256 << 10


class Server:
    """One listening port and its connections."""

    def __init__(self, handler: Handler, *, max_connections: int = 32) -> None:
        self.handler = handler
        # By age: the oldest that has asked for nothing makes room for a new one.
        self.connections: dict[_Connection, None] = {}
        self.is_draining = False
        self.unsent_bytes = 0
        """Bytes of answers that are being written."""
        self._max_connections = max_connections
        self._sockets: list[asyncio.Server] = []
        self._handshaking: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self.gathered = 0
        """Answers in parts that are held whole for clients that take them only so."""
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port, which is new where 0 was asked.

        Args:
            host: an address; empty for all, IPv6 and IPv4.
            port: the port.
            tls: with a certificate, where the port speaks TLS.

        Raises:
            OSError: it is taken, or may not be had.
        """
        loop = asyncio.get_running_loop()
        listener = open_socket(host, port)
        timeout = None if tls is None else HEADER_TIMEOUT_SECONDS
        server = await loop.create_server(
            self._accept, sock=listener, ssl=tls, ssl_handshake_timeout=timeout
        )
        self._sockets.append(server)
        return int(listener.getsockname()[1])

    def _accept(self) -> "_Connection":
        # Before TLS is agreed on nobody counts a connection in; an error here closes it.
        if len(self._handshaking) >= MAX_HANDSHAKES:
            raise ConnectionAbortedError("too many connections are agreeing on TLS")
        connection = _Connection(self)
        self._handshaking.add(connection)
        return connection

    async def drain(self, timeout_seconds: float) -> None:
        """Take no more requests, finish those in flight, close."""
        self.is_draining = True
        for server in self._sockets:
            server.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._is_empty.wait()
        for connection in list(self.connections):
            connection.abort()

    def admit(self, connection: "_Connection") -> bool:
        """Count a new connection in; one without a whole request makes room for it."""
        self._handshaking.discard(connection)
        if len(self.connections) >= self._max_connections:
            silent = next((item for item in self.connections if item.drop_if_silent()), None)
            if silent is None:
                return False
            self.connections.pop(silent, None)
        self.connections[connection] = None
        self._is_empty.clear()
        return True

    def release(self, connection: "_Connection") -> None:
        """Count a closed connection out."""
        self.connections.pop(connection, None)
        if not self.connections:
            self._is_empty.set()


class _Connection(asyncio.Protocol):
    _url: bytes
    _headers: dict[str, str]
    _received: int
    """Bytes since the present request began."""
    _has_headers: bool
    _is_complete: bool
    _has_more: bool
    """Whether more than the one request came; it is not kept, so the connection must end."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._has_gathered = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.admit(self):
            self._refuse(503, "too many connections")
            return
        # Written means taken by the kernel: no answer lives on behind an idle connection.
        # (TLS counts an empty buffer as full where nothing may wait: one byte may.)
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._set_timer(HEADER_TIMEOUT_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.release(self)
        self._set_timer(None)
        self._writable.set()
        # Others who wait for the same scrape still get it: `ScrapeCoalescer` sees to that.
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._is_complete:
            self._has_more = True
            self._transport.pause_reading()
            return
        self._received += len(data)
        if self._received > MAX_HEADER_BYTES + MAX_REQUEST_BODY_BYTES:
            self._refuse(431, "the request is too large")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # Behind a whole request it harms that request's answer no more than a second one.
            self._has_more = self._is_complete
            if not self._is_complete:
                self._refuse(400, "not a plain HTTP/1.1 request")
            return
        if self._task is None and not self._is_complete:
            if self._received > MAX_HEADER_BYTES and not self._has_headers:
                self._refuse(431, "the headers are too large")
            elif self._received == len(data):
                self._set_timer(HEADER_TIMEOUT_SECONDS)

    # httptools callbacks

    def on_message_begin(self) -> None:
        # Pipelined requests would have to be kept; nobody who scrapes sends them.
        self._has_more = self._is_complete

    def on_url(self, url: bytes) -> None:
        if not self._is_complete:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_complete:
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._has_headers = True

    def on_message_complete(self) -> None:
        if self._is_complete:
            return
        self._is_complete = True
        # Reading goes on: only so is a client noticed that does not wait any longer.
        self._set_timer(None)
        path, _, query = self._url.partition(b"?")
        request = Request(
            self._parser.get_method().decode(),
            path.decode("latin-1"),
            query.decode("latin-1"),
            self._headers,
        )
        keep_alive = self._parser.should_keep_alive()
        self._task = self._loop.create_task(self._answer(request, keep_alive=keep_alive))

    # Own

    def close_if_idle(self) -> bool:
        """Close the connection unless a request has begun; tell whether it was closed."""
        if self._task is not None or self._received:
            return False
        self._transport.close()
        return True

    def drop_if_silent(self) -> bool:
        """Drop the connection unless a request is being answered; tell whether it was dropped."""
        if self._task is not None:
            return False
        self._transport.abort()
        return True

    def abort(self) -> None:
        self._transport.abort()

    def _begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._received = 0
        self._has_headers = False
        self._is_complete = False
        self._has_more = False

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._received and self._task is None and not self._transport.is_closing():
            self._refuse(408, f"no whole request within {HEADER_TIMEOUT_SECONDS:g} s")
        else:
            self._transport.abort()

    def _refuse(self, status: int, sentence: str) -> None:
        if not self._transport.is_closing() and self._task is None:
            answer = plain(status, sentence)
            self._transport.write(render_head(answer, keep_alive=False) + answer.body)
        self._transport.close()
        self._set_timer(WRITE_TIMEOUT_SECONDS)

    async def _answer(self, request: Request, *, keep_alive: bool) -> None:
        try:
            response = await self._server.handler(request)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("a request failed", extra={"path": request.path})
            response = plain(500, "internal error; see the log")
        keep_alive = keep_alive and not self._has_more and not self._server.is_draining
        if response.parts is not None:
            response = await self._write_parts(response, request, keep_alive=keep_alive)
            if response.parts is not None:
                self._end_answer(keep_alive=keep_alive)
                return
        head = render_head(response, keep_alive=keep_alive)
        body = b"" if request.method == "HEAD" else response.body
        self._server.unsent_bytes += len(body)
        try:
            await self._write(head, body)
        finally:
            self._server.unsent_bytes -= len(body)
            self._server.gathered -= self._has_gathered
            self._has_gathered = False
        self._end_answer(keep_alive=keep_alive)

    async def _write_parts(
        self, response: Response, request: Request, *, keep_alive: bool
    ) -> Response:
        """Write an answer as it comes; for a client that cannot take it so, gather it first."""
        parts = response.parts
        if parts is None:
            raise RuntimeError("an answer without parts")
        async with contextlib.aclosing(parts):
            try:
                if request.method == "HEAD":
                    return response._replace(parts=None)
                if self._parser.get_http_version() == "1.0":
                    return await self._gather(response, parts)
                self._transport.write(render_head(response, keep_alive=keep_alive))
                async for part in parts:
                    await self._take(b"%x\r\n" % len(part), part, b"\r\n")
                await self._take(b"0\r\n\r\n")
            except asyncio.CancelledError:
                raise
            except LiveryError as error:
                if request.method == "HEAD" or self._parser.get_http_version() == "1.0":
                    return plain(502, str(error))
                self._transport.abort()
            except Exception:
                logger.exception("an answer failed midway", extra={"path": request.path})
                self._transport.abort()
        return response

    async def _gather(self, response: Response, parts: AsyncGenerator[bytes, None]) -> Response:
        if self._server.gathered >= MAX_GATHERED:
            return plain(503, "too many answers are held whole; ask by HTTP/1.1")
        self._server.gathered += 1
        self._has_gathered = True
        return response._replace(body=await gather(parts), parts=None)

    async def _take(self, *data: bytes) -> None:
        """Write once the client has taken what was written before."""
        self._set_timer(WRITE_TIMEOUT_SECONDS)
        size = sum(map(len, data))
        self._server.unsent_bytes += size
        try:
            if not self._transport.is_closing():
                self._transport.writelines(data)
            await self._writable.wait()
        finally:
            self._server.unsent_bytes -= size
            self._set_timer(None)

    def _end_answer(self, *, keep_alive: bool) -> None:
        # What came, or was told, while the answer went out counts, too.
        keep_alive = keep_alive and not self._has_more and not self._server.is_draining
        if not keep_alive or self._transport.is_closing():
            self._transport.close()
            return
        self._task = None
        self._begin()
        self._set_timer(IDLE_TIMEOUT_SECONDS)

    async def _write(self, head: bytes, body: bytes) -> None:
        if len(body) <= _WRITE_BYTES:
            self._transport.write(head + body)
            if self._writable.is_set():
                return
            self._set_timer(WRITE_TIMEOUT_SECONDS)
        else:
            self._set_timer(WRITE_TIMEOUT_SECONDS)
            # In parts: what slow readers have not taken stays one object that they share.
            self._transport.write(head)
            view = memoryview(body)
            for start in range(0, len(view), _WRITE_BYTES):
                await self._writable.wait()
                if self._transport.is_closing():
                    return
                self._transport.write(view[start : start + _WRITE_BYTES])
        await self._writable.wait()
