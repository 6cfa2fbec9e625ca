"""Reads request bodies with a timeout and within a memory budget that clients share fairly."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from injector.errors import RequestError

BODY_TIMEOUT_SECONDS = 10.0
MAX_BODIES_BYTES = 32 << 20
"""Limit for all bodies that one port is receiving or processing."""
MAX_LARGE_BODIES_BYTES = 24 << 20
"""Total above which bodies over `SMALL_BYTES` must wait; the rest is reserved for small ones."""
SMALL_BYTES = 256 << 10
_UNREAD = (408, 413, 503)
_FULL = "too many bodies are being received; try again"


class _Held:
    """One body's share of the budget."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.bytes = 0
        self.is_whole = False
        """Whether all of it has arrived; then it is being processed and is never evicted."""
        self.is_evicted = False
        self.timeout: asyncio.Timeout | None = None

    def evict(self) -> None:
        """Evict the body: its reader wakes up with a timeout."""
        self.is_evicted = True
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())


class BodyBudget:
    """Memory budget for one port's bodies; if it is full, the client that holds most loses one."""

    def __init__(self) -> None:
        self._held: dict[_Held, None] = {}
        self._of_peers: Counter[str] = Counter()
        self._room = asyncio.Event()
        self._large = asyncio.Lock()
        self.bytes = 0
        """Bytes held at present."""

    @asynccontextmanager
    async def reading(self, request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
        """Yield the complete body; bodies over `SMALL_BYTES` are processed one at a time.

        Args:
            request: the request.
            limit_bytes: maximum size of the body.

        Raises:
            RequestError: the body is too large (413), too slow (408) or cut off (400), or the
                budget is used up (503).
        """
        held = _Held(request.client.host if request.client else "")
        self._held[held] = None
        try:
            body = await self._read(request, limit_bytes, held)
            held.is_whole = True
            if len(body) <= SMALL_BYTES:
                yield body
                return
            async with self._large:
                yield body
            await asyncio.sleep(0)  # let other tasks run between two large bodies
        finally:
            self._give_back(held)
            del self._held[held]

    async def _read(self, request: Request, limit_bytes: int, held: _Held) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit_bytes:
            raise RequestError(413, f"the body is larger than {limit_bytes} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS) as held.timeout:
                async for part in request.stream():
                    if len(body) + len(part) > limit_bytes:
                        raise RequestError(413, f"the body is larger than {limit_bytes} bytes")
                    await self._take(held, len(part))
                    body += part
        except TimeoutError:
            if held.is_evicted:
                raise RequestError(503, _FULL) from None
            raise RequestError(408, f"body incomplete after {BODY_TIMEOUT_SECONDS:g} s") from None
        except ClientDisconnect:
            raise RequestError(400, "the connection closed before the whole body arrived") from None
        return bytes(body)

    async def _take(self, held: _Held, count: int) -> None:
        is_small = held.bytes + count <= SMALL_BYTES
        limit = MAX_BODIES_BYTES if is_small else MAX_LARGE_BODIES_BYTES
        while self.bytes + count > limit:
            victim = self._find_victim()
            own = self._of_peers[held.peer] + count, held.bytes + count
            if victim is not None and self._weight(victim) > own:
                self._give_back(victim)
                victim.evict()
            elif own[0] > limit // 4:
                raise RequestError(503, _FULL)
            else:
                # Complete bodies are being processed, which frees room within milliseconds.
                self._room.clear()
                await self._room.wait()
        held.bytes += count
        self.bytes += count
        self._of_peers[held.peer] += count

    def _find_victim(self) -> _Held | None:
        """Return the largest arriving body of the client that holds the most bytes."""
        arriving = [held for held in self._held if held.bytes and not held.is_whole]
        return max(arriving, key=self._weight, default=None)

    def _weight(self, held: _Held) -> tuple[int, int]:
        return self._of_peers[held.peer], held.bytes

    def _give_back(self, held: _Held) -> None:
        self.bytes -= held.bytes
        self._of_peers[held.peer] -= held.bytes
        if self._of_peers[held.peer] <= 0:
            del self._of_peers[held.peer]
        held.bytes = 0
        self._room.set()


def refusal(error: Exception, status: int) -> Response:
    """Build a one-line error response; it closes the connection if the body was not fully read."""
    headers = {"Connection": "close"} if status in _UNREAD else {}
    return PlainTextResponse(f"{error}\n", status_code=status, headers=headers)
