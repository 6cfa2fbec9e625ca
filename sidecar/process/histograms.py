"""A histogram in text format, without the 3.5 MB of a client library."""

from bisect import bisect_left
from collections.abc import Sequence

from sidecar.model.exposition.escapes import escape


class Histogram:
    """A histogram with one label.

    Args:
        name: name of the metric.
        text: its help text.
        label: name of the label.
        bounds: upper bounds of the buckets, ascending, without +Inf.
    """

    def __init__(self, name: str, text: str, label: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._bounds = list(bounds)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, value: str, amount: float) -> None:
        """Observe an amount for a label value."""
        counts = self._counts.get(value)
        if counts is None:
            counts = self._counts[value] = [0] * (len(self._bounds) + 1)
            self._sums[value] = 0.0
        counts[bisect_left(self._bounds, amount)] += 1
        self._sums[value] += amount

    def render(self) -> bytes:
        """Write it in text format."""
        name = self._name
        lines = [f"# HELP {name} {self._text}", f"# TYPE {name} histogram"]
        for value, counts in sorted(self._counts.items()):
            shown = f'{self._label}="{escape(value.encode()).decode()}"'
            total = 0
            for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{shown},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{{shown}}} {self._sums[value]!r}")
            lines.append(f"{name}_count{{{shown}}} {total}")
        return "\n".join([*lines, ""]).encode()
