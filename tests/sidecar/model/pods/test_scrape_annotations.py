import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.pods.scrape_annotations import read_scrape_annotations

_SPELLINGS = [
    f"prometheus{first}io{second}{name}"
    for first in ".-_/"
    for second in ".-_/"
    for name in ("scrape", "port", "path", "scheme")
]


@pytest.mark.parametrize("key", _SPELLINGS)
def test_every_spelling_is_understood(key: str) -> None:
    read = read_scrape_annotations({key: "v"})

    assert list(read.values.values()) == ["v"]
    assert read.keys == (key,)
    assert key.endswith(next(iter(read.values)))


@pytest.mark.parametrize(
    "key",
    ["prometheus.io/portal", "prometheus.io/probe", "my.prometheus.io/port", "prometheusio/port",
     "Prometheus.io/port", "prometheus.io/Port", "prometheus.io/port/", "prometheus.io", "port",
     "prometheusXio/port", "prometheus..io/port"],
)  # fmt: skip
def test_other_keys_mean_nothing(key: str) -> None:
    assert read_scrape_annotations({key: "v"}) == ({}, (), (), False)


def test_of_two_that_differ_the_canonical_one_counts_with_a_warning() -> None:
    read = read_scrape_annotations({"prometheus-io/port": "1", "prometheus.io/port": "2"})

    assert read.values == {"port": "2"}
    assert [warning.text for warning in read.warnings] == [
        "annotations prometheus.io/port and prometheus-io/port differ; prometheus.io/port is used"
    ]


def test_without_a_canonical_one_the_smallest_key_counts() -> None:
    read = read_scrape_annotations({"prometheus_io_port": "1", "prometheus-io-port": "2"})

    assert read.values == {"port": "2"}
    assert [warning.fault for warning in read.warnings] == ["two-spellings"]


def test_two_that_agree_are_no_warning() -> None:
    annotations = {"prometheus.io/port": "1", "prometheus-io/port": "1"}

    assert read_scrape_annotations(annotations).warnings == ()


@given(st.dictionaries(st.sampled_from(_SPELLINGS), st.sampled_from("ab"), min_size=1))
def test_the_order_of_annotations_decides_nothing(annotations: dict[str, str]) -> None:
    turned = dict(reversed(annotations.items()))

    assert read_scrape_annotations(turned) == read_scrape_annotations(annotations)
