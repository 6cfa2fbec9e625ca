"""Decisions about tokens: kept by the token's hash, asked for once however many wait.

The injector keeps its own by the same class, so this module imports nothing else of the proxy.
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
    """Where a decision is kept; lanes are bounded each on its own."""

    GOOD = "good"
    """The token is accepted: junk tokens, however many, push no such decision out."""
    REFUSED = "refused"
    """It is not accepted, which ends an earlier acceptance."""
    UNDECIDED = "undecided"
    """It cannot be judged now; an earlier acceptance stays."""


class Decided(NamedTuple, Generic[D]):
    """A decision and when it was asked for, in monotonic seconds."""

    decision: D
    at: float

    @property
    def age_seconds(self) -> float:
        """Time since the question."""
        return time.monotonic() - self.at


class DecisionCache(Generic[K, D]):
    """Keeps decisions of any age; how long one is valid is the caller's to say.

    Args:
        lane: where a decision is kept.
        good_limit: how many acceptances are kept; the oldest go first.
        other_limit: how many others.
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
        """Questions under way."""
        return len(self._asked)

    def is_asked(self, key: K) -> bool:
        """Tell whether a question about a key is under way."""
        return key in self._asked

    def good(self, key: K) -> Decided[D] | None:
        """Return the last acceptance, however old."""
        return self._kept[True].get(key)

    def other(self, key: K) -> Decided[D] | None:
        """Return the last decision that was none, however old."""
        return self._kept[False].get(key)

    def ask(self, key: K, decide: Callable[[], Awaitable[D]]) -> asyncio.Task[Decided[D]]:
        """Have a key decided, or join a question about it that is under way.

        The task is nobody's own: await it shielded. What `decide` raises is not kept.
        """
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._decide(key, decide))
            # The caller may be gone: then nobody else takes the error.
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
    """Return what stands for a token: its hash, so that no token is kept."""
    # Imported with the first token: 0.6 MB that a proxy without callers does not need.
    import hashlib

    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
