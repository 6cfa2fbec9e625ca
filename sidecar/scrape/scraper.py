"""One scrape: fetches all targets at once, each with its own timeout, then renders the result."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from sidecar.errors import LateError, LiveryError, UpstreamTimeoutError
from sidecar.model.exposition.formats import Format, Negotiated, format_of_body, target_accept
from sidecar.model.exposition.limits import Limits
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import Target
from sidecar.scrape.deadline import Deadline, in_thread
from sidecar.scrape.fetch import Budget, Fetched, Question, TargetClient
from sidecar.scrape.rendering import Collected, Scrape, render, sum_up
from sidecar.scrape.request import ScrapeRequest
from sidecar.scrape.settings import ScrapeLimits
from sidecar.scrape.view import Outcome, ScrapeQuota, ScrapeView

INLINE_BYTES = 256 << 10
"""Larger bodies are parsed in a thread, so that the event loop is not blocked."""
MAX_VARIANTS = 2
"""Client variants (format and escaping) with a cache: an old and a new Prometheus."""

_DEFAULT_LIMITS = ScrapeLimits()
HASTY_SECONDS = 3.0
"""A scrape with less time than this does not report a slow target as down."""
_LATE = (LateError, UpstreamTimeoutError)


class Scraper:
    """Scrapes targets under the current policy, one scrape at a time.

    Args:
        targets: the targets to scrape.
        context: labels that distinguish the targets' series, and their owner.
        pod_ip: IP of the targets' pod; empty if it is not known.
        limits: limits of each scrape.
        fallback: format of targets with a missing or unsupported Content-Type.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        context: RewriteContext,
        pod_ip: str = "",
        *,
        limits: ScrapeLimits = _DEFAULT_LIMITS,
        fallback: Format | None = None,
    ) -> None:
        self._targets = tuple(targets)
        self._limits = limits
        self._fallback = fallback
        self._silent = frozenset(target for target in self._targets if target.is_guess)
        self._clients = [TargetClient(target, pod_ip, limits.target_bytes) for target in targets]
        self._context = context
        self.policy = SeriesPolicy()
        self.on_collected: Callable[[Collected, Negotiated], None] | None = None
        """Called with what a scrape collected, before it is rendered."""
        self._views: dict[Negotiated, ScrapeView] = {}

    @property
    def cached_bytes(self) -> int:
        """Size of the caches."""
        return sum(view.cached_bytes for view in self._views.values())

    def use(self, policy: SeriesPolicy) -> None:
        """Rewrite series under a new policy from the next scrape on, with empty caches."""
        self.policy = policy
        self._views.clear()

    def close(self) -> None:
        """Drop the connections."""
        for client in self._clients:
            client.close()

    async def scrape(self, request: ScrapeRequest, timeout_seconds: float) -> Scrape:
        """Scrape all targets and merge their series.

        Args:
            request: what the client asks for.
            timeout_seconds: for fetching each target, and for parsing the responses.
        """
        deadline = Deadline(timeout_seconds)
        collected, is_quick = await self._collect(request, timeout_seconds, deadline)
        if self.on_collected is not None and not request.query:
            is_hasty = timeout_seconds < HASTY_SECONDS
            if not (is_hasty and any(isinstance(one, _LATE) for one in collected.outcomes)):
                self.on_collected(collected, request.wanted)
        if not request.is_written:
            return sum_up(collected)
        if is_quick:
            return self.render(collected)
        return await in_thread(deadline, lambda: self.render(collected))

    async def collect(self, request: ScrapeRequest, timeout_seconds: float) -> Collected:
        """Fetch and read all targets; the arguments are those of `scrape`."""
        deadline = Deadline(timeout_seconds)
        return (await self._collect(request, timeout_seconds, deadline))[0]

    def render(self, collected: Collected) -> Scrape:
        """Render what was collected as one response."""
        return render(collected, self._limits.answer_bytes)

    async def _collect(
        self, request: ScrapeRequest, timeout_seconds: float, deadline: Deadline
    ) -> tuple[Collected, bool]:
        """Return the targets' outcomes, and whether they can be rendered quickly."""
        wanted, query = request.wanted, request.query
        if len(self._clients) > 1:
            wanted, query = wanted._replace(fmt=Format.TEXT), ""
        question = Question(target_accept(wanted), query, request.passed)
        fetched, durations = await self._fetch(question, timeout_seconds)
        view = self._view(self._answered(wanted, fetched[0]))
        outcomes: list[Outcome] = []
        quota = ScrapeQuota(self._limits.target)
        is_quick = True
        while fetched:
            is_quick &= _is_quick(fetched[0], view)
            # Popped so that the body is freed once the reading holds its text: a second copy
            # might exceed the memory limit.
            outcome = await _read(
                view, len(outcomes), fetched.popleft(), deadline=deadline, room=quota.samples
            )
            outcomes.append(outcome if len(self._clients) == 1 else quota.take(outcome))
            del outcome
            if fetched:
                await asyncio.sleep(0)  # lets other tasks run between two large bodies
        self._hear(outcomes)
        return Collected(view, self._targets, outcomes, durations, self._silent), is_quick

    def _hear(self, outcomes: Sequence[Outcome]) -> None:
        if self._silent:
            self._silent -= {
                target
                for target, outcome in zip(self._targets, outcomes, strict=True)
                if not isinstance(outcome, LiveryError)
            }

    async def _fetch(
        self, question: Question, timeout_seconds: float
    ) -> "tuple[deque[Fetched | LiveryError], list[float]]":
        budget = Budget(self._limits.scrape_bytes, "from all targets in one scrape")
        fetches = [
            _timed(client.fetch(question, timeout_seconds, budget)) for client in self._clients
        ]
        # A single target needs no task of its own, which halves the event loop's iterations.
        is_single = len(fetches) == 1
        fetched = [await fetches[0]] if is_single else await asyncio.gather(*fetches)
        return deque(item[0] for item in fetched), [item[1] for item in fetched]

    def _answered(self, wanted: Negotiated, first: Fetched | LiveryError) -> Negotiated:
        """Return the response's format: a target may not support the requested one."""
        if wanted.fmt is Format.OPENMETRICS and isinstance(first, Fetched):
            fmt = format_of_body(first.content_type, self._fallback)
            return wanted._replace(fmt=fmt or wanted.fmt)
        return wanted

    def _target_limits(self) -> Limits:
        share = max(1, len(self._targets)) * MAX_VARIANTS
        return self._limits.target._replace(cache_bytes=self._limits.cache_bytes // share)

    def _view(self, wanted: Negotiated) -> ScrapeView:
        view = self._views.get(wanted)
        if view is None:
            if len(self._views) >= MAX_VARIANTS:
                self._views.clear()
            view = self._views[wanted] = ScrapeView(
                self.policy,
                self._context,
                self._targets,
                wanted,
                limits=self._target_limits(),
                fallback=self._fallback,
            )
        return view


def _is_quick(fetched: Fetched | LiveryError, view: ScrapeView) -> bool:
    if isinstance(fetched, LiveryError):
        return True
    return len(fetched.body) * (1 + view.rules // 10) <= INLINE_BYTES


async def _read(
    view: ScrapeView,
    index: int,
    fetched: Fetched | LiveryError,
    *,
    deadline: Deadline,
    room: int,
) -> Outcome:
    if isinstance(fetched, LiveryError):
        return fetched
    if _is_quick(fetched, view):
        return view.read(index, fetched, deadline.is_over, room)
    return await in_thread(deadline, lambda: view.read(index, fetched, deadline.is_over, room))


async def _timed(fetch: Awaitable[Fetched]) -> tuple[Fetched | LiveryError, float]:
    started = time.monotonic()
    try:
        return await fetch, time.monotonic() - started
    except LiveryError as error:
        return error.with_traceback(None), time.monotonic() - started
