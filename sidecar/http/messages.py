"""Requests and answers of the proxy's own server."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from sidecar.errors import LateError, LimitError, LiveryError, UpstreamTimeoutError

MAX_GATHERED_BYTES = 64 << 20
"""Of an answer in parts for a client that can only take it whole."""


class Request(NamedTuple):
    """One request; header names in lower case, of repeated headers all values, joined."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


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


def render_head(response: Response, *, keep_alive: bool) -> bytes:
    """Write an answer's head."""
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}"
        if response.parts is None
        else "Transfer-Encoding: chunked",
        *(f"{name}: {value}" for name, value in response.headers),
        *([] if keep_alive else ["Connection: close"]),
        "\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1")
