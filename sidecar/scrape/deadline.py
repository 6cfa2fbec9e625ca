"""When a scrape must be over."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """When a scrape must be over; at once, if nobody waits for it any more."""

    def __init__(self, timeout_seconds: float) -> None:
        self._at = time.monotonic() + timeout_seconds

    @property
    def left_seconds(self) -> float:
        """Time that is left; none after it."""
        return max(0.0, self._at - time.monotonic())

    def is_over(self) -> bool:
        """Tell whether it has come."""
        return time.monotonic() > self._at

    def come(self) -> None:
        """Let it have come."""
        self._at = 0.0


async def in_thread(deadline: Deadline, work: Callable[[], T]) -> T:
    """Work in a thread; who is cancelled waits for its end, so that no two are in one cache."""
    job = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        deadline.come()
        while not job.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        raise
