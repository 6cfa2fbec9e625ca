"""Behavior of every keyed policy; `test_node.py` tests more, with the node's keys."""

from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import KeyedPolicy, apply_keys
from sidecar.model.policy.node import NODE_KEYS


def test_the_default_has_no_namespace_and_changes_nothing() -> None:
    policy = KeyedPolicy()

    assert policy.series.namespaces == {}
    assert (policy.series.labels, policy.series.relabelings) == ({}, ())


def test_where_no_label_changed_the_series_policy_stays_the_same_object() -> None:
    keys = {"platform": {}, "namespace/shop": {"team": "a"}}
    reader = DocumentReader(Origin.STREAM)
    first = apply_keys(NODE_KEYS, None, {}, keys, reader=reader)

    second = apply_keys(NODE_KEYS, first, keys, {**keys, "node/w": "h"}, reader=reader)

    assert second.policy.series is first.policy.series
    assert second.namespaces == frozenset()
