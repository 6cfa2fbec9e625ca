from typing import Any

import pytest

from sidecar.errors import PolicyError
from sidecar.model.policy.aggregate import (
    AGGREGATE_KEYS,
    AggregateChange,
    parse_aggregate_policy,
)
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import apply_keys

_POD = {
    "metadata": {"namespace": "shop", "name": "web-0", "uid": "u"},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}]},
}


def _apply(
    keys: dict[str, Any], last: AggregateChange | None = None, before: Any = None
) -> tuple[AggregateChange, DocumentReader]:
    reader = DocumentReader(Origin.STREAM)
    change = apply_keys(AGGREGATE_KEYS, last, before or {}, keys, reader=reader)
    return change, reader


def test_pods_stand_by_namespace_and_uid() -> None:
    change, _ = _apply({"platform": {}, "pod/shop/u": _POD, "namespace/shop": {"team": "a"}})

    assert change.policy.pods["shop/u"].addresses == ("10.0.0.7",)
    assert change.policy.series.namespaces == {"shop": {"team": "a"}}
    assert change.policy.granted == ("*",)


def test_the_platform_says_whose_pods_are_granted() -> None:
    change, reader = _apply({"platform": {"granted": ["shop"]}})

    assert change.policy.granted == ("shop",)
    assert reader.ignored == []


def test_a_pod_that_cannot_be_read_is_left_out_and_named_and_the_others_go_on() -> None:
    bad = {**_POD, "status": {"podIPs": [{"ip": "x"}]}}
    change, reader = _apply({"platform": {}, "pod/shop/u": _POD, "pod/shop/v": bad})

    assert set(change.policy.pods) == {"shop/u"}
    assert reader.problems == ["pod/shop/v: status.podIPs: 'x' is not an IP address"]


def test_a_pod_goes_with_its_key_and_no_label_changes() -> None:
    keys = {"platform": {}, "pod/shop/u": _POD, "namespace/shop": {"team": "a"}}
    first, _ = _apply(keys)
    after = {key: value for key, value in keys.items() if not key.startswith("pod/")}
    second, _ = _apply(after, first, keys)

    assert second.policy.pods == {}
    assert second.namespaces == frozenset()


def test_rules_that_cannot_be_read_leave_the_last_ones() -> None:
    good = {"platform": {"metricRelabelings": [{"action": "labeldrop", "regex": "x"}]}}
    first, _ = _apply(good)
    second, reader = _apply({"platform": {"metricRelabelings": [{"action": "?"}]}}, first, good)

    assert second.policy.series.relabelings == first.policy.series.relabelings
    assert reader.problems


def test_a_file_has_labels_and_rules() -> None:
    change = parse_aggregate_policy(
        {"namespaces": {"shop": {"team": "a"}}, "labelRules": {"prefix": "ns_"}}
    )

    assert change.policy.series.namespaces == {"shop": {"ns_team": "a"}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"pods": {}}, "pods: not a field of a policy"),
        ({"namespaces": {"shop": {"team": 1}}}, "namespaces.shop.team: a string is needed"),
        ({"namespaces": []}, "namespaces: a mapping is needed"),
        ([], "a policy must be a mapping"),
    ],
)
def test_a_files_mistake_is_named(document: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_aggregate_policy(document)
