from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import RuleError
from sidecar.model.access.rules import MAX_PATTERNS, AccessRule, Identity, admit, parse_access_rules

Labels = dict[str, str]

_ME = Identity(namespace="blue", pod="p-1", container="c", job="j", instance="i:1")


def _rules(*objects: dict[str, Any]) -> tuple[AccessRule, ...]:
    named = [{"name": str(i), "namespaces": ["blue"], **item} for i, item in enumerate(objects)]
    return parse_access_rules(named, "access")


def _admit(labels: Labels, *objects: dict[str, Any], me: Identity = _ME) -> Labels | None:
    return admit({"__name__": "a", **labels}, _rules(*objects), me)


def test_a_series_that_a_pattern_names_is_let_through_as_it_is() -> None:
    assert _admit({"x": "1"}, {"patterns": ["a"]}) == {"__name__": "a", "x": "1"}


def test_no_rule_lets_nothing_through() -> None:
    assert _admit({}) is None
    assert _admit({}, {"patterns": []}) is None
    assert _admit({}, {"patterns": ["b"]}) is None


def test_a_rule_without_namespaces_reads_none() -> None:
    assert _admit({}, {"patterns": ["a"], "namespaces": None}) is None
    assert _admit({}, {"patterns": ["a"], "namespaces": []}) is None


@pytest.mark.parametrize(
    ("namespaces", "is_let"), [("*", True), (["green", "blue"], True), (["green"], False)]
)
def test_a_rule_reads_where_the_platform_says(namespaces: object, is_let: bool) -> None:
    assert (_admit({}, {"patterns": ["a"], "namespaces": namespaces}) is not None) is is_let


def test_a_series_cannot_claim_to_be_of_another_namespace() -> None:
    assert _admit({"namespace": "green"}, {"patterns": ["a"], "namespaces": ["green"]}) is None
    assert _admit({"namespace": "green"}, {"patterns": ['a{namespace="green"}']}) is None


def test_a_claimed_namespace_stays_on_the_series_that_is_let_through() -> None:
    claimed = {"namespace": "green"}

    assert _admit(claimed, {"patterns": ["a"]}) == {"__name__": "a", "namespace": "green"}


def test_without_an_identity_a_claimed_namespace_counts_for_nothing() -> None:
    rule = {"patterns": ["a"], "namespaces": ["green"]}

    assert _admit({"namespace": "green"}, rule, me=Identity()) is None


@pytest.mark.parametrize(
    "pattern",
    ['a{pod="p-1"}', 'a{container="c"}', '{job="j"}', 'a{instance=~"i:.*"}', 'a{namespace="blue"}'],
)
def test_virtual_labels_are_seen_and_never_exposed(pattern: str) -> None:
    assert _admit({}, {"patterns": [pattern]}) == {"__name__": "a"}


def test_a_series_own_label_stands_before_the_virtual_one() -> None:
    assert _admit({"pod": "other"}, {"patterns": ['a{pod="p-1"}']}) is None
    assert _admit({"pod": "other"}, {"patterns": ['a{pod="other"}']}) is not None


def test_label_selectors_narrow_every_pattern() -> None:
    rule = {"patterns": ["a", "b"], "labelSelectors": {"x": "1"}}

    assert _admit({"x": "1"}, rule) is not None
    assert _admit({"x": "2"}, rule) is None
    assert _admit({}, rule) is None


def test_rules_are_a_union_and_the_first_by_name_relabels() -> None:
    first = {
        "name": "1",
        "patterns": ["a"],
        "metricRelabelings": [{"targetLabel": "by", "replacement": "1"}],
    }
    second = {
        "name": "0",
        "patterns": ["a"],
        "metricRelabelings": [{"targetLabel": "by", "replacement": "0"}],
    }

    assert _admit({}, first, second) == {"__name__": "a", "by": "0"}


def test_a_rule_whose_relabelings_drop_leaves_the_series_to_the_next() -> None:
    dropping = {"patterns": ["a"], "metricRelabelings": [{"action": "drop", "regex": ".*"}]}

    assert _admit({}, dropping) is None
    assert _admit({}, dropping, {"patterns": ["a"]}) == {"__name__": "a"}


def test_relabelings_may_copy_a_virtual_label_to_a_name_of_their_own() -> None:
    copy = {"sourceLabels": ["pod"], "targetLabel": "from_pod"}

    assert _admit({}, {"patterns": ["a"], "metricRelabelings": [copy]}) == {
        "__name__": "a",
        "from_pod": "p-1",
    }


def test_relabelings_may_remove_a_label() -> None:
    drop = {"action": "labeldrop", "regex": "x"}

    assert _admit({"x": "1"}, {"patterns": ["a"], "metricRelabelings": [drop]}) == {"__name__": "a"}


@given(
    labels=st.dictionaries(st.sampled_from(["namespace", "pod", "job", "x"]), st.text(min_size=1))
)
def test_what_is_let_through_without_relabelings_is_unchanged(labels: Labels) -> None:
    assert _admit(labels, {"patterns": [".*"]}) == {"__name__": "a", **labels}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({}, "access"),
        (["x"], "access[0]"),
        ([{"foo": 1}], "access[0].foo"),
        ([{1: 1, "foo": 1}], "access[0].1"),
        ([{"patterns": "a"}], "access[0].patterns"),
        ([{"patterns": ["a"] * (MAX_PATTERNS + 1)}], "access[0].patterns"),
        ([{"patterns": ["a", "("]}], "access[0].patterns[1]"),
        ([{"patterns": [1]}], "access[0].patterns[0]"),
        ([{"labelSelectors": {"a": 1}}], "access[0].labelSelectors.a"),
        ([{"labelSelectors": []}], "access[0].labelSelectors"),
        ([{"namespaces": "blue"}], "access[0].namespaces"),
        ([{"namespaces": [1]}], "access[0].namespaces"),
        ([{}, {"metricRelabelings": [{}]}], "access[1].metricRelabelings[0].target_label"),
    ],
)
def test_an_error_names_the_field(value: object, field: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_access_rules(value, "access")

    assert caught.value.field == field
