"""Results of rewriting a body's parts under a policy, and their caches between scrapes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from weakref import WeakSet, WeakValueDictionary

from sidecar.model.exposition.samples import Comment, Series

OWN_PREFIX = b"livery_"
"""Prefix of Livery's own metrics; an application must not use it, or it could fake them."""
# Memory that an entry and its parts take besides their text, rounded up.
_ENTRY_BYTES = 400
_COMMENT_BYTES = 320
_REFERENCE_BYTES = 16
"""For each entry of a shape: one reference to it and one to its text."""


class Line(NamedTuple):
    """A rewritten series: its metric name and its text; for a dropped one there is None instead.

    `is_marked` is true if the series carries the labels that identify its target.
    """

    name: bytes
    text: bytes
    is_marked: bool = False
    may_collide: bool = False
    """Whether rules or escaping may have made it identical to another."""
    is_escaped: bool = False
    """Whether names were escaped for the client."""


LOST = Line(b"", b"")
"""A series that cannot be sent to the client: escaping gives two of its labels the same name."""


class Entry(NamedTuple):
    """A rewritten head. `line` is None if there was no series or it was dropped."""

    text: bytes
    comments: tuple[Comment, ...]
    has_series: bool
    line: Line | None
    is_lost: bool = False
    """Whether `line` is None because the series cannot be sent to the client."""

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, rounded up; the text is held here and in the plan of the answer."""
        size = _ENTRY_BYTES + 2 * len(self.text) + _COMMENT_BYTES * len(self.comments)
        return size if self.line is None else size + 2 * len(self.line.text)


class Rewriter(Protocol):
    """Rewrites the parts of a head under a policy."""

    def series(self, series: Series) -> Line | None:
        """Rewrite a series; None drops it."""

    def comment(self, comment: Comment) -> Comment:
        """Rewrite a comment."""


class Shape:
    """A body without its values: `entries[i]` precedes value `i`, `rest` follows the last one.

    Args:
        entries: the rewritten heads.
        rest: comments after the last value.
        rest_text: the same as the target wrote it.
        lines_bytes: size of the series with their added labels.
    """

    __slots__ = (
        "__weakref__", "_fingerprint", "entries", "head_bytes", "heads", "lines_bytes",
        "own_bytes", "rest", "rest_text", "samples",
    )  # fmt: skip

    def __init__(
        self,
        entries: Sequence[Entry],
        rest: tuple[Comment, ...],
        rest_text: bytes,
        lines_bytes: int,
    ) -> None:
        self._fingerprint: int | None = None
        self.entries = entries
        self.rest = rest
        self.rest_text = rest_text
        self.lines_bytes = lines_bytes
        self.heads = [entry.text for entry in entries]
        self.samples = sum(entry.has_series for entry in entries)
        self.head_bytes = sum(map(len, self.heads)) + len(rest_text)
        """Size of such a body without its values."""
        self.own_bytes = (
            _REFERENCE_BYTES * len(entries) + 2 * len(rest_text) + _COMMENT_BYTES * len(rest)
        )
        """Memory that it takes besides its entries."""

    @property
    def fingerprint(self) -> int:
        """A hash of the heads and the rewritten series; equal shapes have the same."""
        if self._fingerprint is None:
            lines = [None if entry.line is None else entry.line.text for entry in self.entries]
            self._fingerprint = hash((tuple(self.heads), tuple(lines)))
        return self._fingerprint

    @property
    def size_bytes(self) -> int:
        """Memory that it takes with its entries, if no other shape shares them."""
        return self.own_bytes + sum(entry.size_bytes for entry in self.entries)


class Reading(NamedTuple):
    """A parsed body; the shape is reused as long as only values change."""

    shape: Shape
    tails: list[bytes]
    """The values, each with the rest of its line."""
    tail_bytes: int

    @property
    def entries(self) -> Sequence[Entry]:
        """The entry before each value."""
        return self.shape.entries

    @property
    def samples(self) -> int:
        """How many samples the target exposed."""
        return self.shape.samples


class LineStore(Protocol):
    """Keeps entries between scrapes."""

    entries: dict[bytes, Entry]
    """Entries by the text of their heads."""
    size_bytes: int

    def keep(self, shape: Shape) -> Shape | None:
        """Keep a body's shape for the next scrape; returns None if it is too large.

        Otherwise returns the shape to use: an equal one may be kept already.
        """

    def keep_some(self, entries: Sequence[Entry]) -> None:
        """Keep the entries of a body that was read only in part."""


class OwnLines:
    """The entries of one target's last body."""

    def __init__(self, limit_bytes: int) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.size_bytes = 0
        self._limit_bytes = limit_bytes

    def keep(self, shape: Shape) -> Shape | None:
        """Keep a body's shape, replacing the last one."""
        size = len(shape.rest_text) + _COMMENT_BYTES * len(shape.rest)
        size += sum(entry.size_bytes for entry in shape.entries)
        self.entries, self.size_bytes = {}, 0
        if size > self._limit_bytes:
            return None
        self.entries = dict(zip(shape.heads, shape.entries, strict=True))
        self.size_bytes = size
        return shape

    def keep_some(self, entries: Sequence[Entry]) -> None:
        """Keep entries, replacing those of the last body."""
        self.entries, self.size_bytes = {}, 0
        for entry in entries:
            size = self.size_bytes + entry.size_bytes
            if size > self._limit_bytes:
                break
            self.entries[entry.text] = entry
            self.size_bytes = size


