"""Families put together: one HELP and TYPE each, their samples side by side, in a stable order.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#grouping-and-sorting
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

from sidecar.errors import ExpositionError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.names import is_plain_metric_name
from sidecar.model.exposition.parser import Comment, CommentKind, escape, parse_head, unescape
from sidecar.model.exposition.series_cache import Entry, Line, Reading

_SUFFIXES: dict[bytes, tuple[bytes, ...]] = {
    b"counter": (b"_total", b"_created"),
    b"histogram": (b"_bucket", b"_sum", b"_count", b"_created"),
    b"gaugehistogram": (b"_bucket", b"_gsum", b"_gcount"),
    b"summary": (b"_sum", b"_count", b"_created"),
    b"info": (b"_info",),
}
_REWRITING_TYPES = (b"histogram", b"summary")
"""Under these Prometheus writes `le` or `quantile` anew: "1" becomes "1.0"."""
_ALL_SUFFIXES = tuple(sorted({suffix for group in _SUFFIXES.values() for suffix in group}))


class MergeError(ExpositionError):
    """One target cannot be merged with those before it; `index` says which."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(0, reason)
        self.index = index


class MergePlan(NamedTuple):
    """How an answer is put together: what stays, with gaps for the tails that `pick` gives."""

    parts: list[bytes]
    """The text before a tail and an empty place for it, in turn; then one for the proxy's own
    families, and the end."""
    pick: Callable[[Sequence[bytes]], Sequence[bytes]] | None
    size: int
    """Bytes of `parts`."""

    @property
    def samples(self) -> int:
        """How many tails there are to fill in."""
        return len(self.parts) // 2 - 1

    def render(self, tails: Sequence[bytes], own: bytes = b"") -> bytes:
        """Put a scrape's values into the plan.

        Args:
            tails: those of all targets, in their order.
            own: text of families that the proxy itself adds behind them.
        """
        picked = tails if self.pick is None else self.pick(tails)
        parts = self.parts.copy()
        parts[1:-2:2] = picked
        parts[-2] = own
        return b"".join(parts)


class _Piece(NamedTuple):
    text: bytes
    tail: int
    """Index of the tail behind it; -1 for none."""


class _Family:
    def __init__(self) -> None:
        self.seen: set[CommentKind] = set()
        self.type = b""
        self.type_before = b""
        """The type that its first sample was read under, where it has none of its own."""
        self.header: list[_Piece] = []
        self.samples: list[_Piece] = []
        self.has_dropped = False


