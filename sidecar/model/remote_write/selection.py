"""Which series an object sends, and under which labels."""

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
    """What one MetricAccess object sends, and as what."""

    access: AccessRule
    extra_labels: Labels
    honor_labels: bool
    """Whether a series' own label goes before an extra one."""

    def name_of(self, seen: Labels) -> dict[str, str] | None:
        """Return the labels under which a series is sent that the rule chose; None if it is not.

        Args:
            seen: the series' labels, its name, and whose it is.
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
    """What looking at new series may take in one scrape.

    Args:
        relabelings: rules that may be applied to a series.
        room_bytes: that knowing more series may take.
        unmatched_bytes: that knowing more series may take which are not sent.
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
    """Of its value in the body, from 0."""
    made: T
    """What was made of its labels."""


class _Known(NamedTuple, Generic[T]):
    """What came of a series, so that it is looked at once."""

    pattern: str
    """That chose it; empty where none did."""
    made: T | None


_UNMATCHED: _Known[Any] = _Known("", None)
_UNMATCHED_BYTES = 150
"""What the interpreter holds to know of a series that it is not sent, besides its text."""


class _Found(Generic[T]):
    """What is found out about the series of one body."""

    def __init__(self, matched: Counter[str]) -> None:
        self.matched = matched
        self.known: dict[bytes, _Known[T]] = {}
        self.is_complete = True
        self.left_out = self.size_bytes = self.unmatched_bytes = 0

    def note(self, text: bytes, known: _Known[T], size: int, budget: PlanBudget) -> bool:
        """Keep what a series is sent as; tells whether there is room."""
        if size > budget.room_bytes:
            self.left_out += 1
            return False
        budget.room_bytes -= size
        self.size_bytes += size
        self.known[text] = known
        return True

    def note_unmatched(self, text: bytes, known: _Known[T], budget: PlanBudget) -> None:
        """Keep that a series is not sent, where there is room: else it is looked at again."""
        size = len(text) + _UNMATCHED_BYTES
        if size <= budget.unmatched_bytes:
            budget.unmatched_bytes -= size
            self.unmatched_bytes += size
            self.known[text] = known


class Selector(Generic[T]):
    """Chooses the series of one target under one rule.

    Args:
        rule: what is sent.
        identity: whose series they are.
        make: makes of a series' labels what is kept of it; None where it is not sent.
        up_labels: labels of the target's `up`: those of its namespace.
        weigh: says what keeping that takes, in bytes.
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
        """By the text of the series; those of the last body."""
        self.is_complete = True
        """Whether all series of the last body were looked at."""
        self.left_out = 0
        """Series of it that are not sent, for there is no room."""
        self.size_bytes = 0
        """About what it takes to know the series that are sent."""
        self.unmatched_bytes = 0
        """About what it takes to know those that are not."""
        self._virtual = identity.virtual_labels()
        self._own_up = {**up_labels, NAME: UP}
        self.matched: Counter[str] = Counter()
        """Series of the last body by the pattern that chose them, the target's `up` with them."""
        self.has_chosen = False
        """Whether there was a body yet."""

    def choose(self, shape: Shape, budget: PlanBudget) -> Iterator[Chosen[T]]:
        """Yield the series of a body that are sent; those that are new as far as the budget goes.

        Raises:
            RuleError: a relabeling makes too much of a label.
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
        # At once: how it goes is read in the loop while this may be in a thread.
        self._known, self.matched, self.has_chosen = found.known, found.matched, True
        self.is_complete, self.left_out = found.is_complete, found.left_out
        self.size_bytes, self.unmatched_bytes = found.size_bytes, found.unmatched_bytes

    def forget(self) -> None:
        """Look at all series again."""
        self._known, self.size_bytes, self.unmatched_bytes = {}, 0, 0

    def _look_at(self, text: bytes) -> _Known[T]:
        own = _read_labels(text)
        pattern, labels = ("", None) if own is None else self._labels_of(own)
        if not pattern:
            return _UNMATCHED
        return _Known(pattern, None if labels is None else self._make(labels))

    def up(self) -> dict[str, str] | None:
        """Return the labels under which the target's `up` is sent; None if it is not."""
        return self._labels_of(self._own_up)[1]

    def _labels_of(self, own: Labels) -> tuple[str, dict[str, str] | None]:
        """Return the pattern that chooses a series, empty for none, and what it is sent as."""
        seen = {**self._virtual, **own, "namespace": self._virtual.get("namespace", "")}
        pattern = self._rule.access.pattern_of(seen)
        if pattern is None:
            return "", None
        return pattern.text, self._rule.name_of(seen)


def read_families(shape: Shape) -> dict[str, Metadata]:
    """Return what a body says of its families, by their names."""
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
