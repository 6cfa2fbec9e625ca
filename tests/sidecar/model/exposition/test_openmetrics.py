import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ExpositionError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.openmetrics import openmetrics_to_text
from sidecar.model.exposition.parser import scan
from tests.real_parts.oracle import Oracle

BODY = b"""\
# HELP requests Requests served.
# TYPE requests counter
# UNIT requests_seconds seconds
requests_total{code="200"} 5 1.5 # {trace_id="a b"} 0.67 1520879607.789
requests_created{code="200"} 1520872607.123
# TYPE latency histogram
latency_bucket{le="+Inf"} 3 # {} 1
latency_sum 2
latency_count 3
# TYPE build info
build_info{version="1"} 1
# TYPE state stateset
state{state="a"} 1
# TYPE odd unknown
odd 1 -5
# EOF
"""


def test_a_whole_exposition_becomes_text() -> None:
    assert openmetrics_to_text(BODY).decode().splitlines() == [
        "# HELP requests_total Requests served.",
        "# TYPE requests_total counter",
        'requests_total{code="200"} 5 1500',
        'requests_created{code="200"} 1520872607.123',
        "# TYPE latency histogram",
        'latency_bucket{le="+Inf"} 3',
        "latency_sum 2",
        "latency_count 3",
        "# TYPE build_info gauge",
        'build_info{version="1"} 1',
        "# TYPE state gauge",
        'state{state="a"} 1',
        "# TYPE odd untyped",
    ]


def test_prometheus_reads_the_same_samples_from_it(oracle: Oracle) -> None:
    before, after = (
        [
            (entry["name"], entry["labels"], entry["value"])
            for entry in parsed.entries
            # `odd` is from 1969: text cannot express that, and Prometheus does not store it.
            if entry["kind"] == "series" and entry["name"] != "odd"
        ]
        for parsed in (
            oracle.parse(BODY, "openmetrics"),
            oracle.parse(openmetrics_to_text(BODY), "text"),
        )
    )
    assert before == after


@pytest.mark.parametrize("body", [b"", b"a 1\n", b"a  1\n# EOF\n"], ids=repr)
def test_what_is_no_openmetrics_is_refused(body: bytes) -> None:
    with pytest.raises(ExpositionError):
        openmetrics_to_text(body)


@given(
    st.sampled_from(["counter", "gauge", "summary", "info", "unknown", "gaugehistogram"]),
    st.text("abc# {}", max_size=8),
    st.one_of(st.none(), st.floats(0, 1e9)),
)
def test_every_result_is_text_that_can_be_read(kind: str, value: str, stamp: float | None) -> None:
    time = "" if stamp is None else f" {stamp:.3f}"
    body = f'# TYPE a {kind}\n# HELP a {value}\na{{b="{value}"}} 1{time}\n# EOF\n'
    converted = openmetrics_to_text(body.encode())
    assert len(list(scan(converted, Format.TEXT))) == 1
