import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PolicyError
from sidecar.model.policy.document import SCHEMA, DocumentReader, Origin
from sidecar.model.policy.pod import PodPolicy, parse_pod_policy

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_an_empty_document_changes_nothing() -> None:
    assert parse_pod_policy({}) == PodPolicy()


def test_labels_are_named_by_the_rules() -> None:
    policy = parse_pod_policy(
        {
            "namespace": "blue",
            "labels": {"te-am": "x", "cost": "7"},
            "labelRules": {"prefix": "ns_", "rename": {"cost": "price"}, "protected": ["team"]},
            "namespaces": {"green": {"te-am": "y"}},
        }
    ).series

    assert policy.labels == {"ns_te_am": "x", "price": "7"}
    assert policy.namespaces == {"green": {"ns_te_am": "y"}}
    assert policy.protected == {"team"}


def test_a_label_that_the_injector_selected_is_not_excluded_again() -> None:
    assert parse_pod_policy({"labels": {"app.kubernetes.io/name": "x"}}).series.labels == {
        "app_kubernetes_io_name": "x"
    }


def test_access_rules_that_have_not_arrived_differ_from_none() -> None:
    assert parse_pod_policy({}).series.access_rules is None
    assert parse_pod_policy({"access": []}).series.access_rules == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a policy must be a mapping"),
        ({"schema": SCHEMA + 1}, "policy schema 2 is newer than this livery-proxy supports"),
        ({"schema": "1"}, "schema: an integer from 1 is needed, not '1'"),
        ({"labls": {}}, "labls: not a field of a policy"),
        ({1: {}, "x": 1}, "1: not a field of a policy"),
        ({"labels": {"a": 1}}, "labels.a: a string is needed, not 1"),
        ({"labels": []}, "labels: a mapping is needed"),
        ({"namespaces": []}, "namespaces: a mapping is needed"),
        ({"namespaces": {"a": {"b": 1}}}, "namespaces.a.b: a string is needed"),
        ({"labelRules": []}, "labelRules: a mapping is needed"),
        ({"labelRules": {"include": []}}, "labelRules.include: not a label rule"),
        ({"labelRules": {"prefix": 1}}, "labelRules.prefix: a string is needed"),
        ({"labelRules": {"protected": "team"}}, "labelRules.protected: a list of strings"),
        ({"metricRelabelings": [{}]}, "metricRelabelings[0].target_label: replace needs a target"),
        ({"access": [{"patterns": ["("]}]}, "access[0].patterns[0]: '(' is not a valid RE2"),
        ({"labels": {"a" * 1100: "x"}}, "the label name is longer than 1024 bytes"),
        ({"labelRules": {"protected": ["é" * 600]}}, "the label name is longer than 1024 bytes"),
        ({"labels": {"a": "\ud800"}}, "labels: a string is not valid Unicode"),
        (
            {"metricRelabelings": [{"targetLabel": "a", "replacement": "\ud800"}]},
            "not valid Unicode",
        ),
    ],
)
def test_a_malformed_document_is_refused_by_field(document: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_pod_policy(document)

    assert message in str(caught.value)


@given(st.dictionaries(st.sampled_from(["labels", "access", "namespaces", "labelRules"]), JSON))
def test_any_document_is_read_or_refused(document: dict[str, object]) -> None:
    with contextlib.suppress(PolicyError):
        assert isinstance(parse_pod_policy(document), PodPolicy)


_RULE = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}
_DROP = {"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"}


def _stream(document: object, last: PodPolicy | None = None) -> tuple[PodPolicy, DocumentReader]:
    reader = DocumentReader(Origin.STREAM)
    return parse_pod_policy(document, reader, last=last), reader


def test_fields_of_a_newer_service_are_ignored_and_noted() -> None:
    document = {"labels": {"team": "x"}, "labelRules": {"suffix": "_y"}, "mirror": [], "quota": 1}

    policy, reader = _stream(document)

    assert policy.series.labels == {"team": "x"}
    assert reader.ignored == ["mirror", "quota", "labelRules.suffix"]
    assert reader.problems == []


def test_a_rule_with_an_unknown_field_grants_nothing_and_the_others_stay() -> None:
    newer = {**_RULE, "name": "b", "patterns": ["secret"], "unless": {"tier": "gold"}}

    policy, reader = _stream({"access": [_RULE, newer]})

    assert [rule.name for rule in policy.series.access_rules or ()] == ["a"]
    assert reader.problems == [
        "access[1].unless: not a field of an access rule; the rule grants nothing"
    ]


def test_access_that_is_no_list_grants_nothing() -> None:
    policy, reader = _stream({"access": {"a": 1}})

    assert policy.series.access_rules == ()
    assert reader.problems == ["access: a list of access rules is needed; nothing is granted"]


def test_rules_that_cannot_be_read_leave_the_last_good_ones_and_labels_go_on() -> None:
    last, _ = _stream({"labels": {"team": "old"}, "metricRelabelings": [_DROP]})

    newer = {"labels": {"team": "new"}, "metricRelabelings": [{"action": "from-the-future"}]}
    policy, reader = _stream(newer, last)

    assert policy.series.labels == {"team": "new"}
    assert policy.series.relabelings == last.series.relabelings
    assert reader.problems[0].endswith("; the last good value stays active")


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"labels": {"team": 5}}, "labels.team: "),
        ({"labels": {"team": "\ud800"}}, "labels: a string is not valid Unicode"),
        ({"labelRules": {"protected": {}}}, "labelRules.protected: "),
        ({"labelRules": {"rename": []}}, "labelRules.rename: "),
        ({"namespaces": []}, "namespaces: "),
        ({"metricRelabelings": "x"}, "metricRelabelings: "),
    ],
)
def test_a_part_that_cannot_be_read_revives_no_grant(part: dict[str, Any], problem: str) -> None:
    whole = {"labels": {"team": "old"}, "access": [{"name": "a", "patterns": ["a"]}]}
    last, _ = _stream(whole)

    policy, reader = _stream({**whole, "access": [], **part}, last)

    assert policy.series.access_rules == ()
    assert policy.series.labels == {"team": "old"}
    (note,) = reader.problems
    assert note.startswith(problem)


def test_a_text_that_is_not_unicode_costs_only_its_access_rule() -> None:
    rules = [{"name": "\ud800", "patterns": ["a"]}, {"name": "b", "patterns": ["b"]}]

    policy, reader = _stream({"labels": {"team": "x"}, "access": rules, "new": "\ud800"})

    assert [rule.name for rule in policy.series.access_rules or ()] == ["b"]
    assert policy.series.labels == {"team": "x"}
    assert len(reader.problems) == 1


@pytest.mark.parametrize("depth", [900, 985, 10_000])
def test_nesting_without_end_is_one_note(depth: int) -> None:
    nested: object = 1
    for _ in range(depth):
        nested = [nested]

    policy, reader = _stream({"labels": {"team": "x"}, "access": [nested], "new": nested})

    assert policy.series.labels == {"team": "x"}
    assert (policy.series.access_rules, len(reader.problems)) == ((), 1)


def test_a_note_of_a_long_key_is_short() -> None:
    _, reader = _stream({"access": [{"a" * 300_000: 1, "patterns": ["a"]}]})

    assert len(reader.problems[0]) < 1000


def test_a_first_policy_whose_rules_cannot_be_read_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"metricRelabelings\[0\]\.action"):
        _stream({"metricRelabelings": [{"action": "from-the-future"}]})


def test_a_proxy_that_does_not_filter_reads_no_access_rules() -> None:
    policy = parse_pod_policy({"access": [_RULE]}, reads_access=False)

    assert policy.series.access_rules is None
