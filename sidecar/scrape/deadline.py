"""The deadline of a scrape."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """The deadline of a scrape; it expires at once when no client waits any more."""

    def __init__(self, timeout_seconds: float) -> None:
        self._at = time.monotonic() + timeout_seconds

    @property
    def left_seconds(self) -> float:
        """Time left; 0 after the deadline."""
        return max(0.0, self._at - time.monotonic())

    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return time.monotonic() > self._at

    def come(self) -> None:
        """Make the deadline expire now."""
        self._at = 0.0


async def in_thread(deadline: Deadline, work: Callable[[], T]) -> T:
    """Run `work` in a thread; if cancelled, wait for its end, so that no two use one cache."""
    job = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        deadline.come()
        while not job.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        raise
