"""Limits of a scrape."""

from typing import NamedTuple

from sidecar.model.exposition.limits import Limits


class ScrapeLimits(NamedTuple):
    """Limits of one scrape; the defaults fit a container of 128 MiB."""

    target: Limits = Limits()
    """Limits of each target; its samples and series also limit all targets together."""
    target_bytes: int = 10 << 20
    """Size of one target's body, decompressed."""
    scrape_bytes: int = 24 << 20
    """Size of all targets' bodies together, decompressed."""
    answer_bytes: int = 24 << 20
    """Size of the response."""
    cache_bytes: int = 16 << 20
    """Size of the series caches of all targets and client variants together."""

    @classmethod
    def settable(cls, **limits: int) -> "ScrapeLimits":
        """Return limits with those that users set; the other sizes grow in proportion to `bytes`.

        Args:
            limits: `samples`, `labels` and `bytes`, all optional.
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
