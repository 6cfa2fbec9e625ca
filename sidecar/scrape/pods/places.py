"""Who of many targets is asked now: so many at once, and one that hangs holds up no other."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Place:
    """One of the places of those that are asked at once."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        """When the present target was asked."""
        self.is_given_up = False


class Places(Generic[T]):
    """Who asks, and what is left to ask; who waits long leaves the place to another.

    Args:
        rest: what is left.
        hold_seconds: how long one target keeps a place.
    """

    def __init__(self, rest: Iterator[T], hold_seconds: float) -> None:
        self.rest = rest
        self.is_done = asyncio.Event()
        """Whether nobody asks any more."""
        self._hold_seconds = hold_seconds
        self._places: set[Place] = set()
        self._working = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[Place]:
        """Take a place for as long as the block lasts."""
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
        """Begin anew for each place that is held too long, until cancelled."""
        while True:
            await asyncio.sleep(self._hold_seconds / 2)
            horizon = time.monotonic() - self._hold_seconds
            for place in [place for place in self._places if place.since < horizon]:
                place.is_given_up = True
                self._places.discard(place)
                begin()
