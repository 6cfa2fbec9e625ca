"""Encodes a WriteRequest field by field; the parts that stay the same are encoded once.

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
"""Prometheus's normal NaN; other NaN values could be taken for the stale marker."""
STALE = struct.pack("<Q", 0x7FF0000000000002)
"""Prometheus's stale marker: the series has ended."""
_MIN_PLAIN, _MAX_PLAIN = 1 << 35, (1 << 42) - 1
"""Timestamps in milliseconds whose varint takes six bytes: 1971 to 2109."""
_SAMPLE = b"\x12\x10\x09"
"""The start of a sample of 16 bytes; its value follows."""
_SAMPLE_BYTES = 18
"""Size of such a sample as a field of its series."""


class MetricType(IntEnum):
    """Metric types, as numbered in the metadata."""

    UNKNOWN = 0
    COUNTER = 1
    GAUGE = 2
    HISTOGRAM = 3
    GAUGEHISTOGRAM = 4
    SUMMARY = 5
    INFO = 6
    STATESET = 7


class Metadata(NamedTuple):
    """The metadata of a metric family."""

    family: str
    kind: MetricType
    help: str


def write_labels(labels: Mapping[str, str]) -> bytes:
    """Write the labels of a series, sorted by name as receivers require."""
    parts = []
    for name, value in sorted(labels.items()):
        label = _text(b"\x0a", name) + _text(b"\x12", value)
        parts.append(b"\x0a" + write_varint(len(label)) + label)
    return b"".join(parts)


def write_metadata(metadata: Iterable[Metadata], limit_bytes: int) -> bytes:
    """Write a request's metadata, as much as fits the limit."""
    parts = []
    for family, kind, text in metadata:
        limit_bytes -= len(family) + len(text)
        if limit_bytes < 0:
            break
        item = b"\x08" + write_varint(kind) + _text(b"\x12", family) + _text(b"\x22", text)
        parts.append(b"\x1a" + write_varint(len(item)) + item)
    return b"".join(parts)


def write_varint(number: int) -> bytes:
    """Write a 64-bit integer as a varint; a negative one takes ten bytes."""
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
    """Write an exemplar, as a field of its series."""
    body = write_labels(labels) + b"\x11" + write_value(value)
    body += b"\x18" + write_varint(timestamp_ms)
    return b"\x1a" + write_varint(len(body)) + body


class SeriesBlock:
    """Series that are sent repeatedly, with new values.

    Args:
        labels: the labels of each series, as `write_labels` returns them.
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
        """Write one sample of each series, all with the same timestamp.

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
        if total != total:  # a value is NaN, or +Inf met -Inf
            for index, value in enumerate(values):
                if value != value:
                    parts[3 * index + 1] = NAN
        return b"".join(parts)

    def write_each(
        self, values: Iterable[bytes], timestamps_ms: Sequence[int], exemplars: Sequence[bytes] = ()
    ) -> bytes:
        """Write one sample of each series, each with its own timestamp.

        Args:
            values: as `write_value` returns them, or `STALE`.
            timestamps_ms: the Unix time of each sample.
            exemplars: one per series, from `write_exemplar` or empty; or none at all.
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
