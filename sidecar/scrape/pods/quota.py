"""Limit on the samples of all targets of one scrape, shared fairly between namespaces."""

import heapq
from collections import Counter

from sidecar.errors import LimitError


class SamplesQuota:
    """Counts samples; above the limit, the largest target of the largest namespace is dropped.

    Args:
        limit: maximum number of samples.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._by_namespace: Counter[str] = Counter()
        self._targets: dict[str, list[tuple[int, int]]] = {}
        """A heap for each namespace, with the index of the largest target first."""

    @property
    def refusal(self) -> LimitError:
        """The error of a dropped target."""
        return LimitError(
            f"more than {self._limit} samples from all targets in one scrape; the largest targets "
            "of the namespace with the most samples are dropped, this one included"
        )

    def take(self, index: int, namespace: str, samples: int) -> list[int]:
        """Count a target; returns the indexes of targets that are dropped for it."""
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
