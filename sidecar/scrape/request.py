"""A client's scrape request."""

from typing import NamedTuple

from sidecar.model.exposition.formats import Negotiated


class ScrapeRequest(NamedTuple):
    """A client's scrape request; equal requests get the same response."""

    wanted: Negotiated
    """The client's format and escaping; OpenMetrics is requested from a single target only."""
    query: str = ""
    """The client's query string, passed to a single target."""
    passed: tuple[tuple[str, str], ...] = ()
    """Headers of the client's request that are passed to every target."""
    is_written: bool = True
    """Whether to render a response; False for the forwarder, which uses what was collected."""
