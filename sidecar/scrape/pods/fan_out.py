"""One scrape of many targets: a slow, large or broken target does not affect the others."""

import asyncio
import heapq
import logging
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sidecar.errors import (
    LateError,
    LimitError,
    LiveryError,
    UpstreamError,
    UpstreamTimeoutError,
)
from sidecar.model.exposition.families import Row
from sidecar.model.exposition.lines import Reading
from sidecar.scrape.deadline import Deadline, in_thread
from sidecar.scrape.fetch import Fetched, Question, TargetClient
from sidecar.scrape.pods.body_room import BodyRoom, BodyShare
from sidecar.scrape.pods.places import Places
from sidecar.scrape.pods.quota import SamplesQuota
from sidecar.scrape.pods.settings import PodsLimits
from sidecar.scrape.pods.targets import PodTarget
from sidecar.scrape.pods.view import PodLines, PodsView

logger = logging.getLogger(__name__)

INLINE_BYTES = 256 << 10
"""Larger bodies are parsed in a thread, smallest first, so as not to block the event loop."""
_HOLD_SHARE = 0.05
"""Part of the timeout for which a target may keep one of the slots for concurrent scrapes."""
_WRITE_SECONDS = 4e-6
"""Time to write a sample, which must be left before the deadline."""


class NotAskedError(UpstreamTimeoutError):
    """A target was not scraped because its turn did not come in time."""


class Outcome(NamedTuple):
    """Result of scraping one target."""

    target: PodTarget
    result: Row | LiveryError
    duration_seconds: float

    @property
    def error(self) -> LiveryError | None:
        """Why the target failed; None if it did not."""
        return None if isinstance(self.result, Row) else self.result

    @property
    def samples(self) -> int:
        """Samples that the target exposed."""
        return self.result.reading.samples if isinstance(self.result, Row) else 0


Asked = tuple[PodTarget, TargetClient]


