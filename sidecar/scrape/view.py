"""A workload's series for one client variant, and their caches."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sidecar.errors import LimitError, LiveryError
from sidecar.model.exposition.formats import Format, Negotiated
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Reading
from sidecar.model.exposition.merge import MergePlan, plan_merge
from sidecar.model.exposition.samples import Series
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from sidecar.model.targets import Target
from sidecar.scrape.bodies import text_of
from sidecar.scrape.fetch import Fetched

MAX_REASON_CHARACTERS = 400
"""Maximum length of the reason why a target is missing from a response."""
Outcome = Reading | LiveryError
"""One target's parsed response, or its error."""


class ScrapeView:
    """A workload's series for one client variant under one policy.

    Args:
        policy: labels to add, relabel rules and access rules.
        context: labels that distinguish the targets' series, and their owner.
        targets: the targets, in a stable order to which indexes refer.
        wanted: the client's format and escaping.
        limits: limits of each target.
        fallback: format of targets with a missing or unsupported Content-Type.
    """

    def __init__(
        self,
        policy: SeriesPolicy,
        context: RewriteContext,
        targets: Sequence[Target],
        wanted: Negotiated,
        *,
        limits: Limits,
        fallback: Format | None = None,
    ) -> None:
        self.wanted = wanted
        self._is_single = len(targets) == 1
        self._context = context
        self._limits = limits
        self._fallback = fallback
        rewriters = [self._rewriter(policy, target) for target in targets]
        self._caches = [SeriesCache(item, wanted.fmt, limits) for item in rewriters]
        # The proxy's own series get labels, but rules do not apply to them.
        self._own_policy = replace(policy, relabelings=(), access_rules=None)
        self._entries: list[object] = []
        self._plan: MergePlan | None = None
        self.rules = max((item.rules for item in rewriters), default=0)
        """Maximum number of rules and patterns that apply to a series."""

    @property
    def cached_bytes(self) -> int:
        """Size of the caches."""
        return sum(cache.size_bytes for cache in self._caches)

    def read(
        self,
        index: int,
        fetched: Fetched,
        is_late: Callable[[], bool],
        room: int | None = None,
    ) -> Outcome:
        """Parse one target's response.

        Args:
            index: index of the target.
            fetched: its response.
            is_late: returns whether the deadline has passed; called repeatedly.
            room: samples that other targets have left over; None for no limit.
        """
        try:
            text = text_of(fetched, self.wanted.fmt, self._fallback, self._limits)
            return self._caches[index].read(text, is_late, room=room)
        except LiveryError as error:
            return error.with_traceback(None)  # its frames hold the whole body

    def plan(self, readings: Sequence[Reading]) -> MergePlan:
        """Plan the response; the last plan is reused while only values change.

        Raises:
            MergeError: a reading cannot be merged with those before it.
        """
        entries: list[object] = [reading.shape for reading in readings]
        if self._plan is not None and _are_same(entries, self._entries):
            return self._plan
        self._plan, self._entries = None, []  # frees memory: two plans at once might not fit
        plan = plan_merge(readings, self.wanted.fmt)
        # The plan must not keep alive what was too large for the cache.
        if all(cache.size_bytes for cache in self._caches):
            self._plan, self._entries = plan, entries
        return plan

    def render_errors(self, errors: Sequence[tuple[Target, LiveryError]]) -> bytes:
        """Write the errors of targets that are missing from a response, as comments."""
        lines = [f"# {_describe(target)}: {error}" for target, error in errors]
        return b"".join(
            " ".join(line[:MAX_REASON_CHARACTERS].split()).encode(errors="replace") + b"\n"
            for line in lines
        )

    def render_own(
        self, families: Sequence[tuple[str, str, Sequence[tuple[Target, float]]]]
    ) -> bytes:
        """Write the proxy's own gauges, given as name suffix, help text and value per target."""
        parts = []
        for suffix, text, values in families:
            name = b"livery_target_" + suffix.encode()
            parts.append(b"# HELP %b %b\n# TYPE %b gauge\n" % (name, text.encode(), name))
            for target, value in values:
                context = RewriteContext(
                    target_label=self._context.target_label,
                    target=_name_of(target),
                    target_port=_port_of(target),
                    is_own=True,
                )
                rewriter = SeriesRewriter(self._own_policy, context, self.wanted.escaping)
                line = rewriter.series(Series(name, (), name))
                if line is not None:
                    parts.append(b"%b %b\n" % (line.text, str(value).encode()))
        return b"".join(parts)

    def _rewriter(self, policy: SeriesPolicy, target: Target) -> SeriesRewriter:
        context = replace(
            self._context,
            identity=self._context.identity._replace(container=target.name),
            target_label="" if self._is_single else self._context.target_label,
            target=_name_of(target),
            target_port="" if self._is_single else _port_of(target),
        )
        return SeriesRewriter(policy, context, self.wanted.escaping)


class ScrapeQuota:
    """Limits of all targets of one scrape together, in addition to those of each target."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._samples = limits.samples
        self._bytes = limits.lines_bytes

    @property
    def samples(self) -> int:
        """How many more samples are allowed."""
        return self._samples

    def take(self, outcome: Outcome) -> Outcome:
        """Count a target's outcome; returns it, or an error if it exceeds the limits."""
        if isinstance(outcome, LiveryError):
            return outcome
        if outcome.samples > self._samples:
            limit = f"{self._limits.samples} samples"
            return LimitError(f"more than {limit} from all targets in one scrape")
        if outcome.shape.lines_bytes > self._bytes:
            limit = f"{self._limits.lines_bytes >> 20} MiB of series"
            return LimitError(f"more than {limit} from all targets in one scrape")
        self._samples -= outcome.samples
        self._bytes -= outcome.shape.lines_bytes
        return outcome


def _name_of(target: Target) -> str:
    return target.name or str(target.port)


def _port_of(target: Target) -> str:
    return str(target.port) if target.is_guess else ""


def _describe(target: Target) -> str:
    return f"{target.name}:{target.port}" if target.is_guess else _name_of(target)


def _are_same(entries: Sequence[object], others: Sequence[object]) -> bool:
    return len(entries) == len(others) and all(map(lambda a, b: a is b, entries, others))