class CacheRoom:
    """A memory budget that several stores share."""

    def __init__(self, limit_bytes: int) -> None:
        self.left_bytes = limit_bytes
        """Bytes that may still be kept."""
        self._stores: WeakSet[SharedLines] = WeakSet()

    def add(self, store: "SharedLines") -> None:
        """Register a store that uses this budget."""
        self._stores.add(store)

    def has(self, size: int) -> bool:
        """Return whether `size` bytes are left; if not, unused entries are dropped first."""
        if size > self.left_bytes:
            for store in self._stores:
                store.forget_unused()
        return size <= self.left_bytes


class SharedLines:
    """The entries of many targets under one policy: replicas of a workload share nearly all.

    An entry stays as long as a target's last body has it. Once the budget is used up, no further
    entry is kept.
    """

    def __init__(self, room: CacheRoom) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.size_bytes = 0
        self._room = room
        room.add(self)
        self._shapes: WeakValueDictionary[int, Shape] = WeakValueDictionary()
        """Shapes by a hash of their entries; only the targets keep them alive."""
        self._shapes_since = 0
        """Number of shapes after the last removal of unused entries, plus those added since."""

    def keep(self, shape: Shape) -> Shape | None:
        """Keep a body's shape, or return the equal one that another target keeps."""
        key = hash((shape.rest_text, tuple(map(id, shape.entries))))
        known = self._shapes.get(key)
        if known is not None and known.entries == shape.entries:
            return known
        new = [entry for entry in shape.entries if entry.text not in self.entries]
        size = shape.own_bytes + sum(entry.size_bytes for entry in new)
        if not self._room.has(size):
            return None
        self.entries.update({entry.text: entry for entry in new})
        self._take(size)
        self._shapes[key] = shape
        self._shapes_since += 1
        return shape

    def keep_some(self, entries: Sequence[Entry]) -> None:
        """Keep entries as long as there is room."""
        for entry in entries:
            if not self._room.has(entry.size_bytes):
                break
            if entry.text not in self.entries:
                self.entries[entry.text] = entry
                self._take(entry.size_bytes)

    def close(self) -> None:
        """Drop all entries and return their bytes to the budget."""
        self.entries = {}
        self._take(-self.size_bytes)

    def _take(self, size: int) -> None:
        self.size_bytes += size
        self._room.left_bytes -= size

    def forget_unused(self) -> None:
        """Drop the entries that no target's last body has."""
        shapes = list(self._shapes.values())
        if len(shapes) >= self._shapes_since:
            return
        self.entries = {entry.text: entry for shape in shapes for entry in shape.entries}
        size = sum(entry.size_bytes for entry in self.entries.values())
        size += sum(shape.own_bytes for shape in shapes)
        self._take(size - self.size_bytes)
        self._shapes_since = len(shapes)
