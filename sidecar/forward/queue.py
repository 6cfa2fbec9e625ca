"""A bounded queue of batches that keeps the samples of each series in order.

Batches of one lane hold the same series and are sent one after the other. Batches of several lanes
are sent concurrently if many are queued. When other series are sent than before, the lanes change:
a new generation waits until the previous one is sent. If there is no room, the oldest waiting batch
is dropped.
"""

import asyncio
from collections import Counter
from typing import NamedTuple

BATCH_BYTES = 300
"""Memory of a batch in the queue, besides its body."""


class Batch(NamedTuple):
    """One request to a receiver, compressed."""

    body: bytes
    samples: int
    timestamp_ms: int
    """Time of its newest sample, in Unix milliseconds."""
    lane: int = 0
    generation: int = 0
    may_be_there: bool = False
    """Whether another sender may have sent the same already."""


class SendQueue:
    """Batches for one receiver.

    Args:
        limit_bytes: maximum size of the queue.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._waiting: list[Batch] = []
        self._taken: list[Batch] = []
        """Batches that are being sent; they stay here until that has ended."""
        self._lanes: Counter[int] = Counter()
        """Number of batches of each lane."""
        self._news: list[asyncio.Future[None]] = []
        self.size_bytes = 0
        self.samples = 0
        """Samples that wait or are being sent."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)

    @property
    def oldest_ms(self) -> int:
        """Time of the oldest queued sample in Unix milliseconds; 0 if the queue is empty."""
        stamps = [batch.timestamp_ms for batch in (*self._taken, *self._waiting[:1])]
        return min(stamps, default=0)

    def push(self, batch: Batch) -> int:
        """Queue a batch; return the number of samples that were dropped for lack of room."""
        self._waiting.append(batch)
        self._count(batch, 1)
        dropped = 0
        while self.size_bytes > self.limit_bytes and self._waiting:
            oldest = self._waiting.pop(0)
            self._count(oldest, -1)
            dropped += oldest.samples
        self._ring()
        return dropped

    async def take(self, least: int = 1) -> Batch:
        """Wait for a batch that may be sent now.

        Args:
            least: how many batches must be waiting: further senders only help with a backlog.
        """
        while (batch := self._next(least)) is None:
            bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._news.append(bell)
            await bell
        self._waiting.remove(batch)
        self._taken.append(batch)
        return batch

    def done(self, batch: Batch) -> None:
        """Remove a batch that `take` returned."""
        if batch not in self._taken:
            return  # it was handed over meanwhile
        self._taken.remove(batch)
        self._count(batch, -1)
        self._ring()

    def give_back(self, batch: Batch) -> None:
        """Queue a batch that `take` returned again, in front of all others."""
        if batch not in self._taken:
            return  # it was handed over meanwhile
        self._taken.remove(batch)
        self._waiting.insert(0, batch)
        self._ring()

    def hand_over(self) -> list[Batch]:
        """Remove and return all batches that wait or are being sent, in order."""
        batches = [*self._taken, *self._waiting]
        self.clear()
        return batches

    def clear(self) -> int:
        """Drop all batches; return their number of samples."""
        dropped = self.samples
        self._waiting.clear()
        self._taken.clear()
        self.size_bytes = self.samples = 0
        self._lanes.clear()
        self._ring()
        return dropped

    async def drained(self) -> None:
        """Wait until the queue is empty."""
        while len(self):
            bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._news.append(bell)
            await bell

    def _next(self, least: int) -> Batch | None:
        if len(self._waiting) < least:
            return None
        busy = {batch.lane for batch in self._taken}
        generation = min(batch.generation for batch in (*self._taken, self._waiting[0]))
        for batch in self._waiting:
            if batch.generation > generation:
                return None
            if batch.lane not in busy:
                return batch
            busy.add(batch.lane)
            if len(busy) == len(self._lanes):
                return None  # every lane is busy, so all further batches have to wait
        return None

    def _count(self, batch: Batch, sign: int) -> None:
        self.size_bytes += sign * (len(batch.body) + BATCH_BYTES)
        self.samples += sign * batch.samples
        self._lanes[batch.lane] += sign
        if not self._lanes[batch.lane]:
            del self._lanes[batch.lane]

    def _ring(self) -> None:
        bells, self._news = self._news, []
        for bell in bells:
            if not bell.done():
                bell.set_result(None)
