"""A pool of connections to one server, kept for reuse."""

import time
from collections.abc import Awaitable, Callable

from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection

STALE_SECONDS = 0.5
"""A reused connection that fails within this time was closed while it was idle."""


class ConnectionPool:
    """Keeps idle connections; one that the server closed meanwhile is replaced.

    Args:
        connect: opens a new connection.
        max_idle: how many idle connections are kept; further ones are closed on release.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], max_idle: int) -> None:
        self._connect = connect
        self._max_idle = max_idle
        self._idle: list[Connection] = []
        self._is_closed = False

    async def send(self, request: bytes) -> Connection:
        """Send a request; return the connection once the status and headers have arrived.

        The caller returns it with `release`, whether or not the body was read.

        Raises:
            UpstreamError: there is no connection, or it broke before the headers were complete.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_reusable:
                connection.close()
                continue
            began = time.monotonic()
            try:
                return await _send(connection, request)
            except UpstreamError:
                # Early: the server had closed it while it was idle, so the request is sent again.
                # Later: the request itself may have crashed the server, so it is not repeated.
                if connection.has_answered or time.monotonic() - began > STALE_SECONDS:
                    raise
        return await _send(await self._connect(), request)

    def release(self, connection: Connection) -> None:
        """Keep a connection whose response was read to its end; close any other."""
        is_kept = connection.is_reusable and len(self._idle) < self._max_idle
        if is_kept and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close idle connections now, and those in use when they are released."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


async def _send(connection: Connection, request: bytes) -> Connection:
    try:
        await connection.send(request)
    except BaseException:
        connection.close()
        raise
    return connection
