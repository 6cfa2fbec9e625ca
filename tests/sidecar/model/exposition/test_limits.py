import pytest

from sidecar.model.exposition.limits import NODE_LIMITS, Limits


def test_the_limits_of_a_target_are_those_of_a_pod_by_default() -> None:
    assert Limits() == (50_000, 64, 16 << 20, 24 << 20)


@pytest.mark.parametrize("field", ["samples", "cache_bytes", "lines_bytes"])
def test_a_node_may_expose_more_than_a_pod(field: str) -> None:
    assert getattr(NODE_LIMITS, field) > getattr(Limits(), field)


def test_a_series_may_have_as_many_labels_on_a_node_as_in_a_pod() -> None:
    assert NODE_LIMITS.labels == Limits().labels


def test_five_hundred_pods_fit_into_a_node() -> None:
    assert NODE_LIMITS.samples >= 63_000
    assert NODE_LIMITS.cache_bytes >= 28 << 20
