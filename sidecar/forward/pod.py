"""Forwards the samples of a pod's targets, under each rule at its own interval.

Scrapes by clients are used if they come in time; else the forwarder scrapes the targets itself.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from operator import attrgetter

from sidecar.control.sending import Sending
from sidecar.errors import LiveryError
from sidecar.forward.outlets import Outlets
from sidecar.forward.pod_rule import MAX_PLANNED_BYTES, MAX_UNMATCHED_BYTES, PodRule
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.formats import Negotiated
from sidecar.model.policy.forward import Forwarding
from sidecar.model.remote_write.selection import NO_LABELS, Labels, PlanBudget
from sidecar.scrape.rendering import Collected

logger = logging.getLogger(__name__)

QUEUE_BYTES = 4 << 20
"""Maximum size of the queues of all receivers of all rules together."""
MAX_AHEAD_MS = 10_000
"""If the clock is set back by at most this, timestamps still increase and are never reused."""
IN_TIME = 0.8
"""The part of a rule's interval after which a client's scrape is used for it."""
MAX_PLANNED_SERIES = 100_000
"""Series evaluated in one scrape, counted once per rule; further rules wait for the next scrape."""
MAX_RELABELINGS = 100_000
"""Relabel rules applied to new series in one scrape: half a second; others wait for the next."""
INLINE_SERIES = 500
"""More new series than these are evaluated in a thread, so that clients are answered meanwhile."""


class PodForwarder:
    """Forwards scrapes under the current rules.

    Args:
        identity: identity of the pod.
        scrape: scrapes the targets once, in the given format, or in its default format for None;
            the result arrives through `take`.
        environ: environment with the control plane's address, to which nothing is sent.
    """

    def __init__(
        self,
        identity: Identity,
        scrape: Callable[[Negotiated | None], Awaitable[None]],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._identity = identity
        self._scrape = scrape
        self._outlets = Outlets(environ)
        self._rules: dict[str, PodRule] = {}
        """By the names of their objects."""
        self._changed = asyncio.Event()
        self._wanted: Negotiated | None = None
        """The format of the scrapes that are forwarded: in another one the series differ."""
        self._is_own_choice = self._is_asking = False
        self._stamp_ms = 0
        self._taking: asyncio.Task[None] | None = None
        """Processes a scrape, perhaps in a thread: rules must not change meanwhile."""
        self._next: tuple[Forwarding | None, Labels] | None = None
        """The rules that arrived meanwhile."""

    def use(self, forwarding: Forwarding | None, up_labels: Labels = NO_LABELS) -> None:
        """Apply new rules; the queues of the same receivers stay.

        Args:
            forwarding: the rules; None for none.
            up_labels: labels of each target's `up`: those of its namespace.
        """
        if self._taking is not None:
            self._next = (forwarding, up_labels)
            return
        forwarding = forwarding or Forwarding()
        share = QUEUE_BYTES // max(1, sum(len(rule.receivers) for rule in forwarding.rules))
        kept: dict[str, PodRule] = {}
        for rule in forwarding.rules:
            known = self._rules.get(rule.name)
            outlet = self._outlets.outlet(
                rule,
                forwarding,
                known.outlet if known else None,
                limit_bytes=share,
                namespace=self._identity.namespace,
            )
            if known is not None and known.is_pushing is rule.is_pushing:
                kept[rule.name] = self._rules.pop(rule.name)
                known.use(rule, up_labels, outlet)
            else:
                kept[rule.name] = PodRule(rule, self._identity, outlet, up_labels)
        stamp = self._next_stamp()
        for gone in self._rules.values():
            gone.end(stamp)
            self._outlets.leave(gone.outlet)
        self._rules = kept
        self._changed.set()

    def take(self, collected: Collected, wanted: Negotiated) -> None:
        """Forward a scrape under the rules that are due, in the background.

        If the previous scrape is still being processed, this one is skipped: the rules stay due.

        Args:
            collected: the results of the targets, in whatever format they answered.
            wanted: the format that was requested.
        """
        if self._wanted is None or (self._is_own_choice and not self._is_asking):
            # A client's scrape decides the format: then no scrape of our own is needed.
            self._wanted, self._is_own_choice = wanted, self._is_asking
        if wanted == self._wanted and self._taking is None and self._due(time.monotonic()):
            own = collected._replace(outcomes=list(collected.outcomes))  # a response uses them up
            self._taking = asyncio.create_task(self._take_and_rest(own))

    async def idle(self) -> None:
        """Wait until no scrape is being processed."""
        if self._taking is not None:
            await asyncio.wait({self._taking})

    async def _take_and_rest(self, collected: Collected) -> None:
        try:
            await self._take(collected, time.monotonic())
        finally:
            self._taking = None
            if self._next is not None:
                following, self._next = self._next, None
                self.use(*following)

    async def _take(self, collected: Collected, now: float) -> None:
        due = self._due(now)
        if due:
            due[0].first_at = now
        stamp = self._next_stamp() if due else 0
        looked_at = 0
        budget = self._budget()
        for one in due:
            try:
                more = one.to_plan(collected)
                if more and looked_at and looked_at + more > MAX_PLANNED_SERIES:
                    continue  # at the next scrape: many rules must not take all of the CPU
                looked_at += more
                one.tried_at = now
                work = partial(one.take, collected, stamp, budget)
                push = await asyncio.to_thread(work) if more > INLINE_SERIES else work()
                push()
            except LiveryError as error:
                one.fail(str(error))
            except Exception as error:
                logger.exception("a scrape cannot be forwarded")
                one.fail(f"internal error: {type(error).__name__}; see the proxy's log")
            await asyncio.sleep(0)  # other tasks run between two rules

    def _due(self, now: float) -> list[PodRule]:
        """Return the due rules; the one that was first the longest time ago comes first."""
        due = [one for one in self._rules.values() if one.is_due(now, IN_TIME)]
        return sorted(due, key=attrgetter("first_at"))

    def _budget(self) -> PlanBudget:
        planned = sum(item.planned_bytes for item in self._rules.values())
        unmatched = sum(item.unmatched_bytes for item in self._rules.values())
        room = MAX_PLANNED_BYTES - planned
        return PlanBudget(MAX_RELABELINGS, room, MAX_UNMATCHED_BYTES - unmatched)

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                self._changed.clear()
                now = time.monotonic()
                for one in self._rules.values():
                    one.outlet.start()
                if any(one.is_due(now, 1.0) for one in self._rules.values()):
                    await self._ask()
                await self._wait()
        finally:
            for one in self._rules.values():
                one.outlet.stop()

    async def flush(self, seconds: float) -> None:
        """Queue staleness markers for all series, and send all queues within a time limit."""
        ends = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds / 2):
                await self.idle()
        if self._taking is None:
            stamp = self._next_stamp()
            for one in self._rules.values():
                one.end(stamp)
        seconds = max(0.0, ends - time.monotonic())
        await self._outlets.flush([one.outlet for one in self._rules.values()], seconds)

    def state(self) -> list[Sending]:
        """Return the state of sending of each rule."""
        return [one.state() for one in self._rules.values()]

    def _next_stamp(self) -> int:
        """Return a timestamp in Unix milliseconds; it increases unless the clock was far ahead."""
        now_ms = int(time.time() * 1000)
        is_ahead = self._stamp_ms - now_ms > MAX_AHEAD_MS
        self._stamp_ms = now_ms if is_ahead else max(now_ms, self._stamp_ms + 1)
        return self._stamp_ms

    async def _wait(self) -> None:
        """Wait until a rule is due, or rules change."""
        ends = [one.next_at for one in self._rules.values()]
        wait = max(0.05, min(ends) - time.monotonic()) if ends else None
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _ask(self) -> None:
        await self.idle()
        # The next scrape by a client decides the format again.
        self._is_asking = self._is_own_choice = True
        try:
            await self._scrape(self._wanted)
        except LiveryError as error:
            logger.debug("the targets cannot be scraped", extra={"reason": str(error)})
        finally:
            self._is_asking = False
        await self.idle()
        now = time.monotonic()
        for one in self._rules.values():
            # Whatever the outcome, the next attempt is one interval away.
            if one.is_due(now, 1.0):
                one.tried_at = now
