"""Merges families: one HELP and TYPE each, samples grouped together, in a stable order.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#grouping-and-sorting
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from sidecar.errors import ExpositionError
from sidecar.model.exposition.bounds import write_bounds
from sidecar.model.exposition.escapes import escape, unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.lines import Entry, Reading, Shape
from sidecar.model.exposition.parser import parse_head
from sidecar.model.exposition.samples import Comment, CommentKind

_SUFFIXES: dict[bytes, tuple[bytes, ...]] = {
    b"counter": (b"_total", b"_created"),
    b"histogram": (b"_bucket", b"_sum", b"_count", b"_created"),
    b"gaugehistogram": (b"_bucket", b"_gsum", b"_gcount"),
    b"summary": (b"_sum", b"_count", b"_created"),
    b"info": (b"_info",),
}
_ALL_SUFFIXES = tuple(sorted({suffix for group in _SUFFIXES.values() for suffix in group}))


class MergeError(ExpositionError):
    """One body cannot be merged into the answer; `index` is its position."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(0, reason)
        self.index = index


class MergePlan(NamedTuple):
    """The layout of an answer: fixed text, with gaps for the tails that `pick` selects."""

    parts: list[bytes]
    """Alternately the text before a tail and an empty string in place of the tail; then an empty
    string in place of the proxy's own families, and the text at the end."""
    pick: Callable[[Sequence[bytes]], Sequence[bytes]] | None
    size: int
    """Bytes of `parts`."""
    left_out: int = 0
    """Number of series left out because this client's escaping makes names equal."""

    @property
    def samples(self) -> int:
        """Number of tails to fill in."""
        return len(self.parts) // 2 - 1

    def render(self, tails: Sequence[bytes], own: bytes = b"") -> bytes:
        """Fill a scrape's values into the plan.

        Args:
            tails: the tails of all targets, in their order.
            own: text of the proxy's own families, which follow all others.
        """
        picked = tails if self.pick is None else self.pick(tails)
        parts = self.parts.copy()
        parts[1:-2:2] = picked
        parts[-2] = own
        return b"".join(parts)


class Piece(NamedTuple):
    """A comment or a series of the answer."""

    text: bytes
    tail: int
    """Index of the tail that follows it; -1 for none."""
    type: bytes = b""
    """The type that applies to a sample in its own target's body."""


class Pieces(NamedTuple):
    """One family: its comments, then its samples."""

    header: Sequence[Piece]
    samples: Sequence[Piece]


class _Family:
    # A hostile body may have 50,000 of them.
    __slots__ = ("has_dropped", "header", "samples", "seen", "type")

    def __init__(self) -> None:
        self.seen: tuple[CommentKind, ...] = ()
        self.type = b""
        self.header: tuple[Piece, ...] = ()
        self.samples: list[Piece] = []
        self.has_dropped = False


def _is_dropped(family: _Family) -> bool:
    return not family.samples and family.has_dropped


class _MergeBuilder:
    """Collects the families of all targets."""

    def __init__(self, *, keeps_free_comments: bool) -> None:
        self._families: dict[bytes, _Family] = {}
        self._keeps_free_comments = keeps_free_comments
        self._pending: list[Piece] = []
        self._current = self._type = b""

    def begin(self) -> None:
        """Start on the next target's entries."""
        self._current = self._type = b""

    def add(self, entry: Entry, tail: int) -> None:
        for comment in entry.comments:
            is_open = not entry.has_series and comment is entry.comments[-1]
            self._add_comment(comment, tail if is_open else -1)
        if entry.line is not None:
            name = self._family_name(entry.line.name)
            family = self._take_pending(name).samples
            family.append(Piece(entry.line.text, tail, self._type))
        elif entry.has_series and self._current in self._families:
            self._families[self._current].has_dropped = True

    def close(self, rest: tuple[Comment, ...]) -> None:
        for comment in rest:
            self._add_comment(comment, -1)

    def families(self) -> Iterator[Pieces]:
        """Yield the families in order, so that Prometheus reads each sample as in its own body.

        Under a histogram or summary Prometheus normalizes `le` or `quantile`, whatever the sample's
        name: samples that this would change come before all TYPE lines. Each family is removed
        when it is yielded.
        """
        for name in [name for name, item in self._families.items() if _is_dropped(item)]:
            del self._families[name]
        for piece in self._take_untyped():
            yield Pieces((), [piece])
        for name in list(self._families):
            family = self._families.pop(name)
            yield Pieces(family.header, family.samples)
        yield Pieces(self._pending, ())

    def _take_untyped(self) -> list[Piece]:
        untyped: list[Piece] = []
        effective = b""
        for family in self._families.values():
            effective = family.type or effective
            if all(piece.type == effective or piece.tail < 0 for piece in family.samples):
                continue
            kept: list[Piece] = []
            for piece in family.samples:
                text = piece.text if piece.tail < 0 else write_bounds(piece.text, piece.type)
                is_changed = piece.tail >= 0 and write_bounds(text, effective) != text
                (untyped if is_changed else kept).append(piece._replace(text=text))
            family.samples = kept
        return untyped

    def _add_comment(self, comment: Comment, tail: int) -> None:
        piece = Piece(comment.raw, tail)
        if comment.kind is CommentKind.FREE:
            if self._keeps_free_comments:
                self._pending.append(piece)
            return
        self._current = comment.name
        family = self._families.setdefault(comment.name, _Family())
        if comment.kind is CommentKind.TYPE:
            self._type = comment.text
        if comment.kind in family.seen:
            return
        family.seen += (comment.kind,)
        if comment.kind is CommentKind.TYPE:
            family.type = comment.text
        family.header += (*self._pending, piece)
        self._pending = []

    def _take_pending(self, name: bytes) -> _Family:
        family = self._families.setdefault(name, _Family())
        if self._pending:
            family.samples += self._pending
            self._pending = []
        return family

    def _family_name(self, name: bytes) -> bytes:
        current = self._families.get(self._current)
        if name == self._current or (current and self._belongs(name, self._current, current)):
            return self._current
        if name not in self._families:
            for suffix in _ALL_SUFFIXES:
                base = name.removesuffix(suffix)
                family = self._families.get(base) if len(base) < len(name) else None
                if family is not None and self._belongs(name, base, family):
                    return base
        self._current = name
        return name

    @staticmethod
    def _belongs(name: bytes, base: bytes, family: _Family) -> bool:
        return name.startswith(base) and name[len(base) :] in _SUFFIXES.get(family.type, ())


