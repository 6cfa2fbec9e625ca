"""Memory for bodies being received: small ones share a pool, large ones wait for one of few slots.

A fetch that waits stops reading, so the pod stops sending. When a fetch has waited for long, the
slowest of the bodies that hold a slot is cut off.
"""

import asyncio
import time
from collections import deque

SMALL_BYTES = 256 << 10
"""Bytes that one body may take from the pool."""
PATIENCE_SECONDS = 0.5
"""Wait for a slot after which the slowest body is cut off, if it has had a slot for as long."""


class BodyRoom:
    """Memory that the bodies of all scrapes share.

    Args:
        small_bytes: size of the pool.
        places: number of slots: bodies that may use memory beyond the pool at once.
    """

    def __init__(self, small_bytes: int, places: int) -> None:
        self._small_left = small_bytes
        self._places_left = max(1, places)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._holding: set[BodyShare] = set()

    def share(self) -> "BodyShare":
        """Return the share of one body, which belongs to the calling task."""
        return BodyShare(self)

    def take_small(self, count: int) -> bool:
        """Take bytes from the pool; returns False if not enough are left."""
        if count > self._small_left:
            return False
        self._small_left -= count
        return True

    def give_small(self, count: int) -> None:
        """Return bytes to the pool."""
        self._small_left += count

    async def take_place(self, share: "BodyShare") -> None:
        """Wait for a slot."""
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
        """Pass a slot to the next waiting body."""
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
    """One body's share of the memory."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._task = asyncio.current_task()
        self._small_bytes = 0
        self._has_place = False
        self.since = time.monotonic()
        """Monotonic time at which it got its slot."""
        self.taken_bytes = 0
        self.is_arriving = True
        self.is_cut = False
        """Whether it was cut off because it was slow while others waited."""

    def take(self, count: int) -> bool:
        """Take bytes; returns False if `wait` must be called instead."""
        if not self._has_place:
            is_small = self._small_bytes + count <= SMALL_BYTES
            if not is_small or not self._room.take_small(count):
                return False
            self._small_bytes += count
        self.taken_bytes += count
        return True

    async def wait(self, count: int) -> None:
        """Wait for a slot, and take the bytes."""
        await self._room.take_place(self)
        self._has_place = True
        self.since = time.monotonic()
        self.taken_bytes += count

    def arrived(self) -> None:
        """Mark the body as complete, so that it is no longer cut off."""
        self.is_arriving = False

    def give_back(self, count: int) -> None:
        """Return the whole share, whatever `count` is."""
        self._room.give_small(self._small_bytes)
        self._small_bytes = 0
        if self._has_place:
            self._has_place = False
            self._room.leave_place(self)

    def cut(self) -> None:
        """Cancel the task that reads the body."""
        self.is_arriving = False
        if self._task is not None:
            self.is_cut = True
            self._task.cancel()
