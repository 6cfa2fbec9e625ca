"""A bounded set of connections, shared fairly among clients' addresses.

Shared with the injector, so it imports nothing else of the proxy.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class PeerShares(Generic[T]):
    """Connections by age, each with its client's address.

    Args:
        limit: how many there may be; the caller drops the `victim` before it adds one more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._peers: dict[T, str] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._peers)

    def __iter__(self) -> Iterator[T]:
        """All of them, the oldest first."""
        return iter(tuple(self._peers))

    @property
    def is_full(self) -> bool:
        """Whether one must go before another comes."""
        return len(self._peers) >= self._limit

    def add(self, item: T, peer: str) -> None:
        """Count a connection in."""
        self._peers[item] = peer
        self._counts[peer] += 1

    def discard(self, item: T) -> None:
        """Count a connection out; one that is not there is ignored."""
        peer = self._peers.pop(item, None)
        if peer is None:
            return
        self._counts[peer] -= 1
        if not self._counts[peer]:
            del self._counts[peer]

    def victim(self, is_idle: Callable[[T], bool], peer: str) -> T | None:
        """Choose the connection that makes room for one of a client's.

        An idle one goes first: the oldest of the client that has most. A busy one goes only where
        its client has at least two more than the newcomer's. None: the newcomer must wait.
        """
        heaviest = self._heaviest(is_idle)
        if heaviest is not None:
            return heaviest
        busy = self._heaviest(lambda _: True)
        if busy is None or self._counts[self._peers[busy]] <= self._counts[peer] + 1:
            return None
        return busy

    def next_of(self, served: "PeerShares[T]") -> T:
        """Choose whose turn it is: the oldest of the client that is served least."""
        return min(self._peers, key=lambda item: served.count(self._peers[item]))

    def count(self, peer: str) -> int:
        """How many of a client there are."""
        return self._counts[peer]

    def _heaviest(self, is_candidate: Callable[[T], bool]) -> T | None:
        found: T | None = None
        most = 0
        for item, peer in self._peers.items():
            if self._counts[peer] > most and is_candidate(item):
                found, most = item, self._counts[peer]
        return found