def plan_merge(readings: Sequence[Reading], fmt: Format) -> MergePlan:
    """Plan the answer of one or several targets.

    Args:
        readings: one for each target that answered, in a stable order.
        fmt: the answer's format.

    Raises:
        MergeError: a target has a series of an earlier one, or rules made two series identical.
    """
    shapes = [reading.shape for reading in readings]
    if len(shapes) > 1:
        _check_distinct(shapes)
    families, left_out = arrange(shapes, fmt, keeps_free_comments=len(shapes) == 1)
    parts: list[bytes] = []
    order: list[int] = []
    text: list[bytes] = []
    for piece in (piece for family in families for piece in chain(*family)):
        text.append(piece.text)
        if piece.tail >= 0:
            parts += [b"".join(text), b""]
            order.append(piece.tail)
            text = []
    end = b"# EOF\n" if fmt is Format.OPENMETRICS else b""
    parts += [b"", b"".join([*text, end])]
    count = sum(len(shape.entries) for shape in shapes)
    pick = None if order == list(range(count)) else picker(order)
    return MergePlan(parts, pick, sum(map(len, parts)), left_out)


def arrange(
    shapes: Sequence[Shape], fmt: Format, *, keeps_free_comments: bool
) -> tuple[Iterator[Pieces], int]:
    """Arrange the families of several bodies for one answer; tails are numbered across bodies.

    Also returns the number of series that are left out.

    Args:
        shapes: the bodies without their values, in a stable order.
        fmt: the answer's format.
        keeps_free_comments: whether comments without meaning are kept, before the next sample.

    Raises:
        MergeError: rules made two series of a body identical.
    """
    left_out = [_find_collisions(index, shape, fmt) for index, shape in enumerate(shapes)]
    arrangement = _MergeBuilder(keeps_free_comments=keeps_free_comments)
    count = 0
    for shape, missing in zip(shapes, left_out, strict=True):
        arrangement.begin()
        for at, entry in enumerate(shape.entries):
            arrangement.add(entry._replace(line=None) if at in missing else entry, count + at)
        arrangement.close(shape.rest)
        count += len(shape.entries)
    lost = sum(entry.is_lost for shape in shapes for entry in shape.entries)
    return arrangement.families(), lost + sum(map(len, left_out))


def picker(order: Sequence[int]) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """Return a function that picks tails by their index."""
    if len(order) > 1:
        return itemgetter(*order)
    # itemgetter returns a bare item for one index, and does not accept zero indexes.
    return lambda tails: [tails[index] for index in order]


def _check_distinct(shapes: Sequence[Shape]) -> None:
    lines = [[entry.line for entry in shape.entries if entry.line] for shape in shapes]
    if all(line.is_marked for group in lines for line in group):
        return  # the labels that identify a target keep its series distinct
    owners: dict[bytes, int] = {}
    for index, group in enumerate(lines):
        for line in group:
            owner = owners.setdefault(_identity(line.text), index)
            if owner != index:
                shown = line.text[:200].decode(errors="replace")
                raise MergeError(index, f"{shown} is also a series of another target")


def _find_collisions(index: int, shape: Shape, fmt: Format) -> frozenset[int]:
    """Return the entries that escaping made identical to an earlier one: they are left out.

    Two samples of the same series in the input are kept, as without Livery.

    Raises:
        MergeError: rules made two series identical, so one would be lost.
    """
    if not any(entry.line.may_collide for entry in shape.entries if entry.line):
        return frozenset()
    seen: dict[bytes, Entry] = {}
    left_out: set[int] = set()
    for at, entry in enumerate(shape.entries):
        if entry.line is None:
            continue
        first = seen.setdefault(_identity(entry.line.text), entry)
        if first is entry or first.line is None or first.text == entry.text:
            continue
        if not (entry.line.may_collide or first.line.may_collide):
            continue
        if _input_identity(first, fmt) == _input_identity(entry, fmt):
            continue
        if not (entry.line.is_escaped or first.line.is_escaped):
            shown = entry.line.text[:200].decode(errors="replace")
            raise MergeError(index, f"relabel rules made two series identical: {shown}")
        left_out.add(at)
    return frozenset(left_out)


def _input_identity(entry: Entry, fmt: Format) -> bytes:
    head = parse_head(entry.text, fmt)
    if head is None or head.series is None:
        return entry.text
    return _identity(head.series.raw, fmt)


def _identity(text: bytes, fmt: Format = Format.TEXT) -> bytes:
    """Return a canonical text of a series; about as long as its line, as there may be many."""
    head = parse_head(text, fmt)
    if head is None or head.series is None:
        return text
    pairs = [(escape(name), _canonical(value)) for name, value in head.series.labels if value]
    labels = b",".join(sorted([b'"%b"="%b"' % pair for pair in pairs]))
    return b'"%b",%b' % (escape(head.series.name), labels)


def _canonical(value: bytes) -> bytes:
    return escape(unescape(value)) if b"\\" in value or b"\n" in value else value
