import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.model.cluster.state import ClusterState
from injector.model.policies.pod import build_pod_policy
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.version import encode, policy_version

Json = dict[str, Any]


def _cluster(*accesses: Json) -> ClusterState:
    cluster = ClusterState()
    for name in ("blue", "green"):
        labels = {"team": name, "kubernetes.io/metadata.name": name}
        cluster.put("Namespace", {"metadata": {"name": name, "labels": labels}})
    for access in accesses:
        cluster.put("MetricAccess", access)
    return cluster


def _access(name: str, namespace: str, *metrics: object, **spec: object) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"metrics": list(metrics), **spec}}


def test_a_policy_holds_its_namespaces_labels_and_rules_by_name() -> None:
    cluster = _cluster(_access("z", "blue", "a"), _access("b", "blue", "c", "("))

    policy = build_pod_policy(cluster, Scope("pod", "blue"), Platform())

    assert policy["labels"] == {"team": "blue"}
    assert [(rule["name"], rule["patterns"]) for rule in policy["access"]] == [
        ("b", ["c"]),
        ("z", ["a"]),
    ]
    assert "namespaces" not in policy


def test_an_unknown_namespace_has_no_labels_and_no_rules() -> None:
    policy = build_pod_policy(_cluster(), Scope("pod", "red"), Platform())

    assert (policy["labels"], policy["access"]) == ({}, [])


def test_an_invalid_object_is_no_rule() -> None:
    cluster = _cluster(_access("bad", "blue"), _access("good", "blue", "up"))

    policy = build_pod_policy(cluster, Scope("pod", "blue"), Platform())

    assert [rule["name"] for rule in policy["access"]] == ["good"]


def test_only_a_scope_with_all_labels_is_told_of_other_namespaces() -> None:
    policy = build_pod_policy(_cluster(), Scope("pod", "blue", knows_all_labels=True), Platform())

    assert policy["namespaces"] == {"blue": {"team": "blue"}, "green": {"team": "green"}}


def test_labels_that_the_platform_excludes_are_told_to_nobody() -> None:
    platform = Platform(labels=LabelRules(exclude=("team",)))

    policy = build_pod_policy(_cluster(), Scope("pod", "blue", knows_all_labels=True), platform)

    assert policy["namespaces"]["green"] == {"kubernetes.io/metadata.name": "green"}
    assert "team" not in policy["labels"]


_NAMESPACES = ("blue", "green", "red")
_ACCESS = st.builds(
    lambda name, namespace, isolation, source: _access(
        name, namespace, f"metric_of_{namespace}", metricIsolation=isolation, source=source
    ),
    st.sampled_from("abc"), st.sampled_from(_NAMESPACES), st.booleans(),
    st.sampled_from(["", *_NAMESPACES]),
)  # fmt: skip
_PLATFORMS = st.builds(
    lambda seed, grants: Platform(all_namespaces=seed, cross_namespace={"blue": tuple(grants)}),
    st.booleans(), st.lists(st.sampled_from([*_NAMESPACES, "*"])),
)  # fmt: skip


@given(st.lists(_ACCESS, max_size=6), _PLATFORMS, st.sampled_from(_NAMESPACES))
def test_a_policy_never_holds_another_namespaces_rules(
    accesses: list[Json], platform: Platform, name: str
) -> None:
    policy = build_pod_policy(_cluster(*accesses), Scope("pod", name), platform)
    own = {item["metadata"]["name"] for item in accesses if item["metadata"]["namespace"] == name}

    assert {rule["name"] for rule in policy["access"]} == own
    assert {text for rule in policy["access"] for text in rule["patterns"]} <= {f"metric_of_{name}"}


@given(st.lists(_ACCESS, max_size=6), _PLATFORMS)
def test_a_policy_is_read_by_proxies_and_named_alike_whatever_the_order(
    accesses: list[Json], platform: Platform
) -> None:
    latest = {(a["metadata"]["namespace"], a["metadata"]["name"]): a for a in accesses}
    document = build_pod_policy(_cluster(*latest.values()), Scope("pod", "blue"), platform)
    turned = build_pod_policy(_cluster(*reversed(latest.values())), Scope("pod", "blue"), platform)

    parse_pod_policy(json.loads(encode(document)))
    assert policy_version(document) == policy_version(turned)
