"""Requests and answers of the proxy's own server."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import NamedTuple

from sidecar.errors import LateError, LimitError, LiveryError, UpstreamTimeoutError

MAX_GATHERED_BYTES = 64 << 20
"""Of an answer in parts for a client that can only take it whole."""


class Request(NamedTuple):
    """One request; header names in lower case, of repeated headers all values, joined."""

    method: str
    """HEAD is shown as GET: the connection leaves the body out."""
    path: str
    query: str
    headers: Mapping[str, str]
    peer: str = ""
    """The client's address."""
    body: bytes = b""
    """Kept by servers that want bodies."""


class Delivery(Enum):
    """How a response reaches its client."""

    WHOLE = auto()
    """With its length: HTTP/1.0 knows no other way to show that nothing is missing."""
    CHUNKED = auto()
    """With its length where that is known, else while it comes."""
    HEAD = auto()
    """Without its body."""

    @classmethod
    def of(cls, method: str, version: str) -> "Delivery":
        """Choose by a request's method and HTTP version."""
        if method == "HEAD":
            return cls.HEAD
        return cls.WHOLE if version == "1.0" else cls.CHUNKED


class Response(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    parts: AsyncGenerator[bytes, None] | None = None
    """The body while it comes, in place of `body`. An error ends the connection without the last
    part, so that nobody takes what came for the whole."""


Handler = Callable[[Request], Awaitable[Response]]


def read_request(method: str, target: bytes, headers: Mapping[str, str], peer: str) -> Request:
    """Make a request of its target, which may name the server, too: `http://host/path`."""
    text = target.decode("latin-1")
    if not text.startswith("/") and "://" in text:
        # RFC 9112, section 3.2.2: a server must take it, and `Host` decides nothing here.
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return Request("GET" if method == "HEAD" else method, path, query, headers, peer)


def plain(status: int, sentence: str) -> Response:
    """Answer with one sentence."""
    return Response(status, sentence.encode(errors="replace") + b"\n")


def failed(error: LiveryError) -> Response:
    """Answer that somebody behind us did not."""
    return plain(504 if isinstance(error, UpstreamTimeoutError | LateError) else 502, str(error))


async def gather(parts: AsyncGenerator[bytes, None]) -> bytes:
    """Return the whole of a body in parts.

    Raises:
        LimitError: it is too large to be held.
    """
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > MAX_GATHERED_BYTES:
            raise LimitError(f"over {MAX_GATHERED_BYTES >> 20} MiB for a client of HTTP/1.0")
    return bytes(body)


def render_head(response: Response, delivery: Delivery, *, keep_alive: bool) -> bytes:
    """Write a response's head."""
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