class _MergeBuilder:
    """The families of all targets while they are being collected."""

    def __init__(self, fmt: Format, *, keeps_free_comments: bool) -> None:
        self._families: dict[bytes, _Family] = {}
        self._no_type = b"unknown" if fmt is Format.OPENMETRICS else b"untyped"
        self._keeps_free_comments = keeps_free_comments
        self._pending: list[_Piece] = []
        self._current = self._type = b""

    def begin(self) -> None:
        """Start with the next target's entries."""
        self._current = self._type = b""

    def add(self, entry: Entry, tail: int) -> None:
        for comment in entry.comments:
            is_open = not entry.has_series and comment is entry.comments[-1]
            self._add_comment(comment, tail if is_open else -1)
        if entry.line is not None:
            name = self._family_name(entry.line.name)
            family = self._take_pending(name).samples
            family.append(_Piece(entry.line.text, tail))
        elif entry.has_series and self._current in self._families:
            self._families[self._current].has_dropped = True

    def close(self, rest: tuple[Comment, ...]) -> None:
        for comment in rest:
            self._add_comment(comment, -1)

    def plan(self, count: int, end: bytes) -> MergePlan:
        parts: list[bytes] = []
        order: list[int] = []
        text: list[bytes] = []
        for piece in self._pieces():
            text.append(piece.text)
            if piece.tail >= 0:
                parts += [b"".join(text), b""]
                order.append(piece.tail)
                text = []
        parts += [b"", b"".join([*text, end])]
        pick = None if order == list(range(count)) else _picker(order)
        return MergePlan(parts, pick, sum(map(len, parts)))

    def _pieces(self) -> list[_Piece]:
        pieces: list[_Piece] = []
        effective = b""
        for name, family in self._families.items():
            if not family.samples and family.has_dropped:
                continue
            pieces += family.header
            if family.type:
                effective = family.type
            elif (
                family.samples
                and effective in _REWRITING_TYPES
                and (effective != family.type_before)
            ):
                # Where it was written it did not stand behind that type.
                quoted = name if is_plain_metric_name(name) else b'"%b"' % escape(name)
                pieces.append(_Piece(b"# TYPE %b %b\n" % (quoted, self._no_type), -1))
                effective = b""
            pieces += family.samples
        return pieces + self._pending

    def _add_comment(self, comment: Comment, tail: int) -> None:
        piece = _Piece(comment.raw, tail)
        if comment.kind is CommentKind.FREE:
            if self._keeps_free_comments:
                self._pending.append(piece)
            return
        self._current = comment.name
        family = self._families.setdefault(comment.name, _Family())
        if comment.kind in family.seen:
            return
        family.seen.add(comment.kind)
        if comment.kind is CommentKind.TYPE:
            family.type = self._type = comment.text
        family.header += [*self._pending, piece]
        self._pending = []

    def _take_pending(self, name: bytes) -> _Family:
        family = self._families.setdefault(name, _Family())
        if not family.samples:
            family.type_before = self._type
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
        readings: one for each target that answered, in their stable order.
        fmt: the answer's format.

    Raises:
        MergeError: a series of a later target is a series of an earlier one.
    """
    if len(readings) > 1:
        _check_distinct(readings)
    for index, reading in enumerate(readings):
        _check_collisions(index, reading)
    arrangement = _MergeBuilder(fmt, keeps_free_comments=len(readings) == 1)
    count = 0
    for reading in readings:
        arrangement.begin()
        for index, entry in enumerate(reading.entries, count):
            arrangement.add(entry, index)
        arrangement.close(reading.rest)
        count += len(reading.entries)
    return arrangement.plan(count, b"# EOF\n" if fmt is Format.OPENMETRICS else b"")


def _picker(order: list[int]) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    if len(order) > 1:
        return itemgetter(*order)
    # itemgetter gives a bare item for one index, and refuses none.
    return lambda tails: [tails[index] for index in order]


def _check_distinct(readings: Sequence[Reading]) -> None:
    lines = [[entry.line for entry in reading.entries if entry.line] for reading in readings]
    if all(line.is_marked for group in lines for line in group):
        return  # each target's own label keeps its series apart
    owners: dict[bytes, int] = {}
    for index, group in enumerate(lines):
        for line in group:
            owner = owners.setdefault(_identity(line), index)
            if owner != index:
                shown = line.text[:200].decode(errors="replace")
                raise MergeError(index, f"{shown} is also a series of another target")


def _check_collisions(index: int, reading: Reading) -> None:
    """Refuse series that were two and are one by rules or escaping: one would be lost."""
    if not any(entry.line.may_collide for entry in reading.entries if entry.line):
        return
    seen: dict[bytes, bool] = {}
    for entry in reading.entries:
        if entry.line is None:
            continue
        identity = _identity(entry.line)
        if identity in seen and (entry.line.may_collide or seen[identity]):
            shown = entry.line.text[:200].decode(errors="replace")
            raise MergeError(index, f"two series became {shown} by rules or escaping")
        seen[identity] = entry.line.may_collide


def _identity(line: Line) -> bytes:
    """One text for all ways to write a series; of the size of a line, as there may be many."""
    head = parse_head(line.text, Format.TEXT)
    if head is None or head.series is None:
        return line.text
    pairs = [(escape(name), _canonical(value)) for name, value in head.series.labels if value]
    labels = b",".join(sorted([b'"%b"="%b"' % pair for pair in pairs]))
    return b'"%b",%b' % (escape(head.series.name), labels)


def _canonical(value: bytes) -> bytes:
    return escape(unescape(value)) if b"\\" in value or b"\n" in value else value
