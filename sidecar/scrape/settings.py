"""What a scraper is given besides its targets: bounds, and what a failure means."""

from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.model.exposition.limits import Limits


class FailureRule(Described):
    """What becomes of a scrape when all of its targets fail."""

    ALL_DOWN = "all-down", "the scrape fails, so that its `up` is 0"
    NEVER = "never", "the scrape succeeds, and says of each target that it is down"


class ScrapeLimits(NamedTuple):
    """Bounds of one scrape; the defaults fit a container of 128 MiB."""

    target: Limits = Limits()
    """Of each target; its samples and series bound all targets together, too."""
    target_bytes: int = 10 << 20
    """Of one target's body, decompressed."""
    scrape_bytes: int = 24 << 20
    """Of all targets' bodies together, decompressed."""
    answer_bytes: int = 24 << 20
    """Of the answer."""
    cache_bytes: int = 16 << 20
    """Of the series caches of all targets, for all kinds of clients, together."""
