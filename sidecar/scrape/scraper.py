"""One scrape of a workload: its targets at once, each under its own deadline, one answer.

A client never gets a 200 that hides a loss: a single target's failure is the answer's status; of
several, `livery_target_up` says which failed.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from sidecar.errors import LateError, LimitError, LiveryError, UpstreamTimeoutError
from sidecar.model.exposition.formats import (
    Format,
    Negotiated,
    format_of_content_type,
    target_accept,
)
from sidecar.model.exposition.merge import MergeError
from sidecar.model.exposition.series_cache import Reading
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import Target
from sidecar.scrape.fetch import Fetched, TargetClient, scrape_budget
from sidecar.scrape.view import Outcome, ScrapeQuota, ScrapeView

MAX_ANSWER_BYTES = 24 << 20
INLINE_BYTES = 256 << 10
"""A larger body is read in a thread, so that others are answered meanwhile."""
MAX_VARIANTS = 2
"""Kinds of clients (formats and escapings) that are cached for: an old and a new Prometheus."""

TARGET_METRICS = {
    "up": "Whether the target's last scrape succeeded.",
    "scrape_duration_seconds": "How long the target's scrape took.",
    "samples": "Samples that the target exposed.",
}
"""What stands beside the series of several targets, by the name behind `livery_target_`."""

T = TypeVar("T")


class TargetResult(NamedTuple):
    """How one target's part of a scrape went."""

    target: Target
    error: LiveryError | None
    duration_seconds: float
    samples: int


class Scrape(NamedTuple):
    """One answer, or why there is none."""

    status: int
    body: bytes
    """The exposition; with a status other than 200 one sentence."""
    fmt: Format
    results: tuple[TargetResult, ...]
    samples_out: int = 0


class _Deadline:
    """When a scrape must be over; at once, if nobody waits for it any more."""

    def __init__(self, timeout_seconds: float) -> None:
        self._at = time.monotonic() + timeout_seconds

    def is_over(self) -> bool:
        return time.monotonic() > self._at

    def come(self) -> None:
        self._at = 0.0


class Scraper:
    """Scrapes one workload under the present policy, one scrape at a time."""

    def __init__(
        self, targets: Sequence[Target], context: RewriteContext, pod_ip: str = ""
    ) -> None:
        self._targets = tuple(targets)
        self._clients = [TargetClient(target, pod_ip) for target in targets]
        self._context = context
        self.policy = SeriesPolicy()
        self._views: dict[Negotiated, ScrapeView] = {}

    @property
    def cached_bytes(self) -> int:
        """Size of the caches."""
        return sum(view.cached_bytes for view in self._views.values())

    def use(self, policy: SeriesPolicy) -> None:
        """Rewrite under another policy from the next scrape on, with empty caches."""
        self.policy = policy
        self._views.clear()

    def close(self) -> None:
        """Drop the connections."""
        for client in self._clients:
            client.close()

    async def scrape(self, wanted: Negotiated, query: str, timeout_seconds: float) -> Scrape:
        """Scrape all targets and merge what they say.

        Args:
            wanted: the client's format; OpenMetrics is asked of a single target only.
            query: the client's query string, passed to a single target.
            timeout_seconds: for each target, and for reading what they say.
        """
        if len(self._clients) > 1:
            wanted, query = wanted._replace(fmt=Format.TEXT), ""
        deadline = _Deadline(timeout_seconds)
        fetched, durations = await self._fetch(target_accept(wanted), query, timeout_seconds)
        view = self._view(_answered(wanted, fetched[0]))
        outcomes: list[Outcome] = []
        quota = ScrapeQuota()
        is_quick = True
        while fetched:
            is_quick &= _is_quick(fetched[0], view)
            # Taken out of the queue: its text stands in the reading then, and a second copy of
            # it could be the one too many.
            outcome = await _read(view, len(outcomes), fetched.popleft(), deadline)
            outcomes.append(outcome if len(self._clients) == 1 else quota.take(outcome))
            del outcome
            if fetched:
                await asyncio.sleep(0)  # others have their turn between two large bodies
        if is_quick:
            return self._answer(view, outcomes, durations)
        return await _in_thread(deadline, lambda: self._answer(view, outcomes, durations))

    async def _fetch(
        self, accept: str, query: str, timeout_seconds: float
    ) -> "tuple[deque[Fetched | LiveryError], list[float]]":
        budget = scrape_budget()
        fetches = [
            _timed(
                client.fetch(
                    accept=accept, query=query, timeout_seconds=timeout_seconds, budget=budget
                )
            )
            for client in self._clients
        ]
        # One target needs no task of its own: a scrape is half as many turns of the loop.
        is_single = len(fetches) == 1
        fetched = [await fetches[0]] if is_single else await asyncio.gather(*fetches)
        return deque(item[0] for item in fetched), [item[1] for item in fetched]

    def _view(self, wanted: Negotiated) -> ScrapeView:
        view = self._views.get(wanted)
        if view is None:
            if len(self._views) >= MAX_VARIANTS:
                self._views.clear()
            view = self._views[wanted] = ScrapeView(
                self.policy, self._context, self._targets, wanted, share=MAX_VARIANTS
            )
        return view

    def _answer(
        self, view: ScrapeView, outcomes: list[Outcome], durations: Sequence[float]
    ) -> Scrape:
        while True:
            results = tuple(map(_result, self._targets, outcomes, durations))
            if all(isinstance(outcome, LiveryError) for outcome in outcomes):
                return _failure(results, view.wanted.fmt)
            try:
                return _render(view, outcomes, results)
            except MergeError as error:
                good = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Reading)]
                outcomes[good[error.index]] = error


