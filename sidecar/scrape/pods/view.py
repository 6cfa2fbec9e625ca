"""Many pods' series for one client variant, and their caches."""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sidecar.model.exposition.escapes import escape
from sidecar.model.exposition.families import FamilyPlan, Marks, Row, write_prefix
from sidecar.model.exposition.formats import Format, Negotiated
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import CacheRoom, Shape, SharedLines
from sidecar.model.exposition.names import escape_name
from sidecar.model.exposition.samples import Series
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from sidecar.scrape.bodies import text_of
from sidecar.scrape.fetch import Fetched
from sidecar.scrape.pods.settings import OnConflict, PodsSettings
from sidecar.scrape.pods.targets import PodTarget

MEASURED_LINES = 1000
"""Plans with fewer lines are too small to measure how long planning takes."""
PROXY_METRICS = b"livery_target_"
"""Prefix of the metrics that a pod's proxy exposes about its targets."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """How one namespace's series are labelled.

    Args:
        policy: the namespace's labels, and the platform's rules.
        mark_names: names of labels that the response adds after a series' own.
        has_proxy: whether a proxy has already added the namespace's labels.
        settings: label and metric names.
        wanted: the client's format and escaping.
    """

    policy: SeriesPolicy
    mark_names: frozenset[str]
    has_proxy: bool
    settings: PodsSettings
    wanted: Negotiated

    @cached_property
    def rewriter(self) -> SeriesRewriter:
        """Rewrites the pods' series, except for the labels of each pod."""
        context = RewriteContext(
            appended=self.mark_names,
            is_labelled=self.has_proxy,
            reserved=frozenset([self.settings.up_name.encode()]),
            passed_prefix=PROXY_METRICS if self.has_proxy else b"",
        )
        return SeriesRewriter(self.policy, context, self.wanted.escaping)

    @cached_property
    def _own(self) -> SeriesRewriter:
        policy = replace(self.policy, relabelings=())
        return SeriesRewriter(policy, RewriteContext(is_own=True), self.wanted.escaping)

    def own(self, name: bytes) -> bytes:
        """Write one of the proxy's own series, up to where the pod's labels are added."""
        line = self._own.series(Series(name, (), name))
        return write_prefix(name if line is None else line.text)


class PodLines:
    """Cached data of one target's series.

    Args:
        labelling: how its series are labelled.
        target: the target.
        marks: labels that distinguish its series from all others.
        cache: cache of its lines.
    """

    __slots__ = ("_own", "cache", "labelling", "marks", "target")

    def __init__(
        self, labelling: Labelling, target: PodTarget, marks: Marks, cache: SeriesCache
    ) -> None:
        self.labelling = labelling
        self.target = target
        self.marks = marks
        self.cache = cache
        self._own: dict[bytes, bytes] = {}

    def own(self, name: bytes) -> bytes:
        """Write one of the proxy's own series, up to its value."""
        text = self._own.get(name)
        if text is None:
            text = self._own[name] = self.labelling.own(name) + self.marks.text
        return text


class _Group:
    """Pods whose series are rewritten in the same way, except for the labels of each pod."""

    def __init__(self, labelling: Labelling, room: CacheRoom) -> None:
        self.labelling = labelling
        self.store = SharedLines(room)
        self.pods: dict[object, PodLines] = {}
        """By the target's key."""


