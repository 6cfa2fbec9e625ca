import pytest

from sidecar.errors import SettingsError
from sidecar.model.exposition.limits import LIMITS, NODE_LIMITS, Limits

_SETTABLE = {limit.name: limit for limit in LIMITS}


def test_the_limits_of_a_target_are_those_of_a_pod_by_default() -> None:
    assert Limits() == (50_000, 1_024, 16 << 20, 24 << 20)


@pytest.mark.parametrize("field", ["samples", "cache_bytes", "lines_bytes"])
def test_a_node_may_expose_more_than_a_pod(field: str) -> None:
    assert getattr(NODE_LIMITS, field) > getattr(Limits(), field)


def test_a_series_may_have_as_many_labels_on_a_node_as_in_a_pod() -> None:
    assert NODE_LIMITS.labels == Limits().labels


def test_five_hundred_pods_fit_into_a_node() -> None:
    assert NODE_LIMITS.samples >= 63_000
    assert NODE_LIMITS.cache_bytes >= 28 << 20


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("samples", "200000", 200_000), ("labels", " 2 ", 2), ("bytes", "64Mi", 64 << 20),
        ("bytes", "1024", 1024), ("bytes", "20000Ki", 20_000 << 10),
    ],
)  # fmt: skip
def test_a_bound_is_a_number_and_of_bytes_may_have_a_unit(name: str, text: str, value: int) -> None:
    assert _SETTABLE[name].parse(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("samples", "0"), ("samples", "-1"), ("samples", "1e5"), ("samples", "200Ki"),
        ("samples", "2000001"), ("bytes", "64MB"), ("bytes", "1Gi"), ("bytes", ""),
        ("labels", "\u0663"), ("labels", "1" * 5000),
    ],
)  # fmt: skip
def test_any_other_bound_is_refused_in_a_short_sentence(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _SETTABLE[name].parse(text)
    assert len(str(caught.value)) < 120
