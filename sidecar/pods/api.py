"""Client for an API server: single requests and watches."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from sidecar import VERSION
from sidecar.errors import SettingsError, UpstreamError, UpstreamTimeoutError
from sidecar.http.connection import Connection, render_request
from sidecar.http.pool import ConnectionPool
from sidecar.model.hosts import bracket
from sidecar.pods.access import ApiAccess, ApiTls

MAX_ANSWER_BYTES = 64 << 20
MAX_EVENT_BYTES = 8 << 20
"""Limit for one line of a watch; etcd stores at most 1.5 MB per object."""
REQUEST_TIMEOUT_SECONDS = 30.0
_MAX_REASON_CHARACTERS = 300
_UNAUTHORIZED = 401
Json = dict[str, Any]
T = TypeVar("T")


class ApiError(UpstreamError):
    """The API server answered with an error.

    Attributes:
        status: the HTTP status; 410 if a watch's resourceVersion is too old.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the API server answered {status}: {reason}")
        self.status = status


class ApiClient:
    """Sends requests to one API server.

    Args:
        access: its address and the credentials for it.
        renew: reads them again; called after a 401, to use renewed credentials.
    """

    def __init__(self, access: ApiAccess, renew: Callable[[], ApiAccess] | None = None) -> None:
        self._access = access
        self._renew = renew
        self._tls = ApiTls(access)
        self._pool = ConnectionPool(self._connect, max_idle=1)

    async def get(self, path: str, query: Mapping[str, str]) -> Json:
        """Return an object.

        Raises:
            ApiError: it answered with an error; has the status.
            UpstreamTimeoutError: it did not answer in time.
            UpstreamError: it cannot be reached, or the response is not an object.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                connection = await self._send(path, query)
                try:
                    body = await _read(connection)
                finally:
                    self._pool.release(connection)
        except TimeoutError:
            raise UpstreamTimeoutError(
                f"the API server did not answer within {REQUEST_TIMEOUT_SECONDS:g} s"
            ) from None
        return _parse(body)

    async def watch(
        self, path: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncGenerator[Json | None, None]:
        """Yield None when the watch has started, then events until the server ends it.

        Args:
            path: of the collection.
            query: query parameters, with `watch`.
            silence_seconds: how long the connection may be silent.

        Raises:
            ApiError: it answered with an error; has the status.
            UpstreamTimeoutError: the connection was silent for longer.
            UpstreamError: the connection was lost, or a line is not an object.
        """
        try:
            async with asyncio.timeout(silence_seconds) as deadline:
                connection = await self._send(path, query)
                try:
                    yield None
                    async for line in _lines(connection):
                        deadline.reschedule(asyncio.get_running_loop().time() + silence_seconds)
                        if line.strip():
                            yield _parse(line)
                finally:
                    connection.close()
        except TimeoutError:
            raise UpstreamTimeoutError(
                f"the API server has sent nothing for {silence_seconds:g} s"
            ) from None

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    async def _send(self, path: str, query: Mapping[str, str]) -> Connection:
        access = self._access
        headers = {
            "Host": f"{bracket(access.host)}:{access.port}",
            "User-Agent": f"livery-proxy/{VERSION}",
            "Accept": "application/json",
        }
        authorization = access.credentials.header()
        if authorization:
            headers["Authorization"] = authorization
        target = f"{access.prefix}{path}?{urlencode(query)}"
        request = render_request("GET", target, headers)
        connection = await _of_server(self._pool.send(request))
        if connection.status != 200:
            try:
                said = (await connection.read())[: 64 << 10]
            finally:
                connection.close()
            if connection.status == _UNAUTHORIZED:
                self._renew_credentials()
            raise ApiError(connection.status, _reason(said))
        return connection

    def _renew_credentials(self) -> None:
        """Reload the credentials for the next request: the kubeconfig may have new ones."""
        if self._renew is not None:
            with contextlib.suppress(SettingsError):
                self._access = self._access._replace(credentials=self._renew().credentials)

    async def _connect(self) -> Connection:
        access = self._access
        name = access.server_name or access.host
        tls = self._tls.context()
        return await Connection.open(access.host, access.port, tls=tls, server_name=name)


async def _of_server(work: Awaitable[T]) -> T:
    """Add to a connection's error that it concerns the API server."""
    try:
        return await work
    except UpstreamError as error:
        raise UpstreamError(f"the API server cannot be reached: {error}") from error


async def _read(connection: Connection) -> bytes:
    body = bytearray()
    while part := await _of_server(connection.read()):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise UpstreamError(f"the API server's answer is over {MAX_ANSWER_BYTES >> 20} MiB")
    return bytes(body)


async def _lines(connection: Connection) -> AsyncIterator[bytes]:
    buffer = bytearray()
    while part := await _of_server(connection.read()):
        *lines, rest = part.split(b"\n")
        for line in lines:
            yield bytes(buffer + line)
            buffer.clear()
        buffer += rest
        if len(buffer) > MAX_EVENT_BYTES:
            raise UpstreamError(f"a watch event is over {MAX_EVENT_BYTES >> 20} MiB")


def _parse(text: bytes) -> Json:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UpstreamError("the API server sent invalid JSON") from error
    if not isinstance(found, dict):
        raise UpstreamError("the API server did not send a JSON object")
    return found


def _reason(said: bytes) -> str:
    """Return the message of a Status object, or the beginning of any other body."""
    try:
        text = str(json.loads(said)["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        text = said.decode(errors="replace")
    return " ".join(text[:_MAX_REASON_CHARACTERS].split()) or "no reason given"
