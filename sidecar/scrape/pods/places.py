"""Bounds how many targets are scraped at once; one that hangs does not hold up the others."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Place:
    """One of the slots for concurrent target scrapes."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        """Monotonic time at which the current target's scrape started."""
        self.is_given_up = False


class Places(Generic[T]):
    """Slots of the workers, and the remaining work; a worker that hangs gives its slot up.

    Args:
        rest: work that is left.
        hold_seconds: how long one target may keep a slot.
    """

    def __init__(self, rest: Iterator[T], hold_seconds: float) -> None:
        self.rest = rest
        self.is_done = asyncio.Event()
        """Set when no worker is left."""
        self._hold_seconds = hold_seconds
        self._places: set[Place] = set()
        self._working = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[Place]:
        """Take a slot for the duration of the block."""
        place = Place()
        self._places.add(place)
        self._working += 1
        try:
            yield place
        finally:
            self._places.discard(place)
            self._working -= 1
            if not self._working:
                self.is_done.set()

    async def watch(self, begin: Callable[[], None]) -> None:
        """Call `begin` for each slot that is held too long, until cancelled."""
        while True:
            await asyncio.sleep(self._hold_seconds / 2)
            horizon = time.monotonic() - self._hold_seconds
            for place in [place for place in self._places if place.since < horizon]:
                place.is_given_up = True
                self._places.discard(place)
                begin()
