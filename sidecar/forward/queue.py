"""What waits to be sent: within a bound, and in order where order counts.

Batches of one lane hold the same series: they go one after the other. Those of several lanes go at
once where many wait. When other series are sent than before, lanes are others: a new generation
waits until the last one is through. Where there is no room, the oldest batch that waits goes first.
"""

import asyncio
from collections import Counter
from typing import NamedTuple

BATCH_BYTES = 300
"""What the interpreter holds for a batch besides its body."""


class Batch(NamedTuple):
    """One request to a receiver, compressed."""

    body: bytes
    samples: int
    timestamp_ms: int
    """Of its newest sample, as Unix time."""
    lane: int = 0
    generation: int = 0
    may_be_there: bool = False
    """Whether another sender may have sent the same already."""


class SendQueue:
    """Batches for one receiver.

    Args:
        limit_bytes: of all that waits.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._waiting: list[Batch] = []
        self._taken: list[Batch] = []
        """Those that are being sent; they stay until that has ended."""
        self._lanes: Counter[int] = Counter()
        """Batches of each lane."""
        self._news: list[asyncio.Future[None]] = []
        self.size_bytes = 0
        self.samples = 0
        """That wait or are being sent."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)

    @property
    def oldest_ms(self) -> int:
        """When the oldest sample was taken that waits, as Unix time; 0 where none does."""
        stamps = [batch.timestamp_ms for batch in (*self._taken, *self._waiting[:1])]
        return min(stamps, default=0)

    def push(self, batch: Batch) -> int:
        """Let a batch wait; returns the samples for which there was no room any more."""
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
            least: how many must wait: further senders take only where there are many.
        """
        while (batch := self._next(least)) is None:
            bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._news.append(bell)
            await bell
        self._waiting.remove(batch)
        self._taken.append(batch)
        return batch

    def done(self, batch: Batch) -> None:
        """Forget a batch that `take` returned."""
        if batch not in self._taken:
            return  # it was handed over meanwhile
        self._taken.remove(batch)
        self._count(batch, -1)
        self._ring()

    def give_back(self, batch: Batch) -> None:
        """Let a batch that `take` returned wait again, before all others."""
        if batch not in self._taken:
            return  # it was handed over meanwhile
        self._taken.remove(batch)
        self._waiting.insert(0, batch)
        self._ring()

    def hand_over(self) -> list[Batch]:
        """Return all that waits or is being sent, in its order, and forget it."""
        batches = [*self._taken, *self._waiting]
        self.clear()
        return batches

    def clear(self) -> int:
        """Forget all that waits; returns the samples."""
        dropped = self.samples
        self._waiting.clear()
        self._taken.clear()
        self.size_bytes = self.samples = 0
        self._lanes.clear()
        self._ring()
        return dropped

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
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
                return None  # however many more there are, all of them have to wait
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