def _answered(wanted: Negotiated, first: Fetched | LiveryError) -> Negotiated:
    """What the answer will be in: a target may not have what it was asked for."""
    if wanted.fmt is Format.OPENMETRICS and isinstance(first, Fetched):
        return wanted._replace(fmt=format_of_content_type(first.content_type) or wanted.fmt)
    return wanted


def _is_quick(fetched: Fetched | LiveryError, view: ScrapeView) -> bool:
    if isinstance(fetched, LiveryError):
        return True
    return len(fetched.body) * (1 + view.rules // 10) <= INLINE_BYTES


async def _read(
    view: ScrapeView, index: int, fetched: Fetched | LiveryError, deadline: _Deadline
) -> Outcome:
    if isinstance(fetched, LiveryError):
        return fetched
    if _is_quick(fetched, view):
        return view.read(index, fetched, deadline.is_over)
    return await _in_thread(deadline, lambda: view.read(index, fetched, deadline.is_over))


async def _in_thread(deadline: _Deadline, work: Callable[[], T]) -> T:
    """Work in a thread; who is cancelled waits for its end, so that no two are in one cache."""
    job = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        deadline.come()
        while not job.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        raise


async def _timed(fetch: Awaitable[Fetched]) -> tuple[Fetched | LiveryError, float]:
    started = time.monotonic()
    try:
        return await fetch, time.monotonic() - started
    except LiveryError as error:
        return error.with_traceback(None), time.monotonic() - started


def _result(target: Target, outcome: Outcome, duration_seconds: float) -> TargetResult:
    if isinstance(outcome, LiveryError):
        return TargetResult(target, outcome, duration_seconds, 0)
    return TargetResult(target, None, duration_seconds, outcome.samples)


def _render(
    view: ScrapeView, outcomes: Sequence[Outcome], results: tuple[TargetResult, ...]
) -> Scrape:
    readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
    fmt = view.wanted.fmt
    own = b"" if len(results) == 1 else view.render_own(_own_families(results))
    plan = view.plan(readings)
    size = plan.size + sum(reading.tail_bytes for reading in readings) + len(own)
    if size > MAX_ANSWER_BYTES:
        error = LimitError(
            f"the answer would be {size} bytes with its labels; {MAX_ANSWER_BYTES} are allowed"
        )
        return Scrape(502, str(error).encode(), fmt, results)
    tails = readings[0].tails
    if len(readings) > 1:
        tails = [tail for reading in readings for tail in reading.tails]
    return Scrape(200, plan.render(tails, own), fmt, results, plan.samples)


def _own_families(
    results: Sequence[TargetResult],
) -> list[tuple[str, str, list[tuple[Target, float]]]]:
    values: dict[str, list[float]] = {
        "up": [int(result.error is None) for result in results],
        "scrape_duration_seconds": [round(result.duration_seconds, 6) for result in results],
        "samples": [result.samples for result in results],
    }
    targets = [result.target for result in results]
    return [
        (suffix, text, list(zip(targets, values[suffix], strict=True)))
        for suffix, text in TARGET_METRICS.items()
    ]


def _failure(results: tuple[TargetResult, ...], fmt: Format) -> Scrape:
    is_late = all(isinstance(result.error, UpstreamTimeoutError | LateError) for result in results)
    sentence = "; ".join(f"{result.target.url}: {result.error}" for result in results)
    return Scrape(504 if is_late else 502, sentence.encode(), fmt, results)
