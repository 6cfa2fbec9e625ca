"""Streams a backend's response to the tenant."""

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

from sidecar.errors import LimitError, LiveryError, UpstreamError
from sidecar.gateway.backends.group import Asked
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.http.messages import Response

MAX_ERROR_BYTES = 64 << 10
WHOLE_BYTES = 256 << 10
"""A response of at most this size that has already arrived is sent with its Content-Length."""
_PASSED_STATUSES = (400, 404, 422)
"""Prometheus' errors about the query itself, which are passed on; others are reworded."""


class Terms(NamedTuple):
    """Conditions under which a response is passed on."""

    kind: str
    """The Content-Type that it must have."""
    limit_bytes: int
    holds: Callable[[], bool]
    """Returns whether the access rules of the query still apply."""
    done: Callable[[], None]
    """Called once at the end, whatever the outcome."""
    until: float = float("inf")
    """Deadline of the whole response, in the event loop's time."""
    pause_seconds: float = 30.0
    """How long the backend may send nothing."""


async def pass_on(asked: Asked, terms: Terms) -> Response:
    """Turn a backend's response into the tenant's; it is aborted when the access rules change.

    Args:
        asked: the backend's response, whose head has arrived.
        terms: the conditions under which it is passed on.

    Raises:
        Refusal: the backend's response is invalid or too large, or the access rules changed before
            anything was passed on.
    """
    taking = _Taking(asked, terms)
    try:
        return await taking.begin()
    except Refusal:
        taking.finish()
        raise
    except LiveryError as error:
        taking.finish()
        raise Refusal(Cause.BACKEND, 502, broke_off(error)) from error
    except BaseException:
        taking.finish()
        raise


class _Taking:
    """A backend's response while it is read."""

    def __init__(self, asked: Asked, terms: Terms) -> None:
        self._asked = asked
        self._connection = asked.connection
        self._terms = terms
        self._is_over = False

    def finish(self) -> None:
        """Release the connection; further calls have no effect."""
        if not self._is_over:
            self._is_over = True
            self._asked.backend.release(self._connection)
            self._terms.done()

    async def begin(self) -> Response:
        connection = self._connection
        if connection.status != 200:
            raise await backend_error(self._asked)
        found = self._check()
        encoding = connection.headers.get("content-encoding", "")
        passed = (("Content-Encoding", encoding),) if encoding == "gzip" else ()
        first = b"".join(await connection.read_available())
        is_whole = False
        if len(first) <= WHOLE_BYTES:
            following = await connection.read_available()
            is_whole = not following
            first += b"".join(following)
        if not self._terms.holds():
            raise changed()
        if is_whole:
            self.finish()
            return Response(200, first, found, passed)
        return Response(200, b"", found, passed, self._follow(first))

    def _check(self) -> str:
        headers = self._connection.headers
        found = headers.get("content-type", "")
        if found.partition(";")[0].strip().lower() != self._terms.kind:
            self._asked.backend.error = f"it answered {found[:60]!r}; it is not a Prometheus"
            raise Refusal(Cause.BACKEND, 502, "the backend does not answer like a Prometheus")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._terms.limit_bytes:
            raise too_large(self._terms.limit_bytes)
        return found

    async def _follow(self, first: bytes) -> AsyncGenerator[bytes, None]:
        try:
            yield first
            size = len(first)
            while parts := await self._read():
                for part in parts:
                    size += len(part)
                    if size > self._terms.limit_bytes:
                        raise LimitError(f"a response of over {self._terms.limit_bytes >> 20} MiB")
                    if not self._terms.holds():
                        raise changed()
                    yield part
        finally:
            self.finish()

    async def _read(self) -> list[bytes]:
        now, pause = asyncio.get_running_loop().time(), self._terms.pause_seconds
        if now > self._terms.until:
            raise LimitError("the response took too long: the backend or the client is too slow")
        try:
            async with asyncio.timeout(pause):
                return await self._connection.read_available()
        except TimeoutError:
            raise LimitError(f"the backend sent nothing more for {pause:g} s") from None


def too_large(limit_bytes: int) -> Refusal:
    """Return the refusal of a response that is over the tenant's limit."""
    most = f"{limit_bytes / (1 << 20):.6g}"
    sentence = f"the response is over {most} MiB; ask for fewer series or a larger step"
    return Refusal(Cause.SIZE, 422, sentence)


def changed() -> Refusal:
    """Return the refusal of a request whose access rules changed meanwhile."""
    sentence = "the access rules changed during this request; retry"
    return Refusal(Cause.POLICY, 503, sentence, retry_seconds=1)


async def backend_error(asked: Asked) -> Refusal:
    """Translate a backend's error for the client."""
    connection = asked.connection
    body = bytearray()
    while len(body) <= MAX_ERROR_BYTES and (part := await connection.read()):
        body += part
    status = connection.status
    kind = ""
    try:
        text = bytes(body)
        if connection.headers.get("content-encoding", "") == "gzip":
            # Bounded: a few kilobytes of gzip can expand to gigabytes.
            text = gzip.GzipFile(fileobj=io.BytesIO(text)).read(MAX_ERROR_BYTES)
        said = json.loads(text)
        sentence, kind = str(said["error"])[:2000], str(said.get("errorType", ""))
    except (ValueError, KeyError, TypeError, OSError, EOFError, RecursionError, zlib.error):
        sentence = ""
    if status in _PASSED_STATUSES and sentence:
        return Refusal(Cause.QUERY, status, sentence)
    if status == 503 and sentence:
        return Refusal(Cause.BACKEND, 503, sentence, kind=kind)  # a timeout, or too many samples
    if status >= 500 or status in (401, 403):
        asked.backend.error = f"it answered {status}"
    if status == 503:
        return Refusal(Cause.BACKEND, 503, "Prometheus is not ready yet", retry_seconds=5)
    hint = "; check its URL, and that it supports this endpoint" if status == 404 else ""
    return Refusal(Cause.BACKEND, 502, f"the backend answered {status}{hint}")


async def read_whole(asked: Asked, limit_bytes: int, *, is_cut: bool = False) -> bytes:
    """Read a whole response into memory, and release its connection.

    Args:
        asked: the backend's response, whose head has arrived.
        limit_bytes: maximum size of the response.
        is_cut: whether a larger response is truncated instead of refused.

    Raises:
        Refusal: the response is an error, too large, or incomplete.
    """
    try:
        return await _read_to_its_end(asked, limit_bytes, is_cut=is_cut)
    except UpstreamError as error:
        raise Refusal(Cause.BACKEND, 502, broke_off(error)) from error
    finally:
        asked.backend.release(asked.connection)


async def _read_to_its_end(asked: Asked, limit_bytes: int, *, is_cut: bool) -> bytes:
    if asked.connection.status != 200:
        raise await backend_error(asked)
    body = bytearray()
    while part := await asked.connection.read():
        body += part
        if len(body) > limit_bytes:
            if not is_cut:
                raise too_large(limit_bytes)
            break
    return bytes(body)


def read_data(body: bytes) -> dict[str, Any]:
    """Parse a response of Prometheus' API.

    Raises:
        Refusal: it is not one.
    """
    try:
        said = json.loads(body)
        if isinstance(said, dict) and "data" in said:
            return said
    except (ValueError, RecursionError):
        pass
    sentence = "the backend does not answer like a Prometheus"
    raise Refusal(Cause.BACKEND, 502, sentence)


def broke_off(error: LiveryError) -> str:
    """Return the message for a backend that did not complete its response."""
    return f"the backend failed: {error}"
