"""Merges many targets into one exposition, by family, with labels of its own for each target.

Targets that expose the same series, as replicas do, share one shape. The layout of each family is
planned once for a shape, and each scrape fills in the targets' values, one column at a time.
"""

from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.lines import Reading, Shape
from sidecar.model.exposition.merge import Pieces, arrange, picker
from sidecar.model.exposition.parser import parse_head

CHUNK_BYTES = 256 << 10
"""Approximate size of one chunk of an answer."""
Pairs = tuple[tuple[bytes, bytes], ...]
_NOTHING: frozenset[bytes] = frozenset()


class Marks(NamedTuple):
    """Labels added to every series of one target: never empty, and unique to the target."""

    pairs: Pairs
    text: bytes
    """The rendered labels and the closing brace."""

    @classmethod
    def of(cls, pairs: Pairs) -> "Marks":
        """Render the labels."""
        return cls(pairs, write_marks(pairs))


class Row(NamedTuple):
    """One target's part of an answer."""

    marks: Marks
    reading: Reading


class _Column(NamedTuple):
    """The series of one family in one shape."""

    shape: int
    prefixes: list[bytes]
    """Each series' text up to its marks."""
    kept: list[frozenset[bytes]] | None
    """For each series, the names of marks that it has itself; None if no series has any."""
    pick: Callable[[Sequence[bytes]], Sequence[bytes]]
    """Picks the series' values from all values of a target."""
    keys: list[bytes]
    """For each series that has marks itself, a key that equal series share."""


class _Family(NamedTuple):
    header: list[tuple[bytes, int, int]]
    """Comments, each with the shape and index of the tail that ends it; index -1 for none."""
    columns: list[_Column]


