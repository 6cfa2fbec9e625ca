"""One forwarding rule of a pod's proxy: which series of a scrape it sends, and where."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from sidecar.control.sending import Sending
from sidecar.forward.outlet import Outlet, Packer
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.lines import Reading
from sidecar.model.policy.forward import ForwardRule
from sidecar.model.remote_write.push import TargetLines, write_groups
from sidecar.model.remote_write.requests import Request, TargetRequests
from sidecar.model.remote_write.selection import Labels, PlanBudget, read_families
from sidecar.model.remote_write.wire import Metadata, write_metadata
from sidecar.model.targets import Target
from sidecar.scrape.rendering import Collected

METADATA_SECONDS = 300.0
MAX_METADATA_BYTES = 256 << 10
MAX_PLANNED_BYTES = 16 << 20
"""Maximum memory for cached series that are sent, for all rules together."""
MAX_UNMATCHED_BYTES = 4 << 20
"""The same for series that are not sent; beyond it they are evaluated again in each new body."""
_WHY_LEFT_OUT = f"their labels would take over {MAX_PLANNED_BYTES >> 20} MiB of this proxy's memory"


class PodRule:
    """One rule, and what was sent under it."""

    def __init__(
        self, rule: ForwardRule, identity: Identity, outlet: Outlet, up_labels: Labels
    ) -> None:
        self._rule = rule
        self._up_labels = up_labels
        self._identity = identity
        self.outlet = outlet
        self._writes: dict[Target, TargetRequests] = {}
        self._pushes: dict[Target, TargetLines] = {}
        self._described_at = float("-inf")
        self._error = ""
        self._packer = Packer()
        self.tried_at = float("-inf")
        """The last attempt to take a scrape, in monotonic seconds."""
        self.first_at = float("-inf")
        """When this rule was last the first of the due ones, in monotonic seconds."""

    @property
    def next_at(self) -> float:
        """When the next scrape is due, in monotonic seconds."""
        if self.tried_at == float("-inf"):
            return time.monotonic()
        return self.tried_at + self._rule.interval_seconds

    def is_due(self, now: float, part: float) -> bool:
        """Return whether this part of the interval has passed."""
        return now - self.tried_at >= part * self._rule.interval_seconds

    def use(self, rule: ForwardRule, up_labels: Labels, outlet: Outlet) -> None:
        """Apply another version of the rule; series that it no longer sends are marked as ended."""
        if outlet is not self.outlet:
            outlet.inherit(self.outlet)
            self.outlet = outlet
        before, self._rule = self._rule, rule
        if self._pushes and before.receivers[0].job_name != rule.receivers[0].job_name:
            self._pushes = {}
        if (rule.sending, up_labels) == (before.sending, self._up_labels):
            return
        self._up_labels = up_labels
        for requests in self._writes.values():
            requests.use(rule.sending, up_labels)
        self._pushes = {}

    @property
    def planned_bytes(self) -> int:
        """Approximate memory of cached series that are sent."""
        return sum(one.selector.size_bytes for one in self._sources)

    @property
    def unmatched_bytes(self) -> int:
        """Approximate memory of cached series that are not sent."""
        return sum(one.selector.unmatched_bytes for one in self._sources)

    def to_plan(self, collected: Collected) -> int:
        """Return how many series have to be evaluated because their target's series changed."""
        known = self._writes if not self.is_pushing else self._pushes
        return sum(
            len(reading.shape.entries)
            for target, reading in _answers(collected)
            if reading is not None
            and (target not in known or not known[target].knows(reading.shape))
        )

    def take(self, collected: Collected, stamp_ms: int, budget: PlanBudget) -> Callable[[], None]:
        """Build the requests of a scrape; return a function that queues them.

        This may run in a thread; the returned function must run in the event loop.

        Args:
            collected: the results of the targets.
            stamp_ms: timestamp of the samples, in Unix milliseconds.
            budget: limits of evaluating new series.
        """
        self._error = ""
        if self.is_pushing:
            return self._push(collected, stamp_ms, budget)
        fmt = collected.view.wanted.fmt
        written: list[Request] = []
        for target, reading in _answers(collected):
            if target not in self._writes:
                identity = self._identity._replace(container=target.name)
                self._writes[target] = TargetRequests(self._rule.sending, identity, self._up_labels)
            written += self._writes[target].write(reading, stamp_ms, fmt, budget)
        metadata = self._describe(collected)
        batches = self._packer.pack(written, stamp_ms, self._plan, metadata)
        return partial(self.outlet.put, batches)

    def _describe(self, collected: Collected) -> bytes:
        """Return the metadata of the targets' families, once in a while."""
        now = time.monotonic()
        if now - self._described_at < METADATA_SECONDS:
            return b""
        families: dict[str, Metadata] = {}
        for target, reading in _answers(collected):
            if reading is not None and self._writes[target].chooses:
                families = read_families(reading.shape) | families
        if families:
            self._described_at = now
        return write_metadata(families.values(), MAX_METADATA_BYTES)

    def end(self, stamp_ms: int) -> None:
        """Queue staleness markers for all series."""
        ended = [request for one in self._writes.values() for request in one.end(stamp_ms)]
        self.outlet.put(self._packer.pack(ended, stamp_ms, self._plan))

    def state(self) -> Sending:
        """Return the state of sending."""
        sources = self._sources
        matched: Counter[str] = Counter()
        for source in sources:
            matched.update(source.selector.matched)
        patterns = [item.text for item in self._rule.sending.access.patterns]
        has_seen = any(source.selector.has_chosen for source in sources)
        unmatched = tuple(text for text in patterns if not matched[text]) if has_seen else ()
        series = sum(source.series for source in sources)
        state = self.outlet.state(self._rule.name, series, unmatched)
        left_out = sum(source.selector.left_out for source in sources)
        why = f"{left_out} series are not sent: {_WHY_LEFT_OUT}" if left_out else ""
        return state._replace(error=self._error or state.error or why)

    def fail(self, reason: str) -> None:
        """Note why the last scrape was not sent."""
        self._error = reason

    @property
    def is_pushing(self) -> bool:
        """Whether it pushes to Pushgateways."""
        return self._rule.is_pushing

    @property
    def _sources(self) -> Sequence[TargetRequests | TargetLines]:
        return [*self._writes.values(), *self._pushes.values()]

    @property
    def _plan(self) -> int:
        # Neither term ever decreases, so a new choice of any target gives a new number.
        return len(self._writes) + sum(one.plans for one in self._writes.values())

    def _push(self, collected: Collected, stamp_ms: int, budget: PlanBudget) -> Callable[[], None]:
        lines = []
        for target, reading in _answers(collected):
            if target not in self._pushes:
                identity = self._identity._replace(container=target.name)
                job_name = self._rule.receivers[0].job_name
                self._pushes[target] = TargetLines(
                    self._rule.sending, identity, job_name, self._up_labels
                )
            lines += list(self._pushes[target].write(reading, budget))
        return partial(self.outlet.push, write_groups(lines), stamp_ms)


def _answers(collected: Collected) -> list[tuple[Target, Reading | None]]:
    """Return each target's result; guessed targets that have no metrics are left out."""
    return [
        (target, outcome if isinstance(outcome, Reading) else None)
        for target, outcome in zip(collected.targets, collected.outcomes, strict=True)
        if target not in collected.silent
    ]
