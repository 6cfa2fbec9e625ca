"""Remote write requests for one target's series, planned once per body shape."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeVar

from sidecar.errors import RuleError
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.lines import Reading, Shape
from sidecar.model.remote_write.selection import (
    NO_LABELS,
    Labels,
    PlanBudget,
    Selector,
    SendingRule,
)
from sidecar.model.remote_write.wire import (
    STALE,
    SeriesBlock,
    write_exemplar,
    write_labels,
    write_value,
)

_SERIES_BYTES = 400
"""Interpreter overhead of a series, besides its labels, which are held three times."""
MAX_SERIES = 1000
"""Per request."""
MAX_REQUEST_BYTES = 1 << 20
"""Total size of the labels in one request; a single series may exceed it."""
MAX_MOMENT_BYTES = 16 << 20
"""Total size of the labels of all series that a collector reads for one rule at one time."""
_EXEMPLAR = re.compile(rb"# \{(.*)\} (\S+)(?: (\S+))?$")
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Request(NamedTuple):
    """One uncompressed request to a receiver."""

    body: bytes
    samples: int


class TargetRequests:
    """Writes requests for one target's series under one rule.

    Args:
        rule: which series are sent, and with which labels.
        identity: the workload that the series belong to.
        up_labels: labels of the target's `up` series: those of its namespace.
    """

    def __init__(
        self, rule: SendingRule, identity: Identity, up_labels: Labels = NO_LABELS
    ) -> None:
        self.selector = Selector(rule, identity, write_labels, up_labels, weigh=_weigh)
        self._identity = identity
        self._seen: int | None = None
        """The fingerprint of the last body's shape."""
        self._choose: list[Callable[[Sequence[bytes]], Sequence[bytes]]] = []
        """For each block, a function that picks its values from those of the body."""
        self._blocks: list[SeriesBlock] = []
        self._sent: frozenset[bytes] = frozenset()
        """Labels of the series sent last that get a stale marker when they end."""
        self._up: frozenset[bytes] = frozenset()
        """Labels of the `up` series sent last."""
        self.plans = 0
        """Counts changes of the chosen series; later requests must not overtake earlier ones."""

    @property
    def chooses(self) -> bool:
        """Whether any of the target's own series is sent."""
        return bool(self._blocks)

    @property
    def series(self) -> int:
        """Number of series sent each time, including `up`."""
        return sum(map(len, self._blocks)) + len(self._up)

    def knows(self, shape: Shape) -> bool:
        """Return whether the series to send from a body of this shape are known."""
        return self._seen == shape.fingerprint and self.selector.is_complete

    def write(
        self,
        reading: Reading | None,
        timestamp_ms: int,
        fmt: Format,
        budget: PlanBudget,
    ) -> Iterator[Request]:
        """Write the samples of one scrape; series that are gone get a stale marker.

        Args:
            reading: the target's body; None if it did not answer.
            timestamp_ms: when it was scraped, as Unix time.
            fmt: the format of the body.
            budget: limits the work and memory for new series.
        """
        if reading is None:
            yield from self._forget(timestamp_ms)
        else:
            if not self.knows(reading.shape):
                yield from self._plan(reading.shape, timestamp_ms, budget)
            yield from self._write_values(reading.tails, timestamp_ms, fmt)
        yield from self._write_up(is_up=reading is not None, timestamp_ms=timestamp_ms)

    def use(self, rule: SendingRule, up_labels: Labels = NO_LABELS) -> None:
        """Switch to another rule; series that it does not choose get a stale marker next time."""
        self.selector = Selector(rule, self._identity, write_labels, up_labels, weigh=_weigh)
        self._seen = None
        self.plans += 1

    def end(self, timestamp_ms: int) -> Iterator[Request]:
        """Write stale markers for all series and `up`: the target will not come back."""
        yield from self._forget(timestamp_ms)
        gone, self._up = self._up, frozenset()
        yield from mark_ended(gone, timestamp_ms)

    def _forget(self, timestamp_ms: int) -> Iterator[Request]:
        gone, self._sent = self._sent, frozenset()
        self.plans += bool(gone or self._blocks)
        self._seen, self._blocks = None, []
        self.selector.forget()
        yield from mark_ended(gone, timestamp_ms)

    def _plan(self, shape: Shape, timestamp_ms: int, budget: PlanBudget) -> Iterator[Request]:
        labels: dict[bytes, int] = {}
        for index, written in self.selector.choose(shape, budget):
            labels.setdefault(written, index)  # the first of equal label sets
        is_whole = self.selector.is_complete  # if not, unread series may still exist
        gone = self._sent - labels.keys() if is_whole else frozenset()
        self._seen = shape.fingerprint
        self.plans += 1
        self._sent = frozenset(labels) if is_whole else self._sent | labels.keys()
        self._blocks, self._choose = [], []
        for chunk in _chunks(labels.items()):
            self._blocks.append(SeriesBlock([text for text, _ in chunk]))
            self._choose.append(_chooser([index for _, index in chunk]))
        yield from mark_ended(gone, timestamp_ms)

    def _write_values(
        self, tails: Sequence[bytes], timestamp_ms: int, fmt: Format
    ) -> Iterator[Request]:
        for block, choose in zip(self._blocks, self._choose, strict=True):
            chosen = choose(tails)
            try:
                # Python's float() ignores the newline after the value.
                body = block.write(list(map(float, chosen)), timestamp_ms)
            except ValueError:
                body = self._write_each(block, chosen, timestamp_ms, fmt)
            yield Request(body, len(chosen))

    def _write_each(
        self, block: SeriesBlock, tails: Sequence[bytes], timestamp_ms: int, fmt: Format
    ) -> bytes:
        read = [read_tail(tail, timestamp_ms, fmt) for tail in tails]
        # As in Prometheus: a series with explicit timestamps gets no stale marker.
        stamped = {
            labels
            for labels, tail in zip(block.labels, read, strict=True)
            if tail.is_stamped and labels in self._sent
        }
        if stamped:
            self._sent -= stamped
        return block.write_each(
            [write_value(tail.value) for tail in read],
            [tail.timestamp_ms for tail in read],
            [tail.exemplar for tail in read],
        )

    def _write_up(self, *, is_up: bool, timestamp_ms: int) -> Iterator[Request]:
        labels = self.selector.up()
        up = frozenset() if labels is None else frozenset([write_labels(labels)])
        gone, self._up = self._up - up, up
        yield from mark_ended(gone, timestamp_ms)
        if up:
            yield Request(SeriesBlock([*up]).write([float(is_up)], timestamp_ms), 1)


