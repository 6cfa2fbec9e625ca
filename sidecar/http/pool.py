"""Connections to one server that are kept and used again."""

import time
from collections.abc import Awaitable, Callable

from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection

STALE_SECONDS = 0.5
"""Within which a connection that had been closed while it was idle is found to be."""


class ConnectionPool:
    """Keeps idle connections; one that the server closed meanwhile is replaced.

    Args:
        connect: opens a new connection.
        max_idle: how many are kept; a further one is closed when its answer was read.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], max_idle: int) -> None:
        self._connect = connect
        self._max_idle = max_idle
        self._idle: list[Connection] = []
        self._is_closed = False

    async def send(self, request: bytes) -> Connection:
        """Send a request; returns the connection once its status and headers are there.

        The caller hands it back with `release`, whether or not the body was read.

        Raises:
            UpstreamError: no connection, or the answer broke off.
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
                # The server closed it while it was idle: not its fault, nor a failed request. Later
                # it worked on the request, which perhaps ended it: that is not done twice.
                if connection.has_answered or time.monotonic() - began > STALE_SECONDS:
                    raise
        return await _send(await self._connect(), request)

    def release(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
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
