"""The bounds of a scrape."""

from typing import NamedTuple

from sidecar.model.exposition.limits import Limits


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

    @classmethod
    def settable(cls, **limits: int) -> "ScrapeLimits":
        """Return the bounds that follow from those that users set: the others grow with them.

        Args:
            limits: `samples`, `labels` and `bytes`; each may be left out.
        """
        own = cls()
        target_bytes = limits.get("bytes", own.target_bytes)
        grown = max(1.0, target_bytes / own.target_bytes)
        return cls(
            target=own.target._replace(
                samples=limits.get("samples", own.target.samples),
                labels=limits.get("labels", own.target.labels),
                lines_bytes=int(own.target.lines_bytes * grown),
            ),
            target_bytes=target_bytes,
            scrape_bytes=int(own.scrape_bytes * grown),
            answer_bytes=int(own.answer_bytes * grown),
            cache_bytes=int(own.cache_bytes * grown),
        )
