"""What a backend answers, passed on as it comes."""

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
"""An answer that is here already, and no larger, goes out with its length."""
_PASSED_STATUSES = (400, 404, 422)
"""What a Prometheus says of a query itself; anything else is said in words of ours."""


class Terms(NamedTuple):
    """Under which an answer is passed on."""

    kind: str
    """The Content-Type that it must have."""
    limit_bytes: int
    holds: Callable[[], bool]
    """Tells whether the rules by which was asked are still in force."""
    done: Callable[[], None]
    """Called at the end, however it comes."""
    until: float = float("inf")
    """When it is broken off, in the loop's time."""
    pause_seconds: float = 30.0
    """How long the backend may say nothing."""


async def pass_on(asked: Asked, terms: Terms) -> Response:
    """Make the response of a backend's; it is broken off when the rules change.

    Args:
        asked: what the backend began to answer.
        terms: under which it is passed on.

    Raises:
        Refusal: the backend does not answer as it must, or too much; or the rules changed before
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
    """A backend's answer while it is taken."""

    def __init__(self, asked: Asked, terms: Terms) -> None:
        self._asked = asked
        self._connection = asked.connection
        self._terms = terms
        self._is_over = False

    def finish(self) -> None:
        """Give the connection back, once."""
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
            self._asked.backend.error = f"it answered {found[:60]!r}, which is no Prometheus"
            raise Refusal(Cause.BACKEND, 502, "the backend answered what is no Prometheus' answer")
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
                        raise LimitError(f"an answer of over {self._terms.limit_bytes >> 20} MiB")
                    if not self._terms.holds():
                        raise changed()
                    yield part
        finally:
            self.finish()

    async def _read(self) -> list[bytes]:
        now, pause = asyncio.get_running_loop().time(), self._terms.pause_seconds
        if now > self._terms.until:
            raise LimitError("an answer that took too long: it, or who reads it, is too slow")
        try:
            async with asyncio.timeout(pause):
                return await self._connection.read_available()
        except TimeoutError:
            raise LimitError(f"the backend said nothing more for {pause:g} s") from None


def too_large(limit_bytes: int) -> Refusal:
    """Say that an answer is larger than the tenant may ask for."""
    most = f"{limit_bytes / (1 << 20):.6g}"
    sentence = f"an answer of over {most} MiB; ask for fewer series or a larger step"
    return Refusal(Cause.SIZE, 422, sentence)


def changed() -> Refusal:
    """Say that an answer is not given under rules that are gone."""
    sentence = "the access rules changed while this was answered; ask again"
    return Refusal(Cause.POLICY, 503, sentence, retry_seconds=1)


async def backend_error(asked: Asked) -> Refusal:
    """Say what a backend's error means for who asked."""
    connection = asked.connection
    body = bytearray()
    while len(body) <= MAX_ERROR_BYTES and (part := await connection.read()):
        body += part
    status = connection.status
    kind = ""
    try:
        text = bytes(body)
        if connection.headers.get("content-encoding", "") == "gzip":
            # No more than may be read: a few kilobytes can stand for gigabytes.
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
    hint = "; has this Prometheus the endpoint, and is its URL right?" if status == 404 else ""
    return Refusal(Cause.BACKEND, 502, f"the backend answered {status}{hint}")


async def read_whole(asked: Asked, limit_bytes: int, *, is_cut: bool = False) -> bytes:
    """Return the whole of an answer that is held to be read, and give the connection back.

    Args:
        asked: what the backend began to answer.
        limit_bytes: of the answer.
        is_cut: whether one that is larger is cut, in place of refused.

    Raises:
        Refusal: it is an error, too large, or breaks off.
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
    """Return what is within an answer of Prometheus' API.

    Raises:
        Refusal: it is none.
    """
    try:
        said = json.loads(body)
        if isinstance(said, dict) and "data" in said:
            return said
    except (ValueError, RecursionError):
        pass
    sentence = "the backend answered what is no Prometheus' answer"
    raise Refusal(Cause.BACKEND, 502, sentence)


def broke_off(error: LiveryError) -> str:
    """Say that a backend did not end its answer."""
    return f"the backend broke off: {error}"
