"""Bounds of what one target may expose."""

from typing import NamedTuple


class Limits(NamedTuple):
    """One target's bounds; the defaults are a pod's."""

    samples: int = 50_000
    labels: int = 64
    cache_bytes: int = 16 << 20
    """Size of its series cache; above it lines are read anew at each scrape."""
    lines_bytes: int = 24 << 20
    """Series with their labels: many long labels make much of a small body."""


NODE_LIMITS = Limits(samples=1_000_000, labels=64, cache_bytes=96 << 20, lines_bytes=512 << 20)
"""What a large node may expose: 500 pods are 63,000 lines and 28 MB."""
