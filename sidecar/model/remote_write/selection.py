"""Which series a MetricAccess object sends, and with which labels."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from sidecar.model.access.rules import AccessRule, Identity
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.lines import Shape
from sidecar.model.exposition.parser import parse_head
from sidecar.model.exposition.samples import Comment, CommentKind
from sidecar.model.labels.relabel import relabel
from sidecar.model.remote_write.wire import Metadata, MetricType

NAME = "__name__"
UP = "up"
Labels = Mapping[str, str]
NO_LABELS: Labels = MappingProxyType({})


class SendingRule(NamedTuple):
    """Which series one MetricAccess object sends, and with which labels."""

    access: AccessRule
    extra_labels: Labels
    honor_labels: bool
    """Whether a series' own label takes precedence over an extra one."""

    def name_of(self, seen: Labels) -> dict[str, str] | None:
        """Return the labels with which a chosen series is sent; None if it is dropped.

        Args:
            seen: the series' labels, including `__name__` and the virtual labels.
        """
        changed = relabel(seen, self.access.relabelings)
        if changed is None:
            return None
        extra = self.extra_labels
        labels = {**extra, **changed} if self.honor_labels else {**changed, **extra}
        kept = {
            name: value
            for name, value in labels.items()
            if value and (name == NAME or not name.startswith("__"))
        }
        return kept if kept.get(NAME) else None


class PlanBudget:
    """Limits on the work and memory for new series in one scrape.

    Args:
        relabelings: how many rules may be applied to series.
        room_bytes: memory for more series that are sent.
        unmatched_bytes: memory for more series that are not sent.
    """

    def __init__(
        self,
        relabelings: int = 1 << 60,
        room_bytes: int = 1 << 60,
        unmatched_bytes: int = 1 << 60,
    ) -> None:
        self.relabelings = relabelings
        self.room_bytes = room_bytes
        self.unmatched_bytes = unmatched_bytes


T = TypeVar("T")


class Chosen(NamedTuple, Generic[T]):
    """One series of a body that is sent."""

    place: int
    """Index of its value in the body, from 0."""
    made: T
    """What `make` returned for its labels."""


class _Known(NamedTuple, Generic[T]):
    """The remembered result for a series, so that it is evaluated only once."""

    pattern: str
    """The pattern that chose it; empty if none did."""
    made: T | None


_UNMATCHED: _Known[Any] = _Known("", None)
_UNMATCHED_BYTES = 150
"""Interpreter overhead of remembering that a series is not sent, besides its text."""


class _Found(Generic[T]):
    """The results for the series of one body."""

    def __init__(self, matched: Counter[str]) -> None:
        self.matched = matched
        self.known: dict[bytes, _Known[T]] = {}
        self.is_complete = True
        self.left_out = self.size_bytes = self.unmatched_bytes = 0

    def note(self, text: bytes, known: _Known[T], size: int, budget: PlanBudget) -> bool:
        """Remember what a series is sent as; return whether there was room."""
        if size > budget.room_bytes:
            self.left_out += 1
            return False
        budget.room_bytes -= size
        self.size_bytes += size
        self.known[text] = known
        return True

    def note_unmatched(self, text: bytes, known: _Known[T], budget: PlanBudget) -> None:
        """Remember that a series is not sent; if there is no room, it is evaluated again."""
        size = len(text) + _UNMATCHED_BYTES
        if size <= budget.unmatched_bytes:
            budget.unmatched_bytes -= size
            self.unmatched_bytes += size
            self.known[text] = known