class FamilyPlan:
    """The layout of an answer for targets of these shapes.

    Args:
        shapes: the distinct shapes, in a stable order.
        mark_names: names of all marks that targets may have.
        keeps: whether a series keeps its own label if a mark has the same name; of equal series
            of several targets, only the first is written.

    Raises:
        MergeError: rules made two series of a shape identical; `index` is that of the shape.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        mark_names: Collection[bytes] = (),
        keeps: bool = False,
    ) -> None:
        self.shapes = tuple(shapes)
        families, self.left_out = arrange(shapes, Format.TEXT, keeps_free_comments=False)
        builder = _Builder(shapes, frozenset(mark_names) if keeps else _NOTHING)
        self._families = builder.build(families)

    def render(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """Render an answer as chunks, none of them empty.

        Args:
            rows: the targets, in their order within a family; each has one of the shapes.
        """
        groups = self._group(rows)
        chunk: list[bytes] = []
        size = 0
        for family in self._families:
            for part in self._write(family, groups):
                chunk.append(part)
                size += len(part)
                if size >= CHUNK_BYTES:
                    yield b"".join(chunk)
                    chunk, size = [], 0
        if size:
            yield b"".join(chunk)

    def _group(self, rows: Sequence[Row]) -> "list[_Group]":
        by_shape: dict[int, list[Row]] = {}
        for row in rows:
            by_shape.setdefault(id(row.reading.shape), []).append(row)
        return [_Group(by_shape.get(id(shape), [])) for shape in self.shapes]

    def _write(self, family: _Family, groups: "Sequence[_Group]") -> Iterator[bytes]:
        header: list[bytes] = []
        for text, shape, tail in family.header:
            header.append(text)
            if tail >= 0 and groups[shape].rows:
                header.append(groups[shape].rows[0].reading.tails[tail])
        yield b"".join(header)
        seen: set[bytes] = set()
        for column in family.columns:
            if column.kept is None:
                yield from groups[column.shape].write(column)
            else:
                yield groups[column.shape].write_kept(column, column.kept, seen)


class _Group:
    """The targets of one shape."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self._marks = [row.marks.text for row in rows]
        self._repeated: dict[int, list[bytes]] = {}
        """By number of series: the marks of every target, each repeated that often."""

    def write(self, column: _Column) -> Iterator[bytes]:
        width = len(column.prefixes)
        # Batches of targets keep the work per line small; large families take several batches.
        step = max(1, CHUNK_BYTES // (100 * width))
        for start in range(0, len(self.rows), step):
            yield self._write_some(column, range(start, min(start + step, len(self.rows))))

    def write_kept(
        self, column: _Column, kept: Sequence[frozenset[bytes]], seen: set[bytes]
    ) -> bytes:
        """Render series that have marks themselves, each once; `seen` holds the earlier ones."""
        parts: list[bytes] = []
        for row in self.rows:
            values = column.pick(row.reading.tails)
            for prefix, own, key, value in zip(
                column.prefixes, kept, column.keys, values, strict=True
            ):
                middle = write_marks(row.marks.pairs, own)
                if own:
                    whole = key + middle
                    if whole in seen:
                        continue
                    seen.add(whole)
                parts += (prefix, middle, value)
        return b"".join(parts)

    def _write_some(self, column: _Column, some: range) -> bytes:
        width = len(column.prefixes)
        parts = [b""] * (3 * width * len(some))
        parts[0::3] = column.prefixes * len(some)
        parts[1::3] = self._middle(column, some)
        if width == 1:
            picked: list[bytes] = [column.pick(self.rows[at].reading.tails)[0] for at in some]
            parts[2::3] = picked
        else:
            parts[2::3] = chain.from_iterable(
                [column.pick(self.rows[at].reading.tails) for at in some]
            )
        return b"".join(parts)

    def _middle(self, column: _Column, some: range) -> list[bytes]:
        width = len(column.prefixes)
        repeated = self._repeated.get(width)
        if repeated is None:
            repeated = list(chain.from_iterable(repeat(text, width) for text in self._marks))
            self._repeated[width] = repeated
        return repeated[some.start * width : some.stop * width]


def write_marks(marks: Pairs, kept: frozenset[bytes] = _NOTHING) -> bytes:
    """Render the marks that end a series' labels, and the closing brace.

    Args:
        marks: the labels.
        kept: names that the series has itself and that are omitted; if there are any, a comma
            precedes the remaining marks.
    """
    text = b",".join([b'%b="%b"' % pair for pair in marks if pair[0] not in kept])
    return b",%b}" % text if text and kept else text + b"}"


def write_prefix(series: bytes, kept: frozenset[bytes] = _NOTHING) -> bytes:
    """Render a series up to the place of its marks; `kept` is as in `write_marks`."""
    if not series.endswith(b"}"):
        return series + b"{"
    before = series[:-1].rstrip(b" \t")
    if kept:
        return before.removesuffix(b",")
    return series[:-1] if before.endswith((b",", b"{")) else series[:-1] + b","


class _Builder:
    """Sorts pieces into families and columns."""

    def __init__(self, shapes: Sequence[Shape], mark_names: frozenset[bytes]) -> None:
        self._mark_names = mark_names
        self._starts = [0]
        for shape in shapes:
            self._starts.append(self._starts[-1] + len(shape.entries))

    def build(self, families: Iterable[Pieces]) -> list[_Family]:
        return [
            _Family(
                [(piece.text, *self._place(piece.tail)) for piece in family.header],
                self._columns([(piece.text, *self._place(piece.tail)) for piece in family.samples]),
            )
            for family in families
        ]

    def _place(self, tail: int) -> tuple[int, int]:
        """Return the shape of a tail and the tail's index within it."""
        if tail < 0:
            return 0, -1
        shape = bisect(self._starts, tail) - 1
        return shape, tail - self._starts[shape]

    def _columns(self, samples: Sequence[tuple[bytes, int, int]]) -> list[_Column]:
        """Group a family's series by shape and by whether they have marks themselves."""
        groups: dict[tuple[int, bool], list[tuple[_Kept, int]]] = {}
        for text, shape, tail in samples:
            kept = self._keep(text)
            groups.setdefault((shape, bool(kept.names)), []).append((kept, tail))
        return [
            _Column(
                shape,
                [write_prefix(kept.text, kept.names) for kept, _ in found],
                [kept.names for kept, _ in found] if has_own else None,
                _pick([tail for _, tail in found]),
                [kept.key for kept, _ in found] if has_own else [],
            )
            for (shape, has_own), found in groups.items()
        ]

    def _keep(self, text: bytes) -> "_Kept":
        if not self._mark_names:
            return _Kept(text)
        head = parse_head(text, Format.TEXT)
        if head is None or head.series is None:
            return _Kept(text)
        labels = head.series.labels
        names = self._mark_names.intersection(name for name, value in labels if value)
        if any(not value and name in self._mark_names for name, value in labels):
            # An empty label counts as absent: ours replaces it.
            pairs = [b'%b="%b"' % pair for pair in labels if pair[1]]
            text = b"%b{%b}" % (text.partition(b"{")[0], b",".join(pairs))
        key = b",".join([head.series.name, *(b'%b="%b"' % pair for pair in sorted(labels))])
        return _Kept(text, names, key)


class _Kept(NamedTuple):
    """A series, and the names of the marks that it has itself."""

    text: bytes
    names: frozenset[bytes] = _NOTHING
    key: bytes = b""
    """Equal for equal series, however they are written."""


def _pick(tails: Sequence[int]) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    first, last = tails[0], tails[-1]
    if tails == list(range(first, last + 1)):
        place = slice(first, last + 1)
        return lambda values: values[place]
    return picker(tails)