class PodsView:
    """Many pods' series for one client variant.

    Args:
        policy: labels of each namespace, and the platform's rules.
        settings: label and metric names.
        wanted: the client's format, which is text, and escaping.
        limits: limits of each target.
        room: memory for the caches.
    """

    def __init__(
        self,
        policy: SeriesPolicy,
        settings: PodsSettings,
        wanted: Negotiated,
        *,
        limits: Limits,
        room: CacheRoom,
    ) -> None:
        self.wanted = wanted
        self._policy = policy
        self._settings = settings
        self._limits = limits
        self._room = room
        self._groups: dict[tuple[str, bool, frozenset[str]], _Group] = {}
        """By namespace, whether the pods have proxies, and the names of their marks."""
        self._pods: dict[object, PodLines] = {}
        """The pods of all groups, by the target's key."""
        self._plan: FamilyPlan | None = None
        self._planned: frozenset[int] = frozenset()
        """Identities of the shapes in that plan."""
        self.plan_seconds_per_line = 20e-6
        """Time that planning takes on this machine, measured with the last large plan."""

    @property
    def size_bytes(self) -> int:
        """Size of the caches."""
        return sum(group.store.size_bytes for group in self._groups.values())

    def use(self, policy: SeriesPolicy, namespaces: Collection[str] | None) -> None:
        """Rewrite series under a new policy.

        Args:
            policy: the policy.
            namespaces: namespaces with changed labels; None if rules changed.
        """
        self._policy = policy
        for key in list(self._groups):
            if namespaces is None or key[0] in namespaces:
                self._drop(key)
        self._plan = None

    def keep_only(self, keys: Collection[object]) -> None:
        """Forget targets that are gone; `keys` are those of the remaining targets."""
        self._pods = {key: lines for key, lines in self._pods.items() if key in keys}
        for group in self._groups.values():
            group.pods = {key: lines for key, lines in group.pods.items() if key in keys}
        for key in [key for key, group in self._groups.items() if not group.pods]:
            self._drop(key)

    def close(self) -> None:
        """Release the memory of the caches."""
        for group in self._groups.values():
            group.store.close()

    def lines_of(self, target: PodTarget) -> PodLines:
        """Return the cached data of a target's series; it is created if needed."""
        lines = self._pods.get(target.key)
        if lines is None or (lines.target is not target and not _is_alike(lines.target, target)):
            self._forget(target.key)
            group = self._group(target)
            rewriter = group.labelling.rewriter
            cache = SeriesCache(rewriter, Format.TEXT, self._limits, group.store)
            marks = [(self._escape(name), escape(value.encode())) for name, value in target.marks]
            lines = PodLines(group.labelling, target, Marks.of(tuple(marks)), cache)
            self._pods[target.key] = group.pods[target.key] = lines
        return lines

    def text_of(self, target: PodTarget, fetched: Fetched) -> bytes:
        """Return a target's response in the format that its cache parses.

        Raises:
            LiveryError: the response is not an exposition, or exceeds a limit.
        """
        return text_of(fetched, Format.TEXT, target.fallback, self._limits)

    def has_plan(self, shapes: Iterable[Shape]) -> bool:
        """Return whether the last response's plan also fits these shapes."""
        return self._plan is not None and self._plan.shapes == tuple(shapes)

    def has_planned(self, shape: Shape) -> bool:
        """Return whether the last response's plan contains a shape."""
        return self._plan is not None and id(shape) in self._planned

    def plan(self, rows: Sequence[Row]) -> FamilyPlan:
        """Plan a response; the last plan is reused while only values change.

        Raises:
            MergeError: rules made two series of a target equal; has the shape's index.
        """
        shapes = tuple(dict.fromkeys(row.reading.shape for row in rows))
        if self._plan is None or not self.has_plan(shapes):
            self._plan = None  # frees memory: two plans at once might not fit
            started = time.monotonic()
            settings = self._settings
            names = (*settings.identity, settings.target_label, "port")
            self._plan = FamilyPlan(
                shapes,
                mark_names=[self._escape(name) for name in names],
                keeps=settings.on_conflict is OnConflict.KEEP,
            )
            self._planned = frozenset(map(id, shapes))
            lines = sum(len(shape.entries) + len(shape.rest) for shape in shapes)
            if lines >= MEASURED_LINES:
                took_seconds = time.monotonic() - started
                self.plan_seconds_per_line = 1.5 * took_seconds / lines  # the next may be slower
        return self._plan

    def write_own(self, name: bytes, text: str, values: Iterable[tuple[PodTarget, float]]) -> bytes:
        """Write one of the proxy's own gauges, with a value for each target."""
        shown = escape_name(name, self.wanted.escaping, colons=True)
        parts = [b"# HELP %b %b\n# TYPE %b gauge\n" % (shown, text.encode(), shown)]
        for target, value in values:
            parts += (self.lines_of(target).own(name), b" %b\n" % str(value).encode())
        return b"".join(parts)

    def _forget(self, key: object) -> None:
        self._pods.pop(key, None)
        for group in self._groups.values():
            group.pods.pop(key, None)

    def _drop(self, key: tuple[str, bool, frozenset[str]]) -> None:
        group = self._groups.pop(key)
        group.store.close()
        for target in group.pods:
            self._pods.pop(target, None)

    def _group(self, target: PodTarget) -> _Group:
        names = frozenset(name for name, _ in target.marks)
        key = (target.namespace, target.has_proxy, names)
        group = self._groups.get(key)
        if group is None:
            labelling = Labelling(
                self._policy_of(target.namespace, names),
                names,
                target.has_proxy,
                self._settings,
                self.wanted,
            )
            group = self._groups[key] = _Group(labelling, self._room)
        return group

    def _policy_of(self, namespace: str, mark_names: frozenset[str]) -> SeriesPolicy:
        naming = self._policy.naming
        protected: frozenset[str] = frozenset()
        if self._settings.on_conflict is OnConflict.EXPORTED:
            protected = naming.protected | self._settings.moved | mark_names
        return replace(
            self._policy,
            labels=(self._policy.namespaces or {}).get(namespace, {}),
            naming=replace(naming, protected=protected),
            namespaces=None,
        )

    def _escape(self, name: str) -> bytes:
        return escape_name(name.encode(), self.wanted.escaping, colons=False)


def _is_alike(one: PodTarget, other: PodTarget) -> bool:
    """Return whether two states of a target get the same labels; annotations may change them."""
    return (one.namespace, one.has_proxy, one.marks) == (
        other.namespace, other.has_proxy, other.marks
    )  # fmt: skip
