"""Coalesces equal concurrent scrapes into one run; runs take turns, fairly by client."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sidecar.scrape.request import ScrapeRequest

MAX_RUNS = 8
"""Limit of active and waiting runs, separate for those with and without a query; joining a run
is always allowed."""
MAX_RUNS_OF_PEER = 2
"""Limit of those runs, of each kind, that one client address may have started."""
_SLACK_SECONDS = 0.5
"""How long after its own timeout a client may get the result of a run that it joined."""


class BusyError(Exception):
    """Too many scrapes are waiting, or too much is unsent; the message says which."""


A_co = TypeVar("A_co", covariant=True)
A = TypeVar("A")


class Scrapes(Protocol[A_co]):
    """Runs scrapes."""

    @property
    def policy(self) -> object:
        """The active policy; a result is shared only while it stays the same object."""

    async def scrape(self, request: ScrapeRequest, timeout_seconds: float) -> A_co:
        """Run one scrape."""


class _Run(Generic[A]):
    """One scrape and the clients that wait for it."""

    task: asyncio.Task[None]

    def __init__(
        self, request: ScrapeRequest, timeout_seconds: float, peer: str, policy: object
    ) -> None:
        self.request = request
        self.timeout_seconds = timeout_seconds
        self.ends_at = time.monotonic() + timeout_seconds
        """Its deadline; the wait for its turn counts as part of its time."""
        self.peer = peer
        """Address of the client that started it."""
        self.policy = policy
        """The policy that was active when it started."""
        self.waiting: set[asyncio.Future[A]] = set()
        self.is_done = False
        self.turn: asyncio.Future[None] | None = None
        """Wakes the task when it may start; None if it need not wait."""
        self.is_left: asyncio.Future[None] | None = None
        """Wakes the task when the last waiting client has taken the result."""

    @property
    def is_usual(self) -> bool:
        """Whether it has no query, like Prometheus' own scrapes."""
        return not self.request.query

    def finish(self, answer: A | None, error: BaseException | None) -> None:
        """Pass the result or the error to all waiting clients."""
        self.is_done = True
        for waiter in self.waiting:
            if waiter.done():
                continue
            if answer is not None:
                waiter.set_result(answer)
            elif error is not None:
                waiter.set_exception(error)
            else:
                waiter.cancel()


