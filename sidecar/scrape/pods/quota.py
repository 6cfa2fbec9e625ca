"""How much all targets of one scrape may say together, shared fairly between namespaces."""

import heapq
from collections import Counter

from sidecar.errors import LimitError


class SamplesQuota:
    """Samples of all targets: beyond the bound, the largest of the largest namespace is left out.

    Args:
        limit: how many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._by_namespace: Counter[str] = Counter()
        self._targets: dict[str, list[tuple[int, int]]] = {}
        """By namespace a heap: the index with most samples first."""

    @property
    def refusal(self) -> LimitError:
        """Why one is left out."""
        return LimitError(
            f"more than {self._limit} samples from all targets in one scrape; the largest of the "
            "namespace with the most are left out, and this is one"
        )

    def take(self, index: int, namespace: str, samples: int) -> list[int]:
        """Count a target in; returns the indexes of those that are left out for it."""
        self._total += samples
        self._by_namespace[namespace] += samples
        heapq.heappush(self._targets.setdefault(namespace, []), (-samples, index))
        left_out: list[int] = []
        while self._total > self._limit:
            largest = max(self._by_namespace, key=lambda name: self._by_namespace[name])
            most, out = heapq.heappop(self._targets[largest])
            self._total += most
            self._by_namespace[largest] += most
            left_out.append(out)
        return left_out
