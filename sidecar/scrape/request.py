"""What a client asks for."""

from typing import NamedTuple

from sidecar.model.exposition.formats import Negotiated


class ScrapeRequest(NamedTuple):
    """What a client asks for; equal requests get the same answer."""

    wanted: Negotiated
    """The client's format; OpenMetrics is asked of a single target only."""
    query: str = ""
    """The client's query string, passed to a single target."""
    passed: tuple[tuple[str, str], ...] = ()
    """Headers of the client's that every target gets."""
    is_written: bool = True
    """Whether an answer is; not where only somebody else takes what the targets say."""
