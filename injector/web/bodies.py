"""Request bodies: read within a time, and together within a budget that clients share."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from injector.errors import RequestError

BODY_TIMEOUT_SECONDS = 10.0
MAX_BODIES_BYTES = 32 << 20
"""Of all bodies that one port receives or works on."""
MAX_LARGE_BODIES_BYTES = 24 << 20
"""The part of it that larger bodies may take, so that small ones always find room."""
SMALL_BYTES = 256 << 10
_UNREAD = (408, 413, 503)
_FULL = "too many bodies are being received; try again"


class _Held:
    """One body's share of the budget."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.bytes = 0
        self.is_whole = False
        """Whether all of it arrived; then it is worked on, and not given up."""
        self.is_evicted = False
        self.timeout: asyncio.Timeout | None = None

    def evict(self) -> None:
        """Give the body up: its reader wakes with a timeout."""
        self.is_evicted = True
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())


class BodyBudget:
    """Bytes of bodies on one port; where they run out, the client that holds most loses one."""

    def __init__(self) -> None:
        self._held: dict[_Held, None] = {}
        self._of_peers: Counter[str] = Counter()
        self._room = asyncio.Event()
        self._large = asyncio.Lock()
        self.bytes = 0
        """What is held now."""

    @asynccontextmanager
    async def reading(self, request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
        """Give a whole body while it is worked on; large ones are worked on one at a time.

        Args:
            request: the request.
            limit_bytes: the most that is read.

        Raises:
            RequestError: it is larger (413), too slow (408), broke off (400), or there is no
                room for it (503).
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
            await asyncio.sleep(0)  # others have their turn between two large ones
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
            raise RequestError(408, f"no whole body within {BODY_TIMEOUT_SECONDS:g} s") from None
        except ClientDisconnect:
            raise RequestError(400, "the body broke off") from None
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
                # What is whole is worked on, which takes milliseconds each.
                self._room.clear()
                await self._room.wait()
        held.bytes += count
        self.bytes += count
        self._of_peers[held.peer] += count

    def _find_victim(self) -> _Held | None:
        """Return the largest body under way of the client that holds most."""
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
    """Answer with an error in one line; close the connection if its body was not read whole."""
    headers = {"Connection": "close"} if status in _UNREAD else {}
    return PlainTextResponse(f"{error}\n", status_code=status, headers=headers)
