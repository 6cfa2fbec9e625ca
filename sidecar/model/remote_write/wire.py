"""A WriteRequest, written field by field: what is the same each time is written once.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and `prompb/remote.proto`:

  WriteRequest  1 timeseries, 3 metadata
  TimeSeries    1 labels, 2 samples, 3 exemplars
  Label         1 name, 2 value
  Sample        1 value (double), 2 timestamp (int64, milliseconds)
  Exemplar      1 labels, 2 value, 3 timestamp
  Metadata      1 type, 2 metric family, 4 help
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

NAN = struct.pack("<Q", 0x7FF8000000000001)
"""Prometheus' own value that is no number; others could be taken for a marker."""
STALE = struct.pack("<Q", 0x7FF0000000000002)
"""Marks that a series has ended."""
_MIN_PLAIN, _MAX_PLAIN = 1 << 35, (1 << 42) - 1
"""Milliseconds that take six bytes: 1971 to 2109."""
_SAMPLE = b"\x12\x10\x09"
"""A sample of 16 bytes, whose value follows."""
_SAMPLE_BYTES = 18
"""Such a sample as a field of its series."""


class MetricType(IntEnum):
    """Types as metadata names them."""

    UNKNOWN = 0
    COUNTER = 1
    GAUGE = 2
    HISTOGRAM = 3
    GAUGEHISTOGRAM = 4
    SUMMARY = 5
    INFO = 6
    STATESET = 7


class Metadata(NamedTuple):
    """What is said of a family."""

    family: str
    kind: MetricType
    help: str


def write_labels(labels: Mapping[str, str]) -> bytes:
    """Write the labels of a series, sorted by name as receivers need them."""
    parts = []
    for name, value in sorted(labels.items()):
        label = _text(b"\x0a", name) + _text(b"\x12", value)
        parts.append(b"\x0a" + write_varint(len(label)) + label)
    return b"".join(parts)


def write_metadata(metadata: Iterable[Metadata], limit_bytes: int) -> bytes:
    """Write a request's metadata, as many as there is room for."""
    parts = []
    for family, kind, text in metadata:
        limit_bytes -= len(family) + len(text)
        if limit_bytes < 0:
            break
        item = b"\x08" + write_varint(kind) + _text(b"\x12", family) + _text(b"\x22", text)
        parts.append(b"\x1a" + write_varint(len(item)) + item)
    return b"".join(parts)


def write_varint(number: int) -> bytes:
    """Write a whole number of 64 bits; a negative one takes ten bytes."""
    number &= (1 << 64) - 1
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def write_value(value: float) -> bytes:
    """Write a sample's value."""
    return NAN if value != value else struct.pack("<d", value)


def write_exemplar(labels: Mapping[str, str], value: float, timestamp_ms: int) -> bytes:
    """Write an exemplar, as a part of its series."""
    body = write_labels(labels) + b"\x11" + write_value(value)
    body += b"\x18" + write_varint(timestamp_ms)
    return b"\x1a" + write_varint(len(body)) + body


class SeriesBlock:
    """Series that are sent again and again, with new values.

    Args:
        labels: of each series, as `write_labels` gives them.
    """

    def __init__(self, labels: Sequence[bytes]) -> None:
        self.labels = tuple(labels)
        self._heads = [
            b"\x0a" + write_varint(len(item) + _SAMPLE_BYTES) + item + _SAMPLE for item in labels
        ]
        self._pack = struct.Struct(f"<{len(labels)}d").pack
        self._split = struct.Struct("8s" * len(labels)).unpack

    def __len__(self) -> int:
        return len(self.labels)

    def write(self, values: Sequence[float], timestamp_ms: int) -> bytes:
        """Write a sample of each series, all of one moment.

        Args:
            values: one for each series, in their order.
            timestamp_ms: Unix time.
        """
        if not _MIN_PLAIN <= timestamp_ms <= _MAX_PLAIN:
            return self.write_each(map(write_value, values), [timestamp_ms] * len(values))
        parts = [b""] * (3 * len(values))
        parts[0::3] = self._heads
        parts[1::3] = self._split(self._pack(*values))
        parts[2::3] = [b"\x10" + write_varint(timestamp_ms)] * len(values)
        total = sum(values)
        if total != total:  # so is one of them, or infinities met
            for index, value in enumerate(values):
                if value != value:
                    parts[3 * index + 1] = NAN
        return b"".join(parts)

    def write_each(
        self, values: Iterable[bytes], timestamps_ms: Sequence[int], exemplars: Sequence[bytes] = ()
    ) -> bytes:
        """Write a sample of each series, each of its own moment.

        Args:
            values: as `write_value` gives them, or `STALE`.
            timestamps_ms: Unix time, of each.
            exemplars: as `write_exemplar` gives them, empty for none; of each, or of no series.
        """
        behind = exemplars or [b""] * len(self.labels)
        parts = []
        for labels, value, stamp, exemplar in zip(
            self.labels, values, timestamps_ms, behind, strict=True
        ):
            sample = b"\x09" + value + b"\x10" + write_varint(stamp)
            series = labels + b"\x12" + write_varint(len(sample)) + sample + exemplar
            parts.append(b"\x0a" + write_varint(len(series)) + series)
        return b"".join(parts)


def _text(tag: bytes, text: str) -> bytes:
    encoded = text.encode(errors="replace")
    return tag + write_varint(len(encoded)) + encoded