def _weigh(labels: bytes) -> int:
    return 3 * len(labels) + _SERIES_BYTES


def _chooser(indices: Sequence[int]) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """Return a function that picks items by index; it slices if the indices are consecutive."""
    first, last = indices[0], indices[-1]
    if len(indices) == last - first + 1:
        return itemgetter(slice(first, last + 1))
    return itemgetter(*indices)


class Tail(NamedTuple):
    """What follows a series on its line: value, timestamp and exemplar."""

    value: float
    timestamp_ms: int
    is_stamped: bool
    exemplar: bytes
    """Encoded as a field of the series; empty if there is none."""


def read_tail(tail: bytes, timestamp_ms: int, fmt: Format) -> Tail:
    """Read what follows a series on its line.

    Args:
        tail: from the value to the end of the line.
        timestamp_ms: the timestamp if the line has none.
        fmt: the format of the body.
    """
    front, has_more, _ = tail.partition(b"#")
    value, *rest = front.split()
    stamp = timestamp_ms
    if rest:
        is_seconds = fmt is Format.OPENMETRICS
        stamp = _milliseconds(rest[0], stamp) if is_seconds else _bounded(int(rest[0]), stamp)
    exemplar = _read_exemplar(tail, stamp) if has_more else b""
    return Tail(float(value), stamp, bool(rest), exemplar)


def _read_exemplar(tail: bytes, timestamp_ms: int) -> bytes:
    found = _EXEMPLAR.search(tail.strip())
    if found is None:
        return b""
    block, value, stamp = found.groups()
    labels = {name.decode(): unescape(text).decode() for name, text in _LABEL.findall(block)}
    moment = _milliseconds(stamp, timestamp_ms) if stamp else timestamp_ms
    return write_exemplar(labels, float(value), moment)


def _milliseconds(seconds: bytes, otherwise: int) -> int:
    moment = float(seconds) * 1000
    return _bounded(round(moment), otherwise) if math.isfinite(moment) else otherwise


def _bounded(moment: int, otherwise: int) -> int:
    """Return the timestamp, or `otherwise` if it is out of range."""
    return moment if abs(moment) < 1 << 62 else otherwise


def write_vector(
    series: Iterable[tuple[Mapping[str, str], float]], timestamp_ms: int
) -> tuple[list[Request], tuple[bytes, ...]]:
    """Write one value per series, all with one timestamp; return the requests and the labels.

    Args:
        series: labels and value; of series with equal labels the first is kept.
        timestamp_ms: Unix time.

    Raises:
        RuleError: the labels are too large in total.
    """
    values: dict[bytes, float] = {}
    room = MAX_MOMENT_BYTES
    for labels, value in series:
        text = write_labels(labels)
        room -= len(text)
        check_room(room)
        values.setdefault(text, value)
    requests: list[Request] = []
    for chunk in _chunks(values.items()):
        block = SeriesBlock([text for text, _ in chunk])
        body = block.write([value for _, value in chunk], timestamp_ms)
        requests.append(Request(body, len(chunk)))
    return requests, tuple(values)


def mark_ended(gone: Iterable[bytes], timestamp_ms: int) -> Iterator[Request]:
    """Write stale markers for series that have ended.

    Args:
        gone: labels of each series, as `write_labels` returns them.
        timestamp_ms: Unix time.
    """
    for chunk in _chunks((labels, None) for labels in sorted(gone)):
        block, stamps = SeriesBlock([labels for labels, _ in chunk]), [timestamp_ms] * len(chunk)
        yield Request(block.write_each([STALE] * len(chunk), stamps), len(chunk))


def check_room(left_bytes: int) -> None:
    """Check that the series of one timestamp fit the limit.

    Raises:
        RuleError: they do not.
    """
    if left_bytes < 0:
        bound = f"{MAX_MOMENT_BYTES >> 20} MiB"
        why = f"the labels of its series exceed {bound} at one time; send fewer series"
        raise RuleError("remoteWrite", why)


T = TypeVar("T")


def _chunks(series: Iterable[tuple[bytes, T]]) -> Iterator[list[tuple[bytes, T]]]:
    """Split series into one list per request, limited in number and total size."""
    chunk: list[tuple[bytes, T]] = []
    size = 0
    for labels, item in series:
        if len(chunk) == MAX_SERIES or (chunk and size + len(labels) > MAX_REQUEST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((labels, item))
        size += len(labels)
    if chunk:
        yield chunk
