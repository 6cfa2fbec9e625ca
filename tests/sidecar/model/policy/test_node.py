from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PolicyError
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import apply_keys
from sidecar.model.policy.node import NODE_KEYS, NodeChange, NodePolicy, parse_node_policy

_RULES = {"labelRules": {"prefix": "ns_"}}
_DROP = {"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"}
_LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"))
_KEYS = st.fixed_dictionaries(
    {"platform": st.sampled_from([{}, _RULES, {"metricRelabelings": [_DROP]}])},
    optional={
        "namespace/shop": _LABELS, "namespace/bank": _LABELS, "node/w": st.sampled_from("hi"),
    },
)  # fmt: skip


def _apply(
    before: dict[str, Any], after: dict[str, Any], last: NodeChange | None = None
) -> tuple[NodeChange, DocumentReader]:
    reader = DocumentReader(Origin.STREAM)
    return apply_keys(NODE_KEYS, last, before, after, reader=reader), reader


def _whole(keys: dict[str, Any]) -> NodePolicy:
    return _apply({}, keys)[0].policy


@given(st.lists(_KEYS, min_size=1, max_size=6))
def test_changes_by_key_end_where_the_whole_would(states: list[dict[str, Any]]) -> None:
    change, before = None, dict[str, Any]()
    for state in states:
        change = _apply(before, state, change)[0]
        before = state

    assert change is not None
    assert change.policy == _whole(before)


@given(_KEYS, _KEYS)
def test_namespaces_that_a_change_does_not_name_are_as_before(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    old = _apply({}, before)[0]
    change = _apply(before, after, old)[0]

    named = {"shop", "bank"} if change.namespaces is None else change.namespaces
    for name in {"shop", "bank"} - named:
        assert (change.policy.series.namespaces or {}).get(name) == (
            old.policy.series.namespaces or {}
        ).get(name)


def test_a_file_has_in_one_document_what_the_stream_sends_by_key() -> None:
    policy = parse_node_policy(
        {
            "labelRules": {"prefix": "ns_"},
            "namespaces": {"shop": {"te-am": "x"}},
            "nodes": {"w": "https://10.0.0.7:10250"},
            "endpointRelabelings": {"/metrics": [_DROP]},
        }
    )

    assert policy.series.namespaces == {"shop": {"ns_te_am": "x"}}
    assert policy.namespace_labels == {"shop": {"te-am": "x"}}
    assert policy.nodes == {"w": "https://10.0.0.7:10250"}
    assert len(policy.endpoint_relabelings["/metrics"]) == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a policy must be a mapping, not a list"),
        ({}, "namespaces: must be set"),
        ({"schema": 9, "namespaces": {}}, "policy schema 9 is newer"),
        ({"namespaces": {}, "labels": {}}, "labels: not a field of a policy"),
        ({"namespaces": {"a": {"b": 1}}}, "namespaces.a.b: a string is needed, not 1"),
        ({"namespaces": {}, "nodes": {"w": 1}}, "nodes.w: a string is needed"),
        ({"namespaces": {}, "metricRelabelings": 1}, "metricRelabelings: "),
        ({"namespaces": {}, "endpointRelabelings": {"/metrics": [{}]}}, "endpointRelabelings./m"),
        ({"namespaces": {"a": {"b": "\ud800"}}}, "namespace/a: a string is not valid Unicode"),
    ],
)
def test_a_malformed_file_is_refused_by_field(document: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_node_policy(document)

    assert message in str(caught.value)


def test_keys_and_fields_of_a_newer_service_are_ignored_and_noted() -> None:
    keys = {"platform": {"labelRules": {"suffix": "_x"}, "quota": 1}, "sending/shop/a": {}}

    change, reader = _apply({}, {**keys, "namespace/shop": {"team": "x"}})

    assert change.policy.series.namespaces == {"shop": {"team": "x"}}
    assert sorted(reader.ignored) == ["labelRules.suffix", "quota", "sending/shop/a"]
    assert reader.problems == []


def test_rules_that_cannot_be_read_leave_the_last_good_ones_and_labels_go_on() -> None:
    before = {
        "platform": {"metricRelabelings": [_DROP], "endpointRelabelings": {"/metrics": [_DROP]}}
    }
    new = [{"action": "from-the-future"}]
    after = {
        "platform": {"metricRelabelings": new, "endpointRelabelings": {"/metrics": new}},
        "namespace/shop": {"team": "x"},
    }
    old = _apply({}, before)[0]

    change, reader = _apply(before, after, old)

    assert change.policy.series.relabelings == old.policy.series.relabelings
    assert change.policy.endpoint_relabelings == old.policy.endpoint_relabelings
    assert change.policy.series.namespaces == {"shop": {"team": "x"}}
    assert [text.partition(".action")[0] for text in reader.problems] == [
        "metricRelabelings[0]", "endpointRelabelings./metrics[0]",
    ]  # fmt: skip


def test_a_first_policy_whose_rules_cannot_be_read_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"metricRelabelings\[0\]\.action"):
        _apply({}, {"platform": {"metricRelabelings": [{"action": "from-the-future"}]}})


