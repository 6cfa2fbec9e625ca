"""Limits of each tenant, and fair queueing among tenants."""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from sidecar.gateway.refusals import Cause, Refusal
from sidecar.gateway.tenants import Tenants
from sidecar.model.promql.parser import MAX_QUERY_BYTES

MAX_WAITING = 1000
MAX_COUNTED = 10_000
"""Tenants whose request rate is tracked; the least recently seen are evicted first."""


class TenantLimits(NamedTuple):
    """Limits of one tenant."""

    requests_per_second: float = 50.0
    burst: int = 200
    concurrency: int = 10
    """Requests in flight or queued; the default is half of what a Prometheus runs at once."""
    response_bytes: int = 256 << 20
    query_bytes: int = MAX_QUERY_BYTES
    range_seconds: float = float("inf")
    """Longest time range that a request may read: from `start` to `end`, plus the ranges in its
    query; offsets are not counted."""

    def tightened(self, other: "TenantLimits") -> "TenantLimits":
        """Return the smaller one of each limit."""
        return TenantLimits(
            requests_per_second=min(self.requests_per_second, other.requests_per_second),
            burst=min(self.burst, other.burst),
            concurrency=min(self.concurrency, other.concurrency),
            response_bytes=min(self.response_bytes, other.response_bytes),
            query_bytes=min(self.query_bytes, other.query_bytes),
            range_seconds=min(self.range_seconds, other.range_seconds),
        )


class Rates(Protocol):
    """Limits the request rate of tenants; several gateways may share the counts."""

    async def take(self, tenant: str, limits: TenantLimits) -> float:
        """Count a request; return 0 if it is allowed, else the seconds until it would be."""


class LocalRates:
    """Rate limits of this process alone."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens left by tenant, and when they were computed."""

    async def take(self, tenant: str, limits: TenantLimits) -> float:
        """Count a request; return 0 if it is allowed, else the seconds until it would be."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(tenant, (float(limits.burst), now))
        tokens = min(float(limits.burst), tokens + (now - at) * limits.requests_per_second)
        is_taken = tokens >= 1
        self._buckets[tenant] = (tokens - 1 if is_taken else tokens, now)
        while len(self._buckets) > MAX_COUNTED:
            self._buckets.popitem(last=False)
        return 0.0 if is_taken else (1 - tokens) / limits.requests_per_second


class Turn:
    """A slot that one request holds while it is in flight."""

    def __init__(self, limiter: "Limiter", tenants: Tenants, limits: TenantLimits) -> None:
        self._limiter: Limiter | None = limiter
        self.tenants = tenants
        self.limits = limits

    def leave(self) -> None:
        """Release the slot; further calls have no effect."""
        if self._limiter is not None:
            self._limiter.leave(self.tenants)
            self._limiter = None


class Limiter:
    """Limits each tenant's requests, and the number in flight over all tenants.

    A request for several tenants counts towards each of them and gets the smallest of their limits.

    Args:
        default: limits of tenants without limits of their own.
        tenants: limits by tenant.
        active: requests in flight over all tenants; beyond it they are queued by tenant.
        rates: limits the request rate; by default within this process.
    """

    def __init__(
        self,
        default: TenantLimits = TenantLimits(),  # noqa: B008 - a value
        tenants: Mapping[str, TenantLimits] | None = None,
        active: int = 100,
        rates: Rates | None = None,
    ) -> None:
        self._default = default
        self._tenants = dict(tenants or {})
        self._left = active
        self._rates = rates or LocalRates()
        self._counts: Counter[str] = Counter()
        """Requests in flight or queued, by tenant."""
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """Queued requests by their first tenant; the first queue gets the next free slot."""
        self._waiting = 0

    def of(self, tenants: Tenants) -> TenantLimits:
        """Return the limits of a request: for several tenants, the smallest of each."""
        first, *others = (self._tenants.get(name, self._default) for name in tenants)
        for other in others:
            first = first.tightened(other)
        return first

    async def enter(self, tenants: Tenants) -> "Turn":
        """Wait for a free slot.

        Raises:
            Refusal: a tenant exceeds its rate or concurrency, or too many requests are queued.
        """
        await self._count_in(tenants)
        try:
            await self._wait(tenants[0])
        except BaseException:
            self._count_out(tenants)
            raise
        return Turn(self, tenants, self.of(tenants))

    def leave(self, tenants: Tenants) -> None:
        """Release a slot."""
        self._count_out(tenants)
        self._pass_on()

    async def _count_in(self, tenants: Tenants) -> None:
        for name in tenants:
            concurrency = self._tenants.get(name, self._default).concurrency
            if self._counts[name] >= concurrency:
                sentence = f"{name} has more than {concurrency} requests at once"
                raise Refusal(Cause.RATE, 429, sentence, retry_seconds=1)
        # Counted before the rate check is awaited: other requests may arrive meanwhile.
        self._counts.update(tenants)
        try:
            await self._take_rates(tenants)
        except BaseException:
            self._count_out(tenants)
            raise

    async def _take_rates(self, tenants: Tenants) -> None:
        for name in tenants:
            limits = self._tenants.get(name, self._default)
            seconds = await self._rates.take(name, limits)
            if seconds:
                sentence = f"{name} has more than {limits.requests_per_second:g} requests a second"
                raise Refusal(Cause.RATE, 429, sentence, retry_seconds=seconds)

    def _count_out(self, tenants: Tenants) -> None:
        for name in tenants:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]

    async def _wait(self, tenant: str) -> None:
        if self._left and not self._waiting:
            self._left -= 1
            return
        if self._waiting >= MAX_WAITING:
            sentence = "too many requests of all tenants are queued; retry later"
            raise Refusal(Cause.RATE, 503, sentence, retry_seconds=1)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            else:
                self._leave(tenant, turn)
            raise

    def _leave(self, tenant: str, turn: "asyncio.Future[None]") -> None:
        queue = self._queues.get(tenant)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._waiting -= 1
            if not queue:
                del self._queues[tenant]

    def _pass_on(self) -> None:
        """Pass the slot to the next tenant in turn; if none waits, the slot becomes free."""
        while self._queues:
            tenant = next(iter(self._queues))
            queue = self._queues.pop(tenant)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[tenant] = queue  # after all others
            if not turn.done():
                turn.set_result(None)
                return
        self._left += 1
