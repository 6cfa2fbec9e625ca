"""Token buckets: how often each client may do something expensive.

Shared with the injector, so this module imports nothing else of the proxy.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

MAX_KEYS = 50_000


class TokenBuckets(Generic[K]):
    """One bucket for each client; the least recently used are evicted first.

    Args:
        burst: capacity of a bucket.
        per_second: tokens added per second.
        clock: monotonic seconds.
    """

    def __init__(
        self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[K, tuple[float, float]] = OrderedDict()
        """Tokens left, and when they were computed, by client."""

    def take(self, key: K) -> bool:
        """Take a token; return False if none is left."""
        now = self._clock()
        left, at = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        is_taken = left >= 1
        self._buckets[key] = (left - 1 if is_taken else left, now)
        while len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        return is_taken
