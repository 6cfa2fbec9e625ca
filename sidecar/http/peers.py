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
        limit: maximum number; the caller drops the `victim` before it adds one more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._peers: dict[T, str] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Number of connections."""
        return len(self._peers)

    def __iter__(self) -> Iterator[T]:
        """All connections, the oldest first."""
        return iter(tuple(self._peers))

    @property
    def is_full(self) -> bool:
        """Whether a connection must be dropped before another one is added."""
        return len(self._peers) >= self._limit

    def add(self, item: T, peer: str) -> None:
        """Add a connection."""
        self._peers[item] = peer
        self._counts[peer] += 1

    def discard(self, item: T) -> None:
        """Remove a connection, if it is there."""
        peer = self._peers.pop(item, None)
        if peer is None:
            return
        self._counts[peer] -= 1
        if not self._counts[peer]:
            del self._counts[peer]

    def victim(self, is_idle: Callable[[T], bool], peer: str) -> T | None:
        """Choose the connection to drop in favor of a new one of a client.

        An idle one is dropped first: the oldest one of the client that has the most. A busy one is
        dropped only if its client has at least two more than the new one's. None: no room is made.
        """
        heaviest = self._heaviest(is_idle)
        if heaviest is not None:
            return heaviest
        busy = self._heaviest(lambda _: True)
        if busy is None or self._counts[self._peers[busy]] <= self._counts[peer] + 1:
            return None
        return busy

    def next_of(self, served: "PeerShares[T]") -> T:
        """Choose the next connection: the oldest one of the client with the fewest in `served`."""
        return min(self._peers, key=lambda item: served.count(self._peers[item]))

    def count(self, peer: str) -> int:
        """Number of connections of a client."""
        return self._counts[peer]

    def _heaviest(self, is_candidate: Callable[[T], bool]) -> T | None:
        found: T | None = None
        most = 0
        for item, peer in self._peers.items():
            if self._counts[peer] > most and is_candidate(item):
                found, most = item, self._counts[peer]
        return found