class Selector(Generic[T]):
    """Chooses the series of one target that a rule sends.

    Args:
        rule: which series are sent, and with which labels.
        identity: the workload that the series belong to.
        make: turns a series' labels into what is kept of it; None if it is not sent.
        up_labels: labels of the target's `up` series: those of its namespace.
        weigh: returns the memory that a kept series takes, in bytes.
    """

    def __init__(
        self,
        rule: SendingRule,
        identity: Identity,
        make: Callable[[dict[str, str]], T | None],
        up_labels: Labels = NO_LABELS,
        *,
        weigh: Callable[[T], int],
    ) -> None:
        self._rule = rule
        self._make = make
        self._weigh = weigh
        self._known: dict[bytes, _Known[T]] = {}
        """The series of the last body, by their text."""
        self.is_complete = True
        """Whether all series of the last body were evaluated."""
        self.left_out = 0
        """Number of series of the last body that are not sent for lack of room."""
        self.size_bytes = 0
        """Approximate memory for remembering the series that are sent."""
        self.unmatched_bytes = 0
        """Approximate memory for remembering the series that are not sent."""
        self._virtual = identity.virtual_labels()
        self._own_up = {**up_labels, NAME: UP}
        self.matched: Counter[str] = Counter()
        """Number of series of the last body, and `up`, by the pattern that chose them."""
        self.has_chosen = False
        """Whether a body has been evaluated yet."""

    def choose(self, shape: Shape, budget: PlanBudget) -> Iterator[Chosen[T]]:
        """Yield the series of a body that are sent; new ones as far as the budget allows.

        Raises:
            RuleError: a relabel rule makes a label too large.
        """
        budget.room_bytes += self.size_bytes
        budget.unmatched_bytes += self.unmatched_bytes
        found = _Found[T](Counter(filter(None, [self._labels_of(self._own_up)[0]])))
        for place, entry in enumerate(shape.entries):
            if entry.line is None:
                continue
            text = entry.line.text
            known = self._known.get(text)
            if known is None:
                if budget.relabelings <= 0:
                    found.is_complete = False
                    continue
                known = self._look_at(text)
                budget.relabelings -= 1 + len(self._rule.access.relabelings) * bool(known.pattern)
            if known.pattern:
                found.matched[known.pattern] += 1
            if known.made is None:
                found.note_unmatched(text, known, budget)
            elif found.note(text, known, self._weigh(known.made), budget):
                yield Chosen(place, known.made)
        # Set at the end: the event loop reads the state while this may run in a thread.
        self._known, self.matched, self.has_chosen = found.known, found.matched, True
        self.is_complete, self.left_out = found.is_complete, found.left_out
        self.size_bytes, self.unmatched_bytes = found.size_bytes, found.unmatched_bytes

    def forget(self) -> None:
        """Forget all results, so that every series is evaluated again."""
        self._known, self.size_bytes, self.unmatched_bytes = {}, 0, 0

    def _look_at(self, text: bytes) -> _Known[T]:
        own = _read_labels(text)
        pattern, labels = ("", None) if own is None else self._labels_of(own)
        if not pattern:
            return _UNMATCHED
        return _Known(pattern, None if labels is None else self._make(labels))

    def up(self) -> dict[str, str] | None:
        """Return the labels with which the target's `up` is sent; None if it is not."""
        return self._labels_of(self._own_up)[1]

    def _labels_of(self, own: Labels) -> tuple[str, dict[str, str] | None]:
        """Return the pattern that chooses a series, empty for none, and the labels to send."""
        seen = {**self._virtual, **own, "namespace": self._virtual.get("namespace", "")}
        pattern = self._rule.access.pattern_of(seen)
        if pattern is None:
            return "", None
        return pattern.text, self._rule.name_of(seen)


def read_families(shape: Shape) -> dict[str, Metadata]:
    """Return the metadata of a body's metric families, by name."""
    families: dict[str, Metadata] = {}
    for entry in shape.entries:
        _note_families(entry.comments, families)
    return families


def _note_families(comments: Sequence[Comment], families: dict[str, Metadata]) -> None:
    for comment in comments:
        name = comment.name.decode(errors="replace")
        known = families.get(name, Metadata(name, MetricType.UNKNOWN, ""))
        if comment.kind is CommentKind.TYPE:
            kind = MetricType.__members__.get(comment.text.decode().upper(), MetricType.UNKNOWN)
            families[name] = known._replace(kind=kind)
        elif comment.kind is CommentKind.HELP:
            families[name] = known._replace(help=comment.text.decode(errors="replace"))


def _read_labels(text: bytes) -> dict[str, str] | None:
    head = parse_head(text, Format.TEXT)
    series = None if head is None else head.series
    if series is None:
        return None
    labels = {name.decode(): unescape(value).decode() for name, value in series.labels}
    return {**labels, NAME: series.name.decode()}
