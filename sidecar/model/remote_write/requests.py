"""One target's series as requests: worked out once for each shape of a body."""

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
"""What the interpreter holds for a series besides its labels, which are there thrice."""
MAX_SERIES = 1000
"""Of one request."""
MAX_REQUEST_BYTES = 1 << 20
"""Of the labels of its series, where there are several."""
MAX_MOMENT_BYTES = 16 << 20
"""Of the labels of all series that a collector has of one rule at one moment."""
_EXEMPLAR = re.compile(rb"# \{(.*)\} (\S+)(?: (\S+))?$")
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Request(NamedTuple):
    """One request to a receiver, not compressed yet."""

    body: bytes
    samples: int


class TargetRequests:
    """Writes one target's series under one rule.

    Args:
        rule: what is sent.
        identity: whose series they are.
        up_labels: labels of the target's `up`: those of its namespace.
    """

    def __init__(
        self, rule: SendingRule, identity: Identity, up_labels: Labels = NO_LABELS
    ) -> None:
        self.selector = Selector(rule, identity, write_labels, up_labels, weigh=_weigh)
        self._identity = identity
        self._seen: int | None = None
        """The fingerprint of the last body's shape."""
        self._choose: list[Callable[[Sequence[bytes]], Sequence[bytes]]] = []
        """Takes the values of each block out of those of the body."""
        self._blocks: list[SeriesBlock] = []
        self._sent: frozenset[bytes] = frozenset()
        """Labels of the series that were sent last, and would be missed."""
        self._up: frozenset[bytes] = frozenset()
        """Labels of the `up` that was sent last."""
        self.plans = 0
        """How often other series were chosen: what is sent then must not overtake."""

    @property
    def chooses(self) -> bool:
        """Whether any of the target's own series is sent."""
        return bool(self._blocks)

    @property
    def series(self) -> int:
        """That are sent each time."""
        return sum(map(len, self._blocks)) + len(self._up)

    def knows(self, shape: Shape) -> bool:
        """Tell whether it is known which series of a body are sent."""
        return self._seen == shape.fingerprint and self.selector.is_complete

    def write(
        self,
        reading: Reading | None,
        timestamp_ms: int,
        fmt: Format,
        budget: PlanBudget,
    ) -> Iterator[Request]:
        """Write what the target said; series that it no longer has are marked to have ended.

        Args:
            reading: its body; None where it did not answer.
            timestamp_ms: when it was scraped, as Unix time.
            fmt: of the body.
            budget: what looking at new series may take.
        """
        if reading is None:
            yield from self._forget(timestamp_ms)
        else:
            if not self.knows(reading.shape):
                yield from self._plan(reading.shape, timestamp_ms, budget)
            yield from self._write_values(reading.tails, timestamp_ms, fmt)
        yield from self._write_up(is_up=reading is not None, timestamp_ms=timestamp_ms)

    def use(self, rule: SendingRule, up_labels: Labels = NO_LABELS) -> None:
        """Send what another rule says; series that it does not choose will have ended."""
        self.selector = Selector(rule, self._identity, write_labels, up_labels, weigh=_weigh)
        self._seen = None
        self.plans += 1

    def end(self, timestamp_ms: int) -> Iterator[Request]:
        """Mark all series to have ended, the target's `up` with them: it will not be back."""
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
            labels.setdefault(written, index)  # of series with the same labels the first
        is_whole = self.selector.is_complete  # else series that were not looked at may still exist
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
                # A value and the end of its line is a number to Python, too.
                body = block.write(list(map(float, chosen)), timestamp_ms)
            except ValueError:
                body = self._write_each(block, chosen, timestamp_ms, fmt)
            yield Request(body, len(chosen))

    def _write_each(
        self, block: SeriesBlock, tails: Sequence[bytes], timestamp_ms: int, fmt: Format
    ) -> bytes:
        read = [read_tail(tail, timestamp_ms, fmt) for tail in tails]
        # As in Prometheus: what says when it was is not marked to have ended.
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
    """Return what takes items by their places: a slice where they follow one another."""
    first, last = indices[0], indices[-1]
    if len(indices) == last - first + 1:
        return itemgetter(slice(first, last + 1))
    return itemgetter(*indices)


class Tail(NamedTuple):
    """What stands behind a series: its value, when that was, and an exemplar."""

    value: float
    timestamp_ms: int
    is_stamped: bool
    exemplar: bytes
    """As a part of the series; empty for none."""


def read_tail(tail: bytes, timestamp_ms: int, fmt: Format) -> Tail:
    """Read what stands behind a series.

    Args:
        tail: up to the end of its line.
        timestamp_ms: the moment where it says none.
        fmt: of the body.
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
    """Return a moment that a sample may have, in place of one that is no time at all."""
    return moment if abs(moment) < 1 << 62 else otherwise


def write_vector(
    series: Iterable[tuple[Mapping[str, str], float]], timestamp_ms: int
) -> tuple[list[Request], tuple[bytes, ...]]:
    """Write series with a value of one moment each; returns their labels with the requests.

    Args:
        series: labels and value; of those with the same labels the first stays.
        timestamp_ms: Unix time.

    Raises:
        RuleError: they are too large.
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
    """Write that series have ended.

    Args:
        gone: labels of each, as `write_labels` gives them.
        timestamp_ms: Unix time.
    """
    for chunk in _chunks((labels, None) for labels in sorted(gone)):
        block, stamps = SeriesBlock([labels for labels, _ in chunk]), [timestamp_ms] * len(chunk)
        yield Request(block.write_each([STALE] * len(chunk), stamps), len(chunk))


def check_room(left_bytes: int) -> None:
    """Check whether there is room for the series of one moment.

    Raises:
        RuleError: there is none.
    """
    if left_bytes < 0:
        bound = f"{MAX_MOMENT_BYTES >> 20} MiB"
        why = f"its series with their labels are over {bound} at one moment; send fewer"
        raise RuleError("remoteWrite", why)


T = TypeVar("T")


def _chunks(series: Iterable[tuple[bytes, T]]) -> Iterator[list[tuple[bytes, T]]]:
    """Part series for requests: neither too many nor too large ones together."""
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