class FanOut:
    """One scrape in progress.

    Args:
        view: the client's view.
        limits: limits of the scrape.
        room: memory for bodies.
        timeout_seconds: for fetching all targets, and for parsing the responses.
    """

    def __init__(
        self, view: PodsView, limits: PodsLimits, room: BodyRoom, timeout_seconds: float
    ) -> None:
        self._view = view
        self._limits = limits
        self._room = room
        self._timeout_seconds = timeout_seconds
        self.deadline = Deadline(timeout_seconds)
        """Deadline of the whole scrape."""
        self._large: list[tuple[int, int, _Large]] = []
        """A heap of large bodies to parse, smallest first."""
        self._is_reading = False
        self._outcomes: dict[int, Outcome] = {}
        self._quota = SamplesQuota(limits.samples)
        self._uncached_bytes = 0
        """Size of the series that did not fit into the cache."""
        self._work_left = _WorkLeft(view)

    async def run(
        self, asked: Sequence[Asked], question: Question, last: Collection[object] = ()
    ) -> list[Outcome]:
        """Scrape all targets; returns their outcomes, in their order.

        Args:
            asked: the targets.
            question: what to request.
            last: keys of targets to scrape after all others, because they hung the last time.
        """
        if not asked:
            return []
        order = sorted(enumerate(asked), key=lambda item: item[1][0].key in last)
        places = Places(iter(order), self._timeout_seconds * _HOLD_SHARE)
        async with asyncio.TaskGroup() as group:

            def begin() -> None:
                group.create_task(self._work(places, question, group))

            for _ in range(min(self._limits.concurrency, len(asked))):
                begin()
            watching = group.create_task(places.watch(begin))
            await places.is_done.wait()
            watching.cancel()
        return [self._outcomes[index] for index in range(len(asked))]

    async def _work(
        self, places: Places[tuple[int, Asked]], question: Question, group: asyncio.TaskGroup
    ) -> None:
        """Scrape one target after the other until none is left."""
        with places.taken() as place:
            for index, (target, client) in places.rest:
                place.since = time.monotonic()
                await self._ask(index, target, client, question, group=group)
                if place.is_given_up:
                    break  # another worker has taken the slot over

    async def _ask(
        self,
        index: int,
        target: PodTarget,
        client: TargetClient,
        question: Question,
        *,
        group: asyncio.TaskGroup,
    ) -> None:
        started = time.monotonic()
        share = self._room.share()
        try:
            fetched = await self._fetch(client, question, share)
        except Exception as error:
            share.give_back(0)
            failed = _failure(error, target)
            self._outcomes[index] = Outcome(target, failed, time.monotonic() - started)
            return
        share.arrived()
        duration = time.monotonic() - started
        if len(fetched.body) <= INLINE_BYTES:
            self._take(index, target, self._read(target, fetched), duration)
            share.give_back(0)
            return
        large = _Large(target, fetched, duration, share)
        heapq.heappush(self._large, (len(fetched.body), index, large))
        if not self._is_reading:
            self._is_reading = True
            group.create_task(self._read_large())

    async def _fetch(self, client: TargetClient, question: Question, share: BodyShare) -> Fetched:
        left = self.deadline.left_seconds
        if left <= 0:
            seconds = f"{self._timeout_seconds:.3g}"
            raise NotAskedError(f"not scraped within {seconds} s: too many other targets were slow")
        try:
            return await client.fetch(question, left, share)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not share.is_cut or task is None or task.uncancel():
                raise
            raise LimitError("its large response arrived too slowly while others waited") from None

    def _is_late(self) -> bool:
        """Return whether the time left is needed to render the response."""
        return self.deadline.left_seconds <= self._work_left.seconds

    def _read(self, target: PodTarget, fetched: Fetched) -> Row | LiveryError:
        lines = self._view.lines_of(target)
        try:
            text = self._view.text_of(target, fetched)
            return self._row(lines, lines.cache.read(text, self._is_late))
        except Exception as error:
            return _failure(error, target)

    async def _read_large(self) -> None:
        while self._large:
            _, index, large = heapq.heappop(self._large)
            result = await self._read_in_thread(large)
            self._take(index, large.target, result, large.duration_seconds)
            large.share.give_back(0)
            del large
        self._is_reading = False

    async def _read_in_thread(self, large: "_Large") -> Row | LiveryError:
        if self._is_late():
            return LateError("no time was left to parse its large response")
        lines = self._view.lines_of(large.target)

        def parse() -> Reading | LiveryError:
            try:
                text = self._view.text_of(large.target, large.fetched)
                return lines.cache.parse(text, self._is_late)
            except Exception as error:
                return _failure(error, large.target)

        result = await in_thread(self.deadline, parse)
        if isinstance(result, LateError):
            lines.cache.keep_begun(result)
        if isinstance(result, LiveryError):
            return result
        return self._row(lines, lines.cache.keep(result))

    def _row(self, lines: PodLines, reading: Reading) -> Row | LiveryError:
        """Accept a reading if its series are cached, or if there is memory for them uncached."""
        if not lines.cache.is_kept:
            size = reading.shape.size_bytes
            if self._uncached_bytes + size > self._limits.uncached_bytes:
                most = self._limits.uncached_bytes >> 20
                return LimitError(
                    f"the series cache is full, and more than {most} MiB of series do not fit into "
                    "it: all targets together expose too many different series"
                )
            self._uncached_bytes += size
        return Row(lines.marks, reading)

    def _take(
        self, index: int, target: PodTarget, result: Row | LiveryError, duration: float
    ) -> None:
        """Record a target's result, and drop targets if there are too many samples."""
        self._outcomes[index] = Outcome(target, result, duration)
        if isinstance(result, LiveryError):
            return
        self._work_left.add(result.reading)
        for out in self._quota.take(index, target.namespace, result.reading.samples):
            self._outcomes[out] = self._outcomes[out]._replace(result=self._quota.refusal)


class _WorkLeft:
    """Estimates the time to plan and write the response from the readings so far."""

    def __init__(self, view: PodsView) -> None:
        self._view = view
        self._shapes: set[int] = set()
        self._plan_seconds = self._write_seconds = 0.0
        self._is_planned = True
        """Whether the last plan contains every shape."""

    @property
    def seconds(self) -> float:
        """The time that must be left."""
        return self._write_seconds + (0.0 if self._is_planned else self._plan_seconds)

    def add(self, reading: Reading) -> None:
        """Add a reading to the estimate."""
        self._write_seconds += reading.samples * _WRITE_SECONDS
        shape = reading.shape
        if id(shape) in self._shapes:
            return
        self._shapes.add(id(shape))
        lines = len(shape.entries) + len(shape.rest)
        self._plan_seconds += lines * self._view.plan_seconds_per_line
        self._is_planned = self._is_planned and self._view.has_planned(shape)


class _Large(NamedTuple):
    """A large response that waits to be parsed."""

    target: PodTarget
    fetched: Fetched
    duration_seconds: float
    share: BodyShare


def _failure(error: Exception, target: PodTarget) -> LiveryError:
    """Return an error without its frames, which hold all that was read."""
    if not isinstance(error, LiveryError):
        logger.error("an internal error", exc_info=error, extra={"target": target.name})
        return UpstreamError("an internal error; see the proxy's log")
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
