"""What one tenant may ask for, and who of several has the next turn."""

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
"""Tenants whose requests are counted; the least recent are forgotten first."""


class TenantLimits(NamedTuple):
    """Bounds of one tenant."""

    requests_per_second: float = 50.0
    burst: int = 200
    concurrency: int = 10
    """Requests under way or waiting for a turn: half of what a Prometheus works on at a time."""
    response_bytes: int = 256 << 20
    query_bytes: int = MAX_QUERY_BYTES
    range_seconds: float = float("inf")
    """The time that a request may read: from its start to its end, and the ranges of its query
    before, offsets aside."""

    def tightened(self, other: "TenantLimits") -> "TenantLimits":
        """Return the tighter one of each bound."""
        return TenantLimits(
            requests_per_second=min(self.requests_per_second, other.requests_per_second),
            burst=min(self.burst, other.burst),
            concurrency=min(self.concurrency, other.concurrency),
            response_bytes=min(self.response_bytes, other.response_bytes),
            query_bytes=min(self.query_bytes, other.query_bytes),
            range_seconds=min(self.range_seconds, other.range_seconds),
        )


class Rates(Protocol):
    """Counts how often tenants ask; several gateways may share the counts."""

    async def take(self, tenant: str, limits: TenantLimits) -> float:
        """Count a request; returns 0, or in how many seconds there is room for it."""


class LocalRates:
    """Counts in this process alone."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens, and when they were counted."""

    async def take(self, tenant: str, limits: TenantLimits) -> float:
        """Count a request; returns 0, or in how many seconds there is room for it."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(tenant, (float(limits.burst), now))
        tokens = min(float(limits.burst), tokens + (now - at) * limits.requests_per_second)
        is_taken = tokens >= 1
        self._buckets[tenant] = (tokens - 1 if is_taken else tokens, now)
        while len(self._buckets) > MAX_COUNTED:
            self._buckets.popitem(last=False)
        return 0.0 if is_taken else (1 - tokens) / limits.requests_per_second


class Turn:
    """One request under way."""

    def __init__(self, limiter: "Limiter", tenants: Tenants, limits: TenantLimits) -> None:
        self._limiter: Limiter | None = limiter
        self.tenants = tenants
        self.limits = limits

    def leave(self) -> None:
        """End it, once."""
        if self._limiter is not None:
            self._limiter.leave(self.tenants)
            self._limiter = None


class Limiter:
    """Counts each tenant's requests, and lets so many of all be under way.

    A request for several tenants counts for each of them, and has the tightest of their bounds.

    Args:
        default: bounds of a tenant for which there are no others.
        tenants: bounds by tenant.
        active: requests of all tenants that may be under way; tenants take turns beyond.
        rates: counts how often tenants ask.
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
        """Requests under way or waiting."""
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """Who waits, by the first of its tenants; the first queue has the next turn."""
        self._waiting = 0

    def of(self, tenants: Tenants) -> TenantLimits:
        """Return the bounds of a request: of several tenants, the tightest of each kind."""
        first, *others = (self._tenants.get(name, self._default) for name in tenants)
        for other in others:
            first = first.tightened(other)
        return first

    async def enter(self, tenants: Tenants) -> "Turn":
        """Wait for a turn.

        Raises:
            Refusal: a tenant asks too often or too much at once.
        """
        await self._count_in(tenants)
        try:
            await self._wait(tenants[0])
        except BaseException:
            self._count_out(tenants)
            raise
        return Turn(self, tenants, self.of(tenants))

    def leave(self, tenants: Tenants) -> None:
        """End a turn."""
        self._count_out(tenants)
        self._pass_on()

    async def _count_in(self, tenants: Tenants) -> None:
        for name in tenants:
            concurrency = self._tenants.get(name, self._default).concurrency
            if self._counts[name] >= concurrency:
                sentence = f"{name} has more than {concurrency} requests at once"
                raise Refusal(Cause.RATE, 429, sentence, retry_seconds=1)
        # Counted before the rates are asked for: others come meanwhile.
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
            sentence = "too many requests of all tenants are waiting"
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
        """Give the turn to the tenant that has waited for one the longest."""
        while self._queues:
            tenant = next(iter(self._queues))
            queue = self._queues.pop(tenant)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[tenant] = queue  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._left += 1
