"""Limits token reviews at the API server; known tokens have threads of their own."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from injector.errors import IdentityError
from sidecar.auth.rates import TokenBuckets

MAX_REVIEWS_OF_KNOWN = 8
MAX_REVIEWS = 16
"""Concurrent reviews of new tokens: in a storm the API server sets the pace."""
MAX_WAITING = 1_024
MAX_WAITING_OF_PEER = 16
BURST_OF_PEER, PER_SECOND_OF_PEER = 250.0, 10.0
"""New tokens per client address: all pods of a node may share it, and reconnect at once."""

T = TypeVar("T")


class ReviewQueue:
    """Runs blocking reviews in its own threads: an API server that hangs blocks nothing else."""

    def __init__(self) -> None:
        self._known = ThreadPoolExecutor(MAX_REVIEWS_OF_KNOWN, "known-token-review")
        self._new = ThreadPoolExecutor(MAX_REVIEWS, "token-review")
        self._waiting: Counter[str] = Counter()
        self._buckets: TokenBuckets[str] = TokenBuckets(BURST_OF_PEER, PER_SECOND_OF_PEER)

    async def run(self, review: Callable[[], T], *, peer: str, is_known: bool) -> T:
        """Run a review.

        Args:
            review: calls the API server; blocks.
            peer: address of the client that sent the token.
            is_known: whether the token was accepted before; new tokens never delay such a one.

        Raises:
            IdentityError: 503 if this client, or all clients together, sent too many new tokens.
        """
        loop = asyncio.get_running_loop()
        if is_known:
            return await loop.run_in_executor(self._known, review)
        if self._waiting.total() >= MAX_WAITING or self._waiting[peer] >= MAX_WAITING_OF_PEER:
            raise IdentityError(503, "too many tokens are waiting for review; try again")
        if not self._buckets.take(peer):
            raise IdentityError(503, "too many new tokens from one address; try again")
        self._waiting[peer] += 1
        try:
            return await loop.run_in_executor(self._new, review)
        finally:
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]
