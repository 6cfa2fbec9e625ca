"""Requests and responses of the proxy's own server."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import NamedTuple

from sidecar.errors import LateError, LimitError, LiveryError, UpstreamTimeoutError

MAX_GATHERED_BYTES = 64 << 20
"""Maximum size of a streamed response that is held in memory for an HTTP/1.0 client."""


class Request(NamedTuple):
    """One request; header names are in lower case, the values of repeated headers are joined."""

    method: str
    """HEAD appears as GET: the connection omits the response's body."""
    path: str
    query: str
    headers: Mapping[str, str]
    peer: str = ""
    """The client's address."""
    body: bytes = b""
    """Empty unless the server keeps bodies."""


class Delivery(Enum):
    """How a response reaches its client."""

    WHOLE = auto()
    """With Content-Length: HTTP/1.0 has no other way to show that nothing is missing."""
    CHUNKED = auto()
    """With Content-Length if the length is known, else in chunks as they arrive."""
    HEAD = auto()
    """Without its body."""

    @classmethod
    def of(cls, method: str, version: str) -> "Delivery":
        """Choose by a request's method and HTTP version."""
        if method == "HEAD":
            return cls.HEAD
        return cls.WHOLE if version == "1.0" else cls.CHUNKED


class Response(NamedTuple):
    """One response."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    parts: AsyncGenerator[bytes, None] | None = None
    """The body as a stream, in place of `body`. An error ends the connection without the last
    chunk, so that the client does not take a partial body for the whole."""


Handler = Callable[[Request], Awaitable[Response]]


def read_request(method: str, target: bytes, headers: Mapping[str, str], peer: str) -> Request:
    """Build a request from its target, which may include the server: `http://host/path`."""
    text = target.decode("latin-1")
    if not text.startswith("/") and "://" in text:
        # RFC 9112, section 3.2.2: a server must accept it; `Host` is not used here.
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return Request("GET" if method == "HEAD" else method, path, query, headers, peer)


def plain(status: int, sentence: str) -> Response:
    """Return a plain text response with one sentence."""
    return Response(status, sentence.encode(errors="replace") + b"\n")


def failed(error: LiveryError) -> Response:
    """Return the response for a failed upstream: 504 if it was too late, else 502."""
    return plain(504 if isinstance(error, UpstreamTimeoutError | LateError) else 502, str(error))


async def gather(parts: AsyncGenerator[bytes, None]) -> bytes:
    """Read a streamed body into memory.

    Raises:
        LimitError: the body is too large for that.
    """
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > MAX_GATHERED_BYTES:
            raise LimitError(f"a response of over {MAX_GATHERED_BYTES >> 20} MiB needs HTTP/1.1")
    return bytes(body)


def render_head(response: Response, delivery: Delivery, *, keep_alive: bool) -> bytes:
    """Render the status line and headers of a response."""
    has_length = response.parts is None or delivery is Delivery.WHOLE
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}" if has_length else "Transfer-Encoding: chunked",
        *(f"{name}: {value}" for name, value in response.headers),
        *([] if keep_alive else ["Connection: close"]),
        "\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1")
