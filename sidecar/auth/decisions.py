"""Decisions about tokens: cached by the token's hash, and coalesced for concurrent callers.

Shared with the injector, so this module imports nothing else of the proxy.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
D = TypeVar("D")


class Lane(Enum):
    """Kind of a decision; acceptances are cached apart from the others, each within a limit."""

    GOOD = "good"
    """The token is accepted; invalid tokens, however many, do not evict such a decision."""
    REFUSED = "refused"
    """The token is not accepted, which removes an earlier acceptance."""
    UNDECIDED = "undecided"
    """The token cannot be checked now; an earlier acceptance stays."""


class Decided(NamedTuple, Generic[D]):
    """A decision and when it was requested, in monotonic seconds."""

    decision: D
    at: float

    @property
    def age_seconds(self) -> float:
        """Time since the decision was requested."""
        return time.monotonic() - self.at


class DecisionCache(Generic[K, D]):
    """Caches decisions of any age; the caller decides how long one is valid.

    Args:
        lane: returns the kind of a decision.
        good_limit: maximum number of acceptances; the oldest are evicted first.
        other_limit: maximum number of other decisions.
    """

    def __init__(self, lane: Callable[[D], Lane], *, good_limit: int, other_limit: int) -> None:
        self._lane = lane
        self._limits = {True: good_limit, False: other_limit}
        self._kept: dict[bool, OrderedDict[K, Decided[D]]] = {
            True: OrderedDict(), False: OrderedDict(),
        }  # fmt: skip
        self._asked: dict[K, asyncio.Task[Decided[D]]] = {}

    @property
    def waiting(self) -> int:
        """Number of decisions in progress."""
        return len(self._asked)

    def is_asked(self, key: K) -> bool:
        """Return whether a decision about a key is in progress."""
        return key in self._asked

    def good(self, key: K) -> Decided[D] | None:
        """Return the last acceptance, however old."""
        return self._kept[True].get(key)

    def other(self, key: K) -> Decided[D] | None:
        """Return the last decision that was not an acceptance, however old."""
        return self._kept[False].get(key)

    def ask(self, key: K, decide: Callable[[], Awaitable[D]]) -> asyncio.Task[Decided[D]]:
        """Start a decision about a key, or join the one in progress.

        The task is shared: await it shielded. An exception of `decide` is not cached.
        """
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._decide(key, decide))
            # Retrieves the exception, because the caller may be gone.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _decide(self, key: K, decide: Callable[[], Awaitable[D]]) -> Decided[D]:
        started = time.monotonic()
        try:
            decided = Decided(await decide(), started)
        finally:
            del self._asked[key]
        self._keep(key, decided)
        return decided

    def _keep(self, key: K, decided: Decided[D]) -> None:
        lane = self._lane(decided.decision)
        if lane is not Lane.UNDECIDED:
            self._kept[lane is not Lane.GOOD].pop(key, None)
        kept = self._kept[lane is Lane.GOOD]
        kept[key] = decided
        kept.move_to_end(key)
        while len(kept) > self._limits[lane is Lane.GOOD]:
            kept.popitem(last=False)


def token_key(token: str) -> bytes:
    """Return the cache key of a token: its hash, so that no token is kept."""
    # Imported at the first token: 0.6 MB that a proxy without callers does not need.
    import hashlib

    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
