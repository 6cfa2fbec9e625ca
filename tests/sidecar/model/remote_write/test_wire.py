import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.remote_write.wire import (
    NAN,
    STALE,
    Metadata,
    MetricType,
    SeriesBlock,
    write_labels,
    write_metadata,
    write_value,
    write_varint,
)

_STAMPS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(1 << 35, 1 << 42)


def read_message(data: bytes) -> dict[int, list[Any]]:
    """Read the fields of a message by their numbers: integers, eight bytes, or bytes."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            value: Any = varint()
        else:
            size = 8 if kind == 1 else varint()
            value = data[at : at + size]
            assert len(value) == size
            at += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def read_series(request: bytes) -> list[tuple[dict[str, str], bytes, int]]:
    """Read the series of a request: labels, the value's bytes, the timestamp."""
    found = []
    for series in read_message(request).get(1, []):
        fields = read_message(series)
        pairs = [read_message(label) for label in fields.get(1, [])]
        labels = {pair[1][0].decode(): pair[2][0].decode() for pair in pairs}
        assert list(labels) == sorted(labels)
        (sample,) = map(read_message, fields[2])
        (stamp,) = struct.unpack("<q", struct.pack("<Q", sample[2][0]))
        found.append((labels, sample[1][0], stamp))
    return found


@given(
    st.lists(st.tuples(st.dictionaries(st.text(), st.text(), max_size=4), st.floats()), max_size=5),
    _STAMPS,
)
def test_what_is_written_is_read_back(
    series: list[tuple[dict[str, str], float]], stamp: int
) -> None:
    block = SeriesBlock([write_labels(labels) for labels, _ in series])
    values = [value for _, value in series]
    read = read_series(block.write(values, stamp))

    assert len(block) == len(read) == len(series)
    for (labels, value), (found, written, moment) in zip(series, read, strict=True):
        sane = {name.encode(errors="replace").decode(): text.encode(errors="replace").decode()
                for name, text in labels.items()}  # fmt: skip
        assert (found, moment) == (sane, stamp)
        assert written == (NAN if math.isnan(value) else struct.pack("<d", value))


@given(st.lists(_STAMPS, max_size=5))
def test_each_sample_may_have_its_own_moment(stamps: list[int]) -> None:
    block = SeriesBlock([write_labels({"n": str(number)}) for number in range(len(stamps))])
    read = read_series(block.write_each([STALE] * len(stamps), stamps))

    assert [(value, stamp) for _, value, stamp in read] == [(STALE, stamp) for stamp in stamps]


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (-1, b"\xff" * 9 + b"\1")],
)
def test_numbers_take_seven_bits_a_byte(number: int, written: bytes) -> None:
    assert write_varint(number) == written


def test_a_value_that_is_no_number_is_not_taken_for_a_marker() -> None:
    other = struct.unpack("<d", STALE)[0]

    assert write_value(other) == NAN != STALE
    block = SeriesBlock([write_labels({"a": "b"})])
    assert STALE not in block.write([other], 1 << 40)


def test_metadata_names_a_family_its_type_and_help() -> None:
    written = write_metadata([Metadata("http_requests", MetricType.COUNTER, "Requests.")], 100)
    (item,) = map(read_message, read_message(written)[3])

    assert item == {1: [1], 2: [b"http_requests"], 4: [b"Requests."]}
