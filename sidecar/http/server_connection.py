"""A client's connection to the server: strict parsing, and writing only as fast as it reads.

Each limit below protects against a client that is slow, greedy or malicious.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Protocol, cast

import httptools

from sidecar.errors import LiveryError
from sidecar.http.handshakes import peer_of
from sidecar.http.messages import (
    Delivery,
    Handler,
    Request,
    Response,
    gather,
    plain,
    read_request,
    render_head,
)

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16 << 10
MAX_REQUEST_BODY_BYTES = 64 << 10
HEADER_TIMEOUT_SECONDS = 10.0
IDLE_TIMEOUT_SECONDS = 330.0
"""A little more than the five minutes for which Prometheus keeps an idle connection."""
WRITE_TIMEOUT_SECONDS = 10.0
MAX_GATHERED = 1
_WRITE_BYTES = 256 << 10


class Site(Protocol):
    """What a connection needs from its server."""

    handler: Handler
    keeps_bodies: bool
    is_draining: bool
    unsent_bytes: int
    gathered: int

    def admit(self, connection: "ServerConnection", peer: str) -> bool:
        """Add a connection; return whether there is room for it."""

    def release(self, connection: "ServerConnection") -> None:
        """Remove a connection."""


class ServerConnection(asyncio.Protocol):
    """Reads one request after another and writes their responses."""

    _url: bytes
    _headers: dict[str, str]
    _body: list[bytes]
    _received: int
    """Bytes since the current request began."""
    _has_headers: bool
    _is_complete: bool
    _has_more: bool
    """Whether more than one request arrived; the rest is not kept, so the connection must end."""

    def __init__(self, server: Site) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._peer = ""
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._task is not None

    def close_if_idle(self) -> None:
        """Close the connection unless a request has begun."""
        if self._task is None and not self._received:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request; refuse the connection if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = peer_of(transport)
        if not self._server.admit(self, self._peer):
            self._refuse(503, "too many connections")
            return
        # Writing waits until the kernel has taken all: an idle connection holds no response.
        # (One byte, not 0, may be buffered: with 0, TLS counts an empty buffer as full.)
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._set_timer(HEADER_TIMEOUT_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request that is being answered."""
        self._server.release(self)
        self._set_timer(None)
        self._writable.set()
        # Other clients that wait for the same scrape still get it, through `ScrapeCoalescer`.
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Pause writing."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Resume writing."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse the request."""
        if self._is_complete:
            self._has_more = True
            self._transport.pause_reading()
            return
        self._received += len(data)
        if self._received > MAX_HEADER_BYTES + MAX_REQUEST_BODY_BYTES:
            is_body = self._has_headers or b"\r\n\r\n" in data
            self._refuse(413 if is_body else 431, "the request is too large")
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            # After a complete request it is treated as a second one: the response is still sent.
            self._has_more = self._is_complete
            if not self._is_complete:
                self._refuse(400, f"not a plain HTTP/1.1 request: {error}")
            return
        if self._task is None and not self._is_complete:
            if self._received > MAX_HEADER_BYTES and not self._has_headers:
                self._refuse(431, "the headers are too large")
            elif self._received == len(data):
                self._set_timer(HEADER_TIMEOUT_SECONDS)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_complete:
                self._has_more = True  # it is in a second request
                return
            # Upgrades are not served, and a server may ignore the offer (RFC 9110, section 7.8).
            # The parser ended the request after its head: a new one parses the head again, without
            # the offer, and then the body, of which nothing was parsed.
            head, received = self._render_offered(), self._received
            self._begin()
            self._parser, self._received = httptools.HttpRequestParser(self), received
            self._parser.feed_data(head + data[upgrade.args[0] :])

    def _render_offered(self) -> bytes:
        """Render the head that offers a protocol upgrade again, without the offer."""
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT is not served")
        lines = [b"%b %b HTTP/%b" % (method, self._url, version.encode())]
        lines += [
            f"{name}: {value}".encode("latin-1")
            for name, value in self._headers.items()
            if name != "upgrade"
        ]
        return b"\r\n".join([*lines, b"", b""])

    # httptools callbacks

    def on_message_begin(self) -> None:
        """Note a pipelined second request; it is not kept, because no scraper sends one."""
        self._has_more = self._is_complete

    def on_url(self, url: bytes) -> None:
        """Keep a part of the request's target."""
        if not self._is_complete:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; the values of a repeated one are joined."""
        if self._is_complete:
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Note that the headers are complete."""
        self._has_headers = True

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, if the server keeps bodies."""
        if self._server.keeps_bodies and not self._is_complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Start to answer the request."""
        if self._is_complete or self._parser.should_upgrade():
            return
        self._is_complete = True
        # Reading goes on: otherwise it would not be noticed that the client has disconnected.
        self._set_timer(None)
        method = self._parser.get_method().decode()
        request = read_request(method, self._url, self._headers, self._peer)
        if self._body:
            request = request._replace(body=b"".join(self._body))
        delivery = Delivery.of(method, self._parser.get_http_version())
        keep_alive = self._parser.should_keep_alive()
        self._task = self._loop.create_task(self._answer(request, delivery, keep_alive=keep_alive))

    # Own

    def _begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._body = []
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
            response = plain(status, sentence)
            head = render_head(response, Delivery.WHOLE, keep_alive=False)
            self._transport.write(head + response.body)
        self._transport.close()
        self._set_timer(WRITE_TIMEOUT_SECONDS)

    async def _answer(self, request: Request, delivery: Delivery, *, keep_alive: bool) -> None:
        try:
            response = await self._server.handler(request)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("a request failed", extra={"path": request.path})
            response = plain(500, "internal error; see the log")
        keep_alive = keep_alive and not self._has_more and not self._server.is_draining
        if response.parts is None:
            await self._write(response, delivery, keep_alive=keep_alive)
        else:
            async with contextlib.aclosing(response.parts):
                await self._deliver(response, response.parts, delivery, keep_alive=keep_alive)
        # Checked again: more data may have arrived, or draining begun, during the response.
        if not keep_alive or self._has_more or self._server.is_draining:
            self._transport.close()
        elif not self._transport.is_closing():
            self._task = None
            self._begin()
            self._set_timer(IDLE_TIMEOUT_SECONDS)

    async def _deliver(
        self,
        response: Response,
        parts: AsyncGenerator[bytes, None],
        delivery: Delivery,
        *,
        keep_alive: bool,
    ) -> None:
        """Write a streamed response."""
        if delivery is Delivery.CHUNKED:
            await self._write_parts(response, parts, keep_alive=keep_alive)
        elif delivery is Delivery.HEAD:
            await _abandon(parts)
            self._transport.write(render_head(response, delivery, keep_alive=keep_alive))
        elif self._server.gathered >= MAX_GATHERED:
            await _abandon(parts)
            refusal = plain(503, "too many buffered responses for HTTP/1.0; use HTTP/1.1")
            await self._write(refusal, delivery, keep_alive=keep_alive)
        else:
            self._server.gathered += 1
            try:
                whole = await _gather(response, parts)
                await self._write(whole, delivery, keep_alive=keep_alive)
            finally:
                self._server.gathered -= 1

    async def _write_parts(
        self, response: Response, parts: AsyncGenerator[bytes, None], *, keep_alive: bool
    ) -> None:
        self._transport.write(render_head(response, Delivery.CHUNKED, keep_alive=keep_alive))
        try:
            async for part in parts:
                await self._take(b"%x\r\n" % len(part), part, b"\r\n")
            await self._take(b"0\r\n\r\n")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, LiveryError):
                logger.exception("a response failed midway")
            # Without the last chunk the client does not take a partial body for the whole.
            self._transport.abort()

    async def _take(self, *data: bytes) -> None:
        """Write, and wait until the kernel has taken everything."""
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

    async def _write(self, response: Response, delivery: Delivery, *, keep_alive: bool) -> None:
        head = render_head(response, delivery, keep_alive=keep_alive)
        body = b"" if delivery is Delivery.HEAD else response.body
        self._server.unsent_bytes += len(body)
        try:
            await self._write_body(head, body)
        finally:
            self._server.unsent_bytes -= len(body)

    async def _write_body(self, head: bytes, body: bytes) -> None:
        if len(body) <= _WRITE_BYTES:
            self._transport.write(head + body)
            if self._writable.is_set():
                return
            self._set_timer(WRITE_TIMEOUT_SECONDS)
        else:
            self._set_timer(WRITE_TIMEOUT_SECONDS)
            # In slices: slow clients that get the same body share it instead of buffering copies.
            self._transport.write(head)
            view = memoryview(body)
            for start in range(0, len(view), _WRITE_BYTES):
                await self._writable.wait()
                if self._transport.is_closing():
                    return
                self._transport.write(view[start : start + _WRITE_BYTES])
        await self._writable.wait()


async def _abandon(parts: AsyncGenerator[bytes, None]) -> None:
    """Start a body that nobody will read: closing a generator that never ran releases nothing."""
    with contextlib.suppress(LiveryError, StopAsyncIteration):
        await anext(parts)


async def _gather(response: Response, parts: AsyncGenerator[bytes, None]) -> Response:
    """Read a streamed body into memory; if it is incomplete, return an error response."""
    try:
        return response._replace(body=await gather(parts), parts=None)
    except asyncio.CancelledError:
        raise
    except LiveryError as error:
        return plain(502, str(error))
    except Exception:
        logger.exception("a response failed midway")
        return plain(500, "internal error; see the log")
