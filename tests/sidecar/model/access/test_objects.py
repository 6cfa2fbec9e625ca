"""MetricAccess objects; tests/injector/model/access tests them as users write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import RuleError
from sidecar.model.access.objects import (
    MAX_SPEC_BYTES,
    Acceptance,
    ReadAccess,
    grant_of,
    read_access,
    rule_of,
)
from sidecar.model.access.rules import parse_access_rules

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def _read(**spec: Any) -> ReadAccess:
    metadata = {"name": "a", "namespace": "shop", "generation": 3}
    return read_access({"metadata": metadata, "spec": {"metrics": ["up"], **spec}})


def test_an_object_becomes_a_rule() -> None:
    access = _read(metricIsolation=True, labelSelectors={"team": "web", "tier": None})
    rule = rule_of(access, grant_of(access, frozenset()))

    assert (access.name, access.namespace, access.generation) == ("a", "shop", 3)
    assert rule is not None
    (parsed,) = parse_access_rules([rule], "rules")
    assert parsed.namespaces == frozenset(["shop"])
    assert parsed.label_selectors == {"team": "web", "tier": ""}


@pytest.mark.parametrize(
    ("spec", "granted", "namespaces", "note"),
    [
        ({"metricIsolation": True}, [], ["shop"], ""),
        ({"metricIsolation": True, "source": "bank"}, [], ["shop"], "source: bank is not granted"),
        ({"metricIsolation": True, "source": "bank"}, ["bank"], ["bank", "shop"], ""),
        ({"metricIsolation": True, "source": "bank"}, ["*"], ["bank", "shop"], ""),
        ({"metricIsolation": False}, [], ["shop"], "metricIsolation: false is not granted"),
        ({}, [], ["shop"], "(metricIsolation is not set) is not granted"),
        ({"metricIsolation": False}, ["bank"], ["bank", "shop"], ""),
        ({"metricIsolation": False}, ["*"], None, ""),
    ],
)
def test_beyond_its_own_namespace_an_object_reads_what_is_granted(
    spec: dict[str, Any], granted: list[str], namespaces: list[str] | None, note: str
) -> None:
    grant = grant_of(_read(**spec), frozenset(granted))

    assert grant.namespaces == (None if namespaces is None else frozenset(namespaces))
    assert note in grant.note
    assert bool(note) is bool(grant.note)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"metrics": []}, "spec.metrics: a list of patterns"),
        ({"metrics": "up"}, "spec.metrics: a list of patterns"),
        ({"metrics": ["up"] * 2000}, "patterns are allowed"),
        ({"metricIsolation": "yes"}, "spec.metricIsolation: true or false"),
        ({"source": 1}, "spec.source: a string"),
        ({"labelSelectors": {"a": 1}}, "spec.labelSelectors.a"),
        ({"remoteWrite": []}, "spec.remoteWrite: a mapping"),
        ({"remoteWrite": {"metricRelabelings": [{"action": "x"}]}}, "spec.remoteWrite.metricRel"),
        ({"more": "x" * MAX_SPEC_BYTES}, "bytes as JSON"),
    ],
)
def test_an_object_that_cannot_be_trusted_grants_nothing(spec: dict[str, Any], reason: str) -> None:
    access = _read(**spec)

    assert reason in access.error
    assert access.acceptance is Acceptance.INVALID
    assert rule_of(access, grant_of(access, frozenset("*"))) is None


def test_valid_patterns_stay_beside_bad_ones() -> None:
    access = _read(metrics=["up", "(", 7])
    rule = rule_of(access, grant_of(access, frozenset()))

    assert access.acceptance is Acceptance.SOME_PATTERNS
    assert rule is not None
    assert rule["patterns"] == ["up"]
    assert rule_of(_read(metrics=["("]), grant_of(access, frozenset())) is None


@given(_JSON, _JSON)
def test_whatever_an_object_holds_it_is_read_or_has_no_name(metadata: Any, spec: Any) -> None:
    try:
        access = read_access({"metadata": metadata, "spec": spec})
    except RuleError:
        return
    rule = rule_of(access, grant_of(access, frozenset()))
    assert rule is None or rule["namespaces"] == [access.namespace]
