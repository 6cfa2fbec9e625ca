"""Memory for bodies that arrive: small ones have a pool, large ones wait for one of a few places.

Who waits stops reading, and the pod stops sending. A body that holds a place and comes more slowly
than all others is cut off while somebody has waited for long.
"""

import asyncio
import time
from collections import deque

SMALL_BYTES = 256 << 10
"""What a body may take of the pool."""
PATIENCE_SECONDS = 0.5
"""How long one waits for a place before the slowest is cut off, and how long that one had."""


class BodyRoom:
    """Memory that the bodies of all scrapes share.

    Args:
        small_bytes: of the pool.
        places: bodies that may go beyond the pool at once.
    """

    def __init__(self, small_bytes: int, places: int) -> None:
        self._small_left = small_bytes
        self._places_left = max(1, places)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._holding: set[BodyShare] = set()

    def share(self) -> "BodyShare":
        """Return one body's part, which belongs to the task that asks for it."""
        return BodyShare(self)

    def take_small(self, count: int) -> bool:
        """Take from the pool; False where there is not so much left."""
        if count > self._small_left:
            return False
        self._small_left -= count
        return True

    def give_small(self, count: int) -> None:
        """Give back to the pool."""
        self._small_left += count

    async def take_place(self, share: "BodyShare") -> None:
        """Wait for a place."""
        if self._places_left and not self._waiting:
            self._places_left -= 1
            self._holding.add(share)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=PATIENCE_SECONDS)
                if not turn.done():
                    self._cut_slowest()
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise
        self._holding.add(share)

    def leave_place(self, share: "BodyShare") -> None:
        """Give a place to the next one."""
        self._holding.discard(share)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._places_left += 1

    def _cut_slowest(self) -> None:
        now = time.monotonic()
        slow = [
            share
            for share in self._holding
            if share.is_arriving and now - share.since > PATIENCE_SECONDS
        ]
        if slow:
            min(slow, key=lambda share: share.taken_bytes / (now - share.since)).cut()


class BodyShare:
    """One body's part of the room."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._task = asyncio.current_task()
        self._small_bytes = 0
        self._has_place = False
        self.since = time.monotonic()
        """When it got its place."""
        self.taken_bytes = 0
        self.is_arriving = True
        self.is_cut = False
        """Whether it was too slow while others waited."""

    def take(self, count: int) -> bool:
        """Use bytes; False where `wait` has to be asked for them."""
        if not self._has_place:
            is_small = self._small_bytes + count <= SMALL_BYTES
            if not is_small or not self._room.take_small(count):
                return False
            self._small_bytes += count
        self.taken_bytes += count
        return True

    async def wait(self, count: int) -> None:
        """Wait until the bytes may be used."""
        await self._room.take_place(self)
        self._has_place = True
        self.since = time.monotonic()
        self.taken_bytes += count

    def arrived(self) -> None:
        """Note that the body is whole: nobody cuts it off any more."""
        self.is_arriving = False

    def give_back(self, count: int) -> None:
        """Give all of it back, whatever the count."""
        self._room.give_small(self._small_bytes)
        self._small_bytes = 0
        if self._has_place:
            self._has_place = False
            self._room.leave_place(self)

    def cut(self) -> None:
        """End the task that reads the body."""
        self.is_arriving = False
        if self._task is not None:
            self.is_cut = True
            self._task.cancel()
