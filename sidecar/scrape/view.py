"""One kind of client's view of a workload, and the caches behind it."""

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
"""Of why a target is missing from an answer."""
Outcome = Reading | LiveryError
"""One target's part of a scrape, or why there is none."""


class ScrapeView:
    """A workload's series for one kind of client under one policy.

    Args:
        policy: what is put on and let through.
        context: how targets are told apart, and whom they speak for.
        targets: in their stable order; an index below counts in it.
        wanted: the client's format and escaping.
        limits: bounds of each target.
        fallback: format of targets whose Content-Type says nothing that can be read.
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
        # The proxy's own series wear labels and pass no rules.
        self._own_policy = replace(policy, relabelings=(), access_rules=None)
        self._entries: list[object] = []
        self._plan: MergePlan | None = None
        self.rules = max((item.rules for item in rewriters), default=0)
        """How many rules and patterns a series may have to go through."""

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
        """Read one target's answer.

        Args:
            index: of the target.
            fetched: what it answered.
            is_late: whether the scrape's time is up; asked again and again.
            room: samples that other targets have left; None for any number.
        """
        try:
            text = text_of(fetched, self.wanted.fmt, self._fallback, self._limits)
            return self._caches[index].read(text, is_late, room=room)
        except LiveryError as error:
            return error.with_traceback(None)  # its frames hold the whole body

    def plan(self, readings: Sequence[Reading]) -> MergePlan:
        """Plan the answer; the last plan is used again while nothing but values changed.

        Raises:
            MergeError: one of the readings does not go together with those before it.
        """
        entries: list[object] = [reading.shape for reading in readings]
        if self._plan is not None and _are_same(entries, self._entries):
            return self._plan
        self._plan, self._entries = None, []  # two plans at once could be one too many
        plan = plan_merge(readings, self.wanted.fmt)
        # What was too large for the cache must not be kept alive by its plan.
        if all(cache.size_bytes for cache in self._caches):
            self._plan, self._entries = plan, entries
        return plan

    def render_errors(self, errors: Sequence[tuple[Target, LiveryError]]) -> bytes:
        """Write why targets are missing from an answer, as comments."""
        lines = [f"# {_describe(target)}: {error}" for target, error in errors]
        return b"".join(
            " ".join(line[:MAX_REASON_CHARACTERS].split()).encode(errors="replace") + b"\n"
            for line in lines
        )

    def render_own(
        self, families: Sequence[tuple[str, str, Sequence[tuple[Target, float]]]]
    ) -> bytes:
        """Write gauges of the proxy's own: name behind the prefix, help, a value a target."""
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
    """What all targets of one scrape may expose together: each alone may be within its bounds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._samples = limits.samples
        self._bytes = limits.lines_bytes

    @property
    def samples(self) -> int:
        """How many more samples there may be."""
        return self._samples

    def take(self, outcome: Outcome) -> Outcome:
        """Let a target in, or say why there is no room for it."""
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
