import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.bounds import format_float, write_bounds
from tests.real_parts.oracle import Oracle


@given(value=st.floats())
def test_a_number_is_written_as_prometheus_reads_it(value: float, oracle: Oracle) -> None:
    body = f'# TYPE h histogram\nh_bucket{{le="{value!r}"}} 1\n'.encode()
    series = next(entry for entry in oracle.parse(body).entries if entry["kind"] == "series")

    assert dict(series["labels"])["le"] == format_float(value).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, b"1.0"), (0.0, b"0.0"), (123456.0, b"123456.0"), (1e6, b"1e+06"), (1e21, b"1e+21"),
     (1e-4, b"0.0001"), (1e-5, b"1e-05"), (math.inf, b"+Inf"), (0.25, b"0.25")],
)  # fmt: skip
def test_numbers_have_a_point_or_an_exponent(value: float, text: bytes) -> None:
    assert format_float(value) == text


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (b"histogram", b'h{le="1"}', b'h{le="1.0"}'),
        (b"histogram", b'h{a="b",le="+Inf",le2="1"}', b'h{a="b",le="+Inf",le2="1"}'),
        (b"histogram", b'h{quantile="1"}', b'h{quantile="1"}'),
        (b"summary", b'h{quantile="1"}', b'h{quantile="1.0"}'),
        (b"histogram", b'h{"le"="1"}', b'h{"le"="1.0"}'),
        (b"histogram", b'h{le="x"}', b'h{le="x"}'),
        (b"counter", b'h{le="1"}', b'h{le="1"}'),
    ],
)  # fmt: skip
def test_only_the_label_of_the_type_is_rewritten(kind: bytes, before: bytes, after: bytes) -> None:
    assert write_bounds(before, kind) == after
