"""Simultaneous scrapes that ask the same share one run."""

import asyncio
import traceback
from collections.abc import Callable
from functools import cached_property

from sidecar.http.negotiation import compress
from sidecar.model.exposition.formats import Negotiated
from sidecar.scrape.rendering import Scrape
from sidecar.scrape.scraper import Scraper

MAX_WAITING = 4
"""Scrapes that may wait for an answer at once; the next gets 503."""


class BusyError(Exception):
    """As many scrapes are waiting, or as much is unsent, as may be; the text says which."""


class Shared:
    """A scrape's result, compressed once for all who take it so."""

    def __init__(self, scrape: Scrape) -> None:
        self.scrape = scrape

    @cached_property
    def gzipped(self) -> bytes:
        """The body compressed."""
        return compress(self.scrape.body)


class _Run:
    """One scrape and those who wait for it."""

    task: asyncio.Task[None]

    def __init__(self, timeout_seconds: float, policy: object) -> None:
        self.timeout_seconds = timeout_seconds
        self.policy = policy
        """In force when it began."""
        self.waiting: set[asyncio.Future[Shared]] = set()
        self.is_done = False
        self.is_left: asyncio.Future[None] | None = None
        """Wakes the task when the last who waited has taken the answer."""

    def finish(self, shared: Shared | None, error: BaseException | None) -> None:
        """Give all who wait the answer, or why there is none."""
        self.is_done = True
        for waiter in self.waiting:
            if waiter.done():
                continue
            if shared is not None:
                waiter.set_result(shared)
            elif error is not None:
                waiter.set_exception(error)
            else:
                waiter.cancel()


class ScrapeCoalescer:
    """Lets simultaneous scrapes of one kind share one fan-out, and others queue."""

    def __init__(self, scraper: Scraper, is_full: Callable[[], bool] = lambda: False) -> None:
        self._scraper = scraper
        self._is_full = is_full
        self._runs: dict[tuple[Negotiated, str], _Run] = {}
        self._one_at_a_time = asyncio.Lock()
        self.waiting = 0
        """Scrapes that wait for an answer now."""

    async def get(self, wanted: Negotiated, query: str, timeout_seconds: float) -> Shared:
        """Scrape, or join a scrape under way that answers the same.

        Raises:
            BusyError: too many are waiting, or too much is unsent.
        """
        if self.waiting >= MAX_WAITING:
            raise BusyError("too many scrapes are waiting for this workload")
        run = self._runs.get((wanted, query))
        if run is None or not self._serves(run, timeout_seconds):
            run = self._runs[wanted, query] = _Run(timeout_seconds, self._scraper.policy)
            # A task of its own: a client that goes away does not take the answer from the others.
            run.task = asyncio.create_task(self._scrape(run, wanted, query))
        waiter: asyncio.Future[Shared] = asyncio.get_running_loop().create_future()
        run.waiting.add(waiter)
        self.waiting += 1
        try:
            return await waiter
        finally:
            self.waiting -= 1
            run.waiting.discard(waiter)
            if not run.waiting:
                self._leave(run, (wanted, query))

    def _serves(self, run: _Run, timeout_seconds: float) -> bool:
        # Whoever has more time must not fail because another had less; and who asks after a
        # policy came gets what it says.
        has_time = run.timeout_seconds >= timeout_seconds
        return has_time and not run.is_done and run.policy is self._scraper.policy

    async def _scrape(self, run: _Run, wanted: Negotiated, query: str) -> None:
        try:
            async with self._one_at_a_time:
                shared = await self._scrape_now(wanted, query, run.timeout_seconds)
                run.finish(shared, None)
                if self.waiting > len(run.waiting):
                    # Those who waited take it, and count it as unsent, before the next one begins.
                    run.is_left = asyncio.get_running_loop().create_future()
                    await run.is_left
        except asyncio.CancelledError as error:
            run.finish(None, None)
            # The frames hold all that was read, and the task them, until garbage is collected.
            traceback.clear_frames(error.__traceback__)
            raise
        except Exception as error:
            run.finish(None, error)

    async def _scrape_now(self, wanted: Negotiated, query: str, timeout_seconds: float) -> Shared:
        if self._is_full():
            raise BusyError("earlier answers have not been read yet")
        return Shared(await self._scraper.scrape(wanted, query, timeout_seconds))

    def _leave(self, run: _Run, key: tuple[Negotiated, str]) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]
        if run.is_left is not None and not run.is_left.done():
            run.is_left.set_result(None)
        if not run.is_done:
            run.task.cancel()  # nobody is left who would read it
