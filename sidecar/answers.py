"""Scrapes shared by those who ask at once, and their answers as the client can read them."""

import asyncio
import contextlib
import math
import re
from collections.abc import Mapping

from sidecar.model.formats import Negotiated, content_type
from sidecar.scraping import Scrape, Scraper
from sidecar.server import Response

MAX_WAITING = 4
"""Scrapes that may wait for an answer at once; the next gets 503."""
DEFAULT_TIMEOUT_SECONDS = 9.0
"""Under Prometheus's default of ten."""
MAX_TIMEOUT_SECONDS = 120.0
_MARGIN_SECONDS = 0.5
_GZIP_MIN_BYTES = 512


class BusyError(Exception):
    """As many scrapes are waiting as may."""


class SharedScrapes:
    """Lets simultaneous scrapes of one kind share one fan-out, and others queue."""

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper
        self._running: dict[tuple[Negotiated, str], asyncio.Task[Scrape]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    async def get(self, wanted: Negotiated, query: str, timeout_seconds: float) -> Scrape:
        """Scrape, or join a scrape under way that answers the same.

        Raises:
            BusyError: too many are waiting.
        """
        if self._waiting >= MAX_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            key = (wanted, query)
            task = self._running.get(key)
            if task is None:
                task = asyncio.create_task(self._scrape(wanted, query, timeout_seconds))
                self._running[key] = task
                task.add_done_callback(lambda _: self._running.pop(key))
            # A client that goes away does not take the answer from the others.
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1

    async def _scrape(self, wanted: Negotiated, query: str, timeout_seconds: float) -> Scrape:
        async with self._one_at_a_time:
            return await self._scraper.scrape(wanted, query, timeout_seconds)


def scrape_timeout(headers: Mapping[str, str]) -> float:
    """The time for the targets: what the scraper gives, less what the answer needs."""
    with contextlib.suppress(ValueError):
        given = float(headers.get("x-prometheus-scrape-timeout-seconds", ""))
        if math.isfinite(given) and given > 0:
            return min(given - min(_MARGIN_SECONDS, given / 10), MAX_TIMEOUT_SECONDS)
    return DEFAULT_TIMEOUT_SECONDS


def render_scrape(scrape: Scrape, wanted: Negotiated, headers: Mapping[str, str]) -> Response:
    """Make an answer of a scrape, compressed where the client takes it."""
    if scrape.status != 200:
        return Response(scrape.status, scrape.body + b"\n")
    kind = content_type(wanted._replace(fmt=scrape.fmt))
    vary = ("Vary", "Accept, Accept-Encoding")
    if len(scrape.body) < _GZIP_MIN_BYTES or not _takes_gzip(headers.get("accept-encoding", "")):
        return Response(200, scrape.body, kind, (vary,))
    # Imported at the first need: not every proxy is ever asked for it.
    from isal import igzip

    body = igzip.compress(scrape.body, 1)
    return Response(200, body, kind, (vary, ("Content-Encoding", "gzip")))


def _takes_gzip(header: str) -> bool:
    for entry in header.lower().split(",")[:32]:
        coding, _, parameters = entry.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q=0(\.0*)?\s*", parameters) is None
    return False
