import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PolicyError
from sidecar.model.policy.document import SCHEMA, Policy, encode, parse_policy, policy_version

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_an_empty_document_changes_nothing() -> None:
    assert parse_policy({}) == Policy()


def test_labels_are_named_by_the_rules() -> None:
    policy = parse_policy(
        {
            "namespace": "blue",
            "labels": {"te-am": "x", "cost": "7"},
            "labelRules": {"prefix": "ns_", "rename": {"cost": "price"}, "protected": ["team"]},
            "namespaces": {"green": {"te-am": "y"}},
        }
    )

    assert policy.labels == {"ns_te_am": "x", "price": "7"}
    assert policy.namespaces == {"green": {"ns_te_am": "y"}}
    assert policy.protected == {"team"}


def test_a_label_that_the_injector_selected_is_not_excluded_again() -> None:
    assert parse_policy({"labels": {"app.kubernetes.io/name": "x"}}).labels == {
        "app_kubernetes_io_name": "x"
    }


def test_access_rules_that_have_not_arrived_differ_from_none() -> None:
    assert parse_policy({}).access is None
    assert parse_policy({"access": []}).access == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a policy is a mapping"),
        ({"schema": SCHEMA + 1}, "policy schema 2 is newer than this livery-proxy reads"),
        ({"schema": "1"}, "policy schema '1' is newer"),
        ({"labls": {}}, "labls: not a field of a policy"),
        ({1: {}, "x": 1}, "1: not a field of a policy"),
        ({"labels": {"a": 1}}, "labels.a: a string is needed, not 1"),
        ({"labels": []}, "labels: a mapping is needed"),
        ({"namespace": 1}, "namespace: a string is needed"),
        ({"namespaces": []}, "namespaces: a mapping of namespace to labels is needed"),
        ({"namespaces": {"a": {"b": 1}}}, "namespaces.a.b: a string is needed"),
        ({"labelRules": []}, "labelRules: a mapping is needed"),
        ({"labelRules": {"include": []}}, "labelRules.include: not one of rename, prefix"),
        ({"labelRules": {"prefix": 1}}, "labelRules.prefix: a string is needed"),
        ({"labelRules": {"protected": "team"}}, "labelRules.protected: a list of strings"),
        ({"metricRelabelings": [{}]}, "metricRelabelings[0].target_label: replace needs a target"),
        ({"access": [{"patterns": ["("]}]}, "access[0].patterns[0]: '(' is not a valid RE2"),
        ({"labels": {"a": "\ud800"}}, "not valid Unicode"),
        (
            {"metricRelabelings": [{"targetLabel": "a", "replacement": "\ud800"}]},
            "not valid Unicode",
        ),
    ],
)
def test_a_malformed_document_is_refused_by_field(document: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document)

    assert message in str(caught.value)


@given(st.dictionaries(st.sampled_from(["labels", "access", "namespaces", "labelRules"]), _JSON))
def test_any_document_is_read_or_refused(document: dict[str, object]) -> None:
    with contextlib.suppress(PolicyError):
        assert isinstance(parse_policy(document), Policy)


@given(st.dictionaries(st.text(), _JSON, min_size=2))
def test_a_version_does_not_depend_on_the_order_of_keys(document: dict[str, object]) -> None:
    turned = dict(reversed(document.items()))

    assert policy_version(turned) == policy_version(document)
    assert b"\n" not in encode(document)


def test_a_version_is_the_same_on_every_replica() -> None:
    assert policy_version({"labels": {"team": "blue"}}) == "5db05a2c217df6a4"
    assert policy_version({"labels": {"team": "green"}}) != "5db05a2c217df6a4"
