import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.names import is_plain_label_name
from sidecar.model.labels.namespace_labels import (
    DEFAULT_EXCLUDE,
    NEVER_ADDED,
    LabelFate,
    LabelRules,
    derive_labels,
    explain_labels,
    select_labels,
)

_KEYS = st.sampled_from(
    ["team", "te.am", "te-am", "te_am", "te_am_conflict1", "9x", "x/y", "job", "app.k8s.io/x",
    "__a",
     "kubernetes.io/metadata.name", "namespace", "é", "le"]
)  # fmt: skip
_NAMESPACES = st.dictionaries(_KEYS, st.sampled_from(["v", "w", ""]))
_RULES = st.builds(
    LabelRules,
    include=st.lists(st.sampled_from(["*", "te*", "team", "job", "app.k8s.io/x"]), max_size=3).map(
        tuple
    ),
    exclude=st.sampled_from([(), DEFAULT_EXCLUDE, ("te*",), ("*",)]),
    rename=st.dictionaries(_KEYS, st.sampled_from(["team", "a-b", "job", "te_am"]), max_size=2),
    prefix=st.sampled_from(["", "label_", "9-"]),
)


@given(_NAMESPACES, _RULES)
def test_names_worn_are_legal_and_free(labels: dict[str, str], rules: LabelRules) -> None:
    worn = derive_labels(labels, rules)

    assert all(is_plain_label_name(name.encode()) for name in worn)
    assert not any(name in NEVER_ADDED or name.startswith("__") for name in worn)
    assert all(worn.values())
    assert list(worn) == sorted(worn)


@given(_NAMESPACES, _RULES)
def test_what_is_explained_is_what_is_worn(labels: dict[str, str], rules: LabelRules) -> None:
    explained = explain_labels(labels, rules)
    named = [item for item in explained if item.name]

    assert [item.key for item in named] == list(select_labels(labels, rules))
    assert {item.name: item.value for item in named} == derive_labels(labels, rules)
    assert len({item.name for item in named}) == len(named)
    assert sorted(item.key for item in explained) == sorted(labels)
    assert {item.fate for item in named} <= {LabelFate.ADDED, LabelFate.CONFLICT}


@given(_NAMESPACES, _RULES)
def test_the_order_of_labels_changes_nothing(labels: dict[str, str], rules: LabelRules) -> None:
    turned = dict(reversed(labels.items()))

    assert explain_labels(turned, rules) == explain_labels(labels, rules)


@given(_NAMESPACES, _RULES)
def test_what_the_injector_selects_the_proxy_names_alike(
    labels: dict[str, str], rules: LabelRules
) -> None:
    told = LabelRules(exclude=(), rename=rules.rename, prefix=rules.prefix)

    assert derive_labels(select_labels(labels, rules), told) == derive_labels(labels, rules)


@pytest.mark.parametrize(
    ("key", "rules", "fate", "name"),
    [
        ("team", LabelRules(), LabelFate.ADDED, "team"),
        ("app.kubernetes.io/name", LabelRules(), LabelFate.EXCLUDED, None),
        ("kubernetes.io/metadata.name", LabelRules(), LabelFate.EXCLUDED, None),
        ("app.kubernetes.io/name", LabelRules(include=("*", "app.kubernetes.io/name")),
         LabelFate.ADDED, "app_kubernetes_io_name"),
        ("app.kubernetes.io/name", LabelRules(include=("app.*",)), LabelFate.EXCLUDED, None),
        ("mykubernetes.io/x", LabelRules(), LabelFate.ADDED, "mykubernetes_io_x"),
        ("team", LabelRules(include=("cost-*",)), LabelFate.NOT_INCLUDED, None),
        ("team", LabelRules(include=()), LabelFate.NOT_INCLUDED, None),
        ("team", LabelRules(prefix="ns_"), LabelFate.ADDED, "ns_team"),
        ("team", LabelRules(prefix="ns_", rename={"team": "squad"}), LabelFate.ADDED, "squad"),
        ("job", LabelRules(), LabelFate.RESERVED, None),
        ("job", LabelRules(prefix="ns_"), LabelFate.ADDED, "ns_job"),
        ("team", LabelRules(rename={"team": "le"}), LabelFate.RESERVED, None),
        ("--x", LabelRules(), LabelFate.RESERVED, None),
        ("9x", LabelRules(), LabelFate.ADDED, "_9x"),
    ],
)  # fmt: skip
def test_a_label_fares_by_the_rules(
    key: str, rules: LabelRules, fate: LabelFate, name: str | None
) -> None:
    (item,) = explain_labels({key: "v"}, rules)

    assert (item.fate, item.name) == (fate, name)


def test_a_label_without_value_is_not_worn() -> None:
    assert explain_labels({"team": ""}, LabelRules())[0].fate is LabelFate.EMPTY


def test_keys_that_fall_together_are_numbered_in_sorted_order() -> None:
    worn = derive_labels({"a_b": "3", "a-b": "1", "a.b": "2"}, LabelRules())

    assert worn == {"a_b_conflict1": "1", "a_b_conflict2": "2", "a_b_conflict3": "3"}


def test_a_number_that_is_taken_is_passed_over() -> None:
    worn = derive_labels({"a-b": "1", "a.b": "2", "a_b_conflict1": "own"}, LabelRules())

    assert worn == {"a_b_conflict1": "own", "a_b_conflict2": "1", "a_b_conflict3": "2"}


def test_a_dot_in_a_pattern_is_a_dot() -> None:
    rules = LabelRules(include=("a.b",))

    assert derive_labels({"a.b": "1", "axb": "2"}, rules) == {"a_b": "1"}
