"""Label selectors, as Kubernetes evaluates them."""

import pytest

from injector.errors import ObjectError
from injector.model.cluster.selectors import selects, selects_namespace

LABELS = {"app": "web", "tier": ""}


@pytest.mark.parametrize(
    ("selector", "is_taken"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Sounds"}]}, False),
        ({"matchLabels": {"app": "web"},
          "matchExpressions": [{"key": "no", "operator": "Exists"}]}, False),
    ],
)  # fmt: skip
def test_a_selector_takes_what_all_its_parts_take(
    selector: dict[str, object], is_taken: bool
) -> None:
    assert selects(selector, LABELS) is is_taken


@pytest.mark.parametrize("selector", [{"matchLabels": []}, {"matchExpressions": {}}])
def test_what_is_no_selector_is_an_error(selector: dict[str, object]) -> None:
    with pytest.raises(ObjectError):
        selects(selector, LABELS)


@pytest.mark.parametrize(
    ("spec", "is_taken"),
    [
        ({}, False),
        ({"namespaceSelector": {"any": True}}, True),
        ({"namespaceSelector": {"matchNames": ["shop", "bank"]}}, True),
        ({"namespaceSelector": {"matchNames": ["bank"]}}, False),
    ],
)
def test_a_monitor_looks_into_its_own_namespace_unless_it_says_otherwise(
    spec: dict[str, object], is_taken: bool
) -> None:
    assert selects_namespace(spec, "monitoring", "shop") is is_taken
    assert selects_namespace({}, "shop", "shop")