class ScrapeCoalescer(Generic[A]):
    """Lets equal scrapes share one fan-out, while different ones take turns.

    A limit on concurrent fan-outs bounds memory. Scrapes without a query precede those with one;
    then the least recently served client is next, then the oldest scrape.

    Args:
        scraper: runs the scrapes.
        is_full: returns whether too much is unsent.
        max_active: concurrent fan-outs; with more than one, a client with a long timeout does not
            hold up one with a short timeout.
        max_of_peer: limit of runs of each kind that one client address may have started.
    """

    def __init__(
        self,
        scraper: Scrapes[A],
        is_full: Callable[[], bool] = lambda: False,
        *,
        max_active: int = 1,
        max_of_peer: int = MAX_RUNS_OF_PEER,
    ) -> None:
        self._scraper = scraper
        self._is_full = is_full
        self._max_active = max_active
        self._max_of_peer = max_of_peer
        self._joinable: dict[ScrapeRequest, _Run[A]] = {}
        self._runs: list[_Run[A]] = []
        """Active and waiting runs, oldest first."""
        self._active: list[_Run[A]] = []
        self._served: dict[str, None] = {}
        """Clients of the runs above that have had a turn, most recent last."""
        self.waiting = 0
        """Clients that are waiting for a result."""

    async def get(self, request: ScrapeRequest, timeout_seconds: float, peer: str = "") -> A:
        """Run a scrape, or join a run with the same result.

        Args:
            request: what the client asks for.
            timeout_seconds: for fetching each target, and for parsing the responses.
            peer: the client's address.

        Raises:
            BusyError: too many runs wait, or too much is unsent.
        """
        run = self._joinable.get(request)
        if run is None or not self._serves(run, timeout_seconds):
            run = self._begin(request, timeout_seconds, peer)
        waiter: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        run.waiting.add(waiter)
        self.waiting += 1
        try:
            return await waiter
        finally:
            self.waiting -= 1
            run.waiting.discard(waiter)
            if not run.waiting:
                self._leave(run)

    def _serves(self, run: _Run[A], timeout_seconds: float) -> bool:
        # A client with more time must not fail because another had less, nor wait for one that
        # has more; and a client that asks after a policy change must get the new policy's result.
        has_time = run.timeout_seconds >= timeout_seconds
        ends_in_time = run.ends_at <= time.monotonic() + timeout_seconds + _SLACK_SECONDS
        is_present = not run.is_done and run.policy is self._scraper.policy
        return has_time and ends_in_time and is_present

    def _begin(self, request: ScrapeRequest, timeout_seconds: float, peer: str) -> _Run[A]:
        run = _Run[A](request, timeout_seconds, peer, self._scraper.policy)
        self._make_room(run)
        self._joinable[request] = run
        self._runs.append(run)
        # A task of its own, so that a client that disconnects does not cancel it for the others.
        run.task = asyncio.create_task(self._take_turn(run))
        if len(self._active) < self._max_active:
            self._active.append(run)
        else:
            run.turn = asyncio.get_running_loop().create_future()
        return run

    def _make_room(self, run: _Run[A]) -> None:
        """Refuse the run, or drop the newest waiting run of a client that has more runs."""
        if not self._runs:
            return
        alike = [item for item in self._runs if item.is_usual == run.is_usual]
        counts = Counter(item.peer for item in alike)
        reason = "too many different scrapes are waiting"
        if counts[run.peer] >= self._max_of_peer:
            raise BusyError(reason)
        if len(alike) < MAX_RUNS:
            return
        for item in reversed(alike):
            if item not in self._active and counts[item.peer] > counts[run.peer] + 1:
                item.finish(None, BusyError(reason))
                item.task.cancel()
                return
        raise BusyError(reason)

    async def _take_turn(self, run: _Run[A]) -> None:
        try:
            await self._wait_for_turn(run)
            run.finish(await self._scrape_now(run), None)
            if self.waiting > len(run.waiting):
                # Clients take the result, which then counts as unsent, before the next run starts.
                run.is_left = asyncio.get_running_loop().create_future()
                await run.is_left
        except asyncio.CancelledError as error:
            run.finish(None, None)
            # The task holds the frames, and they hold all that was read, until garbage collection.
            traceback.clear_frames(error.__traceback__)
            raise
        except Exception as error:
            run.finish(None, error)
        finally:
            self._end(run)

    async def _wait_for_turn(self, run: _Run[A]) -> None:
        if run.turn is None:
            return
        try:
            async with asyncio.timeout(run.timeout_seconds):
                await run.turn
        except TimeoutError:
            raise BusyError("timed out while waiting for other scrapes") from None

    async def _scrape_now(self, run: _Run[A]) -> A:
        if self._is_full():
            raise BusyError("clients have not read earlier responses yet")
        if run.turn is None:
            return await self._scraper.scrape(run.request, run.timeout_seconds)
        left_seconds = max(0.0, run.ends_at - time.monotonic())
        return await self._scraper.scrape(run.request, left_seconds)

    def _end(self, run: _Run[A]) -> None:
        self._runs.remove(run)
        if run not in self._active:
            return
        self._active.remove(run)
        if not self._runs:
            self._served.clear()
            return
        peers = {item.peer for item in self._runs}
        self._served.pop(run.peer, None)
        self._served[run.peer] = None
        self._served = {peer: None for peer in self._served if peer in peers}
        waiting = [item for item in self._runs if item not in self._active]
        chosen = min(waiting, key=self._rank, default=None)
        if chosen is None:
            return
        self._active.append(chosen)
        if chosen.turn is not None and not chosen.turn.done():
            chosen.turn.set_result(None)

    def _rank(self, run: _Run[A]) -> tuple[bool, int]:
        served = list(self._served)
        return not run.is_usual, served.index(run.peer) if run.peer in served else -1

    def _leave(self, run: _Run[A]) -> None:
        if self._joinable.get(run.request) is run:
            del self._joinable[run.request]
        if run.is_left is not None and not run.is_left.done():
            run.is_left.set_result(None)
        if not run.is_done:
            run.task.cancel()  # no client is left to read the result
