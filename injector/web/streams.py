"""Policy streams as HTTP responses, with few objects per proxy because there are thousands."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from weakref import WeakValueDictionary

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from injector.control.hub import Stream
from injector.web.servers import CONNECTION, Connection

logger = logging.getLogger(__name__)

SEND_TIMEOUT_SECONDS = 30.0
PIECE_BYTES = 16 << 10
"""Size of one write: a proxy that reads nothing keeps that much in memory, not a whole policy."""
MAX_PIECES_OF_NAMESPACE = 256
"""Unread pieces that a namespace's proxies may have together; its other streams then wait."""


class Room:
    """Limits the pieces that one namespace's proxies have not read yet."""

    def __init__(self) -> None:
        self.left = MAX_PIECES_OF_NAMESPACE
        """Pieces that still fit."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait until there is room for a piece."""
        while self.left <= 0:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done():
                    self._wake()  # pass the turn to the next waiter
                raise
        self.left -= 1

    def leave(self) -> None:
        """Release the room of one piece."""
        self.left += 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break


class UnsentBytes:
    """The `Room` of each namespace, kept only while a stream uses it."""

    def __init__(self) -> None:
        self._rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()

    def of(self, namespace: str) -> Room:
        """Return a namespace's room."""
        room = self._rooms.get(namespace)
        if room is None:
            room = self._rooms[namespace] = Room()
        return room


class PolicyStream(Response):
    """Sends a stream's messages until it ends, or its proxy disconnects or stops reading.

    Args:
        opening: opens the stream for as long as the response lasts.
        lifetime_seconds: after which the stream ends and the proxy reconnects.
        may_go_on: checked before each message.
        room: limits the unread pieces of the namespace's proxies.
    """

    def __init__(
        self,
        opening: AbstractContextManager[Stream],
        lifetime_seconds: float,
        may_go_on: Callable[[], Awaitable[bool]],
        room: Room,
    ) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._opening = opening
        self._lifetime_seconds = lifetime_seconds
        self._may_go_on = may_go_on
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        connection: Connection = scope["extensions"][CONNECTION]
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        with self._opening as stream:
            connection.on_lost = stream.close
            if connection.transport.is_closing():
                return
            if not await self._send_all(stream, connection):
                await _cut_off(connection)
                return
        last = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(last)

    async def _send_all(self, stream: Stream, connection: Connection) -> bool:
        """Send until the stream ends; return False if the client stops reading."""
        async for message in stream.messages(self._lifetime_seconds):
            if not await self._may_go_on():
                break
            for start in range(0, len(message), PIECE_BYTES):
                if connection.is_paused or self._room.left <= 0:
                    is_taken = await _wait_for(connection, self._room)
                    if stream.is_closed and connection.transport.is_closing():
                        return True
                    if not is_taken:
                        return False
                connection.write_chunk(message[start : start + PIECE_BYTES])
        return True


async def _cut_off(connection: Connection) -> None:
    """Abort a connection and wait until it is gone; else uvicorn logs an incomplete response."""
    gone = asyncio.Event()
    connection.on_lost = gone.set
    connection.transport.abort()
    await gone.wait()


async def _wait_for(connection: Connection, room: Room) -> bool:
    """Wait until a piece can be written; return False on timeout."""
    has_entered = False
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await room.enter()
            has_entered = True
            await connection.drain()
    except TimeoutError:
        logger.info("policy stream closed: the proxy stopped reading")
        return False
    finally:
        if has_entered:
            room.leave()
    return True
