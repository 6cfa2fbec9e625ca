"""Recent admission reviews of this replica, and change notifications for watchers."""

import asyncio
from collections import deque
from typing import NamedTuple

MAX_REVIEWS = 200


class Reviewed(NamedTuple):
    """One admission review and its outcome."""

    at: float
    """Unix time."""
    webhook: str
    namespace: str
    name: str
    reason: str
    sentence: str
    warnings: tuple[str, ...]
    is_dry_run: bool
    seconds: float


class Journal:
    """The latest reviews, newest first, and a version that increases with every change."""

    def __init__(self) -> None:
        self.reviews: deque[Reviewed] = deque(maxlen=MAX_REVIEWS)
        self.version = 0
        self._watching: set[asyncio.Future[None]] = set()
        self._is_closed = False

    @property
    def watchers(self) -> int:
        """Number of callers that wait for a change."""
        return len(self._watching)

    def add(self, review: Reviewed) -> None:
        """Record a review."""
        self.reviews.appendleft(review)
        self.ring()

    def ring(self, _: object = None) -> None:
        """Record a change and wake all waiting callers."""
        self.version += 1
        for waiter in self._watching:
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Wake all waiting callers at shutdown; later waits return at once."""
        self._is_closed = True
        self.ring()

    async def wait_beyond(self, version: int, timeout_seconds: float) -> int:
        """Wait for a change after `version` or for the timeout; return the current version."""
        if self.version == version and not self._is_closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watching.add(waiter)
            try:
                await asyncio.wait([waiter], timeout=timeout_seconds)
            finally:
                self._watching.discard(waiter)
        return self.version