def test_a_namespace_that_cannot_be_read_keeps_its_labels() -> None:
    before = {"platform": {}, "namespace/shop": {"team": "x"}, "namespace/bank": {"team": "y"}}
    after = {**before, "namespace/shop": {"team": 7}, "namespace/bank": {"team": "z"}}

    change, reader = _apply(before, after, _apply({}, before)[0])

    assert change.policy.series.namespaces == {"shop": {"team": "x"}, "bank": {"team": "z"}}
    assert reader.problems == ["namespaces.shop.team: a string is needed, not 7"]


def test_keys_without_the_platforms_part_are_no_policy() -> None:
    with pytest.raises(PolicyError, match="platform: the key is missing"):
        _apply({}, {"namespace/shop": {}})


@pytest.mark.parametrize(
    ("platform", "problem"),
    [
        ({"labelRules": {"protected": {}}}, "labelRules.protected: "),
        ({"labelRules": []}, "labelRules: "),
        ({"endpointRelabelings": []}, "endpointRelabelings: "),
        ({"metricRelabelings": [{"regex": "\ud800"}]}, "metricRelabelings: "),
        (None, "platform: a policy must be a mapping"),
        ([], "platform: a policy must be a mapping"),
    ],
)
def test_a_platform_that_cannot_be_read_stops_no_label(platform: object, problem: str) -> None:
    rules = {"labelRules": {"prefix": "ns_"}, "endpointRelabelings": {"/metrics": [_DROP]}}
    before: dict[str, Any] = {"platform": rules, "namespace/shop": {"team": "old"}}
    old = _apply({}, before)[0]
    whole = {**rules, **platform} if isinstance(platform, dict) else platform

    change, reader = _apply(before, {"platform": whole, "namespace/shop": {"team": "new"}}, old)

    assert change.policy.series.naming == old.policy.series.naming
    assert change.policy.endpoint_relabelings == old.policy.endpoint_relabelings
    assert change.policy.series.namespaces == {"shop": {"ns_team": "new"}}
    assert change.unread == {"platform"}
    (note,) = reader.problems
    assert note.startswith(problem)


@pytest.mark.parametrize("name", ["\ud800", "shop\udfff"])
def test_a_namespace_whose_name_is_not_unicode_changes_no_labels(name: str) -> None:
    before: dict[str, Any] = {"platform": {}, "namespace/shop": {"team": "old"}}
    after = {**before, f"namespace/{name}": {"a": "b"}, "namespace/shop": {"team": "new"}}

    change, _ = _apply(before, after, _apply({}, before)[0])

    assert change.namespaces == frozenset(["shop"])
    assert change.policy.namespace_labels == {"shop": {"team": "new"}}


@pytest.mark.parametrize("key", ["shop", "quota/shop", "node/shop"])
def test_a_key_that_goes_takes_only_its_own_value_along(key: str) -> None:
    before: dict[str, Any] = {"platform": {}, "namespace/shop": {"team": "x"}, key: "y"}
    after = {name: value for name, value in before.items() if name != key}

    change, _ = _apply(before, after, _apply({}, before)[0])

    assert change.policy.namespace_labels == {"shop": {"team": "x"}}


def test_what_is_ignored_is_noted_as_long_as_it_stands() -> None:
    first: dict[str, Any] = {"platform": {"sampling": 1}, "quota/shop": 7}
    second = {**first, "namespace/shop": {"team": "x"}}
    third = {"platform": {}, "namespace/shop": {"team": "x"}}

    change = _apply({}, first)[0]
    assert change.ignored == {"platform": ("sampling",), "quota/shop": ("quota/shop",)}
    change = _apply(first, second, change)[0]
    assert change.ignored == {"platform": ("sampling",), "quota/shop": ("quota/shop",)}
    assert _apply(second, third, change)[0].ignored == {}
