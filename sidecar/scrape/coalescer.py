"""Simultaneous scrapes that ask the same share one run; runs take turns, fairly by client."""

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cached_property

from sidecar.http.negotiation import compress
from sidecar.scrape.rendering import Scrape
from sidecar.scrape.scraper import Scraper, ScrapeRequest

MAX_RUNS = 8
"""Runs with a query, and as many without, that may be under way or wait; joining one is free."""
MAX_RUNS_OF_PEER = 2
"""Of these, runs of each kind that one client's address may have begun."""


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

    def __init__(
        self, request: ScrapeRequest, timeout_seconds: float, peer: str, policy: object
    ) -> None:
        self.request = request
        self.timeout_seconds = timeout_seconds
        self.peer = peer
        """Address of the client that began it."""
        self.policy = policy
        """What was active when it began."""
        self.waiting: set[asyncio.Future[Shared]] = set()
        self.is_done = False
        self.turn: asyncio.Future[None] | None = None
        """Wakes the task when it may begin; None while nothing runs before it."""
        self.is_left: asyncio.Future[None] | None = None
        """Wakes the task when the last who waited has taken the answer."""

    @property
    def is_usual(self) -> bool:
        """Whether it is what Prometheus asks: a scrape without a query."""
        return not self.request.query

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
    """Lets equal scrapes share one fan-out, and others take turns.

    One fan-out at a time bounds the memory. Who is next: scrapes without a query before those
    with one, then the client that was served least lately, then the one that came first.
    """

    def __init__(self, scraper: Scraper, is_full: Callable[[], bool] = lambda: False) -> None:
        self._scraper = scraper
        self._is_full = is_full
        self._joinable: dict[ScrapeRequest, _Run] = {}
        self._runs: list[_Run] = []
        """Under way or waiting, by age."""
        self._active: _Run | None = None
        self._served: dict[str, None] = {}
        """Clients of the runs above that had a turn, the latest last."""
        self.waiting = 0
        """Scrapes that wait for an answer now."""

    async def get(self, request: ScrapeRequest, timeout_seconds: float, peer: str = "") -> Shared:
        """Scrape, or join a scrape under way that answers the same.

        Args:
            request: what the client asks for.
            timeout_seconds: for each target, and for reading what they say.
            peer: the client's address.

        Raises:
            BusyError: too many runs wait, or too much is unsent.
        """
        run = self._joinable.get(request)
        if run is None or not self._serves(run, timeout_seconds):
            run = self._begin(request, timeout_seconds, peer)
        waiter: asyncio.Future[Shared] = asyncio.get_running_loop().create_future()
        run.waiting.add(waiter)
        self.waiting += 1
        try:
            return await waiter
        finally:
            self.waiting -= 1
            run.waiting.discard(waiter)
            if not run.waiting:
                self._leave(run)

    def _serves(self, run: _Run, timeout_seconds: float) -> bool:
        # Whoever has more time must not fail because another had less; and who asks after a
        # policy came gets what it says.
        has_time = run.timeout_seconds >= timeout_seconds
        return has_time and not run.is_done and run.policy is self._scraper.policy

    def _begin(self, request: ScrapeRequest, timeout_seconds: float, peer: str) -> _Run:
        run = _Run(request, timeout_seconds, peer, self._scraper.policy)
        self._make_room(run)
        self._joinable[request] = run
        self._runs.append(run)
        # A task of its own: a client that goes away does not take the answer from the others.
        run.task = asyncio.create_task(self._take_turn(run))
        if self._active is None:
            self._active = run
        else:
            run.turn = asyncio.get_running_loop().create_future()
        return run

    def _make_room(self, run: _Run) -> None:
        """Refuse a run, or the latest of a client that has more of them waiting."""
        if not self._runs:
            return
        alike = [item for item in self._runs if item.is_usual == run.is_usual]
        counts = Counter(item.peer for item in alike)
        reason = "too many different scrapes of this workload are waiting"
        if counts[run.peer] >= MAX_RUNS_OF_PEER:
            raise BusyError(reason)
        if len(alike) < MAX_RUNS:
            return
        for item in reversed(alike):
            if item is not self._active and counts[item.peer] > counts[run.peer] + 1:
                item.finish(None, BusyError(reason))
                item.task.cancel()
                return
        raise BusyError(reason)

    async def _take_turn(self, run: _Run) -> None:
        try:
            if run.turn is not None:
                await run.turn
            shared = await self._scrape_now(run)
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
        finally:
            self._end(run)

    async def _scrape_now(self, run: _Run) -> Shared:
        if self._is_full():
            raise BusyError("earlier responses have not been read yet")
        return Shared(await self._scraper.scrape(run.request, run.timeout_seconds))

    def _end(self, run: _Run) -> None:
        self._runs.remove(run)
        if self._active is not run:
            return
        if not self._runs:
            self._active = None
            self._served.clear()
            return
        peers = {item.peer for item in self._runs}
        self._served.pop(run.peer, None)
        self._served[run.peer] = None
        self._served = {peer: None for peer in self._served if peer in peers}
        self._active = min(self._runs, key=self._rank, default=None)
        turn = None if self._active is None else self._active.turn
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _rank(self, run: _Run) -> tuple[bool, int]:
        served = list(self._served)
        return not run.is_usual, served.index(run.peer) if run.peer in served else -1

    def _leave(self, run: _Run) -> None:
        if self._joinable.get(run.request) is run:
            del self._joinable[run.request]
        if run.is_left is not None and not run.is_left.done():
            run.is_left.set_result(None)
        if not run.is_done:
            run.task.cancel()  # nobody is left who would read it
